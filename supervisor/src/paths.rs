//! Subtrees that are denied while the command runs.
//!
//! A name says where something is now, and the device and inode what it is. Both
//! are looked at, of what is opened and of each directory above it, so that
//! neither another name nor a move opens what is denied.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
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
        let (object, leads_to) = lead(&path, start, confined)?;
        let identity = object.as_ref().map(|object| fstat(&**object)).transpose()?;
        let files = object.as_ref().map(|object| contents(object)).unwrap_or_default();
        if !is_denied {
            for rule in &mut self.0 {
                rule.files.retain(|file| !files.contains(file));
            }
        }
        self.say(Rule {
            names: [path, leads_to],
            identity: identity.map(|stat| identity_of(&stat)),
            _object: object,
            files: if is_denied { files } else { HashSet::new() },
            is_denied,
        });
        Ok(())
    }

    /// Has a rule decide over those before. One that says the same again takes the
    /// place of what was said, with all that lay there then.
    fn say(&mut self, mut rule: Rule) {
        let is_same = |old: &Rule| {
            (&old.names, old.identity, old.is_denied)
                == (&rule.names, rule.identity, rule.is_denied)
        };
        if let Some(place) = self.0.iter().position(is_same) {
            rule.files.extend(self.0.remove(place).files);
        }
        self.0.push(rule);
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

/// What is at a path, and what that is called without links. Where nothing is, it is
/// denied by its name alone, below the last directory that is there.
fn lead(
    path: &Path,
    start: &Start,
    confined: &Confined,
) -> Result<(Option<Arc<OwnedFd>>, PathBuf)> {
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(is_plain) {
        return Err(Errno::INVAL);
    }
    for there in path.ancestors() {
        let object = match start.walk(there.to_owned(), true, confined) {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                // Where a link leads that leads nowhere yet is not known.
                match start.walk(there.to_owned(), false, confined) {
                    Ok(_) => return Err(Errno::NOENT),
                    Err(_) => continue,
                }
            }
            object => object?,
        };
        let name = start.inside(&name_of(&object)?);
        let rest = path.strip_prefix(there).map_err(|_| Errno::INVAL)?;
        return Ok(match rest.as_os_str().is_empty() {
            true => (Some(object), name),
            false => (None, name.join(rest)),
        });
    }
    Err(Errno::NOENT)
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;
    use crate::target::{Ids, Target};

    /// What was said about paths, in its order.
    fn said(paths: &[(PathBuf, bool)]) -> Result<Paths> {
        let own = Target::of(rustix::thread::gettid()).expect("it is this thread");
        let ids = Ids::of_this_thread().expect("it is read");
        let confined = Confined::start(ids, None, Duration::from_secs(60)).expect("it starts");
        let start = Start::root_of(&own).expect("it is opened");
        let mut said = Paths::default();
        for (path, is_denied) in paths {
            said.add(path.clone(), *is_denied, &start, &confined)?;
        }
        Ok(said)
    }

    #[test]
    fn what_is_said_again_is_kept_once() {
        let directory = tempfile::tempdir().expect("it is made");
        let path = directory.path().join("file");
        fs::write(&path, "").expect("it is written");
        let again: Vec<_> = (0..2000).map(|count| (path.clone(), count % 2 == 1)).collect();
        let paths = said(&again).expect("it is said");
        assert_eq!(paths.0.len(), 2);
        assert!(paths.deny_name(&path));
        let paths = said(&again[..1999]).expect("it is said");
        assert!(!paths.deny_name(&path));
    }

    #[test]
    fn what_is_not_there_yet_is_denied_where_links_lead() {
        let directory = tempfile::tempdir().expect("it is made");
        let top = directory.path().canonicalize().expect("it is there");
        fs::create_dir(top.join("real")).expect("it is made");
        symlink("real", top.join("link")).expect("it is made");
        symlink("nowhere", top.join("loose")).expect("it is made");
        let paths = said(&[(top.join("link/new"), true)]).expect("it is said");
        assert!(paths.deny_name(&top.join("real/new")) && paths.deny_name(&top.join("link/new")));
        assert!(!paths.deny_name(&top.join("real")));
        let refused = |path: PathBuf| said(&[(path, true)]).err();
        assert_eq!(refused("new".into()), Some(Errno::INVAL));
        assert_eq!(refused(top.join("real/../new")), Some(Errno::INVAL));
        assert_eq!(refused(top.join("loose/new")), Some(Errno::NOENT));
    }
}
