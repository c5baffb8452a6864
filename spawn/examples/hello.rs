//! Runs one command in a sandbox: `hello [POLICY.toml] [COMMAND [ARGUMENT]...]`.
#![allow(missing_docs, reason = "an example")]

use std::env::args_os;
use std::process::ExitCode;

use launcher_spawn::{Error, Sandbox};

/// What is run where nothing is named: nothing of the host but its programs,
/// to be read.
const POLICY: &str = r#"
filesystem.root = "host"
limits.wall_time = "10s"
"#;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hello: {error}");
            ExitCode::from(125)
        }
    }
}

fn run() -> Result<ExitCode, Error> {
    let mut arguments = args_os().skip(1);
    let sandbox = match arguments.next() {
        Some(policy) => Sandbox::from_file(policy)?,
        None => Sandbox::from_toml(POLICY)?,
    };
    let program = arguments.next().unwrap_or_else(|| "echo".into());
    let mut command = sandbox.prepare()?.command(program);
    if arguments.len() == 0 {
        command.arg("hello from a sandbox");
    }
    let status = command.args(arguments).status()?;
    println!("it ended with {status}");
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
