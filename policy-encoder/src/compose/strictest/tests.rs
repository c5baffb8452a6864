//! Parts, and what is left of them.

use std::path::Path;

use super::merge;
use crate::diagnostic::Diagnostics;
use crate::document::Document;
use crate::mounts;
use crate::mounts::testing::Tree;
use crate::tests::{document, messages};
use crate::{Place, Spanned};

pub(super) fn place(tree: &Tree) -> Place {
    Place {
        sysroot: tree.path().into(),
        directory: "/work".into(),
        variables: [("HOME".to_owned(), "/home/u".into())].into(),
    }
}

/// The result, and what is said of it.
fn merged(tree: &Tree, parts: &[&str]) -> (Document, Vec<String>) {
    let mut parts: Vec<_> = parts.iter().map(|text| document(text)).collect();
    let own = parts.pop().unwrap_or_default();
    let mut diagnostics = Diagnostics::default();
    let document = merge(parts, own, &(1..2), &place(tree), &mut diagnostics);
    (document, messages(&diagnostics))
}

/// The TOML of the result where there is nothing to complain of.
#[track_caller]
fn quietly(tree: &Tree, parts: &[&str]) -> String {
    let (document, messages) = merged(tree, parts);
    assert_eq!(messages, [""; 0], "{parts:?}");
    document.to_toml().expect("it can be written")
}

/// The TOML of a result that is about no files.
#[track_caller]
fn of_words(parts: &[&str]) -> String {
    quietly(&Tree::new(&[], &[]), parts)
}

fn alone(text: &str) -> String {
    document(text).to_toml().expect("it can be written")
}

/// What the parts of the file system tests have in common.
const BARE: &str = "filesystem = { proc = false, dev = 'none', tmp = 'none' ";

fn bare(lists: &str) -> String {
    format!("{BARE}, {lists} }}")
}

/// The result of bare parts, without what they have in common.
#[track_caller]
fn of_entries(tree: &Tree, parts: &[&str]) -> String {
    let parts: Vec<_> = parts.iter().map(|part| bare(part)).collect();
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    let text = quietly(tree, &parts);
    let common = alone(&format!("{BARE}}}"));
    let common: Vec<_> = common.lines().collect();
    text.lines().filter(|line| !common.contains(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_path_grants_what_every_part_grants() {
    let tree = Tree::new(&["a/b/c/", "a/d", "work/"], &[]);
    assert_eq!(of_entries(&tree, &["write = ['/a']", "read = ['/a', '/work']"]), "read = [\"/a\"]");
    assert_eq!(
        of_entries(&tree, &["write = ['/a']", "execute = ['/a/b']", "read = ['/a']"]),
        "read = [\"/a/b\"]"
    );
    let both = ["write = ['.'], execute = ['.']", "execute = ['/work'], write = ['/work']"];
    assert_eq!(of_entries(&tree, &both), "execute = [\"/work\"]\nwrite = [\"/work\"]");
}

#[test]
fn what_one_part_hides_is_hidden() {
    let tree = Tree::new(&["a/b/c/", "a/d"], &[]);
    let hidden = of_entries(&tree, &["read = ['/a'], deny = ['/a/b']", "write = ['/a', '/a/b/c']"]);
    assert_eq!(hidden, "read = [\"/a\"]\ndeny = [\"/a/b\"]");
    let reopened = of_entries(
        &tree,
        &["read = ['/a', '/a/b/c'], deny = ['/a/b']", "write = ['/a', '/a/b/c']"],
    );
    assert_eq!(reopened, "read = [\"/a\", \"/a/b/c\"]\ndeny = [\"/a/b\"]");
}

#[test]
fn the_smaller_root_is_the_root() {
    let tree = Tree::new(
        &["usr/bin/sh", "usr/share/x", "etc/passwd", "etc/shadow", "run/"],
        &[("bin", "usr/bin")],
    );
    let host = of_entries(&tree, &["root = 'host'", "root = 'host', deny = ['/etc/shadow']"]);
    assert_eq!(host, "root = \"host\"\ndeny = [\"/etc/shadow\"]");
    let minimal = of_entries(&tree, &["root = 'host', deny = ['/usr/share']", "root = 'minimal'"]);
    assert_eq!(minimal, "root = \"minimal\"\ndeny = [\"/usr/share\"]");
    let listed = of_entries(&tree, &["root = 'minimal'", "execute = ['/usr', '/bin']"]);
    assert_eq!(
        listed,
        "execute = [\"/usr\", \"/usr/bin\", { path = \"/bin\", missing = \"skip\" }]"
    );
}

#[test]
fn a_symlink_of_all_is_shown() {
    let tree = Tree::new(&["usr/bin/sh"], &[("bin", "usr/bin")]);
    let parts = [bare("root = 'minimal'"), bare("execute = ['/usr', '/bin']")];
    let (document, _) = merged(&tree, &[&parts[0], &parts[1]]);
    let view = mounts::resolve(&document, &place(&tree), &mut Diagnostics::default());
    assert!(view.rights(Path::new("/bin/sh")).execute);
    assert_eq!(view.links().collect::<Vec<_>>(), [Path::new("/bin")]);
}

#[test]
fn what_cannot_be_intersected_is_left_out_and_said() {
    let tree = Tree::new(&["a/x", "b/", "img/usr/"], &[]);
    let at = "read = [{ path = '/a', at = '/c' }, '/b']";
    assert_eq!(of_entries(&tree, &[at, at]), "read = [{ path = \"/a\", at = \"/c\" }, \"/b\"]");
    for (part, what) in [
        (at, "an entry with `at`, `fd` or `follow`"),
        ("read = [{ fd = 5, at = '/c' }, '/b']", "an entry with `at`, `fd` or `follow`"),
        ("read = ['/b'], mount = [{ type = 'tmpfs', target = '/t' }]", "an exact mount"),
    ] {
        let parts = [bare(part), bare("read = ['/a', '/b']")];
        let (document, messages) = merged(&tree, &[&parts[0], &parts[1]]);
        assert_eq!(messages, [format!("{what} that not every part has is left out")]);
        assert_eq!(
            document.filesystem.read,
            [Spanned::from(crate::document::Entry::Path("/b".into()))]
        );
        assert!(document.filesystem.mount.is_empty());
    }
    let parts = [bare("root = '/img'"), bare("root = 'host'")];
    let (document, messages) = merged(&tree, &[&parts[0], &parts[1]]);
    assert_eq!(messages[0], "a root of its own that not every part has is left out");
    assert!(document.filesystem.root.is_none());
}

#[test]
fn an_image_of_all_parts_stays_the_root() {
    let tree = Tree::new(&["img/usr/bin/", "img/etc/secret", "img/run/"], &[]);
    let parts = ["root = '/img'", "root = '/img', deny = ['/etc/secret']"];
    assert_eq!(of_entries(&tree, &parts), "root = \"/img\"\ndeny = [\"/etc/secret\"]");
}

#[test]
fn an_intersection_that_is_empty_is_said() {
    let tree = Tree::new(&["a/", "b/"], &[]);
    let parts =
        [bare("execute = ['/a'], write = ['/a']"), bare("execute = ['/b'], write = ['/b']")];
    let (_, messages) = merged(&tree, &[&parts[0], &parts[1]]);
    assert_eq!(
        messages,
        ["execute", "write", "read"].map(|verb| format!(
            "nothing is left to {verb}: no file of the host is granted by every part"
        ))
    );
    let tree = Tree::new(&[], &[]);
    let parts = ["process.env.keep = ['A']", "process.env.keep = ['B']"];
    let (_, messages) = merged(&tree, &parts);
    assert_eq!(messages, ["nothing is left of process.env.keep: no item is in every part"]);
}

#[test]
fn a_document_that_says_nothing_of_its_own_is_no_part() {
    assert_eq!(of_words(&["network.access = 'host'", "description = 'both'"]), {
        alone("description = 'both'\nnetwork.access = 'host'")
    });
    assert_eq!(of_words(&["network.access = 'host'", "process.hostname = 'h'"]), {
        alone("process.hostname = 'h'")
    });
}

#[test]
fn the_narrower_network_is_left() {
    let host = |more: &str| format!("network = {{ access = 'host' {more} }}");
    let both = |one: &str, two: &str| of_words(&[one, two]);
    assert_eq!(
        both(&host(""), "network.access = 'loopback'"),
        alone("network.access = 'loopback'")
    );
    assert_eq!(both(&host(", connect_tcp = [1]"), "network.access = 'loopback'"), {
        alone("network = { access = 'loopback', udp = false }")
    });
    assert_eq!(both(&host(""), "process.hostname = 'h'"), alone("process.hostname = 'h'"));
    assert_eq!(
        both(&host(", connect_tcp = [1, 2]"), &host(", connect_tcp = [2, 3], udp = true")),
        { alone(&host(", connect_tcp = [2]")) }
    );
    assert_eq!(both(&host(", bind_tcp = [1], udp = true"), &host("")), {
        alone(&host(", bind_tcp = [1], udp = true"))
    });
    assert_eq!(
        both(&host(", unix = 'host'"), &host(", unix = 'none'")),
        alone(&host(", unix = 'none'"))
    );
}

#[test]
fn of_two_proxies_what_both_let_through_is_left() {
    let both = |one: &str, two: &str| of_words(&[one, two]);
    let proxy = |more: &str| format!("network = {{ access = 'proxy', {more} }}");
    let one = proxy("allow = ['*.a.test:1-9', 'b.test', '10.0.0.0/8:1'], deny = ['x.a.test']");
    let two = proxy("allow = ['y.a.test:5-20', 'b.test:443', '*:80'], deny = ['z.a.test']");
    assert_eq!(both(&one, &two), {
        let allow = "allow = ['y.a.test:5-9', 'b.test:80', 'b.test:443']";
        alone(&proxy(&format!("{allow}, deny = ['x.a.test', 'z.a.test']")))
    });
    assert_eq!(both(&one, "network.access = 'host'"), alone(&one));
    assert_eq!(both("network.access = 'loopback'", &one), alone("network.access = 'loopback'"));
    let limited = "network = { access = 'host', connect_tcp = [443, 22], udp = true }";
    assert_eq!(
        both(limited, &proxy("allow = ['b.test']")),
        alone(&proxy("allow = ['b.test:443']"))
    );
    let upstream = |url: &str| proxy(&format!("allow = ['b.test:1'], proxy.upstream = '{url}'"));
    assert_eq!(
        both(&upstream("http://a:1"), &upstream("http://a:1")),
        alone(&upstream("http://a:1"))
    );
    for other in [upstream("http://a:2"), proxy("allow = ['b.test:1']")] {
        let (_, messages) = merged(&Tree::new(&[], &[]), &[&upstream("http://a:1"), &other]);
        let complaint = "a proxy behind the proxy cannot be intersected with another way";
        assert!(messages.contains(&complaint.to_owned()), "{messages:?}");
    }
}

#[test]
fn the_lower_limit_is_left() {
    let one = "limits = { memory = '1G', nice = 5, rlimit = { nofile = 10, core = 5 } }";
    let two = "limits = { memory = '2G', nice = -5, rlimit = { as = '1M', data = '3G' } }";
    let both =
        "limits = { memory = '1G', nice = 5, rlimit = { nofile = 10, as = '1M', data = '1G' } }";
    assert_eq!(of_words(&[one, two]), alone(both));
    assert_eq!(
        of_words(&["limits.nice = -5", "limits.processes = 1"]),
        alone("limits.processes = 1")
    );
    let (one, two) = ("limits.rlimit.nofile = [1, 9]", "limits.rlimit.nofile = 5");
    assert_eq!(of_words(&[one, two]), alone("limits.rlimit.nofile = [1, 5]"));
}

#[test]
fn what_is_passed_on_is_what_all_pass_on() {
    let one =
        "process = { keep_fds = [5, { fd = 6, directory = true }], env.keep = ['LC_*', 'A', 'B'] }";
    let two =
        "process = { keep_fds = [{ fd = 6, directory = true }], env.keep = ['LC_ALL', 'A*'] }";
    let both =
        "process = { keep_fds = [{ fd = 6, directory = true }], env.keep = ['A', 'LC_ALL'] }";
    assert_eq!(of_words(&[one, two]), alone(both));
    let one = "process = { terminal = 'keep', umask = 0o022, die_with_parent = false }";
    let two = "process = { terminal = 'none', umask = 0o007, die_with_parent = 'thread' }";
    let both = "process = { terminal = 'none', umask = 0o027, die_with_parent = 'thread' }";
    assert_eq!(of_words(&[one, two]), alone(both));
}

#[test]
fn the_stricter_filter_and_layers_are_left() {
    let one = "seccomp = { profile = 'unconfined', allow = ['bpf', 'mount'], deny = ['kcmp'] }\n\
               enforce.namespaces = 'off'\nnamespaces.ipc = false";
    let two = "seccomp = { allow = ['bpf', 'kcmp'], deny = ['ptrace'] }\n\
               enforce = { landlock = 'require' }\nnamespaces.time = true";
    let both = "seccomp = { allow = ['bpf'], deny = ['kcmp', 'ptrace'] }\n\
                enforce = { landlock = 'require' }\nnamespaces.time = true";
    assert_eq!(of_words(&[one, two]), alone(both));
}

#[test]
fn devices_and_temporary_directories_are_the_fewer() {
    let one = "filesystem = { dev = ['null', 'tty'], tmp = 'host', tmp_size = '1G', proc = false }";
    let tree = Tree::new(&["dev/null/", "dev/tty/", "tmp/"], &[]);
    let (document, _) = merged(&tree, &[one, "filesystem.proc = true"]);
    assert_eq!(document.to_toml().expect("it can be written"), {
        alone("filesystem = { dev = ['null'], proc = false }")
    });
}
