//! Packets from clients: what they ask for. Protocol section 4.

use super::{Kind, Malformed, framed, whole};
use crate::codec::packed::Moves;
use crate::codec::profile::Profile;
use crate::codec::secret::Secret;
use crate::codec::{Reader, Write};
use crate::id::{GroupNumber, Seq, ServiceNumber};

macro_rules! request_types {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// The types of packets that clients send.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum RequestType { $($(#[$doc])* $name = $value,)* }

        impl RequestType {
            /// All types, in ascending order of their bytes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The type that a header's byte names.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($value => Some(Self::$name),)* _ => None }
            }
        }
    };
}

request_types! {
    /// Register a new user.
    Register = 0x01,
    /// Log in.
    LogIn = 0x02,
    /// Send a message.
    Send = 0x03,
    /// Broadcast to a group of one's friends.
    Broadcast = 0x04,
    /// Look at someone's profile.
    ViewProfile = 0x05,
    /// Add a group.
    AddGroup = 0x06,
    /// Rename a group.
    RenameGroup = 0x07,
    /// Delete a group.
    DeleteGroup = 0x08,
    /// Move friends to groups.
    MoveFriends = 0x09,
    /// Who is online.
    ListOnline = 0x0A,
    /// Search users by a statement.
    Search = 0x0B,
    /// Add a friend.
    AddFriend = 0x0C,
    /// Ask to be allowed to add a friend.
    RequestFriend = 0x0D,
    /// Delete a friend.
    DeleteFriend = 0x0E,
    /// Change how one is shown, or log out.
    SetMode = 0x10,
    /// Monitor someone's conversations.
    Monitor = 0x11,
    /// Change one's profile.
    ChangeProfile = 0x12,
    /// Offer a file.
    OfferFile = 0x13,
    /// Allow or reject a file.
    AnswerFile = 0x14,
    /// A piece of a file.
    FilePiece = 0x15,
    /// Connection test.
    Test = 0x16,
    /// Answer a friend request.
    AnswerRequest = 0x17,
    /// Which extensions the connection would like.
    WantExtensions = 0x40,
    /// Messages have arrived. Known only on connections with message ids.
    Arrived = 0x42,
}

impl RequestType {
    /// Whether the packet begins with the sender's own number.
    #[must_use]
    pub const fn has_own_number(self) -> bool {
        !matches!(self, Self::Register | Self::WantExtensions)
    }

    /// Whether the packet may come without a session. Protocol section 3.
    #[must_use]
    pub const fn needs_session(self) -> bool {
        !matches!(self, Self::Register | Self::LogIn | Self::Test | Self::WantExtensions)
    }
}

/// What a new user gives, or a user changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account<'a> {
    /// What others can look at.
    pub profile: Profile<'a>,
    /// 6 to 64 bytes; empty in a change that keeps the old one.
    pub password: Secret<'a>,
    /// 0 anyone may add this user, 1 ask first, 2 nobody may; 255 in a change that keeps the old setting.
    pub authentication: u8,
}

impl<'a> Account<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let (profile, password) = Profile::read_around(reader, Reader::string)?;
        Ok(Self { profile, password: Secret::new(password), authentication: reader.u8()? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.profile.write_around(out, |out| out.put_string(self.password.expose()));
        out.put_u8(self.authentication);
    }
}

/// What a packet from a client asks for. Values are as they came: nothing but the layout has been checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are those of the protocol's section 4")]
pub enum Request<'a> {
    Register(Account<'a>),
    LogIn { password: Secret<'a>, mode: u8 },
    Send { receiver: ServiceNumber, content: &'a [u8] },
    Broadcast { group: u32, content: &'a [u8] },
    ViewProfile { friend: ServiceNumber },
    AddGroup { name: &'a [u8] },
    RenameGroup { group: GroupNumber, name: &'a [u8] },
    DeleteGroup { group: GroupNumber },
    MoveFriends(Moves<'a>),
    ListOnline { start: ServiceNumber, count: u8, direction: u8 },
    Search { statement: &'a [u8] },
    AddFriend { friend: ServiceNumber },
    RequestFriend { friend: ServiceNumber, reason: &'a [u8] },
    DeleteFriend { friend: ServiceNumber },
    SetMode { mode: u8 },
    Monitor { watched: ServiceNumber },
    ChangeProfile(Account<'a>),
    OfferFile { friend: ServiceNumber, name: &'a [u8], length: u32 },
    AnswerFile { friend: ServiceNumber, allow: u8 },
    FilePiece { friend: ServiceNumber, data: &'a [u8] },
    Test,
    AnswerRequest { friend: ServiceNumber, consent: u8 },
    WantExtensions { wanted: u32 },
    Arrived { through: Seq },
}

/// A packet from a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientPacket<'a> {
    /// The number that the sender says it has; [`ServiceNumber::NONE`] in the types that do not carry one.
    pub own: ServiceNumber,
    /// What it asks for.
    pub request: Request<'a>,
}

impl<'a> ClientPacket<'a> {
    /// Reads a packet's content. Every byte of it must belong to a field.
    pub fn decode(packet_type: RequestType, content: &'a [u8]) -> Result<Self, Malformed> {
        whole(content, |reader| {
            let own = if packet_type.has_own_number() {
                ServiceNumber(reader.u32()?)
            } else {
                ServiceNumber::NONE
            };
            Ok(Self { own, request: Request::read(packet_type, reader)? })
        })
    }

    /// Appends the packet with its header.
    pub fn encode(&self, sender: Kind, out: &mut Vec<u8>) {
        let packet_type = self.request.packet_type();
        framed(sender, Kind::Server, packet_type as u8, out, |out| {
            if packet_type.has_own_number() {
                out.put_u32(self.own.0);
            }
            self.request.write(out);
        });
    }
}

fn number(reader: &mut Reader<'_>) -> Result<ServiceNumber, Malformed> {
    Ok(ServiceNumber(reader.u32()?))
}

fn group(reader: &mut Reader<'_>) -> Result<GroupNumber, Malformed> {
    Ok(GroupNumber(reader.u8()?))
}

fn read_moves<'a>(reader: &mut Reader<'a>) -> Result<Moves<'a>, Malformed> {
    let count = usize::from(reader.u8()?);
    Ok(Moves::over(reader.take(count * Moves::ITEM_BYTES)?)?)
}

impl<'a> Request<'a> {
    /// The type of the packet that carries this request.
    #[must_use]
    pub const fn packet_type(&self) -> RequestType {
        match self {
            Self::Register(_) => RequestType::Register,
            Self::LogIn { .. } => RequestType::LogIn,
            Self::Send { .. } => RequestType::Send,
            Self::Broadcast { .. } => RequestType::Broadcast,
            Self::ViewProfile { .. } => RequestType::ViewProfile,
            Self::AddGroup { .. } => RequestType::AddGroup,
            Self::RenameGroup { .. } => RequestType::RenameGroup,
            Self::DeleteGroup { .. } => RequestType::DeleteGroup,
            Self::MoveFriends(_) => RequestType::MoveFriends,
            Self::ListOnline { .. } => RequestType::ListOnline,
            Self::Search { .. } => RequestType::Search,
            Self::AddFriend { .. } => RequestType::AddFriend,
            Self::RequestFriend { .. } => RequestType::RequestFriend,
            Self::DeleteFriend { .. } => RequestType::DeleteFriend,
            Self::SetMode { .. } => RequestType::SetMode,
            Self::Monitor { .. } => RequestType::Monitor,
            Self::ChangeProfile(_) => RequestType::ChangeProfile,
            Self::OfferFile { .. } => RequestType::OfferFile,
            Self::AnswerFile { .. } => RequestType::AnswerFile,
            Self::FilePiece { .. } => RequestType::FilePiece,
            Self::Test => RequestType::Test,
            Self::AnswerRequest { .. } => RequestType::AnswerRequest,
            Self::WantExtensions { .. } => RequestType::WantExtensions,
            Self::Arrived { .. } => RequestType::Arrived,
        }
    }

    fn read(packet_type: RequestType, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match packet_type {
            RequestType::Register => Self::Register(Account::read(reader)?),
            RequestType::LogIn => {
                Self::LogIn { password: Secret::new(reader.string()?), mode: reader.u8()? }
            }
            RequestType::Send => {
                Self::Send { receiver: number(reader)?, content: reader.string()? }
            }
            RequestType::Broadcast => {
                Self::Broadcast { group: reader.u32()?, content: reader.string()? }
            }
            RequestType::ViewProfile => Self::ViewProfile { friend: number(reader)? },
            RequestType::AddGroup => Self::AddGroup { name: reader.string()? },
            RequestType::RenameGroup => {
                Self::RenameGroup { group: group(reader)?, name: reader.string()? }
            }
            RequestType::DeleteGroup => Self::DeleteGroup { group: group(reader)? },
            RequestType::MoveFriends => Self::MoveFriends(read_moves(reader)?),
            RequestType::ListOnline => Self::ListOnline {
                start: number(reader)?,
                count: reader.u8()?,
                direction: reader.u8()?,
            },
            RequestType::Search => Self::Search { statement: reader.string()? },
            RequestType::AddFriend => Self::AddFriend { friend: number(reader)? },
            RequestType::RequestFriend => {
                Self::RequestFriend { friend: number(reader)?, reason: reader.string()? }
            }
            RequestType::DeleteFriend => Self::DeleteFriend { friend: number(reader)? },
            RequestType::SetMode => Self::SetMode { mode: reader.u8()? },
            RequestType::Monitor => Self::Monitor { watched: number(reader)? },
            RequestType::ChangeProfile => Self::ChangeProfile(Account::read(reader)?),
            RequestType::OfferFile => Self::OfferFile {
                friend: number(reader)?,
                name: reader.string()?,
                length: reader.u32()?,
            },
            RequestType::AnswerFile => {
                Self::AnswerFile { friend: number(reader)?, allow: reader.u8()? }
            }
            RequestType::FilePiece => {
                Self::FilePiece { friend: number(reader)?, data: reader.rest() }
            }
            RequestType::Test => Self::Test,
            RequestType::AnswerRequest => {
                Self::AnswerRequest { friend: number(reader)?, consent: reader.u8()? }
            }
            RequestType::WantExtensions => Self::WantExtensions { wanted: reader.u32()? },
            RequestType::Arrived => Self::Arrived { through: Seq(reader.u64()?) },
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Register(ref account) | Self::ChangeProfile(ref account) => account.write(out),
            Self::LogIn { password, mode } => {
                out.put_string(password.expose());
                out.put_u8(mode);
            }
            Self::Send { receiver, content } => {
                out.put_u32(receiver.0);
                out.put_string(content);
            }
            Self::Broadcast { group, content } => {
                out.put_u32(group);
                out.put_string(content);
            }
            Self::ViewProfile { friend }
            | Self::AddFriend { friend }
            | Self::DeleteFriend { friend } => out.put_u32(friend.0),
            Self::AddGroup { name } => out.put_string(name),
            Self::RenameGroup { group, name } => {
                out.put_u8(group.0);
                out.put_string(name);
            }
            Self::DeleteGroup { group } => out.put_u8(group.0),
            Self::MoveFriends(moves) => {
                // A packet counts them in one byte: whoever asks for more moves the first 255.
                let count = u8::try_from(moves.len()).unwrap_or(u8::MAX);
                out.put_u8(count);
                out.extend_from_slice(&moves.as_bytes()[..usize::from(count) * Moves::ITEM_BYTES]);
            }
            Self::ListOnline { start, count, direction } => {
                out.put_u32(start.0);
                out.put_u8(count);
                out.put_u8(direction);
            }
            Self::Search { statement } => out.put_string(statement),
            Self::RequestFriend { friend, reason } => {
                out.put_u32(friend.0);
                out.put_string(reason);
            }
            Self::SetMode { mode } => out.put_u8(mode),
            Self::Monitor { watched } => out.put_u32(watched.0),
            Self::OfferFile { friend, name, length } => {
                out.put_u32(friend.0);
                out.put_string(name);
                out.put_u32(length);
            }
            Self::AnswerFile { friend, allow } => {
                out.put_u32(friend.0);
                out.put_u8(allow);
            }
            Self::FilePiece { friend, data } => {
                out.put_u32(friend.0);
                out.extend_from_slice(data);
            }
            Self::Test => {}
            Self::AnswerRequest { friend, consent } => {
                out.put_u32(friend.0);
                out.put_u8(consent);
            }
            Self::WantExtensions { wanted } => out.put_u32(wanted),
            Self::Arrived { through } => out.put_u64(through.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_moves_than_a_packet_counts_still_make_a_packet() {
        let bytes = Moves::pack((0..300).map(|friend| (ServiceNumber(friend), GroupNumber(1))));
        let request = Request::MoveFriends(Moves::over(&bytes).unwrap());
        let mut packet = Vec::new();
        ClientPacket { own: ServiceNumber(1), request }.encode(Kind::User, &mut packet);
        let decoded = ClientPacket::decode(RequestType::MoveFriends, &packet[8..]).unwrap();
        let Request::MoveFriends(moves) = decoded.request else { panic!("{decoded:?}") };
        assert_eq!(moves.len(), 255);
    }

    #[test]
    fn the_protocols_worked_registration_is_reproduced_byte_by_byte() {
        let account = Account {
            profile: Profile { nickname: b"ann", ..Profile::default() },
            password: Secret::new(b"secret"),
            authentication: 0,
        };
        let packet = ClientPacket { own: ServiceNumber::NONE, request: Request::Register(account) };
        let mut bytes = Vec::new();
        packet.encode(Kind::User, &mut bytes);
        assert_eq!(bytes[..8], [0x81, 0x0A, 0x01, 0x01, 0, 0, 0, 0x2A]);
        assert_eq!(bytes[8..13], [0, 3, b'a', b'n', b'n']);
        assert_eq!(bytes[13..23], [0, 0, 0, 6, b's', b'e', b'c', b'r', b'e', b't']);
        assert_eq!(bytes[23..], [0; 27]);
        assert_eq!(ClientPacket::decode(RequestType::Register, &bytes[8..]), Ok(packet));
    }
}
