//! The surroundings that the engine had when it was recorded, for a replay.
//!
//! Owns what the engine is answered, and the comparison of the events that it makes with those of the log. A
//! question that does not fit the recording is a difference.

use super::entry::Answer;
use super::history::{History, HistoryError, Logged};
use super::replay::{Unasked, What};
use crate::engine::{Host, StorageFull};
use crate::id::{ConnectionId, Place, Seq, UnixMillis};

/// The bits of a place that say that its text is an event's of this replay.
const OWN: u64 = 0xFF_FFFF << 40;

/// What surrounds the engine while it handles one input.
pub(super) struct Surroundings<'h, H: History> {
    pub(super) history: &'h mut H,
    /// Payloads of the events of this replay, one behind the other.
    pub(super) own: &'h mut Vec<u8>,
    /// What it is answered; from `answers_next` on it was not yet.
    pub(super) answers: &'h [Answer],
    pub(super) answers_next: usize,
    pub(super) waiting_skipped: u64,
    pub(super) appends_skipped: u64,
    pub(super) is_blanked: bool,
    /// What belongs to the input may not have been written any more.
    pub(super) may_lack: bool,
    pub(super) last_seq: Seq,
    /// The last event that the log has of this run of the server.
    pub(super) kept_through: Seq,
    pub(super) events: Vec<Logged>,
    pub(super) beyond_log: u64,
    pub(super) what: Option<What>,
    pub(super) failed: std::cell::OnceCell<HistoryError>,
}

impl<H: History> Surroundings<'_, H> {
    fn differ(&mut self, what: What) {
        self.what.get_or_insert(what);
    }

    /// Compares an event with what the log has at its place, and takes that.
    fn compare(&mut self, actual: &Logged) -> Result<(), HistoryError> {
        let is_blanked = self.is_blanked;
        let is_kept = actual.seq <= self.kept_through;
        let Some(logged) = self.history.peek()?.filter(|_| is_kept) else {
            self.beyond_log += 1;
            return Ok(());
        };
        let same_payload = match is_blanked {
            true => logged.payload.len() == actual.payload.len(),
            false => logged.payload == actual.payload,
        };
        let header = |logged: &Logged| (logged.seq, logged.time, logged.kind);
        if header(logged) != header(actual) || !same_payload {
            let logged = logged.clone();
            self.differ(What::Event { logged, actual: actual.clone() });
            return Ok(());
        }
        self.history.take()
    }
}

impl<H: History> Host for Surroundings<'_, H> {
    fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull> {
        if self.answers.get(self.answers_next)
            == Some(&Answer::Full { skipped: self.appends_skipped })
        {
            self.answers_next += 1;
            self.appends_skipped = 0;
            return Err(StorageFull);
        }
        self.appends_skipped += 1;
        self.last_seq = self.last_seq.next();
        let place = Place(OWN | self.own.len() as u64);
        self.own.extend_from_slice(payload);
        let event = Logged::made(self.last_seq, time, kind, payload, place);
        if let Err(error) = self.compare(&event) {
            let _ = self.failed.set(error);
        }
        self.events.push(event);
        Ok((self.last_seq, place))
    }

    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if place.0 & OWN == OWN {
            let start = usize::try_from(place.0 & !OWN).unwrap_or(usize::MAX);
            let text = self.own.get(start..).and_then(|from| from.get(..length));
            out.extend_from_slice(text.unwrap_or_default());
        } else if let Err(error) = self.history.read(place, u32::try_from(length).unwrap_or(0), out)
        {
            let _ = self.failed.set(error);
        }
    }

    fn acknowledged(&mut self, _: ConnectionId) -> u64 {
        if let Some(&Answer::Acknowledged(bytes)) = self.answers.get(self.answers_next) {
            self.answers_next += 1;
            return bytes;
        }
        if !self.may_lack {
            self.differ(What::Question(Unasked::NotThen));
        }
        0
    }

    fn waiting(&mut self, _: ConnectionId) -> usize {
        if let Some(&Answer::Waiting { skipped, bytes }) = self.answers.get(self.answers_next)
            && skipped == self.waiting_skipped
        {
            self.answers_next += 1;
            self.waiting_skipped = 0;
            return usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        self.waiting_skipped += 1;
        0
    }
}
