//! A writer and its receivers: what is under way between them, and whether what comes is what was sent.
//!
//! Every byte of a message is compared, and so are its place in the order and its id; a message that is lost, doubled,
//! late or changed is found where it shows. It reads no socket and no clock.

use oicq::id::{Seq, ServiceNumber, UnixMillis};
use oicq::limits::HEADER_BYTES;
use oicq::wire::server::{Extensions, Sign};
use oicq::wire::{Kind, Request, RequestType, ServerPacket, cut_for_client};

use super::Shape;
use super::stamped::Stamped;
use crate::bench::round::Tally;
use crate::bench::stream::Stream;
use crate::bench::users::{CONTENT_BYTES_MAX, Member, put, unexpected};
use crate::failure::Failure;

/// Where an id stands in a packet, and where its time ends: both differ from message to message.
const ID: usize = HEADER_BYTES;
const BEHIND_TIME: usize = ID + 16;
/// In place of an id, on connections without them.
const NO_ID: u64 = u64::MAX;

/// A writer and its receivers.
pub(super) struct Channel {
    /// The key of the writer's end.
    pub(super) writer: usize,
    pub(super) is_touched: bool,
    /// The next message as it is sent.
    packet: Stamped,
    /// Messages under way, one behind the other in a ring.
    slots: Vec<Slot>,
    /// The slot of the next message that is sent.
    next: usize,
    has_results: bool,
    /// What must come of a message before it is done: arrivals, and its result.
    parts: usize,
    sent: u64,
    done: u64,
    sent_before_round: u64,
}

/// A message under way.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// When it was sent, or should have been.
    start_ns: u64,
    /// What must still come.
    missing: usize,
    /// Its id, once anybody has said it; 0 before.
    id: u64,
}

/// One end of a channel.
pub(super) struct End {
    pub(super) stream: Stream,
    pub(super) own: ServiceNumber,
    pub(super) channel: usize,
    /// Replies that are still to come to what was asked between rounds.
    pub(super) replies: u32,
    role: Role,
    /// The slot of the next message that arrives, or of the next result.
    next: usize,
    /// How many there were before it.
    count: u64,
}

/// What comes to an end of a channel.
pub(super) enum Role {
    /// Results, on connections that have them.
    Writer,
    /// Messages.
    Receiver {
        from: ServiceNumber,
        /// The next message as it must arrive.
        expected: Stamped,
        has_ids: bool,
        /// The id of the last one.
        last_id: u64,
    },
}

/// What an end has taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Taken {
    /// Bytes of whole packets.
    pub(super) bytes: usize,
    /// Messages that are done now.
    pub(super) done: u64,
    /// Replies to what was asked between rounds.
    pub(super) replies: u32,
}

impl Channel {
    /// A channel without any message under way. `request` appends the packet of a text.
    pub(super) fn new(
        shape: &Shape,
        writer: usize,
        receivers: usize,
        request: impl Fn(&[u8], &mut Vec<u8>),
    ) -> Self {
        let has_results = shape.extensions.have(Extensions::RESULTS);
        let mut packet = Vec::new();
        request(&Stamped::text(shape.bytes), &mut packet);
        Self {
            writer,
            is_touched: false,
            packet: Stamped::new(packet, shape.bytes, 0),
            slots: vec![Slot::default(); shape.under_way],
            next: 0,
            has_results,
            parts: receivers + usize::from(has_results),
            sent: 0,
            done: 0,
            sent_before_round: 0,
        }
    }

    pub(super) fn begin_round(&mut self) {
        self.sent_before_round = self.sent;
    }

    pub(super) fn sent_in_round(&self) -> u64 {
        self.sent - self.sent_before_round
    }

    /// Whether one more may be under way.
    pub(super) fn has_room(&self) -> bool {
        self.sent - self.done < self.slots.len() as u64
    }

    /// Appends the next message, whose time begins at `start_ns`.
    pub(super) fn send(&mut self, start_ns: u64, out: &mut Vec<u8>) {
        debug_assert!(self.has_room(), "its slot is free");
        out.extend_from_slice(self.packet.bytes());
        self.packet.step();
        self.slots[self.next] = Slot { start_ns, missing: self.parts, id: 0 };
        self.next = following(self.next, self.slots.len());
        self.sent += 1;
    }

    /// A part of a message has come; whether that was the last one. `None` where the message was not sent, or has
    /// another id.
    fn part(&mut self, slot: usize, id: u64) -> Option<bool> {
        let slot = &mut self.slots[slot];
        if slot.id == 0 {
            slot.id = id;
        }
        slot.missing = slot.missing.checked_sub(1).filter(|_| slot.id == id)?;
        if slot.missing == 0 {
            self.done += 1;
        }
        Some(slot.missing == 0)
    }
}

const fn following(slot: usize, slots: usize) -> usize {
    if slot + 1 == slots { 0 } else { slot + 1 }
}

impl Role {
    /// A receiver of what `from` writes.
    pub(super) fn receiver(shape: &Shape, from: ServiceNumber) -> Self {
        let text = Stamped::text(shape.bytes);
        let (sign, text) = (Sign::User, &text[..]);
        let has_ids = shape.extensions.have(Extensions::MESSAGE_IDS);
        let packet = if has_ids {
            let (id, time) = (Seq::ZERO, UnixMillis(0));
            ServerPacket::Numbered { id, time, sign, number: from, text }
        } else {
            ServerPacket::Message { sign, number: from, text }
        };
        let mut bytes = Vec::new();
        packet.encode(Kind::User, &mut bytes);
        // Behind the text stands the kind of the message.
        Self::Receiver { from, expected: Stamped::new(bytes, shape.bytes, 1), has_ids, last_id: 0 }
    }
}

impl End {
    /// A user's end of a channel.
    pub(super) fn new(member: Member, channel: usize, role: Role) -> Self {
        let (own, stream) = (member.number, member.stream);
        Self { stream, own, channel, replies: 0, role, next: 0, count: 0 }
    }

    /// Takes all whole packets of what has come, and puts out what the server wants to know of it.
    pub(super) fn take(
        &mut self,
        channel: &mut Channel,
        bytes: &[u8],
        now_ns: u64,
        tally: &mut Tally,
    ) -> Result<Taken, Failure> {
        let mut taken = Taken::default();
        let before = self.count;
        // Messages that were sent together are counted together.
        let (mut start_ns, mut together) = (0, 0);
        loop {
            let rest = &bytes[taken.bytes..];
            if let Some((length, id)) = self.expected_at(rest) {
                let its_start_ns = channel.slots[self.next].start_ns;
                if its_start_ns != start_ns {
                    tally.took(start_ns, now_ns, together);
                    (start_ns, together) = (its_start_ns, 0);
                }
                together += 1;
                taken.bytes += length;
                taken.done += self.part(channel, id)?;
                continue;
            }
            match cut_for_client(rest, Kind::User, CONTENT_BYTES_MAX) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    self.take_other(channel, frame.header.packet_type, frame.content, &mut taken)?;
                    taken.bytes += frame.length();
                }
                Err(_) => return Err(unexpected(&self.doing(), 0, rest)),
            }
        }
        tally.took(start_ns, now_ns, together);
        if let Role::Receiver { has_ids, last_id, .. } = self.role
            && self.count > before
        {
            tally.arrived(now_ns, self.count - before);
            if has_ids {
                put(&mut self.stream.out, self.own, Request::Arrived { through: Seq(last_id) });
            }
        }
        Ok(taken)
    }

    /// The length and id of the message that must come next, if it stands at the start of these bytes, whole and
    /// exactly as it must be.
    fn expected_at(&mut self, bytes: &[u8]) -> Option<(usize, u64)> {
        let Role::Receiver { expected, has_ids, last_id, .. } = &mut self.role else { return None };
        let packet = bytes.get(..expected.bytes().len())?;
        if !*has_ids {
            return (packet == expected.bytes()).then_some((packet.len(), NO_ID));
        }
        let id = u64::from_be_bytes(*packet[ID..].first_chunk()?);
        let is_it = packet[..ID] == expected.bytes()[..ID]
            && packet[BEHIND_TIME..] == expected.bytes()[BEHIND_TIME..]
            && id > *last_id;
        is_it.then(|| {
            *last_id = id;
            (packet.len(), id)
        })
    }

    /// A part of the next message has come; how many messages are done with it.
    fn part(&mut self, channel: &mut Channel, id: u64) -> Result<u64, Failure> {
        let Some(is_done) = channel.part(self.next, id) else { return Err(self.wrong_part()) };
        self.next = following(self.next, channel.slots.len());
        self.count += 1;
        if let Role::Receiver { expected, .. } = &mut self.role {
            expected.step();
        }
        Ok(u64::from(is_done))
    }

    fn take_other(
        &mut self,
        channel: &mut Channel,
        packet_type: u8,
        content: &[u8],
        taken: &mut Taken,
    ) -> Result<(), Failure> {
        let of = |packet_type| RequestType::from_byte(packet_type);
        match (ServerPacket::decode(packet_type, content), &self.role) {
            (Ok(ServerPacket::Tested { .. }), _) if self.replies > 0 => {
                self.replies -= 1;
                taken.replies += 1;
                Ok(())
            }
            (Ok(ServerPacket::Result { packet_type, success: true, id, text: b"" }), role) => {
                match (of(packet_type), role) {
                    (Some(RequestType::Send | RequestType::Broadcast), Role::Writer) => {
                        taken.done += self.part(channel, id.0)?;
                        Ok(())
                    }
                    (Some(RequestType::Arrived), Role::Receiver { .. }) => Ok(()),
                    (Some(RequestType::Test), _) if self.replies > 0 => {
                        self.replies -= 1;
                        taken.replies += 1;
                        Ok(())
                    }
                    _ => Err(unexpected(&self.doing(), packet_type, content)),
                }
            }
            (
                Ok(
                    ServerPacket::Message { sign: Sign::User, number, text }
                    | ServerPacket::Numbered { sign: Sign::User, number, text, .. },
                ),
                Role::Receiver { from, expected, .. },
            ) if number == *from => Err(self.wrong_message(expected.distance(text))),
            _ => Err(unexpected(&self.doing(), packet_type, content)),
        }
    }

    /// What goes on at this end, in words.
    pub(super) fn doing(&self) -> String {
        match self.role {
            Role::Writer => format!("a message of {}", self.own),
            Role::Receiver { from, .. } => format!("the messages from {from} to {}", self.own),
        }
    }

    /// Whether something is under way to this end.
    pub(super) fn waits(&self, channel: &Channel) -> bool {
        let comes = channel.has_results || matches!(self.role, Role::Receiver { .. });
        comes && self.count < channel.sent
    }

    /// What is under way to this end and comes next, in words.
    pub(super) fn awaited(&self) -> String {
        let number = self.count + 1;
        match self.role {
            _ if self.replies > 0 => format!("the answer to a connection test of {}", self.own),
            Role::Writer => format!("the result of message {number} of {}", self.own),
            Role::Receiver { from, .. } => format!("message {number} from {from} to {}", self.own),
        }
    }

    /// A message of the right sender is not the one that must come; its number lies so far from that.
    fn wrong_message(&self, distance: Option<i64>) -> Failure {
        let awaited = self.awaited();
        Failure::Failed(match distance {
            Some(1..) => format!("{awaited} is lost, or comes too late: a later one is here"),
            Some(..0) => format!("an earlier message has come again where {awaited} must come"),
            Some(0) | None => {
                format!("{awaited} has other bytes than were sent, or an id that is too small")
            }
        })
    }

    fn wrong_part(&self) -> Failure {
        let awaited = self.awaited();
        Failure::Failed(format!(
            "{awaited} was never sent, or its id is not the one that others were told"
        ))
    }
}
