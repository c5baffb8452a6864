//! Documents over small trees, and what becomes of them.
//!
//! A plan is compared line by line: what the launcher makes as `dir /tmp
//! 1777`, what it attaches as `/srv rx` where the source is at the same path,
//! `/srv rx <- /data` where it is not; `rwx` are the rights that the mount
//! attributes leave, `d` stands for usable devices.

use std::path::Path;
use std::sync::LazyLock;

use launcher_policy::mounts::{Kind, MAX_MOUNTS, Missing, Mount, NodeKind, Root, Source, Symlinks};
use launcher_policy::wire;
use linux_raw_sys::general::{
    MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY,
};
use linux_raw_sys::landlock as uapi;

mod carve;
mod entries;
mod freeze;
mod globs;
mod home;
mod protect;
mod warnings;

use super::testing::Tree;
use super::{Decider, Rights, View, resolve};
use crate::Place;
use crate::diagnostic::{Diagnostics, Severity};
use crate::tests::document;

/// Neither devices, nor `/proc`, nor temporary directories.
const BARE: &str = "[filesystem]\nproc = false\ndev = 'none'\ntmp = 'none'\n";

fn place(tree: &Tree) -> Place {
    Place {
        sysroot: tree.path().into(),
        directory: "/workspace".into(),
        variables: [("HOME".to_owned(), "/home/u".into())].into(),
    }
}

fn resolved(tree: &Tree, text: &str) -> (View, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let view = resolve(&document(text), &place(tree), &mut diagnostics);
    if !diagnostics.has_errors() {
        assert_encodes(&view);
    }
    (view, diagnostics)
}

/// The view of a document without any complaint.
fn view(tree: &Tree, text: &str) -> View {
    let (view, diagnostics) = resolved(tree, text);
    assert_eq!(diagnostics.without_notes().iter().next(), None);
    view
}

/// The same with nothing but what `text` lists.
fn bare(tree: &Tree, text: &str) -> View {
    view(tree, &format!("{BARE}{text}"))
}

/// The same, although something in it is void or contradictory.
fn warned(tree: &Tree, text: &str) -> View {
    let (view, diagnostics) = resolved(tree, &format!("{BARE}{text}"));
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    view
}

/// What is good to know of a document.
fn notes(tree: &Tree, text: &str) -> Vec<String> {
    let (_, diagnostics) = resolved(tree, &format!("{BARE}{text}"));
    let notes = diagnostics.iter().filter(|it| it.severity == Severity::Note);
    notes.map(|it| it.message.clone()).collect()
}

/// Each complaint: the text it points at, and what it says.
fn complaints(tree: &Tree, text: &str) -> Vec<(String, String)> {
    let text = format!("{BARE}{text}");
    let (_, diagnostics) = resolved(tree, &text);
    diagnostics
        .without_notes()
        .iter()
        .map(|it| (text[it.span.clone().unwrap_or(0..0)].to_owned(), it.message.clone()))
        .collect()
}

/// Every plan must be one that the launcher accepts.
fn assert_encodes(view: &View) {
    static OTHER_STAGES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let tree = Tree::new(&[], &[]);
        let mut diagnostics = Diagnostics::default();
        let architecture = wire::Architecture::NATIVE;
        crate::encode(&document(""), &place(&tree), architecture, &mut diagnostics)
            .expect("an empty document can be encoded")
    });
    let mut policy = wire::decode(&OTHER_STAGES).expect("what was encoded decodes");
    policy.mounts = Some(view.wire());
    let mut buffer = vec![0; wire::MAX_FRAME];
    wire::encode(&policy, wire::Architecture::NATIVE, crate::digest::sha256, &mut buffer)
        .expect("the plan is valid");
    assert_parents_come_first(view);
}

fn assert_parents_come_first(view: &View) {
    let wire = view.wire();
    let nodes: Vec<_> = wire.skeleton.iter().map(|node| node.path.to_bytes().to_vec()).collect();
    for (position, path) in nodes.iter().enumerate() {
        let parent = path.iter().rposition(|&byte| byte == b'/').map(|slash| &path[..slash]);
        let earlier = &nodes[..position];
        assert!(parent.is_none_or(|it| it.is_empty() || earlier.iter().any(|path| path == it)));
    }
}

/// The plan in lines: nodes, then mounts.
fn plan(view: &View) -> Vec<String> {
    let wire = view.wire();
    let nodes = wire.skeleton.iter().map(|node| {
        let path = text(node.path.to_bytes());
        match node.kind {
            NodeKind::Directory { mode } => format!("dir {path} {mode:o}"),
            NodeKind::File { mode, data } => format!("file {path} {mode:o} {}", text(data)),
            NodeKind::Symlink { content } => format!("link {path} -> {}", text(content.to_bytes())),
        }
        .trim_end()
        .to_owned()
    });
    nodes.chain(wire.mounts.iter().map(|mount| line(&mount))).collect()
}

/// The mounts alone.
fn mounts(view: &View) -> Vec<String> {
    view.wire().mounts.iter().map(|mount| line(&mount)).collect()
}

fn line(mount: &Mount<'_>) -> String {
    let unless = |attribute: u32, word| if mount.attributes & attribute == 0 { word } else { "" };
    assert_ne!(mount.attributes & MOUNT_ATTR_NOSUID, 0, "every mount is nosuid");
    let rights = ["r", unless(MOUNT_ATTR_RDONLY, "w"), unless(MOUNT_ATTR_NOEXEC, "x")].concat();
    let target = text(mount.target.to_bytes());
    let source = match mount.source {
        Source::Host { path, .. } if path == mount.target => String::new(),
        Source::Host { path, .. } => text(path.to_bytes()),
        Source::Fd { fd } => format!("fd {fd}"),
        Source::Skeleton => "skeleton".into(),
        Source::Tmpfs { size, mode } => format!("tmpfs {size} {mode:o}"),
        Source::Proc => "proc".into(),
        Source::Devpts => "devpts".into(),
        Source::Overlay { lower, upper, work } => {
            [lower, upper, work].map(|path| text(path.to_bytes())).join(" ")
        }
    };
    let arrow = if source.is_empty() { "" } else { " <- " };
    format!("{target} {rights}{}{arrow}{source}", unless(MOUNT_ATTR_NODEV, "d"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn find<'v>(view: &'v View, target: &str) -> Mount<'v> {
    let mut mounts = view.wire().mounts.iter();
    mounts.find(|mount| mount.target.to_bytes() == target.as_bytes()).expect("it is mounted")
}

#[test]
fn an_empty_document_shows_nothing() {
    let view = bare(&Tree::new(&["etc/passwd"], &[]), "");
    assert!(plan(&view).is_empty());
    assert_eq!(view.wire().root, Root::Skeleton);
    assert_eq!(view.rights(Path::new("/etc/passwd")), Rights::NONE);
    assert_eq!(view.decide(Path::new("/etc/passwd")).decider, Decider::Nobody);
}

#[test]
fn three_verbs_give_three_kinds_of_mount() {
    let tree = Tree::new(&["usr/bin/sh", "etc/conf", "workspace/file"], &[]);
    let view = bare(&tree, "execute = ['/usr']\nread = ['/etc/conf']\nwrite = ['.']");
    assert_eq!(
        plan(&view),
        [
            "dir /etc 755",
            "file /etc/conf 444",
            "dir /usr 755",
            "dir /workspace 755",
            "/etc/conf r",
            "/usr rx",
            "/workspace rw",
        ]
    );
    assert_eq!(view.lost_without_mounts, None);
    assert_eq!(view.rights(Path::new("/usr/bin/sh")), Rights::EXECUTE);
    assert_eq!(view.rights(Path::new("/workspace/new")), Rights::WRITE);
}

#[test]
fn landlock_rights_follow_the_verbs_and_the_kind() {
    let tree = Tree::new(&["d/", "f"], &[]);
    let access = |text: &str, target: &str| find(&bare(&tree, text), target).access;
    let read = uapi::LANDLOCK_ACCESS_FS_READ_FILE | uapi::LANDLOCK_ACCESS_FS_READ_DIR;
    assert_eq!(access("read = ['/d']", "/d"), read);
    assert_eq!(access("execute = ['/d']", "/d"), read | uapi::LANDLOCK_ACCESS_FS_EXECUTE);
    assert_eq!(access("write = ['/f']", "/f"), {
        uapi::LANDLOCK_ACCESS_FS_READ_FILE
            | uapi::LANDLOCK_ACCESS_FS_WRITE_FILE
            | uapi::LANDLOCK_ACCESS_FS_TRUNCATE
    });
    let write = access("write = ['/d']", "/d");
    assert_ne!(write & uapi::LANDLOCK_ACCESS_FS_REFER, 0);
    let never = uapi::LANDLOCK_ACCESS_FS_MAKE_CHAR
        | uapi::LANDLOCK_ACCESS_FS_MAKE_BLOCK
        | uapi::LANDLOCK_ACCESS_FS_EXECUTE
        | uapi::LANDLOCK_ACCESS_FS_IOCTL_DEV;
    assert_eq!(write & never, 0);
}

#[test]
fn the_deepest_entry_decides_alone() {
    let tree = Tree::new(&["a/b/c/"], &[]);
    let view = bare(&tree, "write = ['/a', '/a/b/c']\nread = ['/a/b']");
    assert_eq!(mounts(&view), ["/a rw", "/a/b r", "/a/b/c rw"]);
    assert_eq!(view.rights(Path::new("/a/b/x")), Rights::READ);
    assert_eq!(view.rights(Path::new("/a/b/c/x")), Rights::WRITE);
}

#[test]
fn entries_for_the_same_path_are_united() {
    let tree = Tree::new(&["a/"], &[]);
    let view = bare(&tree, "write = ['/a']\nexecute = ['/a/../a']");
    assert_eq!(mounts(&view), ["/a rwx"]);
}

#[test]
fn a_denial_of_the_same_path_wins() {
    let tree = Tree::new(&["a/"], &[]);
    let view = warned(&tree, "write = ['/a']\ndeny = ['/a']");
    assert!(mounts(&view).is_empty());
    let decision = view.decide(Path::new("/a/x"));
    assert_eq!(decision.rights, Rights::NONE);
    assert!(matches!(decision.decider, Decider::Entry(place) if place.key == "filesystem.deny"));
}

#[test]
fn a_child_with_the_rights_of_its_parent_needs_no_mount() {
    let tree = Tree::new(&["a/b/c"], &[]);
    assert_eq!(mounts(&bare(&tree, "read = ['/a', '/a/b', '/a/b/c']")), ["/a r"]);
}

#[test]
fn a_denied_directory_is_covered_by_an_empty_one() {
    let tree = Tree::new(&["home/u/.ssh/id", "home/u/file"], &[]);
    let view = bare(&tree, "read = ['~']\ndeny = ['~/.ssh']");
    assert_eq!(
        plan(&view),
        [
            "dir /home 755",
            "dir /home/u 755",
            "dir /home/u/.ssh 555",
            "/home/u r",
            "/home/u/.ssh r <- skeleton",
        ]
    );
    assert_eq!(find(&view, "/home/u/.ssh").access, 0);
    assert!(!view.shows(Path::new("/home/u/.ssh")));
    assert!(view.lost_without_mounts.unwrap().contains("\"/home/u/.ssh\" (deny) lies inside"));
}

#[test]
fn a_denied_file_is_covered_by_an_unreadable_one() {
    let tree = Tree::new(&["home/u/secret"], &[]);
    let view = bare(&tree, "read = ['~']\ndeny = ['~/secret']");
    assert!(plan(&view).contains(&"file /home/u/secret 0".to_owned()));
    assert!(plan(&view).contains(&"/home/u/secret r <- skeleton".to_owned()));
}

#[test]
fn a_denied_path_that_nothing_shows_needs_nothing() {
    let tree = Tree::new(&["srv/x/", "usr/"], &[]);
    let text = "execute = ['/usr']\ndeny = ['/srv', '/srv/x']";
    let view = warned(&tree, text);
    assert_eq!(plan(&view), ["dir /usr 755", "/usr rx"]);
    assert_eq!(view.lost_without_mounts, None);
}

#[test]
fn a_child_reopens_what_its_parent_denies() {
    let tree = Tree::new(&["srv/public/file", "srv/private/"], &[]);
    let view = bare(&tree, "deny = ['/srv']\nread = ['/srv/public']");
    assert_eq!(plan(&view), ["dir /srv 755", "dir /srv/public 755", "/srv/public r"]);

    let view = bare(&tree, "read = ['/srv/public']\ndeny = ['/srv/public/file']\nwrite = []");
    assert_eq!(mounts(&view), ["/srv/public r", "/srv/public/file r <- skeleton"]);
}

#[test]
fn a_reopened_child_stands_in_the_cover_of_its_parent() {
    let tree = Tree::new(&["srv/a/b/file"], &[]);
    let view = bare(&tree, "read = ['/srv', '/srv/a/b']\ndeny = ['/srv/a']");
    assert_eq!(
        plan(&view),
        [
            "dir /srv 755",
            "dir /srv/a 555",
            "dir /srv/a/b 755",
            "/srv r",
            "/srv/a r <- skeleton",
            "/srv/a/b r",
        ]
    );
    assert_eq!(view.rights(Path::new("/srv/a/x")), Rights::NONE);
    assert_eq!(view.rights(Path::new("/srv/a/b/file")), Rights::READ);
}

#[test]
fn directories_between_a_writable_one_and_a_mask_are_pinned() {
    let tree = Tree::new(&["workspace/a/b/secret", "workspace/c/"], &[]);
    let view = bare(&tree, "write = ['.', 'c']\ndeny = ['a/b/secret']");
    assert_eq!(
        mounts(&view),
        [
            "/workspace rw",
            "/workspace/a rw",
            "/workspace/a/b rw",
            "/workspace/a/b/secret r <- skeleton",
        ]
    );
    assert_eq!(find(&view, "/workspace/a").access, 0);
}

#[test]
fn a_redundant_entry_does_not_interrupt_the_pins() {
    let tree = Tree::new(&["workspace/a/b/c/"], &[]);
    let view = bare(&tree, "write = ['.', 'a/b']\nread = ['a/b/c']");
    assert_eq!(
        mounts(&view),
        ["/workspace rw", "/workspace/a rw", "/workspace/a/b rw", "/workspace/a/b/c r"]
    );
}

#[test]
fn a_wider_child_pins_nothing() {
    let tree = Tree::new(&["workspace/a/b/"], &[]);
    let view = bare(&tree, "write = ['.', 'a/b']\nexecute = ['a/b']");
    assert_eq!(mounts(&view), ["/workspace rw", "/workspace/a/b rwx"]);
    assert_eq!(view.lost_without_mounts, None);
}

#[test]
fn narrowing_cannot_be_kept_by_landlock_alone() {
    let tree = Tree::new(&["workspace/a/", "usr/share/"], &[]);
    let lost = |text: &str| bare(&tree, text).lost_without_mounts.unwrap();
    assert_eq!(
        lost("write = ['.']\nread = ['a']"),
        r#""/workspace/a" (read) lies inside "/workspace" (write), and Landlock takes nothing back"#
    );
    assert!(lost("execute = ['/usr']\nread = ['/usr/share']").contains("/usr/share"));
    assert!(lost("execute = ['/usr']\nwrite = ['/usr/share']").contains("/usr/share"));
}

#[test]
fn a_symlink_on_the_way_is_reproduced() {
    let tree = Tree::new(&["usr/bin/sh"], &[("bin", "usr/bin"), ("usr/local", "/usr/bin")]);
    let view = bare(&tree, "execute = ['/bin']");
    assert_eq!(
        plan(&view),
        ["link /bin -> usr/bin", "dir /usr 755", "dir /usr/bin 755", "/usr/bin rx"]
    );
    assert_eq!(view.rights(Path::new("/bin/sh")), Rights::EXECUTE);
    assert!(view.shows(Path::new("/bin/sh")));

    let view = bare(&tree, "execute = ['/usr', '/bin', '/usr/local']");
    assert_eq!(plan(&view), ["link /bin -> usr/bin", "dir /usr 755", "/usr rx"]);
}

#[test]
fn a_denied_symlink_hides_what_it_leads_to() {
    let tree = Tree::new(&["data/secret/x", "srv/"], &[("srv/link", "../data/secret")]);
    let view = bare(&tree, "read = ['/data', '/srv']\ndeny = ['/srv/link']");
    assert_eq!(mounts(&view), ["/data r", "/data/secret r <- skeleton", "/srv r"]);
}

#[test]
fn a_denial_through_a_symlink_that_can_be_replaced_is_refused() {
    let tree = Tree::new(&["data/secret/x", "workspace/"], &[("workspace/link", "/data/secret")]);
    let found = complaints(&tree, "read = ['/data']\nwrite = ['.']\ndeny = ['link']");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "'link'");
    assert!(found[0].1.contains("can be replaced"));
}

#[test]
fn such_a_symlink_is_found_at_its_other_paths() {
    let tree = Tree::new(&["data/secret/x", "workspace/"], &[("workspace/link", "/data/secret")]);
    let text = "read = ['/data']\nwrite = [{ path = '.', at = '/w' }]\ndeny = ['link']";
    assert!(complaints(&tree, text)[0].1.contains("can be replaced"));
}

#[test]
fn what_is_missing_is_an_error_at_its_place() {
    let tree = Tree::new(&["workspace/"], &[("workspace/link", "/gone")]);
    assert_eq!(
        complaints(&tree, "read = ['/nowhere']\nwrite = ['link']"),
        [
            ("'/nowhere'".to_owned(), r#""/nowhere" does not exist"#.to_owned()),
            (
                "'link'".to_owned(),
                r#""/workspace/link" does not exist: it leads to "/gone""#.to_owned()
            ),
        ]
    );
}

#[test]
fn what_may_be_missing_is_left_out() {
    let tree = Tree::new(&["d/"], &[]);
    let view = bare(
        &tree,
        "read = [{ path = '/nowhere', missing = 'skip' }, { path = '/d', missing = 'skip' }]",
    );
    assert_eq!(mounts(&view), ["/d r"]);
    assert!(matches!(find(&view, "/d").source, Source::Host { missing: Missing::Skip, .. }));
}

#[test]
fn a_denied_path_that_is_missing_is_a_warning() {
    let tree = Tree::new(&["d/"], &[]);
    let severity = |entry: &str| {
        let (_, diagnostics) = resolved(&tree, &format!("{BARE}deny = [{entry}]"));
        diagnostics.iter().map(|it| it.severity).next()
    };
    assert_eq!(severity("'/nowhere'"), Some(Severity::Warning));
    assert_eq!(severity("{ path = '/nowhere', missing = 'skip' }"), None);
    assert_eq!(severity("{ path = '/nowhere', missing = 'fail' }"), Some(Severity::Error));
}

#[test]
fn an_entry_must_make_sense() {
    let tree = Tree::new(&["d/", "f"], &[]);
    let message = |text: &str| complaints(&tree, text).swap_remove(0).1;
    assert!(message("read = ['$NOWHERE/x']").contains("`$NOWHERE` is not set"));
    assert!(message("read = [{ path = '/d', fd = 3, at = '/x' }]").contains("either a `path`"));
    assert!(message("read = [{ at = '/x' }]").contains("needs a `path`"));
    assert!(message("read = [{ fd = 5 }]").contains("needs an `at`"));
    assert!(message("read = [{ fd = 2, at = '/x' }]").contains("from 3"));
    assert!(message("deny = [{ fd = 5, at = '/x' }]").contains("cannot be denied"));
    assert!(message("deny = [{ path = '/d', at = '/x' }]").contains("neither `at`"));
    assert!(message("read = [{ path = '/d', at = 'x' }]").contains("not absolute"));
    assert!(message("read = [{ path = '/d', at = '/x/../y' }]").contains("`..`"));
    assert!(message("read = [{ path = '/d', at = '/' }]").contains("root directory"));
    assert!(message("write = ['/']").contains("filesystem.root"));
    assert!(message("read = ['']").contains("empty"));
    assert!(message("read = [\"/d\\u0000\"]").contains("NUL"));
}

#[test]
fn something_can_appear_elsewhere() {
    let tree = Tree::new(&["data/sub/", "f"], &[]);
    let view = bare(
        &tree,
        "write = [{ path = '/data', at = '/workspace' }]\nread = [{ path = '/f', at = '/x/f' }]",
    );
    assert_eq!(
        plan(&view),
        [
            "dir /workspace 755",
            "dir /x 755",
            "file /x/f 444",
            "/workspace rw <- /data",
            "/x/f r <- /f",
        ]
    );
    assert_eq!(view.rights(Path::new("/workspace/sub")), Rights::WRITE);
    assert_eq!(view.rights(Path::new("/data/sub")), Rights::NONE);
    assert!(view.lost_without_mounts.unwrap().contains("/workspace"));
}

#[test]
fn a_mask_is_repeated_where_its_object_appears() {
    let tree = Tree::new(&["data/a/secret", "data/b/"], &[]);
    let view = bare(
        &tree,
        "write = [{ path = '/data', at = '/workspace' }, '/data/a']\ndeny = ['/data/a/secret', '/data/b']",
    );
    assert_eq!(
        mounts(&view),
        [
            "/data/a rw",
            "/data/a/secret r <- skeleton",
            "/workspace rw <- /data",
            "/workspace/a rw <- /data/a",
            "/workspace/a/secret r <- skeleton",
            "/workspace/b r <- skeleton",
        ]
    );
}

#[test]
fn a_denied_object_does_not_appear_elsewhere() {
    let tree = Tree::new(&["data/secret"], &[]);
    let view =
        warned(&tree, "read = [{ path = '/data/secret', at = '/x' }]\ndeny = ['/data/secret']");
    assert!(mounts(&view).is_empty());
}

#[test]
fn a_denied_path_is_judged_inside_too() {
    let tree = Tree::new(&["data/secret/x"], &[]);
    let view =
        bare(&tree, "read = [{ path = '/data', at = '/workspace' }]\ndeny = ['/workspace/secret']");
    assert_eq!(mounts(&view), ["/workspace r <- /data", "/workspace/secret r <- skeleton"]);
}

#[test]
fn an_at_follows_the_symlinks_of_the_view() {
    let tree = Tree::new(&["usr/bin/tools/", "data/"], &[("bin", "usr/bin")]);
    let view = bare(&tree, "execute = ['/bin']\nread = [{ path = '/data', at = '/bin/tools' }]");
    assert_eq!(mounts(&view), ["/usr/bin rx", "/usr/bin/tools r <- /data"]);
}

#[test]
fn two_objects_cannot_appear_at_one_place() {
    let tree = Tree::new(&["a/", "b/"], &[]);
    let found = complaints(&tree, "read = ['/a', { path = '/b', at = '/a' }]");
    assert_eq!(found[0].0, "{ path = '/b', at = '/a' }");
    assert!(found[0].1.contains("already shows something else"));
}

#[test]
fn a_descriptor_appears_where_it_is_told_to() {
    let tree = Tree::new(&["usr/"], &[]);
    let view = bare(&tree, "write = [{ fd = 5, at = '/workspace' }]\nexecute = ['/usr']");
    assert_eq!(
        plan(&view),
        ["dir /usr 755", "dir /workspace 755", "/usr rx", "/workspace rw <- fd 5"]
    );
    assert!(view.shows(Path::new("/workspace/anything")));
}

#[test]
fn what_a_descriptor_cannot_keep_is_said() {
    let tree = Tree::new(&["home/u/.ssh/", "workspace/"], &[]);
    let found = complaints(&tree, "write = [{ fd = 5, at = '/workspace' }]\ndeny = ['~/.ssh']");
    assert!(found[0].1.contains("nothing is hidden in the directory behind a descriptor"));
    let found =
        complaints(&tree, "write = [{ fd = 5, at = '/workspace' }]\ndeny = ['/workspace/.git']");
    assert!(found[0].1.contains("not known before the launch"), "{found:?}");
}

#[test]
fn a_followed_path_is_left_to_the_launch() {
    let tree = Tree::new(&["v2/"], &[("current", "v2")]);
    let view = bare(&tree, "read = [{ path = '/current', follow = true }]");
    assert_eq!(plan(&view), ["dir /current 755", "/current r"]);
    let source = find(&view, "/current").source;
    assert!(matches!(
        source,
        Source::Host { symlinks: Symlinks::Follow, kind: Kind::Directory, .. }
    ));
}

#[test]
fn a_followed_path_cannot_hold_what_is_denied() {
    let tree = Tree::new(&["v2/secret/"], &[("current", "v2")]);
    let text = "read = [{ path = '/current', follow = true }]\ndeny = ['/v2/secret']";
    assert!(complaints(&tree, text)[0].1.contains("cannot hold what is denied"));
}

#[test]
fn minimal_shows_the_system_and_no_secret() {
    let files = [
        "usr/bin/sh",
        "usr/share/zoneinfo/UTC",
        "usr/lib64/ld.so",
        "etc/passwd",
        "etc/shadow",
        "etc/ssl/certs/ca",
        "etc/ssl/private/key",
        "etc/machine-id",
        "etc/python3.13/sitecustomize.py",
    ];
    let links =
        [("bin", "usr/bin"), ("lib64", "usr/lib64"), ("etc/localtime", "/usr/share/zoneinfo/UTC")];
    let view = bare(&Tree::new(&files, &links), "root = 'minimal'");
    assert_eq!(
        plan(&view),
        [
            "link /bin -> usr/bin",
            "dir /etc 755",
            "link /etc/localtime -> /usr/share/zoneinfo/UTC",
            "file /etc/passwd 444",
            "dir /etc/python3.13 755",
            "dir /etc/ssl 755",
            "dir /etc/ssl/certs 755",
            "link /lib64 -> usr/lib64",
            "dir /usr 755",
            "/etc/passwd r",
            "/etc/python3.13 r",
            "/etc/ssl/certs r",
            "/usr rx",
        ]
    );
    for hidden in ["/etc/shadow", "/etc/ssl/private/key", "/etc/machine-id"] {
        assert_eq!(view.rights(Path::new(hidden)), Rights::NONE, "{hidden}");
    }
    assert_eq!(view.lost_without_mounts, None);
}

#[test]
fn an_entry_decides_instead_of_what_is_built_in() {
    let tree = Tree::new(&["usr/share/", "etc/passwd", "etc/group"], &[]);
    let mounts = |text: &str| mounts(&bare(&tree, &format!("root = 'minimal'\n{text}")));
    assert_eq!(mounts("deny = ['/etc']"), ["/usr rx"]);
    assert_eq!(mounts("deny = ['/etc/group']"), ["/etc/passwd r", "/usr rx"]);
    assert_eq!(mounts("write = ['/etc']"), ["/etc rw", "/usr rx"]);
    assert_eq!(mounts("read = ['/usr']"), ["/etc/group r", "/etc/passwd r", "/usr r"]);
    assert_eq!(mounts("deny = ['/usr/share']").last().unwrap(), "/usr/share r <- skeleton");
}

#[test]
fn temporary_directories_are_private() {
    let tree = Tree::new(&["tmp/host", "var/tmp/host"], &[]);
    let view = view(&tree, "[filesystem]\nproc = false\ndev = 'none'");
    assert_eq!(
        plan(&view),
        [
            "dir /tmp 1777",
            "dir /var 755",
            "dir /var/tmp 1777",
            "/tmp rw <- skeleton",
            "/var/tmp rw <- skeleton",
        ]
    );
    assert_eq!(view.wire().skeleton_size, 256 << 20);
    assert!(view.shows(Path::new("/tmp")) && !view.shows(Path::new("/tmp/host")));
    assert_eq!(view.lost_without_mounts, None);
}

#[test]
fn what_is_listed_below_a_private_directory_is_visible_in_it() {
    let tree = Tree::new(&["tmp/workspace/a", "tmp/x/file", "tmp/secret/"], &[]);
    let text = "[filesystem]\nproc = false\ndev = 'none'\ntmp_size = '1M'\nwrite = ['/tmp/workspace']\n\
                read = ['/tmp/x/file', '/tmp']\ndeny = ['/tmp/secret']";
    let view = view(&tree, text);
    assert_eq!(
        plan(&view)[..6],
        [
            "dir /tmp 1777",
            "dir /tmp/secret 555",
            "dir /tmp/workspace 755",
            "dir /tmp/x 755",
            "file /tmp/x/file 444",
            "dir /var 755",
        ]
    );
    assert_eq!(
        mounts(&view),
        [
            "/tmp rw <- skeleton",
            "/tmp/secret r <- skeleton",
            "/tmp/workspace rw",
            "/tmp/x/file r",
            "/var/tmp rw <- skeleton",
        ]
    );
    assert_eq!(view.wire().skeleton_size, 1 << 20);
    assert_eq!(view.lost_without_mounts, None);
}

#[test]
fn a_private_directory_runs_programs_only_where_listed() {
    let tree = Tree::new(&["tmp/", "var/tmp/"], &[]);
    let text = "[filesystem]\nproc = false\ndev = 'none'\nexecute = ['/tmp', '/var']";
    assert_eq!(
        mounts(&view(&tree, text)),
        ["/tmp rwx <- skeleton", "/var rx", "/var/tmp rw <- skeleton",]
    );
}

#[test]
fn a_write_entry_shows_the_hosts_temporary_directory() {
    let tree = Tree::new(&["tmp/", "var/tmp/"], &[]);
    let text = "[filesystem]\nproc = false\ndev = 'none'\nwrite = ['/tmp', '/var']";
    assert_eq!(mounts(&view(&tree, text)), ["/tmp rw", "/var rw"]);
    let text = "[filesystem]\nproc = false\ndev = 'none'\ntmp = 'host'\nexecute = ['/tmp']";
    assert_eq!(mounts(&view(&tree, text)), ["/tmp rwx", "/var/tmp rw"]);
    let text = "[filesystem]\nproc = false\ndev = 'none'\ndeny = ['/tmp', '/var']";
    assert!(mounts(&view(&tree, text)).is_empty());
}

#[test]
fn devices_are_bound_and_linked() {
    let tree = Tree::new(&["workspace/"], &[]);
    let view = view(&tree, "[filesystem]\nproc = false\ntmp = 'none'");
    assert_eq!(
        plan(&view),
        [
            "dir /dev 755",
            "link /dev/fd -> /proc/self/fd",
            "file /dev/full 444",
            "file /dev/null 444",
            "link /dev/ptmx -> pts/ptmx",
            "dir /dev/pts 755",
            "file /dev/random 444",
            "link /dev/stderr -> /proc/self/fd/2",
            "link /dev/stdin -> /proc/self/fd/0",
            "link /dev/stdout -> /proc/self/fd/1",
            "file /dev/urandom 444",
            "file /dev/zero 444",
            "/dev/full rwd",
            "/dev/null rwd",
            "/dev/pts rwd <- devpts",
            "/dev/random rwd",
            "/dev/urandom rwd",
            "/dev/zero rwd",
        ]
    );
    let null = find(&view, "/dev/null");
    assert_ne!(null.access & uapi::LANDLOCK_ACCESS_FS_IOCTL_DEV, 0);
    assert_eq!(null.access & uapi::LANDLOCK_ACCESS_FS_READ_DIR, 0);
    assert_eq!(view.lost_without_mounts, None);
}

#[test]
fn devices_can_be_listed() {
    let tree = Tree::new(&["dev/dri/", "dev/file"], &[("dev/gpu", "dri")]);
    let dev = |list: &str| format!("[filesystem]\nproc = false\ndev = {list}");
    assert_eq!(
        mounts(&view(&tree, &dev("['dri', 'shm', 'fd']"))),
        [
            "/dev/dri rwd",
            "/dev/shm rw <- skeleton",
            "/tmp rw <- skeleton",
            "/var/tmp rw <- skeleton",
        ]
    );
    assert!(plan(&view(&tree, &dev("['gpu']"))).contains(&"link /dev/gpu -> dri".to_owned()));

    let complaint = |list: &str| {
        let (_, diagnostics) = resolved(&tree, &dev(list));
        let complaint = diagnostics.iter().next().cloned().unwrap();
        (complaint.message, complaint.help)
    };
    let (message, help) = complaint("['nul']");
    assert_eq!(message, "there is no device \"nul\"");
    assert_eq!(help.unwrap(), "did you mean \"null\"?");
    assert!(complaint("['file']").0.contains("neither a device"));
    assert!(complaint("['../etc']").0.contains("not a name below /dev"));
}

#[test]
fn an_entry_below_dev_shows_usable_devices() {
    let tree = Tree::new(&["dev/dri/", "dev/shm/"], &[]);
    let view = bare(&tree, "read = ['/dev/dri']\nwrite = ['/dev/shm']");
    assert_eq!(mounts(&view), ["/dev/dri rd", "/dev/shm rw"]);
    // A read-only mount does not keep devices from being written to.
    assert!(view.needs_landlock);
}

#[test]
fn proc_is_fresh_whoever_lists_it() {
    let tree = Tree::new(&["proc/"], &[]);
    let mounts = |text: &str| {
        mounts(&view(&tree, &format!("[filesystem]\ndev = 'none'\ntmp = 'none'\n{text}")))
    };
    assert_eq!(mounts(""), ["/proc rw <- proc"]);
    assert_eq!(mounts("read = ['/proc']"), ["/proc rw <- proc"]);
    assert_eq!(mounts("deny = ['/proc']"), [""; 0]);
    assert_eq!(mounts("proc = false"), [""; 0]);
}

#[test]
fn a_host_root_has_its_moving_parts_replaced() {
    let tree = Tree::new(
        &[
            "usr/",
            "run/secret",
            "sys/",
            "proc/",
            "dev/",
            "tmp/",
            "var/tmp/",
            "workspace/",
            "home/u/.ssh/",
        ],
        &[],
    );
    let view =
        view(&tree, "[filesystem]\nroot = 'host'\nhome = 'host'\nwrite = ['.']\ndeny = ['~/.ssh']");
    assert!(matches!(view.wire().root, Root::Host { access } if access != 0));
    assert_eq!(
        mounts(&view),
        [
            "/dev r <- skeleton",
            "/dev/full rwd",
            "/dev/null rwd",
            "/dev/pts rwd <- devpts",
            "/dev/random rwd",
            "/dev/shm rw <- skeleton",
            "/dev/urandom rwd",
            "/dev/zero rwd",
            "/home/u/.ssh r <- skeleton",
            "/proc rw <- proc",
            "/run r <- skeleton",
            "/sys r <- skeleton",
            "/tmp rw <- skeleton",
            "/var/tmp rw <- skeleton",
            "/workspace rw",
        ]
    );
    assert_eq!(view.rights(Path::new("/usr/bin")), Rights::EXECUTE);
    assert_eq!(view.decide(Path::new("/usr/bin")).decider, Decider::Root);
    assert!(!view.shows(Path::new("/run/secret")));
    assert!(view.lost_without_mounts.is_some());
}

#[test]
fn a_host_root_replaces_only_what_exists() {
    let tree = Tree::new(&["usr/", "tmp/"], &[("var/tmp", "/tmp")]);
    let view = view(&tree, "[filesystem]\nroot = 'host'");
    assert_eq!(mounts(&view), ["/tmp rw <- skeleton"]);
}

#[test]
fn an_entry_shows_what_a_host_root_replaces() {
    let tree = Tree::new(&["run/user/bus", "run/lock/", "sys/"], &[("run/link", "user")]);
    let view = bare(&tree, "root = 'host'\nread = ['/run/link', '/sys']");
    assert_eq!(
        plan(&view),
        [
            "dir /run 555",
            "link /run/link -> user",
            "dir /run/user 755",
            "/run r <- skeleton",
            "/run/user r",
            "/sys r",
        ]
    );
}

#[test]
fn nothing_is_created_on_the_host() {
    let tree = Tree::new(&["usr/", "data/", "run/"], &[]);
    let found = complaints(&tree, "root = 'host'\nread = [{ path = '/data', at = '/new' }]");
    assert_eq!(found[0].0, "{ path = '/data', at = '/new' }");
    assert!(found[0].1.contains("nothing is created on the host"));
    let view = bare(&tree, "root = 'host'\nread = [{ path = '/data', at = '/run/new' }]");
    assert_eq!(mounts(&view), ["/run r <- skeleton", "/run/new r <- /data"]);
}

#[test]
fn a_narrower_entry_in_a_host_root_needs_a_mount() {
    let tree = Tree::new(&["srv/", "usr/", "opt/"], &[]);
    let view = bare(&tree, "root = 'host'\nread = ['/srv']\nexecute = ['/opt']");
    assert_eq!(mounts(&view), ["/srv r"]);
}

#[test]
fn an_image_is_judged_by_its_own_paths() {
    let tree = Tree::new(
        &[
            "img/usr/bin/sh",
            "img/etc/shadow",
            "img/proc/",
            "img/run/",
            "img/workspace/",
            "workspace/file",
            "workspace/secret",
        ],
        &[("img/bin", "usr/bin"), ("img/lib", "/usr/lib")],
    );
    let text = "root = '/img'\nproc = true\nwrite = ['/workspace']\ndeny = ['/etc/shadow', '/workspace/secret']";
    let text = format!("{BARE}{text}").replace("proc = false\n", "");
    let view = view(&tree, &text);
    assert!(matches!(view.wire().root, Root::Tree { path, .. } if path.to_bytes() == b"/img"));
    assert_eq!(
        mounts(&view),
        [
            "/run r <- skeleton",
            "/etc/shadow r <- skeleton",
            "/proc rw <- proc",
            "/workspace rw",
            "/workspace/secret r <- skeleton",
        ]
    );
    assert!(view.lost_without_mounts.is_some());
}

#[test]
fn what_is_hidden_in_a_tree_takes_a_directory_to_hide_the_skeleton_under() {
    let text = "root = '/img'\ndeny = ['/a']";
    let tree = Tree::new(&["img/a", "img/run/", "img/sys/"], &[]);
    let order = mounts(&bare(&tree, text));
    assert_eq!(order, ["/run r <- skeleton", "/a r <- skeleton", "/sys r <- skeleton"]);
    let found = complaints(&Tree::new(&["img/a"], &[]), text);
    assert!(found[0].1.contains("without a directory to replace"), "{found:?}");
}

#[test]
fn what_an_image_lacks_cannot_be_attached_to() {
    let tree = Tree::new(&["img/usr/", "workspace/"], &[]);
    let found = complaints(&tree, "root = '/img'\nwrite = ['/workspace']");
    assert!(found[0].1.contains("nothing can appear at \"/workspace\""));
    assert!(complaints(&tree, "root = '/nowhere'")[0].1.contains("does not exist"));
    assert!(complaints(&tree, "root = 'hosts'")[0].1.contains("is not a root"));
    assert!(complaints(&tree, "root = '/'")[0].1.contains("called \"host\""));
}

#[test]
fn the_hosts_network_comes_with_its_resolver_files() {
    let tree = Tree::new(
        &["etc/hosts", "run/resolve/stub.conf"],
        &[("etc/resolv.conf", "../run/resolve/stub.conf")],
    );
    let network = "[network]\naccess = 'host'\n";
    let expected = [
        "dir /etc 755",
        "file /etc/hosts 444",
        "link /etc/resolv.conf -> ../run/resolve/stub.conf",
        "dir /run 755",
        "dir /run/resolve 755",
        "file /run/resolve/stub.conf 444",
        "/etc/hosts r",
        "/run/resolve/stub.conf r",
    ];
    assert_eq!(plan(&view(&tree, &format!("{network}{BARE}"))), expected);
    let host = view(&tree, &format!("{network}{BARE}root = 'host'"));
    assert_eq!(mounts(&host), ["/run r <- skeleton", "/run/resolve/stub.conf r"]);
    let denied = view(&tree, &format!("{network}{BARE}deny = ['/run', '/etc']"));
    assert!(mounts(&denied).is_empty());
}

#[test]
fn a_socket_that_may_be_reached_is_shown() {
    let tree = Tree::new(&["run/db/socket", "workspace/socket", "run/dir/"], &[]);
    let unix = |paths: &str| format!("network.unix = {paths}\n{BARE}write = ['.']");
    let shown = view(&tree, &unix("['/run/db/socket', '/workspace/socket']"));
    assert_eq!(mounts(&shown), ["/run/db/socket r", "/workspace rw"]);
    let (_, diagnostics) = resolved(&tree, &unix("['/run/dir']"));
    assert!(diagnostics.iter().next().unwrap().message.contains("not a socket"));
}

#[test]
fn exact_mounts_say_exactly_what_is_where() {
    let tree = Tree::new(&["data/", "low/", "up/", "wk/"], &[]);
    let text = "\
        mount = [\n\
        { type = 'bind', source = '/data', target = '/mnt/data', access = ['write', 'execute'] },\n\
        { type = 'tmpfs', target = '/scratch', size = '1M', mode = 0o700 },\n\
        { type = 'proc', target = '/mnt/proc' },\n\
        { type = 'symlink', target = '/etc/mtab', content = '/proc/mounts' },\n\
        { type = 'directory', target = '/empty', mode = 0o700 },\n\
        { type = 'file', target = '/etc/motd', data = 'hello' },\n\
        { type = 'overlay', target = '/all', lower = '/low', upper = '/up', work = '/wk' },\n\
        ]";
    let view = bare(&tree, text);
    assert_eq!(
        plan(&view),
        [
            "dir /all 755",
            "dir /empty 700",
            "dir /etc 755",
            "file /etc/motd 444 hello",
            "link /etc/mtab -> /proc/mounts",
            "dir /mnt 755",
            "dir /mnt/data 755",
            "dir /mnt/proc 755",
            "dir /scratch 755",
            "/all rw <- /low /up /wk",
            "/etc/motd r <- skeleton",
            "/mnt/data rwx <- /data",
            "/mnt/proc rw <- proc",
            "/scratch rw <- tmpfs 1048576 700",
        ]
    );
    assert!(view.lost_without_mounts.is_some());
}

#[test]
fn an_exact_directory_is_as_writable_as_the_one_around_it() {
    let tree = Tree::new(&["srv/"], &[]);
    let text = "[filesystem]\nproc = false\ndev = 'none'\nmount = [\n\
                { type = 'directory', target = '/tmp/cache' },\n\
                { type = 'directory', target = '/srv/cache' } ]";
    let view = view(&tree, text);
    assert_eq!(view.rights(Path::new("/tmp/cache/x")), Rights::WRITE);
    assert_eq!(view.rights(Path::new("/srv/cache/x")), Rights::READ);
    assert!(mounts(&view).contains(&"/tmp/cache rw <- skeleton".to_owned()));
}

#[test]
fn an_exact_mount_replaces_the_entry_for_its_target() {
    let tree = Tree::new(&["data/", "srv/secret/", "srv/x/"], &[]);
    let text = "read = ['/srv']\ndeny = ['/srv/secret']\n\
                mount = [{ type = 'tmpfs', target = '/srv' }]";
    assert_eq!(mounts(&bare(&tree, text)), ["/srv rw <- tmpfs 67108864 755"]);
    let text = "read = ['/srv']\nmount = [{ type = 'bind', source = '/srv', target = '/srv' }]";
    let view = bare(&tree, text);
    assert_eq!(mounts(&view), ["/srv r"]);
    assert_eq!(view.lost_without_mounts, None);
}

#[test]
fn an_exact_mount_must_make_sense() {
    let tree = Tree::new(&["data/secret", "up/", "wk/"], &[]);
    let message = |mount: &str, rest: &str| {
        complaints(&tree, &format!("{rest}mount = [{{ {mount} }}]")).swap_remove(0).1
    };
    assert!(message("type = 'tmpfs', target = '/'", "").contains("root directory"));
    assert!(message("type = 'tmpfs', target = '/t', size = 0", "").contains("size"));
    assert!(message("type = 'directory', target = '/t', mode = 0o4755", "").contains("0o4755"));
    assert!(message("type = 'symlink', target = '/t', content = ''", "").contains("text"));
    assert!(message("type = 'bind', source = '/no', target = '/t'", "").contains("does not exist"));
    let deny = "deny = ['/data/secret']\n";
    let bind = "type = 'bind', source = '/data/secret', target = '/t'";
    assert!(message(bind, deny).contains("is denied"));
    let overlay = "type = 'overlay', target = '/t', lower = '/data', upper = '/up', work = '/wk'";
    assert!(message(overlay, deny).contains("what an entry denies"));
    let inside = "read = [{ path = '/data', at = '/t/x' }]\n";
    assert!(message("type = 'tmpfs', target = '/t'", inside).contains("file system of its own"));
    let symlink = "type = 'symlink', target = '/data/l', content = 'x'";
    assert!(message(symlink, "read = ['/data']\n").contains("can be no symlink"));
}

#[test]
fn a_path_that_the_kernel_would_take_apart_is_no_layer_of_an_overlay() {
    let tree = Tree::new(&["low/", "up/", "wk/", "a:b/", "a,b/", "a\\b/"], &[]);
    for name in ["/a:b", "/a,b", "/a\\b"] {
        for layers in [[name, "/up", "/wk"], ["/low", name, "/wk"], ["/low", "/up", name]] {
            let [lower, upper, work] = layers;
            let text = format!(
                "mount = [{{ type = 'overlay', target = '/t', lower = '{lower}', \
                 upper = '{upper}', work = '{work}' }}]"
            );
            let complaints = complaints(&tree, &text);
            assert_eq!(complaints.len(), 1, "{complaints:?}");
            assert!(complaints[0].1.contains("a layer of an overlay"), "{complaints:?}");
        }
    }
}

#[test]
fn a_bind_repeats_the_masks_of_its_source() {
    let tree = Tree::new(&["data/secret"], &[]);
    let text = "deny = ['/data/secret']\n\
                mount = [{ type = 'bind', source = '/data', target = '/t' }]";
    assert_eq!(mounts(&bare(&tree, text)), ["/t r <- /data", "/t/secret r <- skeleton"]);
}

#[test]
fn a_decision_names_the_entry() {
    let tree = Tree::new(&["a/b/", "c/"], &[]);
    let text = format!("{BARE}read = ['/c', '/a']");
    let view = view(&tree, &text);
    let Decider::Entry(place) = view.decide(Path::new("/a/b")).decider else {
        panic!("an entry decided");
    };
    assert_eq!((place.key, place.index), ("filesystem.read", 1));
    assert_eq!(&text[place.span], "'/a'");
}

#[test]
fn too_many_mounts_are_refused() {
    let files: Vec<String> = (0..=MAX_MOUNTS).map(|number| format!("d/{number}")).collect();
    let tree = Tree::new(&files.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    let entries: Vec<String> = files.iter().map(|file| format!("'/{file}'")).collect();
    let text = format!("read = [{}]", entries.join(","));
    assert!(complaints(&tree, &text)[0].1.contains(&format!("{} mounts", MAX_MOUNTS + 1)));
}

/// A small generator of repeatable numbers: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

const FILES: [&str; 8] =
    ["/f", "/a/f", "/a/b/f", "/a/b/c/f", "/a/b2/f", "/a/d/f", "/e/f", "/e/g/f"];
const DIRECTORIES: [&str; 7] = ["/a", "/a/b", "/a/b/c", "/a/b2", "/a/d", "/e", "/e/g"];
const VERBS: [&str; 4] = ["execute", "read", "write", "deny"];

/// What the entries for a path say by the letter: the deepest decides, one
/// denial denies, the rest is united.
fn by_the_letter(entries: &[(usize, &str)], path: &str) -> Rights {
    let above = entries.iter().filter(|(_, entry)| Path::new(path).starts_with(entry));
    let deepest = above.clone().map(|(_, entry)| entry.len()).max();
    let deciding = above.filter(|(_, entry)| Some(entry.len()) == deepest).map(|(verb, _)| *verb);
    if deciding.clone().any(|verb| VERBS[verb] == "deny") {
        return Rights::NONE;
    }
    deciding.fold(Rights::NONE, |rights, verb| {
        rights.union([Rights::EXECUTE, Rights::READ, Rights::WRITE][verb])
    })
}

/// What the mounts show at a path, were they attached: the host's object, and
/// what the attributes of the mount leave.
fn attached(view: &View, path: &str) -> Option<(String, Rights)> {
    let mounts: Vec<_> = view.wire().mounts.iter().collect();
    let covers = |mount: &&Mount<'_>| Path::new(path).starts_with(text(mount.target.to_bytes()));
    let top = mounts.iter().filter(covers).max_by_key(|mount| mount.target.to_bytes().len())?;
    let Source::Host { path: source, .. } = top.source else {
        return None;
    };
    let without = |attribute| top.attributes & attribute == 0;
    let rights = Rights {
        read: true,
        execute: without(MOUNT_ATTR_NOEXEC),
        write: without(MOUNT_ATTR_RDONLY),
    };
    let rest = path.strip_prefix(&text(top.target.to_bytes())).unwrap();
    Some((text(source.to_bytes()) + rest, rights))
}

/// What Landlock alone leaves: the union of the rules above a path.
fn by_landlock(view: &View, path: &str) -> Rights {
    let rules = view.wire().mounts;
    let covers = |mount: &Mount<'_>| Path::new(path).starts_with(text(mount.target.to_bytes()));
    rights(rules.iter().filter(covers).fold(0, |access, mount| access | mount.access))
}

/// What Landlock rights come to.
fn rights(access: u32) -> Rights {
    Rights {
        read: access & uapi::LANDLOCK_ACCESS_FS_READ_FILE != 0,
        execute: access & uapi::LANDLOCK_ACCESS_FS_EXECUTE != 0,
        write: access & uapi::LANDLOCK_ACCESS_FS_WRITE_FILE != 0,
    }
}

/// Random entries, as text and as verbs with their paths.
fn random_entries(random: &mut Random) -> (String, Vec<(usize, &'static str)>) {
    let entries: Vec<(usize, &str)> = (0..1 + random.below(6))
        .map(|_| {
            let all = [&FILES[..], &DIRECTORIES[..]].concat();
            (random.below(4), all[random.below(all.len())])
        })
        .collect();
    let list = |verb: usize| {
        let own = entries.iter().filter(|(own, _)| *own == verb);
        own.map(|(_, path)| format!("'{path}'")).collect::<Vec<_>>().join(",")
    };
    let text = (0..4).map(|verb| format!("{} = [{}]\n", VERBS[verb], list(verb))).collect();
    (text, entries)
}

#[test]
fn the_plan_shows_what_the_entries_say_by_the_letter() {
    let files: Vec<&str> = FILES.iter().map(|file| &file[1..]).collect();
    let tree = Tree::new(&files, &[]);
    let mut random = Random(1);
    for _ in 0..500 {
        let (text, entries) = random_entries(&mut random);
        let view = warned(&tree, &text);
        for file in FILES {
            let expected = by_the_letter(&entries, file);
            assert_eq!(view.rights(Path::new(file)), expected, "{file} under\n{text}");
            let shown = (expected != Rights::NONE).then(|| (file.to_owned(), expected));
            assert_eq!(attached(&view, file), shown, "{file} under\n{text}");
            if view.lost_without_mounts.is_none() {
                assert_eq!(by_landlock(&view, file), expected, "{file} under\n{text}");
            }
        }
    }
}

#[test]
fn no_path_shows_what_is_denied() {
    let files: Vec<&str> = FILES.iter().map(|file| &file[1..]).collect();
    let tree = Tree::new(&files, &[]);
    let mut random = Random(2);
    let mut shown = 0;
    for _ in 0..500 {
        let denied = DIRECTORIES[random.below(DIRECTORIES.len())];
        let source = DIRECTORIES[random.below(DIRECTORIES.len())];
        let other = DIRECTORIES[random.below(DIRECTORIES.len())];
        let target = [&DIRECTORIES[..], &["/x", "/x/b", "/a/b/f2"]].concat();
        let target = target[random.below(target.len())];
        let text = format!(
            "{BARE}deny = ['{denied}']\nread = ['{other}']\n\
             write = [{{ path = '{source}', at = '{target}' }}]"
        );
        let (view, diagnostics) = resolved(&tree, &text);
        if diagnostics.has_errors() {
            continue;
        }
        let names: Vec<String> = FILES.iter().map(|file| (*file).to_owned()).collect();
        let below = names.iter().map(|name| format!("{target}{name}"));
        let moved =
            names.iter().filter_map(|name| Some(target.to_owned() + name.strip_prefix(source)?));
        for path in below.chain(moved).chain(names.clone()) {
            let Some((object, _)) = attached(&view, &path) else {
                continue;
            };
            shown += 1;
            // Deeper entries reopen: `other`, and `source` at its target.
            let reopened = [source, other].iter().any(|open| {
                Path::new(open).starts_with(denied) && *open != denied && object.starts_with(open)
            });
            let hidden = Path::new(&object).starts_with(denied) && !reopened;
            assert!(!hidden, "{path} shows {object} under\n{text}");
        }
    }
    assert!(shown > 2_000, "only {shown} paths showed something");
}
