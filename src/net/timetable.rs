//! What is due when, so that no turn has to look at all connections to find out.
//!
//! It never knows why something is due. A connection has at most one entry, whose time stands in the
//! connection as well.

use std::collections::BTreeSet;

use crate::id::{ConnectionId, MonoMillis};

/// Connections in the order in which they are due.
#[derive(Default, Debug)]
pub(super) struct Timetable(BTreeSet<(MonoMillis, ConnectionId)>);

impl Timetable {
    /// Puts the connection at `due`, or takes it out. `entry` is the connection's own note of its entry.
    pub(super) fn set(
        &mut self,
        id: ConnectionId,
        entry: &mut Option<MonoMillis>,
        due: Option<MonoMillis>,
    ) {
        if *entry == due {
            return;
        }
        if let Some(was) = entry.take() {
            self.0.remove(&(was, id));
        }
        if let Some(due) = due {
            self.0.insert((due, id));
        }
        *entry = due;
    }

    /// The same, but only if that is earlier than the entry there is: a later time is found out
    /// when the entry comes due, so that what is put off again and again costs nothing each time.
    pub(super) fn set_earlier(
        &mut self,
        id: ConnectionId,
        entry: &mut Option<MonoMillis>,
        due: Option<MonoMillis>,
    ) {
        if due.is_some_and(|due| entry.is_none_or(|was| due < was)) {
            self.set(id, entry, due);
        }
    }

    /// When the first entry is due.
    pub(super) fn first(&self) -> Option<MonoMillis> {
        self.0.first().map(|(due, _)| *due)
    }

    /// Takes out an entry that is due. The caller clears the connection's note of it.
    pub(super) fn poll(&mut self, now: MonoMillis) -> Option<ConnectionId> {
        self.first().filter(|due| *due <= now)?;
        self.0.pop_first().map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_order_and_each_connection_once() {
        let mut table = Timetable::default();
        let (mut one, mut two) = (None, None);
        table.set_earlier(ConnectionId(1), &mut one, Some(MonoMillis(30)));
        table.set_earlier(ConnectionId(2), &mut two, Some(MonoMillis(20)));
        table.set_earlier(ConnectionId(1), &mut one, Some(MonoMillis(40)));
        assert_eq!(one, Some(MonoMillis(30)), "a later time waits for the entry to come due");
        table.set_earlier(ConnectionId(1), &mut one, Some(MonoMillis(10)));
        assert_eq!(table.first(), Some(MonoMillis(10)));
        assert_eq!(table.poll(MonoMillis(9)), None);
        assert_eq!(table.poll(MonoMillis(20)), Some(ConnectionId(1)));
        assert_eq!(table.poll(MonoMillis(20)), Some(ConnectionId(2)));
        assert_eq!(table.poll(MonoMillis(20)), None);
    }

    #[test]
    fn an_entry_can_be_taken_out() {
        let mut table = Timetable::default();
        let mut entry = None;
        table.set(ConnectionId(1), &mut entry, Some(MonoMillis(30)));
        table.set(ConnectionId(1), &mut entry, None);
        assert_eq!((entry, table.first()), (None, None));
    }
}
