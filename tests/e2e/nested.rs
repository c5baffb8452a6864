//! Hosts on which namespaces can be made and nothing done in them: AppArmor
//! that takes the capabilities in them away, and sandboxes of ours around.

use harness::{Caller, Outcome, Output, Sandbox, TempDir, encode, needs_strace, with_probe};
use serde_json::{Value, json};

/// What Landlock and the filter can keep alone.
fn expressible(dir: &TempDir) -> String {
    format!(
        "filesystem = {{ write = [{dir:?}], tmp = \"none\", proc = false, dev = \"none\" }}\n\
         network.unix = \"host\"\nenforce.waive = [\"execute\"]\n"
    )
}

/// What is refused in namespaces that are there.
struct Refused {
    call: &'static str,
    /// The path that it is about, or which of the calls, as strace(1) counts
    /// them in each process.
    which: Which,
    error: &'static str,
    /// How a receipt has it.
    reason: &'static str,
}

#[derive(Clone, Copy)]
enum Which {
    Path(&'static str),
    Number(u8),
}

const SETGROUPS: Which = Which::Path("/proc/self/setgroups");
const GID_MAP: Which = Which::Path("/proc/self/gid_map");
const UID_MAP: Which = Which::Path("/proc/self/uid_map");
const OPEN: &str = "?open,openat";

const REFUSED: [Refused; 7] = [
    refused(OPEN, SETGROUPS, "EACCES", "open /proc/self/setgroups: EACCES"),
    refused(OPEN, SETGROUPS, "EROFS", "open /proc/self/setgroups: EROFS"),
    refused(OPEN, GID_MAP, "ENOENT", "open /proc/self/gid_map: ENOENT"),
    refused(OPEN, UID_MAP, "EPERM", "open /proc/self/uid_map: EPERM"),
    refused("write", Which::Number(3), "EPERM", "write /proc/self/uid_map: EPERM"),
    refused("mount", Which::Number(1), "EPERM", "mount: EPERM"),
    refused("mount", Which::Number(1), "EACCES", "mount: EACCES"),
];

/// One for each call.
const OF_EACH_CALL: [usize; 3] = [0, 4, 5];

const fn refused(
    call: &'static str,
    which: Which,
    error: &'static str,
    reason: &'static str,
) -> Refused {
    Refused { call, which, error, reason }
}

impl Refused {
    /// The same sandbox on a host that refuses this.
    fn around(&self, sandbox: Sandbox) -> Sandbox {
        let strace = ["strace", "-f", "-qqq", "-o", "/dev/null"].map(str::to_owned).to_vec();
        let fault = format!("inject={}:error={}", self.call, self.error);
        let which = match self.which {
            Which::Path(path) => vec!["-P".into(), path.into(), "-e".into(), fault],
            Which::Number(number) => vec!["-e".into(), format!("{fault}:when={number}")],
        };
        sandbox.wrap([strace, which, vec!["--".into()]].concat())
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.reason)
    }
}

/// How the processes of a launch are put together: with PID 1, with a command
/// that is PID 1, and with a waiter in both that would be needed without, too.
const SHAPES: [&str; 4] = [
    "",
    "namespaces.init = \"none\"\n",
    "process.die_with_parent = \"process\"\n",
    "namespaces.init = \"none\"\nprocess.die_with_parent = \"process\"\n",
];

/// Where the launcher is in the namespaces itself.
const IN_PLACE: &str = "namespaces.pid = false\n";

#[test]
fn namespaces_that_are_of_no_use_are_gone_without() {
    harness::needs_landlock!(6);
    needs_strace!();
    for caller in Caller::both() {
        for host in &REFUSED {
            for shape in SHAPES.into_iter().chain([IN_PLACE]) {
                let dir = TempDir::with_file("note", "kept");
                let policy = format!("{}{shape}", expressible(&dir));
                let sandbox = host.around(Sandbox::new(&policy).caller(caller));
                let probes = [
                    (format!("create {dir}/new"), "ok "),
                    (format!("read {dir}/note"), "ok kept"),
                    ("open-for-read /etc/passwd".into(), "errno 13"),
                    ("chmod /etc/passwd 600".into(), "errno 1"),
                    ("socket inet stream".into(), "errno 97"),
                    // The waiter, or whoever started the launcher.
                    ("kill parent 0".into(), "errno 1"),
                    ("fds".into(), "ok 0 1 2"),
                ];
                // Behind the receipt, a second line would be the third write.
                let number = if host.call == "write" { 1 } else { probes.len() };
                let (lines, answers): (Vec<_>, Vec<_>) = probes.into_iter().take(number).unzip();
                let output = sandbox.run([vec![sandbox.probe_path()], lines].concat());

                let why = format!("{caller}: {host}: {shape}: {output:?}");
                assert_eq!(output.code(), 0, "{why}");
                assert_eq!(output.stdout_text().lines().collect::<Vec<_>>(), answers, "{why}");
                assert!(dir.has("new"), "{why}");
                let launch = output.event("launch").expect("a launch event");
                assert_eq!(launch["rung"], "landlock", "{why}");
                assert_eq!(launch["layers"]["namespaces"], "degraded", "{why}");
                let said = launch["reasons"]["namespaces"].as_str().unwrap_or_default();
                assert!(said.starts_with(host.reason) && said.contains("; "), "{why}");
                assert_eq!(launch["missing"], json!(["namespaces"]), "{why}");
                let by: Vec<_> = launch["guarantees"].as_object().into_iter().flatten().collect();
                assert!(by.iter().all(|(_, layer)| *layer != "namespaces"), "{why}");
                assert_eq!(launch["pids"].get("init"), None, "{why}");
                let events = match shape.contains("die_with_parent") {
                    true => &["launch", "exec", "exit"][..],
                    false => &["launch"],
                };
                assert_eq!(output.event_names(), events, "{why}");
            }
        }
    }
}

#[test]
fn a_command_that_goes_without_namespaces_is_what_it_would_be_without_any() {
    harness::needs_landlock!(6);
    needs_strace!();
    for caller in Caller::both() {
        let dir = TempDir::new();
        let off = format!("{}enforce.namespaces = \"off\"\n", expressible(&dir));
        for shape in SHAPES {
            let probe = |sandbox: Sandbox| {
                let lines = ["ids", "cwd", "signals", "rlimit nofile", "dumpable", "death-signal"];
                let sandbox = sandbox.caller(caller).cwd("/usr").stdin("given");
                let words = [vec![sandbox.probe_path()], lines.map(str::to_owned).to_vec()];
                let output = sandbox.run(words.concat());
                assert_eq!(output.code(), 0, "{caller}: {output:?}");
                output.stdout_text()
            };
            let policy = format!("{}{shape}", expressible(&dir));
            let without = shape.replace("namespaces.init = \"none\"\n", "");
            let without = probe(Sandbox::new(&format!("{off}{without}")));
            // Each line of the probe is a write.
            for host in REFUSED.iter().filter(|host| host.call != "write") {
                let abandoned = probe(host.around(Sandbox::new(&policy)));
                assert_eq!(abandoned, without, "{caller}: {host}: {shape}");
            }
        }
    }
}

#[test]
fn what_is_passed_on_outlives_the_namespaces_that_are_left() {
    harness::needs_landlock!(6);
    needs_strace!();
    for caller in Caller::both() {
        for shape in SHAPES {
            let dir = TempDir::with_file("note", "given");
            let policy = expressible(&dir).replace("{ write", "{ root = \"minimal\", write");
            let policy = format!("{policy}{shape}process.keep_fds = [7]\n");
            let file = std::fs::File::open(dir.join("note")).expect("it opens");
            let sandbox = Sandbox::new(&policy).caller(caller).pass(file, 7).stdin("input");
            let output = REFUSED[0].around(sandbox).run([
                "sh",
                "-c",
                "cat <&7; echo; cat; echo \"$0\"; exit 42",
                "argument",
            ]);
            assert_eq!(output.stdout_text(), "given\ninputargument\n", "{caller}: {output:?}");
            assert_eq!(output.code(), 42, "{caller}: {output:?}");
        }
    }
}

#[test]
fn what_only_namespaces_keep_is_a_refusal_with_both_reasons() {
    harness::needs_landlock!(6);
    needs_strace!();
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x");
        let deny = format!("write = [{dir:?}], deny = [{:?}]", dir.join("note"));
        let masked = expressible(&dir).replace(&format!("write = [{dir:?}]"), &deny);
        let limited = format!(
            "{}limits.wall_time = \"1h\"\nenforce.limits = \"require\"\n",
            expressible(&dir)
        );
        let required = format!("{}enforce.namespaces = \"require\"\n", expressible(&dir));
        for host in OF_EACH_CALL.map(|place| &REFUSED[place]) {
            for shape in SHAPES.into_iter().chain([IN_PLACE]) {
                for (policy, said) in [
                    (&masked, "what is lost is \"files\": it takes a mount namespace"),
                    (&limited, "wall_time"),
                    (&required, host.error),
                ] {
                    if shape == IN_PLACE && policy == &limited {
                        // It is refused before anything is made.
                        continue;
                    }
                    let policy = format!("{policy}{shape}");
                    let output = host.around(Sandbox::new(&policy).caller(caller)).run(["true"]);
                    let why = format!("{caller}: {host}: {policy}: {output:?}");
                    assert_eq!(output.code(), 125, "{why}");
                    // strace says to what it has resolved a path.
                    let lines = output.stderr_text();
                    let own: Vec<_> =
                        lines.lines().filter(|line| !line.starts_with("strace: ")).collect();
                    let [line] = own[..] else { panic!("{why}") };
                    assert!(line.contains(said), "{why}");
                    assert_eq!(output.failure()["status"], 125, "{why}");
                    if policy.contains("deny") {
                        assert!(line.contains(host.error), "{why}");
                        assert_eq!(output.failure()["guarantee"], "files", "{why}");
                        assert!(output.failure()["hint"].is_string(), "{why}");
                    }
                }
            }
        }
        // The control: with namespaces all of it runs.
        for policy in [masked, limited, required] {
            assert!(Sandbox::new(&policy).caller(caller).probe("pid").is_ok(), "{caller}");
        }
    }
}

#[test]
fn what_goes_wrong_in_namespaces_is_no_reason_to_go_without_them() {
    harness::needs_landlock!(6);
    needs_strace!();
    for caller in Caller::both() {
        for host in OF_EACH_CALL.map(|place| &REFUSED[place]) {
            let dir = TempDir::new();
            for shape in SHAPES.into_iter().chain([IN_PLACE]) {
                let policy = format!("{}{shape}", expressible(&dir));
                let sandbox =
                    Refused { error: "EIO", ..*host }.around(Sandbox::new(&policy).caller(caller));
                let output = sandbox.run([sandbox.probe_path(), "say ran".into()]);
                let why = format!("{caller}: {host}: {shape}: {output:?}");
                assert_eq!(output.code(), 125, "{why}");
                assert_eq!(output.failure()["error"], "EIO", "{why}");
                assert!(output.stdout.is_empty(), "{why}");
            }
        }
    }
}

#[test]
fn root_that_may_not_map_itself_goes_without_namespaces() {
    harness::needs_landlock!(6);
    // The namespace can be made by everybody; its map takes CAP_SETFCAP of root.
    for caller in Caller::both().into_iter().filter(|caller| caller.is_root()) {
        let dir = TempDir::with_file("note", "kept");
        let policy = expressible(&dir);
        let reduced = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"];
        let sandbox = Sandbox::new(&policy).caller(caller).wrap(reduced);
        let lines = [format!("create {dir}/new"), "open-for-read /etc/passwd".into()];
        let output = sandbox.run([vec![sandbox.probe_path()], lines.to_vec()].concat());
        assert_eq!(output.stdout_text(), "ok \nerrno 13\n", "{output:?}");
        let launch = output.event("launch").expect("a launch event");
        assert_eq!(launch["rung"], "landlock", "{output:?}");
        let said = launch["reasons"]["namespaces"].as_str().unwrap_or_default();
        assert!(said.starts_with("write /proc/self/uid_map: EPERM"), "{output:?}");
        // The control: with it they are made.
        let sandbox = Sandbox::new(&policy).caller(caller);
        let output = sandbox.run([sandbox.probe_path()]);
        assert_eq!(output.event("launch").expect("a launch event")["rung"], "namespaces");
    }
}

/// A launch inside another sandbox of ours, whose standard output is its
/// status, too.
struct Nested<'s> {
    outer: &'s Sandbox,
    dir: &'s TempDir,
}

impl Nested<'_> {
    /// Runs the probe under a policy, inside.
    fn run(&self, policy: &str, lines: &[&str]) -> Output {
        let probe = self.outer.probe_path();
        let bytes = encode(&with_probe(policy, probe.as_ref()));
        std::fs::write(self.dir.join("policy"), bytes).expect("it is written");
        let launcher = self.outer.binaries().launcher().display().to_string();
        let policy = self.dir.join("policy").display().to_string();
        let own = ["sh", "-c", "exec \"$@\" 5>&1", "sh", &launcher, "--policy", &policy];
        self.outer.run([&own[..], &["--status-fd", "5", "--", &probe], lines].concat())
    }
}

/// The event of this name among the lines of a nested launch.
fn event(output: &Output, name: &str) -> Option<Value> {
    let said = output.stdout_text();
    let mut events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.find(|event| event["event"] == name)
}

/// What the probe has said in a nested launch.
fn answers(output: &Output) -> Vec<String> {
    let said = output.stdout_text();
    said.lines().filter(|line| !line.starts_with('{')).map(|line| line.trim_end().into()).collect()
}

#[test]
fn inside_a_sandbox_of_landlock_a_launch_is_one_more_layer_of_landlock() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x").file("secret", "x");
        let policy = expressible(&dir);
        let deny = format!("write = [{dir:?}], deny = [{:?}]", dir.join("secret"));
        let masked = policy.replace(&format!("write = [{dir:?}]"), &deny);
        let binaries = Sandbox::outside();
        let launcher = binaries.binaries().launcher();
        let secret = format!("read {dir}/secret");
        // With a /proc that can be written, Landlock alone refuses the mounts -
        // and, of root, the kernel its map; with one that cannot, it refuses
        // the maps of everybody; and with our own filter no namespace is made.
        for (outer, reasons) in [
            ("\"/proc\"", "mount: EPERM"),
            ("", "open /proc/self/setgroups: EACCES"),
            ("filter", "clone3: EPERM"),
        ] {
            let is_filtered = outer == "filter";
            let write = if is_filtered { "" } else { outer };
            let text = policy.replace(
                "{ write = [",
                &format!("{{ root = \"minimal\", execute = [{launcher:?}], write = [{write}, ")
                    .replace("[, ", "["),
            ) + "enforce.namespaces = \"off\"\n"
                + if is_filtered { "" } else { "seccomp.profile = \"unconfined\"" };
            let outer = Sandbox::new(&text).caller(caller);
            let nested = Nested { outer: &outer, dir: &dir };
            let reason = match reasons {
                // Without CAP_SETFCAP root is not mapped.
                "mount: EPERM" if caller.is_root() => "write /proc/self/uid_map: EPERM",
                other => other,
            };

            let lines =
                [&format!("open-for-write {dir}/note"), "read /etc/passwd", "socket inet stream"];
            let output = nested.run(&policy, &lines);
            let why = format!("{caller}: {reason}: {output:?}");
            assert_eq!(output.code(), 0, "{why}");
            assert_eq!(answers(&output), ["ok", "errno 13", "errno 97"], "{why}");
            let launch = event(&output, "launch").expect("a launch event");
            assert_eq!(launch["rung"], "landlock", "{why}");
            assert_eq!(launch["missing"], json!(["namespaces"]), "{why}");
            let said = launch["reasons"]["namespaces"].as_str().unwrap_or_default();
            assert!(said.starts_with(reason) && said.contains("; "), "{why}");
            assert!(!launch["guarantees"].to_string().contains("namespaces"), "{why}");

            for policy in [&masked, &format!("{policy}enforce.namespaces = \"require\"")] {
                let output = nested.run(policy, &[&secret]);
                let why = format!("{caller}: {reason}: {output:?}");
                assert_eq!(output.code(), 125, "{why}");
                assert_eq!(answers(&output), [""; 0], "{why}");
                let failure = event(&output, "failure").expect("a failure");
                let (_, error) = reason.rsplit_once(' ').expect("an error");
                assert_eq!(failure["error"], error, "{why}");
                assert!(failure["hint"].is_string(), "{why}");
                let lost = (policy == &masked).then_some("files");
                assert_eq!(failure["guarantee"].as_str(), lost, "{why}");
            }
            // The control: it is there to be read.
            assert_eq!(outer.probe(&secret), Outcome::Ok("x".into()), "{caller}");
        }
    }
}

#[test]
fn inside_a_sandbox_of_namespaces_a_launch_has_its_own_or_goes_without() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x").file("secret", "x");
        let policy = expressible(&dir);
        let binaries = Sandbox::outside();
        let launcher = binaries.binaries().launcher();
        let lines =
            [&format!("open-for-write {dir}/note"), "read /etc/passwd", "socket inet stream"];
        // By Landlock nothing could be mounted, and by the filter nothing made.
        for (open, rung) in [
            ("seccomp.profile = \"unconfined\"\nenforce.landlock = \"off\"", None),
            ("seccomp.profile = \"unconfined\"", Some("landlock")),
            ("", Some("landlock")),
        ] {
            let text = format!(
                "filesystem = {{ root = \"minimal\", write = [{dir:?}], execute = [{launcher:?}] }}\n{open}"
            );
            let outer = Sandbox::new(&text).caller(caller);
            let output = Nested { outer: &outer, dir: &dir }.run(&policy, &lines);
            let why = format!("{caller}: {open}: {output:?}");
            assert_eq!(output.code(), 0, "{why}");
            let launch = event(&output, "launch").expect("a launch event");
            // Root inside has no capability to map itself once more.
            let rung = rung.unwrap_or(if caller.is_root() { "landlock" } else { "namespaces" });
            assert_eq!(launch["rung"], rung, "{why}");
            let absent = if rung == "namespaces" { "errno 2" } else { "errno 13" };
            assert_eq!(answers(&output), ["ok", absent, "errno 97"], "{why}");
        }
    }
}
