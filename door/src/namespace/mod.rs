//! The namespace: which names there are, and which replica on which pool each file is.
//!
//! * [`path`]: what a path is. [`entry`]: what a name points to.
//! * [`database`]: SQLite or PostgreSQL, and how changes run there. [`read`]: lookups and listings. [`change`]: directories and deletion. [`rename`].
//! * [`lock`]: write locks of WebDAV. [`property`]: what clients keep on names.
//! * [`upload`]: from the start of an upload to its name. [`adopt`]: names for replicas that no upload brought.
//!   [`removal`]: replicas that pools still have to delete.
//!
//! Every change is one transaction, and none lasts longer than its own statements: nothing is ever locked while a
//! transfer runs.
#![forbid(unsafe_code)]

pub mod adopt;
pub mod change;
pub mod database;
pub mod entry;
pub mod lock;
pub mod path;
pub mod property;
pub mod read;
pub mod removal;
pub mod rename;
pub mod upload;

#[cfg(test)]
mod tests;

pub use change::ChangeError;
pub use database::{Namespace, NamespaceError, QueryError};
pub use entry::{Entry, FileEntry, Kind};
pub use lock::{Lock, Shown, Touch};
pub use path::{NsPath, PathError};
pub use property::{DeadProperty, PropertyChange};
pub use read::{Beside, Described, Lookup};
