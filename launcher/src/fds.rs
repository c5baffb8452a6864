//! Descriptors: what is not passed on becomes close-on-exec.
//!
//! Runs before anything is opened, so that no descriptor of the launcher's
//! own can be mistaken for one that was passed in.

use launcher_policy::fds::{FdKind, Fds};
use launcher_policy::{Call, Failure, Refusal, Stage, Subject};
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};

use crate::report::failed;
use crate::sys;

const STAGE: Stage = Stage::Fds;

/// Closes at exec what the policy does not pass on, and checks what it does.
///
/// # Errors
///
/// A descriptor that is missing, or that reaches past the mounts.
pub fn apply(fds: &Fds<'_>) -> Result<(), Failure> {
    for fd in 0..3 {
        standard(fd)?;
    }
    sys::close_range(3, u32::MAX, sys::CLOSE_RANGE_CLOEXEC)
        .map_err(failed(STAGE, Call::CloseRange))?;
    for keep in fds.keep.iter() {
        let fd = keep.fd as RawFd;
        if keep.kind == FdKind::Stream && !is_stream(fd)? {
            return Err(Failure::refused(STAGE, Call::KeepFds, Refusal::KeptDirectory));
        }
        fcntl_setfd(sys::inherited(fd), FdFlags::empty()).map_err(failed(STAGE, Call::Fcntl))?;
    }
    Ok(())
}

/// Standard input, output or error: opened on /dev/null where it is closed,
/// refused where it is a directory.
fn standard(fd: RawFd) -> Result<(), Failure> {
    match is_stream(fd) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::refused(STAGE, Call::Stdio, Refusal::StandardDirectory)),
        Err(failure) if i32::from(failure.error()) == Errno::BADF.raw_os_error() => open_null(),
        Err(failure) => Err(failure),
    }
}

/// Opens /dev/null on the lowest free number, which is the closed one: those
/// below it are open by now.
fn open_null() -> Result<(), Failure> {
    null().map(drop)
}

/// Has the standard streams lead nowhere, for a process that stays behind.
///
/// # Errors
///
/// open(2), dup(2)
pub(crate) fn streams_to_null() -> Result<(), Failure> {
    let null = null()?;
    for number in (0..3).filter(|number| *number != null.as_raw_fd()) {
        sys::dup_onto(null, number).map_err(failed(STAGE, Call::Dup3))?;
    }
    Ok(())
}

fn null() -> Result<BorrowedFd<'static>, Failure> {
    let null = open(c"/dev/null", OFlags::RDWR, Mode::empty())
        .map_err(failed(STAGE, Call::Open))
        .map_err(|failure| failure.about(Subject::DevNull))?;
    Ok(sys::until_exec(null))
}

/// Whether a descriptor is neither a directory nor opened with `O_PATH`.
fn is_stream(fd: RawFd) -> Result<bool, Failure> {
    match sys::getdents64_nothing(fd) {
        Err(Errno::NOTDIR) => Ok(true),
        // Either closed or O_PATH.
        Err(Errno::BADF) => {
            fcntl_getfd(sys::inherited(fd)).map_err(failed(STAGE, Call::Fcntl))?;
            Ok(false)
        }
        _ => Ok(false),
    }
}

/// Closes every descriptor but these, for a process that stays behind while
/// the command runs: it must not hold the other end of the command's pipes.
///
/// # Errors
///
/// close_range(2)
pub fn keep_only(keep: &mut [RawFd]) -> Result<(), Failure> {
    keep.sort_unstable();
    let mut first = 0;
    for &fd in keep.iter().filter(|fd| **fd >= 0) {
        let fd = fd as u32;
        if fd > first {
            sys::close_range(first, fd - 1, 0).map_err(failed(STAGE, Call::CloseRange))?;
        }
        first = fd + 1;
    }
    sys::close_range(first, u32::MAX, 0).map_err(failed(STAGE, Call::CloseRange))
}
