//! Words and quoted words: how commands are taken apart and how values are written, the same way in
//! both directions, so that what a script reads can be given back as it stands.
//!
//! Knows nothing of commands and events.

use std::fmt;

use zeroize::Zeroizing;

use crate::show::is_unsafe;

/// A word without its quotes, which may be a password or hold one: it is wiped in the end.
pub(crate) type Word = Zeroizing<String>;

/// A quoted word that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WordError {
    /// The closing quote is missing.
    Open,
    /// A backslash before something that it does not go with.
    Escape(char),
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("a quote (\") is not closed"),
            Self::Escape(c) => write!(
                f,
                "\\{} is unknown between quotes, expected \\\\, \\\", \\n, \\r, \\t or \\u{{HEX}}",
                c.escape_default()
            ),
        }
    }
}

/// A value as it stands behind `key=`: as it is, or between quotes, but always in one line.
pub(crate) fn quoted(value: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !needs_escape(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' | '\\' => out.extend(['\\', c]),
            c if needs_escape(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What would break a line, end a value or turn the direction of a terminal's text.
fn needs_escape(c: char) -> bool {
    matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}') || is_unsafe(c)
}

/// The first word of `text`, without its quotes, and what follows it. Quotes may stand anywhere in a
/// word: `city="New York"`.
pub(crate) fn first_word(text: &str) -> Result<Option<(Word, &str)>, WordError> {
    let text = text.trim_start();
    if text.is_empty() {
        return Ok(None);
    }
    // It never grows: none is longer than how it is written.
    let mut word = Word::new(String::with_capacity(text.len()));
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => quoted_part(&mut chars, &mut word)?,
            c if c.is_whitespace() => return Ok(Some((word, text[at..].trim_start()))),
            c => word.push(c),
        }
    }
    Ok(Some((word, "")))
}

fn quoted_part(chars: &mut std::str::CharIndices<'_>, word: &mut String) -> Result<(), WordError> {
    while let Some((_, c)) = chars.next() {
        match c {
            '"' => return Ok(()),
            '\\' => word.push(escaped(chars)?),
            c => word.push(c),
        }
    }
    Err(WordError::Open)
}

fn escaped(chars: &mut std::str::CharIndices<'_>) -> Result<char, WordError> {
    match chars.next().ok_or(WordError::Open)?.1 {
        c @ ('"' | '\\') => Ok(c),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'u' => {
            let (hex, rest) = chars
                .as_str()
                .strip_prefix('{')
                .and_then(|rest| rest.split_once('}'))
                .ok_or(WordError::Escape('u'))?;
            *chars = rest.char_indices();
            u32::from_str_radix(hex, 16).ok().and_then(char::from_u32).ok_or(WordError::Escape('u'))
        }
        other => Err(WordError::Escape(other)),
    }
}

/// All words of `text`.
pub(crate) fn all_words(mut text: &str) -> Result<Vec<Word>, WordError> {
    let mut words = Vec::new();
    while let Some((word, rest)) = first_word(text)? {
        words.push(word);
        text = rest;
    }
    Ok(words)
}

/// The rest of a line as one text: if it is one quoted word, without the quotes; otherwise as it stands.
pub(crate) fn whole_text(text: &str) -> Result<String, WordError> {
    let text = text.trim();
    if text.starts_with('"') && ends_with_its_first_quote(text) {
        return Ok(first_word(text)?.map(|(word, _)| String::clone(&word)).unwrap_or_default());
    }
    Ok(text.to_owned())
}

/// Whether the quote that opens `text` is closed by its last character.
fn ends_with_its_first_quote(text: &str) -> bool {
    let mut escape = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escape => escape = false,
            '\\' => escape = true,
            '"' => return at + 1 == text.len(),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_line_and_comes_back_as_it_was() {
        for value in [
            "",
            "a",
            "你好",
            "a b",
            "a\nb\r\tc",
            "say \"hi\"",
            "\\",
            "a=b",
            "\u{1b}[2J\0",
            "\u{202e}x",
            " x ",
        ] {
            let line = quoted(value);
            assert!(!line.chars().any(is_unsafe), "{line}");
            assert_eq!(first_word(&line), Ok(Some((Word::new(value.to_owned()), ""))), "{line}");
            assert_eq!(whole_text(&line).as_deref(), Ok(value));
        }
        assert_eq!(quoted("ann"), "ann");
        assert_eq!(quoted("a\n\u{7}"), r#""a\n\u{7}""#);
    }

    #[test]
    fn words_end_at_blanks_outside_of_quotes() {
        let words = all_words(r#"  a  b="c d"e  "f \"g\"" "#).unwrap();
        let words: Vec<_> = words.iter().map(|word| word.as_str()).collect();
        assert_eq!(words, ["a", "b=c de", "f \"g\""]);
        assert!(all_words("").unwrap().is_empty());
    }

    #[test]
    fn a_text_is_taken_literally_unless_it_is_one_quoted_word() {
        assert_eq!(whole_text(r#" "a" and "b" "#).as_deref(), Ok(r#""a" and "b""#));
        assert_eq!(whole_text(r#"it's \n "#).as_deref(), Ok(r"it's \n"));
        assert_eq!(whole_text(r#""a\nb""#).as_deref(), Ok("a\nb"));
        assert_eq!(whole_text("\"").as_deref(), Ok("\""));
    }

    #[test]
    fn broken_quotes_say_what_is_wrong() {
        assert_eq!(first_word("a\"b"), Err(WordError::Open));
        assert_eq!(first_word(r#""\x""#), Err(WordError::Escape('x')));
        assert_eq!(first_word(r#""\u{d800}""#), Err(WordError::Escape('u')));
        assert_eq!(first_word(r#""\"#), Err(WordError::Open));
    }
}
