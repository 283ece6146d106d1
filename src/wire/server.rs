//! Packets from the server: replies, messages and what is passed on from other clients. Protocol section 6.

use super::{Kind, Malformed, framed, whole};
use crate::codec::profile::Profile;
use crate::codec::{Reader, Write};
use crate::id::{GroupNumber, Seq, ServiceNumber, UnixMillis};

/// The sign of a `0x03`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// From the system, of this kind.
    System(SystemKind),
    /// From a user.
    User,
}

/// The kinds of system messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum SystemKind {
    /// The server says why it did not do something.
    Notice = 0,
    /// The numbered user has added you.
    Added = 1,
    /// The numbered user asks to add you; the text is the reason.
    Asks = 2,
    /// The numbered user agreed.
    Agreed = 3,
    /// The numbered user refused.
    Refused = 4,
}

impl SystemKind {
    /// The kind that a packet's byte names.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Notice),
            1 => Some(Self::Added),
            2 => Some(Self::Asks),
            3 => Some(Self::Agreed),
            4 => Some(Self::Refused),
            _ => None,
        }
    }
}

/// How one user looks to another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Presence {
    /// Online.
    Online = 1,
    /// Online, and asks not to be disturbed.
    DoNotDisturb = 3,
    /// Offline, or hidden.
    Offline = 4,
}

impl Presence {
    /// The state that a packet's byte names.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Online),
            3 => Some(Self::DoNotDisturb),
            4 => Some(Self::Offline),
            _ => None,
        }
    }
}

/// Extensions that a connection may have: a sum of flags. Protocol section 6, "Extensions".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extensions(u8);

impl Extensions {
    /// Every packet is answered with a result.
    pub const RESULTS: Self = Self(1);
    /// Messages carry ids, and are delivered when the client says so.
    pub const MESSAGE_IDS: Self = Self(2);
    /// Changes of friends' visible states are told.
    pub const PRESENCE: Self = Self(4);
    /// All that this server has.
    pub const ALL: Self = Self(7);

    /// What is granted of a sum that a client wants.
    #[must_use]
    pub const fn grant(wanted: u32) -> Self {
        // Only the lowest byte has flags that are granted.
        Self(wanted.to_be_bytes()[3] & Self::ALL.0)
    }

    /// Whether all of these are among them.
    #[must_use]
    pub const fn have(self, these: Self) -> bool {
        self.0 & these.0 == these.0
    }

    /// The sum, as packets carry it.
    #[must_use]
    pub const fn sum(self) -> u32 {
        self.0 as u32
    }
}

/// A group in the reply to a login.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are those of the protocol's section 6")]
pub struct GroupEntry<'a> {
    pub name: &'a [u8],
    pub group: GroupNumber,
    /// Up to 255, in ascending order of their numbers.
    pub friends: Vec<FriendEntry<'a>>,
}

/// A friend in the reply to a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are those of the protocol's section 6")]
pub struct FriendEntry<'a> {
    pub number: ServiceNumber,
    pub portrait: u8,
    pub state: Presence,
    pub nickname: &'a [u8],
}

impl<'a> FriendEntry<'a> {
    /// Where the state stands in the bytes of an entry.
    const STATE_AT: usize = 4 + 1;

    /// Appends the entry.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.put_u32(self.number.0);
        out.put_u8(self.portrait);
        out.put_u8(self.state as u8);
        out.put_string(self.nickname);
    }

    /// Takes an entry off the front.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            number: number(reader)?,
            portrait: reader.u8()?,
            state: Presence::from_byte(reader.u8()?).ok_or(Malformed)?,
            nickname: reader.string()?,
        })
    }

    /// Changes the state in the first of these entries, if it is that of the friend. Answers how long the entry is.
    pub fn set_state(entries: &mut [u8], friend: ServiceNumber, state: Presence) -> Option<usize> {
        let mut reader = Reader::new(entries);
        let first = FriendEntry::read(&mut reader).ok().filter(|first| first.number == friend)?;
        let length = Self::STATE_AT + 1 + 2 + first.nickname.len();
        entries[Self::STATE_AT] = state as u8;
        Some(length)
    }
}

/// A user in the lists of those online and of those found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are those of the protocol's section 6")]
pub struct UserEntry<'a> {
    pub number: ServiceNumber,
    pub nickname: &'a [u8],
    pub portrait: u16,
    pub province: u8,
    pub city: &'a [u8],
}

/// A packet from the server. In failure replies what is not known is 0 or empty.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are those of the protocol's section 6")]
pub enum ServerPacket<'a> {
    Registered {
        success: bool,
        number: ServiceNumber,
    },
    LoggedIn {
        success: bool,
        groups: Vec<GroupEntry<'a>>,
    },
    Message {
        sign: Sign,
        number: ServiceNumber,
        text: &'a [u8],
    },
    Profile {
        success: bool,
        number: ServiceNumber,
        profile: Profile<'a>,
    },
    GroupAdded {
        success: bool,
        group: GroupNumber,
        name: &'a [u8],
    },
    GroupRenamed {
        success: bool,
        group: GroupNumber,
        name: &'a [u8],
    },
    GroupDeleted {
        success: bool,
        group: GroupNumber,
    },
    FriendsMoved {
        success: bool,
    },
    Online {
        success: bool,
        users: Vec<UserEntry<'a>>,
    },
    Found {
        success: bool,
        users: Vec<UserEntry<'a>>,
    },
    Monitored {
        from: ServiceNumber,
        to: ServiceNumber,
        text: &'a [u8],
    },
    FileOffered {
        sender: ServiceNumber,
        name: &'a [u8],
        length: u32,
    },
    FileAnswered {
        receiver: ServiceNumber,
        allow: bool,
    },
    FilePiece {
        sender: ServiceNumber,
        data: &'a [u8],
    },
    Tested {
        number: ServiceNumber,
    },
    Extensions {
        granted: u32,
    },
    /// What came of a packet of the type `packet_type`; the text is empty, or `code: sentence`.
    Result {
        packet_type: u8,
        success: bool,
        id: Seq,
        text: &'a [u8],
    },
    /// A message with its id and the time at which it was accepted.
    Numbered {
        id: Seq,
        time: UnixMillis,
        sign: Sign,
        number: ServiceNumber,
        text: &'a [u8],
    },
    /// A friend's visible state.
    FriendPresence {
        number: ServiceNumber,
        state: Presence,
    },
}

impl<'a> ServerPacket<'a> {
    /// The byte in the header that says which packet it is.
    #[must_use]
    pub const fn packet_type(&self) -> u8 {
        match self {
            Self::Registered { .. } => 0x01,
            Self::LoggedIn { .. } => 0x02,
            Self::Message { .. } => 0x03,
            Self::Profile { .. } => 0x04,
            Self::GroupAdded { .. } => 0x05,
            Self::GroupRenamed { .. } => 0x06,
            Self::GroupDeleted { .. } => 0x07,
            Self::FriendsMoved { .. } => 0x08,
            Self::Online { .. } => 0x09,
            Self::Found { .. } => 0x0A,
            Self::Monitored { .. } => 0x11,
            Self::FileOffered { .. } => 0x13,
            Self::FileAnswered { .. } => 0x14,
            Self::FilePiece { .. } => 0x15,
            Self::Tested { .. } => 0x16,
            Self::Extensions { .. } => 0x40,
            Self::Result { .. } => 0x41,
            Self::Numbered { .. } => 0x42,
            Self::FriendPresence { .. } => 0x43,
        }
    }

    /// Appends the packet with its header, for a client of the kind `receiver`.
    pub fn encode(&self, receiver: Kind, out: &mut Vec<u8>) {
        framed(Kind::Server, receiver, self.packet_type(), out, |out| self.write(out));
    }

    /// Appends what [`Self::encode`] does for a login that has succeeded, of whose friends the bytes are there already:
    /// of each group, in ascending order, the name, the number, how many friends it has, and their entries.
    pub fn encode_login<'b>(
        receiver: Kind,
        groups: impl ExactSizeIterator<Item = (&'b [u8], GroupNumber, u8, &'b [u8])>,
        out: &mut Vec<u8>,
    ) {
        let packet_type = Self::LoggedIn { success: true, groups: Vec::new() }.packet_type();
        framed(Kind::Server, receiver, packet_type, out, |out| {
            let count = u8::try_from(groups.len()).unwrap_or(u8::MAX);
            out.put_u8(1);
            out.put_u8(count);
            for (name, group, friends, entries) in groups.take(usize::from(count)) {
                out.put_string(name);
                out.put_u8(group.0);
                out.put_u8(friends);
                out.extend_from_slice(entries);
            }
        });
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Registered { success, number } => {
                out.put_u8(u8::from(*success));
                out.put_u32(number.0);
            }
            Self::LoggedIn { success, groups } => {
                out.put_u8(u8::from(*success));
                write_list(out, groups, |out, group| {
                    out.put_string(group.name);
                    out.put_u8(group.group.0);
                    write_list(out, &group.friends, |out, friend| friend.write(out));
                });
            }
            Self::Message { sign, number, text } => write_message(out, *sign, *number, text),
            Self::Profile { success, number, profile } => {
                out.put_u8(u8::from(*success));
                out.put_u32(number.0);
                profile.write(out);
            }
            Self::GroupAdded { success, group, name }
            | Self::GroupRenamed { success, group, name } => {
                out.put_u8(u8::from(*success));
                out.put_u8(group.0);
                out.put_string(name);
            }
            Self::GroupDeleted { success, group } => {
                out.put_u8(u8::from(*success));
                out.put_u8(group.0);
            }
            Self::FriendsMoved { success } => out.put_u8(u8::from(*success)),
            Self::Online { success, users } | Self::Found { success, users } => {
                out.put_u8(u8::from(*success));
                write_list(out, users, write_user);
            }
            Self::Monitored { from, to, text } => {
                out.put_u32(from.0);
                out.put_u32(to.0);
                out.put_string(text);
            }
            Self::FileOffered { sender, name, length } => {
                out.put_u32(sender.0);
                out.put_string(name);
                out.put_u32(*length);
            }
            Self::FileAnswered { receiver, allow } => {
                out.put_u32(receiver.0);
                out.put_u8(u8::from(*allow));
            }
            Self::FilePiece { sender, data } => {
                out.put_u32(sender.0);
                out.extend_from_slice(data);
            }
            Self::Tested { number } => out.put_u32(number.0),
            Self::Extensions { granted } => out.put_u32(*granted),
            Self::Result { packet_type, success, id, text } => {
                out.put_u8(*packet_type);
                out.put_u8(u8::from(*success));
                out.put_u64(id.0);
                out.put_string(text);
            }
            Self::Numbered { id, time, sign, number, text } => {
                out.put_u64(id.0);
                out.put_u64(time.0);
                write_message(out, *sign, *number, text);
            }
            Self::FriendPresence { number, state } => {
                out.put_u32(number.0);
                out.put_u8(*state as u8);
            }
        }
    }

    /// Reads a packet's content. Every byte of it must belong to a field.
    pub fn decode(packet_type: u8, content: &'a [u8]) -> Result<Self, Malformed> {
        whole(content, |reader| Self::read(packet_type, reader))
    }

    fn read(packet_type: u8, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match packet_type {
            0x01 => Self::Registered { success: flag(reader)?, number: number(reader)? },
            0x02 => {
                Self::LoggedIn { success: flag(reader)?, groups: read_list(reader, read_group)? }
            }
            0x03 => {
                let (sign, number, text) = read_message(reader)?;
                Self::Message { sign, number, text }
            }
            0x04 => Self::Profile {
                success: flag(reader)?,
                number: number(reader)?,
                profile: Profile::read(reader)?,
            },
            0x05 => Self::GroupAdded {
                success: flag(reader)?,
                group: GroupNumber(reader.u8()?),
                name: reader.string()?,
            },
            0x06 => Self::GroupRenamed {
                success: flag(reader)?,
                group: GroupNumber(reader.u8()?),
                name: reader.string()?,
            },
            0x07 => Self::GroupDeleted { success: flag(reader)?, group: GroupNumber(reader.u8()?) },
            0x08 => Self::FriendsMoved { success: flag(reader)? },
            0x09 => Self::Online { success: flag(reader)?, users: read_list(reader, read_user)? },
            0x0A => Self::Found { success: flag(reader)?, users: read_list(reader, read_user)? },
            0x11 => Self::Monitored {
                from: number(reader)?,
                to: number(reader)?,
                text: reader.string()?,
            },
            0x13 => Self::FileOffered {
                sender: number(reader)?,
                name: reader.string()?,
                length: reader.u32()?,
            },
            0x14 => Self::FileAnswered { receiver: number(reader)?, allow: flag(reader)? },
            0x15 => Self::FilePiece { sender: number(reader)?, data: reader.rest() },
            0x16 => Self::Tested { number: number(reader)? },
            0x40 => Self::Extensions { granted: reader.u32()? },
            0x41 => Self::Result {
                packet_type: reader.u8()?,
                success: flag(reader)?,
                id: Seq(reader.u64()?),
                text: reader.string()?,
            },
            0x42 => {
                let (id, time) = (Seq(reader.u64()?), UnixMillis(reader.u64()?));
                let (sign, number, text) = read_message(reader)?;
                Self::Numbered { id, time, sign, number, text }
            }
            0x43 => Self::FriendPresence {
                number: number(reader)?,
                state: Presence::from_byte(reader.u8()?).ok_or(Malformed)?,
            },
            _ => return Err(Malformed),
        })
    }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

fn number(reader: &mut Reader<'_>) -> Result<ServiceNumber, Malformed> {
    Ok(ServiceNumber(reader.u32()?))
}

/// A count in one byte, then that many items; whoever makes the list keeps it to 255.
fn write_list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    let count = u8::try_from(items.len()).unwrap_or(u8::MAX);
    out.put_u8(count);
    for item in &items[..usize::from(count)] {
        write(out, item);
    }
}

fn read_list<'a, T>(
    reader: &mut Reader<'a>,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = reader.u8()?;
    (0..count).map(|_| read(reader)).collect()
}

fn read_group<'a>(reader: &mut Reader<'a>) -> Result<GroupEntry<'a>, Malformed> {
    Ok(GroupEntry {
        name: reader.string()?,
        group: GroupNumber(reader.u8()?),
        friends: read_list(reader, FriendEntry::read)?,
    })
}

fn write_user(out: &mut Vec<u8>, user: &UserEntry<'_>) {
    out.put_u32(user.number.0);
    out.put_string(user.nickname);
    out.put_u16(user.portrait);
    out.put_u8(user.province);
    out.put_string(user.city);
}

fn read_user<'a>(reader: &mut Reader<'a>) -> Result<UserEntry<'a>, Malformed> {
    Ok(UserEntry {
        number: number(reader)?,
        nickname: reader.string()?,
        portrait: reader.u16()?,
        province: reader.u8()?,
        city: reader.string()?,
    })
}

fn write_message(out: &mut Vec<u8>, sign: Sign, number: ServiceNumber, text: &[u8]) {
    let (sign, kind) = match sign {
        Sign::System(kind) => (1, kind as u8),
        Sign::User => (2, 0),
    };
    out.put_u8(sign);
    out.put_u32(number.0);
    out.put_string(text);
    out.put_u8(kind);
}

fn read_message<'a>(reader: &mut Reader<'a>) -> Result<(Sign, ServiceNumber, &'a [u8]), Malformed> {
    let sign = reader.u8()?;
    let (number, text) = (number(reader)?, reader.string()?);
    let sign = match (sign, reader.u8()?) {
        (1, kind) => Sign::System(SystemKind::from_byte(kind).ok_or(Malformed)?),
        (2, 0) => Sign::User,
        _ => return Err(Malformed),
    };
    Ok((sign, number, text))
}
