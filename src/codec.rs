//! Reading and writing integers and strings, for the wire and for the log alike.
//!
//! Owns the byte order and the shape of a string (length in two bytes, then the bytes). It never looks
//! at what a string says, and never panics: a reader that has too few bytes answers [`Short`].

pub mod address;
pub mod blank;
pub mod charset;
pub mod mix;
pub mod packed;
pub mod profile;
pub mod secret;

use byteorder::ByteOrder;

/// The project's one byte order. Protocol section 1.
pub type Order = byteorder::BigEndian;

/// There were fewer bytes than the field needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Short;

/// Takes fields off the front of a byte slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader that has all of `bytes` before it.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Short> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Short)?;
        self.rest = rest;
        Ok(head)
    }

    /// `T`: one byte.
    pub fn u8(&mut self) -> Result<u8, Short> {
        let (first, rest) = self.rest.split_first().ok_or(Short)?;
        self.rest = rest;
        Ok(*first)
    }

    /// `M`: two bytes.
    pub fn u16(&mut self) -> Result<u16, Short> {
        self.take(2).map(Order::read_u16)
    }

    /// `L`: four bytes.
    pub fn u32(&mut self) -> Result<u32, Short> {
        self.take(4).map(Order::read_u32)
    }

    /// `Q`: eight bytes.
    pub fn u64(&mut self) -> Result<u64, Short> {
        self.take(8).map(Order::read_u64)
    }

    /// `S`: a length in two bytes and that many bytes.
    pub fn string(&mut self) -> Result<&'a [u8], Short> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// `B`: whatever is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

/// Appends fields to a byte vector.
pub trait Write {
    /// `T`: one byte.
    fn put_u8(&mut self, value: u8);
    /// `M`: two bytes.
    fn put_u16(&mut self, value: u16);
    /// `L`: four bytes.
    fn put_u32(&mut self, value: u32);
    /// `Q`: eight bytes.
    fn put_u64(&mut self, value: u64);
    /// `S`: the length in two bytes, then the bytes.
    ///
    /// # Panics
    /// In debug builds, if the bytes are more than 65,535; release builds write what fits. Every
    /// string is checked against a far lower limit where it enters the program.
    fn put_string(&mut self, bytes: &[u8]);
}

impl Write for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_string(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= usize::from(u16::MAX), "strings are bounded where they enter");
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.put_u16(length);
        self.extend_from_slice(&bytes[..usize::from(length)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_written() {
        let mut bytes = Vec::new();
        bytes.put_u8(1);
        bytes.put_u16(0x0203);
        bytes.put_u32(0x0405_0607);
        bytes.put_u64(0x0809_0A0B_0C0D_0E0F);
        bytes.put_string(b"ann");
        bytes.extend_from_slice(b"rest");
        assert_eq!(&bytes[..7], [1, 2, 3, 4, 5, 6, 7]);

        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(0x0203));
        assert_eq!(reader.u32(), Ok(0x0405_0607));
        assert_eq!(reader.u64(), Ok(0x0809_0A0B_0C0D_0E0F));
        assert_eq!(reader.string(), Ok(&b"ann"[..]));
        assert_eq!(reader.rest(), b"rest");
        assert_eq!(reader.u8(), Err(Short));
    }

    #[test]
    fn a_string_longer_than_what_is_left_is_short() {
        assert_eq!(Reader::new(&[0, 4, 1, 2, 3]).string(), Err(Short));
        assert_eq!(Reader::new(&[0]).string(), Err(Short));
    }
}
