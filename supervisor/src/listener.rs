//! The kernel's side: what it asks, and how it is answered.
#![allow(unsafe_code, reason = "the ioctls of a seccomp listener, which no crate has")]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use linux_raw_sys::ptrace as uapi;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode, Setter, Updater, opcode};
use rustix::process::Pid;

/// `SECCOMP_IOC_MAGIC` of linux/seccomp.h.
const MAGIC: u8 = b'!';
const RECEIVE: Opcode = opcode::read_write::<uapi::seccomp_notif>(MAGIC, 0);
const SEND: Opcode = opcode::read_write::<uapi::seccomp_notif_resp>(MAGIC, 1);
const ID_VALID: Opcode = opcode::write::<u64>(MAGIC, 2);
const ADD_FD: Opcode = opcode::write::<uapi::seccomp_notif_addfd>(MAGIC, 3);
const SET_FLAGS: Opcode = opcode::write::<u64>(MAGIC, 4);

/// The listener of a filter, seccomp_unotify(2).
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    ruleset: Option<OwnedFd>,
    without_namespaces: bool,
}

/// A call that waits for an answer.
///
/// What its arguments point to lies in memory that others may change, so it says
/// what the call is about and never what it will do.
#[derive(Clone, Copy, Debug)]
pub struct Notification {
    /// What it is called, until it is answered.
    pub id: u64,
    /// The thread that calls; `None` where this process cannot see it.
    pub thread: Option<Pid>,
    /// The number of the call.
    pub call: i32,
    /// `AUDIT_ARCH_*` of the table that the number is from.
    pub architecture: u32,
    /// The address of the instruction that made the call.
    pub instruction_pointer: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is made, with what its arguments say by then.
    Continue,
    /// It fails.
    Fail(Errno),
    /// It was made by somebody else, with this result.
    Return(i64),
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Listener {
    pub(crate) const fn new(
        fd: OwnedFd,
        ruleset: Option<OwnedFd>,
        without_namespaces: bool,
    ) -> Self {
        Self { fd, ruleset, without_namespaces }
    }

    /// The Landlock ruleset that the command is under; `None` where it is under
    /// none of its policy's.
    pub(crate) fn ruleset(&self) -> Option<BorrowedFd<'_>> {
        self.ruleset.as_ref().map(AsFd::as_fd)
    }

    /// Whether the launch has none of its policy's namespaces, as they could not
    /// be made, so that the filter is the one for that.
    pub const fn is_without_namespaces(&self) -> bool {
        self.without_namespaces
    }

    /// Has whoever calls and who answers run on the same processor, one after the
    /// other, which is quicker where there is one of each (Linux 6.6). Older
    /// kernels go without.
    pub fn take_turns(&self) {
        let flags = u64::from(uapi::SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
        // SAFETY: the kernel takes the flags as a number.
        let set = unsafe { ioctl::IntegerSetter::<SET_FLAGS>::new_usize(flags as usize) };
        // SAFETY: as above.
        let _ = unsafe { ioctl::ioctl(&self.fd, set) };
    }

    /// Waits for a call; `None` when nobody is left who could make one.
    ///
    /// # Errors
    ///
    /// poll(2), ioctl(2)
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        loop {
            let mut ready = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut ready, None) {
                Err(Errno::INTR) => continue,
                answer => answer?,
            };
            if !ready[0].revents().contains(PollFlags::IN) {
                return Ok(None);
            }
            if let Some(asked) = self.take()? {
                return Ok(Some(asked));
            }
        }
    }

    /// Takes a call when poll(2) has said that there is one; `None` where whoever
    /// made it is gone.
    pub(crate) fn take(&self) -> io::Result<Option<Notification>> {
        // The kernel wants it to be zero.
        let mut asked = EMPTY;
        // SAFETY: the kernel writes what the opcode says, which is as long.
        let update = unsafe { Updater::<RECEIVE, _>::new(&mut asked) };
        // SAFETY: as above.
        match unsafe { ioctl::ioctl(&self.fd, update) } {
            // It was killed, or a signal took it away.
            Err(Errno::NOENT | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(Some(Notification::from(asked))),
        }
    }

    /// Whether the call still waits. What was found out about its thread by the
    /// number is about that thread only if it does.
    pub fn is_waiting(&self, id: u64) -> bool {
        let ask = || {
            // SAFETY: the kernel reads a number of 64 bits.
            let set = unsafe { Setter::<ID_VALID, u64>::new(id) };
            // SAFETY: as above.
            unsafe { ioctl::ioctl(&self.fd, set) }
        };
        retry_on_intr(ask).is_ok()
    }

    /// Answers a call; whether it still waited.
    ///
    /// # Errors
    ///
    /// ioctl(2)
    pub fn answer(&self, id: u64, answer: Answer) -> io::Result<bool> {
        let (val, error, flags) = match answer {
            Answer::Continue => (0, 0, uapi::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
            Answer::Fail(error) => (0, -error.raw_os_error(), 0),
            Answer::Return(value) => (value, 0, 0),
        };
        let mut response = uapi::seccomp_notif_resp { id, val, error, flags };
        was_waiting(retry_on_intr(|| {
            // SAFETY: the kernel reads what the opcode says, which is as long.
            let update = unsafe { Updater::<SEND, _>::new(&mut response) };
            // SAFETY: as above.
            unsafe { ioctl::ioctl(&self.fd, update) }
        }))
    }

    /// Answers a call with a descriptor, which its process gets in the same step
    /// (Linux 5.14); whether it still waited.
    ///
    /// # Errors
    ///
    /// ioctl(2), among them EMFILE of the process that calls.
    pub fn answer_fd(&self, id: u64, fd: BorrowedFd<'_>, cloexec: bool) -> io::Result<bool> {
        const O_CLOEXEC: u32 = linux_raw_sys::general::O_CLOEXEC;
        let add = uapi::seccomp_notif_addfd {
            id,
            flags: uapi::SECCOMP_ADDFD_FLAG_SEND,
            srcfd: fd.as_raw_fd().unsigned_abs(),
            newfd: 0,
            newfd_flags: if cloexec { O_CLOEXEC } else { 0 },
        };
        // SAFETY: the kernel reads what the opcode says, and the descriptor is
        // open as long as it is borrowed.
        let added = retry_on_intr(|| unsafe { ioctl::ioctl(&self.fd, AddFd(add)) });
        was_waiting(added.map(drop))
    }
}

/// Whether an answer found somebody who waited for it.
fn was_waiting(answer: rustix::io::Result<()>) -> io::Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

const EMPTY: uapi::seccomp_notif = uapi::seccomp_notif {
    id: 0,
    pid: 0,
    flags: 0,
    data: uapi::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] },
};

impl From<uapi::seccomp_notif> for Notification {
    fn from(asked: uapi::seccomp_notif) -> Self {
        Self {
            id: asked.id,
            thread: i32::try_from(asked.pid).ok().and_then(Pid::from_raw),
            call: asked.data.nr,
            architecture: asked.data.arch,
            instruction_pointer: asked.data.instruction_pointer,
            arguments: asked.data.args,
        }
    }
}

/// `SECCOMP_IOCTL_NOTIF_ADDFD`, whose result is the number of the descriptor.
struct AddFd(uapi::seccomp_notif_addfd);

// SAFETY: the kernel reads what the opcode says, which is as long as what is
// pointed at, and writes nothing.
unsafe impl Ioctl for AddFd {
    type Output = RawFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        ADD_FD
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<RawFd> {
        Ok(out)
    }
}
