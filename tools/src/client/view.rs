//! The client's own view of its friend list: filled by the reply to the login, and kept by what comes
//! after it.
//!
//! Owns groups, friends and the names beside numbers. It never asks the server for anything.

use std::collections::BTreeMap;

use oicq::codec::charset::Charset;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::server::{GroupEntry, Presence};

use super::commands::GroupName;
use super::events::Event;

/// The friend list as far as the client knows it.
#[derive(Debug, Default)]
pub(crate) struct View {
    groups: BTreeMap<GroupNumber, Group>,
    names: BTreeMap<ServiceNumber, String>,
    /// States that came before the message that somebody is a friend now: that one may wait for room.
    early: BTreeMap<ServiceNumber, Presence>,
}

#[derive(Debug, Default)]
struct Group {
    name: String,
    friends: BTreeMap<ServiceNumber, Friend>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Friend {
    portrait: u8,
    /// As it was at login, or as the server has told since; `None` for those who were added since, where it
    /// does not tell.
    state: Option<Presence>,
}

impl View {
    /// What the reply to a login tells.
    pub(crate) fn handle_login(&mut self, groups: &[GroupEntry<'_>], charset: Charset) {
        self.groups.clear();
        self.early.clear();
        for entry in groups {
            let group = self.groups.entry(entry.group).or_default();
            group.name = charset.decode(entry.name).into_owned();
            for friend in &entry.friends {
                let state = Some(friend.state);
                group.friends.insert(friend.number, Friend { portrait: friend.portrait, state });
                self.names.insert(friend.number, charset.decode(friend.nickname).into_owned());
            }
        }
    }

    /// Forgets the list, and keeps the names.
    pub(crate) fn handle_logout(&mut self) {
        self.groups.clear();
        self.early.clear();
    }

    /// A user's nickname.
    pub(crate) fn learn(&mut self, number: ServiceNumber, nickname: String) {
        self.names.insert(number, nickname);
    }

    /// A user's nickname, where it is known.
    pub(crate) fn name(&self, number: ServiceNumber) -> Option<&str> {
        self.names.get(&number).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// A group was added or renamed.
    pub(crate) fn handle_group(&mut self, group: GroupNumber, name: String) {
        self.groups.entry(group).or_default().name = name;
    }

    /// A group was deleted: its friends are in the first group now.
    pub(crate) fn handle_group_deleted(&mut self, group: GroupNumber) {
        if let Some(gone) = self.groups.remove(&group) {
            self.groups.entry(GroupNumber::FIRST).or_default().friends.extend(gone.friends);
        }
    }

    /// A friend was added.
    pub(crate) fn handle_added(&mut self, number: ServiceNumber) {
        if self.group_of(number).is_none() {
            let state = self.early.remove(&number);
            let first = self.groups.entry(GroupNumber::FIRST).or_default();
            first.friends.insert(number, Friend { state, ..Friend::default() });
        }
    }

    /// A friend is seen so from now on.
    pub(crate) fn handle_presence(&mut self, number: ServiceNumber, state: Presence) {
        let mut groups = self.groups.values_mut();
        match groups.find_map(|group| group.friends.get_mut(&number)) {
            Some(friend) => friend.state = Some(state),
            None => _ = self.early.insert(number, state),
        }
    }

    /// A friend was deleted, or is no friend.
    pub(crate) fn handle_removed(&mut self, number: ServiceNumber) -> bool {
        let group = self.group_of(number).and_then(|group| self.groups.get_mut(&group));
        group.is_some_and(|group| group.friends.remove(&number).is_some())
    }

    /// Friends were moved, in this order.
    pub(crate) fn handle_moved(&mut self, moves: &[(ServiceNumber, GroupNumber)]) {
        for &(number, to) in moves {
            let from = self.group_of(number).and_then(|group| self.groups.get_mut(&group));
            if let Some(friend) = from.and_then(|group| group.friends.remove(&number)) {
                self.groups.entry(to).or_default().friends.insert(number, friend);
            }
        }
    }

    /// The number of a group that people named.
    pub(crate) fn find(&self, group: &GroupName) -> Option<GroupNumber> {
        match group {
            GroupName::Number(number) => Some(GroupNumber(*number)),
            GroupName::Name(name) => {
                self.groups.iter().find(|(_, group)| group.name == *name).map(|(number, _)| *number)
            }
        }
    }

    /// How many groups and how many friends there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.groups.len(), self.groups.values().map(|group| group.friends.len()).sum())
    }

    /// The list, line by line.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (number, group) in &self.groups {
            let event = Event::new("group").with("group", number).with("name", &group.name);
            events.push(event.with("friends", group.friends.len()));
            events.extend(group.friends.iter().map(|(friend, entry)| {
                Event::new("friend")
                    .with("number", friend)
                    .with("group", number)
                    .with("state", state_word(entry.state))
                    .with("portrait", entry.portrait)
                    .with("nickname", self.name(*friend).unwrap_or_default())
            }));
        }
        events
    }

    fn group_of(&self, number: ServiceNumber) -> Option<GroupNumber> {
        let mut groups = self.groups.iter();
        groups.find(|(_, group)| group.friends.contains_key(&number)).map(|(group, _)| *group)
    }
}

/// How people and scripts read a state.
pub(super) const fn state_word(state: Option<Presence>) -> &'static str {
    match state {
        Some(Presence::Online) => "online",
        Some(Presence::DoNotDisturb) => "busy",
        Some(Presence::Offline) => "offline",
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oicq::wire::server::FriendEntry;

    const ANN: ServiceNumber = ServiceNumber(10_001);
    const BOB: ServiceNumber = ServiceNumber(10_002);

    fn view() -> View {
        let ann =
            FriendEntry { number: ANN, portrait: 3, state: Presence::Online, nickname: b"ann" };
        let mut view = View::default();
        let group = GroupNumber::FIRST;
        view.handle_login(
            &[GroupEntry { name: b"My Friends", group, friends: vec![ann] }],
            Charset::Utf8,
        );
        view
    }

    fn lines(view: &View) -> Vec<String> {
        view.events().iter().map(Event::line).collect()
    }

    #[test]
    fn the_list_follows_what_happens() {
        let mut view = view();
        let friend = "friend number=10001 group=1 state=online portrait=3 nickname=ann";
        assert_eq!(lines(&view), ["group group=1 name=\"My Friends\" friends=1", friend]);

        view.handle_group(GroupNumber(2), "Old".to_owned());
        view.handle_added(BOB);
        view.handle_added(ANN);
        assert_eq!(view.counts(), (2, 2));
        view.handle_moved(&[(ANN, GroupNumber(2)), (ServiceNumber(7), GroupNumber(2))]);
        assert_eq!(view.group_of(ANN), Some(GroupNumber(2)));
        view.handle_group_deleted(GroupNumber(2));
        assert_eq!(view.group_of(ANN), Some(GroupNumber::FIRST));
        assert!(view.handle_removed(BOB) && !view.handle_removed(BOB));
        assert_eq!(view.counts(), (1, 1));
        assert_eq!(view.name(ANN), Some("ann"));
    }

    #[test]
    fn friends_are_seen_as_the_server_tells() {
        let mut view = view();
        view.handle_added(BOB);
        assert!(lines(&view)[2].contains("number=10002 group=1 state=unknown"));
        view.handle_presence(BOB, Presence::DoNotDisturb);
        view.handle_presence(ANN, Presence::Offline);
        view.handle_presence(ServiceNumber(7), Presence::Online);
        assert!(lines(&view)[1].contains("number=10001 group=1 state=offline"));
        assert!(lines(&view)[2].contains("number=10002 group=1 state=busy"));
        assert_eq!(view.counts(), (1, 2), "who is told of does not become a friend");
    }

    #[test]
    fn groups_are_found_by_name() {
        let view = view();
        let find = |name: &str| view.find(&GroupName::Name(name.to_owned()));
        assert_eq!(find("My Friends"), Some(GroupNumber::FIRST));
        assert_eq!(find("Others"), None);
        assert_eq!(view.find(&GroupName::Number(9)), Some(GroupNumber(9)));
    }
}
