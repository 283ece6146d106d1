//! A packet that is made once and carries a number in its text, which is counted up in place.
//!
//! Owns how the number stands there: hexadecimal digits at the start of the text, as many as there is room for. It
//! knows nothing else of the packet.

/// Digits of a number: with eight, none comes again within four thousand million messages.
const DIGITS: usize = 8;

/// A packet with a number. It begins with number 0.
#[derive(Clone, Debug)]
pub(super) struct Stamped {
    packet: Vec<u8>,
    /// Where the digits end, and how many there are.
    end: usize,
    digits: usize,
}

impl Stamped {
    /// The text that packets to be stamped have: so many bytes, at least one.
    pub(super) fn text(bytes: usize) -> Vec<u8> {
        let mut text = vec![b'0'; bytes.min(DIGITS)];
        text.resize(bytes, b'm');
        text
    }

    /// A packet with a text of so many bytes, and so many other bytes behind it.
    pub(super) fn new(packet: Vec<u8>, bytes: usize, behind: usize) -> Self {
        let digits = bytes.min(DIGITS);
        let at = packet.len() - behind - bytes;
        debug_assert!(packet[at..at + digits].iter().all(|digit| *digit == b'0'));
        Self { end: at + digits, digits, packet }
    }

    /// The packet as it is now.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.packet
    }

    /// Counts the number up.
    pub(super) fn step(&mut self) {
        for digit in self.packet[self.end - self.digits..self.end].iter_mut().rev() {
            match *digit {
                b'9' => *digit = b'a',
                b'f' => {
                    *digit = b'0';
                    continue;
                }
                _ => *digit += 1,
            }
            return;
        }
    }

    /// How far the number of another text lies ahead of this one, or `None` where it has none. Where numbers
    /// come again, those in the half behind count as behind.
    pub(super) fn distance(&self, text: &[u8]) -> Option<i64> {
        let number = |digits: &[u8]| i64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
        let there = number(text.get(..self.digits)?)?;
        let here = number(&self.packet[self.end - self.digits..self.end])?;
        let all = 1_i64 << (4 * self.digits);
        let ahead = (there - here).rem_euclid(all);
        Some(if ahead >= all / 2 { ahead - all } else { ahead })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(bytes: usize) -> Stamped {
        let mut packet = b"head".to_vec();
        packet.extend(Stamped::text(bytes));
        Stamped::new(packet, bytes, 0)
    }

    #[test]
    fn numbers_are_counted_up_in_place() {
        let mut packet = stamped(12);
        for number in 0..5_000 {
            assert_eq!(packet.bytes(), format!("head{number:08x}mmmm").as_bytes());
            packet.step();
        }
    }

    #[test]
    fn short_texts_have_short_numbers_that_come_again() {
        let mut packet = stamped(2);
        (0..255).for_each(|_| packet.step());
        assert_eq!(packet.bytes(), b"headff");
        packet.step();
        assert_eq!(packet.bytes(), b"head00");
    }

    #[test]
    fn another_number_is_ahead_or_behind() {
        let mut packet = stamped(2);
        (0..7).for_each(|_| packet.step());
        for (text, distance) in [("09", 2), ("07", 0), ("06", -1), ("ff", -8), ("7f", 120)] {
            assert_eq!(packet.distance(text.as_bytes()), Some(distance), "{text}");
        }
        assert_eq!((packet.distance(b"x0"), packet.distance(b"0")), (None, None));
    }
}
