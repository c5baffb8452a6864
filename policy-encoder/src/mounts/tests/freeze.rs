//! Directories in which no name is made.

use super::*;

const NAMES: u32 = uapi::LANDLOCK_ACCESS_FS_MAKE_REG
    | uapi::LANDLOCK_ACCESS_FS_MAKE_DIR
    | uapi::LANDLOCK_ACCESS_FS_MAKE_SYM
    | uapi::LANDLOCK_ACCESS_FS_REMOVE_FILE
    | uapi::LANDLOCK_ACCESS_FS_REMOVE_DIR
    | uapi::LANDLOCK_ACCESS_FS_REFER;

const FREEZE: &str = "protect_missing = 'freeze'\n";

/// The paths of the rules, each with whether names can be made there.
fn rules(view: &View) -> Vec<(String, bool)> {
    let rules = view.wire().rules;
    rules.iter().map(|it| (text(it.path.to_bytes()), it.access & NAMES == NAMES)).collect()
}

#[test]
fn names_are_made_below_the_children_of_a_frozen_directory_only() {
    let files =
        ["workspace/.git/", "workspace/src/a/", "workspace/docs/", "workspace/note", "w/x/"];
    let tree = Tree::new(&files, &[("workspace/link", "src")]);
    let text = format!("{FREEZE}write = ['.']\ndeny = ['docs']");
    let view = bare(&tree, &text);
    let access = find(&view, "/workspace").access;
    assert_eq!(access & NAMES, 0);
    let kept = uapi::LANDLOCK_ACCESS_FS_WRITE_FILE | uapi::LANDLOCK_ACCESS_FS_TRUNCATE;
    assert_eq!(access & kept, kept);
    assert_eq!(rules(&view), [("/workspace/src".to_owned(), true)]);
    assert!(view.needs_landlock);
    assert!(notes(&tree, &text).is_empty());
}

#[test]
fn landlock_alone_keeps_a_frozen_directory() {
    let tree = Tree::new(&["workspace/src/"], &[]);
    let view = bare(&tree, &format!("{FREEZE}write = ['.']"));
    assert_eq!(view.lost_without_mounts, None);
    assert_eq!(rules(&view).len(), 1);
}

#[test]
fn nothing_is_frozen_where_every_name_exists() {
    let names =
        [".git", ".hg", ".agents", ".codex", ".claude"].map(|name| format!("workspace/{name}/"));
    let tree = Tree::new(&names.each_ref().map(String::as_str), &[]);
    let view = bare(&tree, &format!("{FREEZE}write = ['.']"));
    assert_eq!(find(&view, "/workspace").access & NAMES, NAMES);
    assert!(rules(&view).is_empty());
    assert!(!view.needs_landlock);
}

#[test]
fn a_child_with_an_entry_of_its_own_is_granted_once() {
    let tree = Tree::new(&["workspace/run/", "workspace/same/x/", "workspace/read/"], &[]);
    let text =
        format!("{FREEZE}write = ['.', 'run', 'same']\nexecute = ['run']\nread = ['read']\n");
    let view = bare(&tree, &text);
    // `run` has a mount, and each of the others is frozen as well, or read-only.
    assert_eq!(find(&view, "/workspace/run").access & NAMES, 0);
    assert_eq!(rules(&view), [("/workspace/same/x".to_owned(), true)]);
}

#[test]
fn what_lies_in_something_writable_cannot_be_frozen() {
    let tree = Tree::new(&["workspace/a/b/", "tmp/project/", "data/sub/", "x/"], &[]);
    let complaint = |text: &str| complaints(&tree, &format!("{FREEZE}{text}"));
    let found = complaint("write = ['.', 'a/b']");
    assert!(found[0].1.contains(r#"no name in "/workspace/a/b" can be frozen"#), "{found:?}");
    assert!(found[0].1.contains(r#"inside "/workspace/a""#), "{found:?}");
    // The same directory, by its other path.
    let found = complaint("write = ['/data', { path = '/data/sub', at = '/s' }]");
    assert!(found.is_empty(), "{found:?}");
    let found = complaint(
        "write = ['/x']\nmount = [{ type = 'bind', source = '/x', target = '/y', access = ['write'] }]",
    );
    assert!(found[0].1.contains("can be frozen"), "{found:?}");
    let text = "[filesystem]\nproc = false\ndev = 'none'\nprotect_missing = 'freeze'\n\
                write = ['/tmp/project']";
    let (_, diagnostics) = resolved(&tree, text);
    assert!(
        diagnostics.iter().any(|it| it.message.contains(r#"inside "/tmp""#)),
        "{diagnostics:?}"
    );
}

#[test]
fn what_is_listed_and_missing_freezes_too() {
    let names =
        [".git", ".hg", ".agents", ".codex", ".claude"].map(|name| format!("workspace/{name}/"));
    let tree = Tree::new(&names.each_ref().map(String::as_str), &[]);
    let view = bare(&tree, &format!("{FREEZE}write = ['.']\nprotect = ['ci']"));
    assert_eq!(find(&view, "/workspace").access & NAMES, 0);
    // What is missing deeper is made where nothing is frozen.
    let found =
        complaints(&tree, &format!("{FREEZE}write = ['.']\nprotect = ['.git/../x', '.hg/y']"));
    assert!(
        found.iter().any(|(_, message)| message.contains("\".hg/y\" in \"/workspace\"")),
        "{found:?}"
    );
}
