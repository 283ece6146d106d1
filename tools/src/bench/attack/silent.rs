//! Connections that never speak: as many as there can be, and new ones in the place of those that are closed.

use super::Attack;
use super::pool::Pool;
use crate::failure::Failure;

/// Connections that are begun at once.
const AT_ONCE: usize = 256;
/// How long one stays that was told to go: longer than the server waits for it.
const STAYS_NS: u64 = 5_000_000_000;

pub(super) struct Silent;

impl Attack for Silent {
    fn users(&self, _: usize) -> usize {
        0
    }

    fn begin(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        pool.stays_ns = STAYS_NS;
        Ok(())
    }

    fn go_on(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        for _ in 0..AT_ONCE {
            if pool.open()?.is_none() {
                break;
            }
        }
        Ok(())
    }
}
