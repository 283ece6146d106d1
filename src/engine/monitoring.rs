//! What operators monitor: who begins and ends it, and the messages that they are sent. Protocol section 4, `0x11`.
//!
//! An operator who is slow to take them gets them later, out of the log; nobody else is slowed by that.

use std::collections::VecDeque;

use super::kept::{KeptError, expect, number, put_count};
use super::mail::Text;
use super::words::Ending;
use super::{Engine, Host};
use crate::codec::{Reader, Write};
use crate::id::{ConnectionId, Place, Seq, ServiceNumber};
use crate::limits::{MAIL_BYTES_PER_STEP, MESSAGE_BYTES, MONITORED_WAITING, OUTPUT_BYTES_HIGH};
use crate::state::decide::{Refusal, messages};
use crate::state::{Event, MessageKind, Posted, State};
use crate::wire::ServerPacket;

/// A session that monitors somebody: what it is still to be sent.
#[derive(Default)]
pub(super) struct Monitoring {
    waiting: VecDeque<Monitored>,
}

/// A message that an operator is still to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Monitored {
    from: ServiceNumber,
    to: ServiceNumber,
    /// The event that its text is in, and where in the log that is.
    seq: Seq,
    place: Place,
    length: u32,
}

impl Monitoring {
    pub(super) fn save(&self, out: &mut Vec<u8>) {
        put_count(out, self.waiting.len());
        for Monitored { from, to, seq, length, .. } in &self.waiting {
            out.put_u32(from.0);
            out.put_u32(to.0);
            out.put_u64(seq.0);
            out.put_u32(*length);
        }
    }

    /// Whether all that is to be sent are messages of users that have been, in their order, and not too many.
    pub(super) fn agrees(&self, state: &State) -> bool {
        let is_message = |it: &Monitored| {
            it.seq <= state.last_seq()
                && it.length as usize <= MESSAGE_BYTES
                && [it.from, it.to].iter().all(|user| state.user(*user).is_some())
        };
        self.waiting.len() <= MONITORED_WAITING
            && self.waiting.iter().all(is_message)
            && self.waiting.iter().is_sorted_by_key(|it| it.seq)
    }

    /// `place` tells where the text of an event can be read.
    pub(super) fn restore(
        reader: &mut Reader<'_>,
        mut place: impl FnMut(Seq) -> Option<Place>,
    ) -> Result<Self, KeptError> {
        let mut waiting = VecDeque::new();
        for _ in 0..reader.u32()? {
            let (from, to) = (number(reader)?, number(reader)?);
            let (seq, length) = (Seq(reader.u64()?), reader.u32()?);
            let is_message = usize::try_from(length).is_ok_and(|length| length <= MESSAGE_BYTES);
            expect(is_message)?;
            let place = place(seq).ok_or(KeptError::Text(seq))?;
            waiting.push_back(Monitored { from, to, seq, place, length });
        }
        Ok(Self { waiting })
    }
}

impl Engine {
    /// Begins to monitor a user, or ends all that is monitored.
    pub(super) fn monitor(
        &mut self,
        connection: ConnectionId,
        own: ServiceNumber,
        watched: ServiceNumber,
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        let is_operator = self.settings.operators.contains(&own);
        messages::monitor(&self.state, own, is_operator, watched)?;
        if self.monitoring_ends.contains(&own) {
            // What an earlier session monitored ends before this one begins.
            match self.end_monitoring(own, host) {
                Err(_) if watched == ServiceNumber::NONE => return Ok(()),
                ended => ended?,
            }
        }
        if let Some(event) = messages::monitor(&self.state, own, is_operator, watched)? {
            self.record(&event, host)?;
        }
        if let Some(session) = self.session_mut(connection) {
            if watched == ServiceNumber::NONE {
                session.monitoring = None;
            } else {
                session.monitoring.get_or_insert_default();
            }
        }
        Ok(())
    }

    /// Ends what an operator monitors, if it does. Where there is no room in the log to say so, that is left
    /// for later.
    pub(super) fn end_monitoring(
        &mut self,
        operator: ServiceNumber,
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        if self.state.watched_by(operator).next().is_some()
            && let Err(refusal) = self.record(&Event::MonitoringEnded { operator }, host)
        {
            self.monitoring_ends.insert(operator);
            return Err(refusal);
        }
        self.monitoring_ends.remove(&operator);
        Ok(())
    }

    /// Sends messages between users to those who monitor one of them, once to each.
    pub(super) fn emit_monitored(
        &mut self,
        text: Text<'_>,
        posted: &[Posted],
        host: &mut impl Host,
    ) {
        if !self.state.monitors_anyone() {
            return;
        }
        let mut operators = Vec::new();
        for message in posted.iter().filter(|message| message.kind == MessageKind::User) {
            operators.clear();
            operators.extend(self.state.watchers(message.from));
            operators.extend(self.state.watchers(message.to));
            operators.sort_unstable();
            operators.dedup();
            for operator in &operators {
                if let Some(connection) = self.sessions.get(*operator) {
                    self.show_monitored(connection, *message, text, host);
                }
            }
        }
    }

    fn show_monitored(
        &mut self,
        connection: ConnectionId,
        message: Posted,
        text: Text<'_>,
        host: &mut impl Host,
    ) {
        let full = self.output_waiting(connection, host) > OUTPUT_BYTES_HIGH;
        let Some(session) = self.session_mut(connection) else { return };
        let Some(Monitoring { waiting }) = session.monitoring.as_deref_mut() else { return };
        let Posted { from, to, .. } = message;
        if waiting.is_empty() && !full {
            self.send(connection, &ServerPacket::Monitored { from, to, text: text.bytes });
        } else if waiting.len() < MONITORED_WAITING {
            let length = u32::try_from(text.bytes.len()).unwrap_or(u32::MAX);
            waiting.push_back(Monitored { from, to, seq: text.seq, place: text.place, length });
        } else {
            self.end_connection(connection, 0, Ending::Slow, host);
        }
    }

    /// Whether an operator is still to be sent what it monitors.
    pub(super) fn has_monitored(&self, connection: ConnectionId) -> bool {
        let monitoring = self.session(connection).and_then(|session| session.monitoring.as_ref());
        monitoring.is_some_and(|monitoring| !monitoring.waiting.is_empty())
    }

    /// Whether anything but mailboxes refers to places in the log.
    #[must_use]
    pub fn holds_places(&self) -> bool {
        let mut operators = self.state.operators();
        operators.any(|operator| {
            self.sessions.get(operator).is_some_and(|connection| self.has_monitored(connection))
        })
    }

    /// Sends the next stretch of what an operator is still to be sent.
    pub(super) fn send_monitored(&mut self, connection: ConnectionId, host: &mut impl Host) {
        let (mut text, mut bytes) = (Vec::new(), 0);
        while bytes < MAIL_BYTES_PER_STEP
            && let Some(session) = self.session_mut(connection)
            && let Some(monitoring) = &mut session.monitoring
            && let Some(next) = monitoring.waiting.pop_front()
        {
            let Monitored { from, to, place, length, .. } = next;
            text.clear();
            host.read(place, length, &mut text);
            bytes += text.len();
            self.send(connection, &ServerPacket::Monitored { from, to, text: &text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::profile::Profile;
    use crate::id::UnixMillis;
    use crate::state::{Authentication, Event, Stamp};

    #[test]
    fn what_an_operator_is_to_be_shown_are_messages_that_have_been() {
        let (ann, place) = (ServiceNumber::FIRST, Place(0));
        let mut state = State::default();
        let register = Event::Registered {
            number: ann,
            authentication: Authentication::Open,
            password_hash: "$",
            profile: Profile { nickname: b"ann", ..Profile::default() },
        };
        let stamp = Stamp { seq: Seq(9), time: UnixMillis(1), place };
        state.apply(stamp, &register, &mut |_| ()).unwrap();
        let shown = Monitored { from: ann, to: ann, seq: Seq(9), place, length: 1 };
        let nobody = ServiceNumber(10_002);
        let earlier = Monitored { seq: Seq(8), ..shown };
        for (waiting, agrees) in [
            (vec![], true),
            (vec![earlier, shown, shown], true),
            (vec![shown, earlier], false),
            (vec![Monitored { seq: Seq(10), ..shown }], false),
            (vec![Monitored { from: nobody, ..shown }], false),
            (vec![Monitored { to: nobody, ..shown }], false),
            (vec![Monitored { length: 8_193, ..shown }], false),
            (vec![shown; MONITORED_WAITING + 1], false),
        ] {
            assert_eq!(Monitoring { waiting: waiting.into() }.agrees(&state), agrees);
        }
    }
}
