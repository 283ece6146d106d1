//! Clients for what is counted: they log in, write what they are given, and read packet by packet.
//!
//! Nothing here decides when anything is written; that makes counts repeat, and belongs to `scenarios`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use oicq::codec::secret::Secret;
use oicq::id::ServiceNumber;
use oicq::wire::server::{Extensions, GroupEntry};
use oicq::wire::{ClientPacket, Kind, Request, ServerPacket, cut_for_client};
use rustix::net::sockopt::set_tcp_quickack;

/// A server that says nothing for so long has lost something.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a packet to a client holds at most.
const CONTENT_BYTES: u32 = 1 << 16;

/// One connection, and who is in session on it.
pub struct Client {
    own: ServiceNumber,
    socket: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// A connection of somebody who has not logged in.
    pub fn connect(address: &str, own: ServiceNumber) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { own, socket, input: Vec::new() }
    }

    /// Asks for a sum of extensions, and logs in.
    pub fn begin_session(&mut self, extensions: u32) {
        if extensions > 0 {
            self.send(Request::WantExtensions { wanted: extensions });
            let expected = ServerPacket::Extensions { granted: extensions };
            self.receive(|packet| assert_eq!(*packet, expected));
        }
        self.log_in();
        // With results, that of the login.
        if extensions & Extensions::RESULTS.sum() > 0 {
            self.receive(|packet| assert!(is_success(packet), "{packet:?}"));
        }
    }

    /// Logs in; answers how many friends the server has told of.
    pub fn log_in(&mut self) -> usize {
        self.send(Request::LogIn { password: Secret::new(b"secret"), mode: 0 });
        self.receive(|packet| match packet {
            ServerPacket::LoggedIn { success: true, groups } => {
                groups.iter().map(|GroupEntry { friends, .. }| friends.len()).sum()
            }
            other => panic!("no login: {other:?}"),
        })
    }

    pub const fn own(&self) -> ServiceNumber {
        self.own
    }

    /// A packet as this client sends it.
    pub fn packet(&self, request: Request<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        ClientPacket { own: self.own, request }.encode(Kind::User, &mut bytes);
        bytes
    }

    pub fn send(&mut self, request: Request<'_>) {
        let bytes = self.packet(request);
        self.write(&bytes);
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Whatever comes next is acknowledged as soon as it is there, and not when the system likes.
    pub fn acknowledge_at_once(&self) {
        set_tcp_quickack(&self.socket, true).unwrap();
    }

    /// Waits for the next packet, and hands it over.
    pub fn receive<T>(&mut self, take: impl FnOnce(&ServerPacket<'_>) -> T) -> T {
        loop {
            if let Some(frame) = cut_for_client(&self.input, Kind::User, CONTENT_BYTES).unwrap() {
                let packet = ServerPacket::decode(frame.header.packet_type, frame.content).unwrap();
                let (taken, length) = (take(&packet), frame.length());
                self.input.drain(..length);
                return taken;
            }
            let mut chunk = [0; 4_096];
            let count = self.socket.read(&mut chunk).unwrap();
            assert!(count > 0, "the server has closed a connection");
            self.input.extend_from_slice(&chunk[..count]);
        }
    }
}

/// Whether it is a result that says that all was done.
pub fn is_success(packet: &ServerPacket<'_>) -> bool {
    matches!(packet, ServerPacket::Result { success: true, text: [], .. })
}
