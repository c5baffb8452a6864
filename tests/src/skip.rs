//! Tests that a host cannot run.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::{Outcome, PATH, Sandbox};

/// What may be skipped where `CI` is set: its hosts lack it.
pub const EXPECTED_SKIPS: &[&str] =
    &["cgroup_controllers", "landlock_9", "landlock_10", "old_kernel"];

/// Says once that tests, or parts of them, are skipped, past the capture of
/// output.
///
/// # Panics
///
/// Where `CI` is set and neither [`EXPECTED_SKIPS`] nor the variable of that
/// name, a list with commas, has the name.
pub fn skipped(name: &str, reason: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
        // Nobody to read it is no reason to fail.
        let _ = writeln!(std::io::stderr(), "SKIP {name}: {reason}");
    }
    let named = std::env::var("EXPECTED_SKIPS").unwrap_or_default();
    let expected = EXPECTED_SKIPS.contains(&name) || named.split(',').any(|each| each == name);
    assert!(expected || std::env::var_os("CI").is_none(), "unexpected skip of {name}: {reason}");
}

/// Skips the rest of a test by name, for a reason, and counts on CI to notice.
#[macro_export]
macro_rules! skip {
    ($name:expr, $reason:expr) => {{
        $crate::skipped($name, $reason);
        return;
    }};
}

/// Skips the rest of a test by the first of these programs that is not there.
#[macro_export]
macro_rules! needs {
    ($($program:literal),+) => {
        $(if !$crate::has_program($program) {
            $crate::skip!($program, "the program is not installed");
        })+
    };
}

/// Whether a program is on the PATH that the tests give.
pub fn has_program(name: &str) -> bool {
    PATH.split(':').any(|directory| Path::new(directory).join(name).is_file())
}

/// The home directory in which rustup has a toolchain, and its cargo.
pub fn cargo_of_rustup() -> Option<(String, String)> {
    let home = std::env::var("HOME").ok()?;
    let cargo = format!("{home}/.cargo/bin/cargo");
    let is_there = Path::new(&cargo).exists() && Path::new(&home).join(".rustup").exists();
    is_there.then_some((home, cargo))
}

/// Skips the rest of a test where strace(1) cannot trace and inject faults.
#[macro_export]
macro_rules! needs_strace {
    () => {
        if !$crate::has_strace() {
            $crate::skip!("strace", "strace is not installed, or may not trace");
        }
    };
}

/// Whether strace is there and allowed to inject faults.
pub fn has_strace() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        Command::new("strace")
            .args(["-qq", "-o", "/dev/null", "-e", "inject=getppid:error=EIO", "true"])
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// Skips the rest of a test where the kernel's Landlock has an older ABI.
#[macro_export]
macro_rules! needs_landlock {
    ($abi:literal) => {
        if $crate::landlock_abi() < $abi {
            $crate::skip!(concat!("landlock_", $abi), "the kernel has no such Landlock");
        }
    };
}

/// Skips the rest of a test where an ordinary user can make no namespace.
#[macro_export]
macro_rules! needs_namespaces {
    () => {
        if !$crate::has_namespaces() {
            $crate::skip!("namespaces", "user namespaces are closed here");
        }
    };
}

/// Whether an ordinary user can make a user namespace.
pub fn has_namespaces() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    // CLONE_NEWUSER
    let ask = || Sandbox::outside().as_nobody().probe("unshare 0x10000000").is_ok();
    *ANSWER.get_or_init(ask)
}

/// The kernel's Landlock ABI, 0 for none.
pub fn landlock_abi() -> u32 {
    static ANSWER: OnceLock<u32> = OnceLock::new();
    // LANDLOCK_CREATE_RULESET_VERSION
    let ask = || match Sandbox::outside().probe("syscall landlock_create_ruleset 0 0 1") {
        Outcome::Ok(abi) => abi.parse().expect("a number"),
        _ => 0,
    };
    *ANSWER.get_or_init(ask)
}
