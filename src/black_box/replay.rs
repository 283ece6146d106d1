//! Running a recording again: the same engine gets the same inputs, on the state that the log gives, and
//! what it says is compared with what was said then.
//!
//! Owns the order in which files are replayed, the answers that the engine gets, and the comparison. What is
//! shown of it is an [`Observer`]'s. It never writes, and no recording, however damaged, makes it panic.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::entry::{Answer, Entry};
use super::history::{History, HistoryError, Logged};
use super::reader::{Beginning, BoxFile, Entries, Recording, Unreadable};
use super::surroundings::Surroundings;
use crate::engine::{Engine, Foretold, HeldInput, Input, KeptError, Mark, Outbox, Outcome, Output};
use crate::id::{Seq, UnixMillis};
use crate::state::Event;

/// A step that is about to be taken.
#[derive(Debug)]
pub struct Step<'a> {
    /// Its number.
    pub number: u64,
    /// What comes in.
    pub input: &'a Input<'a>,
    /// When.
    pub time: UnixMillis,
}

/// What a step has led to.
pub struct Actual<'a> {
    /// All output of the turn.
    pub outbox: &'a Outbox,
    /// Where that of the step begins.
    pub mark: Mark,
    /// Where that of the look for passwords behind it begins: at the end, where there was none.
    pub passwords: Mark,
    /// What the engine was answered.
    pub answers: &'a [Answer],
    /// The events that it has made, in order.
    pub events: &'a [Logged],
    /// What is different, if something is: this was the last step.
    pub difference: Option<&'a What>,
}

/// Whoever looks on.
pub trait Observer {
    /// An engine has been made for a file that does not go on where another has ended.
    fn begin(&mut self, _file: &BoxFile, _engine: &Engine) {}

    /// A step is about to be taken. Breaking off stops before it.
    fn before(&mut self, step: &Step<'_>, engine: &Engine) -> ControlFlow<()>;

    /// It has been taken.
    fn after(&mut self, number: u64, actual: &Actual<'_>, engine: &Engine);
}

/// Nobody looks on.
impl Observer for () {
    fn before(&mut self, _: &Step<'_>, _: &Engine) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn after(&mut self, _: u64, _: &Actual<'_>, _: &Engine) {}
}

/// Every step of a replay comes through here, before the engine gets its input: the place where a debugger can
/// stop at one, `break oicq::black_box::replay::at_step if step == 4711`.
#[inline(never)]
pub fn at_step(step: u64) {
    std::hint::black_box(step);
}

/// Where what happens now departs from what was recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// At which step.
    pub step: u64,
    /// What is different.
    pub what: What,
}

/// What is different.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Something else is sent.
    Output {
        /// What was sent then, after the input and after the look for passwords.
        recorded: Vec<Output>,
        /// What is sent now.
        actual: Vec<Output>,
    },
    /// Another event is made than the log has at this place.
    Event {
        /// What the log has.
        logged: Logged,
        /// What is made now.
        actual: Logged,
    },
    /// The engine asks its surroundings something else than it asked then.
    Question(Unasked),
    /// The input does not fit what the engine has come to: a connection that is not there, or is not ready.
    Input,
    /// The engine knows something else beside the state than it did when this file was begun.
    Kept(PathBuf),
    /// The state is at another sequence number than it was when this file was begun.
    Seq {
        /// Then.
        recorded: Seq,
        /// Now.
        actual: Seq,
    },
}

/// A question of the engine that does not fit the recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unasked {
    /// It was answered then, and is not asked now.
    NotNow(Answer),
    /// It is asked now, how much was acknowledged, and was not then.
    NotThen,
}

/// How a replay ended.
pub struct Ended {
    /// The first step that was taken, and how many were.
    pub first_step: Option<u64>,
    /// How many steps were taken.
    pub steps: u64,
    /// Files that nothing could begin from, and why.
    pub skipped: Vec<(PathBuf, Skipped)>,
    /// Steps that are missing between files, as the first and the last of them. Behind them it went on anew.
    pub missing: Vec<(u64, u64)>,
    /// Files behind whose last entry something stands that fails its check.
    pub torn: Vec<PathBuf>,
    /// Events that were made and that the log does not have: the run of the server ended before they were on disk.
    pub events_beyond_log: u64,
    /// The first difference; nothing was done behind it.
    pub difference: Option<Difference>,
    /// The observer has broken off.
    pub is_stopped: bool,
    /// The engine as it was at the end; `None` if nothing could be begun from.
    pub engine: Option<Engine>,
}

/// Why nothing could begin from a file.
#[derive(Debug)]
pub enum Skipped {
    /// It cannot be read.
    Unreadable(Unreadable),
    /// It belongs to another log.
    OtherLog,
    /// The log does not show the state at this sequence number: it was compacted since, or has lost its end.
    NoState(Seq),
    /// What it begins with cannot be made out.
    Kept(KeptError),
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(unreadable) => unreadable.fmt(f),
            Self::OtherLog => f.write_str("it belongs to another log"),
            Self::NoState(seq) => {
                write!(f, "the log does not show the state at sequence number {seq}")
            }
            Self::Kept(error) => error.fmt(f),
        }
    }
}

/// A replay could not go on.
#[derive(Debug)]
pub enum ReplayError {
    /// A file of the recording cannot be read.
    Recording(PathBuf, io::Error),
    /// The log does not give what is needed.
    History(HistoryError),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recording(path, error) => write!(f, "{}: {error}", path.display()),
            Self::History(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<HistoryError> for ReplayError {
    fn from(error: HistoryError) -> Self {
        Self::History(error)
    }
}

impl Recording {
    /// The events whose texts a replay will want: the history is to remember where they are.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn texts_wanted(&self) -> Result<BTreeSet<Seq>, ReplayError> {
        let mut wanted = BTreeSet::new();
        for file in self.files() {
            let read = file.read();
            let read = read.map_err(|error| ReplayError::Recording(file.path.clone(), error))?;
            let Ok((Beginning { settings, kept }, _)) = read else { continue };
            wanted.extend(Engine::texts_wanted(&kept, settings.charset).unwrap_or_default());
        }
        Ok(wanted)
    }
}

impl Recording {
    /// The first event that a log must still have so that what can be replayed of this recording on it can be replayed
    /// afterwards; `None` if nothing can. `base` is the sequence number up to which it has none any more.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn needs_from(&self, log_id: u64, base: Seq) -> Result<Option<Seq>, ReplayError> {
        let mut needed: Option<Seq> = None;
        for file in self.files().iter().filter(|file| file.header.log_id == log_id) {
            let read = file.read();
            let read = read.map_err(|error| ReplayError::Recording(file.path.clone(), error))?;
            let Ok((Beginning { settings, kept }, _)) = read else { continue };
            let texts = Engine::texts_wanted(&kept, settings.charset);
            let first_text = texts.unwrap_or_default().into_iter().min();
            let first = first_text.unwrap_or(Seq(u64::MAX)).min(file.header.seq.next());
            // What the log has lost already is not lost by compacting it.
            if first > base {
                needed = Some(needed.map_or(first, |needed| needed.min(first)));
            }
        }
        Ok(needed)
    }
}

/// A replay. [`Replay::new`], then [`Replay::run`].
pub struct Replay<'r, H: History> {
    recording: &'r Recording,
    history: H,
    engine: Option<Engine>,
    /// The file that is being replayed.
    file: Option<BoxFile>,
    next_step: u64,
    /// The last event that the log has of this run of the server: the next run has found no later one.
    kept_through: Seq,
    /// Payloads of the events of this replay, one behind the other.
    own: Vec<u8>,
    /// Is told how many bytes of the recording have been read, files that were passed over among them.
    progress: Box<dyn FnMut(u64) + 'r>,
    /// Bytes of the files before the one at hand.
    bytes_before: u64,
    ended: Ended,
}

impl<'r, H: History> Replay<'r, H> {
    /// A replay of all that can be replayed of a recording, on a history that has remembered
    /// [`Recording::texts_wanted`].
    pub fn new(recording: &'r Recording, history: H) -> Self {
        let ended = Ended {
            first_step: None,
            steps: 0,
            skipped: Vec::new(),
            missing: Vec::new(),
            torn: Vec::new(),
            events_beyond_log: 0,
            difference: None,
            is_stopped: false,
            engine: None,
        };
        Self {
            recording,
            history,
            engine: None,
            file: None,
            next_step: 0,
            kept_through: Seq(u64::MAX),
            own: Vec::new(),
            progress: Box::new(|_| ()),
            bytes_before: 0,
            ended,
        }
    }

    /// The same, and `progress` gets the bytes of the recording that have been read, of
    /// [all](Recording::bytes) that it has.
    #[must_use]
    pub fn telling(mut self, progress: impl FnMut(u64) + 'r) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Replays, up to the first difference.
    ///
    /// # Errors
    /// If a file cannot be read or the log is damaged.
    pub fn run(mut self, observer: &mut impl Observer) -> Result<Ended, ReplayError> {
        for file in self.recording.files() {
            if self.replay_file(file, observer)?.is_break() {
                break;
            }
            self.bytes_before += file.end;
            (self.progress)(self.bytes_before);
        }
        self.ended.engine = self.engine;
        Ok(self.ended)
    }

    fn replay_file(
        &mut self,
        file: &BoxFile,
        observer: &mut impl Observer,
    ) -> Result<ControlFlow<()>, ReplayError> {
        let unread = |error| ReplayError::Recording(file.path.clone(), error);
        let (beginning, mut entries) = match file.read().map_err(unread)? {
            Ok(read) => read,
            Err(unreadable) => {
                self.skip(file, Skipped::Unreadable(unreadable));
                return Ok(ControlFlow::Continue(()));
            }
        };
        if self.continues(file) {
            if let Some(what) = self.compare_beginning(file, &beginning) {
                self.ended.difference = Some(Difference { step: self.next_step, what });
                return Ok(ControlFlow::Break(()));
            }
        } else if !self.begin(file, beginning)? {
            return Ok(ControlFlow::Continue(()));
        } else if let Some(engine) = &self.engine {
            observer.begin(file, engine);
        }
        self.file = Some(file.clone());
        let flow = self.replay_entries(&mut entries, observer, &unread)?;
        if entries.is_torn() && file.is_there() {
            self.ended.torn.push(file.path.clone());
        } else if entries.is_torn() {
            self.skip(file, Skipped::Unreadable(Unreadable::Gone(file.path.clone())));
        }
        Ok(flow)
    }

    /// Whether a file goes on where the last one ended, in the same run of the server.
    fn continues(&self, file: &BoxFile) -> bool {
        let last = self.file.as_ref().filter(|_| self.engine.is_some());
        last.is_some_and(|last| {
            last.header.run == file.header.run && file.header.first_step == self.next_step
        })
    }

    /// What a file begins with must be what the replay has come to.
    fn compare_beginning(&self, file: &BoxFile, beginning: &Beginning) -> Option<What> {
        let engine = self.engine.as_ref()?;
        let (recorded, actual) = (file.header.seq, engine.state().last_seq());
        if recorded != actual {
            return Some(What::Seq { recorded, actual });
        }
        let mut kept = Vec::new();
        engine.save(&mut kept);
        (kept != beginning.kept).then(|| What::Kept(file.path.clone()))
    }

    /// Makes the engine that a file begins with, from the log; false if that cannot be.
    fn begin(&mut self, file: &BoxFile, beginning: Beginning) -> Result<bool, ReplayError> {
        let header = file.header;
        if self.history.log_id().is_some_and(|id| id != header.log_id) {
            self.skip(file, Skipped::OtherLog);
            return Ok(false);
        }
        let Some(state) = self.history.state_at(header.seq)? else {
            self.skip(file, Skipped::NoState(header.seq));
            return Ok(false);
        };
        let Beginning { settings, kept } = beginning;
        let place = |seq| self.history.text_place(seq);
        match Engine::restore(settings, state, &kept, place) {
            Ok(engine) => {
                if self.engine.is_some() && header.first_step > self.next_step {
                    self.ended.missing.push((self.next_step, header.first_step - 1));
                }
                self.engine = Some(engine);
                self.next_step = header.first_step;
                let mut later = self.recording.files().iter().map(|later| later.header);
                let next_run = later
                    .find(|later| later.first_step > header.first_step && later.run != header.run);
                self.kept_through = next_run.map_or(Seq(u64::MAX), |next_run| next_run.seq);
                self.own.clear();
                Ok(true)
            }
            Err(error) => {
                self.skip(file, Skipped::Kept(error));
                Ok(false)
            }
        }
    }

    fn skip(&mut self, file: &BoxFile, why: Skipped) {
        self.ended.skipped.push((file.path.clone(), why));
    }

    /// Takes the steps of a file, each once all that belongs to it has been read.
    fn replay_entries(
        &mut self,
        entries: &mut Entries,
        observer: &mut impl Observer,
        unread: &dyn Fn(io::Error) -> ReplayError,
    ) -> Result<ControlFlow<()>, ReplayError> {
        let mut held = HeldInput::default();
        let mut is_held = false;
        let mut recorded = Recorded::default();
        loop {
            (self.progress)(self.bytes_before + entries.bytes());
            let entry = entries.next().map_err(unread)?;
            match entry {
                Some(Entry::Answer(answer)) => recorded.answers.push(answer),
                Some(Entry::Foretold(foretold)) => recorded.foretold = Some(foretold),
                Some(Entry::Output(output)) => recorded.outputs.push(output),
                Some(Entry::Input(_)) | None => {
                    // What came of the last step may not have been written any more.
                    recorded.may_lack = entry.is_none();
                    if is_held && self.step(held.get(), &recorded, observer)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    recorded.clear();
                    let Some(Entry::Input(input)) = entry else {
                        return Ok(ControlFlow::Continue(()));
                    };
                    held.hold(&input);
                    is_held = true;
                }
            }
        }
    }

    fn step(
        &mut self,
        mut input: Input<'_>,
        recorded: &Recorded,
        observer: &mut impl Observer,
    ) -> Result<ControlFlow<()>, ReplayError> {
        let Some(engine) = &mut self.engine else { return Ok(ControlFlow::Break(())) };
        let number = self.next_step;
        let time = if let Input::Turn(now) = input { now.wall } else { engine.now().wall };
        if observer.before(&Step { number, input: &input, time }, engine).is_break() {
            self.ended.is_stopped = true;
            return Ok(ControlFlow::Break(()));
        }
        self.next_step += 1;
        self.ended.first_step.get_or_insert(number);
        self.ended.steps += 1;
        if !engine.takes(&input) {
            self.ended.difference = Some(Difference { step: number, what: What::Input });
            return Ok(ControlFlow::Break(()));
        }
        if let Input::Verdict(verdict) = &mut input
            && matches!(verdict.outcome, Outcome::Hashed(_))
        {
            verdict.outcome = Outcome::Hashed(logged_hash(self.history.peek()?));
        }
        at_step(number);
        let what = self.take(number, input, recorded, observer)?;
        self.ended.difference = what.map(|what| Difference { step: number, what });
        Ok(match self.ended.difference {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        })
    }

    /// Hands an input to the engine, and compares what comes of it.
    fn take(
        &mut self,
        number: u64,
        input: Input<'_>,
        recorded: &Recorded,
        observer: &mut impl Observer,
    ) -> Result<Option<What>, ReplayError> {
        let Some(engine) = &mut self.engine else { return Ok(None) };
        if matches!(input, Input::Turn(_)) {
            engine.poll_outbox().clear();
        }
        let is_step = matches!(input, Input::Step);
        let is_blanked = self.file.as_ref().is_some_and(|file| file.header.is_blanked);
        let mark = engine.poll_outbox().mark();
        let mut host = Surroundings {
            history: &mut self.history,
            own: &mut self.own,
            answers: &recorded.answers,
            answers_next: 0,
            waiting_skipped: 0,
            appends_skipped: 0,
            is_blanked,
            may_lack: recorded.may_lack,
            last_seq: engine.state().last_seq(),
            kept_through: self.kept_through,
            events: Vec::new(),
            beyond_log: 0,
            what: None,
            failed: std::cell::OnceCell::new(),
        };
        engine.foretell(recorded.foretold.clone());
        engine.handle(input, &mut host);
        engine.foretell(None);
        let Surroundings { answers_next, events, beyond_log, what, failed, .. } = host;
        self.ended.events_beyond_log += beyond_log;
        if let Some(error) = failed.into_inner() {
            return Err(error.into());
        }
        let passwords = engine.poll_outbox().mark();
        while is_step && engine.poll_password_job().is_some() {}
        while engine.poll_resumed().is_some() {}
        let outbox = std::mem::take(engine.poll_outbox());
        let actual = [(mark, passwords), (passwords, outbox.mark())];
        let actual = actual.map(|(from, to)| outbox.between(from, to, is_blanked));
        let unasked = recorded.answers.get(answers_next);
        let what = what
            .or_else(|| unasked.map(|answer| What::Question(Unasked::NotNow(*answer))))
            .or_else(|| recorded.differs(actual.into_iter().flatten().collect()));
        let (answers, difference) = (&*recorded.answers, what.as_ref());
        let events = &*events;
        let seen = Actual { outbox: &outbox, mark, passwords, answers, events, difference };
        observer.after(number, &seen, engine);
        *engine.poll_outbox() = outbox;
        Ok(what)
    }
}

/// What was recorded behind an input.
#[derive(Default)]
struct Recorded {
    answers: Vec<Answer>,
    foretold: Option<Foretold>,
    outputs: Vec<Output>,
    /// It may not be all that there was.
    may_lack: bool,
}

impl Recorded {
    fn clear(&mut self) {
        self.answers.clear();
        self.foretold = None;
        self.outputs.clear();
    }

    fn differs(&self, actual: Vec<Output>) -> Option<What> {
        let is_same =
            if self.may_lack { actual.starts_with(&self.outputs) } else { actual == self.outputs };
        (!is_same).then(|| What::Output { recorded: self.outputs.clone(), actual })
    }
}

/// The hash that the next event of the log holds; a filler where there is none.
fn logged_hash(next: Option<&Logged>) -> Box<str> {
    let event = next.and_then(|logged| Event::decode(logged.kind, &logged.payload).ok());
    let hash = match event {
        Some(
            Event::Registered { password_hash, .. } | Event::PasswordRehashed { password_hash, .. },
        ) => password_hash,
        Some(Event::ProfileChanged { password_hash: Some(hash), .. }) => hash,
        _ => "-",
    };
    hash.into()
}
