//! Addresses that a call names, read from the caller's memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest socket address that is read, in bytes (`struct sockaddr_storage`).
pub const ADDRESS_MAX: usize = 128;

/// An address as a call names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Of the internet families.
    Internet(IpAddr, u16),
    /// A Unix socket by its path, as the caller wrote it.
    Path(Vec<u8>),
    /// A Unix socket by its abstract name.
    Abstract(Vec<u8>),
    /// None: no peer is meant (`AF_UNSPEC`), or an unnamed Unix socket.
    None,
    /// The kernel itself (`AF_NETLINK`): no connection.
    Kernel,
    /// Another family, by its number.
    Other(u16),
}

/// Reads a socket address as `struct sockaddr` and its kin lay it out.
#[must_use]
pub fn parse(bytes: &[u8]) -> Address {
    let Some(family) = pair(bytes, 0).map(u16::from_ne_bytes) else { return Address::None };
    parse_as(family, bytes)
}

/// Reads a socket address of this family, whatever family it says itself.
#[must_use]
pub fn parse_as(family: u16, bytes: &[u8]) -> Address {
    match i32::from(family) {
        libc::AF_INET => {
            let (Some(port), Some(Ok(address))) = (pair(bytes, 2), bytes.get(4..8).map(<[u8; 4]>::try_from))
            else {
                return Address::None;
            };
            Address::Internet(Ipv4Addr::from(address).into(), u16::from_be_bytes(port))
        }
        libc::AF_INET6 => {
            let (Some(port), Some(Ok(address))) =
                (pair(bytes, 2), bytes.get(8..24).map(<[u8; 16]>::try_from))
            else {
                return Address::None;
            };
            Address::Internet(Ipv6Addr::from(address).into(), u16::from_be_bytes(port))
        }
        libc::AF_UNIX => match bytes.get(2..).unwrap_or_default() {
            [] => Address::None,
            [0, name @ ..] => Address::Abstract(name.to_vec()),
            path => Address::Path(path.split(|b| *b == 0).next().unwrap_or_default().to_vec()),
        },
        libc::AF_UNSPEC => Address::None,
        libc::AF_NETLINK => Address::Kernel,
        _ => Address::Other(family),
    }
}

fn pair(bytes: &[u8], at: usize) -> Option<[u8; 2]> {
    bytes.get(at..at + 2)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn families_are_read() {
        let inet = [2, 0, 0, 80, 127, 0, 0, 1, 0, 0];
        assert_eq!(parse(&inet), Address::Internet([127, 0, 0, 1].into(), 80));
        let mut inet6 = vec![10, 0, 1, 187, 0, 0, 0, 0];
        inet6.extend(Ipv6Addr::LOCALHOST.octets());
        assert_eq!(parse(&inet6), Address::Internet(Ipv6Addr::LOCALHOST.into(), 443));
        assert_eq!(parse(b"\x01\0/tmp/s\0junk"), Address::Path(b"/tmp/s".to_vec()));
        assert_eq!(parse(b"\x01\0\0name\0x"), Address::Abstract(b"name\0x".to_vec()));
        assert_eq!(parse(b"\x01\0"), Address::None);
        assert_eq!(parse(b"\x28\0xx"), Address::Other(40));
        assert_eq!(parse(&inet[..5]), Address::None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>) {
            drop(parse(&bytes));
        }
    }
}
