//! A sandbox: a policy, and what is made once for all commands in it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

use launcher_supervisor::Category;
use policy_encoder::document::Document;
use rustix::fs::MemfdFlags;
use rustix::io::fcntl_dupfd_cloexec;

use crate::held::{Held, Joined, Network, Surroundings, Wanted};
use crate::in_place::{self, Decoded};
use crate::launcher::{apart, beyond_streams, sealed};
use crate::layer::{Added, Layer};
use crate::policy::Encoded;
use crate::server::Server;
use crate::supervised::Supervision;
use crate::{Command, Error, Launcher, layers, supervised};

/// A policy under which commands run.
///
/// It is cheap to clone, and commands may be started in it from many threads at
/// once.
#[derive(Clone, Debug)]
pub struct Sandbox {
    policy: Option<Arc<Encoded>>,
    launcher: Option<Launcher>,
    wanted: Wanted,
    /// Of the caller's.
    layers: Vec<Added>,
    pub(crate) supervision: Option<Supervision>,
    /// What a supervisor is asked about; all, unless it is said.
    pub(crate) asked: Option<Arc<[Category]>>,
    pub(crate) prepared: Option<Arc<Prepared>>,
}

/// What is made once.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The launcher.
    program: OwnedFd,
    /// The policy in a sealed memfd.
    memfd: OwnedFd,
    /// The policy, where the launcher is not needed.
    in_place: Option<Decoded>,
    /// Its Landlock ruleset, where no launch has a part in that.
    ruleset: Option<OwnedFd>,
    /// What processes of the launcher hold.
    held: Held,
}

impl Sandbox {
    /// The policy in a file, in TOML or JSON, with all that it extends. Paths
    /// in it that are not absolute start from the working directory.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        Encoded::from_file(path.as_ref()).map(Self::of)
    }

    /// The policy in a text, as [`Sandbox::from_file`].
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        Encoded::from_text(text).map(Self::of)
    }

    /// A policy that was built in code.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn from_document(document: &Document) -> Result<Self, Error> {
        Encoded::from_document(document).map(Self::of)
    }

    /// A policy that was encoded before.
    ///
    /// # Errors
    ///
    /// Where the bytes are none, or of another version or architecture.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Encoded::from_bytes(bytes).map(Self::of)
    }

    /// No sandbox: commands run as [`std::process::Command`] runs them. For
    /// callers whose users may turn sandboxing off.
    pub fn none() -> Self {
        Self {
            policy: None,
            launcher: None,
            wanted: Wanted::default(),
            layers: Vec::new(),
            supervision: None,
            asked: None,
            prepared: None,
        }
    }

    fn of(policy: Encoded) -> Self {
        Self { policy: Some(Arc::new(policy)), ..Self::none() }
    }

    /// With this launcher, instead of the one that [`Launcher::find`] finds.
    #[must_use]
    pub fn launcher(self, launcher: Launcher) -> Self {
        Self { launcher: Some(launcher), prepared: None, ..self }
    }

    /// The same sandbox, whose commands do not end with this program, whatever
    /// `process.die_with_parent` says. It has to be prepared anew, and receipts
    /// name it by another digest: it is another policy.
    ///
    /// # Errors
    ///
    /// Where the policy cannot be encoded so.
    pub fn detached(&self) -> Result<Self, Error> {
        let policy = self.policy.as_ref().map(|policy| policy.detached().map(Arc::new));
        Ok(Self { policy: policy.transpose()?, prepared: None, ..self.clone() })
    }

    /// Has every command apply this layer to itself as well, in the order in
    /// which they are added: when its streams, descriptors and working directory
    /// are in place, and before the first stage of the sandbox, for which it
    /// must leave what that takes. Under [`Sandbox::none`] there is nothing else.
    ///
    /// # Errors
    ///
    /// Where the layer cannot be prepared.
    pub fn layer(mut self, layer: &dyn Layer) -> Result<Self, Error> {
        let name = layer.name();
        let apply = layer.prepare().map_err(Error::io(format!("cannot prepare the layer {name}")));
        self.layers.push(Added { name: name.into(), apply: apply?.into() });
        Ok(self)
    }

    /// The layers of the policy that a process can put on by itself, in their
    /// order, as far as the policy has them: `namespaces`, `landlock`, `cgroup`,
    /// `seccomp`.
    ///
    /// A PID namespace takes a process beside the command, and the view of the
    /// file system a mount namespace that it is built in: those are the
    /// launcher's. A layer is the policy's as on a host that gives neither, so
    /// Landlock grants what the policy grants on the host's own files, and the
    /// filter closes what the two would have kept. One that is not available
    /// cannot be prepared, unless the policy prefers it only (`[enforce]`) and
    /// nothing is lost without.
    pub fn layers(&self) -> Vec<Box<dyn Layer>> {
        self.policy().map(layers::of).unwrap_or_default()
    }

    /// With a template: [`Sandbox::prepare`] builds the view of the policy once,
    /// and each command gets a copy. It has its own `/proc`, pseudo-terminals and
    /// private directories, and its own namespaces but the user namespace.
    ///
    /// The view is that of when it was prepared. Where something that it shows or
    /// hides is replaced later, commands are refused until another is prepared.
    #[must_use]
    pub fn template(self) -> Self {
        let wanted = Wanted { template: true, ..self.wanted };
        Self { wanted, prepared: None, ..self }
    }

    /// With network namespaces that are made before they are needed.
    #[must_use]
    pub fn network(self, network: Network) -> Self {
        let wanted = Wanted { network, ..self.wanted };
        Self { wanted, prepared: None, ..self }
    }

    /// With a server: [`Sandbox::prepare`] starts a process of the launcher that
    /// has read the policy and forks for each command, which takes less than to
    /// execute the launcher. Best with [`Sandbox::template`].
    ///
    /// The commands are children of this process as without, and end with it
    /// and by themselves as the policy says, whatever becomes of the server. What
    /// a process inherits they have from when it was prepared: ids, limits,
    /// session, cgroup, file mode mask, CPUs. They share nothing more than
    /// without.
    #[must_use]
    pub fn serve(self) -> Self {
        let wanted = Wanted { server: true, ..self.wanted };
        Self { wanted, prepared: None, ..self }
    }

    /// Opens and builds what all commands share. A sandbox that is not prepared
    /// does this for each of them.
    ///
    /// # Errors
    ///
    /// Where there is no launcher, or no descriptor left.
    pub fn prepare(self) -> Result<Self, Error> {
        let prepared = self.prepared()?;
        Ok(Self { prepared, ..self })
    }

    /// A command in this sandbox.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(self.clone(), program.as_ref())
    }

    /// The encoded policy, without what [`Sandbox::policy_fn`] asks about; `None`
    /// for [`Sandbox::none`].
    pub fn policy(&self) -> Option<&[u8]> {
        self.policy.as_ref().map(|policy| policy.bytes.as_slice())
    }

    /// The policy, with what it asks a supervisor about.
    fn enforced(&self) -> Result<Option<Arc<Encoded>>, Error> {
        match &self.policy {
            Some(policy) if self.supervision.is_some() && !supervised::asks(&policy.bytes) => {
                policy.asking(self.asked.as_deref()).map(|policy| Some(Arc::new(policy)))
            }
            policy => Ok(policy.clone()),
        }
    }

    /// What is prepared, or is now; nothing where there is no sandbox.
    pub(crate) fn prepared(&self) -> Result<Option<Arc<Prepared>>, Error> {
        let Some(policy) = self.enforced()? else { return Ok(None) };
        if let Some(prepared) = &self.prepared {
            return Ok(Some(Arc::clone(prepared)));
        }
        let launcher = match &self.launcher {
            Some(launcher) => launcher.clone(),
            None => Launcher::find()?,
        };
        // On numbers that nothing is handed over under.
        let apart = |fd| apart(beyond_streams(fd)?, |number| policy.fds.contains(&number));
        let program = fcntl_dupfd_cloexec(launcher.program(), 3)
            .and_then(apart)
            .map_err(Error::io("cannot keep the launcher open"))?;
        let memfd = sealed(c"policy", &policy.bytes, MemfdFlags::NOEXEC_SEAL)
            .and_then(apart)
            .map_err(Error::io("cannot put the policy into a memfd"))?;
        // What asks while it is in this program's memory would stop it.
        let in_place =
            if self.supervision.is_some() { None } else { in_place::decode(&policy.bytes) };
        let ruleset = in_place.as_ref().map(in_place::ruleset).transpose()?.flatten();
        let ruleset = ruleset.map(apart).transpose();
        let ruleset = ruleset.map_err(Error::io("cannot keep the Landlock ruleset open"))?;
        let around = Surroundings {
            program: program.as_fd(),
            memfd: memfd.as_fd(),
            ruleset: ruleset.as_ref().map(AsFd::as_fd),
            apart: &apart,
        };
        let held = Held::make(self.wanted, &policy.bytes, &around)?;
        Ok(Some(Arc::new(Prepared { program, memfd, in_place, ruleset, held })))
    }

    /// What the next command joins.
    pub(crate) fn join<'p>(&self, prepared: &'p Prepared) -> Result<Joined<'p>, Error> {
        let is_taken = |number| self.policy.is_some() && self.takes(number);
        prepared.held.next(&|fd| apart(beyond_streams(fd)?, is_taken))
    }

    /// The caller's own layers.
    pub(crate) fn added(&self) -> &[Added] {
        &self.layers
    }

    /// Whether the policy has a proxy, for which each command has sockets.
    pub(crate) fn has_proxy(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.has_proxy)
    }

    /// Whether the policy speaks of a descriptor of this number.
    pub(crate) fn takes(&self, number: RawFd) -> bool {
        self.policy.as_ref().is_none_or(|policy| policy.fds.contains(&number))
    }
}

impl Prepared {
    pub(crate) fn program(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }

    pub(crate) fn in_place(&self) -> Option<&Decoded> {
        self.in_place.as_ref()
    }

    pub(crate) fn ruleset(&self) -> Option<RawFd> {
        self.ruleset.as_ref().map(AsRawFd::as_raw_fd)
    }

    pub(crate) fn server(&self) -> Option<&Server> {
        self.held.server()
    }

    pub(crate) fn memfd(&self) -> RawFd {
        self.memfd.as_raw_fd()
    }
}
