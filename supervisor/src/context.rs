//! What a policy function can change beside its verdict.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::Pid;

use crate::limits::{Hosts, Limits, least};

/// What holds beside the static policy. It can only take away from that, and
/// what it changes holds from this very call on.
#[derive(Debug)]
pub struct PolicyContext(Arc<Mutex<Live>>);

/// What was restricted before is not granted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restricted(&'static str);

impl fmt::Display for Restricted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was restricted, which is for good; nothing more can be granted", self.0)
    }
}

impl Error for Restricted {}

/// What policy function and supervisor share.
#[derive(Debug, Default)]
pub(crate) struct Live {
    ceiling: Limits,
    pub(crate) current: Limits,
    is_network_restricted: bool,
    is_memory_restricted: bool,
    are_processes_restricted: bool,
    /// Goes up with every change.
    pub(crate) generation: u64,
    /// What is said about processes, in its order.
    pub(crate) processes: Vec<(Pid, Said)>,
    /// Paths that are denied or allowed from now on, in their order.
    pub(crate) paths: Vec<(PathBuf, bool)>,
}

/// What is said about a process.
#[derive(Debug)]
pub(crate) enum Said {
    /// It reaches these alone.
    Only(Hosts),
    /// Whatever was said about it holds no more.
    Nothing,
}

impl PolicyContext {
    pub(crate) fn new(ceiling: Limits, start: &Limits) -> (Self, Arc<Mutex<Live>>) {
        let current = ceiling.and(start);
        let live = Arc::new(Mutex::new(Live { ceiling, current, ..Live::default() }));
        (Self(Arc::clone(&live)), live)
    }

    /// What the command may use now.
    pub fn current(&self) -> Limits {
        lock(&self.0).current.clone()
    }

    /// What can be granted at most.
    pub fn ceiling(&self) -> Limits {
        lock(&self.0).ceiling.clone()
    }

    /// Lets hosts be reached as well; those of them that the ceiling has, which
    /// are returned.
    ///
    /// # Errors
    ///
    /// That the network was restricted.
    pub fn grant_network(&mut self, hosts: &[IpAddr]) -> Result<Vec<IpAddr>, Restricted> {
        let mut live = lock(&self.0);
        if live.is_network_restricted {
            return Err(Restricted("the network"));
        }
        let granted: Vec<IpAddr> =
            hosts.iter().copied().filter(|host| live.ceiling.network.has(*host)).collect();
        live.current.network = live.current.network.or(&Hosts::only(&granted));
        live.generation += 1;
        Ok(granted)
    }

    /// Lets the command have so much memory, or what the ceiling says if that is
    /// less; what it has then.
    ///
    /// # Errors
    ///
    /// That memory was restricted.
    pub fn grant_max_memory(&mut self, bytes: u64) -> Result<u64, Restricted> {
        let mut live = lock(&self.0);
        if live.is_memory_restricted {
            return Err(Restricted("memory"));
        }
        live.current.max_memory = least(Some(bytes), live.ceiling.max_memory);
        live.generation += 1;
        Ok(live.current.max_memory.unwrap_or(bytes))
    }

    /// Lets the command have so many processes, as
    /// [`PolicyContext::grant_max_memory`].
    ///
    /// # Errors
    ///
    /// That processes were restricted.
    pub fn grant_max_processes(&mut self, count: u64) -> Result<u64, Restricted> {
        let mut live = lock(&self.0);
        if live.are_processes_restricted {
            return Err(Restricted("the number of processes"));
        }
        live.current.max_processes = least(Some(count), live.ceiling.max_processes);
        live.generation += 1;
        Ok(live.current.max_processes.unwrap_or(count))
    }

    /// Leaves these hosts of those that may be reached now, for good. What is
    /// connected stays so.
    pub fn restrict_network(&mut self, hosts: &[IpAddr]) {
        let mut live = lock(&self.0);
        live.current.network = live.current.network.and(&Hosts::only(hosts));
        live.is_network_restricted = true;
        live.generation += 1;
    }

    /// Leaves so much memory at most, for good.
    pub fn restrict_max_memory(&mut self, bytes: u64) {
        let mut live = lock(&self.0);
        live.current.max_memory = least(live.current.max_memory, Some(bytes));
        live.is_memory_restricted = true;
        live.generation += 1;
    }

    /// Leaves so many processes at most, for good.
    pub fn restrict_max_processes(&mut self, count: u64) {
        let mut live = lock(&self.0);
        live.current.max_processes = least(live.current.max_processes, Some(count));
        live.are_processes_restricted = true;
        live.generation += 1;
    }

    /// Has a process, and all that descend from it, reach no other hosts than
    /// these. Said again, only what was said each time is left.
    pub fn restrict_pid_network(&mut self, pid: Pid, hosts: &[IpAddr]) {
        self.say(pid, Said::Only(Hosts::only(hosts)));
    }

    /// Takes back what was said about the network of this very process.
    pub fn clear_pid_override(&mut self, pid: Pid) {
        self.say(pid, Said::Nothing);
    }

    fn say(&mut self, pid: Pid, said: Said) {
        let mut live = lock(&self.0);
        live.processes.push((pid, said));
        live.generation += 1;
    }

    /// Denies all that is at a path and below it, by whatever name: also what has
    /// other names by then, and what is moved away.
    pub fn deny_path(&mut self, path: impl AsRef<Path>) {
        self.path(path.as_ref(), true);
    }

    /// Denies it no more, up to what is denied again below it.
    pub fn allow_path(&mut self, path: impl AsRef<Path>) {
        self.path(path.as_ref(), false);
    }

    fn path(&mut self, path: &Path, is_denied: bool) {
        let mut live = lock(&self.0);
        live.paths.push((path.to_owned(), is_denied));
        live.generation += 1;
    }
}

/// What is shared. A policy function that has panicked is not asked any more.
pub(crate) fn lock(live: &Mutex<Live>) -> MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &[&str]) -> Vec<IpAddr> {
        text.iter().map(|host| host.parse().expect("an address")).collect()
    }

    #[test]
    fn what_is_granted_stays_below_the_ceiling() {
        let ceiling = Limits {
            network: Hosts::only(&hosts(&["192.0.2.1", "192.0.2.2"])),
            max_memory: Some(100),
            max_processes: None,
        };
        let start =
            Limits { network: Hosts::only(&[]), max_memory: Some(500), max_processes: None };
        let (mut context, _) = PolicyContext::new(ceiling.clone(), &start);
        assert_eq!(context.ceiling(), ceiling);
        assert_eq!(context.current().max_memory, Some(100));
        let given = hosts(&["192.0.2.1", "::ffff:192.0.2.2", "192.0.2.3"]);
        assert_eq!(context.grant_network(&given), Ok(given[..2].to_vec()));
        assert_eq!(context.current().network, ceiling.network);
        assert_eq!(
            (context.grant_max_memory(50), context.grant_max_memory(200)),
            (Ok(50), Ok(100))
        );
        assert_eq!(context.grant_max_processes(7), Ok(7));
    }

    #[test]
    fn a_restriction_is_for_good() {
        let (mut context, _) = PolicyContext::new(Limits::default(), &Limits::default());
        assert_eq!(context.current(), Limits::default());
        context.restrict_network(&hosts(&["192.0.2.1", "192.0.2.2"]));
        context.restrict_network(&hosts(&["192.0.2.2", "192.0.2.3"]));
        context.restrict_max_memory(10);
        context.restrict_max_memory(20);
        let restricted = context.grant_network(&[]).expect_err("it is restricted");
        assert!(restricted.to_string().starts_with("the network was restricted"));
        assert_eq!(context.grant_max_memory(1), Err(Restricted("memory")));
        assert_eq!(context.grant_max_processes(5), Ok(5));
        let left = context.current();
        assert_eq!(left.network, Hosts::only(&hosts(&["192.0.2.2"])));
        assert_eq!((left.max_memory, left.max_processes), (Some(10), Some(5)));
    }
}
