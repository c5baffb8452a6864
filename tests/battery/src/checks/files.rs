//! Files that may be read and not changed, by every call that changes one.

use super::hidden::set_attribute;
use super::row::*;

/// Why a lock can be taken.
const LOCKS: &str = "a lock takes nothing but a descriptor to read, and nobody obeys it who does \
     not ask";

/// Why a lease can be taken.
const LEASES: &str = "an owner may take a lease on its own file by any descriptor; whoever opens \
     it then waits until the kernel takes it away";

/// Why a FIFO can be written.
const INSIDE: &str = "a read-only mount lets FIFOs be written, and Landlock takes nothing back \
     from below a directory";

pub(super) const CHECKS: &[Check] = &[
    changed("data-write", "opens a file to write", |world| {
        Ok(open(&world.data("file"), O_WRONLY).map(drop)?)
    }),
    changed("data-append", "opens a file to append", |world| {
        Ok(open(&world.data("file"), O_WRONLY | O_APPEND).map(drop)?)
    }),
    changed("data-truncate", "cuts a file short", |world| {
        let path = sys::text(&world.data("other"));
        Ok(call(SYS_truncate, [path.as_ptr() as u64, 0]).map(drop)?)
    }),
    changed("data-open-truncate", "cuts a file short by opening it to read", |world| {
        Ok(open(&world.data("other"), O_RDONLY | O_TRUNC).map(drop)?)
    }),
    changed("data-create", "makes a file", |world| {
        open(&world.data("new"), O_WRONLY | O_CREAT | O_EXCL)?;
        Ok(fs::remove_file(world.data("new"))?)
    }),
    changed("data-unnamed", "makes a file without a name", |world| {
        Ok(open(&world.data(""), O_WRONLY | O_TMPFILE).map(drop)?)
    }),
    changed("data-directory", "makes a directory", |world| {
        fs::create_dir(world.data("new"))?;
        Ok(fs::remove_dir(world.data("new"))?)
    }),
    changed("data-symlink", "makes a symlink", |world| {
        std::os::unix::fs::symlink("file", world.data("new"))?;
        Ok(fs::remove_file(world.data("new"))?)
    }),
    changed("data-fifo", "makes a FIFO", |world| {
        let path = sys::text(&world.data("new"));
        let mode = u64::from(S_IFIFO) | 0o600;
        call(SYS_mknodat, [sys::CWD, path.as_ptr() as u64, mode, 0])?;
        Ok(fs::remove_file(world.data("new"))?)
    }),
    changed("data-remove", "removes a file", |world| {
        fs::remove_file(world.data("other"))?;
        Ok(fs::write(world.data("other"), SECRET)?)
    }),
    changed("data-rename", "renames a file", |world| {
        there_and_back(&world.data("other"), &world.data("renamed"))
    }),
    Check {
        strict: Check::blocked(Mounts, EXDEV),
        ..changed("data-move", "moves a file to a directory that may be written", |world| {
            there_and_back(&world.data("other"), &world.writable("taken"))
        })
    },
    Check {
        strict: Check::blocked(Mounts, EXDEV),
        landlock: Check::blocked(Landlock, EXDEV),
        ..changed("data-link", "gives a file a name in a directory that may be written", |world| {
            fs::hard_link(world.data("file"), world.writable("linked"))?;
            Ok(fs::remove_file(world.writable("linked"))?)
        })
    },
    changed("data-link-in", "gives a file of its own a name among them", |world| {
        fs::hard_link(world.writable("file"), world.data("linked"))?;
        Ok(fs::remove_file(world.data("linked"))?)
    }),
    metadata("data-mode", "changes the mode of a file", |world| {
        let path = sys::text(&world.data("file"));
        Ok(call(SYS_fchmodat, [sys::CWD, path.as_ptr() as u64, 0o644]).map(drop)?)
    }),
    metadata("data-mode-by-descriptor", "changes a mode by a descriptor to read", |world| {
        let file = open(&world.data("file"), O_RDONLY)?;
        Ok(call(SYS_fchmod, [file, 0o644]).map(drop)?)
    }),
    metadata("data-owner", "changes the owner of a file to the same", |world| {
        let path = sys::text(&world.data("file"));
        let none = u64::from(u32::MAX);
        Ok(call(SYS_fchownat, [sys::CWD, path.as_ptr() as u64, none, none, 0]).map(drop)?)
    }),
    metadata("data-times", "changes the times of a file", |world| {
        let path = sys::text(&world.data("file"));
        Ok(call(SYS_utimensat, [sys::CWD, path.as_ptr() as u64, 0, 0]).map(drop)?)
    }),
    metadata("data-attribute", "sets an attribute of a file", |world| {
        set_attribute(&world.data("file"))
    }),
    metadata("data-attribute-removed", "removes an attribute of a file", |world| {
        let path = sys::text(&world.data("file"));
        let name = c"user.none".as_ptr() as u64;
        reached(call(SYS_removexattr, [path.as_ptr() as u64, name]), &[ENODATA])
    }),
    metadata("data-flags", "changes the flags of a file by ioctl", |world| {
        let file = open(&world.data("file"), O_RDONLY)?;
        // None.
        Ok(call(SYS_ioctl, [file, number::FS_IOC_SETFLAGS, sys::at(&0_u64)]).map(drop)?)
    }),
    Check {
        name: "data-fifo-write",
        tries: "writes to a FIFO in a read-only directory, which a mount does not stop",
        source: "fifo(7)",
        control: Anybody,
        strict: Check::blocked(Landlock, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| Ok(open(&world.data("fifo"), O_WRONLY | O_NONBLOCK).map(drop)?),
    },
    Check {
        name: "fixed-fifo-write",
        tries: "writes to a FIFO in a read-only directory inside a writable one",
        source: "fifo(7)",
        control: Anybody,
        strict: Check::allowed(INSIDE),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| Ok(open(&world.project("fixed/fifo"), O_WRONLY | O_NONBLOCK).map(drop)?),
    },
    Check {
        name: "data-device-request",
        tries: "makes a request of a device in a directory it may read",
        source: "landlock(7)",
        control: Anybody,
        strict: Check::blocked(Mounts, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| {
            let device = open(&world.data("device"), O_RDONLY)?;
            // The null device has no answer to any.
            reached(call(SYS_ioctl, [device, number::TIOCGWINSZ, 0]), &[ENOTTY])
        },
    },
    Check {
        name: "data-lock",
        tries: "locks a file that it may only read",
        source: "flock(2)",
        control: Anybody,
        strict: Check::allowed(LOCKS),
        landlock: Check::allowed(LOCKS),
        attack: |world| {
            let file = open(&world.data("file"), O_RDONLY)?;
            Ok(call(SYS_flock, [file, (LOCK_EX | LOCK_NB) as u64]).map(drop)?)
        },
    },
    Check {
        name: "data-lease",
        tries: "takes a lease on a file that it may only read, so that others wait",
        source: "F_SETLEASE",
        control: Anybody,
        strict: Check::allowed(LEASES),
        landlock: Check::allowed(LEASES),
        attack: |world| {
            let file = open(&world.data("other"), O_RDONLY)?;
            Ok(call(SYS_fcntl, [file, F_SETLEASE as u64, F_WRLCK as u64]).map(drop)?)
        },
    },
    Check {
        name: "system-write",
        tries: "opens a file of the system to write",
        source: "CVE-2019-5736",
        control: Root,
        strict: Check::blocked(Permissions, EACCES).but_root(Check::blocked(Mounts, EROFS)),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("/usr/lib/os-release", O_WRONLY).map(drop)?),
    },
    system("system-create", "makes a file among those of the system", |_| make_unnamed("/usr/lib")),
    system("root-create", "makes a file in the root directory", |_| make_unnamed("/")),
];

const fn changed(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        name,
        tries,
        source: "landlock(7)",
        control: Anybody,
        strict: Check::blocked(Mounts, EROFS),
        landlock: Check::blocked(Landlock, EACCES),
        attack,
    }
}

/// Of the host's own file system, so that nothing is left there.
const fn system(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        source: "CVE-2024-42472",
        control: RootWhere("O_TMPFILE"),
        ..changed(name, tries, attack)
    }
}

/// A file without a name, which ends with the check.
fn make_unnamed(directory: &str) -> Result<(), Refused> {
    Ok(open(directory, O_WRONLY | O_TMPFILE).map(drop)?)
}

/// What Landlock does not know, and so the filter closes.
const fn metadata(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check { landlock: Check::blocked(Seccomp, EPERM), ..changed(name, tries, attack) }
}

fn there_and_back(from: &str, to: &str) -> Result<(), Refused> {
    fs::rename(from, to)?;
    Ok(fs::rename(to, from)?)
}
