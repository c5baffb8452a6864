//! Patterns.

use super::*;

/// What the patterns of a document matched, as the bytes say it.
fn matched(view: &View) -> Vec<(String, u32)> {
    let globs = view.origin().globs;
    globs.iter().map(|glob| (text(glob.pattern.to_bytes()), glob.matched)).collect()
}

#[test]
fn a_pattern_denies_what_matches_below_each_entry() {
    let files = ["workspace/.env", "workspace/a/b/.env", "workspace/a/env", "srv/.env", "opt/.env"];
    let tree = Tree::new(&files, &[]);
    let view = bare(&tree, "write = ['.']\nread = ['/srv']\ndeny = ['**/.env']");
    assert_eq!(
        mounts(&view),
        [
            "/srv r",
            "/srv/.env r <- skeleton",
            "/workspace rw",
            "/workspace/.env r <- skeleton",
            "/workspace/a rw",
            "/workspace/a/b rw",
            "/workspace/a/b/.env r <- skeleton",
        ]
    );
    assert_eq!(matched(&view), [("**/.env".to_owned(), 3)]);
    assert_ne!(view.origin().expanded_at, 0);
    let Decider::Entry(place) = view.decide(Path::new("/srv/.env")).decider else {
        panic!("an entry decided");
    };
    assert_eq!((place.key, place.index), ("filesystem.deny", 0));
}

#[test]
fn a_star_stays_in_its_directory() {
    let tree = Tree::new(&["workspace/a.key", "workspace/sub/b.key", "workspace/c.key/x"], &[]);
    let denied = |pattern: &str| {
        let view = bare(&tree, &format!("read = ['.']\ndeny = ['{pattern}']"));
        mounts(&view).into_iter().filter(|line| line.contains("skeleton")).count()
    };
    assert_eq!(denied("*.key"), 2);
    assert_eq!(denied("./*.key"), 2);
    assert_eq!(denied("**/*.key"), 3);
    assert_eq!(denied("sub/?.key"), 1);
    assert_eq!(denied("[a-b].key"), 1);
}

#[test]
fn an_absolute_pattern_starts_at_its_literal_beginning() {
    let files = ["home/u/.config/a/token", "home/u/.config/b/token", "workspace/token"];
    let tree = Tree::new(&files, &[]);
    let text = "read = ['~', '.']\ndeny = ['~/.config/*/token']";
    let view = bare(&tree, text);
    assert_eq!(matched(&view), [("~/.config/*/token".to_owned(), 2)]);
    assert_eq!(view.rights(Path::new("/workspace/token")), Rights::READ);
    assert_eq!(view.rights(Path::new("/home/u/.config/a/token")), Rights::NONE);
}

#[test]
fn the_value_of_a_variable_is_no_pattern() {
    let tree = Tree::new(&["h*/a.key", "hx/a.key"], &[]);
    let mut place = place(&tree);
    place.variables.insert("HOME".into(), "/h*".into());
    let document = document(&format!("{BARE}deny = ['~/*.key']"));
    let mut diagnostics = Diagnostics::default();
    let mut read = document.clone();
    read.filesystem.read = [r"/hx", r"/h*"]
        .map(|path| {
            let table =
                crate::document::EntryTable { path: Some(path.into()), ..Default::default() };
            crate::document::Entry::Table(table).into()
        })
        .into();
    let view = resolve(&read, &place, &mut diagnostics);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    assert_eq!(view.rights(Path::new("/h*/a.key")), Rights::NONE);
    assert_eq!(view.rights(Path::new("/hx/a.key")), Rights::READ);
}

#[test]
fn a_pattern_protects_below_writable_entries() {
    let tree = Tree::new(&["workspace/a/CODEOWNERS", "srv/CODEOWNERS"], &[]);
    let view = bare(&tree, "write = ['.']\nread = ['/srv']\nprotect = ['**/CODEOWNERS']");
    assert_eq!(
        mounts(&view),
        ["/srv r", "/workspace rw", "/workspace/a rw", "/workspace/a/CODEOWNERS r"]
    );
    assert_eq!(matched(&view), [("**/CODEOWNERS".to_owned(), 1)]);
}

#[test]
fn a_walk_follows_no_symlink_but_a_match_is_resolved() {
    let tree = Tree::new(
        &["workspace/", "data/.env", "data/secret"],
        &[("workspace/link", "/data"), ("workspace/x.env", "/data/secret")],
    );
    let view = bare(&tree, "read = ['.', '/data']\ndeny = ['*.env']");
    // `/data/.env` is a match of its own, `/data/secret` through the symlink.
    assert_eq!(matched(&view), [("*.env".to_owned(), 2)]);
    assert_eq!(view.rights(Path::new("/data/secret")), Rights::NONE);
    let found = complaints(&tree, "write = ['.']\nread = ['/data']\ndeny = ['x.*']");
    assert!(found[0].1.contains("can be replaced"), "{found:?}");
}

#[test]
fn the_table_form_is_always_literal() {
    let tree = Tree::new(&["workspace/*", "workspace/x"], &[]);
    let view = bare(&tree, "read = ['.']\ndeny = [{ path = '*' }]");
    assert_eq!(mounts(&view), ["/workspace r", "/workspace/* r <- skeleton"]);
    assert!(matched(&view).is_empty());
    assert_eq!(view.origin().expanded_at, 0);
}

#[test]
fn a_pattern_that_matches_nothing_is_a_warning_and_others_are_notes() {
    let tree = Tree::new(&["workspace/a"], &[]);
    assert_eq!(
        complaints(&tree, "read = ['.']\ndeny = ['**/.env']"),
        [("'**/.env'".to_owned(), r#""**/.env" matches nothing"#.to_owned())]
    );
    assert_eq!(complaints(&tree, "read = ['.']\ndeny = ['/nowhere/*']").len(), 1);
    assert_eq!(notes(&tree, "read = ['.']\ndeny = ['*']"), [r#""*" matches 1 path"#]);
}

#[test]
fn a_pattern_must_make_sense() {
    let tree = Tree::new(&["workspace/a"], &[]);
    let message = |text: &str| complaints(&tree, text).swap_remove(0).1;
    assert!(message("read = ['.']\ndeny = ['[a']").contains("\"[a\" is not a pattern: unclosed"));
    assert!(message("read = ['.']\ndeny = ['../*']").contains("`..`"));
    assert!(message("read = ['*']").contains("a pattern can deny and protect, not grant"));
    assert!(message("write = ['.', '~/*']").contains("not grant"));
}

#[test]
fn what_a_denied_directory_holds_is_not_counted_unless_it_is_reopened() {
    let tree = Tree::new(&["workspace/key/a.key", "workspace/key/open/b.key"], &[]);
    let view = warned(&tree, "read = ['.']\ndeny = ['key*', '**/*.key']");
    assert_eq!(matched(&view).iter().map(|(_, number)| *number).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn what_is_reopened_in_a_denied_directory_is_searched() {
    let tree = Tree::new(&["workspace/key/a.key", "workspace/key/open/b.key"], &[]);
    let view = bare(&tree, "read = ['.', 'key/open']\ndeny = ['key*', '**/*.key']");
    assert_eq!(view.rights(Path::new("/workspace/key/open/x")), Rights::READ);
    assert_eq!(view.rights(Path::new("/workspace/key/open/b.key")), Rights::NONE);
}

#[test]
fn too_many_matches_are_refused() {
    let files: Vec<String> = (0..=MAX_MOUNTS).map(|number| format!("d/{number}")).collect();
    let tree = Tree::new(&files.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    let found = complaints(&tree, "read = ['/d']\ndeny = ['*']");
    assert!(found.iter().any(|(_, it)| it.contains("match more than 16384 paths")), "{found:?}");
}
