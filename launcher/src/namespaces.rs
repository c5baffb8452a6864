//! Namespaces: leave the caller's, then fill in the new ones.
//!
//! Runs before `mounts`, which needs the capabilities of a user namespace and
//! the privacy of a mount namespace.

use core::ffi::CStr;

use heapless::VecView;
use launcher_policy::enforce::Mode;
use launcher_policy::mounts::{Mounts, Root};
use launcher_policy::namespaces::{IdMap, Init, Loopback, NAMESPACE_FLAGS, Namespaces};
use launcher_policy::{Call, Failure, Refusal, Stage, Subject};
use linux_raw_sys::general as uapi;
use rustix::fs::{OFlags, open};
use rustix::io::{Errno, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::system::sethostname;

use core::sync::atomic::Ordering;

use crate::credentials::become_ids;
use crate::report::failed;
use crate::text::{Text, append, digits};
use crate::{Caller, Facility, Launch, hold, limits, listen, reaper, sys, wait};

pub mod join;

const STAGE: Stage = Stage::Namespaces;

/// The kernel takes no map that is as long as a page, user_namespaces(7).
const MAX_MAP: usize = 4096;

/// More than a line of a map is long: three numbers.
const MAX_LINE: usize = 48;

/// `CLONE_NEW*` of this launch; none once it goes on without namespaces.
pub fn flags(launch: &Launch<'_>) -> u32 {
    wanted(launch).map_or(0, |namespaces| namespaces.flags)
}

/// Whether the policy's namespaces keep what they were made for.
pub fn are_made(launch: &Launch<'_>) -> bool {
    wanted(launch).is_some()
}

/// Whether this launch makes a namespace of its own.
pub fn has(launch: &Launch<'_>, flag: u32) -> bool {
    flags(launch) & flag != 0
}

/// Those of them that are made, and not joined. The mounts of a template are
/// joined, and copied into a namespace that is made.
pub fn made(launch: &Launch<'_>) -> u32 {
    let of_launch = if launch.options.hold.is_some() { hold::MADE } else { NAMESPACE_FLAGS };
    flags(launch) & of_launch & !(join::joined(launch) & !uapi::CLONE_NEWNS)
}

fn wanted<'l, 'p>(launch: &'l Launch<'p>) -> Option<&'l Namespaces<'p>> {
    launch.policy.namespaces.as_ref().filter(|_| !launch.shared.is_without_namespaces())
}

/// Refuses a policy whose guarantees this host cannot keep, before anything
/// is done.
///
/// # Errors
///
/// The layer that is missing and what would be lost without it.
pub fn check(launch: &Launch<'static>) -> Result<(), Failure> {
    let landlock = launch.policy.landlock.is_some();
    if landlock && launch.abi == 0 {
        if launch.policy.enforce.landlock == Mode::Require {
            let why = Refusal::NoLandlock;
            return Err(Failure::refused(Stage::Landlock, Call::LandlockCreateRuleset, why));
        }
        launch.shared.miss(Facility::Landlock);
    }
    check_guarantees(launch, launch.policy.namespaces.is_some())
}

/// Whether every guarantee is kept, with the policy's namespaces or without.
fn check_guarantees(launch: &Launch<'static>, namespaces: bool) -> Result<(), Failure> {
    for guaranteed in launch.shared.each(launch.policy.enforce.guarantees.iter()) {
        if guaranteed.is_lost(namespaces, launch.abi) {
            let why = Refusal::NothingKeeps;
            return Err(Failure::refused(STAGE, Call::Enforce, why).about(Subject::Guarantee));
        }
    }
    Ok(())
}

/// Leaves the caller's namespaces in place, without an extra process.
///
/// # Errors
///
/// unshare(2), where nothing else keeps the policy's guarantees.
pub fn unshare(launch: &Launch<'static>) -> Result<(), Failure> {
    join::apply(launch)?;
    let flags = made(launch);
    if flags == 0 {
        return Ok(());
    }
    sys::unshare(flags).or_else(|error| go_without(launch, failed(STAGE, Call::Unshare)(error)))
}

/// Whether the same guarantees are kept without namespaces.
///
/// # Errors
///
/// Why the launch ends without them: for nothing, or for this guarantee.
pub fn may_go_without(launch: &Launch<'static>) -> Result<(), Subject> {
    // Nothing replaces id maps that were asked for, nor what was prepared.
    let is_prepared = join::joined(launch) != 0 || launch.options.hold.is_some();
    if launch.policy.enforce.namespaces == Mode::Require || needs_writer(launch) || is_prepared {
        return Err(Subject::None);
    }
    check_guarantees(launch, false).map_err(Failure::subject)
}

/// Goes on without namespaces where this host does not allow them, the policy
/// does, and Landlock and the filter keep its guarantees.
///
/// # Errors
///
/// Why not.
pub fn go_without(launch: &Launch<'static>, refused: Failure) -> Result<(), Failure> {
    if !is_closed(refused) {
        return Err(refused);
    }
    may_go_without(launch).map_err(|lost| match lost {
        Subject::None => refused,
        lost => refused.about(lost),
    })?;
    launch.shared.without_namespaces.store(refused.number().get(), Ordering::Relaxed);
    launch.shared.miss(Facility::Namespaces);
    // Some limits rest on namespaces.
    limits::check(launch)
}

/// Whether a failure means that namespaces, or anything in them, are not
/// allowed here, and not that something has gone wrong.
fn is_closed(refused: Failure) -> bool {
    let error = Errno::from_raw_os_error(refused.error().into());
    let is_refused = matches!(error, Errno::PERM | Errno::ACCESS);
    match refused.call() {
        Call::Unshare | Call::Clone3 => {
            is_refused || matches!(error, Errno::NOSPC | Errno::USERS | Errno::INVAL)
        }
        // The maps, in a /proc that may be read-only, masked or not there.
        Call::Open => is_refused || matches!(error, Errno::ROFS | Errno::NOENT),
        _ => is_refused,
    }
}

/// Leaves namespaces to themselves that are made and of no use, as where a
/// security module takes the capabilities in them. What has happened in them
/// ends with their process, where that is a child: the waiter starts another.
/// A launcher that is in them itself goes on as if it were not.
///
/// # Errors
///
/// Why not.
pub fn abandon(launch: &Launch<'static>, refused: Failure) -> Result<(), Failure> {
    let (is_child, settles) = (wait::is_needed(launch), reaper::settles(launch));
    go_without(launch, refused)?;
    if settles {
        reaper::settle(launch)?;
    }
    if is_child {
        sys::exit_group(0);
    }
    Ok(())
}

/// Notes what the policy offers that takes a namespace which is not made.
pub fn miss_offers(launch: &Launch<'_>) {
    let flags = flags(launch);
    for offer in launch.policy.enforce.offers.iter() {
        if offer.needs & !flags != 0 {
            launch.shared.miss(offer.facility);
        }
    }
}

/// Fills in the new namespaces: id maps, host name, loopback, listening sockets.
///
/// # Errors
///
/// What writing the maps, sethostname(2) or making the sockets says.
pub fn apply(launch: &Launch<'static>) -> Result<(), Failure> {
    let Some(namespaces) = wanted(launch) else { return Ok(()) };
    let made = made(launch);
    if made & uapi::CLONE_NEWUSER != 0
        && !needs_writer(launch)
        && let Err(refused) =
            map_own(launch.caller, namespaces.uid_map, namespaces.gid_map, closes_maps(launch))
    {
        return abandon(launch, refused);
    }
    if made & uapi::CLONE_NEWUTS != 0
        && let Some(name) = namespaces.host_name
    {
        sethostname(name.to_bytes()).map_err(failed(STAGE, Call::Sethostname))?;
    }
    if made & uapi::CLONE_NEWNET != 0 && raise_offered(launch).is_err() {
        launch.shared.miss(Facility::Loopback);
    }
    listen::apply(launch)
}

/// Brings the loopback interface up where the policy offers that.
///
/// # Errors
///
/// socket(2), ioctl(2)
pub fn raise_offered(launch: &Launch<'_>) -> Result<(), Errno> {
    let offered = wanted(launch).is_some_and(|namespaces| namespaces.loopback == Loopback::Up);
    if offered { raise_loopback() } else { Ok(()) }
}

/// Writes the id maps of the calling process.
fn map_own(
    caller: Caller,
    uid_map: IdMap<'_>,
    gid_map: IdMap<'_>,
    closes: bool,
) -> Result<(), Failure> {
    // Denied first: without that the kernel refuses the group map of an
    // unprivileged process, user_namespaces(7).
    write_file(closes, Subject::Setgroups, c"/proc/self/setgroups", b"deny")?;
    for (subject, path, map, own) in [
        (Subject::GidMap, c"/proc/self/gid_map", gid_map, caller.gid),
        (Subject::UidMap, c"/proc/self/uid_map", uid_map, caller.uid),
    ] {
        // Ranges are written from outside.
        let mut memory = Text::<MAX_LINE>::new();
        write_file(closes, subject, path, content(map, own, memory.view())?)?;
    }
    Ok(())
}

/// Maps the caller's ids onto themselves.
///
/// # Errors
///
/// What writing the maps says.
pub fn map_caller(caller: Caller) -> Result<(), Failure> {
    map_own(caller, IdMap::Caller, IdMap::Caller, true)
}

/// Whether the id maps have to be written by a process outside.
pub fn needs_writer(launch: &Launch<'_>) -> bool {
    wanted(launch).is_some_and(|namespaces| {
        namespaces.flags & uapi::CLONE_NEWUSER != 0
            && (matches!(namespaces.uid_map, IdMap::Ranges(_))
                || matches!(namespaces.gid_map, IdMap::Ranges(_)))
    })
}

/// Refuses id ranges where nobody stays outside to write them.
///
/// # Errors
///
/// A refusal.
pub fn check_writer(launch: &Launch<'_>) -> Result<(), Failure> {
    let reaper = wanted(launch).is_some_and(|namespaces| namespaces.init == Init::Reaper);
    if needs_writer(launch) && !(reaper && has(launch, uapi::CLONE_NEWPID)) {
        let why = Refusal::NoWriter;
        return Err(Failure::refused(STAGE, Call::UidMap, why));
    }
    Ok(())
}

/// Writes the id maps of a child from outside its user namespace.
///
/// # Errors
///
/// What writing the maps says.
// Such maps are long, and others should not be written on as large a stack.
#[inline(never)]
pub fn write_maps_of(launch: &Launch<'_>, child: i32) -> Result<(), Failure> {
    let Some(namespaces) = wanted(launch) else { return Ok(()) };
    for (name, subject, map, own) in [
        ("/gid_map", Subject::GidMap, namespaces.gid_map, launch.caller.gid),
        ("/uid_map", Subject::UidMap, namespaces.uid_map, launch.caller.uid),
    ] {
        let mut path = Text::<32>::new();
        path.text("/proc/").signed(child.into()).text(name);
        // Twelve digits and a name fit.
        let path = path.c_str().unwrap_or_default();
        let mut memory = Text::<MAX_MAP>::new();
        let content = content(map, own, memory.view())?;
        write_file(closes_maps(launch), subject, path, content)?;
    }
    Ok(())
}

/// Becomes the first ids of the ranges: the caller's own need not be among
/// them, and under an id that is not mapped no file can be made.
///
/// # Errors
///
/// setgroups(2), setresgid(2), setresuid(2)
pub fn take_mapped_ids(launch: &Launch<'_>) -> Result<(), Failure> {
    let Some(namespaces) = wanted(launch).filter(|_| needs_writer(launch)) else {
        return Ok(());
    };
    let gid = first_inside(&namespaces.gid_map);
    if gid.is_some() {
        sys::setgroups_none().map_err(failed(STAGE, Call::Setgroups))?;
    }
    become_ids(STAGE, first_inside(&namespaces.uid_map), gid)
}

/// The user id outside that is this one inside, or without one, PID 1's;
/// `None` where nothing outside is.
pub fn uid_outside(launch: &Launch<'_>, inside: Option<u32>) -> Option<u32> {
    let map = wanted(launch).map_or(IdMap::Caller, |namespaces| namespaces.uid_map);
    let IdMap::Ranges(ranges) = map else { return Some(launch.caller.uid) };
    let inside = inside.or_else(|| first_inside(&map))?;
    ranges.iter().find_map(|range| {
        let place = inside.checked_sub(range.inside)?;
        (place < range.count).then_some(range.outside + place)
    })
}

/// The first id of a map of ranges.
fn first_inside(map: &IdMap<'_>) -> Option<u32> {
    match map {
        IdMap::Ranges(ranges) => ranges.iter().next().map(|range| range.inside),
        IdMap::Caller | IdMap::Single(_) => None,
    }
}

fn write_file(closes: bool, subject: Subject, path: &CStr, content: &[u8]) -> Result<(), Failure> {
    let at = |failure: Failure| failure.about(subject);
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty())
        .map_err(failed(STAGE, Call::Open))
        .map_err(at)?;
    write(&file, content).map_err(failed(STAGE, Call::Write)).map_err(at)?;
    if !closes {
        sys::until_exec(file);
    }
    Ok(())
}

/// A map left open keeps the host's /proc from becoming read-only.
fn closes_maps(launch: &Launch<'_>) -> bool {
    let host = |mounts: &Mounts<'_>| matches!(mounts.root, Root::Host { .. });
    launch.policy.mounts.as_ref().is_some_and(host)
}

/// Brings the loopback interface up.
///
/// # Errors
///
/// socket(2), ioctl(2)
pub fn raise_loopback() -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::loopback_up(socket)
}

/// The content of a map.
fn content<'m>(map: IdMap<'_>, own: u32, memory: &'m mut VecView<u8>) -> Result<&'m [u8], Failure> {
    let mut line = |inside: u32, outside: u32, count: u32| {
        for (number, behind) in [(inside, b" "), (outside, b" "), (count, b"\n")] {
            digits(memory, number.into(), 10);
            append(memory, behind);
        }
    };
    match map {
        IdMap::Caller => line(own, own, 1),
        IdMap::Single(inside) => line(inside, own, 1),
        IdMap::Ranges(ranges) => {
            ranges.iter().for_each(|range| line(range.inside, range.outside, range.count));
        }
    }
    if memory.is_full() {
        return Err(Failure::refused(STAGE, Call::UidMap, Refusal::LongIdMap));
    }
    Ok(memory)
}
