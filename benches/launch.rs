//! What a launch costs: a static program that does nothing, started by the
//! launcher, against the same program started by vfork, exec and wait.
//!
//! The ways to start it take turns within each measurement, so that whatever
//! else the machine does is borne by all of them.
#![allow(missing_docs, reason = "criterion's macros document nothing")]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use measure::stage::Stage;
use measure::way::Way;
use measure::{others, ours};

fn startup(criterion: &mut Criterion) {
    let stage = Stage::new();
    let mut ways = vec![Way::command("posix_spawn", "nothing", vec![stage.job().into()])];
    ways.extend(ours::ways(&stage));
    // The usual yardstick.
    let (others, _) = others::found(&stage.job());
    ways.extend(others.into_iter().filter(|way| way.name.starts_with("bwrap")));

    let mut group = criterion.benchmark_group("startup");
    for (measured, way) in ways.iter().enumerate() {
        group.bench_function(&way.name, |bench| {
            bench.iter_custom(|rounds| time_in_turns(&ways, measured, rounds));
        });
    }
}

/// The time that one of the ways takes, with all of them taking turns.
fn time_in_turns(ways: &[Way], measured: usize, rounds: u64) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        for (turn, way) in ways.iter().enumerate() {
            let begin = Instant::now();
            way.run();
            if turn == measured {
                total += begin.elapsed();
            }
        }
    }
    total
}

criterion_group!(benches, startup);
criterion_main!(benches);
