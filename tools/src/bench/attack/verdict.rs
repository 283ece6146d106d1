//! What was measured beside an attack, and whether the server has stood it.
//!
//! Owns the bounds. It never measures, and says in words only what has failed.

use super::pool::Counts;
use crate::bench::report::Took;
use crate::bench::round::Latency;
use crate::bench::watch::Holds;

/// The 99th percentile beside an attack is at most so many times that in peace, or this long.
const P99_TIMES: u64 = 3;
const P99_NS: u64 = 20_000_000;
/// The longest that the 99.9th percentile may be.
const P999_NS: u64 = 100_000_000;
/// What may be left of an attack, as a part of what was there before it.
const LEFT_PART: u64 = 100;

/// What the honest have noticed.
pub(super) struct Noticed {
    pub(super) messages: Latency,
    /// What has become of a message that did not arrive.
    pub(super) lost: Option<String>,
    /// How long somebody took to log in.
    pub(super) logins: Latency,
    /// What was said where somebody could not.
    pub(super) refused: Vec<String>,
}

/// What the server has held.
pub(super) struct Leftovers {
    pub(super) before: Option<Holds>,
    pub(super) worst: Option<Holds>,
    pub(super) afterwards: Option<Holds>,
    /// How it has ended, in words, where it was not in order.
    pub(super) ended: Option<String>,
    /// Memory in bytes that the log alone makes it hold more than before; `None` where that is not known.
    pub(super) stored: Option<u64>,
    /// Memory in bytes that it may need at most beside what it held before; `None` where its options are not known.
    pub(super) bound: Option<u64>,
}

impl Leftovers {
    /// Whether memory was looked at afterwards, and it cannot be told how much of it is there to stay.
    pub(super) const fn is_memory_unjudged(&self) -> bool {
        self.afterwards.is_some() && self.stored.is_none()
    }

    /// The most memory that it may hold, in bytes.
    pub(super) fn memory_max(&self) -> Option<u64> {
        let stored = self.stored.unwrap_or_default();
        Some(self.before?.memory.saturating_add(self.bound?).saturating_add(stored))
    }
}

/// All that was measured.
pub(super) struct Measured {
    /// Sockets that the attackers could have at once.
    pub(super) connections: usize,
    pub(super) in_peace: Noticed,
    pub(super) attacked: Noticed,
    pub(super) held: Leftovers,
    pub(super) counts: Counts,
    /// Connections that were open when it was over.
    pub(super) open: u64,
}

impl Holds {
    /// Whether hardly more is left than there was before.
    pub(super) const fn is_back(&self, before: Self) -> bool {
        is_back(self.memory, before.memory) && is_back(self.files, before.files)
    }
}

const fn is_back(now: u64, before: u64) -> bool {
    now <= before + before / LEFT_PART
}

impl Measured {
    /// What has failed; the server has stood it where that is nothing.
    pub(super) fn verdict(&self) -> Vec<String> {
        let mut failed = Vec::new();
        let honest = [("in peace", &self.in_peace), ("beside the attack", &self.attacked)];
        for (when, honest) in honest {
            let lost = honest.lost.iter().map(|words| format!("{when}, a message: {words}"));
            failed.extend(lost);
            let refused = honest.refused.iter().take(1);
            failed.extend(refused.map(|words| format!("{when}, a login: {words}")));
        }
        let p99 = |honest: &Noticed| honest.messages.quantile(0.99);
        let p99_max = P99_NS.max(p99(&self.in_peace).saturating_mul(P99_TIMES));
        let p999 = self.attacked.messages.quantile(0.999);
        for (share, took, most) in [("99", p99(&self.attacked), p99_max), ("99.9", p999, P999_NS)] {
            if took > most {
                let [took, most] = [took, most].map(Took);
                failed.push(format!(
                    "{share} % of messages arrive within {took}, at most {most} are allowed"
                ));
            }
        }
        if let Some((worst, most)) = self.held.worst.zip(self.held.memory_max())
            && worst.memory > most
        {
            failed
                .push(format!("{} bytes of memory at worst, at most {most} may be", worst.memory));
        }
        failed.extend(self.held.ended.clone());
        // Where it could not be looked at before, that tells nothing of it.
        let Some(before) = self.held.before else { return failed };
        let Some(now) = self.held.afterwards else {
            if self.held.ended.is_none() {
                failed.push("the server has ended: it cannot be looked at any more".to_owned());
            }
            return failed;
        };
        // Where it is not known how much of it is for what is stored, it cannot be told what is left.
        if let Some(stored) = self.held.stored
            && !is_back(now.memory.saturating_sub(stored), before.memory)
        {
            failed.push(format!(
                "{} bytes of memory are left, {} were there before, {stored} more are stored",
                now.memory, before.memory
            ));
        }
        if !is_back(now.files, before.files) {
            failed.push(format!(
                "{} open files are left, {} were there before",
                now.files, before.files
            ));
        }
        failed
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn honest(took_ns: &[u64]) -> Noticed {
        let mut messages = Latency::new();
        took_ns.iter().for_each(|ns| messages.record(*ns, 1));
        let mut logins = Latency::new();
        logins.record(30_000_000, 1);
        Noticed { messages, lost: None, logins, refused: Vec::new() }
    }

    /// An attack that the server has stood.
    pub(in super::super) fn stood() -> Measured {
        let holds = |memory, files| Some(Holds { memory, files });
        Measured {
            connections: 10,
            in_peace: honest(&[1_000_000; 100]),
            attacked: honest(&[2_000_000; 100]),
            held: Leftovers {
                before: holds(10 << 20, 20),
                worst: holds(20 << 20, 30),
                afterwards: holds(10 << 20, 20),
                ended: None,
                stored: Some(1 << 20),
                bound: Some(89 << 20),
            },
            counts: Counts { opened: 1_234, closed: 1_200, ..Counts::default() },
            open: 10,
        }
    }

    fn says(change: impl FnOnce(&mut Measured), words: &[&str]) {
        let mut measured = stood();
        change(&mut measured);
        let failed = measured.verdict();
        assert_eq!(failed.len(), words.len(), "{failed:?}");
        assert!(
            failed.iter().zip(words).all(|(failed, words)| failed.contains(words)),
            "{failed:?}"
        );
    }

    #[test]
    fn who_stands_it_has_no_failing() {
        says(|_| (), &[]);
        says(|measured| measured.attacked = honest(&[19_000_000; 100]), &[]);
        says(
            |measured| {
                measured.in_peace = honest(&[30_000_000; 100]);
                measured.attacked = honest(&[89_000_000; 100]);
            },
            &[],
        );
    }

    #[test]
    fn each_bound_fails_by_itself() {
        says(|measured| measured.attacked = honest(&[21_000_000; 100]), &["99 % of messages"]);
        let mut few = vec![1_000_000; 995];
        few.extend([101_000_000; 5]);
        says(|measured| measured.attacked = honest(&few), &["99.9 % of messages"]);
        let grown = |memory, files| {
            move |measured: &mut Measured| measured.held.afterwards = Some(Holds { memory, files })
        };
        says(grown((11 << 20) + (10 << 20) / 100, 20), &[]);
        says(grown((11 << 20) + (10 << 20) / 100 + 1, 20), &["1048576 more are stored"]);
        let unknown = |measured: &mut Measured| {
            grown(20 << 20, 21)(measured);
            measured.held.stored = None;
        };
        says(unknown, &["21 open files are left"]);
        let worst = |memory| {
            move |measured: &mut Measured| measured.held.worst = Some(Holds { memory, files: 20 })
        };
        says(worst(100 << 20), &[]);
        says(worst((100 << 20) + 1), &["104857601 bytes of memory at worst, at most 104857600"]);
        says(grown(10 << 20, 21), &["21 open files are left, 20 were"]);
        says(|measured| measured.attacked.lost = Some("gone".to_owned()), &["a message: gone"]);
        says(|measured| measured.attacked.refused.push("no".to_owned()), &["a login: no"]);
    }

    #[test]
    fn what_cannot_be_looked_at_does_not_fail() {
        let unseen = |measured: &mut Measured| {
            let held = &mut measured.held;
            (held.before, held.worst, held.afterwards) = (None, None, None);
        };
        says(unseen, &[]);
    }

    #[test]
    fn a_server_that_has_ended_fails() {
        says(|measured| measured.held.afterwards = None, &["the server has ended"]);
        let ended = |measured: &mut Measured| {
            measured.held.ended = Some("the server ended with signal 9".to_owned());
        };
        says(ended, &["the server ended with signal 9"]);
    }
}
