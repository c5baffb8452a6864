//! Landlock: one ruleset, made beside the mounts, enforced after them.
//!
//! Rules are tied to files, not to paths, so they are made from the very
//! descriptors that are mounted and hold through the new mounts.

use core::sync::atomic::Ordering;

use launcher_policy::enforce::Mode;
use launcher_policy::landlock::Landlock;
use launcher_policy::{Call, Failure, Refusal, Stage};
use linux_raw_sys::general::CLONE_NEWNS;
use linux_raw_sys::landlock::LANDLOCK_ACCESS_FS_REFER;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;

use crate::report::failed;
use crate::{Facility, Launch, namespaces, sys};

const STAGE: Stage = Stage::Landlock;

/// Erratum 3, where it is fixed: a move or a link could widen the rights on
/// what lies in a directory that was moved out of a bind mount.
const FIXED_DISCONNECTED: u32 = 1 << 2;

/// A ruleset under construction, and what rules may grant.
#[derive(Clone, Copy)]
pub struct Ruleset {
    fd: BorrowedFd<'static>,
    /// `LANDLOCK_ACCESS_FS_*`
    granted: u32,
}

/// Whether this launch enforces Landlock.
pub fn is_used(launch: &Launch<'_>) -> bool {
    launch.policy.landlock.is_some() && launch.abi > 0 && !launch.shared.misses(Facility::Landlock)
}

/// The kernel's ABI, `newest` at most; 0 where it has no Landlock, or does not
/// use it.
///
/// # Errors
///
/// Any other answer of landlock_create_ruleset(2).
pub fn abi(newest: Option<u32>) -> Result<u32, Failure> {
    match sys::landlock_abi() {
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => Ok(0),
        answer => answer
            .map(|abi| abi.min(newest.unwrap_or(abi)))
            .map_err(failed(STAGE, Call::LandlockCreateRuleset)),
    }
}

/// The errata that are fixed in this kernel, bit n-1 for number n; none where
/// it cannot say, as before Linux 6.15.
///
/// # Errors
///
/// Any other answer of landlock_create_ruleset(2).
pub fn errata() -> Result<u32, Failure> {
    match sys::landlock_errata() {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(0),
        answer => answer.map_err(failed(STAGE, Call::LandlockCreateRuleset)),
    }
}

/// Makes the ruleset with its rules on ports; `None` where none is used.
///
/// # Errors
///
/// landlock_create_ruleset(2), landlock_add_rule(2)
pub fn create(launch: &Launch<'_>) -> Result<Option<Ruleset>, Failure> {
    let Some(landlock) = &launch.policy.landlock else { return Ok(None) };
    if let Some(ready) = launch.options.ruleset {
        if launch.abi == 0 || namespaces::has(launch, CLONE_NEWNS) {
            return Err(Failure::refused(STAGE, Call::RulesetFd, Refusal::RulesetFd));
        }
        launch.shared.ruleset.store(ready, Ordering::Relaxed);
        return Ok(None);
    }
    let Some(handled) = landlock.handled.iter().take(launch.abi as usize).last() else {
        return Ok(None);
    };
    let fd =
        sys::landlock_create_ruleset(handled.fs.into(), handled.net.into(), handled.scoped.into())
            .map_err(failed(STAGE, Call::LandlockCreateRuleset))?;
    let ruleset = Ruleset { fd: sys::until_exec(fd), granted: granted(launch, handled.fs)? };
    launch.shared.ruleset.store(ruleset.fd.as_raw_fd(), Ordering::Relaxed);
    for port in landlock.ports.iter() {
        let access = port.access & handled.net;
        if access != 0 {
            sys::landlock_add_port(ruleset.fd, port.port, access.into())
                .map_err(failed(STAGE, Call::LandlockAddRule))?;
        }
    }
    Ok(Some(ruleset))
}

/// What rules may grant of the rights that are handled: all, but for moves and
/// links to other directories where they are not safe. Those are a facility.
fn granted(launch: &Launch<'_>, handled: u32) -> Result<u32, Failure> {
    let is_fixed = || -> Result<bool, Failure> {
        // What a receipt says has been asked already.
        let errata = if launch.options.status.is_some() { launch.errata } else { errata()? };
        Ok(errata & FIXED_DISCONNECTED != 0)
    };
    // Before ABI 2 no kernel grants it.
    if handled & LANDLOCK_ACCESS_FS_REFER != 0
        && (namespaces::has(launch, CLONE_NEWNS) || is_fixed()?)
    {
        return Ok(handled);
    }
    let mut mounts = launch.policy.mounts.iter().flat_map(|mounts| mounts.mounts.iter());
    if mounts.any(|mount| mount.access & LANDLOCK_ACCESS_FS_REFER != 0) {
        launch.shared.miss(Facility::Refer);
    }
    Ok(handled & !LANDLOCK_ACCESS_FS_REFER)
}

impl Ruleset {
    /// Its descriptor.
    pub const fn fd(self) -> BorrowedFd<'static> {
        self.fd
    }

    /// Grants `access` at and beneath what `fd` refers to, as far as this
    /// kernel handles it.
    ///
    /// # Errors
    ///
    /// landlock_add_rule(2)
    pub fn allow(&self, fd: impl AsFd, access: u32) -> Result<(), Failure> {
        match access & self.granted {
            0 => Ok(()),
            access => sys::landlock_add_path(self.fd, fd, access.into())
                .map_err(failed(STAGE, Call::LandlockAddRule)),
        }
    }
}

/// Enforces the ruleset on the calling process.
///
/// # Errors
///
/// landlock_restrict_self(2)
pub fn apply(launch: &Launch<'_>) -> Result<(), Failure> {
    let ruleset = launch.shared.ruleset.load(Ordering::Relaxed);
    let Some(landlock) = launch.policy.landlock.as_ref().filter(|_| ruleset != 0) else {
        return Ok(());
    };
    restrict(sys::inherited(ruleset), landlock, launch.abi)
        .or_else(|error| go_without(launch, error))
}

/// Enforces a ruleset on the calling process, which has `no_new_privs`.
///
/// # Errors
///
/// landlock_restrict_self(2)
pub fn restrict(ruleset: BorrowedFd<'_>, landlock: &Landlock<'_>, abi: u32) -> Result<(), Errno> {
    // The flags about audit records came with ABI 7.
    let flags = if abi >= 7 { landlock.log } else { 0 };
    sys::landlock_restrict_self(ruleset, flags)
}

/// Goes on without the layer where there are 16 already, the policy allows
/// that, and nothing rests on it.
fn go_without(launch: &Launch<'_>, error: Errno) -> Result<(), Failure> {
    let refused = failed(STAGE, Call::LandlockRestrictSelf)(error);
    if error != Errno::TOOBIG {
        return Err(refused);
    }
    let enforce = &launch.policy.enforce;
    let namespaces = launch.policy.namespaces.is_some() && !launch.shared.is_without_namespaces();
    // It closes abstract UNIX sockets of others who may be in the same network.
    let is_shared = launch.options.network.is_some();
    if enforce.landlock == Mode::Require || is_shared || enforce.lost(namespaces, 0).is_some() {
        return Err(refused.because(Refusal::LandlockLayers));
    }
    launch.shared.miss(Facility::Landlock);
    Ok(())
}
