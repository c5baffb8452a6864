//! The order of a launch, and the word each stage goes by everywhere.

/// One step of a launch, in the order the steps are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Read and decode the policy.
    Input,
    /// Make every descriptor that is not passed on close-on-exec.
    Fds,
    /// Leave the caller's namespaces.
    Namespaces,
    /// Build the view of the file system, and the Landlock ruleset with it.
    Mounts,
    /// Set resource limits.
    Limits,
    /// Session, process group, terminal and signals.
    Session,
    /// Ids, capabilities, securebits, `no_new_privs`.
    Credentials,
    /// Enforce the Landlock ruleset.
    Landlock,
    /// Install the seccomp filter.
    Seccomp,
    /// Run the command.
    Exec,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 10] = [
        Self::Input,
        Self::Fds,
        Self::Namespaces,
        Self::Mounts,
        Self::Limits,
        Self::Session,
        Self::Credentials,
        Self::Landlock,
        Self::Seccomp,
        Self::Exec,
    ];

    /// The stage's word in messages, file names and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Fds => "fds",
            Self::Namespaces => "namespaces",
            Self::Mounts => "mounts",
            Self::Limits => "limits",
            Self::Session => "session",
            Self::Credentials => "credentials",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Exec => "exec",
        }
    }
}
