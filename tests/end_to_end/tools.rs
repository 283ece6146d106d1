//! The tools over a real log: what they print, in which shapes, with which exit statuses, and that a
//! running server does not mind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use oicq::codec::packed::Moves;
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::GroupNumber;
use oicq::state::EventKind;
use oicq::wire::Request;
use oicq::wire::client::Account;
use serde_json::Value;

use crate::live::{
    Client, Server, digest, folder, message, result, stat, tool, tools, tools_program, wait_for,
};

/// A server on whose log everything that can happen has happened.
fn full_server() -> Server {
    let mut dearer = Server::start(&["--password-cost", "16,1"]);
    let ann = dearer.offline_user("ann");
    dearer.stop_in_place();
    let server = dearer.again_with(&["--operator", "10003"]);
    let (mut ann, _) = server.back(ann);
    let mut bob = server.user_with("bob", 1);
    let mut eve = server.user_with("eve", 2);
    let absent = server.offline_user("gone \"away\" 走了");
    eve.quietly(Request::Monitor { watched: ann.own });
    let profile =
        Profile { nickname: b"Ann", age: 20, city: "北京".as_bytes(), ..Profile::default() };
    let password = Secret::new(b"");
    ann.quietly(Request::ChangeProfile(Account { profile, password, authentication: 255 }));
    make_friends(&mut ann, &mut bob, &eve);
    sort_friends(&mut ann, &bob);
    ann.quietly(Request::Broadcast {
        group: GroupNumber::ALL.0.into(),
        content: "大家好".as_bytes(),
    });
    ann.quietly(message(absent, "line one\nline two\t\"quoted\""));
    bob.tell(ann.own, "hi");
    bob.tell(absent, "later");
    eve.send(Request::Monitor { watched: oicq::id::ServiceNumber::NONE });
    eve.pending();
    ann.ask(Request::DeleteFriend { friend: bob.own });
    let data = server.data().to_owned();
    wait_for("what is noted later is in the log", || {
        (!kind_lines(&data, "password-rehashed").is_empty()).then_some(())
    });
    wait_for("deliveries are in the log", || {
        (stat(&data, "waiting_messages") == 2 && !kind_lines(&data, "delivered").is_empty())
            .then_some(())
    });
    server
}

fn make_friends(ann: &mut Client, bob: &mut Client, eve: &Client) {
    ann.quietly(Request::RequestFriend { friend: bob.own, reason: b"please" });
    bob.ask(Request::AnswerRequest { friend: ann.own, consent: 0 });
    ann.ask(Request::AddFriend { friend: bob.own });
    bob.ask(Request::AnswerRequest { friend: ann.own, consent: 1 });
    ann.ask(Request::AddFriend { friend: eve.own });
    ann.pending();
}

fn sort_friends(ann: &mut Client, bob: &Client) {
    ann.reply(Request::AddGroup { name: "同学".as_bytes() });
    ann.reply(Request::AddGroup { name: b"other" });
    ann.reply(Request::RenameGroup { group: GroupNumber(2), name: b"school" });
    let moves = Moves::pack([(bob.own, GroupNumber(2))]);
    ann.reply(Request::MoveFriends(Moves::over(&moves).unwrap()));
    ann.reply(Request::DeleteGroup { group: GroupNumber(3) });
}

fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn events(data: &Path, options: &[&str]) -> Vec<Value> {
    json(&result("replay", data, &[&["--format", "json"], options].concat()))
}

fn kind_lines(data: &Path, kind: &str) -> Vec<Value> {
    events(data, &["--kind", kind])
}

fn seq(event: &Value) -> u64 {
    event["seq"].as_u64().unwrap()
}

#[test]
fn replay_shows_every_event_in_both_formats() {
    // A server that stops writes the state's digest.
    let server = full_server().restart();
    let data = server.data();
    let all = events(data, &[]);
    let text = result("replay", data, &[]);
    assert_eq!(text.lines().count(), all.len(), "one event a line");
    let (_, help, _) = tool("replay", data, &["--help"]);
    let mut kinds = BTreeSet::new();
    for (index, (event, line)) in all.iter().zip(text.lines()).enumerate() {
        assert_eq!(seq(event), index as u64 + 1);
        let kind = event["kind"].as_str().unwrap();
        let time = event["time"].as_str().unwrap();
        assert_eq!((time.len(), &time[10..11], &time[19..20], &time[23..]), (24, "T", ".", "Z"));
        assert!(line.contains(kind) && line.contains(&seq(event).to_string()), "{line}");
        assert!(help.contains(kind), "{kind} in {help}");
        kinds.insert(kind.to_owned());
    }
    // What could not be saved from a damaged log is nothing that a server does.
    let known = EventKind::ALL.iter().filter(|kind| **kind != EventKind::Lost);
    let known = known.map(|kind| kind.name().to_owned()).collect();
    assert_eq!(kinds, known, "all kinds have happened");
    assert!(all.windows(2).all(|two| two[0]["time"].as_str() <= two[1]["time"].as_str()));
    assert!(all.iter().any(|event| event.to_string().contains("大家好")), "text is UTF-8");
}

#[test]
fn replay_shows_the_stretch_users_and_kinds_that_are_asked_for() {
    let server = full_server();
    let data = server.data();
    let all = events(data, &[]);
    let (from, until) = (4, all.len() as u64 - 4);
    let some = events(data, &["--from", "4", "--until", &until.to_string()]);
    let expected: Vec<_> =
        all.iter().filter(|event| (from..=until).contains(&seq(event))).cloned().collect();
    assert_eq!(some, expected);
    for kind in EventKind::ALL {
        let expected: Vec<_> =
            all.iter().filter(|event| event["kind"] == kind.name()).cloned().collect();
        assert_eq!(kind_lines(data, kind.name()), expected);
    }
    let two = events(data, &["--kind", "group-added", "--kind", "group-renamed"]);
    assert_eq!(two.len(), 3);
    let eve = events(data, &["--user", "10003"]);
    assert!(eve.len() < all.len() && eve.iter().all(|event| event.to_string().contains("10003")));
    let either = events(data, &["--user", "10003", "--user", "10004"]);
    assert!(either.len() > eve.len() && eve.iter().all(|event| either.contains(event)));
    let all_to_bob = events(data, &["--user", "10002", "--kind", "message-broadcast"]);
    assert_eq!(all_to_bob.len(), 1, "a broadcast concerns those whom it reaches");
    assert_eq!(events(data, &["--user", "10004", "--kind", "message-broadcast"]).len(), 0);
    assert_eq!(events(data, &["--from", "1000000"]).len(), 0);
}

#[test]
fn digests_and_states_are_those_of_the_place() {
    let server = full_server();
    let data = server.data();
    let whole = digest(data);
    let last = stat(data, "last_seq");
    let words: Vec<_> = whole.trim_end().split(' ').collect();
    assert!(words.len() == 4 && words[0] == "digest" && words[2] == "seq", "{whole}");
    assert!(words[1].len() >= 16 && words[1].chars().all(|c| c.is_ascii_hexdigit()), "{whole}");
    assert_eq!((whole.lines().count(), words[3]), (1, &*last.to_string()));
    let earlier = result("replay", data, &["--digest", "--until", "5"]);
    assert!(earlier.ends_with(" seq 5\n"), "{earlier}");
    assert_ne!(earlier.split(' ').nth(1), Some(words[1]));
    let state = result("replay", data, &["--state"]);
    for text in ["Ann", "bob", "school", "later"] {
        assert!(state.contains(text), "{text} in {state}");
    }
    let early = result("replay", data, &["--state", "--until", "1"]);
    assert!(early.contains("ann") && !early.contains("bob"), "{early}");
}

#[test]
fn the_state_is_shown_whole_in_both_formats() {
    let server = full_server();
    let objects = json(&result("replay", server.data(), &["--state", "--format", "json"]));
    let text = result("replay", server.data(), &["--state"]);
    let objects: String = objects.iter().map(Value::to_string).collect();
    for shown in [objects, text] {
        for part in ["Ann", "北京", "school", "later", "10003"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shown.contains("argon2"));
    }
}

#[test]
fn verify_and_stat_say_what_they_promise_over_a_running_server() {
    let server = full_server();
    let data = server.data();
    let before: Vec<_> = fs::read_dir(data).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(result("verify", data, &[]).contains("whole"));
    let report = json(&result("verify", data, &["--format", "json"]));
    assert!(!report.is_empty());
    let object = &json(&result("stat", data, &["--format", "json"]))[0];
    for key in ["users", "events", "bytes", "first_seq", "last_seq", "waiting_messages"] {
        assert!(object[key].is_u64(), "{key} in {object}");
    }
    let count = events(data, &[]).len() as u64;
    let figures = ["users", "events", "first_seq", "last_seq", "waiting_messages"];
    assert_eq!(figures.map(|key| stat(data, key)), [4, count, 1, count, 2]);
    assert!(result("stat", data, &[]).contains('4'));
    let after: Vec<_> = fs::read_dir(data).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(before, after, "tools leave nothing behind");
    let whole = digest(data);
    server.stop();
    assert!(whole.starts_with("digest "));
}

#[test]
fn a_tool_can_read_while_the_server_writes() {
    let server = Server::start(&["--mailbox-messages", "100000"]);
    let absent = server.offline_user("absent");
    let mut bob = server.user("bob");
    let data = server.data().to_owned();
    let writer = std::thread::spawn(move || {
        for index in 0..1_500 {
            bob.tell(absent, &format!("{index} {}", "x".repeat(200)));
        }
    });
    let mut seen = 0;
    while !writer.is_finished() {
        assert!(result("verify", &data, &[]).contains("whole"));
        let events = stat(&data, "events");
        assert!(events >= seen, "{events} after {seen}");
        seen = events;
        let last = stat(&data, "last_seq");
        digest(&data);
        result("diff", &data, &["1", &last.to_string()]);
        result("why", &data, &["monitor", "10001"]);
    }
    writer.join().unwrap();
    assert_eq!(stat(&data, "waiting_messages"), 1_500);
    assert!(stat(&data, "files") > 3, "it has rolled meanwhile");
}

#[test]
fn wrong_calls_have_status_2_and_failures_status_1() {
    let folder = folder();
    let nothing = folder.path().join("nothing");
    let path = nothing.to_str().unwrap();
    let wrong: &[(&[&str], &str)] = &[
        (&[], "command"),
        (&["dance"], "dance"),
        (&["replay"], "DIR"),
        (&["verify"], "DIR"),
        (&["stat"], "DIR"),
        (&["replay", path, "--format", "xml"], "--format"),
        (&["replay", path, "--kind", "party"], "--kind"),
        (&["replay", path, "--from", "x"], "--from"),
        (&["replay", path, "--user", "-1"], "--user"),
        (&["replay", path, "--from"], "--from: expected a sequence number behind it"),
        (&["replay", path, "--from", "--digest"], "--from: expected a sequence number behind it"),
        (&["replay", path, "--format"], "--format: expected text or json behind it"),
        (&["replay", path, "--state=1"], "--state: it takes no value, \"1\" was given"),
        (&["client", "--wait"], "--wait: expected a time such as 5s behind it"),
        (&["client", "x:1", "y:1"], "\"y:1\" is one argument too many"),
        (&["stat", path, "--frob"], "--frob: there is no such option; --help shows"),
        (&["stat", path, "-x"], "-x: there is no such option; --help shows"),
        (&["--frob"], "--frob: there is no such option; --help shows"),
        (&["verify", path, "again"], "again"),
    ];
    for (arguments, said) in wrong {
        let output = tools(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
        assert!(errors.contains(said) && errors.lines().count() == 1, "{arguments:?}: {errors}");
    }
    for command in ["replay", "verify", "stat"] {
        for data in [nothing.as_path(), folder.path()] {
            let (status, out, errors) = tool(command, data, &[]);
            assert_eq!((status, &*out), (Some(1), ""), "{command}: {errors}");
            assert_eq!(errors.lines().count(), 1, "{errors}");
            assert!(errors.contains(data.to_str().unwrap()), "{errors}");
            assert!(errors.contains("; "), "what to do: {errors}");
        }
        assert!(!nothing.exists(), "a tool makes no folder");
    }
}

#[test]
fn every_tool_has_a_page_that_fits() {
    for arguments in [
        &["-h"][..],
        &["replay", "-h"],
        &["verify", "-h"],
        &["repair", "-h"],
        &["stat", "--help"],
        &["client", "-h"],
    ] {
        let output = tools(arguments);
        let page = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{arguments:?}");
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
        for command in ["replay", "verify", "repair", "stat", "client"] {
            assert!(arguments.len() > 1 || page.contains(command), "{command} in {page}");
        }
    }
    let (_, page, _) = tool("replay", Path::new("x"), &["-h"]);
    for option in ["--from", "--until", "--user", "--kind", "--format", "--state", "--digest"] {
        assert!(page.contains(option), "{option} in {page}");
    }
    assert!(page.contains("[text]"), "{page}");
    let output = tools(&["-V"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn output_into_a_closed_pipe_ends_quietly() {
    let mut server = Server::start(&["--mailbox-messages", "100000"]);
    let absent = server.offline_user("absent");
    let mut bob = server.user("bob");
    let text = "x".repeat(8_000);
    for _ in 0..60 {
        bob.tell(absent, &text);
    }
    server.kill();
    let data = server.data().to_str().unwrap();
    let folder = folder();
    let out = folder.path().to_str().unwrap();
    for arguments in [
        &["replay", data][..],
        &["replay", data, "--format", "json"],
        &["replay", data, "--state", "--format", "json"],
        &["replay", data, "--digest"],
        &["verify", data],
        &["repair", data, out],
        &["stat", data],
        &["diff", data, "0", "60"],
        &["why", data, "message", "40"],
        &["bisect", data, "--", "sh", "-c", "! grep -q bob"],
        &["-h"],
        &["client", "-h"],
    ] {
        let mut command = Command::new(tools_program());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{arguments:?}");
    }
}
