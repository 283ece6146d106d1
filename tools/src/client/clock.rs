//! The one place of the client that reads a clock: for timeouts and for keeping the connection alive.

use std::time::Instant;

/// This moment, on a clock that never goes backwards.
#[expect(
    clippy::disallowed_methods,
    reason = "a client waits in real time, and records nothing of it"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
