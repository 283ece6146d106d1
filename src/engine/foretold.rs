//! Searches whose outcome is known beforehand: how a recording without profiles can be replayed, although the users
//! that were found in them cannot be found again.
//!
//! Owns what is foretold and its bytes. A server is never foretold anything.

use super::kept::{self, KeptError};
use super::{Engine, Stage};
use crate::codec::{Reader, Short, Write};
use crate::id::{ConnectionId, ServiceNumber};

/// Bytes that a refusal is told in, at most: it quotes a few characters of the statement.
const REFUSAL_BYTES: u32 = 1 << 12;

/// What the next search comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Foretold {
    /// The statement is not understood, and that is told in so many bytes.
    Refused(u32),
    /// It takes its time, and finds users.
    Found(Foregone),
}

/// A search that needs not be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Foregone {
    /// In so many slices it is done, 1 at least; [`u64::MAX`] where it never is.
    pub slices: u64,
    /// Whom it finds, in order.
    pub users: Vec<ServiceNumber>,
}

impl Foregone {
    /// Takes another slice. Whether it is done.
    pub(super) const fn advance(&mut self) -> bool {
        self.slices = self.slices.saturating_sub(1);
        self.slices == 0
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        out.put_u64(self.slices);
        kept::put_count(out, self.users.len());
        self.users.iter().for_each(|user| out.put_u32(user.0));
    }

    pub(super) fn restore(reader: &mut Reader<'_>) -> Result<Self, KeptError> {
        Ok(Self { slices: reader.u64()?, users: kept::list(reader, kept::number)? })
    }
}

impl Foretold {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Refused(bytes) => {
                out.put_u8(0);
                out.put_u32(*bytes);
            }
            Self::Found(foregone) => {
                out.put_u8(1);
                foregone.save(out);
            }
        }
    }

    /// Takes it off the front.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Short> {
        match reader.u8()? {
            0 => Ok(Self::Refused(reader.u32()?.min(REFUSAL_BYTES))),
            1 => Foregone::restore(reader).map(Self::Found).map_err(|_| Short),
            _ => Err(Short),
        }
    }
}

impl Engine {
    /// The connection whose search gets the next slice, if one is under way.
    #[must_use]
    pub fn next_search(&self) -> Option<ConnectionId> {
        let next = *self.searches.front()?;
        let stage = &self.peer(next)?.stage;
        matches!(stage, Stage::Search(_) | Stage::Foregone(_)).then_some(next)
    }

    /// Foretells what the packet that is handled next comes to, if it is a search; `None` takes that back.
    pub fn foretell(&mut self, foretold: Option<Foretold>) {
        self.foretold = foretold.map(Box::new);
    }

    /// Foretells what the search comes to that a connection waits for.
    pub fn foretell_under_way(&mut self, connection: ConnectionId, foregone: Foregone) {
        if let Some(peer) = self.peer_mut(connection)
            && matches!(peer.stage, Stage::Search(_))
        {
            peer.stage = Stage::Foregone(Box::new(foregone));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::decide::search::BadQuery;
    use crate::wire::{Code, Notice};

    #[test]
    fn whatever_is_told_of_a_refusal_fits_a_packet() {
        let mut reader = Reader::new(&[0, 0xFF, 0xFF, 0xFF, 0xFF]);
        let Ok(Foretold::Refused(bytes)) = Foretold::read(&mut reader) else { panic!("none") };
        let mut text = Vec::new();
        Notice::write(0x0B, Code::BadQuery, BadQuery::foretold(bytes), &mut text);
        assert!(u16::try_from(text.len()).is_ok(), "{} bytes are no string", text.len());
    }
}
