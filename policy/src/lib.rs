//! The one definition of every type that the policy encoder writes and the
//! sandbox launcher reads, so that the two cannot disagree.
//!
//! [`Policy`] has one field per stage, in the order of [`Stage`]. Everything
//! is borrowed from the encoded bytes: paths carry their NUL, filters are the
//! bytes the kernel takes, lists are walked where they lie. Values are ready
//! for the kernel - flag bits, numbers, instructions - and a bit or variant
//! without a meaning is refused, never masked off.
#![no_std]
#![forbid(unsafe_code)]

use serde::Serialize;

pub mod credentials;
pub mod enforce;
pub mod exec;
pub mod failure;
pub mod fds;
pub mod landlock;
pub mod limits;
mod list;
pub mod mounts;
pub mod namespaces;
pub mod origin;
mod path;
pub mod proxy;
mod refusal;
pub mod seccomp;
pub mod session;
mod stage;
mod validate;
pub mod wire;
pub mod words;

#[cfg(test)]
extern crate std;

pub use failure::{Call, Failure, Subject};
pub use list::{Iter, List};
pub use path::{MAX_PATH, Path, Text};
pub use refusal::Refusal;
pub use stage::Stage;

/// Everything that a launch does, resolved. It is written and read by [`wire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Policy<'a> {
    /// What happens on a host that cannot give everything.
    pub enforce: enforce::Enforce<'a>,
    /// Descriptors that are passed on.
    pub fds: fds::Fds<'a>,
    /// Namespaces, if any are left.
    pub namespaces: Option<namespaces::Namespaces<'a>>,
    /// The view of the file system. Applied as mounts with a mount namespace;
    /// the Landlock rules are made from it on every rung.
    pub mounts: Option<mounts::Mounts<'a>>,
    /// Resource limits.
    pub limits: limits::Limits<'a>,
    /// Session and terminal.
    pub session: session::Session,
    /// Ids.
    pub credentials: credentials::Credentials,
    /// Landlock, if it is used.
    pub landlock: Option<landlock::Landlock<'a>>,
    /// The filter, if one is installed.
    pub seccomp: Option<seccomp::Seccomp<'a>>,
    /// The command's environment and directory.
    pub exec: exec::Exec<'a>,
    /// What a proxy outside lets through, if the network leads to one.
    pub proxy: Option<proxy::Proxy<'a>>,
    /// How the policy came about.
    pub origin: origin::Origin<'a>,
}
