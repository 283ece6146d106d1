//! The recording of a running server. The order of a turn:
//!
//! ```text
//! begin_if_due ─► record (before each input), record_answer …, record_output (after it) … ─► flush
//! ```
//!
//! Owns what is written down of each input, and in which form. A turn is written in one call before anything
//! of it is let out, and when the process unwinds. Where the disk takes it no more, the recording pauses and
//! the server goes on.

use std::io;
use std::path::{Path, PathBuf};

use super::entry::Answer;
use super::format::Header;
use super::reader::Recording;
use super::ring::Ring;
use super::writer::Writer;
use crate::codec::charset::Charset;
use crate::engine::{Engine, Input, Mark};
use crate::id::{MonoMillis, UnixMillis};
use crate::wire::{ClientPacket, Frame, Header as FrameHeader, RequestType};

/// A recording that could not be written is taken up again after this time, in milliseconds.
const PAUSE_MS: u64 = 60_000;

/// What becomes of messages and pieces of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Texts {
    /// They are recorded.
    #[default]
    Kept,
    /// Fillers of the same length are.
    Blanked,
}

/// How a server is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How many bytes of files are kept.
    pub bytes_max: u64,
    /// What becomes of texts.
    pub texts: Texts,
    /// The log that the recording belongs to.
    pub log_id: u64,
    /// When the server was started.
    pub run: UnixMillis,
}

/// Writes a recording.
pub struct Recorder {
    ring: Ring,
    folder: PathBuf,
    options: Options,
    charset: Charset,
    /// Where nothing is recorded: when that is tried again.
    paused_until: Option<MonoMillis>,
    /// A pause has been told.
    told: bool,
    /// The steps so far, those of earlier runs included.
    steps: u64,
    /// When nothing was recorded any more, or the last turn.
    now: MonoMillis,
    writer: Writer,
    /// Questions since the last input that were answered as nearly always.
    waiting_skipped: u64,
    appends_skipped: u64,
    /// Packets without what is not to be recorded.
    blanked: Vec<u8>,
}

impl Recorder {
    /// Goes on behind what earlier runs have recorded in this folder. Nothing is written yet.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn open(folder: &Path, options: Options) -> io::Result<Self> {
        // Where texts are left out, none of an earlier run may remain behind the end of a file.
        let ring = Ring::open(folder, options.bytes_max, options.texts == Texts::Kept)?;
        let steps = Recording::open(folder)?.last_step();
        Ok(Self {
            ring,
            folder: folder.to_owned(),
            options,
            charset: Charset::default(),
            // Until the first file has been begun.
            paused_until: Some(MonoMillis(0)),
            told: false,
            steps,
            now: MonoMillis::default(),
            writer: Writer::default(),
            waiting_skipped: 0,
            appends_skipped: 0,
            blanked: Vec::new(),
        })
    }

    /// Between two turns: begins another file if the current one is full, or if a pause is over.
    pub fn begin_if_due(&mut self, engine: &Engine, now: MonoMillis) {
        let is_due = match self.paused_until {
            None => self.ring.is_full(),
            Some(until) => until <= now,
        };
        if is_due {
            self.flush();
            self.begin(engine, now);
        }
    }

    /// An input is about to be handled.
    pub fn record(&mut self, input: &Input<'_>) {
        if self.paused_until.is_some() {
            return;
        }
        (self.waiting_skipped, self.appends_skipped) = (0, 0);
        self.steps += 1;
        if let Input::Turn(now) = input {
            self.now = now.mono;
        }
        if let Input::Packet { connection, frame } = input
            && let Some(frame) = blanked(frame, self.options.texts, self.charset, &mut self.blanked)
        {
            self.writer.input(&Input::Packet { connection: *connection, frame });
        } else {
            self.writer.input(input);
        }
        self.flush_if_full();
    }

    /// What the input has added to the outbox since it stood at `mark`.
    pub fn record_output(&mut self, engine: &mut Engine, mark: Mark) {
        if self.paused_until.is_some() {
            return;
        }
        let is_blanked = self.options.texts == Texts::Blanked;
        if let Some(output) = engine.poll_outbox().since(mark, is_blanked) {
            self.writer.output(output);
            self.flush_if_full();
        }
    }

    /// The engine was told how much a connection's other end has acknowledged.
    pub fn record_acknowledged(&mut self, bytes: u64) {
        self.record_answer(Answer::Acknowledged(bytes));
    }

    /// The engine was told how much output waits for a connection.
    pub fn record_waiting(&mut self, bytes: usize) {
        if bytes == 0 {
            self.waiting_skipped += 1;
        } else {
            let skipped = std::mem::take(&mut self.waiting_skipped);
            self.record_answer(Answer::Waiting { skipped, bytes: bytes as u64 });
        }
    }

    /// The engine was told whether there was room for an event.
    pub fn record_append(&mut self, had_room: bool) {
        if had_room {
            self.appends_skipped += 1;
        } else {
            let skipped = std::mem::take(&mut self.appends_skipped);
            self.record_answer(Answer::Full { skipped });
        }
    }

    /// Writes what has been recorded since the last time.
    pub fn flush(&mut self) {
        let Self { writer, ring, .. } = self;
        if let Some(Err(error)) = writer.chunk(|chunk| ring.append(chunk)) {
            self.pause(&error);
        }
    }

    fn record_answer(&mut self, answer: Answer) {
        if self.paused_until.is_none() {
            self.writer.answer(answer);
            self.flush_if_full();
        }
    }

    fn flush_if_full(&mut self) {
        if self.writer.is_full() {
            self.flush();
        }
    }

    fn begin(&mut self, engine: &Engine, now: MonoMillis) {
        self.charset = engine.settings().charset;
        self.now = now;
        let Options { texts, log_id, run, .. } = self.options;
        let (first_step, seq) = (self.steps + 1, engine.state().last_seq());
        let header = Header::new(log_id, run, first_step, seq, texts == Texts::Blanked);
        let mut bytes = Vec::new();
        self.writer = Writer::begin(header, engine.settings(), |out| engine.save(out), &mut bytes);
        // What a pause has interrupted is taken up only where it is over.
        self.paused_until = None;
        match self.ring.begin(first_step, &bytes) {
            Ok(()) if std::mem::take(&mut self.told) => {
                ::log::warn!("{}: recording again", self.folder.display());
            }
            Ok(()) => {}
            Err(error) => self.pause(&error),
        }
    }

    /// Inputs go unrecorded for a while: a reader sees by the numbers of the steps that some are missing.
    fn pause(&mut self, error: &io::Error) {
        self.paused_until = Some(self.now.plus(PAUSE_MS));
        // The step that was not written is one that is missing.
        self.steps += 1;
        if !std::mem::replace(&mut self.told, true) {
            let folder = self.folder.display();
            ::log::warn!("{folder}: the latest input is not recorded for a while: {error}");
        }
    }
}

impl Drop for Recorder {
    /// What a turn that panicked has come to is what one wants to see.
    fn drop(&mut self) {
        self.flush();
    }
}

/// The packet as it is recorded, if that is not as it came: without the password, and without texts where they
/// are blanked. What may hold either and cannot be read is recorded without content, which cannot be read either.
fn blanked<'a>(
    frame: &Frame<'_>,
    texts: Texts,
    charset: Charset,
    out: &'a mut Vec<u8>,
) -> Option<Frame<'a>> {
    let known = RequestType::from_byte(frame.header.packet_type);
    if known.is_some_and(|known| !known.has_password()) && texts == Texts::Kept {
        return None;
    }
    out.clear();
    if let Some(Ok(packet)) = known.map(|known| ClientPacket::decode(known, frame.content)) {
        let mut packet = packet.without_password(charset);
        if texts == Texts::Blanked {
            packet = packet.without_messages(charset);
        }
        packet.encode(frame.header.kind, out);
        out.drain(..crate::limits::HEADER_BYTES);
    }
    let content_length = u32::try_from(out.len()).unwrap_or(u32::MAX);
    Some(Frame { header: FrameHeader { content_length, ..frame.header }, content: out })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Kind;

    fn recorded(packet_type: u8, content: &[u8], texts: Texts) -> Vec<u8> {
        let content_length = u32::try_from(content.len()).unwrap();
        let header = FrameHeader { kind: Kind::User, packet_type, content_length };
        let frame = Frame { header, content };
        let mut out = Vec::new();
        blanked(&frame, texts, Charset::default(), &mut out)
            .map_or(content.to_vec(), |frame| frame.content.to_vec())
    }

    #[test]
    fn what_cannot_be_read_keeps_no_secret() {
        let secret = b"\0\x06secret";
        let is_empty = |packet_type, texts| recorded(packet_type, secret, texts).is_empty();
        for texts in [Texts::Kept, Texts::Blanked] {
            assert!(is_empty(0x1F, texts), "a type that nobody knows");
            assert!(is_empty(RequestType::LogIn as u8, texts), "a login that is none");
        }
        for known in (0..=u8::MAX).filter_map(RequestType::from_byte) {
            let can_be_read = ClientPacket::decode(known, secret).is_ok();
            assert!(can_be_read || is_empty(known as u8, Texts::Blanked), "{known:?}");
        }
        assert_eq!(recorded(RequestType::Send as u8, secret, Texts::Kept), secret);
    }

    #[test]
    fn no_packet_without_content_can_be_read_where_one_with_content_could_not() {
        for known in (0..=u8::MAX).filter_map(RequestType::from_byte) {
            let is_whole = ClientPacket::decode(known, b"").is_ok();
            let beside = ClientPacket::decode(known, b"\0\x06secret").is_ok();
            assert!(!is_whole || beside, "{known:?}");
        }
    }
}
