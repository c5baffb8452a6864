//! What a policy says to a question, from its bytes.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use launcher_policy::seccomp::Seccomp;
use launcher_policy::wire;
use launcher_supervisor::Listener;
use launcher_supervisor::watch::landlock_abi;
use linux_raw_sys::general::CLONE_NEWNS;
use linux_raw_sys::ptrace::{SECCOMP_RET_ACTION_FULL, SECCOMP_RET_ALLOW, SECCOMP_RET_DATA};
use linux_raw_sys::ptrace::{SECCOMP_RET_ERRNO, SECCOMP_RET_LOG};
use policy_encoder::Architecture;
use policy_encoder::explain::{Model, Network, Operation, Reason, Rung, Summary};
use policy_encoder::seccomp::rules::Data;
use policy_encoder::seccomp::simulate::Simulator;
use policy_encoder::seccomp::watched::open;

/// What a command asks of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// An operation on a path.
    File(Operation, PathBuf, Option<PathBuf>),
    /// Whether there is something of this name.
    Look(PathBuf),
    /// A system call, by its name and arguments.
    Call(&'static str, [u64; 6]),
    /// To connect to a port, by TCP or not.
    Connect(IpAddr, u16, bool),
    /// To bind a port of TCP.
    Bind(u16),
    /// To connect to the path of a UNIX socket.
    Unix(PathBuf),
}

/// Why something is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// By what is shown of the files, or what may be done with them.
    Files(Reason),
    /// By the filter, with this error.
    Filter(u16),
    /// By what can be reached.
    Network,
}

/// What a command stands on here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// The namespaces of its policy, if that has any.
    Asked,
    /// What there is where they could not be made.
    WithoutNamespaces,
}

impl Stand {
    /// What the launcher says of it.
    pub(super) const fn of(listener: &Listener) -> Self {
        if listener.is_without_namespaces() { Self::WithoutNamespaces } else { Self::Asked }
    }
}

/// One policy as it is applied here.
pub(super) struct Judge {
    model: Option<Model>,
    filter: Simulator,
    network: Network,
}

impl Judge {
    /// A policy; `None` if the bytes are none.
    pub(super) fn new(bytes: &[u8], stand: Stand) -> Option<Self> {
        let policy = wire::decode(bytes).ok()?;
        let open = open();
        let filter = match policy.seccomp {
            Some(Seccomp { without_namespaces: without @ [_, ..], .. })
                if stand == Stand::WithoutNamespaces =>
            {
                without
            }
            Some(seccomp) => seccomp.filter,
            None => &open,
        };
        let abi = landlock_abi();
        let flags = policy.namespaces.map_or(0, |namespaces| namespaces.flags);
        let rung = match stand == Stand::Asked && flags & CLONE_NEWNS != 0 {
            true => Rung::Namespaces { abi },
            false => Rung::Landlock { abi },
        };
        Some(Self {
            model: Model::new(&policy, Path::new("/"), rung).ok(),
            filter: Simulator::new(filter).ok()?,
            network: Summary::new(&policy, Architecture::NATIVE).network,
        })
    }

    /// Whether it is denied, and why.
    pub(super) fn denies(&self, question: &Question) -> Option<Why> {
        match question {
            Question::File(operation, path, to) => {
                self.file(*operation, path, to.as_deref()).map(Why::Files)
            }
            Question::Look(path) | Question::Unix(path) => {
                let model = self.model.as_ref()?;
                let is_hidden = model.real(path).is_none();
                is_hidden.then(|| self.file(Operation::Read, path, None).map(Why::Files)).flatten()
            }
            Question::Call(name, arguments) => self.call(name, *arguments).map(Why::Filter),
            Question::Connect(address, port, tcp) => {
                let is_far = !address.is_loopback() && self.network.access != "host";
                let is_closed = *tcp && excludes(&self.network.connect_tcp, *port);
                (is_far || is_closed).then_some(Why::Network)
            }
            Question::Bind(port) => excludes(&self.network.bind_tcp, *port).then_some(Why::Network),
        }
    }

    /// What the filter answers to a call, whoever made it.
    pub(super) fn answer(&self, data: &Data) -> u32 {
        self.filter.run(data).value
    }

    /// Whether there is something of this name, as far as is known.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.model.as_ref().is_some_and(|model| model.real(path).is_some())
    }

    fn file(&self, operation: Operation, path: &Path, to: Option<&Path>) -> Option<Reason> {
        let answer = self.model.as_ref()?.ask(path, operation, to);
        let is_denied = match answer.because {
            Reason::Missing(_)
            | Reason::Hidden(_)
            | Reason::ReadOnly(_)
            | Reason::NoExec(_)
            | Reason::InertDevice(_)
            | Reason::Landlock(_) => true,
            // What it would be without a sandbox, too, or nobody knows.
            _ => false,
        };
        (!answer.allowed && is_denied).then_some(answer.because)
    }

    fn call(&self, name: &str, arguments: [u64; 6]) -> Option<u16> {
        let native = Architecture::NATIVE;
        let data = Data {
            number: policy_encoder::seccomp::tables::number(native, name)?,
            architecture: policy_encoder::seccomp::tables::audit(native),
            instruction_pointer: 0,
            arguments,
        };
        let value = self.answer(&data);
        match value & SECCOMP_RET_ACTION_FULL {
            SECCOMP_RET_ALLOW | SECCOMP_RET_LOG => None,
            SECCOMP_RET_ERRNO => Some((value & SECCOMP_RET_DATA) as u16),
            _ => Some(0),
        }
    }
}

fn excludes(ports: &Option<Vec<u16>>, port: u16) -> bool {
    ports.as_ref().is_some_and(|ports| !ports.contains(&port))
}
