//! All that the engine knows beside the state, as bytes and back: what a recording of its inputs begins with.
//!
//! Owns the order of the parts and the check that they fit together; how a part is laid out stands with the
//! part where it has a file of its own. Passwords are not among it: one that waits to be looked at comes back
//! as an empty one, and its verdict is an input like any other. The layout is drawn in
//! `src/black_box/FORMAT.md`.

use std::collections::VecDeque;
use std::fmt;

use super::foretold::Foregone;
use super::listing::Listing;
use super::monitoring::Monitoring;
use super::peer::{Peer, Sent, Session, Stage};
use super::throttle::Bucket;
use super::untold::Untold;
use super::{Engine, Settings};
use crate::codec::charset::Charset;
use crate::codec::{Reader, Short, Write, address};
use crate::id::{ConnectionId, MonoMillis, Now, Place, Seq, ServiceNumber, UnixMillis};
use crate::limits::COUNT_MAX;
use crate::state::State;
use crate::state::decide::search::Search;
use crate::wire::Kind;
use crate::wire::server::{Extensions, Presence};

/// More connections than any system gives files for: bounds what a damaged recording can ask memory for.
pub(super) const CONNECTIONS_MAX: usize = 1 << 20;

/// Why bytes are not what an engine has kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeptError {
    /// They end too early, or hold values that nothing has.
    Layout,
    /// They speak of a number or a connection that is not there, or of one twice.
    Nonsense,
    /// The text of this event can no longer be read: compaction has dropped it.
    Text(Seq),
}

impl From<Short> for KeptError {
    fn from(_: Short) -> Self {
        Self::Layout
    }
}

impl fmt::Display for KeptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout => f.write_str("the sessions that it begins with cannot be read"),
            Self::Nonsense => f.write_str("the sessions that it begins with do not fit the log"),
            Self::Text(seq) => write!(f, "the text of event {seq} is no longer in the log"),
        }
    }
}

impl std::error::Error for KeptError {}

impl Settings {
    /// Appends the settings.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_u8(self.charset.tag());
        out.put_u8(u8::from(self.registration_open));
        put_count(out, self.operators.len());
        self.operators.iter().for_each(|operator| out.put_u32(operator.0));
        put_count(out, self.services.len());
        for (kind, number) in &self.services {
            out.put_u8(*kind as u8);
            out.put_u32(number.0);
        }
        out.put_u64(self.max_connections as u64);
        out.put_u32(self.login_failures);
        out.put_u32(self.registrations);
        out.put_u32(self.connections);
        out.put_u32(self.requests_per_second);
        out.put_u32(self.requests_burst);
        out.put_u32(self.mailbox_messages);
        out.put_u64(self.mailbox_bytes);
    }

    /// Reads settings.
    ///
    /// # Errors
    /// If the bytes are no settings.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, KeptError> {
        let charset = Charset::from_tag(reader.u8()?).ok_or(KeptError::Layout)?;
        let registration_open = flag(reader)?;
        let operators = list(reader, number)?.into_iter().collect();
        let service = |reader: &mut Reader<'_>| {
            let kind = Kind::of_sender(reader.u8()?).ok_or(KeptError::Layout)?;
            Ok((kind, number(reader)?))
        };
        let services = list(reader, service)?.into_iter().collect();
        Ok(Self {
            charset,
            registration_open,
            operators,
            services,
            max_connections: usize::try_from(reader.u64()?).unwrap_or(usize::MAX),
            login_failures: reader.u32()?,
            registrations: reader.u32()?,
            connections: reader.u32()?,
            requests_per_second: reader.u32()?,
            requests_burst: reader.u32()?,
            mailbox_messages: reader.u32()?,
            mailbox_bytes: reader.u64()?,
        })
    }
}

impl Engine {
    /// What the server was told at its start.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The time of the turn.
    #[must_use]
    pub const fn now(&self) -> Now {
        self.now
    }

    /// Appends all that the engine knows beside the state and the settings. To be asked for between two
    /// turns, when nothing is left in the outbox: what lives within a turn alone is left out.
    pub fn save(&self, out: &mut Vec<u8>) {
        out.put_u64(self.now.mono.0);
        out.put_u64(self.now.wall.0);
        out.put_u64(self.arrivals);
        let live =
            self.peers.iter().enumerate().filter_map(|(id, peer)| Some((id, peer.as_ref()?)));
        put_count(out, live.clone().count());
        for (id, peer) in live {
            put_connection(out, ConnectionId(id));
            self.save_peer(peer, out);
        }
        self.transfers.save(out);
        put_count(out, self.searches.len());
        self.searches.iter().for_each(|connection| put_connection(out, *connection));
        put_count(out, self.listings.len());
        self.listings.iter().for_each(|connection| put_connection(out, *connection));
        self.save_line(out);
        self.passwords.save(out);
        self.login_failures.save(out);
        self.registrations.save(out);
        self.connections.save(out);
        put_count(out, self.receipts.len());
        for (user, seq) in &self.receipts {
            out.put_u32(user.0);
            out.put_u64(seq.0);
        }
        out.put_u64(self.receipts_since.0);
        put_count(out, self.late.len());
        for (user, connection) in &self.late {
            out.put_u32(user.0);
            put_connection(out, *connection);
        }
        put_count(out, self.monitoring_ends.len());
        self.monitoring_ends.iter().for_each(|operator| out.put_u32(operator.0));
        out.put_u64(self.last_digest.0);
    }

    /// The engine that has kept these bytes when its state was this one. `place` tells where the text of an
    /// earlier event can be read.
    ///
    /// # Errors
    /// If the bytes are none that an engine on this state has kept.
    pub fn restore(
        settings: Settings,
        state: State,
        kept: &[u8],
        place: impl Fn(Seq) -> Option<Place>,
    ) -> Result<Self, KeptError> {
        let mut reader = Reader::new(kept);
        let reader = &mut reader;
        let mut engine = Self::new(settings, state);
        engine.now.mono = MonoMillis(reader.u64()?);
        engine.now.wall = UnixMillis(reader.u64()?);
        engine.arrivals = count(reader)?;
        for _ in 0..reader.u32()? {
            engine.restore_peer(reader, &place)?;
        }
        engine.transfers.restore(reader)?;
        for _ in 0..reader.u32()? {
            let connection = connection(reader)?;
            engine.searches.push_back(connection);
        }
        for _ in 0..reader.u32()? {
            let connection = connection(reader)?;
            engine.listings.push_back(connection);
        }
        engine.restore_line(reader)?;
        let Self { passwords, peers, .. } = &mut engine;
        let peer = |connection: ConnectionId| peers.get(connection.0)?.as_ref();
        passwords.restore(reader, |connection| Some(peer(connection)?.address))?;
        expect(engine.passwords.renews_for(|number| engine.state.user(number).is_some()))?;
        engine.login_failures.restore(reader)?;
        engine.registrations.restore(reader)?;
        engine.connections.restore(reader)?;
        for _ in 0..reader.u32()? {
            let (user, seq) = (number(reader)?, Seq(reader.u64()?));
            expect(engine.state.user(user).is_some() && seq <= engine.state.last_seq())?;
            engine.receipts.insert(user, seq);
        }
        engine.receipts_since = MonoMillis(reader.u64()?);
        for _ in 0..reader.u32()? {
            let late = (number(reader)?, connection(reader)?);
            engine.late.insert(late);
        }
        engine.monitoring_ends = list(reader, number)?.into_iter().collect();
        engine.last_digest = Seq(reader.u64()?);
        expect(engine.last_digest <= engine.state.last_seq())?;
        if reader.remaining() > 0 {
            return Err(KeptError::Layout);
        }
        Ok(engine)
    }

    /// The events whose texts are still to be sent to operators, by what an engine has kept: what
    /// [`Self::restore`] will ask places for.
    ///
    /// # Errors
    /// If the bytes are none that an engine has kept.
    pub fn texts_wanted(kept: &[u8], charset: Charset) -> Result<Vec<Seq>, KeptError> {
        let mut reader = Reader::new(kept);
        let reader = &mut reader;
        let _clocks_and_arrivals = reader.take(3 * 8)?;
        let mut wanted = Vec::new();
        for _ in 0..reader.u32()? {
            let _id = connection(reader)?;
            let place = |seq| {
                wanted.push(seq);
                Some(Place::default())
            };
            read_peer(reader, charset, place)?;
        }
        Ok(wanted)
    }

    fn save_peer(&self, peer: &Peer, out: &mut Vec<u8>) {
        address::write(peer.address, out);
        out.put_u8(peer.kind.map_or(0, |kind| kind as u8));
        match &peer.stage {
            Stage::Ready => out.put_u8(0),
            Stage::Password(ticket) => {
                out.put_u8(1);
                out.put_u64(*ticket);
            }
            Stage::Search(search) => {
                out.put_u8(2);
                search.save(out);
            }
            Stage::Mail => out.put_u8(3),
            Stage::Closing => out.put_u8(4),
            Stage::Foregone(foregone) => {
                out.put_u8(5);
                foregone.save(out);
            }
            Stage::Listing(listing) => {
                out.put_u8(6);
                listing.save(out);
            }
        }
        out.put_u32(peer.extensions.sum());
        out.put_u64(peer.sessionless_since.0);
        out.put_u64(peer.arrival);
        put_count(out, peer.unacknowledged.len());
        for Sent { end, to, seq } in &peer.unacknowledged {
            out.put_u64(*end);
            out.put_u32(to.0);
            out.put_u64(seq.0);
        }
        out.put_u64(peer.emitted);
        out.put_u8(u8::from(peer.session.is_some()));
        if let Some(session) = &peer.session {
            out.put_u32(session.number.0);
            out.put_u8(self.sessions.presence(session.number) as u8);
            session.requests.save(out);
            out.put_u64(session.sent_through.0);
            out.put_u64(session.confirmed.0);
            out.put_u8(u8::from(session.mail_left));
            out.put_u8(u8::from(session.monitoring.is_some()));
            if let Some(monitoring) = &session.monitoring {
                monitoring.save(out);
            }
            out.put_u8(u8::from(session.untold.is_some()));
            if let Some(untold) = &session.untold {
                untold.save(out);
            }
        }
    }

    fn restore_peer(
        &mut self,
        reader: &mut Reader<'_>,
        place: impl Fn(Seq) -> Option<Place>,
    ) -> Result<(), KeptError> {
        let id = connection(reader)?;
        let (peer, presence) = read_peer(reader, self.settings.charset, place)?;
        if id.0 >= self.peers.len() {
            self.peers.resize_with(id.0 + 1, || None);
        }
        expect(self.peers[id.0].is_none())?;
        if let Some(session) = &peer.session {
            let number = session.number;
            expect(self.state.user(number).is_some() && self.sessions.get(number).is_none())?;
            self.sessions.start(number, id);
            self.sessions.show(number, presence);
            if peer.extensions.have(Extensions::PRESENCE) {
                self.presence_sessions.insert(number);
            }
        }
        if !peer.is_closing() {
            self.live_peers += 1;
            if peer.session.is_none() {
                self.without_session.insert(peer.makes_room(), id);
            }
        }
        self.peers[id.0] = Some(peer);
        Ok(())
    }
}

fn read_peer(
    reader: &mut Reader<'_>,
    charset: Charset,
    place: impl FnMut(Seq) -> Option<Place>,
) -> Result<(Peer, Presence), KeptError> {
    let address = address::read(reader).ok_or(KeptError::Layout)?;
    let kind = match reader.u8()? {
        0 => None,
        byte => Some(Kind::of_sender(byte).ok_or(KeptError::Layout)?),
    };
    let stage = match reader.u8()? {
        0 => Stage::Ready,
        1 => Stage::Password(reader.u64()?),
        2 => Stage::Search(Box::new(Search::restore(reader, charset).ok_or(KeptError::Layout)?)),
        3 => Stage::Mail,
        4 => Stage::Closing,
        5 => Stage::Foregone(Box::new(Foregone::restore(reader)?)),
        6 => Stage::Listing(Box::new(Listing::restore(reader)?)),
        _ => return Err(KeptError::Layout),
    };
    let extensions = Extensions::grant(reader.u32()?);
    let sessionless_since = MonoMillis(reader.u64()?);
    let arrival = count(reader)?;
    let sent = |reader: &mut Reader<'_>| {
        Ok(Sent { end: reader.u64()?, to: number(reader)?, seq: Seq(reader.u64()?) })
    };
    let unacknowledged: VecDeque<_> = list(reader, sent)?.into();
    let emitted = count(reader)?;
    let mut presence = Presence::Offline;
    let session = if flag(reader)? {
        let number = number(reader)?;
        presence = Presence::from_byte(reader.u8()?).ok_or(KeptError::Layout)?;
        Some(Box::new(Session {
            number,
            requests: Bucket::restore(reader)?,
            sent_through: Seq(reader.u64()?),
            confirmed: Seq(reader.u64()?),
            mail_left: flag(reader)?,
            monitoring: match flag(reader)? {
                true => Some(Box::new(Monitoring::restore(reader, place)?)),
                false => None,
            },
            untold: match flag(reader)? {
                true => Some(Box::new(Untold::restore(reader)?)),
                false => None,
            },
        }))
    } else {
        None
    };
    let peer = Peer {
        address,
        kind,
        stage,
        extensions,
        session,
        sessionless_since,
        arrival,
        unacknowledged,
        emitted,
        queued_from: 0,
        queued_turn: 0,
        in_line: None,
    };
    Ok((peer, presence))
}

pub(super) fn expect(holds: bool) -> Result<(), KeptError> {
    if holds { Ok(()) } else { Err(KeptError::Nonsense) }
}

pub(super) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
}

/// A count and so many items. Memory grows with what is there, not with what the count says.
pub(super) fn list<T>(
    reader: &mut Reader<'_>,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, KeptError>,
) -> Result<Vec<T>, KeptError> {
    let mut items = Vec::new();
    for _ in 0..reader.u32()? {
        items.push(item(reader)?);
    }
    Ok(items)
}

/// A number that is counted up.
pub(super) fn count(reader: &mut Reader<'_>) -> Result<u64, KeptError> {
    let count = reader.u64()?;
    if count < COUNT_MAX { Ok(count) } else { Err(KeptError::Layout) }
}

pub(super) fn flag(reader: &mut Reader<'_>) -> Result<bool, KeptError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(KeptError::Layout),
    }
}

pub(super) fn number(reader: &mut Reader<'_>) -> Result<ServiceNumber, KeptError> {
    Ok(ServiceNumber(reader.u32()?))
}

pub(super) fn put_connection(out: &mut Vec<u8>, connection: ConnectionId) {
    put_count(out, connection.0);
}

pub(super) fn connection(reader: &mut Reader<'_>) -> Result<ConnectionId, KeptError> {
    let id = usize::try_from(reader.u32()?).ok().filter(|id| *id < CONNECTIONS_MAX);
    id.map(ConnectionId).ok_or(KeptError::Layout)
}
