//! What the kernel will let the command do, foretold from the encoded policy.
//!
//! [`Model`] replays what the launcher does - root, skeleton, mounts in their
//! order, Landlock rules from the same sources - into a picture of the view,
//! and answers for any absolute path inside and any [`Operation`] what the
//! kernel will say, and why. It looks at the files of the host as they are
//! now, as the launcher will at the launch.
//!
//! Permission bits of the host's files are not part of it: they hold besides,
//! inside as outside. Those of what the launcher makes are. What only the
//! launch knows - a fresh `/proc`, what a descriptor leads to, the layers of an
//! overlay - is said to be unknown.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

mod ask;
mod calls;
mod connect;
mod files;
mod landlock;
mod summary;
mod view;

pub use calls::SystemCalls;
pub use connect::{Connection, Target, connect};
pub use landlock::words as landlock_words;
pub use summary::{
    Descriptor, File, Granted, Guaranteed, KeptBy, Line, Needs, Network, Patterns, Process, Proxy,
    Shows, Summary, merged,
};
pub use view::Model;

/// What keeps the policy: it is applied differently on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Mounts in a mount namespace, and Landlock beside them.
    Namespaces {
        /// The kernel's Landlock ABI; 0 where it has none.
        abi: u8,
    },
    /// Landlock on the host's own paths.
    Landlock {
        /// The kernel's Landlock ABI.
        abi: u8,
    },
}

/// What may be done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// List the names in a directory.
    List,
    /// Open to read: a file's content, or a directory's names.
    Read,
    /// Open an existing file to write.
    Write,
    /// Empty an existing file by its path.
    Truncate,
    /// Make a new regular file of this name, and open it to write.
    Create,
    /// Remove a file, or a directory once it is empty.
    Remove,
    /// Give it another name: beside it, or one that is said.
    Rename,
    /// Give it one more name: beside it, or one that is said.
    Link,
    /// Run it.
    Execute,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 9] = [
        Self::List,
        Self::Read,
        Self::Write,
        Self::Truncate,
        Self::Create,
        Self::Remove,
        Self::Rename,
        Self::Link,
        Self::Execute,
    ];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::Truncate => "truncate",
            Self::Create => "create",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Execute => "execute",
        }
    }
}

/// What the kernel will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it will be done.
    pub allowed: bool,
    /// Why.
    pub because: Reason,
    /// What of the policy decided: the mount that holds the object.
    pub by: Source,
}

/// What of an encoded policy an answer comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// What the root directory is.
    Root,
    /// The mount at this path.
    Mount(PathBuf),
    /// What the launcher makes at this path.
    Made(PathBuf),
    /// The rules on the host's own paths, where nothing is mounted.
    Rules,
}

/// Why an operation is allowed or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing forbids it.
    Granted,
    /// Nothing of this name is in view.
    Missing(PathBuf),
    /// What is there is hidden: an empty file or directory covers it.
    Hidden(PathBuf),
    /// Something of this name is there already.
    Exists,
    /// It is not of the kind that this can be done with.
    WrongKind(&'static str),
    /// The path leads through too many symlinks.
    TooManySymlinks,
    /// The mount, or the file system on it, is read-only.
    ReadOnly(PathBuf),
    /// The mount is `noexec`.
    NoExec(PathBuf),
    /// Devices do not work on the mount.
    InertDevice(PathBuf),
    /// These Landlock rights are missing, `LANDLOCK_ACCESS_FS_*`.
    Landlock(u32),
    /// Something is mounted there.
    MountPoint,
    /// Both names are not on the same mount.
    CrossesMounts,
    /// Landlock lets nothing be moved to where more may be done with it.
    GainsRights,
    /// The permission bits of what the launcher makes.
    Mode(u16),
    /// Only the launch knows.
    Unknown(String),
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => formatter.write_str("the root directory"),
            Self::Mount(path) => write!(formatter, "the mount at {}", path.display()),
            Self::Made(path) => write!(formatter, "what is made at {}", path.display()),
            Self::Rules => formatter.write_str("the Landlock rules"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted => formatter.write_str("it is granted"),
            Self::Missing(path) => write!(formatter, "there is no {} in view", path.display()),
            Self::Hidden(path) => write!(formatter, "{} is hidden", path.display()),
            Self::Exists => formatter.write_str("something of this name is there"),
            Self::WrongKind(kind) => write!(formatter, "it is {kind}"),
            Self::TooManySymlinks => formatter.write_str("it leads through too many symlinks"),
            Self::ReadOnly(path) => write!(formatter, "{} is mounted read-only", path.display()),
            Self::NoExec(path) => write!(formatter, "{} is mounted noexec", path.display()),
            Self::InertDevice(path) => write!(formatter, "{} is mounted nodev", path.display()),
            Self::Landlock(rights) => {
                write!(formatter, "Landlock does not grant {}", landlock_words(*rights).join(", "))
            }
            Self::MountPoint => formatter.write_str("something is mounted there"),
            Self::CrossesMounts => formatter.write_str("the names are on different mounts"),
            Self::GainsRights => {
                formatter.write_str("more could be done with it there: Landlock refuses the move")
            }
            Self::Mode(mode) => write!(formatter, "the launcher makes it with mode 0{mode:o}"),
            Self::Unknown(what) => write!(formatter, "only the launch knows: {what}"),
        }
    }
}
