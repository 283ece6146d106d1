//! The server's options, one after the other: what each is called, takes, sets and says in the help page.
//!
//! A value is judged here and nowhere else. Nothing is opened or asked of the system.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;

use super::options::Serve;
use super::page::{Page, Row};
use super::parts::{
    LIMIT_EXPECTED, TIMEOUT_EXPECTED, durability, number, pair, service, service_number, set_limit,
    set_timeout, wrong,
};
use super::settings::{Cost, Options};
use super::values::{ValueError, parse_size, show_size, show_time};
use crate::black_box::Texts;
use crate::codec::charset::Charset;
use crate::id::ServiceNumber;
use crate::limits;
use crate::log::format::{SEGMENT_SIZE_MAX, SEGMENT_SIZE_MIN};
use crate::wire::Kind;

/// One option.
pub(super) struct Flag {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    /// What its value is called; empty where it takes none.
    pub(super) value: &'static str,
    pub(super) text: &'static str,
    default: fn() -> Option<String>,
    pub(super) take: Take,
}

/// What an option does.
pub(super) enum Take {
    /// Shows the help page.
    Help,
    /// Says the version.
    Version,
    /// Names the config file.
    Config,
    /// Sets something without a value.
    Flag(fn(&mut Draft)),
    /// Sets something to a value, of which this is expected.
    Value(fn(&mut Draft, &str) -> Result<(), ValueError>, &'static str),
    /// Sets a path.
    Path(fn(&mut Draft, OsString)),
}

/// What has been read so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) serve: Serve,
    /// Options that the command line, or the file, has given so far.
    given: BTreeSet<&'static str>,
}

impl Draft {
    /// What comes now comes from another place than what came before.
    pub(super) fn begin_origin(&mut self) {
        self.given.clear();
    }

    /// What adds up within one place takes the place of what another one said.
    pub(super) fn begin_option(&mut self, flag: &Flag) {
        if self.given.insert(flag.long) {
            let Serve { options, verbose } = &mut self.serve;
            match flag.long {
                LISTEN => options.listen.clear(),
                OPERATOR => options.settings.operators.clear(),
                SERVICE => options.settings.services.clear(),
                VERBOSE => *verbose = 0,
                _ => {}
            }
        }
    }
}

const LISTEN: &str = "listen";
const OPERATOR: &str = "operator";
const SERVICE: &str = "service";
const VERBOSE: &str = "verbose";

const ADDRESS_EXPECTED: &str = "an address and a port, such as 127.0.0.1:8000 or [::1]:8000";
const DURABILITY_EXPECTED: &str = "always, never or a time such as interval=50ms";
const SEGMENT_EXPECTED: &str = "a size from 16KiB to 2GiB";
const NUMBER_EXPECTED: &str = "a service number, which is 10001 or more";
const SERVICE_EXPECTED: &str = "fax, print or chat and a service number, such as fax=10001";
const SERVICE_TWICE_EXPECTED: &str = "one number for each kind, and one kind for each number";
const CHARSET_EXPECTED: &str = "utf-8 or gb18030";
const REGISTRATION_EXPECTED: &str = "open or closed";
const COST_EXPECTED: &str =
    "memory in KiB, 8 to 262144, and passes, such as 19456,2; multiplied at most 1048576";
const COUNT_EXPECTED: &str = "a number, 1 or more";
const RATE_EXPECTED: &str = "how many a second and how many at once, such as 1000,10000, or 0";
const BOX_EXPECTED: &str = "a size such as 64MiB, or 0 for none";
const TEXTS_EXPECTED: &str = "on or off";
const SIZE_EXPECTED: &str = "a size larger than 0, such as 64KiB or 1MiB";

/// All options, in the order of the help page.
pub(super) const FLAGS: &[Flag] = &[
    Flag {
        long: LISTEN,
        short: Some('l'),
        value: "ADDR",
        text: "where to listen; may be repeated; port 0 takes a free one",
        default: || Options::default().listen.first().map(ToString::to_string),
        take: Take::Value(
            |draft, text| {
                let address = text.parse::<SocketAddr>();
                let address = address.map_err(|_| wrong(text, ADDRESS_EXPECTED))?;
                draft.serve.options.listen.push(address);
                Ok(())
            },
            ADDRESS_EXPECTED,
        ),
    },
    Flag {
        long: "data",
        short: Some('d'),
        value: "DIR",
        text: "the log's folder, made where it does not exist",
        default: || Some(Options::default().data.display().to_string()),
        take: Take::Path(|draft, path| draft.serve.options.data = path.into()),
    },
    Flag {
        long: "durability",
        short: None,
        value: "MODE",
        text: "always: replies wait for the disk; interval=TIME: at most that much may be lost in \
               a power cut; never: when the system likes",
        default: || Some("always".to_owned()),
        take: Take::Value(
            |draft, text| {
                let durability = durability(text).ok_or_else(|| wrong(text, DURABILITY_EXPECTED));
                draft.serve.options.durability = durability?;
                Ok(())
            },
            DURABILITY_EXPECTED,
        ),
    },
    Flag {
        long: "segment-size",
        short: None,
        value: "SIZE",
        text: "size of one log file",
        default: || Some(show_size(limits::SEGMENT_BYTES)),
        take: Take::Value(
            |draft, text| {
                let size = parse_size(text).ok();
                let size = size.filter(|size| (SEGMENT_SIZE_MIN..=SEGMENT_SIZE_MAX).contains(size));
                draft.serve.options.segment_bytes =
                    size.ok_or_else(|| wrong(text, SEGMENT_EXPECTED))?;
                Ok(())
            },
            SEGMENT_EXPECTED,
        ),
    },
    Flag {
        long: OPERATOR,
        short: None,
        value: "NUMBER",
        text: "may monitor conversations; may be repeated",
        default: || None,
        take: Take::Value(
            |draft, text| {
                let number = service_number(text).ok_or_else(|| wrong(text, NUMBER_EXPECTED))?;
                draft.serve.options.settings.operators.insert(number);
                Ok(())
            },
            NUMBER_EXPECTED,
        ),
    },
    Flag {
        long: SERVICE,
        short: None,
        value: "KIND=NUMBER",
        text: "NUMBER is a service program: fax, print or chat; may be repeated",
        default: || None,
        take: Take::Value(
            |draft, text| {
                let (kind, number) = service(text).ok_or_else(|| wrong(text, SERVICE_EXPECTED))?;
                let services = &mut draft.serve.options.settings.services;
                let clashes = |(k, n): (&Kind, &ServiceNumber)| (*k == kind) != (*n == number);
                if services.iter().any(clashes) {
                    return Err(wrong(text, SERVICE_TWICE_EXPECTED));
                }
                services.insert(kind, number);
                Ok(())
            },
            SERVICE_EXPECTED,
        ),
    },
    Flag {
        long: "charset",
        short: None,
        value: "NAME",
        text: "utf-8 or gb18030",
        default: || Some(Charset::default().name().to_owned()),
        take: Take::Value(
            |draft, text| {
                draft.serve.options.settings.charset =
                    Charset::from_name(text).ok_or_else(|| wrong(text, CHARSET_EXPECTED))?;
                Ok(())
            },
            CHARSET_EXPECTED,
        ),
    },
    Flag {
        long: "registration",
        short: None,
        value: "MODE",
        text: "open or closed",
        default: || Some("open".to_owned()),
        take: Take::Value(
            |draft, text| {
                draft.serve.options.settings.registration_open = match text {
                    "open" => true,
                    "closed" => false,
                    _ => return Err(wrong(text, REGISTRATION_EXPECTED)),
                };
                Ok(())
            },
            REGISTRATION_EXPECTED,
        ),
    },
    Flag {
        long: "password-cost",
        short: None,
        value: "KIB,N",
        text: "Argon2id: memory in KiB and passes for new passwords",
        default: || {
            let Cost { memory_kib, passes } = Cost::default();
            Some(format!("{memory_kib},{passes}"))
        },
        take: Take::Value(
            |draft, text| {
                let cost = pair(text).map(|(memory_kib, passes)| Cost { memory_kib, passes });
                draft.serve.options.password_cost = cost
                    .filter(|cost| cost.params().is_ok() && cost.is_bearable())
                    .ok_or_else(|| wrong(text, COST_EXPECTED))?;
                Ok(())
            },
            COST_EXPECTED,
        ),
    },
    Flag {
        long: "max-connections",
        short: None,
        value: "N",
        text: "connections at the same time",
        default: || Some("as many files as the system allows".to_owned()),
        take: Take::Value(
            |draft, text| {
                let count = number::<usize>(text).filter(|count| *count > 0);
                draft.serve.options.settings.max_connections =
                    count.ok_or_else(|| wrong(text, COUNT_EXPECTED))?;
                Ok(())
            },
            COUNT_EXPECTED,
        ),
    },
    Flag {
        long: "login-timeout",
        short: None,
        value: "TIME",
        text: "for connections without a session",
        default: || Some(show_time(limits::LOGIN_TIMEOUT_MS)),
        take: Take::Value(
            |draft, text| set_timeout(&mut draft.serve.options.timeouts.login_ms, text),
            TIMEOUT_EXPECTED,
        ),
    },
    Flag {
        long: "idle-timeout",
        short: None,
        value: "TIME",
        text: "for connections that send nothing",
        default: || Some(show_time(limits::IDLE_TIMEOUT_MS)),
        take: Take::Value(
            |draft, text| set_timeout(&mut draft.serve.options.timeouts.idle_ms, text),
            TIMEOUT_EXPECTED,
        ),
    },
    Flag {
        long: "slow-timeout",
        short: None,
        value: "TIME",
        text: "for clients that do not read",
        default: || Some(show_time(limits::SLOW_TIMEOUT_MS)),
        take: Take::Value(
            |draft, text| set_timeout(&mut draft.serve.options.timeouts.slow_ms, text),
            TIMEOUT_EXPECTED,
        ),
    },
    Flag {
        long: "login-failures",
        short: None,
        value: "N",
        text: "a minute, for a number or an address; 0: no limit",
        default: || Some(limits::LOGIN_FAILURES.to_string()),
        take: Take::Value(
            |draft, text| set_limit(&mut draft.serve.options.settings.login_failures, text),
            LIMIT_EXPECTED,
        ),
    },
    Flag {
        long: "registrations",
        short: None,
        value: "N",
        text: "a minute, from an address; 0: no limit",
        default: || Some(limits::REGISTRATIONS.to_string()),
        take: Take::Value(
            |draft, text| set_limit(&mut draft.serve.options.settings.registrations, text),
            LIMIT_EXPECTED,
        ),
    },
    Flag {
        long: "requests",
        short: None,
        value: "RATE,BURST",
        text: "of a session, a second and at once; 0: no limit",
        default: || Some(format!("{},{}", limits::REQUESTS_PER_SECOND, limits::REQUESTS_BURST)),
        take: Take::Value(
            |draft, text| {
                let rate = if text == "0" { Some((0, 0)) } else { pair(text) };
                let (rate, burst) = rate
                    .filter(|(rate, burst)| *rate == 0 || *burst > 0)
                    .ok_or_else(|| wrong(text, RATE_EXPECTED))?;
                let settings = &mut draft.serve.options.settings;
                (settings.requests_per_second, settings.requests_burst) = (rate, burst);
                Ok(())
            },
            RATE_EXPECTED,
        ),
    },
    Flag {
        long: "connections",
        short: None,
        value: "N",
        text: "a minute, from an address; 0: no limit",
        default: || Some(limits::CONNECTIONS.to_string()),
        take: Take::Value(
            |draft, text| set_limit(&mut draft.serve.options.settings.connections, text),
            LIMIT_EXPECTED,
        ),
    },
    Flag {
        long: "mailbox-messages",
        short: None,
        value: "N",
        text: "undelivered messages that a user can have",
        default: || Some(limits::MAILBOX_MESSAGES.to_string()),
        take: Take::Value(
            |draft, text| {
                let count = number::<u32>(text).filter(|count| *count > 0);
                draft.serve.options.settings.mailbox_messages =
                    count.ok_or_else(|| wrong(text, COUNT_EXPECTED))?;
                Ok(())
            },
            COUNT_EXPECTED,
        ),
    },
    Flag {
        long: "mailbox-size",
        short: None,
        value: "SIZE",
        text: "text in a user's undelivered messages",
        default: || Some(show_size(limits::MAILBOX_BYTES)),
        take: Take::Value(
            |draft, text| {
                let size = parse_size(text).ok().filter(|size| *size > 0);
                draft.serve.options.settings.mailbox_bytes =
                    size.ok_or_else(|| wrong(text, SIZE_EXPECTED))?;
                Ok(())
            },
            SIZE_EXPECTED,
        ),
    },
    Flag {
        long: "black-box",
        short: None,
        value: "SIZE",
        text: "how much of the latest input is kept for replay, in DIR/black-box; 0: none",
        default: || Some(show_size(limits::BLACK_BOX_BYTES)),
        take: Take::Value(
            |draft, text| {
                let size = parse_size(text).map_err(|_| wrong(text, BOX_EXPECTED))?;
                draft.serve.options.black_box_bytes = size;
                Ok(())
            },
            BOX_EXPECTED,
        ),
    },
    Flag {
        long: "black-box-text",
        short: None,
        value: "MODE",
        text: "whether messages and files stand in it as they came, on, or as fillers of the same \
               length, off; passwords are never in it",
        default: || Some("on".to_owned()),
        take: Take::Value(
            |draft, text| {
                draft.serve.options.black_box_texts = match text {
                    "on" => Texts::Kept,
                    "off" => Texts::Blanked,
                    _ => return Err(wrong(text, TEXTS_EXPECTED)),
                };
                Ok(())
            },
            TEXTS_EXPECTED,
        ),
    },
    Flag {
        long: "config",
        short: Some('c'),
        value: "FILE",
        text: "options from a file: one a line, as `--name value`, # comments; the command line \
               wins, errors name file and line",
        default: || None,
        take: Take::Config,
    },
    Flag {
        long: VERBOSE,
        short: Some('v'),
        value: "",
        text: "more on standard error; may be repeated",
        default: || None,
        take: Take::Flag(|draft| draft.serve.verbose = draft.serve.verbose.saturating_add(1)),
    },
    Flag {
        long: "help",
        short: Some('h'),
        value: "",
        text: "this page",
        default: || None,
        take: Take::Help,
    },
    Flag {
        long: "version",
        short: Some('V'),
        value: "",
        text: "the version",
        default: || None,
        take: Take::Version,
    },
];

/// The help page.
pub(super) fn page() -> Page {
    let row = |flag: &Flag| {
        let short = flag.short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let left = format!("{short}--{} {}", flag.long, flag.value);
        let row = Row::new(left.trim_end(), flag.text);
        match (flag.default)() {
            Some(default) => row.or(default),
            None => row,
        }
    };
    Page::new("oicqd [OPTIONS]")
        .about("An instant-messaging server for the OICQ protocol of 2002, on its own log.")
        .section("Options", FLAGS.iter().map(row).collect())
        .note(
            "Sizes take KiB, MiB and GiB, and a bare number is bytes. Times need ms, s or min. Of \
             an option that may not be repeated the last counts.",
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Durability;

    /// Sets one option, as the first of its place.
    fn set(long: &str, values: &[&str]) -> Result<Options, ValueError> {
        let flag = FLAGS.iter().find(|flag| flag.long == long).unwrap();
        let mut draft = Draft::default();
        for value in values {
            draft.begin_option(flag);
            match &flag.take {
                Take::Value(set, _) => set(&mut draft, value)?,
                Take::Path(set) => set(&mut draft, OsString::from(value)),
                _ => panic!("{long} takes no value"),
            }
        }
        Ok(draft.serve.options)
    }

    fn accepts(long: &str, value: &str) -> Options {
        set(long, &[value]).unwrap_or_else(|error| panic!("--{long}: {error}"))
    }

    fn refuses(long: &str, values: &[&str]) {
        for value in values {
            let error = set(long, &[value]).expect_err(value);
            assert_eq!(error.given, *value, "--{long}");
        }
    }

    #[test]
    fn listen_takes_addresses_of_both_families_and_replaces_the_default() {
        let listen = set("listen", &["0.0.0.0:1", "[::1]:0"]).unwrap().listen;
        assert_eq!(listen, ["0.0.0.0:1".parse().unwrap(), "[::1]:0".parse().unwrap()]);
        refuses("listen", &["", "8000", "localhost:1", "127.0.0.1", "127.0.0.1:65536", "::1:80"]);
    }

    #[test]
    fn durability_has_three_modes() {
        assert_eq!(accepts("durability", "always").durability, Durability::Always);
        assert_eq!(accepts("durability", "never").durability, Durability::Never);
        assert_eq!(accepts("durability", "interval=2s").durability, Durability::Interval(2_000));
        refuses(
            "durability",
            &["", "Always", "interval", "interval=", "interval=5", "interval=0s"],
        );
    }

    #[test]
    fn segment_sizes_are_those_that_the_log_has() {
        assert_eq!(accepts("segment-size", "64KiB").segment_bytes, 65_536);
        assert_eq!(accepts("segment-size", "1048576").segment_bytes, 1 << 20);
        refuses("segment-size", &["0", "1KiB", "3GiB", "64kb", "-1"]);
    }

    #[test]
    fn operators_add_up() {
        let operators = set("operator", &["10001", "10002", "10001"]).unwrap().settings.operators;
        assert!(operators.into_iter().eq([ServiceNumber(10_001), ServiceNumber(10_002)]));
        refuses("operator", &["", "0", "10000", "+10001", "4294967296", "ann"]);
    }

    #[test]
    fn a_service_kind_has_one_number_and_a_number_one_kind() {
        let values = ["fax=10001", "chat=10002", "fax=10001"];
        let services = set("service", &values).unwrap().settings.services;
        assert_eq!(services.get(&Kind::Fax), Some(&ServiceNumber(10_001)));
        assert_eq!(services.get(&Kind::Chat), Some(&ServiceNumber(10_002)));
        refuses("service", &["fax", "fax=", "web=10001", "user=10001", "=10001", "print=1"]);
        assert!(set("service", &["fax=10001", "fax=10002"]).is_err());
        assert!(set("service", &["fax=10001", "print=10001"]).is_err());
    }

    #[test]
    fn charset_and_registration_take_their_words_alone() {
        assert_eq!(accepts("charset", "gb18030").settings.charset, Charset::Gb18030);
        assert_eq!(accepts("charset", "utf-8").settings.charset, Charset::Utf8);
        refuses("charset", &["", "UTF-8", "gbk"]);
        assert!(!accepts("registration", "closed").settings.registration_open);
        assert!(accepts("registration", "open").settings.registration_open);
        refuses("registration", &["", "Open", "no"]);
    }

    #[test]
    fn password_costs_are_those_that_argon2_takes() {
        let cost = Cost { memory_kib: 8, passes: 1 };
        assert_eq!(accepts("password-cost", "8,1").password_cost, cost);
        refuses("password-cost", &["", "8", "7,1", "8,0", "8,1,1", "8, 1", "-8,1"]);
        refuses("password-cost", &["262145,1", "262144,5", "8,4294967295"]);
    }

    #[test]
    fn counts_are_positive_and_limits_may_be_none() {
        assert_eq!(accepts("max-connections", "1").settings.max_connections, 1);
        assert_eq!(accepts("mailbox-messages", "5").settings.mailbox_messages, 5);
        assert_eq!(accepts("mailbox-size", "2KiB").settings.mailbox_bytes, 2_048);
        for long in ["max-connections", "mailbox-messages", "mailbox-size"] {
            refuses(long, &["", "0", "-1", "x"]);
        }
        assert_eq!(accepts("login-failures", "0").settings.login_failures, 0);
        assert_eq!(accepts("registrations", "3").settings.registrations, 3);
        assert_eq!(accepts("connections", "7").settings.connections, 7);
        for long in ["login-failures", "registrations", "connections"] {
            refuses(long, &["", "-1", "4294967296", "5s"]);
        }
    }

    #[test]
    fn requests_have_a_rate_and_a_burst_or_no_limit() {
        let requests = |text| {
            let settings = accepts("requests", text).settings;
            (settings.requests_per_second, settings.requests_burst)
        };
        assert_eq!(requests("10,20"), (10, 20));
        assert_eq!(requests("0").0, 0);
        assert_eq!(requests("0,5").0, 0);
        refuses("requests", &["", "10", "10,0", "10,", ",10", "a,b"]);
    }

    #[test]
    fn the_black_box_may_be_none_and_may_leave_texts_out() {
        assert_eq!(accepts("black-box", "0").black_box_bytes, 0);
        assert_eq!(accepts("black-box", "1MiB").black_box_bytes, 1 << 20);
        refuses("black-box", &["", "-1", "64 MiB", "off"]);
        assert_eq!(accepts("black-box-text", "off").black_box_texts, Texts::Blanked);
        assert_eq!(accepts("black-box-text", "on").black_box_texts, Texts::Kept);
        refuses("black-box-text", &["", "0", "ON"]);
    }

    #[test]
    fn timeouts_are_longer_than_nothing() {
        assert_eq!(accepts("login-timeout", "1ms").timeouts.login_ms, 1);
        assert_eq!(accepts("idle-timeout", "5min").timeouts.idle_ms, 300_000);
        assert_eq!(accepts("slow-timeout", "2s").timeouts.slow_ms, 2_000);
        for long in ["login-timeout", "idle-timeout", "slow-timeout"] {
            refuses(long, &["", "0s", "30", "s"]);
        }
    }

    #[test]
    fn data_takes_any_path() {
        assert_eq!(accepts("data", "a b/c").data, std::path::PathBuf::from("a b/c"));
    }

    #[test]
    fn no_name_is_given_twice() {
        let longs: BTreeSet<_> = FLAGS.iter().map(|flag| flag.long).collect();
        assert_eq!(longs.len(), FLAGS.len());
        let shorts: Vec<_> = FLAGS.iter().filter_map(|flag| flag.short).collect();
        assert_eq!(shorts.iter().collect::<BTreeSet<_>>().len(), shorts.len());
    }
}
