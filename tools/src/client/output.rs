//! Where events go: plain lines on standard output, or sentences above the line that is being edited.
//!
//! Owns the lines on the terminal while the client runs. It never decides what is shown, nor changes how the terminal
//! works.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use oicq::cli::page::terminal_width;

use super::clock::time_of_day;
use super::events::Event;
use super::input::Printer;
use crate::failure::{Failure, print};

/// Moves to the line above and clears it: the bar's own place.
const OVER_THE_BAR: &str = "\x1b[1A\x1b[2K";
const BAR_PER_SECOND: u8 = 10;
const BAR: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";

/// Where events go.
pub(crate) struct Output {
    place: Place,
    bar: Option<ProgressBar>,
}

enum Place {
    /// Lines for scripts on standard output; a bar on standard error, where that is a terminal.
    Plain,
    Terminal(Terminal),
}

struct Terminal {
    printer: Printer,
    bar: Captured,
    /// Whether the last line that was printed is the bar, which the next line takes the place of.
    bar_is_last: bool,
}

impl Output {
    /// One plain line for each event.
    pub(crate) const fn plain() -> Self {
        Self { place: Place::Plain, bar: None }
    }

    /// The terminal.
    pub(crate) fn terminal(printer: Printer) -> Self {
        let bar = Captured::default();
        let terminal = Terminal { printer, bar, bar_is_last: false };
        Self { place: Place::Terminal(terminal), bar: None }
    }

    /// Whether people read along.
    pub(crate) const fn is_terminal(&self) -> bool {
        matches!(self.place, Place::Terminal(_))
    }

    /// Shows an event.
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), Failure> {
        match &mut self.place {
            Place::Plain => print(&format!("{}\n", event.line())),
            Place::Terminal(terminal) => match event.sentence(&time_of_day()) {
                Some(sentence) => terminal.print(&sentence),
                None => Ok(()),
            },
        }
    }

    /// Shows text to people: help, or what was wrong with a command. Scripts get help as comments.
    pub(crate) fn say(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.place {
            Place::Plain => {
                let lines =
                    text.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n");
                print(&lines.collect::<String>())
            }
            Place::Terminal(terminal) => terminal.print(text.trim_end()),
        }
    }

    /// A line was entered: what is above the cursor now is no bar.
    pub(crate) fn handle_line(&mut self) {
        if let Place::Terminal(terminal) = &mut self.place {
            terminal.bar_is_last = false;
        }
    }

    /// Shows how far the files are that flow: bytes done, bytes in all, and how many files.
    pub(crate) fn progress(&mut self, progress: Option<(u64, u64, usize)>) -> Result<(), Failure> {
        let Some((done, length, count)) = progress else {
            if let Some(bar) = self.bar.take() {
                bar.finish_and_clear();
            }
            return Ok(());
        };
        let bar = self.bar.get_or_insert_with(|| new_bar(&self.place));
        bar.set_length(length);
        bar.set_message(if count == 1 { "1 file".to_owned() } else { format!("{count} files") });
        bar.set_position(done);
        match &mut self.place {
            Place::Plain => Ok(()),
            Place::Terminal(terminal) => match terminal.bar.take() {
                Some(line) => terminal.print_bar(&line),
                None => Ok(()),
            },
        }
    }
}

impl Terminal {
    fn print(&mut self, text: &str) -> Result<(), Failure> {
        let over = if self.bar_is_last { OVER_THE_BAR } else { "" };
        self.bar_is_last = false;
        self.write(format!("{over}{text}\n"))
    }

    fn print_bar(&mut self, line: &str) -> Result<(), Failure> {
        let over = if self.bar_is_last { OVER_THE_BAR } else { "" };
        self.bar_is_last = true;
        self.write(format!("{over}{line}\n"))
    }

    fn write(&mut self, text: String) -> Result<(), Failure> {
        let printed = self.printer.print(text);
        printed.map_err(|error| Failure::Failed(format!("cannot write to the terminal: {error}")))
    }
}

impl Drop for Terminal {
    /// The thread that edits lines may still be in the middle of one, and never gets to end it.
    fn drop(&mut self) {
        // Where the terminal is gone, there is nothing to put right.
        let _ = writeln!(io::stdout());
    }
}

fn new_bar(place: &Place) -> ProgressBar {
    let bar = match place {
        Place::Plain => ProgressBar::new(0),
        Place::Terminal(terminal) => {
            let term = Box::new(terminal.bar.clone());
            let target = ProgressDrawTarget::term_like_with_hz(term, BAR_PER_SECOND);
            ProgressBar::with_draw_target(Some(0), target)
        }
    };
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

/// Takes what the bar would draw, since only the line editor may write while a line is being edited.
#[derive(Clone, Debug, Default)]
struct Captured(Arc<Mutex<String>>);

impl Captured {
    fn take(&self) -> Option<String> {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = std::mem::take(&mut *line);
        (!line.trim().is_empty()).then(|| line.trim_end().to_owned())
    }

    fn put(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
    }
}

impl TermLike for Captured {
    fn width(&self) -> u16 {
        u16::try_from(terminal_width()).unwrap_or(u16::MAX).saturating_sub(1)
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.put(line);
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.put(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_one_line_that_fits() {
        let captured = Captured::default();
        let target = ProgressDrawTarget::term_like(Box::new(captured.clone()));
        let bar = ProgressBar::with_draw_target(Some(100), target)
            .with_style(ProgressStyle::with_template(BAR).unwrap());
        bar.set_position(50);
        bar.tick();
        let line = captured.take().unwrap();
        assert!(line.contains("50 B/100 B") && !line.contains('\n'), "{line}");
    }
}
