//! What a start tells: how far the log has been read, and for how long, for whoever shows it.
//!
//! Owns how often the clock is asked. It never decides what is shown, or whether.

use crate::cli::progress::Reading;
use crate::id::MonoMillis;
use crate::log::Progress;

/// The clock is asked when so many bytes have been read since the last time: a batch of one event takes a
/// third of a microsecond to read and apply, and asking the time for each would add a tenth to that.
const BYTES_PER_LOOK: u64 = 64 << 10;

/// Tells how far the reading is, now and then.
pub(super) struct Start<'a> {
    clock: &'a mut dyn FnMut() -> MonoMillis,
    show: &'a mut dyn FnMut(&Reading),
    begun: MonoMillis,
    look_at_bytes: u64,
    last: Progress,
}

impl<'a> Start<'a> {
    /// Begins to count the time.
    pub(super) fn begin(
        clock: &'a mut dyn FnMut() -> MonoMillis,
        show: &'a mut dyn FnMut(&Reading),
    ) -> Self {
        let begun = clock();
        Self { clock, show, begun, look_at_bytes: BYTES_PER_LOOK, last: Progress::default() }
    }

    /// A batch has been read.
    pub(super) fn handle(&mut self, progress: &Progress) {
        if progress.bytes < self.last.bytes {
            // The log was compacted meanwhile, and is read again from its beginning.
            self.look_at_bytes = BYTES_PER_LOOK;
        }
        self.last = *progress;
        if progress.bytes >= self.look_at_bytes {
            self.look_at_bytes = progress.bytes + BYTES_PER_LOOK;
            self.tell(false);
        }
    }

    /// The log is open.
    pub(super) fn end(mut self) {
        self.tell(true);
    }

    fn tell(&mut self, is_done: bool) {
        let elapsed_ms = (self.clock)().since(self.begun);
        (self.show)(&Reading { progress: self.last, elapsed_ms, is_done });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::path::Path;
    use std::sync::Arc;

    use polling::Poller;

    use super::super::{ServerError, recover};
    use super::*;
    use crate::cli::progress::{Meter, Outlet};
    use crate::cli::settings::Options;
    use crate::codec::profile::Profile;
    use crate::id::{ServiceNumber, UnixMillis};
    use crate::log::{DiskStorage, Log, OpenError};
    use crate::state::{Authentication, Event};

    const MESSAGES: u64 = 400;

    fn options(folder: &Path) -> Options {
        Options { data: folder.to_owned(), segment_bytes: 256 << 10, ..Options::default() }
    }

    /// A log of a registration and messages of 4 KiB, one a batch: 1.6 MiB in several files.
    fn write(options: &Options) {
        let storage = DiskStorage::create(&options.data).unwrap();
        let log_options = crate::log::Options {
            segment_size: options.segment_bytes,
            durability: crate::log::Durability::Never,
            charset: options.settings.charset.tag(),
        };
        let nothing = |_: &crate::log::Record<'_>| Ok::<_, Infallible>(());
        let (mut log, _) = Log::open(storage, log_options, 7, UnixMillis(1), nothing).unwrap();
        let mut add = |event: &Event<'_>| {
            let mut payload = Vec::new();
            event.encode(&mut payload);
            log.append(UnixMillis(1), event.kind() as u8, &payload).unwrap();
            log.commit(MonoMillis(0)).unwrap();
        };
        let number = ServiceNumber::FIRST;
        let profile = Profile { nickname: b"ann", ..Profile::default() };
        let authentication = Authentication::Open;
        add(&Event::Registered { number, authentication, password_hash: "$argon2id$", profile });
        for _ in 0..MESSAGES {
            add(&Event::MessageSent { from: number, to: number, content: &[b'x'; 4_096] });
        }
        log.close().unwrap();
    }

    /// What a start tells, on a clock that moves on by so much whenever it is asked.
    fn told(options: &Options, tick_ms: u64) -> (Vec<Reading>, Result<(), ServerError>) {
        let (asked, mut told) = (Cell::new(0), Vec::new());
        let mut clock = || {
            asked.set(asked.get() + 1);
            MonoMillis(5 + asked.get() * tick_ms)
        };
        let mut show = |reading: &Reading| told.push(*reading);
        let poller = Arc::new(Poller::new().unwrap());
        let opened = recover(options, &poller, Start::begin(&mut clock, &mut show)).map(drop);
        assert!(asked.get() < MESSAGES / 4, "the clock is not asked for every batch");
        (told, opened)
    }

    #[test]
    fn a_start_tells_how_far_it_is_and_when_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        write(&options);
        let (told, opened) = told(&options, 300);
        opened.unwrap();
        let (last, earlier) = told.split_last().unwrap();
        assert!(earlier.len() >= 20 && earlier.iter().all(|reading| !reading.is_done));
        assert!(last.is_done);
        assert_eq!((last.progress.events, last.progress.files), (MESSAGES + 1, 7));
        assert_eq!(last.progress.bytes_all, 7 * (256 << 10));
        for (reading, next) in told.iter().zip(&told[1..]) {
            assert_eq!(next.elapsed_ms, reading.elapsed_ms + 300);
            let (progress, next) = (reading.progress, next.progress);
            assert!(progress.bytes <= next.bytes && progress.events <= next.events);
            assert!(next.bytes <= next.bytes_all && next.bytes_all == progress.bytes_all);
        }
    }

    #[test]
    fn a_slow_start_is_shown_from_its_second_second_on_and_a_fast_one_is_silent() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        write(&options);
        let lines = |tick_ms| {
            let mut meter = Meter::new(Outlet::Lines);
            let (told, _) = told(&options, tick_ms);
            told.iter().filter_map(|reading| meter.handle(reading)).collect::<Vec<_>>()
        };
        assert_eq!(lines(1), [""; 0]);
        let said = lines(1_000);
        let percents: Vec<u64> = said[..said.len() - 1]
            .iter()
            .map(|line| line.split(['%', ' ']).nth(1).unwrap().parse().unwrap())
            .collect();
        assert!(percents.len() >= 20 && percents.is_sorted() && percents[19] > 70, "{percents:?}");
        assert!(percents.iter().all(|percent| *percent <= 100));
        let last = format!("oicqd: {} events in 7 files read in ", MESSAGES + 1);
        assert!(said.last().unwrap().starts_with(&last), "{said:?}");
    }

    #[test]
    fn a_start_that_fails_is_not_told_as_done() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        write(&options);
        let last = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let last = last.filter(|path| path.extension().is_some_and(|end| end == "log")).max();
        std::fs::write(last.unwrap(), [1; 8_192]).unwrap();
        let (told, opened) = told(&options, 1_000);
        assert!(matches!(opened, Err(ServerError::Open { error: OpenError::Damaged(_), .. })));
        assert!(!told.is_empty() && told.iter().all(|reading| !reading.is_done));
    }

    #[test]
    fn a_log_that_is_read_again_from_its_beginning_goes_on_telling() {
        let mut told = Vec::new();
        let mut show = |reading: &Reading| told.push(reading.progress.bytes);
        let mut clock = || MonoMillis(0);
        let mut start = Start::begin(&mut clock, &mut show);
        for bytes in [1_000_000, 1_000, 70_000, 140_000] {
            start.handle(&Progress { bytes, bytes_all: 1_000_000, ..Progress::default() });
        }
        assert_eq!(told, [1_000_000, 70_000, 140_000]);
    }

    #[test]
    fn a_new_log_is_nothing_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let (told, opened) = told(&options(&folder.path().join("new")), 10);
        opened.unwrap();
        let reading = Reading { progress: Progress::default(), elapsed_ms: 10, is_done: true };
        assert_eq!(told, [reading]);
    }
}
