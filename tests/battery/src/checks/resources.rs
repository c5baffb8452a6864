//! What there is only so much of. Nothing here takes more than 300 processes or
//! 256 MiB, and all of it is given back.

use super::row::*;

const MEBI: u64 = 1 << 20;

/// Why root's processes are not counted.
const ROOT: &str = "RLIMIT_NPROC does not bind root: that takes a cgroup, or other ids in \
     namespaces.uid_map";

/// Why processes are not counted where there is no user namespace.
const USER: &str = "without a user namespace RLIMIT_NPROC would count all processes of the user: \
     that takes a cgroup";

/// Why the sum is not limited.
const TREE: &str = "limits.memory binds each process where there is no cgroup";

/// Why shared memory is not counted.
const SHARED: &str = "RLIMIT_DATA counts private memory alone: that takes a cgroup, or rlimit.as";

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "processes",
        tries: "starts 300 processes",
        source: "fork bomb",
        control: Anybody,
        strict: Check::blocked(Limits, EAGAIN).but_root(Check::depends(ROOT)),
        landlock: Check::depends(USER),
        attack: |_| multiply(300),
    },
    limit("memory", "takes 256 MiB of memory", ENOMEM, |_| take(256 * MEBI, MAP_PRIVATE)),
    Check {
        strict: Check::depends(SHARED),
        landlock: Check::depends(SHARED),
        ..limit("shared-memory-size", "takes 256 MiB of memory that is shared", ENOMEM, |_| {
            take(256 * MEBI, MAP_SHARED)
        })
    },
    Check {
        strict: Check::depends(TREE),
        landlock: Check::depends(TREE),
        ..limit("memory-of-many", "takes 240 MiB of memory in three processes", ENOMEM, |_| {
            let shares = (0..3).map(|_| start(|| take(80 * MEBI, MAP_PRIVATE).is_ok()));
            let shares: io::Result<Vec<i32>> = shares.collect();
            let mut done = true;
            for child in shares? {
                done &= sys::wait(child)? == 0;
            }
            if done { Ok(()) } else { Err(Refused::Errno(ENOMEM)) }
        })
    },
    limit("descriptors", "opens 1,000 descriptors", EMFILE, |_| {
        Ok((0..1000).try_for_each(|_| call(SYS_dup, [1]).map(drop))?)
    }),
    limit("large-file", "writes behind the first 20 MiB of a file", EFBIG, |world| {
        // Without a signal, so that the error says it.
        call(SYS_rt_sigprocmask, [0, sys::at(&(1_u64 << (SIGXFSZ - 1))), 0, 8])?;
        let path = world.writable("large");
        let file = fs::File::create(&path)?;
        let written = std::os::unix::fs::FileExt::write_all_at(&file, b"x", 20 * MEBI);
        fs::remove_file(path)?;
        Ok(written?)
    }),
    temporary("temporary-files", "fills /tmp with 48 MiB", |_| fill("/tmp")),
    temporary("shared-memory-files", "fills /dev/shm with 48 MiB", |_| fill("/dev/shm")),
    temporary("temporary-names", "makes 20,000 files in /tmp", |_| {
        let directory = format!("/tmp/battery-names-{}", std::process::id());
        fs::create_dir(&directory)?;
        let made = (0..20_000)
            .try_for_each(|number| fs::File::create(format!("{directory}/{number}")).map(drop));
        fs::remove_dir_all(directory)?;
        Ok(made?)
    }),
    temporary("temporary-directories", "makes a tree of 20,000 directories in /tmp", |_| {
        let top = format!("/tmp/battery-tree-{}", std::process::id());
        fs::create_dir(&top)?;
        let made = (0..20_000).try_for_each(|number| {
            let part = format!("{top}/{}", number % 100);
            fs::create_dir_all(&part)?;
            fs::create_dir(format!("{part}/{number}"))
        });
        fs::remove_dir_all(top)?;
        Ok(made?)
    }),
    raise("raise-descriptors", "raises its limit of descriptors", |_| {
        set_limit(number::RLIMIT_NOFILE, 4096)
    }),
    raise("raise-memory", "raises its limit of memory", |_| {
        set_limit(number::RLIMIT_DATA, RLIM_INFINITY)
    }),
    raise("raise-core", "has the memory of a crash written, or piped", |_| {
        set_limit(number::RLIMIT_CORE, RLIM_INFINITY)
    }),
    Check {
        name: "wake-up",
        tries: "makes a timer that wakes a machine that sleeps",
        source: "timerfd_create(2)",
        control: Root,
        strict: Check::blocked(Credentials, EPERM),
        landlock: Check::blocked(Credentials, EPERM),
        attack: |_| {
            let clock = CLOCK_REALTIME_ALARM as u64;
            Ok(call(SYS_timerfd_create, [clock, 0]).map(drop)?)
        },
    },
    Check {
        name: "raise-priority",
        tries: "raises its priority",
        source: "setpriority(2)",
        control: Root,
        strict: Check::blocked(Credentials, EACCES),
        landlock: Check::blocked(Credentials, EACCES),
        attack: |_| Ok(call(SYS_setpriority, [0, 0, -10_i64 as u64]).map(drop)?),
    },
    Check {
        name: "spare-me",
        tries: "makes itself the last to be ended when memory is short",
        source: "proc(5)",
        control: RootWhere("CAP_SYS_RESOURCE"),
        strict: Check::blocked(Credentials, EACCES).but_root(Check::blocked(Mounts, EROFS)),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(fs::write("/proc/self/oom_score_adj", "-1000")?),
    },
];

const fn limit(name: &'static str, tries: &'static str, errno: i32, attack: Attack) -> Check {
    Check {
        name,
        tries,
        source: "getrlimit(2)",
        control: Anybody,
        strict: Check::blocked(Limits, errno),
        landlock: Check::blocked(Limits, errno),
        attack,
    }
}

/// Bounded by the size of a private tmpfs, which there is none of without
/// mounts.
const fn temporary(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        source: "tmpfs(5)",
        strict: Check::blocked(Mounts, ENOSPC),
        landlock: Check::blocked(Landlock, EACCES),
        ..limit(name, tries, ENOSPC, attack)
    }
}

const fn raise(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        strict: Check::blocked(Credentials, EPERM),
        landlock: Check::blocked(Credentials, EPERM),
        ..limit(name, tries, EPERM, attack)
    }
}

/// Starts a child that does something and ends with whether it could.
fn start(child: impl Fn() -> bool) -> io::Result<i32> {
    match sys::fork()? {
        Some(child) => Ok(child),
        None => sys::exit(i32::from(!child())),
    }
}

/// As many processes at once, all of which end.
fn multiply(number: usize) -> Result<(), Refused> {
    let mut children = Vec::new();
    let started: io::Result<()> = (0..number).try_for_each(|_| {
        // Until it is killed.
        let wait = || call(SYS_ppoll, [0; 5]).is_ok();
        children.push(start(wait)?);
        Ok(())
    });
    for &child in &children {
        sys::kill(child, SIGKILL)?;
        sys::wait(child)?;
    }
    Ok(started?)
}

/// Takes memory and touches each page.
fn take(bytes: u64, kind: c_int) -> Result<(), Refused> {
    let flags = kind | MAP_ANONYMOUS | MAP_POPULATE;
    let place = sys::map(bytes, PROT_READ | PROT_WRITE, flags, u64::MAX)?;
    Ok(call(SYS_munmap, [place, bytes]).map(drop)?)
}

/// Files of 12 MiB, none of which is larger than a file may be.
fn fill(directory: &str) -> Result<(), Refused> {
    let names =
        (0..4).map(|number| format!("{directory}/battery-fill-{}-{number}", std::process::id()));
    let names: Vec<String> = names.collect();
    let content = vec![0_u8; 12 * MEBI as usize];
    let filled = names.iter().try_for_each(|name| fs::write(name, &content));
    for name in names {
        let _ = fs::remove_file(name);
    }
    Ok(filled?)
}

fn set_limit(resource: u64, limit: u64) -> Result<(), Refused> {
    let limits = [limit, limit];
    Ok(call(SYS_prlimit64, [0, resource, sys::at(&limits), 0]).map(drop)?)
}
