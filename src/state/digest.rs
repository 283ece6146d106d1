//! A short number for the whole state: two states with the same digest are the same.
//!
//! Each user is hashed on its own and the hashes are added up, so that a change of one user can be
//! taken into account without a pass over all. What follows from the rest (who is listed by whom) is
//! left out, and so is where texts are stored; the texts themselves count through their checksums.

use std::fmt;

use blake2::{Blake2b256, Digest as _};

use super::{State, User};
use crate::codec::Write;
use crate::id::ServiceNumber;

/// The digest of a state.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Bytes of a digest.
    pub const BYTES: usize = 32;

    /// The digest that these bytes are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; Self::BYTES] {
        self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl State {
    /// The state's digest. Costs a pass over all users.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut sum = Sum::default();
        let mut record = Vec::new();
        for (number, user) in self.users() {
            record.clear();
            write_user(number, user, &mut record);
            sum.add(&hash(&record));
        }
        record.clear();
        record.put_u64(self.user_count() as u64);
        sum.write(&mut record);
        for entry in self.monitoring() {
            record.put_u64(entry.time.0);
            record.put_u32(entry.operator.0);
            record.put_u32(entry.watched.0);
            record.put_u8(u8::from(entry.started));
        }
        Digest(hash(&record))
    }
}

fn hash(record: &[u8]) -> [u8; 32] {
    Blake2b256::digest(record).into()
}

fn write_user(number: ServiceNumber, user: &User, out: &mut Vec<u8>) {
    out.put_u32(number.0);
    out.put_u64(user.registered().0);
    out.put_u8(user.authentication() as u8);
    out.put_string(user.password_hash().as_bytes());
    out.extend_from_slice(user.packed_profile());
    out.put_u16(u16::try_from(user.groups().len()).unwrap_or(u16::MAX));
    for group in user.groups() {
        out.put_u8(group.number.0);
        out.put_string(&group.name);
    }
    out.put_u32(u32::try_from(user.friends().len()).unwrap_or(u32::MAX));
    for friend in user.friends() {
        out.put_u32(friend.number.0);
        out.put_u8(friend.group.0);
    }
    out.put_u32(u32::try_from(user.requests().len()).unwrap_or(u32::MAX));
    for asker in user.requests() {
        out.put_u32(asker.0);
    }
    out.put_u32(u32::try_from(user.mailbox().len()).unwrap_or(u32::MAX));
    for (seq, waiting) in user.mailbox().iter() {
        out.put_u64(seq.0);
        out.put_u64(waiting.time.0);
        out.put_u32(waiting.from.0);
        out.put_u8(waiting.kind as u8);
        out.put_u32(waiting.length);
        out.put_u32(waiting.checksum);
    }
}

/// A sum modulo 2^256, in limbs from the lowest up.
#[derive(Default)]
struct Sum([u64; 4]);

impl Sum {
    fn add(&mut self, hash: &[u8; 32]) {
        let mut carry = false;
        for (limb, bytes) in self.0.iter_mut().zip(hash.as_chunks::<8>().0) {
            let (sum, over) = limb.overflowing_add(u64::from_le_bytes(*bytes));
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = over || over_again;
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for limb in self.0 {
            out.put_u64(limb);
        }
    }
}
