//! Packets in words and in JSON, of clients and of the server, in Unicode whatever the charset.
//!
//! Owns what each packet is called, and the names of its fields. No password is ever shown, and what users have
//! written stays in its quotes.

use std::borrow::Cow;

use oicq::codec::charset::Charset;
use oicq::codec::packed::Moves;
use oicq::codec::profile::Profile;
use oicq::id::{ServiceNumber, UnixMillis};
use oicq::state::State;
use oicq::wire::client::Account;
use oicq::wire::server::{Extensions, GroupEntry, Presence, Sign, SystemKind, UserEntry};
use oicq::wire::{ClientPacket, Frame, Notice, Request, RequestType, ServerPacket};
use serde_json::{Map, Value, json};

use crate::show::{Quoted, Time, profile_json, profile_words, who};

/// What numbers and bytes mean at the moment.
#[derive(Clone, Copy)]
pub(crate) struct Meaning<'a> {
    pub(crate) state: &'a State,
    pub(crate) charset: Charset,
}

/// A packet: what it is called, and what is in it.
pub(crate) struct Told<'a> {
    packet_type: u8,
    name: &'static str,
    fields: Vec<(&'static str, Field<'a>)>,
}

/// What stands in a packet.
enum Field<'a> {
    User(ServiceNumber),
    Number(u64),
    Time(UnixMillis),
    Text(Cow<'a, [u8]>),
    Word(&'static str),
    Flag(bool),
    Bytes(usize),
    Profile(Profile<'a>),
    Users(Vec<UserEntry<'a>>),
    Groups(Vec<GroupEntry<'a>>),
    Moves(Moves<'a>),
    Extensions(u32),
}

/// A packet from a client whose session is that of `session`.
pub(crate) fn from_client<'a>(frame: &Frame<'a>, session: Option<ServiceNumber>) -> Told<'a> {
    let packet_type = frame.header.packet_type;
    let packet = RequestType::from_byte(packet_type)
        .and_then(|known| ClientPacket::decode(known, frame.content).ok());
    let Some(ClientPacket { own, request }) = packet else {
        return undecoded(packet_type, frame.content.len());
    };
    let (name, mut fields) = request_fields(request);
    let is_login = packet_type == RequestType::LogIn as u8;
    if is_login || own != session.unwrap_or(ServiceNumber::NONE) {
        fields.insert(0, ("own", Field::User(own)));
    }
    Told { packet_type, name, fields }
}

/// A packet from the server.
pub(crate) fn from_server<'a>(frame: &Frame<'a>) -> Told<'a> {
    let packet_type = frame.header.packet_type;
    match ServerPacket::decode(packet_type, frame.content) {
        Ok(packet) => {
            let (name, fields) = reply_fields(packet);
            Told { packet_type, name, fields }
        }
        Err(_) => undecoded(packet_type, frame.content.len()),
    }
}

fn undecoded<'a>(packet_type: u8, length: usize) -> Told<'a> {
    Told { packet_type, name: "undecoded", fields: vec![("content", Field::Bytes(length))] }
}

type Fields<'a> = (&'static str, Vec<(&'static str, Field<'a>)>);

fn text(bytes: &[u8]) -> Field<'_> {
    Field::Text(Cow::Borrowed(bytes))
}

fn request_fields(request: Request<'_>) -> Fields<'_> {
    use Field::{Bytes, Extensions, Number, User};
    let byte = |byte: u8| Number(byte.into());
    match request {
        Request::Register(account) => ("register", account_fields(account)),
        Request::LogIn { mode, .. } => ("log-in", vec![("mode", byte(mode))]),
        Request::Send { receiver, content } => {
            ("send", vec![("to", User(receiver)), ("text", text(content))])
        }
        Request::Broadcast { group, content } => {
            ("broadcast", vec![("group", Number(group.into())), ("text", text(content))])
        }
        Request::ViewProfile { friend } => ("view-profile", vec![("number", User(friend))]),
        Request::AddGroup { name } => ("add-group", vec![("name", text(name))]),
        Request::RenameGroup { group, name } => {
            ("rename-group", vec![("group", byte(group.0)), ("name", text(name))])
        }
        Request::DeleteGroup { group } => ("delete-group", vec![("group", byte(group.0))]),
        Request::MoveFriends(moves) => ("move-friends", vec![("moves", Field::Moves(moves))]),
        Request::ListOnline { start, count, direction } => (
            "list-online",
            vec![("start", User(start)), ("count", byte(count)), ("direction", byte(direction))],
        ),
        Request::Search { statement } => ("search", vec![("statement", text(statement))]),
        Request::AddFriend { friend } => ("add-friend", vec![("friend", User(friend))]),
        Request::RequestFriend { friend, reason } => {
            ("request-friend", vec![("friend", User(friend)), ("reason", text(reason))])
        }
        Request::DeleteFriend { friend } => ("delete-friend", vec![("friend", User(friend))]),
        Request::SetMode { mode } => ("set-mode", vec![("mode", byte(mode))]),
        Request::Monitor { watched } => ("monitor", vec![("watched", User(watched))]),
        Request::ChangeProfile(account) => ("change-profile", account_fields(account)),
        Request::OfferFile { friend, name, length } => (
            "offer-file",
            vec![("to", User(friend)), ("name", text(name)), ("length", Number(length.into()))],
        ),
        Request::AnswerFile { friend, allow } => {
            ("answer-file", vec![("from", User(friend)), ("allow", byte(allow))])
        }
        Request::FilePiece { friend, data } => {
            ("file-piece", vec![("to", User(friend)), ("data", Bytes(data.len()))])
        }
        Request::Test => ("test", Vec::new()),
        Request::AnswerRequest { friend, consent } => {
            ("answer-request", vec![("friend", User(friend)), ("consent", byte(consent))])
        }
        Request::WantExtensions { wanted } => {
            ("want-extensions", vec![("wanted", Extensions(wanted))])
        }
        Request::Arrived { through } => ("arrived", vec![("through", Number(through.0))]),
    }
}

fn account_fields(account: Account<'_>) -> Vec<(&'static str, Field<'_>)> {
    vec![
        ("authentication", Field::Number(account.authentication.into())),
        ("profile", Field::Profile(account.profile)),
    ]
}

fn reply_fields(packet: ServerPacket<'_>) -> Fields<'_> {
    use Field::{Extensions, Flag, Groups, Number, Time, User, Users, Word};
    let byte = |byte: u8| Number(byte.into());
    match packet {
        ServerPacket::Registered { success, number } => {
            ("registered", vec![("success", Flag(success)), ("number", User(number))])
        }
        ServerPacket::LoggedIn { success, groups } => {
            ("logged-in", vec![("success", Flag(success)), ("groups", Groups(groups))])
        }
        ServerPacket::Message { sign, number, text } => message_fields(sign, number, text),
        ServerPacket::Profile { success, number, profile } => (
            "profile",
            vec![
                ("success", Flag(success)),
                ("number", User(number)),
                ("profile", Field::Profile(profile)),
            ],
        ),
        ServerPacket::GroupAdded { success, group, name } => (
            "group-added",
            vec![("success", Flag(success)), ("group", byte(group.0)), ("name", text(name))],
        ),
        ServerPacket::GroupRenamed { success, group, name } => (
            "group-renamed",
            vec![("success", Flag(success)), ("group", byte(group.0)), ("name", text(name))],
        ),
        ServerPacket::GroupDeleted { success, group } => {
            ("group-deleted", vec![("success", Flag(success)), ("group", byte(group.0))])
        }
        ServerPacket::FriendsMoved { success } => {
            ("friends-moved", vec![("success", Flag(success))])
        }
        ServerPacket::Online { success, users } => {
            ("online", vec![("success", Flag(success)), ("users", Users(users))])
        }
        ServerPacket::Found { success, users } => {
            ("found", vec![("success", Flag(success)), ("users", Users(users))])
        }
        ServerPacket::Monitored { from, to, text: bytes } => {
            ("monitored", vec![("from", User(from)), ("to", User(to)), ("text", text(bytes))])
        }
        ServerPacket::FileOffered { sender, name, length } => (
            "file-offered",
            vec![("from", User(sender)), ("name", text(name)), ("length", Number(length.into()))],
        ),
        ServerPacket::FileAnswered { receiver, allow } => {
            ("file-answered", vec![("by", User(receiver)), ("allow", Flag(allow))])
        }
        ServerPacket::FilePiece { sender, data } => {
            ("file-piece", vec![("from", User(sender)), ("data", Field::Bytes(data.len()))])
        }
        ServerPacket::Tested { number } => ("tested", vec![("number", User(number))]),
        ServerPacket::Extensions { granted } => {
            ("extensions", vec![("granted", Extensions(granted))])
        }
        ServerPacket::Result { packet_type, success, id, text: bytes } => {
            let mut fields = vec![("of", Word(type_name(packet_type))), ("success", Flag(success))];
            if id.0 > 0 {
                fields.push(("id", Number(id.0)));
            }
            if !bytes.is_empty() {
                fields.push(("text", text(bytes)));
            }
            ("result", fields)
        }
        ServerPacket::Numbered { id, time, sign, number, text } => {
            let (name, mut fields) = message_fields(sign, number, text);
            fields.splice(0..0, [("id", Number(id.0)), ("accepted", Time(time))]);
            (name, fields)
        }
        ServerPacket::FriendPresence { number, state } => {
            ("presence", vec![("number", User(number)), ("state", Word(presence_name(state)))])
        }
    }
}

fn message_fields(sign: Sign, number: ServiceNumber, bytes: &[u8]) -> Fields<'_> {
    let from = ("from", Field::User(number));
    match sign {
        Sign::User => ("message", vec![from, ("text", text(bytes))]),
        Sign::System(SystemKind::Notice) => match Notice::parse(bytes) {
            Some(Notice { packet_type, code, sentence }) => {
                let mut fields = vec![("code", Field::Word(code.as_str()))];
                if packet_type > 0 {
                    fields.insert(0, ("of", Field::Word(type_name(packet_type))));
                }
                fields.push(("sentence", text(sentence.as_bytes())));
                ("notice", fields)
            }
            None => ("notice", vec![("text", text(bytes))]),
        },
        Sign::System(SystemKind::Added) => ("added", vec![from]),
        Sign::System(SystemKind::Asks) => ("asks", vec![from, ("text", text(bytes))]),
        Sign::System(SystemKind::Agreed) => ("agreed", vec![from]),
        Sign::System(SystemKind::Refused) => ("rejected", vec![from]),
    }
}

/// What a type of packets from clients is called.
fn type_name(packet_type: u8) -> &'static str {
    match RequestType::from_byte(packet_type) {
        None => "unknown",
        Some(RequestType::Register) => "register",
        Some(RequestType::LogIn) => "log-in",
        Some(RequestType::Send) => "send",
        Some(RequestType::Broadcast) => "broadcast",
        Some(RequestType::ViewProfile) => "view-profile",
        Some(RequestType::AddGroup) => "add-group",
        Some(RequestType::RenameGroup) => "rename-group",
        Some(RequestType::DeleteGroup) => "delete-group",
        Some(RequestType::MoveFriends) => "move-friends",
        Some(RequestType::ListOnline) => "list-online",
        Some(RequestType::Search) => "search",
        Some(RequestType::AddFriend) => "add-friend",
        Some(RequestType::RequestFriend) => "request-friend",
        Some(RequestType::DeleteFriend) => "delete-friend",
        Some(RequestType::SetMode) => "set-mode",
        Some(RequestType::Monitor) => "monitor",
        Some(RequestType::ChangeProfile) => "change-profile",
        Some(RequestType::OfferFile) => "offer-file",
        Some(RequestType::AnswerFile) => "answer-file",
        Some(RequestType::FilePiece) => "file-piece",
        Some(RequestType::Test) => "test",
        Some(RequestType::AnswerRequest) => "answer-request",
        Some(RequestType::WantExtensions) => "want-extensions",
        Some(RequestType::Arrived) => "arrived",
    }
}

/// How a user looks to others.
pub(crate) const fn presence_name(presence: Presence) -> &'static str {
    match presence {
        Presence::Online => "online",
        Presence::DoNotDisturb => "busy",
        Presence::Offline => "offline",
    }
}

/// The extensions of a sum, by their names.
pub(crate) fn extension_names(sum: u32) -> Vec<&'static str> {
    let granted = Extensions::grant(sum);
    let names = [
        (Extensions::RESULTS, "results"),
        (Extensions::MESSAGE_IDS, "message-ids"),
        (Extensions::PRESENCE, "presence"),
    ];
    names.into_iter().filter(|(one, _)| granted.have(*one)).map(|(_, name)| name).collect()
}

impl Told<'_> {
    /// In one line.
    pub(crate) fn words(&self, meaning: Meaning<'_>) -> String {
        let type_of_unknown = match self.name {
            "undecoded" => format!(" 0x{:02X}", self.packet_type),
            _ => String::new(),
        };
        let fields = self.fields.iter().map(|(name, field)| match field.words(meaning) {
            words if words.is_empty() => format!("{name} none"),
            words => format!("{name} {words}"),
        });
        let fields: Vec<_> = fields.collect();
        format!("{}{type_of_unknown} {}", self.name, fields.join(", ")).trim_end().to_owned()
    }

    /// As an object: `name`, `type`, and the packet's fields.
    pub(crate) fn json(&self, meaning: Meaning<'_>) -> Value {
        let mut object = Map::new();
        object.insert("name".into(), self.name.into());
        object.insert("type".into(), self.packet_type.into());
        for (name, field) in &self.fields {
            object.insert((*name).into(), field.json(meaning));
        }
        Value::Object(object)
    }
}

impl Field<'_> {
    fn words(&self, meaning: Meaning<'_>) -> String {
        let Meaning { state, charset } = meaning;
        let quoted = |bytes: &[u8]| Quoted(&charset.decode(bytes)).to_string();
        match self {
            Self::User(number) => who(state, charset, *number),
            Self::Number(number) => number.to_string(),
            Self::Time(time) => Time(*time).to_string(),
            Self::Text(bytes) => quoted(bytes),
            Self::Word(word) => (*word).to_owned(),
            Self::Flag(true) => "yes".to_owned(),
            Self::Flag(false) => "no".to_owned(),
            Self::Bytes(count) => format!("{count} B"),
            Self::Profile(profile) => {
                let mut words = vec![format!("nickname {}", quoted(profile.nickname))];
                words.extend(profile_words(profile, charset));
                words.join(", ")
            }
            Self::Users(users) => {
                let user =
                    |user: &UserEntry<'_>| format!("{} {}", user.number, quoted(user.nickname));
                users.iter().map(user).collect::<Vec<_>>().join(", ")
            }
            Self::Groups(groups) => {
                let group = |group: &GroupEntry<'_>| {
                    let name = quoted(group.name);
                    let friends = group.friends.iter().map(|friend| {
                        let state = presence_name(friend.state);
                        format!("{} {} {state}", friend.number, quoted(friend.nickname))
                    });
                    let friends = friends.collect::<Vec<_>>().join(", ");
                    format!("{} {name} ({friends})", group.group)
                };
                groups.iter().map(group).collect::<Vec<_>>().join(", ")
            }
            Self::Moves(moves) => {
                let moves = moves.iter().map(|(friend, group)| {
                    format!("{} to group {group}", who(state, charset, friend))
                });
                moves.collect::<Vec<_>>().join(", ")
            }
            Self::Extensions(sum) => match extension_names(*sum) {
                names if names.is_empty() => sum.to_string(),
                names => format!("{sum} ({})", names.join(", ")),
            },
        }
    }

    fn json(&self, meaning: Meaning<'_>) -> Value {
        let Meaning { charset, .. } = meaning;
        match self {
            Self::User(number) => number.0.into(),
            Self::Number(number) => (*number).into(),
            Self::Time(time) => Time(*time).to_string().into(),
            Self::Text(bytes) => charset.decode(bytes).into(),
            Self::Word(word) => (*word).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::Bytes(count) => (*count).into(),
            Self::Profile(profile) => profile_json(profile, charset),
            Self::Users(users) => users
                .iter()
                .map(|user| {
                    json!({
                        "number": user.number.0,
                        "nickname": charset.decode(user.nickname),
                        "portrait": user.portrait,
                        "province": user.province,
                        "city": charset.decode(user.city),
                    })
                })
                .collect(),
            Self::Groups(groups) => groups.iter().map(|group| group_json(group, charset)).collect(),
            Self::Moves(moves) => moves
                .iter()
                .map(|(friend, group)| json!({ "friend": friend.0, "group": group.0 }))
                .collect(),
            Self::Extensions(sum) => (*sum).into(),
        }
    }
}

fn group_json(group: &GroupEntry<'_>, charset: Charset) -> Value {
    let friends = group.friends.iter().map(|friend| {
        json!({
            "number": friend.number.0,
            "portrait": friend.portrait,
            "state": presence_name(friend.state),
            "nickname": charset.decode(friend.nickname),
        })
    });
    let friends: Vec<_> = friends.collect();
    json!({ "group": group.group.0, "name": charset.decode(group.name), "friends": friends })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oicq::codec::secret::Secret;
    use oicq::wire::{Code, Header, Kind};

    const ANN: ServiceNumber = ServiceNumber(10_001);
    const BEN: ServiceNumber = ServiceNumber(10_002);

    fn client(request: Request<'_>, session: Option<ServiceNumber>) -> (String, Value) {
        let mut bytes = Vec::new();
        ClientPacket { own: ANN, request }.encode(Kind::User, &mut bytes);
        told(&bytes, |frame| from_client(frame, session))
    }

    fn server(packet: &ServerPacket<'_>) -> (String, Value) {
        let mut bytes = Vec::new();
        packet.encode(Kind::User, &mut bytes);
        told(&bytes, |frame| from_server(frame))
    }

    fn told<'a>(bytes: &'a [u8], told: impl Fn(&Frame<'a>) -> Told<'a>) -> (String, Value) {
        let (packet_type, content) = (bytes[3], &bytes[8..]);
        let content_length = u32::try_from(content.len()).unwrap();
        let header = Header { kind: Kind::User, packet_type, content_length };
        let state = State::default();
        let meaning = Meaning { state: &state, charset: Charset::Utf8 };
        let told = told(&Frame { header, content });
        (told.words(meaning), told.json(meaning))
    }

    #[test]
    fn what_a_client_says_is_told_in_words_and_in_json() {
        let said = Request::Send { receiver: BEN, content: "你好\u{1b}[2J".as_bytes() };
        let (words, object) = client(said, Some(ANN));
        assert_eq!(words, r#"send to 10002, text "你好\u{1b}[2J""#);
        let expected = json!({ "name": "send", "type": 3, "to": 10_002, "text": "你好\u{1b}[2J" });
        assert_eq!(object, expected);
        let (words, _) = client(Request::Test, Some(BEN));
        assert_eq!(words, "test own 10001");
        assert_eq!(client(Request::Test, Some(ANN)).0, "test");
    }

    #[test]
    fn no_password_is_told() {
        let password = Secret::new(b"sesame");
        let profile = Profile { nickname: b"ann", city: b"X", ..Profile::default() };
        let account = Account { profile, password, authentication: 2 };
        let requests = [
            Request::Register(account),
            Request::ChangeProfile(account),
            Request::LogIn { password, mode: 1 },
        ];
        for request in requests {
            let (words, object) = client(request, None);
            assert!(!words.contains("sesame") && !object.to_string().contains("sesame"), "{words}");
        }
        let (words, _) = client(Request::LogIn { password, mode: 1 }, None);
        assert_eq!(words, "log-in own 10001, mode 1");
        let (words, _) = client(Request::Register(account), None);
        let expected = r#"register authentication 2, profile nickname "ann", city "X""#;
        assert_eq!(words, expected);
    }

    #[test]
    fn what_the_server_says_is_told() {
        let mut text = Vec::new();
        Notice::write(3, Code::UnknownNumber, "there is no user 5", &mut text);
        let sign = Sign::System(SystemKind::Notice);
        let notice = ServerPacket::Message { sign, number: ServiceNumber::NONE, text: &text };
        let words = server(&notice).0;
        let expected = r#"notice of send, code unknown-number, sentence "there is no user 5""#;
        assert_eq!(words, expected);
        let granted = ServerPacket::Extensions { granted: 5 };
        assert_eq!(server(&granted).0, "extensions granted 5 (results, presence)");
        let failed = ServerPacket::LoggedIn { success: false, groups: Vec::new() };
        assert_eq!(server(&failed).0, "logged-in success no, groups none");
    }

    #[test]
    fn what_cannot_be_decoded_is_told_by_its_type_and_length() {
        let bytes = [0x81, 0x0A, 1, 0x99, 0, 0, 0, 2, 7, 8];
        let (words, object) = told(&bytes, |frame| from_client(frame, None));
        assert_eq!(words, "undecoded 0x99 content 2 B");
        assert_eq!(object, json!({ "name": "undecoded", "type": 0x99, "content": 2 }));
    }
}
