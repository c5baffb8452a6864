//! The status descriptor, the line on standard error, and the exit status.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write};

use harness::{Caller, Handover, IN_PLACE, Sandbox, TempDir};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

#[test]
fn a_launch_with_a_waiter_is_told_from_its_start_to_its_end() {
    harness::needs_landlock!(1);
    for caller in Caller::both() {
        let sandbox = Sandbox::new("").caller(caller);
        let output = sandbox.run([sandbox.probe_path(), "exit 7".into()]);
        assert_eq!(output.code(), 7, "{caller}");
        assert_eq!(output.event_names(), ["launch", "exec", "exit"], "{caller}");
        let launch = output.event("launch").expect("a launch event");
        assert_eq!(launch["version"], 1, "{caller}");
        assert_eq!(launch["rung"], "namespaces", "{caller}");
        assert_eq!(launch["die_with_parent"], "process", "{caller}");
        assert_eq!(launch["missing"], serde_json::json!([]), "{caller}");
        for layer in ["namespaces", "landlock", "seccomp"] {
            assert_eq!(launch["layers"][layer], "enforced", "{caller}, {layer}");
        }
        let exit = output.event("exit").expect("an exit event");
        assert_eq!((&exit["ended_by"], &exit["code"]), (&"exit".into(), &7.into()), "{caller}");
    }
}

#[test]
fn in_place_the_end_of_the_descriptor_is_the_command() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let sandbox = Sandbox::new(IN_PLACE).caller(caller);
        let output = sandbox.run([sandbox.probe_path(), "exit 7".into()]);
        assert_eq!((output.code(), output.event_names()), (7, vec!["launch"]), "{caller}");
        let launch = output.event("launch").expect("a launch event");
        assert_eq!(launch["rung"], "landlock", "{caller}");
        assert_eq!(launch["layers"]["namespaces"], "off", "{caller}");
        assert_eq!(launch["die_with_parent"], "nobody", "{caller}");
    }
}

#[test]
fn a_signal_is_128_and_the_signal_with_a_waiter_and_itself_without() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for (signal, name) in [(6, "abort"), (9, "raise 9"), (15, "raise 15"), (3, "raise 3")] {
            let run = |policy: &str| {
                let sandbox = Sandbox::new(policy).caller(caller);
                sandbox.run([sandbox.probe_path(), name.to_owned()])
            };
            let output = run("");
            assert_eq!(output.status.code(), Some(128 + signal), "{caller}, {name}");
            let exit = output.event("exit").expect("an exit event");
            let by = (&exit["ended_by"], &exit["signal"]);
            assert_eq!(by, (&"signal".into(), &signal.into()), "{caller}, {name}");
            assert_eq!(run(IN_PLACE).signal(), Some(signal), "{caller}, {name}");
        }
    }
}

#[test]
fn a_failure_is_one_line_for_people_and_one_for_programs() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("a \"quoted\" name\n", "");
        let path = dir.join("a \"quoted\" name\n");
        let sandbox = Sandbox::outside();
        let policy = format!("filesystem.read = [{path:?}]");
        let policy = harness::encode(&harness::with_probe(&policy, &sandbox.binaries().probe()));
        std::fs::remove_file(&path).expect("it is removed");
        let output = Sandbox::of_bytes(&policy).caller(caller).run(["true"]);
        assert_eq!(output.code(), 125, "{caller}");
        let escaped = format!("{dir}/a \\\"quoted\\\" name\\x0a");
        let line = format!("launcher: mounts: openat2 \"{escaped}\": ENOENT (");
        let said = output.stderr_text();
        assert!(said.starts_with(&line) && said.lines().count() == 1, "{caller}: {said}");
        let failure = output.failure();
        assert_eq!(failure["version"], 1, "{caller}");
        assert_eq!(failure["stage"], "mounts", "{caller}");
        assert_eq!(failure["call"], "openat2", "{caller}");
        assert_eq!(failure["errno"], 2, "{caller}");
        assert_eq!(failure["error"], "ENOENT", "{caller}");
        assert_eq!(failure["status"], 125, "{caller}");
        assert_eq!(failure["path"].as_str(), path.to_str(), "{caller}");
    }
}

#[test]
fn a_launch_needs_no_status_descriptor() {
    for caller in Caller::both() {
        // Where it goes nowhere, and where it is not asked for at all.
        let file = std::fs::File::open("/dev/null").expect("it opens");
        let sandbox = Sandbox::new("").caller(caller).pass(file, 20).option("--status-fd=20");
        let output = sandbox.run([sandbox.probe_path(), "exit 3".into()]);
        assert_eq!((output.code(), output.events.len()), (3, 0), "{caller}: {output:?}");
        let launcher = sandbox.binaries().launcher();
        let policy = harness::encode(&harness::with_probe("", &sandbox.binaries().probe()));
        let policy = harness::memory(&policy, harness::SEALS);
        let bare = Sandbox::outside().caller(caller).pass(policy, 5);
        let words = ["--fd=5", "--", &sandbox.probe_path(), "exit 3"];
        let output = bare.run([&[launcher.to_string_lossy().as_ref()], &words[..]].concat());
        assert_eq!((output.code(), output.stderr.len()), (3, 0), "{caller}: {output:?}");
    }
}

#[test]
fn a_reader_that_is_gone_does_not_stop_a_launch() {
    for caller in Caller::both() {
        let dir = TempDir::new();
        let marker = format!("create {dir}/marker");
        let policy = format!("filesystem.write = [{dir:?}]");
        let (reader, writer) = std::io::pipe().expect("a pipe is made");
        drop(reader);
        let sandbox = Sandbox::new(&policy).caller(caller).pass(writer, 20);
        let sandbox = sandbox.option("--status-fd=20");
        let output = sandbox.run([sandbox.probe_path(), marker]);
        assert_eq!(output.code(), 0, "{caller}: {output:?}");
        assert!(dir.has("marker"), "{caller}");
    }
}

#[test]
fn a_reader_that_is_asleep_does_not_hold_up_a_launch() {
    for caller in Caller::both() {
        for (more, line, code) in
            [("", "exit 7", 7), ("limits.wall_time = \"500ms\"", "pause", 124)]
        {
            let (_reader, writer) = full_pipe();
            let sandbox = Sandbox::new(more).caller(caller).pass(writer, 20);
            let sandbox = sandbox.option("--status-fd=20");
            let output = sandbox.run([sandbox.probe_path(), line.to_owned()]);
            assert_eq!(output.code(), code, "{caller}, {line}: {output:?}");
        }
    }
}

#[test]
fn a_line_that_is_longer_than_what_a_pipe_takes_does_not_hold_up_a_launch() {
    for caller in Caller::both() {
        // A page is free, so that the pipe is ready for some of it.
        let (mut reader, writer) = full_pipe();
        reader.read_exact(&mut [0; 4096]).expect("a pipe is read");
        // Each of these bytes takes six in JSON.
        let name = "\u{1}".repeat(200);
        let dir = TempDir::with_file(&[name.as_str(); 5].join("/"), "");
        let path = dir.join([name.as_str(); 5].join("/"));
        let policy =
            format!("filesystem.read = [\"{}\"]", path.display()).replace('\u{1}', "\\u0001");
        let sandbox = Sandbox::outside();
        let policy = harness::encode(&harness::with_probe(&policy, &sandbox.binaries().probe()));
        std::fs::remove_file(&path).expect("it is removed");

        let sandbox = Sandbox::of_bytes(&policy).caller(caller).pass(writer, 20);
        let output = sandbox.option("--status-fd=20").run(["true"]);

        assert_eq!(output.code(), 125, "{caller}: {output:?}");
        assert!(output.stderr_text().contains("ENOENT"), "{caller}: {output:?}");
    }
}

/// A pipe that takes nothing more, and on which a write would wait.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe is made");
    let flags = fcntl_getfl(&writer).expect("fcntl");
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).expect("fcntl");
    let full = loop {
        if let Err(error) = writer.write(&[b'\n'; 4096]) {
            break error.kind();
        }
    };
    assert_eq!(full, ErrorKind::WouldBlock);
    fcntl_setfl(&writer, flags).expect("fcntl");
    (reader, writer)
}

#[test]
fn the_encoders_own_failure_is_not_the_commands() {
    for caller in Caller::both() {
        // The pipe ends empty, and the launcher says what that means.
        let policy = "filesystem.read = [\"/no/such/path\"]";
        let sandbox = Sandbox::new(policy).caller(caller).handover(Handover::Encoder);
        let output = sandbox.run(["true"]);
        assert_eq!(output.code(), 125, "{caller}: {output:?}");
        let said = output.stderr_text();
        assert!(said.contains("/no/such/path"), "{caller}: {said}");
        assert!(said.contains("the encoder probably failed"), "{caller}: {said}");
        let sandbox = Sandbox::new(policy).caller(caller).handover(Handover::EncoderRun);
        let output = sandbox.run(["true"]);
        assert_eq!(output.code(), 125, "{caller}: {output:?}");
        assert!(output.stderr_text().contains("/no/such/path"), "{caller}: {output:?}");
    }
}

#[test]
fn a_failure_goes_to_the_error_descriptor_whose_end_says_that_the_command_runs() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for policy in ["", IN_PLACE] {
            let run = |words: &[&str]| {
                let (mut reader, writer) = std::io::pipe().expect("a pipe is made");
                let sandbox = Sandbox::new(policy).caller(caller).pass(writer, 20);
                let probe = sandbox.probe_path();
                let words = words.iter().map(|word| if *word == "PROBE" { &probe } else { *word });
                let output = sandbox.option("--error-fd=20").run(words);
                let mut text = String::new();
                reader.read_to_string(&mut text).expect("text");
                (output, text)
            };
            let (output, text) = run(&["/nowhere"]);
            assert_eq!((output.code(), output.stderr_text().as_str()), (127, ""), "{output:?}");
            let event: serde_json::Value = serde_json::from_str(&text).expect("one line of JSON");
            assert_eq!((&event["event"], &event["path"]), (&"failure".into(), &"/nowhere".into()));
            // The same as on the status descriptor.
            assert_eq!(Some(&event), output.event("failure"), "{caller}");
            let (output, text) = run(&["PROBE", "fds"]);
            output.assert_said(&["ok 0 1 2"]);
            assert_eq!(text, "", "{caller}: {output:?}");
        }
    }
}

#[test]
fn a_ruleset_that_is_given_has_to_be_one_and_serves_no_mounts() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for (policy, call) in [("", "--ruleset-fd"), (IN_PLACE, "landlock_restrict_self")] {
            let null = std::fs::File::open("/dev/null").expect("it is there");
            let sandbox = Sandbox::new(policy).caller(caller).pass(null, 20);
            let output = sandbox.option("--ruleset-fd=20").run(["true"]);
            assert_eq!(output.code(), 125, "{caller}: {output:?}");
            assert_eq!(output.failure()["call"], call, "{caller}: {output:?}");
        }
    }
}
