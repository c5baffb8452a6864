//! Attributes of files that are changed while somebody decides about it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use harness::{Caller, Errno, IN_PLACE, Sandbox, TempDir};
use launcher_supervisor::{PolicyContext, Supervisor, SyscallEvent, Verdict};

use super::{RACE, errno, races, supervised, until_both_are_met};

/// The calls that change an attribute.
const CALLS: [&str; 14] = [
    "chmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "lchown",
    "fchownat",
    "utimensat",
    "utime",
    "utimes",
    "futimesat",
    "setxattr",
    "removexattr",
    "lsetxattr",
    "lremovexattr",
];

/// Without a mount namespace the filter closes them, unless a rule names them.
fn open() -> String {
    format!("\nseccomp.allow = {CALLS:?}")
}

fn asks() -> String {
    format!("\n[[seccomp.rule]]\ncall = {CALLS:?}\naction = 'notify'\n")
}

/// Each of them, of a path.
fn changes(path: &str) -> Vec<String> {
    CALLS.iter().map(|call| format!("attribute {call} {path}")).collect()
}

fn decides(event: &SyscallEvent, _: &mut PolicyContext) -> Verdict {
    assert!(event.is_write() && !event.is_open() && !event.is_look(), "{event:?}");
    let named = event.second.as_ref().map(|name| name.as_os_str());
    assert_eq!(named.is_some(), event.name.ends_with("xattr"), "{event:?}");
    let is_closed = event.path.ends_with("closed");
    if is_closed { Verdict::DenyWith(Errno::NODATA) } else { Verdict::Allow }
}

/// Runs probes under a supervisor, or without.
fn lines(sandbox: Sandbox, probes: &[String], is_supervised: bool) -> Vec<String> {
    let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
    let output = if is_supervised {
        supervised(sandbox, &probes, |listener| Supervisor::new(listener).policy_fn(decides))
    } else {
        let probe = sandbox.probe_path();
        sandbox.run([&[probe.as_str()], &probes[..]].concat())
    };
    output.stdout_text().lines().map(str::to_owned).collect()
}

#[test]
fn what_is_allowed_is_changed_as_without_a_supervisor_and_what_is_denied_is_not() {
    for caller in Caller::both() {
        for place in ["", IN_PLACE] {
            let read = TempDir::with_file("file", "kept");
            let run = |is_supervised: bool| {
                let dir = TempDir::with_file("closed", "kept").symlink("link", "closed");
                let filesystem =
                    format!("filesystem.write = [{dir:?}]\nfilesystem.read = [{read:?}]");
                let asks = if is_supervised { asks() } else { open() };
                let sandbox = Sandbox::new(&format!("{filesystem}\n{place}{asks}")).caller(caller);
                // What the command has made is its own.
                let mut probes = vec![format!("create {dir}/own")];
                probes.extend(changes(&format!("{dir}/own")));
                probes.extend(changes(&format!("{dir}/absent")));
                probes.push(format!("times-of-open {dir}/own"));
                let said = lines(sandbox, &probes, is_supervised);
                assert_eq!(said.len(), probes.len(), "{said:?}");
                // Older kernels lack this one, which a supervisor does by another.
                let both =
                    probes.iter().zip(said).filter(|(probe, _)| !probe.contains("fchmodat2"));
                let said: Vec<String> = both.map(|(_, line)| line).collect();
                let own = fs::metadata(dir.join("own")).expect("it is there");
                (said, own.mode(), own.mtime(), own.uid())
            };
            let (with, without) = (run(true), run(false));
            assert_eq!(with, without, "{caller}, {place}");
            let (said, mode, mtime, uid) = with;
            assert_eq!((mode & 0o777, mtime, uid), (0o640, 0, caller.uid()), "{caller}");
            // Some are of older tables only.
            let is_there = |line: &&String| **line != errno(Errno::NOSYS);
            let mut changed = said[1..CALLS.len()].iter().filter(is_there);
            assert!(changed.all(|line| line.starts_with("ok")), "{said:?}");
        }
    }
}

#[test]
fn what_is_denied_is_not_changed_by_whatever_name_or_call() {
    for caller in Caller::both() {
        for place in ["", IN_PLACE] {
            let dir = TempDir::with_file("closed", "kept").symlink("link", "closed");
            let sandbox = Sandbox::new(&format!("filesystem.write = [{dir:?}]{place}{}", asks()))
                .caller(caller);
            let mut probes = changes(&format!("{dir}/closed"));
            probes.extend(changes(&format!("{dir}/link")));
            probes.push(format!("times-of-open {dir}/closed"));
            let before = fs::metadata(dir.join("closed")).expect("it is there");
            let said = lines(sandbox, &probes, true);
            let after = fs::metadata(dir.join("closed")).expect("it is there");
            let no = errno(Errno::NODATA);
            for (probe, line) in probes.iter().zip(&said) {
                let is_of_link = probe.contains(" l") && probe.ends_with("/link");
                let is_there = *line != errno(Errno::NOSYS);
                assert!(
                    !is_there || *line == no || is_of_link,
                    "{caller}, {place}, {probe}: {line}"
                );
            }
            assert_eq!((before.mode(), before.mtime()), (after.mode(), after.mtime()), "{caller}");
        }
    }
}

#[test]
fn attributes_are_held_to_the_mounts_of_the_command() {
    let dir = TempDir::with_file("file", "kept");
    let sandbox = Sandbox::new(&format!("filesystem.read = [{dir:?}]{}", asks()));
    let said = lines(sandbox, &changes(&format!("{dir}/file")), true);
    assert_eq!(said.len(), CALLS.len(), "{said:?}");
    let held = [errno(Errno::ROFS), errno(Errno::NOSYS)];
    assert!(said.iter().all(|line| held.contains(line)) && said.contains(&held[0]), "{said:?}");
}

#[test]
fn a_path_that_changes_all_the_while_changes_nothing_that_is_denied() {
    for place in ["", IN_PLACE] {
        let dir = TempDir::with_file("file-a", "a").file("file-b", "b");
        let policy = format!("filesystem.write = [{dir:?}]{place}");
        let sandbox = |asks| Sandbox::new(&format!("{policy}{asks}")).timeout(RACE);
        let probe = |times| format!("flip-times {times} {dir}/file-a b");
        let verdict = |event: &SyscallEvent, _: &mut PolicyContext| match event.path.as_path() {
            path if path.ends_with("file-b") => Verdict::Deny,
            _ => Verdict::Allow,
        };
        until_both_are_met(|| {
            let output = supervised(sandbox(asks()), &[&probe(races())], |listener| {
                Supervisor::new(listener).policy_fn(verdict)
            });
            println!("on behalf: {}", output.stdout_text());
            let done: usize = output.stdout_text()[3..].trim().parse().expect("a number");
            [done, races() - done]
        });
        let time = |name| fs::metadata(dir.join(name)).expect("it is there").mtime();
        assert!(time("file-a") == 0 && time("file-b") > 0);
        // The control: nobody is asked, so each takes little time.
        assert!(sandbox(open()).probe(&probe(100 * races())).is_ok());
        assert_eq!(time("file-b"), 0);
    }
}
