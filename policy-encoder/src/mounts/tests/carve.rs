//! What is narrower inside what is granted, where nothing is mounted.

use std::collections::BTreeMap;

use launcher_policy::enforce::Facility;

use super::*;

const CARVE: &str = "enforce.carve_out = 'siblings'\n";

/// A view that carves.
fn carving(tree: &Tree, text: &str) -> View {
    let (view, diagnostics) = resolved(tree, &format!("{CARVE}{BARE}{text}"));
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    view
}

/// The carved directories in lines: the rights that all of one has, those of
/// each thing in it, and what is left out.
fn carved(view: &View) -> Vec<String> {
    let line = |carved: launcher_policy::mounts::Carved<'_>| {
        let except: Vec<String> = carved.except.iter().map(|it| text(it.to_bytes())).collect();
        let (path, shared) = (text(carved.path.to_bytes()), words(carved.shared));
        format!("{path} {shared} {} -{}", words(carved.access), except.join(","))
    };
    view.wire().carved.iter().map(line).collect()
}

/// `l` to list, `r` to read, `w` to write, `m` to make names, `x` to execute.
fn words(access: u32) -> String {
    let letters = [
        (uapi::LANDLOCK_ACCESS_FS_READ_DIR, 'l'),
        (uapi::LANDLOCK_ACCESS_FS_READ_FILE, 'r'),
        (uapi::LANDLOCK_ACCESS_FS_WRITE_FILE, 'w'),
        (uapi::LANDLOCK_ACCESS_FS_MAKE_REG, 'm'),
        (uapi::LANDLOCK_ACCESS_FS_EXECUTE, 'x'),
    ];
    let has = letters.iter().filter(|(right, _)| access & right != 0);
    format!(".{}", has.map(|(_, letter)| letter).collect::<String>())
}

#[test]
fn a_protected_name_is_read_and_what_is_beside_it_written() {
    let tree = Tree::new(&["workspace/.git/config", "workspace/src/a"], &[]);
    let view = carving(&tree, "write = ['.']");
    assert_eq!(view.lost_without_mounts, None);
    assert_eq!(carved(&view), ["/workspace .lr .lrwm -.git"]);
    assert!(find(&view, "/workspace").carved && !find(&view, "/workspace/.git").carved);
    assert_eq!(view.offers(), [Facility::NewNames]);
}

#[test]
fn a_directory_with_a_denied_file_is_listed_and_one_with_a_denied_directory_is_not() {
    let tree = Tree::new(&["workspace/.env", "workspace/a/b/key", "workspace/a/c/"], &[]);
    let view = carving(&tree, "read = ['.']\ndeny = ['.env']");
    assert_eq!(carved(&view), ["/workspace .l .lr -.env"]);
    let view = carving(&tree, "read = ['.']\ndeny = ['a/b']");
    assert_eq!(carved(&view), ["/workspace . .lr -a", "/workspace/a . .lr -b"]);
    let view = carving(&tree, "write = ['.']\ndeny = ['a/b/key']");
    let lines =
        ["/workspace .l .lrwm -a", "/workspace/a .l .lrwm -b", "/workspace/a/b .l .lrwm -key"];
    assert_eq!(carved(&view), lines);
}

#[test]
fn what_is_wider_is_granted_by_itself() {
    let tree = Tree::new(&["workspace/a/secret", "workspace/b/"], &[]);
    let text = "read = ['.']\nwrite = ['a', 'b']\ndeny = ['a/secret']";
    let view = carving(&tree, text);
    assert_eq!(carved(&view), ["/workspace .l .lr -a", "/workspace/a .l .lrwm -secret"]);
    assert!(!find(&view, "/workspace/b").carved);
}

#[test]
fn nothing_is_carved_where_nothing_is_narrower() {
    let tree = Tree::new(&["workspace/a/"], &[]);
    let view = carving(&tree, "read = ['.']\nwrite = ['a']");
    assert!(carved(&view).is_empty() && view.offers().is_empty());
    assert!(carved(&bare(&tree, "read = ['.']\nwrite = ['a']")).is_empty());
}

#[test]
fn the_whole_host_is_carved_around_what_is_replaced() {
    let tree = Tree::new(&["usr/bin/sh", "run/x", "etc/shadow", "etc/passwd", "workspace/"], &[]);
    let view = carving(&tree, "root = 'host'\nwrite = ['.']\ndeny = ['/etc/shadow']");
    assert_eq!(view.lost_without_mounts, None);
    let lines = carved(&view);
    assert_eq!(lines, ["/ . .lrx -etc,run,workspace", "/etc .l .lrx -shadow"], "{lines:?}");
    // It has its own rights, in which nothing is narrower.
    assert!(!find(&view, "/workspace").carved);
    let refused = bare(&tree, "root = 'host'");
    assert!(refused.lost_without_mounts.is_some());
}

#[test]
fn what_is_shown_elsewhere_takes_mounts_all_the_same() {
    let tree = Tree::new(&["workspace/a/", "srv/b/x"], &[]);
    for text in [
        "read = [{ path = '/srv', at = '/data' }]",
        "write = ['.']\nread = [{ path = 'a', follow = true }]",
        "root = '/srv'",
    ] {
        assert!(carving(&tree, text).lost_without_mounts.is_some(), "{text}");
    }
}

#[test]
fn the_rights_that_are_left_are_what_the_entries_say_by_the_letter() {
    let files: Vec<&str> = FILES.iter().map(|file| &file[1..]).collect();
    let tree = Tree::new(&files, &[]);
    let mut random = Random(3);
    let mut number = 0;
    for _ in 0..500 {
        let (text, entries) = random_entries(&mut random);
        let view = carving(&tree, &text);
        assert_eq!(view.lost_without_mounts, None, "{text}");
        number += carved(&view).len();
        let granted = granted(&view);
        for file in FILES {
            let ancestors = Path::new(file).ancestors();
            let access = ancestors.filter_map(|above| granted.get(above)).fold(0, |a, b| a | b);
            let expected = by_the_letter(&entries, file);
            assert_eq!(rights(access), expected, "{file} under\n{text}{:?}", carved(&view));
        }
    }
    assert!(number > 100, "only {number} directories were carved");
}

/// The Landlock rules that the launcher makes, by path.
fn granted(view: &View) -> BTreeMap<std::path::PathBuf, u32> {
    let mut granted = BTreeMap::new();
    let mut add = |path: &Path, access| *granted.entry(path.to_owned()).or_insert(0) |= access;
    for mount in view.wire().mounts.iter().filter(|mount| !mount.carved) {
        if let Source::Host { path, .. } = mount.source {
            add(Path::new(&text(path.to_bytes())), mount.access);
        }
    }
    for carved in view.wire().carved.iter() {
        let directory = text(carved.path.to_bytes());
        let directory = Path::new(&directory);
        add(directory, carved.shared);
        let things = FILES.iter().flat_map(|file| Path::new(file).ancestors());
        for thing in things.filter(|thing| thing.parent() == Some(directory)) {
            let name = thing.file_name().unwrap_or_default();
            if !carved.except.iter().any(|it| it.to_bytes() == name.as_encoded_bytes()) {
                add(thing, carved.access);
            }
        }
    }
    granted
}
