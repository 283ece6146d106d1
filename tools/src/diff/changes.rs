//! What differs between two states, user by user.
//!
//! Owns the comparison. It borrows all that it finds, makes no text, and allocates nothing for a user that is
//! the same in both.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use oicq::id::{GroupNumber, Seq, ServiceNumber};
use oicq::state::{Authentication, Friend, Group, MonitoringRecord, State, User, Waiting};

use crate::show::{Field, profile_fields};

/// What there is on the one side and on the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change<T> {
    pub(super) from: T,
    pub(super) to: T,
}

/// A list of things that can be there or not: each with what it was and what it is.
pub(super) type Listed<K, T> = Vec<(K, Change<Option<T>>)>;

/// Two states, compared.
pub(super) struct Between<'a> {
    pub(super) from: &'a State,
    pub(super) to: &'a State,
    /// The starts and ends of monitoring that one side alone has, by who is named in them. The record only
    /// grows: they are all of the later side.
    monitoring: BTreeMap<ServiceNumber, Vec<MonitoringRecord>>,
    /// Whether the second state is the earlier one.
    backwards: bool,
}

/// What is different about one user.
pub(super) struct Changes<'a> {
    pub(super) number: ServiceNumber,
    pub(super) user: Change<Option<&'a User>>,
    pub(super) profile: Vec<(&'static str, Change<Option<Field<'a>>>)>,
    pub(super) authentication: Option<Change<Option<Authentication>>>,
    pub(super) password: bool,
    pub(super) groups: Listed<GroupNumber, &'a [u8]>,
    pub(super) friends: Listed<ServiceNumber, GroupNumber>,
    pub(super) requests: Listed<ServiceNumber, ()>,
    pub(super) mailbox: Listed<Seq, &'a Waiting>,
    /// Starts and ends of monitoring that were not there before; backwards, that are not there yet.
    pub(super) monitoring: Change<&'a [MonitoringRecord]>,
}

impl<'a> Between<'a> {
    /// What makes the second of the first.
    pub(super) fn new(from: &'a State, to: &'a State) -> Self {
        let backwards = to.last_seq() < from.last_seq();
        let (early, late) = if backwards { (to, from) } else { (from, to) };
        let mut monitoring: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for record in late.monitoring().iter().skip(early.monitoring().len()) {
            monitoring.entry(record.operator).or_default().push(*record);
            if record.watched != record.operator {
                monitoring.entry(record.watched).or_default().push(*record);
            }
        }
        Self { from, to, monitoring, backwards }
    }

    /// The users that differ, in ascending order of their numbers.
    pub(super) fn users(&self) -> impl Iterator<Item = Changes<'_>> {
        // Users are never removed: the later state has all of them.
        let late = if self.backwards { self.from } else { self.to };
        late.users().filter_map(|(number, _)| self.user(number))
    }

    fn user(&self, number: ServiceNumber) -> Option<Changes<'_>> {
        let (from, to) = (self.from.user(number), self.to.user(number));
        let records = self.monitoring.get(&number).map_or(&[][..], Vec::as_slice);
        let (gone, come) = if self.backwards { (records, &[][..]) } else { (&[][..], records) };
        let mut changes = Changes {
            number,
            user: Change { from, to },
            profile: Vec::new(),
            authentication: None,
            password: false,
            groups: Vec::new(),
            friends: Vec::new(),
            requests: Vec::new(),
            mailbox: Vec::new(),
            monitoring: Change { from: gone, to: come },
        };
        // Who is not registered yet has nothing that could be compared.
        if to.is_some() {
            changes.compare();
        }
        (!changes.is_nothing()).then_some(changes)
    }
}

impl<'a> Changes<'a> {
    fn is_nothing(&self) -> bool {
        self.user.from.is_some() == self.user.to.is_some()
            && self.profile.is_empty()
            && self.authentication.is_none()
            && !self.password
            && self.groups.is_empty()
            && self.friends.is_empty()
            && self.requests.is_empty()
            && self.mailbox.is_empty()
            && self.monitoring.from.is_empty()
            && self.monitoring.to.is_empty()
    }

    fn compare(&mut self) {
        let Change { from, to } = self.user;
        let both = |get: fn(&'a User) -> _| Change { from: from.map(get), to: to.map(get) };
        self.compare_profiles();
        let authentication = both(User::authentication);
        self.authentication = authentication.differs().then_some(authentication);
        self.password = match (from, to) {
            (Some(from), Some(to)) => from.password_hash() != to.password_hash(),
            _ => false,
        };
        let groups = |user: Option<&'a User>| user.map_or(&[][..], User::groups).iter();
        let named = |group: &'a Group| (group.number, &*group.name);
        self.groups = listed(groups(from).map(named), groups(to).map(named));
        let friends = |user: Option<&'a User>| user.map_or(&[][..], User::friends).iter();
        let sorted = |friend: &'a Friend| (friend.number, friend.group);
        self.friends = listed(friends(from).map(sorted), friends(to).map(sorted));
        let requests = |user: Option<&'a User>| user.into_iter().flat_map(User::requests);
        let asks = |asker: &'a ServiceNumber| (*asker, ());
        self.requests = listed(requests(from).map(asks), requests(to).map(asks));
        let waiting =
            |user: Option<&'a User>| user.into_iter().flat_map(|user| user.mailbox().iter());
        self.mailbox = listed(waiting(from), waiting(to));
    }

    fn compare_profiles(&mut self) {
        let Change { from, to } = self.user;
        let profiles = Change { from: from.map(User::profile), to: to.map(User::profile) };
        if !profiles.differs() {
            return;
        }
        let (from, to) = (profiles.from.unwrap_or_default(), profiles.to.unwrap_or_default());
        for ((name, from), (_, to)) in profile_fields(&from).into_iter().zip(profile_fields(&to)) {
            let from = profiles.from.is_some().then_some(from);
            let is_said = from.is_some() || !matches!(to, Field::Text(b"") | Field::Number(0));
            if from != Some(to) && is_said {
                self.profile.push((name, Change { from, to: Some(to) }));
            }
        }
    }
}

impl<T: PartialEq> Change<T> {
    fn differs(&self) -> bool {
        self.from != self.to
    }
}

/// What differs between two lists in ascending order of their keys.
fn listed<K: Ord, T: PartialEq>(
    from: impl Iterator<Item = (K, T)>,
    to: impl Iterator<Item = (K, T)>,
) -> Listed<K, T> {
    let (mut from, mut to) = (from.peekable(), to.peekable());
    let mut different = Vec::new();
    loop {
        let order = match (from.peek(), to.peek()) {
            (None, None) => return different,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((from, _)), Some((to, _))) => from.cmp(to),
        };
        let from = if order.is_le() { from.next() } else { None };
        let to = if order.is_ge() { to.next() } else { None };
        match (from, to) {
            (Some((key, from)), Some((_, to))) if from != to => {
                different.push((key, Change { from: Some(from), to: Some(to) }));
            }
            (Some((key, from)), None) => {
                different.push((key, Change { from: Some(from), to: None }));
            }
            (None, Some((key, to))) => different.push((key, Change { from: None, to: Some(to) })),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_differ_where_something_came_went_or_is_another() {
        let from = [(1, 'a'), (2, 'b'), (4, 'd')];
        let to = [(2, 'x'), (3, 'c'), (4, 'd')];
        let change = |from, to| Change { from, to };
        let different = listed(from.into_iter(), to.into_iter());
        let expected = vec![
            (1, change(Some('a'), None)),
            (2, change(Some('b'), Some('x'))),
            (3, change(None, Some('c'))),
        ];
        assert_eq!(different, expected);
        assert_eq!(listed(from.into_iter(), from.into_iter()), []);
        assert_eq!(listed(from.into_iter(), [].into_iter()).len(), 3);
    }
}
