//! Runs a command that may write in a directory, and decides about what it changes
//! there: nothing in `.git`. `keeper DIRECTORY COMMAND [ARGUMENT]...`
#![allow(missing_docs, reason = "an example")]

use std::env::args_os;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use launcher_spawn::supervisor::{Category, PolicyContext, SyscallEvent, Verdict};
use launcher_spawn::{Error, Sandbox};

fn main() -> ExitCode {
    let mut arguments = args_os().skip(1);
    let (Some(directory), Some(program)) = (arguments.next(), arguments.next()) else {
        eprintln!("keeper: say a directory, and a command");
        return ExitCode::from(2);
    };
    match run(Path::new(&directory), &program, arguments.collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("keeper: {error}");
            ExitCode::from(125)
        }
    }
}

fn run(directory: &Path, program: &OsStr, arguments: Vec<OsString>) -> Result<ExitCode, Error> {
    let policy = format!("filesystem = {{ root = 'host', write = [{directory:?}] }}");
    // Nothing else is asked about, so nothing else costs anything.
    let sandbox = Sandbox::from_toml(&policy)?.ask(&[Category::File]).policy_fn(decide);
    let status = sandbox.command(program).args(arguments).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The path is that of the file itself, whatever name led there.
fn decide(event: &SyscallEvent, _: &mut PolicyContext) -> Verdict {
    let is_kept = |path: &Path| path.components().any(|name| name.as_os_str() == ".git");
    let second = event.second.as_deref();
    if !event.is_write() || !is_kept(&event.path) && !second.is_some_and(is_kept) {
        return Verdict::Allow;
    }
    let verb = if event.is_open() { "open" } else { event.name };
    eprintln!("denied: {verb} {}", event.path.display());
    Verdict::Deny
}
