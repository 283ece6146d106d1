//! `oicq-tools pack`: one file with what a replay needs, to be kept or sent to somebody.
//!
//! Owns the order of the steps and what is printed. What the file looks like stands in `archive`, how texts are
//! left out in `redact`.

mod archive;
mod log;
mod redact;

use std::path::{Path, PathBuf};

use indicatif::BinaryBytes;
use lexopt::Parser;
use oicq::black_box::{FOLDER, History, Recording};
use oicq::cli::page::{Page, Row};
use oicq::id::Seq;
use oicq::log::Reader;
use oicq::log::format::SegmentHeader;
use serde_json::json;

use crate::black_box::{history, unreplayed};
use crate::ending::Temporary;
use crate::failure::{Failure, print};
use crate::options::{Format, places_and_format};
use crate::private;
use crate::source::{Source, failed, progress};

pub(crate) use archive::unpack;
use log::PackedLog;

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR OUT";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str =
    "one file with what a replay needs; --redact leaves texts and profiles out";

struct Options {
    folder: PathBuf,
    out: PathBuf,
    is_redacted: bool,
    format: Format,
}

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    parse(parser)?.map_or(Ok(()), |options| pack(&options))
}

fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let mut is_redacted = false;
    let flag = |name: &str| {
        is_redacted |= name == "redact";
        name == "redact"
    };
    let places = ["DIR, the folder of a log", "OUT, the file to make"];
    let taken = places_and_format(parser, page, "DIR and OUT", places, flag)?;
    Ok(taken.map(|([folder, out], format)| Options { folder, out, is_redacted, format }))
}

fn page() -> Page {
    Page::new("oicq-tools pack DIR OUT [OPTIONS]")
        .about(
            "Makes the file OUT of what is needed to replay what happened last: the recording of the server's latest \
             input (the black box), the state that it begins from, and the events of the log since then. Without a \
             recording it is all of the log. A server may be running on DIR. Where other commands take a folder to \
             read, they take OUT as well: oicq-tools replay --black-box OUT.",
        )
        .section(
            "Options",
            vec![
                Row::new(
                    "--redact",
                    "leave out what users have written: fillers of the same length stand in its place, and OUT still \
                     replays, which is tried before it is made",
                ),
                Row::new("--format FORMAT", "text, or json: one object").or("text"),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .note(
            "--redact leaves out messages, reasons of friend requests, files and their names, profiles, the names of \
             groups, statements of searches, and the hashes of passwords. Who did what with whom and when, lengths, \
             the numbers in profiles, and the addresses of connections stay. Equal names get equal fillers. A \
             recording that goes differently when it is replayed is not redacted: fillers would hide why.",
        )
        .note(
            "Passwords are in neither; without --redact their hashes are. OUT is a gzip-compressed tar archive with \
             the log's files and the folder black-box, closed to other users; OUT may not exist.",
        )
        .note("In JSON the object has file, bytes, redacted, first_seq, last_seq and recorded_files.")
}

fn pack(options: &Options) -> Result<(), Failure> {
    let Options { folder, out, is_redacted, format } = options;
    let source = Source::open(folder)?;
    // Before the work, so that it is not in vain; the file itself is refused once more.
    if out.symlink_metadata().is_ok() {
        return Err(archive::exists(out));
    }
    let made = Temporary::new()?;
    let packed = match is_redacted {
        true => redact::pack(&source, made.path())?,
        false => copy(&source, made.path())?,
    };
    let bytes = archive::write(made.path(), out)?;
    let Packed { first, last, files } = packed;
    if *format == Format::Json {
        let object = json!({
            "file": out.display().to_string(),
            "bytes": bytes,
            "redacted": is_redacted,
            "first_seq": first.0,
            "last_seq": last.0,
            "recorded_files": files,
        });
        return print(&format!("{object}\n"));
    }
    let events = match first > last {
        true => format!("the state at {last}"),
        false => format!("events {first} to {last}"),
    };
    let recorded = if files == 0 { "no recording" } else { "the recording" };
    let (out, bytes) = (out.display(), BinaryBytes(bytes));
    print(&format!("packed into {out}, {bytes}: {events}, {recorded}\n"))
}

/// What was packed.
struct Packed {
    /// The first event of the log that is in it.
    first: Seq,
    last: Seq,
    /// Files of the recording.
    files: usize,
}

/// What a log is known by: the header of its first file.
fn header(source: &Source) -> Result<SegmentHeader, Failure> {
    let reader = Reader::open(source.storage()).map_err(failed)?;
    let header = reader.peek_header(0).map_err(failed)?;
    header.ok_or_else(|| {
        let folder = source.folder().display();
        Failure::Failed(format!(
            "{folder}: its first file has no header; run: oicq-tools verify {folder}"
        ))
    })
}

/// The first event that is packed, and the state before it lies at the base or behind.
fn first_event(source: &Source, recording: &Recording, log_id: u64) -> Result<Seq, Failure> {
    let base = source.base_seq()?;
    let needed = recording.needs_from(log_id, base);
    let needed = needed.map_err(|error| unreplayed(source, &error))?;
    Ok(needed.unwrap_or_else(|| base.next()))
}

fn opened(source: &Source) -> Result<Recording, Failure> {
    let folder = source.folder().join(FOLDER);
    source.recording().map_err(|error| Failure::cannot("read", folder.display(), &error))
}

/// Copies everything as it is.
fn copy(source: &Source, to: &Path) -> Result<Packed, Failure> {
    let header = header(source)?;
    // Before the log: what is in the log later than in the recording does no harm.
    let recording = opened(source)?;
    let first = first_event(source, &recording, header.log_id)?;
    let mut files = 0;
    for file in recording.files() {
        let is_needed = file.header.seq.next() >= first && file.header.log_id == header.log_id;
        let cannot =
            |error| Failure::Failed(format!("cannot copy {}: {error}", file.path.display()));
        let bytes = if is_needed { file.bytes().map_err(cannot)? } else { Vec::new() };
        if let (Some(name), false) = (file.path.file_name(), bytes.is_empty()) {
            let folder = to.join(FOLDER);
            private::folder(&folder).map_err(cannot)?;
            private::write(&folder.join(name), &bytes).map_err(cannot)?;
            files += 1;
        }
    }
    let bar = progress(source.file_bytes());
    let mut history = history(source, Default::default(), &bar)?;
    let unread = |error| unreplayed(source, &oicq::black_box::ReplayError::History(error));
    let before = Seq(first.0 - 1);
    let state = history.state_at(before).map_err(unread)?;
    let state = state.ok_or_else(|| failed(oicq::log::ReadError::Compacted))?;
    let mut records = Vec::new();
    if before > Seq::ZERO {
        let text = |waiting: &oicq::state::Waiting, out: &mut Vec<u8>| {
            history.read(waiting.place, waiting.length, out).map_err(unread)
        };
        state.keep(state.digest(), text, |kind, payload| {
            records.push((kind, payload.to_vec()));
            Ok(())
        })?;
    }
    let mut packed = PackedLog::begin(to, &header, before, state.last_time(), &records)?;
    while let Some(logged) = history.peek().map_err(unread)? {
        packed.append(logged.time, logged.kind, &logged.payload)?;
        history.take().map_err(unread)?;
    }
    bar.finish_and_clear();
    let last = packed.finish()?;
    Ok(Packed { first, last, files })
}
