//! Names to addresses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// How long an answer may be kept, whatever its server says.
const LONGEST: Duration = Duration::from_secs(300);

/// How long it is kept at least, so that a page of many parts asks once.
const SHORTEST: Duration = Duration::from_secs(1);

/// Who resolves names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// The servers of `/etc/resolv.conf`, and `/etc/hosts` before them.
    System,
    /// This server alone.
    Server(SocketAddr),
}

/// What resolves names, or why nothing does.
pub(crate) struct Names(Result<TokioResolver, String>);

impl Names {
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self(build(resolver).map_err(|error| format!("there is no resolver: {error}")))
    }

    /// Every address of a name, which is complete: no domain is searched.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let resolver = self.0.as_ref().map_err(String::clone)?;
        let found = resolver.lookup_ip(format!("{name}.")).await;
        let found = found.map_err(|error| format!("{name} is not resolved: {error}"))?;
        // Those of IPv4 in the form of IPv6 are judged, and connected to, as IPv4.
        let mut addresses: Vec<IpAddr> = found.iter().map(|each| each.to_canonical()).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.dedup();
        Ok(addresses)
    }
}

fn build(resolver: Resolver) -> Result<TokioResolver, hickory_resolver::net::NetError> {
    let mut builder = match resolver {
        Resolver::System => TokioResolver::builder_tokio()?,
        Resolver::Server(address) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut each| {
                each.port = address.port();
                each
            });
            let server = NameServerConfig::new(address.ip(), true, connections.into());
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.positive_min_ttl = Some(SHORTEST);
    options.positive_max_ttl = Some(LONGEST);
    options.negative_max_ttl = Some(LONGEST);
    if matches!(resolver, Resolver::Server(_)) {
        options.use_hosts_file = ResolveHosts::Never;
    }
    builder.build()
}
