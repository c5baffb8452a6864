//! Every system call of a launch fails, one at a time: nothing runs, and the
//! launcher says in which stage it failed; or the sandbox is the same.
//!
//! `FAULTS=all` has each fail with every error that callers tell from others.

use std::collections::BTreeMap;
use std::iter::zip;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Mutex;

use harness::{Caller, Errno, IN_PLACE, Output, Sandbox, TempDir, needs_strace};
use launcher_policy::Stage;
use policy_encoder::handover::Listeners;
use syscalls::Sysno;

use crate::order::{trace, traced};

/// Every stage does all that it can.
const STRICT: &str = "
[filesystem]
root = 'minimal'
read = ['/etc/hostname']
deny = ['/usr/share']
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
processes = 50
wall_time = '50s'
rlimit.nofile = 64
";

/// The host's tree, read-only.
const HOST: &str = "
[filesystem]
root = 'host'
deny = ['/etc/passwd']
[process]
terminal = 'none'
";

/// A network that leads to a proxy, by every socket there is.
const PROXIED: &str = "
[filesystem]
root = 'minimal'
[network]
access = 'proxy'
allow = ['a.test']
proxy.transparent = true
[process]
terminal = 'none'
";

/// All of them, by their names.
const POLICIES: [(&str, &str); 4] =
    [("strict", STRICT), ("host", HOST), ("in place", IN_PLACE), ("proxied", PROXIED)];

/// What the command is and what it may do.
const PROBES: &[&str] = &[
    "caps",
    "securebits",
    "dumpable",
    "ids",
    "umask",
    "hostname",
    "signals",
    "nice",
    "affinity",
    "rlimit nofile",
    "rlimit core",
    "fds",
    "env",
    "read /etc/passwd",
    "list /usr/share",
    "open-for-read /etc/shadow",
    "open-for-read /etc/hostname",
    "open-for-write /etc/hostname",
    "create /new",
    "create /etc/new",
    "mount-flags /usr",
    "write /tmp/new text",
    "mkdir /dev/new",
    "open-for-write /proc/sys/kernel/core_pattern",
    "socket inet dgram",
    "socket packet raw",
    "interfaces",
    "unix-abstract-connect sweep",
    "setsid",
    "unshare 0x10000000",
    "unshare 0x20000",
    "chroot /",
    "sethostname other",
    "setuid 0",
    "raise-caps",
    "syscall bpf",
    "syscall io_uring_setup",
    "syscall ptrace",
    "ioctl 0 0x5412",
];

/// What every call fails with, and what it does, too, where all is asked for.
const ERRORS: [Errno; 2] = [Errno::PERM, Errno::INVAL];
const MORE: [Errno; 12] = [
    Errno::NOENT,
    Errno::INTR,
    Errno::IO,
    Errno::BADF,
    Errno::AGAIN,
    Errno::NOMEM,
    Errno::ACCESS,
    Errno::BUSY,
    Errno::EXIST,
    Errno::NOTDIR,
    Errno::NOSPC,
    Errno::NOSYS,
];

/// Calls that the kernel always carries out as they are made here, close(2)
/// whatever it answers; those of the start code among them.
const CANNOT_FAIL: &[&str] = &[
    "arch_prctl",
    "clock_gettime",
    "close",
    "exit_group",
    "getegid",
    "geteuid",
    "getpgrp",
    "getpid",
    "getppid",
    "set_tid_address",
    "umask",
    "uname",
];

/// The number of a call that is newer than the names.
const OPEN_TREE_ATTR: i32 = 467;

/// A call that can fail.
#[derive(Clone)]
struct Place {
    /// Which process makes it, in the order in which they were made.
    process: usize,
    name: String,
    number: i32,
    /// Which of its calls of this name it is, from 1.
    when: usize,
    /// The first stage and the last one that it may be of.
    stages: (Stage, Stage),
}

/// What came of the faults.
#[derive(Default)]
struct Totals {
    refused: usize,
    same: usize,
    complaints: Vec<String>,
}

/// The calls of the launcher's processes, without those of the command.
fn places(policy: &str, caller: Caller) -> Vec<Place> {
    let strace = TempDir::with_file("trace", "");
    let (sandbox, _listeners) = listened(traced(policy, caller, &strace), policy);
    let calls = trace(&sandbox, &strace);
    let mut processes = Vec::new();
    let mut of_process: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for call in calls {
        let process = processes.iter().position(|pid| *pid == call.process).unwrap_or_else(|| {
            processes.push(call.process);
            processes.len() - 1
        });
        let own = of_process.entry(process).or_default();
        if own.last().is_none_or(|last: &crate::order::Call| last.name != "execve") {
            own.push(call);
        }
    }
    let mut places = Vec::new();
    for (process, calls) in of_process {
        let known: Vec<Option<Stage>> = calls.iter().map(crate::order::Call::stage).collect();
        for (place, call) in calls.iter().enumerate() {
            if CANNOT_FAIL.contains(&call.name.as_str()) {
                continue;
            }
            let before = known[..=place].iter().rev().flatten().next();
            let after = known[place..].iter().flatten().next();
            // Who attends does so for the namespaces, whatever it has done before.
            let stages = match after {
                Some(after) => (*before.unwrap_or(&Stage::Input), *after),
                None => (Stage::Namespaces, Stage::Namespaces),
            };
            let name = call.name.clone();
            let when = calls[..=place].iter().filter(|call| call.name == name).count();
            // There is no other name that is new.
            let number = Sysno::from_str(&name).map_or(OPEN_TREE_ATTR, |number| number.id());
            places.push(Place { process, name, number, when, stages });
        }
    }
    places
}

/// The same launch, with who takes the sockets of its proxy, if it has one.
fn listened(sandbox: Sandbox, policy: &str) -> (Sandbox, Option<Listeners>) {
    if policy != PROXIED {
        return (sandbox, None);
    }
    let (listeners, theirs) = Listeners::pair().expect("a socket");
    (sandbox.option("--listeners-fd").option("9").pass(theirs, 9), Some(listeners))
}

/// A launch that answers what [`PROBES`] ask, with a fault.
fn launch(policy: &str, caller: Caller, place: &Place, error: Errno) -> Output {
    let (sandbox, _listeners) = listened(Sandbox::new(policy).caller(caller), policy);
    let fault = sandbox.binaries().fault();
    let numbers = [place.process as i32, place.number, place.when as i32, error.raw_os_error()];
    let sandbox = sandbox.wrap([fault]).wrap(numbers.map(|number| number.to_string())).wrap(["--"]);
    let probe = sandbox.probe_path();
    sandbox.run(std::iter::once(probe.as_str()).chain(PROBES.iter().copied()))
}

/// Whether an answer is the same; what is not there is as good as denied.
fn is_same(expected: &str, said: &str) -> bool {
    expected == said || expected.starts_with("errno") && said.starts_with("errno")
}

/// What is wrong with how a launch ended; else whether it was refused.
fn judge(place: &Place, error: Errno, output: &Output, answers: &str) -> Result<bool, String> {
    let said = output.stdout_text();
    // What is looked for and is not there may be left out of the view.
    let may_lack = error == Errno::NOENT && place.name == "openat2";
    if output.code() == 0 {
        let differ =
            zip(answers.lines(), said.lines()).zip(PROBES).find(|((expected, said), _)| {
                !(is_same(expected, said) || may_lack && said.starts_with("errno"))
            });
        return match differ {
            Some(((expected, said), probe)) => {
                Err(format!("other answers: {probe}: {said} instead of {expected}"))
            }
            None if said.lines().count() != PROBES.len() => Err("answers are missing".into()),
            None => Ok(false),
        };
    }
    if ![125, 126, 127].contains(&output.code()) || output.stderr.is_empty() {
        return Err(format!("silent: {output:?}"));
    }
    let Some(failure) = output.event("failure") else {
        return Err(format!("silent: {output:?}"));
    };
    // What fails behind the command's start may have let it say something.
    if !zip(answers.lines(), said.lines()).all(|(expected, said)| is_same(expected, said)) {
        return Err(format!("other answers, then a refusal: {output:?}"));
    }
    let stage = Stage::ALL.into_iter().find(|stage| failure["stage"] == stage.name());
    let (first, last) = place.stages;
    // Some prepare in one stage what belongs to another.
    let owner = match place.name.as_str() {
        "clone3" => Some(Stage::Namespaces),
        "capset" => Some(Stage::Credentials),
        "close_range" => Some(Stage::Fds),
        "open" => Some(Stage::Session),
        "openat2" => Some(Stage::Mounts),
        name if name.starts_with("landlock_") => Some(Stage::Landlock),
        _ => None,
    };
    if stage.is_none_or(|stage| (stage < first || stage > last) && Some(stage) != owner) {
        return Err(format!("the stage {} is not in {first:?}..={last:?}", failure["stage"]));
    }
    Ok(true)
}

/// Every fault of a policy, in as many launches at once as there are CPUs.
fn sweep(policy: &str, caller: Caller, errors: &[Errno]) -> Totals {
    let stages = (Stage::Input, Stage::Exec);
    let nowhere = Place { process: 99, name: String::new(), number: 9999, when: 1, stages };
    let control = launch(policy, caller, &nowhere, Errno::PERM);
    assert_eq!(control.code(), 0, "{caller}: {control:?}");
    let answers = control.stdout_text();
    assert_eq!(answers.lines().count(), PROBES.len(), "{caller}: {control:?}");
    let places = places(policy, caller);
    let faults = places.iter().flat_map(|place| errors.iter().map(move |error| (place, *error)));
    let faults = Mutex::new(faults);
    let totals = Mutex::new(Totals::default());
    let next = || faults.lock().expect("nobody panics here").next();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((place, error)) = next() {
                    let output =
                        catch_unwind(AssertUnwindSafe(|| launch(policy, caller, place, error)));
                    let verdict = match output {
                        Ok(output) => judge(place, error, &output, &answers),
                        Err(panic) => Err(match panic.downcast::<String>() {
                            Ok(complaint) => *complaint,
                            Err(_) => "it hangs, or what it says is no receipt".into(),
                        }),
                    };
                    let mut totals = totals.lock().expect("nobody panics here");
                    match verdict {
                        Ok(true) => totals.refused += 1,
                        Ok(false) => totals.same += 1,
                        Err(complaint) => totals.complaints.push(format!(
                            "{caller}: {} {} of process {}, {error}: {complaint}",
                            place.name, place.when, place.process
                        )),
                    }
                }
            });
        }
    });
    totals.into_inner().expect("nobody panics here")
}

#[test]
fn a_launch_with_any_failing_call_is_refused_or_the_same() {
    harness::needs_landlock!(6);
    needs_strace!();
    let is_all = std::env::var("FAULTS").is_ok_and(|faults| faults == "all");
    let errors: Vec<Errno> = if is_all { [&ERRORS[..], &MORE].concat() } else { ERRORS.to_vec() };
    let mut complaints = Vec::new();
    for caller in Caller::both() {
        for (name, policy) in POLICIES {
            let totals = sweep(policy, caller, &errors);
            println!(
                "faults: {name} {caller}: {} refused, {} the same, {} neither",
                totals.refused,
                totals.same,
                totals.complaints.len()
            );
            let name_it = |complaint| format!("{name} {complaint}");
            complaints.extend(totals.complaints.into_iter().map(name_it));
        }
    }
    assert!(complaints.is_empty(), "{} faults:\n{}", complaints.len(), complaints.join("\n"));
}
