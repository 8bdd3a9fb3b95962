//! Checksums over one slot, and putting the checksums of parts together.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use penstock_pool::checksum::{
    Algorithm, BLOCK_SIZE_BYTES, BlockChecksums, Hasher, MultiHasher, adler32_combine, check_block,
    crc32_combine, crc32c_combine,
};

/// Every algorithm, the blocks' checksums, and what an upload computes at once.
pub fn all(criterion: &mut Criterion) {
    let slot: Vec<u8> = (0..BLOCK_SIZE_BYTES).map(|place| ((place * 31) >> 3) as u8).collect();
    let mut group = criterion.benchmark_group("checksum");
    group.throughput(Throughput::Bytes(slot.len() as u64));
    for algorithm in Algorithm::ALL {
        group.bench_function(BenchmarkId::new("slot", algorithm.name()), |bencher| {
            bencher.iter(|| {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(black_box(&slot));
                hasher.finish()
            });
        });
    }
    group.bench_function("adler32 and crc32c at once", |bencher| {
        bencher.iter(|| {
            let mut both = MultiHasher::new([Algorithm::Adler32, Algorithm::Crc32c]);
            both.update(black_box(&slot));
            both.finish()
        });
    });
    let recorded = {
        let mut blocks = BlockChecksums::new();
        blocks.update(&slot);
        blocks.finish()
    };
    group.bench_function("check a block", |bencher| {
        bencher.iter(|| check_block(black_box(&recorded), 0, black_box(&slot)));
    });
    group.finish();

    let mut group = criterion.benchmark_group("combine");
    let parts = (black_box(0x11e6_0398), black_box(0x03da_0195), black_box(1u64 << 40));
    group.bench_function("adler32", |bencher| bencher.iter(|| adler32_combine(parts.0, parts.1, parts.2)));
    group.bench_function("crc32", |bencher| bencher.iter(|| crc32_combine(parts.0, parts.1, parts.2)));
    group.bench_function("crc32c", |bencher| bencher.iter(|| crc32c_combine(parts.0, parts.1, parts.2)));
    group.finish();
}
