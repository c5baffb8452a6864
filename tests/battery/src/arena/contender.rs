//! What an attack is tried against.

use std::fmt;

use crate::world::BASE;

/// What an attack is tried against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// No sandbox: the control.
    Plain,
    /// bubblewrap, with the host to read.
    Bubblewrap,
    /// bubblewrap, with a session and a `/tmp` of its own.
    BubblewrapSession,
    /// This project, under `strict.toml`.
    Strict,
    /// This project, under `unfiltered.toml`.
    Unfiltered,
    /// This project, under `landlock.toml`.
    Landlock,
}

impl Contender {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 6] = [
        Self::Plain,
        Self::Bubblewrap,
        Self::BubblewrapSession,
        Self::Strict,
        Self::Unfiltered,
        Self::Landlock,
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.to_string() == name)
    }

    /// The command line, with the attack at its end.
    pub fn command(self) -> Vec<String> {
        let all = "--ro-bind / / --dev /dev --proc /proc --unshare-all --die-with-parent";
        // What a policy grants, too.
        let granted = "--bind BASE/writable BASE/writable --bind BASE/project BASE/project";
        let around = match self {
            Self::Plain => String::new(),
            Self::Bubblewrap => format!("bwrap {all} {granted}"),
            Self::BubblewrapSession => {
                format!("bwrap {all} --new-session --tmpfs /tmp {granted}")
            }
            Self::Strict => run_under("strict"),
            Self::Unfiltered => run_under("unfiltered"),
            Self::Landlock => run_under("landlock"),
        };
        let words = format!("{around} BASE/bin/battery attack").replace("BASE", BASE);
        words.split_whitespace().map(str::to_owned).collect()
    }
}

fn run_under(policy: &str) -> String {
    format!("BASE/tools/encode-policy run --status-fd=28 BASE/policies/{policy}.toml --")
}

impl fmt::Display for Contender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "plain",
            Self::Bubblewrap => "bwrap",
            Self::BubblewrapSession => "bwrap-session",
            Self::Strict => "strict",
            Self::Unfiltered => "unfiltered",
            Self::Landlock => "landlock",
        })
    }
}
