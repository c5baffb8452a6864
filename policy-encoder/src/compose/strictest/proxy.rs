//! `network.allow`, `network.deny` and `network.proxy`: what the proxies of
//! both parts let through.

use launcher_policy::proxy::Rule as Wire;

use super::network::said;
use super::{agreed, last, stricter};
use crate::Spanned;
use crate::compose::add;
use crate::diagnostic::Diagnostics;
use crate::document::{Access, Network, Proxy, WithoutNamespace};
use crate::network::patterns::{self, Rule};

/// Where two proxies behind the proxy differ.
const UPSTREAMS: [&str; 2] = [
    "a proxy behind the proxy cannot be intersected with another way",
    "every part needs the same `network.proxy.upstream`",
];

/// What both let through. The host's network lets through everything, or the
/// ports that it lists.
pub(super) fn allow(one: &Network, two: &Network) -> Vec<Spanned<String>> {
    match (is_proxied(one), is_proxied(two)) {
        (true, true) => of_both(&one.allow, &two.allow),
        (true, false) => on_ports(&one.allow, two),
        _ => on_ports(&two.allow, one),
    }
}

/// What either does not let through.
pub(super) fn deny(one: &Network, two: &Network) -> Vec<Spanned<String>> {
    add::both(one.deny.clone(), two.deny.clone())
}

/// Supervised if that is enough for every part that has a proxy: the others say
/// nothing of it.
pub(super) fn without_namespace(one: &Network, two: &Network) -> Option<Spanned<WithoutNamespace>> {
    let (own, other) = (&one.without_namespace, &two.without_namespace);
    match (is_proxied(one), is_proxied(two)) {
        (true, true) => stricter(own, other, &WithoutNamespace::Refuse, |word| {
            u8::from(*word == WithoutNamespace::Supervise)
        }),
        (true, false) => own.clone(),
        _ => other.clone(),
    }
}

/// The ports of the last one.
pub(super) fn both(one: &Network, two: &Network, diagnostics: &mut Diagnostics) -> Proxy {
    let Proxy { http, socks, upstream, transparent } = &one.proxy;
    let other = &two.proxy;
    Proxy {
        http: last(http, &other.http),
        socks: last(socks, &other.socks),
        transparent: last(transparent, &other.transparent),
        upstream: match is_proxied(one) && is_proxied(two) {
            true => agreed(upstream, &other.upstream, UPSTREAMS, diagnostics),
            false => last(upstream, &other.upstream),
        },
    }
}

fn is_proxied(network: &Network) -> bool {
    said(&network.access) == Some(Access::Proxy)
}

/// Rules, with where each is written.
type Placed<'l> = Vec<(Rule, &'l Spanned<String>)>;

/// The rules of a list. What is no pattern stays what it is, to be complained
/// of where it is resolved.
fn rules(list: &[Spanned<String>]) -> (Placed<'_>, Vec<Spanned<String>>) {
    let (mut read, mut wrong) = (Vec::new(), Vec::new());
    for pattern in list {
        match patterns::allowed(pattern.get_ref()) {
            Ok(rules) => read.extend(rules.into_iter().map(|rule| (rule, pattern))),
            Err(_) => wrong.push(pattern.clone()),
        }
    }
    (read, wrong)
}

fn written(rule: &Wire<'_>, at: &Spanned<String>) -> Spanned<String> {
    Spanned::new(at.span(), rule.to_string())
}

fn of_both(one: &[Spanned<String>], two: &[Spanned<String>]) -> Vec<Spanned<String>> {
    let ((one, wrong), (two, wrong_too)) = (rules(one), rules(two));
    let shared = one.iter().flat_map(|(rule, _)| {
        two.iter().filter_map(|(other, at)| {
            rule.wire().of_both(&other.wire()).map(|rule| written(&rule, at))
        })
    });
    add::both(add::both(shared.collect(), wrong), wrong_too)
}

/// The rules on the ports that the host's network is limited to.
fn on_ports(list: &[Spanned<String>], host: &Network) -> Vec<Spanned<String>> {
    let Some(ports) = &host.connect_tcp else { return list.to_vec() };
    let (rules, wrong) = rules(list);
    let limited = rules.iter().flat_map(|(rule, at)| {
        let rule = rule.wire();
        let ports = ports.get_ref().iter().copied().filter(move |port| rule.has_port(*port));
        ports.map(move |port| written(&Wire { first: port, last: port, ..rule }, at))
    });
    add::both(limited.collect(), wrong)
}
