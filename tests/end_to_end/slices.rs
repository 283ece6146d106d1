//! A broadcast to very many over real sockets: each gets it once, before whatever is sent to them later, and so does
//! one who leaves in the middle.

use oicq::codec::packed::Moves;
use oicq::id::{GroupNumber, Seq, ServiceNumber};
use oicq::limits::{FRIENDS_PER_GROUP, TOLD_AT_ONCE, TOLD_PER_TURN};
use oicq::wire::server::{Extensions, ServerPacket};
use oicq::wire::{Code, Request};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::kit::Got;
use crate::live::{Client, PASSWORD, Server, message};

/// More than are told in the turn of the broadcast, and in the one after it.
const FRIENDS: usize = TOLD_AT_ONCE + 2 * TOLD_PER_TURN;

/// As many files for this process as it may have: each client is one.
fn allow_files() {
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files }).unwrap();
}

fn user(server: &Server, nickname: &str, wanted: u32) -> Client {
    let mut client = Client::connect(server.address());
    let number = client.register(nickname, PASSWORD);
    if wanted > 0 {
        client.send(Request::WantExtensions { wanted });
        assert_eq!(client.get().packet_type, 0x40);
    }
    client.log_in(number);
    client
}

/// Puts all of them into a friend list, group by group.
fn befriend_all(ann: &mut Client, friends: &[ServiceNumber]) {
    for (index, some) in friends.chunks(FRIENDS_PER_GROUP).enumerate() {
        for friend in some {
            ann.send(Request::AddFriend { friend: *friend });
        }
        assert_eq!(ann.pending().len(), some.len());
        let group = GroupNumber(u8::try_from(index + 2).unwrap());
        let moves = Moves::pack(some.iter().map(|friend| (*friend, group)));
        ann.send(Request::AddGroup { name: b"more" });
        ann.send(Request::MoveFriends(Moves::over(&moves).unwrap()));
        assert_eq!(ann.pending().len(), 2);
    }
}

fn texts(all: &[Got]) -> Vec<String> {
    let text = |got: &Got| match got.packet() {
        ServerPacket::Message { text, .. } | ServerPacket::Numbered { text, .. } => {
            String::from_utf8_lossy(text).into_owned()
        }
        other => panic!("no message: {other:?}"),
    };
    all.iter().map(text).collect()
}

#[test]
fn a_broadcast_to_very_many_comes_once_and_before_what_is_sent_later() {
    allow_files();
    let server = Server::start(&["--connections", "0", "--requests", "0,0"]);
    let mut ann = user(&server, "ann", 0);
    let mut friends: Vec<_> = (0..FRIENDS).map(|_| user(&server, "friend", 0)).collect();
    // The last of the list is told last, and says itself what has arrived.
    let mut last = user(&server, "last", Extensions::MESSAGE_IDS.sum());
    let (mut bob, mut eve) = (user(&server, "bob", 0), user(&server, "eve", 0));
    let numbers: Vec<_> = friends.iter().chain([&last]).map(|client| client.own).collect();
    befriend_all(&mut ann, &numbers);
    for friend in &mut friends {
        assert_eq!(texts(&friend.pending()), [""], "that ann has added it");
    }
    let Some(added) = last.pending()[0].id() else { panic!("a message with an id") };
    last.quietly(Request::Arrived { through: Seq(added) });

    // In one write: nothing else comes between.
    let mut bytes = ann.bytes(Request::Broadcast { group: 0, content: b"one" });
    for number in &numbers {
        bytes.extend(ann.bytes(message(*number, "two")));
    }
    ann.send_bytes(&bytes);
    bob.tell(eve.own, "hello");
    assert_eq!(texts(&[eve.get()]), ["hello"], "it does not matter to others");
    let last_number = last.own;
    last.reset();
    for friend in &mut friends {
        let both = [friend.get(), friend.get()];
        assert_eq!(texts(&both), ["one", "two"]);
        assert_eq!(friend.pending(), []);
    }
    assert_eq!(ann.pending(), []);

    let mut again = Client::connect(server.address());
    again.send(Request::WantExtensions { wanted: Extensions::MESSAGE_IDS.sum() });
    assert_eq!(again.get().packet_type, 0x40);
    assert_eq!(texts(&again.log_in(last_number)), ["one", "two"]);
}

#[test]
fn very_many_who_are_closed_all_learn_why() {
    allow_files();
    let server = Server::start(&["--connections", "0"]);
    let mut all: Vec<_> = (0..FRIENDS).map(|_| Client::connect(server.address())).collect();
    // Each is served before the signal comes.
    all.iter_mut().for_each(|client| {
        client.register("somebody", PASSWORD);
    });
    server.signal(rustix::process::Signal::TERM);
    for client in &mut all {
        client.is_closed_with(0, Code::Shutdown);
    }
    assert!(server.wait().status.success());
}
