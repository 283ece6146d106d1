//! What is kept of each user, packed: most of the memory of a large server is here.
//!
//! Owns the friend lists and the indexes over them. It refuses nothing: callers have looked before.

use std::collections::BTreeSet;

use super::{Authentication, Mailbox};
use crate::codec::Reader;
use crate::codec::packed::Moves;
use crate::codec::profile::Profile;
use crate::id::{GroupNumber, ServiceNumber, UnixMillis};
use crate::limits::{FRIENDS_PER_GROUP, GROUP_NUMBER_MAX};

/// All users, by number. Numbers are counted up without gaps, so a number is a place in the list.
#[derive(Clone, Default)]
pub(super) struct Users {
    /// Blocks of one size, so that no registration ever moves those before it.
    blocks: Vec<Vec<User>>,
}

const BLOCK_USERS: usize = 1 << 12;

impl Users {
    pub(super) fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK_USERS + last.len())
    }

    pub(super) fn next_number(&self) -> Option<ServiceNumber> {
        let count = u32::try_from(self.len()).ok()?;
        ServiceNumber::FIRST.0.checked_add(count).map(ServiceNumber)
    }

    pub(super) fn get(&self, number: ServiceNumber) -> Option<&User> {
        let (block, place) = place(number)?;
        self.blocks.get(block)?.get(place)
    }

    pub(super) fn get_mut(&mut self, number: ServiceNumber) -> Option<&mut User> {
        let (block, place) = place(number)?;
        self.blocks.get_mut(block)?.get_mut(place)
    }

    pub(super) fn push(&mut self, user: User) {
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK_USERS => last.push(user),
            _ => {
                let mut block = Vec::with_capacity(BLOCK_USERS);
                block.push(user);
                self.blocks.push(block);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ServiceNumber, &User)> {
        (ServiceNumber::FIRST.0..).map(ServiceNumber).zip(self.blocks.iter().flatten())
    }
}

fn place(number: ServiceNumber) -> Option<(usize, usize)> {
    let index = usize::try_from(number.0.checked_sub(ServiceNumber::FIRST.0)?).ok()?;
    Some((index / BLOCK_USERS, index % BLOCK_USERS))
}

/// A group of a friend list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its number.
    pub number: GroupNumber,
    /// How many friends are in it.
    pub friends: u16,
    /// Its name.
    pub name: Box<[u8]>,
}

/// A friend in a friend list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Friend {
    /// The friend's number.
    pub number: ServiceNumber,
    /// The group that it is in.
    pub group: GroupNumber,
}

/// The name of the group that every user begins with.
pub(super) const FIRST_GROUP: &[u8] = b"My Friends";

/// What is kept of one user.
#[derive(Clone)]
pub struct User {
    /// The fields as [`Profile::write`] lays them out: one allocation for all strings.
    profile: Box<[u8]>,
    pub(super) password_hash: Box<str>,
    pub(super) registered: UnixMillis,
    pub(super) authentication: Authentication,
    /// In ascending order of their numbers; group 1 is always there.
    groups: Vec<Group>,
    /// In ascending order of their numbers.
    friends: Vec<Friend>,
    /// Who has this user in its friend list: the friend lists turned round.
    pub(super) listed_by: BTreeSet<ServiceNumber>,
    /// Who waits for an answer to a friend request.
    pub(super) requests: BTreeSet<ServiceNumber>,
    pub(super) mailbox: Mailbox,
}

impl User {
    pub(super) fn new(
        profile: &Profile<'_>,
        password_hash: &str,
        authentication: Authentication,
        registered: UnixMillis,
    ) -> Self {
        let first = Group { number: GroupNumber::FIRST, friends: 0, name: FIRST_GROUP.into() };
        Self {
            profile: packed(profile),
            password_hash: password_hash.into(),
            registered,
            authentication,
            groups: vec![first],
            friends: Vec::new(),
            listed_by: BTreeSet::new(),
            requests: BTreeSet::new(),
            mailbox: Mailbox::default(),
        }
    }

    /// What the user tells about itself.
    #[must_use]
    pub fn profile(&self) -> Profile<'_> {
        Profile::read(&mut Reader::new(&self.profile)).unwrap_or_default()
    }

    /// The password's hash, a PHC string.
    #[must_use]
    pub fn password_hash(&self) -> &str {
        &self.password_hash
    }

    /// When the user registered.
    #[must_use]
    pub const fn registered(&self) -> UnixMillis {
        self.registered
    }

    /// Who may add this user as a friend.
    #[must_use]
    pub const fn authentication(&self) -> Authentication {
        self.authentication
    }

    /// The groups, in ascending order of their numbers.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// One group.
    #[must_use]
    pub fn group(&self, number: GroupNumber) -> Option<&Group> {
        self.group_index(number).ok().map(|index| &self.groups[index])
    }

    /// The friends, in ascending order of their numbers.
    #[must_use]
    pub fn friends(&self) -> &[Friend] {
        &self.friends
    }

    /// The friends in a group, or in all, in ascending order of their numbers.
    pub fn friends_in(&self, group: GroupNumber) -> impl Iterator<Item = ServiceNumber> {
        let all = group == GroupNumber::ALL;
        self.friends
            .iter()
            .filter(move |friend| all || friend.group == group)
            .map(|friend| friend.number)
    }

    /// The friend of that number.
    #[must_use]
    pub fn friend(&self, number: ServiceNumber) -> Option<Friend> {
        self.friend_index(number).ok().map(|index| self.friends[index])
    }

    /// Who has this user in its friend list, in ascending order.
    pub fn listed_by(&self) -> impl Iterator<Item = ServiceNumber> {
        self.listed_by.iter().copied()
    }

    /// How many have this user in their friend lists.
    #[must_use]
    pub fn listed_count(&self) -> usize {
        self.listed_by.len()
    }

    /// Whether that user has this one in its friend list.
    #[must_use]
    pub fn is_listed_by(&self, owner: ServiceNumber) -> bool {
        self.listed_by.contains(&owner)
    }

    /// Who waits for this user's answer to a friend request, in ascending order.
    #[must_use]
    pub const fn requests(&self) -> &BTreeSet<ServiceNumber> {
        &self.requests
    }

    /// The undelivered messages.
    #[must_use]
    pub const fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The smallest number from 2 on that no group has.
    #[must_use]
    pub fn free_group(&self) -> Option<GroupNumber> {
        (GroupNumber::FIRST.0 + 1..=GROUP_NUMBER_MAX)
            .map(GroupNumber)
            .find(|number| self.group_index(*number).is_err())
    }

    /// Whether a group is there and has room for `more` friends.
    #[must_use]
    pub fn has_room(&self, group: GroupNumber, more: usize) -> bool {
        self.group(group)
            .is_some_and(|group| usize::from(group.friends) + more <= FRIENDS_PER_GROUP)
    }

    pub(super) fn set_profile(&mut self, profile: &Profile<'_>) {
        self.profile = packed(profile);
    }

    /// The profile's bytes, as [`Profile::write`] lays them out.
    pub(super) fn packed_profile(&self) -> &[u8] {
        &self.profile
    }

    pub(super) fn add_group(&mut self, number: GroupNumber, name: &[u8]) {
        if let Err(index) = self.group_index(number) {
            self.groups.insert(index, Group { number, friends: 0, name: name.into() });
        }
    }

    pub(super) fn rename_group(&mut self, number: GroupNumber, name: &[u8]) {
        if let Ok(index) = self.group_index(number) {
            self.groups[index].name = name.into();
        }
    }

    pub(super) fn delete_group(&mut self, number: GroupNumber) {
        let Ok(index) = self.group_index(number) else { return };
        let moved = self.groups.remove(index).friends;
        for friend in self.friends.iter_mut().filter(|friend| friend.group == number) {
            friend.group = GroupNumber::FIRST;
        }
        self.groups[0].friends += moved;
    }

    pub(super) fn add_friend(&mut self, number: ServiceNumber, group: GroupNumber) {
        if let Err(index) = self.friend_index(number) {
            self.friends.insert(index, Friend { number, group });
            self.count(group, 1);
        }
    }

    pub(super) fn move_friend(&mut self, number: ServiceNumber, group: GroupNumber) {
        if let Ok(index) = self.friend_index(number) {
            let from = std::mem::replace(&mut self.friends[index].group, group);
            self.count(from, -1);
            self.count(group, 1);
        }
    }

    pub(super) fn delete_friend(&mut self, number: ServiceNumber) {
        if let Ok(index) = self.friend_index(number) {
            let friend = self.friends.remove(index);
            self.count(friend.group, -1);
        }
    }

    /// Whether the groups are what a new user has.
    pub(super) fn has_first_group_alone(&self) -> bool {
        matches!(&self.groups[..], [first] if &*first.name == FIRST_GROUP)
    }

    /// Takes the groups of a user that is being restored; nobody is in them yet.
    pub(super) fn restore_groups(&mut self, groups: Vec<Group>) {
        self.groups = groups;
    }

    /// Takes further friends of a user that is being restored; answers whether they fit.
    pub(super) fn restore_friends(&mut self, more: Moves<'_>) -> bool {
        self.friends.reserve_exact(more.len());
        for (number, group) in more.iter() {
            let Ok(index) = self.group_index(group) else { return false };
            if self.friends.last().is_some_and(|last| last.number >= number) {
                return false;
            }
            self.groups[index].friends += 1;
            self.friends.push(Friend { number, group });
        }
        self.groups.iter().all(|group| usize::from(group.friends) <= FRIENDS_PER_GROUP)
    }

    /// Takes the friends out, to look at them while other users change; they are to be given back.
    pub(super) fn take_friends(&mut self) -> Vec<Friend> {
        std::mem::take(&mut self.friends)
    }

    pub(super) fn give_friends(&mut self, friends: Vec<Friend>) {
        self.friends = friends;
    }

    fn count(&mut self, group: GroupNumber, change: i16) {
        if let Ok(index) = self.group_index(group) {
            let friends = &mut self.groups[index].friends;
            *friends = friends.saturating_add_signed(change);
        }
    }

    fn group_index(&self, number: GroupNumber) -> Result<usize, usize> {
        self.groups.binary_search_by_key(&number, |group| group.number)
    }

    fn friend_index(&self, number: ServiceNumber) -> Result<usize, usize> {
        self.friends.binary_search_by_key(&number, |friend| friend.number)
    }
}

fn packed(profile: &Profile<'_>) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(128);
    profile.write(&mut bytes);
    bytes.into_boxed_slice()
}
