//! The sample conversation over sockets, against the real program. Beside it an engine plays the same
//! lines, and says what every connection has to get for each of them.
//!
//! Nothing here waits for a clock: after each line every connection makes a connection test, so that its
//! effects have arrived everywhere, and been acknowledged, before the next line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use oicq::id::{Seq, ServiceNumber, UnixMillis};
use oicq::state::{EventKind, State};
use oicq::wire::server::Extensions;
use oicq::wire::{ClientPacket, Code, Kind, Request, RequestType, ServerPacket};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::{Pid, Signal, kill_process};

use crate::kit::capture::{Line, Step};
use crate::kit::golden::{Logged, log_folder, read_log};
use crate::kit::play::{OPTIONS, Player};
use crate::kit::{Got, Journal};

/// After so long a silence the test has failed; nothing waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn play(lines: &[Line]) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let mut player = Player::new(Journal::default());
    let mut clients = BTreeMap::new();
    for line in lines {
        let before = player.received.len();
        player.play_line(line);
        let mut expected: BTreeMap<&str, Vec<&Got>> = BTreeMap::new();
        for received in &player.received[before..] {
            expected.entry(&received.connection).or_default().push(&received.got);
        }
        act(&server, &mut clients, line);
        for (name, client) in &mut clients {
            let expected = expected.remove(name.as_str()).unwrap_or_default();
            let closed = player.is_closed(name);
            client.settle(line, name, &expected, closed);
        }
    }
    assert!(clients.is_empty());
    server.stop();
    compare(folder.path());
}

/// Does what a line says.
fn act(server: &Server, clients: &mut BTreeMap<String, Client>, line: &Line) {
    match &line.step {
        Step::Connect(address) => {
            let client = Client::connect(server.address, *address);
            clients.insert(line.connection.clone(), client);
        }
        Step::Packet(bytes) => clients.get_mut(&line.connection).unwrap().send(bytes),
        Step::End => clients.remove(&line.connection).unwrap().end(line),
    }
}

/// The log that is left has the golden log's events, but for what is by chance in them. When something
/// was delivered, and with what together it was noted, is for the network to decide; that it was, is not. The
/// digests of the state, which are no changes, have been compared by reading them.
fn compare(folder: &Path) {
    let changes = |logged: &[Logged]| -> Vec<Logged> {
        let other = [EventKind::Delivered as u8, EventKind::StateDigest as u8];
        let logged = logged.iter().filter(|logged| !other.contains(&logged.kind));
        logged.map(Logged::without_chance).collect()
    };
    let (live, golden) = (read_log(folder), read_log(&log_folder()));
    assert_eq!(changes(&live.logged), changes(&golden.logged));
    assert_eq!(mailboxes(&live.state), mailboxes(&golden.state));
    assert_eq!(live.state.last_digest(), live.state.last_seq(), "a stop leaves the digest");
}

/// Who still has to get what from whom.
fn mailboxes(state: &State) -> Vec<(ServiceNumber, ServiceNumber, u32, u32)> {
    let users = state.users();
    let waiting = users.flat_map(|(to, user)| {
        let mailbox = user.mailbox().after(Seq::ZERO);
        mailbox.map(move |(_, waiting)| (to, waiting.from, waiting.length, waiting.checksum))
    });
    waiting.collect()
}

/// The program, ended when it goes out of sight.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_oicqd"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(folder)
            .args(OPTIONS)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").map(str::parse);
        Self { child, address: address.expect("it says where it listens").unwrap() }
    }

    fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Where a test fails before it has stopped the server.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One end of a connection.
struct Client {
    socket: TcpStream,
    /// The kind in its packets; known with the first one.
    kind: Option<Kind>,
    /// Whom its latest login named, and in whose session it is.
    claimed: ServiceNumber,
    own: ServiceNumber,
    extensions: Extensions,
    /// The last message that it got with an id, of this server's.
    arrived: Seq,
    /// It has sent half a packet, so nothing more can be asked.
    partial: bool,
}

impl Client {
    /// The capture's addresses are for documentation; the loopback has as many.
    fn connect(server: SocketAddr, address: IpAddr) -> Self {
        let IpAddr::V4(address) = address else { panic!("the capture has IPv4 addresses") };
        let [_, _, net, host] = address.octets();
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, net, host), 0));
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &from).unwrap();
        connect(&socket, &server).unwrap();
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (own, extensions) = (ServiceNumber::NONE, Extensions::default());
        let arrived = Seq::ZERO;
        Self { socket, kind: None, claimed: own, own, extensions, arrived, partial: false }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(&self.translated(bytes)).unwrap();
        let Some(&[_, sender, _, packet_type, a, b, c, d]) = bytes.first_chunk() else {
            self.partial = true;
            return;
        };
        self.kind = Kind::of_sender(sender);
        let content = &bytes[8..];
        self.partial = content.len() < u32::from_be_bytes([a, b, c, d]) as usize;
        let packet = RequestType::from_byte(packet_type)
            .and_then(|packet_type| ClientPacket::decode(packet_type, content).ok());
        match packet {
            Some(ClientPacket { own, request: Request::LogIn { .. } }) => self.claimed = own,
            Some(ClientPacket { request: Request::SetMode { mode: 4 }, .. }) => {
                self.own = ServiceNumber::NONE;
            }
            _ => {}
        }
    }

    /// The same packet; but where it says which messages have arrived, with the id that they have here. Ids
    /// are places in the log, and it is for the network to decide what is noted before them.
    fn translated(&self, bytes: &[u8]) -> Vec<u8> {
        let says_so = bytes.get(3) == Some(&(RequestType::Arrived as u8));
        match self.kind {
            Some(kind) if says_so && self.arrived != Seq::ZERO => {
                let mut bytes = Vec::new();
                let request = Request::Arrived { through: self.arrived };
                ClientPacket { own: self.own, request }.encode(kind, &mut bytes);
                bytes
            }
            _ => bytes.to_vec(),
        }
    }

    /// Takes what it has to get for a line, and then nothing but the reply to a connection test, or the
    /// end of a connection that the server closes.
    fn settle(&mut self, line: &Line, name: &str, expected: &[&Got], closed: bool) {
        let test = self.kind.filter(|_| !closed && !self.partial);
        for expected in expected {
            let got = self.receive().unwrap_or_else(|| panic!("line {}: {name}: end", line.at));
            assert_eq!(comparable(&got), comparable(expected), "line {}: {name}", line.at);
            match got.packet() {
                ServerPacket::LoggedIn { success: true, .. } => self.own = self.claimed,
                ServerPacket::Extensions { granted } => {
                    self.extensions = Extensions::grant(granted);
                }
                ServerPacket::Numbered { id, .. } => {
                    assert!(self.arrived < id, "line {}: {name}: ids grow", line.at);
                    self.arrived = id;
                }
                _ => {}
            }
        }
        if closed {
            assert_eq!(self.receive(), None, "line {}: {name}", line.at);
        }
        let Some(kind) = test else { return };
        let mut bytes = Vec::new();
        ClientPacket { own: self.own, request: Request::Test }.encode(kind, &mut bytes);
        self.socket.write_all(&bytes).unwrap();
        let got = self.receive().unwrap_or_else(|| panic!("line {}: {name}: end", line.at));
        let reply = ServerPacket::Tested { number: self.own };
        assert_eq!(got.packet(), reply, "line {}: {name}", line.at);
        if self.extensions.have(Extensions::RESULTS) {
            let got = self.receive().unwrap_or_else(|| panic!("line {}: {name}: end", line.at));
            let (packet_type, id) = (RequestType::Test as u8, Seq::ZERO);
            let result = ServerPacket::Result { packet_type, success: true, id, text: b"" };
            assert_eq!(got.packet(), result, "line {}: {name}", line.at);
        }
    }

    /// Ends it, and waits until the server has seen that.
    fn end(mut self, line: &Line) {
        // The server may have closed it before.
        let _ = self.socket.shutdown(Shutdown::Write);
        assert_eq!(self.receive(), None, "line {}: nothing more comes", line.at);
    }

    /// The next packet, or `None` at the end.
    fn receive(&mut self) -> Option<Got> {
        let mut header = [0; 8];
        match self.socket.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
        let [_, _, receiver, packet_type, a, b, c, d] = header;
        let mut content = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
        self.socket.read_exact(&mut content).unwrap();
        Some(Got { packet_type, receiver, content })
    }
}

/// How long somebody has to wait depends on how fast the machine is, and so does whether: there, a guess
/// counts as refused either way. Ids are places in the log, and times are those of this day: of these it
/// matters whether there is one.
fn comparable(got: &Got) -> Got {
    if let Some((0x02, Code::Throttled | Code::BadLogin, _)) = got.notice() {
        return Got { content: Vec::new(), ..got.clone() };
    }
    let some = |id: Seq| Seq(u64::from(id != Seq::ZERO));
    let packet = match got.packet() {
        ServerPacket::Result { packet_type, success, id, text } => {
            ServerPacket::Result { packet_type, success, id: some(id), text }
        }
        ServerPacket::Numbered { id, time, sign, number, text } => {
            let time = UnixMillis(u64::from(time != UnixMillis(0)));
            ServerPacket::Numbered { id: some(id), time, sign, number, text }
        }
        other => other,
    };
    let mut bytes = Vec::new();
    packet.encode(Kind::User, &mut bytes);
    Got { content: bytes.split_off(8), ..got.clone() }
}
