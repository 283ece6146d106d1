//! Properties of the wire format: both directions come back as they were written, nothing but whole
//! packets is read, and a stream means the same however it is cut into pieces.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

mod chance;

use oicq::codec::packed::Moves;
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::{GroupNumber, Seq, ServiceNumber, UnixMillis};
use oicq::wire::client::Account;
use oicq::wire::server::{FriendEntry, GroupEntry, Presence, Sign, SystemKind, UserEntry};
use oicq::wire::{
    ClientPacket, Expected, FrameError, Kind, Malformed, Request, RequestType, ServerPacket, cut,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

const HEADER_BYTES: usize = 8;
const FILE_PIECE: u8 = 0x15;
const KINDS: [Kind; 5] = [Kind::Fax, Kind::Web, Kind::Print, Kind::Chat, Kind::User];

/// The types of packets from the server that there are; the others are known to nobody.
const SERVER_TYPES: &[u8] = &[
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x11, 0x13, 0x14, 0x15, 0x16, 0x40,
    0x41, 0x42, 0x43,
];

/// Values for the fields of any packet: the packets borrow, so what they borrow from is drawn first.
#[derive(Clone, Debug)]
struct Raw {
    strings: Vec<Vec<u8>>,
    longs: Vec<u32>,
    short: u16,
    bytes: Vec<u8>,
    moves: Vec<u8>,
    groups: Vec<RawGroup>,
    users: Vec<(u32, Vec<u8>, u16)>,
}

#[derive(Clone, Debug)]
struct RawGroup {
    name: Vec<u8>,
    number: u8,
    friends: Vec<(u32, u8, Presence, Vec<u8>)>,
}

fn string() -> impl Strategy<Value = Vec<u8>> {
    let limits = select(vec![255_usize, 256, 1_024, 8_192, 65_534, 65_535]);
    prop_oneof![
        20 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (limits, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ]
}

/// How many items a list has: few mostly, and as many as a byte can count.
fn count() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..4_usize, 1 => Just(254), 1 => Just(255)]
}

fn list<T: std::fmt::Debug>(
    item: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Vec<T>> {
    count().prop_flat_map(move |count| prop::collection::vec(item.clone(), count))
}

fn name() -> prop::collection::VecStrategy<std::ops::RangeInclusive<u8>> {
    prop::collection::vec(0..=255, 0..6)
}

fn group() -> impl Strategy<Value = RawGroup> + Clone {
    let presence = select(vec![Presence::Online, Presence::DoNotDisturb, Presence::Offline]);
    let friend = (any::<u32>(), any::<u8>(), presence, name());
    // One group at its limit is enough: 255 of them would be 65,025 friends.
    let friends = prop_oneof![
        30 => prop::collection::vec(friend.clone(), 0..3),
        1 => prop::collection::vec(friend, 255),
    ];
    (name(), any::<u8>(), friends).prop_map(|(name, number, friends)| RawGroup {
        name,
        number,
        friends,
    })
}

fn raw() -> impl Strategy<Value = Raw> {
    (
        prop::collection::vec(string(), 12),
        prop::collection::vec(any::<u32>(), 3),
        any::<u16>(),
        prop::collection::vec(any::<u8>(), 8),
        list((any::<u32>(), any::<u8>())),
        list(group()),
        list((any::<u32>(), name(), any::<u16>())),
    )
        .prop_map(|(strings, longs, short, bytes, moves, groups, users)| Raw {
            strings,
            longs,
            short,
            bytes,
            moves: Moves::pack(
                moves.into_iter().map(|(friend, to)| (ServiceNumber(friend), GroupNumber(to))),
            ),
            groups,
            users,
        })
}

impl Raw {
    fn number(&self, index: usize) -> ServiceNumber {
        ServiceNumber(self.longs[index])
    }

    fn profile(&self) -> Profile<'_> {
        let text = |index: usize| &self.strings[index][..];
        Profile {
            nickname: text(0),
            portrait: self.short,
            gender: self.bytes[1],
            age: self.bytes[2],
            real_name: text(1),
            country: self.bytes[3],
            province: self.bytes[4],
            city: text(2),
            address: text(3),
            zip_code: text(4),
            education: self.bytes[5],
            school: text(5),
            occupation: self.bytes[6],
            phone: text(6),
            pager: text(7),
            email: text(8),
            hobbies: text(9),
            description: text(10),
        }
    }

    fn account(&self) -> Account<'_> {
        Account {
            profile: self.profile(),
            password: Secret::new(&self.strings[11]),
            authentication: self.bytes[7],
        }
    }

    fn request(&self, packet_type: RequestType) -> Request<'_> {
        let friend = self.number(1);
        let text = &self.strings[0][..];
        let (byte, group) = (self.bytes[0], GroupNumber(self.bytes[1]));
        match packet_type {
            RequestType::Register => Request::Register(self.account()),
            RequestType::LogIn => Request::LogIn { password: Secret::new(text), mode: byte },
            RequestType::Send => Request::Send { receiver: friend, content: text },
            RequestType::Broadcast => Request::Broadcast { group: self.longs[2], content: text },
            RequestType::ViewProfile => Request::ViewProfile { friend },
            RequestType::AddGroup => Request::AddGroup { name: text },
            RequestType::RenameGroup => Request::RenameGroup { group, name: text },
            RequestType::DeleteGroup => Request::DeleteGroup { group },
            RequestType::MoveFriends => Request::MoveFriends(Moves::over(&self.moves).unwrap()),
            RequestType::ListOnline => {
                Request::ListOnline { start: friend, count: byte, direction: group.0 }
            }
            RequestType::Search => Request::Search { statement: text },
            RequestType::AddFriend => Request::AddFriend { friend },
            RequestType::RequestFriend => Request::RequestFriend { friend, reason: text },
            RequestType::DeleteFriend => Request::DeleteFriend { friend },
            RequestType::SetMode => Request::SetMode { mode: byte },
            RequestType::Monitor => Request::Monitor { watched: friend },
            RequestType::ChangeProfile => Request::ChangeProfile(self.account()),
            RequestType::OfferFile => {
                Request::OfferFile { friend, name: text, length: self.longs[2] }
            }
            RequestType::AnswerFile => Request::AnswerFile { friend, allow: byte },
            RequestType::FilePiece => Request::FilePiece { friend, data: text },
            RequestType::Test => Request::Test,
            RequestType::AnswerRequest => Request::AnswerRequest { friend, consent: byte },
            RequestType::WantExtensions => Request::WantExtensions { wanted: self.longs[2] },
            RequestType::Arrived => Request::Arrived { through: self.seq() },
        }
    }

    fn client_packet(&self, packet_type: RequestType) -> ClientPacket<'_> {
        let own = if packet_type.has_own_number() { self.number(0) } else { ServiceNumber::NONE };
        ClientPacket { own, request: self.request(packet_type) }
    }

    fn group_entries(&self) -> Vec<GroupEntry<'_>> {
        self.groups
            .iter()
            .map(|group| GroupEntry {
                name: &group.name,
                group: GroupNumber(group.number),
                friends: group
                    .friends
                    .iter()
                    .map(|(number, portrait, state, nickname)| FriendEntry {
                        number: ServiceNumber(*number),
                        portrait: *portrait,
                        state: *state,
                        nickname,
                    })
                    .collect(),
            })
            .collect()
    }

    fn user_entries(&self) -> Vec<UserEntry<'_>> {
        // A long city in each of 255 entries would make a packet of 16 MiB.
        let city: &[u8] = if self.users.len() > 4 { b"" } else { &self.strings[1] };
        self.users
            .iter()
            .map(|(number, text, portrait)| UserEntry {
                number: ServiceNumber(*number),
                nickname: text,
                portrait: *portrait,
                province: self.bytes[4],
                city,
            })
            .collect()
    }

    fn sign(&self) -> Sign {
        SystemKind::from_byte(self.bytes[0] % 6).map_or(Sign::User, Sign::System)
    }

    fn seq(&self) -> Seq {
        Seq(u64::from(self.longs[2]) << 32 | u64::from(self.longs[1]))
    }

    fn server_packet(&self, packet_type: u8) -> ServerPacket<'_> {
        let success = self.bytes[0] % 2 == 1;
        let (number, group) = (self.number(0), GroupNumber(self.bytes[1]));
        let text = &self.strings[0][..];
        match packet_type {
            0x01 => ServerPacket::Registered { success, number },
            0x02 => ServerPacket::LoggedIn { success, groups: self.group_entries() },
            0x03 => ServerPacket::Message { sign: self.sign(), number, text },
            0x04 => ServerPacket::Profile { success, number, profile: self.profile() },
            0x05 => ServerPacket::GroupAdded { success, group, name: text },
            0x06 => ServerPacket::GroupRenamed { success, group, name: text },
            0x07 => ServerPacket::GroupDeleted { success, group },
            0x08 => ServerPacket::FriendsMoved { success },
            0x09 => ServerPacket::Online { success, users: self.user_entries() },
            0x0A => ServerPacket::Found { success, users: self.user_entries() },
            0x11 => ServerPacket::Monitored { from: number, to: self.number(1), text },
            0x13 => ServerPacket::FileOffered { sender: number, name: text, length: self.longs[2] },
            0x14 => ServerPacket::FileAnswered { receiver: number, allow: success },
            0x15 => ServerPacket::FilePiece { sender: number, data: text },
            0x16 => ServerPacket::Tested { number },
            0x40 => ServerPacket::Extensions { granted: self.longs[2] },
            0x41 => {
                ServerPacket::Result { packet_type: self.bytes[2], success, id: self.seq(), text }
            }
            0x42 => {
                let (id, time) = (self.seq(), UnixMillis(u64::from(self.longs[2])));
                ServerPacket::Numbered { id, time, sign: self.sign(), number, text }
            }
            0x43 => {
                let states = [Presence::Online, Presence::DoNotDisturb, Presence::Offline];
                let state = states[usize::from(self.bytes[3] % 3)];
                ServerPacket::FriendPresence { number, state }
            }
            _ => unreachable!("SERVER_TYPES lists no other"),
        }
    }
}

fn encode_client(packet: &ClientPacket<'_>, kind: Kind) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(kind, &mut bytes);
    bytes
}

fn encode_server(packet: &ServerPacket<'_>, kind: Kind) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(kind, &mut bytes);
    bytes
}

fn any_request_type() -> impl Strategy<Value = RequestType> {
    select(RequestType::ALL)
}

/// All lengths of a short content, and some of a long one.
fn lengths(content: &[u8]) -> Vec<usize> {
    let step = (content.len() / 100).max(1);
    (0..content.len()).step_by(step).chain(content.len().checked_sub(1)).collect()
}

/// Checks that nothing but the whole of `content` is read; `open_end` is where a `B` field begins.
fn only_whole(
    content: &[u8],
    extra: &[u8],
    open_end: Option<usize>,
    decode: impl Fn(&[u8]) -> Result<(), Malformed>,
) -> Result<(), TestCaseError> {
    for length in lengths(content) {
        let legal = open_end.is_some_and(|start| length >= start);
        prop_assert_eq!(decode(&content[..length]).is_ok(), legal, "{} bytes", length);
    }
    let mut longer = content.to_vec();
    for byte in extra {
        longer.push(*byte);
        prop_assert_eq!(decode(&longer).is_ok(), open_end.is_some(), "{} bytes", longer.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(chance::properties(64))]

    #[test]
    fn every_client_packet_comes_back_as_it_was_written(raw in raw(), kind in select(&KINDS[..])) {
        for &packet_type in RequestType::ALL {
            let packet = raw.client_packet(packet_type);
            let bytes = encode_client(&packet, kind);
            let expected = Expected { kind: Some(kind), content_bytes_max: u32::MAX };
            let frame = cut(&bytes, expected).unwrap().unwrap();
            prop_assert_eq!(frame.length(), bytes.len());
            prop_assert_eq!(frame.header.kind, kind);
            prop_assert_eq!(frame.header.packet_type, packet_type as u8);
            prop_assert_eq!(ClientPacket::decode(packet_type, frame.content), Ok(packet));
        }
    }

    #[test]
    fn every_server_packet_comes_back_as_it_was_written(raw in raw(), kind in select(&KINDS[..])) {
        for &packet_type in SERVER_TYPES {
            let packet = raw.server_packet(packet_type);
            prop_assert_eq!(packet.packet_type(), packet_type);
            let bytes = encode_server(&packet, kind);
            let length = u32::try_from(bytes.len() - HEADER_BYTES).unwrap().to_be_bytes();
            prop_assert_eq!(&bytes[..4], &[0x81, 0x01, kind as u8, packet_type]);
            prop_assert_eq!(&bytes[4..HEADER_BYTES], &length);
            let decoded = ServerPacket::decode(packet_type, &bytes[HEADER_BYTES..]);
            prop_assert_eq!(decoded, Ok(packet));
        }
    }

    #[test]
    fn nothing_but_the_whole_content_is_read(
        raw in raw(),
        extra in prop::collection::vec(any::<u8>(), 1..8),
    ) {
        for &packet_type in RequestType::ALL {
            let bytes = encode_client(&raw.client_packet(packet_type), Kind::User);
            let open_end = (packet_type as u8 == FILE_PIECE).then_some(8);
            only_whole(&bytes[HEADER_BYTES..], &extra, open_end, |content| {
                ClientPacket::decode(packet_type, content).map(|_| ())
            })?;
        }
        for &packet_type in SERVER_TYPES {
            let bytes = encode_server(&raw.server_packet(packet_type), Kind::User);
            let open_end = (packet_type == FILE_PIECE).then_some(4);
            only_whole(&bytes[HEADER_BYTES..], &extra, open_end, |content| {
                ServerPacket::decode(packet_type, content).map(|_| ())
            })?;
        }
    }

    #[test]
    fn a_stream_means_the_same_however_it_is_cut(
        raws in prop::collection::vec((raw(), any_request_type()), 1..6),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
        bytewise in any::<bool>(),
    ) {
        let packets: Vec<_> =
            raws.iter().map(|(raw, packet_type)| raw.client_packet(*packet_type)).collect();
        let mut stream = Vec::new();
        for packet in &packets {
            packet.encode(Kind::User, &mut stream);
        }
        // Byte by byte where that is quick enough, at chosen points everywhere else.
        let mut ends: Vec<usize> = if bytewise && stream.len() < 5_000 {
            (1..=stream.len()).collect()
        } else {
            cuts.iter().map(|cut| cut.index(stream.len())).chain([stream.len()]).collect()
        };
        ends.sort_unstable();
        let (mut start, mut seen) = (0, 0);
        let mut expected = Expected { kind: None, content_bytes_max: u32::MAX };
        for end in ends {
            while let Some(frame) = cut(&stream[start..end], expected).unwrap() {
                let packet_type = RequestType::from_byte(frame.header.packet_type).unwrap();
                let packet = ClientPacket::decode(packet_type, frame.content).unwrap();
                prop_assert_eq!(&packet, &packets[seen]);
                expected.kind = Some(frame.header.kind);
                start += frame.length();
                seen += 1;
            }
        }
        prop_assert_eq!((start, seen), (stream.len(), packets.len()));
    }
}

/// Bytes that nearly are a packet: any bytes, any content behind a fitting header, and packets in which
/// some bytes were changed.
fn nearly_a_packet(encode: fn(&Raw, Index) -> Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let content = prop::collection::vec(prop_oneof![3 => 0..4_u8, 1 => any::<u8>()], 0..60);
    let framed = (any::<u8>(), content).prop_map(|(packet_type, content)| {
        let mut bytes = vec![0x81, 0x0A, 0x01, packet_type % 0x48];
        bytes.extend_from_slice(&u32::try_from(content.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&content);
        bytes
    });
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..4);
    let changed = (raw(), any::<Index>(), changes).prop_map(move |(raw, which, changes)| {
        let mut bytes = encode(&raw, which);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    });
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..40), 4 => framed, 6 => changed]
}

fn encode_any_request(raw: &Raw, which: Index) -> Vec<u8> {
    let packet_type = RequestType::ALL[which.index(RequestType::ALL.len())];
    encode_client(&raw.client_packet(packet_type), Kind::User)
}

fn encode_any_reply(raw: &Raw, which: Index) -> Vec<u8> {
    let packet_type = SERVER_TYPES[which.index(SERVER_TYPES.len())];
    encode_server(&raw.server_packet(packet_type), Kind::User)
}

proptest! {
    #![proptest_config(chance::properties(512))]

    #[test]
    fn any_bytes_to_the_server_are_refused_or_stand_for_themselves(
        bytes in nearly_a_packet(encode_any_request),
        known in prop::option::of(select(&KINDS[..])),
        content_bytes_max in select(vec![0, 10, 8_192, 65_536, u32::MAX]),
    ) {
        let expected = Expected { kind: known, content_bytes_max };
        if let Ok(Some(frame)) = cut(&bytes, expected)
            && let Some(packet_type) = RequestType::from_byte(frame.header.packet_type)
            && let Ok(packet) = ClientPacket::decode(packet_type, frame.content)
        {
            prop_assert_eq!(packet.request.packet_type(), packet_type);
            let again = encode_client(&packet, frame.header.kind);
            prop_assert_eq!(&again[..], &bytes[..frame.length()]);
        }
    }

    #[test]
    fn any_bytes_to_a_client_are_refused_or_stand_for_themselves(
        bytes in nearly_a_packet(encode_any_reply),
    ) {
        if let Some((header, content)) = bytes.split_at_checked(HEADER_BYTES)
            && let Ok(packet) = ServerPacket::decode(header[3], content)
        {
            prop_assert_eq!(packet.packet_type(), header[3]);
            prop_assert!(SERVER_TYPES.contains(&header[3]), "type 0x{:02X} is known", header[3]);
            let again = encode_server(&packet, Kind::User);
            prop_assert_eq!(&again[HEADER_BYTES..], content);
        }
    }

    #[test]
    fn a_header_is_judged_field_by_field_in_the_protocols_order(
        fields in (
            prop_oneof![4 => Just(0x81), 1 => any::<u8>()],
            prop_oneof![4 => select(vec![0x02, 0x03, 0x04, 0x05, 0x0A]), 1 => any::<u8>()],
            prop_oneof![4 => Just(0x01), 1 => any::<u8>()],
            any::<u8>(),
            prop_oneof![2 => 0..200_u32, 1 => any::<u32>()],
        ),
        known in prop::option::of(select(&KINDS[..])),
        there in 0..=HEADER_BYTES,
    ) {
        let (first, sender, receiver, packet_type, content_length) = fields;
        let content_bytes_max = 100;
        let mut header = vec![first, sender, receiver, packet_type];
        header.extend_from_slice(&content_length.to_be_bytes());

        let kind = KINDS.into_iter().find(|kind| *kind as u8 == sender);
        let wrong = if first != 0x81 && there >= 1 {
            Some(FrameError::FirstByte(first))
        } else if kind.is_none() && there >= 2 {
            Some(FrameError::Sender(sender))
        } else if let (Some(was), Some(is), 2..) = (known, kind, there)
            && was != is
        {
            Some(FrameError::SenderChanged { was, is })
        } else if receiver != 0x01 && there >= 3 {
            Some(FrameError::Receiver(receiver))
        } else if let (Some(kind), HEADER_BYTES) = (kind, there)
            && content_length > content_bytes_max
        {
            Some(FrameError::TooLarge { kind, packet_type, content_length, content_bytes_max })
        } else {
            None
        };
        let got = cut(&header[..there], Expected { kind: known, content_bytes_max });
        match wrong {
            Some(error) => prop_assert_eq!(got, Err(error)),
            None => {
                let whole = there == HEADER_BYTES && content_length == 0;
                prop_assert_eq!(got.map(|frame| frame.is_some()), Ok(whole));
            }
        }
    }
}
