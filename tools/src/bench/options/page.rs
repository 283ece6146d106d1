//! The help page of `oicq-tools bench`. The defaults on it are those that `options` sets.

use oicq::cli::page::{Page, Row};

use super::{
    BYTES, DURATION, IDLE_SESSIONS, IDLE_SESSIONS_TABLE, LOGINS, PAIRS, PATIENCE, RECEIVERS,
    ROUNDS, SOAK_USERS, UNDER_WAY, UNDER_WAY_STEADY, WARM_UP,
};

/// The page.
pub(super) fn page() -> Page {
    Page::new("oicq-tools bench ADDR [OPTIONS], or \
               oicq-tools bench --serve PROGRAM [--table] [OPTIONS] [-- SERVER OPTIONS]")
        .about(
            "Puts load on the server at ADDR, such as 127.0.0.1:8000, and measures what it does. \
             Users are registered for it and stay there: take a server whose data may be thrown \
             away. With --serve, PROGRAM (an oicqd) is started for the measurement alone, without \
             limits on what users may do (or with its usual ones, for an attack), in a new folder \
             that is removed afterwards. Every message is checked byte by byte: one that is lost, \
             doubled, changed or out of order fails the measurement.",
        )
        .section("The load", load_rows())
        .section("The measurement", measurement_rows())
        .section("The result", result_rows())
        .note(
            "A server with its usual limits refuses most loads, and the error says which of its \
             options to change. All of them: oicqd --registrations 0 --connections 0 \
             --login-failures 0 --requests 0,0. Registrations and logins are quick with \
             --password-cost 8,1.",
        )
        .note(
            "The bare relay passes each message on to its receiver, and each broadcast to all \
             friends, and does nothing else. The durable relay does the same, but nothing leaves \
             it before the messages that came in a turn of its loop are on disk, a broadcast once \
             for all who get it: one write into a file that is full of zeros, one sync. Both are \
             single threads that speak the server's protocol with the same bytes. So they are \
             what this machine, its network and its disk allow a server of one thread. They take \
             turns with the server, round by round, and the ratio is that of neighbouring rounds: \
             a moment in which the machine is busy meets all of them.",
        )
        .note(
            "The table is made of pairs with 16 and with 1 message under way, these once more with \
             base clients and --durability never, a steady rate, broadcasts, idle sessions and \
             logins; each has a server of its own, and relays where it can. Relays that sync are \
             left out where the server does not. It takes some minutes; --messages makes it short, \
             and the figures worthless.",
        )
        .note(
            "What limits it, in the last table: its thread, when that had no time left; the \
             generator, when that had none (the server can do more than is shown); both; else \
             waiting, for the disk, for other programs, or because too little is under way.",
        )
        .note(
            "An attack is one of those that a server meets on the open internet. Beside it a user \
             writes to another every 10 ms, and somebody logs in now and then; first in peace, for \
             as long as the attack takes (--duration, 10s). The server that is started has its \
             usual limits, and attackers come from many addresses of this machine. It has stood the \
             attack, and the status is 0, if nobody honest is refused, no message is lost, 99 % of \
             them arrive within 3 times what it took in peace (or 20 ms), 99.9 % within 100 ms, it \
             takes no more memory than its options allow (oicqd -v says how much), afterwards has no \
             more open files and memory than before, but for 1 % and for what is stored meanwhile, and \
             still runs and ends in order. (How much memory that takes is known only of a server that \
             is started: of another, memory is judged for attacks alone that leave nothing, and its \
             end is not.) It is measured behind as long an attack to warm up, a second at least. \
             --connections says how many sockets attackers may have at once.",
        )
        .note(
            "A long run (--soak 60min) finds out what the server can do, and asks for 80 % of it (or for \
             --rate) at equal distances: messages to friends who are there or away, broadcasts, logins, \
             profiles, modes, searches, files, registrations, of base and extended clients by halves. \
             Meanwhile users hang up, reset their connections, stop within a packet, or read nothing for \
             a while; the server is stopped and killed by turns and starts again, every 5 minutes or so, \
             and its log is compacted every 2. In the end everybody fetches what waits. It has stood it, \
             and the status is 0, if no message that it has confirmed is lost, out of order, or doubled \
             for an extended client; if nothing is refused that may not be; if memory beyond what is \
             stored, open files, the compacted log, and the times of messages do not grow; and if the \
             log is whole. Ctrl-C ends it before its time, with the verdict so far. What a base client \
             had not read when it reset its connection is counted apart: to the server it has arrived. It \
             may be one message for each such reset. Runs of less than a minute tell nothing of growth, \
             and those of less than a quarter of an hour little of memory: servers do not live long \
             enough in them. From a quarter of an hour on, growth that cannot be told is a failing too.",
        )
        .note(
            "In JSON each round is an object, and so is the summary of a server or relay, each \
             ratio, the memory of idle sessions, each row of --table, and each second of --soak; \
             tools/JSON.md says what is in them.",
        )
        .note(
            "Examples:\n  \
             oicq-tools bench --serve target/release/oicqd --ceiling\n  \
             oicq-tools bench --serve target/release/oicqd --table\n  \
             oicq-tools bench --serve target/release/oicqd --attack silent\n  \
             oicq-tools bench --serve target/release/oicqd --soak 60min --plot soak.svg\n  \
             oicq-tools bench --serve target/release/oicqd --rate 50000 --plot latency.svg -- --durability never\n  \
             oicq-tools bench 127.0.0.1:8000 --load idle --connections 10000",
        )
}

fn load_rows() -> Vec<Row> {
    vec![
        Row::new(
            "--load LOAD",
            "pairs: one user writes to another; broadcast: a user writes to all friends at once; \
             idle: sessions that do nothing; login: users log out and in",
        )
        .or("pairs"),
        Row::new("--pairs N", "pairs, or users who broadcast")
            .or(format!("{PAIRS}; of a broadcast 1")),
        Row::new("--receivers N", "friends that each broadcast goes to").or(RECEIVERS.to_string()),
        Row::new(
            "--under-way N",
            "messages that a writer has under way: the next one follows where one has arrived",
        )
        .or(UNDER_WAY.to_string()),
        Row::new("--bytes N", "text of a message").or(BYTES.to_string()),
        Row::new(
            "--rate N",
            format!(
                "messages a second of all writers together, at equal distances. The time of a message \
                 begins when it should have been sent, however late that is. Of each writer \
                 {UNDER_WAY_STEADY} may be under way then"
            ),
        ),
        Row::new("--connections N", "sessions, or connections on which users log in")
            .or(format!(
                "{IDLE_SESSIONS}; of logins {LOGINS}; idle ones of --table {IDLE_SESSIONS_TABLE}, or as many as \
                 the system allows; users of --soak {SOAK_USERS}"
            )),
        Row::new(
            "--clients CLIENTS",
            "base: those of the protocol of 2002; extended: with results and message ids, which \
             are confirmed",
        )
        .or("base"),
        Row::new(
            "--users FIRST",
            "takes users that an earlier run has registered, from this number on",
        ),
    ]
}

fn measurement_rows() -> Vec<Row> {
    vec![
        Row::new("--rounds N", "how often it is measured").or(ROUNDS.to_string()),
        Row::new("--duration TIME", "how long a round is").or(DURATION),
        Row::new("--warm-up TIME", "what comes before each round and is not measured").or(WARM_UP),
        Row::new("--messages N", "a round is so many messages or logins, instead of a time"),
        Row::new(
            "--ceiling",
            "measures two relays beside the server, and how much of their rates it reaches; for \
             pairs and broadcast",
        ),
        Row::new(
            "--table",
            "measures one load after the other, and prints a row of a table for each",
        ),
        Row::new(
            "--attack NAME",
            "attacks, and says what honest users notice of it; list says which attacks there are",
        ),
        Row::new(
            "--soak TIME",
            "runs for so long, near to what the server can do, with restarts and broken connections",
        ),
        Row::new("--seed N", "makes the same requests and mishaps as an earlier --soak"),
        Row::new(
            "--dir DIR",
            "where a server and relays that are started have their files; the disk matters",
        )
        .or("."),
        Row::new(
            "--relay RELAY",
            "measures nothing, and runs a relay for others to measure: bare or durable",
        ),
        Row::new("--patience TIME", "how long anything is waited for before it counts as lost")
            .or(PATIENCE),
        Row::new("--yes-i-own-this-server", "lets ADDR be on another machine"),
    ]
}

fn result_rows() -> Vec<Row> {
    vec![
        Row::new(
            "--format FORMAT",
            "text (a table in Markdown, with --table), or json: one object a line",
        )
        .or("text"),
        Row::new("--plot FILE", "draws latencies, and rates over time, as SVG"),
        Row::new("-h, --help", "this page"),
        Row::new("-V, --version", "the version"),
    ]
}
