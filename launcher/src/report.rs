//! Reports: a failure as a line for people, events as JSON lines.

use core::ffi::CStr;

use launcher_policy::enforce::{Guaranteed, Keeper};
use launcher_policy::exec::Cwd;
use launcher_policy::mounts::{Mount, Root, Source};
use launcher_policy::{Call, Failure, MAX_PATH, Policy, Refusal, Stage, Subject};
use linux_raw_sys::errno::ENOENT;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{BorrowedFd, RawFd};
use rustix::io::{Errno, write};

use crate::text::Text;
use crate::{Facility, Launch, errno, remedy, sys};

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

    /// The guarantee that is lost, and what would have to keep it.
    fn lost(&self, failure: &Failure) -> Option<(Guaranteed<'a>, Keeper<'a>)> {
        let policy = self.policy.filter(|_| failure.subject() == Subject::Guarantee)?;
        let lost = policy.enforce.guarantees.iter().nth(self.item)?;
        // Where a system call refused the namespaces, they are not there.
        let namespaces = policy.namespaces.is_some() && failure.error() == 0;
        Some((lost, lost.keeper(namespaces)))
    }
}

/// Says why a launch failed, on standard error and on the status descriptor.
///
/// Neither can be helped if it fails: the exit status still tells.
pub fn failure(failure: &Failure, words: &Words<'_>) {
    let subject = words.subject(failure);
    let lost = words.lost(failure);
    let remedy = remedy::of(failure);
    let mut line = Line::new();
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
    line.text("\n").write(2);

    let Some(status) = words.status else { return };
    let mut line = Line::new();
    line.text("{\"event\":\"failure\"").string("stage", Some(failure.stage().name().as_bytes()));
    line.string("call", Some(failure.call().name().as_bytes()));
    if failure.error() != 0 {
        line.text(",\"errno\":").number(failure.error().into());
        line.string("error", errno::name(failure.error()).map(str::as_bytes));
    }
    line.string("refused", failure.reason().map(|why| why.name().as_bytes()))
        .string("path", subject);
    line.string("hint", remedy.map(str::as_bytes));
    if let Some((lost, keeper)) = lost {
        line.text(",\"guarantee\":\"").text(lost.guarantee.name()).text("\",\"why\":\"");
        line.keeper(keeper, words.abi, Quotes::Json).text("\"");
    }
    line.text(",\"status\":").number(exit_status(failure).into());
    line.text("}\n").write(status);
}

/// `launch`: every layer is in force, and the command is about to run.
pub fn launched(launch: &Launch<'_>) {
    let Some(status) = launch.options.status else { return };
    let policy = launch.policy;
    // A policy may speak of PID 1 and make no namespace.
    let wanted = policy.namespaces.is_some_and(|namespaces| namespaces.flags != 0);
    let namespaces = wanted && !launch.shared.is_without_namespaces();
    let mut line = Line::new();
    line.text("{\"event\":\"launch\",\"version\":1,\"launcher\":\"").text(VERSION);
    line.text("\",\"rung\":\"").text(match (namespaces, crate::landlock::is_used(launch)) {
        (true, _) => "namespaces",
        (false, true) => "landlock",
        (false, false) => "seccomp",
    });
    line.text("\",\"landlock_abi\":").number(launch.abi.into());
    line.text(",\"layers\":{\"namespaces\":").layer(wanted, namespaces);
    line.text(",\"landlock\":").layer(policy.landlock.is_some(), crate::landlock::is_used(launch));
    line.text(",\"seccomp\":").layer(policy.seccomp.is_some(), true);
    line.text("},\"missing\":[");
    let mut first = true;
    for &facility in Facility::ALL {
        if launch.shared.misses(facility) {
            line.text(if first { "\"" } else { ",\"" }).text(facility.name()).text("\"");
            first = false;
        }
    }
    line.text("],\"die_with_parent\":\"").text(crate::session::dies_with(launch));
    line.text("\"}\n").write(status);
}

/// `exec`: the command runs.
pub fn executed(status: Option<RawFd>) {
    if let Some(status) = status {
        Line::new().text("{\"event\":\"exec\"}\n").write(status);
    }
}

/// How the command ended.
#[derive(Clone, Copy)]
pub enum Ending {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// The wall time was over.
    WallTime,
    /// Its caller ended.
    CallerEnded,
}

impl Ending {
    /// The launcher's exit status.
    pub const fn exit_status(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Signaled(signal) => 128 + signal,
            Self::WallTime => TIMED_OUT,
            Self::CallerEnded => 128 + linux_raw_sys::general::SIGKILL as i32,
        }
    }
}

/// `exit`: the command has ended.
pub fn ended(ending: Ending, status: Option<RawFd>) {
    let Some(status) = status else { return };
    let mut line = Line::new();
    line.text("{\"event\":\"exit\",\"ended_by\":");
    match ending {
        Ending::Exited(code) => line.text("\"exit\",\"code\":").number(code.into()),
        Ending::Signaled(signal) => line.text("\"signal\",\"signal\":").number(signal.into()),
        Ending::WallTime => line.text("\"wall_time\""),
        Ending::CallerEnded => line.text("\"caller\""),
    };
    line.text("}\n").write(status);
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

/// One line under construction. What does not fit is left out.
struct Line {
    text: Text<{ 6 * MAX_PATH + 2048 }>,
}

impl Line {
    const fn new() -> Self {
        Self { text: Text::new() }
    }

    fn push(&mut self, byte: u8) {
        self.text.bytes(&[byte]);
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.text.text(text);
        self
    }

    fn number(&mut self, number: i64) -> &mut Self {
        self.text.signed(number);
        self
    }

    /// `ENOENT (no such file or directory)`
    fn errno(&mut self, error: u16) -> &mut Self {
        match errno::words(error) {
            Some(words) => self.text(words),
            None => self.text("errno ").number(error.into()),
        }
    }

    /// A key with a string, behind other keys; nothing where there is none.
    fn string(&mut self, key: &str, value: Option<&[u8]>) -> &mut Self {
        match value {
            None => self,
            Some(value) => {
                self.text(",\"").text(key).text("\":\"");
                self.escaped(value, Quotes::Json).text("\"")
            }
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

    fn layer(&mut self, wanted: bool, enforced: bool) -> &mut Self {
        self.text(match (wanted, enforced) {
            (false, _) => "\"off\"",
            (true, true) => "\"enforced\"",
            (true, false) => "\"missing\"",
        })
    }

    fn escaped(&mut self, bytes: &[u8], quotes: Quotes) -> &mut Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
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
                    for digit in [byte >> 4, byte & 15] {
                        self.push(HEX.get(usize::from(digit)).copied().unwrap_or(b'?'));
                    }
                }
            }
        }
        self
    }

    /// Writes the line in one call, so that lines of several processes do not
    /// mix.
    fn write(&self, fd: RawFd) {
        let fd = sys::inherited(fd);
        let mut rest = self.text.as_bytes();
        while !rest.is_empty() && is_writable(fd) {
            // No more than a pipe takes that has room at all.
            let (part, _) = rest.split_at(rest.len().min(PIPE_BUF));
            match write(fd, part) {
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
            asked.revents().contains(PollFlags::OUT) && !asked.revents().contains(PollFlags::ERR)
        }
        // Where a filter forbids to ask, it can only be tried.
        Err(_) => true,
    }
}

/// What a pipe with room takes without blocking, pipe(7).
const PIPE_BUF: usize = 4096;

/// Seconds to wait for a reader before a line is dropped.
const PATIENCE: i64 = 1;
