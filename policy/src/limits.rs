//! Resource limits.

use serde::{Deserialize, Serialize};

use crate::List;

/// The highest resource number plus one: `RLIM_NLIMITS` of getrlimit(2).
pub const RLIMITS: u8 = 16;

/// The most CPUs an affinity mask can name.
pub const MAX_CPUS: usize = 1024;

/// Limits of the command and of everything it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits<'a> {
    /// setrlimit(2), one per resource.
    #[serde(borrow)]
    pub rlimits: List<'a, Rlimit>,
    /// Memory of the whole tree, in bytes: `memory.max` of a cgroup.
    pub memory: Option<u64>,
    /// Processes and threads of the whole tree: `pids.max` of a cgroup, or
    /// `RLIMIT_NPROC` in a user namespace of a caller who is not root.
    pub processes: Option<u64>,
    /// CPU time of the whole tree, in seconds: `cpu.stat` of a cgroup. Bound
    /// per process by `RLIMIT_CPU`, which stands among `rlimits`.
    pub cpu_time: Option<u64>,
    /// Time on the wall after which everything is killed, in milliseconds.
    pub wall_time: Option<u64>,
    /// The cgroup that binds the whole tree, where the caller gives none.
    pub cgroup: Cgroup,
    /// CPUs the command may run on: bit n of byte n/8 is CPU n; empty means
    /// no limit. sched_setaffinity(2).
    pub cpu_affinity: &'a [u8],
    /// setpriority(2), -20 to 19.
    pub nice: Option<i8>,
    /// `/proc/PID/oom_score_adj`, -1000 to 1000.
    pub oom_score_adj: Option<i16>,
}

/// Where a launch without `--cgroup-fd` makes its cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cgroup {
    /// Nowhere: it has none.
    #[default]
    None,
    /// Below the caller's delegated cgroup, if it has one.
    Auto,
}

/// One resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*`, below [`RLIMITS`].
    pub resource: u8,
    /// The limit in force; `u64::MAX` is none.
    pub soft: u64,
    /// The limit up to which the command may raise it.
    pub hard: u64,
}
