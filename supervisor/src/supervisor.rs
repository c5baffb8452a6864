//! What a supervisor is made from.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::audit::Audit;
use crate::context::PolicyContext;
use crate::decision::{Decision, Policy};
use crate::limits::Limits;
use crate::remote::Remote;
use crate::rules::Rules;
use crate::running::Running;
use crate::{Listener, SyscallEvent, Verdict};

/// How long a policy function may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Decides about the calls of one command.
pub struct Supervisor {
    listener: Listener,
    policy: Policy,
    timeout: Duration,
    audit: Option<Box<dyn Write + Send>>,
    ceiling: Limits,
    start: Limits,
    cgroup: Option<OwnedFd>,
    environment: bool,
    memory_above: u64,
    redirects: Vec<(SocketAddr, u16)>,
}

impl Supervisor {
    /// A supervisor that allows everything that the static policy does.
    pub fn new(listener: Listener) -> Self {
        Self {
            listener,
            policy: Box::new(|_, _| Verdict::Allow),
            timeout: TIMEOUT,
            audit: None,
            ceiling: Limits::default(),
            start: Limits::default(),
            cgroup: None,
            environment: false,
            memory_above: 0,
            redirects: Vec::new(),
        }
    }

    /// Has a function decide. If it panics, everything is denied from then on.
    /// By the context it can change what holds for other calls.
    pub fn policy_fn(
        self,
        policy: impl FnMut(&SyscallEvent, &mut PolicyContext) -> Verdict + Send + 'static,
    ) -> Self {
        Self { policy: Box::new(policy), ..self }
    }

    /// Has the process at the other end of a socket decide, by lines of JSON. One
    /// that is gone, says nothing in the time that was said before, or something
    /// that makes no sense denies, and is not asked again.
    ///
    /// # Errors
    ///
    /// setsockopt(2)
    pub fn remote(self, stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        let mut remote = Remote::new(stream);
        Ok(self.policy_fn(move |event, context| remote.about(event, context)))
    }

    /// How long the function may take, 5 seconds unless said. A call that it
    /// takes longer about is denied, and so is every other until it is back.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Writes a line of JSON for each event, before the call is made. What cannot
    /// be written in the time that the function has is denied.
    pub fn audit(self, writer: impl Write + Send + 'static) -> Self {
        Self { audit: Some(Box::new(writer)), ..self }
    }

    /// What the function can grant at most; no limit unless said.
    pub fn ceiling(self, ceiling: Limits) -> Self {
        Self { ceiling, ..self }
    }

    /// What the command may use at first; the ceiling unless said.
    pub fn limits(self, start: Limits) -> Self {
        Self { start, ..self }
    }

    /// A directory of cgroup version 2 that the command is in or below, by which
    /// its memory and processes are limited. Without one each of its processes is
    /// limited for itself, and less than before only.
    pub fn cgroup(self, directory: OwnedFd) -> Self {
        Self { cgroup: Some(directory), ..self }
    }

    /// Has events of programs, and the log, tell their environment, too, which may hold
    /// secrets. They do not unless said.
    pub fn environment(self, environment: bool) -> Self {
        Self { environment, ..self }
    }

    /// Tells of memory that is mapped only from this size on. A policy whose rules have
    /// the size (`args` of `mmap`) spares the rest the round trip, too.
    pub fn memory_above(self, bytes: u64) -> Self {
        Self { memory_above: bytes, ..self }
    }

    /// Has connections that are allowed to one address go to another port of that
    /// host.
    pub fn redirect(mut self, from: SocketAddr, port: u16) -> Self {
        self.redirects.push((from, port));
        self
    }

    /// Decides on threads of its own until nobody is left who could call.
    ///
    /// # Errors
    ///
    /// That a thread cannot be started.
    pub fn run(self) -> io::Result<JoinHandle<io::Result<()>>> {
        let (context, live) = PolicyContext::new(self.ceiling, &self.start);
        let decision = Decision::start(self.policy, context, self.timeout)?;
        let audit = self.audit.map(|writer| Audit::start(writer, self.timeout)).transpose()?;
        let rules = Rules::new(live, self.cgroup);
        let running = Running::new(self.listener, decision, rules, audit, self.redirects)
            .telling(self.environment, self.memory_above);
        thread::Builder::new().name("supervisor".to_owned()).spawn(move || running.run())
    }
}
