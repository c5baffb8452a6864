//! Starts a command that outlives this program, and says its process id:
//! `detached COMMAND [ARGUMENT]...`.
#![allow(missing_docs, reason = "an example")]

use std::env::args_os;
use std::process::ExitCode;

use launcher_spawn::{Error, Sandbox};

fn main() -> ExitCode {
    match start() {
        Ok(pid) => {
            println!("{pid}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("detached: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<u32, Error> {
    // Else everything would end with this process.
    let sandbox = Sandbox::from_toml("filesystem.root = 'minimal'")?.detached()?;
    let program = args_os().nth(1).unwrap_or_else(|| "true".into());
    Ok(sandbox.command(program).args(args_os().skip(2)).spawn()?.id())
}
