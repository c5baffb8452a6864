//! Handing a policy over to the launcher: where that is, memory that nobody
//! can change any more, and numbers of descriptors that nobody else uses.

mod listeners;

use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, MemfdFlags, SealFlags, access, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

pub use listeners::Listeners;

/// The launcher beside this program, else the first on `PATH`. Never one in
/// the working directory, where the files may be the very ones to be kept out.
pub fn find_launcher() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("launcher"))
        .find(|candidate| is_program(candidate))
}

/// Whether a file is there that this process may execute.
pub fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// What nobody can change any more, in a memfd that is executable or not.
///
/// # Errors
///
/// memfd_create(2), write(2), fcntl(2)
pub fn sealed(name: &CStr, content: &[u8], execution: MemfdFlags) -> rustix::io::Result<OwnedFd> {
    let mut file = File::from(memfd(name, MemfdFlags::ALLOW_SEALING, execution)?);
    file.write_all(content).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

/// Memory in a file without a name, on a number that no standard stream has.
///
/// # Errors
///
/// memfd_create(2)
pub fn memfd(name: &CStr, flags: MemfdFlags, execution: MemfdFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | MemfdFlags::CLOEXEC;
    match memfd_create(name, flags | execution) {
        // Before Linux 6.3 every memfd can be executed, and no flag is known.
        Err(Errno::INVAL) => memfd_create(name, flags),
        made => made,
    }
    .and_then(beyond_streams)
}

/// The same file on a number that no standard stream has: this program may
/// have started with some of those closed.
///
/// # Errors
///
/// fcntl(2)
pub fn beyond_streams(fd: OwnedFd) -> rustix::io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { fcntl_dupfd_cloexec(&fd, 3) }
}

/// The same file on a number that is not taken.
///
/// # Errors
///
/// fcntl(2)
pub fn apart(mut fd: OwnedFd, is_taken: impl Fn(RawFd) -> bool) -> rustix::io::Result<OwnedFd> {
    while is_taken(fd.as_raw_fd()) {
        fd = fcntl_dupfd_cloexec(&fd, fd.as_raw_fd() + 1)?;
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn policy() -> OwnedFd {
        sealed(c"policy", b"policy", MemfdFlags::NOEXEC_SEAL).expect("a memfd is made")
    }

    #[test]
    fn what_is_sealed_cannot_be_changed() {
        let file = File::from(policy());
        let mut bytes = [0; 6];
        file.read_exact_at(&mut bytes, 0).expect("it can be read");
        assert_eq!(&bytes, b"policy");
        assert!(file.write_at(b"x", 0).is_err() && file.set_len(3).is_err());
    }

    #[test]
    fn a_number_is_one_that_nobody_names() {
        let fd = apart(policy(), |number| number < 40).expect("there are free numbers");
        assert!(fd.as_raw_fd() >= 40);
        let mut text = String::new();
        File::open(format!("/proc/self/fd/{}", fd.as_raw_fd()))
            .and_then(|mut file| file.read_to_string(&mut text))
            .expect("it is the same file");
        assert_eq!(text, "policy");
    }
}
