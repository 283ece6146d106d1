//! The line editor while a password is typed: which keys do something then.
//!
//! Owns that choice. The editor keeps what is cut out of a line, and gives it back in the next one, where it would be
//! seen: nothing is cut out of a password.
//!
//! What remains: a digit with Alt, or at once behind Esc, begins a count, which the editor takes and shows in place of
//! the prompt before anybody is asked. The digits that follow it are seen, and are no part of the password.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::{
    Cmd, ConditionalEventHandler, Event, EventContext, KeyCode, KeyEvent, Modifiers, RepeatCount,
};

/// Whether a password is being typed; shared with the line editor.
#[derive(Clone, Default)]
pub(super) struct Secrecy(Arc<AtomicBool>);

impl Secrecy {
    pub(super) fn set(&self, is_secret: bool) {
        self.0.store(is_secret, Ordering::SeqCst);
    }

    pub(super) fn is_secret(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl ConditionalEventHandler for Secrecy {
    fn handle(&self, event: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        let key = event.get(0).filter(|_| self.is_secret())?;
        match effect(*key) {
            Effect::AsEver => None,
            Effect::Nothing => Some(Cmd::Noop),
            // All that was done to the line, which began empty.
            Effect::BeginAnew => Some(Cmd::Undo(RepeatCount::MAX)),
        }
    }
}

/// What a key does to a password.
#[derive(PartialEq, Eq, Debug)]
enum Effect {
    AsEver,
    Nothing,
    BeginAnew,
}

fn effect(KeyEvent(code, modifiers): KeyEvent) -> Effect {
    let is_plain = modifiers == Modifiers::NONE;
    match code {
        KeyCode::Char('U') if modifiers == Modifiers::CTRL => Effect::BeginAnew,
        // Moving, taking one character away, and ending the line or the program.
        KeyCode::Char('A'..='F' | 'H' | 'J' | 'M' | 'Z' | '\\') if modifiers == Modifiers::CTRL => {
            Effect::AsEver
        }
        KeyCode::Char(_) if is_plain => Effect::AsEver,
        KeyCode::Enter
        | KeyCode::Backspace
        | KeyCode::Delete
        | KeyCode::Left
        | KeyCode::Right
        | KeyCode::Home
        | KeyCode::End
            if is_plain =>
        {
            Effect::AsEver
        }
        _ => Effect::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_out_of_a_password_or_fetched_into_it() {
        for cutting in ['K', 'W', 'Y', 'X', 'R', 'P', '_', 'T'] {
            assert_eq!(effect(KeyEvent::ctrl(cutting)), Effect::Nothing, "Ctrl-{cutting}");
        }
        for cutting in ['d', 'D', 'y', 't', 'u'] {
            assert_eq!(effect(KeyEvent::alt(cutting)), Effect::Nothing, "Alt-{cutting}");
        }
        assert_eq!(effect(KeyEvent(KeyCode::Backspace, Modifiers::ALT)), Effect::Nothing);
        assert_eq!(effect(KeyEvent(KeyCode::Up, Modifiers::NONE)), Effect::Nothing);
    }

    #[test]
    fn a_password_is_typed_corrected_and_begun_anew() {
        for typed in ['a', 'U', '密', ' '] {
            assert_eq!(effect(KeyEvent(KeyCode::Char(typed), Modifiers::NONE)), Effect::AsEver);
        }
        for code in [KeyCode::Backspace, KeyCode::Enter, KeyCode::Left, KeyCode::Delete] {
            assert_eq!(effect(KeyEvent(code, Modifiers::NONE)), Effect::AsEver);
        }
        assert_eq!(effect(KeyEvent::ctrl('C')), Effect::AsEver);
        assert_eq!(effect(KeyEvent::ctrl('U')), Effect::BeginAnew);
    }
}
