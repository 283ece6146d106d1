//! Which signals stop the server, and how the loop learns of them.
//!
//! The first SIGTERM or SIGINT asks the loop to stop; the second ends the process on the spot. SIGHUP,
//! SIGPIPE and SIGXFSZ (a file size limit, which the log takes for a full disk) do nothing. It never
//! touches a connection or the log.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use polling::{Event, Poller};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGXFSZ};
use signal_hook::{flag, low_level};

use super::kernel::Registered;

/// The exit status of a process that a second signal ends.
const STATUS_AT_ONCE: i32 = 1;

/// The signals that came so far.
#[derive(Debug)]
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    /// Becomes readable with the first signal, which is all that it is for.
    wake: Registered<UnixStream>,
    key: usize,
}

impl Signals {
    /// Takes over the process's signals. The poller wakes up with `key` when the first one comes.
    pub(super) fn watch(poller: &Arc<Poller>, key: usize) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag down, and raises it.
            flag::register_conditional_shutdown(signal, STATUS_AT_ONCE, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop))?;
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        let wake = Registered::new(wake, poller, Event::readable(key))?;
        Ok(Self { stop, wake, key })
    }

    /// Takes the signals that do nothing. They shall not end a server that is still reading its log, either.
    pub(super) fn ignore() -> io::Result<()> {
        for signal in [SIGHUP, SIGPIPE, SIGXFSZ] {
            // A flag that nobody looks at: the signal is taken, and does nothing.
            flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
        Ok(())
    }

    /// The first signal has been seen, and is not to be reported again and again.
    pub(super) fn stop_reporting(&self) {
        // It fails only where the poller does not know it, and then there is nothing to report.
        let _ = self.wake.set_interest(Event::none(self.key));
    }

    /// Whether the server was asked to stop.
    pub(super) fn asked_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use polling::Events;

    use super::*;

    const ALONE: &str = "OICQ_SIGNALS_ALONE";

    /// A signal is for all of a process, and this one has servers of other tests in it.
    #[test]
    fn hangup_does_nothing_and_the_first_sigterm_wakes_the_poller() {
        let name = "net::signals::tests::what_signals_do_in_a_process_of_its_own";
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args([name, "--exact"]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn what_signals_do_in_a_process_of_its_own() {
        if std::env::var_os(ALONE).is_none() {
            return;
        }
        let poller = Arc::new(Poller::new().unwrap());
        Signals::ignore().unwrap();
        let signals = Signals::watch(&poller, 7).unwrap();
        low_level::raise(SIGHUP).unwrap();
        low_level::raise(SIGPIPE).unwrap();
        assert!(!signals.asked_to_stop());
        low_level::raise(SIGTERM).unwrap();
        let mut events = Events::new();
        poller.wait(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert_eq!(events.iter().map(|event| event.key).collect::<Vec<_>>(), [7]);
        assert!(signals.asked_to_stop());
    }
}
