//! The language of the client: what can be typed or scripted, taken apart into commands.
//!
//! Owns the commands' names, arguments and help. It never looks at the session: whether a number is
//! known, or anyone is logged in, is found out when a command is done.

use std::path::PathBuf;

use oicq::cli::values::parse_time;
use oicq::codec::charset::Charset;
use oicq::codec::secret::SecretBuf;
use oicq::id::ServiceNumber;

use super::events::{self, Pattern};
use super::fields::{self, Changes};
use super::words::{Word, all_words, first_word, whole_text};

/// A text that surely fits a packet; the server's own limits are lower, and it is the server that
/// speaks of them.
const TEXT_BYTES_MAX: usize = 60_000;
/// As many users as `online` asks for where nothing else is said.
const ONLINE_COUNT: u8 = 50;

/// Help on one command.
pub(crate) struct CommandHelp {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static str,
    pub(crate) about: &'static str,
}

macro_rules! commands {
    ($($name:literal $arguments:literal $about:literal;)*) => {
        /// All commands, in the order in which help lists them.
        pub(crate) const COMMANDS: &[CommandHelp] = &[
            $(CommandHelp { name: $name, arguments: $arguments, about: $about },)*
        ];
    };
}

commands! {
    "register" "NICKNAME [FIELD=VALUE ...]" "register a new user; the password is asked for, or given as password=...";
    "login" "NUMBER [hidden] [password=...]" "log in; the password is asked for unless it is given";
    "logout" "" "end the session, and keep the connection";
    "mode" "online|hidden|busy" "how others see you; busy asks not to be disturbed";
    "friends" "" "the friend list by groups, with states: at login, or latest where the server tells";
    "send" "NUMBER TEXT" "send a message";
    "broadcast" "GROUP TEXT" "send a message to each friend in a group; all is every group";
    "profile" "[NUMBER]" "look at someone's profile, or at your own";
    "change" "FIELD=VALUE ..." "change your profile, the password or the authentication (anyone, ask, nobody)";
    "group" "add NAME | rename GROUP NAME | delete GROUP" "change your groups; GROUP is a number or a name";
    "move" "NUMBER GROUP [NUMBER GROUP ...]" "move friends to groups";
    "online" "[START COUNT smaller|larger]" "who is online, from a number on";
    "search" "STATEMENT" "search users: select * from users where city = 'Beijing' and age < 30";
    "add" "NUMBER [REASON]" "add a friend, or ask to be allowed to";
    "answer" "NUMBER yes|no" "answer someone who asks to add you";
    "remove" "NUMBER" "delete a friend from your list";
    "monitor" "NUMBER|off" "be sent someone's conversations; for operators";
    "file" "send NUMBER PATH | accept NUMBER [PATH] | reject NUMBER" "offer, accept, or reject and break off a file";
    "test" "" "test the connection";
    "wait" "EVENT [KEY=VALUE ...] [TIME]" "wait until such an event has come; each event is taken by one wait at most";
    "help" "[COMMAND|events]" "this page, or more on a command, or what an output line can be";
    "quit" "" "end at once, without waiting for anything";
}

/// A group, as people name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum GroupName {
    /// By its number; 0 is all of them.
    Number(u8),
    /// By its name, which the friend list knows.
    Name(String),
}

/// A command, taken apart.
#[derive(Debug)]
pub(crate) enum Command {
    Help(String),
    Register(Changes),
    LogIn { number: ServiceNumber, hidden: bool, password: Option<SecretBuf> },
    LogOut,
    Mode(u8),
    Friends,
    Send { to: ServiceNumber, text: Vec<u8> },
    Broadcast { group: GroupName, text: Vec<u8> },
    Profile(Option<ServiceNumber>),
    Change(Changes),
    AddGroup(Vec<u8>),
    RenameGroup(GroupName, Vec<u8>),
    DeleteGroup(GroupName),
    Move(Vec<(ServiceNumber, GroupName)>),
    Online { start: ServiceNumber, count: u8, direction: u8 },
    Search(Vec<u8>),
    Add { number: ServiceNumber, reason: Vec<u8> },
    Answer { number: ServiceNumber, yes: bool },
    Remove(ServiceNumber),
    Monitor(ServiceNumber),
    FileSend { to: ServiceNumber, path: PathBuf },
    FileAccept { from: ServiceNumber, path: Option<PathBuf> },
    FileReject(ServiceNumber),
    Test,
    Wait { pattern: Pattern, timeout_ms: Option<u64> },
    Quit,
}

impl Command {
    /// The command of a line; `None` where it is empty or a comment. The error is for people.
    pub(crate) fn parse(line: &str, charset: Charset) -> Result<Option<Self>, String> {
        let line = line.trim();
        if line.starts_with('#') {
            return Ok(None);
        }
        let Some((name, rest)) = first_word(line).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let arguments = Arguments { name: &name, rest, charset };
        arguments.command().map(Some)
    }

    /// Whether a password is still to be asked for.
    pub(crate) fn lacks_password(&self) -> bool {
        match self {
            Self::Register(changes) => !changes.has_password(),
            Self::LogIn { password, .. } => password.is_none(),
            _ => false,
        }
    }

    /// The same command with the password that was asked for.
    pub(crate) fn with_password(mut self, secret: SecretBuf) -> Self {
        match &mut self {
            Self::Register(changes) => changes.set_password(secret),
            Self::LogIn { password, .. } => *password = Some(secret),
            _ => {}
        }
        self
    }
}

/// What follows a command's name, taken off word by word.
struct Arguments<'a> {
    name: &'a str,
    rest: &'a str,
    charset: Charset,
}

impl Arguments<'_> {
    fn command(mut self) -> Result<Command, String> {
        let command = match self.name {
            "help" => Command::Help(String::clone(&self.optional()?.unwrap_or_default())),
            "register" => self.register()?,
            "login" => self.log_in()?,
            "logout" => Command::LogOut,
            "mode" => Command::Mode(match self.word()?.as_str() {
                "online" => 1,
                "hidden" => 2,
                "busy" => 3,
                _ => return Err(self.wrong()),
            }),
            "friends" => Command::Friends,
            "send" => Command::Send { to: self.number()?, text: self.text()? },
            "broadcast" => Command::Broadcast { group: self.group()?, text: self.text()? },
            "profile" => {
                Command::Profile(if self.rest.is_empty() { None } else { Some(self.number()?) })
            }
            "change" => self.change()?,
            "group" => self.group_command()?,
            "move" => self.moves()?,
            "online" => self.online()?,
            "search" => Command::Search(self.text()?),
            "add" => Command::Add { number: self.number()?, reason: self.optional_text()? },
            "answer" => Command::Answer { number: self.number()?, yes: self.yes_or_no()? },
            "remove" => Command::Remove(self.number()?),
            "monitor" if self.rest.trim() == "off" => {
                self.rest = "";
                Command::Monitor(ServiceNumber::NONE)
            }
            "monitor" => Command::Monitor(self.number()?),
            "file" => self.file()?,
            "test" => Command::Test,
            "wait" => self.wait()?,
            "quit" | "exit" => Command::Quit,
            // Not which one: where lines are out of step, it is a password.
            _ => return Err("there is no such command; help lists them".to_owned()),
        };
        if self.rest.is_empty() { Ok(command) } else { Err(self.wrong()) }
    }

    fn register(&mut self) -> Result<Command, String> {
        let nickname = self.word()?;
        let mut changes = Changes::parse(&self.words()?, self.charset)?;
        changes.set("nickname", &nickname, self.charset)?;
        Ok(Command::Register(changes))
    }

    fn log_in(&mut self) -> Result<Command, String> {
        let (number, mut hidden, mut password) = (self.number()?, false, None);
        for word in self.words()? {
            match word.split_once('=') {
                None if *word == "hidden" => hidden = true,
                Some(("password", text)) => password = Some(fields::password(text, self.charset)),
                _ => return Err(self.wrong()),
            }
        }
        Ok(Command::LogIn { number, hidden, password })
    }

    fn change(&mut self) -> Result<Command, String> {
        let changes = Changes::parse(&self.words()?, self.charset)?;
        if changes.is_empty() { Err(self.wrong()) } else { Ok(Command::Change(changes)) }
    }

    fn group_command(&mut self) -> Result<Command, String> {
        Ok(match self.word()?.as_str() {
            "add" => Command::AddGroup(self.text()?),
            "rename" => Command::RenameGroup(self.group()?, self.text()?),
            "delete" => Command::DeleteGroup(self.group()?),
            _ => return Err(self.wrong()),
        })
    }

    fn moves(&mut self) -> Result<Command, String> {
        let mut moves = vec![(self.number()?, self.group()?)];
        while !self.rest.is_empty() {
            moves.push((self.number()?, self.group()?));
        }
        // A packet counts them in one byte.
        if moves.len() > usize::from(u8::MAX) {
            Err(self.wrong())
        } else {
            Ok(Command::Move(moves))
        }
    }

    fn online(&mut self) -> Result<Command, String> {
        if self.rest.is_empty() {
            return Ok(Command::Online {
                start: ServiceNumber::NONE,
                count: ONLINE_COUNT,
                direction: 2,
            });
        }
        let start = self.number()?;
        let count = self.word()?.parse().map_err(|_| self.wrong())?;
        let direction = match self.word()?.as_str() {
            "smaller" => 1,
            "larger" => 2,
            _ => return Err(self.wrong()),
        };
        Ok(Command::Online { start, count, direction })
    }

    fn file(&mut self) -> Result<Command, String> {
        Ok(match self.word()?.as_str() {
            "send" => {
                let to = self.number()?;
                let path = self.path()?.ok_or_else(|| self.wrong())?;
                Command::FileSend { to, path }
            }
            "accept" => Command::FileAccept { from: self.number()?, path: self.path()? },
            "reject" => Command::FileReject(self.number()?),
            _ => return Err(self.wrong()),
        })
    }

    fn wait(&mut self) -> Result<Command, String> {
        let event = self.word()?;
        let event = events::EVENTS.iter().find(|known| known.word == *event).ok_or_else(|| {
            format!("there is no event {:?}; help events lists them", event.as_str())
        })?;
        let (mut fields, mut timeout_ms) = (Vec::new(), None);
        for word in self.words()? {
            match word.split_once('=') {
                Some((key, value)) => fields.push((key.to_owned(), value.to_owned())),
                None => timeout_ms = Some(parse_time(&word).map_err(|error| error.to_string())?),
            }
        }
        Ok(Command::Wait { pattern: Pattern { word: event.word, fields }, timeout_ms })
    }

    fn optional(&mut self) -> Result<Option<Word>, String> {
        let Some((word, rest)) = first_word(self.rest).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        self.rest = rest;
        Ok(Some(word))
    }

    fn word(&mut self) -> Result<Word, String> {
        self.optional()?.ok_or_else(|| self.wrong())
    }

    fn words(&mut self) -> Result<Vec<Word>, String> {
        all_words(std::mem::take(&mut self.rest)).map_err(|error| error.to_string())
    }

    fn number(&mut self) -> Result<ServiceNumber, String> {
        let word = self.word()?;
        word.parse().map(ServiceNumber).map_err(|_| match self.name {
            // Not which word: it may be a password without its number.
            "login" => format!("a word is no service number; expected {}", self.usage()),
            _ => format!("{:?} is no service number; expected {}", word.as_str(), self.usage()),
        })
    }

    fn group(&mut self) -> Result<GroupName, String> {
        let word = self.word()?;
        Ok(match word.parse() {
            Ok(number) => GroupName::Number(number),
            Err(_) if *word == "all" => GroupName::Number(0),
            Err(_) => GroupName::Name(String::clone(&word)),
        })
    }

    fn yes_or_no(&mut self) -> Result<bool, String> {
        match self.word()?.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(self.wrong()),
        }
    }

    fn path(&mut self) -> Result<Option<PathBuf>, String> {
        let rest = std::mem::take(&mut self.rest);
        let path = whole_text(rest).map_err(|error| error.to_string())?;
        Ok((!path.is_empty()).then(|| PathBuf::from(path)))
    }

    fn text(&mut self) -> Result<Vec<u8>, String> {
        if self.rest.is_empty() { Err(self.wrong()) } else { self.optional_text() }
    }

    fn optional_text(&mut self) -> Result<Vec<u8>, String> {
        let rest = std::mem::take(&mut self.rest);
        let text = whole_text(rest).map_err(|error| error.to_string())?;
        let bytes = self.charset.encode(&text).into_owned();
        if bytes.len() > TEXT_BYTES_MAX {
            return Err(format!("the text has {} bytes, no packet carries that", bytes.len()));
        }
        Ok(bytes)
    }

    fn wrong(&self) -> String {
        format!("expected {}", self.usage())
    }

    fn usage(&self) -> String {
        COMMANDS
            .iter()
            .find(|command| command.name == self.name)
            .map_or_else(String::new, |command| format!("{} {}", command.name, command.arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Command>, String> {
        Command::parse(line, Charset::Utf8)
    }

    fn debug(line: &str) -> String {
        format!("{:?}", parse(line).unwrap().unwrap())
    }

    #[test]
    fn every_command_is_known_by_the_name_that_help_lists() {
        for command in COMMANDS {
            if let Err(error) = parse(command.name) {
                assert!(error.contains(command.name), "{error}");
            }
        }
    }

    #[test]
    fn a_line_that_may_be_a_password_is_not_repeated() {
        for (line, expected) in [
            ("hunter22", "no such command"),
            ("hunter22 age=20", "no such command"),
            ("login hunter22", "a word is no service number; expected login NUMBER"),
            ("login 10001 hunter22", "expected login NUMBER"),
            ("login 10001 hunt=er22", "expected login NUMBER"),
            ("change hunter22", "a word is no field, expected FIELD=VALUE"),
            ("change hunt=er22", "there is no such field, expected FIELD=VALUE"),
            ("register ann hunter22", "a word is no field, expected FIELD=VALUE"),
            ("register ann hunt=er22", "there is no such field, expected FIELD=VALUE"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
            assert!(!error.contains("hunt") && !error.contains("er22"), "{line}: {error}");
        }
    }

    #[test]
    fn empty_lines_and_comments_are_nothing() {
        for line in ["", "   ", "# send 1 x", "  # x"] {
            assert!(parse(line).unwrap().is_none());
        }
    }

    #[test]
    fn texts_go_to_the_end_of_the_line() {
        let Some(Command::Send { to, text }) = parse("send 10002  hi  there ").unwrap() else {
            panic!("not a message")
        };
        assert_eq!((to, &text[..]), (ServiceNumber(10_002), &b"hi  there"[..]));
        let Some(Command::Send { text, .. }) = parse(r#"send 10002 "a\nb""#).unwrap() else {
            panic!("not a message")
        };
        assert_eq!(text, b"a\nb");
    }

    #[test]
    fn groups_go_by_number_or_name() {
        assert!(debug("broadcast all x").contains("group: Number(0)"));
        assert_eq!(
            debug("move 10002 2 10003 \"Old Friends\""),
            "Move([(ServiceNumber(10002), Number(2)), (ServiceNumber(10003), Name(\"Old Friends\"))])"
        );
        assert!(debug("group rename 2 a b").starts_with("RenameGroup(Number(2)"));
    }

    #[test]
    fn arguments_that_are_wrong_or_too_many_say_what_was_expected() {
        for (line, expected) in [
            ("send", "send NUMBER TEXT"),
            ("send x y", "\"x\" is no service number"),
            ("send 10002", "send NUMBER TEXT"),
            ("logout now", "expected logout"),
            ("mode away", "online|hidden|busy"),
            ("answer 10002 maybe", "yes|no"),
            ("online 1", "START COUNT"),
            ("online 1 300 larger", "START COUNT"),
            ("file send 10002", "file send NUMBER PATH"),
            ("move 10002", "move NUMBER GROUP"),
            ("wait rain", "no event \"rain\""),
            ("wait message 5", "a time with its unit"),
            ("change", "change FIELD=VALUE"),
            ("send 1 \"a", "send"),
        ] {
            match parse(line) {
                Err(error) => assert!(error.contains(expected), "{line}: {error}"),
                Ok(command) => assert_eq!(line, "send 1 \"a", "{command:?}"),
            }
        }
    }

    #[test]
    fn passwords_are_taken_from_the_line_or_asked_for_and_never_printed() {
        for line in ["login 10001 hidden", "register ann age=20"] {
            let command = parse(line).unwrap().unwrap();
            assert!(command.lacks_password());
            let command = command.with_password(fields::password("hunter22", Charset::Utf8));
            assert!(!command.lacks_password() && !format!("{command:?}").contains("hunter"));
        }
        assert!(!debug("login 10001 password=hunter22").contains("hunter"));
    }

    #[test]
    fn a_wait_has_a_pattern_and_perhaps_a_time() {
        let Some(Command::Wait { pattern, timeout_ms }) =
            parse("wait message from=10002 text=\"a b\" 5s").unwrap()
        else {
            panic!("not a wait")
        };
        assert_eq!((pattern.word, pattern.fields.len(), timeout_ms), ("message", 2, Some(5_000)));
        assert_eq!(pattern.fields[1], ("text".to_owned(), "a b".to_owned()));
    }
}
