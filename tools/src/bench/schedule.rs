//! When messages of a steady rate are due, for several channels by turns.
//!
//! A message's time counts from when it was due, not from when it was sent: a server that stops for a second makes
//! all messages of that second late, not one. It asks no clock.

/// A steady rate from one moment on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Schedule {
    begun_ns: u64,
    /// Messages a second, of all channels together; at least 1.
    rate: u64,
    channels: u64,
    /// How many messages there are at all.
    total: u64,
}

impl Schedule {
    /// So many messages a second from `begun_ns` on, for so long; one at least.
    pub(crate) fn lasting(begun_ns: u64, rate: u64, channels: usize, duration_ns: u64) -> Self {
        let total = scale(duration_ns, rate, SECOND_NS).max(1);
        Self::of(begun_ns, rate, channels, total)
    }

    /// The same, so many messages at all.
    pub(crate) const fn of(begun_ns: u64, rate: u64, channels: usize, total: u64) -> Self {
        Self { begun_ns, rate, channels: channels as u64, total }
    }

    /// How many messages there are at all.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// How many channels there are.
    pub(crate) const fn channels(&self) -> u64 {
        self.channels
    }

    /// When so many times what it takes has passed.
    pub(crate) fn end_ns(&self, times: u64) -> u64 {
        let took = self.time_of(self.total).saturating_sub(self.begun_ns);
        self.begun_ns.saturating_add(took.saturating_mul(times))
    }

    /// How many messages are due by now; the first one is at once.
    pub(crate) fn due(&self, now_ns: u64) -> u64 {
        match now_ns.checked_sub(self.begun_ns) {
            Some(passed) => scale(passed, self.rate, SECOND_NS).saturating_add(1).min(self.total),
            None => 0,
        }
    }

    /// When a message is due, counted from 0.
    pub(crate) fn time_of(&self, message: u64) -> u64 {
        // The first nanosecond at which it is: rounded up.
        let passed = u128::from(message) * u128::from(SECOND_NS);
        let passed = passed.div_ceil(u128::from(self.rate));
        self.begun_ns.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The channel of a message.
    pub(crate) fn channel_of(&self, message: u64) -> usize {
        usize::try_from(message % self.channels).unwrap_or(0)
    }

    /// Which message is the one of an index among those of a channel.
    pub(crate) const fn message(&self, channel: usize, index: u64) -> u64 {
        index * self.channels + channel as u64
    }
}

const SECOND_NS: u64 = 1_000_000_000;

fn scale(value: u64, by: u64, of: u64) -> u64 {
    u64::try_from(u128::from(value) * u128::from(by) / u128::from(of)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_one_after_the_other_at_equal_distances() {
        let schedule = Schedule::lasting(500, 1_000, 3, SECOND_NS);
        assert_eq!(schedule.total(), 1_000);
        assert_eq!((schedule.due(499), schedule.due(500), schedule.due(1_000_499)), (0, 1, 1));
        assert_eq!((schedule.due(1_000_500), schedule.due(u64::MAX)), (2, 1_000));
        assert_eq!(schedule.time_of(7), 7_000_500);
        let channels: Vec<_> = (0..5).map(|message| schedule.channel_of(message)).collect();
        assert_eq!(channels, [0, 1, 2, 0, 1]);
        assert_eq!((0..3).map(|index| schedule.message(2, index)).collect::<Vec<_>>(), [2, 5, 8]);
    }

    #[test]
    fn a_message_is_due_at_its_time_and_not_a_nanosecond_before() {
        for rate in [1, 3, 7, 999, 1_000_003, 7_777_777, 3_000_000_000] {
            let schedule = Schedule::lasting(11, rate, 5, 100 * SECOND_NS);
            for message in [0, 1, 2, 3, 10, 29, schedule.total() - 1] {
                let time = schedule.time_of(message);
                assert!(schedule.due(time) > message, "{rate}: {message} at {time}");
                assert!(
                    schedule.due(time - 1) <= message.max(1),
                    "{rate}: {message} before {time}"
                );
            }
        }
    }

    #[test]
    fn what_a_pause_makes_late_counts_from_when_it_was_due() {
        // A server that answers at once, but for a pause of a second in which it does nothing.
        let (rate, pause) = (1_000, 2 * SECOND_NS..3 * SECOND_NS);
        let schedule = Schedule::lasting(0, rate, 1, 5 * SECOND_NS);
        let (mut now, mut sent, mut late, mut longest) = (0, 0, 0, 0);
        while sent < schedule.total() {
            if pause.contains(&now) {
                now = pause.end;
            }
            while sent < schedule.due(now) {
                let took = now - schedule.time_of(sent);
                late += u64::from(took > 1_000_000);
                longest = longest.max(took);
                sent += 1;
            }
            now += 1_000_000;
        }
        // All of the pause's messages but the last one, instead of the one that a sender who waits would see.
        assert_eq!((late, longest), (999, SECOND_NS));
    }
}
