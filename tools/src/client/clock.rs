//! The one place of the client that reads a clock: for timeouts, for keeping the connection alive, and to
//! tell people of messages that were sent long ago.

use std::time::Instant;

use jiff::Zoned;

/// This moment, on a clock that never goes backwards.
#[expect(
    clippy::disallowed_methods,
    reason = "a client waits in real time, and records nothing of it"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day where the client runs.
pub(crate) fn time_of_day() -> Zoned {
    Zoned::now()
}
