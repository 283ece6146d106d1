//! The client without terminal, threads and socket: commands and a server's bytes go in, lines and packets come out.
//!
//! Owns the order in which [`Session`] is asked, which is that of the main thread. It opens no connection; files that
//! are received are written all the same.

use std::path::PathBuf;

use jiff::Zoned;
use oicq::codec::charset::Charset;
use oicq::wire::Kind;
use oicq::wire::server::Extensions;

use super::commands::Command;
use super::connection::{OutgoingFile, ToServer, take_packets};
use super::session::{Session, Setup};

/// Commands that wait for their answers, at most.
const UNDER_WAY_MAX: usize = 16;

/// A client on its way through a conversation.
pub struct Client {
    session: Session,
    charset: Charset,
    /// What has come of a packet that is not complete.
    received: Vec<u8>,
    /// Encoded packets that are to go out.
    sent: Vec<Vec<u8>>,
    /// Files whose pieces are to go out.
    files: Vec<OutgoingFile>,
}

impl Client {
    /// A client on a new connection, which asks for these extensions. Received files go to `downloads`.
    #[must_use]
    pub fn new(charset: Charset, kind: Kind, extensions: Extensions, downloads: PathBuf) -> Self {
        let returns = true;
        let setup = Setup { charset, kind, downloads, extensions, returns };
        let (received, sent, files) = <_>::default();
        let mut client = Self { session: Session::new(setup), charset, received, sent, files };
        client.session.handle_connected();
        client.collect();
        client
    }

    /// Does the command of a line, unless something has to be answered first.
    ///
    /// # Errors
    /// If it is none, or cannot be done now; in words for people.
    pub fn command(&mut self, line: &str) -> Result<(), String> {
        if self.session.is_changing() || self.session.under_way() >= UNDER_WAY_MAX {
            return Ok(());
        }
        let done = match Command::parse(line, self.charset)? {
            Some(command) => self.session.start(command),
            None => Ok(()),
        };
        self.collect();
        done
    }

    /// Takes bytes from the server.
    ///
    /// # Errors
    /// If they are no packets: the connection has ended.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.received.extend_from_slice(bytes);
        let (packets, end) = take_packets(&mut self.received, self.session.kind());
        for packet in packets {
            self.session.handle_packet(&packet);
            self.session.confirm_many();
            self.collect();
        }
        end.map_or(Ok(()), |end| {
            self.lose();
            Err(end)
        })
    }

    /// The connection is lost, and another one stands.
    pub fn lose(&mut self) {
        self.received.clear();
        self.session.handle_lost();
        self.files.clear();
        self.session.handle_connected();
        self.session.log_in_again();
        self.collect();
    }

    /// All pieces of the files that flow have gone out.
    pub fn send_files(&mut self) {
        for OutgoingFile { to, transfer, remaining, .. } in std::mem::take(&mut self.files) {
            self.session.handle_piece_sent(to, transfer, remaining);
            self.session.handle_file_done(to, transfer, Ok(()));
        }
        self.collect();
    }

    /// What has happened, as lines for scripts and sentences for people.
    pub fn lines(&mut self) -> Vec<(String, Option<String>)> {
        // The time as of which sentences are told matters to no test.
        let now = Zoned::default();
        let events = std::iter::from_fn(|| self.session.poll_event());
        let lines = events.map(|event| (event.line(), event.sentence(&now))).collect();
        self.session.confirm();
        self.collect();
        lines
    }

    /// The packets that are to go out.
    pub fn packets(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent)
    }

    fn collect(&mut self) {
        while let Some(next) = self.session.poll_send() {
            match next {
                ToServer::Packet(bytes) => self.sent.push(bytes.to_vec()),
                ToServer::File(file) => self.files.push(file),
                ToServer::StopFile(to) => self.files.retain(|file| file.to != to),
                ToServer::StopFiles => self.files.clear(),
                ToServer::Last(_) => {}
            }
        }
    }
}
