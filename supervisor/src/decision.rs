//! The policy function, on a thread of its own: it may panic or hang.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::context::PolicyContext;
use crate::event::SyscallEvent;
use crate::worker::Worker;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is made.
    Allow,
    /// It is made, and the audit log says that somebody should look at it. Without
    /// a log it is denied.
    Audit,
    /// It fails with EPERM.
    Deny,
    /// It fails with this error.
    DenyWith(Errno),
    /// Its process is killed.
    Kill,
}

/// A policy function.
pub(crate) type Policy = Box<dyn FnMut(&SyscallEvent, &mut PolicyContext) -> Verdict + Send>;

/// Asks a policy function, and denies where it does not answer.
pub(crate) struct Decision(Worker<Arc<SyscallEvent>, Verdict>);

impl Decision {
    pub(crate) fn start(
        mut policy: Policy,
        mut context: PolicyContext,
        timeout: Duration,
    ) -> io::Result<Self> {
        let decide = move |event: Arc<SyscallEvent>| policy(&event, &mut context);
        Worker::start("policy", timeout, decide).map(Self)
    }

    pub(crate) fn about(&mut self, event: &Arc<SyscallEvent>) -> Verdict {
        self.0.ask(Arc::clone(event)).unwrap_or(Verdict::Deny)
    }
}
