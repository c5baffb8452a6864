//! A layer: what a process puts on, between its start and exec.
#![allow(unsafe_code, reason = "a promise about what runs between fork and exec")]

use std::fmt;
use std::io;
use std::sync::Arc;

/// One of the things that confine a process, made ready by its parent and put
/// on by itself.
///
/// [`Sandbox::layers`](crate::Sandbox::layers) gives those of a policy;
/// [`Sandbox::layer`](crate::Sandbox::layer) adds one to commands.
pub trait Layer: Send + Sync {
    /// What it is called in errors.
    fn name(&self) -> &str;

    /// Whether this host gives it.
    ///
    /// # Errors
    ///
    /// Why not.
    fn available(&self) -> io::Result<()>;

    /// The parent's part, which opens and builds everything. What it returns may
    /// be applied by any number of children, at once too.
    ///
    /// # Errors
    ///
    /// Where it is not available and has to be, or not to be had.
    fn prepare(&self) -> io::Result<Box<dyn Apply>>;
}

/// A layer that is ready: the child's part.
///
/// # Safety
///
/// Between fork and exec, in a memory that may be shared with a parent whose
/// other threads go on, `apply` makes async-signal-safe system calls only,
/// signal-safety(7). It neither allocates nor frees, takes no lock, does not
/// panic, and makes errors by [`io::Error::from_raw_os_error`] only.
pub unsafe trait Apply: Send + Sync {
    /// Puts the layer on the calling process.
    ///
    /// # Errors
    ///
    /// The system call that failed; what was put on before stays.
    fn apply(&self) -> io::Result<()>;
}

/// A layer that commands apply beside those of their policy.
#[derive(Clone)]
pub(crate) struct Added {
    pub(crate) name: Arc<str>,
    pub(crate) apply: Arc<dyn Apply>,
}

impl fmt::Debug for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The error number of a layer's failure.
pub(crate) fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error())
}
