//! Changes in words and in JSON.
//!
//! Owns the wording. A password is never shown, nor its hash: only that it is another.

use std::fmt::Write as _;

use oicq::codec::charset::Charset;
use oicq::id::{GroupNumber, Seq, ServiceNumber};
use oicq::state::{MessageKind, State, User, Waiting};
use serde_json::{Value, json};

use super::changes::{Between, Change, Changes};
use crate::failure::Failure;
use crate::paint::{Paint, STRONG};
use crate::show::{
    Field, Quoted, Time, authentication_name, message_kind_name, monitoring_json, who,
};
use crate::source::Texts;
use crate::state_view::waiting_json;

/// Shows what differs between two states.
pub(super) struct Report<'a> {
    pub(super) between: &'a Between<'a>,
    pub(super) texts: Texts<'a>,
    pub(super) charset: Charset,
}

impl Report<'_> {
    /// What is compared, in one line.
    pub(super) fn heading(&self) -> String {
        let point = |state: &State| match state.last_seq() {
            Seq::ZERO => "0, before the first event,".to_owned(),
            seq => format!("{seq}, {},", Time(state.last_time())),
        };
        let (from, to) = (point(self.between.from), point(self.between.to));
        format!("from {from} to {}\n", to.trim_end_matches(','))
    }

    /// One user's changes, a line each under its name.
    pub(super) fn describe(
        &mut self,
        changes: &Changes<'_>,
        paint: Paint,
        lines: &mut String,
    ) -> Result<(), Failure> {
        // Writing into a string does not fail.
        let _ = writeln!(lines, "{}", paint.put(STRONG, self.who(changes.number)));
        match changes.user {
            Change { from: None, to: Some(user) } => {
                let _ = writeln!(lines, "  registered: {}", Time(user.registered()));
            }
            Change { from: Some(_), to: None } => lines.push_str("  not registered yet\n"),
            Change { .. } => {}
        }
        self.describe_profile(changes, lines);
        self.describe_groups(changes, lines);
        self.describe_friends(changes, lines);
        for (asker, Change { to, .. }) in &changes.requests {
            let no_longer = if to.is_some() { "" } else { "no longer " };
            let _ = writeln!(lines, "  {no_longer}waits for an answer: {}", self.who(*asker));
        }
        for (seq, Change { from, to }) in &changes.mailbox {
            let no_longer = if to.is_some() { "" } else { "no longer " };
            if let Some(waiting) = to.or(*from) {
                let words = self.waiting(*seq, waiting)?;
                let _ = writeln!(lines, "  {no_longer}waits to be delivered: {words}");
            }
        }
        let Change { from: gone, to: come } = changes.monitoring;
        for (records, words) in [(gone, "not noted yet: "), (come, "")] {
            for record in records {
                let did = if record.started { "monitors" } else { "no longer monitors" };
                let (operator, watched) = (self.who(record.operator), self.who(record.watched));
                let time = Time(record.time);
                let _ = writeln!(lines, "  {words}since {time} {operator} {did} {watched}");
            }
        }
        Ok(())
    }

    fn describe_profile(&self, changes: &Changes<'_>, lines: &mut String) {
        let said = |field: Field<'_>| match field {
            Field::Text(text) => Quoted(&self.charset.decode(text)).to_string(),
            Field::Number(number) => number.to_string(),
        };
        let mut line = |name: &str, from: Option<String>, to: &str| {
            let arrow = from.map_or(String::new(), |from| format!("{from} → "));
            let _ = writeln!(lines, "  {name}: {arrow}{to}");
        };
        for (name, Change { from, to }) in &changes.profile {
            if let Some(to) = to {
                line(&name.replace('_', " "), from.map(said), &said(*to));
            }
        }
        if let Some(Change { from, to: Some(to) }) = changes.authentication {
            let from = from.map(|from| authentication_name(from).to_owned());
            line("may be added", from, authentication_name(to));
        }
        if changes.password {
            lines.push_str("  password changed, or hashed anew\n");
        }
    }

    fn describe_groups(&self, changes: &Changes<'_>, lines: &mut String) {
        let quoted = |name: &[u8]| Quoted(&self.charset.decode(name)).to_string();
        for (group, change) in &changes.groups {
            let _ = match (change.from, change.to) {
                (None, Some(name)) => writeln!(lines, "  group {group} added: {}", quoted(name)),
                (Some(name), None) => writeln!(lines, "  group {group} deleted: {}", quoted(name)),
                (Some(from), Some(to)) => {
                    writeln!(lines, "  group {group} renamed: {} → {}", quoted(from), quoted(to))
                }
                (None, None) => Ok(()),
            };
        }
    }

    fn describe_friends(&self, changes: &Changes<'_>, lines: &mut String) {
        for (friend, change) in &changes.friends {
            let friend = self.who(*friend);
            let _ = match (change.from, change.to) {
                (None, Some(group)) => writeln!(lines, "  friend added to group {group}: {friend}"),
                (Some(group), None) => {
                    writeln!(lines, "  friend deleted from group {group}: {friend}")
                }
                (Some(from), Some(to)) => {
                    writeln!(lines, "  friend moved from group {from} to group {to}: {friend}")
                }
                (None, None) => Ok(()),
            };
        }
    }

    fn waiting(&mut self, seq: Seq, waiting: &Waiting) -> Result<String, Failure> {
        let (kind, from) = (message_kind_name(waiting.kind), self.who(waiting.from));
        let text = match waiting.kind {
            MessageKind::User | MessageKind::Asks => {
                format!(": {}", Quoted(&self.texts.read(waiting)?))
            }
            MessageKind::Added | MessageKind::Agreed | MessageKind::Refused => String::new(),
        };
        Ok(format!("{kind} {seq} from {from}{text}"))
    }

    /// By the name of the second point, if there is one.
    fn who(&self, number: ServiceNumber) -> String {
        let Between { from, to, .. } = self.between;
        who(if to.user(number).is_some() { to } else { from }, self.charset, number)
    }

    /// One user's changes as an object.
    pub(super) fn json(&mut self, changes: &Changes<'_>) -> Result<Value, Failure> {
        let text = |bytes| Value::from(self.charset.decode(bytes));
        let what = match changes.user {
            Change { from: None, .. } => "registered",
            Change { to: None, .. } => "not-registered-yet",
            Change { .. } => "changed",
        };
        let field = |(name, Change { from, to }): &(&str, Change<Option<Field<'_>>>)| {
            let value = |field: &Option<Field<'_>>| field.map(|field| field.json(self.charset));
            json!({ "name": name, "from": value(from), "to": value(to) })
        };
        let authentication = changes.authentication.map(|change| {
            let name = |setting: Option<_>| setting.map(authentication_name);
            json!({ "from": name(change.from), "to": name(change.to) })
        });
        let named = |group: GroupNumber, name| json!({ "group": group.0, "name": text(name) });
        let groups = Parts::of(
            &changes.groups,
            named,
            |group, from, to| json!({ "group": group.0, "from": text(from), "to": text(to) }),
        );
        let sorted = |friend: ServiceNumber, group: GroupNumber| json!({ "friend": friend.0, "group": group.0 });
        let friends = Parts::of(
            &changes.friends,
            sorted,
            |friend, from, to| json!({ "friend": friend.0, "from": from.0, "to": to.0 }),
        );
        let asker = |asker: ServiceNumber, ()| json!(asker.0);
        let requests = Parts::of(&changes.requests, asker, |asker, (), ()| json!(asker.0));
        let mut messages = Change { from: Vec::new(), to: Vec::new() };
        for (seq, Change { from, to }) in &changes.mailbox {
            for (waiting, list) in [(from, &mut messages.from), (to, &mut messages.to)] {
                if let Some(waiting) = waiting {
                    list.push(waiting_json(&mut self.texts, *seq, waiting)?);
                }
            }
        }
        let records = |records: &[_]| records.iter().map(monitoring_json).collect::<Value>();
        let registered = changes.user.to.or(changes.user.from).map(User::registered);
        Ok(json!({
            "number": changes.number.0,
            "what": what,
            "registered": registered.map(|time| Time(time).to_string()),
            "profile": changes.profile.iter().map(field).collect::<Value>(),
            "authentication": authentication,
            "password_changed": changes.password,
            "groups_added": groups.come,
            "groups_renamed": groups.other,
            "groups_deleted": groups.gone,
            "friends_added": friends.come,
            "friends_moved": friends.other,
            "friends_deleted": friends.gone,
            "requests_come": requests.come,
            "requests_gone": requests.gone,
            "messages_come": messages.to,
            "messages_gone": messages.from,
            "monitoring_come": records(changes.monitoring.to),
            "monitoring_gone": records(changes.monitoring.from),
        }))
    }
}

/// A list of changes by what became of each thing.
#[derive(Default)]
struct Parts {
    come: Vec<Value>,
    other: Vec<Value>,
    gone: Vec<Value>,
}

impl Parts {
    fn of<K: Copy, T: Copy>(
        list: &[(K, Change<Option<T>>)],
        one: impl Fn(K, T) -> Value,
        both: impl Fn(K, T, T) -> Value,
    ) -> Self {
        let mut parts = Self::default();
        for &(key, change) in list {
            match (change.from, change.to) {
                (None, Some(to)) => parts.come.push(one(key, to)),
                (Some(from), None) => parts.gone.push(one(key, from)),
                (Some(from), Some(to)) => parts.other.push(both(key, from, to)),
                (None, None) => {}
            }
        }
        parts
    }
}
