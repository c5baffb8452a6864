//! What an attack finds: where things are that it must not reach.
//!
//! Below [`BASE`] lie `secret`, which no policy speaks of; `data`, which may be
//! read; `writable`, which may be written; and `project`, which may be written,
//! but for `masked` and `hidden`, which are denied, and `.git`, which is
//! protected; `project/fixed` may only be read. `bin` holds this program.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};

use crate::sys;

/// Where its files are.
pub const BASE: &str = "/mnt/battery";

/// The content of everything that must not be read.
pub const SECRET: &str = "a secret";

/// The variable that holds a secret, too.
pub const VARIABLE: &str = "BATTERY_SECRET";

/// The process outside, one of the same user.
pub const VICTIM: u64 = 30_001;

/// A signal that it is only sent by a file.
pub const SIGNAL_OF_FILES: i32 = 40;

/// Ports of the host at which somebody listens.
pub const TCP_PORT: u16 = 4001;
/// The same for UDP.
pub const UDP_PORT: u16 = 4002;

/// The abstract UNIX socket at which somebody listens.
pub const ABSTRACT: &str = "battery";

/// The key of the System V objects of the host.
pub const IPC_KEY: u64 = 0xba_77e7;

/// The name of the host's message queue.
pub const QUEUE: &str = "battery";

/// The file in the host's shared memory.
pub const SHARED_MEMORY: &str = "/dev/shm/battery";

/// Who owns the program that changes the user id.
pub const OWNER: u32 = 12_345;

/// Descriptors that the caller left open.
pub mod leaked {
    /// The directory `secret`.
    pub const DIRECTORY: u64 = 20;
    /// The file `secret/file`, to read.
    pub const FILE: u64 = 21;
    /// The file `secret/log`, to write.
    pub const LOG: u64 = 22;
    /// The root directory.
    pub const ROOT: u64 = 23;
    /// The directory `secret`, as a path.
    pub const PATH: u64 = 24;
    /// A socket that is connected.
    pub const SOCKET: u64 = 25;
    /// The process outside.
    pub const PIDFD: u64 = 26;
    /// The mount namespace of the host.
    pub const NAMESPACE: u64 = 27;
    /// What the launcher writes its status to.
    pub const STATUS: u64 = 28;
    /// The file `secret/file` once more.
    pub const HIGH: u64 = 1000;
}

/// What an attack finds.
pub struct World {
    arena: RefCell<File>,
}

impl World {
    /// The one with the arena at standard input.
    ///
    /// # Errors
    ///
    /// dup(2)
    pub fn new() -> io::Result<Self> {
        let arena = sys::owned(sys::call(libc::SYS_dup, [0])?);
        Ok(Self { arena: RefCell::new(arena.into()) })
    }

    pub(crate) fn secret(&self, name: &str) -> String {
        format!("{BASE}/secret/{name}")
    }

    pub(crate) fn data(&self, name: &str) -> String {
        format!("{BASE}/data/{name}")
    }

    pub(crate) fn writable(&self, name: &str) -> String {
        format!("{BASE}/writable/{name}")
    }

    pub(crate) fn project(&self, name: &str) -> String {
        format!("{BASE}/project/{name}")
    }

    pub(crate) fn bin(&self, name: &str) -> String {
        format!("{BASE}/bin/{name}")
    }

    /// Asks whoever is outside, see [`crate::arena`].
    pub(crate) fn ask(&self, request: &str) -> io::Result<String> {
        let mut arena = self.arena.borrow_mut();
        arena.write_all(request.as_bytes())?;
        let mut answer = [0; 512];
        let length = arena.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    /// Asks whoever is outside whether something is so.
    pub(crate) fn is(&self, request: &str) -> io::Result<bool> {
        self.ask(request).map(|answer| answer == "yes")
    }
}
