//! `cargo bench -p journal-core`: checksums of records of three sizes, by vector instructions and by tables. What
//! `performance.enable_simd` changes.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use journal_core::codec::checksum::{by_tables, by_vectors};

/// A record of one order, of a full batch, and what a scan reads at once.
const SIZES: [usize; 3] = [256, 16 << 10, 64 << 10];

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES)]
fn vectors(bencher: Bencher, size: usize) {
    run(bencher, size, by_vectors);
}

#[divan::bench(args = SIZES)]
fn tables(bencher: Bencher, size: usize) {
    run(bencher, size, by_tables);
}

fn run(bencher: Bencher, size: usize, checksum: fn(&[u8]) -> u32) {
    let bytes: Vec<u8> = (0..size).map(|index| index as u8).collect();
    bencher.counter(BytesCount::new(size)).bench_local(|| checksum(black_box(&bytes)));
}
