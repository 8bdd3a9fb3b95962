//! Orders to a running pool, as a door gives them: the way to its gRPC service, transfers from their start to their
//! end, and the removal of all that was made.

mod access;
mod connect;
mod copy;
mod door;
mod health;
mod limits;
mod route;
mod space;

pub use access::Access;
pub use connect::connect;
pub use copy::{Copied, Refused};
pub use door::Door;
pub use health::must_take_files;
pub use limits::Limits;
pub use route::own_address_towards;
pub use space::space_bytes;
