//! Every stage fails closed: strace(1) makes one system call of it fail, and
//! the launch ends with the stage, the call and the path, before the command
//! runs.

use harness::{Caller, Errno, Outcome, Output, Sandbox, TempDir, needs_strace};
use launcher_policy::Stage;
use serde_json::json;

/// A fault, and what the launcher says of it.
struct Fault {
    /// The stage that makes the call.
    stage: Stage,
    /// The call, by the name that strace has for it.
    call: &'static str,
    /// Which of these calls fails; strace counts per process.
    when: &'static str,
    /// What it fails with.
    error: &'static str,
    /// What the launcher calls it: the name in the manual.
    name: &'static str,
    /// The path that is named, if one is.
    path: Option<&'static str>,
}

const fn fault(stage: Stage, call: &'static str, when: &'static str) -> Fault {
    Fault { stage, call, when, error: "EIO", name: call, path: None }
}

const fn at(fault: Fault, path: &'static str) -> Fault {
    Fault { path: Some(path), ..fault }
}

/// All layers, with a reaper.
const FULL: &str = "
[filesystem]
read = ['/etc/passwd']
tmp = 'none'
dev = 'none'
[process]
hostname = 'box'
uid = 1000
gid = 1000
terminal = 'none'
[limits]
nice = 5
cpu_affinity = [0]
";

/// What may fail under [`FULL`].
const FAULTS: &[Fault] = &[
    Fault { name: "pread", ..fault(Stage::Input, "pread64", "1") },
    fault(Stage::Input, "fstat", "1"),
    fault(Stage::Fds, "close_range", "1"),
    fault(Stage::Namespaces, "pidfd_open", "1"),
    fault(Stage::Namespaces, "socketpair", "1"),
    fault(Stage::Namespaces, "clone3", "1"),
    // PID 1's death signal.
    fault(Stage::Namespaces, "prctl", "1"),
    at(fault(Stage::Namespaces, "open", "1"), "/proc/self/setgroups"),
    at(fault(Stage::Namespaces, "open", "3"), "/proc/self/uid_map"),
    at(fault(Stage::Namespaces, "write", "3"), "/proc/self/uid_map"),
    fault(Stage::Namespaces, "sethostname", "1"),
    fault(Stage::Mounts, "mount", "1"),
    at(fault(Stage::Mounts, "openat2", "1"), "/etc/passwd"),
    fault(Stage::Mounts, "fsopen", "1"),
    fault(Stage::Mounts, "fsconfig", "1"),
    fault(Stage::Mounts, "fsmount", "1"),
    at(fault(Stage::Mounts, "mkdirat", "1"), "/etc"),
    fault(Stage::Mounts, "move_mount", "1"),
    at(fault(Stage::Mounts, "move_mount", "2"), "/etc/passwd"),
    at(fault(Stage::Mounts, "fsmount", "2"), "/proc"),
    fault(Stage::Mounts, "fchdir", "1"),
    fault(Stage::Mounts, "pivot_root", "1"),
    fault(Stage::Mounts, "umount2", "1"),
    fault(Stage::Limits, "setpriority", "1"),
    fault(Stage::Limits, "sched_setaffinity", "1"),
    Fault { name: "prlimit", ..fault(Stage::Limits, "prlimit64", "1") },
    fault(Stage::Session, "setsid", "1"),
    fault(Stage::Landlock, "landlock_restrict_self", "1"),
    fault(Stage::Seccomp, "seccomp", "1"),
];

/// What may fail where no process is started.
const IN_PLACE: &str = "
[filesystem]
read = ['/etc/passwd']
tmp = 'none'
dev = 'none'
proc = false
[namespaces]
pid = false
";

const FAULTS_IN_PLACE: &[Fault] = &[
    fault(Stage::Namespaces, "unshare", "1"),
    // The first asks for the version, and the second for the errata.
    fault(Stage::Landlock, "landlock_create_ruleset", "2"),
    fault(Stage::Landlock, "landlock_create_ruleset", "3"),
    at(fault(Stage::Landlock, "landlock_add_rule", "1"), "/etc/passwd"),
    fault(Stage::Session, "rt_sigaction", "1"),
    fault(Stage::Session, "rt_sigprocmask", "1"),
    fault(Stage::Credentials, "prctl", "1"),
    fault(Stage::Credentials, "capset", "1"),
    fault(Stage::Landlock, "landlock_restrict_self", "1"),
    fault(Stage::Seccomp, "seccomp", "1"),
];

/// Other ids on the host itself, which takes root.
const PRIVILEGED: &str = "
[process]
uid = 1000
gid = 1000
[namespaces]
user = false
";

const FAULTS_OF_ROOT: &[Fault] = &[
    fault(Stage::Credentials, "setgroups", "1"),
    fault(Stage::Credentials, "setresgid", "1"),
    fault(Stage::Credentials, "setresuid", "1"),
];

/// Runs `say ran` in the probe under a policy, with a fault.
fn run(policy: &str, fault: &Fault, caller: Caller) -> Output {
    let what = format!("{}:error={}:when={}", fault.call, fault.error, fault.when);
    let sandbox = inject(Sandbox::new(policy).caller(caller), &what);
    let probe = sandbox.probe_path();
    sandbox.run([probe.as_str(), "say ran"])
}

/// The same sandbox with a fault, as strace(1) has it.
pub(crate) fn inject(sandbox: Sandbox, fault: &str) -> Sandbox {
    let fault = format!("inject={fault}");
    sandbox.wrap(["strace", "-f", "-qq", "-o", "/dev/null", "-e", &fault, "--"])
}

/// Runs every fault and says everything that is not as it should be.
#[track_caller]
fn assert_fails(policy: &str, faults: &[Fault], callers: Vec<Caller>) {
    let mut complaints = Vec::new();
    for caller in callers {
        for fault in faults {
            let output = run(policy, fault, caller);
            if let Err(complaint) = check(fault, &output) {
                complaints.push(format!(
                    "{caller}: {} {} in {}: {complaint}: {output:?}",
                    fault.call,
                    fault.when,
                    fault.stage.name()
                ));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What is wrong with how a launch ended.
fn check(fault: &Fault, output: &Output) -> Result<(), &'static str> {
    let require = |fact: bool, otherwise| if fact { Ok(()) } else { Err(otherwise) };
    let Fault { stage, error, name, path, .. } = *fault;
    require(output.code() == 125, "the exit status is wrong")?;
    require(output.stdout.is_empty(), "the command ran")?;
    // Which events there are, it knows as well.
    let failure = output.failure();
    require(failure["stage"] == stage.name(), "the stage is wrong")?;
    require(failure["call"] == name, "the call is wrong")?;
    require(failure["error"] == error, "the error is wrong")?;
    require(failure["status"] == 125, "the status is wrong")?;
    require(failure["path"].as_str() == path, "the path is wrong")?;
    let path = path.map_or(String::new(), |path| format!(" \"{path}\""));
    let line = format!("launcher: {}: {name}{path}: {error} (", stage.name());
    let said = output.stderr_text();
    require(said.starts_with(&line) && said.lines().count() == 1, "the line is wrong")
}

#[test]
fn a_failing_call_of_any_stage_ends_the_launch_before_the_command() {
    harness::needs_landlock!(1);
    needs_strace!();
    assert_fails(FULL, FAULTS, Caller::both());
    // Before Linux 6.15 the first one is of a clone, which comes before the root.
    let is_older = Sandbox::outside().probe("syscall open_tree_attr -1 0 0 0 0");
    let first = fault(Stage::Mounts, "mount_setattr", "1");
    let first = match is_older {
        Outcome::Errno(Errno::NOSYS) => at(first, "/etc/passwd"),
        _ => first,
    };
    assert_fails(FULL, &[first], Caller::both());
}

#[test]
fn a_failing_call_in_place_ends_the_launch_before_the_command() {
    harness::needs_landlock!(6);
    needs_strace!();
    assert_fails(IN_PLACE, FAULTS_IN_PLACE, Caller::both());
}

#[test]
fn a_failing_change_of_ids_ends_the_launch_before_the_command() {
    needs_strace!();
    let root = Caller::both().into_iter().filter(|caller| caller.is_root()).collect();
    assert_fails(PRIVILEGED, FAULTS_OF_ROOT, root);
}

#[test]
fn every_stage_has_a_fault() {
    // Of exec, see below.
    for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Exec) {
        let mut faults = FAULTS.iter().chain(FAULTS_IN_PLACE);
        assert!(faults.any(|fault| fault.stage == stage), "{stage:?}");
    }
}

#[test]
fn the_injection_is_what_ends_the_launch() {
    harness::needs_landlock!(6);
    needs_strace!();
    // The control: a call that nobody makes so often.
    let never = Fault { when: "1000", ..fault(Stage::Mounts, "pivot_root", "1") };
    for caller in Caller::both() {
        for policy in [FULL, IN_PLACE] {
            let output = run(policy, &never, caller);

            assert_eq!(
                (output.code(), output.stdout_text().as_str()),
                (0, "ok ran\n"),
                "{output:?}"
            );
        }
    }
}

#[test]
fn a_failing_exec_has_a_status_of_its_own() {
    harness::needs_landlock!(6);
    needs_strace!();
    for caller in Caller::both() {
        for (error, status) in [("EACCES", 126), ("ENOEXEC", 126), ("EIO", 126), ("ENOENT", 127)] {
            for policy in [FULL, IN_PLACE] {
                // strace leaves alone the execve that starts the launcher.
                let output =
                    run(policy, &Fault { error, ..fault(Stage::Exec, "execve", "1+") }, caller);

                assert_eq!(output.code(), status, "{caller}: {output:?}");
                assert_eq!(output.stdout_text(), "", "{output:?}");
                assert_eq!(output.event_names(), ["launch", "failure"], "{output:?}");
                let failure = output.event("failure").expect("it failed");
                assert_eq!(failure["call"], "execve", "{failure}");
                assert_eq!(failure["error"], error, "{failure}");
                assert!(failure["path"].as_str().is_some_and(|path| path.ends_with("/probe")));
            }
        }
    }
}

#[test]
fn a_launch_that_has_failed_says_why_once() {
    needs_strace!();
    for caller in Caller::both() {
        // Of the command, and then of PID 1, which gives up its own.
        let capset = fault(Stage::Credentials, "capset", "1+");
        let output = run("", &capset, caller);
        check(&capset, &output).unwrap_or_else(|why| panic!("{caller}: {why}: {output:?}"));

        // PID 1 ends as the command did, not as it would itself.
        let sandbox = inject(Sandbox::new("").caller(caller), "capset:error=EIO:when=2+");
        let output = sandbox.run(["/no/such/program"]);
        assert_eq!(output.code(), 127, "{caller}: {output:?}");
        assert_eq!(output.event_names(), ["launch", "failure"], "{caller}: {output:?}");
    }
}

#[test]
fn nothing_runs_on_when_the_waiter_fails() {
    needs_strace!();
    for caller in Caller::both() {
        let directory = TempDir::new();
        let policy = format!("[filesystem]\nwrite = [{directory:?}]");
        // The first poll of the waiter, when PID 1 runs already.
        let poll = fault(Stage::Namespaces, "ppoll", "1");

        let sandbox = Sandbox::new(&policy).caller(caller);
        let probe = sandbox.probe_path();
        let fault = format!("{}:error={}:when={}", poll.call, poll.error, poll.when);
        let output = inject(sandbox, &fault).run([probe.as_str(), "pause"]);

        // That it ends at all is the point: the command would pause for ever.
        assert_eq!(output.code(), 125, "{caller}: {output:?}");
        let failure = output.event("failure").expect("it failed");
        assert_eq!((&failure["call"], &failure["error"]), (&json!("poll"), &json!("EIO")));
    }
}
