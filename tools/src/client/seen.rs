//! Which messages have come, so that none is shown twice when the server sends it again.
//!
//! Knows nothing of connections: what came on one is still known on the next.

use std::collections::{BTreeSet, VecDeque};

use oicq::id::{Seq, ServiceNumber, UnixMillis};

/// As many messages are remembered; a mailbox holds far fewer, and what has left it never comes again.
const REMEMBERED: usize = 65_536;

/// A message of a user's, told apart from all others. The time belongs to it: a server whose log was put
/// back to an earlier day gives ids for a second time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Identity {
    pub(crate) receiver: ServiceNumber,
    pub(crate) id: Seq,
    pub(crate) time: UnixMillis,
}

/// The latest messages.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    known: BTreeSet<Identity>,
    /// The same, in the order in which they came.
    order: VecDeque<Identity>,
}

impl Seen {
    /// Takes note of a message. Whether it has not come before.
    pub(crate) fn insert(&mut self, message: Identity) -> bool {
        let is_new = self.known.insert(message);
        if is_new {
            self.order.push_back(message);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn message(receiver: u32, id: u64, time: u64) -> Identity {
        Identity { receiver: ServiceNumber(receiver), id: Seq(id), time: UnixMillis(time) }
    }

    #[test]
    fn a_message_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.insert(message(1, 7, 100)));
        assert!(!seen.insert(message(1, 7, 100)));
        for other in [message(2, 7, 100), message(1, 8, 100), message(1, 7, 101)] {
            assert!(seen.insert(other), "{other:?}");
        }
        assert!(!seen.insert(message(1, 7, 100)));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut seen = Seen::default();
        for id in 0..=REMEMBERED as u64 {
            assert!(seen.insert(message(1, id, 0)));
        }
        assert_eq!((seen.known.len(), seen.order.len()), (REMEMBERED, REMEMBERED));
        assert!(!seen.insert(message(1, 1, 0)));
        assert!(seen.insert(message(1, 0, 0)));
    }
}
