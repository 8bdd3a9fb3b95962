//! What is to be copied, and the contract's form of it.
//!
//! None of these prints the remote URL or a header: both may hold credentials.

use std::fmt;
use std::sync::Arc;

use penstock_door_proto::v1 as proto;
use proto::transfer_request::Kind;

use super::super::request::{DownloadRequest, UploadRequest};
use super::renewal::Renewal;
use crate::checksum::Checksum;
use crate::namespace::upload::PendingUpload;

/// The remote side of a copy.
#[derive(Clone, Default)]
pub struct RemoteEnd {
    /// As the contract has it.
    pub remote: proto::Remote,
    /// Scheme, host and port of its URL, for the log.
    pub origin: String,
    /// How the token in it is renewed, if it is one that the door has got.
    pub renewal: Option<Arc<Renewal>>,
}

impl fmt::Debug for RemoteEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RemoteEnd").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A pull that is allowed.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// The name that it will have, as of an upload.
    pub upload: UploadRequest,
    /// Where the bytes are.
    pub source: RemoteEnd,
    /// Range requests at once.
    pub streams: u32,
    /// What the client says of the file; each must match what arrives.
    pub expected: Vec<Checksum>,
}

/// A push that is allowed.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// The file, as of a download.
    pub download: DownloadRequest,
    /// Where the bytes go.
    pub destination: RemoteEnd,
}

impl PullRequest {
    pub(super) fn to_proto(
        &self,
        pending: &PendingUpload,
        door: &proto::DoorIdentity,
    ) -> proto::TransferRequest {
        proto::TransferRequest {
            kind: Some(Kind::Pull(proto::Pull {
                remote: Some(self.source.remote.clone()),
                size: None,
                maximum_size: self.upload.maximum_size(),
                expected_checksums: self.expected.iter().map(Checksum::to_proto).collect(),
                wanted_checksums: self.upload.wanted_checksums(),
                streams: self.streams,
            })),
            ..self.upload.to_proto(pending, door)
        }
    }
}

impl PushRequest {
    pub(super) fn to_proto(&self, transfer: &str, door: &proto::DoorIdentity) -> proto::TransferRequest {
        proto::TransferRequest {
            kind: Some(Kind::Push(proto::Push { remote: Some(self.destination.remote.clone()) })),
            ..self.download.to_proto(transfer, door)
        }
    }
}
