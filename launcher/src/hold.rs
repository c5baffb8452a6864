//! What is made once for many launches, and held for as long as somebody wants
//! it: the view of a policy, or empty network namespaces.
//!
//! Who wants it holds the other end of a socket; when that is closed, by an
//! end of the process at the latest, what is held goes.

use core::convert::Infallible;

use launcher_policy::{Call, Failure, Refusal, Stage};
use linux_raw_sys::general as uapi;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::namespaces::{self, join};
use crate::report::{self, failed};
use crate::sys::{self, Clone, SignalSet};
use crate::{Launch, fds, listen};

const STAGE: Stage = Stage::Namespaces;

/// What a template has: the user and mount namespaces, and for a `/proc` of its
/// own one of processes.
pub const MADE: u32 = uapi::CLONE_NEWUSER | uapi::CLONE_NEWNS | uapi::CLONE_NEWPID;

/// What is held, and for whom.
#[derive(Clone, Copy)]
pub struct Hold {
    /// What.
    pub what: What,
    /// The socket over which it is handed out.
    pub socket: RawFd,
}

/// What can be held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The view of a policy, in its user and mount namespaces.
    Template,
    /// Network namespaces, of which some are always ready.
    Networks,
}

impl What {
    /// The argument that asks for it.
    pub const fn call(self) -> Call {
        match self {
            Self::Template => Call::HoldTemplate,
            Self::Networks => Call::HoldNetworks,
        }
    }
}

/// Makes it and holds it until nobody wants it any more.
///
/// # Errors
///
/// The first call that failed, unless a child has reported it.
pub fn apply(launch: &'static Launch<'static>, hold: Hold) -> Result<Infallible, Failure> {
    // What a terminal sends to a whole group is not for what others rest on.
    sys::set_signal_mask(SignalSet::ALL).map_err(failed(STAGE, Call::RtSigprocmask))?;
    match hold.what {
        What::Template => template(launch),
        What::Networks => networks(launch, sys::inherited(hold.socket)),
    }
}

/// A template is held by PID 1 of a namespace of its own: only such a process
/// can mount a `/proc`, without which an unprivileged launch gets none either.
fn template(launch: &'static Launch<'static>) -> Result<Infallible, Failure> {
    join::check_template(launch, Call::HoldTemplate)?;
    let how = Clone { flags: namespaces::made(launch).into(), cgroup: None };
    let child = sys::clone(&how, &launch.stacks.reaper, holder, launch)
        .map_err(failed(STAGE, Call::Clone3))?;
    fds::keep_only(&mut [child.pidfd.as_raw_fd()])?;
    sys::wait_for(child.pid);
    sys::exit_group(if launch.shared.has_failed() { report::FAILED } else { 0 })
}

/// The process whose namespaces a template is, from its first instruction on.
extern "C" fn holder(launch: &'static Launch<'static>) -> ! {
    let Err(failure) = hold_view(launch);
    crate::fail(launch, &failure)
}

fn hold_view(launch: &'static Launch<'static>) -> Result<Infallible, Failure> {
    sys::prctl(linux_raw_sys::prctl::PR_SET_PDEATHSIG, uapi::SIGKILL.into())
        .map_err(failed(STAGE, Call::Prctl))?;
    crate::enter(launch)?;
    let socket = launch.options.hold.map_or(-1, |hold| hold.socket);
    let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(failed(STAGE, Call::PidfdOpen))?;
    sys::send_with(sys::inherited(socket), b"template", &[own.as_fd()])
        .map_err(failed(STAGE, Call::Send))?;
    // What is told of a failure ends here: it is how the other side knows.
    sys::until_exec(own);
    fds::keep_only(&mut [socket])?;
    loop {
        // Nothing is ever sent there, so what comes is the end.
        let mut other = [PollFd::from_borrowed_fd(sys::inherited(socket), PollFlags::IN)];
        match poll(&mut other, None) {
            Ok(_) => sys::exit_group(0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(failed(STAGE, Call::Poll)(error)),
        }
    }
}

/// Makes one after the other. How many are ready is what the socket takes
/// before it makes the sender wait: see `max_dgram_qlen` in unix(7).
fn networks(
    launch: &'static Launch<'static>,
    socket: BorrowedFd<'static>,
) -> Result<Infallible, Failure> {
    if namespaces::flags(launch) & uapi::CLONE_NEWNET == 0 {
        return Err(Failure::refused(STAGE, Call::HoldNetworks, Refusal::NetworkGiven));
    }
    if listen::is_wanted(launch) {
        return Err(Failure::refused(STAGE, Call::HoldNetworks, Refusal::NetworkShared));
    }
    // Found before the view changes, if it does.
    let own = openat(CWD, c"/proc/self/ns", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed(STAGE, Call::Openat))?;
    join::apply(launch)?;
    let mut made = sys::unshare(uapi::CLONE_NEWNET);
    if made == Err(Errno::PERM) && launch.options.template.is_none() {
        sys::unshare(uapi::CLONE_NEWUSER).map_err(failed(STAGE, Call::Unshare))?;
        namespaces::map_caller(launch.caller)?;
        made = sys::unshare(uapi::CLONE_NEWNET);
    }
    let own = sys::until_exec(own);
    loop {
        made.map_err(failed(STAGE, Call::Unshare))?;
        namespaces::raise_offered(launch).map_err(failed(STAGE, Call::Ioctl))?;
        let network = openat(own, c"net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed(STAGE, Call::Openat))?;
        let sent = sys::send_with(socket, b"network", &[network.as_fd()]);
        drop(network);
        match sent {
            // What is told of a failure ends here, as with a template.
            Ok(_) => fds::keep_only(&mut [own.as_raw_fd(), socket.as_raw_fd()])?,
            Err(Errno::INTR) => continue,
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => sys::exit_group(0),
            Err(error) => return Err(failed(STAGE, Call::Send)(error)),
        }
        made = sys::unshare(uapi::CLONE_NEWNET);
    }
}
