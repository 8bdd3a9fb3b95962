//! The contract's messages into requests: here every field is doubted once.

use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use penstock_door_proto::v1;

use super::{
    Client, DEFAULT_QUEUE, Door, Get, Kind, KindName, LocalCopy, Put, RequestError, TransferId,
    TransferRequest, third_party, wrong,
};
use crate::checksum::{Algorithm, AlgorithmSet, Checksum};
use crate::marking::Wish;
use crate::store::ReplicaId;

/// Longest path in bytes (PATH_MAX of Linux).
const MAX_PATH_BYTES: usize = 4096;
/// Longest free text field (subject, storage class, header values) in bytes.
const MAX_TEXT_BYTES: usize = 1024;
/// Most groups of a client.
const MAX_GROUPS: usize = 256;
/// Most checksums expected or wanted: several of each algorithm make no sense.
const MAX_CHECKSUMS: usize = 16;

impl TryFrom<v1::TransferRequest> for TransferRequest {
    type Error = RequestError;

    fn try_from(request: v1::TransferRequest) -> Result<Self, RequestError> {
        let id = TransferId::new(request.transfer_id)?;
        let replica = replica_id("replica_id", &request.replica_id)?;
        check_path("transfer_path", &request.transfer_path)?;
        let billing_path = match request.billing_path {
            path if path.is_empty() => request.transfer_path.clone(),
            path => {
                check_path("billing_path", &path)?;
                path
            }
        };
        let queue = if request.queue.is_empty() { DEFAULT_QUEUE.to_owned() } else { request.queue };
        Ok(Self {
            id,
            session: text("session_id", request.session_id)?,
            replica,
            path: request.transfer_path,
            billing_path,
            client: client(request.client.unwrap_or_default())?,
            door: Door::try_from(request.door.unwrap_or_default())?,
            queue: text("queue", queue)?,
            priority: request.priority,
            storage_class: text("storage_class", request.storage_class)?,
            rate_limit_bytes_per_second: NonZeroU64::new(request.rate_limit_bytes_per_second),
            deadline_at: request.deadline_at.map(|at| time("deadline_at", at)).transpose()?,
            marking: request.marking.map_or(Ok(Wish::Unsaid), |marking| wish(marking.scitag))?,
            traceparent: text("traceparent", request.traceparent)?,
            kind: kind(request.kind)?,
        })
    }
}

impl TryFrom<v1::DoorIdentity> for Door {
    type Error = RequestError;

    fn try_from(door: v1::DoorIdentity) -> Result<Self, RequestError> {
        let name_is_safe = |c: char| c.is_ascii_alphanumeric() || "_.:@-".contains(c);
        if door.name.len() > 128 || !door.name.chars().all(name_is_safe) {
            return Err(wrong("door.name", "must be at most 128 of [A-Za-z0-9_.:@-]"));
        }
        // It ends up in a Location header: nothing but scheme and authority.
        let authority = door.url.strip_prefix("https://").or_else(|| door.url.strip_prefix("http://"));
        let plain =
            |a: &str| !a.is_empty() && a.chars().all(|c| c.is_ascii_alphanumeric() || ".:-[]_".contains(c));
        if !door.url.is_empty() && !authority.is_some_and(plain) {
            return Err(wrong("door.url", "must be http:// or https:// with host and port, and no path"));
        }
        Ok(Self { name: door.name, url: door.url })
    }
}

fn client(client: v1::Client) -> Result<Client, RequestError> {
    if client.groups.len() > MAX_GROUPS {
        return Err(wrong("client.groups", format!("at most {MAX_GROUPS} are taken")));
    }
    let port = u16::try_from(client.port).map_err(|_| wrong("client.port", "must be below 65536"))?;
    let groups =
        client.groups.into_iter().map(|group| text("client.groups", group)).collect::<Result<_, _>>()?;
    Ok(Client {
        address: text("client.address", client.address)?,
        port,
        subject: text("client.subject", client.subject)?,
        issuer: text("client.issuer", client.issuer)?,
        groups,
        protocol: text("client.protocol", client.protocol)?,
        user_agent: text("client.user_agent", client.user_agent)?,
        client_info: text("client.client_info", client.client_info)?,
        secure: client.secure,
    })
}

fn kind(kind: Option<v1::transfer_request::Kind>) -> Result<Kind, RequestError> {
    use v1::transfer_request::Kind as Asked;
    match kind {
        None => Err(wrong("kind", "is missing: one of get, put, pull, push, local_copy must be set")),
        Some(Asked::Get(get)) => Ok(Kind::Get(Get {
            content_type: header_value("get.content_type", get.content_type)?,
            content_disposition: header_value("get.content_disposition", get.content_disposition)?,
            last_modified: get.last_modified.map(|at| time("get.last_modified", at)).transpose()?,
            etag: entity_tag(get.etag)?,
            allow_broken: get.allow_broken,
        })),
        Some(Asked::Put(put)) => Ok(Kind::Put(Put {
            size: put.size,
            maximum_size: NonZeroU64::new(put.maximum_size),
            expected_checksums: expected("put.expected_checksums", put.expected_checksums)?,
            wanted_checksums: wanted("put.wanted_checksums", &put.wanted_checksums)?,
            success_status: match put.success_status {
                0 | 201 => 201,
                204 => 204,
                _ => return Err(wrong("put.success_status", "must be 201 or 204")),
            },
        })),
        Some(Asked::Pull(pull)) => Ok(Kind::Pull(third_party::pull(pull)?)),
        Some(Asked::Push(push)) => Ok(Kind::Push(third_party::push(push)?)),
        Some(Asked::PoolToPool(_)) => Err(RequestError::NotSupported { kind: KindName::PoolToPool }),
        Some(Asked::LocalCopy(copy)) => Ok(Kind::LocalCopy(LocalCopy {
            source: replica_id("local_copy.source_replica_id", &copy.source_replica_id)?,
            wanted_checksums: wanted("local_copy.wanted_checksums", &copy.wanted_checksums)?,
        })),
    }
}

fn replica_id(field: &'static str, id: &str) -> Result<ReplicaId, RequestError> {
    ReplicaId::new(id).map_err(|error| wrong(field, error.to_string()))
}

fn check_path(field: &'static str, path: &str) -> Result<(), RequestError> {
    if !path.starts_with('/') {
        return Err(wrong(field, "must start with \"/\""));
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(wrong(
            field,
            format!("is {} bytes long; at most {MAX_PATH_BYTES} are taken", path.len()),
        ));
    }
    if path.contains('\0') {
        return Err(wrong(field, "must not hold a NUL"));
    }
    Ok(())
}

fn text(field: &'static str, text: String) -> Result<String, RequestError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(wrong(
            field,
            format!("is {} bytes long; at most {MAX_TEXT_BYTES} are taken", text.len()),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong(field, "must not hold control characters"));
    }
    Ok(text)
}

/// RFC 9110 §5.5: what may stand in a header; it goes out as it is.
fn header_value(field: &'static str, value: String) -> Result<String, RequestError> {
    let value = text(field, value)?;
    if !value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Err(wrong(field, "must be printable ASCII"));
    }
    Ok(value)
}

/// RFC 9110 §8.8.3: the characters between the quotes.
fn entity_tag(etag: String) -> Result<String, RequestError> {
    let etag = header_value("get.etag", etag)?;
    if etag.contains(['"', ' ']) {
        return Err(wrong("get.etag", "must hold neither quotes nor spaces"));
    }
    Ok(etag)
}

fn time(field: &'static str, at: prost_types::Timestamp) -> Result<SystemTime, RequestError> {
    let (Ok(seconds), Ok(nanos @ 0..1_000_000_000)) = (u64::try_from(at.seconds), u32::try_from(at.nanos))
    else {
        return Err(wrong(field, "must be a time after 1970"));
    };
    UNIX_EPOCH
        .checked_add(Duration::new(seconds, nanos))
        .ok_or_else(|| wrong(field, "is too far in the future"))
}

/// `experiment << 6 | activity`: 0 or 65 to 65535.
fn wish(scitag: u32) -> Result<Wish, RequestError> {
    Wish::try_from(scitag).map_err(|_| wrong("marking.scitag", "must be 0 or 65 to 65535"))
}

pub(super) fn expected(
    field: &'static str,
    checksums: Vec<v1::Checksum>,
) -> Result<Vec<Checksum>, RequestError> {
    if checksums.len() > MAX_CHECKSUMS {
        return Err(wrong(field, format!("at most {MAX_CHECKSUMS} are taken")));
    }
    let typed = |checksum: v1::Checksum| {
        Checksum::try_from(checksum).map_err(|error| wrong(field, error.to_string()))
    };
    checksums.into_iter().map(typed).collect()
}

pub(super) fn wanted(field: &'static str, numbers: &[i32]) -> Result<AlgorithmSet, RequestError> {
    if numbers.len() > MAX_CHECKSUMS {
        return Err(wrong(field, format!("at most {MAX_CHECKSUMS} are taken")));
    }
    let typed = |number: &i32| Algorithm::try_from(*number).map_err(|error| wrong(field, error.to_string()));
    numbers.iter().map(typed).collect()
}
