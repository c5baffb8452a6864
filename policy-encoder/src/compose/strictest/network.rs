//! `[network]`: what both parts can reach.

use super::{last, proxy, stricter};
use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{Access, Network, Unix, UnixSet};

pub(super) fn both(one: &Network, two: &Network, diagnostics: &mut Diagnostics) -> Network {
    let Network {
        access,
        unix,
        connect_tcp,
        bind_tcp,
        udp: _,
        allow: _,
        deny: _,
        proxy: _,
        without_namespace: _,
    } = one;
    let access = stricter(access, &two.access, &Access::None, rank);
    // Lists of ports limit the host's network and have no meaning elsewhere.
    let is_host = said(&access) == Some(Access::Host);
    let ports = |one, two| ports(one, two).filter(|_| is_host);
    let mut network = Network {
        unix: self::unix(unix, &two.unix),
        connect_tcp: ports(connect_tcp, &two.connect_tcp),
        bind_tcp: ports(bind_tcp, &two.bind_tcp),
        udp: None,
        access,
        ..Network::default()
    };
    if said(&network.access) == Some(Access::Proxy) {
        let (allow, deny) = (proxy::allow(one, two), proxy::deny(one, two));
        let proxy = proxy::both(one, two, diagnostics);
        let without_namespace = proxy::without_namespace(one, two);
        network = Network { allow, deny, proxy, without_namespace, ..network };
    }
    network.udp = udp(&network, one, two);
    network
}

fn rank(access: &Access) -> u8 {
    match access {
        Access::None => 0,
        Access::Loopback => 1,
        Access::Proxy => 2,
        Access::Host => 3,
    }
}

pub(super) fn said<T: Copy>(value: &Option<Spanned<T>>) -> Option<T> {
    value.as_ref().map(|value| *value.get_ref())
}

/// The ports of both; no list is every port.
fn ports(
    one: &Option<Spanned<Vec<u16>>>,
    two: &Option<Spanned<Vec<u16>>>,
) -> Option<Spanned<Vec<u16>>> {
    match (one, two) {
        (Some(one), Some(two)) => {
            let of_both = one.get_ref().iter().filter(|port| two.get_ref().contains(port));
            Some(Spanned::new(two.span(), of_both.copied().collect()))
        }
        _ => last(one, two),
    }
}

/// UDP is open if it is in both, said where the default would be the other.
fn udp(result: &Network, one: &Network, two: &Network) -> Option<Spanned<bool>> {
    if matches!(said(&result.access), None | Some(Access::None)) {
        return None;
    }
    let by_default =
        |network: &Network| network.connect_tcp.is_none() && network.bind_tcp.is_none();
    let open = |network: &Network| said(&network.udp).unwrap_or(by_default(network));
    let is_open = open(one) && open(two);
    let span = last(&one.udp, &two.udp).map_or(0..0, |udp| udp.span());
    (is_open != by_default(result)).then(|| Spanned::new(span, is_open))
}

/// None, inside, a list, the host's.
fn unix(one: &Option<Spanned<Unix>>, two: &Option<Spanned<Unix>>) -> Option<Spanned<Unix>> {
    if let (Some(one), Some(two)) = (one, two)
        && let (Unix::Paths(paths), Unix::Paths(others)) = (one.get_ref(), two.get_ref())
    {
        let of_both = paths.iter().filter(|path| others.contains(path));
        return Some(Spanned::new(two.span(), Unix::Paths(of_both.cloned().collect())));
    }
    stricter(one, two, &Unix::Named(UnixSet::Inside), |unix| match unix {
        Unix::Named(UnixSet::None) => 0,
        Unix::Named(UnixSet::Inside) => 1,
        Unix::Paths(_) => 2,
        Unix::Named(UnixSet::Host) => 3,
    })
}
