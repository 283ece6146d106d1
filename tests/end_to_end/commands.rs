//! The server's command line: every option, the help page, the config file, and what is said when
//! something about them is wrong.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use oicq::wire::Code;

use crate::live::{PASSWORD, Server, fails, folder, message, register};

/// Every option with its default, as they are promised.
const OPTIONS: &[(&str, &str)] = &[
    ("-l, --listen ADDR", "127.0.0.1:8000"),
    ("-d, --data DIR", "data/store"),
    ("--durability MODE", "always"),
    ("--segment-size SIZE", "64MiB"),
    ("--operator NUMBER", ""),
    ("--service KIND=NUMBER", ""),
    ("--charset NAME", "utf-8"),
    ("--registration MODE", "open"),
    ("--password-cost KIB,N", "19456,2"),
    ("--max-connections N", "as many files as the system allows"),
    ("--login-timeout TIME", "30s"),
    ("--idle-timeout TIME", "180s"),
    ("--slow-timeout TIME", "30s"),
    ("--login-failures N", "5"),
    ("--registrations N", "10"),
    ("--requests RATE,BURST", "1000,10000"),
    ("--connections N", "1000"),
    ("--mailbox-messages N", "1000"),
    ("--mailbox-size SIZE", "1MiB"),
    ("-c, --config FILE", ""),
    ("-v, --verbose", ""),
];

/// Runs the server with these arguments and nothing else: status, standard output, standard error.
fn plain(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oicqd"));
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_help_page_lists_every_option_with_its_default_and_fits() {
    let (status, page, errors) = plain(&["-h"]);
    assert_eq!((status, &*errors), (Some(0), ""));
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    let words: Vec<&str> = page.split_whitespace().collect();
    let flat = words.join(" ");
    for (option, default) in OPTIONS {
        let at = flat.find(option).unwrap_or_else(|| panic!("{option} in {page}"));
        let end = flat[at + 4..].find(" --").map_or(flat.len(), |end| at + 4 + end);
        let default = format!("[{default}]");
        assert!(default == "[]" || flat[at..end].contains(&default), "{option} {default}: {page}");
    }
    assert_eq!(plain(&["--help"]), (Some(0), page, String::new()));
}

#[test]
fn the_version_is_one_line() {
    for option in ["-V", "--version"] {
        let (status, out, errors) = plain(&[option]);
        assert_eq!((status, &*errors), (Some(0), ""));
        assert!(out.contains(env!("CARGO_PKG_VERSION")) && out.lines().count() == 1, "{out}");
    }
}

#[test]
fn help_into_a_closed_pipe_ends_quietly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oicqd"));
    let mut child =
        command.arg("-h").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_wrong_option_says_which_and_what_was_expected() {
    let wrong: &[(&[&str], &[&str])] = &[
        (&["--listen", "8000"], &["--listen", "8000"]),
        (&["--listen", "localhost"], &["--listen"]),
        (&["--durability", "sometimes"], &["--durability", "always", "interval", "never"]),
        (&["--durability", "interval=5"], &["--durability"]),
        (&["--segment-size", "64KB"], &["--segment-size", "64KB"]),
        (&["--segment-size", "0"], &["--segment-size"]),
        (&["--operator", "ann"], &["--operator", "ann"]),
        (&["--service", "fax"], &["--service", "fax"]),
        (&["--service", "web=10001"], &["--service", "fax", "print", "chat"]),
        (&["--service", "fax=10001", "--service", "fax=10002"], &["--service"]),
        (&["--charset", "latin1"], &["--charset", "utf-8", "gb18030"]),
        (&["--registration", "ajar"], &["--registration", "open", "closed"]),
        (&["--password-cost", "8"], &["--password-cost"]),
        (&["--password-cost", "1,1"], &["--password-cost"]),
        (&["--max-connections", "0"], &["--max-connections"]),
        (&["--login-timeout", "30"], &["--login-timeout", "ms"]),
        (&["--idle-timeout", "3h"], &["--idle-timeout", "min"]),
        (&["--slow-timeout", ""], &["--slow-timeout"]),
        (&["--login-failures", "-1"], &["--login-failures"]),
        (&["--registrations", "few"], &["--registrations", "few"]),
        (&["--requests", "5"], &["--requests"]),
        (&["--connections", "1.5"], &["--connections"]),
        (&["--mailbox-messages", "many"], &["--mailbox-messages"]),
        (&["--mailbox-size", "1MB"], &["--mailbox-size", "MiB"]),
        (&["--verbose=3"], &["--verbose"]),
        (&["--data"], &["--data"]),
        (&["--config"], &["--config"]),
        (&["--frobnicate"], &["--frobnicate"]),
        (&["-x"], &["-x"]),
        (&["store"], &["store"]),
    ];
    for (arguments, said) in wrong {
        let (status, out, errors) = plain(arguments);
        assert_eq!((status, &*out), (Some(2), ""), "{arguments:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{arguments:?}: {errors}");
        for word in *said {
            assert!(errors.contains(word), "{arguments:?} say {word}: {errors}");
        }
    }
}

#[test]
fn every_option_is_taken() {
    let data = folder();
    let config = data.path().join("config");
    fs::write(&config, "").unwrap();
    let server = Server::start_on(
        &data.path().join("store"),
        &[
            "-l",
            "127.0.0.1:0",
            "--durability",
            "interval=10ms",
            "--segment-size",
            "1MiB",
            "--operator",
            "10001",
            "--operator=10002",
            "--service",
            "fax=10003",
            "--service",
            "print=10004",
            "--charset",
            "utf-8",
            "--registration",
            "open",
            "--password-cost",
            "8,1",
            "--max-connections",
            "100",
            "--login-timeout",
            "1min",
            "--idle-timeout",
            "2min",
            "--slow-timeout",
            "9000ms",
            "--login-failures",
            "0",
            "--registrations",
            "0",
            "--requests",
            "100,1000",
            "--connections",
            "0",
            "--mailbox-messages",
            "10",
            "--mailbox-size",
            "65536",
            "-c",
            config.to_str().unwrap(),
            "-v",
            "--verbose",
        ],
    );
    server.user("ann");
    server.stop();
}

#[test]
fn more_is_said_with_each_verbose() {
    let said = |options: &[&str]| {
        let server = Server::start(options);
        server.user("ann").log_out();
        server.stop().stderr.lines().count()
    };
    let (quiet, loud) = (said(&[]), said(&["-vvv"]));
    assert_eq!(quiet, 0, "nothing is said where nothing is wrong");
    assert!(loud > said(&["-v"]), "{loud} lines");
}

#[test]
fn a_charset_decides_which_bytes_are_text() {
    let gb = [0xC4, 0xE3, 0xBA, 0xC3];
    for (charset, good, bad) in
        [("gb18030", &gb[..], &[0xFF, 0xFF][..]), ("utf-8", "你好".as_bytes(), &gb[..])]
    {
        let server = Server::start(&["--charset", charset]);
        let mut ann = server.user("ann");
        let send = |content| oicq::wire::Request::Send { receiver: ann.own, content };
        let (good, bad) = (send(good), send(bad));
        assert_eq!(ann.ask(good).len(), 1, "{charset}");
        assert_eq!(ann.refused(bad), (Code::BadValue, 0), "{charset}");
    }
}

fn config(folder: &Path, text: &str) -> String {
    let path = folder.join("oicqd.conf");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_config_file_gives_options_and_the_command_line_wins() {
    let folder = folder();
    let text = "# a small server\n\n--registration closed # for now\n--mailbox-messages 5\n\
                --mailbox-messages 1\n  --login-failures=0\n--verbose\n";
    let path = config(folder.path(), text);
    let data = folder.path().join("store");
    let server = Server::start_on(&data, &["--config", &path]);
    let mut client = server.connect();
    client.send(register("ann", PASSWORD, 0));
    client.get();
    assert_eq!(client.get().notice().unwrap().1, Code::RegistrationClosed);
    server.stop();
    for options in
        [["-c", &path, "--registration", "open"], ["--registration", "open", "-c", &path]]
    {
        let server = Server::start_on(&data, &options);
        let (ann, mut bob) = (server.offline_user("ann"), server.user("bob"));
        bob.tell(ann, "one");
        assert_eq!(bob.refused(message(ann, "two")), (Code::MailboxFull, 0), "the last counts");
        server.stop();
    }
}

#[test]
fn errors_in_a_config_file_name_the_file_and_the_line() {
    let folder = folder();
    let data = folder.path().join("store");
    for (text, line, said) in [
        ("--charset utf-8\n\n# x\n--charset latin1\n", 4, "--charset"),
        ("--what\n", 1, "--what"),
        ("\nlisten 127.0.0.1:0\n", 2, "listen"),
        ("--idle-timeout\n", 1, "--idle-timeout"),
    ] {
        let path = config(folder.path(), text);
        let (status, errors) = fails(&data, &["-c", &path]);
        assert_eq!(status, Some(2), "{errors}");
        assert!(errors.contains(&format!("{path}:{line}")) && errors.contains(said), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    let missing = folder.path().join("nothing");
    let (status, errors) = fails(&data, &["-c", missing.to_str().unwrap()]);
    assert_eq!((status, errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.contains(missing.to_str().unwrap()), "{errors}");
    assert!(errors.contains("name another behind --config"), "what to do: {errors}");
    assert!(!data.exists(), "nothing has been made");
}

#[test]
fn a_port_in_use_is_named() {
    let server = Server::start(&[]);
    let folder = folder();
    let address = server.address().to_string();
    let (status, errors) = fails(folder.path(), &["--listen", &address]);
    assert_eq!((status, errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.contains(&address), "{errors}");
    assert!(errors.contains("choose another with --listen"), "what to do: {errors}");
    server.user("ann");
}

#[test]
fn standard_output_has_the_listening_lines_alone() {
    let folder = folder();
    let server =
        Server::start_on(folder.path(), &["-l", "127.0.0.1:0", "-l", "127.0.0.1:0", "-vvv"]);
    assert!(server.addresses.iter().all(|address| address.port() != 0));
    server.user("ann");
    assert_eq!(server.stop().stdout, "");
}

#[test]
fn costs_sizes_and_durability_show_in_the_log() {
    let folder = folder();
    let data = folder.path().join("store");
    let first = |data: &Path| fs::read(data.join("00000000000000000001.log")).unwrap();
    let options = ["--password-cost", "16,2", "--segment-size", "1MiB", "--durability", "never"];
    let server = Server::start_on(&folder.path().join("other"), &["-d", data.to_str().unwrap()]);
    server.offline_user("ann");
    server.stop();
    assert!(!folder.path().join("other").exists(), "the last folder counts");
    let log = first(&data);
    assert_eq!((log.len(), log[11]), (64 << 10, 0), "size and weak");
    assert!(log.windows(7).any(|bytes| bytes == b"m=8,t=1"));
    let data = folder.path().join("weak");
    let server = Server::start_on(&data, &options);
    server.offline_user("ann");
    server.stop();
    let log = first(&data);
    assert_eq!((log.len(), log[11]), (1 << 20, 1), "size and weak");
    assert!(log.windows(8).any(|bytes| bytes == b"m=16,t=2"));
    let server = Server::start_on(&data, &[]);
    server.back(oicq::id::ServiceNumber(10_001));
}
