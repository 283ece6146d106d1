//! What clients get that have asked for more than the document of 2002 has: results and presence. Protocol
//! section 6, "Extensions".
//!
//! Message ids are with the messages, in `mail`. Nothing here is sent on a connection that did not ask.

use std::fmt::Display;

use super::peer::Stage;
use super::{Engine, Host, words};
use crate::id::{ConnectionId, Seq, ServiceNumber};
use crate::state::decide::Refusal;
use crate::wire::server::{Extensions, Presence};
use crate::wire::{Code, RequestType, ServerPacket};

/// So many looks at whether somebody is told cost as much as finding one in a long list.
const LOOKS: usize = 8;

impl Engine {
    /// Which extensions a connection has.
    pub(super) fn extensions(&self, connection: ConnectionId) -> Extensions {
        self.peer(connection).map_or_else(Extensions::default, |peer| peer.extensions)
    }

    /// Sets what a connection has from now on, unless it is in a session.
    pub(super) fn grant_extensions(
        &mut self,
        connection: ConnectionId,
        wanted: u32,
    ) -> Result<(), Refusal> {
        let Some(peer) = self.peer_mut(connection) else { return Ok(()) };
        if peer.session.is_some() {
            return Err(Refusal::AlreadyLoggedIn);
        }
        peer.extensions = Extensions::grant(wanted);
        let granted = peer.extensions.sum();
        self.send(connection, &ServerPacket::Extensions { granted });
        Ok(())
    }

    /// A packet has been done with, unless it still waits for a password or a search.
    pub(super) fn answer_done(&mut self, connection: ConnectionId, packet_type: u8) {
        let stage = self.peer(connection).map(|peer| &peer.stage);
        if !matches!(stage, Some(Stage::Password(_) | Stage::Search(_) | Stage::Foregone(_))) {
            self.send_result(connection, packet_type, true, self.last_change, b"");
        }
    }

    /// A packet has been done, with an exception that is told.
    pub(super) fn answer_partly(
        &mut self,
        connection: ConnectionId,
        packet_type: u8,
        refusal: &Refusal,
    ) {
        if self.extensions(connection).have(Extensions::RESULTS) {
            let text = sentence(words::code(refusal), words::Sentence(refusal));
            self.send_result(connection, packet_type, true, self.last_change, &text);
        } else {
            self.notify(connection, packet_type, words::code(refusal), words::Sentence(refusal));
        }
    }

    /// A packet has not been done: the result says why, or a notice on a connection without results, and of
    /// the packet that asks for them.
    pub(super) fn answer_failed(
        &mut self,
        connection: ConnectionId,
        packet_type: u8,
        code: Code,
        why: impl Display,
    ) {
        let asks = packet_type == RequestType::WantExtensions as u8;
        if !asks && self.extensions(connection).have(Extensions::RESULTS) {
            self.send_result(connection, packet_type, false, Seq::ZERO, &sentence(code, why));
        } else {
            self.notify(connection, packet_type, code, why);
        }
    }

    fn send_result(
        &mut self,
        connection: ConnectionId,
        packet_type: u8,
        success: bool,
        id: Seq,
        text: &[u8],
    ) {
        if self.extensions(connection).have(Extensions::RESULTS) {
            self.send(connection, &ServerPacket::Result { packet_type, success, id, text });
        }
    }

    /// A user is seen otherwise from now on. Friends are told at the end of the input, if they see a
    /// difference then.
    pub(super) fn show_as(&mut self, number: ServiceNumber, presence: Presence) {
        let before = self.sessions.presence(number);
        self.presence_before.entry(number).or_insert(before);
        self.sessions.show(number, presence);
    }

    /// Tells those who asked of what this input has changed in how their friends are seen.
    pub(super) fn emit_presence(&mut self, host: &mut impl Host) {
        while let Some((number, before)) = self.presence_before.pop_first() {
            let state = self.sessions.presence(number);
            if state != before {
                self.tell_presence(number, before, state, host);
            }
        }
    }

    /// Whether the user is in session and has asked for friends' presence: the same as a look into `presence_sessions`,
    /// but it costs as much however many have asked.
    fn is_told(&self, number: ServiceNumber) -> bool {
        let connection = self.sessions.get(number);
        connection.is_some_and(|it| self.extensions(it).have(Extensions::PRESENCE))
    }

    fn tell_presence(
        &mut self,
        number: ServiceNumber,
        before: Presence,
        state: Presence,
        host: &mut impl Host,
    ) {
        let Some(user) = self.state.user(number) else { return };
        // Whichever takes less: to look at those who list the user, or to find those who asked among them.
        self.posted_count += user.listed_count().min(self.presence_sessions.len());
        let told: Vec<_> = if user.listed_count() / LOOKS < self.presence_sessions.len() {
            user.listed_by().filter(|other| self.is_told(*other)).collect()
        } else {
            let asked = self.presence_sessions.iter().copied();
            asked.filter(|other| user.is_listed_by(*other)).collect()
        };
        let mut last = None;
        for (index, other) in told.into_iter().enumerate() {
            let Some(to) = self.sessions.get(other) else { continue };
            if self.waits_with_presence(to, number, Some(before), self.is_put_off(index), host) {
                continue;
            }
            let Some(kind) = self.peer(to).map(|peer| peer.kind()) else { continue };
            let range = match &last {
                Some((was, range)) if *was == kind => std::ops::Range::clone(range),
                _ => self.outbox.encode(kind, &ServerPacket::FriendPresence { number, state }),
            };
            last = Some((kind, range.clone()));
            self.push(to, range);
        }
    }

    /// A friend was added: its state, once, to who asked.
    pub(super) fn tell_new_friend(
        &mut self,
        owner: ServiceNumber,
        friend: ServiceNumber,
        host: &mut impl Host,
    ) {
        if let Some(to) = self.sessions.get(owner)
            && self.is_told(owner)
            && !self.waits_with_presence(to, friend, None, false, host)
        {
            let state = self.sessions.presence(friend);
            self.send(to, &ServerPacket::FriendPresence { number: friend, state });
        }
    }
}

fn sentence(code: Code, why: impl Display) -> Vec<u8> {
    format!("{code}: {why}").into_bytes()
}
