//! What goes in comes out: uploads and downloads of all sizes, ways and numbers.

use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use penstock_tests::files::{self, KIB, MIB};
use penstock_tests::site::{Plan, Site};

/// Set to 1, files of 5 GiB are moved as well (10 GiB of free disk, a minute or more).
const HUGE_VARIABLE: &str = "PENSTOCK_TEST_HUGE";

const SIZES: [u64; 9] = [0, 1, 4 * KIB, 64 * KIB, 64 * KIB + 1, MIB - 1, MIB, MIB + 1, 64 * MIB];

#[test]
fn a_file_of_any_size_comes_back_as_it_went_through_the_door_or_past_it() {
    let site = Site::start();
    for size in SIZES {
        let file = files::file(site.room(), "in", size, size);
        // Who does not wait with the body is served through the door.
        for (way, expect, redirects) in [("past", "100-continue", 1), ("through", "", 0)] {
            let path = format!("/sizes/{size}-{way}");
            let answer = site.curl(&path).follow().upload(&file).header("Expect", expect).run().expect(201);
            assert_eq!(answer.redirects, redirects, "{way} the door, {size} bytes");

            let answer = site.get(&path).expect(200);

            assert_eq!(answer.redirects, 1, "downloads are redirected");
            assert!(
                answer.body == std::fs::read(&file).unwrap(),
                "{size} bytes {way} the door came back as others"
            );
            assert_eq!(answer.header("Content-Length"), Some(size.to_string().as_str()));
        }
    }
}

#[test]
fn five_gibibytes_come_back_as_they_went() {
    if std::env::var_os(HUGE_VARIABLE).is_none_or(|value| value != "1") {
        println!("skipped: set {HUGE_VARIABLE}=1 to move 5 GiB");
        return;
    }
    let site = Site::start();
    let file = files::file(site.room(), "huge", 5 << 30, 5);
    let back = site.room().join("back");
    let _ = site.curl("/huge").follow().upload(&file).arg("--max-time").arg("600").run().expect(201);

    let download = site.curl("/huge").follow().output(&back).arg("--max-time").arg("600");
    let _ = download.run().expect(200);

    assert!(files::same(&file, &back));
}

#[test]
fn a_pipe_of_unknown_length_is_uploaded_in_chunks() {
    let site = Site::start();
    for size in [0, 1, 100_000, 5 * MIB + 7] {
        let file = files::file(site.room(), "in", size, 77);
        for (way, redirect) in [("past", true), ("through", false)] {
            let path = format!("/pipe-{size}-{way}");
            let pipe = Stdio::from(File::open(&file).unwrap());
            let curl = site.curl(&path).follow().upload_stdin(pipe);
            // Without Expect the door passes the body on.
            let curl =
                if redirect { curl.header("Expect", "100-continue") } else { curl.header("Expect", "") };
            let answer = curl.run().expect(201);
            assert_eq!(answer.redirects, u64::from(redirect));

            let back = site.get(&path).expect(200);

            assert!(
                back.body == std::fs::read(&file).unwrap(),
                "{size} bytes {way} the door came back as others"
            );
        }
    }
}

#[test]
fn a_slow_pipe_loses_nothing() {
    let site = Site::start();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let upload = site.curl("/slow").follow().upload_stdin(reader.into()).start();
    let data = files::bytes(3 * MIB + 5, 3);
    for piece in data.chunks(300_001) {
        writer.write_all(piece).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    drop(writer);
    let _ = upload.wait().expect(201);

    let back = site.get("/slow").expect(200);

    assert!(back.body == data);
}

#[test]
fn sixteen_clients_at_once_each_get_their_own_bytes() {
    let site = Site::start();
    let sources: Vec<_> = (0..16_u64)
        .map(|number| files::file(site.room(), &format!("in{number}"), MIB + number * 100_003, number))
        .collect();
    let uploads: Vec<_> = sources
        .iter()
        .enumerate()
        .map(|(number, file)| site.curl(&format!("/parallel/{number}")).follow().upload(file).start())
        .collect();
    for upload in uploads {
        let _ = upload.wait().expect(201);
    }

    let downloads: Vec<_> =
        (0..16).map(|number| site.curl(&format!("/parallel/{number}")).follow().start()).collect();

    for (download, source) in downloads.into_iter().zip(&sources) {
        let answer = download.wait().expect(200);
        assert!(answer.body == std::fs::read(source).unwrap(), "{} has another's bytes", source.display());
    }
}

#[test]
fn one_file_is_read_by_sixteen_clients_at_once() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 8 * MIB, 8);
    let _ = site.put("/popular", &file).expect(201);

    let downloads: Vec<_> = (0..16).map(|_| site.curl("/popular").follow().start()).collect();

    let expected = std::fs::read(&file).unwrap();
    for download in downloads {
        assert!(download.wait().expect(200).body == expected);
    }
}

#[test]
fn an_upload_to_a_name_that_exists_replaces_the_file() {
    let site = Site::start();
    let first = files::file(site.room(), "first", 2 * MIB, 1);
    let second = files::file(site.room(), "second", MIB, 2);
    let _ = site.put("/name", &first).expect(201);

    let _ = site.put("/name", &second).expect(204);

    assert!(site.get("/name").expect(200).body == std::fs::read(&second).unwrap());
    penstock_tests::patience::eventually("the replaced replica is removed", || {
        (files::replicas(site.data()).len() == 1).then_some(())
    });
}

#[test]
fn names_of_any_characters_are_kept() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 9);
    for path in [
        "/with%20space",
        "/%C3%A4%E2%82%AC",
        "/a%2Bb+c",
        "/percent%25sign",
        "/q%3Fmark%23hash",
        "/semi;colon",
    ] {
        let _ = site.put(path, &file).expect(201);

        assert!(site.get(path).expect(200).body.len() as u64 == 2 * MIB, "{path}");
    }
}

#[test]
fn what_is_too_large_or_does_not_fit_is_refused_before_its_bytes_are_sent() {
    let site = Plan::new().config("capacity = \"8 MiB\"\nmax_file_size = \"6 MiB\"\n").start();
    let large = files::file(site.room(), "large", 7 * MIB, 1);
    let fits = files::file(site.room(), "fits", 5 * MIB, 2);
    let _ = site.put("/fits", &fits).expect(201);
    for (file, status) in [(&large, 413), (&fits, 507)] {
        let answer = site.curl("/refused").follow().upload(file).run();

        assert_eq!((answer.status, answer.uploaded), (status, 0), "{}", answer.text());
        assert_eq!(answer.text().lines().count(), 1, "{}", answer.text());
        assert_eq!(site.get("/refused").status, 404);
    }
}
