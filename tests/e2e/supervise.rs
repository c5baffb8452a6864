//! A supervisor that decides while the command runs, and whom nobody tricks.

mod attributes;
mod audit;
mod changes;
mod context;
mod looks;
mod memory;
mod notifications;
mod remote;
mod sockets;
mod spawned;

use std::env;
use std::fs;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use harness::{Caller, Errno, IN_PLACE, Output, Sandbox, TempDir};
use launcher_supervisor::{
    Answer, Handover, Listener, PolicyContext, Supervisor, SyscallEvent, Verdict,
};

/// Asks about what a supervisor decides.
const ASKS: &str = r#"
    [[seccomp.rule]]
    call = ["open", "openat", "creat", "execve", "execveat"]
    action = "notify"
"#;

/// The same files with namespaces, and by Landlock alone.
fn policies(filesystem: &str) -> [String; 2] {
    [format!("{filesystem}{ASKS}"), format!("{filesystem}{IN_PLACE}{ASKS}")]
}

/// Runs probes under a supervisor.
fn supervised(
    sandbox: Sandbox,
    probes: &[&str],
    supervisor: impl FnOnce(Listener) -> Supervisor,
) -> Output {
    let (handover, theirs) = Handover::pair().expect("a socket");
    let probe = sandbox.probe_path();
    let command = [&[probe.as_str()], probes].concat();
    let running = sandbox.option("--notify-fd").option("9").pass(theirs, 9).start(command);
    let listener = handover.receive().expect("it is received").expect("there is one");
    let decided = supervisor(listener).run().expect("it starts");
    let output = running.wait();
    decided.join().expect("it does not panic").expect("it listens");
    output
}

/// Runs them under the same policy where nobody is asked.
fn unsupervised(policy: &str, caller: Caller, probes: &[&str]) -> Output {
    let sandbox = Sandbox::new(policy.strip_suffix(ASKS).expect("it has it")).caller(caller);
    let probe = sandbox.probe_path();
    sandbox.run([&[probe.as_str()], probes].concat())
}

fn decides(policy: fn(&SyscallEvent) -> Verdict) -> impl FnOnce(Listener) -> Supervisor {
    move |listener| Supervisor::new(listener).policy_fn(move |event, _| policy(event))
}

fn errno(error: Errno) -> String {
    format!("errno {}", error.raw_os_error())
}

#[test]
fn what_a_supervisor_denies_is_not_opened_by_whatever_name() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("open", "yes").file("secret", "no").symlink("link", "secret");
        let dir = dir.directory("sub");
        let (relative, link) = (format!("read {dir}/sub/../secret"), format!("read {dir}/link"));
        let probes = [
            &*format!("read {dir}/open"),
            &format!("read {dir}/secret"),
            &relative,
            &link,
            &format!("chdir {dir}"),
            "read secret",
            "read open",
            &format!("read {dir}/absent"),
        ];
        for policy in policies(&format!("filesystem.read = [{dir:?}]")) {
            let denies = |event: &SyscallEvent| match event.path.ends_with("secret") {
                true => Verdict::DenyWith(Errno::NODATA),
                false => Verdict::Allow,
            };
            let sandbox = Sandbox::new(&policy).caller(caller);
            let output = supervised(sandbox, &probes, decides(denies));
            let no = errno(Errno::NODATA);
            let absent = errno(Errno::NOENT);
            output.assert_said(&["ok yes", &no, &no, &no, "ok ", &no, "ok yes", &absent]);
            let control = unsupervised(&policy, caller, &probes);
            let said = ["ok yes", "ok no", "ok no", "ok no", "ok ", "ok no", "ok yes", &absent];
            control.assert_said(&said);
        }
    }
}

#[test]
fn a_supervisor_that_allows_everything_allows_what_the_policy_does() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "kept");
        let hidden = TempDir::with_file("secret", "no");
        let probes = [
            &*format!("read {dir}/note"),
            &format!("open-for-write {dir}/note"),
            &format!("create {dir}/new"),
            &format!("read {hidden}/secret"),
        ];
        for policy in policies(&format!("filesystem.read = [{dir:?}]")) {
            let supervised =
                supervised(Sandbox::new(&policy).caller(caller), &probes, Supervisor::new);
            let control = unsupervised(&policy, caller, &probes);
            assert_eq!(supervised.stdout_text(), control.stdout_text(), "{caller}: {supervised:?}");
            let said = control.stdout_text();
            assert_eq!(said.matches("errno").count(), 3, "{caller}: {said}");
            assert!(!dir.has("new") && dir.read("note") == "kept", "{caller}");
        }
    }
}

#[test]
fn a_file_is_created_with_the_mask_and_the_ids_of_the_command() {
    for caller in Caller::both() {
        let dir = TempDir::new();
        for (place, policy) in policies(&format!("filesystem.write = [{dir:?}]")).iter().enumerate()
        {
            let policy = format!("process.umask = 0o137\n{policy}");
            let probe = format!("create-mode {dir}/{place}");
            let output =
                supervised(Sandbox::new(&policy).caller(caller), &[&probe], Supervisor::new);
            output.assert_said(&["ok 640"]);
            let owner = std::os::unix::fs::MetadataExt::uid(
                &fs::metadata(dir.join(place.to_string())).expect("it is there"),
            );
            assert_eq!(owner, caller.uid(), "{caller}");
        }
    }
}

#[test]
fn what_depends_on_who_opens_it_is_answered_for_the_command_or_refused() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("note", "kept");
        let policy = format!("filesystem.read = [{dir:?}]{ASKS}");
        let probes = [
            "read /proc/self/comm",
            "read /proc/thread-self/comm",
            "open-for-read /dev/null",
            &format!("read /proc/self/root{dir}/note"),
            "open-for-read /proc/sys/kernel/hostname",
            "open-for-read /proc/1/comm",
        ];
        let output = supervised(Sandbox::new(&policy).caller(caller), &probes, Supervisor::new);
        let no = errno(Errno::ACCESS);
        let answered = ["ok probe", "ok probe", "ok "];
        output.assert_said(&[&answered[..], &[&no, &no, &no]].concat());
        let control = unsupervised(&policy, caller, &probes);
        control.assert_said(&[&answered[..], &["ok kept", "ok ", "ok "]].concat());
    }
}

#[test]
fn a_descriptor_of_the_command_is_opened_anew_by_its_number() {
    // For others than root the pipe that the probe writes to has another owner.
    let sandbox = Sandbox::new(ASKS);
    let probes = ["open-for-read /proc/self/fd/1", "open-for-read /dev/fd/1"];
    supervised(sandbox, &probes, Supervisor::new).assert_said(&["ok ", "ok "]);
}

#[test]
fn a_pipe_without_another_end_keeps_nobody_waiting() {
    let dir = TempDir::with_file("note", "kept");
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("pipe"), kind, mode, 0).expect("it is made");
    let policy = format!("filesystem.read = [{dir:?}]{ASKS}");
    let probes = [&*format!("read {dir}/pipe"), &format!("read {dir}/note")];
    supervised(Sandbox::new(&policy), &probes, Supervisor::new).assert_said(&["ok ", "ok kept"]);
}

#[test]
fn what_is_only_observed_is_not_decided_about() {
    let dir = TempDir::with_file("note", "kept");
    let policy = format!("filesystem.read = [{dir:?}]{ASKS}");
    let probes = [&*format!("open-path {dir}/note"), &format!("open-for-read {dir}/note")];
    let denies = |event: &SyscallEvent| match event.path.ends_with("note") {
        true => Verdict::Deny,
        false => Verdict::Allow,
    };
    let output = supervised(Sandbox::new(&policy), &probes, decides(denies));
    output.assert_said(&["ok ", &errno(Errno::PERM)]);
}

#[test]
fn a_call_that_no_supervisor_decides_about_fails() {
    let policy = ASKS.replace("\"open\"", "\"open\", \"getppid\"");
    let probes = ["syscall getppid"];
    let output = supervised(Sandbox::new(&policy), &probes, Supervisor::new);
    output.assert_said(&[&errno(Errno::NOSYS)]);
    assert!(Sandbox::new("").probe("syscall getppid").is_ok());
}

#[test]
fn a_policy_that_panics_hangs_or_kills_allows_nothing() {
    let dir = TempDir::with_file("note", "kept");
    let policy = format!("filesystem.read = [{dir:?}]{ASKS}");
    let read = format!("read {dir}/note");
    let probes = [&*read, &read];
    let output = supervised(
        Sandbox::new(&policy),
        &probes,
        decides(|event| {
            assert!(!event.is_open(), "this panic is wanted");
            Verdict::Allow
        }),
    );
    let no = errno(Errno::PERM);
    output.assert_said(&[&no, &no]);

    let output = supervised(Sandbox::new(&policy), &probes, |listener| {
        let hangs = |event: &SyscallEvent, _: &mut PolicyContext| {
            while event.is_open() {
                thread::park();
            }
            Verdict::Allow
        };
        Supervisor::new(listener).policy_fn(hangs).timeout(Duration::from_millis(500))
    });
    output.assert_said(&[&no, &no]);

    let kills = |event: &SyscallEvent| if event.is_open() { Verdict::Kill } else { Verdict::Allow };
    let output = supervised(Sandbox::new(&policy), &probes, decides(kills));
    assert_eq!((output.code(), output.stdout_text().as_str()), (128 + 9, ""), "{output:?}");
}

#[test]
fn a_program_is_judged_by_its_arguments() {
    for caller in Caller::both() {
        let sandbox = Sandbox::new(ASKS).caller(caller);
        let denies = |event: &SyscallEvent| {
            // That of the launcher has all that the probe shall do.
            let is_probe = event.is_exec() && event.argv.len() == 2;
            let denied = is_probe && event.argv_contains("signals");
            if denied { Verdict::DenyWith(Errno::NODATA) } else { Verdict::Allow }
        };
        let probe = sandbox.probe_path();
        let probes = [&*format!("exec {probe} signals"), &format!("exec {probe} pid")];
        let output = supervised(sandbox, &probes, decides(denies));
        let text = output.stdout_text();
        let (denied, allowed) = text.split_once('\n').expect("two lines");
        assert_eq!(denied, errno(Errno::NODATA), "{caller}: {output:?}");
        assert!(allowed.starts_with("ok "), "{caller}: {output:?}");
    }
}

/// How long 100,000 of them may take.
const RACE: Duration = Duration::from_secs(600);

/// How often a race is run for.
fn races() -> usize {
    env::var("RACES").map_or(2000, |count| count.parse().expect("RACES is a number"))
}

/// How many files with this beginning a probe has opened.
fn opened(output: &Output, beginning: &str) -> usize {
    let text = output.stdout_text();
    let words: Vec<&str> = text.split_whitespace().skip(1).collect();
    let of = words.chunks(2).find(|pair| pair[0] == beginning);
    of.map_or(0, |pair| pair[1].parse().expect("a number"))
}

fn is_secret(event: &SyscallEvent) -> Verdict {
    if event.path.ends_with("file-b") { Verdict::Deny } else { Verdict::Allow }
}

#[test]
fn a_path_that_changes_all_the_while_opens_nothing_that_is_denied() {
    let dir = TempDir::with_file("file-a", "a").file("file-b", "b");
    for policy in policies(&format!("filesystem.read = [{dir:?}]")) {
        let probe = format!("flip-open {} {dir}/file-a b", races());
        until_both_are_met(|| {
            let sandbox = Sandbox::new(&policy).timeout(RACE);
            let output = supervised(sandbox, &[&probe], decides(is_secret));
            println!("on behalf: {}", output.stdout_text());
            assert_eq!(opened(&output, "b"), 0, "{output:?}");
            [opened(&output, "a"), opened(&output, "-")]
        });
    }
}

/// Runs a race until both, what is allowed and what is denied, were met in it: on a
/// busy machine one thread may wait while the other runs.
fn until_both_are_met(mut race: impl FnMut() -> [usize; 2]) {
    let is_met = (0..TRIES).any(|_| race().iter().all(|count| *count > 0));
    assert!(is_met, "nothing changed while it was looked at");
}

/// The control: whoever judges what memory says and has the kernel read it again
/// loses.
#[test]
fn the_race_is_won_against_a_supervisor_that_lets_the_kernel_read_again() {
    assert!((0..TRIES).any(|_| loses()));
}

/// How often it is tried to win a race that can be won.
const TRIES: usize = 20;

/// Whether a path was opened that is denied.
fn loses() -> bool {
    let dir = TempDir::with_file("file-a", "a").file("file-b", "b");
    let policy = format!("filesystem.read = [{dir:?}]{ASKS}");
    let sandbox = Sandbox::new(&policy).timeout(RACE);
    let (handover, theirs) = Handover::pair().expect("a socket");
    let probe = sandbox.probe_path();
    let flips = format!("flip-open {} {dir}/file-a b", races());
    let running =
        sandbox.option("--notify-fd").option("9").pass(theirs, 9).start([&*probe, &*flips]);
    let listener = handover.receive().expect("it is received").expect("there is one");
    let naive = thread::spawn(move || {
        while let Some(asked) = listener.receive().expect("it listens") {
            let thread = asked.thread.expect("it is seen");
            let memory = fs::File::open(format!("/proc/{thread}/mem")).expect("it is there");
            let mut path = [0; 256];
            // An exec has its path first, and is not judged.
            let denied = memory.read_at(&mut path, asked.arguments[1]).is_ok()
                && path.split(|&byte| byte == 0).next().is_some_and(|path| path.ends_with(b"-b"));
            let answer = if denied { Answer::Fail(Errno::PERM) } else { Answer::Continue };
            listener.answer(asked.id, answer).expect("it is answered");
        }
    });
    let output = running.wait();
    naive.join().expect("it does not panic");
    println!("naive: {}", output.stdout_text());
    opened(&output, "b") > 0
}
