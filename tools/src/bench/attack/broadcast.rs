//! Broadcasts of many users to all others, who read them.

use oicq::codec::packed::Moves;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::limits::{FRIENDS_PER_GROUP, GROUP_NUMBER_MAX, MESSAGE_BYTES};
use oicq::wire::Request;

use super::pool::Pool;
use super::{Attack, TURN_NS};
use crate::failure::Failure;

/// One user in so many writes,
const WRITERS_PART: usize = 20;
/// or so many that no more friends are listed than this in all, which takes its time.
const FRIENDSHIPS_MAX: usize = 65_536;

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
        let most = (FRIENDSHIPS_MAX / keys.len().max(1)).max(1);
        let writers = keys.len().div_ceil(WRITERS_PART).min(most);
        let friends: Vec<_> = pool.users.iter().skip(writers).copied().collect();
        self.writers = keys.into_iter().take(writers).collect();
        pool.doing("making friends");
        for key in &self.writers {
            befriend(pool, *key, &friends)?;
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

/// Puts all of them into a friend list, as far as it holds them: into its first group, which is emptied into others.
fn befriend(pool: &mut Pool<'_>, key: usize, friends: &[ServiceNumber]) -> Result<(), Failure> {
    let groups = (GroupNumber::FIRST.0 + 1..=GROUP_NUMBER_MAX).map(GroupNumber);
    let mut full = friends.chunks(FRIENDS_PER_GROUP).peekable();
    for group in groups {
        let Some(some) = full.next() else { return Ok(()) };
        for friend in some {
            pool.ask(key, Request::AddFriend { friend: *friend });
        }
        if full.peek().is_some() {
            pool.ask(key, Request::AddGroup { name: b"more" });
            let moves = Moves::pack(some.iter().map(|friend| (*friend, group)));
            let moves = Moves::over(&moves).unwrap_or_default();
            pool.ask(key, Request::MoveFriends(moves));
        }
        pool.turn(TURN_NS)?;
    }
    Ok(())
}
