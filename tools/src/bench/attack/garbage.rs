//! Bytes that are no packets, or are the largest: random ones, lying lengths, unknown types, and very many packets in
//! one write.

use oicq::id::ServiceNumber;
use oicq::limits::{CONTENT_BYTES_BEFORE_LOGIN, CONTENT_BYTES_IN_SESSION};
use oicq::wire::Request;

use super::Attack;
use super::pool::Pool;
use crate::bench::users::put;
use crate::failure::Failure;

const SESSIONS: usize = 20;
const AT_ONCE: usize = 32;
const PACKETS_AT_ONCE: usize = 10_000;
const RANDOM_BYTES: usize = 4_096;

pub(super) struct Garbage {
    begun: usize,
    /// The state of a generator of bytes that are the same in every run.
    chance: u64,
    crowd: Vec<u8>,
    members: Vec<usize>,
}

impl Default for Garbage {
    fn default() -> Self {
        let mut crowd = Vec::new();
        (0..PACKETS_AT_ONCE).for_each(|_| put(&mut crowd, ServiceNumber::NONE, Request::Test));
        Self { begun: 0, chance: 2_002, crowd, members: Vec::new() }
    }
}

impl Garbage {
    /// The next bytes that the server will not like, and how many packets they are.
    fn next(&mut self) -> (Vec<u8>, u64) {
        self.begun += 1;
        match self.begun % 6 {
            0 => (packet(0x7F, CONTENT_BYTES_BEFORE_LOGIN, CONTENT_BYTES_BEFORE_LOGIN), 1),
            1 => (packet(0x03, u32::MAX, 64), 1),
            2 => (packet(0x01, 5, 64), 1),
            3 => (self.random(), 1),
            4 => {
                let mut bytes = vec![0x81, 0x0A, 0x01, 0x16];
                bytes.extend(self.random());
                (bytes, 1)
            }
            _ => (self.crowd.clone(), PACKETS_AT_ONCE as u64),
        }
    }

    fn random(&mut self) -> Vec<u8> {
        let byte = || {
            self.chance ^= self.chance << 13;
            self.chance ^= self.chance >> 7;
            self.chance ^= self.chance << 17;
            self.chance as u8
        };
        std::iter::repeat_with(byte).take(RANDOM_BYTES).collect()
    }
}

impl Attack for Garbage {
    fn users(&self, connections: usize) -> usize {
        SESSIONS.min(connections / 4)
    }

    fn begin(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        self.members = pool.log_in()?;
        Ok(())
    }

    fn go_on(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        for _ in 0..AT_ONCE {
            let Some(key) = pool.open()? else { break };
            let (bytes, packets) = self.next();
            pool.say(key, &bytes, packets);
        }
        // An unknown type is no violation: sessions take packets of the largest size again and again.
        let largest = packet(0x7F, CONTENT_BYTES_IN_SESSION, CONTENT_BYTES_IN_SESSION);
        self.members.iter().for_each(|key| _ = pool.say(*key, &largest, 1));
        Ok(())
    }
}

/// A packet of this type that says to have so many bytes, and has so many.
fn packet(packet_type: u8, says: u32, has: u32) -> Vec<u8> {
    let mut bytes = vec![0x81, 0x0A, 0x01, packet_type];
    bytes.extend(says.to_be_bytes());
    bytes.extend((0..has).map(|at| at as u8));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use oicq::wire::{Expected, cut};

    #[test]
    fn it_is_of_every_sort_and_the_same_each_time() {
        let (mut one, mut other) = (Garbage::default(), Garbage::default());
        let any = Expected { kind: None, content_bytes_max: CONTENT_BYTES_BEFORE_LOGIN };
        let is_packet = |bytes: &[u8]| matches!(cut(bytes, any), Ok(Some(_)));
        let sorts: Vec<_> = (0..6).map(|_| one.next().0).collect();
        assert!(sorts.iter().all(|bytes| *bytes == other.next().0));
        let packets: Vec<_> = sorts.iter().map(|bytes| is_packet(bytes)).collect();
        assert_eq!(packets, [false, true, false, false, true, true]);
    }
}
