//! Lists of numbers that stay bytes: read in place, where they came in a packet or stand in the log.

use super::{Short, Write};
use crate::id::{GroupNumber, Seq, ServiceNumber};

macro_rules! packed_list {
    ($(#[$doc:meta])* $name:ident of $bytes:literal bytes, $item:ty, $read:expr, $write:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $name<'a>(&'a [u8]);

        impl<'a> $name<'a> {
            /// Bytes of one item.
            pub const ITEM_BYTES: usize = $bytes;

            /// The items in `bytes`, if they are whole ones.
            pub fn over(bytes: &'a [u8]) -> Result<Self, Short> {
                if bytes.len() % Self::ITEM_BYTES == 0 { Ok(Self(bytes)) } else { Err(Short) }
            }

            /// Appends an item to bytes that [`Self::over`] reads.
            pub fn push(item: $item, out: &mut Vec<u8>) {
                let write: fn($item, &mut Vec<u8>) = $write;
                write(item, out);
            }

            /// Writes items as bytes that [`Self::over`] reads.
            #[must_use]
            pub fn pack(items: impl IntoIterator<Item = $item>) -> Vec<u8> {
                let mut bytes = Vec::new();
                for item in items {
                    Self::push(item, &mut bytes);
                }
                bytes
            }

            /// The bytes themselves.
            #[must_use]
            pub const fn as_bytes(self) -> &'a [u8] {
                self.0
            }

            /// How many items there are.
            #[must_use]
            pub const fn len(self) -> usize {
                self.0.len() / Self::ITEM_BYTES
            }

            /// Whether there are none.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0.is_empty()
            }

            /// The items in the order in which they stand.
            pub fn iter(self) -> impl Iterator<Item = $item> + 'a {
                let read: fn(&[u8; $bytes]) -> $item = $read;
                self.0.as_chunks::<$bytes>().0.iter().map(read)
            }
        }
    };
}

packed_list!(
    /// Friends and the groups they go to. Protocol section 4, `0x09`.
    Moves of 5 bytes,
    (ServiceNumber, GroupNumber),
    |&[a, b, c, d, group]| (ServiceNumber(u32::from_be_bytes([a, b, c, d])), GroupNumber(group)),
    |(friend, group), out| {
        out.put_u32(friend.0);
        out.put_u8(group.0);
    }
);

packed_list!(
    /// Service numbers.
    Numbers of 4 bytes,
    ServiceNumber,
    |&bytes| ServiceNumber(u32::from_be_bytes(bytes)),
    |number, out| out.put_u32(number.0)
);

packed_list!(
    /// Users, and up to which sequence number they have got their messages.
    Receipts of 12 bytes,
    (ServiceNumber, Seq),
    |&[a, b, c, d, seq @ ..]| {
        (ServiceNumber(u32::from_be_bytes([a, b, c, d])), Seq(u64::from_be_bytes(seq)))
    },
    |(user, through), out| {
        out.put_u32(user.0);
        out.put_u64(through.0);
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_as_they_were_packed() {
        let moves = [(ServiceNumber(10_001), GroupNumber(2)), (ServiceNumber(7), GroupNumber(255))];
        let bytes = Moves::pack(moves);
        assert!(Moves::over(&bytes).unwrap().iter().eq(moves));
        assert_eq!(Moves::over(&bytes[1..]), Err(Short));

        let receipts = [(ServiceNumber(10_001), Seq(u64::MAX)), (ServiceNumber(0), Seq(1))];
        let bytes = Receipts::pack(receipts);
        assert_eq!(Receipts::over(&bytes).unwrap().len(), 2);
        assert!(Receipts::over(&bytes).unwrap().iter().eq(receipts));
    }
}
