//! The commands that show what a policy does.

pub(crate) mod compare;
pub(crate) mod explain;
pub(crate) mod host;
pub(crate) mod probe;
pub(crate) mod receipt;
mod table;
pub(crate) mod verify;
