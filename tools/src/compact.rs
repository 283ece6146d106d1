//! `oicq-tools compact`: makes one small file of a log's closed ones, with a server running or not.
//!
//! Owns the order of the steps as the user sees them: what is needed, progress, what came of it. The steps
//! themselves are the library's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use indicatif::{BinaryBytes, ProgressBar};
use lexopt::{Arg, Parser, ValueExt as _};
use oicq::cli::page::{Page, Row, terminal_width};
use oicq::compaction::{CompactionError, KeepSince, Plan, collect};
use oicq::id::Seq;
use oicq::log::{
    AppendError, DiskStorage, Durability, Lock, Log, OpenError, Options as LogOptions, Reader,
    Storage as _, discard,
};

use crate::failure::{Failure, print};
use crate::options::{VERSION, answer, positional, required};
use crate::source::{Source, progress};
use crate::times;

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str =
    "rewrite the closed log files so that they hold what still counts; a server may be running";

/// The lowest priority: who waits for the server goes first.
const NICE: i32 = 19;

struct Options {
    folder: PathBuf,
    keep_since: Option<KeepSince>,
    dry_run: bool,
}

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    parse(parser)?.map_or(Ok(()), |options| compact(&options))
}

fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let mut folder: Option<OsString> = None;
    let (mut keep_since, mut dry_run) = (None, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                return answer(parser, &page().render(terminal_width())).map(|()| None);
            }
            Arg::Short('V') | Arg::Long("version") => {
                return answer(parser, VERSION).map(|()| None);
            }
            Arg::Long("keep-since") => keep_since = Some(point(&parser.value()?.string()?)?),
            Arg::Short('n') | Arg::Long("dry-run") => dry_run = true,
            Arg::Value(value) => positional(&mut folder, value, "DIR")?,
            other => return Err(other.unexpected().into()),
        }
    }
    let folder = required(folder, "DIR, the folder of a log")?.into();
    Ok(Some(Options { folder, keep_since, dry_run }))
}

/// A sequence number, a date or a time.
fn point(text: &str) -> Result<KeepSince, Failure> {
    if let Ok(seq) = text.parse() {
        return Ok(KeepSince::Seq(Seq(seq)));
    }
    times::parse(text).map(KeepSince::Time).ok_or_else(|| {
        let error = format!("{text:?} was given, expected a sequence number, or {}", times::FORMS);
        Failure::option("--keep-since", error)
    })
}

fn page() -> Page {
    Page::new("oicq-tools compact DIR [OPTIONS]")
        .about(
            "Makes one file of the closed files of the log in DIR, which holds the users, groups, friends, \
             waiting messages and the record of monitoring as they are at the end of those files. What was \
             deleted or delivered is gone from the bytes afterwards. A server may be running on DIR, and goes \
             on without a restart; its last file, which it appends to, is left as it is. Without a server the \
             last file is closed first, and no server can be started during that.",
        )
        .section(
            "Options",
            vec![
                Row::new(
                    "--keep-since POINT",
                    "keep the events from there on as they are: a sequence number, or a date or time in UTC",
                )
                .or("compact all that is closed"),
                Row::new("-n, --dry-run", "say what it would take and save, and change nothing"),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .note(
            "The history of what is compacted is gone: replay cannot show these events any more, nor the state \
             between them. Make a backup first if you want to keep them.",
        )
        .note(
            "The state's digest is compared before the files change places. It can be stopped at any time and run \
             again: the log is whole with or without it. It says beforehand how much room it takes on the disk.",
        )
}

fn compact(options: &Options) -> Result<(), Failure> {
    // Whether it is allowed or not, it only makes the work kinder.
    let _ = rustix::process::nice(NICE);
    let folder = &options.folder;
    let source = Source::open(folder)?;
    let mut storage = DiskStorage::read_only(folder);
    if options.dry_run {
        return match plan(&source, &storage, options)? {
            Some(plan) => print(&format!(
                "would make {} of {}, {}, {} events, up to sequence number {}\n",
                BinaryBytes(plan.needed()),
                files(plan.replaced_files()),
                BinaryBytes(plan.replaced_bytes()),
                plan.events(),
                plan.seq()
            )),
            None => nothing(folder),
        };
    }
    match storage.lock(Lock::Compaction) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            return failed(folder, "is being compacted already; wait for that");
        }
        locked => locked.map_err(|error| {
            Failure::Failed(format!("{}: cannot be locked: {error}", folder.display()))
        })?,
    }
    discard(&storage);
    collect(&storage).map_err(|error| explain(folder, &error))?;
    if options.keep_since.is_none() {
        close_last(folder)?;
    }
    let Some(plan) = plan(&source, &storage, options)? else { return nothing(folder) };
    let needed = plan.needed();
    check_room(folder, needed)?;
    let (seq, digest, events) = (plan.seq(), plan.digest(), plan.events());
    let replaced = (files(plan.replaced_files()), BinaryBytes(plan.replaced_bytes()));
    let words = |error: CompactionError| explain(folder, &error);
    let bar = progress(needed);
    let draft = plan.write(&storage, |bytes| bar.set_position(bytes)).map_err(words)?;
    let bar = renewed(&bar, needed);
    let checked = draft.check(&storage, |bytes| bar.set_position(bytes)).map_err(words)?;
    bar.finish_and_clear();
    checked.publish(&storage).map_err(words)?;
    print(&format!(
        "compacted {}, {}, {events} events up to sequence number {seq}, into {}\ndigest {digest} seq {seq}\n",
        replaced.0,
        replaced.1,
        BinaryBytes(needed),
    ))
}

fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn renewed(bar: &ProgressBar, bytes: u64) -> ProgressBar {
    bar.finish_and_clear();
    progress(bytes)
}

fn plan(
    source: &Source,
    storage: &DiskStorage,
    options: &Options,
) -> Result<Option<Plan>, Failure> {
    let bar = progress(source.file_bytes());
    let plan = Plan::new(storage, options.keep_since, |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let plan = plan.map_err(|error| explain(&options.folder, &error))?;
    // A log of little but what still counts can be smaller than its state.
    Ok(plan.filter(|plan| plan.needed() < plan.replaced_bytes()))
}

fn nothing(folder: &Path) -> Result<(), Failure> {
    print(&format!("{}: nothing to compact\n", folder.display()))
}

fn failed<T>(folder: &Path, words: &str) -> Result<T, Failure> {
    Err(Failure::Failed(format!("{} {words}", folder.display())))
}

fn explain(folder: &Path, error: &CompactionError) -> Failure {
    let folder = folder.display();
    Failure::Failed(match error {
        CompactionError::Damaged(_) | CompactionError::Record { .. } => {
            format!("{error}; run: oicq-tools verify {folder}")
        }
        CompactionError::Text { .. } | CompactionError::Differs { .. } => {
            format!("{folder}: {error}; the log is as it was")
        }
        CompactionError::Read(_) | CompactionError::Storage(_) => error.to_string(),
    })
}

/// Says how much room is needed, and whether there is as much.
fn check_room(folder: &Path, needed: u64) -> Result<(), Failure> {
    let free = free_room(folder);
    let (needs, has) = (BinaryBytes(needed), BinaryBytes(free));
    if needed > free {
        let words = format!("needs {needs} of free room to be compacted, and has {has}");
        return failed(folder, &words);
    }
    eprintln!("oicq-tools: takes {needs} of {has} of free room until the old files are removed");
    Ok(())
}

fn free_room(folder: &Path) -> u64 {
    let system = rustix::fs::statvfs(folder);
    // Where the system does not tell, trying it is the only way to know.
    system.map_or(u64::MAX, |system| system.f_bavail.saturating_mul(system.f_frsize))
}

/// Closes the file that no server appends to, so that it is compacted with the others. Where that cannot be
/// done it stays as it is.
fn close_last(folder: &Path) -> Result<(), Failure> {
    let mut storage = DiskStorage::read_only(folder);
    if storage.lock(Lock::Server).is_err() {
        return Ok(());
    }
    storage.unlock(Lock::Server);
    let reader = Reader::open(&storage).map_err(crate::source::failed)?;
    let last = reader.segments().len().saturating_sub(1);
    let Some(header) = reader.peek_header(last).map_err(crate::source::failed)? else {
        // Whoever reads the log says what is wrong with it.
        return Ok(());
    };
    if header.is_base {
        return Ok(());
    }
    let options = LogOptions {
        segment_size: header.size,
        durability: Durability::Always,
        charset: header.charset,
    };
    if header.size > free_room(folder) {
        return Ok(());
    }
    let nothing = |_: &oicq::log::Record<'_>| Ok::<_, std::convert::Infallible>(());
    let storage = DiskStorage::read_only(folder);
    match Log::open(storage, options, header.log_id, header.created, nothing) {
        Ok((mut log, recovery)) => {
            if let Some((torn, saved)) = recovery.torn {
                let (bytes, after, saved) = (torn.bytes, torn.after, saved.display());
                eprintln!(
                    "oicq-tools: cut off a torn end of {bytes} bytes after sequence number {after}, kept in {saved}"
                );
            }
            match log.roll() {
                Ok(true) => {
                    let size = BinaryBytes(header.size);
                    eprintln!(
                        "oicq-tools: no server runs: the last file is closed, the next one takes {size}"
                    );
                }
                Ok(false) | Err(AppendError::Full) => {}
                Err(error) => return Err(Failure::Failed(error.to_string())),
            }
            log.close().map_err(|error| Failure::Failed(error.to_string()))
        }
        // A server that has just started, or damage, which the plan says with its place.
        Err(OpenError::InUse { .. } | OpenError::Damaged(_)) => Ok(()),
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}
