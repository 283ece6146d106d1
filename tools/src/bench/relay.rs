//! The relays that a server is measured beside: single-threaded loops that pass messages on and do nothing
//! else, with as few calls of the system as such a loop can do with.
//!
//! They speak the server's protocol, so that the same load runs against both, with the same bytes in both
//! directions. Whoever asks gets a number and is let in; nothing is checked, and nothing is known of a user but
//! the connection. A relay is no server, and never a measure of what a server must do.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use oicq::id::{GroupNumber, Seq, ServiceNumber, UnixMillis};
use oicq::limits::CONTENT_BYTES_IN_SESSION;
use oicq::wire::server::{Extensions, GroupEntry, Sign};
use oicq::wire::{ClientPacket, Expected, Kind, Request, RequestType, ServerPacket, cut};

use super::stream::{Poll, ROOM_BYTES, Read, Stream};

/// Connections that are looked at in one turn.
const EVENTS: usize = 1_024;
/// Bytes that the durable relay takes in one turn; what is left comes in the next.
const TURN_BYTES: usize = 8 << 20;
/// Bytes of the durable relay's file. Behind its end comes its beginning, so that no turn waits for a new file.
const FILE_BYTES: u64 = 64 << 20;
/// The key of the listener among those of connections.
const LISTENER: usize = usize::MAX;
const ANY: Expected =
    Expected { kind: Some(Kind::User), content_bytes_max: CONTENT_BYTES_IN_SESSION };

/// Which relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    /// Passes messages on.
    Bare,
    /// Before it passes on what came in a turn, all of that is on disk: by one write and one sync.
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
    /// The connection of each number, counted from the first one.
    homes: Vec<usize>,
    /// What came in this turn; of the bare relay what came last.
    input: Vec<u8>,
    /// The connections that something is to be sent to.
    touched: Vec<usize>,
    disk: Option<Disk>,
    last_id: u64,
}

/// One connection.
struct End {
    stream: Stream,
    extensions: Extensions,
    is_touched: bool,
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
            homes: Vec::new(),
            input: vec![0; input_bytes],
            touched: Vec::new(),
            disk,
            last_id: 0,
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
        let mut filled = 0;
        for index in 0..count {
            let happened = self.poll.happened(index);
            if happened.key == LISTENER {
                self.accept()?;
                continue;
            }
            if happened.has_room {
                self.touch(happened.key);
            }
            let Some(room) = input.get_mut(filled..filled + ROOM_BYTES) else { continue };
            if happened.has_bytes {
                let taken = self.read(happened.key, room);
                filled += if self.disk.is_some() { taken } else { 0 };
            }
        }
        self.input = input;
        if let Some(disk) = &mut self.disk {
            disk.write(&self.input[..filled])?;
        }
        self.release();
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
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
        let mut id = Seq::ZERO;
        match packet.request {
            Request::Send { receiver, content } => {
                self.last_id += 1;
                id = Seq(self.last_id);
                self.pass_on(id, packet.own, receiver, content);
            }
            Request::Arrived { .. } | Request::SetMode { .. } => {}
            Request::Test => self.send(key, &ServerPacket::Tested { number: packet.own }),
            Request::Register(_) => {
                self.homes.push(key);
                let number = number(self.homes.len() - 1);
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
                let Some(home) = self.homes.get_mut(index(packet.own)) else { return false };
                *home = key;
                let friends = GroupEntry {
                    name: b"My Friends",
                    group: GroupNumber::FIRST,
                    friends: Vec::new(),
                };
                self.send(key, &ServerPacket::LoggedIn { success: true, groups: vec![friends] });
            }
            _ => return false,
        }
        if self.has(key, Extensions::RESULTS) {
            let packet_type = packet_type as u8;
            self.send(key, &ServerPacket::Result { packet_type, success: true, id, text: b"" });
        }
        true
    }

    fn pass_on(&mut self, id: Seq, from: ServiceNumber, to: ServiceNumber, text: &[u8]) {
        // A message to nobody goes nowhere.
        let Some(&key) = self.homes.get(index(to)) else { return };
        let (sign, number) = (Sign::User, from);
        if self.has(key, Extensions::MESSAGE_IDS) {
            let time = UnixMillis(0);
            self.send(key, &ServerPacket::Numbered { id, time, sign, number, text });
        } else {
            self.send(key, &ServerPacket::Message { sign, number, text });
        }
    }

    fn has(&self, key: usize, these: Extensions) -> bool {
        self.ends[key].as_ref().is_some_and(|end| end.extensions.have(these))
    }

    fn send(&mut self, key: usize, packet: &ServerPacket<'_>) {
        if let Some(end) = self.ends[key].as_mut() {
            packet.encode(Kind::User, &mut end.stream.out);
            self.touch(key);
        }
    }

    fn touch(&mut self, key: usize) {
        if let Some(end) = self.ends[key].as_mut().filter(|end| !end.is_touched) {
            end.is_touched = true;
            self.touched.push(key);
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
        if bytes.is_empty() {
            return Ok(());
        }
        if self.at + bytes.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.file.sync_data()
    }
}

fn index(number: ServiceNumber) -> usize {
    let index = number.0.checked_sub(ServiceNumber::FIRST.0);
    index.and_then(|index| usize::try_from(index).ok()).unwrap_or(usize::MAX)
}

fn number(index: usize) -> ServiceNumber {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    ServiceNumber(ServiceNumber::FIRST.0.saturating_add(index))
}
