//! `why DIR message ID`: who sent it to whom, and what became of it on the way to each receiver.
//!
//! A message of the system, such as a request to be added, is one like any other: its id is that of the event
//! that posted it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use oicq::id::{Seq, ServiceNumber, UnixMillis};
use oicq::state::{Event, MessageKind, State, Waiting};
use serde_json::json;

use super::recorded::{self, Place};
use super::{Answer, Arguments, watch};
use crate::failure::Failure;
use crate::show::{Quoted, Time, message_kind_name, who};
use crate::source::{Happening, Onlooker, Outcome, Source};
use crate::state_view::waiting_json;

pub(super) fn ask(
    source: &Source,
    arguments: Arguments,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let id = arguments.seq(0)?;
    if id == Seq::ZERO {
        return Err(Failure::Usage("message: 0 was given, ids begin with 1".to_owned()));
    }
    let mut message = Message { id, event: None, receivers: BTreeMap::new(), answer };
    let seen = watch(source, &mut message)?;
    let Message { event, receivers, .. } = message;
    let event_is_known = event.is_some();
    match event {
        Some(event) if receivers.is_empty() => {
            let (folder, event) = (source.folder().display(), event.words);
            return Err(Failure::Failed(format!("{folder}: {id} is no message, but {event}")));
        }
        Some(event) => answer.add(&event.shown),
        None => say_dropped(source, &seen.outcome, id, &receivers, answer)?,
    }
    let got = receivers.iter().filter_map(|(number, receiver)| match receiver.fate {
        Fate::Delivered(at) => Some((*number, at.seq)),
        _ => None,
    });
    let places = recorded::places(source, id, got.collect())?;
    if let Some(place) = places.sender {
        let object = json!({
            "what": "sent-from",
            "address": place.address.to_string(),
            "connection": place.connection.to_string(),
            "step": place.step,
        });
        answer.say(format_args!("sent from {place}"), object);
    }
    for (number, receiver) in &receivers {
        let place = places.receivers.get(number);
        say_receiver(&seen.outcome, *number, receiver, place, answer);
    }
    let base = if event_is_known { Seq::ZERO } else { seen.outcome.base_seq };
    answer.gaps(base, seen.lost);
    Ok(())
}

/// Of a message from before the first event, what is known is what still waited there.
fn say_dropped(
    source: &Source,
    outcome: &Outcome,
    id: Seq,
    receivers: &BTreeMap<ServiceNumber, Receiver>,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let base = outcome.base_seq;
    let Some(waiting) = receivers.values().find_map(|receiver| receiver.waiting) else {
        source.check_reached(id, outcome.state.last_seq())?;
        let what = format!("sequence number {id}, and no message of that id waited any more");
        return Err(source.dropped(what, base.next()));
    };
    let mut texts = source.texts(outcome);
    let object = json!({ "what": "waited", "message": waiting_json(&mut texts, id, &waiting)? });
    let (time, kind) = (Time(waiting.time), message_kind_name(waiting.kind));
    let from = who(&outcome.state, outcome.charset, waiting.from);
    let text = texts.read(&waiting)?;
    let words =
        format!("{kind} from {from}: {}; who got it up to {base} is not known", Quoted(&text));
    answer.say(format_args!("{id:>8}  {time}  {words}"), object);
    Ok(())
}

fn say_receiver(
    outcome: &Outcome,
    number: ServiceNumber,
    receiver: &Receiver,
    place: Option<&Place>,
    answer: &mut Answer,
) {
    let kind = receiver.kind;
    let (fate, words, at) = match receiver.fate {
        Fate::Waits => {
            let (seq, time) = (outcome.state.last_seq(), Time(outcome.state.last_time()));
            ("waits", format!("still waits for it, as of {seq}, {time}"), None)
        }
        Fate::Delivered(at) => {
            let place = place.map_or_else(String::new, |place| format!(", at {place}"));
            ("delivered", format!("got it at {at}{place}"), Some(at))
        }
        Fate::Replaced(at) => (
            "replaced",
            format!("got a newer one of that kind instead, accepted at {at}"),
            Some(at),
        ),
        Fate::Full => ("mailbox-full", "never gets it: the mailbox was full".to_owned(), None),
    };
    let object = json!({
        "what": "receiver",
        "user": number.0,
        "message": message_kind_name(kind),
        "fate": fate,
        "seq": at.map(|at| at.seq.0),
        "time": at.map(|at| Time(at.time).to_string()),
        "address": place.map(|place| place.address.to_string()),
        "connection": place.map(|place| place.connection.to_string()),
    });
    let name = who(&outcome.state, outcome.charset, number);
    let kind = match kind {
        MessageKind::User => String::new(),
        system => format!(" ({})", message_kind_name(system)),
    };
    answer.say(format_args!("{name}{kind} {words}"), object);
}

/// What became of the message.
#[derive(Clone, Copy)]
enum Fate {
    Waits,
    Delivered(At),
    /// One of the system's gives way to a newer one of its kind and sender.
    Replaced(At),
    Full,
}

/// An event.
#[derive(Clone, Copy)]
struct At {
    seq: Seq,
    time: UnixMillis,
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.seq, Time(self.time))
    }
}

struct Receiver {
    kind: MessageKind,
    fate: Fate,
    /// As it stood in the mailbox, if it ever did.
    waiting: Option<Waiting>,
}

/// The event with the message's id.
struct Sent {
    shown: String,
    words: String,
}

/// Follows one message.
struct Message<'a> {
    id: Seq,
    event: Option<Sent>,
    receivers: BTreeMap<ServiceNumber, Receiver>,
    answer: &'a Answer,
}

impl Message<'_> {
    /// Finds out whom it has been posted to.
    fn post(&mut self, state: &State) {
        let before = Seq(self.id.0.saturating_sub(1));
        for (number, user) in state.users() {
            if let Some((seq, waiting)) = user.mailbox().after(before).next()
                && seq == self.id
            {
                let (kind, waiting) = (waiting.kind, Some(*waiting));
                self.receivers.insert(number, Receiver { kind, fate: Fate::Waits, waiting });
            }
        }
    }

    fn accept(&mut self, happening: &Happening<'_>) {
        self.post(happening.state);
        if let Event::MessageBroadcast { left_out, .. } = happening.event {
            for number in left_out.iter() {
                let (kind, fate) = (MessageKind::User, Fate::Full);
                self.receivers.insert(number, Receiver { kind, fate, waiting: None });
            }
        }
        let (shown, words) = (self.answer.event(happening), happening.summary());
        self.event = Some(Sent { shown, words });
    }

    /// Takes note of what an event does to the message.
    fn follow(&mut self, happening: &Happening<'_>) {
        let at = At { seq: happening.seq, time: happening.time };
        match happening.event {
            Event::Delivered { receipts } => {
                for (number, _) in receipts.iter().filter(|(_, through)| *through >= self.id) {
                    if let Some(Receiver { fate: fate @ Fate::Waits, .. }) =
                        self.receivers.get_mut(&number)
                    {
                        *fate = Fate::Delivered(at);
                    }
                }
            }
            Event::FriendRequested { .. }
            | Event::RequestRejected { .. }
            | Event::FriendRefused { .. }
            | Event::FriendAdded { .. } => {
                for (number, receiver) in &mut self.receivers {
                    let is_system = receiver.kind != MessageKind::User;
                    let waits = matches!(receiver.fate, Fate::Waits);
                    if is_system && waits && !is_waiting(happening.state, *number, self.id) {
                        receiver.fate = Fate::Replaced(at);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Onlooker for Message<'_> {
    fn begin(&mut self, state: &State) -> Result<(), Failure> {
        if state.last_seq() >= self.id {
            self.post(state);
        }
        Ok(())
    }

    fn event(&mut self, happening: &Happening<'_>) -> Result<ControlFlow<()>, Failure> {
        if happening.seq == self.id {
            self.accept(happening);
        } else if !self.receivers.is_empty() {
            self.follow(happening);
        }
        // What has an end needs no more events.
        let waits = self.receivers.values().any(|receiver| matches!(receiver.fate, Fate::Waits));
        let has_ended = happening.seq >= self.id && !waits;
        Ok(if has_ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

fn is_waiting(state: &State, number: ServiceNumber, id: Seq) -> bool {
    let before = Seq(id.0.saturating_sub(1));
    let user = state.user(number);
    user.and_then(|user| user.mailbox().after(before).next()).is_some_and(|(seq, _)| seq == id)
}
