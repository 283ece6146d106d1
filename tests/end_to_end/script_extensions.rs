//! `oicq-tools client` with results, message ids and presence, against the real server: ticks, states, and no
//! message twice.

use std::collections::BTreeSet;

use crate::live::{PASSWORD, Script, Server, folder, result, stat, wait_for};
use crate::relay::Relay;
use crate::script::register;

/// The value of a key in a line of the client's.
fn value<'a>(line: &'a str, key: &str) -> &'a str {
    let start = line.find(&format!(" {key}=")).unwrap_or_else(|| panic!("{key} in {line}"));
    let rest = &line[start + key.len() + 2..];
    rest.split(' ').next().unwrap()
}

fn id(line: &str) -> u64 {
    value(line, "id").parse().unwrap()
}

/// The ids of all lines of a word.
fn ids(lines: &[String], word: &str) -> Vec<u64> {
    let start = format!("{word} ");
    lines.iter().filter(|line| line.starts_with(&start)).map(|line| id(line)).collect()
}

fn nothing_waits(server: &Server) {
    wait_for("all messages are delivered", || {
        (stat(server.data(), "waiting_messages") == 0).then_some(())
    });
}

#[test]
fn the_id_of_a_tick_is_that_of_the_message_and_of_its_change_in_the_log() {
    let server = Server::start(&[]);
    let mut ann = Script::start(server.address(), &[]);
    let mut bob = Script::start(server.address(), &[]);
    let (a, b) = (register(&mut ann, "ann"), register(&mut bob, "bob"));
    ann.say(&format!("send {b} hello"));
    let tick = ann.until("sent ");
    assert_eq!(tick, format!("sent id={} to={b}", id(&tick)));
    ann.until("done command=send");
    let message = bob.until("message ");
    assert_eq!((id(&message), value(&message, "from")), (id(&tick), &*a));
    let id = id(&tick).to_string();
    let shown = result("replay", server.data(), &["--from", &id, "--until", &id]);
    assert_eq!(shown.lines().count(), 1, "{shown}");
    for part in [&*id, "message-sent", value(&message, "time"), "\"hello\""] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    ann.say("broadcast all nobody is in my list");
    ann.until("done command=broadcast");
    assert_eq!(ids(&ann.seen, "sent").len(), 1, "who has no friends has sent nothing");
    ann.say("send 99999 hello");
    assert!(ann.until("refused").starts_with("refused type=0x03 code=unknown-number text="));
    assert_eq!(bob.end().0, Some(0));
    nothing_waits(&server);
}

#[test]
fn friends_are_seen_as_they_come_hide_and_go() {
    let server = Server::start(&[]);
    let mut ann = Script::start(server.address(), &[]);
    let mut bob = Script::start(server.address(), &[]);
    let (_, b) = (register(&mut ann, "ann"), register(&mut bob, "bob"));
    ann.say(&format!("add {b}"));
    let seen = |ann: &mut Script| ann.until("presence ");
    assert_eq!(value(&seen(&mut ann), "state"), "online", "once when the friend is added");
    ann.until("done command=add");
    // His name is known by then.
    ann.say(&format!("profile {b}"));
    ann.until("done command=profile");
    for (line, state) in [
        ("mode busy", "busy"),
        ("mode hidden", "offline"),
        ("mode online", "online"),
        ("logout", "offline"),
        (&format!("login {b} password={PASSWORD}"), "online"),
    ] {
        bob.say(line);
        let expected = format!("presence number={b} nickname=bob state={state}");
        assert_eq!(seen(&mut ann), expected, "{line}");
    }
    drop(bob);
    assert_eq!(value(&seen(&mut ann), "state"), "offline", "his client is gone");
    ann.say("friends");
    assert_eq!(value(&ann.until("friend "), "state"), "offline");
    ann.say(&format!("remove {b}"));
    ann.until("done command=remove");
    let count = ann.seen.iter().filter(|line| line.starts_with("presence ")).count();
    assert_eq!(count, 7);
}

#[test]
fn base_and_extended_clients_talk_to_each_other() {
    let server = Server::start(&[]);
    let mut ann = Script::start(server.address(), &["--extensions", "none"]);
    let mut bob = Script::start(server.address(), &["--extensions", "ids"]);
    let (a, b) = (register(&mut ann, "ann"), register(&mut bob, "bob"));
    let talk = |from: &mut Script, number: &str, to: &mut Script| {
        from.say(&format!("send {number} hello"));
        from.until("done command=send");
        assert!(to.until("message").ends_with("text=hello"));
        from.say("send 99999 hello");
        assert!(from.until("refused").starts_with("refused type=0x03 code=unknown-number text="));
    };
    talk(&mut ann, &b, &mut bob);
    talk(&mut bob, &a, &mut ann);
    let line = |script: &Script| {
        script.seen.iter().find(|line| line.starts_with("message")).unwrap().clone()
    };
    assert_eq!(line(&ann), format!("message from={b} text=hello"));
    assert!(id(&line(&bob)) > 0);
    for script in [ann, bob] {
        assert!(ids(&script.seen, "sent").is_empty(), "who did not ask for results has no ticks");
        assert_eq!(script.end().0, Some(0));
    }
    nothing_waits(&server);
}

#[test]
fn a_script_that_ends_has_said_what_has_arrived() {
    let server = Server::start(&[]);
    let mut ann = Script::start(server.address(), &[]);
    register(&mut ann, "ann");
    let bob = server.offline_user("bob");
    for n in 0..50 {
        ann.say(&format!("send {bob} message {n}"));
        ann.until("done command=send");
    }
    for extensions in ["all", "ids"] {
        ann.say(&format!("send {bob} the last one"));
        ann.until("done command=send");
        let options = ["--extensions", extensions];
        let mut script = Script::start(server.address(), &options);
        script.say(&format!("login {bob} password={PASSWORD}"));
        script.say("wait message text=\"the last one\" 40s");
        script.until("done command=login");
        let (status, lines, errors) = script.end();
        assert_eq!((status, &*errors), (Some(0), ""));
        let received = ids(&lines, "message");
        let sent = ids(&ann.seen, "sent");
        assert!(sent.ends_with(&received) && !received.is_empty(), "{received:?}");
        nothing_waits(&server);
    }
}

#[test]
fn a_script_that_quits_has_said_what_it_has_shown() {
    let server = Server::start(&[]);
    let mut ann = Script::start(server.address(), &[]);
    register(&mut ann, "ann");
    let bob = server.offline_user("bob");
    for round in 0..8 {
        ann.say(&format!("send {bob} {round}"));
        ann.until("done command=send");
        let mut script = Script::start(server.address(), &[]);
        script.say(&format!("login {bob} password={PASSWORD}"));
        script.say(&format!("wait message text={round} 40s"));
        script.say("quit");
        let (status, lines, errors) = script.end();
        assert_eq!((status, &*errors), (Some(0), ""));
        assert_eq!(ids(&lines, "message"), ids(&ann.seen, "sent")[round..], "{lines:?}");
        nothing_waits(&server);
    }
}

#[test]
fn a_message_whose_confirmation_got_lost_is_not_shown_again() {
    let server = Server::start(&[]);
    let relay = Relay::start(server.address());
    let mut ann = Script::start(server.address(), &[]);
    let mut bob = Script::start(relay.address(), &["--reconnect", "40s"]);
    let (_, b) = (register(&mut ann, "ann"), register(&mut bob, "bob"));
    relay.set_deaf(true);
    let send = |ann: &mut Script, text: &str| {
        ann.say(&format!("send {b} {text}"));
        id(&ann.until("sent "))
    };
    let mut sent = vec![send(&mut ann, "one"), send(&mut ann, "two")];
    bob.until("message");
    bob.until("message");
    relay.cut();
    bob.until("lost ");
    assert_eq!(stat(server.data(), "waiting_messages"), 2, "the server has not been told");
    relay.set_deaf(false);
    bob.until("logged-in ");
    sent.push(send(&mut ann, "three"));
    assert!(bob.until("message").ends_with("text=three"));
    assert_eq!(ids(&bob.seen, "message"), sent);
    assert_eq!(bob.end().0, Some(0));
    nothing_waits(&server);
}

#[test]
fn clients_outlive_a_server_that_is_killed_and_miss_nothing() {
    let folder = folder();
    let mut server = Server::start_on(&folder.path().join("store"), &[]);
    let relay = Relay::start(server.address());
    let options = ["--reconnect", "40s", "--pipeline", "20"];
    let mut ann = Script::start(relay.address(), &options);
    let mut bob = Script::start(relay.address(), &["--reconnect", "40s"]);
    let (_, b) = (register(&mut ann, "ann"), register(&mut bob, "bob"));
    for round in 0..3 {
        for n in 0..200 {
            ann.say(&format!("send {b} {round}-{n}"));
        }
        // In the middle of them.
        for _ in 0..50 {
            ann.until("sent ");
        }
        server = server.crash();
        relay.lead_to(server.address());
        ann.until("logged-in ");
        bob.until("logged-in ");
    }
    ann.say(&format!("send {b} the end"));
    let mut lines = std::mem::take(&mut ann.seen);
    let (status, rest, errors) = ann.end();
    assert_eq!((status, &*errors), (Some(0), ""));
    lines.extend(rest);
    while !bob.until("message ").ends_with("text=\"the end\"") {}
    let (sent, received) = (ids(&lines, "sent"), ids(&bob.seen, "message"));
    assert!(received.is_sorted_by(|one, next| one < next), "in order, each once: {received:?}");
    let received: BTreeSet<u64> = received.into_iter().collect();
    let missing: Vec<_> = sent.iter().filter(|id| !received.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let unanswered = lines.iter().filter(|line| *line == "unanswered command=send").count();
    assert_eq!(sent.len() + unanswered, 601, "each command has an outcome");
    // What nobody said of whether it was accepted was accepted or not, but nothing else was.
    let log = result("replay", server.data(), &["--kind", "message-sent"]);
    assert_eq!(log.lines().count(), received.len());
    assert_eq!(bob.end().0, Some(0));
    nothing_waits(&server);
}
