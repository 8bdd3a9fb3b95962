//! The door's request, validated and typed: past this point no field is doubted again.

use std::fmt;
use std::num::NonZeroU64;
use std::time::SystemTime;

use thiserror::Error;

use crate::checksum::{AlgorithmSet, Checksum};
use crate::marking::Wish;
use crate::store::{ReplicaId, UploadSpec};

mod decode;
#[cfg(test)]
mod tests;
mod third_party;

pub use third_party::{Pull, Push, Remote};

/// Longest transfer id in bytes.
const MAX_ID_BYTES: usize = 64;

/// The queue of a request that names none.
pub const DEFAULT_QUEUE: &str = "default";

/// A field that is wrong, or a kind of transfer that this pool cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// A field is wrong.
    #[error("{field}: {problem}")]
    Field {
        /// Its name in the contract.
        field: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The kind of transfer is not among this pool's features.
    #[error("this pool cannot do {kind} transfers (see PoolStatus.features)")]
    NotSupported {
        /// Which.
        kind: KindName,
    },
}

fn wrong(field: &'static str, problem: impl Into<String>) -> RequestError {
    RequestError::Field { field, problem: problem.into() }
}

/// The door's id of a transfer: 1 to 64 of `[A-Za-z0-9_.:-]`, unique for all time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(String);

impl TransferId {
    /// A valid id, or what is wrong with it.
    pub fn new(text: impl Into<String>) -> Result<Self, RequestError> {
        let text = text.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if text.is_empty() || text.len() > MAX_ID_BYTES || !text.chars().all(allowed) {
            return Err(wrong("transfer_id", format!("must be 1 to {MAX_ID_BYTES} of [A-Za-z0-9_.:-]")));
        }
        Ok(Self(text))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A transfer as a door asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct TransferRequest {
    /// The door's id of it.
    pub id: TransferId,
    /// The door's session; may be empty.
    pub session: String,
    /// The replica that is read or made.
    pub replica: ReplicaId,
    /// The path as the client asked for it: starts with "/", not percent-encoded. The URL is bound to it.
    pub path: String,
    /// The path for accounting.
    pub billing_path: String,
    /// Who asked the door.
    pub client: Client,
    /// The door that asks.
    pub door: Door,
    /// The pool's queue.
    pub queue: String,
    /// Higher goes first.
    pub priority: i32,
    /// For accounting and placement; may be empty.
    pub storage_class: String,
    /// Over all connections of the transfer.
    pub rate_limit_bytes_per_second: Option<NonZeroU64>,
    /// It fails when it has not ended by then.
    pub deadline_at: Option<SystemTime>,
    /// How its packets are marked.
    pub marking: Wish,
    /// W3C trace context; may be empty.
    pub traceparent: String,
    /// What to do.
    pub kind: Kind,
}

/// Who asked the door.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// Address as the door saw it.
    pub address: String,
    /// Port as the door saw it; 0: unknown.
    pub port: u16,
    /// User name, DN or token subject. Never a token.
    pub subject: String,
    /// Token issuer, VO or group.
    pub issuer: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What it spoke with the door.
    pub protocol: String,
    /// User-Agent.
    pub user_agent: String,
    /// ClientInfo.
    pub client_info: String,
    /// It reached the door by https.
    pub secure: bool,
}

/// The door that asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Door {
    /// Unique in the site; may be empty.
    pub name: String,
    /// Where lost clients are sent back to; may be empty. No path.
    pub url: String,
}

/// What to do. Further kinds of the contract have their names in [`KindName`].
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// The client reads the replica.
    Get(Get),
    /// The client writes the replica.
    Put(Put),
    /// The pool reads it from a remote server.
    Pull(Pull),
    /// The pool writes it to a remote server.
    Push(Push),
    /// The pool makes it from another replica that it holds.
    LocalCopy(LocalCopy),
}

/// Kinds of transfers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KindName {
    /// The client reads.
    Get,
    /// The client writes.
    Put,
    /// The pool reads from a remote server.
    Pull,
    /// The pool writes to a remote server.
    Push,
    /// The pool reads from another pool.
    PoolToPool,
    /// The pool copies one of its own replicas.
    LocalCopy,
}

impl KindName {
    /// It makes a replica, whose fate the door decides.
    #[must_use]
    pub fn stores(self) -> bool {
        match self {
            KindName::Put | KindName::Pull | KindName::PoolToPool | KindName::LocalCopy => true,
            KindName::Get | KindName::Push => false,
        }
    }

    /// As it stands in metrics, logs and PoolStatus.features.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            KindName::Get => "get",
            KindName::Put => "put",
            KindName::Pull => "pull",
            KindName::Push => "push",
            KindName::PoolToPool => "pool-to-pool",
            KindName::LocalCopy => "local-copy",
        }
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> KindName {
        match self {
            Kind::Get(_) => KindName::Get,
            Kind::Put(_) => KindName::Put,
            Kind::Pull(_) => KindName::Pull,
            Kind::Push(_) => KindName::Push,
            Kind::LocalCopy(_) => KindName::LocalCopy,
        }
    }

    /// It makes a replica, whose fate the door decides.
    #[must_use]
    pub fn stores(&self) -> bool {
        self.name().stores()
    }

    /// The pool carries it out by itself: no client comes to the data port.
    #[must_use]
    pub fn runs_by_itself(&self) -> bool {
        match self {
            Kind::Get(_) | Kind::Put(_) => false,
            Kind::Pull(_) | Kind::Push(_) | Kind::LocalCopy(_) => true,
        }
    }
}

/// The client reads the replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Get {
    /// Told as Content-Type.
    pub content_type: String,
    /// Told as Content-Disposition unless empty.
    pub content_disposition: String,
    /// Told as Last-Modified. `None`: the replica's creation.
    pub last_modified: Option<SystemTime>,
    /// The strong entity tag without quotes; empty: the replica's own.
    pub etag: String,
    /// Send it although it is known to be damaged.
    pub allow_broken: bool,
}

/// The client writes the replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Put {
    /// The size, if the door knows it.
    pub size: Option<u64>,
    /// Larger is 413. `None`: the pool's own limit only.
    pub maximum_size: Option<NonZeroU64>,
    /// Each must match what arrives.
    pub expected_checksums: Vec<Checksum>,
    /// Computed beside the pool's own.
    pub wanted_checksums: AlgorithmSet,
    /// The answer when all went well.
    pub success_status: u16,
}

/// The pool makes a replica from another one that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCopy {
    /// The other one.
    pub source: ReplicaId,
    /// Computed beside those that are taken over.
    pub wanted_checksums: AlgorithmSet,
}

impl TransferRequest {
    /// What the store is asked for, where the transfer makes a replica.
    pub(super) fn upload_spec(&self, size: Option<u64>, maximum_size: Option<u64>) -> UploadSpec {
        UploadSpec {
            replica: self.replica.clone(),
            transfer: self.id.as_str().to_owned(),
            path: self.path.clone(),
            class: self.storage_class.clone(),
            size,
            maximum_size,
        }
    }
}
