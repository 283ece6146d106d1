//! Limits that are set by options: who is turned away, with which words, and that others are not.

use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use oicq::id::ServiceNumber;
use oicq::wire::{Code, Request, ServerPacket};

use crate::live::{PASSWORD, Server, folder, log_in, message, oicqd, register, texts};

const ANN: ServiceNumber = ServiceNumber(10_001);

#[test]
fn the_oldest_connection_without_a_session_makes_room() {
    let server = Server::start(&["--max-connections", "3"]);
    let mut ann = server.user("ann");
    let (mut first, mut second) = (server.connect(), server.connect());
    assert_eq!((first.pending(), second.pending()), (vec![], vec![]));
    let mut third = server.connect();
    assert_eq!(third.pending(), []);
    let (said, _) = first.rest_or_reset();
    assert!(said.iter().all(|got| got.notice().is_some()), "{said:?}");
    assert_eq!((ann.pending(), second.pending()), (vec![], vec![]));

    for client in [&mut second, &mut third] {
        let number = client.register("more", PASSWORD);
        client.log_in(number);
    }
    let mut late = server.connect();
    let (said, _) = late.rest_or_reset();
    assert!(said.iter().all(|got| got.notice().is_some()), "{said:?}");
    for client in [&mut ann, &mut second, &mut third] {
        assert_eq!(client.pending(), [], "all who are in session stay");
    }
    drop(third);
    crate::live::wait_for("there is room again", || {
        let mut client = server.connect();
        let test = client.bytes(Request::Test);
        let _ = std::io::Write::write_all(&mut client.stream, &test);
        client.try_next().ok().flatten().filter(|got| got.packet_type == 0x16)
    });
}

#[test]
fn connections_that_are_turned_away_leave_files_to_the_log() {
    let data = folder();
    let store = data.path().join("store");
    let options = ["--connections", "0"];
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 80; exec \"$0\" \"$@\""]);
    let server = oicqd(&store, &options);
    command.arg(server.get_program()).args(server.get_args());
    let server = Server::start_with(command, &store, &options, |_| ());
    let (mut ann, ben) = (server.user("ann"), server.offline_user("ben"));
    // Far more than there are files, and none of them hangs up when it is told to.
    let others: Vec<_> = (0..120).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    for round in 0..100 {
        let text = format!("{round} {}", "x".repeat(4_000));
        assert_eq!(ann.ask(message(ben, &text)), [], "round {round}: {}", server.stderr());
    }
    assert_eq!(server.stderr(), "");
    drop(others);
}

#[test]
fn those_who_were_turned_away_and_stay_give_way_to_others() {
    // Each of them takes a file of this process, too.
    assert!(oicq::net::connections_possible() > 2_000, "see ulimit -Hn");
    let data = folder();
    let store = data.path().join("store");
    let options = ["--connections", "0"];
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\""]);
    let server = oicqd(&store, &options);
    command.arg(server.get_program()).args(server.get_args());
    let server = Server::start_with(command, &store, &options, |_| ());
    let mut ann = server.user("ann");
    // Were each of them given all its time, they would take longer than a test waits.
    let others: Vec<_> = (0..900).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let mut ben = server.user("ben");
    ben.tell(ann.own, "here I am");
    assert_eq!(texts(&[ann.get()]), ["here I am"]);
    drop(others);
}

#[test]
fn too_many_connections_in_a_minute_are_throttled() {
    let server = Server::start(&["--connections", "3"]);
    let mut some: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut some {
        assert_eq!(client.pending(), []);
    }
    let mut late = server.connect();
    late.is_closed_with(0, Code::Throttled);
    assert_eq!(some[0].pending(), []);
    let open = Server::start(&["--connections", "0"]);
    for _ in 0..1_200 {
        drop(open.connect());
    }
    assert_eq!(open.connect().pending(), []);
}

#[test]
fn too_many_requests_of_a_session_are_throttled_and_it_goes_on() {
    let server = Server::start(&["--requests", "5,10"]);
    let mut ann = server.user("ann");
    let bytes: Vec<u8> =
        (0..60).flat_map(|_| ann.bytes(Request::ViewProfile { friend: ANN })).collect();
    ann.send_bytes(&bytes);
    let (mut done, mut refused) = (0, 0);
    while done + refused < 60 {
        let got = ann.get();
        match got.packet() {
            ServerPacket::Profile { success: true, .. } => done += 1,
            ServerPacket::Profile { success: false, .. } => {
                let (packet_type, code, _) = ann.get().notice().unwrap();
                assert_eq!((packet_type, code), (0x05, Code::Throttled));
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(done >= 5 && refused > 0, "{done} done, {refused} refused");
    crate::live::wait_for("requests are answered again", || {
        ann.send(Request::ViewProfile { friend: ANN });
        match ann.get().packet() {
            ServerPacket::Profile { success: true, .. } => Some(()),
            _ => {
                assert_eq!(ann.get().notice().unwrap().1, Code::Throttled);
                None
            }
        }
    });
}

#[test]
fn no_limit_to_requests_where_it_is_0() {
    for none in ["0", "0,10"] {
        let server = Server::start(&["--requests", none]);
        let mut ann = server.user("ann");
        let mut stream = ann.stream.try_clone().unwrap();
        let one = ann.bytes(Request::ListOnline { start: ANN, count: 0, direction: 1 });
        let bytes = one.repeat(12_000);
        let writer = thread::spawn(move || std::io::Write::write_all(&mut stream, &bytes).unwrap());
        for _ in 0..12_000 {
            assert_eq!(ann.get().content, [1, 0]);
        }
        writer.join().unwrap();
    }
}

/// The seconds in a sentence that says for how long.
fn seconds(sentence: &str) -> u64 {
    let words: Vec<_> = sentence.split([' ', ',', ':', ';']).collect();
    let at = words.iter().position(|word| *word == "s").unwrap_or_else(|| panic!("{sentence}"));
    words[at - 1].parse().unwrap_or_else(|_| panic!("{sentence}"))
}

#[test]
fn too_many_failed_logins_are_throttled_without_a_look_at_the_password() {
    let server = Server::start(&["--login-failures", "2"]);
    let mut ann = server.connect();
    let number = ann.register("ann", PASSWORD);
    let sentences = ann.are_not_let_in(&[
        (number, "wrong!", Code::BadLogin),
        (number, "wrong!", Code::BadLogin),
        (number, PASSWORD, Code::Throttled),
        (number, PASSWORD, Code::Throttled),
    ]);
    assert_eq!((seconds(&sentences[2]), seconds(&sentences[3])), (1, 2));
    crate::live::wait_for("the right password lets in again", || {
        ann.own = number;
        ann.send(log_in(PASSWORD));
        if ann.get().content[0] == 1 {
            return Some(());
        }
        let (_, code, sentence) = ann.get().notice().unwrap();
        assert_eq!(code, Code::Throttled);
        thread::sleep(Duration::from_secs(seconds(&sentence)));
        None
    });
}

#[test]
fn what_was_counted_does_not_outlive_the_server_and_0_is_no_limit() {
    let mut server = Server::start(&["--login-failures", "1"]);
    let number = server.offline_user("ann");
    let mut client = server.connect();
    client
        .are_not_let_in(&[(number, "wrong!", Code::BadLogin), (number, PASSWORD, Code::Throttled)]);
    server = server.restart();
    server.back(number);

    let open = Server::start(&["--login-failures", "0"]);
    let number = open.offline_user("ann");
    let mut client = open.connect();
    for _ in 0..20 {
        assert_eq!(client.is_not_let_in(number, "wrong!").0, Code::BadLogin);
    }
    client.log_in(number);
}

#[test]
fn too_many_registrations_are_throttled() {
    let server = Server::start(&["--registrations", "2"]);
    let mut client = server.connect();
    client.register("one", PASSWORD);
    client.register("two", PASSWORD);
    client.send(register("three", PASSWORD, 0));
    assert_eq!(client.get().content, [0; 5]);
    let (packet_type, code, _) = client.get().notice().unwrap();
    assert_eq!((packet_type, code), (0x01, Code::Throttled));
    client.log_in(ANN);
}

#[test]
fn a_closed_registration_says_so() {
    let folder = crate::live::folder();
    let open = Server::start_on(folder.path(), &[]);
    open.offline_user("ann");
    open.stop();
    let server = Server::start_on(folder.path(), &["--registration", "closed"]);
    let mut client = server.connect();
    client.send(register("bob", PASSWORD, 0));
    assert_eq!(client.get().content, [0; 5]);
    assert_eq!(client.get().notice().unwrap().1, Code::RegistrationClosed);
    client.log_in(ANN);
}

#[test]
fn mailboxes_are_full_by_messages_and_by_bytes() {
    let server = Server::start(&["--mailbox-messages", "3", "--mailbox-size", "1KiB"]);
    let (ann, bob) = (server.offline_user("ann"), server.offline_user("bob"));
    let mut kim = server.user("kim");
    for index in 0..3 {
        kim.tell(ann, &index.to_string());
    }
    assert_eq!(kim.refused(message(ann, "3")), (Code::MailboxFull, 0));
    kim.tell(bob, &"x".repeat(1_000));
    assert_eq!(kim.refused(message(bob, &"x".repeat(100))), (Code::MailboxFull, 0));
    kim.tell(bob, "small");
    let (mut client, waited) = server.back(ann);
    assert_eq!(texts(&waited), ["0", "1", "2"]);
    client.log_out();
    crate::live::wait_for("what was delivered makes room", || {
        kim.ask(message(ann, "again")).is_empty().then_some(())
    });
}
