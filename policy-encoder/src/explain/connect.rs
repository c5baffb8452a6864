//! Whether a connection will be made, and why.

use std::net::IpAddr;

use launcher_policy::Policy;
use launcher_policy::proxy::judge::Verdict;
use launcher_policy::proxy::{Proxy, Upstream, is_name};
use launcher_policy::wire::Architecture;

use super::summary::{Network, network};

/// A host, and a port of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name, or an address.
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// In lower case, without a final dot.
    Name(String),
    Address(IpAddr),
}

/// Whether it will be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whether the policy lets it through.
    pub allowed: bool,
    /// Why.
    pub reason: String,
}

impl std::str::FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "it is written as in git.example.org:443, 192.0.2.1:80 or [2001:db8::1]:443";
        let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(wrong)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Some(address) = inner {
            let address: std::net::Ipv6Addr = address.parse().map_err(|_| wrong)?;
            return Ok(Self { host: Host::Address(address.into()), port });
        }
        if let Ok(address) = host.parse::<std::net::Ipv4Addr>() {
            return Ok(Self { host: Host::Address(address.into()), port });
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if !is_name(name.as_bytes()) {
            return Err(wrong);
        }
        Ok(Self { host: Host::Name(name), port })
    }
}

/// What becomes of a TCP connection to this target.
pub fn connect(policy: &Policy<'_>, architecture: Architecture, target: &Target) -> Connection {
    if let Some(proxy) = policy.proxy {
        return through(&proxy, target);
    }
    let network = network(policy, architecture);
    let inside = match &target.host {
        Host::Name(name) => name == "localhost",
        Host::Address(address) => address.to_canonical().is_loopback(),
    };
    let (allowed, reason) = match &network {
        Network { tcp: false, .. } => (false, "no socket of TCP can be made"),
        Network { access: "host", connect_tcp: Some(ports), .. }
            if !ports.contains(&target.port) =>
        {
            (false, "network.connect_tcp does not have the port")
        }
        Network { access: "host", .. } => (true, "the network is the host's"),
        Network { access: "loopback", .. } if inside => {
            (true, "among the command's own processes only")
        }
        _ => (false, "the network is the command's own, and leads nowhere"),
    };
    Connection { allowed, reason: reason.to_owned() }
}

/// What a proxy makes of it.
fn through(proxy: &Proxy<'_>, target: &Target) -> Connection {
    let verdict = match &target.host {
        Host::Name(name) => proxy.judge_name(name, target.port),
        Host::Address(address) => proxy.judge_address(*address, target.port, None, false),
    };
    let later = match (&target.host, verdict, proxy.upstream) {
        (Host::Name(_), Verdict::Allowed(_), Upstream::None) => {
            "; the proxy judges its addresses when it has resolved it"
        }
        (Host::Name(_), Verdict::Allowed(_), _) => {
            "; the proxy behind the proxy resolves it, and nobody judges its addresses"
        }
        (Host::Address(_), Verdict::Allowed(_), Upstream::None) => {
            "; one of the machine itself has to be listed by itself"
        }
        _ => "",
    };
    Connection { allowed: verdict.is_allowed(), reason: format!("{verdict}{later}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;
    use crate::diagnostic::Diagnostics;
    use crate::tests::document;
    use launcher_policy::wire;

    fn asked(network: &str, target: &str) -> Connection {
        let place = Place { sysroot: "/".into(), directory: "/usr".into(), variables: [].into() };
        let mut diagnostics = Diagnostics::default();
        let document = document(&format!("[network]\n{network}"));
        let bytes = crate::encode(&document, &place, Architecture::NATIVE, &mut diagnostics)
            .unwrap_or_else(|| panic!("{diagnostics:?}"));
        let policy = wire::decode(&bytes).expect("it decodes");
        connect(&policy, Architecture::NATIVE, &target.parse().expect("a target"))
    }

    #[test]
    fn each_kind_of_network_answers_for_itself() {
        let proxy = "access = 'proxy'\nallow = ['*.a.test', '10.0.0.1:22']\ndeny = ['x.a.test']";
        let listed = "access = 'host'\nconnect_tcp = [443]";
        for (network, target, allowed, reason) in [
            ("", "a.test:443", false, "no socket of TCP"),
            ("access = 'loopback'", "a.test:443", false, "leads nowhere"),
            ("access = 'loopback'", "[::1]:443", true, "own processes"),
            ("access = 'host'", "a.test:443", true, "the host's"),
            (listed, "a.test:443", true, "the host's"),
            (listed, "a.test:80", false, "does not have the port"),
            (proxy, "B.a.test.:443", true, "has *.a.test:443; the proxy judges its addresses"),
            (proxy, "b.a.test:22", false, "network.allow does not have it"),
            (proxy, "x.a.test:443", false, "network.deny has x.a.test:*"),
            (proxy, "10.0.0.1:22", true, "network.allow has 10.0.0.1:22"),
            (proxy, "[::ffff:10.0.0.1]:22", true, "network.allow has 10.0.0.1:22"),
            (proxy, "10.0.0.2:22", false, "private or of a special purpose"),
            (proxy, "1.1.1.1:22", false, "network.allow does not have it"),
        ] {
            let connection = asked(network, target);
            assert_eq!(connection.allowed, allowed, "{network} {target}: {}", connection.reason);
            assert!(connection.reason.contains(reason), "{target}: {}", connection.reason);
        }
        let upstream = format!("{proxy}\nproxy.upstream = 'http://127.0.0.1:1'");
        assert!(asked(&upstream, "b.a.test:443").reason.contains("nobody judges"));
    }

    #[test]
    fn a_target_has_a_host_and_a_port() {
        for bad in ["", "a.test", "a.test:0", "a.test:x", "::1:443", "[a]:1", "a b:1", "127.1:80"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
