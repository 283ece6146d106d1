//! Chance with a seed: the same seed makes the same choices on every machine.

/// SplitMix64: small, quick, and good enough to choose what users do.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// The choices of a seed. Several generators are wanted of one seed, of which each has a name of its own.
    pub(super) const fn new(seed: u64, name: u64) -> Self {
        Self(mixed(seed).wrapping_add(mixed(!name)))
    }

    /// A number below `end`, which is at least 1.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        // The high half of a product: hardly any number comes more often than another.
        let product = u128::from(mixed(self.0)) * u128::from(end.max(1));
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// An index of so many.
    pub(super) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or(0)
    }

    /// A time around a mean one: from half of it to one and a half.
    pub(super) fn around(&mut self, mean_ns: u64) -> u64 {
        mean_ns / 2 + self.below(mean_ns.max(1))
    }
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

const fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, name: u64) -> Vec<u64> {
        let mut chance = Chance::new(seed, name);
        (0..20).map(|_| chance.below(1_000)).collect()
    }

    #[test]
    fn a_seed_makes_the_same_choices_and_another_makes_others() {
        assert_eq!(first(7, 1), first(7, 1));
        assert_ne!(first(7, 1), first(8, 1));
        assert_ne!(first(7, 1), first(7, 2));
        assert_ne!(first(0, 0), first(0, 1));
    }

    #[test]
    fn every_number_comes_about_as_often() {
        let (mut chance, mut counts) = (Chance::new(1, 1), [0_u32; 10]);
        (0..10_000).for_each(|_| counts[chance.index(10)] += 1);
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        assert!((0..1_000).all(|_| (50..150).contains(&chance.around(100))));
        assert_eq!(chance.below(0), 0);
    }
}
