//! The receipt of a launch: the lines that the launcher writes to
//! `--status-fd`, and whether they satisfy a policy.
//!
//! Keys that these types do not know are left out: a later launcher may add
//! some without another [`VERSION`].

use std::collections::BTreeMap;
use std::fmt;

use launcher_policy::Policy;
use launcher_policy::enforce::Guarantee;
use launcher_policy::wire;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the lines that this version reads.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The layers are in force, and the command is about to run.
    Launch(Launch),
    /// The command runs. Where nobody waits for it, this is not written.
    Exec(Exec),
    /// The command has ended. Where nobody waits for it, this is not written.
    Exit(Exit),
    /// The launch was refused, or failed. Nothing runs.
    Failure(Failure),
}

/// What a launch enforces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Launch {
    /// The version of the lines: 1.
    pub version: u32,
    /// The launcher's version.
    pub launcher: String,
    /// SHA-256 of the policy's payload, in hexadecimal, as the encoder wrote it into the policy.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub digest: String,
    /// The kernel's release, uname(2).
    pub kernel: String,
    /// The Landlock ABI of the kernel; 0 where it has none, or the policy uses none.
    pub landlock_abi: u32,
    /// The errata of Landlock that are fixed, bit n-1 for number n; 0 where the kernel does not say.
    pub landlock_errata: u32,
    /// What the launch stands on.
    pub rung: Rung,
    /// The layers, and whether they are in force.
    pub layers: Layers,
    /// Why a layer is degraded, for those that are.
    pub reasons: Reasons,
    /// The policy's guarantees by their names, and the layer that keeps each.
    pub guarantees: BTreeMap<String, Layer>,
    /// The guarantees that nothing keeps here and that the policy gave up.
    pub waived: Vec<String>,
    /// The facilities that the host did not give.
    pub missing: Vec<String>,
    /// What was made before and is joined: `"template"`, `"network"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepared: Vec<String>,
    /// What each limit of the policy binds that is meant for the whole tree.
    #[serde(default)]
    pub limits: BTreeMap<String, Bound>,
    /// With whom the command ends.
    pub die_with_parent: DieWithParent,
    /// The processes, by their numbers where the launcher was started.
    pub pids: Pids,
    /// How long each stage took, as far as the filter.
    pub microseconds: BTreeMap<String, u64>,
}

/// What a launch stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Namespaces, Landlock and seccomp.
    Namespaces,
    /// Landlock and seccomp.
    Landlock,
    /// Seccomp alone.
    Seccomp,
}

/// The layers of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Layers {
    /// Namespaces and mounts.
    pub namespaces: State,
    /// The Landlock ruleset.
    pub landlock: State,
    /// The filter, which is installed last, directly before the command runs.
    pub seccomp: State,
}

/// Whether a layer is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The policy has it, and it is in force.
    Enforced,
    /// The policy has it, and this host does not give it; others keep what is guaranteed.
    Degraded,
    /// The policy does without.
    Off,
}

/// Why layers are degraded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reasons {
    /// The call that refused the namespaces, what it said, and the remedy if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<String>,
    /// Why Landlock is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock: Option<String>,
}

/// What keeps a guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Namespaces, and the mounts in them.
    Namespaces,
    /// The Landlock ruleset.
    Landlock,
    /// The filter.
    Seccomp,
}

/// What a limit binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Bound {
    /// All processes together.
    #[serde(rename = "whole tree")]
    WholeTree,
    /// Each process by itself.
    #[serde(rename = "per process")]
    PerProcess,
    /// Nothing: it could not be set.
    #[serde(rename = "nothing")]
    Nothing,
}

/// With whom the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DieWithParent {
    /// With its caller's process.
    Process,
    /// With its caller's thread.
    Thread,
    /// It outlives its caller.
    Nobody,
}

/// The processes of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pids {
    /// The launcher, which waits for the command, or becomes it.
    pub launcher: i32,
    /// PID 1 of the sandbox where that is the launcher's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<i32>,
    /// The command; absent where its number outside is not known, because there was no /proc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<i32>,
}

/// The command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exec {
    /// The time from the start of the launcher until the command runs.
    pub microseconds: u64,
}

/// How the command ended, and what it used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exit {
    /// What ended it.
    pub ended_by: EndedBy,
    /// Its exit status, where it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal, where one ended it that the launcher did not send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The time from when the command ran until its end was seen.
    pub wall_microseconds: u64,
    /// The CPU time of the command and of all that was waited for.
    pub cpu_microseconds: u64,
    /// The largest resident set of one of these processes, in KiB.
    pub max_rss_kib: u64,
    /// The most memory that the cgroup had, in bytes; absent before Linux 5.19 and without its controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak: Option<u64>,
    /// How often limits of the cgroup were hit, where the launch had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_events: Option<LimitEvents>,
}

/// What ended a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Itself.
    Exit,
    /// A signal.
    Signal,
    /// The wall time was over.
    Wall,
    /// Its CPU time was over.
    Cpu,
    /// The cgroup ran out of memory.
    Memory,
    /// Its caller ended.
    Caller,
}

/// How often limits of the cgroup were hit during a launch; absent where the controller is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitEvents {
    /// A process could not be made: `max` of `pids.events`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<u64>,
    /// An allocation was about to fail: `oom` of `memory.events`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_oom: Option<u64>,
    /// A process was killed: `oom_kill` of `memory.events`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_oom_kill: Option<u64>,
}

/// Why nothing runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The version of the lines: 1.
    pub version: u32,
    /// The stage in which it happened.
    pub stage: String,
    /// The system call, or the part of the launcher, that refused.
    pub call: String,
    /// The kernel's error number, errno(3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The launcher's own reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The path or word that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What can be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The guarantee that nothing keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<String>,
    /// Why nothing keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The launcher's exit status.
    pub status: i32,
}

/// The lines of one launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What was enforced.
    pub launch: Option<Launch>,
    /// That the command ran.
    pub exec: Option<Exec>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// Why nothing ran.
    pub failure: Option<Failure>,
}

/// Why text is no receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no line.
    Empty,
    /// The line of this number is not an event.
    Line(usize, String),
    /// The lines are of another version.
    Version(Value),
    /// The line of this number is of another launch.
    SecondLaunch(usize),
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("there is no event"),
            Self::Line(number, why) => write!(formatter, "line {number} is no event: {why}"),
            Self::Version(found) => {
                write!(formatter, "it is of version {found}, and this program reads {VERSION}")
            }
            Self::SecondLaunch(number) => {
                write!(formatter, "another launch begins in line {number}")
            }
        }
    }
}

impl Receipt {
    /// Reads the lines of one launch.
    ///
    /// # Errors
    ///
    /// The first line that is none, or of a version that is not known.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut receipt = Self::default();
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (place, line) in lines {
            let wrong = |error: serde_json::Error| Error::Line(place + 1, error.to_string());
            let value: Value = serde_json::from_str(line).map_err(wrong)?;
            // First: of another version nothing else is known.
            let has_version = value["event"] == "launch" || value["event"] == "failure";
            if has_version && value["version"] != VERSION {
                return Err(Error::Version(value["version"].clone()));
            }
            let second = match serde_json::from_value(value).map_err(wrong)? {
                Event::Launch(launch) => receipt.launch.replace(launch).is_some(),
                Event::Exec(exec) => receipt.exec.replace(exec).is_some(),
                Event::Exit(exit) => receipt.exit.replace(exit).is_some(),
                Event::Failure(failure) => receipt.failure.replace(failure).is_some(),
            };
            if second {
                return Err(Error::SecondLaunch(place + 1));
            }
        }
        if receipt == Self::default() {
            return Err(Error::Empty);
        }
        Ok(receipt)
    }

    /// The first thing that a policy guarantees and this launch did not keep;
    /// `frame` is the policy as it was encoded.
    ///
    /// What the policy itself gave up counts as kept only where `waived` is
    /// allowed.
    pub fn shortfall(&self, frame: &[u8], policy: &Policy<'_>, waived: bool) -> Option<Shortfall> {
        if self.failure.is_some() {
            return Some(Shortfall::Failed);
        }
        let Some(launch) = &self.launch else { return Some(Shortfall::NotLaunched) };
        let digest = hex::encode(wire::digest(frame));
        if launch.digest != digest {
            return Some(Shortfall::OtherPolicy { launched: launch.digest.clone(), digest });
        }
        policy.enforce.guarantees.iter().find_map(|guaranteed| {
            let name = guaranteed.guarantee.name();
            let is_given_up = launch.waived.iter().any(|waived| waived == name);
            match launch.guarantees.contains_key(name) {
                true => None,
                false if !is_given_up => Some(Shortfall::NotKept(guaranteed.guarantee)),
                false if waived && guaranteed.waived => None,
                false => Some(Shortfall::Waived(guaranteed.guarantee)),
            }
        })
    }
}

/// Why a receipt does not satisfy a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// Nothing ran.
    Failed,
    /// The line that says what was enforced is not there.
    NotLaunched,
    /// It is of another policy.
    OtherPolicy {
        /// The one that was launched.
        launched: String,
        /// The one that was asked for.
        digest: String,
    },
    /// A guarantee that is not among those kept.
    NotKept(Guarantee),
    /// A guarantee that nothing keeps there, and that the policy gave up.
    Waived(Guarantee),
}

impl fmt::Display for Shortfall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => formatter.write_str("the launch failed"),
            Self::NotLaunched => formatter.write_str("there is no launch event"),
            Self::OtherPolicy { launched, digest } => {
                write!(formatter, "it is of the policy {launched}, not of {digest}")
            }
            Self::NotKept(guarantee) => {
                write!(formatter, "the guarantee {:?} is not kept", guarantee.name())
            }
            Self::Waived(guarantee) => {
                write!(formatter, "the guarantee {:?} is waived", guarantee.name())
            }
        }
    }
}

/// The JSON Schema of one line.
pub fn schema() -> Value {
    SchemaSettings::draft07().into_generator().into_root_schema_for::<Event>().into()
}
