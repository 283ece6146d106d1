//! What others' doings make the server tell a client past every mailbox, kept while the client is slow to take what
//! it is sent: how friends are seen, and whose file transfers have ended.
//!
//! Only the latest of each is kept, so it is bounded by the friend list and by the transfers that there can be. What
//! others' packets pass on at once, such as offers of files, is never kept here: those packets wait in their senders'
//! connections.

use std::collections::{BTreeMap, BTreeSet};

use super::kept::{KeptError, flag, list, number, put_count};
use super::peer::{Session, Stage};
use super::{Engine, Host};
use crate::codec::{Reader, Write};
use crate::id::{ConnectionId, ServiceNumber};
use crate::limits::{OUTPUT_BYTES_HIGH, UNTOLD_PER_STEP};
use crate::state::decide::Refusal;
use crate::wire::ServerPacket;
use crate::wire::server::Presence;

/// What a session is still to be told.
#[derive(Default)]
pub(super) struct Untold {
    /// With whom a file transfer has ended.
    transfers: BTreeSet<ServiceNumber>,
    /// Friends that may be seen otherwise, and how they were when that was last told; `None`: they are told in any
    /// case.
    friends: BTreeMap<ServiceNumber, Option<Presence>>,
}

impl Untold {
    fn is_empty(&self) -> bool {
        self.transfers.is_empty() && self.friends.is_empty()
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        put_count(out, self.transfers.len());
        self.transfers.iter().for_each(|number| out.put_u32(number.0));
        put_count(out, self.friends.len());
        for (number, before) in &self.friends {
            out.put_u32(number.0);
            out.put_u8(u8::from(before.is_some()));
            if let Some(before) = before {
                out.put_u8(*before as u8);
            }
        }
    }

    pub(super) fn restore(reader: &mut Reader<'_>) -> Result<Self, KeptError> {
        let transfers = list(reader, number)?.into_iter().collect();
        let friend = |reader: &mut Reader<'_>| {
            let number = number(reader)?;
            let before = match flag(reader)? {
                true => Some(Presence::from_byte(reader.u8()?).ok_or(KeptError::Layout)?),
                false => None,
            };
            Ok((number, before))
        };
        let friends = list(reader, friend)?.into_iter().collect();
        Ok(Self { transfers, friends })
    }
}

impl Engine {
    /// Whether a connection is still to be told of what others did, once there is room for it. Until then, nothing
    /// that would overtake it is handed in: none of its own packets, nor what is passed on to it.
    #[must_use]
    pub fn has_untold(&self, connection: ConnectionId) -> bool {
        self.session(connection).is_some_and(|session| session.untold.is_some())
    }

    /// The same, or whether messages still wait for it: what is passed on to it does not overtake these either.
    #[must_use]
    pub fn is_told_later(&self, connection: ConnectionId) -> bool {
        let Some(peer) = self.peer(connection) else { return false };
        let Some(session) = &peer.session else { return false };
        session.untold.is_some() || session.mail_left || matches!(peer.stage, Stage::Mail)
    }

    /// Output that waits for a connection, with what this turn has made so far.
    pub(super) fn output_waiting(&self, connection: ConnectionId, host: &mut impl Host) -> usize {
        host.waiting(connection).saturating_add(self.queued(connection))
    }

    /// What is still to be told to a connection, if it is to wait there with what comes now: for the client is slow,
    /// or this is one of very many things that a turn has to say.
    fn untold(
        &mut self,
        connection: ConnectionId,
        is_put_off: bool,
        host: &mut impl Host,
    ) -> Option<&mut Untold> {
        let waits = is_put_off || self.output_waiting(connection, host) > OUTPUT_BYTES_HIGH;
        if is_put_off {
            self.put_in_line(connection);
        }
        let session = self.session_mut(connection).filter(|it| waits || it.untold.is_some())?;
        Some(session.untold.get_or_insert_default())
    }

    /// A file transfer has come to an end that no packet of this connection has ended.
    pub(super) fn tell_transfer_ended(
        &mut self,
        connection: ConnectionId,
        other: ServiceNumber,
        host: &mut impl Host,
    ) {
        match self.untold(connection, false, host) {
            Some(untold) => {
                untold.transfers.insert(other);
            }
            None => self.tell_ended(connection, &Refusal::NoTransfer(other)),
        }
    }

    /// A friend is seen otherwise than `before`, which is `None` for a new one. Answers whether that is told later, as
    /// it is in any case where it `is_put_off`.
    pub(super) fn waits_with_presence(
        &mut self,
        connection: ConnectionId,
        friend: ServiceNumber,
        before: Option<Presence>,
        is_put_off: bool,
        host: &mut impl Host,
    ) -> bool {
        let Some(untold) = self.untold(connection, is_put_off, host) else { return false };
        let told = untold.friends.entry(friend).or_insert(before);
        if before.is_none() {
            *told = None;
        }
        true
    }

    /// Sends the next stretch of what a connection is still to be told. There may be some left.
    pub(super) fn send_untold(&mut self, connection: ConnectionId) {
        for _ in 0..UNTOLD_PER_STEP {
            let Some(session) = self.session_mut(connection) else { return };
            let Some(untold) = &mut session.untold else { return };
            let next_transfer = untold.transfers.pop_first();
            let next_friend = match next_transfer {
                None => untold.friends.pop_first(),
                Some(_) => None,
            };
            forget_if_told(session);
            let own = session.number;
            if let Some(other) = next_transfer {
                self.tell_ended(connection, &Refusal::NoTransfer(other));
            } else if let Some((number, before)) = next_friend {
                let state = self.sessions.presence(number);
                let is_friend =
                    self.state.user(own).is_some_and(|user| user.friend(number).is_some());
                if is_friend && before != Some(state) {
                    self.send(connection, &ServerPacket::FriendPresence { number, state });
                }
            }
        }
    }
}

fn forget_if_told(session: &mut Session) {
    if session.untold.as_ref().is_some_and(|untold| untold.is_empty()) {
        session.untold = None;
    }
}
