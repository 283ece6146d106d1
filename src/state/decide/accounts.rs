//! Registrations and profiles. Protocol section 4, `0x01` and `0x12`.

use super::groups::user;
use super::{List, Must, Refusal, check_text};
use crate::codec::charset::{Breaks, Charset};
use crate::codec::profile::Profile;
use crate::codec::secret::Secret;
use crate::id::ServiceNumber;
use crate::limits::{
    AGE_MAX, LONG_TEXT_BYTES, NAME_BYTES, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN, PORTRAIT_MAX,
    SHORT_TEXT_BYTES,
};
use crate::state::{Authentication, Event, State};

/// Checks what a user tells about itself.
pub fn check_profile(profile: &Profile<'_>, charset: Charset) -> Result<(), Refusal> {
    let [nickname, others @ ..] = texts(profile);
    let check = |(field, bytes, bounds, breaks)| check_text(field, bytes, bounds, charset, breaks);
    check(nickname)?;
    if profile.portrait > PORTRAIT_MAX {
        return Err(Refusal::bad_value("portrait", Must::BeUpTo(PORTRAIT_MAX)));
    }
    if profile.gender > 2 {
        return Err(Refusal::bad_value("gender", Must::BeOneOf("0, 1 or 2")));
    }
    if profile.age > AGE_MAX {
        return Err(Refusal::bad_value("age", Must::BeUpTo(u16::from(AGE_MAX))));
    }
    others.into_iter().try_for_each(check)
}

/// A string of a profile: its name, its bytes, the fewest and the most that it may have, and which breaks.
pub(in crate::state) type Text<'a> = (&'static str, &'a [u8], (usize, usize), Breaks);

/// All strings of a profile, the nickname first.
pub(in crate::state) const fn texts<'a>(profile: &Profile<'a>) -> [Text<'a>; 11] {
    const fn line<'a>(field: &'static str, bytes: &'a [u8]) -> Text<'a> {
        (field, bytes, (0, SHORT_TEXT_BYTES), Breaks::Refused)
    }
    const fn lines<'a>(field: &'static str, bytes: &'a [u8]) -> Text<'a> {
        (field, bytes, (0, LONG_TEXT_BYTES), Breaks::Allowed)
    }
    [
        ("nickname", profile.nickname, (1, NAME_BYTES), Breaks::Refused),
        line("real name", profile.real_name),
        line("city", profile.city),
        line("address", profile.address),
        line("zip code", profile.zip_code),
        line("school", profile.school),
        line("phone", profile.phone),
        line("pager", profile.pager),
        line("email", profile.email),
        lines("hobbies", profile.hobbies),
        lines("description", profile.description),
    ]
}

/// Checks a password that is to be kept.
pub fn check_password(password: Secret<'_>, charset: Charset) -> Result<(), Refusal> {
    let bounds = (PASSWORD_BYTES_MIN, PASSWORD_BYTES_MAX);
    check_text("password", password.expose(), bounds, charset, Breaks::Refused)
}

/// Reads the setting of who may add a user.
pub fn check_authentication(byte: u8) -> Result<Authentication, Refusal> {
    Authentication::from_byte(byte)
        .ok_or(Refusal::bad_value("authentication", Must::BeOneOf("0, 1 or 2")))
}

/// A registration whose fields have been checked and whose password has been hashed.
pub fn register<'a>(
    state: &State,
    profile: Profile<'a>,
    authentication: Authentication,
    password_hash: &'a str,
) -> Result<Event<'a>, Refusal> {
    let holds = state.user_count();
    let number = state.next_number().ok_or(Refusal::Limit { list: List::Numbers, holds })?;
    Ok(Event::Registered { number, authentication, password_hash, profile })
}

/// A new hash of the password that a user has already.
pub fn rehash<'a>(
    state: &State,
    number: ServiceNumber,
    password_hash: &'a str,
) -> Result<Event<'a>, Refusal> {
    user(state, number)?;
    Ok(Event::PasswordRehashed { number, password_hash })
}

/// A change of a profile whose fields have been checked and whose password, if it is a new one, has been
/// hashed; `None` where everything stays as it is.
pub fn change_profile<'a>(
    state: &State,
    number: ServiceNumber,
    profile: Profile<'a>,
    authentication: Option<Authentication>,
    password_hash: Option<&'a str>,
) -> Result<Option<Event<'a>>, Refusal> {
    let old = user(state, number)?;
    let is_same = password_hash.is_none()
        && old.profile() == profile
        && authentication.is_none_or(|setting| setting == old.authentication());
    let event = Event::ProfileChanged { number, authentication, password_hash, profile };
    Ok((!is_same).then_some(event))
}
