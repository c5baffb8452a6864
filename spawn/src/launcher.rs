//! Where the launcher is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use policy_encoder::handover::find_launcher;
pub(crate) use policy_encoder::handover::{apart, beyond_streams, is_program, memfd, sealed};
use rustix::fs::{MemfdFlags, Mode, OFlags, open};
use rustix::io::Errno;

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
        let program = sealed(c"launcher", program, MemfdFlags::EXEC)
            .map_err(Error::io("cannot put the launcher into a memfd"))?;
        Ok(Self(Arc::new(program)))
    }

    /// The launcher beside this program, else the first on `PATH`, but never
    /// one in the working directory.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn find() -> Result<Self, Error> {
        match find_launcher() {
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
