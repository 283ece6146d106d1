//! The client in script mode with a server that has all, some, or none of the extensions, and with one that
//! goes away and comes back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake;

use fake::{client_of, errors, lines};

const TALK: &str = "\
register ann password=secret
login 10001 password=wrong1
login 10001 password=secret
send 10002 hi there
wait message 20s
send 99 x
broadcast all hello
profile 10002
change age=21
group add Old Friends
group delete 1
move 10002 \"Old Friends\"
add 10003
remove 10003
mode busy
test
friends
logout
login 10001 password=secret
";

/// What the base protocol's lines lack.
const ADDED: [&str; 2] = [" id=", " time="];

/// A line without what the extensions add to it; nothing, where they add the line.
fn base_line(line: &str) -> Option<String> {
    let words = line.split(' ').map(|word| format!(" {word}"));
    let is_base = |word: &String| !ADDED.iter().any(|added| word.starts_with(added));
    let line: String = words.filter(is_base).collect();
    (!line.starts_with(" sent ")).then(|| line.trim_start().to_owned())
}

#[test]
fn the_same_happens_whatever_the_server_grants_and_the_client_wants() {
    let (base, _) = client_of(None, 1, TALK, &["--extensions", "none"]);
    let base = lines(&base);
    assert_eq!(base.iter().filter(|line| line.starts_with("done")).count(), 15, "{base:#?}");
    let wanted = ["none", "results", "ids", "results,ids", "presence", "results,presence", "all"];
    for has in [None, Some(0), Some(1), Some(2), Some(3), Some(6), Some(7), Some(u32::MAX)] {
        for list in wanted {
            let (output, server) = client_of(has, 1, TALK, &["--extensions", list]);
            let lines = lines(&output);
            let told: Vec<_> = lines.iter().filter_map(|line| base_line(line)).collect();
            assert_eq!(told, base, "{has:?} {list}");
            assert_eq!((output.status.code(), &*errors(&output)), (Some(0), ""));

            let granted = has.unwrap_or(0);
            let has_results = granted & 1 != 0 && (list == "all" || list.contains("results"));
            let ticks: Vec<_> = lines.iter().filter(|line| line.starts_with("sent ")).collect();
            let expected = ["sent id=77 to=10002 nickname=bob", "sent id=77 group=0"];
            assert_eq!(ticks, &expected[..if has_results { 2 } else { 0 }], "{has:?} {list}");
            let has_ids = granted & 2 != 0 && (list == "all" || list.contains("ids"));
            let messages = server.messages.len() as u64;
            let confirmed = if has_ids { messages } else { 0 };
            assert_eq!(server.confirmed, confirmed, "{has:?} {list}");
        }
    }
}

#[test]
fn commands_under_way_together_are_matched_by_their_results() {
    let mut script = String::from("login 10001 password=secret\n");
    for n in 0..500 {
        script.push_str(match n % 4 {
            0 => "send 99 x\n",
            1 => "send 10002 x\n",
            2 => "group delete 1\n",
            _ => "profile 10002\n",
        });
    }
    let (output, server) = client_of(Some(7), 1, &script, &["--pipeline", "100"]);
    let lines = lines(&output);
    let outcomes: Vec<_> = lines[2..]
        .iter()
        .filter_map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ").into())
        .filter(|line: &String| line.starts_with("done") || line.starts_with("refused"))
        .collect();
    assert_eq!(outcomes.len(), 500);
    let cycle = ["refused type=0x03", "done command=send", "refused type=0x08"];
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome, cycle.get(n % 4).unwrap_or(&"done command=profile"), "{n}");
    }
    assert_eq!((server.messages.len(), server.confirmed), (125, 125));
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}

#[test]
fn friends_states_are_shown_when_they_change() {
    let script = "login 10001 password=secret\nsend 10002 busy\nwait presence 20s\nfriends\n";
    let (output, _) = client_of(Some(7), 1, script, &[]);
    let lines = lines(&output);
    assert!(lines.contains(&"presence number=10002 nickname=bob state=busy".to_owned()));
    let friend = "friend number=10002 group=1 state=busy portrait=0 nickname=bob".to_owned();
    assert!(lines.contains(&friend), "{lines:#?}");
}

#[test]
fn a_script_comes_back_if_it_is_told_to_and_sees_no_message_twice() {
    let script = "\
login 10001 password=secret
send 10002 one
wait message text=one 20s
send 10002 die
send 10002 two
wait message text=two 20s
";
    let (output, server) = client_of(Some(7), 2, script, &["--reconnect", "20s"]);
    let lines = lines(&output);
    let time = "time=2003-04-11T16:00:00.00";
    assert_eq!(
        lines[..6],
        [
            "logged-in number=10001 groups=1 friends=1",
            "done command=login",
            &format!("message from=10002 nickname=bob id=1 {time}1Z text=one"),
            "sent id=77 to=10002 nickname=bob",
            "done command=send",
            "unanswered command=send",
        ]
    );
    assert!(lines[6].starts_with("lost text="), "{lines:#?}");
    assert!(lines[7].starts_with("connected server="), "{lines:#?}");
    assert_eq!(
        lines[8..],
        [
            "logged-in number=10001 groups=1 friends=1",
            &format!("message from=10002 nickname=bob id=2 {time}2Z text=two"),
            "sent id=77 to=10002 nickname=bob",
            "done command=send",
        ]
    );
    assert_eq!((output.status.code(), &*errors(&output)), (Some(0), ""));
    assert_eq!(server.confirmed, 2);
}

#[test]
fn a_message_comes_twice_where_it_has_no_id() {
    let script = "login 10001 password=secret\nsend 10002 one\nsend 10002 die\ntest\n";
    let (output, _) = client_of(Some(1), 2, script, &["--reconnect", "20s"]);
    let count = lines(&output).iter().filter(|line| line.starts_with("message ")).count();
    assert_eq!((count, output.status.code()), (2, Some(0)));
}

#[test]
fn a_script_that_cannot_log_in_again_ends_with_status_1() {
    let script = "login 10001 password=secret\nsend 10002 forget\ntest\n";
    let (output, _) = client_of(Some(7), 2, script, &["--reconnect", "20s"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors(&output), "oicq-tools: cannot log in again: bad-login: so it is\n");
    assert!(!lines(&output).contains(&"tested".to_owned()));
}

#[test]
fn who_has_logged_in_elsewhere_does_not_come_back() {
    let script = "login 10001 password=secret\nsend 10002 elsewhere\n";
    let (output, _) = client_of(Some(7), 1, script, &["--reconnect", "20s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("is lost: elsewhere: you have logged in elsewhere"));
    assert!(lines(&output).last().unwrap().starts_with("lost text="));
}

#[test]
fn a_server_that_does_not_come_back_is_waited_for_as_long_as_was_said() {
    let script = "login 10001 password=secret\nsend 10002 die\ntest\n";
    let (output, _) = client_of(Some(7), 1, script, &["--reconnect", "50ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("cannot connect to 127.0.0.1:"), "{}", errors(&output));
}
