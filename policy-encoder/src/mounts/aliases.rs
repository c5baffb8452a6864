//! The host's own second paths: what is bind-mounted shows one object under
//! several names, and a mask of one name does not cover the others.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::tree::moved;

/// The mounts of this process's mount namespace: proc_pid_mountinfo(5).
#[derive(Debug, Default)]
pub(super) struct MountTable {
    mounts: Vec<HostMount>,
}

#[derive(Debug)]
struct HostMount {
    id: u32,
    parent: u32,
    /// Major and minor number of the file system.
    device: Vec<u8>,
    /// What of the file system is shown.
    root: PathBuf,
    /// Where.
    at: PathBuf,
}

impl MountTable {
    /// The table of this process; empty where there is no `/proc`.
    pub(super) fn read() -> Self {
        Self::parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
    }

    fn parse(text: &[u8]) -> Self {
        Self { mounts: text.split(|&byte| byte == b'\n').filter_map(HostMount::parse).collect() }
    }

    /// The other paths at which an object, or a part of it, can be seen.
    pub(super) fn aliases(&self, object: &Path) -> Vec<PathBuf> {
        let Some(own) = self.mount_of(object) else { return Vec::new() };
        let inner = moved(object, &own.at, &own.root);
        let others =
            self.mounts.iter().filter(|other| other.id != own.id && other.device == own.device);
        let mut aliases = Vec::new();
        for other in others {
            let alias = if inner.starts_with(&other.root) {
                moved(&inner, &other.root, &other.at)
            } else if other.root.starts_with(&inner) {
                other.at.clone()
            } else {
                continue;
            };
            let is_visible = self.mount_of(&alias).is_some_and(|top| top.id == other.id);
            if is_visible && !alias.starts_with(object) {
                aliases.push(alias);
            }
        }
        aliases
    }

    /// The mount that a path is on: down from the root, through what is
    /// mounted on the way.
    fn mount_of(&self, path: &Path) -> Option<&HostMount> {
        let is_known = |id| self.mounts.iter().any(|mount| mount.id == id);
        let mut here =
            self.mounts.iter().find(|mount| mount.parent == mount.id || !is_known(mount.parent))?;
        loop {
            let next = self
                .mounts
                .iter()
                .filter(|mount| mount.parent == here.id && mount.id != here.id)
                .filter(|mount| path.starts_with(&mount.at))
                .min_by_key(|mount| mount.at.as_os_str().len());
            match next {
                Some(next) => here = next,
                None => return Some(here),
            }
        }
    }
}

impl HostMount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
        let (id, parent) = (number()?, number()?);
        let device = fields.next()?.to_owned();
        Some(Self { id, parent, device, root: path(fields.next()?), at: path(fields.next()?) })
    }
}

/// A path of the table, in which four bytes are written in octal.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'\\', [b'0', b'4', b'0', after @ ..]) => (b' ', after),
            (b'\\', [b'0', b'1', b'1', after @ ..]) => (b'\t', after),
            (b'\\', [b'0', b'1', b'2', after @ ..]) => (b'\n', after),
            (b'\\', [b'1', b'3', b'4', after @ ..]) => (b'\\', after),
            _ => (byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
        20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        21 20 8:1 /srv/data /mnt/da\\040ta rw - ext4 /dev/sda1 rw\n\
        22 20 8:1 /srv/data/secret/key /opt/key rw - ext4 /dev/sda1 rw\n\
        23 20 8:2 / /srv/other rw - ext4 /dev/sdb1 rw\n\
        24 20 8:1 /srv /covered/srv rw - ext4 /dev/sda1 rw\n\
        25 20 0:5 / /covered rw - tmpfs none rw\n";

    fn aliases(object: &str) -> Vec<PathBuf> {
        MountTable::parse(TABLE).aliases(Path::new(object))
    }

    #[test]
    fn a_bind_mount_shows_an_object_again() {
        assert_eq!(
            aliases("/srv/data/secret"),
            [Path::new("/mnt/da ta/secret"), Path::new("/opt/key")]
        );
        assert_eq!(aliases("/mnt/da ta/x"), [Path::new("/srv/data/x")]);
        assert_eq!(aliases("/opt/key").len(), 2);
    }

    #[test]
    fn what_is_elsewhere_or_covered_shows_nothing() {
        assert_eq!(aliases("/srv/other/x"), [""; 0].map(PathBuf::from));
        assert_eq!(aliases("/srv/log"), [""; 0].map(PathBuf::from));
        assert_eq!(MountTable::default().aliases(Path::new("/x")), [""; 0].map(PathBuf::from));
    }
}
