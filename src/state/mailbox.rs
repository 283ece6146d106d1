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
///
/// As large as a line of a processor's cache, and no more is looked at where one message waits and is delivered:
/// in a large community that is most of the time, and most of a replay's time would be waiting for memory.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub struct Mailbox {
    /// The oldest.
    first: Option<(Seq, Waiting)>,
    /// What waits behind it, if anything does.
    rest: Option<Box<Rest>>,
    text_bytes: u64,
}

const _: () = assert!(size_of::<Mailbox>() == 64);

/// The messages behind the oldest.
#[derive(Clone, Debug, Default)]
struct Rest {
    /// In ascending order of their numbers. A message whose place a newer one has taken leaves a gap.
    messages: VecDeque<(Seq, Option<Waiting>)>,
    /// How many of them are gaps; half at most, so that walking over them costs little.
    gaps: usize,
    /// Of each system kind from each user the one that waits among them.
    system: BTreeMap<(ServiceNumber, MessageKind), Seq>,
}

impl Mailbox {
    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
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
        let first = self.first.iter().filter(move |(first, _)| *first > seq);
        let rest = self.rest.iter().flat_map(move |rest| rest.after(seq));
        first.map(|(seq, waiting)| (*seq, waiting)).chain(rest)
    }

    /// Adds the newest message. A system message takes the place of an older one of its kind and sender, which
    /// is the answer.
    pub(super) fn add(&mut self, seq: Seq, waiting: Waiting) -> Option<(Seq, Waiting)> {
        self.text_bytes += u64::from(waiting.length);
        let Some((first, oldest)) = self.first else {
            self.first = Some((seq, waiting));
            return None;
        };
        let rest = self.rest.get_or_insert_default();
        let replaced = rest.add(seq, waiting).or_else(|| {
            let is_like_it = waiting.kind != MessageKind::User
                && (oldest.from, oldest.kind) == (waiting.from, waiting.kind);
            is_like_it.then(|| {
                self.next();
                (first, oldest)
            })
        });
        if let Some((_, replaced)) = replaced {
            self.text_bytes -= u64::from(replaced.length);
        }
        replaced
    }

    /// Takes out everything up to `through`, which has been delivered; `taken` gets it.
    pub(super) fn deliver(&mut self, through: Seq, mut taken: impl FnMut(Seq, &Waiting)) {
        while let Some((seq, waiting)) = self.first
            && seq <= through
        {
            taken(seq, &waiting);
            self.text_bytes -= u64::from(waiting.length);
            self.next();
        }
    }

    /// A message's text stands at another place, if that message still waits.
    pub(super) fn relocate(
        &mut self,
        seq: Seq,
        from: ServiceNumber,
        kind: MessageKind,
        place: Place,
    ) {
        let found = match &mut self.first {
            Some((first, waiting)) if *first == seq => Some(waiting),
            _ => self.rest.as_mut().and_then(|rest| rest.get_mut(seq)),
        };
        if let Some(waiting) = found
            && (waiting.from, waiting.kind) == (from, kind)
        {
            waiting.place = place;
        }
    }

    /// What of it does not agree with the rest.
    pub(super) fn find_flaw(&self) -> Option<Flaw> {
        let numbers = self.rest.iter().flat_map(|rest| &rest.messages).map(|(seq, _)| *seq);
        let numbers = self.first.iter().map(|(seq, _)| *seq).chain(numbers);
        if self.first.is_none() && self.rest.is_some()
            || !numbers.is_sorted_by(|one, next| one < next)
        {
            return Some(Flaw::Order);
        }
        if let Some(flaw) = self.rest.as_ref().and_then(|rest| rest.find_flaw()) {
            return Some(flaw);
        }
        let bytes: u64 = self.iter().map(|(_, waiting)| u64::from(waiting.length)).sum();
        if bytes != self.text_bytes {
            return Some(Flaw::TextBytes);
        }
        let is_twice = self.first.is_some_and(|(_, first)| {
            self.rest
                .as_ref()
                .is_some_and(|rest| rest.system.contains_key(&(first.from, first.kind)))
        });
        is_twice.then_some(Flaw::System)
    }

    /// The oldest message has gone: the one behind it is the oldest.
    fn next(&mut self) {
        self.first = self.rest.as_mut().and_then(|rest| rest.pop());
        if self.rest.as_ref().is_some_and(|rest| rest.len() == 0) {
            // Most mailboxes are empty most of the time: they keep no memory.
            self.rest = None;
        }
    }
}

impl Rest {
    fn len(&self) -> usize {
        self.messages.len() - self.gaps
    }

    fn after(&self, seq: Seq) -> impl DoubleEndedIterator<Item = (Seq, &Waiting)> {
        let first = self.messages.partition_point(|(other, _)| *other <= seq);
        let messages = self.messages.range(first..);
        messages.filter_map(|(seq, waiting)| waiting.as_ref().map(|waiting| (*seq, waiting)))
    }

    fn get_mut(&mut self, seq: Seq) -> Option<&mut Waiting> {
        let index = self.messages.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        self.messages[index].1.as_mut()
    }

    /// Adds the newest message; answers the one whose place it takes.
    fn add(&mut self, seq: Seq, waiting: Waiting) -> Option<(Seq, Waiting)> {
        let older = match waiting.kind {
            MessageKind::User => None,
            kind => self.system.insert((waiting.from, kind), seq),
        };
        let replaced = older.and_then(|older| Some((older, self.take_out(older)?)));
        self.messages.push_back((seq, Some(waiting)));
        replaced
    }

    /// Takes the oldest message.
    fn pop(&mut self) -> Option<(Seq, Waiting)> {
        while let Some((seq, waiting)) = self.messages.pop_front() {
            match waiting {
                None => self.gaps -= 1,
                Some(waiting) => {
                    if waiting.kind != MessageKind::User {
                        self.system.remove(&(waiting.from, waiting.kind));
                    }
                    self.close_gaps();
                    return Some((seq, waiting));
                }
            }
        }
        None
    }

    fn take_out(&mut self, seq: Seq) -> Option<Waiting> {
        let index = self.messages.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        let waiting = self.messages[index].1.take()?;
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

    fn find_flaw(&self) -> Option<Flaw> {
        let gaps = self.messages.iter().filter(|(_, waiting)| waiting.is_none()).count();
        if gaps != self.gaps || gaps * 2 > self.messages.len() || self.len() == 0 {
            return Some(Flaw::Gaps);
        }
        let system = self.after(Seq::ZERO).filter(|(_, it)| it.kind != MessageKind::User);
        let mut known = 0;
        for (seq, waiting) in system {
            if self.system.get(&(waiting.from, waiting.kind)) != Some(&seq) {
                return Some(Flaw::System);
            }
            known += 1;
        }
        (known != self.system.len()).then_some(Flaw::System)
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

    fn rest(mailbox: &mut Mailbox) -> &mut Rest {
        mailbox.rest.as_mut().expect("more than one message waits")
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
            assert!(rest(&mut mailbox).messages.len() <= 4);
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
        let behind = rest(&mut mailbox);
        assert_eq!((behind.messages.len(), behind.gaps), (5, 2));
        assert_eq!(deliver(&mut mailbox, 3), [1, 2, 3]);
        assert_eq!(mailbox.find_flaw(), None);
        assert_eq!(order(&mailbox), [6]);
    }

    #[test]
    fn what_is_counted_otherwise_than_it_is_is_found() {
        let finds = |flaw, change: fn(&mut Mailbox)| {
            let mut mailbox = Mailbox::default();
            let (user, asks) = (MessageKind::User, MessageKind::Asks);
            for (seq, kind) in [(1, user), (2, asks), (3, user), (4, user), (5, asks)] {
                mailbox.add(Seq(seq), waiting(10_001, kind, 3));
            }
            assert_eq!(rest(&mut mailbox).gaps, 1);
            assert_eq!(mailbox.find_flaw(), None);
            change(&mut mailbox);
            assert_eq!(mailbox.find_flaw(), Some(flaw));
        };
        finds(Flaw::Order, |it| rest(it).messages.swap(0, 1));
        finds(Flaw::Order, |it| rest(it).messages[0].0 = Seq(1));
        finds(Flaw::Order, |it| it.first = None);
        finds(Flaw::Gaps, |it| rest(it).gaps = 0);
        finds(Flaw::Gaps, |it| *rest(it) = Rest::default());
        finds(Flaw::Gaps, |it| {
            rest(it).messages.extend((6..11).map(|seq| (Seq(seq), None)));
            rest(it).gaps += 5;
        });
        finds(Flaw::TextBytes, |it| it.text_bytes += 1);
        finds(Flaw::System, |it| rest(it).system.clear());
        finds(Flaw::System, |it| {
            rest(it).system.insert((ServiceNumber(10_002), MessageKind::Asks), Seq(3));
        });
        finds(Flaw::System, |it| {
            rest(it).system.insert((ServiceNumber(10_001), MessageKind::Asks), Seq(2));
        });
        finds(Flaw::System, |it| it.first = Some((Seq(1), waiting(10_001, MessageKind::Asks, 3))));
    }
}
