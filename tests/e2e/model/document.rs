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
    let mut document = Table::new();
    if rung == Rung::Landlock || !private {
        filesystem.insert("tmp".into(), "none".into());
    }
    filesystem.insert("proc".into(), false.into());
    filesystem.insert("dev".into(), "none".into());
    if rung == Rung::Landlock {
        for (table, key, word) in [("network", "unix", "host"), ("enforce", "namespaces", "off")] {
            let table_of = Table::from_iter([(key.to_owned(), word.into())]);
            document.insert(table.into(), table_of.into());
        }
    }
    document.insert("filesystem".into(), filesystem.into());
    document.to_string()
}

fn entry(rng: &mut Rng, tree: &Tree, verb: &str) -> Value {
    let items: Vec<_> = tree.items.iter().collect();
    let (path, item) = items[rng.usize(..items.len())];
    let mut table = Table::new();
    let mut path = path.clone();
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
            let directories = tree.directories();
            let inside = directories[rng.usize(..directories.len())];
            let at = match rng.u8(0..5) {
                0 => "/at".into(),
                1 => "/at/one".into(),
                2 => "/at/two".into(),
                3 => inside.join("d").to_string_lossy().into_owned(),
                _ => inside.join("new").to_string_lossy().into_owned(),
            };
            table.insert("at".into(), at.into());
        }
        if rng.u8(0..8) == 0 {
            table.insert("follow".into(), true.into());
        }
    }
    table.into()
}
