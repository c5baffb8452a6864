//! The audit log, without which nothing is allowed that it was asked to record.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use harness::{Caller, Errno, Sandbox, TempDir};
use launcher_supervisor::{PolicyContext, Supervisor, SyscallEvent, Verdict};
use serde_json::Value;

use super::{errno, policies, supervised};

/// What was written, which others can read meanwhile.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().expect("nobody panics").clone();
        let text = String::from_utf8(bytes).expect("it is text");
        text.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect()
    }
}

/// Who writes only so many lines, and then fails or hangs.
struct Ends {
    left: usize,
    hangs: bool,
}

impl Write for Ends {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None if self.hangs => loop {
                thread::park();
            },
            None => return Err(ErrorKind::StorageFull.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn decides(event: &SyscallEvent, _: &mut PolicyContext) -> Verdict {
    match event.path.file_name().and_then(|name| name.to_str()) {
        Some("watched") => Verdict::Audit,
        Some("closed") => Verdict::DenyWith(Errno::NODATA),
        _ => Verdict::Allow,
    }
}

#[test]
fn every_event_is_a_line_of_json() {
    for caller in Caller::both() {
        let dir = TempDir::with_file("open", "a").file("watched", "b").file("closed", "c");
        let probes = ["open", "watched", "closed"].map(|name| format!("read {dir}/{name}"));
        let probes = probes.each_ref().map(String::as_str);
        for policy in policies(&format!("filesystem.read = [{dir:?}]")) {
            let log = Log::default();
            let written = log.clone();
            let output = supervised(Sandbox::new(&policy).caller(caller), &probes, |listener| {
                Supervisor::new(listener).policy_fn(decides).audit(written)
            });
            output.assert_said(&["ok a", "ok b", &errno(Errno::NODATA)]);
            let lines = log.lines();
            let about = |name: &str| {
                let path = format!("{dir}/{name}");
                lines.iter().find(|line| line["path"] == *path).expect("it is recorded")
            };
            assert_eq!(about("open")["verdict"], "allow", "{lines:?}");
            assert_eq!(about("watched")["verdict"], "audit", "{lines:?}");
            let closed = about("closed");
            assert_eq!(closed["verdict"], "deny", "{lines:?}");
            assert_eq!(closed["errno"], Errno::NODATA.raw_os_error(), "{lines:?}");
            assert_eq!(closed["firmness"], "firm", "{lines:?}");
            assert!(closed["microseconds"].is_u64() && closed["time"].is_f64(), "{lines:?}");
            // The command itself is one.
            assert!(
                lines.iter().any(|line| line["call"] == "execveat" || line["call"] == "execve")
            );
        }
    }
}

#[test]
fn what_cannot_be_recorded_is_denied() {
    let dir = TempDir::with_file("watched", "b");
    let read = format!("read {dir}/watched");
    let [policy, _] = policies(&format!("filesystem.read = [{dir:?}]"));
    let no = errno(Errno::PERM);
    // Without a log.
    let run = |supervisor: &dyn Fn(Supervisor) -> Supervisor| {
        supervised(Sandbox::new(&policy), &[&read, &read], |listener| {
            supervisor(Supervisor::new(listener).policy_fn(decides))
        })
    };
    run(&|supervisor| supervisor).assert_said(&[&no, &no]);
    let log = Log::default();
    run(&|supervisor| supervisor.audit(log.clone())).assert_said(&["ok b", "ok b"]);
    // As many lines as there were before the last two.
    let left = log.lines().len() - 2;
    run(&|supervisor| supervisor.audit(Ends { left, hangs: false })).assert_said(&[&no, &no]);
    let hangs = |supervisor: Supervisor| {
        supervisor.audit(Ends { left, hangs: true }).timeout(Duration::from_millis(500))
    };
    run(&hangs).assert_said(&[&no, &no]);
}
