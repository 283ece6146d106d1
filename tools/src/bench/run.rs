//! What all parts of a measurement share while it goes on: the clock, how long anything is waited for, the bar on the
//! terminal, and whether somebody wants it to stop.

use std::cell::Cell;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use indicatif::{ProgressBar, ProgressStyle};
use rustix::thread::set_current_timer_slack;
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::clock::Clock;
use crate::ending;
use crate::failure::{Failure, print};

/// Time between two movements of the bar: drawing takes time from what is measured.
const TICK_NS: u64 = 250_000_000;

/// A measurement that goes on.
pub(crate) struct Run {
    clock: Clock,
    stopped: Arc<AtomicBool>,
    bar: ProgressBar,
    next_tick_ns: Cell<u64>,
    /// How long nothing may happen before it has failed.
    pub(crate) patience_ns: u64,
}

impl Run {
    /// Measures. Meanwhile Ctrl-C and SIGTERM end it in order, so that what was started and made goes with it; the
    /// second one ends it at once, as SIGQUIT does.
    pub(crate) fn over<T>(
        patience_ns: u64,
        measure: impl FnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let run = Self::begin(patience_ns)?;
        let measured = measure(&run);
        // What goes wrong once it is to stop has that reason.
        run.check_stopped()?;
        measured
    }

    /// The same, where being told to stop is an end like any other.
    pub(crate) fn until_stopped<T>(
        patience_ns: u64,
        measure: impl FnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        measure(&Self::begin(patience_ns)?)
    }

    /// The same measurement for another thread, which has no bar.
    pub(crate) fn beside(&self) -> Self {
        Self {
            clock: self.clock,
            stopped: Arc::clone(&self.stopped),
            bar: ProgressBar::hidden(),
            next_tick_ns: Cell::new(0),
            patience_ns: self.patience_ns,
        }
    }

    /// The same measurement for what is to be brought to its end, whoever wants it to stop.
    pub(crate) fn to_its_end(&self) -> Self {
        let mut run = self.beside();
        run.stopped = Arc::default();
        run
    }

    fn begin(patience_ns: u64) -> Result<Self, Failure> {
        let stopped = Arc::new(AtomicBool::new(false));
        // Otherwise the first one would end it at once, for its folder's sake.
        ending::take_over()?;
        stop_by_signals(Arc::clone(&stopped))
            .map_err(|error| Failure::Failed(format!("cannot wait for signals: {error}")))?;
        // Otherwise the kernel may wake this thread so late that it shows in the latencies of a steady rate.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        let (clock, next_tick_ns) = (Clock::start(), Cell::new(0));
        Ok(Self { clock, stopped, bar: bar(), next_tick_ns, patience_ns })
    }

    /// Nanoseconds since it began.
    pub(crate) fn ns(&self) -> u64 {
        self.clock.ns()
    }

    /// Moves the bar, and fails once it is to stop.
    pub(crate) fn look(&self, now_ns: u64) -> Result<(), Failure> {
        self.check_stopped()?;
        self.tick(now_ns);
        Ok(())
    }

    /// Moves the bar.
    pub(crate) fn tick(&self, now_ns: u64) {
        if now_ns >= self.next_tick_ns.get() {
            self.next_tick_ns.set(now_ns + TICK_NS);
            self.bar.tick();
        }
    }

    /// Whether somebody wants it to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Fails once it is to stop.
    fn check_stopped(&self) -> Result<(), Failure> {
        if self.is_stopped() {
            return Err(Failure::Failed("stopped before it was done".to_owned()));
        }
        Ok(())
    }

    /// Says on the bar which part of all that is measured comes now.
    pub(crate) fn part(&self, number: usize, of: usize) {
        self.bar.set_prefix(format!("{number}/{of}: "));
    }

    /// Prints what there is so far.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        self.bar.suspend(|| print(text))
    }

    /// Says on the bar what is being done, and how many steps of it there are.
    pub(crate) fn doing(&self, what: String, steps: u64) {
        self.bar.set_length(steps);
        self.bar.set_position(0);
        self.bar.set_message(what);
    }

    /// So many steps of it are done.
    pub(crate) fn done(&self, steps: u64) {
        self.bar.set_position(steps);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Has the first signal set this, and the second one end the program, as one does that asks for no order.
fn stop_by_signals(stopped: Arc<AtomicBool>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGQUIT])?;
    let work = move || {
        for signal in signals.forever() {
            if signal == SIGQUIT || stopped.swap(true, Ordering::Relaxed) {
                ending::end_by(signal);
            }
        }
    };
    thread::Builder::new().name("stop".to_owned()).spawn(work).map(drop)
}

/// A bar on standard error, if that is a terminal. It moves when it is told to: a thread that moves it would be one
/// more for the processor.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{prefix}{msg} {wide_bar} {pos}/{len} {elapsed}")
    {
        bar.set_style(style);
    }
    bar
}
