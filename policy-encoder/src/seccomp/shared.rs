//! What is closed where the command shares a namespace with the host, since
//! Landlock knows none of these.
//!
//! All of it opens when it is allowed by name.

use linux_raw_sys::general::{CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID, PRIO_PROCESS};
use linux_raw_sys::ioctl;

use super::rules::{Action, Argument, Call, Comparison, Condition, Rule};
use super::{Facts, Opened};

/// `IOPRIO_WHO_PROCESS` of linux/ioprio.h.
const IOPRIO_WHO_PROCESS: u32 = 1;

/// System calls on a process, which their first argument names: 0 is the one
/// that calls. The kernel asks no more than that both have the same user.
const PROCESSES: &[&str] =
    &["prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"];

/// System calls that change what is known of a file, which the kernel lets
/// its owner do through any path and any descriptor.
const METADATA: &[&str] = &[
    "chmod",
    "chown",
    "chown32",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchown32",
    "fchownat",
    "file_setattr",
    "fremovexattr",
    "fsetxattr",
    "futimesat",
    "lchown",
    "lchown32",
    "lremovexattr",
    "lsetxattr",
    "removexattr",
    "removexattrat",
    "setxattr",
    "setxattrat",
    "utime",
    "utimensat",
    "utimensat_time64",
    "utimes",
];

/// `EXT4_IOC32_SETVERSION` of fs/ext4/ext4.h: `_IOW('f', 4, int)`.
const EXT4_IOC32_SETVERSION: u32 = 0x4004_6604;

/// `BTRFS_IOC_SET_RECEIVED_SUBVOL_32` of fs/btrfs/ioctl.c, whose times are
/// packed: `_IOWR(0x94, 37, 192 bytes)`.
const BTRFS_IOC_SET_RECEIVED_SUBVOL_32: u32 = 0xc0c0_9425;

/// Requests of ioctl(2) that do the same, or change a directory, through a
/// descriptor that is open for reading.
const METADATA_REQUESTS: &[u32] = &[
    ioctl::FS_IOC_SETFLAGS,
    ioctl::FS_IOC32_SETFLAGS,
    ioctl::FS_IOC_FSSETXATTR,
    ioctl::FS_IOC_SETVERSION,
    ioctl::FS_IOC32_SETVERSION,
    ioctl::EXT4_IOC_SETVERSION,
    ioctl::FS_IOC_ENABLE_VERITY,
    ioctl::FS_IOC_SET_ENCRYPTION_POLICY,
    ioctl::BTRFS_IOC_SUBVOL_SETFLAGS,
    ioctl::BTRFS_IOC_SET_RECEIVED_SUBVOL,
    // The same of programs of 32 bits.
    EXT4_IOC32_SETVERSION,
    BTRFS_IOC_SET_RECEIVED_SUBVOL_32,
    ioctl::BTRFS_IOC_SUBVOL_CREATE,
    ioctl::BTRFS_IOC_SUBVOL_CREATE_V2,
    ioctl::BTRFS_IOC_SNAP_CREATE,
    ioctl::BTRFS_IOC_SNAP_CREATE_V2,
    ioctl::BTRFS_IOC_SNAP_DESTROY,
    ioctl::BTRFS_IOC_SNAP_DESTROY_V2,
];

/// System calls on objects that are named by a number or in a file system of
/// the IPC namespace's own: System V IPC and POSIX message queues.
const IPC: &[&str] = &[
    "ipc",
    "mq_open",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "shmat",
    "shmctl",
    "shmget",
];

/// The namespace in which a system call reaches nothing of the host's, if it
/// is closed for want of one.
pub(crate) fn governing(name: &str) -> Option<u32> {
    match name {
        _ if PROCESSES.contains(&name) => Some(CLONE_NEWPID),
        "setpriority" | "ioprio_set" => Some(CLONE_NEWPID),
        _ if METADATA.contains(&name) => Some(CLONE_NEWNS),
        _ if IPC.contains(&name) => Some(CLONE_NEWIPC),
        _ => None,
    }
}

/// Every system call that is closed for want of a namespace.
pub(super) fn governed() -> impl Iterator<Item = Opened> {
    let lists = [
        (CLONE_NEWPID, PROCESSES),
        (CLONE_NEWPID, &["setpriority", "ioprio_set"]),
        (CLONE_NEWNS, METADATA),
        // Some of its requests change what is known of a file.
        (CLONE_NEWNS, &["ioctl"]),
        (CLONE_NEWIPC, IPC),
    ];
    let each = |(namespace, calls): (u32, &'static [&'static str])| {
        calls.iter().map(move |&call| Opened { namespace, call })
    };
    lists.into_iter().flat_map(each)
}

/// What a system call is left with because of a shared namespace.
pub(super) fn call(name: &str, facts: &Facts, denied: Action) -> Option<Call> {
    let own = |conditions: &[Condition]| {
        let rules = vec![Rule { conditions: conditions.to_vec(), action: Action::Allow }];
        Some(Call { rules, otherwise: denied })
    };
    if !facts.shares(governing(name)?) {
        return None;
    }
    match name {
        _ if PROCESSES.contains(&name) => own(&[is(Argument::First, 0)]),
        "setpriority" => own(&[is(Argument::First, PRIO_PROCESS), is(Argument::Second, 0)]),
        "ioprio_set" => own(&[is(Argument::First, IOPRIO_WHO_PROCESS), is(Argument::Second, 0)]),
        _ => Some(Call::always(denied)),
    }
}

/// Requests of ioctl(2) that are closed because of a shared namespace.
pub(super) fn requests(facts: &Facts) -> Option<&'static [u32]> {
    facts.shares(CLONE_NEWNS).then_some(METADATA_REQUESTS)
}

/// An `int` that is this.
fn is(argument: Argument, value: u32) -> Condition {
    Condition::int(argument, Comparison::Equal(value.into()))
}

#[cfg(test)]
mod tests {
    use super::super::profile::{self, Profile};
    use super::super::tables;
    use super::*;

    #[test]
    fn every_name_exists_and_is_open_by_default() {
        let names =
            PROCESSES.iter().chain(METADATA).chain(IPC).chain(&["setpriority", "ioprio_set"]);
        for name in names {
            assert!(tables::exists(name), "{name}");
            let call = profile::call(Profile::Default, name, false, Action::Errno(1));
            assert_eq!(call, Call::always(Action::Allow), "{name}");
        }
    }
}
