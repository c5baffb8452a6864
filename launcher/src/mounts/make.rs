//! Mounts that are made: clones, tmpfs, devpts, overlay, the skeleton.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};

use launcher_policy::mounts::{Mounts, Node, NodeKind, Symlinks};
use launcher_policy::{Call, Failure, Path, Subject};
use linux_raw_sys::general as uapi;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, mkdirat, mknodat, openat, symlinkat};
use rustix::io::{Errno, write};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};
use rustix::process::umask;

use super::{FD_PATH, STAGE, Spent, fd_path, open_source};
use crate::report::failed;
use crate::text::Text;
use crate::{Launch, sys};

/// Inodes of a tmpfs: one per this many bytes, and a few for its own start.
const BYTES_PER_INODE: u64 = 4096;
const LEAST_INODES: u64 = 1024;

/// Clones the tree at `path` below `directory`, with everything mounted in
/// it, and sets attributes on all of the clone.
pub(super) fn clone_tree(
    directory: impl AsFd,
    path: &CStr,
    attributes: u64,
) -> Result<OwnedFd, Failure> {
    // Asked once per process: Linux 6.15 has both in one call.
    static OLD_KERNEL: AtomicBool = AtomicBool::new(false);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    if !OLD_KERNEL.load(Ordering::Relaxed) {
        match sys::open_tree_attr(&directory, path, flags.bits(), attributes) {
            Err(Errno::NOSYS) => OLD_KERNEL.store(true, Ordering::Relaxed),
            answer => return answer.map_err(failed(STAGE, Call::OpenTree)),
        }
    }
    let tree = open_tree(directory, path, flags).map_err(failed(STAGE, Call::OpenTree))?;
    sys::mount_setattr(&tree, uapi::AT_RECURSIVE, attributes)
        .map_err(failed(STAGE, Call::MountSetattr))?;
    Ok(tree)
}

/// The tmpfs in which everything of the launcher's own making stands, or those
/// nodes of it that are wanted.
pub(super) fn skeleton(
    launch: &Launch<'static>,
    mounts: &Mounts<'static>,
    is_wanted: impl Fn(&Node<'static>) -> bool,
) -> Result<OwnedFd, Failure> {
    let attributes = u64::from(uapi::MOUNT_ATTR_NOSUID | uapi::MOUNT_ATTR_NODEV);
    let skeleton = tmpfs(mounts.skeleton_size, 0o755, attributes, Spent::Left)?;
    // The modes are the policy's, whatever mask the caller has set.
    let mask = umask(Mode::empty());
    let mut nodes = launch.shared.each(mounts.skeleton.iter()).filter(is_wanted);
    let made = nodes.try_for_each(|node| {
        make_node(&skeleton, &node).map_err(|failure| failure.about(Subject::Node))
    });
    umask(mask);
    made.map(|()| skeleton)
}

fn make_node(skeleton: &OwnedFd, node: &Node<'static>) -> Result<(), Failure> {
    let path = node.path.relative();
    match node.kind {
        NodeKind::Directory { mode } => mkdirat(skeleton, path, Mode::from_raw_mode(mode.into()))
            .map_err(failed(STAGE, Call::Mkdirat)),
        // An empty file takes no opening.
        NodeKind::File { mode, data: [] } => {
            mknodat(skeleton, path, FileType::RegularFile, Mode::from_raw_mode(mode.into()), 0)
                .map_err(failed(STAGE, Call::Mknodat))
        }
        NodeKind::File { mode, data } => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = openat(skeleton, path, flags, Mode::from_raw_mode(mode.into()))
                .map_err(failed(STAGE, Call::Openat))?;
            let mut rest = data;
            while !rest.is_empty() {
                let count = write(&file, rest).map_err(failed(STAGE, Call::Write))?;
                rest = rest.get(count..).unwrap_or_default();
            }
            Ok(())
        }
        NodeKind::Symlink { content } => {
            symlinkat(content.as_c_str(), skeleton, path).map_err(failed(STAGE, Call::Symlinkat))
        }
    }
}

/// A tmpfs of bounded size.
pub(crate) fn tmpfs(
    size: u64,
    mode: u16,
    attributes: u64,
    spent: Spent,
) -> Result<OwnedFd, Failure> {
    let inodes = (size / BYTES_PER_INODE).max(LEAST_INODES);
    let context = Context::open(c"tmpfs")?;
    context.set(c"size", Text::<24>::new().number(size).c_str())?;
    context.set(c"nr_inodes", Text::<24>::new().number(inodes).c_str())?;
    context.set(c"mode", Text::<24>::new().octal(mode).c_str())?;
    context.mount(attributes, spent)
}

/// A pseudo-terminal file system that shares nothing with the host's.
pub(crate) fn devpts(attributes: u64, spent: Spent) -> Result<OwnedFd, Failure> {
    let context = Context::open(c"devpts")?;
    context.set(c"newinstance", None)?;
    context.set(c"ptmxmode", Some(c"0666"))?;
    context.set(c"mode", Some(c"0620"))?;
    context.mount(attributes, spent)
}

/// An overlay whose changes stay in `upper`.
#[inline(never)]
pub(super) fn overlay(
    lower: Path<'static>,
    upper: Path<'static>,
    work: Path<'static>,
    attributes: u64,
    spent: Spent,
) -> Result<OwnedFd, Failure> {
    let context = Context::open(c"overlay")?;
    for (key, path) in [(c"lowerdir", lower), (c"upperdir", upper), (c"workdir", work)] {
        context.set(key, layer(path)?.c_str())?;
    }
    // In a user namespace the attributes of trusted.overlay are out of reach.
    context.set(c"userxattr", None)?;
    context.mount(attributes, spent)
}

/// A layer by its descriptor: the option is a list in which some characters
/// have a meaning, and is resolved with symlinks.
fn layer(path: Path<'static>) -> Result<Text<FD_PATH>, Failure> {
    let layer = open_source(path, OFlags::DIRECTORY, Symlinks::Refuse)
        .map_err(failed(STAGE, Call::Openat2))?;
    Ok(fd_path(sys::until_exec(layer).as_raw_fd()))
}

/// A fresh proc(5) of the caller's PID namespace.
pub(crate) fn proc(attributes: u64) -> Result<OwnedFd, Failure> {
    Context::open(c"proc")?.mount(attributes, Spent::Left)
}

/// A file system that is being made: fsopen(2).
struct Context(OwnedFd);

impl Context {
    /// Of this type, without options.
    fn open(kind: &CStr) -> Result<Self, Failure> {
        fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map(Self).map_err(failed(STAGE, Call::Fsopen))
    }

    /// Sets an option, which may have a value.
    #[inline(never)]
    fn set(&self, key: &CStr, value: Option<&CStr>) -> Result<(), Failure> {
        match value {
            Some(value) => fsconfig_set_string(self.0.as_fd(), key, value),
            None => fsconfig_set_flag(self.0.as_fd(), key),
        }
        .map_err(failed(STAGE, Call::Fsconfig))
    }

    /// A mount of the file system.
    fn mount(self, attributes: u64, spent: Spent) -> Result<OwnedFd, Failure> {
        let context = self.0.as_fd();
        fsconfig_create(context).map_err(failed(STAGE, Call::Fsconfig))?;
        // Every attribute of a policy fits in the flags of fsmount(2).
        let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
        let made = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(failed(STAGE, Call::Fsmount))?;
        spent.let_go(self.0);
        Ok(made)
    }
}
