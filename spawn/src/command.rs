//! A command that is yet to run.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::sync::atomic::AtomicI32;

use launcher::sys;
use linux_raw_sys::general::SIGKILL;
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::held::{Joined, answer};
use crate::in_place::{Decoded, InPlace, Outcome};
use crate::launcher::{beyond_streams, is_program};
use crate::sandbox::{Prepared, apart};
use crate::start::{Process, Program, Start};
use crate::stdio::{Direction, Kind, Opened};
use crate::strings::{Strings, c_string};
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
        let (process, events) = match &prepared {
            Some(prepared) => self.launch(prepared, &fds)?,
            None => (self.run(&fds)?, None),
        };
        // The command has them; a reader at the other end waits for the last.
        drop(fds);
        let mut ends = streams.into_iter().map(|stream| stream.outside);
        let ends = std::array::from_fn(|_| ends.next().flatten());
        let mut child = Child::new(process, ends).with_events(events);
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
    fn launch(&self, prepared: &Prepared, fds: &Fds) -> Result<(Process, Option<OwnedFd>), Error> {
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
        if let Some(policy) = prepared.in_place()
            && joined.options().next().is_none()
            && let Some(process) = self.launch_in_place(policy, prepared.ruleset(), fds, status)?
        {
            return Ok((process, events));
        }
        Ok((self.launch_by_program(prepared, &joined, fds, status)?, events))
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
        let process = self.start_as(Program::InPlace(&in_place), Vec::new(), fds, &kept);
        let process = process.map_err(wrong())?;
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
        status: Option<RawFd>,
    ) -> Result<Process, Error> {
        let pipe = fds.pipe().map_err(Error::io("cannot make a pipe to the launcher"));
        let (errors, errors_inside) = pipe?;
        let own = [
            Some(("--fd", prepared.memfd())),
            Some(("--error-fd", errors_inside.as_raw_fd())),
            status.map(|status| ("--status-fd", status)),
        ];
        let own = || own.into_iter().flatten().chain(joined.options());
        let mut argv = vec!["launcher".to_owned(), "--sealed".to_owned()];
        argv.extend(own().map(|(option, number)| format!("{option}={number}")));
        argv.push("--".to_owned());
        let process = self.start_as(
            Program::Launcher(prepared.program()),
            argv,
            fds,
            &own().map(|(_, number)| number).collect::<Vec<_>>(),
        );
        let process = process.map_err(Error::io("cannot run the launcher"))?;
        drop(errors_inside);
        answer(errors).inspect_err(|_| {
            // Nothing else is known of what runs.
            let _ = sys::pidfd_send_signal(&process.pidfd, SIGKILL);
            crate::child::reap(&process);
        })?;
        Ok(process)
    }

    /// Runs the program itself.
    fn run(&self, fds: &Fds) -> Result<Process, Error> {
        let wrong = || Error::io(format!("cannot run {}", self.program.display()));
        let path = self.look_up().and_then(|path| c_string(path.as_ref())).map_err(wrong())?;
        self.start_as(Program::Path(&path), Vec::new(), fds, &[]).map_err(wrong())
    }

    /// Starts a child that executes a program, with arguments before its own.
    fn start_as(
        &self,
        program: Program<'_>,
        before: Vec<String>,
        fds: &Fds,
        kept: &[RawFd],
    ) -> Result<Process, Errno> {
        let own = std::iter::once(&self.program).chain(&self.arguments);
        let argv = before.iter().map(OsStr::new).chain(own.map(OsString::as_os_str));
        let argv: Vec<CString> = argv.map(c_string).collect::<Result<_, _>>()?;
        let variables = self.environment().map(|(name, value)| {
            let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
            c_string(OsStr::from_bytes(&variable))
        });
        let envp: Vec<CString> = variables.collect::<Result<_, _>>()?;
        let directory = self.directory.as_ref().map(|path| c_string(path.as_ref())).transpose()?;
        let argv = Strings::new(argv.iter().map(CString::as_c_str));
        let envp = Strings::new(envp.iter().map(CString::as_c_str));
        let start = Start {
            program,
            argv: argv.as_c(),
            envp: envp.as_c(),
            directory: directory.as_deref(),
            moved: &fds.moved,
            kept,
            failed: AtomicI32::new(0),
        };
        start.run()
    }

    /// The environment that the child begins with.
    fn environment(&self) -> impl Iterator<Item = (OsString, OsString)> {
        let inherited = self.inherits.then(std::env::vars_os).into_iter().flatten();
        let mut all: BTreeMap<OsString, OsString> = inherited.collect();
        for (name, value) in &self.variables {
            match value {
                Some(value) => all.insert(name.clone(), value.clone()),
                None => all.remove(name),
            };
        }
        all.into_iter()
    }

    /// Where the program is, by the `PATH` that it gets.
    fn look_up(&self) -> Result<PathBuf, Errno> {
        if self.program.as_bytes().contains(&b'/') {
            return Ok(PathBuf::from(&self.program));
        }
        let path = self.environment().find(|(name, _)| name == "PATH").map(|(_, path)| path);
        std::env::split_paths(&path.unwrap_or_default())
            .map(|directory| directory.join(&self.program))
            .find(|path| is_program(path))
            .ok_or(Errno::NOENT)
    }
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

    /// A pipe, the second end of which nothing moves onto.
    fn pipe(&self) -> Result<(OwnedFd, OwnedFd), Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let is_taken = |number| self.moved.iter().any(|(_, to)| *to == number);
        Ok((read, apart(beyond_streams(write)?, is_taken)?))
    }
}

/// Puts a process id into a file, which never holds a part of it.
fn write_pid(path: &Path, pid: u32) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    fs::write(&part, format!("{pid}\n"))?;
    fs::rename(&part, path)
}
