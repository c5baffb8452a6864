//! What is legal, but dangerous or without effect.

use super::*;

fn warnings(tree: &Tree, text: &str) -> Vec<(String, String)> {
    let found = complaints(tree, text);
    assert!(!resolved(tree, &format!("{BARE}{text}")).1.has_errors(), "{found:?}");
    found
}

#[test]
fn a_writable_directory_on_path_is_dangerous() {
    let tree = Tree::new(&["opt/bin/sh", "usr/local/bin/"], &[]);
    let found = warnings(&tree, "write = ['/usr/local']\nexecute = ['/usr/local']");
    assert!(found[0].1.contains("\"/usr/local/bin\" is on PATH"), "{found:?}");
    assert!(warnings(&tree, "write = ['/usr/local']").is_empty());
    let text = "write = ['/opt']\nexecute = ['/opt']\n[process.env]\n";
    assert!(warnings(&tree, text).is_empty());
    assert_eq!(warnings(&tree, &format!("{text}set = {{ PATH = '/bin:/opt/bin' }}")).len(), 1);
    let kept = "write = ['/usr/local']\nexecute = ['/usr/local']\nprocess.env.keep = ['PATH']";
    assert!(warnings(&tree, &kept.replace("process.env.keep", "[process.env]\nkeep")).is_empty());
}

#[test]
fn a_file_with_another_name_is_still_reached_by_that() {
    let tree = Tree::new(&["workspace/a", "workspace/.git", "workspace/c"], &[]);
    for (file, link) in [("a", "b"), (".git", "git")] {
        let workspace = tree.path().join("workspace");
        std::fs::hard_link(workspace.join(file), workspace.join(link)).unwrap();
    }
    let found = warnings(&tree, "write = ['.']\ndeny = ['a', 'c']\nprotect = ['.git']");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|(place, it)| place == "'a'" && it.contains("still be read")));
    assert!(found.iter().any(|(_, it)| it.contains("still be written")));
}

#[test]
fn an_entry_that_another_makes_void_is_named() {
    let tree = Tree::new(&["workspace/"], &[("link", "/workspace")]);
    let found = |text: &str| warnings(&tree, text);
    for (text, place) in [
        ("read = ['.']\nwrite = ['/workspace']", "'.'"),
        ("read = ['.']\nexecute = ['.']", "'.'"),
        ("read = ['.', '/workspace']", "'/workspace'"),
    ] {
        let found = found(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, place);
        assert!(found[0].1.contains("grants read as well"), "{found:?}");
    }
    assert!(found("execute = ['.']\nwrite = ['.']").is_empty());
    // A symlink of its own, another place.
    assert!(found("read = ['.', '/link', { path = '.', at = '/x' }]").is_empty());
    let contradictory = found("read = ['.']\ndeny = ['.']");
    assert_eq!(contradictory.len(), 1);
    assert!(contradictory[0].1.contains("is denied as well"));
}

#[test]
fn a_denial_of_what_nothing_shows_is_void() {
    let tree = Tree::new(&["srv/a/", "workspace/x/y/", "home/u/.ssh/", "tmp/x/"], &[]);
    let void =
        |text: &str| warnings(&tree, text).iter().any(|(_, it)| it.contains("denies nothing"));
    assert!(void("read = ['.']\ndeny = ['/srv']"));
    assert!(void("read = ['.']\ndeny = ['x', 'x/y']"));
    assert!(!void("read = ['.']\ndeny = ['x']"));
    // What is reopened, what a root shows, what is built in, a group.
    assert!(!void("read = ['/srv/a']\ndeny = ['/srv']"));
    assert!(!void("root = 'host'\ndeny = ['/srv', '~/.ssh']"));
    assert!(!void("deny = ['/tmp', '/tmp/x']"));
    assert!(!void("read = ['.']\ndeny = [{ path = '/srv', missing = 'skip' }]"));
    assert!(!void("deny = ['@credentials']"));
    assert!(!void("read = [{ path = '/srv', at = '/s' }]\ndeny = ['/srv/a']"));
}
