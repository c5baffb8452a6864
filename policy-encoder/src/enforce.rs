//! `[enforce]`: what the policy guarantees, and which layer keeps each of it,
//! with its namespaces and without.

use std::ffi::CString;

use launcher_policy::Text;
use launcher_policy::enforce::{Guarantee, Guaranteed, Keeper as Wire, Mode};
use linux_raw_sys::general as uapi;

use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{self, Access, Document};
use crate::items::{Items, c_string};
use crate::landlock::{self, ABI_IOCTL_DEV, ABI_SCOPES, ABI_TCP, ABI_TRUNCATE};
use crate::namespaces::{self, Namespaces};
use crate::network::{Network, Sockets};

/// The stage's part of the policy.
#[derive(Debug)]
pub(crate) struct Enforce {
    namespaces: Mode,
    landlock: Mode,
    limits: Mode,
    guarantees: Items,
    falls_back: bool,
}

impl Enforce {
    /// Whether the launch goes on where the namespaces cannot be made.
    pub(crate) fn falls_back(&self) -> bool {
        self.falls_back
    }

    pub(crate) fn wire(&self) -> launcher_policy::enforce::Enforce<'_> {
        launcher_policy::enforce::Enforce {
            namespaces: self.namespaces,
            landlock: self.landlock,
            limits: self.limits,
            guarantees: self.guarantees.list(),
        }
    }
}

/// What keeps the view of the file system.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Whether a guarantee rests on Landlock although there are mounts.
    pub(crate) needs_landlock: bool,
    /// Why Landlock alone does not keep it, where it does not.
    pub(crate) lost_without_mounts: Option<String>,
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
    let mut falls_back = mode(written.namespaces.as_ref()) != Mode::Require;
    for &guarantee in Guarantee::ALL {
        let with = guarantees.keeper(guarantee, flags);
        let without = guarantees.keeper(guarantee, 0);
        let (Some(with), Some(without)) = (with, without) else { continue };
        if let Keeper::Nothing(why) = &with {
            let why = why.to_string_lossy();
            let message = format!("nothing keeps {:?}: {why}", guarantee.name());
            match to_blame(document) {
                Some(span) => diagnostics.error(span, message),
                None => diagnostics.error_anywhere(message),
            };
        }
        falls_back &= !matches!(without, Keeper::Nothing(_));
        kept.push((guarantee, with, without));
    }
    Enforce {
        namespaces: mode(written.namespaces.as_ref()),
        landlock: mode(written.landlock.as_ref()),
        limits: mode(written.limits.as_ref()),
        guarantees: Items::new(kept.iter().map(|(guarantee, with, without)| Guaranteed {
            guarantee: *guarantee,
            with_namespaces: with.wire(),
            without_namespaces: without.wire(),
            waived: false,
        })),
        falls_back,
    }
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
            Guarantee::Truncate => kept_by(mount, self.landlock(ABI_TRUNCATE)),
            Guarantee::IoctlDev => kept_by(mount, self.landlock(ABI_IOCTL_DEV)),
            Guarantee::Metadata => kept_by(
                mount,
                self.filter("modes, owners, times and attributes of the host's files"),
            ),
            Guarantee::UnixPath if self.network.unix == Sockets::Inside => kept_by(
                mount,
                Keeper::nothing(
                    "network.unix = \"inside\" needs a mount namespace: without one, every \
                     socket of the host that is in view can be reached",
                ),
            ),
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
            Guarantee::Network => match self.network.access {
                Access::None => kept_by(net, self.filter("sockets of every network")),
                Access::Loopback => kept_by(
                    net,
                    Keeper::nothing("network.access = \"loopback\" needs a network namespace"),
                ),
                Access::Host => return None,
            },
            Guarantee::Tcp if self.network.access == Access::Host && self.network.has_ports() => {
                self.landlock(ABI_TCP)
            }
            Guarantee::Udp if self.network.access == Access::Host && !self.network.udp => {
                self.filter("sockets of UDP")
            }
            Guarantee::Ids if self.changes_ids() => kept_by(
                uapi::CLONE_NEWUSER,
                Keeper::nothing("process.uid and process.gid need a user namespace"),
            ),
            _ => return None,
        })
    }

    fn files(&self, mounts: bool) -> Keeper {
        match &self.files.lost_without_mounts {
            _ if mounts && self.files.needs_landlock => self.landlock(1),
            _ if mounts => Keeper::Namespaces,
            Some(why) => Keeper::nothing(format!("it takes a mount namespace: {why}")),
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
        let mode = self.document.enforce.seccomp.as_ref().map(|mode| *mode.get_ref());
        match mode {
            Some(document::Mode::Off) => Keeper::nothing(format!(
                "without a namespace, {closed} are closed by seccomp alone, which enforce.seccomp \
                 = \"off\" gives up"
            )),
            _ => Keeper::Seccomp,
        }
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
        let files = Files { needs_landlock: false, lost_without_mounts: None };
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
    fn sockets_inside_need_a_mount_namespace() {
        assert_eq!(resolved("").1, None);
        assert_eq!(resolved("network.unix = 'host'").1, Some(ABI_SCOPES));
        assert_eq!(resolved("namespaces.mount = false").2.len(), 1);
        assert_eq!(resolved("namespaces.mount = false\nnetwork.unix = 'none'").2.len(), 0);
    }

    #[test]
    fn ids_and_loopback_need_their_namespaces() {
        assert_eq!(resolved("network.unix = 'host'\nprocess.uid = 5").1, None);
        assert_eq!(resolved("network = { unix = 'host', access = 'loopback' }").1, None);
    }

    #[test]
    fn required_namespaces_are_never_gone_without() {
        assert_eq!(resolved("network.unix = 'host'\nenforce.namespaces = 'require'").1, None);
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
        assert_eq!(lost(off), ["unix-path"]);
        assert!(lost(&format!("{off}network.unix = 'host'")).is_empty());
        let text = format!("{off}network.unix = 'host'\nenforce.landlock = 'off'");
        let rests_on_landlock =
            ["files", "truncate", "ioctl-dev", "abstract-unix-socket", "signal-scope"];
        assert_eq!(lost(&text), rests_on_landlock);
        assert_eq!(lost("namespaces.net = false\nenforce.seccomp = 'off'"), ["network"]);
    }
}
