//! What the launcher does before its first effect: bytes to a checked policy,
//! by number of entries.
#![allow(missing_docs, reason = "criterion's macros document nothing")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use launcher_policy::wire;
use policy_encoder::Place;

mod policies;

fn decode(criterion: &mut Criterion) {
    let place = Place::here().expect("there is a working directory");
    let tree = policies::tree(1000);
    let mut group = criterion.benchmark_group("decode");
    for entries in policies::SIZES {
        let document = policies::document(&policies::text(&tree, entries));
        let bytes = policies::bytes(&document, &place);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(entries), &bytes, |bench, bytes| {
            bench.iter(|| wire::decode(black_box(bytes)).expect("what was encoded decodes"));
        });
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
