//! Directories with something narrower in them, where Landlock alone keeps
//! that: what is beside it is granted one by one.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use launcher_policy::landlock::ACCESS_FILE;
use launcher_policy::mounts::{Carved, Symlinks};
use launcher_policy::{Call, Failure, Refusal};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, RawDir, fstat, openat};
use rustix::io::Errno;

use super::{STAGE, open_source};
use crate::landlock::Ruleset;
use crate::report::failed;

/// Bytes of names that are read at once.
const NAMES: usize = 4096;

/// Grants on a directory what everything in it has, and the rest on each thing
/// in it that is not left out. `left` counts down what may be granted.
// Its buffer of names is on no stack but its own.
#[inline(never)]
pub(super) fn grant(
    carved: &Carved<'static>,
    ruleset: Ruleset,
    left: &mut u32,
) -> Result<(), Failure> {
    let directory = match open_source(carved.path, OFlags::DIRECTORY, Symlinks::Refuse) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed(STAGE, Call::Openat2)(error)),
    };
    ruleset.allow(&directory, carved.shared)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match openat(&directory, c".", flags, Mode::empty()) {
        Ok(directory) => directory,
        // Nobody but its owner knows what is in it, and nothing is granted.
        Err(Errno::ACCESS) => return Ok(()),
        Err(error) => return Err(failed(STAGE, Call::Openat)(error)),
    };
    let mut buffer = [MaybeUninit::uninit(); NAMES];
    let mut names = RawDir::new(&directory, &mut buffer);
    while let Some(entry) = names.next() {
        let entry = entry.map_err(failed(STAGE, Call::Getdents64))?;
        let name = entry.file_name();
        let is_left_out = || carved.except.iter().any(|except| except.as_c_str() == name);
        if entry.file_type() == FileType::Symlink
            || matches!(name.to_bytes(), b"." | b"..")
            || is_left_out()
        {
            continue;
        }
        let Some(thing) = open(&directory, name)? else { continue };
        let stat = fstat(&thing).map_err(failed(STAGE, Call::Fstat))?;
        let access = match FileType::from_raw_mode(stat.st_mode) {
            // What it leads to has its own rights.
            FileType::Symlink => continue,
            FileType::Directory => carved.access,
            _ => carved.access & ACCESS_FILE,
        };
        *left = left
            .checked_sub(1)
            .ok_or_else(|| Failure::refused(STAGE, Call::Getdents64, Refusal::CarvedCount))?;
        match ruleset.allow(&thing, access) {
            // What is of no file system, as a namespace that is mounted on a
            // file, cannot be granted.
            Err(failure) if i32::from(failure.error()) == Errno::BADFD.raw_os_error() => {}
            answer => answer?,
        }
    }
    Ok(())
}

/// Opens what has a name now; `None` if it is gone.
fn open(directory: impl AsFd, name: &CStr) -> Result<Option<OwnedFd>, Failure> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(directory, name, flags, Mode::empty()) {
        Ok(thing) => Ok(Some(thing)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(failed(STAGE, Call::Openat)(error)),
    }
}
