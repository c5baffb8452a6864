//! Protected names.

use super::*;

#[test]
fn a_repository_is_read_only_in_a_writable_directory() {
    let tree = Tree::new(&["workspace/.git/hooks/x", "workspace/.claude/x", "workspace/src/"], &[]);
    let view = bare(&tree, "write = ['.']\nexecute = ['.']");
    assert_eq!(mounts(&view), ["/workspace rwx", "/workspace/.claude rx", "/workspace/.git rx"]);
    assert_eq!(view.rights(Path::new("/workspace/.git/hooks/new")), Rights::EXECUTE);
    let decision = view.decide(Path::new("/workspace/.git/hooks"));
    assert_eq!(decision.decider, Decider::BuiltIn("filesystem.protect"));
    assert!(view.lost_without_mounts.unwrap().contains("\"/workspace/.claude\" (execute)"));
}

#[test]
fn a_worktrees_file_is_protected_like_a_repository() {
    let tree = Tree::new(&["workspace/.git"], &[]);
    assert_eq!(mounts(&bare(&tree, "write = ['.']")), ["/workspace rw", "/workspace/.git r"]);
}

#[test]
fn names_are_protected_directly_inside_an_entry_only() {
    let tree = Tree::new(&["workspace/sub/.git/x", "workspace/sub2/.git/x"], &[]);
    assert_eq!(mounts(&bare(&tree, "write = ['.']")), ["/workspace rw"]);
    assert_eq!(
        mounts(&bare(&tree, "write = ['.', 'sub']")),
        ["/workspace rw", "/workspace/sub rw", "/workspace/sub/.git r"]
    );
    assert!(mounts(&bare(&tree, "read = ['.']\nprotect = ['sub']")).len() == 1);
}

#[test]
fn what_the_document_names_is_not_protected() {
    let tree = Tree::new(&["workspace/.git/hooks/", "workspace/.git/objects/"], &[]);
    assert_eq!(mounts(&bare(&tree, "write = ['.', '.git']")), ["/workspace rw"]);
    assert_eq!(
        mounts(&bare(&tree, "write = ['.', '.git/objects']")),
        ["/workspace rw", "/workspace/.git r", "/workspace/.git/objects rw"]
    );
    assert_eq!(
        mounts(&bare(&tree, "write = ['.']\ndeny = ['.git']")),
        ["/workspace rw", "/workspace/.git r <- skeleton"]
    );
}

#[test]
fn a_document_adds_names_and_paths() {
    let tree = Tree::new(&["workspace/ci/deploy/key", "workspace/Makefile", "srv/Makefile"], &[]);
    let text = "write = ['.', '/srv']\nprotect = ['Makefile', './ci/deploy', '/srv/none']";
    let view = bare(&tree, "write = ['.', '/srv']\nprotect = ['Makefile']");
    assert_eq!(
        mounts(&view),
        ["/srv rw", "/srv/Makefile r", "/workspace rw", "/workspace/Makefile r"]
    );
    let Decider::Entry(place) = view.decide(Path::new("/srv/Makefile")).decider else {
        panic!("an entry decided");
    };
    assert_eq!((place.key, place.index), ("filesystem.protect", 0));
    let view = warned(&tree, text);
    // The way to a deeper path cannot be renamed away.
    assert_eq!(
        mounts(&view)[2..],
        ["/workspace rw", "/workspace/Makefile r", "/workspace/ci rw", "/workspace/ci/deploy r"]
    );
    assert_eq!(
        complaints(&tree, text),
        [
            ("'/srv/none'".to_owned(), r#""/srv/none" does not exist: it can be created"#.into()),
            (
                "'./ci/deploy'".to_owned(),
                r#""ci/deploy" in "/srv" does not exist: it can be created"#.into()
            ),
        ]
    );
}

#[test]
fn an_absolute_path_is_protected_wherever_it_can_be_written() {
    let tree = Tree::new(&["workspace/a/key", "home/u/.ssh/"], &[]);
    let text = "write = ['.', '~']\nprotect = ['$CWD/a', '@credentials']";
    assert_eq!(
        mounts(&bare(&tree, text)),
        ["/home/u rw", "/home/u/.ssh r", "/workspace rw", "/workspace/a r"]
    );
}

#[test]
fn a_name_is_protected_at_every_path_it_appears_at() {
    let tree = Tree::new(&["data/p/.git/", "data/.git/"], &[]);
    let view = bare(&tree, "write = [{ path = '/data', at = '/w' }, '/data/p']");
    assert_eq!(
        mounts(&view),
        [
            "/data/p rw",
            "/data/p/.git r",
            "/w rw <- /data",
            "/w/.git r <- /data/.git",
            "/w/p rw <- /data/p",
            "/w/p/.git r <- /data/p/.git",
        ]
    );
    // What is not in view by its own path does not come into view.
    assert_eq!(view.rights(Path::new("/data/.git")), Rights::NONE);
}

#[test]
fn a_symlink_that_can_be_replaced_cannot_be_protected() {
    let tree = Tree::new(
        &["workspace/", "data/repository/"],
        &[("workspace/.git", "/data/repository"), ("workspace/.hg", "/gone")],
    );
    let found = complaints(&tree, "write = ['.']");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].1.contains("\"/workspace/.git\" is a symlink to what is protected"));
    assert!(found[1].1.contains("\"/workspace/.hg\" is a symlink to what is protected"));
    let given_up = "write = ['.', '.git', { path = '.hg', missing = 'skip' }]";
    assert_eq!(complaints(&tree, given_up).len(), 1);
}

#[test]
fn what_can_be_created_is_said() {
    let tree = Tree::new(&["workspace/.git/", "srv/.git/", "srv/.hg/", "srv/.agents/"], &[]);
    assert_eq!(
        notes(&tree, "write = ['.', '/srv']"),
        [
            r#".codex, .claude do not exist in "/srv": they can be created"#,
            r#".hg, .agents, .codex, .claude do not exist in "/workspace": they can be created"#,
        ]
    );
    let listed = |entry: &str| complaints(&tree, &format!("write = ['.']\nprotect = [{entry}]"));
    assert!(listed("'x'")[0].1.contains(r#""x" in "/workspace" does not exist"#));
    assert!(listed("{ path = 'x', missing = 'skip' }").is_empty());
    assert!(
        resolved(
            &tree,
            &format!("{BARE}write = ['.']\nprotect = [{{ path = 'x', missing = 'fail' }}]")
        )
        .1
        .has_errors()
    );
}

#[test]
fn a_protected_entry_must_make_sense() {
    let tree = Tree::new(&["workspace/"], &[]);
    let message = |entry: &str| {
        complaints(&tree, &format!("write = ['.']\nprotect = [{entry}]")).swap_remove(0).1
    };
    for entry in ["'.'", "'../x'", "'a/../..'", "'/'"] {
        assert!(message(entry).contains("names nothing inside a writable entry"), "{entry}");
    }
    assert!(message("{ fd = 5 }").contains("a protected entry has a `path`"));
    assert!(message("{ path = 'x', at = '/y' }").contains("a protected entry has a `path`"));
    assert!(message("{ missing = 'skip' }").contains("needs either a `path`"));
    assert!(message("'$NOWHERE/x'").contains("`$NOWHERE` is not set"));
}

#[test]
fn what_a_descriptor_leads_to_is_not_protected_and_that_is_said() {
    let tree = Tree::new(&["v1/"], &[("current", "v1")]);
    let text = "write = [{ fd = 5, at = '/w' }, { path = '/current', follow = true }]";
    assert_eq!(notes(&tree, text).len(), 2);
    let listed = complaints(&tree, &format!("{text}\nprotect = ['x']"));
    assert!(listed.iter().all(|(_, message)| message.contains("known at the launch")));
    assert_eq!(listed.len(), 2, "{listed:?}");
    let frozen = format!("{BARE}{text}\nprotect_missing = 'freeze'");
    assert!(resolved(&tree, &frozen).1.has_errors());
}

#[test]
fn an_exact_mount_is_exact_but_shows_nothing_protected_writable() {
    let tree = Tree::new(&["workspace/.git/", "data/.git/"], &[]);
    let text = "write = ['.']\nmount = [\n\
        { type = 'bind', source = '/data', target = '/d', access = ['write'] },\n\
        { type = 'bind', source = '/workspace', target = '/w', access = ['write'] } ]";
    assert_eq!(
        mounts(&bare(&tree, text)),
        [
            "/d rw <- /data",
            "/w rw <- /workspace",
            "/w/.git r <- /workspace/.git",
            "/workspace rw",
            "/workspace/.git r",
        ]
    );
}
