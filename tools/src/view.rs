//! `oicq-tools view`: a log in the terminal, forwards and backwards, with the state beside the events.
//!
//! Owns the command and its loop, which waits for keys and shows what comes of them. `view/model.rs` knows what is
//! looked at, `view/history.rs` the log, `view/draw.rs` the screen, `view/screen.rs` the terminal.

mod columns;
mod draw;
mod history;
mod keys;
mod model;
mod names;
mod pane;
mod prompt;
mod rows;
mod screen;
mod search;
mod snapshots;
#[cfg(test)]
mod tests;
mod ties;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};
use oicq::cli::page::{Page, Row, terminal_width};

use crate::ending;
use crate::failure::Failure;
use crate::options::{VERSION, answer, positional, required};
use crate::source::Source;
use history::History;
use keys::{HELP, action};
use model::{Next, View};
use screen::{Input, Screen};
use snapshots::Room;

/// What the command takes, for the list of commands.
pub(crate) const ARGUMENTS: &str = "DIR";
/// What it does, for the list of commands.
pub(crate) const ABOUT: &str =
    "go through a log in the terminal, forwards and backwards, with the state beside the events";

/// Reads the command's options, and does it.
pub(crate) fn run(parser: &mut Parser) -> Result<(), Failure> {
    parse(parser)?.map_or(Ok(()), |folder| view(&folder))
}

fn parse(parser: &mut Parser) -> Result<Option<PathBuf>, Failure> {
    let mut folder: Option<OsString> = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                return answer(parser, &page().render(terminal_width())).map(|()| None);
            }
            Arg::Short('V') | Arg::Long("version") => {
                return answer(parser, VERSION).map(|()| None);
            }
            Arg::Value(value) => positional(&mut folder, value, "DIR")?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(required(folder, "DIR, the folder of a log")?.into()))
}

fn page() -> Page {
    let keys = HELP.iter().map(|(keys, about)| Row::new(*keys, *about)).collect();
    Page::new("oicq-tools view DIR [OPTIONS]")
        .about(
            "Shows the log in DIR in the terminal: its events, and beside them the state after the one under the \
             cursor, with what that event has changed. One can step and jump in both directions. A server may be \
             running on DIR; the log is shown as it was when it was read.",
        )
        .section(
            "Options",
            vec![
                Row::new("-h, --help", "this page"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .section("Keys", keys)
        .note(
            "Lines read as those of replay: a nickname is the one that the user had at that time. Times are UTC. \
             Colours are left out if NO_COLOR is set.",
        )
        .note(
            "So that any state is near, copies of it are kept: they take a quarter of the memory that is free, at \
             most. Of a log that was compacted, only what came later can be shown; of a damaged one, what stands \
             before the damage, and the status is 1.",
        )
}

fn view(folder: &Path) -> Result<(), Failure> {
    let mut screen = Screen::new()?;
    let source = Source::open(folder)?;
    let room = Room::of_this_machine();
    let history = History::open(&source, room)?;
    let mut view = View::new(folder.display().to_string(), history);
    screen.enter()?;
    let ended = run_loop(&mut screen, &mut view, &source, room);
    screen.leave();
    if let Some(signal) = ended? {
        // The terminal is in order: now it may end as the signal wants it.
        ending::end_by(signal);
    }
    match view.damage() {
        Some(words) => Err(Failure::Failed(words.to_owned())),
        None => Ok(()),
    }
}

/// Waits for keys and shows what comes of them; answers the signal that has ended it, if one has.
fn run_loop<'s>(
    screen: &mut Screen,
    view: &mut View<'s>,
    source: &'s Source,
    room: Room,
) -> Result<Option<i32>, Failure> {
    loop {
        screen.show(view)?;
        let mut input = Some(screen.wait()?);
        // What is typed faster than it can be shown is taken together.
        while let Some(now) = input {
            let next = match now {
                Input::Key(key) => action(key, view.is_typed())
                    .map_or(Next::Show, |action| view.act(action, screen)),
                Input::Resized => Next::Show,
                Input::Signal(signal) => return Ok(Some(signal)),
            };
            match next {
                Next::Show => {}
                Next::Quit => return Ok(None),
                Next::Redraw => screen.forget(),
                Next::Suspend => screen.suspend()?,
                Next::ReadAgain => read_again(screen, view, source, room)?,
            }
            input = screen.next_key()?;
        }
    }
}

/// Reads the log once more, with the usual progress in front of the terminal's own screen. What is shown stays if
/// that fails.
fn read_again<'s>(
    screen: &mut Screen,
    view: &mut View<'s>,
    source: &'s Source,
    room: Room,
) -> Result<(), Failure> {
    screen.leave();
    let history = History::open(source, room);
    screen.enter()?;
    match history {
        Ok(history) => view.renew(history, screen),
        Err(failure) => view.say(failure.words()),
    }
    Ok(())
}
