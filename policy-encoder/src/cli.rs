//! The arguments, and what is done about them.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use policy_encoder::seccomp::Optimize;
use policy_encoder::{Architecture, Encoded, Place, presets};

use crate::filter::{self, FilterArguments};
use crate::render::{render, say};
use crate::source::{Source, Text};
use crate::{output, run};

/// Something is wrong with the policy, or could not be read or written.
pub(crate) const WRONG: u8 = 1;

/// The arguments make no sense.
pub(crate) const USAGE: u8 = 2;

/// `run` did not come as far as the command: the status the launcher has for
/// it, so that the command's own 1 and 2 keep their meaning.
const NOT_RUN: u8 = 125;

/// Compile a sandbox policy to the bytes that the launcher reads
///
/// With a policy and nothing else, writes the bytes to standard output:
///
///     encode-policy policy.toml | launcher --fd 3 -- cmd
///
/// A file that has the name of a command below is reached as ./NAME.
#[derive(Parser)]
#[command(
    name = "encode-policy",
    version,
    verbatim_doc_comment,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    encode: Encode,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command under a policy: encode it and start the launcher
    Run(Run),
    /// List the presets, or show one
    Presets(Presets),
    /// Say what is wrong with a policy; exit 1 if anything is
    Check(Check),
    /// Show the seccomp filter of a policy
    Seccomp(FilterArguments),
}

#[derive(Args)]
struct Encode {
    #[command(flatten)]
    policy: PolicyArguments,
    /// Where the bytes go, instead of standard output; replaced as a whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArguments,
    /// What the seccomp filter is to be cheap at
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    optimize: OptimizeFor,
}

#[derive(Args)]
struct Check {
    #[command(flatten)]
    policy: PolicyArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    policy: PolicyArguments,
    /// The directory that relative paths start from [default: the current one]
    #[arg(short = 'C', long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// What the seccomp filter is to be cheap at
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    optimize: OptimizeFor,
    #[command(flatten)]
    launcher: run::LauncherArguments,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Args)]
struct Presets {
    #[command(subcommand)]
    action: Option<PresetsAction>,
}

#[derive(Subcommand)]
enum PresetsAction {
    /// Print the TOML of a preset
    Show {
        /// Its name
        name: String,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PolicyArguments {
    /// The policy, in TOML or JSON; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// A policy that is built in, see `encode-policy presets`
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
}

#[derive(Args)]
pub(crate) struct PlaceArguments {
    /// The directory that relative paths start from [default: the current
    /// one, or / of the sysroot]
    #[arg(short = 'C', long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Judge paths in the tree below DIR, an unpacked image, instead of this
    /// host's
    #[arg(long, value_name = "DIR")]
    sysroot: Option<PathBuf>,
    /// The architecture that the policy is made for [default: this one]
    #[arg(long, value_name = "ARCH")]
    arch: Option<Arch>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "aarch64")]
    Aarch64,
    #[value(name = "riscv64")]
    Riscv64,
}

/// `--optimize`
#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum OptimizeFor {
    /// System calls
    #[default]
    Run,
    /// The launch, for commands of fewer than some hundred system calls
    Launch,
}

impl From<OptimizeFor> for Optimize {
    fn from(written: OptimizeFor) -> Self {
        match written {
            OptimizeFor::Run => Self::Run,
            OptimizeFor::Launch => Self::Launch,
        }
    }
}

/// Runs one command and says how it ended.
pub(crate) fn main() -> ExitCode {
    let done = match Arguments::try_parse() {
        Ok(Arguments { command: Some(Command::Run(run)), .. }) => run_command(&run),
        Ok(Arguments { command: Some(Command::Presets(presets)), .. }) => show_presets(&presets),
        Ok(Arguments { command: Some(Command::Check(check)), .. }) => self::check(&check),
        Ok(Arguments { command: Some(Command::Seccomp(filter)), .. }) => filter::show(&filter),
        Ok(Arguments { command: None, encode }) => self::encode(&encode),
        Err(error) => usage(&error),
    };
    done.map_or_else(ExitCode::from, |()| ExitCode::SUCCESS)
}

/// What a command came to; the error is its exit status, and everything that
/// there is to say has been said.
pub(crate) type Done = Result<(), u8>;

/// Prints what clap says: the help, or what is wrong with the arguments.
fn usage(error: &clap::Error) -> Done {
    let is_run = std::env::args_os().nth(1).is_some_and(|first| first == "run");
    // Nothing is left to do where even this cannot be said.
    let _ = error.print();
    match error.exit_code() {
        0 => Ok(()),
        _ if is_run => Err(NOT_RUN),
        _ => Err(USAGE),
    }
}

fn encode(arguments: &Encode) -> Done {
    if arguments.output.is_none() && output::is_terminal() {
        say("the encoded policy is not for a terminal: use -o FILE, or a pipe to the launcher");
        return Err(USAGE);
    }
    let text = read(&arguments.policy)?;
    let place = arguments.place.place()?;
    let encoded = compile(&text, &place, arguments.place.architecture(), arguments.optimize)?;
    write(arguments.output.as_deref(), &encoded.bytes)
}

/// Writes to a file, or to standard output.
pub(crate) fn write(file: Option<&Path>, bytes: &[u8]) -> Done {
    let written = match file {
        Some(file) => output::replace(file, bytes),
        None => output::print(bytes),
    };
    written.map_err(|error| {
        let place = file.unwrap_or(Path::new("standard output"));
        say(&format!("cannot write {}: {error}", place.display()));
        WRONG
    })
}

fn check(arguments: &Check) -> Done {
    let text = read(&arguments.policy)?;
    let place = arguments.place.place()?;
    let (_, diagnostics) =
        text.compile(&place, arguments.place.architecture(), Optimize::default());
    render(&text, &diagnostics);
    if diagnostics.iter().next().is_some() { Err(WRONG) } else { Ok(()) }
}

fn run_command(arguments: &Run) -> Done {
    let text = read(&arguments.policy).map_err(|_| NOT_RUN)?;
    let place = place(arguments.directory.as_deref()).map_err(|_| NOT_RUN)?;
    let encoded =
        compile(&text, &place, Architecture::NATIVE, arguments.optimize).map_err(|_| NOT_RUN)?;
    // Returns only if the launcher could not be started.
    let error = run::run(&encoded.bytes, &text.used_fds(), &arguments.launcher, &arguments.command);
    say(&error);
    Err(NOT_RUN)
}

fn show_presets(arguments: &Presets) -> Done {
    let text = match &arguments.action {
        None => presets::PRESETS
            .iter()
            .map(|preset| format!("{:<10} {}\n", preset.name, preset.description()))
            .collect(),
        Some(PresetsAction::Show { name }) => preset(name)?.text.to_owned(),
    };
    io::stdout().write_all(text.as_bytes()).map_err(|error| {
        say(&format!("cannot write standard output: {error}"));
        WRONG
    })
}

fn preset(name: &str) -> Result<&'static presets::Preset, u8> {
    presets::find(name).ok_or_else(|| {
        let help = match presets::nearest(name) {
            Some(nearest) => format!("did you mean {nearest:?}?"),
            None => "see `encode-policy presets`".to_owned(),
        };
        say(&format!("there is no preset {name:?}; {help}"));
        USAGE
    })
}

/// The text of the policy, or what is wrong with the file.
pub(crate) fn read(arguments: &PolicyArguments) -> Result<Text, u8> {
    let source = match (&arguments.file, &arguments.preset) {
        (Some(file), _) => Source::of_argument(file),
        (None, Some(name)) => Source::Preset(preset(name)?),
        (None, None) => return Err(USAGE),
    };
    source.read().map_err(|complaint| {
        say(&complaint);
        WRONG
    })
}

/// The encoded policy, with everything that is wrong with it said.
pub(crate) fn compile(
    text: &Text,
    place: &Place,
    architecture: Architecture,
    optimize: OptimizeFor,
) -> Result<Encoded, u8> {
    let (encoded, diagnostics) = text.compile(place, architecture, optimize.into());
    render(text, &diagnostics);
    encoded.ok_or(WRONG)
}

/// The current directory, or the one that was named.
fn place(directory: Option<&Path>) -> Result<Place, u8> {
    let place = match directory {
        None => Place::here(),
        Some(directory) => Place::in_directory(directory),
    };
    place.map_err(|error| {
        let directory = directory.unwrap_or(Path::new("."));
        say(&format!("cannot start from the directory {}: {error}", directory.display()));
        WRONG
    })
}

impl PlaceArguments {
    pub(crate) fn place(&self) -> Result<Place, u8> {
        let Some(sysroot) = &self.sysroot else { return place(self.directory.as_deref()) };
        let directory = self.directory.as_deref().unwrap_or(Path::new("/"));
        Place::in_sysroot(sysroot, directory).map_err(|error| {
            say(&format!("cannot judge paths in {}: {error}", sysroot.display()));
            WRONG
        })
    }

    pub(crate) fn architecture(&self) -> Architecture {
        match self.arch {
            None => Architecture::NATIVE,
            Some(Arch::X86_64) => Architecture::X86_64,
            Some(Arch::Aarch64) => Architecture::Aarch64,
            Some(Arch::Riscv64) => Architecture::Riscv64,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_well_defined() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_policy_alone_is_enough() {
        let arguments = Arguments::try_parse_from(["encode-policy", "policy.toml"]);
        let file = arguments.ok().and_then(|arguments| arguments.encode.policy.file);
        assert_eq!(file.as_deref(), Some(Path::new("policy.toml")));
    }

    #[test]
    fn a_file_with_the_name_of_a_command_is_reached_through_its_directory() {
        let arguments = Arguments::try_parse_from(["encode-policy", "./run"]);
        assert!(arguments.is_ok_and(|arguments| arguments.command.is_none()));
    }

    #[test]
    fn a_file_and_a_preset_are_one_too_many() {
        let both = ["encode-policy", "--preset", "strict", "policy.toml"];
        assert!(Arguments::try_parse_from(both).is_err());
        assert!(Arguments::try_parse_from(["encode-policy", "-o", "x"]).is_err());
        assert!(Arguments::try_parse_from(["encode-policy", "run", "--", "true"]).is_err());
    }
}
