//! Checksum algorithms.
