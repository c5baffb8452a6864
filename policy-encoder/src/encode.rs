//! [`Document`] to bytes, one line per stage.

use launcher_policy::Policy;
use launcher_policy::wire::{self, Architecture, MAX_FRAME};
use linux_raw_sys::general::{CLONE_NEWNET, CLONE_NEWNS};

use crate::Place;
use crate::diagnostic::Diagnostics;
use crate::document::{Access, DieWithParent, Document};
use crate::namespaces::Namespaces;
use crate::network::{self, Network};
use crate::seccomp::Optimize;
use crate::{
    credentials, digest, enforce, exec, fds, landlock, limits, mounts, namespaces, seccomp, session,
};

/// Encodes a document for one place and one architecture.
///
/// Everything found wrong is added to the diagnostics. `None` if they hold an
/// error, be it one from before: what [`parse`](crate::parse) could not read
/// is not encoded either.
pub fn encode(
    document: &Document,
    place: &Place,
    architecture: Architecture,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<u8>> {
    encode_for(document, place, architecture, Optimize::Run, diagnostics)
        .map(|encoded| encoded.bytes)
}

/// An encoded policy, with what else was made on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// What the launcher reads.
    pub bytes: Vec<u8>,
    /// The seccomp filter in it.
    pub seccomp: Option<seccomp::Compiled>,
}

/// The same as [`encode()`], with a filter that is cheap at what is named.
pub fn encode_for(
    document: &Document,
    place: &Place,
    architecture: Architecture,
    optimize: Optimize,
    diagnostics: &mut Diagnostics,
) -> Option<Encoded> {
    if let Some(base) = document.extends.first() {
        // What it extends may be what makes it strict.
        diagnostics
            .error(base.span(), "what the document extends was not read")
            .help("`compose::read` reads a document with all that it extends");
    }
    let network = network::resolve(document, diagnostics);
    let fds = fds::resolve(document, diagnostics);
    let namespaces = namespaces::resolve(document, &network, diagnostics);
    let view = mounts::resolve(document, place, diagnostics);
    let limits = limits::resolve(document, diagnostics);
    let session = session::resolve(document, diagnostics);
    let credentials = credentials::resolve(document);
    let landlock = landlock::resolve(document, &network);
    let exec = exec::resolve(document, place, |path| view.shows(path), diagnostics);
    let files = enforce::Files {
        needs_landlock: view.needs_landlock,
        lost_without_mounts: view.lost_without_mounts.clone(),
        runs_without_mounts: view.runs_without_mounts.clone(),
        offers: view.offers(),
    };
    let mut enforce =
        enforce::resolve(document, &network, namespaces.as_ref(), &files, diagnostics);
    let facts = facts(document, &network, namespaces.as_ref(), enforce.falls_back(), &view);
    let seccomp = seccomp::resolve(document, architecture, &facts, place, optimize, diagnostics);
    if let Some(compiled) = &seccomp {
        enforce.give_up(&compiled.opened);
    }
    if diagnostics.has_errors() {
        return None;
    }
    let policy = Policy {
        enforce: enforce.wire(),
        fds: fds.wire(),
        namespaces: namespaces.as_ref().map(Namespaces::wire),
        mounts: Some(view.wire()),
        limits: limits.wire(),
        session,
        credentials,
        landlock: landlock.as_ref().map(landlock::Landlock::wire),
        seccomp: seccomp.as_ref().map(|compiled| launcher_policy::seccomp::Seccomp {
            filter: &compiled.filter,
            flags: compiled.flags,
            without_namespaces: &compiled.without_namespaces,
            terminal_is_safe: compiled.terminal_is_safe,
        }),
        exec: exec.wire(),
        proxy: network.proxy.as_ref().map(network::proxy::Proxy::wire),
        origin: view.origin(),
    };
    let bytes = frame(&policy, architecture, diagnostics)?;
    Some(Encoded { bytes, seccomp })
}

/// What the filter has to know of the other tables.
fn facts(
    document: &Document,
    network: &Network,
    namespaces: Option<&Namespaces>,
    falls_back: bool,
    view: &mounts::View,
) -> seccomp::Facts {
    let namespaces = namespaces.map_or(0, Namespaces::flags);
    let plain_tcp = network.has_ports() || !network.udp;
    let die_with_parent = document.process.die_with_parent.as_ref().map(|each| *each.get_ref());
    seccomp::Facts {
        sockets: match network.access {
            Access::None => seccomp::Sockets::None,
            // Those of the host lead to more than a loopback.
            Access::Loopback | Access::Proxy if namespaces & CLONE_NEWNET == 0 => {
                seccomp::Sockets::None
            }
            Access::Loopback | Access::Proxy | Access::Host if plain_tcp => {
                seccomp::Sockets::Tcp { udp: network.udp }
            }
            Access::Loopback | Access::Proxy | Access::Host => seccomp::Sockets::Open,
        },
        unix: network.unix != network::Sockets::Pairs
            && !(network.unix_needs_mounts && namespaces & CLONE_NEWNS == 0),
        unix_needs_mounts: network.unix_needs_mounts,
        pdeathsig_relied_on: die_with_parent != Some(DieWithParent::Never),
        namespaces,
        falls_back: falls_back && namespaces != 0,
        supervised: network.proxy.as_ref().is_some_and(network::proxy::Proxy::is_supervised),
        shares_ipc: document.namespaces.ipc.as_ref().is_some_and(|ipc| !*ipc.get_ref()),
        writable_is_executable: view.runs_what_is_written(),
    }
}

fn frame(
    policy: &Policy<'_>,
    architecture: Architecture,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<u8>> {
    let mut buffer = vec![0; MAX_FRAME];
    match wire::encode(policy, architecture, digest::sha256, &mut buffer) {
        Ok(frame) => Some(frame.to_vec()),
        Err(error) => {
            diagnostics.error_anywhere(error.message());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::document;

    fn place() -> Place {
        Place { sysroot: "/".into(), directory: "/usr".into(), variables: [].into() }
    }

    #[test]
    fn what_is_encoded_decodes_with_every_part() {
        let document = document(
            r#"
            filesystem.root = "minimal"
            network.access = "loopback"
            process = { uid = 1000, hostname = "box", umask = 0o022, keep_fds = [5] }
            limits = { memory = "1G", wall_time = "1m" }
            "#,
        );
        let mut diagnostics = Diagnostics::default();
        let bytes = encode(&document, &place(), Architecture::NATIVE, &mut diagnostics)
            .unwrap_or_else(|| panic!("{diagnostics:?}"));
        let policy = wire::decode(&bytes).expect("what was encoded decodes");
        assert_eq!(policy.limits.memory, Some(1 << 30));
        assert_eq!(policy.session.umask, Some(0o022));
        assert_eq!(policy.fds.keep.count(), 1);
        assert!(policy.namespaces.is_some() && policy.mounts.is_some());
        assert!(policy.landlock.is_some() && policy.seccomp.is_some());
    }

    #[test]
    fn every_stage_is_asked_before_the_first_error_ends_it() {
        let document = document(
            r#"
            filesystem.read = ["/nonexistent"]
            network.connect_tcp = [1]
            process = { hostname = "", umask = 0o7777, keep_fds = [0], cwd = "/nowhere" }
            limits.processes = 0
            seccomp.deny = ["opennat"]
            "#,
        );
        let mut diagnostics = Diagnostics::default();
        let bytes = encode(&document, &place(), Architecture::NATIVE, &mut diagnostics);
        assert!(bytes.is_none());
        assert!(diagnostics.iter().count() >= 8, "{diagnostics:?}");
    }

    #[test]
    fn a_document_that_was_not_read_properly_is_not_encoded() {
        let (document, mut diagnostics) = crate::parse::toml("x = 1");
        assert!(encode(&document, &place(), Architecture::NATIVE, &mut diagnostics).is_none());
    }

    #[test]
    fn a_document_is_not_encoded_without_what_it_extends() {
        let mut diagnostics = Diagnostics::default();
        let document = document("extends = ['strict']");
        let bytes = encode(&document, &place(), Architecture::NATIVE, &mut diagnostics);
        assert!(bytes.is_none());
        assert_eq!(
            crate::tests::messages(&diagnostics),
            ["what the document extends was not read"]
        );
    }

    #[test]
    fn a_policy_is_made_for_the_architecture_that_is_named() {
        for (architecture, byte) in
            [(Architecture::X86_64, 1), (Architecture::Aarch64, 2), (Architecture::Riscv64, 3)]
        {
            let mut diagnostics = Diagnostics::default();
            let bytes = encode(&document(""), &place(), architecture, &mut diagnostics);
            let bytes = bytes.unwrap_or_else(|| panic!("{diagnostics:?}"));
            assert_eq!(bytes.get(6), Some(&byte));
        }
    }

    /// Lengths of the two filters.
    fn filters(text: &str) -> (usize, usize) {
        let mut diagnostics = Diagnostics::default();
        let bytes = encode(&document(text), &place(), Architecture::NATIVE, &mut diagnostics)
            .unwrap_or_else(|| panic!("{diagnostics:?}"));
        let policy = wire::decode(&bytes).expect("what was encoded decodes");
        let seccomp = policy.seccomp.expect("a filter");
        (seccomp.filter.len(), seccomp.without_namespaces.len())
    }

    /// Each guarantee that is waived.
    fn waived(text: &str) -> Vec<&'static str> {
        let mut diagnostics = Diagnostics::default();
        let bytes = encode(&document(text), &place(), Architecture::NATIVE, &mut diagnostics)
            .unwrap_or_else(|| panic!("{diagnostics:?}"));
        let policy = wire::decode(&bytes).expect("what was encoded decodes");
        let waived = policy.enforce.guarantees.iter().filter(|each| each.waived);
        waived.map(|each| each.guarantee.name()).collect()
    }

    #[test]
    fn what_the_author_opens_in_the_filter_is_waived() {
        let rule = |call| {
            let args = "[{ index = 0, op = 'equal', value = 5 }]";
            format!("seccomp.rule = [{{ call = '{call}', args = {args}, action = 'allow' }}]")
        };
        assert_eq!(waived(""), [""; 0]);
        assert_eq!(waived("seccomp.allow = ['chmod']"), ["metadata"]);
        assert_eq!(waived("seccomp.allow = ['ioctl', 'setpriority']"), ["metadata", "processes"]);
        assert_eq!(waived(&rule("shmget")), ["ipc"]);
        // What is denied all the same, and groups, open nothing.
        assert_eq!(waived("seccomp = { allow = ['chmod', '@ipc'], deny = ['chmod'] }"), [""; 0]);
        // The command's own processes are no secret of anybody's.
        assert_eq!(waived("seccomp.allow = ['getpid']\nenforce.waive = ['execute']"), ["execute"]);
    }

    #[test]
    fn without_a_network_namespace_there_is_no_loopback_to_reach() {
        let loopback = "filesystem = { root = 'minimal', tmp = 'none', proc = false }\n\
                        network = { access = 'loopback', unix = 'host' }\n\
                        enforce = { waive = ['execute'], namespaces = 'off' }";
        let none = loopback.replace("'loopback'", "'none'");
        assert_eq!(filters(loopback), filters(&none));
    }

    #[test]
    fn a_policy_that_may_lose_its_namespaces_has_a_filter_for_that() {
        let falls_back = "filesystem = { root = 'minimal', tmp = 'none', proc = false }\n\
                          network.unix = 'host'\nenforce.waive = ['execute']\n";
        let (with, without) = filters(falls_back);
        assert!(without > with);
        let off = filters(&format!("{falls_back}enforce.namespaces = 'off'"));
        assert_eq!(off, (without, 0));
        let require = filters(&format!("{falls_back}enforce.namespaces = 'require'"));
        assert_eq!(require, (with, 0));
        // What is only read needs a mount namespace, so nothing is gone without.
        assert_eq!(filters("filesystem.root = 'minimal'").1, 0);
        assert_eq!(filters(&format!("{falls_back}namespaces.ipc = false")).0, with);
    }
}
