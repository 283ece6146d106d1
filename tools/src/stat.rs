//! `oicq-tools stat`: how large a log is, and what is in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use indicatif::BinaryBytes;
use lexopt::Parser;
use oicq::cli::page::{Page, Row};
use oicq::compaction::kept_size;
use oicq::id::Seq;
use oicq::state::{EventKind, State};
use serde_json::{Map, json};

use crate::failure::{Failure, print};
use crate::options::{Format, folder_and_format};
use crate::show::Time;
use crate::source::{Outcome, Source};

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str =
    "sizes, counts by kind, users, messages waiting, what compacting would save";

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    folder_and_format(parser, page)?.map_or(Ok(()), |(folder, format)| stat(&folder, format))
}

fn page() -> Page {
    Page::new("oicq-tools stat DIR [OPTIONS]")
        .about("Reads the log in DIR and counts what is in it. A server may be running on DIR.")
        .section(
            "Options",
            vec![
                Row::new("--format FORMAT", "text, or json: one object").or("text"),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .note(
            "In JSON the object has users, events, bytes (of the log up to its end), file_bytes, \
             compacting_saves (about), files, first_seq, last_seq, last_time, waiting_messages, waiting_bytes, \
             waiting_requests, friendships, charset, and kinds with a count for each kind of event.",
        )
}

fn stat(folder: &Path, format: Format) -> Result<(), Failure> {
    let source = Source::open(folder)?;
    let mut kinds: BTreeMap<EventKind, u64> = BTreeMap::new();
    let outcome = source.run(|happening| {
        *kinds.entry(happening.event.kind()).or_default() += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    let counts = Counts::of(&outcome.state);
    let sizes = Sizes::of(&source, &outcome);
    print(&match format {
        Format::Text => text(&outcome, &counts, &kinds, &sizes),
        Format::Json => format!("{}\n", json(&outcome, &counts, &kinds, &sizes)),
    })
}

/// Bytes of files.
struct Sizes {
    files: u64,
    /// What compacting would make fewer, as things are now.
    saves: u64,
}

impl Sizes {
    fn of(source: &Source, outcome: &Outcome) -> Self {
        let kept = kept_size(&outcome.state, outcome.state.digest());
        let saves = outcome.closed_bytes.saturating_sub(kept);
        Self { files: source.file_bytes(), saves }
    }
}

/// What there is in a state.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) friendships: u64,
    pub(crate) requests: u64,
    pub(crate) messages: u64,
    pub(crate) message_bytes: u64,
}

impl Counts {
    /// Counts it.
    pub(crate) fn of(state: &State) -> Self {
        let mut counts = Self::default();
        for (_, user) in state.users() {
            counts.friendships += user.friends().len() as u64;
            counts.requests += user.requests().len() as u64;
            counts.messages += user.mailbox().len() as u64;
            counts.message_bytes += user.mailbox().text_bytes();
        }
        counts
    }
}

fn text(
    outcome: &Outcome,
    counts: &Counts,
    kinds: &BTreeMap<EventKind, u64>,
    sizes: &Sizes,
) -> String {
    let state = &outcome.state;
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        // Writing into a string does not fail.
        let _ = writeln!(out, "{name:<22}{value}");
    };
    row("users", state.user_count().to_string());
    row("friendships", counts.friendships.to_string());
    row("requests waiting", counts.requests.to_string());
    let message_bytes = BinaryBytes(counts.message_bytes);
    row("messages waiting", format!("{}, {message_bytes} of text", counts.messages));
    row("log", format!("{} in {} of files", BinaryBytes(outcome.bytes), BinaryBytes(sizes.files)));
    row("compacting saves", format!("about {}", BinaryBytes(sizes.saves)));
    row("files", outcome.files.to_string());
    row("charset", outcome.charset.to_string());
    let (first, last) = (outcome.first_seq, state.last_seq());
    row(
        "sequence numbers",
        match outcome.base_seq {
            Seq::ZERO => format!("{first} to {last}"),
            base if base == last => format!("none, after the state as of {base}"),
            base => format!("{first} to {last}, after the state as of {base}"),
        },
    );
    if outcome.events > 0 {
        row("last event", Time(state.last_time()).to_string());
    }
    if let Some(torn) = &outcome.torn {
        row("torn end", format!("{} bytes after sequence number {}", torn.bytes, torn.after));
    }
    row("events", outcome.events.to_string());
    for (kind, count) in kinds {
        row(&format!("  {kind}"), count.to_string());
    }
    out
}

fn json(
    outcome: &Outcome,
    counts: &Counts,
    kinds: &BTreeMap<EventKind, u64>,
    sizes: &Sizes,
) -> serde_json::Value {
    let state = &outcome.state;
    let kinds: Map<_, _> =
        kinds.iter().map(|(kind, count)| (kind.name().to_owned(), json!(count))).collect();
    json!({
        "users": state.user_count(),
        "friendships": counts.friendships,
        "waiting_requests": counts.requests,
        "waiting_messages": counts.messages,
        "waiting_bytes": counts.message_bytes,
        "bytes": outcome.bytes,
        "file_bytes": sizes.files,
        "compacting_saves": sizes.saves,
        "files": outcome.files,
        "charset": outcome.charset.name(),
        "first_seq": outcome.first_seq.0,
        "last_seq": state.last_seq().0,
        "last_time": Time(state.last_time()).to_string(),
        "events": outcome.events,
        "kinds": kinds,
    })
}
