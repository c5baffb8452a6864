//! Where the launcher is.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    Access, MemfdFlags, Mode, OFlags, SealFlags, access, fcntl_add_seals, memfd_create, open,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::Error;

/// The launcher's program, opened once and executed from its descriptor.
#[derive(Clone, Debug)]
pub struct Launcher(Arc<OwnedFd>);

impl Launcher {
    /// The launcher at a path.
    ///
    /// # Errors
    ///
    /// open(2)
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let wrong = || format!("cannot open the launcher {}", path.display());
        let program = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .and_then(beyond_streams)
            .map_err(Error::io(wrong()))?;
        Ok(Self(Arc::new(program)))
    }

    /// A launcher that the program brings along, as with
    /// `include_bytes!("launcher")`; it is run from a sealed memfd.
    ///
    /// # Errors
    ///
    /// memfd_create(2)
    pub fn from_bytes(program: &[u8]) -> Result<Self, Error> {
        // Before Linux 6.3 every memfd can be executed, and the flag is not known.
        let program = sealed(c"launcher", program, MemfdFlags::EXEC)
            .map_err(Error::io("cannot put the launcher into a memfd"))?;
        Ok(Self(Arc::new(program)))
    }

    /// The launcher beside this program, else the first on `PATH`. Never one in
    /// the working directory, where the files may be the very ones to be kept
    /// out.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn find() -> Result<Self, Error> {
        let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.to_owned()));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = beside
            .into_iter()
            .chain(std::env::split_paths(&path))
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join("launcher"))
            .find(|candidate| is_program(candidate));
        match found {
            Some(path) => Self::from_path(path),
            None => Err(Error::io("cannot find the launcher beside this program or on PATH")(
                Errno::NOENT,
            )),
        }
    }

    pub(crate) fn program(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub(crate) fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// What nobody can change any more.
pub(crate) fn sealed(
    name: &std::ffi::CStr,
    content: &[u8],
    execution: MemfdFlags,
) -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = match memfd_create(name, flags | execution) {
        Err(Errno::INVAL) => memfd_create(name, flags)?,
        other => other?,
    };
    let mut file = File::from(memfd);
    file.write_all(content).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    beyond_streams(file.into())
}

/// The same file on a number that no standard stream has: this program may
/// have started with some of those closed.
pub(crate) fn beyond_streams(fd: OwnedFd) -> rustix::io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    if fd.as_raw_fd() > 2 { Ok(fd) } else { fcntl_dupfd_cloexec(&fd, 3) }
}
