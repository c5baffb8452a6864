//! Groups, variables, bytes.

use super::*;

#[test]
fn a_group_stands_for_its_members_that_exist() {
    let files =
        ["home/u/.ssh/id", "home/u/.cargo/credentials.toml", "home/u/.bash_history", "home/u/x"];
    let tree = Tree::new(&files, &[]);
    let text = format!("{BARE}read = ['~']\ndeny = ['@credentials']");
    let view = view(&tree, &text);
    assert_eq!(
        mounts(&view),
        [
            "/home/u r",
            "/home/u/.bash_history r <- skeleton",
            "/home/u/.cargo/credentials.toml r <- skeleton",
            "/home/u/.ssh r <- skeleton",
        ]
    );
    let Decider::Entry(place) = view.decide(Path::new("/home/u/.ssh")).decider else {
        panic!("an entry decided");
    };
    assert_eq!(&text[place.span], "'@credentials'");
}

#[test]
fn the_system_is_what_a_minimal_root_shows() {
    let tree =
        Tree::new(&["usr/bin/sh", "etc/passwd", "etc/shadow", "etc/hosts"], &[("bin", "usr/bin")]);
    let view = bare(&tree, "execute = ['@system']");
    assert_eq!(mounts(&view), ["/etc/passwd rx", "/usr rx"]);
    assert!(plan(&view).contains(&"link /bin -> usr/bin".to_owned()));
    assert_eq!(mounts(&bare(&tree, "read = ['@resolver']")), ["/etc/hosts r"]);
    assert!(mounts(&bare(&tree, "read = ['@certificates', '@time-zone']")).is_empty());
}

#[test]
fn an_unknown_group_is_an_error() {
    let tree = Tree::new(&["workspace/@x"], &[]);
    let (_, diagnostics) = resolved(&tree, &format!("{BARE}read = ['@credential']"));
    let diagnostic = diagnostics.iter().next().unwrap();
    assert_eq!(diagnostic.message, "there is no group \"@credential\"");
    assert_eq!(diagnostic.help.as_deref(), Some("did you mean \"@credentials\"?"));
    let (_, diagnostics) = resolved(&tree, &format!("{BARE}read = ['@x']"));
    assert!(diagnostics.iter().next().unwrap().help.as_ref().unwrap().contains("./@x"));
    for entry in ["'./@x'", "{ path = '@x' }"] {
        assert_eq!(mounts(&bare(&tree, &format!("read = [{entry}]"))), ["/workspace/@x r"]);
    }
}

#[test]
fn without_a_home_directory_its_members_are_left_out() {
    let tree = Tree::new(&["home/u/.ssh/"], &[]);
    let nowhere = Place { variables: [].into(), ..place(&tree) };
    let mut diagnostics = Diagnostics::default();
    let document = document(&format!("{BARE}read = ['/home']\ndeny = ['@credentials']"));
    let view = resolve(&document, &nowhere, &mut diagnostics);
    assert_eq!(mounts(&view), ["/home r"]);
    assert_eq!(diagnostics.iter().next(), None);
}

#[test]
fn variables_have_customary_values() {
    let tree = Tree::new(&["home/u/.cache/x/", "workspace/a"], &[]);
    let view = bare(&tree, "read = ['$XDG_CACHE_HOME/x', '${CWD}/a']");
    assert_eq!(mounts(&view), ["/home/u/.cache/x r", "/workspace/a r"]);
    assert!(complaints(&tree, "read = ['$XDG_RUNTIME_DIR']")[0].1.contains("is not set"));
}

#[test]
fn a_path_may_be_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let tree = Tree::new(&["tmp/"], &[]);
    let name = OsStr::from_bytes(b"tmp\xff");
    std::fs::create_dir(tree.path().join(name)).unwrap();
    let view = bare(&tree, "read = [{ bytes = '2f746d70ff', at = '/x' }, { bytes = '2f746D70' }]");
    assert_eq!(view.wire().mounts.iter().count(), 2);
    let complaint = |bytes: &str| {
        complaints(&tree, &format!("read = [{{ bytes = '{bytes}' }}]")).swap_remove(0).1
    };
    assert!(complaint("2f7").contains("is not hexadecimal: odd number of digits"));
    assert!(complaint("zz").contains("is not hexadecimal"));
    assert!(complaint("746d70").contains("absolute"));
    assert!(complaint("2f00").contains("NUL"));
    assert!(complaint("2f7e").contains("\"/~\" does not exist"));
    let both = complaints(&tree, "read = [{ path = '/tmp', bytes = '2f' }]");
    assert!(both[0].1.contains("either a `path`"));
}
