//! Calls to the disk that fail under the real server, made to by `strace`: it answers nothing that may not be on
//! disk, ends in order with one line, and the next start has everything that was answered.
//!
//! Where there is no `strace`, or it may not trace, that is said and nothing is tested.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use oicq::id::ServiceNumber;
use oicq::wire::{Code, Request, ServerPacket};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::live::{
    Client, Ended, PASSWORD, Server, folder, log_in, message, oicqd, result, texts, wait_for,
};

/// More than the kit's log files of 64 KiB hold, so that one is begun in between.
const MESSAGES: usize = 10;
const MESSAGE_BYTES: usize = 8_000;
/// Calls that write to the log, and those that answer somebody.
const TRACED: &str =
    "pwrite64,fdatasync,fsync,msync,fallocate,ftruncate,rename,renameat,renameat2,sendto,writev";
const ANN: ServiceNumber = ServiceNumber(10_001);
const BEN: ServiceNumber = ServiceNumber(10_002);

fn may_trace() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| {
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "true"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let may = command.status().is_ok_and(|status| status.success());
        if !may {
            // Past the test runner, which shows nothing of a test that passes.
            let _ = writeln!(std::io::stderr(), "left out: calls that fail, for want of strace");
        }
        may
    })
}

/// A folder, and what is made to fail by a server on it.
struct Bench {
    folder: TempDir,
    fault: String,
    /// Ann and ben are registered.
    has_users: bool,
}

impl Bench {
    /// `call:error=...:when=...`, as `strace` wants it.
    fn new(fault: String) -> Self {
        Self { folder: folder(), fault, has_users: false }
    }

    /// Beside a log in which ann and ben are registered.
    fn with_users(fault: String) -> Self {
        let mut bench = Self::new(fault);
        bench.has_users = true;
        let server = Server::start_on(&bench.data(), &[]);
        assert_eq!((server.offline_user("ann"), server.offline_user("ben")), (ANN, BEN));
        server.stop();
        bench
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Starts the server so that its process is this one's child, and `strace` only looks on.
    fn start(&self, options: &[&str]) -> Result<Server, Ended> {
        let inner = oicqd(&self.data(), options);
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-o"]).arg(self.folder.path().join("trace"));
        command.args(["-e", &format!("trace={TRACED}"), "-e", &format!("inject={}", self.fault)]);
        command.arg(inner.get_program()).args(inner.get_args()).stdin(Stdio::null());
        Server::try_start(command, &self.data(), options, |_| ())
    }

    /// Whether the call was made that had to fail, after a look at what came behind it: nothing more may be
    /// written to the log, and nobody may be answered.
    fn has_failed(&self) -> bool {
        let trace = wait_for("the trace is complete", || {
            let trace = fs::read_to_string(self.folder.path().join("trace")).ok()?;
            trace.trim_end().lines().last()?.contains("+++ exited with").then_some(trace)
        });
        let mut after = trace.lines().skip_while(|line| !line.contains("(INJECTED)"));
        let failed = after.next();
        // A signal that comes is told the loop by an "X"; what is resumed has its beginning in another line.
        let known = ["+++", "---", ", \"X\", 1, ", "resumed>"];
        let is_new = |line: &&str| !known.iter().any(|part| line.contains(part));
        let more: Vec<_> = after.filter(is_new).collect();
        assert_eq!(more, [""; 0], "after {failed:?}");
        failed.is_some()
    }

    /// Starts, works and stops with the fault; whether it came to pass.
    fn try_out(&self, options: &[&str]) -> bool {
        let (ended, acknowledged) = match self.start(options) {
            Err(ended) => (ended, Vec::new()),
            Ok(server) => {
                let acknowledged = if self.has_users { work(&server) } else { Vec::new() };
                if acknowledged.len() == MESSAGES || !self.has_users {
                    server.signal(Signal::TERM);
                }
                (server.wait(), acknowledged)
            }
        };
        let (fault, said) = (&self.fault, &ended.stderr);
        let failed = self.has_failed();
        if failed {
            assert_eq!(
                (ended.status.code(), said.lines().count()),
                (Some(1), 1),
                "{fault}: {said}"
            );
            assert!(said.contains(self.folder.path().to_str().unwrap()), "{fault}: {said}");
            assert!(said.contains("Input/output error"), "{fault}: {said}");
        } else {
            assert_eq!((ended.status.code(), &**said), (Some(0), ""), "{fault}");
            assert!(acknowledged.len() == MESSAGES || !self.has_users);
        }
        let server = Server::start_on(&self.data(), &[]);
        if !acknowledged.is_empty() {
            let there = texts(&server.back(BEN).1);
            assert!(there.starts_with(&acknowledged), "{fault}: acknowledged and not there");
            assert!(there.len() <= acknowledged.len() + 1, "{fault}: there is more than was sent");
        }
        server.stop();
        assert!(result("verify", &self.data(), &[]).starts_with("whole: "), "{fault}");
        failed
    }
}

/// Ann writes to ben, until the end or that of the server; what was acknowledged.
fn work(server: &Server) -> Vec<String> {
    let (mut ann, mut acknowledged) = (server.connect(), Vec::new());
    ann.own = ANN;
    if is_taken(&mut ann, log_in(PASSWORD)).is_some() {
        for index in 0..MESSAGES {
            let text = format!("{index} {}", "x".repeat(MESSAGE_BYTES));
            match is_taken(&mut ann, message(BEN, &text)) {
                Some(taken) => assert!(taken),
                None => break,
            }
            acknowledged.push(text);
        }
    }
    acknowledged
}

/// Whether a request was taken; `None` where the connection has ended instead of an answer. The answer to the
/// connection test behind it is held back with it.
fn is_taken(client: &mut Client, request: Request<'_>) -> Option<bool> {
    let bytes = [client.bytes(request), client.bytes(Request::Test)].concat();
    client.stream.write_all(&bytes).ok()?;
    let mut taken = true;
    loop {
        let got = match client.try_next() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("the server neither answers nor ends")
            }
            answer => answer.ok()??,
        };
        if matches!(got.packet(), ServerPacket::Tested { .. }) {
            return Some(taken);
        }
        if let Some((_, code, sentence)) = got.notice() {
            assert_eq!(code, Code::StorageFull, "{sentence}");
            taken = false;
        }
    }
}

/// Makes the first call of a kind fail, then the second, and so on, until there are no more of them.
fn fail_each(call: &str, bench: fn(String) -> Bench, options: &[&str], least: usize) {
    if !may_trace() {
        return;
    }
    let fails = |nth: &usize| bench(format!("{call}:error=EIO:when={nth}")).try_out(options);
    let failed = (1..).take_while(fails).count();
    assert!(failed >= least, "{call} is made {failed} times");
    println!("{failed} times {call}");
}

#[test]
fn after_a_sync_that_failed_nothing_is_answered_and_nothing_that_was_is_lost() {
    fail_each("fdatasync", Bench::with_users, &[], MESSAGES);
}

#[test]
fn after_a_sync_that_failed_behind_the_answers_the_server_ends() {
    fail_each("fdatasync", Bench::with_users, &["--durability", "interval=5ms"], 2);
}

#[test]
fn after_a_sync_of_the_folder_that_failed_nothing_is_answered() {
    fail_each("fsync", Bench::with_users, &[], 2);
}

#[test]
fn after_a_write_that_failed_nothing_is_answered_and_nothing_that_was_is_lost() {
    fail_each("pwrite64", Bench::with_users, &[], MESSAGES);
}

#[test]
fn after_a_file_that_could_not_be_made_or_named_nothing_is_answered() {
    for call in ["fallocate", "rename"] {
        fail_each(call, Bench::with_users, &[], 1);
    }
}

#[test]
fn a_first_start_whose_calls_fail_says_so_and_the_next_one_is_as_the_first() {
    for (call, least) in [("fdatasync", 2), ("fsync", 2), ("pwrite64", 2), ("rename", 1)] {
        fail_each(call, Bench::new, &[], least);
    }
}

#[test]
fn a_file_for_which_there_was_no_room_is_made_once_there_is() {
    for fault in ["fallocate:error=ENOSPC:when=1..3", "rename:error=ENOSPC:when=1"] {
        if !may_trace() {
            return;
        }
        let bench = Bench::with_users(fault.to_owned());
        let server = bench.start(&[]).unwrap_or_else(|ended| panic!("{}", ended.stderr));
        let mut ann = server.back(ANN).0;
        let (mut refused, mut acknowledged) = (false, Vec::new());
        wait_for("a change is refused, and a later one is taken", || {
            let text = format!("{} {}", acknowledged.len(), "x".repeat(MESSAGE_BYTES));
            let taken = is_taken(&mut ann, message(BEN, &text)).expect("the server lives");
            if taken {
                acknowledged.push(text);
            }
            refused |= !taken;
            (refused && taken).then_some(())
        });
        assert_eq!(texts(&server.back(BEN).1), acknowledged);
        let ended = server.stop();
        assert_eq!(ended.stderr.lines().count(), 2, "it begins, and is over: {}", ended.stderr);
        assert!(result("verify", &bench.data(), &[]).starts_with("whole: "));
    }
}
