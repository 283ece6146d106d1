//! A relay between clients and a server: an address that stays while servers come and go behind it, and a
//! line that can be cut or go deaf.
//!
//! It passes bytes on and knows nothing of packets.

#![allow(unreachable_pub, reason = "the module is the test's own")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Passes on what clients send to one server, and what that answers.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

struct Shared {
    server: Mutex<SocketAddr>,
    /// What clients send is dropped.
    deaf: AtomicBool,
    ended: AtomicBool,
    /// Both ends of each line.
    lines: Mutex<Vec<TcpStream>>,
}

impl Relay {
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            deaf: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            lines: Mutex::new(Vec::new()),
        });
        let relaying = Arc::clone(&shared);
        let listening = thread::spawn(move || relaying.listen(&listener));
        Self { address, shared, listening: Some(listening) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on lines lead to this server.
    pub fn lead_to(&self, server: SocketAddr) {
        *lock(&self.shared.server) = server;
    }

    /// From now on, what clients send reaches nobody; what the server sends still arrives. Or no longer so.
    pub fn set_deaf(&self, deaf: bool) {
        self.shared.deaf.store(deaf, Ordering::SeqCst);
    }

    /// Ends all lines.
    pub fn cut(&self) {
        for end in lock(&self.shared.lines).drain(..) {
            // The other end may have gone first.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut();
        // The listening thread looks up once more.
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

impl Shared {
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().map_while(Result::ok) {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let server = *lock(&self.server);
            // Where no server is, the client finds its line closed.
            let Ok(server) = TcpStream::connect(server) else { continue };
            for end in [&client, &server] {
                end.set_nodelay(true).unwrap();
                lock(&self.lines).push(end.try_clone().unwrap());
            }
            let (from_client, to_client) = (client.try_clone().unwrap(), client);
            let (from_server, to_server) = (server.try_clone().unwrap(), server);
            let upwards = Arc::clone(self);
            thread::spawn(move || pass_on(from_client, to_server, &upwards.deaf));
            thread::spawn(move || pass_on(from_server, to_client, &AtomicBool::new(false)));
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, deaf: &AtomicBool) {
    let mut chunk = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if !deaf.load(Ordering::SeqCst) && to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
