//! The arguments, and what is done about them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::seccomp::Optimize;
use policy_encoder::sources::Sources;
use policy_encoder::{Architecture, Encoded, Place, portability, presets};

use crate::commands::{compare, explain, host, learn, probe, receipt, trace, verify};
use crate::filter::{self, FilterArguments};
use crate::options::Options;
use crate::overlay::Overlays;
use crate::proxying::{ProxyArguments, Waiting};
use crate::render::{render, say};
use crate::source::{Source, Text};
use crate::supervise::SuperviseArguments;
use crate::{changes, documents, output, run};

/// Something is wrong with the policy, or could not be read or written.
pub(crate) const WRONG: u8 = 1;

/// The arguments make no sense.
pub(crate) const USAGE: u8 = 2;

/// What runs a command did not come as far as that: the status the launcher has for
/// it, so that the command's own 1 and 2 keep their meaning.
pub(crate) const NOT_RUN: u8 = 125;

/// Says why a command was not run.
pub(crate) fn not_run(error: String) -> u8 {
    say(&error);
    NOT_RUN
}

/// The preset that `run` starts from where no policy is named: without any,
/// nothing is visible, so that nothing can run.
const BASE: &str = "strict";

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
    Run(Box<Run>),
    /// Run a command under a policy and say what was denied, with the line that
    /// would permit it
    Trace(Box<trace::Arguments>),
    /// Run a command unconfined but watched, and write a policy for it
    Learn(Box<learn::Arguments>),
    /// List the presets, or show one
    Presets(Presets),
    /// Say what is wrong with a policy, and what is good to know; exit 1 if anything is wrong
    Check(Check),
    /// Show what a policy grants, or answer about one path: exit 0 for yes, 1
    /// for no
    Explain(explain::Arguments),
    /// Run the launcher with a probe inside, and say where the kernel does
    /// otherwise than `explain` says; exit 1 if it does anywhere
    Verify(verify::Arguments),
    /// Say whether policy B is at least as strict as A, and what it grants
    /// that A does not; exit 0 for yes, 1 for no
    Compare(compare::Arguments),
    /// Show what this host gives to a launch, and what can be done about the
    /// rest
    Host(host::Arguments),
    /// Show what a launch wrote to --status-fd, and say whether it satisfies a
    /// policy; exit 1 if it does not
    Receipt(receipt::Arguments),
    /// What `verify` runs inside
    #[command(hide = true)]
    VerifyProbe,
    /// Print the JSON Schema of the policy document, for editors
    Schema,
    /// Print the completions of a shell
    Completions(Completions),
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man(Man),
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
    /// The policy may be encoded already
    #[command(flatten)]
    policy: PolicyArguments,
    #[command(flatten)]
    place: PlaceArguments,
    #[command(flatten)]
    question: host::Question,
}

#[derive(Args)]
struct Run {
    /// The policy, in TOML or JSON; - is standard input [default: the preset
    /// strict]
    #[arg(value_name = "FILE", conflicts_with = "preset")]
    file: Option<PathBuf>,
    /// A policy that is built in, see `encode-policy presets`
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    #[command(flatten)]
    options: Options,
    /// Print the policy with all that it extends as one document, instead of
    /// running anything
    #[arg(long)]
    print: bool,
    /// The directory that relative paths start from [default: the current one]
    #[arg(short = 'C', long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Show at the end what was changed in overlays that name no `upper`
    #[arg(long)]
    diff: bool,
    /// Keep the changes of such an overlay in DIR, which is new or empty
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// What the seccomp filter is to be cheap at
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    optimize: OptimizeFor,
    #[command(flatten)]
    proxy: ProxyArguments,
    #[command(flatten)]
    supervise: SuperviseArguments,
    #[command(flatten)]
    launcher: run::LauncherArguments,
    /// The command and its arguments
    #[arg(last = true, required_unless_present = "print", value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Args)]
struct Completions {
    /// Which shell
    shell: Shell,
}

#[derive(Args)]
struct Man {
    /// The directory, which has to exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// What the launcher prints for --help, of which its page is made, too
    #[arg(long, value_name = "FILE")]
    launcher_help: Option<PathBuf>,
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
    pub(crate) preset: Option<String>,
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
    pub(crate) sysroot: Option<PathBuf>,
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
        Ok(Arguments { command: Some(Command::Trace(trace)), .. }) => trace::main(&trace),
        Ok(Arguments { command: Some(Command::Learn(learn)), .. }) => learn::main(&learn),
        Ok(Arguments { command: Some(Command::Presets(presets)), .. }) => show_presets(&presets),
        Ok(Arguments { command: Some(Command::Check(check)), .. }) => self::check(&check),
        Ok(Arguments { command: Some(Command::Explain(explain)), .. }) => explain::main(&explain),
        Ok(Arguments { command: Some(Command::Verify(verify)), .. }) => verify::main(&verify),
        Ok(Arguments { command: Some(Command::Compare(compare)), .. }) => compare::main(&compare),
        Ok(Arguments { command: Some(Command::Host(host)), .. }) => host::main(&host),
        Ok(Arguments { command: Some(Command::Receipt(receipt)), .. }) => receipt::main(&receipt),
        Ok(Arguments { command: Some(Command::VerifyProbe), .. }) => probe::main(),
        Ok(Arguments { command: Some(Command::Schema), .. }) => show(&documents::schema()),
        Ok(Arguments { command: Some(Command::Completions(completions)), .. }) => {
            show(&documents::completions(&mut Arguments::command(), completions.shell))
        }
        Ok(Arguments { command: Some(Command::Man(man)), .. }) => write_pages(&man),
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
    let runs = ["run", "trace", "learn"];
    let first = std::env::args_os().nth(1);
    let is_run = first.is_some_and(|first| runs.iter().any(|run| first == *run));
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
    let place = arguments.place.place()?;
    let text = read(&arguments.policy, &place)?;
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
    if let Some(bytes) = arguments.policy.file.as_deref().and_then(explain::encoded) {
        return check_encoded(&arguments.question, &bytes);
    }
    let place = arguments.place.place()?;
    let text = read(&arguments.policy, &place)?;
    let (encoded, mut diagnostics) =
        text.compile(&place, arguments.place.architecture(), Optimize::default());
    if !diagnostics.has_errors() {
        say_portability(&text, &place, &mut diagnostics);
    }
    if let Some(encoded) = encoded {
        judge(&arguments.question, &encoded.bytes, &mut diagnostics)?;
    }
    render(text.sources(), &diagnostics);
    if diagnostics.has_complaints() { Err(WRONG) } else { Ok(()) }
}

/// Of bytes nothing is to be said but what was asked.
fn check_encoded(question: &host::Question, bytes: &[u8]) -> Done {
    let mut diagnostics = Diagnostics::default();
    judge(question, bytes, &mut diagnostics)?;
    render(&Sources::default(), &diagnostics);
    if diagnostics.has_complaints() { Err(WRONG) } else { Ok(()) }
}

/// Adds whether the policy can be honoured, where that was asked.
fn judge(question: &host::Question, bytes: &[u8], diagnostics: &mut Diagnostics) -> Done {
    let policy = explain::decoded(bytes)?;
    host::say_verdict(question, &policy, diagnostics).map_err(wrong)
}

/// Says whether the bytes would hold on another host, and why not.
fn say_portability(text: &Text, place: &Place, diagnostics: &mut Diagnostics) {
    match portability::reasons(text.document(), place).as_slice() {
        [] => {
            diagnostics.note_anywhere("the bytes hold on every host that has these paths");
        }
        reasons => {
            let message = format!("the bytes hold for this host: {}", reasons.join("; "));
            diagnostics
                .note_anywhere(message)
                .help("directories that differ can be passed in: { fd = 5, at = \"/work\" }");
        }
    }
}

fn run_command(arguments: &Run) -> Done {
    let place = place(arguments.directory.as_deref()).map_err(|_| NOT_RUN)?;
    let mut text = arguments.read(&place).map_err(|_| NOT_RUN)?;
    if arguments.print {
        return print(&text).map_err(|_| NOT_RUN);
    }
    let mut overlays = Overlays::new(arguments.keep.as_deref()).map_err(not_run)?;
    text.place_overlays(|| overlays.add()).map_err(not_run)?;
    let encoded =
        compile(&text, &place, Architecture::NATIVE, arguments.optimize).map_err(|_| NOT_RUN)?;
    let bytes = encoded.bytes;
    let fds = text.used_fds();
    let mut launcher = run::Launcher::new(&bytes, &fds, &arguments.launcher, &arguments.command)
        .map_err(not_run)?;
    if overlays.is_empty() && (arguments.diff || arguments.keep.is_some()) {
        return Err(not_run("the policy has no overlay without `upper`".to_owned()));
    }
    let supervisor = arguments.supervise.begin(&bytes).map_err(not_run)?;
    if let Some(socket) = &supervisor {
        launcher.notify(socket).map_err(not_run)?;
    }
    let proxy = Waiting::new(&bytes, &arguments.proxy).map_err(not_run)?;
    let stays = supervisor.is_some() || proxy.is_some() || !overlays.is_empty();
    // The launcher alone has it, so that its end is that of the socket.
    drop(supervisor);
    if let Some((proxy, passed)) = proxy {
        launcher.serve(proxy, &passed).map_err(not_run)?;
    }
    if !stays {
        // Returns only if the launcher could not be started.
        return Err(not_run(launcher.exec()));
    }
    overlays.check(&bytes).map_err(not_run)?;
    let status = launcher.wait().map_err(not_run)?;
    if arguments.diff {
        let mut changes = overlays.changes().map_err(not_run)?;
        if output::is_terminal() {
            changes = changes::printable(&changes);
        }
        show(&changes)?;
    }
    overlays.end().map_err(not_run)?;
    if status == 0 { Ok(()) } else { Err(status) }
}

fn show_presets(arguments: &Presets) -> Done {
    let text = match &arguments.action {
        None => presets::PRESETS
            .iter()
            .map(|preset| {
                let (name, kind) = (preset.name, preset.kind.word());
                format!("{name:<9} {kind:<7} {}\n", preset.description())
            })
            .collect(),
        Some(PresetsAction::Show { name }) => preset(name)?.text.to_owned(),
    };
    show(text.as_bytes())
}

/// Prints what does not depend on any policy.
fn show(text: &[u8]) -> Done {
    output::print(text).map_err(|error| {
        say(&format!("cannot write standard output: {error}"));
        WRONG
    })
}

fn write_pages(arguments: &Man) -> Done {
    let help = arguments.launcher_help.as_deref();
    documents::write_pages(Arguments::command(), help, &arguments.directory).map_err(|error| {
        say(&format!("cannot write the manual pages: {error}"));
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
pub(crate) fn read(arguments: &PolicyArguments, place: &Place) -> Result<Text, u8> {
    let source = source(arguments.file.as_deref(), arguments.preset.as_deref())?;
    source.ok_or(USAGE)?.read(place).map_err(wrong)
}

fn source(file: Option<&Path>, name: Option<&str>) -> Result<Option<Source>, u8> {
    match (file, name) {
        (Some(file), _) => Ok(Some(Source::of_argument(file))),
        (None, Some(name)) => Ok(Some(Source::Preset(preset(name)?))),
        (None, None) => Ok(None),
    }
}

/// Says what is wrong with a policy.
fn wrong(complaint: String) -> u8 {
    say(&complaint);
    WRONG
}

impl Run {
    /// The policy: what was named, else the strictest preset, and over it
    /// what the options say.
    fn read(&self, place: &Place) -> Result<Text, u8> {
        let source = match source(self.file.as_deref(), self.preset.as_deref())? {
            Some(source) => source,
            None => Source::Preset(preset(BASE)?),
        };
        let text = match self.options.input() {
            Some(options) => source.read_under(options, place),
            None => source.read(place),
        };
        text.map_err(wrong)
    }
}

/// Writes the policy as one document.
fn print(text: &Text) -> Done {
    render(text.sources(), text.diagnostics());
    if text.diagnostics().has_errors() {
        return Err(WRONG);
    }
    let written = text.document().to_toml().map_err(wrong)?;
    show(written.as_bytes())
}

/// The encoded policy, with everything that is wrong with it said; what is
/// only good to know is for `check`.
pub(crate) fn compile(
    text: &Text,
    place: &Place,
    architecture: Architecture,
    optimize: OptimizeFor,
) -> Result<Encoded, u8> {
    let (encoded, diagnostics) = text.compile(place, architecture, optimize.into());
    render(text.sources(), &diagnostics.without_notes());
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
    /// This host and its architecture.
    pub(crate) const fn of_directory(directory: Option<PathBuf>) -> Self {
        Self { directory, sysroot: None, arch: None }
    }

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
        let both = ["encode-policy", "run", "--preset", "strict", "policy.toml", "--", "true"];
        assert!(Arguments::try_parse_from(both).is_err());
    }

    #[test]
    fn what_runs_is_named_unless_the_policy_is_printed() {
        assert!(Arguments::try_parse_from(["encode-policy", "run", "--", "true"]).is_ok());
        assert!(Arguments::try_parse_from(["encode-policy", "run", "--print"]).is_ok());
        assert!(Arguments::try_parse_from(["encode-policy", "run", "policy.toml"]).is_err());
    }
}
