//! What happens on a host that cannot give everything.
//!
//! The encoder knows which layer keeps which guarantee, so it also knows what
//! is left when a layer is missing. The launcher only compares.

use serde::{Deserialize, Serialize};

use crate::Text;

/// How much each layer is wanted, and what the policy needs of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforce<'a> {
    /// Namespaces and mounts.
    pub namespaces: Mode,
    /// Landlock.
    pub landlock: Mode,
    /// Limits.
    pub limits: Mode,
    /// The Landlock ABI without which a guarantee is lost although the
    /// namespaces are there; 0 where they keep everything.
    pub abi_with_namespaces: u8,
    /// What is needed where there are no namespaces.
    #[serde(borrow)]
    pub without_namespaces: WithoutNamespaces<'a>,
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

/// What keeps the policy where the namespaces cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WithoutNamespaces<'a> {
    /// Landlock of this ABI or newer keeps every guarantee; 0 means that
    /// none needs keeping.
    Abi(u8),
    /// Nothing does; the text says which guarantee is lost.
    #[serde(borrow)]
    Refused(Text<'a>),
}
