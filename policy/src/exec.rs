//! The command's environment and working directory.

use serde::{Deserialize, Serialize};

use crate::{List, Path, Text};

/// The most environment variables a command can be given.
pub const MAX_ENVIRONMENT: usize = 4096;

/// How the command is run. What is run stands in the launcher's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec<'a> {
    /// `argv[0]`, if it is not the command as it was named.
    #[serde(borrow)]
    pub argv0: Option<Text<'a>>,
    /// Variables of the caller that are passed on. `set` wins over these.
    pub keep: List<'a, Keep<'a>>,
    /// Variables that are set, as `NAME=value`.
    pub set: List<'a, Text<'a>>,
    /// The working directory.
    pub cwd: Cwd<'a>,
}

/// Variables of the caller that are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keep<'a> {
    /// The one of this name.
    #[serde(borrow)]
    Name(Text<'a>),
    /// All whose name begins so; the empty string is all.
    Prefix(Text<'a>),
}

/// The directory in which the command starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cwd<'a> {
    /// That of the launcher if the view has it, else `/`.
    Launch,
    /// This one; the launch is refused without it.
    #[serde(borrow)]
    Path(Path<'a>),
}
