//! System calls that rustix lacks, or calls unsafe.
#![allow(unsafe_code, reason = "system calls that no crate wraps")]

use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::general as uapi;
use rustix::io::{Errno, Result};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use syscalls::{Sysno, syscall};

/// Puts the calling thread under a Landlock ruleset, landlock_restrict_self(2).
pub(crate) fn landlock_restrict_self(ruleset: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the kernel takes two numbers, and the descriptor is open as long
    // as it is borrowed.
    unsafe { syscall!(Sysno::landlock_restrict_self, ruleset.as_raw_fd(), 0) }
        .map(drop)
        .map_err(errno)
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

/// What an object is, as the kernel says it to programs, newfstatat(2).
pub(crate) fn stat(object: BorrowedFd<'_>) -> Result<[u8; size_of::<uapi::stat>()]> {
    #[cfg(target_arch = "aarch64")]
    const CALL: Sysno = Sysno::fstatat;
    #[cfg(not(target_arch = "aarch64"))]
    const CALL: Sysno = Sysno::newfstatat;
    let mut bytes = [0; size_of::<uapi::stat>()];
    let (object, path, flags) = (object.as_raw_fd(), c"".as_ptr(), uapi::AT_EMPTY_PATH);
    // SAFETY: the kernel reads a text with a NUL, and writes a structure that is as
    // long as the bytes, wherever they lie.
    let done = unsafe { syscall!(CALL, object, path, bytes.as_mut_ptr(), flags) };
    done.map(|_| bytes).map_err(errno)
}

/// The same, as far as it is asked for, statx(2).
pub(crate) fn statx(
    object: BorrowedFd<'_>,
    flags: u32,
    mask: u32,
) -> Result<[u8; size_of::<uapi::statx>()]> {
    let mut bytes = [0; size_of::<uapi::statx>()];
    let (object, path, flags) = (object.as_raw_fd(), c"".as_ptr(), flags | uapi::AT_EMPTY_PATH);
    // SAFETY: the kernel reads a text with a NUL, and writes a structure that is as
    // long as the bytes, wherever they lie.
    let done = unsafe { syscall!(Sysno::statx, object, path, flags, mask, bytes.as_mut_ptr()) };
    done.map(|_| bytes).map_err(errno)
}

/// Whether an object may be used so, faccessat2(2).
pub(crate) fn access(object: BorrowedFd<'_>, mode: u32, flags: u32) -> Result<()> {
    let (object, path, flags) = (object.as_raw_fd(), c"".as_ptr(), flags | uapi::AT_EMPTY_PATH);
    // SAFETY: the kernel reads a text with a NUL, and writes nothing.
    let done = unsafe { syscall!(Sysno::faccessat2, object, path, mode, flags) };
    done.map(drop).map_err(errno)
}

fn errno(error: syscalls::Errno) -> Errno {
    Errno::from_raw_os_error(error.into_raw())
}
