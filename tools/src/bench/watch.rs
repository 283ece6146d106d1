//! What a measurement costs whom: the processor's time and the memory of processes of this machine, as Linux
//! tells it under `/proc`.
//!
//! It knows which process is at the other end of a connection, where that is on this machine and may be looked
//! at. What it cannot find out is `None`, and never a guess.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use rustix::param::clock_ticks_per_second;

/// The processor's time up to one moment, in ticks of the system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    at_ns: u64,
    server: Option<u64>,
    own: Option<u64>,
    all: Option<u64>,
}

/// How much of one processor each has used between two moments, in percent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Work {
    /// The server or relay.
    pub(crate) server: Option<u64>,
    /// The load generator.
    pub(crate) generator: Option<u64>,
    /// Everything else on the machine; several processors make more than 100.
    pub(crate) others: Option<u64>,
}

/// Above this a single thread has hardly any time left, in percent.
const BUSY: u64 = 90;

/// Over less time than this, shares are not told: the system counts in ticks, one or two of which are too little or
/// too much.
const TICKS_MIN: u64 = 20;

/// Who could not do more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limit {
    /// The server or relay.
    Server,
    /// The load generator: the server could do more than was measured.
    Generator,
    /// Both: it cannot be told which of them comes first.
    Both,
    /// Both had nothing to do for a part of the time: the disk, messages under way too few, or other programs.
    Waiting,
    /// The server's processor time is not known.
    Unknown,
}

impl Limit {
    /// For programs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Generator => "generator",
            Self::Both => "both",
            Self::Waiting => "waiting",
            Self::Unknown => "unknown",
        }
    }
}

impl Work {
    /// Who could not do more.
    pub(crate) const fn limit(&self) -> Limit {
        match (self.server, self.generator) {
            (Some(BUSY..), Some(BUSY..)) => Limit::Both,
            (Some(BUSY..), _) => Limit::Server,
            (_, Some(BUSY..)) => Limit::Generator,
            (Some(_), Some(_)) => Limit::Waiting,
            _ => Limit::Unknown,
        }
    }

    /// What lies between two samples.
    pub(crate) fn between(before: &Sample, after: &Sample) -> Self {
        let ns = after.at_ns.saturating_sub(before.at_ns).max(1);
        let ns_per_tick = 1_000_000_000 / clock_ticks_per_second().max(1);
        if ns < TICKS_MIN * ns_per_tick {
            return Self::default();
        }
        let ticks =
            |one: fn(&Sample) -> Option<u64>| Some(one(after)?.saturating_sub(one(before)?));
        let percent = |ticks: u64| (ticks * ns_per_tick).saturating_mul(100) / ns;
        let (server, own) = (ticks(|sample| sample.server), ticks(|sample| sample.own));
        let ours = server.unwrap_or(0) + own.unwrap_or(0);
        let others = ticks(|sample| sample.all).map(|all| all.saturating_sub(ours));
        Self {
            server: server.map(percent),
            generator: own.map(percent),
            others: others.filter(|_| server.is_some()).map(percent),
        }
    }
}

/// Where to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    server: Option<u32>,
}

/// What a process holds in memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Memory {
    /// All pages that it has in memory.
    pub(crate) resident: u64,
    /// The same, where a page that others have too counts in part.
    pub(crate) proportional: u64,
}

/// What a process holds and could hold on to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Holds {
    /// Memory of its own in bytes. Pages of files, such as the log's, are the system's to take back.
    pub(crate) memory: u64,
    /// Open files, without those of a log, which grows with what is kept in it.
    pub(crate) files: u64,
}

impl Watch {
    /// Looks at this process.
    pub(crate) const fn over(server: Option<u32>) -> Self {
        Self { server }
    }

    /// The processor's time so far.
    pub(crate) fn sample(&self, at_ns: u64) -> Sample {
        let of = |process: &str| ticks_of_process(&read(&format!("/proc/{process}/stat"))?);
        Sample {
            at_ns,
            server: self.server.and_then(|id| of(&id.to_string())),
            own: of("self"),
            all: read("/proc/stat").and_then(|text| ticks_of_machine(&text)),
        }
    }

    /// What the server holds now. It takes nothing from the server's time, as a look at each of its pages would.
    pub(crate) fn holds(&self) -> Option<Holds> {
        let id = self.server?;
        let memory = kilobytes(&read(&format!("/proc/{id}/status"))?, "RssAnon:")?;
        let links = fs::read_dir(format!("/proc/{id}/fd")).ok()?.flatten();
        let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
        // The next one has another name until it is needed.
        let of_log =
            |target: &PathBuf| target.extension().is_some_and(|end| end == "log" || end == "tmp");
        let files = targets.filter(|target| !of_log(target));
        Some(Holds { memory, files: files.count() as u64 })
    }

    /// The memory of the server now.
    pub(crate) fn memory(&self) -> Option<Memory> {
        let text = read(&format!("/proc/{}/smaps_rollup", self.server?))?;
        Some(Memory {
            resident: kilobytes(&text, "Rss:")?,
            proportional: kilobytes(&text, "Pss:")?,
        })
    }
}

/// The process at the other end of a connection.
pub(crate) fn process_behind(socket: &TcpStream) -> Option<u32> {
    let (here, there) = (socket.local_addr().ok()?.port(), socket.peer_addr().ok()?.port());
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| inode_of(&read(table)?, there, here))?;
    let socket = format!("socket:[{inode}]");
    let mut ids = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    ids.find(|id| has_file(&format!("/proc/{id}/fd"), &socket))
}

fn has_file(files: &str, name: &str) -> bool {
    // Processes of others cannot be looked into.
    let Ok(files) = fs::read_dir(files) else { return false };
    let is_it = |path: PathBuf| fs::read_link(path).is_ok_and(|target| target.as_os_str() == name);
    files.flatten().any(|file| is_it(file.path()))
}

/// The inode of the established connection between two ports, in a table of `/proc/net`.
fn inode_of(table: &str, local: u16, remote: u16) -> Option<u64> {
    const ESTABLISHED: &str = "01";
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, from, to, state, ..] = fields[..] else { return None };
        let is_it = port(from) == Some(local) && port(to) == Some(remote) && state == ESTABLISHED;
        if is_it { fields.get(9)?.parse().ok() } else { None }
    })
}

/// User and system time of a process, from its `stat`: fields 14 and 15, where the name, which may hold anything,
/// is field 2 in parentheses.
fn ticks_of_process(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// The time in which all processors together were not idle, from the first line of `/proc/stat`: `cpu user nice
/// system idle iowait irq softirq steal`.
fn ticks_of_machine(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line.split_whitespace().map_while(|time| time.parse().ok()).collect();
    let [user, nice, system, _, _, irq, softirq, steal, ..] = times[..] else { return None };
    Some(user + nice + system + irq + softirq + steal)
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn times_are_read_however_a_process_is_called() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4 100 0 0 0 120 30 5 6 20 0 3 0 99";
        assert_eq!(ticks_of_process(stat), Some(150));
        assert_eq!(ticks_of_process("7 (a) S 1"), None);
        let stat = "cpu  10 1 20 400 50 2 3 4 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(ticks_of_machine(stat), Some(40));
        assert_eq!(kilobytes("Rss:      12 kB\nPss:  3 kB\n", "Pss:"), Some(3_072));
    }

    #[test]
    fn the_other_end_of_a_connection_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(process_behind(&socket), Some(std::process::id()));
        drop(accepted);
    }

    #[test]
    fn shares_are_of_one_processor_and_the_busy_one_is_the_limit() {
        let tick_ns = 1_000_000_000 / clock_ticks_per_second();
        let sample = |at, server, own, all| Sample {
            at_ns: at * tick_ns,
            server: Some(server),
            own: Some(own),
            all: Some(all),
        };
        let work = Work::between(&sample(0, 0, 0, 0), &sample(100, 95, 50, 165));
        let expected = Work { server: Some(95), generator: Some(50), others: Some(20) };
        assert_eq!((work, work.limit()), (expected, Limit::Server));
        let work = Work::between(&sample(0, 0, 0, 0), &sample(TICKS_MIN - 1, 1, 1, 2));
        assert_eq!((work, work.limit()), (Work::default(), Limit::Unknown), "too short to tell");
        let work = Work { server: Some(60), generator: Some(97), others: None };
        assert_eq!(work.limit(), Limit::Generator);
        assert_eq!(Work { server: Some(92), ..work }.limit(), Limit::Both);
        assert_eq!(Work { generator: Some(50), ..work }.limit(), Limit::Waiting);
        assert_eq!(Work { server: None, generator: Some(5), others: None }.limit(), Limit::Unknown);
    }

    #[test]
    fn this_process_has_memory_and_spends_time() {
        let watch = Watch::over(Some(std::process::id()));
        assert!(watch.memory().unwrap().resident > 0);
        let before = watch.holds().unwrap();
        assert!(before.memory > 0, "{before:?}");
        let opened = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(watch.holds().unwrap().files > 0, "{opened:?} is open");
        assert!(watch.sample(0).all.is_some() && watch.sample(0).own.is_some());
        assert_eq!(Watch::over(None).memory(), None);
    }
}
