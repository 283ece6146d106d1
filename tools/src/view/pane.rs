//! What is shown beside the list of events: a user, or the whole state, with what the event under the cursor
//! has changed.
//!
//! Owns the lines and their marks, as plain data. It asks for states and texts, and never moves them.

use std::collections::BTreeSet;

use indicatif::BinaryBytes;
use oicq::codec::charset::Charset;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::state::{State, User, Waiting};

use super::history::History;
use crate::show::{
    Field, Quoted, Time, authentication_name, message_kind_name, profile_fields, who,
};
use crate::source::Texts;
use crate::stat::Counts;

/// Users whose changes are told one by one.
const CHANGED_USERS_MAX: usize = 20;
/// Characters of a waiting message's text that are shown.
const TEXT_CHARS_MAX: usize = 1_000;

/// What is special about a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    Plain,
    Title,
    /// The event has brought it.
    Added,
    /// The event has taken it away.
    Removed,
}

/// A line of text, how far it is indented, and what it belongs to: a user may stand in several lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Text {
    section: Section,
    pub(super) indent: u16,
    pub(super) text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Section {
    Head,
    Group(GroupNumber),
    ListedBy,
    Requests,
    Watchers,
    Watched,
    Mailbox,
}

/// A line that may be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PaneLine {
    pub(super) mark: Mark,
    pub(super) text: Text,
    /// It goes on with the line above, which was too long.
    pub(super) is_continued: bool,
}

impl PaneLine {
    /// A line that belongs to no list.
    pub(super) fn new(mark: Mark, text: impl Into<String>) -> Self {
        Self::of(mark, Text { section: Section::Head, indent: 0, text: text.into() })
    }

    const fn of(mark: Mark, text: Text) -> Self {
        Self { mark, text, is_continued: false }
    }

    /// One of the pieces that the line is shown in.
    pub(super) fn piece(&self, text: &str, is_continued: bool) -> Self {
        let Text { section, indent, .. } = self.text;
        Self {
            mark: self.mark,
            text: Text { section, indent, text: text.to_owned() },
            is_continued,
        }
    }
}

/// All that a state knows of one user.
pub(super) struct Image {
    user: User,
    watchers: Vec<ServiceNumber>,
    watched: Vec<ServiceNumber>,
}

impl Image {
    /// A user as it is, if there is that user.
    pub(super) fn of(state: &State, number: ServiceNumber) -> Option<Self> {
        Some(Self {
            user: state.user(number)?.clone(),
            watchers: state.watchers(number).collect(),
            watched: state.watched_by(number).collect(),
        })
    }
}

/// A user after the event that the history was brought to.
pub(super) fn user_lines(history: &History<'_>, number: ServiceNumber) -> Vec<PaneLine> {
    let mut writer = Writer::new(history);
    let now = Image::of(history.state(), number);
    let was = history.images().get(&number);
    let mut lines = match (was, &now) {
        (_, None) => vec![PaneLine::new(Mark::Plain, format!("{number} is not registered yet"))],
        (None, Some(now)) => {
            let plain = |text| PaneLine::of(Mark::Plain, text);
            writer.image(number, now).into_iter().map(plain).collect()
        }
        (Some(was), Some(now)) => writer.changes(number, was.as_ref(), now),
    };
    if let Some(title) = lines.first_mut().filter(|title| title.mark == Mark::Plain) {
        title.mark = Mark::Title;
    }
    lines
}

/// What is in the state after the event that the history was brought to, but for the list of the users.
pub(super) fn whole_lines(history: &History<'_>) -> Vec<PaneLine> {
    let state = history.state();
    let counts = Counts::of(state);
    let mut lines = changed_lines(history);
    lines.push(PaneLine::new(Mark::Title, "whole state"));
    let users = match state.user_count() {
        1 => "1 user".to_owned(),
        count => format!("{count} users"),
    };
    let bytes = BinaryBytes(counts.message_bytes);
    lines.extend([
        PaneLine::new(Mark::Plain, format!("{users}, {} friendships", counts.friendships)),
        PaneLine::new(Mark::Plain, format!("{} requests wait", counts.requests)),
        PaneLine::new(Mark::Plain, format!("{} messages wait, {bytes} of text", counts.messages)),
    ]);
    for operator in state.operators() {
        let watched = state.watched_by(operator).map(|user| who(state, history.charset(), user));
        let watched = watched.collect::<Vec<_>>().join(", ");
        let operator = who(state, history.charset(), operator);
        lines.push(PaneLine::new(Mark::Plain, format!("{operator} monitors {watched}")));
    }
    lines.push(PaneLine::new(Mark::Plain, ""));
    lines.push(PaneLine::new(Mark::Title, "all users"));
    lines
}

/// One line for a user of the whole state.
pub(super) fn listed_line(state: &State, charset: Charset, number: ServiceNumber) -> PaneLine {
    let mut text = who(state, charset, number);
    if let Some(user) = state.user(number) {
        let parts = [
            (user.friends().len(), "friend"),
            (user.requests().len(), "request"),
            (user.mailbox().len(), "waiting"),
        ];
        for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
            let plural = if count == 1 || what == "waiting" { "" } else { "s" };
            text.push_str(&format!("  {count} {what}{plural}"));
        }
    }
    PaneLine::new(Mark::Plain, text)
}

/// What the event has changed, user by user.
fn changed_lines(history: &History<'_>) -> Vec<PaneLine> {
    let mut writer = Writer::new(history);
    let (mut lines, mut told, mut untold) = (Vec::new(), BTreeSet::new(), 0);
    for number in history.users() {
        if told.contains(number) {
            continue;
        }
        if told.len() == CHANGED_USERS_MAX {
            untold += 1;
            continue;
        }
        told.insert(*number);
        let (Some(was), Some(now)) =
            (history.images().get(number), Image::of(history.state(), *number))
        else {
            continue;
        };
        let changes = changed_alone(writer.changes(*number, was.as_ref(), &now));
        if !changes.is_empty() {
            lines.push(PaneLine::new(Mark::Title, writer.who(*number)));
            lines.extend(changes);
        }
    }
    if untold > 0 {
        lines.push(PaneLine::new(Mark::Plain, format!("and {untold} other users")));
    }
    if !lines.is_empty() {
        lines.push(PaneLine::new(Mark::Plain, ""));
    }
    lines
}

/// The lines that are marked, under the headings that they stand under.
fn changed_alone(lines: Vec<PaneLine>) -> Vec<PaneLine> {
    let (mut changed, mut heading) = (Vec::new(), None);
    for line in lines {
        let is_marked = matches!(line.mark, Mark::Added | Mark::Removed);
        if line.text.indent == 0 {
            heading = (!is_marked).then(|| line.clone());
        }
        if is_marked {
            changed.extend(heading.take());
            changed.push(line);
        }
    }
    changed
}

/// Writes users down.
struct Writer<'a> {
    state: &'a State,
    charset: Charset,
    texts: Texts<'a>,
    lines: Vec<Text>,
}

impl<'a> Writer<'a> {
    fn new(history: &'a History<'_>) -> Self {
        let (state, charset, texts) = (history.state(), history.charset(), history.texts());
        Self { state, charset, texts, lines: Vec::new() }
    }

    fn who(&self, number: ServiceNumber) -> String {
        who(self.state, self.charset, number)
    }

    fn quoted(&self, text: &[u8]) -> String {
        Quoted(&self.charset.decode(text)).to_string()
    }

    fn put(&mut self, section: Section, indent: u16, text: String) {
        self.lines.push(Text { section, indent, text });
    }

    /// A user now, with the lines that it has not had before and those that it has no more.
    fn changes(
        &mut self,
        number: ServiceNumber,
        was: Option<&Image>,
        now: &Image,
    ) -> Vec<PaneLine> {
        let before = was.map(|was| self.image(number, was)).unwrap_or_default();
        let mut lines = compared(before, self.image(number, now));
        if was.is_some_and(|was| was.user.password_hash() != now.user.password_hash()) {
            lines.insert(
                1.min(lines.len()),
                PaneLine::new(Mark::Added, "a new hash of the password"),
            );
        }
        lines
    }

    /// All of a user, a thing a line.
    fn image(&mut self, number: ServiceNumber, image: &Image) -> Vec<Text> {
        let user = &image.user;
        let nickname = self.quoted(user.profile().nickname);
        self.put(Section::Head, 0, format!("{number} {nickname}"));
        self.put(Section::Head, 0, format!("registered {}", Time(user.registered())));
        let authentication = authentication_name(user.authentication());
        self.put(Section::Head, 0, format!("may be added: {authentication}"));
        self.profile(user);
        for group in user.groups() {
            let name = self.quoted(&group.name);
            let section = Section::Group(group.number);
            self.put(section, 0, format!("group {} {name}", group.number));
            for friend in user.friends_in(group.number) {
                self.put(section, 2, self.who(friend));
            }
        }
        self.listed(Section::ListedBy, "in the list of", user.listed_by());
        let requests = user.requests().iter().copied();
        self.listed(Section::Requests, "wait for its answer", requests);
        self.listed(Section::Watchers, "monitored by", image.watchers.iter().copied());
        self.listed(Section::Watched, "monitors", image.watched.iter().copied());
        if !user.mailbox().is_empty() {
            self.put(Section::Mailbox, 0, "waiting".to_owned());
        }
        for (seq, waiting) in user.mailbox().iter() {
            let (time, kind) = (Time(waiting.time), message_kind_name(waiting.kind));
            let text = self.text(waiting);
            let from = self.who(waiting.from);
            self.put(Section::Mailbox, 2, format!("{seq}  {time}  {kind} from {from}{text}"));
        }
        std::mem::take(&mut self.lines)
    }

    fn profile(&mut self, user: &User) {
        for (name, field) in profile_fields(&user.profile()).into_iter().skip(1) {
            let name = name.replace('_', " ");
            match field {
                Field::Text(b"") | Field::Number(0) => {}
                Field::Text(text) => {
                    let text = self.quoted(text);
                    self.put(Section::Head, 0, format!("{name} {text}"));
                }
                Field::Number(number) => {
                    self.put(Section::Head, 0, format!("{name} {number}"));
                }
            }
        }
    }

    fn listed(&mut self, section: Section, what: &str, users: impl Iterator<Item = ServiceNumber>) {
        for (index, user) in users.enumerate() {
            if index == 0 {
                self.put(section, 0, what.to_owned());
            }
            self.put(section, 2, self.who(user));
        }
    }

    fn text(&mut self, waiting: &Waiting) -> String {
        match self.texts.read(waiting) {
            Ok(text) if text.is_empty() => String::new(),
            Ok(text) => match text.char_indices().nth(TEXT_CHARS_MAX) {
                Some((end, _)) => {
                    let length = waiting.length;
                    format!(": {}… ({length} bytes in all)", Quoted(&text[..end]))
                }
                None => format!(": {}", Quoted(&text)),
            },
            Err(failure) => format!(": its text cannot be shown: {}", failure.words()),
        }
    }
}

/// The lines of both, in order, with what is only in one of them.
fn compared(before: Vec<Text>, after: Vec<Text>) -> Vec<PaneLine> {
    let old: BTreeSet<_> = before.iter().cloned().collect();
    let new: BTreeSet<_> = after.iter().cloned().collect();
    let mut lines = Vec::with_capacity(after.len());
    let mut before = before.into_iter();
    for text in after {
        if !old.contains(&text) {
            lines.push(PaneLine::of(Mark::Added, text));
            continue;
        }
        for gone in before.by_ref().take_while(|line| !new.contains(line)) {
            lines.push(PaneLine::of(Mark::Removed, gone));
        }
        lines.push(PaneLine::of(Mark::Plain, text));
    }
    let gone = before.filter(|line| !new.contains(line));
    lines.extend(gone.map(|text| PaneLine::of(Mark::Removed, text)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &str) -> Vec<Text> {
        let text = |text: &str| Text { section: Section::Head, indent: 0, text: text.to_owned() };
        lines.split_whitespace().map(text).collect()
    }

    fn marked(before: &str, after: &str) -> String {
        let sign = |line: PaneLine| match line.mark {
            Mark::Added => format!("+{}", line.text.text),
            Mark::Removed => format!("-{}", line.text.text),
            Mark::Plain | Mark::Title => line.text.text,
        };
        let lines = compared(texts(before), texts(after)).into_iter().map(sign);
        lines.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn changes_keep_the_headings_that_they_stand_under() {
        let line = |mark, indent, text: &str| {
            let mut line = PaneLine::new(mark, text);
            line.text.indent = indent;
            line
        };
        let lines = vec![
            line(Mark::Plain, 0, "same"),
            line(Mark::Plain, 2, "same"),
            line(Mark::Plain, 0, "group"),
            line(Mark::Added, 2, "one"),
            line(Mark::Plain, 2, "same"),
            line(Mark::Removed, 2, "two"),
            line(Mark::Added, 0, "new"),
            line(Mark::Added, 2, "three"),
        ];
        let texts: Vec<_> = changed_alone(lines).into_iter().map(|line| line.text.text).collect();
        assert_eq!(texts, ["group", "one", "two", "new", "three"]);
    }

    #[test]
    fn what_came_and_what_went_is_marked_where_it_stands() {
        for (before, after, lines) in [
            ("", "a b", "+a +b"),
            ("a b", "a b", "a b"),
            ("a b d", "a b c d", "a b +c d"),
            ("a b c", "a c", "a -b c"),
            ("a b c", "b c", "-a b c"),
            ("a b c", "a x c", "a +x -b c"),
            ("a b", "a", "a -b"),
            ("a b", "", "-a -b"),
        ] {
            assert_eq!(marked(before, after), lines, "{before} to {after}");
        }
    }
}
