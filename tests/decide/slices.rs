//! What is said to very many goes out in several turns: a broadcast, and how somebody is seen from now on. Each turn
//! is looked at by itself.

use std::collections::BTreeMap;

use oicq::codec::packed::Receipts;
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::engine::{Engine, Settings};
use oicq::id::{ConnectionId, GroupNumber, MonoMillis, Now, Place, ServiceNumber, UnixMillis};
use oicq::limits::{
    FRIENDS_PER_GROUP, FRIENDS_PER_SLICE, OUTPUT_BYTES_HIGH, TOLD_AT_ONCE, TOLD_PER_TURN,
};
use oicq::state::{Authentication, Event};
use oicq::wire::server::Presence::{self, Offline, Online};
use oicq::wire::{Kind, Request, ServerPacket, cut, cut_for_client};

use crate::kit::extended::{PRESENCE, seen};
use crate::kit::people::{User, bytes_of, message, tested};
use crate::kit::{Entry, Got, Journal, verdict};

/// Ann's friends in session. What is said to all of them takes two turns.
const FRIENDS: usize = FIRST + 100;
/// How many of them are told in the turn in which it is said.
const FIRST: usize = TOLD_AT_ONCE + TOLD_PER_TURN;
const ANN: User = User { number: ServiceNumber::FIRST, at: ConnectionId(0) };

/// What a turn has said, in order.
type Said = Vec<(ConnectionId, Got)>;

/// Ann, whose friends are all in session and list her.
struct Hall {
    engine: Engine,
    journal: Journal,
    now: Now,
    /// Whether all that is known agrees with itself is looked at after each turn.
    is_watched: bool,
}

const fn friend(index: usize) -> User {
    let number = ServiceNumber(ServiceNumber::FIRST.0 + 1 + index as u32);
    User { number, at: ConnectionId(1 + index) }
}

fn write(journal: &mut Journal, event: &Event<'_>) {
    let (mut payload, kind) = (Vec::new(), event.kind() as u8);
    event.encode(&mut payload);
    journal.entries.push(Entry { time: UnixMillis(1), kind, payload });
}

/// The log of so many users who are friends of ann's, in as many groups as it takes, and she of theirs.
fn log(friends: usize) -> Journal {
    let mut journal = Journal::default();
    for index in 0..=friends {
        let number = ServiceNumber(ANN.number.0 + index as u32);
        let profile = Profile { nickname: b"somebody", ..Profile::default() };
        let (authentication, password_hash) = (Authentication::Open, "$plain$secret");
        write(&mut journal, &Event::Registered { number, authentication, password_hash, profile });
    }
    for index in 0..friends {
        let (owner, friend) = (ANN.number, friend(index).number);
        let group = GroupNumber(u8::try_from(index / FRIENDS_PER_GROUP + 1).unwrap());
        if index % FRIENDS_PER_GROUP == 0 && group > GroupNumber::FIRST {
            write(&mut journal, &Event::GroupAdded { owner, group, name: b"more" });
        }
        write(&mut journal, &Event::FriendAdded { owner, friend, group, agreed: true });
        let group = GroupNumber::FIRST;
        let (owner, friend) = (friend, owner);
        write(&mut journal, &Event::FriendAdded { owner, friend, group, agreed: true });
        let last = oicq::id::Seq(journal.entries.len() as u64);
        let receipts = Receipts::pack([(friend, last), (owner, last)]);
        write(&mut journal, &Event::Delivered { receipts: Receipts::over(&receipts).unwrap() });
    }
    journal
}

impl Hall {
    /// With as many friends as are told in two turns, who are all in session.
    fn new() -> Self {
        let mut hall = Self::empty(FRIENDS);
        hall.is_watched = false;
        hall.enter(ANN);
        (0..FRIENDS).for_each(|index| drop(hall.enter(friend(index))));
        hall.is_watched = true;
        hall
    }

    /// With so many friends, and nobody in session.
    fn empty(friends: usize) -> Self {
        let settings = Settings { connections: 0, ..Settings::default() };
        let journal = log(friends);
        let now = Now { wall: UnixMillis(1_000), mono: MonoMillis(1_000) };
        Self { engine: Engine::new(settings, journal.replay()), journal, now, is_watched: true }
    }

    /// Connects, and logs in to be told of friends.
    fn enter(&mut self, user: User) -> Said {
        self.turn(|hall| {
            hall.engine.handle_connect(user.at, [127, 0, 0, 1].into(), &mut hall.journal)
        });
        self.does(user, Request::WantExtensions { wanted: PRESENCE });
        self.does(user, Request::LogIn { password: Secret::new(b"secret"), mode: 0 });
        let job = self.engine.poll_password_job().expect("a login waits for its password");
        let said = self.turn(|hall| hall.engine.handle_verdict(verdict(&job), &mut hall.journal));
        self.take_all();
        said
    }

    /// One turn.
    fn turn(&mut self, inputs: impl FnOnce(&mut Self)) -> Said {
        self.engine.begin_turn(self.now);
        inputs(self);
        self.engine.handle_step(&mut self.journal);
        while self.engine.poll_resumed().is_some() {}
        assert!(!self.is_watched || self.engine.find_contradiction().is_none());
        let mut said = Vec::new();
        for (to, mut bytes) in self.engine.poll_outbox().sends() {
            while let Some(frame) = cut_for_client(bytes, Kind::User, u32::MAX).unwrap() {
                let (packet_type, receiver) = (frame.header.packet_type, Kind::User as u8);
                said.push((to, Got { packet_type, receiver, content: frame.content.to_vec() }));
                bytes = &bytes[frame.length()..];
            }
        }
        self.engine.poll_outbox().clear();
        said
    }

    fn hand(&mut self, user: User, request: Request<'_>) {
        let bytes = bytes_of(Kind::User, user.number, request);
        let frame = cut(&bytes, self.engine.expected(user.at)).unwrap().unwrap();
        self.engine.handle_packet(user.at, frame, &mut self.journal);
    }

    fn does(&mut self, user: User, request: Request<'_>) -> Said {
        self.turn(|hall| hall.hand(user, request))
    }

    /// A turn in which nothing comes in.
    fn goes_on(&mut self) -> Said {
        self.turn(|_| ())
    }

    /// Everybody has got everything, and that is written down.
    fn take_all(&mut self) {
        for id in 0..=FRIENDS {
            self.engine.handle_acknowledged(ConnectionId(id), u64::MAX);
        }
        self.turn(|hall| hall.engine.flush_deliveries(&mut hall.journal));
    }

    fn waiting(&self, user: User) -> usize {
        self.engine.state().user(user.number).unwrap().mailbox().len()
    }
}

fn broadcast(content: &[u8]) -> Request<'_> {
    Request::Broadcast { group: 0, content }
}

fn to_all(friends: std::ops::Range<usize>, got: &Got) -> Said {
    friends.map(|index| (friend(index).at, got.clone())).collect()
}

#[test]
fn a_broadcast_to_very_many_is_one_event_and_goes_out_in_turns() {
    let mut hall = Hall::new();
    let events = hall.journal.entries.len();
    let got = message(ANN, b"hello all");
    assert_eq!(hall.does(ANN, broadcast(b"hello all")), to_all(0..FIRST, &got));
    assert_eq!(hall.journal.entries.len(), events + 1);
    assert_eq!(hall.waiting(friend(FRIENDS - 1)), 1);
    assert!(hall.engine.has_work());
    assert_eq!(hall.goes_on(), to_all(FIRST..FRIENDS, &got));
    assert!(!hall.engine.has_work());
    assert_eq!(hall.goes_on(), []);
    hall.take_all();
    assert!((0..FRIENDS).all(|index| hall.waiting(friend(index)) == 0));
}

#[test]
fn the_bytes_of_a_broadcast_are_made_once_a_turn() {
    let mut hall = Hall::new();
    hall.engine.begin_turn(hall.now);
    hall.hand(ANN, broadcast(&[b'x'; 4_000]));
    let at_once = hall.engine.poll_outbox().len();
    hall.engine.handle_step(&mut hall.journal);
    let outbox = hall.engine.poll_outbox();
    assert!(at_once < 5_000 && outbox.len() < 2 * 5_000, "{at_once}, {}", outbox.len());
    assert_eq!(outbox.copied(), outbox.sends().map(|(_, bytes)| bytes.len()).sum());
}

#[test]
fn texts_that_are_much_together_go_out_in_more_turns() {
    let mut hall = Hall::new();
    let mut most = 0;
    hall.turn(|hall| hall.hand(ANN, broadcast(b"small")));
    hall.goes_on();
    hall.take_all();
    let mut turns = 1;
    let mut got = hall.does(ANN, broadcast(&[b'x'; 8_192])).len();
    while hall.engine.has_work() {
        let said = hall.goes_on();
        most = most.max(said.iter().map(|(_, got)| got.content.len()).sum());
        got += said.len();
        turns += 1;
    }
    assert_eq!(got, FRIENDS);
    assert!((4..=10).contains(&turns) && most <= (1 << 20) + 8_300, "{turns}, {most}");
}

#[test]
fn a_later_message_does_not_overtake_a_broadcast_and_waits_for_nobody_elses() {
    let mut hall = Hall::new();
    let [first, last] = [friend(0), friend(FRIENDS - 1)];
    let said = hall.turn(|hall| {
        hall.hand(ANN, broadcast(b"one"));
        hall.hand(ANN, Request::Send { receiver: first.number, content: b"two" });
        hall.hand(ANN, Request::Send { receiver: last.number, content: b"two" });
    });
    let to = |user: User, said: &Said| -> Vec<Got> {
        said.iter().filter(|(at, _)| *at == user.at).map(|(_, got)| got.clone()).collect()
    };
    let both = [message(ANN, b"one"), message(ANN, b"two")];
    assert_eq!(to(first, &said), both, "who has been told is told more at once");
    assert_eq!(to(last, &said), []);
    assert_eq!(to(last, &hall.goes_on()), both);
}

#[test]
fn who_asks_meanwhile_is_told_of_the_broadcast_before_the_answer() {
    let mut hall = Hall::new();
    let last = friend(FRIENDS - 1);
    hall.does(ANN, broadcast(b"one"));
    assert!(!hall.engine.is_ready(last.at), "its packets wait");
    hall.goes_on();
    assert!(hall.engine.is_ready(last.at));
    assert_eq!(hall.does(last, Request::Test), [(last.at, tested(last.number))]);
}

#[test]
fn one_who_leaves_meanwhile_gets_the_broadcast_after_the_next_login() {
    let mut hall = Hall::new();
    let (last, other) = (friend(FRIENDS - 1), friend(FRIENDS - 2));
    let got = message(ANN, b"one");
    hall.does(ANN, broadcast(b"one"));
    hall.turn(|hall| {
        hall.engine.handle_end(last.at, &mut hall.journal);
        // Somebody else has the connection's id now, and nothing to be told.
        hall.engine.handle_connect(last.at, [127, 0, 0, 2].into(), &mut hall.journal);
    })
    .iter()
    .for_each(|(at, _)| assert_ne!(*at, last.at));
    assert!(!hall.engine.has_work());
    assert_eq!(hall.waiting(last), 1);
    hall.take_all();
    assert_eq!((hall.waiting(last), hall.waiting(other)), (1, 0));
    let back = User { at: ConnectionId(FRIENDS + 1), ..last };
    let said = hall.enter(back);
    let mail: Vec<_> = said.into_iter().filter(|(at, _)| *at == back.at).skip(1).collect();
    assert_eq!(mail, [(back.at, got)]);
}

#[test]
fn a_slow_client_that_is_in_line_gets_its_message_when_it_has_room() {
    let mut hall = Hall::new();
    let last = friend(FRIENDS - 1);
    hall.does(ANN, broadcast(b"one"));
    hall.journal.waiting = OUTPUT_BYTES_HIGH + 1;
    assert_eq!(hall.goes_on(), []);
    assert!(!hall.engine.has_work() && hall.engine.wants_room(last.at));
    hall.journal.waiting = 0;
    let said = hall.turn(|hall| hall.engine.handle_room(last.at, &mut hall.journal));
    assert_eq!(said, [(last.at, message(ANN, b"one"))]);
}

#[test]
fn very_many_are_told_of_a_friend_in_turns_and_of_the_latest_alone() {
    let mut hall = Hall::new();
    let hides = Request::SetMode { mode: 2 };
    let shows = Request::SetMode { mode: 1 };
    let (gone, back) = (seen(ANN.number, Offline), seen(ANN.number, Online));
    assert_eq!(hall.does(ANN, hides), to_all(0..FIRST, &gone));
    assert!(hall.engine.has_untold(friend(FRIENDS - 1).at));
    assert_eq!(hall.goes_on(), to_all(FIRST..FRIENDS, &gone));
    assert!(!hall.engine.has_work());

    // Whoever has not been told that she is back is not told that she has gone, either.
    assert_eq!(hall.does(ANN, shows), to_all(0..FIRST, &back));
    let mut told = BTreeMap::new();
    for (at, got) in hall.does(ANN, hides).into_iter().chain(hall.goes_on()) {
        assert_eq!(got, gone);
        *told.entry(at).or_insert(0) += 1;
    }
    assert_eq!(told.len(), FIRST);
    assert!(told.values().all(|times| *times == 1));
    assert!((FIRST..FRIENDS).all(|index| !told.contains_key(&friend(index).at)));
}

#[test]
fn a_message_does_not_overtake_how_its_sender_is_seen() {
    let mut hall = Hall::new();
    let last = friend(FRIENDS - 1);
    let said = hall.turn(|hall| {
        hall.hand(ANN, Request::SetMode { mode: 2 });
        hall.hand(ANN, Request::Send { receiver: last.number, content: b"hello" });
    });
    let to_last = |said: Said| said.into_iter().filter(|(at, _)| *at == last.at).collect::<Said>();
    assert_eq!(to_last(said), []);
    assert!(hall.engine.is_told_later(last.at));
    let both = [seen(ANN.number, Offline), message(ANN, b"hello")];
    assert_eq!(to_last(hall.goes_on()), both.map(|got| (last.at, got)));
    assert!(!hall.engine.is_told_later(last.at));
}

#[test]
fn what_is_passed_on_to_somebody_waits_while_a_message_does() {
    let mut hall = Hall::new();
    let [first, last] = [friend(0), friend(FRIENDS - 1)];
    hall.does(ANN, broadcast(b"one"));
    assert!(hall.engine.is_told_later(last.at) && !hall.engine.is_told_later(first.at));
    hall.goes_on();
    assert!(!hall.engine.is_told_later(last.at));
}

#[test]
fn the_line_is_through_when_those_are_told_who_stood_in_it() {
    let mut hall = Hall::new();
    assert!(hall.engine.is_line_through(hall.engine.line_end()));
    hall.does(ANN, broadcast(b"one"));
    let end = hall.engine.line_end();
    assert!(!hall.engine.is_line_through(end));
    // Others come into it while they are told.
    hall.does(ANN, broadcast(b"two"));
    assert!(hall.engine.is_line_through(end) && hall.engine.has_work());
    assert!(!hall.engine.is_line_through(hall.engine.line_end()));
}

#[test]
fn a_recording_that_begins_in_the_middle_goes_on_alike() {
    let mut hall = Hall::new();
    hall.does(ANN, broadcast(b"one"));
    hall.does(ANN, Request::SetMode { mode: 2 });
    // The connection of one in line is another's by now: its place in the line is nobody's.
    let other = friend(FIRST + 50);
    hall.turn(|hall| {
        hall.hand(ANN, broadcast(b"two"));
        hall.engine.handle_end(other.at, &mut hall.journal);
        hall.engine.handle_connect(other.at, [127, 0, 0, 2].into(), &mut hall.journal);
    });
    assert!(hall.engine.has_work());
    let mut kept = Vec::new();
    hall.engine.save(&mut kept);
    let place = |seq: oicq::id::Seq| Some(Place((seq.0 - 1) << 32));
    let (settings, state) = (hall.engine.settings().clone(), hall.engine.state().clone());
    let engine = Engine::restore(settings, state, &kept, place).unwrap();
    assert_eq!(engine.find_contradiction(), None);
    let mut again = Vec::new();
    engine.save(&mut again);
    assert!(again == kept);

    let (entries, now) = (hall.journal.entries.len(), hall.now);
    // Whoever has that connection now comes into the line behind the others.
    let goes_on = |hall: &mut Hall| -> Vec<Said> {
        let said = hall.turn(|hall| {
            hall.hand(other, Request::LogIn { password: Secret::new(b"secret"), mode: 0 });
            let job = hall.engine.poll_password_job().unwrap();
            hall.engine.handle_verdict(verdict(&job), &mut hall.journal);
            hall.engine.handle_room(other.at, &mut hall.journal);
            hall.hand(ANN, broadcast(b"three"));
        });
        vec![said, hall.goes_on(), hall.goes_on()]
    };
    let said = goes_on(&mut hall);
    assert!(said[1].iter().any(|(at, _)| *at == other.at), "not before the second turn");
    hall.engine = engine;
    hall.journal.entries.truncate(entries);
    hall.now = now;
    assert!(goes_on(&mut hall) == said);
}

#[test]
fn a_line_that_was_tampered_with_is_refused_or_served() {
    let mut hall = Hall::new();
    hall.does(ANN, broadcast(b"one"));
    let mut kept = Vec::new();
    hall.engine.save(&mut kept);
    let (mut restored, mut told) = (0, 0);
    for at in (0..kept.len()).rev().take(500) {
        let mut other = kept.clone();
        other[at] ^= 1;
        let (settings, state) = (hall.engine.settings().clone(), hall.engine.state().clone());
        if let Ok(mut engine) = Engine::restore(settings, state, &other, |_| Some(Place(0))) {
            engine.begin_turn(engine.now());
            engine.handle_step(&mut hall.journal);
            (restored, told) = (restored + 1, told + engine.poll_outbox().packets());
        }
    }
    assert!((1..500).contains(&restored) && told > 0, "{restored}, {told}");
}

/// The reply to a login of ann's, if it is among what was said: all friends with their groups and states.
fn friend_list(said: &Said) -> Option<Vec<(GroupNumber, ServiceNumber, Presence)>> {
    let replies = said.iter().filter(|(at, _)| *at == ANN.at).map(|(_, got)| got.packet());
    let mut groups = replies.filter_map(|packet| match packet {
        ServerPacket::LoggedIn { success: true, groups } => Some(groups),
        _ => None,
    });
    groups.next_back().map(|groups| {
        let entries = groups.iter().flat_map(|group| {
            group.friends.iter().map(|friend| (group.group, friend.number, friend.state))
        });
        entries.collect()
    })
}

impl Hall {
    /// Ann's friends as a login shows them now.
    fn listed(&self) -> Vec<(GroupNumber, ServiceNumber, Presence)> {
        let state = |number| match self.engine.connection_of(number) {
            Some(_) => Online,
            None => Offline,
        };
        let user = self.engine.state().user(ANN.number).unwrap();
        user.friends().iter().map(|it| (it.group, it.number, state(it.number))).collect()
    }
}

#[test]
fn a_friend_list_that_a_turn_has_room_for_is_shown_at_once() {
    let mut hall = Hall::empty(FRIENDS);
    hall.enter(friend(3));
    let said = hall.enter(ANN);
    assert_eq!(friend_list(&said), Some(hall.listed()));
}

#[test]
fn a_long_friend_list_is_made_in_turns_and_shows_what_is_so_at_its_end() {
    let mut hall = Hall::empty(4 * FRIENDS_PER_SLICE);
    let [leaves, comes] = [friend(3), friend(4)];
    hall.enter(leaves);
    let said = hall.enter(ANN);
    assert_eq!(friend_list(&said), None);
    assert!(hall.engine.has_work() && !hall.engine.is_ready(ANN.at), "its next packet waits");
    assert_eq!(hall.engine.sessionless_since(ANN.at), None, "it is not late with its login");
    assert_eq!(hall.engine.connection_of(ANN.number), None);
    let said = hall.turn(|hall| {
        hall.engine.handle_end(leaves.at, &mut hall.journal);
        hall.engine.handle_connect(comes.at, [127, 0, 0, 1].into(), &mut hall.journal);
        hall.hand(comes, Request::LogIn { password: Secret::new(b"secret"), mode: 0 });
    });
    assert!(said.is_empty());
    let job = hall.engine.poll_password_job().unwrap();
    hall.turn(|hall| hall.engine.handle_verdict(verdict(&job), &mut hall.journal));
    let mut said = hall.goes_on();
    while hall.engine.has_work() {
        assert_eq!(friend_list(&said), None);
        said = hall.goes_on();
    }
    assert!(friend_list(&said) == Some(hall.listed()));
    let number = ANN.number;
    assert_eq!(hall.engine.connection_of(number), Some(ANN.at));
    assert_eq!(hall.does(ANN, Request::Test), [(ANN.at, tested(number))]);
}

#[test]
fn a_login_that_ends_before_its_friend_list_is_made_is_none() {
    let mut hall = Hall::empty(FRIENDS_PER_SLICE + 1);
    hall.enter(ANN);
    assert!(hall.engine.has_work());
    hall.turn(|hall| {
        hall.engine.handle_end(ANN.at, &mut hall.journal);
        hall.engine.handle_connect(ANN.at, [127, 0, 0, 2].into(), &mut hall.journal);
    });
    assert!(!hall.engine.has_work() && hall.engine.is_ready(ANN.at));
    assert_eq!(hall.goes_on(), []);
    assert_eq!(hall.engine.connection_of(ANN.number), None);
}

#[test]
fn a_recording_that_begins_within_a_friend_list_goes_on_alike() {
    let mut hall = Hall::empty(2 * FRIENDS_PER_SLICE + 1);
    hall.enter(ANN);
    hall.goes_on();
    let mut kept = Vec::new();
    hall.engine.save(&mut kept);
    let (settings, state) = (hall.engine.settings().clone(), hall.engine.state().clone());
    let engine = Engine::restore(settings, state, &kept, |_| None).unwrap();
    let mut again = Vec::new();
    engine.save(&mut again);
    assert!(again == kept && engine.find_contradiction().is_none());
    let all = |hall: &mut Hall| -> Vec<Said> {
        std::iter::from_fn(|| hall.engine.has_work().then(|| hall.goes_on())).collect()
    };
    let said = all(&mut hall);
    assert!(friend_list(said.last().unwrap()).is_some());
    hall.engine = engine;
    assert!(all(&mut hall) == said);
}
