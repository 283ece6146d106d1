//! `oicq-tools backup`: a copy of a log as of one sequence number, brought up to date when it is run again.
//!
//! Owns which folders are taken, progress, and what is printed. The copying itself is the library's.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use indicatif::{BinaryBytes, ProgressBar};
use lexopt::Parser;
use oicq::cli::page::{Page, Row};
use oicq::id::Seq;
use oicq::log::backup::{BackupError, Copied, Refusal, Stage, Survey};
use oicq::log::{DiskStorage, Doing, End, Failed, Reader, Step};
use oicq::state::{Digest, Stamp, State};
use serde_json::json;

use crate::failure::{Failure, print, tell};
use crate::options::{Format, places_and_format};
use crate::source::{Source, failed, progress};

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR OUT";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str = "a copy as of one sequence number; a server may be running";

/// A log can be compacted so many times while it is being copied before that is given up.
const TRIES: usize = 5;

/// The lowest priority: who waits for the server goes first.
const NICE: i32 = 19;

/// The bar is moved on in steps of so many bytes: a batch can be a hundred of them.
const BYTES_PER_LOOK: u64 = 256 << 10;

struct Options {
    folder: PathBuf,
    out: PathBuf,
    format: Format,
}

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    parse(parser)?.map_or(Ok(()), |options| backup(&options))
}

fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let places = ["DIR, the folder of a log", "OUT, the folder for the copy"];
    let taken = places_and_format(parser, page, "DIR and OUT", places, |_| false)?;
    Ok(taken.map(|([folder, out], format)| Options { folder, out, format }))
}

fn page() -> Page {
    Page::new("oicq-tools backup DIR OUT [OPTIONS]")
        .about(
            "Makes OUT a copy of the log in DIR, as of its last sequence number when the command began, and \
             prints that number with the digest of the state. A server may be running on DIR. Run again, it \
             copies only what is new since then. oicqd --data OUT starts on the copy.",
        )
        .section(
            "Options",
            vec![
                Row::new("--format FORMAT", "text, or json: one object").or("text"),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .note(
            "OUT is made if it is not there. It may hold nothing but an earlier copy of the same log: no other \
             file, no other log, and nothing that a server has added to the copy. Torn ends that were cut off \
             and the black box are not copied.",
        )
        .note(
            "Where DIR was compacted since the last time, OUT is too: history that is to be kept wants a folder \
             of its own.",
        )
        .note(
            "It can be stopped at any time and run again. In the end all of OUT is read back; the digest is \
             the one that replay --digest shows.",
        )
        .note(
            "In JSON the object has seq, digest, events, bytes (of the log), bytes_copied, files and \
             files_copied.",
        )
}

fn backup(options: &Options) -> Result<(), Failure> {
    // Whether it is allowed or not, it only makes the work kinder.
    let _ = rustix::process::nice(NICE);
    let Options { folder, out, format } = options;
    let source = Source::open(folder)?;
    check_places(folder, out)?;
    let Done { survey, copied, _locked } = copy(&source, out)?;
    let digest = read_back(out, survey.last_seq)?;
    let (seq, Copied { bytes, bytes_all, files, files_all }) = (survey.last_seq, copied);
    if *format == Format::Json {
        return print(&format!(
            "{}\n",
            json!({
                "seq": seq.0,
                "digest": digest.to_string(),
                "events": survey.events,
                "bytes": bytes_all,
                "bytes_copied": bytes,
                "files": files_all,
                "files_copied": files,
            })
        ));
    }
    let (bytes, bytes_all) = (BinaryBytes(bytes), BinaryBytes(bytes_all));
    tell(format_args!("copied {bytes} of {bytes_all}, {files} of {files_all} files"));
    print(&format!("digest {digest} seq {seq}\n"))
}

/// A copy that was made. Nobody else writes to its folder yet.
struct Done {
    survey: Survey,
    copied: Copied,
    _locked: DiskStorage,
}

/// Neither folder may be the other one or lie in it.
fn check_places(folder: &Path, out: &Path) -> Result<(), Failure> {
    let real = |path: &Path| {
        let cannot = |error| Failure::cannot("read", path.display(), &error);
        path.canonicalize().map_err(cannot)
    };
    let folder = real(folder)?;
    let above = out.ancestors().find(|path| path.symlink_metadata().is_ok());
    let above = above.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_there = above == out;
    let above = real(above)?;
    if above.starts_with(&folder) || (is_there && folder.starts_with(&above)) {
        return Err(refused(out, "it is the folder of the log, lies in it or holds it"));
    }
    Ok(())
}

fn refused(out: &Path, why: &str) -> Failure {
    Failure::Failed(format!("{}: {why}; name another folder", out.display()))
}

/// Copies, again from the beginning where the log was compacted meanwhile.
fn copy(source: &Source, out: &Path) -> Result<Done, Failure> {
    let mut tries = TRIES;
    loop {
        let mut shown = Shown::new(Stage::Reading, 0);
        let done = try_copy(source, out, &mut shown);
        shown.bar.finish_and_clear();
        match done {
            Err(BackupError::Changed) if tries > 1 => tries -= 1,
            done => return done.map_err(|error| explain(source, out, &error)),
        }
    }
}

/// What is being done, and the bar for it.
struct Shown {
    stage: Stage,
    bar: ProgressBar,
    /// Less than this is not worth a look at the bar.
    due: u64,
}

impl Shown {
    fn new(stage: Stage, all: u64) -> Self {
        Self { stage, bar: progress(all), due: 0 }
    }

    fn show(&mut self, stage: Stage, done: u64, all: u64) {
        if stage != self.stage {
            self.bar.finish_and_clear();
            *self = Self::new(stage, all);
        }
        if done >= self.due {
            self.bar.set_length(all);
            self.bar.set_position(done);
            self.due = done + BYTES_PER_LOOK;
        }
    }
}

fn try_copy(source: &Source, out: &Path, shown: &mut Shown) -> Result<Done, BackupError> {
    let mut watch = |stage, done, all| shown.show(stage, done, all);
    let survey = Survey::of(source.storage(), &mut watch)?;
    let unlocked = DiskStorage::read_only(out);
    let at_out = |doing| Failed::at(&unlocked, "", doing);
    if let Some(names) = names(out).map_err(at_out(Doing::List))? {
        // A name that is no text is none of a log's.
        if let Some(name) = names.iter().find(|name| name.to_str().is_none()) {
            let why = Refusal::Stranger(name.to_string_lossy().into_owned());
            return Err(BackupError::Refused { folder: out.to_path_buf(), why });
        }
        survey.check(&unlocked)?;
    }
    let mut storage = DiskStorage::create(out).map_err(at_out(Doing::Create))?;
    let copied = survey.copy_into(source.storage(), &mut storage, &mut watch)?;
    Ok(Done { survey, copied, _locked: storage })
}

/// What is in the folder for the copy, `None` if it is not there.
fn names(out: &Path) -> io::Result<Option<Vec<OsString>>> {
    let entries = match std::fs::read_dir(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>().map(Some)
}

fn explain(source: &Source, out: &Path, error: &BackupError) -> Failure {
    let folder = source.folder().display();
    match error {
        BackupError::Damaged(_) => {
            Failure::Failed(format!("{error}; run: oicq-tools verify {folder}"))
        }
        BackupError::Refused { why: Refusal::InUse, .. } => Failure::Failed(error.to_string()),
        BackupError::Refused { why, .. } => refused(out, &why.to_string()),
        BackupError::Changed => Failure::Failed(format!("{folder}: {error}")),
        BackupError::Read(_) | BackupError::Storage(_) => Failure::Failed(error.to_string()),
    }
}

/// Reads the copy, which proves that a server can do so; the digest of its state.
fn read_back(out: &Path, last_seq: Seq) -> Result<Digest, Failure> {
    let wrong = |what: &dyn std::fmt::Display| {
        Failure::Failed(format!("{}: the copy cannot be used: {what}", out.display()))
    };
    let source = Source::open(out)?;
    let bar = progress(source.file_bytes());
    let mut reader = Reader::open(source.storage()).map_err(failed)?;
    let (mut state, mut bytes) = (State::default(), 0);
    let end = loop {
        let batch = match reader.next_batch().map_err(failed)? {
            Step::Batch(batch) => batch,
            Step::End(end) => break end,
        };
        bytes += batch.header.total();
        bar.set_position(bytes);
        for record in batch.records() {
            let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
            let taken = state.take_record(stamp, record.in_base, record.kind, record.payload);
            taken.map_err(|error| wrong(&format!("sequence number {}: {error}", record.seq)))?;
        }
    };
    bar.finish_and_clear();
    match end {
        End::Damaged(damage) => Err(wrong(&damage)),
        End::Torn(torn) => Err(wrong(&format!("{} has a torn end", torn.file.display()))),
        End::Whole if state.last_seq() != last_seq => {
            Err(wrong(&format!("it ends with sequence number {}", state.last_seq())))
        }
        End::Whole => Ok(state.digest()),
    }
}
