//! The commands that show what a policy does.

pub(crate) mod compare;
pub(crate) mod explain;
pub(crate) mod host;
pub(crate) mod probe;
mod table;
pub(crate) mod verify;
