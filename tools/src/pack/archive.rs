//! The file that `pack` makes: a gzip-compressed tar archive of a log and its recording.
//!
//! ```text
//! NNNNNNNNNNNNNNNNNNNN.base            the state before the first event, where there is one
//! NNNNNNNNNNNNNNNNNNNN.log …           the events
//! black-box/NNNNNNNNNNNNNNNNNNNN.box … the recording
//! ```
//!
//! Owns the names in it, in both directions: nothing of another name is written, and nothing of another name is
//! unpacked. gzip checks the whole with a CRC-32, log and recording check themselves beyond that.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use indicatif::BinaryBytes;
use oicq::black_box::{FOLDER, is_box_name};
use oicq::log::format::{parse_base_name, parse_segment_name};
use tar::{Archive, Builder, EntryType, Header};

use crate::ending::{Temporary, Unfinished};
use crate::failure::Failure;
use crate::private;
use crate::source::progress;

/// Makes the archive of a folder; its bytes. Nothing is left of it where that fails, or a signal comes.
pub(super) fn write(folder: &Path, out: &Path) -> Result<u64, Failure> {
    let (unfinished, file) = Unfinished::begin(out, |error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(out),
        _ => cannot_write(out, &error),
    })?;
    let bytes = write_to(folder, file).map_err(|error| cannot_write(out, &error))?;
    unfinished.keep();
    Ok(bytes)
}

/// The archive is not written over anything.
pub(super) fn exists(out: &Path) -> Failure {
    let out = out.display();
    Failure::Failed(format!("{out} exists already, and is left as it is; name another file"))
}

fn cannot_write(out: &Path, error: &io::Error) -> Failure {
    Failure::cannot("write", out.display(), error)
}

fn write_to(folder: &Path, file: File) -> io::Result<u64> {
    let packed = GzEncoder::new(BufWriter::new(file), Compression::best());
    let mut builder = Builder::new(packed);
    let names = names(folder)?;
    let size = |name| Ok(fs::metadata(folder.join(name))?.len());
    let bar = progress(names.iter().map(size).sum::<io::Result<u64>>()?);
    for name in names {
        let from = File::open(folder.join(&name))?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(from.metadata()?.len());
        header.set_mode(0o600);
        builder.append_data(&mut header, &name, bar.wrap_read(from))?;
    }
    bar.finish_and_clear();
    let mut out = builder.into_inner()?.finish()?;
    out.flush()?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// What is archived of a folder, in order.
fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for below in ["", FOLDER] {
        match fs::read_dir(folder.join(below)) {
            Ok(entries) => {
                for entry in entries {
                    names.push(Path::new(below).join(entry?.file_name()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    names.retain(|name| is_known(name));
    names.sort();
    Ok(names)
}

/// Whether a file of this name is part of an archive.
fn is_known(path: &Path) -> bool {
    let Some(path) = path.to_str() else { return false };
    match path.split_once('/') {
        None => parse_segment_name(path).is_some() || parse_base_name(path).is_some(),
        Some((folder, name)) => folder == FOLDER && is_box_name(name),
    }
}

/// Unpacks an archive into a folder of its own, which goes with what is given back.
pub(crate) fn unpack(file: &Path) -> Result<Temporary, Failure> {
    let folder = Temporary::new()?;
    unpack_to(file, folder.path())?;
    Ok(folder)
}

fn unpack_to(file: &Path, folder: &Path) -> Result<(), Failure> {
    let shown = file.display();
    let unread = |error| Failure::cannot("read", &shown, &error);
    let wrong = |error: io::Error| {
        Failure::Failed(format!(
            "{shown}: it is no whole file that oicq-tools pack has made: {error}"
        ))
    };
    let unwritten = |why: &dyn Display| {
        let place = folder.parent().unwrap_or(folder).display();
        Failure::Failed(format!(
            "cannot unpack {shown} in {place}: {why}; TMPDIR names another place"
        ))
    };
    let packed = File::open(file).map_err(unread)?;
    let bar = progress(packed.metadata().map_err(unread)?.len());
    let mut archive = Archive::new(GzDecoder::new(BufReader::new(bar.wrap_read(packed))));
    // As they stand: a name that is too long for a header would be read into memory, however long it is.
    for entry in archive.entries().map_err(wrong)?.raw(true) {
        let mut entry = entry.map_err(wrong)?;
        let path = entry.path().map_err(wrong)?.into_owned();
        if entry.header().entry_type() != EntryType::Regular || !is_known(&path) {
            let holds = format!("it holds {:?}", path.display().to_string());
            return Err(wrong(io::Error::other(holds)));
        }
        let (size, room) = (entry.size(), free_room(folder).map_err(|error| unwritten(&error))?);
        if size > room {
            let (size, room) = (BinaryBytes(size), BinaryBytes(room));
            return Err(unwritten(&format_args!("it needs {size} more, and there are {room}")));
        }
        let to = folder.join(&path);
        if path.parent() == Some(Path::new(FOLDER)) {
            private::folder(&folder.join(FOLDER)).map_err(|error| unwritten(&error))?;
        }
        let mut made = private::file(&to).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => wrong(io::Error::other("a name stands in it twice")),
            _ => unwritten(&error),
        })?;
        copy(&mut entry, size, &mut made, wrong, |error| unwritten(&error))?;
    }
    // The checksum stands behind the last byte.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(wrong)?;
    bar.finish_and_clear();
    Ok(())
}

/// Copies all of an entry; what goes wrong is the one's fault or the other's.
fn copy(
    from: &mut impl Read,
    size: u64,
    to: &mut File,
    wrong: impl Fn(io::Error) -> Failure,
    unwritten: impl Fn(io::Error) -> Failure,
) -> Result<(), Failure> {
    let (mut buffer, mut left) = (vec![0; 1 << 16], size);
    while left > 0 {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Err(wrong(io::ErrorKind::UnexpectedEof.into())),
            read => read.map_err(&wrong)?,
        };
        to.write_all(&buffer[..count]).map_err(&unwritten)?;
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}

/// Bytes that can still be written there.
fn free_room(folder: &Path) -> io::Result<u64> {
    let room = rustix::fs::statvfs(folder)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    const LOG: &str = "00000000000000000001.log";
    const BOX: &str = "00000000000000000007.box";

    fn packed(folder: &Path) -> PathBuf {
        let from = folder.join("from");
        fs::create_dir_all(from.join(FOLDER)).unwrap();
        fs::write(from.join(LOG), [7; 9_000]).unwrap();
        fs::write(from.join("LOCK"), "").unwrap();
        fs::write(from.join(FOLDER).join(BOX), "steps").unwrap();
        let out = folder.join("out.oicq");
        assert_eq!(write(&from, &out).unwrap(), fs::metadata(&out).unwrap().len());
        out
    }

    #[test]
    fn what_was_packed_comes_out_again_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let out = packed(folder.path());
        assert!(fs::metadata(&out).unwrap().len() < 1_000, "zeros and repetitions take no room");
        let unpacked = unpack(&out).unwrap();
        assert_eq!(fs::read(unpacked.path().join(LOG)).unwrap(), [7; 9_000]);
        assert_eq!(fs::read(unpacked.path().join(FOLDER).join(BOX)).unwrap(), b"steps");
        assert!(!unpacked.path().join("LOCK").exists());
        let mode = |name: &str| fs::metadata(unpacked.path().join(name)).unwrap().mode() & 0o777;
        assert_eq!([mode(""), mode(FOLDER), mode(LOG)], [0o700, 0o700, 0o600]);
        let path = unpacked.path().to_owned();
        drop(unpacked);
        assert!(!path.exists());
        assert!(write(&folder.path().join("from"), &out).is_err(), "it is not written over");
    }

    #[test]
    fn a_damaged_archive_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let out = packed(folder.path());
        let whole = fs::read(&out).unwrap();
        for length in 0..whole.len() {
            fs::write(&out, &whole[..length]).unwrap();
            assert!(unpack(&out).is_err(), "{length} bytes of it");
        }
        // The header's time, flags and system are nobody's.
        for place in 10..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&out, damaged).unwrap();
            assert!(unpack(&out).is_err(), "byte {place}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "../00000000000000000001.log",
            "/tmp/00000000000000000001.log",
            "black-box/../x",
            "x.txt",
        ];
        for name in names {
            let out = folder.path().join("evil");
            let packed = GzEncoder::new(File::create(&out).unwrap(), Compression::fast());
            let mut builder = Builder::new(packed);
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(1);
            header.set_entry_type(EntryType::Regular);
            header.set_cksum();
            builder.append(&header, &b"x"[..]).unwrap();
            builder.into_inner().unwrap().finish().unwrap();
            let Err(Failure::Failed(words)) = unpack(&out) else { panic!("{name} is taken") };
            assert!(words.contains("it holds \""), "{words}");
        }
    }

    /// An archive of these entries: type, name, what the header says of the length, and content.
    fn forged(out: &Path, entries: &[(EntryType, &str, u64, &[u8])]) -> String {
        let packed = GzEncoder::new(File::create(out).unwrap(), Compression::fast());
        let mut builder = Builder::new(packed);
        for (entry_type, name, size, content) in entries {
            let mut header = Header::new_gnu();
            header.set_path(name).unwrap();
            header.set_size(*size);
            header.set_entry_type(*entry_type);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        let Err(Failure::Failed(words)) = unpack(out) else { panic!("{entries:?} are taken") };
        words
    }

    #[test]
    fn what_asks_for_more_than_a_packed_file_has_is_refused_before_it_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("evil");
        let regular = EntryType::Regular;
        let long = vec![b'a'; 1 << 20];
        let name_of_the_next = [(EntryType::GNULongName, "long", 1 << 20, &*long)];
        let words = forged(&out, &[&name_of_the_next[..], &[(regular, LOG, 1, b"x")]].concat());
        assert!(words.len() < 300 && words.contains("it holds \"long\""), "{}", words.len());
        let words = forged(&out, &[(regular, LOG, 1 << 60, b"x")]);
        assert!(words.contains("it needs 1.00 EiB more, and there are "), "{words}");
        assert!(words.contains("TMPDIR"), "{words}");
        let words = forged(&out, &[(regular, LOG, 9_000, b"x")]);
        assert!(words.contains("unexpected end of file"), "{words}");
        let words = forged(&out, &[(regular, LOG, 1, b"x"), (regular, LOG, 1, b"x")]);
        assert!(words.contains("a name stands in it twice"), "{words}");
        for link in [EntryType::Symlink, EntryType::Link, EntryType::Fifo, EntryType::GNUSparse] {
            assert!(forged(&out, &[(link, LOG, 0, b"")]).contains("it holds \""));
        }
        let Err(Failure::Failed(words)) = unpack(&folder.path().join("none")) else { panic!() };
        assert!(words.starts_with("cannot read ") && !words.contains("no whole file"), "{words}");
    }
}
