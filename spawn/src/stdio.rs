//! Standard streams.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::launcher::beyond_streams;

/// What a standard stream of a command is.
#[derive(Debug)]
pub struct Stdio(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Inherit,
    Null,
    Piped,
    Fd(OwnedFd),
}

impl Stdio {
    /// That of this program.
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// `/dev/null`.
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// A pipe, whose other end the [`Child`](crate::Child) has.
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }
}

/// A descriptor of one's own.
impl<F: Into<OwnedFd>> From<F> for Stdio {
    fn from(fd: F) -> Self {
        Self(Kind::Fd(fd.into()))
    }
}

/// Whether a stream is read or written by the command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// A stream for one command.
pub(crate) struct Opened {
    /// What the command gets; nothing where it inherits.
    pub(crate) inside: Option<Handle>,
    /// The other end of a pipe.
    pub(crate) outside: Option<OwnedFd>,
}

/// A descriptor on a number above the streams', which only this command needs
/// if it is owned.
pub(crate) enum Handle {
    Owned(OwnedFd),
    Lent(i32),
}

impl Handle {
    pub(crate) fn number(&self) -> i32 {
        match self {
            Self::Owned(fd) => fd.as_raw_fd(),
            Self::Lent(number) => *number,
        }
    }
}

impl Kind {
    /// Makes the stream.
    pub(crate) fn open(&self, direction: Direction) -> rustix::io::Result<Opened> {
        let (inside, outside) = match self {
            Self::Inherit => (None, None),
            Self::Null => {
                let flags = match direction {
                    Direction::Read => OFlags::RDONLY,
                    Direction::Write => OFlags::WRONLY,
                };
                let null = open(c"/dev/null", flags | OFlags::CLOEXEC, Mode::empty())?;
                (Some(Handle::Owned(beyond_streams(null)?)), None)
            }
            Self::Fd(fd) if fd.as_raw_fd() > 2 => (Some(Handle::Lent(fd.as_raw_fd())), None),
            Self::Fd(fd) => (Some(Handle::Owned(fcntl_dupfd_cloexec(fd, 3)?)), None),
            Self::Piped => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                let (inside, outside) = match direction {
                    Direction::Read => (read, write),
                    Direction::Write => (write, read),
                };
                (Some(Handle::Owned(beyond_streams(inside)?)), Some(outside))
            }
        };
        Ok(Opened { inside, outside })
    }
}
