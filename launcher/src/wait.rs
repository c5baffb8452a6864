//! The waiter: the process that stays outside while the command runs.
//!
//! It forwards signals, hands the terminal over and takes it back, ends
//! everything when the wall time is over or the caller ends, and returns the
//! command's status. Where none of this is needed there is no waiter: the
//! launcher becomes the command.

use core::sync::atomic::Ordering;

use launcher_policy::namespaces::Init;
use launcher_policy::session::DieWithParent;
use launcher_policy::{Call, Failure, Refusal, Stage};
use linux_raw_sys::general as uapi;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getpgrp, getpid, pidfd_open};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

use crate::reaper::{self, Channel, Message};
use crate::receipt::{self, Ending};
use crate::report::{self, failed};
use crate::session;
use crate::sys::{self, Child, Clone, Signal, SignalSet, Usage, Waited};
use crate::{Facility, Launch, cgroup, credentials, fds, guard, namespaces};

const STAGE: Stage = Stage::Namespaces;

/// `si_code` of a signal that the terminal's driver sent to a whole group.
const SI_KERNEL: i32 = 0x80;

/// Whether a process has to stay outside while the command runs.
pub fn is_needed(launch: &Launch<'_>) -> bool {
    namespaces::has(launch, uapi::CLONE_NEWPID)
        || launch.terminal.is_kept()
        || launch.terminal.needs_child()
        || launch.options.caller.is_some()
        || launch.policy.limits.wall_time.is_some()
        || launch.policy.session.die_with_parent == DieWithParent::Process
        || cgroup::of(launch).is_some()
        || is_init(launch)
}

/// Whether the command's parent is a PID 1 that reaps, inside.
pub fn has_reaper(launch: &Launch<'_>) -> bool {
    namespaces::has(launch, uapi::CLONE_NEWPID) && wants_reaper(launch)
}

/// Whether the launcher itself is the PID 1 that the policy wants to reap.
fn is_init(launch: &Launch<'_>) -> bool {
    launch.caller.parent == 0 && wants_reaper(launch) && getpid().as_raw_nonzero().get() == 1
}

fn wants_reaper(launch: &Launch<'_>) -> bool {
    launch.policy.namespaces.is_some_and(|namespaces| namespaces.init == Init::Reaper)
}

/// A pidfd of the waiter, for children to see whether it has ended.
pub fn waiter(launch: &Launch<'_>) -> Option<BorrowedFd<'static>> {
    match launch.shared.waiter.load(Ordering::Relaxed) {
        0 => None,
        fd => Some(sys::inherited(fd)),
    }
}

/// A pidfd of the process whose death ends the command, if there is one.
pub fn caller(launch: &Launch<'_>) -> Option<BorrowedFd<'static>> {
    match launch.shared.caller.load(Ordering::Relaxed) {
        0 => None,
        fd => Some(sys::inherited(fd)),
    }
}

/// Starts the command in a child, waits for it, and exits as it did. Returns
/// where the launch failed, or where without namespaces nobody has to wait.
///
/// # Errors
///
/// The first call that failed, unless the child has reported it.
pub fn run(launch: &'static Launch<'static>) -> Result<(), Failure> {
    namespaces::check_writer(launch)?;
    watch_caller(launch)?;
    if !has_reaper(launch) {
        show_self(launch)?;
    }
    if let Some(limit) = launch.policy.limits.wall_time {
        let deadline = sys::monotonic_milliseconds().saturating_add(limit);
        launch.shared.deadline.store(deadline, Ordering::Relaxed);
    }
    // An ignored SIGCHLD would take the child's status away.
    sys::set_default_action(uapi::SIGCHLD).map_err(failed(STAGE, Call::RtSigaction))?;
    sys::set_signal_mask(SignalSet::ALL).map_err(failed(STAGE, Call::RtSigprocmask))?;
    let signals = sys::signalfd(SignalSet::ALL).map_err(failed(STAGE, Call::Signalfd))?;
    launch.shared.signals.store(signals.as_raw_fd(), Ordering::Relaxed);
    let settles = has_reaper(launch) && namespaces::may_go_without(launch).is_ok();
    launch.shared.settles.store(settles, Ordering::Relaxed);
    let channel = has_reaper(launch).then(|| Channel::open(launch)).transpose();
    let channel = channel.map_err(failed(STAGE, Call::Socketpair))?;
    namespaces::join::apply(launch)?;
    match start(launch, channel) {
        Ok(child) => {
            if channel.is_some() || !launch.shared.is_abandoned() {
                attend(launch, &child, channel, &signals)?;
            }
            // Or the command might find a child that it has not made.
            sys::wait_for(child.pid);
        }
        Err(error) if namespaces::flags(launch) != 0 => {
            namespaces::go_without(launch, failed(STAGE, Call::Clone3)(error))?;
        }
        Err(error) => return Err(failed(STAGE, Call::Clone3)(error)),
    }
    // Once more, without namespaces.
    if !is_needed(launch) {
        return Ok(());
    }
    // Without a PID namespace there is no PID 1 to talk to.
    show_self(launch)?;
    let child = start(launch, None).map_err(failed(STAGE, Call::Clone3))?;
    attend(launch, &child, None, &signals)
}

/// Opens a pidfd of the waiter, for a command without a PID 1 to find out
/// whether its death signal was armed too late.
fn show_self(launch: &Launch<'_>) -> Result<(), Failure> {
    let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(failed(STAGE, Call::PidfdOpen))?;
    launch.shared.waiter.store(sys::until_exec(own).as_raw_fd(), Ordering::Relaxed);
    Ok(())
}

/// Opens a pidfd of the process whose death ends the command.
fn watch_caller(launch: &Launch<'_>) -> Result<(), Failure> {
    match launch.policy.session.die_with_parent {
        DieWithParent::Auto | DieWithParent::Process => {}
        _ if launch.options.caller.is_some() => {}
        DieWithParent::Never => return Ok(()),
        // The waiter ends with the thread, and everything with the waiter.
        DieWithParent::Thread => return credentials::end_with_parent(launch),
    }
    let given = launch.options.caller.map(sys::inherited);
    let parent = || session::open_parent(STAGE, launch.caller);
    match given.map_or_else(parent, |given| Ok(Some(given)))? {
        Some(caller) => launch.shared.caller.store(caller.as_raw_fd(), Ordering::Relaxed),
        None => launch.shared.miss(Facility::DieWithParent),
    }
    Ok(())
}

/// When the wall time is over, on the monotonic clock in milliseconds.
pub fn deadline(launch: &Launch<'_>) -> Option<u64> {
    match launch.shared.deadline.load(Ordering::Relaxed) {
        0 => None,
        deadline => Some(deadline),
    }
}

/// The time until a deadline, as poll(2) takes it.
pub fn time_until(deadline: u64) -> Timespec {
    let left = deadline.saturating_sub(sys::monotonic_milliseconds());
    Timespec { tv_sec: (left / 1000) as i64, tv_nsec: (left % 1000 * 1_000_000) as i64 }
}

/// Starts PID 1, where there is a channel to it, or the command itself.
fn start(launch: &'static Launch<'static>, channel: Option<Channel>) -> Result<Child, Errno> {
    let cgroup = cgroup::of(launch);
    let flags = u64::from(namespaces::made(launch));
    if channel.is_some() {
        // Without CLONE_VFORK: PID 1 never calls exec, and would hold us up
        // for ever.
        let how = Clone { flags, cgroup };
        return sys::clone(&how, &launch.stacks.reaper, reaper::main, launch);
    }
    let how = Clone { flags: flags | u64::from(uapi::CLONE_VFORK), cgroup };
    sys::clone(&how, &launch.stacks.command, command_main, launch)
}

/// The command where no PID 1 of ours stands between it and the waiter.
extern "C" fn command_main(launch: &'static Launch<'static>) -> ! {
    let Err(failure) = crate::enter(launch).and_then(|()| crate::become_command(launch));
    crate::fail(launch, &failure)
}

/// Waits for the command and exits as it did. Returns where PID 1 has found
/// its namespaces to be of no use.
fn attend(
    launch: &'static Launch<'static>,
    child: &Child,
    channel: Option<Channel>,
    signals: &OwnedFd,
) -> Result<(), Failure> {
    if channel.is_none() && !launch.shared.has_failed() {
        // The clone returned because exec let go of our memory.
        receipt::executed(launch);
    }
    let mut waiter = Waiter::new(launch, child, channel, signals);
    if let Err(failure) = waiter.prepare().and_then(|()| waiter.watch()) {
        // Fail closed: nothing runs on without its waiter.
        let _ = sys::pidfd_send_signal(&child.pidfd, uapi::SIGKILL);
        waiter.take_terminal_back();
        return Err(failure);
    }
    Ok(())
}

/// The state of waiting.
struct Waiter<'l> {
    launch: &'static Launch<'static>,
    child: &'l Child,
    channel: Option<Channel>,
    /// Whether PID 1 has let go of its end, which poll(2) would say for as
    /// long as its namespace takes to end.
    hung_up: bool,
    signals: &'l OwnedFd,
    /// When the wall time is over, on the monotonic clock in milliseconds.
    deadline: Option<u64>,
    /// When to look at the CPU time of the cgroup again, in milliseconds.
    next_look: Option<u64>,
    /// Whether the command has the foreground of the terminal.
    gave_terminal: bool,
    /// Why the command was killed, if it was.
    killed: Option<Ending>,
}

impl<'l> Waiter<'l> {
    fn new(
        launch: &'static Launch<'static>,
        child: &'l Child,
        channel: Option<Channel>,
        signals: &'l OwnedFd,
    ) -> Self {
        Self {
            launch,
            child,
            channel,
            hung_up: false,
            signals,
            deadline: deadline(launch),
            next_look: None,
            gave_terminal: launch.terminal.terminal().is_some(),
            killed: None,
        }
    }

    /// What is done once, after the clone.
    fn prepare(&self) -> Result<(), Failure> {
        let Some(channel) = self.channel else { return self.let_go() };
        if namespaces::needs_writer(self.launch) {
            namespaces::write_maps_of(self.launch, self.child.pid)?;
            channel.send(Message::Go).map_err(failed(STAGE, Call::Send))?;
        }
        // What another child would need is kept until this one has settled.
        if reaper::settles(self.launch) { Ok(()) } else { self.let_go() }
    }

    /// Closes what the waiter does not need.
    fn let_go(&self) -> Result<(), Failure> {
        fds::keep_only(&mut [
            self.signals.as_raw_fd(),
            self.child.pidfd.as_raw_fd(),
            self.channel.map_or(-1, Channel::fd),
            caller(self.launch).map_or(-1, |fd| fd.as_raw_fd()),
            self.launch.options.status.unwrap_or(-1),
            cgroup::of(self.launch).map_or(-1, |fd| fd.as_raw_fd()),
            cgroup::parent(self.launch).map_or(-1, |fd| fd.as_raw_fd()),
            guard::pidfd(self.launch).map_or(-1, |fd| fd.as_raw_fd()),
            self.launch.terminal.terminal().map_or(-1, |fd| fd.as_raw_fd()),
            // Where the end of the guard and a failure of PID 1 can still be told.
            if self.channel.is_some() || guard::pidfd(self.launch).is_some() { 2 } else { -1 },
        ])
    }

    /// Waits until the child has ended, then exits. Returns where another one
    /// has to be started.
    fn watch(&mut self) -> Result<(), Failure> {
        loop {
            let caller = caller(self.launch).filter(|_| self.killed.is_none());
            let ready = self.poll(caller)?;
            if ready.guard {
                // Fail closed: without it a launcher that is killed leaves the
                // group and, without a PID namespace, what runs in it.
                let why = Refusal::GuardEnded;
                return Err(Failure::refused(Stage::Limits, Call::Guard, why));
            }
            if ready.caller {
                self.kill(Ending::CallerEnded)?;
            }
            if self.is_over() {
                self.kill(Ending::WallTime)?;
            }
            if self.next_look == Some(0) {
                self.kill(Ending::CpuTime)?;
            }
            match ready.message {
                Some(Message::Go) if self.launch.shared.is_abandoned() => return Ok(()),
                Some(Message::Go) => self.let_go()?,
                Some(Message::Stopped) => self.follow_stop()?,
                _ => {}
            }
            if ready.signaled {
                // Most often the child has ended, and nothing is to be read.
                self.check_child()?;
                let signal = sys::read_signal(self.signals).map_err(failed(STAGE, Call::Read))?;
                signal.map_or(Ok(()), |signal| self.forward(signal))?;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.killed.is_none()
            && self.deadline.is_some_and(|deadline| sys::monotonic_milliseconds() >= deadline)
    }

    fn poll(&mut self, caller: Option<BorrowedFd<'_>>) -> Result<Ready, Failure> {
        let never = self.signals.as_fd();
        let channel = self.channel.filter(|_| !self.hung_up);
        let guard = guard::pidfd(self.launch).filter(|_| self.killed.is_none());
        let fd = |fd: Option<BorrowedFd<'l>>| fd.unwrap_or(never);
        let mut watched = [
            PollFd::from_borrowed_fd(never, PollFlags::IN),
            PollFd::from_borrowed_fd(caller.unwrap_or(never), PollFlags::IN),
            PollFd::from_borrowed_fd(
                fd(channel.map(|channel| sys::inherited(channel.fd()))),
                PollFlags::IN,
            ),
            PollFd::from_borrowed_fd(fd(guard), PollFlags::IN),
        ];
        self.next_look = self.killed.is_none().then(|| cgroup::next_look(self.launch)).flatten();
        let look = self.next_look.map(|time| sys::monotonic_milliseconds() + time);
        let deadline = self.deadline.filter(|_| self.killed.is_none());
        let timeout = deadline.into_iter().chain(look).min().map(time_until);
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failed(STAGE, Call::Poll)(error)),
        }
        let [signaled, ended, message, unguarded] = watched;
        self.hung_up |= channel.is_some() && message.revents().contains(PollFlags::HUP);
        // What came before the end is read first.
        let message = channel
            .filter(|_| message.revents().contains(PollFlags::IN))
            .and_then(|channel| channel.receive().ok().flatten());
        Ok(Ready {
            signaled: !signaled.revents().is_empty(),
            caller: caller.is_some() && !ended.revents().is_empty(),
            guard: guard.is_some() && !unguarded.revents().is_empty(),
            message,
        })
    }

    /// Exits if the child has ended; notices if it has stopped.
    fn check_child(&mut self) -> Result<(), Failure> {
        let any = if is_init(self.launch) { -1 } else { self.child.pid };
        let mut usage = Usage::default();
        while let Some((pid, waited)) =
            sys::wait4(any, Some(&mut usage)).map_err(failed(STAGE, Call::Wait4))?
        {
            if pid != self.child.pid {
                continue;
            }
            match waited {
                Waited::Stopped if self.channel.is_none() => self.follow_stop()?,
                Waited::Stopped => {}
                Waited::Exited(_) | Waited::Signaled(_) => {
                    if let Some(failure) = self.launch.shared.untold() {
                        return Err(failure);
                    }
                    self.exit(waited, usage)
                }
            }
        }
        Ok(())
    }

    /// Exits as the command did.
    fn exit(&mut self, waited: Waited, usage: Usage) -> ! {
        self.take_terminal_back();
        let of_child = match waited {
            Waited::Exited(status) => Ending::Exited(status),
            Waited::Signaled(signal) => Ending::Signaled(signal),
            Waited::Stopped => Ending::Exited(report::FAILED),
        };
        let failed = self.launch.shared.has_failed();
        let mut ending = of_child;
        if !failed {
            ending = self.killed.or_else(|| reaper::ending(self.launch)).unwrap_or(of_child);
            receipt::ended(self.launch, ending, usage);
        }
        cgroup::end(self.launch);
        sys::exit_group(ending.exit_status())
    }

    /// Kills the command, and with a PID namespace everything it started.
    fn kill(&mut self, why: Ending) -> Result<(), Failure> {
        self.killed = Some(why);
        cgroup::kill(self.launch);
        if self.channel.is_none() {
            // Its group, as far as one signal reaches.
            let _ = sys::kill(-self.child.pid, uapi::SIGKILL);
        }
        match sys::pidfd_send_signal(&self.child.pidfd, uapi::SIGKILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(failed(STAGE, Call::PidfdSendSignal)(error)),
        }
    }

    /// Passes a signal on to the command.
    fn forward(&mut self, signal: Signal) -> Result<(), Failure> {
        match signal.number {
            uapi::SIGCHLD => self.check_child(),
            // What the terminal says of our own reading.
            uapi::SIGTTIN | uapi::SIGTTOU => Ok(()),
            uapi::SIGCONT => self.resume(),
            // A session of its own has nobody who could continue it, so the
            // kernel ignores a stop from the terminal there.
            uapi::SIGTSTP if !self.launch.terminal.is_kept() => {
                self.send(uapi::SIGSTOP, true, false)?;
                self.stop()
            }
            number => self.send(number, signal.code == SI_KERNEL, false),
        }
    }

    fn send(&self, signal: u32, group: bool, foreground: bool) -> Result<(), Failure> {
        let sent = match self.channel {
            Some(channel) => channel.send(Message::Signal { signal, group, foreground }),
            None if group => sys::kill(-self.child.pid, signal),
            None => sys::kill(self.child.pid, signal),
        };
        match sent {
            // It has ended; the next turn of the loop sees that.
            Ok(()) | Err(Errno::SRCH | Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(failed(STAGE, Call::Kill)(error)),
        }
    }

    /// The command has stopped: so does the launcher, where a shell has put
    /// both into the foreground of its terminal.
    fn follow_stop(&mut self) -> Result<(), Failure> {
        // Nobody but the waiter watches the CPU time, nor the wall time where
        // there is no PID 1.
        let deaf = self.next_look.is_some() || self.deadline.is_some() && self.channel.is_none();
        if deaf || !self.launch.terminal.is_kept() {
            return Ok(());
        }
        self.stop()
    }

    fn stop(&mut self) -> Result<(), Failure> {
        self.take_terminal_back();
        sys::kill(getpid().as_raw_nonzero().get(), uapi::SIGSTOP).map_err(failed(STAGE, Call::Kill))
    }

    /// A shell has continued the launcher.
    fn resume(&mut self) -> Result<(), Failure> {
        let foreground =
            self.launch.terminal.terminal().filter(|terminal| {
                tcgetpgrp(terminal).is_ok_and(|foreground| foreground == getpgrp())
            });
        if let Some(terminal) = foreground {
            self.gave_terminal = true;
            if self.channel.is_none()
                && let Some(child) = Pid::from_raw(self.child.pid)
            {
                tcsetpgrp(terminal, child).map_err(failed(STAGE, Call::Tcsetpgrp))?;
            }
        }
        self.send(uapi::SIGCONT, true, foreground.is_some())
    }

    /// Makes the launcher's group the foreground again. SIGTTOU is blocked.
    fn take_terminal_back(&mut self) {
        if let Some(terminal) = self.launch.terminal.terminal().filter(|_| self.gave_terminal) {
            self.gave_terminal = false;
            // A terminal that has hung up needs no foreground.
            let _ = tcsetpgrp(terminal, getpgrp());
        }
    }
}

/// What a turn of the loop has to look after.
struct Ready {
    signaled: bool,
    /// The caller has ended.
    caller: bool,
    /// The guard has ended.
    guard: bool,
    message: Option<Message>,
}
