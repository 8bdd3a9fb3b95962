//! What a transfer is.
