//! Calls that have been the way into the kernel, or that govern the machine.

use super::row::*;

pub(super) const CHECKS: &[Check] = &[
    anybody("rings", "makes a ring of io_uring", "CVE-2022-29582", |_| {
        // struct io_uring_params
        let parameters = [0_u32; 30];
        Ok(call(SYS_io_uring_setup, [1, sys::at(&parameters)]).map(drop)?)
    }),
    anybody("ring-registration", "registers something with io_uring", "CVE-2023-2598", |_| {
        // No descriptor is one.
        reached(call(SYS_io_uring_register, [u64::MAX, 0, 0, 0]), &[EBADF, EINVAL])
    }),
    anybody("page-faults", "handles its own page faults", "CVE-2021-22555", |_| {
        // UFFD_USER_MODE_ONLY
        Ok(call(SYS_userfaultfd, [1]).map(drop)?)
    }),
    root("performance", "counts what the processor does", "CVE-2013-2094", |_| {
        // struct perf_event_attr: a software event, its size, the clock.
        let mut attributes = [0_u32; 32];
        (attributes[0], attributes[1]) = (1, 64);
        let any = u64::MAX;
        Ok(call(SYS_perf_event_open, [sys::at(&attributes), 0, any, any, 0]).map(drop)?)
    }),
    root("kernel-programs", "makes a map for programs in the kernel", "CVE-2021-3490", |_| {
        // BPF_MAP_CREATE: an array of one.
        let attributes = [2_u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        Ok(call(SYS_bpf, [0, sys::at(&attributes), 48]).map(drop)?)
    }),
    rare("another-kernel", "loads another kernel", "kexec", "kexec_load(2)", |_| {
        // Nothing, which unloads what there is none of.
        Ok(call(SYS_kexec_load, [0, 0, 0, 0]).map(drop)?)
    }),
    #[cfg(target_arch = "x86_64")]
    rare(
        "another-kernel-file",
        "loads another kernel from a file",
        "kexec",
        "kexec_load(2)",
        |_| reached(call(SYS_kexec_file_load, [u64::MAX, u64::MAX, 0, 0, 0]), &[EBADF]),
    ),
    rare("load-module", "loads code into the kernel", "modules", "init_module(2)", |_| {
        reached(call(SYS_init_module, [0, 0, 0]), &[EFAULT, ENOEXEC])
    }),
    rare("load-module-file", "loads a file into the kernel", "modules", "init_module(2)", |_| {
        reached(call(SYS_finit_module, [u64::MAX, 0, 0]), &[EBADF, EFAULT])
    }),
    rare("remove-module", "removes code from the kernel", "modules", "delete_module(2)", |_| {
        let none = c"battery-has-none".as_ptr() as u64;
        reached(call(SYS_delete_module, [none, O_NONBLOCK as u64]), &[ENOENT])
    }),
    anybody("layout-of-memory", "turns off the random layout of memory", "personality(2)", |_| {
        Ok(call(SYS_personality, [ADDR_NO_RANDOMIZE as u64]).map(drop)?)
    }),
    anybody(
        "layout-high-bits",
        "does so with bits that the kernel ignores",
        "personality(2)",
        |_| Ok(call(SYS_personality, [ADDR_NO_RANDOMIZE as u64 | 1 << 32]).map(drop)?),
    ),
    #[cfg(target_arch = "x86_64")]
    Check {
        control: Where("modify_ldt"),
        ..anybody("segments", "asks for its segments, to change them", "CVE-2015-3290", |_| {
            let mut table = [0_u8; 16];
            Ok(call(SYS_modify_ldt, [0, sys::at_mut(&mut table), 16]).map(drop)?)
        })
    },
    #[cfg(target_arch = "x86_64")]
    Check {
        control: RootWhere("ports of the hardware"),
        ..root("ports", "opens the ports of the hardware", "ioperm(2)", |_| {
            Ok(call(SYS_iopl, [3]).map(drop)?)
        })
    },
    root("restart", "turns the machine off", "reboot(2)", |_| {
        // Not by the numbers that do.
        reached(call(SYS_reboot, [0, 0, 0, 0]), &[EINVAL])
    }),
    root("swap", "has memory swapped to a file", "swapon(2)", |_| {
        let none = c"/battery-has-none".as_ptr() as u64;
        reached(call(SYS_swapon, [none, 0]), &[ENOENT])
    }),
    Check {
        control: RootWhere("accounting"),
        ..root("accounting", "has the ends of all processes written down", "acct(2)", |_| {
            let none = c"/battery-has-none".as_ptr() as u64;
            reached(call(SYS_acct, [none]), &[ENOENT])
        })
    },
    root("clock", "sets the clock of the machine", "settimeofday(2)", |_| {
        // To nothing.
        Ok(call(SYS_settimeofday, [0, 0]).map(drop)?)
    }),
    root("host-name", "changes the host name", "sethostname(2)", |_| {
        Ok(call(SYS_sethostname, [c"battery".as_ptr() as u64, 7]).map(drop)?)
    }),
    root("domain-name", "changes the domain name", "setdomainname(2)", |_| {
        Ok(call(SYS_setdomainname, [c"battery".as_ptr() as u64, 7]).map(drop)?)
    }),
    root("log-by-call", "reads the log of the kernel", "syslog(2)", |_| {
        let mut log = [0_u8; 64];
        Ok(call(SYS_syslog, [3, sys::at_mut(&mut log), 64]).map(drop)?)
    }),
    root("watch-everything", "watches the files of a whole file system", "fanotify(7)", |_| {
        let kind = u64::from(FAN_CLASS_CONTENT);
        Ok(call(SYS_fanotify_init, [kind, 0]).map(drop)?)
    }),
    Check {
        control: Where("quotas"),
        ..anybody("quotas", "writes out the quotas of disks", "quotactl(2)", |_| {
            // Q_SYNC
            Ok(call(SYS_quotactl, [0x80_0001 << 8, 0, 0, 0]).map(drop)?)
        })
    },
    Check {
        control: Where("nodes of memory"),
        ..anybody("move-pages", "moves memory between nodes", "CVE-2010-0415", |_| {
            Ok(call(SYS_move_pages, [0, 0, 0, 0, 0, 0]).map(drop)?)
        })
    },
    Check {
        control: Where("nodes of memory"),
        ..anybody("migrate-pages", "moves all memory between nodes", "CVE-2010-0415", |_| {
            let nodes = 1_u64;
            let nodes = sys::at(&nodes);
            Ok(call(SYS_migrate_pages, [0, 64, nodes, nodes]).map(drop)?)
        })
    },
    anybody("trace-me", "has itself traced", "CVE-2019-13272", |_| {
        Ok(call(SYS_ptrace, [number::PTRACE_TRACEME, 0, 0, 0]).map(drop)?)
    }),
    anybody("own-memory", "reads its own memory as that of another", "process_vm_readv(2)", |_| {
        let (from, to) = ([1_u8; 1], [0_u8; 1]);
        let (local, remote) = ([sys::at(&to), 1], [sys::at(&from), 1]);
        let own = u64::from(std::process::id());
        let copy = [own, sys::at(&local), 1, sys::at(&remote), 1, 0];
        Ok(call(SYS_process_vm_readv, copy).map(drop)?)
    }),
    Check {
        control: RootWhere("real-time scheduling"),
        ..root("real-time", "runs before all other processes", "sched_setscheduler(2)", |_| {
            let priority = 1_u32;
            let priority = sys::at(&priority);
            Ok(call(SYS_sched_setscheduler, [0, SCHED_FIFO as u64, priority]).map(drop)?)
        })
    },
    root("lock-memory", "locks all its memory", "mlockall(2)", |_| {
        Ok(call(SYS_mlockall, [MCL_CURRENT as u64]).map(drop)?)
    }),
    Check {
        control: Where("asynchronous input and output"),
        ..anybody("old-rings", "reads and writes in the background", "CVE-2013-7421", |_| {
            let mut context = 0_u64;
            Ok(call(SYS_io_setup, [1, sys::at_mut(&mut context)]).map(drop)?)
        })
    },
];

const fn anybody(
    name: &'static str,
    tries: &'static str,
    source: &'static str,
    attack: Attack,
) -> Check {
    Check { control: Anybody, ..root(name, tries, source, attack) }
}

const fn root(
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

/// What many kernels are built without.
const fn rare(
    name: &'static str,
    tries: &'static str,
    what: &'static str,
    source: &'static str,
    attack: Attack,
) -> Check {
    Check { control: RootWhere(what), ..root(name, tries, source, attack) }
}
