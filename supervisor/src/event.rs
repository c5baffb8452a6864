//! What a policy function is told.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::process::Pid;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Files and directories.
    File,
    /// Programs.
    Process,
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
    /// For files the object that will be opened, as the command could name it,
    /// no symbolic links left; for a file to be created, where. For programs
    /// what the call says.
    pub path: PathBuf,
    /// Device and inode of what will be opened; `None` where it is created, and
    /// for programs.
    pub identity: Option<(u64, u64)>,
    /// `O_*` of an open.
    pub flags: u32,
    /// The arguments of a program; only the first 1,024.
    pub argv: Vec<OsString>,
}

impl SyscallEvent {
    /// Whether a program is about to be executed.
    pub fn is_exec(&self) -> bool {
        self.category == Category::Process
    }

    /// Whether a file is about to be opened.
    pub fn is_open(&self) -> bool {
        self.category == Category::File
    }

    /// Whether what is opened can be written, truncated or created by it.
    pub fn is_write(&self) -> bool {
        const WRITES: u32 = linux_raw_sys::general::O_ACCMODE
            | linux_raw_sys::general::O_TRUNC
            | linux_raw_sys::general::O_CREAT;
        self.is_open() && self.flags & WRITES != 0
    }

    /// Whether the path has this text in it.
    pub fn path_contains(&self, text: &str) -> bool {
        contains(self.path.as_os_str().as_bytes(), text)
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
