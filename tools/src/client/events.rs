//! What happened, as lines: for scripts `word key=value ...`, for people a sentence.
//!
//! Owns the words and keys that scripts rely on. It never decides what an event does: the session does.

use std::fmt::Write as _;

use jiff::{Timestamp, Zoned};

use super::words::quoted;
use crate::show::is_unsafe;

/// A message that was accepted longer ago is shown with the time of that: it has waited somewhere.
const LONG_AGO_S: i64 = 120;

/// A kind of event, for help and for checking what a script waits for.
pub(crate) struct EventHelp {
    pub(crate) word: &'static str,
    pub(crate) keys: &'static str,
    pub(crate) about: &'static str,
}

macro_rules! events {
    ($($word:literal $keys:literal $about:literal;)*) => {
        /// All kinds of events, in the order in which help lists them.
        pub(crate) const EVENTS: &[EventHelp] = &[
            $(EventHelp { word: $word, keys: $keys, about: $about },)*
        ];
    };
}

events! {
    "connected" "server" "the connection stands";
    "done" "command" "a command was done; comes after its other lines, once for each command that was not refused";
    "refused" "type code text" "the server did not do something: packet type, code and sentence";
    "notice" "code text" "the server says something that no command caused";
    "registered" "number" "the new user's number";
    "logged-in" "number groups friends" "the session has begun";
    "group" "group name friends" "a group of the friend list";
    "friend" "number group state portrait nickname" "a friend of the group before it";
    "message" "from nickname id time text" "a message (nickname, id and time: where they are known)";
    "sent" "id to nickname group" "your message was accepted; where the server says so";
    "added" "from nickname id time" "someone has added you";
    "asks" "from nickname id time text" "someone asks to add you; answer NUMBER yes|no";
    "agreed" "from nickname id time" "someone agreed to be added, and now is your friend";
    "rejected" "from nickname id time" "someone refused to be added";
    "presence" "number nickname state" "a friend is seen so now, where the server tells: online, busy, offline";
    "profile" "number, and fields" "a profile; fields that say nothing are left out";
    "group-added" "group name" "a group was added";
    "group-renamed" "group name" "a group was renamed";
    "group-deleted" "group" "a group was deleted";
    "friends-moved" "" "friends were moved";
    "user" "number nickname portrait province city" "one of those who are online or were found";
    "online" "count" "the end of a list of those online";
    "found" "count" "the end of a list of those found";
    "monitored" "from to text" "a message between others";
    "file-offered" "from name length" "someone offers a file; file accept|reject NUMBER";
    "file-allowed" "to name" "your file was accepted, and is being sent";
    "file-rejected" "to name" "your file was rejected";
    "file-sent" "to name length" "your file has gone out whole";
    "file-received" "from name path length" "a file has arrived whole";
    "file-failed" "with name reason" "a file broke off";
    "tested" "" "the connection lives";
    "unexpected" "type text" "a packet that cannot be understood, or that nothing asked for";
    "timeout" "event" "what was waited for did not come";
    "unanswered" "command" "the connection was lost before it was known what came of a command";
    "lost" "text" "the connection is lost";
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    word: &'static str,
    fields: Vec<(&'static str, String)>,
}

/// What a script waits for: an event of this word in which these keys have these values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pattern {
    pub(crate) word: &'static str,
    pub(crate) fields: Vec<(String, String)>,
}

impl Event {
    /// An event without fields.
    pub(crate) fn new(word: &'static str) -> Self {
        debug_assert!(EVENTS.iter().any(|known| known.word == word), "help lists every event");
        Self { word, fields: Vec::new() }
    }

    /// The same event with one more field.
    pub(crate) fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.fields.push((key, value.to_string()));
        self
    }

    /// The same event with one more field, if there is something to say.
    pub(crate) fn with_some(self, key: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// The word that says what happened.
    pub(crate) const fn word(&self) -> &'static str {
        self.word
    }

    /// A field's value; empty where there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.fields.iter().find(|(known, _)| *known == key).map_or("", |(_, value)| value)
    }

    /// The line for scripts.
    pub(crate) fn line(&self) -> String {
        let mut line = self.word.to_owned();
        for (key, value) in &self.fields {
            // Writing into a string does not fail.
            let _ = write!(line, " {key}={}", quoted(value));
        }
        line
    }

    /// The same for people at this time; `None` where they need not be told.
    pub(crate) fn sentence(&self, now: &Zoned) -> Option<String> {
        let get = |key| clean(self.get(key));
        let (from, text) = (self.who("from"), get("text"));
        let sentence = match self.word {
            "done" => return None,
            "connected" => format!("connected to {}; help lists the commands", get("server")),
            "refused" => format!("refused {} {}: {text}", get("type"), get("code")),
            "notice" => format!("notice {}: {text}", get("code")),
            "registered" => format!("your number is {0}: login {0}", get("number")),
            "logged-in" => format!("logged in as {}, {} friends", get("number"), get("friends")),
            "group" => format!("{} {}", get("group"), get("name")),
            "friend" => {
                format!("    {:>10}  {:<7}  {}", get("number"), get("state"), get("nickname"))
            }
            "message" => format!("{from}: {}", indented(&text)),
            "sent" => format!("✓ to {}, id {}", self.receiver(), get("id")),
            "presence" => format!("{} is {}", self.who("number"), get("state")),
            "added" => format!("{from} has added you"),
            "asks" => format!(
                "{from} asks to add you: {} (answer {} yes|no)",
                indented(&text),
                get("from")
            ),
            "agreed" => format!("{from} is your friend now"),
            "rejected" => format!("{from} does not want to be added"),
            "user" => format!("    {:>10}  {}  {}", get("number"), get("nickname"), get("city")),
            "online" => format!("{} online", get("count")),
            "found" => format!("{} found", get("count")),
            "monitored" => format!("{from} to {}: {}", get("to"), indented(&text)),
            "file-offered" => format!(
                "{from} offers the file {} of {} bytes (file accept|reject {})",
                get("name"),
                get("length"),
                get("from")
            ),
            "file-received" => format!("{} from {from} is complete: {}", get("name"), get("path")),
            "file-failed" => format!("{} with {}: {}", get("name"), get("with"), get("reason")),
            "unanswered" => format!("{}: it is not known whether this was done", get("command")),
            "lost" => format!("the connection is lost: {text}"),
            "timeout" => format!("no such event came: {}", get("event")),
            "profile" => self.lines(),
            _ => clean(&self.line()),
        };
        Some(match self.long_ago(now) {
            Some(time) => format!("[{time}] {sentence}"),
            None => sentence,
        })
    }

    /// Whether this is what the pattern describes.
    pub(crate) fn matches(&self, pattern: &Pattern) -> bool {
        let has = |(key, value): &(String, String)| {
            self.fields.iter().any(|(known, is)| known == key && is == value)
        };
        self.word == pattern.word && pattern.fields.iter().all(has)
    }

    fn who(&self, key: &str) -> String {
        match self.get("nickname") {
            "" => self.get(key).to_owned(),
            nickname => format!("{} ({})", clean(nickname), self.get(key)),
        }
    }

    fn receiver(&self) -> String {
        match self.get("group") {
            "" => self.who("to"),
            "0" => "all groups".to_owned(),
            group => format!("group {group}"),
        }
    }

    /// When it happened, where that is long ago.
    fn long_ago(&self, now: &Zoned) -> Option<String> {
        let time: Timestamp = self.get("time").parse().ok()?;
        if now.timestamp().as_second() - time.as_second() < LONG_AGO_S {
            return None;
        }
        let time = time.to_zoned(now.time_zone().clone());
        let today = time.date() == now.date();
        Some(time.strftime(if today { "%H:%M" } else { "%Y-%m-%d %H:%M" }).to_string())
    }

    fn lines(&self) -> String {
        let lines = self
            .fields
            .iter()
            .map(|(key, value)| format!("    {key:<12} {}", indented(&clean(value))));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Pattern {
    /// The pattern as it was written.
    pub(crate) fn line(&self) -> String {
        let fields = self.fields.iter().map(|(key, value)| format!(" {key}={}", quoted(value)));
        fields.fold(self.word.to_owned(), |line, field| line + &field)
    }
}

/// Text that does nothing to a terminal but show itself. Line breaks stay.
pub(crate) fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\t', "    ");
    text.chars().map(|c| if c != '\n' && is_unsafe(c) { '\u{FFFD}' } else { c }).collect()
}

/// Further lines of a text are set in, so that nobody can write a line that looks like the client's own.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Event {
        Event::new("message").with("from", 10_002).with("text", text)
    }

    /// What people see of it on an evening eight hours ahead of UTC.
    fn seen(event: &Event) -> String {
        let now: Zoned = "2003-04-12T20:00:00+08:00[+08:00]".parse().unwrap();
        event.sentence(&now).unwrap_or_default()
    }

    #[test]
    fn an_event_is_one_line_whatever_its_text() {
        assert_eq!(message("hi").line(), "message from=10002 text=hi");
        assert_eq!(message("").line(), "message from=10002 text=\"\"");
        let line = message("a\nmessage from=1 text=\"x\"").line();
        assert_eq!(line, r#"message from=10002 text="a\nmessage from=1 text=\"x\"""#);
    }

    #[test]
    fn people_see_names_and_no_control_characters() {
        let event = message("a\u{1b}[2J\nrefused").with("nickname", "bob");
        assert_eq!(seen(&event), "bob (10002): a\u{FFFD}[2J\n    refused");
        assert_eq!(seen(&Event::new("done").with("command", "send")), "");
    }

    #[test]
    fn people_see_whom_their_message_went_to_and_how_friends_are_seen() {
        let sent = || Event::new("sent").with("id", 7);
        assert_eq!(seen(&sent().with("to", 10_002)), "✓ to 10002, id 7");
        let named = sent().with("to", 10_002).with("nickname", "bob");
        assert_eq!(seen(&named), "✓ to bob (10002), id 7");
        assert_eq!(seen(&sent().with("group", 0)), "✓ to all groups, id 7");
        assert_eq!(seen(&sent().with("group", 3)), "✓ to group 3, id 7");
        let presence = Event::new("presence").with("number", 10_002).with("nickname", "bob");
        assert_eq!(seen(&presence.with("state", "busy")), "bob (10002) is busy");
    }

    #[test]
    fn people_see_when_a_message_was_accepted_if_that_is_long_ago() {
        for (time, before) in [
            ("2003-04-12T11:59:30.000Z", ""),
            ("2003-04-12T12:00:05.000Z", ""),
            ("2003-04-12T11:58:00.999Z", "[19:58] "),
            ("2003-04-11T16:00:00.000Z", "[00:00] "),
            ("2003-04-11T15:59:59.999Z", "[2003-04-11 23:59] "),
            ("", ""),
        ] {
            let event = message("x").with("time", time);
            assert_eq!(seen(&event), format!("{before}10002: x"), "{time}");
        }
    }

    #[test]
    fn a_pattern_matches_by_word_and_by_each_of_its_fields() {
        let pattern = |fields: &[(&str, &str)]| Pattern {
            word: "message",
            fields: fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let event = message("a b");
        assert!(event.matches(&pattern(&[])));
        assert!(event.matches(&pattern(&[("text", "a b"), ("from", "10002")])));
        assert!(!event.matches(&pattern(&[("from", "10003")])));
        assert!(!event.matches(&pattern(&[("nickname", "")])));
        assert!(!Event::new("done").matches(&pattern(&[])));
        assert_eq!(pattern(&[("text", "a b")]).line(), "message text=\"a b\"");
    }
}
