//! Notices: the one line in which the server says why it did not do something. Protocol section 3.
//!
//! Owns the codes and the shape of the line; which sentence belongs to which failure is settled where
//! refusals become words, in the engine.

use std::fmt::{self, Write as _};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why something was refused, or why a connection is closed.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All codes, in the protocol's order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it stands in a notice.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// Violation: the bytes are no packet, or the content does not fit the type.
    Malformed = "malformed",
    /// Violation: the content length is over the limit.
    TooLarge = "too-large",
    /// Violation: it needs a session.
    NotLoggedIn = "not-logged-in",
    /// Violation: the own number is not the session's.
    WrongNumber = "wrong-number",
    /// No such packet type.
    UnknownType = "unknown-type",
    /// A login, registration or choice of extensions inside a session.
    AlreadyLoggedIn = "already-logged-in",
    /// No such number, or the wrong password.
    BadLogin = "bad-login",
    /// Too much of something within a time; the sentence says for how long.
    Throttled = "throttled",
    /// The server takes no new users.
    RegistrationClosed = "registration-closed",
    /// A field's value is out of its range; the sentence names the field.
    BadValue = "bad-value",
    /// No such service number.
    UnknownNumber = "unknown-number",
    /// No such group of one's own.
    UnknownGroup = "unknown-group",
    /// Not in one's friend list.
    UnknownFriend = "unknown-friend",
    /// Already in one's friend list.
    AlreadyFriend = "already-friend",
    /// Nobody by that number waits for an answer.
    NoRequest = "no-request",
    /// A list is full.
    Limit = "limit",
    /// The receiver's queue of undelivered messages is full.
    MailboxFull = "mailbox-full",
    /// The other side is not visibly online.
    NotOnline = "not-online",
    /// No file transfer with that number is at that stage.
    NoTransfer = "no-transfer",
    /// This account may not do that.
    NotAllowed = "not-allowed",
    /// The search statement is not understood.
    BadQuery = "bad-query",
    /// The log cannot grow.
    StorageFull = "storage-full",
    /// Closing: the same number has logged in on another connection.
    Elsewhere = "elsewhere",
    /// Closing: nothing was received for too long, or no login came in time.
    Idle = "idle",
    /// Closing: the client does not read what it is sent.
    Slow = "slow",
    /// Closing: the server is stopping.
    Shutdown = "shutdown",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A notice taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notice<'a> {
    /// The refused packet's type; 0 where no packet caused it, or none was recognised.
    pub packet_type: u8,
    /// Why.
    pub code: Code,
    /// The same for people.
    pub sentence: &'a str,
}

impl<'a> Notice<'a> {
    /// Reads the line `0xTT code: sentence`.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
        let (digits, rest) = text.strip_prefix("0x")?.split_at_checked(2)?;
        let packet_type = u8::from_str_radix(digits, 16).ok()?;
        Self::parse_reason(packet_type, rest.strip_prefix(' ')?.as_bytes())
    }

    /// Reads `code: sentence`, as a result has it, which carries the type apart.
    #[must_use]
    pub fn parse_reason(packet_type: u8, text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
        let (code, sentence) = text.split_once(": ")?;
        let code = *Code::ALL.iter().find(|known| known.as_str() == code)?;
        Some(Self { packet_type, code, sentence })
    }

    /// Appends the line `0xTT code: sentence`. The sentence is made of ASCII by whoever words it.
    pub fn write(packet_type: u8, code: Code, sentence: impl fmt::Display, out: &mut Vec<u8>) {
        let mut line = String::new();
        // Writing into a string does not fail.
        let _ = write!(line, "0x{packet_type:02X} {code}: {sentence}");
        debug_assert!(line.is_ascii() && !line.contains('\n'), "a notice is one line of ASCII");
        out.extend_from_slice(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice_comes_back_as_it_was_written() {
        for &code in Code::ALL {
            let mut line = Vec::new();
            Notice::write(0x1F, code, format_args!("{} s: wait", 8), &mut line);
            let notice = Notice::parse(&line).unwrap();
            assert_eq!(notice, Notice { packet_type: 0x1F, code, sentence: "8 s: wait" });
            assert_eq!(Notice::parse_reason(0x1F, &line["0x1F ".len()..]), Some(notice));
        }
    }

    #[test]
    fn other_lines_are_no_notices() {
        for line in ["", "0x", "0x1", "0x1F", "0x1F nonsense: x", "0xGG idle: x", "0x1F idle"] {
            assert_eq!(Notice::parse(line.as_bytes()), None, "{line}");
        }
    }
}
