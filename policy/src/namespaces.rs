//! Namespaces, id maps, host name, loopback, listening sockets and PID 1.

use linux_raw_sys::general as uapi;
use serde::{Deserialize, Serialize};

use crate::{List, Text};

/// The namespaces a policy can ask for: `CLONE_NEW*` of namespaces(7).
pub const NAMESPACE_FLAGS: u32 = uapi::CLONE_NEWUSER
    | uapi::CLONE_NEWNS
    | uapi::CLONE_NEWPID
    | uapi::CLONE_NEWNET
    | uapi::CLONE_NEWIPC
    | uapi::CLONE_NEWUTS
    | uapi::CLONE_NEWCGROUP
    | uapi::CLONE_NEWTIME;

/// The longest host name: `__NEW_UTS_LEN` of linux/utsname.h.
pub const MAX_HOST_NAME: usize = 64;

/// The most lines of one id map (`UID_GID_MAP_MAX_EXTENTS`, Linux 4.15).
pub const MAX_ID_RANGES: usize = 340;

/// The most sockets that are handed to a proxy.
pub const MAX_LISTENERS: usize = 5;

/// The namespaces that the command does not share with its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces<'a> {
    /// `CLONE_NEW*`, within [`NAMESPACE_FLAGS`].
    pub flags: u32,
    /// User ids inside and outside. Used with `CLONE_NEWUSER` only.
    #[serde(borrow)]
    pub uid_map: IdMap<'a>,
    /// Group ids inside and outside.
    pub gid_map: IdMap<'a>,
    /// Host name to set. Used with `CLONE_NEWUTS` only.
    pub host_name: Option<Text<'a>>,
    /// The loopback interface. Used with `CLONE_NEWNET` only.
    pub loopback: Loopback,
    /// Sockets that listen on 127.0.0.1 of the new network namespace, and that
    /// are served from outside; at most [`MAX_LISTENERS`]. Used with
    /// `CLONE_NEWNET` only.
    pub listeners: List<'a, Listener>,
    /// Who is PID 1.
    pub init: Init,
}

/// The content of `/proc/PID/uid_map` or `gid_map`, user_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdMap<'a> {
    /// The caller's own id, under the same number.
    Caller,
    /// The caller's own id, under this number.
    Single(u32),
    /// These ranges; the launcher must be privileged.
    #[serde(borrow)]
    Ranges(List<'a, IdRange>),
}

/// One line of an id map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// First id inside the namespace.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many ids.
    pub count: u32,
}

/// The state of `lo` in a new network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loopback {
    /// As the kernel makes it: no address answers.
    Down,
    /// 127.0.0.1 and ::1 answer. A facility: missing where it cannot be had.
    Up,
}

/// A socket of 127.0.0.1: one of TCP that listens, or one of UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// What is spoken there, by the proxy that it is handed to.
    pub protocol: Protocol,
    /// Its port.
    pub port: u16,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP: the method CONNECT, and requests for a whole `http://` URL.
    Http,
    /// SOCKS 5.
    Socks,
    /// TLS, by clients that know of no proxy: its first message names the host.
    Tls,
    /// HTTP, by such clients: `Host` names the host.
    Web,
    /// DNS, over UDP.
    Dns,
}

impl Protocol {
    /// Whether it is spoken over UDP.
    pub const fn is_datagrams(self) -> bool {
        matches!(self, Self::Dns)
    }
}

/// Who is PID 1 of a new PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// The command itself: for programs written as an init.
    None,
    /// A part of the launcher that reaps and forwards; the command is PID 2.
    Reaper,
}
