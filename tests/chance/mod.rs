//! Chance that is the same on every run: a generator with a seed, and how many cases are tried. Longer
//! campaigns are asked for by environment variables.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of it")]

pub mod packets;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// Properties are tried with a fixed seed, unless `PROPTEST_RNG_SEED` or `PROPTEST_CASES` ask for a campaign.
pub fn properties(cases: u32) -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let cases = if asked("PROPTEST_CASES").is_some() { config.cases } else { cases };
    let rng_seed =
        if asked("PROPTEST_RNG_SEED").is_some() { config.rng_seed } else { RngSeed::Fixed(2_002) };
    ProptestConfig { cases, rng_seed, ..config }
}

/// The number in an environment variable.
pub fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The seeds of the sequences to run: `OICQ_SEED` is the first, `OICQ_SEQUENCES` how many.
pub fn seeds(sequences: u64) -> impl Iterator<Item = u64> {
    let first = asked("OICQ_SEED");
    // A seed that was asked for is run alone, so that a failure is seen again at once.
    let sequences = asked("OICQ_SEQUENCES").unwrap_or(if first.is_some() { 1 } else { sequences });
    let first = first.unwrap_or(1);
    first..first + sequences
}

/// SplitMix64: small, quick, and good enough to choose steps.
pub struct Chance(u64);

impl Chance {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// The index of one of `weights`, each as likely as it is heavy.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            if left < weight {
                return index;
            }
            left -= weight;
        }
        unreachable!("the weights add up to more")
    }
}
