//! `oicq-tools replay --black-box`: runs the recorded input of a server again, on the state that the log gives, and
//! compares every output and every event.
//!
//! Owns the order: what is asked for, the run, and what is said at its end. What is told on the way stands in
//! `dialogue`, what came of it in `outcome`; the replay itself is the library's.

mod connections;
mod dialogue;
mod outcome;
mod said;

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use indicatif::ProgressBar;
use oicq::black_box::{
    Actual, BoxFile, Ended, FOLDER, History, HistoryError, LogHistory, Observer, Recording, Replay,
    ReplayError, Step,
};
use oicq::engine::Engine;
use oicq::id::{Seq, ServiceNumber};

use crate::failure::Failure;
use crate::options::Format;
use crate::paint::Paint;
use crate::source::{Nobody, PROGRESS_STEP, Source, Until, progress};
use crate::state_view;

pub(crate) use connections::{Name, Names};
use dialogue::{Seen, Watcher};
pub(crate) use said::frames;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) folder: PathBuf,
    /// The last step that is taken.
    pub(crate) until: u64,
    pub(crate) pick: Pick,
    /// The whole state is shown, as it is behind the last step.
    pub(crate) shows_state: bool,
    pub(crate) format: Format,
}

/// Whose dialogue is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pick {
    Nobody,
    Connection(Name),
    User(ServiceNumber),
}

/// Runs the recording of a folder.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let source = Source::open(&options.folder)?;
    let recording = recording(&source)?;
    let paint = Paint::on(&io::stdout());
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut watcher = Watcher::new(options, paint, &mut out);
    let ended = replayed(&source, &recording, &mut watcher)?;
    let seen = watcher.finish()?;
    let said = outcome::write(options, &seen, &ended, &mut out)?;
    if options.shows_state
        && let Some(engine) = ended.engine.as_ref().filter(|_| ended.difference.is_none())
    {
        write_state(options, &source, engine.state().last_seq(), paint, &mut out)?;
    }
    out.flush().map_err(|error| Failure::output(&error))?;
    said.and_then(|()| check_pick(options.pick, &source, &seen, &ended))
}

/// Writes the state, which is that of the log: every event of the steps was compared with it.
fn write_state(
    options: &Options,
    source: &Source,
    seq: Seq,
    paint: Paint,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let outcome = source.watch(Until { seq, ..Until::END }, &mut Nobody)?;
    let last = outcome.state.last_seq();
    if last < seq {
        let (folder, first) = (source.folder().display(), last.next());
        let error =
            format!("{folder}: the server ended before events {first} to {seq} were on disk");
        return Err(Failure::Failed(error));
    }
    let written =
        state_view::write(source, &outcome, &BTreeSet::new(), options.format, paint, out)?;
    written.map_err(|error| Failure::output(&error))
}

/// Whom nothing can be told of because of a slip of the pen.
fn check_pick(pick: Pick, source: &Source, seen: &Seen, ended: &Ended) -> Result<(), Failure> {
    match (pick, &ended.engine) {
        (Pick::Connection(name), _) if !seen.has_told => {
            let folder = source.folder().display();
            Err(Failure::Failed(format!("{folder}: nothing is recorded of a connection {name}")))
        }
        (Pick::User(number), Some(engine)) if !seen.has_told => {
            source.check_user(number, engine.state())
        }
        _ => Ok(()),
    }
}

/// The recording of a folder, which must have one.
pub(crate) fn recording(source: &Source) -> Result<Recording, Failure> {
    let folder = source.folder().join(FOLDER);
    let shown = folder.display();
    let recording = source.recording().map_err(|error| Failure::cannot("read", &shown, &error))?;
    match (recording.files(), recording.unreadable()) {
        ([], []) => Err(Failure::Failed(format!(
            "{shown}: there is no recording here; a server keeps one unless it was started with --black-box 0"
        ))),
        ([], [first, ..]) => Err(Failure::Failed(first.to_string())),
        _ => Ok(recording),
    }
}

/// Runs a recording while somebody looks on. Where the engine crashes, its own message comes first.
fn replayed<W: Write>(
    source: &Source,
    recording: &Recording,
    watcher: &mut Watcher<'_, W>,
) -> Result<Ended, Failure> {
    let wanted = recording.texts_wanted().map_err(|error| unreplayed(source, &error))?;
    let bar = progress(source.file_bytes() + recording.bytes());
    watcher.stand_beside(&bar);
    let history = history(source, wanted, &bar)?;
    let replay = Replay::new(recording, history).telling(advancing(&bar));
    // What the engine was doing is told by the step alone: nothing of a crashed one is looked at again.
    let run = AssertUnwindSafe(|| replay.run(&mut *watcher));
    let ended = catch_unwind(run).map_err(|_| watcher.crashed())?;
    bar.finish_and_clear();
    ended.map_err(|error| unreplayed(source, &error))
}

/// Runs a recording for a question, which a difference does not end, but a crash does.
pub(crate) fn run_through(
    source: &Source,
    recording: &Recording,
    observer: &mut impl Observer,
) -> Result<Ended, Failure> {
    let unreplayed = |error: ReplayError| unreplayed(source, &error);
    let wanted = recording.texts_wanted().map_err(unreplayed)?;
    let bar = progress(source.file_bytes() + recording.bytes());
    let history = history(source, wanted, &bar)?;
    let replay = Replay::new(recording, history).telling(advancing(&bar));
    let mut counted = AtStep { observer, step: 0 };
    // The step is all that is looked at afterwards.
    let ended = catch_unwind(AssertUnwindSafe(|| replay.run(&mut counted)));
    bar.finish_and_clear();
    let crashed = |_| {
        let (folder, step) = (source.folder().display(), counted.step);
        Failure::Failed(format!(
            "{folder}: the engine has crashed at step {step}; see oicq-tools replay --black-box {folder}"
        ))
    };
    ended.map_err(crashed)?.map_err(unreplayed)
}

/// Knows the step at hand.
struct AtStep<'o, O> {
    observer: &'o mut O,
    step: u64,
}

impl<O: Observer> Observer for AtStep<'_, O> {
    fn begin(&mut self, file: &BoxFile, engine: &Engine) {
        self.observer.begin(file, engine);
    }

    fn before(&mut self, step: &Step<'_>, engine: &Engine) -> ControlFlow<()> {
        self.step = step.number;
        self.observer.before(step, engine)
    }

    fn after(&mut self, number: u64, actual: &Actual<'_>, engine: &Engine) {
        self.observer.after(number, actual, engine);
    }
}

/// The log as a replay needs it, with a bar for the way through it.
pub(crate) fn history<'s>(
    source: &'s Source,
    wanted: BTreeSet<Seq>,
    bar: &ProgressBar,
) -> Result<impl History + use<'s>, Failure> {
    let history = LogHistory::open(source.storage(), wanted);
    let history = history.map_err(|error| unreplayed(source, &ReplayError::History(error)))?;
    Ok(history.telling(advancing(bar)))
}

/// Moves a bar on that something else moves on, too: it is told how far this has come.
fn advancing(bar: &ProgressBar) -> impl FnMut(u64) + use<> {
    let (bar, mut shown) = (bar.clone(), 0);
    move |bytes| {
        if bytes >= shown + PROGRESS_STEP {
            bar.inc(bytes - shown);
            shown = bytes;
        }
    }
}

/// A replay that could not go on.
pub(crate) fn unreplayed(source: &Source, error: &ReplayError) -> Failure {
    let folder = source.folder().display();
    match error {
        ReplayError::History(HistoryError::Damaged(_) | HistoryError::Record(..)) => {
            Failure::Failed(format!("{error}; run: oicq-tools verify {folder}"))
        }
        _ => Failure::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use oicq::black_box::{Header, Writer, file_name};
    use oicq::engine::{Input, Settings};
    use oicq::id::{Now, UnixMillis};
    use oicq::state::State;

    use super::*;

    /// The engine, as far as a crash is concerned.
    struct Crashes;

    impl Observer for Crashes {
        fn before(&mut self, _: &Step<'_>, _: &Engine) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }

        fn after(&mut self, number: u64, _: &Actual<'_>, _: &Engine) {
            assert_ne!(number, 18, "this is the crash of the test");
        }
    }

    #[test]
    fn a_crash_while_a_question_is_answered_names_its_step() {
        let source = Source::open(Path::new("../data/golden/v1")).unwrap();
        let log_id = history(&source, BTreeSet::new(), &ProgressBar::hidden()).unwrap().log_id();
        let settings = Settings::default();
        let mut bytes = Vec::new();
        let engine = Engine::new(settings.clone(), State::default());
        let header = Header::new(log_id.unwrap(), UnixMillis(1), 17, Seq::ZERO, false);
        let mut writer = Writer::begin(header, &settings, |out| engine.save(out), &mut bytes);
        (0..3).for_each(|_| writer.input(&Input::Turn(Now::default())));
        writer.chunk(|chunk| bytes.extend_from_slice(chunk));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file_name(17)), bytes).unwrap();
        let recording = Recording::open(folder.path()).unwrap();
        assert_eq!(run_through(&source, &recording, &mut ()).unwrap().steps, 3);
        let Err(Failure::Failed(words)) = run_through(&source, &recording, &mut Crashes) else {
            panic!("it goes on")
        };
        assert!(words.contains("the engine has crashed at step 18; see oicq-tools"), "{words}");
    }
}
