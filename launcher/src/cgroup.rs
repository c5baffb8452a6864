//! The cgroup of a launch: made below one that is delegated, ended and removed
//! with the command.
//!
//! Made before the first process, which is born in it, so that nothing the
//! command starts was ever outside. Where the launcher is killed, its guard
//! ends and removes it.

use core::ffi::CStr;
use core::mem;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use launcher_policy::enforce::Mode;
use launcher_policy::limits::Cgroup;
use launcher_policy::{Call, Failure, Refusal, Stage};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    Access, AtFlags, CWD, Mode as FileMode, OFlags, ResolveFlags, accessat, fgetxattr, fstat,
    fstatfs, mkdirat, openat, openat2, unlinkat,
};
use rustix::io::{Errno, pread, read, write};
use rustix::process::getpid;

use crate::report::failed;
use crate::text::Text;
use crate::{Launch, guard, sys, wait};

const STAGE: Stage = Stage::Limits;

/// `CGROUP2_SUPER_MAGIC` of statfs(2).
const CGROUP2: u64 = 0x6367_7270;

/// Where version 2 is mounted, alone or beside version 1.
const ROOTS: [&CStr; 2] = [c"/sys/fs/cgroup", c"/sys/fs/cgroup/unified"];

/// How systemd marks a group that it leaves to others.
const MARK: &CStr = c"user.delegate";

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The file that ends all of a group.
const KILL: &CStr = c"cgroup.kill";

/// The key of `cpu.stat`, in microseconds.
const CPU_TIME: &[u8] = b"usage_usec ";

/// How long the end of what is left in a group is waited for, in milliseconds:
/// much longer than it takes on a busy machine.
const PATIENCE: u64 = 10_000;

/// The shortest time between two looks at the CPU time, in milliseconds.
const SHORTEST_LOOK: u64 = 10;

/// How many processors at once can be busy without a limit being overrun
/// between two looks.
const PROCESSORS: u64 = 64;

/// The group of a launch, for the processes that share its memory.
#[derive(Default)]
pub struct Group {
    /// Its directory, and the one it is in; 0 where there is none.
    directory: AtomicI32,
    parent: AtomicI32,
    /// What makes its name its own: the launcher's process id, and a time.
    launcher: AtomicI32,
    number: AtomicU64,
}

/// The directory of the launch's own group.
pub fn of(launch: &Launch<'_>) -> Option<BorrowedFd<'static>> {
    opened(&launch.shared.cgroup.directory)
}

/// The directory that the group is in.
pub fn parent(launch: &Launch<'_>) -> Option<BorrowedFd<'static>> {
    opened(&launch.shared.cgroup.parent)
}

fn opened(fd: &AtomicI32) -> Option<BorrowedFd<'static>> {
    match fd.load(Ordering::Relaxed) {
        0 => None,
        fd => Some(sys::inherited(fd)),
    }
}

/// Makes the group, where one is given or the policy has one looked for, with
/// a guard if it is to have one.
///
/// # Errors
///
/// A directory that is given and is no cgroup, or in which no group can be
/// made.
pub fn make(
    launch: &Launch<'_>,
    guard: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let Some(given) = launch.options.cgroup.map(sys::inherited) {
        if !is_cgroup(given) {
            return Err(Failure::refused(STAGE, Call::CgroupFd, Refusal::NoCgroup));
        }
        return make_in(launch, given, guard);
    }
    let policy = launch.policy;
    let wanted = policy.limits.cgroup == Cgroup::Auto && policy.enforce.limits != Mode::Off;
    if let Some(delegated) = wanted.then(|| delegated(launch)).flatten() {
        // What is not bound then is missing or refused, by its name.
        let _ = make_in(launch, sys::until_exec(delegated), guard);
    }
    Ok(())
}

/// Makes it below this directory, under the eyes of its guard.
fn make_in(
    launch: &Launch<'_>,
    parent: BorrowedFd<'static>,
    guard: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let group = &launch.shared.cgroup;
    group.launcher.store(getpid().as_raw_nonzero().get(), Ordering::Relaxed);
    group.number.store(sys::monotonic_microseconds(), Ordering::Relaxed);
    group.parent.store(parent.as_raw_fd(), Ordering::Relaxed);
    guard()?;
    let directory = make_directory(group, parent)
        .map_err(failed(STAGE, Call::CgroupFd))
        .inspect_err(|_| guard::dismiss(launch))?;
    group.directory.store(sys::until_exec(directory).as_raw_fd(), Ordering::Relaxed);
    Ok(())
}

fn make_directory(group: &Group, parent: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut name = name(group);
    let name = name.c_str().unwrap_or_default();
    mkdirat(parent, name, FileMode::from_raw_mode(0o755))?;
    openat(parent, name, DIRECTORY, FileMode::empty()).inspect_err(|_| {
        // It is empty, and nobody else knows it.
        let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
    })
}

/// Two launchers have one number only in different PID namespaces.
fn name(group: &Group) -> Text<64> {
    let mut name = Text::new();
    name.text("launcher-").signed(group.launcher.load(Ordering::Relaxed).into());
    name.text("-").number(group.number.load(Ordering::Relaxed));
    name
}

fn is_cgroup(directory: BorrowedFd<'_>) -> bool {
    fstatfs(directory).is_ok_and(|system| system.f_type as u64 == CGROUP2)
}

/// The outermost of the groups around the caller that is delegated to it.
// Its buffer is on no stack but its own.
#[inline(never)]
fn delegated(launch: &Launch<'_>) -> Option<OwnedFd> {
    let root = ROOTS.into_iter().find_map(|root| {
        let root = openat(CWD, root, DIRECTORY, FileMode::empty()).ok()?;
        is_cgroup(root.as_fd()).then_some(root)
    })?;
    let file = openat(CWD, c"/proc/self/cgroup", OFlags::CLOEXEC, FileMode::empty()).ok()?;
    let mut buffer = [0; 4096];
    let length = read(&file, &mut buffer).ok()?;
    // Nothing else is believed than that a group of this path is the caller's.
    let begin = path_of_version_2(buffer.get(..length)?)?;
    let path = buffer.get_mut(begin..length)?;
    if is_delegated(&root, launch.caller.uid)
        // No manager leaves processes in the root, and what a container has in
        // its place is its own.
        || launch.caller.uid == 0
            && (path.first() == Some(&b'\n') || has(root.as_fd(), c"cgroup.type"))
    {
        return Some(root);
    }
    for end in 0..path.len() {
        let byte = mem::replace(path.get_mut(end)?, 0);
        if byte == b'/' || byte == b'\n' {
            let path = CStr::from_bytes_until_nul(path).ok()?;
            // One that begins with `..` leads out of the caller's namespace.
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let group = openat2(&root, path, DIRECTORY, FileMode::empty(), beneath).ok()?;
            if is_delegated(&group, launch.caller.uid) {
                return Some(group);
            }
        }
        if byte == b'\n' {
            break;
        }
        *path.get_mut(end)? = byte;
    }
    None
}

/// Where the path begins in the line of version 2. A name may have all in it
/// but a new line.
fn path_of_version_2(lines: &[u8]) -> Option<usize> {
    if lines.starts_with(b"0::/") {
        return Some(4);
    }
    lines.windows(5).position(|five| five == b"\n0::/").map(|line| line + 5)
}

/// A user's own group is delegated; root owns all of them, but not what a
/// manager keeps to itself.
fn is_delegated(group: &OwnedFd, uid: u32) -> bool {
    if uid != 0 {
        return fstat(group).is_ok_and(|stat| stat.st_uid == uid);
    }
    let mut value = [0_u8; 1];
    fgetxattr(group, MARK, &mut value[..]) == Ok(1) && value == *b"1"
}

/// Binds the memory of the group, swapped out or not; `false` where nothing
/// does.
pub fn bind_memory(launch: &Launch<'_>, bytes: u64) -> bool {
    let Some(group) = of(launch) else { return false };
    bind(launch, c"memory.max", b"+memory", bytes)
        // Where swapping is not counted there is no such file.
        && matches!(set(group, c"memory.swap.max", b"0"), Ok(()) | Err(Errno::NOENT))
}

/// Binds the number of processes in the group; `false` where nothing does.
pub fn bind_processes(launch: &Launch<'_>, count: u64) -> bool {
    bind(launch, c"pids.max", b"+pids", count)
}

/// Whether somebody outside the group can tell what CPU time it has used.
pub fn counts_cpu_time(launch: &Launch<'_>) -> bool {
    of(launch).is_some_and(|group| count(group, c"cpu.stat", CPU_TIME).is_some())
}

/// Whether all of the group can be ended at once, since Linux 5.14.
pub fn can_kill(launch: &Launch<'_>) -> bool {
    of(launch).is_some_and(|group| has(group, KILL))
}

fn has(group: BorrowedFd<'_>, file: &CStr) -> bool {
    accessat(group, file, Access::EXISTS, AtFlags::empty()).is_ok()
}

fn bind(launch: &Launch<'_>, file: &CStr, controller: &[u8], value: u64) -> bool {
    let (Some(group), Some(parent)) = (of(launch), parent(launch)) else { return false };
    let mut text = Text::<24>::new();
    let value = text.number(value).as_bytes();
    set(group, file, value).is_ok()
        // Nobody has turned the controller on for what is in the parent.
        || set(parent, c"cgroup.subtree_control", controller).is_ok()
            && set(group, file, value).is_ok()
}

fn set(group: BorrowedFd<'_>, file: &CStr, value: &[u8]) -> Result<(), Errno> {
    let file = openat(group, file, OFlags::WRONLY | OFlags::CLOEXEC, FileMode::empty())?;
    write(file, value).map(drop)
}

/// When to look at the CPU time again, in milliseconds from now: 0 where it is
/// over, none where it is not limited. The kernel has no limit of its own.
pub fn next_look(launch: &Launch<'_>) -> Option<u64> {
    let policy = launch.policy;
    let seconds = policy.limits.cpu_time.filter(|_| policy.enforce.limits != Mode::Off)?;
    // What cannot be told is over.
    let used = count(of(launch)?, c"cpu.stat", CPU_TIME).unwrap_or(u64::MAX);
    match seconds.saturating_mul(1_000_000).saturating_sub(used) {
        0 => Some(0),
        left => Some((left / 1000 / PROCESSORS).max(SHORTEST_LOOK)),
    }
}

/// What a file of a group counts, behind this key, or with none, all of it.
pub fn count(group: BorrowedFd<'_>, file: &CStr, key: &[u8]) -> Option<u64> {
    let file = openat(group, file, OFlags::RDONLY | OFlags::CLOEXEC, FileMode::empty()).ok()?;
    count_in(file.as_fd(), key)
}

fn count_in(file: BorrowedFd<'_>, key: &[u8]) -> Option<u64> {
    let mut buffer = [0; 256];
    let length = pread(file, &mut buffer, 0).ok()?;
    let mut lines = buffer.get(..length)?.split(|&byte| byte == b'\n');
    let digits = lines.find_map(|line| line.strip_prefix(key))?;
    Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit & 15)))
}

/// Ends everything in the group.
pub fn kill(launch: &Launch<'_>) {
    if let Some(group) = of(launch) {
        kill_all(group);
    }
}

fn kill_all(group: BorrowedFd<'_>) {
    // Before Linux 5.14 there is no such file, and what other ends there are
    // have to do.
    let _ = set(group, KILL, b"1");
}

/// Ends what is left in the group, removes it, and ends its guard, to which is
/// left what takes longer.
pub fn end(launch: &Launch<'_>) {
    let Some(group) = of(launch) else { return };
    if remove(launch).is_err() {
        empty(group, Some(sys::monotonic_milliseconds() + PATIENCE));
        if remove(launch).is_err() {
            return;
        }
    }
    guard::dismiss(launch);
}

/// [`end`] by the guard, when the launcher has ended: of a group that may be
/// removed already, or was not made yet.
pub fn end_by_name(launch: &Launch<'_>) {
    let mut name = name(&launch.shared.cgroup);
    let name = name.c_str().unwrap_or_default();
    let Some(parent) = parent(launch) else { return };
    if let Ok(group) = openat(parent, name, DIRECTORY, FileMode::empty()) {
        // Nobody waits for a guard, so it waits for all that is sure to end.
        let is_sure = has(group.as_fd(), KILL);
        let deadline = (!is_sure).then(|| sys::monotonic_milliseconds() + PATIENCE);
        empty(group.as_fd(), deadline);
        // What cannot be ended stays, and so does its group.
        let _ = remove(launch);
    }
}

/// Ends everything in a group, and waits until it has ended, if need be until
/// a time on the monotonic clock in milliseconds.
fn empty(group: BorrowedFd<'_>, deadline: Option<u64>) {
    kill_all(group);
    let Ok(events) = openat(group, c"cgroup.events", OFlags::CLOEXEC, FileMode::empty()) else {
        return;
    };
    let is_over = |deadline| sys::monotonic_milliseconds() >= deadline;
    while count_in(events.as_fd(), b"populated ") == Some(1) && !deadline.is_some_and(is_over) {
        let mut changed = [PollFd::new(&events, PollFlags::PRI)];
        let _ = poll(&mut changed, deadline.map(wait::time_until).as_ref());
    }
}

fn remove(launch: &Launch<'_>) -> Result<(), Errno> {
    let mut name = name(&launch.shared.cgroup);
    let name = name.c_str().unwrap_or_default();
    unlinkat(parent(launch).ok_or(Errno::NOENT)?, name, AtFlags::REMOVEDIR)
}
