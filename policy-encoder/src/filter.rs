//! `encode-policy seccomp`: the filter of a policy, to read or for others.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use launcher_policy::wire::{self, MAGIC, MAX_FRAME};
use policy_encoder::Architecture;
use policy_encoder::seccomp::export;

use crate::cli::{
    Done, OptimizeFor, PlaceArguments, PolicyArguments, USAGE, WRONG, compile, read, write,
};
use crate::output;
use crate::render::say;

/// The arguments of the command. What is encoded already is shown as it is.
#[derive(Args)]
pub(crate) struct FilterArguments {
    #[command(flatten)]
    policy: PolicyArguments,
    /// How it is shown
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
    /// The filter where the namespaces cannot be made
    #[arg(long)]
    without_namespaces: bool,
    /// Where it goes, instead of standard output; replaced as a whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What the filter is to be cheap at
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    optimize: OptimizeFor,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Assembly with names, as the kernel's bpf_asm reads it
    #[default]
    Asm,
    /// An array of struct sock_filter, as bwrap --seccomp takes it
    Bpf,
    /// The instructions, and what becomes of every call
    Json,
}

/// A filter, where the namespaces are made and where they cannot be.
struct Filters {
    architecture: Architecture,
    filter: Vec<u8>,
    without_namespaces: Vec<u8>,
}

/// Writes the filter.
pub(crate) fn show(arguments: &FilterArguments) -> Done {
    if arguments.format == Format::Bpf && arguments.output.is_none() && output::is_terminal() {
        say("a filter's instructions are not for a terminal: use -o FILE, or --format asm");
        return Err(USAGE);
    }
    let filters = match arguments.policy.file.as_deref().and_then(encoded) {
        Some(frame) => decode(&frame)?,
        None => encode(arguments)?,
    };
    // Nothing stands where it would be the same.
    let filter = match (arguments.without_namespaces, filters.without_namespaces.as_slice()) {
        (false, _) | (true, []) => filters.filter.as_slice(),
        (true, other) => other,
    };
    let shown = match arguments.format {
        Format::Bpf => Ok(filter.to_vec()),
        Format::Asm => export::asm(filter, filters.architecture).map(String::into_bytes),
        Format::Json => export::json(filter, filters.architecture).map(String::into_bytes),
    };
    match shown {
        Ok(shown) => write(arguments.output.as_deref(), &shown),
        Err(error) => {
            say(error.refusal().name());
            Err(WRONG)
        }
    }
}

/// The bytes of a file that is an encoded policy.
fn encoded(file: &Path) -> Option<Vec<u8>> {
    if !file.is_file() {
        return None;
    }
    let mut start = [0; MAGIC.len()];
    let mut open = File::open(file).ok()?;
    open.read_exact(&mut start).ok()?;
    let mut frame = start.to_vec();
    open.take(MAX_FRAME as u64).read_to_end(&mut frame).ok()?;
    (start == MAGIC).then_some(frame)
}

fn decode(frame: &[u8]) -> Result<Filters, u8> {
    let policy = wire::decode(frame).map_err(|error| {
        say(error.message());
        WRONG
    })?;
    let seccomp = policy.seccomp.ok_or_else(none)?;
    Ok(Filters {
        architecture: Architecture::NATIVE,
        filter: seccomp.filter.to_vec(),
        without_namespaces: seccomp.without_namespaces.to_vec(),
    })
}

fn encode(arguments: &FilterArguments) -> Result<Filters, u8> {
    let place = arguments.place.place()?;
    let text = read(&arguments.policy, &place)?;
    let architecture = arguments.place.architecture();
    let encoded = compile(&text, &place, architecture, arguments.optimize)?;
    let compiled = encoded.seccomp.ok_or_else(none)?;
    Ok(Filters {
        architecture,
        filter: compiled.filter,
        without_namespaces: compiled.without_namespaces,
    })
}

fn none() -> u8 {
    say("the policy has no filter: enforce.seccomp is \"off\"");
    WRONG
}
