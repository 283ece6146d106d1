//! What is kept of each user, packed: most of the memory of a large server is here.
//!
//! Owns the friend lists and the indexes over them, and keeps the users' part of the running digest: a user is
//! changed through [`Changing`] alone. It refuses nothing: callers have looked before.

use std::collections::BTreeSet;
use std::ops::Deref;

use super::agreement::Flaw;
use super::running::{Item, Sum};
use super::{Authentication, Mailbox, MessageKind, Waiting};
use crate::codec::Reader;
use crate::codec::packed::{Moves, Numbers};
use crate::codec::profile::Profile;
use crate::id::{GroupNumber, Place, Seq, ServiceNumber, UnixMillis};
use crate::limits::{FRIENDS_PER_GROUP, GROUP_NUMBER_MAX};

/// All users, by number. Numbers are counted up without gaps, so a number is a place in the list.
#[derive(Clone, Default)]
pub(super) struct Users {
    /// Blocks of one size, so that no registration ever moves those before it.
    blocks: Vec<Vec<User>>,
    /// Of all that counts in them.
    sum: Sum,
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

    /// A user, to change it.
    pub(super) fn change(&mut self, number: ServiceNumber) -> Option<Changing<'_>> {
        let (block, place) = place(number)?;
        let user = self.blocks.get_mut(block)?.get_mut(place)?;
        Some(Changing { number, user, sum: &mut self.sum })
    }

    /// Whether each user stands where its number says: all blocks but the last are full, and none is empty.
    pub(super) fn are_in_place(&self) -> bool {
        self.blocks.split_last().is_none_or(|(last, full)| {
            full.iter().all(|block| block.len() == BLOCK_USERS)
                && (1..=BLOCK_USERS).contains(&last.len())
        })
    }

    /// The sum of all that counts in users.
    pub(super) const fn sum(&self) -> Sum {
        self.sum
    }

    pub(super) fn push(&mut self, user: User) {
        if let Some(number) = self.next_number() {
            Item::each_of_user(number, &user, |item| self.sum.add(item));
        }
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
    password_hash: Box<str>,
    registered: UnixMillis,
    authentication: Authentication,
    /// In ascending order of their numbers; group 1 is always there.
    groups: Vec<Group>,
    /// In ascending order of their numbers.
    friends: Vec<Friend>,
    /// Who has this user in its friend list: the friend lists turned round.
    listed_by: BTreeSet<ServiceNumber>,
    /// Who waits for an answer to a friend request.
    requests: BTreeSet<ServiceNumber>,
    mailbox: Mailbox,
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

    /// The nickname and the portrait: what friend lists show.
    #[must_use]
    pub fn nickname_and_portrait(&self) -> (&[u8], u16) {
        Profile::nickname_and_portrait(&self.profile)
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

    /// What of it does not agree with the rest. What it says of others is not looked at.
    pub(super) fn find_flaw(&self) -> Option<Flaw> {
        let mut reader = Reader::new(&self.profile);
        if Profile::read(&mut reader).is_err() || reader.remaining() > 0 {
            return Some(Flaw::Profile);
        }
        let has_first = self.groups.first().is_some_and(|it| it.number == GroupNumber::FIRST);
        if !has_first || !self.groups.is_sorted_by(|one, next| one.number < next.number) {
            return Some(Flaw::Groups);
        }
        if !self.friends.is_sorted_by(|one, next| one.number < next.number) {
            return Some(Flaw::Friends);
        }
        let mut counts = [0_usize; 256];
        for friend in &self.friends {
            if self.group(friend.group).is_none() {
                return Some(Flaw::Group(friend.number));
            }
            counts[usize::from(friend.group.0)] += 1;
        }
        let is_miscounted = |group: &&Group| {
            let count = counts[usize::from(group.number.0)];
            count != usize::from(group.friends) || count > FRIENDS_PER_GROUP
        };
        let miscounted = self.groups.iter().find(is_miscounted);
        miscounted.map(|group| Flaw::Count(group.number)).or_else(|| self.mailbox.find_flaw())
    }

    /// The profile's bytes, as [`Profile::write`] lays them out.
    pub(super) fn packed_profile(&self) -> &[u8] {
        &self.profile
    }

    /// Whether the groups are what a new user has.
    pub(super) fn has_first_group_alone(&self) -> bool {
        matches!(&self.groups[..], [first] if &*first.name == FIRST_GROUP)
    }

    /// Takes the groups of a user that is being restored, and is not among the others yet.
    pub(super) fn restore_groups(&mut self, groups: Vec<Group>) {
        self.groups = groups;
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

/// A user that is being changed, and the sum that follows each change.
pub(super) struct Changing<'a> {
    number: ServiceNumber,
    user: &'a mut User,
    sum: &'a mut Sum,
}

impl Deref for Changing<'_> {
    type Target = User;

    fn deref(&self) -> &User {
        self.user
    }
}

impl Changing<'_> {
    /// Another profile, and perhaps another authentication and password.
    pub(super) fn set_profile(
        &mut self,
        profile: &Profile<'_>,
        authentication: Option<Authentication>,
        password_hash: Option<&str>,
    ) {
        self.sum.take_out(Item::user(self.number, self.user));
        self.user.profile = packed(profile);
        self.user.authentication = authentication.unwrap_or(self.user.authentication);
        if let Some(hash) = password_hash {
            self.user.password_hash = hash.into();
        }
        self.sum.add(Item::user(self.number, self.user));
    }

    /// Another hash of the same password.
    pub(super) fn set_password_hash(&mut self, hash: &str) {
        self.sum.take_out(Item::user(self.number, self.user));
        self.user.password_hash = hash.into();
        self.sum.add(Item::user(self.number, self.user));
    }

    pub(super) fn add_group(&mut self, number: GroupNumber, name: &[u8]) {
        if let Err(index) = self.group_index(number) {
            self.user.groups.insert(index, Group { number, friends: 0, name: name.into() });
            self.sum.add(Item::group(self.number, number, name));
        }
    }

    pub(super) fn rename_group(&mut self, number: GroupNumber, name: &[u8]) {
        if let Ok(index) = self.group_index(number) {
            let old = std::mem::replace(&mut self.user.groups[index].name, name.into());
            self.sum.take_out(Item::group(self.number, number, &old));
            self.sum.add(Item::group(self.number, number, name));
        }
    }

    /// Its friends are in group 1 afterwards.
    pub(super) fn delete_group(&mut self, number: GroupNumber) {
        let Ok(index) = self.group_index(number) else { return };
        let Group { friends: moved, name, .. } = self.user.groups.remove(index);
        self.sum.take_out(Item::group(self.number, number, &name));
        for friend in self.user.friends.iter_mut().filter(|friend| friend.group == number) {
            self.sum.take_out(Item::friend(self.number, *friend));
            friend.group = GroupNumber::FIRST;
            self.sum.add(Item::friend(self.number, *friend));
        }
        self.user.groups[0].friends += moved;
    }

    pub(super) fn add_friend(&mut self, number: ServiceNumber, group: GroupNumber) {
        if let Err(index) = self.friend_index(number) {
            let friend = Friend { number, group };
            self.user.friends.insert(index, friend);
            self.user.count(group, 1);
            self.sum.add(Item::friend(self.number, friend));
        }
    }

    pub(super) fn move_friend(&mut self, number: ServiceNumber, group: GroupNumber) {
        if let Ok(index) = self.friend_index(number) {
            let friend = Friend { number, group };
            let old = std::mem::replace(&mut self.user.friends[index], friend);
            self.user.count(old.group, -1);
            self.user.count(group, 1);
            self.sum.take_out(Item::friend(self.number, old));
            self.sum.add(Item::friend(self.number, friend));
        }
    }

    pub(super) fn delete_friend(&mut self, number: ServiceNumber) {
        if let Ok(index) = self.friend_index(number) {
            let friend = self.user.friends.remove(index);
            self.user.count(friend.group, -1);
            self.sum.take_out(Item::friend(self.number, friend));
        }
    }

    /// Somebody waits for this user's answer, once however often it asks.
    pub(super) fn add_request(&mut self, asker: ServiceNumber) {
        if self.user.requests.insert(asker) {
            self.sum.add(Item::request(self.number, asker));
        }
    }

    /// Somebody no longer waits; answers whether it did.
    pub(super) fn remove_request(&mut self, asker: ServiceNumber) -> bool {
        let removed = self.user.requests.remove(&asker);
        if removed {
            self.sum.take_out(Item::request(self.number, asker));
        }
        removed
    }

    /// Who has this user in its friend list does not count in the digest: the friend lists do.
    pub(super) fn listed_by_mut(&mut self) -> &mut BTreeSet<ServiceNumber> {
        &mut self.user.listed_by
    }

    pub(super) fn post(&mut self, seq: Seq, waiting: Waiting) {
        if let Some((older, replaced)) = self.user.mailbox.add(seq, waiting) {
            self.sum.take_out(Item::message(self.number, older, &replaced));
        }
        self.sum.add(Item::message(self.number, seq, &waiting));
    }

    /// Takes everything up to `through` out of the mailbox.
    pub(super) fn deliver(&mut self, through: Seq) {
        self.user.mailbox.deliver(through, |seq, waiting| {
            self.sum.take_out(Item::message(self.number, seq, waiting));
        });
    }

    /// A message's text stands at another place.
    pub(super) fn relocate(&mut self, seq: Seq, from: ServiceNumber, kind: MessageKind, at: Place) {
        self.user.mailbox.relocate(seq, from, kind, at);
    }

    /// Takes further friends of a user that is being restored; answers whether they fit.
    pub(super) fn restore_friends(&mut self, more: Moves<'_>) -> bool {
        self.user.friends.reserve_exact(more.len());
        for (number, group) in more.iter() {
            let is_next = self.friends.last().is_none_or(|last| last.number < number);
            if !is_next || !self.has_room(group, 1) {
                return false;
            }
            let friend = Friend { number, group };
            self.user.count(group, 1);
            self.user.friends.push(friend);
            self.sum.add(Item::friend(self.number, friend));
        }
        true
    }

    /// Takes further users who have this one in their friend lists.
    pub(super) fn restore_listed_by(&mut self, more: Numbers<'_>) {
        if self.listed_by.is_empty() {
            // In order, a set is built at once.
            self.user.listed_by = more.iter().collect();
        } else {
            self.user.listed_by.extend(more.iter());
        }
    }

    /// Takes the friends out, to look at them while other users change; they are to be given back.
    pub(super) fn take_friends(&mut self) -> Vec<Friend> {
        std::mem::take(&mut self.user.friends)
    }

    pub(super) fn give_friends(&mut self, friends: Vec<Friend>) {
        self.user.friends = friends;
    }
}

fn packed(profile: &Profile<'_>) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(128);
    profile.write(&mut bytes);
    bytes.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::agreement::tests::{ANN, BEN, CAY, finds, found};
    use crate::state::{Contradiction, State};

    #[test]
    fn a_group_that_is_restored_counts_all_that_it_is_given() {
        let mut users = Users::default();
        let number = ServiceNumber::FIRST;
        users.push(User::new(&Profile::default(), "$", Authentication::Open, UnixMillis(1)));
        // As many as make a count of two bytes begin anew, and one more.
        let friends = (1..=u32::from(u16::MAX) + 2).map(|index| ServiceNumber(number.0 + index));
        let moves = Moves::pack(friends.map(|friend| (friend, GroupNumber::FIRST)));
        let mut user = users.change(number).unwrap();
        assert!(!user.restore_friends(Moves::over(&moves).unwrap()), "they do not fit");
    }

    /// A change of one user that no method makes.
    fn change(number: ServiceNumber, change: impl FnOnce(&mut User)) -> impl FnOnce(&mut State) {
        move |state| change(state.users.change(number).unwrap().user)
    }

    #[test]
    fn what_a_user_says_of_itself_is_compared() {
        finds(ANN, Flaw::Profile, change(ANN, |it| it.profile = it.profile[1..].into()));
        let longer = |it: &mut User| it.profile = [&it.profile[..], b"x"].concat().into();
        finds(ANN, Flaw::Profile, change(ANN, longer));
        let group =
            |number| Group { number: GroupNumber(number), friends: 0, name: b"x"[..].into() };
        finds(BEN, Flaw::Groups, change(BEN, |it| it.groups.clear()));
        finds(BEN, Flaw::Groups, change(BEN, |it| it.groups[0].number = GroupNumber(2)));
        finds(BEN, Flaw::Groups, change(BEN, |it| it.groups.extend([group(3), group(2)])));
        finds(BEN, Flaw::Groups, change(BEN, |it| it.groups.push(group(1))));
        finds(ANN, Flaw::Group(BEN), change(ANN, |it| it.friends[0].group = GroupNumber(2)));
        finds(ANN, Flaw::Count(GroupNumber(1)), change(ANN, |it| it.groups[0].friends = 0));
        finds(ANN, Flaw::Friends, change(ANN, |it| it.friends.push(it.friends[0])));
        let many = (0..256).map(|index| Friend {
            number: ServiceNumber(20_000 + index),
            group: GroupNumber::FIRST,
        });
        finds(
            CAY,
            Flaw::Count(GroupNumber(1)),
            change(CAY, |it| {
                it.friends.extend(many);
                it.groups[0].friends = 256;
            }),
        );
    }

    #[test]
    fn a_users_mailbox_is_looked_at() {
        let (from, kind, place) = (BEN, MessageKind::User, Place(0));
        let message = Waiting { from, kind, length: 1, checksum: 0, place, time: UnixMillis(1) };
        let post = |it: &mut User| assert_eq!(it.mailbox.add(Seq(1), message), None);
        finds(CAY, Flaw::Order, change(CAY, post));
    }

    #[test]
    fn users_stand_at_their_places() {
        assert_eq!(found(|state| state.users.blocks.push(vec![])), Some(Contradiction::Places));
        let found = found(|state| {
            let last = state.users.blocks[0].pop().unwrap();
            state.users.blocks.push(vec![last]);
        });
        assert_eq!(found, Some(Contradiction::Places));
    }

    #[test]
    fn what_changes_without_being_counted_is_found() {
        for of in [ANN, BEN, CAY] {
            let found = found(change(of, |it| it.registered.0 += 1));
            assert!(matches!(found, Some(Contradiction::RunningDigest { .. })), "{found:?}");
        }
        let found = found(change(CAY, |it| it.authentication = Authentication::Open));
        assert!(matches!(found, Some(Contradiction::RunningDigest { .. })), "{found:?}");
    }
}
