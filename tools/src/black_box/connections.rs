//! What the connections of a recording are called: a server uses its numbers for them again, so each gets a name
//! that means one connection.
//!
//! Owns these names. It never knows what happens on a connection.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use oicq::engine::{Engine, Input};
use oicq::id::ConnectionId;

/// A connection of a recording.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Name {
    /// The step at which it was opened.
    Opened(u64),
    /// It was open before this step, where a file of the recording begins: the server's number for it.
    Earlier { step: u64, id: usize },
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(step) => f.pad(&step.to_string()),
            Self::Earlier { step, id } => f.pad(&format!("{step}.{id}")),
        }
    }
}

/// Text that is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoName;

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        match text.split_once('.') {
            Some((step, id)) => {
                let (step, id) = (step.parse().ok(), id.parse().ok());
                step.zip(id).map(|(step, id)| Self::Earlier { step, id }).ok_or(NoName)
            }
            None => text.parse().map(Self::Opened).map_err(|_| NoName),
        }
    }
}

/// The names of the connections that there are.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<ConnectionId, Name>);

impl Names {
    /// A file begins with these connections, before this step.
    pub(crate) fn begin(&mut self, step: u64, engine: &Engine) {
        let earlier = |id: ConnectionId| (id, Name::Earlier { step, id: id.0 });
        self.0 = engine.connections().map(|connection| earlier(connection.id)).collect();
    }

    /// A step is about to be taken.
    pub(crate) fn before(&mut self, step: u64, input: &Input<'_>) {
        if let Input::Connect { connection, .. } = input {
            self.0.insert(*connection, Name::Opened(step));
        }
    }

    /// It has been taken.
    pub(crate) fn after(&mut self, input: &Input<'_>) {
        if let Input::End { connection } = input {
            self.0.remove(connection);
        }
    }

    pub(crate) fn get(&self, connection: ConnectionId) -> Option<Name> {
        self.0.get(&connection).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_shown() {
        for name in [Name::Opened(17), Name::Earlier { step: 4_001, id: 0 }] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        for text in ["", "x", "1.", ".1", "1.2.3", "-1"] {
            assert_eq!(text.parse::<Name>(), Err(NoName), "{text}");
        }
        assert_eq!(format!("{:>4}", Name::Opened(7)), "   7");
    }
}
