//! `encode-policy run` with an overlay that names no place for its changes:
//! what they are, and what becomes of them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use harness::{Caller, Handover, Output, Sandbox, TempDir};

/// A sandbox that may change its working directory, which stays as it is.
const POLICY: &str = "
[filesystem]
root = 'minimal'
[[filesystem.mount]]
type = 'overlay'
target = '.'
";

/// Changes of every kind; `sh` runs it in the tree.
const SCRIPT: &str = "
echo more >> kept &&
echo new > made &&
rm gone &&
mv moved there &&
chmod 755 script &&
mkdir d/sub && echo deep > d/sub/file &&
rm -r tree && mkdir -m 700 tree && echo other > tree/other &&
exit 7
";

/// What `--diff` says of them.
const LIST: &str = "\
A d/sub
A d/sub/file
D gone
M kept
A made
D moved
M script
A there
M tree
D tree/leaf
A tree/other
";

/// A tree of the caller's, and room for temporary files beside it.
struct World {
    tree: TempDir,
    room: TempDir,
    caller: Caller,
}

impl World {
    fn new(caller: Caller) -> Self {
        let tree = TempDir::with_file("kept", "one\n")
            .file("gone", "gone\n")
            .file("moved", "moved\n")
            .file("script", "#!/bin/sh\n")
            .file("d/inside", "inside\n")
            .file("tree/leaf", "leaf\n");
        for name in [".", "kept", "gone", "moved", "script", "d", "d/inside", "tree", "tree/leaf"] {
            chown(tree.join(name), Some(caller.uid()), Some(caller.uid())).expect("its owner");
        }
        let room = TempDir::new();
        Self { tree, room, caller }
    }

    fn sandbox(&self, policy: &str) -> Sandbox {
        Sandbox::new(policy)
            .caller(self.caller)
            .handover(Handover::EncoderRun)
            .cwd(self.tree.path())
            .env("TMPDIR", self.room.path())
    }

    fn run(&self, options: &[&str], script: &str) -> Output {
        let sandbox = self.sandbox(POLICY);
        let sandbox = options.iter().fold(sandbox, |sandbox, option| sandbox.option(*option));
        sandbox.run(["sh", "-c", script])
    }

    /// Every name in the tree, its mode, and the content of its files.
    fn state(&self) -> Vec<String> {
        fn walk(directory: &Path, state: &mut Vec<String>) {
            for entry in fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                let metadata = path.symlink_metadata().expect("its metadata");
                let content = fs::read_to_string(&path).unwrap_or_default();
                let mode = metadata.permissions().mode();
                state.push(format!("{} {mode:o} {content}", path.display()));
                if metadata.is_dir() {
                    walk(&path, state);
                }
            }
        }
        let mut state = Vec::new();
        walk(self.tree.path(), &mut state);
        state.sort();
        state
    }
}

/// Skips the rest of a test where no overlay can keep its changes: on a tmpfs
/// before Linux 6.6.
macro_rules! needs_attributes {
    () => {
        let dir = TempDir::with_file("note", "");
        if !Sandbox::outside().probe(&format!("set-xattr {dir}/note")).is_ok() {
            harness::skip!("overlay_attributes", "temporary files have no attributes of users");
        }
    };
}

#[test]
fn what_is_changed_in_an_overlay_is_listed_and_the_host_has_none_of_it() {
    needs_attributes!();
    for caller in Caller::both() {
        let world = World::new(caller);
        let before = world.state();

        let output = world.run(&["--diff"], SCRIPT);

        assert_eq!(output.code(), 7, "{caller}: {output:?}");
        let said = output.stdout_text();
        assert!(said.starts_with(LIST), "{caller}: {output:?}");
        for part in ["--- a/kept\n+++ b/kept\n", " one\n+more\n", "+++ b/d/sub/file\n", "-gone\n"] {
            assert!(said.contains(part), "{caller}: {part} is not in {said}");
        }
        assert_eq!(world.state(), before, "{caller}");
        assert_eq!(world.room.names(), [""; 0], "{caller}");

        // The control: without an overlay the same script changes the tree.
        let policy = "filesystem = { root = 'minimal', write = ['.'] }";
        let output = world.sandbox(policy).run(["sh", "-c", SCRIPT]);
        assert_eq!(output.code(), 7, "{caller}: {output:?}");
        assert_ne!(world.state(), before, "{caller}");
    }
}

#[test]
fn changes_that_nobody_asked_for_are_thrown_away() {
    needs_attributes!();
    for caller in Caller::both() {
        let world = World::new(caller);
        let before = world.state();
        let locked = "mkdir closed && echo x > closed/file && chmod 0 closed";

        let output = world.run(&[], locked);

        assert_eq!((output.code(), output.stdout.len()), (0, 0), "{caller}: {output:?}");
        assert_eq!(world.state(), before, "{caller}");
        assert_eq!(world.room.names(), [""; 0], "{caller}");
    }
}

#[test]
fn what_is_kept_is_what_was_changed() {
    needs_attributes!();
    for caller in Caller::both() {
        let world = World::new(caller);
        let before = world.state();
        let kept = world.room.join("kept");
        let keep = format!("--keep={}", kept.display());

        let output = world.run(&[&keep], SCRIPT);

        assert_eq!((output.code(), output.stdout.len()), (7, 0), "{caller}: {output:?}");
        let read = |name: &str| fs::read_to_string(kept.join(name)).expect("a file is kept");
        assert_eq!(
            (read("kept"), read("made")),
            ("one\nmore\n".into(), "new\n".into()),
            "{caller}"
        );
        assert_eq!(read("d/sub/file"), "deep\n", "{caller}");
        assert_eq!(world.state(), before, "{caller}");
        assert_eq!(world.room.names(), ["kept"], "{caller}");

        // Nothing is written over what was kept before.
        let output = world.run(&[&keep], "true");
        assert_eq!(output.code(), 125, "{caller}: {output:?}");
        assert!(output.stderr_text().contains("it is not empty"), "{caller}: {output:?}");
    }
}

#[test]
fn changes_are_not_kept_in_the_tree_that_they_change() {
    for caller in Caller::both() {
        let world = World::new(caller);
        let before = world.state();

        let output = world.sandbox(POLICY).env("TMPDIR", world.tree.path()).run(["true"]);

        assert_eq!(output.code(), 125, "{caller}: {output:?}");
        assert!(output.stderr_text().contains("set TMPDIR"), "{caller}: {output:?}");
        assert_eq!(world.state(), before, "{caller}");
    }
}

#[test]
fn what_cannot_be_shown_is_not_asked_for() {
    for caller in Caller::both() {
        let world = World::new(caller);
        for option in ["--diff", "--keep=new"] {
            let output = world.sandbox("").option(option).run(["true"]);
            assert_eq!(output.code(), 125, "{caller}, {option}: {output:?}");
            assert!(output.stderr_text().contains("overlay"), "{caller}, {option}: {output:?}");
        }
    }
}

#[test]
fn a_launch_that_fails_leaves_nothing_behind() {
    needs_attributes!();
    for caller in Caller::both() {
        let world = World::new(caller);

        let output = world.sandbox(POLICY).option("--diff").run(["/no/such/program"]);

        assert_eq!((output.code(), output.stdout.len()), (127, 0), "{caller}: {output:?}");
        assert_eq!(world.room.names(), [""; 0], "{caller}");
    }
}
