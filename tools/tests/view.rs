//! The viewer in a terminal, and what else is different there: a pseudo-terminal, read as a person would see it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// The longest that anything is waited for before the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/golden/v1");

fn size(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

/// A viewer and its terminal.
struct Viewer {
    child: Child,
    own: File,
    /// The child's side, to ask for its settings.
    line: File,
    written: Receiver<Vec<u8>>,
    screen: vt100::Parser,
}

/// Starts one on a terminal of its own: the program, and both sides of the terminal.
fn spawn(log: &Path) -> (Child, File, File) {
    spawn_with(log, &std::env::temp_dir())
}

/// The same, and temporary folders are made in `temporary`.
fn spawn_with(log: &Path, temporary: &Path) -> (Child, File, File) {
    spawn_tool(&["view", log.to_str().unwrap()], temporary)
}

/// Starts any tool.
fn spawn_tool(arguments: &[&str], temporary: &Path) -> (Child, File, File) {
    let own = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .unwrap();
    grantpt(&own).unwrap();
    unlockpt(&own).unwrap();
    let name = ptsname(&own, Vec::new()).unwrap();
    // Whoever runs the tests without a terminal does not get this one.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = || File::from(rustix::fs::open(&name, flags, Mode::empty()).unwrap());
    tcsetwinsize(&own, Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let line = open();
    // Its terminal is to be this one, and not that of whoever runs the tests.
    let mut command = Command::new("setsid");
    command.args(["-c", env!("CARGO_BIN_EXE_oicq-tools")]).args(arguments);
    command.env("TERM", "xterm").env_remove("NO_COLOR").env("TMPDIR", temporary);
    command.stdin(open()).stdout(open()).stderr(open());
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        // What this program has a handler for is ignored by none that it starts, whoever has started it.
        let as_ever = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_default(signal.as_raw(), as_ever).unwrap();
    }
    let child = command.spawn().unwrap();
    (child, File::from(own), line)
}

impl Viewer {
    fn start(log: &Path) -> Self {
        Self::watch(spawn(log))
    }

    fn watch((child, own, line): (Child, File, File)) -> Self {
        let (sender, written) = channel();
        let mut reading = own.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, own, line, written, screen: vt100::Parser::new(size(30), size(100), 0) }
    }

    /// Waits until the screen holds this.
    fn sees(&mut self, what: &str) {
        while !self.screen.screen().contents().contains(what) {
            let Ok(bytes) = self.written.recv_timeout(PATIENCE) else {
                panic!("{what:?} is not on the screen:\n{}", self.screen.screen().contents());
            };
            self.screen.process(&bytes);
        }
    }

    fn press(&mut self, keys: &str) {
        self.own.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the end; answers the status. The terminal is as it was before.
    fn ends(mut self) -> std::process::ExitStatus {
        let status = self.child.wait().unwrap();
        while self.screen.screen().alternate_screen() {
            self.screen.process(&self.written.recv_timeout(PATIENCE).unwrap());
        }
        assert!(!self.screen.screen().hide_cursor());
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        status
    }
}

#[test]
fn keys_move_through_the_log_and_the_terminal_is_given_back() {
    let mut viewer = Viewer::start(Path::new(LOG));
    viewer.sees("event 547 of 547");
    viewer.sees("? help  q quit");
    assert!(viewer.screen.screen().alternate_screen());
    viewer.press("g");
    viewer.sees("event 1 of 547");
    viewer.sees("registered  10001 \"周馆员\"");
    viewer.press("jj\u{1b}[A");
    viewer.sees("event 2 of 547");
    viewer.press(":17\r");
    viewer.sees("event 17 of 547");
    viewer.press("\t");
    viewer.sees("may be added: ask");
    viewer.press("u10007\r");
    viewer.sees("of 10007 \"青蛙Frog\"");
    viewer.press("\u{1b}");
    viewer.sees("event 91 of 547");
    viewer.press("/打印机\r");
    viewer.sees("打印机");
    viewer.press("r");
    viewer.sees("read again, 0 more");
    viewer.press("q");
    assert_eq!(viewer.ends().code(), Some(0));
}

#[test]
fn no_bar_stands_between_lines() {
    let (mut child, mut own, line) = spawn_tool(&["replay", LOG], &std::env::temp_dir());
    drop(line);
    let mut written = Vec::new();
    // A terminal that nobody writes to any more ends with an error.
    let _ = own.read_to_end(&mut written);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let written = String::from_utf8(written).unwrap();
    let lines: Vec<_> = written.lines().filter(|line| line.contains("\u{1b}[2m2003-")).collect();
    assert_eq!(lines.len(), 547);
    for line in lines {
        // What was there before the first line is wiped away.
        let shown = line.rsplit("\u{1b}[2K").next().unwrap();
        assert!(shown.trim_start().starts_with(|c: char| c.is_ascii_digit()), "{line:?}");
        assert!(!shown.contains(" left"), "{line:?}");
    }
}

#[test]
fn another_size_is_another_screen() {
    let mut viewer = Viewer::start(Path::new(LOG));
    viewer.sees("? help  q quit");
    let smaller = Winsize { ws_row: 12, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 };
    viewer.screen.screen_mut().set_size(size(12), size(60));
    tcsetwinsize(&viewer.own, smaller).unwrap();
    viewer.sees("────");
    viewer.press("q");
    assert_eq!(viewer.ends().code(), Some(0));
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_given_back() {
    use std::os::unix::process::ExitStatusExt as _;
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let mut viewer = Viewer::start(Path::new(LOG));
        viewer.sees("event 547 of 547");
        kill_process(Pid::from_child(&viewer.child), signal).unwrap();
        assert_eq!(viewer.ends().signal(), Some(signal.as_raw()));
    }
}

#[test]
fn a_packed_file_is_viewed_and_nothing_is_left_of_it() {
    use std::os::unix::process::ExitStatusExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (case, temporary) = (folder.path().join("case"), folder.path().join("temporary"));
    std::fs::create_dir(&temporary).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_oicq-tools"));
    assert!(command.args(["pack", LOG]).arg(&case).output().unwrap().status.success());
    let unpacked = || std::fs::read_dir(&temporary).unwrap().count();
    let mut viewer = Viewer::watch(spawn_with(&case, &temporary));
    viewer.sees("event 547 of 547");
    viewer.sees(case.to_str().unwrap());
    viewer.press(":17\r");
    viewer.sees("event 17 of 547");
    viewer.press("r");
    viewer.sees("read again, 0 more");
    assert_eq!(unpacked(), 1);
    viewer.press("q");
    assert_eq!((viewer.ends().code(), unpacked()), (Some(0), 0));
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP] {
        let mut viewer = Viewer::watch(spawn_with(&case, &temporary));
        viewer.sees("event 547 of 547");
        kill_process(Pid::from_child(&viewer.child), signal).unwrap();
        let status = viewer.child.wait().unwrap();
        assert_eq!((status.signal(), unpacked()), (Some(signal.as_raw()), 0));
    }
}

#[test]
fn a_terminal_that_is_gone_ends_it() {
    let (mut child, mut own, line) = spawn(Path::new(LOG));
    let mut screen = vt100::Parser::new(size(30), size(100), 0);
    let mut buffer = [0; 4096];
    while !screen.screen().contents().contains("event 547 of 547") {
        let count = own.read(&mut buffer).unwrap();
        screen.process(&buffer[..count]);
    }
    drop((own, line));
    let ended = (0..PATIENCE.as_millis() / 20).any(|_| {
        thread::sleep(Duration::from_millis(20));
        child.try_wait().unwrap().is_some()
    });
    if !ended {
        child.kill().unwrap();
    }
    assert!(ended, "it goes on without a terminal");
}

#[test]
fn of_a_damaged_log_the_rest_is_shown_and_the_status_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for name in std::fs::read_dir(LOG).unwrap().map(|entry| entry.unwrap().file_name()) {
        std::fs::copy(Path::new(LOG).join(&name), folder.path().join(&name)).unwrap();
    }
    let file = folder.path().join("00000000000000000221.log");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[8_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let mut viewer = Viewer::start(folder.path());
    viewer.sees("damaged at offset");
    viewer.press("g");
    viewer.sees("event 1 of ");
    viewer.press("q");
    assert_eq!(viewer.ends().code(), Some(1));
}

#[test]
fn without_a_terminal_it_says_what_it_needs() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oicq-tools"));
    let output = command.args(["view", LOG]).stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("view needs a terminal") && errors.lines().count() == 1, "{errors}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_oicq-tools"));
    let output = command.arg("view").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let mut command = Command::new(env!("CARGO_BIN_EXE_oicq-tools"));
    let page =
        String::from_utf8(command.args(["view", "--help"]).output().unwrap().stdout).unwrap();
    assert!(page.starts_with("Usage: oicq-tools view DIR") && page.contains("NO_COLOR"), "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
}
