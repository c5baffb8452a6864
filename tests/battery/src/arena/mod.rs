//! Where attacks take place: namespaces that are thrown away, full of what a
//! sandbox must keep out of reach.
//!
//! Who made it is root and stays PID 1 of it, and answers requests from the
//! other end of the attack's standard input. So an attack that succeeds finds
//! mounts, processes, sockets and IPC objects of nobody.
//!
//! What is tried runs in the session of a terminal, in the foreground, beside
//! a process of the same user, with descriptors left open to it and in a
//! directory that no policy grants.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::sys::{self, number};
use crate::world::{BASE, SECRET, SIGNAL_OF_FILES, VARIABLE, VICTIM, leaked};

mod contender;
mod files;
mod host;
mod serve;
mod terminal;

pub use contender::Contender;

/// The signals that the process outside collects. But for the last, which only
/// it is sent, they do nothing without a handler.
const COLLECTED: [i32; 4] = [libc::SIGURG, libc::SIGWINCH, libc::SIGCONT, SIGNAL_OF_FILES];

/// Makes an arena and lets one contender into it, as this user, with programs
/// from `dist`. Returns its exit status.
///
/// # Errors
///
/// Whatever fails, above all for want of privileges.
pub fn run(uid: u32, dist: &str, contender: Contender) -> io::Result<i32> {
    let programs = files::Programs::read(Path::new(dist))?;
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWPID;
    sys::call(libc::SYS_unshare, [namespaces as u64])?;
    match sys::fork()? {
        Some(init) => sys::wait(init).map(exit_status),
        None => sys::exit(init(uid, &programs, contender).unwrap_or_else(|error| {
            eprintln!("arena: {error}");
            125
        })),
    }
}

/// The first process of the arena.
fn init(uid: u32, programs: &files::Programs, contender: Contender) -> io::Result<i32> {
    // Whoever kills the arena from outside kills all of it.
    sys::call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64])?;
    files::mount_host()?;
    files::fill(uid, programs)?;
    let host = host::Host::new()?;
    let (terminal, line) = terminal::open(uid)?;
    let (own, attacker) = socket_pair()?;
    let session = sys::fork()?;
    let Some(session) = session else {
        // The request sockets end when the attack does, and not before.
        drop((own, terminal));
        let status = lead_session(uid, contender, &line, attacker);
        sys::exit(status.unwrap_or_else(|error| {
            eprintln!("arena: {error}");
            125
        }));
    };
    drop(attacker);
    serve::serve(&line, &host, &own)?;
    let status = sys::wait(session).map(exit_status)?;
    // Or there would be no end of what it has to say.
    drop(line);
    terminal::drain(terminal)?;
    io::stdout().write_all(&fs::read(format!("{BASE}/secret/output"))?)?;
    Ok(status)
}

/// Starts the process outside and the attack, in the session of a terminal.
fn lead_session(
    uid: u32,
    contender: Contender,
    line: &terminal::Line,
    attacker: OwnedFd,
) -> io::Result<i32> {
    sys::call(libc::SYS_setsid, [])?;
    sys::call(libc::SYS_ioctl, [line.fd(), number::TIOCSCTTY, 0])?;
    start_victim(uid)?;
    let Some(child) = sys::fork()? else {
        return Err(become_contender(uid, contender, line, attacker));
    };
    drop(attacker);
    sys::wait(child).map(exit_status)
}

/// A process of the user's, with a secret in its memory, environment,
/// descriptors and directory.
fn start_victim(uid: u32) -> io::Result<()> {
    let number = VICTIM as libc::pid_t;
    // struct clone_args: exit_signal is the fifth word, set_tid the ninth.
    let mut arguments = [0_u64; 11];
    arguments[4] = sys::SIGCHLD;
    arguments[8] = sys::at(&number);
    arguments[9] = 1;
    let (mut ready, mut writer) = io::pipe()?;
    if sys::call(libc::SYS_clone3, [sys::at(&arguments), 88])? == 0 {
        let mut prepare = || -> io::Result<()> {
            take_user(uid)?;
            // Which a change of the user id takes away.
            sys::call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 1])?;
            collect_signals()?;
            std::env::set_current_dir(format!("{BASE}/secret"))?;
            let file = File::open("file")?;
            sys::duplicate(file.as_raw_fd() as u64, leaked::FILE)?;
            writer.write_all(b".")?;
            // What would keep the attack's requests from ending.
            sys::call(libc::SYS_close_range, [3, leaked::FILE - 1, 0])?;
            sys::call(libc::SYS_close_range, [leaked::FILE + 1, u64::from(u32::MAX), 0])?;
            Ok(())
        };
        if let Err(error) = prepare() {
            eprintln!("arena: {error}");
            sys::exit(1);
        }
        loop {
            std::thread::park();
        }
    }
    drop(writer);
    ready.read_exact(&mut [0])
}

/// Signals that stay pending in whoever they are sent to.
fn collect_signals() -> io::Result<()> {
    let set = COLLECTED.iter().fold(0_u64, |set, signal| set | 1 << (signal - 1));
    let block = libc::SIG_BLOCK as u64;
    sys::call(libc::SYS_rt_sigprocmask, [block, sys::at(&set), 0, 8]).map(drop)
}

/// Becomes an ordinary user, for ever; root stays what it is.
fn take_user(uid: u32) -> io::Result<()> {
    if uid != 0 {
        let id = u64::from(uid);
        sys::call(libc::SYS_setgroups, [0, 0])?;
        sys::call(libc::SYS_setresgid, [id, id, id])?;
        sys::call(libc::SYS_setresuid, [id, id, id])?;
    }
    Ok(())
}

/// Becomes what is tried; returns why it did not.
fn become_contender(
    uid: u32,
    contender: Contender,
    line: &terminal::Line,
    attacker: OwnedFd,
) -> io::Error {
    let prepare = || -> io::Result<()> {
        leave_open()?;
        raise_limits()?;
        let output =
            File::options().create(true).append(true).open(format!("{BASE}/secret/output"))?;
        for (from, to) in [(attacker.as_raw_fd() as u64, 0), (output.as_raw_fd() as u64, 1)] {
            sys::duplicate(from, to)?;
        }
        sys::duplicate(line.fd(), 2)?;
        take_user(uid)
    };
    if let Err(error) = prepare() {
        return error;
    }
    let words: Vec<OsString> = contender.command().into_iter().map(Into::into).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env_clear().current_dir(format!("{BASE}/secret"));
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    command.env("BATTERY", BASE).env(VARIABLE, SECRET).exec()
}

/// Limits that only the sandbox lowers again.
fn raise_limits() -> io::Result<()> {
    for (resource, limit) in [(number::RLIMIT_CORE, u64::MAX), (number::RLIMIT_NOFILE, 4096)] {
        let limits = [limit, limit];
        sys::call(libc::SYS_prlimit64, [0, resource, sys::at(&limits), 0])?;
    }
    Ok(())
}

/// Opens what a careless caller leaves open.
fn leave_open() -> io::Result<()> {
    let path = libc::O_PATH | libc::O_DIRECTORY;
    let (_, socket) = socket_pair()?;
    let all = [
        (sys::open(&format!("{BASE}/secret"), libc::O_DIRECTORY)?, leaked::DIRECTORY),
        (sys::open(&format!("{BASE}/secret/file"), libc::O_RDONLY)?, leaked::FILE),
        (sys::open(&format!("{BASE}/secret/log"), libc::O_WRONLY)?, leaked::LOG),
        (sys::open("/", libc::O_DIRECTORY)?, leaked::ROOT),
        (sys::open(&format!("{BASE}/secret"), path)?, leaked::PATH),
        (socket.as_raw_fd() as u64, leaked::SOCKET),
        (sys::call(libc::SYS_pidfd_open, [VICTIM, 0])?, leaked::PIDFD),
        (sys::open("/proc/self/ns/mnt", libc::O_RDONLY)?, leaked::NAMESPACE),
        (sys::open(&format!("{BASE}/secret/status"), libc::O_WRONLY)?, leaked::STATUS),
        (sys::open(&format!("{BASE}/secret/file"), libc::O_RDONLY)?, leaked::HIGH),
    ];
    // Away from the numbers they get in the end.
    let high = all.map(|(fd, number)| {
        sys::call(libc::SYS_fcntl, [fd, libc::F_DUPFD_CLOEXEC as u64, 2000]).map(|fd| (fd, number))
    });
    for each in high {
        let (fd, number) = each?;
        sys::duplicate(fd, number)?;
    }
    for (fd, _) in all {
        if !(leaked::DIRECTORY..=leaked::STATUS).contains(&fd) {
            sys::call(libc::SYS_close, [fd])?;
        }
    }
    std::mem::forget(socket);
    Ok(())
}

fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [0_i32; 2];
    let kind = (libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC) as u64;
    sys::call(libc::SYS_socketpair, [libc::AF_UNIX as u64, kind, 0, sys::at_mut(&mut pair)])?;
    Ok((sys::owned(pair[0] as u64), sys::owned(pair[1] as u64)))
}

/// As a shell has it, from what waitpid(2) says.
fn exit_status(status: i32) -> i32 {
    match status & 0x7f {
        0 => status >> 8 & 0xff,
        signal => 128 + signal,
    }
}
