//! Given these users, when this statement is sent, then these are found; and what is refused.

mod random;

use super::*;
use crate::limits::{SEARCH_RESULTS, SEARCH_SLICE_STEPS, STATEMENT_BYTES, STATEMENT_LEVELS};

const FIRST: u32 = ServiceNumber::FIRST.0;

/// What a search looks at.
#[derive(Clone, Default)]
struct Users {
    charset: Charset,
    users: Vec<Option<(Profile<'static>, bool)>>,
}

fn text(text: &str, charset: Charset) -> &'static [u8] {
    charset.encode(text).into_owned().leak()
}

fn user(nickname: &'static str, age: u8, city: &'static str) -> Profile<'static> {
    Profile { nickname: nickname.as_bytes(), age, city: city.as_bytes(), ..Profile::default() }
}

fn given(users: impl IntoIterator<Item = Profile<'static>>) -> Users {
    let users = users.into_iter().map(|profile| Some((profile, false))).collect();
    Users { charset: Charset::Utf8, users }
}

/// Five users, the third of them online, with one number between them that nobody has.
fn given_five() -> Users {
    let mut users = given([
        user("Ann", 20, "Oslo"),
        user("bob", 30, "Bergen"),
        user("Joanna", 40, "oslo"),
        user("", 20, ""),
        user("O'Neil_%", 25, "bob"),
    ]);
    users.users[2] = users.users[2].map(|(profile, _)| (profile, true));
    users.users.insert(3, None);
    users
}

impl Users {
    fn advance(&self, search: &mut Search, steps: u64) -> bool {
        let at = |number: ServiceNumber| *self.users.get((number.0 - FIRST) as usize)?;
        let last = ServiceNumber(FIRST + u32::try_from(self.users.len()).unwrap() - 1);
        let profile = |number| at(number).map(|(profile, _)| profile);
        search.advance(last, profile, |number| at(number).is_some_and(|(_, online)| online), steps)
    }

    /// The users found, counted from 0.
    fn find(&self, statement: impl AsRef<[u8]>) -> Vec<u32> {
        let query = Query::parse(statement.as_ref(), self.charset);
        let query = query.unwrap_or_else(|bad| panic!("refused: {bad}"));
        let mut search = Search::new(query);
        assert!(self.advance(&mut search, u64::MAX));
        search.results().map(|number| number.0 - FIRST).collect()
    }

    fn find_where(&self, condition: &str) -> Vec<u32> {
        self.find(format!("SELECT * FROM users WHERE {condition}"))
    }
}

fn refusal(statement: &str) -> String {
    match Query::parse(statement.as_bytes(), Charset::Utf8) {
        Ok(_) => panic!("understood: {statement}"),
        Err(bad) => {
            let shown = bad.to_string();
            assert!(shown.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{shown:?}");
            shown
        }
    }
}

#[test]
fn every_comparison_finds_what_it_says() {
    let users = given_five();
    for (condition, found) in [
        ("age = 20", &[0, 4][..]),
        ("age <> 20", &[1, 2, 5]),
        ("age != 20", &[1, 2, 5]),
        ("age < 25", &[0, 4]),
        ("age <= 25", &[0, 4, 5]),
        ("age > 25", &[1, 2]),
        ("25 <= age", &[1, 2, 5]),
        ("age > -1", &[0, 1, 2, 4, 5]),
        ("age < - 1", &[]),
        ("age > -9223372036854775808 AND age < 9223372036854775807", &[0, 1, 2, 4, 5]),
        ("number = 10002", &[1]),
        ("online = 1", &[2]),
        ("ONLINE = 0", &[0, 1, 4, 5]),
        ("online <> gender", &[2]),
        ("1 = 1", &[0, 1, 2, 4, 5]),
        ("'a' = 'b'", &[]),
        ("nickname = 'bob'", &[1]),
        ("nickname = 'Bob'", &[]),
        ("nickname = ''", &[4]),
        ("nickname = 'O''Neil_%'", &[5]),
        // Bytes: capitals come before small letters.
        ("nickname < 'a'", &[0, 2, 4, 5]),
        ("nickname >= city", &[1, 4]),
        ("(age) = ((20))", &[0, 4]),
    ] {
        assert_eq!(users.find_where(condition), found, "{condition}");
    }
}

#[test]
fn every_column_is_reached_under_its_name() {
    let profile = Profile {
        nickname: b"n",
        portrait: 300,
        gender: 1,
        age: 2,
        country: 3,
        province: 4,
        city: b"c",
        education: 5,
        school: b"s",
        occupation: 6,
        hobbies: b"h",
        description: b"d",
        ..Profile::default()
    };
    let condition = "number = 10001 AND nickname = 'n' AND portrait = 300 AND gender = 1 AND age = 2 \
        AND country = 3 AND province = 4 AND city = 'c' AND education = 5 AND school = 's' \
        AND occupation = 6 AND hobbies = 'h' AND description = 'd' AND online = 0";
    assert_eq!(given([profile]).find_where(condition), [0]);
}

#[test]
fn conditions_combine_with_their_precedence() {
    let users = given_five();
    for (condition, found) in [
        ("age = 30 OR age = 20 AND city = 'Oslo'", &[0, 1][..]),
        ("(age = 30 OR age = 20) AND city = 'Oslo'", &[0]),
        ("age = 20 AND city = 'Oslo' OR age = 30", &[0, 1]),
        ("NOT age = 20 AND city = 'bob'", &[5]),
        ("NOT (age = 20 AND city = 'Oslo')", &[1, 2, 4, 5]),
        ("NOT NOT age = 20", &[0, 4]),
        ("NOT age BETWEEN 20 AND 30 OR age = 20 AND online = 0", &[0, 2, 4]),
        ("NOT nickname LIKE '%n%' AND age > 1", &[1, 4]),
    ] {
        assert_eq!(users.find_where(condition), found, "{condition}");
    }
}

#[test]
fn in_between_and_their_negations() {
    let users = given_five();
    for (condition, found) in [
        ("age IN (20, 30)", &[0, 1, 4][..]),
        ("age NOT IN (20, 30)", &[2, 5]),
        ("NOT age IN (20)", &[1, 2, 5]),
        ("city IN ('Oslo', nickname)", &[0, 4]),
        ("age IN (-1, online, 20)", &[0, 4]),
        ("25 IN (age)", &[5]),
        ("age BETWEEN 20 AND 25", &[0, 4, 5]),
        ("age BETWEEN 25 AND 20", &[]),
        ("age NOT BETWEEN 20 AND 25", &[1, 2]),
        ("nickname BETWEEN 'A' AND 'K'", &[0, 2]),
        ("age BETWEEN 20 AND 25 AND city = 'bob'", &[5]),
        ("22 BETWEEN age AND 24", &[0, 4]),
    ] {
        assert_eq!(users.find_where(condition), found, "{condition}");
    }
}

#[test]
fn like_fits_patterns_in_any_ascii_case() {
    for (text, pattern, fits) in [
        ("", "", true),
        ("", "%", true),
        ("", "%%", true),
        ("", "_", false),
        ("a", "", false),
        ("a", "_", true),
        ("ab", "_", false),
        ("ab", "a", false),
        ("ab", "a%", true),
        ("ab", "%a", false),
        ("ab", "%b%", true),
        ("ab", "ab%_", false),
        ("ab", "%_b", true),
        ("ab", "__%", true),
        ("ab", "a%b%c", false),
        ("aba", "a%a", true),
        ("a", "a%a", false),
        ("aab", "%ab", true),
        ("abcabd", "%ab_", true),
        ("abab", "%ab%ab%", true),
        ("aba", "%ab%ba", false),
        ("mississippi", "m%iss%ip%i", true),
        ("mississippi", "m%issip%issip%", false),
        ("HeLLo", "hEll_", true),
        ("é", "É", false),
        ("\u{1F600}你", "__", true),
        ("\u{1F600}你", "___", false),
        ("x\\%", "x\\%", true),
        ("x%", "x_", true),
        ("0123456789abcdef0123456789ABCDEF!", "%f0123456789abcdef_", true),
        ("0123456789abcdef0123456789ABCDEF!", "0_23456789abcdef0123456789abcdeX!", false),
    ] {
        for charset in Charset::ALL {
            let nickname = self::text(text, charset);
            let mut users = given([Profile { nickname, ..Profile::default() }]);
            users.charset = charset;
            let statement = format!("SELECT * FROM users WHERE nickname LIKE '{pattern}'");
            let found = users.find(charset.encode(&statement));
            assert_eq!(!found.is_empty(), fits, "{text} {pattern} {charset}");
            let negated = format!("SELECT * FROM users WHERE nickname NOT LIKE '{pattern}'");
            assert_eq!(users.find(charset.encode(&negated)).is_empty(), fits, "{text} {pattern}");
        }
    }
}

#[test]
fn like_takes_patterns_from_columns() {
    let users = given([user("b_b", 1, "BOB"), user("%", 1, "x"), user("y", 1, "x")]);
    assert_eq!(users.find_where("city LIKE nickname"), [0, 1]);
    assert_eq!(users.find_where("city LIKE nickname AND city LIKE nickname"), [0, 1]);
    assert_eq!(users.find_where("'bib' LIKE nickname"), [0, 1]);
    assert_eq!(users.find_where("'bib' LIKE '_I%'"), [0, 1, 2]);
}

#[test]
fn later_bytes_of_gb18030_are_no_letters() {
    // 0x8141 and 0x8161 are two characters whose second bytes are an "A" and an "a".
    let mut users = given([Profile { nickname: b"\x81\x41", ..Profile::default() }]);
    users.charset = Charset::Gb18030;
    assert_eq!(Charset::Gb18030.decode(b"\xA3\xA0"), Charset::Gb18030.decode(b"\xA1\xA1"));
    let find = |pattern: &[u8]| {
        let statement = [b"SELECT * FROM users WHERE nickname LIKE '", pattern, b"'"].concat();
        !users.find(statement).is_empty()
    };
    assert!(find(b"\x81\x41"));
    assert!(find(b"_"));
    assert!(!find(b"\x81\x61"));
    assert!(!find(b"%A"));
    assert!(!find(b"%a%"));
    assert!(!find(b"__"));
    // 0x815F ends in what is a "_" alone.
    assert!(!find(b"\x81\x5F"));
}

#[test]
fn strings_are_compared_as_they_were_sent() {
    // In GB18030 0xA3A0 and 0xA1A1 are both the wide space in Unicode.
    let nickname = |nickname| Profile { nickname, ..Profile::default() };
    let mut users = given([nickname(b"\xA3\xA0"), nickname(b"\xA1\xA1"), nickname(b"\x81\x5C")]);
    users.charset = Charset::Gb18030;
    assert_eq!(users.find(b"SELECT * FROM users WHERE nickname = '\xA3\xA0'"), [0]);
    assert_eq!(users.find(b"SELECT * FROM users WHERE nickname = '\xA1\xA1'"), [1]);
    assert_eq!(users.find(b"SELECT * FROM users WHERE nickname = '\x81\x5C'"), [2]);
}

#[test]
fn results_come_in_the_asked_order_and_then_by_number() {
    let users = given_five();
    for (statement, found) in [
        ("select * from users", &[0, 1, 2, 4, 5][..]),
        ("SELECT number FROM Users ORDER BY age", &[0, 4, 5, 1, 2]),
        ("SELECT Nickname, AGE FROM users ORDER BY age DESC;", &[2, 1, 5, 0, 4]),
        ("SELECT * FROM users ORDER BY age ASC, nickname", &[4, 0, 5, 1, 2]),
        ("SELECT * FROM users ORDER BY age, nickname DESC", &[0, 4, 5, 1, 2]),
        ("SELECT * FROM users ORDER BY nickname", &[4, 0, 2, 5, 1]),
        ("SELECT * FROM users ORDER BY online DESC", &[2, 0, 1, 4, 5]),
        ("SELECT * FROM users ORDER BY number DESC", &[5, 4, 2, 1, 0]),
        ("SELECT * FROM users ORDER BY age, number DESC, age DESC", &[4, 0, 5, 1, 2]),
        ("SELECT * FROM users ORDER BY age, age DESC, number", &[0, 4, 5, 1, 2]),
        ("SELECT * FROM users ORDER BY age DESC LIMIT 2", &[2, 1]),
        ("SELECT * FROM users ORDER BY age LIMIT 1", &[0]),
        ("SELECT * FROM users LIMIT 3", &[0, 1, 2]),
        ("SELECT * FROM users LIMIT 0", &[]),
        ("SELECT * FROM users ORDER BY age LIMIT 0", &[]),
        ("  SELECT  * FROM users ; ", &[0, 1, 2, 4, 5]),
    ] {
        assert_eq!(users.find(statement), found, "{statement}");
    }
}

#[test]
fn no_more_than_fifty_are_kept() {
    let users = given((0..200).map(|age| user("n", age, "c")));
    let last: Vec<u32> = (150..200).rev().collect();
    let first: Vec<u32> = (0..50).collect();
    for statement in ["SELECT * FROM users", "SELECT * FROM users LIMIT 9223372036854775807"] {
        assert_eq!(users.find(statement), first);
    }
    assert_eq!(users.find("SELECT * FROM users ORDER BY age DESC LIMIT 51"), last);
    assert_eq!(users.find("SELECT * FROM users ORDER BY age"), first);
    assert_eq!(SEARCH_RESULTS, 50);
}

#[test]
fn a_full_list_without_an_order_ends_the_search() {
    let query = Query::parse(b"SELECT * FROM users LIMIT 2", Charset::Utf8).unwrap();
    let mut search = Search::new(query);
    let looked = std::cell::Cell::new(0);
    let profile = |_| {
        looked.set(looked.get() + 1);
        Some(Profile::default())
    };
    assert!(search.advance(ServiceNumber(u32::MAX), profile, |_| panic!("not asked"), u64::MAX));
    assert_eq!(looked.get(), 2);
}

#[test]
fn nobody_on_record_and_the_highest_number_end_the_search() {
    let query = || Query::parse(b"SELECT * FROM users ORDER BY age", Charset::Utf8).unwrap();
    let mut search = Search::new(query());
    assert!(search.advance(ServiceNumber(FIRST - 1), |_| panic!("nobody"), |_| false, 0));
    search.next = Some(ServiceNumber(u32::MAX));
    assert!(search.advance(ServiceNumber(u32::MAX), |_| Some(Profile::default()), |_| false, 9999));
    assert_eq!(search.results().count(), 1);
}

#[test]
fn slices_find_what_one_go_finds() {
    let names = ["ann", "bob", "Joanna", "", "zoe"];
    let users =
        given((0..200).map(|n: u8| user(names[usize::from(n) % 5], n.wrapping_mul(37) % 90, "c")));
    for statement in [
        "SELECT * FROM users",
        "SELECT * FROM users WHERE nickname LIKE '%ann%' ORDER BY age DESC, nickname",
        "SELECT * FROM users WHERE age > 20 ORDER BY nickname DESC LIMIT 7",
    ] {
        let at_once = users.find(statement);
        for steps in [0, 1, 100, 1_000] {
            let mut search =
                Search::new(Query::parse(statement.as_bytes(), users.charset).unwrap());
            let mut slices = 1;
            while !users.advance(&mut search, steps) {
                slices += 1;
            }
            assert!(slices > 1 && slices <= 200, "{slices}");
            let found: Vec<u32> = search.results().map(|number| number.0 - FIRST).collect();
            assert_eq!(found, at_once, "{statement} in slices of {steps}");
        }
    }
}

#[test]
fn what_the_protocol_does_not_name_is_refused() {
    for statement in [
        "",
        ";",
        "SELECT",
        "SELECT *",
        "SELECT FROM users",
        "FROM users SELECT *",
        "FROM users",
        "SELECT * FROM",
        "SELECT * FROM people",
        "SELECT * FROM number",
        "SELECT * FROM users, users",
        "SELECT * FROM users JOIN users",
        "SELECT * FROM users;;",
        "SELECT * FROM users; SELECT * FROM users",
        "SELECT * FROM users users",
        "SELECT * FROM users number",
        "SELECT * FROM users AS u",
        "SELECT * FROM (users)",
        "SELECT * FROM (SELECT * FROM users)",
        "(SELECT * FROM users)",
        "SELECT * FROM users()",
        "SELECT * FROM public.users",
        "SELECT * FROM \"users\"",
        "SELECT *, number FROM users",
        "SELECT number, * FROM users",
        "SELECT *, * FROM users",
        "SELECT number, FROM users",
        "SELECT number age FROM users",
        "SELECT number AS n FROM users",
        "SELECT (number) FROM users",
        "SELECT 1 FROM users",
        "SELECT users FROM users",
        "SELECT users.* FROM users",
        "SELECT password FROM users",
        "SELECT email FROM users",
        "SELECT \"age\" FROM users",
        "SELECT `age` FROM users",
        "SELECT [age] FROM users",
        "SELECT COUNT(*) FROM users",
        "SELECT DISTINCT age FROM users",
        "SELECT ALL age FROM users",
        "SELECT * FROM users UNION SELECT * FROM users",
        "SELECT * FROM users GROUP BY age",
        "SELECT * FROM users HAVING age = 1",
        "SELECT * FROM users ORDER BY",
        "SELECT * FROM users ORDER BY 1",
        "SELECT * FROM users ORDER BY -age",
        "SELECT * FROM users ORDER BY (age)",
        "SELECT * FROM users ORDER BY age,",
        "SELECT * FROM users ORDER BY address",
        "SELECT * FROM users ORDER BY age NULLS FIRST",
        "SELECT * FROM users ORDER BY age ASC DESC",
        "SELECT * FROM users LIMIT",
        "SELECT * FROM users LIMIT ALL",
        "SELECT * FROM users LIMIT -1",
        "SELECT * FROM users LIMIT '1'",
        "SELECT * FROM users LIMIT age",
        "SELECT * FROM users LIMIT (1)",
        "SELECT * FROM users LIMIT 1, 2",
        "SELECT * FROM users LIMIT 1 OFFSET 1",
        "SELECT * FROM users LIMIT 1 LIMIT 1",
        "SELECT * FROM users LIMIT 1 ORDER BY age",
        "SELECT * FROM users LIMIT 9223372036854775808",
        "SELECT * FROM users FETCH FIRST 1 ROWS ONLY",
        "SELECT * FROM users FOR UPDATE",
        "SELECT * FROM users -- all",
        "SELECT * /* all */ FROM users",
        "SELECT * FROM users WHERE",
        "SELECT * FROM users WHERE ORDER BY age",
        "INSERT INTO users VALUES (1)",
        "DELETE FROM users",
        "SELECT * INTO t FROM users",
        "SELECT * FROM users WHERE age = 1 extra",
        "SELECT * FROM\u{3000}users",
        "SELECT * FROM users\0",
        "WITH users AS (SELECT 1) SELECT * FROM users",
    ] {
        refusal(statement);
    }
}

#[test]
fn conditions_beyond_the_protocol_are_refused() {
    for condition in [
        "1",
        "age",
        "'a'",
        "NOT age",
        "age AND age = 1",
        "TRUE",
        "age = TRUE",
        "age = NULL",
        "age IS NULL",
        "age = 1.5",
        "age = 1e3",
        "age = .5",
        "age = 9223372036854775808",
        "age = -9223372036854775809",
        "age = 0x10",
        "age = +1",
        "age = - - 1",
        "age = -age",
        "age = -(1)",
        "age = -'1'",
        "age + 1 = 2",
        "age = 2 - 1",
        "age * 2 = 2",
        "age = 'x'",
        "'1' < age",
        "age = nickname",
        "1 = 'a'",
        "age IN (1, 'a')",
        "nickname IN (1)",
        "age IN ()",
        "age IN (1,)",
        "age IN 1",
        "age IN (SELECT age FROM users)",
        "(age, gender) IN ((1, 1))",
        "age BETWEEN 1 AND 'x'",
        "age BETWEEN 'a' AND 'x'",
        "age BETWEEN 1",
        "nickname = 'a' 'b'",
        "nickname = \"a\"",
        "nickname = X'61'",
        "nickname = N'a'",
        "nickname = E'a'",
        "nickname = U&'a'",
        "nickname = $$a$$",
        "nickname = 'a",
        "nickname || 'a' = 'a'",
        "nickname LIKE 1",
        "nickname LIKE age",
        "age LIKE '1'",
        "nickname LIKE 'a' ESCAPE '!'",
        "nickname ILIKE 'a'",
        "nickname SIMILAR TO 'a'",
        "nickname ~ 'a'",
        "nickname REGEXP 'a'",
        "nickname COLLATE x = 'a'",
        "nickname LIKE ANY ('a')",
        "number(1) = 1",
        "lower(nickname) = 'a'",
        "CASE WHEN age = 1 THEN 1 END = 1",
        "EXISTS (SELECT * FROM users)",
        "CAST(age AS INT) = 1",
        "age::int = 1",
        "age = ?",
        "age = :age",
        "users.age = 1",
        "\"age\" = 1",
        "users = 1",
        "real_name = 'a'",
        "password = 'a'",
        "phone LIKE '%'",
        "age == 1",
        "age <=> 1",
        "age = 1 = 1",
        "age < 2 < 3",
        "(age = 1) = (age = 1)",
        "age = NOT 1",
        "age = 1 XOR age = 2",
        "age NOT = 1",
        "age = 1 --",
        "(age = 1",
        "age = 1)",
        "()",
        "AND",
        "age =",
        "age = 1 AND",
        "café = 1",
        "age = @x",
        "age = 1_000",
    ] {
        refusal(&format!("SELECT * FROM users WHERE {condition}"));
    }
}

#[test]
fn a_refusal_says_where() {
    for (statement, shown) in [
        (
            "SELECT * FROM users WHERE nickname = '你好' AND phone = '1'",
            "at character 47: expected a column, an integer or a string, found phone",
        ),
        ("SELECT * FROM users WHERE age = 'x'", "at character 33: text and numbers do not compare"),
        ("SELECT * FROM 你", "at character 15: only strings may hold characters beyond ASCII"),
        (
            "SELECT * FROM users WHERE age =",
            "expected a column, an integer or a string, found the end",
        ),
        ("SELECT * users", "at character 10: expected FROM, found users"),
        ("SELECT * FROM users WHERE 'é' ;", "at character 31: expected a comparison, found ;"),
    ] {
        assert_eq!(refusal(statement), shown);
    }
    assert!(Query::parse(b"SELECT * FROM users WHERE city = '\xFF'", Charset::Utf8).is_err());
}

#[test]
fn statements_end_at_their_limits() {
    let of_bytes = |bytes: usize| format!("{:<bytes$}", "SELECT * FROM users");
    assert!(Query::parse(of_bytes(STATEMENT_BYTES).as_bytes(), Charset::Utf8).is_ok());
    let long = "at character 1025: a statement has at most 1024 bytes, this one has 1025";
    assert_eq!(refusal(&of_bytes(STATEMENT_BYTES + 1)), long);

    let users = given_five();
    let parentheses = |n| format!("{}age = 20{}", "(".repeat(n), ")".repeat(n));
    let operand = |n| format!("{}age{} = 20", "(".repeat(n), ")".repeat(n));
    let nots = |n| format!("{}age = 20", "NOT ".repeat(n));
    // Where the level too many begins: behind the word or the parenthesis that makes it.
    let ways: [fn(usize) -> String; 3] = [parentheses, operand, nots];
    for (deep, at) in ways.into_iter().zip([33, 33, 4 * 33]) {
        assert_eq!(users.find_where(&deep(STATEMENT_LEVELS)), [0, 4]);
        let refused = format!("SELECT * FROM users WHERE {}", deep(STATEMENT_LEVELS + 1));
        let at = "SELECT * FROM users WHERE ".len() + at + 1;
        let expected = format!("at character {at}: the condition is more than 32 levels deep");
        assert_eq!(refusal(&refused), expected);
    }
    // An OR of ANDs in parentheses: three levels a round.
    let mixed = |n| format!("{}1=1{}", "1=2 OR 1=1 AND (".repeat(n), ")".repeat(n));
    assert_eq!(users.find_where(&mixed(10)).len(), 5);
    let refused = refusal(&format!("SELECT * FROM users WHERE {}", mixed(11)));
    assert!(refused.starts_with("at character "), "{refused}");
    // One chain is one level, however long.
    let chain = |link| format!("age = 20{}", [link; 110].concat());
    assert_eq!(users.find_where(&chain(" AND 1=1")), [0, 4]);
    assert_eq!(users.find_where(&chain(" OR 1=2")), [0, 4]);
}

#[test]
fn hostile_statements_are_refused_within_a_small_stack() {
    let hostile = || {
        for piece in [
            "(",
            "NOT ",
            "NOT(",
            "- ",
            "-",
            "1=",
            "1=(",
            "1=1 AND ",
            "1=1 OR (",
            "age IN (",
            "((1),",
            "'a' LIKE ",
            "1 BETWEEN ",
            "1 BETWEEN 1 AND ",
            "number(",
            "online ",
            "'",
            "''",
            "1<",
            ",",
            "SELECT ",
            "(SELECT * FROM users WHERE ",
            "age,",
            "city '",
            "*",
            "1-",
            "age*",
            "users ",
            "1 IN (1) ",
            "1 NOT IN (",
            ";",
            "number 'a' ",
            "NOT NOT(NOT ",
            "age(age ",
            "AND OR ",
        ] {
            for start in [
                "",
                "SELECT ",
                "SELECT * FROM ",
                "SELECT * FROM users WHERE ",
                "SELECT * FROM users ORDER BY ",
                "SELECT * FROM users LIMIT ",
            ] {
                let mut statement = start.to_owned();
                while statement.len() + piece.len() <= STATEMENT_BYTES {
                    statement.push_str(piece);
                }
                refusal(&statement);
            }
        }
    };
    std::thread::Builder::new()
        .stack_size(SMALL_STACK_BYTES)
        .spawn(hostile)
        .unwrap()
        .join()
        .unwrap();
}

/// A quarter of what a thread gets by itself, also without optimisation.
const SMALL_STACK_BYTES: usize = 512 * 1_024;

#[test]
fn the_dearest_conditions_stay_near_their_slice() {
    // Nothing but counted: one user may take a slice beyond its end, but not far.
    let long = "a".repeat(1_024).leak().as_bytes();
    let pattern = format!("%{}b%", "a".repeat(510)).leak().as_bytes();
    let users = given([Profile { description: long, hobbies: pattern, ..Profile::default() }]);
    let likes = vec!["description LIKE hobbies"; 35].join(" OR ");
    let query = format!("SELECT * FROM users WHERE {likes}");
    let mut search = Search::new(Query::parse(query.as_bytes(), Charset::Utf8).unwrap());
    assert!(users.advance(&mut search, SEARCH_SLICE_STEPS));
    let steps = search.scratch.steps();
    assert!((10_000..SEARCH_SLICE_STEPS).contains(&steps), "{steps}");
}
