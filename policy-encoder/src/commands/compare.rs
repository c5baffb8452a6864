//! `encode-policy compare`: whether one policy is at least as strict as
//! another.

use std::path::{Path, PathBuf};

use clap::Args;
use policy_encoder::compare::excess;
use policy_encoder::presets;
use serde_json::json;

use super::explain::{Given, write_json};
use crate::cli::{Done, PlaceArguments, PolicyArguments, USAGE, WRONG};
use crate::render::say;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The policy to compare with: a document, an encoded policy, or the name
    /// of a preset
    #[arg(value_name = "A")]
    other: PathBuf,
    /// The policy that should be at least as strict
    #[arg(value_name = "B")]
    policy: PathBuf,
    #[command(flatten)]
    place: PlaceArguments,
    /// Write JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Says what B grants that A does not.
pub(crate) fn main(arguments: &Arguments) -> Done {
    // 1 is an answer.
    let read = |file: &Path| Given::read(&named(file), &arguments.place).map_err(|_| USAGE);
    let (other, given) = (read(&arguments.other)?, read(&arguments.policy)?);
    let found = {
        let (other, policy) =
            (other.policy().map_err(|_| USAGE)?, given.policy().map_err(|_| USAGE)?);
        excess(&policy, &other, given.architecture)
    };
    let (a, b) = (arguments.other.display(), arguments.policy.display());
    let written = match (arguments.json, found.as_slice()) {
        (true, found) => {
            write_json(&json!({ "at_least_as_strict": found.is_empty(), "grants": found }))
        }
        (false, []) => {
            crate::output::print(format!("{b} is at least as strict as {a}\n").as_bytes())
        }
        (false, found) => {
            let lines: String = found.iter().map(|excess| format!("  {excess}\n")).collect();
            crate::output::print(format!("{b} grants what {a} does not:\n{lines}").as_bytes())
        }
    };
    match written {
        Ok(()) if found.is_empty() => Ok(()),
        Ok(()) => Err(WRONG),
        Err(error) => {
            say(&format!("cannot write standard output: {error}"));
            Err(USAGE)
        }
    }
}

/// A file, or a preset where no file has the name.
fn named(file: &Path) -> PolicyArguments {
    let preset = file.to_str().filter(|_| !file.exists()).and_then(presets::find);
    match preset {
        Some(preset) => PolicyArguments { file: None, preset: Some(preset.name.to_owned()) },
        None => PolicyArguments { file: Some(file.to_owned()), preset: None },
    }
}
