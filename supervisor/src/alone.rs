//! Tests that change what belongs to the whole process.

use std::env;
use std::process::Command;

/// Runs a test in a process of its own; whether this is that process.
pub(crate) fn is_alone(test: &str) -> bool {
    const ALONE: &str = "SUPERVISOR_TEST_ALONE";
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let own = env::current_exe().expect("it has a path");
    let output = Command::new(own).args(["--exact", test]).env(ALONE, "").output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
    false
}
