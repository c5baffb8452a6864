//! The receipt: what a launch tells whoever asked for it, as JSON lines on the
//! status descriptor. `docs/receipt.md` has every key.
//!
//! Where nobody asks, nothing is noted, and no system call is made for it.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

use launcher_policy::enforce::{Guarantee, Keeper, Mode};
use launcher_policy::{Failure, Stage, Subject};
use linux_raw_sys::general as uapi;
use rustix::fd::{AsFd, OwnedFd, RawFd};
use rustix::fs::{FileType, fstat};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::system::uname;

use crate::report::{self, Line};
use crate::sys::{self, Usage};
use crate::text::Text;
use crate::{Facility, Launch, Options, cgroup, landlock, namespaces, remedy, session, wait};

/// The version of the lines: another one where a key changes its meaning or
/// goes.
pub(crate) const VERSION: i64 = 1;

/// What a limit binds that no cgroup does.
const PER_PROCESS: &str = "per process";
const NOTHING: &str = "nothing";

/// More bytes than a line about a launch has, with every guarantee, facility
/// and reason.
const MAX_LINE: usize = 4096;

/// More bytes than the other lines have.
const MAX_SHORT: usize = 512;

/// What is noted for a receipt while a launch goes on, in the memory that its
/// processes share. All of it stays zero where nobody asks.
#[derive(Default)]
pub struct Notes {
    /// When the launch began, on the monotonic clock in microseconds.
    begin: u64,
    /// When each stage was over.
    over: [AtomicU64; Stage::ALL.len()],
    /// The launcher's process id.
    launcher: i32,
}

impl Notes {
    /// The beginning of a launch.
    pub fn begin(status: Option<RawFd>) -> Self {
        match status {
            None => Self::default(),
            Some(_) => Self {
                begin: sys::monotonic_microseconds(),
                launcher: getpid().as_raw_nonzero().get(),
                ..Self::default()
            },
        }
    }

    /// Notes that a stage is over.
    pub fn is_over(&self, stage: Stage) {
        if self.begin != 0
            && let Some(over) = self.over.get(stage as usize)
        {
            over.store(sys::monotonic_microseconds(), Ordering::Relaxed);
        }
    }

    /// When a stage was over, or the launch began where it was not.
    fn end_of(&self, stage: Stage) -> u64 {
        let over = self.over.get(stage as usize).map_or(0, |over| over.load(Ordering::Relaxed));
        over.max(self.begin)
    }
}

/// `launch`: all that the command will run under is in force, but for the
/// filter, which is next: it may forbid what is called here.
// Its line is long, and where nobody asks it should be on no stack.
#[inline(never)]
pub fn launched(launch: &Launch<'_>) {
    let Some(status) = launch.options.status else { return };
    let policy = launch.policy;
    // A policy may speak of PID 1 and make no namespace.
    let wanted = policy.namespaces.is_some_and(|namespaces| namespaces.flags != 0);
    let refused = launch.shared.refused_namespaces();
    let namespaces = wanted && refused.is_none();
    let landlock = landlock::is_used(launch);
    let mut memory = Text::<MAX_LINE>::new();
    let mut line = Line::new(&mut memory);
    line.event("launch").count("version", VERSION).word("launcher", report::VERSION);
    line.hex("digest", launch.digest);
    line.string("kernel", Some(uname().release().to_bytes()));
    line.count("landlock_abi", launch.abi.into());
    line.count("landlock_errata", launch.errata.into());
    line.word(
        "rung",
        match (namespaces, landlock) {
            (true, _) => "namespaces",
            (false, true) => "landlock",
            (false, false) => "seccomp",
        },
    );
    line.key("layers").text("{");
    for (layer, wanted, enforced) in [
        ("namespaces", wanted, namespaces),
        ("landlock", policy.landlock.is_some(), landlock),
        ("seccomp", policy.seccomp.is_some(), true),
    ] {
        line.word(
            layer,
            match (wanted, enforced) {
                (false, _) => "off",
                (true, true) => "enforced",
                (true, false) => "degraded",
            },
        );
    }
    line.text("}").key("reasons").text("{");
    if let Some(refused) = refused {
        reason(&mut line, refused);
    }
    if policy.landlock.is_some() && !landlock {
        line.word(
            "landlock",
            match launch.abi {
                0 => "this kernel has none, or does not use it",
                _ => "already inside 16 layers, which are all that there can be",
            },
        );
    }
    line.text("}");
    guarantees(&mut line, launch);
    line.key("missing").text("[");
    for &facility in Facility::ALL.iter().filter(|facility| launch.shared.misses(**facility)) {
        line.item(facility.name());
    }
    line.text("]");
    prepared(&mut line, launch);
    limits(&mut line, launch);
    line.word("die_with_parent", session::dies_with(launch));
    pids(&mut line, launch);
    times(&mut line, launch);
    line.send(status, own_pidfd(status).as_ref().map(AsFd::as_fd));
}

/// Why there are no namespaces.
fn reason(line: &mut Line, refused: Failure) {
    line.key("namespaces").text("\"").text(refused.call().name());
    line.text(if refused.subject() == Subject::None { "" } else { " " });
    line.text(refused.subject().name()).text(": ");
    line.errno(refused.error());
    if let Some(remedy) = remedy::of(&refused) {
        line.text("; ").text(remedy);
    }
    line.text("\"");
}

/// What keeps each guarantee, and what the policy gave up.
fn guarantees(line: &mut Line<'_>, launch: &Launch<'_>) {
    let namespaces = namespaces::are_made(launch);
    let mut waived = 0_u32;
    line.key("guarantees").text("{");
    for guaranteed in launch.policy.enforce.guarantees.iter() {
        let keeper = guaranteed.keeper(namespaces);
        let layer = match keeper {
            _ if !keeper.keeps(launch.abi) => {
                waived |= 1 << guaranteed.guarantee as u32;
                continue;
            }
            Keeper::Landlock(_) => "landlock",
            Keeper::Seccomp => "seccomp",
            // What nothing keeps has gone above.
            Keeper::Namespaces | Keeper::Nothing(_) => "namespaces",
        };
        line.word(guaranteed.guarantee.name(), layer);
    }
    line.text("}").key("waived").text("[");
    for &guarantee in Guarantee::ALL {
        if waived & 1 << guarantee as u32 != 0 {
            line.item(guarantee.name());
        }
    }
    line.text("]");
}

/// What was not made for this launch alone, or not by it.
fn prepared(line: &mut Line<'_>, launch: &Launch<'_>) {
    let Options { template, network, .. } = launch.options;
    if template.is_none() && network.is_none() {
        return;
    }
    line.key("prepared").text("[");
    for (name, _) in
        [("template", template), ("network", network)].iter().filter(|(_, fd)| fd.is_some())
    {
        line.item(name);
    }
    line.text("]");
}

/// What the limits bind that are meant for the whole tree.
fn limits(line: &mut Line<'_>, launch: &Launch<'_>) {
    let limits = launch.policy.limits;
    let off = launch.policy.enforce.limits == Mode::Off;
    line.key("limits").text("{");
    for (name, limit, facility, otherwise) in [
        ("memory", limits.memory, Facility::Memory, PER_PROCESS),
        // Where root is the caller, RLIMIT_NPROC does not bind.
        ("processes", limits.processes, Facility::Processes, NOTHING),
        ("cpu_time", limits.cpu_time, Facility::CpuTime, PER_PROCESS),
    ] {
        if limit.is_some() {
            let binds = match launch.shared.misses(facility) {
                _ if off => NOTHING,
                true => otherwise,
                false => "whole tree",
            };
            line.word(name, binds);
        }
    }
    line.text("}");
}

/// The processes, by their numbers where the launcher was started.
fn pids(line: &mut Line, launch: &Launch<'_>) {
    line.key("pids").text("{").count("launcher", launch.shared.notes.launcher.into());
    let init = launch.stacks.reaper.pid();
    if init != 0 && wait::has_reaper(launch) {
        line.count("init", init.into());
    }
    let mut number = [0; 16];
    if !wait::is_needed(launch) {
        line.count("command", launch.shared.notes.launcher.into());
    } else if !namespaces::has(launch, uapi::CLONE_NEWPID) {
        line.count("command", getpid().as_raw_nonzero().get().into());
    } else if let Some(proc) = launch.proc
        // In the /proc of outside, this link has the number of outside.
        && let Ok(number) = sys::readlinkat(sys::inherited(proc), c"self", &mut number)
    {
        line.key("command").bytes(number);
    }
    line.text("}");
}

/// How long each stage took. The filter may forbid to ask for the time, so
/// the last ones are not among them.
fn times(line: &mut Line, launch: &Launch<'_>) {
    let notes = &launch.shared.notes;
    line.key("microseconds").text("{");
    let mut begin = notes.begin;
    for stage in Stage::ALL.into_iter().take_while(|stage| *stage < Stage::Seccomp) {
        let end = notes.end_of(stage);
        line.count(stage.name(), end.saturating_sub(begin) as i64);
        begin = end;
    }
    line.text("}");
}

/// A pidfd of this process, the command, for a reader at a socket.
fn own_pidfd(status: RawFd) -> Option<OwnedFd> {
    let stat = fstat(sys::inherited(status)).ok()?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => pidfd_open(getpid(), PidfdFlags::empty()).ok(),
        _ => None,
    }
}

/// `exec`: the command runs.
pub fn executed(launch: &Launch<'_>) {
    let Some(status) = launch.options.status else { return };
    let notes = &launch.shared.notes;
    notes.is_over(Stage::Exec);
    let time = notes.end_of(Stage::Exec) - notes.begin;
    let mut memory = Text::<MAX_SHORT>::new();
    Line::new(&mut memory).event("exec").count("microseconds", time as i64).send(status, None);
}

/// How the command ended.
#[derive(Clone, Copy)]
pub enum Ending {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// The wall time was over.
    WallTime,
    /// The CPU time of its cgroup was over.
    CpuTime,
    /// Its caller ended.
    CallerEnded,
}

impl Ending {
    /// The launcher's exit status.
    pub const fn exit_status(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Signaled(signal) => 128 + signal,
            Self::WallTime => report::TIMED_OUT,
            Self::CpuTime | Self::CallerEnded => 128 + uapi::SIGKILL as i32,
        }
    }
}

/// `exit`: the command has ended.
#[inline(never)]
pub fn ended(launch: &Launch<'_>, ending: Ending, usage: Usage) {
    let Some(status) = launch.options.status else { return };
    let notes = &launch.shared.notes;
    let wall = sys::monotonic_microseconds() - notes.end_of(Stage::Exec);
    let cgroup = cgroup::of(launch);
    let counts = COUNTS.map(|(file, key, _)| cgroup::count(cgroup?, file, key));
    let mut memory = Text::<MAX_SHORT>::new();
    let mut line = Line::new(&mut memory);
    line.event("exit");
    match ending {
        Ending::Exited(code) => line.word("ended_by", "exit").count("code", code.into()),
        Ending::Signaled(signal) => {
            let by = match signal as u32 {
                _ if is_cpu_limit(launch, signal as u32, usage) => "cpu",
                uapi::SIGKILL
                    if counts
                        .get(OOM_KILL)
                        .is_some_and(|kills| kills.is_some_and(|kills| kills > 0)) =>
                {
                    "memory"
                }
                _ => "signal",
            };
            line.word("ended_by", by).count("signal", signal.into())
        }
        Ending::WallTime => line.word("ended_by", "wall"),
        Ending::CpuTime => line.word("ended_by", "cpu"),
        Ending::CallerEnded => line.word("ended_by", "caller"),
    };
    line.count("wall_microseconds", wall as i64);
    line.count("cpu_microseconds", usage.cpu as i64).count("max_rss_kib", usage.max_rss as i64);
    if let Some(cgroup) = cgroup {
        if let Some(peak) = cgroup::count(cgroup, c"memory.peak", b"") {
            line.count("memory_peak", peak as i64);
        }
        line.key("limit_events").text("{");
        for (count, (_, _, name)) in counts.into_iter().zip(COUNTS) {
            if let Some(events) = count {
                line.count(name, events as i64);
            }
        }
        line.text("}");
    }
    line.send(status, None);
}

/// Whether a signal is the one of `RLIMIT_CPU`: the soft limit's or the hard
/// one's, after as much time. The kernel compares ticks, which on a busy
/// machine run ahead of the time that it tells in the end: half of it counts.
fn is_cpu_limit(launch: &Launch<'_>, signal: u32, usage: Usage) -> bool {
    let policy = launch.policy;
    let limit = policy.limits.rlimits.iter().find(|limit| limit.resource == uapi::RLIMIT_CPU as u8);
    let Some(limit) = limit.filter(|_| policy.enforce.limits != Mode::Off) else { return false };
    let seconds = match signal {
        uapi::SIGXCPU => limit.soft,
        uapi::SIGKILL => limit.hard,
        _ => return false,
    };
    usage.cpu >= seconds.saturating_mul(500_000)
}

/// What a cgroup counts: the file, the key in it, and the one in the receipt.
const COUNTS: [(&CStr, &[u8], &str); 3] = [
    (c"pids.events", b"max ", "pids_max"),
    (c"memory.events", b"oom ", "memory_oom"),
    (c"memory.events", b"oom_kill ", "memory_oom_kill"),
];

/// Which of [`COUNTS`] is of processes that were killed for want of memory.
const OOM_KILL: usize = 2;
