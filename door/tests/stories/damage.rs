//! Stories of damaged replicas and ailing pools.

use crate::site::copying::SOURCE;
use crate::site::pool::Faults;
use crate::site::{Site, send};
use hyper::StatusCode;
use penstock_door_proto::v1 as proto;
use proto::transfer_event::Event;

/// A site with a file, and the id of its replica.
async fn site_with_a_file() -> (Site, String) {
    let site = Site::open_with(|config| config.admin_listen = Some("127.0.0.1:0".parse().unwrap())).await;
    site.put("/data/a%20file", b"Wiki").await;
    let replica = site.pool.last_request().replica_id;
    (site, replica)
}

async fn admin(site: &Site, page: &str) -> crate::site::Reply {
    let address = site.door.as_ref().unwrap().admin_address().unwrap();
    send(address, "GET", page, &[], http_body_util::Empty::<bytes::Bytes>::new()).await
}

async fn metric(site: &Site, line: &str) -> bool {
    admin(site, "/metrics").await.text().lines().any(|known| known == line)
}

#[tokio::test]
async fn a_download_of_a_damaged_file_is_an_error_that_no_client_repeats() {
    let (site, replica) = site_with_a_file().await;
    site.pool.break_replica(&replica, "adler32 of the file is 11e60398, recorded 03da0195");
    let reply = site.get("/data/a%20file").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(reply.header("retry-after"), None);
    let text = reply.text();
    assert!(
        text.contains("damaged") && text.contains("pool pool01 says") && text.contains("11e60398"),
        "{text}"
    );
    assert!(!text.contains("FAILURE_CODE"), "{text}");
    assert!(metric(&site, "penstock_door_broken_reads_total{pool=\"pool01\"} 1").await);
    site.all_settled().await;
}

#[tokio::test]
async fn a_push_of_a_damaged_file_is_a_failure_with_the_same_words() {
    let (site, replica) = site_with_a_file().await;
    site.pool.break_replica(&replica, "block 3 differs");
    let mut copying = site.copy("/data/a%20file", &[("destination", SOURCE)]).await;
    let why = copying.end().await.result.unwrap_err();
    assert!(why.contains("damaged") && why.contains("block 3 differs"), "{why}");
    assert!(metric(&site, "penstock_door_broken_reads_total{pool=\"pool01\"} 1").await);
}

#[tokio::test]
async fn damage_that_is_met_in_the_middle_of_a_download_is_counted() {
    let (site, _) = site_with_a_file().await;
    assert_eq!(site.get("/data/a%20file").await.status, StatusCode::TEMPORARY_REDIRECT);
    let text = "block 3 of replica x differs".to_owned();
    let code = proto::FailureCode::ReplicaBroken.into();
    site.pool.tell(Event::Failed(proto::Failed { code, text, ..Default::default() }));
    site.all_settled().await;
    assert!(metric(&site, "penstock_door_broken_reads_total{pool=\"pool01\"} 1").await);
}

#[tokio::test]
async fn damaged_files_are_listed_by_their_present_names() {
    let (site, replica) = site_with_a_file().await;
    // Given a pool that does not answer the first time
    site.pool.fail(Faults { lose_lists: 1, ..Faults::default() });
    site.pool.break_replica(&replica, "adler32 differs");
    site.pool.break_replica("nameless", "size differs");
    site.eventually("both are listed", async |site| admin(site, "/broken").await.text().lines().count() == 2)
        .await;
    let page = admin(&site, "/broken").await;
    let mut lines: Vec<_> = page.text().lines().collect();
    lines.sort_unstable();
    let mut expected = [
        format!("pool01 {replica} /data/a file adler32 differs"),
        "pool01 nameless (no name) size differs".into(),
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert!(metric(&site, "penstock_door_broken_files{pool=\"pool01\"} 1").await);
    site.pool.mend();
    site.eventually("none is listed", async |site| admin(site, "/broken").await.text().is_empty()).await;
    assert!(metric(&site, "penstock_door_broken_files{pool=\"pool01\"} 0").await);
}

#[tokio::test]
async fn a_read_only_pool_takes_no_pulls_and_still_pushes() {
    let (site, _) = site_with_a_file().await;
    site.pool.change_status(|status| status.health = proto::pool_status::Health::ReadOnly.into());
    site.eventually("it is known to be read-only", async |site| {
        site.put("/other", b"x").await.text().contains("pool01 is read-only")
    })
    .await;
    let mut pull = site.copy("/new", &[("source", SOURCE)]).await;
    let why = pull.end().await.result.unwrap_err();
    assert!(why.contains("no pool can take a file now: pool01 is read-only"), "{why}");
    let asked = site.pool.requests().len();
    let push = site.copy("/data/a%20file", &[("destination", SOURCE)]).await;
    site.eventually("the pool is asked to push", async |site| site.pool.requests().len() > asked).await;
    drop(push);
    site.all_settled().await;
}

#[tokio::test]
async fn the_admin_port_tells_health_and_nothing_of_files_that_are_well() {
    let (mut site, _) = site_with_a_file().await;
    assert_eq!(admin(&site, "/healthz").await.text(), "1 of 1 pools answer\n");
    assert_eq!(admin(&site, "/broken").await.text(), "");
    assert_eq!(admin(&site, "/other").await.status, StatusCode::NOT_FOUND);
    site.pool.stop_grpc();
    site.eventually("it is ill", async |site| {
        admin(site, "/healthz").await.status == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
}
