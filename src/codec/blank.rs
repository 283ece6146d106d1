//! Fillers: what stands in place of a text that nobody is to read, and behaves as it did.
//!
//! Owns which properties of a text survive. A text keeps its length and whether it is text at all; a password
//! keeps only what is looked at before it is hashed. Nothing here allocates.

use super::charset::{Breaks, Charset};
use super::secret::Secret;
use crate::limits::{CONTENT_BYTES_IN_SESSION, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN};

const LENGTH_MAX: usize = CONTENT_BYTES_IN_SESSION as usize;
static TEXT: [u8; LENGTH_MAX] = [b'x'; LENGTH_MAX];
/// A control character: these bytes are text in no charset.
static NO_TEXT: [u8; LENGTH_MAX] = [1; LENGTH_MAX];

/// A filler as long as a text of a packet or an event.
#[must_use]
pub fn blank(text: &[u8]) -> &'static [u8] {
    &TEXT[..text.len().min(LENGTH_MAX)]
}

/// A filler as long as the bytes, which is text where they are.
#[must_use]
pub fn blank_alike(bytes: &[u8], breaks: Breaks, charset: Charset) -> &'static [u8] {
    let filler = if charset.is_text(bytes, breaks) { &TEXT } else { &NO_TEXT };
    &filler[..bytes.len().min(LENGTH_MAX)]
}

/// A filler for a password: it is refused where the password is, for the same reason. Its length tells
/// no more than that.
#[must_use]
pub fn blank_password(password: Secret<'_>, charset: Charset) -> Secret<'static> {
    let length = match password.expose().len() {
        0 => 0,
        1..PASSWORD_BYTES_MIN => 1,
        PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX => PASSWORD_BYTES_MIN,
        _ => PASSWORD_BYTES_MAX + 1,
    };
    let is_text = charset.is_text(password.expose(), Breaks::Refused);
    Secret::new(if is_text { &TEXT[..length] } else { &NO_TEXT[..length] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filler_is_as_long_and_text_where_the_bytes_are() {
        let utf8 = Charset::Utf8;
        assert_eq!(blank("你好".as_bytes()), b"xxxxxx");
        assert_eq!(blank_alike("你好".as_bytes(), Breaks::Refused, utf8), b"xxxxxx");
        assert_eq!(blank_alike(b"a\nb", Breaks::Refused, utf8), [1; 3]);
        assert_eq!(blank_alike(b"a\nb", Breaks::Allowed, utf8), b"xxx");
        assert_eq!(blank_alike(b"\xFF", Breaks::Allowed, utf8), [1]);
        assert_eq!(blank_alike(b"", Breaks::Refused, utf8), b"");
    }

    #[test]
    fn a_password_is_told_from_others_only_by_whether_it_could_be_one() {
        let blanked = |password: &[u8]| {
            blank_password(Secret::new(password), Charset::Utf8).expose().to_vec()
        };
        assert_eq!(blanked(b"secret"), blanked(&[b'y'; 64]));
        assert_eq!(blanked(b"a"), blanked(b"abcde"));
        assert_eq!(blanked(b""), b"");
        assert_eq!(blanked(&[b'y'; 65]), blanked(&[b'z'; 1_000]));
        assert_eq!(blanked(b"secret\n"), [1; 6]);
        let lengths = [blanked(b"abcde").len(), blanked(b"secret").len(), blanked(&[9; 65]).len()];
        assert_eq!(lengths, [1, 6, 65]);
    }
}
