//! `merge = "add"`: the union of all, in which the document itself has the
//! last word.
//!
//! Lists are united, what is inherited first; of values that are single, and
//! of maps by their keys, the last one said wins. What the document says of a
//! path, a descriptor or a system call replaces what it inherits about it.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::hash::Hash;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::document::{
    Dev, Document, Enforce, Entry, EntryTable, Env, ExactMount, Filesystem, KeepFd, Limits,
    Namespaces, Network, Process, Proxy, Seccomp, Unix,
};
use crate::mounts::expand;
use crate::{Place, Spanned};

/// Merges what a document extends, in that order, and the document.
pub(super) fn merge(bases: Vec<Document>, own: Document, place: &Place) -> Document {
    let Some(mut inherited) = bases.into_iter().reduce(united) else {
        return own;
    };
    forget(&mut inherited, &own, place);
    united(inherited, own)
}

/// Removes from what is inherited all that the document speaks of itself.
fn forget(inherited: &mut Document, own: &Document, place: &Place) {
    let filesystem = &mut inherited.filesystem;
    let said: HashSet<PathBuf> =
        entries(&own.filesystem).filter_map(|entry| target(entry.get_ref(), place)).collect();
    let lists = [
        &mut filesystem.execute,
        &mut filesystem.read,
        &mut filesystem.write,
        &mut filesystem.deny,
    ];
    for list in lists {
        list.retain(|entry| {
            target(entry.get_ref(), place).is_none_or(|target| !said.contains(&target))
        });
    }
    let said: HashSet<_> =
        own.filesystem.mount.iter().map(|mount| mount.get_ref().target()).collect();
    filesystem.mount.retain(|mount| !said.contains(mount.get_ref().target()));

    let said: HashSet<_> = own.process.keep_fds.iter().map(|keep| keep.get_ref().fd()).collect();
    inherited.process.keep_fds.retain(|keep| !said.contains(&keep.get_ref().fd()));

    let said: HashSet<_> = own.network.allow.iter().chain(&own.network.deny).collect();
    inherited.network.allow.retain(|host| !said.contains(host));
    inherited.network.deny.retain(|host| !said.contains(host));

    let said: HashSet<_> = own.seccomp.allow.iter().chain(&own.seccomp.deny).collect();
    inherited.seccomp.allow.retain(|call| !said.contains(call));
    inherited.seccomp.deny.retain(|call| !said.contains(call));
}

fn entries(filesystem: &Filesystem) -> impl Iterator<Item = &Spanned<Entry>> {
    [&filesystem.execute, &filesystem.read, &filesystem.write, &filesystem.deny]
        .into_iter()
        .flatten()
}

/// The path inside that an entry is about, as it is written; `None` if it
/// cannot be told, which is complained of when the entry is resolved.
fn target(entry: &Entry, place: &Place) -> Option<PathBuf> {
    let path = match entry {
        Entry::Path(path) => path,
        Entry::Table(EntryTable { at: None, bytes: Some(bytes), .. }) => {
            let bytes = hex::decode(bytes).ok()?;
            return Some(Path::new(OsStr::from_bytes(&bytes)).components().collect());
        }
        Entry::Table(table) => table.at.as_ref().or(table.path.as_ref())?,
    };
    let path = expand(path, place).ok()?;
    // Without `.`, double and final slashes.
    Some(place.directory.join(path).components().collect())
}

/// Both, of which the second wins where only one can be. Every key is named
/// here, so that none is forgotten.
fn united(one: Document, two: Document) -> Document {
    Document {
        description: two.description,
        extends: Vec::new(),
        merge: None,
        filesystem: filesystem(one.filesystem, two.filesystem),
        network: network(one.network, two.network),
        process: process(one.process, two.process),
        limits: limits(one.limits, two.limits),
        seccomp: seccomp(one.seccomp, two.seccomp),
        namespaces: namespaces(one.namespaces, two.namespaces),
        enforce: enforce(one.enforce, two.enforce),
    }
}

fn filesystem(one: Filesystem, two: Filesystem) -> Filesystem {
    Filesystem {
        root: two.root.or(one.root),
        execute: both(one.execute, two.execute),
        read: both(one.read, two.read),
        write: both(one.write, two.write),
        deny: both(one.deny, two.deny),
        protect: both(one.protect, two.protect),
        protect_missing: two.protect_missing.or(one.protect_missing),
        home: two.home.or(one.home),
        tmp: two.tmp.or(one.tmp),
        tmp_size: two.tmp_size.or(one.tmp_size),
        proc: two.proc.or(one.proc),
        dev: dev(one.dev, two.dev),
        mount: both(one.mount, two.mount),
    }
}

fn dev(one: Option<Spanned<Dev>>, two: Option<Spanned<Dev>>) -> Option<Spanned<Dev>> {
    match (one.as_ref().map(Spanned::get_ref), &two) {
        (Some(Dev::List(old)), Some(spanned)) => match spanned.get_ref() {
            Dev::List(new) => Some(Spanned::new(spanned.span(), Dev::List(values(old, new)))),
            Dev::Named(_) => two,
        },
        _ => two.or(one),
    }
}

fn network(one: Network, two: Network) -> Network {
    Network {
        access: two.access.or(one.access),
        unix: unix(one.unix, two.unix),
        connect_tcp: ports(one.connect_tcp, two.connect_tcp),
        bind_tcp: ports(one.bind_tcp, two.bind_tcp),
        udp: two.udp.or(one.udp),
        allow: both(one.allow, two.allow),
        deny: both(one.deny, two.deny),
        proxy: Proxy {
            http: two.proxy.http.or(one.proxy.http),
            socks: two.proxy.socks.or(one.proxy.socks),
            upstream: two.proxy.upstream.or(one.proxy.upstream),
            transparent: two.proxy.transparent.or(one.proxy.transparent),
        },
        without_namespace: two.without_namespace.or(one.without_namespace),
    }
}

fn unix(one: Option<Spanned<Unix>>, two: Option<Spanned<Unix>>) -> Option<Spanned<Unix>> {
    match (one.as_ref().map(Spanned::get_ref), &two) {
        (Some(Unix::Paths(old)), Some(spanned)) => match spanned.get_ref() {
            Unix::Paths(new) => Some(Spanned::new(spanned.span(), Unix::Paths(values(old, new)))),
            Unix::Named(_) => two,
        },
        _ => two.or(one),
    }
}

fn ports(
    one: Option<Spanned<Vec<u16>>>,
    two: Option<Spanned<Vec<u16>>>,
) -> Option<Spanned<Vec<u16>>> {
    match (one, two) {
        (Some(one), Some(two)) => {
            Some(Spanned::new(two.span(), values(one.get_ref(), two.get_ref())))
        }
        (one, two) => two.or(one),
    }
}

fn process(one: Process, two: Process) -> Process {
    Process {
        cwd: two.cwd.or(one.cwd),
        uid: two.uid.or(one.uid),
        gid: two.gid.or(one.gid),
        hostname: two.hostname.or(one.hostname),
        argv0: two.argv0.or(one.argv0),
        umask: two.umask.or(one.umask),
        terminal: two.terminal.or(one.terminal),
        die_with_parent: two.die_with_parent.or(one.die_with_parent),
        keep_fds: keep_fds(one.keep_fds, two.keep_fds),
        env: Env { keep: both(one.env.keep, two.env.keep), set: by_key(one.env.set, two.env.set) },
    }
}

/// A descriptor is kept once, in the way that was said last.
fn keep_fds(mut one: Vec<Spanned<KeepFd>>, two: Vec<Spanned<KeepFd>>) -> Vec<Spanned<KeepFd>> {
    one.retain(|old| !two.iter().any(|new| new.get_ref().fd() == old.get_ref().fd()));
    one.extend(two);
    one
}

fn limits(one: Limits, two: Limits) -> Limits {
    Limits {
        memory: two.memory.or(one.memory),
        processes: two.processes.or(one.processes),
        cpu_time: two.cpu_time.or(one.cpu_time),
        wall_time: two.wall_time.or(one.wall_time),
        cgroup: two.cgroup.or(one.cgroup),
        cpu_affinity: two.cpu_affinity.or(one.cpu_affinity),
        nice: two.nice.or(one.nice),
        oom_score_adjust: two.oom_score_adjust.or(one.oom_score_adjust),
        rlimit: by_key(one.rlimit, two.rlimit),
    }
}

fn seccomp(one: Seccomp, two: Seccomp) -> Seccomp {
    // A profile and an import are two words for the same: the last one said.
    let (profile, import) = match (two.profile, two.import) {
        (None, None) => (one.profile, one.import),
        own => own,
    };
    Seccomp {
        profile,
        import,
        allow: both(one.allow, two.allow),
        deny: both(one.deny, two.deny),
        action: two.action.or(one.action),
        errno: two.errno.or(one.errno),
        architectures: both(one.architectures, two.architectures),
        // The first that matches decides, so the document's own come first.
        rule: two.rule.into_iter().chain(one.rule).collect(),
    }
}

fn namespaces(one: Namespaces, two: Namespaces) -> Namespaces {
    Namespaces {
        user: two.user.or(one.user),
        mount: two.mount.or(one.mount),
        pid: two.pid.or(one.pid),
        net: two.net.or(one.net),
        ipc: two.ipc.or(one.ipc),
        uts: two.uts.or(one.uts),
        cgroup: two.cgroup.or(one.cgroup),
        time: two.time.or(one.time),
        uid_map: two.uid_map.or(one.uid_map),
        gid_map: two.gid_map.or(one.gid_map),
        init: two.init.or(one.init),
    }
}

fn enforce(one: Enforce, two: Enforce) -> Enforce {
    Enforce {
        namespaces: two.namespaces.or(one.namespaces),
        landlock: two.landlock.or(one.landlock),
        seccomp: two.seccomp.or(one.seccomp),
        limits: two.limits.or(one.limits),
        landlock_log: two.landlock_log.or(one.landlock_log),
        waive: both(one.waive, two.waive),
        carve_out: two.carve_out.or(one.carve_out),
        unix_sockets: two.unix_sockets.or(one.unix_sockets),
    }
}

/// Both lists, without what the second one repeats.
pub(super) fn both<T: Clone + Eq + Hash>(one: Vec<T>, two: Vec<T>) -> Vec<T> {
    let mut seen: HashSet<T> = one.iter().cloned().collect();
    let mut list = one;
    list.extend(two.into_iter().filter(|item| seen.insert(item.clone())));
    list
}

/// The same for values that have no place of their own.
fn values<T: Clone + Eq + Hash>(one: &[T], two: &[T]) -> Vec<T> {
    both(one.to_vec(), two.to_vec())
}

pub(super) fn by_key<K: Ord, V>(mut one: BTreeMap<K, V>, two: BTreeMap<K, V>) -> BTreeMap<K, V> {
    for (key, value) in two {
        // The key is replaced as well: it has a place in the text.
        one.remove(&key);
        one.insert(key, value);
    }
    one
}

impl KeepFd {
    pub(super) fn fd(self) -> u32 {
        match self {
            Self::Number(fd) => fd,
            Self::Table(table) => table.fd,
        }
    }
}

impl ExactMount {
    pub(super) fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. }
            | Self::Tmpfs { target, .. }
            | Self::Proc { target }
            | Self::Symlink { target, .. }
            | Self::Directory { target, .. }
            | Self::File { target, .. }
            | Self::Overlay { target, .. } => target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::document;

    /// The TOML of a base and an own document merged, without line ends.
    fn merged(bases: &[&str], own: &str) -> String {
        let variables = [("HOME".to_owned(), "/home/u".into())].into();
        let place = Place { sysroot: "/".into(), directory: "/work".into(), variables };
        let bases = bases.iter().map(|text| document(text)).collect();
        toml::to_string(&merge(bases, document(own), &place)).expect("it is written")
    }

    /// What the text says by itself.
    fn alone(text: &str) -> String {
        toml::to_string(&document(text)).expect("it is written")
    }

    #[test]
    fn lists_are_united_in_order_without_repetitions() {
        let bases = ["filesystem.read = ['/b', '/a']", "filesystem.read = ['/a', '/c']"];
        let own = "filesystem.read = ['/d', '/b']\nseccomp.deny = ['bpf']";
        let said = "filesystem.read = ['/a', '/c', '/d', '/b']\nseccomp.deny = ['bpf']";
        assert_eq!(merged(&bases, own), alone(said));
        let bases = ["network = { connect_tcp = [1, 2], unix = ['/a'] }\nfilesystem.dev = ['kvm']"];
        let own = "network = { connect_tcp = [2, 3], unix = ['/b'] }\nfilesystem.dev = ['fuse']";
        let said = "network = { connect_tcp = [1, 2, 3], unix = ['/a', '/b'] }\n\
                    filesystem.dev = ['kvm', 'fuse']";
        assert_eq!(merged(&bases, own), alone(said));
    }

    #[test]
    fn the_last_value_wins_if_it_is_said() {
        let bases = [
            "network.access = 'host'\nlimits = { memory = 1, rlimit = { nofile = 1, as = 2 } }",
            "network.access = 'loopback'\nprocess.env.set = { A = '1', B = '2' }",
        ];
        let own = "limits.rlimit.nofile = 3\nprocess.env.set.B = '3'";
        let said = "network.access = 'loopback'\n\
                    limits = { memory = 1, rlimit = { nofile = 3, as = 2 } }\n\
                    process.env.set = { A = '1', B = '3' }";
        assert_eq!(merged(&bases, own), alone(said));
    }

    #[test]
    fn the_description_is_the_own_one() {
        assert_eq!(merged(&["description = 'x'"], ""), "");
        assert_eq!(merged(&["description = 'x'"], "description = 'y'"), alone("description = 'y'"));
    }

    #[test]
    fn an_own_entry_replaces_what_is_inherited_for_its_path() {
        let base =
            "[filesystem]\nwrite = ['/x', '~/y', '.']\nexecute = ['/x']\ndeny = ['/x/z', '/d']";
        let own = "[filesystem]\nread = ['/x/', '$HOME/y', '/work']\nwrite = ['/d']";
        let said =
            "[filesystem]\nread = ['/x/', '$HOME/y', '/work']\nwrite = ['/d']\ndeny = ['/x/z']";
        assert_eq!(merged(&[base], own), alone(said));
    }

    #[test]
    fn it_is_the_path_inside_that_is_replaced() {
        let base = "filesystem.write = [{ path = '/a', at = '/x' }, { fd = 5, at = '/y' }, '/z']";
        let own = "filesystem.read = ['/x', '/a', { path = '/b', at = '/y' }]";
        let said = "[filesystem]\nread = ['/x', '/a', { path = '/b', at = '/y' }]\nwrite = ['/z']";
        assert_eq!(merged(&[base], own), alone(said));
    }

    #[test]
    fn two_bases_do_not_replace_each_others_entries() {
        let bases = ["filesystem.deny = ['/x']", "filesystem.read = ['/x']"];
        let said = "filesystem = { read = ['/x'], deny = ['/x'] }";
        assert_eq!(merged(&bases, ""), alone(said));
    }

    #[test]
    fn hosts_are_united_and_own_ones_replace_inherited_ones() {
        let base = "[network]\naccess = 'proxy'\nallow = ['a', 'b']\ndeny = ['c', 'd']\n\
                    proxy = { http = 1, upstream = 'environment' }";
        let own = "[network]\nallow = ['c', 'e']\ndeny = ['b']\nproxy = { http = 2, socks = 3 }";
        let said = "[network]\naccess = 'proxy'\nallow = ['a', 'c', 'e']\ndeny = ['d', 'b']\n\
                    proxy = { http = 2, socks = 3, upstream = 'environment' }";
        assert_eq!(merged(&[base], own), alone(said));
    }

    #[test]
    fn own_descriptors_calls_and_mounts_replace_inherited_ones() {
        let base = "process.keep_fds = [5, 6]\nseccomp = { deny = ['bpf', 'kcmp'], allow = ['mount'] }\n\
                    filesystem.mount = [{ type = 'proc', target = '/p' }]";
        let own = "process.keep_fds = [{ fd = 6, directory = true }]\n\
                   seccomp = { allow = ['bpf'], deny = ['mount'] }\n\
                   filesystem.mount = [{ type = 'tmpfs', target = '/p' }]";
        let said = "process.keep_fds = [5, { fd = 6, directory = true }]\n\
                    seccomp = { deny = ['kcmp', 'mount'], allow = ['bpf'] }\n\
                    filesystem.mount = [{ type = 'tmpfs', target = '/p' }]";
        assert_eq!(merged(&[base], own), alone(said));
    }
}
