//! One round of a measurement: its phases, what is counted in it, and several rounds taken together.
//!
//! It is told the time and what has arrived. What arrives, and how, it never knows.

use std::ops::Range;

use hdrhistogram::Histogram;

use super::watch::{Sample, Watch, Work};

/// The longest time that is told from longer ones: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Time is told with so many digits.
const DIGITS: u8 = 3;
/// The rate over time is counted in steps of this.
pub(crate) const STEP_NS: u64 = 100_000_000;

/// How long a round is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    /// So long, behind a time that is not measured.
    Time {
        /// What is not measured, in nanoseconds.
        warm_up_ns: u64,
        /// What is.
        duration_ns: u64,
    },
    /// So many messages, of all channels together. All of it is measured.
    Messages(u64),
}

/// What was measured in a round.
pub(crate) struct Round {
    /// What arrived while it was measured.
    pub(crate) arrivals: u64,
    pub(crate) elapsed_ns: u64,
    /// How long each message took that began while it was measured.
    pub(crate) latency: Latency,
    /// What arrived in each step.
    pub(crate) steps: Vec<u64>,
    pub(crate) work: Work,
}

impl Round {
    /// What arrived in a second.
    pub(crate) fn rate(&self) -> u64 {
        let rate = u128::from(self.arrivals) * 1_000_000_000 / u128::from(self.elapsed_ns.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

/// How long things took, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS);
        Self(histogram.expect("these bounds and digits are allowed ones"))
    }

    /// Counts so many that took the same time.
    pub(crate) fn record(&mut self, ns: u64, count: u64) {
        self.0.saturating_record_n(ns, count);
    }

    /// Forgets all that was counted.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// Counts all of another.
    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// What a share of them did not exceed: 0.5 is the median, 1 the maximum.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        if share >= 1.0 { self.0.max() } else { self.0.value_at_quantile(share) }
    }
}

/// Counts a round while it goes on: [`look`](Self::look) at the clock each turn, tell what has arrived, and
/// [`end`](Self::end) it when nothing is under way any more.
pub(crate) struct Tally {
    watch: Watch,
    /// What is measured. Where a number of messages ends it, its end is not known before it is there.
    window: Range<u64>,
    arrivals: u64,
    latency: Latency,
    steps: Vec<u64>,
    before: Option<Sample>,
    after: Option<Sample>,
}

impl Tally {
    /// Begins a round now.
    pub(crate) fn begin(watch: Watch, length: Length, now_ns: u64) -> Self {
        let (window, steps) = match length {
            Length::Time { warm_up_ns, duration_ns } => {
                let begin = now_ns + warm_up_ns;
                (begin..begin + duration_ns, duration_ns.div_ceil(STEP_NS))
            }
            Length::Messages(_) => (now_ns..u64::MAX, 0),
        };
        Self {
            watch,
            window,
            arrivals: 0,
            latency: Latency::new(),
            steps: vec![0; usize::try_from(steps).unwrap_or(0)],
            before: None,
            after: None,
        }
    }

    /// Counts nothing.
    pub(crate) fn none() -> Self {
        Self::begin(Watch::over(None), Length::Messages(0), u64::MAX)
    }

    /// Looks whether a phase begins or ends; answers whether more may be sent.
    pub(crate) fn look(&mut self, now_ns: u64) -> bool {
        if self.before.is_none() && now_ns >= self.window.start {
            self.before = Some(self.watch.sample(now_ns));
        }
        if self.after.is_none() && now_ns >= self.window.end {
            self.after = Some(self.watch.sample(now_ns));
        }
        now_ns < self.window.end
    }

    /// When there is a reason for the next look, at the latest.
    pub(crate) const fn next_look_ns(&self) -> u64 {
        match (&self.before, &self.after) {
            (None, _) => self.window.start,
            (_, None) => self.window.end,
            _ => u64::MAX,
        }
    }

    /// So much has arrived.
    pub(crate) fn arrived(&mut self, now_ns: u64, count: u64) {
        if !self.window.contains(&now_ns) {
            return;
        }
        self.arrivals += count;
        let step = usize::try_from((now_ns - self.window.start) / STEP_NS).unwrap_or(usize::MAX);
        if step >= self.steps.len() {
            // Only rounds whose end is not known have more steps than they began with.
            self.steps.resize(step.saturating_add(1).min(STEPS_MAX), 0);
        }
        if let Some(counted) = self.steps.get_mut(step) {
            *counted += count;
        }
    }

    /// So many that began then have taken until now.
    pub(crate) fn took(&mut self, start_ns: u64, now_ns: u64, count: u64) {
        if count > 0 && self.window.contains(&start_ns) {
            self.latency.record(now_ns.saturating_sub(start_ns).max(1), count);
        }
    }

    /// What it has come to, now that nothing is under way any more.
    pub(crate) fn end(mut self, now_ns: u64) -> Round {
        self.window.end = self.window.end.min(now_ns);
        let after = self.after.unwrap_or_else(|| self.watch.sample(now_ns));
        let work = self.before.map(|before| Work::between(&before, &after));
        Round {
            arrivals: self.arrivals,
            elapsed_ns: self.window.end.saturating_sub(self.window.start),
            latency: self.latency,
            steps: self.steps,
            work: work.unwrap_or_default(),
        }
    }
}

/// An hour of steps.
const STEPS_MAX: usize = 36_000;

/// The middle, the lowest and the highest of some values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Spread<T> {
    pub(crate) median: T,
    pub(crate) min: T,
    pub(crate) max: T,
}

impl<T: Copy + PartialOrd> Spread<T> {
    /// Of values of which there is at least one. With an even number, the median is the lower of the two in
    /// the middle: a value that was measured.
    pub(crate) fn of(values: impl Iterator<Item = T>) -> Option<Self> {
        let mut values: Vec<T> = values.collect();
        values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { median: values[(values.len() - 1) / 2], min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCH: Watch = Watch::over(None);
    const ROUND: Length = Length::Time { warm_up_ns: 1_000, duration_ns: 3 * STEP_NS };

    #[test]
    fn only_what_lies_in_the_window_is_counted() {
        let mut tally = Tally::begin(WATCH, ROUND, 500);
        assert!(tally.look(500));
        assert_eq!(tally.next_look_ns(), 1_500);
        tally.arrived(1_499, 7);
        assert!(tally.look(1_500));
        let end = 1_500 + 3 * STEP_NS;
        assert_eq!(tally.next_look_ns(), end);
        tally.arrived(1_500, 2);
        tally.arrived(1_500 + STEP_NS, 3);
        assert!(!tally.look(end));
        tally.arrived(end, 100);
        // It began while it was measured, so its time counts, whenever it ends.
        tally.took(end - 1, end + 5_000, 3);
        tally.took(1_499, 1_501, 1);
        tally.took(end, end + 1, 1);
        let round = tally.end(end + 9_000);
        assert_eq!((round.arrivals, round.elapsed_ns), (5, 3 * STEP_NS));
        assert_eq!(round.steps, [2, 3, 0]);
        assert_eq!((round.latency.count(), round.rate()), (3, 16));
        assert!(round.latency.quantile(1.0) >= 5_001);
    }

    #[test]
    fn a_round_of_so_many_messages_ends_with_the_last_one() {
        let mut tally = Tally::begin(WATCH, Length::Messages(9), 0);
        assert!(tally.look(0) && tally.look(u64::MAX - 1));
        tally.arrived(250_000_000, 9);
        let round = tally.end(500_000_000);
        assert_eq!((round.arrivals, round.rate()), (9, 18));
        assert_eq!(round.steps, [0, 0, 9]);
    }

    #[test]
    fn latencies_of_rounds_are_taken_together() {
        let (mut all, mut one) = (Latency::new(), Latency::new());
        assert_eq!(all.quantile(0.5), 0);
        (1..=1_000).for_each(|us| one.record(us * 1_000, 1));
        all.add(&one);
        all.add(&one);
        assert_eq!(all.count(), 2_000);
        let close = |share, us: u64| all.quantile(share).abs_diff(us * 1_000) <= us;
        assert!(close(0.5, 500) && close(0.99, 990) && close(1.0, 1_000));
        one.record(u64::MAX, 1);
        assert!(one.quantile(1.0) >= LONGEST_NS);
    }

    #[test]
    fn a_spread_is_made_of_values_that_were_measured() {
        let spread = |values: &[u32]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3, 9, 1]), Some(Spread { median: 3, min: 1, max: 9 }));
        assert_eq!(spread(&[4, 2]), Some(Spread { median: 2, min: 2, max: 4 }));
    }
}
