use penstock_door_proto::v1;

use super::*;
use crate::checksum::Algorithm;

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
    let request =
        put(v1::Put { expected_checksums: vec![adler32], wanted_checksums: wanted, ..Default::default() });
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
        (v1::TransferRequest { replica_id: "../etc".into(), ..get() }, "replica_id: the replica id has '.'"),
        (v1::TransferRequest { transfer_path: "a".into(), ..get() }, "transfer_path: must start with"),
        (v1::TransferRequest { transfer_path: "/\0".into(), ..get() }, "transfer_path: must not hold a NUL"),
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
            v1::TransferRequest { client: Some(v1::Client { port: 70_000, ..Default::default() }), ..get() },
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
    let error = TransferRequest::try_from(v1::TransferRequest { kind: Some(asked), ..get() }).unwrap_err();
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
