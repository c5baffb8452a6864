//! Directories that every user may use, and that remove themselves.

use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A directory that every user may read and change. `{dir:?}` is its path in
/// quotes, as TOML has it; it is removed when this goes out of scope.
pub struct TempDir {
    directory: tempfile::TempDir,
}

impl TempDir {
    /// An empty one.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("launcher-e2e-")
            .tempdir()
            .expect("a temporary directory is made");
        open_to_all(directory.path(), 0o777);
        Self { directory }
    }

    /// One with a file in it.
    pub fn with_file(name: &str, content: &str) -> Self {
        Self::new().file(name, content)
    }

    /// The same, with a file of mode 0666; directories on the way are made.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.join(name);
        let parent = path.parent().and_then(|parent| parent.strip_prefix(self.path()).ok());
        let this = match parent {
            Some(parent) if parent != Path::new("") => self.directory(&parent.to_string_lossy()),
            _ => self,
        };
        fs::write(&path, content).expect("a file is written");
        open_to_all(&path, 0o666);
        this
    }

    /// The same, with a directory of mode 0777; those on the way are made.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        let mut path = self.path().to_owned();
        for part in Path::new(name) {
            path.push(part);
            if !path.is_dir() {
                fs::create_dir(&path).expect("a directory is made");
                open_to_all(&path, 0o777);
            }
        }
        self
    }

    /// The same, with a symlink in it.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[must_use]
    pub fn symlink(self, name: &str, content: impl AsRef<Path>) -> Self {
        std::os::unix::fs::symlink(content, self.join(name)).expect("a symlink is made");
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The path of something in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// The content of a file in it.
    ///
    /// # Panics
    ///
    /// If it cannot be read as text.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.join(name)).expect("a file is read")
    }

    /// Whether something of this name is in it.
    pub fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.join(name)).is_ok()
    }

    /// The names in it, sorted.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).expect("a directory is read");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry is read").file_name().to_string_lossy().into())
            .collect();
        names.sort();
        names
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl AsRef<Path> for TempDir {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

impl fmt::Debug for TempDir {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().fmt(formatter)
    }
}

impl fmt::Display for TempDir {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().display().fmt(formatter)
    }
}

fn open_to_all(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions are set");
}
