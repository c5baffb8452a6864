//! `encode-policy trace`: what a policy denies to a command that runs under it.

mod judge;
mod lines;
mod tracer;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use launcher_supervisor::watch::WATCHED;
use policy_encoder::{Architecture, watched as policies};
use serde_json::json;

use super::explain::Given;
use super::watched;
use crate::cli::{self, Done, NOT_RUN, PlaceArguments, PolicyArguments, not_run};
use crate::output;
use crate::proxying::{ProxyArguments, Waiting};
use crate::run::{Launcher, LauncherArguments};
use lines::Lines;
use tracer::{Denial, Tracer};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The policy may be encoded already
    #[command(flatten)]
    policy: PolicyArguments,
    /// The directory that relative paths start from [default: the current one]
    #[arg(short = 'C', long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Write JSON, for programs
    #[arg(long)]
    json: bool,
    /// Where the denials are written at the end, instead of standard error
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    launcher: LauncherArguments,
    #[command(flatten)]
    proxy: ProxyArguments,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command, and says at its end what was denied.
pub(crate) fn main(arguments: &Arguments) -> Done {
    let place = PlaceArguments::of_directory(arguments.directory.clone());
    let given = Given::read(&arguments.policy, &place).map_err(|_| NOT_RUN)?;
    let policy = given.policy().map_err(|_| NOT_RUN)?;
    let bytes = policies::tracing(&policy, Architecture::NATIVE, &WATCHED)
        .map_err(|why| not_run(watched::words(why)))?;
    let used_fds = given.text.as_ref().map_or_else(BTreeSet::new, |(text, _)| text.used_fds());
    let used_fds = used_fds.into_iter().chain(policy.fds.keep.iter().map(|keep| keep.fd)).collect();
    let tracer = Tracer::new(&given.bytes);
    let tracer = tracer.ok_or_else(|| not_run("the policy cannot be read".to_owned()))?;
    let end = |tracer: &mut Tracer| tracer.denials();
    let launcher = Launcher::new(&bytes, &used_fds, &arguments.launcher, &arguments.command);
    let mut launcher = launcher.map_err(not_run)?;
    if let Some((proxy, socket)) = Waiting::new(&bytes, &arguments.proxy).map_err(not_run)? {
        launcher.serve(proxy, &socket).map_err(not_run)?;
    }
    let ran = watched::run(tracer, end, launcher);
    let (status, (denials, stand)) = ran.map_err(not_run)?;
    let lines = Lines::new(&given, &denials, stand);
    let text = match arguments.json {
        true => in_json(&denials, &lines),
        false => in_words(&denials, &lines, status),
    };
    match &arguments.output {
        Some(file) => cli::write(Some(file), text.as_bytes())?,
        // Nothing is left to do where standard error cannot be written.
        None => drop(output::complain(text.as_bytes())),
    }
    if status == 0 { Ok(()) } else { Err(status) }
}

/// The status of a command that a filter has ended: 128 and SIGSYS.
const ENDED: u8 = 128 + 31;

/// How many denials are said of those that one line permits.
const SAID: usize = 8;

fn in_words(denials: &[Denial], lines: &Lines<'_>, status: u8) -> String {
    let mut text = String::new();
    // What one line permits stands together.
    let mut together: Vec<(String, Vec<String>)> = Vec::new();
    for denial in denials {
        let line = printable(&lines.permitting(denial).to_string());
        let words = printable(&denial.to_string());
        match together.iter_mut().find(|(known, _)| *known == line) {
            Some((_, all)) => all.push(words),
            None => together.push((line, vec![words])),
        }
    }
    for (line, all) in &together {
        let (said, more) = all.split_at(all.len().min(SAID));
        said.iter().for_each(|words| text += &format!("denied: {words} -> {line}\n"));
        if !more.is_empty() {
            text += &format!("denied: {} more -> {line}\n", more.len());
        }
    }
    if status == ENDED {
        text += "the filter has ended the command: nobody is asked about such a call; \
                 `seccomp.action = \"errno\"` has it fail, and told\n";
    }
    text
}

fn in_json(denials: &[Denial], lines: &Lines<'_>) -> String {
    let denied = denials.iter().map(|denial| {
        json!({
            "denied": denial.word(),
            "subject": denial.subject(),
            "reason": denial.because,
            "permitted_by": lines.permitting(denial).to_string(),
        })
    });
    let denied: Vec<_> = denied.collect();
    format!("{:#}\n", json!({ "denied": denied }))
}

/// A line without what would move the cursor of a terminal: names in it are
/// whatever the command's files are called.
fn printable(line: &str) -> String {
    line.replace(char::is_control, "\u{fffd}")
}
