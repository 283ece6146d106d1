//! A crowd of users for the benchmarks, made of the same events that registrations and friendships leave.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each benchmark uses a part of it")]

use oicq::codec::packed::Receipts;
use oicq::codec::profile::Profile;
use oicq::engine::{Host, StorageFull};
use oicq::id::{ConnectionId, GroupNumber, Place, Seq, ServiceNumber, UnixMillis};
use oicq::state::{Authentication, Event, Stamp, State};

/// A PHC string of the password `secret`. It is as long as those that the server makes, but cheap to compare with.
pub const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$YSBzYWx0IGZvciBiZW5jaGVzIQ$\
                        PV8uYZzYIcaoxPCXrkFBhayCrRHuWjDU9WMf7gy6b0c";

/// The user of an index.
pub fn user(index: u32) -> ServiceNumber {
    ServiceNumber(ServiceNumber::FIRST.0 + index)
}

/// The registration of the user of an index.
pub fn registration(index: u32, nickname: &[u8]) -> Event<'_> {
    let city = match index % 3 {
        0 => "北京".as_bytes(),
        1 => b"Shenzhen",
        _ => b"",
    };
    Event::Registered {
        number: user(index),
        authentication: Authentication::Open,
        password_hash: HASH,
        profile: Profile {
            nickname,
            portrait: 7,
            age: 20 + u8::try_from(index % 50).unwrap(),
            city,
            description: b"Likes old machines.",
            ..Profile::default()
        },
    }
}

/// The friendship of a user with the one `distance` further on.
pub fn friendship(index: u32, distance: u32, users: u32) -> Event<'static> {
    Event::FriendAdded {
        owner: user(index),
        friend: user((index + distance) % users),
        group: GroupNumber::FIRST,
        agreed: true,
    }
}

/// Calls `each` with every event that makes a crowd, and those that deliver what that has posted.
pub fn events(users: u32, friends: u32, mut each: impl FnMut(&Event<'_>)) {
    for index in 0..users {
        each(&registration(index, format!("user{index}").as_bytes()));
    }
    for index in 0..users {
        for distance in 1..=friends.min(users - 1) {
            each(&friendship(index, distance * 17 % users.max(2), users));
        }
    }
}

/// Applies events one after the other.
pub struct Crowd {
    pub state: State,
    pub seq: Seq,
}

impl Crowd {
    /// So many users with so many friends each, and empty mailboxes.
    pub fn new(users: u32, friends: u32) -> Self {
        let mut crowd = Self { state: State::default(), seq: Seq::ZERO };
        events(users, friends, |event| {
            crowd.apply(event);
            if let Event::FriendAdded { owner, .. } = *event {
                let bytes = Receipts::pack([(owner, crowd.seq)]);
                crowd.apply(&Event::Delivered { receipts: Receipts::over(&bytes).unwrap() });
            }
        });
        crowd
    }

    pub fn apply(&mut self, event: &Event<'_>) {
        self.seq = self.seq.next();
        let stamp = Stamp { seq: self.seq, time: UnixMillis(1), place: Place(0) };
        self.state.apply(stamp, event, &mut |_| ()).expect("the crowd's events fit");
    }
}

/// A host that copies events into a buffer as a log would, and forgets them.
#[derive(Default)]
pub struct Sink {
    pub seq: u64,
    pub batch: Vec<u8>,
}

impl Host for Sink {
    fn append(
        &mut self,
        _: UnixMillis,
        _: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull> {
        self.seq += 1;
        self.batch.extend_from_slice(payload);
        Ok((Seq(self.seq), Place(0)))
    }

    fn read(&self, _: Place, length: u32, out: &mut Vec<u8>) {
        out.resize(out.len() + length as usize, b'x');
    }

    fn acknowledged(&mut self, _: ConnectionId) -> u64 {
        u64::MAX
    }

    fn waiting(&mut self, _: ConnectionId) -> usize {
        0
    }
}
