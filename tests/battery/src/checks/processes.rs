//! Processes outside, of the same user.

use super::row::*;
use crate::world::SIGNAL_OF_FILES;

/// Why `pidfd_open` is let through where there is no PID namespace.
const EXISTS: &str = "that processes exist is no secret without a PID namespace, and a pidfd \
     gives no right over them";

pub(super) const CHECKS: &[Check] = &[
    by_proc("victim-environment", "reads the environment of a process outside", "proc(5)", |_| {
        look("environ")
    }),
    by_proc("victim-memory", "opens the memory of a process outside to write", "proc(5)", |_| {
        Ok(open(&victim("mem"), O_RDWR).map(drop)?)
    }),
    by_proc("victim-maps", "reads where a process outside has what in memory", "proc(5)", |_| {
        look("maps")
    }),
    by_proc(
        "victim-root",
        "opens a hidden file below the root of a process outside",
        "CVE-2024-21626",
        |world| Ok(open(&victim(&format!("root{}", world.secret("file"))), O_RDONLY).map(drop)?),
    ),
    by_proc(
        "victim-directory",
        "opens a hidden file in the directory of a process outside",
        "CVE-2024-21626",
        |_| look("cwd/file"),
    ),
    by_proc(
        "victim-descriptor",
        "opens a file that a process outside has open",
        "CVE-2016-9962",
        |_| look(&format!("fd/{}", leaked::FILE)),
    ),
    by_proc("victim-program", "opens the program of a process outside", "CVE-2019-5736", |_| {
        look("exe")
    }),
    by_proc(
        "victim-network",
        "opens the network namespace of a process outside",
        "setns(2)",
        |_| look("ns/net"),
    ),
    by_proc(
        "victim-signal-by-proc",
        "signals a process outside by its directory in /proc",
        "pidfd_send_signal(2)",
        |_| {
            let directory = open(&victim(""), O_DIRECTORY)?;
            Ok(call(SYS_pidfd_send_signal, [directory, 0, 0, 0]).map(drop)?)
        },
    ),
    Check {
        name: "victim-trace",
        tries: "traces a process outside",
        source: "ptrace(2)",
        control: Anybody,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| Ok(call(SYS_ptrace, [number::PTRACE_SEIZE, VICTIM, 0, 0]).map(drop)?),
    },
    Check {
        name: "victim-read",
        tries: "reads the memory of a process outside",
        source: "process_vm_readv(2)",
        control: Anybody,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        // EFAULT comes after the permission.
        attack: |_| reached(copy_memory(SYS_process_vm_readv), &[EFAULT]),
    },
    Check {
        name: "victim-write",
        tries: "writes the memory of a process outside",
        source: "process_vm_writev(2)",
        control: Anybody,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| reached(copy_memory(SYS_process_vm_writev), &[EFAULT]),
    },
    Check {
        name: "victim-pidfd",
        tries: "opens a pidfd of a process outside",
        source: "pidfd_open(2)",
        control: Anybody,
        strict: Check::blocked(PidNamespace, ESRCH),
        landlock: Check::allowed(EXISTS),
        attack: |_| Ok(call(SYS_pidfd_open, [VICTIM, 0]).map(drop)?),
    },
    Check {
        name: "pidfd-getfd",
        tries: "copies a descriptor by a pidfd",
        source: "pidfd_getfd(2)",
        control: Anybody,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| {
            let own = call(SYS_pidfd_open, [u64::from(std::process::id()), 0])?;
            Ok(call(SYS_pidfd_getfd, [own, 1, 0]).map(drop)?)
        },
    },
    signal("victim-kill", "signals a process outside", |_| {
        Ok(call(SYS_kill, [VICTIM, 0]).map(drop)?)
    }),
    signal("victim-tkill", "signals a thread outside", |_| {
        Ok(call(SYS_tkill, [VICTIM, 0]).map(drop)?)
    }),
    signal("victim-sigqueue", "queues a signal for a process outside", |_| {
        // struct siginfo: signal, error, code (SI_QUEUE).
        let mut information = [0_i32; 32];
        (information[0], information[2]) = (SIGCONT, -1);
        Ok(call(SYS_rt_sigqueueinfo, [VICTIM, SIGCONT as u64, sys::at(&information)]).map(drop)?)
    }),
    Check {
        name: "victim-file-signal",
        tries: "has a file signal a process outside when there is something to read",
        source: "F_SETOWN",
        control: Anybody,
        strict: Check::blocked(PidNamespace, ESRCH),
        landlock: Check::ineffective(Landlock),
        attack: |world| {
            let (reader, mut writer) = io::pipe()?;
            let fd = std::os::fd::AsRawFd::as_raw_fd(&reader) as u64;
            call(SYS_fcntl, [fd, F_SETOWN as u64, VICTIM])?;
            call(SYS_fcntl, [fd, number::F_SETSIG, SIGNAL_OF_FILES as u64])?;
            call(SYS_fcntl, [fd, F_SETFL as u64, O_ASYNC as u64])?;
            io::Write::write_all(&mut writer, b"x")?;
            noticed(world.is(&format!("pending {SIGNAL_OF_FILES}"))?)
        },
    },
    Check {
        name: "peer-signal",
        tries: "signals the process at the other end of its standard input",
        source: "SO_PEERPIDFD",
        control: RootWhere("SO_PEERPIDFD"),
        strict: Check::blocked(PidNamespace, EINVAL),
        landlock: Check::blocked(Landlock, EPERM),
        attack: |_| {
            let (mut pidfd, length) = (0_i32, 4_u32);
            let option = [0, SOL_SOCKET as u64, 77, sys::at_mut(&mut pidfd), sys::at(&length)];
            call(SYS_getsockopt, option)?;
            Ok(call(SYS_pidfd_send_signal, [pidfd as u64, 0, 0, 0]).map(drop)?)
        },
    },
    Check {
        name: "kill-group",
        tries: "signals the process group of its caller",
        source: "kill(2)",
        control: Anybody,
        strict: Check::ineffective(Session),
        landlock: Check::ineffective(Session),
        attack: |world| {
            call(SYS_kill, [0, SIGURG as u64])?;
            noticed(world.is(&format!("pending {SIGURG}"))?)
        },
    },
    Check {
        name: "kill-everybody",
        tries: "signals every process there is",
        source: "kill(2)",
        control: Anybody,
        strict: Check::ineffective(PidNamespace),
        landlock: Check::ineffective(Landlock),
        attack: |world| {
            // Nobody does anything about it.
            call(SYS_kill, [u64::MAX, SIGWINCH as u64])?;
            noticed(world.is(&format!("pending {SIGWINCH}"))?)
        },
    },
    Check {
        name: "victim-limit",
        tries: "asks for a limit of a process outside",
        source: "prlimit(2)",
        control: Anybody,
        strict: Check::blocked(PidNamespace, ESRCH),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| {
            let mut limits = [0_u64; 2];
            let limits = sys::at_mut(&mut limits);
            Ok(call(SYS_prlimit64, [VICTIM, number::RLIMIT_NOFILE, 0, limits]).map(drop)?)
        },
    },
    Check {
        name: "victim-priority",
        tries: "lowers the priority of a process outside",
        source: "setpriority(2)",
        control: Anybody,
        strict: Check::blocked(PidNamespace, ESRCH),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| Ok(call(SYS_setpriority, [0, VICTIM, 1]).map(drop)?),
    },
    Check {
        name: "victim-user-priority",
        tries: "lowers the priority of every process of the user",
        source: "setpriority(2)",
        control: Anybody,
        // There are processes of the user, and all of them are inside; one is
        // PID 1, which may not be changed.
        strict: Check::blocked(PidNamespace, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |world| {
            let answer = call(SYS_setpriority, [number::PRIO_USER, 0, 2]);
            let is_lower = world.is("nice 2")?;
            // An error says no more than that there is one who may not be changed.
            if !is_lower {
                answer?;
            }
            noticed(is_lower)
        },
    },
    Check {
        name: "victim-affinity",
        tries: "binds a process outside to a processor",
        source: "sched_setaffinity(2)",
        control: Anybody,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| Ok(call(SYS_sched_setaffinity, [VICTIM, 8, sys::at(&u64::MAX)]).map(drop)?),
    },
    Check {
        name: "victim-io-priority",
        tries: "changes how a process outside is served by disks",
        source: "ioprio_set(2)",
        control: Anybody,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        // The class of those who wait, for a process.
        attack: |_| Ok(call(SYS_ioprio_set, [1, VICTIM, 3 << 13]).map(drop)?),
    },
    Check {
        name: "victim-advice",
        tries: "pages out the memory of a process outside",
        source: "process_madvise(2)",
        control: Anybody,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| {
            let pidfd = call(SYS_pidfd_open, [u64::from(std::process::id()), 0])?;
            let advice = MADV_COLD as u64;
            let nothing = [0_u64; 2];
            Ok(call(SYS_process_madvise, [pidfd, sys::at(&nothing), 0, advice, 0]).map(drop)?)
        },
    },
    Check {
        name: "compare-processes",
        tries: "asks whether two processes share kernel objects",
        source: "kcmp(2)",
        control: Where("kcmp"),
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| {
            let own = u64::from(std::process::id());
            Ok(call(SYS_kcmp, [own, own, 0, 0, 0]).map(drop)?)
        },
    },
];

/// By a file of the process in /proc.
const fn by_proc(
    name: &'static str,
    tries: &'static str,
    source: &'static str,
    attack: Attack,
) -> Check {
    Check {
        name,
        tries,
        source,
        control: Anybody,
        strict: Check::blocked(PidNamespace, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack,
    }
}

const fn signal(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        name,
        tries,
        source: "kill(2)",
        control: Anybody,
        strict: Check::blocked(PidNamespace, ESRCH),
        landlock: Check::blocked(Landlock, EPERM),
        attack,
    }
}

fn victim(file: &str) -> String {
    format!("/proc/{VICTIM}/{file}")
}

fn look(file: &str) -> Result<(), Refused> {
    Ok(open(&victim(file), O_RDONLY).map(drop)?)
}

/// One byte between the process outside, where nothing is mapped, and here.
fn copy_memory(number: c_long) -> io::Result<u64> {
    let byte = [0_u8; 1];
    let (local, remote) = ([sys::at(&byte), 1], [8_u64, 1]);
    call(number, [VICTIM, sys::at(&local), 1, sys::at(&remote), 1, 0])
}
