//! What a supervisor is made from.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::decision::{Decision, Policy};
use crate::running::Running;
use crate::{Listener, SyscallEvent, Verdict};

/// How long a policy function may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Decides about the calls of one command.
pub struct Supervisor {
    listener: Listener,
    policy: Policy,
    timeout: Duration,
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
        let running = Running::new(self.listener, decision);
        thread::Builder::new().name("supervisor".to_owned()).spawn(move || running.run())
    }
}
