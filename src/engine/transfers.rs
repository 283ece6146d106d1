//! File transfers between two sessions: offered, allowed, flowing. Protocol section 4, `0x13` to `0x15`.
//!
//! Knows numbers and lengths; the file itself only passes through. Nothing of it is in the log.

use std::collections::{BTreeMap, BTreeSet};

use super::kept::{KeptError, flag, number, put_count};
use crate::codec::{Reader, Write};
use crate::id::ServiceNumber;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Transfer {
    length: u32,
    sent: u32,
    allowed: bool,
}

/// What becomes of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    /// It is passed on.
    Passed,
    /// It goes over the length: the transfer has ended.
    TooLong,
    /// There is no transfer that it belongs to.
    Unknown,
}

/// All transfers, by sender and receiver: one at a time from one to another.
#[derive(Default)]
pub(super) struct Transfers {
    by_sender: BTreeMap<(ServiceNumber, ServiceNumber), Transfer>,
    by_receiver: BTreeSet<(ServiceNumber, ServiceNumber)>,
}

impl Transfers {
    /// An offer; false where there is one already.
    pub(super) fn offer(&mut self, from: ServiceNumber, to: ServiceNumber, length: u32) -> bool {
        if self.by_sender.contains_key(&(from, to)) {
            return false;
        }
        self.by_sender.insert((from, to), Transfer { length, sent: 0, allowed: false });
        self.by_receiver.insert((to, from));
        true
    }

    /// The receiver allows an offer; false where none is open. An empty file is complete with it.
    pub(super) fn allow(&mut self, from: ServiceNumber, to: ServiceNumber) -> bool {
        match self.by_sender.get_mut(&(from, to)) {
            Some(transfer) if !transfer.allowed => {
                transfer.allowed = true;
                if transfer.length == 0 {
                    self.end(from, to);
                }
                true
            }
            _ => false,
        }
    }

    /// Ends a transfer at any stage; false where there is none.
    pub(super) fn end(&mut self, from: ServiceNumber, to: ServiceNumber) -> bool {
        self.by_receiver.remove(&(to, from));
        self.by_sender.remove(&(from, to)).is_some()
    }

    /// Counts a piece of `length` bytes.
    pub(super) fn piece(&mut self, from: ServiceNumber, to: ServiceNumber, length: usize) -> Piece {
        let Some(transfer) =
            self.by_sender.get_mut(&(from, to)).filter(|transfer| transfer.allowed)
        else {
            return Piece::Unknown;
        };
        let sent = u32::try_from(length).ok().and_then(|length| transfer.sent.checked_add(length));
        match sent.filter(|sent| *sent <= transfer.length) {
            Some(sent) => {
                transfer.sent = sent;
                if sent == transfer.length {
                    self.end(from, to);
                }
                Piece::Passed
            }
            None => {
                self.end(from, to);
                Piece::TooLong
            }
        }
    }

    /// Whether there is a transfer from one to another, at any stage.
    pub(super) fn is_any(&self, from: ServiceNumber, to: ServiceNumber) -> bool {
        self.by_sender.contains_key(&(from, to))
    }

    /// Whether pieces may flow from one to another.
    pub(super) fn flows(&self, from: ServiceNumber, to: ServiceNumber) -> bool {
        self.by_sender.get(&(from, to)).is_some_and(|transfer| transfer.allowed)
    }

    /// Ends all transfers of a user whose session has ended. The other sides, in ascending order.
    pub(super) fn end_all(&mut self, user: ServiceNumber) -> BTreeSet<ServiceNumber> {
        let all = (user, ServiceNumber(0))..=(user, ServiceNumber(u32::MAX));
        let sent_to = self.by_sender.range(all.clone()).map(|((_, to), _)| *to);
        let received_from = self.by_receiver.range(all).map(|(_, from)| *from);
        let others: BTreeSet<_> = sent_to.chain(received_from).collect();
        for other in &others {
            self.end(user, *other);
            self.end(*other, user);
        }
        others
    }

    /// A user with whose transfers something is wrong: they are not known in both directions, or complete, or
    /// flow without having been allowed, or one of the two has no session.
    pub(super) fn find_odd(
        &self,
        has_session: impl Fn(ServiceNumber) -> bool,
    ) -> Option<ServiceNumber> {
        let odd = self.by_sender.iter().find(|((from, to), transfer)| {
            let Transfer { length, sent, allowed } = **transfer;
            let flows = if allowed { sent < length } else { sent == 0 };
            !flows
                || !self.by_receiver.contains(&(*to, *from))
                || !has_session(*from)
                || !has_session(*to)
        });
        let turned = |&&(to, from): &&(_, _)| !self.by_sender.contains_key(&(from, to));
        let stray = self.by_receiver.iter().find(turned).map(|(to, _)| *to);
        odd.map(|((from, _), _)| *from).or(stray)
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        put_count(out, self.by_sender.len());
        for ((from, to), transfer) in &self.by_sender {
            out.put_u32(from.0);
            out.put_u32(to.0);
            out.put_u32(transfer.length);
            out.put_u32(transfer.sent);
            out.put_u8(u8::from(transfer.allowed));
        }
    }

    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), KeptError> {
        for _ in 0..reader.u32()? {
            let (from, to) = (number(reader)?, number(reader)?);
            let (length, sent) = (reader.u32()?, reader.u32()?);
            let transfer = Transfer { length, sent, allowed: flag(reader)? };
            self.by_sender.insert((from, to), transfer);
            self.by_receiver.insert((to, from));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ServiceNumber = ServiceNumber(10_001);
    const BEN: ServiceNumber = ServiceNumber(10_002);

    #[test]
    fn pieces_flow_once_allowed_and_until_the_length_is_reached() {
        let mut transfers = Transfers::default();
        assert!(transfers.offer(ANN, BEN, 5));
        assert!(!transfers.offer(ANN, BEN, 5));
        assert_eq!(transfers.piece(ANN, BEN, 1), Piece::Unknown);
        assert!(transfers.allow(ANN, BEN));
        assert!(!transfers.allow(ANN, BEN));
        assert_eq!(transfers.piece(ANN, BEN, 3), Piece::Passed);
        assert_eq!(transfers.piece(ANN, BEN, 0), Piece::Passed);
        assert_eq!(transfers.piece(ANN, BEN, 2), Piece::Passed);
        assert_eq!(transfers.piece(ANN, BEN, 0), Piece::Unknown);
    }

    #[test]
    fn a_piece_too_long_and_a_lost_session_end_the_transfer() {
        let mut transfers = Transfers::default();
        assert!(transfers.offer(ANN, BEN, 5) && transfers.allow(ANN, BEN));
        assert_eq!(transfers.piece(ANN, BEN, 6), Piece::TooLong);
        assert!(!transfers.flows(ANN, BEN));
        assert!(transfers.offer(ANN, BEN, 5) && transfers.offer(BEN, ANN, 0));
        assert!(transfers.end_all(BEN).into_iter().eq([ANN]));
        assert!(transfers.by_sender.is_empty() && transfers.by_receiver.is_empty());
    }

    #[test]
    fn an_empty_file_is_complete_when_it_is_allowed() {
        let mut transfers = Transfers::default();
        assert!(transfers.offer(ANN, BEN, 0) && transfers.allow(ANN, BEN));
        assert!(transfers.offer(ANN, BEN, 0));
    }

    #[test]
    fn transfers_that_are_none_are_found() {
        let finds = |user, change: fn(&mut Transfers)| {
            let mut transfers = Transfers::default();
            assert!(transfers.offer(ANN, BEN, 5) && transfers.allow(ANN, BEN));
            assert_eq!(transfers.find_odd(|_| true), None);
            change(&mut transfers);
            assert_eq!(transfers.find_odd(|_| true), Some(user));
        };
        finds(ANN, |it| it.by_receiver.clear());
        finds(BEN, |it| it.by_sender.clear());
        finds(ANN, |it| it.by_sender.values_mut().for_each(|one| one.sent = 5));
        finds(ANN, |it| {
            it.by_sender.values_mut().for_each(|one| (one.sent, one.allowed) = (1, false));
        });
        for away in [ANN, BEN] {
            let mut transfers = Transfers::default();
            assert!(transfers.offer(ANN, BEN, 5));
            assert_eq!(transfers.find_odd(|user| user != away), Some(ANN));
        }
    }
}
