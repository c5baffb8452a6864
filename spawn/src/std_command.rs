//! Commands of [`std::process`] in sandboxes.
//!
//! What std forks becomes the launcher, which makes the sandbox and the command
//! in it. That can fail long after exec, when std has stopped to listen. So
//! beside the launcher stands, until the command runs, another copy of what
//! was forked: it listens to the launcher and holds open the pipe on which std
//! waits. Where the launch fails, it goes on in std's code with the error.
#![allow(unsafe_code, reason = "what runs between fork and exec")]

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;

use launcher::sys;
use linux_raw_sys::general::SIGCHLD;
use policy_encoder::receipt::Event;
use rustix::fs::{MemfdFlags, ftruncate};
use rustix::io::{Errno, FdFlags, fcntl_setfd, pread, pwrite, read};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, getpid, waitpid};

use crate::command::environment;
use crate::launcher::{apart, memfd};
use crate::sandbox::Prepared;
use crate::strings::{OwnedStrings, c_strings, variables};
use crate::{Error, Sandbox};

/// Puts commands of [`std::process`] into sandboxes, and those of other crates
/// that are built on them: tokio's by `as_std_mut`.
pub trait CommandExt {
    /// Has the command run in a sandbox.
    ///
    /// To be called last: the program, its arguments and the environment are
    /// those that the command has now, and what is said of them later has no
    /// effect. Streams, directory, ids and process group may be set later too;
    /// `arg0` is not seen. The program is looked up by the policy's `PATH`, in
    /// the sandbox. The process that std knows is the launcher.
    ///
    /// `spawn` and its like return the error number of a launch that fails, and
    /// what is returned here, the rest of it. An `exec` in the place of this
    /// program can return none: there the launcher writes to standard error.
    ///
    /// [`Sandbox::command`] costs less: what is forked here is twice copied.
    ///
    /// # Errors
    ///
    /// Where the sandbox cannot be prepared, or a string holds a null byte.
    fn sandboxed(&mut self, sandbox: &Sandbox) -> Result<Launches, Error>;
}

impl CommandExt for Command {
    fn sandboxed(&mut self, sandbox: &Sandbox) -> Result<Launches, Error> {
        let Some(prepared) = sandbox.prepared()? else {
            let sandbox = sandbox.clone();
            // SAFETY: layers may be applied between fork and exec.
            unsafe { self.pre_exec(move || put_on_layers(&sandbox)) };
            return Ok(Launches(None));
        };
        let entry = Entry::new(self, sandbox, prepared)?;
        let report = Arc::clone(&entry.report);
        // SAFETY: `enter` makes system calls with what is prepared.
        unsafe { self.pre_exec(move || entry.enter()) };
        Ok(Launches(Some(report)))
    }
}

/// What is known of the launches of a [`Command`].
#[derive(Clone, Debug)]
pub struct Launches(Option<Arc<OwnedFd>>);

impl Launches {
    /// Why the last launch failed, from what the command's `spawn` said.
    pub fn explain(&self, error: io::Error) -> Error {
        self.failure().unwrap_or_else(|| Error::io("cannot run the command")(error))
    }

    fn failure(&self) -> Option<Error> {
        let mut line = [0; MAX_LINE];
        let length = pread(self.0.as_ref()?, &mut line, 0).ok()?;
        match serde_json::from_slice(line.get(..length)?) {
            Ok(Event::Failure(failure)) => Some(Error::launch(failure)),
            _ => None,
        }
    }
}

/// More than the launcher writes of a failure.
const MAX_LINE: usize = 16 * 1024;

/// How a forked process becomes the launcher.
struct Entry {
    sandbox: Sandbox,
    prepared: Arc<Prepared>,
    argv: OwnedStrings,
    envp: OwnedStrings,
    /// Where the failure of a launch is kept. In the launcher its number is that
    /// of the pipe on which it reports: nothing else has it there.
    report: Arc<OwnedFd>,
    /// The process that spawns.
    parent: Pid,
}

impl Entry {
    fn new(
        command: &mut Command,
        sandbox: &Sandbox,
        prepared: Arc<Prepared>,
    ) -> Result<Self, Error> {
        let report = memfd(c"report", MemfdFlags::empty(), MemfdFlags::NOEXEC_SEAL)
            .and_then(|fd| apart(fd, |number| sandbox.takes(number)))
            .map_err(Error::io("cannot make a memfd"))?;
        let wrong = || Error::io("cannot pass the command on");
        let envp = variables(of_command(command)).map_err(wrong())?;
        let own = [
            "launcher".into(),
            "--sealed".into(),
            format!("--fd={}", prepared.memfd()),
            format!("--error-fd={}", report.as_raw_fd()),
            "--".into(),
        ];
        let own = own.iter().map(OsStr::new).chain([command.get_program()]);
        let argv: Vec<CString> = c_strings(own.chain(command.get_args())).map_err(wrong())?;
        Ok(Self {
            sandbox: sandbox.clone(),
            prepared,
            argv: argv.into(),
            envp: envp.into(),
            report: Arc::new(report),
            parent: getpid(),
        })
    }

    /// Becomes the launcher. Returns where that failed, and beside the launcher
    /// where the launch did.
    fn enter(&self) -> io::Result<()> {
        put_on_layers(&self.sandbox)?;
        // The handlers of this program are not for what comes now; the launcher
        // sees to the signals itself.
        sys::block_signals()?;
        fcntl_setfd(sys::inherited(self.prepared.memfd()), FdFlags::empty())?;
        if getpid() == self.parent {
            // In the place of the program itself, where nobody listens.
            sys::dup_onto(sys::inherited(2), self.report.as_raw_fd())?;
        } else if let Some(failure) = self.listen()? {
            return Err(failure);
        }
        let (argv, envp) = (self.argv.as_c(), self.envp.as_c());
        Err(sys::execveat(self.prepared.program(), argv, envp).into())
    }

    /// Starts a process that listens, and returns in it with what has failed; in
    /// the launcher-to-be at once, with nothing.
    fn listen(&self) -> Result<Option<io::Error>, Errno> {
        ftruncate(&self.report, 0)?;
        let (heard, told) = pipe_with(PipeFlags::CLOEXEC)?;
        if is_listener()? {
            drop(told);
            return Ok(Some(self.hear(&heard)));
        }
        sys::dup_onto(told, self.report.as_raw_fd())?;
        Ok(None)
    }

    /// What has failed. Ends the process where nothing has.
    fn hear(&self, heard: &OwnedFd) -> io::Error {
        let mut line = [0; MAX_LINE];
        let mut length = 0;
        while let Some(rest) = line.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match read(heard, rest) {
                Ok(count @ 1..) => length += count,
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => break,
            }
        }
        let line = line.get(..length).unwrap_or_default();
        if line.is_empty() {
            sys::exit_group(0);
        }
        // The number says the most of it.
        let _ = pwrite(&self.report, line, 0);
        io::Error::from_raw_os_error(errno_of(line).unwrap_or(Errno::PERM.raw_os_error()))
    }
}

/// Forks, twice, so that the launcher and what it becomes have no child that
/// they have not made; whether this is the one that was forked.
fn is_listener() -> Result<bool, Errno> {
    // Ignored, it would take the status away.
    sys::set_default_action(SIGCHLD)?;
    // SAFETY: the child forks and ends.
    let child = unsafe { sys::fork() }?;
    if child == 0 {
        // SAFETY: the child makes system calls only, here and in std's code,
        // which writes the error to its pipe and ends.
        match unsafe { sys::fork() } {
            Ok(0) => return Ok(true),
            other => sys::exit_group(i32::from(other.is_err())),
        }
    }
    loop {
        match waitpid(Pid::from_raw(child), WaitOptions::empty()) {
            Ok(Some((_, status))) if status.exit_status() == Some(0) => return Ok(false),
            Ok(None) | Err(Errno::INTR) => {}
            Ok(Some(_)) => return Err(Errno::AGAIN),
            Err(error) => return Err(error),
        }
    }
}

fn put_on_layers(sandbox: &Sandbox) -> io::Result<()> {
    sandbox.added().iter().try_for_each(|layer| layer.apply.apply())
}

/// The number of the error in the launcher's words, if it is the kernel's.
fn errno_of(line: &[u8]) -> Option<i32> {
    const KEY: &[u8] = b"\"errno\":";
    // Inside a string, its first quote would have a backslash before the second.
    let at = line.windows(KEY.len()).position(|window| window == KEY)?;
    let digits = line.get(at + KEY.len()..)?.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + i32::from(digit & 15)))
}

/// The environment that a command gives.
fn of_command(command: &mut Command) -> BTreeMap<OsString, OsString> {
    let inherits = !starts_empty(command);
    environment(inherits, command.get_envs())
}

/// Whether a command begins without variables, which std does not tell: then it
/// need not remember that one is removed.
fn starts_empty(command: &mut Command) -> bool {
    const NOBODYS: &str = "LAUNCHER_SPAWN_ASKS";
    command.env_remove(NOBODYS);
    !command.get_envs().any(|(name, _)| name == NOBODYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_whose_environment_was_cleared_is_known() {
        let mut command = Command::new("true");
        command.env("A", "1");
        assert!(!starts_empty(&mut command));
        assert_eq!(of_command(&mut command).get(OsStr::new("A")), Some(&"1".into()));
        assert!(of_command(&mut command).contains_key(OsStr::new("PATH")));
        command.env_clear().env("B", "2").env("C", "3").env_remove("C");
        assert!(starts_empty(&mut command));
        assert_eq!(of_command(&mut command), [("B".into(), "2".into())].into());
    }

    #[test]
    fn an_error_number_is_found_and_not_in_a_path() {
        let line = br#"{"event":"failure","path":"/\"errno\":9","errno":2,"status":127}"#;
        assert_eq!(errno_of(line), Some(2));
        assert_eq!(errno_of(br#"{"event":"failure","refused":"no"}"#), None);
    }
}
