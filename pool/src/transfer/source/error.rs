//! Why bytes of a replica cannot be had.

use std::io;

use super::verify::BadBlock;

/// Why bytes of a replica cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk.
    #[error("reading at byte {offset} failed: {error}")]
    Disk {
        /// Where.
        offset: u64,
        /// What.
        error: io::Error,
    },
    /// The file is shorter than it should be.
    #[error("the file ends at byte {0}, before its recorded size")]
    Truncated(u64),
    /// The bytes are not those that were stored.
    #[error(transparent)]
    Bad(#[from] BadBlock),
}
