//! Files and names that are changed while somebody decides about it.

use harness::{Caller, Errno, IN_PLACE, Sandbox, TempDir};
use launcher_supervisor::{PolicyContext, Supervisor, SyscallEvent, Verdict};

use super::{RACE, errno, races, supervised, until_both_are_met};

/// Asks about all that changes a file or its name.
const ASKS: &str = r#"
    [[seccomp.rule]]
    call = [
        "unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat",
        "mkdir", "mkdirat", "mknod", "mknodat", "chmod", "fchmodat", "truncate",
    ]
    action = "notify"
"#;

/// What is changed, one after the other; `DIR` holds `file`.
const CHANGES: [&str; 11] = [
    "mkdir DIR/new",
    "rmdir DIR/new/",
    "mkfifo DIR/pipe",
    "unlink DIR/pipe",
    "link DIR/file DIR/linked",
    "rename DIR/linked DIR/renamed",
    "symlink anywhere DIR/link",
    "unlink DIR/link",
    "truncate DIR/file",
    "chmod DIR/file 600",
    "unlink DIR/renamed",
];

fn changes(dir: &str) -> Vec<String> {
    CHANGES.iter().map(|change| change.replace("DIR", dir)).collect()
}

/// Without a mount namespace the filter closes changes of modes, unless a rule
/// names them.
const OPEN: &str = "\nseccomp.allow = ['chmod', 'fchmodat']";

/// What each says without a supervisor, which is what it says with one that
/// allows it.
fn said(sandbox: Sandbox, probes: &[String]) -> Vec<String> {
    let probe = sandbox.probe_path();
    let command = [&probe].into_iter().chain(probes);
    sandbox.run(command).stdout_text().lines().map(str::to_owned).collect()
}

#[test]
fn what_is_allowed_is_changed_as_without_a_supervisor_and_what_is_denied_is_not() {
    for caller in Caller::both() {
        for place in ["", IN_PLACE] {
            let dir = || TempDir::with_file("open/file", "kept").file("closed/file", "kept");
            let run = |dir: &TempDir, which: &str, asks: &str| {
                let policy = format!("filesystem.write = [{dir:?}]{place}{asks}");
                (Sandbox::new(&policy).caller(caller), changes(&format!("{dir}/{which}")))
            };
            let decides = |event: &SyscallEvent, _: &mut PolicyContext| {
                assert!(event.is_write() && !event.is_open(), "{event:?}");
                let is_closed = event.path_contains("/closed");
                if is_closed { Verdict::DenyWith(Errno::NODATA) } else { Verdict::Allow }
            };
            let supervised = |dir: &TempDir, which: &str| {
                let (sandbox, probes) = run(dir, which, ASKS);
                let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
                let output = supervised(sandbox, &probes, |listener| {
                    Supervisor::new(listener).policy_fn(decides)
                });
                output.stdout_text().lines().map(str::to_owned).collect::<Vec<_>>()
            };
            let (with, without) = (dir(), dir());
            let (sandbox, probes) = run(&without, "open", OPEN);
            let control = said(sandbox, &probes);
            assert_eq!(supervised(&with, "open"), control, "{caller}");
            // The mode of a file is its owner's to change, who is root.
            let refused = control.iter().filter(|line| !line.starts_with("ok")).count();
            assert_eq!(refused, usize::from(caller == Caller::Nobody), "{control:?}");
            assert_eq!(with.read("open/file"), "", "{caller}");

            let denied = supervised(&with, "closed");
            let no = errno(Errno::NODATA);
            // Where there is nothing to be changed, that is said.
            let made = ["mkdir", "mkfifo", "link ", "symlink", "truncate"];
            for (change, line) in CHANGES.iter().zip(&denied) {
                let is_made = made.iter().any(|verb| change.starts_with(verb));
                assert!(!is_made || *line == no, "{caller}, {change}: {line}");
                assert!(!line.starts_with("ok"), "{caller}, {change}: {line}");
            }
            assert_eq!(with.read("closed/file"), "kept", "{caller}");
            assert!(!with.has("closed/new") && !with.has("closed/linked"), "{caller}");
        }
    }
}

#[test]
fn names_are_judged_on_both_sides_and_held_to_the_policy() {
    for caller in Caller::both() {
        let read = TempDir::with_file("file", "kept");
        for (place, held) in [("", Errno::ROFS), (IN_PLACE, Errno::ACCESS)] {
            let dir = TempDir::with_file("file", "kept").file("other", "b").symlink("link", "file");
            let probes = [
                &*format!("rename {dir}/file {dir}/closed"),
                &format!("link {dir}/file {dir}/closed"),
                &format!("symlink closed {dir}/any"),
                &format!("rename {dir}/other {dir}/moved"),
                // Of a link nothing is made.
                &format!("link {dir}/link {dir}/second"),
                &format!("unlink {read}/file"),
                &format!("mkdir {read}/new"),
                &format!("truncate {read}/file"),
            ];
            let filesystem = format!("filesystem.write = [{dir:?}]\nfilesystem.read = [{read:?}]");
            let policy = format!("{filesystem}\n{place}{ASKS}");
            let decides = |event: &SyscallEvent, _: &mut PolicyContext| {
                let second = event.second.as_ref().is_some_and(|path| path.ends_with("closed"));
                if second { Verdict::DenyWith(Errno::NODATA) } else { Verdict::Allow }
            };
            let output = supervised(Sandbox::new(&policy).caller(caller), &probes, |listener| {
                Supervisor::new(listener).policy_fn(decides)
            });
            let (no, held) = (errno(Errno::NODATA), errno(held));
            let judged = [&*no, &no, &no, "ok ", &errno(Errno::LOOP)];
            output.assert_said(&[&judged[..], &[&*held; 3]].concat());
        }
    }
}

#[test]
fn a_file_becomes_no_longer_than_the_command_may_make_it() {
    for caller in Caller::both() {
        for place in ["", IN_PLACE] {
            let dir = TempDir::with_file("file", "kept");
            let policy = format!(
                "filesystem.write = [{dir:?}]\nlimits.rlimit = {{ fsize = 4096 }}\n{place}{ASKS}"
            );
            let probes = [8192, 4096, 1].map(|length| format!("truncate {dir}/file {length}"));
            let probes = probes.each_ref().map(String::as_str);
            let sandbox = Sandbox::new(&policy).caller(caller);
            let output = supervised(sandbox, &probes, Supervisor::new);
            output.assert_said(&[&errno(Errno::FBIG), "ok 0", "ok 0"]);
            assert_eq!(dir.read("file"), "k", "{caller}");
        }
    }
}

#[test]
fn a_path_that_changes_all_the_while_makes_nothing_that_is_denied() {
    for place in ["", IN_PLACE] {
        let dir = TempDir::new();
        let policy = format!("filesystem.write = [{dir:?}]{place}{ASKS}");
        let probe = format!("flip-mkdir {} {dir}/new-a b", races());
        let verdict = |event: &SyscallEvent, _: &mut PolicyContext| match event.path.as_path() {
            path if path.ends_with("new-b") => Verdict::Deny,
            _ => Verdict::Allow,
        };
        until_both_are_met(|| {
            let output = supervised(Sandbox::new(&policy).timeout(RACE), &[&probe], |listener| {
                Supervisor::new(listener).policy_fn(verdict)
            });
            println!("on behalf: {}", output.stdout_text());
            assert!(!dir.has("new-b"), "{output:?}");
            let made: usize = output.stdout_text()[3..].trim().parse().expect("a number");
            [made, races() - made]
        });
    }
    // The control: nobody is asked.
    let dir = TempDir::new();
    let sandbox = Sandbox::new(&format!("filesystem.write = [{dir:?}]"));
    assert!(sandbox.probe(&format!("flip-mkdir {} {dir}/new-a b", races())).is_ok());
    assert!(dir.has("new-b"));
}
