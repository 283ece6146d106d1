//! What a measurement starts beside itself: a server or a relay as a process of its own, from the line in which it
//! says where it listens to its end.
//!
//! A child ends when it is dropped, and when the process that has started it ends, however that happens. Nobody waits
//! longer for its line, or for its end, than for anything else in a measurement.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdout, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getppid, getrlimit, kill_process, pidfd_open,
    set_parent_process_death_signal, setrlimit,
};

use super::clock::Clock;
use super::relay::{Relay, Sort};
use super::run::Run;
use super::stream::timespec;
use crate::failure::Failure;

/// The argument behind `bench` that makes this program the beginning of a child. It is for [`tied`] alone.
pub(crate) const BECOME: &str = "--become";

/// The longest first line of a child.
const LINE_BYTES_MAX: usize = 4_096;
/// Between two looks at whether the measurement is to stop.
const LOOK_NS: u64 = 250_000_000;

/// What a server that is started allows its users.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limits {
    /// What it allows where nobody says anything else.
    Usual,
    /// Everything.
    None,
}

/// Where a server has its log that was started for a measurement in this folder.
pub(crate) fn store(folder: &Path) -> PathBuf {
    folder.join("store")
}

/// A program with its arguments, to be started: it reads nothing, and ends when this process ends.
pub(crate) fn tied(arguments: &[OsString]) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["bench", BECOME]).arg(process::id().to_string()).args(arguments);
    command.stdin(Stdio::null());
    // A terminal's Ctrl-C is for this process alone, which ends its children when it has done with them.
    command.process_group(0);
    Ok(command)
}

/// A process that listens.
pub(crate) struct Child {
    process: Process,
    /// Open while it runs: what it says behind its first line must not meet a closed pipe.
    _says: ChildStdout,
    pub(crate) address: SocketAddr,
}

/// A process that ends when this is dropped.
struct Process {
    process: process::Child,
    /// How long it may take to end.
    patience_ns: u64,
}

impl Child {
    /// Starts a server with these limits, these options behind those of a measurement, and its log in `folder`.
    pub(crate) fn server(
        run: &Run,
        program: &Path,
        folder: &Path,
        limits: Limits,
        options: &[OsString],
    ) -> Result<Self, Failure> {
        let mut arguments: Vec<OsString> = vec![program.into()];
        arguments.extend(FREE_PORT.iter().map(OsString::from));
        if limits == Limits::None {
            arguments.extend(NO_LIMITS.iter().map(OsString::from));
        }
        arguments.extend(["--data".into(), store(folder).into()]);
        arguments.extend_from_slice(options);
        Self::start(run, &arguments, &program.display().to_string())
    }

    /// Starts a relay, which writes what it writes in `folder`.
    pub(crate) fn relay(run: &Run, sort: Sort, folder: &Path) -> Result<Self, Failure> {
        let cannot = |error| Failure::Failed(format!("cannot find this program: {error}"));
        let program = env::current_exe().map_err(cannot)?;
        let mut arguments = vec![program.into()];
        arguments.extend(["bench", "--relay", sort.name(), "--dir"].map(OsString::from));
        arguments.push(folder.into());
        Self::start(run, &arguments, &format!("the {} relay", sort.name()))
    }

    fn start(run: &Run, arguments: &[OsString], what: &str) -> Result<Self, Failure> {
        let cannot = |error: io::Error| Failure::Failed(format!("cannot start {what}: {error}"));
        let mut command = tied(arguments).map_err(cannot)?;
        let process = command.stdout(Stdio::piped()).spawn().map_err(cannot)?;
        let mut process = Process { process, patience_ns: run.patience_ns };
        let address_in = |line: &str| line.trim_end().strip_prefix("listening on ")?.parse().ok();
        if let Some(mut says) = process.process.stdout.take() {
            let line = first_line(run, &mut says, what)?;
            if let Some(address) = address_in(&line) {
                return Ok(Self { process, _says: says, address });
            }
        }
        Err(Failure::Failed(format!(
            "{what} does not say where it listens; what it says instead stands before this line"
        )))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.process.process), signal);
    }

    /// How it has ended, once it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.process.try_wait().ok().flatten()
    }

    /// Ends it; an error says in words what was not in order.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        match self.ended() {
            Some(status) => in_order(status, false),
            None => self.process.end(),
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.process.id()
    }
}

/// What a child says up to the end of its first line, or all that it says where it ends before.
fn first_line(run: &Run, says: &mut ChildStdout, what: &str) -> Result<String, Failure> {
    let cannot = |error: io::Error| Failure::Failed(format!("cannot start {what}: {error}"));
    let until_ns = run.ns().saturating_add(run.patience_ns);
    let mut line = Vec::new();
    loop {
        let now_ns = run.ns();
        run.look(now_ns)?;
        if now_ns >= until_ns {
            let s = run.patience_ns as f64 / 1e9;
            return Err(Failure::Failed(format!("{what} has not said for {s} s where it listens")));
        }
        if !is_ready(&*says, LOOK_NS.min(until_ns - now_ns)).map_err(cannot)? {
            continue;
        }
        let mut room = [0; 256];
        let count = says.read(&mut room).map_err(cannot)?;
        line.extend_from_slice(&room[..count]);
        if count == 0 || line.contains(&b'\n') || line.len() > LINE_BYTES_MAX {
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
            return Ok(String::from_utf8_lossy(line).into_owned());
        }
    }
}

/// Whether something can be read, or a process has ended, within so many nanoseconds.
fn is_ready(file: impl AsFd, patience_ns: u64) -> io::Result<bool> {
    match poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&timespec(patience_ns))) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a process ends within so many nanoseconds, whatever signals come meanwhile.
fn ends_within(process: &OwnedFd, patience_ns: u64) -> bool {
    let clock = Clock::start();
    loop {
        let left_ns = patience_ns.saturating_sub(clock.ns());
        match is_ready(process, left_ns) {
            Ok(false) if left_ns > 0 => {}
            Ok(is_ready) => return is_ready,
            // It is waited for in another way then.
            Err(_) => return true,
        }
    }
}

/// Waits until a process ends, and kills it where that takes too long: how it has ended, `None` where it was killed.
/// Nobody has seen its end yet: otherwise its number may be another's by now.
pub(crate) fn end_within(
    process: &mut process::Child,
    patience_ns: u64,
) -> io::Result<Option<ExitStatus>> {
    let end = pidfd_open(Pid::from_child(process), PidfdFlags::empty());
    let is_late = end.is_ok_and(|end| !ends_within(&end, patience_ns));
    if is_late {
        let _ = process.kill();
    }
    let status = process.wait()?;
    Ok((!is_late).then_some(status))
}

/// Whether a child has ended as it is to: when it was told to, and with success. An error says in words how it has not.
pub(crate) fn in_order(status: ExitStatus, was_stopped: bool) -> Result<(), String> {
    match (was_stopped, status.success()) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("was stopped, and ended with {status}")),
        (false, _) => Err(format!("has ended by itself, with {status}")),
    }
}

/// What is said of a process that was to end.
pub(crate) fn does_not_end(patience_ns: u64) -> String {
    format!("has not ended for {} s, and was killed", patience_ns as f64 / 1e9)
}

impl Process {
    /// Ends it in order, so that a server writes down what it has, and by force where that takes too long. It has not
    /// ended yet: otherwise its number may be another's by now. An error says in words what was not in order.
    fn end(&mut self) -> Result<(), String> {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        match end_within(&mut self.process, self.patience_ns) {
            Ok(Some(status)) => in_order(status, true),
            Ok(None) => Err(format!("was stopped, {}", does_not_end(self.patience_ns))),
            Err(error) => Err(format!("was stopped, and nobody knows how it ended: {error}")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.process.try_wait(), Ok(Some(_))) {
            let _ = self.end();
        }
    }
}

const FREE_PORT: &[&str] = &["--listen", "127.0.0.1:0"];

/// No limits that a load would meet.
const NO_LIMITS: &[&str] = &[
    "--registrations",
    "0",
    "--connections",
    "0",
    "--login-failures",
    "0",
    "--requests",
    "0,0",
    "--password-cost",
    "8,1",
    // At a low rate somebody has nothing to say for longer than a server lets it be silent.
    "--idle-timeout",
    "1000min",
];

/// The beginning of a child: ties its life to that of the process `parent`, and becomes what it was started for.
/// (It is the child that must ask for that, and a program that is started knows nothing of it. The signal is one that
/// no program can put off: where the parent has ended, nobody is left to end the child in another way.)
pub(crate) fn become_child(parent: &OsStr, arguments: &[OsString]) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::Failed(format!("cannot tie a process to its parent: {error}")))?;
    let is_parent = |pid: Pid| parent == pid.as_raw_nonzero().to_string().as_str();
    if !getppid().is_some_and(is_parent) {
        // It has ended before it was asked about.
        return Ok(());
    }
    let Some((program, arguments)) = arguments.split_first() else { return Ok(()) };
    let error = Command::new(program).args(arguments).exec();
    Err(Failure::Failed(format!("cannot start {}: {error}", Path::new(program).display())))
}

/// Runs a relay until the process ends, and says where it listens.
pub(crate) fn relay(sort: Sort, folder: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("the {} relay: {error}", sort.name()));
    let in_folder = |error: io::Error| {
        Failure::Failed(format!("cannot make a file in {}: {error}", folder.display()))
    };
    // Where the system does not allow it, the relay says so when connections are too many.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let mut relay = Relay::start(sort, folder).map_err(in_folder)?;
    let mut out = io::stdout();
    let address = relay.address().map_err(failed)?;
    writeln!(out, "listening on {address}").and_then(|()| out.flush()).map_err(failed)?;
    loop {
        relay.turn(None).map_err(failed)?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Far longer than anything here takes.
    const PATIENCE_NS: u64 = 60_000_000_000;

    /// What is said of a shell that was stopped in the middle of this, once it has come so far as to say something.
    fn stopped(script: &str, patience_ns: u64) -> Result<(), String> {
        // What this program has a handler for is ignored by none that it starts, whoever has started it.
        let as_ever = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_default(Signal::TERM.as_raw(), as_ever).unwrap();
        let mut shell = Command::new("sh");
        let mut process = shell.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut says = process.stdout.take().unwrap();
        says.read_exact(&mut [0]).unwrap();
        let address = (std::net::Ipv4Addr::LOCALHOST, 1).into();
        Child { process: Process { process, patience_ns }, _says: says, address }.stop()
    }

    #[test]
    fn how_a_child_has_ended_is_said() {
        let waits = "echo; while :; do sleep 0.01; done";
        let in_order = format!("trap 'exit 0' TERM; {waits}");
        assert_eq!(stopped(&in_order, PATIENCE_NS), Ok(()));
        let with_status = stopped(&format!("trap 'exit 3' TERM; {waits}"), PATIENCE_NS);
        assert!(
            with_status.as_ref().is_err_and(|words| words.contains("ended with exit status: 3"))
        );
        let by_signal = stopped(waits, PATIENCE_NS);
        assert!(by_signal.as_ref().is_err_and(|words| words.contains("ended with signal: 15")));
        let never = stopped(&format!("trap '' TERM; {waits}"), 50_000_000);
        assert_eq!(never, Err("was stopped, has not ended for 0.05 s, and was killed".to_owned()));
    }
}
