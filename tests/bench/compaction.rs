//! How long messages take while a tool compacts the log under them, beside how long they take in peace, in one run.
//!
//! `OICQ_USERS` and `OICQ_ROUNDS` choose another size. The tool is the one beside the server: build it first.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod crowd;
mod large;
mod server;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use large::{Size, write};
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::ServiceNumber;
use oicq::wire::client::Account;
use oicq::wire::{ClientPacket, Kind, Request};
use server::{EMPTY_LIST, ask, receive, start};

/// How long a stretch of peace lasts.
const PEACE: Duration = Duration::from_secs(5);
/// After the tool the server takes the base up; that belongs to it.
const AFTERMATH: Duration = Duration::from_millis(500);

/// A pair of users, of whom one writes and the other receives.
struct Pair {
    message: Vec<u8>,
    writer: TcpStream,
    receiver: TcpStream,
}

impl Pair {
    fn new(address: &str, users: u32) -> Self {
        let password = Secret::new(b"secret");
        let profile = Profile { nickname: b"somebody", ..Profile::default() };
        let [writer, receiver] = [0, 1].map(|index| {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_nodelay(true).unwrap();
            let account = Account { profile, password, authentication: 0 };
            ask(&mut socket, ServiceNumber::NONE, Request::Register(account), 8 + 5);
            let own = crowd::user(users + index);
            ask(&mut socket, own, Request::LogIn { password, mode: 0 }, EMPTY_LIST);
            socket
        });
        let request = Request::Send { receiver: crowd::user(users + 1), content: &[b'm'; 100] };
        let mut message = Vec::new();
        ClientPacket { own: crowd::user(users), request }.encode(Kind::User, &mut message);
        Self { message, writer, receiver }
    }

    /// Sends a message; answers how long it took to arrive.
    fn message(&mut self) -> Duration {
        let sent = Instant::now();
        self.writer.write_all(&self.message).unwrap();
        receive(&mut self.receiver);
        sent.elapsed()
    }

    fn messages_while(&mut self, mut goes_on: impl FnMut() -> bool) -> Vec<Duration> {
        let mut times = Vec::new();
        while goes_on() {
            times.push(self.message());
        }
        times.sort_unstable();
        times
    }
}

fn at(times: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (times.len() as f64 * share) as usize;
    times[index.min(times.len() - 1)]
}

fn show(what: &str, times: &[Duration]) {
    let [median, p99, p999] = [0.5, 0.99, 0.999].map(|share| at(times, share));
    let (count, longest) = (times.len(), at(times, 1.0));
    println!(
        "{what:<14} {count:>7} messages: median {median:.0?}, p99 {p99:.0?}, p99.9 {p999:.0?}, longest {longest:.0?}"
    );
}

fn compacted(pair: &mut Pair, tool: &Path, folder: &Path) -> Vec<Duration> {
    let mut child =
        Command::new(tool).arg("compact").arg(folder).stderr(Stdio::null()).spawn().unwrap();
    let mut ended = None;
    pair.messages_while(|| {
        if ended.is_none()
            && let Some(status) = child.try_wait().unwrap()
        {
            assert!(status.success());
            ended = Some(Instant::now());
        }
        ended.is_none_or(|ended| ended.elapsed() < AFTERMATH)
    })
}

fn main() {
    // What `cargo test --benches` and `cargo bench -- --list` ask for is not to be measured.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let tool = Path::new(env!("CARGO_BIN_EXE_oicqd")).with_file_name("oicq-tools");
    assert!(tool.exists(), "build the tools first: cargo build --release");
    let rounds = std::env::var("OICQ_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let size = Size::asked(200_000, 20, 1_000_000);
    let (events, bytes) = write(folder.path(), size, 1 << 20);
    println!("{size:?}: {events} events, {bytes} bytes");
    let (_server, address) = start(folder.path(), &["--segment-size", "256KiB"]);
    let mut pair = Pair::new(&address, size.users);
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        let peace = pair.messages_while(|| begun.elapsed() < PEACE);
        let compaction = compacted(&mut pair, &tool, folder.path());
        show("in peace", &peace);
        show("compacting", &compaction);
        ratios.push(at(&compaction, 0.99).as_secs_f64() / at(&peace, 0.99).as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "p99 while compacting, of that in peace: {ratios:.2?}, median {:.2}",
        ratios[rounds / 2]
    );
}
