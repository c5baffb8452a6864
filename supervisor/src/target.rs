//! The thread that calls: who it is, what it points at, where it stands.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// As long as a path may be, with its NUL.
const PATH_MAX: usize = 4096;
const PAGE: u64 = 4096;
/// How many arguments of a program, and bytes of each, an event has.
const ARGUMENTS: usize = 1024;

/// Real, effective, saved and file system ids, and the groups beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: [u32; 4],
    pub(crate) gid: [u32; 4],
    pub(crate) groups: Vec<u32>,
}

/// What /proc says of a thread, proc_pid_status(5).
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) pid: Pid,
    pub(crate) parent: Option<Pid>,
    pub(crate) ids: Ids,
    pub(crate) umask: u32,
    /// How many filters of seccomp(2) it is under.
    filters: u32,
    /// The process's number and the thread's, in the innermost and in the
    /// outermost of their PID namespaces that are seen.
    inside: (u32, u32),
    outside: (u32, u32),
}

/// A thread that waits. It is named by its number, so what is found out is
/// about it only if its call still waits afterwards.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) tid: Pid,
    pub(crate) status: Status,
    memory: OnceCell<File>,
}

impl Ids {
    pub(crate) fn of_this_thread() -> Result<Self> {
        Ok(Status::of_this_thread()?.ids)
    }
}

impl Status {
    pub(crate) fn of_this_thread() -> Result<Self> {
        Self::read(Path::new("/proc/thread-self"))
    }

    /// Whether it is under a filter that somebody is not under, as the processes
    /// of a command are, and nobody above them.
    pub(crate) const fn is_below(&self, other: &Self) -> bool {
        self.filters > other.filters
    }

    /// Everybody. Who cannot be read, other than by having ended, is not left out:
    /// it may be one of those that something is to hold for.
    pub(crate) fn all() -> Result<Vec<(Pid, Self)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").map_err(errno)? {
            let name = entry.map_err(errno)?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok());
            let Some(pid) = number.and_then(pid_of) else { continue };
            match Self::of(pid) {
                Err(error) if is_gone(error) => {}
                status => found.push((pid, status?)),
            }
        }
        Ok(found)
    }

    /// Of whoever has this number now.
    pub(crate) fn of(pid: Pid) -> Result<Self> {
        Self::read(&directory(pid))
    }

    fn read(directory: &Path) -> Result<Self> {
        let text = fs::read(directory.join("status")).map_err(errno)?;
        let text = String::from_utf8_lossy(&text);
        // Who has ended while it was written has no number any more.
        if text.lines().any(|line| line == "Tgid:\t0") {
            return Err(Errno::SRCH);
        }
        Self::parse(&text).ok_or(Errno::PROTO)
    }

    fn parse(text: &str) -> Option<Self> {
        let words = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.split_ascii_whitespace())
        };
        let numbers =
            |name| -> Option<Vec<u32>> { words(name)?.map(|word| word.parse().ok()).collect() };
        let four = |name| -> Option<[u32; 4]> { numbers(name)?.try_into().ok() };
        let pid = |name| numbers(name).map(|found| found.first().and_then(|&pid| pid_of(pid)));
        Some(Self {
            pid: pid("Tgid")??,
            parent: pid("PPid")?,
            ids: Ids { uid: four("Uid")?, gid: four("Gid")?, groups: numbers("Groups")? },
            filters: *numbers("Seccomp_filters")?.first()?,
            umask: match words("Umask") {
                Some(mut mask) => u32::from_str_radix(mask.next()?, 8).ok()?,
                // A thread that has ended has none; others of its process may be there.
                None => 0o777,
            },
            inside: (*numbers("NStgid")?.last()?, *numbers("NSpid")?.last()?),
            outside: (*numbers("NStgid")?.first()?, *numbers("NSpid")?.first()?),
        })
    }
}

impl Status {
    /// The numbers of the process and of its thread: those that this process
    /// sees, or those that it has in its own PID namespace.
    pub(crate) const fn numbers(&self, seen: bool) -> (u32, u32) {
        if seen { self.outside } else { self.inside }
    }
}

fn pid_of(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

/// What a process may have of something by getrlimit(2), as /proc names it: now, and
/// at most. `None` is without limit.
pub(crate) fn resource_limits(pid: Pid, name: &str) -> Result<[Option<u64>; 2]> {
    let text = fs::read_to_string(directory(pid).join("limits")).map_err(errno)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or(Errno::PROTO)?;
    let mut words = line.split_ascii_whitespace().map(|word| match word {
        "unlimited" => Ok(None),
        word => word.parse().map(Some).map_err(|_| Errno::PROTO),
    });
    let mut next = || words.next().unwrap_or(Err(Errno::PROTO));
    Ok([next()?, next()?])
}

impl Target {
    pub(crate) fn of(tid: Pid) -> Result<Self> {
        Ok(Self { tid, status: Status::of(tid)?, memory: OnceCell::new() })
    }

    /// What one of its links in /proc leads to: its root, say.
    pub(crate) fn link(&self, name: &str) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        openat(CWD, directory(self.tid).join(name), flags, Mode::empty())
    }

    /// A text in its memory, up to its NUL.
    pub(crate) fn path(&self, address: u64) -> Result<PathBuf> {
        let memory = self.memory()?;
        Ok(OsString::from_vec(text(memory, address, PATH_MAX)?.ok_or(Errno::NAMETOOLONG)?).into())
    }

    /// An array of texts in its memory, up to its null.
    pub(crate) fn strings(&self, mut address: u64) -> Result<Vec<OsString>> {
        let memory = self.memory()?;
        let mut found = Vec::new();
        while address != 0 && found.len() < ARGUMENTS {
            let [pointer] = self.words(address)?;
            if pointer == 0 {
                break;
            }
            found.push(OsString::from_vec(text(memory, pointer, PATH_MAX)?.unwrap_or_default()));
            address = address.wrapping_add(8);
        }
        Ok(found)
    }

    /// So many bytes of its memory.
    pub(crate) fn bytes(&self, address: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.memory()?.read_exact_at(&mut bytes, address).map_err(|_| Errno::FAULT)?;
        Ok(bytes)
    }

    /// So many words of its memory.
    pub(crate) fn words<const COUNT: usize>(&self, address: u64) -> Result<[u64; COUNT]> {
        let bytes = self.bytes(address, COUNT * size_of::<u64>())?;
        let (words, _) = bytes.as_chunks();
        Ok(std::array::from_fn(|place| u64::from_ne_bytes(words[place])))
    }

    pub(crate) fn memory(&self) -> Result<&File> {
        if self.memory.get().is_none() {
            let memory = File::open(directory(self.tid).join("mem")).map_err(errno)?;
            return Ok(self.memory.get_or_init(|| memory));
        }
        self.memory.get().ok_or(Errno::IO)
    }
}

pub(crate) fn directory(tid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{tid}"))
}

/// What stands up to a NUL; `None` where there is none in `most` bytes.
fn text(memory: &File, mut address: u64, most: usize) -> Result<Option<Vec<u8>>> {
    let mut found = Vec::new();
    while found.len() < most {
        // What follows on the next page may not be there.
        let mut part = [0; PAGE as usize];
        let rest = usize::try_from(PAGE - address % PAGE).map_err(|_| Errno::FAULT)?;
        let read = memory.read_at(&mut part[..rest.min(most - found.len())], address);
        let part = &part[..read.map_err(|_| Errno::FAULT)?];
        if part.is_empty() {
            return Err(Errno::FAULT);
        }
        if let Some(end) = part.iter().position(|&byte| byte == 0) {
            found.extend_from_slice(&part[..end]);
            return Ok(Some(found));
        }
        found.extend_from_slice(part);
        address = address.wrapping_add(part.len() as u64);
    }
    Ok(None)
}

/// Whether an error says that a process is not there any more.
pub(crate) fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::SRCH)
}

/// The number of an error of std's.
pub(crate) fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_this_thread_is_read() {
        let status = Status::read(Path::new("/proc/thread-self")).expect("it is read");
        assert_eq!(status.pid, rustix::process::getpid());
        assert_eq!(status.ids.uid[1], rustix::process::geteuid().as_raw());
        assert_eq!(status.ids.gid[1], rustix::process::getegid().as_raw());
    }

    #[test]
    fn memory_is_read_as_it_is() {
        let own = Target::of(rustix::thread::gettid()).expect("it is this thread");
        let long = std::ffi::CString::new(vec![b'a'; 4095]).expect("it has no NUL");
        let too_long = std::ffi::CString::new(vec![b'a'; 4096]).expect("it has no NUL");
        let address = |text: &std::ffi::CStr| text.as_ptr().addr() as u64;
        assert_eq!(own.path(address(c"/etc/x")), Ok("/etc/x".into()));
        assert_eq!(own.path(address(&long)).map(|path| path.as_os_str().len()), Ok(4095));
        assert_eq!(own.path(address(&too_long)), Err(Errno::NAMETOOLONG));
        assert_eq!(own.path(1), Err(Errno::FAULT));
        let array = [address(c"a"), address(c"b"), 0];
        let found = own.strings(array.as_ptr().addr() as u64);
        assert_eq!(found, Ok(vec!["a".into(), "b".into()]));
    }
}
