//! What a policy function changes for the calls that follow.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;

use harness::{Caller, Errno, IN_PLACE, Output, Sandbox, TempDir};
use launcher_supervisor::{Hosts, Limits, PolicyContext, Supervisor, SyscallEvent, Verdict};

use super::{errno, supervised};

/// Asks about files and hosts.
const ASKS: &str = r#"
    network.access = "host"

    [[seccomp.rule]]
    call = ["open", "openat", "creat", "connect"]
    action = "notify"
"#;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A directory whose files `NAME` have the policy function do something.
fn marks(names: &[&str]) -> TempDir {
    names.iter().fold(TempDir::new(), |dir, name| dir.file(name, ""))
}

fn is_mark(event: &SyscallEvent, name: &str) -> bool {
    event.path.ends_with(name)
}

/// Runs probes with namespaces and without, as root and not.
fn each(
    filesystem: &str,
    probes: &[&str],
    supervisor: impl Fn(Supervisor) -> Supervisor,
    check: impl Fn(Output),
) {
    for caller in Caller::both() {
        for place in ["", IN_PLACE] {
            let policy = format!("{filesystem}{place}{ASKS}");
            let sandbox = Sandbox::new(&policy).caller(caller);
            check(supervised(sandbox, probes, |listener| supervisor(Supervisor::new(listener))));
        }
    }
}

fn server() -> (TcpListener, String) {
    let server = TcpListener::bind((LOCAL, 0)).expect("it listens");
    let port = server.local_addr().expect("it has one").port();
    (server, format!("connect-tcp 127.0.0.1 {port}"))
}

#[test]
fn a_network_that_was_restricted_is_closed_whatever_the_verdict_is() {
    let (_server, connect) = server();
    let dir = marks(&["close", "open"]);
    let probes =
        [&*connect, &format!("read {dir}/close"), &connect, &format!("read {dir}/open"), &connect];
    let decides = |event: &SyscallEvent, context: &mut PolicyContext| {
        if is_mark(event, "close") {
            context.restrict_network(&[]);
        }
        if is_mark(event, "open") {
            context.grant_network(&[LOCAL]).expect_err("it was restricted");
        }
        assert_eq!(event.denied, event.is_connect() && context.current().network != Hosts::All);
        Verdict::Allow
    };
    let no = errno(Errno::ACCESS);
    each(
        &format!("filesystem.read = [{dir:?}]"),
        &probes,
        |supervisor| supervisor.policy_fn(decides),
        |output| output.assert_said(&["ok ", "ok ", &no, "ok ", &no]),
    );
}

#[test]
fn a_network_that_is_granted_opens_as_far_as_the_ceiling() {
    let (_server, connect) = server();
    let dir = marks(&["open"]);
    let probes = [&*connect, &format!("read {dir}/open"), &connect];
    let decides = |event: &SyscallEvent, context: &mut PolicyContext| {
        if is_mark(event, "open") {
            let other = "192.0.2.1".parse().expect("an address");
            assert_eq!(context.grant_network(&[other, LOCAL]), Ok(vec![LOCAL]));
        }
        Verdict::Allow
    };
    let limits = |hosts| Limits { network: Hosts::only(hosts), ..Limits::default() };
    let no = errno(Errno::ACCESS);
    each(
        &format!("filesystem.read = [{dir:?}]"),
        &probes,
        |supervisor| supervisor.policy_fn(decides).ceiling(limits(&[LOCAL])).limits(limits(&[])),
        |output| output.assert_said(&[&no, "ok ", "ok "]),
    );
}

#[test]
fn what_is_said_about_a_process_holds_for_those_that_descend_from_it() {
    let (_server, connect) = server();
    let dir = marks(&["close", "clear"]);
    let (close, clear) = (format!("read {dir}/close"), format!("read {dir}/clear"));
    let probes = [
        &*format!("in-child {connect} + {close} + {connect} + in-child {connect}"),
        &connect,
        &format!("in-child {close} + {connect} + {clear} + {connect}"),
        &format!("in-child {close} + in-orphan {connect}"),
        &connect,
        // Nobody knows whose it was.
        &format!("in-orphan {connect}"),
    ];
    let decides = |event: &SyscallEvent, context: &mut PolicyContext| {
        if is_mark(event, "close") {
            context.restrict_pid_network(event.pid, &[]);
        }
        if is_mark(event, "clear") {
            context.clear_pid_override(event.pid);
        }
        Verdict::Allow
    };
    let no = errno(Errno::ACCESS);
    each(
        &format!("filesystem.read = [{dir:?}]"),
        &probes,
        |supervisor| supervisor.policy_fn(decides),
        |output| {
            output.assert_said(&[
                &*format!("ok ok , ok , {no}, ok {no}"),
                "ok ",
                &format!("ok ok , {no}, ok , ok"),
                &format!("ok ok , ok {no}"),
                "ok ",
                &format!("ok {no}"),
            ]);
        },
    );
}

#[test]
fn a_path_that_is_denied_is_not_opened_by_other_names_or_moved_away() {
    let dir = || {
        let dir = marks(&["deny", "allow"]).directory("private/deep").directory("private/open");
        let dir = dir.file("private/deep/secret", "s").file("private/moved", "m");
        dir.file("private/open/note", "n").file("beside", "b").symlink("link", "private/deep")
    };
    for caller in Caller::both() {
        for place in ["", IN_PLACE] {
            let dir = dir();
            let probes = [
                &*format!("read {dir}/private/deep/secret"),
                &format!("read {dir}/deny"),
                &format!("read {dir}/private/deep/secret"),
                &format!("read {dir}/link/secret"),
                &format!("create {dir}/private/deep/new"),
                &format!("link {dir}/private/deep/secret {dir}/linked"),
                &format!("read {dir}/linked"),
                &format!("rename {dir}/private/moved {dir}/moved"),
                &format!("read {dir}/moved"),
                &format!("read {dir}/private/open/note"),
                &format!("read {dir}/allow"),
                &format!("read {dir}/private/open/note"),
                &format!("rename {dir}/private {dir}/public"),
                &format!("read {dir}/public/deep/secret"),
                &format!("list {dir}/public"),
                &format!("create {dir}/public/deep/new"),
                &format!("read {dir}/beside"),
            ];
            let top = dir.path().to_owned();
            let decides = move |event: &SyscallEvent, context: &mut PolicyContext| {
                if is_mark(event, "deny") {
                    context.deny_path(top.join("private"));
                }
                if is_mark(event, "allow") {
                    context.allow_path(top.join("private/open"));
                }
                Verdict::Allow
            };
            let policy = format!("filesystem.write = [{dir:?}]{place}{ASKS}");
            let sandbox = Sandbox::new(&policy).caller(caller);
            let output = supervised(sandbox, &probes, |listener| {
                Supervisor::new(listener).policy_fn(decides)
            });
            let no = &*errno(Errno::ACCESS);
            let before = ["ok s", "ok ", no, no, no];
            let names = ["ok ", no, "ok ", no, no, "ok ", "ok n"];
            let moved = ["ok ", no, no, no, "ok b"];
            output.assert_said(&[&before[..], &names, &moved].concat());
            assert!(!Path::new(dir.path()).join("public/deep/new").exists(), "{caller}");
        }
    }
}

#[test]
fn what_is_in_no_directory_is_in_none_that_is_denied() {
    let dir = marks(&["deny"]);
    let probes = [&*format!("read {dir}/deny"), "open-for-read /proc/self/fd/1"];
    let top = dir.path().to_owned();
    let decides = move |event: &SyscallEvent, context: &mut PolicyContext| {
        if is_mark(event, "deny") {
            context.deny_path(top.join("private"));
        }
        Verdict::Allow
    };
    // For others than root the pipe that the probe writes to has another owner.
    let sandbox = Sandbox::new(&format!("filesystem.read = [{dir:?}]{ASKS}"));
    let output =
        supervised(sandbox, &probes, |listener| Supervisor::new(listener).policy_fn(decides));
    output.assert_said(&["ok ", "ok "]);
}

#[test]
fn limits_are_lowered_while_the_command_runs() {
    let dir = marks(&["lower", "raise"]);
    let probes = [
        &*format!("read {dir}/lower"),
        "rlimit data",
        "rlimit nproc",
        &format!("read {dir}/raise"),
        "rlimit data",
        "in-child rlimit data",
    ];
    let decides = |event: &SyscallEvent, context: &mut PolicyContext| {
        if is_mark(event, "lower") {
            context.restrict_max_memory(1 << 30);
            assert_eq!(context.grant_max_processes(1000), Ok(1000));
        }
        if is_mark(event, "raise") {
            context.grant_max_memory(2 << 30).expect_err("it was restricted");
        }
        Verdict::Allow
    };
    let memory = format!("ok {0} {0}", 1 << 30);
    each(
        &format!("filesystem.read = [{dir:?}]"),
        &probes,
        |supervisor| supervisor.policy_fn(decides),
        |output| {
            let child = format!("ok {memory}");
            output.assert_said(&["ok ", &memory, "ok 1000 1000", "ok ", &memory, &child]);
        },
    );
}

#[test]
fn limits_hold_for_those_above_whoever_is_left_behind() {
    let dir = marks(&["note", "lower"]);
    let lower = format!("in-orphan read {dir}/lower");
    let probes = [&*format!("read {dir}/note"), &lower, "rlimit data"];
    let decides = |event: &SyscallEvent, context: &mut PolicyContext| {
        if is_mark(event, "lower") {
            context.restrict_max_memory(1 << 30);
        }
        Verdict::Allow
    };
    each(
        &format!("filesystem.read = [{dir:?}]"),
        &probes,
        |supervisor| supervisor.policy_fn(decides),
        |output| output.assert_said(&["ok ", "ok ok", &format!("ok {0} {0}", 1 << 30)]),
    );
}

#[test]
fn a_path_that_is_denied_before_it_is_there_is_denied_where_links_lead() {
    for caller in Caller::both() {
        for place in ["", IN_PLACE] {
            let dir = marks(&["deny"]).directory("real").symlink("link", "real");
            let probes = [
                &*format!("read {dir}/deny"),
                &format!("create {dir}/real/new"),
                &format!("create {dir}/link/new"),
                &format!("create {dir}/link/other"),
            ];
            let top = dir.path().to_owned();
            let decides = move |event: &SyscallEvent, context: &mut PolicyContext| {
                if is_mark(event, "deny") {
                    context.deny_path(top.join("link/new"));
                }
                Verdict::Allow
            };
            let policy = format!("filesystem.write = [{dir:?}]{place}{ASKS}");
            let sandbox = Sandbox::new(&policy).caller(caller);
            let output = supervised(sandbox, &probes, |listener| {
                Supervisor::new(listener).policy_fn(decides)
            });
            let no = errno(Errno::ACCESS);
            output.assert_said(&["ok ", &no, &no, "ok "]);
        }
    }
}

#[test]
fn below_another_root_nothing_is_named_once_a_path_is_denied() {
    let dir = marks(&["deny"]).file("sub/note", "n");
    let into = ["unshare 0x10000000".to_owned(), format!("chroot {dir}/sub")];
    let probes = [&*into[0], &into[1], "read /note"];
    let policy = format!("filesystem.read = [{dir:?}]\nseccomp.profile = 'unconfined'\n{ASKS}");
    let top = dir.path().to_owned();
    let run = |probes: &[&str], top: std::path::PathBuf| {
        let decides = move |event: &SyscallEvent, context: &mut PolicyContext| {
            if is_mark(event, "deny") {
                context.deny_path(top.join("private"));
            }
            Verdict::Allow
        };
        supervised(Sandbox::new(&policy), probes, |listener| {
            Supervisor::new(listener).policy_fn(decides)
        })
    };
    run(&probes, top.clone()).assert_said(&["ok 0", "ok ", "ok n"]);
    let denies = format!("read {dir}/deny");
    let said = ["ok ", "ok 0", "ok ", &errno(Errno::ACCESS)];
    run(&[&*denies, probes[0], probes[1], probes[2]], top).assert_said(&said);
}
