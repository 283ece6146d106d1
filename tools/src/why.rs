//! `oicq-tools why`: how something came about.
//!
//! Owns the table of questions, how they are called, and the form of an answer. How a question is answered
//! stands in a file of its own, `why/friend.rs` and the others: each looks on while the log runs once, and
//! keeps what bears on it.

mod friend;
mod login;
mod message;
mod monitor;
mod recorded;

use std::ffi::OsString;
use std::fmt::{Display, Write as _};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::{Arg, Parser};
use oicq::cli::page::{Page, Row, terminal_width};
use oicq::id::{Seq, ServiceNumber, UnixMillis};
use oicq::state::{Event, State};
use serde_json::{Value, json};

use crate::failure::{Failure, print};
use crate::options::{Format, VERSION, answer, one_of, required};
use crate::paint::Paint;
use crate::salvage::count;
use crate::source::{Happening, Onlooker, Outcome, Source, Until};
use crate::times;

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR QUESTION";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str =
    "why two users are friends, what became of a message, how a login ended, who monitored";

/// Something that can be asked.
struct Question {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    ask: fn(&Source, Arguments, &mut Answer) -> Result<(), Failure>,
}

/// All questions, in the order in which the help page lists them.
const QUESTIONS: &[Question] = &[
    Question {
        name: "friend",
        arguments: "A B",
        about: "whether A has B in its friend list and B has A, and the events that made it so: who asked, who agreed, \
                who deleted whom",
        ask: friend::ask,
    },
    Question {
        name: "message",
        arguments: "ID",
        about: "who sent it to whom, and for each receiver when it was delivered, or that it waits, or why it does \
                not come; ID is its sequence number",
        ask: message::ask,
    },
    Question {
        name: "login",
        arguments: "NUMBER TIME",
        about: "how the logins of this user around that time ended (a date: on that day), from which addresses, when \
                and why the sessions ended that they began, and whether the password was hashed anew; from what the \
                server has recorded of its latest input",
        ask: login::ask,
    },
    Question {
        name: "monitor",
        arguments: "NUMBER",
        about: "each start and each end of monitoring of this user or by it",
        ask: monitor::ask,
    },
];

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    let (mut folder, mut question): (Option<OsString>, Option<&Question>) = (None, None);
    let (mut values, mut format) = (Vec::new(), Format::Text);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                return answer(parser, &page().render(terminal_width()));
            }
            Arg::Short('V') | Arg::Long("version") => return answer(parser, VERSION),
            Arg::Long("format") => format = Format::taken(parser)?,
            Arg::Value(value) if folder.is_none() => folder = Some(value),
            Arg::Value(value) if question.is_none() => question = Some(question_of(&value)?),
            Arg::Value(value) => values.push(value),
            other => return Err(other.unexpected().into()),
        }
    }
    let folder: PathBuf = required(folder, "DIR, the folder of a log")?.into();
    let question = question
        .ok_or_else(|| Failure::Usage(format!("a question is missing, expected {}", names())))?;
    let arguments = Arguments { question, values };
    arguments.check()?;
    let source = Source::open(&folder)?;
    let mut answer = Answer { format, paint: Paint::on(&io::stdout()), lines: String::new() };
    (question.ask)(&source, arguments, &mut answer)?;
    print(&answer.lines)
}

fn question_of(name: &OsString) -> Result<&'static Question, Failure> {
    QUESTIONS
        .iter()
        .find(|question| name == question.name)
        .ok_or_else(|| Failure::Usage(format!("{name:?} is no question, expected {}", names())))
}

fn names() -> String {
    one_of(QUESTIONS.iter().map(|question| question.name))
}

fn page() -> Page {
    let question = |question: &Question| {
        Row::new(format!("{} {}", question.name, question.arguments), question.about)
    };
    Page::new("oicq-tools why DIR QUESTION [OPTIONS]")
        .about(
            "Answers a question about the log in DIR, and shows the events that the answer rests on, as oicq-tools \
             replay shows them. Of what compacting has dropped it says so. A server may be running on DIR.",
        )
        .section("Questions", QUESTIONS.iter().map(question).collect())
        .section(
            "Options",
            vec![
                Row::new("--format FORMAT", "text, or json: one object a line").or("text"),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .note(
            "In JSON an object with kind is an event, one with what a part of the answer. tools/JSON.md lists their \
             fields.",
        )
}

/// What a question is asked about.
struct Arguments {
    question: &'static Question,
    values: Vec<OsString>,
}

impl Arguments {
    /// All that it takes are there, and can be read.
    fn check(&self) -> Result<(), Failure> {
        let Question { name, arguments, .. } = self.question;
        let expected = arguments.split(' ').count();
        if self.values.len() != expected {
            let given = count(self.values.len() as u64, "argument was", "arguments were");
            return Err(Failure::Usage(format!("{name}: {given} given, expected {arguments}")));
        }
        arguments.split(' ').enumerate().try_for_each(|(index, name)| match name {
            "TIME" => self.time(index).map(drop),
            _ => self.number::<u64>(index).map(drop),
        })
    }

    /// The first millisecond and the last of a day or a point in time.
    fn time(&self, index: usize) -> Result<(UnixMillis, UnixMillis), Failure> {
        let value = self.values.get(index).cloned().unwrap_or_default();
        let time = value.to_str().and_then(times::parse_span);
        time.ok_or_else(|| {
            let name = self.question.name;
            Failure::Usage(format!("{name}: {value:?} was given, expected {}", times::FORMS))
        })
    }

    fn number<T: FromStr>(&self, index: usize) -> Result<T, Failure> {
        let Question { name, arguments, .. } = self.question;
        let value = self.values.get(index).cloned().unwrap_or_default();
        let number = value.to_str().and_then(|text| text.parse().ok());
        number.ok_or_else(|| {
            Failure::Usage(format!("{name}: {value:?} was given, expected {arguments}, a number"))
        })
    }

    fn user(&self, index: usize) -> Result<ServiceNumber, Failure> {
        self.number(index).map(ServiceNumber)
    }

    fn seq(&self, index: usize) -> Result<Seq, Failure> {
        self.number(index).map(Seq)
    }
}

/// An answer as it grows.
struct Answer {
    format: Format,
    paint: Paint,
    lines: String,
}

impl Answer {
    /// A part of the answer.
    fn say(&mut self, words: impl Display, object: Value) {
        // Writing into a string does not fail.
        let _ = match self.format {
            Format::Text => writeln!(self.lines, "{words}"),
            Format::Json => writeln!(self.lines, "{object}"),
        };
    }

    /// What the answer rests on.
    fn add(&mut self, evidence: &str) {
        self.lines.push_str(evidence);
    }

    /// An event as the answer shows it, in a line of its own.
    fn event(&self, happening: &Happening<'_>) -> String {
        match self.format {
            Format::Text => format!("{}\n", happening.line(self.paint)),
            Format::Json => format!("{}\n", happening.json()),
        }
    }

    /// What the answer does not know, if something: the events up to a base, and those that are lost.
    fn gaps(&mut self, base: Seq, lost: u64) {
        let mut words = Vec::new();
        if base > Seq::ZERO {
            words.push(format!("compacting has dropped the events up to {base}"));
        }
        if lost > 0 {
            let events = count(lost, "event", "events");
            words.push(format!("{events} could not be saved from a damaged log"));
        }
        if !words.is_empty() {
            let object = json!({ "what": "unknown", "up_to": base.0, "lost": lost });
            self.say(words.join(", "), object);
        }
    }
}

/// What a log has come to, for an answer.
struct Seen {
    outcome: Outcome,
    /// How many events stand for others that could not be saved.
    lost: u64,
}

/// Runs the log while a question looks on.
fn watch(source: &Source, onlooker: &mut impl Onlooker) -> Result<Seen, Failure> {
    let mut counting = Counting { onlooker, lost: 0 };
    let outcome = source.watch(Until::END, &mut counting)?;
    Ok(Seen { lost: counting.lost, outcome })
}

/// Counts what is lost on the way.
struct Counting<'a, O> {
    onlooker: &'a mut O,
    lost: u64,
}

impl<O: Onlooker> Onlooker for Counting<'_, O> {
    fn begin(&mut self, state: &State) -> Result<(), Failure> {
        self.onlooker.begin(state)
    }

    fn event(&mut self, happening: &Happening<'_>) -> Result<ControlFlow<()>, Failure> {
        self.lost += u64::from(matches!(happening.event, Event::Lost));
        self.onlooker.event(happening)
    }
}
