//! What a proxy outside lets through, for a command whose network leads to
//! that proxy only. The launcher has no use for it: the proxy and whoever
//! explains a policy have, and [`judge`] is how both read it.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{List, Text};

pub mod judge;

/// The longest host name, RFC 1035.
pub const MAX_NAME: usize = 253;

/// The longest prefix of a network: every bit of an address.
pub const MAX_PREFIX: u8 = 128;

/// The prefix of IPv4 addresses, as IPv6 has them: `::ffff:0:0/96`.
const MAPPED: u8 = 96;

/// Who may be connected to by the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy<'a> {
    /// What is let through.
    #[serde(borrow)]
    pub allow: List<'a, Rule<'a>>,
    /// What is not, whatever lets it through.
    pub deny: List<'a, Rule<'a>>,
    /// Whether another proxy makes the connections.
    pub upstream: Upstream<'a>,
}

/// Hosts, and ports of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule<'a> {
    /// The hosts.
    #[serde(borrow)]
    pub host: Host<'a>,
    /// The first of the ports.
    pub first: u16,
    /// The last of them.
    pub last: u16,
}

/// Hosts by their names or by their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Host<'a> {
    /// Every name, but no address.
    AnyName,
    /// This name, in lower case and without a final dot.
    Name(#[serde(borrow)] Text<'a>),
    /// Every name that ends in a dot and this.
    Below(#[serde(borrow)] Text<'a>),
    /// The addresses that begin with these bits.
    Network(Network),
}

/// Addresses of IPv6, and of IPv4 as IPv6 maps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The first of them.
    pub address: [u8; 16],
    /// How many bits all have in common.
    pub prefix: u8,
}

/// Another proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upstream<'a> {
    /// None: connections are made directly.
    None,
    /// The one that the variables of whoever starts the proxy name, if they do.
    Environment,
    /// The HTTP proxy at this `host:port`.
    At(#[serde(borrow)] Text<'a>),
}

impl Network {
    /// All addresses of IPv6.
    pub const EVERY: Self = Self { address: [0; 16], prefix: 0 };

    /// This address alone.
    pub const fn of(address: IpAddr) -> Self {
        Self { address: octets(address), prefix: MAX_PREFIX }
    }

    /// A network as people write it; `None` where the prefix is too long.
    pub const fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let (longest, before) = match address {
            IpAddr::V4(_) => (32, MAPPED),
            IpAddr::V6(_) => (MAX_PREFIX, 0),
        };
        if prefix > longest {
            return None;
        }
        Some(Self { address: octets(address), prefix: before + prefix })
    }

    /// The same network from its first address on.
    #[must_use]
    pub fn truncated(self) -> Self {
        let first = u128::from_be_bytes(self.address) & mask(self.prefix);
        Self { address: first.to_be_bytes(), ..self }
    }

    /// Whether it is one: no bit is set behind the prefix.
    pub fn is_valid(self) -> bool {
        self.prefix <= MAX_PREFIX && self == self.truncated()
    }

    /// Whether the other lies in it. IPv4 lies in no network of IPv6.
    pub fn contains(self, other: Self) -> bool {
        let bits = |network: Self| u128::from_be_bytes(network.address) & mask(self.prefix);
        self.prefix <= other.prefix
            && bits(self) == bits(other)
            && self.is_mapped() == other.is_mapped()
    }

    /// Whether it is of IPv4.
    fn is_mapped(self) -> bool {
        let [start @ .., _, _, _, _] = self.address;
        self.prefix >= MAPPED && start == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
    }
}

/// The bits of a prefix.
const fn mask(prefix: u8) -> u128 {
    match prefix {
        0 => 0,
        _ => u128::MAX << (MAX_PREFIX.saturating_sub(prefix)),
    }
}

/// An address of either kind as one of IPv6.
const fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

impl Host<'_> {
    /// Whether every host of the other is one of these.
    pub fn covers(&self, other: &Host<'_>) -> bool {
        match (*self, *other) {
            (Self::Network(own), Host::Network(other)) => own.contains(other),
            (Self::Network(_), _) | (_, Host::Network(_)) => false,
            (Self::AnyName, _) => true,
            (_, Host::AnyName) | (Self::Name(_), Host::Below(_)) => false,
            (Self::Name(own), Host::Name(other)) => own == other,
            (Self::Below(own), Host::Name(other)) => is_below(own, other.to_bytes()),
            (Self::Below(own), Host::Below(other)) => {
                own == other || is_below(own, other.to_bytes())
            }
        }
    }

    /// Whether it is named by this name, which is in lower case.
    fn has_name(&self, name: &str) -> bool {
        match *self {
            Self::AnyName => true,
            Self::Name(own) => own.to_bytes() == name.as_bytes(),
            Self::Below(own) => is_below(own, name.as_bytes()),
            Self::Network(_) => false,
        }
    }

    /// Whether it is what the encoder writes.
    pub(crate) fn is_valid(&self) -> bool {
        match *self {
            Self::AnyName => true,
            Self::Name(name) | Self::Below(name) => is_name(name.to_bytes()),
            Self::Network(network) => network.is_valid(),
        }
    }
}

/// Whether a name ends in a dot and this.
fn is_below(above: Text<'_>, name: &[u8]) -> bool {
    let rest = name.strip_suffix(above.to_bytes());
    rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with(b"."))
}

/// Whether this is a host name as it is compared: labels of letters in lower
/// case, digits, `-` and `_`, of which the last is no number, for such a name
/// is an address in one of its older forms.
pub fn is_name(name: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        let known = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        (1..=63).contains(&label.len())
            && label.iter().all(|byte| known(byte) || matches!(byte, b'-' | b'_'))
    };
    let mut labels = name.split(|&byte| byte == b'.');
    name.len() <= MAX_NAME
        && labels.clone().all(is_label)
        && labels.next_back().is_some_and(is_word)
}

/// Whether the last label of a name is no number, `0x` included.
fn is_word(label: &[u8]) -> bool {
    let digits = label.strip_prefix(b"0x").unwrap_or(label);
    !(label.iter().all(u8::is_ascii_digit)
        || digits.len() < label.len() && digits.iter().all(u8::is_ascii_hexdigit))
}

impl<'a> Rule<'a> {
    /// Whether the port is one of its own.
    pub const fn has_port(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether it speaks of everything that the other speaks of.
    pub fn covers(&self, other: &Rule<'_>) -> bool {
        self.first <= other.first && other.last <= self.last && self.host.covers(&other.host)
    }

    /// What both speak of; `None` if that is nothing. Of hosts, one kind lies
    /// in the other or has nothing in common with it.
    pub fn of_both(&self, other: &Self) -> Option<Self> {
        let host = match (self.host.covers(&other.host), other.host.covers(&self.host)) {
            (true, _) => other.host,
            (false, true) => self.host,
            (false, false) => return None,
        };
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { host, first, last })
    }
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.host)?;
        match (self.first, self.last) {
            (1, u16::MAX) => formatter.write_str(":*"),
            (first, last) if first == last => write!(formatter, ":{first}"),
            (first, last) => write!(formatter, ":{first}-{last}"),
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name: Text<'_>, formatter: &mut fmt::Formatter<'_>| {
            name.to_bytes().utf8_chunks().try_for_each(|part| formatter.write_str(part.valid()))
        };
        match *self {
            Self::AnyName => formatter.write_str("*"),
            Self::Name(name) => text(name, formatter),
            Self::Below(name) => {
                formatter.write_str("*.")?;
                text(name, formatter)
            }
            Self::Network(network) => write!(formatter, "{network}"),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from(self.address);
        let (before, longest) = match address.to_ipv4_mapped() {
            Some(address) if self.is_mapped() => {
                write!(formatter, "{address}")?;
                (MAPPED, 32)
            }
            _ => {
                write!(formatter, "[{address}]")?;
                (0, MAX_PREFIX)
            }
        };
        match self.prefix - before {
            prefix if prefix == longest => Ok(()),
            prefix => write!(formatter, "/{prefix}"),
        }
    }
}
