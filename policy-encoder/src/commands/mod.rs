//! The commands that show what a policy does, or what it should say.

pub(crate) mod compare;
pub(crate) mod explain;
pub(crate) mod host;
pub(crate) mod learn;
pub(crate) mod probe;
pub(crate) mod receipt;
mod table;
pub(crate) mod trace;
pub(crate) mod verify;
mod watched;
