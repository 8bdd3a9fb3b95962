//! A few cycles of the crash campaign, and that it would notice. The long one: `--bin crash`, docs/reliability.md.

use std::os::unix::fs::FileExt;

use penstock_tests::crash::Campaign;
use penstock_tests::crash::arrangement::Arrangement;
use penstock_tests::files;
use penstock_tests::room::Room;

fn holds(arrangement: Arrangement, seed: u64, cycles: u64) {
    let room = Room::new();
    let mut campaign = Campaign::start(&room.join("data"), arrangement, seed, 4);
    let mut answers = 0;

    for _ in 0..cycles {
        let cycle = campaign.cycle();

        assert_eq!(cycle.findings().collect::<Vec<_>>(), [""; 0], "{}", campaign.log());
        answers += cycle.tally.answered.values().sum::<u64>();
    }
    assert!(answers > 0, "nothing was done before the kills");
}

#[test]
fn whatever_was_answered_outlives_kills_at_random_instants() {
    holds(Arrangement::Together, 3, 3);
}

#[test]
fn whatever_was_answered_outlives_the_death_of_the_pool_of_the_door_and_of_both() {
    holds(Arrangement::Apart, 3, 5);
}

#[test]
fn the_campaign_notices_lost_and_changed_files() {
    let room = Room::new();
    let mut campaign = Campaign::start(&room.join("data"), Arrangement::Together, 4, 2);
    // A cycle is short: on a busy machine it leaves few files.
    let mut replicas = Vec::new();
    for _ in 0..10 {
        assert_eq!(campaign.cycle().findings().count(), 0);
        replicas = files::replicas(&campaign.replicas());
        replicas.retain(|replica| std::fs::metadata(replica).is_ok_and(|metadata| metadata.len() >= 8));
        if replicas.len() >= 6 {
            break;
        }
    }
    assert!(replicas.len() >= 6, "there are only {} replicas", replicas.len());
    let (changed, lost) = replicas.split_at(replicas.len() / 2);

    for replica in changed {
        let file = std::fs::OpenOptions::new().write(true).open(replica).unwrap();
        file.write_all_at(b"another.", 0).unwrap();
    }
    lost.iter().for_each(|replica| std::fs::remove_file(replica).unwrap());

    let findings = campaign.audit().findings;
    assert!(findings.len() >= replicas.len(), "{} of {}: {findings:#?}", findings.len(), replicas.len());
    assert!(
        findings.iter().any(|finding| finding.starts_with("lost: GET is answered with 5")),
        "{findings:#?}"
    );
}
