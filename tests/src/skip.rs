//! Tests that a host cannot run.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// What may be skipped where `CI` is set: its hosts lack it.
pub const EXPECTED_SKIPS: &[&str] = &[];

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
