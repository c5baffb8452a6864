//! What tests of this module have in common.

use super::{Need, Surroundings};

pub(super) const READ: Need =
    Need { directory: false, read: true, write: false, name: false, execute: false };
pub(super) const MAKE: Need = Need { name: true, ..READ };
pub(super) const RUN: Need = Need { execute: true, ..READ };

/// Where somebody works on something.
pub(super) fn around() -> Surroundings {
    Surroundings {
        home: Some("/home/me".into()),
        directory: "/home/me/app".into(),
        temporary: vec!["/tmp".into()],
        credentials: vec!["/home/me/.ssh".into()],
        shown: vec!["/etc/passwd".into()],
    }
}
