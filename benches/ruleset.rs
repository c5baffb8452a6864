//! What a Landlock ruleset costs by number of rules, with the open of each
//! path, through the launcher's own calls.
#![allow(missing_docs, reason = "criterion's macros document nothing")]

use std::path::PathBuf;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use launcher::sys::{landlock_abi, landlock_add_path, landlock_create_ruleset};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Result;

mod policies;

/// The rights of ABI 1, which every kernel with Landlock has.
const RIGHTS: u64 = (1 << 13) - 1;

fn ruleset(criterion: &mut Criterion) {
    if landlock_abi().is_err() {
        eprintln!("SKIP ruleset: this kernel has no Landlock");
        return;
    }
    let tree = policies::tree(1000);
    let paths: Vec<_> = (0..1000).map(|number| tree.path().join(number.to_string())).collect();
    let mut group = criterion.benchmark_group("ruleset");
    for rules in policies::SIZES {
        let (paths, _) = paths.split_at(rules);
        group.throughput(Throughput::Elements(rules as u64));
        group.bench_with_input(BenchmarkId::from_parameter(rules), paths, |bench, paths| {
            bench.iter(|| build(paths).expect("rules on existing directories"));
        });
    }
}

fn build(paths: &[PathBuf]) -> Result<OwnedFd> {
    let ruleset = landlock_create_ruleset(RIGHTS, 0, 0)?;
    for path in paths {
        let directory = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        landlock_add_path(&ruleset, directory, RIGHTS)?;
    }
    Ok(ruleset)
}

criterion_group!(benches, ruleset);
criterion_main!(benches);
