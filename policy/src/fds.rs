//! Descriptors that reach the command besides standard input, output and error.

use serde::{Deserialize, Serialize};

use crate::List;

/// The highest descriptor number that a policy may name.
pub const MAX_FD: u32 = 1 << 20;

/// What stays open across the exec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fds<'a> {
    /// Descriptors the command inherits under their own numbers.
    #[serde(borrow)]
    pub keep: List<'a, KeepFd>,
}

/// One inherited descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepFd {
    /// Its number, 3 or above.
    pub fd: u32,
    /// What it may be.
    pub kind: FdKind,
}

/// What an inherited descriptor may be. A directory, and any descriptor opened
/// with `O_PATH`, reaches past every mount, so it must be called one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FdKind {
    /// Neither a directory nor an `O_PATH` descriptor; those are refused.
    Stream,
    /// Anything, a directory included.
    Directory,
}
