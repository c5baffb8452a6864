//! A throw-away directory tree to judge paths in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A directory tree that is removed with the value.
pub(crate) struct Tree(PathBuf);

impl Tree {
    /// Files, directories (with a slash at the end), and symlinks as
    /// `(path, content)`; parents are made as needed.
    pub(crate) fn new(files: &[&str], links: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("mounts-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        for file in files {
            let path = root.join(file);
            if file.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
        }
        for (path, content) in links {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(content, path).unwrap();
        }
        Self(root)
    }

    /// Its root directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
