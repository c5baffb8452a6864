//! The tree that paths are judged in: what exists, what it is, and under
//! which real path.

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::aliases::MountTable;

/// The most symlinks that one path may lead through: `MAXSYMLINKS` of
/// path_resolution(7).
pub(super) const MAX_SYMLINKS: usize = 40;

/// A directory tree that is looked at from inside, as chroot(2) would show it.
/// Each path is asked for once.
pub(super) struct Host {
    root: PathBuf,
    /// What is at each path that was looked at. Keys are compared by their
    /// bytes: a `Path` is hashed component by component, which takes longer.
    seen: HashMap<OsString, Found>,
    /// The real path of each directory as it was written.
    directories: HashMap<OsString, Real>,
    mounts: OnceCell<MountTable>,
}

/// What a path turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Real {
    /// The path without symlinks, `.` and `..`.
    pub path: PathBuf,
    /// What is there.
    pub kind: FileKind,
    /// The symlinks on the way, in the order they were met.
    pub links: Vec<Link>,
}

/// A symlink of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Where it is; its parent is a real path.
    pub path: PathBuf,
    /// What it says.
    pub content: PathBuf,
}

/// What is found at a real path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A directory.
    Directory,
    /// A character or block device.
    Device,
    /// Anything else.
    File,
}

/// Why a path has no real path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LookupError {
    /// This part of it does not exist.
    Missing(PathBuf),
    /// This part of it cannot be looked at.
    Unknown(PathBuf, String),
}

/// One answer of lstat(2).
#[derive(Clone, Debug)]
enum Found {
    Symlink(PathBuf),
    Other(FileKind),
    Missing,
    Unknown(String),
}

impl Real {
    fn root() -> Self {
        Self { path: "/".into(), kind: FileKind::Directory, links: Vec::new() }
    }
}

impl Host {
    /// The tree below `root`.
    pub(super) fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            seen: HashMap::new(),
            directories: HashMap::new(),
            mounts: OnceCell::new(),
        }
    }

    /// The tree below `directory`, a real path of this one.
    pub(super) fn below(&self, directory: &Path) -> Self {
        Self::new(self.outside(directory))
    }

    /// Follows every symlink of an absolute path.
    pub(super) fn real(&mut self, path: &Path) -> Result<Real, LookupError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return self.walk(Real::root(), names(path));
        };
        let start = match self.directories.get(parent.as_os_str()) {
            Some(real) => real.clone(),
            None => {
                let real = self.walk(Real::root(), names(parent))?;
                self.directories.insert(parent.into(), real.clone());
                real
            }
        };
        self.walk(start, std::iter::once(name))
    }

    fn walk<'n>(
        &mut self,
        mut real: Real,
        names: impl Iterator<Item = &'n OsStr>,
    ) -> Result<Real, LookupError> {
        let mut left: VecDeque<OsString> = names.map(OsStr::to_owned).collect();
        while let Some(name) = left.pop_front() {
            let here = real.path.join(&name);
            if real.kind != FileKind::Directory {
                return Err(LookupError::Missing(here));
            }
            if name == ".." {
                real.path.pop();
                continue;
            }
            match self.look(&here) {
                Found::Other(kind) => {
                    real.path = here;
                    real.kind = kind;
                }
                Found::Symlink(content) => {
                    if real.links.len() == MAX_SYMLINKS {
                        return Err(LookupError::Unknown(here, "too many symlinks".into()));
                    }
                    if content.is_absolute() {
                        real.path = "/".into();
                    }
                    for (position, name) in self::names(&content).enumerate() {
                        left.insert(position, name.to_owned());
                    }
                    real.links.push(Link { path: here, content });
                }
                Found::Missing => return Err(LookupError::Missing(here)),
                Found::Unknown(reason) => return Err(LookupError::Unknown(here, reason)),
            }
        }
        Ok(real)
    }

    /// What is at a path whose parents are real; `None` if nothing, or a
    /// symlink, or if it cannot be said.
    pub(super) fn kind(&mut self, path: &Path) -> Option<FileKind> {
        self.real(path).ok().filter(|real| real.links.is_empty()).map(|real| real.kind)
    }

    /// The names in a directory; none if it cannot be read.
    pub(super) fn list(&self, directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(self.outside(directory)).into_iter().flatten();
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn look(&mut self, path: &Path) -> Found {
        if let Some(found) = self.seen.get(path.as_os_str()) {
            return found.clone();
        }
        let found = lstat(&self.outside(path));
        self.seen.insert(path.into(), found.clone());
        found
    }

    /// The names in a directory, whatever their bytes.
    pub(super) fn names(&self, directory: &Path) -> Result<Vec<OsString>, String> {
        let entries = std::fs::read_dir(self.outside(directory));
        let names = entries.and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>()
        });
        names.map_err(|error| reason(&error))
    }

    /// The other paths at which this host itself shows an object; an image
    /// that does not run has none.
    pub(super) fn aliases(&self, object: &Path) -> Vec<PathBuf> {
        match self.root == Path::new("/") {
            true => self.mounts.get_or_init(MountTable::read).aliases(object),
            false => Vec::new(),
        }
    }

    /// How many names a file has.
    pub(super) fn hard_links(&self, path: &Path) -> u64 {
        std::fs::symlink_metadata(self.outside(path)).map_or(0, |metadata| metadata.nlink())
    }

    /// Where a path of this tree is on the running system.
    pub(super) fn outside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The path in this tree of one that [`Host::outside`] gave.
    pub(super) fn inside<'p>(&self, path: &'p Path) -> &'p Path {
        if self.root == Path::new("/") {
            return path;
        }
        let below = path.as_os_str().as_bytes().strip_prefix(self.root.as_os_str().as_bytes());
        match below.unwrap_or_default() {
            b"" => Path::new("/"),
            below => Path::new(OsStr::from_bytes(below)),
        }
    }
}

fn lstat(path: &Path) -> Found {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if missing(&error) => return Found::Missing,
        Err(error) => return Found::Unknown(reason(&error)),
    };
    if kind.is_symlink() {
        return std::fs::read_link(path)
            .map_or_else(|error| Found::Unknown(reason(&error)), Found::Symlink);
    }
    Found::Other(if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_char_device() || kind.is_block_device() {
        FileKind::Device
    } else {
        FileKind::File
    })
}

fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The error in words, without Rust's "(os error N)".
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// The names in a path, `..` among them.
fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    fn real(tree: &Tree, path: &str) -> Result<Real, LookupError> {
        Host::new(tree.path()).real(Path::new(path))
    }

    #[test]
    fn an_absolute_symlink_starts_again_at_the_root_of_the_tree() {
        let tree = Tree::new(&["srv/a/file"], &[("link", "/srv/a")]);
        let real = real(&tree, "/link/file").unwrap();
        assert_eq!(real.path, Path::new("/srv/a/file"));
        assert_eq!(real.links, [Link { path: "/link".into(), content: "/srv/a".into() }]);
    }

    #[test]
    fn a_parent_is_that_of_the_real_directory() {
        let tree = Tree::new(&["srv/a/b/", "srv/a/file"], &[("link", "srv/a/b")]);
        assert_eq!(real(&tree, "/link/../file").unwrap().path, Path::new("/srv/a/file"));
        assert_eq!(real(&tree, "/../..").unwrap().path, Path::new("/"));
    }

    #[test]
    fn a_symlink_chain_is_remembered_in_order() {
        let tree = Tree::new(&["c/file"], &[("a", "b"), ("b", "c")]);
        let links: Vec<_> = real(&tree, "/a/file").unwrap().links;
        assert_eq!(links.len(), 2);
        assert_eq!(links[0].path, Path::new("/a"));
        assert_eq!(links[1].path, Path::new("/b"));
    }

    #[test]
    fn a_symlink_loop_ends() {
        let tree = Tree::new(&[], &[("a", "b"), ("b", "a")]);
        assert!(
            matches!(real(&tree, "/a"), Err(LookupError::Unknown(_, reason)) if reason == "too many symlinks")
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let tree = Tree::new(&["srv/file"], &[("link", "/gone")]);
        assert_eq!(real(&tree, "/srv/x/y"), Err(LookupError::Missing("/srv/x".into())));
        assert_eq!(real(&tree, "/link"), Err(LookupError::Missing("/gone".into())));
        assert_eq!(real(&tree, "/srv/file/x"), Err(LookupError::Missing("/srv/file/x".into())));
    }

    #[test]
    fn a_path_never_leaves_the_tree() {
        let tree = Tree::new(&["inside"], &[("up", "../../../../inside")]);
        assert_eq!(real(&tree, "/up").unwrap().path, Path::new("/inside"));
    }
}
