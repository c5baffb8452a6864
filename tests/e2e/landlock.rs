//! Landlock: by itself, where there are no namespaces, and beside them.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use harness::{Caller, Errno, Outcome, Sandbox, TempDir, needs, needs_landlock, skip};

/// Landlock and seccomp alone, with these entries.
fn in_place(entries: &str, network: &str) -> String {
    format!(
        "filesystem = {{ tmp = \"none\", proc = false, dev = \"none\", {entries} }}\n\
         network = {{ unix = \"host\", {network} }}\n\
         enforce = {{ namespaces = \"off\", landlock = \"require\", waive = [\"execute\"] }}"
    )
}

#[test]
fn without_namespaces_the_same_words_hold() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let [read, write, none] = [(); 3].map(|()| TempDir::with_file("note", "x"));
        let policy = in_place(&format!("read = [{read:?}], write = [{write:?}]"), "");
        let lines = [
            format!("read {read}/note"),
            format!("list {read}"),
            format!("open-for-write {read}/note"),
            format!("create {read}/new"),
            format!("truncate {read}/note"),
            format!("unlink {read}/note"),
            format!("mkdir {read}/directory"),
            format!("write {write}/note text"),
            format!("create {write}/new"),
            format!("rename {write}/new {write}/other"),
            format!("unlink {write}/other"),
            format!("open-for-read {none}/note"),
            format!("list {none}"),
            "open-for-read /etc/passwd".into(),
            "list /".into(),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
        let ok = |text: &str| Outcome::Ok(text.into());
        let denied = || Outcome::Errno(Errno::ACCESS);
        let expected = [
            ok("x"),
            ok("note"),
            denied(),
            denied(),
            denied(),
            denied(),
            denied(),
            ok(""),
            ok(""),
            ok(""),
            ok(""),
            denied(),
            denied(),
            denied(),
            denied(),
        ];
        assert_eq!(outcomes, expected, "{caller}");
        assert_eq!((read.read("note"), write.read("note")), ("x".into(), "text".into()));
        let control = Sandbox::outside().caller(caller).probes(&lines);
        assert!(control.iter().all(Outcome::is_ok), "{caller}: {control:?}");
    }
}

#[test]
fn the_callers_working_directory_stays_and_gives_nothing() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let (dir, other) = (TempDir::with_file("note", "x"), TempDir::new());
        let policy = in_place(&format!("read = [{other:?}]"), "");
        let lines = ["cwd", "read note", "list .", "open-for-read .", "create new"];
        let outcomes = Sandbox::new(&policy).caller(caller).cwd(dir.path()).probes(&lines);
        assert_eq!(outcomes[0], Outcome::Ok(dir.to_string()), "{caller}");
        let denied = [const { Outcome::Errno(Errno::ACCESS) }; 4];
        assert_eq!(outcomes[1..], denied, "{caller}");
        let control = Sandbox::outside().caller(caller).cwd(dir.path()).probes(&lines);
        assert!(control.iter().all(Outcome::is_ok), "{caller}: {control:?}");

        let elsewhere = format!("{policy}\nprocess.cwd = {other:?}");
        let sandbox = Sandbox::new(&elsewhere).caller(caller).cwd(dir.path());
        assert_eq!(sandbox.probe("cwd"), Outcome::Ok(other.to_string()), "{caller}");
    }
}

#[test]
fn the_command_is_the_launcher_itself_in_place() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let mut running = Sandbox::new(&in_place("root = \"minimal\"", ""))
            .caller(caller)
            .start(["sh", "-c", "echo $$"]);
        let pid = running.line();
        assert_eq!(pid, running.pid().to_string(), "{caller}: {}", running.stderr_text());
        assert_eq!(running.wait().code(), 0, "{caller}");
    }
}

#[test]
fn a_file_that_is_only_read_is_not_run() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let sandbox = Sandbox::outside();
        let probe = sandbox.binaries().probe();
        let dir = TempDir::new();
        let copied = std::process::Command::new("cp").args([&probe, &dir.join("copy")]).status();
        assert!(copied.is_ok_and(|status| status.success()));
        let exec = format!("exec {dir}/copy pid");
        let said = |verb: &str| {
            let policy = in_place(&format!("{verb} = [{dir:?}]"), "");
            Sandbox::new(&policy).caller(caller).probe(&exec)
        };
        assert_eq!(said("read"), Outcome::Errno(Errno::ACCESS), "{caller}");
        assert_eq!(said("write"), Outcome::Errno(Errno::ACCESS), "{caller}");
        assert!(Sandbox::outside().caller(caller).probe(&exec).is_ok(), "{caller}");
    }
}

/// The dynamic loader of this machine.
fn loader() -> Option<&'static str> {
    let known = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    known.into_iter().find(|path| std::path::Path::new(path).exists())
}

#[test]
fn a_file_that_is_only_read_is_run_by_its_loader_unless_there_are_mounts() {
    harness::needs_landlock!(6);
    let Some(loader) = loader() else { skip!("loader", "there is no dynamic loader") };
    for caller in Caller::both() {
        let dir = TempDir::new();
        std::fs::copy("/bin/echo", dir.join("echo")).expect("it is copied");
        let run = |policy: &str| {
            let echo = dir.join("echo");
            let command = [loader.as_ref(), echo.as_os_str(), "run".as_ref()];
            Sandbox::new(policy).caller(caller).run(command)
        };
        let entries = format!("root = \"minimal\", read = [{dir:?}]");
        // What makes "execute" a guarantee that Landlock alone does not keep.
        assert_eq!(run(&in_place(&entries, "")).stdout_text(), "run\n", "{caller}");
        let mounted = run(&format!("filesystem = {{ {entries} }}"));
        assert_eq!(mounted.stdout_text(), "", "{caller}: {mounted:?}");
        assert_ne!(mounted.code(), 0, "{caller}");
    }
}

#[test]
fn a_rule_on_a_file_is_for_that_file() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let dir = TempDir::with_file("one", "1").file("two", "2");
        let policy = in_place(&format!("write = [{:?}]", dir.join("one")), "");
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            &format!("write {dir}/one text"),
            &format!("open-for-read {dir}/two"),
            &format!("unlink {dir}/one"),
        ]);
        let denied = || Outcome::Errno(Errno::ACCESS);
        assert_eq!(outcomes, [Outcome::Ok(String::new()), denied(), denied()], "{caller}");
    }
}

#[test]
fn files_move_only_between_directories_that_both_allow_it() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let [write, read] = [TempDir::with_file("sub/note", "x"), TempDir::new()];
        let policy = in_place(&format!("read = [{read:?}], write = [{write:?}]"), "");
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            &format!("rename {write}/sub/note {write}/note"),
            &format!("link {write}/note {write}/sub/linked"),
            &format!("rename {write}/note {read}/note"),
        ]);
        let ok = || Outcome::Ok(String::new());
        assert_eq!(outcomes[..2], [ok(), ok()], "{caller}");
        let refused = &outcomes[2];
        assert!(
            matches!(refused, Outcome::Errno(Errno::ACCESS | Errno::XDEV)),
            "{caller}: {refused:?}"
        );
    }
}

#[test]
fn tcp_ports_are_those_of_the_lists() {
    harness::needs_namespaces!();
    harness::needs_landlock!(6);
    let [open, closed] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("it is bound"));
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let (open_port, closed_port) = (port(&open), port(&closed));
    // Free again once it is dropped; nobody else is likely to take it.
    let bindable = port(&TcpListener::bind("127.0.0.1:0").expect("it is bound"));
    for caller in Caller::both() {
        let connect = [open_port, closed_port].map(|port| format!("connect-tcp 127.0.0.1 {port}"));
        let bind = [bindable, 0].map(|port| format!("bind-tcp 127.0.0.1 {port}"));
        let fast = format!("fastopen 127.0.0.1 {closed_port}");
        let lines = [
            &connect[0],
            &connect[1],
            &bind[0],
            &bind[1],
            &fast,
            "socket inet stream mptcp",
            "socket inet dgram",
            "socket inet6 dgram",
            "socket inet raw icmp",
            "socket packet raw",
            "socketpair",
        ];
        let policy = format!(
            "network = {{ access = \"host\", connect_tcp = [{open_port}], bind_tcp = [{bindable}] }}"
        );
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
        let ok = |text: &str| Outcome::Ok(text.into());
        let errno = Outcome::Errno;
        let expected = [
            ok(""),
            errno(Errno::ACCESS),
            ok(&bindable.to_string()),
            errno(Errno::ACCESS),
            errno(Errno::OPNOTSUPP),
            errno(Errno::PROTONOSUPPORT),
            errno(Errno::PROTONOSUPPORT),
            errno(Errno::PROTONOSUPPORT),
            errno(Errno::PERM),
            errno(Errno::AFNOSUPPORT),
            ok("hello"),
        ];
        assert_eq!(outcomes, expected, "{caller}");

        let none = "network = { access = \"host\", connect_tcp = [], bind_tcp = [] }";
        let outcomes = Sandbox::new(none).caller(caller).probes(&lines[..3]);
        assert!(
            outcomes.iter().all(|each| *each == errno(Errno::ACCESS)),
            "{caller}: {outcomes:?}"
        );

        let udp = policy.replace(" }", ", udp = true }");
        let outcomes =
            Sandbox::new(&udp).caller(caller).probes(&["socket inet dgram", &connect[1]]);
        assert_eq!(outcomes, [ok(""), errno(Errno::ACCESS)], "{caller}");

        let control = Sandbox::outside().caller(caller).probes(&lines[..4]);
        assert!(control.iter().all(Outcome::is_ok), "{caller}: {control:?}");
        // Absent lists are no limit.
        let free = Sandbox::new("network.access = \"host\"").caller(caller).probes(&lines[..4]);
        assert!(free.iter().all(Outcome::is_ok), "{caller}: {free:?}");
    }
}

#[test]
fn ports_are_kept_without_namespaces_too() {
    harness::needs_landlock!(6);
    let listener = TcpListener::bind("127.0.0.1:0").expect("it is bound");
    let port = listener.local_addr().expect("an address").port();
    for caller in Caller::both() {
        let connect = format!("connect-tcp 127.0.0.1 {port}");
        let reached = |ports: &str| {
            let policy = in_place("", &format!("access = \"host\", connect_tcp = [{ports}]"));
            Sandbox::new(&policy).caller(caller).probe(&connect)
        };
        assert_eq!(reached(""), Outcome::Errno(Errno::ACCESS), "{caller}");
        assert_eq!(reached(&port.to_string()), Outcome::Ok(String::new()), "{caller}");
    }
}

#[test]
fn without_namespaces_there_is_no_network_either() {
    harness::needs_landlock!(6);
    let listener = TcpListener::bind("127.0.0.1:0").expect("it is bound");
    let port = listener.local_addr().expect("an address").port();
    for caller in Caller::both() {
        let outcomes = Sandbox::new(&in_place("", "access = \"none\"")).caller(caller).probes(&[
            &format!("connect-tcp 127.0.0.1 {port}"),
            "socket inet dgram",
            "socket netlink raw",
            "socket vsock stream",
            "socketpair",
        ]);
        let closed = || Outcome::Errno(Errno::AFNOSUPPORT);
        let pair = Outcome::Ok("hello".into());
        assert_eq!(outcomes, [closed(), closed(), closed(), closed(), pair], "{caller}");
    }
}

#[test]
fn signals_and_abstract_sockets_stay_inside_without_namespaces() {
    harness::needs_landlock!(6);
    let name = format!("launcher-e2e-landlock-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("it is bound");
    for caller in Caller::both() {
        let other = Sandbox::outside().caller(caller).start(["sleep", "60"]);
        let kill = format!("kill {} 0", other.pid());
        let connect = format!("unix-abstract-connect {name}");
        let outcomes = Sandbox::new(&in_place("", "")).caller(caller).probes(&[&kill, &connect]);
        let refused = Outcome::Errno(Errno::PERM);
        assert_eq!(outcomes, [refused.clone(), refused], "{caller}");
        let control = Sandbox::outside().caller(caller).probes(&[&kill, &connect]);
        assert!(control.iter().all(Outcome::is_ok), "{caller}: {control:?}");
    }
}

#[test]
fn processes_outside_are_not_traced_without_namespaces() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        let other = Sandbox::outside().caller(caller).start(["sleep", "60"]);
        let lines = [format!("ptrace {}", other.pid()), format!("read-mem {}", other.pid())];
        let lines = lines.each_ref().map(String::as_str);
        // A process of the same user outside of the domain; the filter is
        // left open, so that Landlock answers.
        let policy = format!("{}\nseccomp.profile = \"unconfined\"", in_place("", ""));
        for outcome in Sandbox::new(&policy).caller(caller).probes(&lines) {
            assert_eq!(outcome, Outcome::Errno(Errno::PERM), "{caller}");
        }
        let control = Sandbox::outside().caller(caller).probe(lines[0]);
        assert!(control.is_ok(), "{caller}: {control:?}");
    }
}

#[test]
fn devices_take_no_requests_but_where_they_are_listed() {
    harness::needs_landlock!(6);
    for caller in Caller::both() {
        // /dev/null knows no request at all: ENOTTY once Landlock lets it by.
        let ioctl = |entries: &str| {
            Sandbox::new(&in_place(entries, "")).caller(caller).probe("ioctl-dev /dev/null")
        };
        assert_eq!(ioctl("write = [\"/dev/null\"]"), Outcome::Errno(Errno::NOTTY), "{caller}");
        assert_eq!(ioctl(""), Outcome::Errno(Errno::ACCESS), "{caller}");
    }
}

#[test]
fn both_layers_hold_at_once() {
    harness::needs_namespaces!();
    harness::needs_landlock!(1);
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x");
        let policy = format!("filesystem.read = [{dir:?}]\nenforce.landlock = \"require\"");
        let sandbox = Sandbox::new(&policy).caller(caller);
        let output = sandbox.run([sandbox.probe_path(), format!("read {dir}/note")]);
        let launch = output.event("launch").expect("a launch event");
        assert_eq!(launch["layers"]["landlock"], "enforced", "{caller}");
        assert_eq!(launch["layers"]["namespaces"], "enforced", "{caller}");
        assert!(launch["landlock_abi"].as_u64().is_some_and(|abi| abi >= 1), "{caller}");
        // Under Landlock the kernel refuses a mount, whoever asks.
        let policy = format!("{policy}\nseccomp.profile = \"unconfined\"");
        let mount = Sandbox::new(&policy).caller(caller).probe(&format!("mount {dir}"));
        assert_eq!(mount, Outcome::Errno(Errno::PERM), "{caller}");
    }
}

#[test]
fn mounts_alone_keep_the_view_where_landlock_is_off() {
    harness::needs_namespaces!();
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x");
        let policy = format!("filesystem.read = [{dir:?}]\nenforce.landlock = \"off\"");
        let outcomes = Sandbox::new(&policy).caller(caller).probes(&[
            &format!("read {dir}/note"),
            &format!("open-for-write {dir}/note"),
            "open-for-read /etc/passwd",
        ]);
        let expected =
            [Outcome::Ok("x".into()), Outcome::Errno(Errno::ROFS), Outcome::Errno(Errno::NOENT)];
        assert_eq!(outcomes, expected, "{caller}");
    }
}

#[test]
fn sockets_outside_are_not_reached_by_their_paths_unless_they_are_listed() {
    needs_landlock!(9);
    for caller in Caller::both() {
        let dir = TempDir::new();
        let [listed, other] = ["listed", "other"].map(|name| dir.join(name));
        let _listeners = [&listed, &other].map(|path| {
            let listener = UnixListener::bind(path).expect("it is bound");
            let everybody = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(path, everybody).expect("its mode is set");
            listener
        });
        let connect = [&listed, &other].map(|path| format!("unix-connect {}", path.display()));
        let lines = connect.each_ref().map(String::as_str);
        let expected = [Outcome::Ok(String::new()), Outcome::Errno(Errno::ACCESS)];
        let network = format!("unix = [{listed:?}]");
        for enforce in ["", "enforce = { namespaces = \"off\", waive = [\"execute\"] }"] {
            let policy = format!(
                "filesystem = {{ tmp = \"none\", proc = false, dev = \"none\", write = [{dir:?}] }}\n\
                 network = {{ {network} }}\n{enforce}"
            );
            let outcomes = Sandbox::new(&policy).caller(caller).probes(&lines);
            assert_eq!(outcomes, expected, "{caller}: {policy}");
        }
        let control = Sandbox::outside().caller(caller).probes(&lines);
        assert!(control.iter().all(Outcome::is_ok), "{caller}: {control:?}");
    }
}

#[test]
fn udp_is_closed_without_a_filter() {
    needs_landlock!(10);
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").expect("it is bound");
    let port = receiver.local_addr().expect("an address").port();
    for caller in Caller::both() {
        let line = format!("send-udp 127.0.0.1 {port}");
        let policy = "network = { access = \"host\", udp = false }\nenforce.seccomp = \"off\"";
        let outcome = Sandbox::new(policy).caller(caller).probe(&line);
        assert_eq!(outcome, Outcome::Errno(Errno::ACCESS), "{caller}");
        assert!(Sandbox::outside().caller(caller).probe(&line).is_ok(), "{caller}");
    }
}

/// Restricts itself so many times, without a word on files, and runs the rest.
const LAYERS: &str = "
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
for _ in range(int(sys.argv[1])):
    attributes = (ctypes.c_uint64 * 3)(0, 1, 0)
    ruleset = libc.syscall(444, ctypes.byref(attributes), 24, 0)
    assert ruleset >= 0 and libc.syscall(446, ruleset, 0) == 0
    os.close(ruleset)
os.execvp(sys.argv[2], sys.argv[2:])
";

#[test]
fn where_there_is_no_layer_left_namespaces_keep_what_they_can() {
    needs!("python3");
    let within = |layers: &str, policy: &str, caller| {
        Sandbox::new(policy).caller(caller).wrap(["python3", "-c", LAYERS, layers])
    };
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "x");
        let policy = format!("filesystem.read = [{dir:?}]");
        for (layers, missing) in
            [("15", serde_json::json!([])), ("16", serde_json::json!(["landlock"]))]
        {
            let sandbox = within(layers, &policy, caller);
            let output = sandbox.run([sandbox.probe_path(), format!("open-for-write {dir}/note")]);
            assert_eq!(output.stdout_text(), "errno 30\n", "{caller}: {output:?}");
            let launch = output.event("launch").expect("a launch event");
            assert_eq!(launch["missing"], missing, "{caller} {layers}");
        }
        for policy in [in_place("", ""), format!("{policy}\nenforce.landlock = \"require\"")] {
            let output = within("16", &policy, caller).run(["true"]);
            assert_eq!(output.code(), 125, "{caller}: {output:?}");
            assert!(output.stderr_text().contains("already inside 16 layers"), "{output:?}");
        }
    }
}
