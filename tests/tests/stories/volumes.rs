//! Disks that are full, fail, or turn read-only under a running site. On small file systems of their own.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use penstock_door_proto::v1::ReplicaState;
use penstock_door_proto::v1::pool_status::Health;
use penstock_tests::curl::{Answer, Running};
use penstock_tests::damage;
use penstock_tests::files::{self, MIB};
use penstock_tests::pair::Pair;
use penstock_tests::patience::eventually;
use penstock_tests::room::Room;
use penstock_tests::site::{Plan, Site};
use penstock_tests::volume::{Kind, Overmount, Volume};

/// Names, keys and the index lie on the same disk and grow a little.
const OTHERS_BYTES: u64 = 2 * MIB;

/// A site that may use the volume to its last byte.
fn site_on(volume: &Volume) -> Site {
    Plan::new().data(volume.path().join("site")).config("reserve = 0\n").start()
}

/// Files to upload, which must not lie on the volume.
fn sources() -> Room {
    Room::new()
}

fn health(site: &Site) -> Health {
    site.pool_client().status().health()
}

/// An upload of a pipe, whose end the story holds.
fn pipe_to(site: &Site, path: &str) -> (Running, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let upload = site.curl(path).follow().upload_stdin(Stdio::from(reader));
    (upload.header("Expect", "100-continue").start(), writer)
}

/// Writes until somebody has enough of it.
fn pour(mut writer: std::io::PipeWriter, bytes: u64) {
    for seed in 0..bytes / MIB {
        if writer.write_all(&files::bytes(MIB, seed)).is_err() {
            return;
        }
    }
}

/// `du -s --block-size=1` of the pool's replicas.
fn du(directory: &Path) -> f64 {
    let output =
        std::process::Command::new("du").args(["-s", "--block-size=1"]).arg(directory).output().unwrap();
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap().parse().unwrap()
}

fn accounts_are_right(site: &Site) {
    eventually("used space is what du says, and nothing is reserved", || {
        let on_disk = du(&site.data().join("pool/data"));
        (site.space("used") == on_disk && site.space("reserved") == 0.0).then_some(())
    });
}

fn is_a_refusal_for_lack_of_space(answer: &Answer) {
    assert_eq!(answer.status, 507, "{} {}", answer.complaint, answer.text());
    assert_eq!(answer.text().lines().count(), 1, "{}", answer.text());
}

#[test]
fn on_a_full_disk_an_upload_is_refused_before_its_body_and_what_fits_goes_on() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        let Some(volume) = Volume::new_or_skip(kind) else { continue };
        let site = site_on(&volume);
        let room = sources();
        let (large, fits) =
            (files::file(room.path(), "large", 32 * MIB, 1), files::file(room.path(), "fits", 8 * MIB, 2));
        volume.leave_free(24 * MIB);

        let refused = site.curl("/large").follow().upload(&large).header("Expect", "100-continue").run();

        is_a_refusal_for_lack_of_space(&refused);
        assert_eq!(refused.uploaded, 0, "not a byte of the body was sent");
        let _ = site.put("/fits", &fits).expect(201);
        assert!(site.get("/fits").expect(200).body == std::fs::read(&fits).unwrap());
        assert_eq!(site.get("/large").status, 404);
        assert_eq!(health(&site), Health::Ok, "a full disk is no fault");
        accounts_are_right(&site);
    }
}

#[test]
fn a_pipe_that_fills_the_disk_fails_alone() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        let Some(volume) = Volume::new_or_skip(kind) else { continue };
        let site = site_on(&volume);
        let room = sources();
        let stored = files::file(room.path(), "stored", 4 * MIB, 1);
        let _ = site.put("/stored", &stored).expect(201);
        volume.leave_free(30 * MIB);
        // Its length is known, its space promised; it comes slowly.
        let promised = files::file(room.path(), "promised", 8 * MIB, 2);
        let other = site.curl("/promised").follow().upload(&promised).arg("--limit-rate").arg("6M").start();
        eventually("its space is promised", || (site.space("reserved") > 0.0).then_some(()));
        let (too_much, pipe) = pipe_to(&site, "/too-much");

        pour(pipe, 64 * MIB);

        let refused = too_much.wait();
        is_a_refusal_for_lack_of_space(&refused);
        let _ = other.wait().expect(201);
        for (path, file) in [("/stored", &stored), ("/promised", &promised)] {
            assert!(site.get(path).expect(200).body == std::fs::read(file).unwrap(), "{path}");
        }
        assert_eq!(site.get("/too-much").status, 404);
        accounts_are_right(&site);
        let free = volume.free_bytes();
        assert!(free > 22 * MIB - OTHERS_BYTES, "the space of the failed upload is back: {free}");
        // The door hears of a pool's space every few seconds.
        eventually("there is room again", || (site.put("/again", &promised).status == 201).then_some(()));
        assert_eq!(health(&site), Health::Ok);
    }
}

#[test]
fn what_others_take_from_the_disk_in_the_middle_of_an_upload_fails_that_upload_alone() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        let Some(volume) = Volume::new_or_skip(kind) else { continue };
        let site = site_on(&volume);
        let room = sources();
        let file = files::file(room.path(), "in", 6 * MIB, 1);
        let _ = site.put("/before", &file).expect(201);
        let (upload, mut pipe) = pipe_to(&site, "/pipe");
        pipe.write_all(&files::bytes(3 * MIB, 2)).unwrap();
        eventually("the upload is under way", || (site.space("reserved") > 0.0).then_some(()));

        // Not by the pool's accounts: it learns of it when the disk refuses.
        volume.leave_free(MIB);
        pour(pipe, 250 * MIB);

        is_a_refusal_for_lack_of_space(&upload.wait());
        assert!(site.get("/before").expect(200).body == std::fs::read(&file).unwrap());
        accounts_are_right(&site);
        volume.free_again();
        eventually("there is room again", || (site.put("/after", &file).status == 201).then_some(()));
        assert_eq!(health(&site), Health::Ok);
    }
}

#[test]
fn on_a_disk_that_is_full_to_the_brim_files_are_served_and_deleted_also_after_a_crash() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        let Some(volume) = Volume::new_or_skip(kind) else { continue };
        // The door keeps its names elsewhere: it is the pool that has to do without space.
        let mut site = Pair::start_with_root(&volume.path().join("pool"), "");
        let file = files::file(site.directory(), "in", 4 * MIB, 1);
        for path in ["/first", "/second"] {
            let _ = site.put(path, &file).expect(201);
        }
        volume.fill();

        for what in ["filled", "killed", "stopped"] {
            match what {
                "killed" => site.pool.kill(),
                "stopped" => site.pool.stop(),
                _ => {}
            }
            if what != "filled" {
                site.pool.start_again();
            }
            eventually("the door has found the pool", || {
                (site.get("/first").body == std::fs::read(&file).unwrap()).then_some(())
            });
            let refused = site.curl("/more").follow().upload(&file).header("Expect", "100-continue").run();
            is_a_refusal_for_lack_of_space(&refused);
        }

        let _ = site.curl("/first").method("DELETE").run().expect(204);

        eventually("its space is free", || (volume.free_bytes() > 4 * MIB - OTHERS_BYTES).then_some(()));
        assert!(site.get("/second").expect(200).body == std::fs::read(&file).unwrap());
        let small = files::file(site.directory(), "small", MIB, 2);
        eventually("there is room for another", || (site.put("/more", &small).status == 201).then_some(()));
    }
}

#[test]
fn while_the_disk_is_read_only_files_are_served_and_uploads_refused_until_an_admin_says_recover() {
    let site = Plan::new().config("reserve = 0\n").start();
    let room = sources();
    let file = files::file(room.path(), "in", 3 * MIB, 1);
    let _ = site.put("/before", &file).expect(201);
    // A daemon opens its directories at its start.
    let mut site = site;
    site.stop();
    let Some(disk) = Overmount::new_or_skip(&site.data().join("pool/data")) else { return };
    let site = site.start_again();
    assert_eq!(health(&site), Health::Ok);

    disk.make_read_only();

    // The first to meet it is told what the disk said (EROFS is 403), the others that no pool can take a file.
    let refused = site.put("/refused", &file);
    assert!((400..600).contains(&refused.status), "{} {}", refused.status, refused.text());
    assert!(refused.text().contains("Read-only file system"), "{}", refused.text());
    eventually("the pool is read-only", || (health(&site) == Health::ReadOnly).then_some(()));
    let problems = site.pool_client().status().problems.join("\n");
    assert!(problems.to_lowercase().contains("read-only"), "{problems}");
    assert_eq!(site.metrics().sum("penstock_read_only"), 1.0);
    let unhealthy = penstock_tests::curl::Curl::new(format!("{}/healthz", site.admin)).run();
    assert_eq!(unhealthy.status, 503, "{}", unhealthy.text());
    assert!(unhealthy.text().to_lowercase().contains("read-only"), "{}", unhealthy.text());
    let refused = eventually("the door sends no more uploads there", || {
        let answer = site.curl("/refused").follow().upload(&file).header("Expect", "100-continue").run();
        (answer.uploaded == 0).then_some(answer)
    });
    assert!((500..600).contains(&refused.status), "{} {}", refused.status, refused.text());
    assert!(site.get("/before").expect(200).body == std::fs::read(&file).unwrap());

    let too_early = site.command(&["recover"]);
    assert_ne!(too_early.status, 0, "{}", too_early.stdout);
    assert!(too_early.stderr.to_lowercase().contains("read-only"), "{}", too_early.stderr);

    disk.make_writable();

    assert_eq!(health(&site), Health::ReadOnly, "nobody has looked at the disk yet");
    let _ = site.command(&["recover"]).expect_good();
    assert_eq!(health(&site), Health::Ok);
    assert_eq!(site.metrics().sum("penstock_read_only"), 0.0);
    eventually("the door sends uploads there again", || {
        (site.put("/after", &file).status == 201).then_some(())
    });
    assert_eq!(site.get("/refused").status, 404);
    accounts_are_right(&site);
}

#[test]
fn a_file_system_that_turns_read_only_by_its_own_errors_is_served_from_and_loses_nothing() {
    let Some(volume) = Volume::new_or_skip(Kind::Ext4) else { return };
    let mut site = Pair::start_with_root(&volume.path().join("pool"), "");
    let file = files::file(site.directory(), "in", 3 * MIB, 1);
    let _ = site.put("/before", &file).expect(201);
    let upload = site.curl("/during").follow();
    let (reader, mut pipe) = std::io::pipe().unwrap();
    let upload = upload.upload_stdin(Stdio::from(reader)).header("Expect", "100-continue").start();
    pipe.write_all(&files::bytes(2 * MIB, 2)).unwrap();
    eventually("the upload is under way", || {
        (site.pool.metrics().sum_where("penstock_space_bytes", "part=\"reserved\"") > 0.0).then_some(())
    });

    volume.fail();

    let _ = pipe.write_all(&files::bytes(2 * MIB, 3));
    drop(pipe);
    let during = upload.wait();
    assert!((400..600).contains(&during.status), "{} {}", during.status, during.text());
    let refused = site.put("/after", &file);
    assert!((400..600).contains(&refused.status), "{} {}", refused.status, refused.text());
    eventually("the pool is read-only", || {
        (site.pool.client().status().health() == Health::ReadOnly).then_some(())
    });
    assert!(site.get("/before").expect(200).body == std::fs::read(&file).unwrap());
    let too_early = site.pool.command(&["recover"]);
    assert_ne!(too_early.status, 0, "{}", too_early.stdout);
    assert!(site.pool.daemon.runs());

    site.pool.daemon.terminate();
    let _ = site.pool.daemon.ended();
    volume.repair();
    site.pool.start_again();

    assert_eq!(site.pool.client().status().health(), Health::Ok);
    eventually("the file is there again", || {
        (site.get("/before").body == std::fs::read(&file).unwrap()).then_some(())
    });
    for path in ["/during", "/after"] {
        assert_eq!(site.get(path).status, 404, "{path}");
    }
    let _ = site.put("/after", &file).expect(201);
    eventually("nothing else is there", || (files::replicas(&site.pool.root()).len() == 2).then_some(()));
}

#[test]
fn a_part_of_the_disk_that_cannot_be_read_fails_its_reads_and_marks_the_replica_suspect() {
    let Some(volume) = Volume::new_or_skip(Kind::Ext4) else { return };
    let site = Pair::start_with_root(&volume.path().join("pool"), "");
    let file = files::file(site.directory(), "in", 8 * MIB, 1);
    let _ = site.put("/file", &file).expect(201);
    let [replica] = files::replicas(&site.pool.root()).try_into().unwrap();

    volume.lose_from(&replica, 4 * MIB);
    damage::drop_from_cache(&replica);

    let whole = site.get("/file");
    let data = std::fs::read(&file).unwrap();
    assert_ne!(
        (whole.exit, whole.status),
        (0, 200),
        "a download of what cannot be read does not look complete"
    );
    assert!(whole.body.len() as u64 <= 4 * MIB && data.starts_with(&whole.body), "{}", whole.body.len());
    let before = site.curl("/file").follow().arg("--range").arg("1048576-2097151").run().expect(206);
    assert!(before.body == data[1 << 20..2 << 20]);
    let id = replica.file_name().unwrap().to_str().unwrap();
    let told = eventually("the replica is suspect", || {
        let told = site.pool.replica(id);
        (!told.suspect_because.is_empty()).then_some(told)
    });
    assert_eq!(told.state(), ReplicaState::Ready, "an error of the disk is no wrong checksum: {told:?}");
    assert_eq!(site.pool.client().status().suspect_replicas, 1);
    let log = site.pool.daemon.stderr();
    assert!(log.contains("EIO") || log.contains("nput/output error") || log.contains("I/O error"), "{log}");
}

#[test]
fn memory_is_a_disk_too() {
    let Some(volume) = Volume::new_or_skip(Kind::Tmpfs) else { return };
    let probe = volume.path().join("probe");
    std::fs::write(&probe, b"").unwrap();
    if rustix::fs::setxattr(&probe, "user.probe", b"x", rustix::fs::XattrFlags::empty()).is_err() {
        println!("skipped: tmpfs has no user attributes before Linux 6.6");
        return;
    }
    let site = site_on(&volume);
    let room = sources();
    for size in [0, 1, 2 * MIB + 1] {
        let file = files::file(room.path(), "in", size, size);
        let path = format!("/file{size}");
        let _ = site.put(&path, &file).expect(201);
        assert!(site.get(&path).expect(200).body == std::fs::read(&file).unwrap());
    }
    accounts_are_right(&site);

    let (too_much, pipe) = pipe_to(&site, "/too-much");
    pour(pipe, 80 * MIB);

    is_a_refusal_for_lack_of_space(&too_much.wait());
    accounts_are_right(&site);
    assert_eq!(site.get("/file1").expect(200).body.len(), 1);
}
