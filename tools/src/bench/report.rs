//! What a measurement has come to: a table for people, objects for programs.
//!
//! Owns the words and the fields. What was measured, and how, it is told.

use std::fmt::{self, Display};
use std::io;

use indicatif::{BinaryBytes, HumanCount};
use oicq::cli::values::show_time;
use oicq::id::ServiceNumber;
use oicq::wire::server::Extensions;
use serde_json::{Map, Value, json};

use super::load::Shape;
use super::load::idle::Idle;
use super::options::{Load, Options};
use super::round::{Latency, Length, Round, Spread};
use super::watch::Limit;
use crate::options::Format;
use crate::paint::{Paint, STRONG};

/// Shares of latencies: for the calculation, for people, for programs.
const SHARES: [(f64, &str, &str); 5] = [
    (0.5, "50 %", "p50_ns"),
    (0.9, "90 %", "p90_ns"),
    (0.99, "99 %", "p99_ns"),
    (0.999, "99.9 %", "p999_ns"),
    (1.0, "longest", "max_ns"),
];

/// A server or a relay, and its rounds.
pub(crate) struct Measured {
    /// What it is called.
    pub(crate) name: &'static str,
    pub(crate) rounds: Vec<Round>,
}

impl Measured {
    /// How long things took in all rounds together.
    pub(crate) fn latency(&self) -> Latency {
        let mut all = Latency::new();
        self.rounds.iter().for_each(|round| all.add(&round.latency));
        all
    }

    /// The rates of all rounds.
    pub(crate) fn rates(&self) -> Option<Spread<u64>> {
        Spread::of(self.rounds.iter().map(Round::rate))
    }

    /// Round by round, how much of the other's rate this one's is.
    pub(crate) fn ratios(&self, other: &Self) -> Option<Spread<f64>> {
        let rounds = self.rounds.iter().zip(&other.rounds);
        Spread::of(rounds.map(|(own, other)| own.rate() as f64 / other.rate().max(1) as f64))
    }
}

/// What arrives, in words.
pub(crate) const fn unit(load: Load) -> &'static str {
    match load {
        Load::Pairs(_) | Load::Idle(_) => "messages",
        Load::Broadcast(..) => "deliveries",
        Load::Login(_) => "logins",
    }
}

/// Rounds in the form that was asked for. The first that was measured is the server.
pub(crate) fn rounds(format: Format, head: &str, load: Load, measured: &[Measured]) -> String {
    match format {
        Format::Text => format!("{head}\n{}", tables(load, measured, Paint::on(&io::stdout()))),
        Format::Json => {
            objects(load, measured).iter().map(|object| format!("{object}\n")).collect()
        }
    }
}

/// Idle sessions in the form that was asked for.
pub(crate) fn idle(format: Format, head: &str, idle: &Idle) -> String {
    match format {
        Format::Text => format!("{head}\n{}", idle_table(idle, Paint::on(&io::stdout()))),
        Format::Json => format!("{}\n", idle_object(idle)),
    }
}

/// What was done, in a line, and in another which users did it.
pub(crate) fn head(options: &Options, users: &[ServiceNumber]) -> String {
    let title = title(options);
    match (users.first(), users.last()) {
        (Some(first), Some(last)) if is_a_run(users) => {
            format!("{title}\nusers {first} to {last}; --users {first} takes them again\n")
        }
        _ => format!("{title}\n"),
    }
}

/// What was done, in a line.
pub(crate) fn title(options: &Options) -> String {
    let shape = &options.shape;
    let load = match options.load {
        Load::Pairs(pairs) => format!("{}, {}", many(pairs, "pair"), under_way(shape)),
        Load::Broadcast(writers, receivers) => {
            let writers = many(writers, "user");
            format!("{writers} writing to {} each, {}", many(receivers, "friend"), under_way(shape))
        }
        Load::Idle(sessions) => many(sessions, "idle session"),
        Load::Login(connections) => format!("logins on {}", many(connections, "connection")),
    };
    let clients = if shape.extensions == Extensions::default() { "base" } else { "extended" };
    match options.load {
        Load::Idle(_) => format!("{load}; {clients} clients"),
        _ => format!("{load}; {clients} clients; {}", length(options)),
    }
}

/// How many rounds there are, and how long they are.
pub(crate) fn length(options: &Options) -> String {
    let rounds = many(options.rounds, "round");
    match options.length {
        Length::Messages(count) => format!("{rounds} of {}", HumanCount(count)),
        Length::Time { warm_up_ns, duration_ns } => {
            let [warm_up, duration] = [warm_up_ns, duration_ns].map(|ns| show_time(ns / 1_000_000));
            format!("{rounds} of {duration} after {warm_up}")
        }
    }
}

fn under_way(shape: &Shape) -> String {
    let (bytes, most) = (HumanCount(shape.bytes as u64), HumanCount(shape.under_way as u64));
    match shape.rate {
        None => format!("{most} messages of {bytes} bytes under way from each"),
        Some(rate) => {
            format!(
                "{} of {bytes} bytes a second, up to {most} under way from each",
                HumanCount(rate)
            )
        }
    }
}

/// So many of something, in words.
pub(crate) fn many(count: usize, what: &str) -> String {
    format!("{} {what}{}", HumanCount(count as u64), if count == 1 { "" } else { "s" })
}

fn is_a_run(users: &[ServiceNumber]) -> bool {
    users.windows(2).all(|two| two[0].0.checked_add(1) == Some(two[1].0))
}

/// Rounds as tables. What is measured behind the server is what it is compared with.
fn tables(load: Load, measured: &[Measured], paint: Paint) -> String {
    let mut tables = vec![rates(load, measured), latencies(load, measured), work(measured)];
    if measured.iter().all(|one| one.latency().count() == 0) {
        tables.remove(1);
    }
    let rendered: Vec<_> = tables.iter().map(|table| table.render(paint)).collect();
    rendered.join("\n")
}

fn rates(load: Load, measured: &[Measured]) -> Table {
    let mut table =
        Table::new(&format!("{} a second", unit(load)), &["median", "lowest", "highest"]);
    for one in measured {
        let Some(Spread { median, min, max }) = one.rates() else { continue };
        table.row(one.name, [median, min, max].map(|rate| HumanCount(rate).to_string()));
    }
    let Some((server, others)) = measured.split_first() else { return table };
    for other in others {
        let Some(Spread { median, min, max }) = server.ratios(other) else { continue };
        let title = format!("{} / {}", server.name, other.name);
        table.row(&title, [median, min, max].map(|ratio| format!("{ratio:.3}")));
    }
    table
}

fn latencies(load: Load, measured: &[Measured]) -> Table {
    let title = match load {
        Load::Login(_) => "time of a login",
        _ => "time until it arrives",
    };
    let mut table = Table::new(title, &SHARES.map(|(_, title, _)| title));
    for one in measured {
        let latency = one.latency();
        table.row(one.name, SHARES.map(|(share, ..)| Took(latency.quantile(share)).to_string()));
    }
    table
}

fn work(measured: &[Measured]) -> Table {
    let mut table =
        Table::new("processor, by round", &["it", "generator", "others", "what limits it"]);
    for one in measured {
        for (index, round) in one.rounds.iter().enumerate() {
            let percent = |share: Option<u64>| {
                share.map_or_else(|| "?".to_owned(), |percent| format!("{percent} %"))
            };
            let work = round.work;
            let limit = match work.limit() {
                Limit::Server => "its thread",
                Limit::Generator => "the generator",
                Limit::Both => "both",
                Limit::Waiting => "waiting",
                Limit::Unknown => "?",
            };
            let [own, generator, others] = [work.server, work.generator, work.others].map(percent);
            let title = format!("{} {}", one.name, index + 1);
            table.row(&title, [own, generator, others, limit.to_owned()]);
        }
    }
    table
}

/// Idle sessions as a table.
fn idle_table(idle: &Idle, paint: Paint) -> String {
    let mut table = Table::new("the server's memory", &["resident", "its share"]);
    for (title, memory) in [("before", idle.before), ("after", idle.after)] {
        let of = |bytes| BinaryBytes(bytes).to_string();
        table.row(title, [memory.resident, memory.proportional].map(of));
    }
    let bytes = HumanCount(idle.bytes_a_session()).to_string();
    table.row("bytes a session", [String::new(), bytes]);
    table.render(paint)
}

/// Rounds as objects: one for each round, one for each that was measured, one for each comparison.
fn objects(load: Load, measured: &[Measured]) -> Vec<Value> {
    let rounds = measured.iter().flat_map(|one| {
        let round = |(index, round)| round_object(load, one.name, index, round);
        one.rounds.iter().enumerate().map(round)
    });
    let summaries = measured.iter().filter_map(|one| summary_object(load, one));
    let ratios = measured.split_first().into_iter().flat_map(|(server, others)| {
        others.iter().filter_map(|other| {
            let Spread { median, min, max } = server.ratios(other)?;
            Some(json!({ "what": "ratio", "to": other.name, "median": median, "min": min, "max": max }))
        })
    });
    rounds.chain(summaries).chain(ratios).collect()
}

fn round_object(load: Load, name: &str, index: usize, round: &Round) -> Value {
    let work = round.work;
    let mut object = json!({
        "what": "round",
        "target": name,
        "round": index + 1,
        "unit": unit(load),
        "count": round.arrivals,
        "elapsed_ns": round.elapsed_ns,
        "rate": round.rate(),
        "cpu_percent": work.server,
        "generator_cpu_percent": work.generator,
        "others_cpu_percent": work.others,
        "limit": work.limit().name(),
    });
    add_latency(&mut object, &round.latency);
    object
}

fn summary_object(load: Load, one: &Measured) -> Option<Value> {
    let Spread { median, min, max } = one.rates()?;
    let mut object = json!({
        "what": "summary",
        "target": one.name,
        "rounds": one.rounds.len(),
        "unit": unit(load),
        "rate_median": median,
        "rate_min": min,
        "rate_max": max,
    });
    add_latency(&mut object, &one.latency());
    Some(object)
}

fn add_latency(object: &mut Value, latency: &Latency) {
    let shares = SHARES.map(|(share, _, name)| (name.to_owned(), json!(latency.quantile(share))));
    if let Some(object) = object.as_object_mut() {
        object.extend(shares.into_iter().collect::<Map<_, _>>());
    }
}

/// Idle sessions as an object.
fn idle_object(idle: &Idle) -> Value {
    json!({
        "what": "idle",
        "sessions": idle.sessions,
        "bytes_a_session": idle.bytes_a_session(),
        "resident_before": idle.before.resident,
        "resident_after": idle.after.resident,
        "proportional_before": idle.before.proportional,
        "proportional_after": idle.after.proportional,
    })
}

/// A time in three digits and the unit that fits.
pub(crate) struct Took(pub(crate) u64);

impl Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
        let ns = self.0 as f64;
        let (size, unit) = units.into_iter().find(|(size, _)| ns >= *size).unwrap_or((1e3, "µs"));
        let value = ns / size;
        let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
        write!(f, "{value:.digits$} {unit}")
    }
}

/// Rows of one title and as many cells as there are columns.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The titles.
    pub(crate) fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned());
        Self { rows: vec![[title.to_owned()].into_iter().chain(columns).collect()] }
    }

    /// One more row.
    pub(crate) fn row<const N: usize>(&mut self, title: &str, cells: [String; N]) {
        self.rows.push([title.to_owned()].into_iter().chain(cells).collect());
    }

    /// Titles to the left, everything else to the right, each column as wide as it must be.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let cell_width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get::<usize>(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<_> = (0..columns).map(cell_width).collect();
        let mut out = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line += &match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            let line = line.trim_end();
            out += &if index == 0 { paint.put(STRONG, line).to_string() } else { line.to_owned() };
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::watch::{Memory, Work};
    use crate::documented::check;

    fn round(arrivals: u64) -> Round {
        let mut latency = Latency::new();
        (1..=arrivals).for_each(|us| latency.record(us * 1_000, 1));
        let work = Work { server: Some(99), generator: Some(60), others: Some(3) };
        Round { arrivals, elapsed_ns: 1_000_000_000, latency, steps: vec![arrivals], work }
    }

    fn measured() -> [Measured; 2] {
        [
            Measured { name: "server", rounds: [1_000, 2_000, 1_500].map(round).into() },
            Measured { name: "bare relay", rounds: [4_000, 5_000, 6_000].map(round).into() },
        ]
    }

    #[test]
    fn people_get_tables() {
        let expected = "\
messages a second    median  lowest  highest
server                1,500   1,000    2,000
bare relay            5,000   4,000    6,000
server / bare relay   0.250   0.250    0.400

time until it arrives     50 %     90 %     99 %   99.9 %  longest
server                  750 µs  1.55 ms  1.96 ms  2.00 ms  2.00 ms
bare relay             2.50 ms  4.75 ms  5.85 ms  5.99 ms  6.00 ms

processor, by round    it  generator  others  what limits it
server 1             99 %       60 %     3 %      its thread
server 2             99 %       60 %     3 %      its thread
server 3             99 %       60 %     3 %      its thread
bare relay 1         99 %       60 %     3 %      its thread
bare relay 2         99 %       60 %     3 %      its thread
bare relay 3         99 %       60 %     3 %      its thread
";
        assert_eq!(tables(Load::Pairs(50), &measured(), Paint::NONE), expected);
    }

    #[test]
    fn programs_get_objects_as_they_are_documented() {
        let objects = objects(Load::Broadcast(1, 100), &measured());
        let whats: Vec<_> = objects.iter().map(|object| object["what"].as_str().unwrap()).collect();
        assert_eq!(whats.concat(), "round".repeat(6) + &"summary".repeat(2) + "ratio");
        for object in &objects {
            match object["what"].as_str().unwrap() {
                "ratio" => check(object, &["measurement", "ratio"]),
                what => check(object, &["measurement", what, "times"]),
            }
        }
        assert_eq!(
            (&objects[0]["rate"], &objects[0]["unit"]),
            (&json!(1_000), &json!("deliveries"))
        );
        assert_eq!(objects[8]["median"], json!(0.25));
    }

    #[test]
    fn what_nobody_knows_is_null_or_a_question_mark() {
        let mut all = measured();
        all[0].rounds[0].work = Work::default();
        let object = &objects(Load::Login(1), &all)[0];
        check(object, &["measurement", "round", "times"]);
        assert_eq!((&object["cpu_percent"], &object["limit"]), (&Value::Null, &json!("unknown")));
        let tables = tables(Load::Login(1), &all, Paint::NONE);
        assert!(
            tables.contains("\nserver 1                ?          ?       ?               ?\n"),
            "{tables}"
        );
    }

    #[test]
    fn idle_sessions_have_a_table_and_an_object() {
        let memory = |kib: u64| Memory { resident: 2_048 * kib, proportional: 1_024 * kib };
        let idle = Idle { sessions: 1_024, before: memory(3_072), after: memory(3_572) };
        check(&idle_object(&idle), &["measurement", "idle"]);
        let expected = "\
the server's memory  resident  its share
before               6.00 MiB   3.00 MiB
after                6.98 MiB   3.49 MiB
bytes a session                      500
";
        assert_eq!(idle_table(&idle, Paint::NONE), expected);
        let shrunk = Idle { after: memory(1), ..idle };
        assert_eq!(shrunk.bytes_a_session(), 0);
    }

    #[test]
    fn times_have_three_digits() {
        let all = [
            (0, "0.00 µs"),
            (999, "1.00 µs"),
            (12_345, "12.3 µs"),
            (999_400, "999 µs"),
            (1_000_000, "1.00 ms"),
            (99_960_000, "100 ms"),
            (3_210_000_000, "3.21 s"),
        ];
        for (ns, text) in all {
            assert_eq!(Took(ns).to_string(), text);
        }
    }
}
