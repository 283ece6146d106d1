//! A full disk: changes are refused, everything else goes on, restarts included, and it ends by itself.
//!
//! There are two of them: a limit on the size of files, which every system has, and a small file system in memory,
//! where the system lets anybody mount one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::{Code, Request, ServerPacket};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

use crate::live::{
    Client, PASSWORD, Server, digest, folder, groups, message, oicqd, register, result, stat,
    texts, wait_for,
};

const ANN: ServiceNumber = ServiceNumber(10_001);
/// Room is the log's alone here.
const OPTIONS: &[&str] = &["--operator", "10001", "--black-box", "0"];
/// As `oicqd` of the kit has it.
const SEGMENT: u64 = 64 << 10;
const SMALL_DISK: u64 = 1 << 20;
const BEGINS: &str = "oicqd: warning: the disk is full: changes are refused until there is room\n";
const ENDS: &str = "oicqd: warning: there is room on the disk again: changes are taken\n";

/// A small file system that lives as long as the process whose own it is.
struct Mount {
    keeper: Child,
    root: PathBuf,
}

impl Mount {
    /// `None` where one may not mount.
    fn new() -> Option<Self> {
        let mut command = Command::new("unshare");
        let mount =
            format!("mount -t tmpfs -o size={SMALL_DISK} none /tmp && echo ready && exec cat");
        command.args(["-rm", "sh", "-c", &mount]).stdin(Stdio::piped());
        let mut keeper = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let root = PathBuf::from(format!("/proc/{}/root/tmp", keeper.id()));
        let mount = Self { keeper, root };
        (line == "ready\n").then_some(mount)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A disk whose room can be taken away and given back.
enum Disk {
    /// No new log file may be made.
    Limit { folder: TempDir, limit: Option<u64> },
    /// Another file takes all there is.
    Small(Mount),
}

impl Disk {
    /// All that can be had here; that one is left out is said.
    fn all() -> Vec<Self> {
        let mut all = vec![Self::Limit { folder: folder(), limit: None }];
        match Mount::new() {
            Some(mount) => all.push(Self::Small(mount)),
            None => {
                // Past the test runner, which shows nothing of a test that passes.
                let _ = writeln!(
                    std::io::stderr(),
                    "left out: a small file system, which cannot be mounted here"
                );
            }
        }
        all
    }

    fn data(&self) -> PathBuf {
        match self {
            Self::Limit { folder, .. } => folder.path().join("store"),
            Self::Small(mount) => mount.root.join("store"),
        }
    }

    fn limit(&self) -> Option<u64> {
        match self {
            Self::Limit { limit, .. } => *limit,
            Self::Small(_) => None,
        }
    }

    fn start(&self) -> Server {
        let data = self.data();
        Server::start_with(held(&data), &data, OPTIONS, |child| go(child, self.limit()))
    }

    /// The log cannot grow, by another file.
    fn take_room(&mut self, server: &Server) {
        match self {
            // What is written to the last file stays below its last byte.
            Self::Limit { limit, .. } => {
                *limit = Some(SEGMENT - 1);
                set_limit(server.pid(), *limit);
            }
            Self::Small(_) => self.take_all_room(),
        }
    }

    /// No byte more can be written by a server that is started.
    fn take_all_room(&mut self) {
        match self {
            Self::Limit { limit, .. } => *limit = Some(0),
            Self::Small(mount) => {
                let mut filler = std::fs::File::create(mount.root.join("filler")).unwrap();
                while filler.write_all(&[1; 512]).is_ok() {}
            }
        }
    }

    fn give_room(&mut self, server: Option<&Server>) {
        match self {
            Self::Limit { limit, .. } => {
                *limit = None;
                if let Some(server) = server {
                    set_limit(server.pid(), None);
                }
            }
            Self::Small(mount) => std::fs::remove_file(mount.root.join("filler")).unwrap(),
        }
    }
}

fn set_limit(pid: u32, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

/// A server's command that waits for a line, so that something can be done to its process before it begins.
fn held(data: &Path) -> Command {
    let inner = oicqd(data, OPTIONS);
    let mut command = Command::new("sh");
    command.args(["-c", "read line; exec \"$0\" \"$@\""]).arg(inner.get_program());
    command.args(inner.get_args()).stdin(Stdio::piped());
    command
}

fn go(child: &mut Child, limit: Option<u64>) {
    set_limit(child.id(), limit);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
}

fn is_refused(client: &mut Client, request: Request<'_>) {
    let all = client.ask(request);
    let notice = all.last().and_then(|got| got.notice());
    assert_eq!(notice.map(|notice| notice.1), Some(Code::StorageFull), "{request:?}: {all:?}");
}

/// Everybody who was there before the disk was full.
struct People {
    ann: Client,
    bob: Client,
    dan: ServiceNumber,
    eve: ServiceNumber,
    /// What waits for eve, who never comes before the end.
    waiting: Vec<String>,
}

const FOR_DAN: [&str; 3] = ["one", "two", "three"];

impl People {
    fn gather(server: &Server) -> Self {
        let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
        let (dan, eve) = (server.offline_user("dan"), server.offline_user("eve"));
        ann.befriend(&mut bob);
        ann.quietly(Request::Monitor { watched: bob.own });
        for text in FOR_DAN {
            bob.tell(dan, text);
        }
        assert_eq!(ann.pending().len(), FOR_DAN.len(), "she sees what bob says");
        Self { ann, bob, dan, eve, waiting: Vec::new() }
    }

    /// Bob writes to eve until nothing is taken any more, however small.
    fn fill(&mut self) {
        for length in [1_500, 100, 1] {
            loop {
                assert!(self.waiting.len() < 900, "the disk is full some time");
                let text = format!("{} {}", self.waiting.len(), "x".repeat(length));
                let all = self.bob.ask(message(self.eve, &text));
                if let Some((packet_type, code, _)) = all.iter().find_map(|got| got.notice()) {
                    assert_eq!((packet_type, code, all.len()), (0x03, Code::StorageFull, 1));
                    break;
                }
                self.waiting.push(text);
            }
        }
        // The smallest of all changes may just have room.
        self.ann.ask(Request::Monitor { watched: self.eve });
    }

    fn all_changes_are_refused(&mut self, server: &Server) {
        let (own, friend) = (self.ann.own, self.bob.own);
        for request in [
            message(friend, "hello?"),
            message(own, "x"),
            Request::Broadcast { group: GroupNumber::ALL.0.into(), content: b"all" },
            Request::AddGroup { name: b"work" },
            Request::RenameGroup { group: GroupNumber(1), name: b"all" },
            Request::AddFriend { friend: self.dan },
            Request::DeleteFriend { friend },
            Request::ChangeProfile(account("anna")),
            Request::Monitor { watched: self.dan },
        ] {
            is_refused(&mut self.ann, request);
        }
        is_refused(&mut server.connect(), register("new", PASSWORD, 0));
        assert_eq!(self.bob.pending(), [], "nothing has come of it");
    }

    fn everything_else_goes_on(&mut self, server: &Server) {
        let Self { ann, bob, .. } = self;
        bob.log_out();
        let (reply, waited) = bob.log_in_with(ServiceNumber(10_002), PASSWORD);
        assert_eq!((groups(&reply)[0].2.as_slice(), waited), (&[ann.own][..], vec![]));
        let (code, _) = server.connect().is_not_let_in(self.dan, "another");
        assert_eq!(code, Code::BadLogin);
        let profile = ann.reply(Request::ViewProfile { friend: bob.own });
        assert!(matches!(profile.packet(), ServerPacket::Profile { success: true, .. }));
        let found = ann.reply(Request::Search { statement: b"select * from users" });
        let ServerPacket::Found { success: true, users } = found.packet() else {
            panic!("{found:?}")
        };
        assert_eq!(users.len(), 4);
        for (mode, seen) in [(2, 1), (1, 2)] {
            bob.quietly(Request::SetMode { mode });
            let online = ann.reply(Request::ListOnline { start: ANN, count: 9, direction: 2 });
            let ServerPacket::Online { users, .. } = online.packet() else { panic!("{online:?}") };
            assert_eq!(users.len(), seen);
        }
        send_file(ann, bob);
    }
}

fn account(nickname: &str) -> Account<'_> {
    match register(nickname, PASSWORD, 0) {
        Request::Register(account) => account,
        other => panic!("{other:?}"),
    }
}

fn send_file(from: &mut Client, to: &mut Client) {
    from.quietly(Request::OfferFile { friend: to.own, name: b"a", length: 3 });
    assert_eq!(to.pending().len(), 1, "the offer");
    to.quietly(Request::AnswerFile { friend: from.own, allow: 1 });
    assert_eq!(from.pending().len(), 1, "the answer");
    from.quietly(Request::FilePiece { friend: to.own, data: b"abc" });
    let pieces = to.pending();
    let expected = ServerPacket::FilePiece { sender: from.own, data: b"abc" };
    assert_eq!((pieces.len(), pieces[0].packet()), (1, expected));
}

/// Events of a kind in the log.
fn count(server: &Server, kind: &str) -> usize {
    result("replay", server.data(), &["--kind", kind]).lines().count()
}

fn says(server: &Server, lines: &str) {
    wait_for(lines, || (server.stderr() == lines).then_some(()));
}

fn is_whole(server: &Server) {
    assert!(result("verify", server.data(), &[]).starts_with("whole: "));
}

#[test]
fn a_full_disk_refuses_changes_through_restarts_until_there_is_room() {
    for mut disk in Disk::all() {
        let mut server = disk.start();
        let mut people = People::gather(&server);
        disk.take_room(&server);
        people.fill();
        people.all_changes_are_refused(&server);
        people.everything_else_goes_on(&server);
        let (dan, waited) = server.back(people.dan);
        assert_eq!(texts(&waited), FOR_DAN);
        says(&server, BEGINS);
        let delivered = count(&server, "delivered");

        // In order: what is known to be delivered, and who no longer monitors, still has room.
        assert_eq!(server.stop_in_place().stderr, BEGINS, "said once");
        is_whole(&server);
        assert_eq!(count(&server, "monitoring-ended"), 1);
        assert!(count(&server, "delivered") > delivered);
        drop(dan);
        server = disk.start();
        assert_eq!(server.back(people.dan).1, [], "it was delivered");
        (people.ann, people.bob) = (server.back(ANN).0, server.back(ServiceNumber(10_002)).0);
        people.all_changes_are_refused(&server);
        people.everything_else_goes_on(&server);
        says(&server, BEGINS);

        // And with a kill.
        let before = digest(server.data());
        server.kill();
        server = disk.start();
        assert_eq!(digest(server.data()), before);
        (people.ann, people.bob) = (server.back(ANN).0, server.back(ServiceNumber(10_002)).0);
        people.all_changes_are_refused(&server);

        disk.give_room(Some(&server));
        let last = "there is room".to_owned();
        wait_for("changes are taken again", || {
            people.bob.ask(message(people.eve, &last)).is_empty().then_some(())
        });
        people.waiting.push(last);
        says(&server, &format!("{BEGINS}{ENDS}"));
        people.waiting.extend((0..100).map(|index| {
            let text = format!("after that {index} {}", "x".repeat(1_500));
            people.bob.tell(people.eve, &text);
            text
        }));
        assert_eq!(texts(&server.back(people.eve).1), people.waiting, "nothing is lost");
        assert_eq!(server.stop_in_place().stderr, format!("{BEGINS}{ENDS}"));
        is_whole(&server);
    }
}

#[test]
fn room_comes_back_without_a_restart_and_without_a_request() {
    for mut disk in Disk::all() {
        let server = disk.start();
        let mut people = People::gather(&server);
        for round in 1..=2 {
            disk.take_room(&server);
            people.fill();
            disk.give_room(Some(&server));
            says(&server, &format!("{BEGINS}{ENDS}").repeat(round));
            people.ann.pending();
            people.ann.reply(Request::RenameGroup { group: GroupNumber(1), name: b"all" });
        }
        server.stop();
    }
}

#[test]
fn a_limit_below_what_is_already_written_is_no_more_than_a_full_disk() {
    for limit in [0, 1_000, 5_000] {
        let mut server = Server::start(OPTIONS);
        let mut people = People::gather(&server);
        for text in 0..70 {
            people.bob.tell(people.eve, &text.to_string());
            people.waiting.push(text.to_string());
        }
        people.ann.pending();
        set_limit(server.pid(), Some(limit));
        people.all_changes_are_refused(&server);
        people.everything_else_goes_on(&server);
        set_limit(server.pid(), None);
        wait_for("changes are taken again", || {
            people.bob.ask(message(people.eve, "last")).is_empty().then_some(())
        });
        people.waiting.push("last".to_owned());
        says(&server, &format!("{BEGINS}{ENDS}"));
        people.ann.pending();
        set_limit(server.pid(), Some(limit));
        people.all_changes_are_refused(&server);
        assert_eq!(server.stop_in_place().stderr, format!("{BEGINS}{ENDS}{BEGINS}"), "{limit}");
        is_whole(&server);
        let server = server.again();
        assert_eq!(texts(&server.back(people.eve).1), people.waiting);
    }
}

/// What a server says that does not start.
fn start_fails(disk: &Disk) -> String {
    let mut child =
        held(&disk.data()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    go(&mut child, disk.limit());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert_eq!(output.stdout, b"");
    said
}

#[test]
fn a_start_that_needs_room_says_for_what_and_what_helps() {
    for mut disk in Disk::all() {
        let remedy = match disk {
            Disk::Limit { .. } => "; raise the limit on the size of files, and start again\n",
            Disk::Small(_) => "; make room on the disk, and start again\n",
        };
        let check = |said: &str, file: &str| {
            assert!(said.contains(file) && said.ends_with(remedy), "{said}");
        };
        let store = disk.data();
        disk.take_all_room();
        check(&start_fails(&disk), "next.tmp");
        disk.give_room(None);

        let mut server = disk.start();
        let mut people = People::gather(&server);
        for text in ["one", "two"] {
            people.bob.tell(people.eve, text);
        }
        server.kill();
        let used = stat(&store, "bytes");
        let path = store.join("00000000000000000001.log");
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        // In the last batch's checksum: as if it had been cut off while it was written.
        file.write_all_at(b"torn", used - 8).unwrap();
        let _ = std::fs::remove_file(store.join("next.tmp"));
        disk.take_all_room();
        for _ in 0..2 {
            check(&start_fails(&disk), "torn.tmp");
            assert!(!store.join("torn.tmp").exists(), "it takes no room itself");
        }
        disk.give_room(None);
        server = disk.start();
        assert_eq!(texts(&server.back(people.eve).1), ["one"], "the torn one was cut off");
        is_whole(&server);
    }
}
