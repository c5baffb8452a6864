//! The crate `launcher-spawn`: commands in sandboxes from within a program.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use harness::{Binaries, Errno, IN_PLACE, Outcome, PATH, TempDir};
use launcher_spawn::{Document, Launcher, Sandbox, Stdio};
use rustix::io::FdFlags;

/// A sandbox by its policy, which may run the probe, and the programs.
pub(crate) fn sandbox(policy: &str) -> (Sandbox, Arc<Binaries>) {
    let binaries = Binaries::shared();
    let policy = harness::with_probe(policy, &binaries.probe());
    let launcher = Launcher::from_path(binaries.launcher()).expect("it is there");
    let sandbox = Sandbox::from_toml(&policy).expect("it is a policy").launcher(launcher);
    let sandbox = if SERVED.get() { sandbox.serve() } else { sandbox };
    (sandbox.prepare().expect("it can be prepared"), binaries)
}

thread_local! {
    /// Whether commands are started by a server.
    static SERVED: Cell<bool> = const { Cell::new(false) };
}

/// Does something whose commands are started by servers.
pub(crate) fn served(test: impl Fn()) {
    SERVED.set(true);
    test();
    SERVED.set(false);
}

/// What the probe says in a sandbox.
fn probe(sandbox: &Sandbox, binaries: &Binaries, line: &str) -> Outcome {
    let output = sandbox.command(binaries.probe()).arg(line).output().expect("it runs");
    let said = String::from_utf8(output.stdout).expect("text");
    Outcome::parse(said.trim_end()).unwrap_or_else(|| panic!("{said}"))
}

#[test]
pub(crate) fn a_command_runs_in_its_sandbox_as_it_would_by_the_launcher() {
    let dir = TempDir::with_file("note", "kept");
    let line = format!("open-for-write {}", dir.join("note").display());
    for policy in ["", IN_PLACE] {
        let (sandbox, binaries) = sandbox(policy);
        assert!(!probe(&sandbox, &binaries, &line).is_ok(), "{policy}");
        assert!(probe(&Sandbox::none(), &binaries, &line).is_ok());
    }
    assert_eq!(dir.read("note"), "kept");
}

#[test]
fn the_sockets_of_a_proxy_come_with_the_child_that_connects_to_them() {
    for more in ["", "namespaces.pid = false"] {
        let policy = format!("network = {{ access = 'proxy', allow = ['a'] }}\n{more}");
        let (sandbox, binaries) = sandbox(&policy);
        let mut command = sandbox.command(binaries.probe());
        command.args(["echo-input", "connect-tcp 127.0.0.1 3128", "connect-tcp 127.0.0.1 1080"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut sockets = child.listeners();
        assert_eq!((sockets.len(), child.listeners().len()), (2, 0), "{more}");
        // The socket for SOCKS is closed, so nobody is found there.
        drop(sockets.pop());
        drop(child.stdin.take());
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8(output.stdout).expect("text");
        let outcomes: Vec<Outcome> = said.lines().filter_map(Outcome::parse).collect();
        assert!(outcomes[1].is_ok(), "{more} {said}");
        assert_eq!(outcomes[2], Outcome::Errno(Errno::CONNREFUSED), "{more} {said}");
    }
}

#[test]
fn networks_that_were_made_before_serve_no_policy_with_a_proxy() {
    let (sandbox, _binaries) = sandbox("network = { access = 'proxy', allow = ['a'] }");
    for network in [launcher_spawn::Network::Pooled, launcher_spawn::Network::Shared] {
        let error = sandbox.clone().network(network).prepare().expect_err("it is refused");
        assert!(error.to_string().contains("joins none that was made before"), "{error}");
    }
}

#[test]
fn a_document_and_bytes_are_as_good_as_text() {
    let (of_text, binaries) = sandbox("filesystem.root = 'host'");
    let bytes = of_text.policy().expect("it has one");
    let mut document = Document::default();
    document.filesystem.root = Some("host".to_owned().into());
    let launcher = || Launcher::from_path(binaries.launcher()).expect("it is there");
    let of_bytes = Sandbox::from_bytes(bytes).expect("it is a policy").launcher(launcher());
    assert_eq!(probe(&of_bytes, &binaries, "say ran"), Outcome::Ok("ran".into()));
    let of_document = Sandbox::from_document(&document).expect("it is a policy");
    let status = of_document.launcher(launcher()).command("true").status().expect("it runs");
    assert!(status.success());
    let error = Sandbox::from_bytes(b"nothing").expect_err("it is none");
    assert!(error.is_policy(), "{error}");
}

#[test]
fn everything_that_is_wrong_with_a_policy_is_said_with_its_line() {
    let error = Sandbox::from_toml("colour = 1\n[limits]\nmemory = true").expect_err("it is wrong");
    let text = error.to_string();
    assert!(text.contains("policy:1: ") && text.contains("policy:3: "), "{text}");
    assert!(error.is_policy() && error.stage().is_none());
}

#[test]
pub(crate) fn a_failure_names_stage_call_error_and_path() {
    for policy in ["", IN_PLACE] {
        let (sandbox, _binaries) = sandbox(policy);
        let mut command = sandbox.command("/nowhere/to/be/found");
        let output = command.stderr(Stdio::piped()).spawn();
        let error = output.expect_err("there is no such program");
        assert_eq!(error.stage(), Some("exec"), "{error}");
        assert_eq!(error.call(), Some("execve"), "{error}");
        assert_eq!(error.path(), Some("/nowhere/to/be/found"), "{error}");
        assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()), "{error}");
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
    }
    let error = Sandbox::none().command("no-such-program").spawn().expect_err("nor this one");
    assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()), "{error}");
}

#[test]
fn a_launcher_that_is_not_there_is_an_error_and_one_from_memory_runs() {
    let binaries = Binaries::shared();
    let error = Launcher::from_path(binaries.launcher().with_file_name("none")).expect_err("none");
    assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()));
    let program = fs::read(binaries.launcher()).expect("it can be read");
    let launcher = Launcher::from_bytes(&program).expect("a memfd is made");
    let sandbox = Sandbox::from_toml(&harness::with_probe("", &binaries.probe()));
    let sandbox = sandbox.expect("it is a policy").launcher(launcher);
    assert_eq!(probe(&sandbox, &binaries, "say ran"), Outcome::Ok("ran".into()));
}

#[test]
pub(crate) fn the_status_is_the_commands() {
    for policy in ["filesystem.root = 'host'", IN_PLACE] {
        let (sandbox, binaries) = sandbox(policy);
        for sandbox in [sandbox, Sandbox::none()] {
            let run = |line: &str| {
                sandbox.command(binaries.probe()).arg(line).stdout(Stdio::null()).status()
            };
            assert_eq!(run("exit 3").expect("it runs").code(), Some(3), "{policy}");
        }
    }
    let (sandbox, binaries) = sandbox(IN_PLACE);
    let killed = sandbox.command(binaries.probe()).arg("raise 9").status().expect("it runs");
    assert_eq!(killed.signal(), Some(9), "{killed}");
}

#[test]
pub(crate) fn output_is_collected_and_input_is_empty() {
    let (sandbox, _binaries) = sandbox("filesystem.root = 'host'");
    for sandbox in [sandbox, Sandbox::none()] {
        let script = "cat; head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2";
        let output = sandbox.command("sh").args(["-c", script]).output().expect("it runs");
        let found = (output.status.success(), output.stdout.len(), output.stderr.len());
        assert_eq!(found, (true, 300_000, 300_000));
    }
}

#[test]
pub(crate) fn streams_are_pipes_or_descriptors() {
    let (sandbox, _binaries) = sandbox("filesystem.root = 'host'");
    let dir = TempDir::with_file("in", "from a file");
    let input = File::open(dir.join("in")).expect("it is there");
    let output = sandbox.command("cat").stdin(input).output().expect("it runs");
    assert_eq!(output.stdout, b"from a file");

    let mut child = sandbox.command("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let child = child.as_mut().expect("it runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"through pipes").expect("it is read");
    drop(stdin);
    let mut text = String::new();
    child.stdout.take().expect("it is piped").read_to_string(&mut text).expect("text");
    assert_eq!((text.as_str(), child.wait().expect("it ends").success()), ("through pipes", true));
}

#[test]
pub(crate) fn environment_and_directory_are_given_and_the_policy_has_the_last_word() {
    let policy = "filesystem.root = 'host'\nprocess.env = { keep = ['GIVEN'] }";
    let (sandbox, _binaries) = sandbox(policy);
    let show = |sandbox: &Sandbox| {
        let mut command = sandbox.command("sh");
        command.args(["-c", "echo $GIVEN:$OTHER:$PWD"]).env_clear().env("PATH", PATH);
        command.env("GIVEN", "1").env("OTHER", "2").env("GONE", "3").env_remove("GONE");
        let output = command.current_dir("/usr").output().expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(show(&sandbox), "1::/usr\n");
    assert_eq!(show(&Sandbox::none()), "1:2:/usr\n");
}

#[test]
pub(crate) fn descriptors_are_handed_over_by_number_where_the_policy_takes_them() {
    let dir = TempDir::with_file("note", "from outside");
    let file = || OwnedFd::from(File::open(dir.join("note")).expect("it is there"));
    let root: OwnedFd = File::open(dir.path()).expect("it is there").into();
    let policy = "filesystem = { root = 'host', read = [{ fd = 4, at = '/opt' }] }\n\
                  process.keep_fds = [3, 5]";
    let (sandbox, _binaries) = sandbox(policy);
    let script = "cat <&3; cat <&5; cat /opt/note";
    let mut command = sandbox.command("sh");
    command.args(["-c", script]).fd(3, file()).fd(4, root).fd(5, file());
    let output = command.output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "from outside".repeat(3));
    let error = command.fd(6, file()).spawn().expect_err("the policy does not take it");
    assert!(error.is_policy() && error.to_string().contains("keep_fds"), "{error}");
}

#[test]
pub(crate) fn no_other_descriptor_of_the_program_reaches_the_command() {
    let dir = TempDir::with_file("note", "x");
    let (sandbox, binaries) = sandbox("");
    let open = File::open(dir.join("note")).expect("it is there");
    rustix::io::fcntl_setfd(&open, FdFlags::empty()).expect("it is no longer close-on-exec");
    let line = format!("fd-kind {}", open.as_raw_fd());
    assert_eq!(probe(&sandbox, &binaries, "fds").value(), "0 1 2");
    let (inside, outside) = (&sandbox, &Sandbox::none());
    let [inside, outside] = [inside, outside].map(|sandbox| probe(sandbox, &binaries, &line));
    assert!(inside != outside, "{outside:?}");
}

#[test]
pub(crate) fn kill_ends_what_the_command_has_started() {
    let (sandbox, _binaries) = sandbox("filesystem.root = 'host'");
    let mut command = sandbox.command("sh");
    command.args(["-c", "sleep 600 & echo started; sleep 600"]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut line = [0; 8];
    stdout.read_exact(&mut line).expect("it says so");
    assert_eq!(child.wait_timeout(Duration::ZERO).expect("it can be asked"), None);
    assert_eq!(child.try_wait().expect("it can be asked"), None);
    child.kill().expect("it can be killed");
    // At the end of everything that could write to it.
    assert_eq!(stdout.read(&mut line).expect("it is over"), 0);
    let status = child.wait().expect("it has ended");
    assert_eq!(status.signal(), Some(9), "{status}");
    assert_eq!(child.wait_timeout(Duration::from_secs(9)).expect("it is known"), Some(status));
    child.kill().expect("it is no error");
}

#[test]
pub(crate) fn wall_time_ends_a_command_and_a_receipt_tells_why() {
    let (sandbox, _binaries) = sandbox("filesystem.root = 'host'\nlimits.wall_time = '1s'");
    let mut child = sandbox.command("sleep").arg("600").receipt(true).spawn().expect("it runs");
    let receipt = child.receipt().expect("it is there").expect("it was asked for");
    assert!(receipt.launch.is_some_and(|launch| launch.guarantees.contains_key("files")));
    assert_eq!(child.wait().expect("it ends").code(), Some(124));
    let receipt = child.receipt().expect("it is there").expect("it was asked for");
    let ended_by = receipt.exit.map(|exit| exit.ended_by);
    assert_eq!(format!("{ended_by:?}"), "Some(Wall)");
    let mut child = sandbox.command("true").spawn().expect("it runs");
    assert!(child.receipt().expect("no error").is_none());
    child.wait().expect("it ends");
}

#[test]
pub(crate) fn a_pid_file_is_complete_when_spawn_returns() {
    let (sandbox, _binaries) = sandbox("filesystem.root = 'host'");
    let dir = TempDir::new();
    let mut command = sandbox.command("true");
    let mut child = command.pid_file(dir.join("pid")).spawn().expect("it runs");
    assert_eq!(dir.read("pid"), format!("{}\n", child.id()));
    assert_eq!(dir.names(), ["pid"]);
    child.wait().expect("it ends");
    let error = command.pid_file(dir.join("none/pid")).spawn().expect_err("it has no place");
    assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()), "{error}");
}

#[test]
pub(crate) fn a_ruleset_that_is_made_once_binds_every_launch() {
    harness::needs_landlock!(6);
    let dir = TempDir::with_file("read/note", "x").file("apart/note", "x");
    let policy = format!("filesystem.read = [{:?}]{IN_PLACE}", dir.join("read"));
    let (sandbox, binaries) = sandbox(&policy);
    // What has another name by now is still what the policy meant.
    fs::rename(dir.join("read"), dir.join("renamed")).expect("it is renamed");
    fs::rename(dir.join("apart"), dir.join("read")).expect("it is renamed");
    for _ in 0..2 {
        let open = |name: &str| {
            let line = format!("open-for-read {}", dir.join(name).display());
            probe(&sandbox, &binaries, &line)
        };
        assert_eq!(open("read/note"), Outcome::Errno(Errno::ACCESS));
        assert!(open("renamed/note").is_ok());
    }
    let mut child = sandbox.command(binaries.probe()).receipt(true).spawn().expect("it runs");
    let receipt = child.receipt().expect("it is there").expect("it was asked for");
    let files = receipt.launch.and_then(|launch| launch.guarantees.get("files").copied());
    assert_eq!(format!("{files:?}"), "Some(Landlock)");
    child.wait().expect("it ends");
}

#[test]
pub(crate) fn many_threads_start_commands_in_one_sandbox_at_once() {
    let (sandbox, binaries) = sandbox("");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (sandbox, binaries) = (sandbox.clone(), &binaries);
            scope.spawn(move || {
                for turn in 0..20 {
                    let said = probe(&sandbox, binaries, &format!("say {thread}.{turn}"));
                    assert_eq!(said, Outcome::Ok(format!("{thread}.{turn}")));
                }
            });
        }
    });
}

#[test]
pub(crate) fn a_signal_mask_of_the_caller_reaches_no_command() {
    let (sandbox, binaries) = sandbox("");
    let mask = |sandbox: &Sandbox| probe(sandbox, &binaries, "signals").value();
    let outside = mask(&Sandbox::none());
    let blocked = std::thread::scope(|scope| {
        let blocked = scope.spawn(|| {
            launcher::sys::block_signals().expect("they are blocked");
            (mask(&sandbox), mask(&Sandbox::none()))
        });
        blocked.join().expect("no panic")
    });
    assert_eq!(blocked, (mask(&sandbox), outside));
}

/// What a launch changes of its child, of the calling thread: ids,
/// capabilities, filters, signals, CPUs, nice value, limits, directory, whether
/// its memory can be read.
fn of_this_thread() -> String {
    const KEYS: [&str; 16] = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Cpus_allowed",
        "NSpgid",
    ];
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/thread-self/{name}")).expect("there is a /proc")
    };
    let is_wanted = |line: &&str| KEYS.iter().any(|key| line.starts_with(&format!("{key}:")));
    let status: String = read("status").lines().filter(is_wanted).collect();
    let directory = fs::read_link("/proc/thread-self/cwd").expect("it is there");
    let nice = rustix::process::getpriority_process(None).expect("it has one");
    let dumpable = rustix::process::dumpable_behavior().expect("it is known");
    let namespaces = ["mnt", "user", "net", "ipc", "uts"]
        .map(|name| fs::read_link(format!("/proc/thread-self/ns/{name}")).expect("it is there"));
    let (limits, score) = (read("limits"), read("oom_score_adj"));
    format!("{status} {directory:?} {nice} {dumpable:?} {namespaces:?} {limits} {score}")
}

#[test]
pub(crate) fn a_launch_changes_nothing_of_the_thread_that_it_is_made_from() {
    harness::needs_landlock!(6);
    const CHANGES: &str = "\
        process.umask = 0o077\nprocess.cwd = '/usr'\n\
        limits = { nice = 5, oom_score_adjust = 500, cpu_affinity = [0], rlimit.nofile = 64 }\n";
    for policy in [
        "filesystem.root = 'host'\n",
        "filesystem = { root = 'host', proc = false }\nnamespaces.pid = false\n",
        "filesystem = { root = 'minimal', proc = false, tmp = 'none', dev = 'none' }\n\
         network.unix = 'host'\nenforce = { namespaces = 'off', waive = ['execute'] }\n",
    ] {
        let (sandbox, binaries) = sandbox(&format!("{policy}{CHANGES}"));
        let before = of_this_thread();
        // The control: there it is changed.
        assert_eq!(probe(&sandbox, &binaries, "nice"), Outcome::Ok("5".into()), "{policy}");
        assert_eq!(probe(&sandbox, &binaries, "cwd"), Outcome::Ok("/usr".into()), "{policy}");
        let mut failing = sandbox.command("/no/such/program");
        assert!(failing.spawn().is_err(), "{policy}");
        assert_eq!(of_this_thread(), before, "{policy}");
    }
}
