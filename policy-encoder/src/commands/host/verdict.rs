//! `check --host` and `check --rung`: whether a policy can be honoured.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use launcher_policy::Policy;
use launcher_policy::landlock::NEWEST_ABI;
use policy_encoder::diagnostic::Diagnostics;

use super::facts::Facts;
use super::judge::{self, Honoured, Refused, Rung};
use super::why::Host;

/// What is asked about a policy besides whether it is well written.
#[derive(Args)]
pub(crate) struct Question {
    /// Say whether the policy can be honoured on this host, and on which rung;
    /// exit 1 if it cannot
    #[arg(long, conflicts_with = "rung")]
    host: bool,
    /// The same of a host that allows no more than this, without looking at
    /// this one
    #[arg(long, value_name = "RUNG")]
    rung: Option<RungWord>,
    /// The kernel's Landlock ABI there [default: the newest that is known]
    #[arg(long, value_name = "N", requires = "rung")]
    abi: Option<u8>,
    /// The launcher that looks [default: beside this program, else on PATH]
    #[arg(long, value_name = "FILE", requires = "host")]
    launcher: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RungWord {
    /// Namespaces, Landlock and seccomp
    Namespaces,
    /// Landlock and seccomp
    Landlock,
    /// Seccomp alone
    Seccomp,
}

/// Adds the answer: a note, or an error with a remedy.
///
/// # Errors
///
/// Why the host could not be asked.
pub(crate) fn say_verdict(
    question: &Question,
    policy: &Policy<'_>,
    diagnostics: &mut Diagnostics,
) -> Result<(), String> {
    if let Some(word) = question.rung {
        let abi = question.abi.unwrap_or(NEWEST_ABI).into();
        let judged = judge::on_rung(policy, word.into(), abi);
        say(&judged, "there", None, diagnostics);
    } else if question.host {
        let facts = Facts::ask(question.launcher.as_deref())?;
        let judged = judge::on_host(policy, &facts);
        say(&judged, "here", Some(&Host::here(&facts)), diagnostics);
    }
    Ok(())
}

fn say(
    judged: &Result<Honoured, Refused>,
    place: &str,
    host: Option<&Host<'_>>,
    diagnostics: &mut Diagnostics,
) {
    match judged {
        Ok(Honoured { rung, missing }) => {
            let rest = match missing.as_slice() {
                [] => String::new(),
                missing => {
                    format!("; missing is what is offered, not guaranteed: {}", missing.join(", "))
                }
            };
            diagnostics.note_anywhere(format!(
                "the policy can be honoured {place}, on the rung of {rung}{rest}"
            ));
        }
        Err(Refused { why, lacks }) => {
            let why_here = host.zip(*lacks).and_then(|(host, lacks)| host.why(lacks));
            let reason =
                why_here.as_ref().map_or_else(String::new, |why| format!("; {}", why.reason));
            let error = diagnostics
                .error_anywhere(format!("the policy cannot be honoured {place}: {why}{reason}"));
            if let Some(why) = why_here {
                error.help(why.remedy);
            }
        }
    }
}

impl From<RungWord> for Rung {
    fn from(word: RungWord) -> Self {
        match word {
            RungWord::Namespaces => Self::Namespaces,
            RungWord::Landlock => Self::Landlock,
            RungWord::Seccomp => Self::Seccomp,
        }
    }
}
