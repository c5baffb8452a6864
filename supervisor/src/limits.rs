//! What a command may use, as far as it can change while it runs.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Hosts that may be connected or sent to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// All that the static policy lets through.
    #[default]
    All,
    /// These alone.
    Only(BTreeSet<IpAddr>),
}

/// What a command may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Where it may connect or send to, where the policy asks about that.
    pub network: Hosts,
    /// How many bytes of memory it may have: together with a cgroup, each
    /// process for itself without.
    pub max_memory: Option<u64>,
    /// How many processes it may have.
    pub max_processes: Option<u64>,
}

impl Hosts {
    /// These alone.
    pub fn only(hosts: &[IpAddr]) -> Self {
        Self::Only(hosts.iter().map(IpAddr::to_canonical).collect())
    }

    /// Whether this is one of them.
    pub fn has(&self, host: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Only(hosts) => hosts.contains(&host.to_canonical()),
        }
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, hosts) | (hosts, Self::All) => hosts.clone(),
            (Self::Only(one), Self::Only(other)) => Self::Only(one & other),
        }
    }

    /// What is in one or the other.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Only(one), Self::Only(other)) => Self::Only(one | other),
        }
    }
}

impl Limits {
    /// What both leave.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            network: self.network.and(&other.network),
            max_memory: least(self.max_memory, other.max_memory),
            max_processes: least(self.max_processes, other.max_processes),
        }
    }
}

/// The smaller limit; `None` is none.
pub(crate) fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}
