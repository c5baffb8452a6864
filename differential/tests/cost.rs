//! What a filter costs, counted: how many instructions there are, which the
//! kernel checks and translates, and how many are run for each number, which
//! it does when a filter is installed. `benches/filter.rs` has the time.

use differential::random::{self, Comparisons};
use differential::{Shape, libseccomp, own};
use fastrand::Rng;
use launcher_policy::seccomp::INSTRUCTION_SIZE;
use policy_encoder::Architecture;
use policy_encoder::seccomp::rules::Data;
use policy_encoder::seccomp::simulate::Simulator;
use policy_encoder::seccomp::tables;

/// How many numbers a kernel has, about.
const NUMBERS: u32 = 470;

/// Instructions for what libseccomp does not do: numbers without a name, which
/// are between others and behind them, do not exist.
const UNNAMED: usize = 12;

/// How many instructions there are, and how many are run for all numbers.
fn cost(filter: &[u8], architecture: Architecture) -> (usize, usize) {
    let simulator = Simulator::new(filter).expect("a valid filter");
    let architecture = tables::audit(architecture);
    let run = |number| {
        let data = Data { number, architecture, instruction_pointer: 0, arguments: [0; 6] };
        simulator.run(&data).executed
    };
    (filter.len() / INSTRUCTION_SIZE, (0..NUMBERS).map(run).sum())
}

#[test]
fn fewer_instructions_are_run_than_in_libseccomps_tree() {
    for comparisons in [Comparisons::None, Comparisons::Whole] {
        for size in [10, 50, 100, 300] {
            let mut random = Rng::with_seed(size as u64);
            let architecture = Architecture::X86_64;
            let rules = random::rules(&mut random, architecture, size, comparisons);
            let own = cost(&own(&rules), architecture);
            let other = libseccomp(&rules, Shape::Tree).expect("it can be expressed");
            let other = cost(&other, architecture);
            let what = format!("{size} {comparisons:?}: {own:?} {other:?}");
            assert!(own.1 < other.1, "{what}");
            assert!(own.0 <= other.0 + UNNAMED, "{what}");
        }
    }
}
