//! Makes single system calls and says what the kernel answers.
//!
//! Each argument is one probe: a verb and its arguments, separated by spaces
//! (by `\x1f` where one of them holds a space). Each prints one line, `ok
//! VALUE` or `errno NUMBER`. Nothing it does harms a host that lets it. With
//! the single argument `batch` the probes are the lines of standard input, and
//! each is answered before the next one is read; `ok` comes before the first.
//!
//! Files: `open-for-read P`, `open-for-write P`, `open-path P`, `create P`,
//! `read P`, `write P TEXT`, `fill P BYTES`, `mkdir P`, `rmdir P`, `unlink P`,
//! `remove P` (unlink or rmdir, by what is there), `rename A B`, `link A B`, `symlink CONTENT P`, `readlink P`, `truncate P [LENGTH]`,
//! `chmod P MODE`, `chown P`, `set-times P`, `set-xattr P`, `remove-xattr P`
//! (of what `set-xattr` sets; there may be none), `list P`, `stat P` (type and mode), `access P`,
//! `mount-flags P`, `size P` (of the file system), `map-exec P`, `exec P
//! [ARGUMENT]...`, `chdir P`, `chroot P`, `ioctl-dev P`, `memfd-exec`, `create-mode P`
//! (prints the mode that 0666 becomes), `flip-open N P BYTE` (opens P so often while
//! a thread turns its last byte into BYTE and back; prints what the files begin
//! with, and how many of them do), `flip-mkdir N P BYTE` (makes P so, and removes
//! what is at P each time; prints how often it did), `mkfifo P`, `look CALL P` (by
//! this very call: mode, size, owners and inode, or what a link says), `look-at-open
//! P` (by its descriptor), `look-into-code P` (has what the link says written to where
//! nothing can be written), `flip-look N P BYTE` (prints the sizes that are seen, and
//! how often each), `attribute CALL P` (changes one by this very call), `times-of-open P`
//! (by its descriptor), `flip-times N P BYTE` (sets them to the epoch; prints how often
//! it did).
//!
//! Sockets: `socket FAMILY TYPE [PROTOCOL]`, `connect-tcp ADDRESS PORT`,
//! `bind-tcp ADDRESS PORT` (prints the port), `listen-tcp` (without a bind),
//! `tcp-inside` (a server and its client), `fastopen ADDRESS PORT`,
//! `bind-udp ADDRESS PORT`, `send-udp ADDRESS PORT`, `unix-connect P`,
//! `unix-send P`, `unix-bind P`, `unix-inside P`, `unix-abstract-connect N`,
//! `unix-abstract-bind N`, `socketpair`, `pair-send TYPE P`, `pair-connect TYPE
//! P` (with one of a pair), `interfaces`, `send-message ADDRESS PORT [CONTROL]`
//! (sendmsg, of two parts), `send-messages ADDRESS PORT PORT` (one to each;
//! prints how many, and how much of each), `send-two ADDRESS PORT BYTES` (sendmmsg on
//! a stream, so many of `a`, then of `b`; prints the same), `connect-flags ADDRESS PORT` (whether a
//! socket that waits and one that does not are connected, and are as they were),
//! `send-much ADDRESS PORT BYTES`, `send-on ADDRESS PORT` (prints what ended it),
//! `reconnect-udp ADDRESS PORT` (undoes it between),
//! `while-connecting ADDRESS PORT PROBE...`, `flip-connect N ADDRESS PORT PORT`
//! (connects so often while a thread changes the port all the while), `flip-socket
//! N ADDRESS PORT` (while a thread has the number mean a socket of UDP, of TCP).
//!
//! Processes: `pid`, `ppid`, `sid`, `pgrp`, `ids`, `caps`, `groups`, `hostname`,
//! `cwd`, `env`, `args`, `umask`, `rlimit NAME`, `nice`, `affinity`,
//! `oom-score`, `signals` (blocked and ignored), `dumpable`, `death-signal`,
//! `securebits`, `fds`, `fd-kind N`, `namespace NAME`, `kill PID SIGNAL`,
//! `ptrace PID`, `read-mem PID`, `waitable PID`, `fork`, `threads N`, `allocate
//! BYTES`, `grow-heap BYTES BYTES` (by so much, and by so much more), `touch BYTES` (in a child), `fork-many N`, `raise SIGNAL`, `abort`,
//! `exit N`, `spin`, `spin-for MILLISECONDS` (of CPU time), `pause`, `say TEXT`,
//! `echo-input`, `orphan`, `in-child PROBE [+ PROBE]...`, `in-orphan PROBE [+
//! PROBE]...` (by a child of one that has ended). A PID may be `parent`.
//!
//! Of other processes: `rlimit-of PID NAME`, `set-rlimit-of PID NAME SOFT
//! HARD`, `set-affinity-of PID` (to the probe's), `set-policy-of PID` (to
//! SCHED_OTHER). With the host, and removed at once: `shared-memory`,
//! `semaphores`, `messages` (System V), `message-queue NAME` (POSIX).
//!
//! Privileges: `mount P`, `bind-over A B`, `remount-writable P`,
//! `setattr-writable P`, `umount P`,
//! `pivot-root P`, `unshare FLAGS`, `setns P`, `sethostname N`, `setuid N`,
//! `raise-caps` (CAP_CHOWN), `mknod P`, `set-rlimit NAME SOFT HARD`, `set-nice N`,
//! `setsid`, `ioctl FD REQUEST`, `tiocsti REQUEST`, `syscall NAME|NUMBER
//! [ARGUMENT]...`, `int80 NUMBER [ARGUMENT]...` (of the 32-bit table),
//! `under-filter HEX NUMBER [ARGUMENT]...` (a call for every six arguments, once
//! the filter is installed).
#![allow(unsafe_code, reason = "system calls by number")]

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, Ordering};

use linux_raw_sys::{general as uapi, prctl, ptrace as uapi_filter};
use rustix::fs::{self, CWD, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType};
use rustix::process;
use syscalls::Sysno;

type Answer = Result<String, Errno>;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let done = if arguments.peek().is_some_and(|first| first == "batch") {
        let lines = std::io::stdin().lines().map_while(Result::ok);
        let ready = std::iter::once(OsString::from("say"));
        ready.chain(lines.map(OsString::from)).try_for_each(|line| say(&line))
    } else {
        arguments.try_for_each(|probe| say(&probe))
    };
    done.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// Makes one probe and prints its line.
fn say(probe: &OsStr) -> std::io::Result<()> {
    let separator = if probe.as_bytes().contains(&0x1f) { 0x1f } else { b' ' };
    let words: Vec<&OsStr> =
        probe.as_bytes().split(|&byte| byte == separator).map(OsStr::from_bytes).collect();
    let Some((verb, arguments)) = words.split_first() else { return Ok(()) };
    let verb = verb.to_string_lossy();
    let line = match answer(&verb, &Arguments(arguments)) {
        Ok(value) => format!("ok {}\n", value.trim_end().replace('\n', "\\n")),
        Err(errno) => format!("errno {}\n", errno.raw_os_error()),
    };
    std::io::stdout().write_all(line.as_bytes())
}

fn answer(verb: &str, given: &Arguments<'_>) -> Answer {
    files(verb, given)
        .or_else(|| sockets(verb, given))
        .or_else(|| state(verb, given))
        .or_else(|| processes(verb, given))
        .or_else(|| privileges(verb, given))
        .unwrap_or_else(|| panic!("there is no probe {verb:?}"))
}

/// The words behind a verb.
struct Arguments<'a>(&'a [&'a OsStr]);

impl<'a> Arguments<'a> {
    fn word(&self, place: usize) -> &'a OsStr {
        self.0.get(place).unwrap_or_else(|| panic!("argument {place} is missing"))
    }

    fn path(&self, place: usize) -> &'a Path {
        Path::new(self.word(place))
    }

    fn text(&self, place: usize) -> &'a str {
        self.word(place).to_str().expect("an argument is text")
    }

    fn number<T: FromStr>(&self, place: usize) -> T {
        self.text(place).parse().unwrap_or_else(|_| panic!("{:?}", self.word(place)))
    }

    /// A number in any of C's notations.
    fn word_value(&self, place: usize) -> u64 {
        integer(self.0.get(place).and_then(|word| word.to_str()).unwrap_or("0"))
    }

    /// Of a system call, behind its name.
    fn arguments(&self) -> [u64; 6] {
        std::array::from_fn(|place| self.word_value(place + 1))
    }

    fn process(&self) -> u64 {
        match self.text(0) {
            "parent" => process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u64),
            _ => self.word_value(0),
        }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.number::<IpAddr>(0), self.number(1))
    }
}

fn integer(text: &str) -> u64 {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    let value = value.unwrap_or_else(|_| panic!("{text:?} is no number"));
    if negative { value.wrapping_neg() } else { value }
}

fn done<T>(result: Result<T, Errno>) -> Answer {
    result.map(|_| String::new())
}

fn files(verb: &str, given: &Arguments<'_>) -> Option<Answer> {
    let open = |flags| fs::open(given.path(0), flags | OFlags::CLOEXEC, Mode::from(0o666));
    Some(match verb {
        "open-for-read" => done(open(OFlags::RDONLY | OFlags::NONBLOCK)),
        "open-for-write" => done(open(OFlags::WRONLY | OFlags::NONBLOCK)),
        "open-path" => done(open(OFlags::PATH)),
        "create" => done(open(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)),
        "read" => open(OFlags::RDONLY).and_then(|file| read_all(&file)),
        "write" => open(OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)
            .and_then(|file| done(rustix::io::write(file, given.word(1).as_bytes()))),
        "fill" => open(OFlags::WRONLY | OFlags::CREATE)
            .and_then(|file| fill(&file, given.number(1)).map(|count| count.to_string())),
        "mkdir" => done(fs::mkdir(given.path(0), Mode::from(0o777))),
        "rmdir" => done(fs::rmdir(given.path(0))),
        "unlink" => done(fs::unlink(given.path(0))),
        "remove" => {
            fs::lstat(given.path(0)).and_then(|stat| match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => done(fs::rmdir(given.path(0))),
                _ => done(fs::unlink(given.path(0))),
            })
        }
        "rename" => done(fs::rename(given.path(0), given.path(1))),
        "link" => done(fs::link(given.path(0), given.path(1))),
        "symlink" => done(fs::symlink(given.path(0), given.path(1))),
        "readlink" => fs::readlink(given.path(0), Vec::new())
            .map(|content| content.to_string_lossy().into_owned()),
        "truncate" => truncate(given.path(0), given.0.get(1).map_or(0, |_| given.word_value(1))),
        "chmod" => {
            let mode = u32::from_str_radix(given.text(1), 8).expect("a mode");
            done(fs::chmod(given.path(0), Mode::from(mode)))
        }
        "chown" => done(fs::chown(given.path(0), Some(process::getuid()), Some(process::getgid()))),
        "set-times" => done(set_times(given.path(0))),
        "set-xattr" => {
            let flags = fs::XattrFlags::empty();
            done(fs::setxattr(given.path(0), ATTRIBUTE, b"x", flags))
        }
        "remove-xattr" => match fs::removexattr(given.path(0), ATTRIBUTE) {
            Err(Errno::NODATA) => Ok("there is none".to_owned()),
            answer => done(answer),
        },
        "list" => list(given.path(0)),
        "stat" => fs::lstat(given.path(0)).map(|stat| {
            format!("{:?} {:o}", FileType::from_raw_mode(stat.st_mode), stat.st_mode & 0o7777)
        }),
        "access" => done(fs::access(given.path(0), fs::Access::EXISTS)),
        "mount-flags" => fs::statvfs(given.path(0)).map(|stat| mount_flags(stat.f_flag)),
        "size" => {
            fs::statvfs(given.path(0)).map(|stat| (stat.f_blocks * stat.f_frsize).to_string())
        }
        "map-exec" => open(OFlags::RDONLY).and_then(|file| map_executable(&file)),
        "exec" => Err(execute(given)),
        "chdir" => done(process::chdir(given.path(0))),
        "chroot" => done(process::chroot(given.path(0))),
        "ioctl-dev" => open(OFlags::RDWR | OFlags::NONBLOCK)
            .and_then(|file| ioctl(file.as_fd(), uapi_ioctl::TIOCGWINSZ)),
        "memfd-exec" => memfd_exec(),
        "create-mode" => create_mode(given.path(0)),
        "flip-open" => flip_open(given.number(0), given.text(1), given.text(2)),
        "flip-mkdir" => flip_mkdir(given.number(0), given.text(1), given.text(2)),
        "look" => look(given.text(0), given.path(1)),
        "look-at-open" => open(OFlags::RDONLY).and_then(|file| {
            let empty = u64::from(uapi::AT_EMPTY_PATH);
            let seen =
                Stat::of("newfstatat", [file.as_raw_fd() as u64, c"".as_ptr() as u64], empty);
            seen.map(|stat| stat.to_string())
        }),
        "look-into-code" => {
            let path = CString::new(given.word(0).as_bytes()).expect("no NUL");
            let (at, constant) = (uapi::AT_FDCWD as u64, b"constant".as_ptr() as u64);
            call(Sysno::readlinkat, [at, path.as_ptr() as u64, constant, 1, 0, 0])
        }
        "attribute" => attribute(given.text(0), given.path(1)),
        "times-of-open" => open(OFlags::RDONLY).and_then(|file| {
            let times = [0_u64; 4];
            call(Sysno::utimensat, [file.as_raw_fd() as u64, 0, times.as_ptr() as u64, 0, 0, 0])
        }),
        "flip-times" => flip_times(given.number(0), given.text(1), given.text(2)),
        "flip-look" => flip_look(given.number(0), given.text(1), given.text(2)),
        "mkfifo" => {
            done(fs::mknodat(CWD, given.path(0), FileType::Fifo, Mode::from_raw_mode(0o666), 0))
        }
        _ => return None,
    })
}

/// The extended attribute that the probe sets and removes.
const ATTRIBUTE: &str = "user.probe";

/// Both times to the beginning of the epoch.
fn set_times(path: &Path) -> Result<(), Errno> {
    let epoch = fs::Timespec { tv_sec: 0, tv_nsec: 0 };
    let times = fs::Timestamps { last_access: epoch, last_modification: epoch };
    fs::utimensat(CWD, path, &times, fs::AtFlags::empty())
}

/// `ioctl` requests that asm-generic/ioctls.h names.
mod uapi_ioctl {
    pub(crate) const TIOCSTI: u64 = 0x5412;
    pub(crate) const TIOCGWINSZ: u64 = 0x5413;
}

fn read_all(file: &OwnedFd) -> Answer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(file, &mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
        if bytes.len() > 1 << 20 {
            return Err(Errno::FBIG);
        }
    }
}

fn create_mode(path: &Path) -> Answer {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let file = fs::open(path, flags, Mode::from_raw_mode(0o666))?;
    Ok(format!("{:o}", fs::fstat(&file)?.st_mode & 0o7777))
}

/// Does something so often with a path whose last byte changes all the while.
fn flip(times: usize, path: &str, other: &str, mut each: impl FnMut(*const AtomicU8)) {
    let bytes: Vec<AtomicU8> = path.bytes().chain([0]).map(AtomicU8::new).collect();
    let last = &bytes[path.len() - 1];
    let (one, other) = (last.load(Ordering::Relaxed), other.as_bytes()[0]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                last.store(other, Ordering::Relaxed);
                last.store(one, Ordering::Relaxed);
            }
        });
        (0..times).for_each(|_| each(bytes.as_ptr()));
        stop.store(true, Ordering::Relaxed);
    });
}

/// Opens a path that changes all the while.
fn flip_open(times: usize, path: &str, other: &str) -> Answer {
    let mut found = BTreeMap::<char, usize>::new();
    flip(times, path, other, |path| {
        let at = uapi::AT_FDCWD as isize as usize;
        let flags = uapi::O_RDONLY | uapi::O_CLOEXEC;
        // SAFETY: the kernel reads a text with a NUL that nobody changes, and the
        // bytes before it whenever it likes.
        let opened = unsafe { syscalls::syscall!(Sysno::openat, at, path, flags) };
        let Ok(fd) = opened else {
            *found.entry('-').or_default() += 1;
            return;
        };
        // SAFETY: it was opened just now, and nobody else knows of it.
        let mut file = unsafe { File::from_raw_fd(fd as i32) };
        let mut first = [b'?'];
        let _ = file.read(&mut first);
        *found.entry(char::from(first[0])).or_default() += 1;
    });
    let said: Vec<String> = found.iter().map(|(what, count)| format!("{what} {count}")).collect();
    Ok(said.join(" "))
}

/// What the kernel says of a file, as it says it.
struct Stat(Box<uapi::stat>);

impl Stat {
    fn of(call: &str, path: [u64; 2], flags: u64) -> Result<Self, Errno> {
        // SAFETY: it consists of numbers.
        let mut stat: Box<uapi::stat> = Box::new(unsafe { std::mem::zeroed() });
        let place = &raw mut *stat as u64;
        let [directory, path] = path;
        let arguments = match call {
            "stat" | "lstat" => [path, place, 0, 0, 0, 0],
            _ => [directory, path, place, flags, 0, 0],
        };
        raw(named(call)?, arguments).map(|_| Self(stat))
    }
}

impl std::fmt::Display for Stat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let it = &self.0;
        write!(f, "{:o} {} {} {} {}", it.st_mode, it.st_size, it.st_uid, it.st_gid, it.st_ino)
    }
}

/// A call by its name, which may be that of another table.
fn named(name: &str) -> Result<Sysno, Errno> {
    let found = Sysno::from_str(name).or_else(|()| match name {
        "newfstatat" => Sysno::from_str("fstatat"),
        _ => Err(()),
    });
    found.map_err(|()| Errno::NOSYS)
}

/// Looks at a file by one of the calls for that.
fn look(name: &str, path: &Path) -> Answer {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    let (at, path) = (uapi::AT_FDCWD as u64, path.as_ptr() as u64);
    let exists = 0;
    match name {
        "stat" | "lstat" | "newfstatat" => {
            Stat::of(name, [at, path], 0).map(|stat| stat.to_string())
        }
        "statx" => {
            // SAFETY: it consists of numbers.
            let mut it: uapi::statx = unsafe { std::mem::zeroed() };
            let place = &raw mut it as u64;
            let mask = u64::from(uapi::STATX_BASIC_STATS);
            raw(Sysno::statx, [at, path, 0, mask, place, 0])?;
            let [mode, size, user, group, inode] =
                [it.stx_mode.into(), it.stx_size, it.stx_uid.into(), it.stx_gid.into(), it.stx_ino];
            Ok(format!("{mode:o} {size} {user} {group} {inode}"))
        }
        "access" => call(named(name)?, [path, exists, 0, 0, 0, 0]),
        "readlink" | "readlinkat" => {
            let mut says = [0_u8; 4096];
            let (place, size) = (says.as_mut_ptr() as u64, says.len() as u64);
            let arguments = match name {
                "readlink" => [path, place, size, 0, 0, 0],
                _ => [at, path, place, size, 0, 0],
            };
            let length = raw(named(name)?, arguments)? as usize;
            Ok(String::from_utf8_lossy(&says[..length]).into_owned())
        }
        _ => call(named(name)?, [at, path, exists, 0, 0, 0]),
    }
}

/// Changes an attribute of a file by one of the calls for that.
fn attribute(name: &str, path: &Path) -> Answer {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    let (at, path) = (uapi::AT_FDCWD as u64, path.as_ptr() as u64);
    let (user, group) = (process::getuid().as_raw().into(), process::getgid().as_raw().into());
    let attribute = c"user.probe".as_ptr() as u64;
    let value = b"x".as_ptr() as u64;
    // Two times, however they are said: of access, of modification.
    let (seconds, times) = ([1_000_u64, 2_000], [1_000_u64, 0, 2_000, 0]);
    let (seconds, times) = (seconds.as_ptr() as u64, times.as_ptr() as u64);
    let arguments = match name {
        "chmod" => [path, 0o600, 0, 0, 0, 0],
        "fchmodat" | "fchmodat2" => [at, path, 0o640, 0, 0, 0],
        "chown" | "lchown" => [path, user, group, 0, 0, 0],
        "fchownat" => [at, path, user, u64::MAX, 0, 0],
        "utime" => [path, seconds, 0, 0, 0, 0],
        "utimes" => [path, times, 0, 0, 0, 0],
        "futimesat" | "utimensat" => [at, path, times, 0, 0, 0],
        "setxattr" | "lsetxattr" => [path, attribute, value, 1, 0, 0],
        _ => [path, attribute, 0, 0, 0, 0],
    };
    call(named(name)?, arguments)
}

/// Sets the times of a path that changes all the while.
fn flip_times(times: usize, path: &str, other: &str) -> Answer {
    let mut done = 0;
    let epoch = [0_u64; 4];
    flip(times, path, other, |path| {
        let arguments = [uapi::AT_FDCWD as u64, path as u64, epoch.as_ptr() as u64, 0, 0, 0];
        done += usize::from(call(Sysno::utimensat, arguments).is_ok());
    });
    Ok(done.to_string())
}

/// Looks at a path that changes all the while.
fn flip_look(times: usize, path: &str, other: &str) -> Answer {
    let mut sizes = BTreeMap::<i64, usize>::new();
    flip(times, path, other, |path| {
        let seen = Stat::of("newfstatat", [uapi::AT_FDCWD as u64, path as u64], 0);
        *sizes.entry(seen.map_or(-1, |stat| stat.0.st_size)).or_default() += 1;
    });
    let said: Vec<String> = sizes.iter().map(|(size, count)| format!("{size} {count}")).collect();
    Ok(said.join(" "))
}

/// Makes a directory at a path that changes all the while, and removes it.
fn flip_mkdir(times: usize, path: &str, other: &str) -> Answer {
    let mut made = 0;
    flip(times, path, other, |flipping| {
        let at = uapi::AT_FDCWD as i64 as u64;
        let _ = call(Sysno::mkdirat, [at, flipping as u64, 0o777, 0, 0, 0]);
        made += usize::from(fs::rmdir(path).is_ok());
    });
    Ok(made.to_string())
}

/// Writes until the file has so many bytes, or the kernel says no.
fn fill(file: &OwnedFd, bytes: usize) -> Result<usize, Errno> {
    let chunk = vec![0; 1 << 16];
    let mut written = 0;
    while written < bytes {
        written += rustix::io::write(file, &chunk[..chunk.len().min(bytes - written)])?;
    }
    Ok(written)
}

fn truncate(path: &Path, length: u64) -> Answer {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    call(Sysno::truncate, [path.as_ptr() as u64, length, 0, 0, 0, 0])
}

fn list(path: &Path) -> Answer {
    let directory =
        fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = fs::RawDir::new(&directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.join(" "))
}

fn mount_flags(flags: StatVfsMountFlags) -> String {
    [
        (StatVfsMountFlags::RDONLY, "ro"),
        (StatVfsMountFlags::NOSUID, "nosuid"),
        (StatVfsMountFlags::NODEV, "nodev"),
        (StatVfsMountFlags::NOEXEC, "noexec"),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .map(|(_, name)| name)
    .collect::<Vec<_>>()
    .join(",")
}

fn map_executable(file: &OwnedFd) -> Answer {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let (protection, flags) = (ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE);
    // SAFETY: the kernel chooses a free place, and nothing reads or runs it.
    done(unsafe { mmap(std::ptr::null_mut(), 4096, protection, flags, file, 0) })
}

/// Becomes another program; returns only if that failed.
fn execute(given: &Arguments<'_>) -> Errno {
    use std::os::unix::process::CommandExt;
    let error = std::process::Command::new(given.path(0)).args(&given.0[1..]).exec();
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Executes an empty file in memory: ENOEXEC where that is allowed.
fn memfd_exec() -> Answer {
    let file = fs::memfd_create(c"probe", fs::MemfdFlags::EXEC)
        .or_else(|_| fs::memfd_create(c"probe", fs::MemfdFlags::empty()))?;
    let none: [*const u8; 1] = [std::ptr::null()];
    let arguments = [
        file.as_raw_fd() as u64,
        c"".as_ptr() as u64,
        none.as_ptr() as u64,
        none.as_ptr() as u64,
        uapi::AT_EMPTY_PATH.into(),
        0,
    ];
    call(Sysno::execveat, arguments)
}

fn sockets(verb: &str, given: &Arguments<'_>) -> Option<Answer> {
    Some(match verb {
        "socket" => done(socket_of(given)),
        "connect-tcp" => {
            done(tcp(given).and_then(|socket| net::connect(&socket, &given.address())))
        }
        "bind-tcp" => tcp(given).and_then(|socket| {
            net::bind(&socket, &given.address())?;
            Ok(local_port(&socket)?.to_string())
        }),
        "listen-tcp" => done(
            net::socket(AddressFamily::INET, SocketType::STREAM, None)
                .and_then(|socket| net::listen(&socket, 1)),
        ),
        "tcp-inside" => tcp_inside(),
        "fastopen" => tcp(given).and_then(|socket| {
            let flags = SendFlags::from_bits_retain(uapi_net::MSG_FASTOPEN);
            done(net::sendto(&socket, b"x", flags, &given.address()))
        }),
        "bind-udp" => done(udp(given).and_then(|socket| net::bind(&socket, &given.address()))),
        "send-udp" => {
            done(udp(given).and_then(|socket| {
                net::sendto(&socket, b"x", SendFlags::empty(), &given.address())
            }))
        }
        "unix-connect" => done(
            unix(SocketType::STREAM)
                .and_then(|socket| net::connect(&socket, &SocketAddrUnix::new(given.path(0))?)),
        ),
        "unix-send" => done(unix(SocketType::DGRAM).and_then(|socket| {
            net::sendto(&socket, b"x", SendFlags::empty(), &SocketAddrUnix::new(given.path(0))?)
        })),
        "pair-send" => pair(given).and_then(|(socket, _other)| {
            let address = SocketAddrUnix::new(given.path(1))?;
            done(net::sendto(&socket, b"x", SendFlags::empty(), &address))
        }),
        "pair-connect" => pair(given).and_then(|(socket, _other)| {
            done(net::connect(&socket, &SocketAddrUnix::new(given.path(1))?))
        }),
        "unix-bind" => done(
            unix(SocketType::STREAM)
                .and_then(|socket| net::bind(&socket, &SocketAddrUnix::new(given.path(0))?)),
        ),
        "unix-inside" => unix_inside(given.path(0)),
        "unix-abstract-connect" => done(unix(SocketType::STREAM).and_then(|socket| {
            net::connect(&socket, &SocketAddrUnix::new_abstract_name(given.word(0).as_bytes())?)
        })),
        "unix-abstract-bind" => done(unix(SocketType::STREAM).and_then(|socket| {
            net::bind(&socket, &SocketAddrUnix::new_abstract_name(given.word(0).as_bytes())?)
        })),
        "socketpair" => socket_pair(),
        "interfaces" => interfaces(),
        "send-message" => send_message(given),
        "send-messages" => send_messages(given),
        "send-two" => send_two(given),
        "connect-flags" => connect_flags(given),
        "send-much" => send_much(given),
        "send-on" => send_on(given),
        "reconnect-udp" => udp(given).and_then(|socket| {
            net::connect(&socket, &given.address())?;
            net::connect_unspec(&socket)?;
            done(net::connect(&socket, &given.address()))
        }),
        "while-connecting" => while_connecting(given),
        "flip-connect" => {
            flip_connect(given.number(0), given.number(1), given.number(2), given.number(3))
        }
        "flip-socket" => flip_socket(given),
        _ => return None,
    })
}

/// Flags of linux/socket.h.
mod uapi_net {
    pub(crate) use linux_raw_sys::net::AF_INET;
    pub(crate) const MSG_FASTOPEN: u32 = 0x2000_0000;
}

fn socket_of(given: &Arguments<'_>) -> Result<OwnedFd, Errno> {
    let family = match given.text(0) {
        "unix" => 1,
        "inet" => 2,
        "ipx" => 4,
        "inet6" => 10,
        "netlink" => 16,
        "packet" => 17,
        "alg" => 38,
        "vsock" => 40,
        number => number.parse().expect("a family"),
    };
    let kind = kind_of(given.text(1));
    let protocol = given.0.get(2).map(|_| match given.text(2) {
        "mptcp" => 262,
        "icmp" => 1,
        number => number.parse().expect("a protocol"),
    });
    let protocol = protocol.and_then(std::num::NonZeroU32::new).map(net::Protocol::from_raw);
    net::socket(AddressFamily::from_raw(family), kind, protocol)
}

fn kind_of(word: &str) -> SocketType {
    match word {
        "stream" => SocketType::STREAM,
        "dgram" => SocketType::DGRAM,
        "raw" => SocketType::RAW,
        "seqpacket" => SocketType::SEQPACKET,
        number => SocketType::from_raw(number.parse().expect("a type")),
    }
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

fn tcp(given: &Arguments<'_>) -> Result<OwnedFd, Errno> {
    net::socket(family(given.address()), SocketType::STREAM, None)
}

fn udp(given: &Arguments<'_>) -> Result<OwnedFd, Errno> {
    net::socket(family(given.address()), SocketType::DGRAM, None)
}

fn unix(kind: SocketType) -> Result<OwnedFd, Errno> {
    net::socket(AddressFamily::UNIX, kind, None)
}

fn local_port(socket: &OwnedFd) -> Result<u16, Errno> {
    let address = SocketAddr::try_from(net::getsockname(socket)?)?;
    Ok(address.port())
}

fn tcp_inside() -> Answer {
    let server = net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    net::bind(&server, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
    net::listen(&server, 1)?;
    let client = net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    net::connect(&client, &SocketAddr::from(([127, 0, 0, 1], local_port(&server)?)))?;
    exchange(&client, &net::accept(&server)?)
}

fn unix_inside(path: &Path) -> Answer {
    let address = SocketAddrUnix::new(path)?;
    let server = unix(SocketType::STREAM)?;
    net::bind(&server, &address)?;
    net::listen(&server, 1)?;
    let client = unix(SocketType::STREAM)?;
    net::connect(&client, &address)?;
    exchange(&client, &net::accept(&server)?)
}

fn socket_pair() -> Answer {
    let (one, other) = pair_of(SocketType::STREAM)?;
    exchange(&one, &other)
}

fn pair(given: &Arguments<'_>) -> Result<(OwnedFd, OwnedFd), Errno> {
    pair_of(kind_of(given.text(0)))
}

fn pair_of(kind: SocketType) -> Result<(OwnedFd, OwnedFd), Errno> {
    net::socketpair(AddressFamily::UNIX, kind, net::SocketFlags::CLOEXEC, None)
}

fn exchange(from: &OwnedFd, to: &OwnedFd) -> Answer {
    let mut buffer = [0; 5];
    net::send(from, b"hello", SendFlags::empty())?;
    let (count, _) = net::recv(to, &mut buffer, RecvFlags::empty())?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// Names of the network interfaces, by SIOCGIFNAME so that no /proc is needed.
fn interfaces() -> Answer {
    let socket = unix(SocketType::DGRAM)?;
    let names: Vec<String> =
        (1..=64).filter_map(|index| net::netdevice::index_to_name(&socket, index).ok()).collect();
    Ok(names.join(" "))
}

/// `struct sockaddr_in`, in words that another thread may change.
fn address_of(host: [u8; 4], port: u16) -> [AtomicU32; 4] {
    let [one, two] = port.to_be_bytes();
    let [family, other] = (uapi_net::AF_INET as u16).to_ne_bytes();
    [[family, other, one, two], host, [0; 4], [0; 4]]
        .map(|word| AtomicU32::new(u32::from_ne_bytes(word)))
}

fn host_of(given: &Arguments<'_>) -> [u8; 4] {
    given.number::<std::net::Ipv4Addr>(0).octets()
}

/// `struct msghdr` without a control message.
fn header_of(address: &[AtomicU32; 4], parts: &[[u64; 2]]) -> [u64; 7] {
    [address.as_ptr() as u64, 16, parts.as_ptr() as u64, parts.len() as u64, 0, 0, 0]
}

fn part_of(text: &[u8]) -> [u64; 2] {
    [text.as_ptr() as u64, text.len() as u64]
}

fn send_message(given: &Arguments<'_>) -> Answer {
    let socket = udp(given)?;
    let address = address_of(host_of(given), given.number(1));
    let parts = [part_of(b"he"), part_of(b"llo")];
    let mut header = header_of(&address, &parts);
    // IP_TTL, which anybody may say.
    let control: [u64; 3] = [20, 2 << 32, 64];
    if given.0.len() > 2 {
        (header[4], header[5]) = (control.as_ptr() as u64, 24);
    }
    call(Sysno::sendmsg, [socket.as_raw_fd() as u64, header.as_ptr() as u64, 0, 0, 0, 0])
}

fn send_messages(given: &Arguments<'_>) -> Answer {
    let socket = udp(given)?;
    let addresses = [given.number(1), given.number(2)].map(|port| address_of(host_of(given), port));
    let parts = [[part_of(b"one")], [part_of(b"three")]];
    let headers = [0, 1].map(|place| header_of(&addresses[place], &parts[place]));
    send_both(&socket, headers)
}

/// Two messages by one call; how many were sent, and how much of each.
fn send_both(socket: &OwnedFd, [one, other]: [[u64; 7]; 2]) -> Answer {
    let mut headers = [0; 16];
    headers[..7].copy_from_slice(&one);
    headers[8..15].copy_from_slice(&other);
    let place = headers.as_mut_ptr() as u64;
    let sent = call(Sysno::sendmmsg, [socket.as_raw_fd() as u64, place, 2, 0, 0, 0])?;
    Ok(format!("{sent}: {} {}", headers[7] as u32, headers[15] as u32))
}

/// Two messages on a stream.
fn send_two(given: &Arguments<'_>) -> Answer {
    let socket = tcp(given)?;
    net::connect(&socket, &given.address())?;
    let bytes = [b'a', b'b'].map(|byte| vec![byte; given.number(2)]);
    let parts = bytes.each_ref().map(|bytes| [part_of(bytes)]);
    send_both(&socket, parts.each_ref().map(|parts| [0, 0, parts.as_ptr() as u64, 1, 0, 0, 0]))
}

fn connect_flags(given: &Arguments<'_>) -> Answer {
    let is_non_blocking =
        |socket: &OwnedFd| Ok(fs::fcntl_getfl(socket)?.contains(OFlags::NONBLOCK).to_string());
    let waits = tcp(given)?;
    net::connect(&waits, &given.address())?;
    let other = tcp(given)?;
    fs::fcntl_setfl(&other, fs::fcntl_getfl(&other)? | OFlags::NONBLOCK)?;
    let answer = match net::connect(&other, &given.address()) {
        Err(Errno::INPROGRESS) => "in progress",
        answer => answer.map(|()| "connected")?,
    };
    Ok(format!("{} {} {answer}", is_non_blocking(&waits)?, is_non_blocking(&other)?))
}

fn send_much(given: &Arguments<'_>) -> Answer {
    let mut stream: std::net::TcpStream = {
        let socket = tcp(given)?;
        net::connect(&socket, &given.address())?;
        socket.into()
    };
    let bytes = vec![b'x'; given.number(2)];
    stream.write_all(&bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(String::new())
}

/// Sends until the other end is gone. std ignores SIGPIPE.
fn send_on(given: &Arguments<'_>) -> Answer {
    let socket = tcp(given)?;
    net::connect(&socket, &given.address())?;
    loop {
        net::send(&socket, b"x", SendFlags::empty())?;
    }
}

/// Makes another probe while a connection is being waited for.
fn while_connecting(given: &Arguments<'_>) -> Answer {
    let socket = std::sync::Arc::new(tcp(given)?);
    let (theirs, address) = (std::sync::Arc::clone(&socket), given.address());
    std::thread::spawn(move || net::connect(&*theirs, &address));
    // One that nobody has begun to connect can be written, and fails at once.
    let begun = || -> Result<bool, Errno> {
        let events = rustix::event::PollFlags::OUT;
        let mut ready = [rustix::event::PollFd::new(&*socket, events)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(rustix::event::poll(&mut ready, Some(&now))? == 0)
    };
    while !begun()? {
        std::thread::yield_now();
    }
    answer(given.text(2), &Arguments(&given.0[3..]))
}

/// How often what answered.
fn counts(answers: impl Iterator<Item = Result<String, Errno>>) -> String {
    let mut found = BTreeMap::<i32, usize>::new();
    for answer in answers {
        *found.entry(answer.map_or_else(Errno::raw_os_error, |_| 0)).or_default() += 1;
    }
    let said: Vec<String> = found.iter().map(|(what, count)| format!("{what} {count}")).collect();
    said.join(" ")
}

/// Without what the end of a connection leaves for a while.
fn tcp_at_once() -> Result<OwnedFd, Errno> {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    net::sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO))?;
    Ok(socket)
}

/// Connects to an address whose port changes all the while.
fn flip_connect(times: usize, host: std::net::Ipv4Addr, one: u16, other: u16) -> Answer {
    let address = address_of(host.octets(), one);
    let ports = [one, other].map(|port| address_of([0; 4], port)[0].load(Ordering::Relaxed));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                address[0].store(ports[1], Ordering::Relaxed);
                address[0].store(ports[0], Ordering::Relaxed);
            }
        });
        let said = counts((0..times).map(|_| {
            let socket = tcp_at_once()?;
            let place = address.as_ptr() as u64;
            call(Sysno::connect, [socket.as_raw_fd() as u64, place, 16, 0, 0, 0])
        }));
        stop.store(true, Ordering::Relaxed);
        Ok(said)
    })
}

/// Connects by a number that means another socket all the while.
fn flip_socket(given: &Arguments<'_>) -> Answer {
    const NUMBER: i32 = 200;
    let given_address = Arguments(&given.0[1..]);
    let address = address_of(host_of(&given_address), given_address.number(1));
    let datagrams = udp(&given_address)?.into_raw_fd();
    let streams = AtomicI32::new(datagrams);
    let stop = AtomicBool::new(false);
    let mean = |fd: i32| call(Sysno::dup3, [fd as u64, NUMBER as u64, 0, 0, 0, 0]);
    mean(datagrams)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = mean(datagrams);
                let _ = mean(streams.load(Ordering::Relaxed));
            }
        });
        let said = counts((0..given.number(0)).map(|_| {
            let socket = tcp_at_once()?;
            streams.store(socket.as_raw_fd(), Ordering::Relaxed);
            let place = address.as_ptr() as u64;
            let connected = call(Sysno::connect, [NUMBER as u64, place, 16, 0, 0, 0]);
            streams.store(datagrams, Ordering::Relaxed);
            connected
        }));
        stop.store(true, Ordering::Relaxed);
        Ok(said)
    })
}

fn state(verb: &str, given: &Arguments<'_>) -> Option<Answer> {
    let get = |option: u32| prctl_get(option);
    Some(match verb {
        "pid" => Ok(process::getpid().to_string()),
        "ppid" => Ok(process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get()).to_string()),
        "sid" => process::getsid(None).map(|pid| pid.to_string()),
        "pgrp" => Ok(process::getpgrp().to_string()),
        "ids" => Ok(format!(
            "{} {} {} {}",
            process::getuid(),
            process::geteuid(),
            process::getgid(),
            process::getegid()
        )),
        "groups" => process::getgroups()
            .map(|groups| groups.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
        "caps" => caps(),
        "hostname" => Ok(rustix::system::uname().nodename().to_string_lossy().into_owned()),
        "cwd" => process::getcwd(Vec::new()).map(|path| path.to_string_lossy().into_owned()),
        "env" => Ok(environment()),
        "args" => Ok(arguments()),
        "umask" => Ok(format!("{:04o}", process::umask(Mode::empty()).bits())),
        "rlimit" => rlimit(0, resource(given.text(0))),
        "rlimit-of" => rlimit(given.process(), resource(given.text(1))),
        "nice" => process::getpriority_process(None).map(|nice| nice.to_string()),
        "affinity" => rustix::thread::sched_getaffinity(None).map(|set| cpus(&set)),
        "oom-score" => fs::open("/proc/self/oom_score_adj", OFlags::RDONLY, Mode::empty())
            .and_then(|file| read_all(&file)),
        "signals" => Ok(signals()),
        "dumpable" => get(prctl::PR_GET_DUMPABLE),
        "securebits" => get(prctl::PR_GET_SECUREBITS),
        "death-signal" => {
            let mut signal = 0_i32;
            let place = &raw mut signal as u64;
            call(Sysno::prctl, [prctl::PR_GET_PDEATHSIG.into(), place, 0, 0, 0, 0])
                .map(|_| signal.to_string())
        }
        "fds" => Ok(descriptors()),
        "fd-kind" => Ok(descriptor_kind(given.number(0))),
        "namespace" => fs::readlink(Path::new("/proc/self/ns").join(given.path(0)), Vec::new())
            .map(|link| link.to_string_lossy().into_owned()),
        _ => return None,
    })
}

fn prctl_get(option: u32) -> Answer {
    call(Sysno::prctl, [option.into(), 0, 0, 0, 0, 0])
}

/// `effective permitted inheritable bounding ambient no_new_privs seccomp`
fn caps() -> Answer {
    let sets = rustix::thread::capabilities(None)?;
    let bit = |option: u32, capability: u64, more: u64| {
        let arguments = match option {
            prctl::PR_CAP_AMBIENT => [option.into(), more, capability, 0, 0, 0],
            _ => [option.into(), capability, 0, 0, 0, 0],
        };
        u64::from(call(Sysno::prctl, arguments).is_ok_and(|value| value == "1"))
    };
    let bounding: u64 = (0..64).map(|cap| bit(prctl::PR_CAPBSET_READ, cap, 0) << cap).sum();
    let is_set = u64::from(prctl::PR_CAP_AMBIENT_IS_SET);
    let ambient: u64 = (0..64).map(|cap| bit(prctl::PR_CAP_AMBIENT, cap, is_set) << cap).sum();
    Ok(format!(
        "{:x} {:x} {:x} {bounding:x} {ambient:x} {} {}",
        sets.effective.bits(),
        sets.permitted.bits(),
        sets.inheritable.bits(),
        prctl_get(prctl::PR_GET_NO_NEW_PRIVS)?,
        prctl_get(prctl::PR_GET_SECCOMP)?
    ))
}

fn environment() -> String {
    let mut variables: Vec<String> = std::env::vars_os()
        .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
        .collect();
    variables.sort();
    variables.join("\n")
}

/// `argv` in hexadecimal, so that every byte comes through.
fn arguments() -> String {
    let hex = |argument: OsString| -> String {
        argument.into_vec().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    std::env::args_os().map(hex).collect::<Vec<_>>().join(" ")
}

fn resource(name: &str) -> u64 {
    const NAMES: [&str; 16] = [
        "cpu",
        "fsize",
        "data",
        "stack",
        "core",
        "rss",
        "nproc",
        "nofile",
        "memlock",
        "as",
        "locks",
        "sigpending",
        "msgqueue",
        "nice",
        "rtprio",
        "rttime",
    ];
    NAMES.iter().position(|each| *each == name).expect("a resource") as u64
}

/// The limits of a process; 0 is the probe.
fn rlimit(pid: u64, resource: u64) -> Answer {
    let mut limits = [0_u64; 2];
    let arguments = [pid, resource, 0, limits.as_mut_ptr() as u64, 0, 0];
    call(Sysno::prlimit64, arguments)?;
    Ok(limits
        .map(|limit| if limit == u64::MAX { "unlimited".into() } else { limit.to_string() })
        .join(" "))
}

fn set_rlimit(pid: u64, resource: u64, soft: u64, hard: u64) -> Answer {
    let limits = [soft, hard];
    call(Sysno::prlimit64, [pid, resource, limits.as_ptr() as u64, 0, 0, 0])
}

fn cpus(set: &rustix::thread::CpuSet) -> String {
    let cpus = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu));
    cpus.map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(" ")
}

/// Gives a process the CPUs that the probe may run on.
fn set_affinity(pid: u64) -> Answer {
    let mut set = [0_u64; 128];
    let place = set.as_mut_ptr() as u64;
    let size = raw(Sysno::sched_getaffinity, [0, size_of_val(&set) as u64, place, 0, 0, 0])?;
    call(Sysno::sched_setaffinity, [pid, size, place, 0, 0, 0])
}

/// The numbers of the blocked signals, and of the ignored ones. SIGPIPE is
/// left out: Rust's own start code ignores it.
fn signals() -> String {
    let mut blocked = 0_u64;
    let place = &raw mut blocked as u64;
    call(Sysno::rt_sigprocmask, [0, 0, place, 8, 0, 0]).expect("the mask is read");
    let numbers = |is: &dyn Fn(u64) -> bool| {
        (1..=64)
            .filter(|&signal| is(signal))
            .map(|signal| signal.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let ignored = |signal| {
        let mut action = [0_u64; 4];
        let place = action.as_mut_ptr() as u64;
        let asked = call(Sysno::rt_sigaction, [signal, 0, place, 8, 0, 0]);
        asked.is_ok() && action[0] == 1 && signal != 13
    };
    format!(
        "blocked={} ignored={}",
        numbers(&|signal| blocked >> (signal - 1) & 1 == 1),
        numbers(&ignored)
    )
}

fn descriptors() -> String {
    let is_open = |fd: &i32| call(Sysno::fcntl, [*fd as u64, 1, 0, 0, 0, 0]).is_ok();
    let open = (0..1024).filter(is_open);
    open.map(|fd| fd.to_string()).collect::<Vec<_>>().join(" ")
}

/// What a descriptor is: its type, and its device number if it is a device.
fn descriptor_kind(fd: i32) -> String {
    // SAFETY: nothing here closes a descriptor that was passed in.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    match fs::fstat(fd) {
        Ok(stat) => {
            let device = format!("{}:{}", fs::major(stat.st_rdev), fs::minor(stat.st_rdev));
            format!("{:?} {device}", FileType::from_raw_mode(stat.st_mode))
        }
        Err(errno) => format!("{errno:?}"),
    }
}

fn processes(verb: &str, given: &Arguments<'_>) -> Option<Answer> {
    Some(match verb {
        "kill" => call(Sysno::kill, [given.process(), given.word_value(1), 0, 0, 0, 0]),
        "ptrace" => {
            const PTRACE_SEIZE: u64 = 0x4206;
            call(Sysno::ptrace, [PTRACE_SEIZE, given.process(), 0, 0, 0, 0])
        }
        "read-mem" => read_memory(given.process()),
        "waitable" => call(Sysno::pidfd_open, [given.process(), 0, 0, 0, 0, 0]),
        "fork" => fork_once(),
        "fork-many" => fork_many(given.number(0)),
        "threads" => threads(given.number(0)),
        "allocate" => allocate(given.number(0)),
        "grow-heap" => grow_heap([given.number(0), given.number(1)]),
        "touch" => touch(given.number(0)),
        "raise" => {
            let pid = process::getpid().as_raw_nonzero().get() as u64;
            call(Sysno::kill, [pid, given.word_value(0), 0, 0, 0, 0])
        }
        "abort" => std::process::abort(),
        "exit" => std::process::exit(given.number(0)),
        "spin" => loop {
            std::hint::black_box(0);
        },
        "spin-for" => {
            let milliseconds = given.number(0);
            while cpu_milliseconds() < milliseconds {}
            Ok(String::new())
        }
        "pause" => loop {
            std::thread::park();
        },
        "say" => Ok(given.0.first().map_or(String::new(), |_| given.text(0).to_owned())),
        "echo-input" => {
            let mut text = String::new();
            match std::io::stdin().read_to_string(&mut text) {
                Ok(_) => Ok(text),
                Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
        "orphan" => orphan(),
        "in-child" => elsewhere(given, false),
        "in-orphan" => elsewhere(given, true),
        "shared-memory" => shared_memory(),
        "semaphores" => semaphores(),
        "messages" => messages(),
        "message-queue" => message_queue(given),
        _ => return None,
    })
}

/// Reads from another process a word that it certainly has mapped: the vdso
/// lies elsewhere, but ENOMEM and EFAULT come only after the permission.
fn read_memory(pid: u64) -> Answer {
    let mut word = [0_u8; 8];
    let local = [word.as_mut_ptr() as u64, 8];
    let remote = [0x40_0000_u64, 8];
    match call(
        Sysno::process_vm_readv,
        [pid, local.as_ptr() as u64, 1, remote.as_ptr() as u64, 1, 0],
    ) {
        Err(Errno::FAULT) => Ok("allowed".to_owned()),
        answer => answer,
    }
}

/// A child by fork, which ends at once.
fn fork_once() -> Answer {
    // SIGCHLD = 17, so that the child is waited for as any.
    match raw(Sysno::clone, [17, 0, 0, 0, 0, 0])? {
        0 => exit_group(0),
        child => call(Sysno::wait4, [child, 0, 0, 0, 0, 0]).map(|_| "1".to_owned()),
    }
}

/// CPU time of this process in milliseconds.
fn cpu_milliseconds() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

/// As many children at once as are allowed, up to a number.
fn fork_many(most: u64) -> Answer {
    let mut children = Vec::new();
    let mut refused = None;
    for _ in 0..most {
        match raw(Sysno::clone, [17, 0, 0, 0, 0, 0]) {
            Ok(0) => loop {
                // Until it is killed below, or PID 1 ends.
                let _ = call(Sysno::ppoll, [0; 6]);
            },
            Ok(child) => children.push(child),
            Err(errno) => {
                refused = Some(errno);
                break;
            }
        }
    }
    for &child in &children {
        call(Sysno::kill, [child, 9, 0, 0, 0, 0])?;
        call(Sysno::wait4, [child, 0, 0, 0, 0, 0])?;
    }
    match refused {
        Some(errno) => Ok(format!("{} {}", children.len(), errno.raw_os_error())),
        None => Ok(children.len().to_string()),
    }
}

fn threads(most: u64) -> Answer {
    let started: Vec<_> = (0..most)
        .map_while(|_| std::thread::Builder::new().spawn(std::thread::park).ok())
        .collect();
    Ok(started.len().to_string())
}

fn allocate(bytes: usize) -> Answer {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: the kernel chooses a free place, and nothing uses it.
    done(unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, protection, flags) })
}

/// The end of the heap is asked for first. Nothing uses what it grows by.
fn grow_heap(by: [u64; 2]) -> Answer {
    let mut end = raw(Sysno::brk, [0; 6])?;
    for bytes in by {
        end += bytes;
        if raw(Sysno::brk, [end, 0, 0, 0, 0, 0])? != end {
            return Err(Errno::NOMEM);
        }
    }
    done(Ok(()))
}

/// Uses so much memory, in a child that is waited for.
fn touch(bytes: usize) -> Answer {
    match raw(Sysno::clone, [17, 0, 0, 0, 0, 0])? {
        0 => {
            std::hint::black_box(vec![1_u8; bytes]);
            std::process::exit(0)
        }
        child => call(Sysno::wait4, [child, 0, 0, 0, 0, 0]),
    }
}

/// Leaves a grandchild behind and says its process id.
fn orphan() -> Answer {
    match raw(Sysno::clone, [17, 0, 0, 0, 0, 0])? {
        0 => loop {
            let _ = call(Sysno::ppoll, [0; 6]);
        },
        child => Ok(child.to_string()),
    }
}

/// Has another process make probes; what came of each, with commas between.
fn elsewhere(given: &Arguments<'_>, is_orphan: bool) -> Answer {
    let (mut read, mut write) = std::io::pipe().map_err(|_| Errno::MFILE)?;
    let child = raw(Sysno::clone, [17, 0, 0, 0, 0, 0])?;
    if child == 0 {
        if is_orphan {
            let parent = process::getpid();
            if raw(Sysno::clone, [17, 0, 0, 0, 0, 0]) != Ok(0) {
                exit_group(0);
            }
            while process::getppid() == Some(parent) {
                std::thread::yield_now();
            }
        }
        let probes = given.0.split(|word| *word == "+");
        let said = probes.map(|words| {
            match answer(&words[0].to_string_lossy(), &Arguments(&words[1..])) {
                Ok(value) => format!("ok {value}"),
                Err(errno) => format!("errno {}", errno.raw_os_error()),
            }
        });
        let said: Vec<String> = said.collect();
        let _ = write.write_all(said.join(", ").as_bytes());
        exit_group(0);
    }
    drop(write);
    let mut said = String::new();
    read.read_to_string(&mut said).map_err(|_| Errno::IO)?;
    call(Sysno::wait4, [child, 0, 0, 0, 0, 0])?;
    Ok(said)
}

/// Constants of linux/ipc.h.
mod uapi_ipc {
    pub(crate) const IPC_PRIVATE: u64 = 0;
    pub(crate) const IPC_RMID: u64 = 0;
    /// For the caller to read and write.
    pub(crate) const MODE: u64 = 0o600;
}

fn shared_memory() -> Answer {
    let id = raw(Sysno::shmget, [uapi_ipc::IPC_PRIVATE, 4096, uapi_ipc::MODE, 0, 0, 0])?;
    call(Sysno::shmctl, [id, uapi_ipc::IPC_RMID, 0, 0, 0, 0])
}

fn semaphores() -> Answer {
    let id = raw(Sysno::semget, [uapi_ipc::IPC_PRIVATE, 1, uapi_ipc::MODE, 0, 0, 0])?;
    call(Sysno::semctl, [id, 0, uapi_ipc::IPC_RMID, 0, 0, 0])
}

fn messages() -> Answer {
    let id = raw(Sysno::msgget, [uapi_ipc::IPC_PRIVATE, uapi_ipc::MODE, 0, 0, 0, 0])?;
    call(Sysno::msgctl, [id, uapi_ipc::IPC_RMID, 0, 0, 0, 0])
}

/// Makes a queue and removes its name; it ends with the probe.
fn message_queue(given: &Arguments<'_>) -> Answer {
    let name = CString::new(given.word(0).as_bytes()).expect("no NUL");
    let name = name.as_ptr() as u64;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    raw(Sysno::mq_open, [name, flags.bits().into(), uapi_ipc::MODE, 0, 0, 0])?;
    call(Sysno::mq_unlink, [name, 0, 0, 0, 0, 0])
}

fn exit_group(status: u64) -> ! {
    let _ = raw(Sysno::exit_group, [status, 0, 0, 0, 0, 0]);
    unreachable!("exit_group returned")
}

fn privileges(verb: &str, given: &Arguments<'_>) -> Option<Answer> {
    use rustix::mount::{MountFlags, UnmountFlags};
    Some(match verb {
        "mount" => {
            done(rustix::mount::mount("probe", given.path(0), "tmpfs", MountFlags::empty(), None))
        }
        "bind-over" => done(rustix::mount::mount_bind(given.path(0), given.path(1))),
        "remount-writable" => {
            done(rustix::mount::mount_remount(given.path(0), MountFlags::BIND, ""))
        }
        "setattr-writable" => setattr_writable(given.path(0)),
        "umount" => done(rustix::mount::unmount(given.path(0), UnmountFlags::DETACH)),
        "pivot-root" => done(process::pivot_root(given.path(0), given.path(0))),
        "unshare" => call(Sysno::unshare, [given.word_value(0), 0, 0, 0, 0, 0]),
        "setns" => fs::open(given.path(0), OFlags::RDONLY, Mode::empty())
            .and_then(|file| call(Sysno::setns, [file.as_raw_fd() as u64, 0, 0, 0, 0, 0])),
        "sethostname" => done(rustix::system::sethostname(given.word(0).as_bytes())),
        "setuid" => {
            let uid = given.word_value(0);
            call(Sysno::setresuid, [uid, uid, uid, 0, 0, 0])
        }
        "raise-caps" => {
            use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
            let (own, none) = (CapabilitySet::CHOWN, CapabilitySet::empty());
            let sets = CapabilitySets { effective: own, permitted: own, inheritable: none };
            done(set_capabilities(None, sets))
        }
        "mknod" => done(fs::mknodat(
            CWD,
            given.path(0),
            FileType::CharacterDevice,
            Mode::from(0o666),
            fs::makedev(1, 3),
        )),
        "set-rlimit" => {
            set_rlimit(0, resource(given.text(0)), given.word_value(1), given.word_value(2))
        }
        "set-rlimit-of" => set_rlimit(
            given.process(),
            resource(given.text(1)),
            given.word_value(2),
            given.word_value(3),
        ),
        "set-affinity-of" => set_affinity(given.process()),
        "set-policy-of" => {
            // struct sched_param: a priority, which SCHED_OTHER has none of.
            let priority = 0_i32;
            let place = &raw const priority as u64;
            call(Sysno::sched_setscheduler, [given.process(), 0, place, 0, 0, 0])
        }
        "set-nice" => done(process::setpriority_process(None, given.number(0))),
        "setsid" => process::setsid().map(|pid| pid.to_string()),
        "ioctl" => {
            // SAFETY: nothing here closes a descriptor that was passed in.
            let fd = unsafe { BorrowedFd::borrow_raw(given.number(0)) };
            ioctl(fd, given.word_value(1))
        }
        "tiocsti" => tiocsti(given.0.first().map_or(uapi_ioctl::TIOCSTI, |_| given.word_value(0))),
        "syscall" => by_name(given),
        "int80" => int80(given.word_value(0), given.arguments()),
        "under-filter" => under_filter(given),
        _ => return None,
    })
}

fn setattr_writable(path: &Path) -> Answer {
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
    let attributes = [0, u64::from(uapi::MOUNT_ATTR_RDONLY), 0, 0];
    let at = uapi::AT_FDCWD as i64 as u64;
    call(Sysno::mount_setattr, [at, path.as_ptr() as u64, 0, attributes.as_ptr() as u64, 32, 0])
}

/// Any request, on memory that is large enough for what the kernel writes.
fn ioctl(fd: BorrowedFd<'_>, request: u64) -> Answer {
    let mut memory = [0_u8; 4096];
    let arguments = [fd.as_raw_fd() as u64, request, memory.as_mut_ptr() as u64, 0, 0, 0];
    call(Sysno::ioctl, arguments)
}

/// Puts a byte into the input of a terminal of the probe's own, which is made
/// its controlling one first where that goes.
fn tiocsti(request: u64) -> Answer {
    match File::options().read(true).write(true).open("/dev/tty") {
        Ok(terminal) => ioctl(terminal.as_fd(), request),
        // A pipe has no such request: ENOTTY where the filter lets it through.
        Err(_) => {
            let (reader, _writer) = rustix::pipe::pipe()?;
            ioctl(reader.as_fd(), request)
        }
    }
}

fn by_name(given: &Arguments<'_>) -> Answer {
    let name = given.text(0);
    let number = match Sysno::from_str(name) {
        Ok(sysno) => sysno as u64,
        Err(_) => integer(name),
    };
    numbered(number, given.arguments()).map(|value| value.to_string())
}

/// What a call returns under a filter: 0 or an error number, for each six
/// arguments.
fn under_filter(given: &Arguments<'_>) -> Answer {
    let digits = given.text(0).as_bytes();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("two digits");
        u8::from_str_radix(pair, 16).expect("two digits")
    };
    let filter: Vec<u8> = digits.chunks(2).map(byte).collect();
    rustix::thread::set_no_new_privs(true)?;
    let program = uapi_filter::sock_fprog {
        len: (filter.len() / 8) as u16,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    let mode = u64::from(uapi_filter::SECCOMP_SET_MODE_FILTER);
    raw(Sysno::seccomp, [mode, 0, (&raw const program) as u64, 0, 0, 0])?;
    let words: Vec<u64> = (2..given.0.len()).map(|place| given.word_value(place)).collect();
    let (calls, _) = words.as_chunks::<6>();
    let answers = calls.iter().map(|&arguments| {
        let answer = numbered(given.word_value(1), arguments);
        answer.unwrap_or_else(|errno| errno.raw_os_error() as u64).to_string()
    });
    Ok(answers.collect::<Vec<_>>().join(","))
}

fn call(number: Sysno, arguments: [u64; 6]) -> Answer {
    raw(number, arguments).map(|value| value.to_string())
}

fn raw(number: Sysno, arguments: [u64; 6]) -> Result<u64, Errno> {
    numbered(number as u64, arguments)
}

/// A system call by number, also one that no table has.
#[cfg(target_arch = "x86_64")]
fn numbered(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> Result<u64, Errno> {
    let answer: i64;
    // SAFETY: each caller hands over addresses of its own memory, of the size
    // that the call takes, or none; a test that names a call by hand gives
    // arguments that are harmless.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            out("rcx") _, out("r11") _,
        );
    }
    decoded(answer)
}

/// A system call by number, also one that no table has.
#[cfg(target_arch = "aarch64")]
fn numbered(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> Result<u64, Errno> {
    let answer: i64;
    // SAFETY: as for x86_64.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => answer,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
        );
    }
    decoded(answer)
}

fn decoded(answer: i64) -> Result<u64, Errno> {
    match answer {
        -4095..0 => Err(Errno::from_raw_os_error(-(answer as i32))),
        value => Ok(value as u64),
    }
}

/// A system call of the 32-bit table.
#[cfg(target_arch = "x86_64")]
fn int80(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> Answer {
    let answer: i64;
    // SAFETY: as for the others, of addresses that 32 bits hold: there are
    // none, so the tests give none. The kernel clobbers r8 to r11 on this way
    // in. What rbx and rbp hold for the compiler is put back.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "push rbp",
            "mov rbx, r12",
            "mov rbp, r13",
            "int 0x80",
            "pop rbp",
            "pop rbx",
            inlateout("rax") number => answer,
            in("r12") a, in("rcx") b, in("rdx") c, in("rsi") d, in("rdi") e, in("r13") f,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    decoded(i64::from(answer as i32)).map(|value| value.to_string())
}

#[cfg(not(target_arch = "x86_64"))]
fn int80(_: u64, _: [u64; 6]) -> Answer {
    Err(Errno::NOSYS)
}
