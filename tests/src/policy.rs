//! From the text of a policy to its bytes, with the probe in view.

use std::path::Path;

use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::{Architecture, Place, parse};

/// The bytes of a policy whose relative paths start from `/`.
///
/// # Panics
///
/// If it has errors.
#[track_caller]
pub fn encode(policy: &str) -> Vec<u8> {
    encode_in(policy, Path::new("/"))
}

/// The bytes of a policy whose relative paths start from `directory`.
///
/// # Panics
///
/// If it has errors.
#[track_caller]
pub fn encode_in(policy: &str, directory: &Path) -> Vec<u8> {
    let (document, mut diagnostics) = parse::toml(policy);
    let place = Place::in_directory(directory).expect("the directory exists");
    let bytes = policy_encoder::encode(&document, &place, Architecture::NATIVE, &mut diagnostics);
    bytes.unwrap_or_else(|| panic!("{policy}\n{}", messages(&diagnostics)))
}

/// The same policy with one more entry to execute.
///
/// # Panics
///
/// If it is not TOML.
#[track_caller]
pub fn with_probe(policy: &str, probe: &Path) -> String {
    let mut document: toml::Table = policy.parse().expect("the policy is TOML");
    let filesystem = document.entry("filesystem").or_insert_with(|| toml::Table::new().into());
    let filesystem = filesystem.as_table_mut().expect("filesystem is a table");
    let execute = filesystem.entry("execute").or_insert_with(|| toml::Value::Array(Vec::new()));
    let probe = probe.to_str().expect("the path of the probe is text").into();
    execute.as_array_mut().expect("execute is a list").push(probe);
    document.to_string()
}

fn messages(diagnostics: &Diagnostics) -> String {
    diagnostics.iter().map(|diagnostic| format!("{}\n", diagnostic.message)).collect()
}
