//! What the kernel says to each operation.

use std::ffi::OsString;
use std::path::{Component, Path};

use linux_raw_sys::general::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_RDONLY};
use linux_raw_sys::landlock as uapi;

use super::files::Kind;
use super::landlock::{Refer, Refusal};
use super::view::{Id, Model, Step, Way};
use super::{Answer, Operation, Reason, Source};

/// The directory of a name, and the name.
struct Place {
    directory: Way,
    name: OsString,
}

impl Model {
    /// What the kernel will say to an operation on an absolute path inside.
    /// `to` is the other name of [`Operation::Rename`] and
    /// [`Operation::Link`]; without one it is a new name in the same directory.
    pub fn ask(&self, path: &Path, operation: Operation, to: Option<&Path>) -> Answer {
        let answer = match operation {
            Operation::List => self.list(path),
            Operation::Read => self.open(path, uapi::LANDLOCK_ACCESS_FS_READ_FILE),
            Operation::Write => self.write(path),
            Operation::Truncate => self.truncate(path),
            Operation::Create => self.create(path),
            Operation::Remove => self.remove(path),
            Operation::Rename => self.rename(path, to),
            Operation::Link => self.link(path, to),
            Operation::Execute => self.execute(path),
        };
        let by = self.decider(path);
        match answer {
            Ok(()) => Answer { allowed: true, because: Reason::Granted, by },
            Err(because) => Answer { allowed: false, because, by },
        }
    }

    /// What of the policy speaks of a path: of itself, or of the directory
    /// that it would be in.
    fn decider(&self, path: &Path) -> Source {
        let nearest = path.ancestors().find_map(|path| self.find(path, true).ok());
        nearest.and_then(|way| way.last().map(|step| self.source_of(step))).unwrap_or(Source::Root)
    }

    fn list(&self, path: &Path) -> Result<(), Reason> {
        let way = self.find(path, true)?;
        let step = last(&way)?;
        if step.kind != Kind::Directory {
            return Err(Reason::WrongKind("not a directory"));
        }
        self.open_directory(&way, step)
    }

    fn open_directory(&self, way: &Way, step: &Step) -> Result<(), Reason> {
        self.mode(step, 0o400)?;
        self.landlock(way, uapi::LANDLOCK_ACCESS_FS_READ_DIR)
    }

    fn open(&self, path: &Path, rights: u32) -> Result<(), Reason> {
        let way = self.find(path, true)?;
        let step = last(&way)?;
        match step.kind {
            Kind::Directory => return self.open_directory(&way, step),
            Kind::Socket => return Err(Reason::WrongKind("a socket")),
            _ => {}
        }
        self.device(step)?;
        self.mode(step, 0o400)?;
        self.landlock(&way, rights)
    }

    fn write(&self, path: &Path) -> Result<(), Reason> {
        let way = self.find(path, true)?;
        let step = last(&way)?;
        match step.kind {
            Kind::Directory => return Err(Reason::WrongKind("a directory")),
            Kind::Socket => return Err(Reason::WrongKind("a socket")),
            _ => {}
        }
        self.device(step)?;
        self.mode(step, 0o200)?;
        // A device or a pipe is written to, not changed.
        if step.kind == Kind::File {
            self.writable(step)?;
        }
        self.landlock(&way, uapi::LANDLOCK_ACCESS_FS_WRITE_FILE)
    }

    fn truncate(&self, path: &Path) -> Result<(), Reason> {
        let way = self.find(path, true)?;
        let step = last(&way)?;
        match step.kind {
            Kind::Directory => return Err(Reason::WrongKind("a directory")),
            Kind::File => {}
            _ => return Err(Reason::WrongKind("not a regular file")),
        }
        self.writable(step)?;
        self.mode(step, 0o200)?;
        self.landlock(&way, uapi::LANDLOCK_ACCESS_FS_TRUNCATE)
    }

    fn create(&self, path: &Path) -> Result<(), Reason> {
        let place = self.place(path)?;
        self.absent(&place)?;
        let directory = last(&place.directory)?;
        self.change(directory)?;
        let wanted = uapi::LANDLOCK_ACCESS_FS_MAKE_REG | uapi::LANDLOCK_ACCESS_FS_WRITE_FILE;
        self.landlock(&place.directory, wanted)
    }

    fn remove(&self, path: &Path) -> Result<(), Reason> {
        let place = self.place(path)?;
        let step = self.child(&place.directory, &place.name)?;
        let directory = last(&place.directory)?;
        self.free(&place)?;
        self.change(directory)?;
        self.landlock(&place.directory, removed(&step.kind))
    }

    fn rename(&self, path: &Path, to: Option<&Path>) -> Result<(), Reason> {
        let from = self.place(path)?;
        let step = self.child(&from.directory, &from.name)?;
        let directory = last(&from.directory)?;
        let mut wanted_to = made(&step.kind);
        let to = match to {
            None => Place { directory: from.directory.clone(), name: OsString::new() },
            Some(to) => self.place(to)?,
        };
        let target = last(&to.directory)?;
        if target.mount != directory.mount {
            return Err(Reason::CrossesMounts);
        }
        self.change(directory)?;
        self.change(target)?;
        let itself = |step: &Step, way: &Way| way.iter().any(|above| above.path == step.path);
        if itself(&step, &to.directory) {
            return Err(Reason::WrongKind("a directory above its new name"));
        }
        let old = self.present(&to)?;
        // Two names of one file: nothing is done, successfully. What is mounted
        // on a name does not count.
        let beneath = |step: &Step, place: &Place| self.beneath(step, &place.name).ok();
        let is_same = old.is_some()
            && beneath(directory, &from).map(|file| file.id)
                == beneath(target, &to).map(|file| file.id);
        if !is_same {
            self.free(&from)?;
        }
        if let Some(old) = old.filter(|_| !is_same) {
            self.free(&to)?;
            if itself(&old, &from.directory) {
                return Err(Reason::WrongKind("below its new name"));
            }
            match (step.kind == Kind::Directory, old.kind == Kind::Directory) {
                (true, false) => return Err(Reason::WrongKind("a directory, and the other not")),
                (false, true) => return Err(Reason::WrongKind("no directory, and the other is")),
                _ => wanted_to |= removed(&old.kind),
            }
        } else if is_same {
            wanted_to |= removed(&step.kind);
        }
        self.refer(&from, &to, &step, removed(&step.kind), wanted_to)
    }

    fn link(&self, path: &Path, to: Option<&Path>) -> Result<(), Reason> {
        let from = self.place(path)?;
        let step = self.child(&from.directory, &from.name)?;
        let to = match to {
            None => Place { directory: from.directory.clone(), name: OsString::new() },
            Some(to) => self.place(to)?,
        };
        self.absent(&to)?;
        let target = last(&to.directory)?;
        if step.kind == Kind::Directory {
            return Err(Reason::WrongKind("a directory"));
        }
        if step.mount != target.mount {
            return Err(Reason::CrossesMounts);
        }
        self.change(target)?;
        self.refer(&from, &to, &step, 0, made(&step.kind))
    }

    fn execute(&self, path: &Path) -> Result<(), Reason> {
        let way = self.find(path, true)?;
        let step = last(&way)?;
        if step.kind != Kind::File {
            return Err(Reason::WrongKind("not a regular file"));
        }
        self.mode(step, 0o100)?;
        if self.attributes(step) & MOUNT_ATTR_NOEXEC != 0 {
            return Err(Reason::NoExec(self.mount_path(step)));
        }
        let wanted = uapi::LANDLOCK_ACCESS_FS_EXECUTE | uapi::LANDLOCK_ACCESS_FS_READ_FILE;
        self.landlock(&way, wanted)
    }

    /// Whether Landlock lets something be moved or linked.
    fn refer(
        &self,
        from: &Place,
        to: &Place,
        step: &Step,
        wanted_from: u32,
        wanted_to: u32,
    ) -> Result<(), Reason> {
        let (old, new) = (last(&from.directory)?, last(&to.directory)?);
        if old.id == new.id {
            return self.landlock(&to.directory, wanted_from | wanted_to);
        }
        let ids = |way: &Way| -> Vec<Id> { way.iter().map(|step| step.id.clone()).collect() };
        let above = to.directory.iter().position(|step| step.mount == new.mount);
        let refer = Refer {
            from: &ids(&from.directory),
            to: &ids(&to.directory),
            above_mount: above.unwrap_or(0),
            child: &step.id,
            child_is_directory: step.kind == Kind::Directory,
            wanted_from,
            wanted_to,
        };
        self.rules.refer(&refer).map_err(|refusal| match refusal {
            Refusal::Missing(rights) => Reason::Landlock(rights),
            Refusal::Gains => Reason::GainsRights,
        })
    }

    /// The directory of a path's last name, which is not followed.
    fn place(&self, path: &Path) -> Result<Place, Reason> {
        let (Some(parent), Some(Component::Normal(name))) =
            (path.parent(), path.components().next_back())
        else {
            return Err(Reason::MountPoint);
        };
        let directory = self.find(parent, true)?;
        let step = last(&directory)?;
        if step.kind != Kind::Directory {
            return Err(Reason::Missing(path.to_owned()));
        }
        if self.is_unknown(step) {
            return Err(Reason::Unknown(format!("what is at {parent:?}")));
        }
        Ok(Place { directory, name: name.to_owned() })
    }

    /// What has a name, if anything.
    fn present(&self, place: &Place) -> Result<Option<Step>, Reason> {
        if place.name.is_empty() {
            return Ok(None);
        }
        match self.child(&place.directory, &place.name) {
            Ok(step) => Ok(Some(step)),
            Err(Reason::Missing(_) | Reason::Hidden(_)) => Ok(None),
            Err(reason) => Err(reason),
        }
    }

    fn absent(&self, place: &Place) -> Result<(), Reason> {
        match self.present(place)? {
            Some(_) => Err(Reason::Exists),
            None => Ok(()),
        }
    }

    /// Whether nothing is mounted on a name.
    fn free(&self, place: &Place) -> Result<(), Reason> {
        match self.is_busy(last(&place.directory)?, &place.name) {
            true => Err(Reason::MountPoint),
            false => Ok(()),
        }
    }

    /// Whether names can be made and removed in a directory, but for Landlock.
    fn change(&self, directory: &Step) -> Result<(), Reason> {
        self.writable(directory)?;
        self.mode(directory, 0o300)
    }

    fn writable(&self, step: &Step) -> Result<(), Reason> {
        if self.attributes(step) & MOUNT_ATTR_RDONLY == 0 {
            return Ok(());
        }
        Err(match self.mask_of(step) {
            Some(mask) => Reason::Hidden(mask.to_owned()),
            None => Reason::ReadOnly(self.mount_path(step)),
        })
    }

    fn device(&self, step: &Step) -> Result<(), Reason> {
        if step.kind == Kind::Device && self.attributes(step) & MOUNT_ATTR_NODEV != 0 {
            return Err(Reason::InertDevice(self.mount_path(step)));
        }
        Ok(())
    }

    /// Whether the permissions of what the launcher makes have these bits.
    fn mode(&self, step: &Step, bits: u16) -> Result<(), Reason> {
        match step.mode {
            Some(mode) if mode & bits != bits => Err(match self.mask_of(step) {
                Some(mask) => Reason::Hidden(mask.to_owned()),
                None => Reason::Mode(mode),
            }),
            _ => Ok(()),
        }
    }

    fn landlock(&self, way: &Way, wanted: u32) -> Result<(), Reason> {
        match self.rules.missing(way.iter().map(|step| &step.id), wanted) {
            0 => Ok(()),
            missing => Err(match last(way).ok().and_then(|step| self.mask_of(step)) {
                Some(mask) => Reason::Hidden(mask.to_owned()),
                None => Reason::Landlock(missing),
            }),
        }
    }
}

fn last(way: &Way) -> Result<&Step, Reason> {
    way.last().ok_or_else(|| Reason::Missing("/".into()))
}

/// The right to make something of this kind: `get_mode_access` of
/// security/landlock/fs.c.
fn made(kind: &Kind) -> u32 {
    match kind {
        Kind::Directory => uapi::LANDLOCK_ACCESS_FS_MAKE_DIR,
        Kind::File => uapi::LANDLOCK_ACCESS_FS_MAKE_REG,
        Kind::Symlink(_) => uapi::LANDLOCK_ACCESS_FS_MAKE_SYM,
        // Which of the two does not matter: no policy grants either.
        Kind::Device => uapi::LANDLOCK_ACCESS_FS_MAKE_CHAR,
        Kind::Fifo => uapi::LANDLOCK_ACCESS_FS_MAKE_FIFO,
        Kind::Socket => uapi::LANDLOCK_ACCESS_FS_MAKE_SOCK,
    }
}

fn removed(kind: &Kind) -> u32 {
    match kind {
        Kind::Directory => uapi::LANDLOCK_ACCESS_FS_REMOVE_DIR,
        _ => uapi::LANDLOCK_ACCESS_FS_REMOVE_FILE,
    }
}
