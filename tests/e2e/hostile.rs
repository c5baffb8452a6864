//! Callers in a bad state: each launch is as it should be, or is refused with
//! a reason, in a time that is bounded.

use std::io::Write;

use harness::{Caller, IN_PLACE, Sandbox};
use rustix::fs::{OFlags, fcntl_setfl};

/// With a waiter and PID 1, with a waiter, in place.
const POLICIES: [&str; 3] = ["", "namespaces.init = 'none'", IN_PLACE];

/// A namespace of mounts in which a script runs before the launcher; other
/// users get it with one of users.
fn with_mounts(caller: Caller, script: &str) -> Vec<String> {
    let flags = if caller.is_root() { "-m" } else { "-rm" };
    ["unshare", flags, "sh", "-c", &format!("{script} && exec \"$@\""), "sh"]
        .map(String::from)
        .into()
}

/// The states, by their names, as words in front of the launcher.
fn states(caller: Caller) -> Vec<(&'static str, Vec<String>)> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        ("SIGCHLD is ignored", words(&["env", "--ignore-signal=CHLD"])),
        ("SIGCHLD is blocked", words(&["env", "--block-signal=CHLD"])),
        ("all signals are blocked", words(&["env", "--block-signal"])),
        ("all signals are ignored", words(&["env", "--ignore-signal"])),
        ("0 to 2 are closed", words(&["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"])),
        ("4 descriptors", words(&["prlimit", "--nofile=4"])),
        ("8 descriptors", words(&["prlimit", "--nofile=8"])),
        ("12 descriptors", words(&["prlimit", "--nofile=12"])),
        ("1 process", words(&["prlimit", "--nproc=1"])),
        ("4 MiB of addresses", words(&["prlimit", "--as=4194304"])),
        ("no locked memory", words(&["prlimit", "--memlock=0"])),
        ("a small stack", words(&["prlimit", "--stack=65536"])),
        (
            "a deleted working directory",
            words(&["sh", "-c", "cd \"$(mktemp -d)\" && rmdir \"$PWD\" && exec \"$@\"", "sh"]),
        ),
        ("no /proc", with_mounts(caller, "mount -t tmpfs none /proc")),
        ("an empty /sys", with_mounts(caller, "mount -t tmpfs none /sys")),
        (
            "a full /tmp",
            with_mounts(
                caller,
                "mount -t tmpfs -o size=4k none /var/tmp && (cat /dev/zero >/var/tmp/full 2>/dev/null || true)",
            ),
        ),
        ("a read-only root", with_mounts(caller, "mount -o bind,remount,ro / /")),
    ]
}

#[test]
fn a_caller_in_any_state_gets_a_launch_or_a_reason() {
    harness::needs_landlock!(6);
    harness::needs!("env", "prlimit", "unshare");
    let mut complaints = Vec::new();
    let mut refused = Vec::new();
    for caller in Caller::both() {
        for (state, wrapper) in states(caller) {
            // What a state does to any program is not the launcher's doing.
            let control = Sandbox::outside().caller(caller).wrap(&wrapper);
            let control = control.run([control.probe_path(), "exit 7".into()]).code() == 7;
            for policy in POLICIES {
                let sandbox = Sandbox::new(policy).caller(caller).wrap(&wrapper);
                let output = sandbox.run([sandbox.probe_path(), "exit 7".into()]);
                let has_reason =
                    [125, 126, 127].contains(&output.code()) && output.event("failure").is_some();
                if has_reason {
                    refused.push(format!("{caller}, {state}: {}", output.stderr_text()));
                } else if output.code() != 7 && control {
                    complaints.push(format!("{caller}, {state}, {policy}: {output:?}"));
                }
            }
        }
    }
    println!("{}", refused.join(""));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    // The states that leave nothing to wish for.
    for state in ["SIGCHLD", "all signals", "0 to 2", "locked", "deleted", "empty /sys"] {
        let is_its = |refused: &&String| refused.contains(state);
        assert_eq!(refused.iter().find(is_its), None);
    }
}

#[test]
fn a_full_pipe_on_standard_input_and_output_holds_nobody_up() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for policy in POLICIES {
            let (reader, mut writer) = std::io::pipe().expect("a pipe is made");
            fcntl_setfl(&writer, OFlags::NONBLOCK).expect("fcntl");
            while writer.write(&[0; 4096]).is_ok() {}
            let sandbox = Sandbox::new(policy).caller(caller);
            let sandbox = sandbox.stdin_from(reader).stdout_to(writer);

            let output = sandbox.run([sandbox.probe_path(), "exit 7".into()]);

            assert_eq!(output.code(), 7, "{caller}, {policy}: {output:?}");
        }
    }
}
