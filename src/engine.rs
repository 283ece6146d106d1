//! Sessions and turns without IO: connections, packets, ends, times and password verdicts go in; events,
//! replies and closes come out. The same inputs always give the same outputs.
//!
//! ```text
//! begin_turn ─► handle_* … ─► handle_step ─► poll_password_job, handle_checkpoint, poll_outbox, poll_resumed
//! ```
//!
//! The engine reads no clock and no socket, and writes no file: events go to the [`Host`], which must
//! have them on disk before it lets the [`Outbox`] go. It never hands out a packet's password but in a
//! [`PasswordJob`].

mod agreement;
mod extensions;
mod foretold;
mod input;
mod kept;
mod line;
mod listing;
mod login;
mod mail;
mod monitoring;
mod outbox;
mod peer;
mod renewal;
mod requests;
mod throttle;
mod transfers;
mod untold;
mod view;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::ops::Range;

pub use agreement::{Contradiction, Whose};
pub use foretold::{Foregone, Foretold};
pub use input::{HeldInput, Input};
pub use kept::KeptError;
pub use line::Ticket;
pub use login::{Outcome, PasswordJob, Task, Verdict};
pub use outbox::{Mark, Outbox, Output};
pub use view::{ConnectionView, WaitsFor};

use crate::codec::charset::Charset;
use crate::id::{ConnectionId, MonoMillis, Now, Place, Seq, ServiceNumber, UnixMillis};
use crate::limits;
use crate::state::decide::Refusal;
use crate::state::decide::messages::MailboxLimits;
use crate::state::{Event, EventKind, Posted, Stamp, State};
use crate::wire::server::{Extensions, Presence, Sign, SystemKind};
use crate::wire::{
    ClientPacket, Expected, Frame, FrameError, Kind, Notice, Request, RequestType, ServerPacket,
};
use line::Line;
use login::Passwords;
use mail::{Encoded, Text};
use peer::{MakesRoom, Peer, Session, Sessions, Stage};
use throttle::{ConnectionGuard, Guard, Rate};
use transfers::Transfers;
use words::{Ending, Sentence, Violation};

/// What the server was told at its start. Protocol section 7.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The charset of all strings.
    pub charset: Charset,
    /// Whether new users are taken.
    pub registration_open: bool,
    /// Who may monitor.
    pub operators: BTreeSet<ServiceNumber>,
    /// Which number is which service program.
    pub services: BTreeMap<Kind, ServiceNumber>,
    /// Connections at the same time.
    pub max_connections: usize,
    /// Failed logins a minute, for a number or an address; 0: no limit, here and below.
    pub login_failures: u32,
    /// Registrations a minute from an address.
    pub registrations: u32,
    /// Connections a minute from an address.
    pub connections: u32,
    /// Requests of a session a second.
    pub requests_per_second: u32,
    /// Requests of a session at once.
    pub requests_burst: u32,
    /// Undelivered messages of a user.
    pub mailbox_messages: u32,
    /// Text of a user's undelivered messages, in bytes.
    pub mailbox_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            charset: Charset::Utf8,
            registration_open: true,
            operators: BTreeSet::new(),
            services: BTreeMap::new(),
            max_connections: usize::MAX,
            login_failures: limits::LOGIN_FAILURES,
            registrations: limits::REGISTRATIONS,
            connections: limits::CONNECTIONS,
            requests_per_second: limits::REQUESTS_PER_SECOND,
            requests_burst: limits::REQUESTS_BURST,
            mailbox_messages: limits::MAILBOX_MESSAGES,
            mailbox_bytes: limits::MAILBOX_BYTES,
        }
    }
}

impl Settings {
    const fn mailbox_limits(&self) -> MailboxLimits {
        MailboxLimits { messages: self.mailbox_messages, bytes: self.mailbox_bytes }
    }
}

/// There is no room for another event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StorageFull;

/// What the engine needs of its surroundings while it handles an input.
pub trait Host {
    /// Adds an event to the open batch. Where there is no room for it, nothing has changed.
    fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull>;

    /// Appends `length` bytes of an earlier event's payload to `out`; those of the open batch included.
    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>);

    /// How many bytes of all output of a connection its other end has acknowledged.
    fn acknowledged(&mut self, connection: ConnectionId) -> u64;

    /// How many bytes of output, this turn's apart, wait for a connection to take them.
    fn waiting(&mut self, connection: ConnectionId) -> usize;
}

/// For what a connection has been too slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overdue {
    /// No login came in time.
    Login,
    /// Nothing came for too long.
    Idle,
    /// It takes nothing of what waits for it.
    Slow,
}

/// The state machine of the whole server.
pub struct Engine {
    settings: Settings,
    request_rate: Rate,
    state: State,
    now: Now,
    turn: u64,
    /// Whether this turn has made a change.
    changed: bool,
    /// Messages that this turn has posted, and looks at who is told of a friend's state.
    posted_count: usize,
    peers: Vec<Option<Peer>>,
    live_peers: usize,
    /// Connections without a session, in the order in which they make room for others.
    without_session: BTreeMap<MakesRoom, ConnectionId>,
    arrivals: u64,
    sessions: Sessions,
    transfers: Transfers,
    searches: VecDeque<ConnectionId>,
    /// Connections that friend lists are being made for, or will be.
    listings: VecDeque<ConnectionId>,
    /// Those who are told in turns to come what was said to very many.
    line: Line,
    passwords: Passwords,
    login_failures: Guard,
    registrations: Guard,
    connections: ConnectionGuard,
    /// What has been acknowledged and is not yet in the log.
    receipts: BTreeMap<ServiceNumber, Seq>,
    receipts_since: MonoMillis,
    /// Sessions that have ended before all their messages were acknowledged, on connections that live.
    late: BTreeSet<(ServiceNumber, ConnectionId)>,
    /// Who is told how its friends are seen.
    presence_sessions: BTreeSet<ServiceNumber>,
    /// How those were seen before this input that may now be seen otherwise.
    presence_before: BTreeMap<ServiceNumber, Presence>,
    /// The last change that the packet at hand has made, be it at once or after a password.
    last_change: Seq,
    /// The last event that told the state's digest, in this run or before it. A state that was restored from a
    /// base no longer knows.
    last_digest: Seq,
    /// Operators whose monitoring has ended while there was no room in the log to say so.
    monitoring_ends: BTreeSet<ServiceNumber>,
    /// What the next search comes to, in a replay without profiles.
    foretold: Option<Box<Foretold>>,
    outbox: Outbox,
    resumed: Vec<ConnectionId>,
    /// Buffers that are used again and again.
    payload: Vec<u8>,
    posted: Vec<Posted>,
    left_out: Vec<u8>,
}

impl Engine {
    /// An engine on a state that has been rebuilt from the log. Everybody is offline.
    #[must_use]
    pub fn new(settings: Settings, state: State) -> Self {
        Self {
            request_rate: Rate::per_second(settings.requests_per_second, settings.requests_burst),
            login_failures: Guard::new(settings.login_failures),
            registrations: Guard::new(settings.registrations),
            connections: ConnectionGuard::new(settings.connections),
            // Who monitored when the server ended does so no more.
            monitoring_ends: state.operators().collect(),
            last_digest: state.last_digest(),
            settings,
            state,
            now: Now::default(),
            turn: 0,
            changed: false,
            posted_count: 0,
            peers: Vec::new(),
            live_peers: 0,
            without_session: BTreeMap::new(),
            arrivals: 0,
            sessions: Sessions::default(),
            transfers: Transfers::default(),
            searches: VecDeque::new(),
            listings: VecDeque::new(),
            line: Line::default(),
            passwords: Passwords::default(),
            receipts: BTreeMap::new(),
            receipts_since: MonoMillis::default(),
            late: BTreeSet::new(),
            presence_sessions: BTreeSet::new(),
            presence_before: BTreeMap::new(),
            last_change: Seq::ZERO,
            foretold: None,
            outbox: Outbox::default(),
            resumed: Vec::new(),
            payload: Vec::new(),
            posted: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// The state that all events so far have made.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// A record of a kept state can be read at `place`: see [`State::relocate`].
    pub fn relocate(&mut self, kind: u8, payload: &[u8], place: Place) {
        self.state.relocate(kind, payload, place);
    }

    /// Begins a turn. Its time must not lie before that of any turn or event before.
    pub fn begin_turn(&mut self, now: Now) {
        debug_assert!(now.mono >= self.now.mono, "time does not run backwards");
        self.now = now;
        self.turn += 1;
        self.changed = false;
        self.posted_count = 0;
    }

    /// A connection has been opened. The caller chooses its id, which no living connection has.
    pub fn handle_connect(
        &mut self,
        connection: ConnectionId,
        address: IpAddr,
        host: &mut impl Host,
    ) {
        if connection.0 >= self.peers.len() {
            self.peers.resize_with(connection.0 + 1, || None);
        }
        self.arrivals += 1;
        let peer = Peer {
            address,
            kind: None,
            stage: Stage::Ready,
            extensions: Extensions::default(),
            session: None,
            sessionless_since: self.now.mono,
            arrival: self.arrivals,
            unacknowledged: VecDeque::new(),
            emitted: 0,
            queued_from: 0,
            queued_turn: 0,
            in_line: None,
        };
        self.live_peers += 1;
        self.without_session.insert(peer.makes_room(), connection);
        self.peers[connection.0] = Some(peer);
        if let Err(wait_ms) = self.connections.check(address, self.now.mono) {
            self.end_connection(connection, 0, Ending::TooFast(wait_ms), host);
        } else if self.live_peers > self.settings.max_connections {
            let holds = self.settings.max_connections;
            let first = self.without_session.first_key_value().map(|(_, first)| *first);
            match first.filter(|first| *first != connection) {
                Some(first) => self.end_connection(first, 0, Ending::MadeRoom(holds), host),
                None => self.end_connection(connection, 0, Ending::Full(holds), host),
            }
        }
        self.emit_presence(host);
    }

    /// What the header of a connection's next packet has to keep to.
    #[must_use]
    pub fn expected(&self, connection: ConnectionId) -> Expected {
        let peer = self.peer(connection);
        let in_session = peer.is_some_and(|peer| peer.session.is_some());
        Expected {
            kind: peer.and_then(|peer| peer.kind),
            content_bytes_max: if in_session {
                limits::CONTENT_BYTES_IN_SESSION
            } else {
                limits::CONTENT_BYTES_BEFORE_LOGIN
            },
        }
    }

    /// Whether a connection's next packet may be handed in. It may not while the one before waits for a
    /// password, a search, a friend list or room for mail, nor once the connection is closing.
    #[must_use]
    pub fn is_ready(&self, connection: ConnectionId) -> bool {
        self.peer(connection).is_some_and(|peer| matches!(peer.stage, Stage::Ready))
    }

    /// Whether the engine has closed a connection: nothing more is read from it.
    #[must_use]
    pub fn is_closing(&self, connection: ConnectionId) -> bool {
        self.peer(connection).is_some_and(Peer::is_closing)
    }

    /// Whether waiting mail, what is monitored, or what others did is still to be sent, once there is room for it.
    #[must_use]
    pub fn wants_room(&self, connection: ConnectionId) -> bool {
        self.peer(connection).is_some_and(|peer| matches!(peer.stage, Stage::Mail))
            || self.has_monitored(connection)
            || self.has_untold(connection)
    }

    /// Since when a connection has been without a session, for the login timeout; `None` in a session
    /// and while a login or a registration is being checked.
    #[must_use]
    pub fn sessionless_since(&self, connection: ConnectionId) -> Option<MonoMillis> {
        self.peer(connection)
            .filter(|peer| peer.session.is_none() && matches!(peer.stage, Stage::Ready))
            .map(|peer| peer.sessionless_since)
    }

    /// The output for a connection that stands in this turn's outbox, in bytes.
    #[must_use]
    pub fn queued(&self, connection: ConnectionId) -> usize {
        self.peer(connection).filter(|peer| peer.queued_turn == self.turn).map_or(0, |peer| {
            usize::try_from(peer.emitted - peer.queued_from).unwrap_or(usize::MAX)
        })
    }

    /// How many messages this turn has posted so far, and how many were looked at to be told of a friend's
    /// state: a broadcast is as much work as it has receivers.
    #[must_use]
    pub const fn posted(&self) -> usize {
        self.posted_count
    }

    /// A packet has come from a connection that is ready.
    pub fn handle_packet(
        &mut self,
        connection: ConnectionId,
        frame: Frame<'_>,
        host: &mut impl Host,
    ) {
        debug_assert!(self.is_ready(connection), "only a ready connection's packets are handed in");
        self.last_change = Seq::ZERO;
        self.answer_packet(connection, &frame, host);
        self.emit_presence(host);
    }

    fn answer_packet(&mut self, connection: ConnectionId, frame: &Frame<'_>, host: &mut impl Host) {
        let Some(peer) = self.peer_mut(connection) else { return };
        peer.kind = Some(frame.header.kind);
        let number = peer.session.as_ref().map(|session| session.number);
        let has_ids = peer.extensions.have(Extensions::MESSAGE_IDS);
        let byte = frame.header.packet_type;
        let known = RequestType::from_byte(byte);
        let Some(packet_type) = known.filter(|it| *it != RequestType::Arrived || has_ids) else {
            let unknown = Refusal::UnknownType(byte);
            let refusal = self.take_request(connection).err().unwrap_or(unknown);
            return self.refuse(connection, byte, None, &refusal);
        };
        let violation = match ClientPacket::decode(packet_type, frame.content) {
            _ if packet_type.needs_session() && number.is_none() => Violation::NotLoggedIn,
            Err(_) => Violation::Content,
            Ok(packet) if !is_own(packet_type, packet.own, number) => Violation::WrongNumber,
            Ok(packet) => {
                match self.dispatch(connection, &packet, host) {
                    Ok(Answered::No) => self.answer_done(connection, byte),
                    Ok(Answered::Yes) => {}
                    Err(refusal) => {
                        let granted = self.extensions(connection).sum();
                        let reply = requests::failure_reply(&packet.request, granted);
                        self.refuse(connection, byte, reply.as_ref(), &refusal);
                    }
                }
                return;
            }
        };
        self.violated(connection, byte, violation, host);
    }

    fn dispatch(
        &mut self,
        connection: ConnectionId,
        packet: &ClientPacket<'_>,
        host: &mut impl Host,
    ) -> Result<Answered, Refusal> {
        if !matches!(packet.request, Request::FilePiece { .. }) {
            self.take_request(connection)?;
        }
        self.request(connection, packet.own, &packet.request, host)
    }

    /// Takes a request out of what a session may ask for.
    fn take_request(&mut self, connection: ConnectionId) -> Result<(), Refusal> {
        let (now, rate) = (self.now.mono, self.request_rate);
        if self.settings.requests_per_second > 0
            && let Some(session) = self.session_mut(connection)
        {
            let taken = session.requests.take(rate, now);
            taken.map_err(|wait_ms| Refusal::Throttled { wait_ms })?;
        }
        Ok(())
    }

    /// What came from a connection cannot be a packet.
    pub fn handle_frame_error(
        &mut self,
        connection: ConnectionId,
        error: FrameError,
        host: &mut impl Host,
    ) {
        let mut byte = 0;
        if let FrameError::TooLarge { kind, packet_type, .. } = error {
            byte = packet_type;
            if let Some(peer) = self.peer_mut(connection) {
                peer.kind = Some(kind);
            }
        }
        self.violated(connection, byte, Violation::Frame(error), host);
        self.emit_presence(host);
    }

    fn violated(
        &mut self,
        connection: ConnectionId,
        packet_type: u8,
        violation: Violation,
        host: &mut impl Host,
    ) {
        if matches!(violation, Violation::Frame(FrameError::FirstByte(_))) {
            self.notify(connection, packet_type, violation.code(), violation);
        } else {
            self.answer_failed(connection, packet_type, violation.code(), violation);
        }
        self.close(connection, host);
    }

    /// A connection has ended. Its id may be used again afterwards.
    pub fn handle_end(&mut self, connection: ConnectionId, host: &mut impl Host) {
        self.forget_password(connection);
        self.end_session(connection, host);
        let Some(peer) = self.peers.get_mut(connection.0).and_then(Option::take) else { return };
        self.without_session.remove(&peer.makes_room());
        for message in &peer.unacknowledged {
            self.late.remove(&(message.to, connection));
        }
        if !peer.is_closing() {
            self.live_peers -= 1;
        }
        self.emit_presence(host);
    }

    /// A connection has been too slow, and is closed.
    pub fn handle_overdue(
        &mut self,
        connection: ConnectionId,
        overdue: Overdue,
        host: &mut impl Host,
    ) {
        let ending = match overdue {
            Overdue::Login => Ending::Login,
            Overdue::Idle => Ending::Idle,
            Overdue::Slow => Ending::Slow,
        };
        self.end_connection(connection, 0, ending, host);
        self.emit_presence(host);
    }

    /// A connection has room for more of what waits for it.
    pub fn handle_room(&mut self, connection: ConnectionId, host: &mut impl Host) {
        self.send_waiting(connection, &mut Encoded::default(), host);
        self.emit_presence(host);
    }

    /// Sends the next stretch of all that waits for a connection.
    fn send_waiting(
        &mut self,
        connection: ConnectionId,
        encoded: &mut Encoded,
        host: &mut impl Host,
    ) {
        self.send_untold(connection);
        self.send_monitored(connection, host);
        let has_mail = self.peer(connection).is_some_and(|peer| matches!(peer.stage, Stage::Mail));
        // No message overtakes how its sender is seen.
        if has_mail && !self.has_untold(connection) {
            self.send_mail(connection, encoded, host);
        }
    }

    /// Ends a turn's inputs: slices of a search, of a long friend list and of what is said to very many, and what is to
    /// be written along with the turn's changes or has waited long enough.
    pub fn handle_step(&mut self, host: &mut impl Host) {
        self.advance_search();
        self.advance_listing(host);
        self.advance_line(host);
        if self.changed || self.may_write_deliveries() {
            self.flush_deliveries(host);
        }
        while let Some(&operator) = self.monitoring_ends.first() {
            if self.end_monitoring(operator, host).is_err() {
                break;
            }
        }
    }

    /// The log is at a point from which it may be read later: the state's digest is written down, for every
    /// replay to compare, unless nothing has happened since the last one. Where there is no room for it, it is
    /// left out.
    pub fn handle_checkpoint(&mut self, host: &mut impl Host) {
        if self.state.last_seq() > self.last_digest {
            let digest = self.state.running_digest();
            if self.record(&Event::StateDigest { digest }, host).is_ok() {
                self.last_digest = self.state.last_seq();
            }
        }
    }

    /// The server is stopping: everybody is told, and closed.
    pub fn handle_shutdown(&mut self, host: &mut impl Host) {
        for id in 0..self.peers.len() {
            self.end_connection(ConnectionId(id), 0, Ending::Shutdown, host);
        }
        // Everybody is closed: there is nobody left to tell.
        self.presence_before.clear();
    }

    /// Whether there is work that waits for nothing: a search, a long friend list, or what is said to very many.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.searches.is_empty() || !self.listings.is_empty() || !self.line.is_empty()
    }

    /// When [`Self::handle_step`] is wanted at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoMillis> {
        self.receipts_deadline()
    }

    /// All output so far; to be read and cleared once what it tells of is on disk.
    pub fn poll_outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Lets go of memory that is kept for connections that are no longer there. It changes nothing.
    pub fn let_go(&mut self) {
        while self.peers.pop_if(|peer| peer.is_none()).is_some() {}
        self.peers.shrink_to_fit();
        self.searches.shrink_to_fit();
        self.listings.shrink_to_fit();
        self.line.let_go();
        self.resumed.shrink_to_fit();
        self.posted.shrink_to_fit();
        self.payload = Vec::new();
        self.left_out = Vec::new();
        self.outbox.let_go();
    }

    /// A connection that was not ready and now is. It may have ended, or be closing, since.
    pub fn poll_resumed(&mut self) -> Option<ConnectionId> {
        self.resumed.pop()
    }

    fn peer(&self, connection: ConnectionId) -> Option<&Peer> {
        self.peers.get(connection.0)?.as_ref()
    }

    fn peer_mut(&mut self, connection: ConnectionId) -> Option<&mut Peer> {
        self.peers.get_mut(connection.0)?.as_mut()
    }

    fn session(&self, connection: ConnectionId) -> Option<&Session> {
        self.peer(connection)?.session.as_deref()
    }

    fn session_mut(&mut self, connection: ConnectionId) -> Option<&mut Session> {
        self.peer_mut(connection)?.session.as_deref_mut()
    }

    /// Writes an event, applies it, and sends what it posts.
    fn record(&mut self, event: &Event<'_>, host: &mut impl Host) -> Result<(), Refusal> {
        self.payload.clear();
        event.encode(&mut self.payload);
        let (seq, place) = host
            .append(self.now.wall, event.kind() as u8, &self.payload)
            .map_err(|StorageFull| Refusal::StorageFull)?;
        self.changed = true;
        let mut posted = std::mem::take(&mut self.posted);
        let stamp = Stamp { seq, time: self.now.wall, place };
        self.state
            .apply(stamp, event, &mut |message| posted.push(message))
            .expect("the event was decided on this very state");
        let text = match *event {
            Event::MessageSent { content, .. } | Event::MessageBroadcast { content, .. } => content,
            Event::FriendRequested { reason, .. } => reason,
            _ => b"",
        };
        self.posted_count += posted.len();
        let text = Text { bytes: text, seq, place: place.offset(event.text_offset()) };
        self.emit_posted(text, &posted, host);
        posted.clear();
        self.posted = posted;
        if let Event::FriendAdded { owner, friend, .. } = *event {
            self.tell_new_friend(owner, friend, host);
        }
        let is_asked_for = !matches!(
            event.kind(),
            EventKind::Delivered | EventKind::StateDigest | EventKind::PasswordRehashed
        );
        if is_asked_for {
            // An operator that could not be shown the message, and is closed, is not what was asked for.
            self.last_change = seq;
        }
        Ok(())
    }

    fn send(&mut self, to: ConnectionId, packet: &ServerPacket<'_>) {
        let Some(kind) = self.peer(to).map(Peer::kind) else { return };
        let range = self.outbox.encode(kind, packet);
        self.push(to, range);
    }

    fn push(&mut self, to: ConnectionId, packet: Range<usize>) {
        let turn = self.turn;
        let Some(peer) = self.peer_mut(to).filter(|peer| !peer.is_closing()) else { return };
        if peer.queued_turn != turn {
            (peer.queued_turn, peer.queued_from) = (turn, peer.emitted);
        }
        peer.emitted += packet.len() as u64;
        self.outbox.send(to, packet);
    }

    /// The failure reply, where the request has one, and why.
    fn refuse(
        &mut self,
        connection: ConnectionId,
        packet_type: u8,
        reply: Option<&ServerPacket<'_>>,
        refusal: &Refusal,
    ) {
        if let Some(reply) = reply {
            self.send(connection, reply);
        }
        self.answer_failed(connection, packet_type, words::code(refusal), Sentence(refusal));
    }

    /// Something has come to an end that no packet of this connection has ended.
    fn tell_ended(&mut self, connection: ConnectionId, refusal: &Refusal) {
        self.notify(connection, 0, words::code(refusal), Sentence(refusal));
    }

    fn notify(
        &mut self,
        connection: ConnectionId,
        packet_type: u8,
        code: crate::wire::Code,
        sentence: impl std::fmt::Display,
    ) {
        let mut text = Vec::new();
        Notice::write(packet_type, code, sentence, &mut text);
        let sign = Sign::System(SystemKind::Notice);
        let number = ServiceNumber::NONE;
        self.send(connection, &ServerPacket::Message { sign, number, text: &text });
    }

    fn end_connection(
        &mut self,
        connection: ConnectionId,
        packet_type: u8,
        ending: Ending,
        host: &mut impl Host,
    ) {
        if self.peer(connection).is_some_and(|peer| !peer.is_closing()) {
            self.notify(connection, packet_type, ending.code(), ending);
            self.close(connection, host);
        }
    }

    fn close(&mut self, connection: ConnectionId, host: &mut impl Host) {
        self.forget_password(connection);
        self.end_session(connection, host);
        let Some(peer) = self.peer_mut(connection).filter(|peer| !peer.is_closing()) else {
            return;
        };
        let place = peer.makes_room();
        peer.stage = Stage::Closing;
        self.without_session.remove(&place);
        self.live_peers -= 1;
        self.outbox.close(connection);
    }

    /// Ends a session, if there is one: its transfers and its monitoring end with it.
    fn end_session(&mut self, connection: ConnectionId, host: &mut impl Host) {
        self.look_at_acknowledged(connection, host);
        self.arrivals += 1;
        let (now, arrival) = (self.now.mono, self.arrivals);
        let Some(peer) = self.peer_mut(connection) else { return };
        let Some(session) = peer.session.take() else { return };
        peer.sessionless_since = now;
        peer.arrival = arrival;
        if !matches!(peer.stage, Stage::Closing) {
            peer.stage = Stage::Ready;
        }
        let place = peer.makes_room();
        let number = session.number;
        // What is left may be of other users' sessions alone.
        if peer.unacknowledged.iter().any(|left| left.to == number) {
            self.late.insert((number, connection));
        }
        self.without_session.insert(place, connection);
        self.show_as(number, Presence::Offline);
        self.sessions.end(number);
        self.presence_sessions.remove(&number);
        for other in self.transfers.end_all(number) {
            if let Some(other) = self.sessions.get(other) {
                self.tell_transfer_ended(other, number, host);
            }
        }
        // It goes on the list of what is left to do, where there is no room for it.
        let _ = self.end_monitoring(number, host);
    }
}

/// Whether a packet has got its result already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answered {
    Yes,
    No,
}

/// Whether a packet carries the number that it must. Protocol section 3.
fn is_own(packet_type: RequestType, own: ServiceNumber, session: Option<ServiceNumber>) -> bool {
    match packet_type {
        RequestType::LogIn | RequestType::Register | RequestType::WantExtensions => true,
        _ => own == session.unwrap_or(ServiceNumber::NONE),
    }
}
