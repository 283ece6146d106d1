//! Messages on their way to sessions, and what has arrived. Protocol section 6, "Delivery".
//!
//! A message goes to its receiver's session as soon as it is accepted, or out of the mailbox after the
//! next login. It stays in the mailbox until the receiver's end has acknowledged its bytes.

use std::ops::Range;

use super::peer::{Peer, Sent, Stage};
use super::{Engine, Host};
use crate::codec::packed::Receipts;
use crate::id::{ConnectionId, MonoMillis, Place, Seq, ServiceNumber, UnixMillis};
use crate::limits::{
    DELIVERIES_PER_EVENT, DELIVERY_DELAY_MS, DELIVERY_DELAY_MS_MAX, MAIL_BYTES_PER_STEP,
    OUTPUT_BYTES_HIGH,
};
use crate::state::{Event, MessageKind, Posted};
use crate::wire::server::{Extensions, Sign, SystemKind};
use crate::wire::{Kind, ServerPacket};

/// The text of an event, which event that is, and where it can be read again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) seq: Seq,
    pub(super) place: Place,
}

/// The message that this turn has encoded last: a broadcast is the same bytes for all receivers of one kind.
#[derive(Default)]
pub(super) struct Encoded(Option<(Shape, Range<usize>)>);

/// What tells the bytes of two messages apart: the event, what it has posted, and how the receiver gets its packets.
type Shape = (Seq, MessageKind, Kind, bool);

impl Encoded {
    /// Where the message stands in the outbox, after it is encoded if it is another one.
    fn get(&mut self, shape: Shape, encode: impl FnOnce() -> Range<usize>) -> Range<usize> {
        match &self.0 {
            Some((last, range)) if *last == shape => range.clone(),
            _ => {
                let range = encode();
                self.0 = Some((shape, range.clone()));
                range
            }
        }
    }
}

const fn sign(kind: MessageKind) -> Sign {
    match kind {
        MessageKind::User => Sign::User,
        MessageKind::Added => Sign::System(SystemKind::Added),
        MessageKind::Asks => Sign::System(SystemKind::Asks),
        MessageKind::Agreed => Sign::System(SystemKind::Agreed),
        MessageKind::Refused => Sign::System(SystemKind::Refused),
    }
}

/// A message as a connection gets it: with its id and time, where it asked for ids.
const fn packet(
    id: Option<(Seq, UnixMillis)>,
    kind: MessageKind,
    number: ServiceNumber,
    text: &[u8],
) -> ServerPacket<'_> {
    let sign = sign(kind);
    match id {
        Some((id, time)) => ServerPacket::Numbered { id, time, sign, number, text },
        None => ServerPacket::Message { sign, number, text },
    }
}

impl Engine {
    /// Sends what an event has posted to those who are in session.
    pub(super) fn emit_posted(&mut self, text: Text<'_>, posted: &[Posted], host: &mut impl Host) {
        let (mut encoded, mut told) = (Encoded::default(), 0);
        for message in posted {
            let Some(to) = self.sessions.get(message.to) else { continue };
            if !self.takes_mail(to, self.is_put_off(told), host) {
                continue;
            }
            told += 1;
            let Some(receiver) = self.peer(to).map(Peer::kind) else { continue };
            let with_ids = self.has_message_ids(to);
            let shape = (text.seq, message.kind, receiver, with_ids);
            let range = encoded.get(shape, || {
                let id = with_ids.then_some((text.seq, self.now.wall));
                let packet = packet(id, message.kind, message.from, text.bytes);
                self.outbox.encode(receiver, &packet)
            });
            self.push(to, range);
            self.note_sent(to, text.seq);
        }
        self.emit_monitored(text, posted, host);
    }

    /// Whether a message goes to a connection at once. It stays in the mailbox while something older is still to
    /// be told, while the client is slow to take what it has been sent, and where it is one of very many that a turn
    /// has for somebody: then it is sent later, and is not copied until then.
    fn takes_mail(&mut self, to: ConnectionId, is_put_off: bool, host: &mut impl Host) -> bool {
        let is_slow = self.output_waiting(to, host) > OUTPUT_BYTES_HIGH;
        let Some(peer) = self.peer_mut(to) else { return false };
        let is_untold = peer.session.as_ref().is_some_and(|session| session.untold.is_some());
        let stays = is_put_off || is_slow || is_untold;
        match (&peer.stage, &mut peer.session) {
            (Stage::Mail, _) => false,
            (Stage::Ready, _) if stays => {
                peer.stage = Stage::Mail;
                if is_put_off {
                    self.put_in_line(to);
                }
                false
            }
            (Stage::Password(_) | Stage::Search(_) | Stage::Foregone(_), Some(session)) => {
                session.mail_left |= stays;
                !session.mail_left
            }
            _ => true,
        }
    }

    fn has_message_ids(&self, connection: ConnectionId) -> bool {
        self.extensions(connection).have(Extensions::MESSAGE_IDS)
    }

    fn note_sent(&mut self, to: ConnectionId, seq: Seq) {
        let Some(peer) = self.peer_mut(to) else { return };
        let Some(session) = &mut peer.session else { return };
        session.sent_through = seq;
        // With message ids, what the client says counts.
        if !peer.extensions.have(Extensions::MESSAGE_IDS) {
            peer.unacknowledged.push_back(Sent { end: peer.emitted, to: session.number, seq });
        }
    }

    /// Sends the next stretch of what waits in the mailbox: after a login, or for a slow client.
    pub(super) fn send_mail(
        &mut self,
        connection: ConnectionId,
        encoded: &mut Encoded,
        host: &mut impl Host,
    ) {
        let Some(session) = self.session(connection) else { return };
        let (number, mut sent_through) = (session.number, session.sent_through);
        let (mut text, mut bytes, mut complete) = (Vec::new(), 0, true);
        let mut sent = Vec::new();
        if let Some(user) = self.state.user(number) {
            let kind = self.peer(connection).map_or(Kind::User, |peer| peer.kind());
            let with_ids = self.has_message_ids(connection);
            for (seq, waiting) in user.mailbox().after(sent_through) {
                if bytes >= MAIL_BYTES_PER_STEP {
                    complete = false;
                    break;
                }
                let range = encoded.get((seq, waiting.kind, kind, with_ids), || {
                    text.clear();
                    host.read(waiting.place, waiting.length, &mut text);
                    let id = with_ids.then_some((seq, waiting.time));
                    let packet = packet(id, waiting.kind, waiting.from, &text);
                    self.outbox.encode(kind, &packet)
                });
                bytes += range.len();
                sent.push((range, seq));
                sent_through = seq;
            }
        }
        for (range, seq) in sent {
            self.push(connection, range);
            self.note_sent(connection, seq);
        }
        if let Some(peer) = self.peer_mut(connection) {
            if let Some(session) = &mut peer.session {
                session.sent_through = sent_through;
            }
            if matches!(peer.stage, Stage::Mail) && complete {
                peer.stage = Stage::Ready;
                self.resumed.push(connection);
            }
        }
    }

    /// The other end of a connection has all output up to `bytes`, counted from the connection's start.
    pub fn handle_acknowledged(&mut self, connection: ConnectionId, bytes: u64) {
        let Some(peer) = self.peers.get_mut(connection.0).and_then(Option::as_mut) else { return };
        while let Some(&Sent { end, to, seq }) = peer.unacknowledged.front()
            && end <= bytes
        {
            peer.unacknowledged.pop_front();
            if self.receipts.is_empty() {
                self.receipts_since = self.now.mono;
            }
            let through = self.receipts.entry(to).or_default();
            *through = seq.max(*through);
            // The last of them ends what is late. The next one mostly tells: messages of one session stand
            // together.
            if peer.unacknowledged.iter().all(|left| left.to != to) {
                self.late.remove(&(to, connection));
            }
        }
        if peer.unacknowledged.is_empty() {
            // An idle connection holds no buffer.
            peer.unacknowledged.shrink_to(0);
        }
    }

    /// A client has every message up to this id that was sent on its connection.
    pub(super) fn confirm(&mut self, connection: ConnectionId, id: Seq) {
        let Some(session) = self.session_mut(connection) else { return };
        // What was not sent cannot have arrived.
        let through = id.min(session.sent_through);
        if through <= session.confirmed {
            return;
        }
        session.confirmed = through;
        let number = session.number;
        if self.receipts.is_empty() {
            self.receipts_since = self.now.mono;
        }
        let receipt = self.receipts.entry(number).or_default();
        *receipt = through.max(*receipt);
    }

    /// Whether it is news that a connection's other end has all output up to `bytes`.
    #[must_use]
    pub fn is_news(&self, connection: ConnectionId, bytes: u64) -> bool {
        let oldest = self.peer(connection).and_then(|peer| peer.unacknowledged.front());
        oldest.is_some_and(|sent| sent.end <= bytes)
    }

    /// Whether messages were sent on a connection that the other end has not acknowledged.
    #[must_use]
    pub fn awaits_acknowledgement(&self, connection: ConnectionId) -> bool {
        self.peer(connection).is_some_and(|peer| !peer.unacknowledged.is_empty())
    }

    /// Whether deliveries are to be written although there is no change to go along with: they are due, and nobody
    /// waits for the sync, since this turn has nothing to say. Where every turn has, they wait for so long and no
    /// longer.
    pub(super) fn may_write_deliveries(&self) -> bool {
        self.receipts_deadline().is_some_and(|due| {
            let latest = self.receipts_since.plus(DELIVERY_DELAY_MS_MAX);
            due <= self.now.mono && (self.outbox.is_empty() || latest <= self.now.mono)
        })
    }

    /// When deliveries are to be written at the latest.
    pub(super) fn receipts_deadline(&self) -> Option<MonoMillis> {
        (!self.receipts.is_empty()).then(|| self.receipts_since.plus(DELIVERY_DELAY_MS))
    }

    /// Asks how much of its output a connection's other end has, if that matters.
    pub(super) fn look_at_acknowledged(&mut self, connection: ConnectionId, host: &mut impl Host) {
        if self.awaits_acknowledgement(connection) {
            let bytes = host.acknowledged(connection);
            self.handle_acknowledged(connection, bytes);
        }
    }

    /// Looks at what has been acknowledged meanwhile, so that it no longer fills the user's mailbox and
    /// is not sent again.
    pub(super) fn settle_mail(&mut self, number: ServiceNumber, host: &mut impl Host) {
        if let Some(connection) = self.sessions.get(number) {
            self.look_at_acknowledged(connection, host);
        }
        let late = (number, ConnectionId(0))..=(number, ConnectionId(usize::MAX));
        let late: Vec<_> = self.late.range(late).map(|(_, connection)| *connection).collect();
        for connection in late {
            self.look_at_acknowledged(connection, host);
        }
        if self.receipts.contains_key(&number) {
            self.flush_deliveries(host);
        }
    }

    /// Writes all deliveries that are known and not yet in the log. Where there is no room for them they are
    /// kept for later.
    pub fn flush_deliveries(&mut self, host: &mut impl Host) {
        let state = &self.state;
        // What was sent on two connections may have arrived on the other one before.
        self.receipts.retain(|user, through| {
            let first = state.user(*user).and_then(|user| user.mailbox().iter().next());
            first.is_some_and(|(waiting, _)| waiting <= *through)
        });
        while !self.receipts.is_empty() {
            let some: Vec<_> = self
                .receipts
                .iter()
                .take(DELIVERIES_PER_EVENT)
                .map(|(user, seq)| (*user, *seq))
                .collect();
            let bytes = Receipts::pack(some.iter().copied());
            let receipts = Receipts::over(&bytes).unwrap_or_default();
            if self.record(&Event::Delivered { receipts }, host).is_err() {
                self.receipts_since = self.now.mono;
                return;
            }
            for (user, _) in some {
                self.receipts.remove(&user);
            }
        }
    }
}
