//! What the proxy of one policy lets through and the other policy refuses.

use launcher_policy::Policy;
use launcher_policy::proxy::{Proxy, Rule, Upstream};
use linux_raw_sys::landlock::LANDLOCK_ACCESS_NET_CONNECT_TCP;

use super::{namespace_flags, ports};

/// Each in words. A host that several entries of the other cover only together
/// counts as one that none covers.
pub(super) fn excess(policy: &Policy<'_>, other: &Policy<'_>) -> Vec<String> {
    let Some(own) = policy.proxy else { return Vec::new() };
    let through = |rule: &Rule<'_>| format!("{rule} through the proxy");
    match other.proxy {
        Some(others) => {
            let more = own.allow.iter().filter(|rule| !is_covered(rule, &others));
            let denied = others.deny.iter().flat_map(|denied| open_of(&denied, &own));
            let upstream = own.upstream != Upstream::None && own.upstream != others.upstream;
            let upstream = upstream.then(|| "another proxy behind the proxy".to_owned());
            more.map(|rule| through(&rule)).chain(denied).chain(upstream).collect()
        }
        None if namespace_flags(other) & linux_raw_sys::general::CLONE_NEWNET != 0 => {
            own.allow.iter().map(|rule| through(&rule)).collect()
        }
        None => {
            let Some(ports) = ports(other, LANDLOCK_ACCESS_NET_CONNECT_TCP) else {
                return Vec::new();
            };
            let all = |rule: &Rule<'_>| (rule.first..=rule.last).all(|port| ports.contains(&port));
            own.allow.iter().filter(|rule| !all(rule)).map(|rule| through(&rule)).collect()
        }
    }
}

fn is_covered(rule: &Rule<'_>, proxy: &Proxy<'_>) -> bool {
    proxy.allow.iter().any(|allowed| allowed.covers(rule))
}

/// What of a denied rule a proxy lets through.
fn open_of(denied: &Rule<'_>, proxy: &Proxy<'_>) -> Vec<String> {
    let is_denied = |rule: &Rule<'_>| proxy.deny.iter().any(|own| own.covers(rule));
    // A name may lead to any address, so of networks the denial itself counts.
    let is_network = matches!(denied.host, launcher_policy::proxy::Host::Network(_));
    let shared = proxy.allow.iter().filter_map(|allowed| match is_network {
        true => Some(*denied),
        false => denied.of_both(&allowed),
    });
    let mut open: Vec<String> = shared
        .filter(|rule| !is_denied(rule))
        .map(|rule| format!("{rule} through the proxy, which the other denies"))
        .collect();
    open.sort();
    open.dedup();
    open
}
