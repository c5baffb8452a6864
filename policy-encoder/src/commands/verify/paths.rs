//! Which paths are asked about: what the policy names, and a bounded sample of
//! what is in it, below it and beside it. The same tree gives the same sample.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use policy_encoder::explain::Model;

/// Names that are taken from one directory.
const FROM_ONE: usize = 6;

/// The most paths of one run.
const MOST: usize = 2000;

/// Every path to ask about.
pub(super) fn sample(model: &Model) -> BTreeSet<PathBuf> {
    let mut named: BTreeSet<PathBuf> = model.paths().map(Path::to_owned).collect();
    named.insert("/".into());
    for path in named.clone() {
        named.extend(path.ancestors().map(Path::to_owned));
    }
    let mut paths = named.clone();
    for path in &named {
        // Beside it on the host: what the policy does not speak of.
        if let Some(parent) = path.parent() {
            add(&mut paths, parent, &names(parent));
        }
        let Some(outside) = model.outside(path) else { continue };
        let inside = names(&outside);
        add(&mut paths, path, &inside);
        for name in inside.iter().take(FROM_ONE / 2) {
            add(&mut paths, &path.join(name), &names(&outside.join(name)));
        }
    }
    // Parents come first, so that what is left out is deep.
    let mut list: Vec<PathBuf> = paths.into_iter().collect();
    list.sort_by_key(|path| (path.components().count(), path.clone()));
    list.truncate(MOST);
    list.into_iter().collect()
}

fn add(paths: &mut BTreeSet<PathBuf>, directory: &Path, names: &[String]) {
    paths.extend(names.iter().map(|name| directory.join(name)));
}

/// Some of the names in a directory of the host, spread over all of them.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    let step = names.len().div_ceil(FROM_ONE).max(1);
    names.into_iter().step_by(step).collect()
}
