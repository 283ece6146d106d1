//! `oicq-tools verify`: reads every byte of a log, and says what is damaged, where, and what it touches.

use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use indicatif::BinaryBytes;
use lexopt::Parser;
use oicq::cli::page::{Page, Row};
use oicq::state::{State, sense};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::options::{Format, folder_and_format};
use crate::salvage::{Salvaged, Survey, count, torn_json, write_json, write_text};
use crate::source::Source;

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str =
    "read every byte of a log; say what is damaged, where, and what it touches";

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    folder_and_format(parser, page)?.map_or(Ok(()), |(folder, format)| verify(&folder, format))
}

fn page() -> Page {
    Page::new("oicq-tools verify DIR [OPTIONS]")
        .about(
            "Reads every byte of the log in DIR, checks it, and applies every event as the server would: \
             checksums, sequence, whether users, groups and friends are there, limits, whether the state is \
             the one whose digest the server has written down, and at the end whether all of the state agrees with \
             itself. A torn end, which is what a power cut leaves of the \
             batch that was being written, counts as whole: the server cuts it off at its next start. A server \
             may be running on DIR.",
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
            "Each damaged place is listed with file, offset and sequence number, the events that are lost, and \
             the users that it touches: those whose registrations are lost or whose later events make no sense, \
             and perhaps those whom the remains name, which fail their check. What the disk cannot read is a \
             damaged place too, and the rest is read.",
        )
        .note(
            "In JSON each object has result: damage (file, offset, seq, what, lost_first, lost_last, \
             base_lost_first, base_lost_last, end_unknown, users, users_perhaps), registration-lost (seq, \
             user, can_log_in), nonsense (seq, what, users), other-state (seq, agreed: the last digest that was \
             the state's, what), and in the last one whole or damaged (events, batches, bytes, files, last_seq, \
             torn).",
        )
        .note(
            "Exit status: 0 the log is whole, 1 it is damaged (what can be saved, oicq-tools repair saves) or \
             cannot be read.",
        )
}

fn verify(folder: &Path, format: Format) -> Result<(), Failure> {
    let source = Source::open(folder)?;
    let (survey, salvaged) = source.salvage(&mut ())?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match format {
        Format::Text => write_text(&survey, &salvaged, &mut out)
            .and_then(|()| writeln!(out, "{}", summary(&survey, &salvaged))),
        Format::Json => write_json(&survey, &salvaged, &mut out)
            .and_then(|()| writeln!(out, "{}", summary_json(&survey, &salvaged))),
    };
    written.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    failure(&source, &survey, &salvaged)
}

/// What is to be done about it.
fn failure(source: &Source, survey: &Survey, salvaged: &Salvaged) -> Result<(), Failure> {
    let folder = source.folder().display();
    source.check_agreement(&salvaged.state)?;
    let places = salvaged.places();
    if places == 0 {
        return check_limits(source.folder(), &salvaged.state);
    }
    if let Some((seq, _)) = survey.newer {
        return Err(Failure::Failed(format!(
            "{folder} holds events of a newer version, the first is sequence number {seq}; use its \
             oicq-tools"
        )));
    }
    if let Some((seq, agreed)) = salvaged.made_otherwise() {
        return Err(Failure::Failed(format!(
            "{folder}: this build makes another state of the events {} to {seq} than the one that wrote them, and \
             starts no server on it; use that one, or for the state as this one makes it run: oicq-tools \
             repair {folder} OUT",
            agreed.next()
        )));
    }
    let places = count(places, "place", "places");
    let starts = if salvaged.opens() { "" } else { "a server does not start on it; " };
    Err(Failure::Failed(format!(
        "{folder} is damaged in {places}; {starts}to save what can be saved, run: oicq-tools repair \
         {folder} OUT"
    )))
}

/// Events beyond a limit are places that are damaged; what a base holds beyond one is no event any more.
fn check_limits(folder: &Path, state: &State) -> Result<(), Failure> {
    sense::check_state(state).map_err(|(user, beyond)| {
        let folder = folder.display();
        Failure::Failed(format!(
            "{folder}: the base holds what no server has decided, user {user}: {beyond}; a server starts on it all the \
             same"
        ))
    })
}

fn how(salvaged: &Salvaged) -> &'static str {
    if salvaged.places() == 0 { "whole" } else { "damaged" }
}

fn summary(survey: &Survey, salvaged: &Salvaged) -> String {
    let Survey { events, batches, files, last_read, .. } = survey;
    let counts = [
        count(*events, "event", "events"),
        count(*batches, "batch", "batches"),
        count(*files as u64, "file", "files"),
    ];
    let (how, bytes) = (how(salvaged), BinaryBytes(survey.bytes));
    format!("{how}: {}, {bytes}, last sequence number {last_read}", counts.join(", "))
}

fn summary_json(survey: &Survey, salvaged: &Salvaged) -> Value {
    json!({
        "result": how(salvaged),
        "events": survey.events,
        "batches": survey.batches,
        "bytes": survey.bytes,
        "files": survey.files,
        "last_seq": survey.last_read.0,
        "torn": torn_json(survey),
    })
}

#[cfg(test)]
mod tests {
    use oicq::codec::profile::Profile;
    use oicq::id::{Place, Seq, ServiceNumber, UnixMillis};
    use oicq::state::{Authentication, Event, Stamp};

    use super::*;

    #[test]
    fn a_user_beyond_a_limit_is_named_although_no_event_is() {
        let mut state = State::default();
        let long = [b'x'; 65];
        let told = [64, 65].map(|bytes| {
            let number = state.next_number().unwrap();
            let event = Event::Registered {
                number,
                authentication: Authentication::Open,
                password_hash: "$",
                profile: Profile { nickname: &long[..bytes], ..Profile::default() },
            };
            let seq = Seq(state.user_count() as u64 + 1);
            let stamp = Stamp { seq, time: UnixMillis(1), place: Place(0) };
            state.apply(stamp, &event, &mut |_| ()).unwrap();
            check_limits(Path::new("data"), &state)
        });
        let [Ok(()), Err(Failure::Failed(words))] = told else { panic!("{told:?}") };
        let user = ServiceNumber(10_002);
        assert!(words.starts_with("data: the base holds what no server has decided"), "{words}");
        assert!(words.contains(&format!("user {user}: nickname has 65 bytes")), "{words}");
    }
}
