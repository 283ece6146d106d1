//! The base of a compacted log: what is known of it, and its way into the state.
//!
//! Owns what becomes of a base of which records are lost: users without a record are put in as those whose
//! registrations are lost, and the friend lists are made to agree. A base that is whole is taken as it is.

use std::collections::BTreeSet;

use oicq::id::{Place, Seq, ServiceNumber, UnixMillis};
use oicq::log::{Batch, Identity, Origin, Reader, Record, Storage};
use oicq::state::partial::{Told, told};
use oicq::state::{Digest, Event, Stamp, State, Waiting, kept_digest};

use super::substitute::substitute;
use super::walk::Why;
use super::{Kept, Survey, guess_kept};
use crate::failure::Failure;

/// A base, as far as it could be read.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// What it says about the log that it belongs to.
    pub(crate) origin: Origin,
    /// How many users it has had.
    pub(super) users: u32,
    /// Whether records are lost.
    pub(super) is_harmed: bool,
}

/// Appends the text of a waiting message to the bytes that it is given.
pub(crate) type Text<'a> = dyn FnMut(&Waiting, &mut Vec<u8>) -> Result<(), Failure> + 'a;

impl Base {
    /// The base of a log that has been read to its end; `None` if it has none.
    pub(super) fn of<S: Storage>(
        reader: &Reader<'_, S>,
        identity: Option<&Identity>,
        kept: &Kept,
    ) -> Option<Self> {
        let base = reader.segments().first().filter(|first| first.is_base)?;
        let identity = identity?;
        let header = base.header.as_ref().filter(|header| header.log_id == identity.log_id);
        // The segment behind it is chained to the same batch.
        let next = reader.segments().get(1).and_then(|next| next.header.as_ref());
        let next = next.filter(|next| next.first == base.first);
        let time = kept.time.max(header.map_or(UnixMillis(0), |header| header.created));
        let origin = Origin {
            charset: identity.charset,
            log_id: identity.log_id,
            generation: header.map_or(1, |header| header.generation),
            seq: Seq(base.first.0 - 1),
            time: time.min(kept.time_behind.unwrap_or(time)),
            chain: header.or(next).map_or(0, |header| header.chain),
        };
        Some(Self { origin, users: kept.users, is_harmed: kept.is_harmed })
    }

    /// The base that takes the place of all that comes before, up to this number.
    pub(super) fn in_place_of(survey: &Survey, seq: Seq, time: UnixMillis) -> Option<Self> {
        let Identity { log_id, charset, .. } = *survey.identity.as_ref()?;
        let generation = survey.base.as_ref().map_or(1, |base| base.origin.generation);
        // Nothing tells the checksum of what is lost.
        let origin = Origin { charset, log_id, generation, seq, time, chain: 0 };
        Some(Self { origin, users: 0, is_harmed: true })
    }
}

/// A base on its way into a state.
#[derive(Default)]
pub(super) struct Restoration {
    /// What its last record says.
    digest: Option<Digest>,
    is_partial: bool,
    /// Users that were put in, in rows from the first to the last.
    pub(super) missing: Vec<(ServiceNumber, ServiceNumber)>,
    /// Records that do not fit, with the users that they name.
    pub(super) misfits: Vec<(Why, BTreeSet<ServiceNumber>)>,
}

impl Restoration {
    /// Takes the records of a batch in.
    pub(super) fn take(
        &mut self,
        base: &Base,
        batch: &Batch<'_>,
        state: &mut State,
    ) -> Result<(), Failure> {
        for record in batch.records() {
            self.digest = kept_digest(record.kind, record.payload);
            if base.is_harmed {
                self.fill(base, until(base, &record), state)?;
            }
            let Record { seq, time, kind, payload, place, .. } = record;
            let stamp = Stamp { seq, time, place };
            let restored = if base.is_harmed {
                state.restore_partly(stamp, kind, payload)
            } else {
                state.restore(stamp, kind, payload)
            };
            if let Err(error) = restored {
                let mut users = BTreeSet::new();
                guess_kept(kind, payload, &mut users);
                self.misfits.push((Why::Kept(error), users));
                self.is_partial = true;
            }
        }
        Ok(())
    }

    /// Puts users in until there are so many.
    fn fill(&mut self, base: &Base, count: u32, state: &mut State) -> Result<(), Failure> {
        let Origin { seq, time, .. } = base.origin;
        while let Some(number) = state.next_number()
            && number.0 - ServiceNumber::FIRST.0 < count
        {
            let (event, stamp) = (substitute(number), Stamp { seq, time, place: Place(0) });
            let applied = state.apply(stamp, &event, &mut |_| ());
            applied.map_err(|error| Failure::Failed(format!("sequence number {seq}: {error}")))?;
            match self.missing.last_mut() {
                Some(row) if row.1.0 + 1 == number.0 => row.1 = number,
                _ => self.missing.push((number, number)),
            }
        }
        Ok(())
    }

    /// Makes the state what the base is the state of, as far as that can be.
    pub(super) fn finish(&mut self, base: &Base, state: &mut State) -> Result<(), Failure> {
        if base.is_harmed {
            self.fill(base, base.users, state)?;
        }
        if base.is_harmed || self.is_partial {
            state.settle_partly();
        } else if self.digest != Some(state.digest()) || state.find_contradiction().is_some() {
            self.misfits.push((Why::Differs, BTreeSet::new()));
            state.settle_partly();
        }
        let Origin { seq, time, .. } = base.origin;
        let stamp = Stamp { seq, time, place: Place(0) };
        let applied = state.apply(stamp, &Event::Lost, &mut |_| ());
        applied.map_err(|error| Failure::Failed(format!("sequence number {seq}: {error}")))
    }
}

/// How many users there must be in front of a record.
fn until(base: &Base, record: &Record<'_>) -> u32 {
    let index = |user: &ServiceNumber| user.0.saturating_sub(ServiceNumber::FIRST.0);
    match told(record.kind, record.payload) {
        Some(Told::User(user)) => index(&user),
        Some(Told::OfUser(users)) => users.first().map_or(0, |owner| index(owner) + 1),
        Some(Told::Names(_) | Told::Count(_)) => base.users,
        None => 0,
    }
    .min(base.users)
}
