//! The listener of a filter that asks a supervisor: who gets it, and when.

use std::os::fd::OwnedFd;
use std::thread;

use harness::{Caller, Errno, IN_PLACE, Outcome, Output, Sandbox};
use launcher_supervisor::{Answer, Handover, Listener, Notification};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// Asks about a call that the launcher makes itself, and about exec.
const ASKS: &str = r#"
    [[seccomp.rule]]
    call = ["getppid", "execve"]
    action = "notify"
"#;

/// Runs a command while `decide` answers what is asked about.
fn supervised(
    sandbox: Sandbox,
    command: &[&str],
    decide: impl Fn(&Listener, Notification) + Send,
) -> Output {
    let (handover, theirs) = Handover::pair().expect("a socket");
    let running = sandbox.option("--notify-fd").option("9").pass(theirs, 9).start(command);
    thread::scope(|scope| {
        scope.spawn(move || {
            let Some(listener) = handover.receive().expect("it is received") else { return };
            while let Some(asked) = listener.receive().expect("it listens") {
                decide(&listener, asked);
            }
        });
        running.wait()
    })
}

fn is_exec(asked: &Notification) -> bool {
    u32::try_from(asked.call) == Ok(linux_raw_sys::general::__NR_execve)
}

#[test]
fn a_supervisor_answers_what_it_is_asked_on_every_rung() {
    for policy in [ASKS, &format!("{IN_PLACE}{ASKS}")] {
        for caller in Caller::both() {
            let sandbox = Sandbox::new(policy).caller(caller);
            let probe = sandbox.probe_path();
            let outcome = supervised(sandbox, &[&probe, "syscall getppid"], |listener, asked| {
                let answer = if is_exec(&asked) { Answer::Continue } else { Answer::Return(4242) };
                assert!(listener.answer(asked.id, answer).expect("it is answered"));
            });
            outcome.assert_said(&["ok 4242"]);
        }
    }
}

#[test]
fn the_command_does_not_begin_before_its_supervisor_lets_it() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new(ASKS).caller(caller);
        let probe = sandbox.probe_path();
        let outcome = supervised(sandbox, &[&probe, "pid"], |listener, asked| {
            listener.answer(asked.id, Answer::Fail(Errno::TXTBSY)).expect("it is answered");
        });
        assert_eq!((outcome.code(), outcome.stdout_text().as_str()), (126, ""), "{outcome:?}");
        assert!(outcome.stderr_text().contains("ETXTBSY"), "{outcome:?}");
    }
}

#[test]
fn without_a_supervisor_that_is_left_calls_fail() {
    let sandbox = Sandbox::new(ASKS);
    let probe = sandbox.probe_path();
    let (handover, theirs) = Handover::pair().expect("a socket");
    let sandbox = sandbox.option("--notify-fd").option("9").pass(theirs, 9);
    let running = sandbox.start([probe.as_str(), "pid"]);
    drop(handover.receive().expect("it is received").expect("there is one"));
    let outcome = running.wait();
    assert_eq!((outcome.code(), outcome.stdout_text().as_str()), (126, ""), "{outcome:?}");
    assert!(outcome.stderr_text().contains("ENOSYS"), "{outcome:?}");
}

#[test]
fn a_launch_that_nobody_supervises_is_refused() {
    let refused = |sandbox: Sandbox, why: &str| {
        let outcome = sandbox.run(["/nowhere"]);
        assert_eq!(outcome.code(), 125, "{outcome:?}");
        assert!(outcome.stderr_text().contains(why), "{outcome:?}");
    };
    for policy in [ASKS, &format!("{IN_PLACE}{ASKS}")] {
        refused(Sandbox::new(policy), "there is none; say --notify-fd N");
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let pipe = Sandbox::new(policy).option("--notify-fd").option("9").pass(reader, 9);
        refused(pipe, "not a UNIX socket");
        let closed = Sandbox::new(policy).option("--notify-fd").option("9");
        refused(closed, "not open");
        // Who has it could tell the supervisor anything.
        let kept = format!("process.keep_fds = [9]\n{policy}");
        let kept = Sandbox::new(&kept).option("--notify-fd").option("9").pass(pair().1, 9);
        refused(kept, "among the policy's keep_fds");
    }
}

#[test]
fn a_supervisor_that_is_gone_ends_the_launch_before_the_command() {
    let (ours, theirs) = pair();
    drop(ours);
    let sandbox = Sandbox::new(ASKS).option("--notify-fd").option("9").pass(theirs, 9);
    let outcome = sandbox.run(["/nowhere"]);
    assert_eq!(outcome.code(), 125, "{outcome:?}");
    assert!(outcome.stderr_text().contains("EPIPE"), "{outcome:?}");
}

fn pair() -> (OwnedFd, OwnedFd) {
    let kind = SocketType::SEQPACKET;
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("a socket")
}

#[test]
fn a_command_gets_nothing_of_how_it_is_supervised() {
    for policy in [ASKS, &format!("{IN_PLACE}{ASKS}")] {
        let sandbox = Sandbox::new(policy);
        let probe = sandbox.probe_path();
        let let_it = |listener: &Listener, asked: Notification| {
            listener.answer(asked.id, Answer::Continue).expect("it is answered");
        };
        let outcome =
            supervised(sandbox, &[&probe, "fds", "syscall wait4 -1 0 0x40000001"], let_it);
        let control = Sandbox::new(policy.strip_suffix(ASKS).unwrap_or_default());
        let without = control.probes(&["fds"]);
        let text = outcome.stdout_text();
        let lines: Vec<&str> = text.lines().collect();
        let Outcome::Ok(fds) = &without[0] else { panic!("{without:?}") };
        // Nor is there a child that it has not made, of whatever kind (__WALL).
        let none = format!("errno {}", Errno::CHILD.raw_os_error());
        assert_eq!(lines, [format!("ok {fds}"), none], "{outcome:?}");
    }
}
