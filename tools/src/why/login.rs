//! `why DIR login NUMBER TIME`: how the logins of a user around a time ended, the sessions that they began, and the
//! hashes that were made anew since they have shown the passwords.
//!
//! Nothing of it is in the log: the recording of the server's latest input is run again, and looked at.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;

use oicq::black_box::{Actual, BoxFile, Observer, Step};
use oicq::engine::{Engine, HeldInput, Input, WaitsFor};
use oicq::id::{ConnectionId, Seq, ServiceNumber, UnixMillis};
use oicq::state::{Event, EventKind, State};
use oicq::wire::server::{Sign, SystemKind};
use oicq::wire::{ClientPacket, Frame, Notice, Request, RequestType, ServerPacket};
use serde_json::json;

use super::{Answer, Arguments};
use crate::black_box::{Name, Names, frames, recording, run_through};
use crate::failure::Failure;
use crate::show::{Quoted, Time, who};
use crate::source::Source;

/// So far from the time that is asked about a login is still meant, in milliseconds.
const AROUND_MS: u64 = 10 * 60_000;

pub(super) fn ask(
    source: &Source,
    arguments: Arguments,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let (number, time) = (arguments.user(0)?, arguments.time(1)?);
    let recording = recording(source)?;
    let mut logins = Logins::of(number);
    let ended = run_through(source, &recording, &mut logins)?;
    let Some(engine) = &ended.engine else {
        let why = ended.skipped.first().map_or_else(String::new, |(_, why)| format!(": {why}"));
        let folder = source.folder().display();
        return Err(Failure::Failed(format!(
            "{folder}: nothing of the recording can be replayed{why}"
        )));
    };
    source.check_user(number, engine.state())?;
    let Logins { tries, first, last, .. } = logins;
    let meant = around(&tries, time);
    if meant.is_empty() {
        let name = who(engine.state(), engine.settings().charset, number);
        let (from, to) = (Time(first.unwrap_or_default()), Time(last));
        let words =
            format!("{name} has not tried to log in, as far as is recorded: {from} to {to}");
        let object = json!({
            "what": "no-login",
            "user": number.0,
            "from": from.to_string(),
            "to": to.to_string(),
        });
        answer.say(words, object);
    }
    let say = Say { number, state: engine.state(), last };
    meant.iter().for_each(|login| say.login(login, engine, answer));
    if let Some(difference) = &ended.difference {
        let step = difference.step;
        let object = json!({ "what": "until", "step": step });
        answer.say(
            format_args!("step {step} goes differently now: later ones are not known"),
            object,
        );
    }
    Ok(())
}

/// Those of the day or around the time; where there is none, the nearest.
fn around(tries: &[Login], (from, to): (UnixMillis, UnixMillis)) -> Vec<&Login> {
    let distance = |login: &&Login| {
        let before = from.0.saturating_sub(login.time.0);
        before.max(login.time.0.saturating_sub(to.0))
    };
    let far = if from == to { AROUND_MS } else { 0 };
    let near: Vec<_> = tries.iter().filter(|login| distance(login) <= far).collect();
    if near.is_empty() { tries.iter().min_by_key(distance).into_iter().collect() } else { near }
}

/// A login that was asked for.
struct Login {
    step: u64,
    time: UnixMillis,
    connection: Option<Name>,
    address: Option<IpAddr>,
    outcome: Outcome,
    /// When and why the session ended that it has begun.
    ended: Option<(UnixMillis, String)>,
    /// The event that has made the hash of its password anew.
    rehashed: Option<Rehashed>,
}

/// A hash was made anew of the same password.
#[derive(Clone, Copy)]
struct Rehashed {
    step: u64,
    time: UnixMillis,
    seq: Seq,
}

/// What came of it.
enum Outcome {
    /// The password was being looked at.
    Undecided,
    Accepted,
    /// The notice's code and sentence.
    Refused(String, String),
}

struct Say<'a> {
    number: ServiceNumber,
    state: &'a State,
    last: UnixMillis,
}

impl Say<'_> {
    fn login(&self, login: &Login, engine: &Engine, answer: &mut Answer) {
        let Login { step, time, connection, address, outcome, ended, .. } = login;
        let name = who(self.state, engine.settings().charset, self.number);
        let place = match (address, connection) {
            (Some(address), Some(connection)) => format!("from {address}, connection {connection}"),
            _ => "from an unknown place".to_owned(),
        };
        let (word, code, sentence) = match outcome {
            Outcome::Undecided => ("undecided", None, None),
            Outcome::Accepted => ("accepted", None, None),
            Outcome::Refused(code, sentence) => ("refused", Some(code), Some(sentence)),
        };
        let end = match (outcome, ended) {
            (Outcome::Accepted, Some((at, why))) => {
                format!("; the session ended at {}: {why}", Time(*at))
            }
            (Outcome::Accepted, None) => {
                format!("; the session still goes on at {}", Time(self.last))
            }
            (Outcome::Undecided, Some((_, why))) => {
                format!("; before the password was looked at: {why}")
            }
            (Outcome::Refused(code, sentence), _) => format!(", {code}: {}", Quoted(sentence)),
            (Outcome::Undecided, None) => String::new(),
        };
        let words = format!("{step:>8}  {}  {name} {place}: {word}{end}", Time(*time));
        let object = json!({
            "what": "login",
            "step": step,
            "time": Time(*time).to_string(),
            "user": self.number.0,
            "address": address.map(|address| address.to_string()),
            "connection": connection.map(|name| name.to_string()),
            "outcome": word,
            "code": code,
            "sentence": sentence,
            "ended": ended.as_ref().map(|(at, _)| Time(*at).to_string()),
            "why": ended.as_ref().map(|(_, why)| why.as_str()),
        });
        answer.say(words, object);
        if let Some(rehashed) = login.rehashed {
            self.rehashed(rehashed, &name, answer);
        }
    }

    fn rehashed(&self, Rehashed { step, time, seq }: Rehashed, name: &str, answer: &mut Answer) {
        let time = Time(time);
        let object = json!({
            "what": "rehashed",
            "step": step,
            "time": time.to_string(),
            "user": self.number.0,
            "seq": seq.0,
        });
        let words = format!("{step:>8}  {time}  {name}: the password was hashed anew, event {seq}");
        answer.say(words, object);
    }
}

/// Follows the logins of one user.
struct Logins {
    number: ServiceNumber,
    tries: Vec<Login>,
    names: Names,
    input: HeldInput,
    step: u64,
    first: Option<UnixMillis>,
    last: UnixMillis,
    /// Connections on which a login is being decided, and which.
    deciding: BTreeMap<ConnectionId, usize>,
    /// Where the user is in session, and by which login; none where that was before the recording.
    session: Option<(ConnectionId, Option<usize>)>,
}

impl Logins {
    fn of(number: ServiceNumber) -> Self {
        Self {
            number,
            tries: Vec::new(),
            names: Names::default(),
            input: HeldInput::default(),
            step: 0,
            first: None,
            last: UnixMillis::default(),
            deciding: BTreeMap::new(),
            session: None,
        }
    }

    fn begin_login(&mut self, connection: ConnectionId, frame: &Frame<'_>, engine: &Engine) {
        let is_login = frame.header.packet_type == RequestType::LogIn as u8;
        let packet = ClientPacket::decode(RequestType::LogIn, frame.content).ok();
        let own = packet.filter(|packet| {
            is_login && matches!(packet.request, Request::LogIn { .. }) && packet.own == self.number
        });
        if own.is_some() {
            self.deciding.insert(connection, self.tries.len());
            self.tries.push(Login {
                step: self.step,
                time: self.last,
                connection: self.names.get(connection),
                address: engine.connection(connection).map(|view| view.address),
                outcome: Outcome::Undecided,
                ended: None,
                rehashed: None,
            });
        }
    }

    /// A hash that is made anew follows from the last login that was accepted.
    fn look_for_rehash(&mut self, actual: &Actual<'_>) {
        let kind = EventKind::PasswordRehashed as u8;
        for event in actual.events.iter().filter(|event| event.kind == kind) {
            let mut accepted =
                self.tries.iter_mut().filter(|login| matches!(login.outcome, Outcome::Accepted));
            if let Ok(Event::PasswordRehashed { number, .. }) =
                Event::decode(event.kind, &event.payload)
                && number == self.number
                && let Some(login) = accepted.next_back()
            {
                let (step, time, seq) = (self.step, event.time, event.seq);
                login.rehashed = Some(Rehashed { step, time, seq });
            }
        }
    }

    /// Whether a login has been decided by now, and how.
    fn decide(&mut self, actual: &Actual<'_>, engine: &Engine) {
        let deciding: Vec<_> = self.deciding.iter().map(|(id, login)| (*id, *login)).collect();
        for (connection, login) in deciding {
            let view = engine.connection(connection);
            let waits = view.is_some_and(|view| matches!(view.waits_for, WaitsFor::Password(_)));
            if waits {
                continue;
            }
            self.deciding.remove(&connection);
            let told = told(actual, connection);
            if told.is_accepted {
                self.tries[login].outcome = Outcome::Accepted;
                self.session = Some((connection, Some(login)));
            } else if let Some((code, sentence)) = told.notice {
                self.tries[login].outcome = Outcome::Refused(code, sentence);
            } else {
                self.tries[login].ended = Some((self.last, self.why(connection, actual)));
            }
        }
    }

    /// Whether the session has ended by now.
    fn look_at_session(&mut self, actual: &Actual<'_>, engine: &Engine) {
        let now = engine.connection_of(self.number);
        if let Some((connection, login)) = self.session
            && now != Some(connection)
        {
            self.end_session(login, self.why(connection, actual));
        }
    }

    fn end_session(&mut self, login: Option<usize>, why: String) {
        self.session = None;
        if let Some(login) = login {
            self.tries[login].ended = Some((self.last, why));
        }
    }

    /// Why a session or a connection has ended with this step.
    fn why(&self, connection: ConnectionId, actual: &Actual<'_>) -> String {
        let notice = told(actual, connection).notice;
        match (self.input.get(), notice) {
            (Input::Packet { connection: from, frame }, _)
                if from == connection
                    && frame.header.packet_type == RequestType::SetMode as u8
                    && !actual.outbox.closes_since(actual.mark).contains(&connection) =>
            {
                "logged out".to_owned()
            }
            (_, Some((code, sentence))) => format!("{code}: {}", Quoted(&sentence)),
            (Input::End { .. }, None) => "the connection has ended".to_owned(),
            (_, None) => "closed by the server".to_owned(),
        }
    }
}

/// What a connection is told in a step.
struct Told {
    is_accepted: bool,
    /// The last notice, or result of a failure: code and sentence.
    notice: Option<(String, String)>,
}

fn told(actual: &Actual<'_>, connection: ConnectionId) -> Told {
    let mut all = Told { is_accepted: false, notice: None };
    for (_, bytes) in actual.outbox.sends_since(actual.mark).filter(|(to, _)| *to == connection) {
        for frame in frames(bytes) {
            match ServerPacket::decode(frame.header.packet_type, frame.content) {
                Ok(ServerPacket::LoggedIn { success: true, .. }) => all.is_accepted = true,
                Ok(ServerPacket::Message {
                    sign: Sign::System(SystemKind::Notice), text, ..
                }) => {
                    let notice = Notice::parse(text);
                    all.notice =
                        notice.map(|it| (it.code.as_str().to_owned(), it.sentence.to_owned()));
                }
                Ok(ServerPacket::Result { success: false, text, .. }) => {
                    let text = String::from_utf8_lossy(text);
                    let parts = text.split_once(": ");
                    all.notice = parts.map(|(code, why)| (code.to_owned(), why.to_owned()));
                }
                _ => {}
            }
        }
    }
    all
}

impl Observer for Logins {
    fn begin(&mut self, file: &BoxFile, engine: &Engine) {
        self.names.begin(file.header.first_step, engine);
        self.deciding.clear();
        if let Some((_, login)) = self.session.take() {
            self.end_session(login, "what followed was not recorded".to_owned());
        }
        self.session = engine.connection_of(self.number).map(|connection| (connection, None));
    }

    fn before(&mut self, step: &Step<'_>, engine: &Engine) -> ControlFlow<()> {
        self.names.before(step.number, step.input);
        self.input.hold(step.input);
        (self.step, self.last) = (step.number, step.time);
        self.first.get_or_insert(step.time);
        if let Input::Packet { connection, frame } = step.input {
            self.begin_login(*connection, frame, engine);
        }
        ControlFlow::Continue(())
    }

    fn after(&mut self, _: u64, actual: &Actual<'_>, engine: &Engine) {
        self.look_at_session(actual, engine);
        self.decide(actual, engine);
        self.look_for_rehash(actual);
        self.names.after(&self.input.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_all_of_it_and_a_time_is_what_is_near() {
        const MINUTE: u64 = 60_000;
        let tried = |minute: u64| Login {
            step: minute,
            time: UnixMillis(minute * MINUTE),
            connection: None,
            address: None,
            outcome: Outcome::Undecided,
            ended: None,
            rehashed: None,
        };
        let tries = [10, 1_439, 1_440, 1_445, 2_000].map(tried);
        let meant = |from: u64, to: u64| {
            let span = (UnixMillis(from), UnixMillis(to));
            around(&tries, span).iter().map(|login| login.step).collect::<Vec<_>>()
        };
        assert_eq!(meant(0, 1_440 * MINUTE - 1), [10, 1_439]);
        assert_eq!(meant(1_440 * MINUTE, 1_440 * MINUTE), [1_439, 1_440, 1_445]);
        assert_eq!(meant(1_700 * MINUTE, 1_700 * MINUTE), [1_445], "the nearest");
        assert_eq!(meant(2_880 * MINUTE, 4_320 * MINUTE - 1), [2_000], "the nearest");
        assert_eq!(meant(0, 0), [10]);
    }
}
