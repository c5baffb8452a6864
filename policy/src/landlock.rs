//! What Landlock handles. The rights on files stand with the mounts, because
//! rules are made from the very descriptors that are mounted.

use linux_raw_sys::landlock as uapi;
use serde::{Deserialize, Serialize};

use crate::List;

/// The newest Landlock ABI this version has words for (Linux 6.15).
pub const NEWEST_ABI: u8 = 7;

/// Every right on files up to [`NEWEST_ABI`], `LANDLOCK_ACCESS_FS_*`.
pub const ACCESS_FS: u32 = (1 << 16) - 1;

/// Every right on TCP ports up to [`NEWEST_ABI`], `LANDLOCK_ACCESS_NET_*`.
pub const ACCESS_NET: u32 =
    uapi::LANDLOCK_ACCESS_NET_BIND_TCP | uapi::LANDLOCK_ACCESS_NET_CONNECT_TCP;

/// Every scope up to [`NEWEST_ABI`], `LANDLOCK_SCOPE_*`.
pub const SCOPES: u32 = uapi::LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | uapi::LANDLOCK_SCOPE_SIGNAL;

/// The flags of landlock_restrict_self(2) that govern audit records (ABI 7).
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
    /// TCP port; 0 with the bind right means an ephemeral one.
    pub port: u16,
    /// `LANDLOCK_ACCESS_NET_*`.
    pub access: u32,
}
