//! Which objects can be opened by somebody else.
//!
//! To open a file is the same for whoever has the same rights. To open a device
//! or a file of a pseudo file system may depend on who does it: on its
//! namespaces, its terminal, or on its being itself.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Component, Path};

use rustix::fs::{FileType, Stat, fstatfs, major, minor};
use rustix::io::{Errno, Result};

use crate::target::Status;

const PROC: u32 = linux_raw_sys::general::PROC_SUPER_MAGIC;

/// File systems whose files are not data: of those no file is written for
/// another process.
const PSEUDO: [u32; 16] = [
    PROC,
    0x6265_6572, // sysfs
    0x6367_7270, // cgroup2
    0x0027_e0eb, // cgroup
    0x7363_6673, // securityfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0xcafe_4a11, // bpf
    0x4249_4e4d, // binfmt_misc
    0x6e73_6673, // nsfs
    0x5049_4446, // pidfs
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
    0xde5e_81e4, // efivarfs
    0x6265_6570, // configfs
    0x1980_0202, // mqueue
];

/// `PROC_ROOT_INO` of linux/proc_fs.h.
const ROOT: u64 = 1;

/// What /proc says about the machine. The rest of what it has beside processes
/// is about namespaces or keys of whoever opens it.
const MACHINE: [&str; 10] = [
    "cmdline",
    "cpuinfo",
    "devices",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "uptime",
    "version",
    "vmstat",
];

/// Refuses what would be another thing if this process opened it.
pub(crate) fn check(
    object: BorrowedFd<'_>,
    stat: &Stat,
    path: &Path,
    writes: bool,
    target: &Status,
) -> Result<()> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => return Err(Errno::ACCESS),
        FileType::CharacterDevice => return device(major(stat.st_rdev), minor(stat.st_rdev)),
        _ => {}
    }
    if writes && PSEUDO.contains(&kind(object)?) {
        return Err(Errno::ACCESS);
    }
    check_to_look(object, stat, path, target)
}

/// As [`check`], of what is only looked at.
pub(crate) fn check_to_look(
    object: BorrowedFd<'_>,
    stat: &Stat,
    path: &Path,
    target: &Status,
) -> Result<()> {
    // The root of it, which is a list.
    if kind(object)? != PROC || stat.st_ino == ROOT {
        Ok(())
    } else {
        process(path, target.numbers(is_own_proc(stat)).0)
    }
}

/// Whether this is of the very /proc that this process has, with its numbers.
pub(crate) fn is_own_proc(stat: &Stat) -> bool {
    rustix::fs::stat("/proc").is_ok_and(|own| own.st_dev == stat.st_dev)
}

/// Whether this is in a file system of kind proc.
pub(crate) fn is_proc(object: BorrowedFd<'_>) -> Result<bool> {
    Ok(kind(object)? == PROC)
}

fn kind(object: BorrowedFd<'_>) -> Result<u32> {
    // The numbers are of 32 bits, whatever the field is.
    Ok(fstatfs(object)?.f_type as u32)
}

/// Devices that are the same for everybody.
fn device(major: u32, minor: u32) -> Result<()> {
    match (major, minor) {
        // null, zero, full, random, urandom; ptmx; the other ends of that
        (1, 3 | 5 | 7 | 8 | 9) | (5, 2) | (136..=143, _) => Ok(()),
        // The terminal of whoever opens it.
        (5, 0) => Err(Errno::NXIO),
        _ => Err(Errno::ACCESS),
    }
}

/// Of /proc only what belongs to the process that asks, or is about the machine.
fn process(path: &Path, number: u32) -> Result<()> {
    let names: Vec<&str> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_str().unwrap_or_default()),
            _ => None,
        })
        .collect();
    let mut numbers = names.iter().filter_map(|name| name.parse::<u32>().ok()).peekable();
    let is_granted = match numbers.peek() {
        Some(first) => *first == number,
        None => matches!(names.as_slice(), [_, name] if MACHINE.contains(name)),
    };
    // In the PID namespace of this process the number could be its own, which
    // it may look into.
    let is_ours = |number: u32| fs::exists(format!("/proc/self/task/{number}")).unwrap_or(true);
    if is_granted && !numbers.any(is_ours) { Ok(()) } else { Err(Errno::ACCESS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_opened_where_they_are_the_same_for_everybody() {
        assert_eq!((device(1, 3), device(136, 7)), (Ok(()), Ok(())));
        assert_eq!(device(5, 0), Err(Errno::NXIO));
        // mem, tun, kvm
        for (major, minor) in [(1, 1), (10, 200), (10, 232)] {
            assert_eq!(device(major, minor), Err(Errno::ACCESS));
        }
    }

    #[test]
    fn of_proc_only_what_is_the_same_for_everybody_or_its_own() {
        // No thread has such a number.
        let number = u32::MAX;
        let own = format!("/proc/{number}/status");
        for granted in ["/proc/meminfo", "/proc/stat", &own] {
            assert_eq!(process(Path::new(granted), number), Ok(()), "{granted}");
        }
        let ours = std::process::id();
        assert_eq!(process(Path::new(&format!("/proc/{ours}/status")), ours), Err(Errno::ACCESS));
        let others =
            "/proc/keys /proc/sysvipc/shm /proc/sys/kernel/hostname /proc/1/stat /proc/sys";
        for other in others.split(' ') {
            assert_eq!(process(Path::new(other), number), Err(Errno::ACCESS), "{other}");
        }
    }
}
