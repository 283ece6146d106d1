//! What a long run has come to, and whether the server has stood it.
//!
//! Owns the bounds. It never measures, and says in words only what has failed.

use super::ledger::Counts;
use super::person::Tally;
use super::sample::{Mark, Sample};
use super::trend::{Point, slope};
use super::upkeep;
use crate::bench::watch::Limit;

/// A run that is shorter shows no trend.
const TREND_NS_MIN: u64 = 60_000_000_000;
/// The first part of a run, in which files and queues find their level.
const WARM_UP_PART: u64 = 10;
/// What a server's memory takes to find its level.
const SETTLES_NS: u64 = 60_000_000_000;
/// How much of a run the memory of servers that have found it must be known for: the rest is taken to be like it.
const SETTLED_PART: f64 = 1.0 / 3.0;
/// In a run that is longer, servers live long enough, and the log is compacted often enough, for everything to be told.
const ALL_TOLD_NS: u64 = 900_000_000_000;
/// What is said where there is nothing to compare.
const NOT_SEEN: &str = "it was not seen often enough";
/// Compactions between which the log's files are compared, at least.
const COMPACTIONS_MIN: usize = 4;

/// Messages that a base client has not read when it cuts its connection, in the mean of all cuts. It reads all that has
/// come just before: only in between can the system take something for it.
const UNREAD_EACH: u64 = 1;

/// Memory of a user on record, and of a message that waits, as `cargo bench --bench memory` measures them. Users who
/// come in the course of a run have no friends, so it is that of a user without any: the others are there all the time.
const USER_BYTES: u64 = 514;
const WAITING_BYTES: u64 = 68;

/// What may be had in the end beyond the median: a part of it, or so much. A server's memory goes up and down by some
/// 100 KiB, which may look like 1 MiB when it stands for a run several times as long.
const MEMORY: (f64, f64) = (0.2, 3.0 * 1_048_576.0);
const FILES: (f64, f64) = (0.0, 8.0);
/// In lives that are shorter, a file more or less at the moment of a look weighs more: the bound for what files grow by
/// within lives is as much wider. Times vary too much to tell anything of such a life.
const LIFE_NS: f64 = 60e9;
/// The log's files are as long as the log is set to, and one is made ahead: a few of them are no growth.
const BYTES: (f64, f64) = (0.25, 256.0 * 1_048_576.0);
const P50_NS: (f64, f64) = (0.25, 1e6);
const P99_NS: (f64, f64) = (0.5, 10e6);

/// All that was measured.
pub(super) struct Measured {
    pub(super) seed: u64,
    pub(super) users: usize,
    /// How long it was meant to be, and was.
    pub(super) length_ns: u64,
    pub(super) elapsed_ns: u64,
    /// What could be done, where that was measured.
    pub(super) capacity: Option<Capacity>,
    pub(super) rate: u64,
    /// Whether the system tells what a process holds.
    pub(super) can_look: bool,
    pub(super) samples: Vec<Sample>,
    /// When something happened, in nanoseconds since the load began.
    pub(super) marks: Vec<(u64, Mark)>,
    pub(super) messages: Counts,
    pub(super) tally: Tally,
    pub(super) upkeep: upkeep::Counts,
    /// What may not be, in words.
    pub(super) faults: Vec<String>,
    /// Whether somebody has ended it before its time.
    pub(super) is_stopped: bool,
}

/// Acts a second that could be done, and who could not do more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Capacity {
    pub(super) rate: u64,
    pub(super) limit: Limit,
}

/// What may not grow.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Growth {
    pub(super) what: What,
    /// The median of all samples.
    pub(super) median: f64,
    /// What came to it over the whole run; negative where it shrank.
    pub(super) growth: f64,
    /// What may.
    pub(super) allowed: f64,
}

/// Something that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Memory,
    Files,
    Bytes,
    P50,
    P99,
}

impl What {
    pub(super) const ALL: [Self; 5] =
        [Self::Memory, Self::Files, Self::Bytes, Self::P50, Self::P99];

    /// For people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Memory => "memory beyond what is stored",
            Self::Files => "open files beyond connections",
            Self::Bytes => "bytes on disk, compacted",
            Self::P50 => "median time of a message",
            Self::P99 => "time of 99 % of them",
        }
    }

    /// For programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Files => "files",
            Self::Bytes => "bytes",
            Self::P50 => "p50_ns",
            Self::P99 => "p99_ns",
        }
    }

    const fn bound(self) -> (f64, f64) {
        match self {
            Self::Memory => MEMORY,
            Self::Files => FILES,
            Self::Bytes => BYTES,
            Self::P50 => P50_NS,
            Self::P99 => P99_NS,
        }
    }
}

impl Growth {
    /// Whether it is more than may be.
    pub(super) fn is_too_much(&self) -> bool {
        self.growth > self.allowed
    }

    /// Of the two that which comes nearer to what is allowed, or goes farther beyond.
    fn or_worse(self, other: Option<Self>) -> Self {
        let beyond = |one: &Self| one.growth - one.allowed;
        other.filter(|other| beyond(other) > beyond(&self)).unwrap_or(self)
    }
}

impl Measured {
    /// How something has grown; `None` where that cannot be told, be it that the run was too short.
    pub(super) fn growth(&self, what: What) -> Option<Growth> {
        if self.elapsed_ns < TREND_NS_MIN {
            return None;
        }
        let lives = self.stretches(what);
        let (overall, median) = slope(&[lives.concat()])?;
        let within = slope(&lives).map(|(slope, _)| slope);
        let (whole_ns, lengths) = (self.elapsed_ns as f64, lengths(&lives));
        let life_ns = lengths.iter().copied().fold(0.0, f64::max);
        if what == What::Memory && lengths.iter().sum::<f64>() < whole_ns * SETTLED_PART {
            return None;
        }
        let (part, least) = what.bound();
        let grown =
            |growth, least: f64| Growth { what, median, growth, allowed: least.max(part * median) };
        let whole = grown(overall * whole_ns, least);
        Some(match what {
            // What a server does not give back ends with it: without restarts it would have gone on.
            What::Memory => grown(within? * whole_ns, least),
            What::Bytes => whole,
            // Where something has grown within a life, that one had a length.
            What::Files => whole.or_worse(within.map(|within| {
                let wider = least * (LIFE_NS / life_ns).max(1.0);
                grown(within * whole_ns, wider)
            })),
            // Times vary more than they may grow: the few pairs within lives would tell as much of chance as of
            // the server if they stood for the whole run. So they stand for what somebody has noticed, a life.
            What::P50 | What::P99 => {
                let noticed = within.filter(|_| life_ns >= LIFE_NS);
                whole.or_worse(noticed.map(|within| grown(within * life_ns, least)))
            }
        })
    }

    /// Why it cannot be told how something has grown, in words, where it cannot.
    pub(super) fn unknown(&self, what: What) -> Option<&'static str> {
        if self.growth(what).is_some() {
            return None;
        }
        Some(match what {
            _ if self.elapsed_ns < TREND_NS_MIN => "the run was too short",
            What::Memory | What::Files if !self.can_look => "the system does not tell of processes",
            What::Memory if self.samples.iter().all(|sample| sample.memory.is_none()) => NOT_SEEN,
            What::Memory => "no server ran for long enough: a longer run tells",
            What::Bytes => "the log was compacted too seldom",
            What::Files | What::P50 | What::P99 => NOT_SEEN,
        })
    }

    /// Whether it has to be known how something has grown.
    const fn must_know(&self, what: What) -> bool {
        let long_ns = match what {
            What::Memory | What::Bytes => ALL_TOLD_NS,
            What::Files | What::P50 | What::P99 => TREND_NS_MIN,
        };
        let can_look = self.can_look || !matches!(what, What::Memory | What::Files);
        can_look && !self.is_stopped && self.elapsed_ns >= long_ns
    }

    /// The points that are compared, those of each server by themselves.
    fn stretches(&self, what: What) -> Vec<Vec<Point>> {
        if what == What::Bytes {
            return vec![self.compacted()];
        }
        let warm_up_ns = self.elapsed_ns / WARM_UP_PART;
        let lives = self.samples.last().map_or(0, |last| last.life + 1);
        let mut stretches = vec![Vec::new(); lives];
        for sample in &self.samples {
            let value = match what {
                What::Memory if sample.is_disturbed || sample.age_ns < SETTLES_NS => None,
                What::Memory => sample.memory.map(|memory| beyond_stored(sample, memory)),
                What::Files if sample.is_disturbed => None,
                What::Files => sample.files.map(|files| files as f64 - sample.connections as f64),
                What::P50 | What::P99 if sample.is_disturbed => None,
                What::P50 => sample.times.map(|times| times.p50 as f64),
                What::P99 => sample.times.map(|times| times.p99 as f64),
                What::Bytes => None,
            };
            let is_warm = sample.at_ns >= warm_up_ns;
            if let Some(value) = value.filter(|_| is_warm) {
                stretches[sample.life].push((sample.at_ns as f64, value));
            }
        }
        stretches
    }

    /// Bytes of the log's folder after each compaction, but for the first ones.
    fn compacted(&self) -> Vec<Point> {
        let all = self.marks.iter().filter_map(|(at_ns, mark)| match mark {
            Mark::Compacted { bytes } => Some((*at_ns as f64, *bytes as f64)),
            _ => None,
        });
        let all: Vec<_> = all.collect();
        let later = &all[all.len() / 4..];
        if later.len() < COMPACTIONS_MIN { Vec::new() } else { later.to_vec() }
    }

    /// What has failed; the server has stood it where that is nothing.
    pub(super) fn failed(&self) -> Vec<String> {
        let mut failed = self.faults.clone();
        let more = self.messages.faults.saturating_sub(self.faults.len() as u64);
        if more > 0 {
            failed.push(format!("{more} more that are not told"));
        }
        let Counts { unread, cuts, .. } = self.messages;
        if unread > cuts * UNREAD_EACH {
            failed.push(format!(
                "{unread} messages were unread by base clients that cut their connections {cuts} times: \
                 at most {UNREAD_EACH} each time is allowed"
            ));
        }
        for what in What::ALL.into_iter().filter(|what| self.must_know(*what)) {
            let unknown = self.unknown(what);
            failed.extend(unknown.map(|why| format!("{}: not known, {why}", what.title())));
        }
        for growth in What::ALL.into_iter().filter_map(|what| self.growth(what)) {
            if growth.is_too_much() {
                let title = growth.what.title();
                let [growth, allowed] = [growth.growth, growth.allowed].map(|value| value as u64);
                failed.push(format!(
                    "{title}: it has grown by {growth}, at most {allowed} are allowed"
                ));
            }
        }
        failed
    }
}

/// How long each of some stretches is, in nanoseconds.
fn lengths(stretches: &[Vec<Point>]) -> Vec<f64> {
    let lengths = stretches.iter().filter_map(|points| Some(points.last()?.0 - points.first()?.0));
    lengths.collect()
}

/// Memory less that of what is stored.
fn beyond_stored(sample: &Sample, memory: u64) -> f64 {
    memory as f64 - (sample.users * USER_BYTES + sample.waiting * WAITING_BYTES) as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::soak::chance::Chance;
    use crate::bench::soak::sample::Times;
    use crate::bench::watch::Work;

    const SECOND_NS: u64 = 1_000_000_000;
    const SECONDS: u64 = 1_200;
    const LIFE_S: u64 = 200;

    fn sample(s: u64) -> Sample {
        let (life, age) = (s / LIFE_S, s % LIFE_S);
        Sample {
            at_ns: s * SECOND_NS,
            elapsed_ns: SECOND_NS,
            arrivals: 1_000,
            times: Some(Times { p50: 1_000_000, p99: 5_000_000, p999: 9_000_000, max: 20_000_000 }),
            memory: Some((20 << 20) + (s % 7) * 4_096),
            files: Some(100 + s % 3),
            bytes: 300 << 20,
            waiting: 50,
            under_way: 10,
            in_session: 80,
            connections: 80 + s % 3,
            users: 100,
            work: Work { server: Some(60), generator: Some(50), others: Some(5) },
            life: usize::try_from(life).unwrap(),
            age_ns: age * SECOND_NS,
            is_disturbed: age < 5,
        }
    }

    /// A run that the server has stood, but for what is done to each sample.
    pub(in crate::bench::soak) fn stood(mut change: impl FnMut(u64, &mut Sample)) -> Measured {
        let samples = (0..SECONDS).map(|s| {
            let mut one = sample(s);
            change(s, &mut one);
            one
        });
        let marks = (1..20).map(|at| (at * 30 * SECOND_NS, Mark::Compacted { bytes: 300 << 20 }));
        let counts =
            Counts { sent: 600_000, confirmed: 599_000, arrived: 599_500, ..Counts::default() };
        Measured {
            seed: 7,
            users: 100,
            length_ns: SECONDS * SECOND_NS,
            elapsed_ns: SECONDS * SECOND_NS,
            capacity: Some(Capacity { rate: 1_250, limit: Limit::Server }),
            rate: 1_000,
            can_look: true,
            samples: samples.collect(),
            marks: marks.chain([(100 * SECOND_NS, Mark::Kill)]).collect(),
            messages: counts,
            tally: Tally::default(),
            upkeep: upkeep::Counts { stops: 2, kills: 3, compactions: 19 },
            faults: Vec::new(),
            is_stopped: false,
        }
    }

    fn fails(measured: &Measured, words: &[&str]) {
        let failed = measured.failed();
        assert_eq!(failed.len(), words.len(), "{failed:?}");
        assert!(
            failed.iter().zip(words).all(|(failed, words)| failed.contains(words)),
            "{failed:?}"
        );
    }

    /// Where messages take so many nanoseconds longer for each second of an age.
    fn slower(age_s: fn(u64) -> u64, p50: u64, p99: u64) -> Measured {
        stood(move |s, sample| {
            sample.times = sample.times.map(|times| Times {
                p50: times.p50 + age_s(s) * p50,
                p99: times.p99 + age_s(s) * p99,
                ..times
            });
        })
    }

    #[test]
    fn who_stands_it_has_no_failing() {
        fails(&stood(|_, _| ()), &[]);
    }

    #[test]
    fn memory_that_grows_within_lives_is_found_though_each_begins_anew() {
        let leaks = |bytes: u64| {
            stood(move |s, sample| {
                sample.memory = sample.memory.map(|memory| memory + s % LIFE_S * bytes);
            })
        };
        fails(&leaks(20_000), &["memory beyond what is stored: it has grown by "]);
        fails(&leaks(1_000), &[]);
    }

    #[test]
    fn files_and_times_that_grow_within_lives_are_found_though_each_begins_anew() {
        let leaks = |every_s: u64| {
            stood(move |s, sample| {
                sample.files = sample.files.map(|files| files + s % LIFE_S / every_s);
            })
        };
        fails(&leaks(20), &["open files beyond connections: it has grown by "]);
        let slower = |p50, p99| slower(|s| s % LIFE_S, p50, p99);
        fails(&slower(20_000, 0), &["median time of a message"]);
        fails(&slower(0, 200_000), &["time of 99 % of them"]);
        fails(&slower(2_000, 20_000), &[]);
    }

    #[test]
    fn times_and_files_that_vary_have_no_trend() {
        for seed in 0..5 {
            let mut chance = Chance::new(seed, 1);
            let varied = stood(|_, sample| {
                let mut some = |most: u64| chance.below(most);
                sample.times = sample.times.map(|times| Times {
                    p50: times.p50 + some(1_000_000),
                    p99: times.p99 + some(20_000_000),
                    ..times
                });
                sample.files = sample.files.map(|files| files + some(4));
            });
            fails(&varied, &[]);
        }
    }

    #[test]
    fn what_is_stored_may_grow() {
        let grown = stood(|s, sample| {
            sample.users += s * 100;
            sample.memory = sample.memory.map(|memory| memory + s * 100 * USER_BYTES);
        });
        fails(&grown, &[]);
        let waiting = stood(|s, sample| {
            sample.waiting += s * 1_000;
            sample.memory = sample.memory.map(|memory| memory + s * 1_000 * WAITING_BYTES);
        });
        fails(&waiting, &[]);
    }

    #[test]
    fn each_trend_fails_by_itself() {
        let files = stood(|s, sample| sample.files = sample.files.map(|files| files + s / 60));
        fails(&files, &["open files beyond connections"]);
        let slower = |p50, p99| slower(|s| s, p50, p99);
        fails(&slower(2_000, 0), &["median time of a message"]);
        fails(&slower(0, 30_000), &["time of 99 % of them"]);
        fails(&slower(500, 3_000), &[]);
        let mut bytes = stood(|_, _| ());
        for (at_ns, mark) in &mut bytes.marks {
            if let Mark::Compacted { bytes } = mark {
                *bytes += *at_ns / SECOND_NS * (1 << 20);
            }
        }
        fails(&bytes, &["bytes on disk"]);
    }

    #[test]
    fn what_a_restart_holds_up_is_no_trend() {
        let held_up = stood(|_, sample| {
            if sample.is_disturbed {
                sample.times = sample.times.map(|times| Times { p50: times.p50 * 10_000, ..times });
                sample.memory = Some(u64::from(sample.life as u32) << 30);
            }
        });
        fails(&held_up, &[]);
    }

    #[test]
    fn what_base_clients_cut_off_is_no_excuse_for_more() {
        let mut measured = stood(|_, _| ());
        (measured.messages.cuts, measured.messages.unread) = (40, 40);
        fails(&measured, &[]);
        measured.messages.unread = 41;
        fails(
            &measured,
            &["41 messages were unread by base clients that cut their connections 40 times"],
        );
    }

    #[test]
    fn what_is_not_known_of_a_long_run_is_a_failing() {
        let unseen = stood(|_, sample| (sample.memory, sample.files) = (None, None));
        fails(
            &unseen,
            &["memory beyond what is stored: not known", "open files beyond connections"],
        );
        let mut nowhere = stood(|_, sample| (sample.memory, sample.files) = (None, None));
        nowhere.can_look = false;
        fails(&nowhere, &[]);
        let mut stopped = unseen;
        stopped.is_stopped = true;
        fails(&stopped, &[]);
        let silent = stood(|_, sample| sample.times = None);
        fails(&silent, &["median time of a message: not known", "time of 99 % of them: not known"]);
        let mut seldom = stood(|_, _| ());
        seldom.marks.clear();
        fails(&seldom, &["bytes on disk, compacted: not known, the log was compacted too seldom"]);
        seldom.elapsed_ns = ALL_TOLD_NS - 1;
        fails(&seldom, &[]);
    }

    #[test]
    fn memory_of_servers_that_did_not_live_long_is_not_told() {
        let mut short = stood(|s, sample| {
            sample.life = usize::try_from(s / 80).unwrap();
            sample.age_ns = s % 80 * SECOND_NS;
            sample.memory = Some((20 + s) << 20);
        });
        short.elapsed_ns = ALL_TOLD_NS - 1;
        assert_eq!(short.growth(What::Memory), None);
        assert!(short.unknown(What::Memory).is_some_and(|why| why.contains("a longer run tells")));
        fails(&short, &[]);
    }

    #[test]
    fn lives_that_are_short_hide_no_trend_of_the_run_and_make_none() {
        let slower = |of_age: u64, of_run: u64| {
            with_lives_of_10_s(move |s, sample| {
                let ns = sample.age_ns / SECOND_NS * of_age + s * of_run;
                sample.times = sample.times.map(|times| Times {
                    p50: times.p50 + ns,
                    p99: times.p99 + 10 * ns,
                    ..times
                });
            })
        };
        fails(&slower(1_000_000, 0), &[]);
        fails(&slower(0, 20_000), &["median time of a message", "time of 99 % of them"]);
        let more = |files: u64| {
            with_lives_of_10_s(move |s, sample| sample.files = Some(180 + s * files / SECONDS))
        };
        fails(&more(5), &[]);
        fails(&more(20), &["open files beyond connections: it has grown by "]);
    }

    /// A run that is too short for everything to be told, in which servers are restarted all the time.
    fn with_lives_of_10_s(mut change: impl FnMut(u64, &mut Sample)) -> Measured {
        let mut short = stood(|s, sample| {
            let age_s = s % 10;
            sample.life = usize::try_from(s / 10).unwrap();
            (sample.age_ns, sample.is_disturbed) = (age_s * SECOND_NS, age_s < 2);
            change(s, sample);
        });
        short.elapsed_ns = ALL_TOLD_NS - 1;
        short
    }

    #[test]
    fn servers_that_were_seen_once_each_are_judged_by_the_whole_run() {
        let once = |grown: u64| {
            with_lives_of_10_s(move |s, sample| {
                sample.life = usize::try_from(s).unwrap();
                sample.files = Some(180 + s * grown / SECONDS);
                sample.connections = 80;
            })
        };
        let level = once(0).growth(What::Files).unwrap();
        assert_eq!((level.growth, level.allowed), (0.0, FILES.1));
        fails(&once(20), &["open files beyond connections: it has grown by "]);
    }

    #[test]
    fn a_short_run_shows_no_trend_and_a_fault_all_the_same() {
        let mut short = stood(|s, sample| sample.files = Some(s * 100));
        fails(&short, &["open files"]);
        short.elapsed_ns = TREND_NS_MIN - 1;
        fails(&short, &[]);
        short.faults = vec!["one is lost".to_owned()];
        short.messages.faults = 8;
        fails(&short, &["one is lost", "7 more"]);
    }
}
