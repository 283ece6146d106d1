//! `oicq-tools bench` against relays: what is counted, what fails a measurement, and what is left behind. Rounds
//! have so many messages, never so much time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "bench/lossy.rs"]
mod lossy;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lossy::{Fate, Relay, tools, way};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn bench(arguments: &[&str]) -> Command {
    let mut command = tools();
    command.arg("bench").args(arguments).stdin(Stdio::null());
    command
}

/// A measurement of one round of so many messages at an address: its output.
fn measure(address: SocketAddr, messages: u64, options: &str) -> Output {
    let messages = messages.to_string();
    let address = address.to_string();
    let mut arguments = vec![&*address, "--rounds", "1", "--messages", &messages];
    arguments.extend(options.split_whitespace());
    bench(&arguments).output().unwrap()
}

fn errors(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The objects of a measurement that has succeeded.
fn objects(output: &Output) -> Vec<Value> {
    assert_eq!((output.status.code(), errors(output)), (Some(0), ""));
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a measurement says that has failed.
fn failure(output: &Output) -> &str {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{}", errors(output));
    assert_eq!(errors(output).lines().count(), 1, "{}", errors(output));
    errors(output)
}

#[test]
fn every_message_of_a_round_is_counted() {
    for sort in ["bare", "durable"] {
        let relay = Relay::start(sort);
        for options in [
            "--pairs 1 --under-way 1",
            "--pairs 7 --under-way 16 --clients extended",
            "--pairs 3 --under-way 5 --bytes 8192",
            "--pairs 2 --bytes 1",
            "--pairs 3 --rate 100000 --clients extended",
        ] {
            let objects =
                objects(&measure(relay.address, 2_003, &format!("{options} --format json")));
            let whats: Vec<_> = objects.iter().map(|one| one["what"].as_str().unwrap()).collect();
            assert_eq!(whats, ["round", "summary"], "{options}");
            assert_eq!(objects[0]["count"], 2_003, "{options}");
            assert_eq!(objects[0]["target"], "server");
            let times = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"];
            let times = times.map(|time| objects[1][time].as_u64().unwrap());
            assert!(times[0] > 0 && times.is_sorted(), "{times:?}");
        }
    }
}

#[test]
fn shares_of_the_processor_are_told_where_a_round_is_long_enough() {
    let relay = Relay::start("bare");
    let address = relay.address.to_string();
    let options = "--pairs 2 --rounds 1 --duration 400ms --warm-up 1ms --format json";
    let output = bench(&[&address]).args(options.split_whitespace()).output().unwrap();
    let round = &objects(&output)[0];
    assert!(round["cpu_percent"].is_u64(), "its process is found: {round}");
    assert!(round["generator_cpu_percent"].is_u64(), "{round}");
    assert_eq!(round["elapsed_ns"], 400_000_000);
}

#[test]
fn people_get_tables_and_a_picture() {
    let (relay, folder) = (Relay::start("bare"), tempfile::tempdir().unwrap());
    let picture = folder.path().join("picture.svg");
    let options = format!("--rounds 2 --pairs 2 --plot {}", picture.display());
    let output = measure(relay.address, 500, &options);
    assert_eq!((output.status.code(), errors(&output)), (Some(0), ""));
    let text = String::from_utf8(output.stdout).unwrap();
    let head =
        "2 pairs, 16 messages of 100 bytes under way from each; base clients; 2 rounds of 500\n";
    assert!(text.starts_with(head), "{text}");
    assert!(text.contains("\nusers 10001 to 10004; --users 10001 takes them again\n"), "{text}");
    for title in ["\nmessages a second ", "\ntime until it arrives ", "\nprocessor, by round "] {
        assert!(text.contains(title), "{text}");
    }
    assert!(fs::read_to_string(picture).unwrap().ends_with("</svg>\n"));
}

#[test]
fn a_message_that_does_not_arrive_as_it_was_sent_fails_the_measurement() {
    let relay = Relay::start("bare");
    // Makes the users that all others take.
    objects(&measure(relay.address, 1, "--pairs 1 --format json"));
    for clients in ["base", "extended"] {
        for (fate, words) in [
            (Fate::Lost, "message 100 from 10001 to 10002 is lost, or comes too late"),
            (Fate::Late, "message 100 from 10001 to 10002 is lost, or comes too late"),
            (
                Fate::Doubled,
                "an earlier message has come again where message 101 from 10001 to 10002",
            ),
            (Fate::Changed, "message 100 from 10001 to 10002 has other bytes than were sent"),
            (
                Fate::Cut,
                "the server has closed the connection during the messages from 10001 to 10002",
            ),
        ] {
            // Two messages are before the round: that to the writer itself, and that to the receiver.
            let address = way(relay.address, 101, fate);
            let options = format!("--users 10001 --pairs 1 --under-way 8 --clients {clients}");
            let output = measure(address, 1_000, &options);
            assert!(failure(&output).contains(words), "{fate:?} {clients}: {}", errors(&output));
        }
    }
}

#[test]
fn nothing_goes_wrong_on_a_way_where_everything_arrives() {
    let relay = Relay::start("bare");
    let output = measure(way(relay.address, 100, Fate::Arrives), 1_000, "--format json");
    assert_eq!(objects(&output)[0]["count"], 1_000);
}

#[test]
fn the_last_message_is_missed_too() {
    let relay = Relay::start("bare");
    let address = way(relay.address, 51, Fate::Lost);
    let output = measure(address, 50, "--pairs 1 --under-way 8 --patience 300ms");
    let words = "message 50 from 10001 to 10002 has not come for 0.3 s";
    assert!(failure(&output).contains(words), "{}", errors(&output));
}

#[test]
fn a_message_that_comes_again_after_the_last_round_is_found() {
    let relay = Relay::start("bare");
    let address = way(relay.address, 51, Fate::Doubled);
    let output = measure(address, 50, "--pairs 1 --under-way 1");
    assert!(failure(&output).contains("an earlier message has come again"), "{}", errors(&output));
}

#[test]
fn relays_are_started_beside_it_and_leave_nothing() {
    let (relay, folder) = (Relay::start("bare"), tempfile::tempdir().unwrap());
    let place = folder.path().display();
    let options = format!("--pairs 2 --ceiling --rounds 3 --format json --dir {place}");
    let objects = objects(&measure(relay.address, 400, &options));
    let of = |what: &str, key: &str| -> Vec<_> {
        let all = objects.iter().filter(|one| one["what"] == what);
        all.map(|one| one[key].as_str().unwrap()).collect()
    };
    let targets = ["server", "bare relay", "durable relay"];
    assert_eq!(of("round", "target"), targets.map(|target| [target; 3]).concat());
    assert_eq!(of("summary", "target"), targets);
    assert_eq!(of("ratio", "to"), targets[1..]);
    assert!(objects.iter().all(|one| one["what"] != "round" || one["count"] == 400));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn relays_pass_broadcasts_on_to_all_friends() {
    let (relay, folder) = (Relay::start("bare"), tempfile::tempdir().unwrap());
    for clients in ["base", "extended"] {
        let options = format!(
            "--load broadcast --pairs 2 --receivers 7 --ceiling --clients {clients} --format json --dir {}",
            folder.path().display()
        );
        let objects = objects(&measure(relay.address, 301, &options));
        let rounds: Vec<_> = objects.iter().filter(|one| one["what"] == "round").collect();
        let targets: Vec<_> = rounds.iter().map(|one| one["target"].as_str().unwrap()).collect();
        assert_eq!(targets, ["server", "bare relay", "durable relay"], "{clients}");
        for round in rounds {
            assert_eq!((&round["count"], &round["unit"]), (&2_107.into(), &"deliveries".into()));
        }
        let ratios = objects.iter().filter(|one| one["what"] == "ratio" && one["median"].is_f64());
        assert_eq!(ratios.count(), 2, "{clients}");
    }
}

#[test]
fn friends_of_a_relay_fill_groups_and_are_found_again() {
    let relay = Relay::start("durable");
    // More than one group holds.
    for users in ["", "--users 10001"] {
        let options = format!("--load broadcast --receivers 300 --format json {users}");
        assert_eq!(objects(&measure(relay.address, 20, &options))[0]["count"], 6_000);
    }
    let others = measure(relay.address, 1, "--load broadcast --receivers 299 --users 10001");
    assert!(failure(&others).contains("10001 has other friends"), "{}", errors(&others));
}

#[test]
fn a_broadcast_that_does_not_arrive_as_it_was_sent_fails_the_measurement() {
    let relay = Relay::start("bare");
    objects(&measure(relay.address, 1, "--load broadcast --receivers 1 --format json"));
    for (fate, words) in [
        (Fate::Lost, "message 100 from 10001 to 10002 is lost, or comes too late"),
        (Fate::Doubled, "an earlier message has come again"),
    ] {
        // Two messages are before the round: that to the writer itself, and the first broadcast.
        let address = way(relay.address, 101, fate);
        let options = "--load broadcast --receivers 1 --users 10001";
        let output = measure(address, 1_000, options);
        assert!(failure(&output).contains(words), "{fate:?}: {}", errors(&output));
    }
}

#[test]
fn connections_to_all_targets_have_files() {
    let (relay, folder) = (Relay::start("bare"), tempfile::tempdir().unwrap());
    let line = "ulimit -Sn 128 && exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_oicq-tools"), "bench"]);
    command.arg(relay.address.to_string()).arg("--dir").arg(folder.path());
    let options = "--ceiling --pairs 30 --rounds 1 --messages 100 --format json";
    let output = command.args(options.split_whitespace()).output().unwrap();
    assert_eq!(objects(&output).len(), 3 + 3 + 2);
}

/// Processes that a process has started.
fn children(process: &Child) -> Vec<String> {
    let id = process.id();
    let list = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
}

/// Looks again and again until it is so.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..4_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("this did not happen: {what}");
}

fn ends(id: &str) -> bool {
    // One whose parent does not ask how it ended stays in the list.
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    !status.contains("\nState:") || status.contains("\nState:\tZ")
}

/// A measurement that would take long, once its relays run.
fn begin(relay: &Relay, folder: &Path) -> (Child, Vec<String>) {
    let address = relay.address.to_string();
    let mut command = bench(&[&address, "--ceiling", "--messages", "1000000000", "--dir"]);
    let process = command.arg(folder).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_until("both relays run", || children(&process).len() == 2);
    let relays = children(&process);
    (process, relays)
}

#[test]
fn a_signal_ends_it_with_all_that_it_has_started() {
    let (relay, folder) = (Relay::start("bare"), tempfile::tempdir().unwrap());
    let (process, relays) = begin(&relay, folder.path());
    let pid = Pid::from_raw(process.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors(&output), "oicq-tools: stopped before it was done\n");
    assert!(relays.iter().all(|id| ends(id)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_it_has_started_ends_even_where_it_is_killed() {
    let (relay, folder) = (Relay::start("bare"), tempfile::tempdir().unwrap());
    let (mut process, relays) = begin(&relay, folder.path());
    process.kill().unwrap();
    process.wait().unwrap();
    wait_until("the relays end", || relays.iter().all(|id| ends(id)));
}

/// A program of a shell's line.
fn program(folder: &Path, line: &str) -> String {
    let (text, program) = (folder.join("text"), folder.join("program"));
    fs::write(&text, format!("#!/bin/sh\n{line}\n")).unwrap();
    // Had this process written it, another test's child might still hold it open, and nobody could run it.
    let made =
        Command::new("install").args(["-m", "700"]).args([&text, &program]).status().unwrap();
    assert!(made.success());
    program.to_str().unwrap().to_owned()
}

#[test]
fn a_server_that_does_not_say_where_it_listens_is_not_waited_for_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let program = program(folder.path(), "exec sleep 1000");
    let place = folder.path().to_str().unwrap();
    let output =
        bench(&["--serve", &program, "--patience", "300ms", "--dir", place]).output().unwrap();
    let words = "has not said for 0.3 s where it listens";
    assert!(failure(&output).contains(words), "{}", errors(&output));
}

#[test]
fn a_server_that_does_not_end_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let relay = format!("exec {} bench --relay bare", env!("CARGO_BIN_EXE_oicq-tools"));
    let program = program(folder.path(), &format!("trap '' TERM\n{relay}"));
    let place = folder.path().to_str().unwrap();
    let all = ["--serve", &program, "--patience", "1s", "--dir", place];
    let some = ["--pairs", "1", "--rounds", "1", "--messages", "50", "--format", "json"];
    let output = bench(&[&all[..], &some[..]].concat()).output().unwrap();
    assert_eq!(objects(&output)[0]["count"], 50);
}

#[test]
fn who_is_no_server_is_told_apart() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = measure(nobody, 1, "");
    assert!(failure(&output).contains("start a server there"), "{}", errors(&output));

    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::Write as _;
        stranger.incoming().flatten().for_each(|mut one| one.write_all(b"SSH-2.0-x\r\n").unwrap());
    });
    let output = measure(address, 1, "");
    assert!(failure(&output).contains("is no OICQ server"), "{}", errors(&output));
}

#[test]
fn a_wrong_call_has_status_2() {
    for (arguments, words) in [
        (&["192.0.2.1:8000"][..], "--yes-i-own-this-server"),
        (&["127.0.0.1:8000", "--load", "fun"], "expected pairs, broadcast, idle or login"),
        (&[], "ADDR, where a server listens"),
    ] {
        let output = bench(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(errors(&output).contains(words), "{}", errors(&output));
    }
}
