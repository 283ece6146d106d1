//! One line of a dialogue: what came in at a step, what was sent, and which events were made, in words and in JSON.
//!
//! Owns the form of a line. Which lines are shown is the dialogue's.

use oicq::black_box::Logged;
use oicq::engine::{Input, Outcome, Overdue};
use oicq::id::{ServiceNumber, UnixMillis};
use oicq::state::Event;
use oicq::wire::{Frame, FrameError, Kind, cut_for_client};
use serde_json::{Map, Value, json};

use super::connections::Name;
use crate::packets::{Meaning, from_client, from_server};
use crate::show::Time;
use crate::source::Happening;

/// Where and when something was said.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) step: u64,
    pub(super) time: UnixMillis,
    pub(super) connection: Option<Name>,
}

/// A line.
pub(super) struct Line {
    at: At,
    sign: char,
    words: String,
    /// What the object has beside step, time and connection.
    object: Value,
}

impl Line {
    /// What came in.
    pub(super) fn input(
        at: At,
        input: &Input<'_>,
        session: Option<ServiceNumber>,
        meaning: Meaning<'_>,
    ) -> Self {
        let (sign, words, object) = match input {
            Input::Packet { frame, .. } => {
                let told = from_client(frame, session);
                let object = json!({ "what": "received", "packet": told.json(meaning) });
                ('→', told.words(meaning), object)
            }
            other => {
                let (what, words) = input_words(other);
                ('·', words.clone(), json!({ "what": what, "words": words }))
            }
        };
        Self { at, sign, words, object }
    }

    /// The packets that were sent to a connection at once.
    pub(super) fn sent(at: At, bytes: &[u8], meaning: Meaning<'_>) -> Vec<Self> {
        frames(bytes)
            .map(|frame| {
                let told = from_server(&frame);
                let object = json!({ "what": "sent", "packet": told.json(meaning) });
                Self { at, sign: '←', words: told.words(meaning), object }
            })
            .collect()
    }

    /// The server has closed a connection.
    pub(super) fn closed(at: At) -> Self {
        let words = "the server closes the connection".to_owned();
        let object = json!({ "what": "closed" });
        Self { at, sign: '·', words, object }
    }

    /// An event that was made.
    pub(super) fn event(at: At, logged: &Logged, meaning: Meaning<'_>) -> Self {
        let (words, event) = event(logged, meaning);
        let object = json!({ "what": "event", "event": event });
        Self { at, sign: '*', words, object }
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        let At { step, time, connection } = self.at;
        let connection = connection.map_or_else(String::new, |name| name.to_string());
        let (time, sign, words) = (Time(time), self.sign, &self.words);
        format!("{step:>8}  {time}  {connection:>8}  {sign} {words}")
    }

    /// Without step and time.
    pub(super) fn brief(&self) -> String {
        let connection = self.at.connection.map_or_else(String::new, |name| name.to_string());
        format!("{connection:>8}  {}", self.plain())
    }

    /// The words alone.
    pub(super) fn plain(&self) -> String {
        format!("{} {}", self.sign, self.words)
    }

    /// As an object.
    pub(super) fn json(&self) -> Value {
        let At { step, time, connection } = self.at;
        let mut object = Map::new();
        object.insert("step".into(), step.into());
        object.insert("time".into(), Time(time).to_string().into());
        object.insert("connection".into(), connection.map(|name| name.to_string()).into());
        if let Value::Object(fields) = &self.object {
            object.extend(fields.clone());
        }
        Value::Object(object)
    }
}

/// An event in words and in JSON.
pub(super) fn event(logged: &Logged, meaning: Meaning<'_>) -> (String, Value) {
    let Meaning { state, charset } = meaning;
    let (seq, time) = (logged.seq, logged.time);
    match Event::decode(logged.kind, &logged.payload) {
        Ok(event) => {
            let happening = Happening { seq, time, event, state, charset };
            (format!("event {seq}, {}", happening.summary()), happening.json())
        }
        Err(error) => {
            let object = json!({ "seq": seq.0, "time": Time(time).to_string(), "kind": "unknown" });
            (format!("event {seq}, {error}"), object)
        }
    }
}

/// The packets of the server in these bytes.
pub(crate) fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    std::iter::from_fn(move || {
        let kind = Kind::of_sender(*bytes.get(2)?)?;
        let frame = cut_for_client(bytes, kind, u32::MAX).ok()??;
        bytes = &bytes[frame.length()..];
        Some(frame)
    })
}

/// What an input is called in JSON, and in words.
fn input_words(input: &Input<'_>) -> (&'static str, String) {
    let (what, words) = match input {
        Input::Turn(_) => ("turn", "a turn begins"),
        Input::Connect { address, .. } => return ("opened", format!("connects from {address}")),
        Input::Packet { .. } => ("received", "a packet"),
        Input::FrameError { error, .. } => {
            let why = match error {
                FrameError::FirstByte(byte) => format!("the first byte is 0x{byte:02X}"),
                FrameError::Sender(byte) => format!("the sender's kind is 0x{byte:02X}"),
                FrameError::SenderChanged { was, is } => {
                    format!("the sender's kind was 0x{:02X} and is 0x{:02X}", *was as u8, *is as u8)
                }
                FrameError::Receiver(byte) => format!("the receiver is 0x{byte:02X}"),
                FrameError::TooLarge { content_length, content_bytes_max, .. } => {
                    format!("{content_length} bytes of content, {content_bytes_max} are allowed")
                }
            };
            return ("no-packet", format!("no packet: {why}"));
        }
        Input::End { .. } => ("ended", "the connection has ended"),
        Input::Overdue { overdue: Overdue::Login, .. } => ("overdue", "no login came in time"),
        Input::Overdue { overdue: Overdue::Idle, .. } => ("overdue", "nothing came for too long"),
        Input::Overdue { overdue: Overdue::Slow, .. } => ("overdue", "takes nothing of what waits"),
        Input::Room { .. } => ("room", "has room for more"),
        Input::Acknowledged { bytes, .. } => {
            return ("acknowledged", format!("has acknowledged {bytes} B so far"));
        }
        Input::Verdict(verdict) => match verdict.outcome {
            Outcome::Matches(true) => ("password", "the password matches"),
            Outcome::MatchesOlder => {
                ("password", "the password matches, its hash is to be made anew")
            }
            Outcome::Matches(false) => ("password", "the password does not match"),
            Outcome::Hashed(_) => ("password", "the password was hashed"),
        },
        Input::Step => ("turn-end", "the turn's inputs end"),
        Input::Shutdown => ("shutdown", "the server stops"),
        Input::Flush => ("flush", "deliveries are written"),
        Input::Checkpoint => ("checkpoint", "the state's digest is written"),
    };
    (what, words.to_owned())
}

#[cfg(test)]
mod tests {
    use oicq::codec::charset::Charset;
    use oicq::id::ConnectionId;
    use oicq::state::State;
    use oicq::wire::{ClientPacket, Header, Request, ServerPacket};

    use super::*;
    use crate::documented::check;

    const AT: At =
        At { step: 12, time: UnixMillis(1_000_000_000_000), connection: Some(Name::Opened(3)) };

    fn with_meaning(see: impl FnOnce(Meaning<'_>)) {
        let state = State::default();
        see(Meaning { state: &state, charset: Charset::Utf8 });
    }

    #[test]
    fn each_kind_of_line_has_the_documented_fields_and_one_form_in_words() {
        let mut bytes = Vec::new();
        let number = ServiceNumber(10_001);
        ClientPacket { own: number, request: Request::Test }.encode(Kind::User, &mut bytes);
        let header = Header { kind: Kind::User, packet_type: 0x16, content_length: 4 };
        let frame = Frame { header, content: &bytes[8..] };
        let connection = ConnectionId(0);
        with_meaning(|meaning| {
            let line = Line::input(AT, &Input::Packet { connection, frame }, None, meaning);
            check(&line.json(), &["told", "received"]);
            let expected = "      12  2001-09-09T01:46:40.000Z         3  → test own 10001";
            assert_eq!(line.words(), expected);
            for input in [Input::End { connection }, Input::Shutdown, Input::Step] {
                check(&Line::input(AT, &input, None, meaning).json(), &["told", "came"]);
            }
            check(&Line::closed(AT).json(), &["told", "closed"]);
            let mut bytes = Vec::new();
            ServerPacket::Tested { number }.encode(Kind::User, &mut bytes);
            ServerPacket::Tested { number }.encode(Kind::User, &mut bytes);
            let lines = Line::sent(AT, &bytes, meaning);
            assert_eq!(lines.len(), 2);
            check(&lines[1].json(), &["told", "sent"]);
            assert_eq!(lines[1].plain(), "← tested number 10001");
        });
    }

    #[test]
    fn what_cannot_be_a_packet_says_why() {
        let connection = ConnectionId(0);
        let error = FrameError::FirstByte(0x18);
        with_meaning(|meaning| {
            let line = Line::input(AT, &Input::FrameError { connection, error }, None, meaning);
            assert_eq!(line.plain(), "· no packet: the first byte is 0x18");
        });
    }
}
