//! Passwords appear nowhere: not in the data folder, not on standard error, not in what tools print.

use std::fs;
use std::path::PathBuf;

use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::wire::client::Account;
use oicq::wire::{Code, Request};

use crate::live::{Script, Server, result};

const FIRST: &str = "Zq7-first-Xw";
const SECOND: &str = "Zq7-second-Xw";
const WRONG: &str = "Zq7-wrong-Xw";
/// What all of them share.
const MARK: &str = "Zq7-";

fn has_mark(bytes: &[u8]) -> bool {
    let encoded = [MARK.to_owned(), "5a71372d".to_owned(), "[90, 113, 55, 45".to_owned()];
    encoded.iter().any(|mark| bytes.windows(mark.len()).any(|window| window == mark.as_bytes()))
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
