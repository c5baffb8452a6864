//! Limits of a command that runs: by its cgroup, or on each of its processes.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, Result, write};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, pidfd_open, prlimit};

use crate::confined::Confined;
use crate::limits::Limits;
use crate::lineage::is_alive;
use crate::target::{Status, is_gone, resource_limits};

/// How often processes are looked for that were started meanwhile.
const PASSES: usize = 16;

/// The processes of a command.
pub(crate) struct Tree {
    /// Whose descendants they are, once that was looked for.
    top: Option<Result<Top>>,
    cgroup: Option<OwnedFd>,
}

/// The process above all others of a command.
struct Top {
    pid: Pid,
    /// It, whoever has its number.
    process: OwnedFd,
    /// Whether it is one of them.
    counts: bool,
}

impl Tree {
    pub(crate) const fn new(cgroup: Option<OwnedFd>) -> Self {
        Self { top: None, cgroup }
    }

    /// Whether the first process of the command was looked for.
    pub(crate) const fn has_begun(&self) -> bool {
        self.top.is_some()
    }

    /// Finds the first process of the command, from the first of them that calls:
    /// one that calls later may be left behind by others, with nobody above it. That
    /// it still waits has to be checked afterwards.
    pub(crate) fn begin(&mut self, one: Pid) {
        self.top = Some(Top::above(one));
    }

    /// Forgets what was found from one that does not wait any more.
    pub(crate) fn begin_anew(&mut self) {
        self.top = None;
    }

    /// Has limits hold that are not what they were.
    pub(crate) fn limit(&self, old: &Limits, new: &Limits, confined: &Confined) -> Result<()> {
        if old.max_memory != new.max_memory {
            self.set("memory.max", Resource::Data, new.max_memory, confined)?;
        }
        if old.max_processes != new.max_processes {
            self.set("pids.max", Resource::Nproc, new.max_processes, confined)?;
        }
        Ok(())
    }

    fn set(
        &self,
        file: &str,
        resource: Resource,
        limit: Option<u64>,
        confined: &Confined,
    ) -> Result<()> {
        let Some(cgroup) = &self.cgroup else {
            return limit.map_or(Ok(()), |limit| self.lower_each(resource, limit, confined));
        };
        let file = openat(cgroup, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        let text = limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
        write(file, text.as_bytes()).map(drop)
    }

    /// Lowers the limit of each. What one has less of, by the static policy or by
    /// itself, it keeps. Somebody with the same ids needs no capability for it.
    fn lower_each(&self, resource: Resource, limit: u64, confined: &Confined) -> Result<()> {
        let mut done = BTreeSet::new();
        for _ in 0..PASSES {
            let mut new = self.processes()?;
            new.retain(|pid| done.insert(number(*pid)));
            if new.is_empty() {
                return Ok(());
            }
            for pid in new {
                match hard_limit(pid, resource) {
                    Ok(Some(hard)) if hard <= limit => continue,
                    // It has ended.
                    Err(error) if is_gone(error) => continue,
                    hard => drop(hard?),
                }
                let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
                match confined.run(move || prlimit(Some(pid), resource, limit)) {
                    // It has ended.
                    Err(Errno::SRCH) => {}
                    set => drop(set?),
                }
            }
        }
        Err(Errno::AGAIN)
    }

    /// Everybody who descends from the first, now. Where that has ended, nobody
    /// knows who is left.
    pub(crate) fn processes(&self) -> Result<Vec<Pid>> {
        let top = self.top.as_ref().ok_or(Errno::SRCH)?.as_ref().map_err(|error| *error)?;
        let mut children: HashMap<i32, Vec<Pid>> = HashMap::new();
        for (pid, status) in Status::all()? {
            if let Some(parent) = status.parent {
                children.entry(number(parent)).or_default().push(pid);
            }
        }
        // While it is there its number is its own.
        if !is_alive(&top.process) {
            return Err(Errno::SRCH);
        }
        let mut found = vec![top.pid];
        let mut next = 0;
        while let Some(pid) = found.get(next) {
            next += 1;
            found.extend(children.remove(&number(*pid)).unwrap_or_default());
        }
        if !top.counts {
            found.remove(0);
        }
        Ok(found)
    }
}

impl Top {
    /// What processes leave behind goes to PID 1 of their namespace, if they have
    /// one.
    fn above(one: Pid) -> Result<Self> {
        let own = Status::of_this_thread()?;
        let (mut first, mut above) = (one, Status::of(one)?.parent);
        while let Some(parent) = above {
            let status = Status::of(parent)?;
            if !status.is_below(&own) {
                let reaps = status.numbers(false).0 == 1 && !parent.is_init();
                above = above.filter(|_| reaps);
                break;
            }
            (first, above) = (parent, status.parent);
        }
        let (pid, counts) = above.map_or((first, true), |reaper| (reaper, false));
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid, process, counts })
    }
}

fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

/// What a process may have at most; `None` where that is without limit.
fn hard_limit(pid: Pid, resource: Resource) -> Result<Option<u64>> {
    let name = match resource {
        Resource::Data => "Max data size",
        _ => "Max processes",
    };
    let [_, hard] = resource_limits(pid, name)?;
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::target::Ids;

    #[test]
    fn a_cgroup_gets_what_has_changed() {
        let directory = tempfile::tempdir().expect("it is made");
        let file = |name: &str| directory.path().join(name);
        for name in ["memory.max", "pids.max"] {
            fs::write(file(name), "").expect("it is written");
        }
        let open = || fs::File::open(directory.path()).expect("it opens").into();
        let own = Ids::of_this_thread().expect("it is read");
        let confined = Confined::start(own, None, Duration::from_secs(60)).expect("it starts");
        let (all, less) =
            (Limits::default(), Limits { max_memory: Some(4096), ..Limits::default() });
        Tree::new(Some(open())).limit(&all, &less, &confined).expect("it is written");
        let read = |name: &str| fs::read_to_string(file(name)).expect("it is read");
        assert_eq!((read("memory.max"), read("pids.max")), ("4096".into(), "".into()));
        fs::remove_file(file("memory.max")).expect("it is removed");
        let failed = Tree::new(Some(open())).limit(&less, &all, &confined);
        assert_eq!(failed, Err(Errno::NOENT));
    }

    #[test]
    fn where_the_first_has_ended_nobody_knows_who_is_left() {
        let mut first = std::process::Command::new("sleep").arg("600").spawn().expect("it starts");
        let pid = Pid::from_child(&first);
        let mut tree = Tree::new(None);
        tree.begin(pid);
        assert_eq!(tree.processes(), Ok(vec![pid]));
        first.kill().expect("it is killed");
        first.wait().expect("it is waited for");
        assert_eq!(tree.processes(), Err(Errno::SRCH));
    }
}
