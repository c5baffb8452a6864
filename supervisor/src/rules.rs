//! What holds beside verdicts, since a policy function has said so.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use rustix::io::{Errno, Result};

use crate::SyscallEvent;
use crate::confined::Confined;
use crate::context::{Live, lock};
use crate::files::{Found, Start};
use crate::limits::Limits;
use crate::lineage::Lineage;
use crate::paths::Paths;
use crate::target::Target;
use crate::tree::Tree;

/// The rules.
pub(crate) struct Rules {
    live: Arc<Mutex<Live>>,
    /// Of what was carried out.
    generation: u64,
    /// What holds of it.
    limits: Limits,
    lineage: Lineage,
    paths: Paths,
    tree: Tree,
    /// Where the paths of the first that called began, by which they are said.
    start: Option<Start>,
}

impl Rules {
    pub(crate) fn new(live: Arc<Mutex<Live>>, cgroup: Option<OwnedFd>) -> Self {
        // What holds from the start is carried out by the first call.
        let is_done = lock(&live).current == Limits::default();
        Self {
            live,
            generation: if is_done { 0 } else { u64::MAX },
            limits: Limits::default(),
            lineage: Lineage::default(),
            paths: Paths::default(),
            tree: Tree::new(cgroup),
            start: None,
        }
    }

    /// Whether nobody has called yet.
    pub(crate) const fn are_new(&self) -> bool {
        !self.tree.has_begun()
    }

    /// Gets to know the command by the first that calls, if that still waits then.
    pub(crate) fn begin(&mut self, first: &Target, is_waiting: impl FnOnce() -> bool) {
        self.tree.begin(first.status.pid);
        self.start = Start::root_of(first).ok();
        if !is_waiting() {
            self.tree.begin_anew();
        }
    }

    /// Whether something was said since, which takes somebody confined to carry out.
    pub(crate) fn are_late(&self) -> bool {
        lock(&self.live).generation != self.generation
    }

    /// Carries out what was said since. What fails is tried again by the next
    /// call; nothing is allowed until then.
    pub(crate) fn update(&mut self, confined: &Confined) -> Result<()> {
        let mut live = lock(&self.live);
        let generation = live.generation;
        let limits = live.current.clone();
        // What could not be carried out stays, and so does what was said after it.
        while let Some((pid, said)) = live.processes.first() {
            self.lineage.say(*pid, said, &self.tree)?;
            live.processes.remove(0);
        }
        let paths = live.paths.clone();
        drop(live);
        self.tree.limit(&self.limits, &limits, confined)?;
        self.limits = limits;
        if !paths.is_empty() {
            let start = self.start.as_ref().ok_or(Errno::ACCESS)?;
            for (path, is_denied) in paths {
                self.paths.add(path, is_denied, start, confined)?;
                lock(&self.live).paths.remove(0);
            }
        }
        self.generation = generation;
        Ok(())
    }

    /// Whether they deny something, whatever the verdict is.
    pub(crate) fn deny(
        &mut self,
        event: &SyscallEvent,
        found: &[&Found],
        target: &Target,
        confined: Option<&Confined>,
    ) -> Result<bool> {
        let is_by_name = !found.is_empty() || event.is_exec();
        if is_by_name && !self.paths.is_empty() {
            return self.deny_names(event, found, target, confined);
        }
        match event.host {
            Some(host) if !event.is_bind() => {
                Ok(!self.limits.network.has(host) || !self.lineage.may_reach(event.pid, host)?)
            }
            _ => Ok(false),
        }
    }

    /// Whether what is said about paths denies something. Below another root the
    /// same names mean something else, so there it is not looked at.
    fn deny_names(
        &self,
        event: &SyscallEvent,
        found: &[&Found],
        target: &Target,
        confined: Option<&Confined>,
    ) -> Result<bool> {
        let start = self.start.as_ref().ok_or(Errno::ACCESS)?;
        if !start.is_root_of(target)? {
            return Ok(true);
        }
        for found in found {
            if self.paths.deny(found, start, confined.ok_or(Errno::PERM)?)? {
                return Ok(true);
            }
        }
        Ok(event.is_exec() && self.paths.deny_name(&event.path))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use rustix::process::{Resource, Rlimit, getpid, getrlimit, setrlimit};

    use super::*;
    use crate::alone::is_alone;
    use crate::context::PolicyContext;
    use crate::target::Ids;

    #[test]
    fn what_cannot_be_carried_out_is_not_forgotten() {
        if !is_alone("rules::tests::what_cannot_be_carried_out_is_not_forgotten") {
            return;
        }
        let (mut context, live) = PolicyContext::new(Limits::default(), &Limits::default());
        let mut rules = Rules::new(live, None);
        let own = Target::of(rustix::thread::gettid()).expect("it is this thread");
        rules.begin(&own, || true);
        let ids = Ids::of_this_thread().expect("it is read");
        let confined = Confined::start(ids, None, Duration::from_secs(60)).expect("it starts");
        let host = IpAddr::from(Ipv4Addr::LOCALHOST);
        context.restrict_pid_network(getpid(), &[]);
        let had = getrlimit(Resource::Nofile);
        let none = Rlimit { current: Some(3), ..had };
        setrlimit(Resource::Nofile, none).expect("it is set");
        for _ in 0..2 {
            assert_eq!(rules.update(&confined), Err(Errno::MFILE));
            assert!(rules.are_late());
        }
        setrlimit(Resource::Nofile, had).expect("it is set");
        rules.update(&confined).expect("it is carried out");
        assert_eq!(rules.lineage.may_reach(getpid(), host), Ok(false));
    }
}
