//! How a signal ends the tools: as ever, but temporary folders and files that are half made go first, a terminal that
//! was taken over is given back, and one on which a line or a password is being typed works again as it did before.
//!
//! Owns these folders and files, and the signals that ask the program to end, from the first of either on. It never
//! ends the program without one, and against SIGKILL it can do nothing.

use std::env;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tempfile::TempDir;

use crate::echo;
use crate::failure::Failure;
use crate::private::{self, FOLDER_MODE};

/// The folders that there are.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// The files that are being made.
static FILES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// Whether signals are watched.
static IS_WATCHED: Mutex<bool> = Mutex::new(false);
/// Whether somebody takes note of signals and ends the program in good order.
static IS_TAKEN_OVER: AtomicBool = AtomicBool::new(false);
/// The signal that was left to whoever has taken over; 0 for none.
static NOTED: AtomicI32 = AtomicI32::new(0);
/// Whether the program is about to end by a signal.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// How often a folder is removed into which something may still be written.
const TRIES: usize = 100;

/// A folder of one's own, closed to other users, which goes when it is dropped, and when a signal ends the program.
pub(crate) struct Temporary(Option<TempDir>);

impl Temporary {
    /// Where such folders usually are.
    pub(crate) fn new() -> Result<Self, Failure> {
        Self::within(&env::temp_dir(), |error| {
            Failure::cannot("make", "a temporary folder (TMPDIR says where)", error)
        })
    }

    /// In this place; where that cannot be, it is said so.
    pub(crate) fn within(
        place: &Path,
        cannot: impl FnOnce(&io::Error) -> Failure,
    ) -> Result<Self, Failure> {
        watch()?;
        // No signal comes in between: whoever removes the folders has to wait for this.
        let mut folders = locked(&FOLDERS);
        let mode = Permissions::from_mode(FOLDER_MODE);
        let made =
            tempfile::Builder::new().prefix("oicq-tools-").permissions(mode).tempdir_in(place);
        let made = made.map_err(|error| cannot(&error))?;
        folders.push(made.path().to_owned());
        Ok(Self(Some(made)))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let Some(made) = self.0.take() else { return };
        let path = made.path().to_owned();
        drop(made);
        locked(&FOLDERS).retain(|folder| *folder != path);
    }
}

/// A file of one's own that is being made. It goes when this is dropped before it is whole, and when a signal ends the
/// program.
pub(crate) struct Unfinished {
    path: PathBuf,
    is_whole: bool,
}

impl Unfinished {
    /// Makes it, to be written.
    pub(crate) fn begin(
        path: &Path,
        cannot: impl FnOnce(io::Error) -> Failure,
    ) -> Result<(Self, File), Failure> {
        watch()?;
        // No signal comes in between, as for folders.
        let mut files = locked(&FILES);
        let file = private::file(path).map_err(cannot)?;
        files.push(path.to_owned());
        Ok((Self { path: path.to_owned(), is_whole: false }, file))
    }

    /// It is whole, and stays.
    pub(crate) fn keep(mut self) {
        self.is_whole = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut files = locked(&FILES);
        if !self.is_whole {
            // What goes wrong here is not what is told: that is why it is not whole.
            let _ = fs::remove_file(&self.path);
        }
        files.retain(|file| *file != self.path);
    }
}

/// From now on SIGTERM, SIGINT and SIGQUIT are noted instead of obeyed. SIGHUP ends the program as ever: the terminal
/// is gone, and the wait for its keys would not end.
pub(crate) fn take_over() -> Result<(), Failure> {
    watch()?;
    IS_TAKEN_OVER.store(true, Ordering::SeqCst);
    Ok(())
}

/// From now on they end the program at once.
pub(crate) fn give_back() {
    IS_TAKEN_OVER.store(false, Ordering::SeqCst);
}

/// The signal that has been noted, if one has.
pub(crate) fn noted() -> Option<i32> {
    Some(NOTED.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// Ends the program as a signal does.
pub(crate) fn end_by(signal: i32) {
    IS_ENDING.store(true, Ordering::SeqCst);
    echo::put_back_for_good();
    // Nobody gets either any more, so that none is made behind this.
    let (folders, files) = (locked(&FOLDERS), locked(&FILES));
    remove(&folders, &files);
    // It fails for no signal that is watched.
    let _ = emulate_default_handler(signal);
    IS_ENDING.store(false, Ordering::SeqCst);
}

fn remove(folders: &[PathBuf], files: &[PathBuf]) {
    for file in files {
        let _ = fs::remove_file(file);
    }
    for folder in folders {
        // It may still be written into, until there is no more of it.
        let _ = (0..TRIES).find(|_| fs::remove_dir_all(folder).is_ok() || !folder.exists());
    }
}

/// To be asked before the program ends by itself. Where a signal is ending it, what fails for want of the folders is
/// nobody's business.
pub(crate) fn wait_if_ending() {
    while IS_ENDING.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Begins to watch signals, once.
pub(crate) fn watch() -> Result<(), Failure> {
    let mut is_watched = locked(&IS_WATCHED);
    if !*is_watched {
        let watching = || -> io::Result<()> {
            let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
            let mut signals = Signals::new(watched(&status))?;
            let work = move || signals.forever().for_each(obey);
            thread::Builder::new().name("signals".to_owned()).spawn(work).map(drop)
        };
        watching()
            .map_err(|error| Failure::Failed(format!("signals cannot be watched: {error}")))?;
        *is_watched = true;
    }
    Ok(())
}

/// Which signals are watched: those that end the program. What is ignored by whoever has started it, as by `nohup`,
/// stays ignored.
fn watched(status: &str) -> impl Iterator<Item = i32> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let ending = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter();
    ending.filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}

fn obey(signal: i32) {
    if signal != SIGHUP && IS_TAKEN_OVER.load(Ordering::SeqCst) {
        NOTED.store(signal, Ordering::SeqCst);
    } else {
        end_by(signal);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_is_closed_to_others_and_goes_when_it_is_dropped() {
        let made = Temporary::new().unwrap();
        let path = made.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        drop(made);
        assert!(!path.exists() && !locked(&FOLDERS).contains(&path));
    }

    #[test]
    fn of_a_file_that_is_not_whole_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let begin = || Unfinished::begin(&path, |error| Failure::Failed(error.to_string()));
        let (unfinished, _) = begin().unwrap();
        assert!(path.exists() && locked(&FILES).contains(&path));
        drop(unfinished);
        assert!(!path.exists() && !locked(&FILES).contains(&path));
        let (unfinished, _) = begin().unwrap();
        unfinished.keep();
        assert!(path.exists() && !locked(&FILES).contains(&path));
        // What was there before is nobody's to remove.
        assert!(begin().is_err() && path.exists() && !locked(&FILES).contains(&path));
    }

    #[test]
    fn a_signal_removes_what_is_half_made() {
        let folder = tempfile::tempdir().unwrap();
        let [inner, half, other] = ["inner", "half", "other"].map(|name| folder.path().join(name));
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("x"), "x").unwrap();
        fs::write(&half, "x").unwrap();
        fs::write(&other, "x").unwrap();
        remove(&[inner.clone(), folder.path().join("gone")], std::slice::from_ref(&half));
        assert_eq!([&inner, &half, &other].map(|path| path.exists()), [false, false, true]);
    }

    #[test]
    fn what_is_ignored_from_the_start_is_not_watched() {
        let watched = |status: &str| watched(status).collect::<Vec<_>>();
        assert_eq!(watched(""), [SIGHUP, SIGINT, SIGQUIT, SIGTERM]);
        let status = "Name:\toicq-tools\nSigIgn:\t0000000000001003\nSigCgt:\t0000000000000000\n";
        assert_eq!(watched(status), [SIGQUIT, SIGTERM]);
        assert_eq!(watched("SigIgn:\tnonsense\n").len(), 4);
    }
}
