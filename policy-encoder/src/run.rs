//! `encode-policy run`: the policy in a sealed memfd, and the launcher in the
//! place of this process, or beside it where something is left to do, as where
//! a proxy serves the command.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;

use clap::Args;
use policy_encoder::handover::{self, apart, find_launcher};
use rustix::fs::MemfdFlags;
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, pidfd_send_signal,
    waitpid,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::proxying::{Passed, Waiting};

/// What is passed on to the launcher.
#[derive(Args)]
pub(crate) struct LauncherArguments {
    /// The launcher [default: beside this program, else on PATH]
    #[arg(long, value_name = "FILE")]
    launcher: Option<PathBuf>,
    /// Where the launcher writes its status, as JSON lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..))]
    status_fd: Option<u32>,
    /// The directory of the cgroup that the command is born into
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..))]
    cgroup_fd: Option<u32>,
    /// A pidfd of the process whose death ends the command
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..))]
    parent_fd: Option<u32>,
    /// How long the launcher waits for its policy
    #[arg(long, value_name = "SECONDS")]
    deadline: Option<OsString>,
}

/// The launcher with all its arguments, and the policy that it reads.
pub(crate) struct Launcher {
    path: PathBuf,
    /// Options, and the descriptors that they name.
    options: Vec<OsString>,
    /// Open until the launcher has them.
    passed: Vec<OwnedFd>,
    /// Numbers that others have.
    taken: BTreeSet<u32>,
    command: Vec<OsString>,
    proxy: Option<Waiting>,
}

impl Launcher {
    /// Puts the policy where the launcher finds it.
    pub(crate) fn new(
        policy: &[u8],
        used_fds: &BTreeSet<u32>,
        arguments: &LauncherArguments,
        command: &[OsString],
    ) -> Result<Self, String> {
        let path = launcher(arguments.launcher.as_deref())?;
        let taken = used_fds.iter().copied().chain(arguments.fds()).collect();
        let mut launcher = Self {
            path,
            options: vec!["--sealed".into()],
            passed: Vec::new(),
            taken,
            command: command.to_owned(),
            proxy: None,
        };
        sealed(policy)
            .and_then(|memfd| launcher.pass("--fd", &memfd))
            .map_err(|errno| format!("cannot hand the policy over in a memfd: {errno}"))?;
        launcher.options.extend(arguments.passed_on());
        Ok(launcher)
    }

    /// Has a proxy serve the command, which gets the sockets for that, and what
    /// takes their place without a network namespace, by the other ends of these.
    ///
    /// # Errors
    ///
    /// Where it cannot be handed over.
    pub(crate) fn serve(&mut self, proxy: Waiting, passed: &Passed) -> Result<(), String> {
        self.pass_socket("--listeners-fd", &passed.listeners)?;
        passed.notify.as_ref().map_or(Ok(()), |socket| self.notify(socket))?;
        self.proxy = Some(proxy);
        Ok(())
    }

    /// Has the listener of the filter sent to this socket's other end.
    ///
    /// # Errors
    ///
    /// Where it cannot be handed over.
    pub(crate) fn notify(&mut self, socket: &OwnedFd) -> Result<(), String> {
        self.pass_socket("--notify-fd", socket)
    }

    fn pass_socket(&mut self, option: &str, socket: &OwnedFd) -> Result<(), String> {
        self.pass(option, socket)
            .map_err(|errno| format!("cannot hand a socket to the launcher: {errno}"))
    }

    fn pass(&mut self, option: &str, fd: &OwnedFd) -> rustix::io::Result<()> {
        let fd = on_free_number(fd, &self.taken)?;
        self.options.extend([option.into(), fd.as_raw_fd().to_string().into()]);
        self.passed.push(fd);
        Ok(())
    }

    fn command(&self) -> Command {
        let mut launcher = Command::new(&self.path);
        launcher.args(&self.options).arg("--").args(&self.command);
        launcher
    }

    /// Takes the place of this process. Returns only if that failed, with the
    /// reason.
    pub(crate) fn exec(self) -> String {
        let error = self.command().exec();
        format!("cannot run {}: {error}", self.path.display())
    }

    /// Runs beside this process; returns the exit status.
    ///
    /// # Errors
    ///
    /// Why it could not be started or waited for.
    pub(crate) fn wait(mut self) -> Result<u8, String> {
        let path = self.path.display().to_string();
        let complain = |error: &dyn std::fmt::Display| format!("cannot run {path}: {error}");
        // Before the launcher starts, so that none is missed. A handler, not
        // an ignored signal, which the launcher would inherit.
        let mut signals =
            Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP]).map_err(|error| complain(&error))?;
        let child = self.command().spawn().map_err(|error| complain(&error))?;
        // The launcher alone has them, so that its end is that of the sockets.
        self.passed.clear();
        let proxy = self.proxy.take().map(Waiting::serve);
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| complain(&error))?;
        std::thread::spawn(move || {
            for signal in signals.forever() {
                // A terminal sends the others to the launcher as well; they
                // are for the command to answer.
                let signal = match signal {
                    SIGTERM => Signal::TERM,
                    SIGHUP => Signal::HUP,
                    _ => continue,
                };
                // One that has ended needs no signal.
                let _ = pidfd_send_signal(&pidfd, signal);
            }
        });
        loop {
            let (_, status) = match waitpid(Some(pid), WaitOptions::UNTRACED) {
                Ok(Some(waited)) => waited,
                Ok(None) | Err(Errno::INTR) => continue,
                Err(error) => return Err(complain(&error)),
            };
            if status.stopped() {
                // So that the shell sees its job stop; it continues both.
                let _ = kill_process(getpid(), Signal::STOP);
                continue;
            }
            let signaled = status.terminating_signal().map(|signal| 128 + signal);
            let status = status.exit_status().or(signaled).unwrap_or_default();
            // Its connections end with it, and are told of.
            drop(proxy.map(JoinHandle::join));
            return Ok(status.try_into().unwrap_or(u8::MAX));
        }
    }
}

impl LauncherArguments {
    /// The descriptors that the caller hands to the launcher.
    fn fds(&self) -> impl Iterator<Item = u32> {
        [self.status_fd, self.cgroup_fd, self.parent_fd].into_iter().flatten()
    }

    fn passed_on(&self) -> Vec<OsString> {
        let numbers = [
            ("--status-fd", self.status_fd),
            ("--cgroup-fd", self.cgroup_fd),
            ("--parent-fd", self.parent_fd),
        ];
        numbers
            .into_iter()
            .filter_map(|(option, fd)| Some((option, fd?.to_string().into())))
            .chain(self.deadline.clone().map(|seconds| ("--deadline", seconds)))
            .flat_map(|(option, value)| [option.into(), value])
            .collect()
    }
}

/// The launcher that was named, else the one that is found.
pub(crate) fn launcher(named: Option<&Path>) -> Result<PathBuf, String> {
    match named {
        // Absolute, so that exec does not look on PATH for it.
        Some(named) => std::path::absolute(named)
            .map_err(|error| format!("cannot find {}: {error}", named.display())),
        None => find_launcher().ok_or_else(|| {
            "there is no launcher beside encode-policy or on PATH; name it with --launcher"
                .to_owned()
        }),
    }
}

/// The policy in memory that nobody can change any more.
pub(crate) fn sealed(policy: &[u8]) -> rustix::io::Result<OwnedFd> {
    handover::sealed(c"policy", policy, MemfdFlags::NOEXEC_SEAL)
}

/// The same file on a number of 3 or above that nothing else is meant to
/// have, and that survives the exec.
pub(crate) fn on_free_number(
    memfd: &OwnedFd,
    taken: &BTreeSet<u32>,
) -> rustix::io::Result<OwnedFd> {
    let is_taken = |number| u32::try_from(number).is_ok_and(|number| taken.contains(&number));
    let fd = apart(fcntl_dupfd_cloexec(memfd, 3)?, is_taken)?;
    fcntl_setfd(&fd, FdFlags::empty())?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_gets_a_number_that_survives_exec() {
        let memfd = sealed(b"policy").expect("a memfd is made");
        let taken = (3..40).collect();
        let fd = on_free_number(&memfd, &taken).expect("there are free numbers");
        assert!(fd.as_raw_fd() >= 40);
        assert!(!rustix::io::fcntl_getfd(&fd).expect("it is open").contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn a_launcher_that_is_named_is_not_looked_for() {
        assert_eq!(launcher(Some(Path::new("/x/launcher"))), Ok(PathBuf::from("/x/launcher")));
        assert!(launcher(Some(Path::new("launcher"))).is_ok_and(|path| path.is_absolute()));
    }
}
