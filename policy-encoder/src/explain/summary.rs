//! What an encoded policy grants, in a form that can be shown.

use std::path::{Path, PathBuf};

use launcher_policy::enforce::{Enforce, Keeper, Mode};
use launcher_policy::exec::{Cwd, Exec, Keep};
use launcher_policy::fds::FdKind;
use launcher_policy::limits::{Cgroup, Limits};
use launcher_policy::mounts::{Mount, Mounts, NodeKind, Root, Source};
use launcher_policy::namespaces::{Init, Listener, Loopback, Protocol};
use launcher_policy::origin::Origin;
use launcher_policy::proxy::{self, Upstream};
use launcher_policy::session::{DieWithParent, Terminal};
use launcher_policy::wire::Architecture;
use launcher_policy::{List, Policy, Text};
use linux_raw_sys::general as uapi;
use linux_raw_sys::landlock::{
    LANDLOCK_ACCESS_FS_EXECUTE, LANDLOCK_ACCESS_FS_READ_DIR, LANDLOCK_ACCESS_FS_READ_FILE,
    LANDLOCK_ACCESS_FS_WRITE_FILE, LANDLOCK_ACCESS_NET_BIND_TCP, LANDLOCK_ACCESS_NET_CONNECT_TCP,
};
use serde::Serialize;

use super::calls::{self, SystemCalls};
use super::view::path_of;
use crate::limits;
use crate::mounts::Rights;
use crate::namespaces::NAMESPACES;

/// What a policy grants. Each field is a key of the JSON that
/// `encode-policy explain --json` writes.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What is in view, by path.
    pub files: Vec<File>,
    /// The network.
    pub network: Network,
    /// Limits, by the words of the document; sizes in bytes, times in
    /// milliseconds.
    pub limits: Vec<(String, String)>,
    /// The namespaces that the command does not share with its caller.
    pub namespaces: Vec<&'static str>,
    /// The process.
    pub process: Process,
    /// What becomes of each system call; absent where no filter is installed.
    pub system_calls: Option<SystemCalls>,
    /// What keeps it.
    pub needs: Needs,
    /// Patterns that were expanded when it was encoded.
    pub patterns: Patterns,
}

/// One path in view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// Where.
    pub path: PathBuf,
    /// What may be done with it.
    pub rights: Granted,
    /// What is there.
    pub shows: Shows,
}

/// What may be done with a path, or that it is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Granted {
    /// Read files, list directories.
    pub read: bool,
    /// Change, create and remove.
    pub write: bool,
    /// Run files.
    pub execute: bool,
    /// Whether an empty file or directory covers what is there.
    pub hidden: bool,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// The host's own of the same path.
    Host,
    /// The host's own of another path.
    Other(PathBuf),
    /// A directory that the caller opened, by its number.
    Descriptor(u32),
    /// What the launcher makes, with nothing of the host's in it.
    Made,
    /// A file system of its own, of so many bytes.
    Tmpfs(u64),
    /// The command's own processes.
    Proc,
    /// Terminals of its own.
    Devpts,
    /// An overlay over this directory; changes go to another.
    Overlay(PathBuf),
    /// A symlink that says this.
    Symlink(PathBuf),
    /// Landlock's rights alone; the mount around it says the rest.
    Rule,
}

/// What can be reached.
#[derive(Clone, Debug, Serialize)]
pub struct Network {
    /// `none`, `loopback`, `proxy` or `host`: what there is to reach.
    pub access: &'static str,
    /// Whether sockets of TCP can be made.
    pub tcp: bool,
    /// Whether sockets of UDP can be made.
    pub udp: bool,
    /// Whether UNIX sockets can be made, beside pairs.
    pub unix: bool,
    /// Ports that may be connected to; absent is no limit.
    pub connect_tcp: Option<Vec<u16>>,
    /// Ports that may be bound; absent is no limit.
    pub bind_tcp: Option<Vec<u16>>,
    /// What a proxy lets through, where there is nothing else.
    pub proxy: Option<Proxy>,
}

/// What a proxy lets through.
#[derive(Clone, Debug, Serialize)]
pub struct Proxy {
    /// The ports of 127.0.0.1 at which it is found, with what it speaks there.
    pub ports: Vec<(&'static str, u16)>,
    /// Hosts and ports.
    pub allow: Vec<String>,
    /// Those that it does not let through, whatever allows them.
    pub deny: Vec<String>,
    /// The proxy behind it: its host and port, or `environment`.
    pub upstream: Option<String>,
}

/// How the command stands to its caller.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// The working directory; absent is the launcher's, if it is in view.
    pub directory: Option<PathBuf>,
    /// Variables of the caller that are passed on; a `*` stands for any end.
    pub environment_kept: Vec<String>,
    /// Variables that are set, as `NAME=value`.
    pub environment_set: Vec<String>,
    /// Descriptors that are passed on.
    pub descriptors: Vec<Descriptor>,
    /// User id inside, if it is changed.
    pub uid: Option<u32>,
    /// Group id inside, if it is changed.
    pub gid: Option<u32>,
    /// Host name inside, if it is changed.
    pub hostname: Option<String>,
    /// File mode mask, if it is changed.
    pub umask: Option<u16>,
    /// `auto`, `keep` or `none`.
    pub terminal: &'static str,
    /// Whose death ends it: `process`, `thread`, `nobody`, or `auto`.
    pub dies_with: &'static str,
    /// `reaper` or `none`: who is PID 1 of a new PID namespace.
    pub init: Option<&'static str>,
}

/// A descriptor that is passed on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Descriptor {
    /// Its number.
    pub number: u32,
    /// Whether it may be a directory, which reaches past every mount.
    pub directory: bool,
}

/// Which layer is needed for what.
#[derive(Clone, Debug, Serialize)]
pub struct Needs {
    /// `off`, `prefer` or `require`.
    pub namespaces: &'static str,
    /// `off`, `prefer` or `require`.
    pub landlock: &'static str,
    /// `off`, `prefer` or `require`.
    pub limits: &'static str,
    /// What is guaranteed.
    pub guarantees: Vec<Guaranteed>,
}

/// A guarantee, and what keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Guaranteed {
    /// Its name.
    pub name: &'static str,
    /// What keeps it beside the policy's namespaces.
    pub with_namespaces: KeptBy,
    /// What keeps it where no namespace is made.
    pub without_namespaces: KeptBy,
    /// Whether the launch goes on where nothing keeps it.
    pub waived: bool,
}

/// The layer that keeps a guarantee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptBy {
    /// Namespaces, and the mounts in them.
    Namespaces,
    /// Landlock of this ABI or newer.
    Landlock(u8),
    /// The seccomp filter.
    Seccomp,
    /// None, and why.
    Nothing(String),
}

/// Patterns, and what they came to.
#[derive(Clone, Debug, Serialize)]
pub struct Patterns {
    /// When they were expanded, in seconds since 1970; 0 where there are none.
    pub expanded_at: u64,
    /// Each one, and how many paths it matched.
    pub matched: Vec<(String, u32)>,
}

impl Summary {
    /// What a policy grants on the architecture it was encoded for.
    pub fn new(policy: &Policy<'_>, architecture: Architecture) -> Self {
        Self {
            files: policy.mounts.as_ref().map_or_else(Vec::new, files),
            network: network(policy, architecture),
            limits: self::limits(&policy.limits),
            namespaces: namespaces(policy),
            process: process(policy),
            system_calls: policy.seccomp.map(|seccomp| calls::of(seccomp.filter, architecture)),
            needs: needs(&policy.enforce),
            patterns: patterns(&policy.origin),
        }
    }
}

impl Granted {
    const HIDDEN: Self = Self { read: false, write: false, execute: false, hidden: true };

    const fn of(rights: Rights) -> Self {
        let Rights { read, write, execute } = rights;
        Self { read, write, execute, hidden: false }
    }

    /// `rwx`, a dash for each that is not granted, or `hidden`.
    pub fn word(self) -> String {
        if self.hidden {
            return "hidden".into();
        }
        let letter = |is_granted, letter| if is_granted { letter } else { '-' };
        let Self { read, write, execute, .. } = self;
        [letter(read, 'r'), letter(write, 'w'), letter(execute, 'x')].iter().collect()
    }
}

/// What the rights of Landlock and the attributes of a mount leave.
fn granted(access: u32, attributes: u32) -> Granted {
    let has = |right| access & right != 0;
    let lacks = |attribute| attributes & attribute == 0;
    Granted::of(Rights {
        read: has(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR),
        write: has(LANDLOCK_ACCESS_FS_WRITE_FILE) && lacks(uapi::MOUNT_ATTR_RDONLY),
        execute: has(LANDLOCK_ACCESS_FS_EXECUTE) && lacks(uapi::MOUNT_ATTR_NOEXEC),
    })
}

fn files(mounts: &Mounts<'_>) -> Vec<File> {
    let mut files = vec![root(mounts.root)];
    files.extend(mounts.mounts.iter().filter_map(|mount| file(&mount)));
    files.extend(mounts.skeleton.iter().filter_map(|node| match node.kind {
        NodeKind::Symlink { content } => Some(File {
            path: path_of(node.path.to_bytes()),
            rights: Granted::of(Rights::READ),
            shows: Shows::Symlink(path_of(content.to_bytes())),
        }),
        NodeKind::Directory { .. } | NodeKind::File { .. } => None,
    }));
    files.extend(mounts.rules.iter().map(|rule| File {
        path: path_of(rule.path.to_bytes()),
        rights: granted(rule.access, 0),
        shows: Shows::Rule,
    }));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn root(root: Root<'_>) -> File {
    let (access, shows) = match root {
        Root::Skeleton => (LANDLOCK_ACCESS_FS_READ_DIR, Shows::Made),
        Root::Host { access } => (access, Shows::Host),
        Root::Tree { path, access } => (access, Shows::Other(path_of(path.to_bytes()))),
    };
    File { path: "/".into(), rights: granted(access, uapi::MOUNT_ATTR_RDONLY), shows }
}

/// `None` for a mount that only keeps a directory from being renamed.
fn file(mount: &Mount<'_>) -> Option<File> {
    let path = path_of(mount.target.to_bytes());
    let mut rights = granted(mount.access, mount.attributes);
    let shows = match mount.source {
        Source::Host { .. } if mount.access == 0 => return None,
        Source::Host { path: source, .. } if source == mount.target => Shows::Host,
        Source::Host { path: source, .. } => Shows::Other(path_of(source.to_bytes())),
        Source::Fd { fd } => Shows::Descriptor(fd),
        Source::Skeleton => {
            if mount.access == 0 {
                rights = Granted::HIDDEN;
            }
            Shows::Made
        }
        Source::Tmpfs { size, .. } => Shows::Tmpfs(size),
        Source::Proc => Shows::Proc,
        Source::Devpts => Shows::Devpts,
        Source::Overlay { lower, .. } => Shows::Overlay(path_of(lower.to_bytes())),
    };
    Some(File { path, rights, shows })
}

pub(super) fn network(policy: &Policy<'_>, architecture: Architecture) -> Network {
    let own = policy.namespaces.filter(|all| all.flags & uapi::CLONE_NEWNET != 0);
    let filter = policy.seccomp.map(|seccomp| seccomp.filter);
    let socket =
        |family, kind| filter.is_none_or(|filter| calls::makes(filter, architecture, family, kind));
    let handled =
        policy.landlock.and_then(|all| all.handled.iter().last()).map_or(0, |all| all.net);
    let ports = |right| {
        let ports = policy.landlock.map(|all| all.ports.iter()).into_iter().flatten();
        let ports = ports.filter(move |port| port.access & right != 0).map(|port| port.port);
        (handled & right != 0).then(|| ports.collect())
    };
    let (tcp, udp) = (socket(calls::INET, calls::STREAM), socket(calls::INET, calls::DATAGRAM));
    let access = match own.map(|own| own.loopback) {
        Some(_) if policy.proxy.is_some() => "proxy",
        Some(Loopback::Up) => "loopback",
        Some(Loopback::Down) => "none",
        None if !tcp && !udp => "none",
        None => "host",
    };
    Network {
        access,
        tcp,
        udp,
        unix: socket(calls::UNIX, calls::STREAM),
        connect_tcp: ports(LANDLOCK_ACCESS_NET_CONNECT_TCP),
        bind_tcp: ports(LANDLOCK_ACCESS_NET_BIND_TCP),
        proxy: policy.proxy.map(|rules| proxy(policy, &rules)),
    }
}

fn proxy(policy: &Policy<'_>, rules: &proxy::Proxy<'_>) -> Proxy {
    let all =
        |rules: List<'_, proxy::Rule<'_>>| rules.iter().map(|each| each.to_string()).collect();
    let listeners = policy.namespaces.into_iter().flat_map(|all| all.listeners.iter());
    let port = |listener: Listener| match listener.protocol {
        Protocol::Http => ("http", listener.port),
        Protocol::Socks => ("socks", listener.port),
        Protocol::Tls => ("tls", listener.port),
        Protocol::Web => ("web", listener.port),
        Protocol::Dns => ("dns", listener.port),
    };
    Proxy {
        ports: listeners.map(port).collect(),
        allow: all(rules.allow),
        deny: all(rules.deny),
        upstream: match rules.upstream {
            Upstream::None => None,
            Upstream::Environment => Some("environment".to_owned()),
            Upstream::At(address) => Some(String::from_utf8_lossy(address.to_bytes()).into_owned()),
        },
    }
}

fn limits(all: &Limits<'_>) -> Vec<(String, String)> {
    let number =
        |name: &str, value: Option<u64>| value.map(|value| (name.into(), value.to_string()));
    let mut list: Vec<(String, String)> = [
        number("memory", all.memory),
        number("processes", all.processes),
        number("cpu_time", all.cpu_time.map(|seconds| seconds * 1000)),
        number("wall_time", all.wall_time),
        (all.cgroup == Cgroup::Auto).then(|| ("cgroup".into(), "auto".into())),
        all.nice.map(|nice| ("nice".into(), nice.to_string())),
        all.oom_score_adj.map(|score| ("oom_score_adjust".into(), score.to_string())),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !all.cpu_affinity.is_empty() {
        let bits = (0..).zip(all.cpu_affinity).flat_map(|(place, byte): (usize, &u8)| {
            (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| place * 8 + bit)
        });
        let cpus: Vec<String> = bits.map(|cpu| cpu.to_string()).collect();
        list.push(("cpu_affinity".into(), cpus.join(" ")));
    }
    let word =
        |value: u64| if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() };
    list.extend(all.rlimits.iter().map(|limit| {
        let name = limits::resource_word(limit.resource).unwrap_or("unknown");
        let value = match limit.soft == limit.hard {
            true => word(limit.soft),
            false => format!("{} to {}", word(limit.soft), word(limit.hard)),
        };
        (format!("rlimit.{name}"), value)
    }));
    list
}

fn namespaces(policy: &Policy<'_>) -> Vec<&'static str> {
    let flags = policy.namespaces.map_or(0, |all| all.flags);
    let made = NAMESPACES.iter().filter(|(flag, _)| flags & flag != 0);
    made.map(|(_, word)| *word).collect()
}

fn process(policy: &Policy<'_>) -> Process {
    let Exec { keep, set, cwd, .. } = policy.exec;
    let host_name = policy.namespaces.and_then(|all| all.host_name);
    Process {
        directory: match cwd {
            Cwd::Launch => None,
            Cwd::Path(path) => Some(path_of(path.to_bytes())),
        },
        environment_kept: keep
            .iter()
            .map(|keep| match keep {
                Keep::Name(name) => text(name),
                Keep::Prefix(prefix) => format!("{}*", text(prefix)),
            })
            .collect(),
        environment_set: set.iter().map(text).collect(),
        descriptors: policy
            .fds
            .keep
            .iter()
            .map(|keep| Descriptor { number: keep.fd, directory: keep.kind == FdKind::Directory })
            .collect(),
        uid: policy.credentials.uid,
        gid: policy.credentials.gid,
        hostname: host_name.map(text),
        umask: policy.session.umask,
        terminal: match policy.session.terminal {
            Terminal::Auto => "auto",
            Terminal::Keep => "keep",
            Terminal::None => "none",
        },
        dies_with: match policy.session.die_with_parent {
            DieWithParent::Auto => "auto",
            DieWithParent::Process => "process",
            DieWithParent::Thread => "thread",
            DieWithParent::Never => "nobody",
        },
        init: policy.namespaces.filter(|all| all.flags & uapi::CLONE_NEWPID != 0).map(|all| {
            match all.init {
                Init::None => "none",
                Init::Reaper => "reaper",
            }
        }),
    }
}

fn needs(enforce: &Enforce<'_>) -> Needs {
    let word = |mode| match mode {
        Mode::Off => "off",
        Mode::Prefer => "prefer",
        Mode::Require => "require",
    };
    let kept_by = |keeper: Keeper<'_>| match keeper {
        Keeper::Nothing(why) => KeptBy::Nothing(text(why)),
        Keeper::Namespaces => KeptBy::Namespaces,
        Keeper::Landlock(abi) => KeptBy::Landlock(abi),
        Keeper::Seccomp => KeptBy::Seccomp,
    };
    let guarantees = enforce.guarantees.iter().map(|guaranteed| Guaranteed {
        name: guaranteed.guarantee.name(),
        with_namespaces: kept_by(guaranteed.with_namespaces),
        without_namespaces: kept_by(guaranteed.without_namespaces),
        waived: guaranteed.waived,
    });
    Needs {
        namespaces: word(enforce.namespaces),
        landlock: word(enforce.landlock),
        limits: word(enforce.limits),
        guarantees: guarantees.collect(),
    }
}

fn patterns(origin: &Origin<'_>) -> Patterns {
    Patterns {
        expanded_at: origin.expanded_at,
        matched: origin.globs.iter().map(|glob| (text(glob.pattern), glob.matched)).collect(),
    }
}

fn text(text: Text<'_>) -> String {
    String::from_utf8_lossy(text.to_bytes()).into_owned()
}

/// Paths of one directory that are alike, in one line.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// The paths as one: `/dev/{null,zero}`.
    pub paths: String,
    /// How many they are.
    pub number: usize,
    /// The first of them.
    pub file: &'a File,
}

/// Names that a line has room for.
const MOST_NAMES: usize = 6;

/// The files in as few lines as a person wants to read.
pub fn merged(files: &[File]) -> Vec<Line<'_>> {
    let mut groups: Vec<Vec<&File>> = Vec::new();
    for file in files {
        match groups.iter_mut().find(|group| group.first().is_some_and(|other| alike(file, other)))
        {
            Some(group) => group.push(file),
            None => groups.push(vec![file]),
        }
    }
    groups.iter().filter_map(|group| line(group)).collect()
}

fn alike(one: &File, other: &File) -> bool {
    one.path.parent() == other.path.parent()
        && one.rights == other.rights
        && match (&one.shows, &other.shows) {
            (Shows::Symlink(_), Shows::Symlink(_)) => true,
            (one, other) => one == other,
        }
}

fn line<'a>(group: &[&'a File]) -> Option<Line<'a>> {
    let file = *group.first()?;
    if group.len() == 1 {
        return Some(Line { paths: file.path.display().to_string(), number: 1, file });
    }
    let names = group.iter().filter_map(|file| file.path.file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    if let Some(more) = names.len().checked_sub(MOST_NAMES).filter(|&more| more > 1) {
        names.truncate(MOST_NAMES);
        names.push(format!("{more} more"));
    }
    let parent = file.path.parent().unwrap_or(Path::new("/"));
    let paths = parent.join(format!("{{{}}}", names.join(","))).display().to_string();
    Some(Line { paths, number: group.len(), file })
}
