//! What a long run has come to: tables for people; for programs an object for each second, each restart and compaction,
//! and one for all of it.
//!
//! Owns the words and the fields.

use std::io;

use indicatif::{BinaryBytes, HumanCount};
use oicq::cli::values::show_time;
use serde_json::{Value, json};

use super::sample::{Mark, Sample};
use super::verdict::{Growth, Measured, What};
use crate::bench::report::{Table, Took, many};
use crate::bench::watch::Limit;
use crate::options::Format;
use crate::paint::Paint;

/// What is said at the end.
pub(super) fn render(format: Format, measured: &Measured) -> String {
    match format {
        Format::Json => format!("{}\n", object(measured)),
        Format::Text => {
            let title = title(measured).join("\n");
            format!("{title}\n\n{}", tables(measured, Paint::on(&io::stdout())))
        }
    }
}

/// What was done: the load in a line, and what was done to the server in another.
pub(super) fn title(measured: &Measured) -> [String; 2] {
    let Measured { users, rate, capacity, seed, elapsed_ns, upkeep, .. } = measured;
    let share = capacity.map_or_else(String::new, |capacity| {
        format!(", of {} {}", HumanCount(capacity.rate), could(capacity.limit))
    });
    let restarts =
        many(usize::try_from(upkeep.stops + upkeep.kills).unwrap_or(usize::MAX), "restart");
    let compactions = many(usize::try_from(upkeep.compactions).unwrap_or(usize::MAX), "compaction");
    let length = show_time(elapsed_ns / 1_000_000_000 * 1_000);
    let (users, rate, kills) = (many(*users, "user"), HumanCount(*rate), HumanCount(upkeep.kills));
    [
        format!("{length} of {users}, {rate} requests a second{share}"),
        format!("{restarts}, {kills} of them killed, {compactions}; --seed {seed}"),
    ]
}

/// Who could do so much, and no more.
const fn could(limit: Limit) -> &'static str {
    match limit {
        Limit::Server => "that the server can do",
        Limit::Generator => "that the load generator can do",
        Limit::Both => "that the server and the load generator can do",
        Limit::Waiting => "that can be done, with time left to both sides",
        Limit::Unknown => "that can be done",
    }
}

fn tables(measured: &Measured, paint: Paint) -> String {
    let tables = [messages(measured), others(measured), growths(measured)];
    let mut text = tables.map(|table| table.render(paint)).join("\n");
    let unknown = What::ALL.into_iter();
    let unknown: String = unknown
        .filter_map(|what| Some(format!("  {}: {}\n", what.title(), measured.unknown(what)?)))
        .collect();
    if !unknown.is_empty() {
        text += &format!("\nnot known\n{unknown}");
    }
    if measured.is_stopped {
        let length = show_time(measured.length_ns / 1_000_000);
        text += &format!("\nended before its {length} were over\n");
    }
    let failed = measured.failed();
    text += if failed.is_empty() { "\npassed\n" } else { "\nfailed\n" };
    failed.iter().for_each(|words| text += &format!("  {words}\n"));
    text
}

fn messages(measured: &Measured) -> Table {
    let counts = &measured.messages;
    let mut table = Table::new("messages, each of them for every receiver", &["count"]);
    for (title, count) in [
        ("sent", counts.sent),
        ("confirmed", counts.confirmed),
        ("refused, for a full box", counts.refused),
        ("not answered, for a connection that ended", counts.unsure),
        ("arrived", counts.arrived),
        ("arrived again, as they may", counts.again),
        ("unread by base clients that cut their connections", counts.unread),
        ("lost, doubled, out of order, or wrong otherwise", counts.faults),
    ] {
        table.row(title, [HumanCount(count).to_string()]);
    }
    table
}

fn others(measured: &Measured) -> Table {
    let tally = &measured.tally;
    let mut table = Table::new("beside them", &["count"]);
    let mut row = |title: &str, count: u64| table.row(title, [HumanCount(count).to_string()]);
    row("logins", tally.logins);
    row("connections that base clients cut", measured.messages.cuts);
    row("registrations", tally.registered);
    row("files that arrived", tally.files);
    tally.refusals.iter().for_each(|(code, count)| row(&format!("refused: {code}"), *count));
    tally.closed.iter().for_each(|(code, count)| row(&format!("closed: {code}"), *count));
    table
}

fn growths(measured: &Measured) -> Table {
    let mut table = Table::new("what may not grow", &["median", "growth", "allowed"]);
    for growth in What::ALL.into_iter().filter_map(|what| measured.growth(what)) {
        let Growth { what, median, growth, allowed } = growth;
        let sign = if growth < 0.0 { "-" } else { "" };
        let [median, growth, allowed] =
            [median, growth.abs(), allowed].map(|value| amount(what, value));
        table.row(what.title(), [median, format!("{sign}{growth}"), allowed]);
    }
    table
}

fn amount(what: What, value: f64) -> String {
    let whole = value.max(0.0) as u64;
    match what {
        What::Memory | What::Bytes => BinaryBytes(whole).to_string(),
        What::Files => format!("{value:.1}"),
        What::P50 | What::P99 => Took(whole).to_string(),
    }
}

/// A second, for programs.
pub(super) fn second(sample: &Sample) -> Value {
    let times = sample.times;
    json!({
        "what": "second",
        "at_ns": sample.at_ns,
        "rate": sample.rate(),
        "p50_ns": times.map(|times| times.p50),
        "p99_ns": times.map(|times| times.p99),
        "p999_ns": times.map(|times| times.p999),
        "max_ns": times.map(|times| times.max),
        "memory": sample.memory,
        "files": sample.files,
        "bytes": sample.bytes,
        "waiting": sample.waiting,
        "under_way": sample.under_way,
        "in_session": sample.in_session,
        "connections": sample.connections,
        "users": sample.users,
        "cpu_percent": sample.work.server,
        "generator_cpu_percent": sample.work.generator,
        "others_cpu_percent": sample.work.others,
        "server": sample.life,
    })
}

/// Something that has happened, for programs.
pub(super) fn happening(at_ns: u64, mark: Mark) -> Value {
    let bytes = match mark {
        Mark::Compacted { bytes } => Some(bytes),
        _ => None,
    };
    json!({ "what": "happening", "at_ns": at_ns, "kind": mark.name(), "bytes": bytes })
}

fn object(measured: &Measured) -> Value {
    let (counts, tally) = (&measured.messages, &measured.tally);
    let failed = measured.failed();
    let growths = What::ALL.into_iter().filter_map(|what| measured.growth(what));
    let unknown =
        What::ALL.map(|what| Some(format!("{}: {}", what.name(), measured.unknown(what)?)));
    json!({
        "what": "soak",
        "passed": failed.is_empty(),
        "failed": failed,
        "stopped": measured.is_stopped,
        "seed": measured.seed,
        "users": measured.users,
        "elapsed_ns": measured.elapsed_ns,
        "capacity": measured.capacity.map(|capacity| capacity.rate),
        "capacity_limit": measured.capacity.map(|capacity| capacity.limit.name()),
        "rate": measured.rate,
        "stops": measured.upkeep.stops,
        "kills": measured.upkeep.kills,
        "compactions": measured.upkeep.compactions,
        "sent": counts.sent,
        "confirmed": counts.confirmed,
        "refused": counts.refused,
        "unsure": counts.unsure,
        "arrived": counts.arrived,
        "again": counts.again,
        "unread": counts.unread,
        "cuts": counts.cuts,
        "faults": counts.faults,
        "logins": tally.logins,
        "registered": tally.registered,
        "files": tally.files,
        "refusals": tally.refusals,
        "closed": tally.closed,
        "unknown": unknown.into_iter().flatten().collect::<Vec<_>>(),
        "growth": growths.map(|growth| growth_object(&growth)).collect::<Vec<_>>(),
    })
}

fn growth_object(growth: &Growth) -> Value {
    let whole = |value: f64| value.max(0.0) as u64;
    json!({
        "of": growth.what.name(),
        "median": whole(growth.median),
        "grown": whole(growth.growth),
        "shrunk": whole(-growth.growth),
        "allowed": whole(growth.allowed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::soak::verdict::tests::stood;
    use crate::documented::check;

    #[test]
    fn people_get_tables_and_a_verdict() {
        let mut measured = stood(|_, _| ());
        measured.tally.refusals.insert("mailbox-full", 1_234);
        measured.tally.logins = 300;
        let expected = "\
messages, each of them for every receiver            count
sent                                               600,000
confirmed                                          599,000
refused, for a full box                                  0
not answered, for a connection that ended                0
arrived                                            599,500
arrived again, as they may                               0
unread by base clients that cut their connections        0
lost, doubled, out of order, or wrong otherwise          0

beside them                        count
logins                               300
connections that base clients cut      0
registrations                          0
files that arrived                     0
refused: mailbox-full              1,234

what may not grow                  median   growth     allowed
memory beyond what is stored    19.96 MiB      0 B    3.99 MiB
open files beyond connections        20.0      0.0         8.0
bytes on disk, compacted       300.00 MiB      0 B  256.00 MiB
median time of a message          1.00 ms  0.00 µs     1.00 ms
time of 99 % of them              5.00 ms  0.00 µs     10.0 ms

passed
";
        assert_eq!(tables(&measured, Paint::NONE), expected);
        measured.faults.push("one is lost".to_owned());
        (measured.is_stopped, measured.elapsed_ns) = (true, 1_000_000_000);
        let text = tables(&measured, Paint::NONE);
        assert!(text.contains("  bytes on disk, compacted: the run was too short\n"), "{text}");
        assert!(text.contains("ended before its 20min were over"), "{text}");
        assert!(text.ends_with("\nfailed\n  one is lost\n"), "{text}");
    }

    #[test]
    fn programs_get_objects_as_they_are_documented() {
        let mut measured = stood(|_, _| ());
        measured.tally.closed.insert("shutdown", 3);
        check(&object(&measured), &["measurement", "soak"]);
        check(&second(&measured.samples[3]), &["measurement", "second"]);
        let unknown = stood(|_, sample| (sample.memory, sample.times) = (None, None));
        check(&second(&unknown.samples[3]), &["measurement", "second"]);
        for mark in [Mark::Stop, Mark::Kill, Mark::Started, Mark::Compacted { bytes: 7 }] {
            check(&happening(1, mark), &["measurement", "happening"]);
        }
    }

    #[test]
    fn two_lines_say_what_was_done_and_how_to_do_it_again() {
        assert_eq!(
            title(&stood(|_, _| ())),
            [
                "20min of 100 users, 1,000 requests a second, of 1,250 that the server can do",
                "5 restarts, 3 of them killed, 19 compactions; --seed 7",
            ]
        );
    }
}
