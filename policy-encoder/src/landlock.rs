//! The Landlock ruleset but for its rules on files, precomputed for each ABI.

use launcher_policy::landlock::{
    ACCESS_FS_RESOLVE_UNIX, ACCESS_NET_BIND_UDP, ACCESS_NET_CONNECT_SEND_UDP, Handled, NEWEST_ABI,
    Port,
};
use linux_raw_sys::landlock as uapi;

use crate::document::{Document, LandlockLog, Mode};
use crate::items::Items;
use crate::network::{Network, Sockets};

/// The ABI that knows truncate(2) (Linux 6.2).
pub(crate) const ABI_TRUNCATE: u8 = 3;

/// The ABI that knows ioctl(2) on devices (Linux 6.10).
pub(crate) const ABI_IOCTL_DEV: u8 = 5;

/// The ABI that knows TCP ports (Linux 6.7).
pub(crate) const ABI_TCP: u8 = 4;

/// The ABI that knows scopes (Linux 6.12).
pub(crate) const ABI_SCOPES: u8 = 6;

/// The ABI that knows UNIX sockets by their paths (Linux 7.1).
pub(crate) const ABI_UNIX: u8 = 9;

/// The ABI that knows UDP ports (Linux 7.2).
pub(crate) const ABI_UDP: u8 = 10;

/// The rights on files that each ABI adds.
const FS_RIGHTS: [(u8, u32); 4] = [
    (1, uapi::LANDLOCK_ACCESS_FS_REFER - 1),
    (2, uapi::LANDLOCK_ACCESS_FS_REFER),
    (ABI_TRUNCATE, uapi::LANDLOCK_ACCESS_FS_TRUNCATE),
    (ABI_IOCTL_DEV, uapi::LANDLOCK_ACCESS_FS_IOCTL_DEV),
];

/// The stage's part of the policy.
#[derive(Debug)]
pub(crate) struct Landlock {
    handled: Items,
    ports: Items,
    log: u32,
}

impl Landlock {
    pub(crate) fn wire(&self) -> launcher_policy::landlock::Landlock<'_> {
        launcher_policy::landlock::Landlock {
            handled: self.handled.list(),
            ports: self.ports.list(),
            log: self.log,
        }
    }
}

/// Resolves what Landlock handles; `None` where it is not used.
pub(crate) fn resolve(document: &Document, network: &Network) -> Option<Landlock> {
    if is_off(document) {
        return None;
    }
    Some(Landlock {
        handled: Items::new((1..=NEWEST_ABI).map(|abi| handled(abi, network))),
        ports: Items::new(ports(network)),
        log: log(document),
    })
}

/// Whether `enforce.landlock` gives it up.
pub(crate) fn is_off(document: &Document) -> bool {
    document.enforce.landlock.as_ref().is_some_and(|mode| *mode.get_ref() == Mode::Off)
}

fn handled(abi: u8, network: &Network) -> Handled {
    let unix = match network.unix {
        Sockets::Inside => Some((ABI_UNIX, ACCESS_FS_RESOLVE_UNIX)),
        Sockets::Host | Sockets::Pairs => None,
    };
    let rights = FS_RIGHTS.into_iter().chain(unix).filter(|&(since, _)| since <= abi);
    Handled {
        fs: rights.fold(0, |rights, (_, added)| rights | added),
        net: handled_net(abi, network),
        scoped: if abi >= ABI_SCOPES { scoped(network) } else { 0 },
    }
}

/// A right is handled, that is denied but for rules, where a list is given, and
/// where nothing is open.
fn handled_net(abi: u8, network: &Network) -> u32 {
    let when = |is_known, right| if is_known { right } else { 0 };
    let tcp = abi >= ABI_TCP;
    let udp = abi >= ABI_UDP && network.closes_udp();
    when(tcp && network.connect_tcp.is_some(), uapi::LANDLOCK_ACCESS_NET_CONNECT_TCP)
        | when(tcp && network.bind_tcp.is_some(), uapi::LANDLOCK_ACCESS_NET_BIND_TCP)
        | when(udp, ACCESS_NET_BIND_UDP | ACCESS_NET_CONNECT_SEND_UDP)
}

fn scoped(network: &Network) -> u32 {
    let abstract_sockets = match network.hides_abstract_sockets() {
        true => uapi::LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET,
        false => 0,
    };
    uapi::LANDLOCK_SCOPE_SIGNAL | abstract_sockets
}

fn ports(network: &Network) -> impl Iterator<Item = Port> {
    let each = |list: &Option<Vec<u16>>, access| {
        let ports = list.clone().unwrap_or_default();
        ports.into_iter().map(move |port| Port { port, access })
    };
    each(&network.connect_tcp, uapi::LANDLOCK_ACCESS_NET_CONNECT_TCP)
        .chain(each(&network.bind_tcp, uapi::LANDLOCK_ACCESS_NET_BIND_TCP))
}

/// The command runs after an execve(2), so by itself Landlock logs nothing of
/// it but what the launcher does before.
fn log(document: &Document) -> u32 {
    match document.enforce.landlock_log.as_ref().map(|log| *log.get_ref()) {
        None | Some(LandlockLog::Default) => 0,
        Some(LandlockLog::Quiet) => {
            uapi::LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF
                | uapi::LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF
        }
        Some(LandlockLog::Verbose) => uapi::LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::tests::document;

    fn resolved(text: &str) -> Option<Landlock> {
        let document = document(text);
        let network = crate::network::resolve(&document, &mut Diagnostics::default());
        resolve(&document, &network)
    }

    fn handled(text: &str) -> Vec<Handled> {
        resolved(text).expect("Landlock is used").wire().handled.iter().collect()
    }

    #[test]
    fn every_abi_handles_all_rights_on_files_that_it_knows() {
        let fs: Vec<_> = handled("").iter().map(|handled| handled.fs).collect();
        let (old, new) = (0xffff, 0x1_ffff);
        assert_eq!(fs, [0x1fff, 0x3fff, 0x7fff, 0x7fff, old, old, old, old, new, new, new]);
        assert_eq!(fs.last(), Some(&launcher_policy::landlock::ACCESS_FS));
        // Where every socket in view may be reached, or none, it need not.
        for unix in ["host", "none"] {
            let last = handled(&format!("network.unix = '{unix}'")).pop();
            assert_eq!(last.map(|handled| handled.fs), Some(old), "{unix}");
        }
    }

    #[test]
    fn signals_and_abstract_sockets_are_scoped() {
        let scopes = |text| handled(text).iter().map(|handled| handled.scoped).collect::<Vec<_>>();
        assert_eq!(scopes(""), [0, 0, 0, 0, 0, 3, 3, 3, 3, 3, 3]);
        let host = "network = { access = 'host', unix = 'host' }";
        assert_eq!(scopes(host), [0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn a_list_of_ports_denies_all_others() {
        let text = "network = { access = 'host', connect_tcp = [443], bind_tcp = [] }";
        let net: Vec<_> = handled(text).iter().map(|handled| handled.net).collect();
        assert_eq!(net, [0, 0, 0, 3, 3, 3, 3, 3, 3, 15, 15]);
        let landlock = resolved(text).expect("Landlock is used");
        let ports: Vec<_> = landlock.wire().ports.iter().collect();
        assert_eq!(ports, [Port { port: 443, access: uapi::LANDLOCK_ACCESS_NET_CONNECT_TCP }]);
    }

    #[test]
    fn closed_udp_is_handled_whole() {
        let net = |text| handled(text).iter().map(|handled| handled.net).collect::<Vec<_>>();
        let closed = "network = { access = 'host', udp = false }";
        assert_eq!(net(closed), [0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 12]);
        assert_eq!(net("network.access = 'host'"), [0; 11]);
        // No socket of it can be made at all.
        assert_eq!(net(""), [0; 11]);
    }

    #[test]
    fn landlock_can_be_given_up() {
        assert!(resolved("enforce.landlock = 'off'").is_none());
    }
}
