//! What is measured: the figures that a run gives, with their names for people and machines.

/// Bytes of a MiB.
pub const MIB: f64 = 1_048_576.0;

/// A kind of number that runs give.
#[derive(Debug, PartialEq, Eq)]
pub struct Figure {
    /// Its name in JSON, with the unit at its end.
    pub key: &'static str,
    /// Its name in tables.
    pub title: &'static str,
    /// Decimals that mean something.
    pub decimals: usize,
    /// Runs that differ in it cast doubt on the result. Not so for what is meant to vary, or is counted in coarse steps.
    pub judged: bool,
}

/// All of them.
pub mod figures {
    use super::Figure;

    /// Bytes moved per second.
    pub static THROUGHPUT: Figure =
        Figure { key: "mib_per_second", title: "MiB/s", decimals: 0, judged: true };
    /// The same as network people say it.
    pub static LINE_RATE: Figure =
        Figure { key: "gigabits_per_second", title: "Gbit/s", decimals: 2, judged: false };
    /// Checksums per second, in 10⁹ bytes.
    pub static CHECKSUM_RATE: Figure =
        Figure { key: "gb_per_second", title: "GB/s", decimals: 2, judged: true };
    /// Requests, or operations, per second.
    pub static REQUESTS: Figure =
        Figure { key: "requests_per_second", title: "req/s", decimals: 0, judged: true };
    /// Processor seconds, user and system, for each GiB.
    pub static CPU: Figure =
        Figure { key: "cpu_seconds_per_gib", title: "CPU s/GiB", decimals: 3, judged: false };
    /// The same of the sending side.
    pub static SENDER_CPU: Figure =
        Figure { key: "sender_cpu_seconds_per_gib", title: "sender s/GiB", decimals: 3, judged: false };
    /// The same of the receiving side.
    pub static RECEIVER_CPU: Figure =
        Figure { key: "receiver_cpu_seconds_per_gib", title: "receiver s/GiB", decimals: 3, judged: false };
    /// Processor time for each request.
    pub static CPU_PER_REQUEST: Figure =
        Figure { key: "cpu_microseconds_per_request", title: "CPU µs/req", decimals: 1, judged: false };
    /// The last sync, in milliseconds.
    pub static SYNC: Figure =
        Figure { key: "sync_milliseconds", title: "sync ms", decimals: 1, judged: false };
    /// Smoothed round-trip time.
    pub static ROUND_TRIP: Figure =
        Figure { key: "round_trip_microseconds", title: "rtt µs", decimals: 0, judged: false };
    /// Segments sent again.
    pub static RETRANSMITS: Figure =
        Figure { key: "retransmits", title: "resent", decimals: 0, judged: false };
    /// The median time up to the redirect.
    pub static REDIRECT_P50: Figure =
        Figure { key: "redirect_p50_microseconds", title: "redirect p50 µs", decimals: 0, judged: false };
    /// 99 of 100 redirects took at most that long.
    pub static REDIRECT_P99: Figure =
        Figure { key: "redirect_p99_microseconds", title: "redirect p99 µs", decimals: 0, judged: false };
    /// The median time from the redirect to the end.
    pub static DATA_P50: Figure =
        Figure { key: "data_p50_microseconds", title: "data p50 µs", decimals: 0, judged: false };
    /// 99 of 100 took at most that long behind the redirect.
    pub static DATA_P99: Figure =
        Figure { key: "data_p99_microseconds", title: "data p99 µs", decimals: 0, judged: false };
    /// Requests, or copies, that failed.
    pub static FAILED: Figure = Figure { key: "failed", title: "failed", decimals: 0, judged: false };
    /// Whole files copied per second.
    pub static COPIES: Figure =
        Figure { key: "copies_per_second", title: "copies/s", decimals: 1, judged: false };
    /// Processor seconds, user and system, of the pool for each GiB.
    pub static POOL_CPU: Figure =
        Figure { key: "pool_cpu_seconds_per_gib", title: "pool s/GiB", decimals: 3, judged: false };
    /// The same of the other side, where that is this program.
    pub static FAR_CPU: Figure =
        Figure { key: "far_cpu_seconds_per_gib", title: "far side s/GiB", decimals: 3, judged: false };
}
