//! Conditions: what they are made of, and whether one holds for a user.
//!
//! Owns the columns and how values compare. Never allocates while a condition is evaluated, and recurses
//! no deeper than the parser let it be nested.

use std::cmp::Ordering;

use super::like::{self, Codes};
use super::text_steps;
use crate::codec::charset::Charset;
use crate::codec::profile::Profile;
use crate::id::ServiceNumber;

/// Steps for each part of a condition, beside the texts that it looks at.
const STEPS_PER_NODE: u64 = 8;

/// A column that statements may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Column {
    Number(NumberColumn),
    Text(TextColumn),
}

/// A column of integers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NumberColumn {
    Number,
    Portrait,
    Gender,
    Age,
    Country,
    Province,
    Education,
    Occupation,
    Online,
}

/// A column of text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TextColumn {
    Nickname,
    City,
    School,
    Hobbies,
    Description,
}

impl Column {
    /// All columns and their names.
    pub(super) const ALL: [(&'static str, Self); 14] = [
        ("number", Self::Number(NumberColumn::Number)),
        ("nickname", Self::Text(TextColumn::Nickname)),
        ("portrait", Self::Number(NumberColumn::Portrait)),
        ("gender", Self::Number(NumberColumn::Gender)),
        ("age", Self::Number(NumberColumn::Age)),
        ("country", Self::Number(NumberColumn::Country)),
        ("province", Self::Number(NumberColumn::Province)),
        ("city", Self::Text(TextColumn::City)),
        ("education", Self::Number(NumberColumn::Education)),
        ("school", Self::Text(TextColumn::School)),
        ("occupation", Self::Number(NumberColumn::Occupation)),
        ("hobbies", Self::Text(TextColumn::Hobbies)),
        ("description", Self::Text(TextColumn::Description)),
        ("online", Self::Number(NumberColumn::Online)),
    ];

    /// The column of a name in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, column)| column)
    }
}

/// A user as conditions see it.
pub(super) struct Row<'a> {
    pub(super) number: ServiceNumber,
    pub(super) profile: &'a Profile<'a>,
    pub(super) online: bool,
}

/// What a column holds for one user.
pub(super) enum Value<'a> {
    Number(i64),
    Text(&'a [u8]),
}

impl<'a> Row<'a> {
    pub(super) fn value(&self, column: Column) -> Value<'a> {
        match column {
            Column::Number(column) => Value::Number(self.number(column)),
            Column::Text(column) => Value::Text(self.text(column)),
        }
    }

    fn number(&self, column: NumberColumn) -> i64 {
        match column {
            NumberColumn::Number => self.number.0.into(),
            NumberColumn::Portrait => self.profile.portrait.into(),
            NumberColumn::Gender => self.profile.gender.into(),
            NumberColumn::Age => self.profile.age.into(),
            NumberColumn::Country => self.profile.country.into(),
            NumberColumn::Province => self.profile.province.into(),
            NumberColumn::Education => self.profile.education.into(),
            NumberColumn::Occupation => self.profile.occupation.into(),
            NumberColumn::Online => self.online.into(),
        }
    }

    fn text(&self, column: TextColumn) -> &'a [u8] {
        match column {
            TextColumn::Nickname => self.profile.nickname,
            TextColumn::City => self.profile.city,
            TextColumn::School => self.profile.school,
            TextColumn::Hobbies => self.profile.hobbies,
            TextColumn::Description => self.profile.description,
        }
    }
}

/// A condition. `IN` is an `Any` of equalities and `BETWEEN` an `All` of two comparisons.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Numbers(Comparison, NumberOperand, NumberOperand),
    Texts(Comparison, TextOperand, TextOperand),
    Like(TextOperand, Pattern),
}

/// One of the six comparisons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum NumberOperand {
    Column(NumberColumn),
    Literal(i64),
}

#[derive(Clone, Debug)]
pub(super) enum TextOperand {
    Column(TextColumn),
    Literal(Box<[u8]>),
}

/// What stands after `LIKE`.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Column(TextColumn),
    Literal(Codes),
}

/// What evaluating needs beside the condition: room for texts as LIKE reads them, what is known about the
/// user at hand, and the count of steps.
#[derive(Debug)]
pub(super) struct Scratch {
    steps: u64,
    text: Codes,
    pattern: Codes,
    /// One bit for each pair of text columns: whether `a LIKE b` is known for this user, and what it is. So
    /// a statement that repeats the dearest pair pays for it once.
    likes_known: u32,
    likes_true: u32,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let (text, pattern) = (Codes::with_room(), Codes::with_room());
        Self { steps: 0, text, pattern, likes_known: 0, likes_true: 0 }
    }

    /// Forgets the user before.
    pub(super) fn start_row(&mut self) {
        (self.steps, self.likes_known, self.likes_true) = (0, 0, 0);
    }

    /// The steps that this user took so far.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }
}

impl Condition {
    /// Whether it holds for a user.
    pub(super) fn holds(&self, row: &Row<'_>, charset: Charset, scratch: &mut Scratch) -> bool {
        scratch.steps += STEPS_PER_NODE;
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(row, charset, scratch)),
            Self::Any(any) => any.iter().any(|one| one.holds(row, charset, scratch)),
            Self::Not(inner) => !inner.holds(row, charset, scratch),
            Self::Numbers(comparison, left, right) => {
                comparison.accepts(left.of(row).cmp(&right.of(row)))
            }
            Self::Texts(comparison, left, right) => {
                let (left, right) = (left.of(row), right.of(row));
                scratch.steps += text_steps(left).min(text_steps(right));
                comparison.accepts(left.cmp(right))
            }
            Self::Like(text, Pattern::Literal(pattern)) => {
                scratch.text.set_text(text.of(row), charset, &mut scratch.steps);
                like::matches(&scratch.text, pattern, &mut scratch.steps)
            }
            Self::Like(TextOperand::Column(text), Pattern::Column(pattern)) => {
                like_column(*text, *pattern, row, charset, scratch)
            }
            Self::Like(TextOperand::Literal(text), Pattern::Column(pattern)) => {
                like_texts(text, row.text(*pattern), charset, scratch)
            }
        }
    }
}

impl NumberOperand {
    fn of(self, row: &Row<'_>) -> i64 {
        match self {
            Self::Column(column) => row.number(column),
            Self::Literal(literal) => literal,
        }
    }
}

impl TextOperand {
    fn of<'a>(&'a self, row: &Row<'a>) -> &'a [u8] {
        match self {
            Self::Column(column) => row.text(*column),
            Self::Literal(literal) => literal,
        }
    }
}

fn like_column(
    text: TextColumn,
    pattern: TextColumn,
    row: &Row<'_>,
    charset: Charset,
    scratch: &mut Scratch,
) -> bool {
    let bit = 1 << (text as u32 * TextColumn::COUNT + pattern as u32);
    if scratch.likes_known & bit == 0 {
        scratch.likes_known |= bit;
        if like_texts(row.text(text), row.text(pattern), charset, scratch) {
            scratch.likes_true |= bit;
        }
    }
    scratch.likes_true & bit != 0
}

fn like_texts(text: &[u8], pattern: &[u8], charset: Charset, scratch: &mut Scratch) -> bool {
    scratch.text.set_text(text, charset, &mut scratch.steps);
    scratch.pattern.set_pattern(pattern, charset, &mut scratch.steps);
    like::matches(&scratch.text, &scratch.pattern, &mut scratch.steps)
}

impl TextColumn {
    const COUNT: u32 = 5;
}

// Every pair of text columns has its bit.
const _: () = assert!(TextColumn::COUNT * TextColumn::COUNT <= u32::BITS);
