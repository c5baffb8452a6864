//! What the encoder does: a document to bytes, and text to a document, by
//! number of entries.
#![allow(missing_docs, reason = "criterion's macros document nothing")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use policy_encoder::{Place, parse};

mod policies;

/// From a large policy to about as many mounts as one may have; ten times the
/// entries must not cost much more than ten times the time.
const SIZES: [usize; 3] = [100, 1_000, 10_000];

fn encode(criterion: &mut Criterion) {
    let place = Place::here().expect("there is a working directory");
    let tree = policies::tree(SIZES[2]);
    let mut group = criterion.benchmark_group("encode");
    for entries in SIZES {
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

/// One walk for all patterns.
fn globs(criterion: &mut Criterion) {
    let place = Place::here().expect("there is a working directory");
    let tree = policies::tree(1000);
    for directory in 0..1000 {
        for file in 0..100 {
            let path = tree.path().join(format!("{directory}/{file}"));
            std::fs::write(path, "").expect("the directory can be written");
        }
    }
    let path = tree.path();
    let text = format!("filesystem = {{ read = [{path:?}], deny = ['**/.env', '**/*.key'] }}");
    let document = policies::document(&text);
    let mut group = criterion.benchmark_group("globs");
    group.sample_size(10).throughput(Throughput::Elements(101_000));
    group.bench_function("101000", |bench| {
        bench.iter(|| policies::bytes(black_box(&document), &place));
    });
}

fn parse(criterion: &mut Criterion) {
    let tree = policies::tree(SIZES[2]);
    let mut group = criterion.benchmark_group("parse");
    for entries in SIZES {
        let text = policies::text(&tree, entries);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(entries), &text, |bench, text| {
            bench.iter(|| parse::toml(black_box(text)));
        });
    }
}

criterion_group!(benches, encode, globs, parse);
criterion_main!(benches);
