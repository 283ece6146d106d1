//! The table of what a server reaches: one load after the other, each with a server of its own and with the relays
//! that promise as much.
//!
//! Owns which loads these are, and the words and fields of their rows. How a load is measured it never knows.

use indicatif::HumanCount;
use oicq::wire::server::Extensions;
use serde_json::{Value, json};

use super::load::Shape;
use super::options::{Load, Options, Server, UNDER_WAY_STEADY, extended};
use super::relay::Sort;
use super::report::{Measured, Took, length, many, unit};
use super::round::Spread;
use super::run::Run;
use super::users::sessions_possible;
use super::{Outcome, outcome};
use crate::failure::{Failure, tell};
use crate::options::Format;

const PAIRS: Load = Load::Pairs(50);
const BROADCAST: Load = Load::Broadcast(1, 100);
const LOGIN: Load = Load::Login(16);
const RATE: u64 = 10_000;

/// Titles of the columns, and how wide each is at least. The first is as wide as the longest load.
const COLUMNS: [(&str, usize); 7] = [
    ("load", 0),
    ("result", 11),
    ("of bare", 7),
    ("of durable", 10),
    ("p50", 7),
    ("p99", 7),
    ("relay p99", 9),
];
/// In place of what a load does not have.
const NONE: &str = "–";

/// Measures all loads, with so many idle sessions at most, and prints each row when it is there. In everything that the
/// table does not settle they are as `common` says.
pub(crate) fn measure(common: &Options, sessions: usize) -> Result<(), Failure> {
    let possible = sessions_possible().min(sessions);
    if possible < sessions {
        let [possible, sessions] = [possible, sessions].map(|count| HumanCount(count as u64));
        tell(format_args!(
            "{possible} idle sessions instead of {sessions}: the system does not allow more open files (ulimit -Hn) \
             or ports (net.ipv4.ip_local_port_range)"
        ));
    }
    let rows = rows(common, possible);
    let width = rows.iter().map(|row| row.title.chars().count()).max().unwrap_or(0);
    Run::over(common.patience_ns, |run| {
        if common.format == Format::Text {
            run.print(&head(common, width))?;
        }
        for (index, row) in rows.iter().enumerate() {
            run.part(index + 1, rows.len());
            let (_, outcome) = outcome(run, &row.options).map_err(|failure| match failure {
                Failure::Failed(words) => Failure::Failed(format!("{}: {words}", row.title)),
                other => other,
            })?;
            let figures = Figures::of(&row.options, &outcome);
            run.print(&match common.format {
                Format::Text => line(width, &row.cells(&figures)),
                Format::Json => format!("{}\n", row.object(&figures)),
            })?;
        }
        match common.format {
            Format::Text => run.print(&format!("\n{LEGEND}")),
            Format::Json => Ok(()),
        }
    })
}

/// A load and what is promised.
struct Row {
    title: String,
    promise: Promise,
    options: Options,
}

/// What clients ask for, and when the server answers them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Promise {
    /// Results and message ids, and all of it is on disk before.
    All,
    /// The protocol of 2002 alone, and it is on disk when the system likes.
    Least,
}

impl Promise {
    const fn clients(self) -> (&'static str, Extensions) {
        match self {
            Self::All => ("extended", extended()),
            Self::Least => ("base", Extensions::grant(0)),
        }
    }

    const fn durability(self) -> &'static str {
        match self {
            Self::All => "always",
            Self::Least => "never",
        }
    }

    /// Relays that promise no more.
    const fn relays(self) -> &'static [Sort] {
        match self {
            Self::All => &Sort::ALL,
            Self::Least => &[Sort::Bare],
        }
    }
}

/// All rows of the table.
fn rows(common: &Options, sessions: usize) -> Vec<Row> {
    let row = |load, under_way, promise| Row::new(common, load, under_way, None, promise);
    vec![
        row(PAIRS, 16, Promise::All),
        row(PAIRS, 1, Promise::All),
        row(PAIRS, 16, Promise::Least),
        row(PAIRS, 1, Promise::Least),
        Row::new(common, PAIRS, UNDER_WAY_STEADY, Some(RATE), Promise::All),
        row(BROADCAST, 16, Promise::All),
        row(BROADCAST, 1, Promise::All),
        row(Load::Idle(sessions), 1, Promise::All),
        row(LOGIN, 1, Promise::All),
    ]
}

impl Row {
    fn new(
        common: &Options,
        load: Load,
        under_way: usize,
        rate: Option<u64>,
        promise: Promise,
    ) -> Self {
        let mut options = common.clone();
        let (_, extensions) = promise.clients();
        options.load = load;
        options.shape = Shape { under_way, rate, extensions, ..common.shape };
        options.relays = match load {
            Load::Pairs(_) | Load::Broadcast(..) => promise.relays(),
            Load::Idle(_) | Load::Login(_) => &[],
        };
        if let Server::Start { options, .. } = &mut options.server {
            // The last one counts.
            options.extend(["--durability", promise.durability()].map(Into::into));
        }
        Self { title: title(load, under_way, rate, promise), promise, options }
    }

    /// The row for people.
    fn cells(&self, figures: &Figures) -> [String; COLUMNS.len()] {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
        let share = |share: Option<f64>| or_none(share.map(|share| format!("{share:.3}")));
        let took = |ns: Option<u64>| or_none(ns.map(|ns| Took(ns).to_string()));
        let result = match (&figures.rate, figures.memory) {
            (Some(rate), _) => format!("{}/s", HumanCount(rate.median)),
            (None, Some((_, bytes))) => format!("{} B each", HumanCount(bytes)),
            (None, None) => NONE.to_owned(),
        };
        let [of_bare, of_durable] = figures.shares.map(share);
        let [p50, p99, relay_p99] =
            [figures.p50_ns, figures.p99_ns, figures.relay_p99_ns].map(took);
        [self.title.clone(), result, of_bare, of_durable, p50, p99, relay_p99]
    }

    /// The row for programs.
    fn object(&self, figures: &Figures) -> Value {
        let rate = figures.rate;
        let [of_bare, of_durable] = figures.shares;
        json!({
            "what": "row",
            "load": self.title,
            "clients": self.promise.clients().0,
            "durability": self.promise.durability(),
            "unit": rate.map(|_| unit(self.options.load)),
            "rate_median": rate.map(|rate| rate.median),
            "rate_min": rate.map(|rate| rate.min),
            "rate_max": rate.map(|rate| rate.max),
            "of_bare": of_bare,
            "of_durable": of_durable,
            "p50_ns": figures.p50_ns,
            "p99_ns": figures.p99_ns,
            "relay_p99_ns": figures.relay_p99_ns,
            "sessions": figures.memory.map(|(sessions, _)| sessions),
            "bytes_a_session": figures.memory.map(|(_, bytes)| bytes),
        })
    }
}

/// A load in a few words.
fn title(load: Load, under_way: usize, rate: Option<u64>, promise: Promise) -> String {
    let what = match load {
        Load::Pairs(pairs) => many(pairs, "pair"),
        Load::Broadcast(_, receivers) => format!("broadcast to {}", many(receivers, "friend")),
        Load::Idle(sessions) => return many(sessions, "idle session"),
        Load::Login(connections) => {
            return format!("logins on {}", many(connections, "connection"));
        }
    };
    let how = match rate {
        Some(rate) => format!("{} a second", HumanCount(rate)),
        None => format!("{under_way} under way"),
    };
    match promise {
        Promise::All => format!("{what}, {how}"),
        Promise::Least => format!("{what}, {how}; base, never"),
    }
}

/// What a row says.
#[derive(Clone, Copy, Default)]
struct Figures {
    rate: Option<Spread<u64>>,
    /// Of the rates of the bare and of the durable relay.
    shares: [Option<f64>; 2],
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
    relay_p99_ns: Option<u64>,
    /// Idle sessions, and the bytes of each.
    memory: Option<(u64, u64)>,
}

impl Figures {
    fn of(options: &Options, outcome: &Outcome) -> Self {
        let measured = match outcome {
            Outcome::Rounds(measured) => measured,
            Outcome::Idle(idle) => {
                let memory = Some((idle.sessions, idle.bytes_a_session()));
                return Self { memory, ..Self::default() };
            }
        };
        let Some((server, relays)) = measured.split_first() else { return Self::default() };
        let share = |sort: Sort| {
            let relay = relays.iter().find(|relay| relay.name == sort.title())?;
            Some(server.ratios(relay)?.median)
        };
        let within = |one: &Measured, share| {
            let latency = one.latency();
            (latency.count() > 0).then(|| latency.quantile(share))
        };
        Self {
            rate: server.rates(),
            // A rate that was chosen is the same for all of them.
            shares: if options.shape.rate.is_none() { Sort::ALL.map(share) } else { [None; 2] },
            p50_ns: within(server, 0.5),
            p99_ns: within(server, 0.99),
            // The last one promises as much as the server.
            relay_p99_ns: relays.last().and_then(|relay| within(relay, 0.99)),
            memory: None,
        }
    }
}

/// What stands above the rows: what they have in common, and the titles of their columns.
fn head(common: &Options, width: usize) -> String {
    let bytes = HumanCount(common.shape.bytes as u64);
    let length = length(common);
    let titles = COLUMNS.map(|(title, _)| title.to_owned());
    let rule = |column: usize| match column {
        0 => "-".repeat(width),
        _ => format!("{}:", "-".repeat(COLUMNS[column].1 - 1)),
    };
    format!(
        "Messages of {bytes} bytes; extended clients and `--durability always`, unless a row says base and never; \
         {length}.\n\n{}{}",
        line(width, &titles),
        line(width, &std::array::from_fn(rule))
    )
}

/// What stands below the rows.
const LEGEND: &str = "\
result: messages or logins a second, of a broadcast what its receivers get; memory of an idle session. of bare, of
durable: how much of the relay's rate that is. p50, p99: half of all messages took no longer, 99 % took no longer.
relay p99: the same of the durable relay, of the bare one where the server does not sync. Medians of the rounds; shares
are of neighbouring rounds. Passwords are the cheapest that there are (`--password-cost 8,1`).
";

/// A row of the table, in Markdown that can be read as it is.
fn line(width: usize, cells: &[String; COLUMNS.len()]) -> String {
    let mut line = String::new();
    for (column, (cell, (_, least))) in cells.iter().zip(COLUMNS).enumerate() {
        line += &match column {
            0 => format!("| {cell:<width$} |"),
            _ => format!(" {cell:>least$} |"),
        };
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::idle::Idle;
    use crate::bench::options::{Call, parse};
    use crate::bench::round::{Latency, Round};
    use crate::bench::watch::{Memory, Work};
    use crate::documented::check;

    fn common(arguments: &str) -> Options {
        let all = format!("--serve oicqd --table {arguments}");
        let mut parser = lexopt::Parser::from_args(all.split_whitespace());
        match parse(&mut parser) {
            Ok(Some(Call::Table { common, .. })) => *common,
            _ => panic!("no table"),
        }
    }

    /// Rounds with one message a microsecond, each of which took so long.
    fn measured(name: &'static str, rates: &[u64], us: u64) -> Measured {
        let round = |&arrivals| {
            let mut latency = Latency::new();
            latency.record(us * 1_000, arrivals);
            let elapsed_ns = 1_000_000_000;
            Round { arrivals, elapsed_ns, latency, steps: vec![arrivals], work: Work::default() }
        };
        Measured { name, rounds: rates.iter().map(round).collect() }
    }

    fn outcome() -> Outcome {
        Outcome::Rounds(vec![
            measured("server", &[1_000, 3_000, 2_000], 1_500),
            measured("bare relay", &[4_000, 5_000, 10_000], 100),
            measured("durable relay", &[2_000, 4_000, 4_000], 700),
        ])
    }

    #[test]
    fn each_row_has_a_server_that_promises_what_it_says_and_relays_that_promise_no_more() {
        let rows = rows(&common("-- --durability interval=5s"), 18_000);
        let titles: Vec<_> = rows.iter().map(|row| &*row.title).collect();
        let expected = [
            "50 pairs, 16 under way",
            "50 pairs, 1 under way",
            "50 pairs, 16 under way; base, never",
            "50 pairs, 1 under way; base, never",
            "50 pairs, 10,000 a second",
            "broadcast to 100 friends, 16 under way",
            "broadcast to 100 friends, 1 under way",
            "18,000 idle sessions",
            "logins on 16 connections",
        ];
        assert_eq!(titles, expected);
        for row in &rows {
            let Server::Start { options, .. } = &row.options.server else { panic!() };
            let is_least = row.title.ends_with("never");
            let durability = if is_least { "never" } else { "always" };
            assert_eq!(options[1..], ["interval=5s", "--durability", durability], "{}", row.title);
            let relays = match row.options.load {
                Load::Idle(_) | Load::Login(_) => 0,
                _ if is_least => 1,
                _ => 2,
            };
            assert_eq!(row.options.relays.len(), relays, "{}", row.title);
            assert_eq!(row.options.shape.extensions.sum(), if is_least { 0 } else { 3 });
        }
        assert_eq!(rows[4].options.shape.rate, Some(10_000));
    }

    #[test]
    fn people_get_a_table_in_markdown() {
        let common = common("--rounds 3");
        let rows = rows(&common, 1_024);
        let memory = |kib: u64| Memory { resident: 0, proportional: 1_024 * kib };
        let idle = Outcome::Idle(Idle { sessions: 1_024, before: memory(0), after: memory(467) });
        let mut text = head(&common, 38);
        for (row, outcome) in [(0, &outcome()), (4, &outcome()), (7, &idle)] {
            let figures = Figures::of(&rows[row].options, outcome);
            text += &line(38, &rows[row].cells(&figures));
        }
        let expected = "\
Messages of 100 bytes; extended clients and `--durability always`, unless a row says base and never; \
3 rounds of 3s after 500ms.

| load                                   |      result | of bare | of durable |     p50 |     p99 | relay p99 |
| -------------------------------------- | ----------: | ------: | ---------: | ------: | ------: | --------: |
| 50 pairs, 16 under way                 |     2,000/s |   0.250 |      0.500 | 1.50 ms | 1.50 ms |    700 µs |
| 50 pairs, 10,000 a second              |     2,000/s |       – |          – | 1.50 ms | 1.50 ms |    700 µs |
| 1,024 idle sessions                    |  467 B each |       – |          – |       – |       – |         – |
";
        assert_eq!(text, expected);
    }

    #[test]
    fn programs_get_an_object_for_each_row_as_it_is_documented() {
        let rows = rows(&common(""), 7);
        let memory = Memory { resident: 0, proportional: 0 };
        let idle = Outcome::Idle(Idle { sessions: 7, before: memory, after: memory });
        let object = |row: usize, outcome: &Outcome| {
            let object = rows[row].object(&Figures::of(&rows[row].options, outcome));
            check(&object, &["measurement", "row"]);
            object
        };
        let pairs = object(0, &outcome());
        assert_eq!(
            (&pairs["clients"], &pairs["durability"]),
            (&json!("extended"), &json!("always"))
        );
        assert_eq!((&pairs["rate_min"], &pairs["rate_max"]), (&json!(1_000), &json!(3_000)));
        assert_eq!((&pairs["of_bare"], &pairs["of_durable"]), (&json!(0.25), &json!(0.5)));
        let Outcome::Rounds(mut some) = outcome() else { panic!() };
        some.truncate(2);
        let least = object(2, &Outcome::Rounds(some));
        assert_eq!((&least["of_durable"], &least["durability"]), (&Value::Null, &json!("never")));
        assert!(least["relay_p99_ns"].as_u64().unwrap() < 200_000, "that of the bare relay");
        let idle = object(7, &idle);
        assert_eq!((&idle["sessions"], &idle["unit"]), (&json!(7), &Value::Null));
    }
}
