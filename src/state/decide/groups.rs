//! The groups of a friend list. Protocol section 4, `0x06` to `0x09`.

use std::collections::BTreeMap;

use super::{Forbidden, List, Refusal, check_text};
use crate::codec::charset::{Breaks, Charset};
use crate::codec::packed::Moves;
use crate::id::{GroupNumber, ServiceNumber};
use crate::limits::{FRIENDS_PER_GROUP, GROUP_NUMBER_MAX, NAME_BYTES};
use crate::state::{Event, State, User};

/// A new group, with the smallest free number.
pub fn add<'a>(
    state: &State,
    owner: ServiceNumber,
    name: &'a [u8],
    charset: Charset,
) -> Result<Event<'a>, Refusal> {
    check_name(name, charset)?;
    let holds = usize::from(GROUP_NUMBER_MAX);
    let full = Refusal::Limit { list: List::Groups, holds };
    let group = user(state, owner)?.free_group().ok_or(full)?;
    Ok(Event::GroupAdded { owner, group, name })
}

/// Another name for a group; `None` where it has that name.
pub fn rename<'a>(
    state: &State,
    owner: ServiceNumber,
    group: GroupNumber,
    name: &'a [u8],
    charset: Charset,
) -> Result<Option<Event<'a>>, Refusal> {
    check_name(name, charset)?;
    let old = user(state, owner)?.group(group).ok_or(unknown(group))?;
    Ok((*old.name != *name).then_some(Event::GroupRenamed { owner, group, name }))
}

/// A group's end: its friends go to group 1.
pub fn delete<'a>(
    state: &State,
    owner: ServiceNumber,
    group: GroupNumber,
) -> Result<Event<'a>, Refusal> {
    if group == GroupNumber::FIRST {
        return Err(Refusal::NotAllowed(Forbidden::DeleteFirstGroup));
    }
    let user = user(state, owner)?;
    let friends = user.group(group).ok_or(unknown(group))?.friends;
    check_room(user, GroupNumber::FIRST, usize::from(friends))?;
    Ok(Event::GroupDeleted { owner, group })
}

/// Friends into other groups, all of them or none; `None` where all of them end up where they are.
pub fn move_friends<'a>(
    state: &State,
    owner: ServiceNumber,
    moves: Moves<'a>,
) -> Result<Option<Event<'a>>, Refusal> {
    let user = user(state, owner)?;
    // Where each named friend ends up: the last mention counts.
    let mut ends = BTreeMap::new();
    for (friend, group) in moves.iter() {
        user.friend(friend).ok_or(Refusal::UnknownFriend(friend))?;
        check_group(user, group)?;
        ends.insert(friend, group);
    }
    let mut changes: BTreeMap<GroupNumber, isize> = BTreeMap::new();
    let mut any_moves = false;
    for (friend, to) in ends {
        let from = user.friend(friend).map_or(to, |friend| friend.group);
        any_moves |= from != to;
        *changes.entry(from).or_default() -= 1;
        *changes.entry(to).or_default() += 1;
    }
    for (group, change) in changes {
        check_room(user, group, usize::try_from(change).unwrap_or(0))?;
    }
    Ok(any_moves.then_some(Event::FriendsMoved { owner, moves }))
}

/// The group, if it is one of this user's.
pub(super) fn check_group(user: &User, group: GroupNumber) -> Result<(), Refusal> {
    user.group(group).map(|_| ()).ok_or(unknown(group))
}

fn unknown(group: GroupNumber) -> Refusal {
    Refusal::UnknownGroup(group.0.into())
}

/// Whether a group takes `more` friends.
pub(super) fn check_room(user: &User, group: GroupNumber, more: usize) -> Result<(), Refusal> {
    let full = Refusal::Limit { list: List::Group(group), holds: FRIENDS_PER_GROUP };
    if user.has_room(group, more) { Ok(()) } else { Err(full) }
}

pub(super) fn user(state: &State, number: ServiceNumber) -> Result<&User, Refusal> {
    state.user(number).ok_or(Refusal::UnknownNumber(number))
}

fn check_name(name: &[u8], charset: Charset) -> Result<(), Refusal> {
    check_text("name", name, (1, NAME_BYTES), charset, Breaks::Refused)
}
