//! Runs a command under sandlock-core with a policy function that allows everything:
//! what our supervisor is measured against.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use sandlock_core::Sandbox;
use sandlock_core::policy_fn::Verdict;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let command: Vec<String> = env::args().skip(1).collect();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut sandbox = Sandbox::builder()
        .fs_read("/")
        .net_allow("udp://127.0.0.1:*")
        .net_allow("tcp://127.0.0.1:*")
        .policy_fn(|_, _| Verdict::Allow)
        .build()
        .expect("it is a policy");
    let runtime = Runtime::new().expect("it starts");
    let ran = runtime.block_on(sandbox.run(&command)).expect("it runs");
    for (mut to, bytes) in [
        (Box::new(io::stdout()) as Box<dyn Write>, &ran.stdout),
        (Box::new(io::stderr()), &ran.stderr),
    ] {
        to.write_all(bytes.as_deref().unwrap_or_default()).expect("it is written");
    }
    if ran.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
