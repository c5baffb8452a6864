//! How many namespaces and mounts the kernel has.

use std::collections::BTreeMap;
use std::fs;

/// What the kernel keeps of them, slabinfo(5); exact are they only after
/// `shrink`, which takes root: Documentation/ABI/testing/sysfs-kernel-slab.
const SLABS: [&str; 3] = ["mnt_cache", "net_namespace", "pid_namespace"];

/// Objects in use, where the kernel tells exactly.
#[derive(Debug)]
pub struct Namespaces(BTreeMap<String, usize>);

impl Namespaces {
    /// Those of this moment.
    pub fn now() -> Self {
        // Free objects count as used while a processor keeps their slab for itself.
        let shrink = |name| fs::write(format!("/sys/kernel/slab/{name}/shrink"), "1").is_ok();
        let exact = SLABS.into_iter().all(shrink);
        let slabs = if exact { fs::read_to_string("/proc/slabinfo") } else { Ok(String::new()) };
        let slabs = slabs.unwrap_or_default();
        let slabs = slabs.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().filter(|name| SLABS.contains(name))?;
            Some((name.to_owned(), words.next()?.parse().ok()?))
        });
        Self(slabs.collect())
    }

    /// Whether there is more of anything than there was, by so many.
    pub fn are_more_than(&self, before: &Self, allowed: usize) -> bool {
        self.0.iter().any(|(name, now)| {
            let before = before.0.get(name).copied().unwrap_or_default();
            *now > before + allowed
        })
    }
}
