//! What a policy function is told.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::process::Pid;

use crate::calls;
use crate::target::Target;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Files and directories.
    File,
    /// Programs, and processes and threads that are started.
    Process,
    /// Memory that is mapped.
    Memory,
    /// Hosts.
    Network,
}

/// What a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// `IPPROTO_*`
    Other(u32),
}

/// What a verdict is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmness {
    /// What was judged is what happens: the supervisor does it itself.
    Firm,
    /// The kernel reads the arguments again after the verdict, and whoever
    /// shares the memory may have changed them by then. It decides about honest
    /// programs; what holds against others is the static policy.
    BestEffort,
    /// The verdict is not asked for its answer: the call is made whatever it is.
    Observed,
}

/// A call that waits for a verdict.
#[derive(Clone, Debug)]
pub struct SyscallEvent {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub category: Category,
    /// What a verdict about it is worth.
    pub firmness: Firmness,
    /// The process that calls.
    pub pid: Pid,
    /// Its thread that calls.
    pub tid: Pid,
    /// The parent of the process; `None` where this process cannot see it.
    pub parent: Option<Pid>,
    /// For files the object that will be opened, changed or looked at, as the command could name it,
    /// no symbolic links left; for a file to be created, where. For programs
    /// what the call says.
    pub path: PathBuf,
    /// Where something gets a name by a call that has two: what it is renamed to,
    /// where it is linked. What a symbolic link says, and the name of an extended attribute.
    pub second: Option<PathBuf>,
    /// Device and inode of what is there; `None` where it is created, and for
    /// programs.
    pub identity: Option<(u64, u64)>,
    /// `O_*` of an open, `AT_*` and `RENAME_*` of a change or a look, `MSG_*` of what is sent,
    /// `MAP_*` and `MREMAP_*` of memory, `CLONE_*` of what is started.
    pub flags: u32,
    /// The host that is connected to or sent to, or the address that a socket is
    /// bound to. IPv4 is IPv4 however it is written, and to connect or send to no
    /// address in particular is to do so to this machine's own.
    pub host: Option<IpAddr>,
    /// The port there.
    pub port: Option<u16>,
    /// What the socket speaks.
    pub protocol: Option<Protocol>,
    /// How many bytes are to be sent or mapped; of `brk` how large the heap gets.
    pub size: Option<u64>,
    /// The arguments of a program; only the first 1,024.
    pub argv: Vec<OsString>,
    /// The environment of a program, if it is asked for
    /// ([`Supervisor::environment`](crate::Supervisor::environment)); only the first
    /// 1,024 variables.
    pub environment: Option<Vec<OsString>>,
    /// Whether it is denied whatever the verdict is, by what was said before
    /// ([`PolicyContext`](crate::PolicyContext)).
    pub denied: bool,
}

impl SyscallEvent {
    /// What is known of a call before it is known what it is about.
    pub(crate) fn new(name: &'static str, category: Category, target: &Target) -> Self {
        Self {
            name,
            category,
            firmness: calls::firmness(name),
            pid: target.status.pid,
            tid: target.tid,
            parent: target.status.parent,
            path: PathBuf::new(),
            second: None,
            identity: None,
            flags: 0,
            host: None,
            port: None,
            protocol: None,
            size: None,
            argv: Vec::new(),
            environment: None,
            denied: false,
        }
    }

    /// Whether a program is about to be executed.
    pub fn is_exec(&self) -> bool {
        matches!(self.name, "execve" | "execveat")
    }

    /// Whether a process is about to be started, rather than a thread.
    pub fn is_fork(&self) -> bool {
        let is_start = self.category == Category::Process && !self.is_exec();
        is_start && self.flags & linux_raw_sys::general::CLONE_THREAD == 0
    }

    /// Whether a file is about to be opened.
    pub fn is_open(&self) -> bool {
        matches!(self.name, "open" | "openat" | "creat")
    }

    /// Whether something is changed by it, or what is opened can be.
    pub fn is_write(&self) -> bool {
        const WRITES: u32 = linux_raw_sys::general::O_ACCMODE
            | linux_raw_sys::general::O_TRUNC
            | linux_raw_sys::general::O_CREAT;
        match self.category {
            Category::File if self.is_open() => self.flags & WRITES != 0,
            Category::File => !self.is_look(),
            Category::Process | Category::Network | Category::Memory => false,
        }
    }

    /// Whether a file is only looked at: what it is, whether it may be used, what a
    /// link says.
    pub fn is_look(&self) -> bool {
        const LOOKS: [&str; 9] = [
            "stat",
            "lstat",
            "newfstatat",
            "statx",
            "access",
            "faccessat",
            "faccessat2",
            "readlink",
            "readlinkat",
        ];
        LOOKS.contains(&self.name)
    }

    /// Whether a socket is about to be connected.
    pub fn is_connect(&self) -> bool {
        self.name == "connect"
    }

    /// Whether a socket is about to get an address of this machine.
    pub fn is_bind(&self) -> bool {
        self.name == "bind"
    }

    /// Whether something is about to be sent to an address.
    pub fn is_send(&self) -> bool {
        self.category == Category::Network && !self.is_connect() && !self.is_bind()
    }

    /// Whether the path has this text in it.
    pub fn path_contains(&self, text: &str) -> bool {
        contains(self.path.as_os_str().as_bytes(), text)
    }

    /// Whether one of the variables of the environment, as far as that is told, has
    /// this text in it.
    pub fn environment_contains(&self, text: &str) -> bool {
        self.environment.iter().flatten().any(|variable| contains(variable.as_bytes(), text))
    }

    /// Whether one of the arguments has this text in it.
    pub fn argv_contains(&self, text: &str) -> bool {
        self.argv.iter().any(|argument| contains(argument.as_bytes(), text))
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn bytes_contain_a_text_anywhere() {
        assert!(contains(b"/usr/bin/curl", "curl") && contains(b"curl", "curl"));
        assert!(contains(b"anything", "") && !contains(b"cur", "curl"));
    }
}
