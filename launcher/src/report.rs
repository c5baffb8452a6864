//! Reports: a failure as a line for people, events as JSON lines.

use heapless::Vec;
use launcher_policy::{Failure, MAX_PATH, Reason, Stage};
use rustix::fd::RawFd;
use rustix::io::{Errno, write};

use crate::{Facility, Launch, sys};

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

/// The name of the call that runs the command.
pub const EXECVE: &str = "execve";

/// Makes a [`Failure`] of a system call's error.
pub fn failed(stage: Stage, call: &'static str) -> impl Fn(Errno) -> Failure<'static> {
    move |error| Failure::errno(stage, call, error.raw_os_error())
}

/// The status that a failure ends with.
pub fn exit_status(failure: &Failure<'_>) -> i32 {
    match failure.reason {
        _ if failure.stage != Stage::Exec || failure.call != EXECVE => FAILED,
        Reason::Errno(error) if error == Errno::NOENT.raw_os_error() => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    }
}

/// Says why a launch failed, on standard error and on the status descriptor.
///
/// Neither can be helped if it fails: the exit status still tells.
pub fn failure(failure: &Failure<'_>, status: Option<RawFd>) {
    let mut line = Line::new();
    line.text("launcher: ").text(failure.stage.name()).text(": ").text(failure.call);
    if let Some(path) = failure.path {
        line.text(" \"").escaped(path, Quotes::People).text("\"");
    }
    line.text(": ");
    match failure.reason {
        Reason::Errno(error) => line.errno(error),
        Reason::Refused(why) => line.text(why),
    };
    if let Some(hint) = failure.hint {
        line.text("; ").text(hint);
    }
    line.text("\n").write(2);

    let Some(status) = status else { return };
    let mut line = Line::new();
    line.text("{\"event\":\"failure\",\"stage\":\"").text(failure.stage.name());
    line.text("\",\"call\":\"").text(failure.call).text("\"");
    match failure.reason {
        Reason::Errno(error) => {
            line.text(",\"errno\":").number(error.into());
            if let Some(name) = syscalls::Errno::new(error).name() {
                line.text(",\"error\":\"").text(name).text("\"");
            }
        }
        Reason::Refused(why) => {
            line.text(",\"refused\":\"").escaped(why.as_bytes(), Quotes::Json).text("\"");
        }
    }
    if let Some(path) = failure.path {
        line.text(",\"path\":\"").escaped(path, Quotes::Json).text("\"");
    }
    if let Some(hint) = failure.hint {
        line.text(",\"hint\":\"").escaped(hint.as_bytes(), Quotes::Json).text("\"");
    }
    line.text(",\"status\":").number(exit_status(failure).into());
    line.text("}\n").write(status);
}

/// `launch`: every layer is in force, and the command is about to run.
pub fn launched(launch: &Launch<'_>) {
    let Some(status) = launch.options.status else { return };
    let policy = &launch.policy;
    let namespaces = policy.namespaces.is_some() && !launch.shared.is_without_namespaces();
    let mut line = Line::new();
    line.text("{\"event\":\"launch\",\"version\":1,\"launcher\":\"").text(VERSION);
    line.text("\",\"rung\":\"").text(match (namespaces, crate::landlock::is_used(launch)) {
        (true, _) => "namespaces",
        (false, true) => "landlock",
        (false, false) => "seccomp",
    });
    line.text("\",\"landlock_abi\":").number(launch.abi.into());
    line.text(",\"layers\":{\"namespaces\":").layer(policy.namespaces.is_some(), namespaces);
    line.text(",\"landlock\":")
        .layer(policy.landlock.is_some(), crate::landlock::is_used(launch));
    line.text(",\"seccomp\":").layer(policy.seccomp.is_some(), true);
    line.text("},\"missing\":[");
    let mut first = true;
    for (facility, name) in Facility::ALL {
        if launch.shared.misses(facility) {
            line.text(if first { "\"" } else { ",\"" }).text(name).text("\"");
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
    bytes: Vec<u8, { 6 * MAX_PATH + 2048 }>,
}

impl Line {
    const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    fn push(&mut self, byte: u8) {
        // A full line loses its end, never its start.
        let _ = self.bytes.push(byte);
    }

    fn text(&mut self, text: &str) -> &mut Self {
        text.bytes().for_each(|byte| self.push(byte));
        self
    }

    fn number(&mut self, number: i64) -> &mut Self {
        if number < 0 {
            self.push(b'-');
        }
        let mut digits = [0_u8; 20];
        let mut rest = number.unsigned_abs();
        let mut from = digits.len();
        for (place, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            from = place;
            if rest == 0 {
                break;
            }
        }
        digits.iter().skip(from).for_each(|&digit| self.push(digit));
        self
    }

    /// `ENOENT (No such file or directory)`
    fn errno(&mut self, error: i32) -> &mut Self {
        let error_number = syscalls::Errno::new(error);
        match (error_number.name(), error_number.description()) {
            (Some(name), Some(words)) => self.text(name).text(" (").text(words).text(")"),
            _ => self.text("errno ").number(error.into()),
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
        let mut rest = self.bytes.as_slice();
        while !rest.is_empty() {
            match write(sys::inherited(fd), rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                // A reader that is gone does not stop a launch.
                Err(_) => break,
            }
        }
    }
}
