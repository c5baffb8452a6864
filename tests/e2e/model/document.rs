//! Random documents over a tree.

use fastrand::Rng;
use toml::{Table, Value};

use super::tree::{Item, Tree};

/// What keeps the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    Namespaces,
    Landlock,
}

/// A `[filesystem]` with entries of every verb; with few denials where there is
/// Landlock alone, which takes nothing back.
pub(super) fn random(rng: &mut Rng, tree: &Tree, rung: Rung) -> String {
    let mut filesystem = Table::new();
    let whole = rung == Rung::Namespaces && rng.u8(0..5) == 0;
    let root = if whole { "host" } else { "empty" };
    filesystem.insert("root".into(), root.into());
    let private = rng.bool();
    let denials = if rung == Rung::Landlock { 2 } else { 4 };
    for (verb, most) in [("read", 3), ("execute", 3), ("write", 4), ("deny", denials)] {
        let number = rng.usize(0..most);
        let entries = (0..number).map(|_| entry(rng, tree, verb)).collect();
        filesystem.insert(verb.into(), Value::Array(entries));
    }
    if rung == Rung::Namespaces && rng.u8(0..3) == 0 {
        let mounts = (0..rng.usize(1..3)).map(|_| mount(rng, tree)).collect();
        filesystem.insert("mount".into(), Value::Array(mounts));
    }
    if rng.u8(0..3) == 0 {
        let names = ["a", "d/a", "d/.git", "**/b", "absent"];
        let number = rng.usize(0..names.len());
        let names = (0..number).map(|_| names[rng.usize(..names.len())].into()).collect();
        filesystem.insert("protect".into(), Value::Array(names));
    }
    if rng.u8(0..4) == 0 {
        filesystem.insert("protect_missing".into(), "freeze".into());
    }
    let mut document = Table::new();
    if rung == Rung::Landlock || !private {
        filesystem.insert("tmp".into(), "none".into());
    }
    filesystem.insert("proc".into(), false.into());
    filesystem.insert("dev".into(), "none".into());
    if rung == Rung::Landlock {
        let network = Table::from_iter([("unix".to_owned(), "host".into())]);
        document.insert("network".into(), network.into());
        let waive = Value::Array(vec!["execute".into()]);
        let mut enforce: Table =
            [("namespaces".to_owned(), "off".into()), ("waive".to_owned(), waive)]
                .into_iter()
                .collect();
        if rng.bool() {
            enforce.insert("carve_out".into(), "siblings".into());
        }
        document.insert("enforce".into(), enforce.into());
    }
    document.insert("filesystem".into(), filesystem.into());
    document.to_string()
}

/// The same document with something taken away, and now and then something
/// added.
pub(super) fn narrowed(rng: &mut Rng, tree: &Tree, text: &str) -> String {
    let mut document: Table = text.parse().expect("it was written as TOML");
    let filesystem = document.get_mut("filesystem").and_then(Value::as_table_mut);
    let filesystem = filesystem.expect("every document has one");
    for verb in ["read", "execute", "write"] {
        let list = filesystem.get_mut(verb).and_then(Value::as_array_mut);
        if let Some(list) = list.filter(|list| !list.is_empty()).filter(|_| rng.bool()) {
            list.remove(rng.usize(..list.len()));
        }
    }
    for (verb, times) in [("deny", rng.usize(0..3)), ("read", rng.usize(0..4) / 3)] {
        let entries: Vec<Value> = (0..times).map(|_| entry(rng, tree, verb)).collect();
        let list = filesystem.get_mut(verb).and_then(Value::as_array_mut);
        list.expect("every document has all verbs").extend(entries);
    }
    document.to_string()
}

/// The same document with every object at its own path.
pub(super) fn in_place(text: &str) -> String {
    let mut document: Table = text.parse().expect("it was written as TOML");
    let filesystem = document.get_mut("filesystem").and_then(Value::as_table_mut);
    let filesystem = filesystem.expect("every document has one");
    filesystem.remove("mount");
    for list in filesystem.iter_mut().filter_map(|(_, value)| value.as_array_mut()) {
        for table in list.iter_mut().filter_map(Value::as_table_mut) {
            table.remove("at");
        }
    }
    document.to_string()
}

fn entry(rng: &mut Rng, tree: &Tree, verb: &str) -> Value {
    let items: Vec<_> = tree.items.iter().collect();
    let (path, item) = items[rng.usize(..items.len())];
    let mut table = Table::new();
    let mut path = path.clone();
    if verb == "deny" && rng.u8(0..6) == 0 {
        return ["**/a", "d*/*", "*/.claude", "**/.git"][rng.usize(..4)].into();
    }
    if let (Item::Symlink(_), true) = (item, rng.bool()) {
        path.push("keep");
    }
    if rng.u8(0..8) == 0 {
        path.push("absent");
    }
    table.insert("path".into(), path.to_string_lossy().into_owned().into());
    // Otherwise most documents would be refused.
    if rng.u8(0..10) != 0 {
        table.insert("missing".into(), "skip".into());
    }
    if verb != "deny" {
        if rng.u8(0..6) == 0 {
            table.insert("at".into(), target(rng, tree).into());
        }
        if rng.u8(0..8) == 0 {
            table.insert("follow".into(), true.into());
        }
    }
    table.into()
}

/// A place at which something appears.
fn target(rng: &mut Rng, tree: &Tree) -> String {
    let directories = tree.directories();
    let inside = directories[rng.usize(..directories.len())];
    match rng.u8(0..6) {
        0 => "/at".into(),
        1 => "/at/one".into(),
        2 => "/at/one/two".into(),
        3 => inside.join("d").to_string_lossy().into_owned(),
        4 => inside.join("keep").to_string_lossy().into_owned(),
        _ => inside.join("new").to_string_lossy().into_owned(),
    }
}

/// One of `[[filesystem.mount]]`.
fn mount(rng: &mut Rng, tree: &Tree) -> Value {
    let mut table = Table::new();
    let access: &[&str] = match rng.u8(0..4) {
        0 => &["read"],
        1 => &["read", "execute"],
        2 => &["read", "write"],
        _ => &["read", "write", "execute"],
    };
    let access: Vec<Value> = access.iter().map(|&verb| verb.into()).collect();
    let kind = ["bind", "tmpfs", "symlink", "directory", "file"][rng.usize(..5)];
    match kind {
        "bind" => {
            let items: Vec<_> = tree.items.keys().collect();
            let source = items[rng.usize(..items.len())].to_string_lossy().into_owned();
            table.insert("source".into(), source.into());
            table.insert("access".into(), access.into());
        }
        "tmpfs" => drop(table.insert("access".into(), access.into())),
        "symlink" => {
            table.insert("content".into(), tree.path().to_string_lossy().into_owned().into());
        }
        "file" => drop(table.insert("data".into(), "text".into())),
        _ => {}
    }
    table.insert("type".into(), kind.into());
    table.insert("target".into(), target(rng, tree).into());
    table.into()
}
