//! PID 1 of a new PID namespace: builds the view, starts the command, reaps,
//! and passes on the signals that the waiter sends.
//!
//! A program that is PID 1 itself loses the default action of signals and
//! cannot abort; as PID 2 it behaves as it does outside. PID 1 runs in the
//! launcher's memory, never calls exec, and ends with the waiter, with the
//! caller, and with the command; whatever is left ends with it.

use core::convert::Infallible;
use core::sync::atomic::Ordering;

use launcher_policy::{Call, Failure, Stage};
use linux_raw_sys::general as uapi;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::Pid;
use rustix::termios::tcsetpgrp;

use crate::receipt::{self, Ending};
use crate::report::{self, failed};
use crate::sys::{self, Child, Clone, Waited};
use crate::{Launch, credentials, fds, namespaces, wait};

const STAGE: Stage = Stage::Namespaces;

/// What waiter and PID 1 tell each other.
#[derive(Clone, Copy)]
pub enum Message {
    /// To PID 1: the id maps are written. From it: it has settled in its
    /// namespaces, or abandoned them.
    Go,
    /// Signal the command or its group, after it got the foreground if so.
    Signal {
        /// The number.
        signal: u32,
        /// To its whole process group.
        group: bool,
        /// It gets the foreground of the terminal first.
        foreground: bool,
    },
    /// The command has stopped.
    Stopped,
}

/// A socket pair between waiter and PID 1. It ends when either does.
#[derive(Clone, Copy)]
pub struct Channel {
    ends: [RawFd; 2],
    own: usize,
}

impl Channel {
    /// Opens one; the waiter has the first end.
    ///
    /// # Errors
    ///
    /// socketpair(2)
    pub fn open(launch: &Launch<'_>) -> Result<Self, Errno> {
        // The lower number is PID 1's: those that it keeps follow each other, and
        // the rest takes it two calls to close.
        let (reaper, waiter) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let ends = [waiter, reaper].map(|end| sys::until_exec(end).as_raw_fd());
        for (place, end) in launch.shared.channel.iter().zip(ends) {
            place.store(end, Ordering::Relaxed);
        }
        Ok(Self { ends, own: 0 })
    }

    /// PID 1's end. Its copy of the other is closed with everything else that
    /// it does not keep.
    fn reapers(launch: &Launch<'_>) -> Self {
        let [waiter, reaper] = &launch.shared.channel;
        let ends = [waiter.load(Ordering::Relaxed), reaper.load(Ordering::Relaxed)];
        Self { ends, own: 1 }
    }

    /// Closes this process's copy of the other end.
    fn close_other(self) -> Result<(), Errno> {
        let [waiter, _] = self.ends;
        sys::close_range(waiter as u32, waiter as u32, 0)
    }

    /// The descriptor of this side.
    pub const fn fd(self) -> RawFd {
        self.ends[self.own]
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// send(2)
    pub fn send(self, message: Message) -> Result<(), Errno> {
        let bytes = match message {
            Message::Go => [0, 0, 0],
            Message::Signal { signal, group, foreground } => {
                [1, signal as u8, u8::from(group) | u8::from(foreground) << 1]
            }
            Message::Stopped => [2, 0, 0],
        };
        // MSG_NOSIGNAL is for the library; the signal is blocked here.
        send(sys::inherited(self.fd()), &bytes, SendFlags::NOSIGNAL).map(drop)
    }

    /// Receives a message; `None` when the other side has ended.
    ///
    /// # Errors
    ///
    /// recv(2)
    pub fn receive(self) -> Result<Option<Message>, Errno> {
        let mut bytes = [0_u8; 3];
        match recv(sys::inherited(self.fd()), &mut bytes, RecvFlags::empty())?.0 {
            0 => return Ok(None),
            3 => {}
            _ => return Err(Errno::BADMSG),
        }
        let [kind, signal, flags] = bytes;
        match kind {
            0 => Ok(Some(Message::Go)),
            1 => Ok(Some(Message::Signal {
                signal: signal.into(),
                group: flags & 1 != 0,
                foreground: flags & 2 != 0,
            })),
            2 => Ok(Some(Message::Stopped)),
            _ => Err(Errno::BADMSG),
        }
    }
}

/// How the command ended, as PID 1 has seen it.
pub fn ending(launch: &Launch<'_>) -> Option<Ending> {
    match launch.shared.ended.load(Ordering::Acquire) {
        0 => None,
        WALL_TIME => Some(Ending::WallTime),
        ended if ended > SIGNALED => Some(Ending::Signaled(ended - SIGNALED)),
        ended => Some(Ending::Exited(ended - EXITED)),
    }
}

/// How an ending is written into one word that is not zero.
const EXITED: i32 = 1;
const SIGNALED: i32 = 1000;
const WALL_TIME: i32 = 2000;

/// PID 1, from its first instruction on.
pub extern "C" fn main(launch: &'static Launch<'static>) -> ! {
    let Err(failure) = run(launch);
    crate::fail(launch, &failure)
}

fn run(launch: &'static Launch<'static>) -> Result<Infallible, Failure> {
    let channel = Channel::reapers(launch);
    // Until the channel is all that is kept; then it ends with the waiter.
    sys::prctl(linux_raw_sys::prctl::PR_SET_PDEATHSIG, uapi::SIGKILL.into())
        .map_err(failed(STAGE, Call::Prctl))?;
    if namespaces::needs_writer(launch) {
        wait_for_maps(channel)?;
    }
    crate::enter(launch)?;
    // A signalfd gives whoever reads it its own signals.
    let signals = sys::inherited(launch.shared.signals.load(Ordering::Relaxed));
    let how = Clone { flags: uapi::CLONE_VFORK.into(), cgroup: None };
    let child = sys::clone(&how, &launch.stacks.command, command_main, launch)
        .map_err(failed(STAGE, Call::Clone3))?;
    if launch.shared.has_failed() {
        // The command has said why, and nothing runs: all that is left to do
        // is to end as it did.
        return attend(launch, channel, signals, &child);
    }
    receipt::executed(launch);
    let Err(failure) = stay_behind(launch, channel, signals, &child);
    // The waiter says it: nothing is open here to say it on.
    launch.shared.untold.store(failure.number().get(), Ordering::Release);
    sys::exit_group(report::FAILED)
}

/// Lets go of what only a launch needs, and attends.
fn stay_behind(
    launch: &'static Launch<'static>,
    channel: Channel,
    signals: BorrowedFd<'static>,
    child: &Child,
) -> Result<Infallible, Failure> {
    credentials::give_up(launch)?;
    fds::keep_only(&mut [
        channel.fd(),
        signals.as_raw_fd(),
        wait::caller(launch).map_or(-1, |fd| fd.as_raw_fd()),
        launch.terminal.terminal().map_or(-1, |fd| fd.as_raw_fd()),
    ])?;
    attend(launch, channel, signals, child)
}

/// Whether PID 1 says when it has settled in its namespaces, or abandoned
/// them: the waiter holds on to what another child would need.
pub fn settles(launch: &Launch<'_>) -> bool {
    launch.shared.settles.load(Ordering::Relaxed)
}

/// Says so.
///
/// # Errors
///
/// send(2)
pub fn settle(launch: &Launch<'static>) -> Result<(), Failure> {
    Channel::reapers(launch).send(Message::Go).map_err(failed(STAGE, Call::Send))
}

/// Waits until the waiter has written the id maps.
fn wait_for_maps(channel: Channel) -> Result<(), Failure> {
    // Or a waiter that has ended already would not be noticed.
    channel.close_other().map_err(failed(STAGE, Call::CloseRange))?;
    match channel.receive() {
        Ok(Some(Message::Go)) => Ok(()),
        // The waiter has said why.
        Ok(_) => sys::exit_group(report::FAILED),
        Err(error) => Err(failed(STAGE, Call::Recv)(error)),
    }
}

/// The command, as PID 2.
extern "C" fn command_main(launch: &'static Launch<'static>) -> ! {
    let Err(failure) = crate::become_command(launch);
    crate::fail(launch, &failure)
}

/// Reaps and passes signals on until the command, the waiter or the caller
/// ends.
fn attend(
    launch: &Launch<'static>,
    channel: Channel,
    signals: BorrowedFd<'static>,
    child: &Child,
) -> Result<Infallible, Failure> {
    loop {
        let caller = wait::caller(launch).unwrap_or(signals);
        let mut watched = [
            PollFd::from_borrowed_fd(signals, PollFlags::IN),
            PollFd::from_borrowed_fd(sys::inherited(channel.fd()), PollFlags::IN),
            PollFd::from_borrowed_fd(caller, PollFlags::IN),
        ];
        // The waiter watches the time, too, but a command that stops itself in
        // the foreground of a terminal stops the waiter as well.
        let timeout = wait::deadline(launch).map(wait::time_until);
        match poll(&mut watched, timeout.as_ref()) {
            Ok(0) => {
                launch.shared.ended.store(WALL_TIME, Ordering::Release);
                sys::exit_group(report::TIMED_OUT);
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failed(STAGE, Call::Poll)(error)),
        }
        let [signaled, message, ended] = watched;
        if !signaled.revents().is_empty() {
            // Most often the command has ended, and nothing is to be read any
            // more; else a child may end before the signals are read.
            reap(launch, channel, child)?;
            sys::read_signal(signals).map_err(failed(STAGE, Call::Read))?;
            reap(launch, channel, child)?;
        } else if !ended.revents().is_empty() {
            sys::exit_group(Ending::CallerEnded.exit_status());
        }
        if !message.revents().is_empty() {
            obey(launch, channel, child)?;
        }
    }
}

/// Takes every child that has ended; exits with the command.
fn reap(launch: &Launch<'static>, channel: Channel, child: &Child) -> Result<(), Failure> {
    while let Some((pid, waited)) = sys::wait4(-1, None).map_err(failed(STAGE, Call::Wait4))? {
        if pid != child.pid {
            continue;
        }
        let ending = match waited {
            Waited::Exited(status) => Ending::Exited(status),
            Waited::Signaled(signal) => Ending::Signaled(signal),
            Waited::Stopped => {
                // A waiter that has ended is seen at the next turn.
                let _ = channel.send(Message::Stopped);
                continue;
            }
        };
        let ended = match ending {
            Ending::Signaled(signal) => SIGNALED + signal,
            _ => EXITED + ending.exit_status(),
        };
        launch.shared.ended.store(ended, Ordering::Release);
        sys::exit_group(ending.exit_status());
    }
    Ok(())
}

/// Does what the waiter says.
fn obey(launch: &Launch<'static>, channel: Channel, child: &Child) -> Result<(), Failure> {
    let message = channel.receive().map_err(failed(STAGE, Call::Recv))?;
    let Some(Message::Signal { signal, group, foreground }) = message else {
        // The waiter has ended, and so does everything else.
        sys::exit_group(Ending::CallerEnded.exit_status());
    };
    if let (true, Some(terminal), Some(pid)) =
        (foreground, launch.terminal.terminal(), Pid::from_raw(child.pid))
    {
        tcsetpgrp(terminal, pid).map_err(failed(STAGE, Call::Tcsetpgrp))?;
    }
    match sys::kill(if group { -child.pid } else { child.pid }, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(failed(STAGE, Call::Kill)(error)),
    }
}
