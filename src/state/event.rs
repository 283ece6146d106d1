//! Events: the changes that stand in the log, each with its kind and its layout.
//!
//! An event carries every value that applying it needs. Kinds are never given another meaning, and a
//! layout may only grow at its end: what an older log does not have is then read as its default. The
//! layouts are listed in `EVENTS.md` beside this file.

use std::fmt;

use super::RunningDigest;
use crate::codec::packed::{Moves, Numbers, Receipts};
use crate::codec::profile::Profile;
use crate::codec::{Reader, Short, Write};
use crate::id::{GroupNumber, Seq, ServiceNumber};

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal $text:literal,)*) => {
        /// The kinds of events, by the byte that stands in the log.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum EventKind { $($(#[$doc])* $name = $value,)* }

        impl EventKind {
            /// All kinds, in ascending order of their bytes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The kind that a record's byte names.
            #[must_use]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($value => Some(Self::$name),)* _ => None }
            }

            /// The name that tools show and take.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

event_kinds! {
    /// A new user.
    Registered = 1 "registered",
    /// A user's profile, and perhaps its password or authentication, is another.
    ProfileChanged = 2 "profile-changed",
    /// A user has a new group.
    GroupAdded = 3 "group-added",
    /// A group has another name.
    GroupRenamed = 4 "group-renamed",
    /// A group is gone, its friends are in group 1.
    GroupDeleted = 5 "group-deleted",
    /// Friends are in other groups.
    FriendsMoved = 6 "friends-moved",
    /// Somebody asks to add a friend, and waits for the answer.
    FriendRequested = 7 "friend-requested",
    /// A waiting request was answered with no.
    RequestRejected = 8 "request-rejected",
    /// A request was refused at once, since that user lets nobody add it.
    FriendRefused = 9 "friend-refused",
    /// A friend was added to a friend list.
    FriendAdded = 10 "friend-added",
    /// A friend was deleted from a friend list.
    FriendDeleted = 11 "friend-deleted",
    /// A message to one user.
    MessageSent = 12 "message-sent",
    /// A message to the friends of a group.
    MessageBroadcast = 13 "message-broadcast",
    /// Messages have reached their receivers.
    Delivered = 14 "delivered",
    /// An operator monitors somebody.
    MonitoringStarted = 15 "monitoring-started",
    /// An operator monitors nobody any more.
    MonitoringEnded = 16 "monitoring-ended",
    /// Whatever stood here could not be saved from a damaged log.
    Lost = 17 "lost",
    /// The running digest of the state that all events before have made.
    StateDigest = 18 "state-digest",
    /// A user's password is the same, and its hash was made anew, at the cost that new hashes have.
    PasswordRehashed = 19 "password-rehashed",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who may add a user as a friend. Protocol section 4, `0x01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Authentication {
    /// Anyone may.
    Open = 0,
    /// The user is asked first.
    Ask = 1,
    /// Nobody may.
    Closed = 2,
}

impl Authentication {
    /// The setting that a byte names.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Open),
            1 => Some(Self::Ask),
            2 => Some(Self::Closed),
            _ => None,
        }
    }
}

/// A change. Strings are borrowed from the request that it comes from, or from the log.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named after what they hold")]
pub enum Event<'a> {
    Registered {
        number: ServiceNumber,
        authentication: Authentication,
        /// A PHC string.
        password_hash: &'a str,
        profile: Profile<'a>,
    },
    ProfileChanged {
        number: ServiceNumber,
        /// `None` keeps the old one.
        authentication: Option<Authentication>,
        /// `None` keeps the old one.
        password_hash: Option<&'a str>,
        profile: Profile<'a>,
    },
    GroupAdded {
        owner: ServiceNumber,
        group: GroupNumber,
        name: &'a [u8],
    },
    GroupRenamed {
        owner: ServiceNumber,
        group: GroupNumber,
        name: &'a [u8],
    },
    GroupDeleted {
        owner: ServiceNumber,
        group: GroupNumber,
    },
    FriendsMoved {
        owner: ServiceNumber,
        moves: Moves<'a>,
    },
    FriendRequested {
        asker: ServiceNumber,
        friend: ServiceNumber,
        reason: &'a [u8],
    },
    RequestRejected {
        asker: ServiceNumber,
        friend: ServiceNumber,
    },
    FriendRefused {
        asker: ServiceNumber,
        friend: ServiceNumber,
    },
    FriendAdded {
        owner: ServiceNumber,
        friend: ServiceNumber,
        group: GroupNumber,
        /// Whether the friend agreed to a request; else it lets anyone add it, and is told.
        agreed: bool,
    },
    FriendDeleted {
        owner: ServiceNumber,
        friend: ServiceNumber,
    },
    MessageSent {
        from: ServiceNumber,
        to: ServiceNumber,
        content: &'a [u8],
    },
    MessageBroadcast {
        from: ServiceNumber,
        /// [`GroupNumber::ALL`] for all friends.
        group: GroupNumber,
        content: &'a [u8],
        /// Friends of the group whose mailboxes were full.
        left_out: Numbers<'a>,
    },
    Delivered {
        receipts: Receipts<'a>,
    },
    MonitoringStarted {
        operator: ServiceNumber,
        watched: ServiceNumber,
    },
    MonitoringEnded {
        operator: ServiceNumber,
    },
    Lost,
    StateDigest {
        digest: RunningDigest,
    },
    PasswordRehashed {
        number: ServiceNumber,
        /// A PHC string.
        password_hash: &'a str,
    },
}

/// Why a record of the log is no event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventError {
    /// A kind that this version does not know: a newer server wrote it.
    UnknownKind(u8),
    /// The payload ends before its fields do, or holds a value that the kind does not have.
    Malformed(EventKind),
    /// The payload goes on after the fields that this version knows: a newer server wrote it.
    Longer(EventKind),
    /// It speaks of something that is not there, or that is there already.
    Nonsense(EventKind),
    /// It tells the running digest of another state than this version makes of the events before it.
    OtherState {
        /// The digest that it tells.
        recorded: RunningDigest,
        /// The digest of the state here.
        actual: RunningDigest,
        /// The last event that told the digest of the state here; [`Seq::ZERO`] for none.
        agreed: Seq,
    },
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => {
                write!(f, "an event of kind {kind}, which only a newer version knows")
            }
            Self::Malformed(kind) => {
                write!(f, "a {kind} event whose payload does not fit its kind")
            }
            Self::Longer(kind) => {
                write!(f, "a {kind} event with fields that only a newer version knows")
            }
            Self::Nonsense(kind) => {
                write!(f, "a {kind} event that does not fit the state before it")
            }
            Self::OtherState { recorded, actual, agreed } => {
                write!(
                    f,
                    "the digest of another state than this build makes of the events before it ({actual} here, \
                     {recorded} in the log), "
                )?;
                match *agreed {
                    Seq::ZERO => f.write_str("and no digest stands before it"),
                    agreed => write!(f, "the last digest that agreed has sequence number {agreed}"),
                }
            }
        }
    }
}

impl std::error::Error for EventError {}

/// A byte that stands for "keep the old one".
const KEEP: u8 = 255;

impl<'a> Event<'a> {
    /// The event's kind.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Registered { .. } => EventKind::Registered,
            Self::ProfileChanged { .. } => EventKind::ProfileChanged,
            Self::GroupAdded { .. } => EventKind::GroupAdded,
            Self::GroupRenamed { .. } => EventKind::GroupRenamed,
            Self::GroupDeleted { .. } => EventKind::GroupDeleted,
            Self::FriendsMoved { .. } => EventKind::FriendsMoved,
            Self::FriendRequested { .. } => EventKind::FriendRequested,
            Self::RequestRejected { .. } => EventKind::RequestRejected,
            Self::FriendRefused { .. } => EventKind::FriendRefused,
            Self::FriendAdded { .. } => EventKind::FriendAdded,
            Self::FriendDeleted { .. } => EventKind::FriendDeleted,
            Self::MessageSent { .. } => EventKind::MessageSent,
            Self::MessageBroadcast { .. } => EventKind::MessageBroadcast,
            Self::Delivered { .. } => EventKind::Delivered,
            Self::MonitoringStarted { .. } => EventKind::MonitoringStarted,
            Self::MonitoringEnded { .. } => EventKind::MonitoringEnded,
            Self::Lost => EventKind::Lost,
            Self::StateDigest { .. } => EventKind::StateDigest,
            Self::PasswordRehashed { .. } => EventKind::PasswordRehashed,
        }
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Registered { number, authentication, password_hash, ref profile } => {
                out.put_u32(number.0);
                out.put_u8(authentication as u8);
                out.put_string(password_hash.as_bytes());
                profile.write(out);
            }
            Self::ProfileChanged { number, authentication, password_hash, ref profile } => {
                out.put_u32(number.0);
                out.put_u8(authentication.map_or(KEEP, |authentication| authentication as u8));
                out.put_string(password_hash.unwrap_or_default().as_bytes());
                profile.write(out);
            }
            Self::GroupAdded { owner, group, name } | Self::GroupRenamed { owner, group, name } => {
                out.put_u32(owner.0);
                out.put_u8(group.0);
                out.put_string(name);
            }
            Self::GroupDeleted { owner, group } => {
                out.put_u32(owner.0);
                out.put_u8(group.0);
            }
            Self::FriendsMoved { owner, moves } => {
                out.put_u32(owner.0);
                put_list(out, moves.as_bytes());
            }
            Self::FriendRequested { asker, friend, reason } => {
                out.put_u32(asker.0);
                out.put_u32(friend.0);
                out.put_string(reason);
            }
            Self::RequestRejected { asker: one, friend: other }
            | Self::FriendRefused { asker: one, friend: other }
            | Self::FriendDeleted { owner: one, friend: other }
            | Self::MonitoringStarted { operator: one, watched: other } => {
                out.put_u32(one.0);
                out.put_u32(other.0);
            }
            Self::FriendAdded { owner, friend, group, agreed } => {
                out.put_u32(owner.0);
                out.put_u32(friend.0);
                out.put_u8(group.0);
                out.put_u8(u8::from(agreed));
            }
            Self::MessageSent { from, to, content } => {
                out.put_u32(from.0);
                out.put_u32(to.0);
                out.put_string(content);
            }
            Self::MessageBroadcast { from, group, content, left_out } => {
                out.put_u32(from.0);
                out.put_u8(group.0);
                out.put_string(content);
                put_list(out, left_out.as_bytes());
            }
            Self::Delivered { receipts } => put_list(out, receipts.as_bytes()),
            Self::MonitoringEnded { operator } => out.put_u32(operator.0),
            Self::Lost => {}
            Self::StateDigest { digest } => out.extend_from_slice(&digest.bytes()),
            Self::PasswordRehashed { number, password_hash } => {
                out.put_u32(number.0);
                out.put_string(password_hash.as_bytes());
            }
        }
    }

    /// Reads a payload of the log.
    pub fn decode(kind: u8, payload: &'a [u8]) -> Result<Self, EventError> {
        Self::decoded(kind, payload, |event| Ok(*event))
    }

    /// Reads a payload of the log for `taken`, without copies of the event, which would be a tenth of a replay.
    pub(super) fn decoded<T>(
        kind: u8,
        payload: &'a [u8],
        taken: impl FnOnce(&Self) -> Result<T, EventError>,
    ) -> Result<T, EventError> {
        let kind = EventKind::from_byte(kind).ok_or(EventError::UnknownKind(kind))?;
        let mut reader = Reader::new(payload);
        match &Self::read(kind, &mut reader) {
            Ok(event) if reader.remaining() == 0 => taken(event),
            Ok(_) => Err(EventError::Longer(kind)),
            Err(Short) => Err(EventError::Malformed(kind)),
        }
    }

    /// To whom a message of the log is sent, without a look at the rest of it.
    pub(super) fn receiver(payload: &[u8]) -> Option<ServiceNumber> {
        let mut reader = Reader::new(payload);
        number(&mut reader).and_then(|_| number(&mut reader)).ok()
    }

    /// Where in the payload the text of the message stands that this event posts. Protocol section 6, kinds 0 and 2.
    #[must_use]
    pub const fn text_offset(&self) -> u32 {
        match self {
            Self::MessageSent { .. } | Self::FriendRequested { .. } => 4 + 4 + 2,
            Self::MessageBroadcast { .. } => 4 + 1 + 2,
            _ => 0,
        }
    }

    fn read(kind: EventKind, reader: &mut Reader<'a>) -> Result<Self, Short> {
        Ok(match kind {
            EventKind::Registered => Self::Registered {
                number: number(reader)?,
                authentication: Authentication::from_byte(reader.u8()?).ok_or(Short)?,
                password_hash: hash(reader)?.ok_or(Short)?,
                profile: Profile::read(reader)?,
            },
            EventKind::ProfileChanged => Self::ProfileChanged {
                number: number(reader)?,
                authentication: match reader.u8()? {
                    KEEP => None,
                    byte => Some(Authentication::from_byte(byte).ok_or(Short)?),
                },
                password_hash: hash(reader)?,
                profile: Profile::read(reader)?,
            },
            EventKind::GroupAdded => Self::GroupAdded {
                owner: number(reader)?,
                group: group(reader)?,
                name: reader.string()?,
            },
            EventKind::GroupRenamed => Self::GroupRenamed {
                owner: number(reader)?,
                group: group(reader)?,
                name: reader.string()?,
            },
            EventKind::GroupDeleted => {
                Self::GroupDeleted { owner: number(reader)?, group: group(reader)? }
            }
            EventKind::FriendsMoved => Self::FriendsMoved {
                owner: number(reader)?,
                moves: Moves::over(list(reader, Moves::ITEM_BYTES)?)?,
            },
            EventKind::FriendRequested => Self::FriendRequested {
                asker: number(reader)?,
                friend: number(reader)?,
                reason: reader.string()?,
            },
            EventKind::RequestRejected => {
                Self::RequestRejected { asker: number(reader)?, friend: number(reader)? }
            }
            EventKind::FriendRefused => {
                Self::FriendRefused { asker: number(reader)?, friend: number(reader)? }
            }
            EventKind::FriendAdded => Self::FriendAdded {
                owner: number(reader)?,
                friend: number(reader)?,
                group: group(reader)?,
                agreed: match reader.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Short),
                },
            },
            EventKind::FriendDeleted => {
                Self::FriendDeleted { owner: number(reader)?, friend: number(reader)? }
            }
            EventKind::MessageSent => Self::MessageSent {
                from: number(reader)?,
                to: number(reader)?,
                content: reader.string()?,
            },
            EventKind::MessageBroadcast => Self::MessageBroadcast {
                from: number(reader)?,
                group: group(reader)?,
                content: reader.string()?,
                left_out: Numbers::over(list(reader, Numbers::ITEM_BYTES)?)?,
            },
            EventKind::Delivered => {
                Self::Delivered { receipts: Receipts::over(list(reader, Receipts::ITEM_BYTES)?)? }
            }
            EventKind::MonitoringStarted => {
                Self::MonitoringStarted { operator: number(reader)?, watched: number(reader)? }
            }
            EventKind::MonitoringEnded => Self::MonitoringEnded { operator: number(reader)? },
            EventKind::Lost => Self::Lost,
            EventKind::StateDigest => {
                let bytes = reader.take(RunningDigest::BYTES)?.try_into().map_err(|_| Short)?;
                Self::StateDigest { digest: RunningDigest::from_bytes(bytes) }
            }
            EventKind::PasswordRehashed => Self::PasswordRehashed {
                number: number(reader)?,
                password_hash: hash(reader)?.ok_or(Short)?,
            },
        })
    }
}

/// A list in the log: its length in bytes, then its items, so that a layout can grow behind it.
fn put_list(out: &mut Vec<u8>, items: &[u8]) {
    out.put_u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(items);
}

fn list<'a>(reader: &mut Reader<'a>, item_bytes: usize) -> Result<&'a [u8], Short> {
    let length = usize::try_from(reader.u32()?).map_err(|_| Short)?;
    if length % item_bytes == 0 { reader.take(length) } else { Err(Short) }
}

fn number(reader: &mut Reader<'_>) -> Result<ServiceNumber, Short> {
    reader.u32().map(ServiceNumber)
}

fn group(reader: &mut Reader<'_>) -> Result<GroupNumber, Short> {
    reader.u8().map(GroupNumber)
}

/// A password's hash, or none where the string is empty.
fn hash<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>, Short> {
    let text = std::str::from_utf8(reader.string()?).map_err(|_| Short)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}
