//! How much more memory a server holds for what its log says after an attack than for what it said before: an attacker
//! who registers, or leaves messages, leaves something that is to be kept.
//!
//! Owns the two logs, the one of before as a copy. It tells what is stored by what a server holds that has only just
//! started on it, and so has nothing else to hold. It never looks into a log.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use oicq::log::DiskStorage;
use oicq::log::backup::Survey;

use super::settled;
use crate::bench::child::{Child, Limits, store};
use crate::bench::run::Run;
use crate::bench::watch::Watch;
use crate::failure::Failure;

/// The log of a server that was started for the attack, as it was before.
pub(super) struct Before<'a> {
    program: &'a Path,
    options: &'a [OsString],
    folder: PathBuf,
    copy: PathBuf,
}

impl<'a> Before<'a> {
    /// Copies the log of the server that runs in `folder`, into that folder.
    pub(super) fn of(
        program: &'a Path,
        options: &'a [OsString],
        folder: PathBuf,
    ) -> Result<Self, Failure> {
        let copy = folder.join("before");
        let cannot = |error: &dyn Display| {
            Failure::Failed(format!("cannot copy the log of before the attack: {error}"))
        };
        let from = DiskStorage::read_only(&store(&folder));
        let mut to = DiskStorage::create(&store(&copy)).map_err(|error| cannot(&error))?;
        let survey = Survey::of(&from, &mut |_, _, _| ()).map_err(|error| cannot(&error))?;
        survey.copy_into(&from, &mut to, &mut |_, _, _| ()).map_err(|error| cannot(&error))?;
        Ok(Self { program, options, folder, copy })
    }

    /// How much more is stored now, in bytes of memory; the server has ended. `None` where the system does not tell.
    pub(super) fn stored_since(&self, run: &Run) -> Result<Option<u64>, Failure> {
        let (before, now) = (self.held(run, &self.copy)?, self.held(run, &self.folder)?);
        Ok(now.zip(before).map(|(now, before)| now.saturating_sub(before)))
    }

    /// Memory in bytes of a server that has only just started.
    fn held(&self, run: &Run, folder: &Path) -> Result<Option<u64>, Failure> {
        let server = Child::server(run, self.program, folder, Limits::Usual, self.options)?;
        let holds = settled(run, Watch::over(Some(server.id())))?;
        Ok(holds.map(|holds| holds.memory))
    }
}
