//! `Range`, `If-Range`, and the frame of an answer with several ranges.
//!
//! Every range is within the file and not empty; together they are never more than the file; what was asked for is in
//! them, and nothing else unless ranges were joined, as a second, naive reading of the header shows. The length that a
//! multipart answer announces is the length that it has.

use std::ops::Range;

use penstock_pool::http1::{
    ContentRange, HttpDate, MAX_RANGES, Multipart, ParsedAnswer, Ranges, Validators, content_range,
    if_range_holds, parse_answer, parse_date, parse_ranges,
};

use crate::input::Input;

/// Checks an input: a byte that chooses the kind of file, its size, then the header.
pub fn check(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let size = match kind % 4 {
        0 => u64::from(input.byte()),
        1 => u64::from(input.u32()),
        2 => i64::MAX as u64,
        // Files end at 2^63.
        _ => input.u64() >> 1,
    };
    let Ok(header) = std::str::from_utf8(input.0) else { return };
    dates(header);
    let ranges = match parse_ranges(header, size) {
        Ranges::Whole => return,
        Ranges::Unsatisfiable => Vec::new(),
        Ranges::One(range) => vec![range],
        Ranges::Many(ranges) => {
            assert!(ranges.len() >= 2);
            ranges
        }
    };
    assert!(ranges.len() <= MAX_RANGES);
    for range in &ranges {
        assert!(range.start < range.end && range.end <= size, "{range:?} of {size}");
        told(range, size);
    }
    let bytes: u128 = ranges.iter().map(|range| u128::from(range.end - range.start)).sum();
    assert!(bytes <= u128::from(size), "{bytes} bytes of a file of {size}");

    let asked = naive(header, size).expect("what was understood is well-formed");
    let asked_bytes: u128 = asked.iter().map(|range| u128::from(range.end - range.start)).sum();
    if asked_bytes <= u128::from(size) {
        assert_eq!(ranges, asked);
    } else {
        for range in asked {
            let holds = |other: &Range<u64>| other.start <= range.start && range.end <= other.end;
            assert!(ranges.iter().any(holds), "{range:?} is in none of {ranges:?}");
        }
    }
    if ranges.len() > 1 {
        framed(ranges, size, u128::from(kind));
    }
}

/// The other side reads in `Content-Range` what was meant.
fn told(range: &Range<u64>, size: u64) {
    let head = format!("HTTP/1.1 206 x\r\nContent-Range: {}\r\n\r\n", content_range(range, size));
    let Ok(ParsedAnswer::Complete { head, .. }) = parse_answer(head.as_bytes()) else { panic!("{head}") };
    let read = ContentRange { first: range.start, end: range.end, total: Some(size) };
    assert_eq!(head.content_range(), Some(read));
}

fn framed(ranges: Vec<Range<u64>>, size: u64, nonce: u128) {
    let multipart = Multipart::new(ranges, size, "application/octet-stream", nonce);
    let mut length = 0;
    let mut frame = Vec::new();
    for (index, range) in multipart.ranges().iter().enumerate() {
        multipart.write_part_head(index, &mut frame);
        length += range.end - range.start;
    }
    multipart.write_end(&mut frame);
    assert_eq!(multipart.content_length(), length.saturating_add(frame.len() as u64));
}

/// A date that can be read is written as one that means the same; and only that date lets ranges through.
fn dates(header: &str) {
    let validators = Validators { etag: "tag", last_modified: Some(784_111_777) };
    let holds = if_range_holds(header, &validators);
    match parse_date(header) {
        Some(seconds) => {
            assert_eq!(parse_date(&HttpDate::new(seconds).to_string()), Some(seconds));
            assert_eq!(holds, seconds == 784_111_777);
        }
        None => assert_eq!(holds, header == "\"tag\""),
    }
}

/// RFC 9110 §14.1.2 once more, in numbers that do not overflow.
fn naive(header: &str, size: u64) -> Option<Vec<Range<u64>>> {
    let size = u128::from(size);
    let number = |text: &str| -> Option<u128> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u128::from(u64::MAX)).min(u128::from(u64::MAX)))
    };
    let (_, set) = header.split_once('=')?;
    let mut ranges = Vec::new();
    for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
        let (first, last) = spec.split_once('-')?;
        let (start, end) = match (first, last) {
            ("", length) => (size.saturating_sub(number(length)?), size),
            (first, "") => (number(first)?, size),
            (first, last) => (number(first)?, (number(last)? + 1).min(size)),
        };
        if start < end {
            ranges.push(u64::try_from(start).ok()?..u64::try_from(end).ok()?);
        }
    }
    Some(ranges)
}
