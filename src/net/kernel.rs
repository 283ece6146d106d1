//! The three requests to the system that Rust cannot check: registering a source with the poller,
//! asking how much of what was sent is not acknowledged, and giving back memory. All of the server's `unsafe` beside
//! that for mapping files is here.
//!
//! It never reads or writes a byte of a connection.
#![allow(unsafe_code)]

use std::io;
use std::net::TcpStream;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use polling::{Event, PollMode, Poller};

/// A socket that the poller knows for exactly as long as it lives.
#[derive(Debug)]
pub(super) struct Registered<S: AsFd + AsRawFd> {
    source: S,
    poller: Arc<Poller>,
}

impl<S: AsFd + AsRawFd> Registered<S> {
    /// Makes the source known to the poller.
    pub(super) fn new(source: S, poller: &Arc<Poller>, interest: Event) -> io::Result<Self> {
        // SAFETY: the source has to be deleted from the poller before it is dropped. It moves into
        // `Registered`, which gives it out by shared reference alone and deletes it in its own `drop`,
        // which runs before those of its fields.
        unsafe { poller.add_with_mode(&source, interest, PollMode::Level)? };
        Ok(Self { source, poller: Arc::clone(poller) })
    }

    /// Sets what the poller reports, as often as it is asked while it is so.
    pub(super) fn set_interest(&self, interest: Event) -> io::Result<()> {
        self.poller.modify_with_mode(&self.source, interest, PollMode::Level)
    }
}

impl<S: AsFd + AsRawFd> Deref for Registered<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.source
    }
}

impl<S: AsFd + AsRawFd> Drop for Registered<S> {
    fn drop(&mut self) {
        // It fails only where the poller does not know the source, and then there is nothing to undo.
        let _ = self.poller.delete(&self.source);
    }
}

/// How many bytes were handed to the system and are not acknowledged by the other end; `None` where the
/// system cannot tell.
#[cfg(all(
    target_os = "linux",
    any(
        target_arch = "x86",
        target_arch = "x86_64",
        target_arch = "arm",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
))]
pub(super) fn unacknowledged(socket: &TcpStream) -> Option<u64> {
    use rustix::ioctl::{Getter, Opcode, ioctl};
    /// `SIOCOUTQ` of `linux/sockios.h` on these architectures: for a TCP socket, the bytes between what was
    /// written and what is acknowledged.
    const SIOCOUTQ: Opcode = 0x5411;
    // SAFETY: SIOCOUTQ writes one C `int` through its argument and touches nothing else; `Getter` gives it
    // the address of an `i32`, which is that on Linux, and reads it only after the call has succeeded.
    let answer = unsafe { ioctl(socket, Getter::<SIOCOUTQ, i32>::new()) };
    // An answer that cannot be had must not pass for an acknowledgement.
    Some(answer.ok().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(u64::MAX))
}

/// How many bytes were handed to the system and are not acknowledged: this system cannot tell.
#[cfg(not(all(
    target_os = "linux",
    any(
        target_arch = "x86",
        target_arch = "x86_64",
        target_arch = "arm",
        target_arch = "aarch64",
        target_arch = "riscv64"
    )
)))]
pub(super) fn unacknowledged(_socket: &TcpStream) -> Option<u64> {
    None
}

/// Gives memory back that was freed and is kept for later: C's library does so by itself only where the last of its
/// memory is free, and much of it.
pub(super) fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: this is how C's library declares it. It takes a number, which may be any, and locks what it looks at.
        unsafe extern "C" {
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn bytes_that_do_not_fit_the_other_side_stay_unacknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_there, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(&here), Some(0));
        here.set_nonblocking(true).unwrap();
        while here.write(&[0; 65_536]).is_ok() {}
        assert!(unacknowledged(&here).unwrap() > 0);
    }
}
