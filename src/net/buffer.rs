//! Bytes that wait: for the rest of their packet, or for the other end to take them.
//!
//! Owns appending at one end and taking from the other without moving all of it each time. It never
//! holds memory while it is empty, which is what most connections' buffers are, most of the time. How much all of them
//! hold is known at any moment. Memory in which a password may have stood is wiped before anybody else gets it.

use zeroize::Zeroize as _;

/// The spare memory that is kept for the next buffers, in vectors, and in bytes at most.
const SPARES: usize = 64;
pub(super) const SPARES_BYTES_MAX: usize = SPARES * SPARE_BYTES_MAX;
/// Larger memory is given back to the system.
const SPARE_BYTES_MAX: usize = 64 * 1_024;
/// Taken bytes are cut off when they are at least this many, and half of all.
const CUT_BYTES_MIN: usize = 4 * 1_024;

/// A queue of bytes.
#[derive(Default, Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// How many of them are taken: few enough for a number that leaves room for what follows.
    taken: u32,
    /// A password may stand in its memory, until it is empty.
    is_secret: bool,
}

/// The memory of buffers that became empty, for those that become filled: between two turns hardly
/// any buffer holds bytes, and within one no message needs new memory.
#[derive(Default, Debug)]
pub(super) struct Spares {
    spares: Vec<Vec<u8>>,
    held: usize,
    freed: usize,
}

impl Spares {
    /// How much memory buffers hold, in bytes. It is known as long as each is emptied before it is dropped.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// How much memory was freed since that was last asked, in bytes.
    pub(super) fn take_freed(&mut self) -> usize {
        std::mem::take(&mut self.freed)
    }

    /// So much was freed elsewhere.
    pub(super) const fn note_freed(&mut self, bytes: usize) {
        self.freed += bytes;
    }

    /// Keeps nothing for the next buffers.
    pub(super) fn let_go(&mut self) {
        self.spares = Vec::new();
    }

    fn grown(&mut self, before: usize, after: usize) {
        self.held += after - before;
    }

    fn shrunk(&mut self, before: usize, after: usize) {
        self.held -= before - after;
        self.freed += before - after;
    }
}

impl Buffer {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken as usize
    }

    /// Whether no byte waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much memory it holds, in bytes.
    pub(super) const fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// All bytes that wait.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.taken as usize..]
    }

    /// The same, to be wiped when they are done with.
    pub(super) fn waiting_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.taken as usize..]
    }

    /// There may be a password among the bytes that wait. To be said before more of them come.
    pub(super) const fn keep_secret(&mut self) {
        self.is_secret = true;
    }

    /// Appends bytes.
    pub(super) fn push(&mut self, bytes: &[u8], spares: &mut Spares) {
        if bytes.is_empty() {
            return;
        }
        let before = self.held();
        if before == 0 {
            self.bytes = spares.spares.pop().unwrap_or_default();
        } else if before - self.bytes.len() < bytes.len() {
            self.make_room(bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        spares.grown(before, self.held());
    }

    /// Takes bytes off the front.
    pub(super) fn take(&mut self, count: usize, spares: &mut Spares) {
        debug_assert!(count <= self.len(), "only what waits is taken");
        if count >= self.len() {
            return self.clear(spares);
        }
        let taken = self.taken as usize + count;
        let is_much = taken >= CUT_BYTES_MIN && taken * 2 >= self.bytes.len();
        if let Some(taken) = u32::try_from(taken).ok().filter(|_| !is_much) {
            self.taken = taken;
        } else {
            self.bytes.drain(..taken);
            self.taken = 0;
            let before = self.held();
            if before > SPARE_BYTES_MAX && before / 4 > self.bytes.len() {
                if self.is_secret {
                    self.move_to(before / 2);
                } else {
                    self.bytes.shrink_to(before / 2);
                }
                spares.shrunk(before, self.held());
            }
        }
    }

    /// Drops all bytes, and gives the memory away.
    pub(super) fn clear(&mut self, spares: &mut Spares) {
        let mut bytes = std::mem::take(&mut self.bytes);
        self.taken = 0;
        if std::mem::take(&mut self.is_secret) {
            bytes.zeroize();
        }
        if spares.spares.len() < SPARES && (1..=SPARE_BYTES_MAX).contains(&bytes.capacity()) {
            spares.held -= bytes.capacity();
            bytes.clear();
            spares.spares.push(bytes);
        } else {
            spares.shrunk(bytes.capacity(), 0);
        }
    }

    /// Makes room for more bytes than there is room for. A large buffer grows by a quarter: twice as much as waits
    /// would count against its connection, and everybody.
    fn make_room(&mut self, more: usize) {
        let held = self.held();
        let step = if held > SPARE_BYTES_MAX { held / 4 } else { held };
        if self.is_secret {
            self.move_to((self.len() + more).max(held + step));
        } else {
            self.bytes.reserve_exact(more.max(held + step - self.bytes.len()));
        }
    }

    /// Goes on in other memory, and leaves nothing in the one before: a vector that grows leaves all of it.
    fn move_to(&mut self, capacity: usize) {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(self.waiting());
        self.bytes.zeroize();
        self.bytes = bytes;
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_whatever_the_pieces() {
        let (mut buffer, mut spares) = (Buffer::default(), Spares::default());
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut out = Vec::new();
        for piece in bytes.chunks(977) {
            buffer.push(piece, &mut spares);
            let count = buffer.len().min(700);
            out.extend_from_slice(&buffer.waiting()[..count]);
            buffer.take(count, &mut spares);
        }
        out.extend_from_slice(buffer.waiting());
        buffer.take(buffer.len(), &mut spares);
        assert!(out == bytes);
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_was_taken_does_not_pile_up() {
        let (mut buffer, mut spares) = (Buffer::default(), Spares::default());
        buffer.push(&[0; 1], &mut spares);
        for _ in 0..10_000 {
            buffer.push(&[0; 100], &mut spares);
            buffer.take(100, &mut spares);
        }
        assert_eq!(buffer.len(), 1);
        assert!(buffer.bytes.capacity() <= 4 * CUT_BYTES_MIN);
    }

    #[test]
    fn an_empty_buffer_holds_no_memory_and_the_next_one_uses_it() {
        let (mut one, mut two, mut spares) =
            (Buffer::default(), Buffer::default(), Spares::default());
        one.push(&[1; 500], &mut spares);
        one.take(500, &mut spares);
        assert_eq!((one.held(), spares.spares.len()), (0, 1));
        two.push(&[2; 10], &mut spares);
        assert!(two.held() >= 500 && spares.spares.is_empty());
        two.push(&[2; 2 * SPARE_BYTES_MAX], &mut spares);
        assert_eq!((spares.held(), spares.take_freed()), (two.held(), 0));
        let held = two.held();
        two.clear(&mut spares);
        assert!(spares.spares.is_empty(), "much memory goes back");
        assert_eq!((spares.held(), spares.take_freed(), spares.take_freed()), (0, held, 0));
    }

    #[test]
    fn a_large_buffer_holds_little_more_than_what_waits() {
        for is_secret in [false, true] {
            let (mut buffer, mut spares) = (Buffer::default(), Spares::default());
            if is_secret {
                buffer.keep_secret();
            }
            let mut moved = 0;
            while buffer.len() < 8 << 20 {
                let held = buffer.held();
                buffer.push(&[1; 1_000], &mut spares);
                moved += usize::from(buffer.held() != held);
                let most = (buffer.len() + buffer.len() / 4 + 1_000).max(2 * SPARE_BYTES_MAX);
                assert!(buffer.held() <= most, "{} for {}", buffer.held(), buffer.len());
                assert_eq!(spares.held(), buffer.held());
            }
            assert!(moved < 50, "it moves each time");
        }
    }

    #[test]
    fn a_buffer_that_is_nearly_empty_again_holds_little() {
        let (mut one, mut two) = (Buffer::default(), Buffer::default());
        let mut spares = Spares::default();
        one.push(&[1; 4 << 20], &mut spares);
        two.push(&[2; 4 << 10], &mut spares);
        while one.len() > 100 {
            one.take((one.len() / 3).max(50), &mut spares);
            assert_eq!(spares.held(), one.held() + two.held());
        }
        assert!(one.held() <= 2 * SPARE_BYTES_MAX, "{}", one.held());
        two.take(4 << 10, &mut spares);
        assert_eq!(spares.held(), one.held());
    }

    #[test]
    fn a_buffer_with_a_password_in_it_holds_the_same_bytes_wherever_it_moves() {
        let (mut open, mut secret) = (Buffer::default(), Buffer::default());
        let mut spares = Spares::default();
        secret.keep_secret();
        for round in 1..60_u8 {
            for buffer in [&mut open, &mut secret] {
                buffer.push(&vec![round; usize::from(round) * 997], &mut spares);
                let taken = buffer.len() / 3 * 2;
                buffer.take(if round % 8 == 0 { taken } else { 100 }, &mut spares);
            }
            assert_eq!(spares.held(), open.held() + secret.held());
            assert_eq!(open.waiting(), secret.waiting(), "{round}");
        }
        open.clear(&mut spares);
        secret.clear(&mut spares);
        assert_eq!(spares.held(), 0);
    }
}
