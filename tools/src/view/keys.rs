//! Which key does what.
//!
//! Owns the table, for the list and for a line that is being typed. What an action does is settled in `model`.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    /// To ask for a sequence number or a time.
    Jump,
    /// To ask for a text.
    Search,
    /// To ask for a user.
    User,
    NextFound,
    PreviousFound,
    /// The next user of the event beside the list.
    NextUser,
    /// From a user to the whole state and back.
    SwitchPane,
    PaneUp,
    PaneDown,
    PanePageUp,
    PanePageDown,
    Digest,
    ReadAgain,
    Help,
    Escape,
    Redraw,
    Suspend,
    Quit,
    /// While something is being typed.
    Type(char),
    Rub,
    RubAll,
    Complete,
    Submit,
    /// Nothing, but that what was said need not be said any more.
    Other,
}

/// The keys as the help shows them.
pub(super) const HELP: &[(&str, &str)] = &[
    ("↑ ↓, k j", "one event back or on"),
    ("PgUp PgDn, b Space", "one page back or on"),
    ("Home End, g G", "first event, last event"),
    (":", "jump to a sequence number, or the first event from a date or time on"),
    ("/", "search in kinds and words of events"),
    ("n N", "next one found, previous one"),
    ("u", "only the events of a user; Tab offers those of this event"),
    ("Esc", "all events again; ends a search or the typing"),
    ("Tab", "whole state or one user"),
    ("Enter", "the next user of this event"),
    ("K J, Ctrl-U Ctrl-D", "scroll the state by a line, by half a page"),
    ("d", "the state's digest"),
    ("r", "read the log again"),
    ("Ctrl-L, Ctrl-Z", "draw again, suspend"),
    ("q", "quit"),
];

/// What a key asks for, while something `is_typed` or not.
pub(super) fn action(key: KeyEvent, is_typed: bool) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(if is_typed { Action::Escape } else { Action::Quit }),
            KeyCode::Char('z') => Some(Action::Suspend),
            KeyCode::Char('l') => Some(Action::Redraw),
            KeyCode::Char('u') => Some(if is_typed { Action::RubAll } else { Action::PanePageUp }),
            KeyCode::Char('d') if !is_typed => Some(Action::PanePageDown),
            KeyCode::Char('h') if is_typed => Some(Action::Rub),
            _ => Some(Action::Other),
        };
    }
    Some(if is_typed { typed(key.code) } else { plain(key) })
}

const fn typed(code: KeyCode) -> Action {
    match code {
        KeyCode::Char(character) => Action::Type(character),
        KeyCode::Backspace => Action::Rub,
        KeyCode::Tab => Action::Complete,
        KeyCode::Enter => Action::Submit,
        KeyCode::Esc => Action::Escape,
        _ => Action::Other,
    }
}

fn plain(key: KeyEvent) -> Action {
    let shift = key.modifiers.contains(KeyModifiers::SHIFT);
    match key.code {
        KeyCode::Up if shift => Action::PaneUp,
        KeyCode::Down if shift => Action::PaneDown,
        KeyCode::Up | KeyCode::Char('k') => Action::Up,
        KeyCode::Down | KeyCode::Char('j') => Action::Down,
        KeyCode::PageUp | KeyCode::Char('b') => Action::PageUp,
        KeyCode::PageDown | KeyCode::Char(' ') => Action::PageDown,
        KeyCode::Home | KeyCode::Char('g') => Action::First,
        KeyCode::End | KeyCode::Char('G') => Action::Last,
        KeyCode::Char(':') => Action::Jump,
        KeyCode::Char('/') => Action::Search,
        KeyCode::Char('u') => Action::User,
        KeyCode::Char('n') => Action::NextFound,
        KeyCode::Char('N') => Action::PreviousFound,
        KeyCode::Enter => Action::NextUser,
        KeyCode::Tab | KeyCode::BackTab => Action::SwitchPane,
        KeyCode::Char('K') => Action::PaneUp,
        KeyCode::Char('J') => Action::PaneDown,
        KeyCode::Char('d') => Action::Digest,
        KeyCode::Char('r') => Action::ReadAgain,
        KeyCode::Char('?') => Action::Help,
        KeyCode::Esc => Action::Escape,
        KeyCode::Char('q') => Action::Quit,
        _ => Action::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers, is_typed: bool) -> Option<Action> {
        action(KeyEvent::new(code, modifiers), is_typed)
    }

    #[test]
    fn letters_are_commands_until_something_is_typed() {
        for (character, command) in [
            ('j', Action::Down),
            ('K', Action::PaneUp),
            (':', Action::Jump),
            ('q', Action::Quit),
            ('?', Action::Help),
        ] {
            let code = KeyCode::Char(character);
            assert_eq!(pressed(code, KeyModifiers::NONE, false), Some(command));
            assert_eq!(pressed(code, KeyModifiers::SHIFT, true), Some(Action::Type(character)));
        }
        assert_eq!(pressed(KeyCode::Char('好'), KeyModifiers::NONE, false), Some(Action::Other));
        assert_eq!(pressed(KeyCode::Tab, KeyModifiers::NONE, true), Some(Action::Complete));
        assert_eq!(pressed(KeyCode::Up, KeyModifiers::SHIFT, false), Some(Action::PaneUp));
    }

    #[test]
    fn control_keys_are_no_letters() {
        let control = KeyModifiers::CONTROL;
        assert_eq!(pressed(KeyCode::Char('c'), control, false), Some(Action::Quit));
        assert_eq!(pressed(KeyCode::Char('c'), control, true), Some(Action::Escape));
        assert_eq!(pressed(KeyCode::Char('u'), control, true), Some(Action::RubAll));
        assert_eq!(pressed(KeyCode::Char('z'), control, true), Some(Action::Suspend));
        assert_eq!(pressed(KeyCode::Char('x'), control, true), Some(Action::Other));
        let released =
            KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(action(released, false), None);
    }
}
