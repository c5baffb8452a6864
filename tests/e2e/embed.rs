//! The crate `launcher-spawn` beside other ways to start commands: `std` and
//! tokio, layers by themselves, detached commands.
#![allow(unsafe_code, reason = "what runs between fork and exec")]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use harness::{ALONE, Binaries, Caller, Errno, IN_PLACE, Outcome, TempDir, skip};
use launcher_spawn::{Apply, CommandExt, Layer, Sandbox};
use rustix::process::{getpriority_process, setpriority_process};

use crate::spawn::sandbox;

/// Every way of a launch: with a PID 1, with a waiter only, in place.
const WITHOUT_PID: &str = "namespaces.pid = false\nfilesystem.proc = false";
const POLICIES: [&str; 3] = ["", WITHOUT_PID, IN_PLACE];

/// What is shared by threads, and copied.
const fn is_shared<T: Clone + Send + Sync>() {}
const _: () = is_shared::<Sandbox>();

/// A command of std that asks the probe.
fn probing(binaries: &Binaries, line: &str) -> Command {
    let mut command = Command::new(binaries.probe());
    command.arg(line).stdin(Stdio::null());
    command
}

/// What the probe says, called by std.
fn said(mut command: Command) -> io::Result<Outcome> {
    let output = command.output()?;
    let text = String::from_utf8(output.stdout).expect("text");
    Ok(Outcome::parse(text.trim_end()).unwrap_or_else(|| panic!("{text}, {:?}", output.stderr)))
}

/// As this user, by std.
fn called_by(command: &mut Command, caller: Caller) {
    if !caller.is_root() && Caller::Root.uid() == 0 {
        command.uid(caller.uid()).gid(caller.uid());
    }
}

#[test]
fn a_command_of_std_runs_in_a_sandbox_as_it_is_described() {
    let dir = TempDir::with_file("note", "kept");
    let line = format!("open-for-write {}", dir.join("note").display());
    for caller in Caller::both() {
        for policy in POLICIES {
            let (sandbox, binaries) = sandbox(policy);
            let run = |line: &str, is_confined: bool| {
                let mut command = probing(&binaries, line);
                called_by(&mut command, caller);
                if is_confined {
                    command.sandboxed(&sandbox).expect("it is prepared");
                }
                said(command).expect("it runs")
            };
            assert!(!run(&line, true).is_ok(), "{caller}: {policy}");
            assert!(run(&line, false).is_ok(), "{caller}: {policy}");
            assert_eq!(run("say ran", true).value(), "ran", "{caller}: {policy}");
            // Nothing of what the launch took.
            assert_eq!(run("fds", true).value(), "0 1 2", "{caller}: {policy}");
        }
    }
}

#[test]
fn a_launch_that_fails_is_an_error_of_stds_spawn() {
    for caller in Caller::both() {
        for policy in POLICIES {
            let (sandbox, _binaries) = sandbox(policy);
            let mut command = Command::new("/nowhere/to/be/found");
            called_by(&mut command, caller);
            let launches = command.sandboxed(&sandbox).expect("it is prepared");
            for _ in 0..2 {
                let error = command.spawn().expect_err("there is no such program");
                assert_eq!(error.kind(), io::ErrorKind::NotFound, "{caller}: {policy}");
                let error = launches.explain(error);
                let found = (error.stage(), error.call(), error.path());
                let expected = (Some("exec"), Some("execve"), Some("/nowhere/to/be/found"));
                assert_eq!(found, expected, "{caller}: {policy}");
            }
        }
    }
    let mut command = Command::new("/nowhere/to/be/found");
    let launches = command.sandboxed(&Sandbox::none()).expect("nothing is prepared");
    let error = launches.explain(command.spawn().expect_err("nor outside"));
    assert_eq!((error.stage(), error.raw_os_error()), (None, Some(2)), "{error}");
}

#[test]
fn a_stage_that_fails_is_an_error_of_stds_spawn() {
    let dir = TempDir::new().directory("gone");
    let gone = dir.join("gone");
    let (sandbox, binaries) = sandbox(&format!("filesystem.read = [{gone:?}]"));
    fs::remove_dir(&gone).expect("it is empty");
    let mut command = probing(&binaries, "say ran");
    let launches = command.sandboxed(&sandbox).expect("it is prepared");
    let error = launches.explain(command.spawn().expect_err("a mount has no source"));
    assert_eq!((error.stage(), error.path()), (Some("mounts"), gone.to_str()), "{error}");
    assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()), "{error}");
    // What failed once may run later, and what failed is forgotten.
    fs::create_dir(&gone).expect("it is made");
    assert_eq!(said(command).expect("it runs"), Outcome::Ok("ran".into()));
    let nothing = launches.explain(io::Error::from_raw_os_error(5));
    assert_eq!((nothing.stage(), nothing.raw_os_error()), (None, Some(5)));
}

#[test]
fn a_command_of_std_has_no_child_that_it_has_not_made() {
    for (policy, expected) in [("", 1), (IN_PLACE, 0)] {
        let (sandbox, _binaries) = with_programs(policy);
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.sandboxed(&sandbox).expect("it is prepared");
        let mut child = command.spawn().expect("it runs");
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        stdin.write_all(b"x").expect("it reads");
        stdout.read_exact(&mut [0]).expect("it answers");
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let children = fs::read_to_string(children).expect("it is there");
        assert_eq!(children.split_whitespace().count(), expected, "{policy}: {children}");
        drop(stdin);
        assert!(child.wait().expect("it ends").success(), "{policy}");
    }
}

/// A sandbox with the programs of the system.
fn with_programs(policy: &str) -> (Sandbox, Arc<Binaries>) {
    let mut document: toml::Table = policy.parse().expect("the policy is TOML");
    let filesystem = document.entry("filesystem").or_insert_with(|| toml::Table::new().into());
    filesystem.as_table_mut().expect("a table").insert("root".into(), "minimal".into());
    sandbox(&document.to_string())
}

#[test]
fn a_command_of_std_gives_the_environment_that_ours_would() {
    let (sandbox, binaries) = sandbox("process.env = { keep = ['*'], set = { SET = '1' } }");
    for is_cleared in [false, true] {
        let mut ours = sandbox.command(binaries.probe());
        let mut stds = probing(&binaries, "env");
        if is_cleared {
            ours.env_clear();
            stds.env_clear();
        }
        ours.arg("env").env("GIVEN", "1").env_remove("PATH");
        stds.env("GIVEN", "1").env_remove("PATH");
        stds.sandboxed(&sandbox).expect("it is prepared");
        let stds = said(stds).expect("it runs").value();
        let ours = ours.output().expect("it runs");
        let ours = String::from_utf8(ours.stdout).expect("text");
        assert_eq!(Outcome::parse(ours.trim_end()), Some(Outcome::Ok(stds.clone())));
        assert!(stds.contains("GIVEN=1") && stds.contains("SET=1"), "{stds}");
    }
}

#[test]
fn a_command_of_tokio_runs_in_a_sandbox() {
    let (sandbox, binaries) = sandbox("");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("it starts").block_on(async {
        let mut command = tokio::process::Command::new(binaries.probe());
        command.arg("pid").stdin(Stdio::null());
        command.as_std_mut().sandboxed(&sandbox).expect("it is prepared");
        let output = command.output().await.expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ok 2\n");
        let mut command = tokio::process::Command::new("/nowhere");
        command.as_std_mut().sandboxed(&sandbox).expect("it is prepared");
        let error = command.spawn().expect_err("there is no such program");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn many_threads_start_commands_of_std_at_once() {
    let (sandbox, binaries) = sandbox("");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (sandbox, binaries) = (&sandbox, &binaries);
            scope.spawn(move || {
                for turn in 0..10 {
                    let text = format!("{thread}.{turn}");
                    let mut command = probing(binaries, &format!("say {text}"));
                    command.sandboxed(sandbox).expect("it is prepared");
                    assert_eq!(said(command).expect("it runs"), Outcome::Ok(text));
                }
            });
        }
    });
}

/// A layer of a policy that lets the probe run, by its name.
fn layer(policy: &str, name: &str) -> (Box<dyn Layer>, Arc<Binaries>) {
    let (sandbox, binaries) = sandbox(policy);
    let layer = sandbox.layers().into_iter().find(|layer| layer.name() == name);
    (layer.unwrap_or_else(|| panic!("no layer {name}")), binaries)
}

/// What the probe says that std starts with these layers.
fn probe_in(layers: &[&dyn Layer], binaries: &Binaries, caller: Caller, line: &str) -> Outcome {
    let mut command = probing(binaries, line);
    called_by(&mut command, caller);
    for layer in layers {
        let ready = layer.prepare().expect("it is available");
        // SAFETY: that is what it is for.
        unsafe { command.pre_exec(move || ready.apply()) };
    }
    said(command).expect("it runs")
}

#[test]
fn the_layers_of_a_policy_come_in_their_order() {
    let names = |policy: &str| -> Vec<String> {
        let layers = sandbox(policy).0.layers();
        layers.iter().map(|layer| layer.name().to_owned()).collect()
    };
    let all = format!("{ALONE}\nlimits.cgroup = 'auto'");
    assert_eq!(names(&all), ["namespaces", "landlock", "cgroup", "seccomp"]);
    assert_eq!(names(IN_PLACE), ["landlock", "seccomp"]);
    assert!(Sandbox::none().layers().is_empty());
}

#[test]
fn landlock_alone_denies_files_and_nothing_else() {
    harness::needs_landlock!(6);
    let dir = TempDir::with_file("note", "kept");
    let note = dir.join("note");
    let (landlock, binaries) = layer(ALONE, "landlock");
    for caller in Caller::both() {
        let run = |layers: &[&dyn Layer], line: &str| probe_in(layers, &binaries, caller, line);
        let line = format!("open-for-read {}", note.display());
        assert_eq!(run(&[&*landlock], &line), Outcome::Errno(Errno::ACCESS), "{caller}");
        assert!(run(&[], &line).is_ok(), "{caller}");
        // The filter closes this, and another namespace would have another name.
        assert!(run(&[&*landlock], "unshare 0x10000000").is_ok(), "{caller}");
        let [inside, outside] =
            [&[&*landlock] as &[_], &[]].map(|layers| run(layers, "namespace net"));
        assert_eq!(inside, outside, "{caller}");
    }
}

#[test]
fn the_filter_alone_denies_calls_and_what_missing_namespaces_would_have() {
    let dir = TempDir::with_file("note", "kept");
    let (filter, binaries) = layer(ALONE, "seccomp");
    for caller in Caller::both() {
        let run = |layers: &[&dyn Layer], line: &str| probe_in(layers, &binaries, caller, line);
        assert_eq!(run(&[&*filter], "unshare 0x10000000"), Outcome::Errno(Errno::PERM));
        assert!(run(&[], "unshare 0x10000000").is_ok(), "{caller}");
        // Without a mount namespace.
        let line = format!("set-xattr {}", dir.join("note").display());
        assert_eq!(run(&[&*filter], &line), Outcome::Errno(Errno::PERM), "{caller}");
        let line = format!("open-for-read {}", dir.join("note").display());
        assert!(run(&[&*filter], &line).is_ok(), "{caller}");
    }
}

#[test]
fn namespaces_alone_are_entered_without_their_capabilities() {
    harness::needs_namespaces!();
    let (namespaces, binaries) = layer(&format!("{ALONE}\nprocess.hostname = 'box'"), "namespaces");
    // Not for ids that std has changed: such a process may not map its own.
    for caller in Caller::both().into_iter().take(1) {
        let run = |layers: &[&dyn Layer], line: &str| probe_in(layers, &binaries, caller, line);
        assert_eq!(run(&[&*namespaces], "hostname").value(), "box", "{caller}");
        for kind in ["net", "ipc", "uts", "user", "cgroup"] {
            let line = format!("namespace {kind}");
            assert_ne!(run(&[&*namespaces], &line), run(&[], &line), "{caller}: {kind}");
        }
        for kind in ["pid", "mnt"] {
            let line = format!("namespace {kind}");
            assert_eq!(run(&[&*namespaces], &line), run(&[], &line), "{caller}: {kind}");
        }
        let capabilities = run(&[&*namespaces], "caps").value();
        assert!(capabilities.starts_with("0 0 0 "), "{caller}: {capabilities}");
    }
}

#[test]
fn all_layers_of_a_policy_go_on_in_their_order() {
    harness::needs_namespaces!();
    harness::needs_landlock!(6);
    let dir = TempDir::with_file("note", "kept");
    let (sandbox, binaries) = sandbox(ALONE);
    let layers = sandbox.layers();
    let layers: Vec<&dyn Layer> = layers.iter().map(|layer| &**layer).collect();
    for caller in Caller::both().into_iter().take(1) {
        let run = |line: &str| probe_in(&layers, &binaries, caller, line);
        let line = format!("open-for-read {}", dir.join("note").display());
        assert_eq!(run(&line), Outcome::Errno(Errno::ACCESS), "{caller}");
        assert_eq!(run("unshare 0x10000000"), Outcome::Errno(Errno::PERM), "{caller}");
        assert_eq!(run("interfaces").value(), "lo", "{caller}");
    }
    // And on our own commands, beside no policy.
    let mut own = Sandbox::none();
    for layer in &layers {
        own = own.layer(*layer).expect("it is available");
    }
    let output = own.command(binaries.probe()).arg("interfaces").output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok lo\n");
}

#[test]
fn a_cgroup_alone_holds_its_processes_and_goes_with_the_layer() {
    let policy = format!("{ALONE}\nlimits = {{ cgroup = 'auto', processes = 50 }}");
    let (cgroup, binaries) = layer(&policy, "cgroup");
    if let Err(error) = cgroup.available() {
        skip!("cgroup", &error.to_string());
    }
    let own = |command: &mut Command| {
        let output = command.args(["/proc/self/cgroup"]).output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().find_map(|line| line.strip_prefix("0::")).expect("version 2").to_owned()
    };
    let before = own(&mut Command::new("cat"));
    let sandbox = Sandbox::none().layer(&*cgroup).expect("it is available");
    let output = sandbox.command("cat").arg("/proc/self/cgroup").output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let inside = text.lines().find_map(|line| line.strip_prefix("0::")).expect("version 2");
    assert_ne!(inside, before);
    let name = Path::new(inside).file_name().and_then(|name| name.to_str()).expect("it has one");
    assert!(name.starts_with("launcher-"), "{name}");
    let is_there = || walk_for(Path::new("/sys/fs/cgroup"), name);
    assert!(is_there());
    // What is left in it ends with it.
    let mut left = sandbox.command("sleep").arg("1000").spawn().expect("it runs");
    drop(sandbox);
    assert_eq!(left.wait().expect("it ends").signal(), Some(9));
    assert!(!is_there());
    drop(binaries);
}

/// Whether there is a directory of this name.
fn walk_for(directory: &Path, name: &str) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .any(|entry| entry.file_name() == name || walk_for(&entry.path(), name))
}

#[test]
fn a_layer_that_does_not_keep_its_guarantees_is_refused_with_the_remedy() {
    harness::needs_landlock!(6);
    let policy = ALONE.replace("enforce.waive = [\"execute\"]", "");
    let (landlock, _binaries) = layer(&policy, "landlock");
    let error = landlock.available().expect_err("nothing keeps it").to_string();
    assert!(error.contains("\"execute\"") && error.contains("enforce.waive"), "{error}");
    assert_eq!(landlock.prepare().err().expect("nor now").to_string(), error);
    let (landlock, _binaries) = layer(ALONE, "landlock");
    landlock.available().expect("it is given up");
}

#[test]
fn a_filter_that_asks_a_supervisor_is_no_layer_by_itself() {
    let asks = format!("{ALONE}\n[[seccomp.rule]]\ncall = 'getppid'\naction = 'notify'");
    let (filter, _binaries) = layer(&asks, "seccomp");
    let error = filter.available().expect_err("nobody would answer").to_string();
    assert!(error.contains("hands a listener to a supervisor"), "{error}");
    assert_eq!(filter.prepare().err().expect("nor now").to_string(), error);
    let (filter, _binaries) = layer(ALONE, "seccomp");
    filter.available().expect("it asks nobody");
}

/// A layer of a caller's own.
struct Nice(i32);

impl Layer for Nice {
    fn name(&self) -> &str {
        "nice"
    }

    fn available(&self) -> io::Result<()> {
        Ok(())
    }

    fn prepare(&self) -> io::Result<Box<dyn Apply>> {
        Ok(Box::new(Nice(self.0)))
    }
}

// SAFETY: one system call.
unsafe impl Apply for Nice {
    fn apply(&self) -> io::Result<()> {
        setpriority_process(None, self.0).map_err(Into::into)
    }
}

/// A layer that cannot be put on.
struct Refusing;

impl Layer for Refusing {
    fn name(&self) -> &str {
        "refusing"
    }

    fn available(&self) -> io::Result<()> {
        Ok(())
    }

    fn prepare(&self) -> io::Result<Box<dyn Apply>> {
        Ok(Box::new(Refusing))
    }
}

// SAFETY: no system call.
unsafe impl Apply for Refusing {
    fn apply(&self) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(Errno::DEADLK.raw_os_error()))
    }
}

#[test]
fn a_layer_of_ones_own_is_put_on_by_every_command() {
    let before = getpriority_process(None).expect("it is known");
    let nice = Nice(before + 3);
    let of_policies = POLICIES.map(sandbox);
    let binaries = Binaries::shared();
    let all = of_policies.into_iter().map(|(sandbox, _)| sandbox).chain([Sandbox::none()]);
    for sandbox in all {
        let sandbox = sandbox.layer(&nice).expect("it is prepared");
        let output = sandbox.command(binaries.probe()).arg("nice").output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("ok {}\n", before + 3));
        let mut command = probing(&binaries, "nice");
        command.sandboxed(&sandbox).expect("it is prepared");
        assert_eq!(said(command).expect("it runs").value(), (before + 3).to_string());

        let sandbox = sandbox.layer(&Refusing).expect("it is prepared");
        let error = sandbox.command(binaries.probe()).spawn().expect_err("a layer fails");
        assert!(error.to_string().contains("refusing"), "{error}");
        assert_eq!(error.raw_os_error(), Some(Errno::DEADLK.raw_os_error()));
        let mut command = probing(&binaries, "nice");
        command.sandboxed(&sandbox).expect("it is prepared");
        let error = command.spawn().expect_err("a layer fails");
        assert_eq!(error.raw_os_error(), Some(Errno::DEADLK.raw_os_error()));
    }
    assert_eq!(getpriority_process(None), Ok(before), "the layer was put on this program");
}

#[test]
fn a_layer_that_forbids_what_the_sandbox_takes_ends_the_launch() {
    harness::needs_landlock!(6);
    let binaries = Binaries::shared();
    let policy =
        ALONE.replace("{ root", &format!("{{ execute = [{:?}], root", binaries.launcher()));
    let (landlock, binaries) = layer(&policy, "landlock");
    let (sandbox, _binaries) = sandbox("enforce.namespaces = 'require'");
    let sandbox = sandbox.layer(&*landlock).expect("it is prepared");
    let error = sandbox.command(binaries.probe()).spawn().expect_err("no map can be written");
    assert_eq!(error.raw_os_error(), Some(Errno::ACCESS.raw_os_error()), "{error}");
    assert_eq!(error.stage(), Some("namespaces"), "{error}");
}

#[test]
fn a_detached_command_outlives_the_thread_that_it_would_end_with() {
    let policy = "filesystem.root = 'host'\nprocess.die_with_parent = 'thread'";
    for policy in [policy.to_owned(), format!("{policy}\n{WITHOUT_PID}")] {
        let (ending, _binaries) = sandbox(&policy);
        let detached = ending.detached().and_then(Sandbox::prepare).expect("it is prepared");
        for (sandbox, outlives) in [(ending, false), (detached, true)] {
            let start = move || {
                let mut command = sandbox.command("cat");
                command.stdin(launcher_spawn::Stdio::piped());
                command.stdout(launcher_spawn::Stdio::piped()).receipt(true);
                command.spawn().expect("it runs")
            };
            // The thread has ended when it is joined.
            let mut child = std::thread::spawn(start).join().expect("no panic");
            let mut stdin = child.stdin.take().expect("it is piped");
            if outlives {
                stdin.write_all(b"x").expect("it reads");
            }
            let mut text = String::new();
            drop(stdin);
            let mut stdout = child.stdout.take().expect("it is piped");
            stdout.read_to_string(&mut text).expect("text");
            let status = child.wait().expect("it ends");
            assert_eq!((text == "x", status.success()), (outlives, outlives), "{policy}");
            let receipt = child.receipt().expect("it is there").expect("it was asked for");
            let told = receipt.launch.map(|launch| format!("{:?}", launch.die_with_parent));
            let expected = if outlives { "Nobody" } else { "Thread" };
            assert_eq!(told.as_deref(), Some(expected), "{policy}");
        }
    }
}

#[test]
pub(crate) fn a_command_is_born_in_a_cgroup_below_the_one_that_is_given() {
    let Some(cgroup) = crate::cgroup::Cgroup::new("spawn") else {
        skip!("cgroup", "no cgroup of version 2 can be made here");
    };
    for policy in POLICIES {
        let (sandbox, _binaries) = with_programs(policy);
        let mut command = sandbox.command("cat");
        command.stdin(launcher_spawn::Stdio::piped()).cgroup(cgroup.open());
        let mut child = command.spawn().expect("it runs");
        assert_eq!(cgroup.children().len(), 1, "{policy}");
        assert!(child.wait().expect("it ends").success(), "{policy}");
        assert!(cgroup.children().is_empty(), "{policy}");
        let no_group = File::open("/").expect("it is there");
        let error = command.cgroup(no_group).spawn().expect_err("it is no cgroup");
        assert_eq!(error.call(), Some("--cgroup-fd"), "{policy}: {error}");
    }
    let error = Sandbox::none().command("true").cgroup(cgroup.open()).spawn();
    assert!(error.expect_err("there is no policy").is_policy());
}

#[test]
pub(crate) fn kill_ends_what_is_in_the_cgroup_of_a_command_and_the_group_goes() {
    let Some(cgroup) = crate::cgroup::Cgroup::new("kill") else {
        skip!("cgroup", "no cgroup of version 2 can be made here");
    };
    for policy in ["", WITHOUT_PID] {
        let (sandbox, _binaries) = with_programs(policy);
        let mut command = sandbox.command("sh");
        command.args(["-c", "sleep 600 & echo started; sleep 600"]).cgroup(cgroup.open());
        let mut child = command.stdout(launcher_spawn::Stdio::piped()).spawn().expect("it runs");
        let mut stdout = child.stdout.take().expect("it is piped");
        stdout.read_exact(&mut [0; 8]).expect("it says so");
        if !cgroup.children()[0].join("cgroup.kill").exists() {
            child.kill().expect("it can be killed");
            skip!("old_kernel", "this kernel ends no cgroup at once");
        }
        child.kill().expect("it can be killed");
        // At the end of everything that could write to it.
        assert_eq!(stdout.read(&mut [0]).expect("it is over"), 0, "{policy}");
        assert_eq!(child.wait().expect("it ends").code(), Some(137), "{policy}");
        assert!(cgroup.children().is_empty(), "{policy}: {:?}", cgroup.children());
        child.kill().expect("it is no error");
    }
}

#[test]
pub(crate) fn directories_are_handed_over_to_be_mounted_and_not_by_their_paths() {
    for caller_says in ["read", "write"] {
        let dir = TempDir::with_file("note", "of the directory");
        let policy = format!("filesystem.{caller_says} = [{{ fd = 7, at = '/project' }}]");
        let (sandbox, binaries) = sandbox(&policy);
        let probe = |line: &str| {
            let root: OwnedFd = File::open(dir.path()).expect("it is there").into();
            let output = sandbox.command(binaries.probe()).arg(line).fd(7, root).output();
            let said = String::from_utf8(output.expect("it runs").stdout).expect("text");
            Outcome::parse(said.trim_end()).unwrap_or_else(|| panic!("{said}"))
        };
        assert_eq!(probe("read /project/note"), Outcome::Ok("of the directory".into()));
        let writes = probe("open-for-write /project/note").is_ok();
        assert_eq!(writes, caller_says == "write");
        let by_path = format!("open-for-read {}", dir.join("note").display());
        assert_eq!(probe(&by_path), Outcome::Errno(Errno::NOENT));
    }
}

#[test]
fn device_nodes_are_in_view_where_the_policy_lists_them() {
    let is_there = |name: &&str| Path::new("/dev").join(name).exists();
    let devices: Vec<&str> = ["kvm", "net/tun", "fuse"].into_iter().filter(is_there).collect();
    if devices.is_empty() {
        skip!("devices", "this host has no device but the minimal ones");
    }
    let listed = sandbox(&format!("filesystem.dev = {devices:?}"));
    let minimal = sandbox("");
    for device in devices {
        let open = |(sandbox, binaries): &(Sandbox, Arc<Binaries>)| {
            let line = format!("open-for-write /dev/{device}");
            let output = sandbox.command(binaries.probe()).arg(line).output().expect("it runs");
            Outcome::parse(String::from_utf8_lossy(&output.stdout).trim_end())
        };
        assert_eq!(open(&listed), Some(Outcome::Ok(String::new())), "{device}");
        assert_eq!(open(&minimal), Some(Outcome::Errno(Errno::NOENT)), "{device}");
    }
}
