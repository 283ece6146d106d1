//! Running a recording again: the same engine gets the same inputs, on the state that the log gives, and
//! what it says is compared with what was said then.
//!
//! Owns the order in which files are replayed, the answers that the engine gets, and the comparison. What is
//! shown of it is an [`Observer`]'s. It never writes, and no recording, however damaged, makes it panic.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::entry::{Answer, Entry};
use super::history::{History, HistoryError, Logged};
use super::reader::{Beginning, BoxFile, Entries, Recording, Unreadable};
use crate::engine::{Engine, Host, Input, KeptError, Mark, Outbox, Outcome, Output, StorageFull};
use crate::id::{ConnectionId, Place, Seq, UnixMillis};
use crate::state::Event;
use crate::wire::Frame;

/// The bits of a place that say that its text is an event's of this replay.
const OWN: u64 = 0xFF_FFFF << 40;

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
    /// The events that it has made, in order.
    pub events: &'a [Logged],
}

/// Whoever looks on.
pub trait Observer {
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
            ended,
        }
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
        }
        self.file = Some(file.clone());
        let flow = self.replay_entries(&mut entries, observer, &unread)?;
        if entries.is_torn() {
            self.ended.torn.push(file.path.clone());
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
        let mut content = Vec::new();
        let mut held: Option<Input<'static>> = None;
        let mut recorded = Recorded::default();
        loop {
            let entry = entries.next().map_err(unread)?;
            match entry {
                Some(Entry::Answer(answer)) => recorded.answers.push_back(answer),
                Some(Entry::Output(output)) => recorded.outputs.push(output),
                Some(Entry::Input(_)) | None => {
                    if let Some(input) = held.take() {
                        // What came of the last step may not have been written any more.
                        let may_lack = entry.is_none();
                        let input = with_content(input, &content);
                        if self.step(input, &mut recorded, may_lack, observer)?.is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                    recorded.answers.clear();
                    recorded.outputs.clear();
                    let Some(Entry::Input(input)) = entry else {
                        return Ok(ControlFlow::Continue(()));
                    };
                    content.clear();
                    held = Some(without_content(input, &mut content));
                }
            }
        }
    }

    fn step(
        &mut self,
        mut input: Input<'_>,
        recorded: &mut Recorded,
        may_lack: bool,
        observer: &mut impl Observer,
    ) -> Result<ControlFlow<()>, ReplayError> {
        let Some(engine) = &mut self.engine else { return Ok(ControlFlow::Break(())) };
        let number = self.next_step;
        let is_step = matches!(input, Input::Step);
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
        if matches!(input, Input::Turn(_)) {
            engine.poll_outbox().clear();
        }
        let is_blanked = self.file.as_ref().is_some_and(|file| file.header.is_blanked);
        let mark = engine.poll_outbox().mark();
        let mut host = ReplayHost {
            history: &mut self.history,
            own: &mut self.own,
            answers: &mut recorded.answers,
            waiting_skipped: 0,
            appends_skipped: 0,
            is_blanked,
            may_lack,
            last_seq: engine.state().last_seq(),
            kept_through: self.kept_through,
            events: Vec::new(),
            beyond_log: 0,
            what: None,
            failed: std::cell::OnceCell::new(),
        };
        engine.handle(input, &mut host);
        let mut actual = Vec::from_iter(engine.poll_outbox().since(mark, is_blanked));
        if is_step {
            let mark = engine.poll_outbox().mark();
            while engine.poll_password_job().is_some() {}
            actual.extend(engine.poll_outbox().since(mark, is_blanked));
        }
        while engine.poll_resumed().is_some() {}
        let ReplayHost { events, beyond_log, what, failed, .. } = host;
        self.ended.events_beyond_log += beyond_log;
        if let Some(error) = failed.into_inner() {
            return Err(error.into());
        }
        let unasked = recorded.answers.pop_front();
        let what = what
            .or_else(|| unasked.map(|answer| What::Question(Unasked::NotNow(answer))))
            .or_else(|| recorded.differs(actual, may_lack));
        let outbox = engine.poll_outbox();
        let outbox = std::mem::take(outbox);
        observer.after(number, &Actual { outbox: &outbox, mark, events: &events }, engine);
        *engine.poll_outbox() = outbox;
        self.ended.difference = what.map(|what| Difference { step: number, what });
        Ok(match self.ended.difference {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        })
    }
}

/// What was recorded behind an input.
#[derive(Default)]
struct Recorded {
    answers: VecDeque<Answer>,
    outputs: Vec<Output>,
}

impl Recorded {
    fn differs(&self, actual: Vec<Output>, may_lack: bool) -> Option<What> {
        let is_same =
            if may_lack { actual.starts_with(&self.outputs) } else { actual == self.outputs };
        (!is_same).then(|| What::Output { recorded: self.outputs.clone(), actual })
    }
}

/// The hash that the next event of the log holds; a filler where there is none.
fn logged_hash(next: Option<&Logged>) -> Box<str> {
    let event = next.and_then(|logged| Event::decode(logged.kind, &logged.payload).ok());
    let hash = match event {
        Some(Event::Registered { password_hash, .. }) => password_hash,
        Some(Event::ProfileChanged { password_hash: Some(hash), .. }) => hash,
        _ => "-",
    };
    hash.into()
}

/// The input without the bytes that it borrows, which go to `content`.
fn without_content(input: Input<'_>, content: &mut Vec<u8>) -> Input<'static> {
    match input {
        Input::Packet { connection, frame } => {
            content.extend_from_slice(frame.content);
            let frame = Frame { header: frame.header, content: b"" };
            Input::Packet { connection, frame }
        }
        Input::Turn(now) => Input::Turn(now),
        Input::Connect { connection, address } => Input::Connect { connection, address },
        Input::FrameError { connection, error } => Input::FrameError { connection, error },
        Input::End { connection } => Input::End { connection },
        Input::Overdue { connection, overdue } => Input::Overdue { connection, overdue },
        Input::Room { connection } => Input::Room { connection },
        Input::Acknowledged { connection, bytes } => Input::Acknowledged { connection, bytes },
        Input::Verdict(verdict) => Input::Verdict(verdict),
        Input::Step => Input::Step,
        Input::Shutdown => Input::Shutdown,
        Input::Flush => Input::Flush,
        Input::Checkpoint => Input::Checkpoint,
    }
}

fn with_content<'a>(input: Input<'a>, content: &'a [u8]) -> Input<'a> {
    match input {
        Input::Packet { connection, frame } => {
            Input::Packet { connection, frame: Frame { header: frame.header, content } }
        }
        other => other,
    }
}

/// The surroundings that the engine had then.
struct ReplayHost<'h, H: History> {
    history: &'h mut H,
    own: &'h mut Vec<u8>,
    answers: &'h mut VecDeque<Answer>,
    waiting_skipped: u64,
    appends_skipped: u64,
    is_blanked: bool,
    may_lack: bool,
    last_seq: Seq,
    kept_through: Seq,
    events: Vec<Logged>,
    beyond_log: u64,
    what: Option<What>,
    failed: std::cell::OnceCell<HistoryError>,
}

impl<H: History> ReplayHost<'_, H> {
    fn differ(&mut self, what: What) {
        self.what.get_or_insert(what);
    }

    /// Compares an event with what the log has at its place, and takes that.
    fn compare(&mut self, actual: &Logged) -> Result<(), HistoryError> {
        let is_blanked = self.is_blanked;
        let is_kept = actual.seq <= self.kept_through;
        let Some(logged) = self.history.peek()?.filter(|_| is_kept) else {
            self.beyond_log += 1;
            return Ok(());
        };
        let same_payload = match is_blanked {
            true => logged.payload.len() == actual.payload.len(),
            false => logged.payload == actual.payload,
        };
        let header = |logged: &Logged| (logged.seq, logged.time, logged.kind);
        if header(logged) != header(actual) || !same_payload {
            let logged = logged.clone();
            self.differ(What::Event { logged, actual: actual.clone() });
            return Ok(());
        }
        self.history.take()
    }
}

impl<H: History> Host for ReplayHost<'_, H> {
    fn append(
        &mut self,
        time: UnixMillis,
        kind: u8,
        payload: &[u8],
    ) -> Result<(Seq, Place), StorageFull> {
        if self.answers.front() == Some(&Answer::Full { skipped: self.appends_skipped }) {
            self.answers.pop_front();
            self.appends_skipped = 0;
            return Err(StorageFull);
        }
        self.appends_skipped += 1;
        self.last_seq = self.last_seq.next();
        let place = Place(OWN | self.own.len() as u64);
        self.own.extend_from_slice(payload);
        let event = Logged::made(self.last_seq, time, kind, payload, place);
        if let Err(error) = self.compare(&event) {
            let _ = self.failed.set(error);
        }
        self.events.push(event);
        Ok((self.last_seq, place))
    }

    fn read(&self, place: Place, length: u32, out: &mut Vec<u8>) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if place.0 & OWN == OWN {
            let start = usize::try_from(place.0 & !OWN).unwrap_or(usize::MAX);
            let text = self.own.get(start..).and_then(|from| from.get(..length));
            out.extend_from_slice(text.unwrap_or_default());
        } else if let Err(error) = self.history.read(place, u32::try_from(length).unwrap_or(0), out)
        {
            let _ = self.failed.set(error);
        }
    }

    fn acknowledged(&mut self, _: ConnectionId) -> u64 {
        if let Some(Answer::Acknowledged(bytes)) = self.answers.front() {
            let bytes = *bytes;
            self.answers.pop_front();
            return bytes;
        }
        if !self.may_lack {
            self.differ(What::Question(Unasked::NotThen));
        }
        0
    }

    fn waiting(&mut self, _: ConnectionId) -> usize {
        if let Some(&Answer::Waiting { skipped, bytes }) = self.answers.front()
            && skipped == self.waiting_skipped
        {
            self.answers.pop_front();
            self.waiting_skipped = 0;
            return usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        self.waiting_skipped += 1;
        0
    }
}
