//! System calls by number, and what else takes `unsafe`.
#![allow(unsafe_code, reason = "system calls by number")]

use std::ffi::{CString, c_int, c_long};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The working directory, as the directory of a call that takes one.
pub(crate) const CWD: u64 = libc::AT_FDCWD as u64;

/// Numbers whose types the C libraries do not agree on.
pub(crate) mod number {
    use linux_raw_sys::{general, ioctl, ptrace};

    pub(crate) const F_SETSIG: u64 = general::F_SETSIG as u64;
    pub(crate) const PRIO_USER: u64 = general::PRIO_USER as u64;
    pub(crate) const PTRACE_SEIZE: u64 = ptrace::PTRACE_SEIZE as u64;
    pub(crate) const PTRACE_TRACEME: u64 = ptrace::PTRACE_TRACEME as u64;
    pub(crate) const RLIMIT_CORE: u64 = general::RLIMIT_CORE as u64;
    pub(crate) const RLIMIT_CPU: u64 = general::RLIMIT_CPU as u64;
    pub(crate) const RLIMIT_DATA: u64 = general::RLIMIT_DATA as u64;
    pub(crate) const RLIMIT_NOFILE: u64 = general::RLIMIT_NOFILE as u64;
    pub(crate) const SIOCSIFFLAGS: u64 = ioctl::SIOCSIFFLAGS as u64;
    pub(crate) const TCGETS: u64 = ioctl::TCGETS as u64;
    pub(crate) const TCSETS: u64 = ioctl::TCSETS as u64;
    pub(crate) const TIOCGPTN: u64 = ioctl::TIOCGPTN as u64;
    pub(crate) const TIOCGWINSZ: u64 = ioctl::TIOCGWINSZ as u64;
    pub(crate) const TIOCLINUX: u64 = ioctl::TIOCLINUX as u64;
    pub(crate) const TIOCSCTTY: u64 = ioctl::TIOCSCTTY as u64;
    pub(crate) const TIOCSPTLCK: u64 = ioctl::TIOCSPTLCK as u64;
    pub(crate) const TIOCSTI: u64 = ioctl::TIOCSTI as u64;
    pub(crate) const FS_IOC_SETFLAGS: u64 = ioctl::FS_IOC_SETFLAGS as u64;
}

/// What fork(2) and its like give to a waiting parent.
pub(crate) const SIGCHLD: u64 = libc::SIGCHLD as u64;

/// A system call by number, of up to six arguments.
pub(crate) fn call<const N: usize>(number: c_long, arguments: [u64; N]) -> io::Result<u64> {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: each caller hands over numbers and addresses of memory of its
    // own, which outlives the call and is as large as what the kernel writes.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value as u64),
    }
}

/// The address of something, for the kernel to read.
pub(crate) fn at<T: ?Sized>(value: &T) -> u64 {
    (&raw const *value).cast::<u8>() as u64
}

/// The address of something, for the kernel to write.
pub(crate) fn at_mut<T: ?Sized>(value: &mut T) -> u64 {
    (&raw mut *value).cast::<u8>() as u64
}

/// A text as the kernel takes it.
pub(crate) fn text(text: &str) -> CString {
    CString::new(text).expect("a path has no NUL")
}

/// openat(2); the descriptor stays open.
pub(crate) fn open_at(directory: u64, path: &str, flags: c_int) -> io::Result<u64> {
    let path = text(path);
    call(libc::SYS_openat, [directory, path.as_ptr() as u64, flags as u64, 0o666])
}

/// open(2); the descriptor stays open.
pub(crate) fn open(path: &str, flags: c_int) -> io::Result<u64> {
    open_at(CWD, path, flags)
}

/// dup2(2), of two numbers that differ.
pub(crate) fn duplicate(from: u64, to: u64) -> io::Result<()> {
    call(libc::SYS_dup3, [from, to, 0]).map(drop)
}

/// A descriptor that this process has opened and uses nowhere else.
pub(crate) fn owned(fd: u64) -> OwnedFd {
    // SAFETY: callers hand over what a call has just returned.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// fork(2); `None` in the child.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: there is one thread, so the child can do what the parent could.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => Ok(Some(child)),
    }
}

/// Ends the process at once.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: nothing that would be cleaned up is needed any more.
    unsafe { libc::_exit(status) }
}

/// kill(2)
pub(crate) fn kill(process: i32, signal: c_int) -> io::Result<()> {
    call(libc::SYS_kill, [process as u64, signal as u64]).map(drop)
}

/// The status of a child that has ended, as waitpid(2) has it.
pub(crate) fn wait(child: i32) -> io::Result<i32> {
    let mut status = 0;
    loop {
        match call(libc::SYS_wait4, [child as u64, at_mut(&mut status), 0, 0]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer.map(|_| status),
        }
    }
}

/// Whether there is something to read, or an end, within a time.
pub(crate) fn is_ready(fd: &impl AsFd, milliseconds: i32) -> io::Result<bool> {
    let mut poll = [libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 }];
    // SAFETY: the kernel reads and writes one `pollfd`, which is here.
    match unsafe { libc::poll(poll.as_mut_ptr(), 1, milliseconds) } {
        -1 => Err(io::Error::last_os_error()),
        count => Ok(count > 0),
    }
}

/// Memory of its own: the address.
pub(crate) fn map(length: u64, protection: c_int, flags: c_int, fd: u64) -> io::Result<u64> {
    call(libc::SYS_mmap, [0, length, protection as u64, flags as u64, fd, 0])
}

/// A system call by the way of 32-bit programs.
#[cfg(target_arch = "x86_64")]
pub(crate) fn int80(number: u64, first: u64) -> io::Result<u64> {
    let answer: i64;
    // SAFETY: the calls that are made so take numbers only. The kernel
    // clobbers r8 to r11 on this way in; what rbx holds is put back.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov rbx, r12",
            "int 0x80",
            "pop rbx",
            inlateout("rax") number => answer,
            in("r12") first, in("rcx") 0, in("rdx") 0, in("rsi") 0, in("rdi") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    match answer as i32 {
        error @ -4095..0 => Err(io::Error::from_raw_os_error(-error)),
        value => Ok(value as u64),
    }
}

/// There is no such way here.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn int80(_: u64, _: u64) -> io::Result<u64> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
