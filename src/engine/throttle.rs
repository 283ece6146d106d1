//! Who has tried too much, and for how long it has to wait. Protocol section 7.
//!
//! Counts in memory that is bounded; nothing of it outlives the server.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::kept::{KeptError, list, put_count};
use crate::codec::{Reader, Write};
use crate::id::{MonoMillis, ServiceNumber};
use crate::limits::{
    RATE_SLOT_MS, RATE_WINDOW_MS, THROTTLE_MS_FIRST, THROTTLE_MS_MAX, THROTTLED_KEYS,
};

/// Whose tries are counted together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Key {
    Number(ServiceNumber),
    /// An IPv4 address, or the first 64 bits of an IPv6 address, which one subscriber usually has.
    Address(u128),
}

impl Key {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Address(u128::from(u32::from(address))),
            IpAddr::V6(address) => Self::Address(u128::from(address) >> 64 << 64),
        }
    }

    fn save(self, out: &mut Vec<u8>) {
        let (tag, value) = match self {
            Self::Number(number) => (0, u128::from(number.0)),
            Self::Address(address) => (1, address),
        };
        out.put_u8(tag);
        out.extend_from_slice(&value.to_be_bytes());
    }

    fn restore(reader: &mut Reader<'_>) -> Result<Self, KeptError> {
        let tag = reader.u8()?;
        let value = u128::from(reader.u64()?) << 64 | u128::from(reader.u64()?);
        match tag {
            0 => u32::try_from(value).map(|number| Self::Number(ServiceNumber(number))),
            1 => return Ok(Self::Address(value)),
            _ => return Err(KeptError::Layout),
        }
        .map_err(|_| KeptError::Layout)
    }
}

/// A map that forgets what was touched longest ago when it is full.
struct Recent<V> {
    entries: BTreeMap<Key, (u64, V)>,
    order: BTreeMap<u64, Key>,
    touches: u64,
}

impl<V> Recent<V> {
    const fn new() -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), touches: 0 }
    }

    fn get(&self, key: Key) -> Option<&V> {
        self.entries.get(&key).map(|(_, value)| value)
    }

    fn touch(&mut self, key: Key, fresh: impl FnOnce() -> V) -> &mut V {
        self.touches += 1;
        if let Some((touched, _)) = self.entries.get(&key) {
            self.order.remove(touched);
        } else if self.entries.len() >= THROTTLED_KEYS {
            self.forget_oldest();
        }
        self.order.insert(self.touches, key);
        let (touched, value) = self.entries.entry(key).or_insert_with(|| (0, fresh()));
        *touched = self.touches;
        value
    }

    fn remove(&mut self, key: Key) {
        if let Some((touched, _)) = self.entries.remove(&key) {
            self.order.remove(&touched);
        }
    }

    fn oldest(&self) -> Option<&V> {
        self.order.first_key_value().and_then(|(_, key)| self.get(*key))
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.entries.remove(&key);
        }
    }

    /// Whether what is found by key is found by age, and there is not too much of it.
    fn agrees(&self) -> bool {
        let is_known = |(touched, key): (&u64, &Key)| {
            *touched <= self.touches && self.entries.get(key).is_some_and(|(at, _)| at == touched)
        };
        self.entries.len() <= THROTTLED_KEYS
            && self.entries.len() == self.order.len()
            && self.order.iter().all(is_known)
    }

    /// From what was touched longest ago on.
    fn save(&self, out: &mut Vec<u8>, value: impl Fn(&V, &mut Vec<u8>)) {
        put_count(out, self.order.len());
        for key in self.order.values() {
            key.save(out);
            if let Some(found) = self.get(*key) {
                value(found, out);
            }
        }
    }

    fn restore(
        &mut self,
        reader: &mut Reader<'_>,
        value: impl Fn(&mut Reader<'_>) -> Result<V, KeptError>,
    ) -> Result<(), KeptError> {
        for _ in 0..reader.u32()? {
            let key = Key::restore(reader)?;
            let restored = value(reader)?;
            self.touch(key, || restored);
        }
        Ok(())
    }
}

/// Allows so many within a minute; who goes on is blocked, at first for a second, then twice as long
/// with each further try, be it looked at or not.
pub(super) struct Guard {
    /// 0: no limit.
    limit: u32,
    entries: Recent<Entry>,
}

#[derive(Default)]
struct Entry {
    /// The latest, within the window and up to the limit.
    times: VecDeque<MonoMillis>,
    blocked_until: MonoMillis,
    strikes: u32,
}

impl Entry {
    fn penalty_ms(&self) -> u64 {
        let doubled = 1_u64.checked_shl(self.strikes).unwrap_or(u64::MAX);
        THROTTLE_MS_FIRST.saturating_mul(doubled).min(THROTTLE_MS_MAX)
    }

    /// One try too many: the next one waits, and the one after that twice as long. The time in milliseconds.
    fn strike(&mut self, now: MonoMillis) -> u64 {
        let wait_ms = self.penalty_ms();
        self.strikes = self.strikes.saturating_add(1);
        self.blocked_until = now.plus(wait_ms);
        wait_ms
    }

    fn is_over(&self, now: MonoMillis) -> bool {
        let last =
            self.times.back().map_or(self.blocked_until, |time| self.blocked_until.max(*time));
        now.since(last) > RATE_WINDOW_MS
    }
}

impl Guard {
    pub(super) const fn new(limit: u32) -> Self {
        Self { limit, entries: Recent::new() }
    }

    /// Whether another try is looked at. Where it is not, the time to wait in milliseconds, which this
    /// very try has made longer.
    pub(super) fn check(&mut self, key: Key, now: MonoMillis) -> Result<(), u64> {
        if self.entries.get(key).is_none_or(|entry| now >= entry.blocked_until) {
            return Ok(());
        }
        Err(self.entries.touch(key, Entry::default).strike(now))
    }

    /// Counts what is limited: a failed login, a registration.
    pub(super) fn count(&mut self, key: Key, now: MonoMillis) {
        if self.limit == 0 {
            return;
        }
        while self.entries.oldest().is_some_and(|entry| entry.is_over(now)) {
            self.entries.forget_oldest();
        }
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let entry = self.entries.touch(key, Entry::default);
        if entry.is_over(now) {
            *entry = Entry::default();
        }
        while entry.times.front().is_some_and(|time| now.since(*time) > RATE_WINDOW_MS) {
            entry.times.pop_front();
        }
        if entry.times.len() >= limit {
            entry.times.pop_front();
            entry.times.push_back(now);
            entry.strike(now);
        } else {
            entry.times.push_back(now);
            if entry.times.len() == limit {
                entry.blocked_until = now.plus(entry.penalty_ms());
            }
        }
    }

    /// Whether what is remembered is in order, and no more than is limited.
    pub(super) fn agrees(&self) -> bool {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let is_counted =
            |entry: &Entry| entry.times.len() <= limit && entry.times.iter().is_sorted();
        self.entries.agrees() && self.entries.entries.values().all(|(_, entry)| is_counted(entry))
    }

    /// Forgets what was counted.
    pub(super) fn clear(&mut self, key: Key) {
        self.entries.remove(key);
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        self.entries.save(out, |entry, out| {
            put_count(out, entry.times.len());
            entry.times.iter().for_each(|time| out.put_u64(time.0));
            out.put_u64(entry.blocked_until.0);
            out.put_u32(entry.strikes);
        });
    }

    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), KeptError> {
        self.entries.restore(reader, |reader| {
            Ok(Entry {
                times: list(reader, |reader| Ok(MonoMillis(reader.u64()?)))?.into(),
                blocked_until: MonoMillis(reader.u64()?),
                strikes: reader.u32()?,
            })
        })
    }
}

/// A bucket that fills at a steady rate, and out of which everything that is done takes its share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    level: u64,
    filled: MonoMillis,
}

/// How a bucket fills, how much it holds, and what one thing takes out of it. The unit is whatever makes
/// all three whole numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    per_ms: u64,
    capacity: u64,
    cost: u64,
}

impl Rate {
    /// So many a second, and so many at once.
    pub(super) fn per_second(rate: u32, burst: u32) -> Self {
        Self { per_ms: u64::from(rate), capacity: u64::from(burst) * 1_000, cost: 1_000 }
    }
}

impl Bucket {
    pub(super) const fn full(rate: Rate, now: MonoMillis) -> Self {
        Self { level: rate.capacity, filled: now }
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        out.put_u64(self.level);
        out.put_u64(self.filled.0);
    }

    pub(super) fn restore(reader: &mut Reader<'_>) -> Result<Self, KeptError> {
        Ok(Self { level: reader.u64()?, filled: MonoMillis(reader.u64()?) })
    }

    /// Takes one out, or says in how many milliseconds there is one.
    pub(super) fn take(&mut self, rate: Rate, now: MonoMillis) -> Result<(), u64> {
        let added = now.since(self.filled).saturating_mul(rate.per_ms);
        self.level = self.level.saturating_add(added).min(rate.capacity);
        self.filled = now;
        match self.level.checked_sub(rate.cost) {
            Some(left) => {
                self.level = left;
                Ok(())
            }
            None => Err((rate.cost - self.level).div_ceil(rate.per_ms.max(1)).max(1)),
        }
    }
}

/// So many connections from an address in every minute, whenever that begins. They may come all at once.
pub(super) struct ConnectionGuard {
    /// 0: no limit.
    limit: u32,
    entries: Recent<VecDeque<Slot>>,
}

/// Connections that came within [`RATE_SLOT_MS`] of each other, and count as if all of them had come with the last:
/// so an address takes little memory, and is let in again later than it might be by the length of a slot at most.
#[derive(Clone, Copy, Debug)]
struct Slot {
    first: MonoMillis,
    last: MonoMillis,
    count: u32,
}

impl Slot {
    /// When its connections no longer count.
    fn end(&self) -> MonoMillis {
        self.last.plus(RATE_WINDOW_MS)
    }
}

impl ConnectionGuard {
    pub(super) const fn new(limit: u32) -> Self {
        Self { limit, entries: Recent::new() }
    }

    /// Whether an address may open one more, or in how many milliseconds. Those that may not do not count.
    pub(super) fn check(&mut self, address: IpAddr, now: MonoMillis) -> Result<(), u64> {
        if self.limit == 0 {
            return Ok(());
        }
        let is_over = |slots: &VecDeque<Slot>| slots.back().is_none_or(|slot| slot.end() <= now);
        while self.entries.oldest().is_some_and(is_over) {
            self.entries.forget_oldest();
        }
        let slots = self.entries.touch(Key::of(address), VecDeque::new);
        while slots.front().is_some_and(|slot| slot.end() <= now) {
            slots.pop_front();
        }
        let count: u64 = slots.iter().map(|slot| u64::from(slot.count)).sum();
        if let Some(oldest) = slots.front().filter(|_| count >= u64::from(self.limit)) {
            return Err(oldest.end().since(now));
        }
        match slots.back_mut().filter(|slot| now.since(slot.first) < RATE_SLOT_MS) {
            Some(slot) => (slot.last, slot.count) = (now, slot.count.saturating_add(1)),
            None => slots.push_back(Slot { first: now, last: now, count: 1 }),
        }
        Ok(())
    }

    /// Whether what is remembered is in order.
    pub(super) fn agrees(&self) -> bool {
        let is_counted = |slots: &VecDeque<Slot>| {
            let count: u64 = slots.iter().map(|slot| u64::from(slot.count)).sum();
            let in_order = |slot: &Slot| slot.first <= slot.last && slot.count > 0;
            count <= u64::from(self.limit)
                && slots.iter().all(in_order)
                && slots.iter().is_sorted_by(|one, next| one.last <= next.first)
        };
        self.entries.agrees() && self.entries.entries.values().all(|(_, slots)| is_counted(slots))
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        self.entries.save(out, |slots, out| {
            put_count(out, slots.len());
            for Slot { first, last, count } in slots {
                out.put_u64(first.0);
                out.put_u64(last.0);
                out.put_u32(*count);
            }
        });
    }

    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), KeptError> {
        let slot = |reader: &mut Reader<'_>| {
            let (first, last) = (MonoMillis(reader.u64()?), MonoMillis(reader.u64()?));
            Ok(Slot { first, last, count: reader.u32()? })
        };
        self.entries.restore(reader, |reader| Ok(list(reader, slot)?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Key = Key::Number(ServiceNumber(10_001));

    fn at(ms: u64) -> MonoMillis {
        MonoMillis(1_000_000 + ms)
    }

    #[test]
    fn the_sixth_try_waits_a_second_and_each_further_one_twice_as_long() {
        let mut guard = Guard::new(5);
        for try_number in 0..5 {
            assert_eq!(guard.check(ANN, at(try_number)), Ok(()));
            guard.count(ANN, at(try_number));
        }
        for (try_number, wait_s) in
            [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900].iter().enumerate()
        {
            assert_eq!(guard.check(ANN, at(10)), Err(wait_s * 1_000), "try {try_number}");
        }
        assert_eq!(guard.check(ANN, at(10 + 899_999)), Err(900_000));
        for _ in 0..1_000 {
            assert_eq!(guard.check(ANN, at(900_010)), Err(900_000));
        }
    }

    #[test]
    fn who_waits_is_looked_at_again() {
        let mut guard = Guard::new(5);
        for _ in 0..5 {
            guard.count(ANN, at(0));
        }
        assert_eq!(guard.check(ANN, at(0)), Err(1_000));
        assert_eq!(guard.check(ANN, at(1_000)), Ok(()));
        guard.count(ANN, at(1_000));
        assert_eq!(guard.check(ANN, at(1_001)), Err(4_000));
        guard.clear(ANN);
        assert_eq!(guard.check(ANN, at(1_001)), Ok(()));
    }

    #[test]
    fn failures_spread_over_more_than_a_minute_block_nobody() {
        let mut guard = Guard::new(5);
        for minute_quarter in 0..50 {
            let now = at(minute_quarter * 15_001);
            assert_eq!(guard.check(ANN, now), Ok(()));
            guard.count(ANN, now);
        }
    }

    #[test]
    fn no_limit_blocks_nobody() {
        let mut guard = Guard::new(0);
        for _ in 0..1_000 {
            guard.count(ANN, at(0));
            assert_eq!(guard.check(ANN, at(0)), Ok(()));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut guard = Guard::new(1);
        let bound = u32::try_from(THROTTLED_KEYS).unwrap();
        for number in 0..=bound {
            guard.count(Key::Number(ServiceNumber(number)), at(0));
        }
        assert_eq!(guard.check(Key::Number(ServiceNumber(0)), at(0)), Ok(()));
        assert_eq!(guard.check(Key::Number(ServiceNumber(1)), at(0)), Err(1_000));
        guard.count(ANN, at(RATE_WINDOW_MS * 2 + 4_000));
        assert!(guard.entries.entries.len() <= 2);
    }

    #[test]
    fn a_minutes_connections_may_come_at_once_and_then_none_for_a_minute() {
        let mut guard = ConnectionGuard::new(3);
        let address = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..3 {
            assert_eq!(guard.check(address, at(0)), Ok(()));
        }
        assert_eq!(guard.check(address, at(0)), Err(60_000));
        assert_eq!(guard.check(IpAddr::from([192, 0, 2, 2]), at(0)), Ok(()));
        assert_eq!(guard.check(address, at(20_000)), Err(40_000));
        assert_eq!(guard.check(address, at(59_999)), Err(1));
        for _ in 0..3 {
            assert_eq!(guard.check(address, at(60_000)), Ok(()));
        }
        assert_eq!(guard.check(address, at(60_000)), Err(60_000));
    }

    /// Connections that come at these distances: when each was let in.
    fn let_in(limit: u32, gaps_ms: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut guard = ConnectionGuard::new(limit);
        let address = IpAddr::from([192, 0, 2, 1]);
        let mut now = 0;
        gaps_ms
            .filter_map(|gap| {
                now += gap;
                match guard.check(address, at(now)) {
                    Ok(()) => Some(now),
                    Err(wait) => {
                        // The one that is told to wait is let in then, and not before.
                        assert!(wait > 0 && wait <= RATE_WINDOW_MS, "{wait} at {now}");
                        let mut later = ConnectionGuard::new(limit);
                        let mut saved = Vec::new();
                        guard.save(&mut saved);
                        later.restore(&mut Reader::new(&saved)).unwrap();
                        assert!(later.check(address, at(now + wait - 1)).is_err());
                        assert_eq!(later.check(address, at(now + wait)), Ok(()));
                        None
                    }
                }
            })
            .collect()
    }

    #[test]
    fn no_minute_lets_more_connections_in_and_a_steady_stream_nearly_as_many() {
        let patterns: [&[u64]; 5] =
            [&[100], &[1], &[0, 0, 0, 7_000], &[3_999, 1], &[4_000, 0, 59_000]];
        for limit in [1, 7, 100] {
            for gaps in patterns {
                let times = let_in(limit, gaps.iter().copied().cycle().take(20_000));
                let window = usize::try_from(limit).unwrap();
                for pair in times.windows(window + 1) {
                    assert!(pair[window] - pair[0] >= RATE_WINDOW_MS, "{limit} {gaps:?} {pair:?}");
                }
            }
            // One every 100 ms asks: whoever had to wait for longer than a minute and a slot would be missed.
            let times = let_in(limit, std::iter::repeat_n(100, 20_000));
            let least = 2_000_000 / (RATE_WINDOW_MS + RATE_SLOT_MS) * u64::from(limit);
            assert!(times.len() as u64 >= least, "{} of {least}", times.len());
        }
    }

    #[test]
    fn what_is_counted_of_an_address_is_bounded() {
        let mut guard = ConnectionGuard::new(u32::MAX);
        let address = IpAddr::from([192, 0, 2, 1]);
        for ms in 0..200_000 {
            assert_eq!(guard.check(address, at(ms)), Ok(()));
        }
        let slots = guard.entries.get(Key::of(address)).unwrap().len() as u64;
        assert!(slots <= RATE_WINDOW_MS / RATE_SLOT_MS + 2, "{slots}");
        assert_eq!(guard.check(IpAddr::from([192, 0, 2, 2]), at(300_000)), Ok(()));
        assert_eq!(guard.entries.entries.len(), 1, "what no longer counts is forgotten");
    }

    #[test]
    fn ipv6_neighbours_count_together_and_mapped_addresses_as_ipv4() {
        let key = |text: &str| Key::of(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn what_is_remembered_otherwise_than_it_is_found_is_noticed() {
        let agrees = |change: fn(&mut Guard)| {
            let mut guard = Guard::new(2);
            guard.count(ANN, at(0));
            guard.count(Key::Number(ServiceNumber(10_002)), at(1));
            guard.count(ANN, at(2));
            change(&mut guard);
            guard.agrees()
        };
        assert!(agrees(|_| ()));
        assert!(!agrees(|it| it.limit = 1));
        assert!(!agrees(|it| it.entries.touches = 1));
        assert!(!agrees(|it| it.entries.order.retain(|touched, _| *touched > 2)));
        assert!(!agrees(|it| it.entries.entries.retain(|key, _| *key != ANN)));
        assert!(!agrees(|it| it.entries.entries.values_mut().for_each(|entry| entry.0 = 2)));
        assert!(!agrees(|it| it.entries.touch(ANN, Entry::default).times.push_front(at(9))));
        let mut guard = ConnectionGuard::new(3);
        assert_eq!(guard.check(IpAddr::from([192, 0, 2, 1]), at(0)), Ok(()));
        assert!(guard.agrees());
        guard.limit = 0;
        assert!(!guard.agrees());
        guard.limit = 3;
        guard.entries.order.clear();
        assert!(!guard.agrees());
    }
}
