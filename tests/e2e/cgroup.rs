//! The cgroup of a launch: made below one that is delegated, binding the whole
//! tree, and gone with it.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::PathBuf;

use harness::{Outcome, Output, Sandbox, TempDir, skip};
use rustix::fs::{XattrFlags, setxattr};

use crate::faults::inject;
use crate::limits::missing;

/// Where [`Cgroup::open`] is passed in.
const CGROUP_FD: i32 = 150;

const NOBODY: u32 = 65534;

/// Processes one after the other that take more than a second of CPU time, but
/// no second each.
const MANY_SHORT: &str = "for each in 1 2 3 4 5 6 7 8; do $1 'spin-for 300'; done";

/// Programs of the system, no PID namespace.
const WITHOUT_PID: &str =
    "filesystem = { root = 'minimal', proc = false }\nnamespaces.pid = false\n";

/// As root: another user would have to be delegated the directory.
fn in_cgroup(cgroup: &Cgroup, policy: &str) -> Sandbox {
    Sandbox::new(policy).pass(cgroup.open(), CGROUP_FD).option(format!("--cgroup-fd={CGROUP_FD}"))
}

/// What binds a limit, as the receipt says.
fn bound(output: &Output, limit: &str) -> String {
    let launch = output.event("launch").unwrap_or_else(|| panic!("no launch: {output:?}"));
    launch["limits"][limit].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_command_is_born_in_a_cgroup_of_its_own_that_goes_with_it() {
    let Some(cgroup) = Cgroup::new("born") else {
        skip!("cgroup", "no cgroup of version 2 can be made here");
    };
    let policy = "filesystem.root = \"minimal\"\nlimits.processes = 20";
    let mut running = in_cgroup(&cgroup, policy).start(["sh", "-c", "echo ready; read line"]);
    let mut other = in_cgroup(&cgroup, policy).start(["sh", "-c", "echo ready; read line"]);
    assert_eq!(running.line(), "ready", "{}", running.stderr_text());
    assert_eq!(other.line(), "ready", "{}", other.stderr_text());

    assert_eq!(cgroup.read("cgroup.procs"), "");
    let groups = cgroup.children();
    assert_eq!(groups.len(), 2, "{groups:?}");
    for group in &groups {
        // PID 1 and the command, not the waiter.
        let members = fs::read_to_string(group.join("cgroup.procs")).expect("it is read");
        assert_eq!(members.lines().count(), 2, "{members}");
        let waiters = [running.pid().to_string(), other.pid().to_string()];
        assert!(!members.lines().any(|pid| waiters.contains(&pid.to_owned())), "{members}");
    }
    let can_bind = groups[0].join("pids.max").exists();
    for group in groups.iter().filter(|_| can_bind) {
        let most = fs::read_to_string(group.join("pids.max")).expect("it is read");
        assert_eq!(most.trim(), "21");
    }

    for output in [running.wait(), other.wait()] {
        assert_eq!(output.code(), 1, "{output:?}");
        assert_eq!(missing(&output).contains(&"limits.processes".into()), !can_bind, "{output:?}");
        let what = if can_bind { "whole tree" } else { "nothing" };
        assert_eq!(bound(&output, "processes"), what, "{output:?}");
    }
    assert!(cgroup.children().is_empty(), "{:?}", cgroup.children());
}

#[test]
fn a_launch_that_fails_leaves_no_cgroup() {
    harness::needs_landlock!(6);
    let Some(cgroup) = Cgroup::new("failing") else {
        skip!("cgroup", "no cgroup of version 2 can be made here");
    };
    harness::needs_strace!();
    for policy in ["", WITHOUT_PID] {
        let output = in_cgroup(&cgroup, policy).run(["/no/such/program"]);

        assert_eq!(output.code(), 127, "{policy}: {output:?}");
        assert!(cgroup.children().is_empty(), "{policy}: {:?}", cgroup.children());

        // Of the first child, in PID 1 or the command, and of the waiter.
        for fault in ["clone3", "sethostname", "setsid", "seccomp", "ppoll"] {
            let sandbox = in_cgroup(&cgroup, &format!("{policy}\nprocess.hostname = 'box'"));
            let output = inject(sandbox, &format!("{fault}:error=EIO")).run(["sleep", "1000"]);

            assert_eq!(output.code(), 125, "{fault}, {policy}: {output:?}");
            assert!(cgroup.children().is_empty(), "{fault}, {policy}: {:?}", cgroup.children());
        }
    }
}

#[test]
fn what_is_no_cgroup_is_refused_and_nothing_is_made_in_it() {
    let directory = TempDir::new();
    let file = File::open(directory.path()).expect("it opens");
    let sandbox = Sandbox::new("").pass(file, CGROUP_FD).option(format!("--cgroup-fd={CGROUP_FD}"));

    let output = sandbox.run([sandbox.probe_path()]);

    assert_eq!(output.code(), 125, "{output:?}");
    assert_eq!(output.failure()["call"], "--cgroup-fd", "{output:?}");
    assert_eq!(fs::read_dir(directory.path()).expect("it is listed").count(), 0);
}

#[test]
fn without_a_pid_namespace_the_cgroup_ends_what_the_command_leaves_behind() {
    harness::needs_landlock!(6);
    let Some(cgroup) = Cgroup::new("left") else {
        skip!("cgroup", "no cgroup of version 2 can be made here");
    };
    harness::needs!("setsid");
    for (limits, command, code) in [
        ("", "setsid sleep 1000 & exit 3", 3),
        (
            "limits.wall_time = '300ms'\n[enforce]\nlimits = 'require'",
            "setsid sleep 1000 & sleep 1000",
            124,
        ),
    ] {
        let policy = format!("{WITHOUT_PID}{limits}");
        let (reader, writer) = std::io::pipe().expect("a pipe is made");
        let sandbox = in_cgroup(&cgroup, &policy).stdout_to(writer);
        let running = sandbox.start(["sh", "-c", command]);
        drop(sandbox);

        let output = running.wait();

        assert_eq!(output.code(), code, "{output:?}");
        assert!(cgroup.children().is_empty(), "{:?}", cgroup.children());
        // Whoever is left would have the pipe.
        assert_eq!(std::io::read_to_string(reader).expect("it ends"), "", "{limits}");
    }
}

#[test]
fn cpu_time_binds_the_whole_tree_in_a_cgroup() {
    harness::needs_landlock!(6);
    let Some(cgroup) = Cgroup::new("cpu") else {
        skip!("cgroup", "no cgroup of version 2 can be made here");
    };
    for policy in ["filesystem.root = 'minimal'\n", WITHOUT_PID] {
        // With a wall time there is a receipt of the end in any case.
        let policy = format!("{policy}limits = {{ cpu_time = '1s', wall_time = '50s' }}");
        let limited = format!("{policy}\nenforce.limits = 'require'");
        let run = |sandbox: Sandbox| {
            let words = ["sh", "-c", MANY_SHORT, "sh"].map(str::to_owned).to_vec();
            sandbox.run([words, vec![sandbox.probe_path()]].concat())
        };
        let output = run(in_cgroup(&cgroup, &limited));
        // The control: each process for itself has enough.
        let control = run(Sandbox::new(&policy));

        assert_eq!(output.code(), 128 + 9, "{output:?}");
        let exit = output.event("exit").expect("it ended");
        assert_eq!((&exit["ended_by"], &exit["signal"]), (&"cpu".into(), &serde_json::Value::Null));
        assert_eq!(bound(&output, "cpu_time"), "whole tree");
        assert_eq!(control.code(), 0, "{control:?}");
        assert!(control.exit().cpu_microseconds > 1_000_000, "it is too little: {control:?}");
        assert_eq!(bound(&control, "cpu_time"), "per process");
        assert!(cgroup.children().is_empty(), "{:?}", cgroup.children());
    }
}

#[test]
fn a_fork_bomb_ends_at_the_limit_of_the_cgroup_for_root_too() {
    let Some(cgroup) = Cgroup::new("pids").filter(|cgroup| cgroup.controls("pids")) else {
        skip!("cgroup_controllers", "no cgroup with the controller pids can be made here");
    };
    let sandbox = in_cgroup(&cgroup, "limits.processes = 10\nenforce.limits = \"require\"");
    // The command itself counts, PID 1 does not.
    let output = sandbox.run([sandbox.probe_path(), "fork-many 50".into()]);
    output.assert_said(&["ok 9 11"]);
    let events = output.exit().limit_events.expect("there is a cgroup");
    assert!(events.pids_max.is_some_and(|hits| hits > 0), "{output:?}");
    // In a user namespace of root's nothing else does.
    let control = Sandbox::new("limits.processes = 10").probe("fork-many 50");
    assert_eq!(control, Outcome::Ok("50".into()));
}

#[test]
fn memory_beyond_the_limit_of_the_cgroup_ends_the_command() {
    let Some(cgroup) = Cgroup::new("memory").filter(|cgroup| cgroup.controls("memory")) else {
        skip!("cgroup_controllers", "no cgroup with the controller memory can be made here");
    };
    // What is in a private /tmp is memory, too, which no limit of a process
    // counts.
    let policy = "filesystem.tmp_size = \"64M\"";
    let limits = "limits.memory = \"16M\"";
    let limited = format!("{policy}\n{limits}\nenforce.limits = \"require\"");
    let sandbox = in_cgroup(&cgroup, &limited);
    let output = sandbox.run([sandbox.probe_path(), "fill /tmp/large 33554432".into()]);
    assert_eq!((output.code(), output.signal()), (128 + 9, None), "{output:?}");
    // PID 1, whose memory is the waiter's, is not what the kernel has chosen.
    let exit = output.event("exit").expect("an exit event");
    assert_eq!((&exit["ended_by"], &exit["signal"]), (&"memory".into(), &9.into()), "{output:?}");
    assert_eq!(bound(&output, "memory"), "whole tree");
    let exit = output.exit();
    assert!(exit.limit_events.expect("a cgroup").memory_oom_kill > Some(0), "{output:?}");
    // Linux 5.19
    if let Some(peak) = exit.memory_peak {
        assert!((8 << 20..=16 << 20).contains(&peak), "{output:?}");
    }
    let said = ["read /proc/self/oom_score_adj"];
    for (policy, score) in
        [(limited.clone(), "1000"), (format!("{limited}\nlimits.oom_score_adjust = 7"), "7")]
    {
        let score = Outcome::Ok(score.into());
        assert_eq!(in_cgroup(&cgroup, &policy).probes(&said), [score], "{policy}");
    }
    let control = Sandbox::new(policy).probe("fill /tmp/large 33554432");
    assert!(control.is_ok(), "{control:?}");
}

/// A caller in a cgroup, as this user.
fn inside(group: &str, uid: u32, policy: &str) -> Sandbox {
    let script = format!(
        "echo $$ >{group}/cgroup.procs && \
         exec setpriv --reuid {uid} --regid {uid} --clear-groups \"$@\""
    );
    let policy = format!("filesystem.root = 'minimal'\nlimits = {{ cpu_time = '9s', {policy} }}");
    Sandbox::new(&policy).wrap(["sh", "-c", &script, "sh"])
}

#[test]
fn auto_finds_the_outermost_cgroup_that_is_the_users_own() {
    let Some(cgroup) = Cgroup::new("delegated") else {
        skip!("cgroup", "no cgroup of version 2 can be made here");
    };
    harness::needs!("setpriv");
    let inner = cgroup.directory.join("session");
    let group = inner.to_string_lossy();
    for (uid, is_marked) in [(NOBODY, false), (0, true)] {
        fs::create_dir(&inner).expect("a group is made");
        let sandbox = inside(&group, uid, "cgroup = 'auto'");
        let refused = inside(&group, uid, "cgroup = 'auto' }\nenforce = { limits = 'require'");

        // Nobody has delegated it yet.
        let output = sandbox.run([sandbox.probe_path()]);
        assert_eq!(output.code(), 0, "{output:?}");
        assert_eq!(bound(&output, "cpu_time"), "per process", "{output:?}");
        let output = refused.run([refused.probe_path()]);
        assert_eq!(output.code(), 125, "{output:?}");

        cgroup.delegate(uid, is_marked);
        let mut running = sandbox.start(["sh", "-c", "echo ready; read line"]);
        assert_eq!(running.line(), "ready", "{}", running.stderr_text());
        let groups = cgroup.children();
        assert_eq!(groups.len(), 2, "beside the caller's: {groups:?}");
        let output = running.wait();
        assert_eq!(bound(&output, "cpu_time"), "whole tree", "{output:?}");
        let output = refused.run([refused.probe_path()]);
        assert_eq!(output.code(), 0, "{output:?}");

        // It is done only where the policy says so.
        let without = inside(&group, uid, "cgroup = 'none'");
        let output = without.run([without.probe_path()]);
        assert_eq!(bound(&output, "cpu_time"), "per process", "{output:?}");
        assert_eq!(cgroup.children(), std::slice::from_ref(&inner));
        fs::remove_dir(&inner).expect("it is empty");
        cgroup.delegate(0, false);
    }
}

/// A cgroup of the test's own. It is removed when this goes out of scope.
pub(crate) struct Cgroup {
    directory: PathBuf,
}

impl Cgroup {
    /// One below where version 2 is mounted, if that is anywhere.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mount = mounts.lines().find(|mount| mount.split(' ').nth(2) == Some("cgroup2"))?;
        let name = format!("launcher-e2e-{}-{name}", std::process::id());
        let directory = PathBuf::from(mount.split(' ').nth(1)?).join(name);
        fs::create_dir(&directory).ok()?;
        Some(Self { directory })
    }

    pub(crate) fn open(&self) -> File {
        File::open(&self.directory).expect("it opens")
    }

    /// Whether a group in it can have a controller.
    fn controls(&self, controller: &str) -> bool {
        self.read("cgroup.controllers").split_whitespace().any(|each| each == controller)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.directory.join(file)).expect("it is read")
    }

    /// The groups in it.
    pub(crate) fn children(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).expect("it is listed");
        let entries = entries.map(|entry| entry.expect("it is listed").path());
        entries.filter(|path| path.is_dir()).collect()
    }

    /// Gives it to a user, or marks it as systemd does.
    fn delegate(&self, uid: u32, is_marked: bool) {
        for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
            chown(self.directory.join(file), Some(uid), Some(uid)).expect("it is root's to give");
        }
        let mark: &[u8] = if is_marked { b"1" } else { b"0" };
        setxattr(&self.directory, c"user.delegate", mark, XattrFlags::empty())
            .expect("it is marked");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for group in self.children() {
            let _ = fs::remove_dir(group);
        }
        let _ = fs::remove_dir(&self.directory);
    }
}
