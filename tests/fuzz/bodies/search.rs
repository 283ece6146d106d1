//! Search statements: whatever is asked, it is understood or refused in one line that a notice can carry, and what is
//! found is the same in whatever slices it is looked for.
//!
//! The first byte chooses the charset and how long a slice is, the others are the statement.

#![allow(missing_docs, unreachable_pub, reason = "a part of tests, and of a fuzz target")]

use oicq::codec::Reader;
use oicq::codec::charset::{Breaks, Charset};
use oicq::codec::profile::Profile;
use oicq::id::ServiceNumber;
use oicq::limits::SEARCH_RESULTS;
use oicq::state::decide::search::{Query, Search};
use oicq::wire::{Code, Notice};

const USERS: u32 = 90;

pub fn run(data: &[u8]) {
    let Some((&choice, statement)) = data.split_first() else { return };
    let charset = if choice % 2 == 0 { Charset::Utf8 } else { Charset::Gb18030 };
    // As the engine does before it asks for more.
    if !charset.is_text(statement, Breaks::Refused) {
        return;
    }
    let query = || Query::parse(statement, charset);
    match query() {
        Ok(query) => {
            let mut search = Search::new(query);
            assert!(advance(&mut search, u64::MAX), "there is no end");
            check_found(&search);
            let slice = [1, 60, 500, 4_000][usize::from(choice) / 2 % 4];
            assert_eq!(found(&sliced(statement, charset, slice)), found(&search));
        }
        Err(error) => {
            assert_eq!(query().err(), Some(error.clone()), "it is refused otherwise the next time");
            let mut line = Vec::new();
            Notice::write(0x0B, Code::BadQuery, &error, &mut line);
            let notice = Notice::parse(&line).expect("one line of ASCII");
            assert!(line.len() < 4_096 && !notice.sentence.is_empty(), "{error}");
        }
    }
}

/// The same in slices, kept and restored between any two of them.
fn sliced(statement: &[u8], charset: Charset, steps: u64) -> Search {
    let query = Query::parse(statement, charset).expect("it was understood a moment ago");
    let mut search = Search::new(query);
    for _ in 0..=USERS {
        if advance(&mut search, steps) {
            return search;
        }
        let mut kept = Vec::new();
        search.save(&mut kept);
        let mut reader = Reader::new(&kept);
        search = Search::restore(&mut reader, charset).expect("it was just kept");
        assert_eq!(reader.remaining(), 0, "not all of it is restored");
        let mut again = Vec::new();
        search.save(&mut again);
        assert!(kept == again, "what is kept of it is the same again");
    }
    panic!("a slice that gets nowhere");
}

fn advance(search: &mut Search, steps: u64) -> bool {
    let last = ServiceNumber(ServiceNumber::FIRST.0 + USERS - 1);
    search.advance(last, user, |number| number.0 % 3 == 0, steps)
}

fn found(search: &Search) -> Vec<ServiceNumber> {
    search.results().collect()
}

/// Nobody twice, nobody who is not there, and not too many.
fn check_found(search: &Search) {
    let mut found = found(search);
    assert!(found.len() <= SEARCH_RESULTS, "{} are found", found.len());
    assert!(found.iter().all(|number| user(*number).is_some()), "{found:?}");
    let count = found.len();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), count, "somebody is found twice");
}

/// Users who differ in everything that can be asked for, all of them at the edge of something.
fn user(number: ServiceNumber) -> Option<Profile<'static>> {
    // In UTF-8 and in GB18030, plain and at their longest; a byte that is none in either; what LIKE looks for.
    const TEXTS: [&[u8]; 9] = [
        b"",
        b"a",
        b"Ann",
        b"%_'\\",
        "\u{4f60}\u{597d}".as_bytes(),
        b"\xc4\xe3\xba\xc3",
        b"\x81\x30\x81\x30",
        b"\xff",
        &[b'a'; 64],
    ];
    let index = number.0.checked_sub(ServiceNumber::FIRST.0).filter(|index| *index < USERS)?;
    let text = |step: u32| TEXTS[((index / step) % 9) as usize];
    let byte = |step: u32| [0, 1, 2, 127, 128, 255][((index / step) % 6) as usize];
    Some(Profile {
        nickname: text(1),
        city: text(2),
        school: text(3),
        hobbies: text(5),
        description: text(7),
        portrait: u16::from(byte(1)),
        gender: byte(2) % 3,
        age: byte(3).min(150),
        country: byte(4),
        province: byte(5),
        education: byte(6),
        occupation: byte(7),
        ..Profile::default()
    })
}
