//! The client in script mode, as a process, against a small server of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fake;

use std::process::Command;

use fake::{client, errors, lines};

#[test]
fn each_command_has_one_outcome_and_each_event_one_line() {
    let script = "\
# a conversation
register ann password=secret age=20
login 10001
wrong1
login 10001 password=secret
send 10002 \"hi\\nthere\"
wait message from=10002 5s
send 99 x
group delete 1
change age=21
group add Old Friends
move 10002 \"Old Friends\"
friends
test
";
    let output = client(script, &[]);
    assert_eq!(
        lines(&output),
        [
            "registered number=10001",
            "done command=register",
            "refused type=0x02 code=bad-login text=\"so it is\"",
            "logged-in number=10001 groups=1 friends=1",
            "done command=login",
            "message from=10002 nickname=bob text=\"hi\\nthere\"",
            "done command=send",
            "refused type=0x03 code=unknown-number text=\"so it is\"",
            "refused type=0x08 code=not-allowed text=\"so it is\"",
            "done command=change",
            "group-added group=2 name=\"Old Friends\"",
            "done command=group",
            "friends-moved",
            "done command=move",
            "group group=1 name=\"My Friends\" friends=0",
            "group group=2 name=\"Old Friends\" friends=1",
            "friend number=10002 group=2 state=online portrait=0 nickname=bob",
            "done command=friends",
            "tested",
            "done command=test",
        ]
    );
    assert_eq!((output.status.code(), &*errors(&output)), (Some(0), ""));
}

#[test]
fn commands_under_way_together_end_in_order() {
    let script: String =
        (0..500).map(|n| format!("send {} x{n}\n", if n % 7 == 0 { 99 } else { 10_002 })).collect();
    let script = format!("login 10001 password=secret\n{script}logout\n");
    let output = client(&script, &["--pipeline", "100"]);
    let lines = lines(&output);
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("done command=send"), count("refused"), count("message")), (428, 72, 428));
    assert_eq!(lines.last().unwrap(), "done command=logout");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn files_go_out_and_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big");
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    let script = format!(
        "file send 10002 {}\nwait file-sent\nsend 10002 files\nsend 10002 offer\n\
         wait file-offered\nfile accept 10002\nsend 10002 offer\nwait file-offered\n\
         file accept 10002\n",
        path.display()
    );
    let password = folder.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let options = [
        "--number=10001",
        "--password-file",
        password.to_str().unwrap(),
        "--downloads",
        folder.path().to_str().unwrap(),
    ];
    let output = client(&script, &options);
    let lines = lines(&output);
    for line in [
        "file-allowed to=10002 name=big",
        "file-sent to=10002 name=big length=100000",
        "message from=10002 nickname=bob text=\"{ServiceNumber(10002): (100000, 100000)}\"",
        "file-offered from=10002 nickname=bob name=../a.txt length=3",
    ] {
        assert!(lines.iter().any(|have| have == line), "{line} in {lines:?}");
    }
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    for name in ["a.txt", "a (2).txt"] {
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"abc", "{name}");
    }
}

#[test]
fn a_wait_that_fails_ends_with_status_1_and_says_where() {
    let output = client("login 10001 password=secret\nwait message from=1 50ms\ntest\n", &[]);
    assert_eq!(output.status.code(), Some(1));
    let error =
        "oicq-tools: line 2 of the commands: no such event came within 50ms: message from=1\n";
    assert_eq!(errors(&output), error);
    assert_eq!(lines(&output).last().unwrap(), "timeout event=\"message from=1\"");
}

#[test]
fn a_line_that_is_no_command_ends_with_status_1_and_without_the_password() {
    let output = client("test\nlogin 10001 sesame secret\n", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).starts_with("oicq-tools: line 2 of the commands: expected login NUMBER")
    );
    assert!(!errors(&output).contains("secret"));
    let output = client("hunter22\n", &[]);
    let error = "oicq-tools: line 1 of the commands: there is no such command; help lists them\n";
    assert_eq!((output.status.code(), &*errors(&output)), (Some(1), error));
    let output = client("send 10002 x\n", &[]);
    assert!(errors(&output).contains("log in first"));
}

#[test]
fn a_lost_connection_ends_with_status_1() {
    let output = client("login 10001 password=secret\nsend 10002 die\n", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("is lost"), "{}", errors(&output));
    assert!(lines(&output).last().unwrap().starts_with("lost text="));
}

#[test]
fn a_wrong_call_ends_with_status_2() {
    let run = |arguments: &[&str]| {
        let tools =
            Command::new(env!("CARGO_BIN_EXE_oicq-tools")).args(arguments).output().unwrap();
        (tools.status.code(), errors(&tools))
    };
    for (arguments, expected) in [
        (&[][..], "a command is missing"),
        (&["dance"], "\"dance\" is no command, expected replay, "),
        (&["client"], "ADDR is missing"),
        (&["client", "x:1", "--charset", "latin1"], "--charset"),
    ] {
        let (status, error) = run(arguments);
        assert_eq!(status, Some(2), "{arguments:?}");
        assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
    }
    for arguments in [&["-h"][..], &["--version"], &["client", "--help"], &["client", "-V"]] {
        assert_eq!(run(arguments), (Some(0), String::new()), "{arguments:?}");
    }
    let (status, error) = run(&["client", "127.0.0.1:1"]);
    assert_eq!(status, Some(1));
    assert!(error.contains("cannot connect to 127.0.0.1:1"), "{error}");
}
