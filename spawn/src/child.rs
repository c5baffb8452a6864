//! A command that was started.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
use std::time::Duration;

use policy_encoder::receipt::Receipt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Dir, DirEntry, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_send_signal, waitid};

use crate::Error;
use crate::start::Process;

/// A command in its sandbox, which may have ended.
///
/// As with [`std::process::Child`], dropping it neither ends the command nor
/// waits for it.
#[derive(Debug)]
pub struct Child {
    /// The end of the command's standard input, if it is piped.
    pub stdin: Option<ChildStdin>,
    /// The end of its standard output, if it is piped.
    pub stdout: Option<ChildStdout>,
    /// The end of its standard error, if it is piped.
    pub stderr: Option<ChildStderr>,
    pid: u32,
    pidfd: OwnedFd,
    status: Option<ExitStatus>,
    /// The cgroup below which the launcher has made one, where it was given.
    cgroup: Option<OwnedFd>,
    /// What the launcher writes of the launch, where that was asked for.
    events: Option<BufReader<File>>,
    /// What was read of that.
    read: String,
    /// The sockets at which the command finds its proxy, until they are taken.
    listeners: Vec<OwnedFd>,
}

impl Child {
    pub(crate) fn new(process: Process, [stdin, stdout, stderr]: [Option<OwnedFd>; 3]) -> Self {
        Self {
            stdin: stdin.map(Into::into),
            stdout: stdout.map(Into::into),
            stderr: stderr.map(Into::into),
            pid: process.pid.unsigned_abs(),
            pidfd: process.pidfd,
            status: None,
            cgroup: None,
            events: None,
            read: String::new(),
            listeners: Vec::new(),
        }
    }

    pub(crate) fn with_listeners(self, listeners: Vec<OwnedFd>) -> Self {
        Self { listeners, ..self }
    }

    pub(crate) fn with_events(mut self, events: Option<OwnedFd>) -> Self {
        self.events = events.map(|events| BufReader::new(events.into()));
        self
    }

    pub(crate) fn with_cgroup(self, cgroup: Option<OwnedFd>) -> Self {
        Self { cgroup, ..self }
    }

    /// The process id: of the command where nothing has to wait beside it, else
    /// of the launcher, which stands for it.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// A descriptor of the process of [`Child::id`], which becomes readable when
    /// that ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Takes the sockets at which the command finds its proxy, where the policy
    /// says `network.access = "proxy"`: they listen inside, and whoever has them
    /// accepts. The first is for HTTP, the second for SOCKS 5. What the policy
    /// allows and denies is then for the caller to keep. Where nobody takes them
    /// they go with this, and what the command asks for fails.
    pub fn listeners(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.listeners)
    }

    /// Waits for the end of the command, and closes its standard input first, so
    /// that it does not wait for more.
    ///
    /// # Errors
    ///
    /// waitid(2)
    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        drop(self.stdin.take());
        loop {
            if let Some(status) = self.ask(WaitIdOptions::EXITED)? {
                return Ok(status);
            }
        }
    }

    /// How the command ended, if it has.
    ///
    /// # Errors
    ///
    /// waitid(2)
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.ask(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// As [`Child::wait`], but not longer than this; `None` where it has not
    /// ended by then.
    ///
    /// # Errors
    ///
    /// poll(2), waitid(2)
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<ExitStatus>, Error> {
        drop(self.stdin.take());
        // A wait that is too long for the kernel's clock is for ever.
        let end = std::time::Instant::now().checked_add(timeout);
        while self.status.is_none() {
            let left = end.map(|end| end.saturating_duration_since(std::time::Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut asked = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut asked, left.as_ref()) {
                Ok(0) => return Ok(None),
                Ok(_) => return self.try_wait(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("cannot wait for the command")(error)),
            }
        }
        Ok(self.status)
    }

    /// Ends the command and, where it has a PID namespace or was born in a cgroup
    /// by [`Command::cgroup`](crate::Command::cgroup), everything that it
    /// started, by SIGKILL. One that has ended already is no error.
    ///
    /// # Errors
    ///
    /// pidfd_send_signal(2)
    pub fn kill(&mut self) -> Result<(), Error> {
        // The number is this child's until its status is taken.
        if let (Some(parent), None) = (&self.cgroup, self.status)
            && kill_group(parent, self.pid).is_ok()
        {
            // The launcher removes the group, and ends as the command has.
            return Ok(());
        }
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(Error::io("cannot kill the command")(error)),
        }
    }

    /// Waits for the command, and collects what it writes to the streams that are
    /// piped.
    ///
    /// # Errors
    ///
    /// read(2), waitid(2)
    pub fn wait_with_output(mut self) -> Result<Output, Error> {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let failed = || Error::io::<io::Error>("cannot read what the command writes");
        let (stdout, stderr) = std::thread::scope(|scope| {
            // A second thread only where there are two to read.
            let stderr = match (&stdout, stderr) {
                (Some(_), Some(stderr)) => Err(scope.spawn(|| read_all(stderr))),
                (None, Some(stderr)) => Ok(read_all(stderr)),
                (_, None) => Ok(Ok(Vec::new())),
            };
            let stdout = stdout.map_or(Ok(Vec::new()), read_all);
            let stderr = stderr.unwrap_or_else(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            (stdout, stderr)
        });
        let (stdout, stderr) = (stdout.map_err(failed())?, stderr.map_err(failed())?);
        Ok(Output { status: self.wait()?, stdout, stderr })
    }

    /// What the launcher has told of the launch and, after the command has been
    /// waited for, of its end; `None` unless
    /// [`Command::receipt`](crate::Command::receipt) asked for it.
    ///
    /// # Errors
    ///
    /// read(2), or where it makes no sense.
    pub fn receipt(&mut self) -> Result<Option<Receipt>, Error> {
        let Some(events) = &mut self.events else { return Ok(None) };
        let read = match self.status {
            Some(_) => events.read_to_string(&mut self.read),
            // What is enforced is the first line.
            None if self.read.is_empty() => events.read_line(&mut self.read),
            None => Ok(0),
        };
        read.map_err(Error::io("cannot read the launcher's events"))?;
        let wrong = |error| Error::io("cannot read the receipt")(io::Error::other(error));
        Receipt::parse(&self.read).map(Some).map_err(wrong)
    }

    fn ask(&mut self, options: WaitIdOptions) -> Result<Option<ExitStatus>, Error> {
        if self.status.is_none() {
            self.status = match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
                Ok(ended) => ended.map(|ended| exit_status(&ended)),
                Err(Errno::INTR) => None,
                Err(error) => return Err(Error::io("cannot wait for the command")(error)),
            };
        }
        Ok(self.status)
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd()
    }
}

/// Takes the status of a child that has ended or is about to.
pub(crate) fn reap(process: &Process) {
    let pidfd = WaitId::PidFd(process.pidfd.as_fd());
    while matches!(waitid(pidfd.clone(), WaitIdOptions::EXITED), Err(Errno::INTR)) {}
}

/// Ends everything in the cgroup that a launcher has made below this one, since
/// Linux 5.14.
fn kill_group(parent: &OwnedFd, launcher: u32) -> Result<(), Errno> {
    let name = format!("launcher-{launcher}-");
    let is_its = |entry: &DirEntry| entry.file_name().to_bytes().starts_with(name.as_bytes());
    let group = Dir::read_from(parent)?.flatten().find(is_its).ok_or(Errno::NOENT)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let group = openat(parent, group.file_name(), flags, Mode::empty())?;
    let kill = openat(group, c"cgroup.kill", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(kill, b"1").map(drop)
}

fn read_all(mut stream: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As wait(2) has it.
fn exit_status(ended: &WaitIdStatus) -> ExitStatus {
    let signal = ended.terminating_signal().map(|signal| {
        // WCOREFLAG
        if ended.dumped() { signal | 0x80 } else { signal }
    });
    let status = ended.exit_status().map(|status| status << 8);
    ExitStatus::from_raw(signal.or(status).unwrap_or_default())
}
