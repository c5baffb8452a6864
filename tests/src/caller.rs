//! As whom the launcher is called.

use std::fmt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::geteuid;

/// As whom the launcher is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The user who runs the tests, when that is root.
    Root,
    /// User and group 65534, without other groups; where the tests do not run
    /// as root, the user who runs them.
    Nobody,
}

/// The ids of `nobody`.
const NOBODY: u32 = 65534;

impl Caller {
    /// The callers that every test is run as: root and nobody. Without root,
    /// nobody alone, and the other is skipped by name.
    pub fn both() -> Vec<Self> {
        if geteuid().is_root() {
            return vec![Self::Root, Self::Nobody];
        }
        crate::skipped("as_root", "the tests do not run as root");
        vec![Self::Nobody]
    }

    /// The user id, outside of every sandbox.
    pub fn uid(self) -> u32 {
        match self {
            Self::Nobody if geteuid().is_root() => NOBODY,
            _ => geteuid().as_raw(),
        }
    }

    /// Whether the launcher is called by root.
    pub fn is_root(self) -> bool {
        self == Self::Root
    }

    /// Makes a command run as this caller.
    pub(crate) fn apply(self, command: &mut Command) {
        if self == Self::Nobody && geteuid().is_root() {
            // Other groups are given up with a change of the user id.
            command.uid(NOBODY).gid(NOBODY);
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Root => "as root",
            Self::Nobody => "as nobody",
        })
    }
}
