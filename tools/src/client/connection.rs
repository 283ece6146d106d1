//! The connection: a thread that reads packets, and a thread that writes them and the pieces of files.
//!
//! Owns the socket. Nothing here knows what a packet means. The main thread is never held up by the
//! socket: it hands packets over, so that two clients that send each other files cannot block each other.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel};
use std::thread;

use oicq::id::ServiceNumber;
use oicq::wire::{ClientPacket, Kind, Request, cut_for_client};
use zeroize::Zeroizing;

use super::input::{FromConnection, Input, Packet};

/// Bytes of a piece of a file: large enough to cost little each, small enough that other packets, which
/// go between the pieces, do not wait long.
const PIECE_BYTES: usize = 32 * 1_024;
const READ_BYTES: usize = 64 * 1_024;
/// The longest content from a server in bytes: a login's reply with 255 groups of 255 friends has 5 MB.
const CONTENT_BYTES_MAX: u32 = 8 << 20;

/// What the writing thread is handed.
pub(crate) enum ToServer {
    /// A packet, encoded. It may hold a password.
    Packet(Zeroizing<Vec<u8>>),
    /// A file that was accepted: its pieces go out whenever no packet waits.
    File(OutgoingFile),
    /// No more pieces to this number.
    StopFile(ServiceNumber),
    /// No more pieces to anyone.
    StopFiles,
    /// Nothing more. Who waits for it is told once the system has what came before.
    Last(Sender<()>),
}

/// A file that is being sent.
#[derive(Debug)]
pub(crate) struct OutgoingFile {
    pub(crate) own: ServiceNumber,
    pub(crate) to: ServiceNumber,
    /// Which transfer it is: there may be another to the same number later.
    pub(crate) transfer: u64,
    pub(crate) file: File,
    /// Bytes of it that are still to be sent.
    pub(crate) remaining: u32,
}

/// Starts both threads of a connection. What comes goes to `inputs` with the connection's `count`; what is
/// to go out, to the sender that is answered.
pub(crate) fn start(
    stream: TcpStream,
    kind: Kind,
    count: u32,
    inputs: SyncSender<Input>,
) -> io::Result<Sender<ToServer>> {
    // Commands are small and answered one by one: waiting to fill a segment would only delay them.
    stream.set_nodelay(true)?;
    let writing = stream.try_clone()?;
    let (sender, receiver) = channel();
    let to_main = ToMain { count, inputs };
    let from_reader = to_main.clone();
    thread::spawn(move || {
        let lost = read_packets(stream, kind, &from_reader);
        // An end of the main thread ends this one as well.
        let _ = from_reader.send(FromConnection::Lost(lost));
    });
    thread::spawn(move || {
        Writer { stream: writing, kind, files: Vec::new(), to_main }.run(&receiver)
    });
    Ok(sender)
}

/// Looks for another connection, in a thread of its own: that can take long.
pub(crate) fn reach(server: String, inputs: SyncSender<Input>) {
    thread::spawn(move || {
        let reached = TcpStream::connect(&*server).map_err(|error| error.to_string());
        let _ = inputs.send(Input::Reached(reached));
    });
}

/// The way to the main thread from one connection.
#[derive(Clone)]
struct ToMain {
    count: u32,
    inputs: SyncSender<Input>,
}

impl ToMain {
    fn send(&self, what: FromConnection) -> io::Result<()> {
        let input = Input::Connection(self.count, what);
        self.inputs.send(input).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Reads until the connection ends; the answer says why it did. Packets that come together are handed over
/// together.
fn read_packets(mut stream: TcpStream, kind: Kind, to_main: &ToMain) -> String {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; READ_BYTES]);
    loop {
        let count = match stream.read(&mut chunk) {
            Ok(0) if bytes.is_empty() => return "the server closed it".to_owned(),
            Ok(0) => return "the server closed it in the middle of a packet".to_owned(),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return error.to_string(),
        };
        bytes.extend_from_slice(&chunk[..count]);
        let (packets, end) = take_packets(&mut bytes, kind);
        if !packets.is_empty() && to_main.send(FromConnection::Packets(packets)).is_err() {
            return String::new();
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// Takes the whole packets off the front; beside them why nothing more can be a packet, if that is so.
pub(super) fn take_packets(bytes: &mut Vec<u8>, kind: Kind) -> (Vec<Packet>, Option<String>) {
    let (mut start, mut packets) = (0, Vec::new());
    let end = loop {
        let frame = match cut_for_client(&bytes[start..], kind, CONTENT_BYTES_MAX) {
            Ok(Some(frame)) => frame,
            Ok(None) => break None,
            Err(error) => break Some(format!("this is no OICQ server ({error:?})")),
        };
        let packet_type = frame.header.packet_type;
        packets.push(Packet { packet_type, content: frame.content.to_vec() });
        start += frame.length();
    };
    bytes.drain(..start);
    (packets, end)
}

struct Writer {
    stream: TcpStream,
    kind: Kind,
    /// Those that flow; the first one is next.
    files: Vec<OutgoingFile>,
    to_main: ToMain,
}

impl Writer {
    /// Runs until the main thread ends or nothing more can be written. The reading thread finds out
    /// about the latter too, after it has read what the server had to say: it is the one that reports it.
    fn run(mut self, receiver: &Receiver<ToServer>) {
        loop {
            let next = if self.files.is_empty() {
                receiver.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                receiver.try_recv()
            };
            let written = match next {
                Ok(ToServer::Packet(bytes)) => self.stream.write_all(&bytes),
                Ok(ToServer::File(file)) => self.start_file(file),
                Ok(ToServer::StopFile(to)) => {
                    self.files.retain(|file| file.to != to);
                    Ok(())
                }
                Ok(ToServer::StopFiles) => {
                    self.files.clear();
                    Ok(())
                }
                Ok(ToServer::Last(written)) => {
                    // Who has waited long enough is gone.
                    let _ = written.send(());
                    break;
                }
                Err(TryRecvError::Empty) => self.send_piece(),
                Err(TryRecvError::Disconnected) => break,
            };
            if written.is_err() {
                break;
            }
        }
        // The server sees the end of what is sent, and answers what came before it.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn start_file(&mut self, file: OutgoingFile) -> io::Result<()> {
        self.files.push(file);
        Ok(())
    }

    /// Sends one piece of the first file, and puts the file last.
    fn send_piece(&mut self) -> io::Result<()> {
        let mut file = self.files.remove(0);
        let (to, transfer) = (file.to, file.transfer);
        let outcome = match next_piece(&mut file) {
            Ok(Some(data)) => {
                // The main thread hears of it before the server's answer can come.
                let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
                self.to_main.send(FromConnection::PieceSent { to, transfer, bytes })?;
                let request = Request::FilePiece { friend: to, data: &data };
                let mut bytes = Vec::with_capacity(data.len() + 16);
                ClientPacket { own: file.own, request }.encode(self.kind, &mut bytes);
                self.stream.write_all(&bytes)?;
                self.files.push(file);
                return Ok(());
            }
            Ok(None) => Ok(()),
            Err(reason) => Err(reason),
        };
        self.to_main.send(FromConnection::FileDone { to, transfer, outcome })
    }
}

/// The next piece, never more than was offered; `None` when all of that has been read.
fn next_piece(file: &mut OutgoingFile) -> Result<Option<Vec<u8>>, String> {
    let wanted = PIECE_BYTES.min(usize::try_from(file.remaining).unwrap_or(PIECE_BYTES));
    if wanted == 0 {
        return match file.file.read(&mut [0]) {
            Ok(0) => Ok(None),
            Ok(_) => {
                Err("the file grew while it was sent: only its offered length went out".into())
            }
            Err(error) => Err(format!("the file cannot be read: {error}")),
        };
    }
    let mut data = vec![0; wanted];
    match file.file.read(&mut data) {
        Ok(0) => Err("the file became shorter while it was sent".to_owned()),
        Ok(count) => {
            data.truncate(count);
            // It is at most `wanted`, which is at most what remains.
            file.remaining -= u32::try_from(count).unwrap_or(file.remaining);
            Ok(Some(data))
        }
        Err(error) => Err(format!("the file cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek as _;

    fn outgoing(content: &[u8], remaining: u32) -> OutgoingFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        let (own, to) = (ServiceNumber(1), ServiceNumber(2));
        OutgoingFile { own, to, transfer: 1, file, remaining }
    }

    #[test]
    fn a_file_goes_out_in_pieces_of_exactly_the_offered_length() {
        let mut file = outgoing(&[7; PIECE_BYTES + 3], 32 * 1_024 + 3);
        assert_eq!(next_piece(&mut file).unwrap().unwrap().len(), PIECE_BYTES);
        assert_eq!(next_piece(&mut file).unwrap().unwrap().len(), 3);
        assert_eq!(next_piece(&mut file), Ok(None));
    }

    #[test]
    fn a_file_that_changes_its_length_is_reported() {
        let mut file = outgoing(b"abc", 2);
        assert_eq!(next_piece(&mut file), Ok(Some(b"ab".to_vec())));
        assert!(next_piece(&mut file).unwrap_err().contains("grew"));
        let mut file = outgoing(b"abc", 4);
        assert_eq!(next_piece(&mut file), Ok(Some(b"abc".to_vec())));
        assert!(next_piece(&mut file).unwrap_err().contains("shorter"));
    }
}
