//! A log that can be gone through in both directions: any event's line, and the state after any event.
//!
//! Owns what is kept of the log for that: bookmarks, nicknames, snapshots, and one state that is moved about. It
//! is read once from end to end, and then again wherever something is asked for, with every check. Lines need no
//! state; states are made from the newest snapshot before them. It knows nothing of screens.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use oicq::codec::charset::Charset;
use oicq::id::{Seq, ServiceNumber, UnixMillis};
use oicq::log::{Batch, Bookmark, DiskStorage, End, ReadError, Reader, Record, Step};
use oicq::state::{Event, EventKind, Stamp, State};

use super::names::Names;
use super::pane::Image;
use super::search::{Found, Needle};
use super::snapshots::{Room, Snapshots};
use super::ties::{Ties, users_of};
use crate::failure::Failure;
use crate::show::Told;
use crate::source::{Happening, Onlooker, Outcome, Source, Texts, Until, failed};

/// Events between two bookmarks, at least.
const BOOKMARK_EVENTS: u64 = 1_024;
/// Events between two looks at whether work is to go on.
const PATIENCE_EVENTS: u64 = 4_096;
/// Lines that are kept, to be shown again.
const LINES_MAX: usize = 10_000;
/// A state is copied to be at hand when one steps back from a place that is as far as this from where one was,
/// so many events before that place.
const FAR: u64 = 2_000;
const FOOTPRINT: u64 = 1_000;
/// Users of one event that are compared with what they were before.
const IMAGES_MAX: usize = 256;

/// Whoever waits for long work.
pub(super) trait Patience {
    /// Told now and then how far the work is; answers whether it is to go on.
    fn goes_on(&mut self, what: &str, done: u64, all: u64) -> bool;
}

/// An event as it is shown in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    pub(super) seq: Seq,
    pub(super) time: UnixMillis,
    pub(super) kind: EventKind,
    /// What happened to whom, as `replay` says it.
    pub(super) words: String,
}

/// The log of one folder, as it was when it was opened.
pub(super) struct History<'s> {
    source: &'s Source,
    events: Events<'s>,
    names: Names,
    snapshots: Snapshots,
    /// All that is known of the log's end, but for the state.
    outcome: Outcome,
    last_seq: Seq,
    /// Why there is no more to see, if what follows cannot be read.
    damage: Option<String>,
    lines: BTreeMap<Seq, Line>,
    state: State,
    /// The event that the state was brought to, and the two below are of.
    at: Option<Seq>,
    /// The users of that event, those first whom it changes.
    users: Vec<ServiceNumber>,
    /// What they were before it.
    images: BTreeMap<ServiceNumber, Option<Image>>,
}

impl<'s> History<'s> {
    /// Reads the log.
    ///
    /// # Errors
    /// If nothing of it can be shown. What stands before a damage can.
    pub(super) fn open(source: &'s Source, room: Room) -> Result<Self, Failure> {
        let reader = Reader::open(source.storage()).map_err(failed)?;
        let reach = reader.reach().map_err(failed)?;
        let events = reach.0.saturating_sub(source.base_seq()?.0);
        let mut index = Index::new(room, events);
        let (mut outcome, damage) = match source.watch(Until::END, &mut index) {
            Ok(outcome) => (outcome, None),
            Err(Failure::Failed(words)) if index.last > Seq::ZERO => {
                let until = Until::seq(index.last);
                index = Index::new(room, events);
                (source.watch(until, &mut index)?, Some(words))
            }
            Err(failure) => return Err(failure),
        };
        let state = std::mem::take(&mut outcome.state);
        let Index { bookmarks, names, snapshots, .. } = index;
        let last_seq = state.last_seq();
        Ok(Self {
            source,
            events: Events { source, reader, bookmarks, is_placed: false },
            names,
            snapshots,
            outcome,
            last_seq,
            damage,
            lines: BTreeMap::new(),
            state,
            at: None,
            users: Vec::new(),
            images: BTreeMap::new(),
        })
    }

    /// The sequence number up to which compacting has dropped the events; 0 if none.
    pub(super) const fn base_seq(&self) -> Seq {
        self.outcome.base_seq
    }

    /// The time of the last event that compacting has dropped.
    pub(super) fn base_time(&self) -> UnixMillis {
        self.snapshots.first().map_or(UnixMillis(0), State::last_time)
    }

    /// The first event there is, which is behind the last one where there is none.
    pub(super) const fn first_seq(&self) -> Seq {
        self.outcome.base_seq.next()
    }

    /// The last event, or the base where there is none.
    pub(super) const fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// Why there is no more to see.
    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    pub(super) const fn charset(&self) -> Charset {
        self.outcome.charset
    }

    /// How many users there are at the end.
    pub(super) fn user_count(&self) -> usize {
        self.names.user_count()
    }

    /// What a user is called after an event, in the log's charset.
    pub(super) fn nickname(&self, number: ServiceNumber, seq: Seq) -> Option<&[u8]> {
        self.names.at(number, seq)
    }

    /// The state after the event that [`bring`](Self::bring) was called with.
    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    /// The users of that event, those first whom it changes.
    pub(super) fn users(&self) -> &[ServiceNumber] {
        &self.users
    }

    /// What the users of that event were before it; of very many, the first ones.
    pub(super) const fn images(&self) -> &BTreeMap<ServiceNumber, Option<Image>> {
        &self.images
    }

    /// The texts of messages that wait in the state.
    pub(super) fn texts(&self) -> Texts<'_> {
        self.source.texts(&self.outcome)
    }

    /// The lines of these events, in ascending order.
    pub(super) fn lines(&mut self, seqs: &[Seq]) -> Result<Vec<Line>, Failure> {
        if self.lines.len() + seqs.len() > LINES_MAX {
            self.lines.clear();
        }
        let Self { events, names, outcome, lines, .. } = self;
        let missing = seqs.iter().copied().filter(|seq| !lines.contains_key(seq));
        let missing: Vec<_> = missing.collect();
        for stretch in missing.chunk_by(|one, next| one.next() == *next) {
            let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
            events.walk(*first, *last, |record, event| {
                let words = words(names, outcome.charset, record.seq, event);
                let (seq, time, kind) = (record.seq, record.time, event.kind());
                lines.insert(seq, Line { seq, time, kind, words });
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(seqs.iter().filter_map(|seq| self.lines.get(seq).cloned()).collect())
    }

    /// Brings the state to what it was after an event. Answers whether that was not broken off.
    pub(super) fn bring(&mut self, seq: Seq, patience: &mut dyn Patience) -> Result<bool, Failure> {
        if self.at == Some(seq) {
            return Ok(true);
        }
        self.at = None;
        self.users.clear();
        self.images.clear();
        if seq <= self.base_seq() {
            self.state = self.snapshots.first().cloned().unwrap_or_default();
            self.at = Some(seq);
            return Ok(true);
        }
        let goal = Seq(seq.0 - 1);
        self.set_out_for(goal);
        if goal.0 - self.state.last_seq().0 > FAR {
            if !self.advance(Seq(goal.0 - FOOTPRINT), patience)? {
                return Ok(false);
            }
            self.snapshots.leave_behind(&self.state);
        }
        if !self.advance(goal, patience)? {
            return Ok(false);
        }
        self.take_step(seq)?;
        self.at = Some(seq);
        Ok(true)
    }

    /// Takes the nearest state without an event behind `goal`. One that has to be copied must be nearer by what
    /// the copying costs.
    fn set_out_for(&mut self, goal: Seq) {
        let own = self.state.last_seq();
        let Some(best) = self.snapshots.before(goal) else { return };
        let copying = 2 * self.state.user_count() as u64;
        if own > goal || best.last_seq().0 > own.0.saturating_add(copying) {
            // The old one goes first: there need not be room for three.
            self.state = State::default();
            self.state = best.clone();
        }
    }

    /// Applies the events up to `until`; answers whether that was not broken off.
    fn advance(&mut self, until: Seq, patience: &mut dyn Patience) -> Result<bool, Failure> {
        let Self { events, state, source, .. } = self;
        let first = state.last_seq().next();
        let all = until.next().0.saturating_sub(first.0);
        let mut done = 0;
        events.walk(first, until, |record, event| {
            apply(source, state, record, event)?;
            done += 1;
            let asks = done % PATIENCE_EVENTS == 0;
            Ok(if asks && !patience.goes_on("making the state", done, all) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })
    }

    /// Applies the next event, and keeps what its users were before.
    fn take_step(&mut self, seq: Seq) -> Result<(), Failure> {
        let Self { events, state, source, users, images, .. } = self;
        events.walk(seq, seq, |record, event| {
            *users = users_of(event, state);
            for user in users.iter().take(IMAGES_MAX) {
                images.insert(*user, Image::of(state, *user));
            }
            apply(source, state, record, event)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(())
    }

    /// The first event at or after a time.
    pub(super) fn at_time(&mut self, time: UnixMillis) -> Result<Option<Seq>, Failure> {
        let block = self.events.bookmarks.partition_point(|bookmark| bookmark.time() < time);
        let first = self.events.stretch(block.saturating_sub(1), self.last_seq).0;
        let mut found = None;
        self.events.walk(first, self.last_seq, |record, _| {
            if record.time < time {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(record.seq);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// All events that concern a user, in order; nothing if that was broken off.
    pub(super) fn events_of(
        &mut self,
        user: ServiceNumber,
        patience: &mut dyn Patience,
    ) -> Result<Option<Vec<Seq>>, Failure> {
        let Some(first) = self.snapshots.first() else { return Ok(None) };
        let mut ties = Ties::new(user, first);
        let all = self.last_seq.0 - self.outcome.base_seq.0;
        let (mut found, mut done) = (Vec::new(), 0);
        let (first, last) = (self.first_seq(), self.last_seq);
        let is_whole = self.events.walk(first, last, |record, event| {
            if ties.follow(event) {
                found.push(record.seq);
            }
            done += 1;
            let asks = done % PATIENCE_EVENTS == 0;
            Ok(if asks && !patience.goes_on("looking for the user's events", done, all) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        Ok(is_whole.then_some(found))
    }

    /// The next event behind `from`, or before it, whose kind and words hold the needle, round the end of the log:
    /// among these, or among all.
    pub(super) fn find(
        &mut self,
        needle: &Needle,
        from: Seq,
        forward: bool,
        among: Option<&[Seq]>,
        patience: &mut dyn Patience,
    ) -> Result<Found, Failure> {
        let (first, last) = (self.first_seq(), self.last_seq);
        let behind = (from.next().max(first), last);
        let before = (first, Seq(from.0.saturating_sub(1)));
        let here = from.max(first);
        let [near, round] =
            if forward { [behind, (first, here.min(last))] } else { [before, (here, last)] };
        let mut search = Search { needle, among, done: 0, all: last.0.saturating_sub(first.0) + 1 };
        for (is_round, stretch) in [(false, near), (true, round)] {
            match self.search(&mut search, stretch, forward, patience)? {
                Some(Found::At { seq, .. }) => return Ok(Found::At { seq, is_round }),
                Some(found) => return Ok(found),
                None => {}
            }
        }
        Ok(Found::Nowhere)
    }

    /// Looks through a stretch, block by block from one bookmark to the next.
    fn search(
        &mut self,
        search: &mut Search<'_>,
        (first, last): (Seq, Seq),
        forward: bool,
        patience: &mut dyn Patience,
    ) -> Result<Option<Found>, Failure> {
        if first > last {
            return Ok(None);
        }
        let blocks = self.events.block_of(first)..=self.events.block_of(last);
        let count = blocks.clone().count();
        for step in 0..count {
            let block = if forward { blocks.start() + step } else { blocks.end() - step };
            let (block_first, block_last) = self.events.stretch(block, last);
            let stretch = (block_first.max(first), block_last.min(last));
            if let Some(seq) = self.search_block(search, stretch, forward)? {
                return Ok(Some(Found::At { seq, is_round: false }));
            }
            search.done += stretch.1.next().0.saturating_sub(stretch.0.0);
            if !patience.goes_on("searching", search.done, search.all) {
                return Ok(Some(Found::BrokenOff));
            }
        }
        Ok(None)
    }

    /// The first event of a stretch that is looked for, or backwards the last one.
    fn search_block(
        &mut self,
        search: &Search<'_>,
        (mut first, mut last): (Seq, Seq),
        forward: bool,
    ) -> Result<Option<Seq>, Failure> {
        let among = search.among.map(|all| {
            let start = all.partition_point(|seq| *seq < first);
            &all[start..all.partition_point(|seq| *seq <= last).max(start)]
        });
        if let Some(among) = among {
            let (Some(one), Some(other)) = (among.first(), among.last()) else { return Ok(None) };
            (first, last) = (*one, *other);
        }
        let Self { events, names, outcome, .. } = self;
        let mut found = None;
        events.walk(first, last, |record, event| {
            let seq = record.seq;
            let is_among = among.is_none_or(|among| among.binary_search(&seq).is_ok());
            if !is_among {
                return Ok(ControlFlow::Continue(()));
            }
            let is_hit = |text: &str| search.needle.is_in(text);
            if is_hit(event.kind().name()) || is_hit(&words(names, outcome.charset, seq, event)) {
                found = Some(seq);
                if forward {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}

/// What is being searched, and how much of it has been looked through.
struct Search<'a> {
    needle: &'a Needle,
    among: Option<&'a [Seq]>,
    done: u64,
    all: u64,
}

fn words(names: &Names, charset: Charset, seq: Seq, event: &Event<'_>) -> String {
    let name = &|number| names.at(number, seq).map(|name| charset.decode(name));
    Told { event, charset, name, unwatched: names.unwatched(seq) }.words()
}

fn apply(
    source: &Source,
    state: &mut State,
    record: &Record<'_>,
    event: &Event<'_>,
) -> Result<(), Failure> {
    let Record { seq, time, place, .. } = *record;
    let applied = state.apply(Stamp { seq, time, place }, event, &mut |_| ());
    applied.map_err(|error| source.nonsense(seq, &error))
}

/// The events of a log, to be read again.
struct Events<'s> {
    source: &'s Source,
    reader: Reader<'s, DiskStorage>,
    /// In ascending order; the first one is before the first event.
    bookmarks: Vec<Bookmark>,
    /// Whether the reader stands where its mark says.
    is_placed: bool,
}

impl Events<'_> {
    /// Shows the events from `first` to `last`, both included, until `each` breaks off; answers whether it did not.
    fn walk(
        &mut self,
        first: Seq,
        last: Seq,
        mut each: impl FnMut(&Record<'_>, &Event<'_>) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<bool, Failure> {
        if first > last {
            return Ok(true);
        }
        self.turn_to(first)?;
        loop {
            self.is_placed = false;
            let batch = match self.reader.next_batch().map_err(failed)? {
                Step::Batch(batch) => batch,
                Step::End(End::Damaged(damage)) => return Err(self.source.damaged(&damage)),
                Step::End(_) => return Err(failed(ReadError::Compacted)),
            };
            for record in batch.records().filter(|record| record.seq >= first) {
                if record.seq > last {
                    break;
                }
                let event = Event::decode(record.kind, record.payload);
                let event = event.map_err(|error| self.source.nonsense(record.seq, &error))?;
                if each(&record, &event)?.is_break() {
                    self.is_placed = true;
                    return Ok(false);
                }
            }
            self.is_placed = true;
            if batch.header.last() >= last {
                return Ok(true);
            }
        }
    }

    /// Makes the batch that holds an event one of the next to be read.
    fn turn_to(&mut self, seq: Seq) -> Result<(), Failure> {
        let Some(bookmark) = self.bookmarks.get(self.block_of(seq)) else {
            return Err(failed(ReadError::Compacted));
        };
        let next = self.reader.mark().seq.next();
        if self.is_placed && next <= seq && next >= bookmark.first() {
            return Ok(());
        }
        self.reader.turn_to(bookmark).map_err(failed)
    }

    /// The index of the last bookmark that is not behind an event.
    fn block_of(&self, seq: Seq) -> usize {
        self.bookmarks.partition_point(|bookmark| bookmark.first() <= seq).saturating_sub(1)
    }

    /// The events from a bookmark to the next one; `last` is the end of the last one.
    fn stretch(&self, block: usize, last: Seq) -> (Seq, Seq) {
        let first = |index: usize| self.bookmarks.get(index).map(Bookmark::first);
        let behind = first(block + 1).map_or(last, |next| Seq(next.0 - 1));
        (first(block).unwrap_or(last.next()), behind)
    }
}

/// Looks on while a log is read for the first time.
struct Index {
    bookmarks: Vec<Bookmark>,
    names: Names,
    snapshots: Snapshots,
    last: Seq,
}

impl Index {
    fn new(room: Room, events: u64) -> Self {
        Self {
            bookmarks: Vec::new(),
            names: Names::default(),
            snapshots: Snapshots::new(room, events),
            last: Seq::ZERO,
        }
    }
}

impl Onlooker for Index {
    fn begin(&mut self, state: &State) -> Result<(), Failure> {
        self.names.begin(state);
        self.snapshots.begin(state);
        Ok(())
    }

    fn batch(&mut self, batch: &Batch<'_>) {
        let last = self.bookmarks.last().map(|bookmark| bookmark.first().0);
        if last.is_none_or(|last| batch.header.first.0 >= last.saturating_add(BOOKMARK_EVENTS)) {
            self.bookmarks.extend(Bookmark::before(batch));
        }
    }

    fn event(&mut self, happening: &Happening<'_>) -> Result<ControlFlow<()>, Failure> {
        self.names.event(happening);
        self.snapshots.pass(happening.state);
        self.last = happening.seq;
        Ok(ControlFlow::Continue(()))
    }
}
