//! `[enforce]`: which layer keeps which guarantee, and what is left of them
//! where the namespaces cannot be made.

use std::ffi::CString;

use launcher_policy::Text;
use launcher_policy::enforce::{Mode, WithoutNamespaces};
use linux_raw_sys::general as uapi;

use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{self, Access, Document};
use crate::items::c_string;
use crate::landlock::{self, ABI_SCOPES, ABI_TCP};
use crate::namespaces::{self, Namespaces};
use crate::network::{Network, Sockets};

/// The stage's part of the policy.
#[derive(Debug)]
pub(crate) struct Enforce {
    namespaces: Mode,
    landlock: Mode,
    limits: Mode,
    abi_with_namespaces: u8,
    without_namespaces: Result<u8, CString>,
}

impl Enforce {
    /// Whether the launch goes on where the namespaces cannot be made.
    pub(crate) fn falls_back(&self) -> bool {
        self.without_namespaces.is_ok()
    }

    pub(crate) fn wire(&self) -> launcher_policy::enforce::Enforce<'_> {
        launcher_policy::enforce::Enforce {
            namespaces: self.namespaces,
            landlock: self.landlock,
            limits: self.limits,
            abi_with_namespaces: self.abi_with_namespaces,
            without_namespaces: match &self.without_namespaces {
                Ok(abi) => WithoutNamespaces::Abi(*abi),
                Err(reason) => WithoutNamespaces::Refused(Text::new(reason)),
            },
        }
    }
}

/// What keeps the view of the file system: a Landlock ABI (0 is none), or the
/// guarantee that is lost.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Beside its mounts.
    pub(crate) with_mounts: u8,
    /// Without them.
    pub(crate) without_mounts: Result<u8, String>,
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
    let with = guarantees.kept_under(flags);
    if let Err(reason) = &with {
        let place = to_blame(document);
        match place {
            Some(span) => diagnostics.error(span, reason),
            None => diagnostics.error_anywhere(reason),
        };
    }
    let without = match mode(written.namespaces.as_ref()) {
        Mode::Require => Err("enforce.namespaces = \"require\"".to_owned()),
        Mode::Off | Mode::Prefer => guarantees.kept_under(0),
    };
    Enforce {
        namespaces: mode(written.namespaces.as_ref()),
        landlock: mode(written.landlock.as_ref()),
        limits: mode(written.limits.as_ref()),
        abi_with_namespaces: with.unwrap_or(0),
        without_namespaces: without.map_err(|reason| c_string(reason).unwrap_or_default()),
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
    /// The Landlock ABI that every guarantee needs beside these namespaces
    /// (0 is none), or the guarantee that is lost.
    fn kept_under(&self, flags: u32) -> Result<u8, String> {
        let needs = [
            ("files", self.files(flags)?),
            ("the network", self.network(flags)?),
            ("abstract sockets of the host", self.sockets(flags)?),
            ("signals to processes of the host", self.signals(flags)),
            ("ids", self.ids(flags)?),
        ];
        self.filtered(flags)?;
        match needs.iter().find(|(_, abi)| *abi > 0) {
            Some((what, _)) if landlock::is_off(self.document) => Err(format!(
                "what the policy says of {what} would be kept by Landlock, which \
                 enforce.landlock = \"off\" gives up"
            )),
            _ => Ok(needs.into_iter().map(|(_, abi)| abi).max().unwrap_or(0)),
        }
    }

    fn files(&self, flags: u32) -> Result<u8, String> {
        match flags & uapi::CLONE_NEWNS {
            0 => {
                let lost = |reason| format!("the files in view need a mount namespace: {reason}");
                self.files.without_mounts.clone().map_err(lost)
            }
            _ => Ok(self.files.with_mounts),
        }
    }

    fn network(&self, flags: u32) -> Result<u8, String> {
        let has_net = flags & uapi::CLONE_NEWNET != 0;
        match self.network.access {
            Access::None if has_net || self.has_filter() => Ok(0),
            Access::None => Err("network.access = \"none\" needs a network namespace or \
                                 seccomp"
                .to_owned()),
            Access::Loopback if has_net => Ok(0),
            Access::Loopback => {
                Err("network.access = \"loopback\" needs a network namespace".to_owned())
            }
            Access::Host if self.network.has_ports() => Ok(ABI_TCP),
            Access::Host => Ok(0),
        }
    }

    fn sockets(&self, flags: u32) -> Result<u8, String> {
        if self.network.unix == Sockets::Inside && flags & uapi::CLONE_NEWNS == 0 {
            return Err("network.unix = \"inside\" needs a mount namespace: without one, every \
                        socket of the host that is in view can be reached"
                .to_owned());
        }
        let needs_scope = self.network.hides_abstract_sockets() && flags & uapi::CLONE_NEWNET == 0;
        Ok(if needs_scope { ABI_SCOPES } else { 0 })
    }

    /// Processes of the same user can be signalled, unless they cannot be
    /// named or Landlock forbids it.
    fn signals(&self, flags: u32) -> u8 {
        if flags & uapi::CLONE_NEWPID != 0 { 0 } else { ABI_SCOPES }
    }

    fn ids(&self, flags: u32) -> Result<u8, String> {
        let changes = self.document.process.uid.is_some() || self.document.process.gid.is_some();
        let is_lost =
            changes && namespaces::wants_user(self.document) && flags & uapi::CLONE_NEWUSER == 0;
        match is_lost {
            true => Err("process.uid and process.gid need a user namespace".to_owned()),
            false => Ok(0),
        }
    }

    /// What Landlock does not know is the filter's to close.
    fn filtered(&self, flags: u32) -> Result<(), String> {
        let shares_ipc = self.document.namespaces.ipc.as_ref().is_some_and(|ipc| !*ipc.get_ref());
        let lost = if self.has_filter() {
            return Ok(());
        } else if flags & uapi::CLONE_NEWPID == 0 {
            "a PID namespace, limits and priorities of processes outside are"
        } else if flags & uapi::CLONE_NEWNS == 0 {
            "a mount namespace, modes, owners, times and attributes of the host's files are"
        } else if flags & uapi::CLONE_NEWIPC == 0 && !shares_ipc {
            "an IPC namespace, IPC with the host is"
        } else {
            return Ok(());
        };
        Err(format!(
            "without {lost} closed by seccomp alone, which enforce.seccomp = \"off\" gives up"
        ))
    }

    fn has_filter(&self) -> bool {
        let mode = self.document.enforce.seccomp.as_ref().map(|mode| *mode.get_ref());
        mode != Some(document::Mode::Off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{document, messages};

    /// What is needed with and without namespaces, and the complaints, of a
    /// document whose files Landlock keeps.
    fn resolved(text: &str) -> (u8, Option<u8>, Vec<String>) {
        let mut diagnostics = Diagnostics::default();
        let document = document(text);
        let network = crate::network::resolve(&document, &mut diagnostics);
        let namespaces = namespaces::resolve(&document, &network, &mut diagnostics);
        let files = Files { with_mounts: 0, without_mounts: Ok(3) };
        let enforce = resolve(&document, &network, namespaces.as_ref(), &files, &mut diagnostics);
        let wire = enforce.wire();
        let without = match wire.without_namespaces {
            WithoutNamespaces::Abi(abi) => Some(abi),
            WithoutNamespaces::Refused(_) => None,
        };
        (wire.abi_with_namespaces, without, messages(&diagnostics))
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
        for shared in ["namespaces.pid", "namespaces.mount"] {
            let complaints = resolved(&format!("{off}{shared} = false")).2;
            assert_eq!(complaints.len(), 1, "{shared}");
            assert!(complaints[0].contains("closed by seccomp alone"), "{complaints:?}");
        }
        let neither = "network = { access = 'host', unix = 'host' }\n\
                       enforce = { seccomp = 'off', namespaces = 'off' }";
        assert_eq!(resolved(neither).2.len(), 1);
    }

    #[test]
    fn a_guarantee_that_nothing_keeps_is_refused() {
        let off = "enforce.namespaces = 'off'\n";
        assert_eq!(resolved(off).2.len(), 1);
        assert_eq!(resolved(&format!("{off}network.unix = 'host'")).2.len(), 0);
        let text = format!("{off}network.unix = 'host'\nenforce.landlock = 'off'");
        assert_eq!(resolved(&text).2.len(), 1);
        assert_eq!(resolved("namespaces.net = false\nenforce.seccomp = 'off'").2.len(), 1);
    }
}
