//! Cuts a stream of bytes into packets. It judges the header alone, field by field as soon as each is
//! there, and never copies or keeps a byte.

use byteorder::ByteOrder;

use super::{FIRST_BYTE, Kind, RequestType};
use crate::codec::Order;
use crate::limits::HEADER_BYTES;

/// What the header of a client's next packet has to keep to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// The kind that the connection's first packet had; any before it.
    pub kind: Option<Kind>,
    /// The longest content in bytes.
    pub content_bytes_max: u32,
}

/// A header that keeps to what was expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The kind of the sender.
    pub kind: Kind,
    /// The packet's type, known or not.
    pub packet_type: u8,
    /// The length of the content in bytes.
    pub content_length: u32,
}

/// A whole packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// Its content.
    pub content: &'a [u8],
}

impl Frame<'_> {
    /// The length of header and content in bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        HEADER_BYTES + self.content.len()
    }
}

/// Why the bytes cannot be a packet of this connection. Each is a violation. Protocol section 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// The first byte is another.
    FirstByte(u8),
    /// The sender's kind is unknown or not allowed.
    Sender(u8),
    /// The sender's kind is another than in the packets before.
    SenderChanged {
        /// The kind so far.
        was: Kind,
        /// The kind now.
        is: Kind,
    },
    /// The receiver is not the server.
    Receiver(u8),
    /// The content is longer than allowed.
    TooLarge {
        /// The kind of the sender.
        kind: Kind,
        /// The packet's type, known or not.
        packet_type: u8,
        /// What the header says, in bytes.
        content_length: u32,
        /// What is allowed, in bytes.
        content_bytes_max: u32,
    },
}

/// The packet at the start of `bytes`, or `None` as long as it is not complete and nothing is wrong with
/// what there is of it.
pub fn cut(bytes: &[u8], expected: Expected) -> Result<Option<Frame<'_>>, FrameError> {
    Ok(header(bytes, expected)?.and_then(|header| whole(bytes, header)))
}

/// The same for packets that the server sends to a client of this kind. (Before it has seen a valid
/// kind, the server takes every client for a user's.) The header's kind is the client's.
pub fn cut_for_client(
    bytes: &[u8],
    kind: Kind,
    content_bytes_max: u32,
) -> Result<Option<Frame<'_>>, FrameError> {
    Ok(header_for_client(bytes, kind, content_bytes_max)?.and_then(|header| whole(bytes, header)))
}

/// Whether a password may stand in what is left of a client's stream: in a packet, in the part of one that has come,
/// or in what is no packet.
#[must_use]
pub fn may_have_password(mut bytes: &[u8]) -> bool {
    while let Some(&first) = bytes.first() {
        // The content begins behind the header.
        let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else {
            return first != FIRST_BYTE;
        };
        let known = RequestType::from_byte(header[3]);
        if first != FIRST_BYTE || known.is_some_and(RequestType::has_password) {
            return true;
        }
        let length = usize::try_from(Order::read_u32(&header[4..])).unwrap_or(usize::MAX);
        bytes = rest.get(length..).unwrap_or_default();
    }
    false
}

fn whole(bytes: &[u8], header: Header) -> Option<Frame<'_>> {
    let Ok(length) = usize::try_from(header.content_length) else { return None };
    bytes[HEADER_BYTES..].get(..length).map(|content| Frame { header, content })
}

fn header(bytes: &[u8], expected: Expected) -> Result<Option<Header>, FrameError> {
    match bytes.first() {
        Some(&FIRST_BYTE) | None => {}
        Some(&other) => return Err(FrameError::FirstByte(other)),
    }
    let Some(&sender) = bytes.get(1) else { return Ok(None) };
    let kind = Kind::of_sender(sender).ok_or(FrameError::Sender(sender))?;
    if let Some(was) = expected.kind.filter(|was| *was != kind) {
        return Err(FrameError::SenderChanged { was, is: kind });
    }
    match bytes.get(2) {
        Some(&receiver) if receiver == Kind::Server as u8 => {}
        Some(&receiver) => return Err(FrameError::Receiver(receiver)),
        None => return Ok(None),
    }
    sized(bytes, kind, expected.content_bytes_max)
}

fn header_for_client(
    bytes: &[u8],
    kind: Kind,
    content_bytes_max: u32,
) -> Result<Option<Header>, FrameError> {
    match *bytes {
        [] | [FIRST_BYTE] => Ok(None),
        [FIRST_BYTE, sender, ..] if sender != Kind::Server as u8 => Err(FrameError::Sender(sender)),
        [FIRST_BYTE, _, receiver, ..]
            if ![kind, Kind::User].iter().any(|k| *k as u8 == receiver) =>
        {
            Err(FrameError::Receiver(receiver))
        }
        [FIRST_BYTE, ..] => sized(bytes, kind, content_bytes_max),
        [other, ..] => Err(FrameError::FirstByte(other)),
    }
}

/// The header, once all of it is there; the bytes before the type have been judged.
fn sized(bytes: &[u8], kind: Kind, content_bytes_max: u32) -> Result<Option<Header>, FrameError> {
    let Some(fields) = bytes.get(3..HEADER_BYTES) else { return Ok(None) };
    let (packet_type, content_length) = (fields[0], Order::read_u32(&fields[1..]));
    if content_length > content_bytes_max {
        return Err(FrameError::TooLarge { kind, packet_type, content_length, content_bytes_max });
    }
    Ok(Some(Header { kind, packet_type, content_length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Expected = Expected { kind: None, content_bytes_max: 100 };

    #[test]
    fn a_packet_is_cut_as_soon_as_it_is_complete_and_not_before() {
        let bytes = [0x81, 0x0A, 0x01, 0x16, 0, 0, 0, 4, 0, 0, 0, 0, 0x81];
        for length in 0..12 {
            assert_eq!(cut(&bytes[..length], ANY), Ok(None), "{length} bytes");
        }
        for length in 12..=13 {
            let frame = cut(&bytes[..length], ANY).unwrap().unwrap();
            assert_eq!(frame.header.packet_type, 0x16);
            assert_eq!(frame.content, [0; 4]);
            assert_eq!(frame.length(), 12);
        }
    }

    #[test]
    fn each_field_is_judged_as_soon_as_it_is_there_and_in_order() {
        assert_eq!(cut(&[0x80], ANY), Err(FrameError::FirstByte(0x80)));
        assert_eq!(cut(&[0x81, 0x01], ANY), Err(FrameError::Sender(0x01)));
        assert_eq!(cut(&[0x81, 0x06, 0x09], ANY), Err(FrameError::Sender(0x06)));
        assert_eq!(cut(&[0x81, 0x0A, 0x0A], ANY), Err(FrameError::Receiver(0x0A)));
        let web = Expected { kind: Some(Kind::Web), ..ANY };
        assert_eq!(
            cut(&[0x81, 0x0A], web),
            Err(FrameError::SenderChanged { was: Kind::Web, is: Kind::User })
        );
        assert_eq!(
            cut(&[0x81, 0x0A, 0x01, 0x16, 0, 0, 0, 101], ANY),
            Err(FrameError::TooLarge {
                kind: Kind::User,
                packet_type: 0x16,
                content_length: 101,
                content_bytes_max: 100
            })
        );
        let endless = [0x81, 0x0A, 0x01, 0x16, 0xFF, 0xFF, 0xFF, 0xFF];
        assert_eq!(cut(&endless[..7], ANY), Ok(None));
        assert!(matches!(cut(&endless, ANY), Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn a_password_may_be_in_any_part_of_what_came() {
        let packet = |packet_type: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).unwrap();
            [&[0x81, 0x0A, 0x01, packet_type, 0, 0, 0, length][..], content].concat()
        };
        let (test, message) = (packet(0x16, &[0; 4]), packet(0x03, b"a password: secret"));
        assert!(!may_have_password(&[]));
        for login in [0x01, 0x02, 0x12].map(|packet_type| packet(packet_type, b"secret")) {
            let bytes = [&test[..], &message, &login].concat();
            for length in 0..=bytes.len() {
                let has_come = length >= test.len() + message.len() + HEADER_BYTES;
                assert_eq!(may_have_password(&bytes[..length]), has_come, "{length}");
            }
            assert!(may_have_password(&[&login[..], &test].concat()));
        }
        assert!(may_have_password(b"secret") && may_have_password(b"secret, and more of it"));
        assert!(may_have_password(&[&test[..], b"x"].concat()));
        assert!(!may_have_password(&[0x81, 0x0A, 0x01, 0x16, 0xFF, 0xFF, 0xFF, 0xFF, 7]));
    }

    #[test]
    fn packets_to_a_client_come_from_the_server_alone() {
        let bytes = [0x81, 0x01, 0x0A, 0x16, 0, 0, 0, 4, 0, 0, 0, 0];
        for length in 0..12 {
            assert_eq!(cut_for_client(&bytes[..length], Kind::User, 4), Ok(None), "{length} bytes");
        }
        let frame = cut_for_client(&bytes, Kind::Fax, 4).unwrap().unwrap();
        assert_eq!((frame.header.packet_type, frame.length()), (0x16, 12));
        assert!(matches!(cut_for_client(&bytes, Kind::User, 3), Err(FrameError::TooLarge { .. })));
        assert_eq!(cut_for_client(&[0x80], Kind::User, 4), Err(FrameError::FirstByte(0x80)));
        assert_eq!(cut_for_client(&[0x81, 0x0A], Kind::User, 4), Err(FrameError::Sender(0x0A)));
        assert_eq!(cut_for_client(&[0x81, 1, 2], Kind::User, 4), Err(FrameError::Receiver(2)));
    }
}
