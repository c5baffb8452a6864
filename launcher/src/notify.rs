//! The listener of the filter, for a supervisor: seccomp_unotify(2).
//!
//! The filter may ask about any call, those among them by which a listener is
//! handed over, and nobody could answer yet. So it is not the process with the
//! filter that sends: a messenger without it, which shares the descriptors, was
//! started before. Calls that are asked about wait until somebody answers, so
//! the command never runs unwatched.

use core::sync::atomic::{AtomicI32, Ordering};

use launcher_policy::{Call, Failure, Refusal, Stage};
use linux_raw_sys::general::CLONE_FILES;
use linux_raw_sys::ptrace::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsRawFd, OwnedFd, RawFd};
use rustix::io::{Errno, Result, read, write};
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use crate::report::failed;
use crate::{Launch, landlock, sys};

const STAGE: Stage = Stage::Seccomp;

/// What is sent with the listener: which filter it is of.
const MESSAGES: [&[u8]; 2] = [b"listener\n", b"listener without namespaces\n"];

/// What the messenger is told where there is no listener.
const NOTHING: u64 = u64::MAX;

/// What the two processes tell each other.
#[derive(Default)]
pub(crate) struct Handover {
    /// An eventfd, which gets the listener's number, or [`NOTHING`].
    event: AtomicI32,
    /// The process that installs the filter.
    sender: AtomicI32,
    /// 0 until the listener was sent, then 1; an error number below 0.
    sent: AtomicI32,
}

/// Refuses a launch that nobody supervises, before it has any effect.
///
/// # Errors
///
/// That there is no supervisor.
pub(crate) fn check(launch: &Launch<'_>) -> core::result::Result<(), Failure> {
    let asks = launch.policy.seccomp.is_some_and(|seccomp| seccomp.asks());
    let refused = |why| Err(Failure::refused(STAGE, Call::NotifyFd, why));
    match launch.options.notify.map(sys::inherited) {
        None if asks => refused(Refusal::NoSupervisor),
        Some(socket) if asks && socket_domain(socket) != Ok(AddressFamily::UNIX) => {
            refused(Refusal::NoSocket)
        }
        _ => Ok(()),
    }
}

/// Installs the filter and hands its listener over.
///
/// # Errors
///
/// The first call that failed, in either process.
pub(crate) fn install(
    launch: &'static Launch<'static>,
    filter: &[u8],
    flags: u32,
) -> core::result::Result<(), Failure> {
    let shared = &launch.shared.listener;
    let event = eventfd(0, EventfdFlags::CLOEXEC).map_err(failed(STAGE, Call::Eventfd))?;
    shared.event.store(event.as_raw_fd(), Ordering::Relaxed);
    shared.sender.store(getpid().as_raw_pid(), Ordering::Relaxed);
    let how = sys::Clone { flags: CLONE_FILES.into(), cgroup: None };
    let messenger = sys::clone(&how, &launch.stacks.messenger, send, launch)
        .map_err(failed(STAGE, Call::Clone3))?;
    let listener = listen(filter, flags);
    // The messenger closes it.
    let listener = listener.map(|fd| sys::until_exec(fd).as_raw_fd().unsigned_abs());
    let told = listener.map_or(NOTHING, u64::from);
    // From here on the filter is in force: only calls that it may not close or
    // ask about, of which the encoder has a list, and descriptors are left to exec.
    let written = write(sys::until_exec(event), &told.to_ne_bytes());
    sys::wait_for(messenger.pid);
    sys::until_exec(messenger.pidfd);
    listener.map_err(failed(STAGE, Call::Seccomp))?;
    written.map_err(failed(STAGE, Call::Write))?;
    match shared.sent.load(Ordering::Acquire) {
        1 => Ok(()),
        // It was killed.
        0 => Err(failed(STAGE, Call::NotifyFd)(Errno::PIPE)),
        error => Err(failed(STAGE, Call::NotifyFd)(Errno::from_raw_os_error(-error))),
    }
}

/// Installs a filter that has a listener.
fn listen(filter: &[u8], flags: u32) -> Result<OwnedFd> {
    let install = |flags| sys::seccomp_set_mode_filter(filter, flags);
    let listener = match install(flags) {
        // Before Linux 5.19.
        Err(Errno::INVAL) => install(flags & !SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV),
        answer => answer,
    };
    listener?.ok_or(Errno::INVAL)
}

/// The messenger.
extern "C" fn send(launch: &'static Launch<'static>) -> ! {
    let shared = &launch.shared.listener;
    let sent = match hand_over(launch, shared) {
        Ok(()) => 1,
        Err(error) => -error.raw_os_error(),
    };
    shared.sent.store(sent, Ordering::Release);
    sys::exit_group(0)
}

fn hand_over(launch: &Launch<'_>, shared: &Handover) -> Result<()> {
    // It ends with the process that it serves, which may have ended already.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if Pid::as_raw(getppid()) != shared.sender.load(Ordering::Relaxed) {
        return Err(Errno::SRCH);
    }
    let event = sys::inherited(shared.event.load(Ordering::Relaxed));
    let mut told = [0; 8];
    read(event, &mut told)?;
    let listener = RawFd::try_from(u64::from_ne_bytes(told)).map_err(|_| Errno::CANCELED)?;
    let socket = sys::inherited(launch.options.notify.ok_or(Errno::BADF)?);
    let ruleset = Some(launch.shared.ruleset.load(Ordering::Relaxed));
    // By it the supervisor confines the thread that opens files for the command.
    let ruleset = ruleset.filter(|&fd| fd != 0 && landlock::is_used(launch)).map(sys::inherited);
    let message = MESSAGES[usize::from(launch.shared.is_without_namespaces())];
    let listener_fd = sys::inherited(listener);
    let both = [listener_fd, ruleset.unwrap_or(listener_fd)];
    let passed = if ruleset.is_some() { &both[..] } else { &both[..1] };
    let sent = sys::send_with(socket, message, passed).map(drop);
    // For both processes: whoever has it open keeps calls waiting, and the one
    // with the filter would wait for itself when its supervisor is gone.
    sys::close_range(listener.unsigned_abs(), listener.unsigned_abs(), 0)?;
    sent
}
