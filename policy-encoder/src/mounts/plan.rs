//! From the tree of decisions to what the launcher does: nodes of the
//! skeleton, and mounts, parents first. What is visible already, with the
//! right rights, needs neither.

use std::path::{Path, PathBuf};

use launcher_policy::landlock::{ACCESS_FILE, ACCESS_FS_RESOLVE_UNIX};
use launcher_policy::mounts::{Kind, MAX_MOUNTS, Missing, Symlinks};
use linux_raw_sys::general::{
    MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY,
};
use linux_raw_sys::landlock as uapi;

use super::carve::{self, Carved};
use super::host::{FileKind, Host, LookupError};
use super::layout::{Layout, Root, Symlink};
use super::path_map::PathMap;
use super::tree::{Content, Decider, Point, Rights, Tree, moved, span_of};
use crate::diagnostic::Diagnostics;

/// What the launcher makes and attaches.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What is made in the skeleton.
    pub(super) nodes: PathMap<Node>,
    /// What is attached, by target.
    pub(super) mounts: PathMap<Mount>,
    /// Landlock rights on objects of the host that no mount shows by itself.
    pub(super) rules: PathMap<Rule>,
    /// Directories that are granted by what is in them, where there are no
    /// mounts.
    pub(super) carved: PathMap<Carved>,
    /// The first guarantee that Landlock alone does not keep.
    pub(super) lost: Option<String>,
    /// The first file or directory that may be read and not run, where
    /// Landlock alone keeps that.
    pub(super) only_read: Option<PathBuf>,
    /// Whether a guarantee is lost without Landlock.
    pub(super) needs_landlock: bool,
}

/// Something in the skeleton.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory { mode: u16 },
    File { mode: u16, data: Vec<u8> },
    Symlink { content: PathBuf },
}

/// Landlock rights on an object of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    pub(super) access: u32,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) source: Source,
    pub(super) attributes: u32,
    pub(super) access: u32,
    /// Whether its rights are carved up where there are no mounts.
    pub(super) carved: bool,
}

/// What is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Host { path: PathBuf, kind: Kind, symlinks: Symlinks, missing: Missing },
    Fd(u32),
    Skeleton,
    Tmpfs { size: u64, mode: u16 },
    Proc,
    Devpts,
    Overlay { lower: PathBuf, upper: PathBuf, work: PathBuf },
}

/// Plans the whole tree. `carves` says whether something narrower is carved
/// out of what is granted around it, where there are no mounts.
pub(super) fn plan(layout: Layout<'_>, carves: bool) -> (Plan, Tree, PathMap<Symlink>) {
    let Layout { host, diagnostics, root, tree, links, frozen, sockets, .. } = layout;
    let mut planner = Planner { host, diagnostics, plan: Plan::default(), carves };
    match root {
        Root::Skeleton => {}
        Root::Host if carves => {}
        Root::Host | Root::Tree(_) => {
            planner.lose("the root directory is a whole tree, of which parts are replaced".into());
        }
    }
    planner.points(&tree);
    planner.freeze(&tree, &frozen);
    for (socket, ()) in sockets.iter() {
        let rule = Rule { kind: Kind::File, access: ACCESS_FS_RESOLVE_UNIX };
        planner.plan.rules.insert(socket, rule);
    }
    if carves && planner.plan.lost.is_none() {
        planner.carve(&tree, root == Root::Host, frozen.iter().next().is_some());
    }
    for (path, symlink) in links.iter() {
        planner.symlink(&tree, path, symlink);
    }
    planner.check_number();
    (planner.plan, tree, links)
}

/// Landlock rights on a mount: those of files only, unless it is a directory;
/// others are refused by the kernel.
pub(super) fn access(rights: Rights, kind: Kind, devices: Devices) -> u32 {
    let mut access = 0;
    if rights.read {
        access |= uapi::LANDLOCK_ACCESS_FS_READ_FILE | uapi::LANDLOCK_ACCESS_FS_READ_DIR;
    }
    if rights.execute {
        access |= uapi::LANDLOCK_ACCESS_FS_EXECUTE;
    }
    if rights.write {
        access |= ACCESS_WRITE;
    }
    if devices == Devices::Usable && rights != Rights::NONE {
        access |= uapi::LANDLOCK_ACCESS_FS_IOCTL_DEV;
    }
    match kind {
        Kind::Directory => access,
        Kind::File => access & ACCESS_FILE,
    }
}

/// To change, create and remove, but for devices.
const ACCESS_WRITE: u32 = uapi::LANDLOCK_ACCESS_FS_WRITE_FILE
    | uapi::LANDLOCK_ACCESS_FS_REMOVE_DIR
    | uapi::LANDLOCK_ACCESS_FS_REMOVE_FILE
    | uapi::LANDLOCK_ACCESS_FS_MAKE_DIR
    | uapi::LANDLOCK_ACCESS_FS_MAKE_REG
    | uapi::LANDLOCK_ACCESS_FS_MAKE_SOCK
    | uapi::LANDLOCK_ACCESS_FS_MAKE_FIFO
    | uapi::LANDLOCK_ACCESS_FS_MAKE_SYM
    | uapi::LANDLOCK_ACCESS_FS_REFER
    | uapi::LANDLOCK_ACCESS_FS_TRUNCATE;

/// Rights on proc and devpts: what is there cannot be created or removed.
const ACCESS_SPECIAL: u32 = uapi::LANDLOCK_ACCESS_FS_READ_FILE
    | uapi::LANDLOCK_ACCESS_FS_READ_DIR
    | uapi::LANDLOCK_ACCESS_FS_WRITE_FILE;

/// Whether device files on a mount work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Devices {
    Usable,
    Inert,
}

impl Devices {
    /// Those of a source work if it was listed for their sake.
    pub(super) fn of(path: &Path, kind: FileKind) -> Self {
        let below_dev = path.starts_with("/dev") && path != Path::new("/dev");
        // Made by everybody, for data.
        let data = ["/dev/shm", "/dev/mqueue", "/dev/hugepages"];
        let data = data.iter().any(|data| path.starts_with(data));
        if kind == FileKind::Device || (below_dev && !data) { Self::Usable } else { Self::Inert }
    }
}

fn attributes(rights: Rights, devices: Devices) -> u32 {
    let unless = |granted: bool, attribute: u32| if granted { 0 } else { attribute };
    MOUNT_ATTR_NOSUID
        | unless(devices == Devices::Usable, MOUNT_ATTR_NODEV)
        | unless(rights.write, MOUNT_ATTR_RDONLY)
        | unless(rights.execute, MOUNT_ATTR_NOEXEC)
}

/// What is at a target before anything is attached there.
enum Under {
    /// A directory that the launcher makes and nobody writes to.
    Skeleton,
    /// A directory that the launcher makes and the command may write to.
    Scratch,
    /// This object of the host, if it exists.
    Host(PathBuf),
    /// Something that only the launch knows.
    Unknown,
    /// A fresh file system in which nothing can be made.
    Sealed,
}

/// A point on the way down to the one that is planned.
struct Frame<'t> {
    path: &'t Path,
    point: &'t Point,
    /// The mount that it is on, if that is one of the host's: target, source.
    mounted: Option<(PathBuf, PathBuf)>,
    /// What Landlock alone would grant here.
    granted: Rights,
}

/// What makes a plan of a tree.
pub(super) struct Planner<'a> {
    pub(super) host: &'a mut Host,
    pub(super) diagnostics: &'a mut Diagnostics,
    pub(super) plan: Plan,
    carves: bool,
}

impl Planner<'_> {
    fn points(&mut self, tree: &Tree) {
        let mut stack: Vec<Frame<'_>> = Vec::new();
        for (path, point) in tree.iter() {
            while stack.last().is_some_and(|frame| !path.starts_with(frame.path)) {
                stack.pop();
            }
            stack.extend(self.point(path, point, stack.last()));
        }
    }

    /// Plans one point. `None` if it changes nothing, not even for those
    /// below it.
    fn point<'t>(
        &mut self,
        path: &'t Path,
        point: &'t Point,
        above: Option<&Frame<'_>>,
    ) -> Option<Frame<'t>> {
        let mounted = above.and_then(|above| above.mounted.clone());
        let mut frame = Frame { path, point, mounted, granted: Rights::NONE };
        if path == Path::new("/") {
            frame.mounted = source_of(point).map(|source| (path.into(), source.into()));
            return Some(frame);
        }
        let under = under(above, path);
        if point.is_denied() {
            if !self.hide(path, point, &under, above)? {
                self.without_mounts(&mut frame, above);
                return Some(frame);
            }
        } else if is_visible(point, &under, above) {
            self.without_mounts(&mut frame, above);
            return Some(frame);
        } else {
            self.show(path, point, &under)?;
        }
        self.pin(path, point, above);
        self.without_mounts(&mut frame, above);
        frame.mounted = source_of(point).map(|source| (path.into(), source.into()));
        Some(frame)
    }

    /// Covers what is denied. `None` if there is nothing of that name,
    /// `Some(false)` if nothing need be done.
    fn hide(
        &mut self,
        path: &Path,
        point: &Point,
        under: &Under,
        above: Option<&Frame<'_>>,
    ) -> Option<bool> {
        let Content::Hidden(mut kind) = point.content else {
            return None;
        };
        match under {
            Under::Skeleton => return Some(false),
            Under::Scratch => {}
            Under::Host(source) => kind = self.existing(source, path, point)?,
            Under::Sealed => return None,
            Under::Unknown => {
                let above = above.map_or(Path::new("/"), |above| above.path);
                self.complain(
                    point,
                    format!("what {above:?} shows is not known before the launch"),
                );
                return None;
            }
        }
        let node = match kind {
            FileKind::Directory => Node::Directory { mode: 0o555 },
            FileKind::File | FileKind::Device => Node::File { mode: 0, data: Vec::new() },
        };
        self.node(path, node);
        self.mount(path, Source::Skeleton, attributes(Rights::NONE, Devices::Inert), 0);
        Some(true)
    }

    /// What is there to be hidden, if anything.
    fn existing(&mut self, source: &Path, path: &Path, point: &Point) -> Option<FileKind> {
        match self.host.real(source) {
            Ok(real) if real.links.is_empty() => Some(real.kind),
            Ok(_) => {
                self.complain(
                    point,
                    format!("{path:?} leads through a symlink where it is hidden"),
                );
                None
            }
            Err(LookupError::Missing(_)) => None,
            Err(LookupError::Unknown(part, reason)) => {
                let message = format!("whether {part:?} exists cannot be said: {reason}");
                self.complain(point, message);
                None
            }
        }
    }

    /// Attaches what a point shows. `None` after a complaint.
    fn show(&mut self, path: &Path, point: &Point, under: &Under) -> Option<()> {
        let rights = point.rights;
        let inert = attributes(rights, Devices::Inert);
        match &point.content {
            Content::Host { path: source, kind, symlinks, missing } => {
                let devices = Devices::of(source, *kind);
                let kind = wire_kind(*kind);
                self.mount_point(path, kind, point, under)?;
                if devices == Devices::Usable && !rights.write {
                    // A read-only mount does not keep a device from being
                    // written to.
                    self.plan.needs_landlock = true;
                }
                let (symlinks, missing) = (*symlinks, *missing);
                let host = Source::Host { path: source.clone(), kind, symlinks, missing };
                self.mount(path, host, attributes(rights, devices), access(rights, kind, devices));
            }
            Content::Fd(fd) => {
                self.mount_point(path, Kind::Directory, point, under)?;
                let access = access(rights, Kind::Directory, Devices::Inert);
                self.mount(path, Source::Fd(*fd), inert, access);
            }
            Content::Directory { mode } => {
                self.mount_point(path, Kind::Directory, point, under)?;
                self.node(path, Node::Directory { mode: *mode });
                // The skeleton around it is read-only, as this one is.
                if rights.write || !matches!(under, Under::Skeleton) {
                    let access = access(rights, Kind::Directory, Devices::Inert);
                    self.mount(path, Source::Skeleton, inert, access);
                }
            }
            Content::File { mode, data } => {
                self.mount_point(path, Kind::File, point, under)?;
                self.node(path, Node::File { mode: *mode, data: data.clone() });
                let access = access(rights, Kind::File, Devices::Inert);
                self.mount(path, Source::Skeleton, inert, access);
            }
            Content::Tmpfs { size, mode } => {
                self.mount_point(path, Kind::Directory, point, under)?;
                let source = Source::Tmpfs { size: *size, mode: *mode };
                self.mount(path, source, inert, access(rights, Kind::Directory, Devices::Inert));
            }
            Content::Proc => {
                self.mount_point(path, Kind::Directory, point, under)?;
                self.mount(path, Source::Proc, inert, ACCESS_SPECIAL);
            }
            Content::Devpts => {
                self.mount_point(path, Kind::Directory, point, under)?;
                let attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
                let access = ACCESS_SPECIAL | uapi::LANDLOCK_ACCESS_FS_IOCTL_DEV;
                self.mount(path, Source::Devpts, attributes, access);
            }
            Content::Overlay { lower, upper, work } => {
                self.mount_point(path, Kind::Directory, point, under)?;
                let (lower, upper, work) = (lower.clone(), upper.clone(), work.clone());
                let access = access(rights, Kind::Directory, Devices::Inert);
                self.mount(path, Source::Overlay { lower, upper, work }, inert, access);
            }
            Content::Hidden(_) => {}
        }
        Some(())
    }

    /// Makes sure that something can be attached at `path`.
    fn mount_point(&mut self, path: &Path, kind: Kind, point: &Point, under: &Under) -> Option<()> {
        match under {
            Under::Skeleton | Under::Scratch => {
                let node = match kind {
                    Kind::Directory => Node::Directory { mode: 0o755 },
                    Kind::File => Node::File { mode: 0o444, data: Vec::new() },
                };
                self.node(path, node);
                Some(())
            }
            Under::Host(source) => match self.host.kind(source) {
                Some(found) if wire_kind(found) == kind => Some(()),
                Some(_) => {
                    let message = format!(
                        "{path:?} is a file where a directory is to appear, or the reverse"
                    );
                    self.complain(point, message);
                    None
                }
                None => {
                    let message = format!(
                        "nothing can appear at {path:?}: it does not exist there, and nothing is created on the host"
                    );
                    self.complain(point, message);
                    None
                }
            },
            Under::Unknown => Some(()),
            Under::Sealed => {
                let message =
                    format!("nothing can appear at {path:?}: it lies in a file system of its own");
                self.complain(point, message);
                None
            }
        }
    }

    /// Binds the directories between a writable mount and what is narrower
    /// below it onto themselves: a mount point cannot be renamed, so neither
    /// can the path to a mask.
    fn pin(&mut self, path: &Path, point: &Point, above: Option<&Frame<'_>>) {
        let Some(above) = above.filter(|above| above.point.rights.write) else {
            return;
        };
        if point.rights.contain(above.point.rights) {
            return;
        }
        let Some((target, source)) = &above.mounted else {
            if matches!(above.point.content, Content::Fd(_)) && path.parent() != Some(above.path) {
                let message = format!(
                    "the directories above {path:?} could be renamed: they are behind a descriptor"
                );
                self.complain(point, message);
            }
            return;
        };
        let between = |directory: &&Path| directory.starts_with(target) && *directory != target;
        for directory in path.ancestors().skip(1).take_while(between) {
            let path = moved(directory, target, source);
            let (kind, symlinks, missing) = (Kind::Directory, Symlinks::Refuse, Missing::Fail);
            let pin = Mount {
                source: Source::Host { path, kind, symlinks, missing },
                attributes: attributes(above.point.rights, Devices::Inert),
                access: 0,
                carved: false,
            };
            self.plan.mounts.or_insert(directory, pin);
        }
    }

    /// What is left of a point where nothing can be mounted: Landlock grants
    /// on the host's own paths, and takes nothing back.
    fn without_mounts(&mut self, frame: &mut Frame<'_>, above: Option<&Frame<'_>>) {
        let granted = above.map_or(Rights::NONE, |above| above.granted);
        let (path, point) = (frame.path, frame.point);
        let in_place = point.is_in_place(path);
        let own = if in_place { point.rights } else { Rights::NONE };
        frame.granted = granted.union(own);
        // The devices that everybody has hold no program.
        let is_device = matches!(point.content, Content::Host { kind: FileKind::Device, .. })
            && matches!(point.decider, Decider::BuiltIn(_));
        let is_socket = matches!(&point.decider, Decider::Entry(it) if it.key == "network.unix");
        if own.read && !own.execute && !is_device && !is_socket {
            self.plan.only_read.get_or_insert_with(|| path.to_owned());
        }
        let is_narrower = above.is_some() && !point.rights.contain(granted);
        let is_replaced = granted != Rights::NONE && !in_place;
        match carve::obstacle(path, point) {
            Some(why) if !in_place || is_narrower => self.lose(why),
            _ if self.carves => {}
            _ if is_narrower => {
                let above = above.map_or(Path::new("/"), |above| above.path);
                let message = format!(
                    "{path:?} ({}) lies inside {above:?} ({}), and Landlock takes nothing back",
                    point.rights.words(),
                    granted.words(),
                );
                self.lose(message);
            }
            _ if is_replaced => {
                self.lose(format!("{path:?} is replaced, and Landlock alone shows the host's"));
            }
            _ => {}
        }
    }

    pub(super) fn lose(&mut self, message: String) {
        self.plan.lost.get_or_insert(message);
    }

    /// Makes a symlink where its directory is the launcher's.
    fn symlink(&mut self, tree: &Tree, path: &Path, symlink: &Symlink) {
        if symlink.span.is_some() {
            self.lose(format!("filesystem.mount shows a symlink at {path:?} that is not there"));
        }
        let complaint = match tree.deepest(path) {
            Some((at, _)) if at == path => "something else appears there",
            Some((_, point))
                if !matches!(point.content, Content::Directory { .. } | Content::Hidden(_)) =>
            {
                "its directory is not one that the launcher makes"
            }
            _ if self.plan.nodes.contains(path) => "a directory is needed there",
            _ => {
                self.node(path, Node::Symlink { content: symlink.content.clone() });
                return;
            }
        };
        if let Some(span) = &symlink.span {
            let message = format!("there can be no symlink at {path:?}: {complaint}");
            self.diagnostics.error(span.clone(), message);
        }
    }

    /// Adds a node and the directories above it.
    fn node(&mut self, path: &Path, node: Node) {
        self.plan.nodes.insert(path, node);
        for parent in path.ancestors().skip(1) {
            if parent == Path::new("/") || self.plan.nodes.contains(parent) {
                break;
            }
            self.plan.nodes.insert(parent, Node::Directory { mode: 0o755 });
        }
    }

    fn mount(&mut self, path: &Path, source: Source, attributes: u32, access: u32) {
        self.plan.mounts.insert(path, Mount { source, attributes, access, carved: false });
    }

    fn check_number(&mut self) {
        let number = self.plan.mounts.len();
        if number > MAX_MOUNTS {
            let message = format!("the policy needs {number} mounts; there can be {MAX_MOUNTS}");
            self.diagnostics
                .error_anywhere(message)
                .help("list directories instead of what is in them");
        }
    }

    fn complain(&mut self, point: &Point, message: String) {
        self.diagnostics.error(span_of(point), message);
    }
}

fn under(above: Option<&Frame<'_>>, path: &Path) -> Under {
    let Some(above) = above else {
        return Under::Skeleton;
    };
    match &above.point.content {
        Content::Host { path: source, .. } => Under::Host(moved(path, above.path, source)),
        Content::Directory { .. } if above.point.rights.write => Under::Scratch,
        Content::Directory { .. } | Content::Hidden(_) => Under::Skeleton,
        Content::Proc => Under::Host(moved(path, above.path, Path::new("/proc"))),
        Content::Fd(_) => Under::Unknown,
        Content::File { .. }
        | Content::Tmpfs { .. }
        | Content::Devpts
        | Content::Overlay { .. } => Under::Sealed,
    }
}

/// Whether what is under a point is what it shows, with the same rights.
fn is_visible(point: &Point, under: &Under, above: Option<&Frame<'_>>) -> bool {
    let Some(above) = above else {
        return false;
    };
    match (&point.content, under) {
        (Content::Host { path, kind, symlinks: Symlinks::Refuse, .. }, Under::Host(there)) => {
            path == there
                && point.rights == above.point.rights
                && source_of(above.point).is_some_and(|above| {
                    Devices::of(path, *kind) == Devices::of(above, FileKind::Directory)
                })
        }
        _ => false,
    }
}

/// The host's path of what a point shows.
fn source_of(point: &Point) -> Option<&Path> {
    match &point.content {
        Content::Host { path, .. } => Some(path),
        _ => None,
    }
}

fn wire_kind(kind: FileKind) -> Kind {
    match kind {
        FileKind::Directory => Kind::Directory,
        FileKind::File | FileKind::Device => Kind::File,
    }
}
