//! The help that the client gives while it runs: on all commands, on one, and on the lines of its output.

use oicq::cli::page::{Page, Row};

use super::commands::COMMANDS;
use super::events::EVENTS;
use super::fields;

/// Help on a command, on `events`, or on everything.
pub(crate) fn topic(topic: &str, width: usize) -> String {
    match topic {
        "" => all().render(width),
        "events" => events_page().render(width),
        name => match COMMANDS.iter().find(|command| command.name == name) {
            Some(command) => {
                let page = Page::new(format!("{} {}", command.name, command.arguments));
                let page = page.about(command.about);
                more(name).map_or(page.clone(), |more| page.note(more)).render(width)
            }
            None => format!("there is no command {name:?}\n"),
        },
    }
}

/// All commands.
pub(crate) fn rows() -> Vec<Row> {
    COMMANDS
        .iter()
        .map(|command| Row::new(format!("{} {}", command.name, command.arguments), command.about))
        .collect()
}

fn all() -> Page {
    Page::new("COMMAND [ARGUMENTS]").section("Commands", rows()).note(
        "A word may stand between quotes (\"), with \\n for a line break. A text goes to the end of the line.",
    )
}

/// All kinds of lines that scripts read.
fn events_page() -> Page {
    let rows = EVENTS.iter().map(|event| {
        let text = if event.keys.is_empty() {
            event.about.to_owned()
        } else {
            format!("{} ({})", event.about, event.keys)
        };
        Row::new(event.word, text)
    });
    Page::new("wait EVENT [KEY=VALUE ...] [TIME]")
        .about("What an output line can be: the word, then KEY=VALUE for each key in parentheses.")
        .section("Events", rows.collect())
        .note(VALUES)
}

/// How values are written.
pub(crate) const VALUES: &str = "A value that is empty, or holds a blank, a quote (\"), a backslash or a \
control character, stands between quotes, with \\\" \\\\ \\n \\r \\t and \\u{HEX} in it. A line is always one \
event. Commands take the same quotes.";

fn more(name: &str) -> Option<String> {
    Some(match name {
        "register" | "change" => format!("Fields: {}", fields::names()),
        "send" | "broadcast" => {
            "Where the server gives results, a line sent (for people: a tick) says that it has accepted \
                   the message, which is then kept until it has arrived, and under which id."
                .to_owned()
        }
        "wait" => {
            "Events that have already come count, the oldest first, unless a wait has taken them. \
                   In a script, status 1 if the time passes. help events lists the events."
                .to_owned()
        }
        "file" => {
            "Received files go to the folder of --downloads, or to PATH; none is overwritten: a \
                   number is put behind the name."
                .to_owned()
        }
        "search" => {
            "Columns: number nickname portrait gender age country province city education school \
                     occupation hobbies description online. Up to 50 users come back."
                .to_owned()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        for command in COMMANDS {
            assert!(topic(command.name, 80).starts_with(&format!("Usage: {}", command.name)));
        }
        assert!(topic("", 80).contains("broadcast"));
        assert!(topic("events", 80).contains("file-received"));
        assert!(topic("rain", 80).contains("no command"));
    }
}
