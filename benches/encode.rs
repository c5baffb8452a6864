//! What the encoder does: a document to bytes, and text to a document, by
//! number of entries.
#![allow(missing_docs, reason = "criterion's macros document nothing")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use policy_encoder::{Place, parse};

mod policies;

fn encode(criterion: &mut Criterion) {
    let place = Place::here().expect("there is a working directory");
    let tree = policies::tree(1000);
    let mut group = criterion.benchmark_group("encode");
    for entries in policies::SIZES {
        let document = policies::document(&policies::text(&tree, entries));
        group.throughput(Throughput::Elements(entries as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(entries),
            &document,
            |bench, document| {
                bench.iter(|| policies::bytes(black_box(document), &place));
            },
        );
    }
}

fn parse(criterion: &mut Criterion) {
    let tree = policies::tree(1000);
    let mut group = criterion.benchmark_group("parse");
    for entries in policies::SIZES {
        let text = policies::text(&tree, entries);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(entries), &text, |bench, text| {
            bench.iter(|| parse::toml(black_box(text)));
        });
    }
}

criterion_group!(benches, encode, parse);
criterion_main!(benches);
