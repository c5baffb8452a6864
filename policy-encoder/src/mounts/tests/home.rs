//! `filesystem.home`.

use super::*;

fn tree() -> Tree {
    Tree::new(&["usr/", "home/u/src/a", "home/u/.ssh/", "workspace/"], &[])
}

#[test]
fn the_home_directory_of_a_host_root_is_hidden() {
    let tree = tree();
    let view = bare(&tree, "root = 'host'");
    assert_eq!(plan(&view)[..2], ["dir /home 755", "dir /home/u 555"]);
    assert_eq!(mounts(&view)[0], "/home/u r <- skeleton");
    assert!(view.shows(Path::new("/home/u")) && !view.shows(Path::new("/home/u/.ssh")));
    let decider = view.decide(Path::new("/home/u")).decider;
    assert_eq!(decider, Decider::BuiltIn("filesystem.home"));
    assert!(mounts(&bare(&tree, "root = 'host'\nhome = 'host'")).is_empty());
    assert!(mounts(&bare(&tree, "")).is_empty());
}

#[test]
fn entries_below_the_home_directory_are_visible_in_it() {
    let tree = tree();
    let view = bare(&tree, "root = 'host'\nwrite = ['~/src']");
    assert_eq!(mounts(&view), ["/home/u r <- skeleton", "/home/u/src rw"]);
    let view = bare(&tree, "home = 'private'\nread = ['~/src']");
    assert_eq!(
        plan(&view),
        [
            "dir /home 755",
            "dir /home/u 700",
            "dir /home/u/src 755",
            "/home/u rw <- skeleton",
            "/home/u/src r",
        ]
    );
    assert_eq!(view.rights(Path::new("/home/u/new")), Rights::WRITE);
    assert_eq!(view.wire().skeleton_size, 256 << 20);
    assert_eq!(view.lost_without_mounts, None);
}

#[test]
fn the_default_gives_way_to_an_entry_that_shows_the_home_directory() {
    let tree = tree();
    for entry in ["'~'", "'/home'"] {
        let view = bare(&tree, &format!("root = 'host'\nwrite = [{entry}]"));
        assert!(!mounts(&view).iter().any(|line| line.contains("skeleton")), "{entry}");
    }
    let view = bare(&tree, "root = 'host'\ndeny = ['/home']");
    assert_eq!(mounts(&view), ["/home r <- skeleton"]);
}

#[test]
fn a_word_gives_way_to_nothing() {
    let tree = tree();
    let view = bare(&tree, "read = ['/home']\nhome = 'hidden'");
    assert_eq!(mounts(&view), ["/home r", "/home/u r <- skeleton"]);
    let view = bare(&tree, "read = ['/home']\nhome = 'private'");
    assert_eq!(mounts(&view), ["/home r", "/home/u rw <- skeleton"]);
    // Nothing of the host's is in a private one, so nothing in it is hidden.
    let view = bare(&tree, "read = ['/home', '~/src']\ndeny = ['~/.ssh']\nhome = 'private'");
    assert_eq!(mounts(&view), ["/home r", "/home/u rw <- skeleton", "/home/u/src r"]);
    // A denied home shows nothing of the host's, as either word has it.
    let view = bare(&tree, "read = ['/home']\ndeny = ['~']\nhome = 'private'");
    assert_eq!(mounts(&view), ["/home r", "/home/u rw <- skeleton"]);
    let view = bare(&tree, "read = ['/home']\ndeny = ['~']\nhome = 'hidden'");
    assert_eq!(mounts(&view), ["/home r", "/home/u r <- skeleton"]);
    for home in ["private", "hidden"] {
        let found = complaints(&tree, &format!("read = ['~']\nhome = '{home}'"));
        assert!(found[0].1.contains("filesystem.read names as well"), "{found:?}");
        assert_eq!(found[0].0, format!("'{home}'"));
    }
}

#[test]
fn a_private_home_directory_has_any_root() {
    let tree = tree();
    for root in ["empty", "minimal", "host"] {
        let view = bare(&tree, &format!("root = '{root}'\nhome = 'private'"));
        assert!(mounts(&view).contains(&"/home/u rw <- skeleton".to_owned()), "{root}");
    }
    let bare_tree = Tree::new(&["usr/"], &[]);
    assert_eq!(mounts(&bare(&bare_tree, "home = 'private'")), ["/home/u rw <- skeleton"]);
    let found = complaints(&bare_tree, "root = 'host'\nhome = 'private'");
    assert!(found[0].1.contains("nothing is created on the host"), "{found:?}");
    assert!(mounts(&bare(&bare_tree, "root = 'host'")).is_empty());
}

fn at(home: Option<&str>, tree: &Tree, text: &str) -> (View, Vec<String>) {
    let mut place = place(tree);
    place.variables = home.map(|home| ("HOME".to_owned(), home.into())).into_iter().collect();
    let mut diagnostics = Diagnostics::default();
    let view = resolve(&document(text), &place, &mut diagnostics);
    if !diagnostics.has_errors() {
        assert_encodes(&view);
    }
    (view, crate::tests::messages(&diagnostics.without_notes()))
}

#[test]
fn without_a_home_directory_nothing_is_hidden() {
    let tree = tree();
    for home in [None, Some("/"), Some("")] {
        let text = format!("{BARE}root = 'host'");
        let (view, complaints) = at(home, &tree, &text);
        assert!(mounts(&view).is_empty() && complaints.is_empty(), "{home:?}");
        let (_, complaints) = at(home, &tree, &format!("{text}\nhome = 'private'"));
        assert!(complaints[0].contains("there is no home directory"), "{complaints:?}");
    }
}

#[test]
fn a_home_directory_may_be_a_symlink() {
    let tree = Tree::new(&["data/u/src/", "usr/"], &[("home/u", "/data/u")]);
    let view = bare(&tree, "root = 'host'");
    assert_eq!(mounts(&view), ["/data/u r <- skeleton"]);
    let view = bare(&tree, "home = 'private'\nread = ['/data/u/src']");
    assert_eq!(mounts(&view), ["/data/u rw <- skeleton", "/data/u/src r"]);
    assert_eq!(view.rights(Path::new("/home/u/x")), Rights::WRITE);
}

#[test]
fn a_home_directory_may_be_a_temporary_one() {
    let tree = Tree::new(&["tmp/u/x", "var/tmp/"], &[]);
    let text = "[filesystem]\nproc = false\ndev = 'none'\nroot = 'host'\n";
    let private = ["/tmp rw <- skeleton", "/var/tmp rw <- skeleton"];
    assert_eq!(mounts(&at(Some("/tmp/u"), &tree, text).0), private);
    let (view, _) = at(Some("/tmp/u"), &tree, &format!("{text}home = 'private'"));
    assert_eq!(mounts(&view)[1], "/tmp/u rw <- skeleton");
    let (view, _) = at(Some("/tmp"), &tree, &format!("{text}home = 'private'"));
    assert_eq!(mounts(&view), private);
    let (view, _) = at(Some("/tmp/u"), &tree, &format!("{text}home = 'hidden'"));
    assert_eq!(mounts(&view), private);
}

#[test]
fn an_image_has_its_home_directory_hidden_too() {
    let tree = Tree::new(&["img/home/u/.ssh/", "img/usr/"], &[]);
    assert_eq!(mounts(&bare(&tree, "root = '/img'")), ["/home/u r <- skeleton"]);
}
