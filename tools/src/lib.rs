//! The tools of oicqd as a library: what the program `oicq-tools` is, and what of it is tried with bytes that nobody
//! vouches for.
//!
//! Owns the table of commands and the page that lists them; finds the command, runs it, and turns its outcome into
//! words and an exit status. What a command does, and which options it has, stands in the command's own file.

mod backup;
mod bench;
mod bisect;
mod black_box;
mod client;
mod compact;
mod diff;
#[cfg(test)]
mod documented;
mod echo;
mod ending;
mod failure;
mod options;
mod pack;
mod packets;
mod paint;
mod private;
mod repair;
mod replay;
mod salvage;
mod show;
mod source;
mod stat;
mod state_view;
mod times;
pub mod untrusted;
mod verify;
mod view;
mod why;

use std::process::ExitCode;

use failure::Failure;
use oicq::cli::page::{Page, Row, terminal_width};

/// One command of `oicq-tools`.
struct Command {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    /// Reads the rest of the command line, and does it.
    run: fn(&mut lexopt::Parser) -> Result<(), Failure>,
}

/// All commands, in the order in which the help page lists them.
const COMMANDS: &[Command] = &[
    Command {
        name: "replay",
        arguments: replay::ARGUMENTS,
        about: replay::ABOUT,
        run: replay::run,
    },
    Command { name: "view", arguments: view::ARGUMENTS, about: view::ABOUT, run: view::run },
    Command { name: "diff", arguments: diff::ARGUMENTS, about: diff::ABOUT, run: diff::run },
    Command { name: "why", arguments: why::ARGUMENTS, about: why::ABOUT, run: why::run },
    Command {
        name: "bisect",
        arguments: bisect::ARGUMENTS,
        about: bisect::ABOUT,
        run: bisect::run,
    },
    Command { name: "pack", arguments: pack::ARGUMENTS, about: pack::ABOUT, run: pack::run },
    Command {
        name: "verify",
        arguments: verify::ARGUMENTS,
        about: verify::ABOUT,
        run: verify::run,
    },
    Command {
        name: "compact",
        arguments: compact::ARGUMENTS,
        about: compact::ABOUT,
        run: compact::run,
    },
    Command {
        name: "backup",
        arguments: backup::ARGUMENTS,
        about: backup::ABOUT,
        run: backup::run,
    },
    Command {
        name: "repair",
        arguments: repair::ARGUMENTS,
        about: repair::ABOUT,
        run: repair::run,
    },
    Command { name: "stat", arguments: stat::ARGUMENTS, about: stat::ABOUT, run: stat::run },
    Command {
        name: "client",
        arguments: client::ARGUMENTS,
        about: client::ABOUT,
        run: client::run,
    },
    Command { name: "bench", arguments: bench::ARGUMENTS, about: bench::ABOUT, run: bench::run },
];

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let ended = run();
    ending::wait_if_ending();
    ended.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}

fn run() -> Result<(), Failure> {
    let mut parser = lexopt::Parser::from_env();
    match parser.next()? {
        Some(lexopt::Arg::Short('h') | lexopt::Arg::Long("help")) => {
            options::answer(&mut parser, &page().render(terminal_width()))
        }
        Some(lexopt::Arg::Short('V') | lexopt::Arg::Long("version")) => {
            options::answer(&mut parser, options::VERSION)
        }
        Some(lexopt::Arg::Value(name)) => {
            let command = COMMANDS.iter().find(|command| name == command.name);
            let command = command.ok_or_else(|| {
                Failure::Usage(format!("{name:?} is no command, expected {}", names()))
            })?;
            (command.run)(&mut parser)
        }
        Some(other) => Err(other.unexpected().into()),
        None => Err(Failure::Usage(format!("a command is missing, expected {}", names()))),
    }
}

fn names() -> String {
    options::one_of(COMMANDS.iter().map(|command| command.name))
}

fn page() -> Page {
    let rows = COMMANDS
        .iter()
        .map(|command| Row::new(format!("{} {}", command.name, command.arguments), command.about));
    Page::new("oicq-tools COMMAND [OPTIONS]")
        .about("Tools for oicqd, the OICQ server, and for the logs that it keeps.")
        .section("Commands", rows.collect())
        .section(
            "Options",
            vec![
                Row::new("-h, --help", "this page; behind a command, the command's own"),
                Row::new("-V, --version", "the version"),
            ],
        )
        .note("Exit status: 0 done, 1 it failed, 2 it was called wrongly.")
}
