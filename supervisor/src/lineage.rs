//! Who descends from whom, as far as it matters.
//!
//! A process is known by a descriptor of it, not by its number, which another may
//! have later. All are known when something is first said about one of them. Who
//! comes later is found by its parent when it first asks; the parent of one whose
//! own has ended is somebody else by then, and such a process is held to all that
//! was said about any. So is who comes when too many are known.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, Result};
use rustix::process::{Pid, PidfdFlags, Resource, getrlimit, pidfd_open};

use crate::context::Said;
use crate::limits::Hosts;
use crate::target::{Status, is_gone};
use crate::tree::Tree;

/// How far up somebody known is looked for.
const DEPTH: usize = 256;

/// How many are known before those that have ended are forgotten.
const KNOWN: usize = 256;

/// How many are known at most.
const MOST: usize = 512;

/// The processes of a command.
#[derive(Default)]
pub(crate) struct Lineage {
    processes: HashMap<u64, Process>,
    by_pid: HashMap<Pid, u64>,
    next: u64,
    /// What all that was said about a process, and not taken back, leaves it.
    said: HashMap<u64, Hosts>,
    /// What was said about those leaves that are gone, or could not be known.
    of_the_gone: Option<Hosts>,
    /// Whether it was said of one that could not be known.
    is_lost: bool,
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
        !self.said.is_empty() || self.of_the_gone.is_some()
    }

    pub(crate) fn say(&mut self, pid: Pid, said: &Said, tree: &Tree) -> Result<()> {
        if !self.matters() {
            self.survey(tree)?;
        }
        match (self.find(pid), said) {
            (Ok(Some(process)), Said::Only(hosts)) => {
                let all = self.said.entry(process).or_default();
                *all = all.and(hosts);
            }
            (Ok(Some(process)), Said::Nothing) => drop(self.said.remove(&process)),
            (Ok(None), Said::Only(hosts)) => {
                // It could be known later, and nobody would know then of this.
                self.is_lost = true;
                self.say_of_the_gone(hosts);
            }
            // What it has started may be there.
            (Err(Errno::SRCH), Said::Only(hosts)) => self.say_of_the_gone(hosts),
            (Ok(None) | Err(Errno::SRCH), Said::Nothing) => {}
            (Err(error), _) => return Err(error),
        }
        Ok(())
    }

    fn say_of_the_gone(&mut self, hosts: &Hosts) {
        self.of_the_gone =
            Some(self.of_the_gone.as_ref().map_or_else(|| hosts.clone(), |all| all.and(hosts)));
    }

    /// Gets to know everybody. Nothing was said yet about those who are there.
    fn survey(&mut self, tree: &Tree) -> Result<()> {
        let members: HashSet<Pid> = match tree.processes() {
            // Who is left may descend from anybody.
            Err(error) if is_gone(error) => HashSet::new(),
            members => members?.into_iter().collect(),
        };
        let mut all = Status::all()?;
        all.retain(|(pid, _)| members.contains(pid));
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
            let parent = match status.parent {
                Some(parent) if members.contains(&parent) => {
                    self.by_pid.get(&parent).map_or(Parent::Unknown, |&known| Parent::Known(known))
                }
                _ => Parent::None,
            };
            if let Some(child) = self.by_pid.get(pid)
                && let Some(child) = self.processes.get_mut(child)
            {
                child.parent = parent;
            }
        }
        Ok(())
    }

    /// Whether a process that waits may reach a host.
    pub(crate) fn may_reach(&mut self, pid: Pid, host: IpAddr) -> Result<bool> {
        if !self.matters() {
            return Ok(true);
        }
        let mut parent = self.find(pid)?.map_or(Parent::Unknown, Parent::Known);
        loop {
            match parent {
                Parent::None => return Ok(true),
                Parent::Unknown => {
                    let mut all = self.said.values().chain(&self.of_the_gone);
                    return Ok(all.all(|hosts| hosts.has(host)));
                }
                Parent::Known(process) => {
                    if self.said.get(&process).is_some_and(|hosts| !hosts.has(host)) {
                        return Ok(false);
                    }
                    parent = self.processes.get(&process).ok_or(Errno::SRCH)?.parent;
                }
            }
        }
    }

    /// A process by its number now; `None` where too many are known.
    fn find(&mut self, pid: Pid) -> Result<Option<u64>> {
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
        if !unknown.is_empty() && (self.is_lost || !unknown.iter().all(is_still)) {
            parent = Parent::Unknown;
        }
        // Where nobody is known, those above are not the command's.
        if matches!(parent, Parent::Unknown) {
            unknown.truncate(1);
        }
        while let Some((pid, fd, _)) = unknown.pop() {
            let Some(known) = self.add(pid, fd, parent) else { return Ok(None) };
            parent = Parent::Known(known);
        }
        match parent {
            Parent::Known(found) => Ok(Some(found)),
            Parent::None | Parent::Unknown => Err(Errno::SRCH),
        }
    }

    fn alive(&self, pid: Pid) -> Option<u64> {
        let known = *self.by_pid.get(&pid)?;
        is_alive(&self.processes.get(&known)?.fd).then_some(known)
    }

    /// Gets to know a process, unless too many are known.
    fn add(&mut self, pid: Pid, fd: OwnedFd, parent: Parent) -> Option<u64> {
        let most = most();
        if self.processes.len() >= self.forget_at.max(KNOWN).min(most) {
            self.forget(parent);
        }
        if self.processes.len() >= most {
            return None;
        }
        self.next += 1;
        self.processes.insert(self.next, Process { fd, parent });
        self.by_pid.insert(pid, self.next);
        Some(self.next)
    }

    /// Forgets who has ended and has nobody left who descends from it, nor is about
    /// to be known.
    fn forget(&mut self, parent: Parent) {
        let mut needed: Vec<u64> = Vec::new();
        if let Parent::Known(parent) = parent {
            needed.push(parent);
        }
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
        let gone: Vec<Hosts> = self
            .said
            .extract_if(|number, _| !processes.contains_key(number))
            .map(|(_, hosts)| hosts)
            .collect();
        gone.iter().for_each(|hosts| self.say_of_the_gone(hosts));
        self.forget_at = self.processes.len() * 2;
    }
}

/// How many can be known: each takes a descriptor, and this process needs others.
fn most() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 4).map_or(MOST, |quarter| quarter.min(MOST))
}

/// Whether it has not ended. While it has not, its number is its own.
pub(crate) fn is_alive(process: &OwnedFd) -> bool {
    let mut ended = [PollFd::new(process, PollFlags::IN)];
    poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::process::{Child, Command};

    use rustix::process::{Rlimit, getpid, setrlimit};

    use super::*;
    use crate::alone::is_alone;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn pid(child: &Child) -> Pid {
        Pid::from_child(child)
    }

    fn tree() -> Tree {
        let mut tree = Tree::new(None);
        tree.begin(getpid());
        tree
    }

    #[test]
    fn who_cannot_be_known_for_want_of_descriptors_is_held_to_all_that_was_said() {
        if !is_alone(
            "lineage::tests::who_cannot_be_known_for_want_of_descriptors_is_held_to_all_that_was_said",
        ) {
            return;
        }
        let sleeps = || Command::new("sleep").arg("600").spawn().expect("it starts");
        let mut children: Vec<Child> = (0..200).map(|_| sleeps()).collect();
        let had = getrlimit(Resource::Nofile);
        let few = Rlimit { current: Some(64), ..had };
        setrlimit(Resource::Nofile, few).expect("it is set");
        let (tree, mut lineage) = (tree(), Lineage::default());
        for child in &children {
            lineage.say(pid(child), &Said::Only(Hosts::only(&[])), &tree).expect("it is said");
        }
        for child in &children {
            assert_eq!(lineage.may_reach(pid(child), HOST), Ok(false));
        }
        assert!(lineage.processes.len() <= 16);
        // There is room again, and what was said holds.
        for child in children.drain(..199).rev() {
            end(child);
        }
        assert_eq!(lineage.may_reach(pid(&children[0]), HOST), Ok(false));
        children.drain(..).for_each(end);
    }

    #[test]
    fn what_was_said_of_those_who_are_forgotten_holds_for_who_is_left_behind() {
        let child = Command::new("sleep").arg("600").spawn().expect("it starts");
        let mut lineage = Lineage::default();
        for _ in 0..2000 {
            lineage.say(pid(&child), &Said::Only(Hosts::only(&[])), &tree()).expect("it is said");
        }
        assert_eq!(lineage.said.len(), 1);
        assert_eq!(lineage.may_reach(getpid(), HOST), Ok(true));
        end(child);
        lineage.forget(Parent::None);
        assert!(lineage.said.is_empty() && lineage.of_the_gone == Some(Hosts::only(&[])));
    }

    fn end(mut child: Child) {
        child.kill().expect("it is killed");
        child.wait().expect("it is waited for");
    }
}
