//! Random conditions against an evaluator that knows nothing of the one under test.

use proptest::prelude::*;

use super::*;

/// A condition for the random test, and the evaluator that is as plain as can be.
#[derive(Clone, Debug)]
enum Plain {
    And(Vec<Plain>),
    Or(Vec<Plain>),
    Not(Box<Plain>),
    Compare(&'static str, String, String),
    In(bool, String, Vec<String>),
    Between(bool, String, String, String),
    Like(bool, String, String),
}

const ROW: [(&str, Plainly); 4] = [
    ("age", Plainly::Number(3)),
    ("number", Plainly::Number(10_001)),
    ("nickname", Plainly::Text("aB你")),
    ("city", Plainly::Text("ab")),
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Plainly {
    Number(i64),
    Text(&'static str),
}

impl Plain {
    fn write(&self) -> String {
        let not = |negated: bool| if negated { "NOT " } else { "" };
        let join = |parts: &[Self], word: &str| {
            let parts: Vec<String> =
                parts.iter().map(|part| format!("({})", part.write())).collect();
            parts.join(word)
        };
        match self {
            Self::And(parts) => join(parts, " and "),
            Self::Or(parts) => join(parts, " OR "),
            Self::Not(inner) => format!("NOT ({})", inner.write()),
            Self::Compare(op, a, b) => format!("{a}{op}{b}"),
            Self::In(negated, a, list) => format!("{a} {}IN ({})", not(*negated), list.join(",")),
            Self::Between(negated, a, b, c) => format!("{a} {}BETWEEN {b} AND {c}", not(*negated)),
            Self::Like(negated, a, b) => format!("{a} {}LIKE {b}", not(*negated)),
        }
    }

    fn holds(&self) -> bool {
        match self {
            Self::And(parts) => !parts.iter().any(|part| !part.holds()),
            Self::Or(parts) => parts.iter().filter(|part| part.holds()).count() > 0,
            Self::Not(inner) => !inner.holds(),
            Self::Compare(op, a, b) => {
                let (a, b) = (value(a), value(b));
                match *op {
                    "=" => a == b,
                    "<>" | "!=" => a != b,
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    _ => a >= b,
                }
            }
            Self::In(negated, a, list) => list.iter().any(|b| value(a) == value(b)) != *negated,
            Self::Between(negated, a, b, c) => {
                (value(b)..=value(c)).contains(&value(a)) != *negated
            }
            Self::Like(negated, a, b) => {
                let chars = |text: &str| match value(text) {
                    Plainly::Text(text) => text.to_ascii_lowercase().chars().collect::<Vec<_>>(),
                    Plainly::Number(_) => unreachable!("only text is generated here"),
                };
                naive_like(&chars(a), &chars(b)) != *negated
            }
        }
    }
}

fn value(written: &str) -> Plainly {
    if let Some((_, value)) = ROW.iter().find(|(name, _)| *name == written) {
        return *value;
    }
    match written.strip_prefix('\'') {
        Some(text) => Plainly::Text(text.trim_end_matches('\'').to_owned().leak()),
        None => Plainly::Number(written.parse().unwrap()),
    }
}

fn naive_like(text: &[char], pattern: &[char]) -> bool {
    match (text, pattern) {
        (_, ['%', rest @ ..]) => (0..=text.len()).any(|skip| naive_like(&text[skip..], rest)),
        ([_, text @ ..], ['_', rest @ ..]) => naive_like(text, rest),
        ([a, text @ ..], [b, rest @ ..]) => a == b && naive_like(text, rest),
        ([], []) => true,
        _ => false,
    }
}

fn any_plain() -> impl Strategy<Value = Plain> {
    let number = prop_oneof![
        Just("age".to_owned()),
        Just("number".to_owned()),
        (-5..6_i64).prop_map(|n| n.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
    ];
    let text = prop_oneof![
        Just("nickname".to_owned()),
        Just("city".to_owned()),
        "'[abAB你%_]{0,5}'".prop_map(|text| text),
    ];
    let operator = prop::sample::select(vec!["=", "<>", "!=", "<", "<=", ">", ">="]);
    let of = move |side: BoxedStrategy<String>| {
        let (a, b, c) = (side.clone(), side.clone(), side.clone());
        let list = prop::collection::vec(side, 1..4);
        prop_oneof![
            (operator.clone(), a.clone(), b.clone())
                .prop_map(|(op, a, b)| Plain::Compare(op, a, b)),
            (any::<bool>(), a.clone(), list).prop_map(|(not, a, list)| Plain::In(not, a, list)),
            (any::<bool>(), a, b, c).prop_map(|(not, a, b, c)| Plain::Between(not, a, b, c)),
        ]
    };
    let leaf = prop_oneof![
        of(number.boxed()),
        of(text.clone().boxed()),
        (any::<bool>(), text.clone(), text).prop_map(|(not, a, b)| Plain::Like(not, a, b)),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Plain::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Plain::Or),
            inner.prop_map(|inner| Plain::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn random_conditions_hold_where_a_plain_evaluator_says(plain in any_plain()) {
        let condition = plain.write();
        prop_assume!(condition.len() < STATEMENT_BYTES - 40);
        for charset in Charset::ALL {
            let nickname = text("aB你", charset);
            let mut users = given([Profile { nickname, age: 3, city: b"ab", ..Profile::default() }]);
            users.charset = charset;
            let statement = format!("SELECT * FROM users WHERE {condition}");
            // Characters of GB18030 have another order than those of Unicode, but not against ASCII.
            let found = users.find(charset.encode(&statement));
            prop_assert_eq!(found.len() == 1, plain.holds(), "{}", condition);
        }
    }

    #[test]
    fn patterns_fit_where_a_plain_matcher_says(text in "[abA你]{0,24}", pattern in "[ab%_你]{0,20}") {
        let lower: Vec<char> = text.to_ascii_lowercase().chars().collect();
        let expected = naive_like(&lower, &pattern.chars().collect::<Vec<_>>());
        let users = given([Profile { nickname: text.into_bytes().leak(), ..Profile::default() }]);
        let found = users.find_where(&format!("nickname LIKE '{pattern}'"));
        prop_assert_eq!(found.len() == 1, expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let statement = [b"SELECT * FROM users WHERE ", &bytes[..]].concat();
        for charset in Charset::ALL {
            for statement in [&bytes, &statement] {
                if let Err(bad) = Query::parse(statement, charset) {
                    prop_assert!(bad.to_string().is_ascii());
                }
            }
        }
    }

    #[test]
    fn words_in_any_order_never_panic(words in prop::collection::vec(prop::sample::select(vec![
        "select", "from", "users", "where", "order", "by", "asc", "desc", "limit", "not", "like", "in",
        "between", "and", "or", "age", "city", "1", "'a'", "'%'", "-", "*", "(", ")", ",", ";", "=", "<",
    ]), 0..40), whole in any::<bool>()) {
        let start = if whole { "" } else { "SELECT * FROM users WHERE age = 1 " };
        if let Ok(query) = Query::parse((start.to_owned() + &words.join(" ")).as_bytes(), Charset::Utf8) {
            let mut search = Search::new(query);
            given_five().advance(&mut search, u64::MAX);
        }
    }
}
