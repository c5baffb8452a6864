//! A supervisor that has decided about many calls is no larger than after few.

use std::env;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use harness::{Sandbox, TempDir};
use launcher_supervisor::{Supervisor, SyscallEvent, Verdict};

use super::{RACE, supervised};

/// After how many events this process is as large as it gets.
const FIRST: usize = 1000;

/// How many events there are, and how much more this process may have in memory after
/// them, in KiB: where nothing is said, that of other tests is in it, too.
fn events() -> (usize, u64) {
    match env::var("EVENTS") {
        Ok(count) => (count.parse().expect("EVENTS is a number"), 8 << 10),
        Err(_) => (5000, 256 << 10),
    }
}

/// What this process has in memory, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("it is read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn the_memory_of_a_supervisor_does_not_grow_with_the_events() {
    let dir = TempDir::with_file("file-a", "a").file("file-b", "b");
    let policy = format!("filesystem.read = [{dir:?}]{}", super::ASKS);
    let (count, more) = events();
    // Half of them are denied.
    let probe = format!("flip-open {count} {dir}/file-a b");
    let (seen, first) = (Arc::<AtomicUsize>::default(), Arc::<AtomicU64>::default());
    let (sees, begins) = (Arc::clone(&seen), Arc::clone(&first));
    let sandbox = Sandbox::new(&policy).timeout(RACE * 10);
    let output = supervised(sandbox, &[&probe], |listener| {
        Supervisor::new(listener).policy_fn(move |event: &SyscallEvent, _| {
            if sees.fetch_add(1, Ordering::Relaxed) == FIRST {
                begins.store(resident(), Ordering::Relaxed);
            }
            if event.path.ends_with("file-b") { Verdict::Deny } else { Verdict::Allow }
        })
    });
    let (first, last) = (first.load(Ordering::Relaxed), resident());
    assert!(output.stdout_text().starts_with("ok "), "{output:?}");
    let seen = seen.load(Ordering::Relaxed);
    println!("{seen} events: {first} KiB after the first, {last} KiB after all");
    assert!(seen >= count && first > 0, "{seen}");
    assert!(last < first + more, "{first} KiB, then {last} KiB");
}
