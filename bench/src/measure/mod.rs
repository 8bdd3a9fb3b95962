//! Measuring: runs in turn, their spread, processor time, latencies, and what casts doubt on all of it.

mod cpu;
mod failures;
mod figure;
mod latency;
mod noise;
mod payload;
mod runs;
mod spread;

pub use cpu::{CpuTime, pin_to_processor, process_cpu, processors};
pub use failures::Failures;
pub use figure::{Figure, MIB, figures};
pub use latency::{Latencies, Percentiles};
pub use noise::{Machine, NoiseWatch};
pub use payload::payload;
pub use runs::{Measurement, Plan, Sample, in_turn};
pub use spread::Spread;
