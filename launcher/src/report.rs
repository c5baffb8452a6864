//! Reports: a failure as a line for people and as an event, and how lines are
//! made and written.

use core::ffi::CStr;

use heapless::VecView;
use launcher_policy::enforce::{Guaranteed, Keeper};
use launcher_policy::exec::Cwd;
use launcher_policy::limits::Rlimit;
use launcher_policy::mounts::{Mount, Root, Source};
use launcher_policy::{Call, Failure, MAX_PATH, Policy, Refusal, Stage, Subject};
use linux_raw_sys::errno::ENOENT;
use linux_raw_sys::general::RLIMIT_FSIZE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{BorrowedFd, RawFd};
use rustix::io::{Errno, write};

use crate::sys::SignalSet;
use crate::text::{Text, append, digits};
use crate::{Launch, errno, receipt, remedy, sys};

/// The launcher's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What `--version` prints.
pub const VERSION_LINE: &str = concat!("launcher ", env!("CARGO_PKG_VERSION"), "\n");

/// Exit status of a launch that was refused or failed.
pub const FAILED: i32 = 125;
/// Exit status when the command cannot be executed, as of env(1).
pub const NOT_EXECUTABLE: i32 = 126;
/// Exit status when the command does not exist.
pub const NOT_FOUND: i32 = 127;
/// Exit status when the wall time is over, as of timeout(1).
pub const TIMED_OUT: i32 = 124;

/// Makes a [`Failure`] of a system call's error.
pub fn failed(stage: Stage, call: Call) -> impl Fn(Errno) -> Failure {
    move |error| Failure::errno(stage, call, error.raw_os_error())
}

/// The status that a failure ends with.
pub fn exit_status(failure: &Failure) -> i32 {
    match u32::from(failure.error()) {
        _ if !matches!(failure.call(), Call::Execve | Call::Execveat) => FAILED,
        ENOENT => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    }
}

/// Where the words of a failure are found.
#[derive(Clone, Copy, Default)]
pub struct Words<'a> {
    /// The argument of the launcher that is being read.
    pub argument: Option<&'a CStr>,
    /// The policy, once it is decoded.
    pub policy: Option<&'a Policy<'a>>,
    /// Which item of its lists is being applied.
    pub item: usize,
    /// The kernel's Landlock ABI.
    pub abi: u32,
    /// The command.
    pub command: Option<&'a CStr>,
    /// Where the events are written.
    pub status: Option<RawFd>,
    /// Where a failure is written, instead of to standard error.
    pub errors: Option<RawFd>,
}

impl<'a> Words<'a> {
    /// Those of a launch that has begun.
    pub fn of(launch: &'a Launch<'_>) -> Self {
        Self {
            argument: None,
            policy: Some(launch.policy),
            item: launch.shared.item(),
            abi: launch.abi,
            command: Some(launch.command),
            status: launch.options.status,
            errors: launch.options.errors,
        }
    }

    /// The path or word that a failure is about.
    fn subject(&self, failure: &Failure) -> Option<&'a [u8]> {
        let mounts = self.policy.and_then(|policy| policy.mounts.as_ref());
        let mount = || mounts?.mounts.iter().nth(self.item);
        Some(match failure.subject() {
            Subject::None | Subject::Guarantee => return None,
            Subject::Command => self.command?.to_bytes(),
            Subject::Argument => self.argument?.to_bytes(),
            Subject::Target => mount()?.target.to_bytes(),
            Subject::Source => match mount()? {
                Mount { source: Source::Host { path, .. }, .. } => path.to_bytes(),
                other => other.target.to_bytes(),
            },
            Subject::Rule => mounts?.rules.iter().nth(self.item)?.path.to_bytes(),
            Subject::Carved => mounts?.carved.iter().nth(self.item)?.path.to_bytes(),
            Subject::Node => mounts?.skeleton.iter().nth(self.item)?.path.to_bytes(),
            Subject::Root => match mounts?.root {
                Root::Tree { path, .. } => path.to_bytes(),
                Root::Host { .. } | Root::Skeleton => b"/",
            },
            Subject::Cwd => match self.policy?.exec.cwd {
                Cwd::Path(path) => path.to_bytes(),
                Cwd::Launch => return None,
            },
            path => path.name().as_bytes(),
        })
    }

    /// Whether the command's files have a limit, which may be in force.
    fn limits_files(&self) -> bool {
        let is_limit = |limit: Rlimit| u32::from(limit.resource) == RLIMIT_FSIZE;
        self.policy.is_some_and(|policy| policy.limits.rlimits.iter().any(is_limit))
    }

    /// The guarantee that is lost, and what would have to keep it.
    fn lost(&self, failure: &Failure) -> Option<(Guaranteed<'a>, Keeper<'a>)> {
        let policy = self.policy.filter(|_| failure.subject() == Subject::Guarantee)?;
        let lost = policy.enforce.guarantees.iter().nth(self.item)?;
        // Where a system call refused the namespaces, they are not there.
        let namespaces = policy.namespaces.is_some() && failure.error() == 0;
        Some((lost, lost.keeper(namespaces)))
    }
}

/// Says why a launch failed, on standard error or the descriptor in its place,
/// and on the status descriptor.
///
/// None can be helped if it fails: the exit status still tells.
pub fn failure(failure: &Failure, words: &Words<'_>) {
    if words.limits_files() {
        // A line past the limit is lost, but the status is not, which that of
        // SIGXFSZ would replace.
        let _ = sys::set_signal_mask(SignalSet::ALL);
    }
    if words.errors.is_none() {
        tell(failure, words);
    }
    if words.errors.is_some() || words.status.is_some() {
        note(failure, words);
    }
}

/// The line for people.
fn tell(failure: &Failure, words: &Words<'_>) {
    let subject = words.subject(failure);
    let lost = words.lost(failure);
    let remedy = remedy::of(failure);
    let mut memory = Quoting::new();
    let mut line = Line::new(&mut memory);
    line.text("launcher: ").text(failure.stage().name()).text(": ").text(failure.call().name());
    if let Some(subject) = subject {
        line.text(" \"").escaped(subject, Quotes::People).text("\"");
    }
    line.text(": ");
    if failure.error() != 0 {
        line.errno(failure.error());
    }
    for (text, first) in
        [(failure.reason().map(Refusal::name), failure.error() == 0), (remedy, false)]
    {
        if let Some(text) = text {
            line.text(if first { "" } else { "; " }).text(text);
        }
    }
    if let Some((lost, keeper)) = lost {
        line.text("; what is lost is \"").text(lost.guarantee.name()).text("\": ");
        line.keeper(keeper, words.abi, Quotes::People);
    }
    line.text("\n").write(2, None);
}

/// The event, on the descriptors that it is for.
fn note(failure: &Failure, words: &Words<'_>) {
    let mut memory = Quoting::new();
    let line = event(failure, words, &mut memory);
    for fd in [words.status, words.errors].into_iter().flatten() {
        line.write(fd, None);
    }
}

/// The event of a failure as a line of JSON.
pub fn describe<'m>(failure: &Failure, words: &Words<'_>, memory: &'m mut Quoting) -> &'m [u8] {
    event(failure, words, memory).text
}

fn event<'m>(failure: &Failure, words: &Words<'_>, memory: &'m mut Quoting) -> Line<'m> {
    let subject = words.subject(failure);
    let mut line = Line::new(memory);
    line.event("failure").count("version", receipt::VERSION);
    line.word("stage", failure.stage().name()).word("call", failure.call().name());
    if failure.error() != 0 {
        line.count("errno", failure.error().into());
        line.string("error", errno::name(failure.error()).map(str::as_bytes));
    }
    line.string("refused", failure.reason().map(|why| why.name().as_bytes()))
        .string("path", subject);
    line.string("hint", remedy::of(failure).map(str::as_bytes));
    if let Some((lost, keeper)) = words.lost(failure) {
        line.word("guarantee", lost.guarantee.name());
        line.key("why").text("\"").keeper(keeper, words.abi, Quotes::Json).text("\"");
    }
    line.count("status", exit_status(failure).into()).text("}\n");
    line
}

/// For whom bytes are made printable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// `\xNN`, as a shell's `$'...'` has it.
    People,
    /// `\u00NN`: JSON has no bytes, so those beyond ASCII that are not UTF-8
    /// are shown as the Latin-1 characters of the same number.
    Json,
}

/// Room for a line that quotes a path, every byte of which may take six.
pub type Quoting = Text<{ 6 * MAX_PATH + 2048 }>;

/// One line under construction. What does not fit is left out.
pub(crate) struct Line<'m> {
    text: &'m mut VecView<u8>,
}

impl<'m> Line<'m> {
    /// A line in this memory, no more of which is touched than it takes.
    pub(crate) fn new<const N: usize>(memory: &'m mut Text<N>) -> Self {
        Self { text: memory.view() }
    }

    /// Begins an event, to be sent when all of its keys are there.
    pub(crate) fn event(&mut self, name: &str) -> &mut Self {
        self.text("{").word("event", name)
    }

    /// What there is.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text
    }

    fn push(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        append(self.text, bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn number(&mut self, number: i64) -> &mut Self {
        if number < 0 {
            self.text("-");
        }
        digits(self.text, number.unsigned_abs(), 10);
        self
    }

    /// What stands between the values of an object or a list.
    fn comma(&mut self) -> &mut Self {
        match self.text.as_slice() {
            [.., b'{' | b'['] => self,
            _ => self.text(","),
        }
    }

    /// A key, whose value follows.
    pub(crate) fn key(&mut self, key: &str) -> &mut Self {
        self.comma().text("\"").text(key).text("\":")
    }

    /// A key with a number.
    pub(crate) fn count(&mut self, key: &str, value: i64) -> &mut Self {
        self.key(key).number(value)
    }

    /// A key with a word of our own.
    pub(crate) fn word(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key).text("\"").text(value).text("\"")
    }

    /// A key with a string; nothing where there is none.
    pub(crate) fn string(&mut self, key: &str, value: Option<&[u8]>) -> &mut Self {
        match value {
            None => self,
            Some(value) => {
                self.key(key).text("\"");
                self.escaped(value, Quotes::Json).text("\"")
            }
        }
    }

    /// A key with an error: its name, else its number; `null` for none.
    pub(crate) fn answer(&mut self, key: &str, error: u16) {
        self.key(key);
        match errno::name(error) {
            Some(name) => self.text("\"").text(name).text("\""),
            None if error == 0 => self.text("null"),
            None => self.number(error.into()),
        };
    }

    /// A word of our own in a list.
    pub(crate) fn item(&mut self, word: &str) {
        self.comma().text("\"").text(word).text("\"");
    }

    /// A key with bytes in hexadecimal.
    pub(crate) fn hex(&mut self, key: &str, bytes: &[u8]) -> &mut Self {
        self.key(key).text("\"");
        bytes.iter().for_each(|&byte| self.hex_digits(byte));
        self.text("\"")
    }

    fn hex_digits(&mut self, byte: u8) {
        let digit = |digit: u8| digit + if digit < 10 { b'0' } else { b'a' - 10 };
        self.bytes(&[digit(byte >> 4), digit(byte & 15)]);
    }

    /// `ENOENT (no such file or directory)`
    pub(crate) fn errno(&mut self, error: u16) -> &mut Self {
        match errno::words(error) {
            Some(words) => self.text(words),
            None => self.text("errno ").number(error.into()),
        }
    }

    /// Why what would have to keep a guarantee does not.
    fn keeper(&mut self, keeper: Keeper<'_>, abi: u32, quotes: Quotes) -> &mut Self {
        match keeper {
            Keeper::Nothing(why) => self.escaped(why.to_bytes(), quotes),
            Keeper::Landlock(needed) => {
                self.text("it takes Landlock ABI ").number(needed.into());
                self.text(", and this kernel has ").number(abi.into())
            }
            Keeper::Namespaces | Keeper::Seccomp => self,
        }
    }

    fn escaped(&mut self, bytes: &[u8], quotes: Quotes) -> &mut Self {
        let readable = quotes == Quotes::Json && core::str::from_utf8(bytes).is_ok();
        for &byte in bytes {
            match byte {
                b'"' | b'\\' => {
                    self.push(b'\\');
                    self.push(byte);
                }
                b' '..=b'~' => self.push(byte),
                0x80.. if readable => self.push(byte),
                _ => {
                    self.text(if quotes == Quotes::Json { "\\u00" } else { "\\x" });
                    self.hex_digits(byte);
                }
            }
        }
        self
    }

    /// Ends an event and writes it, with a descriptor where it goes to a
    /// socket and there is one.
    pub(crate) fn send(&mut self, fd: RawFd, passed: Option<BorrowedFd<'_>>) {
        self.text("}\n").write(fd, passed);
    }

    /// Writes the line in one call, so that lines of several processes do not
    /// mix.
    fn write(&self, fd: RawFd, mut passed: Option<BorrowedFd<'_>>) {
        let fd = sys::inherited(fd);
        let mut rest = self.text.as_slice();
        while !rest.is_empty() && is_writable(fd) {
            // No more than a pipe takes that has room at all.
            let (part, _) = rest.split_at(rest.len().min(PIPE_BUF));
            let written = match passed.take() {
                // A line is worth more than what comes with it.
                passed @ Some(_) => {
                    sys::send_with(fd, part, passed.as_slice()).or_else(|_| write(fd, part))
                }
                None => write(fd, part),
            };
            match written {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
    }
}

/// Whether somebody reads what is written. One who is gone does not stop a
/// launch, which SIGPIPE would, and one who is asleep does not hold it up.
fn is_writable(fd: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let timeout = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
    match poll(&mut asked, Some(&timeout)) {
        Ok(_) => {
            let [asked] = asked;
            // A pipe says ERR, a socket HUP.
            asked.revents() & (PollFlags::OUT | PollFlags::ERR | PollFlags::HUP) == PollFlags::OUT
        }
        // Where a filter forbids to ask, it can only be tried.
        Err(_) => true,
    }
}

/// What a pipe with room takes without blocking, pipe(7).
const PIPE_BUF: usize = 4096;

/// Seconds to wait for a reader before a line is dropped.
const PATIENCE: i64 = 1;
