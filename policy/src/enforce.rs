//! What happens on a host that cannot give everything.
//!
//! The encoder knows which layer keeps which guarantee, so it also knows what
//! is left when a layer is missing. The launcher only compares.

use serde::{Deserialize, Serialize};

use crate::{List, Text, words};

/// How much each layer is wanted, and what the policy needs of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforce<'a> {
    /// Namespaces and mounts.
    pub namespaces: Mode,
    /// Landlock.
    pub landlock: Mode,
    /// Limits.
    pub limits: Mode,
    /// What the policy guarantees, each guarantee once.
    #[serde(borrow)]
    pub guarantees: List<'a, Guaranteed<'a>>,
    /// What the policy offers that takes namespaces.
    pub offers: List<'a, Offer>,
}

/// Something offered, not guaranteed, that takes namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What.
    pub facility: Facility,
    /// The namespaces without which it is missing, `CLONE_NEW*`.
    pub needs: u32,
}

/// How much a layer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Not used.
    Off,
    /// Used where it is there; its absence is said in the status.
    Prefer,
    /// Used, or the launch is refused.
    Require,
}

/// A guarantee of a policy, and what keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guaranteed<'a> {
    /// Which one.
    pub guarantee: Guarantee,
    /// What keeps it beside the policy's namespaces.
    #[serde(borrow)]
    pub with_namespaces: Keeper<'a>,
    /// What keeps it where no namespace is made.
    pub without_namespaces: Keeper<'a>,
    /// Whether the launch goes on where nothing keeps it.
    pub waived: bool,
}

/// The layer that keeps a guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keeper<'a> {
    /// None; the text says why.
    #[serde(borrow)]
    Nothing(Text<'a>),
    /// Namespaces, and the mounts in them.
    Namespaces,
    /// Landlock of this ABI or newer.
    Landlock(u8),
    /// The seccomp filter.
    Seccomp,
}

words! {
    /// What a policy can guarantee, by the name it goes by in
    /// `enforce.waive`, in refusals and in receipts.
    #[derive(PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Guarantee {
        /// Files are listed, read, written, run, made, moved and removed only
        /// as the policy grants.
        Files "files"
        /// What cannot be written is not cut short either, truncate(2).
        Truncate "truncate"
        /// Devices that are not granted take no ioctl(2).
        IoctlDev "ioctl-dev"
        /// What can be read but not executed is not run by its loader either.
        Execute "execute"
        /// Modes, owners, times and attributes of files that cannot be written
        /// stay: chmod(2), chown(2), utimensat(2), setxattr(2).
        Metadata "metadata"
        /// Nothing outside is reachable by the path of a UNIX socket but what
        /// is listed.
        UnixPath "unix-path"
        /// Nothing outside is reachable by an abstract UNIX socket, unix(7).
        AbstractUnixSocket "abstract-unix-socket"
        /// Processes outside receive no signal.
        SignalScope "signal-scope"
        /// Limits, priorities and affinities of processes outside stay.
        Processes "processes"
        /// System V IPC and POSIX message queues of the host are out of reach.
        Ipc "ipc"
        /// Nothing is reachable over the network but what a proxy lets through.
        Network "network"
        /// Only listed TCP ports are connected or bound to.
        Tcp "tcp"
        /// UDP is closed.
        Udp "udp"
        /// The command runs as the ids of the policy.
        Ids "ids"
    }
}

words! {
    /// Something offered, not guaranteed, and its word in the status.
    #[derive(PartialOrd, Ord, Serialize, Deserialize)]
    pub enum Facility {
        /// Namespaces, where Landlock and seccomp keep the guarantees.
        Namespaces "namespaces"
        /// Landlock, where mounts keep the guarantees.
        Landlock "landlock"
        /// A fresh `/proc`.
        Proc "proc"
        /// A loopback interface that is up.
        Loopback "loopback"
        /// A limit on the memory of the whole tree.
        Memory "limits.memory"
        /// A limit on the number of processes.
        Processes "limits.processes"
        /// A limit on the CPU time of the whole tree.
        CpuTime "limits.cpu_time"
        /// An end of the whole tree when the wall time is over.
        WallTime "limits.wall_time"
        /// Pseudo-terminals.
        Pts "pts"
        /// An end of the command when its caller ends.
        DieWithParent "die_with_parent"
        /// Temporary directories of the command's own.
        Tmp "tmp"
        /// A home directory of the command's own.
        Home "home"
        /// A host name of the command's own.
        Hostname "hostname"
        /// UNIX sockets among the command's own processes, but pairs.
        UnixSockets "unix-sockets"
        /// New names in directories that hold something narrower.
        NewNames "new-names"
        /// Moves and links between directories, rename(2), link(2).
        Refer "refer"
    }
}

impl<'a> Enforce<'a> {
    /// The first guarantee for which a launch has to be refused, with the
    /// policy's namespaces or without, on a kernel with this Landlock ABI.
    pub fn lost(&self, namespaces: bool, abi: u32) -> Option<Guaranteed<'a>> {
        self.guarantees.iter().find(|guaranteed| guaranteed.is_lost(namespaces, abi))
    }

    /// Whether a launch may go on where the namespaces cannot be made, on the
    /// newest kernel.
    pub fn falls_back(&self) -> bool {
        self.namespaces != Mode::Require && self.lost(false, u32::MAX).is_none()
    }
}

impl Keeper<'_> {
    /// Whether it keeps anything on a kernel with this Landlock ABI; 0 is a
    /// kernel without.
    pub fn keeps(&self, abi: u32) -> bool {
        match *self {
            Self::Nothing(_) => false,
            Self::Namespaces | Self::Seccomp => true,
            Self::Landlock(needed) => u32::from(needed) <= abi,
        }
    }
}

impl<'a> Guaranteed<'a> {
    /// What keeps it, with the policy's namespaces or without.
    pub fn keeper(&self, namespaces: bool) -> Keeper<'a> {
        if namespaces { self.with_namespaces } else { self.without_namespaces }
    }

    /// Whether a launch has to be refused for it.
    pub fn is_lost(&self, namespaces: bool, abi: u32) -> bool {
        !self.waived && !self.keeper(namespaces).keeps(abi)
    }
}
