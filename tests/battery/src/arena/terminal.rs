//! The terminal of an arena: a pseudo-terminal at which nobody sits.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::sys::{self, number};

/// The side that programs have.
pub(super) struct Line {
    fd: OwnedFd,
    pub(super) name: String,
}

impl Line {
    pub(super) fn fd(&self) -> u64 {
        self.fd.as_raw_fd() as u64
    }
}

/// Both sides of a new one, which the user owns.
pub(super) fn open(uid: u32) -> io::Result<(OwnedFd, Line)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let master = sys::open("/dev/ptmx", flags)?;
    let mut number = 0_u32;
    sys::call(libc::SYS_ioctl, [master, number::TIOCSPTLCK, sys::at(&0_i32)])?;
    sys::call(libc::SYS_ioctl, [master, number::TIOCGPTN, sys::at_mut(&mut number)])?;
    let name = format!("/dev/pts/{number}");
    std::os::unix::fs::chown(&name, Some(uid), None)?;
    let line = sys::open(&name, flags)?;
    Ok((sys::owned(master), Line { fd: sys::owned(line), name }))
}

/// Hands what was written to it on to standard error.
pub(super) fn drain(master: OwnedFd) -> io::Result<()> {
    if sys::is_ready(&master, 0)? {
        // It ends with an error where nobody has the other side any more.
        let _ = io::copy(&mut File::from(master), &mut io::stderr());
    }
    Ok(())
}
