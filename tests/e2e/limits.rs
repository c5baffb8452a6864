//! Limits: rlimits, nice value, OOM score, affinity, and time on the wall.

use std::fs::File;

use harness::{Caller, Errno, Handover, Outcome, Sandbox, TempDir, needs_strace, skip};

use crate::faults::inject;

#[test]
fn every_rlimit_is_set_soft_and_hard() {
    // Below the hard limits of any usual host, so that nobody may set them.
    let policy = r#"
        [limits.rlimit]
        cpu = [100, 200]
        fsize = "64M"
        data = "512M"
        stack = ["1M", "2M"]
        core = 0
        rss = "1G"
        nofile = 64
        memlock = "4K"
        as = "1G"
        locks = 10
        sigpending = 100
        msgqueue = "8K"
        nice = 0
        rtprio = 0
        rttime = 1000
        "#;
    let expected = [
        ("cpu", "100 200"),
        ("fsize", "67108864 67108864"),
        ("data", "536870912 536870912"),
        ("stack", "1048576 2097152"),
        ("rss", "1073741824 1073741824"),
        ("nofile", "64 64"),
        ("memlock", "4096 4096"),
        ("as", "1073741824 1073741824"),
        ("locks", "10 10"),
        ("sigpending", "100 100"),
        ("msgqueue", "8192 8192"),
        ("nice", "0 0"),
        ("rtprio", "0 0"),
        ("rttime", "1000 1000"),
    ];
    let lines = expected.map(|(name, _)| format!("rlimit {name}"));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for caller in Caller::both() {
        let outcomes = Sandbox::new(policy).caller(caller).probes(&lines);
        for ((name, limits), outcome) in expected.into_iter().zip(outcomes) {
            assert_eq!(outcome, Outcome::Ok(limits.into()), "{caller}, {name}");
        }
    }
}

#[test]
fn core_dumps_are_off_by_default_for_a_core_helper_too() {
    for caller in Caller::both() {
        for policy in ["", "limits.rlimit.core = 0"] {
            // With 0 the kernel still starts the helper of a piped core_pattern.
            let core = Sandbox::new(policy).caller(caller).probe("rlimit core");
            assert_eq!(core, Outcome::Ok("1 1".into()), "{caller}, {policy}");
        }
    }
}

#[test]
fn a_hard_limit_is_not_raised_inside() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new("limits.rlimit.nofile = [32, 64]").caller(caller);
        let outcomes = sandbox.probes(&[
            "set-rlimit nofile 64 64",
            "set-rlimit nofile 64 65",
            "rlimit nofile",
        ]);
        let expected =
            [Outcome::Ok("0".into()), Outcome::Errno(Errno::PERM), Outcome::Ok("64 64".into())];
        assert_eq!(outcomes, expected, "{caller}");
    }
}

#[test]
fn limits_bind() {
    for caller in Caller::both() {
        let dir = TempDir::new();
        let policy = format!(
            "filesystem.write = [{dir:?}]\nlimits.rlimit = {{ fsize = 4096, as = \"64M\", nofile = 5 }}"
        );
        let sandbox = Sandbox::new(&policy).caller(caller);
        let outcomes =
            sandbox.probes(&["allocate 100000000", "syscall fcntl 0 0 5", "syscall fcntl 0 0 0"]);
        // F_DUPFD beyond the limit is EINVAL.
        let expected = [Outcome::Errno(Errno::NOMEM), Outcome::Errno(Errno::INVAL)];
        assert_eq!(outcomes[..2], expected, "{caller}");
        assert!(outcomes[2].is_ok(), "{caller}: {outcomes:?}");
        // Past RLIMIT_FSIZE a write is a SIGXFSZ, 25.
        let output = sandbox.run([sandbox.probe_path(), format!("fill {dir}/large 100000")]);
        assert!(output.code() == 0 || output.code() == 128 + 25, "{caller}: {output:?}");
        let size = std::fs::metadata(dir.join("large")).map_or(0, |metadata| metadata.len());
        assert_eq!(size, 4096, "{caller}");
        let control = Sandbox::outside().caller(caller).probe("allocate 100000000");
        assert!(control.is_ok(), "{caller}: {control:?}");
    }
}

#[test]
fn a_low_limit_on_descriptors_does_not_starve_the_launch() {
    for caller in Caller::both() {
        let policy = "filesystem.root = \"minimal\"\nlimits.rlimit.nofile = 3";
        assert_eq!(Sandbox::new(policy).caller(caller).probe("pid"), Outcome::Ok("2".into()));
    }
}

#[test]
fn a_limit_above_the_callers_own_is_a_refusal() {
    let hard = Sandbox::outside().as_nobody().probe("rlimit nofile").value();
    let hard: u64 = match hard.split(' ').nth(1).expect("two numbers").parse() {
        Ok(hard) => hard,
        Err(_) => harness::skip!("hard_limit", "the caller has no limit on descriptors"),
    };
    let policy = format!("limits.rlimit.nofile = {}", hard + 1);
    let output = Sandbox::new(&policy).as_nobody().run(["true"]);
    assert_eq!(output.code(), 125, "{output:?}");
    let failure = output.failure();
    assert_eq!((&failure["stage"], &failure["error"]), (&"limits".into(), &"EPERM".into()));
    assert!(output.stderr_text().contains("hard limit"), "{output:?}");
}

#[test]
fn nice_affinity_and_oom_score_are_set() {
    for caller in Caller::both() {
        let policy = "limits = { nice = 7, cpu_affinity = [0], oom_score_adjust = 500 }";
        let outcomes =
            Sandbox::new(policy).caller(caller).probes(&["nice", "affinity", "oom-score"]);
        let expected = ["7", "0", "500"].map(|text| Outcome::Ok(text.into()));
        assert_eq!(outcomes, expected, "{caller}");
    }
}

#[test]
fn the_oom_score_of_the_launcher_stays() {
    for caller in Caller::both() {
        let policy = "limits.oom_score_adjust = 500";
        let mut running = Sandbox::new(policy).caller(caller).start(["sleep", "0"]);
        running.close_input();
        let before = std::fs::read_to_string("/proc/self/oom_score_adj").expect("it is read");
        let path = format!("/proc/{}/oom_score_adj", running.pid());
        // The launcher may have ended already.
        if let Ok(score) = std::fs::read_to_string(path) {
            assert_eq!(score, before, "{caller}");
        }
    }
}

#[test]
fn an_affinity_to_a_cpu_that_is_not_there_is_a_refusal() {
    for caller in Caller::both() {
        let output = Sandbox::new("limits.cpu_affinity = [1000]").caller(caller).run(["true"]);
        assert_eq!(output.code(), 125, "{caller}: {output:?}");
        let failure = output.failure();
        let said = (&failure["stage"], &failure["call"]);
        assert_eq!(said, (&"limits".into(), &"sched_setaffinity".into()), "{caller}");
    }
}

#[test]
fn nobody_cannot_lower_its_nice_value_or_oom_score() {
    for (policy, call) in
        [("limits.nice = -5", "setpriority"), ("limits.oom_score_adjust = -500", "write")]
    {
        let output = Sandbox::new(policy).as_nobody().run(["true"]);
        assert_eq!(output.code(), 125, "{policy}: {output:?}");
        let failure = output.failure();
        assert_eq!((&failure["stage"], &failure["call"]), (&"limits".into(), &call.into()));
    }
}

#[test]
fn processes_are_limited_for_a_caller_who_is_not_root() {
    let sandbox = Sandbox::new("limits.processes = 4").as_nobody();
    let output = sandbox.run([sandbox.probe_path(), "fork-many 20".into()]);
    // The probe itself is one of the four.
    assert_eq!(output.stdout_text(), "ok 3 11\n", "{output:?}");
    assert!(!missing(&output).contains(&"limits.processes".into()), "{output:?}");
    let control = Sandbox::outside().as_nobody().probe("fork-many 20");
    assert_eq!(control, Outcome::Ok("20".into()));
}

#[test]
fn processes_are_limited_for_root_where_its_ids_are_others_outside() {
    if !rustix::process::geteuid().is_root() {
        skip!("as_root", "the tests do not run as root");
    }
    const OTHERS: &str = "[namespaces]\n\
        uid_map = [{ inside = 0, outside = 100000, count = 65536 }]\n\
        gid_map = [{ inside = 0, outside = 100000, count = 65536 }]\n";
    const SAME: &str = "[namespaces]\n\
        uid_map = [{ inside = 0, outside = 0, count = 65536 }]\n\
        gid_map = [{ inside = 0, outside = 0, count = 65536 }]\n";
    // The probe itself is one of the four; where PID 1 has another id than the
    // command, it is not counted, and where it has the same, it is one more.
    for (ids, map, end) in [
        ("", OTHERS, Some("ok 3 11\n")),
        ("process = { uid = 1000, gid = 1000 }\n", OTHERS, Some("ok 3 11\n")),
        ("process = { uid = 1000, gid = 1000 }\n", SAME, Some("ok 3 11\n")),
        // Root is not counted, by whatever name it has inside.
        ("", SAME, None),
        ("process = { uid = 1000, gid = 1000 }\n", "", None),
    ] {
        let policy = format!("limits.processes = 4\n{ids}{map}");
        let sandbox = Sandbox::new(&policy);
        let fork = |sandbox: &Sandbox| sandbox.run([sandbox.probe_path(), "fork-many 20".into()]);
        let output = fork(&sandbox);
        assert_eq!(output.stdout_text(), end.unwrap_or("ok 20\n"), "{policy}: {output:?}");
        let is_missing = missing(&output).contains(&"limits.processes".into());
        assert_eq!(is_missing, end.is_none(), "{policy}: {output:?}");

        let sandbox = Sandbox::new(&format!("enforce.limits = \"require\"\n{policy}"));
        let code = if end.is_some() { 0 } else { 125 };
        assert_eq!(fork(&sandbox).code(), code, "{policy}");
    }
}

#[test]
fn a_limit_on_the_size_of_files_binds_the_command_and_not_what_is_said_of_it() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for more in
            ["", "namespaces.pid = false\nfilesystem.proc = false", "limits.wall_time = '1h'"]
        {
            let status = TempDir::with_file("status", "");
            let open = || File::options().append(true).open(status.join("status")).expect("opens");
            let policy = format!("limits.rlimit.fsize = 0\n{more}");
            let run = |command: &str| {
                let (said, errors) = std::io::pipe().expect("a pipe is made");
                let sandbox = Sandbox::new(&policy).caller(caller).stderr_to(errors);
                let sandbox = sandbox.pass(open(), 150).option("--status-fd=150");
                let output = sandbox.run([command, "fill /tmp/file 1"]);
                drop(sandbox);
                (output, std::io::read_to_string(said).expect("it ends"))
            };
            // Where the probe is, it is for as long as this is.
            let outside = Sandbox::outside().caller(caller);
            let probe = outside.probe_path();

            // Past RLIMIT_FSIZE a write is a SIGXFSZ, 25, or EFBIG, 27.
            let (output, _) = run(&probe);
            let is_bound = output.code() == 128 + 25
                || output.signal() == Some(25)
                || output.stdout_text().contains("errno 27");
            assert!(is_bound, "{caller}, {more}: {output:?}");
            let said = status.read("status");
            assert!(said.starts_with("{\"event\":\"launch\""), "{caller}, {more}: {said}");

            // A file gets nothing more when it is in force, but the rest does.
            let (output, said) = run("/no/such/program");
            assert_eq!(output.code(), 127, "{caller}, {more}: {output:?}");
            assert!(said.contains("/no/such/program"), "{caller}, {more}: {said}");
        }
    }
}

#[test]
fn what_cannot_be_bound_for_the_whole_tree_is_said_or_refused() {
    for caller in Caller::both() {
        for (limit, name, bound) in [
            ("memory = \"1G\"", "limits.memory", false),
            ("cpu_time = \"10s\"", "limits.cpu_time", false),
            ("processes = 64", "limits.processes", !caller.is_root()),
            ("wall_time = \"10s\"", "limits.wall_time", true),
        ] {
            let policy = format!("[limits]\n{limit}");
            let sandbox = Sandbox::new(&policy).caller(caller);
            let output = sandbox.run([sandbox.probe_path()]);
            assert_eq!(output.code(), 0, "{caller}, {limit}: {output:?}");
            let is_missing = missing(&output).contains(&name.into());
            assert_eq!(is_missing, !bound, "{caller}, {limit}: {output:?}");

            let policy = format!("{policy}\n[enforce]\nlimits = \"require\"");
            let sandbox = Sandbox::new(&policy).caller(caller);
            let output = sandbox.run([sandbox.probe_path()]);
            assert_eq!(output.code(), if bound { 0 } else { 125 }, "{caller}, {limit}: {output:?}");
            if !bound {
                assert_eq!(output.failure()["stage"], "limits", "{caller}");
                assert!(output.stderr_text().contains("cannot be bound"), "{caller}: {output:?}");
            }
        }
    }
}

#[test]
fn a_limit_that_rests_on_namespaces_is_said_to_be_missing_or_refused_where_none_can_be_made() {
    harness::needs_landlock!(6);
    needs_strace!();
    // The first clone3 is the one that makes namespaces.
    const NO_NAMESPACES: &str = "clone3:error=EPERM:when=1";
    for caller in Caller::both() {
        for (limit, name) in
            [("wall_time = \"10s\"", "limits.wall_time"), ("processes = 64", "limits.processes")]
        {
            let policy = format!(
                "filesystem = {{ tmp = \"none\", proc = false, dev = \"none\" }}\n\
                 network.unix = \"host\"\nlimits.{limit}"
            );
            let sandbox = inject(Sandbox::new(&policy).caller(caller), NO_NAMESPACES);
            let output = sandbox.run([sandbox.probe_path(), "say ran".into()]);
            assert_eq!(output.stdout_text(), "ok ran\n", "{caller}, {limit}: {output:?}");
            let missing = missing(&output);
            assert!(missing.contains(&"namespaces".into()), "{caller}, {limit}: {missing:?}");
            assert!(missing.contains(&name.into()), "{caller}, {limit}: {missing:?}");

            // The control of both: nobody's launch binds it with namespaces.
            let policy = format!("{policy}\nenforce.limits = \"require\"");
            let sandbox = Sandbox::new(&policy).caller(caller);
            let bound = !(caller.is_root() && name == "limits.processes");
            let output = sandbox.run([sandbox.probe_path()]);
            assert_eq!(output.code(), if bound { 0 } else { 125 }, "{caller}, {limit}: {output:?}");

            let sandbox = inject(sandbox, NO_NAMESPACES);
            let output = sandbox.run([sandbox.probe_path(), "say ran".into()]);
            assert_eq!((output.code(), output.stdout.len()), (125, 0), "{caller}: {output:?}");
            assert_eq!(output.failure()["stage"], "limits", "{caller}, {limit}");
            assert!(output.stderr_text().contains("cannot be bound"), "{caller}: {output:?}");
        }
    }
}

#[test]
fn memory_and_cpu_time_bind_each_process_where_nothing_binds_all() {
    for caller in Caller::both() {
        let policy = "limits = { memory = \"64M\", cpu_time = \"1s\" }";
        let sandbox = Sandbox::new(policy).caller(caller);
        let outcomes = sandbox.probes(&["rlimit cpu", "allocate 100000000"]);
        let cpu = outcomes[0].clone().value();
        assert!(cpu.starts_with("1 "), "{caller}: {cpu}");
        let output = sandbox.run([sandbox.probe_path(), "spin".into()]);
        // SIGXCPU or, at the hard limit, SIGKILL.
        assert!([128 + 24, 128 + 9].contains(&output.code()), "{caller}: {output:?}");
    }
}

#[test]
fn the_wall_time_ends_everything() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for more in
            ["", "namespaces.pid = false\nfilesystem.proc = false", "namespaces.init = \"none\""]
        {
            let policy = format!("limits.wall_time = \"300ms\"\n{more}");
            let sandbox = Sandbox::new(&policy).caller(caller);
            let output = sandbox.run([sandbox.probe_path(), "pause".into()]);
            assert_eq!(output.code(), 124, "{caller}, {more}: {output:?}");
            let exit = output.event("exit").expect("an exit event");
            assert_eq!(exit["ended_by"], "wall", "{caller}");
        }
        let sandbox = Sandbox::new("limits.wall_time = \"15s\"").caller(caller);
        let output = sandbox.run([sandbox.probe_path(), "exit 3".into()]);
        assert_eq!(output.code(), 3, "{caller}");
    }
}

#[test]
fn limits_can_be_given_up() {
    for caller in Caller::both() {
        let policy = "limits.rlimit.nofile = 33\nenforce.limits = \"off\"";
        let sandbox = Sandbox::new(policy).caller(caller).handover(Handover::File);
        let own = Sandbox::outside().caller(caller).probe("rlimit nofile");
        assert_eq!(sandbox.probe("rlimit nofile"), own, "{caller}");
    }
}

/// The limits that a launch says nothing binds.
pub(crate) fn missing(output: &harness::Output) -> Vec<serde_json::Value> {
    let launch = output.event("launch").expect("a launch event");
    launch["missing"].as_array().cloned().expect("a list")
}
