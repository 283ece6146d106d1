//! `oicq-tools pack` over a real server: one file that replays elsewhere, and that gives nobody's words away.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use oicq::codec::charset::Charset;
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::{Code, Request};
use serde_json::Value;

use crate::live::{Client, PASSWORD, Server, digest, folder, result, stat, tool};

fn packed(data: &Path, out: PathBuf, options: &[&str]) -> PathBuf {
    let place = out.to_str().unwrap().to_owned();
    let (status, said, errors) = tool("pack", data, &[&[&*place], options].concat());
    assert_eq!((status, &*errors), (Some(0), ""), "{said}");
    assert!(said.starts_with(&format!("packed into {place}, ")), "{said}");
    out
}

fn bytes_of(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(file).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// Texts that stand nowhere else, in the charset of a server.
struct Planted {
    charset: Charset,
    texts: Vec<Vec<u8>>,
}

impl Planted {
    fn text(&mut self, name: &str) -> &'static [u8] {
        let text = self.charset.encode(&format!("独一{name}无二")).into_owned();
        self.texts.push(text.clone());
        self.texts.push(name.as_bytes().to_vec());
        Vec::leak(text)
    }

    fn profile(&mut self) -> Profile<'static> {
        Profile {
            nickname: self.text("Nick7"),
            real_name: self.text("Real7"),
            city: self.text("City7"),
            address: self.text("Address7"),
            zip_code: self.text("Zip7"),
            school: self.text("School7"),
            phone: self.text("Phone7"),
            pager: self.text("Pager7"),
            email: self.text("Email7"),
            hobbies: self.text("Hobby7"),
            description: self.text("Description7"),
            ..Profile::default()
        }
    }
}

fn account(profile: Profile<'_>) -> Account<'_> {
    Account { profile, password: Secret::new(PASSWORD.as_bytes()), authentication: 1 }
}

/// Everything that can be written is.
fn write_everything(server: &Server, planted: &mut Planted) -> ServiceNumber {
    let mut ann = server.connect();
    ann.send(Request::Register(account(planted.profile())));
    ann.get();
    ann.log_in(ServiceNumber(10_001));
    let mut ben: Client = server.user_with("ben", 1);
    let absent = server.offline_user("absent");
    ann.quietly(Request::RequestFriend { friend: ben.own, reason: planted.text("Reason7") });
    ben.ask(Request::AnswerRequest { friend: ann.own, consent: 1 });
    ann.ask(Request::AddGroup { name: planted.text("Group7") });
    let name = planted.text("Renamed7");
    ann.ask(Request::RenameGroup { group: GroupNumber(2), name });
    // To a name of the same length, and to the same name.
    let name = planted.text("Renamed8");
    ann.ask(Request::RenameGroup { group: GroupNumber(2), name });
    ann.ask(Request::RenameGroup { group: GroupNumber(2), name });
    ann.ask(Request::Send { receiver: ben.own, content: planted.text("Message7") });
    ann.quietly(Request::Send { receiver: absent, content: planted.text("Waiting7") });
    let content = planted.text("Broadcast7");
    ann.ask(Request::Broadcast { group: GroupNumber::ALL.0.into(), content });
    let quoted = |text: &[u8]| [b"select * from users where city = '", text, b"'"].concat();
    ann.ask(Request::Search { statement: &quoted(planted.text("City7")) });
    let statement = [b"select * from users where ", planted.text("Column7"), b" = 1"].concat();
    assert_eq!(ann.refused(Request::Search { statement: &statement }).0, Code::BadQuery);
    let name = planted.text("File7");
    ann.ask(Request::OfferFile { friend: ben.own, name, length: 9 });
    ben.ask(Request::AnswerFile { friend: ann.own, allow: 1 });
    ann.ask(Request::FilePiece { friend: ben.own, data: planted.text("Piece7") });
    let password = Secret::new(b"");
    let profile = Profile { nickname: planted.text("Nick8"), ..planted.profile() };
    ann.quietly(Request::ChangeProfile(Account { profile, password, authentication: 255 }));
    // The same again: nothing changes, and nothing is written.
    ann.quietly(Request::ChangeProfile(Account { profile, password, authentication: 255 }));
    ben.ask(Request::ViewProfile { friend: ann.own });
    absent
}

#[test]
fn a_redacted_file_gives_nothing_away_and_replays() {
    for (name, charset) in [("utf-8", Charset::Utf8), ("gb18030", Charset::Gb18030)] {
        let mut server = Server::start(&["--charset", name]);
        let mut planted = Planted { charset, texts: Vec::new() };
        write_everything(&server, &mut planted);
        // What has been delivered is written a little later: a server that runs may write between two looks at its log.
        server.stop_in_place();
        let place = folder();
        let whole = packed(server.data(), place.path().join("whole"), &[]);
        let redacted = packed(server.data(), place.path().join("redacted"), &["--redact"]);
        let (open, closed) = (bytes_of(&whole), bytes_of(&redacted));
        for text in &planted.texts {
            assert!(contains(&open, text), "{:?} was planted", charset.decode(text));
            assert!(!contains(&closed, text), "{:?} is given away", charset.decode(text));
        }
        assert!(contains(&open, b"$argon2id$") && !contains(&closed, b"$argon2id$"));
        for file in [&whole, &redacted] {
            assert!(result("replay", file, &["--black-box"]).starts_with("identical, "));
            assert!(!contains(&bytes_of(file), PASSWORD.as_bytes()));
        }
        // What happened can still be followed.
        let shown = result("replay", &redacted, &["--black-box", "--user", "10001"]);
        assert!(shown.contains("→ broadcast group 0, text \"xxxxxxxxxx"), "{shown}");
        assert!(shown.contains("code bad-query, sentence \"xxx"), "{shown}");
        let events = |file: &Path| {
            let kinds = result("replay", file, &["--format", "json"]);
            let kinds = kinds.lines().map(|line| {
                let event: Value = serde_json::from_str(line).unwrap();
                (event["seq"].clone(), event["time"].clone(), event["kind"].clone())
            });
            kinds.collect::<Vec<_>>()
        };
        assert_eq!(events(&redacted), events(server.data()));
    }
}

#[test]
fn a_packed_file_is_read_where_a_folder_is_and_begins_where_the_recording_does() {
    let server = Server::start(&["--black-box", "32KiB", "--segment-size", "16KiB"]);
    let ann = server.offline_user("ann");
    let mut ben = server.user("ben");
    for round in 0..120 {
        ben.tell(ann, &format!("waits {round} {}", "x".repeat(300)));
    }
    let place = folder();
    let file = packed(server.data(), place.path().join("all.oicq"), &[]);
    // Of the file: the server may have begun another one of its recording meanwhile.
    let redacted = packed(&file, place.path().join("redacted.oicq"), &["--redact"]);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it is closed to other users");
    assert!(fs::metadata(&file).unwrap().len() < 16 << 10, "it is small");
    assert_eq!(digest(&file), digest(server.data()));
    let first = stat(&file, "first_seq");
    assert!(first > 1 && first <= stat(server.data(), "last_seq"), "{first}");
    for file in [&file, &redacted] {
        assert_eq!((stat(file, "first_seq"), stat(file, "waiting_messages")), (first, 120));
        assert!(result("verify", file, &[]).starts_with("whole: "));
        assert!(result("replay", file, &["--black-box"]).starts_with("identical, "));
    }
    let state = result("replay", &file, &["--state", "--user", &ann.to_string()]);
    assert!(state.contains("waits 0 xxx"), "texts of messages from before it are there: {state}");
    let why = result("why", &redacted, &["friend", "10001", "10002"]);
    assert!(why.contains("10001 \"xxx\""), "{why}");
    // A pack of a pack is one as well.
    let again = packed(&file, place.path().join("again.oicq"), &[]);
    assert_eq!(digest(&again), digest(&file));
    let (status, out, errors) = tool("compact", &file, &[]);
    assert_eq!((status, &*out), (Some(1), ""), "{errors}");
    assert!(errors.contains("is a file"), "{errors}");
}

#[test]
fn what_cannot_be_packed_or_unpacked_is_told() {
    let mut server = Server::start(&["--black-box", "0"]);
    let mut ann = server.user("ann");
    ann.tell(ann.own, "to myself");
    server.stop_in_place();
    let place = folder();
    let out = place.path().join("out");
    // Without a recording it is the whole log, and there is nothing to redact it by.
    let said = packed(server.data(), out.clone(), &[]);
    assert_eq!(digest(&said), digest(server.data()));
    let calls: [(&[&str], i32, &str); 4] = [
        (&["out"], 1, "exists already, and is left as it is"),
        (&["other", "--redact"], 1, "there is no recording here"),
        (&[], 2, "an argument is missing, expected OUT"),
        (&["a", "b"], 2, "one argument too many"),
    ];
    let before = fs::read(&out).unwrap();
    for (arguments, status, words) in calls {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|argument| match argument.starts_with("--") {
                true => (*argument).to_owned(),
                false => place.path().join(argument).to_str().unwrap().to_owned(),
            })
            .collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let (actual, said, errors) = tool("pack", server.data(), &arguments);
        assert_eq!((actual, &*said), (Some(status), ""), "{arguments:?}: {errors}");
        assert!(errors.contains(words), "{arguments:?}: {errors}");
    }
    assert_eq!(fs::read(&out).unwrap(), before);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing is left behind");
    fs::write(&out, "no archive").unwrap();
    let (status, said, errors) = tool("replay", &out, &[]);
    assert_eq!((status, &*said), (Some(1), ""));
    assert!(errors.contains("no whole file that oicq-tools pack has made"), "{errors}");
}
