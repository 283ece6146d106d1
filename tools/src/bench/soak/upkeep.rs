//! The server of a long run: its process, its restarts, and the compactions of its log beside it.
//!
//! Owns what is started. Everything goes on while it waits, but for the moment in which a server starts.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use rustix::process::Signal;

use crate::bench::child::{Child, Limits, does_not_end, store, tied};
use crate::bench::run::Run;
use crate::bench::watch::Watch;
use crate::failure::Failure;

/// The server, and what is done to it.
pub(super) struct Upkeep {
    program: PathBuf,
    options: Vec<OsString>,
    folder: PathBuf,
    server: Option<Child>,
    /// The signal that it was sent, and is to end by, and when.
    ending: Option<(Signal, u64)>,
    compaction: Option<Compaction>,
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

/// `oicq-tools compact` at work; it ends with this.
struct Compaction(process::Child);

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
        let mut command = self.tool("compact").map_err(cannot)?;
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        self.compaction = Some(Compaction(command.spawn().map_err(cannot)?));
        Ok(())
    }

    /// Looks what has ended, and starts the server again where it has.
    pub(super) fn look(&mut self, run: &Run) -> Vec<News> {
        let mut news = Vec::new();
        if let Some(ended) = self.compaction.as_mut().and_then(Compaction::ended) {
            self.compaction = None;
            self.counts.compactions += u64::from(ended.is_none());
            news.push(ended.map_or(News::Compacted, News::Wrong));
        }
        let Some(server) = &mut self.server else { return news };
        let Some(status) = server.ended() else {
            if let Some((Signal::TERM, since_ns)) = self.ending
                && run.ns() > since_ns.saturating_add(run.patience_ns)
            {
                server.signal(Signal::KILL);
                self.ending = Some((Signal::KILL, run.ns()));
                news.push(News::Wrong(format!("the server {}", does_not_end(run.patience_ns))));
            }
            return news;
        };
        self.server = None;
        match self.ending.take().map(|(signal, _)| signal) {
            Some(Signal::KILL) => {}
            Some(_) if status.success() => {}
            Some(_) => {
                news.push(News::Wrong(format!("the server was stopped, and ended with {status}")))
            }
            None => {
                news.push(News::Wrong(format!("the server has ended by itself, with {status}")))
            }
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
    pub(super) fn end(mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(mut compaction) = self.compaction.take() {
            let _ = compaction.0.wait();
            wrong.extend(compaction.ended().flatten());
        }
        // One that was to end already was judged then, and was killed if it is still there.
        let server = self.server.take().filter(|_| self.ending.is_none());
        if let Some(Err(words)) = server.map(Child::stop) {
            wrong.push(format!("in the end the server {words}"));
        }
        match self.tool("verify").and_then(|mut command| command.output()) {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let said = [output.stderr, output.stdout].concat();
                wrong.push(format!("the log is not whole: {}", first_line(&said)));
            }
            Err(error) => wrong.push(format!("cannot verify the log: {error}")),
        }
        wrong
    }

    /// Bytes of all files of the log.
    pub(super) fn bytes(&self) -> u64 {
        bytes_of(&store(&self.folder))
    }

    /// A command of this program upon the log.
    fn tool(&self, name: &str) -> io::Result<Command> {
        tied(&[env::current_exe()?.into(), name.into(), store(&self.folder).into()])
    }
}

impl Compaction {
    /// What has gone wrong with it, once it has ended.
    fn ended(&mut self) -> Option<Option<String>> {
        let status = self.0.try_wait().ok()??;
        if status.success() {
            return Some(None);
        }
        let mut said = Vec::new();
        if let Some(stderr) = &mut self.0.stderr {
            let _ = stderr.read_to_end(&mut said);
        }
        Some(Some(format!("a compaction ended with {status}: {}", first_line(&said))))
    }
}

impl Drop for Compaction {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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
