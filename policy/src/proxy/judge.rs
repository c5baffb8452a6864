//! Whether a proxy connects to a host: what allows it, what denies it, and
//! which addresses are closed unless they are named.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Network, Proxy, Rule};

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// This lets it through.
    Allowed(Rule<'a>),
    /// This does not.
    Denied(Rule<'a>),
    /// Nothing speaks of it.
    Unlisted,
    /// The address is a closed one, and no entry for it or for a network of
    /// such addresses opens it.
    Closed,
}

impl Verdict<'_> {
    /// Whether it is let through.
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed(rule) => write!(formatter, "network.allow has {rule}"),
            Self::Denied(rule) => write!(formatter, "network.deny has {rule}"),
            Self::Unlisted => formatter.write_str("network.allow does not have it"),
            Self::Closed => formatter.write_str(
                "the address is private or of a special purpose, and network.allow does not name it",
            ),
        }
    }
}

/// Addresses that are not of the public Internet, or that lead to others by
/// way of a translator, from the registries of special-purpose addresses
/// (RFC 6890).
const CLOSED: [Network; 22] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 3),
    // Only 2000::/3 is given out. What else there is: loopback, addresses of
    // IPv4 (::/96, 64:ff9b::/96, 64:ff9b:1::/48), unique local, link-local,
    // multicast.
    v6([0, 0, 0], 3),
    v6([0x4000, 0, 0], 2),
    v6([0x8000, 0, 0], 1),
    // Teredo and other protocols, documentation, 6to4.
    v6([0x2001, 0, 0], 23),
    v6([0x2001, 0xdb8, 0], 32),
    v6([0x2002, 0, 0], 16),
    v6([0x3fff, 0, 0], 20),
    // The 6bone, which was taken back.
    v6([0x3ffe, 0, 0], 16),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Network {
    network(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix)
}

const fn v6([a, b, c]: [u16; 3], prefix: u8) -> Network {
    network(IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), prefix)
}

const fn network(address: IpAddr, prefix: u8) -> Network {
    match Network::new(address, prefix) {
        Some(network) => network,
        None => panic!("the prefix is too long"),
    }
}

impl<'a> Proxy<'a> {
    /// What becomes of a connection to a name, which is in lower case, as far
    /// as that is known before it is resolved.
    pub fn judge_name(&self, name: &str, port: u16) -> Verdict<'a> {
        let speaks = |rule: &Rule<'_>| rule.has_port(port) && rule.host.has_name(name);
        match (self.deny.iter().find(speaks), self.allow.iter().find(speaks)) {
            (Some(rule), _) => Verdict::Denied(rule),
            (None, Some(rule)) => Verdict::Allowed(rule),
            (None, None) => Verdict::Unlisted,
        }
    }

    /// What becomes of a connection to an address. `allowed` is what allows the
    /// name that it was resolved from; without one it has to be listed itself.
    /// `own` is whether it is one of the machine on which the proxy runs.
    pub fn judge_address(
        &self,
        address: IpAddr,
        port: u16,
        allowed: Option<Rule<'a>>,
        own: bool,
    ) -> Verdict<'a> {
        let host = super::Host::Network(Network::of(address));
        let speaks = |rule: &Rule<'_>| rule.has_port(port) && rule.host.covers(&host);
        if let Some(rule) = self.deny.iter().find(speaks) {
            return Verdict::Denied(rule);
        }
        let named = |rule: &Rule<'_>| match rule.host {
            super::Host::Network(network) => Some(network),
            _ => None,
        };
        let mut closed = CLOSED.into_iter().filter(|closed| closed.contains(Network::of(address)));
        // An entry that is wider than what is closed was not written for that.
        let opens: &dyn Fn(Network) -> bool = match (closed.next(), own) {
            (Some(closed), _) => &move |network| closed.contains(network),
            (None, true) => &|network| network == Network::of(address),
            (None, false) => &|_| true,
        };
        let listed = |rule: &Rule<'_>| speaks(rule) && named(rule).is_some_and(opens);
        let is_closed = !opens(Network::EVERY);
        match self.allow.iter().find(listed).or(allowed.filter(|_| !is_closed)) {
            Some(rule) => Verdict::Allowed(rule),
            None if is_closed => Verdict::Closed,
            None => Verdict::Unlisted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::List;
    use crate::proxy::{Host, Upstream};

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn rule(host: Host<'static>) -> Rule<'static> {
        Rule { host, first: 443, last: 443 }
    }

    fn network(text: &str, prefix: u8) -> Rule<'static> {
        rule(Host::Network(Network::new(address(text), prefix).expect("a network")))
    }

    fn list(rules: &[Rule<'static>]) -> List<'static, Rule<'static>> {
        let bytes: std::vec::Vec<u8> = rules
            .iter()
            .flat_map(|rule| postcard::to_stdvec(rule).expect("it is encoded"))
            .collect();
        List::from_bytes(bytes.leak())
    }

    fn proxy(allow: &[Rule<'static>], deny: &[Rule<'static>]) -> Proxy<'static> {
        Proxy { allow: list(allow), deny: list(deny), upstream: Upstream::None }
    }

    fn name(text: &'static core::ffi::CStr) -> Rule<'static> {
        rule(Host::Name(crate::Text::new(text)))
    }

    fn below(text: &'static core::ffi::CStr) -> Rule<'static> {
        rule(Host::Below(crate::Text::new(text)))
    }

    #[test]
    fn a_name_is_let_through_if_it_is_allowed_and_not_denied() {
        let proxy = proxy(&[name(c"a.test"), below(c"b.test")], &[name(c"no.b.test")]);
        for (name, allowed) in [
            ("a.test", true),
            ("x.a.test", false),
            ("b.test", false),
            (".b.test", false),
            ("x.b.test", true),
            ("y.x.b.test", true),
            ("xb.test", false),
            ("no.b.test", false),
            ("x.no.b.test", true),
        ] {
            assert_eq!(proxy.judge_name(name, 443).is_allowed(), allowed, "{name}");
            assert!(!proxy.judge_name(name, 444).is_allowed(), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_allowed_leads_to_no_closed_address() {
        let by_name = Some(rule(Host::AnyName));
        let proxy = proxy(&[rule(Host::AnyName), network("::", 0), network("0.0.0.0", 0)], &[]);
        for closed in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.31.255.255",
            "192.0.0.170",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.7",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fec0::1",
            "100::1",
        ] {
            let verdict = proxy.judge_address(address(closed), 443, by_name, false);
            assert_eq!(verdict, Verdict::Closed, "{closed}");
        }
        for open in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            let verdict = proxy.judge_address(address(open), 443, by_name, false);
            assert!(verdict.is_allowed(), "{open}");
            let verdict = proxy.judge_address(address(open), 443, by_name, true);
            assert_eq!(verdict, Verdict::Closed, "{open} of this machine");
        }
    }

    #[test]
    fn a_closed_address_is_opened_by_an_entry_for_it() {
        let proxy = proxy(
            &[network("127.0.0.1", 32), network("10.1.0.0", 16), network("1.1.1.1", 32)],
            &[network("10.1.2.0", 24)],
        );
        for (literal, own, allowed) in [
            ("127.0.0.1", true, true),
            ("::ffff:127.0.0.1", true, true),
            ("127.0.0.2", true, false),
            ("10.1.1.1", false, true),
            ("10.1.2.1", false, false),
            ("10.2.1.1", false, false),
            ("1.1.1.1", true, true),
            ("1.1.1.2", false, false),
        ] {
            let verdict = proxy.judge_address(address(literal), 443, None, own);
            assert_eq!(verdict.is_allowed(), allowed, "{literal}: {verdict}");
        }
        assert!(!proxy.judge_address(address("127.0.0.1"), 80, None, true).is_allowed());
    }

    #[test]
    fn a_denied_network_counts_for_names_that_lead_there() {
        let proxy = proxy(&[rule(Host::AnyName)], &[network("1.0.0.0", 8)]);
        let by_name = Some(rule(Host::AnyName));
        let denied = proxy.judge_address(address("1.2.3.4"), 443, by_name, false);
        assert!(matches!(denied, Verdict::Denied(_)), "{denied}");
        assert!(proxy.judge_address(address("2.2.3.4"), 443, by_name, false).is_allowed());
    }

    #[test]
    fn an_address_in_an_older_form_is_no_name() {
        for bad in ["127.1", "2130706433", "0x7f.1", "1.0x7f000001", "a..b", "", "a.", "A.b", "a b"]
        {
            assert!(!crate::proxy::is_name(bad.as_bytes()), "{bad}");
        }
        for good in
            ["localhost", "a-b.c_d.example", "1.example", "0x.example", "xn--bcher-kva.test"]
        {
            assert!(crate::proxy::is_name(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn rules_are_shown_as_they_are_written() {
        use std::string::ToString;
        let shown = |rule: Rule<'static>| rule.to_string();
        assert_eq!(shown(below(c"b.test")), "*.b.test:443");
        assert_eq!(shown(network("10.0.0.0", 8)), "10.0.0.0/8:443");
        assert_eq!(shown(network("10.0.0.1", 32)), "10.0.0.1:443");
        assert_eq!(shown(network("2001:db8::", 32)), "[2001:db8::]/32:443");
        assert_eq!(shown(network("::1", 128)), "[::1]:443");
        assert_eq!(Rule { first: 1, last: 65535, host: Host::AnyName }.to_string(), "*:*");
        assert_eq!(Rule { first: 1, last: 9, host: Host::AnyName }.to_string(), "*:1-9");
    }

    #[test]
    fn what_two_rules_share_is_the_narrower_host_and_the_ports_of_both() {
        let both = |one: Rule<'static>, two: Rule<'static>| {
            assert_eq!(one.of_both(&two), two.of_both(&one));
            one.of_both(&two)
        };
        assert_eq!(both(below(c"b.test"), name(c"a.b.test")), Some(name(c"a.b.test")));
        assert_eq!(both(below(c"b.test"), below(c"b.test")), Some(below(c"b.test")));
        assert_eq!(both(rule(Host::AnyName), below(c"b.test")), Some(below(c"b.test")));
        assert_eq!(both(rule(Host::AnyName), network("10.0.0.0", 8)), None);
        assert_eq!(
            both(network("10.0.0.0", 8), network("10.1.0.0", 16)),
            Some(network("10.1.0.0", 16))
        );
        assert_eq!(both(network("::", 0), network("10.0.0.0", 8)), None);
        let wide = Rule { first: 400, last: 500, ..name(c"a.test") };
        assert_eq!(both(wide, name(c"a.test")), Some(name(c"a.test")));
        assert_eq!(both(Rule { first: 444, ..wide }, name(c"a.test")), None);
    }
}
