//! What is told of a connection when it has ended, however it has.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::gate::Gate;

/// A connection that has ended, or was never made.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When it was asked for, in seconds since 1970.
    pub time: f64,
    /// How it was asked for.
    pub way: Way,
    /// The name, in lower case, or the address that was asked for.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The address that it went to.
    pub address: Option<IpAddr>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Bytes from the command.
    pub sent: u64,
    /// Bytes to the command.
    pub received: u64,
    /// How long it lasted, in seconds.
    pub duration: f64,
}

/// How a connection is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The method CONNECT of HTTP.
    Connect,
    /// A request for an `http://` URL.
    Http,
    /// SOCKS 5.
    Socks,
    /// TLS, by a client that knows of no proxy.
    Tls,
    /// By the command itself, on whose behalf a supervisor connects; what
    /// passes is not seen.
    Direct,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was made.
    Allowed,
    /// The policy does not let it through.
    Refused,
    /// It was let through and could not be made.
    Failed,
}

/// Bytes, counted where they pass.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
}

/// An entry to be, which is told when this is dropped: a task that is ended
/// with the proxy tells of its connection, too.
pub(crate) struct Record {
    entry: Entry,
    began: Instant,
    traffic: Arc<Traffic>,
    gate: Arc<Gate>,
}

impl Record {
    pub(crate) fn new(gate: &Arc<Gate>, way: Way, host: &str, port: u16) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let entry = Entry {
            time: time.as_secs_f64(),
            way,
            host: host.to_owned(),
            port,
            address: None,
            verdict: Verdict::Failed,
            reason: "it was given up".to_owned(),
            sent: 0,
            received: 0,
            duration: 0.0,
        };
        Self { entry, began: Instant::now(), traffic: Arc::default(), gate: Arc::clone(gate) }
    }

    /// What is known of the connection.
    pub(crate) fn decided(&mut self, verdict: Verdict, reason: &str, address: Option<IpAddr>) {
        self.entry.verdict = verdict;
        reason.clone_into(&mut self.entry.reason);
        self.entry.address = address;
    }

    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.entry.sent = self.traffic.sent.load(Ordering::Relaxed);
        self.entry.received = self.traffic.received.load(Ordering::Relaxed);
        self.entry.duration = self.began.elapsed().as_secs_f64();
        self.gate.tell(&self.entry);
    }
}
