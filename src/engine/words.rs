//! The one place where refusals, violations and endings become a code and a sentence. Protocol section 3.

use std::fmt::{self, Display};

use crate::state::decide::{Forbidden, List, Must, Refusal};
use crate::wire::{Code, FrameError};

/// What no correct client sends: it ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Violation {
    Frame(FrameError),
    Content,
    NotLoggedIn,
    WrongNumber,
}

/// Why the server ends a connection by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    Elsewhere,
    Login,
    Idle,
    Slow,
    Shutdown,
    /// Too many connections from this address: the milliseconds to wait.
    TooFast(u64),
    /// All connections that the server can hold are taken.
    Full(usize),
    /// A newer connection takes this one's place.
    MadeRoom(usize),
}

impl Violation {
    pub(super) const fn code(self) -> Code {
        match self {
            Self::Frame(FrameError::TooLarge { .. }) => Code::TooLarge,
            Self::Frame(_) | Self::Content => Code::Malformed,
            Self::NotLoggedIn => Code::NotLoggedIn,
            Self::WrongNumber => Code::WrongNumber,
        }
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(FrameError::FirstByte(byte)) => {
                write!(f, "a packet begins with 0x81, not with 0x{byte:02X}")
            }
            Self::Frame(FrameError::Sender(kind)) => {
                write!(f, "0x{kind:02X} is no kind of program that may send to the server")
            }
            Self::Frame(FrameError::SenderChanged { was, is }) => {
                write!(
                    f,
                    "the sender's kind was 0x{:02X} and is now 0x{:02X}",
                    *was as u8, *is as u8
                )
            }
            Self::Frame(FrameError::Receiver(kind)) => {
                write!(f, "the receiver must be 0x01, not 0x{kind:02X}")
            }
            Self::Frame(FrameError::TooLarge { content_length, content_bytes_max, .. }) => {
                write!(f, "{content_length} bytes of content, {content_bytes_max} are allowed")
            }
            Self::Content => f.write_str("the content does not fit the packet's type"),
            Self::NotLoggedIn => f.write_str("this needs a login first"),
            Self::WrongNumber => f.write_str("the packet does not carry the session's own number"),
        }
    }
}

impl Ending {
    pub(super) const fn code(self) -> Code {
        match self {
            Self::Elsewhere => Code::Elsewhere,
            Self::Login | Self::Idle => Code::Idle,
            Self::Slow => Code::Slow,
            Self::Shutdown => Code::Shutdown,
            Self::TooFast(_) => Code::Throttled,
            Self::Full(_) | Self::MadeRoom(_) => Code::Limit,
        }
    }
}

impl Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere => f.write_str("this number has logged in on another connection"),
            Self::Login => f.write_str("no login came in time"),
            Self::Idle => f.write_str("nothing was received for too long"),
            Self::Slow => f.write_str("what was sent has not been taken in time"),
            Self::Shutdown => f.write_str("the server is stopping"),
            Self::TooFast(wait_ms) => {
                write!(f, "too many connections from this address, wait {}", Wait(*wait_ms))
            }
            Self::Full(holds) => write!(f, "the server holds {holds} connections, all are in use"),
            Self::MadeRoom(holds) => {
                write!(
                    f,
                    "the server holds {holds} connections, and one that never logged in makes room"
                )
            }
        }
    }
}

/// The code of a refusal.
pub(super) const fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::UnknownType(_) => Code::UnknownType,
        Refusal::AlreadyLoggedIn => Code::AlreadyLoggedIn,
        Refusal::BadLogin => Code::BadLogin,
        Refusal::Throttled { .. } => Code::Throttled,
        Refusal::RegistrationClosed => Code::RegistrationClosed,
        Refusal::BadValue { .. } => Code::BadValue,
        Refusal::UnknownNumber(_) => Code::UnknownNumber,
        Refusal::UnknownGroup(_) => Code::UnknownGroup,
        Refusal::UnknownFriend(_) => Code::UnknownFriend,
        Refusal::AlreadyFriend(_) => Code::AlreadyFriend,
        Refusal::NoRequest(_) => Code::NoRequest,
        Refusal::Limit { .. } => Code::Limit,
        Refusal::MailboxFull { .. } => Code::MailboxFull,
        Refusal::NotOnline(_) => Code::NotOnline,
        Refusal::NoTransfer(_) => Code::NoTransfer,
        Refusal::NotAllowed(_) => Code::NotAllowed,
        Refusal::BadQuery(_) => Code::BadQuery,
        Refusal::StorageFull => Code::StorageFull,
    }
}

/// The sentence of a refusal.
pub(super) struct Sentence<'a>(pub(super) &'a Refusal);

impl Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Refusal::UnknownType(byte) => write!(f, "there is no packet type 0x{byte:02X}"),
            Refusal::AlreadyLoggedIn => f.write_str("this connection has a session already"),
            Refusal::BadLogin => f.write_str("no such number, or the wrong password"),
            Refusal::Throttled { wait_ms } => {
                write!(f, "too much in too short a time, wait {}", Wait(*wait_ms))
            }
            Refusal::RegistrationClosed => f.write_str("this server takes no new users"),
            Refusal::BadValue { field, must } => write!(f, "{field} must {}", MustWords(*must)),
            Refusal::UnknownNumber(number) => write!(f, "there is no user {number}"),
            Refusal::UnknownGroup(group) => write!(f, "there is no group {group}"),
            Refusal::UnknownFriend(number) => write!(f, "{number} is not in the friend list"),
            Refusal::AlreadyFriend(number) => write!(f, "{number} is in the friend list already"),
            Refusal::NoRequest(number) => write!(f, "{number} does not wait for an answer"),
            Refusal::Limit { list, holds } => {
                write!(f, "{} full, it holds {holds}", ListWords(*list))
            }
            Refusal::MailboxFull { receivers: 1 } => f.write_str("1 mailbox is full"),
            Refusal::MailboxFull { receivers } => write!(f, "{receivers} mailboxes are full"),
            Refusal::NotOnline(number) => write!(f, "{number} is not online"),
            Refusal::NoTransfer(number) => {
                write!(f, "no file transfer with {number} is at that stage")
            }
            Refusal::NotAllowed(what) => f.write_str(match what {
                Forbidden::DeleteFirstGroup => "group 1 cannot be deleted",
                Forbidden::Monitor => "only operators may monitor",
                Forbidden::LogInAsThisKind => "this number may not log in as this kind of program",
            }),
            Refusal::BadQuery(why) => Display::fmt(why, f),
            Refusal::StorageFull => f.write_str("the server has no room for changes at the moment"),
        }
    }
}

struct MustWords(Must);

impl Display for MustWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Must::HaveLength { min: 0, max } => write!(f, "have up to {max} bytes"),
            Must::HaveLength { min, max } => write!(f, "have {min} to {max} bytes"),
            Must::BeText(charset) => write!(f, "be {charset} text without control characters"),
            Must::BeUpTo(max) => write!(f, "be at most {max}"),
            Must::BeOneOf(values) => write!(f, "be {values}"),
            Must::BeSomeoneElse => f.write_str("be another number than one's own"),
            Must::BeAFileName => f.write_str("be a plain file name without path parts"),
        }
    }
}

struct ListWords(List);

impl Display for ListWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            List::Groups => f.write_str("the list of groups is"),
            List::Group(group) => write!(f, "group {group} of the friend list is"),
            List::Requests(number) => write!(f, "the list of requests to {number} is"),
            List::Transfers(number) => write!(f, "the list of file transfers to {number} is"),
            List::Numbers => f.write_str("the list of numbers is"),
        }
    }
}

/// A time to wait, rounded up: in seconds, from two minutes on in minutes.
struct Wait(u64);

impl Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_ceil(1_000).max(1);
        if seconds < 120 {
            write!(f, "{seconds} s")
        } else {
            write!(f, "{} min", seconds.div_ceil(60))
        }
    }
}
