//! Limits: rlimits, nice value, OOM score, CPU affinity.
//!
//! Runs after everything that opens descriptors, which `RLIMIT_NOFILE` would
//! starve, and before `CAP_SYS_RESOURCE` goes.

use launcher_policy::enforce::Mode;
use launcher_policy::{Call, Failure, Refusal, Stage, Subject};
use linux_raw_sys::general as uapi;
use rustix::fs::{Mode as FileMode, OFlags, openat};
use rustix::io::write;
use rustix::process::setpriority_process;

use crate::report::failed;
use crate::text::Text;
use crate::{Facility, Launch, cgroup, namespaces, sys, wait};

const STAGE: Stage = Stage::Limits;

/// The launcher's own part of a limit on processes: PID 1.
fn own_processes(launch: &Launch<'_>) -> u64 {
    u64::from(wait::has_reaper(launch))
}

/// Binds the limits of the whole tree, and finds out which cannot be bound.
///
/// # Errors
///
/// A limit that nothing binds, where limits are required.
pub fn check(launch: &Launch<'_>) -> Result<(), Failure> {
    let limits = &launch.policy.limits;
    if launch.policy.enforce.limits == Mode::Off {
        return Ok(());
    }
    if let Some(memory) = limits.memory
        && !cgroup::bind_memory(launch, memory)
    {
        miss(launch, Facility::Memory, Call::Memory)?;
    }
    if let Some(processes) = limits.processes
        && !cgroup::bind_processes(launch, processes + own_processes(launch))
        && !nproc_binds(launch)
    {
        miss(launch, Facility::Processes, Call::Processes)?;
    }
    if limits.cpu_time.is_some() && !cgroup::counts_cpu_time(launch) {
        // RLIMIT_CPU binds each process for itself.
        miss(launch, Facility::CpuTime, Call::CpuTime)?;
    }
    let whole_tree = namespaces::has(launch, uapi::CLONE_NEWPID) || cgroup::can_kill(launch);
    if limits.wall_time.is_some() && !whole_tree {
        miss(launch, Facility::WallTime, Call::WallTime)?;
    }
    Ok(())
}

/// Whether `RLIMIT_NPROC` counts this launch alone: per user namespace since
/// Linux 5.14, of which those of a template share one, and never for a user id
/// that is root outside.
fn nproc_binds(launch: &Launch<'_>) -> bool {
    let outside = namespaces::uid_outside(launch, launch.policy.credentials.uid);
    namespaces::made(launch) & uapi::CLONE_NEWUSER != 0 && outside.is_some_and(|uid| uid != 0)
}

/// As many processes of the command's user id. PID 1 is one of them, unless id
/// ranges give it another one.
fn nproc(launch: &Launch<'_>, processes: u64) -> u64 {
    let outside = |inside| namespaces::uid_outside(launch, inside);
    let same = outside(None) == outside(launch.policy.credentials.uid);
    if same { processes + own_processes(launch) } else { processes }
}

fn miss(launch: &Launch<'_>, facility: Facility, limit: Call) -> Result<(), Failure> {
    if launch.policy.enforce.limits == Mode::Require {
        let why = Refusal::UnboundLimit;
        return Err(Failure::refused(STAGE, limit, why));
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
pub fn apply(launch: &Launch<'_>) -> Result<(), Failure> {
    if launch.policy.enforce.limits == Mode::Off {
        return Ok(());
    }
    let limits = &launch.policy.limits;
    if let Some(score) = limits.oom_score_adj.or(score_of_a_victim(launch)) {
        adjust_oom_score(launch, score)?;
    }
    if let Some(nice) = limits.nice {
        setpriority_process(None, nice.into()).map_err(failed(STAGE, Call::Setpriority))?;
    }
    if !limits.cpu_affinity.is_empty() {
        sys::sched_setaffinity(limits.cpu_affinity)
            .map_err(failed(STAGE, Call::SchedSetaffinity))?;
    }
    if let Some(processes) = limits.processes
        && nproc_binds(launch)
    {
        let most = nproc(launch, processes);
        set(uapi::RLIMIT_NPROC, most, most)?;
    }
    set_rlimits(launch, |resource| resource != uapi::RLIMIT_FSIZE)
}

/// Sets the limit on the size of files, which binds the receipt, too, where
/// that is written to one.
///
/// # Errors
///
/// prlimit(2)
pub fn bind_files(launch: &Launch<'_>) -> Result<(), Failure> {
    if launch.policy.enforce.limits == Mode::Off {
        return Ok(());
    }
    set_rlimits(launch, |resource| resource == uapi::RLIMIT_FSIZE)
}

fn set_rlimits(launch: &Launch<'_>, is_wanted: impl Fn(u32) -> bool) -> Result<(), Failure> {
    let rlimits = launch.policy.limits.rlimits.iter();
    for rlimit in rlimits.filter(|rlimit| is_wanted(rlimit.resource.into())) {
        set(rlimit.resource.into(), rlimit.soft, rlimit.hard)?;
    }
    Ok(())
}

fn set(resource: u32, soft: u64, hard: u64) -> Result<(), Failure> {
    sys::setrlimit(resource, soft, hard).map_err(failed(STAGE, Call::Prlimit))
}

/// The score with which the kernel kills the command where a cgroup has no
/// memory left. It might kill PID 1 instead, whose memory is the waiter's,
/// and nobody would be there to tell how the command ended. The highest score
/// is the only one that everybody may set.
fn score_of_a_victim(launch: &Launch<'_>) -> Option<i16> {
    let is_bound = cgroup::of(launch).is_some() && !launch.shared.misses(Facility::Memory);
    launch.policy.limits.memory.filter(|_| is_bound && wait::has_reaper(launch)).map(|_| 1000)
}

/// Only in the command's own process: memory that is shared with another
/// process shares its score, but for a vforked child.
fn adjust_oom_score(launch: &Launch<'_>, score: i16) -> Result<(), Failure> {
    const PATH: &core::ffi::CStr = c"self/oom_score_adj";
    let proc = launch
        .proc
        .map(sys::inherited)
        .ok_or_else(|| Failure::refused(STAGE, Call::Openat, Refusal::NoProc))?;
    let file = openat(proc, PATH, OFlags::WRONLY | OFlags::CLOEXEC, FileMode::empty())
        .map_err(failed(STAGE, Call::Openat))
        .map_err(|failure| failure.about(Subject::OomScoreAdj))?;
    let mut text = Text::<24>::new();
    text.signed(score.into());
    write(file, text.as_bytes())
        .map(drop)
        .map_err(failed(STAGE, Call::Write))
        .map_err(|failure| failure.about(Subject::OomScoreAdj))
}
