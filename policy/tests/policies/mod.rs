//! Policies built in code, to encode and to compare what decodes with.
//!
//! Tests leak what lists borrow: a policy that lives for ever can stand in a
//! table.
#![allow(dead_code, reason = "each test uses a part of it")]

use launcher_policy::credentials::Credentials;
use launcher_policy::enforce::{Enforce, Facility, Guarantee, Guaranteed, Keeper, Mode, Offer};
use launcher_policy::exec::{Cwd, Exec, Keep};
use launcher_policy::fds::{FdKind, Fds, KeepFd};
use launcher_policy::landlock::{ACCESS_FS, ACCESS_NET, Handled, Landlock, Port, SCOPES};
use launcher_policy::limits::{Cgroup, Limits, Rlimit};
use launcher_policy::mounts::{
    self, Carved, Kind, MOUNT_ATTRIBUTES, Missing, Mount, Mounts, Node, NodeKind, Parents, Root,
    Source, Symlinks,
};
use launcher_policy::namespaces::{
    IdMap, IdRange, Init, Listener, Loopback, NAMESPACE_FLAGS, Namespaces, Protocol,
};
use launcher_policy::origin::{Glob, Origin};
use launcher_policy::proxy::{Host, Network, Proxy, Rule, Upstream};
use launcher_policy::seccomp::{Instruction, Seccomp, op};
use launcher_policy::session::{DieWithParent, Session, Terminal};
use launcher_policy::{List, Path, Policy, Text};
use serde::Serialize;

/// Every policy here, and the name of its file in `testdata`.
pub(crate) fn all() -> [(&'static str, Policy<'static>); 5] {
    [
        ("nothing", nothing()),
        ("shim", shim()),
        ("sandbox", sandbox()),
        ("container", container()),
        ("proxied", proxied()),
    ]
}

/// Asks for nothing: every optional part is absent, every list empty.
pub(crate) fn nothing() -> Policy<'static> {
    Policy {
        enforce: Enforce {
            namespaces: Mode::Off,
            landlock: Mode::Off,
            limits: Mode::Off,
            guarantees: List::EMPTY,
            offers: List::EMPTY,
        },
        fds: Fds::default(),
        namespaces: None,
        mounts: None,
        limits: Limits::default(),
        session: Session {
            terminal: Terminal::None,
            umask: None,
            die_with_parent: DieWithParent::Never,
        },
        credentials: Credentials::default(),
        landlock: None,
        seccomp: None,
        exec: Exec { argv0: None, keep: List::EMPTY, set: List::EMPTY, cwd: Cwd::Launch },
        proxy: None,
        origin: Origin::default(),
    }
}

/// Landlock and seccomp without namespaces.
pub(crate) fn shim() -> Policy<'static> {
    let rule = |directory, access| Mount { access, ..bind(directory) };
    Policy {
        enforce: Enforce {
            landlock: Mode::Require,
            guarantees: list([Guaranteed {
                guarantee: Guarantee::Tcp,
                with_namespaces: Keeper::Landlock(4),
                without_namespaces: Keeper::Landlock(4),
                waived: false,
            }]),
            ..nothing().enforce
        },
        mounts: Some(Mounts {
            root: Root::Skeleton,
            skeleton_size: 4096,
            skeleton: List::EMPTY,
            mounts: list([
                rule(c"/usr", 0b1101),
                rule(c"/etc", 0b1100),
                Mount { carved: true, ..rule(c"/workspace", ACCESS_FS) },
            ]),
            rules: List::EMPTY,
            carved: list([Carved {
                path: path(c"/workspace"),
                shared: 0b1101,
                access: ACCESS_FS,
                except: list([Text::new(c".git")]),
            }]),
        }),
        landlock: Some(landlock()),
        seccomp: Some(seccomp()),
        ..nothing()
    }
}

/// Every namespace, every kind of mount, and a value in every field.
pub(crate) fn sandbox() -> Policy<'static> {
    Policy {
        enforce: Enforce {
            namespaces: Mode::Require,
            landlock: Mode::Prefer,
            limits: Mode::Prefer,
            guarantees: list([
                Guaranteed {
                    guarantee: Guarantee::Files,
                    with_namespaces: Keeper::Namespaces,
                    without_namespaces: Keeper::Nothing(Text::new(c"a denied path")),
                    waived: false,
                },
                Guaranteed {
                    guarantee: Guarantee::Network,
                    with_namespaces: Keeper::Namespaces,
                    without_namespaces: Keeper::Seccomp,
                    waived: false,
                },
                Guaranteed {
                    guarantee: Guarantee::SignalScope,
                    with_namespaces: Keeper::Landlock(6),
                    without_namespaces: Keeper::Landlock(6),
                    waived: true,
                },
            ]),
            offers: list([Offer { facility: Facility::Proc, needs: 0x0002_0000 }]),
        },
        fds: Fds {
            keep: list([
                KeepFd { fd: 5, kind: FdKind::Stream },
                KeepFd { fd: 6, kind: FdKind::Directory },
            ]),
        },
        namespaces: Some(Namespaces {
            flags: NAMESPACE_FLAGS,
            uid_map: IdMap::Caller,
            gid_map: IdMap::Single(1000),
            host_name: Some(Text::new(c"box")),
            loopback: Loopback::Up,
            listeners: List::EMPTY,
            init: Init::Reaper,
        }),
        mounts: Some(mounts()),
        limits: limits(),
        session: Session {
            terminal: Terminal::Auto,
            umask: Some(0o022),
            die_with_parent: DieWithParent::Process,
        },
        credentials: Credentials { uid: Some(1000), gid: Some(1000) },
        landlock: Some(landlock()),
        seccomp: Some(seccomp()),
        exec: Exec {
            argv0: Some(Text::new(c"-sh")),
            keep: list([Keep::Name(Text::new(c"LANG")), Keep::Prefix(Text::new(c"LC_"))]),
            set: list([Text::new(c"PATH=/usr/bin:/bin"), Text::new(c"EMPTY=")]),
            cwd: Cwd::Path(path(c"/workspace")),
        },
        proxy: None,
        origin: Origin {
            expanded_at: 1_700_000_000,
            globs: list([Glob { pattern: Text::new(c"**/.env"), matched: 3 }]),
        },
    }
}

/// An unpacked image under ranges of ids, with the command as PID 1.
pub(crate) fn container() -> Policy<'static> {
    let range = |inside, outside, count| IdRange { inside, outside, count };
    Policy {
        namespaces: Some(Namespaces {
            flags: NAMESPACE_FLAGS,
            uid_map: IdMap::Ranges(list([range(0, 100_000, 65_536)])),
            gid_map: IdMap::Ranges(list([range(0, 1000, 1), range(1, 100_000, 65_535)])),
            host_name: None,
            loopback: Loopback::Down,
            listeners: List::EMPTY,
            init: Init::None,
        }),
        mounts: Some(Mounts {
            root: Root::Tree { path: path(c"/srv/image"), access: 0b1101 },
            ..mounts()
        }),
        ..nothing()
    }
}

/// A network that leads to a proxy.
pub(crate) fn proxied() -> Policy<'static> {
    let rule = |host, first, last| Rule { host, first, last };
    let network = |address: &str, prefix| {
        Host::Network(Network::new(address.parse().expect("an address"), prefix).expect("a prefix"))
    };
    Policy {
        namespaces: Some(Namespaces {
            loopback: Loopback::Up,
            listeners: list([
                Listener { protocol: Protocol::Http, port: 3128 },
                Listener { protocol: Protocol::Socks, port: 1080 },
            ]),
            ..container().namespaces.expect("it has some")
        }),
        proxy: Some(Proxy {
            allow: list([
                rule(Host::AnyName, 443, 443),
                rule(Host::Name(Text::new(c"git.example.org")), 22, 22),
                rule(Host::Below(Text::new(c"example.org")), 8000, 8999),
                rule(network("192.0.2.0", 24), 1, u16::MAX),
            ]),
            deny: list([rule(network("2001:db8::", 32), 443, 443)]),
            upstream: Upstream::At(Text::new(c"127.0.0.1:8080")),
        }),
        ..nothing()
    }
}

fn mounts() -> Mounts<'static> {
    let node = |at, kind| Node { path: path(at), kind };
    let mount = |target, source| Mount { source, ..bind(target) };
    Mounts {
        root: Root::Host { access: 0b1101 },
        skeleton_size: 256 << 20,
        skeleton: list([
            node(c"/workspace", NodeKind::Directory { mode: 0o755 }),
            node(c"/etc/motd", NodeKind::File { mode: 0o444, data: b"hello\0\xff" }),
            node(c"/bin", NodeKind::Symlink { content: Text::new(c"usr/bin") }),
        ]),
        mounts: list([
            Mount {
                source: Source::Host {
                    path: path(c"/home/me/workspace"),
                    kind: Kind::Directory,
                    symlinks: Symlinks::Follow,
                    missing: Missing::Skip,
                },
                attributes: 0,
                access: ACCESS_FS,
                ..bind(c"/workspace")
            },
            mount(c"/dir", Source::Fd { fd: 7 }),
            mount(c"/tmp", Source::Skeleton),
            mount(c"/scratch", Source::Tmpfs { size: 1 << 20, mode: 0o1777 }),
            mount(c"/proc", Source::Proc),
            mount(c"/dev/pts", Source::Devpts),
            mount(
                c"/opt",
                Source::Overlay { lower: path(c"/l"), upper: path(c"/u"), work: path(c"/w") },
            ),
        ]),
        rules: list([mounts::Rule {
            path: path(c"/workspace/src"),
            kind: Kind::Directory,
            access: ACCESS_FS,
        }]),
        carved: List::EMPTY,
    }
}

/// A directory of the host that is shown where it is, with nothing granted.
pub(crate) fn bind(directory: &'static core::ffi::CStr) -> Mount<'static> {
    Mount {
        target: path(directory),
        parents: Parents::Foreign,
        source: Source::Host {
            path: path(directory),
            kind: Kind::Directory,
            symlinks: Symlinks::Refuse,
            missing: Missing::Fail,
        },
        attributes: MOUNT_ATTRIBUTES,
        access: 0,
        carved: false,
    }
}

fn limits() -> Limits<'static> {
    Limits {
        rlimits: list([
            Rlimit { resource: 4, soft: 1, hard: 1 },
            Rlimit { resource: 7, soft: 256, hard: u64::MAX },
        ]),
        memory: Some(512 << 20),
        processes: Some(64),
        cpu_time: Some(10),
        wall_time: Some(60_000),
        cgroup: Cgroup::Auto,
        cpu_affinity: &[0b11],
        nice: Some(-20),
        oom_score_adj: Some(1000),
    }
}

fn landlock() -> Landlock<'static> {
    let handled = |fs, net, scoped| Handled { fs, net, scoped };
    Landlock {
        handled: list([
            handled(0x1fff, 0, 0),
            handled(0x3fff, 0, 0),
            handled(0x7fff, 0, 0),
            handled(0x7fff, 0b11, 0),
            handled(0xffff, 0b11, 0),
            handled(0xffff, 0b11, SCOPES),
            handled(0xffff, 0b11, SCOPES),
            handled(0xffff, 0b11, SCOPES),
            handled(ACCESS_FS, 0b11, SCOPES),
            handled(ACCESS_FS, ACCESS_NET, SCOPES),
            handled(ACCESS_FS, ACCESS_NET, SCOPES),
        ]),
        ports: list([Port { port: 443, access: 0b10 }, Port { port: 0, access: 0b01 }]),
        log: 0b101,
    }
}

fn seccomp() -> Seccomp<'static> {
    Seccomp {
        filter: filter(&[
            (op::LOAD, 0, 0, 0),
            (op::JUMP_EQUAL, 0, 1, 101),
            (op::RETURN, 0, 0, 0x0005_0001),
            (op::RETURN, 0, 0, 0x7fff_0000),
        ]),
        flags: linux_raw_sys::ptrace::SECCOMP_FILTER_FLAG_LOG,
        without_namespaces: &[],
        terminal_is_safe: true,
    }
}

/// The bytes of a filter.
pub(crate) fn filter(instructions: &[(u16, u8, u8, u32)]) -> &'static [u8] {
    instructions
        .iter()
        .flat_map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }.to_bytes())
        .collect::<Vec<u8>>()
        .leak()
}

/// A path that is known to be one.
pub(crate) fn path(text: &'static core::ffi::CStr) -> Path<'static> {
    Path::new(text).expect("an absolute, normal path")
}

/// A list of these items.
pub(crate) fn list<T: Serialize>(items: impl IntoIterator<Item = T>) -> List<'static, T> {
    let bytes: Vec<u8> = items
        .into_iter()
        .flat_map(|item| postcard::to_stdvec(&item).expect("an item is encoded into memory"))
        .collect();
    List::from_bytes(bytes.leak())
}
