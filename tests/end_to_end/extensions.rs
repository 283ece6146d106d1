//! Extensions over real connections: results that name what stands in the log, messages that come again until
//! they are confirmed, receivers that are half dead, and friends who come and go.

use std::collections::BTreeMap;
use std::io::Read as _;

use oicq::codec::packed::Moves;
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::{GroupNumber, Seq, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::server::{Presence, Sign, SystemKind};
use oicq::wire::{Code, Request, ServerPacket, cut_for_client};

use crate::kit::Got;
use crate::kit::capture::format_time;
use crate::kit::extended::{IDS, PRESENCE, RESULTS};
use crate::live::{
    Client, PASSWORD, Server, is_system, log_in, message, register, result, texts, tool, wait_for,
};

/// A connection that has these extensions.
fn asker(server: &Server, wanted: u32) -> Client {
    grant(server.connect(), wanted)
}

fn grant(mut client: Client, wanted: u32) -> Client {
    client.send(Request::WantExtensions { wanted });
    assert_eq!(client.get().packet(), ServerPacket::Extensions { granted: wanted });
    client
}

/// Somebody who was here before, on a connection whose messages have ids; what has waited.
fn back(server: &Server, number: ServiceNumber) -> (Client, Vec<Got>) {
    let mut client = asker(server, IDS);
    let waited = client.log_in(number);
    (client, waited)
}

/// The result of a packet, and what comes before it.
fn results(client: &mut Client, request: Request<'_>) -> (Vec<Got>, u64) {
    client.send(request);
    let mut before = Vec::new();
    loop {
        let got = client.get();
        match got.result() {
            Some((packet_type, true, id, text)) => {
                assert_eq!((packet_type, &*text), (request.packet_type() as u8, ""));
                return (before, id);
            }
            Some(failed) => panic!("{failed:?}"),
            None => before.push(got),
        }
    }
}

/// A new user in session, who has results and whatever else is wanted.
fn speaker(server: &Server, nickname: &str, wanted: u32) -> Client {
    let number = server.offline_user(nickname);
    let mut client = asker(server, RESULTS | wanted);
    client.own = number;
    let (reply, id) = results(&mut client, log_in(PASSWORD));
    assert_eq!((reply.len(), id), (1, 0));
    client
}

/// The ids and texts of users' messages; what has none is passed over.
fn numbered(all: &[Got]) -> Vec<(u64, String)> {
    let one = |got: &Got| match got.packet() {
        ServerPacket::Numbered { id, sign: Sign::User, text, .. } => {
            Some((id.0, String::from_utf8_lossy(text).into_owned()))
        }
        _ => None,
    };
    all.iter().filter_map(one).collect()
}

fn confirm(client: &mut Client, through: u64) {
    client.quietly(Request::Arrived { through: Seq(through) });
}

/// Says many things, many at once; the id and the text of each.
fn say_many(
    speaker: &mut Client,
    to: ServiceNumber,
    count: usize,
    size: usize,
) -> Vec<(u64, String)> {
    let filling = "x".repeat(size);
    let texts: Vec<_> = (0..count).map(|index| format!("{index} {filling}")).collect();
    let mut said = Vec::new();
    for some in texts.chunks(50) {
        let bytes: Vec<_> = some.iter().flat_map(|text| speaker.bytes(message(to, text))).collect();
        speaker.send_bytes(&bytes);
        for text in some {
            let (_, success, id, _) = speaker.get().result().expect("nothing but results");
            assert!(success && id > 0);
            said.push((id, text.clone()));
        }
    }
    said
}

/// Somebody who watches a friend.
fn watcher(server: &Server, friend: ServiceNumber) -> Client {
    let mut eve = speaker(server, "eve", PRESENCE);
    let (before, _) = results(&mut eve, Request::AddFriend { friend });
    assert!(is_system(&before[0], SystemKind::Agreed, friend), "{before:?}");
    eve
}

/// Waits until a friend is seen so; the watcher is never idle meanwhile.
fn sees(watcher: &mut Client, friend: ServiceNumber, state: Presence) {
    let expected = ServerPacket::FriendPresence { number: friend, state };
    wait_for("a friend's state", || {
        let (before, _) = results(watcher, Request::Test);
        before.iter().any(|got| got.packet() == expected).then_some(())
    });
}

// Results

/// The one event that `replay` shows for an id.
fn event(server: &Server, id: u64) -> serde_json::Value {
    let id_text = id.to_string();
    let options = ["--from", &id_text, "--until", &id_text, "--format", "json"];
    let shown = result("replay", server.data(), &options);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 1, "{shown}");
    let event: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(event["seq"].as_u64(), Some(id), "{shown}");
    event
}

#[test]
fn a_results_id_is_the_change_that_replay_shows() {
    let server = Server::start(&["--operator", "10001"]);
    let mut ann = asker(&server, RESULTS);
    let (_, id) = results(&mut ann, register("ann", PASSWORD, 0));
    assert_eq!(event(&server, id)["kind"], "registered");
    assert_eq!(event(&server, id)["number"], 10_001);
    ann.own = ServiceNumber(10_001);
    results(&mut ann, log_in(PASSWORD));
    let (mut bob, eve) = (server.user("bob"), server.user_with("eve", 1));
    let moves = Moves::pack([(bob.own, GroupNumber(2))]);
    let profile = Profile { nickname: b"anna", ..Profile::default() };
    let account = |password: &'static [u8]| Account {
        profile,
        password: Secret::new(password),
        authentication: 1,
    };
    let (friend, group, content) = (bob.own, GroupNumber(2), &b"hello"[..]);
    let changes = [
        ("friend-added", Request::AddFriend { friend }),
        ("friend-requested", Request::RequestFriend { friend: eve.own, reason: b"me" }),
        ("message-sent", Request::Send { receiver: friend, content }),
        ("group-added", Request::AddGroup { name: b"work" }),
        ("friends-moved", Request::MoveFriends(Moves::over(&moves).unwrap())),
        ("message-broadcast", Request::Broadcast { group: 2, content: b"to all" }),
        ("group-renamed", Request::RenameGroup { group, name: b"play" }),
        ("group-deleted", Request::DeleteGroup { group }),
        ("profile-changed", Request::ChangeProfile(account(b""))),
        ("profile-changed", Request::ChangeProfile(account(b"another secret"))),
        ("monitoring-started", Request::Monitor { watched: friend }),
        ("monitoring-ended", Request::Monitor { watched: ServiceNumber::NONE }),
        ("friend-deleted", Request::DeleteFriend { friend }),
    ];
    let mut last = 0;
    for (kind, request) in changes {
        let (_, id) = results(&mut ann, request);
        let event = event(&server, id);
        assert_eq!(event["kind"], kind);
        assert!(id > last, "{kind}: {id} after {last}");
        if kind == "message-sent" {
            assert_eq!((&event["text"], &event["to"]), (&"hello".into(), &10_002.into()));
        }
        last = id;
    }
    for request in [Request::Test, Request::SetMode { mode: 3 }, message(eve.own, "last")] {
        let (_, id) = results(&mut ann, request);
        assert_eq!(id > 0, matches!(request, Request::Send { .. }), "{request:?}");
    }
    assert_eq!(texts(&bob.pending()), ["hello", "to all"]);
}

#[test]
fn a_message_has_its_events_number_and_time_also_in_a_compacted_log() {
    let mut server = Server::start(&["--segment-size", "16KiB"]);
    let ann = server.offline_user("ann");
    let mut bob = speaker(&server, "bob", 0);
    let said = say_many(&mut bob, ann, 20, 2_000);
    let shown: Vec<_> = said.iter().map(|(id, _)| event(&server, *id)).collect();
    let check = |waited: &[Got]| {
        assert!(numbered(waited) == said, "{} of {}", waited.len(), said.len());
        for (got, event) in waited.iter().zip(&shown) {
            let ServerPacket::Numbered { time, number, .. } = got.packet() else { unreachable!() };
            assert_eq!(event["time"], format_time(time));
            assert_eq!((event["from"].as_u64(), number), (Some(number.0.into()), bob.own));
        }
    };
    check(&back(&server, ann).1);
    let (status, out, errors) = tool("compact", server.data(), &["--drop-black-box"]);
    assert_eq!(status, Some(0), "{out}{errors}");
    check(&back(&server, ann).1);
    server = server.restart();
    let (mut client, waited) = back(&server, ann);
    check(&waited);
    confirm(&mut client, said[19].0);
    server = server.restart();
    assert_eq!(back(&server, ann).1, []);
}

#[test]
fn failures_and_violations_are_told_in_results() {
    let server = Server::start(&[]);
    let mut ann = speaker(&server, "ann", 0);
    ann.send(message(ServiceNumber(9), "nobody"));
    assert_eq!(ann.get().failed(), Some((0x03, Code::UnknownNumber)));
    ann.send(Request::Search { statement: b"no statement" });
    assert_eq!(ann.get().content, [0, 0]);
    assert_eq!(ann.get().failed(), Some((0x0B, Code::BadQuery)));
    ann.own = ServiceNumber(77);
    ann.send(Request::Test);
    let all = ann.rest();
    assert_eq!((all.len(), all[0].failed()), (1, Some((0x16, Code::WrongNumber))));
}

// Half-dead receivers

/// Ann's next login gets all that was said, in order and with the ids that it had before. Once she has
/// confirmed it nothing comes again.
fn gets_everything(mut server: Server, ann: ServiceNumber, said: &[(u64, String)], first: &[Got]) {
    let (mut again, waited) = back(&server, ann);
    let waited = numbered(&waited);
    let first = numbered(first);
    assert!(said.starts_with(&first), "{} came on the first connection", first.len());
    assert!(waited == said, "{} of {} came on the second", waited.len(), said.len());
    confirm(&mut again, said.last().unwrap().0);
    drop(again);
    server = server.restart();
    assert_eq!(back(&server, ann).1, []);
}

/// The whole packets that still come to a client whose server has given it up, be it in the middle of one.
fn what_came(client: Client) -> Vec<Got> {
    let (mut stream, mut bytes, mut all) = (client.stream, Vec::new(), Vec::new());
    // What was read before a reset stays.
    let _ = stream.read_to_end(&mut bytes);
    let mut rest = &bytes[..];
    while let Some(frame) = cut_for_client(rest, client.kind, u32::MAX).expect("packets") {
        let (packet_type, content) = (frame.header.packet_type, frame.content.to_vec());
        all.push(Got { packet_type, receiver: rest[2], content });
        rest = &rest[frame.length()..];
    }
    all
}

/// More room than the systems' buffers between two programs hold.
const ROOMY: [&str; 6] =
    ["--slow-timeout", "1s", "--mailbox-size", "32MiB", "--mailbox-messages", "10000"];

#[test]
fn a_receiver_that_stops_reading_is_given_up_as_slow_and_loses_nothing() {
    let server = Server::start(&ROOMY);
    let mut ann = grant(Client::connect_narrow(server.address()), IDS);
    let number = ann.register("ann", PASSWORD);
    assert_eq!(ann.log_in(number), []);
    let (mut eve, mut bob) = (watcher(&server, number), speaker(&server, "bob", 0));
    let said = say_many(&mut bob, number, 1_200, 8_000);
    sees(&mut eve, number, Presence::Offline);
    let first = what_came(ann);
    gets_everything(server, number, &said, &first);
}

#[test]
fn a_receiver_that_says_nothing_any_more_is_given_up_as_idle_and_loses_nothing() {
    let server = Server::start(&["--idle-timeout", "3s"]);
    let ann = server.offline_user("ann");
    let (mut eve, mut bob) = (watcher(&server, ann), speaker(&server, "bob", 0));
    // What waited from before is confirmed; what comes then is not even read.
    let (mut first, waited) = back(&server, ann);
    confirm(&mut first, waited[0].id().expect("that eve has added her"));
    let said = say_many(&mut bob, ann, 40, 500);
    sees(&mut eve, ann, Presence::Offline);
    let mut got = first.rest();
    let notice = got.pop().and_then(|last| last.notice()).expect("it is told why");
    assert_eq!((notice.0, notice.1), (0x00, Code::Idle));
    assert_eq!(got.len(), said.len(), "its system had it all");
    gets_everything(server, ann, &said, &got);
}

#[test]
fn a_receiver_whose_connection_is_reset_gets_again_what_it_has_not_confirmed() {
    for confirmed in [0, 1, 17, 30] {
        let server = Server::start(&[]);
        let ann = server.offline_user("ann");
        let mut bob = speaker(&server, "bob", 0);
        let (mut first, _) = back(&server, ann);
        let said = say_many(&mut bob, ann, 30, 1_000);
        let got: Vec<_> = (0..20).map(|_| first.get()).collect();
        assert!(numbered(&got) == said[..20]);
        if confirmed > 0 {
            first.send(Request::Arrived { through: Seq(said[confirmed - 1].0) });
            first.pending();
        }
        first.reset();
        let (_, waited) = back(&server, ann);
        assert!(numbered(&waited) == said[confirmed..], "{confirmed}: {} came", waited.len());
    }
}

#[test]
fn a_receiver_with_a_full_buffer_whose_connection_is_reset_loses_nothing() {
    let server = Server::start(&["--mailbox-size", "8MiB"]);
    let mut ann = grant(Client::connect_narrow(server.address()), IDS);
    let number = ann.register("ann", PASSWORD);
    ann.log_in(number);
    let mut bob = speaker(&server, "bob", 0);
    let said = say_many(&mut bob, number, 600, 8_000);
    ann.reset();
    gets_everything(server, number, &said, &[]);
}

#[test]
fn a_receiver_without_ids_gets_again_what_its_system_did_not_acknowledge() {
    let server = Server::start(&ROOMY);
    let mut ann = Client::connect_narrow(server.address());
    let number = ann.register("ann", PASSWORD);
    ann.log_in(number);
    let (mut eve, mut bob) = (watcher(&server, number), speaker(&server, "bob", 0));
    let said = say_many(&mut bob, number, 1_200, 8_000);
    sees(&mut eve, number, Presence::Offline);
    let first = what_came(ann);
    assert!(first.iter().all(|got| got.packet_type == 0x03), "nothing else comes to her");
    let again = texts(&server.back(number).1);
    let mut all = texts(&first);
    all.retain(|text| !again.contains(text));
    all.extend(again);
    let said: Vec<_> = said.into_iter().map(|(_, text)| text).collect();
    assert!(all == said, "{} of {}, in order", all.len(), said.len());
}

// Killed servers

/// What one client has been sent: a client that keeps the ids that it has seen.
#[derive(Default)]
struct Kept {
    ids: BTreeMap<u64, String>,
    order: Vec<String>,
}

impl Kept {
    fn take(&mut self, all: &[Got]) {
        let mut before = 0;
        for (id, text) in numbered(all) {
            assert!(id > before, "{id} after {before}");
            before = id;
            if let Some(known) = self.ids.insert(id, text.clone()) {
                assert_eq!(known, text, "{id} was another message");
            } else {
                self.order.push(text);
            }
        }
    }
}

/// The results of messages, as far as they came: ids by text.
fn accepted(all: &[Got], texts: &[String]) -> Vec<(u64, String)> {
    let results = all.iter().filter_map(Got::result);
    let done = |((_, success, id, text), said): ((u8, bool, u64, String), &String)| {
        assert!(success && id > 0, "{text}");
        (id, said.clone())
    };
    results.zip(texts).map(done).collect()
}

#[test]
fn what_was_accepted_before_a_kill_comes_once_by_its_id_and_in_order() {
    let mut server = Server::start(&["--mailbox-messages", "100000"]);
    let ann = server.offline_user("ann");
    let bob = speaker(&server, "bob", 0).own;
    let (mut kept, mut promised, mut count) = (Kept::default(), Vec::new(), 0);
    for round in 0..6 {
        let mut receiver = asker(&server, IDS);
        receiver.own = ann;
        receiver.send(log_in(PASSWORD));
        receiver.get();
        let mut sender = asker(&server, RESULTS);
        sender.own = bob;
        results(&mut sender, log_in(PASSWORD));
        let texts: Vec<_> =
            (0..80).map(|index| format!("{:04} of {round}", count + index)).collect();
        count += texts.len();
        let bytes: Vec<_> =
            texts.iter().flat_map(|text| sender.bytes(message(ann, text))).collect();
        sender.send_bytes(&bytes);
        // Some answers are waited for, some messages are read, some of them are confirmed.
        let mut answers: Vec<_> = (0..round * 16).map(|_| sender.get()).collect();
        let read: Vec<_> = (0..round * 12).map(|_| receiver.get()).collect();
        if let Some((id, _)) = numbered(&read).get(round * 5) {
            receiver.send(Request::Arrived { through: Seq(*id) });
        }
        server.kill();
        answers.extend(sender.rest_or_reset().0);
        promised.extend(accepted(&answers, &texts));
        kept.take(&[read, receiver.rest_or_reset().0].concat());
        server = server.again();
    }
    let (mut receiver, waited) = back(&server, ann);
    kept.take(&waited);
    for (id, text) in &promised {
        assert_eq!(kept.ids.get(id), Some(text), "{id} was promised");
    }
    assert!(promised.len() > 6 * 30, "{} of {count} were promised", promised.len());
    let mut once = kept.order.clone();
    once.sort();
    once.dedup();
    assert_eq!(kept.order, once, "once, and in order");
    confirm(&mut receiver, *kept.ids.keys().last().unwrap());
    drop(receiver);
    server = server.restart();
    assert_eq!(back(&server, ann).1, []);
}

// Friends who come and go

#[test]
fn friends_are_seen_as_they_come_and_go() {
    let server = Server::start(&["--idle-timeout", "4s"]);
    let ann = server.offline_user("ann");
    let mut bob = watcher(&server, ann);
    let told = |bob: &mut Client| {
        let (before, _) = results(bob, Request::Test);
        let state = |got: &Got| match got.packet() {
            ServerPacket::FriendPresence { number, state } => {
                assert_eq!(number, ann);
                Some(state)
            }
            _ => None,
        };
        before.iter().filter_map(state).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut bob), [], "that she is away was told when she was added");
    let (mut client, _) = server.back(ann);
    assert_eq!(told(&mut bob), [Presence::Online]);
    for (mode, expected) in [
        (3, vec![Presence::DoNotDisturb]),
        (3, vec![]),
        (2, vec![Presence::Offline]),
        (1, vec![Presence::Online]),
    ] {
        client.quietly(Request::SetMode { mode });
        assert_eq!(told(&mut bob), expected, "mode {mode}");
    }
    let (mut other, _) = server.back(ann);
    assert_eq!(told(&mut bob), [], "from one connection to another");
    client.is_closed_with(0, Code::Elsewhere);
    other.log_out();
    assert_eq!(told(&mut bob), [Presence::Offline]);
    other.log_in(ann);
    assert_eq!(told(&mut bob), [Presence::Online]);
    other.reset();
    sees(&mut bob, ann, Presence::Offline);
    let (_silent, _) = server.back(ann);
    sees(&mut bob, ann, Presence::Online);
    sees(&mut bob, ann, Presence::Offline);
}
