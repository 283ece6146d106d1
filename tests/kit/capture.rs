//! Captured client packets as a text file: its layout, read strictly and written; a line for people
//! behind each packet. `data/README.md` describes the layout.
//!
//! It knows what a line may look like and in which order lines may come. What the packets mean to a
//! server is seen in [`super::play`].

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use oicq::id::UnixMillis;
use oicq::limits::HEADER_BYTES;
use oicq::wire::client::Account;
use oicq::wire::{ClientPacket, Expected, Request, RequestType, cut};

/// What one line of a capture says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Where it stands in the file, counted from 1.
    pub at: usize,
    pub time: UnixMillis,
    /// The connection's name, which no other connection of the capture has.
    pub connection: String,
    pub step: Step,
}

/// What happens on a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    Connect(IpAddr),
    Packet(Vec<u8>),
    End,
}

/// What a line is not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaptureError {
    pub at: usize,
    pub why: &'static str,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.at, self.why)
    }
}

/// Reads a capture. Blank lines and lines that begin with `#` are for people.
pub fn parse(text: &str) -> Result<Vec<Line>, CaptureError> {
    let mut lines: Vec<Line> = Vec::new();
    // Whether each connection that there was is open.
    let mut open: BTreeMap<String, bool> = BTreeMap::new();
    for (index, text) in text.lines().enumerate() {
        let at = index + 1;
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let error = |why| CaptureError { at, why };
        let line = parse_line(at, text).map_err(error)?;
        if lines.last().is_some_and(|last| last.time > line.time) {
            return Err(error("the time runs backwards"));
        }
        let known = open.get(&line.connection).copied();
        match (&line.step, known) {
            (Step::Connect(_), None) => open.insert(line.connection.clone(), true),
            (Step::Connect(_), Some(_)) => return Err(error("the connection's name was used")),
            (Step::Packet(_), Some(true)) => None,
            (Step::End, Some(true)) => open.insert(line.connection.clone(), false),
            (_, Some(false)) => return Err(error("the connection has ended")),
            (_, None) => return Err(error("no such connection")),
        };
        lines.push(line);
    }
    if open.values().any(|open| *open) {
        return Err(CaptureError { at: text.lines().count(), why: "a connection is left open" });
    }
    Ok(lines)
}

fn parse_line(at: usize, text: &str) -> Result<Line, &'static str> {
    let fields = text.split_once(" # ").map_or(text, |(fields, _)| fields);
    let mut fields = fields.split(' ');
    let mut next = || fields.next().filter(|field| !field.is_empty()).ok_or("a field is missing");
    let time = parse_time(next()?).ok_or("the time is not like 2003-04-12T00:30:00.000Z")?;
    let connection = next()?.to_owned();
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !connection.bytes().all(is_name) {
        return Err("a connection's name is made of a-z, 0-9 and -");
    }
    let step = match next()? {
        "connect" => Step::Connect(next()?.parse().map_err(|_| "this is no IP address")?),
        "packet" => Step::Packet(parse_hex(next()?).ok_or("this is no string of hex bytes")?),
        "end" => Step::End,
        _ => return Err("a line says connect, packet or end"),
    };
    match fields.next() {
        None => Ok(Line { at, time, connection, step }),
        Some(_) => Err("a field too many"),
    }
}

/// Bytes as two upper-case digits each.
fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

/// A time of the 21st century as RFC 3339 in UTC, with milliseconds: one spelling for each time.
fn parse_time(text: &str) -> Option<UnixMillis> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let days = days_since_1970(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds = (number(11, 13)? * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    let time = UnixMillis((days * 86_400 + seconds) * 1_000 + number(20, 23)?);
    (format_time(time) == text).then_some(time)
}

/// Right from March 2000 to 2099, where every fourth year is a leap year.
const fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Years begin in March here, so that the leap day is the last one.
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    // 11,017 days before 2000-03-01; the months from March on have 31, 30, 31, 30, 31 days, again and again.
    11_017 + year.saturating_sub(2_000) * 1_461 / 4 + (month * 153 + 2) / 5 + day - 1
}

/// The spelling that [`parse`] reads.
pub fn format_time(time: UnixMillis) -> String {
    let (days, millis) = (time.0 / 86_400_000, time.0 % 86_400_000);
    let date = (2_000..2_100)
        .flat_map(|year| (1..=12).map(move |month| (year, month)))
        .rfind(|(year, month)| days_since_1970(*year, *month, 1) <= days);
    let (year, month) = date.unwrap_or((2_000, 3));
    let day = days.saturating_sub(days_since_1970(year, month, 1)) + 1;
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// A line as [`parse`] reads it, with its summary.
pub fn format_line(time: UnixMillis, connection: &str, step: &Step) -> String {
    let time = format_time(time);
    match step {
        Step::Connect(address) => format!("{time} {connection} connect {address}"),
        Step::End => format!("{time} {connection} end"),
        Step::Packet(bytes) => {
            let mut line = format!("{time} {connection} packet ");
            for byte in bytes {
                // Writing into a string does not fail.
                let _ = write!(line, "{byte:02X}");
            }
            line + " # " + &describe(bytes)
        }
    }
}

/// A packet in a few words.
pub fn describe(bytes: &[u8]) -> String {
    const ANY: Expected = Expected { kind: None, content_bytes_max: u32::MAX };
    let frame = match cut(bytes, ANY) {
        Ok(Some(frame)) if frame.length() == bytes.len() => frame,
        Ok(Some(_)) => return "more than one packet".to_owned(),
        Ok(None) if bytes.len() < HEADER_BYTES => return "the beginning of a header".to_owned(),
        Ok(None) => return format!("0x{:02X}, the beginning of it", bytes[3]),
        Err(_) if bytes.is_ascii() => return format!("no packet: {}", quoted(bytes)),
        Err(_) => return "no packet".to_owned(),
    };
    let byte = frame.header.packet_type;
    let Some(packet_type) = RequestType::from_byte(byte) else {
        return format!("0x{byte:02X}, which nobody knows");
    };
    match ClientPacket::decode(packet_type, frame.content) {
        Ok(packet) => format!("0x{byte:02X} {}", Summary(&packet)),
        Err(_) => format!("0x{byte:02X} {packet_type:?} with content that does not fit"),
    }
}

/// Text in quotes; a long one cut short, with its length.
fn quoted(bytes: &[u8]) -> String {
    const SHOWN: usize = 60;
    let text = String::from_utf8_lossy(bytes);
    let mut chars = text.chars();
    let shown: String = chars.by_ref().take(SHOWN).collect();
    if chars.next().is_none() {
        format!("{shown:?}")
    } else {
        format!("{shown:?}... ({} bytes)", bytes.len())
    }
}

/// What a packet asks for, in a few words. No password is in it.
struct Summary<'a>(&'a ClientPacket<'a>);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.request.packet_type().has_own_number() {
            write!(f, "{} ", self.0.own)?;
        }
        match self.0.request {
            Request::Register(account) => write!(f, "register {}", Who(&account)),
            Request::LogIn { mode, .. } => write!(f, "logs in, mode {mode}"),
            Request::Send { receiver, content } => write!(f, "to {receiver}: {}", quoted(content)),
            Request::Broadcast { group, content } => {
                write!(f, "to all in group {group}: {}", quoted(content))
            }
            Request::ViewProfile { friend } => write!(f, "looks at {friend}"),
            Request::AddGroup { name } => write!(f, "adds a group {}", quoted(name)),
            Request::RenameGroup { group, name } => {
                write!(f, "renames group {group} to {}", quoted(name))
            }
            Request::DeleteGroup { group } => write!(f, "deletes group {group}"),
            Request::MoveFriends(moves) => {
                f.write_str("moves")?;
                moves.iter().try_for_each(|(friend, group)| write!(f, " {friend} to {group}"))
            }
            Request::ListOnline { start, count, direction } => {
                write!(f, "who is online, {count} from {start}, direction {direction}")
            }
            Request::Search { statement } => write!(f, "searches {}", quoted(statement)),
            Request::AddFriend { friend } => write!(f, "adds {friend}"),
            Request::RequestFriend { friend, reason } => {
                write!(f, "asks to add {friend}: {}", quoted(reason))
            }
            Request::DeleteFriend { friend } => write!(f, "deletes {friend}"),
            Request::SetMode { mode } => write!(f, "mode {mode}"),
            Request::Monitor { watched } => write!(f, "monitors {watched}"),
            Request::ChangeProfile(account) => {
                let kept = account.password.expose().is_empty();
                let password = if kept { "the old" } else { "a new" };
                write!(f, "changes to {}, {password} password", Who(&account))
            }
            Request::OfferFile { friend, name, length } => {
                write!(f, "offers {friend} the file {}, {length} bytes", quoted(name))
            }
            Request::AnswerFile { friend, allow } => write!(f, "file with {friend}: {allow}"),
            Request::FilePiece { friend, data } => {
                write!(f, "to {friend} a piece of {} bytes", data.len())
            }
            Request::Test => f.write_str("test"),
            Request::AnswerRequest { friend, consent } => {
                write!(f, "answers the request of {friend}: {consent}")
            }
            Request::WantExtensions { wanted } => write!(f, "would like extensions {wanted}"),
            Request::Arrived { through } => write!(f, "has messages up to {through}"),
        }
    }
}

/// Who somebody is, as far as one glance needs it.
struct Who<'a>(&'a Account<'a>);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { profile, authentication, .. } = self.0;
        write!(f, "{} in {}", quoted(profile.nickname), quoted(profile.city))?;
        write!(f, ", authentication {authentication}")
    }
}
