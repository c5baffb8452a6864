//! The loop: what the kernel asks is told to a policy function, and its verdict
//! is carried out.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use syscalls::Sysno;

use crate::attributes::Changing;
use crate::audit::Audit;
use crate::calls;
use crate::confined::Confined;
use crate::decision::Decision;
use crate::files::{Found, Open};
use crate::looks::Looking;
use crate::rules::Rules;
use crate::target::{Target, errno};
use crate::waiting::Waiting;
use crate::{Answer, Category, Firmness, Listener, Notification, SyscallEvent, Verdict};

/// How often a file is judged anew because somebody else has created it.
const JUDGED: usize = 8;

/// How long what is done on behalf may take: it is nothing that waits.
const LIMIT: Duration = Duration::from_secs(5);

/// How many threads may be left that did not come back.
const STUCK: usize = 16;

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

/// What an event becomes.
pub(crate) type Outcome = Result<Effect, Errno>;

/// What is done about a call that is allowed.
pub(crate) enum Effect {
    /// The kernel makes it.
    Continue,
    /// It was made, with this result.
    Return(i64),
    /// It is answered already, or will be when it is done.
    Answered,
}

/// A supervisor at work.
pub(crate) struct Running {
    pub(crate) listener: Listener,
    decision: Decision,
    rules: Rules,
    audit: Option<Audit>,
    /// Whether events have the environment of programs.
    environment: bool,
    /// From how much memory on is told of it.
    pub(crate) memory_above: u64,
    /// Addresses, and the ports that connections there go to.
    pub(crate) redirects: Vec<(SocketAddr, u16)>,
    confined: Option<Confined>,
    /// How many confined threads were given up.
    stuck: usize,
    /// What is done by and by.
    pub(crate) waiting: Vec<Waiting>,
}

impl Running {
    pub(crate) fn new(
        listener: Listener,
        decision: Decision,
        rules: Rules,
        audit: Option<Audit>,
        redirects: Vec<(SocketAddr, u16)>,
    ) -> Self {
        let (confined, waiting) = (None, Vec::new());
        let (environment, memory_above) = (false, 0);
        Self {
            listener,
            decision,
            rules,
            audit,
            environment,
            memory_above,
            redirects,
            confined,
            stuck: 0,
            waiting,
        }
    }

    /// Has events say more, or fewer be told of.
    pub(crate) fn telling(self, environment: bool, memory_above: u64) -> Self {
        Self { environment, memory_above, ..self }
    }

    /// Decides until nobody is left who could call.
    pub(crate) fn run(mut self) -> io::Result<()> {
        loop {
            let ready = self.wait()?;
            let (asks, others) = ready.split_first().ok_or(Errno::INVAL)?;
            let waiting = mem::take(&mut self.waiting);
            for (each, ready) in waiting.into_iter().zip(others.chunks(2)) {
                self.go_on(each, ready)?;
            }
            if asks.contains(PollFlags::IN) {
                if let Some(asked) = self.listener.take()? {
                    self.decide(&asked)?;
                }
            } else if !asks.is_empty() {
                return Ok(());
            }
        }
    }

    /// What has happened: to the listener, then to the socket and to the thread of
    /// each that waits.
    fn wait(&self) -> io::Result<Vec<PollFlags>> {
        let mut asked = vec![PollFd::new(&self.listener, PollFlags::IN)];
        for each in &self.waiting {
            asked.push(PollFd::new(&each.socket, PollFlags::OUT));
            asked.push(PollFd::from_borrowed_fd(each.socket.thread(), PollFlags::IN));
        }
        let deadline = self.waiting.iter().filter_map(|each| each.deadline).min();
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut asked, left.as_ref()) {
                Err(Errno::INTR) => {}
                answer => {
                    answer?;
                    return Ok(asked.iter().map(PollFd::revents).collect());
                }
            }
        }
    }

    fn decide(&mut self, asked: &Notification) -> io::Result<()> {
        let answer = match self.outcome(asked) {
            Ok(Effect::Answered) => return Ok(()),
            Ok(Effect::Continue) => Answer::Continue,
            Ok(Effect::Return(value)) => Answer::Return(value),
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
        if self.rules.are_new() {
            let listener = &self.listener;
            self.rules.begin(&target, || listener.is_waiting(asked.id));
        }
        let [first, second, third, fourth, fifth, sixth] = asked.arguments;
        match call.name() {
            "open" => self.open(asked, &target, "open", [AT_FDCWD, first, second, third]),
            "creat" => self.open(asked, &target, "creat", [AT_FDCWD, first, CREAT, second]),
            "openat" => self.open(asked, &target, "openat", [first, second, third, fourth]),
            "execve" => self.exec(asked, &target, "execve", [first, second, third]),
            "execveat" => self.exec(asked, &target, "execveat", [second, third, fourth]),
            name if calls::firmness(name) == Firmness::Observed => {
                self.notify(asked, &target, name)
            }
            "connect" => self.connect(asked, &target, [first, second, third]),
            "bind" => self.bind(asked, &target, [first, second, third]),
            "sendto" => {
                let message = [second, third, fifth, sixth];
                self.send_to(asked, &target, first, message, fourth as u32)
            }
            "sendmsg" => self.send_message(asked, &target, [first, second, third]),
            "sendmmsg" => self.send_messages(asked, &target, [first, second, third, fourth]),
            name => self.file(asked, &target, name),
        }
    }

    /// A call about a file that is not opened.
    fn file(&mut self, asked: &Notification, target: &Target, name: &str) -> Outcome {
        if let Some(looking) = Looking::of(name, asked.arguments) {
            return self.look(asked, target, name, &looking);
        }
        match Changing::of(name, asked.arguments) {
            Some(changing) => self.change_attribute(asked, target, name, &changing),
            None => self.change(asked, target, name),
        }
    }

    fn exec(
        &mut self,
        asked: &Notification,
        target: &Target,
        name: &'static str,
        [path, argv, environment]: [u64; 3],
    ) -> Outcome {
        let (path, argv) = (target.path(path)?, target.strings(argv)?);
        let environment = self.environment.then(|| target.strings(environment)).transpose()?;
        let about = SyscallEvent::new(name, Category::Process, target);
        let event = SyscallEvent { path, argv, environment, ..about };
        self.judge(asked, target, event, &[])?;
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
        let about = || SyscallEvent::new(name, Category::File, target);
        if flags.contains(OFlags::PATH) {
            // Nothing is read or written by what this gives, and the kernel
            // gives nothing else for these flags, which nobody can change.
            let (path, firmness) = (open.path, Firmness::Observed);
            let event = SyscallEvent { firmness, path, flags: bits, ..about() };
            self.observe(asked, event)?;
            return Ok(Effect::Continue);
        }
        self.confine(target)?;
        for _ in 0..JUDGED {
            let confined = self.confined()?;
            let found = open.find(target, confined)?;
            let (path, identity) = (found.path.clone(), found.identity);
            let event = SyscallEvent { path, identity, flags: bits, ..about() };
            self.judge(asked, target, event, &[&found])?;
            let confined = self.confined()?;
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
    pub(crate) fn confine(&mut self, target: &Target) -> Result<(), Errno> {
        let ids = &target.status.ids;
        if self.stuck < STUCK && self.confined.as_ref().is_some_and(Confined::is_stuck) {
            self.stuck += 1;
            self.confined = None;
        }
        if self.confined.is_none() {
            let ruleset = self.listener.ruleset().map(|ruleset| ruleset.try_clone_to_owned());
            let ruleset = ruleset.transpose().map_err(errno)?;
            let confined = Confined::start(ids.clone(), ruleset, LIMIT);
            self.confined = Some(confined.map_err(errno)?);
        }
        let is_same = self.confined.as_ref().is_some_and(|confined| confined.is_as(ids));
        if is_same { Ok(()) } else { Err(Errno::PERM) }
    }

    /// The thread that may do what the command may.
    pub(crate) fn confined(&self) -> Result<&Confined, Errno> {
        self.confined.as_ref().ok_or(Errno::PERM)
    }

    pub(crate) fn observe(
        &mut self,
        asked: &Notification,
        event: SyscallEvent,
    ) -> Result<(), Errno> {
        self.check(asked)?;
        let event = Arc::new(event);
        let began = Instant::now();
        let verdict = self.decision.about(&event);
        self.record(&event, verdict, began)
    }

    /// Asks about an event; the error that the call gets, if it may not be made.
    pub(crate) fn judge(
        &mut self,
        asked: &Notification,
        target: &Target,
        event: SyscallEvent,
        found: &[&Found],
    ) -> Result<(), Errno> {
        self.check(asked)?;
        let began = Instant::now();
        let ruled_out = self.rule_out(target, &event, found);
        let event = Arc::new(SyscallEvent { denied: ruled_out != Ok(false), ..event });
        let verdict = match ruled_out {
            Ok(_) => self.decision.about(&event),
            Err(error) => Verdict::DenyWith(error),
        };
        // What was said just now holds for this one, too.
        let verdict = match (verdict, self.rule_out(target, &event, found)) {
            (Verdict::Allow | Verdict::Audit, Ok(true)) => Verdict::DenyWith(Errno::ACCESS),
            (Verdict::Allow | Verdict::Audit, Err(error)) => Verdict::DenyWith(error),
            (Verdict::Audit, _) if self.audit.is_none() => Verdict::Deny,
            (verdict, _) => verdict,
        };
        let recorded = self.record(&event, verdict, began);
        match verdict {
            // Whatever happens next happens to the thread that was judged.
            Verdict::Allow | Verdict::Audit => recorded.and_then(|()| self.check(asked)),
            Verdict::Deny => Err(Errno::PERM),
            Verdict::DenyWith(error) => Err(error),
            Verdict::Kill => self.kill(asked, event.pid).and(Err(Errno::PERM)),
        }
    }

    /// Whether what was said before denies it.
    fn rule_out(
        &mut self,
        target: &Target,
        event: &SyscallEvent,
        found: &[&Found],
    ) -> Result<bool, Errno> {
        if self.rules.are_late() {
            self.confine(target)?;
            let confined = self.confined.as_ref().ok_or(Errno::PERM)?;
            self.rules.update(confined)?;
        }
        self.rules.deny(event, found, target, self.confined.as_ref())
    }

    /// Writes it down; nothing is allowed that cannot be.
    fn record(
        &mut self,
        event: &SyscallEvent,
        verdict: Verdict,
        began: Instant,
    ) -> Result<(), Errno> {
        match &mut self.audit {
            None => Ok(()),
            Some(audit) => audit.record(event, verdict, began.elapsed()),
        }
    }

    /// The call waits, so what was read is of its thread.
    pub(crate) fn check(&self, asked: &Notification) -> Result<(), Errno> {
        if self.listener.is_waiting(asked.id) { Ok(()) } else { Err(Errno::SRCH) }
    }

    /// While the call waits, the number is that of its process.
    fn kill(&self, asked: &Notification, pid: Pid) -> Result<(), Errno> {
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        self.check(asked)?;
        pidfd_send_signal(&process, Signal::KILL)
    }
}
