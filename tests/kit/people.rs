//! The givens that tests begin with (users, friends, sessions), what clients are expected to get, and
//! the rules that every refusal and every violation keeps to.

use oicq::codec::packed::Moves;
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::{ConnectionId, GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::server::{FriendEntry, Presence, Sign, SystemKind};
use oicq::wire::{ClientPacket, Code, Kind, Request, ServerPacket};

use super::{Got, World};

/// Everybody's password, unless a test says otherwise.
pub const PASSWORD: &[u8] = b"secret";

/// A number that nobody has.
pub const NOBODY: ServiceNumber = ServiceNumber(99_999);

/// A client: its connection, and its number once it is in session (0 before).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct User {
    pub number: ServiceNumber,
    pub at: ConnectionId,
}

/// A friend as a login reply shows it: number and state.
pub type Shown = (ServiceNumber, Presence);

/// An account whose profile is empty but for the nickname, and that anyone may add.
pub fn account(nickname: &[u8]) -> Account<'_> {
    Account {
        profile: Profile { nickname, ..Profile::default() },
        password: Secret::new(PASSWORD),
        authentication: 0,
    }
}

/// A profile in which every field differs from every other and from its default.
pub fn full_profile() -> Profile<'static> {
    Profile {
        nickname: b"ann",
        portrait: 255,
        gender: 2,
        age: 150,
        real_name: b"Ann Ash",
        country: 86,
        province: 11,
        city: b"Harbin",
        address: b"1 Long Road",
        zip_code: b"150001",
        education: 3,
        school: b"School No. 1",
        occupation: 200,
        phone: b"555-0101",
        pager: b"126-5550102",
        email: b"ann@example.org",
        hobbies: b"chess\nand\tgo",
        description: b"line one\r\nline two",
    }
}

/// A packet as a user's client gets it.
pub fn got(packet: &ServerPacket<'_>) -> Got {
    let mut bytes = Vec::new();
    packet.encode(Kind::User, &mut bytes);
    Got {
        packet_type: packet.packet_type(),
        receiver: Kind::User as u8,
        content: bytes.split_off(8),
    }
}

/// A user's message.
pub fn message(from: User, text: &[u8]) -> Got {
    got(&ServerPacket::Message { sign: Sign::User, number: from.number, text })
}

/// A system message without a text.
pub fn system(kind: SystemKind, from: User) -> Got {
    system_text(kind, from, b"")
}

/// A system message.
pub fn system_text(kind: SystemKind, from: User, text: &[u8]) -> Got {
    got(&ServerPacket::Message { sign: Sign::System(kind), number: from.number, text })
}

/// The reply to a connection test.
pub fn tested(number: ServiceNumber) -> Got {
    got(&ServerPacket::Tested { number })
}

/// A client's packet in bytes.
pub fn bytes_of(kind: Kind, own: ServiceNumber, request: Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    ClientPacket { own, request }.encode(kind, &mut bytes);
    bytes
}

/// A packet of any type with any content.
pub fn raw(kind: u8, packet_type: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x81, kind, 0x01, packet_type];
    bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
    bytes.extend(content);
    bytes
}

/// The failure reply that the protocol gives a request: the success layout, with what is not known as 0
/// or empty; none where success has no reply either.
pub fn failure(request: &Request<'_>) -> Option<Got> {
    let success = false;
    let reply = match *request {
        Request::Register(_) => ServerPacket::Registered { success, number: ServiceNumber(0) },
        Request::LogIn { .. } => ServerPacket::LoggedIn { success, groups: Vec::new() },
        Request::ViewProfile { friend } => {
            ServerPacket::Profile { success, number: friend, profile: Profile::default() }
        }
        Request::AddGroup { name } => {
            ServerPacket::GroupAdded { success, group: GroupNumber(0), name }
        }
        Request::RenameGroup { group, name } => ServerPacket::GroupRenamed { success, group, name },
        Request::DeleteGroup { group } => ServerPacket::GroupDeleted { success, group },
        Request::MoveFriends(_) => ServerPacket::FriendsMoved { success },
        Request::ListOnline { .. } => ServerPacket::Online { success, users: Vec::new() },
        Request::Search { .. } => ServerPacket::Found { success, users: Vec::new() },
        _ => return None,
    };
    Some(got(&reply))
}

/// The requests of every type in a session, all of them in the right layout.
pub fn one_of_each<'a>(friend: ServiceNumber, moves: &'a [u8]) -> Vec<Request<'a>> {
    let group = GroupNumber(1);
    vec![
        Request::Register(account(b"eve")),
        Request::LogIn { password: Secret::new(PASSWORD), mode: 0 },
        Request::Send { receiver: friend, content: b"hi" },
        Request::Broadcast { group: 1, content: b"hi" },
        Request::ViewProfile { friend },
        Request::AddGroup { name: b"work" },
        Request::RenameGroup { group, name: b"work" },
        Request::DeleteGroup { group: GroupNumber(2) },
        Request::MoveFriends(Moves::over(moves).unwrap()),
        Request::ListOnline { start: friend, count: 1, direction: 2 },
        Request::Search { statement: b"SELECT * FROM users" },
        Request::AddFriend { friend },
        Request::RequestFriend { friend, reason: b"it is me" },
        Request::DeleteFriend { friend },
        Request::SetMode { mode: 1 },
        Request::Monitor { watched: friend },
        Request::ChangeProfile(account(b"ann")),
        Request::OfferFile { friend, name: b"a.txt", length: 1 },
        Request::AnswerFile { friend, allow: 1 },
        Request::FilePiece { friend, data: b"" },
        Request::Test,
        Request::AnswerRequest { friend, consent: 1 },
        Request::WantExtensions { wanted: 0 },
    ]
}

impl World {
    /// A user who is registered and not in session.
    pub fn registered(&mut self, account: Account<'_>) -> ServiceNumber {
        let at = self.connect();
        let answer = self.ask(at, ServiceNumber::NONE, Request::Register(account));
        self.disconnect(at);
        let [reply] = &answer[..] else { panic!("one reply to a registration, not {answer:?}") };
        let ServerPacket::Registered { success: true, number } = reply.packet() else {
            panic!("not registered: {reply:?}");
        };
        number
    }

    /// A client that has not logged in.
    pub fn stranger(&mut self) -> User {
        User { number: ServiceNumber::NONE, at: self.connect() }
    }

    /// Logs a client in, and gives what follows the reply.
    pub fn log_in(&mut self, at: ConnectionId, number: ServiceNumber, mode: u8) -> Vec<Got> {
        let request = Request::LogIn { password: Secret::new(PASSWORD), mode };
        let mut answer = self.ask(at, number, request);
        assert!(!answer.is_empty(), "a login gets a reply");
        let reply = answer.remove(0);
        assert!(
            matches!(reply.packet(), ServerPacket::LoggedIn { success: true, .. }),
            "{reply:?}"
        );
        answer
    }

    /// A registered user's new session, with whatever waited already looked at.
    pub fn session(&mut self, number: ServiceNumber) -> User {
        let (user, _) = self.session_and_mail(number);
        user
    }

    /// A registered user's new session, and what waited for it.
    pub fn session_and_mail(&mut self, number: ServiceNumber) -> (User, Vec<Got>) {
        let at = self.connect();
        let mail = self.log_in(at, number, 0);
        (User { number, at }, mail)
    }

    /// A new user in session.
    pub fn user(&mut self, nickname: &[u8]) -> User {
        self.user_with(account(nickname))
    }

    /// A new user in session with the given setting of who may add it.
    pub fn user_who(&mut self, nickname: &[u8], authentication: u8) -> User {
        self.user_with(Account { authentication, ..account(nickname) })
    }

    /// A new user in session.
    pub fn user_with(&mut self, account: Account<'_>) -> User {
        let number = self.registered(account);
        self.session(number)
    }

    /// New users out of session; anyone may add them.
    pub fn crowd(&mut self, size: usize) -> Vec<ServiceNumber> {
        (0..size).map(|_| self.registered(account(b"crowd"))).collect()
    }

    /// The user's end is gone, as by a reset.
    pub fn leaves(&mut self, user: User) {
        self.disconnect(user.at);
    }

    /// Asks, and gives what this client gets for it (and got before).
    pub fn asks(&mut self, user: User, request: Request<'_>) -> Vec<Got> {
        self.ask(user.at, user.number, request)
    }

    /// Asks for what has no reply.
    #[track_caller]
    pub fn does(&mut self, user: User, request: Request<'_>) {
        self.take(user.at);
        assert_eq!(self.asks(user, request), [], "success is silent");
    }

    /// Puts a friend who lets anyone add it into a friend list; nobody keeps the messages about it.
    #[track_caller]
    pub fn befriend(&mut self, owner: User, friend: ServiceNumber) {
        self.take(owner.at);
        let agreed = User { number: friend, at: owner.at };
        let answer = self.asks(owner, Request::AddFriend { friend });
        assert_eq!(answer, [system(SystemKind::Agreed, agreed)]);
        let told = system(SystemKind::Added, owner);
        self.inboxes.values_mut().for_each(|inbox| inbox.retain(|got| *got != told));
    }

    /// Two users in session, each in the other's friend list.
    pub fn friends(&mut self) -> (User, User) {
        let (ann, ben) = (self.user(b"ann"), self.user(b"ben"));
        self.befriend(ann, ben.number);
        self.befriend(ben, ann.number);
        (ann, ben)
    }

    /// A new group's number.
    #[track_caller]
    pub fn group(&mut self, owner: User, name: &[u8]) -> GroupNumber {
        let answer = self.asks(owner, Request::AddGroup { name });
        let [reply] = &answer[..] else { panic!("one reply, not {answer:?}") };
        let ServerPacket::GroupAdded { success: true, group, .. } = reply.packet() else {
            panic!("no group: {reply:?}");
        };
        group
    }

    /// Asks for friends to be moved.
    pub fn moves(&mut self, owner: User, moves: &[(ServiceNumber, GroupNumber)]) -> Vec<Got> {
        let packed = Moves::pack(moves.iter().copied());
        self.asks(owner, Request::MoveFriends(Moves::over(&packed).unwrap()))
    }

    /// Has friends moved.
    #[track_caller]
    pub fn moved(&mut self, owner: User, moves: &[(ServiceNumber, GroupNumber)]) {
        assert_eq!(self.moves(owner, moves), [got(&ServerPacket::FriendsMoved { success: true })]);
    }

    /// A friend list as its owner's next login shows it: groups with their friends and states. The
    /// session before is replaced.
    #[track_caller]
    pub fn friend_list(&mut self, number: ServiceNumber) -> Vec<(GroupNumber, Vec<Shown>)> {
        let at = self.connect();
        let request = Request::LogIn { password: Secret::new(PASSWORD), mode: 0 };
        let answer = self.ask(at, number, request);
        let ServerPacket::LoggedIn { success: true, groups } = answer[0].packet() else {
            panic!("no login: {answer:?}");
        };
        let shown = |friend: &FriendEntry<'_>| (friend.number, friend.state);
        groups
            .iter()
            .map(|group| (group.group, group.friends.iter().map(shown).collect()))
            .collect()
    }

    /// Who is online, from the smallest number on.
    #[track_caller]
    pub fn online(&mut self, asker: User) -> Vec<ServiceNumber> {
        let start = ServiceNumber(0);
        let answer = self.asks(asker, Request::ListOnline { start, count: 255, direction: 2 });
        numbers(&answer)
    }

    /// Whom a search finds, in the reply's order.
    #[track_caller]
    pub fn search(&mut self, asker: User, statement: &str) -> Vec<ServiceNumber> {
        let answer = self.asks(asker, Request::Search { statement: statement.as_bytes() });
        numbers(&answer)
    }

    /// Lets what has been acknowledged be written down.
    pub fn settle(&mut self) {
        self.pass(100);
    }

    /// The receiver's end has taken so many bytes more, and nobody has told the engine yet.
    pub fn takes_unnoticed(&mut self, at: ConnectionId, bytes: usize) {
        *self.journal.acknowledged.entry(at).or_default() += bytes as u64;
    }

    /// Refused: the failure reply that the protocol gives it, then the notice; nothing has changed, and
    /// the session goes on. Gives the notice's sentence.
    #[track_caller]
    pub fn refused(&mut self, user: User, request: Request<'_>, code: Code) -> String {
        self.refused_as(user, user.number, request, code)
    }

    /// As [`Self::refused`], for a packet that carries another number: a login.
    #[track_caller]
    pub fn refused_as(
        &mut self,
        user: User,
        own: ServiceNumber,
        request: Request<'_>,
        code: Code,
    ) -> String {
        self.settle();
        self.take(user.at);
        let (digest, events) = (self.digest(), self.events());
        let packet_type = request.packet_type() as u8;
        let mut answer = self.ask(user.at, own, request);
        let notice = answer.pop().and_then(|last| last.notice());
        let Some((refused_type, refused_code, sentence)) = notice else {
            panic!("no notice at the end, {code} was expected for {request:?}, got {answer:?}");
        };
        assert_eq!((refused_type, refused_code), (packet_type, code), "{request:?}: {sentence}");
        assert_eq!(answer, Vec::from_iter(failure(&request)), "before the notice: {sentence}");
        assert_eq!(self.event_names(events), [""; 0], "a refusal changes nothing: {sentence}");
        assert_eq!(self.digest(), digest, "a refusal changes nothing: {sentence}");
        self.goes_on(user);
        sentence
    }

    /// The connection is open and answers.
    #[track_caller]
    pub fn goes_on(&mut self, user: User) {
        assert!(!self.is_closed(user.at), "the connection goes on");
        assert_eq!(self.asks(user, Request::Test), [tested(user.number)], "the session goes on");
    }

    /// Violated: one notice of this type and code, then the connection is closed; nothing has changed,
    /// and what comes after it is not looked at.
    #[track_caller]
    pub fn violated(&mut self, user: User, bytes: &[u8], packet_type: u8, code: Code) {
        self.settle();
        self.take(user.at);
        let (digest, events) = (self.digest(), self.events());
        let mut stream = bytes.to_vec();
        stream.extend(bytes_of(
            Kind::User,
            ServiceNumber(0),
            Request::Register(account(b"mallory")),
        ));
        self.send_bytes(user.at, &stream);
        let answer = self.take(user.at);
        let [notice] = &answer[..] else { panic!("one notice, {code}, not {answer:?}") };
        let (violated_type, violated_code, sentence) = notice.notice().expect("a notice");
        assert_eq!((violated_type, violated_code), (packet_type, code), "{sentence}");
        assert!(self.is_closed(user.at), "a violation closes the connection: {sentence}");
        assert_eq!(self.event_names(events), [""; 0], "a violation changes nothing: {sentence}");
        assert_eq!(self.digest(), digest, "a violation changes nothing: {sentence}");
    }

    /// Closed by the server with one notice, which no packet caused.
    #[track_caller]
    pub fn ended(&mut self, at: ConnectionId, code: Code) {
        let answer = self.take(at);
        let notices: Vec<_> = answer.iter().map(Got::notice).collect();
        let [Some((0, ended, _))] = &notices[..] else { panic!("one notice, not {answer:?}") };
        assert_eq!(*ended, code);
        assert!(self.is_closed(at));
    }

    /// A single notice has come; gives its sentence.
    #[track_caller]
    pub fn noticed(&mut self, at: ConnectionId, packet_type: u8, code: Code) -> String {
        let answer = self.take(at);
        let [one] = &answer[..] else { panic!("one notice, {code}, not {answer:?}") };
        let (noticed_type, noticed_code, sentence) = one.notice().expect("a notice");
        assert_eq!((noticed_type, noticed_code), (packet_type, code), "{sentence}");
        sentence
    }
}

/// The numbers in the one reply of who is online, or of who was found.
#[track_caller]
pub fn numbers(answer: &[Got]) -> Vec<ServiceNumber> {
    let [reply] = answer else { panic!("one reply, not {answer:?}") };
    match reply.packet() {
        ServerPacket::Online { success: true, users }
        | ServerPacket::Found { success: true, users } => {
            users.iter().map(|user| user.number).collect()
        }
        other => panic!("no list of users: {other:?}"),
    }
}
