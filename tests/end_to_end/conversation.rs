//! Conversations: what users see of each other over real connections, on every kind of listener.

use oicq::codec::packed::Moves;
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::server::{Presence, SystemKind};
use oicq::wire::{Code, Kind, Request, ServerPacket};

use crate::live::{Client, PASSWORD, Server, groups, heard, is_system, message, register, texts};

const ANN: ServiceNumber = ServiceNumber(10_001);
const BOB: ServiceNumber = ServiceNumber(10_002);

#[test]
fn a_registration_is_answered_byte_by_byte() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut bytes = vec![0x81, 0x0A, 0x01, 0x01, 0, 0, 0, 0x2A, 0, 3, 0x61, 0x6E, 0x6E, 0, 0];
    bytes.extend([0, 6, 0x73, 0x65, 0x63, 0x72, 0x65, 0x74]);
    bytes.extend([0; 27]);
    client.send_bytes(&bytes);
    client.half_close();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut client.stream, &mut answer).unwrap();
    assert_eq!(answer, [0x81, 1, 0x0A, 1, 0, 0, 0, 5, 1, 0, 0, 0x27, 0x11]);
}

#[test]
fn messages_reach_those_who_are_online_and_wait_for_those_who_are_not() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    ann.tell(BOB, "hi");
    assert_eq!(heard(&bob.get()), (ANN, "hi".to_owned()));
    bob.log_out();
    ann.tell(BOB, "one");
    ann.tell(BOB, "two\n\tlines");
    assert_eq!(bob.pending(), [], "without a session nothing comes");
    let waited = bob.log_in(BOB);
    assert_eq!(texts(&waited), ["one", "two\n\tlines"]);
    ann.tell(ANN, "to myself");
    assert_eq!(heard(&ann.get()).1, "to myself");
    assert_eq!(ann.refused(message(ServiceNumber(9), "x")), (Code::UnknownNumber, 0));
}

#[test]
fn a_broadcast_reaches_the_friends_of_a_group() {
    let server = Server::start(&[]);
    let (mut ann, mut bob, mut eve) = (server.user("ann"), server.user("bob"), server.user("eve"));
    ann.befriend(&mut bob);
    ann.befriend(&mut eve);
    let added = ann.reply(Request::AddGroup { name: "同学".as_bytes() });
    let expected =
        ServerPacket::GroupAdded {
            success: true, group: GroupNumber(2), name: "同学".as_bytes()
        };
    assert_eq!(added.packet(), expected);
    let moves = Moves::pack([(eve.own, GroupNumber(2))]);
    let moved = ann.reply(Request::MoveFriends(Moves::over(&moves).unwrap()));
    assert_eq!(moved.packet(), ServerPacket::FriendsMoved { success: true });
    ann.quietly(Request::Broadcast { group: 2, content: b"class" });
    ann.quietly(Request::Broadcast { group: GroupNumber::ALL.0.into(), content: b"all" });
    assert_eq!(texts(&bob.pending()), ["all"]);
    assert_eq!(texts(&eve.pending()), ["class", "all"]);
    let deaf = Request::Broadcast { group: 3, content: b"x" };
    assert_eq!(ann.refused(deaf), (Code::UnknownGroup, 0));
}

#[test]
fn groups_and_friends_are_in_the_next_logins_reply() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    ann.befriend(&mut bob);
    ann.reply(Request::AddGroup { name: b"work" });
    ann.reply(Request::AddGroup { name: b"play" });
    let renamed = ann.reply(Request::RenameGroup { group: GroupNumber(3), name: b"games" });
    assert_eq!(renamed.packet_type, 0x06);
    let moves = Moves::pack([(BOB, GroupNumber(2))]);
    ann.reply(Request::MoveFriends(Moves::over(&moves).unwrap()));
    let mut again = server.connect();
    let (reply, _) = again.log_in_with(ANN, PASSWORD);
    let expected = [
        (GroupNumber(1), "My Friends".to_owned(), vec![]),
        (GroupNumber(2), "work".to_owned(), vec![BOB]),
        (GroupNumber(3), "games".to_owned(), vec![]),
    ];
    assert_eq!(groups(&reply), expected);
    ann.is_closed_with(0, Code::Elsewhere);
    let deleted = again.reply(Request::DeleteGroup { group: GroupNumber(2) });
    let expected = ServerPacket::GroupDeleted { success: true, group: GroupNumber(2) };
    assert_eq!(deleted.packet(), expected);
    assert_eq!(
        again.refused(Request::DeleteGroup { group: GroupNumber(1) }),
        (Code::NotAllowed, 1)
    );
    again.quietly(Request::DeleteFriend { friend: BOB });
    assert_eq!(again.refused(Request::DeleteFriend { friend: BOB }), (Code::UnknownFriend, 0));
}

#[test]
fn friends_are_asked_for_and_answer() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user_with("bob", 1));
    let mut eve = server.user_with("eve", 2);
    ann.quietly(Request::RequestFriend { friend: BOB, reason: b"we met" });
    let asks = bob.get();
    assert!(is_system(&asks, SystemKind::Asks, ANN));
    assert!(matches!(asks.packet(), ServerPacket::Message { text: b"we met", .. }));
    bob.quietly(Request::AnswerRequest { friend: ANN, consent: 0 });
    assert!(is_system(&ann.get(), SystemKind::Refused, BOB));
    ann.quietly(Request::AddFriend { friend: BOB });
    assert!(is_system(&bob.get(), SystemKind::Asks, ANN));
    bob.quietly(Request::AnswerRequest { friend: ANN, consent: 1 });
    assert!(is_system(&ann.get(), SystemKind::Agreed, BOB));
    assert_eq!(ann.refused(Request::AddFriend { friend: BOB }), (Code::AlreadyFriend, 0));
    let again = Request::AnswerRequest { friend: ANN, consent: 1 };
    assert_eq!(bob.refused(again), (Code::NoRequest, 0));
    assert!(is_system(
        &ann.ask(Request::AddFriend { friend: eve.own })[0],
        SystemKind::Refused,
        eve.own
    ));
    assert_eq!(eve.pending(), [], "she learns nothing");
    assert_eq!(ann.refused(Request::AddFriend { friend: ANN }), (Code::BadValue, 0));
}

#[test]
fn who_is_online_and_how_modes_are_shown() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    ann.befriend(&mut bob);
    let online = |client: &mut Client, start: ServiceNumber, direction| {
        let got = client.reply(Request::ListOnline { start, count: 10, direction });
        let ServerPacket::Online { success: true, users } = got.packet() else { panic!("{got:?}") };
        users.iter().map(|user| user.number).collect::<Vec<_>>()
    };
    assert_eq!(online(&mut ann, ANN, 2), [ANN, BOB]);
    assert_eq!(online(&mut ann, BOB, 1), [BOB, ANN]);
    assert_eq!(online(&mut ann, ANN, 1), [ANN]);
    for (mode, state) in
        [(3, Presence::DoNotDisturb), (2, Presence::Offline), (1, Presence::Online)]
    {
        bob.quietly(Request::SetMode { mode });
        let (mut ann, _) = server.back(ANN);
        assert_eq!(online(&mut ann, BOB, 2).len(), usize::from(mode != 2), "mode {mode}");
        let (reply, _) = ann.log_in_again(&server);
        let ServerPacket::LoggedIn { groups, .. } = reply.packet() else { panic!("{reply:?}") };
        assert_eq!(groups[0].friends[0].state, state, "mode {mode}");
    }
    let bad = Request::ListOnline { start: ANN, count: 1, direction: 3 };
    assert_eq!(bob.refused(bad), (Code::BadValue, 1));
}

impl Client {
    /// The reply to the same user's login on another connection, which ends with it.
    fn log_in_again(&self, server: &Server) -> (crate::kit::Got, Vec<crate::kit::Got>) {
        server.connect().log_in_with(self.own, PASSWORD)
    }
}

#[test]
fn users_are_found_and_looked_at() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    for (nickname, age, city) in [("zoe", 20, "北京"), ("max", 40, "Paris"), ("kim", 30, "北京")]
    {
        let profile = Profile {
            nickname: nickname.as_bytes(),
            age,
            city: city.as_bytes(),
            real_name: b"hidden",
            ..Profile::default()
        };
        let password = Secret::new(PASSWORD.as_bytes());
        let account = Account { profile, password, authentication: 0 };
        server.connect().reply(Request::Register(account));
    }
    let statement = "select * from users where city = '北京' and age < 35 order by age desc;";
    let found = ann.reply(Request::Search { statement: statement.as_bytes() });
    let ServerPacket::Found { success: true, users } = found.packet() else { panic!("{found:?}") };
    let names: Vec<_> = users.iter().map(|user| user.nickname).collect();
    assert_eq!(names, [&b"kim"[..], b"zoe"]);
    let kim = users[0].number;
    let statement = Request::Search { statement: b"select password from users" };
    assert_eq!(ann.refused(statement), (Code::BadQuery, 1));

    let seen = ann.reply(Request::ViewProfile { friend: kim });
    let ServerPacket::Profile { success: true, number, profile } = seen.packet() else {
        panic!("{seen:?}")
    };
    assert_eq!((number, profile.nickname, profile.real_name), (kim, &b"kim"[..], &b""[..]));
    let failed = ann.ask(Request::ViewProfile { friend: ServiceNumber(7) });
    let expected = ServerPacket::Profile {
        success: false,
        number: ServiceNumber(7),
        profile: Profile::default(),
    };
    assert_eq!(failed[0].packet(), expected);
    assert_eq!(failed[1].notice().unwrap().1, Code::UnknownNumber);
}

#[test]
fn operators_and_nobody_else_monitor() {
    let server = Server::start(&["--operator", "10003", "--operator", "10004"]);
    let (mut ann, mut bob, mut eve) = (server.user("ann"), server.user("bob"), server.user("eve"));
    assert_eq!(ann.refused(Request::Monitor { watched: BOB }), (Code::NotAllowed, 0));
    eve.quietly(Request::Monitor { watched: ANN });
    ann.tell(BOB, "psst");
    bob.tell(ANN, "what?");
    let monitored = [(ANN, BOB, "psst"), (BOB, ANN, "what?")];
    for (from, to, text) in monitored {
        let text = text.as_bytes();
        assert_eq!(eve.get().packet(), ServerPacket::Monitored { from, to, text });
    }
    eve.quietly(Request::Monitor { watched: ServiceNumber::NONE });
    ann.tell(BOB, "alone");
    assert_eq!(eve.pending(), []);
}

#[test]
fn a_service_program_and_a_web_server_have_kinds_of_their_own() {
    let server = Server::start(&["--service", "fax=10001", "--service", "chat=10005"]);
    let number = server.offline_user("fax");
    let mut fax = server.connect();
    fax.kind = Kind::Fax;
    fax.log_in(number);
    let mut wrong = server.connect();
    assert_eq!(wrong.is_not_let_in(number, PASSWORD).0, Code::NotAllowed, "a fax is no user");

    let mut web = server.connect();
    web.kind = Kind::Web;
    let bob = web.register("bob", PASSWORD);
    web.log_in(bob);
    web.tell(number, "print this");
    let got = fax.get();
    assert_eq!((heard(&got).1.as_str(), got.receiver), ("print this", Kind::Fax as u8));
    web.quietly(Request::OfferFile { friend: number, name: b"a.txt", length: 3 });
    assert_eq!(fax.get().packet_type, 0x13, "nobody needs a service program as a friend");
    fax.tell(bob, "done");
    assert_eq!(web.get().receiver, Kind::Web as u8);
    web.kind = Kind::User;
    web.send(Request::Test);
    web.kind = Kind::Web;
    web.is_closed_with(0, Code::Malformed);
}

#[test]
fn the_server_listens_where_it_is_told_to_and_over_ipv6_too() {
    let two = Server::start(&["--listen", "127.0.0.1:0", "-l", "127.0.0.1:0"]);
    assert_eq!(two.addresses.len(), 2);
    assert_ne!(two.addresses[0].port(), two.addresses[1].port());
    let mut ann = two.user("ann");
    let mut bob = Client::connect(two.addresses[1]);
    let number = bob.register("bob", PASSWORD);
    bob.log_in(number);
    ann.tell(number, "over there");
    assert_eq!(heard(&bob.get()).1, "over there");

    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this system has no IPv6");
        return;
    }
    let six = Server::start(&["--listen", "[::1]:0", "--listen", "127.0.0.1:0"]);
    assert!(six.addresses[0].is_ipv6() && six.addresses[1].is_ipv4());
    let mut ann = six.user("ann");
    ann.tell(ANN, "six");
    assert_eq!(heard(&ann.get()).1, "six");
}

#[test]
fn failed_logins_and_registrations_say_so_in_the_replies_layout() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let number = client.register("ann", PASSWORD);
    for (number, password) in [(number, "wrong!"), (ServiceNumber(77), PASSWORD)] {
        assert_eq!(client.is_not_let_in(number, password).0, Code::BadLogin);
    }
    client.send(register("", PASSWORD, 0));
    assert_eq!(client.get().content, [0; 5]);
    let (packet_type, code, sentence) = client.get().notice().unwrap();
    assert_eq!((packet_type, code), (1, Code::BadValue));
    assert!(sentence.contains("nickname"), "{sentence}");
    assert_eq!(client.pending(), [], "a connection test needs no session");
}
