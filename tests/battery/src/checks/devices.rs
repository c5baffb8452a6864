//! Devices, and files by which the kernel is told what to do.

use super::row::*;

pub(super) const CHECKS: &[Check] = &[
    device("disk", "opens a disk", "CVE-2024-21626", |_| {
        let disks = ["/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop0"];
        let opened = disks.iter().map(|disk| open(disk, O_RDONLY));
        // Where there are none, the last one says so.
        Ok(opened.reduce(io::Result::or).map(|disk| disk.map(drop)).unwrap_or(Ok(()))?)
    }),
    device("kernel-log-device", "writes to the kernel's log", "CVE-2025-52565", |_| {
        node("kmsg", O_WRONLY)
    }),
    device("kernel-memory", "opens the memory of the machine", "mem(4)", |_| node("mem", O_RDONLY)),
    device("console", "opens the console", "CVE-2025-52565", |_| node("console", O_RDWR)),
    device("virtual-console", "opens a virtual console", "CVE-2023-28100", |_| {
        node("tty1", O_RDWR)
    }),
    device("screen", "reads what stands on a virtual console", "vcs(4)", |_| {
        node("vcs1", O_RDONLY)
    }),
    device("tun", "makes a network interface", "CVE-2022-0185", |_| node("net/tun", O_RDWR)),
    device("fuse", "serves a file system of its own", "fuse(4)", |_| node("fuse", O_RDWR)),
    device("loop-control", "makes a block device", "loop(4)", |_| node("loop-control", O_RDWR)),
    device("virtual-machines", "makes a virtual machine", "kvm", |_| node("kvm", O_RDWR)),
    device("page-fault-device", "handles page faults by a device", "CVE-2021-22555", |_| {
        node("userfaultfd", O_RDWR)
    }),
    device("random-seed", "opens the random numbers of the hardware", "hwrng", |_| {
        node("hwrng", O_RDONLY)
    }),
    Check {
        name: "device-in-data",
        tries: "opens a device that lies in a directory it may read",
        source: "CVE-2016-9962",
        control: Anybody,
        strict: Check::blocked(Mounts, EACCES),
        landlock: Check::allowed(NODES),
        attack: |world| Ok(open(&world.data("device"), O_RDONLY).map(drop)?),
    },
    Check {
        name: "device-in-writable",
        tries: "opens a device that lies in a directory it may write",
        source: "CVE-2016-9962",
        control: Anybody,
        strict: Check::blocked(Mounts, EACCES),
        landlock: Check::allowed(NODES),
        attack: |world| Ok(open(&world.writable("device"), O_RDWR).map(drop)?),
    },
    Check {
        name: "make-character-device",
        tries: "makes a character device",
        source: "mknod(2)",
        control: Root,
        strict: Check::blocked(Landlock, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| make_node(world, S_IFCHR, makedev(1, 3)),
    },
    Check {
        name: "make-block-device",
        tries: "makes a block device",
        source: "mknod(2)",
        control: Root,
        strict: Check::blocked(Landlock, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| make_node(world, S_IFBLK, makedev(254, 0)),
    },
    setting("core-pattern", "names a program that the host runs at a crash", |_| {
        tell("sys/kernel/core_pattern")
    }),
    setting("helper-capabilities", "gives programs that the kernel starts more rights", |_| {
        tell("sys/kernel/usermodehelper/bset")
    }),
    setting("panic", "makes the host panic sooner", |_| tell("sys/kernel/panic_on_oops")),
    setting("overcommit", "changes how the host gives out memory", |_| {
        tell("sys/vm/overcommit_memory")
    }),
    setting("drop-caches", "empties the caches of the host", |_| tell("sys/vm/drop_caches")),
    setting("host-name-setting", "changes the host name", |_| tell("sys/kernel/hostname")),
    setting("forwarding", "makes the host a router", |_| tell("sys/net/ipv4/ip_forward")),
    setting("file-max", "changes how many files the host opens", |_| tell("sys/fs/file-max")),
    Check {
        control: RootWhere("binfmt_misc"),
        ..setting("binfmt", "names an interpreter for programs", |_| {
            tell("sys/fs/binfmt_misc/register")
        })
    },
    Check {
        control: RootWhere("the magic key"),
        ..setting("sysrq", "triggers what the magic key does", |_| tell("sysrq-trigger"))
    },
    Check {
        control: Where("pressure stall information"),
        strict: Check::blocked(Mounts, EROFS),
        ..setting("pressure", "has the kernel watch how busy the host is", |_| tell("pressure/cpu"))
    },
    setting("interrupts", "moves interrupts to another processor", |_| {
        tell("irq/default_smp_affinity")
    }),
    Check {
        control: RootWhere("/proc/mtrr"),
        ..setting("memory-types", "changes how the processor caches", |_| tell("mtrr"))
    },
    Check {
        name: "kernel-core",
        tries: "reads the memory of the kernel",
        source: "CVE-2025-31133",
        control: RootWhere("/proc/kcore"),
        strict: Check::blocked(Permissions, EACCES).but_root(Check::blocked(Credentials, EPERM)),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("/proc/kcore", O_RDONLY).map(drop)?),
    },
    Check {
        name: "kernel-log",
        tries: "reads the log of the kernel",
        source: "CVE-2025-31133",
        control: Root,
        strict: Check::blocked(Permissions, EACCES).but_root(Check::blocked(Credentials, EPERM)),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("/proc/kmsg", O_RDONLY).map(drop)?),
    },
    Check {
        name: "page-map",
        tries: "reads where which memory of the machine is used",
        source: "proc(5)",
        control: Root,
        strict: Check::blocked(Permissions, EACCES).but_root(Check::allowed(OWNER)),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("/proc/kpageflags", O_RDONLY).map(drop)?),
    },
    Check {
        name: "kernel-timers",
        tries: "reads the timers of all processes",
        source: "CVE-2025-31133",
        control: Root,
        strict: Check::blocked(Permissions, EACCES).but_root(Check::allowed(OWNER)),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("/proc/timer_list", O_RDONLY).map(drop)?),
    },
    Check {
        name: "kernel-slabs",
        tries: "reads what the kernel keeps in memory, to prepare an attack on it",
        source: "slabinfo(5)",
        control: Root,
        strict: Check::blocked(Permissions, EACCES).but_root(Check::allowed(OWNER)),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("/proc/slabinfo", O_RDONLY).map(drop)?),
    },
    Check {
        name: "kernel-addresses",
        tries: "reads where the kernel has its functions",
        source: "kallsyms",
        control: Root,
        strict: Check::ineffective(Credentials),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| {
            let symbols = fs::read_to_string("/proc/kallsyms")?;
            noticed(symbols.lines().any(|line| !line.starts_with("0000000000000000")))
        },
    },
    system(
        "release-agent",
        "names a program that the host runs for a cgroup",
        "CVE-2022-0492",
        |_| {
            let agent = fs::read_dir("/sys/fs/cgroup")?
                .filter_map(Result::ok)
                .map(|each| each.path().join("release_agent"))
                .find(|path| path.exists());
            let path = agent.unwrap_or_else(|| "/sys/fs/cgroup/cgroup.procs".into());
            Ok(open(&path.to_string_lossy(), O_WRONLY).map(drop)?)
        },
    ),
    system("leave-cgroup", "leaves its cgroup", "cgroups(7)", |_| {
        let root = ["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs"];
        Ok(open(root[0], O_WRONLY).or_else(|_| open(root[1], O_WRONLY)).map(drop)?)
    }),
    system("kernel-debug", "opens files of the kernel's debugging", "debugfs", |_| {
        Ok(open("/sys/kernel/debug", O_DIRECTORY).map(drop)?)
    }),
    system("device-events", "sends events of devices to the host", "CVE-2022-0492", |_| {
        Ok(open("/sys/class/mem/null/uevent", O_WRONLY).map(drop)?)
    }),
];

/// Why root reads on.
const OWNER: &str = "the files that /proc has for root alone belong to the root who calls, \
     capabilities or not; another user, or filesystem.proc = false, does not have them";

/// Why device files open where there is no mount namespace.
const NODES: &str = "without a mount there is no nodev: a device that somebody put into a granted \
     directory opens, though it takes no ioctl";

const fn device(
    name: &'static str,
    tries: &'static str,
    source: &'static str,
    attack: Attack,
) -> Check {
    Check {
        name,
        tries,
        source,
        control: RootWhere("a device"),
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack,
    }
}

/// A file of /proc by which the kernel is told something.
const fn setting(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        name,
        tries,
        source: "CVE-2025-52881",
        control: Root,
        strict: Check::blocked(Permissions, EACCES).but_root(Check::blocked(Mounts, EROFS)),
        landlock: Check::blocked(Landlock, EACCES),
        attack,
    }
}

/// A file of /sys.
const fn system(
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
        strict: Check::blocked(Mounts, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack,
    }
}

fn node(name: &str, flags: c_int) -> Result<(), Refused> {
    Ok(open(&format!("/dev/{name}"), flags | O_NOCTTY | O_NONBLOCK).map(drop)?)
}

/// Opens it, and says nothing.
fn tell(name: &str) -> Result<(), Refused> {
    Ok(open(&format!("/proc/{name}"), O_WRONLY).map(drop)?)
}

fn make_node(world: &World, kind: mode_t, device: dev_t) -> Result<(), Refused> {
    let path = world.writable("node");
    let name = sys::text(&path);
    let mode = u64::from(kind) | 0o600;
    call(SYS_mknodat, [sys::CWD, name.as_ptr() as u64, mode, device])?;
    Ok(fs::remove_file(path)?)
}
