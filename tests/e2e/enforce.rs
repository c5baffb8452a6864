//! Guarantees on hosts that lack a layer: kept by another, or a refusal.

use harness::{Caller, Errno, Outcome, Output, Sandbox, TempDir};

/// A host on which no user namespace can be made, for those below it: the
/// limit is that of a user namespace of the test's own.
pub(crate) const WITHOUT_USER_NAMESPACES: [&str; 5] =
    ["unshare", "-Ur", "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\""];

/// A kernel without Landlock, for the calls of the launcher.
const WITHOUT_LANDLOCK: [&str; 7] =
    ["strace", "-f", "-o", "/dev/null", "-e", "inject=landlock_create_ruleset:error=ENOSYS", "--"];

/// What Landlock can say, too.
fn expressible(dir: &TempDir) -> String {
    format!(
        "filesystem = {{ write = [{dir:?}], tmp = \"none\", proc = false, dev = \"none\" }}\n\
         network.unix = \"host\"\n"
    )
}

fn without_user_namespaces(policy: &str, caller: Caller) -> Sandbox {
    Sandbox::new(policy).caller(caller).wrap(WITHOUT_USER_NAMESPACES).wrap(["sh"])
}

#[test]
fn where_no_namespace_can_be_made_landlock_keeps_what_it_can() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x");
        let sandbox = without_user_namespaces(&expressible(&dir), caller);
        let outcomes = sandbox.probes(&[
            &format!("open-for-write {dir}/note"),
            "open-for-read /etc/passwd",
            "socket inet stream",
        ]);
        let expected = [
            Outcome::Ok(String::new()),
            Outcome::Errno(Errno::ACCESS),
            Outcome::Errno(Errno::AFNOSUPPORT),
        ];
        assert_eq!(outcomes, expected, "{caller}");
        let output = sandbox.run([sandbox.probe_path()]);
        let launch = output.event("launch").expect("a launch event");
        assert_eq!(launch["rung"], "landlock", "{caller}: {output:?}");
        assert_eq!(launch["layers"]["namespaces"], "missing", "{caller}");
        assert_eq!(launch["missing"][0], "namespaces", "{caller}");
    }
}

#[test]
fn what_landlock_cannot_say_is_a_refusal_without_namespaces() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x").directory("sub");
        for (entries, said) in [
            (
                format!("write = [{dir:?}], deny = [{:?}]", dir.join("note")),
                "Landlock takes nothing back",
            ),
            (
                format!("write = [{dir:?}], read = [{:?}]", dir.join("sub")),
                "Landlock takes nothing back",
            ),
        ] {
            let policy = expressible(&dir).replace(&format!("write = [{dir:?}]"), &entries);
            refused(&without_user_namespaces(&policy, caller).run(["true"]), said, caller);
            // The control: with namespaces it runs.
            let sandbox = Sandbox::new(&policy).caller(caller);
            assert_eq!(sandbox.probe("pid"), Outcome::Ok("2".into()), "{caller}");
        }
    }
}

#[test]
fn a_required_layer_is_there_or_the_launch_is_refused() {
    for caller in Caller::both() {
        let dir = TempDir::new();
        let policy = format!("{}enforce.namespaces = \"require\"", expressible(&dir));
        let marker = format!("create {dir}/marker");
        let sandbox = without_user_namespaces(&policy, caller);
        refused(&sandbox.run([sandbox.probe_path(), marker.clone()]), "user.max_", caller);
        assert!(!dir.has("marker"), "{caller}");
        let sandbox = Sandbox::new(&policy).caller(caller);
        assert!(sandbox.probe(&marker).is_ok(), "{caller}");
    }
}

#[test]
fn a_private_facility_is_no_reason_to_refuse_but_is_said_to_be_missing() {
    for caller in Caller::both() {
        // What the kernel does not give inside a sandbox: a user namespace
        // that already has no network, so that nothing is up.
        let dir = TempDir::new();
        let sandbox = without_user_namespaces(&expressible(&dir), caller);
        let output = sandbox.run([sandbox.probe_path(), "pid".into()]);
        assert_eq!(output.code(), 0, "{caller}: {output:?}");
        let missing = &output.event("launch").expect("a launch event")["missing"];
        assert_eq!(*missing, serde_json::json!(["namespaces"]), "{caller}");
    }
}

#[test]
fn without_landlock_mounts_keep_the_files_and_a_required_one_is_a_refusal() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x");
        let policy = format!("filesystem.read = [{dir:?}]");
        let sandbox = Sandbox::new(&policy).caller(caller).wrap(WITHOUT_LANDLOCK);
        let output = sandbox.run([
            sandbox.probe_path(),
            format!("open-for-write {dir}/note"),
            "open-for-read /etc/passwd".into(),
        ]);
        assert_eq!(output.stdout_text(), "errno 30\nerrno 2\n", "{caller}: {output:?}");
        let launch = output.event("launch").expect("a launch event");
        assert_eq!(launch["layers"]["landlock"], "missing", "{caller}");
        assert_eq!(launch["missing"], serde_json::json!(["landlock"]), "{caller}");

        let policy = format!("{policy}\nenforce.landlock = \"require\"");
        let sandbox = Sandbox::new(&policy).caller(caller).wrap(WITHOUT_LANDLOCK);
        refused(&sandbox.run(["true"]), "requires Landlock", caller);
    }
}

#[test]
fn a_guarantee_that_rests_on_landlock_is_a_refusal_without_it() {
    for caller in Caller::both() {
        let ports = "network = { access = \"host\", connect_tcp = [443] }";
        let sandbox = Sandbox::new(ports).caller(caller).wrap(WITHOUT_LANDLOCK);
        let said = "\"abstract-unix-socket\": it takes Landlock ABI 6, and this kernel has 0";
        refused(&sandbox.run(["true"]), said, caller);

        let dir = TempDir::new();
        let policy = format!("{}enforce.namespaces = \"off\"", expressible(&dir));
        let sandbox = Sandbox::new(&policy).caller(caller).wrap(WITHOUT_LANDLOCK);
        refused(&sandbox.run(["true"]), "Landlock", caller);
    }
}

/// 125, one line that says why, and no command.
#[track_caller]
fn refused(output: &Output, said: &str, caller: Caller) {
    assert_eq!(output.code(), 125, "{caller}: {output:?}");
    assert!(output.stderr_text().contains(said), "{caller}: {output:?}");
    assert_eq!(output.stderr_text().lines().count(), 1, "{caller}: {output:?}");
    let failure = output.failure();
    assert_eq!(failure["status"], 125, "{caller}");
    assert!(output.stdout.is_empty(), "{caller}: {output:?}");
}
