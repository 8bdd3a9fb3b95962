//! Records of ended transfers.

use std::fs;
use std::path::Path;

use penstock_tests::curl::Curl;
use penstock_tests::files::{self, MIB};
use penstock_tests::pair::Pair;
use penstock_tests::patience::eventually;
use penstock_tests::room::Room;
use rustix::process::Signal;
use serde_json::Value;

/// A pool and a door whose pool writes records there.
fn pair(room: &Room, records: &Path) -> Pair {
    let more = format!("records = \"{}\"\ntimeouts.linger = \"1 s\"\n", records.display());
    Pair::start_in(room.path(), &room.join("pool"), &more)
}

/// The records of a path so far.
fn of_path(records: &Path, path: &str) -> Vec<Value> {
    let text = fs::read_to_string(records).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    lines.filter(|record| record["path"] == path).collect()
}

#[test]
fn each_transfer_leaves_one_line_that_says_who_what_and_how() {
    let room = Room::new();
    let records = room.join("records");
    let pair = pair(&room, &records);
    let file = files::file(room.path(), "in", 3 * MIB, 1);
    let adler32 = files::adler32_hex(&fs::read(&file).unwrap());

    let _ = pair.put("/data", &file).expect(201);
    let got = pair.get("/data").expect(200);
    assert_eq!(got.body.len() as u64, 3 * MIB);

    let both =
        eventually("two records", || Some(of_path(&records, "/data")).filter(|lines| lines.len() == 2));
    for (record, kind) in both.iter().zip(["put", "get"]) {
        assert_eq!(record["kind"], kind, "{record}");
        assert_eq!(record["state"], "done", "{record}");
        assert_eq!(record["pool"], "pool01", "{record}");
        assert_eq!(record["door"], "door01", "{record}");
        assert_eq!(record["bytes_moved"], 3 * MIB, "{record}");
        assert_eq!(record["checksums"]["adler32"], adler32.as_str(), "{record}");
        assert!(record["rate_bytes_per_second"].as_f64().unwrap() > 0.0, "{record}");
        assert!(record["connections"][0]["remote"].as_str().unwrap().contains(':'), "{record}");
        let shares: f64 = record["limits"].as_object().unwrap().values().filter_map(Value::as_f64).sum();
        assert!((shares - 1.0).abs() < 0.01, "the shares are of the whole time: {record}");
    }
    let text = fs::read_to_string(&records).unwrap();
    assert!(!text.contains(&pair.token) && !text.contains("penstock-transfer="), "no secret is recorded");
}

#[test]
fn what_failed_is_recorded_with_the_reason_and_the_side() {
    let room = Room::new();
    let records = room.join("records");
    let pair = pair(&room, &records);
    let file = files::file(room.path(), "in", MIB, 2);

    let upload =
        pair.curl("/bad").follow().header("Expect", "100-continue").header("Digest", "adler32=00000001");
    assert_eq!(upload.upload(&file).run().status, 400);

    let record = eventually("a record", || of_path(&records, "/bad").pop());
    assert_eq!(record["state"], "failed", "{record}");
    assert_eq!(record["error"]["code"], "checksum-mismatch", "{record}");
    assert_eq!(record["error"]["side"], "client", "{record}");
    assert_eq!(record["error"]["http_status"], 400, "{record}");
}

#[test]
fn logrotate_takes_the_file_away_and_a_hangup_makes_the_next() {
    let room = Room::new();
    let (records, old) = (room.join("records"), room.join("records.1"));
    let pair = pair(&room, &records);
    let file = files::file(room.path(), "in", 1000, 3);
    let _ = pair.put("/before", &file).expect(201);
    eventually("the first record", || of_path(&records, "/before").pop());

    fs::rename(&records, &old).unwrap();
    pair.pool.daemon.signal(Signal::HUP);
    eventually("the new file", || records.exists().then_some(()));
    let _ = pair.put("/after", &file).expect(201);

    eventually("the next record", || of_path(&records, "/after").pop());
    assert!(of_path(&old, "/after").is_empty());
    assert_eq!(of_path(&old, "/before").len(), 1);
}

#[test]
fn a_full_disk_costs_records_and_no_transfer() {
    let room = Room::new();
    let pair = pair(&room, Path::new("/dev/full"));
    let file = files::file(room.path(), "in", 1000, 4);

    for number in 0..5 {
        let _ = pair.put(&format!("/file{number}"), &file).expect(201);
    }

    eventually("the lost are counted", || {
        (pair.pool.metrics().sum("penstock_records_lost_total") >= 5.0).then_some(())
    });
    assert_eq!(pair.pool.metrics().sum("penstock_records_written_total"), 0.0);
    let log = pair.pool.daemon.stderr();
    assert_eq!(log.matches("records cannot be written").count(), 1, "told once:\n{log}");
}

#[test]
fn a_crash_is_in_the_records_of_the_next_life() {
    let room = Room::new();
    let records = room.join("records");
    let mut pair = pair(&room, &records);
    let pipe = std::process::Stdio::piped();
    let upload: Curl = pair.curl("/cut").follow().header("Expect", "100-continue");
    let upload = upload.upload_stdin(pipe).start();
    eventually("the upload has begun", || {
        (pair.pool.metrics().sum_where("penstock_transfers_present", "kind=\"put\",state=\"running\"") > 0.0)
            .then_some(())
    });

    pair.pool.kill();
    pair.pool.start_again();

    let record = eventually("a record", || of_path(&records, "/cut").pop());
    assert_eq!(
        (record["state"].as_str(), record["error"]["code"].as_str()),
        (Some("failed"), Some("shutdown"))
    );
    upload.kill();
}
