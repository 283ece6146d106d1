//! Searches for users: a statement becomes a [`Query`], and a [`Search`] takes it through the users in
//! slices, so that nobody waits for a long one. Protocol section 5.
//!
//! Owns the language of the statements, how text and patterns compare, and the list of the best users so
//! far. Never sees who asks, never looks at the users by itself, and cannot reach any column that the
//! protocol does not name.

mod condition;
mod like;
mod parse;

use std::cmp::Ordering;
use std::fmt;

use crate::codec::charset::Charset;
use crate::codec::profile::Profile;
use crate::codec::{Reader, Write};
use crate::id::ServiceNumber;
use condition::{Column, Condition, Row, Scratch, Value};

/// Steps for each user, whatever the condition: finding the profile misses the processor's caches.
const STEPS_PER_USER: u64 = 48;
/// Bytes of text that are compared or copied in a step.
const TEXT_BYTES_PER_STEP: usize = 8;

/// Why a statement is not understood, and where. Displays as one sentence of ASCII.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadQuery {
    /// The character of the statement, counted from 1.
    position: Option<usize>,
    reason: String,
}

impl BadQuery {
    /// One that is told in so many bytes, whatever they say.
    #[must_use]
    pub fn foretold(bytes: u32) -> Self {
        Self { position: None, reason: "x".repeat(usize::try_from(bytes).unwrap_or_default()) }
    }
}

impl fmt::Display for BadQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "at character {position}: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for BadQuery {}

/// A statement that is understood.
#[derive(Debug)]
pub struct Query {
    /// As it came.
    statement: Box<[u8]>,
    condition: Option<Condition>,
    /// Columns to sort by, most significant first; no column twice, and nothing that the numbers'
    /// ascending order gives by itself.
    order: Vec<Order>,
    /// Users in the reply, at most.
    limit: usize,
    /// Whether a user's presence matters: it is looked up only then.
    needs_online: bool,
    charset: Charset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Order {
    column: Column,
    descending: bool,
}

impl Query {
    /// Understands a statement in the server's charset.
    ///
    /// # Errors
    /// Where it is anything else than the protocol's section 5 describes.
    pub fn parse(statement: &[u8], charset: Charset) -> Result<Self, BadQuery> {
        parse::parse(statement, charset)
    }
}

/// A query on its way through the users: [`Search::advance`] until it says that it is done, then
/// [`Search::results`].
#[derive(Debug)]
pub struct Search {
    query: Query,
    /// The next user to look at; none beyond the highest number that there can be.
    next: Option<ServiceNumber>,
    /// The best users so far, best first, never more than the query's limit.
    best: Vec<Candidate>,
    scratch: Scratch,
}

#[derive(Debug)]
struct Candidate {
    number: ServiceNumber,
    /// What the query sorts by, as it was when the user was looked at.
    key: Box<[Key]>,
}

#[derive(Debug)]
enum Key {
    Number(i64),
    Text(Box<[u8]>),
}

impl Search {
    /// Starts before the first user.
    #[must_use]
    pub fn new(query: Query) -> Self {
        let best = Vec::with_capacity(query.limit);
        Self { query, next: Some(ServiceNumber::FIRST), best, scratch: Scratch::new() }
    }

    /// Looks at users in ascending order from where it stopped up to `last`, until `steps` are used up; a
    /// step is about a nanosecond. One user is always looked at as a whole, so that each call gets on.
    /// Says whether it is done: no user is left, or no later one can change the results.
    pub fn advance<'a>(
        &mut self,
        last: ServiceNumber,
        profile: impl Fn(ServiceNumber) -> Option<Profile<'a>>,
        online: impl Fn(ServiceNumber) -> bool,
        steps: u64,
    ) -> bool {
        let mut used = 0;
        while let Some(number) = self.upcoming(last) {
            if used >= steps && used > 0 {
                return false;
            }
            used += STEPS_PER_USER;
            self.next = number.0.checked_add(1).map(ServiceNumber);
            if let Some(profile) = profile(number) {
                let online = self.query.needs_online && online(number);
                used += self.look_at(&Row { number, profile: &profile, online });
            }
        }
        true
    }

    /// Appends the search as far as it is.
    pub fn save(&self, out: &mut Vec<u8>) {
        out.put_string(&self.query.statement);
        out.put_u32(self.next.map_or(0, |next| next.0));
        out.put_u16(u16::try_from(self.best.len()).unwrap_or(u16::MAX));
        for candidate in &self.best {
            out.put_u32(candidate.number.0);
            for key in &candidate.key {
                match key {
                    Key::Number(number) => out.put_u64(number.cast_unsigned()),
                    Key::Text(text) => out.put_string(text),
                }
            }
        }
    }

    /// A search that was saved; `None` if the bytes are none.
    pub fn restore(reader: &mut Reader<'_>, charset: Charset) -> Option<Self> {
        let query = Query::parse(reader.string().ok()?, charset).ok()?;
        let mut search = Self::new(query);
        let next = reader.u32().ok()?;
        search.next = (next > 0).then_some(ServiceNumber(next));
        let found = usize::from(reader.u16().ok()?);
        if found > search.query.limit {
            return None;
        }
        for _ in 0..found {
            let number = ServiceNumber(reader.u32().ok()?);
            let key = search.query.order.iter().map(|order| match order.column {
                Column::Number(_) => reader.u64().ok().map(|key| Key::Number(key.cast_signed())),
                Column::Text(_) => reader.string().ok().map(|text| Key::Text(text.into())),
            });
            let key = key.collect::<Option<_>>()?;
            search.best.push(Candidate { number, key });
        }
        Some(search)
    }

    /// The users found, in the order that was asked for.
    pub fn results(&self) -> impl Iterator<Item = ServiceNumber> + '_ {
        self.best.iter().map(|candidate| candidate.number)
    }

    fn upcoming(&self, last: ServiceNumber) -> Option<ServiceNumber> {
        let limit = self.query.limit;
        let decided = limit == 0 || (self.best.len() == limit && self.query.order.is_empty());
        self.next.filter(|number| *number <= last && !decided)
    }

    /// Puts the user where it belongs among the best. Gives the steps that it took.
    fn look_at(&mut self, row: &Row<'_>) -> u64 {
        self.scratch.start_row();
        let found = match &self.query.condition {
            Some(condition) => condition.holds(row, self.query.charset, &mut self.scratch),
            None => true,
        };
        let mut steps = self.scratch.steps();
        if found {
            let order = &self.query.order;
            // Its number is higher than theirs: it comes after those that it equals.
            let place = self.best.partition_point(|better| {
                compare(order, &better.key, row, &mut steps) != Ordering::Greater
            });
            if place < self.query.limit {
                self.best.truncate(self.query.limit - 1);
                let key = order.iter().map(|order| Key::of(order.column, row, &mut steps));
                self.best.insert(place, Candidate { number: row.number, key: key.collect() });
            }
        }
        steps
    }
}

impl Key {
    fn of(column: Column, row: &Row<'_>, steps: &mut u64) -> Self {
        match row.value(column) {
            Value::Number(number) => {
                *steps += 1;
                Self::Number(number)
            }
            Value::Text(text) => {
                // An allocation costs about as much as a user.
                *steps += STEPS_PER_USER + text_steps(text);
                Self::Text(text.into())
            }
        }
    }
}

/// How a candidate stands to a user, by the columns that are sorted by.
fn compare(order: &[Order], key: &[Key], row: &Row<'_>, steps: &mut u64) -> Ordering {
    for (order, key) in order.iter().zip(key) {
        let found = match (key, row.value(order.column)) {
            (Key::Number(key), Value::Number(value)) => key.cmp(&value),
            (Key::Text(key), Value::Text(value)) => {
                *steps += text_steps(value);
                (**key).cmp(value)
            }
            // A column always has values of its own type.
            _ => Ordering::Equal,
        };
        *steps += 2;
        let found = if order.descending { found.reverse() } else { found };
        if found != Ordering::Equal {
            return found;
        }
    }
    Ordering::Equal
}

/// Steps for comparing or copying a text.
fn text_steps(text: &[u8]) -> u64 {
    (text.len() / TEXT_BYTES_PER_STEP) as u64
}

#[cfg(test)]
mod tests;
