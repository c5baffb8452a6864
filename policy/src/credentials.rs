//! Ids to take. Capabilities are always dropped, so no word is spent on them.

use serde::{Deserialize, Serialize};

/// Ids of the command, inside its user namespace if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// setresuid(2), if it is to be changed.
    pub uid: Option<u32>,
    /// setresgid(2), if it is to be changed.
    pub gid: Option<u32>,
}
