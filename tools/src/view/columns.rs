//! Text in the columns of a terminal: what fits where, with characters that take two columns or none.
//!
//! Owns the counting alone. It never changes a text.

use unicode_width::UnicodeWidthChar as _;

/// The text in pieces of `width` columns at most; one piece, if it is empty. A piece ends behind a blank, if that
/// leaves half of the width at most, and else anywhere. A character that is wider than `width` has a piece of its
/// own.
pub(super) fn fold(mut text: &str, width: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    loop {
        let fitting = cut(text, width).0;
        let first = text.chars().next().map_or(0, char::len_utf8);
        let mut end = fitting.len().max(first);
        if end < text.len() {
            let blank = fitting.rfind(' ').map(|at| at + 1);
            end = blank.filter(|end| cut(&text[..*end], width).1 * 2 >= width).unwrap_or(end);
        }
        let (piece, rest) = text.split_at(end);
        pieces.push(piece);
        if rest.is_empty() {
            return pieces;
        }
        text = rest;
    }
}

/// As much of the text as fits into `width` columns, and how many these are.
pub(super) fn cut(text: &str, width: usize) -> (&str, usize) {
    let mut columns = 0;
    for (at, character) in text.char_indices() {
        let wide = character.width().unwrap_or(0);
        if columns + wide > width {
            return (&text[..at], columns);
        }
        columns += wide;
    }
    (text, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_are_never_split_and_never_stand_over() {
        assert_eq!(fold("", 4), [""]);
        assert_eq!(fold("abcd", 4), ["abcd"]);
        assert_eq!(fold("abcdefghi", 4), ["abcd", "efgh", "i"]);
        assert_eq!(fold("你好世界", 5), ["你好", "世界"]);
        assert_eq!(fold("a你好", 4), ["a你", "好"]);
        assert_eq!(fold("e\u{301}e\u{301}e", 2), ["e\u{301}e\u{301}", "e"]);
        assert_eq!(fold("你a", 1), ["你", "a"]);
        assert_eq!(fold("ab", 0), ["a", "b"]);
        assert_eq!(fold("one word", 7), ["one ", "word"]);
        assert_eq!(fold("a longword", 7), ["a longw", "ord"]);
    }

    #[test]
    fn a_cut_says_how_wide_it_is() {
        assert_eq!(cut("abc", 9), ("abc", 3));
        assert_eq!(cut("abc", 2), ("ab", 2));
        assert_eq!(cut("你好", 3), ("你", 2));
        assert_eq!(cut("你好", 0), ("", 0));
    }
}
