//! How a replay of a recording ended, in words and in JSON: identical, or the first step that differs; and the
//! sessions where it was stopped.
//!
//! Owns what goes where: the result to standard output, what else is to be known to standard error.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use oicq::black_box::{Ended, Unasked, What};
use oicq::engine::{ConnectionView, Engine, Output, WaitsFor};
use oicq::wire::Kind;
use oicq::wire::server::Presence;
use serde_json::{Map, Value, json};

use super::Options;
use super::dialogue::{Different, Seen, name_json};
use super::said::{self, Line};
use crate::failure::{Failure, tell};
use crate::options::Format;
use crate::packets::{Meaning, extension_names, presence_name};
use crate::salvage::count;
use crate::show::{Time, who};
use crate::source::contradicts;

/// Writes how it ended. Inside, what that makes of the command: a difference is a failure.
pub(super) fn write(
    options: &Options,
    seen: &Seen,
    ended: &Ended,
    out: &mut impl Write,
) -> Result<Result<(), Failure>, Failure> {
    let notes = notes(ended);
    if options.format == Format::Text {
        notes.iter().for_each(tell);
    }
    let written = match options.format {
        Format::Text => write_text(options, seen, ended, out),
        Format::Json => write_json(options, seen, ended, out),
    };
    written.map_err(|error| Failure::output(&error))?;
    Ok(judge(options, seen, ended))
}

/// What the command has come to.
fn judge(options: &Options, seen: &Seen, ended: &Ended) -> Result<(), Failure> {
    let folder = options.folder.display();
    let failed = |words: String| Err(Failure::Failed(format!("{folder}: {words}")));
    if let Some(difference) = &ended.difference {
        return failed(format!("step {} goes differently", difference.step));
    }
    let (Some((first, _)), Some((last, _))) = (seen.first, seen.last) else {
        return match ended.skipped.first() {
            _ if ended.is_stopped => {
                let until = options.until;
                failed(format!("there is no step {until} that can be replayed, they begin later"))
            }
            Some((_, why)) => failed(format!("nothing of the recording can be replayed: {why}")),
            None => failed("nothing has been recorded".to_owned()),
        };
    };
    if options.until < u64::MAX && last < options.until {
        let until = options.until;
        return failed(format!("there is no step {until}, there are {first} to {last}"));
    }
    ended.engine.as_ref().map_or(Ok(()), |engine| check_agreement(&options.folder, engine))
}

/// The engine behind the last step must agree with itself, and so must its state.
fn check_agreement(folder: &Path, engine: &Engine) -> Result<(), Failure> {
    if let Some(contradiction) = engine.state().find_contradiction() {
        return Err(contradicts(folder, "state", &contradiction));
    }
    match engine.find_contradiction() {
        None => Ok(()),
        Some(contradiction) => Err(contradicts(folder, "session", &contradiction)),
    }
}

/// What is to be known beside the result.
fn notes(ended: &Ended) -> Vec<String> {
    let mut notes = Vec::new();
    for (path, why) in &ended.skipped {
        let (file, why) = (path.display().to_string(), why.to_string());
        // What cannot be read says where by itself.
        let place = if why.starts_with(&file) { String::new() } else { format!("{file}: ") };
        notes.push(format!("{place}{why}, and is passed over"));
    }
    for (first, last) in &ended.missing {
        notes.push(format!("steps {first} to {last} were not recorded"));
    }
    for file in &ended.torn {
        notes.push(format!("{}: its end was not written whole", file.display()));
    }
    if ended.events_beyond_log > 0 {
        let events = count(ended.events_beyond_log, "event", "events");
        notes.push(format!("{events} made here did not reach the log any more"));
    }
    notes
}

fn write_text(
    options: &Options,
    seen: &Seen,
    ended: &Ended,
    out: &mut impl Write,
) -> io::Result<()> {
    if let Some(difference) = &ended.difference {
        return out
            .write_all(difference_text(difference.step, &difference.what, seen, ended).as_bytes());
    }
    let (Some(first), Some(last)) = (seen.first, seen.last) else { return Ok(()) };
    let steps = count(ended.steps, "step", "steps");
    let span = |(step, time): (u64, _)| format!("{step} ({})", Time(time));
    writeln!(out, "identical, {steps}: {} to {}", span(first), span(last))?;
    if let Some(engine) = ended.engine.as_ref().filter(|_| options.until < u64::MAX) {
        for connection in engine.connections() {
            writeln!(out, "{}", connection_text(&connection, seen, engine))?;
        }
        let (digest, seq) = (engine.state().digest(), engine.state().last_seq());
        writeln!(out, "digest {digest} seq {seq}")?;
    }
    Ok(())
}

fn connection_text(connection: &ConnectionView, seen: &Seen, engine: &Engine) -> String {
    let ConnectionView { id, address, kind, session, extensions, waits_for, .. } = connection;
    let name = seen.names.get(*id).map_or_else(String::new, |name| name.to_string());
    let mut words = format!("connection {name}, from {address}");
    if let Some(kind) = kind {
        let _ = write!(words, ", {}", kind_name(*kind));
    }
    match session {
        Some((number, presence)) => {
            let who = who(engine.state(), engine.settings().charset, *number);
            let _ = write!(words, ", {who} {}", presence_words(*presence));
        }
        None => words.push_str(", no session"),
    }
    let names = extension_names(extensions.sum());
    if !names.is_empty() {
        let _ = write!(words, ", extensions {}", names.join(" "));
    }
    let _ = write!(words, ", {}", waits_words(*waits_for));
    if connection.unacknowledged > 0 {
        let messages = count(connection.unacknowledged as u64, "message", "messages");
        let _ = write!(words, ", {messages} not acknowledged");
    }
    words
}

const fn presence_words(presence: Presence) -> &'static str {
    match presence {
        Presence::Offline => "hidden",
        shown => presence_name(shown),
    }
}

const fn waits_name(waits_for: WaitsFor) -> &'static str {
    match waits_for {
        WaitsFor::Nothing => "ready",
        WaitsFor::Password(_) => "password",
        WaitsFor::Search => "search",
        WaitsFor::FriendList => "friends",
        WaitsFor::Mail => "mail",
        WaitsFor::End => "closed",
    }
}

const fn waits_words(waits_for: WaitsFor) -> &'static str {
    match waits_for {
        WaitsFor::Nothing => "ready",
        WaitsFor::Password(_) => "waits for a password to be looked at",
        WaitsFor::Search => "waits for a search",
        WaitsFor::FriendList => "waits for the list of its friends",
        WaitsFor::Mail => "is being sent its mail",
        WaitsFor::End => "closed by the server",
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Server => "server",
        Kind::Fax => "fax",
        Kind::Web => "web",
        Kind::Print => "print",
        Kind::Chat => "chat",
        Kind::User => "user",
    }
}

/// The difference in a few lines.
fn difference_text(step: u64, what: &What, seen: &Seen, ended: &Ended) -> String {
    let mut text = format!("different at step {step}");
    if let Some(Different { at, .. }) = &seen.different {
        let _ = write!(text, " ({})", Time(at.time));
        if let Some(name) = at.connection {
            let _ = write!(text, ", connection {name}");
        }
    }
    let _ = writeln!(text, ": {}", summary(what));
    let mut row = |name: &str, words: &str| {
        let _ = writeln!(text, "  {name:<9} {words}");
    };
    if let Some(Different { input, .. }) = &seen.different {
        row("input", &input.plain());
    }
    match what {
        What::Output { recorded, actual } => {
            row("recorded", &outputs_words(recorded));
            row("now", &outputs_words(actual));
        }
        What::Event { logged, actual } => {
            let engine = ended.engine.as_ref();
            let words =
                |logged| engine.map_or_else(String::new, |it| said::event(logged, meaning(it)).0);
            row("log", &words(logged));
            row("now", &words(actual));
        }
        What::Seq { recorded, actual } => {
            row("recorded", &format!("sequence number {recorded}"));
            row("now", &format!("sequence number {actual}"));
        }
        What::Question(_) | What::Input | What::Kept(_) => {}
    }
    let lines = seen.different.iter().flat_map(|different| &different.actual);
    lines.for_each(|line| row("", &line.brief()));
    text
}

fn meaning(engine: &Engine) -> Meaning<'_> {
    Meaning { state: engine.state(), charset: engine.settings().charset }
}

fn summary(what: &What) -> String {
    match what {
        What::Output { .. } => "something else is sent".to_owned(),
        What::Event { logged, .. } => format!("event {} is another one", logged.seq),
        What::Question(Unasked::NotNow(_)) => {
            "the engine does not ask what it was answered then".to_owned()
        }
        What::Question(Unasked::NotThen) => "the engine asks what it did not ask then".to_owned(),
        What::Input => "the input does not fit what the engine has come to".to_owned(),
        What::Kept(path) => {
            format!("the sessions are others than {} begins with", path.display())
        }
        What::Seq { .. } => "the state is at another sequence number".to_owned(),
    }
}

const fn what_name(what: &What) -> &'static str {
    match what {
        What::Output { .. } => "output",
        What::Event { .. } => "event",
        What::Question(_) => "question",
        What::Input => "input",
        What::Kept(_) => "sessions",
        What::Seq { .. } => "seq",
    }
}

fn outputs_words(outputs: &[Output]) -> String {
    if outputs.is_empty() {
        return "nothing".to_owned();
    }
    let words = outputs.iter().map(|Output { checksum, bytes, packets }| {
        let packets = count(u64::from(*packets), "packet", "packets");
        format!("{packets}, {bytes} B, checksum {checksum:08x}")
    });
    words.collect::<Vec<_>>().join("; ")
}

fn write_json(
    options: &Options,
    seen: &Seen,
    ended: &Ended,
    out: &mut impl Write,
) -> io::Result<()> {
    if let Some(engine) = ended.engine.as_ref().filter(|_| options.until < u64::MAX)
        && ended.difference.is_none()
    {
        for connection in engine.connections() {
            writeln!(out, "{}", connection_json(&connection, seen))?;
        }
        let (digest, seq) = (engine.state().digest(), engine.state().last_seq());
        let digest = digest.to_string();
        writeln!(out, "{}", json!({ "what": "state", "seq": seq.0, "digest": digest }))?;
    }
    writeln!(out, "{}", result_json(seen, ended))
}

fn connection_json(connection: &ConnectionView, seen: &Seen) -> Value {
    let ConnectionView { id, address, kind, session, extensions, waits_for, unacknowledged } =
        connection;
    json!({
        "what": "connection",
        "connection": name_json(seen.names.get(*id)),
        "address": address.to_string(),
        "client": kind.map(kind_name),
        "user": session.map(|(number, _)| number.0),
        "state": session.map(|(_, presence)| presence_words(presence)),
        "extensions": extension_names(extensions.sum()),
        "stage": waits_name(*waits_for),
        "unacknowledged": unacknowledged,
    })
}

fn result_json(seen: &Seen, ended: &Ended) -> Value {
    let time = |at: Option<(u64, _)>| at.map(|(_, time)| Time(time).to_string());
    let step = |at: Option<(u64, _)>| at.map(|(step, _)| step);
    let skipped = ended
        .skipped
        .iter()
        .map(|(path, why)| json!({ "file": path.display().to_string(), "why": why.to_string() }));
    let missing = ended.missing.iter().map(|(from, to)| json!({ "from": from, "to": to }));
    let torn = ended.torn.iter().map(|path| Value::from(path.display().to_string()));
    let result = match (&ended.difference, seen.first) {
        (Some(_), _) => "different",
        (None, Some(_)) => "identical",
        (None, None) => "nothing",
    };
    json!({
        "what": "result",
        "result": result,
        "steps": ended.steps,
        "first_step": step(seen.first),
        "first_time": time(seen.first),
        "last_step": step(seen.last),
        "last_time": time(seen.last),
        "skipped": skipped.collect::<Vec<_>>(),
        "missing": missing.collect::<Vec<_>>(),
        "torn": torn.collect::<Vec<_>>(),
        "events_beyond_log": ended.events_beyond_log,
        "difference": difference_json(seen, ended),
    })
}

fn difference_json(seen: &Seen, ended: &Ended) -> Value {
    let (Some(difference), Some(engine)) = (&ended.difference, &ended.engine) else {
        return Value::Null;
    };
    let meaning = meaning(engine);
    let outputs = |outputs: &[Output]| -> Value {
        let output = |Output { checksum, bytes, packets }: &Output| {
            let checksum = format!("{checksum:08x}");
            json!({ "checksum": checksum, "bytes": bytes, "packets": packets })
        };
        outputs.iter().map(output).collect()
    };
    let (recorded, now) = match &difference.what {
        What::Output { recorded, actual } => (outputs(recorded), outputs(actual)),
        What::Event { logged, actual } => {
            (said::event(logged, meaning).1, said::event(actual, meaning).1)
        }
        What::Seq { recorded, actual } => (recorded.0.into(), actual.0.into()),
        What::Question(_) | What::Input | What::Kept(_) => (Value::Null, Value::Null),
    };
    let mut object = Map::new();
    object.insert("step".into(), difference.step.into());
    object.insert("of".into(), what_name(&difference.what).into());
    object.insert("words".into(), summary(&difference.what).into());
    object.insert("recorded".into(), recorded);
    object.insert("now".into(), now);
    let different = seen.different.as_ref();
    object.insert("input".into(), different.map(|it| it.input.json()).into());
    let actual = different.map(|it| it.actual.iter().map(Line::json).collect::<Vec<_>>());
    object.insert("actual".into(), actual.unwrap_or_default().into());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use oicq::black_box::{Difference, Skipped};
    use oicq::engine::Settings;
    use oicq::id::{Seq, UnixMillis};
    use oicq::state::State;

    use super::*;
    use crate::documented::check;

    fn ended(difference: Option<What>) -> Ended {
        Ended {
            first_step: Some(1),
            steps: 7,
            skipped: vec![(PathBuf::from("a.box"), Skipped::OtherLog)],
            missing: vec![(8, 9)],
            torn: vec![PathBuf::from("b.box")],
            events_beyond_log: 1,
            difference: difference.map(|what| Difference { step: 7, what }),
            is_stopped: false,
            engine: Some(Engine::new(Settings::default(), State::default())),
        }
    }

    fn differences() -> Vec<What> {
        let output = Output { checksum: 0xAB, bytes: 45, packets: 1 };
        vec![
            What::Output { recorded: vec![output], actual: Vec::new() },
            What::Question(Unasked::NotThen),
            What::Input,
            What::Kept(PathBuf::from("c.box")),
            What::Seq { recorded: Seq(3), actual: Seq(4) },
        ]
    }

    #[test]
    fn results_have_the_documented_fields() {
        let time = UnixMillis(1_000);
        let seen = Seen { first: Some((1, time)), last: Some((7, time)), ..Seen::default() };
        check(&result_json(&seen, &ended(None)), &["result"]);
        let mut names = BTreeSet::new();
        for what in differences() {
            names.insert(what_name(&what));
            check(&result_json(&seen, &ended(Some(what))), &["result"]);
        }
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn a_difference_is_told_by_step_and_by_what_it_is() {
        let seen = Seen::default();
        let all = differences();
        let text = difference_text(7, &all[0], &seen, &ended(None));
        let expected = "different at step 7: something else is sent\n  recorded  1 packet, 45 B, checksum 000000ab\n  \
                        now       nothing\n";
        assert_eq!(text, expected);
        let text = difference_text(7, &all[4], &seen, &ended(None));
        assert!(text.contains("recorded  sequence number 3\n  now       sequence number 4\n"));
    }

    #[test]
    fn what_is_to_be_known_beside_is_said() {
        let expected = [
            "a.box: it belongs to another log, and is passed over",
            "steps 8 to 9 were not recorded",
            "b.box: its end was not written whole",
            "1 event made here did not reach the log any more",
        ];
        assert_eq!(notes(&ended(None)), expected);
    }
}
