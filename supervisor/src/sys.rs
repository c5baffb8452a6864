//! System calls that rustix lacks, or calls unsafe.
#![allow(unsafe_code, reason = "system calls that no crate wraps")]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use syscalls::{Sysno, syscall};

/// Puts the calling thread under a Landlock ruleset, landlock_restrict_self(2).
pub(crate) fn landlock_restrict_self(ruleset: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the kernel takes two numbers, and the descriptor is open as long
    // as it is borrowed.
    unsafe { syscall!(Sysno::landlock_restrict_self, ruleset.as_raw_fd(), 0) }
        .map(drop)
        .map_err(|error| Errno::from_raw_os_error(error.into_raw()))
}

/// Gives the calling thread a file mode mask of its own, unshare(2).
pub(crate) fn unshare_mask() -> Result<()> {
    // SAFETY: nothing else in this crate relies on threads sharing their
    // working directory, root or mask, and descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::FS) }
}

/// The kernel's Landlock ABI, 0 where it has none, landlock_create_ruleset(2).
pub(crate) fn landlock_abi() -> u8 {
    const VERSION: u32 = linux_raw_sys::landlock::LANDLOCK_CREATE_RULESET_VERSION;
    // SAFETY: with this flag the kernel reads nothing and takes only numbers.
    let abi = unsafe { syscall!(Sysno::landlock_create_ruleset, 0, 0, VERSION) };
    abi.ok().and_then(|abi| abi.try_into().ok()).unwrap_or(0)
}
