//! Reading a recording: which files there are, and the entries of each, as far as they can be believed.
//!
//! Never repairs and never guesses: behind the first chunk that fails its check, a file has ended.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Take};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::entry::{self, Entry};
use super::format::{
    CHUNK_HEADER_LEN, CHUNK_MAX, END_MARK, HEADER_LEN, Header, HeaderFault, KEPT_MAX, chained,
    parse_name,
};
use super::writer::kept_at;
use crate::codec::Reader;
use crate::engine::Settings;
use crate::id::Now;
use crate::limits::COUNT_MAX;

/// The files of a folder that are a recording.
pub struct Recording {
    files: Vec<BoxFile>,
    unreadable: Vec<Unreadable>,
}

/// A file of a recording whose header is whole.
#[derive(Clone, Debug)]
pub struct BoxFile {
    /// Where it is, as messages tell it.
    pub path: PathBuf,
    /// Where it is read.
    place: PathBuf,
    /// What it begins with.
    pub header: Header,
    /// Where it ended when it was found: a server may be writing to it.
    pub(super) end: u64,
}

/// A file that cannot be read as part of a recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// Its header is not whole: it had not been written when the power went, or was damaged.
    NoHeader(PathBuf),
    /// A program wrote it that records otherwise.
    OtherVersion(PathBuf),
    /// The sessions that it begins with fail their check.
    Kept(PathBuf),
    /// A server has removed it since it was found.
    Gone(PathBuf),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader(path) => write!(f, "{}: its header is not whole", path.display()),
            Self::OtherVersion(path) => {
                write!(f, "{}: another version has written it", path.display())
            }
            Self::Kept(path) => {
                write!(f, "{}: the sessions that it begins with fail their check", path.display())
            }
            Self::Gone(path) => write!(f, "{}: the server has removed it", path.display()),
        }
    }
}

impl std::error::Error for Unreadable {}

impl Recording {
    /// Finds the files of a folder, in order. A folder that does not exist has none.
    ///
    /// # Errors
    /// If the folder or a file of it cannot be read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Self::open_called(folder, folder)
    }

    /// The same, of a folder that messages call by another name: that of what it was unpacked from.
    ///
    /// # Errors
    /// If the folder or a file of it cannot be read.
    pub fn open_called(folder: &Path, called: &Path) -> io::Result<Self> {
        let mut names = Vec::new();
        match std::fs::read_dir(folder) {
            Ok(entries) => {
                for entry in entries {
                    names.extend(entry?.file_name().into_string());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let steps = names.into_iter().filter_map(|name| Some((parse_name(&name)?, name)));
        let mut steps: Vec<_> = steps.collect();
        steps.sort_unstable();
        let mut recording = Self { files: Vec::new(), unreadable: Vec::new() };
        for (first_step, name) in steps {
            match BoxFile::open(folder.join(&name), called.join(&name), first_step) {
                Ok(Ok(file)) => recording.files.push(file),
                Ok(Err(unreadable)) => recording.unreadable.push(unreadable),
                // The server has removed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(recording)
    }

    /// The files whose headers are whole, in the order of their steps.
    #[must_use]
    pub fn files(&self) -> &[BoxFile] {
        &self.files
    }

    /// The others.
    #[must_use]
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// Bytes of the files whose headers are whole.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.end).sum()
    }

    /// The last step that can be read; 0 where there is none.
    #[must_use]
    pub fn last_step(&self) -> u64 {
        let Some(last) = self.files.last() else { return 0 };
        let mut steps = last.header.first_step.saturating_sub(1);
        if let Ok(Ok((_, mut entries))) = last.read() {
            while let Ok(Some(entry)) = entries.next() {
                steps += u64::from(matches!(entry, Entry::Input(_)));
            }
        }
        steps
    }
}

/// What a file's steps begin from, beside the state.
pub struct Beginning {
    /// What the server was told at its start.
    pub settings: Settings,
    /// All that the engine knew: see [`Engine::restore`](crate::engine::Engine::restore).
    pub kept: Vec<u8>,
}

impl BoxFile {
    fn open(
        place: PathBuf,
        path: PathBuf,
        first_step: u64,
    ) -> io::Result<Result<Self, Unreadable>> {
        let mut bytes = [0; HEADER_LEN];
        let mut file = File::open(&place)?;
        match file.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err(Unreadable::NoHeader(path)));
            }
            Err(error) => return Err(error),
        }
        let counts = |header: &Header| header.first_step.max(header.seq.0) < COUNT_MAX;
        Ok(match Header::decode(&bytes) {
            Ok(header) if header.first_step == first_step && counts(&header) => {
                let end = end(&file, &header)?;
                Ok(Self { path, place, header, end })
            }
            // Or a file that was to be reused, and still has the header of the older one.
            Ok(_) | Err(HeaderFault::NoHeader) => Err(Unreadable::NoHeader(path)),
            Err(HeaderFault::OtherVersion) => Err(Unreadable::OtherVersion(path)),
        })
    }

    /// Its bytes, as it was when it was found, without an older file's remains behind its end; fewer, or none, where it
    /// has become shorter or is gone.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match File::open(&self.place) {
            Ok(file) => file.take(self.end).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(bytes)
    }

    /// Whether it is there still: a server removes the oldest, or makes a newer one of them.
    pub(super) fn is_there(&self) -> bool {
        let found = Self::open(self.place.clone(), self.path.clone(), self.header.first_step);
        found.is_ok_and(|found| found.is_ok_and(|found| found.header == self.header))
    }

    /// What it begins from, and its entries.
    ///
    /// # Errors
    /// If the file cannot be read; inside, if what it begins from fails its check.
    pub fn read(&self) -> io::Result<Result<(Beginning, Entries), Unreadable>> {
        let unreadable = || Ok(Err(Unreadable::Kept(self.path.clone())));
        let file = match File::open(&self.place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(Unreadable::Gone(self.path.clone())));
            }
            opened => opened?,
        };
        let mut file = BufReader::with_capacity(1 << 16, file.take(self.end));
        let mut header = [0; HEADER_LEN];
        if !fill(&mut file, &mut header)? {
            return unreadable();
        }
        let length = usize::try_from(self.header.kept_len).unwrap_or(usize::MAX);
        if length > KEPT_MAX {
            return unreadable();
        }
        // Memory grows with what is there, not with what the header says.
        let mut kept = Vec::new();
        (&mut file).take(length as u64).read_to_end(&mut kept)?;
        let checksum = chained(self.header.seed(), &[&kept]);
        if !fill(&mut file, &mut header[..4])? || header[..4] != checksum.to_be_bytes() {
            return unreadable();
        }
        let mut reader = Reader::new(&kept);
        let Ok(settings) = Settings::read(&mut reader) else { return unreadable() };
        let kept = reader.rest().to_vec();
        let Ok(now) = kept_at(&kept) else { return unreadable() };
        let bytes = HEADER_LEN as u64 + length as u64 + 4;
        let chunk = Vec::new();
        let entries = Entries { file, bytes, chunk, at: 0, now, checksum, is_torn: false };
        Ok(Ok((Beginning { settings, kept }, entries)))
    }
}

/// The entries of a file, one after the other.
pub struct Entries {
    file: BufReader<Take<File>>,
    /// How much of the file has been read and believed.
    bytes: u64,
    chunk: Vec<u8>,
    at: usize,
    now: Now,
    checksum: u32,
    is_torn: bool,
}

impl Entries {
    /// The next entry, as long as there is one that can be believed.
    ///
    /// # Errors
    /// If the file cannot be read.
    #[allow(clippy::should_implement_trait, reason = "an entry lives until the next one")]
    pub fn next(&mut self) -> io::Result<Option<Entry<'_>>> {
        if self.at == self.chunk.len() && !self.load()? {
            return Ok(None);
        }
        let mut reader = Reader::new(&self.chunk[self.at..]);
        match entry::read(&mut reader, &mut self.now) {
            Ok(entry) => {
                self.at = self.chunk.len() - reader.remaining();
                Ok(Some(entry))
            }
            Err(entry::NoEntry) => {
                self.is_torn = true;
                self.at = self.chunk.len();
                Ok(None)
            }
        }
    }

    /// Whether something stands behind the last entry that fails its check: it was being written when the
    /// power went, or was damaged.
    #[must_use]
    pub const fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// How much of the file has been read, up to the end of the chunk that the last entry was in.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn load(&mut self) -> io::Result<bool> {
        if self.is_torn {
            return Ok(false);
        }
        self.at = 0;
        self.chunk.clear();
        let mut header = [0; CHUNK_HEADER_LEN];
        if self.file.by_ref().take(1).read(&mut header)? == 0 {
            return Ok(false);
        }
        self.is_torn = true;
        if !fill(&mut self.file, &mut header[1..])? {
            return Ok(false);
        }
        let (length, checksum) = header.split_at(4);
        let mut fields = Reader::new(&header);
        let Some(count) = fields.u32().ok().and_then(chunk_bytes) else { return Ok(false) };
        (&mut self.file).take(count as u64).read_to_end(&mut self.chunk)?;
        let actual = chained(self.checksum, &[length, &self.chunk]);
        if self.chunk.len() < count || checksum != actual.to_be_bytes() {
            self.chunk.clear();
            return Ok(false);
        }
        (self.checksum, self.is_torn) = (actual, false);
        self.bytes += (CHUNK_HEADER_LEN + count) as u64;
        Ok(true)
    }
}

/// Where a file ends: before the mark that its last chunk is followed by. Where the chunks do not lead
/// to one, all belongs to it, and its reader finds out how much can be believed.
fn end(file: &File, header: &Header) -> io::Result<u64> {
    let mut at = (HEADER_LEN + 4) as u64 + u64::from(header.kept_len);
    loop {
        let mut chunk = [0; CHUNK_HEADER_LEN];
        match file.read_exact_at(&mut chunk, at) {
            Ok(()) if chunk == END_MARK => return Ok(at),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        let mut fields = Reader::new(&chunk);
        let Some(count) = fields.u32().ok().and_then(chunk_bytes) else { break };
        at += (CHUNK_HEADER_LEN + count) as u64;
    }
    Ok(file.metadata()?.len())
}

/// The bytes of a chunk whose header has this length, if there is such a chunk.
fn chunk_bytes(length: u32) -> Option<usize> {
    usize::try_from(length).ok().filter(|length| (1..=CHUNK_MAX).contains(length))
}

/// Fills all of `buffer`; false where the file ends before.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
