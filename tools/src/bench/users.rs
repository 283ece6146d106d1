//! The users of a load: registers them or takes those of an earlier run, and logs them in.
//!
//! It waits for each answer, for many users at once. What the server refuses it turns into words that say what to
//! do; here and nowhere else.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::ServiceNumber;
use oicq::limits::FILES_LINGERING;
use oicq::net::connections_possible;
use oicq::wire::client::Account;
use oicq::wire::server::{Extensions, Sign, SystemKind};
use oicq::wire::{
    ClientPacket, Code, Kind, Notice, Request, RequestType, ServerPacket, cut_for_client,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, send, socket_with,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::run::Run;
use super::stream::Stream;
use super::watch::process_behind;
use crate::failure::Failure;

/// The password of every user that is registered here; it protects nothing.
pub(crate) const PASSWORD: Secret<'_> = Secret::new(b"oicq-tools bench");
const NICKNAME: &[u8] = b"bench";
/// Connections on which an answer is waited for at once.
const AT_ONCE: usize = 64;
/// Connections from one address of this machine: there are not many more ports for one.
const PER_ADDRESS: usize = 25_000;
/// Files that are not connections.
const FILES_RESERVED: u64 = 64;
/// The longest content that is taken of the server: a login with as many friends as there can be.
pub(crate) const CONTENT_BYTES_MAX: u32 = 16 << 20;

/// A user on a connection.
pub(crate) struct Member {
    pub(crate) number: ServiceNumber,
    pub(crate) stream: Stream,
    /// Who was in its friend list when it logged in.
    pub(crate) friends: Vec<ServiceNumber>,
}

/// The way in for the users of one load.
pub(crate) struct Door<'a> {
    pub(crate) run: &'a Run,
    pub(crate) address: SocketAddr,
    /// What each connection asks for, and gets.
    pub(crate) extensions: Extensions,
    /// The first of the users that exist; new ones are registered where there is none.
    pub(crate) first: Option<ServiceNumber>,
    /// The address of this machine that connections come from, where it is not left to the system.
    pub(crate) from: Option<Ipv4Addr>,
}

impl Door<'_> {
    /// The server's process, where it is on this machine. That it answers shows that it is a server.
    pub(crate) fn process(&self) -> Result<Option<u32>, Failure> {
        const DOING: &str = "a connection test";
        let mut stream = self.connect(0)?;
        put(&mut stream.out, ServiceNumber::NONE, Request::Test);
        self.send(&mut stream)?;
        let (packet_type, content) = self.receive(&mut stream, DOING)?;
        match ServerPacket::decode(packet_type, &content) {
            Ok(ServerPacket::Tested { .. }) => Ok(process_behind(&stream.socket)),
            _ => Err(unexpected(DOING, packet_type, &content)),
        }
    }

    /// The numbers of so many users: new ones, or those that exist from the first one on.
    pub(crate) fn numbers(&self, count: usize) -> Result<Vec<ServiceNumber>, Failure> {
        let count_u32 = u32::try_from(count).unwrap_or(u32::MAX);
        match self.first {
            Some(first) => Ok((0..count_u32)
                .map(|index| ServiceNumber(first.0.saturating_add(index)))
                .collect()),
            None => self.register(count),
        }
    }

    fn register(&self, count: usize) -> Result<Vec<ServiceNumber>, Failure> {
        const DOING: &str = "a registration";
        let profile = Profile { nickname: NICKNAME, ..Profile::default() };
        let account = Account { profile, password: PASSWORD, authentication: 0 };
        let mut stream = self.connect(0)?;
        let mut numbers = Vec::with_capacity(count);
        self.run.doing("registering users".to_owned(), count as u64);
        while numbers.len() < count {
            let at_once = AT_ONCE.min(count - numbers.len());
            for _ in 0..at_once {
                put(&mut stream.out, ServiceNumber::NONE, Request::Register(account));
            }
            self.send(&mut stream)?;
            for _ in 0..at_once {
                let (packet_type, content) = self.receive(&mut stream, DOING)?;
                match ServerPacket::decode(packet_type, &content) {
                    Ok(ServerPacket::Registered { success: true, number }) => numbers.push(number),
                    // Why comes behind it.
                    Ok(ServerPacket::Registered { success: false, .. }) => {
                        let (packet_type, content) = self.receive(&mut stream, DOING)?;
                        return Err(unexpected(DOING, packet_type, &content));
                    }
                    _ => return Err(unexpected(DOING, packet_type, &content)),
                }
            }
            self.run.done(numbers.len() as u64);
        }
        Ok(numbers)
    }

    /// Logs users in, each on a connection of its own.
    pub(crate) fn log_in(&self, numbers: &[ServiceNumber]) -> Result<Vec<Member>, Failure> {
        self.run.doing("logging users in".to_owned(), numbers.len() as u64);
        let mut members = Vec::with_capacity(numbers.len());
        for numbers in numbers.chunks(AT_ONCE) {
            let begun = members.len();
            for &number in numbers {
                let mut stream = self.connect(members.len())?;
                let out = &mut stream.out;
                if self.extensions.sum() != 0 {
                    let wanted = self.extensions.sum();
                    put(out, ServiceNumber::NONE, Request::WantExtensions { wanted });
                }
                put(out, number, Request::LogIn { password: PASSWORD, mode: 0 });
                self.send(&mut stream)?;
                members.push(Member { number, stream, friends: Vec::new() });
            }
            for member in &mut members[begun..] {
                self.finish_login(member)?;
            }
            self.run.done(members.len() as u64);
        }
        Ok(members)
    }

    fn finish_login(&self, member: &mut Member) -> Result<(), Failure> {
        let doing = format!("the login of {}", member.number);
        let stream = &mut member.stream;
        if self.extensions.sum() != 0 {
            let (packet_type, content) = self.receive(stream, &doing)?;
            match ServerPacket::decode(packet_type, &content) {
                Ok(ServerPacket::Extensions { granted }) if granted == self.extensions.sum() => {}
                Ok(ServerPacket::Extensions { .. }) => {
                    return Err(Failure::Failed(format!(
                        "the server at {} does not have the extensions; --clients base does without",
                        self.address
                    )));
                }
                _ => return Err(unexpected(&doing, packet_type, &content)),
            }
        }
        let (packet_type, content) = self.receive(stream, &doing)?;
        match ServerPacket::decode(packet_type, &content) {
            Ok(ServerPacket::LoggedIn { success: true, groups }) => {
                let friends = groups.iter().flat_map(|group| &group.friends);
                member.friends = friends.map(|friend| friend.number).collect();
            }
            Ok(ServerPacket::LoggedIn { success: false, .. }) => {
                let (packet_type, content) = self.receive(stream, &doing)?;
                return Err(unexpected(&doing, packet_type, &content));
            }
            _ => return Err(unexpected(&doing, packet_type, &content)),
        }
        self.result(stream, &doing)
    }

    /// The result of a packet, on connections that have results.
    pub(crate) fn result(&self, stream: &mut Stream, doing: &str) -> Result<(), Failure> {
        if !self.extensions.have(Extensions::RESULTS) {
            return Ok(());
        }
        let (packet_type, content) = self.receive(stream, doing)?;
        match ServerPacket::decode(packet_type, &content) {
            Ok(ServerPacket::Result { success: true, .. }) => Ok(()),
            _ => Err(unexpected(doing, packet_type, &content)),
        }
    }

    /// A new connection; the index is that of the connection among those of the load.
    pub(crate) fn connect(&self, index: usize) -> Result<Stream, Failure> {
        self.run.look(self.run.ns())?;
        let patience = Duration::from_nanos(self.run.patience_ns.max(1));
        let connect = || {
            let own = self.from.map(|from| SocketAddr::from((from, 0)));
            let socket = match own.or_else(|| own_address(self.address, index)) {
                None => TcpStream::connect_timeout(&self.address, patience)?,
                Some(own) => connect_from(own, self.address)?,
            };
            socket.set_read_timeout(Some(patience))?;
            socket.set_write_timeout(Some(patience))?;
            Stream::new(socket)
        };
        connect().map_err(|error| {
            Failure::Failed(format!(
                "cannot connect to {}: {error}; does a server run there?",
                self.address
            ))
        })
    }

    /// Sends what there is, and waits until the kernel has taken it.
    pub(crate) fn send(&self, stream: &mut Stream) -> Result<(), Failure> {
        let mut rest = &stream.out[..];
        while !rest.is_empty() {
            match send(&stream.socket, rest, SendFlags::NOSIGNAL) {
                Ok(count) => rest = &rest[count..],
                Err(rustix::io::Errno::INTR) => self.run.look(self.run.ns())?,
                // Why it was closed is among what has come.
                Err(_) => break,
            }
        }
        stream.out.clear();
        Ok(())
    }

    /// Waits for a packet: its type and content.
    pub(crate) fn receive(
        &self,
        stream: &mut Stream,
        doing: &str,
    ) -> Result<(u8, Vec<u8>), Failure> {
        loop {
            let begun = stream.begun_mut();
            match cut_for_client(begun, Kind::User, CONTENT_BYTES_MAX) {
                Ok(None) => {}
                Ok(Some(frame)) => {
                    let packet = (frame.header.packet_type, frame.content.to_vec());
                    let length = frame.length();
                    begun.drain(..length);
                    return Ok(packet);
                }
                Err(error) => {
                    let address = self.address;
                    return Err(Failure::Failed(format!("{address} is no OICQ server: {error:?}")));
                }
            }
            let mut room = [0; 4_096];
            match rustix::net::recv(&stream.socket, &mut room, RecvFlags::empty()) {
                Ok((_, 0)) => return Err(closed(doing)),
                Ok((_, count)) => stream.begun_mut().extend_from_slice(&room[..count]),
                Err(rustix::io::Errno::INTR) => self.run.look(self.run.ns())?,
                Err(rustix::io::Errno::AGAIN) => return Err(silent(doing, self.run.patience_ns)),
                Err(error) => return Err(broken(doing, &error.into())),
            }
        }
    }
}

/// Appends a packet of a user's.
pub(crate) fn put(out: &mut Vec<u8>, own: ServiceNumber, request: Request<'_>) {
    ClientPacket { own, request }.encode(Kind::User, out);
}

/// The server has closed a connection without a word.
pub(crate) fn closed(doing: &str) -> Failure {
    Failure::Failed(format!(
        "the server has closed the connection during {doing}; its log says more"
    ))
}

/// The server has not said anything for too long.
pub(crate) fn silent(doing: &str, patience_ns: u64) -> Failure {
    let s = patience_ns as f64 / 1e9;
    Failure::Failed(format!("the server has not answered {doing} for {s} s"))
}

/// A connection has failed.
pub(crate) fn broken(doing: &str, error: &io::Error) -> Failure {
    Failure::Failed(format!("the connection has failed during {doing}: {error}"))
}

/// What a packet means that was not the one that was waited for: mostly a refusal, with what to do about it.
pub(crate) fn unexpected(doing: &str, packet_type: u8, content: &[u8]) -> Failure {
    let Ok(packet) = ServerPacket::decode(packet_type, content) else {
        return Failure::Failed(format!(
            "the server sent no packet of the protocol during {doing}"
        ));
    };
    let reason = match packet {
        ServerPacket::Result { packet_type, success: false, text, .. } => {
            Notice::parse_reason(packet_type, text)
        }
        ServerPacket::Message { sign: Sign::System(SystemKind::Notice), text, .. } => {
            Notice::parse(text)
        }
        _ => None,
    };
    match reason {
        Some(notice) => {
            let Notice { code, sentence, packet_type } = notice;
            let remedy = remedy(code, RequestType::from_byte(packet_type));
            Failure::Failed(format!("the server refused {doing}: {code}: {sentence}{remedy}"))
        }
        None => Failure::Failed(format!(
            "the server sent a 0x{packet_type:02X} that nobody waited for during {doing}"
        )),
    }
}

/// What to do about a refusal.
const fn remedy(code: Code, packet: Option<RequestType>) -> &'static str {
    match (code, packet) {
        (Code::Throttled, Some(RequestType::Register)) => {
            "; start it with --registrations 0, or take users of an earlier run with --users"
        }
        (Code::Throttled, Some(RequestType::LogIn)) => "; start it with --login-failures 0",
        (Code::Throttled, Some(_)) => "; start it with --requests 0,0",
        (Code::Throttled, None) => "; start it with --connections 0",
        (Code::RegistrationClosed, _) => {
            "; start it with --registration open, or take users of an earlier run with --users"
        }
        (Code::BadLogin, _) => "; --users takes only users that bench has registered",
        (Code::MailboxFull, _) => {
            "; start it with a larger --mailbox-messages or --mailbox-size, or have less under way"
        }
        (Code::Idle, _) => "; start it with a longer --idle-timeout, or take shorter rounds",
        (Code::Slow, _) => "; start it with a longer --slow-timeout, or have less under way",
        (Code::StorageFull, _) => "; make room on the disk of its log",
        _ => "",
    }
}

/// How many sessions with a server of this machine the system allows, by open files and by ports of one address.
pub(crate) fn sessions_possible() -> usize {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let files = connections_possible().saturating_sub(FILES_LINGERING);
    files.min(ports_in(&range).unwrap_or(usize::MAX)).max(1)
}

/// How many ports the system gives to connections that do not name one: the first and the last one are written so.
fn ports_in(range: &str) -> Option<usize> {
    let (first, last) = range.trim().split_once(char::is_whitespace)?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.trim().parse().ok()?);
    Some(last.checked_sub(first)? + 1)
}

/// Lets this process have so many connections, those to all servers and relays together.
pub(crate) fn allow_files(connections: usize) -> Result<(), Failure> {
    let needed = connections as u64 + FILES_RESERVED;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let enough = limit.maximum.is_none_or(|maximum| maximum >= needed);
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    if enough && setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "{connections} connections need {needed} open files, which the system does not allow; see ulimit -Hn"
    )))
}

/// The address that a connection comes from, where the ports of one address would not do.
fn own_address(server: SocketAddr, index: usize) -> Option<SocketAddr> {
    let further = u8::try_from(index / PER_ADDRESS).unwrap_or(u8::MAX);
    let is_v4_loopback = matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback());
    (further > 0 && is_v4_loopback)
        .then(|| SocketAddr::from((Ipv4Addr::new(127, 0, 1, further), 0)))
}

fn connect_from(own: SocketAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &own)?;
    rustix::net::connect(&socket, &server)?;
    Ok(TcpStream::from(socket))
}

/// Begins to connect, and does not wait for it.
pub(crate) fn begin_to_connect(
    from: Option<Ipv4Addr>,
    server: SocketAddr,
) -> io::Result<TcpStream> {
    let family = if server.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if let Some(from) = from {
        rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    }
    match rustix::net::connect(&socket, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_counted_from_the_first_to_the_last() {
        assert_eq!(ports_in("32768\t60999\n"), Some(28_232));
        assert_eq!((ports_in("7 7"), ports_in("8 7"), ports_in("")), (Some(1), None, None));
    }
}
