//! Mounts: build the view of the file system, and the Landlock ruleset from
//! the same descriptors.
//!
//! Runs after `namespaces`, so that nothing here is seen by the host, and
//! before `landlock`, under which the kernel refuses to mount.

use core::ffi::CStr;
use core::mem;

use launcher_policy::enforce::Mode as Enforce;
use launcher_policy::exec::Cwd;
use launcher_policy::limits::{Cgroup, Limits};
use launcher_policy::mounts::{
    MAX_CARVED, Missing, Mount, Mounts, Parents, Root, Source, Symlinks,
};
use launcher_policy::{Call, Failure, MAX_PATH, Path, Refusal, Stage, Subject};
use linux_raw_sys::general as uapi;
use linux_raw_sys::landlock::LANDLOCK_ACCESS_FS_READ_DIR;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags, fstat, fstatvfs, openat2};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use crate::landlock::{self, Ruleset};
use crate::report::failed;
use crate::text::Text;
use crate::{Facility, Launch, Options, namespaces, sys};

mod carve;
pub(crate) mod make;
mod proc;
mod template;

const STAGE: Stage = Stage::Mounts;

/// Room for the paths of descriptors that are sources, NULs included.
const FD_PATHS: usize = 4 * MAX_PATH;

/// What has to be asked before the mount namespace changes.
pub struct Carried {
    /// The working directory's path, NUL included; empty if it has none.
    cwd: [u8; MAX_PATH],
    /// The paths of descriptors that are sources, in the order of the mounts.
    fds: Text<FD_PATHS>,
}

impl Carried {
    /// Before anything was asked; all zeroes.
    pub const NOTHING: Self = Self { cwd: [0; MAX_PATH], fds: Text::new() };

    /// Asks; returns the host's /proc where it is needed, for a receipt too
    /// where somebody reads it. What is not needed is left as it was: it may be
    /// of an earlier launch.
    ///
    /// # Errors
    ///
    /// A descriptor without a path, or a `/proc` that is missing.
    pub fn gather(
        &mut self,
        launch: &launcher_policy::Policy<'_>,
        options: &Options,
    ) -> Result<Option<RawFd>, Failure> {
        if changes_directory(launch) && sys::getcwd(&mut self.cwd).is_err() {
            // A directory that was deleted has no path; the command starts in `/`.
            self.cwd.fill(0);
        }
        let mut is_first = true;
        for mount in launch.mounts.iter().flat_map(|mounts| mounts.mounts.iter()) {
            if let Source::Fd { fd } = mount.source {
                if mem::take(&mut is_first) {
                    self.fds.view().clear();
                }
                self.gather_fd(fd)?;
            }
        }
        let Limits { memory, oom_score_adj, cgroup, .. } = launch.limits;
        let is_needed = oom_score_adj.is_some();
        let has_cgroup = options.cgroup.is_some() || cgroup == Cgroup::Auto;
        let is_bound = memory.is_some() && has_cgroup;
        if is_needed || is_bound || options.status.is_some() && has_pids(launch) {
            match open_beneath_root(c"/proc", OFlags::DIRECTORY, ResolveFlags::empty()) {
                Ok(proc) => return Ok(Some(sys::until_exec(proc).as_raw_fd())),
                Err(error) if is_needed => {
                    return Err(failed(STAGE, Call::Openat2)(error).about(Subject::Proc));
                }
                Err(_) => {}
            }
        }
        Ok(None)
    }

    fn fd_paths(&self) -> FdPaths<'_> {
        FdPaths { all: &self.fds, begin: 0 }
    }

    /// open_tree(2) refuses a descriptor of another mount namespace, so its
    /// path is noted while it still means something.
    // Its buffer is on no stack but its own.
    #[inline(never)]
    fn gather_fd(&mut self, fd: u32) -> Result<(), Failure> {
        let mut link = fd_path(fd as RawFd);
        let mut buffer = [0_u8; MAX_PATH];
        let path = sys::readlinkat(CWD, link.c_str().unwrap_or_default(), &mut buffer)
            .map_err(failed(STAGE, Call::Readlink))?;
        self.fds.bytes(path).bytes(&[0]);
        if path.starts_with(b"/") && !self.fds.is_full() {
            return Ok(());
        }
        Err(Failure::refused(STAGE, Call::Readlink, Refusal::FdPath))
    }
}

/// The paths of descriptors that are sources, each read when its turn comes:
/// most policies have none, and the page they stand in is not touched.
struct FdPaths<'a> {
    all: &'a Text<FD_PATHS>,
    begin: usize,
}

impl<'a> FdPaths<'a> {
    fn next(&mut self) -> &'a CStr {
        let rest = self.all.as_bytes().get(self.begin..).unwrap_or_default();
        let path = CStr::from_bytes_until_nul(rest).unwrap_or_default();
        self.begin += path.count_bytes() + 1;
        path
    }
}

/// Whether the command has another number inside than outside.
fn has_pids(policy: &launcher_policy::Policy<'_>) -> bool {
    policy.namespaces.is_some_and(|namespaces| namespaces.flags & uapi::CLONE_NEWPID != 0)
}

/// Room for the path of a descriptor, whatever its number.
const FD_PATH: usize = 32;

/// The path by which /proc shows a descriptor of the calling process.
fn fd_path(fd: RawFd) -> Text<FD_PATH> {
    let mut path = Text::new();
    path.text("/proc/self/fd/").signed(fd.into());
    path
}

/// Takes the mounts out of their propagation: a new mount namespace starts out
/// sharing it with the host, and with any other type a later mount of the host
/// would appear, writable. It is also the first thing that takes a capability
/// in the mount namespace.
///
/// # Errors
///
/// mount(2), where nothing else keeps the policy's guarantees.
pub fn make_private(launch: &Launch<'static>) -> Result<(), Failure> {
    // A template's are.
    let is_private = launch.options.template.is_some();
    if launch.policy.mounts.is_none() || is_private || !namespaces::has(launch, uapi::CLONE_NEWNS) {
        return Ok(());
    }
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(failed(STAGE, Call::Mount))
        .or_else(|refused| namespaces::abandon(launch, refused))
}

/// Builds the view, and the ruleset with it.
///
/// # Errors
///
/// The first call that failed, with the path it was about.
pub fn apply(launch: &Launch<'static>) -> Result<(), Failure> {
    let ruleset = landlock::create(launch)?;
    if let Some(mounts) = &launch.policy.mounts {
        if launch.options.template.is_some() {
            template::renew(launch, mounts, ruleset)?;
        } else if namespaces::has(launch, uapi::CLONE_NEWNS) {
            build(launch, mounts, ruleset)?;
        } else {
            only_rules(launch, mounts, ruleset, Spent::of(mounts))?;
        }
    }
    change_directory(launch)
}

/// Makes the ruleset of a policy without a mount namespace once for many
/// launches, which are given it.
///
/// # Errors
///
/// The first call that failed, with the path it was about.
pub fn ruleset(launch: &Launch<'static>) -> Result<Option<BorrowedFd<'static>>, Failure> {
    let ruleset = landlock::create(launch)?;
    if let Some(mounts) = &launch.policy.mounts {
        only_rules(launch, mounts, ruleset, Spent::Closed)?;
    }
    Ok(ruleset.map(Ruleset::fd))
}

/// The whole view: sources, root, skeleton, mounts, in this order.
fn build(
    launch: &Launch<'static>,
    mounts: &Mounts<'static>,
    ruleset: Option<Ruleset>,
) -> Result<(), Failure> {
    let spent = Spent::of(mounts);
    let mut fd_paths = launch.carried.fd_paths();
    for mount in launch.shared.each(mounts.mounts.iter()) {
        let source = clone_source(&mount, &mut fd_paths, ruleset, spent)
            .map_err(|failure| failure.about(Subject::Source))?;
        if let Some(source) = source {
            launch.sources.put(launch.shared.item(), source);
        }
    }
    add_rules(launch, mounts, ruleset)?;
    // After the sources, which the caller's own ids may be needed to reach.
    namespaces::take_mapped_ids(launch)?;
    let skeleton = sys::until_exec(make::skeleton(launch, mounts, |_| true)?);
    let root = open_root(mounts, skeleton, ruleset)?;
    if !matches!(mounts.root, Root::Host { .. }) {
        // On top of the old root, where lookups do not see it: they start at
        // the root directory. Nothing else may lie there: enter_root takes
        // one mount off, and below it the host's whole tree would stay.
        move_on(root, c"/").map_err(failed(STAGE, Call::MoveMount))?;
    }
    if matches!(mounts.root, Root::Skeleton) {
        clone_all_of_skeleton(launch, mounts, skeleton, ruleset)?;
    }
    let mut place = Attach { root, skeleton, hidden: false, spent };
    for mount in launch.shared.each(mounts.mounts.iter()) {
        let source = launch.sources.take(launch.shared.item());
        place
            .attach(launch, &mount, source, ruleset)
            .map_err(|failure| failure.about(Subject::Target))?;
    }
    enter_root(mounts, root)
}

/// What becomes of a descriptor that has served its purpose. Closing it is a
/// call, and exec or PID 1 closes it anyway; but many would exhaust the limit
/// on open descriptors.
#[derive(Clone, Copy)]
pub(crate) enum Spent {
    Left,
    Closed,
}

impl Spent {
    /// More mounts than this take closing.
    const FEW: usize = 64;

    fn of(mounts: &Mounts<'static>) -> Self {
        if mounts.mounts.iter().nth(Self::FEW).is_none() { Self::Left } else { Self::Closed }
    }

    fn let_go(self, fd: OwnedFd) {
        match self {
            Self::Left => drop(sys::until_exec(fd)),
            Self::Closed => drop(fd),
        }
    }
}

/// The root of the view.
fn open_root(
    mounts: &Mounts<'static>,
    skeleton: BorrowedFd<'static>,
    ruleset: Option<Ruleset>,
) -> Result<BorrowedFd<'static>, Failure> {
    let read_only =
        u64::from(uapi::MOUNT_ATTR_RDONLY | uapi::MOUNT_ATTR_NOSUID | uapi::MOUNT_ATTR_NODEV);
    let (root, access) = match mounts.root {
        Root::Skeleton => (skeleton, LANDLOCK_ACCESS_FS_READ_DIR),
        Root::Host { access } => {
            let root = open_beneath_root(c"/", OFlags::DIRECTORY, ResolveFlags::empty())
                .map_err(failed(STAGE, Call::Openat2))?;
            sys::mount_setattr(&root, uapi::AT_RECURSIVE, read_only)
                .map_err(failed(STAGE, Call::MountSetattr))
                .map_err(|failure| failure.about(Subject::Root))?;
            (sys::until_exec(root), access)
        }
        Root::Tree { path, access } => {
            let at = |failure: Failure| failure.about(Subject::Root);
            let tree = open_source(path, OFlags::DIRECTORY, Symlinks::Refuse)
                .map_err(failed(STAGE, Call::Openat2))
                .map_err(at)?;
            let root = make::clone_tree(&tree, c"", read_only).map_err(at)?;
            (sys::until_exec(root), access)
        }
    };
    if let Some(ruleset) = ruleset {
        ruleset.allow(root, access)?;
    }
    Ok(root)
}

/// Clones what is taken from the skeleton before anything is mounted in it,
/// where the skeleton is the root itself: a lookup in it would end in what is
/// mounted there, and a mask would be made of what it is to cover.
fn clone_all_of_skeleton(
    launch: &Launch<'static>,
    mounts: &Mounts<'static>,
    skeleton: BorrowedFd<'static>,
    ruleset: Option<Ruleset>,
) -> Result<(), Failure> {
    for mount in launch.shared.each(mounts.mounts.iter()) {
        if mount.source == Source::Skeleton {
            let made = clone_of_skeleton(&mount, skeleton, ruleset)
                .map_err(|failure| failure.about(Subject::Target))?;
            launch.sources.put(launch.shared.item(), made);
        }
    }
    Ok(())
}

/// Clones the skeleton's node of a mount's path, and grants its Landlock
/// rights.
fn clone_of_skeleton(
    mount: &Mount<'static>,
    skeleton: BorrowedFd<'static>,
    ruleset: Option<Ruleset>,
) -> Result<OwnedFd, Failure> {
    let made = make::clone_tree(skeleton, mount.target.relative(), mount.attributes.into())?;
    if let Some(ruleset) = ruleset {
        ruleset.allow(&made, mount.access)?;
    }
    Ok(made)
}

/// Opens a source, grants its Landlock rights, and clones it. `None` for what
/// is made later, and for what is missing and may be.
fn clone_source(
    mount: &Mount<'static>,
    fd_paths: &mut FdPaths<'_>,
    ruleset: Option<Ruleset>,
    spent: Spent,
) -> Result<Option<OwnedFd>, Failure> {
    let Some(source) = open_host(&mount.source, fd_paths)? else { return Ok(None) };
    if mount.attributes & uapi::MOUNT_ATTR_RDONLY == 0 && is_read_only(&source)? {
        let why = Refusal::HostReadOnly;
        return Err(Failure::refused(STAGE, Call::Fstatfs, why));
    }
    if let Some(ruleset) = ruleset {
        ruleset.allow(&source, mount.access)?;
    }
    let clone = make::clone_tree(&source, c"", mount.attributes.into())?;
    spent.let_go(source);
    Ok(Some(clone))
}

/// Opens what a mount or a rule is made from, if that is something of the
/// host's.
fn open_host(
    source: &Source<'static>,
    fd_paths: &mut FdPaths<'_>,
) -> Result<Option<OwnedFd>, Failure> {
    match *source {
        Source::Host { path, kind, symlinks, missing } => {
            let flags = match kind {
                launcher_policy::mounts::Kind::Directory => OFlags::DIRECTORY,
                launcher_policy::mounts::Kind::File => OFlags::empty(),
            };
            match open_source(path, flags, symlinks) {
                Ok(source) => Ok(Some(source)),
                Err(Errno::NOENT) if missing == Missing::Skip => Ok(None),
                Err(error) => Err(failed(STAGE, Call::Openat2)(error)),
            }
        }
        Source::Fd { fd } => reopen(fd, fd_paths).map(Some),
        _ => Ok(None),
    }
}

/// Opens by its name what a descriptor refers to, and makes sure that it is
/// the same thing.
fn reopen(fd: u32, fd_paths: &mut FdPaths<'_>) -> Result<OwnedFd, Failure> {
    let reopened = open_beneath_root(
        fd_paths.next(),
        OFlags::DIRECTORY,
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
    .map_err(failed(STAGE, Call::Openat2))?;
    let given = fstat(sys::inherited(fd as RawFd)).map_err(failed(STAGE, Call::Fstat))?;
    let found = fstat(&reopened).map_err(failed(STAGE, Call::Fstat))?;
    if (given.st_dev, given.st_ino) != (found.st_dev, found.st_ino) {
        let why = Refusal::FdMoved;
        return Err(Failure::refused(STAGE, Call::Fstat, why));
    }
    Ok(reopened)
}

fn open_source(path: Path<'_>, flags: OFlags, symlinks: Symlinks) -> Result<OwnedFd, Errno> {
    let resolve = match symlinks {
        Symlinks::Refuse => ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        Symlinks::Follow => ResolveFlags::NO_MAGICLINKS,
    };
    open_beneath_root(path.as_c_str(), flags, resolve)
}

fn open_beneath_root(path: &CStr, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    openat2(CWD, path, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn is_read_only(source: &OwnedFd) -> Result<bool, Failure> {
    let stat = fstatvfs(source).map_err(failed(STAGE, Call::Fstatfs))?;
    Ok(stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Attaching mounts inside the new root.
struct Attach {
    root: BorrowedFd<'static>,
    skeleton: BorrowedFd<'static>,
    hidden: bool,
    spent: Spent,
}

impl Attach {
    fn attach(
        &mut self,
        launch: &Launch<'static>,
        mount: &Mount<'static>,
        source: Option<OwnedFd>,
        ruleset: Option<Ruleset>,
    ) -> Result<(), Failure> {
        let attributes = u64::from(mount.attributes);
        let made = match (mount.source, source) {
            (_, Some(source)) => {
                self.move_to(mount, &source)?;
                self.spent.let_go(source);
                return Ok(());
            }
            (Source::Host { .. } | Source::Fd { .. }, None) => return Ok(()),
            (Source::Skeleton, None) => {
                self.hide_skeleton_under(mount)?;
                let made = clone_of_skeleton(mount, self.skeleton, ruleset)?;
                self.move_to(mount, &made)?;
                self.spent.let_go(made);
                return Ok(());
            }
            (Source::Tmpfs { size, mode }, None) => {
                make::tmpfs(size, mode, attributes, self.spent)?
            }
            (Source::Overlay { lower, upper, work }, None) => {
                make::overlay(lower, upper, work, attributes, self.spent)?
            }
            (Source::Devpts, None) => match make::devpts(attributes, self.spent) {
                Ok(made) => made,
                // A facility, where the kernel does not give it.
                Err(failure)
                    if proc::is_refusal(&failure)
                        && launch.policy.enforce.namespaces != Enforce::Require =>
                {
                    launch.shared.miss(Facility::Pts);
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            },
            (Source::Proc, None) => return proc::attach(launch, self, mount, ruleset),
        };
        if let Some(ruleset) = ruleset {
            ruleset.allow(&made, mount.access)?;
        }
        self.move_to(mount, &made)?;
        self.spent.let_go(made);
        Ok(())
    }

    /// Attaches the skeleton below the first mount that is taken from it,
    /// which covers it for ever. open_tree(2) clones only what is attached.
    fn hide_skeleton_under(&mut self, mount: &Mount<'static>) -> Result<(), Failure> {
        if self.hidden {
            return Ok(());
        }
        self.hidden = true;
        self.move_to(mount, self.skeleton)
    }

    /// Attaches a mount at its target, which no symlink leads out of the root.
    fn move_to(&self, mount: &Mount<'static>, source: impl AsFd) -> Result<(), Failure> {
        let target = mount.target.relative();
        let from_fd = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        if mount.parents == Parents::Skeleton {
            return move_mount(source, c"", self.root, target, from_fd)
                .map_err(failed(STAGE, Call::MoveMount));
        }
        let target = self.open(target).map_err(failed(STAGE, Call::Openat2))?;
        let to_fd = MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(source, c"", &target, c"", from_fd | to_fd)
            .map_err(failed(STAGE, Call::MoveMount))?;
        self.spent.let_go(target);
        Ok(())
    }

    /// Opens a place inside the new root.
    fn open(&self, relative: &CStr) -> Result<OwnedFd, Errno> {
        openat2(
            self.root,
            relative,
            OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )
    }
}

fn move_on(source: impl AsFd, target: &CStr) -> Result<(), Errno> {
    move_mount(source, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Makes the new root the root directory and lets go of the old one.
fn enter_root(mounts: &Mounts<'static>, root: BorrowedFd<'_>) -> Result<(), Failure> {
    match mounts.root {
        Root::Host { .. } => return Ok(()),
        Root::Skeleton => sys::mount_setattr(
            root,
            0,
            u64::from(uapi::MOUNT_ATTR_RDONLY | uapi::MOUNT_ATTR_NOSUID | uapi::MOUNT_ATTR_NODEV),
        )
        .map_err(failed(STAGE, Call::MountSetattr))?,
        Root::Tree { .. } => {}
    }
    fchdir(root).map_err(failed(STAGE, Call::Fchdir))?;
    // Old and new root at one place: the old one ends up on top of the new
    // one, and is what the path `.` means to umount, pivot_root(2).
    pivot_root(c".", c".").map_err(failed(STAGE, Call::PivotRoot))?;
    unmount(c".", UnmountFlags::DETACH).map_err(failed(STAGE, Call::Umount2))
}

/// Whether the launch directory has to be found again in a new view.
fn changes_directory(policy: &launcher_policy::Policy<'_>) -> bool {
    policy.exec.cwd == Cwd::Launch
        && policy.namespaces.is_some_and(|namespaces| namespaces.flags & uapi::CLONE_NEWNS != 0)
}

/// Goes to the working directory, by its name in the new view: the old one
/// would reach past the mounts.
fn change_directory(launch: &Launch<'static>) -> Result<(), Failure> {
    match launch.policy.exec.cwd {
        Cwd::Path(path) => chdir(path.as_c_str())
            .map_err(failed(STAGE, Call::Chdir))
            .map_err(|failure| failure.about(Subject::Cwd)),
        Cwd::Launch if !namespaces::has(launch, uapi::CLONE_NEWNS) => Ok(()),
        Cwd::Launch => {
            let cwd = CStr::from_bytes_until_nul(&launch.carried.cwd).unwrap_or_default();
            // A path that does not begin with a slash lies outside the root.
            if cwd.to_bytes().starts_with(b"/") && chdir(cwd).is_ok() {
                return Ok(());
            }
            chdir(c"/").map_err(failed(STAGE, Call::Chdir))
        }
    }
}

/// Without a mount namespace: the rules alone, on the same things.
fn only_rules(
    launch: &Launch<'static>,
    mounts: &Mounts<'static>,
    ruleset: Option<Ruleset>,
    spent: Spent,
) -> Result<(), Failure> {
    let Some(ruleset) = ruleset else { return Ok(()) };
    let mut fd_paths = launch.carried.fd_paths();
    let at = |failure: Failure| failure.about(Subject::Source);
    for mount in launch.shared.each(mounts.mounts.iter()) {
        if let Some(source) = open_host(&mount.source, &mut fd_paths).map_err(at)? {
            if !mount.carved {
                ruleset.allow(&source, mount.access).map_err(at)?;
            }
            spent.let_go(source);
        }
    }
    let mut left = MAX_CARVED;
    for carved in launch.shared.each(mounts.carved.iter()) {
        carve::grant(&carved, ruleset, &mut left)
            .map_err(|failure| failure.about(Subject::Carved))?;
    }
    add_rules(launch, mounts, Some(ruleset))
}

/// Grants what the policy grants on things that no mount shows by themselves.
fn add_rules(
    launch: &Launch<'static>,
    mounts: &Mounts<'static>,
    ruleset: Option<Ruleset>,
) -> Result<(), Failure> {
    let Some(ruleset) = ruleset else { return Ok(()) };
    let at = |failure: Failure| failure.about(Subject::Rule);
    for rule in launch.shared.each(mounts.rules.iter()) {
        let source = Source::Host {
            path: rule.path,
            kind: rule.kind,
            symlinks: Symlinks::Refuse,
            missing: Missing::Skip,
        };
        if let Some(object) = open_host(&source, &mut launch.carried.fd_paths()).map_err(at)? {
            ruleset.allow(&object, rule.access).map_err(at)?;
        }
    }
    Ok(())
}
