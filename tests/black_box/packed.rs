//! Packed files: what was packed replays as it did, and redacted it holds nothing that anybody has written.

use std::convert::Infallible;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use oicq::black_box::{FOLDER, Recording};
use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::engine::{Input, Settings, WaitsFor};
use oicq::id::{ConnectionId, MonoMillis, Now, ServiceNumber, UnixMillis};
use oicq::log::{DiskStorage, Durability, Log, Record};
use oicq::state::{Authentication, Event};
use oicq::wire::{ClientPacket, Expected, Kind, Request, cut};

use super::chance::packets::settings;
use super::chance::{self, Chance};
use super::live::tool;
use super::recorded::{Form, LOG_ID, Recorded, record};

fn packed(data: &Path, out: &Path, options: &[&str]) -> PathBuf {
    let out_text = out.to_str().unwrap();
    let (status, said, errors) = tool("pack", data, &[&[out_text], options].concat());
    assert_eq!(status, Some(0), "{said}{errors}");
    out.to_owned()
}

fn replayed(path: &Path) -> String {
    let (status, out, errors) = tool("replay", path, &["--black-box"]);
    assert_eq!(status, Some(0), "{out}{errors}");
    out
}

fn unpacked(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(file).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn whatever_is_recorded_can_be_packed_with_and_without_texts() {
    for seed in chance::seeds(8) {
        println!("OICQ_SEED={seed}");
        let mut chance = Chance::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("store");
        let settings = settings(&mut chance);
        let form = Form { bytes_max: chance.pick(&[8_000, 1 << 30]), ..Form::WHOLE };
        record(&data, &mut chance, &settings, form, &[150, 60]);
        let expected = replayed(&data);
        let whole = packed(&data, &folder.path().join("whole"), &[]);
        assert_eq!(replayed(&whole), expected);
        let redacted = packed(&data, &folder.path().join("redacted"), &["--redact"]);
        assert_eq!(replayed(&redacted), expected);
        let bytes = unpacked(&redacted);
        for text in ["\u{4f60}\u{597d}", "SELECT", "a.txt", "two\nlines", "$plain$"] {
            let is_there = contains(&unpacked(&whole), text.as_bytes());
            assert!(!contains(&bytes, text.as_bytes()), "{text:?}, in the whole file: {is_there}");
        }
    }
}

/// Users enough for a search to take several slices.
const USERS: u32 = 8_000;

/// A log of many users, of whom every tenth is called the same.
fn many_users(folder: &Path) {
    let options = oicq::log::Options {
        segment_size: 64 << 10,
        durability: Durability::Never,
        charset: Settings::default().charset.tag(),
    };
    let nothing = |_: &Record<'_>| Ok::<_, Infallible>(());
    let storage = DiskStorage::create(folder).unwrap();
    let (mut log, _) = Log::open(storage, options, LOG_ID, UnixMillis(1), nothing).unwrap();
    for index in 0..USERS {
        let number = ServiceNumber(ServiceNumber::FIRST.0 + index);
        let nickname = if index % 10 == 0 { "Tenth-name" } else { "Other-name" };
        let profile = Profile { nickname: nickname.as_bytes(), ..Profile::default() };
        let (authentication, password_hash) = (Authentication::Open, "$plain$secret");
        let mut payload = Vec::new();
        let event = Event::Registered { number, authentication, password_hash, profile };
        event.encode(&mut payload);
        log.append(UnixMillis(1), event.kind() as u8, &payload).unwrap();
        log.commit(MonoMillis(0)).unwrap();
    }
    log.close().unwrap();
}

fn say(server: &mut Recorded, connection: ConnectionId, request: Request<'_>) {
    let mut bytes = Vec::new();
    ClientPacket { own: ServiceNumber::FIRST, request }.encode(Kind::User, &mut bytes);
    let expected = Expected { kind: None, content_bytes_max: 8_192 };
    let frame = cut(&bytes, expected).unwrap().unwrap();
    server.turn(|server| server.hand(Input::Packet { connection, frame }));
}

#[test]
fn searches_come_to_what_they_came_to_though_nobody_can_be_found_any_more() {
    // In the second one, files begin while a search is under way, and the oldest are gone.
    for bytes_max in [1 << 30, 1_500] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("store");
        many_users(&data);
        let now = Now { wall: UnixMillis(1_000_000_000_000), mono: MonoMillis(1_000_000) };
        let form = Form { bytes_max, ..Form::WHOLE };
        let mut server = Recorded::start(&data, Settings::default(), form, now);
        let id = ConnectionId(0);
        let address = [192, 0, 2, 1].into();
        server.turn(|server| server.hand(Input::Connect { connection: id, address }));
        say(&mut server, id, Request::LogIn { password: Secret::new(b"secret"), mode: 0 });
        server.answer_password();
        let statements: [&[u8]; 3] = [
            b"select * from users where nickname like '%enth-n%' order by number desc",
            b"select * from users where nickname = Unknown-word",
            b"select * from users where nickname = 'Tenth-name' or city like '%Tenth%' limit 7",
        ];
        let mut slices_max = 0;
        for round in 0..4 {
            for statement in statements {
                say(&mut server, id, Request::Search { statement });
                let searches = |server: &Recorded| {
                    server.engine.connection(id).unwrap().waits_for == WaitsFor::Search
                };
                let mut slices = 1;
                while searches(&server) {
                    server.turn(|_| ());
                    slices += 1;
                }
                slices_max = slices_max.max(slices);
            }
            say(&mut server, id, Request::Test);
            assert!(round > 0 || slices_max > 2, "{slices_max} slices");
        }
        drop(server);
        let expected = replayed(&data);
        let recording = Recording::open(&data.join(FOLDER)).unwrap();
        let files = recording.files();
        assert!(bytes_max > 10_000 || files.len() > 1 && files[0].header.first_step > 1);
        let redacted = packed(&data, &folder.path().join("redacted"), &["--redact"]);
        assert_eq!(replayed(&redacted), expected);
        let bytes = unpacked(&redacted);
        let texts: [&[u8]; 5] = [b"enth-n", b"Other-name", b"Unknown-word", b"select", b"$plain$"];
        for text in texts {
            assert!(!contains(&bytes, text), "{}", String::from_utf8_lossy(text));
        }
    }
}

#[test]
fn what_goes_differently_is_not_redacted() {
    let folder = tempfile::tempdir().unwrap();
    let (data, planted) = (folder.path().join("store"), folder.path().join("planted"));
    let mut chance = Chance::new(3);
    record(&data, &mut chance, &Settings::default(), Form::WHOLE, &[200]);
    super::planted::with_another_message(&data, &planted);
    let out = folder.path().join("out");
    let (status, said, errors) = tool("pack", &planted, &[out.to_str().unwrap(), "--redact"]);
    assert_eq!((status, &*said), (Some(1), ""));
    assert!(errors.contains("goes differently, which fillers would hide"), "{errors}");
    assert!(!out.exists());
    // As it is, it can be sent to whoever looks for the reason.
    let whole = packed(&planted, &out, &[]);
    let (status, said, _) = tool("replay", &whole, &["--black-box"]);
    assert!(status == Some(1) && said.starts_with("different at step "), "{said}");
}
