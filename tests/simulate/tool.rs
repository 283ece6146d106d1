//! The tool that compacts, on a simulated disk: what `oicq-tools compact` does beside a server, without its
//! words.
//!
//! Owns the order of its steps alone.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::io;

use oicq::compaction::{CompactionError, KeepSince, Plan, collect};
use oicq::log::{Lock, Storage, discard};

use crate::disk::MemDisk;

/// Answers how many files were replaced; 0 if there was nothing to do, or somebody else is at it.
pub fn compact(
    storage: &mut MemDisk,
    keep_since: Option<KeepSince>,
) -> Result<usize, CompactionError> {
    match storage.lock(Lock::Compaction) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
        // Without a lock nothing is done.
        Err(_) => return Ok(0),
        Ok(()) => {}
    }
    let done = compact_locked(storage, keep_since);
    storage.unlock(Lock::Compaction);
    done
}

fn compact_locked(
    storage: &MemDisk,
    keep_since: Option<KeepSince>,
) -> Result<usize, CompactionError> {
    discard(storage);
    collect(storage)?;
    let plan = Plan::new(storage, keep_since, |_| ())?;
    let Some(plan) = plan.filter(|plan| plan.needed() < plan.replaced_bytes()) else {
        return Ok(0);
    };
    let replaced = plan.replaced_files();
    let draft = plan.write(storage, |_| ())?;
    draft.check(storage, |_| ())?.publish(storage)?;
    Ok(replaced)
}
