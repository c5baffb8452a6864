//! The launcher with the probe inside, and the conversation with it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use policy_encoder::explain::{Operation, Rung};
use policy_encoder::handover::Listeners;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

use crate::run;

/// A probe that answers.
pub(super) struct Probe {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    status: File,
    /// Of a proxy, which nobody asks.
    _listeners: Listeners,
}

/// What the kernel says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Done,
    Refused(Errno),
    Skipped(String),
}

impl Probe {
    /// Starts the launcher under a policy. `taken` are descriptors that the
    /// policy names.
    pub(super) fn start(
        launcher: Option<&Path>,
        policy: &[u8],
        taken: &BTreeSet<u32>,
    ) -> Result<Self, String> {
        if !cfg!(target_feature = "crt-static") {
            return Err("this encode-policy needs shared libraries, which may not be in view; \
                        verify with a static one"
                .into());
        }
        let launcher = run::launcher(launcher)?;
        let cannot = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what}: {error}");
        let hand_over = |fd: &OwnedFd| {
            run::on_free_number(fd, taken).map_err(|errno| cannot("hand a descriptor over", &errno))
        };
        let sealed = run::sealed(policy).map_err(|errno| cannot("make a memfd", &errno))?;
        let program = own_program().map_err(|error| cannot("copy this program", &error))?;
        let status = memory(c"status").map_err(|errno| cannot("make a memfd", &errno))?;
        let (policy, program) = (hand_over(&sealed)?, hand_over(&program)?);
        let (listeners, socket) =
            Listeners::pair().map_err(|errno| cannot("make a socket", &errno))?;
        let socket = hand_over(&socket)?;
        let (status_fd, status) = (hand_over(&status)?, File::from(status));
        let mut child = Command::new(&launcher)
            .args(["--sealed", "--fd", &policy.as_raw_fd().to_string()])
            .args(["--exec-fd", &program.as_raw_fd().to_string()])
            .args(["--status-fd", &status_fd.as_raw_fd().to_string()])
            .args(["--listeners-fd", &socket.as_raw_fd().to_string()])
            .args(["--", "encode-policy", "verify-probe"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| cannot(&format!("run {}", launcher.display()), &error))?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the launcher has no standard streams".into());
        };
        let mut probe = Self {
            child,
            questions,
            answers: BufReader::new(answers),
            status,
            _listeners: listeners,
        };
        match probe.line() {
            Ok(line) if line == "ready" => Ok(probe),
            _ => Err(probe.end()),
        }
    }

    /// On which rung the launch is, as its status says.
    pub(super) fn rung(&self) -> Result<Rung, String> {
        let text =
            self.status_text().map_err(|error| format!("cannot read the status: {error}"))?;
        let events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let launch = events
            .into_iter()
            .find(|event: &serde_json::Value| event["event"] == "launch")
            .ok_or("the launcher does not say what it has done")?;
        let abi = launch["landlock_abi"].as_u64().and_then(|abi| abi.try_into().ok()).unwrap_or(0);
        Ok(match launch["rung"].as_str() {
            Some("namespaces") => Rung::Namespaces { abi },
            Some("landlock") => Rung::Landlock { abi },
            _ => Rung::Landlock { abi: 0 },
        })
    }

    /// Asks one question.
    pub(super) fn ask(
        &mut self,
        operation: Operation,
        path: &Path,
        to: &Path,
    ) -> Result<Said, String> {
        let words =
            [operation.word().as_bytes(), path.as_os_str().as_bytes(), to.as_os_str().as_bytes()];
        let question: Vec<u8> = words.iter().flat_map(|word| [word, &b"\0"[..]].concat()).collect();
        let line = self.questions.write_all(&question).and_then(|()| self.line());
        let line = match line {
            Ok(line) if !line.is_empty() => line,
            _ => return Err(self.end()),
        };
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match (word, rest.parse()) {
            ("ok", _) => Ok(Said::Done),
            ("errno", Ok(code)) => Ok(Said::Refused(Errno::from_raw_os_error(code))),
            ("skip", _) => Ok(Said::Skipped(rest.to_owned())),
            _ => Err(format!("the probe says {line:?}")),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn status_text(&self) -> io::Result<String> {
        let length = usize::try_from(self.status.metadata()?.len()).unwrap_or_default();
        let mut bytes = vec![0; length];
        self.status.read_exact_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// How it ended when it should not have; the launcher has said why.
    fn end(&mut self) -> String {
        match self.child.wait() {
            Ok(status) => format!("the launch ended before it was asked everything: {status}"),
            Err(error) => format!("cannot wait for the launcher: {error}"),
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // The end of a launch that is not needed any more may not be an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program in memory: no rule of Landlock governs that, and no mount
/// hides it. Open for reading only, since what is written to cannot be run.
fn own_program() -> io::Result<OwnedFd> {
    let copy = match memfd_create(c"encode-policy", MemfdFlags::CLOEXEC | MemfdFlags::EXEC) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => memfd_create(c"encode-policy", MemfdFlags::CLOEXEC)?,
        other => other?,
    };
    let mut copy = File::from(copy);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    Ok(File::open(format!("/proc/self/fd/{}", copy.as_raw_fd()))?.into())
}

fn memory(name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    memfd_create(name, MemfdFlags::CLOEXEC)
}
