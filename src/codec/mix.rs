//! A fast hash of words and texts, the same on every machine: for sums that must be cheap enough to be kept
//! with every change.
//!
//! Owns the mixing alone. It is no protection against forgers: who may choose the words can find two lists with
//! the same hash.

/// 2^64 divided by the golden ratio: odd, and without a pattern in its bits.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
/// With so many words of zeros behind it, the last word changes each bit of the hash as often as not.
const WORDS_BEHIND: usize = 3;

/// Hashes words, at one multiplication for each.
#[derive(Clone, Copy, Debug)]
pub struct Mixer {
    high: u64,
    low: u64,
}

impl Default for Mixer {
    fn default() -> Self {
        Self { high: 0, low: FACTOR }
    }
}

impl Mixer {
    /// Mixes a word in. Each step can be undone: lists that differ in one word never have the same hash.
    #[must_use]
    pub fn word(self, word: u64) -> Self {
        let (low, high) = (self.high ^ word).carrying_mul(FACTOR, 0);
        Self { high: self.low ^ high, low }
    }

    /// Mixes a text in: its length, then its bytes by eight, big-endian, filled up with zeros.
    #[must_use]
    pub fn text(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let last = (!rest.is_empty()).then_some(&last);
        words.iter().chain(last).fold(self.word(bytes.len() as u64), |mixer, word| {
            mixer.word(u64::from_be_bytes(*word))
        })
    }

    /// The hash of all that was mixed in.
    #[must_use]
    pub fn hash(self) -> u128 {
        let Self { high, low } = (0..WORDS_BEHIND).fold(self, |mixer, _| mixer.word(0));
        u128::from(high) << 64 | u128::from(low)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn texts_do_not_run_into_each_other() {
        let texts = [
            [&b"ab"[..], b"c"],
            [b"a", b"bc"],
            [b"abc", b""],
            [b"", b"abc"],
            [b"abc\0", b""],
            [b"abc\0\0\0\0\0", b""],
            [b"abcdefgh", b""],
            [b"abcdefgh", b"i"],
            [b"abcdefghi", b""],
            [b"abcdefg", b"hi"],
        ];
        let hashes = texts.map(|[first, second]| Mixer::default().text(first).text(second).hash());
        assert_eq!(BTreeSet::from(hashes).len(), texts.len());
    }

    #[test]
    fn each_bit_of_a_word_changes_each_bit_of_the_hash_about_as_often_as_not() {
        const TRIES: u64 = 1_000;
        let hash = |words: [u64; 4]| words.into_iter().fold(Mixer::default(), Mixer::word).hash();
        for (place, bit) in (1..4).flat_map(|place| (0..64).map(move |bit| (place, bit))) {
            let mut changes = [0_u64; 128];
            for n in 0..TRIES {
                let mut words = [5 << 32 | (10_001 + n), n * 3 + 7, 1_000_000_000_000 + n, n << 32];
                let before = hash(words);
                words[place] ^= 1 << bit;
                let change = before ^ hash(words);
                for (at, count) in changes.iter_mut().enumerate() {
                    *count += u64::from(change >> at & 1 == 1);
                }
            }
            let odd = changes.iter().find(|count| !(TRIES * 2 / 5..=TRIES * 3 / 5).contains(count));
            assert_eq!(odd, None, "word {place}, bit {bit}");
        }
    }
}
