//! What the default profile closes, with the reason for each.
//!
//! Every capability is dropped before the filter is installed, so much of
//! this is refused by the kernel anyway; the filter keeps the code behind
//! these calls out of reach all the same.

use linux_raw_sys::errno::ENOSYS;
use linux_raw_sys::general as uapi;

use super::rules::{Action, Argument, Call, Comparison, Condition, Rule};

/// System calls that are closed for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Why, in a sentence without a full stop.
    pub reason: &'static str,
    /// Their names; some exist on other architectures only.
    pub calls: &'static [&'static str],
}

/// The system calls that the default profile closes whatever the arguments.
pub const CLOSED: &[Closed] = &[
    Closed {
        reason: "its flags lie in memory, where a filter cannot see new namespaces; libc falls \
                 back to clone",
        calls: &["clone3"],
    },
    Closed { reason: "it joins namespaces of other processes", calls: &["setns"] },
    Closed {
        reason: "it changes what the file system looks like, which the policy has settled",
        calls: &[
            "mount",
            "umount",
            "umount2",
            "pivot_root",
            "chroot",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "mount_setattr",
        ],
    },
    Closed {
        reason: "it reads or changes other processes",
        calls: &[
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "process_madvise",
            "pidfd_getfd",
            "kcmp",
            "move_pages",
            "migrate_pages",
        ],
    },
    Closed {
        reason: "it has been the way into the kernel again and again, and few programs need it",
        calls: &["userfaultfd", "perf_event_open", "bpf", "modify_ldt", "fanotify_init"],
    },
    Closed {
        reason: "keys are kept for the user, not for the sandbox",
        calls: &["keyctl", "add_key", "request_key"],
    },
    Closed {
        reason: "it loads code into the kernel or replaces it",
        calls: &[
            "kexec_load",
            "kexec_file_load",
            "init_module",
            "finit_module",
            "delete_module",
            "create_module",
            "query_module",
            "get_kernel_syms",
        ],
    },
    Closed {
        reason: "it administers the whole machine",
        calls: &[
            "reboot",
            "swapon",
            "swapoff",
            "acct",
            "quotactl",
            "quotactl_fd",
            "settimeofday",
            "clock_settime",
            "clock_settime64",
            "stime",
            "sethostname",
            "setdomainname",
            "syslog",
            "vhangup",
        ],
    },
    Closed { reason: "it reaches the hardware", calls: &["iopl", "ioperm"] },
    Closed {
        reason: "it opens files by number, past every directory that hides them",
        calls: &["open_by_handle_at"],
    },
    Closed {
        reason: "nothing has used it for years",
        calls: &[
            "nfsservctl",
            "lookup_dcookie",
            "ustat",
            "sysfs",
            "uselib",
            "_sysctl",
            "vm86",
            "vm86old",
        ],
    },
];

/// Flags of clone(2) that make namespaces. `CLONE_NEWTIME` is not among them:
/// clone(2) takes that bit for a part of the exit signal.
const CLONE_NAMESPACES: u32 = uapi::CLONE_NEWNS
    | uapi::CLONE_NEWCGROUP
    | uapi::CLONE_NEWUTS
    | uapi::CLONE_NEWIPC
    | uapi::CLONE_NEWUSER
    | uapi::CLONE_NEWPID
    | uapi::CLONE_NEWNET;

/// Flags of unshare(2) that make no namespace. All others stay closed: newer
/// kernels have flags that imply one.
const UNSHARE_WITHIN: u32 = uapi::CLONE_FS
    | uapi::CLONE_FILES
    | uapi::CLONE_SYSVSEM
    | uapi::CLONE_VM
    | uapi::CLONE_SIGHAND
    | uapi::CLONE_THREAD;

/// What personality(2) may be asked: which one it is, `PER_LINUX`,
/// `PER_LINUX32` and each with `UNAME26`. They change what uname(2) says; the
/// others weaken the layout of memory.
const PERSONALITIES: [u64; 5] = [0xffff_ffff, 0, 0x8, 0x2_0000, 0x2_0008];

/// What the default profile decides about a system call.
pub(super) fn call(name: &str, denied: Action) -> Call {
    match name {
        // An `unsigned long` of which the kernel looks at the lower half.
        "clone" => Call {
            rules: vec![when(
                Condition::int(Argument::First, no_bits(CLONE_NAMESPACES.into())),
                Action::Allow,
            )],
            otherwise: denied,
        },
        "unshare" => Call {
            rules: vec![when(
                Condition::long(Argument::First, no_bits(!u64::from(UNSHARE_WITHIN))),
                Action::Allow,
            )],
            otherwise: denied,
        },
        "personality" => Call {
            rules: vec![when(
                Condition::int(Argument::First, Comparison::OneOf(PERSONALITIES.to_vec())),
                Action::Allow,
            )],
            otherwise: denied,
        },
        _ if is_closed(name) => closed(name, denied),
        _ => Call::always(Action::Allow),
    }
}

/// A system call that is closed altogether.
pub(super) fn closed(name: &str, denied: Action) -> Call {
    match name {
        // Whatever the policy's error number is: libc falls back to clone on
        // this one only, and without that no thread starts.
        "clone3" => Call::always(Action::Errno(ENOSYS as u16)),
        _ => Call::always(denied),
    }
}

fn is_closed(name: &str) -> bool {
    CLOSED.iter().any(|closed| closed.calls.contains(&name))
}

/// A rule with one condition.
pub(super) fn when(condition: Condition, action: Action) -> Rule {
    Rule { conditions: vec![condition], action }
}

/// None of these bits is set.
const fn no_bits(mask: u64) -> Comparison {
    Comparison::MaskedEqual { mask, value: 0 }
}

#[cfg(test)]
mod tests {
    use super::super::tables;
    use super::*;

    const DENIED: Action = Action::Errno(1);

    fn decide(name: &str, first: u64) -> Action {
        call(name, DENIED).decide(&[first, 0, 0, 0, 0, 0])
    }

    #[test]
    fn every_closed_name_exists_and_stands_once() {
        let mut names: Vec<&str> = CLOSED.iter().flat_map(|closed| closed.calls).copied().collect();
        for name in &names {
            assert!(tables::exists(name), "{name}");
        }
        names.sort_unstable();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }

    #[test]
    fn threads_and_processes_start_but_not_in_new_namespaces() {
        let thread = u64::from(
            uapi::CLONE_VM
                | uapi::CLONE_FS
                | uapi::CLONE_FILES
                | uapi::CLONE_SIGHAND
                | uapi::CLONE_THREAD
                | uapi::CLONE_SYSVSEM
                | uapi::CLONE_SETTLS
                | uapi::CLONE_PARENT_SETTID
                | uapi::CLONE_CHILD_CLEARTID,
        );
        assert_eq!(decide("clone", thread), Action::Allow);
        assert_eq!(decide("clone", u64::from(uapi::SIGCHLD)), Action::Allow);
        // An exit signal whose bits are those of CLONE_NEWTIME.
        assert_eq!(decide("clone", u64::from(uapi::CLONE_NEWTIME)), Action::Allow);
        for bit in (0..32).map(|bit| 1u32 << bit).filter(|bit| CLONE_NAMESPACES & bit != 0) {
            assert_eq!(decide("clone", u64::from(bit)), DENIED);
            assert_eq!(decide("clone", thread | u64::from(bit)), DENIED);
            assert_eq!(decide("unshare", u64::from(bit)), DENIED);
        }
        assert_eq!(decide("unshare", u64::from(uapi::CLONE_NEWTIME)), DENIED);
        assert_eq!(decide("unshare", u64::from(uapi::CLONE_FS)), Action::Allow);
    }

    #[test]
    fn clone3_does_not_exist_whatever_the_error_number() {
        assert_eq!(decide("clone3", 0), Action::Errno(38));
        assert_eq!(closed("clone3", DENIED), Call::always(Action::Errno(38)));
    }

    #[test]
    fn the_personality_can_be_asked_for_but_not_weakened() {
        assert_eq!(decide("personality", 0xffff_ffff), Action::Allow);
        assert_eq!(decide("personality", u64::MAX), Action::Allow);
        assert_eq!(decide("personality", 0), Action::Allow);
        // READ_IMPLIES_EXEC, ADDR_NO_RANDOMIZE.
        assert_eq!(decide("personality", 0x0040_0000), DENIED);
        assert_eq!(decide("personality", 0x0004_0000), DENIED);
    }

    #[test]
    fn what_sandboxes_inside_need_stays_open() {
        for name in [
            "seccomp",
            "landlock_create_ruleset",
            "landlock_add_rule",
            "landlock_restrict_self",
            "prctl",
            "execve",
        ] {
            assert_eq!(call(name, DENIED), Call::always(Action::Allow), "{name}");
        }
    }
}
