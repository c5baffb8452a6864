//! Who descends from whom, as far as it matters.
//!
//! A process is known by a descriptor of it, not by its number, which another may
//! have later. All are known when something is first said about one of them. Who
//! comes later is found by its parent when it first asks; the parent of one whose
//! own has ended is somebody else by then, and such a process is held to all that
//! was said about any.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, Result};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::context::Said;
use crate::limits::Hosts;
use crate::target::{Status, is_gone};

/// How far up somebody known is looked for.
const DEPTH: usize = 256;

/// How many are known before those that have ended are forgotten.
const KNOWN: usize = 256;

/// The processes of a command.
#[derive(Default)]
pub(crate) struct Lineage {
    processes: HashMap<u64, Process>,
    by_pid: HashMap<Pid, u64>,
    next: u64,
    /// All that was said about any process, and not taken back.
    said: HashMap<u64, Vec<Hosts>>,
    /// Of whom it was said who was gone.
    of_the_gone: Vec<Hosts>,
    forget_at: usize,
}

struct Process {
    fd: OwnedFd,
    parent: Parent,
}

#[derive(Clone, Copy)]
enum Parent {
    /// Nobody who matters: it is the first.
    None,
    Known(u64),
    /// Whoever was is gone.
    Unknown,
}

impl Lineage {
    /// Whether something was said about any process.
    pub(crate) fn matters(&self) -> bool {
        !self.said.is_empty() || !self.of_the_gone.is_empty()
    }

    pub(crate) fn say(&mut self, pid: Pid, said: &Said) -> Result<()> {
        if !self.matters() {
            self.survey()?;
        }
        match (self.find(pid), said) {
            (Ok(process), Said::Only(hosts)) => {
                self.said.entry(process).or_default().push(hosts.clone());
            }
            (Ok(process), Said::Nothing) => drop(self.said.remove(&process)),
            // What it has started may be there.
            (Err(Errno::SRCH), Said::Only(hosts)) => self.of_the_gone.push(hosts.clone()),
            (Err(Errno::SRCH), Said::Nothing) => {}
            (Err(error), _) => return Err(error),
        }
        Ok(())
    }

    /// Gets to know everybody. Nothing was said yet about those who are there.
    fn survey(&mut self) -> Result<()> {
        let own = Status::of_this_thread()?;
        let mut all = Status::all()?;
        all.retain(|(_, status)| status.is_below(&own));
        self.processes.clear();
        self.by_pid.clear();
        for (pid, _) in &all {
            match pidfd_open(*pid, PidfdFlags::empty()) {
                // Who has ended meanwhile is not needed.
                Err(Errno::SRCH) => {}
                fd => drop(self.add(*pid, fd?, Parent::None)),
            }
        }
        for (pid, status) in &all {
            let parent = status.parent.and_then(|parent| self.by_pid.get(&parent));
            if let (Some(&parent), Some(child)) = (parent, self.by_pid.get(pid))
                && let Some(child) = self.processes.get_mut(child)
            {
                child.parent = Parent::Known(parent);
            }
        }
        Ok(())
    }

    /// Whether a process that waits may reach a host.
    pub(crate) fn may_reach(&mut self, pid: Pid, host: IpAddr) -> Result<bool> {
        if !self.matters() {
            return Ok(true);
        }
        let mut parent = Parent::Known(self.find(pid)?);
        loop {
            match parent {
                Parent::None => return Ok(true),
                Parent::Unknown => {
                    let mut all = self.said.values().flatten().chain(&self.of_the_gone);
                    return Ok(all.all(|hosts| hosts.has(host)));
                }
                Parent::Known(process) => {
                    let said = self.said.get(&process);
                    if said.is_some_and(|said| !said.iter().all(|hosts| hosts.has(host))) {
                        return Ok(false);
                    }
                    parent = self.processes.get(&process).ok_or(Errno::SRCH)?.parent;
                }
            }
        }
    }

    /// A process by its number now.
    fn find(&mut self, pid: Pid) -> Result<u64> {
        // From the one that asks up to one that is known.
        let mut unknown = Vec::new();
        let mut next = Some(pid);
        let mut parent = Parent::Unknown;
        while let Some(pid) = next.filter(|_| unknown.len() < DEPTH) {
            if let Some(known) = self.alive(pid) {
                parent = Parent::Known(known);
                break;
            }
            let seen = pidfd_open(pid, PidfdFlags::empty())
                .and_then(|fd| Ok((pid, fd, Status::of(pid)?.parent)));
            let seen = match seen {
                Err(error) if is_gone(error) => break,
                seen => seen?,
            };
            next = seen.2;
            unknown.push(seen);
        }
        // Those above one that has ended are not its ancestors any more.
        let is_still = |(pid, _, parent): &(Pid, OwnedFd, Option<Pid>)| {
            Status::of(*pid).is_ok_and(|status| status.parent == *parent)
        };
        if !unknown.iter().all(is_still) {
            parent = Parent::Unknown;
        }
        // Where nobody is known, those above are not the command's.
        if matches!(parent, Parent::Unknown) {
            unknown.truncate(1);
        }
        while let Some((pid, fd, _)) = unknown.pop() {
            parent = Parent::Known(self.add(pid, fd, parent));
        }
        match parent {
            Parent::Known(found) => Ok(found),
            Parent::None | Parent::Unknown => Err(Errno::SRCH),
        }
    }

    fn alive(&self, pid: Pid) -> Option<u64> {
        let known = *self.by_pid.get(&pid)?;
        is_alive(&self.processes.get(&known)?.fd).then_some(known)
    }

    fn add(&mut self, pid: Pid, fd: OwnedFd, parent: Parent) -> u64 {
        if self.processes.len() >= self.forget_at.max(KNOWN) {
            self.forget();
        }
        self.next += 1;
        self.processes.insert(self.next, Process { fd, parent });
        self.by_pid.insert(pid, self.next);
        self.next
    }

    /// Forgets who has ended and has nobody left who descends from it.
    fn forget(&mut self) {
        let mut needed: Vec<u64> = Vec::new();
        for (number, process) in &self.processes {
            if is_alive(&process.fd) {
                needed.push(*number);
            }
        }
        let mut kept = HashMap::new();
        while let Some(number) = needed.pop() {
            if let Some(process) = self.processes.remove(&number) {
                if let Parent::Known(parent) = process.parent {
                    needed.push(parent);
                }
                kept.insert(number, process);
            }
        }
        self.processes = kept;
        let processes = &self.processes;
        self.by_pid.retain(|_, number| processes.contains_key(number));
        self.forget_at = self.processes.len() * 2;
    }
}

/// Whether it has not ended. While it has not, its number is its own.
pub(crate) fn is_alive(process: &OwnedFd) -> bool {
    let mut ended = [PollFd::new(process, PollFlags::IN)];
    poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
}
