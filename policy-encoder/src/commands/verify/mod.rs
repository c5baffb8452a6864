//! `encode-policy verify`: what the model says against what the kernel does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use launcher_policy::Policy;
use launcher_policy::mounts::Source;
use policy_encoder::explain::{Answer, Model, Operation, Reason, Rung, Summary};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};
use serde::Serialize;
use serde_json::json;

use self::launch::{Probe, Said};
use super::explain::{Given, write_json};
use crate::cli::{Done, PlaceArguments, PolicyArguments, USAGE, WRONG};
use crate::render::say;

mod launch;
mod paths;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The policy may be encoded already
    #[command(flatten)]
    policy: PolicyArguments,
    /// The directory that relative paths start from [default: the current one]
    #[arg(short = 'C', long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The launcher [default: beside this program, else on PATH]
    #[arg(long, value_name = "FILE")]
    launcher: Option<PathBuf>,
    /// Write JSON, for programs
    #[arg(long)]
    json: bool,
}

/// What was found. Each field is a key of the JSON.
#[derive(Debug, Serialize)]
struct Report {
    rung: &'static str,
    landlock_abi: u8,
    paths: usize,
    questions: u64,
    differences: Vec<Difference>,
    skipped: BTreeMap<String, u64>,
}

/// Where the kernel does otherwise than the model says.
#[derive(Debug, Serialize)]
struct Difference {
    path: PathBuf,
    operation: Operation,
    model_allows: bool,
    model_says: String,
    kernel_says: String,
}

/// Compares, and says where they differ.
pub(crate) fn main(arguments: &Arguments) -> Done {
    let place = PlaceArguments::of_directory(arguments.directory.clone());
    let given = Given::read(&arguments.policy, &place)?;
    let policy = given.policy()?;
    let report = verify(arguments, &given, &policy).map_err(|complaint| {
        say(&complaint);
        WRONG
    })?;
    let written = match arguments.json {
        true => write_json(&json!(report)),
        false => write(&report),
    };
    match written {
        Err(error) => {
            say(&format!("cannot write standard output: {error}"));
            Err(USAGE)
        }
        Ok(()) if report.differences.is_empty() => Ok(()),
        Ok(()) => Err(WRONG),
    }
}

fn verify(arguments: &Arguments, given: &Given, policy: &Policy<'_>) -> Result<Report, String> {
    let probe = Probe::start(arguments.launcher.as_deref(), &given.bytes, &used_fds(policy))?;
    let rung = probe.rung()?;
    let model = Model::new(policy, Path::new("/"), rung)
        .map_err(|why| format!("the model says that the launch would be refused: {why}"))?;
    let paths = paths::sample(&model);
    let (word, landlock_abi) = match rung {
        Rung::Namespaces { abi } => ("namespaces", abi),
        Rung::Landlock { abi } => ("landlock", abi),
    };
    let report = Report {
        rung: word,
        landlock_abi,
        paths: paths.len(),
        questions: 0,
        differences: Vec::new(),
        skipped: BTreeMap::new(),
    };
    let denied = Summary::new(policy, given.architecture).system_calls;
    let denied = denied.map_or_else(BTreeSet::new, |calls| {
        calls.denied.into_values().flatten().collect::<BTreeSet<_>>()
    });
    let mut comparison = Comparison { probe, model, caller: Caller::own()?, denied, report };
    for path in &paths {
        comparison.path(path)?;
    }
    Ok(comparison.report)
}

/// Descriptors that the policy names.
fn used_fds(policy: &Policy<'_>) -> BTreeSet<u32> {
    let mounts = policy.mounts.map(|mounts| mounts.mounts.iter()).into_iter().flatten();
    let sources = mounts.filter_map(|mount| match mount.source {
        Source::Fd { fd } => Some(fd),
        _ => None,
    });
    policy.fds.keep.iter().map(|keep| keep.fd).chain(sources).collect()
}

struct Comparison {
    probe: Probe,
    model: Model,
    caller: Caller,
    denied: BTreeSet<&'static str>,
    report: Report,
}

impl Comparison {
    fn path(&mut self, path: &Path) -> Result<(), String> {
        for operation in [Operation::List, Operation::Read, Operation::Write, Operation::Execute] {
            self.ask(operation, path, path)?;
        }
        if self.model.ask(path, Operation::List, None).because
            != Reason::WrongKind("not a directory")
        {
            self.changes(path)?;
        }
        Ok(())
    }

    /// What can be done in a directory with a file that is made there.
    fn changes(&mut self, directory: &Path) -> Result<(), String> {
        let new = directory.join(own_name(""));
        let outside = self.model.outside(directory).map(|host| host.join(own_name("")));
        // A file of which nothing is known from outside could be left behind.
        let is_unknown =
            matches!(self.model.ask(&new, Operation::Create, None).because, Reason::Unknown(_));
        if is_unknown {
            self.skip("only the launch knows what is there");
            return Ok(());
        }
        let made = self.ask(Operation::Create, &new, &new)?;
        if made == Some(Said::Done) {
            let done = match outside {
                // The model sees it there as well.
                Some(_) => self.with_a_file(directory, &new),
                None => self.probe.ask(Operation::Remove, &new, &new).map(drop),
            };
            remove(outside.as_deref());
            done?;
        } else {
            // A file can be there although its creation was refused.
            remove(outside.as_deref());
        }
        Ok(())
    }

    fn with_a_file(&mut self, directory: &Path, new: &Path) -> Result<(), String> {
        for operation in [Operation::Rename, Operation::Link, Operation::Remove] {
            self.ask(operation, new, &directory.join(own_name("-2")))?;
        }
        Ok(())
    }

    /// Asks both. `None` if there is nothing to compare.
    fn ask(
        &mut self,
        operation: Operation,
        path: &Path,
        to: &Path,
    ) -> Result<Option<Said>, String> {
        if calls(operation).iter().all(|name| self.denied.contains(name)) {
            self.skip(&format!("the filter denies what it takes to {}", operation.word()));
            return Ok(None);
        }
        let foretold = self.model.ask(path, operation, Some(to).filter(|to| *to != path));
        if matches!(foretold.because, Reason::Unknown(_)) {
            self.skip("only the launch knows what is there");
            return Ok(None);
        }
        let permitted = self.caller.may(&self.model, operation, path);
        let said = self.probe.ask(operation, path, to)?;
        match &said {
            Said::Skipped(why) => self.skip(why),
            Said::Refused(errno) if IRRELEVANT.contains(errno) => {
                self.skip("the file itself does not allow it now");
            }
            Said::Refused(_) if foretold.allowed && !permitted => {
                self.skip("the file's permissions forbid it");
            }
            said => {
                self.report.questions += 1;
                self.compare(operation, path, &foretold, said);
            }
        }
        Ok(Some(said))
    }

    fn compare(&mut self, operation: Operation, path: &Path, foretold: &Answer, said: &Said) {
        if foretold.allowed == (*said == Said::Done) {
            return;
        }
        let kernel_says = match said {
            Said::Refused(errno) => errno.to_string(),
            _ => "it is done".into(),
        };
        self.report.differences.push(Difference {
            path: path.to_owned(),
            operation,
            model_allows: foretold.allowed,
            model_says: foretold.because.to_string(),
            kernel_says,
        });
    }

    fn skip(&mut self, why: &str) {
        *self.report.skipped.entry(why.to_owned()).or_default() += 1;
    }
}

/// Answers that say nothing of the policy: a program that runs, a file that is
/// immutable, a disk that is full.
const IRRELEVANT: [Errno; 6] =
    [Errno::TXTBSY, Errno::PERM, Errno::NOSPC, Errno::DQUOT, Errno::NFILE, Errno::MFILE];

/// The system calls any of which an operation takes.
const fn calls(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::Rename => &["renameat", "rename", "renameat2"],
        Operation::Link => &["linkat", "link"],
        Operation::Remove => &["unlinkat", "unlink"],
        Operation::Execute => &["execveat"],
        _ => &["openat", "open", "openat2"],
    }
}

/// A name that nobody else has.
fn own_name(end: &str) -> OsString {
    format!(".encode-policy-verify-{}{end}", std::process::id()).into()
}

/// Removes what is left of a file from outside, if anything is.
fn remove(path: Option<&Path>) {
    let Some(path) = path else { return };
    if let Err(error) = std::fs::remove_file(path)
        && !matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::PermissionDenied
        )
        && path.symlink_metadata().is_ok()
    {
        say(&format!("cannot remove {}: {error}", path.display()));
    }
}

/// Whose permissions count inside: the caller's, without any capability.
struct Caller {
    user: u32,
    groups: Vec<u32>,
}

impl Caller {
    fn own() -> Result<Self, String> {
        let groups = getgroups().map_err(|errno| format!("cannot say which groups: {errno}"))?;
        let groups = groups.into_iter().chain([getegid()]).map(|group| group.as_raw()).collect();
        Ok(Self { user: geteuid().as_raw(), groups })
    }

    /// Whether the permission bits on the way to a path allow an operation.
    fn may(&self, model: &Model, operation: Operation, path: &Path) -> bool {
        let (path, wanted) = match operation {
            Operation::List | Operation::Read => (path, 0o4),
            Operation::Write | Operation::Truncate => (path, 0o2),
            Operation::Execute => (path, 0o1),
            _ => (path.parent().unwrap_or(path), 0o3),
        };
        let mut way = model.host_way(path);
        let last = way.pop();
        let search = way.iter().all(|directory| self.has(directory, 0o1));
        search && last.is_none_or(|last| self.has(&last, wanted))
    }

    fn has(&self, path: &Path, wanted: u32) -> bool {
        path.symlink_metadata().is_ok_and(|metadata| self.bits(&metadata) & wanted == wanted)
    }

    fn bits(&self, metadata: &Metadata) -> u32 {
        let shift = if metadata.uid() == self.user {
            6
        } else if self.groups.contains(&metadata.gid()) {
            3
        } else {
            0
        };
        metadata.mode() >> shift & 0o7
    }
}

fn write(report: &Report) -> io::Result<()> {
    let mut output = anstream::AutoStream::auto(io::stdout().lock());
    for difference in &report.differences {
        let Difference { path, operation, model_allows, model_says, kernel_says } = difference;
        let word = if *model_allows { "yes" } else { "no" };
        let (operation, path) = (operation.word(), path.display());
        writeln!(
            output,
            "{operation} {path}: explain says {word}, {model_says}; the kernel: {kernel_says}"
        )?;
    }
    let Report { rung, landlock_abi, paths, questions, differences, skipped } = report;
    writeln!(output, "{rung}, Landlock ABI {landlock_abi}")?;
    writeln!(output, "{paths} paths, {questions} questions, {} differences", differences.len())?;
    for (why, number) in skipped {
        writeln!(output, "{number} skipped: {why}")?;
    }
    output.flush()
}
