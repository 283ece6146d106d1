//! The real server as a process, and clients that speak to it over real sockets.
//!
//! What each server has recorded of its input is replayed when it has ended, and must lead to the same output.
//! A server is killed when it is dropped, and what it said on standard error is shown if the test has
//! failed. Nothing here sleeps to let something happen: it waits for what the other side says.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of it")]

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::server::{Sign, SystemKind};
use oicq::wire::{ClientPacket, Code, Kind, Request, ServerPacket, cut_for_client};
use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::kit::{Got, replayed};

/// The longest that anything is waited for before the test has failed.
pub const PATIENCE: Duration = Duration::from_secs(40);
const STEP: Duration = Duration::from_millis(10);
const PACKET_BYTES_MAX: u32 = 1 << 24;
pub const PASSWORD: &str = "secret";

/// Looks again and again until there is something to see.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
        if let Some(seen) = look() {
            return seen;
        }
        thread::sleep(STEP);
    }
    panic!("this did not happen: {what}");
}

/// A data folder that lives as long as the test that made it.
pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The server's program with the options that make it fast, and these.
pub fn oicqd(data: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oicqd"));
    command.args(["--password-cost", "8,1", "--registrations", "0", "--segment-size", "64KiB"]);
    command.arg("--data").arg(data).args(options);
    if !options.iter().any(|option| ["--listen", "-l"].contains(option)) {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the server where it is expected to end by itself.
pub fn fails(data: &Path, options: &[&str]) -> (Option<i32>, String) {
    let output = oicqd(data, options).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing on standard output");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A running server.
pub struct Server {
    child: Child,
    pub addresses: Vec<SocketAddr>,
    data: PathBuf,
    options: Vec<String>,
    own_folder: Option<Arc<TempDir>>,
    lines: Receiver<String>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// What a server has left behind.
pub struct Ended {
    pub status: ExitStatus,
    /// What came after the lines with the addresses.
    pub stdout: String,
    pub stderr: String,
}

impl Server {
    /// Starts on a folder of its own.
    pub fn start(options: &[&str]) -> Self {
        let own = Arc::new(folder());
        let mut server = Self::start_on(&own.path().join("store"), options);
        server.own_folder = Some(own);
        server
    }

    /// Starts on a folder, and waits until it listens.
    pub fn start_on(data: &Path, options: &[&str]) -> Self {
        Self::start_with(oicqd(data, options), data, options, |_| ())
    }

    /// Starts what becomes [`oicqd`] with these options, after something that is done to the process.
    pub fn start_with(
        command: Command,
        data: &Path,
        options: &[&str],
        prepare: impl FnOnce(&mut Child),
    ) -> Self {
        let started = Self::try_start(command, data, options, prepare);
        started.unwrap_or_else(|ended| panic!("it does not start: {}", ended.stderr))
    }

    /// The same, where it may also end by itself before it listens.
    pub fn try_start(
        mut command: Command,
        data: &Path,
        options: &[&str],
        prepare: impl FnOnce(&mut Child),
    ) -> Result<Self, Ended> {
        let count = command.get_args().filter(|arg| ["--listen", "-l"].iter().any(|l| arg == l));
        let count = count.count();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        prepare(&mut child);
        let stderr = Arc::new(Mutex::new(String::new()));
        let errors = collect(child.stderr.take().unwrap(), Arc::clone(&stderr));
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let reader = thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut server = Self {
            child,
            addresses: Vec::new(),
            data: data.to_owned(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            own_folder: None,
            lines,
            stderr,
            readers: vec![errors, reader],
        };
        for _ in 0..count {
            let line = match server.lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return Err(server.wait_in_place()),
                Err(RecvTimeoutError::Timeout) => panic!("the server neither listens nor ends"),
            };
            let address = line.strip_prefix("listening on ").expect("the line says where");
            server.addresses.push(address.parse().unwrap());
        }
        Ok(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// What it has said on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) -> Ended {
        self.wait_in_place()
    }

    fn wait_in_place(&mut self) -> Ended {
        let child = &mut self.child;
        let status = wait_for("the server ends", || child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.check_recording();
        let stdout = self.lines.try_iter().collect();
        Ended { status, stdout, stderr: self.stderr() }
    }

    /// What it has recorded leads to the same output again, unless the test has taken its folder away.
    fn check_recording(&mut self) {
        if !self.addresses.is_empty() && self.data.is_dir() && !thread::panicking() {
            replayed::identically(&self.data);
        }
    }

    /// Stops it as one should.
    pub fn stop(mut self) -> Ended {
        self.stop_in_place()
    }

    /// The same, and its folder stays as long as this does.
    pub fn stop_in_place(&mut self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.wait_in_place();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
        ended
    }

    /// Stops it as one should, and starts another on the same folder.
    pub fn restart(mut self) -> Self {
        self.stop_in_place();
        self.again()
    }

    /// Kills it, and starts another on the same folder.
    pub fn crash(mut self) -> Self {
        self.kill();
        self.again()
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait_in_place();
    }

    /// Starts another on the same folder; this one has ended.
    pub fn again(self) -> Self {
        let options = self.options.clone();
        self.again_with(&options.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same, with other options.
    pub fn again_with(mut self, options: &[&str]) -> Self {
        let own = self.own_folder.take();
        let mut server = Self::start_on(&self.data, options);
        server.own_folder = own;
        server
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// A new user, in session.
    pub fn user(&self, nickname: &str) -> Client {
        self.user_with(nickname, 0)
    }

    /// The same, with an authentication.
    pub fn user_with(&self, nickname: &str, authentication: u8) -> Client {
        let mut client = self.connect();
        let number = client.register_with(nickname, PASSWORD, authentication);
        assert_eq!(client.log_in(number), [], "nothing waits for a new user");
        client
    }

    /// Users who are registered and gone again, with numbers counted up.
    pub fn offline_user(&self, nickname: &str) -> ServiceNumber {
        self.connect().register(nickname, PASSWORD)
    }

    /// Somebody who was here before, in session, and what has waited.
    pub fn back(&self, number: ServiceNumber) -> (Client, Vec<Got>) {
        let mut client = self.connect();
        let waited = client.log_in(number);
        (client, waited)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.check_recording();
        }
        if thread::panicking() {
            eprintln!("--- the server's standard error:\n{}---", self.stderr());
        }
    }
}

fn collect(mut from: impl Read + Send + 'static, to: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut chunk = [0; 4_096];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            let text = String::from_utf8_lossy(&chunk[..count]);
            to.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
        }
    })
}

/// A client on a socket that blocks.
pub struct Client {
    pub stream: TcpStream,
    pub own: ServiceNumber,
    pub kind: Kind,
    buffer: Vec<u8>,
    /// Packets that came while nobody looked for them.
    kept: VecDeque<Got>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// With buffers in the kernel that hold little.
    pub fn connect_narrow(address: SocketAddr) -> Self {
        let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let socket = rustix::net::socket(family, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_recv_buffer_size(&socket, 16 << 10).unwrap();
        sockopt::set_socket_send_buffer_size(&socket, 16 << 10).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        Self::over(TcpStream::from(socket))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            own: ServiceNumber::NONE,
            kind: Kind::User,
            buffer: Vec::new(),
            kept: VecDeque::new(),
        }
    }

    /// Takes bytes that were read past this client for its next ones.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The packet's bytes, as this client sends it.
    pub fn bytes(&self, request: Request<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        ClientPacket { own: self.own, request }.encode(self.kind, &mut bytes);
        bytes
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn send(&mut self, request: Request<'_>) {
        let bytes = self.bytes(request);
        self.send_bytes(&bytes);
    }

    /// The next packet; `None` where the server has closed the connection.
    pub fn next(&mut self) -> Option<Got> {
        self.try_next().expect("the server answers, or closes in an orderly way")
    }

    /// The same, where the connection may also be reset.
    pub fn try_next(&mut self) -> std::io::Result<Option<Got>> {
        let mut chunk = [0; 16_384];
        if let Some(got) = self.kept.pop_front() {
            return Ok(Some(got));
        }
        loop {
            let cut = cut_for_client(&self.buffer, self.kind, PACKET_BYTES_MAX);
            if let Some(frame) = cut.expect("the server sends packets") {
                let got = Got {
                    packet_type: frame.header.packet_type,
                    receiver: self.buffer[2],
                    content: frame.content.to_vec(),
                };
                let length = frame.length();
                self.buffer.drain(..length);
                return Ok(Some(got));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => panic!("the connection ends within a packet: {:?}", self.buffer),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                // A machine that was put to sleep interrupts whoever waits with a timeout.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next packet, which there has to be.
    pub fn get(&mut self) -> Got {
        self.next().expect("the connection is open")
    }

    /// All packets up to the end of the connection.
    pub fn rest(&mut self) -> Vec<Got> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// All packets up to the end of the connection, however it ends, and whether it ended in an orderly way.
    pub fn rest_or_reset(&mut self) -> (Vec<Got>, bool) {
        let mut all = Vec::new();
        loop {
            match self.try_next() {
                Ok(Some(got)) => all.push(got),
                Ok(None) => return (all, true),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return (all, false),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// What has come until the answer to a connection test that is sent now.
    pub fn pending(&mut self) -> Vec<Got> {
        self.send(Request::Test);
        let mut all = Vec::new();
        loop {
            let got = self.get();
            if matches!(got.packet(), ServerPacket::Tested { .. }) {
                return all;
            }
            all.push(got);
        }
    }

    /// Sends a packet, and gives all that comes until it has been dealt with.
    pub fn ask(&mut self, request: Request<'_>) -> Vec<Got> {
        self.send(request);
        self.pending()
    }

    /// Sends a packet that succeeds in silence.
    pub fn quietly(&mut self, request: Request<'_>) {
        assert_eq!(self.ask(request), [], "done in silence");
    }

    /// Sends a packet that gets one reply.
    pub fn reply(&mut self, request: Request<'_>) -> Got {
        let mut all = self.ask(request);
        assert_eq!(all.len(), 1, "one reply: {all:?}");
        all.remove(0)
    }

    /// Sends a packet that is refused in a notice; the code, and how many packets came before it.
    pub fn refused(&mut self, request: Request<'_>) -> (Code, usize) {
        let all = self.ask(request);
        let last = all.last().expect("something is said");
        let (packet_type, code, _) = last.notice().expect("a notice comes last");
        assert_eq!(packet_type, request.packet_type() as u8);
        (code, all.len() - 1)
    }

    pub fn register(&mut self, nickname: &str, password: &str) -> ServiceNumber {
        self.register_with(nickname, password, 0)
    }

    pub fn register_with(&mut self, nickname: &str, password: &str, auth: u8) -> ServiceNumber {
        self.send(register(nickname, password, auth));
        match self.get().packet() {
            ServerPacket::Registered { success: true, number } => number,
            other => panic!("not registered: {other:?}"),
        }
    }

    /// Logs in, and gives the waiting messages.
    pub fn log_in(&mut self, number: ServiceNumber) -> Vec<Got> {
        self.log_in_with(number, PASSWORD).1
    }

    /// Logs in; the reply, and the waiting messages.
    pub fn log_in_with(&mut self, number: ServiceNumber, password: &str) -> (Got, Vec<Got>) {
        self.own = number;
        let mut all = self.ask(log_in(password));
        let reply = all.remove(0);
        assert!(
            matches!(reply.packet(), ServerPacket::LoggedIn { success: true, .. }),
            "{reply:?} {all:?}"
        );
        (reply, all)
    }

    /// Sends a message, and waits until it is accepted; what comes meanwhile is kept.
    pub fn tell(&mut self, receiver: ServiceNumber, text: &str) {
        let all = self.ask(message(receiver, text));
        assert!(all.iter().all(|got| got.notice().is_none()), "{all:?}");
        self.kept.extend(all);
    }

    pub fn log_out(&mut self) {
        self.send(Request::SetMode { mode: 4 });
        self.own = ServiceNumber::NONE;
        assert_eq!(self.pending(), []);
    }

    /// Tries to log in, and gives the code of the refusal.
    pub fn is_not_let_in(&mut self, number: ServiceNumber, password: &str) -> (Code, String) {
        self.own = number;
        self.send(log_in(password));
        self.own = ServiceNumber::NONE;
        let (reply, notice) = (self.get(), self.get());
        assert_eq!((reply.packet_type, &*reply.content), (0x02, &[0, 0][..]), "{reply:?}");
        let (packet_type, code, sentence) = notice.notice().unwrap();
        assert_eq!(packet_type, 0x02);
        (code, sentence)
    }

    /// Logins that fail, in one write, so that no time passes between them: number, password, and why it fails.
    pub fn are_not_let_in(&mut self, tries: &[(ServiceNumber, &str, Code)]) -> Vec<String> {
        let mut bytes = Vec::new();
        for (number, password, _) in tries {
            ClientPacket { own: *number, request: log_in(password) }.encode(self.kind, &mut bytes);
        }
        self.send_bytes(&bytes);
        tries
            .iter()
            .map(|(_, _, expected)| {
                let (reply, notice) = (self.get(), self.get());
                assert_eq!((reply.packet_type, &*reply.content), (0x02, &[0, 0][..]), "{reply:?}");
                let (packet_type, code, sentence) = notice.notice().unwrap();
                assert_eq!((packet_type, code), (0x02, *expected), "{sentence}");
                sentence
            })
            .collect()
    }

    /// Makes two users friends of each other.
    pub fn befriend(&mut self, other: &mut Self) {
        self.add(other);
        other.add(self);
    }

    /// Adds somebody whom anyone may add.
    fn add(&mut self, other: &mut Self) {
        let all = self.ask(Request::AddFriend { friend: other.own });
        assert!(is_system(&all[0], SystemKind::Agreed, other.own), "{all:?}");
        assert!(is_system(&other.pending()[0], SystemKind::Added, self.own));
    }

    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }

    /// A notice of this code and then the end, after anything else.
    pub fn is_closed_with(&mut self, packet_type: u8, code: Code) -> Vec<Got> {
        let mut all = self.rest();
        let last = all.pop().expect("the server says why");
        let (of, why, _) = last.notice().unwrap_or_else(|| panic!("no notice: {last:?}"));
        assert_eq!((of, why), (packet_type, code));
        all
    }
}

pub fn register<'a>(nickname: &'a str, password: &'a str, authentication: u8) -> Request<'a> {
    Request::Register(Account {
        profile: Profile { nickname: nickname.as_bytes(), ..Profile::default() },
        password: Secret::new(password.as_bytes()),
        authentication,
    })
}

pub fn log_in(password: &str) -> Request<'_> {
    Request::LogIn { password: Secret::new(password.as_bytes()), mode: 0 }
}

pub fn message(receiver: ServiceNumber, text: &str) -> Request<'_> {
    Request::Send { receiver, content: text.as_bytes() }
}

pub fn is_system(got: &Got, kind: SystemKind, from: ServiceNumber) -> bool {
    matches!(got.packet(), ServerPacket::Message { sign: Sign::System(is), number, .. }
        if is == kind && number == from)
}

/// The text and sender of a user's message.
pub fn heard(got: &Got) -> (ServiceNumber, String) {
    match got.packet() {
        ServerPacket::Message { sign: Sign::User, number, text } => {
            (number, String::from_utf8_lossy(text).into_owned())
        }
        other => panic!("no message: {other:?}"),
    }
}

/// The texts of users' messages; other packets are passed over.
pub fn texts(all: &[Got]) -> Vec<String> {
    let is_message =
        |got: &&Got| matches!(got.packet(), ServerPacket::Message { sign: Sign::User, .. });
    all.iter().filter(is_message).map(|got| heard(got).1).collect()
}

/// The groups of a login's reply: number, name and friends.
pub fn groups(reply: &Got) -> Vec<(GroupNumber, String, Vec<ServiceNumber>)> {
    let ServerPacket::LoggedIn { success: true, groups } = reply.packet() else {
        panic!("no login: {reply:?}")
    };
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let friends = |all: &[oicq::wire::server::FriendEntry<'_>]| {
        all.iter().map(|friend| friend.number).collect()
    };
    groups.iter().map(|g| (g.group, name(g.name), friends(&g.friends))).collect()
}

/// The tools' program: beside the server's, and made if it is not there.
pub fn tools_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let server = Path::new(env!("CARGO_BIN_EXE_oicqd"));
        let profile = server.parent().unwrap();
        let program = profile.join("oicq-tools");
        if !program.exists() {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.args(["build", "--quiet", "--package", "oicq-tools"]);
            build.current_dir(env!("CARGO_MANIFEST_DIR"));
            build.arg("--target-dir").arg(profile.parent().unwrap());
            if profile.ends_with("release") {
                build.arg("--release");
            }
            assert!(build.status().unwrap().success(), "the tools are built");
        }
        program
    })
}

pub fn tools<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    Command::new(tools_program()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A tool over a folder: status, standard output, standard error.
pub fn tool(command: &str, data: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    let mut arguments: Vec<OsString> = vec![command.into(), data.into()];
    arguments.extend(options.iter().map(OsString::from));
    let output = tools(&arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A tool's result where it does not fail.
pub fn result(command: &str, data: &Path, options: &[&str]) -> String {
    let (status, out, errors) = tool(command, data, options);
    assert_eq!((status, &*errors), (Some(0), ""), "{command} {options:?}");
    out
}

/// The state's digest and the last sequence number.
pub fn digest(data: &Path) -> String {
    result("replay", data, &["--digest"])
}

/// The state's digest alone: an event that tells a digest changes nothing but the last sequence number.
pub fn state(data: &Path) -> String {
    let line = digest(data);
    let end = line.find(" seq ").expect("it ends with the last sequence number");
    line[..end].to_owned()
}

/// A number of `stat`'s.
pub fn stat(data: &Path, key: &str) -> u64 {
    let line = result("stat", data, &["--format", "json"]);
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    object[key].as_u64().unwrap_or_else(|| panic!("{key} in {line}"))
}

/// `oicq-tools client` with a script that is written while it runs.
pub struct Script {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: BufReader<std::process::ChildStdout>,
    pub seen: Vec<String>,
}

impl Script {
    pub fn start(address: SocketAddr, options: &[&str]) -> Self {
        let mut command = Command::new(tools_program());
        command.arg("client").arg(address.to_string()).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { stdin: child.stdin.take(), child, lines, seen: Vec::new() }
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Reads on until a line that starts so.
    pub fn until(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            let count = self.lines.read_line(&mut line).unwrap();
            assert_ne!(count, 0, "{start:?} does not come after {:#?}", self.seen);
            let line = line.trim_end().to_owned();
            self.seen.push(line.clone());
            if line.starts_with(start) {
                return line;
            }
        }
    }

    /// The end of the script: status, the rest of the lines, standard error.
    pub fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        drop(self.stdin.take());
        let (mut rest, mut errors) = (String::new(), String::new());
        self.lines.read_to_string(&mut rest).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let status = self.child.wait().unwrap().code();
        (status, rest.lines().map(str::to_owned).collect(), errors)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
