//! Policies of any size, over directories that exist.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::fmt::Write;

use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::document::Document;
use policy_encoder::{Architecture, Place, encode, parse};
use tempfile::TempDir;

/// How many entries a small policy has, a usual one, and two large ones.
pub(crate) const SIZES: [usize; 4] = [1, 10, 100, 1000];

/// A directory with that many directories in it, named by their numbers.
pub(crate) fn tree(directories: usize) -> TempDir {
    let tree = tempfile::tempdir().expect("the temporary directory can be written");
    for number in 0..directories {
        std::fs::create_dir(tree.path().join(number.to_string())).expect("the name is free");
    }
    tree
}

/// A document that shows that many directories of the tree.
pub(crate) fn text(tree: &TempDir, entries: usize) -> String {
    let mut text = String::from("filesystem.read = [\n");
    for number in 0..entries {
        let path = tree.path().join(number.to_string());
        writeln!(text, "    {path:?},").expect("writing to memory does not fail");
    }
    text.push_str("]\n");
    text
}

/// What a text says.
///
/// # Panics
///
/// If anything is wrong with it.
pub(crate) fn document(text: &str) -> Document {
    let (document, diagnostics) = parse::toml(text);
    assert!(!diagnostics.has_errors(), "{diagnostics:?}");
    document
}

/// The bytes for this host.
///
/// # Panics
///
/// If anything is wrong with the document.
pub(crate) fn bytes(document: &Document, place: &Place) -> Vec<u8> {
    let mut diagnostics = Diagnostics::default();
    encode(document, place, Architecture::NATIVE, &mut diagnostics)
        .unwrap_or_else(|| panic!("{diagnostics:?}"))
}
