//! A sandbox whose server is killed. It is a program of its own, because its
//! children are looked at.

use std::fs;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Binaries, Errno, TIMEOUT};
use launcher_spawn::{Launcher, Sandbox, Stdio};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

/// The server among the children of this process.
fn server() -> Pid {
    let entries = fs::read_dir("/proc").expect("it is listed");
    let own = std::process::id().to_string();
    let is_server = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        parent == Some(own.as_str()) && line.contains("--serve")
    };
    let names = entries.map(|entry| entry.expect("it is listed").file_name());
    let pid = names.filter_map(|name| name.into_string().ok()).find(|name| is_server(name));
    Pid::from_raw(pid.expect("a server").parse().expect("a number")).expect("not 0")
}

#[test]
fn a_killed_server_is_an_error_for_all_that_ask_and_the_end_of_nothing_that_runs() {
    let binaries: Arc<Binaries> = Binaries::shared();
    let launcher = Launcher::from_path(binaries.launcher()).expect("it is there");
    let sandbox = Sandbox::from_toml(&harness::with_probe("", &binaries.probe()));
    let sandbox = sandbox.expect("it is a policy").launcher(launcher);
    let sandbox = sandbox.template().serve().prepare().expect("it can be prepared");
    let start = || {
        let mut command = sandbox.command(binaries.probe());
        command.args(["say runs", "pause"]).stdout(Stdio::piped()).spawn().expect("it runs")
    };
    let mut first = start();
    let mut said = [0; 8];
    first.stdout.as_mut().expect("it is piped").read_exact(&mut said).expect("it says so");

    // While many ask: each is told something, and nobody waits for ever.
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (sandbox, binaries) = (sandbox.clone(), &binaries);
                scope.spawn(move || {
                    let end = Instant::now() + TIMEOUT;
                    loop {
                        assert!(Instant::now() < end, "no error");
                        match sandbox.command(binaries.probe()).arg("say so").output() {
                            Ok(output) => assert_eq!(output.stdout, b"ok so\n"),
                            Err(error) => return error.to_string(),
                        }
                    }
                })
            })
            .collect();
        kill_process(server(), Signal::KILL).expect("it is killed");
        for thread in threads {
            let error = thread.join().expect("no other failure");
            assert!(error.contains("cannot ask the spawn server"), "{error}");
        }
    });

    assert_eq!(first.wait_timeout(Duration::ZERO).expect("it can be asked"), None);
    first.kill().expect("it is killed");
    first.wait().expect("it ends");
    // What shares nothing takes no server.
    let output = sandbox.command(binaries.probe()).arg("say so").fresh(true).output();
    assert_eq!(output.expect("it runs").stdout, b"ok so\n");
    drop(sandbox);
    assert_eq!(wait(WaitOptions::NOHANG).err(), Some(Errno::CHILD), "a child is left");
}
