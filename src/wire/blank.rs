//! Packets with fillers in place of what is not to be kept: passwords always, texts where that is asked for.
//!
//! Owns which fields those are. A packet keeps its layout, and is answered as the one that it stands for.

use super::Frame;
use super::client::{Account, ClientPacket, Request, RequestType};
use super::server::{FriendEntry, GroupEntry, ServerPacket, UserEntry};
use crate::codec::blank::{Fillers, blank, blank_alike, blank_password};
use crate::codec::charset::{Breaks, Charset};
use crate::codec::profile::Profile;
use crate::limits::HEADER_BYTES;

impl RequestType {
    /// Whether packets of this type carry a password.
    #[must_use]
    pub const fn has_password(self) -> bool {
        matches!(self, Self::Register | Self::LogIn | Self::ChangeProfile)
    }

    /// Whether packets of this type carry what users write to each other.
    #[must_use]
    pub const fn has_message(self) -> bool {
        matches!(self, Self::Send | Self::Broadcast | Self::RequestFriend | Self::FilePiece)
    }
}

impl ClientPacket<'_> {
    /// The packet with a filler in place of the password, if it carries one.
    #[must_use]
    pub fn without_password(self, charset: Charset) -> Self {
        let account = |account: Account<'_>| blank_password(account.password, charset);
        let request = match self.request {
            Request::Register(it) => Request::Register(Account { password: account(it), ..it }),
            Request::ChangeProfile(it) => {
                Request::ChangeProfile(Account { password: account(it), ..it })
            }
            Request::LogIn { password, mode } => {
                Request::LogIn { password: blank_password(password, charset), mode }
            }
            other => other,
        };
        Self { request, ..self }
    }

    /// The packet with fillers in place of what users write to each other: messages, reasons, pieces of files.
    #[must_use]
    pub fn without_messages(self, charset: Charset) -> Self {
        let alike = |text| blank_alike(text, Breaks::Allowed, charset);
        let request = match self.request {
            Request::Send { receiver, content } => {
                Request::Send { receiver, content: alike(content) }
            }
            Request::Broadcast { group, content } => {
                Request::Broadcast { group, content: alike(content) }
            }
            Request::RequestFriend { friend, reason } => {
                Request::RequestFriend { friend, reason: alike(reason) }
            }
            Request::FilePiece { friend, data } => Request::FilePiece { friend, data: blank(data) },
            other => other,
        };
        Self { request, ..self }
    }
}

/// Appends the packet with fillers in place of all that users have written, and of the password. What cannot be read
/// has no content afterwards, which cannot be read either.
pub fn without_texts(frame: &Frame<'_>, fillers: &mut Fillers, out: &mut Vec<u8>) {
    let known = RequestType::from_byte(frame.header.packet_type);
    let packet = known.and_then(|known| ClientPacket::decode(known, frame.content).ok());
    let Some(packet) = packet else { return };
    let charset = fillers.charset();
    let packet = packet.without_password(charset).without_messages(charset);
    let encode = |request, out: &mut Vec<u8>| {
        let start = out.len();
        ClientPacket { request, ..packet }.encode(frame.header.kind, out);
        out.drain(start..start + HEADER_BYTES);
    };
    let mut account = |account: Account<'_>| fillers.profile(&account.profile);
    match packet.request {
        Request::Register(it) => {
            let packed = account(it);
            encode(Request::Register(Account { profile: Profile::unpacked(&packed), ..it }), out);
        }
        Request::ChangeProfile(it) => {
            let packed = account(it);
            encode(
                Request::ChangeProfile(Account { profile: Profile::unpacked(&packed), ..it }),
                out,
            );
        }
        Request::AddGroup { name } => {
            encode(Request::AddGroup { name: &fillers.text(name, Breaks::Refused) }, out);
        }
        Request::RenameGroup { group, name } => {
            let name = &fillers.text(name, Breaks::Refused);
            encode(Request::RenameGroup { group, name }, out);
        }
        Request::Search { statement } => {
            let statement = blank_alike(statement, Breaks::Refused, charset);
            encode(Request::Search { statement }, out);
        }
        Request::OfferFile { friend, name, length } => {
            encode(
                Request::OfferFile { friend, name: &blank_file_name(name, charset), length },
                out,
            );
        }
        other => encode(other, out),
    }
}

/// A filler for a file's name: it is refused where the name is.
fn blank_file_name(name: &[u8], charset: Charset) -> Vec<u8> {
    let mut filler = blank_alike(name, Breaks::Refused, charset).to_vec();
    let decoded = charset.decode(name);
    let is_plain = !decoded.contains(['/', '\\']) && decoded != "." && decoded != "..";
    if let (false, Some(first)) = (is_plain, filler.first_mut()) {
        *first = b'/';
    }
    filler
}

impl ServerPacket<'_> {
    /// The packet with a filler in place of every text, whoever wrote it.
    #[must_use]
    pub fn blanked(&self) -> Self {
        let mut packet = self.clone();
        match &mut packet {
            Self::LoggedIn { groups, .. } => groups.iter_mut().for_each(blank_group),
            Self::Message { text, .. }
            | Self::Monitored { text, .. }
            | Self::Result { text, .. }
            | Self::Numbered { text, .. } => *text = blank(text),
            Self::Profile { profile, .. } => *profile = blank_profile(profile),
            Self::GroupAdded { name, .. }
            | Self::GroupRenamed { name, .. }
            | Self::FileOffered { name, .. } => *name = blank(name),
            Self::Online { users, .. } | Self::Found { users, .. } => {
                users.iter_mut().for_each(|UserEntry { nickname, city, .. }| {
                    (*nickname, *city) = (blank(nickname), blank(city));
                });
            }
            Self::FilePiece { data, .. } => *data = blank(data),
            Self::Registered { .. }
            | Self::GroupDeleted { .. }
            | Self::FriendsMoved { .. }
            | Self::FileAnswered { .. }
            | Self::Tested { .. }
            | Self::Extensions { .. }
            | Self::FriendPresence { .. } => {}
        }
        packet
    }
}

fn blank_group(group: &mut GroupEntry<'_>) {
    group.name = blank(group.name);
    for FriendEntry { nickname, .. } in &mut group.friends {
        *nickname = blank(nickname);
    }
}

/// The profile with a filler in place of every text.
#[must_use]
pub fn blank_profile<'a>(profile: &Profile<'a>) -> Profile<'a> {
    Profile {
        nickname: blank(profile.nickname),
        real_name: blank(profile.real_name),
        city: blank(profile.city),
        address: blank(profile.address),
        zip_code: blank(profile.zip_code),
        school: blank(profile.school),
        phone: blank(profile.phone),
        pager: blank(profile.pager),
        email: blank(profile.email),
        hobbies: blank(profile.hobbies),
        description: blank(profile.description),
        ..*profile
    }
}
