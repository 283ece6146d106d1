//! The relays that a server is measured beside: single-threaded loops that pass messages on and do nothing
//! else, with as few calls of the system as such a loop can do with.
//!
//! They speak the server's protocol, so that the same load runs against both, with the same bytes in both
//! directions. Whoever asks gets a number and is let in; nothing is checked, and nothing is known of a user but
//! the connection and the friends. A relay is no server, and never a measure of what a server must do.

mod users;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use oicq::id::{GroupNumber, Seq, ServiceNumber, UnixMillis};
use oicq::limits::CONTENT_BYTES_IN_SESSION;
use oicq::wire::server::{Extensions, Sign, SystemKind};
use oicq::wire::{ClientPacket, Expected, Kind, Request, RequestType, ServerPacket, cut};

use self::users::Users;
use super::stream::{Poll, ROOM_BYTES, Read, Stream};

/// Connections that are looked at in one turn.
const EVENTS: usize = 1_024;
/// Bytes that the durable relay takes in one turn; what is left comes in the next.
const TURN_BYTES: usize = 8 << 20;
/// Bytes that wait for the next message, and go to disk without one.
const WAITING_BYTES_MAX: usize = TURN_BYTES / 2;
/// Bytes of the durable relay's file. Behind its end comes its beginning, so that no turn waits for a new file.
const FILE_BYTES: u64 = 64 << 20;
/// The key of the listener among those of connections.
const LISTENER: usize = usize::MAX;
const ANY: Expected =
    Expected { kind: Some(Kind::User), content_bytes_max: CONTENT_BYTES_IN_SESSION };

/// Which relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    /// Passes messages and broadcasts on.
    Bare,
    /// Before it passes on the messages that came in a turn, all that has come is on disk: by one write and one sync.
    /// What promises nothing, such as confirmations, goes there with the next message.
    Durable,
}

impl Sort {
    /// All that there are.
    pub(crate) const ALL: [Self; 2] = [Self::Bare, Self::Durable];

    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Durable => "durable",
        }
    }

    /// What results call it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare relay",
            Self::Durable => "durable relay",
        }
    }
}

/// A relay that listens. [`turn`](Self::turn) it as long as it is to run.
pub(crate) struct Relay {
    listener: TcpListener,
    poll: Poll,
    /// Connections by their keys; `None` where one has ended.
    ends: Vec<Option<End>>,
    users: Users,
    /// What came in this turn, behind what waits to be written; of the bare relay what came last.
    input: Vec<u8>,
    /// Bytes of it that came in earlier turns.
    waiting: usize,
    /// The connections that something is to be sent to.
    touched: Vec<usize>,
    /// The broadcast that is passed on, for receivers without message ids and for those with them.
    encoded: [Vec<u8>; 2],
    disk: Option<Disk>,
    last_id: u64,
    /// Whether something has come in this turn that a server would have to keep.
    has_changed: bool,
}

/// One connection.
struct End {
    stream: Stream,
    extensions: Extensions,
    is_touched: bool,
}

/// What is passed on.
#[derive(Clone, Copy)]
struct Message<'a> {
    id: Seq,
    sign: Sign,
    from: ServiceNumber,
    text: &'a [u8],
}

/// A file that is full of zeros before the first turn, and what is written next goes there.
struct Disk {
    file: File,
    at: u64,
}

impl Relay {
    /// Listens on a free port of this machine. The durable one has a file without a name in `folder`.
    pub(crate) fn start(sort: Sort, folder: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let poll = Poll::new(EVENTS)?;
        poll.add(&listener, LISTENER)?;
        let (disk, input_bytes) = match sort {
            Sort::Bare => (None, ROOM_BYTES),
            Sort::Durable => (Some(Disk::create(folder)?), TURN_BYTES),
        };
        Ok(Self {
            listener,
            poll,
            ends: Vec::new(),
            users: Users::default(),
            input: vec![0; input_bytes],
            waiting: 0,
            touched: Vec::new(),
            encoded: Default::default(),
            disk,
            last_id: 0,
            has_changed: false,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits until something comes, at most so many nanoseconds, and passes it on.
    pub(crate) fn turn(&mut self, patience_ns: Option<u64>) -> io::Result<()> {
        let count = self.poll.wait(patience_ns)?;
        let mut input = std::mem::take(&mut self.input);
        let mut filled = self.waiting;
        for index in 0..count {
            let happened = self.poll.happened(index);
            if happened.key == LISTENER {
                self.accept()?;
                continue;
            }
            if happened.has_room
                && let Some(end) = &mut self.ends[happened.key]
            {
                end.touch(happened.key, &mut self.touched);
            }
            let Some(room) = input.get_mut(filled..filled + ROOM_BYTES) else { continue };
            if happened.has_bytes {
                let taken = self.read(happened.key, room);
                filled += if self.disk.is_some() { taken } else { 0 };
            }
        }
        self.input = input;
        self.waiting = filled;
        let has_changed = std::mem::take(&mut self.has_changed);
        if let Some(disk) = &mut self.disk
            && (has_changed || filled > WAITING_BYTES_MAX)
        {
            disk.write(&self.input[..filled])?;
            self.waiting = 0;
        }
        self.release();
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // It has ended before it was taken.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            self.poll.add(&socket, self.ends.len())?;
            let (stream, extensions) = (Stream::new(socket)?, Extensions::default());
            self.ends.push(Some(End { stream, extensions, is_touched: false }));
        }
    }

    /// Takes what a connection has sent; how many bytes of whole packets came.
    fn read(&mut self, key: usize, room: &mut [u8]) -> usize {
        let Some(end) = self.ends.get_mut(key).and_then(Option::as_mut) else { return 0 };
        let read = match end.stream.read(room) {
            Ok(Read::Bytes(count)) => count,
            Ok(Read::Nothing) => return 0,
            Ok(Read::End) | Err(_) => {
                self.ends[key] = None;
                return 0;
            }
        };
        let mut at = 0;
        loop {
            match cut(&room[at..read], ANY) {
                Ok(None) => break,
                Ok(Some(frame)) if self.take(key, frame.header.packet_type, frame.content) => {
                    at += frame.length();
                }
                // Nothing else is ever sent to it.
                Ok(Some(_)) | Err(_) => {
                    self.ends[key] = None;
                    return at;
                }
            }
        }
        if let Some(end) = self.ends[key].as_mut() {
            end.stream.keep(&room[at..read]);
        }
        at
    }

    /// Does what a packet asks for; `false` where a relay does not know it.
    fn take(&mut self, key: usize, packet_type: u8, content: &[u8]) -> bool {
        let Some(packet_type) = RequestType::from_byte(packet_type) else { return false };
        let Ok(packet) = ClientPacket::decode(packet_type, content) else { return false };
        let (own, mut id) = (packet.own, Seq::ZERO);
        match packet.request {
            Request::Send { receiver, content: text } => {
                id = self.change();
                self.pass_on(receiver, Message { id, sign: Sign::User, from: own, text });
            }
            Request::Broadcast { group, content: text } => {
                let Ok(group) = u8::try_from(group) else { return false };
                id = self.change();
                self.broadcast(
                    GroupNumber(group),
                    Message { id, sign: Sign::User, from: own, text },
                );
            }
            Request::Arrived { .. } | Request::SetMode { .. } => {}
            Request::Test => self.send(key, &ServerPacket::Tested { number: own }),
            Request::Register(_) => {
                id = self.change();
                let number = self.users.add(key);
                self.send(key, &ServerPacket::Registered { success: true, number });
            }
            Request::WantExtensions { wanted } => {
                let granted = Extensions::grant(wanted);
                if let Some(end) = self.ends[key].as_mut() {
                    end.extensions = granted;
                }
                self.send(key, &ServerPacket::Extensions { granted: granted.sum() });
                return true;
            }
            Request::LogIn { .. } => {
                if !self.users.move_to(own, key) {
                    return false;
                }
                let groups = self.users.groups(own);
                self.send(key, &ServerPacket::LoggedIn { success: true, groups });
            }
            Request::AddFriend { friend } => {
                if !self.users.befriend(own, friend) {
                    return false;
                }
                id = self.change();
                let message =
                    |from, kind| Message { id, sign: Sign::System(kind), from, text: b"" };
                self.pass_on(friend, message(own, SystemKind::Added));
                self.pass_on(own, message(friend, SystemKind::Agreed));
            }
            Request::AddGroup { name } => {
                let Some(group) = self.users.add_group(own) else { return false };
                id = self.change();
                self.send(key, &ServerPacket::GroupAdded { success: true, group, name });
            }
            Request::MoveFriends(moves) => {
                id = self.change();
                self.users.move_friends(own, moves);
                self.send(key, &ServerPacket::FriendsMoved { success: true });
            }
            _ => return false,
        }
        if self.has(key, Extensions::RESULTS) {
            let packet_type = packet_type as u8;
            self.send(key, &ServerPacket::Result { packet_type, success: true, id, text: b"" });
        }
        true
    }

    /// Something that a server would have to keep: its id.
    const fn change(&mut self) -> Seq {
        self.has_changed = true;
        self.last_id += 1;
        Seq(self.last_id)
    }

    fn pass_on(&mut self, to: ServiceNumber, message: Message<'_>) {
        // A message to nobody goes nowhere.
        let Some(key) = self.users.home(to) else { return };
        let has_ids = self.has(key, Extensions::MESSAGE_IDS);
        self.send(key, &message.packet(has_ids));
    }

    /// Passes a message on to a user's friends. It is the same bytes for all of them that have message ids, and for
    /// all that have none.
    fn broadcast(&mut self, group: GroupNumber, message: Message<'_>) {
        self.encoded.iter_mut().for_each(Vec::clear);
        for key in self.users.homes_of_friends(message.from, group) {
            let Some(end) = self.ends[key].as_mut() else { continue };
            let has_ids = end.extensions.have(Extensions::MESSAGE_IDS);
            let encoded = &mut self.encoded[usize::from(has_ids)];
            if encoded.is_empty() {
                message.packet(has_ids).encode(Kind::User, encoded);
            }
            end.stream.out.extend_from_slice(encoded);
            end.touch(key, &mut self.touched);
        }
    }

    fn has(&self, key: usize, these: Extensions) -> bool {
        self.ends[key].as_ref().is_some_and(|end| end.extensions.have(these))
    }

    fn send(&mut self, key: usize, packet: &ServerPacket<'_>) {
        if let Some(end) = self.ends[key].as_mut() {
            packet.encode(Kind::User, &mut end.stream.out);
            end.touch(key, &mut self.touched);
        }
    }

    /// Sends what this turn has made.
    fn release(&mut self) {
        for key in self.touched.drain(..) {
            let Some(end) = self.ends[key].as_mut() else { continue };
            end.is_touched = false;
            if end.stream.flush(&self.poll, key).is_err() {
                self.ends[key] = None;
            }
        }
    }
}

impl End {
    fn touch(&mut self, key: usize, touched: &mut Vec<usize>) {
        if !self.is_touched {
            self.is_touched = true;
            touched.push(key);
        }
    }
}

impl<'a> Message<'a> {
    const fn packet(self, has_ids: bool) -> ServerPacket<'a> {
        let Self { id, sign, from: number, text } = self;
        if has_ids {
            let time = UnixMillis(0);
            return ServerPacket::Numbered { id, time, sign, number, text };
        }
        ServerPacket::Message { sign, number, text }
    }
}

impl Disk {
    fn create(folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        let zeros = vec![0; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(Self { file, at: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.at + bytes.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use oicq::codec::profile::Profile;
    use oicq::codec::secret::Secret;
    use oicq::limits::HEADER_BYTES;
    use oicq::wire::client::Account;
    use oicq::wire::cut_for_client;

    /// A relay on this thread, which turns whenever somebody waits for it.
    struct Test(Relay);

    /// A client of it.
    struct Client {
        socket: TcpStream,
        own: ServiceNumber,
        came: Vec<u8>,
    }

    /// Packets as bytes.
    fn bytes(packets: &[ServerPacket<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.encode(Kind::User, &mut bytes));
        bytes
    }

    impl Test {
        fn start(sort: Sort) -> Self {
            Self(Relay::start(sort, &std::env::temp_dir()).unwrap())
        }

        /// Turns it until so many packets have come to a client; them as bytes.
        fn packets(&mut self, client: &mut Client, count: usize) -> Vec<u8> {
            loop {
                let (mut at, mut found) = (0, 0);
                while let Some(frame) =
                    cut_for_client(&client.came[at..], Kind::User, 1 << 20).unwrap()
                {
                    (at, found) = (at + frame.length(), found + 1);
                    if found == count {
                        return client.came.drain(..at).collect();
                    }
                }
                self.0.turn(Some(1_000_000)).unwrap();
                let mut room = [0; 1 << 16];
                match client.socket.read(&mut room) {
                    Ok(count) => client.came.extend_from_slice(&room[..count]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        }

        fn client(&mut self, extensions: Extensions) -> Client {
            let socket = TcpStream::connect(self.0.address().unwrap()).unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut client = Client { socket, own: ServiceNumber::NONE, came: Vec::new() };
            let password = Secret::new(b"secret");
            let profile = Profile { nickname: b"ann", ..Profile::default() };
            client.say(Request::Register(Account { profile, password, authentication: 0 }));
            let reply = self.packets(&mut client, 1);
            client.own = ServiceNumber(u32::from_be_bytes(*reply[9..].first_chunk().unwrap()));
            client.say(Request::WantExtensions { wanted: extensions.sum() });
            client.say(Request::LogIn { password, mode: 0 });
            let has_results = extensions.have(Extensions::RESULTS);
            self.packets(&mut client, 2 + usize::from(has_results));
            client
        }
    }

    impl Client {
        fn say(&mut self, request: Request<'_>) {
            let mut bytes = Vec::new();
            ClientPacket { own: self.own, request }.encode(Kind::User, &mut bytes);
            self.socket.write_all(&bytes).unwrap();
        }
    }

    #[test]
    fn messages_go_to_whom_they_name_in_the_protocols_bytes() {
        for sort in Sort::ALL {
            let mut relay = Test::start(sort);
            let none = Extensions::default();
            let [mut ann, mut bob] = [relay.client(none), relay.client(none)];
            assert_eq!((ann.own, bob.own), (ServiceNumber(10_001), ServiceNumber(10_002)));
            ann.say(Request::Send { receiver: bob.own, content: b"one" });
            ann.say(Request::Send { receiver: ServiceNumber(9), content: b"to nobody" });
            ann.say(Request::Send { receiver: bob.own, content: b"two" });
            let message = |text| ServerPacket::Message { sign: Sign::User, number: ann.own, text };
            let expected = bytes(&[message(b"one"), message(b"two")]);
            assert_eq!(relay.packets(&mut bob, 2), expected, "{sort:?}");
        }
    }

    #[test]
    fn connections_with_extensions_have_results_and_ids() {
        let mut relay = Test::start(Sort::Durable);
        let [mut ann, mut bob] = [Extensions::ALL; 2].map(|all| relay.client(all));
        ann.say(Request::Send { receiver: bob.own, content: b"one" });
        // Behind the two registrations.
        let (id, time, sign) = (Seq(3), UnixMillis(0), Sign::User);
        let expected = ServerPacket::Numbered { id, time, sign, number: ann.own, text: b"one" };
        assert_eq!(relay.packets(&mut bob, 1), bytes(&[expected]));
        let result = |packet_type, id| {
            let packet_type = packet_type as u8;
            bytes(&[ServerPacket::Result { packet_type, success: true, id, text: b"" }])
        };
        assert_eq!(relay.packets(&mut ann, 1), result(RequestType::Send, id));
        bob.say(Request::Arrived { through: id });
        assert_eq!(relay.packets(&mut bob, 1), result(RequestType::Arrived, Seq::ZERO));
    }

    #[test]
    fn a_broadcast_goes_to_all_friends_as_each_of_them_gets_messages() {
        for sort in Sort::ALL {
            let mut relay = Test::start(sort);
            let (none, ids) = (Extensions::default(), Extensions::MESSAGE_IDS);
            let mut ann = relay.client(Extensions::RESULTS);
            let mut friends = [none, ids, none].map(|extensions| relay.client(extensions));
            let mut stranger = relay.client(none);
            let system = |kind, number| ServerPacket::Message {
                sign: Sign::System(kind),
                number,
                text: b"",
            };
            let result = |request, id| {
                let packet_type = request as u8;
                ServerPacket::Result { packet_type, success: true, id, text: b"" }
            };
            let mut id = Seq(5);
            for friend in &mut friends {
                id = id.next();
                ann.say(Request::AddFriend { friend: friend.own });
                let told = bytes(&[
                    system(SystemKind::Agreed, friend.own),
                    result(RequestType::AddFriend, id),
                ]);
                assert_eq!(relay.packets(&mut ann, 2), told, "{sort:?}");
                relay.packets(friend, 1);
            }
            let written = |relay: &Test| relay.0.disk.as_ref().map_or(0, |disk| disk.at);
            let before = written(&relay);
            ann.say(Request::Broadcast { group: 0, content: b"all" });
            let (id, time, sign, number, text) =
                (id.next(), UnixMillis(0), Sign::User, ann.own, b"all");
            assert_eq!(relay.packets(&mut ann, 1), bytes(&[result(RequestType::Broadcast, id)]));
            let (message, numbered) = (
                ServerPacket::Message { sign, number, text },
                ServerPacket::Numbered { id, time, sign, number, text },
            );
            for (friend, expected) in friends.iter_mut().zip([&message, &numbered, &message]) {
                assert_eq!(
                    relay.packets(friend, 1),
                    bytes(std::slice::from_ref(expected)),
                    "{sort:?}"
                );
            }
            let length = if sort == Sort::Durable { HEADER_BYTES + 4 + 4 + 2 + 3 } else { 0 };
            assert_eq!(written(&relay) - before, length as u64, "once, however many get it");
            ann.say(Request::Send { receiver: stranger.own, content: b"you" });
            let alone = ServerPacket::Message { sign, number, text: b"you" };
            assert_eq!(relay.packets(&mut stranger, 1), bytes(&[alone]), "nothing came before it");
        }
    }

    #[test]
    fn what_promises_nothing_is_on_disk_with_the_next_message() {
        let mut relay = Test::start(Sort::Durable);
        let mut ann = relay.client(Extensions::ALL);
        let written = |relay: &Test| relay.0.disk.as_ref().unwrap().at as usize;
        let [registered, confirmation, message] = [written(&relay), 8 + 4 + 8, 8 + 4 + 4 + 2 + 3];
        ann.say(Request::Arrived { through: Seq(1) });
        relay.packets(&mut ann, 1);
        assert_eq!(written(&relay), registered);
        let waited = relay.0.waiting;
        assert!(waited > confirmation, "the login waits as well");
        ann.say(Request::Send { receiver: ann.own, content: b"one" });
        relay.packets(&mut ann, 2);
        assert_eq!((written(&relay), relay.0.waiting), (registered + waited + message, 0));
        // Not for ever.
        relay.0.waiting = WAITING_BYTES_MAX;
        ann.say(Request::Test);
        relay.packets(&mut ann, 2);
        assert_eq!(relay.0.waiting, 0);
    }

    #[test]
    fn packets_in_pieces_wait_for_their_rest() {
        let mut relay = Test::start(Sort::Durable);
        let none = Extensions::default();
        let [ann, mut bob] = [relay.client(none), relay.client(none)];
        let mut packet = Vec::new();
        let request = Request::Send { receiver: bob.own, content: &[b'x'; 8_000] };
        ClientPacket { own: ann.own, request }.encode(Kind::User, &mut packet);
        for piece in packet.repeat(20).chunks(1_777) {
            (&ann.socket).write_all(piece).unwrap();
            relay.0.turn(Some(1_000_000)).unwrap();
        }
        assert_eq!(relay.packets(&mut bob, 20).len(), 20 * (8_000 + 16));
    }

    #[test]
    fn nonsense_ends_its_connection_and_no_other() {
        let mut relay = Test::start(Sort::Bare);
        let none = Extensions::default();
        let [mut ann, mut bob] = [relay.client(none), relay.client(none)];
        ann.say(Request::Search { statement: b"SELECT * FROM users" });
        loop {
            relay.0.turn(Some(1_000_000)).unwrap();
            match ann.socket.read(&mut [0; 1]) {
                Ok(0) => break,
                Ok(_) => panic!("an answer"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        bob.say(Request::Test);
        let tested = bytes(&[ServerPacket::Tested { number: bob.own }]);
        assert_eq!(relay.packets(&mut bob, 1), tested);
    }

    #[test]
    fn the_file_begins_again_behind_its_end() {
        let mut disk = Disk::create(&std::env::temp_dir()).unwrap();
        disk.at = FILE_BYTES - 2;
        disk.write(b"abc").unwrap();
        assert_eq!(disk.at, 3);
        assert_eq!(disk.file.metadata().unwrap().len(), FILE_BYTES);
    }
}
