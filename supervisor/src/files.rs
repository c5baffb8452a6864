//! Opens on behalf of a thread: resolved once, judged, and opened as judged.
//!
//! What a path leads to is held by a descriptor before it is judged, and that
//! descriptor is what is opened, so nobody can put another file in its place.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fcntl_getfl, fcntl_setfl, fstat,
    openat, openat2, readlinkat, statat,
};
use rustix::io::{Errno, Result};
use rustix::process::umask;

use crate::confined::Confined;
use crate::objects;
use crate::target::Target;

/// How often a walk is begun anew because directories moved meanwhile.
const WALKS: usize = 16;

/// What is asked for.
pub(crate) struct Open {
    /// From where.
    pub(crate) directory: i32,
    /// What.
    pub(crate) path: PathBuf,
    pub(crate) flags: OFlags,
    pub(crate) mode: u32,
}

/// What for something is found that is not opened.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    Look,
    Change,
}

/// What will be opened.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// Device and inode.
    pub(crate) identity: Option<(u64, u64)>,
    object: Object,
}

enum Object {
    There(Arc<OwnedFd>),
    /// A file to be created, by its directory and name.
    New(Arc<OwnedFd>, OsString),
}

/// Where a thread's paths begin.
pub(crate) struct Start {
    root: Arc<OwnedFd>,
    /// The root as this process would call it.
    name: PathBuf,
    /// Its number in the file system of kind proc that it has at /proc, and its
    /// thread's.
    own: Option<(u32, u32)>,
}

/// What a path stands for that depends on who walks it.
#[derive(Debug, PartialEq, Eq)]
enum Own {
    /// A link of the process: its descriptor 3, say.
    Link(String),
    /// The same place for everybody.
    Path(PathBuf),
}

impl Open {
    fn creates(&self) -> bool {
        self.flags.contains(OFlags::CREATE)
    }

    fn writes(&self) -> bool {
        !(self.flags & OFlags::ACCMODE).is_empty() || self.flags.contains(OFlags::TRUNC)
    }

    /// Finds what would be opened, or why it cannot be.
    pub(crate) fn find(&self, target: &Target, confined: &Confined) -> Result<Found> {
        if self.path.as_os_str().is_empty() {
            return Err(Errno::NOENT);
        }
        let start = Start::of(target, confined)?;
        let path = start.absolute(self.directory, &self.path, target, confined)?;
        match self.walk(&start, &path, target, confined) {
            Ok((object, _)) => self.existing(object, &start, target),
            Err(Errno::NOENT) if self.creates() => self.new_file(&path, &start, target, confined),
            Err(error) => Err(error),
        }
    }

    /// Finds what is there, be it a symbolic link or any device; whether a link of
    /// the thread's own leads there.
    pub(crate) fn find_itself(
        &self,
        target: &Target,
        confined: &Confined,
        to: Use,
    ) -> Result<(Found, bool)> {
        if self.path.as_os_str().is_empty() {
            return Err(Errno::NOENT);
        }
        let start = Start::of(target, confined)?;
        let path = start.absolute(self.directory, &self.path, target, confined)?;
        let (object, is_own_link) = self.walk(&start, &path, target, confined)?;
        Ok((Found::itself(object, &start, target, is_own_link, to)?, is_own_link))
    }

    /// Finds what a descriptor of a thread is of, to change it.
    pub(crate) fn descriptor(number: i32, target: &Target, confined: &Confined) -> Result<Found> {
        let start = Start::of(target, confined)?;
        let object = Start::descriptor(number, target)?.into();
        Found::itself(object, &start, target, true, Use::Change)
    }

    /// What a path leads to, and whether by a link of the thread's own.
    fn walk(
        &self,
        start: &Start,
        path: &Path,
        target: &Target,
        confined: &Confined,
    ) -> Result<(Arc<OwnedFd>, bool)> {
        match start.own(path) {
            Own::Link(name) => Ok((Arc::new(target.link(&name)?), true)),
            Own::Path(path) => {
                let follows = !self.flags.intersects(OFlags::NOFOLLOW) && !self.is_exclusive();
                start.walk(path, follows, confined).map(|object| (object, false))
            }
        }
    }

    fn is_exclusive(&self) -> bool {
        self.creates() && self.flags.contains(OFlags::EXCL)
    }

    fn existing(&self, object: Arc<OwnedFd>, start: &Start, target: &Target) -> Result<Found> {
        if self.is_exclusive() {
            return Err(Errno::EXIST);
        }
        let stat = fstat(&*object)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => return Err(Errno::LOOP),
            FileType::Directory if self.creates() => return Err(Errno::ISDIR),
            _ => {}
        }
        let path = start.inside(&name_of(&object)?);
        objects::check(object.as_fd(), &stat, &path, self.writes(), &target.status)?;
        let identity = Some((stat.st_dev, stat.st_ino));
        Ok(Found { path, identity, object: Object::There(object) })
    }

    fn new_file(
        &self,
        path: &Path,
        start: &Start,
        target: &Target,
        confined: &Confined,
    ) -> Result<Found> {
        if ends_as_directory(path) {
            return Err(Errno::ISDIR);
        }
        let found = start.entry(path, target, confined)?;
        // A link that leads nowhere yet would have to be walked by hand.
        if found.identity.is_some() && found.is_link()? {
            return Err(Errno::PERM);
        }
        Ok(Found { identity: None, ..found })
    }
}

impl Found {
    fn itself(
        object: Arc<OwnedFd>,
        start: &Start,
        target: &Target,
        is_own: bool,
        to: Use,
    ) -> Result<Self> {
        let (stat, path) = (fstat(&*object)?, start.inside(&name_of(&object)?));
        match to {
            Use::Change => objects::check(object.as_fd(), &stat, &path, true, &target.status)?,
            // What is open may be anything.
            Use::Look if is_own => {}
            Use::Look => objects::check_to_look(object.as_fd(), &stat, &path, &target.status)?,
        }
        let identity = Some((stat.st_dev, stat.st_ino));
        Ok(Self { path, identity, object: Object::There(object) })
    }

    fn is_link(&self) -> Result<bool> {
        let Object::New(parent, name) = &self.object else { return Ok(false) };
        Ok(is_link(&statat(&**parent, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// What is there.
    pub(crate) fn object(&self) -> Result<Arc<OwnedFd>> {
        match &self.object {
            Object::There(object) => Ok(Arc::clone(object)),
            Object::New(..) => Err(Errno::NOENT),
        }
    }

    /// The directory that it is a name in, and the name.
    pub(crate) fn named(&self) -> Result<(Arc<OwnedFd>, OsString)> {
        match &self.object {
            Object::New(parent, name) => Ok((Arc::clone(parent), name.clone())),
            Object::There(_) => Err(Errno::INVAL),
        }
    }

    /// The directory that it is, or that it is in.
    pub(crate) fn directory(&self, start: &Start, confined: &Confined) -> Result<Arc<OwnedFd>> {
        let object = match &self.object {
            Object::New(parent, _) => return Ok(Arc::clone(parent)),
            Object::There(object) => object,
        };
        let stat = fstat(&**object)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(Arc::clone(object));
        }
        // What has no name, or none any more, is in no directory.
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Err(Errno::ACCESS);
        };
        let parent = start.walk(parent.to_owned(), true, confined)?;
        let there = statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino) {
            Ok(parent)
        } else {
            Err(Errno::ACCESS)
        }
    }

    /// Opens it; EEXIST where it was to be created and somebody else has done
    /// so since it was judged.
    pub(crate) fn open(self, open: &Open, target: &Target, confined: &Confined) -> Result<OwnedFd> {
        // A pipe without another end must not keep everybody waiting, and a
        // terminal must not become this process's.
        let extra = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let (asked, mode) = (open.flags, Mode::from_raw_mode(open.mode & 0o7777));
        let mask = Mode::from_raw_mode(target.status.umask);
        let file = confined.run(move || {
            umask(mask);
            match self.object {
                Object::There(object) => {
                    // It is open already, so this walks to the same object.
                    let walk = OFlags::NOFOLLOW | OFlags::CREATE | OFlags::EXCL;
                    let (flags, it) = (asked.difference(walk) | extra, own_link(&object));
                    openat(CWD, it, flags, mode)
                }
                Object::New(parent, name) => {
                    let new = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                    openat(&*parent, name, asked | new | extra, mode)
                }
            }
        })?;
        if !asked.contains(OFlags::NONBLOCK) {
            fcntl_setfl(&file, fcntl_getfl(&file)?.difference(OFlags::NONBLOCK))?;
        }
        Ok(file)
    }
}

impl Start {
    /// Where the paths of a thread begin that names nothing of its own.
    pub(crate) fn root_of(target: &Target) -> Result<Self> {
        let root = Arc::new(target.link("root")?);
        Ok(Self { name: name_of(&root)?, root, own: None })
    }

    /// Whether the paths of a thread begin here.
    pub(crate) fn is_root_of(&self, target: &Target) -> Result<bool> {
        let (own, theirs) = (fstat(&*self.root)?, fstat(target.link("root")?)?);
        Ok((own.st_dev, own.st_ino) == (theirs.st_dev, theirs.st_ino))
    }

    pub(crate) fn of(target: &Target, confined: &Confined) -> Result<Self> {
        let mut start = Self::root_of(target)?;
        if let Ok(proc) = start.walk("/proc".into(), true, confined)
            && objects::is_proc(proc.as_fd())?
        {
            start.own = Some(target.status.numbers(objects::is_own_proc(&fstat(&*proc)?)));
        }
        Ok(start)
    }

    /// What a descriptor of a thread is of, or where it stands.
    pub(crate) fn descriptor(number: i32, target: &Target) -> Result<OwnedFd> {
        match number {
            linux_raw_sys::general::AT_FDCWD => target.link("cwd"),
            fd => target.link(&format!("fd/{fd}")).map_err(|_| Errno::BADF),
        }
    }

    /// The path from the root. A directory that it begins in may be moved
    /// meanwhile; then another object is found and judged, or none.
    fn absolute(
        &self,
        directory: i32,
        path: &Path,
        target: &Target,
        confined: &Confined,
    ) -> Result<PathBuf> {
        if path.is_absolute() {
            return Ok(path.to_owned());
        }
        let from = Self::descriptor(directory, target)?;
        let from = fstat(&from).and_then(|stat| Ok((stat, self.inside(&name_of(&from)?))));
        let (stat, name) = from?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        let found = fstat(&*self.walk(name.clone(), true, confined)?)?;
        if (found.st_dev, found.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(Errno::ACCESS);
        }
        Ok(name.join(path))
    }

    /// A name in a directory, from where a thread's paths begin, whatever it stands
    /// for. Slashes behind it are left out.
    pub(crate) fn name(
        &self,
        directory: i32,
        path: &Path,
        target: &Target,
        confined: &Confined,
    ) -> Result<Found> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NOENT);
        }
        let path = self.absolute(directory, path, target, confined)?;
        let bytes = path.as_os_str().as_bytes();
        let end = bytes.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        let path = Path::new(OsStr::from_bytes(&bytes[..end]));
        if ends_as_directory(path) {
            return Err(Errno::INVAL);
        }
        self.entry(path, target, confined)
    }

    fn entry(&self, path: &Path, target: &Target, confined: &Confined) -> Result<Found> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::ISDIR);
        };
        let Own::Path(parent) = self.own(parent) else { return Err(Errno::NOTDIR) };
        let parent = self.walk(parent, true, confined)?;
        let place = self.inside(&name_of(&parent)?);
        objects::check(parent.as_fd(), &fstat(&*parent)?, &place, true, &target.status)?;
        let there = statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let identity = there.map(|stat| (stat.st_dev, stat.st_ino));
        let object = Object::New(parent, name.to_owned());
        Ok(Found { path: place.join(name), identity, object })
    }

    /// What this process calls by this name, as it is called below the root.
    pub(crate) fn inside(&self, name: &Path) -> PathBuf {
        name.strip_prefix(&self.name)
            .map_or_else(|_| name.to_owned(), |rest| Path::new("/").join(rest))
    }

    /// Recognises what leads to the thread itself. What leads there by other
    /// ways is not found by this process, or refused.
    fn own(&self, path: &Path) -> Own {
        let other = || Own::Path(path.to_owned());
        let Some((pid, tid)) = self.own else { return other() };
        let Some(names) = names(path) else { return other() };
        let number = pid.to_string();
        let rest = match names.as_slice() {
            ["dev", "stdin"] => return Own::Link("fd/0".to_owned()),
            ["dev", "stdout"] => return Own::Link("fd/1".to_owned()),
            ["dev", "stderr"] => return Own::Link("fd/2".to_owned()),
            ["dev", rest @ ..] if rest.first() == Some(&"fd") => rest,
            ["proc", "thread-self", rest @ ..] => match rest {
                ["fd", _] => rest,
                _ => return Own::Path(below(&format!("{pid}/task/{tid}"), rest)),
            },
            ["proc", "self", rest @ ..] => rest,
            ["proc", it, rest @ ..] if *it == number => rest,
            ["proc", rest @ ..] if matches!(rest.first(), Some(&("net" | "mounts"))) => rest,
            _ => return other(),
        };
        match rest {
            ["fd", fd] if fd.parse::<u32>().is_ok() => Own::Link(format!("fd/{fd}")),
            ["exe"] => Own::Link("exe".to_owned()),
            _ => Own::Path(below(&number, rest)),
        }
    }

    /// Walks to an object. Links that the kernel makes up are not followed.
    pub(crate) fn walk(
        &self,
        path: PathBuf,
        follows: bool,
        confined: &Confined,
    ) -> Result<Arc<OwnedFd>> {
        let root = Arc::clone(&self.root);
        let last = if follows { OFlags::empty() } else { OFlags::NOFOLLOW };
        confined.run(move || {
            let flags = OFlags::PATH | OFlags::CLOEXEC | last;
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let walk = || openat2(&*root, &path, flags, Mode::empty(), resolve);
            let mut walks = std::iter::repeat_with(walk).take(WALKS);
            let found = walks.find(|found| !matches!(found, Err(Errno::AGAIN)));
            found.unwrap_or(Err(Errno::AGAIN)).map(Arc::new)
        })
    }
}

fn below(process: &str, rest: &[&str]) -> PathBuf {
    Path::new("/proc").join(process).join(rest.join("/"))
}

/// The names that a path consists of, where there are no others among them.
fn names(path: &Path) -> Option<Vec<&str>> {
    let named = path.components().skip_while(|part| *part == Component::RootDir);
    named
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect()
}

fn ends_as_directory(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.ends_with(b"/") || bytes.ends_with(b"/.") || bytes.ends_with(b"/..")
}

fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

/// The link by which an open object can be reached again.
pub(crate) fn own_link(object: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", object.as_raw_fd())
}

/// What this process calls it.
pub(crate) fn name_of(object: &OwnedFd) -> Result<PathBuf> {
    let name = readlinkat(CWD, own_link(object), Vec::new())?;
    Ok(OsString::from_vec(name.into_bytes()).into())
}
