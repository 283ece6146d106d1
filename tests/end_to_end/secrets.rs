//! Passwords appear nowhere: not in the data folder, not on standard error, not in what tools print, and in the
//! server's memory no longer than they are needed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::wire::client::Account;
use oicq::wire::{Code, Request};
use serde_json::Value;

use crate::live::{Client, PASSWORD, Script, Server, log_in, register, result, tool, wait_for};

const FIRST: &str = "Zq7-first-Xw";
const SECOND: &str = "Zq7-second-Xw";
const WRONG: &str = "Zq7-wrong-Xw";
/// What all of them share.
const MARK: &str = "Zq7-";

fn has_mark(bytes: &[u8]) -> bool {
    let encoded = [MARK.to_owned(), "5a71372d".to_owned(), "[90, 113, 55, 45".to_owned()];
    encoded.iter().any(|mark| bytes.windows(mark.len()).any(|window| window == mark.as_bytes()))
}

/// The costs of the hashes that stand in the files of a folder, in the order of the files' names and bytes.
fn costs(folder: &Path) -> Vec<String> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    paths.sort();
    let mut costs = Vec::new();
    for path in paths.iter().filter(|path| path.is_file()) {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let hashes = text.split("$argon2id$v=19$").skip(1);
        costs.extend(hashes.map(|hash| hash.split('$').next().unwrap().to_owned()));
    }
    costs
}

#[test]
fn a_hash_of_another_cost_is_made_anew_when_its_user_logs_in() {
    let mut dearer = Server::start(&["--password-cost", "16,2"]);
    let (ann, _ben) = (dearer.offline_user("ann"), dearer.offline_user("ben"));
    dearer.stop_in_place();
    let server = dearer.again_with(&[]);
    let data = server.data().to_owned();
    let rehashed = || result("replay", &data, &["--kind", "password-rehashed"]);
    let (_session, _) = server.back(ann);
    wait_for("there is a new hash", || (!rehashed().is_empty()).then_some(()));
    assert!(rehashed().contains(r#"10001 "ann", the same password"#));
    assert_eq!(costs(&data), ["m=16,t=2,p=1", "m=16,t=2,p=1", "m=8,t=1,p=1"]);
    assert!(costs(&data.join("black-box")).is_empty());
    // The nearest login is the first one.
    let asked = ["login", "10001", "2003-01-01"];
    let (_, told, errors) = tool("why", &data, &asked);
    let lines: Vec<_> = told.lines().collect();
    let events = rehashed();
    let seq = events.split_whitespace().next().unwrap();
    assert!(lines.len() == 2 && lines[0].contains("accepted"), "{told}{errors}");
    let anew = format!(r#"  10001 "ann": the password was hashed anew, event {seq}"#);
    assert!(lines[1].ends_with(&anew), "{told}");
    let (_, told, _) = tool("why", &data, &[&asked[..], &["--format", "json"]].concat());
    let objects: Vec<Value> =
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let step = lines[1].split_whitespace().next().unwrap();
    assert_eq!(
        ["what", "user", "seq", "step"].map(|name| objects[1][name].to_string()),
        [r#""rehashed""#, "10001", seq, step]
    );
    assert!(objects[1]["time"].is_string() && objects[1].as_object().unwrap().len() == 5);

    let mut server = server.crash();
    let (_session, _) = server.back(ann);
    server.stop_in_place();
    assert_eq!(rehashed().lines().count(), 1, "it is up to date");
    assert_eq!(tool("compact", &data, &["--drop-black-box"]).0, Some(0));
    let server = server.again();
    let (_session, _) = server.back(ann);
    assert_eq!(rehashed(), "", "the base has the new one");
}

#[test]
fn a_server_leaves_no_core() {
    let server = Server::start(&[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

#[test]
fn a_password_is_seen_nowhere_however_much_is_said() {
    let mut server = Server::start(&["-vvv"]);
    let mut ann = server.connect();
    let number = ann.register("ann", FIRST);
    assert_eq!(ann.is_not_let_in(number, WRONG).0, Code::BadLogin);
    ann.log_in_with(number, FIRST);
    let profile = Profile { nickname: b"ann", ..Profile::default() };
    let account = Account { profile, password: Secret::new(SECOND.as_bytes()), authentication: 0 };
    ann.quietly(Request::ChangeProfile(account));
    ann.log_out();
    assert_eq!(ann.is_not_let_in(number, FIRST).0, Code::BadLogin, "it has changed");
    ann.log_in_with(number, SECOND);
    // A login that is no packet at all is spoken of, too.
    let mut broken = server.connect();
    broken.own = number;
    let mut bytes = broken.bytes(crate::live::log_in(WRONG));
    bytes.push(0);
    bytes[7] += 1;
    broken.send_bytes(&bytes);
    broken.is_closed_with(0x02, Code::Malformed);

    let mut script = Script::start(server.address(), &[]);
    script.say(&format!("login {number} password={WRONG}"));
    script.until("refused");
    script.say(&format!("login {number} password={SECOND}"));
    script.until("done command=login");
    let seen = script.seen.join("\n");
    let (_, rest, errors) = script.end();
    assert!(!has_mark(format!("{seen}{rest:?}{errors}").as_bytes()));

    let data = server.data().to_owned();
    for options in [&[][..], &["--format", "json"], &["--state"], &["--state", "--format", "json"]]
    {
        let shown = result("replay", &data, options);
        assert!(!has_mark(shown.as_bytes()) && !shown.contains("$argon2"), "{options:?}: {shown}");
    }
    let said = server.stop_in_place().stderr;
    assert!(!said.is_empty() && !has_mark(said.as_bytes()), "{said}");
    let folders = [data.clone(), data.join("black-box")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    let is_box = |path: &&PathBuf| path.extension().is_some_and(|end| end == "box");
    assert!(paths.iter().any(|path| is_box(&path)), "{paths:?}");
    for path in paths.iter().filter(|path| path.is_file()) {
        assert!(!has_mark(&fs::read(path).unwrap()), "{}", path.display());
    }
}

/// The passwords that stand anywhere in the memory that a server may write to.
fn remembered(server: &Server) -> BTreeSet<String> {
    let place = format!("/proc/{}", server.pid());
    let memory = File::open(format!("{place}/mem")).unwrap();
    let maps = fs::read_to_string(format!("{place}/maps")).unwrap();
    let mut found = BTreeSet::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // What was given back since the list was made cannot be read.
        if memory.read_exact_at(&mut bytes, from).is_err() {
            continue;
        }
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == MARK.as_bytes()[0]);
        for bytes in starts.map(|(at, _)| &bytes[at..]) {
            if bytes.starts_with(MARK.as_bytes()) {
                let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-';
                found.insert(
                    bytes.iter().take_while(is_part).map(|byte| char::from(*byte)).collect(),
                );
            }
        }
    }
    found
}

#[test]
fn a_password_that_is_never_looked_at_leaves_nothing_in_memory() {
    let server = Server::start(&[]);
    // Whoever is answered after others have said something knows that it has been read, or that they are accepted.
    let mut ann = server.user("ann");
    let files = || fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let before = files();
    let account = |password: &'static str| Account {
        profile: Profile {
            nickname: b"eve",
            hobbies: &[b'h'; 1_000],
            description: &[b'd'; 1_000],
            ..Profile::default()
        },
        password: Secret::new(password.as_bytes()),
        authentication: 0,
    };
    let mut says = |client: &mut Client, bytes: &[u8]| {
        client.send_bytes(bytes);
        (0..2).for_each(|_| assert_eq!(ann.pending(), []));
    };

    let mut half = server.connect();
    let bytes = half.bytes(log_in("Zq7-half-a-login"));
    says(&mut half, &bytes[..bytes.len() - 1]);
    assert!(remembered(&server).contains("Zq7-half-a-login"), "it waits for its rest");
    drop(half);

    let mut pieces = server.connect();
    let bytes = pieces.bytes(Request::Register(account("Zq7-in-pieces")));
    bytes[..bytes.len() - 1].chunks(150).for_each(|piece| says(&mut pieces, piece));
    drop(pieces);

    let mut session = server.user("ben");
    let bytes = session.bytes(Request::ChangeProfile(account("Zq7-half-a-change")));
    bytes[..bytes.len() - 1].chunks(700).for_each(|piece| says(&mut session, piece));
    drop(session);

    let mut behind = server.connect();
    behind.own = server.offline_user("kim");
    let mut bytes = behind.bytes(log_in(PASSWORD));
    bytes.extend(behind.bytes(register("eve", "Zq7-behind-a-login", 0)));
    behind.send_bytes(&bytes);
    let answers = behind.pending();
    assert!(answers.iter().any(|got| matches!(got.notice(), Some((_, Code::AlreadyLoggedIn, _)))));
    drop(behind);

    let mut no_packet = server.connect();
    let bytes = no_packet.bytes(log_in("Zq7-no-packet"));
    no_packet.send_bytes(&[b"x", &bytes[..]].concat());
    no_packet.is_closed_with(0, Code::Malformed);
    let bytes = no_packet.bytes(log_in("Zq7-after-the-end"));
    says(&mut no_packet, &bytes);
    drop(no_packet);

    let mut too_large = server.connect();
    let mut bytes = too_large.bytes(log_in("Zq7-too-large"));
    bytes[4..8].fill(1);
    too_large.send_bytes(&bytes);
    too_large.is_closed_with(0x02, Code::TooLarge);
    drop(too_large);

    wait_for("all of them are gone", || (files() <= before).then_some(()));
    assert_eq!(remembered(&server), BTreeSet::new());
}
