//! Searching users: `0x0B`, and what a statement may say.

use oicq::codec::profile::Profile;
use oicq::id::ServiceNumber;
use oicq::wire::client::Account;
use oicq::wire::server::UserEntry;
use oicq::wire::{Code, Kind, Request, ServerPacket};

use crate::kit::World;
use crate::kit::people::{User, account, bytes_of, full_profile, got};

fn statement(text: &str) -> Request<'_> {
    Request::Search { statement: text.as_bytes() }
}

fn condition(text: &str) -> String {
    format!("SELECT number FROM users WHERE {text}")
}

/// Users 10001 to 10005; the last one asks.
fn five() -> (World, User) {
    let mut world = World::new();
    let profiles = [
        ("ann", 20, "Harbin"),
        ("Ben", 30, "Beijing"),
        ("ben", 20, "Harbin"),
        ("o'neil", 40, "100% city"),
        ("eve", 0, ""),
    ];
    for (nickname, age, city) in profiles {
        let (nickname, city) = (nickname.as_bytes(), city.as_bytes());
        let profile = Profile { nickname, age, city, ..Profile::default() };
        world.registered(Account { profile, ..account(nickname) });
    }
    let eve = world.session(ServiceNumber(10_005));
    (world, eve)
}

#[track_caller]
fn finds(world: &mut World, asker: User, text: &str, expected: &[u32]) {
    let expected: Vec<_> = expected.iter().copied().map(ServiceNumber).collect();
    assert_eq!(world.search(asker, text), expected, "{text}");
}

#[test]
fn the_reply_has_columns_of_its_own_whatever_is_selected() {
    let mut world = World::new();
    let ann = world.user_with(Account { profile: full_profile(), ..account(b"") });
    let Profile { nickname, portrait, province, city, .. } = full_profile();
    let users = vec![UserEntry { number: ann.number, nickname, portrait, province, city }];
    let found = [got(&ServerPacket::Found { success: true, users })];
    for columns in ["*", "number", "age, hobbies, online"] {
        let text = format!("SELECT {columns} FROM users");
        assert_eq!(world.asks(ann, statement(&text)), found, "{text}");
    }
}

#[test]
fn a_search_that_finds_nobody_succeeds() {
    let (mut world, eve) = five();
    let nobody = got(&ServerPacket::Found { success: true, users: vec![] });
    assert_eq!(world.asks(eve, statement(&condition("number = 1"))), [nobody]);
}

#[test]
fn conditions_are_understood() {
    let (mut world, eve) = five();
    let conditions: &[(&str, &[u32])] = &[
        ("age = 20", &[10_001, 10_003]),
        ("age <> 20", &[10_002, 10_004, 10_005]),
        ("age != 20", &[10_002, 10_004, 10_005]),
        ("age < 20", &[10_005]),
        ("age <= 20", &[10_001, 10_003, 10_005]),
        ("age > 30", &[10_004]),
        ("age >= 30", &[10_002, 10_004]),
        ("age > -1 AND age < 1", &[10_005]),
        ("nickname = 'ben'", &[10_003]),
        ("nickname < 'a'", &[10_002]),
        ("nickname = 'o''neil'", &[10_004]),
        ("nickname LIKE 'BEN'", &[10_002, 10_003]),
        ("nickname LIKE '%n'", &[10_001, 10_002, 10_003]),
        ("nickname LIKE '_e_'", &[10_002, 10_003]),
        ("nickname NOT LIKE '%e%'", &[10_001]),
        ("age IN (0, 40)", &[10_004, 10_005]),
        ("age NOT IN (0, 40)", &[10_001, 10_002, 10_003]),
        ("city IN ('Harbin')", &[10_001, 10_003]),
        ("age BETWEEN 20 AND 30", &[10_001, 10_002, 10_003]),
        ("age NOT BETWEEN 20 AND 30", &[10_004, 10_005]),
        ("age = 20 OR age = 30 AND city = 'Nowhere'", &[10_001, 10_003]),
        ("(age = 20 OR age = 30) AND city = 'Harbin'", &[10_001, 10_003]),
        ("NOT age = 20", &[10_002, 10_004, 10_005]),
        ("NOT (age = 20 OR age = 30)", &[10_004, 10_005]),
        ("20 = age", &[10_001, 10_003]),
    ];
    for (text, expected) in conditions {
        finds(&mut world, eve, &condition(text), expected);
    }
}

#[test]
fn order_and_limit_are_kept_to_and_equals_go_by_number() {
    let (mut world, eve) = five();
    let statements: &[(&str, &[u32])] = &[
        ("SELECT * FROM users", &[10_001, 10_002, 10_003, 10_004, 10_005]),
        ("select * from USERS order by AGE;", &[10_005, 10_001, 10_003, 10_002, 10_004]),
        ("SELECT * FROM users ORDER BY age DESC", &[10_004, 10_002, 10_001, 10_003, 10_005]),
        (
            "SELECT * FROM users ORDER BY age ASC, number DESC",
            &[10_005, 10_003, 10_001, 10_002, 10_004],
        ),
        ("SELECT * FROM users ORDER BY nickname LIMIT 2", &[10_002, 10_001]),
        ("SELECT * FROM users LIMIT 0", &[]),
        ("SELECT * FROM users WHERE age = 20 ORDER BY number DESC LIMIT 1", &[10_003]),
    ];
    for (text, expected) in statements {
        finds(&mut world, eve, text, expected);
    }
}

#[test]
fn online_is_1_for_visible_users_in_session() {
    let (mut world, eve) = five();
    let hidden = world.session(ServiceNumber(10_001));
    world.does(hidden, Request::SetMode { mode: 2 });
    let busy = world.session(ServiceNumber(10_002));
    world.does(busy, Request::SetMode { mode: 3 });
    finds(&mut world, eve, &condition("online = 1"), &[10_002, 10_005]);
    finds(&mut world, eve, &condition("online = 0"), &[10_001, 10_003, 10_004]);
}

#[test]
fn the_reply_has_up_to_50_users() {
    let mut world = World::new();
    let ann = world.user(b"ann");
    world.crowd(60);
    let all = world.search(ann, "SELECT * FROM users");
    assert_eq!(all, Vec::from_iter((10_001..=10_050).map(ServiceNumber)));
    assert_eq!(world.search(ann, "SELECT * FROM users LIMIT 50").len(), 50);
    assert_eq!(world.search(ann, "SELECT * FROM users LIMIT 1000").len(), 50);
    let last = world.search(ann, "SELECT * FROM users ORDER BY number DESC");
    assert_eq!(last, Vec::from_iter((10_012..=10_061).rev().map(ServiceNumber)));
}

#[test]
fn what_is_not_understood_is_refused() {
    let (mut world, eve) = five();
    let wrong = [
        "",
        "nonsense",
        "SELECT * FROM accounts",
        "SELECT * FROM users, users",
        "SELECT * FROM users WHERE",
        "SELECT * FROM users WHERE age",
        "SELECT * FROM users WHERE age = ",
        "SELECT * FROM users WHERE age = 'twenty'",
        "SELECT * FROM users WHERE nickname = 20",
        "SELECT * FROM users WHERE age LIKE '2%'",
        "SELECT * FROM users WHERE age = 20 OFFSET 3",
        "SELECT * FROM users GROUP BY age",
        "SELECT count(*) FROM users",
        "SELECT * FROM users; SELECT * FROM users",
        "SELECT * FROM users UNION SELECT * FROM users",
        "SELECT * FROM users WHERE nickname = 'ann",
        "SELECT * FROM users LIMIT -1",
        "DELETE FROM users",
        "DROP TABLE users",
    ];
    for text in wrong {
        world.refused(eve, statement(text), Code::BadQuery);
    }
}

#[test]
fn columns_that_are_nobodys_business_cannot_be_reached() {
    let (mut world, eve) = five();
    let private = [
        "password",
        "real_name",
        "address",
        "zip_code",
        "phone",
        "pager",
        "email",
        "authentication",
    ];
    for column in private {
        for text in [
            format!("SELECT {column} FROM users"),
            format!("SELECT * FROM users WHERE {column} = ''"),
            format!("SELECT * FROM users ORDER BY {column}"),
        ] {
            world.refused(eve, statement(&text), Code::BadQuery);
        }
    }
}

#[test]
fn every_public_column_may_be_named() {
    let (mut world, eve) = five();
    let numbers =
        ["number", "portrait", "gender", "age", "country", "province", "education", "occupation"];
    let texts = ["nickname", "city", "school", "hobbies", "description"];
    for column in numbers.into_iter().chain(["online"]) {
        let text = format!("SELECT {column} FROM users WHERE {column} >= 0 ORDER BY {column}");
        assert_eq!(world.search(eve, &text).len(), 5, "{text}");
    }
    for column in texts {
        let text = format!("SELECT {column} FROM users WHERE {column} LIKE '%' ORDER BY {column}");
        assert_eq!(world.search(eve, &text).len(), 5, "{text}");
    }
}

#[test]
fn a_statement_has_up_to_1024_bytes() {
    let (mut world, eve) = five();
    let mut text = condition("number = 10001");
    while text.len() < 1_024 {
        text.push(' ');
    }
    finds(&mut world, eve, &text, &[10_001]);
    text.push(' ');
    world.refused(eve, statement(&text), Code::BadQuery);
}

#[test]
fn a_condition_is_not_endlessly_deep_and_a_chain_is_one_level() {
    let (mut world, eve) = five();
    let nested =
        |levels: usize| condition(&format!("{}age = 20{}", "(".repeat(levels), ")".repeat(levels)));
    finds(&mut world, eve, &nested(20), &[10_001, 10_003]);
    world.refused(eve, statement(&nested(40)), Code::BadQuery);
    let chain = condition(&["age = 20"; 60].join(" OR "));
    finds(&mut world, eve, &chain, &[10_001, 10_003]);
}

#[test]
fn the_sentence_says_where_a_statement_is_not_understood() {
    let (mut world, eve) = five();
    let places = ["SELECT * FROM users WHERE ago = 1", "SELECT * FROM users WHERE age = 1 ago"];
    let [first, second] = places.map(|text| world.refused(eve, statement(text), Code::BadQuery));
    assert_ne!(first, second);
    assert!(first.contains("ago") || first.contains("27"), "{first}");
    assert!(second.contains("ago") || second.contains("35"), "{second}");
}

#[test]
fn a_statement_that_is_no_text_is_refused_as_every_string_is() {
    let (mut world, eve) = five();
    let request = Request::Search { statement: b"SELECT * FROM users WHERE nickname = '\xFF'" };
    let sentence = world.refused(eve, request, Code::BadValue);
    assert!(sentence.contains("statement"), "{sentence}");
}

#[test]
fn the_packets_of_a_connection_take_effect_in_order_past_a_search() {
    let (mut world, eve) = five();
    let search = bytes_of(Kind::User, eve.number, statement("SELECT * FROM users"));
    let test = bytes_of(Kind::User, eve.number, Request::Test);
    world.send_bytes(eve.at, &[search, test].concat());
    let types: Vec<_> = world.take(eve.at).iter().map(|got| got.packet_type).collect();
    assert_eq!(types, [0x0A, 0x16]);
}
