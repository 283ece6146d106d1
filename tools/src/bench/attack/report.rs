//! What an attack has come to: tables for people, one object for programs.
//!
//! Owns the words and the fields.

use std::io;

use indicatif::{BinaryBytes, HumanCount};
use serde_json::{Value, json};

use super::verdict::{Measured, Noticed};
use super::{Options, RATE, Sort};
use crate::bench::report::{Table, Took, many};
use crate::bench::round::{Latency, Length};
use crate::bench::watch::Holds;
use crate::options::Format;
use crate::paint::Paint;
use oicq::cli::values::show_time;

const SHARES: [(f64, &str); 4] =
    [(0.5, "50 %"), (0.99, "99 %"), (0.999, "99.9 %"), (1.0, "longest")];

/// In the form that was asked for.
pub(super) fn render(options: &Options, measured: &Measured) -> String {
    match options.format {
        Format::Json => format!("{}\n", object(options.sort, measured)),
        Format::Text => {
            let tables = tables(measured, Paint::on(&io::stdout()));
            format!("{}\n\n{tables}", title(options, measured))
        }
    }
}

fn title(options: &Options, measured: &Measured) -> String {
    let length = match options.length {
        Length::Messages(count) => HumanCount(count).to_string(),
        Length::Time { duration_ns, .. } => show_time(duration_ns / 1_000_000),
    };
    let Options { sort, .. } = options;
    let (name, about) = (sort.name(), sort.about());
    let connections = many(measured.connections, "connection");
    format!(
        "{name}: {about}; up to {connections}\n\
         {RATE} messages a second between two honest users, {length} in peace, {length} beside the attack"
    )
}

fn tables(measured: &Measured, paint: Paint) -> String {
    let tables = [honest(measured), held(measured), attackers(measured)];
    let mut text = tables.map(|table| table.render(paint)).join("\n");
    if measured.held.is_memory_unjudged() {
        text += "\nhow much of the memory afterwards is for what the attack has left to be kept is not known: \
                 it is not judged\n";
    }
    let failed = measured.verdict();
    text += if failed.is_empty() { "\npassed\n" } else { "\nfailed\n" };
    failed.iter().for_each(|words| text += &format!("  {words}\n"));
    text
}

fn honest(measured: &Measured) -> Table {
    let mut table = Table::new("what the honest notice", &SHARES.map(|(_, title)| title));
    let took =
        |latency: &Latency| SHARES.map(|(share, _)| Took(latency.quantile(share)).to_string());
    for (when, Noticed { messages, logins, .. }) in
        [("in peace", &measured.in_peace), ("beside it", &measured.attacked)]
    {
        for (what, latency) in [("messages", messages), ("logins", logins)] {
            if latency.count() > 0 {
                table.row(&format!("{what} {when}"), took(latency));
            }
        }
    }
    table
}

fn held(measured: &Measured) -> Table {
    let mut table = Table::new("what the server holds", &["memory", "open files"]);
    let held = &measured.held;
    for (when, holds) in
        [("before", held.before), ("at worst", held.worst), ("afterwards", held.afterwards)]
    {
        let cells = match holds {
            Some(Holds { memory, files }) => {
                [BinaryBytes(memory).to_string(), HumanCount(files).to_string()]
            }
            None => ["?", "?"].map(str::to_owned),
        };
        table.row(when, cells);
    }
    if let Some(stored) = held.stored {
        table.row("more is stored", [BinaryBytes(stored).to_string(), "–".to_owned()]);
    }
    if let Some(most) = held.memory_max() {
        table.row("allowed", [BinaryBytes(most).to_string(), "–".to_owned()]);
    }
    table
}

fn attackers(measured: &Measured) -> Table {
    let counts = &measured.counts;
    let mut table = Table::new("what becomes of the attackers", &["count"]);
    let mut row = |title: &str, count| {
        if count > 0 {
            table.row(title, [HumanCount(count).to_string()]);
        }
    };
    row("connections begun", counts.opened);
    row("refused", counts.refused);
    row("closed by the server", counts.closed);
    row("reset", counts.reset);
    row("hung up themselves", counts.hung_up);
    row("open at the end", measured.open);
    row("packets sent", counts.sent);
    row("packets received", counts.answered);
    for (code, count) in &counts.notices {
        row(&format!("told: {code}"), *count);
    }
    table
}

fn object(sort: Sort, measured: &Measured) -> Value {
    let counts = &measured.counts;
    let failed = measured.verdict();
    json!({
        "what": "attack",
        "attack": sort.name(),
        "connections": measured.connections,
        "passed": failed.is_empty(),
        "failed": failed,
        "in_peace": times(&measured.in_peace),
        "attacked": times(&measured.attacked),
        "memory_before": measured.held.before.map(|held| held.memory),
        "memory_worst": measured.held.worst.map(|held| held.memory),
        "memory_afterwards": measured.held.afterwards.map(|held| held.memory),
        "memory_stored": measured.held.stored,
        "memory_allowed": measured.held.memory_max(),
        "files_before": measured.held.before.map(|held| held.files),
        "files_worst": measured.held.worst.map(|held| held.files),
        "files_afterwards": measured.held.afterwards.map(|held| held.files),
        "opened": counts.opened,
        "refused": counts.refused,
        "closed": counts.closed,
        "reset": counts.reset,
        "hung_up": counts.hung_up,
        "open": measured.open,
        "sent": counts.sent,
        "answered": counts.answered,
        "notices": counts.notices,
    })
}

fn times(honest: &Noticed) -> Value {
    let Noticed { messages, logins, .. } = honest;
    json!({
        "messages": messages.count(),
        "p50_ns": messages.quantile(0.5),
        "p99_ns": messages.quantile(0.99),
        "p999_ns": messages.quantile(0.999),
        "max_ns": messages.quantile(1.0),
        "logins": logins.count(),
        "logins_refused": honest.refused.len(),
        "login_p50_ns": logins.quantile(0.5),
        "login_max_ns": logins.quantile(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::attack::verdict::tests::stood;
    use crate::documented::check;

    #[test]
    fn people_get_tables_and_a_verdict() {
        let mut measured = stood();
        measured.counts.notices.insert("idle", 7);
        let expected = "\
what the honest notice     50 %     99 %   99.9 %  longest
messages in peace       1.00 ms  1.00 ms  1.00 ms  1.00 ms
logins in peace         30.0 ms  30.0 ms  30.0 ms  30.0 ms
messages beside it      2.00 ms  2.00 ms  2.00 ms  2.00 ms
logins beside it        30.0 ms  30.0 ms  30.0 ms  30.0 ms

what the server holds      memory  open files
before                  10.00 MiB          20
at worst                20.00 MiB          30
afterwards              10.00 MiB          20
more is stored           1.00 MiB           –
allowed                100.00 MiB           –

what becomes of the attackers  count
connections begun              1,234
closed by the server           1,200
open at the end                   10
told: idle                         7

passed
";
        assert_eq!(tables(&measured, Paint::NONE), expected);
        measured.held.stored = None;
        assert!(tables(&measured, Paint::NONE).contains("it is not judged"));
        measured.attacked.lost = Some("gone".to_owned());
        let text = tables(&measured, Paint::NONE);
        assert!(text.ends_with("\nfailed\n  beside the attack, a message: gone\n"), "{text}");
    }

    #[test]
    fn programs_get_an_object_as_it_is_documented() {
        let mut measured = stood();
        check(&object(Sort::Silent, &measured), &["measurement", "attack"]);
        measured.held.before = None;
        let object = object(Sort::Names, &measured);
        check(&object, &["measurement", "attack"]);
        assert_eq!((&object["attack"], &object["passed"]), (&json!("names"), &json!(true)));
    }
}
