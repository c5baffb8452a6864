//! What a command inherits: descriptors, directory, environment, executable.

use super::row::*;
use crate::world::VARIABLE;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "leaked-directory",
        tries: "opens a hidden file through a directory that the caller left open",
        source: "CVE-2024-21626",
        control: Anybody,
        strict: Check::blocked(Fds, EBADF),
        landlock: Check::blocked(Fds, EBADF),
        attack: |_| Ok(sys::open_at(leaked::DIRECTORY, "file", O_RDONLY).map(drop)?),
    },
    Check {
        name: "leaked-file",
        tries: "reads a hidden file that the caller left open",
        source: "CVE-2016-9962",
        control: Anybody,
        strict: Check::blocked(Fds, EBADF),
        landlock: Check::blocked(Fds, EBADF),
        attack: |_| Ok(read_at(leaked::FILE)?),
    },
    Check {
        name: "leaked-log",
        tries: "writes to a hidden file that the caller left open",
        source: "CVE-2016-9962",
        control: Anybody,
        strict: Check::blocked(Fds, EBADF),
        landlock: Check::blocked(Fds, EBADF),
        attack: |_| Ok(write(leaked::LOG)?),
    },
    Check {
        name: "leaked-root",
        tries: "makes the host's root, which the caller left open, its directory",
        source: "CVE-2016-9962",
        control: Anybody,
        strict: Check::blocked(Fds, EBADF),
        landlock: Check::blocked(Fds, EBADF),
        attack: |_| Ok(call(SYS_fchdir, [leaked::ROOT]).map(drop)?),
    },
    Check {
        name: "leaked-path",
        tries: "opens a hidden file through an O_PATH descriptor that the caller left open",
        source: "CVE-2024-21626",
        control: Anybody,
        strict: Check::blocked(Fds, EBADF),
        landlock: Check::blocked(Fds, EBADF),
        attack: |_| Ok(sys::open_at(leaked::PATH, "file", O_RDONLY).map(drop)?),
    },
    Check {
        name: "leaked-path-by-proc",
        tries: "opens a hidden file by the name that /proc has for a leaked descriptor",
        source: "CVE-2024-21626",
        control: Anybody,
        strict: Check::blocked(Fds, ENOENT),
        landlock: Check::blocked(Fds, ENOENT),
        attack: |_| Ok(open(&format!("/proc/self/fd/{}/file", leaked::PATH), O_RDONLY).map(drop)?),
    },
    Check {
        name: "leaked-socket",
        tries: "writes to a connected socket that the caller left open",
        source: "CVE-2016-9962",
        control: Anybody,
        strict: Check::blocked(Fds, EBADF),
        landlock: Check::blocked(Fds, EBADF),
        attack: |_| reached(write(leaked::SOCKET), &[EPIPE]),
    },
    Check {
        name: "leaked-pidfd",
        tries: "signals a process outside by a pidfd that the caller left open",
        source: "CVE-2016-9962",
        control: Anybody,
        strict: Check::blocked(Fds, EBADF),
        landlock: Check::blocked(Fds, EBADF),
        attack: |_| Ok(call(SYS_pidfd_send_signal, [leaked::PIDFD, 0, 0, 0]).map(drop)?),
    },
    Check {
        name: "leaked-namespace",
        tries: "joins the host's mount namespace by a descriptor that the caller left open",
        source: "CVE-2016-9962",
        control: Root,
        strict: Check::blocked(Seccomp, EPERM),
        landlock: Check::blocked(Seccomp, EPERM),
        attack: |_| Ok(call(SYS_setns, [leaked::NAMESPACE, 0]).map(drop)?),
    },
    Check {
        name: "leaked-high-number",
        tries: "reads a hidden file that the caller left open under a high number",
        source: "CVE-2016-9962",
        control: Anybody,
        strict: Check::blocked(Fds, EBADF),
        landlock: Check::blocked(Fds, EBADF),
        attack: |_| Ok(read_at(leaked::HIGH)?),
    },
    Check {
        name: "forged-receipt",
        tries: "writes a line of its own to the descriptor of the status",
        source: "design",
        control: Anybody,
        strict: Check::blocked(Fds, EBADF),
        landlock: Check::blocked(Fds, EBADF),
        attack: |_| Ok(write(leaked::STATUS)?),
    },
    Check {
        name: "output-reopened",
        tries: "opens for reading the hidden file that its output goes to",
        source: "CVE-2024-21626",
        control: Anybody,
        strict: Check::blocked(Landlock, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("/proc/self/fd/1", O_RDONLY).map(drop)?),
    },
    Check {
        name: "directory-handed-over",
        tries: "opens a hidden file through a directory that came by its standard input",
        source: "SCM_RIGHTS",
        control: Anybody,
        strict: Check::blocked(Landlock, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |world| {
            let directory = receive(world, &world.secret(""))?;
            Ok(sys::open_at(directory, "file", O_RDONLY).map(drop)?)
        },
    },
    Check {
        name: "file-handed-over",
        tries: "reads a hidden file that came, open, by its standard input",
        source: "SCM_RIGHTS",
        control: Anybody,
        strict: Check::allowed(HANDED_OVER),
        landlock: Check::allowed(HANDED_OVER),
        attack: |world| {
            let file = receive(world, &world.secret("file"))?;
            Ok(read_at(file)?)
        },
    },
    Check {
        name: "inherited-directory",
        tries: "opens a file in the directory that the caller was in",
        source: "CVE-2024-21626",
        control: Anybody,
        strict: Check::blocked(Exec, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("other", O_RDONLY).map(drop)?),
    },
    Check {
        name: "inherited-directory-above",
        tries: "opens a file above the directory that the caller was in",
        source: "CVE-2024-21626",
        control: Anybody,
        strict: Check::blocked(Exec, ENOENT),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| Ok(open("../secret/file", O_RDONLY).map(drop)?),
    },
    Check {
        name: "inherited-variable",
        tries: "reads a secret from its environment",
        source: "CWE-526",
        control: Anybody,
        strict: Check::ineffective(Exec),
        landlock: Check::ineffective(Exec),
        attack: |_| noticed(std::env::var_os(VARIABLE).is_some()),
    },
    Check {
        name: "parent-executable",
        tries: "opens the program of its parent, to write it later",
        source: "CVE-2019-5736",
        control: Root,
        strict: Check::blocked(Credentials, EACCES),
        landlock: Check::blocked(Landlock, EACCES),
        attack: |_| {
            let parent = std::os::unix::process::parent_id();
            // Of this check's process that is the battery.
            let grandparent = fs::read_to_string(format!("/proc/{parent}/stat"))?;
            let fields = grandparent.rsplit(')').next().unwrap_or_default();
            let grandparent = fields.split_whitespace().nth(1).unwrap_or_default();
            Ok(open(&format!("/proc/{grandparent}/exe"), O_RDONLY).map(drop)?)
        },
    },
];

/// Why no layer stops it.
const HANDED_OVER: &str = "a socket that is a standard stream carries what its other end sends, \
     and a descriptor that is open already is asked nothing any more";

fn read_at(fd: u64) -> io::Result<()> {
    let mut content = [0_u8; 8];
    call(SYS_pread64, [fd, sys::at_mut(&mut content), 8, 0]).map(drop)
}

fn write(fd: u64) -> io::Result<()> {
    // Where the other end is gone, an error shall say so.
    call(SYS_rt_sigprocmask, [0, sys::at(&(1_u64 << (SIGPIPE - 1))), 0, 8])?;
    call(SYS_write, [fd, sys::at(b"x"), 1]).map(drop)
}

/// Has a descriptor sent, and takes it.
fn receive(_: &World, path: &str) -> io::Result<u64> {
    let request = format!("hand over {path}");
    call(SYS_write, [0, request.as_ptr() as u64, request.len() as u64])?;
    let mut byte = [0_u8; 1];
    let mut control = [0_u64; 4];
    let buffer = [sys::at_mut(&mut byte), 1];
    // struct msghdr: name, its length, buffers, their number, control, its
    // length, flags.
    let mut message = [0, 0, sys::at(&buffer), 1, sys::at_mut(&mut control), 32, 0];
    call(SYS_recvmsg, [0, sys::at_mut(&mut message), 0])?;
    Ok(control[2] & 0xffff_ffff)
}
