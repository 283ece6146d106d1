//! `oicq-tools bench --attack` with the real server, in its short form: whatever attackers do, it lives, everything of
//! the honest arrives, nobody honest is refused, and no connection is left. Times and memory are not judged here.

use serde_json::Value;

use crate::live::{folder, tools};

const MESSAGES: u64 = 100;

/// What came of an attack on a server of its own.
fn attack(name: &str, connections: &str) -> Value {
    let place = folder();
    let messages = MESSAGES.to_string();
    let all = ["bench", "--serve", env!("CARGO_BIN_EXE_oicqd"), "--attack", name];
    let some = ["--connections", connections, "--messages", &messages, "--format", "json"];
    let last = ["--dir", place.path().to_str().unwrap(), "--", "--password-cost", "8,1"];
    let output = tools(&[&all[..], &some, &last].concat());
    let errors = String::from_utf8(output.stderr).unwrap();
    let object: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{errors}"));
    let status = if object["passed"] == true { 0 } else { 1 };
    assert_eq!(output.status.code(), Some(status), "{errors}");
    for when in ["in_peace", "attacked"] {
        let noticed = &object[when];
        let counts = [&noticed["messages"], &noticed["logins_refused"]];
        assert_eq!(counts, [&Value::from(MESSAGES), &Value::from(0)], "{name}: {object}");
        assert!(noticed["logins"].as_u64() > Some(0), "{name}: {object}");
    }
    let files = |when: &str| object[when].as_u64().unwrap();
    assert!(files("files_afterwards") <= files("files_before"), "{name}: {object}");
    assert!(object["opened"].as_u64() > Some(0), "{name}: {object}");
    object
}

/// How many notices of a sort attackers got.
fn told(object: &Value, code: &str) -> u64 {
    object["notices"][code].as_u64().unwrap_or(0)
}

#[test]
fn connections_that_never_speak() {
    let object = attack("silent", "600");
    assert_eq!((&object["open"], &object["sent"]), (&600.into(), &0.into()), "{object}");
    assert!(object["files_worst"].as_u64() > Some(100), "{object}");
}

#[test]
fn connections_that_speak_slowly() {
    let object = attack("slow", "100");
    assert!(object["opened"].as_u64() >= Some(100), "{object}");
}

#[test]
fn connections_that_come_and_go() {
    let object = attack("churn", "64");
    assert!(object["hung_up"].as_u64() > Some(0), "{object}");
}

#[test]
fn bytes_that_are_no_packets() {
    let object = attack("garbage", "60");
    assert!(told(&object, "malformed") > 0 && told(&object, "too-large") > 0, "{object}");
    assert!(told(&object, "unknown-type") > 0, "{object}");
}

#[test]
fn clients_who_never_read() {
    let object = attack("deaf", "12");
    assert!(object["sent"].as_u64() > Some(0), "{object}");
}

#[test]
fn floods_of_requests() {
    let object = attack("requests", "25");
    assert!(told(&object, "bad-query") > 0 && told(&object, "unknown-number") > 0, "{object}");
}

#[test]
fn broadcasts_to_many() {
    let object = attack("broadcast", "60");
    assert!(object["answered"].as_u64() > Some(57 * 3), "{object}");
}

#[test]
fn logins_all_at_once() {
    let object = attack("logins", "200");
    assert!(told(&object, "bad-login") > 0 && told(&object, "throttled") > 0, "{object}");
}

#[test]
fn floods_of_what_is_kept() {
    let object = attack("register", "40");
    assert!(told(&object, "throttled") > 0 || object["answered"].as_u64() > Some(0), "{object}");
}

#[test]
fn names_that_change() {
    let object = attack("names", "12");
    assert!(object["answered"].as_u64() > Some(0), "{object}");
}
