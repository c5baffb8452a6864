//! `encode-policy explain`: what a policy grants, and why.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use launcher_policy::Policy;
use launcher_policy::landlock::NEWEST_ABI;
use launcher_policy::wire::{self, Architecture, MAGIC};
use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::explain::{
    self, Answer, Connection, Model, Operation, Reason, Rung, Summary, Target,
};
use policy_encoder::mounts::{self, Decider, View};
use policy_encoder::{Place, digest};
use serde_json::json;

use super::table;
use crate::cli::{self, Done, OptimizeFor, PlaceArguments, PolicyArguments, USAGE, WRONG};
use crate::render::say;
use crate::source::Text;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The policy may be encoded already
    #[command(flatten)]
    policy: PolicyArguments,
    #[command(flatten)]
    place: PlaceArguments,
    #[command(flatten)]
    question: Question,
    /// Write JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Question {
    /// Answer about this path inside, instead of showing everything
    #[arg(long, value_name = "PATH", requires = "op")]
    path: Option<PathBuf>,
    /// What is to be done with it
    #[arg(long, value_name = "OPERATION", requires = "path", value_parser = operation())]
    op: Option<Operation>,
    /// Answer about a TCP connection to this host and port
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "path")]
    connect: Option<Target>,
    /// The other name, of a rename or a link
    #[arg(long, value_name = "PATH", requires = "path")]
    to: Option<PathBuf>,
    /// What keeps the policy: mounts and Landlock, or Landlock alone
    #[arg(long, value_name = "RUNG", default_value = "namespaces")]
    rung: RungWord,
    /// The kernel's Landlock ABI, 0 for none [default: the newest that is known]
    #[arg(long, value_name = "N")]
    abi: Option<u8>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RungWord {
    Namespaces,
    Landlock,
}

/// A policy as it was given, and its bytes.
pub(crate) struct Given {
    /// The text, if it was not encoded already.
    pub(crate) text: Option<(Text, Place)>,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// What the bytes are made for.
    pub(crate) architecture: Architecture,
}

/// Shows everything, or answers one question.
pub(crate) fn main(arguments: &Arguments) -> Done {
    // 1 is an answer.
    let given = Given::read(&arguments.policy, &arguments.place).map_err(|_| USAGE)?;
    let policy = given.policy().map_err(|_| USAGE)?;
    if let Some(target) = &arguments.question.connect {
        return connection(&explain::connect(&policy, given.architecture, target), arguments.json);
    }
    match (&arguments.question.path, arguments.question.op) {
        (Some(path), Some(operation)) => answer(arguments, &given, &policy, path, operation),
        _ => show(&Summary::new(&policy, given.architecture), arguments.json),
    }
}

fn show(summary: &Summary, as_json: bool) -> Done {
    let written = match as_json {
        true => write_json(&json!(summary)),
        false => table::write(summary),
    };
    written.map_err(|error| {
        say(&format!("cannot write standard output: {error}"));
        USAGE
    })
}

/// Writes one value and a newline to standard output.
pub(crate) fn write_json(value: &serde_json::Value) -> std::io::Result<()> {
    crate::output::print(format!("{value:#}\n").as_bytes())
}

fn answer(
    arguments: &Arguments,
    given: &Given,
    policy: &Policy<'_>,
    path: &Path,
    operation: Operation,
) -> Done {
    let to = arguments.question.to.as_deref();
    let paths = [Some(path), to];
    if paths.into_iter().flatten().any(|path| !path.is_absolute()) {
        say("a path inside is absolute");
        return Err(USAGE);
    }
    let sysroot = arguments.place.sysroot.as_deref().unwrap_or(Path::new("/"));
    let model = Model::new(policy, sysroot, arguments.question.rung());
    let (answer, decider) = match &model {
        Ok(model) => {
            let answer = model.ask(path, operation, to);
            let decider = given.decider(model, path, operation, &answer);
            (answer, decider)
        }
        Err(why) => {
            let because = Reason::Unknown(format!("the launch is refused: {why}"));
            let by = policy_encoder::explain::Source::Root;
            (Answer { allowed: false, because, by }, None)
        }
    };
    let reason = match &model {
        Ok(_) => answer.because.to_string(),
        Err(why) => format!("the launch is refused: {why}"),
    };
    let decider = decider.unwrap_or_else(|| answer.by.to_string());
    let value = json!({
        "path": path,
        "operation": operation,
        "to": to,
        "allowed": answer.allowed,
        "reason": reason,
        "decided_by": decider,
    });
    say_answer(answer.allowed, &format!("{reason} ({decider})"), &value, arguments.json)
}

fn connection(connection: &Connection, as_json: bool) -> Done {
    let Connection { allowed, reason } = connection;
    say_answer(*allowed, reason, &json!({ "allowed": allowed, "reason": reason }), as_json)
}

/// Answers yes or no, which the exit status says as well.
fn say_answer(allowed: bool, reason: &str, value: &serde_json::Value, as_json: bool) -> Done {
    let word = if allowed { "yes" } else { "no" };
    let written = match as_json {
        true => write_json(value),
        false => crate::output::print(format!("{word}: {reason}\n").as_bytes()),
    };
    match written {
        Ok(()) if allowed => Ok(()),
        Ok(()) => Err(WRONG),
        Err(error) => {
            say(&format!("cannot write standard output: {error}"));
            Err(USAGE)
        }
    }
}

impl Given {
    /// Reads a policy; bytes are told from text by their beginning. What is
    /// wrong has been said.
    pub(crate) fn read(policy: &PolicyArguments, place: &PlaceArguments) -> Result<Self, u8> {
        if let Some(bytes) = policy.file.as_deref().and_then(encoded) {
            return Ok(Self { text: None, bytes, architecture: Architecture::NATIVE });
        }
        let architecture = place.architecture();
        let place = place.place()?;
        let text = cli::read(policy, &place)?;
        let bytes = cli::compile(&text, &place, architecture, OptimizeFor::Run)?.bytes;
        Ok(Self { text: Some((text, place)), bytes, architecture })
    }

    /// The policy as the launcher reads it.
    pub(crate) fn policy(&self) -> Result<Policy<'_>, u8> {
        decoded(&self.bytes)
    }

    /// The line of the text that decides about a path, as far as it is known.
    fn decider(
        &self,
        model: &Model,
        path: &Path,
        operation: Operation,
        answer: &Answer,
    ) -> Option<String> {
        let (text, place) = self.text.as_ref()?;
        let view = mounts::resolve(text.document(), place, &mut Diagnostics::default());
        let path = subject(model, path, operation, answer);
        Some(decider(&view, text, &path))
    }
}

/// Bytes as the launcher reads them, if their digest is that of their content;
/// what is wrong has been said.
pub(crate) fn decoded(bytes: &[u8]) -> Result<Policy<'_>, u8> {
    let policy = wire::decode(bytes).map_err(|error| {
        say(&format!("the policy cannot be read: {}", error.message()));
        WRONG
    })?;
    if !digest::is_right(bytes) {
        say("the policy cannot be trusted: its digest is not that of its content");
        return Err(WRONG);
    }
    Ok(policy)
}

/// The path that decides: what is made or removed is a matter of its directory.
fn subject(model: &Model, path: &Path, operation: Operation, answer: &Answer) -> PathBuf {
    let parent = path.parent().unwrap_or(path);
    let is_of_parent = matches!(
        operation,
        Operation::Create | Operation::Remove | Operation::Rename | Operation::Link
    ) && answer.because != Reason::MountPoint;
    let real_parent = || model.real(parent).unwrap_or_else(|| parent.to_owned());
    if is_of_parent {
        return real_parent();
    }
    let name = path.file_name().unwrap_or_default();
    model.real(path).unwrap_or_else(|| real_parent().join(name))
}

fn decider(view: &View, text: &Text, path: &Path) -> String {
    match view.decide(path).decider {
        Decider::Entry(entry) => {
            let key = format!("{}[{}]", entry.key, entry.index);
            match text.place_of(&entry.span) {
                Some(place) => format!("{key}, {place}"),
                None => key,
            }
        }
        Decider::BuiltIn(key) => key.to_owned(),
        Decider::Root => "filesystem.root".to_owned(),
        Decider::Nobody => format!("no entry speaks of {}", path.display()),
    }
}

/// The content of a file that begins as an encoded policy does.
pub(crate) fn encoded(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).ok().filter(|()| magic == MAGIC)?;
    let mut bytes = magic.to_vec();
    // One byte more than the launcher takes, so that a longer one is refused.
    let most = wire::MAX_FRAME as u64 + 1;
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

impl Question {
    fn rung(&self) -> Rung {
        let abi = self.abi.unwrap_or(NEWEST_ABI);
        match self.rung {
            RungWord::Namespaces => Rung::Namespaces { abi },
            RungWord::Landlock => Rung::Landlock { abi },
        }
    }
}

/// An operation by its word.
fn operation() -> impl TypedValueParser<Value = Operation> {
    PossibleValuesParser::new(Operation::ALL.map(Operation::word)).try_map(|word| {
        let named = Operation::ALL.into_iter().find(|operation| operation.word() == word);
        named.ok_or("there is no such operation")
    })
}
