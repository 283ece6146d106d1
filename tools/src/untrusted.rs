//! What the tools make of bytes that nobody vouches for, for fuzz targets and tests: a server's, and those of a log of
//! which anything may be damaged.
//!
//! Owns no more than the way in: what is done is what the commands do.

use std::borrow::Cow;

use indicatif::ProgressBar;
use oicq::id::{Place, Seq, UnixMillis};
use oicq::log::{ReadError, Storage};
use oicq::state::{EventKind, Stamp, State, Waiting};

pub use crate::client::offline::Client;
use crate::failure::Failure;
use crate::salvage::{Base, Sink, Text, survey, walk, write_json, write_text};

/// What `repair` saves of a log.
pub struct Saved {
    /// What it makes of it.
    pub state: State,
    /// What those records make that are written.
    pub written: State,
    /// The last sequence number of the log, damaged or not.
    pub last: Seq,
    /// What `verify` says of it.
    pub report: String,
    /// The same, one JSON object a line.
    pub report_json: String,
}

/// Saves what can be saved of a log; `None` where nothing can, since nothing shows that it is one, or a newer
/// version has written it.
///
/// # Errors
/// If it cannot be read, in words for people.
pub fn save(storage: &impl Storage) -> Result<Option<Saved>, String> {
    let bar = ProgressBar::hidden();
    let survey = match survey(storage, &bar) {
        Err(ReadError::Newer { .. }) => return Ok(None),
        survey => survey.map_err(|error| error.to_string())?,
    };
    if survey.identity.is_none() || survey.newer.is_some() {
        return Ok(None);
    }
    let mut written = Written::default();
    let salvaged = walk(storage, &survey, &mut written, &bar).map_err(Failure::words)?;
    let (mut report, mut report_json) = (Vec::new(), Vec::new());
    let told = write_text(&survey, &salvaged, &mut report)
        .and_then(|()| write_json(&survey, &salvaged, &mut report_json));
    told.map_err(|error| error.to_string())?;
    let text = |bytes| String::from_utf8(bytes).map_err(|error| error.to_string());
    Ok(Some(Saved {
        state: salvaged.state,
        written: written.0,
        last: survey.last,
        report: text(report)?,
        report_json: text(report_json)?,
    }))
}

/// The state that the written records make, as a server will make it.
#[derive(Default)]
struct Written(State);

impl Sink for Written {
    fn take(
        &mut self,
        time: UnixMillis,
        records: &[(EventKind, Cow<'_, [u8]>)],
    ) -> Result<(), Failure> {
        for (kind, payload) in records {
            let stamp = Stamp { seq: self.0.last_seq().next(), time, place: Place(0) };
            let applied = self.0.apply_record(stamp, *kind as u8, payload);
            applied.map_err(|error| Failure::Failed(format!("{}: {error}", stamp.seq)))?;
        }
        Ok(())
    }

    fn take_base(
        &mut self,
        base: &Base,
        state: &State,
        text: &mut Text<'_>,
    ) -> Result<(), Failure> {
        let stamp = Stamp { seq: base.origin.seq, time: base.origin.time, place: Place(0) };
        let text = |waiting: &Waiting, out: &mut Vec<u8>| text(waiting, out);
        state.keep(state.digest(), text, |kind, payload| {
            let restored = self.0.restore(stamp, kind, payload);
            restored.map_err(|error| Failure::Failed(format!("the base: {error}")))
        })
    }
}
