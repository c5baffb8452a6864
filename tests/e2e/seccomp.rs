//! Seccomp: what the filter is for, through the kernel. Every call of it is
//! made in `calls`, what gets around others in `around`; every rule is tested
//! by simulation in the encoder.

mod around;
mod calls;

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use harness::{Caller, Errno, IN_PLACE, Outcome, Sandbox, TempDir};

#[test]
fn the_default_profile_closes_what_a_command_has_no_business_with() {
    // With arguments that do nothing where the call is allowed.
    let calls = [
        "ptrace 99",
        "process_vm_readv",
        "keyctl 99",
        "add_key",
        "bpf 99",
        "perf_event_open",
        "userfaultfd 0x80000000",
        "kexec_load",
        "init_module",
        "finit_module -1",
        "open_by_handle_at -1",
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "open_tree -1",
        "fsopen",
        "move_mount",
        "mount_setattr",
        "setns -1",
        "unshare 0x10000000",
        "sethostname",
        "syslog 99",
        "reboot",
        "swapon",
        "quotactl",
        "acct",
        "settimeofday",
        "pidfd_getfd -1",
        "kcmp",
        "io_uring_setup",
        "io_uring_enter -1",
        "personality 0x0040000",
    ];
    let lines = calls.map(|call| format!("syscall {call}"));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for caller in Caller::both() {
        let outcomes = Sandbox::new("seccomp.errno = \"EDOM\"").caller(caller).probes(&lines);
        for (line, outcome) in lines.iter().zip(outcomes) {
            assert_eq!(outcome, Outcome::Errno(Errno::DOM), "{caller}, {line}");
        }
        // Whatever the kernel says of them, it is not the filter's word.
        let open = "seccomp.profile = \"unconfined\"\nseccomp.errno = \"EDOM\"";
        let outcomes = Sandbox::new(open).caller(caller).probes(&lines);
        for (line, outcome) in lines.iter().zip(outcomes) {
            let is_ring = line.contains("io_uring");
            assert_eq!(outcome == Outcome::Errno(Errno::DOM), is_ring, "{caller}, {line}");
        }
    }
}

#[test]
fn clone3_is_not_there_so_that_libc_falls_back() {
    for caller in Caller::both() {
        for errno in ["EPERM", "EDOM"] {
            let policy = format!("seccomp.errno = {errno:?}");
            let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
                "syscall clone3 0 0",
                "fork",
                "threads 3",
            ]);
            let expected =
                [Outcome::Errno(Errno::NOSYS), Outcome::Ok("1".into()), Outcome::Ok("3".into())];
            assert_eq!(outcomes, expected, "{caller}");
        }
        let control = Sandbox::outside().caller(caller).probe("syscall clone3 0 0");
        assert_eq!(control, Outcome::Errno(Errno::INVAL), "{caller}");
    }
}

#[test]
fn clone_makes_no_namespace() {
    // CLONE_NEWUSER without CLONE_VM; where it is allowed, an invalid
    // combination with CLONE_FS ends it.
    let clone = "syscall clone 0x10000200";
    for caller in Caller::both() {
        let outcome = Sandbox::new("seccomp.errno = \"EDOM\"").caller(caller).probe(clone);
        assert_eq!(outcome, Outcome::Errno(Errno::DOM), "{caller}");
        let control = Sandbox::outside().caller(caller).probe(clone);
        assert_eq!(control, Outcome::Errno(Errno::INVAL), "{caller}");
    }
}

#[test]
fn a_policy_denies_and_allows_calls_by_name() {
    for caller in Caller::both() {
        let deny = "seccomp = { deny = [\"getcwd\", \"getpid\"], errno = \"EDOM\" }";
        let outcomes = Sandbox::new(deny).caller(caller).probes(&[
            "syscall getcwd",
            "syscall getpid",
            "syscall getppid",
        ]);
        let closed = || Outcome::Errno(Errno::DOM);
        assert_eq!(outcomes, [closed(), closed(), Outcome::Ok("1".into())], "{caller}");

        let allow = "seccomp = { allow = [\"keyctl\"], errno = \"EDOM\" }";
        let outcomes =
            Sandbox::new(allow).caller(caller).probes(&["syscall keyctl 99", "syscall add_key"]);
        assert_ne!(outcomes[0], Outcome::Errno(Errno::DOM), "{caller}");
        assert_eq!(outcomes[1], Outcome::Errno(Errno::DOM), "{caller}");
    }
}

#[test]
fn without_a_filter_none_is_installed() {
    for caller in Caller::both() {
        let caps = |policy: &str| {
            let caps = Sandbox::new(policy).caller(caller).probe("caps").value();
            caps.rsplit(' ').next().map(str::to_owned)
        };
        assert_eq!(caps(""), Some("2".into()), "{caller}");
        assert_eq!(caps("enforce.seccomp = \"off\""), Some("0".into()), "{caller}");
    }
}

#[test]
fn text_is_not_put_into_a_terminal() {
    // Of the request the kernel looks at 32 bits; so must the filter.
    for caller in Caller::both() {
        for request in ["0x5412", "0x541c", "0x100005412", "0xffffffff0000541c"] {
            let line = format!("tiocsti {request}");
            for policy in ["", "seccomp.profile = \"unconfined\""] {
                let outcome = Sandbox::new(policy).caller(caller).probe(&line);
                assert_eq!(outcome, Outcome::Errno(Errno::PERM), "{caller}, {policy}, {request}");
            }
            // A pipe takes no such request.
            let control = Sandbox::outside().caller(caller).wrap(["setsid", "-w"]).probe(&line);
            assert_eq!(control, Outcome::Errno(Errno::NOTTY), "{caller}, {request}");
        }
        // A neighbour of theirs: TIOCGWINSZ on a pipe.
        let other = Sandbox::new("").caller(caller).probe("tiocsti 0x5413");
        assert_eq!(other, Outcome::Errno(Errno::NOTTY), "{caller}");
    }
}

#[test]
fn sockets_of_other_families_are_closed_in_the_hosts_network() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let policy = "network.access = \"host\"";
        let outcomes = Sandbox::new(policy).caller(caller).probes(&[
            "socket inet stream",
            "socket inet6 dgram",
            "socket unix stream",
            "socket inet raw icmp",
            "socket packet raw",
            "socket vsock stream",
            "socket alg seqpacket",
            "socket netlink raw 0",
            "socket netlink raw 9",
        ]);
        let (ok, errno) = (|| Outcome::Ok(String::new()), Outcome::Errno);
        let expected = [
            ok(),
            ok(),
            ok(),
            errno(Errno::PERM),
            errno(Errno::AFNOSUPPORT),
            errno(Errno::AFNOSUPPORT),
            errno(Errno::AFNOSUPPORT),
            ok(),
            errno(Errno::AFNOSUPPORT),
        ];
        assert_eq!(outcomes, expected, "{caller}");
    }
}

#[test]
fn a_filter_holds_for_everything_that_the_command_starts() {
    for caller in Caller::both() {
        let sandbox =
            Sandbox::new("seccomp = { deny = [\"getcwd\"], errno = \"EDOM\" }").caller(caller);
        let line = ["exec", &sandbox.probe_path(), "syscall getcwd"].join("\u{1f}");
        assert_eq!(sandbox.probe(&line), Outcome::Errno(Errno::DOM), "{caller}");
    }
}

#[test]
fn processes_outside_keep_their_limits_and_priorities_without_namespaces() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let other = Sandbox::outside().caller(caller).start(["sleep", "60"]);
        let pid = other.pid();
        let lines = [
            format!("set-rlimit-of {pid} nofile 64 64"),
            format!("syscall setpriority 0 {pid} 1"),
            format!("syscall setpriority 1 {pid} 1"),
            // Of the whole user: upwards, which would be EACCES without harm.
            "syscall setpriority 2 0 -20".into(),
            format!("set-affinity-of {pid}"),
            format!("set-policy-of {pid}"),
            // IOPRIO_CLASS_IDLE.
            format!("syscall ioprio_set 1 {pid} 0x6000"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let outside = |line: &str| Sandbox::outside().caller(caller).probe(line);
        let limits = || outside(&format!("rlimit-of {pid} nofile"));
        let before = limits();
        for (line, outcome) in
            lines.iter().zip(Sandbox::new(IN_PLACE).caller(caller).probes(&lines))
        {
            assert_eq!(outcome, Outcome::Errno(Errno::PERM), "{caller}, {line}");
        }
        assert_eq!(limits(), before, "{caller}");
        // The command's own are its own.
        let own =
            ["set-rlimit-of 0 nofile 64 64", "syscall setpriority 0 0 1", "set-affinity-of 0"];
        let outcomes = Sandbox::new(IN_PLACE).caller(caller).probes(&own);
        assert!(outcomes.iter().all(Outcome::is_ok), "{caller}: {outcomes:?}");
        for line in lines.iter().filter(|line| !line.starts_with("syscall setpriority 2")) {
            let control = outside(line);
            // A process is a group's leader or it is not.
            let none = line.contains("setpriority 1") && control == Outcome::Errno(Errno::SRCH);
            assert!(control.is_ok() || none, "{caller}, {line}: {control:?}");
        }
        assert_ne!(limits(), before, "{caller}");
    }
}

/// Ways to change what is known of a file, by its owner.
const METADATA: [&str; 5] =
    ["chmod F 600", "chown F", "set-times F", "set-xattr F", "remove-xattr F"];

#[test]
fn what_is_known_of_a_file_is_kept_without_namespaces() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x").file("listed", "y");
        let lines = |name: &str| {
            let path = dir.join(name).display().to_string();
            std::os::unix::fs::chown(&path, Some(caller.uid()), Some(caller.uid()))
                .expect("it is given away");
            METADATA.map(|line| line.replace('F', &path))
        };
        let all = |sandbox: Sandbox, lines: &[String]| {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            sandbox.caller(caller).probes(&lines)
        };
        let note = lines("note");
        let before = std::fs::metadata(dir.join("note")).expect("it is there");
        // A file outside of the policy, and one that may be written.
        let listed = format!("filesystem.write = [{:?}]{IN_PLACE}", dir.join("listed"));
        for outcome in all(Sandbox::new(IN_PLACE), &note) {
            assert_eq!(outcome, Outcome::Errno(Errno::PERM), "{caller}");
        }
        for outcome in all(Sandbox::new(&listed), &lines("listed")) {
            assert_eq!(outcome, Outcome::Errno(Errno::PERM), "{caller}");
        }
        let after = std::fs::metadata(dir.join("note")).expect("it is there");
        assert_eq!(
            (before.mode(), before.mtime(), before.ctime_nsec()),
            (after.mode(), after.mtime(), after.ctime_nsec()),
            "{caller}"
        );

        // The one that the probe calls is opened by its name, and it alone.
        let allow = format!("{IN_PLACE}\nseccomp.allow = [\"fchmodat\"]");
        let outcomes = all(Sandbox::new(&allow), &note);
        assert!(outcomes[0].is_ok(), "{caller}: {outcomes:?}");
        for outcome in &outcomes[1..] {
            assert_eq!(*outcome, Outcome::Errno(Errno::PERM), "{caller}");
        }
        // Mounts show nothing but what is listed, so that nothing is closed.
        let mounted = format!("filesystem.write = [{:?}]", dir.join("listed"));
        for control in
            [all(Sandbox::outside(), &note), all(Sandbox::new(&mounted), &lines("listed"))]
        {
            assert!(control.iter().all(Outcome::is_ok), "{caller}: {control:?}");
        }
    }
}

#[test]
fn ipc_with_the_host_is_closed_without_namespaces() {
    harness::needs_landlock!(6);
    let name = format!("launcher-e2e-{}", std::process::id());
    let queue = format!("message-queue {name}");
    let lines = ["shared-memory", "semaphores", "messages", queue.as_str()];
    for caller in Caller::both() {
        let all = |sandbox: Sandbox| sandbox.caller(caller).probes(&lines);
        for (line, outcome) in lines.iter().zip(all(Sandbox::new(IN_PLACE))) {
            assert_eq!(outcome, Outcome::Errno(Errno::PERM), "{caller}, {line}");
        }
        // Of a queue Landlock says that its file lies in nothing that is listed.
        let private = "enforce.landlock = \"off\"";
        let shared = format!("{private}\nnamespaces.ipc = false");
        for control in [Sandbox::outside(), Sandbox::new(private), Sandbox::new(&shared)] {
            let control = all(control);
            assert!(control.iter().all(Outcome::is_ok), "{caller}: {control:?}");
        }
    }
}

#[test]
fn a_launcher_works_inside_a_sandbox() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        // The inner one has no namespaces to make, and says so.
        let outer = Sandbox::new("").caller(caller);
        let launcher = outer.binaries().launcher();
        let directory = launcher.parent().expect("a directory").to_owned();
        let inner = harness::encode(&format!(
            "filesystem = {{ execute = [{directory:?}], tmp = \"none\", proc = false, dev = \"none\" }}\n\
             network.unix = \"host\"\nenforce.namespaces = \"off\""
        ));
        let policy = format!("filesystem.execute = [{directory:?}]\nprocess.keep_fds = [7]");
        let file = File::from(harness::memory(&inner, harness::SEALS));
        let sandbox = Sandbox::new(&policy).caller(caller).pass(file, 7);
        let output = sandbox.run([
            launcher.to_string_lossy().as_ref(),
            "--sealed",
            "--fd=7",
            "--",
            &sandbox.probe_path(),
            "say hello",
        ]);
        assert_eq!(output.stdout_text(), "ok hello\n", "{caller}: {output:?}");
    }
}
