//! What a server is started with, as a plain struct with the defaults.
//!
//! It never says how a value is written on a command line, and never acts on one.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::black_box::Texts;
use crate::engine::Settings;
use crate::limits::{
    BLACK_BOX_BYTES, IDLE_TIMEOUT_MS, LOGIN_TIMEOUT_MS, PASSWORD_MEMORY_KIB,
    PASSWORD_MEMORY_KIB_MAX, PASSWORD_PASSES, PASSWORD_WORK_KIB_MAX, RECORDED_MEMORY_KIB_MAX,
    RECORDED_WORK_KIB_MAX, SEGMENT_BYTES, SLOW_TIMEOUT_MS,
};
use crate::log::Durability;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// The log's folder.
    pub data: PathBuf,
    /// What replies wait for.
    pub durability: Durability,
    /// Bytes of one log file.
    pub segment_bytes: u64,
    /// What new passwords' hashes cost.
    pub password_cost: Cost,
    /// How long clients are waited for.
    pub timeouts: Timeouts,
    /// How much of the latest input is kept, in bytes; 0: none.
    pub black_box_bytes: u64,
    /// What becomes of texts in it.
    pub black_box_texts: Texts,
    /// What the engine is told.
    pub settings: Settings,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8_000))],
            data: PathBuf::from("data/store"),
            durability: Durability::Always,
            segment_bytes: SEGMENT_BYTES,
            password_cost: Cost::default(),
            timeouts: Timeouts::default(),
            black_box_bytes: BLACK_BOX_BYTES,
            black_box_texts: Texts::default(),
            settings: Settings::default(),
        }
    }
}

/// How long clients are waited for, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// For a login, on a connection without a session.
    pub login_ms: u64,
    /// For the next byte.
    pub idle_ms: u64,
    /// For the client to take some of what waits for it.
    pub slow_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { login_ms: LOGIN_TIMEOUT_MS, idle_ms: IDLE_TIMEOUT_MS, slow_ms: SLOW_TIMEOUT_MS }
    }
}

/// What a new password's hash costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for Cost {
    fn default() -> Self {
        Self { memory_kib: PASSWORD_MEMORY_KIB, passes: PASSWORD_PASSES }
    }
}

impl Cost {
    /// Whether a server takes it on for every new hash.
    #[must_use]
    pub fn is_bearable(self) -> bool {
        self.is_within(PASSWORD_MEMORY_KIB_MAX, PASSWORD_WORK_KIB_MAX)
    }

    /// Whether a server takes it on for a hash on record: with each wrong password, until the right one has it made
    /// anew.
    #[must_use]
    pub fn is_bearable_on_record(self) -> bool {
        self.is_within(RECORDED_MEMORY_KIB_MAX, RECORDED_WORK_KIB_MAX)
    }

    fn is_within(self, memory_kib_max: u32, work_kib_max: u64) -> bool {
        self.memory_kib <= memory_kib_max
            && u64::from(self.memory_kib) * u64::from(self.passes) <= work_kib_max
    }

    /// The same for Argon2, which cannot be run with all of them.
    pub fn params(self) -> Result<argon2::Params, argon2::Error> {
        argon2::Params::new(self.memory_kib, self.passes, 1, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_that_argon2_cannot_take_is_known_before() {
        assert!(Cost::default().params().is_ok());
        assert!(Cost { memory_kib: 8, passes: 1 }.params().is_ok());
        assert!(Cost { memory_kib: 7, passes: 1 }.params().is_err());
        assert!(Cost { memory_kib: 8, passes: 0 }.params().is_err());
    }

    #[test]
    fn neither_memory_nor_passes_are_without_a_bound() {
        let is_bearable = |memory_kib, passes| Cost { memory_kib, passes }.is_bearable();
        assert!(Cost::default().is_bearable() && is_bearable(8, 1) && is_bearable(1 << 18, 4));
        assert!(!is_bearable((1 << 18) + 1, 1) && !is_bearable(1 << 18, 5));
        assert!(!is_bearable(8, u32::MAX) && !is_bearable(u32::MAX, u32::MAX));
    }

    #[test]
    fn a_hash_on_record_may_be_as_dear_as_anybody_recommends() {
        let is_bearable = |memory_kib, passes| Cost { memory_kib, passes }.is_bearable_on_record();
        assert!(is_bearable(1 << 21, 1) && is_bearable(1 << 20, 4) && is_bearable(8, 1 << 19));
        assert!(!is_bearable((1 << 21) + 1, 1) && !is_bearable(1 << 20, 5));
        assert!(!is_bearable(8, u32::MAX) && !is_bearable(u32::MAX, u32::MAX));
    }
}
