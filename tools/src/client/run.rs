//! The main thread: lines, packets and times go in, events and packets come out.
//!
//! Owns the order of things: when the next line is wanted, what a script waits for, and when the client
//! is done. What commands and packets mean, the session knows.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel};
use std::time::{Duration, Instant};

use oicq::cli::page::terminal_width;
use oicq::cli::values::show_time;
use oicq::codec::charset::Charset;
use oicq::codec::secret::SecretBuf;

use super::clock::now;
use super::commands::Command;
use super::connection::ToServer;
use super::events::{Event, Pattern};
use super::fields;
use super::help;
use super::input::{Ask, FromConnection, Input, Line};
use super::output::Output;
use super::reconnect::Returning;
use super::session::Session;
use crate::failure::Failure;

/// After this much silence the client says something: a third of what the server allows.
const SILENCE: Duration = Duration::from_secs(60);
/// How long one who quits waits at most for the system to take what is still to be sent.
const LEAVING: Duration = Duration::from_secs(1);
/// Events that a `wait` may still ask for; older ones are forgotten.
const EVENTS_KEPT: usize = 1_024;
/// Lines that wait for the ones before them, when people type ahead.
const LINES_AHEAD: usize = 64;

/// What the options settle.
pub(crate) struct Settings {
    /// The server, as it was named.
    pub(crate) server: String,
    pub(crate) charset: Charset,
    /// The password of every login and registration that does not give one.
    pub(crate) password: Option<SecretBuf>,
    /// Whether the input is typed, be it that nobody sees what comes of it.
    pub(crate) is_typed: bool,
    /// Commands under way at once.
    pub(crate) window: usize,
    /// How long a `wait` waits that does not say it.
    pub(crate) wait_ms: u64,
    /// How long it is tried to come back after a lost connection.
    pub(crate) reconnect_ms: u64,
}

/// Everything that the main thread has.
pub(crate) struct Runner {
    pub(crate) settings: Settings,
    pub(crate) session: Session,
    pub(crate) output: Output,
    pub(crate) inputs: Receiver<Input>,
    /// Where `inputs` come in, for the threads of connections.
    pub(crate) sender: SyncSender<Input>,
    pub(crate) asks: Sender<Ask>,
    /// What the connection sends, and how many connections there have been.
    pub(crate) to_server: Option<Sender<ToServer>>,
    pub(crate) connection: u32,
    pub(crate) state: State,
}

/// Where the client is in its script.
pub(crate) struct State {
    queue: VecDeque<(usize, Command)>,
    lines_read: usize,
    /// Whether the reading thread has been asked and has not answered.
    asked: bool,
    /// There are no more lines.
    ended: bool,
    quit: bool,
    lacking: Option<Lacking>,
    waiting: Option<Waiting>,
    recent: VecDeque<Event>,
    last_sent: Instant,
    /// Code and text of what the server said last, which may say why a connection ends.
    pub(super) last_notice: Option<(String, String)>,
    pub(super) returning: Option<Returning>,
}

/// A command whose password is being asked for.
struct Lacking {
    line: usize,
    command: Command,
    /// What was entered the first time, where it is asked for twice.
    first: Option<Line>,
}

/// A `wait` that is not over.
struct Waiting {
    line: usize,
    pattern: Pattern,
    timeout_ms: u64,
    until: Instant,
}

impl State {
    /// The beginning, with what is to be done before the first line.
    pub(crate) fn new(first: Option<Command>) -> Self {
        Self {
            queue: first.map(|command| (0, command)).into_iter().collect(),
            lines_read: 0,
            asked: false,
            ended: false,
            quit: false,
            lacking: None,
            waiting: None,
            recent: VecDeque::new(),
            last_sent: now(),
            last_notice: None,
            returning: None,
        }
    }
}

impl Runner {
    /// Runs until the end of the input, `quit`, or the end of the connection.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        if let Some((line, command)) = self.state.queue.pop_front() {
            self.take_command(line, command);
        }
        loop {
            self.flush()?;
            self.check_return()?;
            self.start_commands()?;
            self.session.confirm_many();
            self.flush()?;
            if self.is_through() {
                self.confirm()?;
            }
            if self.state.quit {
                return self.leave();
            }
            if self.is_through() && self.session.is_idle() {
                return Ok(());
            }
            self.ask();
            match self.next_input()? {
                Ok(input) => self.handle(input)?,
                Err(RecvTimeoutError::Timeout) => self.handle_times()?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Waits for an input. Before it has to wait, it says which messages have arrived.
    fn next_input(&mut self) -> Result<Result<Input, RecvTimeoutError>, Failure> {
        match self.inputs.try_recv() {
            Ok(input) => Ok(Ok(input)),
            Err(TryRecvError::Disconnected) => Ok(Err(RecvTimeoutError::Disconnected)),
            Err(TryRecvError::Empty) => {
                self.confirm()?;
                Ok(self.inputs.recv_timeout(self.pause()))
            }
        }
    }

    fn confirm(&mut self) -> Result<(), Failure> {
        self.session.confirm();
        self.flush()
    }

    /// Says which messages have been shown, lest they come again, and waits for no answer to anything.
    fn leave(&mut self) -> Result<(), Failure> {
        self.confirm()?;
        let (last, written) = channel();
        if let Some(to_server) = self.to_server.take()
            && to_server.send(ToServer::Last(last)).is_ok()
        {
            // A server that takes nothing is not waited for any longer.
            let _ = written.recv_timeout(LEAVING);
        }
        Ok(())
    }

    fn handle(&mut self, input: Input) -> Result<(), Failure> {
        let state = &mut self.state;
        match input {
            Input::Line(line) => {
                state.asked = false;
                self.output.handle_line();
                self.handle_line(line)?;
            }
            Input::Interrupted => {
                state.asked = false;
                state.lacking = None;
                state.waiting = None;
                self.output.handle_line();
            }
            Input::Ended => {
                (state.asked, state.ended) = (false, true);
                if let Some(lacking) = state.lacking.take() {
                    return Err(self.wrong(lacking.line, "the input ended before the password"));
                }
            }
            Input::Unreadable(error) => {
                return Err(Failure::Failed(format!("cannot read the commands: {error}")));
            }
            Input::Connection(count, what) if count == self.connection => {
                return self.handle_connection(what);
            }
            // What is left of an earlier connection.
            Input::Connection(..) => {}
            Input::Reached(reached) => return self.handle_reached(reached),
        }
        Ok(())
    }

    fn handle_connection(&mut self, what: FromConnection) -> Result<(), Failure> {
        match what {
            FromConnection::Packets(packets) => {
                packets.iter().for_each(|packet| self.session.handle_packet(packet));
            }
            FromConnection::PieceSent { to, transfer, bytes } => {
                self.state.last_sent = now();
                self.session.handle_piece_sent(to, transfer, bytes);
            }
            FromConnection::FileDone { to, transfer, outcome } => {
                self.session.handle_file_done(to, transfer, outcome);
            }
            FromConnection::Lost(reason) => return self.handle_lost(&reason),
        }
        Ok(())
    }

    fn handle_line(&mut self, line: Line) -> Result<(), Failure> {
        self.state.lines_read += 1;
        let number = self.state.lines_read;
        if let Some(lacking) = self.state.lacking.take() {
            return self.handle_password(lacking, line);
        }
        match Command::parse(&line, self.settings.charset) {
            Ok(Some(command)) => self.take_command(number, command),
            Ok(None) => {}
            Err(error) => self.complain(number, &error)?,
        }
        Ok(())
    }

    /// Whoever types is asked twice for a new user's password, which is not seen: a slip would lock them out.
    fn handle_password(&mut self, lacking: Lacking, line: Line) -> Result<(), Failure> {
        let Lacking { line: number, command, first } = lacking;
        let twice = self.settings.is_typed && matches!(command, Command::Register(_));
        match first {
            None if twice => {
                let first = Some(line);
                self.state.lacking = Some(Lacking { line: number, command, first });
            }
            Some(first) if *first != *line => self.complain(number, "the two passwords differ")?,
            _ => {
                let password = fields::password(&line, self.settings.charset);
                self.state.queue.push_back((number, command.with_password(password)));
            }
        }
        Ok(())
    }

    /// Puts a command into the queue, once it has all that it needs.
    fn take_command(&mut self, line: usize, command: Command) {
        match (&self.settings.password, command.lacks_password()) {
            (Some(password), true) => {
                let password = password.clone();
                self.state.queue.push_back((line, command.with_password(password)));
            }
            (None, true) => self.state.lacking = Some(Lacking { line, command, first: None }),
            (_, false) => self.state.queue.push_back((line, command)),
        }
    }

    /// Does what can be done of the queue now.
    fn start_commands(&mut self) -> Result<(), Failure> {
        while !self.state.quit && self.is_ready() {
            let Some((line, command)) = self.state.queue.pop_front() else { break };
            match command {
                Command::Quit => self.state.quit = true,
                Command::Help(topic) => self.output.say(&help::topic(&topic, terminal_width()))?,
                Command::Wait { pattern, timeout_ms } => {
                    let timeout_ms = timeout_ms.unwrap_or(self.settings.wait_ms);
                    let until = now() + Duration::from_millis(timeout_ms);
                    self.state.waiting = Some(Waiting { line, pattern, timeout_ms, until });
                }
                command => {
                    if let Err(error) = self.session.start(command) {
                        self.complain(line, &error)?;
                    }
                }
            }
            self.flush()?;
        }
        Ok(())
    }

    /// Whether the next command may be done: not before the end of a wait, not in the middle of a login,
    /// and not while as many are under way as may be.
    fn is_ready(&self) -> bool {
        let next = self.state.queue.front();
        let alone = matches!(
            next,
            Some((
                _,
                Command::Register(_)
                    | Command::LogIn { .. }
                    | Command::LogOut
                    | Command::Wait { .. }
            ))
        );
        let window = if alone { 1 } else { self.settings.window };
        let quits = matches!(next, Some((_, Command::Quit)));
        let here = self.state.returning.is_none();
        let free = here && !self.session.is_changing() && self.session.under_way() < window;
        self.state.waiting.is_none() && (quits || free)
    }

    /// Whether there is nothing left to begin.
    fn is_through(&self) -> bool {
        let state = &self.state;
        let waits = state.waiting.is_some() || state.lacking.is_some() || state.returning.is_some();
        state.ended && state.queue.is_empty() && !waits
    }

    /// Asks for a line, if one is wanted: by people always, by a script when the one before is done.
    fn ask(&mut self) {
        let people = self.output.is_terminal();
        let state = &self.state;
        // People may type ahead; but what the prompt says depends on how a login ends.
        let wanted = state.lacking.is_some()
            || if people {
                state.queue.len() < LINES_AHEAD && !self.session.is_changing()
            } else {
                state.queue.is_empty() && self.is_ready()
            };
        if state.asked || state.ended || !wanted {
            return;
        }
        let ask = match &state.lacking {
            Some(Lacking { first: None, .. }) => Ask::Password("password: ".to_owned()),
            Some(Lacking { first: Some(_), .. }) => Ask::Password("again: ".to_owned()),
            None => Ask::Line(self.session.own().map_or("> ".to_owned(), |own| format!("{own}> "))),
        };
        // A reading thread that is gone has said so.
        self.state.asked = self.asks.send(ask).is_ok();
    }

    /// Shows what happened, and hands over what is to be sent.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.session.poll_event() {
            self.show(event)?;
        }
        while let Some(packet) = self.session.poll_send() {
            self.state.last_sent = now();
            if let Some(to_server) = &self.to_server {
                // Where the writing thread has ended, the reading one is about to say why.
                let _ = to_server.send(packet);
            }
        }
        self.output.progress(self.session.progress())?;
        self.look_for_awaited();
        Ok(())
    }

    pub(super) fn show(&mut self, event: Event) -> Result<(), Failure> {
        self.output.event(&event)?;
        if event.word() == "notice" || event.word() == "refused" {
            let (code, text) = (event.get("code").to_owned(), event.get("text").to_owned());
            self.state.last_notice = Some((code, text));
        } else {
            self.state.last_notice = None;
        }
        if self.state.recent.len() == EVENTS_KEPT {
            self.state.recent.pop_front();
        }
        self.state.recent.push_back(event);
        Ok(())
    }

    /// Ends the wait if what it waits for has come, and takes that event, so that no other wait does.
    fn look_for_awaited(&mut self) {
        let State { waiting, recent, .. } = &mut self.state;
        let Some(wait) = waiting else { return };
        if let Some(at) = recent.iter().position(|event| event.matches(&wait.pattern)) {
            recent.remove(at);
            *waiting = None;
        }
    }

    fn pause(&self) -> Duration {
        let alive = self.state.last_sent + SILENCE;
        let wait = self.state.waiting.as_ref().map(|wait| wait.until);
        let back = self.state.returning.as_ref().and_then(Returning::deadline);
        let next = wait.into_iter().chain(back).fold(alive, Instant::min);
        next.saturating_duration_since(now())
    }

    fn handle_times(&mut self) -> Result<(), Failure> {
        let now = now();
        if now >= self.state.last_sent + SILENCE {
            self.state.last_sent = now;
            if self.state.returning.is_none() {
                self.session.keep_alive();
            }
        }
        self.return_in_time(now);
        let Some(wait) = self.state.waiting.take_if(|wait| now >= wait.until) else {
            return Ok(());
        };
        let event = wait.pattern.line();
        self.show(Event::new("timeout").with("event", &event))?;
        if self.output.is_terminal() {
            return Ok(());
        }
        let after = show_time(wait.timeout_ms);
        Err(self.wrong(wait.line, &format!("no such event came within {after}: {event}")))
    }

    /// A command that cannot be done: people try again, a script ends.
    fn complain(&mut self, line: usize, error: &str) -> Result<(), Failure> {
        if self.output.is_terminal() {
            self.output.say(error)
        } else {
            Err(self.wrong(line, error))
        }
    }

    fn wrong(&self, line: usize, error: &str) -> Failure {
        match line {
            0 => Failure::Failed(error.to_owned()),
            _ if self.output.is_terminal() => Failure::Failed(error.to_owned()),
            _ => Failure::Failed(format!("line {line} of the commands: {error}")),
        }
    }
}
