//! What the subcommands' options share: sizes, lists, times, and how results are wanted.

mod byte_size;
mod common;
mod lists;
mod scitag;
mod token;

pub use byte_size::{parse_byte_size, show_byte_size};
pub use common::Common;
pub use lists::{Count, Size, parse_duration};
pub use scitag::parse_scitag;
pub use token::{parse_token, read_token};
