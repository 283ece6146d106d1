//! The second reading of a log: every number in order, with what is kept of it or a filler.
//!
//! Owns the judgement whether an event makes sense on what is kept before it. One that does not is replaced
//! as a lost one is; the state never sees it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use indicatif::ProgressBar;
use oicq::id::{Place, Seq, ServiceNumber, UnixMillis};
use oicq::log::{
    Access, Batch, Damage, End, Reader, Record, Step, Storage, StoredFile, format, locate,
};
use oicq::state::sense::{self, Beyond};
use oicq::state::{Event, EventError, EventKind, KeptError, Stamp, State, Waiting};

use super::base::{Base, Restoration, Text};
use super::finding::Finding;
use super::substitute::{Run, no_password, substitute};
use super::users::each_user;
use super::{Harm, Position, Stretch, Survey};
use crate::failure::Failure;
use crate::source::failed;

/// Fillers in one batch: as many as a busy server writes in one turn.
const FILLERS_PER_BATCH: u64 = 4_096;

/// What a sink is given: the kind and the payload of a record.
pub(crate) type Bytes<'a> = (EventKind, Cow<'a, [u8]>);

/// Takes what is saved, batch by batch.
pub(crate) trait Sink {
    /// The records of one batch; the first has the number after the last one of the batch before.
    fn take(&mut self, time: UnixMillis, records: &[Bytes<'_>]) -> Result<(), Failure>;

    /// The state that a base is of, in front of all records; `text` has the texts that wait in it.
    fn take_base(&mut self, _: &Base, _: &State, _text: &mut Text<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Whoever only wants to know.
impl Sink for () {
    fn take(&mut self, _: UnixMillis, _: &[Bytes<'_>]) -> Result<(), Failure> {
        Ok(())
    }
}

/// Why an event that is as it was written is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// It is none, or does not fit the state before it.
    Error(EventError),
    /// It is a record of a base, and does not fit those before it.
    Kept(KeptError),
    /// The records of the base are not those of the state that it says it is of.
    Differs,
    /// It is beyond a limit that every server keeps.
    Beyond(EventKind, Beyond),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Kept(error) => error.fmt(f),
            Self::Differs => f.write_str("a base whose records do not agree with each other"),
            Self::Beyond(kind, beyond) => write!(f, "a {kind} event whose {beyond}"),
        }
    }
}

/// What there is in the end.
pub(crate) struct Salvaged {
    pub(crate) state: State,
    /// In the order of the log.
    pub(crate) findings: Vec<Finding>,
    /// Of each harm the users whose events are lost or make no sense for it.
    pub(crate) users: Vec<BTreeSet<ServiceNumber>>,
    /// Events that are kept as they were written.
    pub(crate) kept: u64,
    /// Numbers that no event can be had for.
    pub(crate) lost: u64,
    /// Events that are as they were written, and make no sense.
    pub(crate) senseless: u64,
    /// Digests of the state that were written anew, since it is another one.
    pub(crate) renewed: u64,
}

impl Salvaged {
    /// How many places there are that are not as they should be.
    pub(crate) fn places(&self) -> u64 {
        let counts = |finding: &&Finding| {
            !matches!(finding, Finding::Registrations(_) | Finding::KeptUsers { .. })
        };
        self.findings.iter().filter(counts).count() as u64
    }

    /// The numbers whose events are not kept, in order.
    pub(crate) fn not_saved(&self, survey: &Survey) -> Vec<Stretch> {
        let senseless = self.findings.iter().filter_map(|finding| match finding {
            Finding::Senseless { seq, .. } => Some(Stretch { first: *seq, last: *seq }),
            _ => None,
        });
        let mut all: Vec<_> = survey.lost.iter().copied().chain(senseless).collect();
        all.sort_unstable_by_key(|stretch| stretch.first);
        all.dedup_by(|later, earlier| {
            let joins = earlier.last.next() == later.first;
            if joins {
                earlier.last = later.last;
            }
            joins
        });
        all
    }

    /// Whether all that was in the log is kept.
    pub(crate) fn is_complete(&self, survey: &Survey) -> bool {
        let base = |harm: &Harm| harm.base_lost.is_some();
        let misfit = |finding: &Finding| {
            matches!(finding, Finding::Misfit { .. } | Finding::OtherState { .. })
        };
        self.not_saved(survey).is_empty()
            && !survey.harms.iter().any(base)
            && !self.findings.iter().any(misfit)
    }

    /// Whether nothing is wrong with the log but that this build makes another state of it than the one that
    /// wrote it: the first such place, and the last one where both made the same.
    pub(crate) fn made_otherwise(&self) -> Option<(Seq, Seq)> {
        match self.findings.first() {
            Some(Finding::OtherState { seq, agreed, .. }) => {
                let alone = |it| matches!(it, &Finding::OtherState { .. });
                self.findings.iter().all(alone).then_some((*seq, *agreed))
            }
            _ => None,
        }
    }

    /// Whether a server starts on the log all the same: limits are kept where requests are decided.
    pub(crate) fn opens(&self) -> bool {
        self.findings.iter().all(|finding| match finding {
            Finding::Harm(_)
            | Finding::Misfit { .. }
            | Finding::KeptUsers { .. }
            | Finding::OtherState { .. } => false,
            Finding::Senseless { why, .. } => matches!(why, Why::Beyond(..)),
            // One whose place is not damaged is beyond a limit itself.
            Finding::Registrations(_) => true,
        })
    }

    /// Whether a user whose registration is lost has got a password since.
    pub(crate) fn can_log_in(&self, user: ServiceNumber) -> bool {
        self.state.user(user).is_some_and(|user| user.password_hash() != no_password())
    }
}

struct Walker<'a, K> {
    survey: &'a Survey,
    sink: &'a mut K,
    salvaged: Salvaged,
    time: UnixMillis,
    /// Whether what is kept makes another state than what was written, as far as is known.
    is_other: bool,
    /// How many of the survey's harms, stretches and runs have been passed.
    harms: usize,
    stretches: usize,
    runs: usize,
    /// The base, until all of it has been taken in.
    restoration: Option<Restoration>,
    /// What is kept becomes part of a state, and is not handed on by itself.
    is_folding: bool,
}

/// Goes through a log that was surveyed, and gives all that can be saved to `sink`.
///
/// # Errors
/// If the sink fails, or the log cannot be read, or does not read as it did before.
pub(crate) fn walk<S: Storage>(
    storage: &S,
    survey: &Survey,
    sink: &mut impl Sink,
    bar: &ProgressBar,
) -> Result<Salvaged, Failure> {
    let (mut reader, _) = Reader::open_lenient(storage).map_err(failed)?;
    let salvaged = Salvaged {
        state: State::default(),
        findings: Vec::new(),
        users: vec![BTreeSet::new(); survey.harms.len()],
        kept: 0,
        lost: 0,
        senseless: 0,
        renewed: 0,
    };
    let (time, is_other) = (UnixMillis(0), false);
    let restoration = survey.base.is_some().then(Restoration::default);
    let (harms, stretches, runs, is_folding) = (0, 0, 0, survey.folded.is_some());
    let mut walker = Walker {
        survey,
        sink,
        salvaged,
        time,
        is_other,
        harms,
        stretches,
        runs,
        restoration,
        is_folding,
    };
    let names = reader.segments().iter().map(|segment| segment.name.clone()).collect();
    let mut texts = Texts { storage, names, file: None };
    let mut position = Position::default();
    while !walker.is_done() {
        match reader.next_batch().map_err(failed)? {
            // What a running server has written since.
            Step::Batch(batch) if batch.base.is_some() => {
                walker.restore(&batch)?;
                bar.set_position(position.behind(&batch));
            }
            Step::Batch(batch) if batch.header.first > survey.last => break,
            Step::Batch(batch) => {
                walker.leave_base(&mut texts)?;
                walker.fill(batch.header.first, batch.header.time, &mut texts)?;
                walker.take(&batch)?;
                bar.set_position(position.behind(&batch));
            }
            Step::End(End::Damaged(damage)) => {
                walker.pass(&damage)?;
                reader.resume().map_err(failed)?;
            }
            Step::End(End::Whole | End::Torn(_)) => break,
        }
    }
    walker.leave_base(&mut texts)?;
    walker.fill(survey.last.next(), UnixMillis(0), &mut texts)?;
    Ok(walker.salvaged)
}

/// Reads the texts that wait in a state.
struct Texts<'a, S: Storage> {
    storage: &'a S,
    /// The log's files, in their order.
    names: Vec<String>,
    /// The one that was read last, and which it is.
    file: Option<(usize, S::File)>,
}

impl<S: Storage> Texts<'_, S> {
    fn read(&mut self, waiting: &Waiting, out: &mut Vec<u8>) -> Result<(), Failure> {
        let (index, offset) = locate(waiting.place);
        let name = self.names.get(index).map_or("", String::as_str);
        let path = self.storage.path(name);
        let failed = |error: std::io::Error| Failure::cannot("read", path.display(), &error);
        let (_, file) = match &mut self.file {
            Some(file) if file.0 == index => file,
            other => {
                let file = self.storage.open(name, Access::Read).map_err(failed)?;
                other.insert((index, file))
            }
        };
        let from = out.len();
        out.resize(from + usize::try_from(waiting.length).unwrap_or_default(), 0);
        file.read_at(&mut out[from..], offset).map_err(failed)?;
        let same = format::checksum(0, &out[from..]) == waiting.checksum;
        if same { Ok(()) } else { Err(unsteady(&path)) }
    }
}

/// The disk gives other bytes than a moment ago.
fn unsteady(path: &std::path::Path) -> Failure {
    Failure::Failed(format!(
        "{} does not read the same twice; copy the folder to a sound disk, and try again there",
        path.display()
    ))
}

impl<K: Sink> Walker<'_, K> {
    fn is_done(&self) -> bool {
        self.restoration.is_none()
            && self.salvaged.state.last_seq() == self.survey.last
            && self.harms == self.survey.harms.len()
    }

    /// Goes past a damaged place that is known from the survey.
    fn pass(&mut self, damage: &Damage) -> Result<(), Failure> {
        let known = self.survey.harms.get(self.harms).map(|harm| &harm.damage);
        if known != Some(damage) {
            return Err(unsteady(&damage.file));
        }
        self.salvaged.findings.push(Finding::Harm(self.harms));
        self.harms += 1;
        Ok(())
    }

    fn restore(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        match (&self.survey.base, &mut self.restoration) {
            (Some(base), Some(restoration)) => {
                restoration.take(base, batch, &mut self.salvaged.state)
            }
            _ => Err(Failure::Failed("a base where there was none a moment ago".to_owned())),
        }
    }

    /// The base has been read, as far as it can be.
    fn leave_base<S: Storage>(&mut self, texts: &mut Texts<'_, S>) -> Result<(), Failure> {
        let Some(mut restoration) = self.restoration.take() else { return Ok(()) };
        let Some(base) = &self.survey.base else { return Ok(()) };
        restoration.finish(base, &mut self.salvaged.state)?;
        self.time = base.origin.time;
        let seq = base.origin.seq;
        self.is_other = base.is_harmed || !restoration.misfits.is_empty();
        for (first, last) in restoration.missing {
            self.salvaged.findings.push(Finding::KeptUsers { seq, first, last });
            let users = (first.0..=last.0).map(ServiceNumber);
            if let Some(users_of) = self.base_harm() {
                users_of.extend(users);
            }
        }
        for (why, users) in restoration.misfits {
            if let Some(users_of) = self.base_harm() {
                users_of.extend(&users);
            }
            self.salvaged.findings.push(Finding::Misfit { seq, why, users });
        }
        self.give_base(base, texts)
    }

    /// Hands on the state as it is now, in front of all that is still to come.
    fn give_base<S: Storage>(
        &mut self,
        base: &Base,
        texts: &mut Texts<'_, S>,
    ) -> Result<(), Failure> {
        if self.is_folding {
            return Ok(());
        }
        let mut text = |waiting: &Waiting, out: &mut Vec<u8>| texts.read(waiting, out);
        self.sink.take_base(base, &self.salvaged.state, &mut text)
    }

    /// Hands on what has been applied.
    fn give(&mut self, records: &[Bytes<'_>]) -> Result<(), Failure> {
        if self.is_folding { Ok(()) } else { self.sink.take(self.time, records) }
    }

    /// The users that the last harm of the base touches.
    fn base_harm(&mut self) -> Option<&mut BTreeSet<ServiceNumber>> {
        let harms = &self.survey.harms[..self.harms];
        let index = harms.iter().rposition(|harm| harm.base_lost.is_some())?;
        self.salvaged.users.get_mut(index)
    }

    /// Fills the numbers before `next` that have no event. In front of all events, the fillers have the time of
    /// the first one.
    fn fill<S: Storage>(
        &mut self,
        next: Seq,
        time: UnixMillis,
        texts: &mut Texts<'_, S>,
    ) -> Result<(), Failure> {
        let expected = self.salvaged.state.last_seq().next();
        let gap = (expected < next).then(|| Stretch { first: expected, last: Seq(next.0 - 1) });
        let stretch = self.survey.lost.get(self.stretches).copied();
        if gap != stretch.filter(|stretch| stretch.first == expected) {
            let harm = self.survey.harms.first();
            let file = harm.map(|harm| harm.damage.file.as_path());
            return Err(unsteady(file.unwrap_or(std::path::Path::new("the log"))));
        }
        let Some(Stretch { first, last }) = gap else { return Ok(()) };
        self.stretches += 1;
        if self.time == UnixMillis(0) {
            self.time = time;
        }
        if self.is_folding {
            self.pass_over(Stretch { first, last })?;
            return if self.survey.folded == Some(last) { self.fold(texts) } else { Ok(()) };
        }
        let mut at = first;
        while at <= last {
            let until = Seq(last.0.min(at.0 + FILLERS_PER_BATCH - 1));
            self.fill_batch(Stretch { first: at, last: until })?;
            at = until.next();
        }
        Ok(())
    }

    /// Goes past lost numbers all at once. Of the state that follows, only the registrations among them are a part.
    fn pass_over(&mut self, stretch: Stretch) -> Result<(), Failure> {
        self.is_other = true;
        for (seq, user) in self.registrations(stretch) {
            self.put_in_place(seq, Some(user))?;
        }
        if self.salvaged.state.last_seq() < stretch.last {
            self.put_in_place(stretch.last, None)?;
        }
        self.salvaged.lost += stretch.len();
        Ok(())
    }

    /// From here on what is kept is handed on by itself; what was kept so far, as the state that it makes.
    fn fold<S: Storage>(&mut self, texts: &mut Texts<'_, S>) -> Result<(), Failure> {
        self.is_folding = false;
        let seq = self.salvaged.state.last_seq();
        match Base::in_place_of(self.survey, seq, self.time) {
            Some(base) => self.give_base(&base, texts),
            None => Ok(()),
        }
    }

    fn fill_batch(&mut self, stretch: Stretch) -> Result<(), Failure> {
        self.is_other = true;
        let mut registrations = self.registrations(stretch).into_iter().peekable();
        let mut records = Vec::new();
        for seq in (stretch.first.0..=stretch.last.0).map(Seq) {
            let user = registrations.next_if(|(of, _)| *of == seq).map(|(_, user)| user);
            records.push(self.put_in_place(seq, user)?);
        }
        self.salvaged.lost += stretch.len();
        self.give(&records)
    }

    /// Applies what takes the place of an event: a registration where one is lost, else nothing.
    fn put_in_place(
        &mut self,
        seq: Seq,
        user: Option<ServiceNumber>,
    ) -> Result<Bytes<'static>, Failure> {
        self.put(seq, &user.map_or(Event::Lost, substitute))
    }

    /// Applies an event that was not written.
    fn put(&mut self, seq: Seq, event: &Event<'_>) -> Result<Bytes<'static>, Failure> {
        let stamp = Stamp { seq, time: self.time, place: Place(0) };
        let applied = self.salvaged.state.apply(stamp, event, &mut |_| ());
        applied.map_err(|error| {
            Failure::Failed(format!("sequence number {seq}: {error}, in place of a lost one"))
        })?;
        let mut payload = Vec::new();
        event.encode(&mut payload);
        Ok((event.kind(), payload.into()))
    }

    /// The registrations that are lost in this stretch; each run is listed when it begins.
    fn registrations(&mut self, stretch: Stretch) -> Vec<(Seq, ServiceNumber)> {
        let mut found = Vec::new();
        while let Some(run) = self.survey.substitutes.get(self.runs)
            && run.seqs.first <= stretch.last
        {
            found.extend(run.within(stretch));
            if run.seqs.first >= stretch.first {
                self.list(*run);
            }
            if run.seqs.last > stretch.last {
                break;
            }
            self.runs += 1;
        }
        found
    }

    fn list(&mut self, run: Run) {
        self.salvaged.findings.push(Finding::Registrations(run));
        let harms = self.survey.harms[..self.harms].iter().zip(&mut self.salvaged.users);
        for (harm, users) in harms.rev() {
            match harm.lost {
                Some(lost) if lost.last < run.seqs.first => break,
                Some(lost) => users.extend(run.within(lost).map(|(_, user)| user)),
                None => {}
            }
        }
    }

    fn take(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        self.time = self.time.max(batch.header.time);
        let mut records = Vec::with_capacity(usize::try_from(batch.header.count).unwrap_or(0));
        for record in batch.records() {
            records.push(self.judge(&record)?);
        }
        self.give(&records)
    }

    /// Applies a record, or the filler that takes its place.
    fn judge<'r>(&mut self, record: &Record<'r>) -> Result<Bytes<'r>, Failure> {
        let stamp = Stamp { seq: record.seq, time: self.time, place: record.place };
        match self.apply(stamp, record.kind, record.payload) {
            Ok(kind) => {
                // A digest that agrees shows that what is lost has left no trace.
                self.is_other &= kind != EventKind::StateDigest;
                self.salvaged.kept += 1;
                Ok((kind, record.payload.into()))
            }
            Err(Why::Error(error @ EventError::OtherState { agreed, .. })) => {
                let seq = record.seq;
                self.renew_digest(seq, Finding::OtherState { seq, agreed, error })
            }
            Err(why) => {
                self.give_up(record, why);
                let alone = Stretch { first: record.seq, last: record.seq };
                let user = self.registrations(alone).first().map(|(_, user)| *user);
                self.put_in_place(record.seq, user)
            }
        }
    }

    /// Without what is lost, the state is another one, and its digest is written anew: the copy goes on checking
    /// itself. Where nothing is lost, another build has written the log, and made another state of it.
    fn renew_digest(&mut self, seq: Seq, finding: Finding) -> Result<Bytes<'static>, Failure> {
        if !std::mem::replace(&mut self.is_other, true) {
            self.salvaged.findings.push(finding);
        }
        self.salvaged.renewed += 1;
        let digest = self.salvaged.state.running_digest();
        self.put(seq, &Event::StateDigest { digest })
    }

    fn apply(&mut self, stamp: Stamp, kind: u8, payload: &[u8]) -> Result<EventKind, Why> {
        let event = Event::decode(kind, payload).map_err(Why::Error)?;
        let state = &mut self.salvaged.state;
        sense::check(state, &event).map_err(|beyond| Why::Beyond(event.kind(), beyond))?;
        state.apply(stamp, &event, &mut |_| ()).map_err(Why::Error)?;
        Ok(event.kind())
    }

    fn give_up(&mut self, record: &Record<'_>, why: Why) {
        let mut users = BTreeSet::new();
        if let Ok(event) = Event::decode(record.kind, record.payload) {
            each_user(&event, &mut |user| {
                users.insert(user);
            });
        }
        // What is lost last is the likeliest to be missed.
        if let Some(harm) = self.harms.checked_sub(1) {
            self.salvaged.users[harm].extend(&users);
        }
        self.is_other = true;
        self.salvaged.senseless += 1;
        self.salvaged.findings.push(Finding::Senseless { seq: record.seq, why, users });
    }
}
