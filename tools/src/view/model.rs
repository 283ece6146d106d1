//! What the viewer is at: which event, which filter, which search, what is being typed; and what is to be seen.
//!
//! Owns all of it as plain data, without a terminal: [`View::act`] takes what keys ask for, [`View::show`] answers
//! what fits on the screen. Moving costs nothing until something is shown.

use oicq::id::{Seq, ServiceNumber, UnixMillis};

use super::columns::fold;
use super::history::{History, Line, Patience};
use super::keys::Action;
use super::pane::{Mark, PaneLine, listed_line, user_lines, whole_lines};
use super::prompt::{Asks, Point, Prompt};
use super::rows::Rows;
use super::search::{Found, Needle};
use crate::failure::Failure;
use crate::show::{Quoted, Time};

/// The log and the place in it that one looks at.
pub(super) struct View<'s> {
    folder: String,
    history: History<'s>,
    rows: Rows,
    /// The event that is looked at; in a compacted log perhaps the base.
    cursor: Seq,
    /// The user whose events alone are listed.
    filter: Option<ServiceNumber>,
    /// The user that is shown, if it is not to change with the event.
    chosen: Option<ServiceNumber>,
    shows_user: bool,
    needle: Option<Needle>,
    prompt: Option<Prompt>,
    note: Option<String>,
    shows_help: bool,
    list_top: usize,
    pane_top: usize,
    /// As of the last time that something was shown.
    sizes: Sizes,
    made: Option<Made>,
}

/// Rows and columns that there are for the list and for what is beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sizes {
    pub(super) list_rows: usize,
    pub(super) pane_rows: usize,
    pub(super) pane_columns: usize,
}

/// The lines beside the list, and what they were made of.
struct Made {
    of: (Seq, Option<ServiceNumber>, usize),
    lines: Vec<PaneLine>,
    /// Whether the list of all users follows.
    users: usize,
}

/// What is to be seen.
pub(super) struct Screenful {
    pub(super) folder: String,
    /// Where in the log the cursor is.
    pub(super) position: String,
    pub(super) list: Vec<ListRow>,
    /// Digits of the largest sequence number.
    pub(super) seq_digits: usize,
    pub(super) pane: Vec<PaneLine>,
    /// Whether there is more above and below.
    pub(super) pane_goes_on: (bool, bool),
    pub(super) footer: Footer,
    pub(super) shows_help: bool,
}

/// A row of the list.
pub(super) struct ListRow {
    pub(super) content: Content,
    pub(super) is_selected: bool,
}

pub(super) enum Content {
    Event(Line),
    /// What compacting has left of everything up to here.
    Base(Seq),
}

/// The last line of the screen.
pub(super) enum Footer {
    Keys,
    Note(String),
    Prompt { label: &'static str, text: String, hint: String },
}

/// What is to happen after an action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    Show,
    ReadAgain,
    Redraw,
    Suspend,
    Quit,
}

impl<'s> View<'s> {
    /// Looks at the end of a log.
    pub(super) fn new(folder: String, history: History<'s>) -> Self {
        let rows = Rows::all(&history);
        let (base, cursor) = (history.base_seq(), history.last_seq());
        let note = history.damage().map(str::to_owned).or_else(|| {
            if base > Seq::ZERO && base == cursor {
                return Some(format!(
                    "compacting has left the state as of {base} alone, no events"
                ));
            }
            (base > Seq::ZERO).then(|| {
                format!(
                    "compacting has dropped the events up to {base}, the first is {}",
                    base.next()
                )
            })
        });
        Self {
            folder,
            history,
            rows,
            cursor,
            filter: None,
            chosen: None,
            shows_user: false,
            needle: None,
            prompt: None,
            note,
            shows_help: false,
            list_top: 0,
            pane_top: 0,
            sizes: Sizes::default(),
            made: None,
        }
    }

    /// Goes on with the same log, read again. Whoever was at its end stays there.
    pub(super) fn renew(&mut self, history: History<'s>, patience: &mut dyn Patience) {
        let was_last = self.cursor >= self.history.last_seq();
        let more = history.last_seq().0.saturating_sub(self.history.last_seq().0);
        self.history = history;
        self.rows = Rows::all(&self.history);
        self.made = None;
        let (base, last) = (self.history.base_seq(), self.history.last_seq());
        self.cursor = if was_last { last } else { self.cursor.clamp(base, last.max(base)) };
        let mut note = format!("read again, {more} more");
        if let Some(user) = self.filter.take() {
            match self.set_filter(user, patience) {
                Ok(None) => {}
                Ok(Some(words)) => note = words,
                Err(failure) => note = failure.words(),
            }
        }
        self.note = Some(self.history.damage().map_or(note, str::to_owned));
    }

    /// What could not be read of the log.
    pub(super) fn damage(&self) -> Option<&str> {
        self.history.damage()
    }

    /// Whether letters are typed, and no commands.
    pub(super) const fn is_typed(&self) -> bool {
        self.prompt.is_some()
    }

    /// Says something in the last line, until the next key.
    pub(super) fn say(&mut self, words: String) {
        self.note = Some(words);
    }

    /// Does what a key asks for.
    pub(super) fn act(&mut self, action: Action, patience: &mut dyn Patience) -> Next {
        self.note = None;
        if std::mem::take(&mut self.shows_help) && action != Action::Quit {
            return Next::Show;
        }
        let done = match self.prompt.take() {
            Some(prompt) => self.act_on_prompt(prompt, action, patience),
            None => self.act_on_list(action, patience),
        };
        done.unwrap_or_else(|failure| {
            self.note = Some(failure.words());
            Next::Show
        })
    }

    fn act_on_list(
        &mut self,
        action: Action,
        patience: &mut dyn Patience,
    ) -> Result<Next, Failure> {
        let page = i64::try_from(self.sizes.list_rows.saturating_sub(1).max(1)).unwrap_or(1);
        let half = (self.sizes.pane_rows / 2).max(1);
        match action {
            Action::Up => self.step(-1),
            Action::Down => self.step(1),
            Action::PageUp => self.step(-page),
            Action::PageDown => self.step(page),
            Action::First => self.go_to_row(0),
            Action::Last => self.go_to_row(usize::MAX),
            Action::Jump => self.prompt = Some(Prompt::new(Asks::Point)),
            Action::Search => self.prompt = Some(Prompt::new(Asks::Text)),
            Action::User => self.ask_for_user(patience)?,
            Action::NextFound => self.find(true, patience)?,
            Action::PreviousFound => self.find(false, patience)?,
            Action::NextUser => self.choose_next(patience)?,
            Action::SwitchPane => {
                self.shows_user = !self.shows_user;
                self.pane_top = 0;
            }
            Action::PaneUp => self.pane_top = self.pane_top.saturating_sub(1),
            Action::PaneDown => self.pane_top = self.pane_top.saturating_add(1),
            Action::PanePageUp => self.pane_top = self.pane_top.saturating_sub(half),
            Action::PanePageDown => self.pane_top = self.pane_top.saturating_add(half),
            Action::Digest => self.tell_digest(patience)?,
            Action::Help => self.shows_help = true,
            Action::Escape => self.escape(),
            Action::ReadAgain => return Ok(Next::ReadAgain),
            Action::Redraw => return Ok(Next::Redraw),
            Action::Suspend => return Ok(Next::Suspend),
            Action::Quit => return Ok(Next::Quit),
            _ => {}
        }
        Ok(Next::Show)
    }

    fn act_on_prompt(
        &mut self,
        mut prompt: Prompt,
        action: Action,
        patience: &mut dyn Patience,
    ) -> Result<Next, Failure> {
        match action {
            Action::Escape => return Ok(Next::Show),
            Action::Submit => {
                self.submit(&prompt, patience)?;
                return Ok(Next::Show);
            }
            Action::Type(character) => prompt.type_in(character),
            Action::Rub => prompt.rub(),
            Action::RubAll => prompt.rub_all(),
            Action::Complete => prompt.offer_next(),
            _ => {}
        }
        self.prompt = Some(prompt);
        Ok(match action {
            Action::Redraw => Next::Redraw,
            Action::Suspend => Next::Suspend,
            _ => Next::Show,
        })
    }

    fn submit(&mut self, prompt: &Prompt, patience: &mut dyn Patience) -> Result<(), Failure> {
        let text = prompt.text().trim();
        match prompt.asks() {
            _ if text.is_empty() && prompt.asks() != Asks::Text => {}
            Asks::Text => {
                self.needle = Needle::new(prompt.text()).or(self.needle.take());
                self.find(true, patience)?;
            }
            Asks::Point => {
                let line = self.history.lines(&self.listed(self.cursor))?;
                let now = line.first().map(|line| line.time);
                match Point::parse(text, now).map_err(Failure::Failed)? {
                    Point::Seq(seq) => self.jump(seq),
                    Point::Time(time) => self.jump_to_time(time)?,
                }
            }
            Asks::User => {
                let user = text.parse().ok().map(ServiceNumber);
                let user = user.filter(|user| self.history.nickname(*user, self.cursor).is_some());
                let Some(user) = user else {
                    self.say(self.no_such_user(text));
                    return Ok(());
                };
                self.note = self.set_filter(user, patience)?;
            }
        }
        Ok(())
    }

    fn no_such_user(&self, text: &str) -> String {
        let last = u32::try_from(self.history.user_count()).unwrap_or(u32::MAX);
        match last {
            0 => "nobody has registered".to_owned(),
            count => {
                let last = ServiceNumber(ServiceNumber::FIRST.0.saturating_add(count - 1));
                format!("there is no user {text}, there are {} to {last}", ServiceNumber::FIRST)
            }
        }
    }

    /// The cursor, if it is at an event.
    fn listed(&self, seq: Seq) -> Vec<Seq> {
        let is_event = seq >= self.history.first_seq() && seq <= self.history.last_seq();
        if is_event { vec![seq] } else { Vec::new() }
    }

    fn step(&mut self, rows: i64) {
        let row = match self.rows.row_of(self.cursor) {
            Ok(row) => i64::try_from(row).unwrap_or(i64::MAX).saturating_add(rows),
            // Between two rows: one step goes to one of them.
            Err(row) => {
                let row = i64::try_from(row).unwrap_or(i64::MAX);
                row.saturating_add(rows).saturating_sub(i64::from(rows > 0))
            }
        };
        self.go_to_row(usize::try_from(row).unwrap_or(0));
    }

    fn go_to_row(&mut self, row: usize) {
        let last = self.rows.count().saturating_sub(1);
        if let Some(seq) = self.rows.seq(row.min(last)) {
            self.look_at(seq);
        }
    }

    fn look_at(&mut self, seq: Seq) {
        if self.cursor != seq {
            self.cursor = seq;
            self.pane_top = 0;
        }
    }

    /// Goes to an event, or to the last one before it that is listed.
    fn jump(&mut self, seq: Seq) {
        let (base, last) = (self.history.base_seq(), self.history.last_seq());
        if seq > last {
            self.say(format!("there is no sequence number {seq}, the last is {last}"));
            return;
        }
        if seq < base {
            let first = self.history.first_seq();
            self.say(format!("compacting has dropped {seq}, the first event is {first}"));
        }
        match self.rows.row_of(seq) {
            Ok(row) => self.go_to_row(row),
            Err(row) => {
                self.go_to_row(row.saturating_sub(1));
                if let (Some(user), true) = (self.filter, seq >= base) {
                    self.say(format!("{seq} does not concern {user}, this is the one before"));
                }
            }
        }
    }

    /// Goes to the first event at or after a time.
    fn jump_to_time(&mut self, time: UnixMillis) -> Result<(), Failure> {
        let row = match self.history.at_time(time)? {
            Some(seq) => self.rows.row_of(seq).unwrap_or_else(|row| row),
            None => usize::MAX,
        };
        self.go_to_row(row);
        if time < self.history.base_time() {
            let first = self.history.first_seq();
            self.say(format!("compacting has dropped {}, events begin at {first}", Time(time)));
        } else if row >= self.rows.count() {
            self.say(format!("nothing listed is as late as {}", Time(time)));
        }
        Ok(())
    }

    fn find(&mut self, forward: bool, patience: &mut dyn Patience) -> Result<(), Failure> {
        let Some(needle) = self.needle.clone() else {
            self.say("nothing has been searched for: / asks for a text".to_owned());
            return Ok(());
        };
        let among = self.rows.chosen();
        let found = self.history.find(&needle, self.cursor, forward, among, patience)?;
        match found {
            Found::At { seq, is_round } => {
                self.look_at(seq);
                let end = if forward { "end" } else { "beginning" };
                if is_round {
                    self.say(format!(
                        "{:?} was not found up to the {end}: went round",
                        needle.text()
                    ));
                }
            }
            Found::Nowhere => self.say(format!("{:?} was not found", needle.text())),
            Found::BrokenOff => self.say("the search was broken off".to_owned()),
        }
        Ok(())
    }

    /// The users of the event under the cursor, each once.
    fn users_here(&mut self, patience: &mut dyn Patience) -> Result<Vec<ServiceNumber>, Failure> {
        if !self.history.bring(self.cursor, patience)? {
            return Ok(Vec::new());
        }
        let mut users: Vec<ServiceNumber> = Vec::new();
        for user in self.history.users().iter().take(OFFERS_MAX) {
            if !users.contains(user) {
                users.push(*user);
            }
        }
        Ok(users)
    }

    fn ask_for_user(&mut self, patience: &mut dyn Patience) -> Result<(), Failure> {
        let users = self.users_here(patience)?;
        let offers = users.iter().map(ToString::to_string).collect();
        self.prompt = Some(Prompt::offering(Asks::User, offers));
        Ok(())
    }

    fn choose_next(&mut self, patience: &mut dyn Patience) -> Result<(), Failure> {
        let users = self.users_here(patience)?;
        let shown = self.chosen.filter(|_| self.shows_user);
        let place = shown.and_then(|shown| users.iter().position(|user| *user == shown));
        let next = place.map_or(0, |place| (place + 1) % users.len().max(1));
        if let Some(user) = users.get(next) {
            self.chosen = Some(*user);
            self.shows_user = true;
            self.pane_top = 0;
        } else {
            self.say("the event names no user".to_owned());
        }
        Ok(())
    }

    /// Lists the events of one user alone, if there are any; answers what there is to say.
    fn set_filter(
        &mut self,
        user: ServiceNumber,
        patience: &mut dyn Patience,
    ) -> Result<Option<String>, Failure> {
        let Some(events) = self.history.events_of(user, patience)? else {
            return Ok(Some("broken off".to_owned()));
        };
        self.chosen = Some(user);
        self.shows_user = true;
        self.pane_top = 0;
        if events.is_empty() {
            return Ok(Some(format!("no event concerns {}", self.named(user))));
        }
        self.filter = Some(user);
        self.rows = Rows::of(events);
        let row = self.rows.row_of(self.cursor).unwrap_or_else(|row| row.saturating_sub(1));
        self.go_to_row(row);
        Ok(None)
    }

    fn escape(&mut self) {
        if self.filter.take().is_some() {
            self.rows = Rows::all(&self.history);
        }
        self.chosen = None;
    }

    fn tell_digest(&mut self, patience: &mut dyn Patience) -> Result<(), Failure> {
        if self.history.bring(self.cursor, patience)? {
            let (digest, seq) = (self.history.state().digest(), self.cursor);
            self.say(format!("digest {digest} seq {seq}"));
        }
        Ok(())
    }

    /// What is to be seen on so many rows and columns.
    pub(super) fn show(&mut self, sizes: Sizes, patience: &mut dyn Patience) -> Screenful {
        self.sizes = sizes;
        let list = self.list(sizes.list_rows).unwrap_or_else(|failure| {
            self.note = Some(failure.words());
            Vec::new()
        });
        if let Err(failure) = self.make_pane(patience) {
            self.note = Some(failure.words());
        }
        let (pane, pane_goes_on) = self.pane(sizes.pane_rows);
        Screenful {
            folder: self.folder.clone(),
            position: self.position(&list),
            list,
            seq_digits: self.history.last_seq().to_string().len(),
            pane,
            pane_goes_on,
            footer: self.footer(),
            shows_help: self.shows_help,
        }
    }

    fn list(&mut self, height: usize) -> Result<Vec<ListRow>, Failure> {
        let row = self.rows.row_of(self.cursor).unwrap_or_else(|row| row.saturating_sub(1));
        self.list_top = top(self.list_top, row, height, self.rows.count());
        let shown: Vec<_> =
            (self.list_top..).take(height).map_while(|row| self.rows.seq(row)).collect();
        let base = self.history.base_seq();
        let (bases, events): (Vec<_>, Vec<_>) = shown.iter().partition(|seq| **seq <= base);
        let lines = self.history.lines(&events)?;
        let bases = bases.into_iter().map(Content::Base);
        let rows = bases.chain(lines.into_iter().map(Content::Event)).map(|content| {
            let seq = content.seq();
            ListRow { content, is_selected: seq == self.cursor }
        });
        Ok(rows.collect())
    }

    fn position(&self, list: &[ListRow]) -> String {
        let Some(selected) = list.iter().find(|row| row.is_selected) else {
            return match (self.rows.count(), self.history.base_seq()) {
                (0, Seq::ZERO) => "no events yet".to_owned(),
                _ => format!("seq {}", self.cursor),
            };
        };
        let Content::Event(line) = &selected.content else {
            return format!("the state as of {}", self.cursor);
        };
        let (time, seq, count) = (Time(line.time), line.seq, self.rows.event_count());
        match self.filter {
            Some(user) => {
                let row = self.rows.row_of(seq).map_or(0, |row| row + 1);
                format!("{row} of {count} of {}   seq {seq}   {time}", self.named(user))
            }
            None => {
                let event = seq.0 - self.history.base_seq().0;
                format!("event {event} of {count}   seq {seq}   {time}")
            }
        }
    }

    fn named(&self, user: ServiceNumber) -> String {
        match self.history.nickname(user, self.history.last_seq()) {
            Some(name) => format!("{user} {}", Quoted(&self.history.charset().decode(name))),
            None => user.to_string(),
        }
    }

    fn footer(&self) -> Footer {
        match (&self.prompt, &self.note) {
            (Some(prompt), _) => Footer::Prompt {
                label: prompt.asks().label(),
                text: prompt.text().to_owned(),
                hint: prompt.hint(),
            },
            (None, Some(note)) => Footer::Note(note.clone()),
            (None, None) => Footer::Keys,
        }
    }

    /// Makes the lines beside the list, where these are not made yet.
    fn make_pane(&mut self, patience: &mut dyn Patience) -> Result<(), Failure> {
        let width = self.sizes.pane_columns;
        if self.sizes.pane_rows == 0 {
            self.made = None;
            return Ok(());
        }
        let user = self.chosen.or(self.filter);
        let key = |user: Option<ServiceNumber>| (self.cursor, user, width);
        let of =
            key(if self.shows_user { Some(user.unwrap_or(ServiceNumber::NONE)) } else { None });
        if self.made.as_ref().is_some_and(|made| made.of == of) {
            return Ok(());
        }
        self.made = None;
        if !self.history.bring(self.cursor, patience)? {
            self.note = Some("making the state was broken off; any step tries it again".to_owned());
            return Ok(());
        }
        let event = self.history.lines(&self.listed(self.cursor))?;
        let mut lines = event.first().map_or_else(Vec::new, told);
        let mut users = 0;
        if self.shows_user {
            match user.or(self.history.users().first().copied()) {
                Some(user) => lines.extend(user_lines(&self.history, user)),
                None => lines.push(PaneLine::new(Mark::Plain, "the event names no user")),
            }
        } else {
            lines.extend(whole_lines(&self.history));
            users = self.history.state().user_count();
        }
        let lines = lines.iter().flat_map(|line| folded(line, width)).collect();
        self.made = Some(Made { of, lines, users });
        Ok(())
    }

    /// The lines beside the list that fit, and whether there are more above and below.
    fn pane(&mut self, height: usize) -> (Vec<PaneLine>, (bool, bool)) {
        let Some(made) = &self.made else { return (Vec::new(), (false, false)) };
        let count = made.lines.len().saturating_add(made.users);
        self.pane_top = self.pane_top.min(count.saturating_sub(height));
        let (state, charset) = (self.history.state(), self.history.charset());
        let line = |index: usize| match made.lines.get(index) {
            Some(line) => line.clone(),
            None => {
                let user = u32::try_from(index - made.lines.len()).unwrap_or(u32::MAX);
                let number = ServiceNumber::FIRST.0.saturating_add(user);
                listed_line(state, charset, ServiceNumber(number))
            }
        };
        let end = self.pane_top.saturating_add(height).min(count);
        let lines = (self.pane_top..end).map(line).collect();
        (lines, (self.pane_top > 0, end < count))
    }
}

/// Users of an event that are offered.
const OFFERS_MAX: usize = 100;

impl Content {
    /// The sequence number of the row.
    pub(super) const fn seq(&self) -> Seq {
        match self {
            Self::Event(line) => line.seq,
            Self::Base(seq) => *seq,
        }
    }
}

/// The first row of a list to be shown, so that `row` is seen: as little as possible moves, but far away the row is
/// put in the middle.
fn top(before: usize, row: usize, height: usize, count: usize) -> usize {
    let height = height.max(1);
    let top = if row < before && before - row <= height {
        row
    } else if row >= before && row < before.saturating_add(height) {
        before
    } else if row >= before && row - before < height.saturating_mul(2) {
        row + 1 - height
    } else {
        row.saturating_sub(height / 2)
    };
    top.min(count.saturating_sub(height))
}

/// The event itself, above what it has made.
fn told(line: &Line) -> Vec<PaneLine> {
    vec![
        PaneLine::new(Mark::Title, format!("{}  {}", line.seq, line.kind)),
        PaneLine::new(Mark::Plain, Time(line.time).to_string()),
        PaneLine::new(Mark::Plain, line.words.clone()),
        PaneLine::new(Mark::Plain, ""),
    ]
}

/// A line in as many as it needs.
fn folded(line: &PaneLine, width: usize) -> Vec<PaneLine> {
    let indent = usize::from(line.text.indent) + MARK_COLUMNS;
    let pieces = fold(&line.text.text, width.saturating_sub(indent).max(1));
    (0..).zip(pieces).map(|(index, piece)| line.piece(piece, index > 0)).collect()
}

/// Columns in front of each line beside the list.
pub(super) const MARK_COLUMNS: usize = 2;
