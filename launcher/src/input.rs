//! Input: read the policy from a descriptor.
//!
//! Nothing has happened yet, so every refusal here is free. Of a pipe or a
//! socket exactly one frame is read, so that what follows belongs to the
//! command.

use launcher_policy::wire::{self, DecodeError, HEADER, MAX_FRAME};
use launcher_policy::{Call, Failure, Policy, Refusal, Stage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, SealFlags, fcntl_get_seals, fstat};
use rustix::io::{Errno, pread, read};

use crate::report::failed;

const STAGE: Stage = Stage::Input;

/// How the policy's descriptor is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A pipe, a socket or a regular file that holds one frame.
    Any,
    /// As `Any`, and what follows the frame in a file is the command's.
    Shared,
    /// A sealed memfd that holds one frame; its offset is not used.
    Sealed,
}

/// Reads one frame from `fd` within `deadline` seconds and decodes it.
///
/// # Errors
///
/// What is wrong with the descriptor or with the bytes.
pub fn apply<'m>(
    fd: BorrowedFd<'_>,
    form: Form,
    deadline: u32,
    memory: &'m mut [u8; MAX_FRAME],
) -> Result<Policy<'m>, Failure> {
    let stat = fstat(fd).map_err(failed(STAGE, Call::Fstat))?;
    let length = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if form == Form::Sealed => sealed(fd, stat.st_size, memory)?,
        _ if form == Form::Sealed => return Err(refused(Refusal::IsNoMemfd)),
        FileType::RegularFile => file(fd, form, memory)?,
        FileType::Fifo | FileType::Socket => stream(fd, deadline, memory)?,
        FileType::Directory => return Err(refused(Refusal::IsDirectory)),
        FileType::CharacterDevice => {
            return Err(refused(Refusal::IsDevice));
        }
        _ => return Err(refused(Refusal::IsNoFile)),
    };
    let frame = memory.get(..length).unwrap_or_default();
    wire::decode(frame).map_err(undecodable)
}

/// A memfd that nobody can change any more, read at offset 0.
fn sealed(fd: BorrowedFd<'_>, size: i64, memory: &mut [u8; MAX_FRAME]) -> Result<usize, Failure> {
    let wanted = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK;
    let seals = fcntl_get_seals(fd).map_err(failed(STAGE, Call::Fcntl))?;
    if !seals.contains(wanted) {
        return Err(refused(Refusal::NotSealed));
    }
    let length = fit(size)?;
    let buffer = memory.get_mut(..length).unwrap_or_default();
    match pread(fd, buffer, 0).map_err(failed(STAGE, Call::Pread))? {
        read if read == length => Ok(length),
        _ => Err(undecodable(DecodeError::Truncated)),
    }
}

/// A regular file, read at its offset.
fn file(fd: BorrowedFd<'_>, form: Form, memory: &mut [u8; MAX_FRAME]) -> Result<usize, Failure> {
    if form == Form::Shared {
        return read_frame(memory, |buffer| read(fd, buffer));
    }
    // Whatever follows in a file that is only the policy's is an accident,
    // which decoding notices.
    match read(fd, memory.as_mut_slice()) {
        Ok(0) => Err(undecodable(DecodeError::Empty)),
        Ok(length) => Ok(length),
        Err(error) => Err(failed(STAGE, Call::Read)(error)),
    }
}

/// A pipe or a socket, read against a deadline.
fn stream(
    fd: BorrowedFd<'_>,
    deadline: u32,
    memory: &mut [u8; MAX_FRAME],
) -> Result<usize, Failure> {
    let end = now() + u64::from(deadline) * 1000;
    read_frame(memory, |buffer| {
        let left = end.saturating_sub(now());
        let timeout =
            Timespec { tv_sec: (left / 1000) as i64, tv_nsec: (left % 1000 * 1_000_000) as i64 };
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => Err(Errno::TIMEDOUT),
            Ok(_) => read(fd, buffer),
            Err(error) => Err(error),
        }
    })
}

/// Reads a header and then exactly the bytes it announces.
fn read_frame(
    memory: &mut [u8; MAX_FRAME],
    mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>,
) -> Result<usize, Failure> {
    let mut have = 0;
    let mut want = HEADER;
    while have < want {
        let space = memory.get_mut(have..want).unwrap_or_default();
        match read(space) {
            Ok(0) if have == 0 => return Err(undecodable(DecodeError::Empty)),
            Ok(0) => return Err(undecodable(DecodeError::Truncated)),
            Ok(count) => have += count,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::TIMEDOUT) => {
                return Err(refused(Refusal::Deadline));
            }
            Err(error) => return Err(failed(STAGE, Call::Read)(error)),
        }
        if have == HEADER && want == HEADER {
            let (header, _) = memory.split_first_chunk::<HEADER>().unwrap_or((&[0; HEADER], &[]));
            want = wire::frame_length(header).map_err(undecodable)?;
        }
    }
    Ok(have)
}

/// The length of a frame that is as long as its file.
fn fit(size: i64) -> Result<usize, Failure> {
    match usize::try_from(size) {
        Ok(0) => Err(undecodable(DecodeError::Empty)),
        Ok(length) if length <= MAX_FRAME => Ok(length),
        _ => Err(undecodable(DecodeError::TooLong)),
    }
}

/// The monotonic clock in milliseconds.
fn now() -> u64 {
    crate::sys::monotonic_milliseconds()
}

fn refused(why: Refusal) -> Failure {
    Failure::refused(STAGE, Call::Read, why)
}

fn undecodable(error: DecodeError) -> Failure {
    Failure::refused(STAGE, Call::Decode, error.refusal())
}
