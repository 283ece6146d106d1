//! Files on their way in and out: offers, what has come so far, and where it is kept.
//!
//! Owns names and places: a received file never leaves the folder that was chosen, and never takes the
//! place of another. It sends nothing: the session does, and the writing thread sends the pieces.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use oicq::id::ServiceNumber;

use super::connection::OutgoingFile;
use crate::show::is_unsafe;

/// What file systems take for one name.
const NAME_BYTES_MAX: usize = 255;
/// As many names are tried (`a.txt`, `a (2).txt`, ...) before one gives up.
const NAMES_TRIED: u32 = 10_000;

/// All transfers, by the other side's number. The protocol has one in each direction at a time.
#[derive(Debug)]
pub(crate) struct Files {
    downloads: PathBuf,
    offers: BTreeMap<ServiceNumber, Offer>,
    incoming: BTreeMap<ServiceNumber, Incoming>,
    outgoing: BTreeMap<ServiceNumber, Outgoing>,
    /// How many files have been offered: each offer is a transfer of its own.
    offered: u64,
}

#[derive(Debug, Clone)]
struct Offer {
    name: String,
    length: u32,
}

/// A file that is being received.
#[derive(Debug)]
struct Incoming {
    name: String,
    path: PathBuf,
    file: File,
    length: u32,
    received: u32,
    /// Whether the server is known to have taken the acceptance.
    allowed: bool,
}

/// A file that is offered or being sent.
#[derive(Debug)]
struct Outgoing {
    transfer: u64,
    name: String,
    length: u32,
    sent: u32,
    /// There until the offer is accepted; then the writing thread has it.
    file: Option<File>,
}

/// A file that has arrived whole, or whose end is known otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) length: u32,
    pub(crate) path: PathBuf,
}

impl Files {
    /// No transfers; received files go to this folder.
    pub(crate) fn new(downloads: PathBuf) -> Self {
        let (offers, incoming, outgoing) = <_>::default();
        Self { downloads, offers, incoming, outgoing, offered: 0 }
    }

    /// Opens a file that is to be offered: its name and length.
    pub(crate) fn offer(
        &mut self,
        to: ServiceNumber,
        path: &Path,
    ) -> Result<(String, u32), String> {
        if self.outgoing.contains_key(&to) {
            return Err(format!("a file to {to} is already on its way"));
        }
        let (file, length) = open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        self.offered += 1;
        let (transfer, file) = (self.offered, Some(file));
        let outgoing = Outgoing { transfer, name: name.clone(), length, sent: 0, file };
        self.outgoing.insert(to, outgoing);
        Ok((name, length))
    }

    /// The other side accepted: the file, and its name. Then its sending is the caller's.
    pub(crate) fn start(
        &mut self,
        own: ServiceNumber,
        to: ServiceNumber,
    ) -> Option<(OutgoingFile, String)> {
        let outgoing = self.outgoing.get_mut(&to)?;
        let (file, transfer) = (outgoing.file.take()?, outgoing.transfer);
        let file = OutgoingFile { own, to, transfer, file, remaining: outgoing.length };
        Some((file, outgoing.name.clone()))
    }

    /// Whether this transfer to this number is not over.
    pub(crate) fn is_current(&self, to: ServiceNumber, transfer: u64) -> bool {
        self.outgoing.get(&to).is_some_and(|outgoing| outgoing.transfer == transfer)
    }

    /// Whether pieces go out to this number, or have gone out.
    pub(crate) fn is_sending(&self, to: ServiceNumber) -> bool {
        self.outgoing.get(&to).is_some_and(|outgoing| outgoing.file.is_none())
    }

    /// A piece went out.
    pub(crate) fn handle_sent(&mut self, to: ServiceNumber, transfer: u64, bytes: u32) {
        let outgoing = self.outgoing.get_mut(&to);
        if let Some(outgoing) = outgoing.filter(|outgoing| outgoing.transfer == transfer) {
            outgoing.sent = outgoing.sent.saturating_add(bytes);
        }
    }

    /// The transfer to this number is over, or the offer is. Whether it had been accepted: the second.
    pub(crate) fn end_outgoing(&mut self, to: ServiceNumber) -> Option<(Ended, bool)> {
        let Outgoing { name, length, file, .. } = self.outgoing.remove(&to)?;
        Some((Ended { name, length, path: PathBuf::new() }, file.is_none()))
    }

    /// Someone offers a file.
    pub(crate) fn handle_offered(&mut self, from: ServiceNumber, name: String, length: u32) {
        self.offers.insert(from, Offer { name, length });
    }

    /// Makes the file that an offer is to be received into: at the path that was given, or in the chosen
    /// folder under a name made of the one that was offered.
    pub(crate) fn accept(
        &mut self,
        from: ServiceNumber,
        path: Option<&Path>,
    ) -> Result<(), String> {
        if self.incoming.contains_key(&from) {
            return Err(format!("a file from {from} is already on its way"));
        }
        let offer = self.offers.get(&from).ok_or(format!("{from} has offered no file"))?;
        let wanted = match path {
            Some(path) if path.is_dir() => path.join(safe_name(&offer.name)),
            Some(path) => path.to_owned(),
            None => self.downloads.join(safe_name(&offer.name)),
        };
        let (file, path) =
            create_new(&wanted).map_err(|error| format!("{}: {error}", wanted.display()))?;
        let Offer { name, length } = offer.clone();
        self.offers.remove(&from);
        let incoming = Incoming { name, path, file, length, received: 0, allowed: false };
        self.incoming.insert(from, incoming);
        Ok(())
    }

    /// The server has taken the acceptance. A file of length 0 is complete with that.
    pub(crate) fn handle_allowed(&mut self, from: ServiceNumber) -> Option<Ended> {
        self.incoming.get_mut(&from)?.allowed = true;
        self.complete(from)
    }

    /// A piece came: the file, if it is whole now. An error breaks the transfer off.
    pub(crate) fn handle_piece(
        &mut self,
        from: ServiceNumber,
        data: &[u8],
    ) -> Result<Option<Ended>, String> {
        let incoming = self.incoming.get_mut(&from).ok_or("no file was accepted")?;
        let fits =
            u32::try_from(data.len()).ok().filter(|n| *n <= incoming.length - incoming.received);
        let bytes = fits.ok_or("more came than was offered")?;
        incoming
            .file
            .write_all(data)
            .map_err(|error| format!("{}: {error}", incoming.path.display()))?;
        incoming.received += bytes;
        Ok(self.complete(from))
    }

    fn complete(&mut self, from: ServiceNumber) -> Option<Ended> {
        let whole = |incoming: &&mut Incoming| incoming.received == incoming.length;
        self.incoming.get_mut(&from).filter(whole)?;
        let Incoming { name, path, length, .. } = self.incoming.remove(&from)?;
        Some(Ended { name, length, path })
    }

    /// The transfer from this number is over before its end, or the offer is. What has come is deleted:
    /// half a file under the name of the whole one misleads.
    pub(crate) fn end_incoming(&mut self, from: ServiceNumber) -> Option<Ended> {
        if let Some(Offer { name, length }) = self.offers.remove(&from) {
            return Some(Ended { name, length, path: PathBuf::new() });
        }
        let Incoming { name, path, length, .. } = self.incoming.remove(&from)?;
        // Where it cannot be deleted it stays: nothing depends on it.
        let _ = fs::remove_file(&path);
        Some(Ended { name, length, path })
    }

    /// The numbers of all with whom there is a transfer or an offer.
    pub(crate) fn partners(&self) -> Vec<ServiceNumber> {
        let (offers, incoming) = (self.offers.keys(), self.incoming.keys());
        let mut partners: Vec<_> =
            offers.chain(incoming).chain(self.outgoing.keys()).copied().collect();
        partners.sort_unstable();
        partners.dedup();
        partners
    }

    /// Bytes done and to be done of all that flows, and how many files these are; `None` if nothing flows.
    pub(crate) fn progress(&self) -> Option<(u64, u64, usize)> {
        let incoming = self.incoming.values().filter(|file| file.allowed);
        let incoming = incoming.map(|file| (file.received, file.length));
        let outgoing = self.outgoing.values().filter(|file| file.file.is_none());
        let all = incoming.chain(outgoing.map(|file| (file.sent, file.length)));
        let sums = all.fold((0, 0, 0), |(done, length, count), (more, of)| {
            (done + u64::from(more), length + u64::from(of), count + 1)
        });
        (sums.2 > 0).then_some(sums)
    }
}

impl Drop for Files {
    /// What is half received when the client ends is deleted, as when a transfer breaks off.
    fn drop(&mut self) {
        for from in self.incoming.keys().copied().collect::<Vec<_>>() {
            self.end_incoming(from);
        }
    }
}

fn open(path: &Path) -> io::Result<(File, u32)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let length = u32::try_from(metadata.len());
    Ok((file, length.map_err(|_| io::Error::other("longer than 4 GiB, which no offer can say"))?))
}

/// A name without a way into another folder, or into hiding, that any file system takes.
fn safe_name(offered: &str) -> String {
    let name = offered.rsplit(['/', '\\']).next().unwrap_or_default();
    let safe = |c: char| if is_unsafe(c) || c == ':' { '_' } else { c };
    let mut name: String = name.chars().map(safe).collect();
    if name.starts_with('.') {
        name.replace_range(..1, "_");
    }
    let name = name.trim();
    shortened(if name.is_empty() { "file" } else { name }, "")
}

/// The name with `suffix` before its extension, cut so that it stays a possible name.
fn shortened(name: &str, suffix: &str) -> String {
    let (stem, extension) = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= 16 => name.split_at(dot),
        _ => (name, ""),
    };
    let room = NAME_BYTES_MAX - suffix.len() - extension.len();
    let end = (0..=room.min(stem.len())).rev().find(|&end| stem.is_char_boundary(end));
    format!("{}{suffix}{extension}", &stem[..end.unwrap_or(0)])
}

/// Creates a file that was not there: under this name, or with the first number that makes it a new one.
fn create_new(wanted: &Path) -> io::Result<(File, PathBuf)> {
    let name = wanted.file_name().ok_or_else(|| io::Error::other("not a file's name"))?;
    let name = name.to_string_lossy();
    for number in 1..=NAMES_TRIED {
        let path = match number {
            1 => wanted.to_owned(),
            _ => wanted.with_file_name(shortened(&name, &format!(" ({number})"))),
        };
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many files of this name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ServiceNumber = ServiceNumber(10_001);

    #[test]
    fn no_offered_name_leads_out_of_the_folder() {
        for (offered, safe) in [
            ("a.txt", "a.txt"),
            ("../../etc/passwd", "passwd"),
            ("/etc/passwd", "passwd"),
            ("c:\\windows\\x.exe", "x.exe"),
            ("..", "_."),
            (".bashrc", "_bashrc"),
            ("", "file"),
            ("a/", "file"),
            ("  ", "file"),
            ("a\nb\u{202e}txt.exe", "a_b_txt.exe"),
            ("图片.gif", "图片.gif"),
        ] {
            assert_eq!(safe_name(offered), safe, "{offered:?}");
        }
        let long = safe_name(&format!("{}.jpeg", "图".repeat(120)));
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with("图.jpeg"));
    }

    #[test]
    fn a_file_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("a.txt");
        let names: Vec<_> = (0..3)
            .map(|_| create_new(&wanted).unwrap().1.file_name().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["a.txt", "a (2).txt", "a (3).txt"]);
    }

    #[test]
    fn a_file_arrives_piece_by_piece() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(folder.path().to_owned());
        assert!(files.accept(ANN, None).is_err());
        files.handle_offered(ANN, "../x".to_owned(), 5);
        files.accept(ANN, None).unwrap();
        assert_eq!(files.handle_allowed(ANN), None);
        assert_eq!(files.handle_piece(ANN, b"abc"), Ok(None));
        assert_eq!(files.progress(), Some((3, 5, 1)));
        let ended = files.handle_piece(ANN, b"de").unwrap().unwrap();
        assert_eq!(ended.path, folder.path().join("x"));
        assert_eq!(fs::read(&ended.path).unwrap(), b"abcde");
        assert_eq!(files.progress(), None);
    }

    #[test]
    fn what_breaks_off_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(folder.path().to_owned());
        for _ in 0..2 {
            files.handle_offered(ANN, "x".to_owned(), 5);
            files.accept(ANN, None).unwrap();
            files.handle_piece(ANN, b"abc").unwrap();
            assert!(files.handle_piece(ANN, b"def").is_err());
            assert!(files.end_incoming(ANN).is_some());
        }
        files.handle_offered(ANN, "x".to_owned(), 5);
        files.accept(ANN, None).unwrap();
        drop(files);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_file_is_complete_when_it_is_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(folder.path().to_owned());
        files.handle_offered(ANN, "x".to_owned(), 0);
        files.accept(ANN, Some(&folder.path().join("y"))).unwrap();
        assert_eq!(files.handle_allowed(ANN).unwrap().path, folder.path().join("y"));
    }

    #[test]
    fn folders_and_missing_files_cannot_be_offered() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::new(PathBuf::new());
        assert!(files.offer(ANN, folder.path()).unwrap_err().contains("not a file"));
        assert!(files.offer(ANN, &folder.path().join("x")).is_err());
        fs::write(folder.path().join("x"), "abc").unwrap();
        let offer = files.offer(ANN, &folder.path().join("x"));
        assert_eq!(offer, Ok(("x".to_owned(), 3)));
        assert!(files.offer(ANN, &folder.path().join("x")).is_err());
        let own = ServiceNumber(10_002);
        let (file, name) = files.start(own, ANN).unwrap();
        assert_eq!((&*name, file.own, file.to, file.remaining), ("x", own, ANN, 3));
        assert!(files.start(own, ANN).is_none());
    }

    #[test]
    fn what_is_left_of_a_transfer_that_ended_does_not_count_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "abc").unwrap();
        let mut files = Files::new(PathBuf::new());
        let mut start = || {
            files.offer(ANN, &path).unwrap();
            let (file, _) = files.start(ServiceNumber(10_002), ANN).unwrap();
            files.handle_sent(ANN, file.transfer, 1);
            files.handle_sent(ANN, file.transfer - 1, 2);
            assert_eq!(files.progress(), Some((1, 3, 1)));
            assert!(files.is_current(ANN, file.transfer));
            assert!(!files.is_current(ANN, file.transfer - 1));
            files.end_outgoing(ANN);
            assert!(!files.is_current(ANN, file.transfer));
        };
        start();
        start();
    }
}
