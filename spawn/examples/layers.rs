//! Runs a command of [`std::process`] under some layers of a policy, and says
//! which there are: `layers POLICY.toml LAYER[,LAYER]... COMMAND [ARGUMENT]...`.
#![allow(missing_docs, reason = "an example")]
#![allow(unsafe_code, reason = "what runs between fork and exec")]

use std::env::args_os;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use launcher_spawn::{Error, Sandbox};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("layers: {error}");
            ExitCode::from(125)
        }
    }
}

fn run() -> Result<bool, Error> {
    let mut arguments = args_os().skip(1);
    let mut next = || arguments.next().ok_or_else(|| io::Error::other("an argument is missing"));
    let (policy, names, program) = (next()?, next()?, next()?);
    let names = names.to_string_lossy().into_owned();
    let mut command = Command::new(program);
    command.args(arguments);
    for layer in Sandbox::from_file(policy)?.layers() {
        match layer.available() {
            Ok(()) => eprintln!("{}: available", layer.name()),
            Err(why) => eprintln!("{}: {why}", layer.name()),
        }
        if names.split(',').any(|name| name == layer.name()) {
            let ready = layer.prepare()?;
            // SAFETY: applying a layer is what may be done between fork and exec.
            unsafe { command.pre_exec(move || ready.apply()) };
        }
    }
    Ok(command.status()?.success())
}
