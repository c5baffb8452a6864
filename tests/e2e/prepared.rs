//! What is made once for many launches: templates of the view, network
//! namespaces; by the launcher's options and by `launcher-spawn`.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::serve::Server;
use harness::{Binaries, Caller, Errno, Outcome, Output, Running, Sandbox, TempDir, needs};
use launcher_spawn::{Launcher, Network, Stdio};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Something that the launcher holds, and what it has handed out first.
pub(crate) struct Held {
    holder: Running,
    socket: OwnedFd,
    pub(crate) fd: OwnedFd,
}

/// The number of what is joined.
const JOINED: i32 = 21;

impl Held {
    /// `--hold-template`
    pub(crate) fn template(policy: &str, caller: Caller) -> Self {
        Self::of(Sandbox::new(policy).caller(caller), "--hold-template=20")
    }

    /// `--hold-networks`
    pub(crate) fn networks(policy: &str, caller: Caller) -> Self {
        Self::of(Sandbox::new(policy).caller(caller), "--hold-networks=20")
    }

    fn of(sandbox: Sandbox, option: &str) -> Self {
        let (holder, socket) = start(sandbox, option);
        let fd = receive(&socket);
        let Some(fd) = fd else { panic!("{:?}", holder.wait()) };
        Self { holder, socket, fd }
    }

    /// A launch with a template.
    pub(crate) fn launch(&self, policy: &str, caller: Caller) -> Sandbox {
        self.join(Sandbox::new(policy).caller(caller), "--template-fd")
    }

    /// The same launch, with this joined.
    pub(crate) fn join(&self, sandbox: Sandbox, option: &str) -> Sandbox {
        let fd = self.fd.try_clone().expect("dup");
        sandbox.pass(fd, JOINED).option(format!("{option}={JOINED}"))
    }

    /// How it ends when nobody wants it any more.
    fn end(self) -> Output {
        drop(self.socket);
        self.holder.wait()
    }
}

/// A launcher that holds something, and the other end of its socket.
pub(crate) fn start(sandbox: Sandbox, option: &str) -> (Running, OwnedFd) {
    let kind = SocketType::SEQPACKET;
    let pair = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
    let (socket, inside) = pair.expect("a pair is made");
    (sandbox.pass(inside, 20).option(option).start::<&str>([]), socket)
}

/// The next descriptor from a holder; `None` at its end.
fn receive(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 16];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).expect("it is read");
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    })
}

/// What a failed launch says: its call, and the error or the refusal.
#[track_caller]
fn failure(output: &Output) -> (String, String) {
    let failure = output.failure();
    let text = |key: &str| failure[key].as_str().unwrap_or_default().to_owned();
    (text("call"), text("error") + &text("refused"))
}

/// Policies over a directory `D`, which may lie in the private `/tmp`.
const POLICIES: [&str; 4] = [
    "filesystem = { write = ['D/w'], read = ['D/r'], deny = ['D/w/hidden'] }",
    "filesystem = { root = 'host', write = ['D/w'], deny = ['D/w/hidden', 'D/r/f'] }",
    "filesystem = { root = 'minimal', home = 'private', protect = ['kept'], write = ['D/w'], mount = [
        { type = 'tmpfs', target = 'D/w/sub' },
        { type = 'bind', source = 'D/r', target = 'D/w/zzz', access = ['read'] },
    ] }",
    "filesystem = { root = 'host', tmp = 'none', proc = false, dev = 'none' }",
];

/// What is asked in each, with `D`.
const QUESTIONS: [&str; 37] = [
    "list D",
    "list D/w",
    "list D/w/sub",
    "list D/w/sub/r",
    "list D/w/hidden",
    "open-for-read D/w/hidden/f",
    "read D/r/f",
    "open-for-write D/r/f",
    "create D/w/new",
    "unlink D/w/new",
    "create D/w/kept/new",
    "unlink D/w/kept/new",
    "create D/w/sub/new",
    "unlink D/w/sub/new",
    "create D/w/sub/r/new",
    "unlink D/w/sub/r/new",
    "create D/w/zzz/new",
    "unlink D/w/zzz/new",
    "create /tmp/new",
    "create /dev/shm/new",
    "create /new",
    "list /dev/pts",
    "list /tmp",
    "open-for-write /proc/sys/kernel/core_pattern",
    "open-for-write /proc/sysrq-trigger",
    "open-for-read /root",
    "mount-flags /",
    "mount-flags /tmp",
    "umount /proc",
    "umount /tmp",
    "pid",
    "caps",
    "interfaces",
    "fds",
    "securebits",
    "dumpable",
    "hostname",
];

/// A tree to ask about.
fn tree() -> TempDir {
    let tree = TempDir::new().file("r/f", "read").file("w/f", "write");
    tree.directory("w/sub/r").directory("w/zzz").directory("w/kept").file("w/hidden/f", "hidden")
}

#[test]
fn a_view_from_a_template_is_that_of_a_fresh_launch() {
    for caller in Caller::both() {
        for policy in POLICIES {
            let tree = tree();
            let here = |text: &str| text.replace('D', &tree.to_string());
            let policy = here(policy);
            let questions = QUESTIONS.map(here);
            let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
            let held = Held::template(&policy, caller);
            let fresh = Sandbox::new(&policy).caller(caller).probes(&questions);
            // Twice: what one launch does is not there for the next.
            for _ in 0..2 {
                let prepared = held.launch(&policy, caller).probes(&questions);
                for ((question, fresh), prepared) in questions.iter().zip(&fresh).zip(&prepared) {
                    assert_eq!(fresh, prepared, "{caller}: {policy}: {question}");
                }
            }
            // From a server with it, and from one without.
            let sandbox = || Sandbox::new(&policy).caller(caller);
            let servers = [held.join(sandbox(), "--template-fd"), sandbox()].map(Server::of);
            for server in servers.iter().chain(&servers) {
                let served = server.probes(&questions).outcomes();
                for ((question, fresh), served) in questions.iter().zip(&fresh).zip(&served) {
                    assert_eq!(fresh, served, "{caller}: {policy}: {question}: served");
                }
            }
            assert_eq!(held.end().code(), 0);
        }
    }
}

#[test]
fn every_namespace_but_that_of_users_is_each_launchs_own() {
    for caller in Caller::both() {
        let held = Held::template("", caller);
        let questions =
            ["mnt", "pid", "ipc", "uts", "cgroup", "net"].map(|name| format!("namespace {name}"));
        // Two that run at the same time: a number may be used again.
        let ask = |held: &Held| {
            let launch = held.launch("filesystem.proc = true", caller);
            let mut words: Vec<&str> = questions.iter().map(String::as_str).collect();
            words.extend(["namespace user", "pause"]);
            let probe = launch.probe_path();
            let mut running = launch.start([&[probe.as_str()], &words[..]].concat());
            let said: Vec<String> = (0..7).map(|_| running.line()).collect();
            (running, said)
        };
        let (first, second) = (ask(&held), ask(&held));
        for ((one, other), question) in first.1.iter().zip(&second.1).zip(&questions) {
            assert_ne!(one, other, "{caller}: {question}");
        }
        assert_eq!(first.1.last(), second.1.last(), "{caller}");
        drop((first.0, second.0));
    }
}

#[test]
fn a_template_whose_holder_has_ended_is_a_refusal() {
    for caller in Caller::both() {
        let held = Held::template("", caller);
        assert!(held.launch("", caller).probe("pid").is_ok());
        let fd = held.fd.try_clone().expect("dup");
        assert_eq!(held.end().code(), 0);
        let launch = Sandbox::new("").caller(caller).pass(fd, JOINED);
        let output = launch.option(format!("--template-fd={JOINED}")).run(["true"]);
        assert_eq!(failure(&output), ("--template-fd".into(), "ESRCH".into()), "{caller}");
    }
}

#[test]
fn a_mask_that_was_lifted_from_a_template_is_a_refusal() {
    for caller in Caller::both() {
        for (entry, name, others) in [
            ("deny = ['D/w/secret']", "secret", ""),
            ("read = ['D/w/shown']", "shown", ""),
            ("protect = ['kept']", "kept", ""),
            ("protect = ['kept']", "kept", "root = 'host',"),
        ] {
            let tree =
                TempDir::new().file("w/secret", "1").file("w/shown", "1").file("w/kept", "1");
            let policy = format!("filesystem = {{ {others} write = ['D/w'], {entry} }}");
            let policy = policy.replace('D', &tree.to_string());
            let write = format!("open-for-write {}", tree.join("w").join(name).display());
            let held = Held::template(&policy, caller);
            assert!(held.launch(&policy, caller).probe(&write).is_errno(), "{caller}: {entry}");
            // As an editor saves a file.
            fs::write(tree.join("w/.new"), "2").expect("it is written");
            fs::rename(tree.join("w/.new"), tree.join("w").join(name)).expect("it is renamed");

            let output = held.launch(&policy, caller).run(["true"]);

            let (call, why) = failure(&output);
            assert_eq!(call, "statx", "{caller}: {entry}");
            assert!(why.contains("make a new template"), "{caller}: {entry}: {why}");
            assert!(Sandbox::new(&policy).caller(caller).probe(&write).is_errno(), "{entry}");
        }
    }
}

#[test]
fn what_was_removed_under_a_template_is_a_refusal() {
    for caller in Caller::both() {
        let tree = TempDir::new().file("r/f", "1");
        let policy = format!("filesystem.read = [{:?}]", tree.join("r"));
        let policy = harness::encode(&policy);
        let launch = || Sandbox::of_bytes(&policy).caller(caller);
        let held = Held::of(launch(), "--hold-template=20");
        fs::remove_dir_all(tree.join("r")).expect("it is removed");
        let output = held.join(launch(), "--template-fd").run(["true"]);
        assert_eq!(failure(&output).0, "statx", "{caller}");
    }
}

#[test]
fn a_policy_that_a_template_does_not_serve_is_refused_by_holder_and_launch() {
    let held = Held::template("", Caller::Nobody);
    for policy in [
        "namespaces.init = 'none'",
        "namespaces.pid = false\nfilesystem.proc = false",
        harness::IN_PLACE,
    ] {
        let (holder, socket) = start(Sandbox::new(policy).as_nobody(), "--hold-template=20");
        assert!(receive(&socket).is_none());
        assert_eq!(failure(&holder.wait()).0, "--hold-template", "{policy}");
        let output = held.launch(policy, Caller::Nobody).run(["true"]);
        assert_eq!(failure(&output).0, "--template-fd", "{policy}");
    }
    // And what is no template.
    let null = fs::File::open("/dev/null").expect("it opens");
    let launch = Sandbox::new("").pass(null, JOINED).option(format!("--template-fd={JOINED}"));
    assert_eq!(failure(&launch.run(["true"])), ("--template-fd".into(), "EINVAL".into()));
}

#[test]
fn a_limit_on_processes_does_not_count_those_of_other_launches_as_one_that_binds() {
    let policy = "limits.processes = 10\nenforce.limits = 'require'";
    assert!(Sandbox::new(policy).as_nobody().probe("pid").is_ok());
    let held = Held::template(policy, Caller::Nobody);
    let output = held.launch(policy, Caller::Nobody).run(["true"]);
    assert_eq!(failure(&output).0, "processes");
}

#[test]
fn networks_are_empty_and_each_is_another() {
    for caller in Caller::both() {
        for (policy, flags) in [("", false), ("network.access = 'loopback'", true)] {
            let held = Held::networks(policy, caller);
            let other = receive(&held.socket).expect("another one");
            let ask =
                |sandbox: Sandbox| sandbox.probes(&["interfaces", "namespace net", "tcp-inside"]);
            let fresh = ask(Sandbox::new(policy).caller(caller));
            let first = ask(held.join(Sandbox::new(policy).caller(caller), "--netns-fd"));
            let second = Held { fd: other, ..held };
            let second = ask(second.join(Sandbox::new(policy).caller(caller), "--netns-fd"));
            assert_eq!((&fresh[0], fresh[2].is_ok()), (&first[0], first[2].is_ok()), "{caller}");
            assert_eq!(fresh[0], second[0], "{caller}: {policy}");
            assert_eq!(first[2].is_ok(), flags, "{caller}: {policy}: {first:?}");
            assert_ne!(first[1], second[1], "{caller}: {policy}");
        }
    }
}

#[test]
fn a_network_serves_only_a_policy_that_has_one_of_its_own() {
    let held = Held::networks("", Caller::Root);
    let policy = "network.access = 'host'";
    let output = held.join(Sandbox::new(policy), "--netns-fd").run(["true"]);
    assert_eq!(failure(&output).0, "--netns-fd");
    let (holder, socket) = start(Sandbox::new(policy), "--hold-networks=20");
    assert!(receive(&socket).is_none());
    assert_eq!(failure(&holder.wait()).0, "--hold-networks");
}

#[test]
fn a_receipt_names_what_was_prepared() {
    let held = Held::template("", Caller::Nobody);
    let prepared = |output: &Output| output.receipt().launch.map(|launch| launch.prepared);
    let probe = held.launch("", Caller::Nobody);
    let path = probe.probe_path();
    assert_eq!(prepared(&probe.run([path.as_str(), "pid"])), Some(vec!["template".to_owned()]));
    let probe = Sandbox::new("").as_nobody();
    assert_eq!(prepared(&probe.run([path.as_str(), "pid"])), Some(Vec::new()));
}

/// A sandbox of the library, which may run the probe.
pub(crate) fn sandbox(policy: &str) -> (launcher_spawn::Sandbox, Arc<Binaries>) {
    let binaries = Binaries::shared();
    let policy = harness::with_probe(policy, &binaries.probe());
    let launcher = Launcher::from_path(binaries.launcher()).expect("it is there");
    let sandbox = launcher_spawn::Sandbox::from_toml(&policy).expect("it is a policy");
    (sandbox.launcher(launcher), binaries)
}

/// What the probe says in one of the library's.
fn probe(command: &mut launcher_spawn::Command, line: &str) -> Outcome {
    let output = command.arg(line).output().expect("it runs");
    let said = String::from_utf8(output.stdout).expect("text");
    Outcome::parse(said.trim_end()).unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn the_library_prepares_what_it_is_asked_to() {
    harness::needs_landlock!(6);
    let names = ["user", "net"];
    let all = [
        (false, Network::Fresh, [false, false]),
        (true, Network::Fresh, [true, false]),
        (false, Network::Pooled, [false, false]),
        (true, Network::Pooled, [true, false]),
        (false, Network::Shared, [false, true]),
        (true, Network::Shared, [true, true]),
    ];
    for (turn, (template, network, same)) in all.into_iter().chain(all).enumerate() {
        let (sandbox, binaries) = sandbox("");
        let sandbox = if template { sandbox.template() } else { sandbox };
        // The second time from a server.
        let sandbox = if turn < all.len() { sandbox } else { sandbox.serve() };
        let sandbox = sandbox.network(network).prepare().expect("it can be prepared");
        let names = names.map(|name| format!("namespace {name}"));
        let ask = |fresh: bool| {
            let mut command = sandbox.command(binaries.probe());
            let command = command.fresh(fresh).args(&names).arg("pause").stdout(Stdio::piped());
            let mut child = command.spawn().expect("it runs");
            let mut lines = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
            let mut line = || {
                let mut line = String::new();
                std::io::BufRead::read_line(&mut lines, &mut line).expect("text");
                line
            };
            ([line(), line()], child)
        };
        let (first, second, fresh) = (ask(false), ask(false), ask(true));
        let is_same =
            |one: &[String; 2], other: &[String; 2]| [one[0] == other[0], one[1] == other[1]];
        assert_eq!(is_same(&first.0, &second.0), same, "{template} {network:?}");
        assert_eq!(is_same(&first.0, &fresh.0), [false; 2], "{template} {network:?}");
        for mut child in [first.1, second.1, fresh.1] {
            child.kill().expect("it is killed");
            child.wait().expect("it ends");
        }
    }
}

#[test]
fn a_pool_is_never_empty_for_long_however_many_ask() {
    let (sandbox, binaries) = sandbox("");
    let sandbox = sandbox.template().network(Network::Pooled);
    let served = sandbox.clone().serve().prepare().expect("prepared");
    let sandbox = sandbox.prepare().expect("prepared");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let sandbox = if thread < 4 { sandbox.clone() } else { served.clone() };
            let binaries = &binaries;
            scope.spawn(move || {
                for turn in 0..10 {
                    let said = probe(
                        &mut sandbox.command(binaries.probe()),
                        &format!("say {thread}.{turn}"),
                    );
                    assert_eq!(said, Outcome::Ok(format!("{thread}.{turn}")));
                }
            });
        }
    });
}

/// Listens at an abstract name and a port, says so, and stays.
const LISTENER: &str = "
import socket, sys, time
unix = socket.socket(socket.AF_UNIX)
unix.bind('\\0launcher-shared-' + sys.argv[1])
unix.listen()
print('ready', flush=True)
time.sleep(600)
";

#[test]
fn commands_in_one_network_do_not_reach_each_others_abstract_sockets() {
    needs!("python3");
    harness::needs_landlock!(6);
    let (sandbox, binaries) = sandbox("filesystem.root = 'host'");
    let sandbox = sandbox.network(Network::Shared).prepare().expect("it can be prepared");
    for (sandbox, is_closed) in [(sandbox, true), (launcher_spawn::Sandbox::none(), false)] {
        let name = format!("{:016x}", fastrand::u64(..));
        let mut first = sandbox.command("python3");
        let first = first.args(["-c", LISTENER, &name]).stdout(Stdio::piped()).spawn();
        let mut first = first.expect("it runs");
        let mut ready = [0; 5];
        let stdout = first.stdout.as_mut().expect("it is piped");
        std::io::Read::read_exact(stdout, &mut ready).expect("it is ready");
        let line = format!("unix-abstract-connect launcher-shared-{name}");
        let outcome = probe(&mut sandbox.command(binaries.probe()), &line);
        // EPERM is Landlock's: the name is there.
        assert_eq!(outcome == Outcome::Errno(Errno::PERM), is_closed, "{outcome:?}");
        assert_eq!(outcome.is_ok(), !is_closed, "{outcome:?}");
        first.kill().expect("it is killed");
        first.wait().expect("it ends");
    }
}

#[test]
fn what_cannot_be_prepared_is_an_error_with_the_launchers_words() {
    let (sandbox, _binaries) = sandbox(harness::IN_PLACE);
    let error = sandbox.clone().template().prepare().expect_err("nothing takes a template");
    assert_eq!(error.call(), Some("--hold-template"), "{error}");
    let (sandbox, _binaries) = self::sandbox("network.access = 'host'");
    let error = sandbox.clone().network(Network::Pooled).prepare().expect_err("there is none");
    assert_eq!(error.call(), Some("--hold-networks"), "{error}");
    // Landlock off, or a filter and no scope: abstract sockets would be open.
    let (sandbox, _binaries) = self::sandbox("enforce.landlock = 'off'");
    let error = sandbox.network(Network::Shared).prepare().expect_err("it would be open");
    assert!(error.is_policy() && error.to_string().contains("abstract"), "{error}");
}

#[test]
fn what_is_held_ends_with_the_last_of_its_sandboxes() {
    let (sandbox, binaries) = sandbox("");
    let sandbox = sandbox.template().network(Network::Pooled).prepare().expect("prepared");
    let user = probe(&mut sandbox.command(binaries.probe()), "namespace user").value();
    let holders: Vec<OwnedFd> = in_user_namespace(&user);
    // PID 1 of the template, and who makes network namespaces.
    assert_eq!(holders.len(), 2);
    let clone = sandbox.clone();
    drop(sandbox);
    assert!(probe(&mut clone.command(binaries.probe()), "pid").is_ok());
    assert!(holders.iter().all(|holder| !harness::is_ready(holder, Duration::ZERO)));
    drop(clone);
    assert!(holders.iter().all(|holder| harness::is_ready(holder, harness::TIMEOUT)));
}

/// The processes in a user namespace.
fn in_user_namespace(user: &str) -> Vec<OwnedFd> {
    let processes = fs::read_dir("/proc").expect("it is read").filter_map(|entry| {
        let entry = entry.ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let namespace = fs::read_link(entry.path().join("ns/user")).ok()?;
        (namespace.to_str() == Some(user)).then_some(pid)
    });
    let open = |pid| pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok();
    processes.filter_map(open).collect()
}
