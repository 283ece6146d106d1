//! The whole state, written out user by user: for people, or as one JSON object in one line.

use std::collections::BTreeSet;
use std::io::{self, Write};

use oicq::id::{Seq, ServiceNumber};
use oicq::state::{User, Waiting};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::options::Format;
use crate::paint::{Paint, STRONG};
use crate::show::{
    Quoted, Time, authentication_name, message_kind_name, monitoring_json, profile_json,
    profile_words, who,
};
use crate::source::{Outcome, Source, Texts};

/// Writes the state that a log has come to: of `only` these users, of all where there are none.
pub(crate) fn write(
    source: &Source,
    outcome: &Outcome,
    only: &BTreeSet<ServiceNumber>,
    format: Format,
    paint: Paint,
    out: &mut impl Write,
) -> Result<io::Result<()>, Failure> {
    match format {
        Format::Text => write_text(source, outcome, only, paint, out),
        Format::Json => write_json(source, outcome, only, out),
    }
}

fn write_json(
    source: &Source,
    outcome: &Outcome,
    only: &BTreeSet<ServiceNumber>,
    out: &mut impl Write,
) -> Result<io::Result<()>, Failure> {
    let state = &outcome.state;
    let (seq, time) = (state.last_seq(), Time(state.last_time()));
    let mut texts = source.texts(outcome);
    let mut written = write!(out, "{{\"last_seq\":{seq},\"last_time\":\"{time}\",\"users\":[");
    for (index, (number, user)) in users(outcome, only).enumerate() {
        if written.is_err() {
            return Ok(written);
        }
        let object = user_json(&mut texts, outcome, number, user)?;
        let comma = if index == 0 { "" } else { "," };
        written = write!(out, "{comma}{object}");
    }
    let monitoring: Value = state.monitoring().iter().map(monitoring_json).collect();
    Ok(written.and_then(|()| writeln!(out, "],\"monitoring\":{monitoring}}}")))
}

fn users<'a>(
    outcome: &'a Outcome,
    only: &'a BTreeSet<ServiceNumber>,
) -> impl Iterator<Item = (ServiceNumber, &'a User)> {
    outcome.state.users().filter(|(number, _)| only.is_empty() || only.contains(number))
}

fn user_json(
    texts: &mut Texts<'_>,
    outcome: &Outcome,
    number: ServiceNumber,
    user: &User,
) -> Result<Value, Failure> {
    let text = |bytes| outcome.charset.decode(bytes);
    let groups: Vec<_> = user
        .groups()
        .iter()
        .map(|group| {
            let friends: Vec<_> = user.friends_in(group.number).map(|friend| friend.0).collect();
            json!({ "group": group.number.0, "name": text(&group.name), "friends": friends })
        })
        .collect();
    let mut mailbox = Vec::new();
    for (seq, waiting) in user.mailbox().iter() {
        mailbox.push(waiting_json(texts, seq, waiting)?);
    }
    Ok(json!({
        "number": number.0,
        "registered": Time(user.registered()).to_string(),
        "authentication": authentication_name(user.authentication()),
        "profile": profile_json(&user.profile(), outcome.charset),
        "groups": groups,
        "requests": user.requests().iter().map(|asker| asker.0).collect::<Vec<_>>(),
        "mailbox": mailbox,
    }))
}

/// A message that waits, as an object.
pub(crate) fn waiting_json(
    texts: &mut Texts<'_>,
    seq: Seq,
    waiting: &Waiting,
) -> Result<Value, Failure> {
    Ok(json!({
        "seq": seq.0,
        "time": Time(waiting.time).to_string(),
        "kind": message_kind_name(waiting.kind),
        "from": waiting.from.0,
        "text": texts.read(waiting)?,
    }))
}

fn write_text(
    source: &Source,
    outcome: &Outcome,
    only: &BTreeSet<ServiceNumber>,
    paint: Paint,
    out: &mut impl Write,
) -> Result<io::Result<()>, Failure> {
    let mut texts = source.texts(outcome);
    for (number, user) in users(outcome, only) {
        let mut lines = String::new();
        describe_user(&mut texts, outcome, (number, user), paint, &mut lines)?;
        if let Err(error) = out.write_all(lines.as_bytes()) {
            return Ok(Err(error));
        }
    }
    let record = |record: &oicq::state::MonitoringRecord| {
        let what = if record.started { "monitors" } else { "no longer monitors" };
        format!("{}  {} {what} {}\n", Time(record.time), record.operator, record.watched)
    };
    let monitoring: String = outcome.state.monitoring().iter().map(record).collect();
    Ok(out.write_all(monitoring.as_bytes()))
}

fn describe_user(
    texts: &mut Texts<'_>,
    outcome: &Outcome,
    (number, user): (ServiceNumber, &User),
    paint: Paint,
    lines: &mut String,
) -> Result<(), Failure> {
    use std::fmt::Write as _;
    let text = |bytes| outcome.charset.decode(bytes);
    // Writing into a string does not fail.
    let _ = writeln!(
        lines,
        "{}  registered {}, may be added: {}",
        paint.put(STRONG, who(&outcome.state, outcome.charset, number)),
        Time(user.registered()),
        authentication_name(user.authentication()),
    );
    let profile = profile_words(&user.profile(), outcome.charset);
    if !profile.is_empty() {
        let _ = writeln!(lines, "  {}", profile.join(", "));
    }
    for group in user.groups() {
        let friends: Vec<_> =
            user.friends_in(group.number).map(|friend| friend.to_string()).collect();
        let friends = if friends.is_empty() { "nobody".to_owned() } else { friends.join(" ") };
        let _ =
            writeln!(lines, "  group {} {}: {friends}", group.number, Quoted(&text(&group.name)));
    }
    for asker in user.requests() {
        let _ = writeln!(lines, "  {asker} waits for an answer");
    }
    for (seq, waiting) in user.mailbox().iter() {
        let content = texts.read(waiting)?;
        let (time, kind) = (Time(waiting.time), message_kind_name(waiting.kind));
        let from = waiting.from;
        let _ =
            writeln!(lines, "  waiting {seq}  {time}  {kind} from {from}: {}", Quoted(&content));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documented;
    use crate::source::{Nobody, Until};
    use std::path::Path;

    #[test]
    fn the_state_is_at_any_point_what_the_document_says() {
        let source = Source::open(Path::new("../data/golden/v1")).unwrap();
        let all = BTreeSet::new();
        let mut outcome = Outcome::default();
        for seq in (0..=550).step_by(25).map(Seq) {
            outcome = source.go_on(outcome, Until::seq(seq), &mut Nobody).unwrap();
            let mut out = Vec::new();
            write_json(&source, &outcome, &all, &mut out).unwrap().unwrap();
            let object: Value = serde_json::from_slice(&out).unwrap();
            documented::check(&object, &["state"]);
            assert_eq!(object["last_seq"], seq.0.min(547));
            let again = source.watch(Until::seq(seq), &mut Nobody).unwrap();
            assert_eq!(outcome.state.digest(), again.state.digest(), "goes on where it was");
            assert_eq!((outcome.events, outcome.bytes), (again.events, again.bytes));
        }
        assert_eq!(outcome.events, 547);
    }
}
