//! Floods of what the server keeps: registrations, friend requests, mail to those who are away.

use oicq::codec::profile::Profile;
use oicq::id::ServiceNumber;
use oicq::limits::{LONG_TEXT_BYTES, MESSAGE_BYTES, SHORT_TEXT_BYTES};
use oicq::wire::Request;
use oicq::wire::client::Account;

use super::Attack;
use super::pool::Pool;
use crate::bench::users::PASSWORD;
use crate::failure::Failure;

const AT_ONCE: usize = 8;
/// Half of the users are away, and get what the others send.
const AWAY_PART: usize = 2;

#[derive(Default)]
pub(super) struct Register {
    members: Vec<usize>,
    strangers: Vec<usize>,
    away: Vec<ServiceNumber>,
    step: usize,
}

impl Attack for Register {
    fn users(&self, connections: usize) -> usize {
        (connections / 2).max(AWAY_PART)
    }

    fn begin(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        let keys = pool.log_in()?;
        let away = keys.len() / AWAY_PART;
        self.away = pool.users[..away].to_vec();
        // Whoever wants to add them has to ask.
        let profile = Profile { nickname: b"away", ..Profile::default() };
        let password = oicq::codec::secret::Secret::new(b"");
        let change = Request::ChangeProfile(Account { profile, password, authentication: 1 });
        keys[..away].iter().for_each(|key| _ = pool.ask(*key, change));
        pool.settle()?;
        keys[..away].iter().for_each(|key| pool.close(*key));
        self.members = keys[away..].to_vec();
        Ok(())
    }

    fn go_on(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        for _ in 0..AT_ONCE {
            self.strangers.extend(pool.open()?);
        }
        let (long, short) = ([b'x'; LONG_TEXT_BYTES], [b'y'; SHORT_TEXT_BYTES]);
        let profile = Profile {
            nickname: b"flood",
            hobbies: &long,
            description: &long,
            address: &short,
            ..Profile::default()
        };
        let account = Account { profile, password: PASSWORD, authentication: 1 };
        self.strangers.retain(|key| pool.ask(*key, Request::Register(account)));
        let text = [b'z'; MESSAGE_BYTES];
        for key in &self.members {
            let Some(friend) = self.away.get(self.step % self.away.len().max(1)) else { break };
            self.step += 1;
            pool.ask(*key, Request::RequestFriend { friend: *friend, reason: &short });
            pool.ask(*key, Request::Send { receiver: *friend, content: &text });
        }
        Ok(())
    }
}
