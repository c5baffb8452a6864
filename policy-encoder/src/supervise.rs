//! `run --supervise` and `--audit`: who decides about the command's calls while
//! it runs, and what is written of that.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use clap::Args;
use launcher_policy::wire;
use launcher_supervisor::{Handover, Listener, Supervisor};

use crate::proxying::is_supervised;

/// A supervisor, when there is a listener.
type Made = std::io::Result<Supervisor>;

/// Who decides.
#[derive(Args)]
pub(crate) struct SuperviseArguments {
    /// Ask the process that listens at this UNIX socket about what the policy
    /// has `action = "notify"` for
    #[arg(long, value_name = "SOCKET")]
    supervise: Option<PathBuf>,
    /// Append what was asked about, and the verdict, to FILE as JSON lines
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
}

impl SuperviseArguments {
    /// Has threads wait for the listener, if somebody decides; what the launcher
    /// sends it by.
    pub(crate) fn begin(&self, policy: &[u8]) -> Result<Option<OwnedFd>, String> {
        if self.supervise.is_none() && self.audit.is_none() {
            return Ok(None);
        }
        let decoded = wire::decode(policy).ok();
        if decoded.as_ref().is_some_and(is_supervised) {
            let message = "where there is no network namespace this policy has a supervisor of its \
                           own (network.without_namespace); leave --supervise and --audit out";
            return Err(message.to_owned());
        }
        let seccomp = decoded.and_then(|policy| policy.seccomp);
        if !seccomp.is_some_and(|seccomp| seccomp.asks()) {
            let message =
                "the policy asks about nothing; say action = \"notify\" in [[seccomp.rule]]";
            return Err(message.to_owned());
        }
        let supervisor = self.supervisor()?;
        let (handover, theirs) =
            Handover::pair().map_err(|error| format!("cannot make a socket: {error}"))?;
        thread::spawn(move || {
            // Without a supervisor that listens, what is asked about fails.
            if let Ok(Some(listener)) = handover.receive()
                && let Ok(supervisor) = supervisor(listener)
            {
                drop(supervisor.run());
            }
        });
        Ok(Some(theirs))
    }

    fn supervisor(&self) -> Result<impl FnOnce(Listener) -> Made + Send + use<>, String> {
        let connect = |path: &PathBuf| {
            let wrong = |error| format!("cannot ask at {}: {error}", path.display());
            UnixStream::connect(path).map_err(wrong)
        };
        let open = |path: &PathBuf| {
            let wrong = |error| format!("cannot write {}: {error}", path.display());
            OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(wrong)
        };
        let decides = self.supervise.as_ref().map(connect).transpose()?;
        let audit = self.audit.as_ref().map(open).transpose()?;
        Ok(move |listener| {
            let mut supervisor = Supervisor::new(listener);
            if let Some(stream) = decides {
                supervisor = supervisor.remote(stream)?;
            }
            if let Some(file) = audit {
                supervisor = supervisor.audit(file);
            }
            Ok(supervisor)
        })
    }
}
