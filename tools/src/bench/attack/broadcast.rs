//! Broadcasts of many users to all others, who read them.

use oicq::limits::{FRIENDS_PER_GROUP, MESSAGE_BYTES};
use oicq::wire::Request;

use super::Attack;
use super::pool::Pool;
use crate::failure::Failure;

/// One user in so many writes.
const WRITERS_PART: usize = 20;

#[derive(Default)]
pub(super) struct Broadcast {
    writers: Vec<usize>,
    step: usize,
}

impl Attack for Broadcast {
    fn users(&self, connections: usize) -> usize {
        connections
    }

    fn begin(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        let keys = pool.log_in()?;
        let writers = keys.len().div_ceil(WRITERS_PART);
        let friends: Vec<_> =
            pool.users[writers..].iter().take(FRIENDS_PER_GROUP).copied().collect();
        self.writers = keys[..writers].to_vec();
        pool.doing("making friends");
        for key in &self.writers {
            for friend in &friends {
                pool.ask(*key, Request::AddFriend { friend: *friend });
            }
        }
        pool.settle()
    }

    fn go_on(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        let text = vec![b'x'; if self.step.is_multiple_of(8) { MESSAGE_BYTES } else { 100 }];
        self.step += 1;
        for key in &self.writers {
            pool.ask(*key, Request::Broadcast { group: 0, content: &text });
        }
        Ok(())
    }
}
