//! The memory of a user and of a waiting message, as this process grows by many of them; and of an idle
//! session with its connection, as the real server does.

mod crowd;
mod server;

use std::net::TcpStream;

use crowd::{Crowd, user};
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::ServiceNumber;
use oicq::state::Event;
use oicq::wire::Request;
use oicq::wire::client::Account;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::{EMPTY_LIST, ask, start};

const USERS: u32 = 200_000;
const FRIENDS: u32 = 20;
const SESSIONS: u32 = 5_000;
const MESSAGES: u32 = 1_000_000;

/// What a process has in memory, in bytes.
fn resident(process: &str) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).expect("Linux tells");
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

fn report(what: &str, bytes: u64, count: u32) {
    println!("{what:<40} {:>6} bytes", bytes / u64::from(count));
}

fn sessions() -> u64 {
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (server, address) = start(folder.path(), &["--durability", "never"]);
    let password = Secret::new(b"secret");
    let mut first = TcpStream::connect(&address).unwrap();
    let profile = Profile { nickname: b"somebody", ..Profile::default() };
    for _ in 0..SESSIONS {
        let account = Account { profile, password, authentication: 0 };
        ask(&mut first, ServiceNumber::NONE, Request::Register(account), 8 + 5);
    }
    let process = server.id().to_string();
    let before = resident(&process);
    let sockets: Vec<_> = (0..SESSIONS)
        .map(|index| {
            let mut socket = TcpStream::connect(&address).unwrap();
            ask(&mut socket, user(index), Request::LogIn { password, mode: 0 }, EMPTY_LIST);
            socket
        })
        .collect();
    let bytes = resident(&process) - before;
    drop(sockets);
    bytes
}

fn main() {
    // What `cargo test --benches` and `cargo bench -- --list` ask for is not to be measured.
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let before = resident("self");
    let mut crowd = Crowd::new(USERS, FRIENDS);
    report(&format!("a user with {FRIENDS} friends"), resident("self") - before, USERS);

    let before = resident("self");
    for message in 0..MESSAGES {
        let (from, to) = (user(message % 1_000), user(message % USERS));
        crowd.apply(&Event::MessageSent { from, to, content: &[b'm'; 100] });
    }
    report("a waiting message, its text in the log", resident("self") - before, MESSAGES);

    report("an idle session with its connection", sessions(), SESSIONS);
}
