//! Landlock: one ruleset, made beside the mounts, enforced after them.
//!
//! Rules are tied to files, not to paths, so they are made from the very
//! descriptors that are mounted and hold through the new mounts.

use core::sync::atomic::Ordering;

use launcher_policy::landlock::Handled;
use launcher_policy::{Call, Failure, Stage};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;

use crate::report::failed;
use crate::{Launch, sys};

const STAGE: Stage = Stage::Landlock;

/// A ruleset under construction, and what the kernel handles of it.
#[derive(Clone, Copy)]
pub struct Ruleset {
    fd: BorrowedFd<'static>,
    handled: Handled,
}

/// Whether this launch enforces Landlock.
pub fn is_used(launch: &Launch<'_>) -> bool {
    launch.policy.landlock.is_some() && launch.abi > 0
}

/// The kernel's ABI; 0 where it has no Landlock, or does not use it.
///
/// # Errors
///
/// Any other answer of landlock_create_ruleset(2).
pub fn abi() -> Result<u32, Failure> {
    match sys::landlock_abi() {
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => Ok(0),
        answer => answer.map_err(failed(STAGE, Call::LandlockCreateRuleset)),
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
    let Some(handled) = landlock.handled.iter().take(launch.abi as usize).last() else {
        return Ok(None);
    };
    let fd =
        sys::landlock_create_ruleset(handled.fs.into(), handled.net.into(), handled.scoped.into())
            .map_err(failed(STAGE, Call::LandlockCreateRuleset))?;
    let ruleset = Ruleset { fd: sys::until_exec(fd), handled };
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

impl Ruleset {
    /// Grants `access` at and beneath what `fd` refers to, as far as this
    /// kernel handles it.
    ///
    /// # Errors
    ///
    /// landlock_add_rule(2)
    pub fn allow(&self, fd: impl AsFd, access: u32) -> Result<(), Failure> {
        match access & self.handled.fs {
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
    // The flags about audit records came with ABI 7.
    let flags = if launch.abi >= 7 { landlock.log } else { 0 };
    sys::landlock_restrict_self(sys::inherited(ruleset), flags)
        .map_err(failed(STAGE, Call::LandlockRestrictSelf))
}
