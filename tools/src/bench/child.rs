//! What a measurement starts beside itself: a server or a relay as a process of its own, from the line in which it
//! says where it listens to its end.
//!
//! A child ends when it is dropped, and when the process that has started it ends, however that happens.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Child as Process, Command, Stdio};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, kill_process,
    set_parent_process_death_signal, setrlimit,
};

use super::relay::{Relay, Sort};
use crate::failure::Failure;

/// The argument behind `bench` that makes this program the beginning of a child. It is for [`Child`] alone.
pub(crate) const BECOME: &str = "--become";

/// A process that listens.
pub(crate) struct Child {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Child {
    /// Starts a server with these options behind those of a measurement, and its log in `folder`.
    pub(crate) fn server(
        program: &Path,
        folder: &Path,
        options: &[OsString],
    ) -> Result<Self, Failure> {
        let mut arguments: Vec<OsString> = vec![program.into()];
        arguments.extend(SERVER_OPTIONS.iter().map(OsString::from));
        arguments.extend(["--data".into(), folder.join("store").into()]);
        arguments.extend_from_slice(options);
        Self::start(&arguments, &program.display().to_string())
    }

    /// Starts a relay, which writes what it writes in `folder`.
    pub(crate) fn relay(sort: Sort, folder: &Path) -> Result<Self, Failure> {
        let cannot = |error| Failure::Failed(format!("cannot find this program: {error}"));
        let program = env::current_exe().map_err(cannot)?;
        let mut arguments = vec![program.into()];
        arguments.extend(["bench", "--relay", sort.name(), "--dir"].map(OsString::from));
        arguments.push(folder.into());
        Self::start(&arguments, &format!("the {} relay", sort.name()))
    }

    fn start(arguments: &[OsString], what: &str) -> Result<Self, Failure> {
        let cannot = |error: io::Error| Failure::Failed(format!("cannot start {what}: {error}"));
        let mut command = Command::new(env::current_exe().map_err(cannot)?);
        command.args(["bench", BECOME]).arg(process::id().to_string()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(cannot)?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(cannot)?;
        }
        let address = line.trim_end().strip_prefix("listening on ").map(str::parse);
        let Some(Ok(address)) = address else {
            let _ = process.kill();
            let _ = process.wait();
            return Err(Failure::Failed(format!(
                "{what} does not say where it listens; what it says instead stands before this line"
            )));
        };
        Ok(Self { process, address })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // In order, so that a server writes down what it has; one that has ended needs no signal.
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

/// A server on a free port, without limits that a load would meet.
const SERVER_OPTIONS: &[&str] = &[
    "--listen",
    "127.0.0.1:0",
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
];

/// The beginning of a child: ties its life to that of the process `parent`, and becomes what it was started for.
/// (It is the child that must ask for that, and a program that is started knows nothing of it.)
pub(crate) fn become_child(parent: &OsStr, arguments: &[OsString]) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::TERM))
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
