//! Presets inside of containers, as PID 1 of them: of default containers, whose
//! filter closes namespaces and mounts, and of such that a runtime is told to
//! leave open, with all capabilities, some and none.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;

use harness::{TempDir, skip};
use launcher_policy::wire;
use policy_encoder::receipt::{Layer, Receipt, Rung};
use serde_json::{Value, json};

use crate::image::{Container, answers, config, obstacle};

/// A container, by what a runtime is told of it.
struct Host {
    uid: u32,
    capabilities: &'static [&'static str],
    /// Whether the filter of the runtime closes namespaces and mounts.
    is_filtered: bool,
    rung: Rung,
    /// Why there are no namespaces.
    reason: &'static str,
}

const fn host(
    uid: u32,
    capabilities: &'static [&'static str],
    is_filtered: bool,
    rung: Rung,
    reason: &'static str,
) -> Host {
    Host { uid, capabilities, is_filtered, rung, reason }
}

/// What Docker leaves to root.
const DEFAULT: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// All, but CAP_SYS_RESOURCE, which a host of tests may lack itself.
const ALL: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

const NOBODY: u32 = 65534;
/// The runtime's filter knows no clone3(2), but the flags of unshare(2).
const CLOSED: &str = "clone3: EPERM";

const HOSTS: [Host; 7] = [
    host(NOBODY, &[], true, Rung::Landlock, CLOSED),
    host(0, &[], true, Rung::Landlock, CLOSED),
    host(0, DEFAULT, true, Rung::Landlock, CLOSED),
    host(0, &[], false, Rung::Landlock, "write /proc/self/uid_map: EPERM"),
    host(NOBODY, &[], false, Rung::Namespaces, ""),
    host(0, DEFAULT, false, Rung::Namespaces, ""),
    host(0, ALL, false, Rung::Namespaces, ""),
];

impl Host {
    /// What the runtime is told.
    fn config(&self, lines: &[&str]) -> Value {
        let launcher = ["/launcher", "--policy", "/policy.bin", "--status-fd", "3", "--", APP];
        let mut config = config(&[&launcher, lines].concat());
        let process = &mut config["process"];
        process["user"] = json!({ "uid": self.uid, "gid": self.uid });
        process["cwd"] = json!("/project");
        for set in ["bounding", "effective", "permitted"] {
            process["capabilities"][set] = json!(self.capabilities);
        }
        config["root"]["readonly"] = json!(false);
        let linux = config["linux"].as_object_mut().expect("an object");
        if !self.is_filtered {
            linux.remove("seccomp");
        } else {
            // And clone(2) with the flag of any namespace.
            let calls = linux["seccomp"]["syscalls"].as_array_mut().expect("a list");
            for bit in (0..32).filter(|bit| 0x7e02_0000_u32 >> bit & 1 != 0) {
                let flag = 1_u32 << bit;
                calls.push(json!({
                    "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                    "args": [{
                        "index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ",
                    }],
                }));
            }
        }
        config
    }
}

/// Where every policy that shows the system shows the probe.
const APP: &str = "/usr/bin/app";

/// A container of this preset, with a project in it and somebody's key.
fn container(preset: &str) -> Container {
    let presets =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-encoder/presets");
    let text = fs::read_to_string(presets.join(format!("{preset}.toml"))).expect("a preset");
    let bundle = TempDir::new()
        .directory("rootfs/usr/bin")
        .directory("rootfs/dev")
        .directory("rootfs/proc")
        .directory("rootfs/tmp")
        .directory("rootfs/project/src")
        .file("rootfs/project/note", "kept")
        .file("rootfs/project/.env", "secret")
        .file("rootfs/project/.git/config", "kept")
        .file("rootfs/root/key", "secret")
        .file("rootfs/srv/data", "secret");
    for (path, mode) in
        [("rootfs/project/src", 0o777), ("rootfs/project", 0o777), ("rootfs/root", 0o755)]
    {
        let permissions = Permissions::from_mode(mode);
        fs::set_permissions(bundle.join(path), permissions).expect("a mode is set");
    }
    Container::of(bundle, &text, &APP[1..], "/project")
}

/// Runs the probe under a policy; what came of it, and the receipt.
fn run(container: &Container, host: &Host, lines: &[&str]) -> (i32, String, String, Receipt) {
    let status = TempDir::with_file("status", "");
    let file = File::options().append(true).open(status.join("status")).expect("it opens");
    let (code, stdout, stderr) = container.run_as(&host.config(lines), Some(file));
    let receipt = Receipt::parse(&status.read("status"))
        .unwrap_or_else(|why| panic!("{why}: {code} {stdout} {stderr}"));
    (code, stdout, stderr, receipt)
}

/// Whether the probe has said this; `refused` is any error.
fn is_said(answer: &str, expected: &str) -> bool {
    answer == expected || expected == "refused" && answer.starts_with("errno ")
}

#[test]
fn presets_hold_in_containers_on_the_rung_that_is_there() {
    if let Some(obstacle) = obstacle() {
        skip!("image", obstacle);
    }
    harness::needs_landlock!(6);
    for (preset, attacks) in [
        (
            "agent",
            [
                ("read /project/note", "ok kept"),
                ("create /project/src/new", "ok"),
                ("read /project/.env", "refused"),
                ("open-for-write /project/.git/config", "refused"),
                ("read /root/key", "refused"),
                ("open-for-write /srv/data", "refused"),
                ("socket inet stream", "errno 97"),
            ],
        ),
        (
            "shim",
            [
                ("read /project/note", "ok kept"),
                ("create /project/src/new", "ok"),
                ("create /usr/bin/new", "refused"),
                ("chmod /project/note 600", "errno 1"),
                ("read /root/key", "refused"),
                ("open-for-read /srv/data", "refused"),
                ("socket inet stream", "errno 97"),
            ],
        ),
    ] {
        let (lines, expected): (Vec<_>, Vec<_>) = attacks.into_iter().unzip();
        for host in &HOSTS {
            let container = container(preset);
            let (status, stdout, stderr, receipt) = run(&container, host, &lines);

            let why = format!(
                "{preset}, {} {:?} {}: {stdout}{stderr}{receipt:?}",
                host.uid, host.capabilities, host.is_filtered
            );
            assert_eq!((status, stderr.as_str()), (0, ""), "{why}");
            let answers = answers(&stdout);
            assert_eq!(answers.len(), expected.len(), "{why}");
            for ((line, answer), expected) in lines.iter().zip(&answers).zip(&expected) {
                assert!(is_said(answer, expected), "{line}: {answer}: {why}");
            }
            let frame = container.read("rootfs/policy.bin");
            let policy = wire::decode(&frame).expect("it decodes");
            assert_eq!(receipt.shortfall(&frame, &policy, true), None, "{why}");
            let launch = receipt.launch.as_ref().expect("a launch event");
            let (rung, reason) = match preset {
                "shim" => (Rung::Landlock, ""),
                _ => (host.rung, host.reason),
            };
            assert_eq!(launch.rung, rung, "{why}");
            let said = launch.reasons.namespaces.as_deref().unwrap_or_default();
            assert!(said.starts_with(reason) && said.is_empty() == reason.is_empty(), "{why}");
            if rung == Rung::Landlock {
                assert!(launch.guarantees.values().all(|by| *by != Layer::Namespaces), "{why}");
            }
            // What the runtime has masked no fresh one may show.
            let is_missing = launch.missing.iter().any(|facility| facility == "proc");
            assert_eq!(is_missing, preset == "agent", "{why}");
        }
        // The control: without the launcher nothing is refused.
        let open = container(preset);
        let mut config = HOSTS[6].config(&[]);
        config["process"]["args"] = json!([&[APP], &lines[..]].concat());
        let (_, stdout, stderr) = open.run_as(&config, None);
        assert!(answers(&stdout).iter().all(|answer| answer.starts_with("ok")), "{stdout}{stderr}");
    }
}

#[test]
fn a_preset_that_takes_mounts_is_refused_with_words_where_a_container_allows_none() {
    if let Some(obstacle) = obstacle() {
        skip!("image", obstacle);
    }
    for preset in ["strict", "build"] {
        for host in &HOSTS {
            let container = container(preset);
            let (status, stdout, stderr, receipt) = run(&container, host, &["say ran"]);

            let why = format!(
                "{preset}, {} {:?} {}: {stdout}{stderr}{receipt:?}",
                host.uid, host.capabilities, host.is_filtered
            );
            if host.rung == Rung::Namespaces {
                assert_eq!((status, stdout.as_str()), (0, "ok ran\n"), "{why}");
                continue;
            }
            assert_eq!((status, stdout.as_str()), (125, ""), "{why}");
            let failure = receipt.failure.as_ref().expect("a failure");
            let (Some(guarantee), Some(reason), Some(hint)) =
                (&failure.guarantee, &failure.why, &failure.hint)
            else {
                panic!("{why}");
            };
            // The rung that is closed and why, what helps, what is lost, and why
            // the other rung does not keep it.
            let (call, error) = host.reason.split_once(": ").expect("a call and its error");
            let call = call.split(' ').next().unwrap_or_default();
            for said in [call, error, hint, guarantee] {
                assert!(stderr.contains(said), "{said}: {why}");
            }
            assert!(!reason.is_empty() && stderr.lines().count() == 1, "{why}");
        }
    }
}
