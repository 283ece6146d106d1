//! What a turn has to say, and to whom, held back until its changes are on disk.

use std::ops::Range;

use crate::codec::mix::PairMixer;
use crate::id::ConnectionId;
use crate::wire::{Kind, ServerPacket, cut_for_client};

/// All output of a turn, in order. The same bytes may go to many connections.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sends: Vec<(ConnectionId, Range<usize>)>,
    copied: usize,
    closes: Vec<ConnectionId>,
}

/// How far an outbox was filled at some moment of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    bytes: usize,
    sends: usize,
    closes: usize,
}

/// What an outbox got since a mark, in numbers: enough to see whether two are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Output {
    /// A hash of the packets, of whom they go to, and of who is closed.
    pub checksum: u32,
    /// Bytes of packets; those that go to many count once.
    pub bytes: u32,
    /// Packets, once for each connection that they go to.
    pub packets: u32,
}

/// Bytes kept for the next turn; what a large turn has used beyond that is given back.
const KEPT_BYTES: usize = 1 << 20;

impl Outbox {
    /// What is to be sent, in order.
    pub fn sends(&self) -> impl Iterator<Item = (ConnectionId, &[u8])> {
        self.sends.iter().map(|(to, range)| (*to, &self.bytes[range.clone()]))
    }

    /// Which connections are to be closed once everything before has been sent. Each stands here once.
    #[must_use]
    pub fn closes(&self) -> &[ConnectionId] {
        &self.closes
    }

    /// How many bytes are to be sent; those that go to many count once.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes are to be sent; those that go to many count for each of them.
    #[must_use]
    pub const fn copied(&self) -> usize {
        self.copied
    }

    /// How many packets are to be sent, once for each connection that they go to.
    #[must_use]
    pub const fn packets(&self) -> usize {
        self.sends.len()
    }

    /// Whether there is nothing to send and nothing to close.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty() && self.closes.is_empty()
    }

    /// How far it is filled.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), sends: self.sends.len(), closes: self.closes.len() }
    }

    /// What has come since `mark`, which must be of this very turn; `None` if nothing has. Blanked, the
    /// texts in it count by their lengths alone.
    #[must_use]
    pub fn since(&self, mark: Mark, blanked: bool) -> Option<Output> {
        self.between(mark, self.mark(), blanked)
    }

    /// The same up to another mark.
    #[must_use]
    pub fn between(&self, mark: Mark, end: Mark, blanked: bool) -> Option<Output> {
        if end == mark {
            return None;
        }
        let bytes = &self.bytes[mark.bytes..end.bytes];
        let mut mixer = PairMixer::default();
        mixer = if blanked { mix_blanked(bytes, mixer) } else { mixer.text(bytes) };
        let sends = &self.sends[mark.sends..end.sends];
        for (to, range) in sends {
            // Places count from the mark on, so that they do not depend on what came before it.
            let start = range.start.wrapping_sub(mark.bytes);
            mixer = mixer.pair(to.0 as u64, (start as u64) << 32 | range.len() as u64);
        }
        for closed in &self.closes[mark.closes..end.closes] {
            mixer = mixer.pair(closed.0 as u64, u64::MAX);
        }
        let checksum = (mixer.hash() >> 32) as u32;
        let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let (bytes, packets) = (count(bytes.len()), count(sends.len()));
        Some(Output { checksum, bytes, packets })
    }

    /// What is to be sent since `mark`, in order.
    pub fn sends_since(&self, mark: Mark) -> impl Iterator<Item = (ConnectionId, &[u8])> {
        let sends = self.sends[mark.sends..].iter();
        sends.map(|(to, range)| (*to, &self.bytes[range.clone()]))
    }

    /// Who is to be closed since `mark`.
    #[must_use]
    pub fn closes_since(&self, mark: Mark) -> &[ConnectionId] {
        &self.closes[mark.closes..]
    }

    /// Forgets everything, for the next turn.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.sends.clear();
        self.copied = 0;
        self.closes.clear();
    }

    /// Lets go of memory that is kept for the next turn.
    pub(super) fn let_go(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Encodes a packet, for any number of connections of the kind `receiver`.
    pub(super) fn encode(&mut self, receiver: Kind, packet: &ServerPacket<'_>) -> Range<usize> {
        let start = self.bytes.len();
        packet.encode(receiver, &mut self.bytes);
        start..self.bytes.len()
    }

    /// The same for a packet that is written as it is made.
    pub(super) fn encode_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        start..self.bytes.len()
    }

    pub(super) fn send(&mut self, to: ConnectionId, packet: Range<usize>) {
        self.copied += packet.len();
        self.sends.push((to, packet));
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.closes.push(connection);
    }
}

/// The packets with a filler in place of every text.
fn mix_blanked(mut bytes: &[u8], mut mixer: PairMixer) -> PairMixer {
    let mut blanked = Vec::new();
    while let Some(&receiver) = bytes.get(2)
        && let Some(kind) = Kind::of_sender(receiver)
        && let Ok(Some(frame)) = cut_for_client(bytes, kind, u32::MAX)
    {
        blanked.clear();
        match ServerPacket::decode(frame.header.packet_type, frame.content) {
            Ok(packet) => packet.blanked().encode(kind, &mut blanked),
            Err(_) => blanked.extend_from_slice(frame.content),
        }
        mixer = mixer.text(&blanked);
        bytes = &bytes[frame.length()..];
    }
    mixer
}
