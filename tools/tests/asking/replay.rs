//! `replay`: points in time, filters together, and colours on a terminal alone.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, ptsname, unlockpt};

use super::{LAST, answers, compacted, copied, damaged, fails, golden, objects};

fn seqs(arguments: &[&str]) -> Vec<u64> {
    let all = objects(&golden(), &[&["replay", "$LOG"], arguments].concat());
    all.iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

fn last(arguments: &[&str]) -> Option<u64> {
    seqs(arguments).last().copied()
}

#[test]
fn a_time_stops_behind_the_last_event_at_or_before_it() {
    // The first event is of 00:30:07.382, the second of 00:30:11.790.
    for (time, seq) in [
        ("2003-04-12", None),
        ("2003-04-12T00:30:07.381Z", None),
        ("2003-04-12T00:30:07.382Z", Some(1)),
        ("2003-04-12 00:30:11", Some(1)),
        ("2003-04-12T08:30:12+08:00", Some(2)),
        ("2003-04-12 00:45", Some(9)),
        ("2003-04-13", Some(309)),
        ("2003-04-14", Some(LAST)),
    ] {
        assert_eq!(last(&["--at", time]), seq, "{time}");
        let digest = &objects(&golden(), &["replay", "$LOG", "--digest", "--at", time])[0];
        assert_eq!(digest["seq"], seq.unwrap_or(0), "{time}");
        let state = &objects(&golden(), &["replay", "$LOG", "--state", "--at", time])[0];
        assert_eq!(state["last_seq"], seq.unwrap_or(0), "{time}");
    }
    assert_eq!(last(&["--at", "2003-04-13", "--until", "100"]), Some(100), "the earlier one holds");
    assert_eq!(last(&["--at", "2003-04-12 00:45", "--until", "100"]), Some(9));
    fails(&golden(), &["replay", "$LOG", "--at", "noon"], 2, &["--at", "noon", "2026-11-22"]);
}

#[test]
fn filters_hold_together() {
    let both = seqs(&["--user", "10007", "--kind", "friend-added", "--kind", "friend-refused"]);
    let user = seqs(&["--user", "10007"]);
    let kinds = seqs(&["--kind", "friend-added", "--kind", "friend-refused"]);
    assert!(!both.is_empty() && both.len() < user.len() && both.len() < kinds.len());
    assert!(user.iter().filter(|seq| kinds.contains(seq)).eq(&both));
    let until = ["--from", "200", "--at", "2003-04-13", "--user", "10007"];
    assert!(user.iter().filter(|seq| (200..=309).contains(*seq)).eq(&seqs(&until)));
}

#[test]
fn states_and_digests_are_of_all_events_whatever_is_filtered() {
    let until = ["replay", "$LOG", "--until", "300"];
    let plain = |show: &[&str]| answers(&golden(), &[&until[..], show].concat());
    let (state, digest) = (plain(&["--state"]), plain(&["--digest"]));
    assert_eq!(digest.lines().count(), 1);
    let filters: [&[&str]; 3] =
        [&["--from", "200"], &["--kind", "friend-added"], &["--from", "9", "--kind", "delivered"]];
    for filter in filters {
        assert_eq!(plain(&[&["--state"], filter].concat()), state, "{filter:?}");
        assert_eq!(plain(&[&["--digest"], filter].concat()), digest, "{filter:?}");
    }
    assert_eq!(plain(&["--digest", "--user", "10001"]), digest);
    for both in [["--state", "--digest"], ["--digest", "--state"]] {
        assert_eq!(plain(&both), format!("{state}{digest}"), "the digest behind the state");
        let both = objects(&golden(), &[&until[..], &both].concat());
        assert_eq!(
            (both.len(), &both[0]["last_seq"], &both[1]["seq"]),
            (2, &300.into(), &300.into())
        );
    }
}

#[test]
fn an_end_of_monitoring_concerns_whoever_was_monitored() {
    let ends = |user| seqs(&["--user", user, "--kind", "monitoring-ended"]);
    assert_eq!(
        (ends("10001"), ends("10010"), ends("10002")),
        (vec![262, 542], vec![262], vec![542])
    );
    let line = answers(&golden(), &["replay", "$LOG", "--from", "542", "--until", "542"]);
    assert!(line.ends_with("10001 \"周馆员\" no longer monitors 10002 \"老谢\"\n"), "{line}");
}

#[test]
fn what_compacting_has_dropped_is_said() {
    let log = compacted("2003-04-13");
    let first = &objects(log.path(), &["replay", "$LOG"])[0]["seq"];
    let first = first.as_u64().unwrap();
    assert!(first > 200, "begins with {first}");
    let said = format!("the first that can be shown is {}", first - 1);
    for point in [["--until", "5"], ["--at", "2003-04-12 00:45"]] {
        for show in ["--state", "--digest"] {
            let out = fails(log.path(), &["replay", "$LOG", show, point[0], point[1]], 1, &[&said]);
            assert_eq!(out, "");
        }
        fails(log.path(), &["replay", "$LOG", point[0], point[1]], 1, &["compacting has dropped"]);
    }
    let base = (first - 1).to_string();
    for format in ["text", "json"] {
        let state = ["replay", "$LOG", "--state", "--until", &base, "--format", format];
        assert_eq!(answers(log.path(), &state), answers(&golden(), &state));
    }
}

#[test]
fn events_before_a_damage_are_shown() {
    let log = damaged();
    let said = ["00000000000000000221.log", "oicq-tools verify"];
    let out = fails(log.path(), &["replay", "$LOG"], 1, &said);
    let count = out.lines().count() as u64;
    assert!((221..340).contains(&count), "{count} events");
    let until = count.to_string();
    assert_eq!(answers(log.path(), &["replay", "$LOG", "--until", &until]), out);
    assert_eq!(fails(log.path(), &["replay", "$LOG", "--digest"], 1, &said), "");
}

/// What a call writes to a terminal.
fn on_a_terminal(log: &Path, environment: &[(&str, &str)]) -> String {
    let own = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&own).unwrap();
    unlockpt(&own).unwrap();
    let name = ptsname(&own, Vec::new()).unwrap();
    let open = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_oicq-tools"));
    command.arg("replay").arg(log).args(["--until", "3"]).env("TERM", "xterm");
    command.env_remove("NO_COLOR").envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(open()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let (mut written, mut own) = (Vec::new(), File::from(own));
    // Once nobody has it open any more, reading a terminal is an error.
    let _ = own.read_to_end(&mut written);
    assert!(child.wait().unwrap().success());
    String::from_utf8(written).unwrap().replace("\r\n", "\n")
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let log = copied();
    let plain = answers(log.path(), &["replay", "$LOG", "--until", "3"]);
    assert!(!plain.contains('\u{1b}'));
    assert!(on_a_terminal(log.path(), &[]).contains("\u{1b}[32mregistered"));
    assert!(on_a_terminal(log.path(), &[("NO_COLOR", "")]).contains('\u{1b}'), "not set");
    assert_eq!(on_a_terminal(log.path(), &[("NO_COLOR", "0")]), plain);
    assert_eq!(on_a_terminal(log.path(), &[("TERM", "dumb")]), plain);
}
