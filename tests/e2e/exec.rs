//! Exec: arguments, environment, the way to the program, and why there is
//! none.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use std::os::fd::OwnedFd;

use harness::{Caller, Handover, IN_PLACE, Output, Sandbox, TempDir, memory};
use rustix::fs::SealFlags;

const MINIMAL: &str = "filesystem.root = \"minimal\"";

#[test]
fn arguments_come_through_byte_for_byte() {
    let odd: [&[u8]; 6] = [b"args", b"with space", b"", b"\xff\xfe", b"--", "\u{fc}".as_bytes()];
    for caller in Caller::both() {
        for handover in [Handover::Sealed, Handover::Fallback, Handover::EncoderRun] {
            let sandbox = Sandbox::new("").caller(caller).handover(handover);
            let probe = sandbox.probe_path();
            let arguments = odd.iter().map(|argument| OsStr::from_bytes(argument));
            // The first is the verb; what the others mean to it is no matter.
            let output = sandbox.run(std::iter::once(OsStr::new(&probe)).chain(arguments));
            let line = output.stdout_text();
            let said: Vec<&str> = line.lines().next().expect("a line").split(' ').skip(2).collect();
            let hex = |bytes: &&[u8]| -> String {
                bytes.iter().map(|byte| format!("{byte:02x}")).collect()
            };
            let expected: Vec<String> = odd.iter().map(hex).collect();
            assert_eq!(said, expected, "{caller}, {handover:?}");
        }
    }
}

#[test]
fn argv0_is_the_policys_or_the_command() {
    for caller in Caller::both() {
        let argv = |policy: &str| {
            let sandbox = Sandbox::new(policy).caller(caller);
            let line = sandbox.probe("args").value();
            let hex = line.split(' ').next().expect("a word").to_owned();
            (hex, sandbox.probe_path())
        };
        let hex =
            |text: &str| -> String { text.bytes().map(|byte| format!("{byte:02x}")).collect() };
        let (name, path) = argv("");
        assert_eq!(name, hex(&path), "{caller}");
        assert_eq!(argv("process.argv0 = \"-login\"").0, hex("-login"), "{caller}");
    }
}

#[test]
fn a_name_without_a_slash_is_looked_up_in_the_commands_path() {
    for caller in Caller::both() {
        let dir = TempDir::new().directory("first").directory("second").directory("outside");
        for (place, says) in [("first", "first"), ("second", "second"), ("outside", "outside")] {
            script(&dir, &format!("{place}/tool"), &format!("#!/bin/sh\necho {says}\n"));
        }
        let policy = |path: &str| {
            format!(
                "[filesystem]\nroot = \"minimal\"\nexecute = [{:?}, {:?}]\n\
                 [process.env.set]\nPATH = \"{path}\"",
                dir.join("first"),
                dir.join("second"),
            )
        };
        let said = |path: &str| {
            // The launcher's own PATH has the program, too, and is not asked.
            let sandbox = Sandbox::new(&policy(path)).caller(caller);
            let output = sandbox.env("PATH", dir.join("outside")).run(["tool"]);
            (output.code(), output.stdout_text())
        };
        let at = |place: &str| dir.join(place).display().to_string();
        let both = format!("{}:{}", at("first"), at("second"));
        assert_eq!(said(&both), (0, "first\n".into()), "{caller}");
        let skipping = format!("/nothing:{}:{}", at("outside"), at("second"));
        assert_eq!(said(&skipping), (0, "second\n".into()), "{caller}");
        assert_eq!(said(&at("outside")).0, 127, "{caller}");
        assert_eq!(said("").0, 127, "{caller}");
    }
}

#[test]
fn a_file_that_cannot_be_run_does_not_hide_one_that_can() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("first/tool", "not executable").directory("second");
        script(&dir, "second/tool", "#!/bin/sh\necho second\n");
        let policy = format!(
            "filesystem = {{ root = \"minimal\", execute = [{dir:?}] }}\n\
             process.env.set.PATH = \"{dir}/first:{dir}/second\""
        );
        let output = Sandbox::new(&policy).caller(caller).run(["tool"]);
        assert_eq!((output.code(), output.stdout_text()), (0, "second\n".into()), "{caller}");
        let policy = policy.replace(&format!(":{dir}/second"), "");
        let output = Sandbox::new(&policy).caller(caller).run(["tool"]);
        assert_eq!(output.code(), 126, "{caller}: {output:?}");
    }
}

#[test]
fn what_is_not_there_is_127_and_what_cannot_run_is_126() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("plain", "text").file("garbage", "\u{1}\u{2}");
        fs::set_permissions(dir.join("garbage"), PermissionsExt::from_mode(0o755)).expect("a mode");
        script(&dir, "lost", "#!/no/such/interpreter\n");
        script(&dir, "good", "#!/bin/sh\necho hello\n");
        let policy = format!("filesystem = {{ root = \"minimal\", execute = [{dir:?}] }}");
        let run =
            |name: &str| Sandbox::new(&policy).caller(caller).run([dir.join(name).as_os_str()]);
        failed(&run("nothing"), 127, "ENOENT");
        failed(&run("lost"), 127, "ENOENT");
        failed(&run("plain"), 126, "EACCES");
        failed(&run("garbage"), 126, "ENOEXEC");
        failed(&run("."), 126, "EACCES");
        let good = run("good");
        assert_eq!((good.code(), good.stdout_text()), (0, "hello\n".into()), "{caller}: {good:?}");
        failed(&Sandbox::new(MINIMAL).caller(caller).run(["no-such-program"]), 127, "ENOENT");
    }
}

#[test]
fn noexec_is_given_as_the_reason() {
    for caller in Caller::both() {
        let dir = TempDir::new();
        script(&dir, "tool", "#!/bin/sh\n");
        let policy = format!("filesystem = {{ root = \"minimal\", write = [{dir:?}] }}");
        let output = Sandbox::new(&policy).caller(caller).run([dir.join("tool").as_os_str()]);
        failed(&output, 126, "EACCES");
        let said = output.stderr_text();
        assert!(said.contains("noexec") && said.contains("execute"), "{caller}: {said}");
    }
}

#[test]
fn the_commands_own_126_is_told_apart_by_its_event() {
    for caller in Caller::both() {
        for code in [0, 1, 124, 125, 126, 127, 255] {
            let sandbox = Sandbox::new("").caller(caller);
            let output = sandbox.run([sandbox.probe_path(), format!("exit {code}")]);
            assert_eq!(output.code(), code, "{caller}");
            assert_eq!(output.event_names(), ["launch", "exec", "exit"], "{caller}");
            let exit = output.event("exit").expect("an exit event");
            assert_eq!((&exit["ended_by"], &exit["code"]), (&"exit".into(), &code.into()));
        }
    }
}

#[test]
fn the_environment_is_empty_but_for_what_is_named() {
    for caller in Caller::both() {
        let env = |policy: &str| {
            let sandbox = Sandbox::new(policy)
                .caller(caller)
                .env("SECRET", "s")
                .env("LANG", "C.UTF-8")
                .env("LC_ALL", "C")
                .env("LC_TIME", "C")
                .env("TERM", "dumb")
                .env("LD_PRELOAD", "/nothing.so");
            sandbox.probe("env").value()
        };
        let fixed = "PATH=/usr/local/bin:/usr/bin:/bin\\nTERM=dumb";
        let empty = env("");
        let home = empty.split("\\n").find_map(|line| line.strip_prefix("HOME="));
        let home = home.expect("HOME is set").to_owned();
        assert_eq!(empty, format!("HOME={home}\\nLANG=C.UTF-8\\n{fixed}"), "{caller}");
        let there = Sandbox::new("").caller(caller).probe(&format!("list {home}"));
        assert!(there.is_ok(), "{caller}: {home}");

        let kept = env("process.env.keep = [\"LC_*\", \"ABSENT\"]");
        assert_eq!(kept, format!("HOME={home}\\nLANG=C.UTF-8\\nLC_ALL=C\\nLC_TIME=C\\n{fixed}"));
        let set = env(
            "process.env = { keep = [\"SECRET\"], set = { SECRET = \"other\", A = \"b=c d\" } }",
        );
        let expected = format!(
            "A=b=c d\\nHOME={home}\\nLANG=C.UTF-8\\nPATH=/usr/local/bin:/usr/bin:/bin\\nSECRET=other\\nTERM=dumb"
        );
        assert_eq!(set, expected, "{caller}");
        let all = env("process.env.keep = [\"*\"]");
        for name in ["SECRET=s", "LD_PRELOAD=/nothing.so", "LC_ALL=C"] {
            assert!(all.split("\\n").any(|line| line == name), "{caller}: {all}");
        }
        assert!(all.contains(&format!("PATH={}", harness::PATH)), "{caller}: {all}");
    }
}

#[test]
fn a_script_runs_by_its_interpreter_inside() {
    for caller in Caller::both() {
        let dir = TempDir::new();
        script(&dir, "tool", "#!/bin/sh\necho \"$0 $1\"\n");
        let policy = format!("filesystem = {{ root = \"minimal\", execute = [{dir:?}] }}");
        let path = dir.join("tool");
        let output = Sandbox::new(&policy).caller(caller).run([path.as_os_str(), "x".as_ref()]);
        assert_eq!(output.stdout_text(), format!("{} x\n", path.display()), "{caller}");
        // Without the interpreter in view the kernel finds nothing to run.
        let policy = format!("filesystem.execute = [{dir:?}]");
        let output = Sandbox::new(&policy).caller(caller).run([path.as_os_str()]);
        failed(&output, 127, "ENOENT");
        assert!(output.stderr_text().contains("not visible"), "{caller}: {output:?}");
    }
}

#[test]
fn standard_streams_are_the_callers() {
    for caller in Caller::both() {
        let script = "cat; echo out; echo err >&2";
        let output = Sandbox::new(MINIMAL).caller(caller).stdin("in\n").run(["sh", "-c", script]);
        assert_eq!(output.stdout_text(), "in\nout\n", "{caller}: {output:?}");
        assert_eq!(output.stderr_text(), "err\n", "{caller}");
    }
}

#[test]
fn output_of_any_length_comes_through_in_order() {
    for caller in Caller::both() {
        let output = Sandbox::new(MINIMAL).caller(caller).run(["seq", "100000"]);
        let expected: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
        assert!(output.stdout_text() == expected, "{caller}");
        assert_eq!(output.event_names(), ["launch", "exec", "exit"], "{caller}");
    }
}

/// Nothing granted, with PID 1 of the launcher's, without, and without any
/// namespace.
const NOTHING: [&str; 3] = ["", "namespaces.pid = false\nfilesystem.proc = false", IN_PLACE];

/// A launch of a program that is open as 150.
fn of_open(policy: &str, program: impl Into<OwnedFd>, caller: Caller) -> Sandbox {
    Sandbox::new(policy).without_probe().caller(caller).pass(program, 150).option("--exec-fd=150")
}

/// The probe, in memory.
fn probe_in_memory() -> OwnedFd {
    let probe = fs::read(Sandbox::outside().probe_path()).expect("the probe is read");
    memory(&probe, SealFlags::empty())
}

#[test]
fn a_program_that_is_open_runs_where_nothing_is_granted() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for policy in NOTHING {
            let output = of_open(policy, probe_in_memory(), caller).run(["no/such", "say ran"]);
            let said = (output.code(), output.stdout_text());
            assert_eq!(said, (0, "ok ran\n".into()), "{caller}, {policy}: {output:?}");
            // The control: the same program by its path.
            let path = Sandbox::outside().probe_path();
            let output =
                Sandbox::new(policy).without_probe().caller(caller).run([&path, "say ran"]);
            assert_ne!(output.code(), 0, "{caller}, {policy}: {output:?}");
        }
    }
}

#[test]
fn the_name_of_an_open_program_is_only_what_it_is_called() {
    for caller in Caller::both() {
        let output = of_open("", probe_in_memory(), caller).run(["a name", "args"]);
        let hex: String = "a name".bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(output.stdout_text().starts_with(&format!("ok {hex} ")), "{caller}: {output:?}");
    }
}

#[test]
fn the_descriptor_of_an_open_program_is_not_inherited() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for policy in NOTHING {
            let output = of_open(policy, probe_in_memory(), caller).run(["probe", "fd-kind 150"]);
            let kind = output.stdout_text();
            assert!(kind.contains("Bad file descriptor"), "{caller}, {policy}: {output:?}");
        }
        // The control: one that the policy passes on.
        let output = of_open("process.keep_fds = [151]", probe_in_memory(), caller)
            .pass(memory(b"", SealFlags::empty()), 151)
            .run(["probe", "fd-kind 151"]);
        assert!(output.stdout_text().starts_with("ok RegularFile"), "{caller}: {output:?}");
    }
}

#[test]
fn an_open_program_that_is_none_is_126() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for policy in NOTHING {
            let text = memory(b"text\n", SealFlags::empty());
            let output = of_open(policy, text, caller).run(["tool"]);
            assert_eq!(output.code(), 126, "{caller}, {policy}: {output:?}");
            let failure = output.event("failure").expect("a failure event");
            let said = (&failure["call"], &failure["error"], &failure["path"]);
            let expected = ["execveat", "ENOEXEC", "tool"].map(Into::into);
            assert_eq!(said, expected.each_ref().into(), "{caller}, {policy}");
        }
    }
}

#[test]
fn a_program_that_is_not_open_or_passed_on_as_well_is_refused() {
    for caller in Caller::both() {
        let refused = |sandbox: Sandbox, says: &str| {
            let output = sandbox.run(["tool"]);
            assert_eq!((output.code(), output.stdout.len()), (125, 0), "{caller}: {output:?}");
            let said = output.stderr_text();
            assert!(said.contains(says) && said.lines().count() == 1, "{caller}: {said}");
        };
        let closed = Sandbox::new("").caller(caller).option("--exec-fd=150");
        refused(closed, "--exec-fd: the descriptor is not open");
        let kept = of_open("process.keep_fds = [150]", probe_in_memory(), caller);
        refused(kept, "a descriptor of the launcher is among the policy's keep_fds");
    }
}

/// The program was not run, for this reason.
#[track_caller]
fn failed(output: &Output, code: i32, error: &str) {
    assert_eq!(output.code(), code, "{output:?}");
    let failure = output.event("failure").expect("a failure event");
    assert_eq!(failure["stage"], "exec", "{output:?}");
    assert_eq!((&failure["error"], &failure["status"]), (&error.into(), &code.into()));
    let said = output.stderr_text();
    assert!(said.starts_with("launcher: exec: execve \""), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(output.event("exec").is_none() && output.event("exit").is_none(), "{output:?}");
}

fn script(dir: &TempDir, name: &str, text: &str) {
    fs::write(dir.join(name), text).expect("a script is written");
    let mode = PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.join(name), mode).expect("the mode is set");
}
