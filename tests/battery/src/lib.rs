//! Attacks from inside the sandbox, each with what must stop it.
//!
//! [`GROUPS`] is the table: what each check tries, where it comes from, and
//! which layer stops it with which errno, under `strict.toml` and under
//! `landlock.toml` beside this crate. The program `battery` has two modes:
//!
//! - `battery arena UID DIST CONTENDER` makes namespaces that are thrown away,
//!   fills them with what an attack could reach (see [`arena`]), and runs the
//!   attacks in them as that user, so that one that succeeds harms nobody.
//! - `battery attack [NAME]...` makes the checks, each in a process of its
//!   own, and prints a line for each: [`Outcome`].

pub mod arena;
mod check;
mod checks;
mod errno;
mod outcome;
mod sys;
pub mod world;

pub use check::{Attack, Check, Control, Expected, Group, Layer, Stop, Verdict};
pub use checks::{GROUPS, identity};
pub use errno::errno_name;
pub use outcome::{Outcome, Refused, attack};

/// Every check of every group.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    GROUPS.iter().flat_map(|group| group.checks)
}
