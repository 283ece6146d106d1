//! Floods of each request: one session that sends all of them, and many that each send one sort.

use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::Request;
use oicq::wire::client::Account;

use super::Attack;
use super::pool::Pool;
use crate::failure::Failure;

/// Requests of a session in one step: more than it may send.
const AT_ONCE: usize = 32;
const NOBODY: ServiceNumber = ServiceNumber(4_000_000_000);
/// Looks at every user, and finds none.
const NOTHING: &[u8] =
    b"select * from users where nickname like '%a%b%c%d%e%f%' or hobbies like '%z%y%x%' \
                         order by nickname desc, number";
const ALL: &[u8] = b"select * from users order by city, nickname desc";

#[derive(Default)]
pub(super) struct Requests {
    keys: Vec<usize>,
    step: usize,
}

impl Attack for Requests {
    fn users(&self, connections: usize) -> usize {
        connections
    }

    fn begin(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        self.keys = pool.log_in()?;
        Ok(())
    }

    fn go_on(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        let peer = pool.users.get(self.step % pool.users.len().max(1)).copied();
        let all = all(peer.unwrap_or(NOBODY));
        self.step += 1;
        for (index, key) in self.keys.iter().enumerate() {
            for turn in 0..AT_ONCE {
                let sort = if index == 0 { self.step * AT_ONCE + turn } else { index };
                pool.ask(*key, all[sort % all.len()]);
            }
        }
        Ok(())
    }
}

/// Each request that a session may send, those that are refused included.
fn all(peer: ServiceNumber) -> Vec<Request<'static>> {
    let profile = Profile { nickname: b"flood", ..Profile::default() };
    let account = Account { profile, password: Secret::new(b""), authentication: 255 };
    let group = GroupNumber(2);
    vec![
        Request::Search { statement: ALL },
        Request::Search { statement: NOTHING },
        Request::Search { statement: b"select everything" },
        Request::Send { receiver: peer, content: b"flood" },
        Request::Send { receiver: NOBODY, content: b"flood" },
        Request::Broadcast { group: 0, content: b"flood" },
        Request::ViewProfile { friend: peer },
        Request::ListOnline { start: ServiceNumber::FIRST, count: 255, direction: 2 },
        Request::AddFriend { friend: peer },
        Request::RequestFriend { friend: peer, reason: b"flood" },
        Request::DeleteFriend { friend: peer },
        Request::AnswerRequest { friend: peer, consent: 1 },
        Request::AddGroup { name: b"flood" },
        Request::RenameGroup { group, name: b"more" },
        Request::DeleteGroup { group },
        Request::SetMode { mode: 2 },
        Request::SetMode { mode: 1 },
        Request::Monitor { watched: peer },
        Request::ChangeProfile(account),
        Request::Register(account),
        Request::OfferFile { friend: peer, name: b"flood", length: 1 },
        Request::AnswerFile { friend: peer, allow: 0 },
        Request::FilePiece { friend: peer, data: b"flood" },
        Request::WantExtensions { wanted: 7 },
        Request::Test,
    ]
}
