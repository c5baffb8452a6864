//! Addresses of sockets, as they lie in memory.

use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// `AF_*` of those that are told apart.
const UNIX: u16 = linux_raw_sys::net::AF_UNIX as u16;
const INET: u16 = linux_raw_sys::net::AF_INET as u16;
const INET6: u16 = linux_raw_sys::net::AF_INET6 as u16;

/// An address, by its family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// IPv4 or IPv6.
    Ip(SocketAddr),
    /// A UNIX socket with a path, as the call names it.
    Path(PathBuf),
    /// A UNIX socket that has a name but no path, or none yet.
    Abstract(Vec<u8>),
    /// Another family.
    Other(u16),
}

impl Address {
    /// Reads a `struct sockaddr`; `None` if it is too short for its family, or
    /// is the one that dissolves an association.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (family, rest) = bytes.split_first_chunk()?;
        let port = || rest.first_chunk().map(|port| u16::from_be_bytes(*port));
        match u16::from_ne_bytes(*family) {
            0 => None,
            INET => {
                let address: [u8; 4] = rest.get(2..6)?.try_into().ok()?;
                Some(Self::Ip((Ipv4Addr::from(address), port()?).into()))
            }
            INET6 => {
                let address: [u8; 16] = rest.get(6..22)?.try_into().ok()?;
                let address = Ipv6Addr::from(address).to_canonical();
                Some(Self::Ip((address, port()?).into()))
            }
            UNIX => Some(match rest.split_first() {
                None => Self::Abstract(Vec::new()),
                Some((0, name)) => Self::Abstract(name.to_vec()),
                Some(_) => {
                    let path = rest.split(|&byte| byte == 0).next().unwrap_or_default();
                    Self::Path(OsString::from_vec(path.to_vec()).into())
                }
            }),
            family => Some(Self::Other(family)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(family: u16, rest: &[u8]) -> Option<Address> {
        Address::parse(&[&family.to_ne_bytes(), rest].concat())
    }

    #[test]
    fn each_family_has_its_address() {
        let ip = |text: &str| Some(Address::Ip(text.parse().expect("an address")));
        assert_eq!(parse(INET, &[1, 187, 127, 0, 0, 1]), ip("127.0.0.1:443"));
        let mut six = [0; 22];
        (six[1], six[21]) = (53, 1);
        assert_eq!(parse(INET6, &six), ip("[::1]:53"));
        // What is IPv4 to the kernel is said as such.
        six[16..].copy_from_slice(&[255, 255, 10, 0, 0, 1]);
        assert_eq!(parse(INET6, &six), ip("10.0.0.1:53"));
        assert_eq!(parse(UNIX, b"/run/x\0\0"), Some(Address::Path("/run/x".into())));
        assert_eq!(parse(UNIX, b"\0name"), Some(Address::Abstract(b"name".to_vec())));
        assert_eq!(parse(16, &[0; 10]), Some(Address::Other(16)));
    }

    #[test]
    fn what_is_too_short_is_no_address() {
        for short in [&[][..], &[1], &[2, 0], &[2, 0, 0, 53, 1, 2, 3], &[10, 0, 0, 53, 0, 0]] {
            assert_eq!(Address::parse(short), None, "{short:?}");
        }
        assert_eq!(parse(0, &[0; 14]), None);
    }
}
