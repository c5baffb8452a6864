//! `encode-policy learn`: a policy from what a command was seen to do.

mod seen;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use launcher_policy::wire;
use launcher_supervisor::watch::WATCHED;
use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::learn::{Draft, Surroundings, Variable};
use policy_encoder::{Architecture, Place, encode, parse, watched as policies};

use super::watched;
use crate::cli::{self, Done, not_run};
use crate::output;
use crate::run::{Launcher, LauncherArguments};
use seen::Learner;

/// What a command is watched with: the default profile says which calls are worth
/// a line, and everything else is as it is without a policy.
const BASE: &str = r#"
    filesystem = { root = "host", tmp = "host", home = "host" }
    network = { access = "host", unix = "host" }
    process = { die_with_parent = false, env.keep = ["*"] }
"#;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where the policy goes
    #[arg(short, long, value_name = "FILE", required = true)]
    output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    launcher: LauncherArguments,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command, and writes the policy at its end.
pub(crate) fn main(arguments: &Arguments) -> Done {
    let output = arguments.output.display();
    if !arguments.force && arguments.output.symlink_metadata().is_ok() {
        return Err(not_run(format!("{output} is there already; --force replaces it")));
    }
    // What was seen would be lost at the end.
    if let Err(error) = output::can_be_put(&arguments.output) {
        return Err(not_run(format!("cannot write {output}: {error}")));
    }
    let place = Place::here()
        .map_err(|error| not_run(format!("cannot find the working directory: {error}")))?;
    let (learner, bytes) = prepare(&place).map_err(not_run)?;
    let used = Default::default();
    let end = Learner::take;
    let launcher = Launcher::new(&bytes, &used, &arguments.launcher, &arguments.command);
    let ran = launcher.and_then(|launcher| watched::run(learner, end, launcher));
    let (status, mut seen) = ran.map_err(not_run)?;
    let around = Surroundings::of(&place);
    seen.command =
        arguments.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    seen.environment = environment();
    let draft = Draft::new(&seen, &around);
    cli::write(Some(&arguments.output), draft.to_toml(&around).as_bytes())?;
    // Nothing is left to do where standard error cannot be written.
    drop(output::complain(ending(arguments, &draft, status).as_bytes()));
    if status == 0 { Ok(()) } else { Err(status) }
}

/// Who watches, and the policy under which everything may be done.
fn prepare(place: &Place) -> Result<(Learner, Vec<u8>), String> {
    let (document, mut diagnostics) = parse::toml(BASE);
    let bytes = encode(&document, place, Architecture::NATIVE, &mut diagnostics);
    let bytes = bytes.ok_or_else(|| said(&diagnostics))?;
    let policy = wire::decode(&bytes).map_err(|error| error.message().to_owned())?;
    let filter = policy.seccomp.map(|seccomp| seccomp.filter.to_vec()).unwrap_or_default();
    let watched = policies::learning(&policy, Architecture::NATIVE, &WATCHED);
    Ok((Learner::new(&filter), watched.map_err(watched::words)?))
}

fn said(diagnostics: &Diagnostics) -> String {
    let messages = diagnostics.iter().map(|diagnostic| diagnostic.message.as_str());
    messages.collect::<Vec<_>>().join("; ")
}

fn environment() -> Vec<Variable> {
    let text = |text: OsString| text.into_string().ok();
    let variables = std::env::vars_os();
    variables
        .filter_map(|(name, value)| Some(Variable { name: text(name)?, value: text(value)? }))
        .collect()
}

fn ending(arguments: &Arguments, draft: &Draft, status: u8) -> String {
    let file = arguments.output.display();
    let words = arguments.command.iter().map(|word| shell_word(&word.to_string_lossy()));
    let command = words.collect::<Vec<_>>().join(" ");
    let ended = match status {
        0 => String::new(),
        status => format!("the command ended with {status}; a policy is as good as what it saw\n"),
    };
    let review = match draft.reviews() {
        0 => "nothing to review".to_owned(),
        1 => "1 thing to review".to_owned(),
        count => format!("{count} things to review"),
    };
    format!(
        "{ended}wrote {file}, with {review}; try it:\n    encode-policy run {file} -- {command}\n\
         what it denies:\n    encode-policy trace {file} -- {command}\n"
    )
}

/// A word as a shell takes it.
fn shell_word(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:,@%+".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_said_as_a_shell_takes_it() {
        assert_eq!(shell_word("--message=x"), "--message=x");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn the_policy_that_is_watched_with_can_be_made() {
        let place = Place::here().expect("there is a directory");
        assert!(prepare(&place).is_ok());
    }
}
