//! `oicq-tools diff`: what changed between two points of a log, user by user.
//!
//! Owns the way to the two states: one pass over the log, with the earlier one kept. What differs between
//! them is found in `diff/changes.rs`, and put into words or JSON in `diff/report.rs`.

mod changes;
mod report;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use oicq::cli::page::{Page, Row, terminal_width};
use oicq::id::{Seq, ServiceNumber};
use oicq::state::State;

use crate::failure::Failure;
use crate::options::{Format, VERSION, answer, parsed, required};
use crate::paint::Paint;
use crate::source::{Happening, Onlooker, Source, Until};
use changes::Between;
use report::Report;

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR SEQ SEQ";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str = "what changed between two sequence numbers, user by user";

#[derive(Debug)]
struct Options {
    folder: PathBuf,
    from: Seq,
    to: Seq,
    users: BTreeSet<ServiceNumber>,
    format: Format,
}

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    parse(parser)?.map_or(Ok(()), |options| diff(&options))
}

fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let (mut folder, mut points): (Option<OsString>, Vec<Seq>) = (None, Vec::new());
    let (mut users, mut format) = (BTreeSet::new(), Format::Text);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                return answer(parser, &page().render(terminal_width())).map(|()| None);
            }
            Arg::Short('V') | Arg::Long("version") => {
                return answer(parser, VERSION).map(|()| None);
            }
            Arg::Long("user") => {
                users.insert(ServiceNumber(parsed(parser, "--user", "a service number")?));
            }
            Arg::Long("format") => format = Format::taken(parser)?,
            Arg::Value(value) if folder.is_none() => folder = Some(value),
            Arg::Value(value) if points.len() < 2 => points.push(point(value)?),
            Arg::Value(value) => {
                return Err(Failure::Usage(format!(
                    "{value:?} is one argument too many after SEQ SEQ"
                )));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let folder = required(folder, "DIR, the folder of a log")?.into();
    let [from, to] = points[..] else {
        return Err(Failure::Usage("two sequence numbers are expected, SEQ SEQ".to_owned()));
    };
    Ok(Some(Options { folder, from, to, users, format }))
}

fn point(value: OsString) -> Result<Seq, Failure> {
    let seq = value.to_str().and_then(|text| text.parse().ok()).map(Seq);
    seq.ok_or_else(|| Failure::Usage(format!("{value:?} was given, expected a sequence number")))
}

fn page() -> Page {
    Page::new("oicq-tools diff DIR SEQ SEQ [OPTIONS]")
        .about(
            "Runs the log in DIR up to both sequence numbers, and shows what is different at the second from what \
             was at the first, user by user: registration, profile, password (that it changed), groups, friends, \
             requests that wait, messages that wait, and the record of monitoring. What came and went again in \
             between is not shown: oicq-tools replay shows every event. A server may be running on DIR.",
        )
        .section(
            "Options",
            vec![
                Row::new("--user NUMBER", "only this user; may be repeated"),
                Row::new("--format FORMAT", "text, or json: one object a line, a user each").or("text"),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .note(
            "SEQ stands for the state after that event; 0 for that before the first. If the second lies before the \
             first, the answer is what would have to change to get back there.",
        )
        .note("In JSON only users that differ have an object. tools/JSON.md lists its fields.")
}

/// Keeps the state at one point.
struct Keeper {
    at: Seq,
    kept: Option<State>,
}

impl Onlooker for Keeper {
    fn begin(&mut self, state: &State) -> Result<(), Failure> {
        if state.last_seq() == self.at {
            self.kept = Some(state.clone());
        }
        Ok(())
    }

    fn event(&mut self, happening: &Happening<'_>) -> Result<ControlFlow<()>, Failure> {
        if happening.seq == self.at {
            self.kept = Some(happening.state.clone());
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn diff(options: &Options) -> Result<(), Failure> {
    let Options { from, to, .. } = *options;
    let source = Source::open(&options.folder)?;
    let (first, last) = (from.min(to), from.max(to));
    let base = source.base_seq()?;
    if first < base {
        return Err(source.dropped(format_args!("sequence number {first}"), base));
    }
    let mut keeper = Keeper { at: first, kept: None };
    let outcome = source.watch(Until::seq(last), &mut keeper)?;
    source.check_reached(last, outcome.state.last_seq())?;
    options.users.iter().try_for_each(|user| source.check_user(*user, &outcome.state))?;
    let (early, late) = (keeper.kept.unwrap_or_default(), &outcome.state);
    let (from, to) = if from <= to { (&early, late) } else { (late, &early) };
    let between = Between::new(from, to);
    let mut report =
        Report { between: &between, texts: source.texts(&outcome), charset: outcome.charset };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let wanted = |number| options.users.is_empty() || options.users.contains(&number);
    let paint = Paint::on(&io::stdout());
    let mut lines = String::new();
    let mut any = false;
    if options.format == Format::Text {
        lines = report.heading();
    }
    for changes in between.users().filter(|changes| wanted(changes.number)) {
        match options.format {
            Format::Text => report.describe(&changes, paint, &mut lines)?,
            Format::Json => lines = format!("{}\n", report.json(&changes)?),
        }
        any = true;
        out.write_all(lines.as_bytes()).map_err(|error| Failure::output(&error))?;
        lines.clear();
    }
    if !any && options.format == Format::Text {
        lines.push_str("nothing is different\n");
    }
    out.write_all(lines.as_bytes()).and_then(|()| out.flush()).map_err(|e| Failure::output(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documented;
    use crate::source::{Nobody, Outcome};
    use serde_json::Value;
    use std::path::Path;

    fn golden() -> Source {
        Source::open(Path::new("../data/golden/v1")).unwrap()
    }

    fn objects(source: &Source, outcome: &Outcome, from: &State, to: &State) -> Vec<Value> {
        let between = Between::new(from, to);
        let (texts, charset) = (source.texts(outcome), outcome.charset);
        let mut report = Report { between: &between, texts, charset };
        between.users().map(|changes| report.json(&changes).unwrap()).collect()
    }

    #[test]
    fn states_differ_where_their_digests_do() {
        let source = golden();
        let mut outcome = Outcome::default();
        for seq in (1..=547).map(Seq) {
            let before = outcome.clone();
            outcome = source.go_on(outcome, Until::seq(seq), &mut Nobody).unwrap();
            for (from, to) in [(&before.state, &outcome.state), (&outcome.state, &before.state)] {
                let differ = Between::new(from, to).users().count() > 0;
                assert_eq!(differ, from.digest() != to.digest(), "at {seq}");
            }
        }
    }

    #[test]
    fn backwards_is_forwards_turned_round_and_as_the_document_says() {
        let source = golden();
        let mut before = Outcome::default();
        for seq in (0..=550).step_by(50).map(Seq) {
            let outcome = source.go_on(before.clone(), Until::seq(seq), &mut Nobody).unwrap();
            let there = objects(&source, &outcome, &before.state, &outcome.state);
            let back = objects(&source, &outcome, &outcome.state, &before.state);
            assert_eq!(there.len(), back.len());
            for (there, back) in there.iter().zip(&back) {
                documented::check(there, &["difference"]);
                documented::check(back, &["difference"]);
                if there["what"] == "registered" {
                    assert_eq!(back["what"], "not-registered-yet");
                    continue;
                }
                for (come, gone) in [
                    ("groups_added", "groups_deleted"),
                    ("friends_added", "friends_deleted"),
                    ("requests_come", "requests_gone"),
                    ("messages_come", "messages_gone"),
                    ("monitoring_come", "monitoring_gone"),
                ] {
                    assert_eq!((&there[come], &there[gone]), (&back[gone], &back[come]));
                }
                assert_eq!(there["password_changed"], back["password_changed"]);
            }
            before = outcome;
        }
    }
}
