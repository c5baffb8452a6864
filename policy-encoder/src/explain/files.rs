//! What is on the host: what stands at a path, which file it is, and on what
//! kind of mount.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// The most symlinks that one path may lead through: `MAXSYMLINKS` of
/// path_resolution(7).
pub(super) const MAX_SYMLINKS: usize = 40;

/// The host's files below one directory, under which every path is taken.
#[derive(Clone, Debug)]
pub(super) struct Files {
    sysroot: PathBuf,
    mounts: Vec<HostMount>,
}

/// One mount of the host that can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostMount {
    pub(super) point: PathBuf,
    pub(super) read_only: bool,
    pub(super) no_exec: bool,
    pub(super) no_devices: bool,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: Kind,
    /// Device and inode: the same file has the same, whatever its name.
    pub(super) id: (u64, u64),
}

/// The kind of a file, by what may be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink(PathBuf),
    Device,
    Fifo,
    Socket,
}

/// Why nothing is known of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    Missing,
    Unknown(String),
}

impl Files {
    /// The files below `sysroot`.
    pub(super) fn new(sysroot: &Path) -> Self {
        // Without a /proc nothing is known of mounts, and none is assumed.
        let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self { sysroot: sysroot.to_owned(), mounts: visible(&text) }
    }

    /// The names in a directory, as far as they can be read.
    pub(super) fn names_in(&self, path: &Path) -> Vec<OsString> {
        let entries = std::fs::read_dir(self.outside(path)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).collect()
    }

    /// What stands at a path, whose last symlink is not followed.
    pub(super) fn look(&self, path: &Path) -> Result<Found, Lookup> {
        let outside = self.outside(path);
        let metadata = std::fs::symlink_metadata(&outside).map_err(|error| lookup(&error))?;
        let kind = kind(&metadata, &outside).map_err(|error| lookup(&error))?;
        Ok(Found { kind, id: (metadata.dev(), metadata.ino()) })
    }

    /// The real path of what a policy names, and what stands there. Symlinks on
    /// the way are followed, or nothing is known of it.
    pub(super) fn open(&self, path: &Path, follow: bool) -> Result<(PathBuf, Found), Lookup> {
        let mut real = PathBuf::from("/");
        let mut found = self.look(&real)?;
        let mut left: VecDeque<OsString> = names(path).collect();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if found.kind != Kind::Directory {
                return Err(Lookup::Missing);
            }
            if name == ".." {
                real.pop();
                found = self.look(&real)?;
                continue;
            }
            let next = real.join(&name);
            found = self.look(&next)?;
            let Kind::Symlink(content) = &found.kind else {
                real = next;
                continue;
            };
            links += 1;
            if !follow || links > MAX_SYMLINKS {
                return Err(Lookup::Unknown(format!("{next:?} is a symlink")));
            }
            for name in names(content).collect::<Vec<_>>().into_iter().rev() {
                left.push_front(name);
            }
            if content.is_absolute() {
                real = "/".into();
            }
            found = self.look(&real)?;
        }
        Ok((real, found))
    }

    /// The mount that holds what stands at a path, by its place in the table.
    pub(super) fn mount_of(&self, path: &Path) -> Option<usize> {
        let outside = self.outside(path);
        let above = |(_, mount): &(usize, &HostMount)| outside.starts_with(&mount.point);
        let depth = |(_, mount): &(usize, &HostMount)| mount.point.components().count();
        self.mounts.iter().enumerate().filter(above).max_by_key(depth).map(|(place, _)| place)
    }

    pub(super) fn mount(&self, place: usize) -> Option<&HostMount> {
        self.mounts.get(place)
    }

    /// The places below a path at which something is mounted.
    pub(super) fn mount_points<'f>(&'f self, path: &Path) -> impl Iterator<Item = PathBuf> + 'f {
        let outside = self.outside(path);
        self.mounts.iter().filter_map(move |mount| {
            let below = mount.point.starts_with(&outside) && mount.point != outside;
            let inside = mount.point.strip_prefix(&self.sysroot).ok()?;
            below.then(|| Path::new("/").join(inside))
        })
    }

    fn outside(&self, path: &Path) -> PathBuf {
        self.sysroot.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The names in a path, `..` among them.
pub(super) fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn lookup(error: &io::Error) -> Lookup {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Lookup::Missing,
        _ => Lookup::Unknown(error.to_string()),
    }
}

fn kind(metadata: &Metadata, path: &Path) -> io::Result<Kind> {
    let file_type = metadata.file_type();
    Ok(if file_type.is_dir() {
        Kind::Directory
    } else if file_type.is_symlink() {
        Kind::Symlink(std::fs::read_link(path)?)
    } else if file_type.is_char_device() || file_type.is_block_device() {
        Kind::Device
    } else if file_type.is_fifo() {
        Kind::Fifo
    } else if file_type.is_socket() {
        Kind::Socket
    } else {
        Kind::File
    })
}

/// The mounts of proc_pid_mountinfo(5) that no later one covers.
fn visible(text: &[u8]) -> Vec<HostMount> {
    let mut mounts: Vec<HostMount> = Vec::new();
    for mount in text.split(|&byte| byte == b'\n').filter_map(mount) {
        mounts.retain(|earlier| !earlier.point.starts_with(&mount.point));
        mounts.push(mount);
    }
    mounts
}

/// One line: the fifth word is the mount point, the sixth the options of the
/// mount, the last those of its file system.
fn mount(line: &[u8]) -> Option<HostMount> {
    let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let (point, own, shared) = (words.get(4)?, words.get(5)?, words.last()?);
    let has = |words: &[u8], option: &[u8]| words.split(|&byte| byte == b',').any(|o| o == option);
    Some(HostMount {
        point: OsString::from_vec(unescaped(point)).into(),
        read_only: has(own, b"ro") || has(shared, b"ro"),
        no_exec: has(own, b"noexec"),
        no_devices: has(own, b"nodev"),
    })
}

/// Spaces and their like are written as a backslash and three octal digits.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| first == b'\\');
        let code =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { behind.get(3..).unwrap_or_default() } else { behind };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_options_and_spaces() {
        let text = b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
                     28 27 0:25 / /mnt/a\\040b ro,nodev,noexec shared:1 - tmpfs none rw\n\
                     29 27 0:26 / /data rw - ext4 /dev/vdb ro\n";
        let mounts = visible(text);
        assert_eq!(mounts.len(), 3);
        let [root, spaced, data] = [&mounts[0], &mounts[1], &mounts[2]];
        assert!(root.point == Path::new("/") && !root.read_only && !root.no_exec);
        assert_eq!(spaced.point, Path::new("/mnt/a b"));
        assert!(spaced.read_only && spaced.no_exec && spaced.no_devices);
        assert!(data.read_only && !data.no_devices);
    }

    #[test]
    fn a_mount_that_is_covered_is_not_seen() {
        let text = b"1 0 0:1 / / rw - a a rw\n2 1 0:2 / /x/y rw - a a rw\n\
                     3 1 0:3 / /x ro - a a rw\n4 3 0:4 / /xy rw - a a rw\n";
        let points: Vec<_> = visible(text).into_iter().map(|mount| mount.point).collect();
        assert_eq!(points, ["/", "/x", "/xy"].map(PathBuf::from));
    }
}
