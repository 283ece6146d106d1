//! `oicqd`, the server's program: arguments, open, run, exit status. All else is in the library.

use std::io::{self, Write};
use std::process::ExitCode;

use log::{Level, LevelFilter, Log, Metadata, Record};
use oicq::cli::core_dumps;
use oicq::cli::options::{Command, Serve, parse};
use oicq::cli::page::terminal_width;
use oicq::cli::progress::{Meter, Outlet};
use oicq::net::{Server, ServerError};

/// Done.
const STATUS_DONE: u8 = 0;
/// It failed; one line on standard error says what, where and what to do.
const STATUS_FAILED: u8 = 1;

fn main() -> ExitCode {
    let status = match parse(std::env::args_os().skip(1), terminal_width()) {
        Ok(Command::Help(page)) => print(&page),
        Ok(Command::Version) => print(concat!("oicqd ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Serve(serve)) => match run(&serve) {
            Ok(()) => STATUS_DONE,
            Err(error) => {
                complain(&error);
                STATUS_FAILED
            }
        },
        Err(error) => {
            complain(&error);
            error.status()
        }
    };
    ExitCode::from(status)
}

fn run(serve: &Serve) -> Result<(), ServerError> {
    start_logging(serve.verbose);
    leave_no_core();
    let mut meter = Meter::new(Outlet::of_standard_error());
    let opened = Server::open(&serve.options, &mut |reading| show(meter.handle(reading)));
    show(meter.clear());
    let server = opened?;
    for address in server.addresses()? {
        // Whoever closed the pipe does not want to know.
        print(&format!("listening on {address}\n"));
    }
    server.run()
}

/// A server that may leave one serves all the same.
fn leave_no_core() {
    if let Err(error) = core_dumps::turn_off() {
        log::warn!("cannot turn off core dumps: {error}");
    }
}

/// Prints a result. Output into a closed pipe ends quietly.
fn print(text: &str) -> u8 {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format_args!("cannot write to standard output: {error}"));
            STATUS_FAILED
        }
        _ => STATUS_DONE,
    }
}

fn complain(error: &dyn std::fmt::Display) {
    // There is nowhere else to say that this failed.
    let _ = writeln!(io::stderr().lock(), "oicqd: {error}");
}

/// Puts what a meter shows on standard error, as it is.
fn show(text: Option<String>) {
    if let Some(text) = text {
        // Nothing depends on its being seen.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Says what the library logs on standard error, one line each.
struct StandardError;

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("oicq")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            complain(&format_args!("{}: {}", name(record.level()), record.args()));
        }
    }

    fn flush(&self) {}
}

const fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

fn start_logging(verbose: u8) {
    log::set_max_level(match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    });
    // It fails only where there is a logger already, and nobody else sets one.
    let _ = log::set_logger(&StandardError);
}
