//! `oicq-tools bisect`: the first event after which a command, given the state, fails.
//!
//! Owns the order of the steps and what is said on the way. Which sequence number is tried next is chosen in
//! `bisect/search.rs`, and a command is run in `bisect/trial.rs`. At most two states are in memory: that of
//! the last place that succeeds, from which the log is run on, and that which is being judged. What lies
//! before the first of them is read over, which is fast beside applying it or beside what a command does.

mod search;
mod trial;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;

use indicatif::HumanCount;
use lexopt::{Arg, Parser};
use oicq::cli::page::{Page, Row, terminal_width};
use oicq::id::Seq;

use crate::failure::{Failure, print};
use crate::options::{Format, VERSION, answer, required};
use crate::paint::Paint;
use crate::source::{Happening, Nobody, Onlooker, Outcome, Source, Until};
use crate::state_view;
use search::{Search, Verdict};
use trial::{CANNOT_TELL, FAILS_MAX, Trial};

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR -- COMMAND";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str =
    "the first sequence number after which COMMAND, given the state as JSON, fails";

#[derive(Debug)]
struct Options {
    folder: PathBuf,
    format: Format,
    program: OsString,
    arguments: Vec<OsString>,
}

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    parse(parser)?.map_or(Ok(()), |options| bisect(&options))
}

fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let (mut folder, mut program) = (None, None);
    let (mut format, mut arguments) = (Format::Text, Vec::new());
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                return answer(parser, &page().render(terminal_width())).map(|()| None);
            }
            Arg::Short('V') | Arg::Long("version") => {
                return answer(parser, VERSION).map(|()| None);
            }
            Arg::Long("format") => format = Format::taken(parser)?,
            Arg::Value(value) if folder.is_none() => folder = Some(value),
            Arg::Value(value) => {
                program = Some(value);
                // Whatever stands behind it is the command's own.
                arguments = parser.raw_args()?.collect();
                break;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let folder = required(folder, "DIR, the folder of a log")?.into();
    let program = required(program, "COMMAND, which is given the state as JSON")?;
    Ok(Some(Options { folder, format, program, arguments }))
}

fn page() -> Page {
    Page::new("oicq-tools bisect DIR [OPTIONS] -- COMMAND [ARG ...]")
        .about(
            "Finds the event of the log in DIR that made the state go wrong. COMMAND says what is wrong: it is given \
             the whole state as JSON on its standard input, as oicq-tools replay --state --format json writes it, \
             and fails where something is. It has to succeed at the beginning of the log and to fail at its end; in \
             between it is run on the state in the middle, again and again, so that a log of a million events takes \
             about 22 runs. Shown is the first event after whose state it fails. A server may be running on DIR.",
        )
        .section(
            "Options",
            vec![
                Row::new("--format FORMAT", "text, or json: the event as oicq-tools replay writes it").or("text"),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .note(format!(
            "COMMAND's exit status: 0 it succeeds, {CANNOT_TELL} it cannot tell (another state is tried), any other up \
             to {FAILS_MAX} it fails. Above that, or if a signal ends it, the search stops with status 1. It need not \
             read its input to the end. Whatever it prints goes to standard error; standard output has the result \
             alone."
        ))
        .note(
            "If COMMAND fails and succeeds in turns, one of the places is found at which it begins to fail. On a \
             terminal each run says what came of it.",
        )
        .note(
            "Examples:\n  \
             oicq-tools bisect data/store -- jq -e '.users | length < 100'\n  \
             oicq-tools bisect data/store -- sh -c '! grep -q spam'",
        )
}

fn bisect(options: &Options) -> Result<(), Failure> {
    let source = Source::open(&options.folder)?;
    let mut judge = Judge { options, source: &source, runs: 0 };
    let (mut good, mut search) = check_ends(&source, &mut judge)?;
    while let Some(middle) = search.next() {
        let state = source.go_on(good.clone(), Until::seq(middle), &mut Nobody)?;
        let verdict = judge.judge(&state, search.tries_left().saturating_sub(1))?;
        search.note(middle, verdict);
        if verdict == Verdict::Succeeds {
            good = state;
        }
    }
    let found = search.first_failure().map_err(|(succeeds, fails)| {
        judge.failure(format_args!(
            "succeeds after {succeeds} and fails after {fails}, and cannot tell about those in between"
        ))
    })?;
    let mut event = Shown { format: options.format, line: String::new() };
    source.go_on(good, Until::seq(found), &mut event)?;
    print(&event.line)
}

/// Has the beginning and the end judged; answers the one, and what there is to search up to the other.
fn check_ends(source: &Source, judge: &mut Judge<'_>) -> Result<(Outcome, Search), Failure> {
    let (base, last) = (source.base_seq()?, source.last_seq()?);
    if last == base {
        let folder = source.folder().display();
        return Err(Failure::Failed(format!("{folder}: there are no events to search")));
    }
    let good = source.watch(Until::seq(base), &mut Nobody)?;
    let tries = Search::new(base, last).tries_left();
    let beginning = place(base, base);
    match judge.judge(&good, tries + 1)? {
        Verdict::Succeeds => {}
        Verdict::Fails => return Err(judge.failure(format_args!("fails already {beginning}"))),
        Verdict::Unclear => {
            let words = format_args!("cannot tell {beginning}, where it has to succeed");
            return Err(judge.failure(words));
        }
    }
    let end = source.go_on(good.clone(), Until::END, &mut Nobody)?;
    let last = end.state.last_seq();
    match judge.judge(&end, tries)? {
        Verdict::Fails => Ok((good, Search::new(base, last))),
        Verdict::Succeeds => {
            Err(judge.failure(format_args!("succeeds at the end of the log too, after {last}")))
        }
        Verdict::Unclear => {
            let words = format_args!("cannot tell after {last}, the end, where it has to fail");
            Err(judge.failure(words))
        }
    }
}

/// Which state that is, in words.
fn place(seq: Seq, base: Seq) -> String {
    match seq {
        Seq::ZERO => "before the first event".to_owned(),
        seq if seq == base => format!("after {seq}, the first that compacting has left"),
        seq => format!("after {seq}"),
    }
}

/// Has the command judge states, and says on a terminal what it says.
struct Judge<'a> {
    options: &'a Options,
    source: &'a Source,
    runs: u32,
}

impl Judge<'_> {
    /// What the command does that leaves no answer.
    fn failure(&self, does: impl Display) -> Failure {
        let (folder, program) = (self.source.folder().display(), self.options.program.display());
        Failure::Failed(format!("{folder}: {program} {does}"))
    }

    fn judge(&mut self, outcome: &Outcome, runs_left: u32) -> Result<Verdict, Failure> {
        let Options { program, arguments, .. } = self.options;
        let seq = outcome.state.last_seq();
        let trial = Trial { program, arguments, state: place(seq, outcome.base_seq) };
        let (source, all) = (self.source, BTreeSet::new());
        let verdict = trial.run(|stdin| {
            state_view::write(source, outcome, &all, Format::Json, Paint::NONE, stdin)
        })?;
        self.runs += 1;
        if io::stderr().is_terminal() {
            let says = match verdict {
                Verdict::Succeeds => "succeeds",
                Verdict::Fails => "fails",
                Verdict::Unclear => "cannot be told",
            };
            let (run, about, seq) = (self.runs, self.runs + runs_left, HumanCount(seq.0));
            // Where standard error is gone, the result is still wanted.
            let _ = writeln!(io::stderr(), "run {run} of about {about}: {seq} {says}");
        }
        Ok(verdict)
    }
}

/// Keeps the event that was found, as it is shown.
struct Shown {
    format: Format,
    line: String,
}

impl Onlooker for Shown {
    fn event(&mut self, happening: &Happening<'_>) -> Result<ControlFlow<()>, Failure> {
        self.line = match self.format {
            Format::Text => format!("{}\n", happening.line(Paint::on(&io::stdout()))),
            Format::Json => format!("{}\n", happening.json()),
        };
        Ok(ControlFlow::Continue(()))
    }
}
