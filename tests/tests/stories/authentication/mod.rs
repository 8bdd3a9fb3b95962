//! Who clients are, and what they may.

mod certificates;
mod https;
mod passwords;
