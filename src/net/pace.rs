//! How many packets a turn takes, so that it is over soon, whatever they ask for: everybody waits for its end.
//!
//! Owns the number alone, which follows what the turns before have taken. It never measures time itself, and never
//! says which packets come first.

use std::time::Duration;

use crate::limits::{PACKETS_EACH_MAX, PACKETS_PER_TURN, TURN_MS};

/// Packets taken in one turn that are always allowed: a few turns that cost much say little about the next.
const PACKETS_PER_TURN_MIN: usize = 64;
/// What taking in one turn's packets may last.
const LONG: Duration = Duration::from_millis(TURN_MS);

/// The pace of the turns.
#[derive(Debug)]
pub(super) struct Pace {
    per_turn: usize,
    each: usize,
    taken: usize,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { per_turn: PACKETS_PER_TURN, each: PACKETS_EACH_MAX, taken: 0 }
    }

    /// As if turns had been long of late.
    #[cfg(test)]
    pub(super) const fn slow() -> Self {
        Self { per_turn: 1, ..Self::new() }
    }

    /// A turn begins in which so many connections have something to say. Where there are many, few packets are taken
    /// from each, since each of them waits for all others.
    pub(super) fn begin(&mut self, connections: usize) {
        self.each = (self.per_turn / connections.max(1)).clamp(1, PACKETS_EACH_MAX);
        self.taken = 0;
    }

    /// Packets that this turn takes from each connection.
    pub(super) const fn each(&self) -> usize {
        self.each
    }

    /// A packet was taken.
    pub(super) const fn count(&mut self) {
        self.taken += 1;
    }

    /// All packets of the turn are taken: `lasted` tells how long that was. Too long, and the next turn takes fewer,
    /// in proportion; not half as long as it may, and the next one takes twice as many. So does the turn after few
    /// packets, which are allowed in any case: how long they took is not asked.
    pub(super) fn end(&mut self, lasted: impl FnOnce() -> Duration) {
        let lasted = if self.taken < PACKETS_PER_TURN_MIN { Duration::ZERO } else { lasted() };
        let wanted = if lasted > LONG {
            let part = self.taken as u128 * LONG.as_micros() / lasted.as_micros();
            usize::try_from(part).unwrap_or(PACKETS_PER_TURN)
        } else if lasted * 2 < LONG {
            self.per_turn * 2
        } else {
            return;
        };
        self.per_turn = wanted.clamp(PACKETS_PER_TURN_MIN, PACKETS_PER_TURN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A turn in which so many packets, at so many microseconds each, are taken from each connection or as many as the
    /// pace allows; answers how many.
    fn turn(pace: &mut Pace, connections: usize, from_each: usize, us: u64) -> usize {
        pace.begin(connections);
        let packets = from_each.min(pace.each()) * connections;
        (0..packets).for_each(|_| pace.count());
        pace.end(|| Duration::from_micros(packets as u64 * us));
        packets
    }

    #[test]
    fn a_turn_is_no_longer_the_more_there_are_who_send_very_much() {
        for connections in [0, 1, 2, 15, 16, 17, 100, 1_000, PACKETS_PER_TURN, 20_000] {
            let mut pace = Pace::new();
            pace.begin(connections);
            let each = pace.each();
            assert!((1..=PACKETS_EACH_MAX).contains(&each), "{connections}: {each}");
            assert!(
                each * connections <= PACKETS_PER_TURN.max(connections),
                "{connections}: {each}"
            );
        }
    }

    #[test]
    fn packets_that_cost_much_make_the_next_turns_shorter() {
        let mut pace = Pace::new();
        assert_eq!(turn(&mut pace, 100, 1_000, 20), 4_000, "80 ms, before anything is known");
        let packets = turn(&mut pace, 100, 1_000, 20);
        assert!(packets as u64 * 20 <= TURN_MS * 1_000, "{packets}");
        assert!(packets as u64 * 20 > TURN_MS * 1_000 / 2, "no shorter than need be: {packets}");
    }

    #[test]
    fn cheap_packets_make_the_next_turns_longer_again() {
        let mut pace = Pace::new();
        turn(&mut pace, 100, 1_000, 20);
        let turns = (1..=20).find(|_| turn(&mut pace, 100, 1_000, 1) == 4_000);
        assert!(turns.is_some_and(|turns| turns <= 8), "{turns:?}");
    }

    #[test]
    fn one_long_turn_does_not_stop_everybody() {
        let mut pace = Pace::new();
        turn(&mut pace, 100, 1, 1_000_000);
        pace.begin(1);
        assert_eq!(pace.each(), PACKETS_PER_TURN_MIN);
    }

    #[test]
    fn few_packets_make_the_next_turns_longer_again_and_the_clock_is_not_asked() {
        let mut pace = Pace::new();
        turn(&mut pace, 100, 1, 1_000_000);
        for _ in 0..2 {
            pace.begin(1);
            (1..PACKETS_PER_TURN_MIN).for_each(|_| pace.count());
            pace.end(|| unreachable!("how long so few packets take is not asked"));
        }
        pace.begin(1);
        assert_eq!(pace.each(), PACKETS_PER_TURN_MIN * 4);
    }
}
