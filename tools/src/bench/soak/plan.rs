//! What users do, and what happens to them and to the server, one step after the other: all of it from a seed.
//!
//! Owns what there is to do, how often, and who is meant to be there when. It never learns what came of it, so the same
//! seed, users, rate and length make the same steps.

use std::collections::BTreeSet;

use super::chance::Chance;
use crate::bench::schedule::Schedule;

/// How far from a user, counted along the numbers of all, its friends are: half of them are clients of the same kind.
pub(super) const DISTANCES: [usize; 4] = [1, 2, 3, 4];
/// Friends of each user, who have it in their lists as well.
pub(super) const FRIENDS: usize = 2 * DISTANCES.len();
/// Users that everybody has different friends among.
pub(crate) const PEOPLE_MIN: usize = FRIENDS + 1;

const SECOND_NS: u64 = 1_000_000_000;
/// Tries to find somebody who is there, before anybody is taken.
const TRIES: usize = 64;

/// What a user does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// Writes to a friend.
    Send {
        to: usize,
    },
    /// Writes to all friends.
    Broadcast,
    /// Changes how it is shown.
    SetMode {
        mode: u8,
    },
    ChangeProfile,
    ViewProfile {
        of: usize,
    },
    ListOnline,
    Search,
    /// Offers a file to a friend.
    Offer {
        to: usize,
    },
    /// Logs out and in again.
    LogInAgain,
    /// Adds a friend. It is done before the load begins.
    Befriend {
        friend: usize,
    },
}

/// How somebody leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Leave {
    Close,
    Reset,
    HalfPacket,
}

/// What happens now and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// Somebody hangs up, and comes back later.
    Leaves { who: usize, how: Leave, until_ns: u64 },
    /// Somebody reads nothing for a while.
    Deaf { who: usize, until_ns: u64 },
    /// A new user registers.
    Registers,
    /// The server is stopped in order, or killed, and started again.
    Restarts { kill: bool },
    /// The log is compacted.
    Compacts,
}

/// What a step is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Act { by: usize, act: Act },
    Event(Event),
}

/// One step, and when it is due, in nanoseconds from the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    pub(super) due_ns: u64,
    pub(super) what: What,
}

/// How often things happen that have a time and not a share: means, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pace {
    leaves_ns: u64,
    away_ns: u64,
    deaf_every_ns: u64,
    deaf_ns: u64,
    registers_ns: u64,
    restarts_ns: u64,
    compacts_ns: u64,
}

impl Pace {
    /// That of a run of this length: the shorter, the more often.
    pub(super) fn of(length_ns: u64) -> Self {
        let part = |of: u64, min_ms: u64, max_ms: u64| {
            (length_ns / of).clamp(min_ms * 1_000_000, max_ms * 1_000_000)
        };
        Self {
            leaves_ns: part(30, 50, 250),
            away_ns: part(20, 100, 5_000),
            deaf_every_ns: part(20, 200, 2_000),
            deaf_ns: part(10, 100, 5_000),
            registers_ns: part(50, 50, 500),
            restarts_ns: part(6, 1_000, 300_000),
            compacts_ns: part(8, 800, 120_000),
        }
    }
}

/// Of so many acts each has its share.
const SHARES: u64 = 1_000;

/// All steps, without an end.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    people: usize,
    schedule: Schedule,
    pace: Pace,
    acts: Chance,
    events: Chance,
    /// Acts so far.
    acted: u64,
    /// When the next event of each sort is due.
    next: BTreeSet<(u64, Sort)>,
    /// Until when nothing is planned for somebody.
    absent_ns: Vec<u64>,
    left: usize,
    restarted: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Sort {
    Leaves,
    Deaf,
    Registers,
    Restarts,
    Compacts,
}

impl Plan {
    /// The plan of a seed, for so many people and so many acts a second.
    pub(super) fn new(seed: u64, people: usize, rate: u64, pace: Pace) -> Self {
        let mut plan = Self {
            people,
            schedule: Schedule::of(0, rate, 1, u64::MAX),
            pace,
            acts: Chance::new(seed, 1),
            events: Chance::new(seed, 2),
            acted: 0,
            next: BTreeSet::new(),
            absent_ns: vec![0; people],
            left: 0,
            restarted: 0,
        };
        for sort in [Sort::Leaves, Sort::Deaf, Sort::Registers, Sort::Restarts, Sort::Compacts] {
            plan.put_next(0, sort);
        }
        plan
    }

    /// When the next step is due.
    pub(super) fn due_ns(&self) -> u64 {
        let event = self.next.first().map_or(u64::MAX, |(due, _)| *due);
        event.min(self.schedule.time_of(self.acted))
    }

    /// The next step.
    pub(super) fn step(&mut self) -> Step {
        let act_ns = self.schedule.time_of(self.acted);
        if self.next.first().is_some_and(|(due, _)| *due <= act_ns)
            && let Some((due_ns, sort)) = self.next.pop_first()
        {
            self.put_next(due_ns, sort);
            return Step { due_ns, what: What::Event(self.event(due_ns, sort)) };
        }
        self.acted += 1;
        let (by, act) = self.act(act_ns);
        Step { due_ns: act_ns, what: What::Act { by, act } }
    }

    /// An act of somebody who is there, as if there were no time.
    pub(super) fn act(&mut self, now_ns: u64) -> (usize, Act) {
        let by = present(&mut self.acts, &self.absent_ns, now_ns);
        let friend = friends(self.people, by).nth(self.acts.index(FRIENDS)).unwrap_or(by);
        let act = match self.acts.below(SHARES) {
            0..880 => Act::Send { to: friend },
            880..890 => Act::Broadcast,
            890..915 => Act::SetMode { mode: [1, 1, 2, 3][self.acts.index(4)] },
            915..930 => Act::ChangeProfile,
            930..955 => Act::ViewProfile { of: self.acts.index(self.people) },
            955..975 => Act::ListOnline,
            975..985 => Act::Search,
            985..997 if self.absent_ns[friend] <= now_ns => Act::Offer { to: friend },
            985..997 => Act::ViewProfile { of: friend },
            _ => Act::LogInAgain,
        };
        (by, act)
    }

    fn event(&mut self, due_ns: u64, sort: Sort) -> Event {
        match sort {
            Sort::Leaves => {
                let how = [Leave::Close, Leave::Reset, Leave::HalfPacket][self.left % 3];
                self.left += 1;
                // Now and then somebody is away for so long that mail fills the box.
                let times = if self.events.below(20) == 0 { 6 } else { 1 };
                let until_ns = due_ns + self.events.around(self.pace.away_ns) * times;
                Event::Leaves { who: self.somebody(due_ns, until_ns), how, until_ns }
            }
            Sort::Deaf => {
                // Now and then somebody is deaf for longer than the server lets them.
                let times = if self.events.below(20) == 0 { 10 } else { 1 };
                let until_ns = due_ns + self.events.around(self.pace.deaf_ns) * times;
                Event::Deaf { who: self.somebody(due_ns, until_ns), until_ns }
            }
            Sort::Registers => Event::Registers,
            Sort::Restarts => {
                self.restarted += 1;
                Event::Restarts { kill: self.restarted % 2 == 1 }
            }
            Sort::Compacts => Event::Compacts,
        }
    }

    /// Somebody who is there, and who will not be until then.
    fn somebody(&mut self, now_ns: u64, until_ns: u64) -> usize {
        let who = present(&mut self.events, &self.absent_ns, now_ns);
        self.absent_ns[who] = until_ns;
        who
    }

    fn put_next(&mut self, after_ns: u64, sort: Sort) {
        let mean_ns = match sort {
            Sort::Leaves => self.pace.leaves_ns,
            Sort::Deaf => self.pace.deaf_every_ns,
            Sort::Registers => self.pace.registers_ns,
            Sort::Restarts => self.pace.restarts_ns,
            Sort::Compacts => self.pace.compacts_ns,
        };
        let due_ns = after_ns + self.events.around(mean_ns).max(1);
        self.next.insert((due_ns.min(u64::MAX - SECOND_NS), sort));
    }
}

/// The friends of somebody.
pub(super) fn friends(people: usize, of: usize) -> impl Iterator<Item = usize> {
    DISTANCES.into_iter().flat_map(move |far| [(of + far) % people, (of + people - far) % people])
}

fn present(chance: &mut Chance, absent_ns: &[u64], now_ns: u64) -> usize {
    let mut who = chance.index(absent_ns.len());
    for _ in 0..TRIES {
        if absent_ns[who] <= now_ns {
            break;
        }
        who = chance.index(absent_ns.len());
    }
    who
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_NS: u64 = 60 * SECOND_NS;

    fn steps(seed: u64, count: usize) -> Vec<Step> {
        let mut plan = Plan::new(seed, 40, 1_000, Pace::of(MINUTE_NS));
        (0..count).map(|_| plan.step()).collect()
    }

    #[test]
    fn a_seed_makes_the_same_steps() {
        assert_eq!(steps(3, 20_000), steps(3, 20_000));
        assert_ne!(steps(3, 100), steps(4, 100));
    }

    #[test]
    fn steps_come_in_the_order_of_their_times_and_acts_at_the_rate() {
        let steps = steps(1, 60_000);
        assert!(steps.is_sorted_by_key(|step| step.due_ns));
        let acts = steps.iter().filter(|step| matches!(step.what, What::Act { .. }));
        let in_a_second = acts.filter(|step| (SECOND_NS..2 * SECOND_NS).contains(&step.due_ns));
        assert_eq!(in_a_second.count(), 1_000);
        let mut plan = Plan::new(1, 40, 1_000, Pace::of(MINUTE_NS));
        assert!((0..1_000).all(|_| plan.due_ns() == plan.step().due_ns));
    }

    #[test]
    fn everything_happens() {
        let steps = steps(1, 60_000);
        let has = |is_it: &dyn Fn(&What) -> bool| steps.iter().any(|step| is_it(&step.what));
        for how in [Leave::Close, Leave::Reset, Leave::HalfPacket] {
            assert!(has(
                &|what| matches!(what, What::Event(Event::Leaves { how: it, .. }) if *it == how)
            ));
        }
        for kill in [true, false] {
            assert!(has(&|what| *what == What::Event(Event::Restarts { kill })), "{kill}");
        }
        assert!(has(&|what| matches!(what, What::Event(Event::Deaf { .. }))));
        assert!(has(&|what| *what == What::Event(Event::Registers)));
        assert!(has(&|what| *what == What::Event(Event::Compacts)));
        let acts = |is_it: fn(&Act) -> bool| {
            steps
                .iter()
                .filter(|step| matches!(&step.what, What::Act { act, .. } if is_it(act)))
                .count()
        };
        for (name, is_it) in [
            ("broadcast", (|act| *act == Act::Broadcast) as fn(&Act) -> bool),
            ("mode", |act| matches!(act, Act::SetMode { .. })),
            ("profile", |act| *act == Act::ChangeProfile),
            ("view", |act| matches!(act, Act::ViewProfile { .. })),
            ("list", |act| *act == Act::ListOnline),
            ("search", |act| *act == Act::Search),
            ("offer", |act| matches!(act, Act::Offer { .. })),
            ("login", |act| *act == Act::LogInAgain),
        ] {
            assert!(acts(is_it) > 50, "{name}");
        }
        assert!(acts(|act| matches!(act, Act::Send { .. })) > 50_000);
    }

    #[test]
    fn who_is_away_does_nothing_and_still_gets_mail() {
        let (mut away, mut mail) = ([0; 40], 0);
        for Step { due_ns, what } in steps(9, 60_000) {
            match what {
                What::Event(
                    Event::Leaves { who, until_ns, .. } | Event::Deaf { who, until_ns },
                ) => {
                    away[who] = until_ns;
                }
                What::Act { by, act } => {
                    assert!(away[by] <= due_ns);
                    mail += usize::from(matches!(act, Act::Send { to } if away[to] > due_ns));
                }
                What::Event(_) => {}
            }
        }
        assert!(mail > 100, "{mail}");
    }

    #[test]
    fn friends_are_mutual_and_nobody_is_its_own() {
        for people in [PEOPLE_MIN, 10, 256] {
            for of in 0..people {
                let all: BTreeSet<_> = friends(people, of).collect();
                assert_eq!(all.len(), FRIENDS);
                assert!(!all.contains(&of));
                assert!(all.iter().all(|friend| friends(people, *friend).any(|back| back == of)));
            }
        }
    }

    #[test]
    fn short_runs_meet_everything_too() {
        let mut plan = Plan::new(1, 16, 100, Pace::of(6 * SECOND_NS));
        let (mut kills, mut compactions, mut leaves) = (0, 0, 0);
        while plan.due_ns() < 6 * SECOND_NS {
            match plan.step().what {
                What::Event(Event::Restarts { kill }) => kills += usize::from(kill),
                What::Event(Event::Compacts) => compactions += 1,
                What::Event(Event::Leaves { .. }) => leaves += 1,
                _ => {}
            }
        }
        assert!(kills >= 1 && compactions >= 2 && leaves >= 15, "{kills} {compactions} {leaves}");
    }
}
