//! Mounts: made, changed, taken away, and what comes with those of others.

use super::row::*;

/// Why a mount of the host is seen where there is no mount namespace.
const SAME_VIEW: &str = "without a mount namespace the command sees the host's mounts, and reads \
     what is below a directory that it may read";

pub(super) const CHECKS: &[Check] = &[
    filtered("mount-tmpfs", "mounts a tmpfs over a directory", "mount(2)", |world| {
        mount("tmpfs", &world.writable("other"), "tmpfs", 0)
    }),
    filtered("mount-proc", "mounts another /proc", "CVE-2025-52881", |world| {
        mount("proc", &world.writable("other"), "proc", 0)
    }),
    filtered("mount-bind", "mounts a directory at another place", "CVE-2021-30465", |world| {
        mount(&world.data(""), &world.writable("other"), "", MS_BIND)
    }),
    filtered("mount-sysfs", "mounts /sys", "CVE-2024-21626", |world| {
        mount("sysfs", &world.writable("other"), "sysfs", 0)
    }),
    filtered("mount-cgroup", "mounts cgroups, to name a release agent", "CVE-2022-0492", |world| {
        mount("none", &world.writable("other"), "cgroup2", 0)
    }),
    filtered("mount-overlay", "mounts an overlay", "CVE-2023-0386", |world| {
        let target = sys::text(&world.writable("other"));
        let options = format!("lowerdir={}:{}", world.data("later"), world.data(""));
        let options = sys::text(&options);
        let kind = c"overlay".as_ptr() as u64;
        let target = target.as_ptr() as u64;
        // ELOOP and EINVAL come after the permission.
        let answer = call(SYS_mount, [kind, target, kind, 0, options.as_ptr() as u64]);
        reached(answer, &[ELOOP, EINVAL])?;
        unmount(target)
    }),
    Check {
        // The kernel looks for a mount first, and there is none outside.
        attack: |world| {
            let path = sys::text(&world.data(""));
            let path = path.as_ptr() as u64;
            let answer = call(SYS_mount, [0, path, 0, MS_REMOUNT | MS_BIND, 0]);
            reached(answer, &[EINVAL])
        },
        ..filtered("remount-writable", "makes a read-only mount writable", "CVE-2024-42472", |_| {
            Ok(())
        })
    },
    filtered("remount-root", "makes all mounts shared with others", "mount(2)", |world| {
        let path = sys::text(&world.data(""));
        let flags = MS_SHARED | MS_REC;
        reached(call(SYS_mount, [0, path.as_ptr() as u64, 0, flags, 0]), &[EINVAL])
    }),
    filtered("move-mount", "moves a mount away from what it hides", "CVE-2021-30465", |world| {
        let [from, to] = ["masked", "file"].map(|name| sys::text(&world.project(name)));
        let arguments = [from.as_ptr() as u64, to.as_ptr() as u64, 0, MS_MOVE, 0];
        reached(call(SYS_mount, arguments), &[EINVAL])
    }),
    filtered("unmount-mask", "takes away the mount that hides a file", "umount(2)", |world| {
        let path = sys::text(&world.project("masked"));
        let flags = MNT_DETACH as u64;
        reached(call(SYS_umount2, [path.as_ptr() as u64, flags]), &[EINVAL])
    }),
    filtered("new-open-tree", "clones a tree of mounts", "open_tree(2)", |world| {
        let path = sys::text(&world.data(""));
        // OPEN_TREE_CLONE
        Ok(call(SYS_open_tree, [sys::CWD, path.as_ptr() as u64, 1]).map(drop)?)
    }),
    filtered("new-open", "opens a file system to be mounted", "CVE-2022-0185", |_| {
        Ok(call(SYS_fsopen, [c"tmpfs".as_ptr() as u64, 0]).map(drop)?)
    }),
    filtered("new-pick", "opens a mounted file system to change it", "fspick(2)", |world| {
        let path = sys::text(&world.data(""));
        reached(call(SYS_fspick, [sys::CWD, path.as_ptr() as u64, 0]), &[EINVAL])
    }),
    filtered("new-move", "attaches a mount", "move_mount(2)", |world| {
        let [from, to] = ["masked", "file"].map(|name| sys::text(&world.project(name)));
        let places = [sys::CWD, from.as_ptr() as u64, sys::CWD, to.as_ptr() as u64, 0];
        reached(call(SYS_move_mount, places), &[EINVAL])
    }),
    filtered("new-setattr", "takes read-only from a mount", "mount_setattr(2)", |world| {
        let path = sys::text(&world.data(""));
        // struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
        let attributes = [0_u64, 1, 0, 0];
        let attributes = sys::at(&attributes);
        let place = path.as_ptr() as u64;
        reached(call(SYS_mount_setattr, [sys::CWD, place, 0, attributes, 32]), &[EINVAL])
    }),
    Check {
        name: "later-mount-read",
        tries: "reads from a file system that the host mounts after the launch",
        source: "mount_namespaces(7)",
        control: Anybody,
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::allowed(SAME_VIEW),
        attack: |world| {
            world.ask("mount")?;
            let answer = open(&world.data("later/file"), O_RDONLY);
            world.ask("unmount")?;
            Ok(answer.map(drop)?)
        },
    },
    Check {
        name: "later-mount-write",
        tries: "writes to a file system that the host mounts after the launch in what is read-only",
        source: "mount_namespaces(7)",
        control: Anybody,
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| {
            world.ask("mount")?;
            let answer = open(&world.data("later/file"), O_WRONLY);
            world.ask("unmount")?;
            Ok(answer.map(drop)?)
        },
    },
    Check {
        name: "later-mount-in-writable",
        tries: "writes to a file system that the host mounts after the launch in what is writable",
        source: "mount_namespaces(7)",
        control: Anybody,
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::allowed(SAME_VIEW),
        attack: |world| {
            world.ask("mount")?;
            let answer = open(&world.writable("later/file"), O_WRONLY);
            world.ask("unmount")?;
            Ok(answer.map(drop)?)
        },
    },
    Check {
        name: "directory-moved-out",
        tries: "walks up from a directory that somebody moved out of what is mounted",
        source: "CVE-2015-2925",
        control: Anybody,
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| {
            let directory = open(&world.writable("moved/deep"), O_DIRECTORY)?;
            world.ask("move")?;
            let answer = sys::open_at(directory, "../../file", O_RDONLY);
            world.ask("back")?;
            Ok(answer.map(drop)?)
        },
    },
    filtered("file-by-handle", "opens files by their numbers, past every mount", "Shocker", |w| {
        let directory = open(&w.data(""), O_DIRECTORY)?;
        // struct file_handle: size, type, and an inode number.
        let handle = [8_u32, 1, 2, 0, 0, 0];
        reached(call(SYS_open_by_handle_at, [directory, sys::at(&handle), 0]), &[ESTALE, EINVAL])
    }),
];

/// What the filter keeps to itself.
const fn filtered(
    name: &'static str,
    tries: &'static str,
    source: &'static str,
    attack: Attack,
) -> Check {
    Check {
        name,
        tries,
        source,
        control: Root,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack,
    }
}

fn mount(source: &str, target: &str, kind: &str, flags: u64) -> Result<(), Refused> {
    let [source, target, kind] = [source, target, kind].map(sys::text);
    let target = target.as_ptr() as u64;
    call(SYS_mount, [source.as_ptr() as u64, target, kind.as_ptr() as u64, flags, 0])?;
    unmount(target)
}

/// Nothing need be there.
fn unmount(target: u64) -> Result<(), Refused> {
    reached(call(SYS_umount2, [target, MNT_DETACH as u64]), &[EINVAL])
}
