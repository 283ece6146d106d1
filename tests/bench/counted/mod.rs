//! A real server whose instructions are counted, by `valgrind --tool=callgrind`.
//!
//! Owns its process: how it starts, how it is held while input gathers, when it has nothing left to do, and what its
//! loop has executed between two such moments. What it is asked to do belongs to `scenarios`.
//!
//! Counts repeat where the turns of the loop do. So all input of a turn is written while the process is stopped, and
//! nothing is counted before everything is done that is due later, such as deliveries that are written down. Turns
//! that are not counted are made to repeat, too: what they leave of free memory has a say in what allocations cost.

#![allow(dead_code, unreachable_pub, reason = "each benchmark uses a part of it")]

pub mod clients;
pub mod command;
pub mod scenarios;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use oicq::limits::ACKNOWLEDGED_MS_MAX;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

/// How often the server is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(10);
/// Looks in a row that find it asleep, and no busier than before, after which nothing is due any more: nothing but
/// timeouts is due later than the last look at what was acknowledged.
const QUIET_LOOKS: u64 = ACKNOWLEDGED_MS_MAX / 10 + 10;
/// Looks after which it is not waited for any longer: minutes.
const LOOKS_MAX: u64 = 60_000;
/// Turns without any input that are measured, to know what one costs.
const EMPTY_TURNS: u32 = 4;

/// A server under callgrind. It ends with the benchmark, however that ends.
pub struct Counted {
    server: Child,
    address: String,
    /// Dumps of counts, and what lets it be told to make them.
    folder: TempDir,
    dumps: u32,
    last_dump: PathBuf,
    /// Turns since the last count that it has made for us alone: being stopped or asked for a count ends its wait.
    interruptions: u32,
    /// What such a turn costs.
    interruption: f64,
}

impl Counted {
    /// Starts the server on a data folder, at a free port, without limits that a load would meet.
    pub fn start(data: &Path, options: &[&str]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let limits = [
            ["--registrations", "0"],
            ["--connections", "0"],
            ["--requests", "0,0"],
            ["--login-timeout", "1000min"],
            ["--idle-timeout", "1000min"],
        ];
        let mut server = Command::new("valgrind")
            .args([
                "-q",
                "--tool=callgrind",
                "--instr-atstart=no",
                "--separate-threads=yes",
                "--dump-instr=yes",
            ])
            .arg(option("--callgrind-out-file=", &folder.path().join("counts")))
            .arg(option("--vgdb-prefix=", &folder.path().join("vgdb")))
            .arg(env!("CARGO_BIN_EXE_oicqd"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(limits.concat())
            .args(options)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ").unwrap_or_default().to_owned();
        let mut counted = Self {
            server,
            address,
            folder,
            dumps: 0,
            last_dump: PathBuf::new(),
            interruptions: 0,
            interruption: 0.0,
        };
        if counted.address.is_empty() {
            let status = counted.server.wait()?;
            return Err(io::Error::other(format!("the server did not start: {status}")));
        }
        counted.wait_idle();
        counted.command("instrumentation on");
        Ok(counted)
    }

    /// Makes connections that are accepted in the same turn, as far as the server accepts so many at once.
    pub fn connect<T>(&mut self, connect: impl FnOnce(&str) -> T) -> T {
        let address = self.address.clone();
        self.while_stopped(|| connect(&address))
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Does what is only a preparation: the server is faster as long as it is not counted.
    pub fn uncounted(&mut self, prepare: impl FnOnce()) {
        self.wait_idle();
        self.command("instrumentation off");
        prepare();
        self.wait_idle();
        self.command("instrumentation on");
    }

    /// Finds out what a turn costs that being interrupted makes. It grows with nothing that a round adds.
    pub fn measure_interruption(&mut self) {
        self.interruption = 0.0;
        self.count();
        for _ in 0..EMPTY_TURNS {
            self.while_stopped(|| ());
        }
        let interruptions = self.interruptions;
        self.interruption = self.count() / f64::from(interruptions);
    }

    /// Lets everything that is written come into one turn.
    pub fn while_stopped<T>(&mut self, write: impl FnOnce() -> T) -> T {
        self.wait_idle();
        kill_process(self.pid(), Signal::STOP).unwrap();
        let stopped = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap();
        assert!(stopped.is_some_and(|(_, status)| status.stopped()), "the server has ended");
        let written = write();
        kill_process(self.pid(), Signal::CONT).unwrap();
        self.interruptions += 1;
        written
    }

    /// Instructions that the loop has executed since the last call, when it has done all that there is to do. The
    /// thread that compares passwords is not the loop's.
    pub fn count(&mut self) -> f64 {
        self.wait_idle();
        let for_us = f64::from(std::mem::take(&mut self.interruptions)) * self.interruption;
        self.command("dump");
        self.dumps += 1;
        let first_thread = format!("counts.{}-01", self.dumps);
        let before = std::mem::replace(&mut self.last_dump, self.folder.path().join(first_thread));
        // There is none before the first.
        let _ = fs::remove_file(before);
        total(&self.last_dump) - for_us
    }

    /// Copies what was counted last, by function and line, for `callgrind_annotate` and its like.
    pub fn keep(&self, folder: &Path, name: &str) -> Result<(), String> {
        let file = name.replace(", ", "-").replace(' ', "-") + ".callgrind";
        let kept = folder.join(file);
        let copied = fs::create_dir_all(folder).and_then(|()| fs::copy(&self.last_dump, &kept));
        copied.map(drop).map_err(|error| format!("{}: {error}", kept.display()))
    }

    /// Waits until the server waits for input, and nothing that it has put off is left to do.
    fn wait_idle(&self) {
        let (mut quiet, mut before) = (0, u64::MAX);
        for _ in 0..LOOKS_MAX {
            thread::sleep(LOOK);
            let busy = self.busy_ns();
            quiet = if busy == Some(before) { quiet + 1 } else { 0 };
            if quiet == QUIET_LOOKS {
                return;
            }
            before = busy.unwrap_or(u64::MAX);
        }
        panic!("the server does not come to rest");
    }

    /// How long it has been busy, in nanoseconds, if all its threads sleep.
    fn busy_ns(&self) -> Option<u64> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.server.id())).unwrap();
        let mut busy = 0;
        for thread in threads {
            let thread = thread.unwrap().path();
            let stat = fs::read_to_string(thread.join("stat")).ok()?;
            let (_, state) = stat.rsplit_once(") ")?;
            if !state.starts_with('S') {
                return None;
            }
            let times = fs::read_to_string(thread.join("schedstat")).ok()?;
            busy += times.split(' ').next()?.parse::<u64>().ok()?;
        }
        Some(busy)
    }

    /// Tells callgrind something.
    fn command(&mut self, command: &str) {
        let told = Command::new("vgdb")
            .arg(option("--vgdb-prefix=", &self.folder.path().join("vgdb")))
            .arg(format!("--pid={}", self.server.id()))
            .args(command.split(' '))
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success(), "vgdb {command}: {said}");
        self.interruptions += 1;
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.server)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// What counts are made with; says how to get it where it is missing.
pub fn valgrind() -> Result<String, String> {
    let missing = |program: &str| {
        format!(
            "{program} cannot be run: instructions are counted with valgrind, which the package `valgrind` of \
             Debian, Ubuntu, Fedora, Arch and others has"
        )
    };
    // What talks to it comes along with it, but is a program of its own, without a version.
    Command::new("vgdb").arg("-h").output().map_err(|_| missing("vgdb"))?;
    let answer = Command::new("valgrind").arg("--version").output();
    let answer = answer.ok().filter(|answer| answer.status.success());
    let version = answer.ok_or_else(|| missing("valgrind"))?.stdout;
    Ok(String::from_utf8_lossy(&version).trim().to_owned())
}

fn option(name: &str, path: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push(path);
    option
}

/// What a dump has counted.
fn total(dump: &Path) -> f64 {
    let text = fs::read_to_string(dump).unwrap();
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|total| total.trim().parse().ok()).expect("a dump says its total")
}
