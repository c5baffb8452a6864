//! Profiles: which system calls are open, and why the others are not.
//!
//! A profile is a list of what is open; what it does not list is denied.
//! Every capability is dropped before the filter is installed, so much of
//! that is refused by the kernel anyway; the filter keeps the code behind
//! these calls out of reach all the same.

use std::collections::HashSet;
use std::sync::LazyLock;

use linux_raw_sys::errno::ENOSYS;
use linux_raw_sys::general as uapi;

use super::groups;
use super::rules::{Action, Argument, Call, Comparison, Condition, Rule};

/// One of the profiles that are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// What ordinary programs call.
    Default,
    /// What interpreters, compilers and the tools of a shell call.
    Strict,
    /// All but what other tables close.
    Unconfined,
}

/// System calls that a profile treats alike for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Why, in a sentence without a full stop.
    pub reason: &'static str,
    /// Names of system calls, some of which exist on other architectures
    /// only, and of groups.
    pub calls: &'static [&'static str],
}

/// What the default profile opens, but for [`CLOSED`].
pub const DEFAULT: &[Part] = &[
    Part { reason: "ordinary programs are made of these", calls: &["@system-service"] },
    Part {
        reason: "it asks for the state of the clock; to set it takes a capability that is gone",
        calls: &["adjtimex", "clock_adjtime", "clock_adjtime64"],
    },
    Part {
        reason: "it does nothing without fanotify_init, and libraries try it",
        calls: &["fanotify_mark"],
    },
];

/// What the strict profile opens, but for [`CLOSED`].
pub const STRICT: &[Part] = &[
    Part {
        reason: "no program starts, reads, writes, waits or ends without these",
        calls: &[
            "@default",
            "@basic-io",
            "@file-system",
            "@io-event",
            "@process",
            "@signal",
            "@sync",
            "@timer",
        ],
    },
    Part { reason: "which sockets there are is for [network] to say", calls: &["@network-io"] },
    Part { reason: "a program may confine itself further", calls: &["@sandbox"] },
    Part { reason: "a shell joins programs by pipes", calls: &["pipe", "pipe2"] },
    Part { reason: "cp, install and tar keep owners where they may", calls: &["@chown"] },
    Part { reason: "V8 protects the code it makes", calls: &["@pkey"] },
    Part { reason: "nice is one of the coreutils", calls: &["getpriority", "setpriority"] },
    Part {
        reason: "allocators and linkers ask and advise about memory",
        calls: &["madvise", "mincore", "mremap"],
    },
    Part {
        reason: "files are copied, locked and read ahead by these",
        calls: &[
            "arm_fadvise64_64",
            "cachestat",
            "copy_file_range",
            "fadvise64",
            "fadvise64_64",
            "flock",
            "readahead",
            "readdir",
            "sendfile",
            "sendfile64",
            "splice",
            "tee",
            "umask",
        ],
    },
    Part {
        reason: "runtimes ask what the machine is and how they are scheduled",
        calls: &[
            "getcpu",
            "oldolduname",
            "olduname",
            "sched_get_priority_max",
            "sched_get_priority_min",
            "sched_getattr",
            "sched_getparam",
            "sched_getscheduler",
            "sched_rr_get_interval",
            "sched_rr_get_interval_time64",
            "sysinfo",
            "uname",
        ],
    },
    Part {
        reason: "a shell puts its jobs into process groups and sessions",
        calls: &["setpgid", "setsid"],
    },
    Part {
        reason: "terminals and descriptors are controlled by it; the requests that type into a \
                 terminal are closed",
        calls: &["ioctl"],
    },
];

/// What is open under either profile for some arguments only, and when.
pub const JUDGED: &[Part] = &[
    Part { reason: "threads and processes start, in no new namespace", calls: &["clone"] },
    Part {
        reason: "its flags lie in memory, where a filter cannot see new namespaces: it does not \
                 exist, so that libc falls back to clone",
        calls: &["clone3"],
    },
    Part {
        reason: "the default profile lets a thread stop sharing its files and directory, and \
                 make no namespace",
        calls: &["unshare"],
    },
    Part {
        reason: "the default profile lets it be asked for and change what uname says; its other \
                 flags weaken the layout of memory",
        calls: &["personality"],
    },
];

/// What neither profile opens, whatever it lists.
pub const CLOSED: &[Part] = &[
    Part {
        reason: "it changes what the file system looks like, which the policy has settled, or \
                 joins namespaces of other processes",
        calls: &["@mount"],
    },
    Part {
        reason: "it watches, reads or changes other processes",
        calls: &["@debug", "migrate_pages", "move_pages"],
    },
    Part {
        reason: "it has been the way into the kernel again and again, and few programs need it",
        calls: &["@cpu-emulation", "bpf", "fanotify_init", "userfaultfd"],
    },
    Part { reason: "keys are kept for the user, not for the sandbox", calls: &["@keyring"] },
    Part { reason: "it loads code into the kernel or replaces it", calls: &["@module", "@reboot"] },
    Part {
        reason: "it administers the whole machine",
        calls: &[
            "@swap",
            "acct",
            "clock_settime",
            "clock_settime64",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "settimeofday",
            "syslog",
            "vhangup",
        ],
    },
    Part { reason: "it reaches the hardware", calls: &["@raw-io"] },
    Part {
        reason: "it opens files by number, past every directory that hides them",
        calls: &["open_by_handle_at"],
    },
    Part { reason: "nothing has used it for years", calls: &["@obsolete"] },
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

/// What a profile decides about a system call; `opened` says whether a group
/// that the author allows has it.
pub(super) fn call(profile: Profile, name: &str, opened: bool, denied: Action) -> Call {
    let is_default = opened || profile == Profile::Default;
    let only = |condition| Call { rules: vec![when(condition, Action::Allow)], otherwise: denied };
    match name {
        _ if profile == Profile::Unconfined => Call::always(Action::Allow),
        // An `unsigned long` of which the kernel looks at the lower half.
        "clone" => only(Condition::int(Argument::First, no_bits(CLONE_NAMESPACES.into()))),
        "clone3" => closed(name, denied),
        "unshare" if is_default => {
            only(Condition::long(Argument::First, no_bits(!u64::from(UNSHARE_WITHIN))))
        }
        "personality" if is_default => {
            only(Condition::int(Argument::First, Comparison::OneOf(PERSONALITIES.to_vec())))
        }
        _ if opened || opens(profile, name) => Call::always(Action::Allow),
        _ => closed(name, denied),
    }
}

/// Whether a profile judges a system call by its arguments.
pub(super) fn is_judged(name: &str) -> bool {
    JUDGED.iter().any(|part| part.calls.contains(&name))
}

/// Whether a profile has a system call among those it opens.
fn opens(profile: Profile, name: &str) -> bool {
    static DEFAULT_CALLS: LazyLock<HashSet<&str>> = LazyLock::new(|| open(DEFAULT));
    static STRICT_CALLS: LazyLock<HashSet<&str>> = LazyLock::new(|| open(STRICT));
    match profile {
        Profile::Default => DEFAULT_CALLS.contains(name),
        Profile::Strict => STRICT_CALLS.contains(name),
        Profile::Unconfined => true,
    }
}

/// The calls of these parts that are not closed.
fn open(parts: &[Part]) -> HashSet<&'static str> {
    let closed = all(CLOSED);
    let open = all(parts);
    open.difference(&closed).copied().collect()
}

/// The calls of all these parts.
fn all(parts: &[Part]) -> HashSet<&'static str> {
    let names: Vec<&str> = parts.iter().flat_map(|part| part.calls).copied().collect();
    groups::expand(&names)
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
        call(Profile::Default, name, false, DENIED).decide(&[first, 0, 0, 0, 0, 0])
    }

    #[test]
    fn every_name_exists_and_stands_once() {
        for parts in [DEFAULT, STRICT, JUDGED, CLOSED] {
            let mut names: Vec<&str> = parts.iter().flat_map(|part| part.calls).copied().collect();
            for name in &names {
                assert!(tables::exists(name) || groups::calls(name).is_some(), "{name}");
            }
            names.sort_unstable();
            assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        }
    }

    #[test]
    fn every_call_is_open_by_default_or_closed_for_a_reason() {
        let closed = all(CLOSED);
        for name in tables::all_names() {
            let reasons = [opens(Profile::Default, name), closed.contains(name), is_judged(name)];
            // unshare is judged, and in a group that is closed.
            let expected = if name == "unshare" { 2 } else { 1 };
            // clone is judged, and in a group that is open.
            let found = reasons.iter().filter(|reason| **reason).count();
            let is_clone = name.starts_with("clone") && is_judged(name);
            assert!(found == expected || is_clone, "{name} {reasons:?}");
        }
    }

    #[test]
    fn strict_opens_nothing_that_the_default_does_not() {
        for name in tables::all_names() {
            assert!(!opens(Profile::Strict, name) || opens(Profile::Default, name), "{name}");
        }
        for name in ["shmget", "mq_open", "io_setup", "mlock", "setuid", "sched_setaffinity"] {
            assert!(opens(Profile::Default, name) && !opens(Profile::Strict, name), "{name}");
        }
        for name in ["unshare", "personality"] {
            let call = |opened| call(Profile::Strict, name, opened, DENIED);
            assert_eq!(call(false), Call::always(DENIED));
            assert_eq!(call(true), super::call(Profile::Default, name, false, DENIED));
        }
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
            assert_eq!(
                call(Profile::Default, name, false, DENIED),
                Call::always(Action::Allow),
                "{name}"
            );
        }
    }
}
