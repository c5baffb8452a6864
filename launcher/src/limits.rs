//! Limits: rlimits, nice value, OOM score, CPU affinity.
//!
//! Runs after everything that opens descriptors, which `RLIMIT_NOFILE` would
//! starve, and before `CAP_SYS_RESOURCE` goes.

use launcher_policy::enforce::Mode;
use launcher_policy::{Failure, Stage};
use linux_raw_sys::general as uapi;
use rustix::fd::BorrowedFd;
use rustix::fs::{Mode as FileMode, OFlags, openat};
use rustix::io::write;
use rustix::process::setpriority_process;

use crate::report::failed;
use crate::{Facility, Launch, namespaces, sys, wait};

const STAGE: Stage = Stage::Limits;

/// The launcher's own part of a limit on processes: PID 1.
const OWN_PROCESSES: u64 = 1;

/// Binds the limits of the whole tree, and finds out which cannot be bound.
///
/// # Errors
///
/// A limit that nothing binds, where limits are required.
pub fn check(launch: &Launch<'_>) -> Result<(), Failure<'static>> {
    let limits = &launch.policy.limits;
    if launch.policy.enforce.limits == Mode::Off {
        return Ok(());
    }
    let cgroup = launch.options.cgroup.map(sys::inherited);
    if let Some(memory) = limits.memory
        && !cgroup.is_some_and(|cgroup| bind(cgroup, c"memory.max", memory))
    {
        miss(launch, Facility::Memory, "memory")?;
    }
    if let Some(processes) = limits.processes {
        let bound = cgroup
            .is_some_and(|cgroup| bind(cgroup, c"pids.max", processes + OWN_PROCESSES));
        if !bound && !nproc_binds(launch) {
            miss(launch, Facility::Processes, "processes")?;
        }
    }
    if limits.cpu_time.is_some() {
        // RLIMIT_CPU binds each process for itself, and no cgroup file binds
        // the sum.
        miss(launch, Facility::CpuTime, "cpu_time")?;
    }
    let whole_tree = namespaces::has(launch, uapi::CLONE_NEWPID);
    if limits.wall_time.is_some() && !whole_tree {
        miss(launch, Facility::WallTime, "wall_time")?;
    }
    Ok(())
}

/// Writes a limit of a cgroup; `false` where its controller is not there.
fn bind(cgroup: BorrowedFd<'_>, file: &core::ffi::CStr, value: u64) -> bool {
    let Ok(file) = openat(cgroup, file, OFlags::WRONLY | OFlags::CLOEXEC, FileMode::empty()) else {
        return false;
    };
    write(file, namespaces::Decimal::new(&[value]).as_bytes()).is_ok()
}

/// Whether `RLIMIT_NPROC` counts this launch alone: per user namespace since
/// Linux 5.14, and never for a real user id that is root outside.
fn nproc_binds(launch: &Launch<'_>) -> bool {
    namespaces::has(launch, uapi::CLONE_NEWUSER) && launch.caller.uid != 0
}

fn miss(
    launch: &Launch<'_>,
    facility: Facility,
    name: &'static str,
) -> Result<(), Failure<'static>> {
    if launch.policy.enforce.limits == Mode::Require {
        let why = "a required limit cannot be bound for the whole tree here";
        return Err(Failure::refused(STAGE, name, why)
            .hint("memory and processes need --cgroup-fd, wall_time a PID namespace"));
    }
    launch.shared.miss(facility);
    Ok(())
}

/// Sets the limits of the command's process.
///
/// # Errors
///
/// prlimit(2), setpriority(2), sched_setaffinity(2), and what writing the OOM
/// score says.
pub fn apply(launch: &Launch<'_>) -> Result<(), Failure<'static>> {
    if launch.policy.enforce.limits == Mode::Off {
        return Ok(());
    }
    let limits = &launch.policy.limits;
    if let Some(score) = limits.oom_score_adj {
        adjust_oom_score(launch, score)?;
    }
    if let Some(nice) = limits.nice {
        setpriority_process(None, nice.into()).map_err(failed(STAGE, "setpriority"))?;
    }
    if !limits.cpu_affinity.is_empty() {
        sys::sched_setaffinity(limits.cpu_affinity)
            .map_err(failed(STAGE, "sched_setaffinity"))?;
    }
    if let Some(processes) = limits.processes
        && nproc_binds(launch)
    {
        let own = if wait::has_reaper(launch) { OWN_PROCESSES } else { 0 };
        set(uapi::RLIMIT_NPROC, processes + own, processes + own)?;
    }
    for rlimit in limits.rlimits.iter() {
        set(rlimit.resource.into(), rlimit.soft, rlimit.hard)?;
    }
    Ok(())
}

fn set(resource: u32, soft: u64, hard: u64) -> Result<(), Failure<'static>> {
    sys::setrlimit(resource, soft, hard)
        .map_err(failed(STAGE, "prlimit"))
        .map_err(|failure| failure.hint("a hard limit cannot be raised above the caller's own"))
}

/// Only in the command's own process: memory that is shared with another
/// process shares its score, but for a vforked child.
fn adjust_oom_score(launch: &Launch<'_>, score: i16) -> Result<(), Failure<'static>> {
    const PATH: &core::ffi::CStr = c"self/oom_score_adj";
    let proc = launch.carried.proc.map(sys::inherited).ok_or_else(|| {
        Failure::refused(STAGE, "oom_score_adj", "there is no /proc to set the OOM score in")
    })?;
    let file = openat(proc, PATH, OFlags::WRONLY | OFlags::CLOEXEC, FileMode::empty())
        .map_err(failed(STAGE, "openat"))
        .map_err(|failure| failure.at(b"/proc/self/oom_score_adj"))?;
    let text = namespaces::Decimal::signed(score.into());
    write(file, text.as_bytes())
        .map(drop)
        .map_err(failed(STAGE, "write"))
        .map_err(|failure| failure.at(b"/proc/self/oom_score_adj"))
        .map_err(|failure| failure.hint("only a privileged caller may lower the score"))
}
