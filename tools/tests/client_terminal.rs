//! The client where commands and passwords are typed: at the line editor, and where standard output is a file.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod fake;

use std::fs::File;
use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

/// The longest that anything is waited for before the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What comes out of a pipe or a terminal.
struct Shown {
    pieces: Receiver<Vec<u8>>,
    text: String,
}

impl Shown {
    fn of(mut from: impl Read + Send + 'static) -> Self {
        let (sender, pieces) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            // A terminal that nobody writes to any more ends with an error.
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { pieces, text: String::new() }
    }

    /// Waits until this has come.
    fn sees(&mut self, what: &str) {
        while !self.text.contains(what) {
            let Ok(piece) = self.pieces.recv_timeout(PATIENCE) else {
                panic!("{what:?} does not come: {:?}", self.text);
            };
            self.text.push_str(&String::from_utf8_lossy(&piece));
        }
    }

    /// All that has come when there is no more.
    fn all(mut self) -> String {
        while let Ok(piece) = self.pieces.recv_timeout(PATIENCE) {
            self.text.push_str(&String::from_utf8_lossy(&piece));
        }
        self.text
    }
}

/// A terminal: the side that types and sees, and the other one.
fn terminal() -> (File, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let own = rustix::pty::openpt(flags).unwrap();
    grantpt(&own).unwrap();
    unlockpt(&own).unwrap();
    let name = ptsname(&own, Vec::new()).unwrap();
    // Whoever runs the tests without a terminal does not get this one.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let line = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
    (File::from(own), File::from(line))
}

fn local_modes(line: &File) -> LocalModes {
    tcgetattr(line).unwrap().local_modes
}

/// Waits until something can be read, somebody connects, or a process has ended.
fn wait_for(what: &impl AsFd, else_words: &str) {
    let patience = Timespec { tv_sec: PATIENCE.as_secs().try_into().unwrap(), tv_nsec: 0 };
    let mut awaited = [PollFd::new(what, PollFlags::IN)];
    let count = retry_on_intr(|| poll(&mut awaited, Some(&patience))).unwrap();
    assert!(count > 0, "{else_words}");
}

/// How a client ends.
fn end(client: &mut Child) -> ExitStatus {
    let end = pidfd_open(Pid::from_child(client), PidfdFlags::empty()).unwrap();
    wait_for(&end, "the client does not end");
    client.wait().unwrap()
}

/// Waits until the fake server has ended.
fn end_of(server: JoinHandle<fake::Server>) {
    let (sender, outcome) = channel();
    thread::spawn(move || sender.send(server.join()));
    let outcome = outcome.recv_timeout(PATIENCE);
    assert!(matches!(outcome, Ok(Ok(_))), "the server does not end, or has failed");
}

fn client_at(line: &File, arguments: &[&str]) -> Command {
    // Its terminal is to be this one, and not that of whoever runs the tests.
    let mut command = Command::new("setsid");
    command.args(["-c", env!("CARGO_BIN_EXE_oicq-tools"), "client"]).args(arguments);
    command.env("TERM", "xterm").stdin(line.try_clone().unwrap());
    // What this program has a handler for is ignored by none that it starts, whoever has started it.
    let as_ever = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_default(Signal::TERM.as_raw(), as_ever).unwrap();
    command
}

/// A client at the line editor.
fn client_at_editor(line: &File, arguments: &[&str]) -> Child {
    let stdio = || line.try_clone().unwrap();
    client_at(line, arguments).stdout(stdio()).stderr(stdio()).spawn().unwrap()
}

/// A client whose input is typed and whose output is not seen.
struct Typed {
    child: Child,
    own: File,
    line: File,
    seen: Shown,
    output: Shown,
    errors: Shown,
}

impl Typed {
    fn start(arguments: &[&str]) -> Self {
        let (own, line) = terminal();
        let mut command = client_at(&line, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let seen = Shown::of(own.try_clone().unwrap());
        let output = Shown::of(child.stdout.take().unwrap());
        let errors = Shown::of(child.stderr.take().unwrap());
        Self { child, own, line, seen, output, errors }
    }

    /// Types, and asks whether a line is there: the answer comes when what was typed is through to the other side.
    fn types(&mut self, keys: &str) {
        self.own.write_all(keys.as_bytes()).unwrap();
        poll(&mut [PollFd::new(&self.line, PollFlags::IN)], Some(&Timespec::default())).unwrap();
    }

    fn has_echo(&self) -> bool {
        local_modes(&self.line).contains(LocalModes::ECHO)
    }

    /// What a shell would read at the terminal when the line is ended.
    fn left_behind(&mut self) -> String {
        self.types("\n");
        wait_for(&self.line, "no line is left");
        let mut left = [0; 64];
        let count = self.line.read(&mut left).unwrap();
        String::from_utf8_lossy(&left[..count]).into_owned()
    }
}

#[test]
fn a_password_is_not_seen_where_only_the_input_is_a_terminal() {
    for options in [&[][..], &["--script"]] {
        let (address, server) = fake::start(Some(0));
        let mut client = Typed::start(&[&[&*address], options].concat());
        assert!(client.has_echo());
        client.types("login 10001\n");
        client.errors.sees("password: ");
        assert!(!client.has_echo());
        client.types("secret\n");
        client.output.sees("done command=login\n");
        assert!(client.has_echo());
        client.types("quit\n");
        assert_eq!(end(&mut client.child).code(), Some(0));
        drop((client.own, client.line));
        let seen = client.seen.all();
        assert!(seen.contains("login 10001") && !seen.contains("secret"), "{seen:?}");
        assert!(!client.output.all().contains("password: "));
        end_of(server);
    }
}

#[test]
fn a_new_users_password_is_typed_twice_where_it_is_not_seen() {
    for (again, status) in [("secret\n", 0), ("secrte\n", 1)] {
        let (address, server) = fake::start(Some(0));
        let mut client = Typed::start(&[&address]);
        client.types("register ann\n");
        client.errors.sees("password: ");
        client.types("secret\n");
        client.errors.sees("again: ");
        client.types(again);
        if status == 0 {
            client.output.sees("registered number=10001\n");
            client.types("quit\n");
        } else {
            client.errors.sees("line 1 of the commands: the two passwords differ");
        }
        assert_eq!(end(&mut client.child).code(), Some(status));
        end_of(server);
    }
}

#[test]
fn a_signal_in_the_middle_of_a_password_leaves_the_terminal_as_it_was() {
    let (address, server) = fake::start(Some(0));
    let mut client = Typed::start(&[&address, "--number=10001"]);
    client.errors.sees("password: ");
    client.types("sec");
    assert!(!client.has_echo());
    kill_process(Pid::from_child(&client.child), Signal::TERM).unwrap();
    assert_eq!(end(&mut client.child).signal(), Some(Signal::TERM.as_raw()));
    assert!(client.has_echo());
    assert_eq!(client.left_behind(), "\n");
    end_of(server);
}

#[test]
fn a_signal_in_the_middle_of_a_line_leaves_the_terminal_as_it_was() {
    let (address, server) = fake::start(Some(0));
    let (mut own, line) = terminal();
    let mut child = client_at_editor(&line, &[&address]);
    let mut seen = Shown::of(own.try_clone().unwrap());
    seen.sees("> ");
    own.write_all(b"logi").unwrap();
    seen.sees("logi");
    let as_ever = LocalModes::ECHO | LocalModes::ICANON;
    assert!(!local_modes(&line).intersects(as_ever));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(end(&mut child).signal(), Some(Signal::TERM.as_raw()));
    assert!(local_modes(&line).contains(as_ever));
    end_of(server);
}

#[test]
fn a_connection_lost_in_the_middle_of_a_password_leaves_the_terminal_as_it_was() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = Typed::start(&[&address, "--number=10001", "--extensions=none"]);
    wait_for(&listener, "the client does not connect");
    let (stream, _) = listener.accept().unwrap();
    client.errors.sees("password: ");
    client.types("sec");
    assert!(!client.has_echo());
    drop(stream);
    assert_eq!(end(&mut client.child).code(), Some(1));
    assert!(client.has_echo());
    assert_eq!(client.left_behind(), "\n");
}

#[test]
fn nothing_of_a_password_comes_back_at_the_next_prompt() {
    let (address, server) = fake::start(Some(0));
    let (mut own, line) = terminal();
    let mut child = client_at_editor(&line, &[&address, "--number=10001"]);
    drop(line);
    let mut seen = Shown::of(own.try_clone().unwrap());
    seen.sees("password: ");
    // Begun anew, and what would cut a word out does nothing.
    own.write_all(b"wrogn\x7f\x7fng\x15").unwrap();
    own.write_all(b"sec\x17ret\r").unwrap();
    seen.sees("10001> ");
    // What was cut out last is fetched with this key.
    own.write_all(b"\x19\x15quit\r").unwrap();
    assert_eq!(end(&mut child).code(), Some(0));
    drop(own);
    let seen = seen.all();
    assert!(!["wro", "sec", "ret"].iter().any(|part| seen.contains(part)), "{seen:?}");
    end_of(server);
}
