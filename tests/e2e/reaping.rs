//! PID 1: orphans are reaped, everything ends with the command, and who is
//! PID 1 makes the difference it makes.

use std::io::Read;

use harness::{Caller, Errno, Outcome, Sandbox, TIMEOUT, skip};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

/// Programs of the system; the defaults for everything else.
const MINIMAL: &str = "filesystem.root = 'minimal'\n";

/// The command is PID 1.
const NO_REAPER: &str = "filesystem.root = 'minimal'\nnamespaces.init = 'none'\n";

/// No namespace is made; where the launcher is PID 1 it stays to reap.
const CONTAINER: &str = "
[filesystem]
root = 'minimal'
read = ['/proc']
write = ['/dev/null']
tmp = 'none'
proc = false
dev = 'none'
[network]
unix = 'host'
[namespaces]
init = 'reaper'
[enforce]
namespaces = 'off'
waive = ['execute']
";

/// The numbers of signals.
const SIGTERM: i32 = 15;

/// Leaves an orphan, says whose child it is, ends it, waits until it is gone.
const ORPHAN: &str = r#"
    orphan=$(sleep 1000 > /dev/null & echo $!)
    parent() { read -r stat < "/proc/$1/stat"; stat=${stat##*) }; stat=${stat#* }; echo "${stat%% *}"; }
    until [ "$(parent "$orphan")" != "$$" ] && [ "$(parent "$orphan")" = 1 ]; do :; done
    echo "an orphan of PID 1"
    kill -KILL "$orphan"
    while [ -e "/proc/$orphan" ]; do :; done
    echo "reaped"
"#;

/// Forks twice and says in which state the orphan ends up when it has ended.
const ZOMBIE: &str = r#"
import os
reading, writing = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(writing, b"%d" % os.getpid())
        os._exit(0)
    os._exit(0)
os.wait()
orphan = int(os.read(reading, 16))
while True:
    try:
        state = open(f"/proc/{orphan}/stat").read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        print("gone")
        break
    if state == "Z" and os.getpid() == 1:
        print("a zombie")
        break
"#;

/// Forks twice as daemons do, with a session of its own, and ends before it.
const DAEMON: &str = "(setsid sh -c 'echo daemon; exec sleep 1000' &); read -r line; exit 0";

macro_rules! needs {
    ($($program:literal),+) => {
        $(if !harness::PATH.split(':').any(|part| std::path::Path::new(part).join($program).is_file()) {
            skip!($program, "the program is not installed");
        })+
    };
}

#[test]
fn an_orphan_becomes_a_child_of_pid_1_and_is_reaped() {
    needs!("bash");
    for caller in Caller::both() {
        let output = Sandbox::new(MINIMAL).caller(caller).run(["bash", "-c", ORPHAN]);

        assert_eq!(output.stdout_text(), "an orphan of PID 1\nreaped\n", "{caller}: {output:?}");
        assert_eq!(output.code(), 0, "{caller}: {output:?}");
    }
}

#[test]
fn a_program_that_forks_twice_leaves_no_zombie() {
    needs!("python3");
    let command = ["python3", "-c", ZOMBIE];
    for caller in Caller::both() {
        let reaped = Sandbox::new(MINIMAL).caller(caller).run(command);
        // The control: Python as PID 1 does not reap what it has not started.
        let left = Sandbox::new(NO_REAPER).caller(caller).run(command);

        assert_eq!(reaped.stdout_text(), "gone\n", "{caller}: {reaped:?}");
        assert_eq!(left.stdout_text(), "a zombie\n", "{caller}: {left:?}");
    }
}

#[test]
fn many_orphans_at_once_are_all_reaped() {
    needs!("bash", "grep");
    const COMMAND: &str = r#"
        for _ in {1..100}; do (true &); done
        while grep -qs '^State:.Z' /proc/[0-9]*/status; do :; done
        echo "none is left"
    "#;
    for caller in Caller::both() {
        let output = Sandbox::new(MINIMAL).caller(caller).run(["bash", "-c", COMMAND]);

        assert_eq!(output.stdout_text(), "none is left\n", "{caller}: {output:?}");
    }
}

#[test]
fn a_daemon_ends_with_the_command() {
    needs!("bash", "setsid");
    for caller in Caller::both() {
        for policy in [MINIMAL, NO_REAPER] {
            let (input, end) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe is made");
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe is made");
            let mut reader = std::fs::File::from(reader);
            let sandbox = Sandbox::new(policy).caller(caller).stdin_from(input).stdout_to(writer);

            let running = sandbox.start(["bash", "-c", DAEMON]);
            // With the test's copies of the command's ends.
            drop(sandbox);
            let mut said = [0; 7];
            reader.read_exact(&mut said).expect("the daemon runs");
            drop(end);
            let output = running.wait();

            assert_eq!(&said, b"daemon\n", "{caller}");
            assert_eq!(output.code(), 0, "{caller}: {output:?}");
            // Nobody has the pipe's other end any more.
            let wait = Timespec::try_from(TIMEOUT).expect("a timeout");
            let mut ends = [PollFd::new(&reader, PollFlags::IN)];
            assert_eq!(poll(&mut ends, Some(&wait)), Ok(1), "{caller}: the daemon runs on");
            assert_eq!(reader.read(&mut said).expect("it is read"), 0, "{caller}");
        }
    }
}

#[test]
fn the_command_is_pid_2_and_dies_of_signals_as_it_does_outside() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new("").caller(caller);
        let probe = sandbox.probe_path();
        assert_eq!(
            sandbox.probes(&["pid", "ppid"]),
            [Outcome::Ok("2".into()), Outcome::Ok("1".into())],
            "{caller}"
        );

        let output = sandbox.run([probe.as_str(), &format!("raise {SIGTERM}"), "say survived"]);

        assert_eq!(output.code(), 128 + SIGTERM, "{caller}: {output:?}");
        assert_eq!(output.stdout_text(), "", "{caller}");
    }
}

#[test]
fn with_init_none_the_command_is_pid_1_which_signals_do_not_end() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new("namespaces.init = 'none'").caller(caller);
        let probe = sandbox.probe_path();
        assert_eq!(
            sandbox.probes(&["pid", "ppid"]),
            [Outcome::Ok("1".into()), Outcome::Ok("0".into())],
            "{caller}"
        );

        let raise = format!("raise {SIGTERM}");
        let output = sandbox.run([probe.as_str(), &raise, "say survived", "exit 9"]);

        assert_eq!(output.code(), 9, "{caller}: {output:?}");
        assert!(output.stdout_text().ends_with("ok survived\n"), "{caller}: {output:?}");
        assert_eq!(output.event_names(), ["launch", "exec", "exit"], "{caller}");
    }
}

#[test]
fn the_priority_of_pid_1_is_not_changed_from_inside() {
    harness::needs_namespaces!();
    // PRIO_PROCESS and PRIO_USER; the class for idle disks. The kernel answers
    // with 20 for a nice value of 0.
    const LINES: [&str; 5] = [
        "syscall getpriority 0 1",
        "syscall setpriority 0 1 19",
        "syscall setpriority 2 0 19",
        "syscall ioprio_set 1 1 24576",
        "syscall getpriority 0 1",
    ];
    for caller in Caller::both() {
        let outcomes = Sandbox::new("").caller(caller).probes(&LINES);
        let denied = [const { Outcome::Errno(Errno::PERM) }; 3];
        assert_eq!(outcomes[1..4], denied, "{caller}");
        assert_eq!(outcomes[0], outcomes[4], "{caller}");
        // The control: where nobody is PID 1 but the command.
        let outcomes = Sandbox::new("namespaces.init = 'none'").caller(caller).probes(&LINES);
        assert!(outcomes.iter().all(Outcome::is_ok), "{caller}: {outcomes:?}");
        assert_ne!(outcomes[0], outcomes[4], "{caller}");
    }
}

/// A stand-in for a container: the launcher is its PID 1.
const UNSHARE: [&str; 5] = ["unshare", "--pid", "--fork", "--mount-proc", "--"];

/// Whether there can be such a stand-in.
fn has_unshare() -> bool {
    let is_root = Caller::both().iter().any(|caller| caller.is_root());
    is_root && Sandbox::outside().wrap(UNSHARE).probe("pid") == Outcome::Ok("1".into())
}

#[test]
fn a_launcher_that_is_pid_1_stays_and_reaps() {
    harness::needs_landlock!(6);
    needs!("bash");
    if !has_unshare() {
        skip!("unshare", "a PID namespace takes root and unshare(1)");
    }
    let sandbox = Sandbox::new(CONTAINER).wrap(UNSHARE);
    assert_eq!(sandbox.probe("ppid"), Outcome::Ok("1".into()));

    let output = sandbox.run(["bash", "-c", &format!("{ORPHAN}\nexit 5")]);

    assert_eq!(output.stdout_text(), "an orphan of PID 1\nreaped\n", "{output:?}");
    assert_eq!(output.code(), 5, "{output:?}");
    assert_eq!(output.event_names(), ["launch", "exec", "exit"], "{output:?}");
    let launch = output.event("launch").expect("it was launched");
    assert_eq!(launch["rung"], "landlock", "it makes no namespace: {launch}");
    assert_eq!(launch["layers"]["namespaces"], "off", "{launch}");
}

#[test]
fn a_launcher_that_is_pid_1_becomes_the_command_where_no_reaper_is_wanted() {
    harness::needs_landlock!(6);
    if !has_unshare() {
        skip!("unshare", "a PID namespace takes root and unshare(1)");
    }
    let policy = CONTAINER.replace("init = 'reaper'", "init = 'none'");

    let sandbox = Sandbox::new(&policy).wrap(UNSHARE);

    let outcomes = sandbox.probes(&["pid", "ppid"]);
    assert_eq!(outcomes, [Outcome::Ok("1".into()), Outcome::Ok("0".into())]);
}
