//! A mount namespace of one's own.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::geteuid;

/// The option by which a program knows that it is apart.
const APART: &str = "--apart";

/// Starts this program anew where what is mounted is seen by nobody else, unless
/// it is there already. That takes root, without whom nothing is mounted.
///
/// # Errors
///
/// Where unshare(1) cannot be run.
pub fn go(is_apart: bool) -> io::Result<()> {
    if is_apart || !geteuid().is_root() {
        return Ok(());
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--"]).arg(std::env::current_exe()?);
    Err(command.args(std::env::args_os().skip(1)).arg(APART).exec())
}
