//! The clocks and the chance of the world outside: the one file that asks for them. Everything else
//! gets time and random bytes as inputs.
//!
//! It never decides what they are used for.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::id::{MonoMillis, Now, UnixMillis};

/// Both clocks. Neither ever runs backwards: the wall clock stands still until the system's has caught up.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    /// How long it had been running when it was last asked for the time.
    asked: Duration,
    wall_last: UnixMillis,
}

impl Clock {
    /// Clocks whose wall time is never before `wall_min`, the time of the log's last event.
    pub(super) fn new(wall_min: UnixMillis) -> Self {
        Self { start: Instant::now(), asked: Duration::ZERO, wall_last: wall_min }
    }

    /// The time.
    pub(super) fn now(&mut self) -> Now {
        self.wall_last = self.wall_last.max(wall());
        self.asked = self.start.elapsed();
        Now { wall: self.wall_last, mono: mono(self.asked) }
    }

    /// How long ago it was asked for the time.
    pub(super) fn since_asked(&self) -> Duration {
        self.start.elapsed().saturating_sub(self.asked)
    }

    /// How long it has been running.
    pub(super) fn mono(&self) -> MonoMillis {
        mono(self.start.elapsed())
    }
}

fn mono(passed: Duration) -> MonoMillis {
    MonoMillis(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
}

/// What the system's wall clock says; it may have been set back.
pub(super) fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Bytes that nobody can foresee.
pub(super) fn random<const BYTES: usize>() -> Result<[u8; BYTES], getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_never_before_the_log() {
        let ahead = UnixMillis(wall().0 + 1_000_000);
        let mut clock = Clock::new(ahead);
        assert_eq!(clock.now().wall, ahead);
        let mut clock = Clock::new(UnixMillis(0));
        let (first, second) = (clock.now(), clock.now());
        assert!(first.wall.0 > 0 && first.wall <= second.wall && first.mono <= second.mono);
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    }
}
