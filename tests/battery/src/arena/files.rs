//! The files of an arena: on file systems of its own, so that nothing of it is
//! ever on the host.

use std::ffi::c_int;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use crate::sys;
use crate::world::{BASE, OWNER, SECRET};

/// The policies that are tried.
const POLICIES: [(&str, &str); 3] = [
    ("strict.toml", include_str!("../../strict.toml")),
    ("unfiltered.toml", include_str!("../../unfiltered.toml")),
    ("landlock.toml", include_str!("../../landlock.toml")),
];

/// Directories of the user's.
const DIRECTORIES: [&str; 15] = [
    "secret",
    "secret/directory",
    "data",
    "data/later",
    "writable",
    "writable/later",
    "writable/moved",
    "writable/moved/deep",
    "writable/other",
    "project",
    "project/hidden",
    "project/fixed",
    "project/around",
    "project/.git",
    "project/.git/hooks",
];

/// Files of the user's.
const FILES: [&str; 14] = [
    "secret/file",
    "secret/log",
    "secret/status",
    "secret/other",
    "data/file",
    "data/other",
    "writable/file",
    "writable/moved/file",
    "project/file",
    "project/masked",
    "project/around/masked",
    "project/hidden/file",
    "project/.git/config",
    "project/plain",
];

/// `struct vfs_cap_data` of revision 2 with CAP_SYS_ADMIN, permitted and
/// effective.
const CAPABILITY: [u32; 5] = [0x0200_0001, 1 << 21, 0, 0, 0];

pub(super) fn mount(
    source: &str,
    target: &str,
    kind: &str,
    flags: u64,
    options: &str,
) -> io::Result<()> {
    let [source, target, kind, options] = [source, target, kind, options].map(sys::text);
    let places = [&source, &target, &kind].map(|text| text.as_ptr() as u64);
    let [source, target, kind] = places;
    sys::call(libc::SYS_mount, [source, target, kind, flags, options.as_ptr() as u64]).map(drop)
}

/// The mounts of the arena, which propagate among themselves as those of a
/// host do, and to nowhere else.
pub(super) fn mount_host() -> io::Result<()> {
    mount("", "/", "", libc::MS_REC | libc::MS_PRIVATE, "")?;
    mount("proc", "/proc", "proc", 0, "")?;
    mount("shm", "/dev/shm", "tmpfs", 0, "mode=1777")?;
    // Where nothing that is writable is above it: Landlock takes nothing back
    // from below a directory.
    mount("battery", "/mnt", "tmpfs", 0, "mode=755,size=64M")?;
    mount("tmp", "/tmp", "tmpfs", 0, "mode=1777,size=256M")?;
    mount("", "/", "", libc::MS_REC | libc::MS_SHARED, "")
}

/// The programs under test, which may lie where the arena has a `/tmp`.
pub(super) struct Programs([(&'static str, Vec<u8>); 2]);

impl Programs {
    pub(super) fn read(dist: &Path) -> io::Result<Self> {
        let read = |name| fs::read(dist.join(name)).map(|program| (name, program));
        Ok(Self([read("launcher")?, read("encode-policy")?]))
    }
}

/// Everything below the base.
pub(super) fn fill(uid: u32, Programs(tools): &Programs) -> io::Result<()> {
    let base = Path::new(BASE);
    fs::create_dir(base)?;
    for directory in DIRECTORIES {
        fs::create_dir(base.join(directory))?;
        give(&base.join(directory), uid, 0o755)?;
    }
    for file in FILES {
        fs::write(base.join(file), SECRET)?;
        give(&base.join(file), uid, 0o644)?;
    }
    for directory in ["bin", "tools", "policies"] {
        fs::create_dir(base.join(directory))?;
    }
    for (name, text) in POLICIES {
        fs::write(base.join("policies").join(name), text)?;
    }
    for (name, program) in tools {
        fs::write(base.join("tools").join(name), program)?;
        give(&base.join("tools").join(name), 0, 0o755)?;
    }
    programs(base, uid)?;
    specials(base, uid)
}

/// Programs that may be run, and some that may not.
fn programs(base: &Path, uid: u32) -> io::Result<()> {
    for name in ["bin/battery", "bin/setuid", "bin/capable", "data/program", "secret/program"] {
        fs::copy("/proc/self/exe", base.join(name))?;
        give(&base.join(name), uid, 0o755)?;
    }
    give(&base.join("bin/setuid"), OWNER, 0o4755)?;
    let path = sys::text(&base.join("bin/capable").to_string_lossy());
    let name = c"security.capability".as_ptr() as u64;
    let value = sys::at(&CAPABILITY);
    sys::call(libc::SYS_setxattr, [path.as_ptr() as u64, name, value, 20, 0])?;
    fs::write(base.join("data/script"), "#!/bin/sh\nexit 42\n")?;
    give(&base.join("data/script"), uid, 0o755)?;
    // One that the dynamic loader can start.
    fs::copy("/bin/true", base.join("data/dynamic"))?;
    give(&base.join("data/dynamic"), uid, 0o755)
}

/// What is neither a file nor a directory. Sockets come with who listens.
fn specials(base: &Path, uid: u32) -> io::Result<()> {
    let nodes = [
        ("data/fifo", libc::S_IFIFO, 0),
        ("project/fixed/fifo", libc::S_IFIFO, 0),
        // The null device: whoever opens it does no harm.
        ("writable/device", libc::S_IFCHR, libc::makedev(1, 3)),
        ("data/device", libc::S_IFCHR, libc::makedev(1, 3)),
    ];
    for (name, kind, device) in nodes {
        let path = sys::text(&base.join(name).to_string_lossy());
        let mode = u64::from(kind) | 0o666;
        sys::call(libc::SYS_mknodat, [sys::CWD, path.as_ptr() as u64, mode, device])?;
        give(&base.join(name), uid, 0o666)?;
    }
    symlink("../masked", base.join("project/.git/link"))?;
    symlink(base.join("secret/file"), base.join("writable/link"))
}

fn give(path: &Path, uid: u32, mode: u32) -> io::Result<()> {
    chown(path, Some(uid), Some(uid))?;
    // Behind the owner, whose change takes the bit of a set user id.
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Takes a mount away again, whatever still uses it.
pub(super) fn unmount(target: &str) -> io::Result<()> {
    let target = sys::text(target);
    let flags = libc::MNT_DETACH as c_int as u64;
    sys::call(libc::SYS_umount2, [target.as_ptr() as u64, flags]).map(drop)
}
