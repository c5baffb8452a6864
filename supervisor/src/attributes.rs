//! What a file has beside its content - mode, owners, times, extended attributes -
//! changed in a command's place.
//!
//! The file is held while it is judged, and that file is changed, by a thread that is
//! confined as the command.

use std::path::PathBuf;

use linux_raw_sys::general as uapi;
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    removexattr, setxattr, utimensat,
};
use rustix::io::{Errno, Result};

use crate::calls;
use crate::files::{Open, Use, own_link};
use crate::namespace::Namespace;
use crate::running::{Effect, Outcome, Running};
use crate::target::Target;
use crate::{Category, Notification, SyscallEvent};

/// `XATTR_SIZE_MAX` of linux/limits.h.
const SIZE: u64 = 65536;

/// What an id is that stays as it is.
const SAME: u32 = u32::MAX;

/// What a call says.
pub(crate) struct Changing {
    directory: i32,
    /// Where its path lies.
    path: u64,
    flags: AtFlags,
    attribute: Attribute,
}

/// What becomes of which attribute.
#[derive(Clone, Copy)]
enum Attribute {
    Mode(u64),
    /// User and group.
    Owner(u64, u64),
    /// Where they lie, and how.
    Times(u64, Times),
    /// Where name and value lie, how long this is, and flags.
    Set(u64, u64, u64, u64),
    /// Where the name lies.
    Remove(u64),
}

/// How a call says two times.
#[derive(Clone, Copy)]
enum Times {
    Seconds,
    Microseconds,
    Nanoseconds,
}

/// What is done to a file, as all of it was read.
enum Deed {
    Mode(Mode),
    Owner(Option<Uid>, Option<Gid>),
    Times(Timestamps),
    Set(PathBuf, Vec<u8>, XattrFlags),
    Remove(PathBuf),
}

impl Changing {
    pub(crate) fn of(name: &str, [one, two, three, four, five, _]: [u64; 6]) -> Option<Self> {
        let at = |directory: u64, path, flags: u64, attribute| {
            // Registers hold 64 bits, of which the kernel takes as many.
            let flags = AtFlags::from_bits_retain(flags as u32);
            Some(Self { directory: directory as i32, path, flags, attribute })
        };
        let here = uapi::AT_FDCWD as u64;
        let nofollow = u64::from(uapi::AT_SYMLINK_NOFOLLOW);
        match name {
            "chmod" => at(here, one, 0, Attribute::Mode(two)),
            "fchmodat" => at(one, two, 0, Attribute::Mode(three)),
            "fchmodat2" => at(one, two, four, Attribute::Mode(three)),
            "chown" => at(here, one, 0, Attribute::Owner(two, three)),
            "lchown" => at(here, one, nofollow, Attribute::Owner(two, three)),
            "fchownat" => at(one, two, five, Attribute::Owner(three, four)),
            "utime" => at(here, one, 0, Attribute::Times(two, Times::Seconds)),
            "utimes" => at(here, one, 0, Attribute::Times(two, Times::Microseconds)),
            "futimesat" => at(one, two, 0, Attribute::Times(three, Times::Microseconds)),
            "utimensat" => at(one, two, four, Attribute::Times(three, Times::Nanoseconds)),
            "setxattr" => at(here, one, 0, Attribute::Set(two, three, four, five)),
            "lsetxattr" => at(here, one, nofollow, Attribute::Set(two, three, four, five)),
            "removexattr" => at(here, one, 0, Attribute::Remove(two)),
            "lremovexattr" => at(here, one, nofollow, Attribute::Remove(two)),
            _ => None,
        }
    }

    /// The path that it says; `None` where it means a descriptor.
    fn path(&self, target: &Target) -> Result<Option<PathBuf>> {
        let is_times = matches!(self.attribute, Attribute::Times(..));
        if self.path == 0 && is_times && self.directory != uapi::AT_FDCWD {
            return Ok(None);
        }
        let path = target.path(self.path)?;
        let is_empty = path.as_os_str().is_empty();
        Ok(Some(path).filter(|_| !is_empty || !self.flags.contains(AtFlags::EMPTY_PATH)))
    }
}

impl Attribute {
    /// Reads the rest of what a call says.
    fn read(self, target: &Target) -> Result<Deed> {
        Ok(match self {
            Self::Mode(mode) => Deed::Mode(Mode::from_raw_mode(mode as u32 & 0o7777)),
            Self::Owner(user, group) => {
                let namespace = Namespace::of(target)?;
                let id = |id: u64| Some(id as u32).filter(|id| *id != SAME);
                let user = id(user).map(|id| namespace.user_outside(id).ok_or(Errno::INVAL));
                let group = id(group).map(|id| namespace.group_outside(id).ok_or(Errno::INVAL));
                let (user, group) = (user.transpose()?, group.transpose()?);
                Deed::Owner(user.map(Uid::from_raw), group.map(Gid::from_raw))
            }
            Self::Times(address, times) => Deed::Times(times.read(target, address)?),
            Self::Set(name, value, size, flags) => {
                if size > SIZE {
                    return Err(Errno::TOOBIG);
                }
                let value = target.bytes(value, size as usize)?;
                Deed::Set(name_at(target, name)?, value, XattrFlags::from_bits_retain(flags as u32))
            }
            Self::Remove(name) => Deed::Remove(name_at(target, name)?),
        })
    }
}

/// The name of an attribute. Those of a program are the same for everybody; what is in
/// the others depends on namespaces and capabilities.
fn name_at(target: &Target, address: u64) -> Result<PathBuf> {
    let name = target.path(address)?;
    let is_user = name.as_os_str().as_encoded_bytes().starts_with(b"user.");
    if is_user { Ok(name) } else { Err(Errno::OPNOTSUPP) }
}

impl Times {
    fn read(self, target: &Target, address: u64) -> Result<Timestamps> {
        let time = |seconds: u64, nanoseconds: u64| Timespec {
            tv_sec: seconds as i64,
            tv_nsec: nanoseconds as i64,
        };
        let (last_access, last_modification) = match self {
            _ if address == 0 => {
                let now = time(0, uapi::UTIME_NOW.into());
                (now, now)
            }
            Self::Seconds => {
                let [access, modification] = target.words(address)?;
                (time(access, 0), time(modification, 0))
            }
            Self::Microseconds => {
                let words: [u64; 4] = target.words(address)?;
                if words[1] >= 1_000_000 || words[3] >= 1_000_000 {
                    return Err(Errno::INVAL);
                }
                (time(words[0], words[1] * 1000), time(words[2], words[3] * 1000))
            }
            Self::Nanoseconds => {
                let words: [u64; 4] = target.words(address)?;
                (time(words[0], words[1]), time(words[2], words[3]))
            }
        };
        Ok(Timestamps { last_access, last_modification })
    }
}

impl Deed {
    /// Does it to an object, by the link that leads to that.
    fn to(self, object: &str) -> Result<()> {
        match self {
            Self::Mode(mode) => chmodat(CWD, object, mode, AtFlags::empty()),
            Self::Owner(user, group) => chownat(CWD, object, user, group, AtFlags::empty()),
            Self::Times(times) => utimensat(CWD, object, &times, AtFlags::empty()),
            Self::Set(name, value, flags) => setxattr(object, name, &value, flags),
            Self::Remove(name) => removexattr(object, name),
        }
    }

    /// The name of an extended attribute, if it is about one.
    fn name(&self) -> Option<&PathBuf> {
        match self {
            Self::Set(name, ..) | Self::Remove(name) => Some(name),
            Self::Mode(_) | Self::Owner(..) | Self::Times(_) => None,
        }
    }
}

impl Running {
    /// A call that changes an attribute of a file.
    pub(crate) fn change_attribute(
        &mut self,
        asked: &Notification,
        target: &Target,
        name: &str,
        changing: &Changing,
    ) -> Outcome {
        let name = calls::known(name).ok_or(Errno::NOSYS)?;
        let (directory, flags) = (changing.directory, changing.flags);
        if !(AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH).contains(flags) {
            return Err(Errno::INVAL);
        }
        self.confine(target)?;
        let deed = changing.attribute.read(target)?;
        let found = match changing.path(target)? {
            None => Open::descriptor(directory, target, self.confined()?)?,
            Some(path) => {
                let follows = !flags.contains(AtFlags::SYMLINK_NOFOLLOW);
                let follow = if follows { OFlags::empty() } else { OFlags::NOFOLLOW };
                let open = Open { directory, path, flags: follow, mode: 0 };
                open.find_itself(target, self.confined()?, Use::Change)?.0
            }
        };
        let (path, identity) = (found.path.clone(), found.identity);
        let (second, flags) = (deed.name().cloned(), flags.bits());
        let event = SyscallEvent::new(name, Category::File, target);
        let event = SyscallEvent { path, second, identity, flags, ..event };
        self.judge(asked, target, event, &[&found])?;
        let object = found.object()?;
        self.confined()?.run(move || deed.to(&own_link(&object)))?;
        Ok(Effect::Return(0))
    }
}
