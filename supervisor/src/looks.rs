//! What only looks, made in a command's place: stat(2), access(2), readlink(2).
//!
//! What is looked at is held before it is judged, and that is looked at. What is seen
//! is written to the memory of the program that asks.

use std::mem::offset_of;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use linux_raw_sys::general as uapi;
use rustix::fs::{AtFlags, FileType, OFlags, fstat, readlinkat};
use rustix::io::{Errno, Result};

use crate::calls;
use crate::files::{Found, Open, Start, Use};
use crate::memory::Memory;
use crate::namespace::Namespace;
use crate::objects;
use crate::running::{Effect, Outcome, Running};
use crate::sys;
use crate::target::Target;
use crate::{Category, Notification, SyscallEvent};

/// What a call says.
pub(crate) struct Looking {
    directory: i32,
    /// Where its path lies.
    path: u64,
    flags: AtFlags,
    look: Look,
    /// Where it wants to be told what is seen.
    buffer: Option<u64>,
}

/// What is looked for.
#[derive(Clone, Copy)]
enum Look {
    Stat,
    Statx(u32),
    Access(u32),
    Link(usize),
}

/// What is looked at.
struct Seen {
    object: Arc<OwnedFd>,
    /// What a link of the thread's own leads to: one that /proc makes up.
    leads_to: Option<Found>,
}

impl Looking {
    pub(crate) fn of(name: &str, [one, two, three, four, five, _]: [u64; 6]) -> Option<Self> {
        let at = |directory: u64, path, flags: u64, look, buffer| {
            // Registers hold 64 bits, of which the kernel takes as many.
            let flags = AtFlags::from_bits_retain(flags as u32);
            Some(Self { directory: directory as i32, path, flags, look, buffer })
        };
        let here = uapi::AT_FDCWD as u64;
        let nofollow = u64::from(uapi::AT_SYMLINK_NOFOLLOW);
        // Of a negative size nothing would be left.
        let link = |size: u64| Look::Link(usize::try_from(size as i32).unwrap_or(0));
        match name {
            "stat" => at(here, one, 0, Look::Stat, Some(two)),
            "lstat" => at(here, one, nofollow, Look::Stat, Some(two)),
            "newfstatat" | "fstatat" => at(one, two, four, Look::Stat, Some(three)),
            "statx" => at(one, two, three, Look::Statx(four as u32), Some(five)),
            "access" => at(here, one, 0, Look::Access(two as u32), None),
            "faccessat" => at(one, two, 0, Look::Access(three as u32), None),
            "faccessat2" => at(one, two, four, Look::Access(three as u32), None),
            "readlink" => at(here, one, nofollow, link(three), Some(two)),
            "readlinkat" => {
                let flags = nofollow | u64::from(uapi::AT_EMPTY_PATH);
                at(one, two, flags, link(four), Some(three))
            }
            _ => None,
        }
    }

    /// Whether the kernel would take this.
    fn check(&self) -> Result<()> {
        let own = match self.look {
            Look::Stat | Look::Statx(_) => uapi::AT_NO_AUTOMOUNT | uapi::AT_STATX_SYNC_TYPE,
            Look::Access(_) => uapi::AT_EACCESS,
            Look::Link(0) => return Err(Errno::INVAL),
            Look::Link(_) => 0,
        };
        let known = own | uapi::AT_SYMLINK_NOFOLLOW | uapi::AT_EMPTY_PATH;
        if self.flags.bits() & !known == 0 { Ok(()) } else { Err(Errno::INVAL) }
    }
}

impl Look {
    /// What is seen: the call's result, and what is written.
    fn at(self, object: &OwnedFd, flags: AtFlags, namespace: &Namespace) -> Result<(i64, Vec<u8>)> {
        let object = object.as_fd();
        match self {
            Self::Stat => {
                let mut stat = sys::stat(object)?.to_vec();
                namespace.translate(
                    &mut stat,
                    [offset_of!(uapi::stat, st_uid), offset_of!(uapi::stat, st_gid)],
                );
                Ok((0, stat))
            }
            Self::Statx(mask) => {
                let sync = flags.bits() & uapi::AT_STATX_SYNC_TYPE;
                let mut statx = sys::statx(object, sync, mask)?.to_vec();
                namespace.translate(
                    &mut statx,
                    [offset_of!(uapi::statx, stx_uid), offset_of!(uapi::statx, stx_gid)],
                );
                Ok((0, statx))
            }
            Self::Access(mode) => {
                let effective = flags.bits() & uapi::AT_EACCESS;
                sys::access(object, mode, effective).map(|()| (0, Vec::new()))
            }
            Self::Link(_) => {
                if FileType::from_raw_mode(fstat(object)?.st_mode) != FileType::Symlink {
                    return Err(Errno::INVAL);
                }
                // What such a link says depends on who reads it.
                if objects::is_proc(object)? {
                    return Err(Errno::ACCESS);
                }
                Ok(self.link(readlinkat(object, c"", Vec::new())?.as_bytes()))
            }
        }
    }

    /// What is told of what a link says.
    fn link(self, says: &[u8]) -> (i64, Vec<u8>) {
        let most = if let Self::Link(size) = self { size } else { 0 };
        let told = &says[..says.len().min(most)];
        (told.len() as i64, told.to_vec())
    }
}

impl Namespace {
    /// Has a user and a group in what the kernel has said be its own.
    fn translate(&self, bytes: &mut [u8], [user, group]: [usize; 2]) {
        let mut at = |place: usize, its: &dyn Fn(u32) -> u32| {
            if let Some(id) = bytes[place..].first_chunk_mut() {
                *id = its(u32::from_ne_bytes(*id)).to_ne_bytes();
            }
        };
        at(user, &|id| self.user(id));
        at(group, &|id| self.group(id));
    }
}

impl Running {
    /// A call that looks at something.
    pub(crate) fn look(
        &mut self,
        asked: &Notification,
        target: &Target,
        name: &str,
        looking: &Looking,
    ) -> Outcome {
        let name = calls::known(name).ok_or(Errno::NOSYS)?;
        looking.check()?;
        self.confine(target)?;
        let namespace = Namespace::of(target)?;
        // Opened before it is known to be the memory of who waits.
        let memory = looking.buffer.map(|buffer| Ok((Memory::of(target)?, buffer))).transpose()?;
        let Seen { object, leads_to } = self.seen(asked, target, name, looking)?;
        let (look, flags) = (looking.look, looking.flags);
        let (value, bytes) = match (look, leads_to) {
            (Look::Link(_), Some(found)) => look.link(found.path.as_os_str().as_bytes()),
            _ => self.confined()?.run(move || look.at(&object, flags, &namespace))?,
        };
        if let Some((memory, buffer)) = memory {
            // Who was interrupted meanwhile may use the place for something else.
            self.check(asked)?;
            memory.write(&bytes, buffer)?;
        }
        Ok(Effect::Return(value))
    }

    /// What is looked at, once that may be.
    fn seen(
        &mut self,
        asked: &Notification,
        target: &Target,
        name: &'static str,
        looking: &Looking,
    ) -> Result<Seen> {
        let (directory, flags) = (looking.directory, looking.flags);
        let is_empty = flags.contains(AtFlags::EMPTY_PATH);
        let path = match looking.path {
            0 if is_empty => Default::default(),
            path => target.path(path)?,
        };
        if is_empty && path.as_os_str().is_empty() {
            // A descriptor was judged when it was opened.
            let object = Start::descriptor(directory, target)?;
            self.check(asked)?;
            return Ok(Seen { object: object.into(), leads_to: None });
        }
        let follows = !flags.contains(AtFlags::SYMLINK_NOFOLLOW);
        let follow = if follows { OFlags::empty() } else { OFlags::NOFOLLOW };
        let open = Open { directory, path, flags: follow, mode: 0 };
        let (found, is_own_link) = open.find_itself(target, self.confined()?, Use::Look)?;
        let (path, identity) = (found.path.clone(), found.identity);
        let event = SyscallEvent::new(name, Category::File, target);
        let event = SyscallEvent { path, identity, flags: flags.bits(), ..event };
        self.judge(asked, target, event, &[&found])?;
        Ok(Seen { object: found.object()?, leads_to: is_own_link.then_some(found) })
    }
}
