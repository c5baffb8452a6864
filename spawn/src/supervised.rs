//! Commands whose system calls are decided about while they run.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use launcher_policy::wire;
use launcher_supervisor::{
    Category, Handover, Listener, PolicyContext, Supervisor, SyscallEvent, Verdict,
};
use policy_encoder::Architecture;
use policy_encoder::document::{Access, Document};
use policy_encoder::seccomp::reach::Reach;
use policy_encoder::seccomp::simulate::Simulator;
use policy_encoder::seccomp::tables;

use crate::{Error, Sandbox};

/// What is asked about unless a policy says it. What the supervisor does not know
/// fails with ENOSYS, and programs go on with what it does: they are asked about
/// for that.
const ASKED: [(Category, &[&str]); 4] = [
    (
        Category::File,
        &[
            "open",
            "openat",
            "openat2",
            "creat",
            "unlink",
            "unlinkat",
            "rmdir",
            "rename",
            "renameat",
            "renameat2",
            "link",
            "linkat",
            "symlink",
            "symlinkat",
            "mkdir",
            "mkdirat",
            "mknod",
            "mknodat",
            "chmod",
            "fchmodat",
            "fchmodat2",
            "chown",
            "lchown",
            "fchownat",
            "utime",
            "utimes",
            "futimesat",
            "utimensat",
            "setxattr",
            "lsetxattr",
            "removexattr",
            "lremovexattr",
            "truncate",
        ],
    ),
    (Category::Process, &["execve", "execveat"]),
    (Category::Network, &["connect", "bind", "sendto", "sendmsg", "sendmmsg"]),
    (Category::Memory, &["mmap", "mremap", "brk"]),
];

/// What is asked about of each of them.
fn arguments(call: &str) -> &'static str {
    match call {
        // What is sent without an address goes where the socket is connected to.
        "sendto" => "args = [{ index = 4, op = 'not-equal', value = 0 }]\n",
        "mmap" => "args = [{ index = 1, op = 'greater-equal', value = 0x100000 }]\n",
        "mremap" => "args = [{ index = 2, op = 'greater-equal', value = 0x100000 }]\n",
        _ => "",
    }
}

/// Nobody takes in the children of another process, as PID 1 of a namespace does, or
/// descendants could not be followed.
const FOLLOWED: &str = r#"
[[seccomp.rule]]
call = "prctl"
args = [{ index = 0, op = "equal", value = "PR_SET_CHILD_SUBREAPER" }]
action = "errno"

[[seccomp.rule]]
call = "clone"
args = [{ index = 0, op = "masked-equal", mask = "CLONE_PARENT", value = "CLONE_PARENT" }]
action = "errno"

[[seccomp.rule]]
call = ["clone", "unshare"]
args = [{ index = 0, op = "masked-equal", mask = "CLONE_NEWPID", value = "CLONE_NEWPID" }]
action = "errno"
"#;

/// How commands are supervised.
#[derive(Clone)]
pub(crate) struct Supervision(Arc<dyn Fn(Listener) -> Supervisor + Send + Sync>);

impl fmt::Debug for Supervision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervision").finish_non_exhaustive()
    }
}

impl Supervision {
    /// Has threads wait for the listener of the next command; what the launcher
    /// sends it by.
    pub(crate) fn begin(&self) -> io::Result<OwnedFd> {
        let (handover, theirs) = Handover::pair()?;
        let make = Arc::clone(&self.0);
        thread::Builder::new().name("handover".to_owned()).spawn(move || {
            // Without a supervisor that listens, what is asked about fails.
            if let Ok(Some(listener)) = handover.receive() {
                drop(make(listener).run());
            }
        })?;
        Ok(theirs)
    }
}

impl Sandbox {
    /// Has a function decide about system calls of every command, each of which
    /// has a context of its own. It is asked about files, programs and, where the
    /// policy has a network, hosts ([`Sandbox::ask`]); a policy with rules whose
    /// action is `"notify"` says it itself. What a verdict is worth is in
    /// `docs/supervisor.md`.
    ///
    /// The command runs by the launcher, on threads of this program its calls are
    /// decided about until it has ended. [`CommandExt`](crate::CommandExt) starts
    /// none, and is refused. Under [`Sandbox::none`] nothing is decided.
    #[must_use]
    pub fn policy_fn(
        self,
        policy: impl Fn(&SyscallEvent, &mut PolicyContext) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let policy = Arc::new(policy);
        self.supervise(move |listener| {
            let policy = Arc::clone(&policy);
            Supervisor::new(listener).policy_fn(move |event, context| policy(event, context))
        })
    }

    /// As [`Sandbox::policy_fn`], for a supervisor with a log, limits or a time
    /// of its own.
    #[must_use]
    pub fn supervise(
        mut self,
        supervisor: impl Fn(Listener) -> Supervisor + Send + Sync + 'static,
    ) -> Self {
        self.supervision = Some(Supervision(Arc::new(supervisor)));
        self.prepared = None;
        self
    }

    /// What a policy asks about that does not say it itself. What is not asked
    /// about costs nothing. Memory is asked about only where it is named here: mappings
    /// of 1 MiB and more, and the heap whenever it grows.
    #[must_use]
    pub fn ask(mut self, about: &[Category]) -> Self {
        self.asked = Some(about.into());
        self.prepared = None;
        self
    }
}

/// Whether a policy asks about anything.
pub(crate) fn asks(bytes: &[u8]) -> bool {
    let seccomp = wire::decode(bytes).ok().and_then(|policy| policy.seccomp);
    seccomp.is_some_and(|seccomp| seccomp.asks())
}

/// The rules by which a policy asks.
pub(crate) fn rules(document: &Document, bytes: &[u8], about: Option<&[Category]>) -> String {
    let seccomp = wire::decode(bytes).ok().and_then(|policy| policy.seccomp);
    let filters = seccomp.map(|seccomp| [seccomp.filter, seccomp.without_namespaces]);
    let filters = filters.into_iter().flatten().filter_map(|filter| Simulator::new(filter).ok());
    let filters: Vec<Simulator> = filters.collect();
    // Nothing is opened by asking about it.
    let is_open = |name: &str| {
        let audit = tables::audit(Architecture::NATIVE);
        let opens = |number, filter| Reach::of(filter, audit, number).may_allow();
        tables::number(Architecture::NATIVE, name)
            .is_some_and(|number| filters.iter().all(|filter| opens(number, filter)))
    };
    let access = document.network.access.as_ref().map(|access| *access.get_ref());
    let has_hosts = access.is_some_and(|access| access != Access::None);
    let is_asked = |category: Category| {
        // Nothing is decided about memory, and it is asked for all the time.
        about.map_or(category != Category::Memory, |about| about.contains(&category))
            && (has_hosts || category != Category::Network)
    };
    let asked = ASKED.iter().filter(|(category, _)| is_asked(*category));
    let mut text = String::from(FOLLOWED);
    for name in asked.flat_map(|(_, names)| *names).filter(|name| is_open(name)) {
        let args = arguments(name);
        text += &format!("[[seccomp.rule]]\ncall = '{name}'\n{args}action = 'notify'\n");
    }
    text
}

/// What is said of a policy that cannot ask.
pub(crate) fn asks_nothing() -> Error {
    Error::policy(
        "the policy asks a supervisor about nothing: a policy that was encoded before needs rules \
         with action = \"notify\", and others a filter, and calls that are open",
    )
}

#[cfg(test)]
mod tests {
    use launcher_supervisor::SUPERVISED;

    use super::*;

    #[test]
    fn what_a_supervisor_knows_is_asked_about_but_for_looks_and_new_processes() {
        let is_asked = |call: &&str| ASKED.iter().any(|(_, names)| names.contains(call));
        let left: Vec<&str> =
            SUPERVISED.iter().map(|(call, _)| *call).filter(|call| !is_asked(call)).collect();
        let looks = "stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat";
        assert_eq!(left.join(" "), format!("{looks} clone clone3 fork vfork"));
    }
}
