//! Seccomp: install the filter that the policy carries.
//!
//! Runs last, so that the filter need not allow what the other stages call.

use launcher_policy::seccomp::Seccomp;
use launcher_policy::{Call, Failure, Stage};

use crate::report::failed;
use crate::{Launch, notify, sys};

const STAGE: Stage = Stage::Seccomp;

/// Installs the filter. Nothing else denies what it denies, so it is never
/// left out.
///
/// # Errors
///
/// seccomp(2)
pub fn apply(launch: &'static Launch<'static>) -> Result<(), Failure> {
    let Some(seccomp) = &launch.policy.seccomp else { return Ok(()) };
    let filter = filter(seccomp, launch.shared.is_without_namespaces());
    match seccomp.asks() {
        true => notify::install(launch, filter, seccomp.flags),
        false => sys::seccomp_set_mode_filter(filter, seccomp.flags)
            .map(drop)
            .map_err(failed(STAGE, Call::Seccomp)),
    }
}

/// The filter for a process in the policy's namespaces, or for one that is not.
pub fn filter<'p>(seccomp: &Seccomp<'p>, without_namespaces: bool) -> &'p [u8] {
    match seccomp.without_namespaces {
        [] => seccomp.filter,
        other if without_namespaces => other,
        _ => seccomp.filter,
    }
}
