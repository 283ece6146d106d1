//! What of the engine can be seen from outside: its connections, and what each of them waits for.
//!
//! Looks and changes nothing.

use std::net::IpAddr;

use super::Engine;
use super::peer::{Peer, Stage};
use crate::id::{ConnectionId, ServiceNumber};
use crate::wire::Kind;
use crate::wire::server::{Extensions, Presence};

/// A connection as it is between two inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionView {
    /// The caller's name for it.
    pub id: ConnectionId,
    /// Where it comes from.
    pub address: IpAddr,
    /// The kind of its first packet, once that has come.
    pub kind: Option<Kind>,
    /// Who is in session on it, and how it is shown; [`Presence::Offline`] where it is hidden.
    pub session: Option<(ServiceNumber, Presence)>,
    /// What was granted.
    pub extensions: Extensions,
    /// What its next packet waits for.
    pub waits_for: WaitsFor,
    /// Messages that were sent and not acknowledged.
    pub unacknowledged: usize,
}

/// What a connection's next packet waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitsFor {
    /// Nothing.
    Nothing,
    /// A password is being hashed or compared: the job's ticket.
    Password(u64),
    /// A search is on its way through the users.
    Search,
    /// The friend list for the reply to its login is being made.
    FriendList,
    /// What waits in the mailbox is being sent.
    Mail,
    /// The connection's end: the engine has closed it.
    End,
}

impl Engine {
    /// All connections, in the order of their ids.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionView> {
        let peers = self.peers.iter().enumerate();
        peers.filter_map(|(id, peer)| Some(self.view(ConnectionId(id), peer.as_ref()?)))
    }

    /// One connection.
    #[must_use]
    pub fn connection(&self, id: ConnectionId) -> Option<ConnectionView> {
        self.peer(id).map(|peer| self.view(id, peer))
    }

    /// On which connection a user is in session.
    #[must_use]
    pub fn connection_of(&self, number: ServiceNumber) -> Option<ConnectionId> {
        self.sessions.get(number)
    }

    fn view(&self, id: ConnectionId, peer: &Peer) -> ConnectionView {
        let number = peer.session.as_ref().map(|session| session.number);
        ConnectionView {
            id,
            address: peer.address,
            kind: peer.kind,
            session: number.map(|number| (number, self.sessions.presence(number))),
            extensions: peer.extensions,
            waits_for: match peer.stage {
                Stage::Ready => WaitsFor::Nothing,
                Stage::Password(ticket) => WaitsFor::Password(ticket),
                Stage::Search(_) | Stage::Foregone(_) => WaitsFor::Search,
                Stage::Listing(_) => WaitsFor::FriendList,
                Stage::Mail => WaitsFor::Mail,
                Stage::Closing => WaitsFor::End,
            },
            unacknowledged: peer.unacknowledged.len(),
        }
    }
}
