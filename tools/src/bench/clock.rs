//! The one place of the load generator that reads a clock. A measurement is nothing else than its readings;
//! nothing of them enters a log.

use std::time::{Instant, SystemTime};

/// Nanoseconds on a clock that never goes backwards, counted from when this was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// A clock that stands at 0.
    #[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// What it shows.
    #[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
    pub(crate) fn ns(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A number that differs from run to run.
#[expect(clippy::disallowed_methods, reason = "a long run says which it was, and can be told")]
pub(crate) fn seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
