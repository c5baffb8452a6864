//! Makes one system call of one process fail: `fault PROCESS NUMBER WHEN ERRNO
//! -- COMMAND...`.
//!
//! Processes count from 0 in the order in which they were made; of each, calls
//! of a number count from 1 behind the command's own exec. The call is not made; what made it sees the
//! error. A process that executes something else is let go, so that what a
//! launcher launches is never hit. The exit status is the command's. strace(1)
//! counts in every process for itself, so it cannot hit one alone.

use std::process::ExitCode;

#[cfg(not(target_arch = "x86_64"))]
fn main() -> ExitCode {
    eprintln!("fault: only x86_64 has its registers in a place that is known");
    ExitCode::FAILURE
}

#[cfg(target_arch = "x86_64")]
fn main() -> ExitCode {
    x86_64::main()
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::collections::HashMap;
    use std::ffi::OsString;
    use std::process::{Command, ExitCode};

    use nix::errno::Errno;
    use nix::libc::ENOSYS;
    use nix::sys::ptrace::{self, Event, Options};
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;

    /// What is to fail.
    struct Fault {
        process: usize,
        number: u64,
        when: usize,
        errno: u64,
    }

    /// A process that is traced.
    #[derive(Default)]
    struct Traced {
        /// Its place in the order in which they were made.
        number: usize,
        /// How many calls of the number it has begun.
        calls: usize,
        /// Whether it is in one.
        inside: bool,
        /// Whether that one is to fail.
        failing: bool,
    }

    pub(super) fn main() -> ExitCode {
        let mut words = std::env::args_os().skip(1);
        let mut number = || words.next()?.to_str()?.parse().ok();
        let (Some(process), Some(call), Some(when), Some(errno)) =
            (number(), number(), number(), number())
        else {
            eprintln!("usage: fault PROCESS NUMBER WHEN ERRNO -- COMMAND...");
            return ExitCode::FAILURE;
        };
        let fault = Fault { process, number: call as u64, when, errno: errno as u64 };
        let command: Vec<OsString> = words.skip(1).collect();
        match trace(&fault, &command) {
            Ok(status) => ExitCode::from(status as u8),
            Err(error) => {
                eprintln!("fault: {error}");
                ExitCode::FAILURE
            }
        }
    }

    /// Starts the command and follows it to its end.
    fn trace(fault: &Fault, command: &[OsString]) -> Result<i32, Box<dyn std::error::Error>> {
        // It stops itself so that it can be seized before it begins.
        let script = "kill -STOP $$; exec \"$@\"";
        let child = Command::new("sh").args(["-c", script, "sh"]).args(command).spawn()?;
        let main = Pid::from_raw(child.id().try_into()?);
        waitpid(main, Some(WaitPidFlag::WUNTRACED))?;
        let follow = Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(main, follow)?;
        kill(main, Signal::SIGCONT)?;
        let mut traced: HashMap<Pid, Traced> = HashMap::new();
        let mut ended = 0;
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(status) => status,
                Err(Errno::ECHILD) => return Ok(ended),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            // A process may be killed while it is looked at; its end comes next.
            let _ = match status {
                WaitStatus::Exited(pid, code) if pid == main => {
                    ended = code;
                    Ok(())
                }
                WaitStatus::Signaled(pid, signal, _) if pid == main => {
                    ended = 128 + signal as i32;
                    Ok(())
                }
                WaitStatus::PtraceEvent(pid, _, event)
                    if event == Event::PTRACE_EVENT_EXEC as i32 =>
                {
                    match traced.len() {
                        0 => {
                            traced.insert(pid, Traced::default());
                            ptrace::syscall(pid, None)
                        }
                        _ => ptrace::detach(pid, None),
                    }
                }
                WaitStatus::PtraceSyscall(pid) => {
                    match traced.get_mut(&pid).map(|process| process.at_call(pid, fault)) {
                        None | Some(Ok(()) | Err(Errno::ESRCH)) => ptrace::syscall(pid, None),
                        Some(Err(error)) => return Err(error.into()),
                    }
                }
                // Its first stop, a stop of its group, or a child of its own: who
                // has made one stops before it can make another, so that their
                // order is that of their making.
                WaitStatus::PtraceEvent(pid, _, event) => {
                    let new = if is_birth(event) { child_of(pid) } else { None };
                    let new = new.unwrap_or(pid);
                    let number = traced.len();
                    if number > 0 {
                        traced.entry(new).or_insert(Traced { number, ..Traced::default() });
                    }
                    ptrace::syscall(pid, None)
                }
                WaitStatus::Stopped(pid, signal) => ptrace::syscall(pid, signal),
                _ => Ok(()),
            };
        }
    }

    fn is_birth(event: i32) -> bool {
        [Event::PTRACE_EVENT_FORK, Event::PTRACE_EVENT_VFORK, Event::PTRACE_EVENT_CLONE]
            .into_iter()
            .any(|birth| birth as i32 == event)
    }

    /// The process that another one has just made, unless that was killed.
    fn child_of(pid: Pid) -> Option<Pid> {
        let number = ptrace::getevent(pid).ok()?;
        i32::try_from(number).ok().map(Pid::from_raw)
    }

    impl Traced {
        /// It begins or ends a call.
        fn at_call(&mut self, pid: Pid, fault: &Fault) -> Result<(), Errno> {
            let mut registers = ptrace::getregs(pid)?;
            // A new process ends a call that it has not begun.
            let begins = !self.inside && registers.rax == -i64::from(ENOSYS) as u64;
            if begins {
                let is_its = registers.orig_rax == fault.number;
                self.calls += usize::from(is_its);
                self.failing = is_its && self.number == fault.process && self.calls == fault.when;
                if self.failing {
                    registers.orig_rax = u64::MAX;
                    ptrace::setregs(pid, registers)?;
                }
            } else if self.failing {
                self.failing = false;
                registers.rax = fault.errno.wrapping_neg();
                ptrace::setregs(pid, registers)?;
            }
            self.inside = begins;
            Ok(())
        }
    }
}
