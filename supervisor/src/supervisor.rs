//! The loop: what the kernel asks is told to a policy function, and its verdict
//! is carried out.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use syscalls::Sysno;

use crate::confined::Confined;
use crate::decision::{Decision, Policy};
use crate::files::Open;
use crate::target::{Target, errno};
use crate::{Answer, Category, Firmness, Listener, Notification, SyscallEvent, Verdict};

/// The calls that a supervisor decides about, and how firmly. Every other call
/// that it is asked about fails with ENOSYS.
pub const SUPERVISED: [(&str, Firmness); 5] = [
    ("open", Firmness::Firm),
    ("openat", Firmness::Firm),
    ("creat", Firmness::Firm),
    ("execve", Firmness::BestEffort),
    ("execveat", Firmness::BestEffort),
];

/// How long a policy function may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often a file is judged anew because somebody else has created it.
const JUDGED: usize = 8;

/// The kernel's name for the calls of this architecture.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = linux_raw_sys::ptrace::AUDIT_ARCH_X86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = linux_raw_sys::ptrace::AUDIT_ARCH_AARCH64;

/// The working directory, as a register holds it.
const AT_FDCWD: u64 = linux_raw_sys::general::AT_FDCWD as u32 as u64;

/// The flags that make creat(2) of open(2).
const CREAT: u64 = (linux_raw_sys::general::O_CREAT
    | linux_raw_sys::general::O_WRONLY
    | linux_raw_sys::general::O_TRUNC) as u64;

/// Decides about the calls of one command.
pub struct Supervisor {
    listener: Listener,
    policy: Policy,
    timeout: Duration,
}

/// What an event becomes.
type Outcome = Result<Effect, Errno>;

/// What is done about a call that is allowed.
enum Effect {
    /// The kernel makes it.
    Continue,
    /// It is answered already.
    Answered,
}

impl Supervisor {
    /// A supervisor that allows everything that the static policy does.
    pub fn new(listener: Listener) -> Self {
        Self { listener, policy: Box::new(|_| Verdict::Allow), timeout: TIMEOUT }
    }

    /// Has a function decide. If it panics, everything is denied from then on.
    pub fn policy_fn(self, policy: impl FnMut(&SyscallEvent) -> Verdict + Send + 'static) -> Self {
        Self { policy: Box::new(policy), ..self }
    }

    /// How long the function may take, 5 seconds unless said. A call that it
    /// takes longer about is denied, and so is every other until it is back.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Decides on threads of its own until nobody is left who could call.
    ///
    /// # Errors
    ///
    /// That a thread cannot be started.
    pub fn run(self) -> io::Result<JoinHandle<io::Result<()>>> {
        let decision = Decision::start(self.policy, self.timeout)?;
        let mut running = Running { listener: self.listener, decision, confined: None };
        thread::Builder::new().name("supervisor".to_owned()).spawn(move || {
            while let Some(asked) = running.listener.receive()? {
                running.decide(&asked)?;
            }
            Ok(())
        })
    }
}

struct Running {
    listener: Listener,
    decision: Decision,
    confined: Option<Confined>,
}

impl Running {
    fn decide(&mut self, asked: &Notification) -> io::Result<()> {
        let answer = match self.outcome(asked) {
            Ok(Effect::Answered) => return Ok(()),
            Ok(Effect::Continue) => Answer::Continue,
            Err(error) => Answer::Fail(error),
        };
        self.listener.answer(asked.id, answer).map(drop)
    }

    fn outcome(&mut self, asked: &Notification) -> Outcome {
        if asked.architecture != ARCHITECTURE {
            return Err(Errno::NOSYS);
        }
        let call = usize::try_from(asked.call).ok().and_then(Sysno::new).ok_or(Errno::NOSYS)?;
        let target = Target::of(asked.thread.ok_or(Errno::PERM)?)?;
        let [first, second, third, fourth, ..] = asked.arguments;
        match call.name() {
            "open" => self.open(asked, &target, "open", [AT_FDCWD, first, second, third]),
            "creat" => self.open(asked, &target, "creat", [AT_FDCWD, first, CREAT, second]),
            "openat" => self.open(asked, &target, "openat", [first, second, third, fourth]),
            "execve" => self.exec(asked, &target, "execve", [first, second]),
            "execveat" => self.exec(asked, &target, "execveat", [second, third]),
            _ => Err(Errno::NOSYS),
        }
    }

    fn exec(
        &mut self,
        asked: &Notification,
        target: &Target,
        name: &'static str,
        [path, argv]: [u64; 2],
    ) -> Outcome {
        let (path, argv) = (target.path(path)?, target.strings(argv)?);
        let event = SyscallEvent { category: Category::Process, path, argv, ..about(name, target) };
        self.judge(asked, event)?;
        Ok(Effect::Continue)
    }

    fn open(
        &mut self,
        asked: &Notification,
        target: &Target,
        name: &'static str,
        [directory, path, flags, mode]: [u64; 4],
    ) -> Outcome {
        // Registers hold 64 bits, of which the kernel takes as many.
        let (directory, bits, mode) = (directory as i32, flags as u32, mode as u32);
        let flags = OFlags::from_bits_retain(bits);
        let open = Open { directory, path: target.path(path)?, flags, mode };
        if flags.contains(OFlags::PATH) {
            // Nothing is read or written by what this gives, and the kernel
            // gives nothing else for these flags, which nobody can change.
            let (path, firmness) = (open.path, Firmness::Observed);
            let event = SyscallEvent { firmness, path, flags: bits, ..about(name, target) };
            self.observe(asked, event)?;
            return Ok(Effect::Continue);
        }
        self.confine(target)?;
        for _ in 0..JUDGED {
            let confined = self.confined.as_ref().ok_or(Errno::PERM)?;
            let found = open.find(target, confined)?;
            let (path, identity) = (found.path.clone(), found.identity);
            let event = SyscallEvent { path, identity, flags: bits, ..about(name, target) };
            self.judge(asked, event)?;
            let confined = self.confined.as_ref().ok_or(Errno::PERM)?;
            let file = match found.open(&open, target, confined) {
                Err(Errno::EXIST) if !flags.contains(OFlags::EXCL) => continue,
                file => file?,
            };
            let cloexec = flags.contains(OFlags::CLOEXEC);
            let answered = self.listener.answer_fd(asked.id, file.as_fd(), cloexec);
            return answered.map(|_| Effect::Answered).map_err(errno);
        }
        Err(Errno::AGAIN)
    }

    /// Has a thread that may do what this one may.
    fn confine(&mut self, target: &Target) -> Result<(), Errno> {
        let ids = &target.status.ids;
        if self.confined.is_none() {
            let ruleset = self.listener.ruleset().map(|ruleset| ruleset.try_clone_to_owned());
            let ruleset = ruleset.transpose().map_err(errno)?;
            let confined = Confined::start(ids.clone(), ruleset);
            self.confined = Some(confined.map_err(errno)?);
        }
        let is_same = self.confined.as_ref().is_some_and(|confined| confined.is_as(ids));
        if is_same { Ok(()) } else { Err(Errno::PERM) }
    }

    fn observe(&mut self, asked: &Notification, event: SyscallEvent) -> Result<(), Errno> {
        self.check(asked)?;
        self.decision.about(event);
        Ok(())
    }

    /// Asks about an event; the error that the call gets, if it may not be made.
    fn judge(&mut self, asked: &Notification, event: SyscallEvent) -> Result<(), Errno> {
        self.check(asked)?;
        let pid = event.pid;
        match self.decision.about(event) {
            // Whatever happens next happens to the thread that was judged.
            Verdict::Allow => self.check(asked),
            Verdict::Deny => Err(Errno::PERM),
            Verdict::DenyWith(error) => Err(error),
            Verdict::Kill => self.kill(asked, pid).and(Err(Errno::PERM)),
        }
    }

    /// The call waits, so what was read is of its thread.
    fn check(&self, asked: &Notification) -> Result<(), Errno> {
        if self.listener.is_waiting(asked.id) { Ok(()) } else { Err(Errno::SRCH) }
    }

    /// While the call waits, the number is that of its process.
    fn kill(&self, asked: &Notification, pid: Pid) -> Result<(), Errno> {
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        self.check(asked)?;
        pidfd_send_signal(&process, Signal::KILL)
    }
}

fn firmness(name: &str) -> Firmness {
    let found = SUPERVISED.iter().find(|(call, _)| *call == name);
    found.map_or(Firmness::Observed, |(_, firmness)| *firmness)
}

/// What is known of an open before it is known what it is about.
fn about(name: &'static str, target: &Target) -> SyscallEvent {
    SyscallEvent {
        name,
        category: Category::File,
        firmness: firmness(name),
        pid: target.status.pid,
        tid: target.tid,
        parent: target.status.parent,
        path: PathBuf::new(),
        identity: None,
        flags: 0,
        argv: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_what_a_verdict_is_worth() {
        let text = include_str!("../../docs/supervisor.md");
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let said: Vec<(&str, &str)> = rows
            .filter_map(|row| row.split_once("` | "))
            .filter_map(|(call, rest)| Some((call, rest.split_once(" |")?.0)))
            .collect();
        let word = |firmness| match firmness {
            Firmness::Firm => "firm",
            Firmness::BestEffort => "best effort",
            Firmness::Observed => "observed",
        };
        assert_eq!(said, SUPERVISED.map(|(call, firmness)| (call, word(firmness))));
    }
}
