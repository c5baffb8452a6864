//! Where it is decided what is connected to.
//!
//! A name is judged before it is resolved, so that nobody outside learns of
//! one that is not let through. Then all its addresses are, and one of them,
//! as it was judged, is connected to.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use launcher_policy::proxy::judge::Verdict as Judged;
use launcher_policy::proxy::{Rule, Upstream, is_name};
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::counted::Counted;
use crate::log::{Entry, Record, Verdict, Way};
use crate::resolve::Names;
use crate::rules::Rules;
use crate::{Settings, upstream};

/// How long it may take until a connection stands, its name resolved.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one of several addresses is waited for.
const OF_ADDRESS: Duration = Duration::from_secs(10);

/// The policy, and what it is applied with.
pub(crate) struct Gate {
    rules: Rules,
    names: Names,
    upstream: Option<String>,
    log: Box<dyn Fn(&Entry) + Send + Sync>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) kind: Kind,
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The policy does not let it through.
    Policy,
    /// The name has no address.
    Name,
    /// Nobody answers, or with a refusal.
    Host,
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

fn refused(kind: Kind, reason: impl Into<String>) -> Refused {
    Refused { kind, reason: reason.into() }
}

/// What is asked for.
enum Host {
    /// In lower case, without a final dot.
    Name(String),
    Address(IpAddr),
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = inner.unwrap_or(text).parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        is_name(name.as_bytes()).then_some(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

impl Gate {
    pub(crate) fn new(rules: Rules, settings: Settings) -> Self {
        let upstream = match rules.get().upstream {
            Upstream::None => None,
            Upstream::Environment => settings.environment,
            Upstream::At(address) => Some(String::from_utf8_lossy(address.to_bytes()).into_owned()),
        };
        Self { rules, names: Names::new(settings.resolver), upstream, log: settings.log }
    }

    pub(crate) fn tell(&self, entry: &Entry) {
        (self.log)(entry);
    }

    /// Connects, if the policy lets it through.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(crate) async fn open(
        self: &Arc<Self>,
        way: Way,
        host: &str,
        port: u16,
    ) -> Result<Counted, Refused> {
        let Some(host) = Host::parse(host) else {
            let mut record = Record::new(self, way, &host.escape_default().to_string(), port);
            let refused = refused(Kind::Policy, "it is no host name");
            record.decided(Verdict::Refused, &refused.reason, None);
            return Err(refused);
        };
        let mut record = Record::new(self, way, &host.to_string(), port);
        let late = || Err(refused(Kind::Host, "it took too long"));
        match timeout(PATIENCE, self.connect(&host, port)).await.unwrap_or_else(|_| late()) {
            Ok((stream, reason)) => {
                // As for the side of the command.
                let _ = stream.set_nodelay(true);
                let address = stream.peer_addr().ok().map(|address| address.ip());
                record.decided(Verdict::Allowed, &reason, address);
                Ok(Counted::new(stream, record))
            }
            Err(refused) => {
                let is_ours = refused.kind == Kind::Policy;
                let verdict = if is_ours { Verdict::Refused } else { Verdict::Failed };
                record.decided(verdict, &refused.reason, None);
                Err(refused)
            }
        }
    }

    /// Whether a name is let through to any of these ports.
    pub(crate) fn knows(&self, name: &str, ports: &[u16]) -> bool {
        let rules = self.rules.get();
        is_name(name.as_bytes())
            && ports.iter().any(|&port| rules.judge_name(name, port).is_allowed())
    }

    /// Whether the policy lets an address through that is connected to by
    /// somebody else.
    pub(crate) fn permits(self: &Arc<Self>, to: SocketAddr) -> bool {
        let (address, port) = (to.ip().to_canonical(), to.port());
        let mut record = Record::new(self, Way::Direct, &address.to_string(), port);
        let judged = match self.upstream {
            Some(_) => Err(refused(Kind::Policy, "another proxy makes all connections")),
            None => {
                let rules = self.rules.get();
                allowed(rules.judge_address(address, port, None, is_own(address)))
            }
        };
        match &judged {
            Ok(rule) => record.decided(Verdict::Allowed, &rule.to_string(), Some(address)),
            Err(refused) => record.decided(Verdict::Refused, &refused.reason, None),
        }
        judged.is_ok()
    }

    /// A connection, and what let it through.
    async fn connect(&self, host: &Host, port: u16) -> Result<(TcpStream, String), Refused> {
        let rules = self.rules.get();
        let (addresses, by_name) = match host {
            Host::Address(address) => (vec![*address], None),
            Host::Name(name) => {
                let rule = allowed(rules.judge_name(name, port))?;
                if let Some(upstream) = &self.upstream {
                    let stream = self.through(upstream, &format!("{name}:{port}")).await?;
                    return Ok((stream, rule.to_string()));
                }
                let found = self.names.resolve(name).await;
                (found.map_err(|why| refused(Kind::Name, why))?, Some(rule))
            }
        };
        let mut reason = String::new();
        for &address in &addresses {
            let verdict = rules.judge_address(address, port, by_name, is_own(address));
            reason = allowed(verdict).map_err(|no| about(address, no))?.to_string();
        }
        if let (Some(upstream), Host::Address(address)) = (&self.upstream, host) {
            // An address of IPv6 stands in brackets there.
            let host = SocketAddr::new(*address, port).to_string();
            return self.through(upstream, &host).await.map(|stream| (stream, reason));
        }
        let stream = first_of(&addresses, port).await;
        Ok((stream.map_err(|error| refused(Kind::Host, error.to_string()))?, reason))
    }

    /// A connection that the proxy behind makes, `upstream`.
    async fn through(&self, upstream: &str, target: &str) -> Result<TcpStream, Refused> {
        let failed = |error: io::Error| refused(Kind::Host, error.to_string());
        let parts = upstream.rsplit_once(':');
        let parts = parts.and_then(|(host, port)| Some((Host::parse(host)?, port.parse().ok()?)));
        let (host, port) =
            parts.ok_or_else(|| refused(Kind::Host, "the proxy behind has no port"))?;
        let addresses = match host {
            Host::Address(address) => vec![address],
            Host::Name(name) => {
                let found = self.names.resolve(&name).await;
                found.map_err(|why| refused(Kind::Host, why))?
            }
        };
        let stream = first_of(&addresses, port).await.map_err(failed)?;
        upstream::connect(stream, target).await.map_err(failed)
    }
}

/// The rule that lets something through.
fn allowed(verdict: Judged<'_>) -> Result<Rule<'_>, Refused> {
    match verdict {
        Judged::Allowed(rule) => Ok(rule),
        verdict => Err(refused(Kind::Policy, verdict.to_string())),
    }
}

/// Says which of the addresses is not let through.
fn about(address: IpAddr, no: Refused) -> Refused {
    refused(no.kind, format!("{address}: {}", no.reason))
}

/// The first address that answers.
async fn first_of(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for &address in addresses {
        let late = || Err(io::ErrorKind::TimedOut.into());
        let connected = timeout(OF_ADDRESS, TcpStream::connect((address, port))).await;
        match connected.unwrap_or_else(|_| late()) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether an address is one of this machine: no other is a socket bound to. What
/// cannot be told is taken for one.
fn is_own(address: IpAddr) -> bool {
    // Not by the source of what is sent there: for a second address that is the first one.
    UdpSocket::bind((address, 0)).map_err(|error| Errno::from_io_error(&error)).map_or_else(
        |error| !matches!(error, Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT)),
        |_| true,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_this_machine_is_its_own() {
        for own in ["127.0.0.1", "127.0.0.9", "0.0.0.0"] {
            assert!(is_own(own.parse().expect("an address")), "{own}");
        }
        for other in ["192.0.2.1", "2001:db8::1"] {
            assert!(!is_own(other.parse().expect("an address")), "{other}");
        }
    }
}
