//! Which calls name files or addresses, and where.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use linux_raw_sys::general as uapi;
use rustix::io::{Errno, Result};
use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::{Act, Address, Does, Socket, is_named};
use crate::target::{Target, directory, errno};

/// Where a call has what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// A path at this argument, from the working directory on.
    Path(usize, Does),
    /// The descriptor of a directory at this argument, a path at the next.
    At(usize, Does),
    /// Two paths.
    Two(Does),
    /// Two paths, each behind the descriptor of a directory.
    TwoAt(Does),
    /// A path at the first argument, flags at the second.
    Open,
    /// A directory, a path, and flags.
    OpenAt,
    /// A directory, a path, and the flags in memory: openat2(2).
    OpenHow,
    /// A descriptor that is mapped: mmap(2).
    Mapped,
    /// An address and its length at this argument and the next.
    Address(usize, Socket),
    /// An address in a `struct msghdr`.
    Message,
}

/// Where each of them has it.
const TABLE: [(&str, Where); 61] = [
    ("access", Where::Path(0, Does::Look)),
    ("bind", Where::Address(1, Socket::Bind)),
    ("chdir", Where::Path(0, Does::Enter)),
    ("chmod", Where::Path(0, Does::Change)),
    ("chown", Where::Path(0, Does::Change)),
    ("connect", Where::Address(1, Socket::Connect)),
    ("creat", Where::Path(0, Does::Open(CREAT))),
    ("execve", Where::Path(0, Does::Execute)),
    ("execveat", Where::At(0, Does::Execute)),
    ("faccessat", Where::At(0, Does::Look)),
    ("faccessat2", Where::At(0, Does::Look)),
    ("fchmodat", Where::At(0, Does::Change)),
    ("fchmodat2", Where::At(0, Does::Change)),
    ("fchownat", Where::At(0, Does::Change)),
    ("file_setattr", Where::At(0, Does::Change)),
    ("futimesat", Where::At(0, Does::Change)),
    ("getxattr", Where::Path(0, Does::Look)),
    ("getxattrat", Where::At(0, Does::Look)),
    ("inotify_add_watch", Where::Path(1, Does::Look)),
    ("lchown", Where::Path(0, Does::Change)),
    ("lgetxattr", Where::Path(0, Does::Look)),
    ("link", Where::Two(Does::Link)),
    ("linkat", Where::TwoAt(Does::Link)),
    ("listxattr", Where::Path(0, Does::Look)),
    ("listxattrat", Where::At(0, Does::Look)),
    ("llistxattr", Where::Path(0, Does::Look)),
    ("lremovexattr", Where::Path(0, Does::Change)),
    ("lsetxattr", Where::Path(0, Does::Change)),
    ("lstat", Where::Path(0, Does::Look)),
    ("mkdir", Where::Path(0, Does::Create)),
    ("mkdirat", Where::At(0, Does::Create)),
    ("mknod", Where::Path(0, Does::Create)),
    ("mknodat", Where::At(0, Does::Create)),
    ("mmap", Where::Mapped),
    ("newfstatat", Where::At(0, Does::Look)),
    ("open", Where::Open),
    ("openat", Where::OpenAt),
    ("openat2", Where::OpenHow),
    ("readlink", Where::Path(0, Does::Look)),
    ("readlinkat", Where::At(0, Does::Look)),
    ("removexattr", Where::Path(0, Does::Change)),
    ("removexattrat", Where::At(0, Does::Change)),
    ("rename", Where::Two(Does::Rename)),
    ("renameat", Where::TwoAt(Does::Rename)),
    ("renameat2", Where::TwoAt(Does::Rename)),
    ("rmdir", Where::Path(0, Does::Remove)),
    ("sendmsg", Where::Message),
    ("sendto", Where::Address(4, Socket::Send)),
    ("setxattr", Where::Path(0, Does::Change)),
    ("setxattrat", Where::At(0, Does::Change)),
    ("stat", Where::Path(0, Does::Look)),
    ("statfs", Where::Path(0, Does::Look)),
    ("statx", Where::At(0, Does::Look)),
    ("symlink", Where::Path(1, Does::Create)),
    ("symlinkat", Where::At(1, Does::Create)),
    ("truncate", Where::Path(0, Does::Truncate)),
    ("unlink", Where::Path(0, Does::Remove)),
    ("unlinkat", Where::At(0, Does::Remove)),
    ("utime", Where::Path(0, Does::Change)),
    ("utimensat", Where::At(0, Does::Change)),
    ("utimes", Where::Path(0, Does::Change)),
];

/// The calls of which [`watch`](super::watch) says what they are about.
pub const WATCHED: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut at = 0;
    while at < TABLE.len() {
        names[at] = TABLE[at].0;
        at += 1;
    }
    names
};

/// The flags that make creat(2) of open(2).
const CREAT: u32 = uapi::O_CREAT | uapi::O_WRONLY | uapi::O_TRUNC;

/// The working directory, as a register holds it.
const AT_FDCWD: u64 = uapi::AT_FDCWD as u32 as u64;

/// The longest `struct sockaddr`.
const ADDRESS: usize = 128;

/// What a call is about; `None` if it names nothing.
pub(super) fn act(target: &Target, name: &str, arguments: [u64; 6]) -> Result<Option<Act>> {
    let Some((_, place)) = TABLE.iter().find(|(call, _)| *call == name) else { return Ok(None) };
    let one = |does, directory, address| {
        Ok(path(target, directory, address)?.map(|path| Act::File { does, path, to: None }))
    };
    let two = |does, [from_at, from, to_at, to]: [u64; 4]| {
        let (from, to) = (path(target, from_at, from)?, path(target, to_at, to)?);
        Ok(from.map(|path| Act::File { does, path, to }))
    };
    let [first, second, third, fourth, ..] = arguments;
    match *place {
        Where::Path(at, does) => one(does, AT_FDCWD, arguments[at]),
        Where::At(at, does) => one(does, arguments[at], arguments[at + 1]),
        Where::Two(does) => two(does, [AT_FDCWD, first, AT_FDCWD, second]),
        Where::TwoAt(does) => two(does, [first, second, third, fourth]),
        Where::Open => one(Does::Open(second as u32), AT_FDCWD, first),
        Where::OpenAt => one(Does::Open(third as u32), first, second),
        Where::OpenHow => {
            let [flags] = target.words(third)?;
            one(Does::Open(flags as u32), first, second)
        }
        Where::Mapped => mapped(target, arguments[4]),
        Where::Address(at, does) => socket(target, does, first, [arguments[at], arguments[at + 1]]),
        // The address and its length are the first two fields.
        Where::Message => {
            let [address, length] = target.words(second)?;
            socket(target, Socket::Send, first, [address, length & 0xffff_ffff])
        }
    }
}

/// A path that a call names, from the root of the command's view on; `None` if
/// it is empty, and the descriptor beside it is what is meant.
fn path(target: &Target, at: u64, address: u64) -> Result<Option<PathBuf>> {
    if address == 0 {
        return Ok(None);
    }
    let named = target.path(address)?;
    if named.as_os_str().is_empty() {
        return Ok(None);
    }
    if named.is_absolute() {
        // After chroot(2) that is not where the view begins.
        let below = named.strip_prefix("/").unwrap_or(&named);
        return Ok(Some(leads_to(target, "root")?.join(below)));
    }
    Ok(Some(start(target, at)?.join(named)))
}

/// The directory that a relative path starts from.
fn start(target: &Target, at: u64) -> Result<PathBuf> {
    // A descriptor is of 32 bits, whatever the register holds.
    match at as i32 {
        uapi::AT_FDCWD => leads_to(target, "cwd"),
        at => leads_to(target, &format!("fd/{at}")),
    }
}

fn leads_to(target: &Target, link: &str) -> Result<PathBuf> {
    fs::read_link(directory(target.tid).join(link)).map_err(errno)
}

/// A file that is mapped as code.
fn mapped(target: &Target, descriptor: u64) -> Result<Option<Act>> {
    let link = format!("fd/{}", descriptor as i32);
    let path = leads_to(target, &link)?;
    let is_file = path.is_absolute() && is_named(target, &link);
    Ok(is_file.then_some(Act::File { does: Does::Map, path, to: None }))
}

fn socket(
    target: &Target,
    does: Socket,
    descriptor: u64,
    [address, length]: [u64; 2],
) -> Result<Option<Act>> {
    if address == 0 {
        return Ok(None);
    }
    let mut bytes = [0; ADDRESS];
    let length = usize::try_from(length).unwrap_or(ADDRESS).min(ADDRESS);
    let read = bytes.get_mut(..length).ok_or(Errno::FAULT)?;
    target.memory()?.read_exact_at(read, address).map_err(|_| Errno::FAULT)?;
    let Some(mut address) = Address::parse(read) else { return Ok(None) };
    if let Address::Path(path) = &mut address {
        *path = match path.is_absolute() {
            true => leads_to(target, "root")?.join(path.strip_prefix("/").unwrap_or(path)),
            false => leads_to(target, "cwd")?.join(Path::new(path)),
        };
    }
    let kind = kind(target, descriptor as i32).ok();
    Ok(Some(Act::Socket { does, address, kind }))
}

/// The kind of a socket of the command's.
fn kind(target: &Target, descriptor: i32) -> Result<SocketType> {
    // A crate checks that what it calls with is a descriptor.
    if descriptor < 0 {
        return Err(Errno::BADF);
    }
    let process = pidfd_open(target.status.pid, PidfdFlags::empty())?;
    socket_type(pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn own() -> Target {
        Target::of(rustix::thread::gettid()).expect("it is this thread")
    }

    fn said(name: &str, arguments: [u64; 6]) -> Option<Act> {
        act(&own(), name, arguments).expect("its memory is read")
    }

    fn address(text: &CStr) -> u64 {
        text.as_ptr().addr() as u64
    }

    fn file(does: Does, path: &str, to: Option<&str>) -> Option<Act> {
        Some(Act::File { does, path: path.into(), to: to.map(PathBuf::from) })
    }

    #[test]
    fn a_path_starts_where_its_call_says() {
        let (absolute, relative) = (address(c"/etc/x"), address(c"x/../y"));
        let open = said("openat", [AT_FDCWD, absolute, 2, 0, 0, 0]);
        assert_eq!(open, file(Does::Open(2), "/etc/x", None));
        let here = std::env::current_dir().expect("there is one").join("x/../y");
        let here = here.to_str().expect("it is text");
        let stat = [relative, 0, 0, 0, 0, 0];
        assert_eq!(said("getxattr", stat), file(Does::Look, here, None));
        let etc = fs::File::open("/etc").expect("it is opened");
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&etc) as u64;
        let unlink = said("unlinkat", [descriptor, relative, 0, 0, 0, 0]);
        assert_eq!(unlink, file(Does::Remove, "/etc/x/../y", None));
        let rename = said("renameat2", [descriptor, relative, AT_FDCWD, absolute, 0, 0]);
        assert_eq!(rename, file(Does::Rename, "/etc/x/../y", Some("/etc/x")));
        assert_eq!(said("newfstatat", [descriptor, address(c""), 0, 0, 0, 0]), None);
        assert_eq!(said("getpid", [0; 6]), None);
    }

    #[test]
    fn what_lies_in_structures_is_found() {
        let how = [0x42_u64, 0, 0];
        let how = how.as_ptr().addr() as u64;
        let open = said("openat2", [AT_FDCWD, address(c"/x"), how, 24, 0, 0]);
        assert_eq!(open, file(Does::Open(0x42), "/x", None));
        let mut inet = [0; 8];
        inet[..2].copy_from_slice(&(linux_raw_sys::net::AF_INET as u16).to_ne_bytes());
        inet[2..].copy_from_slice(&[0, 53, 10, 0, 0, 1]);
        let message = [inet.as_ptr().addr() as u64, 8];
        let sent = said("sendmsg", [u64::MAX, message.as_ptr().addr() as u64, 0, 0, 0, 0]);
        let to = Address::Ip("10.0.0.1:53".parse().expect("an address"));
        assert_eq!(sent, Some(Act::Socket { does: Socket::Send, address: to, kind: None }));
        // On a socket that is connected there is none.
        assert_eq!(said("sendto", [3, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn of_what_is_mapped_files_have_names() {
        let program = fs::File::open("/proc/self/exe").expect("it is opened");
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&program) as u64;
        let own = std::env::current_exe().expect("it has a name");
        let map = said("mmap", [0, 4096, 5, 2, descriptor, 0]);
        assert_eq!(map, file(Does::Map, own.to_str().expect("it is text"), None));
    }
}
