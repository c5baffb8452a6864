//! One launch: how the policy is handed over, what is passed in, what came
//! out.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use policy_encoder::receipt::{Event, Exit, Launch, Receipt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{Binaries, Caller, Outcome, PATH, POLICY_FD, STATUS_FD, TIMEOUT};

/// The seals of a policy that nobody can change any more.
pub const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK);

const NO_SEALS: SealFlags = SealFlags::empty();

/// How the policy reaches the launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// `--sealed --fd N`, a sealed memfd. What is used where a test does not
    /// say.
    Sealed,
    /// `--fd N`, a regular file.
    File,
    /// `--fd N`, a pipe that ends behind the policy.
    Pipe,
    /// `--fd 3` where 3 is closed, and the policy in a pipe on standard input.
    Fallback,
    /// `--fd 0`, a pipe; what [`Sandbox::stdin`] says follows the policy.
    Input,
    /// `--policy FILE`
    PolicyFile,
    /// `--policy -`
    Dash,
    /// `encode-policy - | launcher --fd 3`, the real encoder.
    Encoder,
    /// `encode-policy run FILE`
    EncoderRun,
    /// `encode-policy run --preset NAME`, see [`Sandbox::of_preset`].
    Preset,
    /// Not at all: the test says it by [`Sandbox::option`].
    Nothing,
}

/// What runs in the sandbox's place.
#[derive(Clone)]
enum Policy {
    Text(String),
    Bytes(Vec<u8>),
    Outside,
}

/// A launch that is being described.
pub struct Sandbox {
    policy: Policy,
    probe: bool,
    handover: Handover,
    caller: Caller,
    wrapper: Vec<OsString>,
    options: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    input: Input,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    passed: Vec<(OwnedFd, i32)>,
    closed: Vec<i32>,
    timeout: Duration,
    binaries: Arc<Binaries>,
}

enum Input {
    Null,
    Bytes(Vec<u8>),
    From(OwnedFd),
}

impl Sandbox {
    /// Under a policy in TOML, called by whoever runs the tests.
    pub fn new(policy: &str) -> Self {
        Self::with(Policy::Text(policy.to_owned()))
    }

    /// Under a preset, as `encode-policy run --preset NAME` has it: without the
    /// probe.
    pub fn of_preset(name: &str) -> Self {
        let policy = Policy::Text(name.to_owned());
        Self { probe: false, handover: Handover::Preset, ..Self::with(policy) }
    }

    /// Under a policy that is encoded already, or that only looks so.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::with(Policy::Bytes(bytes.to_owned()))
    }

    /// Under none: the control of a negative check. Options are left out.
    pub fn outside() -> Self {
        Self::with(Policy::Outside)
    }

    fn with(policy: Policy) -> Self {
        let caller =
            if rustix::process::geteuid().is_root() { Caller::Root } else { Caller::Nobody };
        Self {
            policy,
            probe: true,
            handover: Handover::Sealed,
            caller,
            wrapper: Vec::new(),
            options: Vec::new(),
            environment: Vec::new(),
            directory: PathBuf::from("/"),
            input: Input::Null,
            output: None,
            errors: None,
            passed: Vec::new(),
            closed: Vec::new(),
            timeout: TIMEOUT,
            binaries: Binaries::shared(),
        }
    }

    /// Called by this user.
    #[must_use]
    pub fn caller(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    /// Called by nobody.
    #[must_use]
    pub fn as_nobody(self) -> Self {
        self.caller(Caller::Nobody)
    }

    /// The policy as it was written, without an entry for the probe.
    #[must_use]
    pub fn without_probe(mut self) -> Self {
        self.probe = false;
        self
    }

    /// How the policy is handed over.
    #[must_use]
    pub fn handover(mut self, handover: Handover) -> Self {
        self.handover = handover;
        self
    }

    /// One more argument of the launcher, before the `--`.
    #[must_use]
    pub fn option(mut self, option: impl Into<OsString>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Words in front of the launcher, such as `["strace", "-f"]`; they run as
    /// the caller.
    #[must_use]
    pub fn wrap<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.wrapper.extend(words.into_iter().map(Into::into));
        self
    }

    /// One more variable of the launcher's environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The launcher's working directory; relative paths of the policy start
    /// there, too.
    #[must_use]
    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Standard input: a pipe with these bytes in it.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Standard input: this descriptor.
    #[must_use]
    pub fn stdin_from(mut self, fd: impl Into<OwnedFd>) -> Self {
        self.input = Input::From(fd.into());
        self
    }

    /// Standard output: this descriptor; [`Output::stdout`] stays empty.
    #[must_use]
    pub fn stdout_to(mut self, fd: impl Into<OwnedFd>) -> Self {
        self.output = Some(fd.into());
        self
    }

    /// Standard error: this descriptor; [`Output::stderr`] stays empty.
    #[must_use]
    pub fn stderr_to(mut self, fd: impl Into<OwnedFd>) -> Self {
        self.errors = Some(fd.into());
        self
    }

    /// One more descriptor of the launcher, under this number.
    #[must_use]
    pub fn pass(mut self, fd: impl Into<OwnedFd>, number: i32) -> Self {
        self.passed.push((fd.into(), number));
        self
    }

    /// Closes one of the launcher's descriptors 0 to 9.
    #[must_use]
    pub fn close(mut self, number: i32) -> Self {
        self.closed.push(number);
        self
    }

    /// Another limit than [`TIMEOUT`], for what is known to take long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The binaries of this launch, for their paths.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The path of the probe, outside and inside.
    pub fn probe_path(&self) -> String {
        self.binaries.probe().to_string_lossy().into_owned()
    }

    /// Makes one call inside: `probe("open-for-write /data/note")`.
    ///
    /// # Panics
    ///
    /// As [`Sandbox::run`].
    #[track_caller]
    pub fn probe(&self, line: &str) -> Outcome {
        let mut outcomes = self.probes(&[line]);
        outcomes.remove(0)
    }

    /// Makes several calls in one launch, in order; one outcome for each.
    ///
    /// # Panics
    ///
    /// As [`Sandbox::run`].
    #[track_caller]
    pub fn probes(&self, lines: &[&str]) -> Vec<Outcome> {
        let probe = self.probe_path();
        let output = self.run(std::iter::once(probe.as_str()).chain(lines.iter().copied()));
        let text = output.stdout_text();
        let mut said = text.lines().map(Outcome::parse);
        lines
            .iter()
            .map(|_| said.next().flatten().unwrap_or_else(|| Outcome::Silent(output.clone())))
            .collect()
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    ///
    /// If it cannot be started, or takes too long.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Output {
        let file = memory(b"", NO_SEALS);
        let own = self.output.as_ref().unwrap_or(&file).try_clone().expect("dup");
        let output = file.try_clone().expect("dup");
        self.spawn(command, Stdio::from(own), Stream::File(File::from(output))).wait()
    }

    /// Starts a command to talk to: standard output is a pipe, and so is
    /// standard input where the test does not say otherwise.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Running {
        match &self.output {
            Some(output) => {
                let own = output.try_clone().expect("dup");
                self.spawn(command, Stdio::from(own), Stream::File(memory(b"", NO_SEALS).into()))
            }
            None => {
                let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe is made");
                self.spawn(command, Stdio::from(writer), Stream::Pipe(File::from(reader)))
            }
        }
    }

    #[track_caller]
    fn spawn<S: AsRef<OsStr>>(
        &self,
        command: impl IntoIterator<Item = S>,
        stdout: Stdio,
        stream: Stream,
    ) -> Running {
        let errors = memory(b"", NO_SEALS);
        let given = self.hand_over(&errors);
        let arguments = self.arguments(&given).into_iter();
        let words: Vec<OsString> =
            arguments.chain(command.into_iter().map(|word| word.as_ref().to_owned())).collect();
        let (program, arguments) = words.split_first().expect("there is a command");
        let status = memory(b"", NO_SEALS);
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .stdin(given.stdin.unwrap_or_else(|| self.stdin_of(&stream)))
            .stdout(stdout)
            .stderr(self.errors.as_ref().unwrap_or(&errors).try_clone().expect("dup"));
        self.caller.apply(&mut command);
        let mut mappings: Vec<FdMapping> = given
            .passed
            .into_iter()
            .chain([(status.try_clone().expect("dup"), STATUS_FD)])
            .map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd })
            .collect();
        for (fd, number) in &self.passed {
            let parent_fd = fd.try_clone().expect("dup");
            mappings.push(FdMapping { parent_fd, child_fd: *number });
        }
        command.fd_mappings(mappings).expect("no number is used twice");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}"));
        let pid = Pid::from_raw(child.id().try_into().expect("a process id")).expect("not 0");
        Running {
            input: child.stdin.take().map(|input| File::from(OwnedFd::from(input))),
            pidfd: pidfd_open(pid, PidfdFlags::empty()).expect("a pidfd is opened"),
            child,
            stream,
            errors: errors.into(),
            status: status.into(),
            timeout: self.timeout,
            encoder: given.encoder,
            _file: given.file,
            _binaries: Arc::clone(&self.binaries),
        }
    }

    fn stdin_of(&self, stream: &Stream) -> Stdio {
        match &self.input {
            Input::Null if matches!(stream, Stream::Pipe(_)) => Stdio::piped(),
            Input::Null => Stdio::null(),
            Input::Bytes(bytes) => pipe_of(bytes).into(),
            Input::From(fd) => fd.try_clone().expect("dup").into(),
        }
    }

    /// Everything in front of the command.
    fn arguments(&self, given: &Given) -> Vec<OsString> {
        let mut words = self.wrapper.clone();
        if !self.closed.is_empty() {
            let close: String = self.closed.iter().map(|fd| format!(" {fd}<&-")).collect();
            words.extend(["sh", "-c"].map(Into::into));
            words.extend([format!("exec \"$@\"{close}").into(), "sh".into()]);
        }
        if matches!(self.policy, Policy::Outside) {
            return words;
        }
        match self.handover {
            Handover::EncoderRun | Handover::Preset => {
                words.extend([self.binaries.encoder().into(), "run".into()]);
            }
            _ => words.push(self.binaries.launcher().into()),
        }
        words.extend(given.arguments.iter().cloned());
        if !self.options.iter().any(|option| option.as_bytes().starts_with(b"--status-fd")) {
            words.push(format!("--status-fd={STATUS_FD}").into());
        }
        words.extend(self.options.iter().cloned());
        words.push("--".into());
        words
    }

    /// Prepares the policy's way to the launcher.
    #[track_caller]
    fn hand_over(&self, errors: &OwnedFd) -> Given {
        let number = POLICY_FD.to_string();
        match self.handover {
            _ if matches!(self.policy, Policy::Outside) => Given::default(),
            Handover::Nothing => Given::default(),
            Handover::Sealed => {
                Given::on(memory(&self.bytes(), SEALS), ["--sealed", "--fd", &number])
            }
            Handover::File => Given::on(memory(&self.bytes(), NO_SEALS), ["--fd", &number]),
            Handover::Pipe => Given::on(pipe_of(&self.bytes()), ["--fd", &number]),
            Handover::Fallback => Given::on_input(&self.bytes(), ["--fd", "3"]),
            Handover::Dash => Given::on_input(&self.bytes(), ["--policy", "-"]),
            Handover::Input => {
                let mut bytes = self.bytes();
                if let Input::Bytes(more) = &self.input {
                    bytes.extend_from_slice(more);
                }
                Given::on_input(&bytes, ["--fd", "0"])
            }
            Handover::PolicyFile => {
                let file = crate::TempDir::new().file("policy.bin", self.bytes());
                let path = file.join("policy.bin").to_string_lossy().into_owned();
                Given { file: Some(file), ..Given::say(["--policy", &path]) }
            }
            Handover::EncoderRun => {
                let file = crate::TempDir::new().file("policy.toml", self.text());
                let path = file.join("policy.toml").to_string_lossy().into_owned();
                Given { file: Some(file), ..Given::say([path.as_str()]) }
            }
            Handover::Preset => Given::say(["--preset", &self.text()]),
            Handover::Encoder => self.pipeline(errors),
        }
    }

    /// The real encoder, with its output in a pipe.
    #[track_caller]
    fn pipeline(&self, errors: &OwnedFd) -> Given {
        let mut command = Command::new(self.binaries.encoder());
        command
            .arg("-")
            .env_clear()
            .env("PATH", PATH)
            .current_dir(&self.directory)
            .stdin(pipe_of(self.text().as_bytes()))
            .stdout(Stdio::piped())
            .stderr(errors.try_clone().expect("dup"));
        self.caller.apply(&mut command);
        let mut encoder = command.spawn().expect("the encoder is started");
        let output = encoder.stdout.take().expect("a pipe");
        Given { stdin: Some(output.into()), encoder: Some(encoder), ..Given::say(["--fd", "3"]) }
    }

    #[track_caller]
    fn text(&self) -> String {
        match &self.policy {
            Policy::Text(text) if self.probe => crate::with_probe(text, &self.binaries.probe()),
            Policy::Text(text) => text.clone(),
            Policy::Bytes(_) | Policy::Outside => panic!("this policy is not text"),
        }
    }

    #[track_caller]
    fn bytes(&self) -> Vec<u8> {
        match &self.policy {
            Policy::Bytes(bytes) => bytes.clone(),
            _ => crate::encode_in(&self.text(), &self.directory),
        }
    }
}

/// A policy on its way.
#[derive(Default)]
struct Given {
    arguments: Vec<OsString>,
    passed: Vec<(OwnedFd, i32)>,
    stdin: Option<Stdio>,
    encoder: Option<Child>,
    file: Option<crate::TempDir>,
}

impl Given {
    fn say<const N: usize>(arguments: [&str; N]) -> Self {
        Self { arguments: arguments.map(Into::into).into(), ..Self::default() }
    }

    fn on<const N: usize>(fd: OwnedFd, arguments: [&str; N]) -> Self {
        Self { passed: vec![(fd, POLICY_FD)], ..Self::say(arguments) }
    }

    fn on_input<const N: usize>(bytes: &[u8], arguments: [&str; N]) -> Self {
        Self { stdin: Some(pipe_of(bytes).into()), ..Self::say(arguments) }
    }
}

/// Where standard output goes.
enum Stream {
    File(File),
    Pipe(File),
}

/// A launch under way. It is killed when this goes out of scope.
pub struct Running {
    child: Child,
    pidfd: OwnedFd,
    input: Option<File>,
    stream: Stream,
    errors: File,
    status: File,
    timeout: Duration,
    encoder: Option<Child>,
    _file: Option<crate::TempDir>,
    _binaries: Arc<Binaries>,
}

impl Running {
    /// The process id of the launcher, or of what stands in front of it.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// A pidfd of the same process.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Sends a signal to the same process.
    ///
    /// # Panics
    ///
    /// If that fails.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).expect("a signal is sent");
    }

    /// Writes to standard input.
    ///
    /// # Panics
    ///
    /// If it is no pipe of ours, or closed on the other side.
    #[track_caller]
    pub fn write(&mut self, text: &str) {
        let input = self.input.as_mut().expect("standard input is a pipe");
        input.write_all(text.as_bytes()).expect("the command reads");
    }

    /// Closes standard input.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// The next line of standard output, without its newline; what there is
    /// at its end.
    ///
    /// # Panics
    ///
    /// If it takes too long, or standard output is no pipe.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let Stream::Pipe(pipe) = &mut self.stream else { panic!("standard output is no pipe") };
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            assert!(is_ready(&pipe, self.timeout), "no line came; so far {line:?}");
            match pipe.read(&mut byte).expect("a pipe is read") {
                1 if byte != *b"\n" => line.extend_from_slice(&byte),
                _ => return String::from_utf8_lossy(&line).into_owned(),
            }
        }
    }

    /// What standard error has so far.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&content(&self.errors)).into_owned()
    }

    /// What the status descriptor has so far.
    pub fn events(&self) -> Vec<serde_json::Value> {
        events(&self.status)
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If it takes too long; it is killed then.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        self.input = None;
        if !is_ready(&self.pidfd, self.timeout) {
            let said = self.stderr_text();
            self.kill();
            panic!("the launch did not end in {:?}; it said {said:?}", self.timeout);
        }
        let status = self.child.wait().expect("a child is waited for");
        if let Some(encoder) = &mut self.encoder {
            encoder.wait().expect("the encoder is waited for");
        }
        Output {
            status,
            stdout: self.stream.rest(),
            stderr: content(&self.errors),
            events: events(&self.status),
        }
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = self.child.wait();
        if let Some(mut encoder) = self.encoder.take() {
            let _ = encoder.kill();
            let _ = encoder.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
        }
    }
}

impl Stream {
    /// What is there now; a process that holds a pipe open is not waited for.
    fn rest(&mut self) -> Vec<u8> {
        let pipe = match self {
            Self::File(file) => return content(file),
            Self::Pipe(pipe) => pipe,
        };
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        while is_ready(&pipe, Duration::ZERO) {
            match pipe.read(&mut buffer).expect("a pipe is read") {
                0 => break,
                count => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            }
        }
        bytes
    }
}

/// What a launch left behind.
#[derive(Clone, PartialEq, Eq)]
pub struct Output {
    /// How the launcher ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// The lines of the status descriptor.
    pub events: Vec<serde_json::Value>,
}

impl Output {
    /// The exit status; 128 + the signal where one ended it, as a shell has it.
    pub fn code(&self) -> i32 {
        self.status.code().or(self.status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
    }

    /// The signal that ended the launcher itself.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Standard output as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// That the command succeeded and wrote exactly these lines.
    ///
    /// # Panics
    ///
    /// If it did not.
    #[track_caller]
    pub fn assert_said(&self, lines: &[&str]) {
        assert_eq!(self.code(), 0, "{self:?}");
        assert_eq!(self.stdout_text().lines().collect::<Vec<_>>(), lines, "{self:?}");
    }

    /// Standard error as text.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The first event of this name.
    pub fn event(&self, name: &str) -> Option<&serde_json::Value> {
        self.events.iter().find(|event| event["event"] == name)
    }

    /// The names of the events, in order.
    pub fn event_names(&self) -> Vec<&str> {
        self.events.iter().filter_map(|event| event["event"].as_str()).collect()
    }

    /// What the launch enforced, as its own line says.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn launch(&self) -> Launch {
        self.receipt().launch.unwrap_or_else(|| panic!("no launch event: {self:?}"))
    }

    /// How the command ended.
    ///
    /// # Panics
    ///
    /// If nobody has waited for it.
    #[track_caller]
    pub fn exit(&self) -> Exit {
        self.receipt().exit.unwrap_or_else(|| panic!("no exit event: {self:?}"))
    }

    /// The events, as those read them who embed the launcher.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn receipt(&self) -> Receipt {
        let lines: Vec<String> = self.events.iter().map(ToString::to_string).collect();
        Receipt::parse(&lines.join("\n")).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The failure's event.
    ///
    /// # Panics
    ///
    /// If the launch did not fail, or something else was said, too.
    #[track_caller]
    pub fn failure(&self) -> &serde_json::Value {
        let failure = self.event("failure").unwrap_or_else(|| panic!("no failure: {self:?}"));
        // The line about the launch comes before the filter, and no sooner.
        let before: &[&str] = if failure["stage"] == "seccomp" { &["launch"] } else { &[] };
        assert_eq!(self.event_names(), [before, &["failure"]].concat(), "{self:?}");
        failure
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "{}", self.status)?;
        writeln!(formatter, "stdout: {:?}", self.stdout_text())?;
        writeln!(formatter, "stderr: {:?}", self.stderr_text())?;
        self.events.iter().try_for_each(|event| writeln!(formatter, "event: {event}"))
    }
}

/// A file in memory with this content and these seals; its offset is 0.
///
/// # Panics
///
/// If it cannot be made.
pub fn memory(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(memfd_create(c"e2e", flags).expect("a memfd is made"));
    file.write_all_at(bytes, 0).expect("a memfd is written");
    fcntl_add_seals(&file, seals).expect("a memfd is sealed");
    file.into()
}

/// The reading end of a pipe that holds these bytes and ends behind them.
///
/// # Panics
///
/// If it cannot be made.
pub fn pipe_of(bytes: &[u8]) -> OwnedFd {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe is made");
    if bytes.len() > 65536 {
        fcntl_setpipe_size(&writer, bytes.len()).expect("a pipe is made larger");
    }
    File::from(writer).write_all(bytes).expect("a pipe is written");
    reader
}

fn content(file: &File) -> Vec<u8> {
    let length = file.metadata().expect("a file has metadata").len();
    let mut bytes = vec![0; usize::try_from(length).expect("a length")];
    file.read_exact_at(&mut bytes, 0).expect("a memfd is read");
    bytes
}

fn events(status: &File) -> Vec<serde_json::Value> {
    let text = String::from_utf8(content(status)).expect("the status is text");
    text.lines()
        .map(|line| {
            let written: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            let read: Event =
                serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
            // Or there would be keys that no document has.
            assert_eq!(serde_json::json!(read), written, "not all of it is read");
            written
        })
        .collect()
}

/// Whether something is there to read, or a process has ended, within a time.
///
/// # Panics
///
/// If it cannot be waited for.
pub fn is_ready(fd: &impl AsFd, timeout: Duration) -> bool {
    let end = std::time::Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        let left = Timespec::try_from(left).expect("a timeout");
        match poll(&mut [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)], Some(&left)) {
            Ok(ready) => return ready > 0,
            Err(Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}
