//! Events and states in words and in JSON, in Unicode whatever the log's charset. No password's hash is
//! ever shown.

use std::fmt::{self, Display, Write as _};

use jiff::Timestamp;
use oicq::codec::profile::Profile;
use oicq::id::{GroupNumber, ServiceNumber, UnixMillis};
use oicq::state::{Authentication, Event, MessageKind, State};
use serde_json::{Map, Value, json};

use crate::source::Happening;

/// A time as RFC 3339 in UTC with milliseconds.
pub(crate) struct Time(pub(crate) UnixMillis);

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0.0).ok();
        match millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()) {
            Some(time) => write!(f, "{time:.3}"),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// Text in quotes, in one line, without anything that a terminal would act on.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                control if control.is_control() => write!(f, "\\u{{{:x}}}", u32::from(control))?,
                plain => f.write_char(plain)?,
            }
        }
        f.write_char('"')
    }
}

impl Happening<'_> {
    /// One line: sequence number, time, kind, and what happened to whom.
    pub(crate) fn line(&self) -> String {
        let (seq, time, kind) = (self.seq, Time(self.time), self.event.kind());
        format!("{seq:>8}  {time}  {kind:<18}  {}", self.words())
    }

    /// One object: `seq`, `time`, `kind`, and the event's fields.
    pub(crate) fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("seq".into(), self.seq.0.into());
        object.insert("time".into(), Time(self.time).to_string().into());
        object.insert("kind".into(), self.event.kind().name().into());
        if let Value::Object(fields) = self.fields() {
            object.extend(fields);
        }
        Value::Object(object)
    }

    /// A number with the nickname that belongs to it.
    fn who(&self, number: ServiceNumber) -> String {
        match self.state.user(number) {
            Some(user) => {
                let nickname = self.charset.decode(user.profile().nickname);
                format!("{number} {}", Quoted(&nickname))
            }
            None => number.to_string(),
        }
    }

    fn quoted(&self, bytes: &[u8]) -> String {
        Quoted(&self.charset.decode(bytes)).to_string()
    }

    fn words(&self) -> String {
        match self.event {
            Event::Registered { number, authentication, .. } => {
                format!("{}, {}", self.who(number), authentication_words(authentication))
            }
            Event::ProfileChanged { number, authentication, password_hash, .. } => {
                let mut words = self.who(number);
                if password_hash.is_some() {
                    words.push_str(", new password");
                }
                if let Some(authentication) = authentication {
                    let _ = write!(words, ", {}", authentication_words(authentication));
                }
                words
            }
            Event::GroupAdded { owner, group, name } => {
                format!("{}: group {group} {}", self.who(owner), self.quoted(name))
            }
            Event::GroupRenamed { owner, group, name } => {
                format!("{}: group {group} is now {}", self.who(owner), self.quoted(name))
            }
            Event::GroupDeleted { owner, group } => format!("{}: group {group}", self.who(owner)),
            Event::FriendsMoved { owner, moves } => {
                let moves: Vec<_> = moves
                    .iter()
                    .map(|(friend, group)| format!("{} to group {group}", self.who(friend)))
                    .collect();
                format!("{}: {}", self.who(owner), moves.join(", "))
            }
            Event::FriendRequested { asker, friend, reason } => {
                let (asker, friend) = (self.who(asker), self.who(friend));
                format!("{asker} asks {friend}: {}", self.quoted(reason))
            }
            Event::RequestRejected { asker, friend } => {
                format!("{} rejects {}", self.who(friend), self.who(asker))
            }
            Event::FriendRefused { asker, friend } => {
                format!("{} may not add {}", self.who(asker), self.who(friend))
            }
            Event::FriendAdded { owner, friend, group, agreed } => {
                let how = if agreed { "who agreed" } else { "who lets anyone" };
                format!("{} adds {}, {how}, to group {group}", self.who(owner), self.who(friend))
            }
            Event::FriendDeleted { owner, friend } => {
                format!("{} deletes {}", self.who(owner), self.who(friend))
            }
            Event::MessageSent { from, to, content } => {
                format!("{} to {}: {}", self.who(from), self.who(to), self.quoted(content))
            }
            Event::MessageBroadcast { from, group, content, left_out } => {
                let to = match group {
                    GroupNumber::ALL => "all friends".to_owned(),
                    group => format!("group {group}"),
                };
                let mut words = format!("{} to {to}: {}", self.who(from), self.quoted(content));
                if !left_out.is_empty() {
                    let left_out: Vec<_> = left_out.iter().map(|user| self.who(user)).collect();
                    let _ = write!(words, ", full: {}", left_out.join(", "));
                }
                words
            }
            Event::Delivered { receipts } => {
                let receipts: Vec<_> = receipts
                    .iter()
                    .map(|(user, through)| format!("{} through {through}", self.who(user)))
                    .collect();
                receipts.join(", ")
            }
            Event::MonitoringStarted { operator, watched } => {
                format!("{} monitors {}", self.who(operator), self.who(watched))
            }
            Event::MonitoringEnded { operator } => {
                format!("{} monitors nobody any more", self.who(operator))
            }
            Event::Lost => "what stood here could not be saved".to_owned(),
            Event::StateDigest { digest } => digest.to_string(),
        }
    }

    fn fields(&self) -> Value {
        let text = |bytes| self.charset.decode(bytes);
        match self.event {
            Event::Registered { number, authentication, ref profile, .. } => json!({
                "number": number.0,
                "authentication": authentication_name(authentication),
                "profile": profile_json(profile, text),
            }),
            Event::ProfileChanged { number, authentication, password_hash, ref profile } => json!({
                "number": number.0,
                "authentication": authentication.map(authentication_name),
                "new_password": password_hash.is_some(),
                "profile": profile_json(profile, text),
            }),
            Event::GroupAdded { owner, group, name }
            | Event::GroupRenamed { owner, group, name } => {
                json!({ "owner": owner.0, "group": group.0, "name": text(name) })
            }
            Event::GroupDeleted { owner, group } => json!({ "owner": owner.0, "group": group.0 }),
            Event::FriendsMoved { owner, moves } => json!({
                "owner": owner.0,
                "moves": moves
                    .iter()
                    .map(|(friend, group)| json!({ "friend": friend.0, "group": group.0 }))
                    .collect::<Vec<_>>(),
            }),
            Event::FriendRequested { asker, friend, reason } => {
                json!({ "asker": asker.0, "friend": friend.0, "reason": text(reason) })
            }
            Event::RequestRejected { asker, friend } | Event::FriendRefused { asker, friend } => {
                json!({ "asker": asker.0, "friend": friend.0 })
            }
            Event::FriendAdded { owner, friend, group, agreed } => {
                json!({ "owner": owner.0, "friend": friend.0, "group": group.0, "agreed": agreed })
            }
            Event::FriendDeleted { owner, friend } => {
                json!({ "owner": owner.0, "friend": friend.0 })
            }
            Event::MessageSent { from, to, content } => {
                json!({ "from": from.0, "to": to.0, "text": text(content) })
            }
            Event::MessageBroadcast { from, group, content, left_out } => json!({
                "from": from.0,
                "group": group.0,
                "text": text(content),
                "left_out": left_out.iter().map(|user| user.0).collect::<Vec<_>>(),
            }),
            Event::Delivered { receipts } => json!({
                "receipts": receipts
                    .iter()
                    .map(|(user, through)| json!({ "user": user.0, "through": through.0 }))
                    .collect::<Vec<_>>(),
            }),
            Event::MonitoringStarted { operator, watched } => {
                json!({ "operator": operator.0, "watched": watched.0 })
            }
            Event::MonitoringEnded { operator } => json!({ "operator": operator.0 }),
            Event::Lost => json!({}),
            Event::StateDigest { digest } => json!({ "digest": digest.to_string() }),
        }
    }
}

/// The name of a setting of who may add a user.
pub(crate) const fn authentication_name(authentication: Authentication) -> &'static str {
    match authentication {
        Authentication::Open => "open",
        Authentication::Ask => "ask",
        Authentication::Closed => "closed",
    }
}

const fn authentication_words(authentication: Authentication) -> &'static str {
    match authentication {
        Authentication::Open => "anyone may add it",
        Authentication::Ask => "asks before it is added",
        Authentication::Closed => "nobody may add it",
    }
}

/// The name of a kind of waiting message.
pub(crate) const fn message_kind_name(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::User => "message",
        MessageKind::Added => "added",
        MessageKind::Asks => "asks",
        MessageKind::Agreed => "agreed",
        MessageKind::Refused => "refused",
    }
}

/// A profile as an object.
pub(crate) fn profile_json<'a>(
    profile: &Profile<'a>,
    text: impl Fn(&'a [u8]) -> std::borrow::Cow<'a, str>,
) -> Value {
    json!({
        "nickname": text(profile.nickname),
        "portrait": profile.portrait,
        "gender": profile.gender,
        "age": profile.age,
        "real_name": text(profile.real_name),
        "country": profile.country,
        "province": profile.province,
        "city": text(profile.city),
        "address": text(profile.address),
        "zip_code": text(profile.zip_code),
        "education": profile.education,
        "school": text(profile.school),
        "occupation": profile.occupation,
        "phone": text(profile.phone),
        "pager": text(profile.pager),
        "email": text(profile.email),
        "hobbies": text(profile.hobbies),
        "description": text(profile.description),
    })
}

/// The starts and ends of monitoring, as objects.
pub(crate) fn monitoring_json(state: &State) -> Vec<Value> {
    let record = |record: &oicq::state::MonitoringRecord| {
        json!({
            "time": Time(record.time).to_string(),
            "operator": record.operator.0,
            "watched": record.watched.0,
            "started": record.started,
        })
    };
    state.monitoring().iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_to_the_millisecond_in_utc() {
        assert_eq!(Time(UnixMillis(0)).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Time(UnixMillis(1_000_000_000_120)).to_string(), "2001-09-09T01:46:40.120Z");
        assert_eq!(Time(UnixMillis(u64::MAX)).to_string(), "18446744073709551615 ms");
    }

    #[test]
    fn text_stays_in_its_line_and_its_quotes() {
        assert_eq!(
            Quoted("你好 \"ann\"\n\u{1b}[2J\\").to_string(),
            r#""你好 \"ann\"\n\u{1b}[2J\\""#
        );
    }
}
