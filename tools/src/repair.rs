//! `oicq-tools repair`: copies all that can be saved of a damaged log into a new folder.
//!
//! Owns the command and what it prints. The damaged folder is opened for reading alone.

mod target;

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lexopt::Parser;
use oicq::cli::page::{Page, Row};
use oicq::id::Seq;
use oicq::log::Identity;
use oicq::state::Digest;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::options::{Format, places_and_format};
use crate::salvage::{Salvaged, Survey, count, torn_json, write_json, write_text};
use crate::source::Source;
use target::{Outcome, Target, Writer};

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR OUT";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str =
    "copy all that can be saved of a damaged log into a new folder; the old one is not touched";

struct Options {
    folder: PathBuf,
    out: PathBuf,
    format: Format,
}

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    parse(parser)?.map_or(Ok(()), |options| repair(&options))
}

fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let places = ["DIR, the folder of a damaged log", "OUT, the folder to write to"];
    let taken = places_and_format(parser, page, "DIR and OUT", places, |_| false)?;
    Ok(taken.map(|([folder, out], format)| Options { folder, out, format }))
}

fn page() -> Page {
    Page::new("oicq-tools repair DIR OUT [OPTIONS]")
        .about(
            "Copies all that can be saved of the damaged log in DIR into OUT, and lists what could not be. \
             OUT is a folder that is empty or does not exist. DIR is read, and never touched. When it is done, \
             start oicqd with --data OUT, and keep DIR until you miss nothing.",
        )
        .section(
            "Options",
            vec![
                Row::new("--format FORMAT", "text, or json: one object a line").or("text"),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .note(
            "It may be stopped at any time, and goes on where it stopped when it is run again with the same \
             OUT. Until it has ended with status 0, no server should be started on OUT. It needs as much room \
             as DIR has bytes of events.",
        )
        .note(
            "Every event keeps its sequence number. In the place of one that is lost, or that makes no sense \
             without what is lost, stands one of kind lost, which changes nothing. A user whose registration is \
             lost stays as a number without a profile, as which nobody can log in: its friends and messages are \
             kept. Digests of the state behind what is lost are written anew. Of a compacted log, OUT begins \
             with what can be saved of the kept state. So it does where more numbers are lost than the log's files \
             have room for: what comes before such a stretch is then saved as the state that it makes.",
        )
        .note(
            "What is printed: each damaged place with the events and the users that it touches (perhaps, \
             where nothing but what fails its check names them), each event that makes no sense any more, and \
             at the end the numbers that were not saved. In JSON the last object has result (whole or \
             repaired), written (false if OUT held all of it already), events, lost, nonsense, digests_renewed, \
             not_saved (pairs of first and last), state_as_of (up to where there is the state alone, or null), \
             users, last_seq and digest.",
        )
        .note(
            "Exit status: 0 OUT holds what could be saved, 1 it failed, 2 it was called wrongly.",
        )
}

fn repair(options: &Options) -> Result<(), Failure> {
    let source = Source::open(&options.folder)?;
    let target = Target::find(&options.folder, &options.out)?;
    let survey = source.survey()?;
    let identity = identity(&options.folder, &survey)?;
    let storage = target.storage();
    let mut writer = Writer::new(&target, &storage, identity)?;
    let salvaged = source.walk(&survey, &mut writer)?;
    let outcome = writer.finish()?;
    let report = report(options, &survey, &salvaged, outcome);
    let (digest, last) = (salvaged.state.digest(), salvaged.state.last_seq());
    // Two states of a large server need not be in memory at once.
    drop(salvaged);
    check(&target, digest, last)?;
    let mut out = io::stdout().lock();
    report
        .and_then(|report| out.write_all(&report))
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}

/// Which log it is. Without that, nothing shows that what can be read belongs to one log.
fn identity(folder: &Path, survey: &Survey) -> Result<Identity, Failure> {
    let folder = folder.display();
    if let Some((seq, error)) = &survey.newer {
        return Err(Failure::Failed(format!(
            "{folder}: sequence number {seq} holds {error}; use its oicq-tools"
        )));
    }
    let proven = |identity: &&Identity| identity.certain || survey.batches > 0;
    survey.identity.as_ref().filter(proven).cloned().ok_or_else(|| {
        Failure::Failed(format!(
            "{folder}: no file's header can be read, so nothing shows what belongs to the log; nothing \
             can be saved"
        ))
    })
}

/// Reads what was written, and compares.
fn check(target: &Target, digest: Digest, last: Seq) -> Result<(), Failure> {
    let read = Source::open(target.folder())?.run(|_| Ok(ControlFlow::Continue(())))?;
    if read.state.last_seq() == last && read.state.digest() == digest {
        return Ok(());
    }
    let folder = target.folder().display();
    Err(Failure::Failed(format!("{folder} does not read as it was written; is the disk sound?")))
}

/// All that is printed.
fn report(
    options: &Options,
    survey: &Survey,
    salvaged: &Salvaged,
    outcome: Outcome,
) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    match options.format {
        Format::Text => {
            write_text(survey, salvaged, &mut out)?;
            out.extend(summary(options, survey, salvaged, outcome).into_bytes());
        }
        Format::Json => {
            write_json(survey, salvaged, &mut out)?;
            writeln!(out, "{}", summary_json(options, survey, salvaged, outcome))?;
        }
    }
    Ok(out)
}

fn summary(options: &Options, survey: &Survey, salvaged: &Salvaged, outcome: Outcome) -> String {
    let Salvaged { state, kept, lost, senseless, renewed, .. } = salvaged;
    let users = count(state.user_count() as u64, "user", "users");
    let (last, digest) = (state.last_seq(), state.digest());
    let mut words = String::new();
    let not_saved = salvaged.not_saved(survey);
    if salvaged.is_complete(survey) {
        words.push_str("nothing was lost\n");
    }
    if !not_saved.is_empty() {
        let stretches: Vec<_> = not_saved.iter().map(ToString::to_string).collect();
        words.push_str(&format!("not saved: {}\n", stretches.join(", ")));
        for (number, why) in [(*lost, "could not be read"), (*senseless, "made no sense")] {
            if number > 0 {
                words.push_str(&format!("{} {why}\n", count(number, "event", "events")));
            }
        }
    }
    if *renewed > 0 {
        let digests = count(*renewed, "digest", "digests");
        words.push_str(&format!("{digests} of the state written anew\n"));
    }
    let kept = count(*kept, "event", "events");
    let out = options.out.display();
    let done = match outcome {
        Outcome::Written => "written to",
        Outcome::Complete => "all there already in",
    };
    let state = state_as_of(survey).map(|seq| format!("the state as of {seq}, "));
    let state = state.unwrap_or_default();
    words + &format!("saved: {state}{kept}, {users}, {done} {out}\ndigest {digest} seq {last}\n")
}

/// Up to where what is saved is the state alone, and not each event.
fn state_as_of(survey: &Survey) -> Option<Seq> {
    survey.folded.or_else(|| survey.base.as_ref().map(|base| base.origin.seq))
}

fn summary_json(
    options: &Options,
    survey: &Survey,
    salvaged: &Salvaged,
    outcome: Outcome,
) -> Value {
    let not_saved = salvaged.not_saved(survey);
    let pairs: Vec<_> = not_saved.iter().map(|one| [one.first.0, one.last.0]).collect();
    json!({
        "result": if salvaged.is_complete(survey) { "whole" } else { "repaired" },
        "out": options.out.display().to_string(),
        "written": outcome == Outcome::Written,
        "events": salvaged.kept,
        "lost": salvaged.lost,
        "nonsense": salvaged.senseless,
        "digests_renewed": salvaged.renewed,
        "not_saved": pairs,
        "state_as_of": state_as_of(survey).map(|seq| seq.0),
        "users": salvaged.state.user_count(),
        "last_seq": salvaged.state.last_seq().0,
        "digest": salvaged.state.digest().to_string(),
        "torn": torn_json(survey),
    })
}
