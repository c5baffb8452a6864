//! Exec: run the command.
//!
//! The arguments are passed on untouched. A name without a slash is looked up
//! in the command's own PATH, inside its own root.

use core::convert::Infallible;
use core::ffi::CStr;

use launcher_policy::exec::{Exec, Keep, MAX_ENVIRONMENT};
use launcher_policy::{Call, Failure, MAX_PATH, Refusal, Stage, Subject};
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;

use crate::Launch;
use crate::report::failed;
use crate::sys::{self, CStrings, StringArray};
use crate::text::Text;

const STAGE: Stage = Stage::Exec;

/// Room for an environment: its variables and the null behind them.
pub type Environment = StringArray<{ MAX_ENVIRONMENT + 1 }>;

/// Room for the arguments, where `argv[0]` is the policy's.
pub type Arguments = StringArray<{ MAX_ENVIRONMENT + 1 }>;

/// Makes the command's environment: what the policy keeps of the caller's,
/// then what it sets.
///
/// # Errors
///
/// More variables than an environment can have.
pub fn environment<'a>(
    exec: &Exec<'a>,
    caller: CStrings<'a>,
    memory: &'a mut Environment,
) -> Result<CStrings<'a>, Failure> {
    let mut environment = memory.builder();
    let full = || Failure::refused(STAGE, Call::Env, Refusal::EnvironmentFull);
    for variable in caller.iter() {
        let name = name_of(variable);
        if is_kept(exec, name) && !exec.set.iter().any(|set| name_of(set.as_c_str()) == name) {
            environment.push(variable).then_some(()).ok_or_else(full)?;
        }
    }
    for set in exec.set.iter() {
        environment.push(set.as_c_str()).then_some(()).ok_or_else(full)?;
    }
    Ok(environment.finish())
}

/// Makes the command's arguments: those given, with the policy's `argv[0]`.
///
/// # Errors
///
/// More arguments than the array has room for.
pub fn arguments<'a>(
    argv0: &'a CStr,
    given: CStrings<'a>,
    memory: &'a mut Arguments,
) -> Result<CStrings<'a>, Failure> {
    let mut arguments = memory.builder();
    for argument in core::iter::once(argv0).chain(given.skip(1).iter()) {
        arguments
            .push(argument)
            .then_some(())
            .ok_or_else(|| Failure::refused(STAGE, Call::Env, Refusal::ArgumentsFull))?;
    }
    Ok(arguments.finish())
}

fn is_kept(exec: &Exec<'_>, name: &[u8]) -> bool {
    exec.keep.iter().any(|keep| match keep {
        Keep::Name(kept) => name == kept.to_bytes(),
        Keep::Prefix(prefix) => name.starts_with(prefix.to_bytes()),
    })
}

/// The part of `NAME=value` before the sign.
fn name_of(variable: &CStr) -> &[u8] {
    variable.to_bytes().split(|&byte| byte == b'=').next().unwrap_or_default()
}

/// Runs the command. Returns only when that failed.
///
/// # Errors
///
/// execve(2), execveat(2)
pub fn apply(launch: &Launch<'static>) -> Result<Infallible, Failure> {
    let name = launch.command;
    if let Some(program) = launch.options.program {
        let error = sys::execveat(sys::inherited(program), launch.argv, launch.envp);
        return Err(failed(STAGE, Call::Execveat)(error).about(Subject::Command));
    }
    let is_name = name.to_bytes().iter().all(|&byte| byte != b'/');
    let error = if is_name { search(launch, name) } else { run(launch, name) };
    Err(explain(name, error))
}

/// Tries the command in each directory of PATH, as execvp(3) does.
// What it puts together is long, and most commands are paths.
#[inline(never)]
fn search(launch: &Launch<'static>, name: &CStr) -> Errno {
    let path = launch
        .envp
        .iter()
        .find_map(|variable| variable.to_bytes().strip_prefix(b"PATH="))
        .unwrap_or_default();
    let mut worst = Errno::NOENT;
    for directory in path.split(|&byte| byte == b':') {
        let mut candidate = Text::<{ 2 * MAX_PATH }>::new();
        // An empty part of PATH is the working directory.
        let directory = if directory.is_empty() { b"." } else { directory };
        candidate.bytes(directory).text("/").bytes(name.to_bytes());
        let Some(candidate) = candidate.c_str() else { continue };
        match run(launch, candidate) {
            Errno::NOENT | Errno::NOTDIR => {}
            // Another directory may have one that can be executed.
            Errno::ACCESS => worst = Errno::ACCESS,
            error => return error,
        }
    }
    worst
}

fn run(launch: &Launch<'static>, path: &CStr) -> Errno {
    sys::execve(path, launch.argv, launch.envp)
}

/// Tells a program on a mount that runs nothing from one that is not granted.
fn explain(name: &CStr, error: Errno) -> Failure {
    let failure = failed(STAGE, Call::Execve)(error).about(Subject::Command);
    let noexec = error == Errno::ACCESS
        && statvfs(name).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::NOEXEC));
    if noexec {
        return failure.because(Refusal::Noexec);
    }
    failure
}
