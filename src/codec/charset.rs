//! The server's one charset: what is valid text, where characters end, and how text becomes Unicode for
//! those who read it. Stored bytes are never changed. Protocol section 1.

use std::borrow::Cow;
use std::fmt;

use encoding_rs::{DecoderResult, GB18030};
use zeroize::Zeroizing;

/// The charset of a data folder and of all its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Charset {
    /// UTF-8.
    #[default]
    Utf8,
    /// GB18030, which clients of the period call GBK or GB2312.
    Gb18030,
}

/// Which control characters a text may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Breaks {
    /// None: names and everything that is shown in one line.
    Refused,
    /// Tab, CR and LF: messages, reasons, descriptions and hobbies.
    Allowed,
}

impl Charset {
    /// All charsets, in the order of their tags.
    pub const ALL: [Self; 2] = [Self::Utf8, Self::Gb18030];

    /// The name that options take.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Gb18030 => "gb18030",
        }
    }

    /// The charset of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|charset| charset.name() == name)
    }

    /// The byte that stands for it in the log.
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::Utf8 => 1,
            Self::Gb18030 => 2,
        }
    }

    /// The charset of a tag.
    #[must_use]
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|charset| charset.tag() == tag)
    }

    /// Whether the bytes are text in this charset without a control character that `breaks` does not allow.
    #[must_use]
    pub fn is_text(self, bytes: &[u8], breaks: Breaks) -> bool {
        // Every byte is looked at, without a branch: the compiler then looks at many at once.
        let is_plain =
            bytes.iter().fold(true, |plain, byte| plain & (byte.wrapping_sub(b' ') < 95));
        if is_plain {
            return true;
        }
        let are_refused = breaks == Breaks::Refused;
        // In both charsets a byte below 0x20 and 0x7F stand for themselves alone.
        let has_control = bytes.iter().fold(false, |found, &byte| {
            let is_break = (byte == b'\t') | (byte == b'\r') | (byte == b'\n');
            found | ((byte < 0x20) & (are_refused | !is_break)) | (byte == 0x7F)
        });
        !has_control && self.is_valid(bytes)
    }

    fn is_valid(self, bytes: &[u8]) -> bool {
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).is_ok(),
            Self::Gb18030 => {
                bytes.is_ascii() || is_gb18030(bytes) && self.find_lone_80(bytes).is_none()
            }
        }
    }

    /// The length in bytes of the character at the start of valid text; 0 at its end.
    #[must_use]
    pub fn char_len(self, text: &[u8]) -> usize {
        let Some(&first) = text.first() else { return 0 };
        let length = match self {
            Self::Utf8 => match first {
                0..0xC0 => 1,
                0xC0..0xE0 => 2,
                0xE0..0xF0 => 3,
                _ => 4,
            },
            Self::Gb18030 => match (first, text.get(1)) {
                (0x81..=0xFE, Some(b'0'..=b'9')) => 4,
                (0x81..=0xFE, Some(_)) => 2,
                _ => 1,
            },
        };
        length.min(text.len())
    }

    /// The text in Unicode; what is not valid becomes U+FFFD.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes),
            Self::Gb18030 => self.decode_gb18030(bytes),
        }
    }

    fn decode_gb18030(self, mut bytes: &[u8]) -> Cow<'_, str> {
        let mut text = String::new();
        while let Some(at) = self.find_lone_80(bytes) {
            text.push_str(&GB18030.decode_without_bom_handling(&bytes[..at]).0);
            text.push(char::REPLACEMENT_CHARACTER);
            bytes = &bytes[at + 1..];
        }
        let rest = GB18030.decode_without_bom_handling(bytes).0;
        if text.is_empty() { rest } else { Cow::Owned(text + &rest) }
    }

    /// Where 80 hex stands by itself, which GB18030 has no character for: browsers take it for the euro sign, and so
    /// does the decoder, which is made for them.
    fn find_lone_80(self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte == 0x80 {
                return Some(at);
            }
            at += self.char_len(&bytes[at..]);
        }
        None
    }

    /// Unicode as bytes of this charset.
    #[must_use]
    pub fn encode(self, text: &str) -> Cow<'_, [u8]> {
        match self {
            Self::Utf8 => Cow::Borrowed(text.as_bytes()),
            Self::Gb18030 => GB18030.encode(text).0,
        }
    }
}

impl fmt::Display for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Decoded a piece at a time: it may be a password, of which nothing stays in memory.
fn is_gb18030(mut bytes: &[u8]) -> bool {
    let mut decoder = GB18030.new_decoder_without_bom_handling();
    let mut piece = Zeroizing::new([0; 256]);
    loop {
        let (result, read, _) =
            decoder.decode_to_utf8_without_replacement(bytes, &mut *piece, true);
        match result {
            DecoderResult::InputEmpty => return true,
            DecoderResult::Malformed(..) => return false,
            DecoderResult::OutputFull => bytes = bytes.get(read..).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_counts_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let is_break = matches!(byte, b'\t' | b'\r' | b'\n');
            let is_character = (0x20..0x7F).contains(&byte);
            for place in 0..40 {
                let mut text = [b'x'; 40];
                text[place] = byte;
                let is_text = |breaks| Charset::Utf8.is_text(&text[..=place], breaks);
                assert_eq!(is_text(Breaks::Refused), is_character, "{byte} at {place}");
                assert_eq!(is_text(Breaks::Allowed), is_character || is_break, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn control_characters_and_invalid_bytes_are_no_text() {
        for charset in Charset::ALL {
            assert!(charset.is_text(b"", Breaks::Refused));
            assert!(charset.is_text(b"a b", Breaks::Refused));
            assert!(!charset.is_text(b"a\tb", Breaks::Refused));
            assert!(charset.is_text(b"a\tb\r\n", Breaks::Allowed));
            assert!(!charset.is_text(b"a\0", Breaks::Allowed));
            assert!(!charset.is_text(b"a\x7F", Breaks::Allowed));
            assert!(!charset.is_text(b"a\xFF", Breaks::Allowed));
        }
        assert!(Charset::Utf8.is_text("你好".as_bytes(), Breaks::Refused));
        assert!(!Charset::Utf8.is_text(b"\xC4\xE3\xBA\xC3", Breaks::Refused));
        assert!(Charset::Gb18030.is_text(b"\xC4\xE3\xBA\xC3", Breaks::Refused));
    }

    #[test]
    fn a_long_text_is_looked_at_whole_wherever_its_characters_end() {
        let gb18030 = Charset::Gb18030;
        for before in 0..5 {
            let text = "x".repeat(before) + &"密码\u{1F600}".repeat(60);
            let bytes = gb18030.encode(&text);
            let mut at = 0;
            for cut in 0..=bytes.len() {
                let is_whole = cut == at;
                assert_eq!(gb18030.is_text(&bytes[..cut], Breaks::Refused), is_whole, "{cut}");
                if is_whole {
                    at += gb18030.char_len(&bytes[cut..]);
                }
            }
        }
    }

    #[test]
    fn what_browsers_take_for_the_euro_sign_is_no_text() {
        let gb18030 = Charset::Gb18030;
        for (bytes, shown) in [
            (&b"\x80"[..], "\u{FFFD}"),
            (b"5 \x80", "5 \u{FFFD}"),
            (b"\x80\x80a", "\u{FFFD}\u{FFFD}a"),
            (b"\xC4\xE3\x80\xBA\xC3", "你\u{FFFD}好"),
            (b"\x81\x30\x81\x30\x80", "\u{80}\u{FFFD}"),
        ] {
            assert!(!gb18030.is_text(bytes, Breaks::Allowed), "{bytes:X?}");
            assert_eq!(gb18030.decode(bytes), shown, "{bytes:X?}");
        }
        // As the second byte of a character it is one like any other, and the euro sign has a character of its own.
        let euro = gb18030.encode("€");
        assert_eq!(*euro, b"\xA2\xE3"[..]);
        for bytes in [&b"\x81\x80"[..], b"\x81\x80\x81\x80", &euro] {
            assert!(gb18030.is_text(bytes, Breaks::Refused), "{bytes:X?}");
        }
    }

    #[test]
    fn characters_are_counted_in_their_charset() {
        let lengths = |charset: Charset, text: &str| {
            let bytes = charset.encode(text).into_owned();
            let mut rest = &bytes[..];
            let mut lengths = Vec::new();
            while !rest.is_empty() {
                let length = charset.char_len(rest);
                lengths.push(length);
                rest = &rest[length..];
            }
            lengths
        };
        assert_eq!(lengths(Charset::Utf8, "aé你😀"), [1, 2, 3, 4]);
        assert_eq!(lengths(Charset::Gb18030, "a你😀"), [1, 2, 4]);
    }
}
