//! Changes of files and of their names, made in a command's place.
//!
//! Directories are held while they are judged, and so is a file that is changed
//! itself; what is done is done by these descriptors, by a thread that is confined
//! as the command.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, fstat, ftruncate, linkat, mkdirat, mknodat,
    openat, renameat_with, symlinkat, unlinkat,
};
use rustix::io::{Errno, Result};
use rustix::process::{Resource, getrlimit, umask};

use crate::calls;
use crate::files::{Found, Open, Start, own_link};
use crate::limits::least;
use crate::running::{Effect, Outcome, Running};
use crate::target::{Target, resource_limits};
use crate::{Category, Notification, SyscallEvent};

const AT_FDCWD: i32 = linux_raw_sys::general::AT_FDCWD;

/// A path as a call says it: from where, and its place in memory.
type At = (i32, u64);

/// What is done.
enum Change {
    Remove(At, AtFlags),
    Rename(At, At, RenameFlags),
    Link(At, At, AtFlags),
    Symlink(u64, At),
    Make(At, FileType, Mode),
    Truncate(At, u64),
}

/// A name in a directory that is held.
type Name = (Arc<OwnedFd>, OsString);

/// What was judged, and can be done.
type Deed = Box<dyn FnOnce() -> Result<()> + Send>;

impl Change {
    fn of(name: &str, [one, two, three, four, five, _]: [u64; 6]) -> Option<Self> {
        let here = |path| (AT_FDCWD, path);
        // Registers hold 64 bits, of which the kernel takes as many.
        let at = |directory: u64, path| (directory as i32, path);
        let flags = |flags: u64| AtFlags::from_bits_retain(flags as u32);
        let mode = |mode: u64| Mode::from_raw_mode(mode as u32 & 0o7777);
        let node = |at, of: u64| match FileType::from_raw_mode(of as u32) {
            FileType::Unknown => Some(Self::Make(at, FileType::RegularFile, mode(of))),
            // A directory is made by another call, and a device by no capability.
            kind @ (FileType::RegularFile | FileType::Fifo | FileType::Socket) => {
                Some(Self::Make(at, kind, mode(of)))
            }
            _ => None,
        };
        let renames = |flags: u64| RenameFlags::from_bits_retain(flags as u32);
        Some(match name {
            "unlink" => Self::Remove(here(one), AtFlags::empty()),
            "rmdir" => Self::Remove(here(one), AtFlags::REMOVEDIR),
            "unlinkat" => Self::Remove(at(one, two), flags(three)),
            "rename" => Self::Rename(here(one), here(two), RenameFlags::empty()),
            "renameat" => Self::Rename(at(one, two), at(three, four), RenameFlags::empty()),
            "renameat2" => Self::Rename(at(one, two), at(three, four), renames(five)),
            "link" => Self::Link(here(one), here(two), AtFlags::empty()),
            "linkat" => Self::Link(at(one, two), at(three, four), flags(five)),
            "symlink" => Self::Symlink(one, here(two)),
            "symlinkat" => Self::Symlink(one, at(two, three)),
            "mkdir" => Self::Make(here(one), FileType::Directory, mode(two)),
            "mkdirat" => Self::Make(at(one, two), FileType::Directory, mode(three)),
            "mknod" => node(here(one), two)?,
            "mknodat" => node(at(one, two), three)?,
            "truncate" => Self::Truncate(here(one), two),
            _ => return None,
        })
    }

    /// Flags of its, as a policy function is told them.
    fn flags(&self) -> u32 {
        match self {
            Self::Remove(_, flags) | Self::Link(_, _, flags) => flags.bits(),
            Self::Rename(_, _, flags) => flags.bits(),
            Self::Symlink(..) | Self::Make(..) | Self::Truncate(..) => 0,
        }
    }
}

impl Running {
    /// A call by which a file or its name is changed.
    pub(crate) fn change(&mut self, asked: &Notification, target: &Target, name: &str) -> Outcome {
        let name = calls::known(name).ok_or(Errno::NOSYS)?;
        let change = Change::of(name, asked.arguments).ok_or(Errno::PERM)?;
        self.confine(target)?;
        let flags = change.flags();
        let content = match change {
            Change::Symlink(content, _) => Some(target.path(content)?),
            _ => None,
        };
        let (found, deed) = self.deed(change, content.clone(), target)?;
        let [first, rest @ ..] = found.as_slice() else { return Err(Errno::INVAL) };
        let second = rest.first().map(|found| found.path.clone()).or(content);
        let (path, identity) = (first.path.clone(), first.identity);
        let event = SyscallEvent::new(name, Category::File, target);
        let event = SyscallEvent { path, second, identity, flags, ..event };
        self.judge(asked, target, event, &found.iter().collect::<Vec<_>>())?;
        self.confined()?.run(deed)?;
        Ok(Effect::Return(0))
    }

    /// Finds what a change is about, and how it is done to that.
    fn deed(
        &self,
        change: Change,
        content: Option<PathBuf>,
        target: &Target,
    ) -> Result<(Vec<Found>, Deed)> {
        let mask = Mode::from_raw_mode(target.status.umask);
        Ok(match change {
            Change::Remove(at, flags) => {
                let (found, (parent, name)) = self.name(at, target)?;
                (vec![found], Box::new(move || unlinkat(&*parent, name, flags)))
            }
            Change::Rename(from, to, flags) => {
                let (from, (old, old_name)) = self.name(from, target)?;
                let (to, (new, new_name)) = self.name(to, target)?;
                let deed = move || renameat_with(&*old, old_name, &*new, new_name, flags);
                (vec![from, to], Box::new(deed))
            }
            Change::Link(from, to, flags) => {
                let last = match flags {
                    AtFlags::SYMLINK_FOLLOW => OFlags::empty(),
                    flags if flags.is_empty() => OFlags::NOFOLLOW,
                    _ => return Err(Errno::INVAL),
                };
                let from = self.there(from, last, target)?;
                let (to, (new, name)) = self.name(to, target)?;
                let file = from.object()?;
                let follow = AtFlags::SYMLINK_FOLLOW;
                let deed = move || linkat(CWD, own_link(&file), &*new, name, follow);
                (vec![from, to], Box::new(deed))
            }
            Change::Symlink(_, at) => {
                let (found, (parent, name)) = self.name(at, target)?;
                let content = content.unwrap_or_default();
                (vec![found], Box::new(move || symlinkat(content, &*parent, name)))
            }
            Change::Make(at, kind, mode) => {
                let (found, (parent, name)) = self.name(at, target)?;
                let deed = move || {
                    umask(mask);
                    match kind {
                        FileType::Directory => mkdirat(&*parent, name, mode),
                        kind => mknodat(&*parent, name, kind, mode, 0),
                    }
                };
                (vec![found], Box::new(deed))
            }
            Change::Truncate(at, length) => self.truncate(at, length, target)?,
        })
    }

    /// A file is not made longer than the command may, nor than this process may,
    /// which would get a signal.
    fn truncate(&self, at: At, length: u64, target: &Target) -> Result<(Vec<Found>, Deed)> {
        let wanted = i64::try_from(length).map_err(|_| Errno::INVAL)?;
        let found = self.there(at, OFlags::WRONLY, target)?;
        let file = found.object()?;
        let [theirs, _] = resource_limits(target.status.pid, "Max file size")?;
        let limit = least(theirs, getrlimit(Resource::Fsize).current);
        let is_too_long = limit.is_some_and(|limit| length > limit);
        if FileType::from_raw_mode(fstat(&*file)?.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let deed = move || {
            // Somebody may hold a lease, and is not waited for.
            let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let open = openat(CWD, own_link(&file), flags, Mode::empty())?;
            if is_too_long && wanted > fstat(&open)?.st_size {
                return Err(Errno::FBIG);
            }
            ftruncate(open, length)
        };
        Ok((vec![found], Box::new(deed)))
    }

    /// A name in its directory, which is held.
    fn name(&self, (directory, path): At, target: &Target) -> Result<(Found, Name)> {
        let (path, confined) = (target.path(path)?, self.confined()?);
        let found = Start::of(target, confined)?.name(directory, &path, target, confined)?;
        let named = found.named()?;
        Ok((found, named))
    }

    /// A file that is there.
    fn there(&self, (directory, path): At, flags: OFlags, target: &Target) -> Result<Found> {
        let open = Open { directory, path: target.path(path)?, flags, mode: 0 };
        open.find(target, self.confined()?)
    }
}
