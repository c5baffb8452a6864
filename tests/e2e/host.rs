//! What the launcher says a host gives, and what `encode-policy` makes of it,
//! against what a launch then does.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;

use harness::{
    Binaries, Caller, Output, POLICY_FD, STATUS_FD, Sandbox, TempDir, WITHOUT_ID_MAPS,
    WITHOUT_LANDLOCK, WITHOUT_USER_NAMESPACES, needs_strace,
};
use serde_json::Value;

/// Everything that is tried outside of new namespaces.
const ALWAYS_TRIED: [&str; 20] = [
    "newuser",
    "newns",
    "newpid",
    "newnet",
    "newipc",
    "newuts",
    "newcgroup",
    "newtime",
    "together",
    "without_user",
    "landlock",
    "filter",
    "listener",
    "clone3",
    "openat2",
    "open_tree",
    "mount_setattr",
    "noexec_seal",
    "wait_killable",
    "kill_process",
];

/// Everything that is tried in them.
const TRIED_INSIDE: [&str; 7] =
    ["maps", "private", "tmpfs", "proc", "devpts", "overlay", "loopback"];

/// A kernel that has no `/proc` to give.
const WITHOUT_PROC: &[&str] =
    &["unshare", "-Ur", "-m", "sh", "-c", "mount -t tmpfs none /proc/sys && exec \"$@\"", "sh"];

/// What Landlock and seccomp keep alone.
const EXPRESSIBLE: &str = "filesystem = { root = \"minimal\", tmp = \"none\", proc = false, dev = \"none\" }\n\
                           network.unix = \"host\"\nenforce.waive = [\"execute\"]\n";

/// Sandboxes of ours to ask in: under a Landlock domain nothing can be mounted,
/// and under a filter no namespace can be made.
fn outer(binaries: &Binaries) -> [String; 2] {
    let launcher = binaries.launcher();
    let execute = launcher.parent().expect("a directory");
    let filter =
        format!("filesystem = {{ root = \"host\", tmp = \"host\", execute = [{execute:?}] }}");
    [format!("{filter}\nseccomp.profile = \"unconfined\""), filter]
}

/// What the launcher says.
#[track_caller]
fn probe_host(sandbox: &Sandbox) -> Value {
    let output =
        sandbox.run([sandbox.binaries().launcher().into(), OsString::from("--probe-host")]);
    assert_eq!(output.code(), 0, "{output:?}");
    assert_eq!(output.stderr_text(), "");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn outside(caller: Caller, host: &[&str]) -> Sandbox {
    Sandbox::outside().caller(caller).wrap(host.iter().copied())
}

#[test]
fn the_probe_says_what_it_tried_and_whom_for() {
    for caller in Caller::both() {
        let facts = probe_host(&outside(caller, &[]));
        assert_eq!(facts["version"], 1, "{caller}");
        assert_eq!(facts["uid"], caller.uid(), "{caller}");
        assert_eq!(facts["seccomp_mode"], 0, "{caller}");
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
        assert_eq!(facts["kernel"], kernel.trim(), "{caller}");
        assert_eq!(facts["machine"], std::env::consts::ARCH, "{caller}");
        for tried in ALWAYS_TRIED.iter().chain(&TRIED_INSIDE) {
            let answer = facts.get(tried).unwrap_or_else(|| panic!("{tried}: {facts}"));
            assert!(answer.is_null() || answer.is_string() || answer.is_u64(), "{tried}: {answer}");
        }
        let numbers =
            ["process", "capabilities", "no_new_privs", "landlock_abi", "landlock_errata"];
        assert!(numbers.iter().all(|name| facts[name].is_u64()), "{facts}");
        let known = 4 + 5 + ALWAYS_TRIED.len() + TRIED_INSIDE.len() + 1;
        assert_eq!(facts.as_object().map(serde_json::Map::len), Some(known), "{facts}");
    }
}

#[test]
fn privilege_is_what_namespaces_without_a_user_namespace_take() {
    let facts = probe_host(&Sandbox::outside().as_nobody());
    assert_eq!(facts["without_user"], "EPERM");
    assert_eq!(facts["capabilities"], 0);
    for caller in Caller::both() {
        let facts = probe_host(&outside(caller, &["unshare", "-Ur"]));
        assert_eq!(facts["without_user"], Value::Null, "{caller}");
        assert_ne!(facts["capabilities"], 0, "{caller}");
    }
}

#[test]
fn where_no_user_namespace_can_be_made_nothing_in_one_is_tried() {
    for caller in Caller::both() {
        let facts = probe_host(&outside(caller, WITHOUT_USER_NAMESPACES));
        assert_eq!(facts["newuser"], "ENOSPC", "{caller}");
        assert_eq!(facts["together"], "ENOSPC", "{caller}");
        assert!(TRIED_INSIDE.iter().all(|tried| facts.get(tried).is_none()), "{caller}: {facts}");
        assert_eq!(facts["filter"], Value::Null, "{caller}");
    }
}

#[test]
fn inside_a_landlock_domain_nothing_can_be_mounted() {
    harness::needs_landlock!(1);
    let binaries = Binaries::shared();
    let [outer, _] = outer(&binaries);
    for caller in Caller::both() {
        let facts = probe_host(&Sandbox::new(&outer).caller(caller));
        assert_eq!(facts["private"], "EPERM", "{caller}: {facts}");
        assert_eq!(facts["landlock"], Value::Null, "{caller}: {facts}");
        assert_eq!(probe_host(&outside(caller, &[]))["private"], Value::Null, "{caller}");
    }
}

#[test]
fn inside_a_filter_no_namespace_can_be_made() {
    let binaries = Binaries::shared();
    let [_, outer] = outer(&binaries);
    for caller in Caller::both() {
        let facts = probe_host(&Sandbox::new(&outer).caller(caller));
        assert_eq!(facts["seccomp_mode"], 2, "{caller}: {facts}");
        assert_eq!(facts["no_new_privs"], 1, "{caller}: {facts}");
        assert_eq!(facts["newuser"], "EPERM", "{caller}: {facts}");
        assert_eq!(facts["filter"], Value::Null, "{caller}: {facts}");
    }
}

#[test]
fn a_seventeenth_layer_of_landlock_is_told_from_none() {
    harness::needs_landlock!(6);
    let dir = TempDir::new();
    let binaries = Binaries::shared();
    let policy = format!(
        "filesystem = {{ root = \"minimal\", read = [{dir:?}], execute = [{:?}], tmp = \"none\", \
         proc = false, dev = [\"null\", \"tty\"] }}\nnetwork.unix = \"host\"\n\
         enforce = {{ namespaces = \"off\", waive = [\"execute\"] }}",
        binaries.launcher()
    );
    let dir = dir.file("policy.bin", harness::encode(&policy));
    let launcher = OsString::from(binaries.launcher());
    let layer = [launcher.clone(), "--policy".into(), dir.join("policy.bin").into(), "--".into()];
    for caller in Caller::both() {
        let said = |layers: usize| {
            let mut command: Vec<OsString> =
                std::iter::repeat_n(layer.clone(), layers).flatten().collect();
            command.extend([launcher.clone(), "--probe-host".into()]);
            let output = Sandbox::outside().caller(caller).run(command);
            let facts: Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| panic!("{error}: {output:?}"));
            facts["landlock"].clone()
        };
        assert_eq!(said(15), Value::Null, "{caller}");
        assert_eq!(said(16), "E2BIG", "{caller}");
    }
}

#[test]
fn the_first_process_of_a_container_is_told() {
    for caller in Caller::both() {
        let facts = probe_host(&outside(caller, &["unshare", "-Urpf", "--mount-proc"]));
        assert_eq!(facts["process"], 1, "{caller}");
        assert_eq!(facts["together"], Value::Null, "{caller}");
    }
}

#[test]
fn the_probe_leaves_no_process_and_no_mount() {
    let script = "before=$(cat /proc/self/mountinfo); \"$0\" --probe-host >/dev/null || exit; \
                  test \"$before\" = \"$(cat /proc/self/mountinfo)\" || echo mounts; \
                  set -- /proc/[0-9]*; echo $#";
    for caller in Caller::both() {
        let sandbox = outside(caller, &["unshare", "-Urpf", "--mount-proc"]);
        let words: [OsString; 4] =
            ["sh".into(), "-c".into(), script.into(), sandbox.binaries().launcher().into()];
        sandbox.run(words).assert_said(&["1"]);
    }
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    let sandbox = Sandbox::outside();
    let launcher = sandbox.binaries().launcher().into();
    let words: [OsString; 4] =
        ["sh".into(), "-c".into(), "exec \"$0\" --probe-host >/dev/full".into(), launcher];
    let output = sandbox.run(words);
    assert_eq!(output.code(), 125, "{output:?}");
    assert!(output.stderr_text().contains("write: ENOSPC"), "{output:?}");
}

/// `encode-policy check --host` of a policy.
fn check(policy: &TempDir, sandbox: &Sandbox) -> Output {
    let words: [OsString; 6] = [
        sandbox.binaries().encoder().into(),
        "check".into(),
        policy.join("policy.toml").into(),
        "--host".into(),
        "--launcher".into(),
        sandbox.binaries().launcher().into(),
    ];
    sandbox.run(words)
}

#[test]
fn what_check_says_of_a_host_is_what_a_launch_there_does() {
    harness::needs_landlock!(6);
    needs_strace!();
    let minimal = "filesystem.root = \"minimal\"";
    let policies = [
        EXPRESSIBLE.to_owned(),
        format!("{EXPRESSIBLE}enforce.namespaces = \"off\""),
        format!("{EXPRESSIBLE}enforce.namespaces = \"require\""),
        format!("{EXPRESSIBLE}enforce.landlock = \"require\""),
        minimal.to_owned(),
        format!("{minimal}\nenforce.namespaces = \"require\""),
        format!("{minimal}\nnetwork = {{ access = \"host\", connect_tcp = [443] }}"),
        format!("{minimal}\nnamespaces.pid = false\nfilesystem.proc = false"),
    ];
    let binaries = Binaries::shared();
    let outer = outer(&binaries)
        .map(|policy| format!("{policy}\nprocess.keep_fds = [{POLICY_FD}, {STATUS_FD}]"))
        .map(|policy| TempDir::new().file("outer.bin", harness::encode(&policy)));
    let nested = outer.each_ref().map(|dir| {
        let policy = dir.join("outer.bin").into();
        Vec::from([binaries.launcher().into(), "--policy".into(), policy, "--".into()])
    });
    let hosts = [&[], WITHOUT_USER_NAMESPACES, WITHOUT_ID_MAPS, WITHOUT_LANDLOCK, WITHOUT_PROC];
    let hosts = hosts.map(|host| host.iter().map(OsString::from).collect());
    let hosts: Vec<Vec<OsString>> = hosts.into_iter().chain(nested).collect();
    let mut rungs = BTreeSet::new();
    for policy in &policies {
        let file = TempDir::with_file("policy.toml", policy);
        for (caller, host) in Caller::both()
            .into_iter()
            .flat_map(|caller| hosts.iter().map(move |host| (caller, host)))
        {
            // As many descriptors as the launch has, which an outer sandbox passes on.
            let null = File::open("/dev/null").expect("it is there");
            let asking = Sandbox::outside().caller(caller).wrap(host).pass(null, POLICY_FD);
            let said = check(&file, &asking);
            let sandbox = Sandbox::new(policy).without_probe().caller(caller).wrap(host);
            let output = sandbox.run(["true"]);
            let rung = agrees(&said, &output).unwrap_or_else(|why| {
                panic!("{why}\n{caller}, {host:?}, {policy}: {said:?}{output:?}")
            });
            rungs.insert(rung);
        }
    }
    assert_eq!(rungs.into_iter().collect::<Vec<_>>(), ["landlock", "namespaces", "refused"]);
}

/// The rung that both name, or what they do not agree about.
fn agrees(said: &Output, launched: &Output) -> Result<String, String> {
    let text = said.stderr_text();
    let names =
        |word: &str| if text.contains(word) { Ok(()) } else { Err(format!("not said: {word}")) };
    let Some(launch) = launched.event("launch") else {
        names("cannot be honoured here")?;
        names(launched.failure()["guarantee"].as_str().unwrap_or_default())?;
        return match (launched.code(), said.code()) {
            (125, 1) => Ok("refused".to_owned()),
            codes => Err(format!("exit statuses {codes:?}")),
        };
    };
    let rung = launch["rung"].as_str().unwrap_or_default();
    names(&format!("honoured here, on the rung of {rung}"))?;
    for missing in launch["missing"].as_array().into_iter().flatten() {
        names(missing.as_str().unwrap_or("a word"))?;
    }
    match (launched.code(), said.code()) {
        (0, 0) => Ok(rung.to_owned()),
        codes => Err(format!("exit statuses {codes:?}")),
    }
}

#[test]
fn a_refusal_names_the_limit_and_what_helps() {
    harness::needs_landlock!(6);
    let file = TempDir::with_file("policy.toml", "filesystem.root = \"minimal\"");
    for caller in Caller::both() {
        let said = check(&file, &outside(caller, WITHOUT_USER_NAMESPACES)).stderr_text();
        assert!(said.contains("nothing keeps \"execute\""), "{caller}: {said}");
        assert!(said.contains("user.max_user_namespaces is 0"), "{caller}: {said}");
        assert!(said.contains("help: as root"), "{caller}: {said}");
    }
}

#[test]
fn the_table_has_the_rung_and_a_reason_for_what_is_closed() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for (host, rung, reason) in [
            (&[][..], "namespaces", ""),
            (WITHOUT_USER_NAMESPACES, "landlock", "user.max_user_namespaces is 0"),
        ] {
            let sandbox = outside(caller, host);
            let host = |option: &[&str]| {
                let mut words: Vec<OsString> =
                    vec![sandbox.binaries().encoder().into(), "host".into()];
                words.extend(["--launcher".into(), sandbox.binaries().launcher().into()]);
                words.extend(option.iter().map(OsString::from));
                sandbox.run(words)
            };
            let table = host(&[]);
            assert_eq!(table.code(), 0, "{caller}: {table:?}");
            assert!(table.stdout_text().contains(&format!("everything: {rung}\n")), "{table:?}");
            assert!(table.stdout_text().contains(reason), "{caller}: {table:?}");
            let json: Value = serde_json::from_slice(&host(&["--json"]).stdout).expect("JSON");
            assert_eq!(json["rung"], rung, "{caller}");
            assert!(json["facts"]["uid"].is_u64(), "{caller}");
            assert!(json["closed"].to_string().contains(reason), "{caller}: {json}");
        }
    }
}

#[test]
fn no_more_than_the_given_abi_is_used() {
    harness::needs_landlock!(6);
    needs_strace!();
    // Since which ABI each is handled.
    let rights = [(1, "MAKE_SYM", 1 << 12), (2, "REFER", 1 << 13), (3, "TRUNCATE", 1 << 14)];
    let rights = rights.into_iter().chain([(5, "IOCTL_DEV", 1 << 15)]).collect::<Vec<_>>();
    let trace = TempDir::with_file("trace", "");
    let everybody = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(trace.join("trace"), everybody).expect("its mode is set");
    let path = trace.join("trace").to_string_lossy().into_owned();
    let strace = ["strace", "-f", "-e", "trace=landlock_create_ruleset", "-o", &path, "--"];
    for caller in Caller::both() {
        for abi in [0, 1, 2, 3, 4, 5] {
            let sandbox = Sandbox::new("filesystem.root = \"minimal\"")
                .caller(caller)
                .option(format!("--landlock-abi={abi}"))
                .wrap(strace);
            let output = sandbox.run([sandbox.probe_path(), "pid".into()]);
            assert_eq!(output.stdout_text(), "ok 2\n", "{caller}, ABI {abi}: {output:?}");
            let launch = output.event("launch").expect("a launch event");
            assert_eq!(launch["landlock_abi"], abi, "{caller}");
            let trace = trace.read("trace");
            for &(since, name, bit) in &rights {
                let handled = handles(&trace, name, bit);
                assert_eq!(handled, since <= abi, "{caller}, ABI {abi}, {name}: {trace}");
            }
        }
    }
}

/// Whether a trace has a right of Landlock, by its name or, where strace has none
/// for it, as a bit.
fn handles(trace: &str, name: &str, bit: u64) -> bool {
    let masks = trace.split("handled_access_fs=").skip(1);
    masks.flat_map(|rest| rest.split([',', '}']).next()).flat_map(|mask| mask.split('|')).any(
        |each| {
            let number =
                each.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            each == format!("LANDLOCK_ACCESS_FS_{name}")
                || number.is_some_and(|bits| bits & bit != 0)
        },
    )
}

#[test]
fn what_an_older_abi_cannot_keep_is_refused_with_both_numbers() {
    harness::needs_landlock!(6);
    let alone = format!("{EXPRESSIBLE}enforce.namespaces = \"off\"");
    let tcp = "filesystem.root = \"minimal\"\n\
               network = { access = \"host\", unix = \"none\", connect_tcp = [443] }";
    let signals = "filesystem = { root = \"minimal\", proc = false }\nnamespaces.pid = false";
    let cases = [
        (alone.as_str(), 0, Some(("files", 1))),
        (alone.as_str(), 1, Some(("truncate", 3))),
        (alone.as_str(), 2, Some(("truncate", 3))),
        (alone.as_str(), 5, Some(("abstract-unix-socket", 6))),
        (alone.as_str(), 6, None),
        (tcp, 1, Some(("tcp", 4))),
        (tcp, 3, Some(("tcp", 4))),
        (tcp, 4, None),
        (tcp, 5, None),
        (signals, 5, Some(("signal-scope", 6))),
        (signals, 6, None),
    ];
    for caller in Caller::both() {
        for (policy, abi, lost) in cases {
            let sandbox =
                Sandbox::new(policy).caller(caller).option(format!("--landlock-abi={abi}"));
            let output = sandbox.run([sandbox.probe_path(), "pid".into()]);
            let place = format!("{caller}, ABI {abi}, {policy}: {output:?}");
            let Some((guarantee, needed)) = lost else {
                assert_eq!(output.code(), 0, "{place}");
                continue;
            };
            assert_eq!(output.code(), 125, "{place}");
            let failure = output.failure();
            assert_eq!(failure["guarantee"], guarantee, "{place}");
            let said = format!("ABI {needed}, and this kernel has {abi}");
            assert!(output.stderr_text().contains(&said), "{place}");
        }
    }
}

#[test]
fn an_abi_that_no_kernel_has_yet_is_the_kernels() {
    let kernel = probe_host(&Sandbox::outside())["landlock_abi"].clone();
    let sandbox = Sandbox::new("").option("--landlock-abi=999");
    let output = sandbox.run([sandbox.probe_path(), "pid".into()]);
    assert_eq!(output.event("launch").expect("a launch event")["landlock_abi"], kernel);
}

#[test]
fn a_prediction_needs_no_launcher() {
    let file = TempDir::with_file("policy.toml", EXPRESSIBLE);
    let sandbox = Sandbox::outside();
    for (options, code, said) in [
        (&["--rung", "landlock"][..], 0, "on the rung of landlock"),
        (&["--rung", "landlock", "--abi", "2"], 1, "Landlock ABI 3, and there is 2"),
        (&["--rung", "namespaces", "--abi", "0"], 0, "on the rung of namespaces"),
        (&["--rung", "seccomp"], 1, "nothing keeps \"files\""),
    ] {
        let mut words: Vec<OsString> = vec![sandbox.binaries().encoder().into(), "check".into()];
        words.push(file.join("policy.toml").into());
        words.extend(options.iter().map(OsString::from));
        let output = sandbox.run(words);
        assert_eq!(output.code(), code, "{options:?}: {output:?}");
        assert!(output.stderr_text().contains(said), "{options:?}: {output:?}");
    }
}
