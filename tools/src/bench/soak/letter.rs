//! The text of a message: which of its sender's it is, when it was due, and bytes that follow from these.
//!
//! Writing and reading stand together. Nothing needs to be kept of a text to know whether it came as it was sent.

use std::io::Write as _;

/// Hexadecimal digits of the number, and of the time.
const NUMBER: usize = 8;
const TIME: usize = 16;
/// Bytes behind them, at most.
const FILL_MAX: usize = 160;

/// What a message says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Letter {
    /// Counted up by its sender, from 1.
    pub(super) number: u32,
    /// When it should have been sent, in nanoseconds since the start.
    pub(super) due_ns: u64,
}

impl Letter {
    /// Its text, in place of what is in the buffer.
    pub(super) fn write(self, text: &mut Vec<u8>) {
        text.clear();
        // Writing into a vector does not fail.
        let _ = write!(text, "{:08x}{:016x}", self.number, self.due_ns);
        text.resize(NUMBER + TIME + self.fill_bytes(), self.fill());
    }

    /// What a text says; `None` where no message has this one.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let digits = |digits: &[u8]| u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
        let (head, fill) = text.split_at_checked(NUMBER + TIME)?;
        let number = u32::try_from(digits(&head[..NUMBER])?).ok()?;
        let letter = Self { number, due_ns: digits(&head[NUMBER..])? };
        let is_whole =
            fill.len() == letter.fill_bytes() && fill.iter().all(|byte| *byte == letter.fill());
        is_whole.then_some(letter)
    }

    const fn fill_bytes(self) -> usize {
        self.number.wrapping_mul(2_654_435_761) as usize % FILL_MAX
    }

    fn fill(self) -> u8 {
        b"abcdefghijklmnopqrstuvwxyz"[self.number as usize % 26]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let mut text = Vec::new();
        for number in [1, 2, 77, 78, u32::MAX] {
            let letter = Letter { number, due_ns: u64::from(number) << 20 };
            letter.write(&mut text);
            assert_eq!(Letter::read(&text), Some(letter));
            text.push(b'a');
            assert_eq!(Letter::read(&text), None, "a byte too many");
            text.truncate(text.len() - 2);
            assert_eq!(Letter::read(&text), None, "a byte too few");
        }
        Letter { number: 9, due_ns: 9 }.write(&mut text);
        for at in 0..text.len() {
            let mut other = text.clone();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert_ne!(Letter::read(&other), Letter::read(&text), "{at}");
        }
        assert_eq!(Letter::read(b""), None);
    }
}
