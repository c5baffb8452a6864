//! The picture of the view: what the launcher makes and attaches, and the
//! walk through it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use launcher_policy::Policy;
use launcher_policy::enforce::Keeper;
use launcher_policy::landlock::ACCESS_FILE;
use launcher_policy::mounts::{Carved, Kind as WireKind, Mount as WireMount};
use launcher_policy::mounts::{Missing, Mounts, NodeKind, Root, Source as Attached, Symlinks};
use linux_raw_sys::general::{
    CLONE_NEWNS, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY,
};
use linux_raw_sys::landlock::LANDLOCK_ACCESS_FS_READ_DIR;

use super::files::{Files, Found, Kind, Lookup, MAX_SYMLINKS, names};
use super::landlock::Rules;
use super::{Reason, Rung, Source};

/// One policy as it will be applied to the files as they are.
#[derive(Clone, Debug)]
pub struct Model {
    files: Files,
    skeleton: BTreeMap<PathBuf, Made>,
    mounts: Vec<Mounted>,
    /// The last mount attached at each path inside.
    at: HashMap<PathBuf, usize>,
    /// Names at which something is mounted, wherever they are seen.
    busy: HashSet<Name>,
    pub(super) rules: Rules,
    is_mounted: bool,
}

/// Something of the skeleton.
#[derive(Clone, Debug)]
struct Made {
    kind: Kind,
    mode: u16,
}

/// One mount of the view.
#[derive(Clone, Debug)]
struct Mounted {
    source: Source,
    object: Object,
    kind: Kind,
    attributes: u32,
    is_mask: bool,
}

/// Which file something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Id {
    /// Device and inode.
    Host(u64, u64),
    /// The skeleton's node of this path.
    Made(PathBuf),
    /// The root of a file system that the launch makes, by its mount.
    Fresh(usize),
}

/// Where a name stands: its directory, and itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name(Id, OsString);

/// What an object of the view is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Object {
    /// The host's of this path.
    Host(PathBuf),
    /// The skeleton's of this path.
    Made(PathBuf),
    /// A file system of its own, with nothing in it and these permissions.
    Empty(u16),
    /// Something that only the launch knows.
    Unknown(&'static str),
}

/// Which mount an object is on: one of the policy's, and among those that were
/// cloned with it one of the host's.
pub(super) type MountId = (usize, Option<usize>);

/// A step on the way from the root of the view to an object.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) id: Id,
    pub(super) mount: MountId,
    /// Permission bits, of what the launcher makes.
    pub(super) mode: Option<u16>,
    object: Object,
}

/// The way to an object, from the root of the view on; never empty.
pub(super) type Way = Vec<Step>;

impl Model {
    /// Replays a policy on the files below `sysroot`, on one rung.
    ///
    /// # Errors
    ///
    /// Why the launch would be refused.
    pub fn new(policy: &Policy<'_>, sysroot: &Path, rung: Rung) -> Result<Self, String> {
        let (abi, with_mounts) = match rung {
            Rung::Namespaces { abi } => (abi, true),
            Rung::Landlock { abi } => (abi, false),
        };
        check_abi(policy, abi, with_mounts)?;
        let flags = policy.namespaces.map_or(0, |namespaces| namespaces.flags);
        let handled = policy.landlock.and_then(|landlock| {
            landlock.handled.iter().take(abi.into()).last().map(|handled| handled.fs)
        });
        let mut model = Self {
            files: Files::new(sysroot),
            skeleton: BTreeMap::new(),
            mounts: Vec::new(),
            at: HashMap::new(),
            busy: HashSet::new(),
            rules: Rules::new(handled.unwrap_or(0)),
            is_mounted: with_mounts && flags & CLONE_NEWNS != 0,
        };
        match &policy.mounts {
            Some(mounts) if model.is_mounted => model.build(mounts)?,
            mounts => model.only_rules(mounts.as_ref())?,
        }
        Ok(model)
    }

    /// Paths inside that the policy names: what it makes, what it attaches.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let mounts = self.at.keys().map(PathBuf::as_path);
        self.skeleton.keys().map(PathBuf::as_path).chain(mounts)
    }

    /// The path of what a path inside leads to, without symlinks.
    pub fn real(&self, path: &Path) -> Option<PathBuf> {
        self.find(path, true).ok()?.pop().map(|step| step.path)
    }

    /// The host's paths, inside the sysroot, of what lies on the way to a path:
    /// directories, and what it leads to. What the launcher makes has none.
    pub fn host_way(&self, path: &Path) -> Vec<PathBuf> {
        let way = self.find(path, true).unwrap_or_default();
        let outside = |step: Step| match step.object {
            Object::Host(outside) => Some(outside),
            Object::Made(_) | Object::Empty(_) | Object::Unknown(_) => None,
        };
        way.into_iter().filter_map(outside).collect()
    }

    /// The host's path, inside the sysroot, of what a path leads to.
    pub fn outside(&self, path: &Path) -> Option<PathBuf> {
        match self.find(path, true).ok()?.pop()?.object {
            Object::Host(outside) => Some(outside),
            Object::Made(_) | Object::Empty(_) | Object::Unknown(_) => None,
        }
    }

    fn build(&mut self, mounts: &Mounts<'_>) -> Result<(), String> {
        for node in mounts.skeleton.iter() {
            let (kind, mode) = match node.kind {
                NodeKind::Directory { mode } => (Kind::Directory, mode),
                NodeKind::File { mode, .. } => (Kind::File, mode),
                NodeKind::Symlink { content } => {
                    (Kind::Symlink(path_of(content.to_bytes())), 0o777)
                }
            };
            self.skeleton.insert(path_of(node.path.to_bytes()), Made { kind, mode });
        }
        let read_only = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
        let (object, access) = match mounts.root {
            Root::Skeleton => (Object::Made("/".into()), LANDLOCK_ACCESS_FS_READ_DIR),
            Root::Host { access } => (Object::Host("/".into()), access),
            Root::Tree { path, access } => {
                let path = path_of(path.to_bytes());
                let (path, _) = self.files.open(&path, false).map_err(|why| refused(&path, why))?;
                (Object::Host(path), access)
            }
        };
        let root = Mounted {
            source: Source::Root,
            object,
            kind: Kind::Directory,
            attributes: read_only,
            is_mask: false,
        };
        self.attach("/".into(), root, access)?;
        for mount in mounts.mounts.iter() {
            self.mount(&mount)?;
        }
        self.add_rules(mounts)
    }

    fn mount(&mut self, mount: &WireMount<'_>) -> Result<(), String> {
        let target = path_of(mount.target.to_bytes());
        let Some((object, kind)) = self.object(mount, &target)? else { return Ok(()) };
        if let Object::Host(path) = &object
            && mount.attributes & MOUNT_ATTR_RDONLY == 0
            && self.host_attributes(self.files.mount_of(path)) & MOUNT_ATTR_RDONLY != 0
        {
            return Err(format!("{path:?} is on a file system that is read-only"));
        }
        let way = self
            .find(&target, false)
            .map_err(|why| format!("nothing can be attached at {target:?}: {why}"))?;
        let (there, above) = last_two(&way);
        if (there.kind == Kind::Directory) != (kind == Kind::Directory) {
            return Err(format!(
                "{target:?} is a file where a directory is to appear, or the reverse"
            ));
        }
        if let Some(above) = above
            && above.mount == there.mount
            && let Some(name) = target.file_name()
        {
            self.busy.insert(Name(above.id.clone(), name.to_owned()));
        }
        let mounted = Mounted {
            source: Source::Mount(target.clone()),
            is_mask: mount.source == Attached::Skeleton && mount.access == 0,
            attributes: mount.attributes,
            object,
            kind,
        };
        self.attach(target, mounted, mount.access)
    }

    /// What a mount attaches; `None` if it is missing and may be.
    fn object(
        &self,
        mount: &WireMount<'_>,
        target: &Path,
    ) -> Result<Option<(Object, Kind)>, String> {
        Ok(Some(match mount.source {
            Attached::Host { path, kind, symlinks, missing } => {
                let path = path_of(path.to_bytes());
                match self.source(&path, kind, symlinks, missing)? {
                    Some((path, found)) => (Object::Host(path), found.kind),
                    None => return Ok(None),
                }
            }
            Attached::Skeleton => match self.skeleton.get(target) {
                Some(made) => (Object::Made(target.to_owned()), made.kind.clone()),
                None => return Err(format!("nothing is made at {target:?}")),
            },
            Attached::Tmpfs { mode, .. } => (Object::Empty(mode), Kind::Directory),
            Attached::Fd { .. } => {
                (Object::Unknown("a descriptor of the caller's"), Kind::Directory)
            }
            Attached::Proc => (Object::Unknown("a fresh /proc"), Kind::Directory),
            Attached::Devpts => (Object::Unknown("terminals of its own"), Kind::Directory),
            Attached::Overlay { .. } => (Object::Unknown("an overlay"), Kind::Directory),
        }))
    }

    /// What of the host a policy names, as the launcher opens it.
    fn source(
        &self,
        path: &Path,
        kind: WireKind,
        symlinks: Symlinks,
        missing: Missing,
    ) -> Result<Option<(PathBuf, Found)>, String> {
        match self.files.open(path, symlinks == Symlinks::Follow) {
            Ok((_, found)) if kind == WireKind::Directory && found.kind != Kind::Directory => {
                Err(format!("{path:?} is not a directory"))
            }
            Ok(found) => Ok(Some(found)),
            Err(Lookup::Missing) if missing == Missing::Skip => Ok(None),
            Err(why) => Err(refused(path, why)),
        }
    }

    fn attach(&mut self, target: PathBuf, mounted: Mounted, access: u32) -> Result<(), String> {
        let number = self.mounts.len();
        if let Object::Host(path) = &mounted.object {
            self.add_host_mounts(&path.clone());
        }
        self.mounts.push(mounted);
        let id = self.root_of(number).map_err(|why| why.to_string())?.id;
        self.rules.allow(id, access);
        self.at.insert(target, number);
        Ok(())
    }

    /// What the host has mounted below a path is cloned with it.
    fn add_host_mounts(&mut self, path: &Path) {
        for point in self.files.mount_points(path).collect::<Vec<_>>() {
            let directory = point.parent().and_then(|parent| self.files.look(parent).ok());
            if let (Some(directory), Some(name)) = (directory, point.file_name()) {
                let (device, inode) = directory.id;
                self.busy.insert(Name(Id::Host(device, inode), name.to_owned()));
            }
        }
    }

    /// Landlock rights on what no mount shows by itself.
    fn add_rules(&mut self, mounts: &Mounts<'_>) -> Result<(), String> {
        for rule in mounts.rules.iter() {
            let path = path_of(rule.path.to_bytes());
            if let Some((_, found)) =
                self.source(&path, rule.kind, Symlinks::Refuse, Missing::Skip)?
            {
                self.rules.allow(Id::Host(found.id.0, found.id.1), rule.access);
            }
        }
        Ok(())
    }

    /// The host's own tree, with rules on what would be mounted.
    fn only_rules(&mut self, mounts: Option<&Mounts<'_>>) -> Result<(), String> {
        let root = Mounted {
            source: Source::Rules,
            object: Object::Host("/".into()),
            kind: Kind::Directory,
            attributes: 0,
            is_mask: false,
        };
        self.attach("/".into(), root, 0)?;
        let Some(mounts) = mounts else { return Ok(()) };
        for mount in mounts.mounts.iter() {
            if let Attached::Host { path, kind, symlinks, missing } = mount.source
                && let Some((_, found)) =
                    self.source(&path_of(path.to_bytes()), kind, symlinks, missing)?
            {
                let access = if mount.carved { 0 } else { mount.access };
                self.rules.allow(Id::Host(found.id.0, found.id.1), access);
            }
        }
        for carved in mounts.carved.iter() {
            self.carve(&carved)?;
        }
        self.add_rules(mounts)
    }

    /// A directory that is granted by what is in it now.
    fn carve(&mut self, carved: &Carved<'_>) -> Result<(), String> {
        let path = path_of(carved.path.to_bytes());
        let found = self.source(&path, WireKind::Directory, Symlinks::Refuse, Missing::Skip)?;
        let Some((path, found)) = found else { return Ok(()) };
        self.rules.allow(Id::Host(found.id.0, found.id.1), carved.shared);
        for name in self.files.names_in(&path) {
            let is_left_out =
                carved.except.iter().any(|except| except.to_bytes() == name.as_bytes());
            let Ok(found) = self.files.look(&path.join(&name)) else { continue };
            let access = match found.kind {
                _ if is_left_out => continue,
                Kind::Symlink(_) => continue,
                Kind::Directory => carved.access,
                _ => carved.access & ACCESS_FILE,
            };
            self.rules.allow(Id::Host(found.id.0, found.id.1), access);
        }
        Ok(())
    }

    /// The way to a path inside. Symlinks are followed, the last one if asked.
    pub(super) fn find(&self, path: &Path, follow: bool) -> Result<Way, Reason> {
        let mut way = vec![self.root_of(0)?];
        let mut left: VecDeque<OsString> = names(path).collect();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                if let Some(here) = way.last().filter(|here| here.kind != Kind::Directory) {
                    return Err(Reason::Missing(here.path.join(name)));
                }
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let step = self.child(&way, &name)?;
            let content = match &step.kind {
                Kind::Symlink(content) if follow || !left.is_empty() => content.clone(),
                _ => {
                    way.push(step);
                    continue;
                }
            };
            links += 1;
            if links > MAX_SYMLINKS {
                return Err(Reason::TooManySymlinks);
            }
            if content.is_absolute() {
                way.truncate(1);
            }
            for name in names(&content).collect::<Vec<_>>().into_iter().rev() {
                left.push_front(name);
            }
        }
        Ok(way)
    }

    /// What has a name in the directory that a way leads to.
    pub(super) fn child(&self, way: &[Step], name: &OsStr) -> Result<Step, Reason> {
        let here = way.last().ok_or_else(|| Reason::Missing("/".into()))?;
        let path = here.path.join(name);
        if here.kind != Kind::Directory {
            return Err(Reason::Missing(path));
        }
        if here.mode.is_some_and(|mode| mode & 0o100 == 0) {
            return Err(Reason::Mode(here.mode.unwrap_or_default()));
        }
        if let Some(&mount) = self.at.get(&path) {
            return Ok(Step { path, ..self.root_of(mount)? });
        }
        self.beneath(here, name)
    }

    /// What has a name in a directory itself, whatever is mounted on it.
    pub(super) fn beneath(&self, here: &Step, name: &OsStr) -> Result<Step, Reason> {
        let path = here.path.join(name);
        let missing = |path: PathBuf| match self.mask_of(here) {
            Some(mask) => Reason::Hidden(mask.to_owned()),
            None => Reason::Missing(path),
        };
        let (mount, _) = here.mount;
        match &here.object {
            Object::Host(directory) => {
                let outside = directory.join(name);
                match self.files.look(&outside) {
                    Ok(found) => Ok(self.host_step(path, outside, found, mount)),
                    Err(Lookup::Missing) => Err(missing(path)),
                    Err(Lookup::Unknown(why)) => Err(Reason::Unknown(why)),
                }
            }
            Object::Made(directory) => {
                let node = directory.join(name);
                match self.skeleton.get(&node) {
                    Some(made) => Ok(self.made_step(path, node, made, mount)),
                    None => Err(missing(path)),
                }
            }
            Object::Empty(_) => Err(missing(path)),
            Object::Unknown(what) => Err(Reason::Unknown(format!("{path:?} is in {what}"))),
        }
    }

    fn root_of(&self, number: usize) -> Result<Step, Reason> {
        let mounted = self.mounts.get(number).ok_or_else(|| Reason::Missing("/".into()))?;
        let path = match &mounted.source {
            Source::Mount(target) => target.clone(),
            _ => "/".into(),
        };
        Ok(match &mounted.object {
            Object::Host(outside) => match self.files.look(outside) {
                Ok(found) => self.host_step(path, outside.clone(), found, number),
                Err(Lookup::Missing) => return Err(Reason::Missing(path)),
                Err(Lookup::Unknown(why)) => return Err(Reason::Unknown(why)),
            },
            Object::Made(node) => {
                let root = Made { kind: Kind::Directory, mode: 0o755 };
                let made = self.skeleton.get(node).unwrap_or(&root);
                self.made_step(path, node.clone(), made, number)
            }
            object => Step {
                path,
                kind: mounted.kind.clone(),
                id: Id::Fresh(number),
                mount: (number, None),
                mode: match object {
                    Object::Empty(mode) => Some(*mode),
                    _ => None,
                },
                object: object.clone(),
            },
        })
    }

    fn host_step(&self, path: PathBuf, outside: PathBuf, found: Found, mount: usize) -> Step {
        Step {
            path,
            kind: found.kind,
            id: Id::Host(found.id.0, found.id.1),
            mount: (mount, self.files.mount_of(&outside)),
            mode: None,
            object: Object::Host(outside),
        }
    }

    fn made_step(&self, path: PathBuf, node: PathBuf, made: &Made, mount: usize) -> Step {
        Step {
            path,
            kind: made.kind.clone(),
            id: Id::Made(node.clone()),
            mount: (mount, None),
            mode: Some(made.mode).filter(|_| !matches!(made.kind, Kind::Symlink(_))),
            object: Object::Made(node),
        }
    }

    /// Whether something is mounted on a name, wherever that is seen.
    pub(super) fn is_busy(&self, directory: &Step, name: &OsStr) -> bool {
        self.busy.contains(&Name(directory.id.clone(), name.to_owned()))
            || self.at.contains_key(&directory.path.join(name))
    }

    /// `MOUNT_ATTR_*` of the mount that something is on.
    pub(super) fn attributes(&self, step: &Step) -> u32 {
        let (mount, host) = step.mount;
        self.mounts.get(mount).map_or(0, |mounted| mounted.attributes) | self.host_attributes(host)
    }

    fn host_attributes(&self, host: Option<usize>) -> u32 {
        let Some(mount) = host.and_then(|host| self.files.mount(host)) else { return 0 };
        let when = |is_set: bool, attribute: u32| if is_set { attribute } else { 0 };
        when(mount.read_only, MOUNT_ATTR_RDONLY)
            | when(mount.no_exec, MOUNT_ATTR_NOEXEC)
            | when(mount.no_devices, MOUNT_ATTR_NODEV)
    }

    /// The path of the mask that something is part of.
    pub(super) fn mask_of(&self, step: &Step) -> Option<&Path> {
        match self.mounts.get(step.mount.0)? {
            Mounted { is_mask: true, source: Source::Mount(target), .. } => Some(target),
            _ => None,
        }
    }

    /// What of the policy an object comes from.
    pub(super) fn source_of(&self, step: &Step) -> Source {
        match (self.mounts.get(step.mount.0), &step.object) {
            (Some(Mounted { source: Source::Root, .. }), Object::Made(node)) => {
                Source::Made(node.clone())
            }
            (Some(mounted), _) => mounted.source.clone(),
            (None, _) => Source::Root,
        }
    }

    /// The path at which the mount of an object begins.
    pub(super) fn mount_path(&self, step: &Step) -> PathBuf {
        match self.mounts.get(step.mount.0).map(|mounted| &mounted.source) {
            Some(Source::Mount(target)) => target.clone(),
            _ => "/".into(),
        }
    }

    /// Whether what an object holds is known only at the launch.
    pub(super) fn is_unknown(&self, step: &Step) -> bool {
        matches!(step.object, Object::Unknown(_))
    }
}

/// Whether the launcher would refuse this kernel.
fn check_abi(policy: &Policy<'_>, abi: u8, with_mounts: bool) -> Result<(), String> {
    let Some(lost) = policy.enforce.lost(with_mounts, abi.into()) else { return Ok(()) };
    let name = lost.guarantee.name();
    Err(match lost.keeper(with_mounts) {
        Keeper::Nothing(why) => {
            format!("nothing keeps {name:?}: {}", String::from_utf8_lossy(why.to_bytes()))
        }
        Keeper::Landlock(needed) => {
            format!("{name:?} needs Landlock ABI {needed}, and the kernel has {abi}")
        }
        Keeper::Namespaces | Keeper::Seccomp => format!("{name:?} is lost"),
    })
}

fn refused(path: &Path, why: Lookup) -> String {
    match why {
        Lookup::Missing => format!("{path:?} does not exist"),
        Lookup::Unknown(why) => format!("{path:?} cannot be opened: {why}"),
    }
}

/// A path as the wire has it.
pub(super) fn path_of(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

/// The last step of a way, and the one before it.
fn last_two(way: &Way) -> (&Step, Option<&Step>) {
    let last = way.len() - 1;
    (&way[last], last.checked_sub(1).map(|above| &way[above]))
}
