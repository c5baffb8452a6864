//! What a launch needs besides the policy, gathered while nothing has changed
//! but the flags of descriptors.

use core::convert::Infallible;
use core::ffi::CStr;
use core::mem::MaybeUninit;

use launcher_policy::mounts::MAX_MOUNTS;
use launcher_policy::wire::Digest;
use launcher_policy::{Failure, Policy, Stage};

use crate::exec::{self, Arguments, Environment};
use crate::mounts::Carried;
use crate::receipt::Notes;
use crate::report::Words;
use crate::session::Held;
use crate::sys::{CStrings, Slots};
use crate::{Caller, Launch, Options, Shared, Stacks, fds, landlock};

/// Everything that is too large for a stack. It is all zeroes, so it takes no
/// room in a file and no page that is not used.
// A short environment ends in the page where it begins with what all launches
// use; the rest is touched by some.
#[repr(C)]
pub struct Memory {
    launch: MaybeUninit<Launch<'static>>,
    environment: Environment,
    carried: Carried,
    sources: Slots<MAX_MOUNTS>,
    arguments: Arguments,
}

impl Memory {
    /// Memory that nothing was gathered in.
    pub const fn new() -> Self {
        Self {
            launch: MaybeUninit::uninit(),
            environment: Environment::EMPTY,
            carried: Carried::NOTHING,
            sources: Slots::new(),
            arguments: Arguments::EMPTY,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// What somebody who launches has to give.
pub struct Given {
    /// What to do.
    pub policy: &'static Policy<'static>,
    /// What the policy is called in the receipt.
    pub digest: &'static Digest,
    /// The command as it was named.
    pub command: &'static CStr,
    /// The command and its arguments.
    pub argv: CStrings<'static>,
    /// The caller's environment.
    pub envp: CStrings<'static>,
    /// What else was asked for.
    pub options: Options,
    /// Who is launching.
    pub caller: Caller,
    /// When it began.
    pub notes: Notes,
    /// Where its children run.
    pub stacks: &'static Stacks,
}

/// Gathers the rest, and goes through every stage. Returns only if one failed.
///
/// # Errors
///
/// The first call that failed, unless a child has reported it already; `words`
/// are those of what was gathered then.
// Once for both who call it.
#[inline(never)]
pub fn launch(
    given: Given,
    memory: &'static mut Memory,
    words: &mut Words<'static>,
) -> Result<Infallible, Failure> {
    let launch = gather(given, memory)?;
    crate::launch(launch).inspect_err(|_| *words = Words::of(launch))
}

/// Gathers the rest.
///
/// # Errors
///
/// The first of it that makes a launch impossible.
pub fn gather(
    given: Given,
    memory: &'static mut Memory,
) -> Result<&'static Launch<'static>, Failure> {
    let Given { policy, options, notes, .. } = given;
    let argv = match policy.exec.argv0 {
        None => given.argv,
        Some(argv0) => exec::arguments(argv0.as_c_str(), given.argv, &mut memory.arguments)?,
    };
    let envp = exec::environment(&policy.exec, given.envp, &mut memory.environment)?;
    fds::apply(&policy.fds)?;
    notes.is_over(Stage::Fds);
    let safe = policy.seccomp.is_some_and(|seccomp| seccomp.terminal_is_safe);
    let terminal = Held::of(policy.session.terminal, safe)?;
    let receipt = options.status.is_some();
    let proc = memory.carried.gather(policy, &options)?;
    let landlock = policy.landlock.is_some();
    Ok(memory.launch.write(Launch {
        command: given.command,
        argv,
        envp,
        options,
        caller: given.caller,
        abi: if landlock { landlock::abi(options.landlock_abi)? } else { 0 },
        errata: if landlock && receipt { landlock::errata()? } else { 0 },
        carried: &memory.carried,
        proc,
        terminal,
        shared: Shared::new(notes),
        stacks: given.stacks,
        sources: &memory.sources,
        policy,
        digest: given.digest,
    }))
}
