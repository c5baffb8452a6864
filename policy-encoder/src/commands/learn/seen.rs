//! Who watches a command that nothing confines, and what there was to see.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use launcher_supervisor::Answer;
use launcher_supervisor::watch::{Act, Address, Call, Does, Socket};
use linux_raw_sys::general as uapi;
use linux_raw_sys::ptrace::{SECCOMP_RET_ACTION_FULL, SECCOMP_RET_DATA, SECCOMP_RET_ERRNO};
use linux_raw_sys::ptrace::{SECCOMP_RET_ALLOW, SECCOMP_RET_LOG};
use policy_encoder::learn::{Need, Observed, Peer};
use policy_encoder::seccomp::simulate::Simulator;
use rustix::io::Errno;
use rustix::net::SocketType;

use super::super::watched::{Watcher, data};

/// Calls that no line of a policy opens, or that programs go on without: to these
/// the answer is what it would be under the policy.
const KEPT: [&str; 7] = [
    "clone3",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioctl",
    "socket",
    "socketpair",
];

/// As many links as a path may lead through, path_resolution(7).
const LINKS: usize = 40;

/// The watcher.
#[derive(Default)]
pub(super) struct Learner {
    filter: Option<Simulator>,
    seen: Observed,
    /// UNIX sockets that the command has made itself.
    served: BTreeSet<PathBuf>,
}

/// Where a path leads.
struct Real {
    path: PathBuf,
    kind: Option<fs::FileType>,
}

impl Learner {
    /// With the filter that would refuse.
    pub(super) fn new(filter: &[u8]) -> Self {
        Self { filter: Simulator::new(filter).ok(), ..Self::default() }
    }

    /// What there was to see.
    pub(super) fn take(&mut self) -> Observed {
        mem::take(&mut self.seen)
    }

    /// The answer to a call that the profile refuses, if it is one of those.
    fn refused(&mut self, call: &Call<'_>) -> Option<Answer> {
        let data = data(call);
        let value = self.filter.as_ref()?.run(&data).value;
        let action = value & SECCOMP_RET_ACTION_FULL;
        if matches!(action, SECCOMP_RET_ALLOW | SECCOMP_RET_LOG) {
            return None;
        }
        let name = call.name.filter(|name| !KEPT.contains(name));
        match name {
            Some(name) => drop(self.seen.calls.insert(name.to_owned())),
            None if action == SECCOMP_RET_ERRNO => {
                let errno = (value & SECCOMP_RET_DATA) as i32;
                return Some(Answer::Fail(Errno::from_raw_os_error(errno)));
            }
            None => {}
        }
        Some(Answer::Continue)
    }

    fn note(&mut self, act: &Act) {
        match act {
            Act::File { does, path, to } => {
                self.file(*does, path);
                if let Some(to) = to {
                    self.file(Does::Create, to);
                }
            }
            Act::Socket { does, address, kind } => self.socket(*does, address, *kind),
        }
    }

    fn file(&mut self, does: Does, path: &Path) {
        // What it says of processes is said to each of its own.
        if path.starts_with("/proc") {
            return;
        }
        // Of a name that is made or removed the last part is no link to follow.
        let follow = !matches!(does, Does::Create | Does::Remove | Does::Rename | Does::Link);
        let Some(real) = self.walk(path, follow) else { return };
        let directory = real.kind.is_some_and(|kind| kind.is_dir());
        let need = Need { directory, ..Need::default() };
        let read = Need { read: true, ..need };
        let name = Need { name: true, ..need };
        match does {
            Does::Look if directory => {}
            Does::Look | Does::Enter => self.existing(&real, read),
            Does::Open(flags) => self.open(flags, &real, need),
            Does::Truncate | Does::Change => self.existing(&real, Need { write: true, ..need }),
            Does::Create => self.made(&real, name),
            Does::Remove | Does::Rename | Does::Link => self.existing(&real, name),
            Does::Execute => self.execute(&real, read, 0),
            Does::Map => self.existing(&real, Need { execute: true, ..read }),
        }
    }

    fn open(&mut self, flags: u32, real: &Real, need: Need) {
        let read = Need { read: true, ..need };
        if flags & uapi::O_PATH != 0 {
            if !need.directory {
                self.existing(real, read);
            }
            return;
        }
        if flags & uapi::O_TMPFILE == uapi::O_TMPFILE {
            let file = Real { path: real.path.join("file"), kind: None };
            return self.need(&file, Need { name: true, ..Need::default() });
        }
        let is_read = flags & uapi::O_ACCMODE != uapi::O_WRONLY;
        let is_written = flags & uapi::O_ACCMODE != uapi::O_RDONLY || flags & uapi::O_TRUNC != 0;
        let made = flags & uapi::O_CREAT != 0 && real.kind.is_none();
        let need = Need { read: is_read, write: is_written, name: made, ..need };
        match made {
            true => self.made(real, need),
            false => self.existing(real, need),
        }
    }

    fn execute(&mut self, real: &Real, need: Need, depth: usize) {
        self.existing(real, Need { execute: true, ..need });
        let is_file = real.kind.is_some_and(|kind| kind.is_file());
        // Scripts have interpreters, which may be scripts, binfmt_misc aside.
        if let Some(interpreter) = is_file.then(|| interpreter(&real.path)).flatten()
            && depth < 4
            && let Some(real) = self.walk(&interpreter, true)
        {
            self.execute(&real, need, depth + 1);
        }
    }

    /// What is not there is needed by nobody.
    fn existing(&mut self, real: &Real, need: Need) {
        if real.kind.is_some() {
            self.need(real, need);
        }
    }

    fn made(&mut self, real: &Real, need: Need) {
        let above = real.path.parent();
        if real.kind.is_none() && above.is_some_and(Path::exists) {
            self.seen.made.insert(real.path.clone());
            self.need(real, need);
        }
    }

    fn need(&mut self, real: &Real, need: Need) {
        let known = self.seen.files.entry(real.path.clone()).or_default();
        *known = known.and(need);
    }

    fn socket(&mut self, does: Socket, address: &Address, kind: Option<SocketType>) {
        match (does, address) {
            (_, Address::Ip(address)) => {
                let datagram = kind != Some(SocketType::STREAM);
                let peer = Peer { address: *address, datagram };
                // Port 0 asks which address would be used, and sends nothing.
                match does {
                    Socket::Bind => drop(self.seen.bound.insert(peer)),
                    _ if address.port() != 0 => drop(self.seen.connected.insert(peer)),
                    _ => {}
                }
            }
            (Socket::Bind, Address::Path(path)) => {
                self.file(Does::Create, path);
                self.served.insert(path.clone());
            }
            (_, Address::Path(path)) => {
                let real = self.walk(path, true);
                let is_there = real.as_ref().and_then(|real| real.kind);
                if is_there.is_some_and(|kind| kind.is_socket()) && !self.served.contains(path) {
                    self.seen.unix.insert(path.clone());
                }
            }
            (_, Address::Abstract(_) | Address::Other(_)) => {}
        }
    }

    /// Follows a path, and remembers the links on the way; `None` if it leads
    /// through too many of them.
    fn walk(&mut self, path: &Path, follow: bool) -> Option<Real> {
        let mut links = Vec::new();
        let mut real = PathBuf::from("/");
        let mut left: Vec<_> = names(path);
        while let Some(name) = left.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            let next = real.join(&name);
            let is_last = left.is_empty();
            let content = fs::read_link(&next).ok().filter(|_| follow || !is_last);
            let Some(content) = content else {
                real = next;
                continue;
            };
            links.push((next, content.clone()));
            if links.len() > LINKS {
                return None;
            }
            if content.is_absolute() {
                real = "/".into();
            }
            left.extend(names(&content));
        }
        let kind = fs::symlink_metadata(&real).ok().map(|metadata| metadata.file_type());
        if kind.is_some() {
            self.seen.links.extend(links);
        }
        Some(Real { path: real, kind })
    }
}

impl Watcher for Learner {
    fn judge(&mut self, call: &Call<'_>) -> Answer {
        if let Some(answer) = self.refused(call)
            && answer != Answer::Continue
        {
            return answer;
        }
        if let Some(act) = &call.act {
            self.note(act);
        }
        Answer::Continue
    }
}

/// The names of a path, the first one last.
fn names(path: &Path) -> Vec<std::ffi::OsString> {
    let names = path.components().filter_map(|part| match part {
        std::path::Component::Normal(name) => Some(name.to_owned()),
        std::path::Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

/// What a script names behind `#!`, execve(2).
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let word = line.trim_ascii().split(|byte| byte.is_ascii_whitespace()).next()?;
    (!word.is_empty()).then(|| Path::new(std::ffi::OsStr::from_bytes(word)).to_owned())
}
