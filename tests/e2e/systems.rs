//! The cases that people bring along from the sandboxes they used before,
//! each in the way they would write it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use harness::{Caller, Errno, Outcome, Sandbox, TempDir};

/// The numbers of signals.
const SIGABRT: i32 = 6;
const SIGTERM: i32 = 15;

/// Every probe that changes something below a directory with `file` in it.
fn changes(directory: &str) -> Vec<String> {
    [
        "open-for-write D/file",
        "truncate D/file",
        "create D/new",
        "unlink D/file",
        "rename D/file D/other",
        "link D/file D/other",
        "symlink file D/other",
        "mkdir D/other",
        "chmod D/file 600",
    ]
    .iter()
    .map(|probe| probe.replace('D', directory))
    .collect()
}

fn all(sandbox: &Sandbox, probes: &[String]) -> Vec<Outcome> {
    sandbox.probes(&probes.iter().map(String::as_str).collect::<Vec<_>>())
}

fn ok(value: &str) -> Outcome {
    Outcome::Ok(value.to_owned())
}

#[test]
fn an_allowed_file_reads_and_its_neighbours_are_absent() {
    for caller in Caller::both() {
        let directory = TempDir::with_file("file", "shown").file("neighbour", "hidden");
        let file = directory.join("file");
        let policy = format!("[filesystem]\nread = [{file:?}]");
        let probes = ["file", "neighbour"].map(|name| format!("read {directory}/{name}"));

        let inside = all(&Sandbox::new(&policy).caller(caller), &probes);
        let outside = all(&Sandbox::outside().caller(caller), &probes);

        assert_eq!(inside, [ok("shown"), Outcome::Errno(Errno::NOENT)], "{caller}");
        assert_eq!(outside, [ok("shown"), ok("hidden")], "{caller}");
    }
}

#[test]
fn an_allowed_directory_writes() {
    for caller in Caller::both() {
        let directory = TempDir::with_file("file", "before");
        let policy = format!("[filesystem]\nwrite = [{directory:?}]");

        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            &format!("write {directory}/file after"),
            &format!("mkdir {directory}/made"),
            &format!("write {directory}/made/file deep"),
            &format!("rename {directory}/made/file {directory}/moved"),
            &format!("rmdir {directory}/made"),
        ]);

        assert!(outcomes.iter().all(Outcome::is_ok), "{caller}: {outcomes:?}");
        assert_eq!(directory.names(), ["file", "moved"], "{caller}");
        assert_eq!(
            (directory.read("file"), directory.read("moved")),
            ("after".into(), "deep".into())
        );
    }
}

#[test]
fn the_home_directory_is_absent_where_nothing_lists_it() {
    let home = TempDir::with_file("diary", "private");
    let read = format!("read {home}/diary");
    for caller in Caller::both() {
        for policy in ["", "filesystem.root = 'minimal'", "filesystem.root = 'host'"] {
            let inside = Sandbox::new(policy).caller(caller).probe(&read);
            assert_eq!(inside, Outcome::Errno(Errno::NOENT), "{caller}, {policy:?}");
        }
        assert_eq!(Sandbox::outside().caller(caller).probe(&read), ok("private"));
    }
}

#[test]
fn the_home_directory_is_empty_where_it_is_denied() {
    let home = TempDir::with_file("diary", "private");
    let policy = format!("[filesystem]\nread = [{:?}]\ndeny = [{home:?}]", std::env::temp_dir());
    for caller in Caller::both() {
        let probes =
            [format!("read {home}/diary"), format!("list {home}"), format!("create {home}/new")];

        let outcomes = all(&Sandbox::new(&policy).caller(caller), &probes);

        let expected = [Outcome::Errno(Errno::NOENT), ok(""), Outcome::Errno(Errno::ROFS)];
        assert_eq!(outcomes, expected, "{caller}");
        assert_eq!(home.names(), ["diary"], "{caller}");
    }
}

#[test]
fn a_project_in_a_denied_home_directory_is_all_there_is_of_it() {
    for caller in Caller::both() {
        let home = TempDir::with_file("diary", "private").file("project/code", "shown");
        let policy = format!(
            "[filesystem]\nread = [{:?}]\ndeny = [{home:?}]\nwrite = [{:?}]",
            std::env::temp_dir(),
            home.join("project"),
        );

        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            &format!("read {home}/diary"),
            &format!("read {home}/project/code"),
            &format!("create {home}/project/new"),
        ]);

        assert_eq!(outcomes, [Outcome::Errno(Errno::NOENT), ok("shown"), ok("")], "{caller}");
        assert!(home.has("project/new"), "{caller}");
    }
}

#[test]
fn landlock_alone_refuses_the_home_directory_around_a_project() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let home = TempDir::with_file("diary", "private").file("project/code", "shown");
        let policy = format!(
            "[filesystem]\ntmp = 'none'\nproc = false\ndev = 'none'\nwrite = [{:?}]\n\
             [network]\nunix = 'host'\n[enforce]\nnamespaces = 'off'\n\
             waive = ['execute']",
            home.join("project"),
        );

        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            &format!("read {home}/diary"),
            &format!("list {home}"),
            &format!("create {home}/new"),
            &format!("read {home}/project/code"),
            &format!("create {home}/project/new"),
        ]);

        let refused = Outcome::Errno(Errno::ACCESS);
        let expected = [refused.clone(), refused.clone(), refused, ok("shown"), ok("")];
        assert_eq!(outcomes, expected, "{caller}");
        assert!(home.has("project/new"), "{caller}");
    }
}

#[test]
fn read_only_refuses_every_change() {
    for caller in Caller::both() {
        let directory = TempDir::with_file("file", "kept");
        let policy = format!("[filesystem]\nread = [{directory:?}]");

        let inside = all(&Sandbox::new(&policy).caller(caller), &changes(&directory.to_string()));

        let expected = vec![Outcome::Errno(Errno::ROFS); inside.len()];
        assert_eq!(inside, expected, "{caller}");
        assert_eq!(directory.read("file"), "kept", "{caller}");
        assert_eq!(directory.names(), ["file"], "{caller}");
        // The control, a change at a time.
        for change in changes("D").iter().filter(|change| !change.starts_with("chmod")) {
            let directory = TempDir::with_file("file", "kept");
            let change = change.replace('D', &directory.to_string());
            let outside = Sandbox::outside().caller(caller).probe(&change);
            assert!(outside.is_ok(), "{caller}: {change}: {outside:?}");
        }
    }
}

#[test]
fn three_directories_have_three_accesses() {
    for caller in Caller::both() {
        let directory = TempDir::new()
            .file("read/file", "read")
            .file("write/file", "write")
            .file("execute/file", "execute");
        let sandbox = Sandbox::new(&format!(
            "[filesystem]\nread = [{:?}]\nwrite = [{:?}]\nexecute = [{:?}]",
            directory.join("read"),
            directory.join("write"),
            directory.join("execute"),
        ))
        .caller(caller);
        // A link: a copy that another thread's child holds open for writing
        // for a moment could not be executed.
        let probe = sandbox.binaries().probe();
        for name in ["read", "write", "execute"] {
            fs::hard_link(&probe, directory.join(name).join("program")).expect("a link is made");
        }

        let can = |name: &str| {
            let at = format!("{directory}/{name}");
            let outcomes = sandbox.probes(&[
                &format!("read {at}/file"),
                &format!("write {at}/file x"),
                &format!("exec\x1f{at}/program\x1fsay ran"),
            ]);
            outcomes.into_iter().map(short).collect::<Vec<_>>().join(", ")
        };

        assert_eq!(can("read"), "read, EROFS, EACCES", "{caller}");
        assert_eq!(can("write"), "write, , EACCES", "{caller}");
        assert_eq!(can("execute"), "execute, EROFS, ran", "{caller}");
    }
}

/// An outcome in a word.
fn short(outcome: Outcome) -> String {
    match outcome {
        Outcome::Ok(value) => value,
        Outcome::Errno(Errno::ROFS) => "EROFS".to_owned(),
        Outcome::Errno(Errno::ACCESS) => "EACCES".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn no_network_means_no_tcp_udp_or_raw_sockets() {
    let probes = [
        "socket inet stream",
        "socket inet dgram",
        "socket inet raw 1",
        "socket inet6 stream",
        "socket inet6 dgram",
        "socket packet raw",
        "socket netlink raw",
        "socket vsock stream",
    ];
    for caller in Caller::both() {
        let outcomes = Sandbox::new("network.access = 'none'").caller(caller).probes(&probes);

        let refused = vec![Outcome::Errno(Errno::AFNOSUPPORT); probes.len()];
        assert_eq!(outcomes, refused, "{caller}");
        // The control: those that a host has, and that anybody may open.
        let outside =
            Sandbox::outside().caller(caller).probes(&["socket inet stream", "socket inet dgram"]);
        assert!(outside.iter().all(Outcome::is_ok), "{caller}: {outside:?}");
    }
}

#[test]
fn without_network_unix_sockets_work_inside() {
    for caller in Caller::both() {
        let directory = TempDir::new();
        let policy = format!("[filesystem]\nwrite = [{directory:?}]\n[network]\naccess = 'none'");

        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            "socketpair",
            &format!("unix-inside {directory}/socket"),
            "unix-inside /tmp/socket",
        ]);

        assert_eq!(outcomes, vec![ok("hello"); 3], "{caller}");
    }
}

#[test]
fn a_subdirectory_of_a_writable_directory_can_be_read_only() {
    for caller in Caller::both() {
        let directory = TempDir::with_file("file", "open").file("fixed/file", "kept");
        let fixed = directory.join("fixed");
        let policy = format!("[filesystem]\nwrite = [{directory:?}]\nread = [{fixed:?}]");
        let sandbox = Sandbox::new(&policy).caller(caller);

        let inside = all(&sandbox, &changes(&format!("{directory}/fixed")));
        let around = sandbox.probes(&[
            &format!("read {directory}/fixed/file"),
            &format!("write {directory}/file changed"),
            &format!("rename {directory}/fixed {directory}/moved"),
            &format!("rmdir {directory}/fixed"),
        ]);

        assert_eq!(inside, vec![Outcome::Errno(Errno::ROFS); inside.len()], "{caller}");
        let busy = Outcome::Errno(Errno::BUSY);
        assert_eq!(around, [ok("kept"), ok(""), busy.clone(), busy], "{caller}");
        assert_eq!(directory.read("fixed/file"), "kept", "{caller}");
    }
}

#[test]
fn a_directory_below_tmp_is_writable_beside_a_private_tmp() {
    for caller in Caller::both() {
        let directory = TempDir::new();
        let other = TempDir::with_file("file", "of the host");
        let stray = format!("stray-{}", directory.path().file_name().expect("a name").display());
        let policy = format!("[filesystem]\nwrite = [{directory:?}]\ntmp = 'private'");

        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            &format!("write {directory}/file kept"),
            &format!("create /tmp/{stray}"),
            &format!("read {other}/file"),
            &format!("create /var/tmp/{stray}"),
            &format!("create /dev/shm/{stray}"),
        ]);

        assert_eq!(short(outcomes[2].clone()), "Errno(ENOENT)", "{caller}");
        let rest = outcomes.iter().enumerate().filter(|(place, _)| *place != 2);
        assert!(rest.clone().all(|(_, outcome)| outcome.is_ok()), "{caller}: {outcomes:?}");
        assert_eq!(directory.read("file"), "kept", "{caller}");
        for temporary in ["/tmp", "/var/tmp", "/dev/shm"] {
            let left = std::path::Path::new(temporary).join(&stray);
            assert!(!left.exists(), "{} was left on the host", left.display());
        }
    }
}

#[test]
fn tmp_itself_can_be_writable() {
    for caller in Caller::both() {
        let directory = TempDir::new();
        for policy in ["filesystem.write = ['/tmp']", "filesystem.tmp = 'host'"] {
            if !directory.path().starts_with("/tmp") {
                harness::skip!("tmp_itself_can_be_writable", "TMPDIR is elsewhere");
            }

            let outcome =
                Sandbox::new(policy).caller(caller).probe(&format!("write {directory}/file kept"));

            assert_eq!(outcome, ok(""), "{caller}: {policy}");
            assert_eq!(directory.read("file"), "kept", "{caller}: {policy}");
            fs::remove_file(directory.join("file")).expect("it was made");
        }
    }
}

#[test]
fn arguments_come_through_byte_by_byte() {
    let given: [&[u8]; 7] = [
        b"two words",
        b"",
        b" ",
        b"\xff\xfe\x80",
        b"--",
        b"--fd=3",
        b"a\nline and a \"quote\" $HOME",
    ];
    for caller in Caller::both() {
        let sandbox = Sandbox::new("").caller(caller);
        let probe = sandbox.probe_path();
        let command = [probe.as_bytes(), b"args"].into_iter().chain(given).map(OsStr::from_bytes);

        // The probe takes each argument for a verb, so it stops at the second.
        let output = sandbox.run(command);

        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let all: Vec<_> = [probe.as_bytes(), b"args"].into_iter().chain(given).map(hex).collect();
        let said = output.stdout_text();
        assert_eq!(said.lines().next(), Some(format!("ok {}", all.join(" ")).as_str()), "{caller}");
    }
}

#[test]
fn a_file_name_that_is_not_utf_8_is_used() {
    for caller in Caller::both() {
        let directory = TempDir::new();
        let sandbox =
            Sandbox::new(&format!("[filesystem]\nwrite = [{directory:?}]")).caller(caller);
        let probe = sandbox.probe_path();
        let name = directory.join(OsStr::from_bytes(b"\xff name"));
        let create = [b"create\x1f", name.as_os_str().as_bytes()].concat();

        let output = sandbox.run([OsStr::new(&probe), OsStr::from_bytes(&create)]);

        assert_eq!(output.stdout_text(), "ok \n", "{caller}: {output:?}");
        assert!(name.exists(), "{caller}");
    }
}

#[test]
fn the_exit_status_is_the_commands_own() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        // With a waiter, and in place.
        for policy in ["", "namespaces.pid = false\nfilesystem.proc = false"] {
            let sandbox = Sandbox::new(policy).caller(caller);
            let probe = sandbox.probe_path();
            for status in [0, 1, 2, 42, 124, 125, 126, 127, 255] {
                let output = sandbox.run([&probe, &format!("exit {status}")]);
                assert_eq!(output.status.code(), Some(status), "{caller}: {policy:?}: {output:?}");
                assert!(output.event("failure").is_none(), "{output:?}");
            }
            for (probe_line, signal) in
                [("abort".to_owned(), SIGABRT), (format!("raise {SIGTERM}"), SIGTERM)]
            {
                let output = sandbox.run([&probe, &probe_line]);
                assert_eq!(output.code(), 128 + signal, "{caller}: {policy:?}: {output:?}");
            }
        }
    }
}

#[test]
fn the_launchers_own_statuses_are_told_apart_by_the_status_events() {
    for caller in Caller::both() {
        let directory = TempDir::with_file("plain", "not a program");
        let sandbox =
            Sandbox::new(&format!("[filesystem]\nexecute = [{directory:?}]")).caller(caller);

        let missing = sandbox.run(["/no/such/program"]);
        let unknown = sandbox.run(["no-such-program"]);
        let plain = sandbox.run([directory.join("plain")]);

        assert_eq!((missing.code(), unknown.code(), plain.code()), (127, 127, 126), "{caller}");
        for output in [&missing, &unknown, &plain] {
            let failure = output.event("failure").expect("it failed");
            assert_eq!(failure["stage"], "exec", "{failure}");
            assert_eq!(failure["status"], output.code(), "{failure}");
            assert!(output.event("exec").is_none(), "{output:?}");
        }
    }
}
