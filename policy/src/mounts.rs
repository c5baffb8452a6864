//! The view of the file system: what appears where, and with which rights.
//!
//! Everything that the launcher itself makes - directories, mount points,
//! symlinks, empty files - is made in one tmpfs, the *skeleton*, before
//! anything is mounted. Mount points on the host's files are thereby
//! impossible, not merely avoided.

use linux_raw_sys::general as uapi;
use serde::{Deserialize, Serialize};

use crate::{List, Path, Text};

/// The most things that are granted one by one, over all of
/// [`Mounts::carved`].
pub const MAX_CARVED: u32 = 65_536;

/// The most mounts of one policy.
pub const MAX_MOUNTS: usize = 16_384;

/// The attributes that a mount may carry: mount_setattr(2).
pub const MOUNT_ATTRIBUTES: u32 = uapi::MOUNT_ATTR_RDONLY
    | uapi::MOUNT_ATTR_NOSUID
    | uapi::MOUNT_ATTR_NODEV
    | uapi::MOUNT_ATTR_NOEXEC;

/// The view of the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts<'a> {
    /// What `/` is.
    #[serde(borrow)]
    pub root: Root<'a>,
    /// Size limit of the skeleton tmpfs in bytes; private temporary
    /// directories share it.
    pub skeleton_size: u64,
    /// What is made in the skeleton, parents first.
    pub skeleton: List<'a, Node<'a>>,
    /// What is attached, in this order: parents first.
    pub mounts: List<'a, Mount<'a>>,
    /// Landlock rights on what is not attached by itself.
    pub rules: List<'a, Rule<'a>>,
    /// Directories with something narrower in them, where there is no mount
    /// namespace: parents first.
    pub carved: List<'a, Carved<'a>>,
}

/// What the root directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root<'a> {
    /// The skeleton: only what the policy lists exists. Read-only.
    Skeleton,
    /// The host's tree, made read-only in place.
    Host {
        /// Landlock rights on all of it, `LANDLOCK_ACCESS_FS_*`. Without a
        /// mount namespace those of [`Mounts::carved`] stand for them.
        access: u32,
    },
    /// A directory of the host, an unpacked image for instance. Read-only.
    Tree {
        /// The directory.
        #[serde(borrow)]
        path: Path<'a>,
        /// Landlock rights on all of it.
        access: u32,
    },
}

/// Something made in the skeleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node<'a> {
    /// Where.
    #[serde(borrow)]
    pub path: Path<'a>,
    /// What.
    pub kind: NodeKind<'a>,
}

/// What is made in the skeleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeKind<'a> {
    /// A directory.
    Directory {
        /// Permission bits.
        mode: u16,
    },
    /// A regular file.
    File {
        /// Permission bits.
        mode: u16,
        /// Its content.
        data: &'a [u8],
    },
    /// A symbolic link.
    Symlink {
        /// What it says.
        #[serde(borrow)]
        content: Text<'a>,
    },
}

/// One mount of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount<'a> {
    /// Where it is attached.
    #[serde(borrow)]
    pub target: Path<'a>,
    /// What leads there.
    pub parents: Parents,
    /// What is attached.
    pub source: Source<'a>,
    /// `MOUNT_ATTR_*` that are set on it and on everything below it.
    pub attributes: u32,
    /// Landlock rights on it, for the newest ABI; 0 adds no rule.
    pub access: u32,
    /// Whether without a mount namespace [`Mounts::carved`] says its rights.
    pub carved: bool,
}

/// A directory in which something has fewer rights than the directory, where
/// Landlock alone keeps that: what is beside it is granted one by one, as it is
/// at the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carved<'a> {
    /// The directory. It is left out where it does not exist at the launch.
    #[serde(borrow)]
    pub path: Path<'a>,
    /// Landlock rights on all of it: those that everything in it has.
    pub shared: u32,
    /// Landlock rights on each thing in it, `LANDLOCK_ACCESS_FS_*`.
    pub access: u32,
    /// The names in it that are not granted this way.
    pub except: List<'a, Text<'a>>,
}

/// Landlock rights on an object of the host that no mount shows by itself. It
/// is left out where it does not exist at the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule<'a> {
    /// Its path, as real as it was when the policy was encoded.
    #[serde(borrow)]
    pub path: Path<'a>,
    /// What it must be.
    pub kind: Kind,
    /// `LANDLOCK_ACCESS_FS_*`, for the newest ABI.
    pub access: u32,
}

/// Whose directories lead to the target of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parents {
    /// The skeleton's alone, in which nobody else makes a symlink.
    Skeleton,
    /// Others among them: the target is looked up without symlinks.
    Foreign,
}

/// What is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source<'a> {
    /// A file or directory of the host, with all that is mounted below it.
    Host {
        /// Its path, as real as it was when the policy was encoded.
        #[serde(borrow)]
        path: Path<'a>,
        /// What it must be.
        kind: Kind,
        /// Whether symlinks are followed when it is opened.
        symlinks: Symlinks,
        /// What happens when it does not exist.
        missing: Missing,
    },
    /// A directory that the caller opened.
    Fd {
        /// Its number, 3 or above.
        fd: u32,
    },
    /// The skeleton's node of the same path.
    Skeleton,
    /// A tmpfs of its own.
    Tmpfs {
        /// Its size limit in bytes.
        size: u64,
        /// Permission bits of its root directory.
        mode: u16,
    },
    /// A fresh proc(5) of the command's PID namespace.
    Proc,
    /// A pseudo-terminal file system of its own.
    Devpts,
    /// An overlay: kernel documentation, filesystems/overlayfs.
    Overlay {
        /// The layer that is only read.
        #[serde(borrow)]
        lower: Path<'a>,
        /// Where changes go.
        upper: Path<'a>,
        /// An empty directory beside `upper`.
        work: Path<'a>,
    },
}

/// What a source must be, known since the policy was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// Whether symlinks in a source's path are followed at the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Symlinks {
    /// A symlink anywhere in the path is a refusal: `RESOLVE_NO_SYMLINKS`.
    Refuse,
    /// They are followed.
    Follow,
}

/// What happens when a source does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// The launch is refused.
    Fail,
    /// The mount is left out.
    Skip,
}
