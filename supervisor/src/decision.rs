//! The policy function, on a thread of its own: it may panic or hang.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;
use std::{io, mem};

use rustix::io::Errno;

use crate::event::SyscallEvent;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is made.
    Allow,
    /// It fails with EPERM.
    Deny,
    /// It fails with this error.
    DenyWith(Errno),
    /// Its process is killed.
    Kill,
}

/// A policy function.
pub(crate) type Policy = Box<dyn FnMut(&SyscallEvent) -> Verdict + Send>;

/// Asks a policy function, and denies where it does not answer.
pub(crate) struct Decision {
    questions: Sender<SyscallEvent>,
    answers: Receiver<Verdict>,
    timeout: Duration,
    /// Whether the answer to a question is still to come, which is too late.
    owes: bool,
}

impl Decision {
    pub(crate) fn start(mut policy: Policy, timeout: Duration) -> io::Result<Self> {
        let (questions, asked) = mpsc::channel::<SyscallEvent>();
        let (say, answers) = mpsc::channel();
        // If it panics both channels end, and with them every permission.
        let answer =
            move || asked.iter().map(|event| policy(&event)).try_for_each(|it| say.send(it));
        thread::Builder::new().name("policy".to_owned()).spawn(answer)?;
        Ok(Self { questions, answers, timeout, owes: false })
    }

    pub(crate) fn about(&mut self, event: SyscallEvent) -> Verdict {
        // While it hangs nothing is asked of it, or every call would wait.
        if mem::take(&mut self.owes) && self.answers.try_recv().is_err() {
            self.owes = true;
            return Verdict::Deny;
        }
        if self.questions.send(event).is_err() {
            return Verdict::Deny;
        }
        self.answers.recv_timeout(self.timeout).unwrap_or_else(|error| {
            self.owes = error == RecvTimeoutError::Timeout;
            Verdict::Deny
        })
    }
}
