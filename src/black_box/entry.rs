//! What stands in a recording, one after the other: inputs, what the engine was answered while it handled
//! them, and what came of them.
//!
//! Owns the bytes of an entry. Numbers that may be large take few bytes where they are small; a turn's times are
//! told by what has passed since the turn before.

use crate::codec::{Reader, Write, address};
use crate::engine::{Foretold, Input, Outcome, Output, Overdue, Verdict};
use crate::id::{ConnectionId, MonoMillis, Now, UnixMillis};
use crate::limits::CONTENT_BYTES_IN_SESSION;
use crate::wire::{Frame, FrameError, Header, Kind};

/// One entry.
#[derive(Debug)]
pub enum Entry<'a> {
    /// Something came into the engine: a step.
    Input(Input<'a>),
    /// The engine has asked its surroundings, while it handled the input before.
    Answer(Answer),
    /// What the search that the input before asks for comes to. Only a recording without profiles has it.
    Foretold(Foretold),
    /// What the input before, or the look for passwords behind it, has added to the outbox.
    Output(Output),
}

/// What the surroundings have answered. What they nearly always answer is not recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// So many bytes were acknowledged.
    Acknowledged(u64),
    /// So many bytes of output waited; before that, `skipped` questions since the input were answered with 0.
    Waiting {
        /// How many.
        skipped: u64,
        /// In bytes.
        bytes: u64,
    },
    /// There was no room for an event; before that, there was for `skipped` since the input.
    Full {
        /// How many.
        skipped: u64,
    },
}

/// The bytes are no entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoEntry;

impl From<crate::codec::Short> for NoEntry {
    fn from(_: crate::codec::Short) -> Self {
        Self
    }
}

mod tag {
    pub(super) const TURN: u8 = 1;
    pub(super) const CONNECT: u8 = 2;
    pub(super) const PACKET: u8 = 3;
    pub(super) const FRAME_ERROR: u8 = 4;
    pub(super) const END: u8 = 5;
    pub(super) const OVERDUE: u8 = 6;
    pub(super) const ROOM: u8 = 7;
    pub(super) const ACKNOWLEDGED: u8 = 8;
    pub(super) const VERDICT: u8 = 9;
    pub(super) const STEP: u8 = 10;
    pub(super) const SHUTDOWN: u8 = 11;
    pub(super) const FLUSH: u8 = 12;
    pub(super) const CHECKPOINT: u8 = 13;
    pub(super) const ANSWER_ACKNOWLEDGED: u8 = 32;
    pub(super) const ANSWER_WAITING: u8 = 33;
    pub(super) const ANSWER_FULL: u8 = 34;
    pub(super) const FORETOLD: u8 = 40;
    pub(super) const OUTPUT: u8 = 48;
}

/// Appends what was answered.
pub(super) fn write_answer(answer: Answer, out: &mut Vec<u8>) {
    match answer {
        Answer::Acknowledged(bytes) => {
            out.put_u8(tag::ANSWER_ACKNOWLEDGED);
            put_varint(out, bytes);
        }
        Answer::Waiting { skipped, bytes } => {
            out.put_u8(tag::ANSWER_WAITING);
            put_varint(out, skipped);
            put_varint(out, bytes);
        }
        Answer::Full { skipped } => {
            out.put_u8(tag::ANSWER_FULL);
            put_varint(out, skipped);
        }
    }
}

/// Appends what a search comes to.
pub(super) fn write_foretold(foretold: &Foretold, out: &mut Vec<u8>) {
    out.put_u8(tag::FORETOLD);
    foretold.write(out);
}

/// Appends what came of an input.
pub(super) fn write_output(output: Output, out: &mut Vec<u8>) {
    let [checksum, bytes, packets] =
        [output.checksum, output.bytes, output.packets].map(u32::to_be_bytes);
    // There is one for nearly each input: its fields are put together before they are appended.
    let mut entry = [tag::OUTPUT; 13];
    entry[1..5].copy_from_slice(&checksum);
    entry[5..9].copy_from_slice(&bytes);
    entry[9..].copy_from_slice(&packets);
    out.extend_from_slice(&entry);
}

/// Appends an input. `now` is the time of the turn before, and becomes that of this one.
pub(super) fn write_input(input: &Input<'_>, now: &mut Now, out: &mut Vec<u8>) {
    let tagged = |out: &mut Vec<u8>, tag, connection: &ConnectionId| {
        out.extend_from_slice(&on_connection(tag, *connection));
    };
    match input {
        Input::Turn(next) => {
            out.put_u8(tag::TURN);
            put_varint(out, next.mono.since(now.mono));
            put_varint(out, next.wall.0.saturating_sub(now.wall.0));
            *now = *next;
        }
        Input::Connect { connection, address } => {
            tagged(out, tag::CONNECT, connection);
            address::write(*address, out);
        }
        Input::Packet { connection, frame } => {
            let length = u32::try_from(frame.content.len()).unwrap_or(u32::MAX);
            let mut front = [0; 11];
            front[..5].copy_from_slice(&on_connection(tag::PACKET, *connection));
            front[5] = frame.header.kind as u8;
            front[6] = frame.header.packet_type;
            front[7..].copy_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&front);
            out.extend_from_slice(frame.content);
        }
        Input::FrameError { connection, error } => {
            tagged(out, tag::FRAME_ERROR, connection);
            write_frame_error(error, out);
        }
        Input::End { connection } => tagged(out, tag::END, connection),
        Input::Overdue { connection, overdue } => {
            tagged(out, tag::OVERDUE, connection);
            out.put_u8(match overdue {
                Overdue::Login => 0,
                Overdue::Idle => 1,
                Overdue::Slow => 2,
            });
        }
        Input::Room { connection } => tagged(out, tag::ROOM, connection),
        Input::Acknowledged { connection, bytes } => {
            tagged(out, tag::ACKNOWLEDGED, connection);
            put_varint(out, *bytes);
        }
        Input::Verdict(Verdict { ticket, outcome }) => {
            out.put_u8(tag::VERDICT);
            put_varint(out, *ticket);
            // The hash stands in the log, with the event that it has led to.
            out.put_u8(match outcome {
                Outcome::Matches(false) => 0,
                Outcome::Matches(true) => 1,
                Outcome::Hashed(_) => 2,
                Outcome::MatchesOlder => 3,
            });
        }
        Input::Step => out.put_u8(tag::STEP),
        Input::Shutdown => out.put_u8(tag::SHUTDOWN),
        Input::Flush => out.put_u8(tag::FLUSH),
        Input::Checkpoint => out.put_u8(tag::CHECKPOINT),
    }
}

/// Takes an entry off the front. `now` is the time of the turn before, and becomes that of this one. A password's
/// hash is empty: the log has it.
pub(super) fn read<'a>(reader: &mut Reader<'a>, now: &mut Now) -> Result<Entry<'a>, NoEntry> {
    let input = match reader.u8()? {
        tag::ANSWER_ACKNOWLEDGED => {
            return Ok(Entry::Answer(Answer::Acknowledged(varint(reader)?)));
        }
        tag::ANSWER_WAITING => {
            let (skipped, bytes) = (varint(reader)?, varint(reader)?);
            return Ok(Entry::Answer(Answer::Waiting { skipped, bytes }));
        }
        tag::ANSWER_FULL => return Ok(Entry::Answer(Answer::Full { skipped: varint(reader)? })),
        tag::FORETOLD => return Ok(Entry::Foretold(Foretold::read(reader)?)),
        tag::OUTPUT => {
            let checksum = reader.u32()?;
            let (bytes, packets) = (reader.u32()?, reader.u32()?);
            return Ok(Entry::Output(Output { checksum, bytes, packets }));
        }
        tag => read_input(tag, reader, now)?,
    };
    Ok(Entry::Input(input))
}

fn read_input<'a>(tag: u8, reader: &mut Reader<'a>, now: &mut Now) -> Result<Input<'a>, NoEntry> {
    Ok(match tag {
        tag::TURN => {
            let mono = now.mono.0.checked_add(varint(reader)?).ok_or(NoEntry)?;
            let wall = now.wall.0.checked_add(varint(reader)?).ok_or(NoEntry)?;
            *now = Now { wall: UnixMillis(wall), mono: MonoMillis(mono) };
            Input::Turn(*now)
        }
        tag::CONNECT => Input::Connect {
            connection: connection(reader)?,
            address: address::read(reader).ok_or(NoEntry)?,
        },
        tag::PACKET => Input::Packet { connection: connection(reader)?, frame: frame(reader)? },
        tag::FRAME_ERROR => {
            Input::FrameError { connection: connection(reader)?, error: frame_error(reader)? }
        }
        tag::END => Input::End { connection: connection(reader)? },
        tag::OVERDUE => {
            let connection = connection(reader)?;
            let overdue = match reader.u8()? {
                0 => Overdue::Login,
                1 => Overdue::Idle,
                2 => Overdue::Slow,
                _ => return Err(NoEntry),
            };
            Input::Overdue { connection, overdue }
        }
        tag::ROOM => Input::Room { connection: connection(reader)? },
        tag::ACKNOWLEDGED => {
            Input::Acknowledged { connection: connection(reader)?, bytes: varint(reader)? }
        }
        tag::VERDICT => {
            let ticket = varint(reader)?;
            let outcome = match reader.u8()? {
                0 => Outcome::Matches(false),
                1 => Outcome::Matches(true),
                2 => Outcome::Hashed(Box::default()),
                3 => Outcome::MatchesOlder,
                _ => return Err(NoEntry),
            };
            Input::Verdict(Verdict { ticket, outcome })
        }
        tag::STEP => Input::Step,
        tag::SHUTDOWN => Input::Shutdown,
        tag::FLUSH => Input::Flush,
        tag::CHECKPOINT => Input::Checkpoint,
        _ => return Err(NoEntry),
    })
}

fn frame<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, NoEntry> {
    let kind = kind(reader)?;
    let packet_type = reader.u8()?;
    let content_length = reader.u32()?;
    if content_length > CONTENT_BYTES_IN_SESSION {
        return Err(NoEntry);
    }
    let content = reader.take(usize::try_from(content_length).map_err(|_| NoEntry)?)?;
    Ok(Frame { header: Header { kind, packet_type, content_length }, content })
}

/// How each entry begins that is about a connection. There are never as many connections as there are numbers.
fn on_connection(tag: u8, connection: ConnectionId) -> [u8; 5] {
    let [a, b, c, d] = u32::try_from(connection.0).unwrap_or(u32::MAX).to_be_bytes();
    [tag, a, b, c, d]
}

fn write_frame_error(error: &FrameError, out: &mut Vec<u8>) {
    match error {
        FrameError::FirstByte(byte) => out.extend_from_slice(&[0, *byte]),
        FrameError::Sender(byte) => out.extend_from_slice(&[1, *byte]),
        FrameError::SenderChanged { was, is } => {
            out.extend_from_slice(&[2, *was as u8, *is as u8]);
        }
        FrameError::Receiver(byte) => out.extend_from_slice(&[3, *byte]),
        FrameError::TooLarge { kind, packet_type, content_length, content_bytes_max } => {
            out.extend_from_slice(&[4, *kind as u8, *packet_type]);
            out.put_u32(*content_length);
            out.put_u32(*content_bytes_max);
        }
    }
}

fn frame_error(reader: &mut Reader<'_>) -> Result<FrameError, NoEntry> {
    Ok(match reader.u8()? {
        0 => FrameError::FirstByte(reader.u8()?),
        1 => FrameError::Sender(reader.u8()?),
        2 => FrameError::SenderChanged { was: kind(reader)?, is: kind(reader)? },
        3 => FrameError::Receiver(reader.u8()?),
        4 => FrameError::TooLarge {
            kind: kind(reader)?,
            packet_type: reader.u8()?,
            content_length: reader.u32()?,
            content_bytes_max: reader.u32()?,
        },
        _ => return Err(NoEntry),
    })
}

fn kind(reader: &mut Reader<'_>) -> Result<Kind, NoEntry> {
    Kind::of_sender(reader.u8()?).ok_or(NoEntry)
}

fn connection(reader: &mut Reader<'_>) -> Result<ConnectionId, NoEntry> {
    usize::try_from(reader.u32()?).map(ConnectionId).map_err(|_| NoEntry)
}

/// Seven bits a byte, from the lowest up; the highest bit says that there is more.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn varint(reader: &mut Reader<'_>) -> Result<u64, NoEntry> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = reader.u8()?;
        let bits = u64::from(byte & 0x7F);
        if bits << shift >> shift != bits {
            return Err(NoEntry);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(NoEntry)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::engine::Foregone;
    use crate::id::ServiceNumber;

    const EARLIER: Now = Now { wall: UnixMillis(1_000), mono: MonoMillis(70) };

    fn inputs() -> Vec<Input<'static>> {
        let connection = ConnectionId(300);
        let header = Header { kind: Kind::User, packet_type: 0x16, content_length: 4 };
        let errors = [
            FrameError::FirstByte(0x80),
            FrameError::Sender(9),
            FrameError::SenderChanged { was: Kind::Web, is: Kind::Fax },
            FrameError::Receiver(3),
            FrameError::TooLarge {
                kind: Kind::User,
                packet_type: 1,
                content_length: u32::MAX,
                content_bytes_max: 8_192,
            },
        ];
        let mut inputs = vec![
            Input::Turn(Now { wall: UnixMillis(1_500), mono: MonoMillis(70) }),
            Input::Connect { connection, address: Ipv4Addr::LOCALHOST.into() },
            Input::Connect { connection, address: Ipv6Addr::LOCALHOST.into() },
            Input::Packet { connection, frame: Frame { header, content: &[0, 0, 39, 17] } },
            Input::End { connection },
            Input::Overdue { connection, overdue: Overdue::Login },
            Input::Overdue { connection, overdue: Overdue::Idle },
            Input::Overdue { connection, overdue: Overdue::Slow },
            Input::Room { connection },
            Input::Acknowledged { connection, bytes: u64::MAX },
            Input::Verdict(Verdict { ticket: 128, outcome: Outcome::Matches(true) }),
            Input::Verdict(Verdict { ticket: 127, outcome: Outcome::Matches(false) }),
            Input::Verdict(Verdict { ticket: 0, outcome: Outcome::Hashed(Box::default()) }),
            Input::Verdict(Verdict { ticket: 129, outcome: Outcome::MatchesOlder }),
            Input::Step,
            Input::Shutdown,
            Input::Flush,
            Input::Checkpoint,
        ];
        inputs.extend(errors.map(|error| Input::FrameError { connection, error }));
        inputs
    }

    fn entries() -> Vec<Entry<'static>> {
        let mut entries: Vec<_> = inputs().into_iter().map(Entry::Input).collect();
        entries.extend([
            Entry::Answer(Answer::Acknowledged(16_384)),
            Entry::Answer(Answer::Waiting { skipped: 0, bytes: 262_145 }),
            Entry::Answer(Answer::Full { skipped: 7 }),
            Entry::Foretold(Foretold::Refused(77)),
            Entry::Foretold(Foretold::Found(Foregone {
                slices: 3,
                users: vec![ServiceNumber(10_005), ServiceNumber(10_001)],
            })),
            Entry::Output(Output { checksum: 0xDEAD_BEEF, bytes: 1, packets: u32::MAX }),
        ]);
        entries
    }

    fn write(entry: &Entry<'_>, now: &mut Now, out: &mut Vec<u8>) {
        match entry {
            Entry::Input(input) => write_input(input, now, out),
            Entry::Answer(answer) => write_answer(*answer, out),
            Entry::Foretold(foretold) => write_foretold(foretold, out),
            Entry::Output(output) => write_output(*output, out),
        }
    }

    #[test]
    fn every_entry_comes_back_as_it_was_written() {
        let (mut bytes, mut now) = (Vec::new(), EARLIER);
        entries().iter().for_each(|entry| write(entry, &mut now, &mut bytes));
        let (mut reader, mut now) = (Reader::new(&bytes), EARLIER);
        for entry in entries() {
            let read = read(&mut reader, &mut now).unwrap();
            assert_eq!(format!("{read:?}"), format!("{entry:?}"));
        }
        assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn half_an_entry_is_none() {
        for entry in entries() {
            let mut bytes = Vec::new();
            write(&entry, &mut EARLIER.clone(), &mut bytes);
            for length in 0..bytes.len() {
                let half = read(&mut Reader::new(&bytes[..length]), &mut EARLIER.clone());
                assert!(half.is_err(), "{length} bytes of {entry:?}");
            }
        }
    }

    #[test]
    fn numbers_beyond_64_bits_and_times_beyond_all_are_none() {
        let too_long =
            [tag::ANSWER_ACKNOWLEDGED, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02];
        assert!(read(&mut Reader::new(&too_long), &mut EARLIER.clone()).is_err());
        let mut late = vec![tag::TURN];
        put_varint(&mut late, u64::MAX);
        put_varint(&mut late, 0);
        assert!(read(&mut Reader::new(&late), &mut EARLIER.clone()).is_err());
    }

    #[test]
    fn a_hash_is_not_written() {
        let outcome = Outcome::Hashed("$argon2id$secret".into());
        let mut bytes = Vec::new();
        let verdict = Entry::Input(Input::Verdict(Verdict { ticket: 1, outcome }));
        write(&verdict, &mut EARLIER.clone(), &mut bytes);
        assert_eq!(bytes, [tag::VERDICT, 1, 2]);
    }
}
