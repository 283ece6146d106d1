//! Who monitors whom, and every start and end of it so far.
//!
//! Owns the two directions of who monitors whom, which always agree, and keeps their part of the running
//! digest. Whether somebody may monitor is not asked here.

use std::collections::{BTreeMap, BTreeSet};

use super::running::{Item, Sum};
use crate::id::{ServiceNumber, UnixMillis};

/// A start or an end of monitoring, kept as long as the log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MonitoringRecord {
    /// When.
    pub time: UnixMillis,
    /// Who monitors.
    pub operator: ServiceNumber,
    /// Who is monitored.
    pub watched: ServiceNumber,
    /// Whether it began; else it ended.
    pub started: bool,
}

/// All monitoring.
#[derive(Clone, Default)]
pub(super) struct Monitoring {
    /// Who is monitored, and by whom.
    watchers: BTreeMap<ServiceNumber, BTreeSet<ServiceNumber>>,
    /// Who monitors, and whom.
    watching: BTreeMap<ServiceNumber, BTreeSet<ServiceNumber>>,
    records: Vec<MonitoringRecord>,
    sum: Sum,
}

impl Monitoring {
    pub(super) fn watchers(
        &self,
        watched: ServiceNumber,
    ) -> impl Iterator<Item = ServiceNumber> + use<'_> {
        self.watchers.get(&watched).into_iter().flatten().copied()
    }

    pub(super) fn watched_by(
        &self,
        operator: ServiceNumber,
    ) -> impl Iterator<Item = ServiceNumber> + use<'_> {
        self.watching.get(&operator).into_iter().flatten().copied()
    }

    pub(super) fn monitors(&self, operator: ServiceNumber, watched: ServiceNumber) -> bool {
        self.watching.get(&operator).is_some_and(|numbers| numbers.contains(&watched))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    pub(super) fn operators(&self) -> impl Iterator<Item = ServiceNumber> + use<'_> {
        self.watching.keys().copied()
    }

    pub(super) fn records(&self) -> &[MonitoringRecord] {
        &self.records
    }

    /// The sum of all that counts here.
    pub(super) const fn sum(&self) -> Sum {
        self.sum
    }

    /// Takes a start or an end in. Where an operator monitors already, or does not, nothing changes, and the
    /// answer is no.
    pub(super) fn take(&mut self, record: MonitoringRecord) -> bool {
        let MonitoringRecord { operator, watched, started, .. } = record;
        if self.monitors(operator, watched) == started {
            return false;
        }
        let item = Item::watched(operator, watched);
        if started {
            self.watchers.entry(watched).or_default().insert(operator);
            self.watching.entry(operator).or_default().insert(watched);
            self.sum.add(item);
        } else {
            remove(&mut self.watchers, watched, operator);
            remove(&mut self.watching, operator, watched);
            self.sum.take_out(item);
        }
        self.sum.add(Item::monitoring(self.records.len(), &record));
        self.records.push(record);
        true
    }

    /// Ends all that an operator monitors; answers whether that was anything.
    pub(super) fn end_all(&mut self, time: UnixMillis, operator: ServiceNumber) -> bool {
        let mut any = false;
        while let Some(watched) = self.first_watched(operator) {
            any = self.take(MonitoringRecord { time, operator, watched, started: false });
        }
        any
    }

    /// An operator of whom the starts and ends, and the two directions, do not say the same, or who is no user, or
    /// monitors somebody who is none.
    pub(super) fn find_odd(
        &self,
        is_user: impl Fn(ServiceNumber) -> bool,
    ) -> Option<ServiceNumber> {
        let mut told = BTreeSet::new();
        for MonitoringRecord { operator, watched, started, .. } in &self.records {
            let pair = (*operator, *watched);
            let changes = if *started { told.insert(pair) } else { told.remove(&pair) };
            if !changes || !is_user(*operator) || !is_user(*watched) {
                return Some(*operator);
            }
        }
        let watching: BTreeSet<_> = pairs(&self.watching).collect();
        let watchers = pairs(&self.watchers).map(|(watched, operator)| (operator, watched));
        let watchers: BTreeSet<_> = watchers.collect();
        let odd =
            told.symmetric_difference(&watching).chain(watching.symmetric_difference(&watchers));
        let is_empty = |(_, numbers): &(&ServiceNumber, &BTreeSet<_>)| numbers.is_empty();
        let empty = self.watching.iter().chain(&self.watchers).find(is_empty);
        odd.map(|(operator, _)| *operator).next().or(empty.map(|(number, _)| *number))
    }

    fn first_watched(&self, operator: ServiceNumber) -> Option<ServiceNumber> {
        self.watched_by(operator).next()
    }
}

fn pairs(
    map: &BTreeMap<ServiceNumber, BTreeSet<ServiceNumber>>,
) -> impl Iterator<Item = (ServiceNumber, ServiceNumber)> {
    map.iter().flat_map(|(key, values)| values.iter().map(|value| (*key, *value)))
}

fn remove(
    map: &mut BTreeMap<ServiceNumber, BTreeSet<ServiceNumber>>,
    key: ServiceNumber,
    value: ServiceNumber,
) {
    if let Some(numbers) = map.get_mut(&key) {
        numbers.remove(&value);
        if numbers.is_empty() {
            map.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Contradiction;
    use crate::state::agreement::tests::{ANN, BEN, CAY, found};

    #[test]
    fn all_places_say_who_monitors_whom() {
        let odd = |operator, change: fn(&mut Monitoring)| {
            let found = found(|state| change(&mut state.monitoring));
            assert_eq!(found, Some(Contradiction::Monitoring(operator)));
        };
        odd(ANN, |it| it.watchers.clear());
        odd(ANN, |it| it.watching.clear());
        odd(ANN, |it| it.records.clear());
        odd(ANN, |it| it.records.extend(it.records.clone()));
        odd(ANN, |it| it.records[0].started = false);
        odd(CAY, |it| {
            it.watchers.entry(BEN).or_default().insert(CAY);
        });
        odd(CAY, |it| {
            it.watching.insert(CAY, BTreeSet::new());
        });
        odd(CAY, |it| {
            it.watchers.insert(CAY, BTreeSet::new());
        });
    }
}
