//! `oicq-tools compact` with and without a server: the state stays, the bytes go, and nobody is disturbed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use oicq::id::ServiceNumber;

use crate::live::{
    Client, Server, digest, result, stat, state, texts, tool, tools_program, wait_for,
};

fn with_ending(data: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == ending)).collect();
    paths.sort();
    paths
}

fn bytes_of(data: &Path) -> Vec<u8> {
    let files = with_ending(data, "log").into_iter().chain(with_ending(data, "base"));
    files.flat_map(|path| fs::read(path).unwrap()).collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn compact(data: &Path, options: &[&str]) -> String {
    let (status, out, errors) = tool("compact", data, options);
    assert_eq!(status, Some(0), "{out}{errors}");
    out
}

/// Ann has got some messages and is still to get others; the log has several files. Nothing of it is kept for the
/// black box.
fn busy() -> (Server, Client, ServiceNumber) {
    busy_with(&["--black-box", "0"])
}

fn busy_with(options: &[&str]) -> (Server, Client, ServiceNumber) {
    let server = Server::start(&[&["--segment-size", "16KiB"], options].concat());
    let ann = server.offline_user("ann");
    let mut bob = server.user("bob");
    for round in 0..40 {
        bob.tell(ann, &format!("delivered {round} {}", "x".repeat(2_000)));
    }
    let (mut back, got) = server.back(ann);
    assert_eq!(texts(&got).len(), 40);
    wait_for("the delivery", || (stat(server.data(), "waiting_messages") == 0).then_some(()));
    back.log_out();
    for round in 0..40 {
        bob.tell(ann, &format!("waiting {round} {}", "y".repeat(2_000)));
    }
    assert!(with_ending(server.data(), "log").len() > 5);
    (server, bob, ann)
}

#[test]
fn a_running_server_goes_on_over_a_compacted_log() {
    let (server, mut bob, ann) = busy();
    let before = digest(server.data());
    let first_size = stat(server.data(), "file_bytes");
    assert!(contains(&bytes_of(server.data()), "delivered 3 "));
    let out = compact(server.data(), &[]);
    assert!(out.starts_with("compacted ") && out.contains("\ndigest "), "{out}");
    assert_eq!(digest(server.data()), before);
    assert!(stat(server.data(), "file_bytes") < first_size);
    assert!(!contains(&bytes_of(server.data()), "delivered 3 "), "what was delivered is gone");
    assert!(contains(&bytes_of(server.data()), "waiting 3 "));
    assert_eq!(
        (with_ending(server.data(), "base").len(), with_ending(server.data(), "log").len()),
        (1, 1)
    );
    holds_no_removed_file(&server);

    bob.tell(ann, "after it");
    let (_, got) = server.back(ann);
    let got = texts(&got);
    assert_eq!(got.len(), 41);
    assert!(got[0].starts_with("waiting 0 ") && got[40] == "after it");
    wait_for("the delivery", || (stat(server.data(), "waiting_messages") == 0).then_some(()));
    let (last, last_seq) = (state(server.data()), stat(server.data(), "last_seq"));
    assert!(result("verify", server.data(), &[]).contains("whole"));
    let server = server.restart();
    // The stop has written the state's digest.
    assert_eq!((state(server.data()), stat(server.data(), "last_seq")), (last, last_seq + 1));
    let ended = server.stop();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", ended.stderr);
}

/// The server has let go of the files that are no longer in its folder.
fn holds_no_removed_file(server: &Server) {
    let maps = format!("/proc/{}/maps", server.pid());
    if !Path::new(&maps).exists() {
        return;
    }
    let data = server.data().to_str().unwrap().to_owned();
    wait_for("the old files' end", || {
        let maps = fs::read_to_string(&maps).unwrap();
        let held = |line: &&str| line.contains(&data) && line.ends_with("(deleted)");
        let base = maps.lines().any(|line| line.contains(&data) && line.ends_with(".base"));
        (base && maps.lines().find(held).is_none()).then_some(())
    });
}

#[test]
fn without_a_server_the_last_file_is_compacted_too() {
    let (server, _, ann) = busy();
    let data = server.data().to_owned();
    let mut server = server;
    server.stop_in_place();
    let before = digest(&data);
    compact(&data, &[]);
    assert_eq!(digest(&data), before);
    assert!(!contains(&bytes_of(&data), "delivered "));
    assert!(compact(&data, &[]).contains("nothing to compact"), "once is enough");
    let first = stat(&data, "first_seq");
    assert_eq!(first, stat(&data, "last_seq") + 1, "no event is left");
    let server = server.again();
    assert_eq!(texts(&server.back(ann).1).len(), 40);
}

#[test]
fn dropped_history_is_refused_and_what_is_kept_is_shown() {
    let (server, ..) = busy();
    let data = server.data();
    let middle = stat(data, "last_seq") / 2;
    let full = result("replay", data, &["--from", &middle.to_string()]);
    compact(data, &["--keep-since", &middle.to_string()]);
    assert_eq!(result("replay", data, &["--from", &middle.to_string()]), full);
    let first = stat(data, "first_seq");
    assert!(first > 1 && first <= middle);
    let (status, out, errors) = tool("replay", data, &["--from", "1"]);
    assert_eq!((status, &*out), (Some(1), ""));
    assert!(errors.contains(&format!("the first that can be shown is {first}")), "{errors}");
    let base = (first - 1).to_string();
    assert!(
        result("replay", data, &["--until", &base, "--digest"])
            .ends_with(&format!(" seq {base}\n"))
    );
    let earlier = (first - 2).to_string();
    assert_eq!(tool("replay", data, &["--until", &earlier, "--digest"]).0, Some(1));
    let at =
        result("replay", data, &["--from", &middle.to_string(), "--until", &middle.to_string()]);
    let time = at.split_whitespace().nth(1).unwrap();
    assert!(compact(data, &["--keep-since", time]).contains("nothing to compact"), "{time}");
    assert!(compact(data, &["--keep-since", "2026-01-01"]).contains("nothing to compact"));
    assert!(compact(data, &["--keep-since", "2999-01-01T00:00"]).starts_with("compacted "));
}

#[test]
fn a_dry_run_changes_nothing_and_wrong_calls_are_told() {
    let (server, ..) = busy();
    let data = server.data();
    // The server may be making its next file meanwhile, under a name of its own.
    let names = || (with_ending(data, "log"), with_ending(data, "base"));
    let before = names();
    let out = compact(data, &["--dry-run"]);
    assert!(out.starts_with("would make "), "{out}");
    assert_eq!(names(), before);
    let (status, _, errors) = tool("compact", data, &["--keep-since", "yesterday"]);
    assert_eq!(status, Some(2), "{errors}");
    assert!(errors.contains("2026-11-22"), "{errors}");
    let (status, _, errors) = tool("compact", &data.join("nowhere"), &[]);
    assert_eq!(status, Some(1), "{errors}");
}

#[test]
fn a_damaged_log_is_not_compacted() {
    let (mut server, ..) = busy();
    server.kill();
    let data = server.data();
    let path = &with_ending(data, "log")[2];
    let mut bytes = fs::read(path).unwrap();
    bytes[5_000] ^= 1;
    fs::write(path, &bytes).unwrap();
    let before = bytes_of(data);
    let (status, _, errors) = tool("compact", data, &[]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("oicq-tools verify") && errors.lines().count() == 1, "{errors}");
    assert_eq!(bytes_of(data), before);
    assert!(with_ending(data, "base").is_empty());
}

/// A tool that is killed after a while, which differs from round to round.
fn killed_after(data: &Path, millis: u64) {
    let mut command = Command::new(tools_program());
    command.arg("compact").arg(data).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child: Child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(millis));
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn a_tool_that_is_killed_anywhere_leaves_a_whole_log() {
    let (server, mut bob, ann) = busy();
    for round in 0..30 {
        killed_after(server.data(), round);
        bob.tell(ann, &format!("round {round}"));
        assert!(result("verify", server.data(), &[]).contains("whole"));
    }
    compact(server.data(), &[]);
    let before = digest(server.data());
    let server = server.crash();
    assert_eq!(digest(server.data()), before);
    assert!(!server.data().join("base.tmp").exists());
    assert_eq!(texts(&server.back(ann).1).len(), 70);
}

#[test]
fn a_server_that_starts_collects_what_a_killed_tool_left() {
    let (mut server, ..) = busy();
    server.kill();
    let before = digest(server.data());
    let logs: Vec<_> = with_ending(server.data(), "log")
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    compact(server.data(), &[]);
    fs::write(server.data().join("base.tmp"), b"unfinished").unwrap();
    for (path, bytes) in &logs[..3] {
        fs::write(path, bytes).unwrap();
    }
    let server = server.again();
    assert_eq!(digest(server.data()), before);
    assert!(!server.data().join("base.tmp").exists());
    assert!(logs[..3].iter().all(|(path, _)| !path.exists()));
}

#[test]
fn one_compaction_runs_at_a_time() {
    let (server, ..) = busy();
    let lock = server.data().join("COMPACT");
    let file = fs::File::create(&lock).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let (status, _, errors) = tool("compact", server.data(), &[]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("is being compacted already"), "{errors}");
    drop(file);
    // A process that another test is just starting holds a copy of the lock for a moment.
    wait_for("the lock", || (tool("compact", server.data(), &[]).0 == Some(0)).then_some(()));
}

#[test]
fn what_the_black_box_needs_is_kept_and_said_until_it_is_dropped() {
    // It holds the latest of the messages.
    let (mut server, mut bob, ann) = busy_with(&["--black-box", "48KiB"]);
    let replays = |data: &Path| {
        let (status, out, errors) = tool("replay", data, &["--black-box"]);
        assert_eq!((status, &*errors), (Some(0), ""), "{out}");
        out
    };
    let data = server.data().to_owned();
    let first_step =
        |out: &str| out.split(": ").nth(1).unwrap().split(" (").next().unwrap().to_owned();
    let before = first_step(&replays(&data));
    let (status, out, errors) = tool("compact", &data, &["--dry-run"]);
    assert!(status == Some(0) && out.starts_with("would make "), "{out}{errors}");
    assert!(errors.contains(" for the black box, which needs the events from "), "{errors}");
    let (status, out, errors) = tool("compact", &data, &[]);
    assert!(status == Some(0) && out.starts_with("compacted "), "{out}{errors}");
    assert!(errors.contains("; --drop-black-box compacts them too"), "{errors}");
    assert_eq!(first_step(&replays(&data)), before, "nothing of it is lost");
    let first = stat(&data, "first_seq");
    assert!(first > 1 && first <= stat(&data, "last_seq"));
    bob.tell(ann, "goes on");
    replays(&data);
    // Of a stopped server, too: nothing is closed that could not be compacted.
    server.stop_in_place();
    let logs = with_ending(&data, "log");
    assert!(compact(&data, &[]).contains("nothing to compact"));
    assert_eq!((with_ending(&data, "log"), stat(&data, "first_seq")), (logs, first));
    replays(&data);
    let (status, out, errors) = tool("compact", &data, &["--drop-black-box"]);
    assert!(status == Some(0) && out.starts_with("compacted "), "{out}{errors}");
    assert!(errors.contains(" of the black box") && !errors.contains("keeps"), "{errors}");
    assert_eq!(stat(&data, "first_seq"), stat(&data, "last_seq") + 1);
    assert!(with_ending(&data.join("black-box"), "box").is_empty());
    let server = server.again();
    assert_eq!(texts(&server.back(ann).1).len(), 41);
    replays(&data);
}
