//! Coming back after a lost connection: when that makes sense, how often it is tried, and what is done
//! again once a server is reached.
//!
//! Owns the pauses. What was under way is not repeated: it may have been done.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use oicq::cli::values::show_time;
use oicq::wire::Code;

use super::clock::now;
use super::connection;
use super::events::Event;
use super::run::Runner;
use crate::failure::Failure;

/// The pauses between tries double from the first to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(10);

/// After these, coming back would do harm, or lead to the same end.
const FINAL: &[Code] =
    &[Code::Elsewhere, Code::Malformed, Code::TooLarge, Code::NotLoggedIn, Code::WrongNumber];

/// A client that is on its way back.
pub(super) struct Returning {
    /// When it gives up.
    until: Instant,
    pause: Duration,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The next try is at this time.
    Pausing(Instant),
    Connecting,
    LoggingIn,
}

impl Returning {
    /// When something is to be done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.step {
            Step::Pausing(next) => Some(next),
            Step::Connecting | Step::LoggingIn => None,
        }
    }

    fn new(now: Instant, patience_ms: u64) -> Self {
        let until = now + Duration::from_millis(patience_ms);
        Self { until, pause: PAUSE_FIRST, step: Step::Pausing(now) }
    }

    /// The next try is after a pause.
    fn rest(&mut self, now: Instant) {
        self.step = Step::Pausing(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_LONGEST);
    }
}

impl Runner {
    /// The connection has ended: the client ends too, or begins to come back.
    pub(super) fn handle_lost(&mut self, reason: &str) -> Result<(), Failure> {
        let notice = self.state.last_notice.take();
        self.session.handle_lost();
        self.flush()?;
        let is_final = notice
            .as_ref()
            .is_some_and(|(code, _)| FINAL.iter().any(|known| known.as_str() == code));
        let text =
            notice.map_or_else(|| reason.to_owned(), |(code, text)| format!("{code}: {text}"));
        self.show(Event::new("lost").with("text", &text))?;
        let (now, patience_ms) = (now(), self.settings.reconnect_ms);
        let before = self.state.returning.take();
        let is_first = before.is_none();
        let may_return = patience_ms > 0 && self.session.can_return();
        let Some(mut returning) = before
            .or_else(|| may_return.then(|| Returning::new(now, patience_ms)))
            .filter(|returning| now < returning.until && !is_final)
        else {
            let server = &self.settings.server;
            let line = format!("the connection to {server} is lost: {text}");
            return Err(Failure::Failed(line));
        };
        if is_first && self.output.is_terminal() {
            let patience = show_time(patience_ms);
            self.output.say(&format!("coming back, unless that takes longer than {patience}"))?;
        }
        returning.rest(now);
        self.state.returning = Some(returning);
        Ok(())
    }

    /// Tries again if the time has come.
    pub(super) fn return_in_time(&mut self, now: Instant) {
        let Some(returning) = &mut self.state.returning else { return };
        if returning.deadline().is_some_and(|deadline| now >= deadline) {
            returning.step = Step::Connecting;
            connection::reach(self.settings.server.clone(), self.sender.clone());
        }
    }

    /// A server was reached, or none.
    pub(super) fn handle_reached(
        &mut self,
        reached: Result<TcpStream, String>,
    ) -> Result<(), Failure> {
        let started = reached
            .and_then(|stream| self.start_connection(stream).map_err(|error| error.to_string()));
        let Some(returning) = &mut self.state.returning else { return Ok(()) };
        match started {
            Ok(()) => {
                returning.step = Step::LoggingIn;
                self.session.log_in_again();
                Ok(())
            }
            Err(error) => {
                let (now, server) = (now(), &self.settings.server);
                if now >= returning.until {
                    return Err(Failure::Failed(format!(
                        "cannot connect to {server}: {error}; is the server running?"
                    )));
                }
                returning.rest(now);
                Ok(())
            }
        }
    }

    /// Uses a connection from now on.
    pub(super) fn start_connection(&mut self, stream: TcpStream) -> io::Result<()> {
        self.connection += 1;
        let (kind, count) = (self.session.kind(), self.connection);
        self.to_server = Some(connection::start(stream, kind, count, self.sender.clone())?);
        self.session.handle_connected();
        let connected = Event::new("connected").with("server", &self.settings.server);
        self.session.tell(connected);
        Ok(())
    }

    /// Looks how the login ended that was done again.
    pub(super) fn check_return(&mut self) -> Result<(), Failure> {
        let logging_in = |returning: &Returning| returning.step == Step::LoggingIn;
        if !self.state.returning.as_ref().is_some_and(logging_in) || self.session.is_changing() {
            return Ok(());
        }
        self.state.returning = None;
        if self.session.own().is_some() || self.output.is_terminal() {
            return Ok(());
        }
        let why = self.state.last_notice.take();
        let why = why.map_or_else(String::new, |(code, text)| format!(": {code}: {text}"));
        Err(Failure::Failed(format!("cannot log in again{why}")))
    }
}
