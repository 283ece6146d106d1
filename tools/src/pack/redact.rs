//! A recording and its log without what users have written, which still replay.
//!
//! Owns the way there: the real recording is replayed once, which must be identical, to learn what its searches
//! come to; then again, while each input is written anew with fillers and the checksums of what was sent with its
//! texts blanked; the log gets fillers too; and in the end the result is replayed itself.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use oicq::black_box::{
    Actual, BoxFile, Ended, FOLDER, Header, History, HistoryError, Observer, ReplayError, Step,
    Writer, file_name,
};
use oicq::codec::blank::Fillers;
use oicq::engine::{Engine, Foregone, Foretold, HeldInput, Input, WaitsFor};
use oicq::id::{ConnectionId, Place, Seq, ServiceNumber};
use oicq::log::format::SegmentHeader;
use oicq::state::blank::{event_without_texts, fillers, kept_without_texts};
use oicq::state::{Event, Stamp, State, Waiting};
use oicq::wire::blank::without_texts;
use oicq::wire::server::{Sign, SystemKind};
use oicq::wire::{Code, Frame, Notice, RequestType, ServerPacket};

use super::log::PackedLog;
use super::{Packed, first_event, header};
use crate::black_box::{frames, history, recording, run_through, unreplayed};
use crate::failure::Failure;
use crate::private;
use crate::source::{Source, failed, progress};

/// A search that never ends.
const NEVER: Foregone = Foregone { slices: u64::MAX, users: Vec::new() };

/// Writes the redacted log and recording of a folder into another one.
pub(super) fn pack(source: &Source, to: &Path) -> Result<Packed, Failure> {
    let recording = recording(source)?;
    let header = header(source)?;
    let mut scout = Scout::default();
    let real = run_through(source, &recording, &mut scout)?;
    check_real(source, &real)?;
    let engine = real.engine.as_ref().map(Engine::settings);
    let charset = engine.map(|settings| settings.charset).unwrap_or_default();
    let mut rewriter = Rewriter {
        folder: to.join(FOLDER),
        outcomes: scout.finish(),
        fillers: fillers(charset),
        input: HeldInput::default(),
        open: None,
        files: 0,
        failure: None,
    };
    private::folder(&rewriter.folder).map_err(|error| cannot_write(&rewriter.folder, &error))?;
    run_through(source, &recording, &mut rewriter)?;
    let (mut fillers, files) = rewriter.finish()?;
    let first = first_event(source, &recording, header.log_id)?;
    let last = write_log(source, &header, first, &mut fillers, to)?;
    prove(to, &real)?;
    Ok(Packed { first, last, files })
}

/// What was sent then must be what is sent now: where it is not, one wants to see why.
fn check_real(source: &Source, real: &Ended) -> Result<(), Failure> {
    let folder = source.folder().display();
    if let Some(difference) = &real.difference {
        let step = difference.step;
        return Err(Failure::Failed(format!(
            "{folder}: step {step} goes differently, which fillers would hide; pack it without --redact, or see \
             oicq-tools replay --black-box {folder}"
        )));
    }
    match (real.steps, real.skipped.first()) {
        (0, Some((_, why))) => Err(Failure::Failed(format!(
            "{folder}: nothing of the recording can be replayed: {why}"
        ))),
        (0, None) => Err(Failure::Failed(format!("{folder}: nothing has been recorded"))),
        _ => Ok(()),
    }
}

/// Replays what has been made, which must go as it went with the texts.
fn prove(folder: &Path, real: &Ended) -> Result<(), Failure> {
    let source = Source::open(folder)?;
    let made = recording(&source)?;
    let ended = run_through(&source, &made, &mut ())?;
    let step = match ended.difference {
        Some(difference) => difference.step,
        None if ended.steps == real.steps => return Ok(()),
        None => ended.first_step.unwrap_or_default() + ended.steps,
    };
    Err(Failure::Failed(format!(
        "it cannot be redacted: without its texts step {step} goes differently; nothing was packed"
    )))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::cannot("write", path.display(), error)
}

/// Which search: begun at a step, or under way where a file begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Begun {
    At(u64),
    Before(u64, ConnectionId),
}

/// Learns what searches come to.
#[derive(Default)]
struct Scout {
    outcomes: BTreeMap<Begun, Foretold>,
    under_way: BTreeMap<ConnectionId, (Begun, u64)>,
    /// Whose search gets a slice at this step.
    sliced: Option<ConnectionId>,
    /// Who asks for a search at this step.
    asked: Option<ConnectionId>,
}

impl Scout {
    fn finish(mut self) -> BTreeMap<Begun, Foretold> {
        self.abandon_all();
        self.outcomes
    }

    fn abandon_all(&mut self) {
        for (begun, _) in std::mem::take(&mut self.under_way).into_values() {
            self.outcomes.insert(begun, Foretold::Found(NEVER));
        }
    }

    fn abandon(&mut self, connection: ConnectionId) {
        if let Some((begun, _)) = self.under_way.remove(&connection) {
            self.outcomes.insert(begun, Foretold::Found(NEVER));
        }
    }
}

fn searches(engine: &Engine, connection: ConnectionId) -> bool {
    let view = engine.connection(connection);
    view.is_some_and(|view| view.waits_for == WaitsFor::Search)
}

impl Observer for Scout {
    fn begin(&mut self, file: &BoxFile, engine: &Engine) {
        self.abandon_all();
        for view in engine.connections().filter(|view| view.waits_for == WaitsFor::Search) {
            let begun = Begun::Before(file.header.first_step, view.id);
            self.under_way.insert(view.id, (begun, 0));
        }
    }

    fn before(&mut self, step: &Step<'_>, engine: &Engine) -> ControlFlow<()> {
        (self.sliced, self.asked) = (None, None);
        match step.input {
            Input::Step => self.sliced = engine.next_search(),
            Input::Packet { connection, frame } if is_search(frame) => {
                self.asked = Some(*connection);
            }
            Input::Connect { connection, .. } | Input::End { connection } => {
                self.abandon(*connection);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn after(&mut self, number: u64, actual: &Actual<'_>, engine: &Engine) {
        if let Some(connection) = self.sliced
            && let Some((begun, slices)) = self.under_way.get_mut(&connection)
        {
            *slices += 1;
            if !searches(engine, connection) {
                let foregone = Foregone { slices: *slices, users: found(actual, connection) };
                self.outcomes.insert(*begun, Foretold::Found(foregone));
                self.under_way.remove(&connection);
            }
        }
        if let Some(connection) = self.asked {
            if searches(engine, connection) {
                self.under_way.insert(connection, (Begun::At(number), 0));
            } else if let Some(bytes) = refused(actual, connection) {
                self.outcomes.insert(Begun::At(number), Foretold::Refused(bytes));
            }
        }
    }
}

fn is_search(frame: &Frame<'_>) -> bool {
    frame.header.packet_type == RequestType::Search as u8
}

/// Whom a search has found, by what was sent.
fn found(actual: &Actual<'_>, connection: ConnectionId) -> Vec<ServiceNumber> {
    let mut numbers = Vec::new();
    for (_, bytes) in actual.outbox.sends_since(actual.mark).filter(|(to, _)| *to == connection) {
        for frame in frames(bytes) {
            if let Ok(ServerPacket::Found { success: true, users }) =
                ServerPacket::decode(frame.header.packet_type, frame.content)
            {
                numbers = users.iter().map(|user| user.number).collect();
            }
        }
    }
    numbers
}

/// In how many bytes it was told that a statement is not understood, if it was.
fn refused(actual: &Actual<'_>, connection: ConnectionId) -> Option<u32> {
    let sends = actual.outbox.sends_since(actual.mark).filter(|(to, _)| *to == connection);
    sends.flat_map(|(_, bytes)| frames(bytes)).find_map(|frame| {
        let length = match ServerPacket::decode(frame.header.packet_type, frame.content).ok()? {
            ServerPacket::Message { sign: Sign::System(SystemKind::Notice), text, .. } => {
                let notice = Notice::parse(text).filter(|notice| notice.code == Code::BadQuery)?;
                notice.sentence.len()
            }
            ServerPacket::Result { text, .. } => {
                let told = [Code::BadQuery.as_str().as_bytes(), b": "].concat();
                text.strip_prefix(&*told)?.len()
            }
            _ => return None,
        };
        u32::try_from(length).ok()
    })
}

/// Writes the recording anew.
struct Rewriter {
    folder: PathBuf,
    outcomes: BTreeMap<Begun, Foretold>,
    fillers: Fillers,
    input: HeldInput,
    open: Option<Open>,
    files: usize,
    failure: Option<Failure>,
}

/// The file that is being written.
struct Open {
    path: PathBuf,
    bytes: Vec<u8>,
    writer: Writer,
}

impl Open {
    fn close(mut self) -> Result<(), Failure> {
        let bytes = &mut self.bytes;
        self.writer.chunk(|chunk| bytes.extend_from_slice(chunk));
        private::write(&self.path, bytes).map_err(|error| cannot_write(&self.path, &error))
    }
}

impl Rewriter {
    fn finish(mut self) -> Result<(Fillers, usize), Failure> {
        self.close();
        self.failure.map_or(Ok((self.fillers, self.files)), Err)
    }

    fn close(&mut self) {
        if let Some(Err(failure)) = self.open.take().map(Open::close) {
            self.failure.get_or_insert(failure);
        }
    }

    /// What an engine has saved, without texts.
    fn kept(&mut self, first_step: u64, engine: &Engine) -> Result<Vec<u8>, Failure> {
        let mut kept = Vec::new();
        engine.save(&mut kept);
        let (settings, state) = (engine.settings().clone(), engine.state().clone());
        // Where a text stands is not saved.
        let restored = Engine::restore(settings, state, &kept, |_| Some(Place::default()));
        let mut engine = restored.map_err(|error| Failure::Failed(error.to_string()))?;
        engine.exchange_profiles(|profile| self.fillers.profile(profile));
        let waiting: Vec<_> = engine.connections().map(|view| view.id).collect();
        for id in waiting {
            let foregone = match self.outcomes.get(&Begun::Before(first_step, id)) {
                Some(Foretold::Found(foregone)) => foregone.clone(),
                _ => NEVER,
            };
            engine.foretell_under_way(id, foregone);
        }
        kept.clear();
        engine.save(&mut kept);
        Ok(kept)
    }
}

impl Observer for Rewriter {
    fn begin(&mut self, file: &BoxFile, engine: &Engine) {
        self.close();
        let Header { log_id, run, first_step, seq, .. } = file.header;
        match self.kept(first_step, engine) {
            Ok(kept) => {
                let header = Header::new(log_id, run, first_step, seq, true);
                let mut bytes = Vec::new();
                let save = |out: &mut Vec<u8>| out.extend_from_slice(&kept);
                let writer = Writer::begin(header, engine.settings(), save, &mut bytes);
                let path = self.folder.join(file_name(first_step));
                self.open = Some(Open { path, bytes, writer });
                self.files += 1;
            }
            Err(failure) => {
                self.failure.get_or_insert(failure);
            }
        }
    }

    fn before(&mut self, step: &Step<'_>, _: &Engine) -> ControlFlow<()> {
        self.input.hold(step.input);
        match self.failure {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }

    fn after(&mut self, number: u64, actual: &Actual<'_>, _: &Engine) {
        let Some(Open { writer, bytes, .. }) = &mut self.open else { return };
        match self.input.get() {
            Input::Packet { connection, mut frame } => {
                let mut content = Vec::new();
                without_texts(&frame, &mut self.fillers, &mut content);
                frame.header.content_length = u32::try_from(content.len()).unwrap_or(u32::MAX);
                frame.content = &content;
                writer.input(&Input::Packet { connection, frame });
            }
            other => writer.input(&other),
        }
        if let Some(foretold) = self.outcomes.get(&Begun::At(number)) {
            writer.foretold(foretold);
        }
        actual.answers.iter().for_each(|answer| writer.answer(*answer));
        let Actual { outbox, mark, passwords, .. } = actual;
        let parts = [(*mark, *passwords), (*passwords, outbox.mark())];
        for output in parts.iter().filter_map(|(from, to)| outbox.between(*from, *to, true)) {
            writer.output(output);
        }
        if writer.is_full() {
            writer.chunk(|chunk| bytes.extend_from_slice(chunk));
        }
    }
}

/// Writes the log from `first` on, and the state before it, without texts. The last sequence number.
fn write_log(
    source: &Source,
    header: &SegmentHeader,
    first: Seq,
    fillers: &mut Fillers,
    to: &Path,
) -> Result<Seq, Failure> {
    let unread = |error: HistoryError| unreplayed(source, &ReplayError::History(error));
    let bar = progress(source.file_bytes());
    let mut history = history(source, Default::default(), &bar)?;
    let before = Seq(first.0 - 1);
    let real = history.state_at(before).map_err(unread)?;
    let real = real.ok_or_else(|| failed(oicq::log::ReadError::Compacted))?;
    let (mut state, records) = match before {
        Seq::ZERO => (State::default(), Vec::new()),
        _ => kept(&real, fillers)?,
    };
    let mut packed = PackedLog::begin(to, header, before, real.last_time(), &records)?;
    let mut payload = Vec::new();
    while let Some(logged) = history.peek().map_err(unread)? {
        let (seq, time, kind) = (logged.seq, logged.time, logged.kind);
        let senseless = |error| {
            let folder = source.folder().display();
            Failure::Failed(format!("{folder}: sequence number {seq} holds {error}"))
        };
        let mut event = Event::decode(kind, &logged.payload).map_err(senseless)?;
        if let Event::StateDigest { digest } = &mut event {
            *digest = state.running_digest();
        }
        payload.clear();
        event_without_texts(&event, fillers, &mut payload);
        let blanked = Event::decode(kind, &payload).map_err(senseless)?;
        let stamp = Stamp { seq, time, place: Place::default() };
        state.apply(stamp, &blanked, &mut |_| ()).map_err(senseless)?;
        packed.append(time, kind, &payload)?;
        history.take().map_err(unread)?;
    }
    bar.finish_and_clear();
    packed.finish()
}

type Records = Vec<(u8, Vec<u8>)>;

/// The state without texts, and its records.
fn kept(real: &State, fillers: &mut Fillers) -> Result<(State, Records), Failure> {
    let text = |waiting: &Waiting, out: &mut Vec<u8>| {
        out.resize(out.len() + usize::try_from(waiting.length).unwrap_or_default(), b'x');
        Ok::<_, Failure>(())
    };
    let wrong = |error: oicq::state::KeptError| Failure::Failed(error.to_string());
    let mut state = State::default();
    let (seq, time) = (real.last_seq(), real.last_time());
    real.keep(real.digest(), text, |kind, payload| {
        let mut blanked = Vec::new();
        kept_without_texts(kind, payload, fillers, &mut blanked).map_err(wrong)?;
        state.restore(Stamp { seq, time, place: Place::default() }, kind, &blanked).map_err(wrong)
    })?;
    let mut records = Vec::new();
    state.keep(state.digest(), text, |kind, payload| {
        records.push((kind, payload.to_vec()));
        Ok(())
    })?;
    Ok((state, records))
}
