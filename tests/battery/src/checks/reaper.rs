//! The process that is PID 1 inside: of a launch with namespaces the reaper,
//! which shares its memory with the waiter outside.

use super::row::*;

/// Why limits of PID 1 can be changed.
const LIMITS: &str = "the kernel asks no more than that both have the same user; all it can come \
     to is the end of the sandbox";

/// Why root can count the descriptors of PID 1.
const NUMBERS: &str = "root owns what /proc has of a process that is not dumpable: it sees the \
     numbers, and not what they lead to";

pub(super) const CHECKS: &[Check] = &[
    by_proc("init-memory", "opens the memory of PID 1 to read", "CVE-2016-9962", |_| look("mem")),
    Check {
        strict: Check::blocked(Credentials, EACCES).but_root(Check::blocked(Mounts, EROFS)),
        ..by_proc("init-memory-write", "opens the memory of PID 1", "CVE-2016-9962", |_| {
            Ok(open("/proc/1/mem", O_RDWR).map(drop)?)
        })
    },
    by_proc("init-maps", "reads where PID 1 has what in memory", "proc(5)", |_| look("maps")),
    by_proc("init-program", "opens the program of PID 1", "CVE-2019-5736", |_| look("exe")),
    by_proc("init-root", "opens the root of PID 1", "CVE-2016-9962", |_| look("root/")),
    by_proc("init-directory", "opens the directory of PID 1", "CVE-2024-21626", |_| look("cwd/")),
    by_proc("init-environment", "reads the environment of PID 1", "proc(5)", |_| look("environ")),
    Check {
        strict: Check::blocked(Credentials, EACCES).but_root(Check::allowed(NUMBERS)),
        ..by_proc("init-descriptors", "lists the descriptors of PID 1", "CVE-2016-9962", |_| {
            look("fd/")
        })
    },
    by_proc("init-descriptor", "opens a descriptor of PID 1", "CVE-2024-21626", |_| {
        // The first that there is.
        let opened = (0..32).map(|fd| look(&format!("fd/{fd}")));
        let told =
            |answer: &Result<(), Refused>| !matches!(answer, Err(Refused::Errno(ENOENT | ENXIO)));
        opened.into_iter().find(told).unwrap_or(Err(Refused::Errno(ENOENT)))
    }),
    by_proc("init-namespace", "opens the mount namespace of PID 1", "setns(2)", |_| look("ns/mnt")),
    Check {
        strict: Check::blocked(Credentials, EACCES).but_root(Check::blocked(Credentials, EPERM)),
        ..by_proc("init-call", "reads what system call PID 1 is in", "proc(5)", |_| {
            Ok(fs::read("/proc/1/syscall").map(drop)?)
        })
    },
    Check {
        name: "init-trace",
        tries: "traces PID 1",
        source: "CVE-2016-9962",
        control: Root,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| Ok(call(SYS_ptrace, [number::PTRACE_SEIZE, 1, 0, 0]).map(drop)?),
    },
    Check {
        name: "init-read",
        tries: "reads the memory of PID 1",
        source: "CVE-2016-9962",
        control: Root,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| {
            let byte = [0_u8; 1];
            let (local, remote) = ([sys::at(&byte), 1], [8_u64, 1]);
            let copy = [1, sys::at(&local), 1, sys::at(&remote), 1, 0];
            reached(call(SYS_process_vm_readv, copy), &[EFAULT])
        },
    },
    Check {
        name: "init-kill",
        tries: "signals PID 1",
        source: "kill(2)",
        control: Root,
        strict: Check::blocked(Landlock, EPERM),
        landlock: Check::blocked(Landlock, EPERM),
        attack: |_| Ok(call(SYS_kill, [1, 0]).map(drop)?),
    },
    Check {
        name: "init-limit",
        tries: "sets a limit of PID 1, which could end it",
        source: "prlimit(2)",
        control: Root,
        strict: Check::allowed(LIMITS),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| {
            let limits = [RLIM_INFINITY, RLIM_INFINITY];
            let cpu = number::RLIMIT_CPU;
            Ok(call(SYS_prlimit64, [1, cpu, sys::at(&limits), 0]).map(drop)?)
        },
    },
    Check {
        name: "init-priority",
        tries: "lowers the priority of PID 1",
        source: "setpriority(2)",
        control: Root,
        strict: Check::blocked(Credentials, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| Ok(call(SYS_setpriority, [0, 1, 19]).map(drop)?),
    },
    Check {
        name: "init-oom-score",
        tries: "makes PID 1 the first to be ended when memory is short",
        source: "proc(5)",
        control: Root,
        strict: Check::blocked(Credentials, EACCES).but_root(Check::blocked(Mounts, EROFS)),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("/proc/1/oom_score_adj", O_WRONLY).map(drop)?),
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
        // Outside, PID 1 is root's.
        control: Root,
        strict: Check::blocked(Credentials, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack,
    }
}

fn look(file: &str) -> Result<(), Refused> {
    Ok(open(&format!("/proc/1/{file}"), O_RDONLY).map(drop)?)
}
