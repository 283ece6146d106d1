//! `oicq-tools client` with scripts, against the real server.

use std::fs;

use oicq::wire::Code;

use crate::live::{PASSWORD, Script, Server, folder, heard};

/// A new user, in session; its number.
pub(crate) fn register(script: &mut Script, nickname: &str) -> String {
    script.say(&format!("register {nickname} password={PASSWORD}"));
    let line = script.until("registered number=");
    let number = line.rsplit('=').next().unwrap().to_owned();
    script.until("done command=register");
    script.say(&format!("login {number} password={PASSWORD}"));
    script.until("done command=login");
    number
}

#[test]
fn two_clients_become_friends_and_talk() {
    let server = Server::start(&[]);
    let mut ann = Script::start(server.address(), &[]);
    let mut bob = Script::start(server.address(), &[]);
    assert_eq!(ann.until("connected"), format!("connected server={}", server.address()));
    let (a, b) = (register(&mut ann, "ann"), register(&mut bob, "bob"));
    ann.say(&format!("add {b}"));
    ann.until(&format!("agreed from={b}"));
    bob.until(&format!("added from={a}"));
    ann.say(&format!("send {b} 你好, \"bob\""));
    let line = bob.until("message");
    assert!(line.contains(&format!("from={a}")) && line.contains("你好, \\\"bob\\\""), "{line}");
    bob.say(&format!("send {a} hello there"));
    assert!(ann.until("message").ends_with("text=\"hello there\""));
    ann.say("group add Work");
    ann.until("group-added group=2 name=Work");
    ann.say(&format!("move {b} Work"));
    ann.until("friends-moved");
    ann.say("broadcast all everybody");
    assert!(bob.until("message").contains("everybody"));
    ann.say("search select * from users where nickname = 'bob'");
    assert!(ann.until("user ").contains(&format!("number={b}")));
    ann.until("found count=1");
    ann.say("online");
    ann.until("online count=2");
    ann.say("group delete 1");
    let refused = ann.until("refused");
    assert!(refused.starts_with("refused type=0x08 code=not-allowed"), "{refused}");
    for script in [ann, bob] {
        let (status, _, errors) = script.end();
        assert_eq!((status, &*errors), (Some(0), ""), "a refusal is no failure");
    }
}

#[test]
fn a_file_goes_from_one_to_the_other() {
    let server = Server::start(&[]);
    let folder = folder();
    let (from, to) = (folder.path().join("big file.bin"), folder.path().join("in"));
    fs::create_dir(&to).unwrap();
    let content: Vec<u8> =
        (0..3_000_000_u32).flat_map(|n| n.to_le_bytes()).take(5_000_000).collect();
    fs::write(&from, &content).unwrap();
    let mut ann = Script::start(server.address(), &[]);
    let mut bob = Script::start(server.address(), &["--downloads", to.to_str().unwrap()]);
    let (a, b) = (register(&mut ann, "ann"), register(&mut bob, "bob"));
    ann.say(&format!("add {b}"));
    ann.until("agreed");
    ann.say(&format!("file send {b} \"{}\"", from.display()));
    let offered = bob.until("file-offered");
    assert!(offered.contains(&format!("from={a}")) && offered.contains("length=5000000"));
    bob.say(&format!("file accept {a}"));
    bob.until("file-received");
    ann.until("file-sent");
    assert!(fs::read(to.join("big file.bin")).unwrap() == content, "byte by byte the same");
    assert_eq!((ann.end().0, bob.end().0), (Some(0), Some(0)));
}

#[test]
fn a_whole_script_waits_for_what_it_says() {
    let server = Server::start(&[]);
    let mut kim = server.user("kim");
    let mut script = Script::start(server.address(), &[]);
    let number = register(&mut script, "ann");
    script.say(&format!("wait message from={} text=go 20s", kim.own));
    script.say("wait message from=1 50ms");
    let number = oicq::id::ServiceNumber(number.parse().unwrap());
    kim.tell(number, "wait");
    kim.tell(number, "go");
    script.until("timeout");
    let (status, _, errors) = script.end();
    assert_eq!(status, Some(1));
    assert!(errors.contains("line 4 of the commands"), "{errors}");
}

#[test]
fn a_server_that_stops_is_a_lost_connection() {
    let server = Server::start(&[]);
    let mut script = Script::start(server.address(), &[]);
    register(&mut script, "ann");
    server.stop();
    let notice = script.until("notice");
    assert!(notice.contains(&format!("code={}", Code::Shutdown)), "{notice}");
    let (status, _, errors) = script.end();
    assert_eq!((status, errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(!errors.contains(PASSWORD));
}

#[test]
fn gb18030_is_spoken_where_the_server_does() {
    let server = Server::start(&["--charset", "gb18030"]);
    let mut kim = server.user("kim");
    let mut script = Script::start(server.address(), &["--charset", "gb18030"]);
    register(&mut script, "安");
    script.say(&format!("send {} 你好", kim.own));
    let got = kim.get();
    assert!(got.content.windows(4).any(|bytes| bytes == [0xC4, 0xE3, 0xBA, 0xC3]), "{got:?}");
    assert_eq!(script.end().0, Some(0));
    assert_eq!(heard(&got).0.0, 10_002);
}
