//! `oicq-tools bench --soak` with the real server, in its short form: the server is killed, stopped and compacted,
//! connections end in all ways, and nothing is lost; and what a way loses is found out. Times are not judged here.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use oicq::wire::server::Sign;
use oicq::wire::{Kind, ServerPacket, cut_for_client};
use rustix::process::Signal;
use serde_json::Value;

use crate::live::{folder, tools};

/// A run of a program: its status, its objects, and what it said on standard error.
fn soak(program: &str, place: &Path, options: &str) -> (Option<i32>, Vec<Value>, String) {
    let all = ["bench", "--serve", program, "--format", "json", "--dir", place.to_str().unwrap()];
    let options = options.split_whitespace();
    let output = tools(&all.into_iter().chain(options).collect::<Vec<_>>());
    let text = String::from_utf8(output.stdout).unwrap();
    let objects = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code(), objects, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn nothing_is_lost_through_kills_stops_compactions_and_broken_connections() {
    let place = folder();
    let picture = place.path().join("soak.svg");
    let options = format!(
        "--soak 6s --rate 300 --connections 16 --seed 3 --plot {} -- --segment-size 64KiB",
        picture.display()
    );
    let (status, objects, errors) = soak(env!("CARGO_BIN_EXE_oicqd"), place.path(), &options);
    let last = objects.last().unwrap_or_else(|| panic!("{errors}"));
    assert_eq!((status, &last["passed"]), (Some(0), &true.into()), "{last} {errors}");
    assert_eq!((&last["faults"], &last["stopped"]), (&0.into(), &false.into()), "{last}");
    let count = |what: &str| last[what].as_u64().unwrap();
    for what in ["kills", "stops", "compactions", "confirmed", "registered", "files"] {
        assert!(count(what) > 0, "{what}: {last}");
    }
    assert!(count("arrived") + count("unread") >= count("confirmed"), "{last}");
    assert!(count("logins") > 16 * (1 + count("kills") + count("stops")), "{last}");
    let whats: Vec<_> = objects.iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert!(whats.contains(&"second") && whats.contains(&"happening"), "{whats:?}");
    assert!(fs::read_to_string(&picture).unwrap().ends_with("</svg>\n"));
    let left: Vec<_> =
        fs::read_dir(place.path()).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(left, [picture], "the server's folder is gone");
}

#[test]
fn what_the_server_can_do_is_found_first() {
    let place = folder();
    let options = "--soak 500ms --connections 9";
    let (status, objects, errors) = soak(env!("CARGO_BIN_EXE_oicqd"), place.path(), options);
    let last = objects.last().unwrap_or_else(|| panic!("{errors}"));
    assert_eq!(status, Some(0), "{last} {errors}");
    let [capacity, rate] = ["capacity", "rate"].map(|key| last[key].as_u64().unwrap());
    assert!(capacity > 0 && rate == (capacity * 80 / 100).max(1), "{last}");
}

#[test]
fn one_message_that_a_way_loses_is_named() {
    let place = folder();
    let program = leads_through(place.path(), way(place.path().join("said"), 150));
    let options = "--soak 900ms --rate 300 --connections 16 --seed 5 --patience 3s";
    let (status, objects, errors) = soak(program.to_str().unwrap(), place.path(), options);
    let last = objects.last().unwrap_or_else(|| panic!("{errors}"));
    assert_eq!((status, &last["passed"]), (Some(1), &false.into()), "{last}");
    let failed = last["failed"][0].as_str().unwrap();
    assert!(failed.starts_with("message ") && failed.contains(" is lost: it "), "{failed}");
    assert!(errors.contains(failed), "{errors}");
}

#[test]
fn a_server_that_fails_when_it_is_stopped_in_the_end_has_not_stood_it() {
    let place = folder();
    let server = env!("CARGO_BIN_EXE_oicqd");
    // What this program has a handler for is ignored by none that it starts, whoever has started it: a shell could not
    // trap it.
    let as_ever = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_default(Signal::TERM.as_raw(), as_ever).unwrap();
    // The trap comes first: it finds the server when there is one.
    let lines = format!(
        "#!/bin/sh\ntrap 'kill -TERM $!; wait $!; exit 3' TERM\n{server} \"$@\" &\nwait $!\n"
    );
    let program = made(place.path(), &lines);
    let options = "--soak 300ms --rate 100 --connections 9 --seed 1";
    let (status, objects, errors) = soak(program.to_str().unwrap(), place.path(), options);
    let last = objects.last().unwrap_or_else(|| panic!("{errors}"));
    let words = "in the end the server was stopped, and ended with exit status: 3";
    assert_eq!((status, &last["failed"]), (Some(1), &Value::from(vec![words])), "{last}");
}

/// A program that is the server, and says in its place where a way to it begins. Where it listens it writes down.
fn leads_through(folder: &Path, way: SocketAddr) -> PathBuf {
    let said = folder.join("said");
    let server = env!("CARGO_BIN_EXE_oicqd");
    let lines = format!(
        "#!/bin/sh\nrm -f '{0}'\n\
         (until grep -q . '{0}' 2>/dev/null; do sleep 0.02; done; echo 'listening on {way}') &\n\
         exec {server} \"$@\" > '{0}'\n",
        said.display()
    );
    made(folder, &lines)
}

/// A program of these lines.
fn made(folder: &Path, lines: &str) -> PathBuf {
    let program = folder.join("program");
    // Had this process written it, another test's child might still hold it open, and nobody could run it.
    let text = folder.join("text");
    fs::write(&text, lines).unwrap();
    let made = std::process::Command::new("cp").args([&text, &program]).status().unwrap();
    assert!(made.success());
    fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
    program
}

/// Leads to the server that says in a file where it listens, and loses the user's message of this number, counted over
/// all connections. It goes on until the test's process ends.
fn way(said: PathBuf, lost: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let line = fs::read_to_string(&said).unwrap_or_default();
            let server = line
                .trim_end()
                .strip_prefix("listening on ")
                .and_then(|at| at.parse::<SocketAddr>().ok());
            let Some(Ok(server)) = server.map(TcpStream::connect) else { continue };
            let (from_client, to_client) = (client.try_clone().unwrap(), client);
            let (from_server, to_server) = (server.try_clone().unwrap(), server);
            let count = Arc::clone(&count);
            thread::spawn(move || pass_on(from_client, to_server, |_| ()));
            thread::spawn(move || {
                let mut begun = Vec::new();
                pass_on(from_server, to_client, |bytes| {
                    begun.append(bytes);
                    while let Ok(Some(frame)) = cut_for_client(&begun, Kind::User, 1 << 20) {
                        let is_lost = is_message(frame.header.packet_type, frame.content)
                            && count.fetch_add(1, Ordering::SeqCst) == lost;
                        let packet: Vec<u8> = begun.drain(..frame.length()).collect();
                        if !is_lost {
                            bytes.extend(packet);
                        }
                    }
                });
            });
        }
    });
    address
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, mut change: impl FnMut(&mut Vec<u8>)) {
    let mut room = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut room) {
        let mut bytes = room[..count].to_vec();
        change(&mut bytes);
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn is_message(packet_type: u8, content: &[u8]) -> bool {
    matches!(
        ServerPacket::decode(packet_type, content),
        Ok(ServerPacket::Message { sign: Sign::User, .. }
            | ServerPacket::Numbered { sign: Sign::User, .. })
    )
}
