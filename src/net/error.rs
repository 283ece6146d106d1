//! Why a server does not start, or ends: as data, and as the one line that says it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::codec::charset::Charset;
use crate::log::{Damage, Failed, OpenError};
use crate::state::{EventError, KeptError, RecordError};

/// Why a server does not start, or ends.
#[derive(Debug)]
pub enum ServerError {
    /// It cannot listen there.
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// There is no data folder and none can be made.
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The log cannot be opened.
    Open {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: OpenError<RecordError>,
    },
    /// The log failed while the server ran.
    Journal(Failed),
    /// The system refused something that the server cannot do without.
    System {
        /// What, as in "cannot ...".
        doing: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl ServerError {
    /// Names what the system was asked for, for `map_err`.
    pub(super) fn at(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { doing, error }
    }
}

impl From<Failed> for ServerError {
    fn from(failed: Failed) -> Self {
        Self::Journal(failed)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error } => {
                write!(f, "cannot listen on {address}: {error}; {}", where_to_listen(error))
            }
            Self::Folder { folder, error } => {
                let folder = folder.display();
                write!(f, "cannot use the folder {folder}: {error}; {}", which_folder(error))
            }
            Self::Open { folder, error } => show_open(f, folder, error),
            Self::Journal(error) => {
                write!(f, "{error}: stopped, nothing that is not on disk was answered")
            }
            Self::System { doing, error } => {
                write!(
                    f,
                    "cannot {doing}: {error}; see what the system's own log says, and start again"
                )
            }
        }
    }
}

fn show_open(
    f: &mut fmt::Formatter<'_>,
    folder: &Path,
    error: &OpenError<RecordError>,
) -> fmt::Result {
    match error {
        OpenError::Meaning {
            error:
                RecordError::Event(EventError::UnknownKind(_) | EventError::Longer(_))
                | RecordError::Kept(KeptError::UnknownKind(_)),
            ..
        } => {
            write!(f, "{error}; start that version")
        }
        OpenError::Damaged(Damage { .. }) | OpenError::Meaning { .. } => {
            write!(f, "{error}; run: oicq-tools verify {}", folder.display())
        }
        OpenError::Charset { found, wanted, .. } => {
            let name = |tag: u8| Charset::from_tag(tag).map_or("an unknown charset", Charset::name);
            let (found, wanted) = (name(*found), name(*wanted));
            let folder = folder.display();
            write!(
                f,
                "{folder}: its text is in {found}, not in {wanted}; start with --charset {found}"
            )
        }
        OpenError::Storage(failed) => match what_helps(failed) {
            Some(remedy) => write!(f, "{error}; {remedy}, and start again"),
            None => write!(f, "{error}; {}", which_folder(&failed.error)),
        },
        OpenError::InUse { .. } => {
            write!(f, "{error}; stop that one, or start with another folder behind --data")
        }
        OpenError::Newer { .. } | OpenError::Compacted => write!(f, "{error}"),
    }
}

/// What to do where the system does not let a server listen.
fn where_to_listen(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has the port: choose another with --listen, port 0 takes a free one"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: choose one that it has with --listen, 0.0.0.0 is all of them"
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not have the port: choose one from 1024 on with --listen"
        }
        _ => "choose another address or port with --listen",
    }
}

/// What to do where the folder cannot be used.
fn which_folder(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "start as the user that it belongs to, or with another folder behind --data"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room, and start again",
        _ => "start with another folder behind --data, or see to this one",
    }
}

/// What to do where there was no room: a server that does not start cannot wait for it.
fn what_helps(failed: &Failed) -> Option<&'static str> {
    match failed.error.kind() {
        io::ErrorKind::StorageFull => Some("make room on the disk"),
        io::ErrorKind::QuotaExceeded => Some("make room within the quota"),
        io::ErrorKind::FileTooLarge => Some("raise the limit on the size of files"),
        _ => None,
    }
}

impl std::error::Error for ServerError {}
