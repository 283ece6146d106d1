//! Whom a relay knows: the connection that each number is on, and the friends that it passes broadcasts on to.
//!
//! It remembers no names, and checks nothing that a server would check. What is sent it never knows.

use oicq::codec::packed::Moves;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::server::{FriendEntry, GroupEntry, Presence};

/// What every group is called, for nobody asks.
const GROUP: &[u8] = b"My Friends";

/// All users, by their numbers, counted from the first one.
#[derive(Default)]
pub(super) struct Users(Vec<User>);

struct User {
    /// The key of its connection.
    home: usize,
    /// The last group that it has.
    last_group: GroupNumber,
    /// In ascending order of their numbers.
    friends: Vec<Friend>,
}

#[derive(Clone, Copy)]
struct Friend {
    number: ServiceNumber,
    /// Where it stands among the users: what a broadcast looks for again and again.
    index: usize,
    group: GroupNumber,
}

impl Users {
    /// One more, on this connection: its number.
    pub(super) fn add(&mut self, home: usize) -> ServiceNumber {
        let number = number(self.0.len());
        self.0.push(User { home, last_group: GroupNumber::FIRST, friends: Vec::new() });
        number
    }

    /// The connection of a number.
    pub(super) fn home(&self, number: ServiceNumber) -> Option<usize> {
        self.0.get(index(number)).map(|user| user.home)
    }

    /// A number is on this connection from now on; `false` where nobody has it.
    pub(super) fn move_to(&mut self, number: ServiceNumber, home: usize) -> bool {
        let user = self.0.get_mut(index(number));
        user.map(|user| user.home = home).is_some()
    }

    /// Puts a friend into the first group, once; `false` where nobody has one of the numbers.
    pub(super) fn befriend(&mut self, own: ServiceNumber, number: ServiceNumber) -> bool {
        let friend = Friend { number, index: index(number), group: GroupNumber::FIRST };
        if friend.index >= self.0.len() {
            return false;
        }
        let Some(user) = self.0.get_mut(index(own)) else { return false };
        if let Err(at) = user.find(number) {
            user.friends.insert(at, friend);
        }
        true
    }

    /// One more group, unless all numbers for groups are taken.
    pub(super) fn add_group(&mut self, own: ServiceNumber) -> Option<GroupNumber> {
        let user = self.0.get_mut(index(own))?;
        user.last_group = GroupNumber(user.last_group.0.checked_add(1)?);
        Some(user.last_group)
    }

    /// Moves friends to groups. Who is no friend stays none.
    pub(super) fn move_friends(&mut self, own: ServiceNumber, moves: Moves<'_>) {
        let Some(user) = self.0.get_mut(index(own)) else { return };
        for (number, group) in moves.iter() {
            if let Ok(at) = user.find(number) {
                user.friends[at].group = group;
            }
        }
    }

    /// The connections of a user's friends in a group, or in all of them, in ascending order of their numbers.
    pub(super) fn homes_of_friends(
        &self,
        own: ServiceNumber,
        group: GroupNumber,
    ) -> impl Iterator<Item = usize> {
        let friends = self.0.get(index(own)).map_or(&[][..], |user| &user.friends);
        let is_meant = move |friend: &&Friend| group == GroupNumber::ALL || friend.group == group;
        friends.iter().filter(is_meant).filter_map(|friend| Some(self.0.get(friend.index)?.home))
    }

    /// A user's friends, as the reply to a login has them.
    pub(super) fn groups(&self, own: ServiceNumber) -> Vec<GroupEntry<'static>> {
        let Some(user) = self.0.get(index(own)) else { return Vec::new() };
        let groups = (GroupNumber::FIRST.0..=user.last_group.0).map(GroupNumber);
        let entry = |friend: &Friend| FriendEntry {
            number: friend.number,
            portrait: 0,
            state: Presence::Online,
            nickname: b"",
        };
        groups
            .map(|group| {
                let friends = user.friends.iter().filter(|friend| friend.group == group);
                GroupEntry { name: GROUP, group, friends: friends.map(entry).collect() }
            })
            .collect()
    }
}

impl User {
    fn find(&self, number: ServiceNumber) -> Result<usize, usize> {
        self.friends.binary_search_by_key(&number, |friend| friend.number)
    }
}

fn index(number: ServiceNumber) -> usize {
    let index = number.0.checked_sub(ServiceNumber::FIRST.0);
    index.and_then(|index| usize::try_from(index).ok()).unwrap_or(usize::MAX)
}

fn number(index: usize) -> ServiceNumber {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    ServiceNumber(ServiceNumber::FIRST.0.saturating_add(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ServiceNumber = ServiceNumber(10_001);
    const BOB: ServiceNumber = ServiceNumber(10_002);
    const CAT: ServiceNumber = ServiceNumber(10_003);
    const NOBODY: ServiceNumber = ServiceNumber(10_004);

    /// Ann on connection 7, bob on 8, cat on 9.
    fn three() -> Users {
        let mut users = Users::default();
        assert_eq!([7, 8, 9].map(|home| users.add(home)), [ANN, BOB, CAT]);
        users
    }

    fn homes(users: &Users, group: u8) -> Vec<usize> {
        users.homes_of_friends(ANN, GroupNumber(group)).collect()
    }

    #[test]
    fn a_number_is_where_it_has_come_in_last() {
        let mut users = three();
        assert!(users.befriend(ANN, BOB));
        assert!(users.move_to(BOB, 3) && !users.move_to(NOBODY, 3));
        assert!(!users.move_to(ServiceNumber::NONE, 3));
        assert_eq!((users.home(BOB), users.home(NOBODY)), (Some(3), None));
        assert_eq!(homes(&users, 0), [3]);
    }

    #[test]
    fn friends_are_those_of_one_user_alone_and_each_is_there_once() {
        let mut users = three();
        assert!(users.befriend(ANN, CAT) && users.befriend(ANN, BOB) && users.befriend(ANN, CAT));
        assert!(!users.befriend(ANN, NOBODY) && !users.befriend(NOBODY, ANN));
        assert_eq!(homes(&users, 0), [8, 9]);
        assert_eq!(users.homes_of_friends(BOB, GroupNumber::ALL).count(), 0);
        assert_eq!(users.homes_of_friends(NOBODY, GroupNumber::ALL).count(), 0);
    }

    #[test]
    fn friends_are_moved_to_groups_and_listed_there() {
        let mut users = three();
        assert!(users.befriend(ANN, BOB) && users.befriend(ANN, CAT));
        assert_eq!(users.add_group(ANN), Some(GroupNumber(2)));
        let moves = Moves::pack([(CAT, GroupNumber(2)), (NOBODY, GroupNumber(2))]);
        users.move_friends(ANN, Moves::over(&moves).unwrap());
        assert_eq!(
            (homes(&users, 0), homes(&users, 1), homes(&users, 2)),
            (vec![8, 9], vec![8], vec![9])
        );
        let numbers = |group: &GroupEntry<'_>| {
            let friends = group.friends.iter().map(|friend| friend.number);
            (group.group, friends.collect::<Vec<_>>())
        };
        let listed: Vec<_> = users.groups(ANN).iter().map(numbers).collect();
        assert_eq!(listed, [(GroupNumber(1), vec![BOB]), (GroupNumber(2), vec![CAT])]);
        let others = (3..=255).map(|group| Some(GroupNumber(group)));
        assert!((3..=255).map(|_| users.add_group(ANN)).eq(others));
        assert_eq!(users.add_group(ANN), None);
    }
}
