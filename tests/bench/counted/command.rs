//! What the benchmarks that count have in common as commands: how they end, and what they print.
//!
//! Status 0: all is well; 1: it is not, or it could not be found out; 2: wrongly called. Nothing is counted here.

use std::io::{self, ErrorKind, Write};
use std::process::{ExitCode, exit};

const WRONGLY_CALLED: u8 = 2;

/// Does what the arguments ask for, if that is anything, and ends well, or not well after what was printed. An error
/// is one line that says what to do.
pub fn run<T>(
    asked: Result<Option<T>, lexopt::Error>,
    measure: impl FnOnce(T) -> Result<bool, String>,
) -> ExitCode {
    let asked = match asked {
        Ok(Some(asked)) => asked,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}; `-- --help` shows what there is");
            return ExitCode::from(WRONGLY_CALLED);
        }
    };
    if cfg!(debug_assertions) {
        eprintln!(
            "what is not optimised is not worth counting: cargo bench, without another profile"
        );
        return ExitCode::FAILURE;
    }
    match measure(asked) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints lines. When nobody reads any more, there is nothing left to do.
pub fn say(lines: &str) {
    match writeln!(io::stdout(), "{}", lines.trim_end()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
        written => written.unwrap(),
    }
}
