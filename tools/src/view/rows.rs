//! Which events are listed, row by row: all of them, or those of one user.
//!
//! Owns the way from rows to sequence numbers and back. What stands in a row it does not know.

use oicq::id::Seq;

use super::history::History;

/// The rows of the list, in the order of their sequence numbers.
pub(super) enum Rows {
    /// One behind the other; `base` if the first row is that of the base.
    All {
        first: Seq,
        last: Seq,
        base: bool,
    },
    Chosen(Vec<Seq>),
}

impl Rows {
    /// All events, behind the base if there is one.
    pub(super) fn all(history: &History<'_>) -> Self {
        let base = history.base_seq() > Seq::ZERO;
        let first = if base { history.base_seq() } else { history.first_seq() };
        Self::All { first, last: history.last_seq(), base }
    }

    /// These, which are in ascending order.
    pub(super) const fn of(events: Vec<Seq>) -> Self {
        Self::Chosen(events)
    }

    /// Those that were chosen, if not all are listed.
    pub(super) fn chosen(&self) -> Option<&[Seq]> {
        match self {
            Self::All { .. } => None,
            Self::Chosen(events) => Some(events),
        }
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::All { first, last, .. } => index(last.next().0.saturating_sub(first.0)),
            Self::Chosen(events) => events.len(),
        }
    }

    /// How many of them are events.
    pub(super) fn event_count(&self) -> usize {
        let base = matches!(self, Self::All { base: true, .. });
        self.count().saturating_sub(usize::from(base))
    }

    /// The sequence number of a row.
    pub(super) fn seq(&self, row: usize) -> Option<Seq> {
        match self {
            Self::All { first, .. } => (row < self.count()).then(|| Seq(first.0 + row as u64)),
            Self::Chosen(events) => events.get(row).copied(),
        }
    }

    /// The row of a sequence number, or that of the next one that is listed.
    pub(super) fn row_of(&self, seq: Seq) -> Result<usize, usize> {
        match self {
            Self::All { first, .. } if seq < *first => Err(0),
            Self::All { first, last, .. } if seq <= *last => Ok(index(seq.0 - first.0)),
            Self::All { .. } => Err(self.count()),
            Self::Chosen(events) => events.binary_search(&seq),
        }
    }
}

fn index(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_sequence_numbers_are_the_same_both_ways() {
        let all = Rows::All { first: Seq(118), last: Seq(121), base: true };
        let some = Rows::of([3, 7, 8].map(Seq).to_vec());
        for rows in [&all, &some] {
            for row in 0..rows.count() {
                assert_eq!(rows.row_of(rows.seq(row).unwrap()), Ok(row));
            }
            assert_eq!(rows.seq(rows.count()), None);
        }
        assert_eq!((all.count(), all.event_count()), (4, 3));
        assert_eq!((some.count(), some.event_count()), (3, 3));
        assert_eq!((all.row_of(Seq(5)), all.row_of(Seq(122))), (Err(0), Err(4)));
        assert_eq!((some.row_of(Seq(4)), some.row_of(Seq(9))), (Err(1), Err(3)));
        let none = Rows::All { first: Seq(1), last: Seq::ZERO, base: false };
        assert_eq!((none.count(), none.seq(0), none.row_of(Seq::ZERO)), (0, None, Err(0)));
    }
}
