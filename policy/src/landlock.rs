//! What Landlock handles. The rights on files stand with the mounts, because
//! rules are made from the very descriptors that are mounted.

use linux_raw_sys::landlock as uapi;
use serde::{Deserialize, Serialize};

use crate::List;

/// The newest Landlock ABI this version has words for (Linux 7.3).
pub const NEWEST_ABI: u8 = 11;

/// `LANDLOCK_ACCESS_FS_RESOLVE_UNIX` of linux/landlock.h: to reach a UNIX
/// socket of outside by its path (ABI 9, Linux 7.1).
pub const ACCESS_FS_RESOLVE_UNIX: u32 = 1 << 16;

/// `LANDLOCK_ACCESS_NET_BIND_UDP` of linux/landlock.h (ABI 10, Linux 7.2).
pub const ACCESS_NET_BIND_UDP: u32 = 1 << 2;

/// `LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP` of linux/landlock.h (ABI 10, Linux
/// 7.2).
pub const ACCESS_NET_CONNECT_SEND_UDP: u32 = 1 << 3;

/// Every right on files up to [`NEWEST_ABI`], `LANDLOCK_ACCESS_FS_*`.
pub const ACCESS_FS: u32 = (1 << 17) - 1;

/// What a rule on a file may grant: `ACCESS_FILE` of security/landlock/fs.c.
pub const ACCESS_FILE: u32 = uapi::LANDLOCK_ACCESS_FS_EXECUTE
    | uapi::LANDLOCK_ACCESS_FS_WRITE_FILE
    | uapi::LANDLOCK_ACCESS_FS_READ_FILE
    | uapi::LANDLOCK_ACCESS_FS_TRUNCATE
    | uapi::LANDLOCK_ACCESS_FS_IOCTL_DEV
    | ACCESS_FS_RESOLVE_UNIX;

/// Every right on ports up to [`NEWEST_ABI`], `LANDLOCK_ACCESS_NET_*`.
pub const ACCESS_NET: u32 = uapi::LANDLOCK_ACCESS_NET_BIND_TCP
    | uapi::LANDLOCK_ACCESS_NET_CONNECT_TCP
    | ACCESS_NET_BIND_UDP
    | ACCESS_NET_CONNECT_SEND_UDP;

/// Every scope up to [`NEWEST_ABI`], `LANDLOCK_SCOPE_*`.
pub const SCOPES: u32 = uapi::LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | uapi::LANDLOCK_SCOPE_SIGNAL;

/// The flags of landlock_restrict_self(2) that govern audit records (ABI 7).
/// Those of later ABIs are for processes of several threads (8), or do what
/// the launcher does before (11).
pub const LOG_FLAGS: u32 = 0b111;

/// The ruleset but for its rules on files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landlock<'a> {
    /// What is handled under ABI 1, 2, 3...; a kernel with a newer ABI than
    /// the last entry gets the last one.
    #[serde(borrow)]
    pub handled: List<'a, Handled>,
    /// Ports that may be connected or bound to.
    pub ports: List<'a, Port>,
    /// Flags of landlock_restrict_self(2), within [`LOG_FLAGS`].
    pub log: u32,
}

/// `struct landlock_ruleset_attr` under one ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handled {
    /// `LANDLOCK_ACCESS_FS_*`.
    pub fs: u32,
    /// `LANDLOCK_ACCESS_NET_*`.
    pub net: u32,
    /// `LANDLOCK_SCOPE_*`.
    pub scoped: u32,
}

/// `struct landlock_net_port_attr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its number; 0 with the right to bind means an ephemeral one.
    pub port: u16,
    /// `LANDLOCK_ACCESS_NET_*`.
    pub access: u32,
}
