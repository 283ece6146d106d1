//! The fields of a profile by their names, as `register` and `change` take them and `profile` shows them.
//!
//! Owns the names. Which values are allowed is the server's business: only what does not fit the field's
//! width is refused here.

use std::borrow::Cow;

use oicq::codec::charset::Charset;
use oicq::codec::profile::Profile;
use oicq::codec::secret::{Secret, SecretBuf};
use oicq::wire::client::Account;
use zeroize::Zeroizing;

use super::words::Word;

/// What the server takes for "as before" in a change.
const AUTHENTICATION_KEPT: u8 = 255;
/// Longer texts than any field may have; a packet could not carry much more.
const TEXT_BYTES_MAX: usize = 4_096;

/// One field: its name, and how it is read from and written to a profile.
struct Field {
    name: &'static str,
    access: Access,
}

type SetText = for<'a> fn(&mut Profile<'a>, &'a [u8]);
type SetNumber = fn(&mut Profile<'_>, u16);

enum Access {
    Text { get: for<'a> fn(&Profile<'a>) -> &'a [u8], set: SetText },
    Number { max: u16, get: fn(&Profile<'_>) -> u16, set: SetNumber },
}

macro_rules! text {
    ($name:literal, $field:ident) => {
        Field {
            name: $name,
            access: Access::Text {
                get: |profile| profile.$field,
                set: |profile, text| profile.$field = text,
            },
        }
    };
}

macro_rules! byte {
    ($name:literal, $field:ident) => {
        Field {
            name: $name,
            access: Access::Number {
                max: u8::MAX as u16,
                get: |profile| u16::from(profile.$field),
                // The value was checked against `max` when the command was read.
                set: |profile, value| profile.$field = u8::try_from(value).unwrap_or(u8::MAX),
            },
        }
    };
}

/// All fields, in the protocol's order. The nickname is one as well: `change nickname=…`.
const FIELDS: &[Field] = &[
    text!("nickname", nickname),
    Field {
        name: "portrait",
        access: Access::Number {
            max: u16::MAX,
            get: |profile| profile.portrait,
            set: |profile, value| profile.portrait = value,
        },
    },
    byte!("gender", gender),
    byte!("age", age),
    text!("real-name", real_name),
    byte!("country", country),
    byte!("province", province),
    text!("city", city),
    text!("address", address),
    text!("zip-code", zip_code),
    byte!("education", education),
    text!("school", school),
    byte!("occupation", occupation),
    text!("phone", phone),
    text!("pager", pager),
    text!("email", email),
    text!("hobbies", hobbies),
    text!("description", description),
];

/// The words that stand for numbers, besides the numbers themselves.
const GENDERS: &[(&str, u16)] = &[("unsaid", 0), ("male", 1), ("female", 2)];
const AUTHENTICATIONS: &[(&str, u16)] = &[("anyone", 0), ("ask", 1), ("nobody", 2)];

/// A new value, and how it gets into a profile.
enum Change {
    Text(SetText, Vec<u8>),
    Number(SetNumber, u16),
}

/// Fields with new values, and the password and authentication that travel with them.
#[derive(Default)]
pub(crate) struct Changes {
    values: Vec<Change>,
    password: Option<SecretBuf>,
    authentication: Option<u8>,
}

/// A password could stand among the values, so none is printed.
impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Changes({} fields)", self.values.len())
    }
}

impl Changes {
    /// Takes `name=value` words.
    pub(crate) fn parse(words: &[Word], charset: Charset) -> Result<Self, String> {
        let mut changes = Self::default();
        for word in words {
            let (name, value) = word.split_once('=').ok_or_else(|| {
                // Not which word: it may be a password without its name.
                format!("a word is no field, expected FIELD=VALUE with one of: {}", names())
            })?;
            changes.set(name, value, charset)?;
        }
        Ok(changes)
    }

    /// Takes one field.
    pub(crate) fn set(&mut self, name: &str, value: &str, charset: Charset) -> Result<(), String> {
        match name {
            "password" => self.password = Some(password(value, charset)),
            "authentication" => {
                let value = number(name, value, AUTHENTICATIONS, u16::from(u8::MAX))?;
                self.authentication = u8::try_from(value).ok();
            }
            _ => {
                let field = FIELDS.iter().find(|field| field.name == name).ok_or_else(|| {
                    // Not which one: it may be the beginning of a password.
                    format!("there is no such field, expected FIELD=VALUE with one of: {}", names())
                })?;
                self.values.push(field.read(value, charset)?);
            }
        }
        Ok(())
    }

    /// Whether a password is among them.
    pub(crate) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// The password.
    pub(crate) fn password(&self) -> Option<&SecretBuf> {
        self.password.as_ref()
    }

    /// Adds the password.
    pub(crate) fn set_password(&mut self, password: SecretBuf) {
        self.password = Some(password);
    }

    /// Whether there is nothing to change.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.password.is_none() && self.authentication.is_none()
    }

    /// An account of a new user, with these values and nothing else.
    pub(crate) fn for_new(&self) -> Account<'_> {
        Account {
            authentication: self.authentication.unwrap_or(0),
            ..self.over(Profile::default())
        }
    }

    /// An account with these values in place of those of the profile.
    pub(crate) fn over<'a>(&'a self, mut profile: Profile<'a>) -> Account<'a> {
        for change in &self.values {
            match change {
                Change::Text(set, text) => set(&mut profile, text),
                Change::Number(set, value) => set(&mut profile, *value),
            }
        }
        Account {
            profile,
            password: self.password.as_ref().map_or(Secret::new(b""), SecretBuf::as_secret),
            authentication: self.authentication.unwrap_or(AUTHENTICATION_KEPT),
        }
    }
}

impl Field {
    fn read(&self, value: &str, charset: Charset) -> Result<Change, String> {
        match self.access {
            Access::Text { set, .. } => {
                let text = charset.encode(value).into_owned();
                if text.len() > TEXT_BYTES_MAX {
                    return Err(format!("{}: the text is too long", self.name));
                }
                Ok(Change::Text(set, text))
            }
            Access::Number { max, set, .. } => {
                let words = if self.name == "gender" { GENDERS } else { &[] };
                number(self.name, value, words, max).map(|value| Change::Number(set, value))
            }
        }
    }
}

/// A password in the server's charset.
pub(crate) fn password(text: &str, charset: Charset) -> SecretBuf {
    match charset.encode(text) {
        Cow::Borrowed(bytes) => Secret::new(bytes).to_owned(),
        Cow::Owned(bytes) => Secret::new(&Zeroizing::new(bytes)).to_owned(),
    }
}

/// The fields of a profile that say something, by name.
pub(crate) fn shown(profile: &Profile<'_>, charset: Charset) -> Vec<(&'static str, String)> {
    let show = |field: &Field| match &field.access {
        Access::Text { get, .. } => {
            let text = get(profile);
            (!text.is_empty()).then(|| (field.name, charset.decode(text).into_owned()))
        }
        Access::Number { get, .. } => {
            let value = get(profile);
            (value != 0).then(|| (field.name, word_for(field.name, value)))
        }
    };
    FIELDS.iter().filter_map(show).collect()
}

fn word_for(name: &str, value: u16) -> String {
    let word = GENDERS.iter().find(|(_, number)| name == "gender" && *number == value);
    word.map_or_else(|| value.to_string(), |(word, _)| (*word).to_owned())
}

/// The names of all fields, as help and errors list them.
pub(crate) fn names() -> String {
    let names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
    format!("{}, authentication, password", names.join(", "))
}

fn number(name: &str, text: &str, words: &[(&str, u16)], max: u16) -> Result<u16, String> {
    if let Some((_, number)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*number);
    }
    text.parse().ok().filter(|value| *value <= max).ok_or_else(|| {
        let words: String = words.iter().map(|(word, _)| format!("{word}, ")).collect();
        format!("{name}: {text:?} was given, expected {words}or a number up to {max}")
            .replace("expected or", "expected")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Word> {
        text.split(' ').map(|word| Word::new(word.to_owned())).collect()
    }

    #[test]
    fn fields_are_set_by_name_and_shown_by_name() {
        let text = "nickname=ann age=20 gender=female city=北京 portrait=7";
        let changes = Changes::parse(&words(text), Charset::Gb18030).unwrap();
        let account = changes.for_new();
        assert_eq!(account.profile.city, b"\xB1\xB1\xBE\xA9");
        assert_eq!((account.profile.gender, account.authentication), (2, 0));
        let shown = shown(&account.profile, Charset::Gb18030);
        let shown: Vec<_> = shown.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown.join(" "), "nickname=ann portrait=7 gender=female age=20 city=北京");
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let changes = Changes::parse(&words("age=21"), Charset::Utf8).unwrap();
        let before = Profile { nickname: b"ann", age: 20, city: b"x", ..Profile::default() };
        let account = changes.over(before);
        assert_eq!(account.profile, Profile { age: 21, ..before });
        assert_eq!((account.password.expose(), account.authentication), (&b""[..], 255));
    }

    #[test]
    fn wrong_values_name_the_field_and_what_was_expected() {
        let error = |text| Changes::parse(&words(text), Charset::Utf8).unwrap_err();
        assert!(error("shoe=1").contains("no such field, expected FIELD=VALUE with one of: nick"));
        assert!(error("age").contains("FIELD=VALUE"));
        assert_eq!(error("age=300"), "age: \"300\" was given, expected a number up to 255");
        assert!(error("gender=x").contains("expected unsaid, male, female, or a number"));
    }

    #[test]
    fn a_password_is_not_printed() {
        let changes = Changes::parse(&words("age=1 password=hunter22"), Charset::Utf8).unwrap();
        assert!(changes.has_password() && !format!("{changes:?}").contains("hunter"));
    }
}
