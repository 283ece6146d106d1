//! Nicknames through time: what each user was called at any event of a log, without a state of that time.
//!
//! Owns what lines of events say beside what stands in the event itself. It holds every nickname that anybody
//! ever had, and nothing else of the users.

use std::collections::BTreeMap;

use oicq::id::{Seq, ServiceNumber};
use oicq::state::{Event, State};

use crate::source::Happening;

/// The nicknames of a log. First [`begin`](Self::begin), then [`event`](Self::event) for each event.
#[derive(Default)]
pub(super) struct Names {
    /// All nicknames one behind the other, in the log's charset.
    bytes: Vec<u8>,
    /// What each user was called first, in ascending order of their numbers, which have no gaps.
    first: Vec<Nickname>,
    /// What users were called from an event on.
    later: BTreeMap<(ServiceNumber, Seq), Nickname>,
    /// Whom an end of monitoring was the end of it for.
    unwatched: BTreeMap<Seq, Box<[ServiceNumber]>>,
}

#[derive(Clone, Copy)]
struct Nickname {
    at: usize,
    len: usize,
}

impl Names {
    /// Takes the state before the first event in.
    pub(super) fn begin(&mut self, state: &State) {
        for (_, user) in state.users() {
            let nickname = self.keep(user.profile().nickname);
            self.first.push(nickname);
        }
    }

    /// Takes an event in.
    pub(super) fn event(&mut self, happening: &Happening<'_>) {
        match happening.event {
            Event::Registered { ref profile, .. } => {
                let nickname = self.keep(profile.nickname);
                self.first.push(nickname);
            }
            Event::ProfileChanged { number, ref profile, .. }
                if self.at(number, happening.seq) != Some(profile.nickname) =>
            {
                let nickname = self.keep(profile.nickname);
                self.later.insert((number, happening.seq), nickname);
            }
            Event::MonitoringEnded { .. } => {
                self.unwatched.insert(happening.seq, happening.unwatched().collect());
            }
            _ => {}
        }
    }

    /// What a user is called after an event, in the log's charset.
    pub(super) fn at(&self, number: ServiceNumber, seq: Seq) -> Option<&[u8]> {
        let index = number.0.checked_sub(ServiceNumber::FIRST.0)?;
        let first = self.first.get(usize::try_from(index).ok()?)?;
        let later = self.later.range((number, Seq::ZERO)..=(number, seq)).next_back();
        let Nickname { at, len } = *later.map_or(first, |(_, nickname)| nickname);
        self.bytes.get(at..at + len)
    }

    /// Whom an end of monitoring was the end of it for.
    pub(super) fn unwatched(&self, seq: Seq) -> &[ServiceNumber] {
        self.unwatched.get(&seq).map_or(&[], |numbers| numbers)
    }

    /// How many users there are at the end of the log.
    pub(super) fn user_count(&self) -> usize {
        self.first.len()
    }

    fn keep(&mut self, nickname: &[u8]) -> Nickname {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(nickname);
        Nickname { at, len: nickname.len() }
    }
}
