//! `encode-policy`: compiles sandbox policies, and runs commands under them.
#![forbid(unsafe_code)]

mod cli;
mod filter;
mod output;
mod render;
mod run;
mod source;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
