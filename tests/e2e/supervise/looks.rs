//! Files that are only looked at while somebody decides about it.

use harness::{Binaries, Caller, Errno, IN_PLACE, Sandbox, TempDir};
use launcher_supervisor::{PolicyContext, Supervisor, SyscallEvent, Verdict};

use super::{RACE, errno, races, supervised, until_both_are_met};

/// The calls that look at a file.
const LOOKS: [&str; 9] = [
    "newfstatat",
    "statx",
    "faccessat",
    "faccessat2",
    "readlinkat",
    "stat",
    "lstat",
    "access",
    "readlink",
];

/// Asks about them.
fn asks() -> String {
    format!("\n[[seccomp.rule]]\ncall = {LOOKS:?}\naction = 'notify'\n")
}

/// Each of them, of a path.
fn looks(path: &str) -> Vec<String> {
    LOOKS.iter().map(|call| format!("look {call} {path}")).collect()
}

fn lines(sandbox: Sandbox, probes: &[String], supervisor: Option<Supervise>) -> Vec<String> {
    let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
    let output = match supervisor {
        Some(policy) => {
            supervised(sandbox, &probes, |listener| Supervisor::new(listener).policy_fn(policy))
        }
        None => {
            let probe = sandbox.probe_path();
            sandbox.run([&[probe.as_str()], &probes[..]].concat())
        }
    };
    output.stdout_text().lines().map(str::to_owned).collect()
}

type Supervise = fn(&SyscallEvent, &mut PolicyContext) -> Verdict;

#[test]
fn what_is_seen_is_what_is_seen_without_a_supervisor() {
    // So that it is the same in both runs.
    let _probe = Binaries::shared();
    for caller in Caller::both() {
        let dir =
            TempDir::with_file("file", "kept").symlink("link", "file").symlink("lost", "none");
        for place in ["", IN_PLACE] {
            let policy = format!("filesystem.read = [{dir:?}]{place}");
            let mut probes: Vec<String> = ["file", "link", "lost", "absent", "file/x", "", "link/"]
                .iter()
                .flat_map(|name| looks(&format!("{dir}/{name}")))
                .collect();
            probes.extend(looks("/"));
            probes.extend(looks("/etc/../usr/"));
            probes.push(format!("look-at-open {dir}/file"));
            probes.push(format!("look-into-code {dir}/link"));
            probes.push(format!("chdir {dir}"));
            probes.extend(looks("file"));
            if place.is_empty() {
                probes.extend([
                    "look readlinkat /proc/self/exe".into(),
                    "look newfstatat /proc/self/exe".into(),
                ]);
                probes.extend([
                    "look newfstatat /dev/null".into(),
                    "look newfstatat /dev/tty".into(),
                ]);
            }
            let run = |asks: &str, supervisor| {
                let sandbox = Sandbox::new(&format!("{policy}{asks}")).caller(caller);
                lines(sandbox, &probes, supervisor)
            };
            let allows: Supervise = |event, _| {
                assert!(event.is_look() && !event.is_write(), "{event:?}");
                Verdict::Allow
            };
            let (with, without) = (run(&asks(), Some(allows)), run("", None));
            for ((probe, with), without) in probes.iter().zip(&with).zip(&without) {
                assert_eq!(with, without, "{caller}, {place}: {probe}");
            }
            assert_eq!(with.len(), probes.len(), "{with:?}");
            assert!(with.contains(&errno(Errno::FAULT)), "{with:?}");
        }
    }
}

#[test]
fn what_is_denied_is_not_seen_by_whatever_name_or_call() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("open", "yes")
            .file("closed/secret", "no")
            .symlink("link", "closed/secret");
        std::fs::hard_link(dir.join("closed/secret"), dir.join("second")).expect("it is linked");
        for place in ["", IN_PLACE] {
            let policy = format!("filesystem.read = [{dir:?}]{place}{}", asks());
            let probes: Vec<String> = ["open", "closed/secret", "closed/none", "link", "second"]
                .iter()
                .flat_map(|name| looks(&format!("{dir}/{name}")))
                .collect();
            let sandbox = || Sandbox::new(&policy).caller(caller);
            let denies: Supervise = |event, context| {
                if event.path.ends_with("open") {
                    let closed = event.path.with_file_name("closed");
                    context.deny_path(closed);
                }
                Verdict::Allow
            };
            let said = lines(sandbox(), &probes, Some(denies));
            let (no, absent) = (errno(Errno::ACCESS), errno(Errno::NOENT));
            for (probe, line) in probes.iter().zip(&said) {
                let words: Vec<&str> = probe.split(' ').collect();
                let (call, name) =
                    (words[1], words[2].strip_prefix(&format!("{dir}/")).expect("there"));
                // What has no link says so, where that may be known at all.
                let reads_link = call.starts_with("readlink");
                let expected = match name {
                    "open" if reads_link => errno(Errno::INVAL),
                    "open" => "ok".to_owned(),
                    "closed/none" => absent.clone(),
                    "link" if reads_link || call == "lstat" => "ok".to_owned(),
                    _ => no.clone(),
                };
                // Some are of older tables only.
                let is_there = *line != errno(Errno::NOSYS);
                assert!(
                    !is_there || line.starts_with(&expected),
                    "{caller}, {place}, {probe}: {line}"
                );
            }
            let allows: Supervise = |_, _| Verdict::Allow;
            let control = lines(sandbox(), &probes, Some(allows));
            assert!(!control.contains(&no), "{control:?}");
        }
    }
}

/// How often a file of this size was seen.
fn seen(text: &str, size: &str) -> usize {
    let words: Vec<&str> = text.split_whitespace().skip(1).collect();
    let of = words.chunks(2).find(|pair| pair[0] == size);
    of.map_or(0, |pair| pair[1].parse().expect("a number"))
}

#[test]
fn a_path_that_changes_all_the_while_shows_nothing_that_is_denied() {
    let dir = TempDir::with_file("file-a", "a").file("file-b", "two");
    let probe = |times| [format!("flip-look {times} {dir}/file-a b")];
    for place in ["", IN_PLACE] {
        let policy = format!("filesystem.read = [{dir:?}]{place}");
        let sandbox = |asks| Sandbox::new(&format!("{policy}{asks}")).timeout(RACE);
        let denies: Supervise = |event, _| match event.path.ends_with("file-b") {
            true => Verdict::Deny,
            false => Verdict::Allow,
        };
        until_both_are_met(|| {
            let said = lines(sandbox(asks()), &probe(races()), Some(denies)).join("");
            println!("on behalf: {said}");
            assert_eq!(seen(&said, "3"), 0, "{said}");
            [seen(&said, "1"), seen(&said, "-1")]
        });
        // The control: nobody is asked, so each takes little time.
        let control = lines(sandbox(String::new()), &probe(100 * races()), None).join("");
        assert!(seen(&control, "3") > 0, "{control}");
    }
}
