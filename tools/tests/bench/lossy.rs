//! A way to a relay on which something happens to one of the messages, and the relay itself.
//!
//! It cuts what the relay sends into packets with the library's codec, and passes everything on but for what it was
//! told to do to that one message.

#![allow(unreachable_pub, reason = "the module is the test's own")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use oicq::wire::server::Sign;
use oicq::wire::{Kind, ServerPacket, cut_for_client};

/// What happens to a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nothing.
    Arrives,
    /// It never arrives.
    Lost,
    /// It arrives twice.
    Doubled,
    /// It arrives behind the next one.
    Late,
    /// Its last byte of text is another.
    Changed,
    /// Its connection ends in its place.
    Cut,
}

/// `oicq-tools` that ends with the thread that starts it, however that ends. (A program that is started knows nothing
/// of who has started it; so it begins as one that does.)
pub fn tools() -> Command {
    let program = env!("CARGO_BIN_EXE_oicq-tools");
    let mut command = Command::new(program);
    command.args(["bench", "--become", &std::process::id().to_string(), program]);
    command
}

/// `oicq-tools bench --relay`, until it is dropped.
pub struct Relay {
    process: Child,
    pub address: SocketAddr,
}

impl Relay {
    pub fn start(sort: &str) -> Self {
        let mut process = tools()
            .args(["bench", "--relay", sort, "--dir"])
            .arg(std::env::temp_dir())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { process, address }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Leads to a server, as often as somebody connects. The message of this number, counted over all connections from
/// 0, meets its fate. It goes on until the test's process ends.
pub fn way(server: SocketAddr, number: u64, fate: Fate) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(server).unwrap();
            [&client, &server].iter().for_each(|end| end.set_nodelay(true).unwrap());
            let (from_client, to_client) = (client.try_clone().unwrap(), client);
            let (from_server, to_server) = (server.try_clone().unwrap(), server);
            let count = Arc::clone(&count);
            thread::spawn(move || pass_on(from_client, to_server));
            thread::spawn(move || {
                let is_it = || count.fetch_add(1, Ordering::SeqCst) == number;
                pass_packets(from_server, to_client, is_it, fate)
            });
        }
    });
    address
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut room = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut room) {
        if to.write_all(&room[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn pass_packets(mut from: TcpStream, mut to: TcpStream, is_it: impl Fn() -> bool, fate: Fate) {
    let (mut bytes, mut room, mut late) = (Vec::new(), [0; 16_384], Vec::new());
    while let Ok(count @ 1..) = from.read(&mut room) {
        bytes.extend_from_slice(&room[..count]);
        let mut out = Vec::new();
        while let Some(frame) = cut_for_client(&bytes, Kind::User, 1 << 20).unwrap() {
            let is_message = is_message(frame.header.packet_type, frame.content);
            let length = frame.length();
            let mut packet: Vec<u8> = bytes.drain(..length).collect();
            if !is_message || !is_it() {
                out.append(&mut packet);
                if is_message {
                    out.append(&mut late);
                }
                continue;
            }
            match fate {
                Fate::Arrives => out.append(&mut packet),
                Fate::Lost => {}
                Fate::Doubled => out.append(&mut packet.repeat(2)),
                Fate::Late => late.append(&mut packet),
                Fate::Changed => {
                    // Behind the text stands the kind.
                    packet[length - 2] ^= 1;
                    out.append(&mut packet);
                }
                Fate::Cut => {
                    let _ = to.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
        if to.write_all(&out).is_err() {
            return;
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
