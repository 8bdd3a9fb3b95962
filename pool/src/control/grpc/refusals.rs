//! Our errors as gRPC statuses.

use tonic::Status;

use crate::control::queue::QueueError;
use crate::control::registry::StartError;
use crate::store::StoreError;
use crate::transfer::FailureCode;
use crate::transfer::request::RequestError;

/// An error whose text begins with its FailureCode, as the contract says.
pub(super) fn coded(code: tonic::Code, failure: FailureCode, text: &str) -> Status {
    Status::new(code, format!("{}: {text}", failure.as_str_name()))
}

pub(super) fn request_status(error: RequestError) -> Status {
    match error {
        RequestError::Field { .. } => Status::invalid_argument(error.to_string()),
        RequestError::NotSupported { .. } => Status::unimplemented(error.to_string()),
    }
}

pub(super) fn start_status(error: StartError) -> Status {
    let text = error.to_string();
    match error {
        StartError::Request(error) => request_status(error),
        StartError::Queue(QueueError::Unknown { .. }) => Status::invalid_argument(text),
        StartError::Queue(QueueError::Full { .. }) | StartError::TooMany { .. } => {
            Status::resource_exhausted(text)
        }
        StartError::OtherRequest { .. } => Status::already_exists(text),
        StartError::UploadRuns { .. } => coded(tonic::Code::AlreadyExists, FailureCode::Exists, &text),
        StartError::Draining => Status::unavailable(text),
        StartError::Random(_) => Status::internal(text),
    }
}

pub(super) fn store_status(error: &StoreError) -> Status {
    let (code, failure) = match error {
        StoreError::NoSpace { .. } => (tonic::Code::ResourceExhausted, FailureCode::NoSpace),
        StoreError::TooLarge { .. } => (tonic::Code::ResourceExhausted, FailureCode::TooLarge),
        StoreError::Exists { .. } => (tonic::Code::AlreadyExists, FailureCode::Exists),
        StoreError::NotFound { .. } => (tonic::Code::NotFound, FailureCode::NotFound),
        StoreError::SizeMismatch { .. } => (tonic::Code::FailedPrecondition, FailureCode::SizeMismatch),
        StoreError::State { .. } => (tonic::Code::FailedPrecondition, FailureCode::BadRequest),
        StoreError::Attributes { .. }
        | StoreError::WrongLength { .. }
        | StoreError::ChecksumDiffers { .. } => (tonic::Code::DataLoss, FailureCode::ReplicaBroken),
        StoreError::ReadOnly { .. } => (tonic::Code::Unavailable, FailureCode::DiskError),
        StoreError::BlockCount { .. } => (tonic::Code::Internal, FailureCode::Internal),
        StoreError::Io { .. } | StoreError::Pool { .. } | StoreError::Index { .. } => {
            (tonic::Code::Internal, FailureCode::DiskError)
        }
    };
    coded(code, failure, &error.to_string())
}
