//! What is there after the daemon was stopped, or died.

use penstock_tests::files::{self, KIB, MIB};
use penstock_tests::patience::eventually;
use penstock_tests::site::Site;

#[test]
fn files_names_checksums_and_tokens_outlive_a_restart() {
    let site = Site::start();
    let (small, large) =
        (files::file(site.room(), "s", 10 * KIB, 1), files::file(site.room(), "l", 5 * MIB, 2));
    let _ = site.put("/a/small", &small).expect(201);
    let _ = site.put("/a/b/large", &large).expect(201);
    let etag = site.get("/a/small").expect(200).header("ETag").map(str::to_owned);
    let (token, used) = (site.token.clone(), site.space("used"));

    let site = site.restart();

    assert_eq!(site.token, token);
    for (path, file) in [("/a/small", &small), ("/a/b/large", &large)] {
        let answer = site.curl(path).follow().header("Want-Digest", "adler32").run().expect(200);
        let data = std::fs::read(file).unwrap();
        assert_eq!(answer.header("Digest"), Some(format!("adler32={}", files::adler32_hex(&data)).as_str()));
        assert!(answer.body == data, "{path}");
    }
    assert_eq!(site.get("/a/small").expect(200).header("ETag").map(str::to_owned), etag);
    assert_eq!(site.space("used"), used);
}

#[test]
fn what_was_answered_with_201_outlives_a_crash() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 3 * MIB, 3);
    for number in 0..5 {
        let _ = site.put(&format!("/file{number}"), &file).expect(201);
    }

    let site = site.crash_and_restart();

    for number in 0..5 {
        assert!(site.get(&format!("/file{number}")).expect(200).body == std::fs::read(&file).unwrap());
    }
    assert_eq!(files::replicas(site.data()).len(), 5);
}

#[test]
fn an_upload_cut_off_by_a_crash_leaves_nothing() {
    use std::io::Write;
    let site = Site::start();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let upload = site.curl("/cut").follow().upload_stdin(reader.into()).start();
    writer.write_all(&files::bytes(4 * MIB, 1)).unwrap();
    eventually("the upload has reserved space", || (site.space("reserved") > 0.0).then_some(()));

    let site = site.crash_and_restart();

    drop(writer);
    assert_ne!(upload.wait().exit, 0, "the client hears of it");
    assert_eq!(site.get("/cut").status, 404);
    assert!(site.is_empty());
}

#[test]
fn a_replicas_attributes_can_be_read_from_its_file() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 4);
    let _ = site.put("/dir/a file".replace(' ', "%20").as_str(), &file).expect(201);
    let [replica] = files::replicas(site.data()).try_into().unwrap();

    let mut value = vec![0; 4096];
    let length = rustix::fs::getxattr(&replica, "user.penstock.replica", &mut value).unwrap();

    let text = String::from_utf8(value[..length].to_vec()).unwrap();
    let data = std::fs::read(&file).unwrap();
    for pair in
        ["v=1", "size=2097152", "path=/dir/a%20file", &format!("adler32={}", files::adler32_hex(&data))]
    {
        assert!(text.split(' ').any(|word| word == pair), "{pair} is not in {text}");
    }
    assert!(std::fs::read(&replica).unwrap() == data, "the file holds the bytes as they came");
}
