//! Session, process group, terminal, file mode mask, and what happens to the
//! command when its caller dies.

use serde::{Deserialize, Serialize};

/// How the command stands to the terminal and to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The controlling terminal.
    pub terminal: Terminal,
    /// umask(2), if it is to be set.
    pub umask: Option<u16>,
    /// Whether the command outlives its caller.
    pub die_with_parent: DieWithParent,
}

/// The command's controlling terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terminal {
    /// `Keep` where the launcher is in the foreground of a terminal and the
    /// filter closes `TIOCSTI`, else `None`.
    Auto,
    /// The caller's session and terminal, in a process group of its own.
    Keep,
    /// A session of its own, without a terminal.
    None,
}

/// Whose death ends the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DieWithParent {
    /// The caller's process where there is a waiter; in place nobody's.
    Auto,
    /// The caller's process. Costs a waiter.
    Process,
    /// The caller's thread: `PR_SET_PDEATHSIG` of prctl(2).
    Thread,
    /// Nobody's.
    Never,
}
