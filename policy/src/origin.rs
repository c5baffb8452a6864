//! How a policy came about. The launcher has no use for it; whoever explains
//! a policy has.

use serde::{Deserialize, Serialize};

use crate::{List, Text};

/// What of the policy holds only for the time and place it was encoded at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin<'a> {
    /// When the patterns were expanded, in seconds since 1970; 0 where there
    /// are none, so that the same document gives the same bytes.
    pub expanded_at: u64,
    /// The patterns that were expanded.
    #[serde(borrow)]
    pub globs: List<'a, Glob<'a>>,
}

/// One pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glob<'a> {
    /// As it is written in the document.
    #[serde(borrow)]
    pub pattern: Text<'a>,
    /// How many paths it matched.
    pub matched: u32,
}
