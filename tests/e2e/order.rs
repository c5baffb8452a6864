//! The order of the stages, and what a launch costs in system calls, as
//! strace(1) sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::AsFd;

use crate::prepared::Held;
use harness::{Binaries, Caller, Output, Sandbox, TempDir, needs_strace};
use launcher_policy::Stage;
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// Every layer: all namespaces but time, mounts of each kind, limits, ids,
/// Landlock, a filter.
const FULL: &str = "
[filesystem]
root = 'minimal'
read = ['/etc/hostname']
[network]
access = 'loopback'
[process]
hostname = 'box'
uid = 1000
gid = 1000
umask = 0o027
terminal = 'none'
[limits]
nice = 5
oom_score_adjust = 100
cpu_affinity = [0]
[limits.rlimit]
nofile = 64
[namespaces]
time = true
";

/// What needs no process of its own.
const IN_PLACE: &str = "
[filesystem]
proc = false
[namespaces]
pid = false
";

/// Landlock and a filter, with `D/1` to `D/8` for the rules.
const SHIM: &str = "
[filesystem]
read = ['D/1', 'D/2', 'D/3', 'D/4', 'D/5', 'D/6']
execute = ['D/7']
write = ['D/8']
tmp = 'none'
proc = false
dev = 'none'
[network]
unix = 'host'
[enforce]
namespaces = 'off'
waive = ['execute']
";

/// The same entries in namespaces of their own.
const BINDS: &str = "
[filesystem]
read = ['D/1', 'D/2', 'D/3', 'D/4', 'D/5', 'D/6']
execute = ['D/7']
write = ['D/8']
tmp = 'none'
proc = false
dev = 'none'
";

/// One system call of a trace.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) process: u32,
    pub(crate) name: String,
    /// Its arguments and its result.
    rest: String,
}

impl Call {
    /// Reads a line of `strace -f`; those that say how an interrupted call
    /// went on are a part of that call.
    fn parse(line: &str) -> Option<Self> {
        let (process, call) = line.split_once(' ')?;
        let (name, rest) = call.trim_start().split_once('(')?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        // A call that strace has no name for.
        let name = if name == "syscall_0x1d3" { "open_tree_attr" } else { name };
        is_name.then(|| Self {
            process: process.parse().expect("strace -f begins lines with a process"),
            name: name.to_owned(),
            rest: rest.to_owned(),
        })
    }

    /// The stage that makes such calls; `None` where several do.
    pub(crate) fn stage(&self) -> Option<Stage> {
        let says = |text: &str| self.rest.contains(text);
        Some(match self.name.as_str() {
            "pread64" | "read" if says("\"SBXP") => Stage::Input,
            "close_range" if says("CLOSE_RANGE_CLOEXEC") => Stage::Fds,
            "clone3" | "unshare" if says("CLONE_NEW") => Stage::Namespaces,
            "open" | "openat" if says("id_map") || says("setgroups") => Stage::Namespaces,
            "sethostname" => Stage::Namespaces,
            "ioctl" if says("SIOCSIFFLAGS") => Stage::Namespaces,
            "mount" | "umount2" | "pivot_root" | "move_mount" | "mount_setattr" | "open_tree"
            | "open_tree_attr" | "fsopen" | "fsmount" | "fsconfig" | "mkdirat" | "symlinkat"
            | "chdir" | "fchdir" | "landlock_add_rule" => Stage::Mounts,
            // The host's /proc is opened at the start, where the OOM score
            // is set later.
            "openat2" if !says("\"/proc\"") => Stage::Mounts,
            "prlimit64" | "setrlimit" | "setpriority" | "sched_setaffinity" => Stage::Limits,
            "openat" | "open" if says("oom_score_adj") => Stage::Limits,
            "setsid" | "setpgid" => Stage::Session,
            "prctl" if says("CAPBSET") || says("SECUREBITS") || says("NO_NEW_PRIVS") => {
                Stage::Credentials
            }
            "capset" | "setgroups" | "setresuid" | "setresgid" => Stage::Credentials,
            "landlock_restrict_self" => Stage::Landlock,
            "seccomp" => Stage::Seccomp,
            "execve" => Stage::Exec,
            _ => return None,
        })
    }

    fn is_capability_drop(&self) -> bool {
        self.name == "prctl" && self.rest.contains("PR_CAPBSET_DROP")
    }
}

/// Runs a probe under a policy and strace; what the probe says must be `ok`.
#[track_caller]
pub(crate) fn trace(sandbox: &Sandbox, strace: &TempDir) -> Vec<Call> {
    let probe = sandbox.probe_path();
    let output: Output = sandbox.run([probe.as_str(), "pid"]);
    assert!(output.stdout_text().starts_with("ok "), "{output:?}");
    strace.read("trace").lines().filter_map(Call::parse).skip(1).collect()
}

/// strace in front of the launcher, with its output in a directory.
pub(crate) fn traced(policy: &str, caller: Caller, strace: &TempDir) -> Sandbox {
    let output = strace.join("trace").to_string_lossy().into_owned();
    Sandbox::new(policy).caller(caller).wrap(["strace", "-f", "-qq", "-o", &output, "--"])
}

/// The calls of the launcher's processes, until the command is executed and
/// after: all but those of the command itself.
fn launchers(calls: &[Call]) -> Vec<Call> {
    let exec = calls.iter().rposition(|call| call.name == "execve").expect("it is executed");
    let command = calls[exec].process;
    let own = |(place, call): &(usize, &Call)| *place <= exec || call.process != command;
    calls.iter().enumerate().filter(own).map(|(_, call)| call.clone()).collect()
}

#[test]
fn every_stage_comes_in_its_place() {
    harness::needs_landlock!(1);
    needs_strace!();
    for caller in Caller::both() {
        let strace = TempDir::new();

        let calls = trace(&traced(FULL, caller, &strace), &strace);

        // What PID 1 does beside the command is not the launch's.
        let exec = calls.iter().rposition(|call| call.name == "execve").expect("it is executed");
        let staged: Vec<_> =
            calls[..=exec].iter().filter_map(|call| Some((call.stage()?, call))).collect();
        for pair in staged.windows(2) {
            let [(before, _), (after, call)] = pair else { continue };
            assert!(before <= after, "{caller}: {call:?} comes after {before:?}");
        }
        for stage in Stage::ALL {
            assert!(staged.iter().any(|(each, _)| *each == stage), "{caller}: no {stage:?}");
        }
    }
}

#[test]
fn no_policy_changes_the_order() {
    harness::needs_landlock!(6);
    needs_strace!();
    let directory = rules();
    for policy in [IN_PLACE.to_owned(), SHIM.replace("D/", &format!("{directory}/")), String::new()]
    {
        for caller in Caller::both() {
            let strace = TempDir::new();

            let calls = trace(&traced(&policy, caller, &strace), &strace);

            let exec =
                calls.iter().rposition(|call| call.name == "execve").expect("it is executed");
            let stages: Vec<_> = calls[..=exec].iter().filter_map(Call::stage).collect();
            assert!(stages.is_sorted(), "{caller}: {policy}: {stages:?}");
        }
    }
}

#[test]
fn nothing_is_called_between_the_filter_and_the_command() {
    needs_strace!();
    for caller in Caller::both() {
        let strace = TempDir::new();

        let calls = trace(&traced(FULL, caller, &strace), &strace);

        let exec = calls.iter().rposition(|call| call.name == "execve").expect("it is executed");
        let command = calls[exec].process;
        let own: Vec<_> = calls[..=exec].iter().filter(|call| call.process == command).collect();
        let filter = own.iter().position(|call| call.name == "seccomp").expect("a filter");
        let names: Vec<_> = own[filter..].iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["seccomp", "execve"], "{caller}");
    }
}

/// Eight directories for rules and binds.
fn rules() -> TempDir {
    (1..=8).fold(TempDir::new(), |directory, number| directory.directory(&number.to_string()))
}

/// The launcher's calls under a policy of eight entries, of which the probe is
/// one, when it is called as from a shell: `launcher --fd 3 -- cmd
/// 3<policy.bin`. Capabilities are dropped one by one and counted apart.
fn count(policy: &str, caller: Caller) -> Vec<Call> {
    count_with(policy, caller, &[])
}

/// The same with options of the launcher; descriptor 4 is /dev/null.
fn count_with(policy: &str, caller: Caller, options: &[&str]) -> Vec<Call> {
    let directory = rules();
    let null = File::options().write(true).open("/dev/null").expect("it opens");
    let sandbox = Sandbox::outside().caller(caller).pass(null, 4);
    counted(&of_rules(policy, &directory), sandbox, options)
}

/// A policy of eight entries in a directory, of which the probe is one.
fn of_rules(policy: &str, directory: &TempDir) -> String {
    // The directory first: the probe's path may hold anything.
    let policy = policy.replace("D/", &format!("{directory}/"));
    policy.replace(&format!("{directory}/7"), &Sandbox::outside().probe_path())
}

/// The launcher's calls under such a policy.
fn counted(policy: &str, sandbox: Sandbox, options: &[&str]) -> Vec<Call> {
    let probe = sandbox.probe_path();
    let files = TempDir::with_file("trace", "").file("policy.bin", harness::encode(policy));
    let policy = File::open(files.join("policy.bin")).expect("it was written");
    let trace = files.join("trace").to_string_lossy().into_owned();
    let launcher = sandbox.binaries().launcher().to_string_lossy().into_owned();
    let strace = ["strace", "-f", "-qq", "-o", &trace, "--", &launcher, "--fd", "3"];
    let command = [&strace, options, &["--", &probe, "pid"]].concat();

    let output = sandbox.pass(policy, 3).run(command);

    assert!(output.stdout_text().starts_with("ok "), "{output:?}");
    let calls: Vec<_> = files.read("trace").lines().filter_map(Call::parse).skip(1).collect();
    launchers(&calls).into_iter().filter(|call| !call.is_capability_drop()).collect()
}

/// How often each call was made, for a message.
fn names(calls: &[Call]) -> BTreeMap<&str, usize> {
    let mut names = BTreeMap::new();
    for call in calls {
        *names.entry(call.name.as_str()).or_default() += 1;
    }
    names
}

#[test]
fn landlock_and_seccomp_with_eight_rules_take_at_most_38_calls_and_no_clone() {
    harness::needs_landlock!(6);
    needs_strace!();
    for caller in Caller::both() {
        let calls = count(SHIM, caller);
        let rules = calls.iter().filter(|call| call.name == "landlock_add_rule").count();
        assert_eq!(rules, 8, "{caller}");
        let clones = ["clone", "clone3", "fork", "vfork"];
        assert!(calls.iter().all(|call| !clones.contains(&call.name.as_str())), "{caller}");
        assert!(calls.len() <= 38, "{caller}: {} calls: {:?}", calls.len(), names(&calls));
    }
}

#[test]
fn seven_namespaces_with_eight_binds_take_at_most_113_calls() {
    needs_strace!();
    for caller in Caller::both() {
        let calls = count(BINDS, caller);
        let clone = calls.iter().find(|call| call.name == "clone3").expect("a clone");
        for namespace in ["NS", "CGROUP", "UTS", "IPC", "USER", "PID", "NET"] {
            assert!(
                clone.rest.contains(&format!("CLONE_NEW{namespace}|"))
                    || clone.rest.contains(&format!("CLONE_NEW{namespace},")),
                "{clone:?}"
            );
        }
        // Before Linux 6.15 one call is tried in vain, and a bind is this one
        // and mount_setattr(2).
        let older = calls.iter().filter(|call| call.name == "open_tree").count();
        let number = calls.len() - older - older.min(1);
        assert!(number <= 113, "{caller}: {number} calls: {:?}", names(&calls));
    }
}

#[test]
fn a_launch_from_a_template_takes_at_most_82_calls_and_a_network_that_is_given_at_most_9_more() {
    needs_strace!();
    // The policies name the probe.
    let _binaries = Binaries::shared();
    for caller in Caller::both() {
        let directory = rules();
        let policy = of_rules(BINDS, &directory);
        let given = |option: &str, held: &Held| {
            let fd = held.fd.try_clone().expect("dup");
            counted(&policy, Sandbox::outside().caller(caller).pass(fd, 5), &[option, "5"])
        };
        let calls = given("--template-fd", &Held::template(&policy, caller));
        let number = calls.len();
        assert!(number <= 82, "{caller}: {number} calls: {:?}", names(&calls));
        let fresh = counted(&policy, Sandbox::outside().caller(caller), &[]);
        let calls = given("--netns-fd", &Held::networks(&policy, caller));
        // It is looked at and joined; where only its owner may do that, the
        // owner is asked for and joined first.
        let more = calls.len() as i64 - fresh.len() as i64;
        assert!((1..=9).contains(&more), "{caller}: {more}: {:?}", names(&calls));
    }
}

#[test]
fn a_launch_from_a_server_takes_at_most_83_calls() {
    needs_strace!();
    let _binaries = Binaries::shared();
    for caller in Caller::both() {
        let directory = rules();
        let policy = of_rules(BINDS, &directory);
        let held = Held::template(&policy, caller);
        let counted = |launches: usize| {
            let trace = crate::serve::traced(&harness::encode(&policy), caller, &held, launches);
            let calls: Vec<Call> = trace.lines().filter_map(Call::parse).skip(1).collect();
            // Commands go on after they are executed.
            let mut commands = BTreeSet::new();
            let is_own = |call: &&Call| {
                let is_own = !commands.contains(&call.process);
                if call.name == "execve" {
                    commands.insert(call.process);
                }
                is_own && !call.is_capability_drop()
            };
            calls.iter().filter(is_own).cloned().collect::<Vec<_>>()
        };
        let (one, three) = (counted(1), counted(3));
        let each = (three.len() - one.len()).div_ceil(2);
        assert!(each <= 83, "{caller}: {each} calls: {:?}", names(&three));
    }
}

/// How many pages are faulted in until a command has ended that does nothing,
/// by its process and those that it has waited for; of several launches the
/// fewest, as what goes before the launcher's own start varies.
fn page_faults(sandbox: &Sandbox) -> u64 {
    let probe = sandbox.probe_path();
    let launches = (0..10).map(|_| {
        let running = sandbox.start([probe.as_str(), "pid"]);
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(running.pidfd().as_fd()), ended).expect("it ends");
        // Of a process that has ended and was not waited for.
        let (own, waited) = crate::serve::faults_of(running.pid().unsigned_abs());
        let output = running.wait();
        assert!(output.stdout_text().starts_with("ok "), "{output:?}");
        own + waited
    });
    launches.min().expect("there are some")
}

#[test]
fn a_launch_in_place_takes_at_most_nine_page_faults_and_one_with_namespaces_at_most_sixteen() {
    harness::needs_landlock!(6);
    let directory = rules();
    for caller in Caller::both() {
        let floor = page_faults(&Sandbox::outside().caller(caller));
        for (policy, most) in [(SHIM, 9), (BINDS, 16)] {
            let policy = policy.replace("D/", &format!("{directory}/"));
            let faults = page_faults(&Sandbox::new(&policy).caller(caller));
            assert!(faults <= floor + most, "{caller}: {faults}, of which {floor} are others'");
        }
    }
}

#[test]
fn a_launch_from_a_server_takes_fewer_page_faults_than_a_fresh_one_and_at_most_six_in_the_server() {
    let directory = rules();
    for caller in Caller::both() {
        let policy = BINDS.replace("D/", &format!("{directory}/"));
        let sandbox = || Sandbox::new(&policy).caller(caller);
        let fresh = page_faults(&sandbox());
        let [server, launch] = crate::serve::page_faults(sandbox());
        println!("{caller}: {server} and {launch}, {fresh} without");
        assert!(server <= 6 && launch < fresh, "{caller}: {server}, {launch}, {fresh}");
    }
}

#[test]
fn a_receipt_takes_no_call_where_nobody_asks_and_few_where_somebody_does() {
    harness::needs_landlock!(6);
    needs_strace!();
    // The clock after each stage, who and what there is, and a line with a
    // question whether somebody reads it; with namespaces two more lines, and
    // the command's number outside. How often a waiter is woken may differ.
    for (policy, most) in [(SHIM, 15), (BINDS, 28)] {
        for caller in Caller::both() {
            let without = count(policy, caller);
            let with = count_with(policy, caller, &["--status-fd", "4"]);
            let names = names(&without);
            for call in ["uname", "clock_gettime", "sendmsg", "write"] {
                // Id maps are written, too.
                let maps = if call == "write" && policy == BINDS { 3 } else { 0 };
                assert_eq!(names.get(call).copied().unwrap_or(0), maps, "{caller}: {call}");
            }
            let more = with.len() as i64 - without.len() as i64;
            assert!((1..=most).contains(&more), "{caller}: {more}: {:?}", self::names(&with));
        }
    }
}
