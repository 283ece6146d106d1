//! Reading a log for the tools: every event in order, with the state that it makes.
//!
//! Owns the way from a folder to events, and the progress bar on long ways. It opens for reading alone.
//! Where a server is writing meanwhile, the log is shown as it was when the reading began.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use oicq::codec::charset::Charset;
use oicq::id::{Place, Seq, ServiceNumber, UnixMillis};
use oicq::log::{
    Access, Damage, DiskStorage, End, Reader, Step, Storage, StoredFile, Torn, locate,
};
use oicq::state::{Event, Stamp, State};

use crate::failure::Failure;
use crate::salvage::{Salvaged, Sink, Survey, survey, walk};

/// A folder with a log in it.
pub(crate) struct Source {
    folder: PathBuf,
    storage: DiskStorage,
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

/// What a whole log has come to.
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

impl Source {
    /// Finds the log of a folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let storage = DiskStorage::read_only(folder);
        let names = storage.list().map_err(|error| {
            Failure::Failed(format!("cannot read {}: {error}", folder.display()))
        })?;
        if !names.iter().any(|name| is_log(name)) {
            let folder = folder.display();
            return Err(Failure::Failed(format!(
                "{folder}: there is no log here; name the folder that oicqd was given with --data"
            )));
        }
        Ok(Self { folder: folder.to_path_buf(), storage })
    }

    pub(crate) fn storage(&self) -> &DiskStorage {
        &self.storage
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of all log files, for progress.
    pub(crate) fn file_bytes(&self) -> u64 {
        let names = self.storage.list().unwrap_or_default();
        let logs = names.iter().filter(|name| is_log(name));
        logs.filter_map(|name| self.folder.join(name).metadata().ok()).map(|meta| meta.len()).sum()
    }

    /// The sequence number up to which the log holds no events, but the state that they made.
    pub(crate) fn base_seq(&self) -> Result<Seq, Failure> {
        Ok(base_seq(&Reader::open(&self.storage).map_err(failed)?))
    }

    /// Reads all that can be read, over what is damaged, and gives it to `sink` with fillers for what is lost.
    pub(crate) fn salvage(&self, sink: &mut impl Sink) -> Result<(Survey, Salvaged), Failure> {
        let survey = self.survey()?;
        let salvaged = self.walk(&survey, sink)?;
        Ok((survey, salvaged))
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
        self.run_until(Seq(u64::MAX), each)
    }

    /// The same, without any event behind `until`.
    pub(crate) fn run_until(
        &self,
        until: Seq,
        mut each: impl FnMut(&Happening<'_>) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<Outcome, Failure> {
        let (last_seq, end) = self.end()?;
        let last_seq = last_seq.min(until);
        let mut reader = Reader::open(&self.storage).map_err(failed)?;
        let charset = reader.charset().map_err(failed)?.and_then(Charset::from_tag);
        let mut outcome = Outcome {
            state: State::default(),
            charset: charset.unwrap_or_default(),
            events: 0,
            first_seq: base_seq(&reader)
                .0
                .checked_add(1)
                .filter(|seq| *seq > 1)
                .map_or(Seq::ZERO, Seq),
            base_seq: base_seq(&reader),
            bytes: 0,
            files: 0,
            closed_bytes: 0,
            torn: None,
            names: Vec::new(),
        };
        let bar = progress(self.file_bytes());
        let mut closed_bytes = 0;
        let mut segment = 0;
        let mut stopped = false;
        let mut base_read = outcome.base_seq == Seq::ZERO;
        while !stopped
            && (outcome.state.last_seq() < last_seq || !base_read)
            && let Step::Batch(batch) = reader.next_batch().map_err(failed)?
        {
            if batch.segment != segment {
                (closed_bytes, segment) = (outcome.bytes, batch.segment);
            }
            for record in batch.records() {
                let (seq, time, place) = (record.seq, record.time, record.place);
                if record.in_base {
                    let stamp = Stamp { seq, time, place };
                    let restored = outcome.state.restore(stamp, record.kind, record.payload);
                    restored.map_err(|error| self.nonsense(seq, &error))?;
                    continue;
                }
                let event = Event::decode(record.kind, record.payload)
                    .and_then(|event| {
                        let stamp = Stamp { seq, time, place };
                        outcome.state.apply(stamp, &event, &mut |_| ())?;
                        Ok(event)
                    })
                    .map_err(|error| self.nonsense(seq, &error))?;
                outcome.events += 1;
                if outcome.first_seq == Seq::ZERO {
                    outcome.first_seq = seq;
                }
                let state = &outcome.state;
                let happening = Happening { seq, time, event, state, charset: outcome.charset };
                stopped = each(&happening)?.is_break();
                if stopped {
                    break;
                }
            }
            outcome.bytes = closed_bytes + batch.offset + batch.header.total();
            bar.set_position(outcome.bytes);
            base_read |= batch.base.is_none() || reader.has_read_base();
        }
        bar.finish_and_clear();
        outcome.name_files(&reader);
        match end {
            _ if stopped => {}
            End::Whole => {}
            End::Torn(torn) => outcome.torn = Some(torn),
            End::Damaged(damage) => return Err(self.damaged(&damage)),
        }
        Ok(outcome)
    }

    /// The last sequence number that can be read of the log as it is now, and how it ends. Reading alone is
    /// fast beside what is done with the events.
    fn end(&self) -> Result<(Seq, End), Failure> {
        let mut reader = Reader::open(&self.storage).map_err(failed)?;
        let mut last = Seq::ZERO;
        loop {
            match reader.next_batch().map_err(failed)? {
                Step::Batch(batch) => last = batch.base.unwrap_or_else(|| batch.header.last()),
                Step::End(end) => return Ok((last, end)),
            }
        }
    }

    /// The text of a waiting message, in Unicode.
    pub(crate) fn text(
        &self,
        outcome: &Outcome,
        place: Place,
        length: u32,
    ) -> Result<String, Failure> {
        let (segment, offset) = locate(place);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let name = outcome.names.get(segment).map_or("", String::as_str);
        let read =
            self.storage.open(name, Access::Read).and_then(|file| file.read_at(&mut bytes, offset));
        let read = read.map_err(|error| {
            Failure::Failed(format!("cannot read {}: {error}", self.folder.join(name).display()))
        })?;
        bytes.truncate(read);
        Ok(outcome.charset.decode(&bytes).into_owned())
    }

    fn damaged(&self, damage: &Damage) -> Failure {
        let folder = self.folder.display();
        Failure::Failed(format!("{damage}; run: oicq-tools verify {folder}"))
    }

    fn nonsense(&self, seq: Seq, error: &dyn std::fmt::Display) -> Failure {
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
    Failure::Failed(error.to_string())
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

impl Happening<'_> {
    /// Whether the event names this user or reaches it.
    pub(crate) fn concerns(&self, number: ServiceNumber) -> bool {
        match self.event {
            Event::Registered { number: one, .. }
            | Event::ProfileChanged { number: one, .. }
            | Event::GroupAdded { owner: one, .. }
            | Event::GroupRenamed { owner: one, .. }
            | Event::GroupDeleted { owner: one, .. }
            | Event::FriendsMoved { owner: one, .. }
            | Event::MonitoringEnded { operator: one } => one == number,
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
}
