//! What `[network]` asks for. Three stages keep it: `namespaces`, `landlock`
//! and `seccomp`.

pub(crate) mod patterns;
pub(crate) mod proxy;

use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{Access, Document, Mode, Unix, UnixSet, UnixSockets};

/// The network as the stages need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) access: Access,
    pub(crate) unix: Sockets,
    /// Whether without mounts there are pairs only, since nothing else keeps
    /// sockets inside.
    pub(crate) unix_needs_mounts: bool,
    /// TCP ports that may be connected to; `None` is all.
    pub(crate) connect_tcp: Option<Vec<u16>>,
    /// TCP ports that may be bound; `None` is all.
    pub(crate) bind_tcp: Option<Vec<u16>>,
    /// Whether UDP is open, where there is a network at all.
    pub(crate) udp: bool,
    /// The proxy that it leads to.
    pub(crate) proxy: Option<proxy::Proxy>,
}

/// The UNIX sockets that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// Among the command's own processes, and listed paths.
    Inside,
    /// Every path in view.
    Host,
    /// socketpair(2) only.
    Pairs,
}

impl Network {
    /// Whether ports are listed, so that every socket is plain TCP.
    pub(crate) fn has_ports(&self) -> bool {
        self.connect_tcp.is_some() || self.bind_tcp.is_some()
    }

    /// Whether there is a network, and UDP is closed in it.
    pub(crate) fn closes_udp(&self) -> bool {
        self.access != Access::None && !self.udp
    }

    /// Whether abstract UNIX sockets of the host are out of bounds.
    pub(crate) fn hides_abstract_sockets(&self) -> bool {
        match self.unix {
            Sockets::Inside => true,
            // An abstract socket is a thing of the network.
            Sockets::Host => self.access != Access::Host,
            Sockets::Pairs => false,
        }
    }
}

/// Resolves `[network]`.
pub(crate) fn resolve(document: &Document, diagnostics: &mut Diagnostics) -> Network {
    let written = &document.network;
    let access = written.access.as_ref().map_or(Access::None, |access| *access.get_ref());
    let unix = match written.unix.as_ref().map(Spanned::get_ref) {
        None | Some(Unix::Named(UnixSet::Inside) | Unix::Paths(_)) => Sockets::Inside,
        Some(Unix::Named(UnixSet::Host)) => Sockets::Host,
        Some(Unix::Named(UnixSet::None)) => Sockets::Pairs,
    };
    let has_lists = written.connect_tcp.is_some() || written.bind_tcp.is_some();
    let network = Network {
        access,
        unix,
        unix_needs_mounts: unix == Sockets::Inside
            && document.enforce.unix_sockets.as_ref().map(Spanned::get_ref)
                == Some(&UnixSockets::Pairs),
        connect_tcp: written.connect_tcp.as_ref().map(|ports| ports.get_ref().clone()),
        bind_tcp: written.bind_tcp.as_ref().map(|ports| ports.get_ref().clone()),
        udp: written.udp.as_ref().map_or(!has_lists, |udp| *udp.get_ref()),
        proxy: proxy::resolve(document, diagnostics),
    };
    check_ports(document, access, diagnostics);
    check_udp(document, &network, diagnostics);
    check_filter(document, &network, diagnostics);
    network
}

/// Lists of ports are for the host's network.
fn check_ports(document: &Document, access: Access, diagnostics: &mut Diagnostics) {
    let lists =
        [("connect_tcp", &document.network.connect_tcp), ("bind_tcp", &document.network.bind_tcp)];
    for (key, ports) in lists {
        let Some(ports) = ports else { continue };
        if access != Access::Host {
            diagnostics
                .error(ports.span(), format!("{key} limits the host's network, which is not given"))
                .help("set access = \"host\", or leave the list out");
        }
    }
    if let Some(ports) = &document.network.connect_tcp
        && ports.get_ref().contains(&0)
    {
        diagnostics.error(ports.span(), "nothing can be connected to at port 0");
    }
}

/// `udp` opens what a list of ports closes, and nothing else.
fn check_udp(document: &Document, network: &Network, diagnostics: &mut Diagnostics) {
    let Some(udp) = &document.network.udp else { return };
    if *udp.get_ref() && network.access == Access::None {
        diagnostics
            .error(udp.span(), "UDP cannot be open while access = \"none\"")
            .help("set access = \"host\", or leave udp out");
    }
}

/// What only the filter can keep needs the filter.
fn check_filter(document: &Document, network: &Network, diagnostics: &mut Diagnostics) {
    let Some(mode) = &document.enforce.seccomp else { return };
    if *mode.get_ref() != Mode::Off {
        return;
    }
    let lost = if network.has_ports() {
        "with a list of TCP ports, other sockets are closed by seccomp alone"
    } else if network.unix == Sockets::Pairs {
        "unix = \"none\" is kept by seccomp alone"
    } else {
        return;
    };
    diagnostics.error(mode.span(), lost).help("leave enforce.seccomp at \"prefer\"");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{document, messages};

    fn complaints(text: &str) -> Vec<String> {
        let mut diagnostics = Diagnostics::default();
        resolve(&document(text), &mut diagnostics);
        messages(&diagnostics)
    }

    #[test]
    fn nothing_is_reachable_by_default() {
        let network = resolve(&document(""), &mut Diagnostics::default());
        assert_eq!(network.access, Access::None);
        assert_eq!(network.unix, Sockets::Inside);
        assert!(network.hides_abstract_sockets() && !network.has_ports());
    }

    #[test]
    fn ports_are_listed_for_the_network_of_the_host_only() {
        assert_eq!(complaints("network = { access = 'host', connect_tcp = [443] }").len(), 0);
        assert_eq!(complaints("network = { access = 'loopback', connect_tcp = [443] }").len(), 1);
        assert_eq!(complaints("network = { connect_tcp = [], bind_tcp = [] }").len(), 2);
        assert_eq!(complaints("network = { access = 'host', connect_tcp = [0] }").len(), 1);
    }

    #[test]
    fn what_seccomp_alone_keeps_needs_seccomp() {
        for network in ["access = 'host', bind_tcp = [80]", "unix = 'none'"] {
            let text = format!("network = {{ {network} }}\nenforce.seccomp = 'off'");
            assert_eq!(complaints(&text).len(), 1, "{network}");
        }
        for network in ["access = 'host'", "access = 'host', udp = false"] {
            let text = format!("network = {{ {network} }}\nenforce.seccomp = 'off'");
            assert_eq!(complaints(&text).len(), 0, "{network}");
        }
    }
}
