//! What the recording of a server's input adds to an answer from the log: from where a message was sent, and where it
//! went to.
//!
//! Where there is no recording, or it does not reach there, nothing is added.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::ControlFlow;

use oicq::black_box::{Actual, BoxFile, Observer, Step};
use oicq::engine::{Engine, HeldInput};
use oicq::id::{ConnectionId, Seq, ServiceNumber};

use crate::black_box::{Name, Names, recording, run_through};
use crate::failure::Failure;
use crate::source::Source;

/// A connection at a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    pub(super) connection: Name,
    pub(super) step: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, connection, step } = self;
        write!(f, "{address}, connection {connection}, step {step}")
    }
}

/// Where a message came from and went to, as far as that is recorded.
#[derive(Default)]
pub(super) struct Places {
    pub(super) sender: Option<Place>,
    pub(super) receivers: BTreeMap<ServiceNumber, Place>,
}

/// Looks for a message in the recording. Each receiver comes with the event that says that it has got it.
pub(super) fn places(
    source: &Source,
    id: Seq,
    receivers: BTreeMap<ServiceNumber, Seq>,
) -> Result<Places, Failure> {
    // Without a recording the log answers alone.
    let Ok(recording) = recording(source) else { return Ok(Places::default()) };
    let mut way = Way {
        id,
        receivers,
        names: Names::default(),
        input: HeldInput::default(),
        step: 0,
        is_posted: false,
        found: Places::default(),
    };
    run_through(source, &recording, &mut way)?;
    // Whoever has not got it in the recording may have got it elsewhere.
    let Way { mut found, receivers, .. } = way;
    found.receivers.retain(|number, _| !receivers.contains_key(number));
    Ok(found)
}

/// Follows a message.
struct Way {
    id: Seq,
    /// Those who have not got it yet.
    receivers: BTreeMap<ServiceNumber, Seq>,
    names: Names,
    input: HeldInput,
    step: u64,
    is_posted: bool,
    found: Places,
}

impl Way {
    fn place(&self, connection: ConnectionId, engine: &Engine) -> Option<Place> {
        let address = engine.connection(connection)?.address;
        Some(Place { address, connection: self.names.get(connection)?, step: self.step })
    }
}

impl Observer for Way {
    fn begin(&mut self, file: &BoxFile, engine: &Engine) {
        self.names.begin(file.header.first_step, engine);
        self.is_posted = engine.state().last_seq() >= self.id;
    }

    fn before(&mut self, step: &Step<'_>, _: &Engine) -> ControlFlow<()> {
        if self.is_posted && self.receivers.is_empty() {
            return ControlFlow::Break(());
        }
        self.names.before(step.number, step.input);
        self.input.hold(step.input);
        self.step = step.number;
        ControlFlow::Continue(())
    }

    fn after(&mut self, _: u64, actual: &Actual<'_>, engine: &Engine) {
        if actual.events.iter().any(|event| event.seq == self.id) {
            self.is_posted = true;
            let connection = self.input.get().connection();
            self.found.sender = connection.and_then(|connection| self.place(connection, engine));
        }
        if self.is_posted {
            for number in self.receivers.keys() {
                let is_new = engine.connection_of(*number).filter(|connection| {
                    let known = self.found.receivers.get(number).map(|place| place.connection);
                    known != self.names.get(*connection)
                });
                if let Some(place) = is_new.and_then(|connection| self.place(connection, engine)) {
                    self.found.receivers.insert(*number, place);
                }
            }
            let last = engine.state().last_seq();
            self.receivers.retain(|_, delivered| *delivered > last);
        }
        self.names.after(&self.input.get());
    }
}
