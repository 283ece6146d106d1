//! Reading a log for the tools: every event in order, with the state that it makes.
//!
//! Owns the way from a folder to events, and the progress bar on long ways. It opens for reading alone, and
//! reads every byte once. Where a server is writing meanwhile, the log is shown as it was when the reading
//! began.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use oicq::black_box::{FOLDER, Recording};
use oicq::codec::charset::Charset;
use oicq::id::{Seq, ServiceNumber, UnixMillis};
use oicq::log::{
    Access, Batch, Damage, DiskFile, DiskStorage, End, ReadError, Reader, Record, Step, Storage,
    StoredFile, Torn, locate,
};
use oicq::state::{Event, MonitoringRecord, Stamp, State, Waiting};

use crate::ending::Temporary;
use crate::failure::{Failure, remedy};
use crate::pack;
use crate::salvage::{Salvaged, Sink, Survey, survey, walk};
use crate::show::Time;

/// Bytes between two looks at the progress bar.
pub(crate) const PROGRESS_STEP: u64 = 1 << 18;

/// A folder with a log in it.
pub(crate) struct Source {
    /// What was named on the command line, and is in messages.
    folder: PathBuf,
    /// Where it is read: elsewhere, if that is a packed file.
    place: PathBuf,
    storage: DiskStorage,
    /// Where a packed file was unpacked, until it is no longer wanted.
    _unpacked: Option<Temporary>,
}

/// One event on its way through the state.
pub(crate) struct Happening<'a> {
    pub(crate) seq: Seq,
    pub(crate) time: UnixMillis,
    pub(crate) event: Event<'a>,
    /// What all events up to this one have made.
    pub(crate) state: &'a State,
    pub(crate) charset: Charset,
}

/// How far events are applied: those behind either of the two are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Until {
    pub(crate) seq: Seq,
    pub(crate) time: UnixMillis,
}

impl Until {
    /// The end of the log.
    pub(crate) const END: Self = Self { seq: Seq(u64::MAX), time: UnixMillis(u64::MAX) };

    /// One event, that one included.
    pub(crate) const fn seq(seq: Seq) -> Self {
        Self { seq, ..Self::END }
    }
}

/// Whoever looks on while a log is run. First [`begin`](Self::begin), then for each batch
/// [`batch`](Self::batch), and [`event`](Self::event) for each of its events.
pub(crate) trait Onlooker {
    /// This bar shows how far it is. Whoever writes to standard output meanwhile [makes room](Beside).
    fn stand_beside(&mut self, _bar: &ProgressBar) {}

    /// The state before the first event: nothing, or what compacting has kept.
    fn begin(&mut self, _state: &State) -> Result<(), Failure> {
        Ok(())
    }

    /// A batch has been read, whose events come next.
    fn batch(&mut self, _batch: &Batch<'_>) {}

    /// An event has been applied. Breaking off leaves the others alone.
    fn event(&mut self, happening: &Happening<'_>) -> Result<ControlFlow<()>, Failure>;
}

/// Looks at the events alone.
struct Each<F>(F);

impl<F: FnMut(&Happening<'_>) -> Result<ControlFlow<()>, Failure>> Onlooker for Each<F> {
    fn event(&mut self, happening: &Happening<'_>) -> Result<ControlFlow<()>, Failure> {
        self.0(happening)
    }
}

/// Looks at nothing: the state is all that is wanted.
pub(crate) struct Nobody;

impl Onlooker for Nobody {
    fn event(&mut self, _: &Happening<'_>) -> Result<ControlFlow<()>, Failure> {
        Ok(ControlFlow::Continue(()))
    }
}

/// What a log has come to, up to its end or as far as it was run.
#[derive(Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) state: State,
    pub(crate) charset: Charset,
    pub(crate) events: u64,
    /// The first sequence number that the log holds; [`Seq::ZERO`] where it holds none.
    pub(crate) first_seq: Seq,
    /// What compaction has kept as a state alone goes up to here; [`Seq::ZERO`] if nothing.
    pub(crate) base_seq: Seq,
    /// Bytes of the log, up to the end of its last batch.
    pub(crate) bytes: u64,
    pub(crate) files: usize,
    /// Bytes of the files that no server appends to.
    pub(crate) closed_bytes: u64,
    pub(crate) torn: Option<Torn>,
    names: Vec<String>,
}

/// This build has made something that cannot be.
pub(crate) fn contradicts(folder: &Path, what: &str, why: &impl Display) -> Failure {
    let folder = folder.display();
    Failure::Failed(format!(
        "{folder}: this build makes a {what} that contradicts itself ({why}); use another one"
    ))
}

impl Source {
    /// Finds the log of a folder, or of a file that `pack` has made.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let unpacked = if path.is_file() { Some(pack::unpack(path)?) } else { None };
        let place = unpacked.as_ref().map_or(path, Temporary::path);
        let storage = DiskStorage::read_only(place).called(path);
        let shown = path.display();
        let names = storage.list().map_err(|error| Failure::cannot("read", &shown, &error))?;
        if !names.iter().any(|name| is_log(name)) {
            return Err(Failure::Failed(format!(
                "{shown}: there is no log here; name the folder that oicqd was given with --data"
            )));
        }
        let (folder, place) = (path.to_path_buf(), place.to_path_buf());
        Ok(Self { folder, place, storage, _unpacked: unpacked })
    }

    pub(crate) fn storage(&self) -> &DiskStorage {
        &self.storage
    }

    /// What messages call the folder. Of a packed file it is the file.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the server has recorded of its input, if anything.
    pub(crate) fn recording(&self) -> io::Result<Recording> {
        Recording::open_called(&self.place.join(FOLDER), &self.folder.join(FOLDER))
    }

    /// Bytes of all log files, for progress.
    pub(crate) fn file_bytes(&self) -> u64 {
        let names = self.storage.list().unwrap_or_default();
        let logs = names.iter().filter(|name| is_log(name));
        logs.filter_map(|name| self.place.join(name).metadata().ok()).map(|meta| meta.len()).sum()
    }

    /// The sequence number up to which the log holds no events, but the state that they made.
    pub(crate) fn base_seq(&self) -> Result<Seq, Failure> {
        Ok(base_seq(&Reader::open(&self.storage).map_err(failed)?))
    }

    /// The last sequence number of the log as it is now.
    pub(crate) fn last_seq(&self) -> Result<Seq, Failure> {
        Reader::open(&self.storage).and_then(|reader| reader.reach()).map_err(failed)
    }

    /// Reads all that can be read, over what is damaged, and gives it to `sink` with fillers for what is lost.
    pub(crate) fn salvage(&self, sink: &mut impl Sink) -> Result<(Survey, Salvaged), Failure> {
        let survey = self.survey()?;
        let salvaged = self.walk(&survey, sink)?;
        Ok((survey, salvaged))
    }

    /// A state that this build has made of the log must agree with itself.
    pub(crate) fn check_agreement(&self, state: &State) -> Result<(), Failure> {
        match state.find_contradiction() {
            None => Ok(()),
            Some(contradiction) => Err(contradicts(&self.folder, "state", &contradiction)),
        }
    }

    /// Finds out what is lost of the log.
    pub(crate) fn survey(&self) -> Result<Survey, Failure> {
        let bar = progress(self.file_bytes());
        let survey = survey(&self.storage, &bar).map_err(failed)?;
        bar.finish_and_clear();
        Ok(survey)
    }

    /// Gives all that can be saved of a log that was surveyed to `sink`.
    pub(crate) fn walk(&self, survey: &Survey, sink: &mut impl Sink) -> Result<Salvaged, Failure> {
        let bar = progress(self.file_bytes());
        let salvaged = walk(&self.storage, survey, sink, &bar)?;
        bar.finish_and_clear();
        Ok(salvaged)
    }

    /// Applies every event in order and shows each to `each`, until that breaks off or the log ends.
    pub(crate) fn run(
        &self,
        each: impl FnMut(&Happening<'_>) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<Outcome, Failure> {
        self.watch(Until::END, &mut Each(each))
    }

    /// Applies every event up to `until` in order, while somebody looks on.
    pub(crate) fn watch(
        &self,
        until: Until,
        onlooker: &mut impl Onlooker,
    ) -> Result<Outcome, Failure> {
        self.go_on(Outcome::default(), until, onlooker)
    }

    /// The same from where another run has stopped: what had been applied is read over, and not shown again.
    pub(crate) fn go_on(
        &self,
        mut outcome: Outcome,
        until: Until,
        onlooker: &mut impl Onlooker,
    ) -> Result<Outcome, Failure> {
        let mut reader = Reader::open(&self.storage).map_err(failed)?;
        let charset = reader.charset().map_err(failed)?.and_then(Charset::from_tag);
        outcome.charset = charset.unwrap_or_default();
        outcome.base_seq = base_seq(&reader);
        if outcome.base_seq > Seq::ZERO {
            outcome.first_seq = outcome.base_seq.next();
        }
        if until.seq < outcome.base_seq {
            let what = format!("sequence number {}", until.seq);
            return Err(self.dropped(what, outcome.base_seq));
        }
        // What waits in the state is found by the order of the files.
        let names = reader.segments().iter().map(|segment| &segment.name);
        if names.zip(&outcome.names).any(|(now, then)| now != then) {
            return Err(failed(ReadError::Compacted));
        }
        let bar = progress(self.file_bytes());
        onlooker.stand_beside(&bar);
        let mut run = Run { source: self, outcome: &mut outcome, onlooker, until, bar: &bar };
        let end = run.read(&mut reader)?;
        bar.finish_and_clear();
        outcome.name_files(&reader);
        match end {
            End::Whole => {}
            End::Torn(torn) => outcome.torn = Some(torn),
            End::Damaged(damage) => return Err(self.damaged(&damage)),
        }
        Ok(outcome)
    }

    /// What is asked for was before the first state that the log still knows.
    pub(crate) fn dropped(&self, what: impl Display, first: Seq) -> Failure {
        let folder = self.folder.display();
        Failure::Failed(format!(
            "{folder}: compacting has dropped {what}, the first that can be shown is {first}"
        ))
    }

    /// What is asked for lies behind the end of the log.
    pub(crate) fn check_reached(&self, asked: Seq, last: Seq) -> Result<(), Failure> {
        if asked <= last {
            return Ok(());
        }
        let folder = self.folder.display();
        let words = format!("{folder}: there is no sequence number {asked}, the last is {last}");
        Err(Failure::Failed(words))
    }

    /// Nobody has that number.
    pub(crate) fn check_user(&self, number: ServiceNumber, state: &State) -> Result<(), Failure> {
        if state.user(number).is_some() {
            return Ok(());
        }
        let folder = self.folder.display();
        let known = match state.users().last() {
            Some((last, _)) => format!("there are {} to {last}", ServiceNumber::FIRST),
            None => "nobody has registered".to_owned(),
        };
        Err(Failure::Failed(format!("{folder}: there is no user {number}, {known}")))
    }

    /// The texts of waiting messages.
    pub(crate) fn texts<'a>(&'a self, outcome: &'a Outcome) -> Texts<'a> {
        Texts { source: self, names: &outcome.names, charset: outcome.charset, open: None }
    }

    /// The log is damaged.
    pub(crate) fn damaged(&self, damage: &Damage) -> Failure {
        let folder = self.folder.display();
        Failure::Failed(format!("{damage}; run: oicq-tools verify {folder}"))
    }

    /// What stands in the log is no event, or none that fits.
    pub(crate) fn nonsense(&self, seq: Seq, error: &dyn Display) -> Failure {
        let folder = self.folder.display();
        Failure::Failed(format!(
            "{folder}: sequence number {seq} holds {error}; run: oicq-tools verify {folder}"
        ))
    }
}

impl Outcome {
    /// The files that have been read; a running server may have begun one meanwhile.
    fn name_files(&mut self, reader: &Reader<'_, DiskStorage>) {
        self.names = reader.segments().iter().map(|segment| segment.name.clone()).collect();
        self.files = self.names.len();
        let closed = reader.segments().split_last().map_or(&[][..], |(_, closed)| closed);
        self.closed_bytes = closed.iter().map(|segment| segment.len).sum();
    }
}

/// One way through a log.
struct Run<'a, O> {
    source: &'a Source,
    outcome: &'a mut Outcome,
    onlooker: &'a mut O,
    until: Until,
    bar: &'a ProgressBar,
}

impl<O: Onlooker> Run<'_, O> {
    /// Reads from the beginning as far as is wanted, and answers how the log ends; where that is not
    /// reached, it counts as whole.
    fn read(&mut self, reader: &mut Reader<'_, DiskStorage>) -> Result<End, Failure> {
        let reach = reader.reach().map_err(failed)?;
        let known = self.outcome.state.last_seq();
        let mut begun = false;
        let (mut closed_bytes, mut segment, mut shown_bytes) = (0, 0, 0);
        loop {
            if !begun && (known >= self.outcome.base_seq || reader.has_read_base()) {
                self.begin()?;
                begun = true;
            }
            let last = self.outcome.state.last_seq();
            if begun && last >= self.until.seq {
                return Ok(End::Whole);
            }
            let batch = match reader.next_batch().map_err(failed)? {
                Step::End(end) => return Ok(end),
                // A server has written it since the reading began.
                Step::Batch(_) if begun && last >= reach => return Ok(End::Whole),
                Step::Batch(batch) => batch,
            };
            if batch.segment != segment {
                (closed_bytes, segment) = (self.outcome.bytes, batch.segment);
            }
            self.outcome.bytes = closed_bytes + batch.offset + batch.header.total();
            if self.outcome.bytes >= shown_bytes + PROGRESS_STEP {
                shown_bytes = self.outcome.bytes;
                self.bar.set_position(shown_bytes);
            }
            match batch.base {
                Some(base) if base > known => self.restore(&batch)?,
                None if batch.header.last() > known && self.apply(&batch, known)?.is_break() => {
                    return Ok(End::Whole);
                }
                _ => {}
            }
        }
    }

    fn begin(&mut self) -> Result<(), Failure> {
        let state = &self.outcome.state;
        let base = self.outcome.base_seq;
        if base > Seq::ZERO && state.last_time() > self.until.time {
            let what = format!("what was at {}", Time(self.until.time));
            return Err(self.source.dropped(what, base));
        }
        self.onlooker.begin(state)
    }

    fn restore(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        for Record { seq, time, place, kind, payload, .. } in batch.records() {
            let restored = self.outcome.state.restore(Stamp { seq, time, place }, kind, payload);
            restored.map_err(|error| self.source.nonsense(seq, &error))?;
        }
        Ok(())
    }

    /// Applies a batch's events behind those that are known.
    fn apply(&mut self, batch: &Batch<'_>, known: Seq) -> Result<ControlFlow<()>, Failure> {
        let outcome = &mut *self.outcome;
        self.onlooker.batch(batch);
        for Record { seq, time, place, kind, payload, .. } in batch.records() {
            if seq <= known {
                continue;
            }
            if seq > self.until.seq || time > self.until.time {
                return Ok(ControlFlow::Break(()));
            }
            let event = Event::decode(kind, payload)
                .and_then(|event| {
                    outcome.state.apply(Stamp { seq, time, place }, &event, &mut |_| ())?;
                    Ok(event)
                })
                .map_err(|error| self.source.nonsense(seq, &error))?;
            outcome.events += 1;
            if outcome.first_seq == Seq::ZERO {
                outcome.first_seq = seq;
            }
            let (state, charset) = (&outcome.state, outcome.charset);
            if self.onlooker.event(&Happening { seq, time, event, state, charset })?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Reads the texts of waiting messages, in Unicode.
pub(crate) struct Texts<'a> {
    source: &'a Source,
    names: &'a [String],
    charset: Charset,
    /// The file that was read last, and its place in the order: most often the next text is there too.
    open: Option<(usize, DiskFile)>,
}

impl Texts<'_> {
    /// The text of a message.
    pub(crate) fn read(&mut self, waiting: &Waiting) -> Result<String, Failure> {
        let (segment, offset) = locate(waiting.place);
        let mut bytes = vec![0; usize::try_from(waiting.length).unwrap_or(usize::MAX)];
        let read = self.file(segment).and_then(|file| file.read_at(&mut bytes, offset));
        let read = read.map_err(|error| {
            let name = self.names.get(segment).map_or("", String::as_str);
            let file = self.source.folder.join(name);
            match error.kind() {
                ErrorKind::NotFound => failed(ReadError::Compacted),
                _ => Failure::cannot("read", file.display(), &error),
            }
        })?;
        bytes.truncate(read);
        Ok(self.charset.decode(&bytes).into_owned())
    }

    fn file(&mut self, segment: usize) -> io::Result<&DiskFile> {
        let open = match self.open.take() {
            Some(open) if open.0 == segment => open,
            _ => {
                let name = self.names.get(segment).map_or("", String::as_str);
                (segment, self.source.storage.open(name, Access::Read)?)
            }
        };
        Ok(&self.open.insert(open).1)
    }
}

/// Whether a file holds a part of a log, by its name.
fn is_log(name: &str) -> bool {
    name.ends_with(".log") || name.ends_with(".base")
}

fn base_seq(reader: &Reader<'_, DiskStorage>) -> Seq {
    let base = reader.segments().first().filter(|first| first.is_base);
    base.map_or(Seq::ZERO, |base| Seq(base.first.0 - 1))
}

/// A log that cannot be read on.
pub(crate) fn failed(error: oicq::log::ReadError) -> Failure {
    match &error {
        oicq::log::ReadError::Storage(failed) => {
            Failure::Failed(format!("{error}; {}", remedy(&failed.error)))
        }
        _ => Failure::Failed(error.to_string()),
    }
}

/// A bar on standard error that shows itself on a terminal, and only if the work takes a while.
pub(crate) fn progress(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let style = "{percent:>3} % {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Lines on standard output beside a bar. Where both are on a terminal the bar goes before the first line: it would
/// stand between them, and from then on they show how far it is.
#[derive(Default)]
pub(crate) struct Beside(Option<ProgressBar>);

impl Beside {
    /// There is a bar.
    pub(crate) fn bar(&mut self, bar: &ProgressBar) {
        self.0 = io::stdout().is_terminal().then(|| bar.clone());
    }

    /// A line is about to be written.
    pub(crate) fn make_room(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Happening<'_> {
    /// Whether the event names this user or reaches it.
    pub(crate) fn concerns(&self, number: ServiceNumber) -> bool {
        match self.event {
            Event::Registered { number: one, .. }
            | Event::ProfileChanged { number: one, .. }
            | Event::PasswordRehashed { number: one, .. }
            | Event::GroupAdded { owner: one, .. }
            | Event::GroupRenamed { owner: one, .. }
            | Event::GroupDeleted { owner: one, .. } => one == number,
            Event::FriendsMoved { owner, moves } => {
                owner == number || moves.iter().any(|(friend, _)| friend == number)
            }
            Event::MonitoringEnded { operator } => {
                operator == number || self.unwatched().any(|watched| watched == number)
            }
            Event::FriendRequested { asker: one, friend: other, .. }
            | Event::RequestRejected { asker: one, friend: other }
            | Event::FriendRefused { asker: one, friend: other }
            | Event::FriendAdded { owner: one, friend: other, .. }
            | Event::FriendDeleted { owner: one, friend: other }
            | Event::MessageSent { from: one, to: other, .. }
            | Event::MonitoringStarted { operator: one, watched: other } => {
                one == number || other == number
            }
            Event::MessageBroadcast { from, group, left_out, .. } => {
                let reached = |user: &oicq::state::User| {
                    user.friend(number).is_some_and(|friend| {
                        group == oicq::id::GroupNumber::ALL || friend.group == group
                    })
                };
                from == number
                    || self.state.user(from).is_some_and(reached)
                        && !left_out.iter().any(|friend| friend == number)
            }
            Event::Delivered { receipts } => receipts.iter().any(|(user, _)| user == number),
            Event::Lost | Event::StateDigest { .. } => false,
        }
    }

    /// Whom an end of monitoring is the end of it for, in ascending order: the last records are of this event.
    pub(crate) fn unwatched(&self) -> impl Iterator<Item = ServiceNumber> {
        let watched = |record: &MonitoringRecord| record.watched;
        let Event::MonitoringEnded { operator } = self.event else { return [].iter().map(watched) };
        let records = self.state.monitoring();
        let is_own = |record: &&MonitoringRecord| !record.started && record.operator == operator;
        let count = records.iter().rev().take_while(is_own).count();
        records[records.len() - count..].iter().map(watched)
    }
}
