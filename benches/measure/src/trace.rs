//! What a launch takes that no clock is needed for.

use std::collections::HashSet;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc::PTRACE_SYSCALL_INFO_ENTRY;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What a launch took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// System calls of all processes, but for those of the job itself.
    pub system_calls: usize,
    /// The most memory that one of the processes had, in KiB: what it shares is
    /// counted, what the job has is not.
    pub memory: usize,
}

/// Launches a job by a command line and follows all processes to their end, by
/// ptrace(2).
///
/// # Errors
///
/// Where the kernel refuses to have them followed.
pub fn follow(argv: &[OsString], job: &Path) -> Result<Taken, Box<dyn Error>> {
    follow_from(Phase::Always, argv, job)
}

/// System calls of a process that launches a job between two calls of
/// [`mark`], and of whom it has do so. What works in the background to have
/// something ready for the next launch is not counted.
///
/// # Errors
///
/// Where the kernel refuses to have them followed.
pub fn follow_marked(argv: &[OsString], job: &Path) -> Result<usize, Box<dyn Error>> {
    let taken = follow_from(Phase::Before, argv, job)?;
    // The last are getpid(2) and kill(2) of the mark.
    taken.system_calls.checked_sub(2).ok_or_else(|| "it has made no mark".into())
}

/// Tells who follows this process that what is to be counted begins, or that it
/// has ended.
///
/// # Errors
///
/// None that is known: a process may send signals to itself.
pub fn mark() -> Result<(), Errno> {
    kill(Pid::this(), Signal::SIGSTOP)
}

fn follow_from(phase: Phase, argv: &[OsString], job: &Path) -> Result<Taken, Box<dyn Error>> {
    // It stops itself, so that it can be seized before it begins.
    let script = "kill -STOP $$; exec \"$@\"";
    let shell = Command::new("sh")
        .args(["-c", script, "sh"])
        .args(argv)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let main = Pid::from_raw(shell.id().try_into()?);
    waitpid(main, Some(WaitPidFlag::WUNTRACED))?;
    let options = Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(main, options)?;
    kill(main, Signal::SIGCONT)?;
    let alive = HashSet::from([main]);
    let taken = Taken::default();
    let (counted, background) = (HashSet::new(), HashSet::new());
    let mut follower = Follower { job, main, phase, alive, counted, background, taken };
    // This process has other children, which stay.
    while !follower.alive.is_empty() {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(status) => follower.at(status)?,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(follower.taken)
}

/// That a process has made another one.
const BIRTHS: [i32; 3] = [
    Event::PTRACE_EVENT_FORK as i32,
    Event::PTRACE_EVENT_VFORK as i32,
    Event::PTRACE_EVENT_CLONE as i32,
];

/// Whether calls are counted now.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// From the start to the end.
    Always,
    /// Until the first mark.
    Before,
    /// Until the second.
    Within,
    After,
}

impl Phase {
    fn counts(self) -> bool {
        matches!(self, Self::Always | Self::Within)
    }
}

struct Follower<'a> {
    job: &'a Path,
    main: Pid,
    phase: Phase,
    /// The processes that are followed.
    alive: HashSet<Pid>,
    /// The processes of the launch that do not run the job yet.
    counted: HashSet<Pid>,
    /// Who was there before the first mark and launches nothing, and its children.
    background: HashSet<Pid>,
    taken: Taken,
}

impl Follower<'_> {
    /// Something has stopped or ended.
    fn at(&mut self, status: WaitStatus) -> Result<(), Errno> {
        let (pid, signal) = match status {
            WaitStatus::PtraceSyscall(pid) => {
                self.at_call(pid)?;
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                self.at_event(pid, event);
                (pid, None)
            }
            WaitStatus::Stopped(pid, Signal::SIGSTOP) if self.is_mark(pid) => {
                self.at_mark();
                (pid, None)
            }
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                self.alive.remove(&pid);
                return Ok(());
            }
            _ => return Ok(()),
        };
        match ptrace::syscall(pid, signal) {
            // It was killed while it was looked at; its end comes next.
            Err(Errno::ESRCH) => Ok(()),
            answer => answer,
        }
    }

    fn is_mark(&self, pid: Pid) -> bool {
        pid == self.main && matches!(self.phase, Phase::Before | Phase::Within)
    }

    fn at_mark(&mut self) {
        if self.phase == Phase::Within {
            self.phase = Phase::After;
            self.counted.clear();
            return;
        }
        self.phase = Phase::Within;
        let (main, alive) = (self.main, self.alive.iter().copied());
        let launches = |pid: &Pid| *pid == main || is_server(*pid);
        (self.counted, self.background) = alive.partition(launches);
    }

    fn at_event(&mut self, pid: Pid, event: i32) {
        if event == Event::PTRACE_EVENT_EXEC as i32 {
            let program = fs::read_link(format!("/proc/{pid}/exe"));
            // Its directory may be another one inside.
            let is_job = program.is_ok_and(|program| program.file_name() == self.job.file_name());
            match is_job {
                true => self.counted.remove(&pid),
                false => self.count(pid),
            };
        } else if BIRTHS.contains(&event) {
            // Before its first stop, which may come after the end of who has made it.
            let child = ptrace::getevent(pid).ok().and_then(|number| i32::try_from(number).ok());
            self.alive.extend(child.map(Pid::from_raw));
            if self.background.contains(&pid) {
                self.background.extend(child.map(Pid::from_raw));
            }
        } else if pid != self.main {
            // The first stop of a new one.
            self.count(pid);
        }
    }

    /// Counts its calls from now on, if any are.
    fn count(&mut self, pid: Pid) -> bool {
        self.phase.counts() && !self.background.contains(&pid) && self.counted.insert(pid)
    }

    fn at_call(&mut self, pid: Pid) -> Result<(), Errno> {
        if !self.counted.contains(&pid) {
            return Ok(());
        }
        // The op says so without the union that depends on it.
        if ptrace::syscall_info(pid)?.op == PTRACE_SYSCALL_INFO_ENTRY {
            self.taken.system_calls += 1;
            // With exec it would be gone.
            self.look_at(pid);
        }
        Ok(())
    }

    /// Notes the memory of a process.
    fn look_at(&mut self, pid: Pid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        self.taken.memory = self.taken.memory.max(peak.unwrap_or_default());
    }
}

/// Whether this is the launcher as a server.
fn is_server(pid: Pid) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|argument| argument.starts_with(b"--serve"))
}
