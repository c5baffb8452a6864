//! A thread that may do what the command may, and no more.
//!
//! It has the command's ids, no capability, and is under the command's own
//! Landlock ruleset, so the kernel itself holds whatever it does on behalf of
//! the command to the static policy. Landlock keeps it from looking into
//! processes, so another thread opens the command's root for it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, Result};
use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::sys;
use crate::target::Ids;

type Job = Box<dyn FnOnce() + Send>;

/// The thread.
pub(crate) struct Confined {
    ids: Ids,
    jobs: Sender<Job>,
    /// How long it may take for anything.
    limit: Duration,
    /// Whether it took longer, and may do so still.
    is_stuck: AtomicBool,
}

impl Confined {
    /// Starts it, with the ids of a thread of the command.
    pub(crate) fn start(ids: Ids, ruleset: Option<OwnedFd>, limit: Duration) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (say, started) = mpsc::channel();
        let theirs = ids.clone();
        thread::Builder::new().name("confined".to_owned()).spawn(move || {
            let confined = confine(&theirs, ruleset);
            let is_confined = confined.is_ok();
            if say.send(confined).is_ok() && is_confined {
                queue.iter().for_each(|job| job());
            }
        })?;
        started.recv().map_err(|_| Errno::CANCELED)??;
        Ok(Self { ids, jobs, limit, is_stuck: AtomicBool::new(false) })
    }

    /// Whether another one has to take its place.
    pub(crate) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// Whether it may act for a thread with these ids.
    pub(crate) fn is_as(&self, ids: &Ids) -> bool {
        self.ids == *ids
    }

    /// Has it do something.
    ///
    /// # Errors
    ///
    /// Those of what it does; ECANCELED if it panics, ETIMEDOUT if it does not
    /// come back: nothing that it does waits, unless the command has a hand in it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.is_stuck() {
            return Err(Errno::TIMEDOUT);
        }
        let (say, done) = mpsc::channel();
        let job = move || drop(say.send(job()));
        self.jobs.send(Box::new(job)).map_err(|_| Errno::CANCELED)?;
        done.recv_timeout(self.limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                self.is_stuck.store(true, Ordering::Relaxed);
                Errno::TIMEDOUT
            }
            RecvTimeoutError::Disconnected => Errno::CANCELED,
        })?
    }
}

/// Keeps others from tracing this process, unless they may trace any.
///
/// Its threads share their memory, and one of them is about to be no more than
/// the command, which may trace its equals where neither namespaces nor Landlock
/// keep it from that. Who has no capability loses none.
fn hide_memory() -> Result<()> {
    if capabilities(None)?.permitted.is_empty() {
        return Ok(());
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Gives everything up that the command does not have.
fn confine(ids: &Ids, ruleset: Option<OwnedFd>) -> Result<()> {
    hide_memory()?;
    sys::unshare_mask()?;
    set_no_new_privs(true)?;
    let own = Ids::of_this_thread()?;
    if own.groups != ids.groups {
        let groups: Vec<Gid> = ids.groups.iter().map(|&id| Gid::from_raw(id)).collect();
        set_thread_groups(&groups)?;
    }
    if own.gid != ids.gid {
        let [real, effective, saved, _] = ids.gid.map(Gid::from_raw);
        set_thread_res_gid(real, effective, saved)?;
    }
    if own.uid != ids.uid {
        let [real, effective, saved, _] = ids.uid.map(Uid::from_raw);
        set_thread_res_uid(real, effective, saved)?;
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    // A fourth id that is not the second, for instance, cannot be had.
    if Ids::of_this_thread()? != *ids {
        return Err(Errno::PERM);
    }
    ruleset.map_or(Ok(()), |ruleset| sys::landlock_restrict_self(ruleset.as_fd()))
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn a_thread_gives_up_what_the_command_lacks_and_is_traced_by_nobody() {
        let had = capabilities(None).expect("they are read").permitted;
        let own = Ids::of_this_thread().expect("it is read");
        let limit = Duration::from_secs(60);
        let confined = Confined::start(own, None, limit).expect("it starts");
        let left = confined.run(|| capabilities(None)).expect("they are read");
        assert!(left.effective.is_empty() && left.permitted.is_empty());
        let is_hidden = dumpable_behavior() == Ok(DumpableBehavior::NotDumpable);
        assert_eq!(is_hidden, !had.is_empty());
        // This thread has what it had.
        assert_eq!(capabilities(None).map(|sets| sets.permitted), Ok(had));
    }

    #[test]
    fn a_thread_that_does_not_come_back_keeps_nobody_waiting() {
        let own = Ids::of_this_thread().expect("it is read");
        let confined = Confined::start(own, None, Duration::ZERO).expect("it starts");
        let never = || loop {
            thread::park();
        };
        assert_eq!(confined.run(never), Err::<(), _>(Errno::TIMEDOUT));
        assert!(confined.is_stuck());
        assert_eq!(confined.run(|| Ok(())), Err(Errno::TIMEDOUT));
    }
}
