//! From what a command was seen to do, a policy under which it may do that and
//! little else, for a person to review.
//!
//! What was seen comes in as [`Observed`]; [`Draft`] is what would be granted,
//! and its text. Nothing here looks at the host.

mod draft;
mod entries;
mod places;
#[cfg(test)]
mod testing;
mod text;

pub use draft::{Draft, Observed, Peer, Variable};
pub use entries::{Entry, Review, Rights, entries};
pub use places::{Need, Surroundings};
