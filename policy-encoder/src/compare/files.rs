//! What a policy grants of the file system, as regions of paths inside.
//!
//! Below a path at which neither of two policies changes anything, each
//! grants what it does at that path; so the paths at which one of them does
//! are all that have to be looked at.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use launcher_policy::Policy;
use launcher_policy::mounts::{Root, Source};
use linux_raw_sys::general::{CLONE_NEWNS, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_RDONLY};
use linux_raw_sys::landlock as uapi;

use crate::mounts::path_map::PathMap;

/// All Landlock rights that change something.
const WRITES: u32 =
    FILES & !(READS | uapi::LANDLOCK_ACCESS_FS_EXECUTE | uapi::LANDLOCK_ACCESS_FS_IOCTL_DEV);

/// All Landlock rights but the one on sockets, which are no files.
const FILES: u32 =
    launcher_policy::landlock::ACCESS_FS & !launcher_policy::landlock::ACCESS_FS_RESOLVE_UNIX;

const READS: u32 = uapi::LANDLOCK_ACCESS_FS_READ_FILE | uapi::LANDLOCK_ACCESS_FS_READ_DIR;

/// The view of one policy.
pub(super) struct Files {
    regions: PathMap<Region>,
    /// Landlock rights at paths inside.
    rules: PathMap<u32>,
    /// Where what is granted above ends: it was carved out.
    carved_out: PathMap<()>,
    has_landlock: bool,
}

/// What begins at a path inside.
#[derive(Clone, Debug)]
struct Region {
    object: Object,
    /// `MOUNT_ATTR_*`
    attributes: u32,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Object {
    /// Something of the host.
    Host(PathBuf),
    /// A directory that the caller opened.
    Fd(u32),
    /// Layers of an overlay.
    Overlay { lower: PathBuf, upper: PathBuf },
    /// Something that the launcher makes for this launch.
    Own,
    /// Nothing: a mask.
    Nothing,
}

impl Files {
    /// The view of a policy, or what is left of it where its namespaces could
    /// not be made.
    pub(super) fn of(policy: &Policy<'_>, fallen: bool) -> Self {
        let mut files = Self {
            regions: PathMap::new(),
            rules: PathMap::new(),
            carved_out: PathMap::new(),
            has_landlock: policy.landlock.is_some(),
        };
        let has_mounts = policy.namespaces.is_some_and(|each| each.flags & CLONE_NEWNS != 0);
        if has_mounts && !fallen {
            files.mounted(policy)
        } else {
            files.in_place(policy)
        }
        files
    }

    /// With a mount namespace.
    fn mounted(&mut self, policy: &Policy<'_>) {
        let Some(mounts) = &policy.mounts else { return self.host(MOUNT_ATTR_NODEV) };
        match mounts.root {
            Root::Skeleton => {
                self.region("/", Object::Own, MOUNT_ATTR_RDONLY);
                self.rule("/", uapi::LANDLOCK_ACCESS_FS_READ_DIR);
            }
            Root::Host { access } => {
                self.host(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV);
                self.rule("/", access);
            }
            Root::Tree { path, access } => {
                let attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;
                self.region("/", Object::Host(owned(path)), attributes);
                self.rule("/", access);
            }
        }
        for mount in mounts.mounts.iter() {
            let target = owned(mount.target);
            let object = match mount.source {
                Source::Host { path, .. } => Object::Host(owned(path)),
                Source::Fd { fd } => Object::Fd(fd),
                Source::Overlay { lower, upper, .. } => {
                    Object::Overlay { lower: owned(lower), upper: owned(upper) }
                }
                Source::Skeleton if mount.access == 0 => Object::Nothing,
                Source::Skeleton | Source::Tmpfs { .. } | Source::Proc | Source::Devpts => {
                    Object::Own
                }
            };
            self.region(&target, object, mount.attributes);
            self.rule(&target, mount.access);
        }
        for rule in mounts.rules.iter() {
            for path in self.paths_of(&owned(rule.path)) {
                self.rule(&path, rule.access);
            }
        }
    }

    /// Without one: the host's tree, and rights on what would be mounted.
    fn in_place(&mut self, policy: &Policy<'_>) {
        self.host(0);
        let Some(mounts) = &policy.mounts else { return };
        for mount in mounts.mounts.iter() {
            match mount.source {
                Source::Host { path, .. } => self.rule(owned(path), mount.access),
                Source::Fd { fd } => {
                    self.region(format!("/dev/fd/{fd}"), Object::Fd(fd), 0);
                    self.rule(format!("/dev/fd/{fd}"), mount.access);
                }
                _ => {}
            }
        }
        for rule in mounts.rules.iter() {
            self.rule(owned(rule.path), rule.access);
        }
        // Not each thing that is there now: what is beside it has the same.
        for carved in mounts.carved.iter() {
            let directory = owned(carved.path);
            for name in carved.except.iter() {
                let path = directory.join(OsStr::from_bytes(name.to_bytes()));
                self.rule(&path, carved.shared);
                self.carved_out.insert(path, ());
            }
            self.rule(directory, carved.access);
        }
    }

    fn host(&mut self, attributes: u32) {
        self.region("/", Object::Host("/".into()), attributes);
    }

    fn region(&mut self, at: impl Into<PathBuf>, object: Object, attributes: u32) {
        self.regions.insert(at, Region { object, attributes });
    }

    fn rule(&mut self, at: impl Into<PathBuf>, access: u32) {
        self.rules.merge(at, access, |old, new| *old |= new);
    }

    /// Where an object of the host appears.
    fn paths_of(&self, object: &Path) -> Vec<PathBuf> {
        let shown = |(at, region): (&Path, &Region)| match &region.object {
            Object::Host(source) => Some(joined(at, object.strip_prefix(source).ok()?)),
            _ => None,
        };
        self.regions.iter().filter_map(shown).collect()
    }

    /// What is at a path, and the Landlock rights that are left on it.
    fn at(&self, path: &Path) -> (Object, u32) {
        let Some((at, region)) = self.regions.deepest(path) else { return (Object::Nothing, 0) };
        let rest = path.strip_prefix(at).unwrap_or(Path::new(""));
        let object = match &region.object {
            Object::Host(source) => Object::Host(joined(source, rest)),
            other => other.clone(),
        };
        let granted = match self.has_landlock {
            true => {
                let end = self.carved_out.deepest(path).map_or(Path::new("/"), |(end, ())| end);
                let within = path.ancestors().take_while(|above| above.starts_with(end));
                within.filter_map(|above| self.rules.get(above)).fold(0, |a, b| a | b)
            }
            false => FILES,
        };
        let kept_by = [
            (MOUNT_ATTR_RDONLY, WRITES),
            (MOUNT_ATTR_NOEXEC, uapi::LANDLOCK_ACCESS_FS_EXECUTE),
            (MOUNT_ATTR_NODEV, uapi::LANDLOCK_ACCESS_FS_IOCTL_DEV),
        ];
        let rights = kept_by
            .into_iter()
            .filter(|(attribute, _)| region.attributes & attribute != 0)
            .fold(granted, |rights, (_, lost)| rights & !lost);
        match object {
            Object::Nothing => (object, 0),
            _ => (object, rights),
        }
    }

    /// The rights on an object of the host, by whatever path.
    fn rights_on(&self, object: &Path) -> u32 {
        let paths = self.paths_of(object).into_iter();
        paths
            .map(|path| self.at(&path))
            .filter(|(shown, _)| matches!(shown, Object::Host(path) if path == object))
            .fold(0, |all, (_, rights)| all | rights)
    }

    /// What this view grants and the other does not, in words.
    pub(super) fn excess(&self, other: &Self) -> Vec<String> {
        let mut paths: PathMap<u32> = PathMap::new();
        for files in [self, other] {
            files.regions.iter().for_each(|(path, _)| paths.or_insert(path, 0));
            files.rules.iter().for_each(|(path, _)| paths.or_insert(path, 0));
            files.carved_out.iter().for_each(|(path, ())| paths.or_insert(path, 0));
        }
        let mut seen: PathMap<u32> = PathMap::new();
        let mut found = Vec::new();
        for (path, _) in paths.iter() {
            let (object, more) = self.excess_at(other, path);
            let above = path.parent().and_then(|parent| seen.deepest(parent));
            let known = above.map_or(0, |(_, &rights)| rights);
            if more & !known != 0 {
                found.push(line(path, &object, more & !known));
            }
            seen.insert(path, more);
        }
        found
    }

    fn excess_at(&self, other: &Self, path: &Path) -> (Object, u32) {
        let (object, rights) = self.at(path);
        let (there, granted) = other.at(path);
        let granted = match &object {
            // What the launcher makes holds nothing of the host's to read.
            Object::Own => granted | READS,
            Object::Host(object) => {
                granted_if(there == Object::Host(object.clone()), granted) | other.rights_on(object)
            }
            _ => granted_if(there == object, granted),
        };
        (object, rights & !granted)
    }
}

fn granted_if(same: bool, granted: u32) -> u32 {
    if same { granted } else { 0 }
}

/// One path and the words for the rights on it.
fn line(path: &Path, object: &Object, rights: u32) -> String {
    let words = [
        (READS, "read"),
        (uapi::LANDLOCK_ACCESS_FS_EXECUTE, "execute"),
        (WRITES, "write"),
        (uapi::LANDLOCK_ACCESS_FS_IOCTL_DEV, "use devices"),
    ];
    let words: Vec<&str> =
        words.into_iter().filter(|(right, _)| rights & right != 0).map(|(_, word)| word).collect();
    let words = words.join(", ");
    match object {
        Object::Host(source) if source != path => {
            format!("{}, which is {}: {words}", path.display(), source.display())
        }
        _ => format!("{}: {words}", path.display()),
    }
}

fn owned(path: launcher_policy::Path<'_>) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path.to_bytes()))
}

fn joined(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) }
}
