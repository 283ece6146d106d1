//! Core dumps, which would show what a program had in memory: passwords, and what users write to each other.
//!
//! Owns their being turned off, for this process and all that it starts. It never turns them on.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// From now on a crash leaves no core dump.
///
/// # Errors
/// If the system does not allow it.
pub fn turn_off() -> io::Result<()> {
    let limit = Rlimit { current: Some(0), maximum: Some(0) };
    Ok(setrlimit(Resource::Core, limit)?)
}
