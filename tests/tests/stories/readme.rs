//! The README's tour, exactly as it stands there.

use std::path::Path;
use std::process::Command;

use penstock_tests::room::Room;
use penstock_tests::site::Plan;

#[test]
fn the_tour_of_the_readme_goes_as_it_says() {
    let room = Room::new();
    let data = room.join("penstock-data");
    let place = room.path().to_owned();
    let site = Plan::new().data(data).room(room).start();
    // Only the addresses differ: the ports that it names may be taken.
    let script =
        tour().replace("http://127.0.0.1:2880", &site.door).replace("http://127.0.0.1:2882", &site.admin);

    let output =
        Command::new("bash").args(["-euo", "pipefail", "-c", &script]).current_dir(place).output().unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    let port = site.pool.rsplit(':').next().unwrap();
    for line in [
        format!("104857600 bytes from port {port}"),
        "identical".to_owned(),
        "10".to_owned(),
        "404: nothing was left".to_owned(),
    ] {
        assert!(said.lines().any(|said| said == line), "{line:?} is not in {said}");
    }
    for beginning in [
        "digest: adler32=",
        "checksum mismatch (expected=[1:00000001], actual=[1:",
        "penstock pool ",
        "penstock_transfers_total{",
    ] {
        assert!(said.to_lowercase().lines().any(|said| said.starts_with(beginning)), "{beginning:?}: {said}");
    }
    assert!(said.contains("href>/demo/big.dat") && said.contains("href>/demo/archive.tar"), "{said}");
}

/// The shell blocks between the two marks.
fn tour() -> String {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- tour -->").expect("the tour begins");
    let (tour, _) = rest.split_once("<!-- end of tour -->").expect("the tour ends");
    let blocks: Vec<&str> =
        tour.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap_or_default()).collect();
    assert!(blocks.len() > 5, "{blocks:?}");
    blocks.concat()
}
