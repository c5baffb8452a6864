//! Input: read the policy from a descriptor.
//!
//! Nothing has happened yet, so every refusal here is free. Of a pipe or a
//! socket exactly one frame is read, so that what follows belongs to the
//! command.

use core::mem::MaybeUninit;

use launcher_policy::wire::{self, DecodeError, Digest, HEADER, MAX_FRAME};
use launcher_policy::{Call, Failure, Policy, Refusal, Stage};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, SealFlags, Stat, fcntl_get_seals, fstat};
use rustix::io::{Errno, pread, read};

use crate::report::failed;
use crate::sys;
use crate::wait::time_until;

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

/// Reads one frame from `fd` within `deadline` seconds and decodes it; beside
/// the policy, what it is called. `stat` is what `fd` is, where that was asked.
///
/// # Errors
///
/// What is wrong with the descriptor or with the bytes.
pub fn apply<'m>(
    fd: BorrowedFd<'_>,
    stat: Option<Stat>,
    form: Form,
    deadline: u32,
    memory: &'m mut [u8; MAX_FRAME],
    policy: &'m mut MaybeUninit<Policy<'m>>,
) -> Result<(&'m Policy<'m>, &'m Digest), Failure> {
    let stat = match stat {
        Some(stat) => stat,
        None => fstat(fd).map_err(failed(STAGE, Call::Fstat))?,
    };
    let length = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if form == Form::Sealed => sealed(fd, stat.st_size, memory)?,
        _ if form == Form::Sealed => return Err(refused(Refusal::IsNoMemfd)),
        FileType::RegularFile if form == Form::Shared => {
            read_frame(fd, Extent::Frame, None, memory)?
        }
        FileType::RegularFile => read_frame(fd, Extent::File, None, memory)?,
        FileType::Fifo | FileType::Socket => {
            let deadline = sys::monotonic_milliseconds() + u64::from(deadline) * 1000;
            read_frame(fd, Extent::Frame, Some(deadline), memory)?
        }
        FileType::Directory => return Err(refused(Refusal::IsDirectory)),
        FileType::CharacterDevice => {
            return Err(refused(Refusal::IsDevice));
        }
        _ => return Err(refused(Refusal::IsNoFile)),
    };
    let frame = memory.get(..length).unwrap_or_default();
    let policy = wire::decode_for_launch(frame, policy).map_err(undecodable)?;
    Ok((policy, wire::digest(frame)))
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

/// How far reading goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// To the end of the frame: what follows belongs to the command.
    Frame,
    /// Past it: what follows in a file that is only the policy's is an
    /// accident, which decoding notices.
    File,
}

/// Reads a header and the bytes it announces, until a deadline in
/// milliseconds where there is one.
fn read_frame(
    fd: BorrowedFd<'_>,
    extent: Extent,
    deadline: Option<u64>,
    memory: &mut [u8; MAX_FRAME],
) -> Result<usize, Failure> {
    let mut have = 0;
    let mut want = HEADER;
    while have < want {
        if let Some(deadline) = deadline {
            let asked = &mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
            match poll(asked, Some(&time_until(deadline))) {
                Ok(0) => return Err(refused(Refusal::Deadline)),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(failed(STAGE, Call::Poll)(error)),
            }
        }
        let end = if extent == Extent::Frame { want } else { MAX_FRAME };
        match read(fd, memory.get_mut(have..end).unwrap_or_default()) {
            Ok(0) => {
                let bytes = memory.get(..have).unwrap_or_default();
                return Err(undecodable(wire::incomplete(bytes)));
            }
            Ok(count) => have += count,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(failed(STAGE, Call::Read)(error)),
        }
        if let Some((header, _)) = memory.split_first_chunk::<HEADER>()
            && have >= HEADER
        {
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

fn refused(why: Refusal) -> Failure {
    Failure::refused(STAGE, Call::Read, why)
}

fn undecodable(error: DecodeError) -> Failure {
    Failure::refused(STAGE, Call::Decode, error.refusal())
}
