//! Who clients are, and what they may.

mod delegation;
