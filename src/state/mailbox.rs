//! One user's undelivered messages, in the order in which they were accepted.
//!
//! Owns the order and the counts; the text stays where the journal put it. Whether there is room is
//! asked before a message is accepted: adding one never fails. Protocol section 6.

use std::collections::{BTreeMap, VecDeque};

use super::agreement::Flaw;
use crate::id::{Place, Seq, ServiceNumber, UnixMillis};

/// What kind of message waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum MessageKind {
    /// A message from a user.
    User = 0,
    /// From the system: the sender has added the receiver.
    Added = 1,
    /// From the system: the sender asks to add the receiver; the text is the reason.
    Asks = 2,
    /// From the system: the sender agreed to be added.
    Agreed = 3,
    /// From the system: the sender refused to be added.
    Refused = 4,
}

impl MessageKind {
    /// The kind that a byte of a kept state names.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::User),
            1 => Some(Self::Added),
            2 => Some(Self::Asks),
            3 => Some(Self::Agreed),
            4 => Some(Self::Refused),
            _ => None,
        }
    }

    /// Whether its messages may have a text. Protocol section 6.
    #[must_use]
    pub const fn has_text(self) -> bool {
        matches!(self, Self::User | Self::Asks)
    }
}

/// A message that has not been delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Whom it comes from.
    pub from: ServiceNumber,
    /// What it is.
    pub kind: MessageKind,
    /// Length of its text in bytes.
    pub length: u32,
    /// CRC-32 of its text: the digest covers the text without reading it again.
    pub checksum: u32,
    /// Where its text can be read.
    pub place: Place,
    /// When it was accepted.
    pub time: UnixMillis,
}

/// A user's undelivered messages.
#[derive(Clone, Debug, Default)]
pub struct Mailbox {
    /// In ascending order of their numbers. A message whose place a newer one has taken leaves a gap.
    messages: VecDeque<(Seq, Option<Waiting>)>,
    /// How many of them are gaps; half at most, so that walking over them costs little.
    gaps: usize,
    /// Of each system kind from each user the one that waits.
    system: BTreeMap<(ServiceNumber, MessageKind), Seq>,
    text_bytes: u64,
}

impl Mailbox {
    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len() - self.gaps
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text of all that waits, in bytes.
    #[must_use]
    pub const fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// The messages, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Seq, &Waiting)> {
        self.after(Seq::ZERO)
    }

    /// The messages after `seq`, oldest first.
    pub fn after(&self, seq: Seq) -> impl DoubleEndedIterator<Item = (Seq, &Waiting)> {
        let first = self.messages.partition_point(|(other, _)| *other <= seq);
        let messages = self.messages.range(first..);
        messages.filter_map(|(seq, waiting)| waiting.as_ref().map(|waiting| (*seq, waiting)))
    }

    /// The number of the newest message, or of the gap that it has left; 0 where there is none.
    pub(super) fn newest(&self) -> Seq {
        self.messages.back().map_or(Seq::ZERO, |(seq, _)| *seq)
    }

    /// Adds the newest message. A system message takes the place of an older one of its kind and sender, which
    /// is the answer.
    pub(super) fn add(&mut self, seq: Seq, waiting: Waiting) -> Option<(Seq, Waiting)> {
        let older = match waiting.kind {
            MessageKind::User => None,
            kind => self.system.insert((waiting.from, kind), seq),
        };
        let replaced = older.and_then(|older| Some((older, self.take_out(older)?)));
        self.text_bytes += u64::from(waiting.length);
        self.messages.push_back((seq, Some(waiting)));
        replaced
    }

    /// Takes out everything up to `through`, which has been delivered; `taken` gets it.
    pub(super) fn deliver(&mut self, through: Seq, mut taken: impl FnMut(Seq, &Waiting)) {
        while let Some(&(seq, waiting)) = self.messages.front()
            && seq <= through
        {
            self.messages.pop_front();
            match waiting {
                None => self.gaps -= 1,
                Some(waiting) => {
                    let Waiting { from, kind, length, .. } = waiting;
                    taken(seq, &waiting);
                    self.text_bytes -= u64::from(length);
                    if kind != MessageKind::User {
                        self.system.remove(&(from, kind));
                    }
                }
            }
        }
        if self.is_empty() {
            // Most mailboxes are empty most of the time: they keep no memory.
            *self = Self::default();
        }
        self.close_gaps();
    }

    /// A message's text stands at another place, if that message still waits.
    pub(super) fn relocate(
        &mut self,
        seq: Seq,
        from: ServiceNumber,
        kind: MessageKind,
        place: Place,
    ) {
        if let Ok(index) = self.messages.binary_search_by_key(&seq, |(seq, _)| *seq)
            && let Some(waiting) = &mut self.messages[index].1
            && (waiting.from, waiting.kind) == (from, kind)
        {
            waiting.place = place;
        }
    }

    /// What of it does not agree with the rest.
    pub(super) fn find_flaw(&self) -> Option<Flaw> {
        if !self.messages.iter().is_sorted_by(|(one, _), (next, _)| one < next) {
            return Some(Flaw::Order);
        }
        let gaps = self.messages.iter().filter(|(_, waiting)| waiting.is_none()).count();
        if gaps != self.gaps || gaps * 2 > self.messages.len() {
            return Some(Flaw::Gaps);
        }
        let bytes: u64 = self.iter().map(|(_, waiting)| u64::from(waiting.length)).sum();
        if bytes != self.text_bytes {
            return Some(Flaw::TextBytes);
        }
        let mut known = 0;
        for (seq, waiting) in self.iter().filter(|(_, it)| it.kind != MessageKind::User) {
            if self.system.get(&(waiting.from, waiting.kind)) != Some(&seq) {
                return Some(Flaw::System);
            }
            known += 1;
        }
        (known != self.system.len()).then_some(Flaw::System)
    }

    fn take_out(&mut self, seq: Seq) -> Option<Waiting> {
        let index = self.messages.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        let waiting = self.messages[index].1.take()?;
        self.text_bytes -= u64::from(waiting.length);
        self.gaps += 1;
        self.close_gaps();
        Some(waiting)
    }

    fn close_gaps(&mut self) {
        if self.gaps * 2 > self.messages.len() {
            self.messages.retain(|(_, waiting)| waiting.is_some());
            self.gaps = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(from: u32, kind: MessageKind, length: u32) -> Waiting {
        let (from, place, time) = (ServiceNumber(from), Place(0), UnixMillis(0));
        Waiting { from, kind, length, checksum: 0, place, time }
    }

    fn order(mailbox: &Mailbox) -> Vec<u64> {
        mailbox.iter().map(|(seq, _)| seq.0).collect()
    }

    fn deliver(mailbox: &mut Mailbox, through: u64) -> Vec<u64> {
        let mut taken = Vec::new();
        mailbox.deliver(Seq(through), |seq, _| taken.push(seq.0));
        taken
    }

    #[test]
    fn messages_leave_in_the_order_in_which_they_came() {
        let mut mailbox = Mailbox::default();
        for seq in [1, 2, 5] {
            mailbox.add(Seq(seq), waiting(10_001, MessageKind::User, 10));
        }
        assert_eq!((order(&mailbox), mailbox.text_bytes()), (vec![1, 2, 5], 30));
        assert!(mailbox.after(Seq(2)).map(|(seq, _)| seq).eq([Seq(5)]));
        assert_eq!(deliver(&mut mailbox, 4), [1, 2]);
        assert_eq!((order(&mailbox), mailbox.text_bytes()), (vec![5], 10));
        assert_eq!(deliver(&mut mailbox, 9), [5]);
        assert_eq!((mailbox.len(), mailbox.text_bytes()), (0, 0));
    }

    #[test]
    fn a_system_message_replaces_the_older_of_its_kind_and_sender() {
        let mut mailbox = Mailbox::default();
        mailbox.add(Seq(1), waiting(10_001, MessageKind::Asks, 3));
        mailbox.add(Seq(2), waiting(10_002, MessageKind::Asks, 3));
        mailbox.add(Seq(3), waiting(10_001, MessageKind::Agreed, 0));
        let replaced = mailbox.add(Seq(4), waiting(10_001, MessageKind::Asks, 5));
        assert_eq!(replaced, Some((Seq(1), waiting(10_001, MessageKind::Asks, 3))));
        assert_eq!((order(&mailbox), mailbox.text_bytes()), (vec![2, 3, 4], 8));
        assert_eq!(deliver(&mut mailbox, 4), [2, 3, 4]);
        assert_eq!(mailbox.add(Seq(5), waiting(10_001, MessageKind::Asks, 5)), None);
        assert_eq!((order(&mailbox), mailbox.text_bytes()), (vec![5], 5));
    }

    #[test]
    fn who_asks_again_and_again_does_not_fill_the_memory() {
        let mut mailbox = Mailbox::default();
        for seq in 1..=10_000 {
            mailbox.add(Seq(seq * 2), waiting(10_001, MessageKind::Asks, 3));
            mailbox.add(Seq(seq * 2 + 1), waiting(10_002, MessageKind::Asks, 3));
            assert!(mailbox.messages.len() <= 4);
        }
        assert_eq!(mailbox.len(), 2);
    }

    #[test]
    fn gaps_stay_half_at_most_when_what_stood_before_them_is_delivered() {
        let mut mailbox = Mailbox::default();
        for seq in 1..=3 {
            mailbox.add(Seq(seq), waiting(10_001, MessageKind::User, 1));
        }
        for seq in 4..=6 {
            mailbox.add(Seq(seq), waiting(10_001, MessageKind::Asks, 1));
        }
        assert_eq!((mailbox.messages.len(), mailbox.gaps), (6, 2));
        assert_eq!(deliver(&mut mailbox, 3), [1, 2, 3]);
        assert_eq!(mailbox.find_flaw(), None);
        assert_eq!(order(&mailbox), [6]);
    }

    #[test]
    fn what_is_counted_otherwise_than_it_is_is_found() {
        let finds = |flaw, change: fn(&mut Mailbox)| {
            let mut mailbox = Mailbox::default();
            for (seq, kind) in [(1, MessageKind::User), (2, MessageKind::Asks)] {
                mailbox.add(Seq(seq), waiting(10_001, kind, 3));
            }
            mailbox.add(Seq(3), waiting(10_001, MessageKind::Asks, 3));
            assert_eq!(mailbox.find_flaw(), None);
            change(&mut mailbox);
            assert_eq!(mailbox.find_flaw(), Some(flaw));
        };
        finds(Flaw::Order, |it| it.messages.swap(0, 1));
        finds(Flaw::Order, |it| it.messages[1].0 = Seq(1));
        finds(Flaw::Gaps, |it| it.gaps = 0);
        finds(Flaw::Gaps, |it| {
            it.messages.extend((4..9).map(|seq| (Seq(seq), None)));
            it.gaps += 5;
        });
        finds(Flaw::TextBytes, |it| it.text_bytes += 1);
        finds(Flaw::System, |it| it.system.clear());
        finds(Flaw::System, |it| {
            it.system.insert((ServiceNumber(10_002), MessageKind::Asks), Seq(3));
        });
        finds(Flaw::System, |it| {
            it.system.insert((ServiceNumber(10_001), MessageKind::Asks), Seq(2));
        });
    }
}
