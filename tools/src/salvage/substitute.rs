//! Registrations that are lost, and what takes their place.
//!
//! Numbers of users are counted up without gaps, so without one registration every later one would make no
//! sense. A later registration shows which are missing, and so does every event that names a user: they have
//! stood among the lost events since the last registration that was read. Owns the choice of their places, and
//! the user that is put there: one without a profile, as whom nobody can log in.

use std::collections::VecDeque;
use std::sync::OnceLock;

use oicq::codec::profile::Profile;
use oicq::id::{Seq, ServiceNumber};
use oicq::limits::{PASSWORD_MEMORY_KIB, PASSWORD_PASSES};
use oicq::state::{Authentication, Event};

use super::Stretch;

/// The nickname of a user whose registration is lost: the shortest that there may be, in any charset.
const SUBSTITUTE_NAME: &str = "?";

/// Lost registrations in a row: of users from the first on, at sequence numbers from the first on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) seqs: Stretch,
    pub(crate) first_user: ServiceNumber,
}

impl Run {
    /// The users, each with the sequence number that its registration gets.
    pub(crate) fn users(self) -> impl Iterator<Item = (Seq, ServiceNumber)> {
        let numbers = (self.first_user.0..).map(ServiceNumber);
        (self.seqs.first.0..=self.seqs.last.0).map(Seq).zip(numbers)
    }

    /// Those whose registrations stand within a stretch.
    pub(super) fn within(self, stretch: Stretch) -> impl Iterator<Item = (Seq, ServiceNumber)> {
        let first = self.seqs.first.max(stretch.first);
        let last = self.seqs.last.min(stretch.last);
        let skipped = u32::try_from(first.0 - self.seqs.first.0).unwrap_or(u32::MAX);
        let first_user = ServiceNumber(self.first_user.0.saturating_add(skipped));
        Run { seqs: Stretch { first, last }, first_user }.users()
    }
}

/// Follows the registrations of a log from its start.
#[derive(Default)]
pub(super) struct Plan {
    registered: u32,
    /// Lost numbers since the last registration that was read: only there can others have stood.
    free: VecDeque<Stretch>,
    /// How many more users a base can have had whose records are lost: they come before all others.
    base_room: u64,
    /// How many users the base has had.
    base_users: u32,
    /// How many registrations may still be put where others are lost.
    spare: u64,
    runs: Vec<Run>,
}

impl Plan {
    /// A log of which no more registrations than this are believed to be lost, whatever numbers it names.
    pub(super) fn of_at_most(users: u64) -> Self {
        Self { spare: users, ..Self::default() }
    }

    /// These numbers are lost.
    pub(super) fn lose(&mut self, stretch: Stretch) {
        self.free.push_back(stretch);
    }

    /// A base comes first, with so many users, and room for so many more.
    pub(super) fn begin_behind(&mut self, users: u32, room: u64) {
        (self.registered, self.base_users, self.base_room) = (users, users, room);
    }

    /// A registration was read: all before it must have been there. One that fits in no way is none.
    pub(super) fn register(&mut self, number: ServiceNumber) {
        let Some(index) = number.0.checked_sub(ServiceNumber::FIRST.0) else { return };
        if index >= self.registered && self.place(index) {
            self.registered = index + 1;
            self.free.clear();
            self.base_room = 0;
        }
    }

    /// An event was read that names this user: it must have been there, and all before it.
    pub(super) fn mention(&mut self, number: ServiceNumber) {
        if let Some(index) = number.0.checked_sub(ServiceNumber::FIRST.0)
            && let Some(count) = index.checked_add(1)
        {
            self.place(count);
        }
    }

    /// Finds places for registrations until there are so many; answers whether there are. As early as can be:
    /// what comes in between may speak of these users already.
    fn place(&mut self, count: u32) -> bool {
        let Some(missing) = count.checked_sub(self.registered) else { return true };
        if missing == 0 {
            return true;
        }
        if self.runs.is_empty() && u64::from(missing) <= self.base_room {
            self.base_room -= u64::from(missing);
            (self.registered, self.base_users) = (count, count);
            return true;
        }
        let room: u64 = self.free.iter().map(|stretch| stretch.len()).sum();
        let mut missing = u64::from(missing);
        if missing > room.min(self.spare) {
            return false;
        }
        self.spare -= missing;
        while missing > 0
            && let Some(stretch) = self.free.front_mut()
        {
            let (first, taken) = (stretch.first, stretch.len().min(missing));
            let last = Seq(first.0 + taken - 1);
            let first_user = ServiceNumber(ServiceNumber::FIRST.0 + self.registered);
            self.runs.push(Run { seqs: Stretch { first, last }, first_user });
            self.registered += u32::try_from(taken).unwrap_or(u32::MAX);
            missing -= taken;
            stretch.first = last.next();
            if stretch.first > stretch.last {
                self.free.pop_front();
            }
        }
        true
    }

    /// The lost registrations, and how many users the base has had.
    pub(super) fn into_runs(self) -> (Vec<Run>, u32) {
        (self.runs, self.base_users)
    }
}

/// The registration that takes a lost one's place. Nobody may add a user who cannot answer.
pub(super) fn substitute(number: ServiceNumber) -> Event<'static> {
    let profile = Profile { nickname: SUBSTITUTE_NAME.as_bytes(), ..Profile::default() };
    let authentication = Authentication::Closed;
    Event::Registered { number, authentication, password_hash: no_password(), profile }
}

/// A hash that no password has: the result of Argon2id would have to be all zeros. It costs as much to compare
/// as any other, so that nobody can tell by the time.
pub(super) fn no_password() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let (memory, passes) = (PASSWORD_MEMORY_KIB, PASSWORD_PASSES);
        // 16 bytes of salt and 32 of hash, in Base64 without padding.
        let (salt, hash) = ("A".repeat(22), "A".repeat(43));
        format!("$argon2id$v=19$m={memory},t={passes},p=1${salt}${hash}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(first: u64, last: u64) -> Stretch {
        Stretch { first: Seq(first), last: Seq(last) }
    }

    fn runs(plan: Plan) -> Vec<(u64, u64, u32)> {
        let run = |run: Run| (run.seqs.first.0, run.seqs.last.0, run.first_user.0);
        plan.into_runs().0.into_iter().map(run).collect()
    }

    fn runs_and_users(plan: Plan) -> (Vec<(u64, u64, u32)>, u32) {
        let users = plan.base_users;
        (runs(plan), users)
    }

    #[test]
    fn lost_registrations_go_to_the_first_lost_numbers_since_the_one_before() {
        let mut plan = Plan::of_at_most(1_000);
        plan.lose(stretch(1, 1));
        plan.register(ServiceNumber(10_001));
        plan.lose(stretch(5, 6));
        plan.lose(stretch(9, 20));
        plan.register(ServiceNumber(10_005));
        plan.register(ServiceNumber(10_006));
        assert_eq!(runs(plan), [(5, 6, 10_002), (9, 9, 10_004)]);
    }

    #[test]
    fn no_more_registrations_are_lost_than_may_be() {
        let mut plan = Plan::of_at_most(3);
        plan.lose(stretch(1, 1 << 60));
        plan.mention(ServiceNumber(10_002));
        plan.mention(ServiceNumber(10_004));
        plan.register(ServiceNumber(10_004));
        assert_eq!(runs(plan), [(1, 2, 10_001), (3, 3, 10_003)]);
    }

    #[test]
    fn a_registration_that_nothing_explains_is_none() {
        let mut plan = Plan::of_at_most(1_000);
        plan.register(ServiceNumber(10_002));
        plan.lose(stretch(2, 3));
        plan.register(ServiceNumber(10_004));
        plan.register(ServiceNumber(1));
        plan.register(ServiceNumber(u32::MAX));
        plan.register(ServiceNumber(10_002));
        plan.register(ServiceNumber(10_004));
        assert_eq!(runs(plan), [(2, 2, 10_001)]);
    }

    #[test]
    fn whoever_is_named_has_been_registered_where_there_was_room_for_it() {
        let mut plan = Plan::of_at_most(1_000);
        plan.register(ServiceNumber(10_001));
        plan.mention(ServiceNumber(10_002));
        plan.lose(stretch(3, 6));
        plan.mention(ServiceNumber(10_001));
        plan.mention(ServiceNumber(10_003));
        plan.mention(ServiceNumber(10_099));
        plan.mention(ServiceNumber(u32::MAX));
        plan.mention(ServiceNumber(0));
        plan.register(ServiceNumber(10_005));
        plan.mention(ServiceNumber(10_006));
        assert_eq!(runs(plan), [(3, 4, 10_002), (5, 5, 10_004)]);
    }

    #[test]
    fn whoever_is_missing_may_have_been_in_a_base_that_is_damaged() {
        let mut plan = Plan::of_at_most(1_000);
        plan.begin_behind(3, 100);
        plan.mention(ServiceNumber(10_005));
        plan.lose(stretch(50, 60));
        plan.mention(ServiceNumber(11_000));
        plan.register(ServiceNumber(10_007));
        plan.mention(ServiceNumber(10_008));
        let (runs, users) = plan.into_runs();
        assert_eq!((runs, users), (Vec::new(), 6));

        let mut plan = Plan::of_at_most(1_000);
        plan.begin_behind(3, 0);
        plan.lose(stretch(50, 60));
        plan.mention(ServiceNumber(10_005));
        assert_eq!(runs_and_users(plan), (vec![(50, 51, 10_004)], 3));
    }

    #[test]
    fn the_hash_that_nobody_has_is_of_the_shape_and_the_cost_of_any_other() {
        let parts: Vec<_> = no_password().split('$').collect();
        assert_eq!(parts[..4], ["", "argon2id", "v=19", "m=19456,t=2,p=1"]);
        assert_eq!((parts[4].len(), parts[5].len(), parts.len()), (22, 43, 6));
    }
}
