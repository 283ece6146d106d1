//! `oicq-tools replay`: runs a log through the server's own state machine and shows what happens.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use indicatif::ProgressBar;
use lexopt::{Arg, Parser};
use oicq::cli::page::{Page, Row, terminal_width};
use oicq::id::{Seq, ServiceNumber, UnixMillis};
use oicq::state::EventKind;

use crate::failure::Failure;
use crate::options::{Format, VERSION, answer, not_expected, parsed, positional, required, text};
use crate::paint::Paint;
use crate::source::{Beside, Happening, Nobody, Onlooker, Outcome, Source, Until};
use crate::{black_box, state_view, times};

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str =
    "run a log through the server's own state machine, and show what happens";

/// What is shown: the events, or in their place what they have come to, the state before the digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Show {
    state: bool,
    digest: bool,
}

impl Show {
    const fn events(self) -> bool {
        !self.state && !self.digest
    }
}

#[derive(Debug)]
struct Options {
    folder: PathBuf,
    from: Seq,
    until: Until,
    users: BTreeSet<ServiceNumber>,
    kinds: BTreeSet<EventKind>,
    format: Format,
    show: Show,
}

/// What is replayed.
#[derive(Debug)]
enum Asked {
    Log(Options),
    BlackBox(black_box::Options),
}

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    match parse(parser)? {
        Some(Asked::Log(options)) => replay(&options),
        Some(Asked::BlackBox(options)) => black_box::run(&options),
        None => Ok(()),
    }
}

fn parse(parser: &mut Parser) -> Result<Option<Asked>, Failure> {
    let mut folder: Option<OsString> = None;
    let (mut from, mut until) = (Seq::ZERO, Until::END);
    let (mut users, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    let (mut format, mut show) = (Format::Text, Show::default());
    let (mut is_black_box, mut connection) = (false, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                return answer(parser, &page().render(terminal_width())).map(|()| None);
            }
            Arg::Short('V') | Arg::Long("version") => {
                return answer(parser, VERSION).map(|()| None);
            }
            Arg::Long("from") => from = Seq(parsed(parser, "--from", "a sequence number")?),
            Arg::Long("until") => until.seq = Seq(parsed(parser, "--until", "a sequence number")?),
            Arg::Long("at") => until.time = time(&text(parser, "--at", times::FORMS)?)?,
            Arg::Long("user") => {
                users.insert(ServiceNumber(parsed(parser, "--user", "a service number")?));
            }
            Arg::Long("kind") => {
                kinds.insert(kind(&text(parser, "--kind", "a kind of event")?)?);
            }
            Arg::Long("format") => format = Format::taken(parser)?,
            Arg::Long("black-box") => is_black_box = true,
            Arg::Long("connection") => {
                connection = Some(parsed(parser, "--connection", "a connection as it is shown")?);
            }
            Arg::Long("state") => show.state = true,
            Arg::Long("digest") => show.digest = true,
            Arg::Value(value) => positional(&mut folder, value, "DIR")?,
            other => return Err(other.unexpected().into()),
        }
    }
    let folder = required(folder, "DIR, the folder of a log")?.into();
    if is_black_box {
        let options = Options { folder, from, until, users, kinds, format, show };
        return of_black_box(options, connection).map(Asked::BlackBox).map(Some);
    }
    if connection.is_some() {
        let error = "the log knows no connections, expected it with --black-box alone";
        return Err(Failure::option("--connection", error));
    }
    if from > until.seq {
        let error = format!("{from} lies behind --until {}", until.seq);
        return Err(Failure::option("--from", error));
    }
    Ok(Some(Asked::Log(Options { folder, from, until, users, kinds, format, show })))
}

/// What of the options a recording is replayed with.
fn of_black_box(
    options: Options,
    connection: Option<black_box::Name>,
) -> Result<black_box::Options, Failure> {
    let Options { folder, from, until, users, kinds, format, show } = options;
    let is_of_log =
        from > Seq::ZERO || until.time != Until::END.time || !kinds.is_empty() || show.digest;
    if is_of_log {
        let error = "it goes with --until, --connection, --user, --state and --format, and with no other option";
        return Err(Failure::option("--black-box", error));
    }
    let mut users = users.into_iter();
    let pick = match (connection, users.next(), users.next()) {
        (None, None, _) => black_box::Pick::Nobody,
        (Some(name), None, _) => black_box::Pick::Connection(name),
        (None, Some(number), None) => black_box::Pick::User(number),
        _ => {
            let error = "one dialogue is shown, expected one --connection or one --user";
            return Err(Failure::option("--black-box", error));
        }
    };
    Ok(black_box::Options { folder, until: until.seq.0, pick, shows_state: show.state, format })
}

fn time(text: &str) -> Result<UnixMillis, Failure> {
    times::parse(text).ok_or_else(|| not_expected("--at", text, times::FORMS))
}

fn kind(name: &str) -> Result<EventKind, Failure> {
    EventKind::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
        let names = EventKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        Failure::option("--kind", format!("{name:?} is no kind of event, expected one of {names}"))
    })
}

fn page() -> Page {
    let names = EventKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    Page::new("oicq-tools replay [--black-box] DIR [OPTIONS]")
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
                Row::new("--at TIME", "stop after the last event at or before this time"),
                Row::new("--user NUMBER", "only what concerns this user; may be repeated"),
                Row::new("--kind NAME", "only events of this kind; may be repeated"),
                Row::new("--format FORMAT", "text, or json: one object a line").or("text"),
                Row::new(
                    "--state",
                    "at the end, the whole state instead of the events; with --user, of these users",
                ),
                Row::new(
                    "--digest",
                    "at the end, the state's digest and the last sequence number instead of the events; with --state, \
                     behind the state",
                ),
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .section(
            "The black box",
            vec![
                Row::new(
                    "--black-box",
                    "run what the server has recorded of its input in DIR/black-box through the engine again, and \
                     compare every output and every event: identical, or the first step that is not",
                ),
                Row::new("--until STEP", "stop after this step, and show connections, sessions and digest")
                    .or("the last"),
                Row::new(
                    "--state",
                    "behind that, the whole state: all users, friends and messages that there were at that step",
                ),
                Row::new(
                    "--connection N",
                    "show the dialogue of this connection: N is the step at which it was opened, or, where it was \
                     open before the recording, STEP.NUMBER as --until shows it",
                ),
                Row::new(
                    "--user NUMBER",
                    "show the dialogue of this user, from login to logout, on whichever connections",
                ),
            ],
        )
        .note(
            "A step is one input of the server. A dialogue has a line for each packet from the client (→) and \
             to it (←), for each event made in between (*), and for what else happens to the connection (·). \
             Where a step goes differently the status is 1. Passwords are not in a recording.",
        )
        .note(
            "An event is shown if it passes all filters: it lies in the stretch, concerns one of the users, and is \
             of one of the kinds. All others are still applied: state and digest are those of every event up to \
             --until or --at, whatever is filtered.",
        )
        .note(format!("Kinds of events: {names}."))
        .note(format!("TIME is {}. A date is its first moment.", times::FORMS))
        .note(
            "In JSON each event has seq (a number), time (RFC 3339, UTC, milliseconds), kind, and the \
             fields of its kind. tools/JSON.md lists them, and those of the state.",
        )
        .note(
            "At the end the state, and with --black-box all that the engine knows, must agree with itself; where it \
             does not, the status is 1.",
        )
        .note(
            "On a terminal there are colours, unless the environment variable NO_COLOR is set to anything.",
        )
}

fn replay(options: &Options) -> Result<(), Failure> {
    let source = Source::open(&options.folder)?;
    check_stretch(options, &source)?;
    let paint = Paint::on(&io::stdout());
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let Options { until, ref users, format, show, .. } = *options;
    let outcome = if show.events() {
        let mut events = Events { options, paint, out: &mut out, beside: Beside::default() };
        source.watch(until, &mut events)?
    } else {
        source.watch(until, &mut Nobody)?
    };
    let mut written = Ok(());
    if show.state {
        written = state_view::write(&source, &outcome, users, format, paint, &mut out)?;
    }
    if show.digest {
        written = written.and_then(|()| digest(&outcome, format, &mut out));
    }
    written.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    source.check_agreement(&outcome.state)
}

/// Writes the events that are asked for, as they happen.
struct Events<'a, W> {
    options: &'a Options,
    paint: Paint,
    out: &'a mut W,
    beside: Beside,
}

impl<W: Write> Onlooker for Events<'_, W> {
    fn stand_beside(&mut self, bar: &ProgressBar) {
        self.beside.bar(bar);
    }

    fn event(&mut self, happening: &Happening<'_>) -> Result<ControlFlow<()>, Failure> {
        if selects(self.options, happening) {
            self.beside.make_room();
            let written = match self.options.format {
                Format::Text => writeln!(self.out, "{}", happening.line(self.paint)),
                Format::Json => writeln!(self.out, "{}", happening.json()),
            };
            written.map_err(|error| Failure::output(&error))?;
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn digest(outcome: &Outcome, format: Format, out: &mut impl Write) -> io::Result<()> {
    let (digest, seq) = (outcome.state.digest(), outcome.state.last_seq());
    match format {
        Format::Text => writeln!(out, "digest {digest} seq {seq}"),
        Format::Json => {
            let digest = digest.to_string();
            writeln!(out, "{}", serde_json::json!({ "digest": digest, "seq": seq.0 }))
        }
    }
}

fn selects(options: &Options, happening: &Happening<'_>) -> bool {
    happening.seq >= options.from
        && (options.kinds.is_empty() || options.kinds.contains(&happening.event.kind()))
        && (options.users.is_empty() || options.users.iter().any(|user| happening.concerns(*user)))
}

/// A stretch that begins before the log's events do cannot be shown. Whoever runs the log says so of a state.
fn check_stretch(options: &Options, source: &Source) -> Result<(), Failure> {
    let base = source.base_seq()?;
    let asked = if options.from == Seq::ZERO { options.until.seq } else { options.from };
    if options.show.events() && base > Seq::ZERO && asked <= base {
        return Err(source.dropped(format_args!("sequence number {asked}"), base.next()));
    }
    Ok(())
}
