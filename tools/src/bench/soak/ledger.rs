//! Which messages are on their way, and whether what arrives is what was sent: nothing confirmed may be missing, come
//! out of order, or come to an extended client twice.
//!
//! Of each sender and receiver it keeps the messages that have not arrived, so that its memory does not grow with how
//! many there were. It never speaks to a server.

use std::collections::VecDeque;

use super::letter::Letter;
use super::plan::{DISTANCES, FRIENDS};

/// Faults that are told in words. All are counted.
const TOLD_MAX: usize = 20;

/// What has become of all messages, each of them counted for every receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    /// The server has said that it has them.
    pub(super) confirmed: u64,
    pub(super) refused: u64,
    /// Nobody knows whether the server got them: the connection ended before it said so.
    pub(super) unsure: u64,
    pub(super) arrived: u64,
    /// Those that came again, as they may: to a base client after a login, or with an id that its client knows.
    pub(super) again: u64,
    /// Confirmed ones that the system had taken for a base client which then cut its connection, and that nobody read.
    pub(super) unread: u64,
    /// How often a base client has cut its connection.
    pub(super) cuts: u64,
    /// What may not be: lost, out of order, doubled, or unlike any that was sent.
    pub(super) faults: u64,
}

/// The messages from one user to another that have not arrived.
#[derive(Clone, Debug, Default)]
struct Pair {
    under_way: VecDeque<Entry>,
    /// The highest number that has arrived.
    highest: u32,
    /// The last one that has arrived since the receiver logged in.
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    letter: Letter,
    fate: Fate,
    /// The system may have taken it for a receiver that has cut its connection since.
    may_be_unread: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Nothing was said yet.
    Open,
    /// A later one has arrived, so it may not be confirmed any more.
    Passed,
    Confirmed,
    Unsure,
}

/// How a message has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    First,
    Again,
    Fault,
}

/// All pairs of friends.
#[derive(Debug)]
pub(super) struct Ledger {
    people: usize,
    /// By receiver, and its friends within.
    pairs: Vec<Pair>,
    /// The service number of the first user.
    first: u32,
    pub(super) counts: Counts,
    /// Confirmed or not, and not arrived.
    waiting: u64,
    /// What may not be, in words: of messages the first ones.
    pub(super) told: Vec<String>,
}

impl Ledger {
    /// Of so many people, whose service numbers are counted from the first one on.
    pub(super) fn new(people: usize, first: u32) -> Self {
        let pairs = vec![Pair::default(); people * FRIENDS];
        Self { people, pairs, first, counts: Counts::default(), waiting: 0, told: Vec::new() }
    }

    /// How many are on their way, or wait for their receivers.
    pub(super) const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// A message is sent.
    pub(super) fn sent(&mut self, from: usize, to: usize, letter: Letter) {
        self.counts.sent += 1;
        self.waiting += 1;
        let entry = Entry { letter, fate: Fate::Open, may_be_unread: false };
        if let Some(pair) = self.pair(from, to) {
            pair.under_way.push_back(entry);
        }
    }

    /// The server has said that it has it.
    pub(super) fn confirmed(&mut self, from: usize, to: usize, number: u32) {
        self.counts.confirmed += 1;
        let Some(pair) = self.pair(from, to) else { return };
        let Ok(at) = pair.find(number) else { return };
        match pair.under_way[at].fate {
            Fate::Passed => {
                if let Some(entry) = self.remove(from, to, at) {
                    self.missed(from, to, entry, "was passed by a later one");
                }
            }
            _ => pair.under_way[at].fate = Fate::Confirmed,
        }
    }

    /// The server has refused it.
    pub(super) fn refused(&mut self, from: usize, to: usize, number: u32) {
        self.counts.refused += 1;
        let at = self.pair(from, to).map(|pair| pair.find(number));
        match at {
            Some(Ok(at)) => drop(self.remove(from, to, at)),
            _ => self.fault(from, to, number, "was refused, and has arrived"),
        }
    }

    /// Whether the server has it will never be said.
    pub(super) fn unsure(&mut self, from: usize, to: usize, number: u32) {
        self.counts.unsure += 1;
        let Some(pair) = self.pair(from, to) else { return };
        let Ok(at) = pair.find(number) else { return };
        match pair.under_way[at].fate {
            Fate::Passed => drop(self.remove(from, to, at)),
            _ => pair.under_way[at].fate = Fate::Unsure,
        }
    }

    /// Somebody has logged in, and may be sent again what it has not said to have.
    pub(super) fn logged_in(&mut self, who: usize) {
        self.pairs[who * FRIENDS..][..FRIENDS].iter_mut().for_each(|pair| pair.last = 0);
    }

    /// A base client has cut its connection: what its system had acknowledged by then counts as delivered, and was
    /// perhaps not read.
    pub(super) fn cut(&mut self, who: usize) {
        self.counts.cuts += 1;
        for pair in &mut self.pairs[who * FRIENDS..][..FRIENDS] {
            pair.under_way.iter_mut().for_each(|entry| entry.may_be_unread = true);
        }
    }

    /// A message has arrived. Its client knows it by its id, or does not, or its kind has no ids.
    pub(super) fn arrived(
        &mut self,
        from: usize,
        to: usize,
        letter: Letter,
        is_known: Option<bool>,
    ) -> Arrival {
        let number = letter.number;
        let Some(pair) = self.pair(from, to) else {
            self.fault(from, to, number, "has arrived, and they are no friends");
            return Arrival::Fault;
        };
        let (highest, last) = (pair.highest, std::mem::replace(&mut pair.last, number));
        let fault = match is_known {
            _ if number <= last => Some("has come out of order, or twice"),
            Some(true) if number > highest => Some("has come with the id of an earlier one"),
            Some(false) if number <= highest => Some("has come twice, with different ids"),
            _ => None,
        };
        if let Some(words) = fault {
            self.fault(from, to, number, words);
            return Arrival::Fault;
        }
        if number <= highest {
            self.counts.again += 1;
            return Arrival::Again;
        }
        pair.highest = number;
        let found = pair.find(number).ok().map(|at| (at, pair.under_way[at].letter));
        if found.is_none_or(|(_, sent)| sent != letter) {
            self.fault(from, to, number, "has arrived, and was never sent, or was refused");
            return Arrival::Fault;
        }
        self.pass(from, to, number);
        self.counts.arrived += 1;
        Arrival::First
    }

    /// Takes a message that has arrived away, and all before it that can no longer come.
    fn pass(&mut self, from: usize, to: usize, number: u32) {
        let mut at = 0;
        while let Some(entry) = self.pair(from, to).and_then(|pair| pair.under_way.get_mut(at)) {
            if entry.letter.number > number {
                break;
            }
            let is_it = entry.letter.number == number;
            if !is_it && matches!(entry.fate, Fate::Open | Fate::Passed) {
                entry.fate = Fate::Passed;
                at += 1;
                continue;
            }
            if let Some(entry) = self.remove(from, to, at)
                && !is_it
                && entry.fate == Fate::Confirmed
            {
                self.missed(from, to, entry, "was passed by a later one");
            }
        }
    }

    /// How many that are confirmed, or may still be, have not arrived and must.
    pub(super) fn missing(&self) -> usize {
        let entries = self.pairs.iter().flat_map(|pair| &pair.under_way);
        entries.filter(|entry| entry.fate != Fate::Unsure && !entry.may_be_unread).count()
    }

    /// Nothing more will come: what is missing is lost.
    pub(super) fn close(&mut self) {
        for to in 0..self.people {
            for slot in 0..FRIENDS {
                let from = self.friend(to, slot);
                for entry in std::mem::take(&mut self.pairs[to * FRIENDS + slot].under_way) {
                    self.waiting -= 1;
                    if entry.fate == Fate::Confirmed {
                        self.missed(from, to, entry, "has not come");
                    }
                }
            }
        }
    }

    /// A confirmed message will not arrive any more.
    fn missed(&mut self, from: usize, to: usize, entry: Entry, why: &str) {
        if entry.may_be_unread {
            self.counts.unread += 1;
            return;
        }
        let s = entry.letter.due_ns as f64 / 1e9;
        self.fault(from, to, entry.letter.number, &format!("of {s:.3} s is lost: it {why}"));
    }

    /// Something that may not be.
    fn fault(&mut self, from: usize, to: usize, number: u32, words: &str) {
        let user = |index: usize| u64::from(self.first) + index as u64;
        let words = format!("message {number} from {} to {} {words}", user(from), user(to));
        self.told(words);
    }

    /// Something that may not be, and concerns no message that is known.
    pub(super) fn told(&mut self, words: String) {
        self.counts.faults += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(words);
        }
    }

    /// Something that may not be, and concerns the run itself: it is told however much else was.
    pub(super) fn told_of_the_run(&mut self, words: String) {
        self.counts.faults += 1;
        self.told.push(words);
    }

    fn remove(&mut self, from: usize, to: usize, at: usize) -> Option<Entry> {
        let removed = self.pair(from, to)?.under_way.remove(at);
        self.waiting -= u64::from(removed.is_some());
        removed
    }

    fn pair(&mut self, from: usize, to: usize) -> Option<&mut Pair> {
        let slot = (0..FRIENDS).find(|slot| self.friend(to, *slot) == from)?;
        self.pairs.get_mut(to * FRIENDS + slot)
    }

    /// The friend of somebody that has this slot.
    const fn friend(&self, of: usize, slot: usize) -> usize {
        let far = DISTANCES[slot / 2];
        (of + if slot.is_multiple_of(2) { far } else { self.people - far }) % self.people
    }
}

impl Pair {
    fn find(&self, number: u32) -> Result<usize, usize> {
        self.under_way.binary_search_by_key(&number, |entry| entry.letter.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: usize = 3;
    const TO: usize = 5;

    fn letter(number: u32) -> Letter {
        Letter { number, due_ns: 1_500_000_000 + u64::from(number) }
    }

    /// With messages of these numbers under way.
    fn ledger(numbers: impl IntoIterator<Item = u32>) -> Ledger {
        let mut ledger = Ledger::new(12, 10_001);
        numbers.into_iter().for_each(|number| ledger.sent(FROM, TO, letter(number)));
        ledger
    }

    fn arrives(ledger: &mut Ledger, number: u32) -> Arrival {
        ledger.arrived(FROM, TO, letter(number), None)
    }

    fn fault(ledger: &Ledger) -> &str {
        assert_eq!(ledger.counts.faults, 1, "{:?}", ledger.told);
        &ledger.told[0]
    }

    #[test]
    fn what_arrives_in_order_is_all_there_is_and_nothing_is_kept() {
        let mut ledger = ledger(1..=100);
        for number in 1..=100 {
            if number % 2 == 0 {
                ledger.confirmed(FROM, TO, number);
            }
            assert_eq!(arrives(&mut ledger, number), Arrival::First);
            if number % 2 == 1 {
                ledger.confirmed(FROM, TO, number);
            }
        }
        assert_eq!((ledger.missing(), ledger.waiting()), (0, 0));
        ledger.close();
        let Counts { sent, confirmed, arrived, faults, .. } = ledger.counts;
        assert_eq!((sent, confirmed, arrived, faults), (100, 100, 100, 0));
    }

    #[test]
    fn a_confirmed_message_that_never_comes_is_named() {
        let mut ledger = ledger([7]);
        ledger.confirmed(FROM, TO, 7);
        assert_eq!(ledger.missing(), 1);
        ledger.close();
        assert_eq!(
            fault(&ledger),
            "message 7 from 10004 to 10006 of 1.500 s is lost: it has not come"
        );
    }

    #[test]
    fn a_confirmed_message_that_is_passed_by_another_is_lost_at_once() {
        for is_confirmed_first in [true, false] {
            let mut ledger = ledger([1, 2]);
            if is_confirmed_first {
                ledger.confirmed(FROM, TO, 1);
            }
            arrives(&mut ledger, 2);
            if !is_confirmed_first {
                assert_eq!(ledger.counts.faults, 0);
                ledger.confirmed(FROM, TO, 1);
            }
            assert!(fault(&ledger).contains("message 1 from 10004 to 10006 of 1.500 s is lost"));
            assert_eq!(ledger.waiting(), 0);
        }
    }

    #[test]
    fn what_was_refused_or_never_answered_may_be_missing() {
        let mut ledger = ledger([1, 2, 3, 4]);
        ledger.refused(FROM, TO, 1);
        ledger.unsure(FROM, TO, 2);
        assert_eq!(arrives(&mut ledger, 4), Arrival::First);
        ledger.refused(FROM, TO, 3);
        ledger.close();
        assert_eq!((ledger.counts.faults, ledger.counts.refused, ledger.counts.unsure), (0, 2, 1));
    }

    #[test]
    fn what_was_never_answered_may_arrive_too() {
        let mut ledger = ledger([1, 2]);
        ledger.unsure(FROM, TO, 1);
        ledger.unsure(FROM, TO, 2);
        assert_eq!(ledger.missing(), 0);
        assert_eq!([1, 2].map(|number| arrives(&mut ledger, number)), [Arrival::First; 2]);
    }

    #[test]
    fn what_was_refused_may_not_arrive() {
        let mut before = ledger([1]);
        before.refused(FROM, TO, 1);
        assert_eq!(arrives(&mut before, 1), Arrival::Fault);
        assert!(fault(&before).contains("was refused"));
        let mut after = ledger([1]);
        arrives(&mut after, 1);
        after.refused(FROM, TO, 1);
        assert!(fault(&after).contains("was refused, and has arrived"));
    }

    #[test]
    fn base_clients_may_get_messages_again_after_a_login_and_in_order() {
        let mut ledger = ledger(1..=4);
        (1..=3).for_each(|number| assert_eq!(arrives(&mut ledger, number), Arrival::First));
        ledger.logged_in(TO);
        let again: Vec<_> = (2..=4).map(|number| arrives(&mut ledger, number)).collect();
        assert_eq!(again, [Arrival::Again, Arrival::Again, Arrival::First]);
        assert_eq!((ledger.counts.faults, ledger.counts.again), (0, 2));
        assert_eq!(arrives(&mut ledger, 3), Arrival::Fault);
        assert!(fault(&ledger).contains("out of order"));
    }

    #[test]
    fn within_a_session_nothing_comes_twice() {
        for is_known in [None, Some(true)] {
            let mut ledger = ledger([1, 2]);
            ledger.arrived(FROM, TO, letter(1), is_known.map(|_| false));
            assert_eq!(ledger.arrived(FROM, TO, letter(1), is_known), Arrival::Fault);
            assert!(fault(&ledger).contains("twice"));
        }
    }

    #[test]
    fn extended_clients_know_by_ids_what_comes_again() {
        let arrive = |number, is_known| {
            let mut ledger = ledger([1, 2]);
            ledger.arrived(FROM, TO, letter(1), Some(false));
            ledger.logged_in(TO);
            (ledger.arrived(FROM, TO, letter(number), Some(is_known)), ledger.counts.faults)
        };
        assert_eq!(arrive(1, true), (Arrival::Again, 0));
        assert_eq!(arrive(2, false), (Arrival::First, 0));
        assert_eq!(arrive(1, false), (Arrival::Fault, 1));
        assert_eq!(arrive(2, true), (Arrival::Fault, 1));
    }

    #[test]
    fn what_a_base_client_cut_off_before_it_read_is_counted_apart() {
        let mut ledger = ledger([1, 2, 3]);
        (1..=2).for_each(|number| ledger.confirmed(FROM, TO, number));
        ledger.cut(TO);
        ledger.logged_in(TO);
        ledger.sent(FROM, TO, letter(4));
        ledger.confirmed(FROM, TO, 4);
        assert_eq!(arrives(&mut ledger, 2), Arrival::First);
        let Counts { unread, cuts, faults, .. } = ledger.counts;
        assert_eq!((unread, cuts, faults, ledger.missing()), (1, 1, 0, 1));
        ledger.close();
        assert!(fault(&ledger).contains("message 4 "));
    }

    #[test]
    fn what_nobody_has_sent_is_found() {
        assert_eq!(arrives(&mut ledger([]), 1), Arrival::Fault);
        let mut stranger = ledger([]);
        assert_eq!(stranger.arrived(TO, TO, letter(1), None), Arrival::Fault);
        let mut other_time = ledger([1]);
        let other = Letter { due_ns: 0, ..letter(1) };
        assert_eq!(other_time.arrived(FROM, TO, other, None), Arrival::Fault);
    }

    #[test]
    fn not_all_is_told_and_all_is_counted() {
        let mut ledger = ledger(1..=100);
        (1..=100).for_each(|number| ledger.confirmed(FROM, TO, number));
        ledger.close();
        assert_eq!((ledger.counts.faults, ledger.told.len()), (100, TOLD_MAX));
        ledger.told_of_the_run("the log is not whole".to_owned());
        assert_eq!((ledger.counts.faults, ledger.told.len()), (101, TOLD_MAX + 1));
    }
}
