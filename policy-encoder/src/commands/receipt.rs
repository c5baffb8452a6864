//! `encode-policy receipt`: what a launch enforced, for people, and whether it
//! satisfies a policy.

use std::fmt::Display;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use launcher_policy::Stage;
use policy_encoder::receipt::{EndedBy, Exit, Failure, Launch, Layer, Receipt, State};

use super::explain::Given;
use crate::cli::{Done, PlaceArguments, PolicyArguments, USAGE, WRONG};
use crate::output;
use crate::render::say;

#[derive(Args)]
pub(crate) struct Arguments {
    /// What the launcher wrote to --status-fd; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The policy that must have been launched, with all that it guarantees
    /// kept: a document, or the encoded policy
    #[arg(long, value_name = "POLICY")]
    require: Option<PathBuf>,
    /// Accept that nothing keeps what that policy gives up by `enforce.waive`
    #[arg(long, requires = "require")]
    allow_waived: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

/// The longest file that is read, in bytes: a receipt is a few lines.
const MAX_FILE: u64 = 1 << 20;

/// Shows a receipt; exit status 1 if it does not satisfy the policy.
pub(crate) fn main(arguments: &Arguments) -> Done {
    // 1 is an answer.
    let receipt = read(&arguments.file).map_err(|why| {
        say(&format!("{} is no receipt: {why}", arguments.file.display()));
        USAGE
    })?;
    let shortfall = match &arguments.require {
        Some(policy) => shortfall(&receipt, policy, arguments).map_err(|_| USAGE)?,
        None => None,
    };
    output::print(text(&receipt).as_bytes()).map_err(|error| {
        say(&format!("cannot write standard output: {error}"));
        USAGE
    })?;
    match shortfall {
        None => Ok(()),
        Some(why) => {
            say(&format!("the receipt does not satisfy the policy: {why}"));
            Err(WRONG)
        }
    }
}

fn read(file: &Path) -> Result<Receipt, String> {
    let mut text = String::new();
    let read = match file.to_str() {
        Some("-") => io::stdin().take(MAX_FILE).read_to_string(&mut text),
        _ => {
            std::fs::File::open(file).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
        }
    };
    read.map_err(|error| error.to_string())?;
    Receipt::parse(&text).map_err(|error| error.to_string())
}

fn shortfall(
    receipt: &Receipt,
    policy: &Path,
    arguments: &Arguments,
) -> Result<Option<String>, u8> {
    let policy = PolicyArguments { file: Some(policy.to_owned()), preset: None };
    let given = Given::read(&policy, &arguments.place)?;
    let shortfall = receipt.shortfall(&given.bytes, &given.policy()?, arguments.allow_waived);
    Ok(shortfall.map(|shortfall| shortfall.to_string()))
}

/// The receipt in words: a heading for each line of it.
fn text(receipt: &Receipt) -> String {
    let mut text = String::new();
    let sections = [
        ("launch", receipt.launch.as_ref().map(launch)),
        ("times", receipt.launch.as_ref().map(|launch| times(launch, receipt))),
        ("end", receipt.exit.as_ref().map(exit)),
        ("failure", receipt.failure.as_ref().map(failure)),
    ];
    for (name, lines) in sections {
        let Some(lines) = lines else { continue };
        text += &format!("{name}\n");
        for line in lines {
            text += &format!("  {}\n", printable(&line));
        }
    }
    text
}

/// A line without what would move the cursor of a terminal: names in it are
/// whatever the command's files are called.
fn printable(line: &str) -> String {
    line.replace(char::is_control, "\u{fffd}")
}

fn launch(launch: &Launch) -> Vec<String> {
    let mut lines = vec![
        format!("policy {}", launch.digest),
        format!("launcher {} on Linux {}", launch.launcher, launch.kernel),
    ];
    let layers = [
        ("namespaces", launch.layers.namespaces, &launch.reasons.namespaces),
        ("landlock", launch.layers.landlock, &launch.reasons.landlock),
        ("seccomp", launch.layers.seccomp, &None),
    ];
    for (name, state, reason) in layers {
        let state = match state {
            State::Enforced if name == "landlock" => {
                format!("enforced, ABI {}", launch.landlock_abi)
            }
            State::Enforced => "enforced".to_owned(),
            State::Degraded => format!("degraded: {}", reason.as_deref().unwrap_or("unknown")),
            State::Off => "off".to_owned(),
        };
        lines.push(format!("{name} {state}"));
    }
    for (guarantee, layer) in &launch.guarantees {
        let layer = match layer {
            Layer::Namespaces => "namespaces",
            Layer::Landlock => "Landlock",
            Layer::Seccomp => "seccomp",
        };
        lines.push(format!("{guarantee} is kept by {layer}"));
    }
    lines.extend(launch.waived.iter().map(|guarantee| format!("{guarantee} is waived")));
    lines.extend(launch.missing.iter().map(|facility| format!("{facility} is missing")));
    lines.push(pids(launch));
    lines
}

fn pids(launch: &Launch) -> String {
    let number = |name: &str, pid: Option<i32>| pid.map(|pid| format!("{name} {pid}"));
    let pids = launch.pids;
    let processes = [
        number("launcher", Some(pids.launcher)),
        number("init", pids.init),
        number("command", pids.command),
    ];
    format!("processes: {}", processes.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn times(launch: &Launch, receipt: &Receipt) -> Vec<String> {
    let stages = Stage::ALL
        .into_iter()
        .filter_map(|stage| Some((stage.name(), *launch.microseconds.get(stage.name())?)));
    let mut lines: Vec<String> = stages
        .filter(|(_, time)| *time > 0)
        .map(|(name, time)| format!("{name} {}", time_of(time)))
        .collect();
    if let Some(exec) = &receipt.exec {
        lines.push(format!("until the command ran {}", time_of(exec.microseconds)));
    }
    lines
}

fn exit(exit: &Exit) -> Vec<String> {
    let how = match (exit.ended_by, exit.code, exit.signal) {
        (EndedBy::Exit, code, _) => format!("exited with {}", or_unknown(code)),
        (EndedBy::Signal, _, signal) => format!("ended by signal {}", or_unknown(signal)),
        (EndedBy::Cpu, _, None) => "the CPU time of the whole tree was over".to_owned(),
        (EndedBy::Cpu, _, Some(signal)) => format!("its CPU time was over, signal {signal}"),
        (EndedBy::Memory, _, signal) => {
            format!("the cgroup ran out of memory, signal {}", or_unknown(signal))
        }
        (EndedBy::Wall, ..) => "its wall time was over".to_owned(),
        (EndedBy::Caller, ..) => "its caller ended".to_owned(),
    };
    let used = format!(
        "wall time {}, CPU time {}, at most {} KiB resident",
        time_of(exit.wall_microseconds),
        time_of(exit.cpu_microseconds),
        exit.max_rss_kib
    );
    let events = exit.limit_events.unwrap_or_default();
    let events = [
        ("pids.max was hit", events.pids_max),
        ("memory.max was hit", events.memory_oom),
        ("killed for want of memory", events.memory_oom_kill),
    ];
    let events = events
        .into_iter()
        .filter_map(|(what, count)| count.filter(|count| *count > 0).map(|count| (what, count)))
        .map(|(what, count)| format!("{what}: {count}"));
    let peak = exit.memory_peak.map(|peak| format!("at most {peak} bytes of memory together"));
    [how, used].into_iter().chain(peak).chain(events).collect()
}

fn failure(failure: &Failure) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", failure.stage, failure.call)];
    let details = [
        &failure.path,
        &failure.error,
        &failure.refused,
        &failure.hint,
        &failure.guarantee,
        &failure.why,
    ];
    lines.extend(details.into_iter().flatten().cloned());
    lines
}

fn or_unknown(number: Option<impl Display>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

fn time_of(microseconds: u64) -> String {
    humantime::format_duration(Duration::from_micros(microseconds)).to_string()
}
