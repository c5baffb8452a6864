//! Namespaces of one's own, in which capabilities are held again, and other
//! ways to privileges.

use super::row::*;

/// A user namespace, which gives all capabilities in it.
const NEW_USER: u64 = CLONE_NEWUSER as u64;

pub(super) const CHECKS: &[Check] = &[
    Check {
        control: Anybody,
        ..filtered("unshare-user", "makes a user namespace", |_| leave(CLONE_NEWUSER))
    },
    filtered("unshare-mount", "makes a mount namespace", |_| leave(CLONE_NEWNS)),
    filtered("unshare-pid", "makes a PID namespace", |_| leave(CLONE_NEWPID)),
    filtered("unshare-net", "makes a network namespace", |_| leave(CLONE_NEWNET)),
    filtered("unshare-ipc", "makes an IPC namespace", |_| leave(CLONE_NEWIPC)),
    filtered("unshare-uts", "makes a UTS namespace", |_| leave(CLONE_NEWUTS)),
    Check {
        source: "CVE-2022-0492",
        ..filtered("unshare-cgroup", "makes a cgroup namespace", |_| leave(CLONE_NEWCGROUP))
    },
    filtered("unshare-time", "makes a time namespace", |_| leave(CLONE_NEWTIME)),
    Check {
        control: Anybody,
        ..filtered("clone-user", "starts a process in a user namespace", |_| clone(NEW_USER))
    },
    filtered("clone-mount", "starts a process in a mount namespace", |_| clone(CLONE_NEWNS as u64)),
    filtered("clone-net", "starts a process in a network namespace", |_| {
        clone(CLONE_NEWNET as u64)
    }),
    Check {
        control: Anybody,
        ..filtered(
            "clone-user-high-bits",
            "starts a process in a user namespace, with a bit that the kernel ignores",
            |_| clone(NEW_USER | 1 << 32),
        )
    },
    Check {
        name: "clone3-user",
        tries: "starts a process in a user namespace by clone3",
        source: "CVE-2022-0185",
        control: Anybody,
        strict: Check::blocked(Seccomp, ENOSYS),
        landlock: Check::blocked(Seccomp, ENOSYS),
        attack: |_| clone3(NEW_USER),
    },
    Check {
        name: "clone3-mount",
        tries: "starts a process in a mount namespace by clone3",
        source: "CVE-2022-0185",
        control: Root,
        strict: Check::blocked(Seccomp, ENOSYS),
        landlock: Check::blocked(Seccomp, ENOSYS),
        attack: |_| clone3(CLONE_NEWNS as u64),
    },
    filtered("join-namespace", "joins a namespace by its file", |_| {
        let namespace = open("/proc/self/ns/uts", O_RDONLY)?;
        Ok(call(SYS_setns, [namespace, 0]).map(drop)?)
    }),
    filtered("join-by-pidfd", "joins the namespaces of a process by its pidfd", |_| {
        let own = call(SYS_pidfd_open, [u64::from(std::process::id()), 0])?;
        Ok(call(SYS_setns, [own, CLONE_NEWUTS as u64]).map(drop)?)
    }),
    i386("i386-call", "makes a system call by the way of 32-bit programs", |_| {
        // getpid
        Ok(sys::int80(20, 0).map(drop)?)
    }),
    i386("i386-unshare", "makes a user namespace by the way of 32-bit programs", |_| {
        Ok(sys::int80(310, NEW_USER).map(drop)?)
    }),
    i386("i386-personality", "asks for its personality as a 32-bit program", |_| {
        Ok(sys::int80(136, 0xffff_ffff).map(drop)?)
    }),
    Check {
        name: "x32-call",
        tries: "makes a system call by the x32 table",
        source: "seccomp(2)",
        control: Where("x32"),
        strict: Check::killed(),
        landlock: Check::killed(),
        attack: |_| Ok(call(SYS_getpid | 0x4000_0000, []).map(drop)?),
    },
    Check {
        name: "x32-unshare",
        tries: "makes a user namespace by the x32 table",
        source: "seccomp(2)",
        control: Where("x32"),
        strict: Check::killed(),
        landlock: Check::killed(),
        attack: |_| Ok(call(SYS_unshare | 0x4000_0000, [NEW_USER]).map(drop)?),
    },
    Check {
        control: Anybody,
        ..filtered("number-high-bits", "calls unshare by a number with a high bit", |_| {
            Ok(call(SYS_unshare | 1 << 32, [NEW_USER]).map(drop)?)
        })
    },
    filtered("set-capabilities", "takes all capabilities", |_| {
        // struct __user_cap_header: version 3, this process; then two of
        // struct __user_cap_data, effective, permitted and inheritable.
        let header = [0x2008_0522_u32, 0];
        let one = 1_u32 << 21;
        let data = [one, one, 0, 0, 0, 0];
        Ok(call(SYS_capset, [sys::at(&header), sys::at(&data)]).map(drop)?)
    }),
    Check {
        name: "ambient-capability",
        tries: "raises a capability that programs inherit",
        source: "capabilities(7)",
        control: Root,
        strict: Check::blocked(Credentials, EPERM),
        landlock: Check::blocked(Credentials, EPERM),
        attack: |_| {
            let header = [0x2008_0522_u32, 0];
            let one = 1_u32 << 21;
            // Which the filter need not let through.
            let _ = call(SYS_capset, [sys::at(&header), sys::at(&[one, one, one, 0, 0, 0])]);
            let raise = [PR_CAP_AMBIENT as u64, PR_CAP_AMBIENT_RAISE as u64, 21, 0, 0];
            Ok(call(SYS_prctl, raise).map(drop)?)
        },
    },
    Check {
        name: "securebits",
        tries: "says that root keeps its capabilities",
        source: "capabilities(7)",
        control: Root,
        strict: Check::blocked(Credentials, EPERM),
        landlock: Check::blocked(Credentials, EPERM),
        attack: |_| Ok(call(SYS_prctl, [PR_SET_SECUREBITS as u64, 0]).map(drop)?),
    },
    Check {
        name: "setuid-program",
        tries: "runs a program of another user that changes the user id",
        source: "execve(2)",
        control: Anybody,
        strict: Check::ineffective(Credentials),
        landlock: Check::ineffective(Credentials),
        attack: |world| become_by(&world.bin("setuid"), 1),
    },
    Check {
        name: "capable-program",
        tries: "runs a program whose file gives it a capability",
        source: "capabilities(7)",
        control: Anybody,
        strict: Check::ineffective(Credentials),
        // The kernel does not run it at all where root cannot have it.
        landlock: Check::ineffective(Credentials).but_root(Check::blocked(Credentials, EPERM)),
        attack: |world| become_by(&world.bin("capable"), 2),
    },
    filtered("become-other", "takes the id of another user", |_| {
        Ok(call(SYS_setresuid, [1, 1, 1]).map(drop)?)
    }),
    filtered("become-other-for-files", "opens files as another user", |_| {
        // It answers what was before, and never fails.
        call(SYS_setfsuid, [1])?;
        noticed(call(SYS_setfsuid, [u64::MAX])? == 1)
    }),
    filtered("set-groups", "gives up or takes groups", |_| {
        Ok(call(SYS_setgroups, [0, 0]).map(drop)?)
    }),
    filtered("change-root", "changes its root directory", |_| {
        Ok(call(SYS_chroot, [c"/".as_ptr() as u64]).map(drop)?)
    }),
    filtered("pivot-root", "changes the root of its mount namespace", |_| {
        let root = c"/".as_ptr() as u64;
        reached(call(SYS_pivot_root, [root, root]), &[EBUSY, EINVAL])
    }),
];

/// What the filter keeps to itself.
const fn filtered(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        name,
        tries,
        source: "CVE-2022-0185",
        control: Root,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack,
    }
}

const fn i386(name: &'static str, tries: &'static str, attack: Attack) -> Check {
    Check {
        name,
        tries,
        source: "seccomp(2)",
        control: Where("32-bit programs"),
        strict: Check::killed(),
        landlock: Check::killed(),
        attack,
    }
}

fn leave(flag: c_int) -> Result<(), Refused> {
    Ok(call(SYS_unshare, [flag as u64]).map(drop)?)
}

fn clone(flags: u64) -> Result<(), Refused> {
    match call(SYS_clone, [flags | sys::SIGCHLD, 0, 0, 0, 0])? {
        0 => sys::exit(0),
        child => Ok(sys::wait(child as i32).map(drop)?),
    }
}

fn clone3(flags: u64) -> Result<(), Refused> {
    // struct clone_args: flags first, exit_signal fifth.
    let arguments = [flags, 0, 0, 0, sys::SIGCHLD, 0, 0, 0];
    match call(SYS_clone3, [sys::at(&arguments), 64])? {
        0 => sys::exit(0),
        child => Ok(sys::wait(child as i32).map(drop)?),
    }
}

/// Runs a program that says what it became, see [`identity`].
fn become_by(program: &str, what: i32) -> Result<(), Refused> {
    let status = std::process::Command::new(program).arg("identity").status()?;
    noticed(status.code().is_some_and(|code| code & what != 0))
}

/// What a program became: 1 for another user, 2 for one with capabilities,
/// 3 for both.
pub fn identity() -> i32 {
    let other = call(SYS_getuid, []).ok() != call(SYS_geteuid, []).ok();
    let header = [0x2008_0522_u32, 0];
    let mut data = [0_u32; 6];
    let asked = call(SYS_capget, [sys::at(&header), sys::at_mut(&mut data)]);
    let capable = asked.is_ok() && (data[0] | data[3]) != 0;
    i32::from(other) | i32::from(capable) << 1
}
