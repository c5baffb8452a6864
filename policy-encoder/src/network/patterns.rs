//! `network.allow` and `network.deny`: hosts and ports as people write them.

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use launcher_policy::proxy::{Host as WireHost, Network, Rule as Wire, is_name};

use crate::items::c_string;

/// The ports of an entry of `network.allow` that names none: those of `http://`
/// and `https://`.
const WEB: [(u16, u16); 2] = [(80, 80), (443, 443)];

/// Every port: of an entry of `network.deny` that names none, and of `*`.
const EVERY: (u16, u16) = (1, u16::MAX);

/// A rule that owns its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    host: Host,
    ports: (u16, u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    AnyName,
    Name(CString),
    Below(CString),
    Network(Network),
}

impl Rule {
    /// As the policy borrows it.
    pub(crate) fn wire(&self) -> Wire<'_> {
        let host = match &self.host {
            Host::AnyName => WireHost::AnyName,
            Host::Name(name) => WireHost::Name(launcher_policy::Text::new(name)),
            Host::Below(name) => WireHost::Below(launcher_policy::Text::new(name)),
            Host::Network(network) => WireHost::Network(*network),
        };
        Wire { host, first: self.ports.0, last: self.ports.1 }
    }
}

/// What is wrong with a pattern, and what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) help: String,
}

fn wrong(message: impl Into<String>, help: impl Into<String>) -> Wrong {
    Wrong { message: message.into(), help: help.into() }
}

/// The rules of an entry of `network.allow`.
pub(crate) fn allowed(pattern: &str) -> Result<Vec<Rule>, Wrong> {
    rules(pattern, &WEB)
}

/// The rules of an entry of `network.deny`.
pub(crate) fn denied(pattern: &str) -> Result<Vec<Rule>, Wrong> {
    rules(pattern, &[EVERY])
}

fn rules(pattern: &str, otherwise: &[(u16, u16)]) -> Result<Vec<Rule>, Wrong> {
    let (host, ports) = parts(pattern)?;
    let ports = match ports {
        Some(ports) => vec![self::ports(ports)?],
        None => otherwise.to_vec(),
    };
    Ok(ports.into_iter().map(|ports| Rule { host: host.clone(), ports }).collect())
}

/// The host of a pattern, and what stands behind its colon.
fn parts(pattern: &str) -> Result<(Host, Option<&str>), Wrong> {
    if let Some((_, rest)) = pattern.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        return Err(wrong(
            format!("{pattern:?} is a URL, not a host"),
            format!("a host and a port are all that a proxy sees: {host:?}"),
        ));
    }
    if let Some(rest) = pattern.strip_prefix('[') {
        return bracketed(pattern, rest);
    }
    if pattern.matches(':').count() > 1 {
        return Err(wrong(
            format!("{pattern:?} has more than one colon"),
            "an IPv6 address stands in brackets, such as \"[2001:db8::1]:443\"",
        ));
    }
    let (host, ports) = match pattern.split_once(':') {
        Some((host, ports)) => (host, Some(ports)),
        None => (pattern, None),
    };
    Ok((self::host(host)?, ports))
}

/// `ADDRESS]`, with a prefix or ports behind it.
fn bracketed<'p>(pattern: &'p str, rest: &'p str) -> Result<(Host, Option<&'p str>), Wrong> {
    let example = "an IPv6 address is written as in \"[2001:db8::1]:443\", a network as in \
                   \"[2001:db8::]/32:443\"";
    let malformed = || wrong(format!("{pattern:?} is no IPv6 address with a port"), example);
    let (address, behind) = rest.split_once(']').ok_or_else(malformed)?;
    let address: Ipv6Addr = address.parse().map_err(|_| malformed())?;
    let (prefix, ports) = match behind.split_once(':') {
        Some((prefix, ports)) => (prefix, Some(ports)),
        None => (behind, None),
    };
    let prefix = match prefix.strip_prefix('/') {
        Some(prefix) => Some(prefix),
        None if prefix.is_empty() => None,
        None => return Err(malformed()),
    };
    Ok((network(address.into(), prefix)?, ports))
}

/// A name, a pattern of names, or IPv4.
fn host(text: &str) -> Result<Host, Wrong> {
    if text == "*" {
        return Ok(Host::AnyName);
    }
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    if let Ok(address) = address.parse::<Ipv4Addr>() {
        return network(address.into(), prefix);
    }
    if prefix.is_some() {
        return Err(wrong(
            format!("{text:?} is no network: there is no address before the /"),
            "a network is written as in \"192.0.2.0/24\"; paths of a URL cannot be judged",
        ));
    }
    match text.strip_prefix("*.") {
        Some(above) => name(text, above).map(Host::Below),
        None => name(text, text).map(Host::Name),
    }
}

/// A name as it is compared, which `text` is or ends in.
fn name(text: &str, name: &str) -> Result<CString, Wrong> {
    let own = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if is_name(own.as_bytes()) {
        return c_string(own).ok_or_else(|| wrong("a host name holds no NUL", "leave it out"));
    }
    let help = if text.contains('*') {
        "a * stands alone, for every name, or before a dot, for all below a domain: \"*.example.org\""
    } else if !text.is_ascii() {
        "write the name in its ASCII form, which begins with xn--"
    } else {
        "a name is written as in \"git.example.org\", an address in full, as in \"192.0.2.1\""
    };
    Err(wrong(format!("{text:?} is no host name"), help))
}

/// The addresses that begin as this one does; this one alone without a prefix.
fn network(address: IpAddr, prefix: Option<&str>) -> Result<Host, Wrong> {
    let Some(prefix) = prefix else { return Ok(Host::Network(Network::of(address))) };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let network = prefix.parse().ok().and_then(|bits| Network::new(address, bits));
    let Some(network) = network else {
        return Err(wrong(
            format!("{prefix:?} is no length of a prefix"),
            format!("it is a number from 0 to {longest}"),
        ));
    };
    if !network.is_valid() {
        return Err(wrong(
            format!("{address}/{prefix} names one address and a whole network"),
            format!("the network is {}", network.truncated()),
        ));
    }
    Ok(Host::Network(network))
}

/// A port, a range of them, or `*`.
fn ports(text: &str) -> Result<(u16, u16), Wrong> {
    if text == "*" {
        return Ok(EVERY);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(wrong(
            format!("{text:?} is no port"),
            "a port is a number from 1 to 65535, a range is written as in \"8000-8999\", every port as \"*\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rules: Result<Vec<Rule>, Wrong>) -> Vec<String> {
        rules.expect("a pattern").iter().map(|rule| rule.wire().to_string()).collect()
    }

    #[test]
    fn every_form_of_a_pattern_is_read() {
        for (pattern, rules) in [
            ("git.example.org:443", &["git.example.org:443"][..]),
            ("Git.Example.ORG.:22", &["git.example.org:22"]),
            ("*.example.org", &["*.example.org:80", "*.example.org:443"]),
            ("*", &["*:80", "*:443"]),
            ("*:*", &["*:*"]),
            ("192.0.2.0/24:8000-8999", &["192.0.2.0/24:8000-8999"]),
            ("192.0.2.1:5432", &["192.0.2.1:5432"]),
            ("0.0.0.0/0:1", &["0.0.0.0/0:1"]),
            ("[2001:db8::]/32:443", &["[2001:db8::]/32:443"]),
            ("[::1]", &["[::1]:80", "[::1]:443"]),
            ("[::ffff:10.0.0.1]:1", &["10.0.0.1:1"]),
            ("localhost:3000", &["localhost:3000"]),
        ] {
            assert_eq!(shown(allowed(pattern)), rules, "{pattern}");
        }
    }

    #[test]
    fn without_a_port_what_is_denied_is_denied_on_every_one() {
        assert_eq!(shown(denied("*.example.org")), ["*.example.org:*"]);
        assert_eq!(shown(denied("*.example.org:22")), ["*.example.org:22"]);
    }

    #[test]
    fn what_is_no_pattern_is_said_with_a_remedy() {
        for (pattern, message, help) in [
            ("", "is no host name", "is written as in"),
            ("https://example.org/x", "is a URL", "\"example.org\""),
            ("example.org/x", "is no network", "paths of a URL"),
            ("example.org:0", "\"0\" is no port", "1 to 65535"),
            ("example.org:", "\"\" is no port", "1 to 65535"),
            ("example.org:9-8", "is no port", "8000-8999"),
            ("example.org:65536", "is no port", "65535"),
            ("2001:db8::1", "more than one colon", "in brackets"),
            ("[2001:db8::1", "is no IPv6 address", "\"[2001:db8::1]:443\""),
            ("[example.org]:443", "is no IPv6 address", "\"[2001:db8::]/32:443\""),
            ("[::1]x:443", "is no IPv6 address", "is written as in"),
            ("10.0.0.1/8", "names one address", "the network is 10.0.0.0/8"),
            ("10.0.0.0/33", "\"33\" is no length", "0 to 32"),
            ("[::]/129", "\"129\" is no length", "0 to 128"),
            ("a.*.org", "is no host name", "before a dot"),
            ("*example.org", "is no host name", "before a dot"),
            ("bücher.example", "is no host name", "xn--"),
            ("127.1", "is no host name", "in full"),
            ("exa mple.org", "is no host name", "is written as in"),
        ] {
            let wrong = allowed(pattern).expect_err(pattern);
            assert!(wrong.message.contains(message), "{pattern}: {}", wrong.message);
            assert!(wrong.help.contains(help), "{pattern}: {}", wrong.help);
        }
    }
}
