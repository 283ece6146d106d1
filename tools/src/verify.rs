//! `oicq-tools verify`: reads every byte of a log, and says what is damaged, where, and what it touches.

use std::io::{self, Write};
use std::path::Path;

use indicatif::BinaryBytes;
use lexopt::Parser;
use oicq::cli::page::{Page, Row};
use oicq::id::Seq;
use oicq::log::{Damage, End, Reader, Resumed, Step, Torn};
use oicq::state::{RecordError, Stamp, State};
use serde_json::json;

use crate::failure::Failure;
use crate::options::{Format, folder_and_format};
use crate::source::{Source, failed, progress};

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
            "Reads every byte of the log in DIR, checks it, and applies every event as the server would. A \
             torn end, which is what a power cut leaves of the batch that was being written, counts as \
             whole: the server cuts it off at its next start. A server may be running on DIR.",
        )
        .section(
            "Options",
            vec![
                Row::new("--format FORMAT", "text, or json: one object a line").or("text"),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .note("Exit status: 0 the log is whole, 1 it is damaged or cannot be read.")
}

/// Something that is not as it should be.
enum Finding {
    /// Bytes are not as they were written.
    Damaged { damage: Damage, resumed: Resumed },
    /// An event is as it was written, and makes no sense.
    Nonsense { seq: Seq, error: RecordError },
}

#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
    torn: Option<Torn>,
    events: u64,
    batches: u64,
    bytes: u64,
    files: usize,
    last_seq: Seq,
}

fn verify(folder: &Path, format: Format) -> Result<(), Failure> {
    let source = Source::open(folder)?;
    let report = examine(&source)?;
    let mut out = io::stdout().lock();
    let written = match format {
        Format::Text => write_text(&report, &mut out),
        Format::Json => write_json(&report, &mut out),
    };
    written.map_err(|error| Failure::output(&error))?;
    match report.findings.len() {
        0 => Ok(()),
        places => {
            let places = count(places as u64, "place", "places");
            let folder = source.folder().display();
            Err(Failure::Failed(format!(
                "{folder} is damaged in {places}; a server does not start on it"
            )))
        }
    }
}

fn examine(source: &Source) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut reader = Reader::open(source.storage()).map_err(failed)?;
    report.files = reader.segments().len();
    let bar = progress(source.file_bytes());
    // Once something is missing the state is no longer what the events were decided on.
    let mut state = Some(State::default());
    loop {
        let damage = match reader.next_batch().map_err(failed)? {
            Step::Batch(batch) => {
                for record in batch.records() {
                    let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
                    report.events += 1;
                    report.last_seq = record.seq;
                    let error = match &mut state {
                        Some(state) => {
                            state.take_record(stamp, record.in_base, record.kind, record.payload)
                        }
                        None if record.in_base => Ok(()),
                        None => oicq::state::Event::decode(record.kind, record.payload)
                            .map(|_| ())
                            .map_err(RecordError::Event),
                    };
                    if let Err(error) = error {
                        report.findings.push(Finding::Nonsense { seq: record.seq, error });
                        state = None;
                    }
                }
                report.batches += 1;
                report.bytes += batch.header.total();
                bar.set_position(report.bytes);
                continue;
            }
            Step::End(End::Whole) => break,
            Step::End(End::Torn(torn)) => {
                report.torn = Some(torn);
                break;
            }
            Step::End(End::Damaged(damage)) => damage,
        };
        let resumed = reader.resume().map_err(failed)?;
        report.findings.push(Finding::Damaged { damage, resumed });
        state = None;
        if matches!(resumed, Resumed::Finished { .. }) {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(report)
}

/// What a piece of damage takes with it.
fn touches(first: Seq, resumed: Resumed) -> String {
    match resumed {
        Resumed::Intact => "no event is lost".to_owned(),
        Resumed::BaseLost { first, last: Some(last) } => {
            format!("records {first} to {last} of the base are lost")
        }
        Resumed::BaseLost { first, last: None } => {
            format!("all records of the base from {first} on are lost")
        }
        Resumed::Lost { first, last } if first == last => format!("event {first} is lost"),
        Resumed::Lost { first, last } => format!("events {first} to {last} are lost"),
        Resumed::Finished { durable } if durable >= first => {
            format!("events {first} to {durable}, and what came after, are lost")
        }
        Resumed::Finished { .. } => format!("all from event {first} on is lost"),
    }
}

fn write_text(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for finding in &report.findings {
        match finding {
            Finding::Damaged { damage, resumed } => {
                writeln!(out, "{damage}; {}", touches(damage.seq, *resumed))?;
            }
            Finding::Nonsense { seq, error } => writeln!(out, "sequence number {seq}: {error}")?,
        }
    }
    if let Some(torn) = &report.torn {
        let Torn { file, offset, bytes, after } = torn;
        let file = file.display();
        writeln!(
            out,
            "{file}: torn end of {bytes} bytes at offset {offset}, after sequence number {after}"
        )?;
    }
    let Report { events, batches, files, last_seq, .. } = report;
    let how = if report.findings.is_empty() { "whole" } else { "damaged" };
    let bytes = BinaryBytes(report.bytes);
    writeln!(
        out,
        "{how}: {}, {bytes}, last sequence number {last_seq}",
        [
            count(*events, "event", "events"),
            count(*batches, "batch", "batches"),
            count(*files as u64, "file", "files")
        ]
        .join(", ")
    )
}

fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

fn write_json(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for finding in &report.findings {
        let object = match finding {
            Finding::Damaged { damage, resumed } => {
                let (lost_first, lost_last) = match *resumed {
                    Resumed::Intact | Resumed::BaseLost { .. } => (None, None),
                    Resumed::Lost { first, last } => (Some(first.0), Some(last.0)),
                    Resumed::Finished { durable } => {
                        (Some(damage.seq.0), (durable >= damage.seq).then_some(durable.0))
                    }
                };
                json!({
                    "result": "damage",
                    "file": damage.file.display().to_string(),
                    "offset": damage.offset,
                    "seq": damage.seq.0,
                    "what": damage.what.to_string(),
                    "lost_first": lost_first,
                    "lost_last": lost_last,
                })
            }
            Finding::Nonsense { seq, error } => {
                json!({ "result": "nonsense", "seq": seq.0, "what": error.to_string() })
            }
        };
        writeln!(out, "{object}")?;
    }
    let torn = report.torn.as_ref().map(|torn| {
        json!({
            "file": torn.file.display().to_string(),
            "offset": torn.offset,
            "bytes": torn.bytes,
            "after": torn.after.0,
        })
    });
    let summary = json!({
        "result": if report.findings.is_empty() { "whole" } else { "damaged" },
        "events": report.events,
        "batches": report.batches,
        "bytes": report.bytes,
        "files": report.files,
        "last_seq": report.last_seq.0,
        "torn": torn,
    });
    writeln!(out, "{summary}")
}
