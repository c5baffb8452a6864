//! `encode-policy`: compiles sandbox policies, and runs commands under them.
#![forbid(unsafe_code)]

mod changes;
mod cli;
mod commands;
mod documents;
mod filter;
mod options;
mod output;
mod overlay;
mod proxying;
mod render;
mod run;
mod source;
mod supervise;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
