//! Credentials: ids, capabilities, securebits, `no_new_privs`.
//!
//! Runs before `landlock` and `seccomp`, which a process without privileges
//! may use only with `no_new_privs`. No capability is kept, whatever the ids.

use launcher_policy::namespaces::IdMap;
use launcher_policy::session::DieWithParent;
use launcher_policy::{Call, Failure, Stage};
use linux_raw_sys::general as uapi;
use linux_raw_sys::prctl;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, capabilities, set_thread_res_gid, set_thread_res_uid};

use crate::report::failed;
use crate::{Launch, namespaces, session, sys, wait};

const STAGE: Stage = Stage::Credentials;

/// More than any kernel has; the first one that does not exist ends the loop.
const MOST_CAPABILITIES: u64 = 64;

/// How many capabilities every kernel has that can run this: one that is said
/// not to exist is still there.
const LEAST_CAPABILITIES: u64 = uapi::CAP_CHECKPOINT_RESTORE as u64 + 1;

/// What is locked: root gets no capabilities by being root, ids can be
/// changed without their return, and no capability becomes ambient.
const SECUREBITS: u64 = (SECBIT_NOROOT * 3)
    | (SECBIT_NO_SETUID_FIXUP * 3)
    | SECBIT_KEEP_CAPS_LOCKED
    | (SECBIT_NO_CAP_AMBIENT_RAISE * 3);
// linux/securebits.h; each lock is the bit above its flag, hence the threes.
const SECBIT_NOROOT: u64 = 1;
const SECBIT_NO_SETUID_FIXUP: u64 = 1 << 2;
const SECBIT_KEEP_CAPS_LOCKED: u64 = 1 << 5;
const SECBIT_NO_CAP_AMBIENT_RAISE: u64 = 1 << 6;

/// Takes the command's ids and gives up everything else.
///
/// # Errors
///
/// prctl(2), setresgid(2), setresuid(2), capset(2)
pub fn apply(launch: &Launch<'_>) -> Result<(), Failure> {
    // While CAP_SETPCAP is still held, which an id change would end.
    drop_bounding_set()?;
    take_ids(launch)?;
    sys::capset(0).map_err(failed(STAGE, Call::Capset))?;
    // The kernel clears the death signal when ids or capabilities change.
    arm_death_signal(launch)?;
    if wait::is_needed(launch) {
        // Of the memory that is shared with PID 1 and the waiter; exec ends
        // the sharing and makes the command dumpable again.
        sys::prctl(prctl::PR_SET_DUMPABLE, 0).map_err(failed(STAGE, Call::Prctl))?;
    }
    sys::prctl(prctl::PR_SET_NO_NEW_PRIVS, 1).map_err(failed(STAGE, Call::Prctl))
}

/// Empties the bounding set and locks the securebits, where that is allowed.
/// Without CAP_SETPCAP there is nothing to gain by exec either, because
/// `no_new_privs` is set.
fn drop_bounding_set() -> Result<(), Failure> {
    for capability in 0..MOST_CAPABILITIES {
        match sys::prctl(prctl::PR_CAPBSET_DROP, capability) {
            Ok(()) => {}
            // Needed from the first one on. A fault is not taken for its lack.
            Err(Errno::PERM) if capability == 0 && !may_drop() => return Ok(()),
            Err(Errno::INVAL) if capability >= LEAST_CAPABILITIES => break,
            Err(error) => return Err(failed(STAGE, Call::Prctl)(error)),
        }
    }
    sys::prctl(prctl::PR_SET_SECUREBITS, SECUREBITS).map_err(failed(STAGE, Call::Prctl))
}

/// Whether CAP_SETPCAP is held, or nobody says that it is not.
fn may_drop() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SETPCAP))
}

/// Changes group ids, then user ids.
fn take_ids(launch: &Launch<'_>) -> Result<(), Failure> {
    let credentials = launch.policy.credentials;
    if credentials.uid.is_none() && credentials.gid.is_none() {
        return Ok(());
    }
    // Where setgroups is denied, as in every map that an unprivileged process
    // can make, the groups are the caller's and grant nothing it had not.
    if may_set_groups(launch) {
        sys::setgroups_none().map_err(failed(STAGE, Call::Setgroups))?;
    }
    become_ids(STAGE, credentials.uid, credentials.gid)
}

/// Takes these ids as real, effective and saved ones: the group's first, which
/// the user's may not change any more.
///
/// # Errors
///
/// setresgid(2), setresuid(2)
pub fn become_ids(stage: Stage, uid: Option<u32>, gid: Option<u32>) -> Result<(), Failure> {
    if let Some(gid) = gid.map(Gid::from_raw) {
        set_thread_res_gid(gid, gid, gid).map_err(failed(stage, Call::Setresgid))?;
    }
    if let Some(uid) = uid.map(Uid::from_raw) {
        set_thread_res_uid(uid, uid, uid).map_err(failed(stage, Call::Setresuid))?;
    }
    Ok(())
}

fn may_set_groups(launch: &Launch<'_>) -> bool {
    let user = namespaces::has(launch, uapi::CLONE_NEWUSER);
    let ranges = launch
        .policy
        .namespaces
        .is_some_and(|namespaces| matches!(namespaces.gid_map, IdMap::Ranges(_)));
    !user || ranges
}

/// Arms the death signal where a parent is there to watch.
fn arm_death_signal(launch: &Launch<'_>) -> Result<(), Failure> {
    let wanted = match launch.policy.session.die_with_parent {
        DieWithParent::Never => false,
        // Everything in a PID namespace ends with its PID 1.
        _ if wait::has_reaper(launch) => false,
        DieWithParent::Thread => true,
        DieWithParent::Auto | DieWithParent::Process => wait::is_needed(launch),
    };
    if wanted { end_with_parent(launch) } else { Ok(()) }
}

/// Lets the calling process end with the thread that is its parent.
///
/// # Errors
///
/// prctl(2), and a refusal when the parent has ended already.
pub fn end_with_parent(launch: &Launch<'_>) -> Result<(), Failure> {
    sys::prctl(prctl::PR_SET_PDEATHSIG, uapi::SIGKILL.into())
        .map_err(failed(STAGE, Call::Prctl))?;
    session::check_parent(launch)
}

/// Gives up the privileges of PID 1 but one, with which it signals a command
/// whose user id is another. The command has none, and the kernel lets nobody
/// change the priority, the scheduling or the CPUs of a process that has more.
///
/// # Errors
///
/// capset(2)
pub fn give_up(launch: &Launch<'_>) -> Result<(), Failure> {
    let kill = 1 << uapi::CAP_KILL;
    let needed = launch.policy.credentials.uid.is_some();
    // Who has made a user namespace has all of them.
    let kept = if needed || namespaces::has(launch, uapi::CLONE_NEWUSER) {
        kill
    } else {
        sys::capabilities() as u32 & kill
    };
    sys::capset(kept).map_err(failed(STAGE, Call::Capset))
}
