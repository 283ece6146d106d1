//! LIKE: whether a text has the form of a pattern.
//!
//! Texts are walked by characters of the charset, because in GB18030 the later bytes of a character look
//! like ASCII letters. Each character becomes one code, so that a form fits at worst in as many comparisons as
//! text and pattern have characters, and 16 of them go at once. Never allocates after the start for texts
//! of the lengths that a profile may have.

use crate::codec::charset::Charset;
use crate::limits::LONG_TEXT_BYTES;

/// `_` in a pattern. No character has this code: in neither charset does one begin with 0xFF.
const ANY_ONE: u32 = u32::MAX;
/// `%` in a pattern.
const ANY_RUN: u32 = u32::MAX - 1;

/// Characters that are compared at once: enough to keep the processor's wide registers busy.
const LANES: usize = 16;
/// What that costs.
const STEPS_PER_CHUNK: u64 = 8;
/// What comparing single characters costs, each of them.
const STEPS_PER_CHARACTER: u64 = 2;
/// What reading a text costs beside its bytes.
const STEPS_PER_TEXT: u64 = 8;
/// What one place of the text costs at which a piece of the pattern is tried.
const STEPS_PER_PLACE: u64 = 2;

/// A text or a pattern, one number for each character: its bytes, ASCII letters in lower case.
#[derive(Clone, Debug)]
pub(super) struct Codes(Vec<u32>);

impl Codes {
    /// Nothing yet, with room for the longest text of a profile.
    pub(super) fn with_room() -> Self {
        Self(Vec::with_capacity(LONG_TEXT_BYTES))
    }

    /// A pattern.
    pub(super) fn pattern(bytes: &[u8], charset: Charset) -> Self {
        let mut codes = Self(Vec::with_capacity(bytes.len()));
        codes.set_pattern(bytes, charset, &mut 0);
        codes
    }

    /// Replaces what it holds by a text.
    pub(super) fn set_text(&mut self, bytes: &[u8], charset: Charset, steps: &mut u64) {
        self.set(bytes, charset, steps, |byte| u32::from(byte.to_ascii_lowercase()));
    }

    /// Replaces what it holds by a pattern.
    pub(super) fn set_pattern(&mut self, bytes: &[u8], charset: Charset, steps: &mut u64) {
        self.set(bytes, charset, steps, |byte| match byte {
            b'_' => ANY_ONE,
            b'%' => ANY_RUN,
            _ => u32::from(byte.to_ascii_lowercase()),
        });
    }

    fn set(&mut self, bytes: &[u8], charset: Charset, steps: &mut u64, single: impl Fn(u8) -> u32) {
        self.0.clear();
        if bytes.is_ascii() {
            *steps += STEPS_PER_TEXT + bytes.len() as u64;
            self.0.extend(bytes.iter().map(|byte| single(*byte)));
            return;
        }
        *steps += STEPS_PER_TEXT + 4 * bytes.len() as u64;
        let mut rest = bytes;
        while let Some((&first, others)) = rest.split_first() {
            if first.is_ascii() {
                self.0.push(single(first));
                rest = others;
                continue;
            }
            let (character, others) = rest.split_at(charset.char_len(rest));
            self.0.push(character.iter().fold(0, |code, byte| code << 8 | u32::from(*byte)));
            rest = others;
        }
    }
}

/// Whether the text has the form of the pattern.
pub(super) fn matches(text: &Codes, pattern: &Codes, steps: &mut u64) -> bool {
    let text = &text.0[..];
    let mut pieces = pattern.0.split(|code| *code == ANY_RUN);
    let head = pieces.next().unwrap_or_default();
    let Some(tail) = pieces.next_back() else {
        return text.len() == head.len() && fits(text, head, steps);
    };
    // The first piece stands at the start, the last at the end, the others between them.
    let Some((start, rest)) = text.split_at_checked(head.len()) else { return false };
    let Some(tail_at) = rest.len().checked_sub(tail.len()) else { return false };
    let (mut rest, end) = rest.split_at(tail_at);
    if !fits(start, head, steps) || !fits(end, tail, steps) {
        return false;
    }
    for piece in pieces {
        // Taking the first place where a piece fits leaves most to the pieces after it.
        match place_of(piece, rest, steps) {
            Some(place) => rest = &rest[place + piece.len()..],
            None => return false,
        }
    }
    true
}

/// The first place of the text where the piece fits.
fn place_of(piece: &[u32], text: &[u32], steps: &mut u64) -> Option<usize> {
    let Some(&first) = piece.first() else { return Some(0) };
    text.windows(piece.len()).position(|window| {
        *steps += STEPS_PER_PLACE;
        // Mostly the first character tells.
        (first == ANY_ONE || window[0] == first) && fits(window, piece, steps)
    })
}

/// Whether a text has the form of a piece without `%`. Both have the same length.
fn fits(text: &[u32], piece: &[u32], steps: &mut u64) -> bool {
    debug_assert_eq!(text.len(), piece.len(), "a piece is compared with as much text");
    let (Some(text_end), Some(piece_end)) = (text.last_chunk(), piece.last_chunk()) else {
        *steps += STEPS_PER_CHARACTER * piece.len() as u64;
        return text.iter().zip(piece).all(|(text, piece)| *piece == ANY_ONE || text == piece);
    };
    let (texts, _) = text.as_chunks();
    let (pieces, _) = piece.as_chunks();
    for (text, piece) in texts.iter().zip(pieces) {
        *steps += STEPS_PER_CHUNK;
        if !fits_at_once(text, piece) {
            return false;
        }
    }
    // The last ones together with some that were seen already: quicker than one by one.
    *steps += STEPS_PER_CHUNK;
    fits_at_once(text_end, piece_end)
}

fn fits_at_once(text: &[u32; LANES], piece: &[u32; LANES]) -> bool {
    let mut difference = 0;
    for (text, piece) in text.iter().zip(piece) {
        difference |= if *piece == ANY_ONE { 0 } else { text ^ piece };
    }
    difference == 0
}
