//! Another process that decides, over a socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use harness::{Errno, Handover, Output, Sandbox, TempDir, skip};
use launcher_supervisor::Supervisor;
use serde_json::Value;

use super::{ASKS, errno, supervised};

/// Reads files while somebody answers each event with a line, or ends.
fn read_all(dir: &TempDir, names: &[&str], answer: fn(&Value) -> Option<String>) -> Output {
    let policy = format!("filesystem.read = [{dir:?}]{ASKS}");
    let probes: Vec<String> = names.iter().map(|name| format!("read {dir}/{name}")).collect();
    let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let decides = thread::spawn(move || {
        let mut ours = ours;
        for line in BufReader::new(ours.try_clone().expect("dup")).lines() {
            let event = serde_json::from_str(&line.expect("it is read")).expect("it is JSON");
            let Some(answer) = answer(&event) else { break };
            ours.write_all(answer.as_bytes()).expect("it is written");
        }
    });
    let output = supervised(Sandbox::new(&policy), &probes, |listener| {
        let supervisor = Supervisor::new(listener).timeout(Duration::from_millis(500));
        supervisor.remote(theirs).expect("it is set")
    });
    decides.join().expect("it does not panic");
    output
}

fn is_about(event: &Value, name: &str) -> bool {
    event["path"].as_str().is_some_and(|path| path.ends_with(name))
}

#[test]
fn another_process_decides_by_lines_of_json() {
    let dir = TempDir::with_file("open", "o").file("closed", "c").file("later", "l");
    let answer = |event: &Value| {
        let more = match event {
            event if is_about(event, "closed") => r#""deny", "errno": 61"#.to_owned(),
            event if is_about(event, "open") => {
                let later = event["path"].as_str().expect("it has one").replace("open", "later");
                format!(r#""allow", "deny_path": ["{later}"]"#)
            }
            _ => r#""allow""#.to_owned(),
        };
        Some(format!("{{\"verdict\": {more}}}\n"))
    };
    let output = read_all(&dir, &["later", "closed", "open", "later"], answer);
    output.assert_said(&["ok l", &errno(Errno::NODATA), "ok o", &errno(Errno::ACCESS)]);
}

#[test]
fn a_process_that_is_gone_or_silent_or_talks_nonsense_allows_nothing() {
    let dir = TempDir::with_file("note", "kept").file("other", "kept");
    let no = errno(Errno::PERM);
    let wrong: [fn(&Value) -> Option<String>; 5] = [
        |event| (!is_about(event, "note")).then(|| "{\"verdict\": \"allow\"}\n".to_owned()),
        |event| {
            Some(if is_about(event, "note") { "" } else { "{\"verdict\": \"allow\"}\n" }.into())
        },
        |event| {
            Some(
                if is_about(event, "note") { "yes\n" } else { "{\"verdict\": \"allow\"}\n" }.into(),
            )
        },
        |event| {
            let more = if is_about(event, "note") { ", \"also\": 1" } else { "" };
            Some(format!("{{\"verdict\": \"allow\"{more}}}\n"))
        },
        |event| {
            let errno = if is_about(event, "note") { ", \"errno\": 0" } else { "" };
            Some(format!("{{\"verdict\": \"allow\"{errno}}}\n"))
        },
    ];
    for answer in wrong {
        read_all(&dir, &["other", "note", "other"], answer).assert_said(&["ok kept", &no, &no]);
    }
}

/// A process that is not left behind.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example, and the options of `encode-policy run`.
#[test]
fn the_example_decides_for_a_command_and_a_log_is_kept() {
    if !Path::new("/usr/bin/python3").exists() {
        skip!("remote", "there is no python3");
    }
    let dir = TempDir::with_file("note", "kept").file(".git/config", "hidden");
    let socket = dir.join("socket");
    let log = dir.join("log");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/decide.py");
    let mut decides = Command::new("/usr/bin/python3");
    let decides = decides.arg(example).arg(&socket).stdout(Stdio::piped());
    let mut decides = Killed(decides.spawn().expect("it starts"));
    let mut ready = String::new();
    let output = decides.0.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut ready).expect("it is read");
    assert_eq!(ready, "ready\n");

    let policy = format!("filesystem.read = [{dir:?}]{ASKS}");
    let run = |policy: &str, socket: &Path| {
        let sandbox = Sandbox::new(policy).handover(Handover::EncoderRun);
        let sandbox = sandbox.option(format!("--supervise={}", socket.display()));
        let sandbox = sandbox.option(format!("--audit={}", log.display()));
        let probe = sandbox.probe_path();
        let probes = [format!("read {dir}/note"), format!("read {dir}/.git/config")];
        sandbox.run([&probe].into_iter().chain(&probes))
    };
    run(&policy, &socket).assert_said(&["ok kept", &errno(Errno::ACCESS)]);
    let lines = dir.read("log");
    let mut lines = lines.lines().map(|line| serde_json::from_str(line).expect("it is JSON"));
    let denied: Value = lines.find(|line| is_about(line, ".git/config")).expect("it is recorded");
    assert_eq!((&denied["verdict"], &denied["errno"]), (&"deny".into(), &13.into()));
    drop(decides);

    // Nobody is there; nobody listens; nothing is asked about.
    let refused = |output: Output, why: &str| {
        assert_eq!(output.code(), 125, "{output:?}");
        assert!(output.stderr_text().contains(why), "{output:?}");
    };
    refused(run(&policy, &dir.join("absent")), "cannot ask at");
    refused(run(&policy, &socket), "cannot ask at");
    let _other = UnixListener::bind(dir.join("other")).expect("it listens");
    let asks_nothing = format!("filesystem.read = [{dir:?}]");
    refused(run(&asks_nothing, &dir.join("other")), "the policy asks about nothing");
}
