//! What is counted: the same thing in rounds, each of which leaves the server as it was before.
//!
//! Owns what a round is and how many instructions are one thing's. The figure is the median of the rounds; how far they
//! are apart says how much it can be trusted.

use oicq::id::{Seq, ServiceNumber};
use oicq::wire::server::{Extensions, Presence};
use oicq::wire::{Request, ServerPacket};

use super::Counted;
use super::clients::{Client, is_success};
use crate::crowd::user;

/// How far apart a user and the first friend are in the crowd.
const FRIEND_DISTANCE: u32 = 17;
/// Friends that a user of the crowd has, where it is not said otherwise.
pub const FRIENDS: u32 = 20;
const CONTENT: [u8; 100] = [b'm'; 100];
/// Rounds before the first that counts: buffers grow in them.
const WARM_UPS: usize = 2;
const ROUNDS: usize = 5;
/// Logins, or changes of presence, in a round.
const REPEATS: u32 = 20;
/// Broadcasts in a round, all of which are sent at once.
const BROADCASTS: u32 = 8;

/// Instructions for one thing.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub each: f64,
    /// How far the middle half of the rounds is apart at most, in percent of the figure. What grows now and then, such
    /// as a buffer, costs a round much more, and is no part of it.
    pub spread: f64,
}

/// Messages that pairs of friends send at once.
#[derive(Clone, Copy, Debug)]
pub struct Messages {
    pub is_extended: bool,
    pub pairs: u32,
    pub each: u32,
}

/// Two friends, of whom one writes to the other.
struct Pair {
    writer: Client,
    receiver: Client,
}

impl Pair {
    /// The pair of an index, among the users from `first` on. No user is in two of them.
    fn new(address: &str, first: u32, index: u32) -> Self {
        let (block, rest) = (index / FRIEND_DISTANCE, index % FRIEND_DISTANCE);
        let writer = first + 2 * FRIEND_DISTANCE * block + rest;
        let [writer, receiver] =
            [writer, writer + FRIEND_DISTANCE].map(|index| Client::connect(address, user(index)));
        Self { writer, receiver }
    }
}

/// A message between two friends. All pairs send theirs at once, and the next when these have arrived, and were
/// confirmed where they have ids: each receiver confirms once.
pub fn messages(server: &mut Counted, first: u32, sort: Messages) -> Figure {
    let Messages { is_extended, pairs, each } = sort;
    let extensions = Extensions::RESULTS.sum() + Extensions::MESSAGE_IDS.sum();
    let extensions = if is_extended { extensions } else { 0 };
    let mut all: Vec<_> = server
        .connect(|address| (0..pairs).map(|index| Pair::new(address, first, index)).collect());
    server.uncounted(|| {
        for Pair { writer, receiver } in &mut all {
            writer.begin_session(extensions);
            receiver.begin_session(extensions);
        }
    });
    let bursts: Vec<_> = all
        .iter()
        .map(|Pair { writer, receiver }| {
            let request = Request::Send { receiver: receiver.own(), content: &CONTENT };
            writer.packet(request).repeat(each as usize)
        })
        .collect();
    let figure = rounds(server, pairs * each, |server| {
        server.while_stopped(|| {
            for (Pair { writer, receiver }, burst) in all.iter_mut().zip(&bursts) {
                receiver.acknowledge_at_once();
                writer.write(burst);
            }
        });
        let ids: Vec<_> = all.iter_mut().map(|pair| arrived(pair, sort)).collect();
        if is_extended {
            server.while_stopped(|| {
                for (Pair { receiver, .. }, &through) in all.iter_mut().zip(&ids) {
                    receiver.send(Request::Arrived { through });
                }
            });
            for Pair { receiver, .. } in &mut all {
                receiver.receive(|packet| assert!(is_success(packet), "{packet:?}"));
            }
        }
    });
    server.while_stopped(|| drop(all));
    figure
}

/// Reads what a pair's messages lead to; answers the id of the last.
fn arrived(Pair { writer, receiver }: &mut Pair, sort: Messages) -> Seq {
    let mut last = Seq::ZERO;
    for _ in 0..sort.each {
        receiver.receive(|packet| match packet {
            ServerPacket::Message { text, .. } if !sort.is_extended => assert_eq!(*text, CONTENT),
            ServerPacket::Numbered { text, id, .. } if sort.is_extended => {
                assert_eq!(*text, CONTENT);
                last = *id;
            }
            other => panic!("no message: {other:?}"),
        });
        if sort.is_extended {
            writer.receive(|packet| assert!(is_success(packet), "{packet:?}"));
        }
    }
    last
}

/// Each delivery of a broadcast to so many friends, all of whom are in session.
pub fn broadcast(server: &mut Counted, first: u32, users: u32, friends: u32) -> Figure {
    let (mut writer, mut receivers): (_, Vec<_>) = server.connect(|address| {
        let receivers = listed(first, users, friends);
        let receivers = receivers.map(|number| Client::connect(address, number)).collect();
        (Client::connect(address, user(first)), receivers)
    });
    server.uncounted(|| {
        writer.begin_session(0);
        receivers.iter_mut().for_each(|receiver| receiver.begin_session(0));
    });
    let request = Request::Broadcast { group: 0, content: &CONTENT };
    let burst = writer.packet(request).repeat(BROADCASTS as usize);
    let figure = rounds(server, BROADCASTS * friends, |server| {
        server.while_stopped(|| {
            receivers.iter().for_each(Client::acknowledge_at_once);
            writer.write(&burst);
        });
        for receiver in &mut receivers {
            for _ in 0..BROADCASTS {
                receiver.receive(|packet| match packet {
                    ServerPacket::Message { text, .. } => assert_eq!(*text, CONTENT),
                    other => panic!("no message: {other:?}"),
                });
            }
        }
    });
    server.while_stopped(|| drop((writer, receivers)));
    figure
}

/// The login of a user with friends, of whom none is in session. Each comes when the one before has had its reply;
/// that the connection is made before and ends afterwards does not count.
pub fn login(server: &mut Counted, first: u32) -> Figure {
    server.measure_interruption();
    let counts = (0..WARM_UPS + ROUNDS).map(|_| {
        let mut clients: Vec<_> = server.connect(|address| {
            (0..REPEATS).map(|index| Client::connect(address, user(first + index))).collect()
        });
        server.count();
        for client in &mut clients {
            assert_eq!(client.log_in(), FRIENDS as usize, "all friends are told of");
        }
        let count = server.count();
        server.while_stopped(|| drop(clients));
        count
    });
    figure(counts.skip(WARM_UPS).collect(), REPEATS)
}

/// A change of how a user is seen by friends, all of whom are in session and have asked for it.
pub fn presence(server: &mut Counted, first: u32) -> Figure {
    let own = first + FRIENDS * FRIEND_DISTANCE;
    let (mut changing, mut friends): (_, Vec<_>) = server.connect(|address| {
        let listing = (1..=FRIENDS).map(|distance| user(own - distance * FRIEND_DISTANCE));
        let friends = listing.map(|number| Client::connect(address, number)).collect();
        (Client::connect(address, user(own)), friends)
    });
    server.uncounted(|| {
        friends.iter_mut().for_each(|friend| friend.begin_session(Extensions::PRESENCE.sum()));
        changing.begin_session(0);
    });
    let number = changing.own();
    wait_told(&mut friends, number, Presence::Online);
    let figure = rounds(server, REPEATS, |_| {
        for repeat in 0..REPEATS {
            let (mode, state) = match repeat % 2 {
                0 => (3, Presence::DoNotDisturb),
                _ => (1, Presence::Online),
            };
            changing.send(Request::SetMode { mode });
            wait_told(&mut friends, number, state);
        }
    });
    server.while_stopped(|| drop((changing, friends)));
    figure
}

/// Waits until all have been told. What they are told of each other meanwhile, when they log in, is passed over.
fn wait_told(friends: &mut [Client], of: ServiceNumber, expected: Presence) {
    for friend in friends {
        while !friend.receive(|packet| match *packet {
            ServerPacket::FriendPresence { number, state } if number == of => {
                assert_eq!(state, expected);
                true
            }
            ServerPacket::FriendPresence { .. } => false,
            ref other => panic!("no presence: {other:?}"),
        }) {}
    }
}

/// Those whom the crowd's user of an index has in the list.
fn listed(index: u32, users: u32, friends: u32) -> impl Iterator<Item = ServiceNumber> {
    (1..=friends).map(move |distance| user((index + distance * FRIEND_DISTANCE) % users))
}

/// Counts rounds, each of so many things. The server has nothing left to do at the end of each.
fn rounds(server: &mut Counted, things: u32, mut round: impl FnMut(&mut Counted)) -> Figure {
    server.measure_interruption();
    let counts = (0..WARM_UPS + ROUNDS).map(|_| {
        round(server);
        server.count()
    });
    figure(counts.skip(WARM_UPS).collect(), things)
}

fn figure(mut counts: Vec<f64>, things: u32) -> Figure {
    counts.sort_by(f64::total_cmp);
    let middle = counts.len() / 2;
    let (below, median, above) = (counts[middle - 1], counts[middle], counts[middle + 1]);
    let spread = 100.0 * (above - median).max(median - below) / median;
    Figure { each: median / f64::from(things), spread }
}
