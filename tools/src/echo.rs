//! The terminal on standard input, which is not as it was while a line is edited, nor while a password is typed without
//! the line editor: then its echo is off.
//!
//! Owns how it was before, until that is put back: once a password has been read, and before the program ends, be it by
//! a signal. The line editor sees to each of its lines by itself, unless the program ends in the middle of one. It
//! neither reads nor prints.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr,
    tcgetpgrp, tcsetattr,
};

static TERMINAL: Mutex<Terminal> = Mutex::new(Terminal { before: None, is_over: false });

struct Terminal {
    /// How it was, while its echo is off, or from when the line editor may change it on.
    before: Option<Termios>,
    /// Whether the program is ending: nothing is changed any more that nobody would put back.
    is_over: bool,
}

/// Notes how it is. To be called before there is a line editor, which changes it for each line.
pub(crate) fn note() {
    locked().before = tcgetattr(io::stdin()).ok();
}

/// Nothing that is typed is shown but the end of the line, until this is dropped.
pub(crate) struct Unseen(());

impl Unseen {
    pub(crate) fn begin() -> io::Result<Self> {
        let mut terminal = locked();
        if terminal.is_over {
            return Err(io::Error::other("the program is ending"));
        }
        let before = tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        unseen.local_modes.insert(LocalModes::ECHONL);
        // A shell that takes over for a while would leave the echo on.
        unseen.special_codes[SpecialCodeIndex::VSUSP] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &unseen)?;
        terminal.before = Some(before);
        Ok(Self(()))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        put_back(&mut locked());
    }
}

/// Before the program ends, whatever is being read.
pub(crate) fn put_back_for_good() {
    let mut terminal = locked();
    terminal.is_over = true;
    // While a shell has it, it is for that one to say how it works, and to try would stop this program before its end.
    if tcgetpgrp(io::stdin()).is_ok_and(|group| group != getpgrp()) {
        return;
    }
    if terminal.before.is_some() {
        // What is typed of a password by now would be the next program's input, and seen.
        let _ = tcflush(io::stdin(), QueueSelector::IFlush);
    }
    put_back(&mut terminal);
}

fn put_back(terminal: &mut Terminal) {
    if let Some(before) = terminal.before.take() {
        // Where the terminal is gone, there is nothing to put right.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

fn locked() -> MutexGuard<'static, Terminal> {
    TERMINAL.lock().unwrap_or_else(PoisonError::into_inner)
}
