//! Hashes that are to be made anew of the same password, since a login has shown that the one on record has another
//! cost than those that the server makes now.
//!
//! Owns which of them wait, and the one that is at work: one for each user, and not many. No login waits for one: they
//! have their turn when no other password waits. Whether one is wanted, and what becomes of it, is decided elsewhere.

use std::collections::VecDeque;

use super::kept::{self, KeptError, put_count};
use super::{PasswordJob, Task};
use crate::codec::secret::{Secret, SecretBuf};
use crate::codec::{Reader, Write};
use crate::id::ServiceNumber;
use crate::limits::RENEWALS_WAITING;

struct Renewal {
    ticket: u64,
    number: ServiceNumber,
    password: SecretBuf,
}

/// The hashes that are to be made anew.
#[derive(Default)]
pub(super) struct Renewals {
    waiting: VecDeque<Renewal>,
    at_work: Option<Renewal>,
}

impl Renewals {
    /// Whether there is room for this user's. Who finds none is asked for its password again some day.
    pub(super) fn has_room_for(&self, number: ServiceNumber) -> bool {
        self.waiting.len() < RENEWALS_WAITING && self.all().all(|other| other.number != number)
    }

    pub(super) fn add(&mut self, ticket: u64, number: ServiceNumber, password: SecretBuf) {
        self.waiting.push_back(Renewal { ticket, number, password });
    }

    /// The next one, which is then at work.
    pub(super) fn take_next(&mut self) -> Option<PasswordJob> {
        let renewal = self.waiting.pop_front()?;
        let task = Task::Hash { password: renewal.password.clone() };
        let ticket = renewal.ticket;
        self.at_work = Some(renewal);
        Some(PasswordJob { ticket, task })
    }

    pub(super) const fn is_at_work(&self) -> bool {
        self.at_work.is_some()
    }

    /// Whose was at work under this ticket, and no longer is.
    pub(super) fn finish(&mut self, ticket: u64) -> Option<ServiceNumber> {
        self.at_work.take_if(|renewal| renewal.ticket == ticket).map(|renewal| renewal.number)
    }

    /// The user has another password now.
    pub(super) fn forget(&mut self, number: ServiceNumber) {
        self.waiting.retain(|renewal| renewal.number != number);
    }

    /// The tickets of all.
    pub(super) fn tickets(&self) -> impl Iterator<Item = u64> {
        self.all().map(|renewal| renewal.ticket)
    }

    /// Whether there is one for each user at most, and no more than may be.
    pub(super) fn are_in_order(&self) -> bool {
        let mut users: Vec<_> = self.all().map(|renewal| renewal.number).collect();
        users.sort_unstable();
        users.is_sorted_by(|one, next| one < next) && self.waiting.len() <= RENEWALS_WAITING
    }

    /// Whether all are of users that are there.
    pub(super) fn are_of(&self, is_there: impl Fn(ServiceNumber) -> bool) -> bool {
        self.all().all(|renewal| is_there(renewal.number))
    }

    fn all(&self) -> impl Iterator<Item = &Renewal> {
        self.at_work.iter().chain(&self.waiting)
    }

    /// Without the passwords, which are not kept.
    pub(super) fn save(&self, out: &mut Vec<u8>) {
        out.put_u8(u8::from(self.is_at_work()));
        put_count(out, self.all().count());
        for renewal in self.all() {
            out.put_u64(renewal.ticket);
            out.put_u32(renewal.number.0);
        }
    }

    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), KeptError> {
        let is_at_work = kept::flag(reader)?;
        let renewal = |reader: &mut Reader<'_>| {
            let (ticket, number) = (reader.u64()?, kept::number(reader)?);
            Ok(Renewal { ticket, number, password: Secret::new(b"").to_owned() })
        };
        self.waiting = kept::list(reader, renewal)?.into();
        if is_at_work {
            self.at_work = Some(self.waiting.pop_front().ok_or(KeptError::Layout)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ServiceNumber = ServiceNumber(10_001);
    const BEN: ServiceNumber = ServiceNumber(10_002);

    fn password() -> SecretBuf {
        Secret::new(b"secret").to_owned()
    }

    fn two() -> Renewals {
        let mut renewals = Renewals::default();
        renewals.add(3, ANN, password());
        renewals.add(5, BEN, password());
        renewals
    }

    #[test]
    fn each_user_has_one_whether_it_waits_or_is_at_work() {
        let mut renewals = two();
        assert!(!renewals.has_room_for(ANN) && renewals.has_room_for(ServiceNumber(10_003)));
        let job = renewals.take_next().unwrap();
        assert!(job.ticket == 3 && matches!(job.task, Task::Hash { .. }));
        assert!(renewals.is_at_work() && !renewals.has_room_for(ANN));
        assert_eq!(
            (renewals.finish(5), renewals.finish(3), renewals.finish(3)),
            (None, Some(ANN), None)
        );
        assert!(renewals.has_room_for(ANN) && !renewals.has_room_for(BEN));
        renewals.forget(BEN);
        assert!(renewals.has_room_for(BEN) && renewals.take_next().is_none());
    }

    #[test]
    fn passwords_do_not_pile_up() {
        let mut renewals = Renewals::default();
        for index in 0..=u32::try_from(RENEWALS_WAITING).unwrap() {
            let number = ServiceNumber(ANN.0 + index);
            if renewals.has_room_for(number) {
                renewals.add(u64::from(index), number, password());
            }
        }
        assert_eq!(renewals.tickets().count(), RENEWALS_WAITING);
        assert!(renewals.are_in_order());
        renewals.add(99, ANN, password());
        assert!(!renewals.are_in_order());
    }

    #[test]
    fn what_is_kept_comes_back_without_passwords() {
        let mut renewals = two();
        for is_at_work in [false, true] {
            let mut bytes = Vec::new();
            renewals.save(&mut bytes);
            assert!(!bytes.windows(6).any(|window| window == b"secret"));
            let mut again = Renewals::default();
            again.restore(&mut Reader::new(&bytes)).unwrap();
            assert_eq!(again.is_at_work(), is_at_work);
            assert!(again.tickets().eq([3, 5]) && again.are_of(|number| number <= BEN));
            assert!(!again.are_of(|number| number == ANN));
            renewals.take_next();
        }
        let nobody_at_work = [1, 0, 0, 0, 0];
        assert!(Renewals::default().restore(&mut Reader::new(&nobody_at_work)).is_err());
    }
}
