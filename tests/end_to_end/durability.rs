//! Durability: what was acknowledged is there after every kind of end, seen by clients and by the tools.
//!
//! The workloads are random, with fixed seeds that a failure shows.

use std::collections::BTreeMap;

use oicq::codec::packed::Moves;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::{Request, ServerPacket};
use rustix::process::Signal;

use crate::live::{
    Client, PASSWORD, Server, digest, groups, heard, log_in, message, result, stat, texts, tool,
};

const ANN: ServiceNumber = ServiceNumber(10_001);

/// A small generator; its seed stands in the test.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).unwrap()
    }
}

/// What one user has been told that it has.
#[derive(Default)]
struct Known {
    groups: BTreeMap<GroupNumber, String>,
    friends: BTreeMap<ServiceNumber, GroupNumber>,
    /// Messages that wait, oldest first; only for those who never log in meanwhile.
    waiting: Vec<String>,
}

/// Users who do random things, users to whom they write, and what was acknowledged to them.
struct Workload {
    chance: Chance,
    active: Vec<ServiceNumber>,
    absent: Vec<ServiceNumber>,
    known: BTreeMap<ServiceNumber, Known>,
    count: usize,
}

impl Workload {
    fn begin(server: &Server, seed: u64) -> Self {
        println!("seed {seed}");
        let mut users = (0..6).map(|index| server.offline_user(&format!("user {index}")));
        let active: Vec<_> = users.by_ref().take(3).collect();
        let absent: Vec<_> = users.collect();
        let known = active.iter().chain(&absent).map(|number| {
            let groups = BTreeMap::from([(GroupNumber(1), "My Friends".to_owned())]);
            (*number, Known { groups, ..Known::default() })
        });
        Self { chance: Chance(seed), known: known.collect(), active, absent, count: 0 }
    }

    /// Does some things, each acknowledged before the next.
    fn go_on(&mut self, server: &Server, steps: usize) -> Vec<Client> {
        let mut clients: Vec<_> = self.active.iter().map(|number| server.back(*number).0).collect();
        for _ in 0..steps {
            let who = self.chance.below(clients.len());
            self.step(&mut clients[who]);
        }
        clients
    }

    fn step(&mut self, client: &mut Client) {
        self.count += 1;
        let other = self.absent[self.chance.below(self.absent.len())];
        let text = format!("{} {}", self.count, "x".repeat(self.chance.below(400)));
        let choice = self.chance.below(10);
        let own = client.own;
        let mine = self.known.get_mut(&own).unwrap();
        match choice {
            0 => {
                let reply = client.reply(Request::AddGroup { name: &text.as_bytes()[..8] });
                let ServerPacket::GroupAdded { success: true, group, .. } = reply.packet() else {
                    panic!("{reply:?}")
                };
                mine.groups.insert(group, text[..8].to_owned());
            }
            1 => {
                let group = *mine.groups.keys().last().unwrap();
                client.reply(Request::RenameGroup { group, name: &text.as_bytes()[..5] });
                mine.groups.insert(group, text[..5].to_owned());
            }
            2 if mine.friends.contains_key(&other) => {
                let group = *mine.groups.keys().last().unwrap();
                let moves = Moves::pack([(other, group)]);
                client.reply(Request::MoveFriends(Moves::over(&moves).unwrap()));
                mine.friends.insert(other, group);
            }
            3 if mine.friends.contains_key(&other) => {
                client.quietly(Request::DeleteFriend { friend: other });
                mine.friends.remove(&other);
            }
            4 if !mine.friends.contains_key(&other) => {
                client.reply(Request::AddFriend { friend: other });
                mine.friends.insert(other, GroupNumber(1));
            }
            _ => {
                client.tell(other, &text);
                self.known.get_mut(&other).unwrap().waiting.push(text);
            }
        }
    }

    /// Sends what nobody waits for.
    fn leave_under_way(&mut self, clients: &mut [Client]) {
        for client in clients {
            for index in 0..20 {
                client.send(message(self.absent[0], &format!("unanswered {index}")));
            }
        }
    }

    /// Looks at everybody's groups, friends and messages, without ending the wait of those who are absent.
    fn check(&self, server: &Server) {
        for number in &self.active {
            self.check_list(*number, &mut server.connect());
        }
        let seen = result("replay", server.data(), &["--digest"]);
        assert!(seen.starts_with("digest "));
    }

    fn check_list(&self, number: ServiceNumber, client: &mut Client) {
        let (reply, _) = client.log_in_with(number, PASSWORD);
        let known = &self.known[&number];
        let listed = groups(&reply);
        let names = listed.iter().map(|(group, name, _)| (*group, name.clone())).collect();
        assert_eq!(known.groups, names, "groups of {number}");
        let friends = listed
            .iter()
            .flat_map(|(group, _, friends)| friends.iter().map(|friend| (*friend, *group)))
            .collect();
        assert_eq!(known.friends, friends, "friends of {number}");
    }

    /// Everybody comes back, and gets what has waited: what was acknowledged, in order, and then perhaps
    /// what was under way.
    fn finish(&self, server: &Server) {
        self.check(server);
        for number in &self.absent {
            let (mut client, waited) = server.back(*number);
            let mut texts = texts(&waited);
            texts.retain(|text| !text.starts_with("unanswered"));
            assert_eq!(texts, self.known[number].waiting, "messages of {number}");
            assert_eq!(client.pending(), []);
        }
    }
}

#[test]
fn whatever_was_acknowledged_is_there_after_kills_at_random_points() {
    for seed in [20_020_601, 20_020_602, 7] {
        kill_again_and_again(seed);
    }
}

fn kill_again_and_again(seed: u64) {
    let mut server = Server::start(&["--mailbox-messages", "100000"]);
    let mut work = Workload::begin(&server, seed);
    for _ in 0..6 {
        let steps = work.chance.below(40);
        let mut clients = work.go_on(&server, steps);
        work.leave_under_way(&mut clients);
        if work.chance.below(2) == 0 {
            clients.clear();
        }
        server.kill();
        let before = digest(server.data());
        server = server.again();
        assert_eq!(digest(server.data()), before, "a start changes nothing");
        work.check(&server);
    }
    work.finish(&server);
}

#[test]
fn everything_is_there_after_restarts_and_in_several_files() {
    let mut server = Server::start(&["--mailbox-messages", "100000"]);
    let mut work = Workload::begin(&server, 8_128);
    for round in 0..3 {
        let mut clients = work.go_on(&server, 60);
        let big = "y".repeat(8_000);
        for index in 0..8 {
            let text = format!("{round} {index} {big}");
            clients[0].tell(work.absent[2], &text);
            work.known.get_mut(&work.absent[2]).unwrap().waiting.push(text);
        }
        drop(clients);
        let running = digest(server.data());
        server = server.restart();
        let (digest, seq) = (digest(server.data()), stat(server.data(), "last_seq"));
        assert!(digest.ends_with(&format!(" seq {seq}\n")));
        assert!(running.starts_with("digest "));
        work.check(&server);
    }
    assert!(stat(server.data(), "files") > 2, "the log has rolled");
    assert!(result("verify", server.data(), &[]).contains("whole"));
    work.finish(&server);
    let data = server.data().to_owned();
    let own = server.restart();
    assert_eq!(stat(&data, "waiting_messages"), 0);
    drop(own);
}

#[test]
fn what_was_delivered_is_not_sent_again_after_a_restart() {
    let mut server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    for index in 0..50 {
        bob.tell(ANN, &index.to_string());
    }
    assert_eq!(texts(&ann.pending()).len(), 50);
    server = server.restart();
    assert_eq!(server.back(ANN).1, []);
    assert_eq!(stat(server.data(), "waiting_messages"), 0);
}

#[test]
fn a_login_that_is_cut_off_takes_no_message_with_it() {
    let mut server = Server::start(&[]);
    let ann = server.offline_user("ann");
    let mut bob = server.user("bob");
    for index in 0..10 {
        bob.tell(ann, &index.to_string());
    }
    server.signal(Signal::STOP);
    let mut client = server.connect();
    client.own = ann;
    client.send(log_in(PASSWORD));
    client.reset();
    server.signal(Signal::CONT);
    bob.tell(bob.own, "the server has seen it");
    assert_eq!(heard(&bob.get()).1, "the server has seen it");
    server = server.restart();
    let (_, waited) = server.back(ann);
    assert_eq!(texts(&waited), (0..10).map(|index| index.to_string()).collect::<Vec<_>>());
    server = server.restart();
    assert_eq!(server.back(ann).1, [], "now they are delivered");
}

#[test]
fn friend_requests_wait_through_a_crash_as_messages_do() {
    let mut server = Server::start(&[]);
    let mut ann = server.connect();
    let number = ann.register_with("ann", PASSWORD, 1);
    drop(ann);
    let mut bob = server.user("bob");
    bob.quietly(Request::RequestFriend { friend: number, reason: b"first" });
    bob.tell(number, "hello?");
    bob.quietly(Request::RequestFriend { friend: number, reason: b"second" });
    server = server.crash();
    let (mut ann, waited) = server.back(number);
    let all: Vec<_> = waited
        .iter()
        .map(|got| match got.packet() {
            ServerPacket::Message { text, .. } => text.to_vec(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(all, [b"hello?".to_vec(), b"second".to_vec()], "the newer request is at the end");
    ann.quietly(Request::AnswerRequest { friend: bob.own, consent: 1 });
    server = server.crash();
    let (reply, waited) = server.connect().log_in_with(bob.own, PASSWORD);
    assert_eq!(groups(&reply)[0].2, [number]);
    assert_eq!(waited.len(), 1, "the answer waits too");
}

#[test]
fn weaker_durabilities_keep_everything_that_a_clean_end_can_keep() {
    for mode in ["interval=50ms", "never"] {
        let mut server = Server::start(&["--durability", mode]);
        let ann = server.offline_user("ann");
        let mut bob = server.user("bob");
        for index in 0..30 {
            bob.tell(ann, &index.to_string());
        }
        server = server.restart();
        assert_eq!(server.back(ann).1.len(), 30, "{mode}");
        server = server.crash();
        let (status, out, _) = tool("verify", server.data(), &[]);
        assert_eq!(status, Some(0), "{mode}: {out}");
    }
}

#[test]
fn numbers_passwords_and_modes_of_registration_outlive_the_server() {
    let mut server = Server::start(&[]);
    let ann = server.offline_user("ann");
    server = server.crash();
    assert_eq!(server.connect().register("bob", "another"), ServiceNumber(ann.0 + 1));
    let mut bob = server.connect();
    bob.log_in_with(ServiceNumber(ann.0 + 1), "another");
    let mut eve = server.connect();
    assert_eq!(eve.is_not_let_in(ann, "another").0, oicq::wire::Code::BadLogin);
    assert_eq!(server.back(ann).1, []);
}

#[test]
fn a_receiver_whose_server_dies_misses_nothing() {
    let mut server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let expected: Vec<_> = (0..150).map(|index| format!("{index} {}", "x".repeat(500))).collect();
    for text in &expected[..100] {
        bob.tell(ANN, text);
    }
    for _ in 0..50 {
        ann.get();
    }
    for text in &expected[100..] {
        bob.tell(ANN, text);
    }
    server.kill();
    let mut got: Vec<_> = expected[..50].to_vec();
    got.extend(texts(&ann.rest_or_reset().0));
    server = server.again();
    let again = texts(&server.back(ANN).1);
    // What had arrived may come once more, if the server died before it could note that.
    got.retain(|text| !again.contains(text));
    got.extend(again);
    assert!(got == expected, "{} of {}, in order", got.len(), expected.len());
}

#[test]
fn a_broadcast_stands_in_the_log_once() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    let friends: Vec<_> = (0..20).map(|index| server.offline_user(&index.to_string())).collect();
    for friend in &friends {
        ann.reply(Request::AddFriend { friend: *friend });
    }
    let before = stat(server.data(), "bytes");
    let content = "x".repeat(8_000);
    ann.quietly(Request::Broadcast {
        group: GroupNumber::ALL.0.into(),
        content: content.as_bytes(),
    });
    let grown = stat(server.data(), "bytes") - before;
    assert!((8_000..10_000).contains(&grown), "the log has grown by {grown} bytes");
    let server = server.crash();
    for friend in friends {
        let (_, waited) = server.back(friend);
        assert_eq!(texts(&waited), [&*content], "after who added one, the message");
    }
}

#[test]
fn numbers_are_given_once_however_many_ask_at_once() {
    let mut server = Server::start(&[]);
    for _ in 0..2 {
        let address = server.address();
        let threads: Vec<_> = (0..6)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut client = Client::connect(address);
                    (0..20).map(|_| client.register("many", PASSWORD)).collect::<Vec<_>>()
                })
            })
            .collect();
        for thread in threads {
            let numbers = thread.join().unwrap();
            assert!(numbers.windows(2).all(|two| two[0] < two[1]));
        }
        server = server.crash();
    }
    assert_eq!(stat(server.data(), "users"), 240);
    let found = result("replay", server.data(), &["--kind", "registered", "--format", "json"]);
    assert!((10_001..10_241).all(|number| found.contains(&number.to_string())));
}
