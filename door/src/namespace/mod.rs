//! The namespace: which names there are, and which replica on which pool each file is.
//!
//! * [`path`]: what a path is. [`entry`]: what a name points to.
//! * [`database`]: opening it. [`read`]: lookups and listings. [`change`]: directories and deletion.
//! * [`adopt`]: names for replicas that no upload brought. [`upload`]: from the start of an upload to its name. [`removal`]: replicas that pools still have to delete.
//!
//! Every change is one transaction, and none lasts longer than its own statements: nothing is ever locked while a
//! transfer runs.
#![forbid(unsafe_code)]

pub mod adopt;
pub mod change;
pub mod database;
pub mod entry;
pub mod path;
pub mod read;
pub mod removal;
pub mod upload;

#[cfg(test)]
mod tests;

pub use change::ChangeError;
pub use database::{Namespace, NamespaceError};
pub use entry::{Entry, FileEntry, Kind};
pub use path::{NsPath, PathError};
pub use read::Lookup;
