//! Whether all that the engine knows beside the state agrees with itself and with the state, between two inputs.
//!
//! Owns the list of what must agree. It looks and changes nothing, and no server asks for it: tests and replays do,
//! since it costs a pass over all connections and all that waits for those who are in session.

use std::collections::BTreeSet;
use std::fmt;

use super::Engine;
use super::peer::{Peer, Session, Stage};
use crate::id::{ConnectionId, ServiceNumber};
use crate::wire::server::{Extensions, Presence};

/// What does not agree, and whose it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// Whose.
    pub of: Whose,
    /// What does not hold.
    pub what: &'static str,
}

/// Whose something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// The whole server's.
    Server,
    /// A connection's.
    Connection(ConnectionId),
    /// A user's.
    User(ServiceNumber),
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Whose::Server => f.write_str("the server")?,
            Whose::Connection(connection) => write!(f, "connection {connection}")?,
            Whose::User(user) => write!(f, "user {user}")?,
        }
        write!(f, ": {}", self.what)
    }
}

/// What does not agree, or nothing.
type Agreed = Result<(), Contradiction>;

fn expect(holds: bool, of: Whose, what: &'static str) -> Agreed {
    if holds { Ok(()) } else { Err(Contradiction { of, what }) }
}

impl Engine {
    /// The first contradiction in what is known beside the state, if there is one. To be asked for between two
    /// inputs. Whether the state agrees with itself is [another question](crate::state::State::find_contradiction).
    #[must_use]
    pub fn find_contradiction(&self) -> Option<Contradiction> {
        self.check().err()
    }

    fn check(&self) -> Agreed {
        self.check_server()?;
        let peers = self.peers.iter().enumerate();
        for (id, peer) in peers.filter_map(|(id, peer)| Some((ConnectionId(id), peer.as_ref()?))) {
            self.check_peer(id, peer)?;
            self.check_stage(id, peer)?;
            if let Some(session) = &peer.session {
                self.check_session(id, peer, session)?;
                self.check_mail(id, peer, session)?;
            }
        }
        self.check_users()?;
        self.check_monitoring()
    }

    fn check_server(&self) -> Agreed {
        let server = |holds, what| expect(holds, Whose::Server, what);
        let live = || self.peers.iter().flatten().filter(|peer| !peer.is_closing());
        server(self.live_peers == live().count(), "living connections are miscounted")?;
        let without = live().filter(|peer| peer.session.is_none()).count();
        server(self.without_session.len() == without, "more are listed as without a session")?;
        server(self.presence_before.is_empty(), "friends are still to be told of a presence")?;
        let last_seq = self.state.last_seq();
        server(self.last_change <= last_seq, "the last change is still to come")?;
        let digests = self.state.last_digest()..=last_seq;
        server(digests.contains(&self.last_digest), "the last digest is not the state's")?;
        server(
            self.passwords.are_in_order(),
            "passwords do not wait in the order of their tickets",
        )?;
        let renews = self.passwords.renews_for(|number| self.state.user(number).is_some());
        server(renews, "a hash is to be made anew of nobody's password")?;
        server(self.login_failures.agrees(), "failed logins are not remembered as they are found")?;
        server(self.registrations.agrees(), "registrations are not remembered as they are found")?;
        server(self.connections.agrees(), "addresses are not remembered as they are found")?;
        let since = self.receipts.is_empty() || self.receipts_since <= self.now.mono;
        server(since, "deliveries wait since a time to come")
    }

    fn check_peer(&self, id: ConnectionId, peer: &Peer) -> Agreed {
        let of = |holds, what| expect(holds, Whose::Connection(id), what);
        let is_without = peer.session.is_none() && !peer.is_closing();
        let listed = self.without_session.get(&peer.makes_room()) == Some(&id);
        of(listed == is_without, "it is listed as without a session, or should be")?;
        of(peer.arrival <= self.arrivals, "it has arrived later than the last one")?;
        let queued = peer.queued_turn <= self.turn && peer.queued_from <= peer.emitted;
        of(queued, "its output began in a turn to come")?;
        let in_line = peer.in_line.is_none_or(|ticket| self.line.contains(id, ticket));
        of(in_line, "it waits in a line that it is not in")?;
        let sent = &peer.unacknowledged;
        let ordered = sent.iter().is_sorted_by(|one, next| one.end < next.end);
        of(ordered, "what was sent to it is not in order")?;
        of(
            sent.back().is_none_or(|it| it.end <= peer.emitted),
            "it was sent more than was emitted",
        )?;
        for message in sent {
            let is_there = self.state.user(message.to).is_some();
            of(is_there && message.seq <= self.state.last_seq(), "it was sent what nobody wrote")?;
            let own = peer.session.as_ref().is_some_and(|session| session.number == message.to);
            let late = self.late.contains(&(message.to, id));
            of(own || late, "an earlier session's messages are not looked after")?;
        }
        Ok(())
    }

    /// What a connection's next packet waits for will come.
    fn check_stage(&self, id: ConnectionId, peer: &Peer) -> Agreed {
        let of = |holds, what| expect(holds, Whose::Connection(id), what);
        let session = peer.session.as_ref().map(|session| session.number);
        match peer.stage {
            Stage::Ready => Ok(()),
            Stage::Password(ticket) => {
                of(self.passwords.will_come(ticket, id, session), "its password is not looked at")
            }
            Stage::Search(_) | Stage::Foregone(_) => {
                of(session.is_some(), "it searches without a session")?;
                of(self.searches.contains(&id), "its search does not go on")
            }
            Stage::Listing(ref listing) => {
                let is_there = self.state.user(listing.number).is_some();
                of(
                    session.is_none() && is_there,
                    "it is in session before its friends are listed",
                )?;
                of(self.listings.contains(&id), "the list of its friends does not go on")
            }
            Stage::Mail => of(session.is_some(), "it waits for mail without a session"),
            Stage::Closing => of(session.is_none(), "it is closing, and in a session"),
        }
    }

    fn check_session(&self, id: ConnectionId, peer: &Peer, session: &Session) -> Agreed {
        let of = |holds, what| expect(holds, Whose::User(session.number), what);
        of(self.state.user(session.number).is_some(), "it is in session, and not there")?;
        let connection = self.sessions.get(session.number);
        of(connection == Some(id), "it is in session on another connection")?;
        let told = self.presence_sessions.contains(&session.number);
        let asked = peer.extensions.have(Extensions::PRESENCE);
        of(told == asked, "it is told of presence, or should be")?;
        let last = self.state.last_seq();
        let sent = session.confirmed <= session.sent_through && session.sent_through <= last;
        of(sent, "it has confirmed what was not sent, or got what was not written")?;
        let busy = matches!(peer.stage, Stage::Password(_) | Stage::Search(_) | Stage::Foregone(_));
        of(busy || !session.mail_left, "mail was left to a wait that is over")
    }

    /// Every message that waits for a session is on its way: it is still to be sent, and that is known, or it was
    /// sent, and its delivery is known or waited for.
    fn check_mail(&self, id: ConnectionId, peer: &Peer, session: &Session) -> Agreed {
        let number = session.number;
        let of = |holds, what| expect(holds, Whose::User(number), what);
        let Some(user) = self.state.user(number) else { return Ok(()) };
        let is_sending = matches!(peer.stage, Stage::Mail) || session.mail_left;
        let receipt = self.receipts.get(&number).copied().unwrap_or_default();
        let sent = peer.unacknowledged.iter().filter(|sent| sent.to == number);
        let sent: BTreeSet<_> = sent.map(|sent| sent.seq).collect();
        let has_ids = self.extensions(id).have(Extensions::MESSAGE_IDS);
        for (seq, _) in user.mailbox().iter() {
            if seq > session.sent_through {
                of(is_sending, "a message waits, and is not sent")?;
            } else if has_ids {
                of(seq <= receipt || seq > session.confirmed, "what was confirmed is forgotten")?;
            } else {
                of(seq <= receipt || sent.contains(&seq), "what was sent is not looked after")?;
            }
        }
        Ok(())
    }

    fn check_users(&self) -> Agreed {
        let of = |holds, user, what| expect(holds, Whose::User(user), what);
        for (user, connection) in self.sessions.all() {
            let session = self.session(connection).is_some_and(|session| session.number == user);
            of(session, user, "it is found in a session that is over")?;
        }
        for (user, presence) in self.sessions.all_visible() {
            let is_shown = self.sessions.get(user).is_some() && presence != Presence::Offline;
            of(is_shown, user, "it is seen without a session")?;
        }
        for user in &self.presence_sessions {
            of(self.sessions.get(*user).is_some(), *user, "it is told of presence when away")?;
        }
        for (user, through) in &self.receipts {
            let is_there = self.state.user(*user).is_some();
            let has_been = is_there && *through <= self.state.last_seq();
            of(has_been, *user, "something was delivered that was not written")?;
        }
        for (user, connection) in &self.late {
            let mut sent = self.peer(*connection).into_iter().flat_map(|it| &it.unacknowledged);
            of(sent.any(|sent| sent.to == *user), *user, "it is late for nothing")?;
        }
        let odd = self.transfers.find_odd(|user| self.sessions.get(user).is_some());
        odd.map_or(Ok(()), |user| of(false, user, "a file transfer is none"))
    }

    /// Whoever monitors does so in a session that knows of it, or it is known that this is to end.
    fn check_monitoring(&self) -> Agreed {
        let of = |holds, user, what| expect(holds, Whose::User(user), what);
        let session = |user| self.sessions.get(user).and_then(|id| self.session(id));
        for operator in self.state.operators() {
            let watches = session(operator).is_some_and(|session| session.monitoring.is_some());
            let ends = self.monitoring_ends.contains(&operator);
            of(watches != ends, operator, "it monitors, and no session of its does")?;
        }
        for operator in &self.monitoring_ends {
            let monitors = self.state.watched_by(*operator).next().is_some();
            of(monitors, *operator, "the end of what it never monitored waits")?;
        }
        for (operator, _) in self.sessions.all() {
            let Some(session) = session(operator) else { continue };
            let Some(monitoring) = &session.monitoring else { continue };
            let monitors = self.state.watched_by(operator).next().is_some();
            of(monitors, operator, "its session monitors, and it does not")?;
            of(monitoring.agrees(&self.state), operator, "it is to be shown what nobody wrote")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::profile::Profile;
    use crate::codec::secret::Secret;
    use crate::engine::listing::Listing;
    use crate::engine::peer::{MakesRoom, Sent};
    use crate::engine::{Host, Outcome, Settings, StorageFull, Verdict};
    use crate::id::{GroupNumber, MonoMillis, Place, Seq, UnixMillis};
    use crate::state::{Authentication, Event, Stamp, State};
    use crate::wire::{ClientPacket, Expected, Kind, Request, cut};

    const ANN: ServiceNumber = ServiceNumber(10_001);
    const BEN: ServiceNumber = ServiceNumber(10_002);
    const CAY: ServiceNumber = ServiceNumber(10_003);
    const DEE: ServiceNumber = ServiceNumber(10_004);
    const NOBODY: ServiceNumber = ServiceNumber(10_005);

    /// A log of which nothing is read again, and connections that acknowledge nothing.
    struct Events(u64);

    impl Host for Events {
        fn append(&mut self, _: UnixMillis, _: u8, _: &[u8]) -> Result<(Seq, Place), StorageFull> {
            self.0 += 1;
            Ok((Seq(self.0), Place(0)))
        }

        fn read(&self, _: Place, _: u32, _: &mut Vec<u8>) {}

        fn acknowledged(&mut self, _: ConnectionId) -> u64 {
            0
        }

        fn waiting(&mut self, _: ConnectionId) -> usize {
            0
        }
    }

    fn state() -> State {
        let profile = Profile { nickname: b"ann", ..Profile::default() };
        let (authentication, password_hash) = (Authentication::Open, "$");
        let mut state = State::default();
        let register =
            |number| Event::Registered { number, authentication, password_hash, profile };
        let befriend =
            Event::FriendAdded { owner: ANN, friend: BEN, group: GroupNumber::FIRST, agreed: true };
        let delivered = crate::codec::packed::Receipts::pack([(ANN, Seq(5))]);
        let receipts = crate::codec::packed::Receipts::over(&delivered).unwrap();
        for event in [
            register(ANN),
            register(BEN),
            register(CAY),
            register(DEE),
            befriend,
            Event::Delivered { receipts },
        ] {
            let stamp =
                Stamp { seq: state.last_seq().next(), time: UnixMillis(1), place: Place(0) };
            state.apply(stamp, &event, &mut |_| ()).unwrap();
        }
        state
    }

    struct World {
        engine: Engine,
        events: Events,
    }

    impl World {
        fn ask(&mut self, connection: usize, own: ServiceNumber, request: Request<'_>) {
            let mut bytes = Vec::new();
            ClientPacket { own, request }.encode(Kind::User, &mut bytes);
            let any = Expected { kind: None, content_bytes_max: 1_000 };
            let frame = cut(&bytes, any).unwrap().unwrap();
            self.engine.handle_packet(ConnectionId(connection), frame, &mut self.events);
        }

        fn log_in(&mut self, connection: usize, own: ServiceNumber) {
            self.ask(connection, own, Request::LogIn { password: Secret::new(b"secret"), mode: 0 });
            let job = self.engine.poll_password_job().unwrap();
            let done = Verdict { ticket: job.ticket, outcome: Outcome::Matches(true) };
            self.engine.handle_verdict(done, &mut self.events);
        }
    }

    /// 0: ann, with a message that is on its way and a file that flows to ben. 1: ben, with all extensions and a
    /// message. 2: cay, who monitors ann. 3: dee, who searches. 4: a login. 5: nothing yet. 6: closed.
    fn engine() -> Engine {
        let settings = Settings { operators: [CAY].into(), ..Settings::default() };
        let mut world = World { engine: Engine::new(settings, state()), events: Events(6) };
        for id in 0..7 {
            let address = [192, 0, 2, 1].into();
            world.engine.handle_connect(ConnectionId(id), address, &mut world.events);
        }
        world.ask(1, BEN, Request::WantExtensions { wanted: 7 });
        for (id, number) in [ANN, BEN, CAY, DEE].into_iter().enumerate() {
            world.log_in(id, number);
        }
        world.ask(2, CAY, Request::Monitor { watched: ANN });
        world.ask(0, ANN, Request::Send { receiver: ANN, content: b"note" });
        world.ask(0, ANN, Request::Send { receiver: BEN, content: b"hello" });
        world.ask(0, ANN, Request::OfferFile { friend: BEN, name: b"f", length: 9 });
        world.ask(3, DEE, Request::Search { statement: b"SELECT * FROM users" });
        world.ask(4, DEE, Request::LogIn { password: Secret::new(b"secret"), mode: 0 });
        world.ask(6, ANN, Request::Test);
        assert_eq!(world.engine.find_contradiction(), None);
        world.engine
    }

    /// Changes an engine as no input does, and looks for what is then found.
    #[track_caller]
    fn finds(of: Whose, what: &str, change: impl FnOnce(&mut Engine)) {
        let mut engine = engine();
        change(&mut engine);
        let Some(found) = engine.find_contradiction() else { panic!("{what}: nothing is found") };
        assert!(found.of == of && found.what.contains(what), "{found}, but {of:?}: {what}");
    }

    #[track_caller]
    fn finds_peer(id: usize, what: &str, change: impl FnOnce(&mut Peer)) {
        let of = Whose::Connection(ConnectionId(id));
        finds(of, what, |engine| change(engine.peers[id].as_mut().unwrap()));
    }

    #[track_caller]
    fn finds_session(id: usize, user: ServiceNumber, what: &str, change: fn(&mut Session)) {
        finds(Whose::User(user), what, |engine| {
            change(engine.peers[id].as_mut().unwrap().session.as_mut().unwrap());
        });
    }

    #[test]
    fn what_is_counted_and_listed_of_the_server_is_compared() {
        let of = Whose::Server;
        finds(of, "miscounted", |it| it.live_peers += 1);
        finds(of, "listed as without", |it| {
            it.without_session.insert(MakesRoom::Later(99), ConnectionId(0));
        });
        finds(of, "to be told", |it| {
            it.presence_before.insert(ANN, Presence::Online);
        });
        finds(of, "last change", |it| it.last_change = Seq(99));
        finds(of, "last digest", |it| it.last_digest = Seq(99));
        finds(of, "time to come", |it| {
            it.receipts.insert(ANN, Seq(1));
            it.receipts_since = MonoMillis(1);
        });
    }

    #[test]
    fn what_is_known_of_a_connection_is_compared() {
        finds_peer(5, "without a session", |it| it.arrival = 98);
        finds_peer(0, "later than the last", |it| it.arrival = 99);
        finds_peer(0, "turn to come", |it| it.queued_turn = 1);
        finds_peer(0, "turn to come", |it| it.queued_from = it.emitted + 1);
        finds_peer(0, "in a line", |it| {
            it.in_line = Some(super::super::line::Line::default().end())
        });
        finds_peer(0, "not in order", |it| it.unacknowledged.extend(it.unacknowledged.clone()));
        finds_peer(0, "than was emitted", |it| it.emitted -= 1_000_000.min(it.emitted));
        finds_peer(0, "nobody wrote", |it| it.unacknowledged[0].seq = Seq(99));
        finds_peer(0, "nobody wrote", |it| it.unacknowledged[0].to = NOBODY);
        finds_peer(0, "not looked after", |it| it.unacknowledged[0].to = BEN);
        // Whoever waits for a password makes room later than it is listed to.
        finds_peer(5, "without a session", |it| it.stage = Stage::Password(5));
        finds_peer(0, "password", |it| it.stage = Stage::Password(5));
        finds_peer(4, "password", |it| it.stage = Stage::Password(99));
        finds_peer(5, "waits for mail", |it| it.stage = Stage::Mail);
        let listing = |number| Stage::Listing(Box::new(Listing::new(number, Presence::Online)));
        finds_peer(4, "friends does not go on", |it| it.stage = listing(ANN));
        finds_peer(4, "before its friends", |it| it.stage = listing(NOBODY));
        finds_peer(0, "before its friends", |it| it.stage = listing(ANN));
        finds(Whose::Connection(ConnectionId(3)), "does not go on", |it| it.searches.clear());
        finds(Whose::Connection(ConnectionId(5)), "without a session", |it| {
            it.peers[5].as_mut().unwrap().stage =
                std::mem::replace(&mut it.peers[3].as_mut().unwrap().stage, Stage::Ready);
        });
        finds(Whose::Connection(ConnectionId(0)), "in a session", |it| {
            it.peers[0].as_mut().unwrap().stage = Stage::Closing;
            it.live_peers -= 1;
        });
    }

    #[test]
    fn what_is_known_of_a_session_is_compared() {
        finds_session(2, NOBODY, "not there", |it| it.number = NOBODY);
        finds_session(2, DEE, "another connection", |it| it.number = DEE);
        finds_session(2, CAY, "not sent", |it| it.confirmed = Seq(9));
        finds_session(2, CAY, "not written", |it| it.sent_through = Seq(99));
        finds_session(2, CAY, "is over", |it| it.mail_left = true);
        finds_session(0, ANN, "is not sent", |it| it.sent_through = Seq(1));
        finds_session(1, BEN, "is forgotten", |it| it.confirmed = it.sent_through);
        finds_session(2, CAY, "no session of its does", |it| it.monitoring = None);
        finds_session(0, ANN, "and it does not", |it| it.monitoring = Some(Box::default()));
        finds(Whose::User(ANN), "not looked after", |it| {
            it.peers[0].as_mut().unwrap().unacknowledged.clear();
        });
        finds(Whose::User(BEN), "told of presence, or", |it| it.presence_sessions.clear());
        finds(Whose::User(ANN), "told of presence, or", |it| {
            it.presence_sessions.insert(ANN);
        });
    }

    #[test]
    fn what_is_known_of_users_is_compared() {
        finds(Whose::User(NOBODY), "session that is over", |it| {
            it.sessions.start(NOBODY, ConnectionId(5));
        });
        finds(Whose::User(NOBODY), "seen without", |it| {
            it.sessions.show(NOBODY, Presence::Online);
        });
        finds(Whose::User(NOBODY), "when away", |it| {
            it.presence_sessions.insert(NOBODY);
        });
        finds(Whose::User(NOBODY), "not written", |it| {
            it.receipts.insert(NOBODY, Seq(1));
        });
        finds(Whose::User(CAY), "not written", |it| {
            it.receipts.insert(CAY, Seq(99));
        });
        finds(Whose::User(BEN), "late for nothing", |it| {
            it.late.insert((BEN, ConnectionId(0)));
        });
        finds(Whose::User(ANN), "file transfer", |it| {
            it.transfers.offer(ANN, NOBODY, 1);
        });
        finds(Whose::User(CAY), "no session of its does", |it| {
            it.monitoring_ends.insert(CAY);
        });
        finds(Whose::User(BEN), "never monitored", |it| {
            it.monitoring_ends.insert(BEN);
        });
    }

    #[test]
    fn a_message_of_an_earlier_session_is_looked_after() {
        let mut engine = engine();
        let mut events = Events(engine.state.last_seq().0);
        engine.handle_overdue(ConnectionId(0), crate::engine::Overdue::Idle, &mut events);
        assert_eq!(engine.find_contradiction(), None);
        assert!(engine.late.contains(&(ANN, ConnectionId(0))));
        engine.late.clear();
        let found = engine.find_contradiction().unwrap();
        assert_eq!(found.of, Whose::Connection(ConnectionId(0)));
        let Sent { end, .. } = engine.peers[0].as_ref().unwrap().unacknowledged[0];
        engine.late.insert((ANN, ConnectionId(0)));
        engine.handle_acknowledged(ConnectionId(0), end);
        assert_eq!(engine.find_contradiction(), None);
        assert_eq!(engine.late.len(), 0);
    }
}
