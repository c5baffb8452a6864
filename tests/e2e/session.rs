//! Session: process group, signals, umask, and the end that comes with the
//! caller's.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::time::Instant;

use harness::{Caller, Errno, IN_PLACE, Outcome, Sandbox, TIMEOUT, is_ready, needs_strace};
use rustix::process::Signal;

use crate::faults::inject;

/// A root of which `sh` and `sleep` are a part.
const MINIMAL: &str = "filesystem.root = \"minimal\"";

#[test]
fn the_command_leads_a_session_of_its_own() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let outcomes = Sandbox::new("").caller(caller).probes(&["sid", "pgrp"]);
        assert_eq!(outcomes, ["2", "2"].map(|text| Outcome::Ok(text.into())), "{caller}");
        let sandbox = Sandbox::new(IN_PLACE).caller(caller);
        let outcomes: Vec<String> =
            sandbox.probes(&["pid", "sid", "pgrp"]).into_iter().map(Outcome::value).collect();
        assert!(outcomes.iter().all(|id| *id == outcomes[0]), "{caller}: {outcomes:?}");
    }
}

#[test]
fn a_signal_to_its_own_group_stays_inside() {
    for caller in Caller::both() {
        // kill(0, SIGKILL) would end the shell around the launcher, too.
        let wrapper = ["sh", "-c", "\"$@\"; echo survived", "sh"];
        let sandbox = Sandbox::new("").caller(caller).wrap(wrapper);
        let output = sandbox.run([sandbox.probe_path(), "kill 0 9".into()]);
        assert_eq!(output.stdout_text(), "survived\n", "{caller}: {output:?}");
        let control = Sandbox::outside().caller(caller);
        let control = control.wrap(["setsid", "-w"]).wrap(wrapper);
        let output = control.run([control.probe_path(), "kill 0 9".into()]);
        assert!(!output.stdout_text().contains("survived"), "{caller}: {output:?}");
    }
}

#[test]
fn signals_are_unblocked_and_sigchld_is_not_ignored() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let wrapper = ["env", "--ignore-signal=CHLD,HUP", "--block-signal=TERM,USR1"];
        let signals = |sandbox: Sandbox| {
            let signals = sandbox.caller(caller).wrap(wrapper).probe("signals").value();
            let (blocked, ignored) = signals.split_once(" ignored=").expect("two lists");
            let ignored: Vec<String> = ignored.split(',').map(str::to_owned).collect();
            (blocked.replace("blocked=", ""), ignored)
        };
        for policy in ["", IN_PLACE, "limits.wall_time = \"15s\""] {
            let (blocked, ignored) = signals(Sandbox::new(policy));
            assert_eq!(blocked, "", "{caller}, {policy}");
            assert!(!ignored.contains(&"17".into()), "{caller}, {policy}: {ignored:?}");
            // As under nohup(1).
            assert!(ignored.contains(&"1".into()), "{caller}, {policy}: {ignored:?}");
        }
        let (blocked, ignored) = signals(Sandbox::outside());
        assert_eq!(blocked, "10,15", "{caller}");
        assert!(ignored.contains(&"17".into()), "{caller}: {ignored:?}");
    }
}

#[test]
fn sigpipe_ends_the_command() {
    for caller in Caller::both() {
        // The tests ignore it, as every Rust program does; yes(1) does not
        // look at it.
        let policy = MINIMAL;
        let (reader, writer) = std::io::pipe().expect("a pipe is made");
        drop(reader);
        let wrapper = ["env", "--ignore-signal=PIPE"];
        let output =
            Sandbox::new(policy).caller(caller).wrap(wrapper).stdout_to(writer).run(["yes"]);
        assert_eq!(output.code(), 128 + 13, "{caller}: {output:?}");
    }
}

#[test]
fn the_umask_is_the_policys_or_the_callers() {
    for caller in Caller::both() {
        let umask = |policy: &str| {
            let wrapper = ["sh", "-c", "umask 0027; exec \"$@\"", "sh"];
            Sandbox::new(policy).caller(caller).wrap(wrapper).probe("umask")
        };
        assert_eq!(umask(""), Outcome::Ok("0027".into()), "{caller}");
        assert_eq!(umask("process.umask = 0o077"), Outcome::Ok("0077".into()), "{caller}");
        assert_eq!(umask("process.umask = 0"), Outcome::Ok("0000".into()), "{caller}");
    }
}

#[test]
fn signals_to_the_launcher_reach_the_command() {
    for caller in Caller::both() {
        for policy in ["", "namespaces.init = \"none\"\nfilesystem.root = \"minimal\""] {
            let policy = if policy.is_empty() { MINIMAL } else { policy };
            let script = "trap 'echo got it; exit 7' USR1; echo ready; while :; do :; done";
            let mut running = Sandbox::new(policy).caller(caller).start(["sh", "-c", script]);
            assert_eq!(running.line(), "ready", "{caller}: {}", running.stderr_text());
            running.signal(Signal::USR1);
            assert_eq!(running.line(), "got it", "{caller}");
            assert_eq!(running.wait().code(), 7, "{caller}");
        }
    }
}

#[test]
fn every_signal_that_a_command_can_handle_is_forwarded() {
    let script = "for each in HUP INT QUIT USR1 USR2 ALRM TERM WINCH PWR; do \
        trap \"echo $each\" $each; done; echo ready; while :; do :; done";
    for caller in Caller::both() {
        for policy in ["", "namespaces.init = \"none\""] {
            let policy = format!("{MINIMAL}\n{policy}");
            let mut running = Sandbox::new(&policy).caller(caller).start(["sh", "-c", script]);
            assert_eq!(running.line(), "ready", "{caller}: {}", running.stderr_text());
            for (signal, name) in [
                (Signal::HUP, "HUP"),
                (Signal::INT, "INT"),
                (Signal::QUIT, "QUIT"),
                (Signal::USR1, "USR1"),
                (Signal::USR2, "USR2"),
                (Signal::ALARM, "ALRM"),
                (Signal::TERM, "TERM"),
                (Signal::WINCH, "WINCH"),
                (Signal::POWER, "PWR"),
            ] {
                running.signal(signal);
                assert_eq!(running.line(), name, "{caller}, {policy}");
            }
        }
    }
}

#[test]
fn a_stop_stops_launcher_and_command_and_cont_continues_both() {
    for caller in Caller::both() {
        let policy = "filesystem.root = \"minimal\"\nprocess.terminal = \"none\"";
        let script = "trap 'echo continued' CONT; echo ready; while :; do :; done";
        let mut running = Sandbox::new(policy).caller(caller).start(["sh", "-c", script]);
        assert_eq!(running.line(), "ready", "{caller}: {}", running.stderr_text());
        let command = running.events()[0]["pids"]["command"].to_string();
        let waits_for = |state: char| {
            for pid in [&running.pid().to_string(), &command] {
                let end = Instant::now() + TIMEOUT;
                loop {
                    let stat =
                        std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
                    let is = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
                    if is == Some(state) {
                        break;
                    }
                    assert!(Instant::now() < end, "{caller}: {pid} is {is:?}, not {state}");
                    std::thread::yield_now();
                }
            }
        };
        running.signal(Signal::TSTP);
        waits_for('T');
        running.signal(Signal::CONT);
        assert_eq!(running.line(), "continued", "{caller}");
        running.signal(Signal::TERM);
        assert_eq!(running.wait().code(), 143, "{caller}");
    }
}

#[test]
fn a_command_that_does_not_handle_term_dies_of_it() {
    for caller in Caller::both() {
        let policy = MINIMAL;
        let script = "echo ready; exec sleep 60";
        let mut running = Sandbox::new(policy).caller(caller).start(["sh", "-c", script]);
        assert_eq!(running.line(), "ready", "{caller}: {}", running.stderr_text());
        running.signal(Signal::TERM);
        let output = running.wait();
        assert_eq!(output.code(), 143, "{caller}");
        let exit = output.event("exit").expect("an exit event");
        assert_eq!(
            (&exit["ended_by"], &exit["signal"]),
            (&"signal".into(), &15.into()),
            "{caller}"
        );
    }
}

#[test]
fn everything_ends_with_the_callers_process() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for policy in ["", "process.die_with_parent = \"process\"", "namespaces.init = \"none\""] {
            let policy = format!("{MINIMAL}\n{policy}");
            assert!(Orphan::new(&policy, caller).ends(), "{caller}, {policy}");
        }
        let in_place = format!("{MINIMAL}{IN_PLACE}process.die_with_parent = \"thread\"");
        assert!(Orphan::new(&in_place, caller).ends(), "{caller}");
        let watched = in_place.replace("thread", "process");
        assert!(Orphan::new(&watched, caller).ends(), "{caller}");
    }
}

#[test]
fn a_command_that_may_outlive_its_caller_does() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let policy = "filesystem.root = \"minimal\"\nprocess.die_with_parent = false";
        assert!(Orphan::new(policy, caller).answers(), "{caller}");
        let in_place = format!("{MINIMAL}{IN_PLACE}");
        assert!(Orphan::new(&in_place, caller).answers(), "{caller}");
    }
}

#[test]
fn everything_ends_with_the_waiter() {
    for caller in Caller::both() {
        let policy = "filesystem.root = \"minimal\"\nprocess.die_with_parent = false";
        let (mut alive, held) = std::io::pipe().expect("a pipe is made");
        let policy = format!("{policy}\nprocess.keep_fds = [7]");
        let script = "echo ready; sleep 60 & sleep 60";
        let mut running =
            Sandbox::new(&policy).caller(caller).pass(held, 7).start(["sh", "-c", script]);
        assert_eq!(running.line(), "ready", "{caller}: {}", running.stderr_text());
        running.signal(Signal::KILL);
        assert!(ends(&mut alive), "{caller}");
    }
}

#[test]
fn what_the_command_leaves_behind_ends_with_it() {
    for caller in Caller::both() {
        let (mut alive, held) = std::io::pipe().expect("a pipe is made");
        let policy = "process.keep_fds = [7]";
        let sandbox = Sandbox::new(policy).caller(caller).pass(held, 7);
        let outcome = sandbox.probe("orphan");
        assert!(outcome.is_ok(), "{caller}: {outcome:?}");
        drop(sandbox);
        assert!(ends(&mut alive), "{caller}");
    }
}

#[test]
fn another_process_can_be_named_as_the_caller() {
    for caller in Caller::both() {
        let other = Sandbox::outside().caller(caller).start(["sleep", "60"]);
        let pidfd: OwnedFd = other.pidfd().try_clone().expect("dup");
        let mut running = Sandbox::new(MINIMAL)
            .caller(caller)
            .pass(pidfd, 150)
            .option("--parent-fd=150")
            .start(["sh", "-c", "echo ready; exec sleep 60"]);
        assert_eq!(running.line(), "ready", "{caller}: {}", running.stderr_text());
        drop(other);
        let output = running.wait();
        assert_eq!(output.code(), 137, "{caller}: {output:?}");
        assert_eq!(output.event("exit").map(|exit| &exit["ended_by"]), Some(&"caller".into()));
    }
}

#[test]
fn a_process_that_is_named_as_the_caller_counts_whatever_the_policy_says() {
    harness::needs_landlock!(6);
    let in_place = format!("{MINIMAL}{IN_PLACE}");
    for caller in Caller::both() {
        for policy in [MINIMAL, &in_place] {
            for more in ["", "process.die_with_parent = false"] {
                let what = format!("{caller}, {policy}, {more}");
                let (mut alive, held) = std::io::pipe().expect("a pipe is made");
                let other = Sandbox::outside().caller(caller).start(["sleep", "60"]);
                let pidfd: OwnedFd = other.pidfd().try_clone().expect("dup");
                let policy = format!("{policy}\n{more}\nprocess.keep_fds = [7]");
                let mut running = Sandbox::new(&policy)
                    .caller(caller)
                    .pass(held, 7)
                    .pass(pidfd, 150)
                    .option("--parent-fd=150")
                    .start(["sh", "-c", "echo ready; exec sleep 60"]);
                assert_eq!(running.line(), "ready", "{what}: {}", running.stderr_text());
                drop(other);
                assert!(ends(&mut alive), "{what}");
                let output = running.wait();
                assert_eq!(output.code(), 137, "{what}: {output:?}");
                let exit = output.event("exit").expect("an exit event");
                assert_eq!(exit["ended_by"], "caller", "{what}");
            }
        }
    }
}

#[test]
fn a_session_that_cannot_be_started_is_a_refusal() {
    harness::needs_landlock!(6);
    needs_strace!();
    for caller in Caller::both() {
        // EPERM is what a group leader gets, and nobody here is one.
        for policy in ["", IN_PLACE] {
            let sandbox = Sandbox::new(policy).caller(caller);
            let output = inject(sandbox, "setsid:error=EPERM").run(["true"]);
            assert_eq!(output.code(), 125, "{caller}, {policy}: {output:?}");
            let failure = output.failure();
            let said = (&failure["stage"], &failure["call"], &failure["error"]);
            let expected = ["session", "setsid", "EPERM"].map(Into::into);
            assert_eq!(said, expected.each_ref().into(), "{caller}, {policy}");
        }
    }
}

#[test]
fn a_terminal_that_cannot_be_opened_is_a_refusal_and_none_is_not() {
    needs_strace!();
    for caller in Caller::both() {
        for (error, code) in [("EMFILE", 125), ("ENXIO", 0), ("EIO", 0)] {
            let fault = format!("inject=openat,open:error={error}");
            let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", "/dev/tty", "-e", &fault];
            let sandbox = Sandbox::new("").caller(caller).wrap(strace).wrap(["--"]);
            let output = sandbox.run([sandbox.probe_path(), "say ran".into()]);
            assert_eq!(output.code(), code, "{caller}, {error}: {output:?}");
            if code != 0 {
                let failure = output.failure();
                let said = (&failure["stage"], &failure["error"], &failure["path"]);
                let expected = ["session", error, "/dev/tty"].map(Into::into);
                assert_eq!(said, expected.each_ref().into(), "{caller}");
            }
        }
    }
}

#[test]
fn a_terminal_that_another_sandbox_hides_is_left_by_a_session_of_its_own() {
    needs_strace!();
    for caller in Caller::both() {
        for policy in ["", IN_PLACE] {
            let fault = "inject=openat,open:error=EACCES";
            let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", "/dev/tty", "-e", fault];
            // The launcher leads a group, which cannot start a session.
            let leader = ["setsid", "--wait"];
            let sandbox = Sandbox::new(policy).caller(caller).wrap(strace).wrap(["--"]);
            let outcomes = sandbox.wrap(leader).probes(&["sid", "pid"]);
            assert_eq!(outcomes[0], outcomes[1], "{caller}, {policy}");
        }
        let keep = "process.terminal = \"keep\"";
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", "/dev/tty"];
        let fault = ["-e", "inject=openat,open:error=EACCES", "--"];
        let sandbox = Sandbox::new(keep).caller(caller).wrap(strace).wrap(fault);
        assert_eq!(sandbox.run(["true"]).code(), 125, "{caller}");
    }
}

#[test]
fn the_death_signal_is_not_cleared_by_the_command() {
    harness::needs_landlock!(6);
    // PR_SET_PDEATHSIG = 1.
    let lines = ["syscall prctl 1 0", "syscall prctl 1 15", "death-signal"];
    let refused = || Outcome::Errno(Errno::PERM);
    for caller in Caller::both() {
        let outcomes = Sandbox::new("").caller(caller).probes(&lines);
        assert_eq!(outcomes[..2], [refused(), refused()], "{caller}");
        let thread = format!("{IN_PLACE}\nprocess.die_with_parent = \"thread\"");
        let outcomes = Sandbox::new(&thread).caller(caller).probes(&lines);
        let kill = Outcome::Ok("9".into());
        assert_eq!(outcomes, [refused(), refused(), kill], "{caller}");
        let never = "process.die_with_parent = false";
        let outcomes = Sandbox::new(never).caller(caller).probes(&lines);
        assert!(outcomes.iter().all(Outcome::is_ok), "{caller}: {outcomes:?}");
    }
}

#[test]
fn a_command_without_a_waiter_ends_with_its_caller_only_where_that_is_asked_for() {
    harness::needs_landlock!(6);
    needs_strace!();
    // Where a terminal cannot be seen, as inside a sandbox, the command gets a
    // session, of which it is then the leader.
    let strace = ["strace", "-f", "-qqq", "-o", "/dev/null", "-P", "/dev/tty"];
    let fault = ["-e", "inject=?open,openat:error=EACCES", "--"];
    for caller in Caller::both() {
        for (asked, signal, with) in
            [("", "ok 0", "nobody"), ("process.die_with_parent = 'thread'", "ok 9", "thread")]
        {
            let policy = format!("{IN_PLACE}\n{asked}");
            let sandbox = Sandbox::new(&policy).caller(caller).wrap(strace).wrap(fault);
            let output = sandbox.run([sandbox.probe_path(), "death-signal".into()]);
            assert_eq!(output.stdout_text().trim_end(), signal, "{caller}: {output:?}");
            let launch = output.event("launch").expect("a launch event");
            assert_eq!(launch["die_with_parent"], with, "{caller}: {output:?}");
        }
    }
}

/// A command whose caller has been killed.
struct Orphan {
    /// Ends when the command, and all that it started, has.
    alive: PipeReader,
    /// Its standard input.
    order: PipeWriter,
}

impl Orphan {
    fn new(policy: &str, caller: Caller) -> Self {
        let (alive, held) = std::io::pipe().expect("a pipe is made");
        let (input, order) = std::io::pipe().expect("a pipe is made");
        // The shell stays the launcher's parent.
        let mut running = Sandbox::new(&format!("{policy}\nprocess.keep_fds = [7]"))
            .caller(caller)
            .wrap(["sh", "-c", "\"$@\"; exit", "sh"])
            .stdin_from(input)
            .pass(held, 7)
            .start(["sh", "-c", "echo ready; read line; echo still here >&7; read line"]);
        assert_eq!(running.line(), "ready", "{caller}: {}", running.stderr_text());
        running.signal(Signal::KILL);
        drop(running);
        Self { alive, order }
    }

    /// It ends, and all that it started.
    fn ends(mut self) -> bool {
        ends(&mut self.alive)
    }

    /// It answers, and ends then.
    fn answers(mut self) -> bool {
        self.order.write_all(b"still there?\nyou can go\n").expect("it is told");
        let mut answer = [0; 10];
        is_ready(&self.alive, TIMEOUT) && self.alive.read(&mut answer).expect("it is read") > 0
    }
}

/// Whether every process that holds the other end of a pipe ends.
fn ends(alive: &mut PipeReader) -> bool {
    is_ready(alive, TIMEOUT) && alive.read(&mut [0]).expect("a pipe is read") == 0
}
