//! Which sequence number to try next.
//!
//! Owns the choice alone: it knows no log, no state and no command.

use std::collections::BTreeSet;

use oicq::id::Seq;

/// What a command says about a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Succeeds,
    Fails,
    /// It cannot tell, and another place is to be tried.
    Unclear,
}

/// The search for the first failure. While [`next`](Self::next) names a place, [`note`](Self::note) what
/// was found there; then [`first_failure`](Self::first_failure).
#[derive(Debug)]
pub(super) struct Search {
    /// The last place known to succeed, and the first one behind it known to fail.
    succeeds: u64,
    fails: u64,
    unclear: BTreeSet<u64>,
}

impl Search {
    /// Between a place that succeeds and one behind it that fails.
    pub(super) const fn new(succeeds: Seq, fails: Seq) -> Self {
        Self { succeeds: succeeds.0, fails: fails.0, unclear: BTreeSet::new() }
    }

    /// The place to try next, `None` where nothing more can be found out: the middle of the longest stretch of
    /// places that have not been tried. As long as nothing is unclear, that is the middle of all; a long stretch of
    /// unclear ones is left behind soon.
    pub(super) fn next(&self) -> Option<Seq> {
        let inside = self.unclear.range(self.succeeds + 1..self.fails).copied();
        let (mut before, mut longest) = (self.succeeds, 0..0);
        for behind in inside.chain([self.fails]) {
            if behind - before > longest.end - longest.start {
                longest = before..behind;
            }
            before = behind;
        }
        let length = longest.end - longest.start;
        (length > 1).then_some(Seq(longest.start + length / 2))
    }

    /// Takes in what was found at a place that [`next`](Self::next) has named.
    pub(super) fn note(&mut self, place: Seq, verdict: Verdict) {
        match verdict {
            Verdict::Succeeds => self.succeeds = place.0,
            Verdict::Fails => self.fails = place.0,
            Verdict::Unclear => {
                self.unclear.insert(place.0);
            }
        }
    }

    /// The place that fails while the one before it succeeds; else between which two it lies.
    pub(super) fn first_failure(&self) -> Result<Seq, (Seq, Seq)> {
        let (succeeds, fails) = (Seq(self.succeeds), Seq(self.fails));
        if succeeds.next() == fails { Ok(fails) } else { Err((succeeds, fails)) }
    }

    /// How often it has to be tried yet, if nothing is unclear.
    pub(super) const fn tries_left(&self) -> u32 {
        u64::BITS - (self.fails - self.succeeds - 1).leading_zeros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches where a function judges; the tries, and what comes of it.
    fn search(end: u64, judge: impl Fn(u64) -> Verdict) -> (u32, Result<Seq, (Seq, Seq)>) {
        let (mut search, mut tries) = (Search::new(Seq::ZERO, Seq(end)), 0);
        while let Some(place) = search.next() {
            assert!(place > Seq::ZERO && place < Seq(end), "{place}");
            search.note(place, judge(place.0));
            tries += 1;
        }
        (tries, search.first_failure())
    }

    fn fails_from(first: u64) -> impl Fn(u64) -> Verdict {
        move |place| if place < first { Verdict::Succeeds } else { Verdict::Fails }
    }

    #[test]
    fn the_first_failure_is_found_in_few_tries() {
        for end in 1..=70 {
            for first in 1..=end {
                let (tries, found) = search(end, fails_from(first));
                assert_eq!(found, Ok(Seq(first)), "of {end}");
                let left = Search::new(Seq::ZERO, Seq(end)).tries_left();
                assert!(tries <= left && tries + 1 >= left, "{tries} of {left} for {end}");
            }
        }
        assert_eq!(search(u64::MAX, fails_from(1 << 60)).1, Ok(Seq(1 << 60)));
        assert!(search(10_000_000, fails_from(7)).0 <= 24);
    }

    #[test]
    fn what_is_unclear_is_gone_round() {
        for first in 1..=64 {
            for unclear in (1..64).filter(|place| ![first, first - 1].contains(place)) {
                let judge = |place| match place {
                    _ if place == unclear => Verdict::Unclear,
                    _ => fails_from(first)(place),
                };
                assert_eq!(search(64, judge).1, Ok(Seq(first)), "{unclear} is unclear");
            }
        }
        let wide = |place| match place {
            40_000..60_000 => Verdict::Unclear,
            _ => fails_from(70_000)(place),
        };
        let (tries, found) = search(100_000, wide);
        assert_eq!(found, Ok(Seq(70_000)));
        assert!(tries < 30, "{tries}");
    }

    #[test]
    fn between_unclear_ones_it_says_between_which() {
        let judge = |place| match place {
            10..=13 => Verdict::Unclear,
            _ => fails_from(12)(place),
        };
        assert_eq!(search(64, judge).1, Err((Seq(9), Seq(14))));
        assert_eq!(search(3, |_| Verdict::Unclear), (2, Err((Seq(0), Seq(3)))));
    }
}
