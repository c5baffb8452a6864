//! Two launches of one policy at the same time see nothing of each other.

use crate::prepared::Held;
use harness::{Caller, Outcome, Running, Sandbox, needs};

/// Leaves a file, listens at a port and at an abstract name, says so and its
/// process id, and stays.
const FIRST: &str = "
import os, socket, sys, time
open('/tmp/launcher-isolation-' + sys.argv[2], 'w').write('x')
tcp = socket.socket()
tcp.bind(('127.0.0.1', int(sys.argv[1])))
tcp.listen()
unix = socket.socket(socket.AF_UNIX)
unix.bind('\\0launcher-isolation-' + sys.argv[2])
unix.listen()
print(os.getpid(), flush=True)
time.sleep(600)
";

#[test]
fn two_launches_at_once_share_neither_files_nor_sockets_nor_processes() {
    needs!("python3");
    for caller in Caller::both() {
        let policy = "filesystem.root = 'host'\nnetwork.access = 'loopback'";
        let found = of_two(|| Sandbox::new(policy).caller(caller));
        for (line, outcome) in found {
            assert!(!is_seen(&line, &outcome), "{caller}: {line}: {outcome:?}");
        }
        // The control: without a sandbox all of it is shared.
        for (line, outcome) in of_two(|| Sandbox::outside().caller(caller)) {
            assert!(outcome.is_ok(), "{caller}: {line}: {outcome:?}");
        }
    }
}

#[test]
fn two_launches_of_one_template_share_no_more_than_two_without() {
    needs!("python3");
    for caller in Caller::both() {
        let policy = "filesystem.root = 'host'\nnetwork.access = 'loopback'";
        let held = Held::template(policy, caller);
        for (line, outcome) in of_two(|| held.launch(policy, caller)) {
            assert!(!is_seen(&line, &outcome), "{caller}: {line}: {outcome:?}");
        }
    }
}

/// Whether the second launch has seen something of the first: of processes only
/// PID 1 and the second one itself are there.
fn is_seen(line: &str, outcome: &Outcome) -> bool {
    match (line, outcome) {
        ("list /proc", Outcome::Ok(names)) => names.split(' ').filter(is_number).count() != 2,
        _ => outcome.is_ok(),
    }
}

fn is_number(word: &&str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a second launch sees of a first one: lines for the probe, with what
/// came of them.
fn of_two(sandbox: impl Fn() -> Sandbox) -> Vec<(String, Outcome)> {
    let port = free_port().to_string();
    let name = format!("{:016x}", fastrand::u64(..));
    let mut first: Running = sandbox().start(["python3", "-c", FIRST, &port, &name]);
    let pid = first.line();
    let lines = [
        format!("open-for-read /tmp/launcher-isolation-{name}"),
        format!("connect-tcp 127.0.0.1 {port}"),
        format!("unix-abstract-connect launcher-isolation-{name}"),
        "list /proc".to_owned(),
    ];
    let words: Vec<&str> = lines.iter().map(String::as_str).collect();
    let outcomes = sandbox().probes(&words);
    assert!(pid.trim().parse::<u32>().is_ok(), "{pid}");
    first.signal(rustix::process::Signal::KILL);
    first.wait();
    // Outside, it is a file of the host's.
    let _ = std::fs::remove_file(format!("/tmp/launcher-isolation-{name}"));
    lines.into_iter().zip(outcomes).collect()
}

/// A port that nobody listens at.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free one");
    socket.local_addr().expect("it has an address").port()
}
