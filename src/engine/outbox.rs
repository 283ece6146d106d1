//! What a turn has to say, and to whom, held back until its changes are on disk.

use std::ops::Range;

use crate::id::ConnectionId;
use crate::wire::{Kind, ServerPacket};

/// All output of a turn, in order. The same bytes may go to many connections.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sends: Vec<(ConnectionId, Range<usize>)>,
    closes: Vec<ConnectionId>,
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

    /// Whether there is nothing to send and nothing to close.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty() && self.closes.is_empty()
    }

    /// Forgets everything, for the next turn.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.sends.clear();
        self.closes.clear();
    }

    /// Encodes a packet, for any number of connections of the kind `receiver`.
    pub(super) fn encode(&mut self, receiver: Kind, packet: &ServerPacket<'_>) -> Range<usize> {
        let start = self.bytes.len();
        packet.encode(receiver, &mut self.bytes);
        start..self.bytes.len()
    }

    pub(super) fn send(&mut self, to: ConnectionId, packet: Range<usize>) {
        self.sends.push((to, packet));
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.closes.push(connection);
    }
}
