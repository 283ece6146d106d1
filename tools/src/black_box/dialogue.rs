//! What is told while a recording runs: the dialogue of a connection or a user, one line a packet, with the events
//! made in between.
//!
//! Owns the choice of lines, and what is remembered of the last step for whoever tells how it ended.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;

use indicatif::ProgressBar;
use oicq::black_box::{Actual, BoxFile, Logged, Observer, Step};
use oicq::engine::{Engine, HeldInput, Input, WaitsFor};
use oicq::id::{ConnectionId, ServiceNumber, UnixMillis};
use oicq::state::{Event, State};
use oicq::wire::{ClientPacket, RequestType};
use serde_json::Value;

use super::connections::{Name, Names};
use super::said::{At, Line};
use super::{Options, Pick};
use crate::failure::Failure;
use crate::options::Format;
use crate::packets::Meaning;
use crate::paint::{self, Paint};
use crate::show::Time;
use crate::source::{Beside, Happening};

/// Looks on, and writes what is asked for.
pub(super) struct Watcher<'o, W> {
    options: &'o Options,
    paint: Paint,
    out: &'o mut W,
    beside: Beside,
    failure: Option<Failure>,
    names: Names,
    now: Current,
    seen: Seen,
    /// Connections on which the user that is picked has asked to log in, until that is decided.
    logging_in: BTreeSet<ConnectionId>,
}

/// The step at hand.
#[derive(Default)]
struct Current {
    step: u64,
    time: UnixMillis,
    input: HeldInput,
    connection: Option<ConnectionId>,
    session: Option<ServiceNumber>,
    /// Where the user that is picked was in session before.
    picked_on: Option<ConnectionId>,
}

/// What has been seen by the end.
#[derive(Default)]
pub(super) struct Seen {
    /// Number and time of the first step and of the last one.
    pub(super) first: Option<(u64, UnixMillis)>,
    pub(super) last: Option<(u64, UnixMillis)>,
    pub(super) names: Names,
    /// Whether there was anything to tell of whom was picked.
    pub(super) has_told: bool,
    /// Of the step that went differently.
    pub(super) different: Option<Different>,
}

/// A step that went differently, told.
pub(super) struct Different {
    pub(super) at: At,
    pub(super) input: Line,
    /// What was sent, and which events were made.
    pub(super) actual: Vec<Line>,
}

impl<'o, W: Write> Watcher<'o, W> {
    pub(super) fn new(options: &'o Options, paint: Paint, out: &'o mut W) -> Self {
        Self {
            options,
            paint,
            out,
            beside: Beside::default(),
            failure: None,
            names: Names::default(),
            now: Current::default(),
            seen: Seen::default(),
            logging_in: BTreeSet::new(),
        }
    }

    /// A bar shows how far it is.
    pub(super) fn stand_beside(&mut self, bar: &ProgressBar) {
        self.beside.bar(bar);
    }

    /// What it has seen, unless something could not be written.
    pub(super) fn finish(mut self) -> Result<Seen, Failure> {
        self.seen.names = self.names;
        self.failure.map_or(Ok(self.seen), Err)
    }

    /// The engine has crashed at the step at hand.
    pub(super) fn crashed(&self) -> Failure {
        let state = State::default();
        let meaning = Meaning { state: &state, charset: Default::default() };
        let input = self.now.input.get();
        let at = self.at(self.now.connection);
        let words = Line::input(at, &input, self.now.session, meaning).plain();
        let connection =
            at.connection.map_or_else(String::new, |name| format!(", connection {name}"));
        let (step, time) = (at.step, Time(at.time));
        Failure::Failed(format!(
            "the engine has crashed at step {step}, {time}{connection}: {words}"
        ))
    }

    fn at(&self, connection: Option<ConnectionId>) -> At {
        let connection = connection.and_then(|connection| self.names.get(connection));
        At { step: self.now.step, time: self.now.time, connection }
    }

    fn write(&mut self, line: &Line) {
        self.beside.make_room();
        self.seen.has_told = true;
        let written = match self.options.format {
            Format::Text => {
                let is_event = line.plain().starts_with('*');
                let style = if is_event { paint::FAINT } else { Default::default() };
                writeln!(self.out, "{}", self.paint.put(style, line.words()))
            }
            Format::Json => writeln!(self.out, "{}", line.json()),
        };
        if let Err(error) = written {
            self.failure.get_or_insert(Failure::output(&error));
        }
    }

    /// Whether what happens on a connection is asked for.
    fn picks(&self, connection: ConnectionId, engine: &Engine) -> bool {
        match self.options.pick {
            Pick::Nobody => false,
            Pick::Connection(name) => self.names.get(connection) == Some(name),
            Pick::User(number) => {
                self.now.picked_on == Some(connection)
                    || engine.connection_of(number) == Some(connection)
                    || self.logging_in.contains(&connection)
            }
        }
    }

    /// Takes note of a login of the user that is picked.
    fn note_login(&mut self, input: &Input<'_>) {
        let Pick::User(number) = self.options.pick else { return };
        if let Input::Packet { connection, frame } = input
            && frame.header.packet_type == RequestType::LogIn as u8
            && let Ok(packet) = ClientPacket::decode(RequestType::LogIn, frame.content)
            && packet.own == number
        {
            self.logging_in.insert(*connection);
        }
    }

    fn tell_input(&mut self, input: &Input<'_>, engine: &Engine) {
        // What only moves bytes along would drown the rest.
        let is_shown = !matches!(input, Input::Room { .. } | Input::Acknowledged { .. });
        if let Some(connection) = self.now.connection.filter(|_| is_shown)
            && self.picks(connection, engine)
        {
            let at = self.at(Some(connection));
            let line = Line::input(at, input, self.now.session, meaning(engine));
            self.write(&line);
        }
    }

    fn tell_actual(&mut self, actual: &Actual<'_>, engine: &Engine) {
        let meaning = meaning(engine);
        let by_picked = self.now.connection.is_some_and(|it| self.picks(it, engine));
        let user = match self.options.pick {
            Pick::User(number) => Some(number),
            _ => self.now.session.filter(|_| by_picked),
        };
        for logged in actual.events {
            if by_picked || user.is_some_and(|user| concerns(logged, user, meaning)) {
                let line = Line::event(self.at(self.now.connection), logged, meaning);
                self.write(&line);
            }
        }
        for (to, bytes) in actual.outbox.sends_since(actual.mark) {
            if self.picks(to, engine) {
                let lines = Line::sent(self.at(Some(to)), bytes, meaning);
                lines.iter().for_each(|line| self.write(line));
            }
        }
        for closed in actual.outbox.closes_since(actual.mark) {
            if self.picks(*closed, engine) {
                let line = Line::closed(self.at(Some(*closed)));
                self.write(&line);
            }
        }
    }

    /// All that a step has led to.
    fn different(&self, actual: &Actual<'_>, engine: &Engine) -> Different {
        let meaning = meaning(engine);
        let at = self.at(self.now.connection);
        let input = self.now.input.get();
        let events = actual.events.iter().map(|logged| Line::event(at, logged, meaning));
        let sends = actual.outbox.sends_since(actual.mark);
        let sends = sends.flat_map(|(to, bytes)| Line::sent(self.at(Some(to)), bytes, meaning));
        let closes = actual.outbox.closes_since(actual.mark).iter();
        let closes = closes.map(|closed| Line::closed(self.at(Some(*closed))));
        Different {
            at,
            input: Line::input(at, &input, self.now.session, meaning),
            actual: events.chain(sends).chain(closes).collect(),
        }
    }
}

impl<W: Write> Observer for Watcher<'_, W> {
    fn begin(&mut self, file: &BoxFile, engine: &Engine) {
        self.names.begin(file.header.first_step, engine);
        self.logging_in.clear();
    }

    fn before(&mut self, step: &Step<'_>, engine: &Engine) -> ControlFlow<()> {
        if step.number > self.options.until || self.failure.is_some() {
            return ControlFlow::Break(());
        }
        self.names.before(step.number, step.input);
        self.now.input.hold(step.input);
        (self.now.step, self.now.time) = (step.number, step.time);
        self.now.connection = step.input.connection().or_else(|| waiting_for(step.input, engine));
        let connection = self.now.connection.and_then(|connection| engine.connection(connection));
        self.now.session = connection.and_then(|it| it.session).map(|(number, _)| number);
        self.seen.first.get_or_insert((step.number, step.time));
        self.seen.last = Some((step.number, step.time));
        if let Pick::User(number) = self.options.pick {
            self.now.picked_on = engine.connection_of(number);
        }
        self.note_login(step.input);
        if self.options.pick != Pick::Nobody {
            self.tell_input(step.input, engine);
        }
        ControlFlow::Continue(())
    }

    fn after(&mut self, _: u64, actual: &Actual<'_>, engine: &Engine) {
        if self.options.pick != Pick::Nobody {
            self.tell_actual(actual, engine);
        }
        if actual.difference.is_some() {
            self.seen.different = Some(self.different(actual, engine));
        }
        self.names.after(&self.now.input.get());
        let waits = |connection: &ConnectionId| {
            let view = engine.connection(*connection);
            view.is_some_and(|view| matches!(view.waits_for, WaitsFor::Password(_)))
        };
        self.logging_in.retain(waits);
    }
}

fn meaning(engine: &Engine) -> Meaning<'_> {
    Meaning { state: engine.state(), charset: engine.settings().charset }
}

/// The connection that a verdict on a password is for.
fn waiting_for(input: &Input<'_>, engine: &Engine) -> Option<ConnectionId> {
    let Input::Verdict(verdict) = input else { return None };
    let waits = WaitsFor::Password(verdict.ticket);
    engine.connections().find(|view| view.waits_for == waits).map(|view| view.id)
}

fn concerns(logged: &Logged, user: ServiceNumber, meaning: Meaning<'_>) -> bool {
    let Meaning { state, charset } = meaning;
    let (seq, time) = (logged.seq, logged.time);
    Event::decode(logged.kind, &logged.payload)
        .is_ok_and(|event| Happening { seq, time, event, state, charset }.concerns(user))
}

/// The name of a connection as JSON.
pub(super) fn name_json(name: Option<Name>) -> Value {
    name.map(|name| name.to_string()).into()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use oicq::engine::Settings;
    use oicq::wire::{Frame, Header, Kind};

    use super::*;

    #[test]
    fn a_crash_is_told_by_its_step_and_its_input() {
        let options = Options {
            folder: PathBuf::new(),
            until: u64::MAX,
            pick: Pick::Nobody,
            shows_state: false,
            format: Format::Text,
        };
        let (engine, mut out) = (Engine::new(Settings::default(), State::default()), Vec::new());
        let mut watcher = Watcher::new(&options, Paint::NONE, &mut out);
        let connection = ConnectionId(0);
        let header = Header { kind: Kind::User, packet_type: 0x16, content_length: 4 };
        let frame = Frame { header, content: &[0; 4] };
        let (connect, packet) = (
            Input::Connect { connection, address: [127, 0, 0, 1].into() },
            Input::Packet { connection, frame },
        );
        for (number, input) in [(7, &connect), (8, &packet)] {
            let step = Step { number, input, time: UnixMillis(1_000_000_000_000) };
            assert!(watcher.before(&step, &engine).is_continue());
        }
        let Failure::Failed(words) = watcher.crashed() else { panic!("it failed") };
        let expected =
            "the engine has crashed at step 8, 2001-09-09T01:46:40.000Z, connection 7: → test";
        assert_eq!(words, expected);
    }
}
