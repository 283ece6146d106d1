//! The terminal: taken over for a while, and given back however that ends.
//!
//! Owns raw mode and the alternate screen. What signals do is settled in `ending`, what is drawn and what keys mean
//! in the files beside this one.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::MoveTo;
use ratatui::crossterm::event::{Event, KeyEvent, poll, read};
use ratatui::crossterm::queue;
use ratatui::crossterm::style::Print;
use ratatui::crossterm::terminal::{Clear, ClearType};
use rustix::process::{Signal, getpid, kill_process};

use super::columns::cut;
use super::draw::{draw, sizes};
use super::history::Patience;
use super::keys::{Action, action};
use super::model::View;
use crate::ending;
use crate::failure::Failure;
use crate::paint::Paint;

/// How long a signal may wait, at most.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Work of so many events is done before anybody could read how far it is.
const SHOWN_EVENTS_MIN: u64 = 300_000;

/// A terminal that was taken over. It is given back when this is dropped, and by a panic.
pub(super) struct Screen {
    /// `None` while it is given back.
    terminal: Option<DefaultTerminal>,
    paint: Paint,
    /// Something was written over what was drawn.
    is_overwritten: bool,
    /// How far work was when that was last shown, in percent.
    percent: Option<u64>,
    /// Keys that came while work was being done.
    waiting: Vec<KeyEvent>,
}

/// What ends the waiting for a key.
pub(super) enum Input {
    Key(KeyEvent),
    /// The screen has another size.
    Resized,
    /// A signal asks the program to end.
    Signal(i32),
}

impl Screen {
    /// Nothing happens yet: a terminal is what it takes.
    pub(super) fn new() -> Result<Self, Failure> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(Failure::Failed(
                "view needs a terminal to show on and to read keys from; replay writes to files and pipes"
                    .to_owned(),
            ));
        }
        Ok(Self {
            terminal: None,
            paint: Paint::on(&io::stdout()),
            is_overwritten: false,
            percent: None,
            waiting: Vec::new(),
        })
    }

    /// Takes the terminal over.
    pub(super) fn enter(&mut self) -> Result<(), Failure> {
        if self.terminal.is_none() {
            ending::take_over()?;
            let terminal = ratatui::try_init();
            self.terminal = Some(terminal.map_err(|error| {
                // Half of it may have been done.
                let _ = ratatui::try_restore();
                failed(&error)
            })?);
            // From the first look on, no change of the size is missed: it comes before the first drawing.
            is_ready(Duration::ZERO)?;
        }
        Ok(())
    }

    /// Gives the terminal back.
    pub(super) fn leave(&mut self) {
        if let Some(mut terminal) = self.terminal.take() {
            // Whoever cannot write to the terminal any more can change nothing about it either.
            let _ = terminal.show_cursor();
            let _ = ratatui::try_restore();
        }
        ending::give_back();
    }

    /// Lets the shell have the terminal until it calls this program back.
    pub(super) fn suspend(&mut self) -> Result<(), Failure> {
        self.leave();
        let stopped = kill_process(getpid(), Signal::TSTP);
        self.enter()?;
        stopped.map_err(|error| failed(&error.into()))
    }

    /// Everything is drawn anew next time.
    pub(super) const fn forget(&mut self) {
        self.is_overwritten = true;
    }

    /// Shows what there is to be seen.
    pub(super) fn show(&mut self, view: &mut View<'_>) -> Result<(), Failure> {
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        terminal.autoresize().map_err(|error| failed(&error))?;
        let area = terminal.get_frame().area();
        let screenful = view.show(sizes(area), self);
        self.percent = None;
        let (paint, is_overwritten) = (self.paint, std::mem::take(&mut self.is_overwritten));
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        if is_overwritten {
            // `clear` would ask the terminal where its cursor is, and fail where that does not answer.
            terminal.resize(area).map_err(|error| failed(&error))?;
        }
        let drawn = terminal.draw(|frame| draw(frame, &screenful, paint));
        drawn.map(|_| ()).map_err(|error| failed(&error))
    }

    /// Waits for a key or a change.
    pub(super) fn wait(&mut self) -> Result<Input, Failure> {
        if !self.waiting.is_empty() {
            return Ok(Input::Key(self.waiting.remove(0)));
        }
        loop {
            if let Some(signal) = ending::noted() {
                return Ok(Input::Signal(signal));
            }
            if let Some(input) = self.look(LOOK_EVERY)? {
                return Ok(input);
            }
        }
    }

    /// A key that is there already.
    pub(super) fn next_key(&mut self) -> Result<Option<Input>, Failure> {
        if !self.waiting.is_empty() {
            return Ok(Some(Input::Key(self.waiting.remove(0))));
        }
        self.look(Duration::ZERO)
    }

    fn look(&self, patience: Duration) -> Result<Option<Input>, Failure> {
        if !is_ready(patience)? {
            return Ok(None);
        }
        Ok(match read().map_err(|error| failed(&error))? {
            Event::Key(key) => Some(Input::Key(key)),
            Event::Resize(..) => Some(Input::Resized),
            _ => None,
        })
    }

    /// Writes into the last line what is being done, over whatever stands there.
    fn write_over(&mut self, words: &str) -> io::Result<()> {
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        let size = terminal.size()?;
        let words = cut(words, usize::from(size.width).saturating_sub(1)).0;
        let mut out = io::stdout();
        let row = size.height.saturating_sub(1);
        queue!(out, MoveTo(0, row), Clear(ClearType::CurrentLine), Print(words))?;
        self.is_overwritten = true;
        out.flush()
    }
}

impl Patience for Screen {
    fn goes_on(&mut self, what: &str, done: u64, all: u64) -> bool {
        let percent = done.saturating_mul(100) / all.max(1);
        if all >= SHOWN_EVENTS_MIN && self.percent != Some(percent) {
            self.percent = Some(percent);
            // The work goes on whether anybody sees it or not.
            let _ = self.write_over(&format!(" {what}: {percent} %, Esc breaks it off"));
        }
        if ending::noted().is_some() {
            return false;
        }
        while let Ok(Some(input)) = self.look(Duration::ZERO) {
            let Input::Key(key) = input else { continue };
            let action = action(key, false);
            if matches!(action, Some(Action::Escape | Action::Quit)) {
                // Who breaks off does not want what was typed before that either.
                self.waiting.clear();
                self.waiting.extend((action == Some(Action::Quit)).then_some(key));
                return false;
            }
            self.waiting.push(key);
        }
        true
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whether something has come within a time.
fn is_ready(patience: Duration) -> Result<bool, Failure> {
    match poll(patience) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        polled => polled.map_err(|error| failed(&error)),
    }
}

fn failed(error: &io::Error) -> Failure {
    Failure::Failed(format!("the terminal cannot be used: {error}"))
}
