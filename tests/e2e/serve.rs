//! The spawn server: by its protocol, and by `launcher-spawn`.

use std::fs;
use std::io::{IoSlice, IoSliceMut, PipeReader, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use harness::{Caller, Errno, IN_PLACE, Outcome, Running, Sandbox, TIMEOUT, TempDir, is_ready};
use launcher::serve::request::{
    Answer, CGROUP, DIRECTORY, ERRORS, Head, MAX_FDS, MAX_REQUEST, MAX_STRINGS, NETWORK, STATUS,
    VERSION,
};
use launcher_policy::{Call, Failure, Refusal};
use launcher_spawn::Stdio;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};

use crate::{embed, prepared, spawn};

/// A server, which is spoken to by its protocol. What it launches are children
/// of this process.
pub(crate) struct Server {
    running: Running,
    socket: OwnedFd,
    probe: String,
    _keeps_the_probe: Sandbox,
}

/// A command that a server has launched.
pub(crate) struct Launched {
    pub(crate) pid: u32,
    pidfd: OwnedFd,
    output: PipeReader,
    errors: PipeReader,
}

/// How a command has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status; `None` where it was killed.
    status: Option<i32>,
    pub(crate) output: String,
    errors: String,
}

impl Server {
    /// Serves this sandbox.
    pub(crate) fn of(sandbox: Sandbox) -> Self {
        let (probe, keeps_the_probe) = (sandbox.probe_path(), Sandbox::outside());
        let (running, socket) = prepared::start(sandbox, "--serve=20");
        Self { running, socket, probe, _keeps_the_probe: keeps_the_probe }
    }

    fn new(policy: &str, caller: Caller) -> Self {
        Self::of(Sandbox::new(policy).caller(caller))
    }

    /// Sends a message.
    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let parts = [IoSlice::new(bytes)];
        sendmsg(&self.socket, &parts, &mut control, SendFlags::NOSIGNAL).map(drop)
    }

    /// The next answer; `None` at the end.
    fn answer(&self) -> Option<(Answer, Option<OwnedFd>)> {
        assert!(is_ready(&self.socket, TIMEOUT), "no answer");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; Answer::LENGTH];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        // A server that is killed with something unread resets the connection.
        let received = recvmsg(&self.socket, &mut parts, &mut control, flags).ok()?.bytes;
        let pidfd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        (received == Answer::LENGTH).then(|| (Answer::read(bytes), pidfd))
    }

    /// Why it refuses a message.
    #[track_caller]
    fn refusal(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Failure {
        self.send(bytes, fds).expect("it is sent");
        let (answer, pidfd) = self.answer().expect("an answer");
        assert_eq!((answer.pid, pidfd.is_none()), (0, true), "nothing runs");
        Failure::from(std::num::NonZeroU32::new(answer.failure).expect("a failure"))
    }

    /// Has a command launched, with more descriptors.
    #[track_caller]
    fn launch(
        &self,
        argv: &[&str],
        variables: &[&str],
        more: &[(BorrowedFd<'_>, i32)],
    ) -> Launched {
        let (output, output_inside) = std::io::pipe().expect("a pipe is made");
        let (errors, errors_inside) = std::io::pipe().expect("a pipe is made");
        let (purposes, fds): (Vec<i32>, Vec<BorrowedFd<'_>>) =
            [(output_inside.as_fd(), 1), (errors_inside.as_fd(), ERRORS)]
                .into_iter()
                .chain(more.iter().copied())
                .map(|(fd, purpose)| (purpose, fd))
                .unzip();
        self.send(&request(7, argv, variables, &purposes), &fds).expect("it is sent");
        let (answer, pidfd) = self.answer().expect("an answer");
        assert_eq!((answer.number, answer.failure), (7, 0));
        Launched { pid: answer.pid, pidfd: pidfd.expect("a pidfd"), output, errors }
    }

    /// What the probe says, line by line.
    #[track_caller]
    pub(crate) fn probes(&self, lines: &[&str]) -> Ended {
        let argv = [&[self.probe.as_str()], lines].concat();
        self.launch(&argv, &[], &[]).end()
    }

    /// The numbers of its open descriptors, when it has answered: what came with a
    /// message that is refused is closed by then.
    fn descriptors(&self) -> Vec<String> {
        self.refusal(b"nothing", &[]);
        let entries = fs::read_dir(format!("/proc/{}/fd", self.running.pid())).expect("proc");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut all: Vec<String> = entries.map(|entry| name(entry.expect("proc"))).collect();
        all.sort();
        all
    }

    /// What is written in its `/proc/PID/status`.
    fn memory(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.running.pid());
        let status = fs::read_to_string(path).expect("proc");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
        let number = line.trim_start_matches(':').split_whitespace().next().expect("a number");
        number.parse().expect("a number")
    }
}

impl Launched {
    /// Waits for its end.
    #[track_caller]
    fn end(mut self) -> Ended {
        let mut output = String::new();
        self.output.read_to_string(&mut output).expect("text");
        let mut errors = String::new();
        self.errors.read_to_string(&mut errors).expect("text");
        let status = wait(&self.pidfd).exit_status();
        Ended { status, output, errors }
    }

    fn kill(self) {
        pidfd_send_signal(&self.pidfd, Signal::KILL).expect("it is killed");
        wait(&self.pidfd);
    }
}

impl Ended {
    /// What the probe has said.
    #[track_caller]
    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        let lines = self.output.lines();
        lines.map(|line| Outcome::parse(line).unwrap_or_else(|| panic!("{line}"))).collect()
    }

    /// What the launcher says of a launch that failed: call and error.
    #[track_caller]
    fn failure(&self) -> (String, String) {
        let failure: serde_json::Value = serde_json::from_str(&self.errors).expect("a failure");
        let text = |key: &str| failure[key].as_str().unwrap_or_default().to_owned();
        (text("call"), text("error") + &text("refused"))
    }
}

/// The pages that a server faults in for a launch, and its launch for itself and
/// the processes that it waits for; of several launches the fewest.
pub(crate) fn page_faults(sandbox: Sandbox) -> [u64; 2] {
    let server = Server::of(sandbox);
    server.probes(&["pid"]);
    let of_launches = (0..10).map(|_| {
        let before = faults_of(server.running.pid().unsigned_abs()).0;
        let launched = server.launch(&[&server.probe, "pid"], &[], &[]);
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(launched.pidfd.as_fd()), ended).expect("it ends");
        let (own, waited) = faults_of(launched.pid);
        launched.end();
        // When it has answered, it has closed what came.
        server.descriptors();
        (faults_of(server.running.pid().unsigned_abs()).0 - before, own + waited)
    });
    let (of_server, of_launch): (Vec<u64>, Vec<u64>) = of_launches.unzip();
    [of_server, of_launch].map(|faults| faults.into_iter().min().expect("there are some"))
}

/// The page faults of a process, and of those it has waited for.
pub(crate) fn faults_of(pid: u32) -> (u64, u64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("proc");
    // The name in parentheses may hold spaces; behind it come state, ppid,
    // pgrp, session, tty_nr, tpgid, flags, minflt, cminflt.
    let (_, numbers) = stat.rsplit_once(')').expect("proc_pid_stat(5)");
    let mut faults = numbers.split_whitespace().skip(7).map(|number| number.parse());
    let mut next = || faults.next().expect("a field").expect("a number");
    (next(), next())
}

/// Waits for a child.
#[track_caller]
fn wait(pidfd: &OwnedFd) -> WaitIdStatus {
    assert!(is_ready(pidfd, TIMEOUT), "it does not end");
    let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).expect("a child");
    ended.expect("it has ended")
}

/// A request as the server wants it.
fn request(number: u32, argv: &[&str], variables: &[&str], purposes: &[i32]) -> Vec<u8> {
    let count = |count: usize| u32::try_from(count).expect("it fits");
    let head = Head {
        number,
        fds: count(purposes.len()),
        arguments: count(argv.len()),
        variables: count(variables.len()),
    };
    let mut bytes: Vec<u8> = head.bytes().collect();
    bytes.extend(purposes.iter().flat_map(|purpose| purpose.to_ne_bytes()));
    for string in argv.iter().chain(variables) {
        bytes.extend(string.bytes().chain([0]));
    }
    bytes
}

/// The calls of a server under strace and of its launches, so many.
pub(crate) fn traced(
    policy: &[u8],
    caller: Caller,
    held: &prepared::Held,
    launches: usize,
) -> String {
    let files = TempDir::new();
    let output = files.join("trace").to_string_lossy().into_owned();
    let strace = ["strace", "-f", "-qq", "-o", &output, "--"];
    let sandbox = Sandbox::of_bytes(policy).caller(caller).wrap(strace);
    let server = Server::of(held.join(sandbox, "--template-fd"));
    for _ in 0..launches {
        let mut launched = server.launch(&[&server.probe, "pid"], &[], &[]);
        let mut said = String::new();
        launched.output.read_to_string(&mut said).expect("text");
        assert_eq!(said, "ok 2\n");
        // It is a child of strace.
        assert!(is_ready(&launched.pidfd, TIMEOUT));
    }
    let Server { running, socket, .. } = server;
    drop(socket);
    running.wait();
    files.read("trace")
}

#[test]
fn a_launch_is_a_child_of_the_servers_parent_and_ends_as_the_command() {
    for caller in Caller::both() {
        for policy in ["", IN_PLACE] {
            let server = Server::new(policy, caller);
            let said = server.probes(&["say hello"]);
            assert_eq!((said.status, said.output.as_str()), (Some(0), "ok hello\n"), "{caller}");
            let missing = server.launch(&["/no/such/program"], &[], &[]).end();
            assert_eq!(missing.status, Some(127), "{caller}");
            assert_eq!(missing.failure(), ("execve".into(), "ENOENT".into()), "{caller}");
            // Nobody wants it any more.
            let Server { running, socket, .. } = server;
            drop(socket);
            assert_eq!(running.wait().code(), 0, "{caller}");
        }
    }
}

#[test]
fn environment_and_working_directory_of_a_request_do_not_reach_the_next() {
    let tree = TempDir::new().file("d/f", "1");
    let policy = format!("filesystem.read = [{tree:?}]\nprocess.env.keep = ['*']");
    for caller in Caller::both() {
        let server = Server::new(&policy, caller);
        let directory = fs::File::open(tree.join("d")).expect("it is opened");
        let ask = [server.probe.as_str(), "env", "cwd"];
        let first = server.launch(&ask, &["SECRET=1"], &[(directory.as_fd(), DIRECTORY)]).end();
        let second = server.launch(&ask, &[], &[]).end();
        assert!(first.output.contains("SECRET=1"), "{caller}: {first:?}");
        assert!(first.output.contains(&format!("ok {}/d\n", tree)), "{caller}: {first:?}");
        assert!(!second.output.contains("SECRET"), "{caller}: {second:?}");
        assert!(second.output.ends_with("ok /\n"), "{caller}: {second:?}");
    }
}

#[test]
fn descriptors_of_a_request_reach_neither_the_next_nor_stay_in_the_server() {
    for caller in Caller::both() {
        for policy in [
            "process.keep_fds = [5, 9]".to_owned(),
            format!("process.keep_fds = [5, 9]\n{IN_PLACE}"),
        ] {
            let server = Server::new(&policy, caller);
            let file = TempDir::with_file("f", "kept");
            let file = fs::File::open(file.join("f")).expect("it is opened");
            let both = [(file.as_fd(), 9), (file.as_fd(), 5)];
            let ask = [server.probe.as_str(), "fds"];
            let own = server.launch(&ask, &[], &both).end();
            assert_eq!(own.output, "ok 0 1 2 5 9\n", "{caller}: {own:?}");
            let before = server.descriptors();
            for _ in 0..10 {
                // The one of before is not there for a request without it.
                let without = server.launch(&ask, &[], &both[..1]).end();
                assert_eq!(without.failure().1, "EBADF", "{caller}: {without:?}");
                let own = server.launch(&ask, &[], &both).end();
                assert_eq!(own.output, "ok 0 1 2 5 9\n", "{caller}: {own:?}");
            }
            assert_eq!(server.descriptors(), before, "{caller}");
        }
    }
}

#[test]
fn nothing_of_the_launchers_takes_the_place_of_a_descriptor_that_was_not_handed_over() {
    for caller in Caller::both() {
        for number in 3..8 {
            let server = Server::new(&format!("process.keep_fds = [{number}]"), caller);
            let ended = server.probes(&["fds"]);
            assert_eq!(ended.failure(), ("fcntl".into(), "EBADF".into()), "{caller}: {number}");
        }
    }
}

#[test]
fn a_request_is_no_way_to_the_servers_own_descriptors() {
    // 20 is its socket, below the highest number of the policy.
    let server = Server::new("process.keep_fds = [30]", Caller::Nobody);
    let (mut end, held) = std::io::pipe().expect("a pipe is made");
    let probe = server.probe.clone();
    for number in [20, 3, 29, 31, 1 << 20, i32::MAX, i32::MIN, CGROUP - 1] {
        let bytes = request(1, &[&probe, "fds"], &[], &[number]);
        let refused = server.refusal(&bytes, &[held.as_fd()]);
        assert_eq!(refused.reason(), Some(Refusal::RequestFd), "{number}");
    }
    let said = server.launch(&[&probe, "fds"], &[], &[(held.as_fd(), 30)]).end();
    assert_eq!(said.output, "ok 0 1 2 30\n");
    drop(held);
    assert_eq!(end.read(&mut [0]).expect("it is read"), 0, "the server has it open");
}

#[test]
fn why_a_launch_fails_is_told_whatever_comes_first() {
    let server = Server::new("", Caller::Nobody);
    let (mut errors, inside) = std::io::pipe().expect("a pipe is made");
    let file = fs::File::open("/dev/null").expect("it is there");
    let bytes = request(7, &[&server.probe], &[], &[DIRECTORY, ERRORS]);
    server.send(&bytes, &[file.as_fd(), inside.as_fd()]).expect("it is sent");
    drop(inside);
    let (answer, pidfd) = server.answer().expect("an answer");
    assert_eq!((answer.number, answer.failure), (7, 0));
    wait(&pidfd.expect("a pidfd"));
    let mut said = String::new();
    errors.read_to_string(&mut said).expect("text");
    let failure: serde_json::Value = serde_json::from_str(&said).expect("a failure");
    assert_eq!((&failure["call"], &failure["error"]), (&"fchdir".into(), &"ENOTDIR".into()));
}

#[test]
fn nothing_that_was_asked_stays_in_a_server() {
    const SECRET: &str = "TOKEN=0c9f6dbd21";
    let server = Server::new("", Caller::Root);
    let probe = server.probe.clone();
    server.launch(&[&probe, "pid"], &["FIRST=value", SECRET], &[]).end();
    server.probes(&["pid"]);
    // When it has answered this, it is done with what came before.
    server.descriptors();
    assert!(!holds(server.running.pid(), SECRET));
}

/// Whether the writable memory of a process has this text.
fn holds(pid: i32, text: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("proc");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("proc");
    let writable =
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|it| it.contains('w')));
    let mut ranges = writable.filter_map(|line| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        Some([from, to].map(|address| u64::from_str_radix(address, 16).expect("an address")))
    });
    ranges.any(|[from, to]| {
        let mut bytes = vec![0; usize::try_from(to - from).expect("it fits")];
        memory.read_exact_at(&mut bytes, from).expect("it is read");
        bytes.windows(text.len()).any(|each| each == text.as_bytes())
    })
}

#[test]
fn what_is_no_request_is_refused_and_what_came_with_it_closed() {
    for caller in Caller::both() {
        let server = Server::new("", caller);
        let probe = server.probe.clone();
        let before = server.descriptors();
        let (mut output, inside) = std::io::pipe().expect("a pipe is made");
        let whole = request(1, &[&probe, "say running"], &["A=b"], &[1]);
        let fds = [inside.as_fd()];
        let because = |bytes: &[u8], fds: &[BorrowedFd<'_>]| {
            let refused = server.refusal(bytes, fds);
            assert_eq!(refused.call(), Call::Request);
            refused.reason().expect("a reason")
        };
        for length in 1..whole.len() {
            assert_eq!(because(&whole[..length], &fds), Refusal::Request, "{length}");
        }
        let with = |place: usize, word: u32| {
            let mut bytes = whole.clone();
            bytes[place * 4..][..4].copy_from_slice(&word.to_ne_bytes());
            bytes
        };
        let many = u32::try_from(MAX_STRINGS).expect("it fits") + 1;
        for (place, word) in [
            (0, VERSION + 1),
            (2, 0),
            (2, 2),
            (2, u32::MAX),
            (3, 0),
            (3, 1),
            (3, many),
            (3, u32::MAX),
            (4, 0),
            (4, many),
            (4, u32::MAX),
        ] {
            assert_eq!(because(&with(place, word), &fds), Refusal::Request, "{place}: {word}");
        }
        assert_eq!(because(&[whole.as_slice(), b"more\0"].concat(), &fds), Refusal::Request);
        // A descriptor that was not sent, one too many, one twice.
        assert_eq!(because(&whole, &[]), Refusal::Request);
        assert_eq!(because(&whole, &[fds[0], fds[0]]), Refusal::Request);
        for purpose in [1, DIRECTORY, ERRORS, STATUS, NETWORK, CGROUP] {
            let twice = request(1, &[&probe], &[], &[purpose, purpose]);
            assert_eq!(because(&twice, &[fds[0], fds[0]]), Refusal::RequestFd, "{purpose}");
        }
        // Too long, and too many.
        let with = |long: usize| {
            request(1, &[&probe, "say running"], &[&format!("A={}", "x".repeat(long))], &[1])
        };
        let longest = with(MAX_REQUEST - with(0).len());
        assert_eq!(longest.len(), MAX_REQUEST);
        assert_eq!(because(&[longest.as_slice(), b"\0"].concat(), &fds), Refusal::RequestSize);
        assert_eq!(because(&whole, &vec![fds[0]; MAX_FDS + 1]), Refusal::RequestSize);
        assert_eq!(server.descriptors(), before, "{caller}");
        // The controls: what is whole runs, at its longest, too.
        for bytes in [whole, longest] {
            server.send(&bytes, &fds).expect("it is sent");
            let (answer, pidfd) = server.answer().expect("an answer");
            assert_eq!((answer.number, answer.failure), (1, 0), "{caller}");
            wait(&pidfd.expect("a pidfd"));
        }
        drop(inside);
        let mut said = String::new();
        output.read_to_string(&mut said).expect("text");
        assert_eq!(said.matches("running").count(), 2, "{caller}: {said}");
    }
}

/// How many requests are queued.
const REQUESTS: u32 = 10_000;

#[test]
fn ten_thousand_queued_requests_are_each_launched_once_in_their_order() {
    let server = Server::new(IN_PLACE, Caller::Nobody);
    server.probes(&["say first"]);
    let (before, descriptors) = (server.memory("VmRSS"), server.descriptors());
    let (mut output, inside) = std::io::pipe().expect("a pipe is made");
    let mut pids = vec![0; REQUESTS as usize];
    let said = std::thread::scope(|scope| {
        let server = &server;
        scope.spawn(move || {
            for number in 0..REQUESTS {
                let word = format!("say {number}");
                let bytes = request(number, &[&server.probe, &word], &[], &[1]);
                server.send(&bytes, &[inside.as_fd()]).expect("it is sent");
            }
        });
        let said = scope.spawn(move || {
            let mut said = String::new();
            output.read_to_string(&mut said).expect("text");
            said
        });
        for _ in 0..REQUESTS {
            let (answer, pidfd) = server.answer().expect("an answer");
            assert_eq!(answer.failure, 0);
            let pid = &mut pids[answer.number as usize];
            assert_eq!(std::mem::replace(pid, answer.pid), 0, "{} twice", answer.number);
            assert_eq!(wait(&pidfd.expect("a pidfd")).exit_status(), Some(0));
        }
        said.join().expect("it is read")
    });
    let mut lines: Vec<u32> =
        said.lines().map(|line| line[3..].parse().expect("a number")).collect();
    lines.sort_unstable();
    assert!(lines.into_iter().eq(0..REQUESTS), "one is lost or doubled");
    // Process ids begin anew at the end of their range.
    let restarts = pids.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(restarts <= 1, "{restarts} were launched before their turn");
    assert_eq!(server.descriptors(), descriptors);
    assert!(server.memory("VmRSS") <= before + 16, "{before} {}", server.memory("VmRSS"));
}

#[test]
fn a_killed_server_ends_nothing_that_runs_and_leaves_nothing_unknown() {
    for caller in Caller::both() {
        let server = Server::new("", caller);
        let mut stays = server.launch(&[&server.probe, "say runs", "pause"], &[], &[]);
        let mut line = [0; 8];
        stays.output.read_exact(&mut line).expect("it runs");
        server.running.signal(Signal::KILL);
        assert!(server.answer().is_none(), "{caller}: it has ended");
        let sent = server.send(&request(1, &[&server.probe], &[], &[]), &[]);
        assert_eq!(sent, Err(Errno::PIPE), "{caller}");
        assert!(!is_ready(&stays.pidfd, Duration::ZERO), "{caller}");
        stays.kill();
    }
}

#[test]
fn what_a_server_was_killed_in_the_middle_of_is_told_or_never_runs() {
    let (mut told, mut untold) = (0, 0);
    for turn in 0..100 {
        let server = Server::new(if turn % 2 == 0 { "" } else { IN_PLACE }, Caller::Nobody);
        server.probes(&["say it is there"]);
        let (mut output, inside) = std::io::pipe().expect("a pipe is made");
        let bytes = request(1, &[&server.probe, "say running"], &[], &[1]);
        server.send(&bytes, &[inside.as_fd()]).expect("it is sent");
        drop(inside);
        for _ in 0..fastrand::u32(..100) {
            std::thread::yield_now();
        }
        server.running.signal(Signal::KILL);
        let answered = std::iter::from_fn(|| server.answer()).count();
        let mut said = String::new();
        output.read_to_string(&mut said).expect("text");
        match answered {
            0 => untold += 1,
            _ => told += 1,
        }
        assert!(answered == 1 || said.is_empty(), "nobody was told of what said {said:?}");
    }
    println!("{told} were told of, {untold} not");
}

/// A server whose parent is a shell, which can be ended.
fn apart(policy: &str, caller: Caller) -> Server {
    let shell = ["sh", "-c", "\"$@\" & wait", "sh"];
    Server::of(Sandbox::new(policy).caller(caller).wrap(shell))
}

#[test]
fn a_client_that_ends_takes_its_launches_with_it_as_the_policy_says() {
    for caller in Caller::both() {
        for (policy, dies) in [("", true), ("process.die_with_parent = false", false)] {
            let server = apart(policy, caller);
            let launched = server.launch(&[&server.probe, "say runs", "pause"], &[], &[]);
            server.running.signal(Signal::KILL);
            // The server itself is not needed by anybody.
            assert!(server.answer().is_none(), "{caller}: {policy}");
            if dies {
                assert!(is_ready(&launched.pidfd, TIMEOUT), "{caller}");
            } else {
                assert!(!is_ready(&launched.pidfd, Duration::from_millis(100)), "{caller}");
                pidfd_send_signal(&launched.pidfd, Signal::KILL).expect("it is killed");
            }
        }
    }
}

#[test]
fn a_client_that_closes_its_end_keeps_what_runs_but_not_the_server() {
    for caller in Caller::both() {
        let mut server = Server::new("", caller);
        let launched = server.launch(&[&server.probe, "pause"], &[], &[]);
        let (other, _) = std::os::unix::net::UnixStream::pair().expect("a pair is made");
        drop(std::mem::replace(&mut server.socket, other.into()));
        assert_eq!(server.running.wait().code(), 0, "{caller}");
        assert!(!is_ready(&launched.pidfd, Duration::ZERO), "{caller}");
        launched.kill();
    }
}

#[test]
fn signals_do_not_end_a_server_and_are_not_blocked_in_its_commands() {
    let server = Server::new("filesystem.root = 'minimal'", Caller::Nobody);
    assert_eq!(server.descriptors().len(), 5, "it serves");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::TSTP] {
        server.running.signal(signal);
    }
    let said = server.launch(&["/bin/grep", "SigBlk", "/proc/self/status"], &[], &[]).end();
    assert_eq!(said.output, "SigBlk:\t0000000000000000\n");
}

#[test]
fn what_a_server_cannot_serve_is_refused_when_it_starts() {
    for caller in Caller::both() {
        let policy = "process.die_with_parent = 'thread'";
        let (running, _socket) = prepared::start(Sandbox::new(policy).caller(caller), "--serve=20");
        let output = running.wait();
        assert_eq!(output.failure()["call"], "--serve", "{caller}");
    }
    // What each launch would hand over.
    let asks = "seccomp.rule = [{ call = 'getppid', action = 'notify' }]";
    let policies = [("--notify-fd=21", asks), ("--listeners-fd=21", "network.access = 'proxy'")];
    for (option, policy) in policies {
        let socket = OwnedFd::from(UnixDatagram::unbound().expect("a socket"));
        let sandbox = Sandbox::new(policy).option(option).pass(socket, 21);
        let said = prepared::start(sandbox, "--serve=20").0.wait().stderr_text();
        assert!(said.contains("a supervisor or a proxy"), "{option}: {said}");
    }
    // One of what is done for many launches.
    for option in ["--hold-template=21", "--hold-networks=21", "--serve=21"] {
        let (running, _socket) = prepared::start(Sandbox::new("").option(option), "--serve=20");
        let said = running.wait().stderr_text();
        assert!(said.contains("holds one thing, or serves"), "{option}: {said}");
    }
    if !Caller::both().contains(&Caller::Root) {
        return;
    }
    // PID 1 has no parent whose children could be launched.
    let first = ["unshare", "--pid", "--fork"];
    let server = Server::of(Sandbox::new("").wrap(first));
    let refused = server.refusal(&request(1, &[&server.probe], &[], &[]), &[]);
    assert_eq!((refused.call(), refused.error()), (Call::Clone, 22));
}

/// A sandbox of the library, with a template and a server.
fn sandbox(policy: &str) -> (launcher_spawn::Sandbox, std::sync::Arc<harness::Binaries>) {
    let (sandbox, binaries) = prepared::sandbox(policy);
    (sandbox.template().serve().prepare().expect("it can be prepared"), binaries)
}

#[test]
fn a_child_from_a_server_is_like_any_other() {
    let tree = TempDir::new();
    let (sandbox, binaries) = sandbox("filesystem.root = 'minimal'");
    let mut command = sandbox.command("sh");
    command.args(["-c", "sleep 1000 & echo $$; exec sleep 1000"]).stdout(Stdio::piped());
    let mut child = command.receipt(true).pid_file(tree.join("pid")).spawn().expect("it runs");
    assert_eq!(tree.read("pid"), format!("{}\n", child.id()));
    let receipt = child.receipt().expect("it can be read").expect("there is one");
    let launch = receipt.launch.expect("it was launched");
    assert_eq!(launch.prepared, ["template"]);
    assert_eq!(child.try_wait().expect("it can be asked"), None);
    assert_eq!(child.wait_timeout(Duration::from_millis(1)).expect("it can be asked"), None);
    let mut output = child.stdout.take().expect("it is piped");
    let mut said = [0; 2];
    output.read_exact(&mut said).expect("it speaks");
    assert_eq!(&said, b"2\n");
    child.kill().expect("it is killed");
    assert_eq!(child.wait().expect("it ends").signal(), Some(9));
    // What it has started had it open, too.
    assert_eq!(output.read(&mut said).expect("it ends"), 0);

    let mut command = sandbox.command(binaries.probe());
    command.args(["env", "cwd"]).env_clear().current_dir("/");
    let output = command.output().expect("it runs");
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("ok /\n"), "{output:?}");
    let status = sandbox.command("sh").args(["-c", "exit 3"]).status().expect("it runs");
    assert_eq!(status.code(), Some(3));
}

#[test]
fn what_a_server_does_not_take_is_an_error_that_says_so() {
    let (sandbox, binaries) = sandbox("");
    let error = sandbox.command("/no/such/program").spawn().expect_err("it is not there");
    assert_eq!((error.stage(), error.call()), (Some("exec"), Some("execve")), "{error}");
    assert_eq!((error.raw_os_error(), error.path()), (Some(2), Some("/no/such/program")));
    let mut command = sandbox.command(binaries.probe());
    let error = command.current_dir("/no/such/directory").spawn().expect_err("it is not there");
    assert_eq!(error.raw_os_error(), Some(2), "{error}");

    let error = sandbox.command(binaries.probe()).arg("x".repeat(MAX_REQUEST)).spawn();
    let error = error.expect_err("it is too long").to_string();
    assert!(error.contains("128 KiB") && error.contains("fresh"), "{error}");
    let error = sandbox.command(binaries.probe()).args(vec![""; MAX_STRINGS + 1]).spawn();
    assert!(error.expect_err("they are too many").to_string().contains("fresh"));

    let layers = launcher_spawn::Sandbox::from_toml(IN_PLACE).expect("a policy").layers();
    let layer = layers.last().expect("it has some");
    let layered = sandbox.clone().layer(layer.as_ref()).expect("it is prepared");
    let error = layered.command(binaries.probe()).arg("pid").spawn().expect_err("no layer");
    assert!(error.to_string().contains("layer"), "{error}");
    // The server has taken no harm.
    let output = sandbox.command(binaries.probe()).arg("pid").output().expect("it runs");
    assert_eq!(output.stdout, b"ok 2\n");
}

#[test]
fn what_holds_for_commands_holds_for_those_of_a_server() {
    for test in [
        spawn::a_command_runs_in_its_sandbox_as_it_would_by_the_launcher,
        spawn::a_failure_names_stage_call_error_and_path,
        spawn::the_status_is_the_commands,
        spawn::output_is_collected_and_input_is_empty,
        spawn::streams_are_pipes_or_descriptors,
        spawn::environment_and_directory_are_given_and_the_policy_has_the_last_word,
        spawn::descriptors_are_handed_over_by_number_where_the_policy_takes_them,
        spawn::no_other_descriptor_of_the_program_reaches_the_command,
        spawn::kill_ends_what_the_command_has_started,
        spawn::wall_time_ends_a_command_and_a_receipt_tells_why,
        spawn::a_pid_file_is_complete_when_spawn_returns,
        spawn::a_ruleset_that_is_made_once_binds_every_launch,
        spawn::many_threads_start_commands_in_one_sandbox_at_once,
        spawn::a_signal_mask_of_the_caller_reaches_no_command,
        spawn::a_launch_changes_nothing_of_the_thread_that_it_is_made_from,
        embed::a_command_is_born_in_a_cgroup_below_the_one_that_is_given,
        embed::kill_ends_what_is_in_the_cgroup_of_a_command_and_the_group_goes,
        embed::directories_are_handed_over_to_be_mounted_and_not_by_their_paths,
    ] {
        spawn::served(test);
    }
}
