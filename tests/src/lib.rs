//! Runs the real binaries on the real kernel, for the end-to-end tests.
//!
//! ```no_run
//! use harness::{Caller, Errno, Outcome, Sandbox, TempDir};
//!
//! for caller in Caller::both() {
//!     let dir = TempDir::with_file("note", "kept");
//!     let policy = format!("[filesystem]\nread = [{{ path = {dir:?}, at = \"/data\" }}]");
//!
//!     let outcome = Sandbox::new(&policy).caller(caller).probe("open-for-write /data/note");
//!
//!     assert_eq!(outcome, Outcome::Errno(Errno::ROFS), "{caller}");
//!     assert_eq!(dir.read("note"), "kept");
//! }
//! ```
//!
//! - [`Sandbox::new`] takes TOML. The harness adds an `execute` entry for the
//!   `probe` binary (see `probe/src/bin/probe.rs` for its verbs), unless
//!   [`Sandbox::without_probe`] is said. [`Sandbox::outside`] runs the same
//!   without any sandbox: the control of a negative check.
//! - [`Sandbox::probe`] makes one system call inside, [`Sandbox::probes`]
//!   several in one launch, [`Sandbox::run`] runs a command to its end, and
//!   [`Sandbox::start`] gives a [`Running`] one to talk to.
//! - The launcher starts with [`PATH`] as its only variable, `/` as its
//!   working directory and `/dev/null` as its input. Whatever descriptors the
//!   tests themselves were started with, it has, too.
//! - [`Output::events`] is what the launcher wrote to `--status-fd`.
//! - Whatever takes longer than [`TIMEOUT`] is killed and fails the test.
//! - What a host cannot do is skipped by name with [`skip!`].
//!
//! The binaries come from `dist/`, or from the directory that `LAUNCHER_DIST`
//! names: `launcher`, `encode-policy`, `test/probe`. They are copied to where
//! every user may run them.

use std::fmt;
use std::time::Duration;

mod binaries;
mod caller;
mod namespaces;
pub mod net;
mod policy;
mod run;
mod skip;
mod temp;

pub use binaries::{Binaries, dist};
pub use caller::Caller;
pub use namespaces::Namespaces;
pub use policy::{encode, encode_in, with_probe};
pub use run::{Handover, Output, Running, SEALS, Sandbox, is_ready, memory, pipe_of};
pub use rustix::io::Errno;
pub use skip::{
    EXPECTED_SKIPS, cargo_of_rustup, has_namespaces, has_program, has_strace, landlock_abi, skipped,
};
pub use temp::TempDir;

/// A policy that Landlock and seccomp keep alone, in the launcher's own
/// process.
pub const IN_PLACE: &str = r#"
    filesystem.tmp = "none"
    filesystem.proc = false
    filesystem.dev = "none"
    network.unix = "host"
    enforce.namespaces = "off"
    enforce.waive = ["execute"]
    "#;

/// A policy whose guarantees are kept without namespaces, and that has every
/// namespace that a process can enter by itself.
pub const ALONE: &str = r#"
    filesystem = { root = "minimal", tmp = "none", proc = false, dev = "none" }
    network.unix = "host"
    enforce.waive = ["execute"]
    "#;

/// A host on which no user namespace can be made, for those below it: the
/// limit is that of a user namespace of the test's own.
pub const WITHOUT_USER_NAMESPACES: &[&str] = &[
    "unshare",
    "-Ur",
    "sh",
    "-c",
    "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"",
    "sh",
];

/// A host on which namespaces can be made and are of no use, as where AppArmor
/// takes the capabilities in them: nobody maps ids.
pub const WITHOUT_ID_MAPS: &[&str] = &[
    "strace",
    "-f",
    "-qq",
    "-o",
    "/dev/null",
    "-P",
    "/proc/self/setgroups",
    "-e",
    "inject=?open,openat:error=EACCES",
    "--",
];

/// A kernel without Landlock, for the calls of the launcher.
pub const WITHOUT_LANDLOCK: &[&str] =
    &["strace", "-f", "-o", "/dev/null", "-e", "inject=landlock_create_ruleset:error=ENOSYS", "--"];

/// How long a launch may take before the test fails.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The only variable that a command's caller has.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// The descriptor that the policy comes on, where a test does not say.
pub const POLICY_FD: i32 = 198;

/// The descriptor that the status goes to.
pub const STATUS_FD: i32 = 199;

/// What the probe's one system call gave.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded; the value, if it has one.
    Ok(String),
    /// It failed.
    Errno(Errno),
    /// The probe said nothing: the launch was refused, or a signal ended it.
    Silent(Output),
}

impl Outcome {
    /// The value of a call that succeeded.
    ///
    /// # Panics
    ///
    /// If it did not.
    #[track_caller]
    pub fn value(self) -> String {
        match self {
            Self::Ok(value) => value,
            other => panic!("the call did not succeed: {other:?}"),
        }
    }

    /// Whether the call succeeded.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok(_))
    }

    /// Whether the kernel refused the call.
    pub fn is_errno(&self) -> bool {
        matches!(self, Self::Errno(_))
    }

    /// Reads one line of the probe's.
    pub fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("ok", value) => Some(Self::Ok(value.to_owned())),
            ("errno", number) => number.parse().ok().map(Errno::from_raw_os_error).map(Self::Errno),
            _ => None,
        }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(value) => write!(formatter, "Ok({value:?})"),
            Self::Errno(errno) => {
                let number = syscalls::Errno::new(errno.raw_os_error());
                write!(formatter, "Errno({})", number.name().unwrap_or("unknown"))
            }
            Self::Silent(output) => write!(formatter, "Silent({output:?})"),
        }
    }
}
