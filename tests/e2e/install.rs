//! What `make install` puts where, and whether others can read it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::{TempDir, dist, skip};

/// Everything that is installed below the prefix.
const INSTALLED: [&str; 7] = [
    "bin/launcher",
    "bin/encode-policy",
    "share/bash-completion/completions/encode-policy",
    "share/zsh/site-functions/_encode-policy",
    "share/fish/vendor_completions.d/encode-policy.fish",
    "share/man/man1/launcher.1",
    "share/man/man1/encode-policy-run.1",
];

/// Installs into a directory; returns what lies below the prefix.
fn install(directory: &TempDir) -> PathBuf {
    let output = Command::new("make")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .arg("install")
        .arg(format!("DIST={}", dist().display()))
        .arg(format!("DESTDIR={directory}"))
        .arg("PREFIX=/usr")
        .output()
        .expect("make is there");
    assert!(output.status.success(), "{}", said(&output));
    directory.join("usr")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn what_is_installed_is_complete_and_below_the_prefix() {
    let directory = TempDir::new();
    let prefix = install(&directory);
    for file in INSTALLED {
        let length = prefix.join(file).metadata().map_or(0, |metadata| metadata.len());
        assert!(length > 0, "{file}");
    }
    let roots: Vec<_> = std::fs::read_dir(directory.join(".")).expect("a directory").collect();
    assert_eq!(roots.len(), 1, "{roots:?}");
}

#[test]
fn bash_takes_the_completions() {
    let directory = TempDir::new();
    let completions = install(&directory).join(INSTALLED[2]);
    let script = "set -eu; . \"$1\"; complete -p encode-policy; \
                  COMP_WORDS=(encode-policy ru); COMP_CWORD=1; \
                  _encode__policy encode-policy ru encode-policy; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["--norc", "-c", script, "bash"])
        .arg(&completions)
        .output()
        .expect("bash is there");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    assert!(said(&output).ends_with("run\n"), "{}", said(&output));
}

#[test]
fn the_manual_pages_are_without_warnings() {
    if Command::new("groff").arg("--version").output().is_err() {
        skip!("groff", "the program is not installed");
    }
    let directory = TempDir::new();
    let pages = install(&directory).join("share/man/man1");
    for page in std::fs::read_dir(&pages).expect("a directory") {
        let page = page.expect("an entry").path();
        let output = Command::new("groff").args(["-man", "-ww", "-z"]).arg(&page).output();
        let output = output.expect("groff runs");
        assert_eq!((output.status.success(), said(&output)), (true, String::new()), "{page:?}");
    }
    let page = std::fs::read_to_string(pages.join("launcher.1")).expect("a page");
    assert!(page.contains("--exec-fd") || page.contains("\\-\\-exec\\-fd"), "{page}");
}
