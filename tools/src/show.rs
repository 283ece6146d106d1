//! Events and states in words and in JSON, in Unicode whatever the log's charset. No password's hash is
//! ever shown.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};

use jiff::Timestamp;
use oicq::codec::charset::Charset;
use oicq::codec::profile::Profile;
use oicq::id::{GroupNumber, ServiceNumber, UnixMillis};
use oicq::state::{Authentication, Event, MessageKind, MonitoringRecord, State};
use serde_json::{Map, Value, json};

use crate::paint::{self, Paint};
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
        let mut rest = self.0;
        while let Some(at) = rest.find(|c| matches!(c, '"' | '\\') || is_unsafe(c)) {
            let (plain, special) = rest.split_at(at);
            f.write_str(plain)?;
            let mut characters = special.chars();
            match characters.next() {
                Some('\n') => f.write_str("\\n")?,
                Some('\r') => f.write_str("\\r")?,
                Some('\t') => f.write_str("\\t")?,
                Some(quoted @ ('"' | '\\')) => write!(f, "\\{quoted}")?,
                Some(acted_on) => write!(f, "\\u{{{:x}}}", u32::from(acted_on))?,
                None => {}
            }
            rest = characters.as_str();
        }
        f.write_str(rest)?;
        f.write_char('"')
    }
}

/// Characters that a terminal acts on instead of showing them.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

impl Happening<'_> {
    /// One line: sequence number, time, kind, and what happened to whom.
    pub(crate) fn line(&self, paint: Paint) -> String {
        let (seq, time, kind) = (self.seq, Time(self.time), self.event.kind());
        let time = paint.put(paint::FAINT, time);
        let kind = paint.put(paint::of_kind(kind), kind);
        format!("{seq:>8}  {time}  {kind:<18}  {}", self.words())
    }

    /// Kind, and what happened to whom.
    pub(crate) fn summary(&self) -> String {
        format!("{}: {}", self.event.kind(), self.words())
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

    fn words(&self) -> String {
        let (event, charset) = (&self.event, self.charset);
        let name = &|number| name_in(self.state, charset, number);
        Told { event, charset, name, unwatched: &self.unwatched().collect::<Vec<_>>() }.words()
    }
}

/// An event, and what its words need beside it.
pub(crate) struct Told<'a> {
    pub(crate) event: &'a Event<'a>,
    pub(crate) charset: Charset,
    /// The nickname of a user, if there is that user.
    pub(crate) name: &'a dyn Fn(ServiceNumber) -> Option<Cow<'a, str>>,
    /// Whom an end of monitoring is the end of it for.
    pub(crate) unwatched: &'a [ServiceNumber],
}

impl Told<'_> {
    fn who(&self, number: ServiceNumber) -> String {
        named(number, (self.name)(number))
    }

    fn quoted(&self, bytes: &[u8]) -> String {
        Quoted(&self.charset.decode(bytes)).to_string()
    }

    /// What happened to whom.
    pub(crate) fn words(&self) -> String {
        match *self.event {
            Event::Registered { number, authentication, .. } => {
                format!("{}, {}", self.who(number), authentication_words(authentication))
            }
            Event::ProfileChanged { number, authentication, password_hash, ref profile } => {
                let mut words = self.who(number);
                if password_hash.is_some() {
                    words.push_str(", new password");
                }
                if let Some(authentication) = authentication {
                    let _ = write!(words, ", {}", authentication_words(authentication));
                }
                let said = profile_words(profile, self.charset);
                if !said.is_empty() {
                    let _ = write!(words, "; the profile is now: {}", said.join(", "));
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
                let watched: Vec<_> = self.unwatched.iter().map(|user| self.who(*user)).collect();
                format!("{} no longer monitors {}", self.who(operator), watched.join(", "))
            }
            Event::Lost => "what stood here could not be saved".to_owned(),
            Event::StateDigest { digest } => digest.to_string(),
            Event::PasswordRehashed { number, .. } => {
                format!("{}, the same password", self.who(number))
            }
        }
    }
}

impl Happening<'_> {
    fn fields(&self) -> Value {
        let text = |bytes| self.charset.decode(bytes);
        match self.event {
            Event::Registered { number, authentication, ref profile, .. } => json!({
                "number": number.0,
                "authentication": authentication_name(authentication),
                "profile": profile_json(profile, self.charset),
            }),
            Event::ProfileChanged { number, authentication, password_hash, ref profile } => json!({
                "number": number.0,
                "authentication": authentication.map(authentication_name),
                "new_password": password_hash.is_some(),
                "profile": profile_json(profile, self.charset),
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
            Event::MonitoringEnded { operator } => json!({
                "operator": operator.0,
                "watched": self.unwatched().map(|user| user.0).collect::<Vec<_>>(),
            }),
            Event::Lost => json!({}),
            Event::StateDigest { digest } => json!({ "digest": digest.to_string() }),
            Event::PasswordRehashed { number, .. } => json!({ "number": number.0 }),
        }
    }
}

/// A number with the nickname that belongs to it.
pub(crate) fn who(state: &State, charset: Charset, number: ServiceNumber) -> String {
    named(number, name_in(state, charset, number))
}

fn name_in(state: &State, charset: Charset, number: ServiceNumber) -> Option<Cow<'_, str>> {
    state.user(number).map(|user| charset.decode(user.profile().nickname))
}

fn named(number: ServiceNumber, nickname: Option<Cow<'_, str>>) -> String {
    match nickname {
        Some(nickname) => format!("{number} {}", Quoted(&nickname)),
        None => number.to_string(),
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

/// A field of a profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Field<'a> {
    /// In the log's charset.
    Text(&'a [u8]),
    /// A code, a number of years or the like.
    Number(u16),
}

impl Field<'_> {
    /// In Unicode.
    pub(crate) fn json(self, charset: Charset) -> Value {
        match self {
            Self::Text(text) => charset.decode(text).into(),
            Self::Number(number) => number.into(),
        }
    }
}

/// The fields of a profile with their names.
pub(crate) fn profile_fields<'a>(profile: &Profile<'a>) -> [(&'static str, Field<'a>); 18] {
    let number = |value: u8| Field::Number(value.into());
    [
        ("nickname", Field::Text(profile.nickname)),
        ("portrait", Field::Number(profile.portrait)),
        ("gender", number(profile.gender)),
        ("age", number(profile.age)),
        ("real_name", Field::Text(profile.real_name)),
        ("country", number(profile.country)),
        ("province", number(profile.province)),
        ("city", Field::Text(profile.city)),
        ("address", Field::Text(profile.address)),
        ("zip_code", Field::Text(profile.zip_code)),
        ("education", number(profile.education)),
        ("school", Field::Text(profile.school)),
        ("occupation", number(profile.occupation)),
        ("phone", Field::Text(profile.phone)),
        ("pager", Field::Text(profile.pager)),
        ("email", Field::Text(profile.email)),
        ("hobbies", Field::Text(profile.hobbies)),
        ("description", Field::Text(profile.description)),
    ]
}

/// A profile as an object.
pub(crate) fn profile_json(profile: &Profile<'_>, charset: Charset) -> Value {
    let fields = profile_fields(profile).into_iter();
    fields.map(|(name, field)| (name.to_owned(), field.json(charset))).collect()
}

/// What a profile says beyond the nickname.
pub(crate) fn profile_words(profile: &Profile<'_>, charset: Charset) -> Vec<String> {
    let says = |(name, field): (&str, Field<'_>)| {
        let name = name.replace('_', " ");
        match field {
            Field::Text(b"") | Field::Number(0) => None,
            Field::Text(text) => Some(format!("{name} {}", Quoted(&charset.decode(text)))),
            Field::Number(number) => Some(format!("{name} {number}")),
        }
    };
    profile_fields(profile).into_iter().skip(1).filter_map(says).collect()
}

/// A start or an end of monitoring, as an object.
pub(crate) fn monitoring_json(record: &MonitoringRecord) -> Value {
    json!({
        "time": Time(record.time).to_string(),
        "operator": record.operator.0,
        "watched": record.watched.0,
        "started": record.started,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documented;
    use oicq::codec::packed::{Moves, Numbers, Receipts};
    use oicq::id::{Place, Seq};
    use oicq::state::{EventKind, RunningDigest, Stamp};

    const ANN: ServiceNumber = ServiceNumber(10_001);
    const BEN: ServiceNumber = ServiceNumber(10_002);
    const GROUP: GroupNumber = GroupNumber(2);

    fn registered(number: ServiceNumber, nickname: &[u8]) -> Event<'_> {
        let profile = Profile { nickname, ..Profile::default() };
        let authentication = Authentication::Ask;
        Event::Registered { number, authentication, password_hash: "$", profile }
    }

    /// Something of each kind, in an order in which it can happen, and how it reads.
    fn everything<'a>(
        moves: &'a [u8],
        left_out: &'a [u8],
        receipts: &'a [u8],
    ) -> Vec<(Event<'a>, &'static str)> {
        let (owner, asker, friend) = (ANN, ANN, BEN);
        let profile = Profile { nickname: b"ann", age: 20, ..Profile::default() };
        let moves = Moves::over(moves).unwrap();
        let (left_out, receipts) =
            (Numbers::over(left_out).unwrap(), Receipts::over(receipts).unwrap());
        let changed = |authentication, password_hash| Event::ProfileChanged {
            number: ANN,
            authentication,
            password_hash,
            profile,
        };
        // Of a state with nothing in it.
        let digest = RunningDigest::from_bytes([0; RunningDigest::BYTES]);
        vec![
            (Event::StateDigest { digest }, "00000000000000000000000000000000"),
            (registered(ANN, b"ann"), r#"10001 "ann", asks before it is added"#),
            (registered(BEN, b"ben"), r#"10002 "ben", asks before it is added"#),
            (changed(None, None), r#"10001 "ann"; the profile is now: age 20"#),
            (
                changed(Some(Authentication::Closed), Some("$")),
                r#"10001 "ann", new password, nobody may add it; the profile is now: age 20"#,
            ),
            (
                Event::PasswordRehashed { number: ANN, password_hash: "$new" },
                r#"10001 "ann", the same password"#,
            ),
            (
                Event::GroupAdded { owner, group: GROUP, name: b"new" },
                r#"10001 "ann": group 2 "new""#,
            ),
            (
                Event::GroupRenamed { owner, group: GROUP, name: b"old\n" },
                r#"10001 "ann": group 2 is now "old\n""#,
            ),
            (
                Event::FriendRequested { asker, friend, reason: b"me" },
                r#"10001 "ann" asks 10002 "ben": "me""#,
            ),
            (Event::RequestRejected { asker, friend }, r#"10002 "ben" rejects 10001 "ann""#),
            (Event::FriendRefused { asker, friend }, r#"10001 "ann" may not add 10002 "ben""#),
            (
                Event::FriendAdded { owner, friend, group: GroupNumber::FIRST, agreed: true },
                r#"10001 "ann" adds 10002 "ben", who agreed, to group 1"#,
            ),
            (Event::FriendsMoved { owner, moves }, r#"10001 "ann": 10002 "ben" to group 2"#),
            (
                Event::MessageSent { from: BEN, to: ANN, content: b"hi" },
                r#"10002 "ben" to 10001 "ann": "hi""#,
            ),
            (
                Event::MessageBroadcast { from: ANN, group: GROUP, content: b"all", left_out },
                r#"10001 "ann" to group 2: "all", full: 10002 "ben""#,
            ),
            (Event::Delivered { receipts }, r#"10001 "ann" through 12"#),
            (Event::GroupDeleted { owner, group: GROUP }, r#"10001 "ann": group 2"#),
            (Event::FriendDeleted { owner, friend }, r#"10001 "ann" deletes 10002 "ben""#),
            (
                Event::MonitoringStarted { operator: ANN, watched: BEN },
                r#"10001 "ann" monitors 10002 "ben""#,
            ),
            (
                Event::MonitoringEnded { operator: ANN },
                r#"10001 "ann" no longer monitors 10002 "ben""#,
            ),
            (Event::Lost, "what stood here could not be saved"),
        ]
    }

    #[test]
    fn every_kind_reads_well_and_is_in_json_what_the_document_says() {
        let moves = Moves::pack([(BEN, GROUP)]);
        let (left_out, receipts) = (Numbers::pack([BEN]), Receipts::pack([(ANN, Seq(12))]));
        let (mut state, mut kinds) = (State::default(), Vec::new());
        for (seq, (event, words)) in (1..).map(Seq).zip(everything(&moves, &left_out, &receipts)) {
            let (time, kind) = (UnixMillis(1_050_107_407_382), event.kind());
            state.apply(Stamp { seq, time, place: Place(0) }, &event, &mut |_| ()).unwrap();
            let (state, charset) = (&state, Charset::Utf8);
            let happening = Happening { seq, time, event, state, charset };
            let line = format!("{seq:>8}  2003-04-12T00:30:07.382Z  {kind:<18}  {words}");
            assert_eq!(happening.line(Paint::NONE), line);
            let object = happening.json();
            assert_eq!((&object["seq"], &object["kind"]), (&json!(seq.0), &json!(kind.name())));
            documented::check(&object, &["event", kind.name()]);
            kinds.push(kind);
        }
        let missing: Vec<_> = EventKind::ALL.iter().filter(|kind| !kinds.contains(kind)).collect();
        assert!(missing.is_empty(), "no example of {missing:?} here");
    }

    #[test]
    fn times_are_shown_to_the_millisecond_in_utc() {
        assert_eq!(Time(UnixMillis(0)).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Time(UnixMillis(1_000_000_000_120)).to_string(), "2001-09-09T01:46:40.120Z");
        assert_eq!(Time(UnixMillis(u64::MAX)).to_string(), "18446744073709551615 ms");
    }

    #[test]
    fn text_stays_in_its_line_and_its_quotes() {
        assert_eq!(
            Quoted("你好 \"ann\"\n\u{1b}[2J\\\u{202e}").to_string(),
            r#""你好 \"ann\"\n\u{1b}[2J\\\u{202e}""#
        );
    }
}
