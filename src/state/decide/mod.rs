//! What each request amounts to: an event, or a refusal. Nothing here changes anything, and nothing
//! here knows sessions or packets; the same state and request always give the same answer.

pub mod accounts;
pub mod friends;
pub mod groups;
pub mod messages;
pub mod search;

use crate::codec::charset::{Breaks, Charset};
use crate::id::{GroupNumber, ServiceNumber};
use search::BadQuery;

/// What a value has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Must {
    /// Between so many and so many bytes long.
    HaveLength {
        /// The fewest bytes.
        min: usize,
        /// The most bytes.
        max: usize,
    },
    /// Text in the server's charset without control characters that do not belong there.
    BeText(Charset),
    /// A number up to this.
    BeUpTo(u16),
    /// One of the values that the protocol lists.
    BeOneOf(&'static str),
    /// Another user than oneself.
    BeSomeoneElse,
    /// A name without path parts.
    BeAFileName,
}

/// A list that can be full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum List {
    /// The groups of a friend list.
    Groups,
    /// The friends of one group.
    Group(GroupNumber),
    /// The friend requests that wait for one user.
    Requests(ServiceNumber),
    /// The file transfers from one user to another.
    Transfers(ServiceNumber),
    /// The service numbers.
    Numbers,
}

/// What an account may not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forbidden {
    /// Group 1 is not deleted.
    DeleteFirstGroup,
    /// Only operators monitor.
    Monitor,
    /// The number and the kind of program do not belong together.
    LogInAsThisKind,
}

/// Why a request is not done. Protocol section 3.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are the numbers that the sentence names")]
pub enum Refusal {
    UnknownType(u8),
    AlreadyLoggedIn,
    BadLogin,
    Throttled { wait_ms: u64 },
    RegistrationClosed,
    BadValue { field: &'static str, must: Must },
    UnknownNumber(ServiceNumber),
    UnknownGroup(u32),
    UnknownFriend(ServiceNumber),
    AlreadyFriend(ServiceNumber),
    NoRequest(ServiceNumber),
    Limit { list: List, holds: usize },
    MailboxFull { receivers: usize },
    NotOnline(ServiceNumber),
    NoTransfer(ServiceNumber),
    NotAllowed(Forbidden),
    BadQuery(BadQuery),
    StorageFull,
}

impl Refusal {
    /// A value that is out of its range.
    #[must_use]
    pub const fn bad_value(field: &'static str, must: Must) -> Self {
        Self::BadValue { field, must }
    }
}

/// Checks a string's length, and that it is text.
pub fn check_text(
    field: &'static str,
    bytes: &[u8],
    (min, max): (usize, usize),
    charset: Charset,
    breaks: Breaks,
) -> Result<(), Refusal> {
    if !(min..=max).contains(&bytes.len()) {
        return Err(Refusal::bad_value(field, Must::HaveLength { min, max }));
    }
    if !charset.is_text(bytes, breaks) {
        return Err(Refusal::bad_value(field, Must::BeText(charset)));
    }
    Ok(())
}
