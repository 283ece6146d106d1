//! What can be saved of a damaged log: the one walk that `verify` reports from and `repair` writes from.
//!
//! A log is read twice. The [`survey`] finds out what is lost: the numbers that no event can be had for, and
//! the registrations among them. The [`walk`](walk::walk) then goes through all numbers in order, applies what
//! there is, and hands it on with fillers in the place of what is lost, so that every later event keeps its
//! number. Memory is proportional to the damages and to the state, never to the log.
//!
//! Nothing here writes anything, and nothing here trusts bytes that fail their check: what is told of them is
//! marked as a guess.

mod base;
mod finding;
mod substitute;
#[cfg(test)]
mod tests;
mod users;
mod walk;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;

use indicatif::ProgressBar;
use oicq::id::{Seq, ServiceNumber, UnixMillis};
use oicq::log::format::RECORD_HEADER_LEN;
use oicq::log::{
    Access, Batch, Damage, End, Identity, ReadError, Reader, Resumed, Step, Storage, StoredFile,
    Torn,
};
use oicq::state::partial::{Told, told};
use oicq::state::{Event, EventError, EventKind, sense};

pub(crate) use base::{Base, Text};
pub(crate) use finding::{count, torn_json, write_json, write_text};
pub(crate) use substitute::Run;
pub(crate) use walk::{Bytes, Salvaged, Sink, walk};

use substitute::Plan;

/// Bytes that a base needs for a user at least.
const USER_BYTES_MIN: u64 = 48;
/// Lost numbers, and lost users, that are believed in however little is left of the log; for more of them there must be
/// bytes that could hold them. So the work is bounded by the bytes, and not by a number that stands in them.
const BELIEVED_MIN: u64 = 1 << 16;

/// Sequence numbers from the first to the last, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stretch {
    pub(crate) first: Seq,
    pub(crate) last: Seq,
}

impl Stretch {
    pub(crate) const fn len(self) -> u64 {
        self.last.0 - self.first.0 + 1
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first == last => first.fmt(f),
            Self { first, last } => write!(f, "{first} to {last}"),
        }
    }
}

/// A place that is damaged, and what it takes with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Harm {
    pub(crate) damage: Damage,
    /// The events that are lost for it.
    pub(crate) lost: Option<Stretch>,
    /// The records of the base that are lost for it, counted from 1, up to the last one where that is known.
    pub(crate) base_lost: Option<(u64, Option<u64>)>,
    /// Whether nothing tells how many more came behind.
    pub(crate) end_unknown: bool,
    /// The users who are named by what is left of the events, which no checksum vouches for.
    pub(crate) users_perhaps: BTreeSet<ServiceNumber>,
}

/// What the first reading has found out.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) identity: Option<Identity>,
    /// The state that compaction has kept in the place of events.
    pub(crate) base: Option<Base>,
    pub(crate) harms: Vec<Harm>,
    /// The numbers that no event can be had for, in order, each stretch between events that can.
    pub(crate) lost: Vec<Stretch>,
    /// More numbers are lost than can be filled: all up to here, which is the last of such a stretch, is kept as the
    /// state that it makes.
    pub(crate) folded: Option<Seq>,
    /// The registrations among them, in order.
    pub(crate) substitutes: Vec<Run>,
    /// The last number that there is, lost or not.
    pub(crate) last: Seq,
    pub(crate) torn: Option<Torn>,
    /// The first event that only a newer version knows.
    pub(crate) newer: Option<(Seq, EventError)>,
    pub(crate) events: u64,
    pub(crate) batches: u64,
    pub(crate) bytes: u64,
    pub(crate) files: usize,
    pub(crate) last_read: Seq,
}

/// Reads all of a log, leniently, and finds out what is lost of it.
///
/// # Errors
/// If the folder or a file may not be read, or is newer than this program.
pub(crate) fn survey<S: Storage>(storage: &S, bar: &ProgressBar) -> Result<Survey, ReadError> {
    let (mut reader, identity) = Reader::open_lenient(storage)?;
    let bytes = bytes_of(storage, &reader);
    let users_max = BELIEVED_MIN + bytes / USER_BYTES_MIN;
    let plan = Plan::of_at_most(users_max);
    let mut surveyor = Surveyor { plan, users_max, ..Surveyor::default() };
    surveyor.begin(&reader);
    let mut position = Position::default();
    loop {
        match reader.next_batch()? {
            Step::Batch(batch) => {
                surveyor.take(&batch);
                bar.set_position(position.behind(&batch));
                continue;
            }
            Step::End(End::Damaged(damage)) => {
                let mut users_perhaps = BTreeSet::new();
                let in_base = damage.file.extension() == Some(OsStr::new("base"));
                let guess = if in_base { guess_kept } else { guess };
                let resumed = reader
                    .resume_over(&mut |kind, payload| guess(kind, payload, &mut users_perhaps))?;
                let end_unknown = matches!(resumed, Resumed::Finished { .. });
                let base_lost = match resumed {
                    Resumed::BaseLost { first, last } => Some((first, last)),
                    _ => None,
                };
                surveyor.harm(Harm { damage, lost: None, base_lost, end_unknown, users_perhaps });
                if !end_unknown {
                    continue;
                }
            }
            Step::End(End::Torn(torn)) => surveyor.survey.torn = Some(torn),
            Step::End(End::Whole) => {}
        }
        break;
    }
    // Behind the end, a reader still tells what had been on disk.
    if let Resumed::Finished { durable } = reader.resume()? {
        let size = identity.as_ref().map_or(0, |identity| identity.segment_size);
        let bytes = reader.segments().iter().map(|segment| segment.len.max(size)).sum();
        surveyor.end(durable, bytes);
    }
    let Surveyor { plan, mut survey, mut kept, .. } = surveyor;
    let users_in_base;
    (survey.substitutes, users_in_base) = plan.into_runs();
    kept.users = users_in_base;
    survey.folded = folded(&survey.lost, BELIEVED_MIN + bytes / RECORD_HEADER_LEN as u64);
    survey.base = Base::of(&reader, identity.as_ref(), &kept);
    survey.files = reader.segments().len();
    survey.identity = identity;
    Ok(survey)
}

/// How many bytes the log's files have, as far as they can be opened.
fn bytes_of<S: Storage>(storage: &S, reader: &Reader<'_, S>) -> u64 {
    let size = |name: &str| storage.open(name, Access::Read).and_then(|file| file.size());
    let sizes = reader.segments().iter().map(|segment| size(&segment.name).unwrap_or_default());
    sizes.fold(0, u64::saturating_add)
}

/// Behind which number the lost ones are few enough to be filled one by one.
fn folded(lost: &[Stretch], filled_max: u64) -> Option<Seq> {
    let mut filled = 0;
    let mut from_the_last = lost.iter().rev();
    let is_too_much = |stretch: &&Stretch| {
        filled += stretch.len();
        filled > filled_max
    };
    from_the_last.find(is_too_much).map(|stretch| stretch.last)
}

/// Takes the users of what may be an event, and answers whether it makes sense.
fn guess(kind: u8, payload: &[u8], users: &mut BTreeSet<ServiceNumber>) -> bool {
    match Event::decode(kind, payload) {
        Ok(event) if sense::check_event(&event).is_ok() => {
            users::each_user(&event, &mut |user| {
                users.insert(user);
            });
            true
        }
        _ => false,
    }
}

/// The same for what may be a record of a base.
fn guess_kept(kind: u8, payload: &[u8], users: &mut BTreeSet<ServiceNumber>) -> bool {
    match told(kind, payload) {
        Some(Told::User(user)) => {
            users.insert(user);
        }
        Some(Told::OfUser(all) | Told::Names(all)) => users.extend(all),
        Some(Told::Count(_)) => {}
        None => return false,
    }
    true
}

/// What the records of a base have told so far.
#[derive(Default)]
struct Kept {
    /// How many users there must be.
    users: u32,
    /// Whether the last record, which counts them, has been read.
    is_counted: bool,
    is_harmed: bool,
    time: UnixMillis,
    /// The time of the first event behind it: no base is from later.
    time_behind: Option<UnixMillis>,
}

#[derive(Default)]
struct Surveyor {
    plan: Plan,
    kept: Kept,
    /// Whether the base is behind what is being read.
    is_behind_base: bool,
    /// As many users as the base can have had.
    users_max: u64,
    /// The first of the harms behind which nothing has been read yet.
    open: usize,
    survey: Survey,
}

impl Surveyor {
    /// Begins at the base, where there is one.
    fn begin<S: Storage>(&mut self, reader: &Reader<'_, S>) {
        match reader.segments().first() {
            Some(base) if base.is_base => {
                self.survey.last = Seq(base.first.0 - 1);
                self.survey.last_read = self.survey.last;
                if base.len > 0 {
                    self.users_max = self.users_max.min(base.len / USER_BYTES_MIN);
                }
            }
            _ => self.is_behind_base = true,
        }
    }

    fn harm(&mut self, harm: Harm) {
        let in_base = harm.base_lost.is_some();
        self.survey.harms.push(harm);
        if in_base {
            self.kept.is_harmed = true;
            // What is lost of the base is no event.
            self.open = self.survey.harms.len();
        }
    }

    /// The records of the base are all there, or lost.
    fn leave_base(&mut self) {
        if !std::mem::replace(&mut self.is_behind_base, true) {
            let is_open = self.kept.is_harmed || !self.kept.is_counted;
            self.kept.is_harmed = is_open;
            let users = u64::from(self.kept.users).min(self.users_max);
            self.kept.users = u32::try_from(users).unwrap_or(u32::MAX);
            let room = if self.kept.is_counted { 0 } else { self.users_max - users };
            self.plan.begin_behind(self.kept.users, room);
        }
    }

    fn take_kept(&mut self, batch: &Batch<'_>) {
        let kept = &mut self.kept;
        kept.time = kept.time.max(batch.header.time);
        for record in batch.records() {
            let highest = match told(record.kind, record.payload) {
                Some(Told::User(user)) => user,
                Some(Told::OfUser(users) | Told::Names(users)) => {
                    users.into_iter().max().unwrap_or_default()
                }
                Some(Told::Count(count)) => {
                    kept.is_counted = true;
                    kept.users = kept.users.max(u32::try_from(count).unwrap_or(u32::MAX));
                    continue;
                }
                None => continue,
            };
            let count = highest.0.checked_sub(ServiceNumber::FIRST.0).map_or(0, |index| index + 1);
            kept.users = kept.users.max(count);
        }
    }

    /// Everything in front of `next` that has not been read is lost.
    fn settle(&mut self, next: Seq) {
        let expected = self.survey.last.next();
        let open = &mut self.survey.harms[self.open..];
        // Each harm takes what belongs between its place and the next one's.
        let mut until = next;
        for harm in open.iter_mut().rev() {
            let first = harm.damage.seq.max(expected);
            if first < until {
                harm.lost = Some(Stretch { first, last: Seq(until.0 - 1) });
                until = first;
            }
        }
        self.open = self.survey.harms.len();
        if expected < next {
            let stretch = Stretch { first: expected, last: Seq(next.0 - 1) };
            self.survey.lost.push(stretch);
            self.plan.lose(stretch);
            self.survey.last = stretch.last;
        }
    }

    /// Nothing more can be read. The names of files that cannot be read tell of events too, of no more than
    /// so many bytes can hold: a name alone proves nothing.
    fn end(&mut self, durable: Seq, bytes: u64) {
        self.leave_base();
        let (last, open) = (self.survey.last, self.open);
        let likely = last.0 + bytes / RECORD_HEADER_LEN as u64;
        let named = self.survey.harms[open..].iter().map(|harm| harm.damage.seq);
        let named = named.filter(|seq| seq.0 <= likely).max();
        self.settle(durable.next().max(named.unwrap_or_default()));
        // What no number was believed of may hold events all the same.
        let mut behind = Seq::ZERO;
        for harm in self.survey.harms[open..].iter_mut().rev() {
            harm.end_unknown |= harm.lost.is_none() && harm.damage.seq < behind;
            behind = harm.damage.seq;
        }
    }

    fn take(&mut self, batch: &Batch<'_>) {
        if batch.base.is_some() {
            self.take_kept(batch);
            self.survey.batches += 1;
            self.survey.bytes += batch.header.total();
            return;
        }
        self.leave_base();
        self.kept.time_behind.get_or_insert(batch.header.time);
        self.settle(batch.header.first);
        for record in batch.records() {
            let registered = record.kind == EventKind::Registered as u8;
            match Event::decode(record.kind, record.payload) {
                Ok(event) if sense::check_event(&event).is_ok() => match event {
                    Event::Registered { number, .. } => self.plan.register(number),
                    event => {
                        let mut highest = ServiceNumber::NONE;
                        users::each_user(&event, &mut |user| highest = highest.max(user));
                        self.plan.mention(highest);
                    }
                },
                Err(error @ (EventError::UnknownKind(_) | EventError::Longer(_))) => {
                    self.survey.newer.get_or_insert((record.seq, error));
                }
                _ if registered => {
                    self.plan.lose(Stretch { first: record.seq, last: record.seq });
                }
                _ => {}
            }
        }
        let survey = &mut self.survey;
        survey.events += u64::from(batch.header.count);
        survey.batches += 1;
        survey.bytes += batch.header.total();
        survey.last = batch.header.last();
        survey.last_read = survey.last;
    }
}

/// How far a reading has come, in bytes of all files.
#[derive(Default)]
struct Position {
    segment: usize,
    before: u64,
    end: u64,
}

impl Position {
    fn behind(&mut self, batch: &Batch<'_>) -> u64 {
        if batch.segment != self.segment {
            (self.segment, self.before) = (batch.segment, self.end);
        }
        self.end = self.before + batch.offset + batch.header.total();
        self.end
    }
}
