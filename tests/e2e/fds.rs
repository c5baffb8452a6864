//! Descriptors: only what the policy names reaches the command.

use std::fs::File;

use harness::{Caller, Outcome, Sandbox, TempDir};
use rustix::fs::{Mode, OFlags};

#[test]
fn no_descriptor_above_two_reaches_the_command() {
    for caller in Caller::both() {
        let fds = |sandbox: Sandbox| {
            sandbox.caller(caller).pass(null(), 7).pass(null(), 100).probe("fds").value()
        };
        assert_eq!(fds(Sandbox::new("")), "0 1 2", "{caller}");
        let control = fds(Sandbox::outside());
        assert!(control.split(' ').any(|fd| fd == "7"), "{caller}: {control}");
    }
}

#[test]
fn descriptors_that_are_kept_reach_the_command_under_their_numbers() {
    for caller in Caller::both() {
        let file = TempDir::with_file("note", "passed on");
        let note = File::open(file.join("note")).expect("it opens");
        let sandbox = Sandbox::new("process.keep_fds = [7, 9]").caller(caller);
        let sandbox = sandbox.pass(note, 7).pass(null(), 8).pass(null(), 9);
        let outcomes = sandbox.probes(&["fds", "fd-kind 7", "fd-kind 9"]);
        let expected = ["0 1 2 7 9", "RegularFile 0:0", "CharacterDevice 1:3"];
        assert_eq!(outcomes, expected.map(|text| Outcome::Ok(text.into())), "{caller}");
    }
}

#[test]
fn a_kept_descriptor_that_is_not_open_is_a_refusal() {
    for caller in Caller::both() {
        let output = Sandbox::new("process.keep_fds = [150]").caller(caller).run(["true"]);
        assert_eq!(output.code(), 125, "{caller}");
        let failure = output.failure();
        assert_eq!((&failure["stage"], &failure["error"]), (&"fds".into(), &"EBADF".into()));
    }
}

#[test]
fn a_directory_is_passed_on_only_where_it_is_called_one() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("secret", "");
        for flags in [OFlags::RDONLY, OFlags::PATH] {
            let directory = || open(&dir, flags);
            let refused = Sandbox::new("process.keep_fds = [7]").caller(caller);
            let output = refused.pass(directory(), 7).run(["true"]);
            assert_eq!(output.code(), 125, "{caller}");
            assert_eq!(output.failure()["stage"], "fds", "{caller}");
            assert!(output.stderr_text().contains("bypasses every mount"), "{caller}: {output:?}");

            let policy = "process.keep_fds = [{ fd = 7, directory = true }]";
            let sandbox = Sandbox::new(policy).caller(caller).pass(directory(), 7);
            assert_eq!(sandbox.probe("fds"), Outcome::Ok("0 1 2 7".into()), "{caller}");
        }
    }
}

#[test]
fn a_path_descriptor_of_a_file_is_no_stream() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("secret", "");
        let file =
            rustix::fs::open(dir.join("secret"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let sandbox = Sandbox::new("process.keep_fds = [7]").caller(caller);
        let output = sandbox.pass(file.expect("it opens"), 7).run(["true"]);
        assert_eq!((output.code(), &output.failure()["stage"]), (125, &"fds".into()), "{caller}");
    }
}

#[test]
fn a_directory_as_a_standard_stream_is_refused() {
    for caller in Caller::both() {
        let dir = TempDir::new();
        for flags in [OFlags::RDONLY, OFlags::PATH] {
            let sandboxes = [
                Sandbox::new("").stdin_from(open(&dir, flags)),
                Sandbox::new("").stdout_to(open(&dir, flags)),
                Sandbox::new("").stderr_to(open(&dir, flags)),
            ];
            for sandbox in sandboxes {
                let output = sandbox.caller(caller).run(["true"]);
                assert_eq!(output.code(), 125, "{caller}: {output:?}");
                let failure = output.failure();
                assert_eq!((&failure["stage"], &failure["call"]), (&"fds".into(), &"stdio".into()));
            }
        }
    }
}

#[test]
fn closed_standard_streams_are_opened_on_dev_null() {
    for caller in Caller::both() {
        // By a shell: a program in Rust opens them itself.
        let said = |sandbox: Sandbox, fd: i32| {
            let sandbox = sandbox.caller(caller).close(fd);
            sandbox.run([
                "sh".into(),
                "-c".into(),
                format!("readlink /proc/self/fd/{fd} || echo closed"),
            ])
        };
        for fd in [0, 2] {
            let inside = said(Sandbox::new("filesystem.root = \"minimal\""), fd);
            assert_eq!(inside.stdout_text(), "/dev/null\n", "{caller}: {inside:?}");
            let control = said(Sandbox::outside(), fd);
            assert_eq!(control.stdout_text(), "closed\n", "{caller}: {control:?}");
        }

        let dir = TempDir::new();
        let policy = format!("filesystem.write = [{dir:?}]");
        let sandbox = Sandbox::new(&policy).caller(caller).close(0).close(1).close(2);
        let create = format!("create {dir}/marker");
        let output = sandbox.run([sandbox.probe_path(), create]);
        assert_eq!(output.code(), 0, "{caller}: {output:?}");
        assert!(dir.has("marker"), "{caller}");
    }
}

#[test]
fn an_entry_can_be_a_directory_that_the_caller_opened() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "by descriptor");
        let policy = "filesystem.write = [{ fd = 7, at = \"/workspace\" }]";
        let directory = open(&dir, OFlags::RDONLY | OFlags::DIRECTORY);
        let sandbox = Sandbox::new(policy).caller(caller).pass(directory, 7);
        let outcomes = sandbox.probes(&["read /workspace/note", "create /workspace/new", "fds"]);
        let expected = ["by descriptor", "", "0 1 2"];
        assert_eq!(outcomes, expected.map(|text| Outcome::Ok(text.into())), "{caller}");
        assert!(dir.has("new"), "{caller}");
    }
}

#[test]
fn an_entry_by_a_descriptor_that_is_not_open_is_a_refusal() {
    for caller in Caller::both() {
        let policy = "filesystem.read = [{ fd = 150, at = \"/workspace\" }]";
        let output = Sandbox::new(policy).caller(caller).run(["true"]);
        assert_eq!((output.code(), output.event_names()), (125, vec!["failure"]), "{caller}");
    }
}

fn null() -> File {
    File::open("/dev/null").expect("it opens")
}

fn open(dir: &TempDir, flags: OFlags) -> rustix::fd::OwnedFd {
    rustix::fs::open(dir.path(), flags | OFlags::CLOEXEC, Mode::empty()).expect("it opens")
}
