//! Fillers: what stands in place of a text that nobody is to read, and behaves as it did.
//!
//! Owns which properties of a text survive. A text keeps its length and whether it is text at all; a password
//! keeps only what is looked at before it is hashed; names and profiles keep, beside that, which of them are the
//! same.

use std::collections::BTreeMap;

use super::charset::{Breaks, Charset};
use super::profile::Profile;
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

/// Fillers for names and the texts of profiles: the same one for the same text, and another one for each other of that
/// length, as long as there are enough. In which order texts come is all that they tell.
pub struct Fillers {
    charset: Charset,
    /// What the server itself writes is left as it is.
    own: &'static [&'static [u8]],
    known: BTreeMap<Box<[u8]>, u64>,
    /// How many texts of each length there have been.
    counts: BTreeMap<usize, u64>,
}

impl Fillers {
    /// None yet, for texts in this charset. Those that the server itself writes are left as they are.
    #[must_use]
    pub const fn new(charset: Charset, own: &'static [&'static [u8]]) -> Self {
        Self { charset, own, known: BTreeMap::new(), counts: BTreeMap::new() }
    }

    /// The charset of the texts.
    #[must_use]
    pub const fn charset(&self) -> Charset {
        self.charset
    }

    /// The filler for a text.
    #[must_use]
    pub fn text(&mut self, text: &[u8], breaks: Breaks) -> Vec<u8> {
        if text.is_empty() || !self.charset.is_text(text, breaks) {
            return blank_alike(text, breaks, self.charset).to_vec();
        }
        if self.own.contains(&text) {
            return text.to_vec();
        }
        let mut left = match self.known.get(text) {
            Some(known) => *known,
            None => {
                let count = self.counts.entry(text.len()).or_default();
                *count += 1;
                self.known.insert(text.into(), *count - 1);
                *count - 1
            }
        };
        let mut filler = blank(text).to_vec();
        for place in filler.iter_mut().rev() {
            let digit = left % DIGITS.len() as u64;
            *place = usize::try_from(digit).map_or(b'x', |digit| DIGITS[digit]);
            left /= DIGITS.len() as u64;
        }
        filler
    }

    /// The profile with fillers, as packets and events have it.
    #[must_use]
    pub fn profile(&mut self, profile: &Profile<'_>) -> Vec<u8> {
        let nickname = self.text(profile.nickname, Breaks::Refused);
        let real_name = self.text(profile.real_name, Breaks::Refused);
        let city = self.text(profile.city, Breaks::Refused);
        let address = self.text(profile.address, Breaks::Refused);
        let zip_code = self.text(profile.zip_code, Breaks::Refused);
        let school = self.text(profile.school, Breaks::Refused);
        let phone = self.text(profile.phone, Breaks::Refused);
        let pager = self.text(profile.pager, Breaks::Refused);
        let email = self.text(profile.email, Breaks::Refused);
        let hobbies = self.text(profile.hobbies, Breaks::Allowed);
        let description = self.text(profile.description, Breaks::Allowed);
        let blanked = Profile {
            nickname: &nickname,
            real_name: &real_name,
            city: &city,
            address: &address,
            zip_code: &zip_code,
            school: &school,
            phone: &phone,
            pager: &pager,
            email: &email,
            hobbies: &hobbies,
            description: &description,
            ..*profile
        };
        let mut packed = Vec::new();
        blanked.write(&mut packed);
        packed
    }
}

/// What fillers count in; the first is what all others are made of.
const DIGITS: &[u8] = b"xabcdefghijklmnopqrstuvwyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_the_same_get_the_same_filler_and_others_another() {
        let mut fillers = Fillers::new(Charset::Utf8, &[b"own"]);
        let mut filler = |text: &str| {
            let filler = fillers.text(text.as_bytes(), Breaks::Refused);
            assert_eq!(filler.len(), text.len());
            String::from_utf8(filler).unwrap()
        };
        assert_eq!(
            (filler("ann"), filler("ben"), filler("ann")),
            ("xxx".into(), "xxa".into(), "xxx".into())
        );
        assert_eq!(filler("own"), "own");
        assert_eq!((filler("\u{4f60}"), filler("")), ("xxb".to_owned(), String::new()));
        let many: std::collections::BTreeSet<_> =
            (0..3_000).map(|number| filler(&format!("{number:04}"))).collect();
        assert_eq!(many.len(), 3_000);
        assert_eq!(fillers.text(b"a\nb", Breaks::Refused), [1; 3]);
        assert!(Charset::Gb18030.is_text(DIGITS, Breaks::Refused));
    }

    #[test]
    fn a_profile_keeps_its_lengths_and_what_is_no_text() {
        let profile = Profile {
            nickname: b"ann",
            city: b"Xanadu",
            description: b"two\nlines",
            age: 20,
            ..Profile::default()
        };
        let packed = Fillers::new(Charset::Utf8, &[b"own"]).profile(&profile);
        let blanked = Profile::read(&mut crate::codec::Reader::new(&packed)).unwrap();
        let expected = Profile {
            nickname: b"xxx",
            city: b"xxxxxx",
            description: b"xxxxxxxxx",
            age: 20,
            ..Profile::default()
        };
        assert_eq!(blanked, expected);
    }

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
