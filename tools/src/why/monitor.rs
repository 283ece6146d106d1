//! `why DIR monitor NUMBER`: each start and each end of monitoring of a user or by it.
//!
//! The record of monitoring outlives compacting: what lies before the first event still has its times.

use std::ops::ControlFlow;

use oicq::codec::charset::Charset;
use oicq::id::{Seq, ServiceNumber};
use oicq::state::{Event, MonitoringRecord, State};
use serde_json::{Value, json};

use super::{Answer, Arguments, watch};
use crate::failure::Failure;
use crate::show::{Time, monitoring_json, who};
use crate::source::{Happening, Onlooker, Source};

pub(super) fn ask(
    source: &Source,
    arguments: Arguments,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let number = arguments.user(0)?;
    let mut monitoring = Monitoring { number, noted: Vec::new(), events: String::new(), answer };
    let seen = watch(source, &mut monitoring)?;
    let Monitoring { noted, events, .. } = monitoring;
    let (state, charset) = (&seen.outcome.state, seen.outcome.charset);
    source.check_user(number, state)?;
    let (watchers, watched): (Vec<_>, Vec<_>) =
        (state.watchers(number).collect(), state.watched_by(number).collect());
    let numbers = |all: &[ServiceNumber]| all.iter().map(|one| one.0).collect::<Value>();
    let object = json!({
        "what": "monitored",
        "user": number.0,
        "watchers": numbers(&watchers),
        "watched": numbers(&watched),
    });
    let names = |all: &[ServiceNumber]| {
        let names: Vec<_> = all.iter().map(|one| who(state, charset, *one)).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    };
    let name = who(state, charset, number);
    let (by, of) = (names(&watchers), names(&watched));
    answer.say(format_args!("{name} is monitored by {by} now, and monitors {of}"), object);
    for record in &noted {
        say_noted(record, state, charset, answer);
    }
    answer.add(&events);
    // Of what compacting has dropped, monitoring is known all the same.
    answer.gaps(Seq::ZERO, seen.lost);
    Ok(())
}

/// A start or an end of which compacting has kept the time alone.
fn say_noted(record: &MonitoringRecord, state: &State, charset: Charset, answer: &mut Answer) {
    let mut object = json!({ "what": "noted" });
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, monitoring_json(record)) {
        object.extend(fields);
    }
    let (kind, does) = match record.started {
        true => ("monitoring-started", "monitors"),
        false => ("monitoring-ended", "no longer monitors"),
    };
    let (operator, watched) =
        (who(state, charset, record.operator), who(state, charset, record.watched));
    let time = Time(record.time);
    let words = format_args!("{:>8}  {time}  {kind:<18}  {operator} {does} {watched}", "-");
    answer.say(words, object);
}

/// Keeps what concerns one user.
struct Monitoring<'a> {
    number: ServiceNumber,
    /// From before the first event.
    noted: Vec<MonitoringRecord>,
    events: String,
    answer: &'a Answer,
}

impl Onlooker for Monitoring<'_> {
    fn begin(&mut self, state: &State) -> Result<(), Failure> {
        let concerns =
            |record: &&MonitoringRecord| [record.operator, record.watched].contains(&self.number);
        self.noted = state.monitoring().iter().filter(concerns).copied().collect();
        Ok(())
    }

    fn event(&mut self, happening: &Happening<'_>) -> Result<ControlFlow<()>, Failure> {
        let is_monitoring = matches!(
            happening.event,
            Event::MonitoringStarted { .. } | Event::MonitoringEnded { .. }
        );
        if is_monitoring && happening.concerns(self.number) {
            self.events.push_str(&self.answer.event(happening));
        }
        Ok(ControlFlow::Continue(()))
    }
}
