//! Waiting for what the poller has to report, and the reports.
//!
//! Owns how the system is asked. On Linux that is one call: the poller's own way sets a timer and looks at its
//! notification with five, each time. Everything is registered to be reported as long as it is so (`kernel`), so
//! nothing is lost with a report that is not acted on.

use std::io;
use std::time::Duration;

use polling::{Events, Poller};

/// Reports that are taken at once; what there is beyond is reported the next time.
pub(super) const REPORTS: usize = 1_024;
/// The longest wait at once; whoever wanted a longer one waits again.
#[cfg(target_os = "linux")]
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The poller's key for its own notification.
const NOTIFICATION: usize = usize::MAX;

/// What is reported of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Report {
    /// The key that it was registered with.
    pub(super) key: usize,
    /// Bytes, a connection or an end can be read, or an urgent byte passed over.
    pub(super) readable: bool,
    /// Nothing can be sent any more.
    pub(super) hung_up: bool,
}

/// The reports of one turn.
pub(super) struct Reports {
    list: Vec<Report>,
    is_notified: bool,
    events: Events,
    #[cfg(target_os = "linux")]
    buffer: Vec<rustix::event::epoll::Event>,
}

impl Reports {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            list: Vec::with_capacity(REPORTS),
            is_notified: false,
            events: Events::new(),
            #[cfg(target_os = "linux")]
            buffer: Vec::with_capacity(REPORTS),
        }
    }

    /// Whether nothing was there when it was last waited.
    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether the time was over when it was last waited, and nobody had notified the poller either, as far as that is
    /// known.
    pub(super) const fn is_quiet(&self) -> bool {
        self.list.is_empty() && !self.is_notified
    }

    /// All that were there when it was last waited.
    pub(super) fn iter(&self) -> impl Iterator<Item = Report> + '_ {
        self.list.iter().copied()
    }

    /// Waits until there is something to report, somebody has notified the poller, or the time is over.
    #[cfg(target_os = "linux")]
    pub(super) fn wait(&mut self, poller: &Poller, timeout: Option<Duration>) -> io::Result<()> {
        use rustix::buffer::spare_capacity;
        use rustix::event::{Timespec, epoll};
        use rustix::io::Errno;

        self.list.clear();
        self.buffer.clear();
        // Older systems know no longer wait than 24 days.
        let timeout = timeout.map(|timeout| timeout.min(WAIT_MAX));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match epoll::wait(poller, spare_capacity(&mut self.buffer), timeout.as_ref()) {
            // A signal has come: whoever wants to know sees it by itself.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.is_notified = false;
        for event in &self.buffer {
            let key = usize::try_from(event.data.u64()).unwrap_or(NOTIFICATION);
            if key == NOTIFICATION {
                self.is_notified = true;
                continue;
            }
            // Copied out: the system's layout is packed.
            let flags = event.flags;
            let ends = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            // An urgent byte is no input, but is reported until a read has passed over it.
            let input = epoll::EventFlags::IN | epoll::EventFlags::PRI;
            let readable = ends | input | epoll::EventFlags::RDHUP;
            let (readable, hung_up) = (flags.intersects(readable), flags.intersects(ends));
            self.list.push(Report { key, readable, hung_up });
        }
        if self.is_notified {
            // Only the poller can take its notification back. What else it reports stands here already, or is
            // reported again.
            self.events.clear();
            poller.wait(&mut self.events, Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// Waits until there is something to report, somebody has notified the poller, or the time is over.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn wait(&mut self, poller: &Poller, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        poller.wait(&mut self.events, timeout)?;
        self.list.clear();
        self.list.extend(self.events.iter().map(|event| Report {
            key: event.key,
            readable: event.readable,
            hung_up: event.is_interrupt() || event.is_err() == Some(true),
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use polling::Event;

    use super::super::kernel::Registered;
    use super::*;

    fn reported(reports: &mut Reports, poller: &Poller) -> Vec<Report> {
        reports.wait(poller, Some(Duration::ZERO)).unwrap();
        reports.iter().collect()
    }

    #[test]
    fn what_can_be_read_is_reported_until_it_is_read() {
        let poller = Arc::new(Poller::new().unwrap());
        let (here, mut there) = UnixStream::pair().unwrap();
        let here = Registered::new(here, &poller, Event::readable(5)).unwrap();
        let mut reports = Reports::new();
        assert_eq!(reported(&mut reports, &poller), []);
        there.write_all(b"xy").unwrap();
        let readable = Report { key: 5, readable: true, hung_up: false };
        for _ in 0..3 {
            assert_eq!(reported(&mut reports, &poller), [readable]);
        }
        here.set_interest(Event::none(5)).unwrap();
        assert_eq!(reported(&mut reports, &poller), []);
        here.set_interest(Event::readable(5)).unwrap();
        (&*here).read_exact(&mut [0; 2]).unwrap();
        assert_eq!(reported(&mut reports, &poller), []);
        there.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reported(&mut reports, &poller), [Report { hung_up: true, ..readable }]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_urgent_byte_can_be_read_and_is_not_reported_for_ever() {
        use std::net::{TcpListener, TcpStream};

        use rustix::net::{SendFlags, send};

        let poller = Arc::new(Poller::new().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (here, _) = listener.accept().unwrap();
        here.set_nonblocking(true).unwrap();
        let here = Registered::new(here, &poller, Event::readable(5)).unwrap();
        send(&there, b"!", SendFlags::OOB).unwrap();
        let mut reports = Reports::new();
        reports.wait(&poller, None).unwrap();
        let readable = Report { key: 5, readable: true, hung_up: false };
        assert_eq!(reports.iter().collect::<Vec<_>>(), [readable]);
        // It is no part of what is read; reading passes over it.
        let error = (&*here).read(&mut [0; 2]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(reported(&mut reports, &poller), []);
    }

    #[test]
    fn a_notification_wakes_it_once_and_hides_nothing() {
        let poller = Arc::new(Poller::new().unwrap());
        let (here, mut there) = UnixStream::pair().unwrap();
        let _here = Registered::new(here, &poller, Event::readable(5)).unwrap();
        let mut reports = Reports::new();
        for _ in 0..3 {
            poller.notify().unwrap();
            reports.wait(&poller, None).unwrap();
            assert!(reports.is_empty() && reports.is_quiet() != cfg!(target_os = "linux"));
            assert_eq!(reported(&mut reports, &poller), []);
            assert!(reports.is_quiet());
        }
        there.write_all(b"x").unwrap();
        poller.notify().unwrap();
        for _ in 0..2 {
            let all = reported(&mut reports, &poller);
            assert_eq!(all, [Report { key: 5, readable: true, hung_up: false }]);
        }
    }
}
