//! A small server for the client's tests, and the client as a process that talks to it.
//!
//! The server here knows just enough of the protocol to answer; it is no second implementation of it,
//! and what it sends and reads goes through the library's own codec.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use oicq::codec::profile::Profile;
use oicq::id::{GroupNumber, Seq, ServiceNumber, UnixMillis};
use oicq::wire::server::{Extensions, FriendEntry, GroupEntry, Presence, Sign, SystemKind};
use oicq::wire::{
    ClientPacket, Code, Expected, Kind, Notice, Request, RequestType, ServerPacket, cut,
};

pub const BOB: ServiceNumber = ServiceNumber(10_002);

/// What the fake server is like, and what it still knows on the next connection.
#[derive(Default)]
pub struct Server {
    /// What it has of the extensions; `None` where it has never heard of them.
    has: Option<u32>,
    granted: Extensions,
    /// The messages that it has sent, by id, and up to which it was told on the last connection that they
    /// have arrived.
    pub messages: Vec<Vec<u8>>,
    pub confirmed: u64,
    /// Whether the password has changed meanwhile.
    locked: bool,
}

/// One connection of the fake server.
struct Fake {
    server: Server,
    stream: TcpStream,
    out: Vec<u8>,
    /// Bytes of files by who they go to: offered and received.
    files: BTreeMap<ServiceNumber, (u32, u32)>,
    /// What was said of the packet at hand in place of its success.
    refusal: Vec<u8>,
    own: ServiceNumber,
    /// How many messages were sent on connections before this one.
    earlier: usize,
}

impl Fake {
    fn serve(stream: TcpStream, mut server: Server) -> Server {
        (server.granted, server.confirmed) = (Extensions::default(), 0);
        let mut fake = Self {
            earlier: server.messages.len(),
            server,
            stream,
            out: Vec::new(),
            files: BTreeMap::new(),
            refusal: Vec::new(),
            own: ServiceNumber::NONE,
        };
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
        while let Ok(count @ 1..) = fake.stream.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..count]);
            let any = Expected { kind: None, content_bytes_max: 65_536 };
            while let Some(frame) = cut(&bytes, any).unwrap() {
                let packet_type = RequestType::from_byte(frame.header.packet_type).unwrap();
                let packet = ClientPacket::decode(packet_type, frame.content).unwrap();
                let goes_on = fake.answer(&packet);
                if goes_on {
                    fake.finish(packet_type);
                }
                let length = frame.length();
                bytes.drain(..length);
                fake.stream.write_all(&fake.out).unwrap();
                fake.out.clear();
                if !goes_on {
                    return fake.server;
                }
            }
        }
        fake.server
    }

    /// A result, where the connection has them.
    fn finish(&mut self, packet_type: RequestType) {
        let text = std::mem::take(&mut self.refusal);
        if !self.has(Extensions::RESULTS) || packet_type == RequestType::WantExtensions {
            return;
        }
        let is_message = matches!(packet_type, RequestType::Send | RequestType::Broadcast);
        let id = if is_message && text.is_empty() { Seq(77) } else { Seq::ZERO };
        let success = text.is_empty();
        self.send(&ServerPacket::Result {
            packet_type: packet_type as u8,
            success,
            id,
            text: &text,
        });
    }

    fn has(&self, these: Extensions) -> bool {
        self.server.granted.have(these)
    }

    fn grant(&mut self, wanted: u32) {
        let Some(has) = self.server.has else {
            return self.refuse(RequestType::WantExtensions, Code::UnknownType);
        };
        self.server.granted = Extensions::grant(wanted & has);
        self.send(&ServerPacket::Extensions { granted: wanted & has });
    }

    fn message(&mut self, text: &[u8]) {
        self.server.messages.push(text.to_vec());
        self.send_message(self.server.messages.len());
    }

    fn send_message(&mut self, id: usize) {
        let (sign, number) = (Sign::User, BOB);
        let text = self.server.messages[id - 1].clone();
        if self.has(Extensions::MESSAGE_IDS) {
            let (id, time) = (Seq(id as u64), UnixMillis(1_050_076_800_000 + id as u64));
            self.send(&ServerPacket::Numbered { id, time, sign, number, text: &text });
        } else {
            self.send(&ServerPacket::Message { sign, number, text: &text });
        }
    }

    fn send(&mut self, packet: &ServerPacket<'_>) {
        packet.encode(Kind::User, &mut self.out);
    }

    fn refuse(&mut self, packet_type: RequestType, code: Code) {
        if self.has(Extensions::RESULTS) {
            self.refusal = format!("{code}: so it is").into_bytes();
            return;
        }
        let mut text = Vec::new();
        Notice::write(packet_type as u8, code, "so it is", &mut text);
        let sign = Sign::System(SystemKind::Notice);
        self.send(&ServerPacket::Message { sign, number: ServiceNumber::NONE, text: &text });
    }

    fn answer(&mut self, packet: &ClientPacket<'_>) -> bool {
        match packet.request {
            Request::Register(_) => {
                self.send(&ServerPacket::Registered {
                    success: true,
                    number: ServiceNumber(10_001),
                });
            }
            Request::WantExtensions { wanted } => self.grant(wanted),
            Request::Arrived { through } => {
                assert!(self.has(Extensions::MESSAGE_IDS));
                assert_eq!(packet.own, self.own, "in the session");
                assert!(self.server.confirmed < through.0, "once");
                assert!(through.0 <= self.server.messages.len() as u64, "what was sent");
                self.server.confirmed = through.0;
            }
            Request::LogIn { password, .. }
                if password.expose() != b"secret" || self.server.locked =>
            {
                self.send(&ServerPacket::LoggedIn { success: false, groups: vec![] });
                self.refuse(RequestType::LogIn, Code::BadLogin);
            }
            Request::LogIn { .. } => self.log_in(packet.own),
            Request::Test => self.send(&ServerPacket::Tested { number: packet.own }),
            Request::Send { receiver: ServiceNumber(99), .. } => {
                self.refuse(RequestType::Send, Code::UnknownNumber);
            }
            Request::Send { content: b"die", .. } => return false,
            Request::Send { content: b"forget", .. } => {
                self.server.locked = true;
                return false;
            }
            Request::Send { content: b"elsewhere", .. } => {
                self.end_elsewhere();
                return false;
            }
            Request::Send { content, .. } => self.echo(content),
            Request::ViewProfile { friend } => {
                let profile = Profile { nickname: b"ann", age: 20, ..Profile::default() };
                self.send(&ServerPacket::Profile { success: true, number: friend, profile });
            }
            Request::ChangeProfile(account) => {
                assert_eq!((account.profile.nickname, account.profile.age), (&b"ann"[..], 21));
                assert_eq!((account.password.expose(), account.authentication), (&b""[..], 255));
            }
            Request::DeleteGroup { group } => {
                self.send(&ServerPacket::GroupDeleted { success: false, group });
                self.refuse(RequestType::DeleteGroup, Code::NotAllowed);
            }
            Request::AddGroup { name } => {
                let group = GroupNumber(2);
                self.send(&ServerPacket::GroupAdded { success: true, group, name });
            }
            Request::MoveFriends(_) => self.send(&ServerPacket::FriendsMoved { success: true }),
            Request::OfferFile { friend, length, .. } => {
                self.files.insert(friend, (length, 0));
                self.send(&ServerPacket::FileAnswered { receiver: friend, allow: true });
            }
            Request::FilePiece { friend, data } => {
                assert!(data.len() <= 32 * 1_024);
                self.files.get_mut(&friend).unwrap().1 += u32::try_from(data.len()).unwrap();
            }
            Request::AnswerFile { friend, allow: 1 } => {
                for data in [&b"ab"[..], b"", b"c"] {
                    self.send(&ServerPacket::FilePiece { sender: friend, data });
                }
            }
            _ => {}
        }
        true
    }

    /// The notice of a number that has logged in on another connection.
    fn end_elsewhere(&mut self) {
        let mut text = Vec::new();
        Notice::write(0, Code::Elsewhere, "you have logged in elsewhere", &mut text);
        let sign = Sign::System(SystemKind::Notice);
        self.send(&ServerPacket::Message { sign, number: ServiceNumber::NONE, text: &text });
    }

    fn log_in(&mut self, number: ServiceNumber) {
        self.own = number;
        let bob =
            FriendEntry { number: BOB, portrait: 0, state: Presence::Online, nickname: b"bob" };
        let group =
            GroupEntry { name: b"My Friends", group: GroupNumber::FIRST, friends: vec![bob] };
        self.send(&ServerPacket::LoggedIn { success: true, groups: vec![group] });
        // Whatever came before comes again: a server that was killed may not remember that it has arrived.
        (1..=self.earlier).for_each(|id| self.send_message(id));
    }

    /// A message comes back from its receiver, the word `offer` as a file, `files` as what has come, `busy` as
    /// a state of its receiver, `confirmed` as up to where messages have arrived.
    fn echo(&mut self, content: &[u8]) {
        let report = format!("{:?}", self.files);
        let confirmed = self.server.confirmed.to_string();
        let text = match content {
            b"busy" if self.has(Extensions::PRESENCE) => {
                let (number, state) = (BOB, Presence::DoNotDisturb);
                return self.send(&ServerPacket::FriendPresence { number, state });
            }
            b"confirmed" => confirmed.as_bytes(),
            b"offer" => {
                return self.send(&ServerPacket::FileOffered {
                    sender: BOB,
                    name: b"../a.txt",
                    length: 3,
                });
            }
            b"files" => report.as_bytes(),
            other => other,
        };
        self.message(text);
    }
}

/// Starts a fake server with these extensions, which takes one connection: its address, and what it knows in the end.
pub fn start(has: Option<u32>) -> (String, JoinHandle<Server>) {
    start_for(has, 1)
}

fn start_for(has: Option<u32>, connections: usize) -> (String, JoinHandle<Server>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut server = Server { has, ..Server::default() };
        for _ in 1..connections {
            server = Fake::serve(listener.accept().unwrap().0, server);
        }
        let (stream, _) = listener.accept().unwrap();
        // Nobody is let in any more before the last connection ends.
        drop(listener);
        Fake::serve(stream, server)
    });
    (address, server)
}

/// Runs the client against a fake server without extensions, with this script as its standard input.
pub fn client(script: &str, options: &[&str]) -> Output {
    client_of(Some(0), 1, script, options).0
}

/// The same with a server that has these extensions, and takes so many connections one after the other.
/// Answers what the server knows in the end, too.
pub fn client_of(
    has: Option<u32>,
    connections: usize,
    script: &str,
    options: &[&str],
) -> (Output, Server) {
    let (address, server) = start_for(has, connections);
    let mut child = Command::new(env!("CARGO_BIN_EXE_oicq-tools"))
        .arg("client")
        .arg(&address)
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A client that has failed does not read the rest of its script.
    let _ = child.stdin.take().unwrap().write_all(script.as_bytes());
    let output = child.wait_with_output().unwrap();
    // A server that still waits for a connection gets one that ends at once.
    (1..connections).for_each(|_| drop(TcpStream::connect(&address)));
    (output, server.join().unwrap())
}

/// Standard output after the first line, which holds the server's port.
pub fn lines(output: &Output) -> Vec<String> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    assert!(lines.next().is_some_and(|line| line.starts_with("connected server=127.0.0.1:")));
    lines.collect()
}

pub fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
