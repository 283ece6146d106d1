//! Registration, profiles and their changes: `0x01`, `0x05` and `0x12`.

use oicq::codec::charset::Charset;
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::engine::Settings;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::server::{GroupEntry, SystemKind};
use oicq::wire::{Code, Kind, Request, ServerPacket};

use crate::kit::people::{NOBODY, PASSWORD, User, account, bytes_of, full_profile, got, system};
use crate::kit::{Got, World};

fn registered(number: u32) -> Got {
    got(&ServerPacket::Registered { success: true, number: ServiceNumber(number) })
}

fn register(world: &mut World, user: User, account: Account<'_>) -> Vec<Got> {
    world.asks(user, Request::Register(account))
}

fn profile_of(number: ServiceNumber, profile: Profile<'_>) -> Got {
    got(&ServerPacket::Profile { success: true, number, profile })
}

fn without_private_fields(profile: Profile<'_>) -> Profile<'_> {
    let none: &[u8] = b"";
    Profile {
        real_name: none,
        address: none,
        zip_code: none,
        phone: none,
        pager: none,
        email: none,
        ..profile
    }
}

/// A change of one field of an account.
type Set = fn(&mut Account<'static>, &'static [u8]);

/// Every string of an account: its name, its fewest and most bytes, whether it may have several lines.
const STRINGS: &[(&str, usize, usize, bool, Set)] = &[
    ("nickname", 1, 64, false, |account, text| account.profile.nickname = text),
    ("password", 6, 64, false, |account, text| account.password = Secret::new(text)),
    ("real name", 0, 255, false, |account, text| account.profile.real_name = text),
    ("city", 0, 255, false, |account, text| account.profile.city = text),
    ("address", 0, 255, false, |account, text| account.profile.address = text),
    ("zip code", 0, 255, false, |account, text| account.profile.zip_code = text),
    ("school", 0, 255, false, |account, text| account.profile.school = text),
    ("phone", 0, 255, false, |account, text| account.profile.phone = text),
    ("pager", 0, 255, false, |account, text| account.profile.pager = text),
    ("email", 0, 255, false, |account, text| account.profile.email = text),
    ("hobbies", 0, 1_024, true, |account, text| account.profile.hobbies = text),
    ("description", 0, 1_024, true, |account, text| account.profile.description = text),
];

static LETTERS: [u8; 1_025] = [b'a'; 1_025];

type SetNumber = fn(&mut Account<'static>, u16);

/// Every bounded number of an account: its name and its largest value.
const NUMBERS: &[(&str, u16, SetNumber)] = &[
    ("portrait", 255, |account, value| account.profile.portrait = value),
    ("gender", 2, |account, value| account.profile.gender = value.try_into().unwrap()),
    ("age", 150, |account, value| account.profile.age = value.try_into().unwrap()),
    ("authentication", 2, |account, value| account.authentication = value.try_into().unwrap()),
];

fn with(set: Set, text: &'static [u8]) -> Account<'static> {
    let mut account = account(b"ann");
    set(&mut account, text);
    account
}

fn with_number(set: SetNumber, value: u16) -> Account<'static> {
    let mut account = account(b"ann");
    set(&mut account, value);
    account
}

#[test]
fn the_worked_registration_gets_the_worked_answer() {
    let mut world = World::new();
    let client = world.connect();
    let mut bytes = vec![0x81, 0x0A, 0x01, 0x01, 0, 0, 0, 0x2A];
    bytes.extend([0, 3, 0x61, 0x6E, 0x6E, 0, 0, 0, 6, 0x73, 0x65, 0x63, 0x72, 0x65, 0x74]);
    bytes.resize(8 + 0x2A, 0);
    world.send_bytes(client, &bytes);
    let answer = world.take(client);
    assert_eq!(answer.len(), 1);
    assert_eq!((answer[0].receiver, answer[0].packet_type), (0x0A, 0x01));
    assert_eq!(answer[0].content, [1, 0, 0, 0x27, 0x11]);
}

#[test]
fn registrations_count_up_from_10001_and_go_on_after_a_refusal_and_after_a_restart() {
    let mut world = World::new();
    let client = world.stranger();
    assert_eq!(register(&mut world, client, account(b"ann")), [registered(10_001)]);
    assert_eq!(register(&mut world, client, account(b"ann")), [registered(10_002)]);
    world.refused(client, Request::Register(account(b"")), Code::BadValue);
    assert_eq!(register(&mut world, client, account(b"ben")), [registered(10_003)]);

    let mut world = world.restart();
    let client = world.stranger();
    assert_eq!(register(&mut world, client, account(b"cay")), [registered(10_004)]);
}

#[test]
fn a_registration_does_not_log_in() {
    let mut world = World::new();
    let client = world.stranger();
    assert_eq!(register(&mut world, client, account(b"ann")), [registered(10_001)]);
    let own = User { number: ServiceNumber(10_001), at: client.at };
    let send = Request::Send { receiver: own.number, content: b"hi" };
    world.violated(own, &bytes_of(Kind::User, own.number, send), 0x03, Code::NotLoggedIn);
}

#[test]
fn a_new_user_has_group_1_my_friends_and_no_friend() {
    let mut world = World::new();
    let number = world.registered(account(b"ann"));
    let client = world.stranger();
    let log_in = Request::LogIn { password: Secret::new(PASSWORD), mode: 0 };
    let answer = world.ask(client.at, number, log_in);
    let first = GroupEntry { name: b"My Friends", group: GroupNumber(1), friends: Vec::new() };
    assert_eq!(answer, [got(&ServerPacket::LoggedIn { success: true, groups: vec![first] })]);
}

#[test]
fn a_registration_is_one_event() {
    let mut world = World::new();
    world.registered(account(b"ann"));
    assert_eq!(world.event_names(0), ["registered"]);
}

#[test]
fn every_string_is_taken_at_its_bounds_and_refused_beyond_by_its_name() {
    let mut world = World::new();
    let client = world.stranger();
    for &(field, fewest, most, _, set) in STRINGS {
        for length in [fewest, most] {
            let answer = register(&mut world, client, with(set, &LETTERS[..length]));
            let next = world.engine.state().next_number().unwrap().0;
            assert_eq!(answer, [registered(next - 1)], "{field} of {length} bytes");
        }
        let too_short = fewest.checked_sub(1);
        for length in too_short.into_iter().chain([most + 1]) {
            let request = Request::Register(with(set, &LETTERS[..length]));
            let sentence = world.refused(client, request, Code::BadValue);
            assert!(sentence.contains(field), "{field} of {length} bytes: {sentence}");
        }
    }
}

#[test]
fn every_number_is_taken_at_its_bounds_and_refused_beyond_by_its_name() {
    let mut world = World::new();
    let client = world.stranger();
    for &(field, most, set) in NUMBERS {
        for value in [0, most] {
            let answer = register(&mut world, client, with_number(set, value));
            let next = world.engine.state().next_number().unwrap().0;
            assert_eq!(answer, [registered(next - 1)], "{field} {value}");
        }
        for value in [most + 1, if field == "portrait" { u16::MAX } else { 255 }] {
            let request = Request::Register(with_number(set, value));
            let sentence = world.refused(client, request, Code::BadValue);
            assert!(sentence.contains(field), "{field} {value}: {sentence}");
        }
    }
}

#[test]
fn codes_that_only_clients_read_may_be_anything() {
    let mut world = World::new();
    let profile = Profile {
        country: 255,
        province: 255,
        education: 255,
        occupation: 255,
        ..Profile { nickname: b"ann", ..Profile::default() }
    };
    let ann = world.user_with(Account { profile, ..account(b"ann") });
    let answer = world.asks(ann, Request::ViewProfile { friend: ann.number });
    assert_eq!(answer, [profile_of(ann.number, profile)]);
}

#[test]
fn control_characters_are_refused_in_every_string_by_its_name() {
    let mut world = World::new();
    let client = world.stranger();
    for &(field, _, _, _, set) in STRINGS {
        for text in [b"abc\0def", b"abc\x01def", b"abc\x0Bdef", b"abc\x1Fdef", b"abc\x7Fdef"] {
            let request = Request::Register(with(set, text));
            let sentence = world.refused(client, request, Code::BadValue);
            assert!(sentence.contains(field), "{field} {text:?}: {sentence}");
        }
    }
}

#[test]
fn only_hobbies_and_description_hold_tab_cr_and_lf() {
    let mut world = World::new();
    let client = world.stranger();
    for &(field, _, _, lines, set) in STRINGS {
        for text in [b"abc\tdef", b"abc\rdef", b"abc\ndef"] {
            let account = with(set, text);
            if lines {
                let answer = register(&mut world, client, account);
                let next = world.engine.state().next_number().unwrap().0;
                assert_eq!(answer, [registered(next - 1)], "{field} {text:?}");
            } else {
                let sentence = world.refused(client, Request::Register(account), Code::BadValue);
                assert!(sentence.contains(field), "{field} {text:?}: {sentence}");
            }
        }
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused_in_every_string_by_its_name() {
    let mut world = World::new();
    let client = world.stranger();
    for &(field, _, _, _, set) in STRINGS {
        for text in [&b"abcdef\xFF"[..], b"abcdef\xC3", b"abcd\xED\xA0\x80", b"abcd\xC0\x80"] {
            let request = Request::Register(with(set, text));
            let sentence = world.refused(client, request, Code::BadValue);
            assert!(sentence.contains(field), "{field} {text:?}: {sentence}");
        }
    }
}

#[test]
fn a_gb18030_server_takes_gb18030_and_refuses_what_is_none() {
    let settings = Settings { charset: Charset::Gb18030, registrations: 0, ..Settings::default() };
    let mut world = World::with(settings);
    let client = world.stranger();
    for &(field, _, _, _, set) in STRINGS {
        // Three ideographs, then a character of four bytes.
        let text = b"\xD6\xD0\xB9\xFA\xC8\xCB\x81\x30\x81\x30";
        let answer = register(&mut world, client, with(set, text));
        let next = world.engine.state().next_number().unwrap().0;
        assert_eq!(answer, [registered(next - 1)], "{field}");
        for text in [&b"abcdef\xFF"[..], b"abcdef\xD6", b"abcdef\x81\x30\x81"] {
            let request = Request::Register(with(set, text));
            let sentence = world.refused(client, request, Code::BadValue);
            assert!(sentence.contains(field), "{field} {text:?}: {sentence}");
        }
    }
}

#[test]
fn strings_are_stored_and_passed_on_as_the_bytes_that_came() {
    let settings = Settings { charset: Charset::Gb18030, ..Settings::default() };
    let mut world = World::with(settings);
    let nickname = b"\xD6\xD0\xB9\xFA";
    let ann = world.user(nickname);
    let answer = world.asks(ann, Request::ViewProfile { friend: ann.number });
    let profile = Profile { nickname, ..Profile::default() };
    assert_eq!(answer, [profile_of(ann.number, profile)]);
}

#[test]
fn a_server_that_takes_no_new_users_refuses_registrations() {
    let settings = Settings { registration_open: false, ..Settings::default() };
    let mut world = World::with(settings);
    let client = world.stranger();
    world.refused(client, Request::Register(account(b"ann")), Code::RegistrationClosed);
}

#[test]
fn nobody_registers_inside_a_session() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.refused(ann, Request::Register(account(b"eve")), Code::AlreadyLoggedIn);
}

#[test]
fn a_user_sees_all_of_its_own_profile() {
    let mut world = World::new();
    let ann = world.user_with(Account { profile: full_profile(), ..account(b"ann") });
    let answer = world.asks(ann, Request::ViewProfile { friend: ann.number });
    assert_eq!(answer, [profile_of(ann.number, full_profile())]);
}

#[test]
fn a_stranger_sees_a_profile_without_its_private_fields() {
    let mut world = World::new();
    let ann = world.registered(Account { profile: full_profile(), ..account(b"ann") });
    let ben = world.user(b"ben");
    let answer = world.asks(ben, Request::ViewProfile { friend: ann });
    assert_eq!(answer, [profile_of(ann, without_private_fields(full_profile()))]);
}

#[test]
fn private_fields_show_to_whoever_has_the_user_in_its_list_and_not_the_other_way_round() {
    let mut world = World::new();
    let ann = world.user_with(Account { profile: full_profile(), ..account(b"ann") });
    let (ben, cay) = (world.user(b"ben"), world.user(b"cay"));
    world.befriend(ben, ann.number);
    world.befriend(ann, cay.number);

    let view = Request::ViewProfile { friend: ann.number };
    assert_eq!(world.asks(ben, view), [profile_of(ann.number, full_profile())]);
    let public = without_private_fields(full_profile());
    assert_eq!(world.asks(cay, view), [profile_of(ann.number, public)]);

    world.does(ben, Request::DeleteFriend { friend: ann.number });
    assert_eq!(world.asks(ben, view), [profile_of(ann.number, public)]);
}

#[test]
fn the_profile_of_an_unknown_number_is_refused_with_that_number() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    for friend in [ServiceNumber(0), ServiceNumber(10_000), ServiceNumber(10_002), NOBODY] {
        world.refused(ann, Request::ViewProfile { friend }, Code::UnknownNumber);
    }
}

#[test]
fn a_changed_profile_is_silent_one_event_and_what_others_see_from_then_on() {
    let mut world = World::new();
    let (ann, ben) = (world.user(b"ann"), world.user(b"ben"));
    world.befriend(ben, ann.number);
    world.settle();
    let events = world.events();
    let change = Account { profile: full_profile(), ..account(b"ann") };
    world.does(ann, Request::ChangeProfile(change));
    assert_eq!(world.event_names(events), ["profile-changed"]);
    let answer = world.asks(ben, Request::ViewProfile { friend: ann.number });
    assert_eq!(answer, [profile_of(ann.number, full_profile())]);
}

#[test]
fn a_changed_profile_keeps_groups_friends_and_waiting_messages() {
    let mut world = World::new();
    let (ann, ben) = world.friends();
    world.deaf.push(ann.at);
    world.does(ben, Request::Send { receiver: ann.number, content: b"hi" });
    world.take(ann.at);
    world.does(ann, Request::ChangeProfile(account(b"anna")));
    world.leaves(ann);
    let (_, mail) = world.session_and_mail(ann.number);
    assert_eq!(mail.len(), 1);
    let list = world.friend_list(ann.number);
    assert_eq!(list[0].1.len(), 1);
}

fn change(password: &'static [u8], authentication: u8) -> Request<'static> {
    let password = Secret::new(password);
    Request::ChangeProfile(Account { password, authentication, ..account(b"ann") })
}

fn log_in_with(world: &mut World, number: ServiceNumber, password: &[u8]) -> bool {
    let client = world.stranger();
    let log_in = Request::LogIn { password: Secret::new(password), mode: 0 };
    let answer = world.ask(client.at, number, log_in);
    matches!(answer[0].packet(), ServerPacket::LoggedIn { success: true, .. })
}

#[test]
fn an_empty_password_keeps_the_old_one() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.does(ann, change(b"", 0));
    assert!(log_in_with(&mut world, ann.number, PASSWORD));
}

#[test]
fn a_new_password_takes_the_place_of_the_old_one() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.does(ann, change(b"another secret", 0));
    assert!(!log_in_with(&mut world, ann.number, PASSWORD));
    assert!(log_in_with(&mut world, ann.number, b"another secret"));
}

#[test]
fn authentication_255_keeps_the_old_setting_and_another_takes_its_place() {
    let mut world = World::new();
    let (ann, ben) = (world.user_who(b"ann", 2), world.user(b"ben"));
    let add = Request::AddFriend { friend: ann.number };
    let refused = system(SystemKind::Refused, ann);
    for authentication in [255, 2] {
        world.does(ann, change(b"", authentication));
        assert_eq!(world.asks(ben, add), std::slice::from_ref(&refused));
    }
    world.does(ann, change(b"", 0));
    let agreed = system(SystemKind::Agreed, ann);
    assert_eq!(world.asks(ben, add), [agreed]);
}

#[test]
fn a_change_has_the_bounds_of_a_registration() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    for &(field, fewest, most, _, set) in STRINGS {
        world.does(ann, Request::ChangeProfile(with(set, &LETTERS[..most])));
        let mut wrong = vec![&LETTERS[..most + 1], &b"abcdef\x01"[..], b"abcdef\xFF"];
        // An empty password is no password.
        wrong.extend((fewest > 0).then(|| &LETTERS[..fewest - 1]));
        for text in wrong {
            let request = Request::ChangeProfile(with(set, text));
            let sentence = world.refused(ann, request, Code::BadValue);
            assert!(sentence.contains(field), "{field} of {} bytes: {sentence}", text.len());
        }
    }
    for &(field, most, set) in NUMBERS {
        world.does(ann, Request::ChangeProfile(with_number(set, most)));
        let request = Request::ChangeProfile(with_number(set, most + 1));
        let sentence = world.refused(ann, request, Code::BadValue);
        assert!(sentence.contains(field), "{field} {}: {sentence}", most + 1);
    }
    let sentence = world.refused(ann, change(b"", 254), Code::BadValue);
    assert!(sentence.contains("authentication"), "{sentence}");
}
