//! The table: a file for each group.

use std::io;

use crate::check::Group;
use crate::outcome::Refused;

mod descriptors;
mod devices;
mod exec;
mod files;
mod hidden;
mod kernel;
mod masked;
mod mounts;
mod namespaces;
mod network;
mod processes;
mod reaper;
mod resources;
mod terminals;

pub use namespaces::identity;

/// The checks, by what they are about. Those about the terminal come last:
/// one takes it away.
pub const GROUPS: &[Group] = &[
    Group { name: "descriptors and environment", checks: descriptors::CHECKS },
    Group { name: "processes outside", checks: processes::CHECKS },
    Group { name: "PID 1", checks: reaper::CHECKS },
    Group { name: "namespaces and capabilities", checks: namespaces::CHECKS },
    Group { name: "mounts", checks: mounts::CHECKS },
    Group { name: "masked and protected files", checks: masked::CHECKS },
    Group { name: "devices and kernel settings", checks: devices::CHECKS },
    Group { name: "hidden files", checks: hidden::CHECKS },
    Group { name: "read-only files", checks: files::CHECKS },
    Group { name: "running code", checks: exec::CHECKS },
    Group { name: "network and IPC", checks: network::CHECKS },
    Group { name: "kernel surface", checks: kernel::CHECKS },
    Group { name: "resources", checks: resources::CHECKS },
    Group { name: "terminals", checks: terminals::CHECKS },
];

/// Takes these errors for success: they come after the permission was given.
fn reached<T>(answer: io::Result<T>, errors: &[i32]) -> Result<(), Refused> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error().is_some_and(|errno| errors.contains(&errno)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether something was noticed outside.
fn noticed(truth: bool) -> Result<(), Refused> {
    if truth { Ok(()) } else { Err(Refused::NoEffect) }
}

/// What the rows are made of.
mod row {
    pub(super) use std::fs;
    pub(super) use std::io;

    pub(super) use super::{noticed, reached};
    pub(super) use crate::check::Control::{Anybody, Root, RootWhere, Where};
    pub(super) use crate::check::Layer::*;
    pub(super) use crate::check::{Attack, Check};
    pub(super) use crate::outcome::Refused;
    pub(super) use crate::sys::{self, call, number, open};
    pub(super) use crate::world::{SECRET, VICTIM, World, leaked};
    pub(super) use libc::*;
}
