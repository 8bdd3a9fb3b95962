//! Parsing the heads that clients send, and writing those of answers.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use penstock_pool::http1::{HttpDate, Limits, Parsed, ResponseHead, parse};

const PLAIN: &str = "GET /data/run7/file.root?transfer=0123456789abcdef0123456789abcdef HTTP/1.1\r\n\
                     Host: pool01.example.org:2881\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";
const UPLOAD: &str = "PUT /data/run7/file.root?transfer=0123456789abcdef0123456789abcdef HTTP/1.1\r\n\
                      Host: pool01.example.org:2881\r\nUser-Agent: gfal2-util/1.8.1 gfal2/2.22.2 neon/0.0.29\r\n\
                      Content-Length: 1073741824\r\nContent-Type: application/octet-stream\r\n\
                      Digest: adler32=03da0195\r\nWant-Digest: adler32,md5;q=0.5\r\nExpect: 100-continue\r\n\
                      Connection: Keep-Alive\r\nTE: trailers\r\n\r\n";

/// Heads as they come, whole and in two pieces.
pub fn all(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut vector_read = PLAIN.trim_end().to_owned() + "\r\nRange: bytes=";
    let ranges: Vec<String> =
        (0..250u64).map(|place| format!("{}-{}", place * 100_000, place * 100_000 + 4_095)).collect();
    vector_read += &ranges.join(",");
    vector_read += "\r\n\r\n";
    let mut group = criterion.benchmark_group("head");
    for (name, head) in
        [("plain GET", PLAIN), ("PUT with digests", UPLOAD), ("vector read", vector_read.as_str())]
    {
        assert!(matches!(parse(head.as_bytes(), &limits), Ok(Parsed::Complete { .. })), "{name} is a head");
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| parse(black_box(head.as_bytes()), &limits)));
    }
    let half = &UPLOAD.as_bytes()[..UPLOAD.len() / 2];
    assert!(matches!(parse(half, &limits), Ok(Parsed::Partial)), "half a head is none");
    group.throughput(Throughput::Bytes(half.len() as u64));
    group.bench_function("half a PUT", |bencher| bencher.iter(|| parse(black_box(half), &limits)));
    group.finish();

    let date = HttpDate::of(std::time::SystemTime::now());
    criterion.bench_function("answer/head of a download", |bencher| {
        let mut out = Vec::with_capacity(1024);
        bencher.iter(|| {
            out.clear();
            ResponseHead::new(&mut out, 200, black_box(&date))
                .header("Content-Type", "application/octet-stream")
                .header("Content-Length", black_box(1_073_741_824u64))
                .header("Digest", "adler32=03da0195")
                .header("Accept-Ranges", "bytes")
                .finish();
            out.len()
        });
    });
}
