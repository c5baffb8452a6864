//! The commands that show what a policy does.

pub(crate) mod explain;
mod table;
