//! What became of an attack, and how one is made.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use crate::check::Check;
use crate::errno::errno_name;
use crate::sys;
use crate::world::World;

/// What became of an attack; its text is what `battery attack` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It had its effect.
    Allowed,
    /// A call failed.
    Errno(i32),
    /// Its process was ended.
    Signal(i32),
    /// Every call succeeded, and nothing outside noticed.
    NoEffect,
    /// Its process did not end in time.
    Timeout,
}

/// Why an attack did not succeed.
#[derive(Debug)]
pub enum Refused {
    /// A call failed.
    Errno(i32),
    /// Nothing outside noticed.
    NoEffect,
}

/// How long one attack may take, in milliseconds.
const LIMIT: i32 = 10_000;

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// Makes one check in a process of its own.
///
/// # Errors
///
/// pipe(2), fork(2), waitpid(2)
pub fn attack(check: &Check, world: &World) -> io::Result<Outcome> {
    let (answer, writer) = io::pipe()?;
    let Some(child) = sys::fork()? else {
        let outcome = match (check.attack)(world) {
            Ok(()) => Outcome::Allowed,
            Err(Refused::Errno(errno)) => Outcome::Errno(errno),
            Err(Refused::NoEffect) => Outcome::NoEffect,
        };
        let said = (&writer).write_all(outcome.to_string().as_bytes());
        sys::exit(i32::from(said.is_err()));
    };
    drop(writer);
    // Readable, or hung up.
    if !sys::is_ready(&answer, LIMIT)? {
        sys::kill(child, libc::SIGKILL)?;
        sys::wait(child)?;
        return Ok(Outcome::Timeout);
    }
    let text = io::read_to_string(answer)?;
    let status = sys::wait(child)?;
    // It said nothing: a signal ended it.
    Ok(text.parse().unwrap_or(Outcome::Signal(status & 0x7f)))
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed => formatter.write_str("ALLOWED"),
            Self::Errno(errno) => write!(formatter, "BLOCKED {}", errno_name(*errno)),
            Self::Signal(signal) => write!(formatter, "BLOCKED signal {signal}"),
            Self::NoEffect => formatter.write_str("BLOCKED without effect"),
            Self::Timeout => formatter.write_str("TIMEOUT"),
        }
    }
}

impl FromStr for Outcome {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "ALLOWED" => return Ok(Self::Allowed),
            "BLOCKED without effect" => return Ok(Self::NoEffect),
            "TIMEOUT" => return Ok(Self::Timeout),
            _ => {}
        }
        let how = text.strip_prefix("BLOCKED ").ok_or(())?;
        match how.strip_prefix("signal ") {
            Some(signal) => signal.parse().map(Self::Signal).map_err(drop),
            None => crate::errno::errno_of(how).map(Self::Errno).ok_or(()),
        }
    }
}
