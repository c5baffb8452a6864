//! The guard: a process that outlives a launcher which is killed, to end and
//! remove the cgroup of its launch.
//!
//! It is started before the group is made, so that at no moment there is a
//! group without it, and ended by the launcher once the group is gone. What
//! ends the launcher does not end it: it is no member of its process group, which
//! may be killed as a whole, and has memory of its own, because the kernel ends
//! all that share memory together when there is none left. Without it nothing
//! runs: a launcher whose guard is killed ends what it has started.

use core::convert::Infallible;
use core::sync::atomic::{AtomicI32, Ordering};

use launcher_policy::{Call, Failure, Stage};
use linux_raw_sys::general as uapi;
use linux_raw_sys::prctl;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open, setpgid};

use crate::report::failed;
use crate::sys::{self, SignalSet};
use crate::{Launch, cgroup, fds, report};

const STAGE: Stage = Stage::Limits;

/// What is known of the guard, which itself has a copy from before its start.
#[derive(Default)]
pub struct Guard {
    /// A pidfd of the launcher; only the guard has it for long.
    launcher: AtomicI32,
    /// A pidfd of the guard, and its number; 0 where there is none.
    pidfd: AtomicI32,
    pid: AtomicI32,
}

/// A pidfd of the guard, if there is one.
pub fn pidfd(launch: &Launch<'_>) -> Option<BorrowedFd<'static>> {
    match launch.shared.guard.pidfd.load(Ordering::Relaxed) {
        0 => None,
        fd => Some(sys::inherited(fd)),
    }
}

/// Starts it, for a group that is named and not made yet.
///
/// # Errors
///
/// rt_sigprocmask(2), pidfd_open(2), clone3(2), setpgid(2)
pub fn start(launch: &'static Launch<'static>) -> Result<(), Failure> {
    let guard = &launch.shared.guard;
    // No signal ends it, from its first moment on. The launcher itself waits
    // for them from here on, and its command gets them unblocked.
    sys::set_signal_mask(SignalSet::ALL).map_err(failed(STAGE, Call::RtSigprocmask))?;
    let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(failed(STAGE, Call::PidfdOpen))?;
    guard.launcher.store(own.as_raw_fd(), Ordering::Relaxed);
    let child =
        sys::fork_on(&launch.stacks.guard, main, launch).map_err(failed(STAGE, Call::Clone3))?;
    guard.pid.store(child.pid, Ordering::Relaxed);
    guard.pidfd.store(sys::until_exec(child.pidfd).as_raw_fd(), Ordering::Relaxed);
    // Here, so that it has happened before there is anything to remove.
    let pid = Pid::from_raw(child.pid);
    setpgid(pid, pid).map_err(failed(STAGE, Call::Setpgid)).inspect_err(|_| dismiss(launch))
}

/// Ends it, when there is nothing left for it to remove, and waits until it
/// has ended.
pub fn dismiss(launch: &Launch<'_>) {
    let Some(pidfd) = pidfd(launch) else { return };
    let guard = &launch.shared.guard;
    guard.pidfd.store(0, Ordering::Relaxed);
    // One that has ended already needs none.
    let _ = sys::pidfd_send_signal(pidfd, uapi::SIGKILL);
    sys::wait_for(guard.pid.load(Ordering::Relaxed));
}

/// The guard, from its first instruction on.
extern "C" fn main(launch: &'static Launch<'static>) -> ! {
    let Err(_) = run(launch);
    // The launcher says that there is no guard.
    sys::exit_group(report::FAILED)
}

fn run(launch: &'static Launch<'static>) -> Result<Infallible, Failure> {
    // To remove the group from a directory that is another user's takes this
    // one, where there is one at all.
    let needed = sys::capabilities() as u32 & 1 << uapi::CAP_DAC_OVERRIDE;
    sys::capset(needed).map_err(failed(STAGE, Call::Capset))?;
    sys::prctl(prctl::PR_SET_DUMPABLE, 0).map_err(failed(STAGE, Call::Prctl))?;
    let launcher = sys::inherited(launch.shared.guard.launcher.load(Ordering::Relaxed));
    // Neither the caller's pipes nor anything else stays open for it.
    fds::keep_only(&mut [
        launcher.as_raw_fd(),
        cgroup::parent(launch).map_or(-1, |fd| fd.as_raw_fd()),
    ])?;
    let mut ended = [PollFd::from_borrowed_fd(launcher, PollFlags::IN)];
    loop {
        match poll(&mut ended, None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(failed(STAGE, Call::Poll)(error)),
        }
    }
    cgroup::end_by_name(launch);
    sys::exit_group(0)
}
