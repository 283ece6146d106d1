//! An address as bytes: its family, 4 or 6, and its own bytes.
//!
//! Owns the layout alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Reader, Write};

/// Appends an address.
pub fn write(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            out.put_u8(4);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.put_u8(6);
            out.extend_from_slice(&address.octets());
        }
    }
}

/// Reads an address; `None` if the bytes are none.
pub fn read(reader: &mut Reader<'_>) -> Option<IpAddr> {
    match reader.u8().ok()? {
        4 => Some(Ipv4Addr::from(reader.u32().ok()?).into()),
        6 => {
            let (high, low) = (reader.u64().ok()?, reader.u64().ok()?);
            Some(Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_and_other_bytes_are_none() {
        for address in ["192.0.2.1", "2001:db8::1"] {
            let address: IpAddr = address.parse().unwrap();
            let mut bytes = Vec::new();
            write(address, &mut bytes);
            assert_eq!(read(&mut Reader::new(&bytes)), Some(address));
            for length in 0..bytes.len() {
                assert_eq!(read(&mut Reader::new(&bytes[..length])), None);
            }
        }
        assert_eq!(read(&mut Reader::new(&[5, 1, 2, 3, 4])), None);
    }
}
