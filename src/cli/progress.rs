//! What the server says while it reads its log: how far it is, how fast, and how long it will take.
//!
//! Owns the words and when they are due. It asks no clock and writes nothing: it is told the time, and
//! answers text for standard error.

use std::io::{self, IsTerminal as _};

use crate::log::Progress;

/// A start that takes no longer than this is silent.
const SILENT_MS: u64 = 1_000;
/// Time between two lines; on a terminal the one line is rewritten more often, so that it is seen to move.
const LINE_EVERY_MS: u64 = 1_000;
const REWRITE_EVERY_MS: u64 = 250;

/// How far the reading is, and how long it has been going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// How far.
    pub progress: Progress,
    /// Milliseconds since it began.
    pub elapsed_ms: u64,
    /// Whether that was all.
    pub is_done: bool,
}

/// Where the words go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outlet {
    /// A file or a pipe: every word stays.
    Lines,
    /// A terminal with so many columns: one line is rewritten.
    Terminal {
        /// The columns.
        columns: usize,
    },
}

impl Outlet {
    /// What standard error is.
    #[must_use]
    pub fn of_standard_error() -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines;
        }
        let size = rustix::termios::tcgetwinsize(io::stderr());
        let columns = size.map_or(0, |size| usize::from(size.ws_col));
        Self::Terminal { columns: if columns > 0 { columns } else { 80 } }
    }
}

/// Turns what is told about one reading into what is shown of it.
///
/// [`handle`](Self::handle) it every [`Reading`], in order; [`clear`](Self::clear) when something else is to
/// be written.
#[derive(Debug)]
pub struct Meter {
    outlet: Outlet,
    due_ms: u64,
    percent: u64,
    /// Anything was shown.
    has_spoken: bool,
    /// Columns of the line that stands on the terminal.
    standing: usize,
}

impl Meter {
    /// A meter that has said nothing yet.
    #[must_use]
    pub const fn new(outlet: Outlet) -> Self {
        Self { outlet, due_ms: SILENT_MS, percent: 0, has_spoken: false, standing: 0 }
    }

    /// What is to be written now, if anything. Only a reading that took long says how it ended.
    pub fn handle(&mut self, reading: &Reading) -> Option<String> {
        if reading.is_done {
            let cleared = self.clear().unwrap_or_default();
            return self.has_spoken.then(|| format!("{cleared}oicqd: {}\n", closing(reading)));
        }
        if reading.elapsed_ms < self.due_ms {
            return None;
        }
        self.percent = percent(&reading.progress).max(self.percent);
        self.has_spoken = true;
        let line = format!("oicqd: {}", under_way(reading, self.percent));
        Some(match self.outlet {
            Outlet::Lines => {
                self.due_ms = reading.elapsed_ms + LINE_EVERY_MS;
                format!("{line}\n")
            }
            Outlet::Terminal { columns } => {
                self.due_ms = reading.elapsed_ms + REWRITE_EVERY_MS;
                // A line that wraps could not be rewritten.
                let line: String = line.chars().take(columns.saturating_sub(1)).collect();
                let (before, now) = (self.standing, line.chars().count());
                self.standing = now;
                format!("\r{line}{:1$}", "", before.saturating_sub(now))
            }
        })
    }

    /// What takes the line off the terminal, if one stands there.
    pub fn clear(&mut self) -> Option<String> {
        let columns = std::mem::take(&mut self.standing);
        (columns > 0).then(|| format!("\r{:columns$}\r", ""))
    }
}

/// How much has been read, rounded down.
fn percent(progress: &Progress) -> u64 {
    let Progress { bytes, bytes_all, .. } = *progress;
    let hundredths = u128::from(bytes) * 100 / u128::from(bytes_all.max(1));
    u64::try_from(hundredths).unwrap_or(100).min(100)
}

fn under_way(reading: &Reading, percent: u64) -> String {
    let Reading { progress, elapsed_ms, .. } = *reading;
    let per_second = u128::from(progress.events) * 1_000 / u128::from(elapsed_ms.max(1));
    let rate = grouped(u64::try_from(per_second).unwrap_or(u64::MAX));
    let left_ms = u128::from(progress.bytes_all.saturating_sub(progress.bytes))
        * u128::from(elapsed_ms)
        / u128::from(progress.bytes.max(1));
    let left = duration(u64::try_from(left_ms.div_ceil(1_000)).unwrap_or(u64::MAX));
    format!("{percent}% of the log read, {rate} events a second, {left} left")
}

fn closing(reading: &Reading) -> String {
    let Reading { progress: Progress { events, files, .. }, elapsed_ms, .. } = *reading;
    let took = if elapsed_ms < 60_000 {
        format!("{}.{} s", elapsed_ms / 1_000, elapsed_ms % 1_000 / 100)
    } else {
        duration(elapsed_ms / 1_000)
    };
    let (event, file) = (noun(events, "event"), noun(files as u64, "file"));
    format!("{event} in {file} read in {took}")
}

fn noun(count: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Seconds in the two largest units that they fill.
fn duration(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Outlet = Outlet::Terminal { columns: 80 };

    fn at(elapsed_ms: u64, bytes: u64, events: u64) -> Reading {
        let progress = Progress { bytes, bytes_all: 1_000, events, files: 171 };
        Reading { progress, elapsed_ms, is_done: false }
    }

    fn done(elapsed_ms: u64, events: u64) -> Reading {
        Reading { is_done: true, ..at(elapsed_ms, 1_000, events) }
    }

    #[test]
    fn a_reading_of_less_than_a_second_says_nothing() {
        for outlet in [Outlet::Lines, WIDE] {
            let mut meter = Meter::new(outlet);
            for elapsed_ms in [0, 1, 500, 999] {
                assert_eq!(meter.handle(&at(elapsed_ms, elapsed_ms, 7)), None);
            }
            assert_eq!(meter.handle(&done(999, 7)), None);
            assert_eq!(meter.clear(), None);
        }
    }

    #[test]
    fn a_longer_one_says_a_line_every_second_and_how_it_ended() {
        let mut meter = Meter::new(Outlet::Lines);
        let steps = (0..42).map(|step| at(step * 100, step * 20, step * 300_000));
        let said: Vec<_> = steps.filter_map(|reading| meter.handle(&reading)).collect();
        assert_eq!(
            said,
            [
                "oicqd: 20% of the log read, 3,000,000 events a second, 4 s left\n",
                "oicqd: 40% of the log read, 3,000,000 events a second, 3 s left\n",
                "oicqd: 60% of the log read, 3,000,000 events a second, 2 s left\n",
                "oicqd: 80% of the log read, 3,000,000 events a second, 1 s left\n",
            ]
        );
        let end = meter.handle(&done(4_290, 12_345_678));
        assert_eq!(end.unwrap(), "oicqd: 12,345,678 events in 171 files read in 4.2 s\n");
        assert_eq!(meter.clear(), None);
    }

    #[test]
    fn one_line_of_a_terminal_is_rewritten_and_cleared() {
        let mut meter = Meter::new(WIDE);
        let first = meter.handle(&at(1_000, 5, 1_000_000)).unwrap();
        assert_eq!(
            first,
            "\roicqd: 0% of the log read, 1,000,000 events a second, 3 min 19 s left"
        );
        assert_eq!(meter.handle(&at(1_249, 6, 1_000_000)), None);
        let second = meter.handle(&at(1_250, 625, 1_000)).unwrap();
        let line = "oicqd: 62% of the log read, 800 events a second, 1 s left";
        assert_eq!(second, format!("\r{line:0$}", first.len() - 1), "nothing of the first is left");
        let end = meter.handle(&done(2_000, 1)).unwrap();
        let blank = " ".repeat(line.len());
        assert_eq!(end, format!("\r{blank}\roicqd: 1 event in 171 files read in 2.0 s\n"));
    }

    #[test]
    fn a_narrow_terminal_gets_a_line_that_does_not_wrap() {
        for columns in [1, 2, 20, 60] {
            let mut meter = Meter::new(Outlet::Terminal { columns });
            let line = meter.handle(&at(1_000, 5, 1_000_000)).unwrap();
            assert_eq!(line.chars().count(), columns, "the return and one column less");
        }
    }

    #[test]
    fn a_reading_that_failed_leaves_no_line_on_the_terminal() {
        let mut meter = Meter::new(WIDE);
        let line = meter.handle(&at(1_500, 5, 1_000)).unwrap();
        assert_eq!(meter.clear().unwrap(), format!("\r{:1$}\r", "", line.len() - 1));
        assert_eq!(meter.clear(), None);
    }

    #[test]
    fn percents_never_go_back_and_never_beyond_a_hundred() {
        let mut meter = Meter::new(Outlet::Lines);
        let mut shown = |second: u64, bytes| {
            let line = meter.handle(&at(second * 1_000, bytes, 1)).unwrap();
            line.split(['%', ' ']).nth(1).unwrap().parse::<u64>().unwrap()
        };
        assert_eq!(shown(1, 999), 99);
        assert_eq!(shown(2, 300), 99);
        assert_eq!(shown(3, u64::MAX), 100);
        assert_eq!(shown(4, 0), 100);
        let empty = Progress { bytes: 5, bytes_all: 0, ..Progress::default() };
        assert_eq!(percent(&empty), 100);
    }

    #[test]
    fn extreme_values_are_shown_without_an_overflow() {
        for bytes in [0, 1, u64::MAX] {
            for elapsed_ms in [0, 1, u64::MAX] {
                let progress = Progress { bytes, bytes_all: u64::MAX, events: u64::MAX, files: 1 };
                let reading = Reading { progress, elapsed_ms, is_done: false };
                assert!(under_way(&reading, 1).ends_with(" left"));
                assert!(closing(&reading).contains("in 1 file read in "));
            }
        }
    }

    #[test]
    fn numbers_and_times_are_easy_to_read() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (123_456, "123,456"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3_599, "59 min 59 s"),
            (3_720, "1 h 2 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
