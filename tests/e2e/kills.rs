//! What takes part in a launch is killed, at any moment: nothing of it
//! survives, nothing hangs, and no zombie stays.
//!
//! The moment is random: it is what is tested. `KILLS` says how many there are
//! of each.

use std::fs;
use std::io::{PipeReader, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use harness::{Caller, Running, Sandbox, TIMEOUT, is_ready, skip};
use rustix::process::{Pid, Signal, kill_process};

use crate::cgroup::{CGROUP_FD, Cgroup};

/// The last moment at which something is killed.
const LATEST: Duration = Duration::from_millis(20);

/// PID 1 and the command; the command as PID 1; no PID namespace.
const POLICIES: [&str; 3] = ["", "namespaces.init = 'none'", WATCHED];

/// Without a PID namespace: what ends is the command.
const WATCHED: &str = "namespaces.pid = false\nfilesystem.proc = false\nlimits.wall_time = '1h'";

/// A command that starts something of its own.
const COMMAND: &str = "sleep 1000 7>&7 & exec sleep 1000";

/// A command that starts what neither its end nor a signal to its group ends.
const DAEMON: &str = "setsid sleep 1000 7>&7 & exec sleep 1000";

/// A command that starts nothing.
const ALONE: &str = "exec sleep 1000";

/// How many of each are killed.
fn kills() -> usize {
    std::env::var("KILLS").map_or(25, |kills| kills.parse().expect("KILLS is a number"))
}

/// A launch on its way.
struct Victim {
    running: Running,
    /// Ends when every process that has the other end has ended.
    alive: PipeReader,
    /// A word that the command lines of its processes have.
    token: String,
}

impl Victim {
    fn start(policy: &str, caller: Caller, add: impl Fn(Sandbox) -> Sandbox) -> Self {
        let command = if policy.contains("pid = false") { ALONE } else { COMMAND };
        Self::start_as(command, policy, caller, add)
    }

    fn start_as(
        command: &str,
        policy: &str,
        caller: Caller,
        add: impl Fn(Sandbox) -> Sandbox,
    ) -> Self {
        let (alive, held) = std::io::pipe().expect("a pipe is made");
        let token = format!("victim-{:016x}", fastrand::u64(..));
        let policy = format!("filesystem.root = 'minimal'\nprocess.keep_fds = [7]\n{policy}");
        let sandbox = add(Sandbox::new(&policy).caller(caller).pass(held, 7));
        let running = sandbox.start(["sh", "-c", command, &token]);
        Self { running, alive, token }
    }

    /// Waits until all of it is gone; the test's own child has been killed, or
    /// ends by itself.
    fn wait_until_gone(mut self, what: &str) {
        assert!(is_ready(&self.alive, TIMEOUT), "{what}: something holds its descriptors");
        assert_eq!(self.alive.read(&mut [0]).expect("it is read"), 0, "{what}");
        let events = self.running.events();
        self.running.wait();
        let pids = events
            .iter()
            .flat_map(|event| ["launcher", "init", "command"].map(|who| &event["pids"][who]));
        let pids: Vec<String> =
            pids.filter_map(|pid| pid.as_u64()).map(|pid| pid.to_string()).collect();
        let end = Instant::now() + TIMEOUT;
        while let Some(left) = left(&self.token, &pids) {
            assert!(Instant::now() < end, "{what}: {left}");
            std::thread::yield_now();
        }
    }
}

/// A process with this word in its command line, or a zombie that one
/// of these has not waited for.
pub(crate) fn left(token: &str, pids: &[String]) -> Option<String> {
    let processes = fs::read_dir("/proc").expect("it is listed");
    processes.filter_map(|entry| Some(entry.ok()?.path())).find_map(|process| {
        let line = fs::read_to_string(process.join("cmdline")).ok()?;
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        // What is an orphan is for the host's PID 1 to wait for.
        let is_zombie = stat.rsplit_once(") Z ").is_some_and(|(_, rest)| {
            let parent = rest.split(' ').next().unwrap_or_default();
            pids.iter().any(|pid| pid == parent)
        });
        let is_left = line.contains(token) || is_zombie;
        is_left.then_some(stat)
    })
}

fn wait_a_moment() -> Duration {
    let moment = LATEST.mul_f64(fastrand::f64());
    std::thread::sleep(moment);
    moment
}

fn each(policies: &[&str], kill: impl Fn(&str, Caller) -> (Victim, Duration)) {
    for caller in Caller::both() {
        for policy in policies {
            for _ in 0..kills() {
                let (victim, moment) = kill(policy, caller);
                victim.wait_until_gone(&format!("{caller}, {policy}, after {moment:?}"));
            }
        }
    }
}

#[test]
fn nothing_survives_a_launcher_that_is_killed_at_any_moment() {
    each(&POLICIES, |policy, caller| {
        let victim = Victim::start(policy, caller, |sandbox| sandbox);
        let moment = wait_a_moment();
        victim.running.signal(Signal::KILL);
        (victim, moment)
    });
}

#[test]
fn nothing_survives_a_launcher_that_is_killed_at_any_moment_with_a_cgroup_nor_does_that() {
    harness::needs_landlock!(6);
    harness::needs!("setsid");
    let Some(cgroup) = Cgroup::new("kills") else {
        skip!("cgroup", "no cgroup of version 2 can be made here");
    };
    for policy in POLICIES {
        for _ in 0..kills() {
            let option = format!("--cgroup-fd={CGROUP_FD}");
            let add = |sandbox: Sandbox| sandbox.pass(cgroup.open(), CGROUP_FD).option(&option);
            let victim = Victim::start_as(DAEMON, policy, Caller::Root, add);
            let moment = wait_a_moment();
            victim.running.signal(Signal::KILL);
            victim.wait_until_gone(&format!("{policy}, after {moment:?}"));
            cgroup.wait_until_empty();
        }
    }
}

#[test]
fn nothing_survives_a_caller_that_is_killed_at_any_moment() {
    each(&POLICIES, |policy, caller| {
        let other = Sandbox::outside().caller(caller).start(["sleep", "1000"]);
        let pidfd: OwnedFd = other.pidfd().try_clone().expect("dup");
        let victim = Victim::start(policy, caller, move |sandbox| {
            let pidfd = pidfd.try_clone().expect("dup");
            sandbox.pass(pidfd, 150).option("--parent-fd=150")
        });
        let moment = wait_a_moment();
        drop(other);
        (victim, moment)
    });
}

#[test]
fn nothing_survives_a_pid_1_that_is_killed_at_any_moment() {
    each(&POLICIES[..2], |policy, caller| {
        let victim = Victim::start(policy, caller, |sandbox| sandbox);
        let moment = wait_a_moment();
        let launcher = victim.running.pid();
        let children = format!("/proc/{launcher}/task/{launcher}/children");
        // It may not be there yet; then it is killed as soon as it is.
        let init = loop {
            let children = fs::read_to_string(&children).expect("the launcher waits");
            if let Some(child) = children.split_whitespace().next() {
                break Pid::from_raw(child.parse().expect("a number")).expect("not 0");
            }
        };
        kill_process(init, Signal::KILL).expect("the launcher has not waited for it yet");
        (victim, moment)
    });
}

#[test]
fn a_thread_that_ends_takes_its_command_along_in_place_and_no_other() {
    harness::needs_landlock!(6);
    let of_thread =
        "process.die_with_parent = 'thread'\nnamespaces.pid = false\nfilesystem.proc = false";
    for caller in Caller::both() {
        for _ in 0..kills() {
            // The signal is armed when the command runs.
            let in_thread = |policy: &'static str| {
                let start = move || {
                    let (alive, held) = std::io::pipe().expect("a pipe is made");
                    let policy =
                        format!("filesystem.root = 'minimal'\nprocess.keep_fds = [7]\n{policy}");
                    let sandbox = Sandbox::new(&policy).caller(caller).pass(held, 7);
                    let mut running =
                        sandbox.start(["sh", "-c", "echo ready; read line; echo $line; read line"]);
                    assert_eq!(running.line(), "ready", "{}", running.stderr_text());
                    wait_a_moment();
                    (running, alive)
                };
                std::thread::spawn(start).join().expect("it starts")
            };
            let (running, alive) = in_thread(of_thread);
            assert!(is_ready(&alive, TIMEOUT), "{caller}: it survives its thread");
            assert_eq!(running.wait().signal(), Some(9), "{caller}");

            let (mut running, _alive) = in_thread("");
            running.write("still here\n");
            assert_eq!(running.line(), "still here", "{caller}: {}", running.stderr_text());
        }
    }
}
