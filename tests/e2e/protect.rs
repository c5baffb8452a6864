//! Protected names, and directories in which no name is made.

use harness::{Caller, Errno, IN_PLACE, Outcome, Sandbox, TempDir};

fn probes(policy: &str, caller: Caller, lines: &[String]) -> Vec<Outcome> {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    Sandbox::new(policy).caller(caller).probes(&lines)
}

fn of(dir: &str, lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| line.replace("D/", &format!("{dir}/"))).collect()
}

#[test]
fn a_repository_cannot_be_changed_in_a_writable_directory() {
    const LINES: [&str; 6] = [
        "open-for-write D/.git/config",
        "create D/.git/hooks/pre-commit",
        "rename D/.git D/moved",
        "rename D/other D/.git",
        "symlink x D/.git/link",
        "unlink D/.git/config",
    ];
    for caller in Caller::both() {
        let dir =
            || TempDir::with_file(".git/config", "kept").directory(".git/hooks").directory("other");
        let own = dir();
        let policy = format!("filesystem.write = [{own:?}]");
        let lines = of(&own.to_string(), &LINES);
        for (line, outcome) in lines.iter().zip(probes(&policy, caller, &lines)) {
            let expected = [Errno::ROFS, Errno::BUSY].map(Outcome::Errno);
            assert!(expected.contains(&outcome), "{caller}, {line}: {outcome:?}");
        }
        let lines = of(&own.to_string(), &["read D/.git/config", "create D/new"]);
        assert_eq!(
            probes(&policy, caller, &lines),
            [Outcome::Ok("kept".into()), Outcome::Ok(String::new())],
            "{caller}"
        );
        // The control: the same, given up by name.
        let own = dir();
        let policy = format!("filesystem.write = [{own:?}, {:?}]", own.join(".git"));
        let lines = of(&own.to_string(), &LINES[..3]);
        for (line, outcome) in lines.iter().zip(probes(&policy, caller, &lines)) {
            assert!(outcome.is_ok(), "{caller}, {line}: {outcome:?}");
        }
    }
}

#[test]
fn a_listed_path_is_protected_with_the_way_to_it() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("ci/deploy/key", "kept").file("ci/note", "x");
        let policy = format!(
            "filesystem = {{ write = [{{ path = {dir:?}, at = \"/w\" }}], protect = [\"ci/deploy\"] }}"
        );
        let lines = of(
            "/w",
            &[
                "open-for-write D/ci/deploy/key",
                "rename D/ci D/moved",
                "rename D/ci/deploy D/ci/moved",
                "open-for-write D/ci/note",
            ],
        );
        assert_eq!(
            probes(&policy, caller, &lines),
            [
                Outcome::Errno(Errno::ROFS),
                Outcome::Errno(Errno::BUSY),
                Outcome::Errno(Errno::BUSY),
                Outcome::Ok(String::new()),
            ],
            "{caller}"
        );
    }
}

/// What a frozen directory refuses, and what it does not.
const FROZEN: [&str; 9] = [
    "create D/new",
    "mkdir D/.git",
    "symlink sub D/.git",
    "rename D/sub D/.git",
    "rename D/note D/.git",
    "rename D/sub/note D/.git",
    "link D/note D/.git",
    "unlink D/note",
    "rmdir D/empty",
];
const OPEN: [&str; 7] = [
    "open-for-write D/note",
    "truncate D/note",
    "create D/sub/new",
    "mkdir D/sub/directory",
    "rename D/sub/new D/sub/renamed",
    "rename D/sub/renamed D/empty/moved",
    "unlink D/sub/note",
];

fn project() -> TempDir {
    TempDir::with_file("note", "x").file("sub/note", "y").directory("empty")
}

#[test]
fn no_name_is_made_directly_in_a_frozen_directory() {
    harness::needs_landlock!(1);
    for caller in Caller::both() {
        let dir = project();
        let freeze = format!(
            "filesystem = {{ write = [{{ path = {dir:?}, at = \"/w\" }}], protect_missing = \"freeze\" }}"
        );
        for (line, outcome) in FROZEN.iter().zip(probes(&freeze, caller, &of("/w", &FROZEN))) {
            // Of a rename and a link, Landlock refuses those that would cross
            // directories as if they crossed file systems.
            let expected = [Errno::ACCESS, Errno::XDEV].map(Outcome::Errno);
            assert!(expected.contains(&outcome), "{caller}, {line}: {outcome:?}");
        }
        for (line, outcome) in OPEN.iter().zip(probes(&freeze, caller, &of("/w", &OPEN))) {
            assert!(outcome.is_ok(), "{caller}, {line}: {outcome:?}");
        }
        assert_eq!(dir.names(), ["empty", "note", "sub"], "{caller}");
        for line in FROZEN {
            let dir = project();
            let warn = format!("filesystem.write = [{{ path = {dir:?}, at = \"/w\" }}]");
            let control = probes(&warn, caller, &of("/w", &[line]));
            assert!(control[0].is_ok(), "{caller}, {line}: {control:?}");
        }
    }
}

#[test]
fn landlock_alone_freezes_a_directory() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let dir = project();
        let in_place = format!(
            "filesystem.write = [{dir:?}]\nfilesystem.protect_missing = \"freeze\"{IN_PLACE}"
        );
        let name = dir.to_string();
        for (line, outcome) in FROZEN.iter().zip(probes(&in_place, caller, &of(&name, &FROZEN))) {
            let expected = [Errno::ACCESS, Errno::XDEV].map(Outcome::Errno);
            assert!(expected.contains(&outcome), "{caller}, {line}: {outcome:?}");
        }
        for (line, outcome) in OPEN.iter().zip(probes(&in_place, caller, &of(&name, &OPEN))) {
            assert!(outcome.is_ok(), "{caller}, {line}: {outcome:?}");
        }
    }
}
