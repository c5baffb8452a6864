//! A row of the table.

use std::fmt;

use crate::errno::errno_name;
use crate::outcome::{Outcome, Refused};
use crate::world::World;

/// Checks about one kind of thing.
pub struct Group {
    /// What they are about.
    pub name: &'static str,
    /// In the order in which they are made.
    pub checks: &'static [Check],
}

/// One small attack.
pub struct Check {
    /// Unique among all groups.
    pub name: &'static str,
    /// What it tries, as a sentence without its subject.
    pub tries: &'static str,
    /// An attack that became known, or where the idea comes from.
    pub source: &'static str,
    /// Who succeeds without a sandbox.
    pub control: Control,
    /// Under `strict.toml`.
    pub strict: Expected,
    /// Under `landlock.toml`.
    pub landlock: Expected,
    /// Tries it, once, in a process of its own.
    pub attack: Attack,
}

/// Succeeds if the attack had its effect.
pub type Attack = fn(&World) -> Result<(), Refused>;

/// Who succeeds without a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Whoever tries.
    Anybody,
    /// Root does; others may.
    Root,
    /// Whoever tries, on a kernel that has what the words name.
    Where(&'static str),
    /// Root does, on a kernel that has what the words name.
    RootWhere(&'static str),
}

/// What must happen to an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Where root calls the launcher.
    pub root: Verdict,
    /// Where another user does.
    pub nobody: Verdict,
}

/// What must happen to an attack of one caller's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This layer stops it like this.
    Blocked(Layer, Stop),
    /// Nothing stops it, for this reason.
    Allowed(&'static str),
    /// Some hosts stop it, others do not, for this reason.
    Depends(&'static str),
}

/// How an attack is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The call fails.
    Errno(i32),
    /// The process ends.
    Signal(i32),
    /// Every call succeeds, and nothing outside notices.
    NoEffect,
}

/// What stops an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// What is not passed on is closed.
    Fds,
    /// The mount namespace: what is in view, read-only, `noexec`, `nodev`.
    Mounts,
    /// The PID namespace.
    PidNamespace,
    /// The network namespace.
    NetNamespace,
    /// Session and process group.
    Session,
    /// No capability, no new privileges, a PID 1 that is not dumpable.
    Credentials,
    /// Resource limits.
    Limits,
    /// The modes of files: the caller may not either.
    Permissions,
    /// Landlock.
    Landlock,
    /// The filter.
    Seccomp,
    /// The environment and the working directory that exec gives.
    Exec,
}

impl Check {
    /// Blocked with the same errno by the same layer, whoever calls.
    pub(crate) const fn blocked(layer: Layer, errno: i32) -> Expected {
        same(Verdict::Blocked(layer, Stop::Errno(errno)))
    }

    /// Ended by the filter.
    pub(crate) const fn killed() -> Expected {
        same(Verdict::Blocked(Layer::Seccomp, Stop::Signal(libc::SIGSYS)))
    }

    /// Without effect, whoever calls.
    pub(crate) const fn ineffective(layer: Layer) -> Expected {
        same(Verdict::Blocked(layer, Stop::NoEffect))
    }

    /// Allowed, whoever calls.
    pub(crate) const fn allowed(why: &'static str) -> Expected {
        same(Verdict::Allowed(why))
    }

    /// Allowed on some hosts, whoever calls.
    pub(crate) const fn depends(why: &'static str) -> Expected {
        same(Verdict::Depends(why))
    }
}

const fn same(verdict: Verdict) -> Expected {
    Expected { root: verdict, nobody: verdict }
}

impl Expected {
    /// The same, but for root.
    pub(crate) const fn but_root(self, root: Expected) -> Self {
        Self { root: root.root, nobody: self.nobody }
    }

    /// What is expected for one of the callers.
    pub fn of(self, is_root: bool) -> Verdict {
        if is_root { self.root } else { self.nobody }
    }
}

impl Control {
    /// Whether this caller must succeed without a sandbox, where the kernel
    /// has what it takes.
    pub fn promises(self, is_root: bool) -> bool {
        matches!(self, Self::Anybody | Self::Where(_)) || is_root
    }

    /// What some kernels lack.
    pub fn takes(self) -> Option<&'static str> {
        match self {
            Self::Where(what) | Self::RootWhere(what) => Some(what),
            Self::Anybody | Self::Root => None,
        }
    }
}

impl Verdict {
    /// Whether an attack that ended so was expected to.
    pub fn fits(self, outcome: Outcome) -> bool {
        match self {
            Self::Blocked(_, Stop::Errno(errno)) => outcome == Outcome::Errno(errno),
            Self::Blocked(_, Stop::Signal(signal)) => outcome == Outcome::Signal(signal),
            Self::Blocked(_, Stop::NoEffect) => outcome == Outcome::NoEffect,
            Self::Allowed(_) => outcome == Outcome::Allowed,
            Self::Depends(_) => outcome != Outcome::Timeout,
        }
    }

    /// Why nothing stops it, if nothing does.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Blocked(..) => None,
            Self::Allowed(why) | Self::Depends(why) => Some(why),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(layer, stop) => write!(formatter, "{layer}: {stop}"),
            Self::Allowed(_) => formatter.write_str("ALLOWED"),
            Self::Depends(_) => formatter.write_str("depends"),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => formatter.write_str(&errno_name(*errno)),
            Self::Signal(libc::SIGSYS) => formatter.write_str("SIGSYS"),
            Self::Signal(signal) => write!(formatter, "signal {signal}"),
            Self::NoEffect => formatter.write_str("no effect"),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fds => "fds",
            Self::Mounts => "mounts",
            Self::PidNamespace => "pid namespace",
            Self::NetNamespace => "net namespace",
            Self::Session => "session",
            Self::Credentials => "credentials",
            Self::Limits => "limits",
            Self::Permissions => "permissions",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Exec => "exec",
        })
    }
}
