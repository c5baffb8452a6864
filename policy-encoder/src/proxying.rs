//! The proxy of `run`: it starts before the command, and ends after it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};

use clap::Args;
use launcher_policy::enforce::{Guarantee, Keeper};
use launcher_policy::proxy::Upstream;
use launcher_policy::{Policy, wire};
use launcher_proxy::{Entry, Proxy, Resolver, Settings};
use launcher_supervisor::{Handover, Listener, Protocol, Supervisor, SyscallEvent, Verdict};
use policy_encoder::handover::Listeners;
use policy_encoder::proxy_address;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::render::say;

/// Where the proxy of the environment is looked for, in this order.
const VARIABLES: [&str; 6] =
    ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// What the policy does not say of its proxy.
#[derive(Args)]
#[command(next_help_heading = "Of the proxy")]
pub(crate) struct ProxyArguments {
    /// Add a line of JSON to FILE for each connection, when it has ended
    #[arg(long, value_name = "FILE")]
    proxy_log: Option<PathBuf>,
    /// The DNS server that resolves names [default: those of the system]
    #[arg(long, value_name = "ADDRESS:PORT")]
    proxy_dns: Option<SocketAddr>,
}

/// A proxy that waits for its sockets.
pub(crate) struct Waiting {
    proxy: Arc<Proxy>,
    listeners: Listeners,
    /// Where a supervisor's listener arrives, if one leads to the proxy where
    /// there is no network namespace.
    handover: Option<Handover>,
}

/// What the launcher gets of it.
pub(crate) struct Passed {
    /// For the sockets.
    pub(crate) listeners: OwnedFd,
    /// For the listener of a supervisor.
    pub(crate) notify: Option<OwnedFd>,
}

/// Whether a supervisor leads to the policy's proxy where there is no network
/// namespace: nothing else keeps the network there.
pub(crate) fn is_supervised(policy: &Policy<'_>) -> bool {
    policy.proxy.is_some()
        && policy.enforce.guarantees.iter().any(|each| {
            each.guarantee == Guarantee::Network && each.without_namespaces == Keeper::Seccomp
        })
        && policy.seccomp.is_some_and(|seccomp| seccomp.asks())
}

impl Waiting {
    /// The proxy of an encoded policy, and the sockets for the launcher; `None`
    /// where the policy has none.
    ///
    /// # Errors
    ///
    /// Why it cannot be started.
    pub(crate) fn new(
        policy: &[u8],
        arguments: &ProxyArguments,
    ) -> Result<Option<(Self, Passed)>, String> {
        let decoded = wire::decode(policy).map_err(|error| error.message().to_owned())?;
        let Some(rules) = decoded.proxy else {
            let is_asked = arguments.proxy_log.is_some() || arguments.proxy_dns.is_some();
            return if is_asked { Err("the policy has no proxy".to_owned()) } else { Ok(None) };
        };
        let environment = match rules.upstream {
            Upstream::Environment => behind()?,
            Upstream::None | Upstream::At(_) => None,
        };
        let resolver = arguments.proxy_dns.map_or(Resolver::System, Resolver::Server);
        let log = log(arguments.proxy_log.as_deref())?;
        let cannot = |error: &dyn std::fmt::Display| format!("cannot start the proxy: {error}");
        let settings = Settings { resolver, environment, log };
        let proxy = Proxy::new(policy.to_vec(), settings).map_err(|error| cannot(&error))?;
        let (listeners, theirs) = Listeners::pair().map_err(|error| cannot(&error))?;
        let handover = is_supervised(&decoded).then(Handover::pair).transpose();
        let (handover, notify) = handover.map_err(|error| cannot(&error))?.unzip();
        let passed = Passed { listeners: theirs, notify };
        Ok(Some((Self { proxy: Arc::new(proxy), listeners, handover }, passed)))
    }

    /// Serves as soon as the launcher hands the sockets over. Joined when the
    /// command has ended, it gives the proxy back, with which its connections
    /// end.
    pub(crate) fn serve(self) -> JoinHandle<Arc<Proxy>> {
        // The launcher has started, with the limit that was ours.
        raise_limit();
        if let Some(handover) = self.handover {
            let proxy = Arc::downgrade(&self.proxy);
            thread::spawn(move || {
                // Without a supervisor that listens, what is asked about fails.
                if let Ok(Some(listener)) = handover.receive()
                    && listener.is_without_namespaces()
                    && let Err(error) = supervise(listener, proxy)
                {
                    say(&format!("the network is not supervised: {error}"));
                }
            });
        }
        thread::spawn(move || {
            let served = match self.listeners.receive() {
                // The launcher has said why it failed.
                Ok(sockets) if sockets.is_empty() => Ok(()),
                Ok(sockets) => self.proxy.serve(sockets),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = served {
                say(&format!("the proxy does not serve: {error}"));
            }
            self.proxy
        })
    }
}

/// Makes a command's connections: to its proxy, which is served here instead of
/// in its network namespace, and to the addresses that the policy lists.
fn supervise(listener: Listener, proxy: Weak<Proxy>) -> std::io::Result<()> {
    let Some(serving) = proxy.upgrade() else { return Ok(()) };
    let ports = serving.serve_here()?;
    drop(serving);
    let mut supervisor = Supervisor::new(listener);
    for &(at, port) in &ports {
        supervisor = supervisor.redirect(at, port);
    }
    let is_permitted = move |event: &SyscallEvent| {
        let (Some(host), Some(port)) = (event.host, event.port) else { return false };
        let to = SocketAddr::new(host, port);
        event.protocol == Some(Protocol::Tcp)
            && (ports.iter().any(|(at, _)| *at == to)
                || proxy.upgrade().is_some_and(|proxy| proxy.permits(to)))
    };
    let supervisor = supervisor.policy_fn(move |event, _| match is_permitted(event) {
        true => Verdict::Allow,
        // As in a network namespace.
        false => Verdict::DenyWith(Errno::NETUNREACH),
    });
    supervisor.run().map(drop)
}

/// Two descriptors a connection are more than many a limit.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Connections beyond it wait until others have ended.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// The proxy that the environment names, if it names one.
fn behind() -> Result<Option<String>, String> {
    let named = VARIABLES.iter().find_map(|name| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let Some((name, url)) = named else { return Ok(None) };
    proxy_address(&url).map(Some).ok_or_else(|| {
        format!("{name} names {url:?}, which is no HTTP proxy such as http://127.0.0.1:8080")
    })
}

type Log = Box<dyn Fn(&Entry) + Send + Sync>;

fn log(path: Option<&Path>) -> Result<Log, String> {
    let Some(path) = path else { return Ok(Box::new(|_| {})) };
    let file = OpenOptions::new().append(true).create(true).open(path);
    let file = file.map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let (file, path) = (Mutex::new(file), path.to_owned());
    Ok(Box::new(move |entry| {
        if let Err(error) = write(&file, entry) {
            say(&format!("cannot write to {}: {error}", path.display()));
        }
    }))
}

fn write(file: &Mutex<File>, entry: &Entry) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    file.write_all(&line)
}
