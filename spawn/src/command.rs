//! A command that is yet to run.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::sync::atomic::{AtomicI32, AtomicUsize};

use launcher::serve::request;
use launcher::sys;
use linux_raw_sys::general::SIGKILL;
use policy_encoder::handover::Listeners;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, fcntl_dupfd_cloexec, fcntl_getfd};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::held::{Joined, answer};
use crate::in_place::{Decoded, InPlace, Outcome};
use crate::launcher::{apart, beyond_streams, is_program};
use crate::sandbox::Prepared;
use crate::server::{Request, Server};
use crate::start::{Process, Program, Start};
use crate::stdio::{Direction, Kind, Opened};
use crate::strings::{Strings, c_string, c_strings, variables};
use crate::supervised::Supervision;
use crate::{Child, Error, Sandbox, Stdio};

/// A program with its arguments and surroundings, to be run in a sandbox.
///
/// It reads like [`std::process::Command`]. What reaches the command of the
/// environment and of the descriptors is what the policy lets through of what
/// is given here.
#[derive(Debug)]
pub struct Command {
    sandbox: Sandbox,
    program: OsString,
    arguments: Vec<OsString>,
    /// Whether it begins with this program's environment.
    inherits: bool,
    /// What is set, or not there.
    variables: BTreeMap<OsString, Option<OsString>>,
    directory: Option<PathBuf>,
    streams: [Option<Stdio>; 3],
    fds: Vec<(OwnedFd, RawFd)>,
    cgroup: Option<OwnedFd>,
    pid_file: Option<PathBuf>,
    receipt: bool,
    fresh: bool,
}

impl Command {
    pub(crate) fn new(sandbox: Sandbox, program: &OsStr) -> Self {
        Self {
            sandbox,
            program: program.to_owned(),
            arguments: Vec::new(),
            inherits: true,
            variables: BTreeMap::new(),
            directory: None,
            streams: [None, None, None],
            fds: Vec::new(),
            cgroup: None,
            pid_file: None,
            receipt: false,
            fresh: false,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.arguments.extend(arguments.into_iter().map(|each| each.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.variables.insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Sets variables of the environment.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Removes a variable.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.variables.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Removes all variables.
    pub fn env_clear(&mut self) -> &mut Self {
        self.inherits = false;
        self.variables.clear();
        self
    }

    /// Sets the working directory, in which the policy's own may start.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets standard input: that of this program by default, with
    /// [`Command::output`] nothing.
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.stream(0, stream.into())
    }

    /// Sets standard output: that of this program by default, with
    /// [`Command::output`] a pipe.
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.stream(1, stream.into())
    }

    /// Sets standard error, as [`Command::stdout`].
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.stream(2, stream.into())
    }

    fn stream(&mut self, number: usize, stream: Stdio) -> &mut Self {
        if let Some(place) = self.streams.get_mut(number) {
            *place = Some(stream);
        }
        self
    }

    /// Hands over a descriptor under a number that the policy passes on
    /// (`process.keep_fds`) or mounts (`fd = ...`).
    pub fn fd(&mut self, number: RawFd, fd: impl Into<OwnedFd>) -> &mut Self {
        self.fds.retain(|(_, other)| *other != number);
        self.fds.push((fd.into(), number));
        self
    }

    /// Has the command be born in a cgroup of its own below this one, a directory
    /// of cgroup version 2 that this program may make groups in. It binds the
    /// policy's limits to the whole tree, and goes with it.
    pub fn cgroup(&mut self, directory: impl Into<OwnedFd>) -> &mut Self {
        self.cgroup = Some(directory.into());
        self
    }

    /// Has [`Command::spawn`] write the process id, in decimal and with a newline,
    /// to a file that is complete when it returns.
    pub fn pid_file(&mut self, path: impl AsRef<Path>) -> &mut Self {
        self.pid_file = Some(path.as_ref().to_owned());
        self
    }

    /// Asks the launcher for a receipt, see [`Child::receipt`].
    pub fn receipt(&mut self, wanted: bool) -> &mut Self {
        self.receipt = wanted;
        self
    }

    /// Has everything made for this command alone, whatever its sandbox has
    /// prepared.
    pub fn fresh(&mut self, wanted: bool) -> &mut Self {
        self.fresh = wanted;
        self
    }

    /// Starts the command. It runs when this returns.
    ///
    /// # Errors
    ///
    /// Why the sandbox could not be made, or the program not be run in it.
    pub fn spawn(&mut self) -> Result<Child, Error> {
        self.start([Kind::Inherit, Kind::Inherit, Kind::Inherit])
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`] and [`Child::wait`].
    pub fn status(&mut self) -> Result<ExitStatus, Error> {
        self.spawn()?.wait()
    }

    /// Runs the command to its end and collects what it writes.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`] and [`Child::wait_with_output`].
    pub fn output(&mut self) -> Result<Output, Error> {
        self.start([Kind::Null, Kind::Piped, Kind::Piped])?.wait_with_output()
    }

    fn start(&self, default: [Kind; 3]) -> Result<Child, Error> {
        let prepared = self.sandbox.prepared()?;
        let mut streams = Vec::with_capacity(3);
        for ((given, default), direction) in self.streams.iter().zip(&default).zip(DIRECTIONS) {
            let kind = given.as_ref().map_or(default, |stream| &stream.0);
            streams.push(kind.open(direction).map_err(Error::io("cannot make a standard stream"))?);
        }
        let fds = Fds::new(&streams, &self.fds).map_err(Error::io("cannot pass descriptors on"))?;
        let listeners = self.sandbox.has_proxy().then(|| fds.listeners()).transpose();
        let listeners = listeners.map_err(Error::io("cannot make a socket to the launcher"))?;
        let (listeners, theirs) = listeners.unzip();
        let (process, events) = match &prepared {
            Some(prepared) => self.launch(prepared, &fds, theirs.as_ref())?,
            None if self.cgroup.is_some() => {
                return Err(Error::policy("a cgroup takes a policy, and there is none"));
            }
            None => (self.run(&fds)?, None),
        };
        // The command has them; a reader at the other end waits for the last.
        drop(fds);
        let mut ends = streams.into_iter().map(|stream| stream.outside);
        let ends = std::array::from_fn(|_| ends.next().flatten());
        let cgroup = self.cgroup.as_ref().and_then(|directory| directory.try_clone().ok());
        let mut child = Child::new(process, ends).with_events(events).with_cgroup(cgroup);
        drop(theirs);
        // They were sent before the command began.
        match listeners.map_or(Ok(Vec::new()), Listeners::receive) {
            Ok(sockets) => child = child.with_listeners(sockets),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(Error::io("cannot take the sockets of the proxy")(error));
            }
        }
        if let Some(path) = &self.pid_file
            && let Err(error) = write_pid(path, child.id())
        {
            child.kill()?;
            child.wait()?;
            return Err(Error::io(format!("cannot write {}", path.display()))(error));
        }
        Ok(child)
    }

    /// Launches the command, and returns when it runs. The launcher's events can
    /// be read from the descriptor, where they were asked for.
    fn launch(
        &self,
        prepared: &Prepared,
        fds: &Fds,
        listeners: Option<&OwnedFd>,
    ) -> Result<(Process, Option<OwnedFd>), Error> {
        if let Some((_, number)) = self.fds.iter().find(|(_, number)| !self.sandbox.takes(*number))
        {
            return Err(Error::policy(format!(
                "the policy passes no descriptor {number} on; process.keep_fds would"
            )));
        }
        let pipe = || fds.pipe().map_err(Error::io("cannot make a pipe to the launcher"));
        let (events, inside) = self.receipt.then(pipe).transpose()?.unzip();
        let status = inside.as_ref().map(AsRawFd::as_raw_fd);
        let joined = if self.fresh { Ok(Joined::default()) } else { self.sandbox.join(prepared) };
        let joined = joined?;
        if let Some(server) = prepared.server().filter(|_| !self.fresh) {
            return Ok((self.launch_by_server(server, &joined, fds, status)?, events));
        }
        if let Some(policy) = prepared.in_place()
            && self.cgroup.is_none()
            && joined.options().next().is_none()
            && let Some(process) = self.launch_in_place(policy, prepared.ruleset(), fds, status)?
        {
            return Ok((process, events));
        }
        let passed = [
            status.map(|status| ("--status-fd", status)),
            listeners.map(|listeners| ("--listeners-fd", listeners.as_raw_fd())),
        ];
        Ok((self.launch_by_program(prepared, &joined, fds, &passed)?, events))
    }

    /// Goes through the stages here; `None` where something has to wait beside
    /// the command after all.
    fn launch_in_place(
        &self,
        policy: &Decoded,
        ruleset: Option<RawFd>,
        fds: &Fds,
        status: Option<RawFd>,
    ) -> Result<Option<Process>, Error> {
        let wrong = || Error::io(format!("cannot run {}", self.program.display()));
        let command = c_string(&self.program).map_err(wrong())?;
        let in_place = InPlace::new(policy, ruleset, &command, status);
        let kept: Vec<RawFd> = status.into_iter().collect();
        let process =
            self.start_as(Program::InPlace(&in_place), Vec::new(), fds, &kept, wrong())?;
        match in_place.finish() {
            Outcome::Running => Ok(Some(process)),
            ended => {
                crate::child::reap(&process);
                match ended {
                    Outcome::Failed(error) => Err(error),
                    Outcome::Running | Outcome::NeedsWaiter => Ok(None),
                }
            }
        }
    }

    /// Runs the launcher.
    fn launch_by_program(
        &self,
        prepared: &Prepared,
        joined: &Joined<'_>,
        fds: &Fds,
        passed: &[Option<(&'static str, RawFd)>],
    ) -> Result<Process, Error> {
        let pipe = fds.pipe().map_err(Error::io("cannot make a pipe to the launcher"));
        let (errors, errors_inside) = pipe?;
        let cgroup = self.cgroup.as_ref().map(|directory| fds.duplicate(directory)).transpose();
        let cgroup = cgroup.map_err(Error::io("cannot pass the cgroup on"))?;
        let begin =
            |supervision: &Supervision| supervision.begin().and_then(|fd| Ok(fds.apart(fd)?));
        let notify = self.sandbox.supervision.as_ref().map(begin).transpose();
        let notify = notify.map_err(Error::io("cannot supervise the command"))?;
        let own = [
            Some(("--fd", prepared.memfd())),
            Some(("--error-fd", errors_inside.as_raw_fd())),
            cgroup.as_ref().map(|cgroup| ("--cgroup-fd", cgroup.as_raw_fd())),
            notify.as_ref().map(|notify| ("--notify-fd", notify.as_raw_fd())),
        ];
        let own = || own.iter().chain(passed).copied().flatten().chain(joined.options());
        let mut argv = vec!["launcher".to_owned(), "--sealed".to_owned()];
        argv.extend(own().map(|(option, number)| format!("{option}={number}")));
        argv.push("--".to_owned());
        let process = self.start_as(
            Program::Launcher(prepared.program()),
            argv,
            fds,
            &own().map(|(_, number)| number).collect::<Vec<_>>(),
            Error::io("cannot run the launcher"),
        )?;
        drop((errors_inside, notify));
        listen(process, errors)
    }

    /// Asks the server.
    fn launch_by_server(
        &self,
        server: &Server,
        joined: &Joined<'_>,
        fds: &Fds,
        status: Option<RawFd>,
    ) -> Result<Process, Error> {
        if let Some(layer) = self.sandbox.added().first() {
            return Err(Error::policy(format!(
                "the layer {} is put on by a child of this program, not of a spawn server; \
                 Command::fresh takes one",
                layer.name
            )));
        }
        if self.sandbox.supervision.is_some() {
            return Err(Error::policy(
                "nobody decides about the calls of a spawn server's commands; Command::fresh takes \
                 a supervisor",
            ));
        }
        if self.sandbox.has_proxy() {
            return Err(Error::policy(
                "a spawn server hands out no sockets of a proxy; Command::fresh does",
            ));
        }
        let pipe = fds.pipe().map_err(Error::io("cannot make a pipe to the launcher"));
        let (errors, errors_inside) = pipe?;
        let directory = self.open_directory()?;
        let own = [
            (Some(directory.as_raw_fd()), request::DIRECTORY),
            (Some(errors_inside.as_raw_fd()), request::ERRORS),
            (status, request::STATUS),
            (joined.pooled(), request::NETWORK),
            (self.cgroup.as_ref().map(AsRawFd::as_raw_fd), request::CGROUP),
        ];
        let own = own.into_iter().filter_map(|(fd, purpose)| Some((fd?, purpose)));
        let passed: Vec<_> = own.chain(fds.all()).collect();
        let wrong = || Error::io(format!("cannot run {}", self.program.display()));
        let arguments = std::iter::once(&self.program).chain(&self.arguments);
        let arguments = c_strings(arguments.map(OsString::as_os_str)).map_err(wrong())?;
        let variables = variables(self.environment()).map_err(wrong())?;
        let request = Request { arguments: &arguments, variables: &variables, fds: &passed };
        let process = server.launch(&request, &errors, errors_inside)?;
        listen(process, errors)
    }

    /// Where the command starts.
    fn open_directory(&self) -> Result<OwnedFd, Error> {
        let directory = self.directory.as_deref().unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(directory, flags, Mode::empty())
            .map_err(Error::io(format!("cannot enter {}", directory.display())))
    }

    /// Runs the program itself.
    fn run(&self, fds: &Fds) -> Result<Process, Error> {
        let wrong = || Error::io(format!("cannot run {}", self.program.display()));
        let path = self.look_up().and_then(|path| c_string(path.as_ref())).map_err(wrong())?;
        self.start_as(Program::Path(&path), Vec::new(), fds, &[], wrong())
    }

    /// Starts a child that executes a program, with arguments before its own.
    fn start_as(
        &self,
        program: Program<'_>,
        before: Vec<String>,
        fds: &Fds,
        kept: &[RawFd],
        wrong: impl FnOnce(Errno) -> Error,
    ) -> Result<Process, Error> {
        let strings = || -> Result<_, Errno> {
            let own = std::iter::once(&self.program).chain(&self.arguments);
            let argv = before.iter().map(OsStr::new).chain(own.map(OsString::as_os_str));
            let directory = self.directory.as_ref().map(|path| c_string(path.as_ref()));
            Ok((c_strings(argv)?, variables(self.environment())?, directory.transpose()?))
        };
        let (argv, envp, directory) = match strings() {
            Ok(strings) => strings,
            Err(error) => return Err(wrong(error)),
        };
        let argv = Strings::new(argv.iter().map(CString::as_c_str));
        let envp = Strings::new(envp.iter().map(CString::as_c_str));
        let start = Start {
            program,
            argv: argv.as_c(),
            envp: envp.as_c(),
            directory: directory.as_deref(),
            moved: &fds.moved,
            kept,
            layers: self.sandbox.added(),
            failed: AtomicI32::new(0),
            failed_layer: AtomicUsize::new(0),
        };
        start.run().map_err(|error| match start.failed_layer() {
            Some(layer) => Error::io(format!("cannot put on the layer {}", layer.name))(error),
            None => wrong(error),
        })
    }

    /// The environment that the child begins with.
    fn environment(&self) -> BTreeMap<OsString, OsString> {
        let changes = self.variables.iter();
        environment(self.inherits, changes.map(|(name, value)| (&**name, value.as_deref())))
    }

    /// Where the program is, by the `PATH` that it gets.
    fn look_up(&self) -> Result<PathBuf, Errno> {
        if self.program.as_bytes().contains(&b'/') {
            return Ok(PathBuf::from(&self.program));
        }
        let path = self.environment().remove(OsStr::new("PATH")).unwrap_or_default();
        std::env::split_paths(&path)
            .map(|directory| directory.join(&self.program))
            .find(|path| is_program(path))
            .ok_or(Errno::NOENT)
    }
}

/// This program's environment, or none, with variables set or removed.
pub(crate) fn environment<'a>(
    inherits: bool,
    changes: impl Iterator<Item = (&'a OsStr, Option<&'a OsStr>)>,
) -> BTreeMap<OsString, OsString> {
    let inherited = inherits.then(std::env::vars_os).into_iter().flatten();
    let mut all: BTreeMap<OsString, OsString> = inherited.collect();
    for (name, value) in changes {
        match value {
            Some(value) => all.insert(name.to_owned(), value.to_owned()),
            None => all.remove(name),
        };
    }
    all
}

/// How the standard streams are used.
const DIRECTIONS: [Direction; 3] = [Direction::Read, Direction::Write, Direction::Write];

/// The descriptors of one command, by the numbers that they get in it.
struct Fds {
    /// From where to where; nothing moves onto what is yet to be moved.
    moved: Vec<(RawFd, RawFd)>,
    /// Open until the command has them.
    _duplicates: Vec<OwnedFd>,
}

impl Fds {
    fn new(streams: &[Opened], given: &[(OwnedFd, RawFd)]) -> Result<Self, Errno> {
        let streams = streams
            .iter()
            .zip(0..)
            .filter_map(|(stream, number)| Some((stream.inside.as_ref()?.number(), number)));
        let given = given.iter().map(|(fd, number)| (fd.as_raw_fd(), *number));
        let mut moved: Vec<(RawFd, RawFd)> = streams.chain(given).collect();
        let numbers: Vec<RawFd> = moved.iter().map(|(_, to)| *to).collect();
        let mut duplicates = Vec::new();
        for (from, _) in &mut moved {
            if numbers.contains(from) {
                let free = numbers.iter().max().map_or(3, |highest| (highest + 1).max(3));
                let duplicate = fcntl_dupfd_cloexec(sys::inherited(*from), free)?;
                *from = duplicate.as_raw_fd();
                duplicates.push(duplicate);
            }
        }
        Ok(Self { moved, _duplicates: duplicates })
    }

    /// What moves, and the standard streams that are inherited, if they are open.
    fn all(&self) -> impl Iterator<Item = (RawFd, RawFd)> {
        let is_moved = |number: &RawFd| self.moved.iter().any(|(_, to)| to == number);
        let is_open = |number: &RawFd| fcntl_getfd(sys::inherited(*number)).is_ok();
        let inherited = (0..3).filter(move |number| !is_moved(number) && is_open(number));
        self.moved.iter().copied().chain(inherited.map(|number| (number, number)))
    }

    /// A pipe, the second end of which nothing moves onto.
    fn pipe(&self) -> Result<(OwnedFd, OwnedFd), Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((read, self.apart(write)?))
    }

    /// A socket at which the launcher's listening sockets arrive, and its end.
    fn listeners(&self) -> Result<(Listeners, OwnedFd), Errno> {
        let (ours, theirs) = Listeners::pair()?;
        Ok((ours, self.apart(theirs)?))
    }

    /// The same file on a number that nothing moves onto.
    fn duplicate(&self, fd: &OwnedFd) -> Result<OwnedFd, Errno> {
        self.apart(fcntl_dupfd_cloexec(fd, 3)?)
    }

    fn apart(&self, fd: OwnedFd) -> Result<OwnedFd, Errno> {
        apart(beyond_streams(fd)?, |number| self.moved.iter().any(|(_, to)| *to == number))
    }
}

/// Waits until the command runs.
///
/// # Errors
///
/// Why it does not.
fn listen(process: Process, errors: OwnedFd) -> Result<Process, Error> {
    answer(errors).inspect_err(|_| {
        // Nothing else is known of what runs.
        let _ = sys::pidfd_send_signal(&process.pidfd, SIGKILL);
        crate::child::reap(&process);
    })?;
    Ok(process)
}

/// Puts a process id into a file, which never holds a part of it.
fn write_pid(path: &Path, pid: u32) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    fs::write(&part, format!("{pid}\n"))?;
    fs::rename(&part, path)
}
