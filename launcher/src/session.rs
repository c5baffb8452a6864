//! Session: process group, terminal, signals, file mode mask.
//!
//! Runs in the command's own process, before the filter. The command never
//! stays in its caller's process group when it has a PID namespace: kill(0)
//! would leave the sandbox.

use launcher_policy::session::{DieWithParent, Terminal};
use launcher_policy::{Call, Failure, Refusal, Stage, Subject};
use linux_raw_sys::general as uapi;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, getpgrp, getpid, getppid, getsid, pidfd_open, setpgid, setsid, umask,
};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

use crate::report::failed;
use crate::sys::SignalSet;
use crate::{Caller, Facility, Launch, sys, wait};

const STAGE: Stage = Stage::Session;

/// What the command gets of the caller's terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A session of its own; there is no terminal.
    None,
    /// A session of its own, away from this terminal.
    Left {
        /// The terminal.
        terminal: RawFd,
        /// Whether the launcher is the leader of the session, and cannot leave
        /// its terminal without hanging up on everybody else in its
        /// foreground.
        leads: bool,
    },
    /// A session of its own, away from a terminal that cannot be opened, if
    /// there is one.
    Unseen {
        /// Whether the launcher is the leader of its group, which cannot start
        /// a session; and without a descriptor only that leaves the terminal.
        leads: bool,
    },
    /// The caller's session, in a process group of its own in the background.
    Session,
    /// The caller's session and the foreground of this terminal.
    Foreground(RawFd),
}

impl Held {
    /// Decides by what the policy wants and by where the launcher runs.
    ///
    /// # Errors
    ///
    /// Where there may be a terminal, and it cannot be opened: the command
    /// would keep it.
    pub fn of(wanted: Terminal, safe: bool) -> Result<Self, Failure> {
        let terminal = match open(c"/dev/tty", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
            Ok(terminal) => sys::until_exec(terminal),
            // There is none, it has hung up, or there is not even its device.
            Err(Errno::NXIO | Errno::IO | Errno::NODEV | Errno::NOENT) => return Ok(Self::None),
            // Inside another sandbox whether there is one cannot be seen.
            Err(Errno::ACCESS | Errno::PERM) if wanted != Terminal::Keep => {
                return Ok(Self::Unseen { leads: getpgrp() == getpid() });
            }
            Err(error) => return Err(failed(STAGE, Call::Open)(error).about(Subject::DevTty)),
        };
        let kept = wanted == Terminal::Keep || (wanted == Terminal::Auto && safe);
        Ok(match tcgetpgrp(terminal) {
            Ok(foreground) if kept && foreground == getpgrp() => {
                Self::Foreground(terminal.as_raw_fd())
            }
            _ if wanted == Terminal::Keep => Self::Session,
            _ => Self::Left {
                terminal: terminal.as_raw_fd(),
                leads: getsid(None).is_ok_and(|leader| leader == getpid()),
            },
        })
    }

    /// Whether the command stays in the caller's session.
    pub fn is_kept(self) -> bool {
        matches!(self, Self::Session | Self::Foreground(_))
    }

    /// Whether only a child can leave the terminal.
    pub fn needs_child(self) -> bool {
        matches!(self, Self::Left { leads: true, .. } | Self::Unseen { leads: true })
    }

    /// The terminal whose foreground the command takes.
    pub fn terminal(self) -> Option<BorrowedFd<'static>> {
        match self {
            Self::Foreground(fd) => Some(sys::inherited(fd)),
            _ => None,
        }
    }
}

/// Gives the command its session and the state that a program expects.
///
/// # Errors
///
/// setsid(2), setpgid(2), tcsetpgrp(3), rt_sigaction(2), rt_sigprocmask(2)
pub fn apply(launch: &Launch<'_>) -> Result<(), Failure> {
    leave_process_group(launch)?;
    if let Some(mask) = launch.policy.session.umask {
        umask(Mode::from_raw_mode(mask.into()));
    }
    // An ignored SIGCHLD has hung programs that wait for their children, and
    // a launcher written in Rust ignores SIGPIPE.
    sys::set_default_action(uapi::SIGPIPE).map_err(failed(STAGE, Call::RtSigaction))?;
    // A waiter has done so for itself and its children.
    if !wait::is_needed(launch) {
        sys::set_default_action(uapi::SIGCHLD).map_err(failed(STAGE, Call::RtSigaction))?;
    }
    sys::set_signal_mask(SignalSet::EMPTY).map_err(failed(STAGE, Call::RtSigprocmask))
}

fn leave_process_group(launch: &Launch<'_>) -> Result<(), Failure> {
    match launch.terminal {
        Held::Unseen { .. } => setsid().map(drop).map_err(failed(STAGE, Call::Setsid)),
        Held::None | Held::Left { .. } => match setsid() {
            Ok(_) => Ok(()),
            // A group leader cannot start a session, and only a launcher that
            // works in place is one.
            Err(Errno::PERM) if getpgrp() == getpid() => disown_terminal(launch),
            Err(error) => Err(failed(STAGE, Call::Setsid)(error)),
        },
        Held::Session => setpgid(None, None).map_err(failed(STAGE, Call::Setpgid)),
        Held::Foreground(fd) => {
            setpgid(None, None).map_err(failed(STAGE, Call::Setpgid))?;
            // Every signal is blocked here, SIGTTOU among them.
            tcsetpgrp(sys::inherited(fd), getpid()).map_err(failed(STAGE, Call::Tcsetpgrp))
        }
    }
}

/// Gives up the controlling terminal, if there is one. It was opened before
/// the mounts, which may not show it.
fn disown_terminal(launch: &Launch<'_>) -> Result<(), Failure> {
    match launch.terminal {
        Held::Left { terminal, .. } => {
            sys::tiocnotty(sys::inherited(terminal)).map_err(failed(STAGE, Call::Ioctl))
        }
        _ => Ok(()),
    }
}

/// Refuses to go on when the parent whose death ends the command is dead
/// already.
///
/// # Errors
///
/// A refusal, or poll(2).
pub fn check_parent(launch: &Launch<'_>) -> Result<(), Failure> {
    let dead = match wait::waiter(launch) {
        Some(pidfd) => {
            let mut ended = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut ended, Some(&at_once)).map_err(failed(STAGE, Call::Poll))? != 0
        }
        None => parent() != launch.caller.parent,
    };
    if dead {
        return Err(Failure::refused(STAGE, Call::DieWithParent, Refusal::CallerEnded));
    }
    Ok(())
}

/// Opens a pidfd of the parent that this process began with, if that can be
/// seen.
///
/// # Errors
///
/// pidfd_open(2), and a refusal when it has ended.
pub fn open_parent(stage: Stage, caller: Caller) -> Result<Option<BorrowedFd<'static>>, Failure> {
    let Some(number) = Pid::from_raw(caller.parent) else { return Ok(None) };
    let pidfd = pidfd_open(number, PidfdFlags::empty());
    // The number is the caller's for as long as it is our parent.
    if parent() != caller.parent {
        return Err(Failure::refused(stage, Call::DieWithParent, Refusal::CallerEnded));
    }
    pidfd.map(|pidfd| Some(sys::until_exec(pidfd))).map_err(failed(stage, Call::PidfdOpen))
}

/// The parent's process id; 0 where it lies outside the PID namespace.
pub fn parent() -> i32 {
    getppid().map_or(0, |pid| pid.as_raw_nonzero().get())
}

/// Whose death ends the command, as the status says it.
pub fn dies_with(launch: &Launch<'_>) -> &'static str {
    let waited = wait::is_needed(launch);
    match launch.policy.session.die_with_parent {
        _ if launch.shared.misses(Facility::DieWithParent) => "nobody",
        _ if launch.options.caller.is_some() => "process",
        DieWithParent::Auto | DieWithParent::Process if waited => "process",
        DieWithParent::Thread => "thread",
        _ => "nobody",
    }
}
