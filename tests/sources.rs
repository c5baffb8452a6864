//! What the source may hold, and where.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files that may have unsafe code: the launcher's entry point and its
/// system calls, what the library lends to a child and has run in one, the
/// listener and the system calls of a supervisor, and tests, examples and benches that make raw calls or
/// use a child themselves.
const UNSAFE: [&str; 14] = [
    "benches/nothing.rs",
    "launcher/src/main.rs",
    "launcher/src/sys.rs",
    "spawn/examples/layers.rs",
    "spawn/src/in_place.rs",
    "spawn/src/layer.rs",
    "spawn/src/layers.rs",
    "spawn/src/std_command.rs",
    "spawn/src/strings.rs",
    "supervisor/src/listener.rs",
    "supervisor/src/sys.rs",
    "tests/battery/src/sys.rs",
    "tests/e2e/embed.rs",
    "tests/probe/src/bin/probe.rs",
];

/// The crates that forbid it.
const FORBIDS: [&str; 2] = ["policy/src/lib.rs", "policy-encoder/src/lib.rs"];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("it is listed") {
        let path = entry.expect("it is listed").path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !is_hidden && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_code_stands_in_the_files_that_may_have_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    sources(&root, &mut found);
    // In two parts, or this file would be one of them.
    let words = ["{", "impl", "fn", "extern", "trait"].map(|next| format!("{} {next}", "unsafe"));
    let allow = format!("allow({}_code", "unsafe");
    let have: BTreeSet<String> = found
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(path).expect("it is read");
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            code.clone()
                .any(|line| words.iter().any(|word| line.contains(word)) || line.contains(&allow))
        })
        .map(|path| path.strip_prefix(&root).expect("it is below").to_string_lossy().into_owned())
        .collect();
    assert_eq!(have, UNSAFE.map(String::from).into());
    for path in FORBIDS {
        let text = fs::read_to_string(root.join(path)).expect("it is read");
        assert!(text.contains(&format!("#![forbid({}_code)]", "unsafe")), "{path}");
    }
}
