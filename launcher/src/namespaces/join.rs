//! Namespaces that were prepared: joined instead of made.
//!
//! What is joined is the caller's word, like every descriptor that it passes
//! in. What is not joined is made as without.

use launcher_policy::mounts::Source;
use launcher_policy::namespaces::Init;
use launcher_policy::{Call, Failure, Refusal};
use linux_raw_sys::general as uapi;
use rustix::io::Errno;

use super::{STAGE, flags, needs_writer};
use crate::report::failed;
use crate::{Launch, listen, sys};

/// What a template holds, as far as the policy has it. The others cost little,
/// and every launch makes its own.
const OF_TEMPLATE: u32 = uapi::CLONE_NEWUSER | uapi::CLONE_NEWNS;

/// What a template cannot be without.
const TAKEN: u32 = uapi::CLONE_NEWNS | uapi::CLONE_NEWPID;

/// `CLONE_NEW*` of what is joined.
pub fn joined(launch: &Launch<'_>) -> u32 {
    let options = launch.options;
    let template = options.template.map_or(0, |_| OF_TEMPLATE);
    template | options.network.map_or(0, |_| uapi::CLONE_NEWNET)
}

/// Refuses a policy that what is prepared does not serve.
///
/// # Errors
///
/// A refusal.
pub fn check(launch: &Launch<'_>) -> Result<(), Failure> {
    if launch.options.network.is_some() && flags(launch) & uapi::CLONE_NEWNET == 0 {
        return Err(Failure::refused(STAGE, Call::NetnsFd, Refusal::NetworkGiven));
    }
    if launch.options.network.is_some() && listen::is_wanted(launch) {
        return Err(Failure::refused(STAGE, Call::NetnsFd, Refusal::NetworkShared));
    }
    match launch.options.template {
        Some(_) => check_template(launch, Call::TemplateFd),
        None => Ok(()),
    }
}

/// Refuses a policy that no template serves.
///
/// # Errors
///
/// A refusal.
pub fn check_template(launch: &Launch<'_>, call: Call) -> Result<(), Failure> {
    let reaps = launch.policy.namespaces.is_some_and(|all| all.init == Init::Reaper);
    let mut mounts = launch.policy.mounts.iter().flat_map(|mounts| mounts.mounts.iter());
    // What is handed over differs from launch to launch.
    let has_fds = mounts.any(|mount| matches!(mount.source, Source::Fd { .. }));
    if flags(launch) & TAKEN != TAKEN || !reaps || needs_writer(launch) || has_fds {
        return Err(Failure::refused(STAGE, call, Refusal::Template));
    }
    Ok(())
}

/// Joins them.
///
/// # Errors
///
/// setns(2)
pub fn apply(launch: &Launch<'_>) -> Result<(), Failure> {
    if let Some(template) = launch.options.template {
        let wanted = flags(launch) & OF_TEMPLATE;
        sys::setns(sys::inherited(template), wanted).map_err(refused(Call::TemplateFd))?;
    }
    let Some(network) = launch.options.network.map(sys::inherited) else { return Ok(()) };
    let join = || sys::setns(network, uapi::CLONE_NEWNET);
    match join() {
        // Who owns it may join its user namespace, and has the capabilities there.
        Err(Errno::PERM) if launch.options.template.is_none() => {
            let owner = sys::user_namespace_of(network).map_err(refused(Call::NetnsFd))?;
            sys::setns(owner, uapi::CLONE_NEWUSER).map_err(refused(Call::NetnsFd))?;
            join()
        }
        other => other,
    }
    .map_err(refused(Call::NetnsFd))
}

/// The call is setns(2); which descriptor it was about is what helps.
fn refused(call: Call) -> impl Fn(Errno) -> Failure {
    failed(STAGE, call)
}
