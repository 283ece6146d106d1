//! What the tests of the session have in common: a session without a connection, and both ends of it.

use std::path::PathBuf;

use oicq::codec::charset::Charset;
use oicq::codec::secret::Secret;
use oicq::id::ServiceNumber;
use oicq::wire::server::{Extensions, Sign, SystemKind};
use oicq::wire::{ClientPacket, Expected, Kind, Request, RequestType, ServerPacket, cut};

use super::commands::Command;
use super::connection::ToServer;
use super::input::Packet;
use super::session::{Credentials, Session, Setup};

pub(super) const ANN: ServiceNumber = ServiceNumber(10_001);
pub(super) const BOB: ServiceNumber = ServiceNumber(10_002);

/// Ann's session on a connection that has these extensions.
pub(super) fn session_with(extensions: Extensions) -> Session {
    let mut session = Session::new(Setup {
        charset: Charset::Utf8,
        kind: Kind::User,
        downloads: PathBuf::new(),
        extensions,
        returns: true,
    });
    session.handle_connected();
    if extensions.sum() != 0 {
        receive(&mut session, &ServerPacket::Extensions { granted: extensions.sum() });
    }
    session.handle_login(credentials(), &[]);
    session.events.clear();
    while session.poll_send().is_some() {}
    session
}

/// Ann's session, as in the base protocol.
pub(super) fn session() -> Session {
    session_with(Extensions::default())
}

pub(super) fn credentials() -> Credentials {
    Credentials { number: ANN, password: Secret::new(b"secret").to_owned(), mode: 1 }
}

pub(super) fn start(session: &mut Session, line: &str) {
    session.start(Command::parse(line, Charset::Utf8).unwrap().unwrap()).unwrap();
}

pub(super) fn receive(session: &mut Session, packet: &ServerPacket<'_>) {
    let mut bytes = Vec::new();
    packet.encode(Kind::User, &mut bytes);
    receive_bytes(session, bytes[3], &bytes[8..]);
}

pub(super) fn receive_bytes(session: &mut Session, packet_type: u8, content: &[u8]) {
    session.handle_packet(&Packet { packet_type, content: content.to_vec() });
}

pub(super) fn notice(session: &mut Session, line: &[u8]) {
    let sign = Sign::System(SystemKind::Notice);
    receive(session, &ServerPacket::Message { sign, number: ServiceNumber::NONE, text: line });
}

pub(super) fn tested(session: &mut Session) {
    receive(session, &ServerPacket::Tested { number: ANN });
}

/// What has happened since the last look.
pub(super) fn lines(session: &mut Session) -> Vec<String> {
    std::iter::from_fn(|| session.poll_event()).map(|event| event.line()).collect()
}

/// Type and own number of each packet that is to be sent.
pub(super) fn sent(session: &mut Session) -> Vec<(u8, u32)> {
    let read = |packet: &ClientPacket<'_>| (packet.request.packet_type() as u8, packet.own.0);
    packets(session, read)
}

/// Up to which ids it is to be said that messages have arrived.
pub(super) fn confirmed(session: &mut Session) -> Vec<u64> {
    let read = |packet: &ClientPacket<'_>| match packet.request {
        Request::Arrived { through } => Some(through.0),
        _ => None,
    };
    packets(session, read).into_iter().flatten().collect()
}

/// In which modes somebody is to be logged in.
pub(super) fn login_modes(session: &mut Session) -> Vec<u8> {
    let read = |packet: &ClientPacket<'_>| match packet.request {
        Request::LogIn { mode, .. } => Some(mode),
        _ => None,
    };
    packets(session, read).into_iter().flatten().collect()
}

fn packets<T>(session: &mut Session, read: impl Fn(&ClientPacket<'_>) -> T) -> Vec<T> {
    let read = |to_server| match to_server {
        ToServer::Packet(bytes) => {
            let any = Expected { kind: None, content_bytes_max: 65_536 };
            let frame = cut(&bytes, any).unwrap().unwrap();
            let packet_type = RequestType::from_byte(frame.header.packet_type).unwrap();
            Some(read(&ClientPacket::decode(packet_type, frame.content).unwrap()))
        }
        _ => None,
    };
    std::iter::from_fn(|| session.poll_send()).filter_map(read).collect()
}
