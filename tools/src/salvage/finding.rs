//! What is wrong with a log, in words and in JSON.
//!
//! Owns the lines that `verify` and `repair` share. It never decides what a finding is.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};

use oicq::id::{Seq, ServiceNumber};
use oicq::state::EventError;
use serde_json::{Value, json};

use super::walk::Why;
use super::{Harm, Run, Salvaged, Stretch, Survey};

/// Users that a line of text names one by one.
const USERS_NAMED: usize = 20;

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// Bytes are not as they were written: a harm of the survey, by its index.
    Harm(usize),
    /// Registrations are among what is lost.
    Registrations(Run),
    /// Users are among what is lost of a base.
    KeptUsers { seq: Seq, first: ServiceNumber, last: ServiceNumber },
    /// A record of a base is as it was written, and makes no sense.
    Misfit { seq: Seq, why: Why, users: BTreeSet<ServiceNumber> },
    /// An event is as it was written, and makes no sense.
    Senseless { seq: Seq, why: Why, users: BTreeSet<ServiceNumber> },
    /// A digest of the state is as it was written, nothing before it is lost, and the state is another one.
    OtherState { seq: Seq, agreed: Seq, error: EventError },
}

/// A number with the word for what is counted.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn list(users: &BTreeSet<ServiceNumber>) -> String {
    let word = if users.len() == 1 { "user" } else { "users" };
    let named: Vec<_> = users.iter().take(USERS_NAMED).map(ToString::to_string).collect();
    let more = users.len().saturating_sub(USERS_NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{word} {}{more}", named.join(", "))
}

fn span(first: impl Display + PartialEq, last: impl Display + PartialEq, word: &str) -> String {
    let (first, last) = (first.to_string(), last.to_string());
    if first == last { format!("{word} {first}") } else { format!("{word}s {first} to {last}") }
}

/// What a piece of damage takes with it.
fn touches(harm: &Harm) -> String {
    match harm.base_lost {
        Some((first, Some(last))) => {
            let are = if first == last { "is" } else { "are" };
            return format!("{} of the base {are} lost", span(first, last, "record"));
        }
        Some((first, None)) => return format!("all records of the base from {first} on are lost"),
        None => {}
    }
    match (harm.lost, harm.end_unknown) {
        (None, false) => "no event is lost".to_owned(),
        (None, true) => format!("all from event {} on is lost, if there was any", harm.damage.seq),
        (Some(Stretch { first, last }), end_unknown) => {
            let (span, one) = (span(first, last, "event"), first == last);
            match (end_unknown, one) {
                (true, _) => format!("{span}, and what came after, are lost"),
                (false, true) => format!("{span} is lost"),
                (false, false) => format!("{span} are lost"),
            }
        }
    }
}

/// Whom it touches, as far as that is known.
fn whom(harm: &Harm, users: &BTreeSet<ServiceNumber>) -> String {
    if harm.lost.is_none() && harm.base_lost.is_none() && !harm.end_unknown {
        return String::new();
    }
    let perhaps: BTreeSet<_> = harm.users_perhaps.difference(users).copied().collect();
    let mut words = String::new();
    if !users.is_empty() {
        words.push_str(&format!("; it touches {}", list(users)));
    }
    if !perhaps.is_empty() {
        words.push_str(&format!("; perhaps {}, by remains that fail their check", list(&perhaps)));
    }
    if words.is_empty() {
        words.push_str("; which users it touches is not known");
    }
    words
}

/// One line for each finding.
pub(crate) fn write_text(
    survey: &Survey,
    salvaged: &Salvaged,
    out: &mut impl Write,
) -> io::Result<()> {
    for finding in &salvaged.findings {
        match finding {
            Finding::Harm(index) => {
                let (harm, users) = (&survey.harms[*index], &salvaged.users[*index]);
                writeln!(out, "{}; {}{}", harm.damage, touches(harm), whom(harm, users))?;
            }
            Finding::Registrations(run) => {
                write_users(run.users().map(|(_, user)| user), salvaged, out)?;
            }
            Finding::KeptUsers { first, last, .. } => {
                write_users((first.0..=last.0).map(ServiceNumber), salvaged, out)?;
            }
            Finding::Senseless { seq, why, users } | Finding::Misfit { seq, why, users } => {
                let whom = match users.is_empty() {
                    true => String::new(),
                    false => format!("; it names {}", list(users)),
                };
                writeln!(out, "sequence number {seq}: {why}{whom}")?;
            }
            Finding::OtherState { seq, error, .. } => {
                writeln!(out, "sequence number {seq}: {error}")?;
            }
        }
    }
    if let Some(torn) = &survey.torn {
        let (file, bytes) = (torn.file.display(), torn.bytes);
        let (offset, after) = (torn.offset, torn.after);
        writeln!(
            out,
            "{file}: torn end of {bytes} bytes at offset {offset}, after sequence number {after}"
        )?;
    }
    Ok(())
}

/// One line for users in a row who fared alike.
fn write_users(
    users: impl Iterator<Item = ServiceNumber>,
    salvaged: &Salvaged,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut parts: Vec<(ServiceNumber, ServiceNumber, bool)> = Vec::new();
    for user in users {
        let can_log_in = salvaged.can_log_in(user);
        match parts.last_mut() {
            Some(part) if part.2 == can_log_in => part.1 = user,
            _ => parts.push((user, user, can_log_in)),
        }
    }
    for (first, last, can_log_in) in parts {
        let (span, one) = (span(first, last, "user"), first == last);
        let whose = if one { "registration is" } else { "registrations are" };
        let as_it = if one { "it" } else { "them" };
        let end = if can_log_in {
            "a later change has set profile and password anew".to_owned()
        } else {
            format!("what the profile said is lost, and nobody can log in as {as_it}")
        };
        writeln!(out, "{span}: the {whose} lost; {end}")?;
    }
    Ok(())
}

fn user_json(seq: Seq, user: ServiceNumber, salvaged: &Salvaged) -> Value {
    json!({
        "result": "registration-lost",
        "seq": seq.0,
        "user": user.0,
        "can_log_in": salvaged.can_log_in(user),
    })
}

/// One object for each finding, and one for each user whose registration is lost.
pub(crate) fn write_json(
    survey: &Survey,
    salvaged: &Salvaged,
    out: &mut impl Write,
) -> io::Result<()> {
    for finding in &salvaged.findings {
        match finding {
            Finding::Harm(index) => {
                let (harm, users) = (&survey.harms[*index], &salvaged.users[*index]);
                writeln!(out, "{}", harm_json(harm, users))?;
            }
            Finding::Registrations(run) => {
                for (seq, user) in run.users() {
                    writeln!(out, "{}", user_json(seq, user, salvaged))?;
                }
            }
            Finding::KeptUsers { seq, first, last } => {
                for user in (first.0..=last.0).map(ServiceNumber) {
                    writeln!(out, "{}", user_json(*seq, user, salvaged))?;
                }
            }
            Finding::Senseless { seq, why, users } | Finding::Misfit { seq, why, users } => {
                let object = json!({
                    "result": "nonsense",
                    "seq": seq.0,
                    "what": why.to_string(),
                    "users": numbers(users),
                });
                writeln!(out, "{object}")?;
            }
            Finding::OtherState { seq, agreed, error } => {
                let object = json!({
                    "result": "other-state",
                    "seq": seq.0,
                    "agreed": agreed.0,
                    "what": error.to_string(),
                });
                writeln!(out, "{object}")?;
            }
        }
    }
    Ok(())
}

fn numbers(users: &BTreeSet<ServiceNumber>) -> Vec<u32> {
    users.iter().map(|user| user.0).collect()
}

fn harm_json(harm: &Harm, users: &BTreeSet<ServiceNumber>) -> Value {
    let perhaps: BTreeSet<_> = harm.users_perhaps.difference(users).copied().collect();
    let first = harm.lost.map(|lost| lost.first).or(harm.end_unknown.then_some(harm.damage.seq));
    json!({
        "result": "damage",
        "file": harm.damage.file.display().to_string(),
        "offset": harm.damage.offset,
        "seq": harm.damage.seq.0,
        "what": harm.damage.what.to_string(),
        "lost_first": first.map(|first| first.0),
        "lost_last": harm.lost.map(|lost| lost.last.0),
        "base_lost_first": harm.base_lost.map(|(first, _)| first),
        "base_lost_last": harm.base_lost.and_then(|(_, last)| last),
        "end_unknown": harm.end_unknown,
        "users": numbers(users),
        "users_perhaps": numbers(&perhaps),
    })
}

/// The torn end, as a value of the last object.
pub(crate) fn torn_json(survey: &Survey) -> Value {
    survey.torn.as_ref().map_or(Value::Null, |torn| {
        json!({
            "file": torn.file.display().to_string(),
            "offset": torn.offset,
            "bytes": torn.bytes,
            "after": torn.after.0,
        })
    })
}
