//! Pulls over several streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use penstock_door_proto::v1;
use v1::transfer_request::Kind;

use super::far::{Far, Then, serve_file};
use super::{Stage, bytes, remote};
use crate::checksum::Algorithm;
use crate::transfer::{FailureCode, Transfer};

const SIZE: usize = 80 << 20;

fn pull(stage: &Stage, far: &Far, streams: u32) -> Arc<Transfer> {
    let pull = v1::Pull { remote: Some(remote(far)), streams, ..Default::default() };
    stage.start("r1", Kind::Pull(pull))
}

#[test]
fn pieces_come_over_several_connections_and_make_the_same_file() {
    let (stage, file) = (Stage::new(), bytes(SIZE + 12_345));
    let sent = file.clone();
    let far = Far::new(move |request, line| {
        // Far away: worth more than one stream.
        if request.range().is_some() {
            std::thread::sleep(Duration::from_secs(1));
        }
        serve_file(&sent, request, line)
    });

    let finished = stage.succeeds(&pull(&stage, &far, 4));

    assert!(stage.stored("r1").as_deref() == Some(&file[..]));
    assert_eq!(finished.summary.bytes_moved, file.len() as u64);
    assert!(far.connections() >= 4, "{} connections", far.connections());
    let mut ranges: Vec<_> = far.requests().iter().filter_map(super::far::Request::range).collect();
    ranges.sort_unstable();
    assert!(ranges.len() >= 4);
    assert_eq!(ranges.first().unwrap().0, 0);
    assert_eq!(ranges.last().unwrap().1, file.len() - 1);
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
    assert!(
        far.requests().iter().filter(|r| r.range().is_some()).all(|r| r.header("if-range") == Some("\"v1\""))
    );
}

#[test]
fn digests_that_need_the_order_are_computed_in_the_end() {
    let (stage, file) = (Stage::new(), bytes(SIZE));
    let far = Far::serving(file.clone());
    let pull = v1::Pull {
        remote: Some(remote(&far)),
        streams: 3,
        wanted_checksums: vec![v1::ChecksumAlgorithm::Md5.into(), v1::ChecksumAlgorithm::Crc32.into()],
        ..Default::default()
    };
    let finished = stage.succeeds(&stage.start("r1", Kind::Pull(pull)));
    let mut hasher = crate::checksum::MultiHasher::new([Algorithm::Md5, Algorithm::Crc32]);
    hasher.update(&file);
    for checksum in hasher.finish() {
        assert!(finished.checksums.contains(&checksum), "{checksum}");
    }
}

#[test]
fn a_source_without_ranges_is_read_over_one_stream() {
    let (stage, file) = (Stage::new(), bytes(SIZE));
    let sent = file.clone();
    let far = Far::new(move |request, line| {
        let mut plain = request.clone();
        plain.headers.retain(|(name, _)| name != "Range");
        serve_file(&sent, &plain, line)
    });
    stage.succeeds(&pull(&stage, &far, 4));
    assert!(stage.stored("r1").as_deref() == Some(&file[..]));
    assert_eq!(far.methods(), ["HEAD", "GET"]);
}

#[test]
fn a_source_that_takes_fewer_streams_is_read_over_those() {
    let (stage, file) = (Stage::new(), bytes(SIZE));
    let (sent, open) = (file.clone(), AtomicUsize::new(0));
    let far = Far::new(move |request, line| {
        if request.range().is_none() {
            return serve_file(&sent, request, line);
        }
        if open.fetch_add(1, Ordering::SeqCst) >= 2 {
            open.fetch_sub(1, Ordering::SeqCst);
            line.answer("503 Too many connections", "", b"");
            return Then::Keep;
        }
        std::thread::sleep(Duration::from_millis(50));
        let then = serve_file(&sent, request, line);
        open.fetch_sub(1, Ordering::SeqCst);
        then
    });
    stage.succeeds(&pull(&stage, &far, 5));
    assert!(stage.stored("r1").as_deref() == Some(&file[..]));
}

#[test]
fn a_stream_that_breaks_goes_on_while_the_others_run() {
    let (stage, file) = (Stage::new(), bytes(SIZE));
    let sent = file.clone();
    let far = Far::new(move |request, line| {
        let Some((first, last)) = request.range().filter(|_| matches!(request.number, 1 | 2)) else {
            return serve_file(&sent, request, line);
        };
        line.say(format!(
            "HTTP/1.1 206 x\r\nETag: \"v1\"\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n",
            last + 1 - first,
            sent.len()
        ));
        line.say(&sent[first..first + 1_234_567]);
        Then::Close
    });
    let transfer = pull(&stage, &far, 4);
    let finished = stage.succeeds(&transfer);
    assert!(stage.stored("r1").as_deref() == Some(&file[..]));
    assert_eq!(transfer.progress().retries(), 2);
    assert_eq!(finished.summary.bytes_moved, file.len() as u64);
}

#[test]
fn a_server_that_sends_less_than_the_range_is_asked_for_the_rest() {
    let (stage, file) = (Stage::new(), bytes(SIZE));
    let sent = file.clone();
    let far = Far::new(move |request, line| {
        let mut request = request.clone();
        if let Some((first, last)) = request.range() {
            let last = last.min(first + (5 << 20));
            request.headers.retain(|(name, _)| name != "Range");
            request.headers.push(("Range".into(), format!("bytes={first}-{last}")));
        }
        serve_file(&sent, &request, line)
    });
    let transfer = pull(&stage, &far, 2);
    stage.succeeds(&transfer);
    assert!(stage.stored("r1").as_deref() == Some(&file[..]));
    assert_eq!(transfer.progress().retries(), 0);
}

#[test]
fn a_file_that_changes_between_streams_is_noticed() {
    let (stage, file) = (Stage::new(), bytes(SIZE));
    let far = Far::new(move |request, line| match request.range() {
        Some((first, last)) if request.number > 0 => {
            let headers = format!("ETag: \"v2\"\r\nContent-Range: bytes {first}-{last}/{}\r\n", file.len());
            line.answer("206 x", &headers, &file[first..=last]);
            Then::Keep
        }
        _ => serve_file(&file, request, line),
    });
    let failure = stage.fails(&pull(&stage, &far, 3));
    assert_eq!(failure.code, FailureCode::RemoteProtocol);
    assert!(failure.text().contains("another ETag"), "{failure}");
}

#[test]
fn a_wrong_byte_in_any_piece_is_found() {
    let (stage, file) = (Stage::new(), bytes(SIZE));
    let far = Far::new(move |request, line| {
        let Some((first, last)) = request.range().filter(|_| request.number == 2) else {
            return serve_file(&file, request, line);
        };
        let mut part = file[first..=last].to_vec();
        part[1000] ^= 1;
        let headers = format!("ETag: \"v1\"\r\nContent-Range: bytes {first}-{last}/{}\r\n", file.len());
        line.answer("206 x", &headers, &part);
        Then::Keep
    });
    let failure = stage.fails(&pull(&stage, &far, 3));
    assert_eq!(failure.code, FailureCode::Verification);
}
