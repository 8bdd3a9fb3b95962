//! Range requests (RFC 9110 §14).

use std::ops::Range;

use super::date::parse_date;
use super::{Validators, elements};

/// What of a representation is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// All of it, with 200: no ranges were asked for, or the header is one that is ignored.
    Whole,
    /// One range, with 206.
    One(Range<u64>),
    /// Several, in the order they were asked for, with 206 and `multipart/byteranges`.
    Many(Vec<Range<u64>>),
    /// None of the ranges is in the file: 416 with [`unsatisfied_range`].
    Unsatisfiable,
}

/// A request with more ranges gets the whole file (RFC 9110 §14.2 allows to ignore such a header). Vector reads of
/// physics clients fill headers of 4 KiB: about 250 ranges.
pub const MAX_RANGES: usize = 512;

/// What a part of a multipart answer costs beside its data, about: two ranges with a smaller gap are cheaper as one.
const PART_OVERHEAD_BYTES: u64 = 80;

/// Reads a `Range` header for a file of `size` bytes. A header that is malformed or in another unit than bytes is
/// ignored, as the standard wants it (RFC 9110 §14.2).
///
/// Ranges are given as they were asked for: clients that read vectors (davix) take a part for the answer to the
/// request of the same number. Only a request for more bytes than the file has, which is how ranges are used to make
/// a server work for nothing, has its overlapping and neighbouring ranges joined (RFC 9110 §15.3.7.2).
pub fn parse_ranges(header: &str, size: u64) -> Ranges {
    let Some(specs) = parse_specs(header) else { return Ranges::Whole };
    // RFC 9110 §14.1.2: a suffix of an empty file is satisfiable; there is no way to say so in a Content-Range.
    if size == 0 && specs.iter().any(|spec| matches!(spec, Spec::Suffix(length) if *length > 0)) {
        return Ranges::Whole;
    }
    let mut ranges: Vec<Range<u64>> = specs.iter().filter_map(|spec| spec.within(size)).collect();
    let asked = ranges.iter().fold(0u64, |sum, range| sum.saturating_add(range.end - range.start));
    if asked > size {
        ranges = coalesce(ranges);
    }
    match ranges.len() {
        0 => Ranges::Unsatisfiable,
        1 => Ranges::One(ranges.swap_remove(0)),
        _ => Ranges::Many(ranges),
    }
}

enum Spec {
    /// From and to, inclusive; without end to the end of the file.
    From(u64, Option<u64>),
    Suffix(u64),
}

impl Spec {
    /// `None` if no byte of it is in the file.
    fn within(&self, size: u64) -> Option<Range<u64>> {
        let range = match *self {
            Self::From(first, last) => first..last.map_or(size, |last| last.saturating_add(1).min(size)),
            Self::Suffix(length) => size.saturating_sub(length)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

fn parse_specs(header: &str) -> Option<Vec<Spec>> {
    let (unit, set) = header.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for element in elements(set) {
        if specs.len() == MAX_RANGES {
            return None;
        }
        specs.push(match element.split_once('-')? {
            ("", length) => Spec::Suffix(number(length)?),
            (first, "") => Spec::From(number(first)?, None),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                // RFC 9110 §14.1.1: such a range is invalid, and with it the whole set.
                if last < first {
                    return None;
                }
                Spec::From(first, Some(last))
            }
        });
    }
    (!specs.is_empty()).then_some(specs)
}

/// A number of any length; beyond 64 bits all files end anyway.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// Joins ranges that overlap or nearly touch, each where the first of them stood.
fn coalesce(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let near = |a: &Range<u64>, b: &Range<u64>| {
        a.start < b.end.saturating_add(PART_OVERHEAD_BYTES)
            && b.start < a.end.saturating_add(PART_OVERHEAD_BYTES)
    };
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for mut range in ranges {
        let mut place = joined.len();
        // Growing may bring the range near to others, so look again after each.
        while let Some(i) = joined.iter().position(|other| near(other, &range)) {
            let other = joined.remove(i);
            range = range.start.min(other.start)..range.end.max(other.end);
            place = place.min(i);
        }
        joined.insert(place.min(joined.len()), range);
    }
    joined
}

/// May the ranges be served (RFC 9110 §13.1.5)? If not, the whole file is. Needs the same strong entity tag, or
/// exactly the date that was sent as Last-Modified: replicas never change, so their date is as strong as their tag.
pub fn if_range_holds(header: &str, current: &Validators<'_>) -> bool {
    if let Some(tag) = header.strip_prefix('"') {
        return tag.strip_suffix('"') == Some(current.etag);
    }
    match (parse_date(header), current.last_modified) {
        (Some(date), Some(last_modified)) => date == last_modified,
        _ => false,
    }
}

/// The value of `Content-Range` for a range of a file.
pub fn content_range(range: &Range<u64>, size: u64) -> String {
    // Ranges are never empty.
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

/// The value of `Content-Range` in a 416 (RFC 9110 §15.5.17).
pub fn unsatisfied_range(size: u64) -> String {
    format!("bytes */{size}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        use Ranges::*;
        #[allow(clippy::single_range_in_vec_init)] // One range is what is meant.
        let cases = [
            ("bytes=0-499", 1000, One(0..500)),
            ("bytes=500-", 1000, One(500..1000)),
            ("bytes=-500", 1000, One(500..1000)),
            ("bytes=-2000", 1000, One(0..1000)),
            ("bytes=999-5000", 1000, One(999..1000)),
            ("BYTES=0-0", 1000, One(0..1)),
            ("bytes=0-18446744073709551615", 1000, One(0..1000)),
            ("bytes=0-99999999999999999999999999", 1000, One(0..1000)),
            ("bytes=0-0,-1", 1000, Many(vec![0..1, 999..1000])),
            ("bytes= 0-0 ,,\t500-600 , ", 1000, Many(vec![0..1, 500..601])),
            ("bytes=500-600,0-99", 1000, Many(vec![500..601, 0..100])),
            ("bytes=0-0,5000-", 1000, One(0..1)),
            ("bytes=1000-", 1000, Unsatisfiable),
            ("bytes=99999999999999999999999999-", 1000, Unsatisfiable),
            ("bytes=-0", 1000, Unsatisfiable),
            ("bytes=-0,1000-2000", 1000, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=-1", 0, Whole),
            ("bytes=", 1000, Whole),
            ("bytes=,", 1000, Whole),
            ("bytes", 1000, Whole),
            ("bytes =0-1", 1000, Whole),
            ("bytes=1-0", 1000, Whole),
            ("bytes=0-1,9-5", 1000, Whole),
            ("bytes=-", 1000, Whole),
            ("bytes=--1", 1000, Whole),
            ("bytes=0 - 1", 1000, Whole),
            ("bytes=+0-1", 1000, Whole),
            ("bytes=0x0-1", 1000, Whole),
            ("bytes=a-b", 1000, Whole),
            ("pages=0-1", 1000, Whole),
        ];
        for (header, size, expected) in cases {
            assert_eq!(parse_ranges(header, size), expected, "{header} of {size}");
        }
    }

    #[test]
    fn neighbours_stay_apart_unless_more_than_the_file_is_asked_for() {
        // A vector read: each range gets its own part, in its place
        assert_eq!(parse_ranges("bytes=10-19,20-29,0-9", 100), Ranges::Many(vec![10..20, 20..30, 0..10]));
        // An attack: the file, over and over
        assert_eq!(parse_ranges("bytes=0-,0-,0-,1-,2-", 100), Ranges::One(0..100));
        assert_eq!(
            parse_ranges("bytes=900-999,0-9,850-949,5-300,0-899", 1000),
            Ranges::One(0..1000),
            "joined through a range that came last"
        );
        assert_eq!(
            parse_ranges("bytes=900-999,0-499,950-,100-499,0-99", 1000),
            Ranges::Many(vec![900..1000, 0..500])
        );
    }

    #[test]
    fn too_many_ranges_are_the_whole_file() {
        let header = |count: usize| format!("bytes={}", vec!["1-1"; count].join(","));
        assert!(
            matches!(parse_ranges(&header(MAX_RANGES), 1000), Ranges::Many(ranges) if ranges.len() == MAX_RANGES)
        );
        assert_eq!(parse_ranges(&header(MAX_RANGES + 1), 1000), Ranges::Whole);
    }

    #[test]
    fn if_range_needs_exactly_what_was_sent() {
        let current = Validators { etag: "abc", last_modified: Some(784_111_777) };
        let cases = [
            ("\"abc\"", true),
            ("\"abd\"", false),
            ("W/\"abc\"", false),
            ("\"abc", false),
            ("\"", false),
            ("abc", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", false),
            ("", false),
        ];
        for (header, holds) in cases {
            assert_eq!(if_range_holds(header, &current), holds, "{header}");
        }
        assert!(!if_range_holds(
            "Sun, 06 Nov 1994 08:49:37 GMT",
            &Validators { last_modified: None, ..current }
        ));
    }

    #[test]
    fn content_ranges_count_from_first_to_last() {
        assert_eq!(content_range(&(0..500), 1000), "bytes 0-499/1000");
        assert_eq!(unsatisfied_range(1000), "bytes */1000");
    }

    /// First and last byte as they stand in a header; a missing first makes a suffix.
    type Asked = (Option<u64>, Option<u64>);

    fn header(asked: &[Asked]) -> String {
        let digits = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
        let specs: Vec<String> =
            asked.iter().map(|(first, last)| format!("{}-{}", digits(*first), digits(*last))).collect();
        format!("bytes={}", specs.join(", "))
    }

    /// By definition, byte by byte: is it in this range?
    fn holds((first, last): Asked, byte: u64, size: u64) -> bool {
        match (first, last) {
            (Some(first), Some(last)) => first <= byte && byte <= last,
            (Some(first), None) => first <= byte,
            (None, Some(length)) => byte + length >= size,
            (None, None) => unreachable!("not generated"),
        }
    }

    proptest! {
        #[test]
        fn every_byte_is_served_that_was_asked_for_and_no_other(
            size in 0..400u64,
            asked in prop::collection::vec((prop::option::of(0..450u64), prop::option::of(0..450u64)), 1..7),
        ) {
            let asked: Vec<Asked> = asked.into_iter().map(|a| if a == (None, None) { (Some(0), None) } else { a }).collect();
            let parsed = parse_ranges(&header(&asked), size);
            if asked.iter().any(|a| matches!(a, (Some(first), Some(last)) if last < first)) {
                prop_assert_eq!(parsed, Ranges::Whole);
                return Ok(());
            }
            let wanted: Vec<Vec<u64>> =
                asked.iter().map(|a| (0..size).filter(|byte| holds(*a, *byte, size)).collect()).collect();
            let wanted: Vec<Vec<u64>> = wanted.into_iter().filter(|bytes| !bytes.is_empty()).collect();
            let served = match parsed {
                Ranges::Whole => {
                    prop_assert!(size == 0 && asked.iter().any(|a| matches!(a, (None, Some(n)) if *n > 0)));
                    return Ok(());
                }
                Ranges::Unsatisfiable => vec![],
                Ranges::One(range) => vec![range],
                Ranges::Many(ranges) => {
                    prop_assert!(ranges.len() > 1);
                    ranges
                }
            };
            let served: Vec<Vec<u64>> = served.into_iter().map(Iterator::collect).collect();
            if wanted.concat().len() as u64 <= size {
                prop_assert_eq!(served, wanted);
                return Ok(());
            }
            // Joined: every byte once, nothing but the gaps besides, parts far from each other, order of the first.
            let total = served.concat();
            let mut unique = total.clone();
            unique.sort();
            unique.dedup();
            prop_assert_eq!(unique.len(), total.len());
            prop_assert!(wanted.concat().iter().all(|byte| unique.binary_search(byte).is_ok()));
            for byte in &unique {
                let before = wanted.concat().into_iter().filter(|w| w <= byte).max();
                let behind = wanted.concat().into_iter().filter(|w| w >= byte).min();
                let (Some(before), Some(behind)) = (before, behind) else {
                    return Err(TestCaseError::fail("outside of all that was asked for"));
                };
                prop_assert!(behind - before <= PART_OVERHEAD_BYTES);
            }
            for (i, a) in served.iter().enumerate() {
                for b in &served[i + 1..] {
                    prop_assert!(a[0].abs_diff(*b.last().unwrap()).min(b[0].abs_diff(*a.last().unwrap())) >= PART_OVERHEAD_BYTES);
                }
            }
            let first_asked = |part: &Vec<u64>| wanted.iter().position(|w| part.contains(&w[0]));
            prop_assert!(served.is_sorted_by_key(first_asked));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}", set in "[0-9, -]{0,60}", size: u64) {
            let _ = parse_ranges(&text, size);
            let _ = parse_ranges(&format!("bytes={set}"), size);
        }
    }
}
