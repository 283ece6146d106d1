//! How connections and servers end: timeouts that options set, and signals.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use oicq::id::ServiceNumber;
use oicq::wire::{Code, Request, ServerPacket};
use rustix::process::Signal;

use crate::live::{Client, PASSWORD, Server, heard, texts, wait_for};

const ANN: ServiceNumber = ServiceNumber(10_001);

#[test]
fn who_does_not_log_in_is_closed_and_who_has_is_not() {
    let server = Server::start(&["--login-timeout", "1s"]);
    let mut ann = server.user("ann");
    let mut silent = server.connect();
    let mut half = server.connect();
    half.send_bytes(&[0x81, 0x0A]);
    silent.is_closed_with(0, Code::Idle);
    half.is_closed_with(0, Code::Idle);
    assert_eq!(ann.pending(), [], "a session has all the time");
    ann.log_out();
    ann.is_closed_with(0, Code::Idle);
}

#[test]
fn connection_tests_do_not_put_off_the_login_and_registrations_do() {
    let server = Server::start(&["--login-timeout", "2s"]);
    let mut tester = server.connect();
    let mut registrar = server.connect();
    let mut closed = false;
    for index in 0..200 {
        registrar.register(&format!("user {index}"), PASSWORD);
        let test = tester.bytes(Request::Test);
        let sent = tester.stream.write_all(&test).is_ok();
        let answer = if sent { tester.try_next().ok().flatten() } else { None };
        match answer {
            Some(got) if got.packet_type == 0x16 => thread::sleep(Duration::from_millis(50)),
            Some(got) => {
                assert_eq!(got.notice().unwrap().1, Code::Idle);
                closed = true;
            }
            None => closed = true,
        }
        if closed {
            break;
        }
    }
    assert!(closed, "whoever only tests is closed");
    assert_eq!(registrar.pending(), [], "whoever registers anew has time anew");
}

#[test]
fn who_sends_nothing_is_closed_and_who_sends_anything_is_not() {
    let server = Server::start(&["--idle-timeout", "1500ms"]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let address = server.address();
    let number = ann.own;
    let idle = thread::spawn(move || ann.is_closed_with(0, Code::Idle));
    while !idle.is_finished() {
        assert_eq!(bob.pending(), [], "a byte now and then is enough");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(idle.join().unwrap(), []);
    bob.tell(number, "are you there?");
    let mut again = Client::connect(address);
    assert_eq!(texts(&again.log_in(number)), ["are you there?"]);
}

#[test]
fn who_does_not_read_is_closed_and_keeps_its_mail() {
    let server = Server::start(&["--slow-timeout", "500ms"]);
    let mut ann = Client::connect_narrow(server.address());
    let number = ann.register("ann", PASSWORD);
    ann.log_in(number);
    let mut bob = server.user("bob");
    // Replies that nobody reads, until the server takes no more requests. A busy machine may take its time for
    // those before.
    ann.stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let many = ann.bytes(Request::Search { statement: b"select * from users" }).repeat(100);
    while ann.stream.write_all(&many).is_ok() {}
    let is_gone = |bob: &mut Client| {
        let got = bob.reply(Request::ListOnline { start: ANN, count: 9, direction: 2 });
        let ServerPacket::Online { users, .. } = got.packet() else { panic!("{got:?}") };
        (users.len() == 1).then_some(())
    };
    wait_for("the client who does not read is closed", || is_gone(&mut bob));
    bob.tell(number, "kept");
    let (mut again, waited) = server.back(number);
    assert_eq!(texts(&waited), ["kept"]);
    assert_eq!(again.pending(), []);
}

#[test]
fn a_signal_to_stop_is_told_to_everyone_and_ends_with_status_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&[]);
        let mut ann = server.user("ann");
        let mut stranger = server.connect();
        assert_eq!(stranger.pending(), []);
        let address = server.address();
        server.signal(signal);
        for client in [&mut ann, &mut stranger] {
            assert_eq!(client.is_closed_with(0, Code::Shutdown), []);
        }
        let ended = server.wait();
        assert_eq!((ended.status.code(), &*ended.stdout), (Some(0), ""), "{}", ended.stderr);
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}

#[test]
fn what_was_sent_before_a_stop_is_kept() {
    let mut server = Server::start(&[]);
    let ann = server.offline_user("ann");
    let mut bob = server.user("bob");
    bob.tell(ann, "before");
    server = server.restart();
    assert_eq!(texts(&server.back(ann).1), ["before"]);
    let all = bob.is_closed_with(0, Code::Shutdown);
    assert_eq!(all, []);
}

/// A client for whom more waits than the system holds, and who reads nothing.
fn deaf_user(server: &Server) -> Client {
    let mut ann = Client::connect_narrow(server.address());
    let number = ann.register("ann", PASSWORD);
    ann.log_in(number);
    ann.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let many = ann.bytes(Request::Search { statement: b"select * from users" }).repeat(100);
    while ann.stream.write_all(&many).is_ok() {}
    ann
}

#[test]
fn a_client_who_does_not_read_delays_the_end_a_while_and_a_second_signal_does_not_wait() {
    let patient = Server::start(&[]);
    let hasty = Server::start(&[]);
    let deaf = [deaf_user(&patient), deaf_user(&hasty)];
    let mut seen = [patient.user("bob"), hasty.user("bob")];
    patient.signal(Signal::TERM);
    hasty.signal(Signal::TERM);
    for client in &mut seen {
        client.is_closed_with(0, Code::Shutdown);
    }
    hasty.signal(Signal::TERM);
    hasty.wait();
    let mut patient = patient;
    assert!(patient.is_running(), "the patient one still waits when the hasty one has ended");
    let ended = patient.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    drop(deaf);
}

#[test]
fn who_is_closed_gets_all_that_waits_even_if_it_hesitates() {
    let server = Server::start(&["--requests", "0"]);
    let mut ann = deaf_user(&server);
    let _elsewhere = server.back(ann.own);
    // Longer than anybody has to hang up.
    thread::sleep(Duration::from_secs(4));
    let (all, orderly) = ann.rest_or_reset();
    assert!(orderly, "{} packets, and no end", all.len());
    let (last, others) = all.split_last().unwrap();
    assert_eq!(last.notice().map(|(_, code, _)| code), Some(Code::Elsewhere));
    assert!(others.iter().all(|got| got.packet_type == 0x0A));
}

#[test]
fn who_is_closed_and_takes_nothing_is_given_up_in_the_time_that_others_have() {
    let server = Server::start(&["--slow-timeout", "3s"]);
    let sockets = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
        let links = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    };
    let ann = deaf_user(&server);
    let before = sockets();
    let mut elsewhere = server.back(ann.own).0;
    assert_eq!(sockets(), before + 1);
    wait_for("the first connection is given up", || (sockets() == before).then_some(()));
    assert_eq!(elsewhere.pending(), []);
}

#[test]
fn hangups_and_broken_pipes_do_not_stop_it() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    for signal in [Signal::HUP, Signal::PIPE] {
        server.signal(signal);
        ann.tell(ANN, "still here");
        assert_eq!(heard(&ann.get()).1, "still here");
    }
    server.stop();
}
