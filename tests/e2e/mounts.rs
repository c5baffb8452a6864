//! Mounts: what is in view, with which rights, and that nothing else is.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;

use harness::{Caller, Errno, Handover, Outcome, Sandbox, TempDir, needs};

#[test]
fn only_what_is_listed_is_in_view() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new("").caller(caller);
        let outcomes = sandbox.probes(&["list /", "stat /etc/passwd", "stat /usr", "stat /home"]);
        let missing = Outcome::Errno(Errno::NOENT);
        let expected =
            [Outcome::Ok("dev proc tmp var".into()), missing.clone(), missing.clone(), missing];
        assert_eq!(outcomes, expected, "{caller}");
        let control = Sandbox::outside().caller(caller).probe("stat /etc/passwd");
        assert!(control.is_ok(), "{caller}: {control:?}");
    }
}

#[test]
fn the_root_directory_is_read_only() {
    for caller in Caller::both() {
        for root in ["empty", "minimal", "host"] {
            let policy = format!("filesystem.root = {root:?}");
            let sandbox = Sandbox::new(&policy).caller(caller);
            let outcomes = sandbox.probes(&["create /new", "mkdir /dev/new", "mkdir /new"]);
            for outcome in outcomes {
                assert_eq!(outcome, Outcome::Errno(Errno::ROFS), "{caller}, {root}");
            }
        }
    }
}

#[test]
fn three_directories_have_three_accesses() {
    for caller in Caller::both() {
        let dirs = [TempDir::new(), TempDir::new(), TempDir::new()];
        let [read, execute, write] = &dirs;
        for dir in &dirs {
            install_probe(dir);
        }
        let policy = format!(
            "filesystem = {{ read = [{read:?}], execute = [{execute:?}], write = [{write:?}] }}"
        );
        for (dir, flags, writes, runs) in [
            (read, "ro,nosuid,nodev,noexec", false, false),
            (execute, "ro,nosuid,nodev", false, true),
            (write, "nosuid,nodev,noexec", true, false),
        ] {
            let sandbox = Sandbox::new(&policy).caller(caller);
            let outcomes = sandbox.probes(&[
                &format!("mount-flags {dir}"),
                &format!("read {dir}/note"),
                &format!("open-for-write {dir}/note"),
                &format!("create {dir}/new"),
                &format!("map-exec {dir}/probe"),
                &format!("exec {dir}/probe pid"),
            ]);
            assert_eq!(outcomes[0], Outcome::Ok(flags.into()), "{caller}");
            assert_eq!(outcomes[1], Outcome::Ok("kept".into()), "{caller}");
            for outcome in &outcomes[2..4] {
                let read_only = *outcome == Outcome::Errno(Errno::ROFS);
                assert_eq!(
                    (outcome.is_ok(), read_only),
                    (writes, !writes),
                    "{caller}: {outcome:?}"
                );
            }
            // mmap(2) answers EPERM on a noexec mount, execve(2) EACCES.
            let no_exec = [Errno::PERM, Errno::ACCESS].map(Outcome::Errno);
            for (outcome, refused) in outcomes[4..].iter().zip(no_exec) {
                let is_refused = *outcome == refused;
                assert_eq!((outcome.is_ok(), is_refused), (runs, !runs), "{caller}: {outcome:?}");
            }
            let control = Sandbox::outside().caller(caller);
            let map = control.probe(&format!("map-exec {dir}/probe"));
            assert!(map.is_ok(), "{caller}: {map:?}");
        }
    }
}

#[test]
fn every_way_to_write_is_closed_in_a_read_only_directory() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "kept").directory("empty");
        let policy = format!("filesystem.read = [{{ path = {dir:?}, at = \"/data\" }}]");
        let ways = |dir: &str| {
            [
                "open-for-write D/note",
                "truncate D/note",
                "chmod D/note 600",
                "chown D/note",
                "link D/note D/other",
                "symlink x D/link",
                "mkdir D/new",
                "create D/file",
                "rename D/note D/moved",
                "unlink D/moved",
                "rmdir D/empty",
            ]
            .map(|way| way.replace('D', dir))
        };
        let inside = ways("/data");
        let lines: Vec<&str> = inside.iter().map(String::as_str).collect();
        for (line, outcome) in lines.iter().zip(Sandbox::new(&policy).caller(caller).probes(&lines))
        {
            assert_eq!(outcome, Outcome::Errno(Errno::ROFS), "{caller}, {line}");
        }
        assert_eq!(
            (dir.read("note").as_str(), dir.names()),
            ("kept", vec!["empty".into(), "note".into()])
        );
        let outside = ways(&dir.to_string());
        let lines: Vec<&str> = outside.iter().map(String::as_str).collect();
        for (line, outcome) in lines.iter().zip(Sandbox::outside().caller(caller).probes(&lines)) {
            // Only its owner changes the mode or the owner of a file.
            let owners = line.starts_with("chmod") || line.starts_with("chown");
            let is_owner = caller.uid() == rustix::process::geteuid().as_raw();
            let expected = is_owner || !owners;
            assert_eq!(outcome.is_ok(), expected, "{caller}, {line}: {outcome:?}");
        }
    }
}

#[test]
fn the_deepest_entry_decides() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "a")
            .file("sub/note", "b")
            .file("sub/deep/note", "c")
            .file("sub/deep/hidden/note", "d")
            .file("sub/deep/hidden/open/note", "e");
        let policy = format!(
            "[filesystem]\nwrite = [{dir:?}, {:?}]\nread = [{:?}, {:?}]\ndeny = [{:?}]",
            dir.join("sub/deep"),
            dir.join("sub"),
            dir.join("sub/deep/hidden/open"),
            dir.join("sub/deep/hidden"),
        );
        let sandbox = Sandbox::new(&policy).caller(caller);
        let outcomes = sandbox.probes(&[
            &format!("open-for-write {dir}/note"),
            &format!("open-for-write {dir}/sub/note"),
            &format!("open-for-write {dir}/sub/deep/note"),
            &format!("open-for-read {dir}/sub/deep/hidden/note"),
            &format!("open-for-write {dir}/sub/deep/hidden/open/note"),
            &format!("read {dir}/sub/deep/hidden/open/note"),
        ]);
        let ok = || Outcome::Ok(String::new());
        let read_only = || Outcome::Errno(Errno::ROFS);
        let hidden = &outcomes[3];
        assert!(
            matches!(hidden, Outcome::Errno(Errno::NOENT | Errno::ACCESS)),
            "{caller}: {hidden:?}"
        );
        assert_eq!(outcomes[..3], [ok(), read_only(), ok()], "{caller}");
        assert_eq!(outcomes[4..], [read_only(), Outcome::Ok("e".into())], "{caller}");
    }
}

#[test]
fn what_is_denied_is_hidden_and_cannot_be_renamed_into_view() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("a/b/secret", "x").file("a/b/dir/key", "y");
        let policy = format!(
            "filesystem = {{ write = [{dir:?}], deny = [{:?}, {:?}] }}",
            dir.join("a/b/secret"),
            dir.join("a/b/dir"),
        );
        let sandbox = Sandbox::new(&policy).caller(caller);
        let outcomes = sandbox.probes(&[
            &format!("open-for-read {dir}/a/b/secret"),
            &format!("open-for-read {dir}/a/b/dir/key"),
            &format!("list {dir}/a/b/dir"),
            &format!("rename {dir}/a/b/secret {dir}/a/b/public"),
            &format!("unlink {dir}/a/b/secret"),
            &format!("link {dir}/a/b/secret {dir}/a/b/public"),
            &format!("rename {dir}/a/b {dir}/a/c"),
            &format!("rename {dir}/a {dir}/c"),
            &format!("create {dir}/a/b/new"),
        ]);
        let (last, refused) = outcomes.split_last().expect("there are outcomes");
        assert_eq!(*last, Outcome::Ok(String::new()), "{caller}");
        for (place, outcome) in refused.iter().enumerate() {
            // An empty directory stands in for what is denied.
            let empty = place == 2 && *outcome == Outcome::Ok(String::new());
            assert!(empty || outcome.is_errno(), "{caller}: {outcomes:?}");
        }
        assert_eq!((dir.read("a/b/secret"), dir.read("a/b/dir/key")), ("x".into(), "y".into()));
        let control = Sandbox::outside().caller(caller);
        let control = control.probe(&format!("open-for-read {dir}/a/b/dir/key"));
        assert!(control.is_ok(), "{caller}");
    }
}

#[test]
fn a_symlink_gives_no_second_path_around_a_mask() {
    for caller in Caller::both() {
        let dir =
            TempDir::with_file("real/secret", "x").file("real/open", "y").symlink("alias", "real");
        let policy = format!(
            "filesystem = {{ read = [{:?}], deny = [{:?}] }}",
            dir.join("alias"),
            dir.join("real/secret"),
        );
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            &format!("read {dir}/alias/open"),
            &format!("readlink {dir}/alias"),
            &format!("open-for-read {dir}/alias/secret"),
            &format!("open-for-read {dir}/real/secret"),
        ]);
        assert_eq!(outcomes[0], Outcome::Ok("y".into()), "{caller}");
        assert!(outcomes[1].is_ok(), "{caller}: {outcomes:?}");
        assert!(outcomes[2].is_errno() && outcomes[3].is_errno(), "{caller}: {outcomes:?}");
    }
}

#[test]
fn a_source_that_became_a_symlink_is_a_refusal() {
    for caller in Caller::both() {
        for parent in [false, true] {
            let dir =
                TempDir::with_file("project/data/note", "mine").file("secret/data/note", "yours");
            let swapped = dir.join(if parent { "project" } else { "project/data" });
            let target = dir.join(if parent { "secret" } else { "secret/data" });
            let sandbox = Sandbox::outside();
            let entry = format!(
                "filesystem.read = [{{ path = {:?}, at = \"/data\" }}]",
                dir.join("project/data")
            );
            let policy = harness::encode(&harness::with_probe(&entry, &sandbox.binaries().probe()));
            let read = || Sandbox::of_bytes(&policy).caller(caller).probe("read /data/note");
            assert_eq!(read(), Outcome::Ok("mine".into()), "{caller}");

            fs::rename(&swapped, dir.join("aside")).expect("it is renamed");
            std::os::unix::fs::symlink(&target, &swapped).expect("a symlink is made");
            let Outcome::Silent(output) = read() else { panic!("{caller}: the probe ran") };
            assert_eq!((output.code(), &output.failure()["error"]), (125, &"ELOOP".into()));
            assert!(output.stderr_text().contains("symlink"), "{caller}: {output:?}");
        }
    }
}

#[test]
fn a_symlink_is_followed_at_the_launch_where_the_policy_says_so() {
    for caller in Caller::both() {
        let dir =
            TempDir::with_file("one/note", "1").file("two/note", "2").symlink("current", "one");
        let current = dir.join("current");
        let entry =
            format!("filesystem.read = [{{ path = {current:?}, at = \"/data\", follow = true }}]");
        let sandbox = Sandbox::outside();
        let policy = harness::encode(&harness::with_probe(&entry, &sandbox.binaries().probe()));
        let read = || Sandbox::of_bytes(&policy).caller(caller).probe("read /data/note");
        assert_eq!(read(), Outcome::Ok("1".into()), "{caller}");
        fs::remove_file(&current).expect("it is removed");
        std::os::unix::fs::symlink("two", &current).expect("a symlink is made");
        assert_eq!(read(), Outcome::Ok("2".into()), "{caller}");
    }
}

/// A root directory that something is still mounted on would show that thing
/// as its own parent.
#[test]
fn nothing_of_the_old_root_is_left() {
    for caller in Caller::both() {
        let tree =
            TempDir::new().directory("tmp").directory("var/tmp").directory("proc").directory("dev");
        install_probe(&tree);
        let tree = format!("{tree:?}");
        for root in ["\"empty\"", "\"minimal\"", &tree] {
            let policy = format!("filesystem = {{ root = {root}, tmp = \"none\" }}");
            let sandbox = Sandbox::new(&policy).caller(caller);
            let lines = ["list /", "list /..", "list /../..", "read /proc/self/mountinfo"];
            let outcomes = match root.contains("launcher-e2e") {
                true => {
                    let output = sandbox.without_probe().run([&["/probe"], &lines[..]].concat());
                    output
                        .stdout_text()
                        .lines()
                        .map(|line| Outcome::Ok(line.replacen("ok ", "", 1)))
                        .collect()
                }
                false => sandbox.probes(&lines),
            };
            let [root_list, parent, grandparent, mounts] = &outcomes[..] else {
                panic!("{outcomes:?}")
            };
            assert!(root_list.is_ok(), "{caller}, {root}: {root_list:?}");
            assert_eq!((root_list, root_list), (parent, grandparent), "{caller}, {root}");
            let mounts = mounts.clone().value();
            let on_root = mounts.split("\\n").filter(|mount| mount.split(' ').nth(4) == Some("/"));
            assert_eq!(on_root.count(), 1, "{caller}, {root}: {mounts}");
        }
    }
}

#[test]
fn no_symlink_in_the_view_leads_out_of_it() {
    for caller in Caller::both() {
        let outside = TempDir::with_file("secret", "x");
        let dir = TempDir::new().symlink("out", outside.path()).symlink("up", "../../../../etc");
        let policy = format!("filesystem.read = [{dir:?}]");
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            &format!("open-for-read {dir}/out/secret"),
            &format!("open-for-read {dir}/up/passwd"),
            "open-for-read /../etc/passwd",
            "open-for-read /proc/1/root/etc/passwd",
            "open-for-read /proc/self/root/etc/passwd",
            "open-for-read /proc/self/cwd/../etc/passwd",
        ]);
        for (place, outcome) in outcomes.iter().enumerate() {
            let by_ptrace = place == 3 && *outcome == Outcome::Errno(Errno::ACCESS);
            assert!(
                by_ptrace || *outcome == Outcome::Errno(Errno::NOENT),
                "{caller}: {outcomes:?}"
            );
        }
        let control =
            Sandbox::outside().caller(caller).probe(&format!("open-for-read {dir}/out/secret"));
        assert!(control.is_ok(), "{caller}: {control:?}");
    }
}

#[test]
fn a_source_that_is_gone_is_a_refusal_unless_it_may_be_missing() {
    for caller in Caller::both() {
        // In a child, and in the launcher's own process.
        let in_place = "namespaces.pid = false";
        for (missing, code, more) in
            [("fail", 125, ""), ("skip", 0, ""), ("fail", 125, in_place), ("skip", 0, in_place)]
        {
            let dir = TempDir::with_file("config", "x");
            let entry = format!(
                "filesystem.read = [{{ path = {:?}, missing = {missing:?} }}]\n{more}",
                dir.join("config")
            );
            let sandbox = Sandbox::outside();
            let probe = sandbox.binaries().probe();
            let policy = harness::encode(&harness::with_probe(&entry, &probe));
            fs::remove_file(dir.join("config")).expect("it is removed");
            let output =
                Sandbox::of_bytes(&policy).caller(caller).run([probe.as_os_str(), "pid".as_ref()]);
            assert_eq!(output.code(), code, "{caller}, {missing}, {more}: {output:?}");
            if code != 0 {
                let failure = output.failure();
                assert_eq!(
                    (&failure["stage"], &failure["error"]),
                    (&"mounts".into(), &"ENOENT".into())
                );
                assert_eq!(failure["path"], dir.join("config").to_string_lossy().as_ref());
            }
        }
    }
}

#[test]
fn a_source_of_another_kind_is_a_refusal() {
    for caller in Caller::both() {
        let dir = TempDir::new().directory("data");
        let sandbox = Sandbox::outside();
        let entry = format!("filesystem.read = [{:?}]", dir.join("data"));
        let policy = harness::encode(&harness::with_probe(&entry, &sandbox.binaries().probe()));
        fs::remove_dir(dir.join("data")).expect("it is removed");
        fs::write(dir.join("data"), "a file now").expect("it is written");
        let output = Sandbox::of_bytes(&policy).caller(caller).run(["true"]);
        assert_eq!(
            (output.code(), &output.failure()["error"]),
            (125, &"ENOTDIR".into()),
            "{caller}"
        );
    }
}

#[test]
fn temporary_directories_are_private_writable_and_bounded() {
    let dir = TempDir::new();
    let name = dir.path().file_name().expect("a name").to_string_lossy().into_owned();
    for caller in Caller::both() {
        let policy = "filesystem.tmp_size = \"1M\"";
        let sandbox = Sandbox::new(policy).caller(caller);
        for place in ["/tmp", "/var/tmp", "/dev/shm"] {
            let outcomes = sandbox.probes(&[
                &format!("stat {place}"),
                &format!("mount-flags {place}"),
                &format!("write {place}/mine text"),
                &format!("read {place}/mine"),
                &format!("stat {place}/{name}"),
                &format!("fill {place}/large 2000000"),
            ]);
            let expected = [
                Outcome::Ok("Directory 1777".into()),
                Outcome::Ok("nosuid,nodev,noexec".into()),
                Outcome::Ok(String::new()),
                Outcome::Ok("text".into()),
                Outcome::Errno(Errno::NOENT),
                Outcome::Errno(Errno::NOSPC),
            ];
            assert_eq!(outcomes, expected, "{caller}, {place}");
            assert!(fs::symlink_metadata(format!("{place}/mine")).is_err(), "{caller}");
        }
        let together = sandbox.probes(&["fill /tmp/a 600000", "fill /var/tmp/b 600000"]);
        assert_eq!(together[1], Outcome::Errno(Errno::NOSPC), "{caller}: {together:?}");
    }
}

#[test]
fn the_hosts_temporary_directories_are_shown_where_they_are_wanted() {
    let dir = TempDir::with_file("note", "x");
    if !dir.path().starts_with("/tmp") {
        harness::skip!("host_tmp", "temporary directories are not made in /tmp");
    }
    for caller in Caller::both() {
        let read = format!("read {dir}/note");
        let outcome = |tmp: &str| {
            Sandbox::new(&format!("filesystem.tmp = {tmp:?}")).caller(caller).probe(&read)
        };
        assert_eq!(outcome("host"), Outcome::Ok("x".into()), "{caller}");
        assert_eq!(outcome("none"), Outcome::Errno(Errno::NOENT), "{caller}");
        assert_eq!(outcome("private"), Outcome::Errno(Errno::NOENT), "{caller}");
    }
}

/// A host whose /proc is masked, as a container runtime does it: the kernel then
/// gives nobody below a fresh one.
const MASKED_PROC: [&str; 6] =
    ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs none /proc/fs && exec \"$@\"", "sh"];

#[test]
fn where_no_fresh_proc_is_given_nothing_of_the_hosts_stays_in_view() {
    needs!("unshare");
    for caller in Caller::both() {
        for root in ["", "filesystem.root = \"host\"\n", "filesystem.root = \"minimal\"\n"] {
            let sandbox = Sandbox::new(root).caller(caller).wrap(MASKED_PROC);
            let lines = ["list /proc", "open-for-read /proc/1/status", "create /proc/new"];
            let words = [vec![sandbox.probe_path()], lines.map(str::to_owned).to_vec()].concat();
            let output = sandbox.run(words);
            assert_eq!(output.stdout_text(), "ok \nerrno 2\nerrno 30\n", "{caller}: {output:?}");
            let missing = &output.event("launch").expect("a launch event")["missing"];
            assert_eq!(*missing, serde_json::json!(["proc"]), "{caller}, {root}");
            let require = format!("{root}enforce.namespaces = \"require\"");
            let output = Sandbox::new(&require).caller(caller).wrap(MASKED_PROC).run(["true"]);
            assert_eq!(output.code(), 125, "{caller}: {output:?}");
            assert!(output.stderr_text().contains("masks parts of /proc"), "{output:?}");
            // The control: elsewhere there is one.
            assert!(Sandbox::new(root).caller(caller).probe(lines[1]).is_ok(), "{caller}, {root}");
        }
    }
}

#[test]
fn proc_of_root_is_read_only_as_a_whole_and_that_of_others_where_it_matters() {
    for caller in Caller::both() {
        for policy in ["", "filesystem.root = \"host\"", "process.uid = 0"] {
            let sandbox = Sandbox::new(policy).caller(caller);
            let outcomes = sandbox.probes(&[
                "open-for-write /proc/sys/kernel/core_pattern",
                "open-for-write /proc/sys/kernel/hostname",
                "open-for-write /proc/sys/vm/drop_caches",
                "open-for-write /proc/sysrq-trigger",
                "open-for-write /proc/irq/default_smp_affinity",
                "open-for-write /proc/self/oom_score_adj",
                "open-for-read /proc/self/status",
            ]);
            for outcome in &outcomes[..5] {
                let is_refused = matches!(
                    outcome,
                    Outcome::Errno(Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::NOENT)
                );
                assert!(is_refused, "{caller}, {policy}: {outcomes:?}");
            }
            let own = if caller.is_root() {
                Outcome::Errno(Errno::ROFS)
            } else {
                Outcome::Ok(String::new())
            };
            assert_eq!(outcomes[5], own, "{caller}, {policy}");
            assert!(outcomes[6].is_ok(), "{caller}, {policy}");
        }
        if caller.is_root() {
            let control = Sandbox::outside().probe("open-for-write /proc/sys/kernel/core_pattern");
            assert!(control.is_ok(), "{control:?}");
        }
    }
}

/// The entries of /proc/sys compare user ids, not capabilities, so this must
/// hold by the mount alone.
#[test]
fn no_file_of_proc_sys_opens_for_writing() {
    for caller in Caller::both() {
        let policy = "filesystem.root = \"minimal\"\nenforce = { landlock = \"off\" }\nseccomp.profile = \"unconfined\"";
        let script = "find /proc/sys -type f | while read f; do \
                      (: >>\"$f\") 2>/dev/null && echo \"$f\"; done; true";
        let output = Sandbox::new(policy).caller(caller).run(["sh", "-c", script]);
        assert_eq!(
            (output.code(), output.stdout_text()),
            (0, String::new()),
            "{caller}: {output:?}"
        );
        let count = "find /proc/sys -type f | wc -l";
        let output = Sandbox::new(policy).caller(caller).run(["sh", "-c", count]);
        let count: u32 = output.stdout_text().trim().parse().expect("a number");
        assert!(count > 100, "{caller}: only {count} files in view");
    }
}

#[test]
fn there_is_no_proc_where_none_is_wanted() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new("filesystem.proc = false").caller(caller);
        assert_eq!(sandbox.probe("stat /proc"), Outcome::Errno(Errno::NOENT), "{caller}");
        let sandbox = Sandbox::new("filesystem = { root = \"host\", proc = false }").caller(caller);
        assert_eq!(sandbox.probe("list /proc"), Outcome::Ok(String::new()), "{caller}");
    }
}

#[test]
fn dev_is_minimal() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new("").caller(caller);
        let list = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero";
        let outcomes = sandbox.probes(&[
            "list /dev",
            "write /dev/null x",
            "write /dev/full x",
            "read /dev/null",
            "open-for-read /dev/urandom",
            "open-for-write /dev/ptmx",
            "list /dev/pts",
            "readlink /dev/fd",
        ]);
        let listed = outcomes[0].clone().value();
        assert!(listed == list || listed == list.replace("tty ", ""), "{caller}: {listed}");
        let expected = [
            Outcome::Ok(String::new()),
            Outcome::Errno(Errno::NOSPC),
            Outcome::Ok(String::new()),
            Outcome::Ok(String::new()),
            Outcome::Ok(String::new()),
            Outcome::Ok("ptmx".into()),
            Outcome::Ok("/proc/self/fd".into()),
        ];
        assert_eq!(outcomes[1..], expected, "{caller}");
    }
}

#[test]
fn dev_is_what_the_policy_lists() {
    for caller in Caller::both() {
        let list = |dev: &str| {
            Sandbox::new(&format!("filesystem = {{ dev = {dev}, tmp = \"none\" }}"))
                .caller(caller)
                .probe("list /dev")
        };
        assert_eq!(list("[\"null\", \"zero\"]"), Outcome::Ok("null zero".into()), "{caller}");
        assert_eq!(list("\"none\""), Outcome::Errno(Errno::NOENT), "{caller}");
    }
}

#[test]
fn terminals_of_the_host_are_not_in_the_sandboxes_pts() {
    for caller in Caller::both() {
        let terminal = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR).expect("a terminal");
        let name = rustix::pty::ptsname(&terminal, Vec::new()).expect("a name");
        let name = name.to_string_lossy().into_owned();
        assert!(fs::symlink_metadata(&name).is_ok());
        let outcome = Sandbox::new("").caller(caller).probe(&format!("stat {name}"));
        assert_eq!(outcome, Outcome::Errno(Errno::NOENT), "{caller}");
    }
}

#[test]
fn a_device_file_in_a_listed_directory_does_not_work() {
    if !rustix::process::geteuid().is_root() {
        harness::skip!("device_file", "only root makes one");
    }
    let dir = TempDir::new();
    let null = dir.join("null");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &null,
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from(0o666),
        rustix::fs::makedev(1, 3),
    )
    .expect("a device file is made");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(&null, mode).expect("the mode is set");
    for caller in Caller::both() {
        let open = format!("open-for-read {dir}/null");
        assert!(
            Sandbox::outside().caller(caller).probe(&open).is_ok(),
            "a host whose /tmp is nodev"
        );
        let policy = format!("filesystem.write = [{dir:?}]");
        assert_eq!(
            Sandbox::new(&policy).caller(caller).probe(&open),
            Outcome::Errno(Errno::ACCESS)
        );
    }
}

#[test]
fn a_later_mount_of_the_host_does_not_appear() {
    if !rustix::process::geteuid().is_root() {
        harness::skip!("later_mount", "only root mounts");
    }
    for caller in Caller::both() {
        let dir = TempDir::new().directory("sub");
        // Shared, as the tree of a host under systemd is. The second half
        // mounts when it is told to, and says when it has.
        let script = format!(
            "mount --make-rshared / && mount --bind {dir} {dir} && \
             {{ read line; mount -t tmpfs late {dir}/sub && : >{dir}/sub/late && echo mounted; }} \
             <&8 >&9 & exec \"$@\""
        );
        let (orders, mut order) = std::io::pipe().expect("a pipe is made");
        let (mut answer, answers) = std::io::pipe().expect("a pipe is made");
        let policy = format!("filesystem = {{ root = \"minimal\", read = [{dir:?}] }}");
        let look = ["sh", "-c", "echo ready; read line; ls -A \"$0\"/sub; echo end"];
        let mut running = own_mounts(Sandbox::new(&policy), &script, caller)
            .pass(orders, 8)
            .pass(answers, 9)
            .start(look.into_iter().chain([dir.to_string().as_str()]));
        assert_eq!(running.line(), "ready", "{caller}: {}", running.stderr_text());
        order.write_all(b"go\n").expect("it is told");
        let mut mounted = [0; 8];
        answer.read_exact(&mut mounted).expect("it answers");
        assert_eq!(&mounted, b"mounted\n", "{caller}");
        running.write("look\n");
        assert_eq!(running.line(), "end", "{caller}");
        assert_eq!(running.wait().code(), 0, "{caller}");
    }
}

#[test]
fn what_is_mounted_below_an_entry_is_read_only_too() {
    if !rustix::process::geteuid().is_root() {
        harness::skip!("mount_below", "only root mounts");
    }
    for caller in Caller::both() {
        let dir = TempDir::new().directory("sub");
        let script = format!("mount -t tmpfs -o mode=777 below {dir}/sub && exec \"$@\"");
        let create = format!("create {dir}/sub/new");
        let outcome = |sandbox| own_mounts(sandbox, &script, caller).probe(&create);
        let policy = format!("filesystem.read = [{dir:?}]");
        assert_eq!(outcome(Sandbox::new(&policy)), Outcome::Errno(Errno::ROFS), "{caller}");
        assert_eq!(
            outcome(Sandbox::new("filesystem.root = \"host\"")),
            Outcome::Errno(Errno::NOENT)
        );
        let policy = format!("filesystem.write = [{dir:?}]");
        assert_eq!(outcome(Sandbox::new(&policy)), Outcome::Ok(String::new()), "{caller}");
        assert_eq!(outcome(Sandbox::outside()), Outcome::Ok(String::new()), "{caller}");
    }
}

#[test]
fn a_write_entry_on_what_the_host_holds_read_only_is_a_refusal() {
    if !rustix::process::geteuid().is_root() {
        harness::skip!("read_only_host", "only root mounts");
    }
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x");
        let script =
            format!("mount --bind {dir} {dir} && mount -o remount,bind,ro {dir} && exec \"$@\"");
        let policy = format!("filesystem.write = [{dir:?}]");
        let output = own_mounts(Sandbox::new(&policy), &script, caller).run(["true"]);
        assert_eq!(
            (output.code(), &output.failure()["stage"]),
            (125, &"mounts".into()),
            "{caller}"
        );
        assert!(output.stderr_text().contains("read-only"), "{caller}: {output:?}");
        let policy = format!("filesystem.read = [{dir:?}]");
        let sandbox = own_mounts(Sandbox::new(&policy), &script, caller);
        let read = sandbox.probe(&format!("read {dir}/note"));
        assert_eq!(read, Outcome::Ok("x".into()), "{caller}");
    }
}

#[test]
fn nothing_is_made_on_the_host_for_a_mount_point() {
    for caller in Caller::both() {
        let outer = TempDir::with_file("present", "").directory("sub");
        let inner = TempDir::with_file("note", "x");
        // A mount point inside a listed directory exists there, or not at all.
        let policy = format!(
            "filesystem.read = [{outer:?}, {{ path = {inner:?}, at = {:?} }}]",
            outer.join("sub")
        );
        let read = Sandbox::new(&policy).caller(caller).probe(&format!("read {outer}/sub/note"));
        assert_eq!(read, Outcome::Ok("x".into()), "{caller}");
        assert_eq!(outer.names(), ["present", "sub"], "{caller}");
        assert_eq!(fs::read_dir(outer.join("sub")).expect("it is there").count(), 0, "{caller}");
    }
}

#[test]
fn exact_mounts_are_what_they_say() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "bound");
        let policy = format!(
            r#"
            [[filesystem.mount]]
            type = "bind"
            source = {dir:?}
            target = "/bound"
            [[filesystem.mount]]
            type = "tmpfs"
            target = "/scratch"
            size = "64K"
            mode = 0o700
            [[filesystem.mount]]
            type = "symlink"
            target = "/link"
            content = "bound/note"
            [[filesystem.mount]]
            type = "directory"
            target = "/empty"
            mode = 0o711
            [[filesystem.mount]]
            type = "file"
            target = "/etc/greeting"
            data = "hello"
            mode = 0o644
            [[filesystem.mount]]
            type = "proc"
            target = "/second-proc"
            "#
        );
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            "read /bound/note",
            "open-for-write /bound/note",
            "stat /scratch",
            "size /scratch",
            "create /scratch/new",
            "readlink /link",
            "read /link",
            "stat /empty",
            "create /empty/new",
            "read /etc/greeting",
            "stat /etc/greeting",
            "open-for-write /etc/greeting",
            "open-for-read /second-proc/self/status",
        ]);
        let ok = |text: &str| Outcome::Ok(text.into());
        let read_only = || Outcome::Errno(Errno::ROFS);
        let expected = [
            ok("bound"),
            read_only(),
            ok("Directory 700"),
            ok("65536"),
            ok(""),
            ok("bound/note"),
            ok("bound"),
            ok("Directory 711"),
            read_only(),
            ok("hello"),
            ok("RegularFile 644"),
            read_only(),
            ok(""),
        ];
        assert_eq!(outcomes, expected, "{caller}");
    }
}

#[test]
fn an_overlay_keeps_its_lower_layer() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("lower/note", "below").directory("upper").directory("work");
        let policy = format!(
            "[[filesystem.mount]]\ntype = \"overlay\"\ntarget = \"/data\"\nlower = {:?}\nupper = {:?}\nwork = {:?}",
            dir.join("lower"),
            dir.join("upper"),
            dir.join("work"),
        );
        let sandbox = Sandbox::new(&policy).caller(caller);
        let outcomes =
            sandbox.probes(&["read /data/note", "write /data/new text", "read /data/new"]);
        let expected = ["below", "", "text"].map(|text| Outcome::Ok(text.into()));
        assert_eq!(outcomes, expected, "{caller}");
        assert_eq!(dir.read("upper/new"), "text", "{caller}");
        assert!(!dir.has("lower/new"), "{caller}");
        // The work directory belongs to whoever mounted it.
        let _ = Command::new("rm").arg("-rf").args([dir.join("upper"), dir.join("work")]).status();
    }
}

#[test]
fn a_layer_of_an_overlay_that_became_a_symlink_is_a_refusal() {
    for caller in Caller::both() {
        for layer in ["lower", "upper", "work"] {
            for parent in [false, true] {
                let dir = TempDir::with_file("in/lower/note", "below")
                    .directory("in/upper")
                    .directory("in/work")
                    .file("elsewhere/lower/note", "other")
                    .directory("elsewhere/upper")
                    .directory("elsewhere/work");
                let entry = format!(
                    "[[filesystem.mount]]\ntype = \"overlay\"\ntarget = \"/data\"\nlower = {:?}\nupper = {:?}\nwork = {:?}",
                    dir.join("in/lower"),
                    dir.join("in/upper"),
                    dir.join("in/work"),
                );
                let sandbox = Sandbox::outside();
                let policy =
                    harness::encode(&harness::with_probe(&entry, &sandbox.binaries().probe()));
                let write = || {
                    let sandbox = Sandbox::of_bytes(&policy).caller(caller);
                    sandbox.run([sandbox.probe_path(), "write /data/new text".into()])
                };
                assert_eq!(write().stdout_text(), "ok \n", "{caller}, {layer}");
                fs::remove_file(dir.join("in/upper/new")).expect("it is removed");

                let [swapped, target] = ["in", "elsewhere"]
                    .map(|name| if parent { dir.join(name) } else { dir.join(name).join(layer) });
                fs::rename(&swapped, dir.join("aside")).expect("it is renamed");
                std::os::unix::fs::symlink(&target, &swapped).expect("a symlink is made");
                let output = write();

                assert_eq!((output.code(), output.stdout.len()), (125, 0), "{caller}, {layer}");
                assert_eq!(output.failure()["error"], "ELOOP", "{caller}, {layer}: {output:?}");
                assert!(!dir.has("elsewhere/upper/new"), "{caller}, {layer}");
                // The work directory belongs to whoever mounted it.
                let _ = Command::new("rm")
                    .arg("-rf")
                    .args([dir.join("in"), dir.join("aside")])
                    .status();
            }
        }
    }
}

#[test]
fn a_tree_is_the_root_directory() {
    for caller in Caller::both() {
        let tree = TempDir::with_file("etc/release", "an image")
            .directory("usr")
            .directory("tmp")
            .directory("var/tmp")
            .directory("proc")
            .directory("dev");
        install_probe(&tree);
        // Without the probe's own entry, whose place the image does not have.
        let policy = format!("filesystem.root = {tree:?}");
        let sandbox = Sandbox::new(&policy).without_probe().caller(caller);
        let output = sandbox.run(["/probe", "read /etc/release", "create /new", "exec /probe pid"]);
        assert_eq!(output.stdout_text(), "ok an image\nerrno 30\nok 2\n", "{caller}: {output:?}");
        assert!(!tree.has("new"), "{caller}");
    }
}

/// The launcher hides what it makes under a directory of its own, whatever
/// comes first in the order of names.
#[test]
fn a_file_is_hidden_in_a_tree_even_if_its_name_comes_first() {
    for caller in Caller::both() {
        let tree = TempDir::with_file("a", "secret").directory("dev").directory("proc");
        let tree = tree.directory("run").directory("tmp").directory("var/tmp");
        install_probe(&tree);
        let policy = format!("filesystem = {{ root = {tree:?}, deny = [\"/a\"] }}");
        let lines = ["read /a", "open-for-write /a", "list /run"];
        let read = |policy: &str| {
            let sandbox = Sandbox::new(policy).without_probe().caller(caller);
            sandbox.run([&["/probe"], &lines[..]].concat())
        };
        let output = read(&policy);
        assert_eq!(output.stdout_text(), "errno 13\nerrno 13\nok \n", "{caller}: {output:?}");
        let control = read(&format!("filesystem.root = {tree:?}"));
        assert!(control.stdout_text().starts_with("ok secret\n"), "{caller}: {control:?}");
    }
}

#[test]
fn passwords_are_in_no_preset_that_is_for_programs_alone_not_even_for_root() {
    harness::needs_landlock!(6);
    if !std::path::Path::new("/etc/shadow").is_file() {
        harness::skip!("shadow", "this host keeps its passwords elsewhere");
    }
    let own = "open-for-read /etc/shadow";
    for caller in Caller::both() {
        for (preset, errno) in [("strict", Errno::NOENT), ("shim", Errno::ACCESS)] {
            let policy = policy_encoder::presets::find(preset).expect("it is built in").text;
            let dir = TempDir::new();
            let sandbox = Sandbox::new(policy).caller(caller).cwd(dir.path());
            let outcomes = sandbox.probes(&[own, "open-for-read /etc/passwd"]);
            let expected = [Outcome::Errno(errno), Outcome::Ok(String::new())];
            assert_eq!(outcomes, expected, "{caller}, {preset}");
        }
    }
    if rustix::process::geteuid().is_root() {
        assert!(Sandbox::outside().caller(Caller::Root).probe(own).is_ok());
    }
}

#[test]
fn a_path_socket_is_reached_only_where_it_is_listed() {
    for caller in Caller::both() {
        let dir = TempDir::new();
        let path = dir.join("socket");
        let _listener = UnixListener::bind(&path).expect("it is bound");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(&path, mode).expect("the mode is set");
        let connect = format!("unix-connect {dir}/socket");
        let reached = |policy: &str| Sandbox::new(policy).caller(caller).probe(&connect);
        let control = Sandbox::outside().caller(caller).probe(&connect);
        assert_eq!(control, Outcome::Ok(String::new()), "{caller}");
        assert_eq!(reached(""), Outcome::Errno(Errno::NOENT), "{caller}");
        let listed = format!("network.unix = [{path:?}]");
        assert_eq!(reached(&listed), Outcome::Ok(String::new()), "{caller}");
        let host = format!("network.unix = \"host\"\nfilesystem.read = [{dir:?}]");
        assert_eq!(reached(&host), Outcome::Ok(String::new()), "{caller}");
    }
}

#[test]
fn sockets_inside_work_unless_only_pairs_are_left() {
    for caller in Caller::both() {
        let outcomes = |policy: &str| {
            Sandbox::new(policy).caller(caller).probes(&["unix-inside /tmp/socket", "socketpair"])
        };
        let hello = || Outcome::Ok("hello".into());
        assert_eq!(outcomes(""), [hello(), hello()], "{caller}");
        let closed = Outcome::Errno(Errno::AFNOSUPPORT);
        assert_eq!(outcomes("network.unix = \"none\""), [closed, hello()], "{caller}");
    }
}

#[test]
fn the_working_directory_is_reopened_inside() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x");
        let cwd = |policy: &str| Sandbox::new(policy).caller(caller).cwd(dir.path()).probe("cwd");
        let listed = "filesystem.read = [\".\"]";
        assert_eq!(cwd(listed), Outcome::Ok(dir.to_string()), "{caller}");
        assert_eq!(cwd(""), Outcome::Ok("/".into()), "{caller}");
        assert_eq!(cwd("process.cwd = \"/tmp\""), Outcome::Ok("/tmp".into()), "{caller}");
        // Through the new mounts, not past them.
        let write =
            Sandbox::new(listed).caller(caller).cwd(dir.path()).probe("open-for-write note");
        assert_eq!(write, Outcome::Errno(Errno::ROFS), "{caller}");
    }
}

#[test]
fn a_working_directory_that_is_gone_is_a_refusal() {
    for caller in Caller::both() {
        let dir = TempDir::new().directory("work");
        let sandbox = Sandbox::outside();
        let policy = format!("filesystem.read = [{dir:?}]\nprocess.cwd = {:?}", dir.join("work"));
        let policy = harness::encode(&harness::with_probe(&policy, &sandbox.binaries().probe()));
        let run = || {
            Sandbox::of_bytes(&policy)
                .caller(caller)
                .handover(Handover::File)
                .run([sandbox.probe_path()])
        };
        assert_eq!(run().code(), 0, "{caller}");
        fs::remove_dir(dir.join("work")).expect("it is removed");
        let output = run();
        assert_eq!((output.code(), &output.failure()["call"]), (125, &"chdir".into()), "{caller}");
    }
}

#[test]
fn a_working_directory_that_was_deleted_leads_to_the_root() {
    for caller in Caller::both() {
        let dir = TempDir::new().directory("gone");
        let wrapper = ["sh", "-c", "rmdir ../gone; exec \"$@\"", "sh"];
        let sandbox = Sandbox::new("").caller(caller).cwd(dir.join("gone")).wrap(wrapper);
        assert_eq!(sandbox.probe("cwd"), Outcome::Ok("/".into()), "{caller}");
    }
}

#[test]
fn what_is_written_is_not_run() {
    for caller in Caller::both() {
        let dir = TempDir::new();
        install_probe(&dir);
        let both = format!("filesystem = {{ write = [{dir:?}], execute = [{dir:?}] }}");
        let write = format!("filesystem.write = [{dir:?}]");
        let exec = format!("exec {dir}/probe pid");
        assert_eq!(Sandbox::new(&write).caller(caller).probe(&exec), Outcome::Errno(Errno::ACCESS));
        let sandbox = Sandbox::new(&both).caller(caller);
        let outcomes = sandbox.probes(&[&format!("create {dir}/new"), &exec]);
        assert_eq!(outcomes, [Outcome::Ok(String::new()), Outcome::Ok("2".into())], "{caller}");
        fs::remove_file(dir.join("new")).expect("it was made");
    }
}

#[test]
fn thousands_of_mounts_fit_where_the_launcher_keeps_them() {
    let dir = TempDir::new();
    let number = 5000;
    let mut list = String::new();
    for name in 0..number {
        fs::create_dir(dir.join(name.to_string())).expect("a directory is made");
        list += &format!("'{}',", dir.join(name.to_string()).display());
    }
    let last = format!("list {dir}/{}", number - 1);
    let wrapper = ["prlimit", "--nofile=20000", "--"];
    for tmp in ["private", "none"] {
        let policy = format!("filesystem = {{ read = [{list}], tmp = '{tmp}' }}");
        let outcome = Sandbox::new(&policy).wrap(wrapper).probe(&last);
        assert_eq!(outcome, Outcome::Ok(String::new()), "tmp = {tmp}");
    }
    // With fewer descriptors than sources it is refused, in words.
    let few = ["prlimit", "--nofile=1024", "--"];
    let output = Sandbox::new(&format!("filesystem.read = [{list}]")).wrap(few).run(["true"]);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(output.stderr_text().contains("too many open files"), "{output:?}");
}

/// A launch from a mount namespace of the test's own, where root has run a
/// script before the caller takes over. The script ends in `exec "$@"`.
pub(crate) fn own_mounts(sandbox: Sandbox, script: &str, caller: Caller) -> Sandbox {
    let user = caller.uid().to_string();
    let own = ["unshare", "-m", "sh", "-c", script, "sh", "setpriv", "--reuid", &user];
    let taken = ["--regid", &user, "--clear-groups", "--"];
    sandbox.caller(Caller::Root).wrap(own).wrap(taken)
}

/// Puts the probe and a note into a directory, for every user to run.
fn install_probe(dir: &TempDir) {
    let sandbox = Sandbox::outside();
    let probe = sandbox.binaries().probe();
    let status =
        Command::new("install").args(["-m", "755", "-t"]).args([dir.path(), &probe]).status();
    assert!(status.is_ok_and(|status| status.success()));
    fs::write(dir.join("note"), "kept").expect("a file is written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(dir.join("note"), mode).expect("the mode is set");
}
