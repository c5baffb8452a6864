//! Namespaces: the command has its own, with ids, a host name and a loopback
//! of its own, and cannot leave them.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use harness::{Caller, Errno, Outcome, Sandbox, needs_strace};

use crate::faults::inject;

const KINDS: [(&str, &str); 8] = [
    ("user", "user"),
    ("mount", "mnt"),
    ("pid", "pid"),
    ("net", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

#[test]
fn every_namespace_but_time_is_new() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new("").caller(caller);
        for (kind, name) in KINDS {
            let inside = sandbox.probe(&format!("namespace {name}")).value();
            let outside = Sandbox::outside().caller(caller).probe(&format!("namespace {name}"));
            let is_shared = inside == outside.value();
            assert_eq!(is_shared, kind == "time", "{caller}, {kind}: {inside}");
        }
    }
}

#[test]
fn a_namespace_is_shared_or_new_as_the_policy_says() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        for (kind, name, policy, shared) in [
            ("ipc", "ipc", "namespaces.ipc = false", true),
            ("uts", "uts", "namespaces.uts = false", true),
            ("cgroup", "cgroup", "namespaces.cgroup = false", true),
            ("time", "time_for_children", "namespaces.time = true", false),
            ("net", "net", "network.access = \"host\"", true),
        ] {
            let probe = format!("namespace {name}");
            let inside = Sandbox::new(policy).caller(caller).probe(&probe).value();
            let outside = Sandbox::outside().caller(caller).probe(&probe).value();
            assert_eq!(inside == outside, shared, "{caller}, {kind}");
        }
    }
}

#[test]
fn the_command_is_pid_2_under_a_reaper_and_pid_1_without() {
    for caller in Caller::both() {
        let pids = |policy| Sandbox::new(policy).caller(caller).probes(&["pid", "ppid"]);
        let ok = |pid: &str| Outcome::Ok(pid.into());
        assert_eq!(pids(""), [ok("2"), ok("1")], "{caller}");
        assert_eq!(pids("namespaces.init = \"none\""), [ok("1"), ok("0")], "{caller}");
    }
}

#[test]
fn without_clone3_the_same_namespaces_are_made_by_clone() {
    harness::needs_landlock!(1);
    needs_strace!();
    for caller in Caller::both() {
        for (policy, pid) in
            [("process.uid = 1000", "2"), ("process.uid = 1000\nnamespaces.init = \"none\"", "1")]
        {
            let sandbox = Sandbox::new(policy).caller(caller);
            let sandbox = inject(sandbox, "clone3:error=ENOSYS");
            let probes: Vec<String> =
                KINDS.iter().map(|(_, name)| format!("namespace {name}")).collect();
            let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
            let inside = sandbox.probes(&probes);
            let outside = Sandbox::outside().caller(caller).probes(&probes);
            for ((kind, _), (inside, outside)) in KINDS.iter().zip(inside.iter().zip(&outside)) {
                assert!(inside.is_ok() && outside.is_ok(), "{caller}, {kind}: {inside:?}");
                assert_eq!(inside == outside, *kind == "time", "{caller}, {kind}: {inside:?}");
            }
            let ids = sandbox.probe("ids").value();
            assert!(ids.starts_with("1000 1000 "), "{caller}, {policy}: {ids}");
            assert_eq!(sandbox.probe("pid"), Outcome::Ok(pid.into()), "{caller}, {policy}");
            let output = sandbox.run([sandbox.probe_path(), "exit 7".into()]);
            assert_eq!(output.code(), 7, "{caller}, {policy}: {output:?}");
            let launch = output.event("launch").expect("a launch event");
            assert_eq!(launch["missing"], serde_json::json!([]), "{caller}, {policy}");
        }
    }
}

#[test]
fn a_time_namespace_that_clone_cannot_make_is_a_refusal() {
    needs_strace!();
    for caller in Caller::both() {
        // With and without a way to go on without namespaces.
        let fallback = "filesystem = { tmp = \"none\", proc = false, dev = \"none\" }\n\
                        network.unix = \"host\"\n";
        for more in ["", fallback] {
            let policy = format!("{more}namespaces.time = true");
            let run = |sandbox: Sandbox| sandbox.run([sandbox.probe_path(), "say ran".into()]);
            let output = run(inject(Sandbox::new(&policy).caller(caller), "clone3:error=ENOSYS"));
            assert_eq!((output.code(), output.stdout.len()), (125, 0), "{caller}: {output:?}");
            let failure = output.failure();
            assert_eq!(failure["stage"], "namespaces", "{caller}: {failure}");
            assert_eq!(failure["error"], "ENOSYS", "{caller}: {failure}");
            let control = run(Sandbox::new(&policy).caller(caller));
            assert_eq!(control.stdout_text(), "ok ran\n", "{caller}: {control:?}");
        }
    }
}

#[test]
fn ids_are_the_callers_or_the_ones_that_are_chosen() {
    for caller in Caller::both() {
        let ids = |policy| Sandbox::new(policy).caller(caller).probe("ids").value();
        let own = caller.uid();
        assert_eq!(ids(""), format!("{own} {own} {own} {own}"), "{caller}");
        assert_eq!(ids("process = { uid = 0, gid = 0 }"), "0 0 0 0", "{caller}");
        assert_eq!(ids("process = { uid = 1000, gid = 100 }"), "1000 1000 100 100", "{caller}");
    }
}

#[test]
fn a_file_of_the_caller_belongs_to_the_chosen_id() {
    for caller in Caller::both() {
        let dir = harness::TempDir::new();
        let policy = format!("filesystem.write = [{dir:?}]\nprocess.uid = 1000");
        let made = Sandbox::new(&policy).caller(caller).probe(&format!("create {dir}/new"));
        assert!(made.is_ok(), "{caller}: {made:?}");
        let metadata = std::fs::metadata(dir.join("new")).expect("it is there");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&metadata), caller.uid(), "{caller}");
    }
}

#[test]
fn id_ranges_are_for_the_privileged() {
    let policy = r#"
        process = { uid = 5, gid = 6 }
        [namespaces]
        uid_map = [{ inside = 0, outside = 100000, count = 1000 }]
        gid_map = [{ inside = 0, outside = 200000, count = 1000 }]
        "#;
    for caller in Caller::both() {
        if caller.is_root() {
            let outcomes = Sandbox::new(policy).caller(caller).probes(&["ids", "groups"]);
            let expected = ["5 5 6 6", ""].map(|text| Outcome::Ok(text.into()));
            assert_eq!(outcomes, expected, "{caller}");
        } else {
            let output = Sandbox::new(policy).caller(caller).run(["true"]);
            assert_eq!(output.code(), 125, "{caller}: {output:?}");
            assert_eq!(output.failure()["stage"], "namespaces", "{caller}");
            assert!(output.stderr_text().contains("privileged launcher"), "{caller}: {output:?}");
        }
    }
}

#[test]
fn the_host_name_is_the_sandboxes_own() {
    for caller in Caller::both() {
        let outside = || Sandbox::outside().caller(caller).probe("hostname").value();
        let before = outside();
        let policy = "process.hostname = \"box\"\nseccomp.profile = \"unconfined\"";
        let outcomes =
            Sandbox::new(policy).caller(caller).probes(&["hostname", "sethostname mine"]);
        let expected = [Outcome::Ok("box".into()), Outcome::Errno(Errno::PERM)];
        assert_eq!(outcomes, expected, "{caller}");
        assert_eq!(outside(), before, "{caller}");
    }
}

#[test]
fn without_network_no_socket_of_the_host_is_reached() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port is bound");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port is bound");
    let tcp = format!("connect-tcp 127.0.0.1 {}", tcp.local_addr().expect("an address").port());
    let to = udp.local_addr().expect("an address").port();
    let send = format!("send-udp 127.0.0.1 {to}");
    for caller in Caller::both() {
        let probes = [tcp.as_str(), send.as_str(), "bind-tcp 127.0.0.1 0"];
        for outcome in Sandbox::outside().caller(caller).probes(&probes) {
            assert!(outcome.is_ok(), "{caller}: {outcome:?}");
        }
        // The filter closes the families, so that no code of theirs is reached.
        for outcome in Sandbox::new("").caller(caller).probes(&probes) {
            assert_eq!(outcome, Outcome::Errno(Errno::AFNOSUPPORT), "{caller}");
        }
        // The namespace alone: it has no address and no way out.
        let bare = "enforce = { seccomp = \"off\", landlock = \"off\" }";
        let outcomes = Sandbox::new(bare).caller(caller).probes(&probes);
        for outcome in &outcomes[..2] {
            assert_eq!(*outcome, Outcome::Errno(Errno::NETUNREACH), "{caller}");
        }
    }
}

#[test]
fn a_loopback_is_private() {
    let host = TcpListener::bind("127.0.0.1:0").expect("a port is bound");
    let port = host.local_addr().expect("an address").port();
    let connect = format!("connect-tcp 127.0.0.1 {port}");
    let bind = format!("bind-tcp 127.0.0.1 {port}");
    for caller in Caller::both() {
        let sandbox = Sandbox::new("network.access = \"loopback\"").caller(caller);
        let outcomes = sandbox.probes(&["tcp-inside", &connect, &bind]);
        assert_eq!(
            outcomes,
            [
                Outcome::Ok("hello".into()),
                Outcome::Errno(Errno::CONNREFUSED),
                // The host's port is free here.
                Outcome::Ok(port.to_string()),
            ],
            "{caller}"
        );
        let control = Sandbox::outside().caller(caller).probes(&[&connect, &bind]);
        assert_eq!(control[0], Outcome::Ok(String::new()), "{caller}");
        assert_eq!(control[1], Outcome::Errno(Errno::ADDRINUSE), "{caller}");
        assert_eq!(sandbox.probe("interfaces").value().split(' ').next(), Some("lo"), "{caller}");
    }
}

#[test]
fn the_hosts_network_is_there_when_it_is_given() {
    harness::needs_landlock!(6);
    let host = TcpListener::bind("127.0.0.1:0").expect("a port is bound");
    let connect =
        format!("connect-tcp 127.0.0.1 {}", host.local_addr().expect("an address").port());
    for caller in Caller::both() {
        let outcome = Sandbox::new("network.access = \"host\"").caller(caller).probe(&connect);
        assert_eq!(outcome, Outcome::Ok(String::new()), "{caller}");
    }
}

#[test]
fn abstract_sockets_of_the_host_are_out_of_reach() {
    harness::needs_landlock!(6);
    let name = format!("launcher-e2e-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("it is bound");
    let probe = format!("unix-abstract-connect {name}");
    for caller in Caller::both() {
        let reached = |policy: &str| Sandbox::new(policy).caller(caller).probe(&probe);
        let control = Sandbox::outside().caller(caller).probe(&probe);
        assert_eq!(control, Outcome::Ok(String::new()), "{caller}");
        for policy in ["", "network.access = \"loopback\""] {
            assert_eq!(reached(policy), Outcome::Errno(Errno::CONNREFUSED), "{caller}");
        }
        // In the host's network the scope of Landlock is what closes them.
        let host = "network.access = \"host\"";
        assert_eq!(reached(host), Outcome::Errno(Errno::PERM), "{caller}");
        let open = "network = { access = \"host\", unix = \"host\" }";
        assert_eq!(reached(open), Outcome::Ok(String::new()), "{caller}");
    }
}

#[test]
fn no_namespace_is_made_or_joined_inside() {
    const FLAGS: [u64; 8] = [
        0x1000_0000,
        0x0002_0000,
        0x2000_0000,
        0x4000_0000,
        0x0800_0000,
        0x0400_0000,
        0x0200_0000,
        0x80,
    ];
    for caller in Caller::both() {
        let mut probes: Vec<String> =
            FLAGS.iter().map(|flag| format!("unshare 0x{flag:x}")).collect();
        probes.push("setns /proc/self/ns/net".into());
        probes.push("setns /proc/1/ns/net".into());
        let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
        for (probe, outcome) in probes.iter().zip(Sandbox::new("").caller(caller).probes(&probes)) {
            let expected = if probe.contains("/1/") { Errno::ACCESS } else { Errno::PERM };
            assert_eq!(outcome, Outcome::Errno(expected), "{caller}, {probe}");
        }
        let control = Sandbox::outside().caller(caller).probe("unshare 0x10000000");
        assert!(control.is_ok(), "{caller}: {control:?}");
    }
}

#[test]
fn pid_1_is_not_traced_read_or_signaled() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        // The filter alone would hide what the kernel itself answers.
        let policies = ["", "seccomp.profile = \"unconfined\"", "enforce.landlock = \"off\""];
        for policy in policies {
            let sandbox = Sandbox::new(policy).caller(caller);
            let outcomes = sandbox.probes(&[
                "ptrace 1",
                "read-mem 1",
                "open-for-read /proc/1/mem",
                "open-for-read /proc/1/environ",
                "readlink /proc/1/exe",
            ]);
            for outcome in outcomes {
                assert!(
                    matches!(outcome, Outcome::Errno(Errno::PERM | Errno::ACCESS)),
                    "{caller}, {policy}: {outcome:?}"
                );
            }
        }
        // Root may ask which numbers are open, and not what they are.
        let sandbox = Sandbox::new("").caller(caller);
        let lines: Vec<String> = (3..16).map(|fd| format!("readlink /proc/1/fd/{fd}")).collect();
        let outcomes = sandbox.probes(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(outcomes.contains(&Outcome::Errno(Errno::ACCESS)), "{caller}: {outcomes:?}");
        assert!(outcomes.iter().all(Outcome::is_errno), "{caller}: {outcomes:?}");
        assert_eq!(sandbox.probe("kill 1 0"), Outcome::Errno(Errno::PERM), "{caller}");
        // Without Landlock the kernel drops what PID 1 does not handle.
        let sandbox = Sandbox::new("enforce.landlock = \"off\"").caller(caller);
        let outcomes = sandbox.probes(&["kill 1 9", "kill 1 15", "pid"]);
        assert_eq!(outcomes.last(), Some(&Outcome::Ok("2".into())), "{caller}: {outcomes:?}");

        let mut other = Sandbox::outside().caller(caller);
        other = other.wrap(["sh", "-c", "\"$@\"; exit", "sh"]);
        let outcomes = other.probes(&["ptrace parent", "read-mem parent", "kill parent 0"]);
        assert!(outcomes.iter().all(Outcome::is_ok), "{caller}: {outcomes:?}");
    }
}

#[test]
fn a_waiter_in_view_is_not_traced_read_or_signaled() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        // Without a PID namespace the waiter is an ordinary process to the
        // command; the wall time makes one necessary.
        let policy = "namespaces.pid = false\nlimits.wall_time = \"15s\"\nfilesystem.proc = false";
        let probes = ["ptrace parent", "read-mem parent", "kill parent 0"];
        for more in ["", "seccomp.profile = \"unconfined\""] {
            let policy = format!("{policy}\n{more}");
            let outcomes = Sandbox::new(&policy).caller(caller).probes(&probes);
            for outcome in outcomes {
                assert_eq!(outcome, Outcome::Errno(Errno::PERM), "{caller}, {policy}");
            }
        }
    }
}

#[test]
fn processes_of_the_host_are_neither_seen_nor_signaled() {
    harness::needs_landlock!(6);
    let own = std::process::id();
    for caller in Caller::both() {
        let mut other = Sandbox::outside().caller(caller).start(["sleep", "60"]);
        let kill = format!("kill {} 0", other.pid());
        let control = Sandbox::outside().caller(caller).probe(&kill);
        assert_eq!(control, Outcome::Ok("0".into()), "{caller}");
        let sandbox = Sandbox::new("").caller(caller);
        assert_eq!(sandbox.probe(&kill), Outcome::Errno(Errno::SRCH), "{caller}");
        let list = sandbox.probe("list /proc").value();
        let pids: Vec<u32> = list.split(' ').filter_map(|name| name.parse().ok()).collect();
        assert_eq!(pids, [1, 2], "{caller}: not {own}");
        // In the host's PID namespace the scope of Landlock is what holds.
        let shared = Sandbox::new("namespaces.pid = false\nfilesystem.proc = false").caller(caller);
        assert_eq!(shared.probe(&kill), Outcome::Errno(Errno::PERM), "{caller}");
        other.close_input();
    }
}
