//! Guarantees on hosts that lack a layer: kept by another, or a refusal.

use harness::{
    Caller, Errno, Outcome, Output, Sandbox, TempDir, WITHOUT_LANDLOCK, WITHOUT_USER_NAMESPACES,
};

/// What Landlock can say, too.
fn expressible(dir: &TempDir) -> String {
    format!(
        "filesystem = {{ write = [{dir:?}], tmp = \"none\", proc = false, dev = \"none\" }}\n\
         network.unix = \"host\"\nenforce.waive = [\"execute\"]\n"
    )
}

fn without_user_namespaces(policy: &str, caller: Caller) -> Sandbox {
    Sandbox::new(policy).caller(caller).wrap(WITHOUT_USER_NAMESPACES)
}

#[test]
fn where_no_namespace_can_be_made_landlock_keeps_what_it_can() {
    harness::needs_landlock!(6);
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
        assert_eq!(launch["layers"]["namespaces"], "degraded", "{caller}");
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
    harness::needs_landlock!(6);
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
fn what_the_policy_offers_and_namespaces_give_is_said_to_be_missing_by_name() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let home = TempDir::new();
        let policy = "filesystem = { root = \"minimal\", home = \"private\" }\n\
                      network = { access = \"loopback\" }\nprocess.hostname = \"box\"\n\
                      enforce = { waive = [\"execute\"], unix_sockets = \"pairs\" }";
        let sandbox = || Sandbox::new(policy).caller(caller).env("HOME", home.path());
        let lines = ["socket inet stream", "socket unix stream", "socketpair"];
        let probe = |sandbox: Sandbox| {
            let words = [vec![sandbox.probe_path()], lines.map(str::to_owned).to_vec()].concat();
            let output = sandbox.run(words);
            assert_eq!(output.code(), 0, "{caller}: {output:?}");
            let missing = output.event("launch").expect("a launch event")["missing"].clone();
            (output.stdout_text(), missing)
        };
        let none = sandbox().wrap(WITHOUT_USER_NAMESPACES);
        let named =
            ["namespaces", "proc", "loopback", "pts", "tmp", "home", "hostname", "unix-sockets"];
        assert_eq!(
            probe(none),
            ("errno 97\nerrno 97\nok hello\n".to_owned(), serde_json::json!(named)),
            "{caller}"
        );
        let all = ("ok \nok \nok hello\n".to_owned(), serde_json::json!([]));
        assert_eq!(probe(sandbox()), all, "{caller}");
    }
}

#[test]
fn a_guarantee_that_nothing_keeps_is_given_up_by_name_only() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x");
        let waived = expressible(&dir);
        let kept = waived.replace("waive = [\"execute\"]", "waive = []");
        let refusal = without_user_namespaces(&kept, caller).run(["true"]);
        refused(&refusal, "what is lost is \"execute\"", caller);
        let sandbox = without_user_namespaces(&waived, caller);
        let output = sandbox.run([sandbox.probe_path(), format!("open-for-write {dir}/note")]);
        assert_eq!(output.stdout_text(), "ok \n", "{caller}: {output:?}");
        let launch = output.event("launch").expect("a launch event");
        assert_eq!(launch["waived"], serde_json::json!(["execute"]), "{caller}");
        // Where something keeps it, it holds all the same.
        let sandbox = Sandbox::new(&waived).caller(caller);
        let output = sandbox.run([sandbox.probe_path()]);
        let launch = output.event("launch").expect("a launch event");
        assert_eq!(launch["guarantees"]["execute"], "namespaces", "{caller}");
    }
}

#[test]
fn what_is_narrower_is_carved_out_of_what_is_granted_around_it() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x")
            .file("secret", "x")
            .file(".git/config", "x")
            .file("src/deep/main", "x")
            .file("src/deep/key", "x");
        let [git, secret, key] = [".git", "secret", "src/deep/key"].map(|name| dir.join(name));
        let entries = format!("write = [{dir:?}], read = [{git:?}], deny = [{secret:?}, {key:?}]");
        let policy = expressible(&dir)
            .replace(&format!("write = [{dir:?}]"), &entries)
            .replace("enforce.waive", "enforce.carve_out = \"siblings\"\nenforce.waive");
        let sandbox = without_user_namespaces(&policy, caller);
        let lines = [
            // What is granted beside what is narrower.
            format!("open-for-write {dir}/note"),
            format!("list {dir}"),
            format!("list {dir}/src/deep"),
            format!("open-for-write {dir}/src/deep/main"),
            format!("read {dir}/.git/config"),
            // What is narrower.
            format!("open-for-write {dir}/.git/config"),
            format!("create {dir}/.git/new"),
            format!("rename {dir}/.git {dir}/moved"),
            format!("open-for-read {dir}/secret"),
            format!("unlink {dir}/secret"),
            format!("open-for-read {dir}/src/deep/key"),
            format!("rename {dir}/src {dir}/moved"),
            // New names beside it.
            format!("create {dir}/new"),
            format!("mkdir {dir}/src/new"),
            format!("rename {dir}/note {dir}/src/deep/note"),
        ];
        let lines = lines.each_ref().map(String::as_str);
        let outcomes = sandbox.probes(&lines);
        let (granted, narrower) = outcomes.split_at(5);
        assert!(granted.iter().all(Outcome::is_ok), "{caller}: {granted:?}");
        let closed = |outcome: &&Outcome| **outcome != Outcome::Errno(Errno::ACCESS);
        let open: Vec<_> = lines[5..].iter().zip(narrower).filter(|(_, it)| closed(it)).collect();
        assert!(open.is_empty(), "{caller}: {open:?}");
        let output = sandbox.run([sandbox.probe_path(), "pid".into()]);
        let missing = &output.event("launch").expect("a launch event")["missing"];
        assert_eq!(*missing, serde_json::json!(["namespaces", "new-names"]), "{caller}");
        // The control: all of it can be done outside.
        let control = Sandbox::outside().caller(caller).probes(&lines[..11]);
        assert!(control.iter().all(Outcome::is_ok), "{caller}: {control:?}");
    }
}

#[test]
fn what_would_take_too_many_rules_is_a_refusal() {
    harness::needs_landlock!(6);
    let dir = TempDir::with_file("secret", "x");
    for number in 0..65_536 {
        std::fs::write(dir.join(number.to_string()), "").expect("it is written");
    }
    let entries = format!("read = [{dir:?}], deny = [{:?}]", dir.join("secret"));
    let policy = expressible(&dir)
        .replace(&format!("write = [{dir:?}]"), &entries)
        .replace("enforce.waive", "enforce.carve_out = \"siblings\"\nenforce.waive");
    let fits = without_user_namespaces(&policy, Caller::Nobody);
    assert!(fits.probe(&format!("open-for-read {dir}/7")).is_ok());
    std::fs::write(dir.join("more"), "").expect("it is written");
    let output = without_user_namespaces(&policy, Caller::Nobody).run(["true"]);
    refused(&output, "more than 65536 names", Caller::Nobody);
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
        assert_eq!(launch["layers"]["landlock"], "degraded", "{caller}");
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
