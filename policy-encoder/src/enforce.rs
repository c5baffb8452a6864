//! `[enforce]`: what the policy guarantees, and which layer keeps each of it,
//! with its namespaces and without.

use std::ffi::CString;
use std::path::PathBuf;

use launcher_policy::Text;
use launcher_policy::enforce::{Facility, Guarantee, Guaranteed, Keeper as Wire, Mode, Offer};
use linux_raw_sys::general as uapi;

use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{self, Access, Document};
use crate::items::{Items, c_string};
use crate::landlock::{self, ABI_IOCTL_DEV, ABI_SCOPES, ABI_TCP, ABI_TRUNCATE, ABI_UDP, ABI_UNIX};
use crate::namespaces::{self, Namespaces};
use crate::network::{Network, Sockets};
use crate::seccomp::Opened;

/// The stage's part of the policy.
#[derive(Debug)]
pub(crate) struct Enforce {
    namespaces: Mode,
    landlock: Mode,
    limits: Mode,
    kept: Vec<Kept>,
    guarantees: Items,
    offers: Items,
}

/// A guarantee, and what keeps it.
#[derive(Debug)]
struct Kept {
    guarantee: Guarantee,
    with: Keeper,
    without: Keeper,
    waived: bool,
}

impl Enforce {
    /// Whether the launch goes on where the namespaces cannot be made.
    pub(crate) fn falls_back(&self) -> bool {
        self.wire().falls_back()
    }

    /// Gives up what the filter would have kept but for a system call that
    /// the author opens by its name.
    pub(crate) fn give_up(&mut self, opened: &[Opened]) {
        for Opened { namespace, call } in opened {
            let governed = governed(*namespace);
            for kept in self.kept.iter_mut().filter(|kept| kept.guarantee == governed) {
                for keeper in [&mut kept.with, &mut kept.without] {
                    if *keeper == Keeper::Seccomp {
                        *keeper = Keeper::nothing(format!("[seccomp] opens {call}"));
                        kept.waived = true;
                    }
                }
            }
        }
        self.guarantees = wired(&self.kept);
    }

    pub(crate) fn wire(&self) -> launcher_policy::enforce::Enforce<'_> {
        launcher_policy::enforce::Enforce {
            namespaces: self.namespaces,
            landlock: self.landlock,
            limits: self.limits,
            guarantees: self.guarantees.list(),
            offers: self.offers.list(),
        }
    }
}

/// The guarantee that the filter keeps where this namespace is shared.
fn governed(namespace: u32) -> Guarantee {
    match namespace {
        uapi::CLONE_NEWNS => Guarantee::Metadata,
        uapi::CLONE_NEWPID => Guarantee::Processes,
        _ => Guarantee::Ipc,
    }
}

fn wired(kept: &[Kept]) -> Items {
    Items::new(kept.iter().map(|kept| Guaranteed {
        guarantee: kept.guarantee,
        with_namespaces: kept.with.wire(),
        without_namespaces: kept.without.wire(),
        waived: kept.waived,
    }))
}

/// What keeps the view of the file system.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Whether a guarantee rests on Landlock although there are mounts.
    pub(crate) needs_landlock: bool,
    /// Why Landlock alone does not keep it, where it does not.
    pub(crate) lost_without_mounts: Option<String>,
    /// What could be run without mounts although it may only be read.
    pub(crate) runs_without_mounts: Option<PathBuf>,
    /// What the mounts offer.
    pub(crate) offers: Vec<Facility>,
}

/// What keeps a guarantee.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Keeper {
    /// Why nothing does.
    Nothing(CString),
    Namespaces,
    Landlock(u8),
    Seccomp,
}

impl Keeper {
    fn nothing(why: impl Into<Vec<u8>>) -> Self {
        Self::Nothing(c_string(why).unwrap_or_default())
    }

    fn wire(&self) -> Wire<'_> {
        match self {
            Self::Nothing(why) => Wire::Nothing(Text::new(why)),
            Self::Namespaces => Wire::Namespaces,
            Self::Landlock(abi) => Wire::Landlock(*abi),
            Self::Seccomp => Wire::Seccomp,
        }
    }
}

/// Resolves `[enforce]`.
pub(crate) fn resolve(
    document: &Document,
    network: &Network,
    namespaces: Option<&Namespaces>,
    files: &Files,
    diagnostics: &mut Diagnostics,
) -> Enforce {
    let written = &document.enforce;
    let flags = namespaces.map_or(0, Namespaces::flags);
    let guarantees = Guarantees { document, network, files };
    let mut kept = Vec::new();
    for &guarantee in Guarantee::ALL {
        let waived = written.waive.iter().find(|name| *name.get_ref() == guarantee);
        let with = guarantees.keeper(guarantee, flags);
        let without = guarantees.keeper(guarantee, 0);
        let (Some(with), Some(without)) = (with, without) else {
            if let Some(waived) = waived {
                let message = format!("the policy does not guarantee {:?}", guarantee.name());
                diagnostics.warning(waived.span(), message).help("leave it out");
            }
            continue;
        };
        if let (Keeper::Nothing(why), None) = (&with, waived) {
            let why = why.to_string_lossy();
            let message = format!("nothing keeps {:?}: {why}", guarantee.name());
            match to_blame(document) {
                Some(span) => diagnostics.error(span, message),
                None => diagnostics.error_anywhere(message),
            }
            .help(format!("enforce.waive = [{:?}] gives it up", guarantee.name()));
        }
        kept.push(Kept { guarantee, with, without, waived: waived.is_some() });
    }
    Enforce {
        namespaces: mode(written.namespaces.as_ref()),
        landlock: mode(written.landlock.as_ref()),
        limits: mode(written.limits.as_ref()),
        guarantees: wired(&kept),
        kept,
        offers: Items::new(offers(document, network, files)),
    }
}

/// What the policy offers, and the namespaces that each of it takes.
fn offers(document: &Document, network: &Network, files: &Files) -> Vec<Offer> {
    let offer = |facility, needs| Offer { facility, needs };
    let mounts = files.offers.iter().map(|&facility| offer(facility, uapi::CLONE_NEWNS));
    let loopback = (network.access == Access::Loopback)
        .then_some(offer(Facility::Loopback, uapi::CLONE_NEWNET));
    let hostname = document.process.hostname.as_ref();
    let hostname = hostname.map(|_| offer(Facility::Hostname, uapi::CLONE_NEWUTS));
    let sockets =
        network.unix_needs_mounts.then_some(offer(Facility::UnixSockets, uapi::CLONE_NEWNS));
    mounts.chain(loopback).chain(hostname).chain(sockets).collect()
}

fn mode(written: Option<&Spanned<document::Mode>>) -> Mode {
    match written.map(|written| *written.get_ref()) {
        Some(document::Mode::Require) => Mode::Require,
        None | Some(document::Mode::Prefer) => Mode::Prefer,
        Some(document::Mode::Off) => Mode::Off,
    }
}

/// The line that gave up the layer which would have kept a guarantee.
fn to_blame(document: &Document) -> Option<std::ops::Range<usize>> {
    let (enforce, namespaces) = (&document.enforce, &document.namespaces);
    let off = [&enforce.namespaces, &enforce.landlock, &enforce.seccomp]
        .into_iter()
        .flatten()
        .find(|mode| *mode.get_ref() == document::Mode::Off);
    let shared = [&namespaces.mount, &namespaces.net, &namespaces.pid, &namespaces.user]
        .into_iter()
        .flatten()
        .find(|namespace| !*namespace.get_ref());
    shared.map(Spanned::span).or_else(|| off.map(Spanned::span))
}

/// What a policy guarantees, to be asked what keeps it.
struct Guarantees<'d> {
    document: &'d Document,
    network: &'d Network,
    files: &'d Files,
}

impl Guarantees<'_> {
    /// What keeps a guarantee under these namespaces. `None` if the policy
    /// does not make it.
    fn keeper(&self, guarantee: Guarantee, flags: u32) -> Option<Keeper> {
        let kept_by = |namespace: u32, otherwise: Keeper| match flags & namespace {
            0 => otherwise,
            _ => Keeper::Namespaces,
        };
        let (mount, net, pid) = (uapi::CLONE_NEWNS, uapi::CLONE_NEWNET, uapi::CLONE_NEWPID);
        Some(match guarantee {
            Guarantee::Files => self.files(flags & mount != 0),
            Guarantee::Truncate => kept_by(mount, self.files_by(ABI_TRUNCATE)),
            Guarantee::IoctlDev => kept_by(mount, self.files_by(ABI_IOCTL_DEV)),
            Guarantee::Execute => kept_by(mount, self.execute()),
            Guarantee::Metadata => kept_by(
                mount,
                self.filter("modes, owners, times and attributes of the host's files"),
            ),
            Guarantee::UnixPath if self.network.unix_needs_mounts => {
                kept_by(mount, self.filter("UNIX sockets"))
            }
            Guarantee::UnixPath if self.network.unix == Sockets::Inside => {
                kept_by(mount, self.landlock(ABI_UNIX))
            }
            Guarantee::AbstractUnixSocket if self.network.hides_abstract_sockets() => {
                kept_by(net, self.landlock(ABI_SCOPES))
            }
            Guarantee::SignalScope => kept_by(pid, self.landlock(ABI_SCOPES)),
            Guarantee::Processes => {
                kept_by(pid, self.filter("limits and priorities of processes outside"))
            }
            Guarantee::Ipc if !self.shares_ipc() => {
                kept_by(uapi::CLONE_NEWIPC, self.filter("IPC with the host"))
            }
            Guarantee::Network if self.is_unsupervised() => kept_by(
                net,
                Keeper::nothing("network.access = \"proxy\" takes a network namespace"),
            ),
            // Without a namespace there is no loopback, and nothing else but
            // what a supervisor connects to.
            Guarantee::Network if self.network.access != Access::Host => {
                kept_by(net, self.filter("sockets of every network"))
            }
            Guarantee::Tcp if self.network.access == Access::Host && self.network.has_ports() => {
                self.landlock(ABI_TCP)
            }
            Guarantee::Udp if self.network.closes_udp() => match self.is_filtered() {
                true => Keeper::Seccomp,
                false => self.landlock(ABI_UDP),
            },
            Guarantee::Ids if self.changes_ids() => kept_by(
                uapi::CLONE_NEWUSER,
                Keeper::nothing("process.uid and process.gid need a user namespace"),
            ),
            _ => return None,
        })
    }

    /// Whether there is a proxy, which only a network namespace leads to.
    fn is_unsupervised(&self) -> bool {
        self.network.proxy.as_ref().is_some_and(|proxy| !proxy.is_supervised())
    }

    fn files(&self, mounts: bool) -> Keeper {
        match &self.files.lost_without_mounts {
            _ if mounts && self.files.needs_landlock => self.landlock(1),
            _ if mounts => Keeper::Namespaces,
            _ => self.files_by(1),
        }
    }

    /// What Landlock keeps of files with this ABI: nothing where it grants what
    /// the policy does not.
    fn files_by(&self, abi: u8) -> Keeper {
        match &self.files.lost_without_mounts {
            Some(why) => Keeper::nothing(format!("it takes a mount namespace: {why}")),
            None => self.landlock(abi),
        }
    }

    /// A loader maps what it can read, and Landlock does not see that.
    fn execute(&self) -> Keeper {
        match &self.files.runs_without_mounts {
            Some(path) => Keeper::nothing(format!(
                "it takes a mount namespace: {path:?} can be read, and so run by its loader"
            )),
            None => self.landlock(1),
        }
    }

    fn landlock(&self, abi: u8) -> Keeper {
        match landlock::is_off(self.document) {
            true => Keeper::nothing(
                "it would be kept by Landlock, which enforce.landlock = \"off\" gives up",
            ),
            false => Keeper::Landlock(abi),
        }
    }

    /// What Landlock does not know is the filter's to close.
    fn filter(&self, closed: &str) -> Keeper {
        match self.is_filtered() {
            true => Keeper::Seccomp,
            false => Keeper::nothing(format!(
                "without a namespace, {closed} are closed by seccomp alone, which enforce.seccomp \
                 = \"off\" gives up"
            )),
        }
    }

    fn is_filtered(&self) -> bool {
        let seccomp = self.document.enforce.seccomp.as_ref();
        seccomp.is_none_or(|mode| *mode.get_ref() != document::Mode::Off)
    }

    fn shares_ipc(&self) -> bool {
        self.document.namespaces.ipc.as_ref().is_some_and(|ipc| !*ipc.get_ref())
    }

    /// Whether ids are asked for that only a user namespace gives.
    fn changes_ids(&self) -> bool {
        let process = &self.document.process;
        (process.uid.is_some() || process.gid.is_some()) && namespaces::wants_user(self.document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{document, messages};

    /// The Landlock ABIs needed with and without namespaces (0 is none), if
    /// anything keeps what is guaranteed there, and the complaints, of a
    /// document whose files Landlock keeps.
    fn resolved(text: &str) -> (u8, Option<u8>, Vec<String>) {
        let mut diagnostics = Diagnostics::default();
        let document = document(text);
        let network = crate::network::resolve(&document, &mut diagnostics);
        let namespaces = namespaces::resolve(&document, &network, &mut diagnostics);
        let files = Files {
            needs_landlock: false,
            lost_without_mounts: None,
            runs_without_mounts: None,
            offers: Vec::new(),
        };
        let enforce = resolve(&document, &network, namespaces.as_ref(), &files, &mut diagnostics);
        let abi = |keeper| match keeper {
            Wire::Landlock(abi) => abi,
            _ => 0,
        };
        let guarantees = || enforce.wire().guarantees.iter();
        let with = guarantees().map(|each| abi(each.with_namespaces)).max();
        let without = guarantees().map(|each| abi(each.without_namespaces)).max();
        (with.unwrap_or(0), without.filter(|_| enforce.falls_back()), messages(&diagnostics))
    }

    /// The guarantees that are complained of.
    fn lost(text: &str) -> Vec<String> {
        let name = |complaint: &String| complaint.split('"').nth(1).map(str::to_owned);
        resolved(text).2.iter().filter_map(name).collect()
    }

    #[test]
    fn namespaces_keep_everything_by_themselves() {
        assert_eq!(resolved("").0, 0);
        assert_eq!(resolved("network = { access = 'host', unix = 'host' }").0, 0);
    }

    #[test]
    fn on_the_hosts_network_ports_and_abstract_sockets_need_landlock() {
        assert_eq!(resolved("network.access = 'host'").0, ABI_SCOPES);
        let ports = "network = { access = 'host', unix = 'none', connect_tcp = [] }";
        assert_eq!(resolved(ports).0, ABI_TCP);
    }

    #[test]
    fn without_a_pid_namespace_signals_need_landlock() {
        assert_eq!(resolved("namespaces.pid = false").0, ABI_SCOPES);
    }

    #[test]
    fn sockets_inside_need_a_mount_namespace_or_a_new_landlock() {
        assert_eq!(resolved("").1, Some(ABI_UNIX));
        assert_eq!(resolved("network.unix = 'host'").1, Some(ABI_SCOPES));
        assert_eq!(resolved("namespaces.mount = false").0, ABI_UNIX);
        assert_eq!(resolved("namespaces.mount = false\nnetwork.unix = 'none'").0, ABI_IOCTL_DEV);
    }

    #[test]
    fn where_pairs_are_enough_the_filter_keeps_sockets_inside() {
        let pairs = "enforce = { unix_sockets = 'pairs'";
        assert_eq!(resolved(&format!("{pairs} }}")).1, Some(ABI_SCOPES));
        let off = format!("{pairs}, seccomp = 'off', namespaces = 'off' }}");
        assert!(lost(&off).contains(&"unix-path".to_owned()));
    }

    #[test]
    fn closed_udp_needs_the_filter_or_a_new_landlock() {
        let closed = "network = { access = 'host', unix = 'host', udp = false }\n";
        assert_eq!(resolved(closed).0, 0);
        assert_eq!(resolved(&format!("{closed}enforce.seccomp = 'off'")).0, ABI_UDP);
    }

    #[test]
    fn ids_need_a_user_namespace() {
        assert_eq!(resolved("network.unix = 'host'\nprocess.uid = 5").1, None);
    }

    #[test]
    fn required_namespaces_are_never_gone_without() {
        assert_eq!(resolved("network.unix = 'host'\nenforce.namespaces = 'require'").1, None);
    }

    #[test]
    fn a_loopback_is_a_facility_and_what_lies_beyond_it_is_closed_by_the_filter() {
        let loopback = "network = { unix = 'host', access = 'loopback' }";
        assert_eq!(resolved(loopback).1, Some(ABI_SCOPES));
        assert_eq!(lost(&format!("{loopback}\nenforce.namespaces = 'off'")), [""; 0]);
        let off = format!("{loopback}\nenforce = {{ namespaces = 'off', seccomp = 'off' }}");
        assert_eq!(lost(&off), ["metadata", "processes", "ipc", "network"]);
    }

    #[test]
    fn what_is_waived_by_name_is_no_reason_to_refuse() {
        let off = "enforce = { namespaces = 'off', landlock = 'off'";
        let text = format!("network.unix = 'none'\n{off}, waive = ['signal-scope'] }}");
        assert_eq!(lost(&text), ["files", "truncate", "ioctl-dev", "execute"]);
        let text = format!("{off}, waive = ['files', 'truncate', 'ioctl-dev', 'execute'] }}");
        assert_eq!(lost(&text), ["unix-path", "abstract-unix-socket", "signal-scope"]);
    }

    #[test]
    fn what_is_not_guaranteed_cannot_be_waived() {
        let said = ["the policy does not guarantee \"tcp\""];
        assert_eq!(resolved("enforce.waive = ['tcp']").2, said);
        let ports = "network = { access = 'host', connect_tcp = [] }\nenforce.waive = ['tcp']";
        assert_eq!(resolved(ports).2, [""; 0]);
    }

    #[test]
    fn what_may_only_be_read_is_run_by_its_loader_without_mounts() {
        let mut diagnostics = Diagnostics::default();
        let document = document("network.unix = 'host'");
        let network = crate::network::resolve(&document, &mut diagnostics);
        let namespaces = namespaces::resolve(&document, &network, &mut diagnostics);
        let files = Files {
            needs_landlock: false,
            lost_without_mounts: None,
            runs_without_mounts: Some("/etc".into()),
            offers: Vec::new(),
        };
        let enforce = resolve(&document, &network, namespaces.as_ref(), &files, &mut diagnostics);
        let lost = enforce.wire().lost(false, u32::MAX).map(|lost| lost.guarantee);
        assert_eq!(lost, Some(Guarantee::Execute));
        assert!(!enforce.falls_back());
        assert_eq!(enforce.wire().lost(true, 0), None);
    }

    #[test]
    fn what_landlock_does_not_know_needs_the_filter() {
        let off = "network.unix = 'host'\nenforce.seccomp = 'off'\n";
        assert_eq!(resolved(off), (0, None, vec![]));
        assert_eq!(resolved(&format!("{off}namespaces.ipc = false")), (0, None, vec![]));
        for (shared, lost) in [("pid", "processes"), ("mount", "metadata")] {
            let complaints = resolved(&format!("{off}namespaces.{shared} = false")).2;
            assert_eq!(complaints.len(), 1, "{shared}");
            assert!(
                complaints[0].starts_with(&format!("nothing keeps {lost:?}")),
                "{complaints:?}"
            );
        }
        let neither = "network = { access = 'host', unix = 'host' }\n\
                       enforce = { seccomp = 'off', namespaces = 'off' }";
        assert_eq!(lost(neither), ["metadata", "processes", "ipc"]);
    }

    #[test]
    fn a_guarantee_that_nothing_keeps_is_refused() {
        let off = "enforce.namespaces = 'off'\n";
        assert!(lost(off).is_empty());
        let text = format!("{off}network.unix = 'host'\nenforce.landlock = 'off'");
        let rests_on_landlock =
            ["files", "truncate", "ioctl-dev", "execute", "abstract-unix-socket", "signal-scope"];
        assert_eq!(lost(&text), rests_on_landlock);
        assert_eq!(lost("namespaces.net = false\nenforce.seccomp = 'off'"), ["network"]);
    }
}
