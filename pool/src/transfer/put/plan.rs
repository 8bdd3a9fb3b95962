//! What an upload is going to be: everything that can be known, and refused, before its first byte.

use crate::checksum::{Algorithm, AlgorithmSet, Checksum};
use crate::http1::{self, BadRequest, Expectation, PutLength, Request, WantedDigests};
use crate::store::UploadSpec;
use crate::transfer::port::Settings;
use crate::transfer::request::{Kind, TransferRequest};
use crate::transfer::{Failure, FailureCode, Side};

/// An upload that nothing stands against so far.
pub(super) struct Plan {
    /// What the store is asked for.
    pub spec: UploadSpec,
    /// Content-Length; `None` for a chunked body.
    pub length: Option<u64>,
    /// Larger is 413.
    pub maximum_size: Option<u64>,
    /// The client waits for "100 Continue".
    pub expects_continue: bool,
    /// Each must match what arrives.
    pub expected: Vec<Checksum>,
    /// All that are computed.
    pub algorithms: AlgorithmSet,
    /// The answer when all went well.
    pub success_status: u16,
}

impl Plan {
    /// Holds the request against what the door asked for.
    pub fn new(request: &Request, transfer: &TransferRequest, settings: &Settings) -> Result<Plan, Failure> {
        let Kind::Put(put) = &transfer.kind else {
            return Err(Failure::internal("a transfer that is no upload was claimed for one"));
        };
        let length = match http1::check_put(request).map_err(refused)? {
            PutLength::Known(length) => Some(length),
            PutLength::Chunked => None,
        };
        let expects_continue = http1::expectation(request).map_err(refused)? == Expectation::Continue;
        let maximum_size = put.maximum_size.map(u64::from);
        match (length, put.size) {
            (Some(length), Some(size)) if length != size => {
                return Err(Failure::size_mismatch(format!(
                    "the upload announces {length} bytes, but {size} were announced to the door"
                )));
            }
            (Some(length), _) if maximum_size.is_some_and(|maximum| length > maximum) => {
                return Err(Failure::too_large(format!(
                    "the upload announces {length} bytes, at most {} are allowed here",
                    maximum_size.unwrap_or_default()
                )));
            }
            _ => {}
        }
        let mut expected = http1::stated_checksums(request).map_err(refused)?;
        expected.extend(put.expected_checksums.iter().copied());
        let wanted = WantedDigests::of(request).algorithms();
        let named: AlgorithmSet = expected.iter().map(|checksum| checksum.algorithm()).collect();
        let adler32: AlgorithmSet = [Algorithm::Adler32].into_iter().collect();
        let algorithms =
            adler32.union(settings.algorithms).union(put.wanted_checksums).union(wanted).union(named);
        Ok(Plan {
            spec: transfer.upload_spec(length.or(put.size), maximum_size),
            length,
            maximum_size,
            expects_continue,
            expected,
            algorithms,
            success_status: put.success_status,
        })
    }
}

fn refused(refused: BadRequest) -> Failure {
    Failure::new(FailureCode::BadRequest, Side::Client, refused.text).with_status(refused.status)
}
