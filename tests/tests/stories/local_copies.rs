//! Copies from name to name: made by the pool, of what it has.

use penstock_tests::files::{self, MIB};
use penstock_tests::room::Room;
use penstock_tests::site::Plan;
use penstock_tests::volume::{Kind, Volume};

#[test]
fn a_copy_takes_no_room_where_the_file_system_can_share_bytes() {
    let Some(volume) = Volume::new_or_skip(Kind::Xfs) else { return };
    let site = Plan::new().data(volume.path().join("site")).config("reserve = 0\n").start();
    let source = Room::new();
    // Of a length that ends within a block.
    let file = files::file(source.path(), "in", 20 * MIB + 1, 1);
    let _ = site.put("/file", &file).expect(201);
    let before = volume.free_bytes();

    assert_eq!(site.curl("/file").method("COPY").header("Destination", "/copy").run().status, 201);

    let taken = before.saturating_sub(volume.free_bytes());
    assert!(taken < 10 * MIB, "{taken} bytes");
    let copied = site.get("/copy").expect(200);
    assert!(copied.body == std::fs::read(&file).unwrap());
    assert_eq!(site.curl("/file").method("DELETE").run().status, 204);
    assert!(site.get("/copy").expect(200).body == std::fs::read(&file).unwrap(), "it is a file of its own");
}
