//! The limits of a whole tree, which the cgroup of `--cgroup-fd` binds.

use std::fs::{self, File};
use std::path::PathBuf;

use harness::{Outcome, Sandbox, skip};
use serde_json::json;

use crate::limits::missing;

/// Where [`Cgroup::open`] is passed in.
const CGROUP_FD: i32 = 150;

/// As root: another user would have to be delegated the directory.
fn in_cgroup(cgroup: &Cgroup, policy: &str) -> Sandbox {
    Sandbox::new(policy).pass(cgroup.open(), CGROUP_FD).option(format!("--cgroup-fd={CGROUP_FD}"))
}

#[test]
fn the_command_is_born_in_the_cgroup_that_is_given() {
    let Some(cgroup) = Cgroup::new("born") else {
        skip!("cgroup", "no cgroup of version 2 can be made here");
    };
    let policy = "filesystem.root = \"minimal\"\nlimits.processes = 20";
    let mut running = in_cgroup(&cgroup, policy).start(["sh", "-c", "echo ready; read line"]);
    assert_eq!(running.line(), "ready", "{}", running.stderr_text());
    // PID 1 and the command, not the waiter.
    let members = cgroup.read("cgroup.procs");
    assert_eq!(members.lines().count(), 2, "{members}");
    assert!(!members.lines().any(|pid| pid == running.pid().to_string()));
    let output = running.wait();
    assert_eq!(output.code(), 1, "{output:?}");
    let bound = cgroup.has("pids.max");
    if bound {
        assert_eq!(cgroup.read("pids.max").trim(), "21");
    }
    let is_missing = missing(&output).contains(&"limits.processes".into());
    assert_eq!(is_missing, !bound, "{output:?}");
}

#[test]
fn a_fork_bomb_ends_at_the_limit_of_the_cgroup_for_root_too() {
    let Some(cgroup) = Cgroup::new("pids").filter(|cgroup| cgroup.has("pids.max")) else {
        skip!("cgroup_controllers", "no cgroup with the controller pids can be made here");
    };
    let sandbox = in_cgroup(&cgroup, "limits.processes = 10\nenforce.limits = \"require\"");
    // The command itself counts, PID 1 does not.
    assert_eq!(sandbox.probe("fork-many 50"), Outcome::Ok("9 11".into()));
    let events = cgroup.read("pids.events");
    assert_ne!(events.trim(), "max 0");
    // In a user namespace of root's nothing else does.
    let control = Sandbox::new("limits.processes = 10").probe("fork-many 50");
    assert_eq!(control, Outcome::Ok("50".into()));
}

#[test]
fn memory_beyond_the_limit_of_the_cgroup_ends_the_command() {
    let Some(cgroup) = Cgroup::new("memory").filter(|cgroup| cgroup.has("memory.max")) else {
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
    assert_eq!((&exit["signal"], &exit["ended_by"]), (&json!(9), &json!("memory")), "{output:?}");
    assert!(!cgroup.read("memory.events").contains("oom_kill 0"), "{output:?}");
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

/// A cgroup of the test's own. It is removed when this goes out of scope.
struct Cgroup {
    directory: PathBuf,
}

impl Cgroup {
    /// One below where version 2 is mounted, if that is anywhere.
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mount = mounts.lines().find(|mount| mount.split(' ').nth(2) == Some("cgroup2"))?;
        let name = format!("launcher-e2e-{}-{name}", std::process::id());
        let directory = PathBuf::from(mount.split(' ').nth(1)?).join(name);
        fs::create_dir(&directory).ok()?;
        Some(Self { directory })
    }

    fn open(&self) -> File {
        File::open(&self.directory).expect("it opens")
    }

    fn has(&self, file: &str) -> bool {
        self.directory.join(file).exists()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.directory.join(file)).expect("it is read")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.directory);
    }
}
