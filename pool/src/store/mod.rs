//! Replicas on the disk.
