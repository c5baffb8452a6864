//! The walk over the directories that patterns start from.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use globset::Candidate;
use launcher_policy::mounts::MAX_MOUNTS;
use linux_raw_sys::general as uapi;
use walkdir::{DirEntry, WalkDir};

use super::super::host::Host;
use super::super::path_map::PathMap;
use super::{Base, List, Pattern, Set};

/// The most names that are looked at.
const MAX_NAMES: usize = 1_000_000;

/// File systems whose files are elsewhere, or asked of another program: a walk
/// over one may take for ever. Those of `linux/magic.h` and, behind them,
/// those that only their own sources name.
const REMOTE: [u32; 14] = [
    uapi::NFS_SUPER_MAGIC,
    uapi::SMB_SUPER_MAGIC,
    uapi::SMB2_SUPER_MAGIC,
    uapi::CIFS_SUPER_MAGIC,
    uapi::V9FS_MAGIC,
    uapi::AFS_SUPER_MAGIC,
    uapi::AFS_FS_MAGIC,
    uapi::CEPH_SUPER_MAGIC,
    uapi::FUSE_SUPER_MAGIC,
    uapi::CODA_SUPER_MAGIC,
    uapi::NCP_SUPER_MAGIC,
    uapi::OCFS2_SUPER_MAGIC,
    // GFS2, Lustre.
    0x0116_1970,
    0x0bd0_0bd0,
];

/// One walk over all directories.
pub(super) struct Search<'a> {
    host: &'a Host,
    bases: &'a PathMap<Base>,
    pub(super) patterns: Vec<Pattern>,
    /// Those that start at every granted directory: of `deny`, of `protect`.
    relative: [Set; 2],
    reopened: PathMap<()>,
    visited: BTreeSet<PathBuf>,
    /// Whether a device is on another host.
    remote: HashMap<u64, bool>,
    /// Directories that were not entered: on another host, unreadable.
    pub(super) left_out: Vec<PathBuf>,
    pub(super) unread: Vec<PathBuf>,
    names: usize,
    matched: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        patterns: Vec<Pattern>,
        bases: &'a PathMap<Base>,
        reopened: PathMap<()>,
        host: &'a Host,
    ) -> Self {
        Self {
            relative: [List::Deny, List::Protect].map(|list| Set::relative(&patterns, list)),
            reopened,
            host,
            bases,
            patterns,
            visited: BTreeSet::new(),
            remote: HashMap::new(),
            left_out: Vec::new(),
            unread: Vec::new(),
            names: 0,
            matched: 0,
        }
    }

    /// Walks below every directory once; an error is a walk that takes too
    /// long or finds too much.
    pub(super) fn all(&mut self) -> Result<(), String> {
        let bases = self.bases;
        for (path, _) in bases.iter() {
            if !self.visited.contains(path) {
                self.below(path)?;
            }
        }
        Ok(())
    }

    fn below(&mut self, start: &Path) -> Result<(), String> {
        let host = self.host;
        let mut walk = WalkDir::new(host.outside(start)).follow_links(false).into_iter();
        // The bases on the way down, and the devices they are on.
        let mut above: Vec<(&Path, &Base, u64)> = Vec::new();
        let mut found = Vec::new();
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.not_read(&error);
                    continue;
                }
            };
            self.names += 1;
            if self.names > MAX_NAMES {
                return Err(format!("the patterns are compared with more than {MAX_NAMES} names"));
            }
            let path = host.inside(entry.path());
            while above.last().is_some_and(|(base, ..)| !path.starts_with(base)) {
                above.pop();
            }
            found.clear();
            self.compare(path, &above, &mut found);
            self.remember(path, &found)?;
            if !entry.file_type().is_dir() {
                continue;
            }
            let device = entry.metadata().map_or(0, |metadata| metadata.dev());
            if let Some((base, own)) = self.bases.deepest(path).filter(|(base, _)| *base == path) {
                self.visited.insert(base.to_owned());
                above.push((base, own, device));
            } else if self.is_elsewhere(&entry, device, &above) {
                self.left_out.push(path.to_owned());
                walk.skip_current_dir();
            } else if self.is_hidden(path, &found) {
                walk.skip_current_dir();
            }
        }
        Ok(())
    }

    /// Adds the patterns that a path matches below any of its bases.
    fn compare(&self, path: &Path, above: &[(&Path, &Base, u64)], found: &mut Vec<usize>) {
        let bytes = path.as_os_str().as_bytes();
        for (at, base, _) in above {
            let start = if *at == Path::new("/") { 1 } else { at.as_os_str().len() + 1 };
            let Some(rest) = bytes.get(start..) else { continue };
            let rest = Candidate::new(Path::new(OsStr::from_bytes(rest)));
            let [deny, protect] = &self.relative;
            if base.granted {
                deny.add_matches(&rest, found);
            }
            if base.writable {
                protect.add_matches(&rest, found);
            }
            base.own.add_matches(&rest, found);
        }
    }

    fn remember(&mut self, path: &Path, found: &[usize]) -> Result<(), String> {
        for number in found {
            if let Some(pattern) = self.patterns.get_mut(*number) {
                pattern.paths.push(path.to_owned());
            }
        }
        self.matched += found.len();
        match self.matched > MAX_MOUNTS {
            true => Err(format!("the patterns match more than {MAX_MOUNTS} paths")),
            false => Ok(()),
        }
    }

    /// Whether a directory is on another host, unlike the entry it is below.
    fn is_elsewhere(
        &mut self,
        entry: &DirEntry,
        device: u64,
        above: &[(&Path, &Base, u64)],
    ) -> bool {
        let crosses = above.last().is_none_or(|(_, _, own)| *own != device);
        crosses && *self.remote.entry(device).or_insert_with(|| is_remote(entry.path()))
    }

    /// Whether nothing below a directory can be seen, now that it matched.
    fn is_hidden(&self, path: &Path, found: &[usize]) -> bool {
        let denies = |number: &usize| {
            self.patterns.get(*number).is_some_and(|pattern| pattern.list == List::Deny)
        };
        found.iter().any(denies) && self.reopened.below(path).next().is_none()
    }

    fn not_read(&mut self, error: &walkdir::Error) {
        let is_gone = error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
        if let Some(path) = error.path().filter(|_| !is_gone) {
            self.unread.push(self.host.inside(path).to_owned());
        }
    }
}

fn is_remote(path: &Path) -> bool {
    // The kernel's numbers have 32 bits, whatever type carries them.
    rustix::fs::statfs(path).is_ok_and(|found| REMOTE.contains(&(found.f_type as u32)))
}
