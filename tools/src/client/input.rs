//! What reaches the main thread, and the thread that reads lines: one for each time that it is asked.
//!
//! Owns the line editor. Lines are read only when they are wanted, so that a script is not read ahead of
//! what has been done, and a password is never taken for a command.
//!
//! A line is wiped when it has been acted on. What is not wiped is what others hold of it meanwhile: the buffer of
//! standard input, and that in which the line editor reads keys, until other input takes its place; and what the editor
//! keeps to undo a change, which it gives back to the system as it is.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead as _, StdinLock, Write as _};
use std::net::TcpStream;
use std::ops::Deref;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::thread;

use oicq::id::ServiceNumber;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, Config, Context, Editor, Event, EventHandler, ExternalPrinter, Helper};
use zeroize::Zeroizing;

use super::commands::COMMANDS;
use super::secrecy::Secrecy;
use crate::echo::Unseen;

/// Room for a line. Only where that is too little, a line moves and leaves a part of itself in memory.
pub(super) const LINE_BYTES: usize = 4 << 10;

/// How long the escape key may be the beginning of another one. Without an end to that it makes the next digit a count,
/// which is shown, be that in the middle of a password.
const ESCAPE_MS: u16 = 50;

/// What the main thread acts on.
#[derive(Debug)]
pub(crate) enum Input {
    /// A line was entered.
    Line(Line),
    /// The line that was being entered was given up.
    Interrupted,
    /// There are no more lines.
    Ended,
    /// Lines cannot be read.
    Unreadable(String),
    /// Something happened on a connection, which has this count: what is left of one before it may
    /// still arrive.
    Connection(u32, FromConnection),
    /// Another connection stands, or cannot be had.
    Reached(Result<TcpStream, String>),
}

/// A line as it was entered, which may be a password or hold one: it does not print itself, and is wiped in the end.
pub(crate) struct Line(Zeroizing<String>);

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line(..)")
    }
}

/// What happens on a connection.
#[derive(Debug)]
pub(crate) enum FromConnection {
    /// Packets that came together.
    Packets(Vec<Packet>),
    /// It ended.
    Lost(String),
    /// A piece of a file goes out.
    PieceSent { to: ServiceNumber, transfer: u64, bytes: u32 },
    /// A file went out whole, or cannot be sent on.
    FileDone { to: ServiceNumber, transfer: u64, outcome: Result<(), String> },
}

/// A packet from the server, as it came.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) packet_type: u8,
    pub(crate) content: Vec<u8>,
}

/// What the reading thread is asked for.
#[derive(Debug)]
pub(crate) enum Ask {
    /// A command; on a terminal, behind this prompt.
    Line(String),
    /// A password; where it is typed, behind this prompt, unseen and unremembered.
    Password(String),
}

/// Something that prints above the line that is being edited.
pub(crate) type Printer = Box<dyn ExternalPrinter + Send>;

/// Reads from standard input as it is; where that is typed, passwords are not seen.
pub(crate) fn start_plain(inputs: SyncSender<Input>, is_typed: bool) -> Sender<Ask> {
    let (asks, wanted) = channel();
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        answer(&wanted, &inputs, |ask| match ask {
            Ask::Password(prompt) if is_typed => read_unseen(&mut stdin, prompt),
            _ => read_plain(&mut stdin),
        });
    });
    asks
}

fn read_unseen(stdin: &mut StdinLock<'_>, prompt: &str) -> Input {
    let unseen = match Unseen::begin() {
        Ok(unseen) => unseen,
        Err(error) => return Input::Unreadable(format!("a password would be seen: {error}")),
    };
    // Standard output is a script's. Where nobody sees the prompt, the password is awaited all the same.
    let _ = io::stderr().write_all(prompt.as_bytes());
    let input = read_plain(stdin);
    drop(unseen);
    input
}

fn read_plain(stdin: &mut StdinLock<'_>) -> Input {
    let mut line = Zeroizing::new(String::with_capacity(LINE_BYTES));
    match stdin.read_line(&mut line) {
        Ok(0) => Input::Ended,
        Ok(_) => {
            let end = line.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
            let length = end.unwrap_or(&line).len();
            line.truncate(length);
            Input::Line(Line(line))
        }
        Err(error) => Input::Unreadable(error.to_string()),
    }
}

/// Reads from the terminal, with editing, history and completion.
pub(crate) fn start_terminal(
    inputs: SyncSender<Input>,
) -> Result<(Sender<Ask>, Printer), ReadlineError> {
    let config = Config::builder()
        // The main thread may end while a line is being edited: what it cannot undo stays off.
        .bracketed_paste(false)
        .color_mode(ColorMode::Forced)
        .keyseq_timeout(Some(ESCAPE_MS))
        .build();
    let mut editor = Editor::<Help, MemHistory>::with_history(config, MemHistory::new())?;
    let secrecy = Secrecy::default();
    editor.set_helper(Some(Help { secrecy: secrecy.clone() }));
    editor.bind_sequence(Event::Any, EventHandler::Conditional(Box::new(secrecy.clone())));
    let printer = Box::new(editor.create_external_printer()?);
    let (asks, wanted) = channel();
    thread::spawn(move || answer(&wanted, &inputs, |ask| read_line(&mut editor, &secrecy, ask)));
    Ok((asks, printer))
}

/// Answers each wish with one input, until there are no more of either.
fn answer(wanted: &Receiver<Ask>, inputs: &SyncSender<Input>, mut read: impl FnMut(&Ask) -> Input) {
    for ask in wanted {
        let input = read(&ask);
        let last = matches!(input, Input::Ended | Input::Unreadable(_));
        if inputs.send(input).is_err() || last {
            return;
        }
    }
}

fn read_line(editor: &mut Editor<Help, MemHistory>, secrecy: &Secrecy, ask: &Ask) -> Input {
    let (prompt, secret) = match ask {
        Ask::Line(prompt) => (prompt, false),
        Ask::Password(prompt) => (prompt, true),
    };
    secrecy.set(secret);
    match editor.readline(prompt) {
        Ok(line) => {
            // A line with a password in it is not remembered either.
            if !secret && !line.contains("password=") {
                // History is a convenience: a line that does not get into it has been read all the same.
                let _ = editor.add_history_entry(&line);
            }
            Input::Line(Line(Zeroizing::new(line)))
        }
        Err(ReadlineError::Interrupted) => Input::Interrupted,
        Err(ReadlineError::Eof) => Input::Ended,
        Err(error) => Input::Unreadable(error.to_string()),
    }
}

/// What the editor knows of the language: the commands' names, and when nothing may be seen.
struct Help {
    secrecy: Secrecy,
}

impl Helper for Help {}
impl Hinter for Help {
    type Hint = String;
}
impl Validator for Help {}

impl Highlighter for Help {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        match self.secrecy.is_secret() {
            true => Cow::Owned(" ".repeat(line.chars().count())),
            false => Cow::Borrowed(line),
        }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.secrecy.is_secret() && !matches!(kind, CmdKind::MoveCursor)
    }
}

impl Completer for Help {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..position).unwrap_or_default();
        Ok(if self.secrecy.is_secret() { (0, Vec::new()) } else { complete(typed) })
    }
}

/// Where the word that is being typed starts, and what it can become.
fn complete(typed: &str) -> (usize, Vec<String>) {
    let start = typed.rfind(' ').map_or(0, |blank| blank + 1);
    let (before, word) = typed.split_at(start);
    let words: Vec<&str> = match before.split_whitespace().collect::<Vec<_>>()[..] {
        [] | ["help"] => COMMANDS.iter().map(|command| command.name).collect(),
        ["group"] => vec!["add", "rename", "delete"],
        ["file"] => vec!["send", "accept", "reject"],
        ["mode"] => vec!["online", "hidden", "busy"],
        ["answer", _] => vec!["yes", "no"],
        ["monitor"] => vec!["off"],
        ["login", _] => vec!["hidden"],
        _ => Vec::new(),
    };
    let fitting = words.into_iter().filter(|known| known.starts_with(word));
    (start, fitting.map(|known| format!("{known} ")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_words_are_completed() {
        assert_eq!(complete("mo"), (0, vec!["mode ".into(), "move ".into(), "monitor ".into()]));
        assert_eq!(complete("file a"), (5, vec!["accept ".into()]));
        assert_eq!(complete("help wa"), (5, vec!["wait ".into()]));
        assert_eq!(complete("send 10002 he"), (11, vec![]));
    }
}
