//! Checksums that clients ask for and checksums that they state: RFC 3230, RFC 9530, RFC 1864.

use std::path::Path;

use penstock_tests::curl::Answer;
use penstock_tests::files::{self, KIB, MIB};
use penstock_tests::patience::eventually;
use penstock_tests::site::Site;

const SMALL: u64 = 10 * KIB;
const LARGE: u64 = 2 * MIB;

#[test]
fn a_new_file_has_an_adler32_that_get_and_head_tell() {
    let site = Site::start();
    for size in [0, SMALL, LARGE] {
        let path = format!("/file{size}");
        let file = files::file(site.room(), "in", size, 1);
        let data = std::fs::read(&file).unwrap();
        let _ = site.put(&path, &file).expect(201);
        let digest = format!("adler32={}", files::adler32_hex(&data));
        let repr_digest = format!("adler=:{}:", files::adler32_base64(&data));
        let cases = [
            ("Want-Digest", "ADLER32", "Digest", &digest),
            ("Want-Digest", "sha-512;q=0.9,adler32;q=0.1", "Digest", &digest),
            ("Want-Repr-Digest", "adler=3", "Repr-Digest", &repr_digest),
        ];
        for (want, value, header, expected) in cases {
            let get = site.curl(&path).follow().header(want, value).run().expect(200);
            let head = site.curl(&path).head().follow().header(want, value).run().expect(200);

            assert_eq!(get.header(header), Some(expected.as_str()), "GET with {want}: {value}, {size} bytes");
            assert_eq!(
                head.header(header),
                Some(expected.as_str()),
                "HEAD with {want}: {value}, {size} bytes"
            );
        }
        let unasked = site.get(&path).expect(200);
        assert_eq!((unasked.header("Digest"), unasked.header("Repr-Digest")), (None, None));
    }
}

#[test]
fn an_upload_tells_the_checksums_that_it_was_asked_for_and_keeps_them() {
    let site = Site::start();
    for size in [SMALL, LARGE] {
        let path = format!("/file{size}");
        let file = files::file(site.room(), "in", size, 2);
        let data = std::fs::read(&file).unwrap();
        let wanted = site.curl(&path).follow().upload(&file);
        let wanted = wanted.header("Want-Digest", "md5").header("Want-Repr-Digest", "sha-256=10");

        let answer = wanted.run().expect(201);

        let md5 = format!("md5={}", files::md5_base64(&data));
        let sha256 = format!("sha-256=:{}:", files::sha256_base64(&data));
        assert_eq!(answer.header("Digest"), Some(md5.as_str()), "{size} bytes");
        assert_eq!(answer.header("Repr-Digest"), Some(sha256.as_str()), "{size} bytes");
        let later =
            site.curl(&path).head().follow().header("Want-Digest", "sha-256;q=0.5,md5").run().expect(200);
        assert!(later.header("Digest").is_some_and(|digest| digest.contains(&md5)), "{:?}", later.heads);
    }
}

#[test]
fn a_copy_from_name_to_name_tells_the_checksums_that_it_was_asked_for() {
    let site = Site::start();
    let file = files::file(site.room(), "in", LARGE, 3);
    let _ = site.put("/file", &file).expect(201);
    let adler32 = format!("adler32={}", files::adler32_hex(&std::fs::read(&file).unwrap()));
    let copy = || site.curl("/file").method("COPY").header("Destination", "/copy");

    for status in [201, 204] {
        let answer = copy().header("Want-Digest", "adler32").run().expect(status);

        assert_eq!(answer.header("Digest"), Some(adler32.as_str()), "{status}");
        assert!(answer.header("ETag").is_some(), "{status}");
    }
    assert_eq!(copy().run().expect(204).header("Digest"), None, "only who asks is told");
}

#[test]
fn many_who_ask_at_once_for_checksums_that_are_not_stored_all_get_them_or_are_told_to_wait() {
    const FILES: usize = 12;
    let site = Site::start();
    let file = files::file(site.room(), "in", 16 * MIB, 4);
    let path = |number: usize| format!("/file{number}");
    let _ = site.put(&path(0), &file).expect(201);
    for number in 1..FILES {
        let copied = site.curl(&path(0)).method("COPY").header("Destination", &path(number)).run();
        assert_eq!(copied.status, 201);
    }
    let ask = |number: usize| site.curl(&path(number)).head().header("Want-Digest", "sha-512");

    // More than the door has computed at once, and more than the pool does.
    let running: Vec<_> = (0..FILES).map(|number| ask(number).start()).collect();

    for (number, asked) in running.into_iter().enumerate() {
        let answer = asked.wait();
        let digest = answer.header("Digest").is_some_and(|digest| digest.starts_with("sha-512="));
        let told_to_wait = answer.status == 202 && answer.header("Retry-After").is_some();
        assert!((answer.status == 200 && digest) || told_to_wait, "{number}: {:?}", answer.heads);
    }
    for number in 0..FILES {
        eventually("it is computed", || (ask(number).run().header("Digest").is_some()).then_some(()));
    }
}

#[test]
fn what_a_client_states_truly_is_accepted() {
    let site = Site::start();
    for size in [0, SMALL, LARGE] {
        let file = files::file(site.room(), "in", size, 3);
        for (number, (header, value)) in statements(&std::fs::read(&file).unwrap()).into_iter().enumerate() {
            let path = format!("/true-{size}-{number}");

            let answer = upload(&site, &path, &file, &header, &value);

            assert_eq!(answer.status, 201, "{header}: {value}: {}", answer.text());
        }
    }
}

#[test]
fn a_mismatch_is_refused_with_both_values_and_leaves_no_file() {
    let site = Site::start();
    for size in [SMALL, LARGE] {
        let file = files::file(site.room(), "in", size, 4);
        let data = std::fs::read(&file).unwrap();
        let other = files::bytes(size, 5);
        for (number, (header, value)) in statements(&other).into_iter().enumerate() {
            // Every other one goes through the door, which tells the same.
            let expect = if number % 2 == 0 { "100-continue" } else { "" };
            let path = format!("/false-{size}-{number}");
            let curl = site.curl(&path).follow().upload(&file).header("Expect", expect);

            let answer = curl.header(&header, &value).run();

            let what = format!("{header}: {value}, {size} bytes, Expect {expect:?}");
            assert_eq!(answer.status, 400, "{what}: {}", answer.text());
            let reason = answer.reason();
            assert!(reason.starts_with("Checksum mismatch (expected=["), "{what}: {reason}");
            // dCache numbers adler32 with 1.
            let actual = format!("1:{}", files::adler32_hex(&data));
            assert!(
                reason.split_once("], actual=[").is_some_and(|(_, list)| list.contains(&actual)),
                "{reason}"
            );
            assert!(answer.text().trim_end().ends_with(reason), "the body says the same: {}", answer.text());
            assert_eq!(site.get(&path).status, 404, "{what}");
        }
    }
    assert!(site.is_empty(), "a refused upload leaves nothing");
}

#[test]
fn a_mismatch_leaves_the_file_that_was_there() {
    let site = Site::start();
    let file = files::file(site.room(), "in", LARGE, 6);
    let _ = site.put("/file", &file).expect(201);
    let other = files::file(site.room(), "other", LARGE, 7);

    let answer = upload(&site, "/file", &other, "Digest", "adler32=00000001");

    assert_eq!(answer.status, 400);
    assert!(site.get("/file").expect(200).body == std::fs::read(&file).unwrap());
}

#[test]
fn a_statement_that_cannot_be_read_is_refused_and_names_its_header() {
    let site = Site::start();
    let file = files::file(site.room(), "in", LARGE, 8);
    let cases = [
        ("Digest", "adler32=xyz"),
        ("Digest", "md5=short"),
        ("Repr-Digest", "sha-256=nocolons"),
        ("Content-MD5", "zz"),
    ];
    for (header, value) in cases {
        let answer = upload(&site, "/unreadable", &file, header, value);

        assert_eq!(answer.status, 400, "{header}: {value}");
        assert!(answer.text().contains(header), "{}", answer.text());
        assert_eq!(site.get("/unreadable").status, 404);
    }
}

fn upload(site: &Site, path: &str, file: &Path, header: &str, value: &str) -> Answer {
    site.curl(path).follow().upload(file).header(header, value).run()
}

/// All the ways to state the checksums of these bytes.
fn statements(data: &[u8]) -> Vec<(String, String)> {
    let (adler32, md5, sha256) =
        (files::adler32_hex(data), files::md5_base64(data), files::sha256_base64(data));
    [
        ("Digest", format!("adler32={adler32}")),
        ("Digest", format!("ADLER32={}", adler32.to_uppercase())),
        ("Digest", format!("md5={md5}")),
        ("Digest", format!("md5={md5},adler32={adler32},sha-256={sha256}")),
        ("Repr-Digest", format!("adler=:{}:", files::adler32_base64(data))),
        ("Repr-Digest", format!("sha-256=:{sha256}:")),
        ("Content-Digest", format!("sha-256=:{sha256}:")),
        ("Content-MD5", md5.clone()),
        ("Content-MD5", files::md5_hex(data)),
    ]
    .into_iter()
    .map(|(header, value)| (header.to_owned(), value))
    .collect()
}
