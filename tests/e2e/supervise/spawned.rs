//! Commands of `launcher-spawn` that a function decides about.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use harness::{Binaries, Errno, IN_PLACE, TempDir, with_probe};
use launcher_spawn::supervisor::{Category, PolicyContext, Supervisor, SyscallEvent, Verdict};
use launcher_spawn::{Launcher, Sandbox};

use super::errno;

/// A sandbox by its policy, which may run the probe.
fn sandbox(policy: &str, binaries: &Binaries) -> Sandbox {
    let launcher = Launcher::from_path(binaries.launcher()).expect("it is there");
    let policy = with_probe(policy, &binaries.probe());
    Sandbox::from_toml(&policy).expect("it is a policy").launcher(launcher)
}

/// What probes say in it.
fn said(sandbox: &Sandbox, binaries: &Binaries, probes: &[&str]) -> Vec<String> {
    let output = sandbox.command(binaries.probe()).args(probes).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("it is text");
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn denies_notes(event: &SyscallEvent, _: &mut PolicyContext) -> Verdict {
    if event.path.ends_with("note") { Verdict::DenyWith(Errno::NODATA) } else { Verdict::Allow }
}

#[test]
fn a_program_that_is_run_decides_what_it_may_reach() {
    let binaries = Binaries::shared();
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("it listens");
    let port = server.local_addr().expect("it has one").port();
    let connect = format!("connect-tcp 127.0.0.1 {port}");
    let run = format!("exec\u{1f}{}\u{1f}{connect}", binaries.probe().display());
    for place in ["", IN_PLACE] {
        let policy = format!("network.access = 'host'\n{place}");
        let decided = sandbox(&policy, &binaries).policy_fn(|event, context| {
            // The first one is told to do more than connect.
            if event.is_exec() && event.argv.len() == 2 && event.argv_contains("connect-tcp") {
                context.restrict_network(&[]);
            }
            Verdict::Allow
        });
        let decided = decided.prepare().expect("it is prepared");
        // Each command begins anew.
        for _ in 0..2 {
            let lines = said(&decided, &binaries, &[&connect, &run]);
            assert_eq!(lines, ["ok", &errno(Errno::ACCESS)]);
        }
        let control = said(&sandbox(&policy, &binaries), &binaries, &[&connect, &run]);
        assert_eq!(control, ["ok", "ok"]);
    }
}

#[test]
fn what_is_not_asked_about_is_not_seen() {
    let binaries = Binaries::shared();
    let dir = TempDir::with_file("note", "kept");
    let read = format!("read {dir}/note");
    for place in ["", IN_PLACE] {
        let policy = format!("filesystem.read = [{dir:?}]\n{place}");
        let decided = sandbox(&policy, &binaries).policy_fn(denies_notes);
        assert_eq!(said(&decided, &binaries, &[&read]), [errno(Errno::NODATA)]);
        let detached = decided.detached().expect("it is a policy");
        assert_eq!(said(&detached, &binaries, &[&read]), [errno(Errno::NODATA)]);
        let programs = decided.ask(&[Category::Process]);
        assert_eq!(said(&programs, &binaries, &[&read]), ["ok kept"]);
        // What a policy says itself is all that it asks about.
        let own = format!("{policy}\n[[seccomp.rule]]\ncall = 'openat2'\naction = 'notify'\n");
        let own = sandbox(&own, &binaries).policy_fn(denies_notes);
        assert_eq!(said(&own, &binaries, &[&read]), ["ok kept"]);
    }
}

#[test]
fn what_nobody_decides_about_is_no_way_around_who_decides() {
    let binaries = Binaries::shared();
    for place in ["", IN_PLACE] {
        let plain = sandbox(place, &binaries);
        let openat2 = ["syscall openat2 0 0 0 0"];
        assert_eq!(said(&plain, &binaries, &openat2), [errno(Errno::INVAL)]);
        let decided = plain.policy_fn(|_, _| Verdict::Allow);
        assert_eq!(said(&decided, &binaries, &openat2), [errno(Errno::NOSYS)]);
    }
}

#[test]
fn asking_about_a_call_does_not_open_it() {
    let binaries = Binaries::shared();
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("it listens");
    let connect = format!("connect-tcp 127.0.0.1 {}", server.local_addr().expect("one").port());
    for place in ["", IN_PLACE] {
        let open = format!("network.access = 'host'\n{place}");
        let closed = format!("{open}\nseccomp.deny = ['connect']");
        let allows = |policy: &str| {
            let decided = sandbox(policy, &binaries).policy_fn(|_, _| Verdict::Allow);
            said(&decided, &binaries, &[&connect])
        };
        assert_eq!(allows(&open), ["ok"]);
        assert_eq!(allows(&closed), [errno(Errno::PERM)]);
    }
}

#[test]
fn changes_are_asked_about_where_they_are_open_anyhow() {
    let binaries = Binaries::shared();
    for (place, mode) in [("", "ok".to_owned()), (IN_PLACE, errno(Errno::PERM))] {
        let dir = TempDir::with_file("file", "kept");
        let policy = format!("filesystem.write = [{dir:?}]\n{place}");
        let decided = sandbox(&policy, &binaries).policy_fn(|event, _| {
            let is_removal = event.name.starts_with("unlink");
            if is_removal { Verdict::DenyWith(Errno::NODATA) } else { Verdict::Allow }
        });
        let probes = [&*format!("chmod {dir}/file 600"), &format!("unlink {dir}/file")];
        assert_eq!(said(&decided, &binaries, &probes), [mode, errno(Errno::NODATA)]);
        assert_eq!(dir.read("file"), "kept");
    }
}

#[test]
fn nobody_takes_in_the_children_of_others_where_they_are_followed() {
    let binaries = Binaries::shared();
    let decided = sandbox("", &binaries).policy_fn(|_, _| Verdict::Allow);
    // PR_SET_CHILD_SUBREAPER, CLONE_PARENT, and CLONE_NEWPID with CLONE_NEWUSER.
    let probes = ["syscall prctl 36 1", "syscall clone 0x8000", "syscall unshare 0x30000000"];
    let no = errno(Errno::PERM);
    assert_eq!(said(&decided, &binaries, &probes), [no.clone(), no.clone(), no.clone()]);
    // What a policy closes otherwise stays closed.
    assert_eq!(said(&decided, &binaries, &["syscall unshare 0x10000000"]), [no]);
    assert_eq!(said(&sandbox("", &binaries), &binaries, &probes[..1]), ["ok 0"]);
}

#[test]
fn commands_of_one_sandbox_are_decided_about_at_once() {
    let binaries = Binaries::shared();
    let dir = TempDir::with_file("note", "kept").file("other", "seen");
    let policy = format!("filesystem.read = [{dir:?}]");
    let events = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&events);
    let decided = sandbox(&policy, &binaries).supervise(move |listener| {
        let counted = Arc::clone(&counted);
        Supervisor::new(listener).policy_fn(move |event, context| {
            counted.fetch_add(1, Ordering::Relaxed);
            denies_notes(event, context)
        })
    });
    let decided = decided.prepare().expect("it is prepared");
    let probes = [format!("read {dir}/note"), format!("read {dir}/other")];
    let probes = probes.each_ref().map(String::as_str);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let lines = said(&decided, &binaries, &probes);
                    assert_eq!(lines, [&*errno(Errno::NODATA), "ok seen"]);
                }
            });
        }
    });
    // The program, and two files, of each.
    assert!(events.load(Ordering::Relaxed) >= 40 * 3);
}

#[test]
fn a_command_that_is_denied_or_cannot_be_asked_about_does_not_run() {
    let binaries = Binaries::shared();
    let denied = sandbox("", &binaries).policy_fn(|event, _| match event.is_exec() {
        true => Verdict::DenyWith(Errno::TXTBSY),
        false => Verdict::Allow,
    });
    let error = denied.command(binaries.probe()).arg("pid").output().expect_err("it is denied");
    assert_eq!((error.stage(), error.raw_os_error()), (Some("exec"), Some(26)), "{error}");
    let absent = sandbox("", &binaries).policy_fn(|_, _| Verdict::Allow);
    let error = absent.command("/nowhere").output().expect_err("it is not there");
    assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()), "{error}");

    let bytes = sandbox("", &binaries).policy().expect("it has one").to_vec();
    let encoded = Sandbox::from_bytes(&bytes).expect("it is a policy");
    let launcher = Launcher::from_path(binaries.launcher()).expect("it is there");
    let encoded = encoded.launcher(launcher).policy_fn(|_, _| Verdict::Allow);
    let error = encoded.command(binaries.probe()).output().expect_err("it asks about nothing");
    assert!(error.is_policy() && error.to_string().contains("notify"), "{error}");
    let unfiltered = sandbox("enforce.seccomp = 'off'\nfilesystem.root = 'host'", &binaries);
    let error = unfiltered.policy_fn(|_, _| Verdict::Allow).prepare().expect_err("no filter");
    assert!(error.is_policy(), "{error}");
}
