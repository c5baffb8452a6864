//! Addresses of sockets, as memory holds them: ip(7), ipv6(7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use linux_raw_sys::net;
use rustix::io::{Errno, Result};

/// As long as an address may be: `struct sockaddr_storage`.
pub(crate) const MAX: usize = 128;

/// What an address says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host and a port.
    Ip(SocketAddr),
    /// None: a connection is to be undone.
    Unspecified,
    /// Something of another family.
    Other,
}

impl Address {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let (family, rest) = bytes.split_first_chunk::<2>().ok_or(Errno::INVAL)?;
        match u32::from(u16::from_ne_bytes(*family)) {
            net::AF_UNSPEC => Ok(Self::Unspecified),
            net::AF_INET => {
                // What follows is padding, which has to be there.
                let [one, two, host @ .., _, _, _, _, _, _, _, _] =
                    *rest.first_chunk::<14>().ok_or(Errno::INVAL)?;
                let port = u16::from_be_bytes([one, two]);
                Ok(Self::Ip((Ipv4Addr::from(host), port).into()))
            }
            net::AF_INET6 => {
                let (port, rest) = rest.split_first_chunk().ok_or(Errno::INVAL)?;
                let (flow, rest) = rest.split_first_chunk().ok_or(Errno::INVAL)?;
                let (host, rest) = rest.split_first_chunk::<16>().ok_or(Errno::INVAL)?;
                // Once addresses ended here.
                let scope = rest.first_chunk().map_or(0, |scope| u32::from_ne_bytes(*scope));
                let (port, flow) = (u16::from_be_bytes(*port), u32::from_be_bytes(*flow));
                Ok(Self::Ip(SocketAddrV6::new((*host).into(), port, flow, scope).into()))
            }
            _ => Ok(Self::Other),
        }
    }
}

/// Where what is sent to an address goes: to nowhere in particular means to this
/// machine.
pub(crate) fn destination(mut to: SocketAddr) -> SocketAddr {
    let host = to.ip();
    if host.to_canonical().is_unspecified() {
        to.set_ip(match host {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        });
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(family: u32, rest: &[u8]) -> Result<Address> {
        let family = (family as u16).to_ne_bytes();
        Address::parse(&[&family, rest].concat())
    }

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let four = [0, 80, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let host = "192.0.2.1:80".parse().map(Address::Ip);
        assert_eq!(Ok(parsed(net::AF_INET, &four)), host.map(Ok));
        assert_eq!(parsed(net::AF_INET, &four[..13]), Err(Errno::INVAL));

        let mut six = [0; 26];
        (six[1], six[6], six[21]) = (80, 0xfe, 1);
        six[22..].copy_from_slice(&3_u32.to_ne_bytes());
        let host = "fe00::1".parse().expect("an address");
        let address = |scope| Ok(Address::Ip(SocketAddrV6::new(host, 80, 0, scope).into()));
        assert_eq!(parsed(net::AF_INET6, &six), address(3));
        assert_eq!(parsed(net::AF_INET6, &six[..22]), address(0));
        assert_eq!(parsed(net::AF_INET6, &six[..21]), Err(Errno::INVAL));

        assert_eq!(parsed(net::AF_UNSPEC, &[]), Ok(Address::Unspecified));
        assert_eq!(parsed(net::AF_UNIX, b"/run/socket\0"), Ok(Address::Other));
        assert_eq!(Address::parse(&[2]), Err(Errno::INVAL));
    }

    #[test]
    fn an_address_of_nowhere_leads_to_this_machine() {
        let of = |text: &str| destination(text.parse().expect("an address")).to_string();
        assert_eq!(of("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(of("[::]:1"), "[::1]:1");
        assert_eq!(of("[::ffff:0.0.0.0]:1"), "[::ffff:127.0.0.1]:1");
        assert_eq!(of("192.0.2.1:1"), "192.0.2.1:1");
    }
}
