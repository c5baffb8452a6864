//! Random documents over one tree: what is left of them is implied by each.

use std::path::{Path, PathBuf};

use super::merge;
use super::tests::place;
use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{Cgroup, Document, Rlimit};
use crate::mounts::testing::Tree;
use crate::mounts::{self, Rights, Standing, View};
use crate::network;
use crate::tests::document;

/// A random number generator: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap_or(0)
    }

    fn of<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.below(list.len())]
    }

    /// One of the lines, or none.
    fn maybe(&mut self, lines: &[&str]) -> String {
        match self.below(2) {
            0 => String::new(),
            _ => format!("{}\n", self.of(lines)),
        }
    }
}

/// How many documents are compared with their parts.
const CASES: usize = 200;

const FILES: [&str; 22] = [
    "usr/bin/sh",
    "usr/share/doc/x",
    "etc/passwd",
    "etc/ssl/certs/c",
    "a/b/c/f",
    "a/b/g",
    "a/d",
    "workspace/x/y",
    "home/u/k",
    "tmp/t/u",
    "var/tmp/v",
    "dev/shm/",
    "proc/",
    "sys/",
    "run/",
    "img/a/b/",
    "img/dev/shm/",
    "img/tmp/",
    "img/var/tmp/",
    "img/proc/",
    "img/sys/",
    "img/run/",
];

const LINKS: [(&str, &str); 3] = [("bin", "usr/bin"), ("l", "a/b"), ("a/up", "../workspace")];

const PATHS: [&str; 19] = [
    "/usr",
    "/usr/bin",
    "/bin",
    "/etc",
    "/etc/ssl",
    "/etc/passwd",
    "/a",
    "/a/b",
    "/a/b/c",
    "/a/b/c/f",
    "/a/d",
    "/l",
    "/l/c",
    "/workspace",
    "/workspace/x",
    "/home/u",
    "/tmp",
    "/tmp/t",
    "/var/tmp/v",
];

/// The text of a random document.
fn random(random: &mut Random) -> String {
    let mut text = String::from("[filesystem]\n");
    text += &random.maybe(&["root = 'host'", "root = 'minimal'", "root = 'host'", "root = '/img'"]);
    text += &random.maybe(&["tmp = 'none'", "tmp = 'host'", "tmp_size = '1M'"]);
    text += &random.maybe(&["dev = 'none'", "proc = false", "dev = ['shm']", "dev = []"]);
    for verb in ["read", "write", "execute", "deny"] {
        let entries: Vec<_> = (0..random.below(4))
            .map(|_| {
                let path = random.of(&PATHS);
                let at = random.of(&["/a/b", "/new", "/usr/share", "/workspace/x"]);
                match random.below(10) {
                    0 if verb != "deny" => format!("{{ path = '{path}', at = '{at}' }}"),
                    1 => format!("{{ path = '{path}', missing = 'skip' }}"),
                    _ => format!("'{path}'"),
                }
            })
            .collect();
        text += &format!("{verb} = [{}]\n", entries.join(", "));
    }
    text += "[network]\n";
    let access = random.of(&["none", "loopback", "host", "host", "proxy"]);
    text += &format!("access = '{access}'\n");
    if *access == "host" {
        text += &random.maybe(&["connect_tcp = [1, 2]", "connect_tcp = [2]", "connect_tcp = []"]);
        text += &random.maybe(&["bind_tcp = [1, 2]", "bind_tcp = [3]"]);
        text += &random.maybe(&["udp = true", "udp = false"]);
    }
    if *access == "proxy" {
        text += &random.maybe(&["allow = ['*.a:1-2', '*:3', 'b:2']", "allow = ['x.a:2', 'b:*']"]);
        text += &random.maybe(&["deny = ['x.a', '10.0.0.0/8']", "deny = ['*.x.a:1', 'b:2']"]);
        // Not `proxy.transparent`: it shows a file, which the launcher makes.
        text += &random.maybe(&["proxy.http = 8080", "proxy.socks = 8081"]);
        text += &random.maybe(&["without_namespace = 'supervise'"]);
    }
    text += &random.maybe(&[
        "unix = 'host'",
        "unix = 'none'",
        "unix = ['/a/d']",
        "unix = ['/a/d', '/a/b/g']",
    ]);
    text += "[process]\n";
    text += &random.maybe(&["keep_fds = [5]", "keep_fds = [5, { fd = 6, directory = true }]"]);
    text +=
        &random.maybe(&["env.keep = ['*']", "env.keep = ['A*', 'B']", "env.keep = ['AB', 'C*']"]);
    text += &random.maybe(&["terminal = 'none'", "terminal = 'keep'"]);
    text += "[limits]\n";
    text += &random.maybe(&["memory = 1000", "memory = 2000"]);
    text += &random.maybe(&["cpu_time = '10s'", "wall_time = '5s'"]);
    text += &random.maybe(&["cgroup = 'auto'", "cgroup = 'none'"]);
    text += &random.maybe(&["rlimit.data = [500, 3000]", "rlimit.cpu = 5", "rlimit.core = 7"]);
    text += "[seccomp]\n";
    text += &random.maybe(&["profile = 'unconfined'"]);
    text += &random.maybe(&["allow = ['bpf']", "allow = ['bpf', 'kcmp']"]);
    text += &random.maybe(&["deny = ['kcmp']", "deny = ['ptrace', 'bpf']"]);
    text
}

/// Every path that is asked about: the tree's, below each, and new ones.
fn asked() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = PATHS.iter().map(PathBuf::from).collect();
    for file in FILES {
        paths.extend(Path::new("/").join(file).ancestors().map(Path::to_owned));
    }
    // What a symlink of the host leads to is asked for by its real path.
    paths.retain(|path| !LINKS.iter().any(|(link, _)| path.starts_with(Path::new("/").join(link))));
    for more in ["/new", "/dev", "/dev/null", "/dev/shm", "/proc/1", "/var", "/usr/share/b", "/sys"]
    {
        paths.push(more.into());
    }
    let below = paths.iter().map(|path| path.join("new"));
    let below: Vec<_> = below.collect();
    paths.extend(below);
    paths
}

fn assert_implied(what: &str, result: &View, part: &View) {
    for path in asked() {
        let (granted, allowed) = (result.rights(&path), part.rights(&path));
        assert!(allowed.contain(granted), "{what}: {path:?}: {granted:?}, {allowed:?}");
        if let Standing::Object(object) = result.standing(&path) {
            assert_eq!(part.standing(&path), Standing::Object(object), "{what}: {path:?}");
        }
    }
}

fn assert_words_implied(what: &str, result: &Document, part: &Document) {
    let resolve = |document| network::resolve(document, &mut Diagnostics::default());
    let (network, wider) = (resolve(result), resolve(part));
    assert!(network.access as u8 <= wider.access as u8, "{what}");
    let ports = |list: &Option<Vec<u16>>, wider: &Option<Vec<u16>>| match (list, wider) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(list), Some(wider)) => list.iter().all(|port| wider.contains(port)),
    };
    if network.access == crate::document::Access::Host {
        assert!(ports(&network.connect_tcp, &wider.connect_tcp), "{what}");
        assert!(ports(&network.bind_tcp, &wider.bind_tcp), "{what}");
    }
    if network.access != crate::document::Access::None {
        assert!(!network.udp || wider.udp, "{what}");
    }
    for name in ["A", "AB", "AC", "B", "C", "CD", "X"] {
        let kept = |document: &Document| {
            document.process.env.keep.iter().any(|pattern| {
                match pattern.get_ref().strip_suffix('*') {
                    Some(prefix) => name.starts_with(prefix),
                    None => name == pattern.get_ref(),
                }
            })
        };
        assert!(!kept(result) || kept(part), "{what}: {name}");
    }
    let used = |document: &Document| -> Vec<u32> {
        document.process.keep_fds.iter().map(|keep| keep.get_ref().fd()).collect()
    };
    assert!(used(result).iter().all(|fd| used(part).contains(fd)), "{what}");
    let number = |value: Option<u64>| value.unwrap_or(u64::MAX);
    let memory =
        |document: &Document| number(document.limits.memory.as_ref().map(|size| size.get_ref().0));
    assert!(memory(result) <= memory(part), "{what}");
    for name in ["data", "cpu", "core"] {
        let (limit, wider) = (hard(result, name), hard(part, name));
        assert!(limit <= wider, "{what}: {name}: {limit} {wider}");
    }
    let names = |list: &[Spanned<String>]| -> Vec<String> {
        list.iter().map(|name| name.get_ref().clone()).collect()
    };
    let (allow, deny) = (names(&result.seccomp.allow), names(&result.seccomp.deny));
    assert!(allow.iter().all(|name| names(&part.seccomp.allow).contains(name)), "{what}");
    assert!(names(&part.seccomp.deny).iter().all(|name| deny.contains(name)), "{what}");
    assert!(result.seccomp.profile.is_none() || part.seccomp.profile.is_some(), "{what}");
    let auto = |document: &Document| {
        document.limits.cgroup.as_ref().is_some_and(|cgroup| *cgroup.get_ref() == Cgroup::Auto)
    };
    assert!(auto(result) || !auto(part), "{what}");
}

/// The hard limit that the kernel is told, as the encoder derives it.
fn hard(document: &Document, name: &str) -> u64 {
    let said = document.limits.rlimit.get(&Spanned::from(name.to_owned()));
    match (said.map(Spanned::get_ref), name) {
        (Some(Rlimit::Both(both)), _) => both.0,
        (Some(Rlimit::Pair(_, hard)), _) => hard.0,
        (None, "data") => document.limits.memory.as_ref().map_or(u64::MAX, |size| size.get_ref().0),
        (None, "cpu") => document
            .limits
            .cpu_time
            .as_ref()
            .map_or(u64::MAX, |time| time.get_ref().0.as_secs() + 1),
        (None, "core") => 0,
        _ => u64::MAX,
    }
}

/// How many paths all parts grant, and of how many of them nothing is lost.
fn kept(result: &View, parts: &[View]) -> (usize, usize) {
    let granted = |path: &PathBuf| {
        let each = parts.iter().map(|part| part.rights(path));
        let rights = each.reduce(Rights::intersection).unwrap_or(Rights::NONE);
        let in_place = Standing::Object(path.clone());
        let is_same = parts.iter().all(|part| part.standing(path) == in_place);
        (is_same && rights != Rights::NONE).then_some(rights)
    };
    let asked = asked();
    let all: Vec<_> = asked.iter().filter_map(|path| Some((path, granted(path)?))).collect();
    (all.len(), all.iter().filter(|(path, rights)| result.rights(path) == *rights).count())
}

#[test]
fn the_result_never_grants_what_a_part_refuses() {
    let tree = Tree::new(&FILES, &LINKS);
    let place = place(&tree);
    let mut source = Random(0x9e37_79b9_7f4a_7c15);
    let (mut compared, mut refused) = (0, 0);
    let (mut all, mut left) = (0, 0);
    while compared + refused < CASES {
        let texts: Vec<_> = (0..2 + source.below(2)).map(|_| random(&mut source)).collect();
        let parts: Vec<_> = texts.iter().map(|text| document(text)).collect();
        let mut diagnostics = Diagnostics::default();
        let mut resolve = |part| mounts::resolve(part, &place, &mut diagnostics);
        let views: Vec<_> = parts.iter().map(&mut resolve).collect();
        if diagnostics.has_errors() {
            continue;
        }
        let result = merge(parts.clone(), Document::default(), &(1..2), &place, &mut diagnostics);
        let view = mounts::resolve(&result, &place, &mut diagnostics);
        if diagnostics.has_errors() {
            refused += 1;
            continue;
        }
        compared += 1;
        let what = format!("{}\n=>\n{}", texts.join("\n---\n"), result.to_toml().expect("TOML"));
        for (part, part_view) in parts.iter().zip(&views) {
            assert_implied(&what, &view, part_view);
            assert_words_implied(&what, &result, part);
        }
        let (granted, kept) = kept(&view, &views);
        all += granted;
        left += kept;
    }
    // Nor is it strict for nothing.
    assert!(refused * 20 < compared, "{refused} of {compared} are refused");
    assert!(all > compared && left * 100 > all * 95, "{left} of {all} are left");
}
