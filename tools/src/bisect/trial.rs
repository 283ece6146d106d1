//! One run of the command that judges a state.
//!
//! Owns the process: what it reads, where its output goes, and what its status means.

use std::ffi::OsString;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use super::search::Verdict;
use crate::failure::Failure;

/// The status with which a command says that it cannot tell.
pub(super) const CANNOT_TELL: i32 = 125;
/// The highest status that is a failure; above, the command itself has gone wrong.
pub(super) const FAILS_MAX: i32 = 127;

/// The command, and what it judges.
pub(super) struct Trial<'a> {
    pub(super) program: &'a OsString,
    pub(super) arguments: &'a [OsString],
    /// Which state it is given, in words.
    pub(super) state: String,
}

impl Trial<'_> {
    /// Runs it on what `write` puts on its standard input. Its output goes to standard error.
    pub(super) fn run(
        &self,
        write: impl FnOnce(&mut BufWriter<ChildStdin>) -> Result<io::Result<()>, Failure>,
    ) -> Result<Verdict, Failure> {
        let mut command = Command::new(self.program);
        command.args(self.arguments).stdin(Stdio::piped()).stdout(Stdio::from(io::stderr()));
        let mut child = command.spawn().map_err(|error| self.cannot_run(&error))?;
        if let Err(failure) = self.feed(&mut child, write) {
            // There is nothing that it could judge. Whether it has ended meanwhile does not matter.
            let _ = child.kill();
            let _ = child.wait();
            return Err(failure);
        }
        let status = child.wait().map_err(|error| self.cannot_run(&error))?;
        self.verdict(status)
    }

    fn feed(
        &self,
        child: &mut Child,
        write: impl FnOnce(&mut BufWriter<ChildStdin>) -> Result<io::Result<()>, Failure>,
    ) -> Result<(), Failure> {
        let Some(stdin) = child.stdin.take() else { return Ok(()) };
        let mut stdin = BufWriter::with_capacity(1 << 16, stdin);
        match write(&mut stdin)?.and_then(|()| stdin.flush()) {
            // A command may have seen enough.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(self.cannot_run(&error)),
            _ => Ok(()),
        }
    }

    fn verdict(&self, status: ExitStatus) -> Result<Verdict, Failure> {
        let how = match (status.code(), status.signal()) {
            (Some(0), _) => return Ok(Verdict::Succeeds),
            (Some(CANNOT_TELL), _) => return Ok(Verdict::Unclear),
            (Some(1..=FAILS_MAX), _) => return Ok(Verdict::Fails),
            (Some(code), _) => format!("with status {code}, which is no verdict"),
            (None, Some(signal)) => format!("by signal {signal}"),
            (None, None) => "without a status".to_owned(),
        };
        let (name, state) = (self.program.display(), &self.state);
        Err(Failure::Failed(format!(
            "{name} ended {how}, given the state {state}; the search stops"
        )))
    }

    fn cannot_run(&self, error: &io::Error) -> Failure {
        Failure::Failed(format!("cannot run {}: {error}", self.program.display()))
    }
}
