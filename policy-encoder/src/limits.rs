//! `[limits]`.

use launcher_policy::limits::{Cgroup, MAX_CPUS, Rlimit};
use linux_raw_sys::general as uapi;

use crate::Spanned;
use crate::diagnostic::Diagnostics;
use crate::document::{self, Document, Duration};
use crate::items::Items;
use crate::parse::nearest;

/// getrlimit(2) in lower case, and the numbers.
const RESOURCES: [(&str, u32); 16] = [
    ("cpu", uapi::RLIMIT_CPU),
    ("fsize", uapi::RLIMIT_FSIZE),
    ("data", uapi::RLIMIT_DATA),
    ("stack", uapi::RLIMIT_STACK),
    ("core", uapi::RLIMIT_CORE),
    ("rss", uapi::RLIMIT_RSS),
    ("nproc", uapi::RLIMIT_NPROC),
    ("nofile", uapi::RLIMIT_NOFILE),
    ("memlock", uapi::RLIMIT_MEMLOCK),
    ("as", uapi::RLIMIT_AS),
    ("locks", uapi::RLIMIT_LOCKS),
    ("sigpending", uapi::RLIMIT_SIGPENDING),
    ("msgqueue", uapi::RLIMIT_MSGQUEUE),
    ("nice", uapi::RLIMIT_NICE),
    ("rtprio", uapi::RLIMIT_RTPRIO),
    ("rttime", uapi::RLIMIT_RTTIME),
];

/// The word of a resource.
pub(crate) fn resource_word(number: u8) -> Option<&'static str> {
    RESOURCES.iter().find(|(_, known)| *known == u32::from(number)).map(|(word, _)| *word)
}

/// The stage's part of the policy.
#[derive(Debug)]
pub(crate) struct Limits {
    rlimits: Items,
    memory: Option<u64>,
    processes: Option<u64>,
    cpu_time: Option<u64>,
    wall_time: Option<u64>,
    cgroup: Cgroup,
    cpu_affinity: Vec<u8>,
    nice: Option<i8>,
    oom_score_adj: Option<i16>,
}

impl Limits {
    pub(crate) fn wire(&self) -> launcher_policy::limits::Limits<'_> {
        launcher_policy::limits::Limits {
            rlimits: self.rlimits.list(),
            memory: self.memory,
            processes: self.processes,
            cpu_time: self.cpu_time,
            wall_time: self.wall_time,
            cgroup: self.cgroup,
            cpu_affinity: &self.cpu_affinity,
            nice: self.nice,
            oom_score_adj: self.oom_score_adj,
        }
    }
}

/// Resolves `[limits]`.
pub(crate) fn resolve(document: &Document, diagnostics: &mut Diagnostics) -> Limits {
    let written = &document.limits;
    let memory = above_zero(written.memory.as_ref(), |size| size.0, diagnostics);
    let cpu_time = above_zero(written.cpu_time.as_ref(), seconds, diagnostics);
    Limits {
        rlimits: Items::new(rlimits(document, memory, cpu_time, diagnostics)),
        memory,
        processes: above_zero(written.processes.as_ref(), |count| *count, diagnostics),
        cpu_time,
        wall_time: above_zero(written.wall_time.as_ref(), milliseconds, diagnostics),
        cgroup: match written.cgroup.as_ref().map(Spanned::get_ref) {
            Some(document::Cgroup::Auto) => Cgroup::Auto,
            Some(document::Cgroup::None) | None => Cgroup::None,
        },
        cpu_affinity: affinity(written.cpu_affinity.as_ref(), diagnostics),
        nice: within(written.nice.as_ref(), -20, 19, "a nice value", diagnostics),
        oom_score_adj: within(
            written.oom_score_adjust.as_ref(),
            -1000,
            1000,
            "an OOM score adjustment",
            diagnostics,
        ),
    }
}

/// A limit of nothing is a mistake: the command could not even start.
fn above_zero<T>(
    written: Option<&Spanned<T>>,
    value: impl Fn(&T) -> u64,
    diagnostics: &mut Diagnostics,
) -> Option<u64> {
    let written = written?;
    let value = value(written.get_ref());
    if value == 0 {
        diagnostics
            .error(written.span(), "a limit of zero leaves nothing to run with")
            .help("leave it out for no limit");
    }
    Some(value)
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    written: Option<&Spanned<T>>,
    lowest: T,
    highest: T,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let written = written?;
    if *written.get_ref() < lowest || *written.get_ref() > highest {
        diagnostics.error(written.span(), format!("{what} lies from {lowest} to {highest}"));
    }
    Some(*written.get_ref())
}

/// Whole seconds, as RLIMIT_CPU takes them; a part counts as a whole.
fn seconds(duration: &Duration) -> u64 {
    let more = u64::from(duration.0.subsec_nanos() > 0);
    duration.0.as_secs().saturating_add(more)
}

/// Whole milliseconds; a part counts as a whole.
fn milliseconds(duration: &Duration) -> u64 {
    u64::try_from(duration.0.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// The CPUs as a bit mask without trailing zeros.
fn affinity(written: Option<&Spanned<Vec<u16>>>, diagnostics: &mut Diagnostics) -> Vec<u8> {
    let Some(written) = written else { return Vec::new() };
    if written.get_ref().is_empty() {
        diagnostics
            .error(written.span(), "an empty list of CPUs leaves none to run on")
            .help("leave it out for no limit");
    }
    let mut mask = Vec::new();
    for &cpu in written.get_ref() {
        let cpu = usize::from(cpu);
        if cpu >= MAX_CPUS {
            diagnostics
                .error(written.span(), format!("CPU {cpu} is past the last, {}", MAX_CPUS - 1));
            continue;
        }
        if mask.len() <= cpu / 8 {
            mask.resize(cpu / 8 + 1, 0);
        }
        if let Some(byte) = mask.get_mut(cpu / 8) {
            *byte |= 1 << (cpu % 8);
        }
    }
    mask
}

/// One limit per resource: those written, and those that follow.
fn rlimits(
    document: &Document,
    memory: Option<u64>,
    cpu_time: Option<u64>,
    diagnostics: &mut Diagnostics,
) -> Vec<Rlimit> {
    let mut limits: Vec<Rlimit> = Vec::new();
    for (name, written) in &document.limits.rlimit {
        let Some(resource) = resource(name, diagnostics) else { continue };
        let (soft, hard) = match *written.get_ref() {
            document::Rlimit::Both(both) => (both.0, both.0),
            document::Rlimit::Pair(soft, hard) => (soft.0, hard.0),
        };
        if soft > hard {
            diagnostics.error(written.span(), "the soft limit is above the hard one");
        }
        limits.push(Rlimit { resource, soft, hard });
    }
    let mut follow = |resource: u32, soft: u64, hard: u64| {
        let resource = resource as u8;
        if !limits.iter().any(|limit| limit.resource == resource) {
            limits.push(Rlimit { resource, soft, hard });
        }
    };
    if let Some(seconds) = cpu_time {
        // At the soft limit comes SIGXCPU, which can be handled; at the hard
        // one SIGKILL.
        follow(uapi::RLIMIT_CPU, seconds, seconds.saturating_add(1));
    }
    if let Some(bytes) = memory {
        // Bounds each process where no cgroup bounds them all.
        follow(uapi::RLIMIT_DATA, bytes, bytes);
    }
    follow(uapi::RLIMIT_CORE, 0, 0);
    for limit in &mut limits {
        no_core_helper(limit);
    }
    limits.sort_by_key(|limit| limit.resource);
    limits
}

/// With a limit of 0 the kernel still starts a core helper that is a pipe;
/// with 1 it does not, and no core file is that small: core(5).
fn no_core_helper(limit: &mut Rlimit) {
    if u32::from(limit.resource) == uapi::RLIMIT_CORE {
        limit.soft = limit.soft.max(1);
        limit.hard = limit.hard.max(1);
    }
}

fn resource(name: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<u8> {
    let word = name.get_ref().as_str();
    let Some((_, resource)) = RESOURCES.iter().find(|(known, _)| *known == word) else {
        let help = match nearest(word, RESOURCES.map(|(name, _)| name)) {
            Some(nearest) => format!("did you mean {nearest:?}?"),
            None => format!("it can be {}", RESOURCES.map(|(name, _)| name).join(", ")),
        };
        diagnostics.error(name.span(), format!("unknown resource limit {word:?}")).help(help);
        return None;
    };
    if matches!(*resource, uapi::RLIMIT_RSS | uapi::RLIMIT_LOCKS) {
        diagnostics
            .warning(name.span(), format!("Linux has not enforced the limit {word:?} since 2.4"));
    }
    u8::try_from(*resource).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{document, messages};

    fn resolved(limits: &str) -> (Limits, Vec<String>) {
        let mut diagnostics = Diagnostics::default();
        let limits = resolve(&document(&format!("limits = {{ {limits} }}")), &mut diagnostics);
        (limits, messages(&diagnostics))
    }

    /// Soft and hard limit of a resource.
    fn rlimit(limits: &Limits, resource: u32) -> Option<(u64, u64)> {
        let list = limits.wire().rlimits;
        list.iter()
            .find(|limit| u32::from(limit.resource) == resource)
            .map(|limit| (limit.soft, limit.hard))
    }

    #[test]
    fn core_dumps_are_off_and_start_no_helper() {
        assert_eq!(rlimit(&resolved("").0, uapi::RLIMIT_CORE), Some((1, 1)));
        assert_eq!(rlimit(&resolved("rlimit.core = 0").0, uapi::RLIMIT_CORE), Some((1, 1)));
        let some = resolved("rlimit.core = [0, \"unlimited\"]").0;
        assert_eq!(rlimit(&some, uapi::RLIMIT_CORE), Some((1, u64::MAX)));
    }

    #[test]
    fn limits_of_the_tree_bound_each_process_too() {
        let (limits, complaints) = resolved("memory = '512M', cpu_time = '1500ms'");
        assert!(complaints.is_empty(), "{complaints:?}");
        assert_eq!(limits.wire().memory, Some(512 << 20));
        assert_eq!(rlimit(&limits, uapi::RLIMIT_DATA), Some((512 << 20, 512 << 20)));
        assert_eq!(limits.wire().cpu_time, Some(2));
        assert_eq!(rlimit(&limits, uapi::RLIMIT_CPU), Some((2, 3)));
    }

    #[test]
    fn a_limit_that_is_written_wins_over_one_that_follows() {
        let (limits, _) = resolved("memory = '1G', rlimit = { data = '1M' }");
        assert_eq!(rlimit(&limits, uapi::RLIMIT_DATA), Some((1 << 20, 1 << 20)));
    }

    #[test]
    fn wall_time_is_in_milliseconds() {
        assert_eq!(resolved("wall_time = '1m'").0.wire().wall_time, Some(60_000));
        assert_eq!(resolved("wall_time = '1us'").0.wire().wall_time, Some(1));
    }

    #[test]
    fn a_cgroup_is_looked_for_only_where_the_policy_says_so() {
        for (limits, expected) in [
            ("", Cgroup::None),
            ("cgroup = 'none'", Cgroup::None),
            ("cgroup = 'auto'", Cgroup::Auto),
        ] {
            assert_eq!(resolved(limits).0.wire().cgroup, expected);
        }
    }

    #[test]
    fn cpus_become_a_mask() {
        assert_eq!(resolved("cpu_affinity = [0, 1, 9]").0.cpu_affinity, [0b11, 0b10]);
        assert_eq!(resolved("cpu_affinity = []").1.len(), 1);
        assert_eq!(resolved("cpu_affinity = [1024]").1, ["CPU 1024 is past the last, 1023"]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (limits, complaint) in [
            ("processes = 0", "a limit of zero leaves nothing to run with"),
            ("wall_time = '0s'", "a limit of zero leaves nothing to run with"),
            ("nice = 20", "a nice value lies from -20 to 19"),
            ("oom_score_adjust = -1001", "an OOM score adjustment lies from -1000 to 1000"),
            ("rlimit.nofile = [2, 1]", "the soft limit is above the hard one"),
            ("rlimit.nofiles = 1", "unknown resource limit \"nofiles\""),
            ("rlimit.rss = 1", "Linux has not enforced the limit \"rss\" since 2.4"),
        ] {
            assert_eq!(resolved(limits).1, [complaint]);
        }
    }

    #[test]
    fn every_word_is_a_resource_of_the_policy() {
        for (_, resource) in RESOURCES {
            assert!(resource < u32::from(launcher_policy::limits::RLIMITS));
        }
    }
}
