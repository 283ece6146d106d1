//! One user followed through the events of a log, without a state.
//!
//! Owns what tells whether an event concerns that user, in the sense of [`Happening::concerns`], which looks
//! into the state: reading the events alone is ten times as fast as applying them.
//!
//! [`Happening::concerns`]: crate::source::Happening::concerns

use std::collections::{BTreeMap, BTreeSet};

use oicq::id::{GroupNumber, ServiceNumber};
use oicq::state::{Event, State};

/// A user, and what others have to do with it after the events so far.
pub(super) struct Ties {
    user: ServiceNumber,
    /// Who has the user in its friend list, and in which group: a broadcast of theirs may reach it.
    listed_by: BTreeMap<ServiceNumber, GroupNumber>,
    /// Who monitors the user.
    watchers: BTreeSet<ServiceNumber>,
}

impl Ties {
    /// A user's ties in the state before the first event.
    pub(super) fn new(user: ServiceNumber, state: &State) -> Self {
        let listed_by = state.user(user).into_iter().flat_map(|user| user.listed_by());
        let group = |owner| Some((owner, state.user(owner)?.friend(user)?.group));
        Self {
            user,
            listed_by: listed_by.filter_map(group).collect(),
            watchers: state.watchers(user).collect(),
        }
    }

    /// Takes the next event in, and answers whether it concerns the user.
    pub(super) fn follow(&mut self, event: &Event<'_>) -> bool {
        let user = self.user;
        match *event {
            Event::Registered { number: one, .. }
            | Event::ProfileChanged { number: one, .. }
            | Event::PasswordRehashed { number: one, .. }
            | Event::GroupAdded { owner: one, .. }
            | Event::GroupRenamed { owner: one, .. } => one == user,
            Event::GroupDeleted { owner, group } => {
                if let Some(listed) = self.listed_by.get_mut(&owner).filter(|own| **own == group) {
                    *listed = GroupNumber::FIRST;
                }
                owner == user
            }
            Event::FriendsMoved { owner, moves } => {
                let moved = moves.iter().filter(|(friend, _)| *friend == user).last();
                if let Some((_, group)) = moved {
                    self.listed_by.insert(owner, group);
                }
                owner == user || moved.is_some()
            }
            Event::FriendAdded { owner, friend, group, .. } => {
                if friend == user {
                    self.listed_by.insert(owner, group);
                }
                owner == user || friend == user
            }
            Event::FriendDeleted { owner, friend } => {
                if friend == user {
                    self.listed_by.remove(&owner);
                }
                owner == user || friend == user
            }
            Event::FriendRequested { asker: one, friend: other, .. }
            | Event::RequestRejected { asker: one, friend: other }
            | Event::FriendRefused { asker: one, friend: other }
            | Event::MessageSent { from: one, to: other, .. } => one == user || other == user,
            Event::MessageBroadcast { from, group, left_out, .. } => {
                let listed = self.listed_by.get(&from);
                from == user
                    || listed.is_some_and(|own| group == GroupNumber::ALL || *own == group)
                        && !left_out.iter().any(|friend| friend == user)
            }
            Event::Delivered { receipts } => receipts.iter().any(|(receiver, _)| receiver == user),
            Event::MonitoringStarted { operator, watched } => {
                if watched == user {
                    self.watchers.insert(operator);
                }
                operator == user || watched == user
            }
            Event::MonitoringEnded { operator } => {
                let was_watched = self.watchers.remove(&operator);
                operator == user || was_watched
            }
            Event::Lost | Event::StateDigest { .. } => false,
        }
    }
}

/// All users that an event names or reaches, those first whose state it changes; `state` is that before it.
pub(super) fn users_of(event: &Event<'_>, state: &State) -> Vec<ServiceNumber> {
    match *event {
        Event::Registered { number: one, .. }
        | Event::ProfileChanged { number: one, .. }
        | Event::PasswordRehashed { number: one, .. }
        | Event::GroupAdded { owner: one, .. }
        | Event::GroupRenamed { owner: one, .. }
        | Event::GroupDeleted { owner: one, .. } => vec![one],
        Event::FriendsMoved { owner, moves } => {
            [owner].into_iter().chain(moves.iter().map(|(friend, _)| friend)).collect()
        }
        Event::FriendRequested { asker: second, friend: first, .. }
        | Event::RequestRejected { asker: first, friend: second }
        | Event::FriendRefused { asker: first, friend: second }
        | Event::FriendAdded { owner: first, friend: second, .. }
        | Event::FriendDeleted { owner: first, friend: second }
        | Event::MessageSent { from: second, to: first, .. }
        | Event::MonitoringStarted { operator: first, watched: second } => vec![first, second],
        Event::MessageBroadcast { from, group, left_out, .. } => {
            let mut left_out = left_out.iter().peekable();
            let friends = state.user(from).into_iter().flat_map(|user| user.friends_in(group));
            let reached = friends.filter(|friend| left_out.next_if_eq(friend).is_none());
            reached.chain([from]).collect()
        }
        Event::Delivered { receipts } => receipts.iter().map(|(user, _)| user).collect(),
        Event::MonitoringEnded { operator } => {
            [operator].into_iter().chain(state.watched_by(operator)).collect()
        }
        Event::Lost | Event::StateDigest { .. } => Vec::new(),
    }
}
