//! Parts of files: RFC 9110 §14.

use penstock_tests::curl::Answer;
use penstock_tests::files::{self, MIB};
use penstock_tests::site::Site;

fn site_with_file() -> (Site, Vec<u8>) {
    let site = Site::start();
    let file = files::file(site.room(), "in", 3 * MIB + 17, 5);
    let _ = site.put("/file", &file).expect(201);
    (site, std::fs::read(&file).unwrap())
}

fn get(site: &Site, range: &str) -> Answer {
    site.curl("/file").follow().header("Range", range).run()
}

#[test]
fn one_range_gives_exactly_those_bytes() {
    let (site, data) = site_with_file();
    let size = data.len();
    let cases = [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=4095-4097", 4095, 4098),
        ("bytes=1048575-2097153", 1_048_575, 2_097_154),
        ("bytes=3145728-", 3_145_728, size),
        ("bytes=3145000-99999999", 3_145_000, size),
        ("bytes=-1", size - 1, size),
        ("bytes=-5000", size - 5000, size),
        ("bytes=-99999999", 0, size),
        ("BYTES=7-9", 7, 10),
    ];
    for (range, start, end) in cases {
        let answer = get(&site, range).expect(206);

        assert!(answer.body == data[start..end], "{range}");
        let content_range = format!("bytes {start}-{}/{size}", end - 1);
        assert_eq!(answer.header("Content-Range"), Some(content_range.as_str()), "{range}");
        assert_eq!(answer.header("Accept-Ranges"), Some("bytes"));
    }
}

#[test]
fn several_ranges_come_as_parts_of_one_answer() {
    let (site, data) = site_with_file();

    let answer = get(&site, "bytes=0-9,1000000-1000999,-7").expect(206);

    let kind = answer.header("Content-Type").unwrap().to_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap_or_else(|| panic!("{kind}"));
    assert_eq!(answer.header("Content-Range"), None, "RFC 9110 §15.3.7.2");
    let size = data.len();
    let parts = parts(&answer.body, boundary.trim_matches('"'));
    let expected = [(0, 10), (1_000_000, 1_001_000), (size - 7, size)];
    assert_eq!(parts.len(), expected.len());
    for ((head, body), (start, end)) in parts.iter().zip(expected) {
        assert!(head.contains(&format!("bytes {start}-{}/{size}", end - 1)), "{head}");
        assert!(*body == &data[start..end], "the part {start}-{end}");
    }
}

#[test]
fn a_range_beyond_the_end_is_refused_with_the_size() {
    let (site, data) = site_with_file();
    for range in ["bytes=99999999-", "bytes=99999999-999999999", "bytes=-0"] {
        let answer = get(&site, range);

        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(
            answer.header("Content-Range"),
            Some(format!("bytes */{}", data.len()).as_str()),
            "{range}"
        );
        let why = format!("no byte of the range is in the file, which has {} bytes", data.len());
        assert_eq!((answer.reason(), answer.text().trim_end()), (&*why, &*why), "{range}");
    }
    // Through the door it is in the door's words, and as a problem for those who take one.
    let through = |accept: &str| {
        let curl = site.curl("/file").arg("--user-agent").arg("cadaver/0.23");
        curl.header("Range", "bytes=99999999-").header("Accept", accept).run().expect(416)
    };
    let size = format!("bytes */{}", data.len());
    assert_eq!(through("*/*").header("Content-Range"), Some(size.as_str()));
    assert!(
        through("*/*").text().starts_with("GET /file: no byte of the range"),
        "{}",
        through("*/*").text()
    );
    assert!(through("application/problem+json").text().contains("\"status\":416"));
}

#[test]
fn what_is_no_range_is_ignored() {
    let (site, data) = site_with_file();
    for range in ["bytes=9-0", "bytes=a-b", "bytes=", "lines=1-2", "bytes=0-1-2"] {
        let answer = get(&site, range).expect(200);

        assert_eq!(answer.body.len(), data.len(), "{range}");
    }
}

#[test]
fn if_range_gives_the_part_of_the_same_file_and_the_whole_of_another() {
    let (site, data) = site_with_file();
    let whole = site.get("/file").expect(200);
    let etag = whole.header("ETag").unwrap().to_owned();
    let modified = whole.header("Last-Modified").unwrap().to_owned();
    let cases = [
        (etag.as_str(), 206, 10),
        (modified.as_str(), 206, 10),
        ("\"another\"", 200, data.len()),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200, data.len()),
        // A weak validator cannot say that the bytes are the same (RFC 9110 §13.1.5).
        (&format!("W/{etag}"), 200, data.len()),
    ];
    for (validator, status, length) in cases {
        let answer =
            site.curl("/file").follow().header("Range", "bytes=0-9").header("If-Range", validator).run();

        assert_eq!((answer.status, answer.body.len()), (status, length), "{validator}");
    }
}

#[test]
fn a_download_can_be_continued_where_it_broke_off() {
    let (site, data) = site_with_file();
    let target = site.room().join("partial");
    std::fs::write(&target, &data[..1_234_567]).unwrap();

    let curl = site.curl("/file").follow().arg("--continue-at").arg("-").output(&target);
    let _ = curl.run().expect(206);

    assert!(std::fs::read(&target).unwrap() == data);
}

#[test]
fn an_unchanged_file_is_not_sent_again() {
    let (site, _) = site_with_file();
    let etag = site.get("/file").expect(200).header("ETag").unwrap().to_owned();

    let same = site.curl("/file").follow().header("If-None-Match", &etag).run().expect(304);
    let other = site.curl("/file").follow().header("If-Match", "\"another\"").run();

    assert!(same.body.is_empty());
    assert_eq!(other.status, 412);
}

#[test]
fn the_entity_tag_is_the_same_at_the_door_and_at_the_pool() {
    let (site, _) = site_with_file();

    let door = site.curl("/file").head().run().expect(200);
    let pool = site.get("/file").expect(200);

    assert!(door.header("ETag").is_some_and(|tag| tag.starts_with('"')));
    for header in ["ETag", "Last-Modified", "Content-Length", "Accept-Ranges"] {
        assert_eq!(door.header(header), pool.header(header), "{header}");
    }
}

/// Heads and bodies of a multipart body (RFC 2046 §5.1.1).
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<(String, &'a [u8])> {
    let delimiter = format!("--{boundary}").into_bytes();
    let mut starts: Vec<usize> = (0..body.len()).filter(|at| body[*at..].starts_with(&delimiter)).collect();
    let last = starts.pop().expect("there is a last delimiter");
    assert!(body[last + delimiter.len()..].starts_with(b"--"), "the last delimiter ends the body");
    let ends = starts.iter().skip(1).copied().chain([last]);
    let spans: Vec<_> = starts.iter().copied().zip(ends).collect();
    spans
        .into_iter()
        .map(|(start, end)| {
            let part = &body[start + delimiter.len() + 2..end - 2];
            let head_end =
                part.windows(4).position(|window| window == b"\r\n\r\n").expect("a part has a head");
            (String::from_utf8_lossy(&part[..head_end]).into_owned(), &part[head_end + 4..])
        })
        .collect()
}
