//! Chance that is the same on every run: a generator with a seed, or bytes that a fuzzer chooses, and how many
//! cases are tried. Longer campaigns are asked for by environment variables.

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

/// What is chosen by chance.
pub struct Chance(Source);

/// Where chance comes from.
enum Source {
    /// SplitMix64: small, quick, and good enough to choose steps.
    Mixed(u64),
    /// Bytes, and how many of them have been used. Each choice takes few, so that a changed byte changes one choice.
    Bytes(Vec<u8>, usize),
}

impl Chance {
    pub const fn new(seed: u64) -> Self {
        Self(Source::Mixed(seed))
    }

    /// Choices by these bytes; behind them, by zeros.
    pub fn by_bytes(bytes: &[u8]) -> Self {
        Self(Source::Bytes(bytes.to_vec(), 0))
    }

    /// Whether the bytes are used up.
    pub fn is_spent(&self) -> bool {
        matches!(&self.0, Source::Bytes(bytes, used) if *used >= bytes.len())
    }

    pub fn next(&mut self) -> u64 {
        self.draw(8)
    }

    /// A number of so many bytes.
    fn draw(&mut self, count: usize) -> u64 {
        match &mut self.0 {
            Source::Mixed(seed) => {
                *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut mixed = *seed;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                mixed ^ (mixed >> 31)
            }
            Source::Bytes(bytes, used) => {
                let rest = bytes.get(*used..).unwrap_or_default();
                *used += count;
                rest.iter().take(count).fold(0, |drawn, byte| drawn << 8 | u64::from(*byte))
            }
        }
    }

    /// Bytes that a fuzzer chooses as they are, up to so many.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.byte()).collect()
    }

    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let count = match bound {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 8,
        };
        usize::try_from(self.draw(count) % bound as u64).expect("below a usize")
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    pub fn byte(&mut self) -> u8 {
        self.draw(1).to_le_bytes()[0]
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
