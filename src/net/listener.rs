//! Sockets that listen, and the number of files that connections may take.
//!
//! It never knows what is done with a connection once it is accepted.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use polling::{Event, Poller};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::kernel::Registered;
use crate::limits::FILES_RESERVED;

/// Connections that the system may hold ready until they are accepted; it knows a maximum of its own.
const BACKLOG: i32 = 4_096;
/// Taken where the system sets no limit to open files.
const FILES_UNLIMITED: usize = 1 << 20;

/// One address that is listened on.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Registered<TcpListener>,
    key: usize,
}

/// What came of an attempt to accept a connection.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection, which does not block.
    Connection(TcpStream, SocketAddr),
    /// Nobody waits.
    Nobody,
    /// The one who waited has gone again.
    Gone,
    /// The system has no file or memory for it at the moment.
    Starved(io::Error),
}

impl Listener {
    /// Listens. An IPv6 address takes no IPv4 connections, so that both can be listened on side by side.
    pub(super) fn bind(address: SocketAddr, poller: &Arc<Poller>, key: usize) -> io::Result<Self> {
        let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        net::bind(&socket, &address)?;
        net::listen(&socket, BACKLOG)?;
        let socket = TcpListener::from(socket);
        let socket = Registered::new(socket, poller, Event::readable(key))?;
        Ok(Self { socket, key })
    }

    /// The address with the real port.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection.
    pub(super) fn accept(&self) -> Accepted {
        let accepted = self.socket.accept().and_then(|(socket, address)| {
            socket.set_nonblocking(true)?;
            // Replies of a turn leave in one write: there is nothing to wait for.
            socket.set_nodelay(true)?;
            Ok((socket, address))
        });
        match accepted {
            Ok((socket, address)) => Accepted::Connection(socket, address),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Accepted::Nobody,
            Err(error) => {
                use rustix::io::Errno;
                match Errno::from_io_error(&error) {
                    Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                        Accepted::Starved(error)
                    }
                    _ => Accepted::Gone,
                }
            }
        }
    }

    /// Has connections that wait reported, or not: as long as they cannot be accepted it would be in vain.
    pub(super) fn report(&self, wanted: bool) -> io::Result<()> {
        let interest = if wanted { Event::readable(self.key) } else { Event::none(self.key) };
        self.socket.set_interest(interest)
    }
}

/// How many connections the process can have: as many files as the system allows, without those that the
/// server needs for itself. Asks the system for as many as it gives.
#[must_use]
pub fn connections_possible() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let files = limit.current.and_then(|files| usize::try_from(files).ok());
    files.unwrap_or(FILES_UNLIMITED).saturating_sub(FILES_RESERVED).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_can_be_listened_on_at_one_port() {
        let poller = Arc::new(Poller::new().unwrap());
        let any = "[::]:0".parse().unwrap();
        // A port that is free for one family may be somebody's in the other.
        let mut tries = 100;
        let (six, four, port) = loop {
            let Ok(six) = Listener::bind(any, &poller, 1) else { return }; // no IPv6 here
            let port = six.address().unwrap().port();
            match Listener::bind(SocketAddr::from(([0, 0, 0, 0], port)), &poller, 2) {
                Ok(four) => break (six, four, port),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => tries -= 1,
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(four.address().unwrap().port(), port);
        assert!(matches!(four.accept(), Accepted::Nobody));

        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut events = polling::Events::new();
        poller.wait(&mut events, Some(std::time::Duration::from_secs(10))).unwrap();
        assert_eq!(events.iter().map(|event| event.key).collect::<Vec<_>>(), [2]);
        assert!(matches!(four.accept(), Accepted::Connection(_, peer) if peer.is_ipv4()));
        assert!(matches!(six.accept(), Accepted::Nobody));
    }

    #[test]
    fn a_port_in_use_is_an_error() {
        let poller = Arc::new(Poller::new().unwrap());
        let one = Listener::bind("127.0.0.1:0".parse().unwrap(), &poller, 1).unwrap();
        let error = Listener::bind(one.address().unwrap(), &poller, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
