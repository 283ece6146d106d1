//! The real server for the benchmarks, and the few packets that they send it.

#![allow(dead_code, unreachable_pub, reason = "each benchmark uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use oicq::id::ServiceNumber;
use oicq::wire::{ClientPacket, Kind, Request};

/// Bytes of the reply to a login with an empty friend list.
pub const EMPTY_LIST: usize = 8 + 2 + (2 + "My Friends".len()) + 2;

/// Ends with the benchmark, however that ends.
pub struct Server(Child);

impl Server {
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// How long its loop has kept a processor busy, in nanoseconds.
    pub fn busy_ns(&self) -> u64 {
        let path = format!("/proc/{}/schedstat", self.id());
        let times = std::fs::read_to_string(path).unwrap();
        times.split(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on a free port, without limits that a load would meet; and its address.
pub fn start(folder: &Path, options: &[&str]) -> (Server, String) {
    let limits = [
        ["--registrations", "0"],
        ["--connections", "0"],
        ["--requests", "0,0"],
        ["--password-cost", "8,1"],
    ]
    .concat();
    let mut child = Command::new(env!("CARGO_BIN_EXE_oicqd"))
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(folder)
        .args(limits)
        .args(options)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    (Server(child), address)
}

/// Sends a packet and waits for an answer that is as long.
pub fn ask(socket: &mut TcpStream, own: ServiceNumber, request: Request<'_>, answer_bytes: usize) {
    let mut bytes = Vec::new();
    ClientPacket { own, request }.encode(Kind::User, &mut bytes);
    socket.write_all(&bytes).unwrap();
    bytes.resize(answer_bytes, 0);
    socket.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes[8], 1, "it succeeds");
}

/// Reads one packet; answers its content.
pub fn receive(socket: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 8];
    socket.read_exact(&mut header).unwrap();
    let length = u32::from_be_bytes(header[4..].try_into().unwrap());
    let mut content = vec![0; length as usize];
    socket.read_exact(&mut content).unwrap();
    content
}
