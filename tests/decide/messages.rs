//! Messages, broadcasts, mailboxes and delivery: `0x03` and `0x04`.

use oicq::codec::charset::Charset;
use oicq::engine::Settings;
use oicq::id::ServiceNumber;
use oicq::wire::client::Account;
use oicq::wire::server::SystemKind;
use oicq::wire::{Code, Request};

use crate::kit::people::{NOBODY, User, account, message, system, system_text};
use crate::kit::{Got, World};

fn send(to: ServiceNumber, content: &[u8]) -> Request<'_> {
    Request::Send { receiver: to, content }
}

fn broadcast(group: u32, content: &[u8]) -> Request<'_> {
    Request::Broadcast { group, content }
}

/// A server whose mailboxes hold so much.
fn with_mailboxes(mailbox_messages: u32, mailbox_bytes: u64) -> World {
    let settings = Settings { mailbox_messages, mailbox_bytes, ..Settings::default() };
    World::with(Settings { registrations: 0, connections: 0, ..settings })
}

fn bytes_on_the_wire(got: &Got) -> usize {
    8 + got.content.len()
}

// 0x03

#[test]
fn a_message_reaches_a_user_in_session_at_once_and_the_sender_hears_nothing() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    let events = world.events();
    world.does(ann, send(ben.number, b"hi"));
    assert_eq!(world.take(ben.at), [message(ann, b"hi")]);
    assert_eq!(world.event_names(events)[..1], ["message-sent"]);
}

#[test]
fn a_message_has_sign_2_the_senders_number_and_kind_0() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.does(ann, send(ben.number, b"hi"));
    let received = world.take(ben.at);
    assert_eq!(received[0].packet_type, 0x03);
    assert_eq!(received[0].content, [2, 0, 0, 0x27, 0x11, 0, 2, b'h', b'i', 0]);
}

#[test]
fn one_may_write_to_oneself() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    assert_eq!(world.asks(ann, send(ann.number, b"note")), [message(ann, b"note")]);
}

#[test]
fn hidden_and_do_not_disturb_users_receive_as_online_ones_do() {
    for mode in [2, 3] {
        let mut world = World::new();
        let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
        world.does(ben, Request::SetMode { mode });
        world.does(ann, send(ben.number, b"hi"));
        assert_eq!(world.take(ben.at), [message(ann, b"hi")], "mode {mode}");
    }
}

#[test]
fn a_message_to_an_unknown_number_is_refused() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    for number in [ServiceNumber(0), NOBODY] {
        world.refused(ann, send(number, b"hi"), Code::UnknownNumber);
    }
}

#[test]
fn a_message_has_1_to_8192_bytes_of_text() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    let letters = [b'a'; 8_193];
    for length in [1, 8_192] {
        world.does(ann, send(ben.number, &letters[..length]));
        assert_eq!(world.take(ben.at), [message(ann, &letters[..length])]);
        world.does(ann, broadcast(0, &letters[..length]));
        assert_eq!(world.take(ben.at), [message(ann, &letters[..length])]);
    }
    let wrong = [&letters[..0], &letters[..], b"a\0", b"a\x1F", b"a\x7F", b"a\xFF", b"\xE4\xB8"];
    for content in wrong {
        for request in [send(ben.number, content), broadcast(0, content)] {
            let sentence = world.refused(ann, request, Code::BadValue);
            assert!(sentence.contains("content"), "{sentence}");
            assert_eq!(world.take(ben.at), []);
        }
    }
}

#[test]
fn a_message_may_have_several_lines_and_tabs() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    for request in [send(ben.number, b"a\tb\r\nc"), broadcast(1, b"a\tb\r\nc")] {
        world.does(ann, request);
        assert_eq!(world.take(ben.at), [message(ann, b"a\tb\r\nc")]);
    }
}

// Delivery

#[test]
fn a_message_to_one_who_is_offline_waits_for_the_next_login_and_comes_once() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    world.does(ann, send(ben, b"hi"));
    let (session, mail) = world.session_and_mail(ben);
    assert_eq!(mail, [message(ann, b"hi")]);
    world.leaves(session);
    let (_, mail) = world.session_and_mail(ben);
    assert_eq!(mail, []);
}

#[test]
fn messages_wait_through_a_restart() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    world.does(ann, send(ben, b"one"));
    world.does(ann, send(ben, b"two"));
    let mut world = world.restart();
    let (_, mail) = world.session_and_mail(ben);
    assert_eq!(mail, [message(ann, b"one"), message(ann, b"two")]);
}

#[test]
fn a_message_that_was_acknowledged_is_not_sent_again() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.does(ann, send(ben.number, b"hi"));
    world.leaves(ben);
    let (session, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, []);
    world.leaves(session);
    let mut world = world.restart();
    let (_, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, []);
}

#[test]
fn deliveries_are_written_when_nobody_waits_for_it_or_after_a_second() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    let later = |world: &mut World, millis| {
        world.now.wall.0 += millis;
        world.now.mono.0 += millis;
    };
    // Its receipt comes in at the end of the turn.
    world.does(ann, send(ben.number, b"one"));
    let events = world.events();
    later(&mut world, 60);
    world.ask(ann.at, ann.number, Request::Test);
    assert_eq!(world.event_names(events), [""; 0], "the reply waits for no sync");
    world.pass(0);
    assert_eq!(world.event_names(events), ["delivered"], "a turn without a word to anybody");

    world.does(ann, send(ben.number, b"two"));
    let events = world.events();
    for _ in 0..9 {
        later(&mut world, 110);
        world.ask(ann.at, ann.number, Request::Test);
    }
    assert_eq!(world.event_names(events), [""; 0]);
    later(&mut world, 10);
    world.ask(ann.at, ann.number, Request::Test);
    assert_eq!(world.event_names(events), ["delivered"], "every turn has had something to say");
}

#[test]
fn messages_that_were_not_acknowledged_are_sent_again_until_they_are() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.deaf.push(ben.at);
    world.does(ann, send(ben.number, b"one"));
    world.does(ann, send(ben.number, b"two"));
    let all = [message(ann, b"one"), message(ann, b"two")];
    assert_eq!(world.take(ben.at), all);
    world.leaves(ben);

    let again = world.connect();
    world.deaf.push(again);
    assert_eq!(world.log_in(again, ben.number, 0), all);
    let mut world = world.restart();
    let (session, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, all);

    world.leaves(session);
    let (_, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, []);
}

#[test]
fn only_what_was_acknowledged_whole_is_delivered() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.deaf.push(ben.at);
    for text in [b"one", b"two", b"six"] {
        world.does(ann, send(ben.number, text));
    }
    let received = world.take(ben.at);
    let whole: usize = received[..2].iter().map(bytes_on_the_wire).sum();
    world.takes_unnoticed(ben.at, whole - 1);
    world.leaves(ben);
    let again = world.connect();
    world.deaf.push(again);
    assert_eq!(world.log_in(again, ben.number, 0), received[1..]);
}

#[test]
fn a_login_elsewhere_gets_what_the_session_before_has_not_acknowledged() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.does(ann, send(ben.number, b"read"));
    world.deaf.push(ben.at);
    world.does(ann, send(ben.number, b"unread"));
    let (_, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, [message(ann, b"unread")]);
}

#[test]
fn a_logout_keeps_what_was_not_acknowledged_for_the_next_login() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.deaf.push(ben.at);
    world.does(ann, send(ben.number, b"unread"));
    world.take(ben.at);
    world.does(ben, Request::SetMode { mode: 4 });
    assert_eq!(world.log_in(ben.at, ben.number, 0), [message(ann, b"unread")]);
}

#[test]
fn messages_sent_during_and_after_a_long_mailbox_come_in_order() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    let texts: Vec<_> =
        (0..40).map(|n| vec![b'a' + u8::try_from(n % 26).unwrap(); 8_192]).collect();
    for text in &texts {
        world.does(ann, send(ben, text));
    }
    let client = world.connect();
    world.deaf.push(client);
    let mut received = world.log_in(client, ben, 0);
    world.does(ann, send(ben, b"last"));
    world.deaf.clear();
    world.settle();
    received.extend(world.take(client));
    let mut expected: Vec<_> = texts.iter().map(|text| message(ann, text)).collect();
    expected.push(message(ann, b"last"));
    assert!(received == expected, "{} of {} in order", received.len(), expected.len());
}

// Mailbox limits

#[test]
fn a_mailbox_holds_so_many_messages_and_then_refuses() {
    let mut world = with_mailboxes(3, 1 << 20);
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    for text in [b"one", b"two", b"six"] {
        world.does(ann, send(ben, text));
    }
    world.refused(ann, send(ben, b"x"), Code::MailboxFull);
    let (session, mail) = world.session_and_mail(ben);
    assert_eq!(mail.len(), 3);
    world.does(ann, send(ben, b"again"));
    assert_eq!(world.take(session.at), [message(ann, b"again")]);
}

#[test]
fn a_mailbox_holds_so_many_bytes_of_text_and_then_refuses() {
    let mut world = with_mailboxes(1_000, 10);
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    world.does(ann, send(ben, b"seven__"));
    world.refused(ann, send(ben, b"four"), Code::MailboxFull);
    world.does(ann, send(ben, b"3__"));
    world.refused(ann, send(ben, b"1"), Code::MailboxFull);
}

#[test]
fn by_default_a_mailbox_holds_1000_messages() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    for _ in 0..1_000 {
        world.does(ann, send(ben, b"x"));
    }
    world.refused(ann, send(ben, b"x"), Code::MailboxFull);
}

#[test]
fn by_default_a_mailbox_holds_a_mebibyte_of_text() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    let text = [b'a'; 8_192];
    for _ in 0..128 {
        world.does(ann, send(ben, &text));
    }
    world.refused(ann, send(ben, b"x"), Code::MailboxFull);
}

#[test]
fn a_message_counts_as_long_as_it_is_undelivered_in_session_too() {
    let mut world = with_mailboxes(1, 1 << 20);
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.deaf.push(ben.at);
    world.does(ann, send(ben.number, b"one"));
    world.refused(ann, send(ben.number, b"two"), Code::MailboxFull);
    world.deaf.clear();
    world.settle();
    world.does(ann, send(ben.number, b"two"));
}

#[test]
fn before_a_mailbox_is_called_full_what_was_acknowledged_meanwhile_is_looked_at() {
    for request in [send(ServiceNumber(10_002), b"two"), broadcast(0, b"two")] {
        let mut world = with_mailboxes(1, 1 << 20);
        let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
        world.befriend(ann, ben.number);
        world.settle();
        world.deaf.push(ben.at);
        world.does(ann, send(ben.number, b"one"));
        let received = world.take(ben.at);
        world.takes_unnoticed(ben.at, bytes_on_the_wire(&received[0]));
        world.does(ann, request);
        assert_eq!(world.take(ben.at), [message(ann, b"two")]);
    }
}

#[test]
fn one_mailbox_does_not_fill_another() {
    let mut world = with_mailboxes(1, 1 << 20);
    let ann = world.user(b"ann");
    let crowd = world.crowd(2);
    world.does(ann, send(crowd[0], b"one"));
    world.does(ann, send(crowd[1], b"one"));
    world.refused(ann, send(crowd[0], b"two"), Code::MailboxFull);
}

#[test]
fn system_messages_count_and_find_room_even_in_a_full_mailbox() {
    let mut world = with_mailboxes(2, 1 << 20);
    let ann = world.user(b"ann");
    let ben = world.registered(Account { authentication: 1, ..account(b"ben") });
    let ask = Request::RequestFriend { friend: ben, reason: b"please" };
    world.does(ann, ask);
    world.does(ann, send(ben, b"one"));
    world.refused(ann, send(ben, b"two"), Code::MailboxFull);
    let cay = world.user(b"cay");
    world.does(cay, ask);
    let (_, mail) = world.session_and_mail(ben);
    let waited = [
        system_text(SystemKind::Asks, ann, b"please"),
        message(ann, b"one"),
        system_text(SystemKind::Asks, cay, b"please"),
    ];
    assert_eq!(mail, waited);
}

#[test]
fn the_reasons_of_requests_count_as_text() {
    let mut world = with_mailboxes(1_000, 10);
    let ann = world.user(b"ann");
    let ben = world.registered(Account { authentication: 1, ..account(b"ben") });
    world.does(ann, Request::RequestFriend { friend: ben, reason: b"please" });
    world.refused(ann, send(ben, b"five!"), Code::MailboxFull);
    world.does(ann, send(ben, b"four"));
}

#[test]
fn a_replaced_system_message_counts_no_more() {
    let mut world = with_mailboxes(2, 10);
    let ann = world.user(b"ann");
    let ben = world.registered(Account { authentication: 1, ..account(b"ben") });
    for reason in [b"please", b"do it!", b"at las"] {
        world.does(ann, Request::RequestFriend { friend: ben, reason });
    }
    world.does(ann, send(ben, b"four"));
    world.refused(ann, send(ben, b"x"), Code::MailboxFull);
}

// 0x04

/// Ann with ben and cay in group 1 and dan in group 2, all in session.
fn circle(world: &mut World) -> (User, [User; 3]) {
    let ann = world.user(b"ann");
    let friends = [world.user(b"ben"), world.user(b"cay"), world.user(b"dan")];
    for friend in friends {
        world.befriend(ann, friend.number);
    }
    let work = world.group(ann, b"work");
    world.moved(ann, &[(friends[2].number, work)]);
    (ann, friends)
}

#[test]
fn a_broadcast_goes_to_the_friends_of_its_group_and_group_0_is_all_of_them() {
    for (group, receivers) in [(1, [true, true, false]), (2, [false, false, true]), (0, [true; 3])]
    {
        let mut world = World::new();
        let (ann, friends) = circle(&mut world);
        let stranger = world.user(b"eve");
        world.befriend(stranger, ann.number);
        world.does(ann, broadcast(group, b"hi"));
        for (friend, receives) in friends.into_iter().zip(receivers) {
            let expected = Vec::from_iter(receives.then(|| message(ann, b"hi")));
            assert_eq!(world.take(friend.at), expected, "{friend:?} of group {group}");
        }
        assert_eq!(world.take(stranger.at), []);
        assert_eq!(world.take(ann.at), []);
    }
}

#[test]
fn a_broadcast_is_one_event() {
    let mut world = World::new();
    let (ann, _) = circle(&mut world);
    world.settle();
    let events = world.events();
    world.does(ann, broadcast(0, b"hi"));
    assert_eq!(world.event_names(events)[..1], ["message-broadcast"]);
    assert!(!world.event_names(events)[1..].contains(&"message-broadcast"));
}

#[test]
fn a_broadcast_waits_for_those_who_are_offline() {
    let mut world = World::new();
    let (ann, [ben, cay, _]) = circle(&mut world);
    world.leaves(ben);
    world.does(ann, broadcast(1, b"hi"));
    assert_eq!(world.take(cay.at), [message(ann, b"hi")]);
    let mut world = world.restart();
    let (_, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, [message(ann, b"hi")]);
}

#[test]
fn a_broadcast_to_an_unknown_group_is_refused() {
    let mut world = World::new();
    let (ann, _) = circle(&mut world);
    // The packet has four bytes for the group: 257 is not 1.
    for group in [3, 255, 256, 257, u32::MAX] {
        world.refused(ann, broadcast(group, b"hi"), Code::UnknownGroup);
    }
}

#[test]
fn a_broadcast_to_nobody_is_done_silently() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let empty = world.group(ann, b"empty");
    for group in [0, 1, empty.0.into()] {
        world.does(ann, broadcast(group, b"hi"));
    }
}

/// Ann, three friends, and those whose mailboxes are full.
fn circle_with_full(full: &[usize]) -> (World, User, [User; 3]) {
    let mut world = with_mailboxes(1, 1 << 20);
    let (ann, friends) = circle(&mut world);
    world.settle();
    for &index in full {
        world.deaf.push(friends[index].at);
        world.does(ann, send(friends[index].number, b"fills"));
        world.take(friends[index].at);
    }
    world.settle();
    (world, ann, friends)
}

#[test]
fn a_broadcast_leaves_out_full_mailboxes_and_one_notice_says_how_many() {
    for full in [&[0][..], &[1], &[0, 2]] {
        let (mut world, ann, friends) = circle_with_full(full);
        let answer = world.asks(ann, broadcast(0, b"hi"));
        assert_eq!(answer.len(), 1, "{answer:?}");
        let (packet_type, code, _) = answer[0].notice().unwrap();
        assert_eq!((packet_type, code), (0x04, Code::MailboxFull));
        for (index, friend) in friends.into_iter().enumerate() {
            let receives = !full.contains(&index);
            let expected = Vec::from_iter(receives.then(|| message(ann, b"hi")));
            assert_eq!(world.take(friend.at), expected, "{index} of {full:?}");
        }
    }
}

#[test]
fn the_notice_of_a_broadcast_counts_the_full_mailboxes() {
    for full in [&[0, 2][..], &[1]] {
        let (mut world, ann, _) = circle_with_full(full);
        let answer = world.asks(ann, broadcast(0, b"hi"));
        let (_, _, sentence) = answer[0].notice().unwrap();
        assert!(sentence.contains(&full.len().to_string()), "{} full: {sentence}", full.len());
    }
}

#[test]
fn those_left_out_of_a_broadcast_do_not_get_it_after_a_restart() {
    let (mut world, ann, friends) = circle_with_full(&[0]);
    world.asks(ann, broadcast(1, b"hi"));
    let mut world = world.restart();
    let (_, mail) = world.session_and_mail(friends[0].number);
    assert_eq!(mail, [message(ann, b"fills")]);
}

#[test]
fn a_broadcast_whose_receivers_are_all_full_is_refused() {
    let (mut world, ann, friends) = circle_with_full(&[0, 1]);
    world.refused(ann, broadcast(1, b"hi"), Code::MailboxFull);
    world.does(ann, broadcast(2, b"hi"));
    assert_eq!(world.take(friends[2].at), [message(ann, b"hi")]);
}

// System messages in the mailbox

#[test]
fn of_each_kind_from_each_user_one_waits_the_newer_at_the_end() {
    let mut world = World::new();
    let (ann, cay) = (world.user(b"ann"), world.user(b"cay"));
    let ben = world.registered(Account { authentication: 1, ..account(b"ben") });
    world.does(ann, Request::RequestFriend { friend: ben, reason: b"old" });
    world.does(cay, Request::RequestFriend { friend: ben, reason: b"mine" });
    world.does(ann, send(ben, b"hi"));
    world.does(ann, Request::RequestFriend { friend: ben, reason: b"new" });
    let (_, mail) = world.session_and_mail(ben);
    let waited = [
        system_text(SystemKind::Asks, cay, b"mine"),
        message(ann, b"hi"),
        system_text(SystemKind::Asks, ann, b"new"),
    ];
    assert_eq!(mail, waited);
}

#[test]
fn being_added_again_replaces_the_older_notice_of_it() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    let ben = world.registered(account(b"ben"));
    world.befriend(ann, ben);
    world.does(ann, send(ben, b"hi"));
    world.does(ann, Request::DeleteFriend { friend: ben });
    world.befriend(ann, ben);
    let (_, mail) = world.session_and_mail(ben);
    assert_eq!(mail, [message(ann, b"hi"), system(SystemKind::Added, ann)]);
}

#[test]
fn different_kinds_from_one_user_wait_side_by_side() {
    let mut world = World::new();
    let (ann, ben) = (world.user_who(b"ann", 1), world.user(b"ben"));
    world.does(ben, Request::AddFriend { friend: ann.number });
    world.leaves(ben);
    world.befriend(ann, ben.number);
    world.does(ann, Request::AnswerRequest { friend: ben.number, consent: 1 });
    let (_, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, [system(SystemKind::Added, ann), system(SystemKind::Agreed, ann)]);
}

#[test]
fn a_system_message_that_was_not_acknowledged_is_sent_again_and_one_that_was_is_not() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user_who(b"ben", 1));
    world.deaf.push(ben.at);
    world.does(ann, Request::RequestFriend { friend: ben.number, reason: b"me" });
    let asks = [system_text(SystemKind::Asks, ann, b"me")];
    assert_eq!(world.take(ben.at), asks);
    world.leaves(ben);
    let (session, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, asks);
    world.leaves(session);
    let (_, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, []);
}

#[test]
fn a_newer_system_message_that_replaces_an_unacknowledged_one_comes_alone_after_the_next_login() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user_who(b"ben", 1));
    world.deaf.push(ben.at);
    for reason in [b"one", b"two"] {
        world.does(ann, Request::RequestFriend { friend: ben.number, reason });
        assert_eq!(world.take(ben.at), [system_text(SystemKind::Asks, ann, reason)]);
    }
    let (_, mail) = world.session_and_mail(ben.number);
    assert_eq!(mail, [system_text(SystemKind::Asks, ann, b"two")]);
}

#[test]
fn notices_do_not_wait_for_the_next_login() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.deaf.push(ann.at);
    world.refused(ann, send(NOBODY, b"hi"), Code::UnknownNumber);
    world.leaves(ann);
    let (_, mail) = world.session_and_mail(ann.number);
    assert_eq!(mail, []);
}

#[test]
fn a_gb18030_server_passes_its_text_on_and_refuses_what_is_none() {
    let settings = Settings { charset: Charset::Gb18030, ..Settings::default() };
    let mut world = World::with(settings);
    let (ann, ben) = world.friends();
    for request in [send(ben.number, b"\xC4\xE3\xBA\xC3"), broadcast(0, b"\xC4\xE3\xBA\xC3")] {
        world.does(ann, request);
        assert_eq!(world.take(ben.at), [message(ann, b"\xC4\xE3\xBA\xC3")]);
    }
    for content in [&b"\xC4"[..], b"a\xFF"] {
        world.refused(ann, send(ben.number, content), Code::BadValue);
        world.refused(ann, broadcast(0, content), Code::BadValue);
    }
}

#[test]
fn what_is_acknowledged_after_a_logout_is_delivered_too() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.deaf.push(ben.at);
    world.does(ann, send(ben.number, b"hi"));
    assert_eq!(world.take(ben.at), [message(ann, b"hi")]);
    world.does(ben, Request::SetMode { mode: 4 });
    world.deaf.clear();
    world.settle();
    assert_eq!(world.log_in(ben.at, ben.number, 0), []);
}

#[test]
fn what_is_acknowledged_after_several_sessions_on_a_connection_is_looked_at_for_each() {
    let mut world = with_mailboxes(2, 1 << 20);
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    let cay = User { number: world.registered(account(b"cay")), at: ben.at };
    let log_out = Request::SetMode { mode: 4 };
    world.deaf.push(ben.at);
    world.does(ann, send(ben.number, b"one"));
    let one = world.take(ben.at);
    world.does(ben, log_out);
    world.log_in(cay.at, cay.number, 0);
    world.does(ann, send(cay.number, b"two"));
    world.does(cay, log_out);
    assert_eq!(world.log_in(ben.at, ben.number, 0), one);
    world.does(ann, send(ben.number, b"three"));
    world.does(ben, log_out);

    world.takes_unnoticed(ben.at, bytes_on_the_wire(&one[0]));
    world.turn(|engine, journal| {
        engine.handle_acknowledged(ben.at, journal.acknowledged[&ben.at]);
    });
    world.settle();
    assert_eq!(world.waiting(ben), 1, "the first one has arrived");
    world.does(ann, send(ben.number, b"four"));
    // All that was sent has arrived now, which makes room.
    world.takes_unnoticed(ben.at, 1_000);
    world.does(ann, send(ben.number, b"five"));
    assert_eq!(
        world.session_and_mail(ben.number).1,
        [message(ann, b"four"), message(ann, b"five")]
    );
}

#[test]
fn nobody_is_remembered_on_a_connection_that_holds_nothing_of_theirs() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    let other = |number| User { number, at: ben.at };
    let cay = other(world.registered(account(b"cay")));
    let dan = other(world.registered(account(b"dan")));
    let log_out = Request::SetMode { mode: 4 };
    world.deaf.push(ben.at);
    world.does(ann, send(ben.number, b"one"));
    let one = world.take(ben.at);
    world.does(ben, log_out);
    // Cay is sent nothing, while ben's message is still on its way.
    world.log_in(cay.at, cay.number, 0);
    world.does(cay, log_out);
    world.takes_unnoticed(ben.at, bytes_on_the_wire(&one[0]));
    world.turn(|engine, journal| {
        engine.handle_acknowledged(ben.at, journal.acknowledged[&ben.at]);
    });

    world.log_in(dan.at, dan.number, 0);
    world.does(ann, send(dan.number, b"two"));
    world.takes_unnoticed(dan.at, 1_000);
    world.session(cay.number);
    assert!(world.engine.awaits_acknowledgement(dan.at), "her login does not look there");
}

#[test]
fn a_connection_that_is_over_is_not_looked_at_once_another_has_its_id() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    let dan = User { number: world.registered(account(b"dan")), at: ben.at };
    world.deaf.push(ben.at);
    world.does(ann, send(ben.number, b"one"));
    world.take(ben.at);
    world.leaves(ben);

    world.turn(|engine, journal| {
        engine.handle_connect(dan.at, [127, 0, 0, 1].into(), journal);
    });
    world.journal.acknowledged.remove(&dan.at);
    world.log_in(dan.at, dan.number, 0);
    world.does(ann, send(dan.number, b"two"));
    world.takes_unnoticed(dan.at, 1_000);
    assert_eq!(world.session_and_mail(ben.number).1, [message(ann, b"one")]);
    assert!(world.engine.awaits_acknowledgement(dan.at), "ben's login does not look there");
}
