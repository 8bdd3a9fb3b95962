//! What the kernel knows of a running process.

use std::fs;

/// The most memory that it ever had resident, in bytes (`VmHWM`).
#[must_use]
pub fn peak_memory_bytes(process: u32) -> u64 {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|value| value.trim().strip_suffix(" kB"))
        .and_then(|value| value.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("{path} does not tell VmHWM:\n{status}")) << 10
}

/// How many descriptors it has open.
#[must_use]
pub fn open_descriptors(process: u32) -> usize {
    let path = format!("/proc/{process}/fd");
    fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}")).count()
}
