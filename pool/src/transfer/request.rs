//! The door's request, validated and typed: past this point no field is doubted again.

use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use penstock_door_proto::v1;
use thiserror::Error;

use crate::checksum::{Algorithm, AlgorithmSet, Checksum};
use crate::marking::Wish;
use crate::store::{ReplicaId, UploadSpec};

mod third_party;

pub use third_party::{Pull, Push, Remote};

/// Longest path in bytes (PATH_MAX of Linux).
const MAX_PATH_BYTES: usize = 4096;
/// Longest transfer id in bytes.
const MAX_ID_BYTES: usize = 64;
/// Longest free text field (subject, storage class, header values) in bytes.
const MAX_TEXT_BYTES: usize = 1024;
/// Most groups of a client.
const MAX_GROUPS: usize = 256;
/// Most checksums expected or wanted: several of each algorithm make no sense.
const MAX_CHECKSUMS: usize = 16;

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

fn expected(field: &'static str, checksums: Vec<v1::Checksum>) -> Result<Vec<Checksum>, RequestError> {
    if checksums.len() > MAX_CHECKSUMS {
        return Err(wrong(field, format!("at most {MAX_CHECKSUMS} are taken")));
    }
    let typed = |checksum: v1::Checksum| {
        Checksum::try_from(checksum).map_err(|error| wrong(field, error.to_string()))
    };
    checksums.into_iter().map(typed).collect()
}

fn wanted(field: &'static str, numbers: &[i32]) -> Result<AlgorithmSet, RequestError> {
    if numbers.len() > MAX_CHECKSUMS {
        return Err(wrong(field, format!("at most {MAX_CHECKSUMS} are taken")));
    }
    let typed = |number: &i32| Algorithm::try_from(*number).map_err(|error| wrong(field, error.to_string()));
    numbers.iter().map(typed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get() -> v1::TransferRequest {
        v1::TransferRequest {
            transfer_id: "door-1:4711".into(),
            replica_id: "0000AB-7_x".into(),
            transfer_path: "/atlas/data 1.root".into(),
            kind: Some(v1::transfer_request::Kind::Get(v1::Get::default())),
            ..Default::default()
        }
    }

    fn put(put: v1::Put) -> v1::TransferRequest {
        v1::TransferRequest { kind: Some(v1::transfer_request::Kind::Put(put)), ..get() }
    }

    #[test]
    fn a_bare_request_gets_the_contracts_defaults() {
        let request = TransferRequest::try_from(get()).unwrap();
        assert_eq!(request.queue, DEFAULT_QUEUE);
        assert_eq!(request.billing_path, "/atlas/data 1.root");
        assert_eq!(request.rate_limit_bytes_per_second, None);
        assert_eq!(request.marking, Wish::Unsaid);
        let request = TransferRequest::try_from(put(v1::Put::default())).unwrap();
        let Kind::Put(put) = request.kind else { panic!("not a PUT") };
        assert_eq!((put.size, put.maximum_size, put.success_status), (None, None, 201));
    }

    #[test]
    fn checksums_arrive_typed() {
        let adler32 =
            v1::Checksum { algorithm: v1::ChecksumAlgorithm::Adler32.into(), value: vec![3, 218, 1, 149] };
        let wanted = vec![v1::ChecksumAlgorithm::Md5.into()];
        let request = put(v1::Put {
            expected_checksums: vec![adler32],
            wanted_checksums: wanted,
            ..Default::default()
        });
        let Kind::Put(put) = TransferRequest::try_from(request).unwrap().kind else { panic!("not a PUT") };
        assert_eq!(put.expected_checksums, ["adler32:03da0195".parse().unwrap()]);
        assert!(put.wanted_checksums.contains(Algorithm::Md5));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let checksum = |algorithm, length| v1::Checksum { algorithm, value: vec![0; length] };
        let door = |name: &str, url: &str| v1::TransferRequest {
            door: Some(v1::DoorIdentity { name: name.into(), url: url.into() }),
            ..get()
        };
        let header = |content_type: &str, etag: &str| v1::TransferRequest {
            kind: Some(v1::transfer_request::Kind::Get(v1::Get {
                content_type: content_type.into(),
                etag: etag.into(),
                ..Default::default()
            })),
            ..get()
        };
        let cases: Vec<(v1::TransferRequest, &str)> = vec![
            (v1::TransferRequest { transfer_id: String::new(), ..get() }, "transfer_id: must be 1 to 64 of"),
            (v1::TransferRequest { transfer_id: "a b".into(), ..get() }, "transfer_id: must be 1 to 64 of"),
            (v1::TransferRequest { transfer_id: "x".repeat(65), ..get() }, "transfer_id: must be 1 to 64 of"),
            (
                v1::TransferRequest { replica_id: "../etc".into(), ..get() },
                "replica_id: the replica id has '.'",
            ),
            (v1::TransferRequest { transfer_path: "a".into(), ..get() }, "transfer_path: must start with"),
            (
                v1::TransferRequest { transfer_path: "/\0".into(), ..get() },
                "transfer_path: must not hold a NUL",
            ),
            (
                v1::TransferRequest { transfer_path: format!("/{}", "x".repeat(4096)), ..get() },
                "transfer_path: is 4097 bytes long; at most 4096 are taken",
            ),
            (v1::TransferRequest { billing_path: "a".into(), ..get() }, "billing_path: must start with"),
            (v1::TransferRequest { session_id: "a\nb".into(), ..get() }, "session_id: must not hold control"),
            (v1::TransferRequest { queue: "q".repeat(2000), ..get() }, "queue: is 2000 bytes long"),
            (v1::TransferRequest { kind: None, ..get() }, "kind: is missing"),
            (
                v1::TransferRequest { marking: Some(v1::Marking { scitag: 64 }), ..get() },
                "marking.scitag: must be 0 or 65 to 65535",
            ),
            (
                v1::TransferRequest { marking: Some(v1::Marking { scitag: 65_536 }), ..get() },
                "marking.scitag: must be 0 or 65 to 65535",
            ),
            (
                v1::TransferRequest {
                    deadline_at: Some(prost_types::Timestamp { seconds: -1, nanos: 0 }),
                    ..get()
                },
                "deadline_at: must be a time after 1970",
            ),
            (
                v1::TransferRequest {
                    client: Some(v1::Client { port: 70_000, ..Default::default() }),
                    ..get()
                },
                "client.port: must be below 65536",
            ),
            (door("a/b", ""), "door.name: must be at most 128 of"),
            (door("d", "ftp://x"), "door.url: must be http:// or https://"),
            (door("d", "https://x/path"), "door.url: must be http:// or https://"),
            (door("d", "https://x\r\nSet-Cookie: a"), "door.url: must be http:// or https://"),
            (header("text/plain\r\nX: y", ""), "get.content_type: must not hold control characters"),
            (header("text/plän", ""), "get.content_type: must be printable ASCII"),
            (header("", "a\"b"), "get.etag: must hold neither quotes nor spaces"),
            (
                put(v1::Put { success_status: 200, ..Default::default() }),
                "put.success_status: must be 201 or 204",
            ),
            (
                put(v1::Put { expected_checksums: vec![checksum(1, 3)], ..Default::default() }),
                "put.expected_checksums: a value of adler32 has 4 bytes, not 3",
            ),
            (
                put(v1::Put { expected_checksums: vec![checksum(0, 4)], ..Default::default() }),
                "put.expected_checksums: unknown checksum algorithm number 0",
            ),
            (
                put(v1::Put { expected_checksums: vec![checksum(1, 4); 17], ..Default::default() }),
                "put.expected_checksums: at most 16 are taken",
            ),
            (
                put(v1::Put { wanted_checksums: vec![99], ..Default::default() }),
                "put.wanted_checksums: unknown checksum algorithm number 99",
            ),
        ];
        for (request, expected) in cases {
            let error = TransferRequest::try_from(request).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error:?} does not start with {expected:?}");
        }
    }

    #[test]
    fn kinds_that_this_pool_lacks_are_named() {
        use v1::transfer_request::Kind as Asked;
        let (asked, kind) = (Asked::PoolToPool(v1::PoolToPool::default()), KindName::PoolToPool);
        let error =
            TransferRequest::try_from(v1::TransferRequest { kind: Some(asked), ..get() }).unwrap_err();
        assert_eq!(error, RequestError::NotSupported { kind });
        assert!(error.to_string().contains(kind.as_str()), "{error}");
    }

    #[test]
    fn a_local_copy_names_its_original() {
        use v1::transfer_request::Kind as Asked;
        let request = |source: &str| {
            let copy = v1::LocalCopy { source_replica_id: source.into(), ..Default::default() };
            TransferRequest::try_from(v1::TransferRequest { kind: Some(Asked::LocalCopy(copy)), ..get() })
        };
        let Kind::LocalCopy(copy) = request("r-0").unwrap().kind else { panic!("not a local copy") };
        assert_eq!((copy.source.as_str(), copy.wanted_checksums), ("r-0", AlgorithmSet::EMPTY));
        for wrong in ["", "a/b", "a b"] {
            let error = request(wrong).unwrap_err().to_string();
            assert!(error.starts_with("local_copy.source_replica_id: "), "{error}");
        }
    }
}
