//! The server of a long run: its process, its restarts, and the compactions of its log beside it.
//!
//! Owns what is started. Everything goes on while it waits, but for the moment in which a server starts, until the end:
//! then it waits for all that it has started, and for nothing without a bound.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus};

use rustix::process::Signal;

use crate::bench::child::{Child, Limits, does_not_end, end_within, in_order, store, tied};
use crate::bench::run::Run;
use crate::bench::watch::Watch;
use crate::failure::Failure;

/// A command that reads all of the log has so long at least, however short the patience with a server is.
const TOOL_NS_MIN: u64 = 600_000_000_000;

/// The server, and what is done to it.
pub(super) struct Upkeep {
    program: PathBuf,
    options: Vec<OsString>,
    folder: PathBuf,
    server: Option<Child>,
    /// The signal that it was sent, and is to end by, and when.
    ending: Option<(Signal, u64)>,
    compaction: Option<Tool>,
    pub(super) counts: Counts,
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    pub(super) stops: u64,
    pub(super) kills: u64,
    pub(super) compactions: u64,
}

/// What has happened since it was last looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// A server has started again, and listens here.
    Started(SocketAddr),
    /// The log was compacted.
    Compacted,
    /// Something has gone wrong, in words.
    Wrong(String),
}

/// A command of this program at work; it ends with this.
struct Tool {
    process: process::Child,
    /// What it says on standard error and on standard output: files, since a pipe would be full at some time.
    said: [File; 2],
}

impl Upkeep {
    /// Starts the server, with its log in this folder.
    pub(super) fn start(
        run: &Run,
        program: &Path,
        options: &[OsString],
        folder: &Path,
    ) -> Result<(Self, SocketAddr), Failure> {
        let mut upkeep = Self {
            program: program.to_owned(),
            options: options.to_vec(),
            folder: folder.to_owned(),
            server: None,
            ending: None,
            compaction: None,
            counts: Counts::default(),
        };
        let address = upkeep.start_server(run)?;
        Ok((upkeep, address))
    }

    fn start_server(&mut self, run: &Run) -> Result<SocketAddr, Failure> {
        let server = Child::server(run, &self.program, &self.folder, Limits::None, &self.options)?;
        Ok(self.server.insert(server).address)
    }

    /// Looks at the server's process.
    pub(super) fn watch(&self) -> Watch {
        Watch::over(self.server.as_ref().map(Child::id))
    }

    /// Whether a server runs that is not about to end.
    pub(super) const fn is_up(&self) -> bool {
        self.server.is_some() && self.ending.is_none()
    }

    /// Whether no server runs, and none will.
    pub(super) const fn is_gone(&self) -> bool {
        self.server.is_none()
    }

    /// Ends the server, in order or by force. It starts again once it has ended. Does nothing where that is so already.
    pub(super) fn restart(&mut self, kill: bool, now_ns: u64) {
        let Some(server) = self.server.as_ref().filter(|_| self.ending.is_none()) else { return };
        let signal = if kill { Signal::KILL } else { Signal::TERM };
        server.signal(signal);
        self.ending = Some((signal, now_ns));
        *(if kill { &mut self.counts.kills } else { &mut self.counts.stops }) += 1;
    }

    /// Begins to compact the log, unless that is under way, or no server runs.
    pub(super) fn compact(&mut self) -> Result<(), Failure> {
        if self.compaction.is_some() || !self.is_up() {
            return Ok(());
        }
        let cannot = |error| Failure::Failed(format!("cannot start a compaction: {error}"));
        self.compaction = Some(self.tool("compact").map_err(cannot)?);
        Ok(())
    }

    /// Looks what has ended, and starts the server again where it has.
    pub(super) fn look(&mut self, run: &Run) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(ended) = self.compaction.as_mut().and_then(Tool::ended) {
            self.compaction = None;
            self.counts.compactions += u64::from(ended.is_ok());
            news.push(match ended {
                Ok(()) => News::Compacted,
                Err(words) => News::Wrong(format!("a compaction {words}")),
            });
        }
        let Some(server) = &mut self.server else { return news };
        let Some(status) = server.ended() else {
            if let Some((Signal::TERM, since_ns)) = self.ending
                && run.ns() > since_ns.saturating_add(run.patience_ns)
            {
                server.signal(Signal::KILL);
                self.ending = Some((Signal::KILL, run.ns()));
                let words = does_not_end(run.patience_ns);
                news.push(News::Wrong(format!("the server was stopped, {words}")));
            }
            return news;
        };
        self.server = None;
        let signal = self.ending.take().map(|(signal, _)| signal);
        if signal != Some(Signal::KILL)
            && let Err(words) = in_order(status, signal.is_some())
        {
            news.push(News::Wrong(format!("the server {words}")));
        }
        news.push(match self.start_server(run) {
            Ok(address) => News::Started(address),
            Err(failure) => {
                News::Wrong(format!("the server does not start again: {}", failure.words()))
            }
        });
        news
    }

    /// Waits for a compaction, stops the server, and reads all of its log: what is wrong with it.
    pub(super) fn end(mut self, patience_ns: u64) -> Vec<String> {
        let mut wrong = Vec::new();
        let patience_ns = patience_ns.max(TOOL_NS_MIN);
        let compacted = self.compaction.take().map(|tool| tool.end(patience_ns));
        if let Some(Err(words)) = compacted {
            wrong.push(format!("a compaction {words}"));
        }
        // One that was to end already was judged then, and was killed if it is still there.
        let server = self.server.take().filter(|_| self.ending.is_none());
        if let Some(Err(words)) = server.map(Child::stop) {
            wrong.push(format!("in the end the server {words}"));
        }
        match self.tool("verify").map(|tool| tool.end(patience_ns)) {
            Ok(Ok(())) => {}
            Ok(Err(words)) => {
                wrong.push(format!("the log is not known to be whole: verify {words}"))
            }
            Err(error) => wrong.push(format!("cannot verify the log: {error}")),
        }
        wrong
    }

    /// Bytes of all files of the log.
    pub(super) fn bytes(&self) -> u64 {
        bytes_of(&store(&self.folder))
    }

    /// Begins a command of this program upon the log.
    fn tool(&self, name: &str) -> io::Result<Tool> {
        let command = tied(&[env::current_exe()?.into(), name.into(), store(&self.folder).into()])?;
        Tool::start(command, &self.folder)
    }
}

impl Tool {
    /// Starts it. What it says goes into files without a name, in this folder.
    fn start(mut command: Command, folder: &Path) -> io::Result<Self> {
        let said = [tempfile::tempfile_in(folder)?, tempfile::tempfile_in(folder)?];
        command.stderr(said[0].try_clone()?).stdout(said[1].try_clone()?);
        Ok(Self { process: command.spawn()?, said })
    }

    /// Whether it has done its work, once it has ended. An error says in words what has gone wrong.
    fn ended(&mut self) -> Option<Result<(), String>> {
        let status = self.process.try_wait().ok()??;
        Some(self.outcome(status))
    }

    /// Waits for its end, and kills it where that takes too long.
    fn end(mut self, patience_ns: u64) -> Result<(), String> {
        match end_within(&mut self.process, patience_ns) {
            Ok(Some(status)) => self.outcome(status),
            Ok(None) => Err(does_not_end(patience_ns)),
            Err(error) => Err(format!("has ended, and nobody knows how: {error}")),
        }
    }

    fn outcome(&mut self, status: ExitStatus) -> Result<(), String> {
        if status.success() {
            return Ok(());
        }
        let mut said = Vec::new();
        for file in &mut self.said {
            // What cannot be read is as good as not said.
            let _ = file.rewind().and_then(|()| file.read_to_end(&mut said));
        }
        Err(format!("ended with {status}: {}", first_line(&said)))
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Bytes of all files in a folder and below. Files that go meanwhile have none.
fn bytes_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

fn first_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    text.lines().next().unwrap_or("it says nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far longer than anything here takes.
    const PATIENCE_NS: u64 = 60_000_000_000;

    fn shell(script: &str, patience_ns: u64) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Tool::start(command, folder.path()).unwrap().end(patience_ns)
    }

    #[test]
    fn what_a_tool_comes_to_is_said() {
        assert_eq!(shell("echo done", PATIENCE_NS), Ok(()));
        assert_eq!(
            shell("echo found; echo damaged >&2; exit 1", PATIENCE_NS),
            Err("ended with exit status: 1: damaged".to_owned())
        );
        assert_eq!(
            shell("echo found; exit 1", PATIENCE_NS),
            Err("ended with exit status: 1: found".to_owned())
        );
        assert_eq!(
            shell("exec sleep 1000", 50_000_000),
            Err("has not ended for 0.05 s, and was killed".to_owned())
        );
    }

    #[test]
    fn a_tool_that_says_more_than_a_pipe_holds_is_not_held_up() {
        let much = "head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; exit 3";
        let words = shell(much, PATIENCE_NS).unwrap_err();
        assert_eq!(words, format!("ended with exit status: 3: {}", "x".repeat(300_000)));
    }

    #[test]
    fn files_of_folders_within_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("within")).unwrap();
        fs::write(folder.path().join("a"), [0; 700]).unwrap();
        fs::write(folder.path().join("within/b"), [0; 70]).unwrap();
        assert_eq!(bytes_of(folder.path()), 770);
        assert_eq!(bytes_of(&folder.path().join("nowhere")), 0);
    }
}
