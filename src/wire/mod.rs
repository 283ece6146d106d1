//! Bytes ↔ packets, in both directions: the one home of the protocol's layouts, for the server, the
//! tools and the tests. It knows nothing of users or connections, and allows whatever the layout allows:
//! values are judged in `state::decide`. The layouts are drawn in `PROTOCOL.md` beside this file.

pub mod blank;
pub mod client;
pub mod frame;
pub mod notice;
pub mod server;

use std::fmt;

pub use client::{ClientPacket, Request, RequestType};
pub use frame::{Expected, Frame, FrameError, Header, cut, cut_for_client, may_have_password};
pub use notice::{Code, Notice};
pub use server::ServerPacket;

/// The first byte of every packet.
pub const FIRST_BYTE: u8 = 0x81;

/// What a program is, as headers say it. Protocol section 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// The OICQ server itself.
    Server = 0x01,
    /// A fax server.
    Fax = 0x02,
    /// A web server that carries one user's session.
    Web = 0x03,
    /// A print server.
    Print = 0x04,
    /// A chat server.
    Chat = 0x05,
    /// A user's own client.
    User = 0x0A,
}

impl Kind {
    /// The kind that a sender's byte names; the server itself is none.
    #[must_use]
    pub const fn of_sender(byte: u8) -> Option<Self> {
        match byte {
            0x02 => Some(Self::Fax),
            0x03 => Some(Self::Web),
            0x04 => Some(Self::Print),
            0x05 => Some(Self::Chat),
            0x0A => Some(Self::User),
            _ => None,
        }
    }

    /// Whether an account must have been named as this kind when the server was started.
    #[must_use]
    pub const fn is_service(self) -> bool {
        matches!(self, Self::Fax | Self::Print | Self::Chat)
    }
}

/// The content does not fit the packet's type: fields are missing, or bytes are left over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl From<crate::codec::Short> for Malformed {
    fn from(_: crate::codec::Short) -> Self {
        Self
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the content does not fit the packet's type")
    }
}

impl std::error::Error for Malformed {}

/// Reads all of `content` with `fields`; nothing may be left over.
fn whole<'a, T>(
    content: &'a [u8],
    fields: impl FnOnce(&mut crate::codec::Reader<'a>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let mut reader = crate::codec::Reader::new(content);
    let value = fields(&mut reader)?;
    if reader.remaining() == 0 { Ok(value) } else { Err(Malformed) }
}

/// Appends a packet: its header, and what `content` writes behind it.
fn framed(
    sender: Kind,
    receiver: Kind,
    kind: u8,
    out: &mut Vec<u8>,
    content: impl FnOnce(&mut Vec<u8>),
) {
    use crate::limits::HEADER_BYTES;
    let start = out.len();
    out.extend_from_slice(&[FIRST_BYTE, sender as u8, receiver as u8, kind, 0, 0, 0, 0]);
    content(out);
    let length = u32::try_from(out.len() - start - HEADER_BYTES).unwrap_or(u32::MAX);
    out[start + 4..start + HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
}
