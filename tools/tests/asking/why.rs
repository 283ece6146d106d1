//! `why`: what became of messages, how friends came about, who monitored whom, and what is not known.

use oicq::codec::packed::{Numbers, Receipts};
use oicq::id::{GroupNumber, Seq};
use oicq::state::Event;
use serde_json::{Value, json};
use std::path::Path;

use super::{
    ANN, BEN, CAT, answers, compacted, damaged, documented, fails, golden, objects, people, written,
};

/// The objects of an answer, which are as the document says.
fn why(log: &Path, arguments: &[&str]) -> Vec<Value> {
    let all = objects(log, &[&["why", "$LOG"], arguments].concat());
    for object in &all {
        match (&object["kind"], &object["what"]) {
            (Value::String(kind), Value::Null) => documented::check(object, &["event", kind]),
            (Value::Null, Value::String(what)) => documented::check(object, &["answer", what]),
            _ => panic!("neither an event nor a part of an answer: {object}"),
        }
    }
    all
}

fn words(log: &Path, arguments: &[&str]) -> String {
    answers(log, &[&["why", "$LOG"], arguments].concat())
}

fn fate(object: &Value) -> (u64, &str, &str, Option<u64>) {
    let text = |name: &str| object[name].as_str().unwrap();
    (object["user"].as_u64().unwrap(), text("message"), text("fate"), object["seq"].as_u64())
}

#[test]
fn a_friendship_has_two_directions_and_a_history() {
    let expected = "\
10001 \"周馆员\" has 10002 \"老谢\" in its friend list, since 15
10002 \"老谢\" has 10001 \"周馆员\" in its friend list, since 13
      11  2003-04-12T00:45:20.784Z  friend-requested    10002 \"老谢\" asks 10001 \"周馆员\": \"小周，我是二楼修收音机的老谢。\"
      13  2003-04-12T00:45:22.900Z  friend-added        10002 \"老谢\" adds 10001 \"周馆员\", who agreed, to group 1
      15  2003-04-12T00:45:23.223Z  friend-added        10001 \"周馆员\" adds 10002 \"老谢\", who lets anyone, to group 1
";
    assert_eq!(words(&golden(), &["friend", "10001", "10002"]), expected);
    let all = why(&golden(), &["friend", "10002", "10001"]);
    let told = |object: &Value| {
        (object["owner"].as_u64(), object["has"].as_bool(), object["since"].as_u64())
    };
    assert_eq!(told(&all[0]), (Some(10_002), Some(true), Some(13)));
    assert_eq!(told(&all[1]), (Some(10_001), Some(true), Some(15)));
    assert_eq!(all.len(), 5);
    let never = words(&golden(), &["friend", "10010", "10007"]);
    assert_eq!(never.matches("does not have").count(), 2);
    assert_eq!(never.matches("and never had\n").count(), 2);
}

#[test]
fn what_was_asked_refused_and_undone_is_part_of_it() {
    let asks = Event::FriendRequested { asker: ANN, friend: BEN, reason: b"me" };
    let adds = Event::FriendAdded { owner: BEN, friend: ANN, group: GroupNumber(1), agreed: false };
    let deletes = Event::FriendDeleted { owner: BEN, friend: ANN };
    let other =
        Event::FriendAdded { owner: BEN, friend: CAT, group: GroupNumber(1), agreed: false };
    let rejects = Event::RequestRejected { asker: ANN, friend: BEN };
    let log =
        written(&[people(), vec![asks, adds, other, rejects, deletes, Event::Lost, asks]].concat());
    let all = why(log.path(), &["friend", "10001", "10002"]);
    let seqs: Vec<_> = all.iter().filter_map(|object| object["seq"].as_u64()).collect();
    assert_eq!(seqs, [4, 5, 7, 8, 10]);
    let told =
        |index: usize| ["owner", "friend", "has", "since", "waits"].map(|name| &all[index][name]);
    assert_eq!(
        told(0),
        [&json!(10_001), &json!(10_002), &json!(false), &Value::Null, &json!(true)]
    );
    assert_eq!(told(1), [&json!(10_002), &json!(10_001), &json!(false), &json!(8), &json!(false)]);
    assert_eq!(all[7], json!({ "what": "unknown", "up_to": 0, "lost": 1 }));
    let words = words(log.path(), &["friend", "10001", "10002"]);
    assert!(words.contains("never had, and waits for its answer\n"), "{words}");
    assert!(words.ends_with("\n1 event could not be saved from a damaged log\n"), "{words}");
}

#[test]
fn a_message_is_followed_to_each_receiver() {
    let expected = "     538  2003-04-13T09:31:19.756Z  message-broadcast   10002 \"老谢\" to all friends: \"各位晚安，73。\"
10001 \"周馆员\" got it at 539, 2003-04-13T09:31:19.806Z
10003 \"mandy\" still waits for it, as of 547, 2003-04-13T12:30:13.282Z
";
    let said = words(&golden(), &["message", "538"]);
    assert!(said.starts_with(expected) && said.lines().count() == 6, "{said}");
    let fates = why(&golden(), &["message", "15"]);
    let fates: Vec<_> = fates[1..].iter().map(fate).collect();
    let expected =
        [(10_001, "agreed", "delivered", Some(16)), (10_002, "added", "delivered", Some(16))];
    assert_eq!(fates, expected);
    for seq in (1..=547).step_by(7) {
        // Whatever an event posts is a message; the others are none.
        let (status, _, errors) =
            super::call(&golden(), &["why", "$LOG", "message", &seq.to_string()]);
        assert!(
            status == Some(0) || errors.contains(&format!("{seq} is no message, but ")),
            "{errors}"
        );
    }
}

#[test]
fn full_mailboxes_and_newer_requests_are_told() {
    let (group, agreed) = (GroupNumber(1), false);
    let adds = |friend| Event::FriendAdded { owner: ANN, friend, group, agreed };
    let left_out = Numbers::pack([CAT]);
    let left_out = Numbers::over(&left_out).unwrap();
    let broadcast =
        Event::MessageBroadcast { from: ANN, group: GroupNumber::ALL, content: b"all", left_out };
    let asks = Event::FriendRequested { asker: BEN, friend: ANN, reason: b"again" };
    let receipts = Receipts::pack([(BEN, Seq(5)), (ANN, Seq(8))]);
    let delivered = Event::Delivered { receipts: Receipts::over(&receipts).unwrap() };
    let events = [people(), vec![adds(BEN), adds(CAT), broadcast, asks, asks, delivered]].concat();
    let log = written(&events);
    let fates = |id: &str| -> Vec<Value> { why(log.path(), &["message", id]).split_off(1) };
    let all = fates("6");
    assert_eq!(fate(&all[0]), (10_002, "message", "waits", None), "it was delivered up to 5");
    assert_eq!(fate(&all[1]), (10_003, "message", "mailbox-full", None));
    assert_eq!(fate(&fates("7")[0]), (10_001, "asks", "replaced", Some(8)));
    assert_eq!(fate(&fates("8")[0]), (10_001, "asks", "delivered", Some(9)));
    let said = words(log.path(), &["message", "7"]);
    assert!(
        said.contains(
            "\n10001 \"ann\" (asks) got a newer one of that kind instead, accepted at 8, "
        ),
        "{said}"
    );
    assert!(words(log.path(), &["message", "6"]).contains("never gets it: the mailbox was full\n"));
}

#[test]
fn starts_and_ends_of_monitoring_are_listed() {
    let all = why(&golden(), &["monitor", "10001"]);
    let seqs: Vec<_> = all.iter().filter_map(|object| object["seq"].as_u64()).collect();
    assert_eq!(seqs, [249, 262, 540, 542]);
    let of = words(&golden(), &["monitor", "10010"]);
    let expected = "\
10010 \"sparrow\" is monitored by nobody now, and monitors nobody
     249  2003-04-12T07:00:22.699Z  monitoring-started  10001 \"周馆员\" monitors 10010 \"sparrow\"
     262  2003-04-12T07:00:49.110Z  monitoring-ended    10001 \"周馆员\" no longer monitors 10010 \"sparrow\"
";
    assert_eq!(of, expected);
    assert_eq!(words(&golden(), &["monitor", "10011"]).lines().count(), 1);
    let starts = Event::MonitoringStarted { operator: ANN, watched: BEN };
    let log = written(&[people(), vec![starts]].concat());
    let now = &why(log.path(), &["monitor", "10002"])[0];
    assert_eq!((&now["watchers"], &now["watched"]), (&json!([10_001]), &json!([])));
}

#[test]
fn compacting_takes_history_and_the_answers_say_so() {
    let log = compacted("340");
    let friends = why(log.path(), &["friend", "10001", "10002"]);
    assert_eq!((&friends[0]["has"], &friends[0]["since"]), (&json!(true), &Value::Null));
    let base = friends.last().unwrap()["up_to"].as_u64().unwrap();
    let said = words(log.path(), &["friend", "10001", "10002"]);
    assert!(said.contains(&format!("since {base} or before\n")), "{said}");
    assert!(said.ends_with(&format!("compacting has dropped the events up to {base}\n")), "{said}");
    let never = words(log.path(), &["friend", "10010", "10007"]);
    assert!(never.contains(&format!("and has not had since {base}\n")), "{never}");
    // What waited when it was compacted is all that is known of a message.
    let waiting = why(log.path(), &["message", "291"]);
    assert_eq!(
        (&waiting[0]["what"], &waiting[0]["message"]["from"]),
        (&json!("waited"), &json!(10_001))
    );
    let receivers: Vec<_> =
        waiting[1..].iter().filter(|object| object["what"] == "receiver").collect();
    let before = why(&golden(), &["message", "291"]);
    let expected: Vec<_> =
        before[1..].iter().filter(|object| object["seq"].as_u64() > Some(base)).collect();
    assert!(!expected.is_empty() && receivers == expected, "{receivers:?}");
    assert!(
        words(log.path(), &["message", "291"]).contains(&format!("up to {base} is not known\n"))
    );
    fails(
        log.path(),
        &["why", "$LOG", "message", "5"],
        1,
        &["compacting has dropped sequence number 5"],
    );
    // Monitoring is kept.
    let monitor = why(log.path(), &["monitor", "10010"]);
    assert_eq!(monitor.iter().filter(|object| object["what"] == "noted").count(), 2);
    let said = words(log.path(), &["monitor", "10010"]);
    assert!(
        said.contains("       -  2003-04-12T07:00:22.699Z  monitoring-started  10001"),
        "{said}"
    );
}

#[test]
fn questions_without_an_answer_say_why() {
    let fails = |arguments: &[&str], status, said: &[&str]| {
        let out = fails(&golden(), &[&["why", "$LOG"], arguments].concat(), status, said);
        assert_eq!(out, "");
    };
    fails(&["friend", "10001", "10012"], 1, &["no user 10012", "10001 to 10011"]);
    fails(&["friend", "9", "10001"], 1, &["no user 9"]);
    fails(&["monitor", "10012"], 1, &["no user 10012"]);
    fails(&["message", "548"], 1, &["no sequence number 548", "the last is 547"]);
    fails(&["message", "1"], 1, &["1 is no message, but registered: 10001 \"周馆员\""]);
    fails(&["message", "0"], 2, &["ids begin with 1"]);
    fails(&["message"], 2, &["message: 0 arguments were given, expected ID"]);
    fails(&["friend", "10001"], 2, &["friend: 1 argument was given, expected A B"]);
    fails(&["friend", "10001", "10002", "10003"], 2, &["3 arguments"]);
    fails(&["friend", "10001", "10001"], 2, &["nobody is its own friend"]);
    fails(&["monitor", "ann"], 2, &["\"ann\"", "NUMBER"]);
    fails(
        &["weather"],
        2,
        &["\"weather\" is no question, expected friend, message, login or monitor"],
    );
    fails(&[], 2, &["a question is missing"]);
    let log = damaged();
    super::fails(
        log.path(),
        &["why", "$LOG", "friend", "10001", "10002"],
        1,
        &["oicq-tools verify"],
    );
    let ended = ["why", "$LOG", "message", "26"];
    assert_eq!(
        answers(log.path(), &ended),
        answers(&golden(), &ended),
        "its end comes before the damage"
    );
}
