//! Passwords appear nowhere: not in the data folder, not on standard error, not in what tools print.

use std::fs;
use std::path::{Path, PathBuf};

use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::wire::client::Account;
use oicq::wire::{Code, Request};

use crate::live::{Script, Server, result, tool, wait_for};

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
