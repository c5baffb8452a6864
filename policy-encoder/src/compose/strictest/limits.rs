//! `[limits]`: the smaller of two limits.

use std::collections::BTreeMap;

use super::{last, stricter};
use crate::Spanned;
use crate::document::{Amount, Cgroup, Limits, Rlimit};

/// The limit whose absence is strictest: no core is dumped then.
const CORE: &str = "core";

pub(super) fn both(one: &Limits, two: &Limits) -> Limits {
    let Limits {
        memory,
        processes,
        cpu_time,
        wall_time,
        cgroup,
        cpu_affinity,
        nice,
        oom_score_adjust,
        rlimit: _,
    } = one;
    Limits {
        memory: lower(memory, &two.memory, |size| size.0),
        processes: lower(processes, &two.processes, |count| *count),
        cpu_time: lower(cpu_time, &two.cpu_time, |time| time.0),
        wall_time: lower(wall_time, &two.wall_time, |time| time.0),
        cgroup: stricter(cgroup, &two.cgroup, &Cgroup::None, |cgroup| *cgroup == Cgroup::None),
        cpu_affinity: affinity(cpu_affinity, &two.cpu_affinity),
        nice: weaker(nice, &two.nice, 0),
        oom_score_adjust: weaker(oom_score_adjust, &two.oom_score_adjust, 0),
        rlimit: rlimits(one, two),
    }
}

/// The lower one; none is no limit.
fn lower<T: Clone, N: Ord>(
    one: &Option<Spanned<T>>,
    two: &Option<Spanned<T>>,
    number: impl Fn(&T) -> N,
) -> Option<Spanned<T>> {
    match (one, two) {
        (Some(_), Some(other)) => stricter(one, two, other.get_ref(), number),
        _ => last(one, two),
    }
}

/// The higher of two numbers that favour the command by being low; to favour
/// it takes both.
fn weaker<T: Copy + Ord>(
    one: &Option<Spanned<T>>,
    two: &Option<Spanned<T>>,
    neutral: T,
) -> Option<Spanned<T>> {
    match (one, two) {
        (Some(_), Some(_)) => stricter(one, two, &neutral, |number| std::cmp::Reverse(*number)),
        _ => last(one, two).filter(|number| *number.get_ref() >= neutral),
    }
}

/// The CPUs of both; none is every CPU.
fn affinity(
    one: &Option<Spanned<Vec<u16>>>,
    two: &Option<Spanned<Vec<u16>>>,
) -> Option<Spanned<Vec<u16>>> {
    match (one, two) {
        (Some(one), Some(two)) => {
            let of_both = one.get_ref().iter().filter(|cpu| two.get_ref().contains(cpu));
            Some(Spanned::new(two.span(), of_both.copied().collect()))
        }
        _ => last(one, two),
    }
}

/// The lower of each that one of them says.
fn rlimits(one: &Limits, two: &Limits) -> BTreeMap<Spanned<String>, Spanned<Rlimit>> {
    let mut limits = BTreeMap::new();
    for (name, limit) in one.rlimit.iter().chain(&two.rlimit) {
        if name.get_ref() == CORE
            && !(one.rlimit.contains_key(name) && two.rlimit.contains_key(name))
        {
            continue;
        }
        let [(soft, hard), (other_soft, other_hard)] = [one, two].map(|part| effective(part, name));
        let (soft, hard) = (soft.min(other_soft), hard.min(other_hard));
        let limit = Spanned::new(limit.span(), rlimit(soft, hard));
        limits.insert(name.clone(), limit);
    }
    limits
}

/// Soft and hard limit of a part: what it says, else what follows from its
/// other limits.
fn effective(part: &Limits, name: &Spanned<String>) -> (u64, u64) {
    if let Some(said) = part.rlimit.get(name) {
        return match said.get_ref() {
            Rlimit::Both(both) => (both.0, both.0),
            Rlimit::Pair(soft, hard) => (soft.0, hard.0),
        };
    }
    let follows = match name.get_ref().as_str() {
        "data" => part.memory.as_ref().map(|size| (size.get_ref().0, size.get_ref().0)),
        "cpu" => part.cpu_time.as_ref().map(|time| {
            let time = time.get_ref().0;
            let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
            (seconds, seconds.saturating_add(1))
        }),
        _ => None,
    };
    follows.unwrap_or((u64::MAX, u64::MAX))
}

fn rlimit(soft: u64, hard: u64) -> Rlimit {
    match soft == hard {
        true => Rlimit::Both(Amount(hard)),
        false => Rlimit::Pair(Amount(soft), Amount(hard)),
    }
}
