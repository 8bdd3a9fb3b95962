//! What a client wants moved, and the contract's form of it.

use jiff::Timestamp;
use penstock_door_proto::v1 as proto;
use proto::transfer_request::Kind;

use crate::checksum::Algorithm;
use crate::namespace::upload::{Expectation, PendingUpload};
use crate::namespace::{Entry, FileEntry, NsPath, Shown};

/// An upload that is allowed.
#[derive(Debug, Clone)]
pub struct UploadRequest {
    /// Whose traffic it is.
    pub marking: Option<proto::Marking>,
    /// Who, from where.
    pub client: proto::Client,
    /// The path as the client named it.
    pub view_path: NsPath,
    /// The real path.
    pub path: NsPath,
    /// Content-Length.
    pub size_bytes: Option<u64>,
    /// The token's limit.
    pub maximum_bytes: Option<u64>,
    /// What the client wants computed.
    pub wanted: Vec<Algorithm>,
    /// The client's preconditions.
    pub expects: Expectation,
    /// Whether it may replace a file.
    pub may_overwrite: bool,
    /// Whether there is a file to replace now: 204 instead of 201.
    pub replaces: bool,
    /// The lock tokens that the client shows.
    pub shown: Shown,
    /// It is a copy, which takes over the dead properties of this entry.
    pub copy_of: Option<i64>,
}

/// A download that is allowed.
#[derive(Debug, Clone)]
pub struct DownloadRequest {
    /// Whose traffic it is.
    pub marking: Option<proto::Marking>,
    /// Who, from where.
    pub client: proto::Client,
    /// The path as the client named it.
    pub view_path: NsPath,
    /// The real path.
    pub path: NsPath,
    /// What is there.
    pub entry: Entry,
    /// Its data.
    pub file: FileEntry,
}

/// The pool waits for the client.
#[derive(Clone)]
pub struct Ready {
    /// Where: a capability, so it does not print.
    pub url: String,
    /// The transfer's id.
    pub transfer: String,
    /// The pool's name.
    pub pool: String,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ready").field("transfer", &self.transfer).field("pool", &self.pool).finish()
    }
}

impl UploadRequest {
    /// The row that remembers it.
    pub(super) fn pending(&self, transfer: String, replica: String, pool: &str) -> PendingUpload {
        PendingUpload {
            transfer,
            replica,
            pool: pool.to_owned(),
            path: self.path.clone(),
            expects: self.expects.clone(),
            may_overwrite: self.may_overwrite,
            shown: self.shown.clone(),
            copy_of: self.copy_of,
            started_at: Timestamp::now(),
            refused: None,
        }
    }

    /// The contract's 0 is "no limit", so a token that allows no bytes at all still says 1.
    pub(super) fn maximum_size(&self) -> u64 {
        self.maximum_bytes.map_or(0, |bytes| bytes.max(1))
    }

    pub(super) fn wanted_checksums(&self) -> Vec<i32> {
        self.wanted.iter().map(|algorithm| algorithm.to_proto().into()).collect()
    }

    pub(super) fn to_proto(
        &self,
        pending: &PendingUpload,
        door: &proto::DoorIdentity,
    ) -> proto::TransferRequest {
        proto::TransferRequest {
            transfer_id: pending.transfer.clone(),
            replica_id: pending.replica.clone(),
            transfer_path: self.view_path.to_string(),
            billing_path: self.path.to_string(),
            client: Some(self.client.clone()),
            door: Some(door.clone()),
            marking: self.marking,
            kind: Some(Kind::Put(proto::Put {
                size: self.size_bytes,
                maximum_size: self.maximum_size(),
                // The client sends them to the pool itself, in the headers of its request.
                expected_checksums: Vec::new(),
                wanted_checksums: self.wanted_checksums(),
                success_status: if self.replaces { 204 } else { 201 },
            })),
            ..Default::default()
        }
    }
}

impl DownloadRequest {
    pub(super) fn to_proto(&self, transfer: &str, door: &proto::DoorIdentity) -> proto::TransferRequest {
        proto::TransferRequest {
            transfer_id: transfer.to_owned(),
            replica_id: self.file.replica.clone(),
            transfer_path: self.view_path.to_string(),
            billing_path: self.path.to_string(),
            client: Some(self.client.clone()),
            door: Some(door.clone()),
            marking: self.marking,
            kind: Some(Kind::Get(proto::Get {
                last_modified: Some(to_proto_time(self.entry.modified_at)),
                etag: self.file.etag().to_owned(),
                ..Default::default()
            })),
            ..Default::default()
        }
    }
}

/// `None` for what is no time of this calendar.
pub(super) fn from_proto_time(time: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

fn to_proto_time(time: Timestamp) -> prost_types::Timestamp {
    // Before 1970 jiff's two parts are both negative; the contract wants nanoseconds from 0 up.
    let nanos = time.subsec_nanosecond();
    let borrow = i64::from(nanos < 0);
    prost_types::Timestamp {
        seconds: time.as_second() - borrow,
        nanos: nanos + if nanos < 0 { 1_000_000_000 } else { 0 },
    }
}
