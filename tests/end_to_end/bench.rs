//! `oicq-tools bench` with the real server: each load, users that are taken again, what a server with its usual
//! limits says, and a server that is started for it.

use std::process::{Command, Output};

use serde_json::Value;

use crate::live::{Server, folder, stat, tools, tools_program};

/// No limits that a load would meet.
const NO_LIMITS: &[&str] = &["--connections", "0", "--login-failures", "0", "--requests", "0,0"];

fn bench(server: &Server, options: &str) -> Output {
    let address = server.address().to_string();
    let arguments = ["bench", &address, "--format", "json"].into_iter();
    tools(&arguments.chain(options.split_whitespace()).collect::<Vec<_>>())
}

fn objects(output: &Output) -> Vec<Value> {
    let errors = std::str::from_utf8(&output.stderr).unwrap();
    assert_eq!((output.status.code(), errors), (Some(0), ""));
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is said where it fails.
fn failure(output: &Output) -> &str {
    let errors = std::str::from_utf8(&output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    errors
}

#[test]
fn each_load_runs_and_its_counts_agree_with_the_log() {
    let mut server = Server::start(NO_LIMITS);
    for (options, unit) in [
        ("--pairs 3", "messages"),
        ("--pairs 3 --clients extended", "messages"),
        ("--pairs 3 --rate 20000", "messages"),
        ("--load broadcast --receivers 5", "deliveries"),
        ("--load broadcast --receivers 4 --pairs 2 --clients extended", "deliveries"),
        ("--load login --connections 3", "logins"),
        ("--load login --connections 3 --clients extended", "logins"),
    ] {
        let objects = objects(&bench(&server, &format!("{options} --rounds 2 --messages 300")));
        let each = match options {
            _ if options.contains("--receivers 5") => 5,
            _ if options.contains("--receivers 4") => 4,
            _ => 1,
        };
        assert_eq!(objects.len(), 3, "two rounds and their summary");
        for round in &objects[..2] {
            assert_eq!(round["count"], 300 * each, "{options}");
            assert_eq!(round["unit"], unit, "{options}");
        }
    }
    let data = server.data().to_owned();
    let events = |kind| {
        let line = crate::live::result("stat", &data, &["--format", "json"]);
        serde_json::from_str::<Value>(&line).unwrap()["kinds"][kind].as_u64().unwrap()
    };
    // Two rounds of 300 each; before them each writer tells itself and its receivers that it is there.
    assert_eq!(events("message-sent"), 3 * (600 + 2 * 3) + 1 + 2);
    assert_eq!(events("message-broadcast"), (600 + 1) + (600 + 2));
    assert_eq!(events("registered"), 3 * 6 + 6 + 10 + 3 + 3);
    server.stop_in_place();
    assert_eq!(stat(&data, "waiting_messages"), 0);
}

#[test]
fn idle_sessions_are_counted_with_what_they_cost() {
    let server = Server::start(NO_LIMITS);
    for clients in ["base", "extended"] {
        let output = bench(&server, &format!("--load idle --connections 200 --clients {clients}"));
        let [idle] = &objects(&output)[..] else { panic!("one object") };
        assert_eq!((&idle["what"], &idle["sessions"]), (&"idle".into(), &200.into()));
        let memory = |key: &str| idle[key].as_u64().unwrap();
        assert!(memory("resident_before") >= memory("proportional_before"), "{idle}");
        assert!(memory("proportional_before") > 0, "{idle}");
    }
    server.stop();
}

#[test]
fn users_of_an_earlier_run_are_taken_again_with_whatever_waits_for_them() {
    let server = Server::start(NO_LIMITS);
    objects(&bench(&server, "--pairs 2 --rounds 1 --messages 50"));
    let mut bob = server.user("bob");
    (10_001..=10_004).for_each(|number| bob.tell(oicq::id::ServiceNumber(number), "hello"));
    for clients in ["base", "extended", "base"] {
        let options =
            format!("--pairs 2 --rounds 1 --messages 50 --users 10001 --clients {clients}");
        assert_eq!(objects(&bench(&server, &options))[0]["count"], 50);
    }
    // Those of a broadcast are friends already.
    for users in ["", "--users 10006"] {
        let options = format!("--load broadcast --receivers 3 --rounds 1 --messages 50 {users}");
        assert_eq!(objects(&bench(&server, &options))[0]["count"], 150);
    }
    let others = "--load broadcast --receivers 2 --messages 5 --users 10006";
    assert!(failure(&bench(&server, others)).contains("10006 has other friends"));
    assert!(
        failure(&bench(&server, "--users 10005")).contains("only users that bench has registered")
    );
    assert_eq!(stat(server.data(), "users"), 4 + 1 + 4);
    server.stop();
}

#[test]
fn a_server_with_limits_says_which_to_change() {
    let server = Server::start(&["--registrations", "10"]);
    let words = "start it with --registrations 0, or take users of an earlier run with --users";
    assert!(failure(&bench(&server, "")).contains(words));
    server.stop();

    let server = Server::start(&["--requests", "20,20"]);
    let output = bench(&server, "--pairs 1 --rounds 1 --messages 1000");
    assert!(failure(&output).contains("start it with --requests 0,0"));
    server.stop();

    let server = Server::start(&["--connections", "4"]);
    assert!(failure(&bench(&server, "")).contains("start it with --connections 0"));
    server.stop();

    let server = Server::start(&["--registration", "closed"]);
    assert!(failure(&bench(&server, "")).contains("start it with --registration open"));
    server.stop();
}

#[test]
fn a_server_is_started_for_it_and_leaves_nothing() {
    let place = folder();
    let program = env!("CARGO_BIN_EXE_oicqd");
    let run = |options: &[&str]| {
        let place = place.path().to_str().unwrap();
        let all = ["bench", "--serve", program, "--dir", place, "--format", "json", "--pairs", "2"];
        let some = ["--rounds", "1", "--messages", "200", "--ceiling", "--clients", "extended"];
        tools(&[&all[..], &some[..], options].concat())
    };
    for (load, count) in [(&["--load", "pairs"][..], 200), (&["--load", "broadcast"], 20_000)] {
        let options = [load, &["--", "--durability", "never", "--segment-size", "64KiB"]].concat();
        let all = objects(&run(&options));
        let counts: Vec<_> = all.iter().filter_map(|one| one["count"].as_u64()).collect();
        assert_eq!((counts, all.len()), (vec![count; 3], 3 + 3 + 2), "{load:?}");
    }
    let output = run(&["--", "--durability", "sometimes"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors.contains("sometimes") && errors.contains("does not say where it listens"),
        "{errors}"
    );
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn the_table_measures_each_load_with_a_server_of_its_own() {
    let place = folder();
    let program = env!("CARGO_BIN_EXE_oicqd");
    let dir = place.path().to_str().unwrap();
    let all = ["bench", "--serve", program, "--table", "--dir", dir, "--format", "json"];
    let some = ["--rounds", "1", "--messages", "60", "--connections", "30"];
    let rows = objects(&tools(&[&all[..], &some].concat()));
    assert!(rows.iter().all(|row| row["what"] == "row"), "{rows:?}");
    let of = |key: &str| rows.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    let (m, d, l, no) = ("messages", "deliveries", "logins", Value::Null);
    let units = [m, m, m, m, m, d, d].map(Value::from).into_iter().chain([no, l.into()]);
    assert_eq!(of("unit"), units.collect::<Vec<_>>());
    let has = |key: &str| of(key).iter().map(|one| u8::from(!one.is_null())).collect::<Vec<_>>();
    assert_eq!(has("of_bare"), [1, 1, 1, 1, 0, 1, 1, 0, 0], "not where the rate is chosen");
    assert_eq!(has("of_durable"), [1, 1, 0, 0, 0, 1, 1, 0, 0], "nor where nothing is synced");
    assert_eq!(has("relay_p99_ns"), [1, 1, 1, 1, 1, 1, 1, 0, 0]);
    assert_eq!(has("p99_ns"), [1, 1, 1, 1, 1, 1, 1, 0, 1]);
    assert_eq!(rows[7]["sessions"], 30);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn the_table_has_as_many_idle_sessions_as_the_system_allows_and_says_so() {
    let place = folder();
    let line = "ulimit -n 500 && exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", line])
        .arg(tools_program())
        .args(["bench", "--serve", env!("CARGO_BIN_EXE_oicqd"), "--table", "--rounds", "1"])
        .args(["--messages", "60", "--dir"])
        .arg(place.path())
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let words = "oicq-tools: 404 idle sessions instead of 18,000: the system does not allow more";
    assert!(errors.starts_with(words) && errors.lines().count() == 1, "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("Messages of 100 bytes; extended clients"), "{text}");
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells: Vec<_> = rows.map(|row| row.split('|').count()).collect();
    assert_eq!(cells, [9; 2 + 9], "titles, a rule, and the rows: {text}");
    assert!(text.contains("\n| 404 idle sessions "), "{text}");
}
