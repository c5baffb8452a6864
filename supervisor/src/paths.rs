//! Subtrees that are denied while the command runs.
//!
//! A name says where something is now, and the device and inode what it is. Both
//! are looked at, of what is opened and of each directory above it, so that
//! neither another name nor a move opens what is denied.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat,
};
use rustix::io::{Errno, Result};

use crate::confined::Confined;
use crate::files::{Found, Start, name_of, own_link};

/// Of how many files below a path it is kept in mind which they are.
const FILES: usize = 100_000;

/// How far up directories are looked at.
const DEPTH: usize = 1024;

/// Device and inode.
type Identity = (u64, u64);

/// What is said about paths, in its order.
#[derive(Default)]
pub(crate) struct Paths(Vec<Rule>);

struct Rule {
    /// As it was written, and where that leads.
    names: [PathBuf; 2],
    identity: Option<Identity>,
    /// So that no other object gets its inode.
    _object: Option<Arc<OwnedFd>>,
    /// What lay below it.
    files: HashSet<Identity>,
    is_denied: bool,
}

impl Paths {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(
        &mut self,
        path: PathBuf,
        is_denied: bool,
        start: &Start,
        confined: &Confined,
    ) -> Result<()> {
        let object = match start.walk(path.clone(), true, confined) {
            // By its name alone, until there is something.
            Err(Errno::NOENT) => None,
            object => Some(object?),
        };
        let identity = object.as_ref().map(|object| fstat(&**object)).transpose()?;
        let name = object.as_ref().map(|object| name_of(object)).transpose()?;
        let leads_to = name.map_or_else(|| path.clone(), |name| start.inside(&name));
        let files = object.as_ref().map(|object| contents(object)).unwrap_or_default();
        if !is_denied {
            for rule in &mut self.0 {
                rule.files.retain(|file| !files.contains(file));
            }
        }
        self.0.push(Rule {
            names: [path, leads_to],
            identity: identity.map(|stat| identity_of(&stat)),
            _object: object,
            files: if is_denied { files } else { HashSet::new() },
            is_denied,
        });
        Ok(())
    }

    /// Whether something that was found is denied.
    pub(crate) fn deny(&self, found: &Found, start: &Start, confined: &Confined) -> Result<bool> {
        if self.deny_name(&found.path) || found.identity.is_some_and(|it| self.deny_file(it)) {
            return Ok(true);
        }
        if let Some(is_denied) = found.identity.and_then(|it| self.said_of(it)) {
            return Ok(is_denied);
        }
        // A pipe, say, is in no directory.
        if !found.path.is_absolute() {
            return Ok(false);
        }
        let mut directory = found.directory(start, confined)?;
        let mut last = None;
        for _ in 0..DEPTH {
            let identity = identity_of(&fstat(&*directory)?);
            if last == Some(identity) {
                return Ok(false);
            }
            if let Some(is_denied) = self.said_of(identity) {
                return Ok(is_denied);
            }
            if self.deny_file(identity) {
                return Ok(true);
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            directory = openat(&*directory, "..", flags, Mode::empty())?.into();
            last = Some(identity);
        }
        Err(Errno::ACCESS)
    }

    /// Whether a name is denied, by the deepest that something is said about.
    pub(crate) fn deny_name(&self, path: &Path) -> bool {
        let said = |name: &Path| {
            let of = |rule: &&Rule| rule.names.iter().any(|its| its == name);
            self.0.iter().rev().find(of).map(|rule| rule.is_denied)
        };
        path.ancestors().find_map(said).unwrap_or_default()
    }

    fn said_of(&self, identity: Identity) -> Option<bool> {
        let of = |rule: &&Rule| rule.identity == Some(identity);
        self.0.iter().rev().find(of).map(|rule| rule.is_denied)
    }

    fn deny_file(&self, identity: Identity) -> bool {
        self.0.iter().any(|rule| rule.files.contains(&identity))
    }
}

fn identity_of(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// All that lies below a directory, as far as it can be read.
fn contents(object: &OwnedFd) -> HashSet<Identity> {
    let mut found = HashSet::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(top) = openat(CWD, own_link(object), flags, Mode::empty()) else { return found };
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    let mut left = vec![PathBuf::from(".")];
    while let Some(directory) = left.pop() {
        let opened = openat2(&top, &directory, flags, Mode::empty(), resolve);
        let Ok(entries) = opened.as_ref().map_err(|error| *error).and_then(Dir::read_from) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let path = directory.join(name);
            let Ok(stat) = statat(&top, &path, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if found.len() >= FILES {
                return found;
            }
            found.insert(identity_of(&stat));
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                left.push(path);
            }
        }
    }
    found
}
