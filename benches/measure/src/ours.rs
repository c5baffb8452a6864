//! The launcher's own ways.

use launcher_spawn::{Network, Sandbox};

use crate::stage::Stage;
use crate::way::Way;

/// Seven entries beside the program itself.
const EIGHT: &str = r#"
    filesystem.read = ["STAGE/1", "STAGE/2", "STAGE/3", "STAGE/4", "STAGE/5", "STAGE/6"]
    filesystem.write = ["STAGE/8"]
"#;

/// Landlock and a filter.
pub const IN_PLACE: &str = r#"
    filesystem.execute = [JOB]
    filesystem.tmp = "none"
    filesystem.proc = false
    filesystem.dev = "none"
    network.unix = "host"
    enforce = { namespaces = "off", waive = ["execute"] }
"#;

/// What bubblewrap does with `--ro-bind / /`.
const READ_ONLY: &str = r#"
    filesystem = { root = "host", home = "host", tmp = "host", proc = false, dev = "none", execute = [JOB] }
    network = { access = "host", unix = "host" }
    namespaces = { pid = false, ipc = false, uts = false, cgroup = false }
    enforce = { landlock = "off", seccomp = "off", waive = ["signal-scope", "processes"] }
"#;

/// What it does with `--unshare-all`, `/proc`, `/dev` and a tmpfs.
const UNSHARE_ALL: &str = r#"
    filesystem = { root = "host", home = "host", execute = [JOB] }
    enforce = { landlock = "off", seccomp = "off", waive = ["unix-path"] }
"#;

/// The same, with Landlock and a filter.
const HOST_TREE: &str = r#"
    filesystem = { root = "host", home = "host", execute = [JOB] }
"#;

/// Seven namespaces and a view of nothing but the program.
pub const EMPTY_ROOT: &str = r#"
    filesystem.execute = [JOB]
    filesystem.tmp = "none"
    filesystem.proc = false
    filesystem.dev = "none"
"#;

/// Each policy, by the launcher and where it differs by the library.
pub fn ways(stage: &Stage) -> Vec<Way> {
    const PROCESS: &str = "Landlock, seccomp";
    const TREE: &str = "mount namespace, read-only tree";
    const VIEW: &str = "namespaces, own view";
    const ALL: &str = "namespaces, own view, Landlock, seccomp";
    let shim = format!("{EIGHT}{IN_PLACE}");
    let with = |name: &str, with: fn(Sandbox) -> Sandbox| {
        Way::prepared(name, ALL, EMPTY_ROOT, stage, with)
    };
    vec![
        Way::launcher("launcher: in place, 8 rules", PROCESS, &shim, stage),
        Way::library("library: in place, 8 rules", PROCESS, &shim, stage),
        Way::launcher("launcher: as bwrap --ro-bind", TREE, READ_ONLY, stage),
        Way::launcher("launcher: as bwrap --unshare-all", VIEW, UNSHARE_ALL, stage),
        Way::launcher("launcher: the same, all layers", ALL, HOST_TREE, stage),
        Way::launcher("launcher: empty root, all layers", ALL, EMPTY_ROOT, stage),
        Way::library("library: empty root, all layers", ALL, EMPTY_ROOT, stage),
        with("library: the same, network from a pool", |all| all.network(Network::Pooled)),
        with("library: the same, network shared", |all| all.network(Network::Shared)),
        with("library: the same, from a template", Sandbox::template),
        with("library: from a template, network from a pool", |all| {
            all.template().network(Network::Pooled)
        }),
        with("library: from a template, network shared", |all| {
            all.template().network(Network::Shared)
        }),
        with("library: from a server, with a template", |all| all.template().serve()),
        with("library: from a server, template, network from a pool", |all| {
            all.template().network(Network::Pooled).serve()
        }),
        with("library: from a server, template, network shared", |all| {
            all.template().network(Network::Shared).serve()
        }),
    ]
}
