//! Colours for people: on a terminal, and nowhere else.
//!
//! Owns which colour stands for what. All are of the terminal's own palette and none is black, white, yellow
//! or blue, so that they can be read on dark and on light. Nothing is told by a colour alone.

use std::env;
use std::fmt::{self, Display};
use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use oicq::state::EventKind;

/// What matters less than its surroundings.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What one looks for first.
pub(crate) const STRONG: Style = Style::new().bold();

/// Whether colours are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Without colours.
    pub(crate) const NONE: Self = Self(false);

    /// Colours, if this goes to a terminal that has some and `NO_COLOR` is not set.
    pub(crate) fn on(stream: &impl IsTerminal) -> Self {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self(stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb)
    }

    /// Whether there are colours.
    pub(crate) const fn is_on(self) -> bool {
        self.0
    }

    /// A text in a style; a width that it is written with is that of the text.
    pub(crate) const fn put<T: Display>(self, style: Style, text: T) -> Painted<T> {
        Painted { style: if self.0 { style } else { Style::new() }, text }
    }
}

/// The style of a kind of event.
pub(crate) const fn of_kind(kind: EventKind) -> Style {
    let color = match kind {
        EventKind::Registered | EventKind::ProfileChanged => AnsiColor::Green,
        EventKind::GroupAdded
        | EventKind::GroupRenamed
        | EventKind::GroupDeleted
        | EventKind::FriendsMoved
        | EventKind::FriendRequested
        | EventKind::RequestRejected
        | EventKind::FriendRefused
        | EventKind::FriendAdded
        | EventKind::FriendDeleted => AnsiColor::Magenta,
        EventKind::MessageSent | EventKind::MessageBroadcast => AnsiColor::Cyan,
        EventKind::MonitoringStarted | EventKind::MonitoringEnded | EventKind::Lost => {
            AnsiColor::Red
        }
        // What nobody has done.
        _ => return FAINT,
    };
    color.on_default()
}

/// A text and its style.
pub(crate) struct Painted<T> {
    style: Style,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.style)?;
        self.text.fmt(f)?;
        write!(f, "{:#}", self.style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_wrap_the_text_and_leave_nothing_where_there_are_none() {
        assert_eq!(Paint(true).put(STRONG, "x").to_string(), "\u{1b}[1mx\u{1b}[0m");
        assert_eq!(Paint::NONE.put(STRONG, "x").to_string(), "x");
        assert_eq!(format!("{:>3}|", Paint(true).put(FAINT, "x")), "\u{1b}[2m  x\u{1b}[0m|");
        assert_eq!(
            Paint(true).put(of_kind(EventKind::Lost), 7).to_string(),
            "\u{1b}[31m7\u{1b}[0m"
        );
    }
}
