//! `oicq-tools compact`: makes one small file of a log's closed ones, with a server running or not.
//!
//! Owns the order of the steps as the user sees them: what is needed, progress, what came of it. The steps
//! themselves are the library's.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indicatif::{BinaryBytes, ProgressBar};
use lexopt::{Arg, Parser};
use oicq::black_box::{FOLDER, is_box_name};
use oicq::cli::page::{Page, Row, terminal_width};
use oicq::compaction::{CompactionError, KeepSince, Plan, collect, replaceable};
use oicq::id::Seq;
use oicq::log::{
    AppendError, DiskStorage, Durability, Lock, Log, OpenError, Options as LogOptions, Reader,
    Storage as _, discard,
};

use crate::failure::{Failure, print, tell};
use crate::options::{VERSION, answer, positional, required, text};
use crate::source::{Source, failed as failed_to_read, progress};
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
    drop_black_box: bool,
    dry_run: bool,
}

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    parse(parser)?.map_or(Ok(()), |options| compact(&options))
}

fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let mut folder: Option<OsString> = None;
    let (mut keep_since, mut drop_black_box, mut dry_run) = (None, false, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                return answer(parser, &page().render(terminal_width())).map(|()| None);
            }
            Arg::Short('V') | Arg::Long("version") => {
                return answer(parser, VERSION).map(|()| None);
            }
            Arg::Long("keep-since") => {
                keep_since = Some(point(&text(
                    parser,
                    "--keep-since",
                    "a sequence number, a date or a time",
                )?)?)
            }
            Arg::Long("drop-black-box") => drop_black_box = true,
            Arg::Short('n') | Arg::Long("dry-run") => dry_run = true,
            Arg::Value(value) => positional(&mut folder, value, "DIR")?,
            other => return Err(other.unexpected().into()),
        }
    }
    let folder = required(folder, "DIR, the folder of a log")?.into();
    Ok(Some(Options { folder, keep_since, drop_black_box, dry_run }))
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
                Row::new(
                    "--drop-black-box",
                    "compact what the black box needs too, and remove what it has recorded so far; a running server \
                     records again with its next file",
                ),
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
            "What the server has recorded of its latest input (the black box) can be replayed only on the events since \
             then: these are kept as they are, and how much that is is said. What was deleted or delivered since then \
             is in the recording, too.",
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
    if folder.is_file() {
        return failed(folder, "is a file that was packed; a folder can be compacted");
    }
    let source = Source::open(folder)?;
    let mut storage = DiskStorage::read_only(folder);
    let points = Points::find(&source, options)?;
    if options.dry_run {
        points.tell(&storage)?;
        return match plan(&source, &storage, &points)? {
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
    if points.is_last_file_free(&storage)? {
        close_last(folder)?;
    }
    points.tell(&storage)?;
    let Some(plan) = plan(&source, &storage, &points)? else {
        drop_black_box(options)?;
        return nothing(folder);
    };
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
    drop_black_box(options)?;
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

/// From where on the history is kept.
struct Points {
    /// As was asked for.
    asked: Option<KeepSince>,
    /// The first event that the black box needs.
    black_box: Option<Seq>,
}

impl Points {
    fn find(source: &Source, options: &Options) -> Result<Self, Failure> {
        let black_box = match options.drop_black_box {
            true => None,
            false => needed_by_black_box(source)?,
        };
        Ok(Self { asked: options.keep_since, black_box })
    }

    fn all(&self) -> impl Iterator<Item = KeepSince> {
        self.asked.into_iter().chain(self.black_box.map(KeepSince::Seq))
    }

    /// Whether the file that a server would append to need not be kept.
    fn is_last_file_free(&self, storage: &DiskStorage) -> Result<bool, Failure> {
        let reader = Reader::open(storage).map_err(failed_to_read)?;
        let needed = self.black_box;
        let reach = needed.map(|_| reader.reach()).transpose().map_err(failed_to_read)?;
        Ok(self.asked.is_none() && needed.zip(reach).is_none_or(|(needed, reach)| needed > reach))
    }

    /// Says how much is kept for the black box alone.
    fn tell(&self, storage: &DiskStorage) -> Result<(), Failure> {
        let Some(seq) = self.black_box else { return Ok(()) };
        let without = replaceable(storage, self.asked).map_err(failed_to_read)?;
        let with = replaceable(storage, self.all()).map_err(failed_to_read)?;
        let kept = without.get(with.len()..).unwrap_or_default();
        if !kept.is_empty() {
            let bytes: u64 = kept.iter().map(|segment| segment.len).sum();
            let (count, bytes) = (files(kept.len()), BinaryBytes(bytes));
            tell(format_args!(
                "keeps {count}, {bytes}, for the black box, which needs the events from {seq} on; \
                 --drop-black-box compacts them too"
            ));
        }
        Ok(())
    }
}

/// The first event that the black box needs, if it holds something that can be replayed.
fn needed_by_black_box(source: &Source) -> Result<Option<Seq>, Failure> {
    let folder = source.folder().join(FOLDER);
    let unread = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!(
            "cannot read {}: {error}; --drop-black-box compacts without it",
            folder.display()
        ))
    };
    let recording = source.recording().map_err(|error| unread(&error))?;
    let reader = Reader::open(source.storage()).map_err(failed_to_read)?;
    let header = reader.peek_header(0).map_err(failed_to_read)?;
    let Some(log_id) = header.map(|header| header.log_id) else { return Ok(None) };
    recording.needs_from(log_id, source.base_seq()?).map_err(|error| unread(&error))
}

/// Removes what was recorded, where that is asked for.
fn drop_black_box(options: &Options) -> Result<(), Failure> {
    let folder = options.folder.join(FOLDER);
    let shown = folder.display();
    let cannot = |error| Failure::Failed(format!("cannot remove what is in {shown}: {error}"));
    let entries = match options.drop_black_box.then(|| fs::read_dir(&folder)) {
        None => return Ok(()),
        Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Some(entries) => entries.map_err(cannot)?,
    };
    let mut removed = 0;
    for entry in entries {
        let path = entry.map_err(cannot)?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(is_box_name) {
            match fs::remove_file(&path) {
                // The server has been faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                answer => {
                    answer.map_err(cannot)?;
                    removed += 1;
                }
            }
        }
    }
    if removed > 0 {
        tell(format_args!("removed {} of the black box", files(removed)));
    }
    Ok(())
}

fn plan(source: &Source, storage: &DiskStorage, points: &Points) -> Result<Option<Plan>, Failure> {
    let bar = progress(source.file_bytes());
    let plan = Plan::new(storage, points.all(), |bytes| bar.set_position(bytes));
    bar.finish_and_clear();
    let plan = plan.map_err(|error| explain(source.folder(), &error))?;
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
    tell(format_args!("takes {needs} of {has} of free room until the old files are removed"));
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
    let reader = Reader::open(&storage).map_err(failed_to_read)?;
    let last = reader.segments().len().saturating_sub(1);
    let Some(header) = reader.peek_header(last).map_err(failed_to_read)? else {
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
                tell(format_args!(
                    "cut off a torn end of {bytes} bytes after sequence number {after}, kept in {saved}"
                ));
            }
            match log.roll() {
                Ok(true) => {
                    let size = BinaryBytes(header.size);
                    tell(format_args!(
                        "no server runs: the last file is closed, the next one takes {size}"
                    ));
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
