//! The black box of the real server, and the tools that use it: what is recorded, what is shown of it, and what is
//! found when something goes differently.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use oicq::black_box::{FOLDER, Recording};
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::ServiceNumber;
use oicq::wire::client::Account;
use oicq::wire::{Code, Request};
use serde_json::Value;

use crate::live::{Client, Server, digest, folder, message, result, stat, texts, tool, wait_for};

const BOX: &[&str] = &["--black-box"];

fn replayed(data: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    tool("replay", data, &[BOX, options].concat())
}

fn identical(data: &Path, options: &[&str]) -> String {
    let (status, out, errors) = replayed(data, options);
    assert_eq!(status, Some(0), "{out}{errors}");
    out
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn boxes(data: &Path) -> Vec<PathBuf> {
    let recording = Recording::open(&data.join(FOLDER)).unwrap();
    recording.files().iter().map(|file| file.path.clone()).collect()
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// Ann and ben talk, and a login fails.
fn conversation(server: &Server) -> (Client, Client) {
    let (mut ann, mut ben) = (server.user("ann"), server.user("ben \"b\""));
    ann.tell(ben.own, "hello \u{4f60}\u{597d}");
    assert_eq!(texts(&ben.pending()), ["hello \u{4f60}\u{597d}"]);
    ben.tell(ann.own, "to ann\nin two lines");
    ann.pending();
    let mut other = server.connect();
    assert_eq!(other.is_not_let_in(ann.own, "no-password").0, Code::BadLogin);
    assert_eq!(ann.refused(message(ServiceNumber(77), "nobody")).0, Code::UnknownNumber);
    (ann, ben)
}

#[test]
fn a_running_server_is_replayed_and_so_is_a_copy_of_its_folder() {
    let server = Server::start(&[]);
    let (ann, ben) = conversation(&server);
    let out = identical(server.data(), &[]);
    assert!(out.starts_with("identical, ") && out.contains(" steps: 1 (20"), "{out}");
    let copy = folder();
    let names = fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().path());
    for file in names.chain(boxes(server.data())).filter(|path| path.is_file()) {
        let to = copy.path().join(file.strip_prefix(server.data()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, to).unwrap();
    }
    let (ann, ben) = (ann.own, ben.own);
    let ended = objects(&identical(copy.path(), &["--format", "json"]));
    let [ended] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!((&ended["result"], &ended["first_step"]), (&"identical".into(), &1.into()));
    assert_eq!(ended["difference"], Value::Null);
    assert!(ended["steps"].as_u64().unwrap() > 20 && ended["torn"] == Value::Array(Vec::new()));

    let shown = identical(copy.path(), &["--user", &ann.to_string()]);
    let lines: Vec<_> = shown.lines().collect();
    let place = |words: &str| {
        let found = lines.iter().position(|line| line.contains(words));
        found.unwrap_or_else(|| panic!("{words} is not in {shown}"))
    };
    let order = [
        place(&format!("→ log-in own {ann} \"ann\", mode 0")),
        place("· the password matches"),
        place("← logged-in success yes"),
        place(&format!("→ send to {ben} \"ben \\\"b\\\"\", text \"hello 你好\"")),
        place("* event 3, message-sent: "),
        place(&format!("← message from {ben} ")),
        place("· the password does not match"),
        place("← notice of log-in, code bad-login"),
        place("→ send to 77, text \"nobody\""),
        place("← notice of send, code unknown-number, sentence \"there is no user 77\""),
        place("identical, "),
    ];
    assert!(order.is_sorted(), "{order:?} {shown}");
    assert!(shown.contains("\"to ann\\nin two lines\""), "{shown}");
}

#[test]
fn a_connection_is_named_by_the_step_that_opened_it_and_a_replay_stops_where_it_is_asked_to() {
    let server = Server::start(&[]);
    let mut first = server.connect();
    first.register("first", "secret");
    drop(first);
    // The server gives its number to the next one.
    let mut second = server.connect();
    second.register("second", "secret");
    second.pending();
    let (ann, _ben) = conversation(&server);
    let all =
        objects(&identical(server.data(), &["--user", &ann.own.to_string(), "--format", "json"]));
    let name = all[0]["connection"].as_str().unwrap();
    let shown = identical(server.data(), &["--connection", name]);
    assert!(shown.lines().next().unwrap().contains("· connects from 127.0.0.1"), "{shown}");
    assert!(!shown.contains("first") && shown.contains("register authentication 0"), "{shown}");
    let accepted = all.iter().find(|line| line["what"] == "event" && line["event"]["seq"] == 5);
    let step = accepted.unwrap()["step"].to_string();
    let stopped = objects(&identical(server.data(), &["--until", &step, "--format", "json"]));
    let connections: Vec<_> = stopped.iter().filter(|it| it["what"] == "connection").collect();
    let own = connections.iter().find(|it| it["connection"] == name).unwrap();
    assert_eq!((&own["user"], &own["state"]), (&ann.own.0.into(), &"online".into()));
    assert_eq!((&own["stage"], &own["client"]), (&"ready".into(), &"user".into()));
    let state = stopped.iter().find(|it| it["what"] == "state").unwrap();
    let there = result("replay", server.data(), &["--digest", "--until", "5", "--format", "json"]);
    let there = &objects(&there)[0];
    assert_eq!((&state["digest"], &state["seq"]), (&there["digest"], &there["seq"]));
    let shown = identical(server.data(), &["--until", &step, "--state", "--format", "json"]);
    let there = result("replay", server.data(), &["--state", "--until", "5", "--format", "json"]);
    assert_eq!(shown.lines().last(), there.lines().last());
    let text = identical(server.data(), &["--until", &step]);
    assert!(text.contains(&format!("connection {name}, from 127.0.0.1, user, ")), "{text}");
    let (status, _, errors) = replayed(server.data(), &["--until", "99999999"]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("there is no step 99999999, there are 1 to "), "{errors}");
    for (pick, words) in [
        (["--connection", "99999999"], "nothing is recorded of a connection 99999999"),
        (["--user", "99999999"], "there is no user 99999999, there are 10001 to 1000"),
    ] {
        let (status, out, errors) = replayed(server.data(), &pick);
        assert_eq!((status, out.starts_with("identical, ")), (Some(1), true), "{errors}");
        assert!(errors.contains(words), "{errors}");
    }
}

#[test]
fn a_recording_of_another_log_and_a_folder_without_one_are_told() {
    let (mut server, mut other) = (Server::start(&[]), Server::start(&[]));
    conversation(&server);
    server.stop_in_place();
    other.stop_in_place();
    for file in boxes(server.data()) {
        fs::remove_file(file).unwrap();
    }
    for file in boxes(other.data()) {
        fs::copy(&file, server.data().join(FOLDER).join(file.file_name().unwrap())).unwrap();
    }
    let (status, out, errors) = replayed(server.data(), &[]);
    assert_eq!((status, &*out), (Some(1), ""));
    assert!(errors.contains("it belongs to another log, and is passed over"), "{errors}");
    assert!(errors.contains("nothing of the recording can be replayed"), "{errors}");
    let (status, out, errors) = replayed(&server.data().join("none"), &[]);
    assert_eq!((status, &*out), (Some(1), ""));
    assert!(errors.contains("none"), "{errors}");
    boxes(server.data()).iter().for_each(|file| fs::remove_file(file).unwrap());
}

#[test]
fn a_killed_server_leaves_all_that_it_has_answered() {
    let server = Server::start(&[]);
    let (mut ann, ben) = conversation(&server);
    for round in 0..50 {
        ann.tell(ben.own, &format!("round {round}"));
    }
    let data = server.data().to_owned();
    let server = server.crash();
    let shown = identical(&data, &["--user", &ann.own.to_string()]);
    assert!(shown.contains("text \"round 49\""), "{shown}");
    // The next run goes on counting, and both are replayed.
    let mut again = server.user("eve");
    again.tell(ann.own, "after it");
    let out = identical(&data, &["--format", "json"]);
    let ended = &objects(&out)[0];
    assert!(ended["missing"] == Value::Array(Vec::new()), "{ended}");
    assert_eq!(ended["steps"], ended["last_step"], "they count from one on: {ended}");
    assert_eq!(boxes(&data).len(), 2);
}

#[test]
fn old_files_give_way_and_the_rest_can_still_be_replayed() {
    let server = Server::start(&["--black-box", "64KiB"]);
    let (mut ann, ben) = conversation(&server);
    for round in 0..300 {
        ann.tell(ben.own, &format!("{round} {}", "x".repeat(500)));
    }
    let files = boxes(server.data());
    assert!(files.len() > 3 && !files[0].ends_with("00000000000000000001.box"), "{files:?}");
    let bytes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes <= 64 << 10, "{bytes}");
    let out = identical(server.data(), &["--user", &ann.own.to_string()]);
    let first = out.lines().next().unwrap();
    assert!(first.contains(".0  ") || first.contains(".1  "), "it was open before: {first}");
    assert!(out.contains("299 xxx"), "{first}");
    let data = server.data().to_owned();
    let mut server = server;
    server.stop_in_place();
    let ended = objects(&identical(&data, &["--format", "json"]));
    let last = ended[0]["last_step"].to_string();
    let stopped = identical(&data, &["--until", &last]);
    assert_eq!(stopped.lines().last(), Some(digest(&data).trim_end()));
}

#[test]
fn texts_are_left_out_where_that_is_asked_for_and_it_replays_all_the_same() {
    let server = Server::start(&["--black-box-text", "off"]);
    let (mut ann, ben) = conversation(&server);
    ann.ask(Request::RequestFriend { friend: ben.own, reason: b"Reason-8812" });
    ann.tell(ben.own, "Secret-text-4711");
    let files = boxes(server.data());
    for file in &files {
        let bytes = fs::read(file).unwrap();
        assert!(!contains(&bytes, b"Secret-text-4711") && !contains(&bytes, b"Reason-8812"));
    }
    assert!(!files.is_empty());
    let out = identical(server.data(), &["--user", &ann.own.to_string()]);
    assert!(
        out.contains("text \"xxxxxxxxxxxxxxxx\"")
            && !out.contains("→ send to 10002 \"ben\", text \"hello")
    );
}

#[test]
fn without_a_black_box_there_is_no_folder_and_the_tool_says_so() {
    let server = Server::start(&["--black-box", "0"]);
    conversation(&server);
    assert!(!server.data().join(FOLDER).exists());
    let (status, out, errors) = replayed(server.data(), &[]);
    assert_eq!((status, &*out), (Some(1), ""));
    assert!(errors.contains("there is no recording here") && errors.contains("--black-box 0"));
}

#[test]
fn damage_ends_a_recording_and_is_told() {
    let mut server = Server::start(&[]);
    conversation(&server);
    server.stop_in_place();
    let file = &boxes(server.data())[0];
    let whole = fs::read(file).unwrap();
    let all = objects(&identical(server.data(), &["--format", "json"]))[0]["steps"].as_u64();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(file, &bytes).unwrap();
    let (status, out, errors) = replayed(server.data(), &["--format", "json"]);
    assert_eq!((status, &*errors), (Some(0), ""));
    let ended = &objects(&out)[0];
    assert!(ended["steps"].as_u64() < all && ended["torn"].as_array().unwrap().len() == 1);
    let (_, _, errors) = replayed(server.data(), &[]);
    assert!(errors.contains("its end was not written whole"), "{errors}");
    // Nothing of the header is left.
    fs::File::options().write(true).open(file).unwrap().write_all(&[0; 80]).unwrap();
    let (status, _, errors) = replayed(server.data(), &[]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("its header is not whole"), "{errors}");
    fs::write(file, whole).unwrap();
    identical(server.data(), &[]);
}

#[test]
fn wrong_calls_are_told() {
    let data = folder();
    let calls: [(&[&str], &str); 6] = [
        (&["--black-box", "--kind", "registered"], "--black-box: it goes with --until"),
        (&["--black-box", "--digest"], "--black-box: it goes with --until"),
        (&["--black-box", "--user", "1", "--user", "2"], "one dialogue is shown"),
        (&["--black-box", "--user", "1", "--connection", "2"], "one dialogue is shown"),
        (&["--black-box", "--connection", "x"], "--connection: \"x\" was given"),
        (&["--connection", "2"], "--connection: the log knows no connections"),
    ];
    for (options, words) in calls {
        let (status, out, errors) = tool("replay", data.path(), options);
        assert_eq!((status, &*out), (Some(2), ""), "{options:?}");
        assert!(errors.contains(words), "{options:?}: {errors}");
    }
}

#[test]
fn the_password_is_seen_in_no_dialogue() {
    let server = Server::start(&[]);
    let mut ann = server.connect();
    let number = ann.register("ann", "Zq7-first");
    ann.log_in_with(number, "Zq7-first");
    let profile = Profile { nickname: b"ann", ..Profile::default() };
    let password = Secret::new(b"Zq7-second");
    ann.quietly(Request::ChangeProfile(Account { profile, password, authentication: 0 }));
    for format in ["text", "json"] {
        let user = number.to_string();
        let shown = identical(server.data(), &["--user", &user, "--format", format]);
        assert!(shown.contains("change-profile") && shown.contains("log-in"), "{shown}");
        assert!(!shown.contains("Zq7") && !shown.contains("$argon2"), "{shown}");
    }
}

fn why(data: &Path, question: &[&str]) -> Vec<Value> {
    let (status, out, errors) = tool("why", data, &[question, &["--format", "json"]].concat());
    assert_eq!(status, Some(0), "{out}{errors}");
    objects(&out)
}

#[test]
fn how_logins_ended_and_where_messages_came_from_is_known_as_long_as_it_is_recorded() {
    let options = ["--login-failures", "2", "--listen", "127.0.0.1:0", "--listen", "[::1]:0"];
    let server = Server::start(&options);
    let mut ann = server.user("ann");
    let number = ann.own;
    // Taken over from another address.
    let mut other = Client::connect(server.addresses[1]);
    other.log_in(number);
    assert_eq!(ann.is_closed_with(0, Code::Elsewhere), []);
    other.tell(number, "to myself");
    other.pending();
    other.log_out();
    let mut stranger = server.connect();
    let wrong = (number, "no-password", Code::BadLogin);
    stranger.are_not_let_in(&[wrong, wrong, (number, "no-password", Code::Throttled)]);
    drop(stranger);
    let asked = ["login", &number.to_string(), "2003-01-01"];
    let all = why(server.data(), &asked);
    assert_eq!(all.len(), 1, "the nearest one, however far: {all:?}");
    let time = all[0]["time"].as_str().unwrap();
    let all = why(server.data(), &["login", &number.to_string(), time]);
    let told = |index: usize| {
        let text = |name: &str| all[index][name].as_str().unwrap_or("-").to_owned();
        [text("outcome"), text("code"), text("address")]
    };
    assert_eq!(told(0), ["accepted", "-", "127.0.0.1"]);
    assert!(all[0]["why"].as_str().unwrap().starts_with("elsewhere: "), "{}", all[0]);
    assert_eq!(told(1), ["accepted", "-", "::1"]);
    assert_eq!(all[1]["why"], "logged out");
    assert_eq!(
        [told(2), told(3)],
        [(); 2].map(|()| ["refused", "bad-login", "127.0.0.1"].map(str::to_owned))
    );
    assert_eq!(told(4)[..2], ["refused", "throttled"]);
    assert_eq!(all.len(), 5, "{all:?}");
    assert_ne!(all[0]["connection"], all[1]["connection"]);
    let (_, text, _) = tool("why", server.data(), &["login", &number.to_string(), time]);
    assert!(text.contains(" \"ann\" from ::1, connection "), "{text}");
    assert!(
        text.contains("refused, bad-login: \"no such number, or the wrong password\""),
        "{text}"
    );

    let sent =
        objects(&result("replay", server.data(), &["--kind", "message-sent", "--format", "json"]));
    let id = sent[0]["seq"].to_string();
    wait_for("the delivery", || (stat(server.data(), "waiting_messages") == 0).then_some(()));
    let told = why(server.data(), &["message", &id]);
    let from = told.iter().find(|it| it["what"] == "sent-from").unwrap();
    let to = told.iter().find(|it| it["what"] == "receiver").unwrap();
    assert_eq!((&from["address"], &from["connection"]), (&"::1".into(), &all[1]["connection"]));
    assert_eq!(
        (&to["address"], &to["connection"]),
        (&"::1".into(), &all[1]["connection"]),
        "{told:?}"
    );

    let (status, _, errors) = tool("why", server.data(), &["login", "10001", "1999"]);
    assert_eq!(status, Some(2));
    assert!(errors.contains("login: \"1999\" was given, expected a date or time"), "{errors}");
    let (status, _, errors) = tool("why", server.data(), &["login", "10077", "2003-01-01"]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("there is no user 10077"), "{errors}");
}
