//! The echo of the terminal on standard input, which is off while a password is typed without the line editor.
//!
//! Owns how the terminal was before, until that is put back: once the line has been read, and before the program ends,
//! be it by a signal. It neither reads nor prints.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

static TERMINAL: Mutex<Terminal> = Mutex::new(Terminal { before: None, is_over: false });

struct Terminal {
    /// How it was, while its echo is off.
    before: Option<Termios>,
    /// Whether the program is ending: nothing is changed any more that nobody would put back.
    is_over: bool,
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
