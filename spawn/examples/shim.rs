//! Becomes a command in a sandbox: `shim POLICY.toml COMMAND [ARGUMENT]...`.
#![allow(missing_docs, reason = "an example")]

use std::env::args_os;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use launcher_spawn::{CommandExt as _, Error, Sandbox};

fn main() -> ExitCode {
    let mut arguments = args_os().skip(1);
    let (Some(policy), Some(program)) = (arguments.next(), arguments.next()) else {
        eprintln!("shim POLICY.toml COMMAND [ARGUMENT]...");
        return ExitCode::from(125);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let confined = Sandbox::from_file(policy).and_then(|sandbox| command.sandboxed(&sandbox));
    let error = confined.map_or_else(|error| error, |_| Error::from(command.exec()));
    eprintln!("shim: {error}");
    ExitCode::from(125)
}
