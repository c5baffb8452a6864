//! `network.access = "proxy"`: the sockets that listen inside, what is let
//! through outside, and the variables by which programs find the way.

use std::ffi::CString;

use launcher_policy::Text;
use launcher_policy::enforce::Guarantee;
use launcher_policy::namespaces::{Listener, Protocol};
use launcher_policy::proxy::{Proxy as Wire, Upstream as WireUpstream};

use super::patterns::{self, Rule, Wrong};
use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{self, Access, Document, Mode, WithoutNamespace};
use crate::items::{Items, c_string};

/// The word for the proxy that the variables of whoever starts ours name.
const ENVIRONMENT: &str = "environment";

/// Where HTTP is spoken, unless the document says another port.
const HTTP: u16 = 3128;

/// Where SOCKS is spoken.
const SOCKS: u16 = 1080;

/// Where programs that know of no proxy look for servers.
const USUAL: [(Protocol, u16); 3] =
    [(Protocol::Tls, 443), (Protocol::Web, 80), (Protocol::Dns, 53)];

/// What programs reach without a proxy: the command's own network namespace.
const OWN: &str = "localhost,127.0.0.1,::1";

/// What a document says of its proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    allow: Items,
    deny: Items,
    upstream: Upstream,
    ports: Ports,
    supervised: bool,
    transparent: bool,
}

/// Ports of 127.0.0.1 inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    http: u16,
    socks: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Upstream {
    None,
    Environment,
    At(CString),
}

impl Proxy {
    pub(crate) fn wire(&self) -> Wire<'_> {
        let upstream = match &self.upstream {
            Upstream::None => WireUpstream::None,
            Upstream::Environment => WireUpstream::Environment,
            Upstream::At(address) => WireUpstream::At(Text::new(address)),
        };
        Wire { allow: self.allow.list(), deny: self.deny.list(), upstream }
    }

    /// Whether a supervisor makes the connections where there is no network
    /// namespace.
    pub(crate) fn is_supervised(&self) -> bool {
        self.supervised
    }

    /// The sockets that the launcher makes.
    pub(crate) fn listeners(&self) -> Items {
        let listener = |protocol, port| Listener { protocol, port };
        let named = [
            listener(Protocol::Http, self.ports.http),
            listener(Protocol::Socks, self.ports.socks),
        ];
        let usual = USUAL.into_iter().filter(|_| self.transparent);
        let usual = usual.map(|(protocol, port)| listener(protocol, port));
        Items::new(named.into_iter().chain(usual))
    }
}

/// The variables that a document with a proxy sets, unless it sets them itself.
pub(crate) fn variables(document: &Document) -> Vec<(&'static str, String)> {
    if !is_wanted(document) {
        return Vec::new();
    }
    // All of them name the same: programs without SOCKS fail at a proxy that
    // they cannot speak to, even where they would not need it.
    let http = format!("http://127.0.0.1:{}", ports(&document.network.proxy).http);
    let ways = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let around = ["NO_PROXY", "no_proxy"].map(|name| (name, OWN.to_owned()));
    ways.into_iter().map(|name| (name, http.clone())).chain(around).collect()
}

/// Whether programs find the proxy without knowing of it.
pub(crate) fn is_transparent(document: &Document) -> bool {
    is_wanted(document) && said_transparent(&document.network.proxy)
}

fn said_transparent(written: &document::Proxy) -> bool {
    written.transparent.as_ref().is_some_and(|transparent| *transparent.get_ref())
}

fn is_wanted(document: &Document) -> bool {
    document.network.access.as_ref().is_some_and(|access| *access.get_ref() == Access::Proxy)
}

fn ports(written: &document::Proxy) -> Ports {
    let port = |port: &Option<Spanned<u16>>, otherwise| {
        port.as_ref().map_or(otherwise, |port| *port.get_ref())
    };
    Ports { http: port(&written.http, HTTP), socks: port(&written.socks, SOCKS) }
}

/// Resolves what `[network]` says of a proxy; `None` where there is none.
pub(super) fn resolve(document: &Document, diagnostics: &mut Diagnostics) -> Option<Proxy> {
    let written = &document.network;
    if !is_wanted(document) {
        check_unwanted(written, diagnostics);
        return None;
    }
    check_ports(&written.proxy, diagnostics);
    check_waived(document, diagnostics);
    if let (true, Some(access)) = (written.allow.is_empty(), &written.access) {
        diagnostics
            .warning(access.span(), "the proxy lets nothing through: network.allow is empty")
            .help("list hosts, such as allow = [\"git.example.org:443\", \"*.example.org\"]");
    }
    Some(Proxy {
        allow: rules(&written.allow, patterns::allowed, diagnostics),
        deny: rules(&written.deny, patterns::denied, diagnostics),
        upstream: upstream(written.proxy.upstream.as_ref(), diagnostics),
        ports: ports(&written.proxy),
        supervised: supervised(document, diagnostics),
        transparent: is_transparent(document),
    })
}

/// What speaks of a proxy has no meaning without one.
fn check_unwanted(written: &document::Network, diagnostics: &mut Diagnostics) {
    let lists = [("allow", &written.allow), ("deny", &written.deny)];
    let proxy = &written.proxy;
    let ports = [("proxy.http", &proxy.http), ("proxy.socks", &proxy.socks)];
    let first = lists.into_iter().filter_map(|(key, list)| Some((key, list.first()?.span())));
    let ports = ports.into_iter().filter_map(|(key, port)| Some((key, port.as_ref()?.span())));
    let upstream = proxy.upstream.as_ref().map(|each| ("proxy.upstream", each.span()));
    let transparent = proxy.transparent.as_ref().map(|each| ("proxy.transparent", each.span()));
    let without = written.without_namespace.as_ref();
    let without = without.map(|each| ("without_namespace", each.span()));
    for (key, span) in first.chain(ports).chain(upstream).chain(transparent).chain(without) {
        diagnostics
            .error(span, format!("network.{key} is for a proxy, and there is none"))
            .help("set access = \"proxy\", or leave it out");
    }
}

/// What a supervisor makes is kept from the command by the filter.
fn supervised(document: &Document, diagnostics: &mut Diagnostics) -> bool {
    let Some(word) = &document.network.without_namespace else { return false };
    let is_supervised = *word.get_ref() == WithoutNamespace::Supervise;
    let filter = document.enforce.seccomp.as_ref().map(Spanned::get_ref);
    if is_supervised && filter == Some(&Mode::Off) {
        diagnostics
            .error(word.span(), "a supervisor is asked by seccomp, which enforce.seccomp gives up")
            .help("leave enforce.seccomp at \"prefer\"");
    }
    if is_supervised && is_transparent(document) {
        diagnostics
            .error(word.span(), "a transparent proxy takes a network namespace")
            .help("leave one of without_namespace and proxy.transparent out");
    }
    is_supervised
}

fn check_ports(written: &document::Proxy, diagnostics: &mut Diagnostics) {
    let all = [&written.http, &written.socks];
    for port in all.into_iter().flatten().filter(|port| *port.get_ref() == 0) {
        diagnostics
            .error(port.span(), "nobody finds a proxy at port 0")
            .help("leave it out for the usual port");
    }
    let Ports { http, socks } = ports(written);
    if let (true, Some(port)) = (http == socks, all.into_iter().flatten().next_back()) {
        diagnostics
            .error(port.span(), format!("HTTP and SOCKS are both at port {http}"))
            .help("each needs a port of its own");
    }
    let is_usual = |port: u16| {
        USUAL.iter().any(|(protocol, usual)| !protocol.is_datagrams() && *usual == port)
    };
    if !said_transparent(written) {
        return;
    }
    for port in all.into_iter().flatten().filter(|port| is_usual(*port.get_ref())) {
        diagnostics
            .error(port.span(), format!("port {} is where a transparent proxy is", port.get_ref()))
            .help("each needs a port of its own");
    }
}

/// Without its namespace there is no network that leads to the proxy only.
fn check_waived(document: &Document, diagnostics: &mut Diagnostics) {
    let waived = document.enforce.waive.iter();
    for name in waived.filter(|name| *name.get_ref() == Guarantee::Network) {
        diagnostics
            .error(name.span(), "\"network\" cannot be given up where access = \"proxy\"")
            .help("the proxy is reached in a network namespace only; leave it out");
    }
}

fn rules(
    written: &[Spanned<String>],
    read: impl Fn(&str) -> Result<Vec<Rule>, Wrong>,
    diagnostics: &mut Diagnostics,
) -> Items {
    let mut rules = Vec::new();
    for pattern in written {
        match read(pattern.get_ref()) {
            Ok(read) => rules.extend(read),
            Err(Wrong { message, help }) => {
                diagnostics.error(pattern.span(), message).help(help);
            }
        }
    }
    Items::new(rules.iter().map(Rule::wire))
}

fn upstream(written: Option<&Spanned<String>>, diagnostics: &mut Diagnostics) -> Upstream {
    let Some(written) = written else { return Upstream::None };
    if written.get_ref() == ENVIRONMENT {
        return Upstream::Environment;
    }
    match address(written.get_ref()).and_then(c_string) {
        Some(address) => Upstream::At(address),
        None => {
            diagnostics
                .error(written.span(), format!("{:?} is no HTTP proxy", written.get_ref()))
                .help(
                    "it is written as in \"http://127.0.0.1:8080\", without a user name; \
                     \"environment\" takes the one that *_PROXY names",
                );
            Upstream::None
        }
    }
}

/// `host:port` of the URL of an HTTP proxy; `None` for any other.
pub fn address(url: &str) -> Option<String> {
    let authority = url.strip_prefix("http://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            host.parse::<std::net::Ipv4Addr>().is_ok()
                || launcher_policy::proxy::is_name(host.to_ascii_lowercase().as_bytes())
        }
    };
    let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
    is_host.then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{document, messages};

    fn resolved(network: &str) -> (Option<Proxy>, Vec<String>) {
        let mut diagnostics = Diagnostics::default();
        let proxy = resolve(&document(&format!("[network]\n{network}")), &mut diagnostics);
        (proxy, messages(&diagnostics))
    }

    #[test]
    fn a_proxy_has_its_rules_and_two_sockets() {
        let (proxy, complaints) = resolved(
            "access = 'proxy'\nallow = ['a.test', '10.0.0.0/8:1-9']\ndeny = ['b.test']\n\
             proxy = { socks = 9, upstream = 'http://localhost:8080/' }",
        );
        assert!(complaints.is_empty(), "{complaints:?}");
        let proxy = proxy.expect("there is one");
        let wire = proxy.wire();
        let allow: Vec<String> = wire.allow.iter().map(|rule| rule.to_string()).collect();
        assert_eq!(allow, ["a.test:80", "a.test:443", "10.0.0.0/8:1-9"]);
        assert_eq!(wire.deny.count(), 1);
        assert_eq!(wire.upstream, WireUpstream::At(Text::new(c"localhost:8080")));
        let listeners = proxy.listeners();
        let ports: Vec<u16> =
            listeners.list().iter().map(|listener: Listener| listener.port).collect();
        assert_eq!(ports, [3128, 9]);
    }

    #[test]
    fn what_speaks_of_a_proxy_needs_one() {
        for (network, complaint) in [
            ("allow = ['a.test']", "network.allow is for a proxy, and there is none"),
            (
                "access = 'host'\ndeny = ['a.test']",
                "network.deny is for a proxy, and there is none",
            ),
            ("proxy.http = 1", "network.proxy.http is for a proxy, and there is none"),
            (
                "proxy.upstream = 'environment'",
                "network.proxy.upstream is for a proxy, and there is none",
            ),
            (
                "without_namespace = 'supervise'",
                "network.without_namespace is for a proxy, and there is none",
            ),
        ] {
            assert_eq!(resolved(network).1, [complaint]);
        }
    }

    #[test]
    fn every_wrong_pattern_is_complained_of() {
        let (_, complaints) =
            resolved("access = 'proxy'\nallow = ['a:0', '::1', 'a']\ndeny = ['*x']");
        assert_eq!(complaints.len(), 3, "{complaints:?}");
    }

    #[test]
    fn a_proxy_that_lets_nothing_through_is_warned_of() {
        assert_eq!(
            resolved("access = 'proxy'").1,
            ["the proxy lets nothing through: network.allow is empty"]
        );
    }

    #[test]
    fn a_transparent_proxy_has_the_usual_ports_as_well() {
        let text = |more: &str| {
            format!("access = 'proxy'\nallow = ['a']\nproxy.transparent = true\n{more}")
        };
        let (proxy, complaints) = resolved(&text(""));
        assert!(complaints.is_empty(), "{complaints:?}");
        let listeners = proxy.expect("there is one").listeners();
        let ports: Vec<u16> =
            listeners.list().iter().map(|listener: Listener| listener.port).collect();
        assert_eq!(ports, [3128, 1080, 443, 80, 53]);
        let taken = resolved(&text("proxy.http = 80")).1;
        assert_eq!(taken, ["port 80 is where a transparent proxy is"]);
        let supervised = resolved(&text("without_namespace = 'supervise'")).1;
        assert_eq!(supervised, ["a transparent proxy takes a network namespace"]);
    }

    #[test]
    fn a_supervisor_needs_the_filter() {
        let text = "network = { access = 'proxy', allow = ['a'], without_namespace = 'supervise' }";
        let complaints = |text: &str| {
            let mut diagnostics = Diagnostics::default();
            let proxy = resolve(&document(text), &mut diagnostics);
            assert!(proxy.is_some_and(|proxy| proxy.is_supervised()), "{text}");
            messages(&diagnostics)
        };
        assert_eq!(complaints(text), [""; 0]);
        let off = complaints(&format!("{text}\nenforce.seccomp = 'off'"));
        assert_eq!(off, ["a supervisor is asked by seccomp, which enforce.seccomp gives up"]);
    }

    #[test]
    fn ports_and_upstreams_without_a_meaning_are_refused() {
        let with = |proxy: &str| {
            resolved(&format!("access = 'proxy'\nallow = ['a']\nproxy = {{ {proxy} }}")).1
        };
        assert_eq!(with("http = 0"), ["nobody finds a proxy at port 0"]);
        assert_eq!(with("http = 1080"), ["HTTP and SOCKS are both at port 1080"]);
        for upstream in ["https://a:1", "a:1", "http://u:p@a:1", "http://a:0", "http://a:1/x", "x"]
        {
            let complaint = format!("{upstream:?} is no HTTP proxy");
            assert_eq!(with(&format!("upstream = '{upstream}'")), [complaint]);
        }
        for upstream in ["http://a", "http://[::1]:8080", "http://10.0.0.1:1/", "environment"] {
            assert_eq!(with(&format!("upstream = '{upstream}'")), [""; 0]);
        }
    }

    #[test]
    fn the_namespace_that_leads_to_the_proxy_cannot_be_given_up() {
        let text = "network = { access = 'proxy', allow = ['a'] }\nenforce.waive = ['network']";
        let mut diagnostics = Diagnostics::default();
        resolve(&document(text), &mut diagnostics);
        let complaint = "\"network\" cannot be given up where access = \"proxy\"";
        assert_eq!(messages(&diagnostics), [complaint]);
    }
}
