//! `encode-policy verify` and `explain` on the real kernel.

use std::os::unix::fs::symlink;

use harness::{Caller, Output, Sandbox, TempDir};

/// Runs the encoder with these arguments, outside of every sandbox.
fn encoder(caller: Caller, arguments: &[&str]) -> Output {
    let sandbox = Sandbox::outside().caller(caller);
    let encoder = sandbox.binaries().encoder().to_string_lossy().into_owned();
    sandbox.run(std::iter::once(encoder.as_str()).chain(arguments.iter().copied()))
}

/// A tree of what a project has, and a policy of every verb over it.
fn project() -> TempDir {
    let dir = TempDir::new()
        .file("src/main.c", "x")
        .file("src/deep/er/file", "x")
        .file("src/.env", "secret")
        .file("secrets/key", "secret")
        .file("docs/page", "x")
        .file("tool", "#!/bin/sh\n");
    symlink("src/main.c", dir.join("link")).expect("a symlink is made");
    let policy = format!(
        "[filesystem]\nroot = 'minimal'\nread = ['{dir}/docs', '{dir}/link']\n\
         write = ['{dir}/src']\nexecute = ['{dir}/tool']\n\
         deny = ['{dir}/src/.env', '{dir}/secrets', '{dir}/src/deep/er']\n"
    );
    dir.file("policy.toml", policy)
}

#[test]
fn the_kernel_does_what_explain_says_of_a_project() {
    for caller in Caller::both() {
        let dir = project();
        let file = dir.join("policy.toml").to_string_lossy().into_owned();
        let output = encoder(caller, &["verify", "--json", &file]);
        assert_eq!(output.code(), 0, "{caller}: {output:?}");
        let report: serde_json::Value =
            serde_json::from_str(&output.stdout_text()).expect("the report is JSON");
        assert_eq!(report["differences"], serde_json::json!([]), "{caller}");
        assert_eq!(report["rung"], "namespaces", "{caller}");
        assert!(report["questions"].as_u64() > Some(100), "{caller}: {report}");
        let left = std::fs::read_dir(dir.join("src")).expect("a directory is read");
        let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left.len(), 3, "{caller}: {left:?}");
        assert_eq!(dir.read("src/main.c"), "x", "{caller}");
    }
}

#[test]
fn the_kernel_does_what_explain_says_without_namespaces() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let dir = TempDir::new().file("a/file", "x").file("b/file", "x");
        let policy = format!(
            "filesystem = {{ read = ['{dir}/a'], write = ['{dir}/b'], tmp = 'none', proc = false, \
             dev = 'none' }}\nnetwork.unix = 'host'\n\
             enforce = {{ namespaces = 'off', waive = ['execute'] }}\n"
        );
        let dir = dir.file("policy.toml", policy);
        let file = dir.join("policy.toml").to_string_lossy().into_owned();
        let output = encoder(caller, &["verify", &file]);
        assert_eq!(output.code(), 0, "{caller}: {output:?}");
        assert!(output.stdout_text().starts_with("landlock,"), "{caller}: {output:?}");
        assert!(output.stdout_text().contains(" 0 differences"), "{caller}: {output:?}");
    }
}

#[test]
fn a_launch_that_is_refused_is_not_verified() {
    let dir = TempDir::with_file("file", "x");
    let policy = format!("filesystem.read = ['{dir}/file']");
    let dir = dir.file("policy.toml", policy);
    let [text, bytes] =
        ["policy.toml", "policy.bin"].map(|name| dir.join(name).to_string_lossy().into_owned());
    let caller = Caller::Nobody;
    assert_eq!(encoder(caller, &[&text, "-o", &bytes]).code(), 0);
    // The control: with the file there it is.
    assert_eq!(encoder(caller, &["verify", &bytes]).code(), 0);
    std::fs::remove_file(dir.join("file")).expect("a file is removed");
    let output = encoder(caller, &["verify", &bytes]);
    assert_eq!(output.code(), 1, "{output:?}");
    assert!(output.stderr_text().contains("before it was asked"), "{output:?}");
}
