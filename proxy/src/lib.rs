//! The proxy that is all a command's network leads to.
//!
//! It accepts on sockets that listen inside the command's network namespace
//! and connects outside, to what the policy lets through.
//! Names are resolved here, and a connection goes to an address that was
//! judged, never to a name that is resolved once more.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! # let (policy, sockets) = (Vec::new(), Vec::new());
//! use launcher_proxy::{Proxy, Resolver, Settings};
//!
//! let log = Box::new(|entry: &launcher_proxy::Entry| eprintln!("{}:{}", entry.host, entry.port));
//! let settings = Settings { resolver: Resolver::System, environment: None, log };
//! let proxy = Proxy::new(policy, settings)?;
//! proxy.serve(sockets)?; // those that the launcher has handed over, in their order
//! // It ends when it is dropped, and all connections with it.
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use launcher_policy::namespaces::{Listener, Protocol};
use tokio::runtime::{Builder, Runtime};

mod accept;
mod counted;
mod dns;
mod gate;
mod http;
mod log;
mod relay;
mod resolve;
mod rules;
mod socks;
mod tls;
mod upstream;

pub use log::{Entry, Verdict, Way};
pub use resolve::Resolver;

use gate::Gate;
use rules::Rules;

/// How many threads serve all connections.
const THREADS: usize = 2;

/// What the policy does not say.
pub struct Settings {
    /// Who resolves names.
    pub resolver: Resolver,
    /// `host:port` of the HTTP proxy that is used where the policy asks for the
    /// one of the environment.
    pub environment: Option<String>,
    /// Is told of each connection when it has ended.
    pub log: Box<dyn Fn(&Entry) + Send + Sync>,
}

/// A proxy, which ends when it is dropped.
pub struct Proxy {
    runtime: Runtime,
    gate: Arc<Gate>,
    listeners: Vec<Listener>,
}

impl Proxy {
    /// A proxy that serves nobody yet, for an encoded policy.
    ///
    /// # Errors
    ///
    /// Where the policy has none, or the threads cannot be started.
    pub fn new(policy: Vec<u8>, settings: Settings) -> io::Result<Self> {
        let (rules, listeners) = Rules::of(policy)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("proxy")
            .enable_io()
            .enable_time()
            .build()?;
        // The resolver finds the runtime that it is made in.
        let _inside = runtime.enter();
        let gate = Arc::new(Gate::new(rules, settings));
        Ok(Self { runtime, gate, listeners })
    }

    /// Accepts on the sockets that the launcher has made, in their order.
    ///
    /// # Errors
    ///
    /// Where they are not those of the policy.
    pub fn serve(&self, sockets: Vec<OwnedFd>) -> io::Result<()> {
        if sockets.len() != self.listeners.len() {
            let said = format!("{} sockets instead of {}", sockets.len(), self.listeners.len());
            return Err(io::Error::other(said));
        }
        let _inside = self.runtime.enter();
        let limit = accept::limit();
        for (socket, asked) in sockets.into_iter().zip(&self.listeners) {
            let (gate, limit) = (Arc::clone(&self.gate), Arc::clone(&limit));
            if asked.protocol == Protocol::Dns {
                let socket = UdpSocket::from(socket);
                socket.set_nonblocking(true)?;
                let socket = tokio::net::UdpSocket::from_std(socket)?;
                self.runtime.spawn(dns::run(socket, gate));
                continue;
            }
            let listener = TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            self.runtime.spawn(accept::run(listener, *asked, gate, limit));
        }
        Ok(())
    }

    /// Accepts on the loopback interface here, for a command without a network
    /// namespace, on ports that are free: those that the policy says, with
    /// those that they became.
    ///
    /// # Errors
    ///
    /// socket(2), bind(2)
    pub fn serve_here(&self) -> io::Result<Vec<(SocketAddr, u16)>> {
        let mut sockets = Vec::new();
        let mut ports = Vec::new();
        for listener in &self.listeners {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let asked = (Ipv4Addr::LOCALHOST, listener.port).into();
            ports.push((asked, socket.local_addr()?.port()));
            sockets.push(socket.into());
        }
        self.serve(sockets)?;
        Ok(ports)
    }

    /// Whether a command may connect to an address by itself, where somebody
    /// who asks this does it on its behalf. The log is told of it.
    pub fn permits(&self, to: SocketAddr) -> bool {
        self.gate.permits(to)
    }
}
