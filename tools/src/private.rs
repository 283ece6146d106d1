//! Files and folders that hold what users have written, and that nobody but their owner may look into.
//!
//! Owns how such are made: anew, never over anything, and no folder above them. Where they lie is not decided here.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// What the owner may do with such a folder, and nobody else.
pub(crate) const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Makes a folder, unless it is there already. The one above it has to be: what a signal has removed stays removed.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Makes a file, to be written.
pub(crate) fn file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)
}

/// Makes a file of these bytes.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    file(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_made_is_closed_to_others_and_nothing_is_written_over() {
        let above = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let made = above.path().join("made");
        folder(&made).unwrap();
        folder(&made).unwrap();
        assert_eq!(mode(&made), 0o700);
        let secret = made.join("secret");
        write(&secret, b"one").unwrap();
        assert_eq!(mode(&secret), 0o600);
        assert_eq!(write(&secret, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&secret).unwrap(), b"one");
        let gone = above.path().join("gone");
        assert_eq!(folder(&gone.join("below")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!gone.exists());
    }
}
