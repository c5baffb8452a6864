//! Watches what a command calls, and changes nothing about it.
//!
//! What a call is about is read from memory that the command may change before
//! the kernel reads it again, so this tells of programs that do not try to
//! deceive whoever watches them. It confines nobody.

mod address;
mod calls;

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use rustix::net::SocketType;
use syscalls::Sysno;

pub use address::Address;
pub use calls::WATCHED;

use crate::target::Target;
use crate::{Answer, Listener, Notification, sys};

/// The kernel's name for the calls of this architecture.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = linux_raw_sys::ptrace::AUDIT_ARCH_X86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = linux_raw_sys::ptrace::AUDIT_ARCH_AARCH64;

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Does {
    /// Asked about: whether it is there, what it is, where a link leads.
    Look,
    /// Made the working directory.
    Enter,
    /// Opened with these `O_*`.
    Open(u32),
    /// Emptied or cut by its name.
    Truncate,
    /// Made: a directory, a link, a device.
    Create,
    /// Removed.
    Remove,
    /// Given another name.
    Rename,
    /// Given one more name.
    Link,
    /// Its mode, owner, times or attributes changed.
    Change,
    /// Executed.
    Execute,
    /// Mapped as a program's code, as the libraries of one are.
    Map,
}

/// What is done with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Socket {
    /// connect(2)
    Connect,
    /// bind(2)
    Bind,
    /// A message to an address.
    Send,
}

/// What a call is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A file.
    File {
        /// What is done.
        does: Does,
        /// Which, from the root of the command's view on; symbolic links are
        /// as the call names them.
        path: PathBuf,
        /// The other name, of a rename or a link.
        to: Option<PathBuf>,
    },
    /// A socket and an address.
    Socket {
        /// What is done.
        does: Socket,
        /// The address.
        address: Address,
        /// Its kind, where it is known.
        kind: Option<SocketType>,
    },
}

/// A call that waits.
#[derive(Debug)]
pub struct Call<'l> {
    /// What it is answered by.
    pub listener: &'l Listener,
    /// What the kernel says of it.
    pub asked: Notification,
    /// Its name; `None` if it is of another architecture's table or has none.
    pub name: Option<&'static str>,
    /// What it is about, as far as it could be read.
    pub act: Option<Act>,
}

/// The kernel's Landlock ABI; 0 where it has none.
pub fn landlock_abi() -> u8 {
    sys::landlock_abi()
}

/// Tells of each call that a listener is asked about, and answers what it is told,
/// until nobody is left who could call.
///
/// # Errors
///
/// poll(2), ioctl(2)
pub fn watch(listener: &Listener, mut judge: impl FnMut(&Call<'_>) -> Answer) -> io::Result<()> {
    while let Some(asked) = listener.receive()? {
        let answer = judge(&Call::new(listener, asked));
        listener.answer(asked.id, answer)?;
    }
    Ok(())
}

impl<'l> Call<'l> {
    fn new(listener: &'l Listener, asked: Notification) -> Self {
        let name = match asked.architecture == ARCHITECTURE {
            true => usize::try_from(asked.call).ok().and_then(Sysno::new).map(|call| call.name()),
            false => None,
        };
        let target = asked.thread.map(Target::of).and_then(Result::ok);
        let act = target
            .zip(name)
            .and_then(|(target, name)| calls::act(&target, name, asked.arguments).ok().flatten());
        // What was read is of its thread only if that still waits.
        let act = act.filter(|_| listener.is_waiting(asked.id));
        Self { listener, asked, name, act }
    }

    /// Whether the command can see something at a path; `None` where that
    /// cannot be found out.
    pub fn sees(&self, path: &Path) -> Option<bool> {
        let target = Target::of(self.asked.thread?).ok()?;
        let root = target.link("root").ok()?;
        let below = path.strip_prefix("/").unwrap_or(path);
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let found = openat2(root, below, flags, Mode::empty(), ResolveFlags::IN_ROOT);
        let seen = match found {
            Ok(_) => true,
            Err(Errno::NOENT | Errno::NOTDIR) => false,
            Err(_) => return None,
        };
        self.listener.is_waiting(self.asked.id).then_some(seen)
    }
}

/// Whether a descriptor of a thread is of a file on a disk, whose name says
/// where it is.
fn is_named(target: &Target, link: &str) -> bool {
    target.link(link).and_then(fstat).is_ok_and(|stat| stat.st_nlink > 0)
}
