//! The guard: what outlives a launcher that is killed, ends what that has
//! started, and removes its cgroup.

use std::collections::BTreeSet;
use std::fs;
use std::io::{PipeReader, Read};
use std::path::PathBuf;
use std::time::Instant;

use harness::{Running, Sandbox, TIMEOUT, is_ready, needs, skip};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::cgroup::{Cgroup, WITHOUT_PID, in_cgroup};
use crate::kills::left;

/// With PID 1, with the command as PID 1, without a PID namespace.
const POLICIES: [&str; 3] = [
    "filesystem.root = 'minimal'\n",
    "filesystem.root = 'minimal'\nnamespaces.init = 'none'\n",
    WITHOUT_PID,
];

/// Starts what no signal to a group ends and nobody waits for, and runs on.
const DAEMON: &str =
    "(setsid sh -c 'sleep 1000 & echo ready; exec sleep 1000' &); read -r line; exit 3";

/// A command that has started a daemon, in a group of its own.
struct Victim {
    running: Running,
    /// Ends when every process that has the other end has ended.
    alive: PipeReader,
    token: String,
}

impl Victim {
    fn start(cgroup: &Cgroup, policy: &str, add: impl Fn(Sandbox) -> Sandbox) -> Self {
        let (alive, held) = std::io::pipe().expect("a pipe is made");
        let token = format!("victim-{:016x}", fastrand::u64(..));
        let policy = format!("{policy}process.keep_fds = [7]\n");
        let sandbox = add(in_cgroup(cgroup, &policy)).pass(held, 7);
        let mut running = sandbox.start(["sh", "-c", DAEMON, &token]);
        assert_eq!(running.line(), "ready", "{policy}: {}", running.stderr_text());
        Self { running, alive, token }
    }

    /// The process beside the command, or PID 1, that is no member of the group.
    fn guard(&self, cgroup: &Cgroup) -> Pid {
        let launcher = self.running.pid();
        let children = fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children"));
        let groups = cgroup.children();
        let members = groups.iter().map(|group| fs::read_to_string(group.join("cgroup.procs")));
        let members: String = members.map(|members| members.expect("it is read")).collect();
        let members: BTreeSet<&str> = members.lines().collect();
        let children = children.expect("the launcher waits");
        let guards: Vec<_> =
            children.split_whitespace().filter(|child| !members.contains(child)).collect();
        assert_eq!(guards.len(), 1, "{children}: {members:?}");
        Pid::from_raw(guards[0].parse().expect("a number")).expect("not 0")
    }

    /// Waits until all of it is gone, and the group.
    fn wait_until_gone(mut self, cgroup: &Cgroup, what: &str) {
        assert!(is_ready(&self.alive, TIMEOUT), "{what}: something runs on");
        assert_eq!(self.alive.read(&mut [0]).expect("it is read"), 0, "{what}");
        self.running.wait();
        cgroup.wait_until_empty();
        let end = Instant::now() + TIMEOUT;
        while let Some(left) = left(&self.token, &[]) {
            assert!(Instant::now() < end, "{what}: {left}");
            std::thread::yield_now();
        }
    }
}

macro_rules! cgroup {
    ($name:literal) => {{
        harness::needs_landlock!(6);
        needs!("setsid");
        match Cgroup::new($name) {
            Some(cgroup) => cgroup,
            None => skip!("cgroup", "no cgroup of version 2 can be made here"),
        }
    }};
}

#[test]
fn a_launcher_that_is_killed_leaves_neither_daemons_nor_its_cgroup() {
    let cgroup = cgroup!("killed");
    for policy in POLICIES {
        let victim = Victim::start(&cgroup, policy, |sandbox| sandbox);
        victim.running.signal(Signal::KILL);
        victim.wait_until_gone(&cgroup, policy);
    }
}

#[test]
fn a_launcher_that_is_killed_with_its_whole_process_group_leaves_nothing_either() {
    let cgroup = cgroup!("killed-group");
    for policy in POLICIES {
        // The launcher leads a group of its own.
        let victim = Victim::start(&cgroup, policy, |sandbox| sandbox.wrap(["setsid"]));
        let launcher = Pid::from_raw(victim.running.pid()).expect("not 0");
        kill_process_group(launcher, Signal::KILL).expect("it leads one");
        victim.wait_until_gone(&cgroup, policy);
    }
}

#[test]
fn a_launch_whose_guard_is_killed_is_over() {
    let cgroup = cgroup!("guard-killed");
    for policy in POLICIES {
        let mut victim = Victim::start(&cgroup, policy, |sandbox| sandbox);
        kill_process(victim.guard(&cgroup), Signal::KILL).expect("it runs");
        assert!(is_ready(&victim.alive, TIMEOUT), "{policy}: something runs on");
        assert_eq!(victim.alive.read(&mut [0]).expect("it is read"), 0, "{policy}");

        let output = victim.running.wait();

        assert_eq!(output.code(), 125, "{policy}: {output:?}");
        let failure = output.event("failure").unwrap_or_else(|| panic!("{policy}: {output:?}"));
        assert_eq!(failure["call"], "guard", "{policy}");
        assert!(output.stderr_text().contains("guard: "), "{policy}: {output:?}");
        assert!(cgroup.children().is_empty(), "{policy}: {:?}", cgroup.children());
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_launch_whose_guard_cannot_do_its_part_is_over() {
    use syscalls::Sysno;
    let cgroup = cgroup!("guard-faults");
    harness::needs_strace!();
    for call in [Sysno::capset, Sysno::prctl, Sysno::close_range, Sysno::ppoll] {
        for policy in POLICIES {
            let sandbox = in_cgroup(&cgroup, policy);
            // The first call of the second process, which is the guard, is EPERM.
            let fault = sandbox.binaries().fault();
            let numbers = [1, call.id(), 1, 1].map(|number| number.to_string());
            let sandbox = sandbox.wrap([fault]).wrap(numbers).wrap(["--"]);
            let output = sandbox.run(["sleep", "1000"]);
            assert_eq!(output.code(), 125, "{call}, {policy}: {output:?}");
            let failure = output.event("failure").unwrap_or_else(|| panic!("{call}: {output:?}"));
            assert_eq!(failure["call"], "guard", "{call}, {policy}");
            assert!(cgroup.children().is_empty(), "{call}: {:?}", cgroup.children());
        }
    }
}

#[test]
fn no_signal_but_kill_ends_the_guard() {
    let cgroup = cgroup!("guard-signaled");
    let mut victim = Victim::start(&cgroup, WITHOUT_PID, |sandbox| sandbox);
    let guard = victim.guard(&cgroup);
    for signal in [Signal::HUP, Signal::INT, Signal::TERM, Signal::QUIT, Signal::TSTP, Signal::SEGV]
    {
        kill_process(guard, signal).expect("it runs");
    }
    assert_eq!(guard, victim.guard(&cgroup));
    victim.running.write("end\n");
    assert_eq!(victim.running.wait().code(), 3);
}

#[test]
fn the_guard_has_nothing_that_it_does_not_need() {
    let cgroup = cgroup!("guard-needs");
    for policy in POLICIES {
        let mut victim = Victim::start(&cgroup, policy, |sandbox| sandbox);
        let guard = PathBuf::from(format!("/proc/{}", victim.guard(&cgroup).as_raw_nonzero()));
        let fds = || {
            let fds = fs::read_dir(guard.join("fd")).expect("it runs");
            let leads_to = |fd: &fs::DirEntry| fs::read_link(fd.path()).ok();
            fds.filter_map(|fd| leads_to(&fd.expect("it is listed"))).collect::<Vec<_>>()
        };
        // The command may be faster than its guard.
        let end = Instant::now() + TIMEOUT;
        while fds().len() != 2 {
            assert!(Instant::now() < end, "{policy}: {:?}", fds());
            std::thread::yield_now();
        }
        assert!(fds().contains(&cgroup.directory), "{policy}: {:?}", fds());
        let status = fs::read_to_string(guard.join("status")).expect("it runs");
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
            u64::from_str_radix(line.unwrap_or_default(), 16).expect("a number")
        };
        // CAP_DAC_OVERRIDE, if that.
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(of(set) & !(1 << 1), 0, "{policy}: {set}: {status}");
        }
        // SIGKILL and SIGSTOP cannot be blocked.
        assert_eq!(of("SigBlk") | 1 << 8 | 1 << 18, u64::MAX, "{policy}: {status}");
        victim.running.write("end\n");
        assert_eq!(victim.running.wait().code(), 3, "{policy}");
    }
}

#[test]
fn the_end_of_a_commands_output_is_seen_beside_a_guard() {
    let cgroup = cgroup!("guard-output");
    for policy in POLICIES {
        let (output, end) = std::io::pipe().expect("a pipe is made");
        let sandbox = in_cgroup(&cgroup, policy).stdout_to(end);
        let (input, mut go) = std::io::pipe().expect("a pipe is made");
        let sandbox = sandbox.stdin_from(input);
        let running = sandbox.start(["sh", "-c", "exec >&-; read -r line; exit 3"]);
        drop(sandbox);
        assert_eq!(std::io::read_to_string(output).expect("it ends"), "", "{policy}");
        // It runs on, or there would be nobody to read it.
        std::io::Write::write_all(&mut go, b"end\n").expect("it is read");
        assert_eq!(running.wait().code(), 3, "{policy}");
    }
}

#[test]
fn a_launch_that_ends_leaves_no_guard() {
    let cgroup = cgroup!("guard-ends");
    for policy in POLICIES {
        for (command, code) in [("exit 3", 3), ("exec /no/such/program", 127)] {
            let token = format!("victim-{:016x}", fastrand::u64(..));
            let output = in_cgroup(&cgroup, policy).run(["sh", "-c", command, &token]);
            // At once: it is gone before the launcher is.
            assert_eq!(left(&token, &[]), None, "{policy}");
            assert_eq!(output.code(), code, "{policy}: {output:?}");
            assert!(cgroup.children().is_empty(), "{policy}: {:?}", cgroup.children());
        }
    }
}

#[test]
fn a_cgroup_that_cannot_be_made_leaves_no_guard() {
    let cgroup = cgroup!("guard-refused");
    // No group may be made in it.
    fs::write(cgroup.directory.join("cgroup.max.descendants"), "0").expect("it is limited");
    let token = format!("victim-{:016x}", fastrand::u64(..));

    let output = in_cgroup(&cgroup, POLICIES[0]).run(["sh", "-c", "exit 3", &token]);

    assert_eq!(left(&token, &[]), None);
    assert_eq!(output.code(), 125, "{output:?}");
    assert_eq!(output.failure()["call"], "--cgroup-fd", "{output:?}");
}
