//! `oicq-tools replay`: runs a log through the server's own state machine and shows what happens.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt as _};
use oicq::cli::page::{Page, Row, terminal_width};
use oicq::id::{Seq, ServiceNumber};
use oicq::state::EventKind;

use crate::failure::Failure;
use crate::options::{Format, VERSION, answer, parsed, positional, required};
use crate::source::{Happening, Source};
use crate::state_view;

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str =
    "run a log through the server's own state machine, and show what happens";

/// What is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Show {
    Events,
    State,
    Digest,
}

#[derive(Debug)]
struct Options {
    folder: PathBuf,
    from: Seq,
    until: Seq,
    users: BTreeSet<ServiceNumber>,
    kinds: BTreeSet<EventKind>,
    format: Format,
    show: Show,
}

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    parse(parser)?.map_or(Ok(()), |options| replay(&options))
}

fn parse(parser: &mut Parser) -> Result<Option<Options>, Failure> {
    let mut folder: Option<OsString> = None;
    let (mut from, mut until) = (Seq::ZERO, Seq(u64::MAX));
    let (mut users, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    let (mut format, mut show) = (Format::Text, Show::Events);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                return answer(parser, &page().render(terminal_width())).map(|()| None);
            }
            Arg::Short('V') | Arg::Long("version") => {
                return answer(parser, VERSION).map(|()| None);
            }
            Arg::Long("from") => from = Seq(parsed(parser, "--from", "a sequence number")?),
            Arg::Long("until") => until = Seq(parsed(parser, "--until", "a sequence number")?),
            Arg::Long("user") => {
                users.insert(ServiceNumber(parsed(parser, "--user", "a service number")?));
            }
            Arg::Long("kind") => {
                kinds.insert(kind(&parser.value()?.string()?)?);
            }
            Arg::Long("format") => format = Format::parse(&parser.value()?.string()?)?,
            Arg::Long("state") => show = Show::State,
            Arg::Long("digest") => show = Show::Digest,
            Arg::Value(value) => positional(&mut folder, value, "DIR")?,
            other => return Err(other.unexpected().into()),
        }
    }
    let folder = required(folder, "DIR, the folder of a log")?.into();
    if from > until {
        return Err(Failure::option("--from", format!("{from} lies behind --until {until}")));
    }
    let filters =
        from > Seq::ZERO || !kinds.is_empty() || (show == Show::Digest && !users.is_empty());
    if show != Show::Events && filters {
        let reason = "it is of everything up to --until, expected no --from and no --kind";
        let name = if show == Show::State { "--state" } else { "--digest" };
        return Err(Failure::option(name, reason));
    }
    Ok(Some(Options { folder, from, until, users, kinds, format, show }))
}

fn kind(name: &str) -> Result<EventKind, Failure> {
    EventKind::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
        let names = EventKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        Failure::option("--kind", format!("{name:?} is no kind of event, expected one of {names}"))
    })
}

fn page() -> Page {
    let names = EventKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    Page::new("oicq-tools replay DIR [OPTIONS]")
        .about(
            "Reads the log in DIR, applies every event as the server would, and shows the events one a \
             line: sequence number, time, kind, and what happened to whom. Passwords are never shown. Of a \
             log that was compacted, the events that compacting has dropped cannot be shown. A server may \
             be running on DIR.",
        )
        .section(
            "Options",
            vec![
                Row::new("--from SEQ", "show from this sequence number on").or("the first"),
                Row::new("--until SEQ", "stop after this sequence number").or("the last"),
                Row::new("--user NUMBER", "only what concerns this user; may be repeated"),
                Row::new("--kind NAME", "only events of this kind; may be repeated"),
                Row::new("--format FORMAT", "text, or json: one object a line").or("text"),
                Row::new(
                    "--state",
                    "at the end, the whole state instead of the events; with --user, of these users",
                ),
                Row::new("--digest", "at the end, the state's digest and the last sequence number"),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .note(format!("Kinds of events: {names}."))
        .note(
            "In JSON each event has seq (a number), time (RFC 3339, UTC, milliseconds), kind, and the \
             fields of its kind.",
        )
}

fn replay(options: &Options) -> Result<(), Failure> {
    let source = Source::open(&options.folder)?;
    check_stretch(options, source.base_seq()?)?;
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let outcome = source.run_until(options.until, |happening| {
        if options.show == Show::Events && selects(options, happening) {
            let written = match options.format {
                Format::Text => writeln!(out, "{}", happening.line()),
                Format::Json => writeln!(out, "{}", happening.json()),
            };
            written.map_err(|error| Failure::output(&error))?;
        }
        let stop = happening.seq >= options.until;
        Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    let written = match options.show {
        Show::Events => Ok(()),
        Show::State => {
            state_view::write(&source, &outcome, &options.users, options.format, &mut out)?
        }
        Show::Digest => {
            let (digest, seq) = (outcome.state.digest(), outcome.state.last_seq());
            match options.format {
                Format::Text => writeln!(out, "digest {digest} seq {seq}"),
                Format::Json => {
                    let digest = digest.to_string();
                    writeln!(out, "{}", serde_json::json!({ "digest": digest, "seq": seq.0 }))
                }
            }
        }
    };
    written.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

fn selects(options: &Options, happening: &Happening<'_>) -> bool {
    happening.seq >= options.from
        && (options.kinds.is_empty() || options.kinds.contains(&happening.event.kind()))
        && (options.users.is_empty() || options.users.iter().any(|user| happening.concerns(*user)))
}

/// A stretch that begins before the log's events do cannot be shown, nor the state of a point before them.
fn check_stretch(options: &Options, base: Seq) -> Result<(), Failure> {
    let first = match options.show {
        Show::Events => base.next(),
        Show::State | Show::Digest => base,
    };
    let asked = if options.from == Seq::ZERO { options.until } else { options.from };
    if base > Seq::ZERO && asked < first {
        let folder = options.folder.display();
        return Err(Failure::Failed(format!(
            "{folder}: compacting has dropped sequence number {asked}, the first that can be shown is {first}"
        )));
    }
    Ok(())
}
