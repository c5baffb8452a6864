//! A minimal image: a root file system with the launcher, a policy and one
//! static program in it, run by runc(8) as any OCI runtime would run it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use command_fds::{CommandFdExt, FdMapping};
use harness::{Caller, Outcome, Sandbox, TempDir, skip};
use rustix::io::Errno;
use serde_json::{Value, json};

/// A bundle and the container that is made of it.
pub(crate) struct Container {
    bundle: TempDir,
    name: String,
}

impl Container {
    /// A bundle whose root file system holds `launcher`, `policy.bin` and
    /// `app`, and nothing else. `app` is the probe.
    fn new(policy: &str) -> Self {
        Self::of(TempDir::new().directory("rootfs"), policy, "app", "/")
    }

    /// The same with this content, a program of another path, and the
    /// directory that relative paths of the policy start from.
    pub(crate) fn of(bundle: TempDir, policy: &str, app: &str, directory: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bundle = bundle.file("image.toml", policy);
        let sandbox = Sandbox::outside();
        let binaries = sandbox.binaries();
        // Links, not copies: a program that is open for writing anywhere
        // cannot be executed.
        let rootfs = bundle.join("rootfs");
        fs::hard_link(binaries.launcher(), rootfs.join("launcher")).expect("a link is made");
        fs::hard_link(binaries.probe(), rootfs.join(app)).expect("a link is made");
        let encoded = Command::new(binaries.encoder())
            .arg("--sysroot")
            .arg(&rootfs)
            .args(["--directory", directory])
            .arg(bundle.join("image.toml"))
            .arg("-o")
            .arg(rootfs.join("policy.bin"))
            .output()
            .expect("the encoder is started");
        assert!(encoded.status.success(), "{encoded:?}");
        Self { bundle, name: format!("launcher-e2e-{}-{number}", std::process::id()) }
    }

    /// Runs the container to its end; its exit status, and what it said.
    fn run(&self, entry_point: &[&str]) -> (i32, String, String) {
        self.run_as(&config(entry_point), None)
    }

    /// The same as a runtime is told, where descriptor 3 is this file.
    pub(crate) fn run_as(&self, config: &Value, third: Option<File>) -> (i32, String, String) {
        let config = serde_json::to_vec(config).expect("JSON");
        fs::write(self.bundle.join("config.json"), config).expect("a file is written");
        let mut runc = self.runc();
        runc.args(["run", "--bundle"]).arg(self.bundle.path());
        if let Some(third) = third {
            let third = FdMapping { parent_fd: third.into(), child_fd: 3 };
            runc.args(["--preserve-fds", "1"]).fd_mappings(vec![third]).expect("one number");
        }
        let output = runc.arg(&self.name).output().expect("runc is started");
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// A file of the bundle.
    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.bundle.join(path)).expect("it is read")
    }

    fn runc(&self) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.bundle.join("state")).stdin(Stdio::null());
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // With its cgroups. Where it has ended by itself there is none, and
        // runc says so.
        let _ = self.runc().args(["delete", "--force", &self.name]).stderr(Stdio::null()).status();
    }
}

/// What a runtime does by default for a container without privileges: no
/// capabilities, no user namespace, a read-only root, masked paths, a filter.
pub(crate) fn config(entry_point: &[&str]) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 65534, "gid": 65534 },
            "args": entry_point,
            "env": ["PATH=/", "SECRET=of-the-image"],
            "cwd": "/",
            "capabilities": {
                "bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": []
            },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "image",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            {
                "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=64k"]
            },
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "mount" }, { "type": "cgroup" },
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi"
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
            ],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {
                        "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                        "names": [
                            "mount", "umount2", "pivot_root", "move_mount", "open_tree",
                            "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
                            "unshare", "setns", "bpf", "perf_event_open", "keyctl",
                            "add_key", "request_key", "kexec_load", "reboot", "swapon",
                            "init_module", "finit_module", "delete_module",
                            "open_by_handle_at", "userfaultfd",
                        ]
                    },
                    { "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "names": ["clone3"] },
                ],
            },
        },
    })
}

/// Why containers cannot be run here, if they cannot.
pub(crate) fn obstacle() -> Option<&'static str> {
    if !Caller::both().iter().any(|caller| caller.is_root()) {
        return Some("containers without a user namespace need root");
    }
    match Command::new("runc").arg("--version").stdout(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        _ => return Some("runc is not installed"),
    }
    let cgroups = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let has_cgroups = cgroups.lines().any(|line| line.contains(" cgroup"));
    (!has_cgroups).then_some("no cgroup file system is mounted")
}

/// The policy of the documentation.
fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join("image.toml");
    fs::read_to_string(path).expect("the example exists")
}

/// The entry point of the documentation, with arguments for the program.
fn entry_point<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let launcher = ["/launcher", "--policy", "/policy.bin", "--", "/app"];
    launcher.into_iter().chain(arguments.iter().copied()).collect()
}

/// The lines of the probe.
pub(crate) fn answers(stdout: &str) -> Vec<String> {
    stdout.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn refused(errno: Errno) -> String {
    format!("errno {}", errno.raw_os_error())
}

#[test]
fn the_entry_point_of_a_minimal_image_is_confined() {
    if let Some(obstacle) = obstacle() {
        skip!("image", obstacle);
    }
    let container = Container::new(&example());
    let probes = [
        "pid",
        "hostname",
        "read /policy.bin",
        "list /",
        "open-for-read /proc/self/status",
        "open-for-write /dev/null",
        "socket inet stream",
        "socketpair",
        "fds",
    ];

    let (status, stdout, stderr) = container.run(&entry_point(&probes));

    let denied = refused(Errno::ACCESS);
    let expected = [
        "ok 1",
        "ok image",
        &denied,
        &denied,
        &denied,
        &denied,
        &refused(Errno::AFNOSUPPORT),
        "ok hello",
        "ok 0 1 2",
    ];
    assert_eq!((status, stderr.as_str()), (0, ""), "{stdout}");
    assert_eq!(answers(&stdout), expected);
    let names = fs::read_dir(container.bundle.join("rootfs")).expect("it is read").count();
    // The mount points are the runtime's.
    assert_eq!(names, ["launcher", "policy.bin", "app", "proc", "dev"].len());
}

#[test]
fn without_the_launcher_the_same_image_is_open() {
    if let Some(obstacle) = obstacle() {
        skip!("image", obstacle);
    }
    let container = Container::new(&example());
    let probes = ["/app", "list /", "open-for-read /proc/self/status", "socket inet stream"];

    let (status, stdout, stderr) = container.run(&probes);

    assert_eq!((status, stderr.as_str()), (0, ""), "{stdout}");
    assert_eq!(answers(&stdout), ["ok app dev launcher policy.bin proc", "ok", "ok"]);
}

#[test]
fn an_image_sees_the_exit_status_and_the_environment_of_its_policy() {
    if let Some(obstacle) = obstacle() {
        skip!("image", obstacle);
    }
    let container = Container::new(&example());

    let (status, stdout, stderr) = container.run(&entry_point(&["env", "exit 42"]));

    assert_eq!((status, stderr.as_str()), (42, ""));
    assert!(stdout.starts_with("ok ") && !stdout.contains("SECRET"), "{stdout}");
}

#[test]
fn in_an_image_the_launcher_can_stay_as_the_pid_1_that_reaps() {
    if let Some(obstacle) = obstacle() {
        skip!("image", obstacle);
    }
    let container = Container::new(&format!("{}\n[namespaces]\ninit = 'reaper'\n", example()));

    let (status, stdout, stderr) = container.run(&entry_point(&["pid", "ppid", "raise 15"]));

    assert_eq!((status, stderr.as_str()), (128 + 15, ""), "{stdout}");
    let [pid, parent] = &answers(&stdout)[..] else { panic!("{stdout}") };
    assert_ne!(pid, "ok 1");
    assert_eq!(parent, "ok 1");
}

#[test]
fn an_image_with_a_damaged_policy_does_not_start() {
    if let Some(obstacle) = obstacle() {
        skip!("image", obstacle);
    }
    let container = Container::new(&example());
    let policy = container.bundle.join("rootfs/policy.bin");
    let mut bytes = fs::read(&policy).expect("it is read");
    *bytes.last_mut().expect("it has bytes") ^= 1;
    fs::write(&policy, bytes).expect("it is written");

    let (status, stdout, stderr) = container.run(&entry_point(&["say ran"]));

    assert_eq!((status, stdout.as_str()), (125, ""), "{stderr}");
    assert_eq!(stderr, "launcher: input: decode: the policy was damaged after it was encoded\n");
}

#[test]
fn paths_of_an_image_are_judged_in_its_tree() {
    // No runtime is needed for this.
    let directory = TempDir::new().directory("rootfs").file("image.toml", example());
    let sandbox = Sandbox::outside();
    let check = |sysroot: &Path| {
        Command::new(sandbox.binaries().encoder())
            .args(["check", "--sysroot"])
            .arg(sysroot)
            .arg(directory.join("image.toml"))
            .output()
            .expect("the encoder is started")
    };

    let without = check(&directory.join("rootfs"));
    fs::hard_link(sandbox.binaries().probe(), directory.join("rootfs/app")).expect("a link");
    let with = check(&directory.join("rootfs"));

    assert_eq!(without.status.code(), Some(1), "{without:?}");
    assert!(String::from_utf8_lossy(&without.stderr).contains("/app"), "{without:?}");
    assert!(with.status.success(), "{with:?}");
    assert!(matches!(sandbox.probe("access /app"), Outcome::Errno(Errno::NOENT)));
}
