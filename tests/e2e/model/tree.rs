//! Random trees whose every file survives what is done to it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use harness::{Caller, TempDir};

/// How deep directories stand in each other.
const DEPTH: usize = 5;

/// A tree of files, directories, symlinks and hard links. Every directory
/// holds a file that stays, so that rmdir(2) never succeeds.
pub(super) struct Tree {
    directory: TempDir,
    /// A second name of each file, so that its inode outlives the first.
    stash: TempDir,
    /// Every path in the tree, parents first.
    pub(super) items: BTreeMap<PathBuf, Item>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Directory { inode: u64 },
    File { inode: u64, stashed: PathBuf },
    Symlink(PathBuf),
}

impl Tree {
    /// A tree that belongs to the caller.
    pub(super) fn random(rng: &mut Rng, caller: Caller) -> Self {
        let (directory, stash) = (TempDir::new(), TempDir::new());
        let mut tree = Self { directory, stash, items: BTreeMap::new() };
        tree.fill(rng, tree.path().to_owned(), 0);
        for _ in 0..rng.usize(0..5) {
            tree.random_link(rng);
        }
        tree.give_to(caller);
        tree
    }

    /// A tree of these files and symlinks, which belongs to the caller. A file
    /// that is another name of one before is written `new=old`.
    pub(super) fn new(files: &[&str], links: &[(&str, &str)], caller: Caller) -> Self {
        let (directory, stash) = (TempDir::new(), TempDir::new());
        let mut tree = Self { directory, stash, items: BTreeMap::new() };
        let inode = inode(tree.path());
        tree.items.insert(tree.path().to_owned(), Item::Directory { inode });
        for file in files {
            let (file, old) = file.split_once('=').unwrap_or((file, file));
            let [path, old] = [file, old].map(|file| tree.path().join(file));
            tree.directory_of(&path);
            match tree.items.get(&old).cloned() {
                Some(item) => {
                    fs::hard_link(old, &path).expect("a file is linked");
                    tree.items.insert(path, item);
                }
                None => tree.file(path),
            }
        }
        for (path, content) in links {
            tree.symlink(tree.path().join(path), content.into());
        }
        tree.give_to(caller);
        tree
    }

    fn directory_of(&mut self, path: &Path) {
        let Some(directory) = path.parent() else { return };
        if !self.items.contains_key(directory) {
            fs::create_dir(directory).expect("a directory is made");
            let inode = inode(directory);
            self.items.insert(directory.to_owned(), Item::Directory { inode });
        }
    }

    fn give_to(&self, caller: Caller) {
        for path in self.items.keys() {
            lchown(path, Some(caller.uid()), Some(caller.uid())).expect("an owner is set");
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn directories(&self) -> Vec<&Path> {
        let is_directory = |item: &Item| matches!(item, Item::Directory { .. });
        let found = self.items.iter().filter(|(_, item)| is_directory(item));
        found.map(|(path, _)| path.as_path()).collect()
    }

    fn fill(&mut self, rng: &mut Rng, directory: PathBuf, depth: usize) {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&directory, mode).expect("permissions are set");
        let inode = inode(&directory);
        self.items.insert(directory.clone(), Item::Directory { inode });
        self.file(directory.join("keep"));
        for name in ["a", ".claude", "b"].into_iter().take(rng.usize(0..3)) {
            self.file(directory.join(name));
        }
        let most = if depth + 1 < DEPTH { 3 } else { 1 };
        for name in ["d", ".git"].into_iter().take(rng.usize(0..most)) {
            let below = directory.join(name);
            fs::create_dir(&below).expect("a directory is made");
            self.fill(rng, below, depth + 1);
        }
    }

    fn file(&mut self, path: PathBuf) {
        fs::write(&path, "text").expect("a file is written");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, mode).expect("permissions are set");
        let stashed = self.stash.join(self.items.len().to_string());
        fs::hard_link(&path, &stashed).expect("a file is linked");
        self.items.insert(path.clone(), Item::File { inode: inode(&path), stashed });
    }

    /// A hard link or a symlink: relative, absolute, or leading nowhere.
    fn random_link(&mut self, rng: &mut Rng) {
        let directories = self.directories();
        let directory = directories[rng.usize(..directories.len())].to_owned();
        let link = directory.join(format!("l{}", rng.u8(0..9)));
        if self.items.contains_key(&link) {
            return;
        }
        let items: Vec<_> = self.items.iter().collect();
        let (target, item) = items[rng.usize(..items.len())];
        let (target, item) = (target.clone(), item.clone());
        match (rng.u8(0..6), item) {
            (0 | 1, Item::File { inode, stashed }) => {
                fs::hard_link(&target, &link).expect("a file is linked");
                self.items.insert(link, Item::File { inode, stashed });
            }
            (2, _) => self.symlink(link, "/nowhere/at/all".into()),
            (3, _) => self.symlink(link, target),
            _ => {
                let up = directory.strip_prefix(self.path()).expect("it is inside");
                let up: PathBuf = up.iter().map(|_| "..").collect();
                let down = target.strip_prefix(self.path()).expect("it is inside");
                self.symlink(link, Path::new("./").join(up).join(down));
            }
        }
    }

    fn symlink(&mut self, path: PathBuf, content: PathBuf) {
        symlink(&content, &path).expect("a symlink is made");
        self.items.insert(path, Item::Symlink(content));
    }

    /// Puts everything back that has gone, and removes what has come.
    pub(super) fn restore(&self, caller: Caller) {
        for (path, item) in &self.items {
            if self.is_there(path, item) {
                continue;
            }
            if let Item::Directory { inode } = item {
                let moved = find(self.path(), *inode)
                    .unwrap_or_else(|| panic!("the directory {path:?} has left the tree"));
                // What took its name is not of this tree.
                let _ = fs::remove_file(path);
                fs::rename(moved, path).expect("a directory is moved back");
                continue;
            }
            let _ = fs::remove_file(path);
            match item {
                Item::Directory { .. } => {}
                Item::File { stashed, .. } => {
                    fs::hard_link(stashed, path).expect("a file is linked");
                }
                Item::Symlink(content) => {
                    symlink(content, path).expect("a symlink is made");
                    lchown(path, Some(caller.uid()), Some(caller.uid())).expect("an owner is set");
                }
            }
        }
        self.remove_others(self.path());
    }

    fn is_there(&self, path: &Path, item: &Item) -> bool {
        let Ok(metadata) = fs::symlink_metadata(path) else { return false };
        match item {
            Item::Directory { inode } | Item::File { inode, .. } => metadata.ino() == *inode,
            Item::Symlink(content) => fs::read_link(path).is_ok_and(|found| found == *content),
        }
    }

    fn remove_others(&self, directory: &Path) {
        for path in entries(directory) {
            match self.items.get(&path) {
                Some(Item::Directory { .. }) => self.remove_others(&path),
                Some(_) => {}
                None => fs::remove_file(&path).expect("a file is removed"),
            }
        }
    }
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).expect("it is there").ino()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory is read");
    entries.map(|entry| entry.expect("an entry is read").path()).collect()
}

/// Where the directory with this inode has been moved.
fn find(directory: &Path, inode: u64) -> Option<PathBuf> {
    entries(directory).into_iter().find_map(|path| {
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        match metadata.is_dir() {
            true if metadata.ino() == inode => Some(path),
            true => find(&path, inode),
            false => None,
        }
    })
}
