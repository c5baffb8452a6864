//! The one tree of decisions: what stands at which path inside, who decided
//! it, and what may be done there. The deepest point decides alone.

use std::ops::Range;
use std::path::{Path, PathBuf};

use launcher_policy::mounts::{Missing, Symlinks};

use super::host::FileKind;
use super::path_map::PathMap;

/// What may be done with a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Read files, list directories.
    pub read: bool,
    /// Run files.
    pub execute: bool,
    /// Change, create and remove.
    pub write: bool,
}

/// Who decided about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decider {
    /// An entry of the document.
    Entry(EntryPlace),
    /// A word of the document that stands for many paths, by its key:
    /// `filesystem.dev`, for instance.
    BuiltIn(&'static str),
    /// What the root directory grants on everything below it.
    Root,
    /// Nobody: it is not in view, or only on the way to what is.
    Nobody,
}

/// Where an entry stands in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    /// The list it is in: `filesystem.read`, for instance.
    pub key: &'static str,
    /// Its position in that list, from 0.
    pub index: usize,
    /// Where it is written, in bytes of the text.
    pub span: Range<usize>,
}

/// One path inside, and what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) rights: Rights,
    pub(super) content: Content,
    pub(super) decider: Decider,
}

/// What stands at a path inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// An object of the host.
    Host {
        path: PathBuf,
        kind: FileKind,
        symlinks: Symlinks,
        missing: Missing,
    },
    /// A directory that the caller opened.
    Fd(u32),
    /// Nothing: an empty directory or an empty file, if something must stand
    /// there at all.
    Hidden(FileKind),
    /// A directory that the launcher makes, in which others can be made.
    Directory {
        mode: u16,
    },
    /// A file that the launcher makes.
    File {
        mode: u16,
        data: Vec<u8>,
    },
    Tmpfs {
        size: u64,
        mode: u16,
    },
    Proc,
    Devpts,
    Overlay {
        lower: PathBuf,
        upper: PathBuf,
        work: PathBuf,
    },
}

/// Every point by its path inside.
pub(super) type Tree = PathMap<Point>;

impl Rights {
    /// Nothing at all.
    pub const NONE: Self = Self { read: false, execute: false, write: false };
    /// Read only.
    pub const READ: Self = Self { read: true, ..Self::NONE };
    /// Read and run.
    pub const EXECUTE: Self = Self { execute: true, ..Self::READ };
    /// Read and write.
    pub const WRITE: Self = Self { write: true, ..Self::READ };

    /// What either allows.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self {
            read: self.read | other.read,
            execute: self.execute | other.execute,
            write: self.write | other.write,
        }
    }

    /// What both allow.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self {
            read: self.read & other.read,
            execute: self.execute & other.execute,
            write: self.write & other.write,
        }
    }

    /// Whether all that `other` allows is allowed here.
    #[must_use]
    pub fn contain(self, other: Self) -> bool {
        self.union(other) == self
    }

    /// The words of the document that grant these.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match (self.read, self.execute, self.write) {
            (_, true, true) => "write and execute",
            (_, false, true) => "write",
            (_, true, false) => "execute",
            (true, ..) => "read",
            _ => "deny",
        }
    }
}

impl Point {
    /// Whether an entry hides what is here.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.content, Content::Hidden(_))
    }

    /// Whether this is the host's object of the same path.
    pub(super) fn is_in_place(&self, target: &Path) -> bool {
        matches!(&self.content, Content::Host { path, .. } if path == target)
    }
}

/// `path`, which is at or below `from`, moved below `to`.
pub(super) fn moved(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(rest) if !rest.as_os_str().is_empty() => to.join(rest),
        _ => to.to_owned(),
    }
}

/// The place in the document that a point comes from; empty if none.
pub(super) fn span_of(point: &Point) -> Range<usize> {
    match &point.decider {
        Decider::Entry(place) => place.span.clone(),
        Decider::BuiltIn(_) | Decider::Root | Decider::Nobody => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_compared_as_sets() {
        assert!(Rights::WRITE.contain(Rights::READ));
        assert!(!Rights::WRITE.contain(Rights::EXECUTE));
        assert_eq!(Rights::WRITE.union(Rights::EXECUTE).words(), "write and execute");
        assert_eq!(Rights::WRITE.intersection(Rights::EXECUTE), Rights::READ);
    }

    #[test]
    fn a_path_is_moved_with_its_directory() {
        let moved = |path| moved(Path::new(path), Path::new("/a"), Path::new("/x/y"));
        assert_eq!(moved("/a/b"), Path::new("/x/y/b"));
        assert_eq!(moved("/a").as_os_str(), "/x/y");
    }
}
